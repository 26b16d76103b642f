-- What is kept of sliding windows (`kind` 0) and sessions (1) that can no longer change, and where readings were taken (2): many to a
-- block, with the devices and the event time that they are about.
create table derived_blocks (
    id bigint generated always as identity primary key,
    partition bigint not null,
    kind bigint not null,
    first_device bigint not null,
    last_device bigint not null,
    first_ms bigint not null,
    last_ms bigint not null,
    data bytea not null
);
-- Serves what lies within a span of time.
create index derived_blocks_by_time on derived_blocks (kind, last_ms);

-- Versions of the hours: the figures that changed, as they follow from the records received before `known_at_ms`.
create table hour_versions (
    partition bigint not null,
    start_ms bigint not null,
    known_at_ms bigint not null,
    cells bytea not null,
    primary key (partition, start_ms, known_at_ms)
);
