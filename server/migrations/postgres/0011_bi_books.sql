-- More for people and BI tools: what became of each day's records (UTC, but for the days that retention has taken), what was decided of dead
-- letters, and which gaps were accepted, to before `to_offset`.
create view bi.daily_books as
select
    to_timestamp(day_ms / 1000.0) as day,
    source,
    topic,
    sum(received)::bigint as received,
    sum(accepted)::bigint as accepted,
    sum(duplicate)::bigint as duplicate,
    sum(late)::bigint as late,
    sum(rejected)::bigint as rejected,
    day_ms
from daily_books
where day_ms >= 0
group by day_ms, source, topic;
create view bi.decisions as
select
    letter as position,
    to_timestamp(at_ms / 1000.0) as decided_at,
    decided_by,
    outcome,
    position as replayed_as,
    reason
from decisions;
create view bi.accepted_gaps as
select
    k.topic,
    k.kafka_partition as partition,
    g.from_block - 1 as from_offset,
    g.to_block - 1 as to_offset,
    to_timestamp(g.at_ms / 1000.0) as accepted_at,
    g.accepted_by
from accepted_gaps g
join kafka_partitions k on k.partition = g.partition;
