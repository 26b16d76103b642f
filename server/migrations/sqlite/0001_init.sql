-- One commit domain: a checkpoint changes all of these in one transaction.

-- Small facts by name: the identity key, when this store was made, the counters.
create table facts (
    name text primary key,
    value blob not null
) without rowid;

-- How far the state covers the log. `epoch` fences a process that lost its place.
create table input_position (
    partition integer primary key,
    epoch integer not null,
    next_block integer not null,
    received_at_ms integer not null,
    committed_at_ms integer not null
);

-- State of each device, in the order in which devices got their index.
create table devices (
    device_index integer primary key,
    state blob not null
);

-- Roll-ups of one hour of event time: one cell per region in order of code.
create table hours (
    start_ms integer primary key,
    cells blob not null
);

-- Closed windows in columns, see `blocks.rs`. `is_merged` is 0 until compaction has put small blocks together.
create table window_blocks (
    id integer primary key,
    size_ms integer not null,
    first_device integer not null,
    last_device integer not null,
    first_start_ms integer not null,
    last_start_ms integer not null,
    windows integer not null,
    is_merged integer not null,
    data blob not null
);
-- Serves the windows of a device or of all within a span of time.
create index window_blocks_by_time on window_blocks (size_ms, last_start_ms);
-- Serves compaction.
create index window_blocks_to_merge on window_blocks (size_ms, id) where is_merged = 0;

-- Late records (`kind` 0) and dead letters (1), many to a block, by position.
create table side_blocks (
    kind integer not null,
    last_position integer not null,
    first_position integer not null,
    records integer not null,
    data blob not null,
    primary key (kind, last_position)
) without rowid;

-- Files of identities that count, oldest first.
create table identity_runs (
    name text primary key,
    last_block integer not null,
    identities integer not null
) without rowid;

-- Keys of machines; only the hash is kept.
create table api_keys (
    id integer primary key,
    name text not null unique,
    scope text not null,
    hash blob not null unique,
    created_at_ms integer not null
);
