-- One commit domain: a checkpoint of a partition of the input changes all of these in one transaction.
-- Whole numbers are bigint where SQLite reads the same rows, so that one text serves both.

-- Small facts by name: the identity key, when this store was made.
create table facts (
    name text primary key,
    value bytea not null
);

-- How far the state covers the log. `epoch` fences a process that lost its place; `next` is the first position not covered; `log` names
-- the log that positions count in; `totals` are the counters.
create table input_position (
    partition bigint primary key,
    epoch bigint not null,
    next bigint not null,
    received_at_ms bigint not null,
    committed_at_ms bigint not null,
    log text not null,
    totals bytea
);

-- State of each device, in the order in which devices got their index. Written again with most checkpoints: room for it on its page.
create table devices (
    partition bigint not null,
    device_index bigint not null,
    id text not null,
    state bytea not null,
    primary key (partition, device_index)
) with (fillfactor = 50);

-- Roll-ups of one hour of event time: one cell per region in order of code.
create table hours (
    partition bigint not null,
    start_ms bigint not null,
    cells bytea not null,
    primary key (partition, start_ms)
);

-- Late records (`kind` 0) and dead letters (1), many to a block, by position. Positions of records differ between partitions.
create table side_blocks (
    kind bigint not null,
    last_position bigint not null,
    first_position bigint not null,
    records bigint not null,
    data bytea not null,
    partition bigint not null,
    last_received_ms bigint not null,
    primary key (kind, last_position)
);
-- Serves retention.
create index side_blocks_by_receipt on side_blocks (last_received_ms);

-- Runs of identities that count, and their entries in pieces: whoever takes a partition over reads them from here.
create table identity_runs (
    partition bigint not null,
    name text not null,
    last bigint not null,
    identities bigint not null,
    primary key (partition, name)
);
create table identity_run_pieces (
    partition bigint not null,
    name text not null,
    piece bigint not null,
    data bytea not null,
    primary key (partition, name, piece)
);
-- The entries are random: nothing to compress.
alter table identity_run_pieces alter column data set storage external;

-- Keys of machines; only the hash is kept.
create table api_keys (
    id bigint generated always as identity primary key,
    name text not null unique,
    scope text not null,
    hash bytea not null unique,
    created_at_ms bigint not null
);

-- Accepted readings, a partition a day of event time (UTC), made by the program ahead of time and dropped by it when they are too old.
-- Values are thousandths; `status` is 0 ok, 1 warn, 2 error.
create table readings (
    at_ms bigint not null,
    received_at_ms bigint not null,
    position bigint not null,
    temperature integer not null,
    humidity integer,
    battery integer,
    partition integer not null,
    status smallint not null,
    device_id text not null
) partition by range (at_ms);
-- Rows come nearly in order of time.
create index readings_by_time on readings using brin (at_ms);

-- Closed windows, a partition a day of their start. Sums and extremes are thousandths, square sums millionths.
create table windows (
    start_ms bigint not null,
    temperature_sum bigint not null,
    temperature_square_sum bigint not null,
    humidity_sum bigint not null,
    size_ms integer not null,
    partition integer not null,
    device_index integer not null,
    version integer not null,
    count integer not null,
    humidity_count integer not null,
    temperature_min integer not null,
    temperature_max integer not null,
    battery_min integer,
    battery_max integer
) partition by range (start_ms);
-- Serves the windows of a device or of a few within a span of time.
create index windows_by_device on windows (size_ms, device_index, start_ms);

-- For people and BI tools. Filter by `at_ms` or `start_ms`: then only the days asked for are read.
create schema bi;
create view bi.readings as
select
    device_id,
    to_timestamp(at_ms / 1000.0) as at,
    to_timestamp(received_at_ms / 1000.0) as received_at,
    temperature / 1000.0 as temperature,
    humidity / 1000.0 as humidity,
    battery / 1000.0 as battery,
    (array['ok', 'warn', 'error'])[status + 1] as status,
    at_ms
from readings;
create view bi.windows as
select
    d.id as device_id,
    w.size_ms / 1000 as size_s,
    to_timestamp(w.start_ms / 1000.0) as window_start,
    to_timestamp((w.start_ms + w.size_ms) / 1000.0) as window_end,
    w.count,
    round(w.temperature_sum::numeric / w.count / 1000, 3) as avg_temperature,
    w.temperature_min / 1000.0 as min_temperature,
    w.temperature_max / 1000.0 as max_temperature,
    round(w.humidity_sum::numeric / nullif(w.humidity_count, 0) / 1000, 3) as avg_humidity,
    w.battery_min / 1000.0 as min_battery,
    w.battery_max / 1000.0 as max_battery,
    w.version,
    w.start_ms
from windows w
join devices d on d.partition = w.partition and d.device_index = w.device_index;
