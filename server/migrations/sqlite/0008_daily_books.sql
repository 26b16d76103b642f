-- The books of each day (UTC, by when records came in; its start is `day_ms`): what became of its records, by source and topic. `received`
-- is the sum of the other four. Under the day -1 stand the sums of the days that retention has taken.
create table daily_books (
    partition integer not null,
    day_ms integer not null,
    source text not null,
    topic text not null,
    received integer not null,
    accepted integer not null,
    duplicate integer not null,
    late integer not null,
    rejected integer not null,
    primary key (partition, day_ms, source, topic)
) without rowid;
-- The newest days of all partitions are asked for.
create index daily_books_by_day on daily_books (day_ms);
