-- The books of each day (UTC, by when records came in; its start is `day_ms`): what became of its records, by source and topic. `received`
-- is the sum of the other four. Under the day -1 stand the sums of the days that retention has taken.
create table daily_books (
    partition bigint not null,
    day_ms bigint not null,
    source text not null,
    topic text not null,
    received bigint not null,
    accepted bigint not null,
    duplicate bigint not null,
    late bigint not null,
    rejected bigint not null,
    primary key (partition, day_ms, source, topic)
);
-- The newest days of all partitions are asked for.
create index daily_books_by_day on daily_books (day_ms);
