-- Rows say which partition of the input they follow from, so that many engines can share one commit domain. Embedded there is one, 0.

-- How far the state covers the log. `epoch` fences a process that lost its place; `next` is the first position not covered; `log` names
-- the log that positions count in, empty until a start has named it; `totals` are the counters.
create table positions (
    partition integer primary key,
    epoch integer not null,
    next integer not null,
    received_at_ms integer not null,
    committed_at_ms integer not null,
    log text not null,
    totals blob
);
insert into positions (partition, epoch, next, received_at_ms, committed_at_ms, log, totals)
select partition, epoch, next_block, received_at_ms, committed_at_ms, '', (select value from facts where name = 'totals')
from input_position;
drop table input_position;
alter table positions rename to input_position;
delete from facts where name = 'totals';

create table devices_by_partition (
    partition integer not null,
    device_index integer not null,
    state blob not null,
    primary key (partition, device_index)
) without rowid;
insert into devices_by_partition (partition, device_index, state) select 0, device_index, state from devices;
drop table devices;
alter table devices_by_partition rename to devices;

create table hours_by_partition (
    partition integer not null,
    start_ms integer not null,
    cells blob not null,
    primary key (partition, start_ms)
) without rowid;
insert into hours_by_partition (partition, start_ms, cells) select 0, start_ms, cells from hours;
drop table hours;
alter table hours_by_partition rename to hours;

alter table window_blocks add column partition integer not null default 0;

-- Positions of records differ between partitions: the partition is their highest bits.
alter table side_blocks add column partition integer not null default 0;
-- When the last of them came in, for retention; not later than the last checkpoint.
alter table side_blocks add column last_received_ms integer not null default 0;
update side_blocks set last_received_ms = coalesce((select max(committed_at_ms) from input_position), 0);
-- Serves retention.
create index side_blocks_by_receipt on side_blocks (last_received_ms);

create table runs_by_partition (
    partition integer not null,
    name text not null,
    last integer not null,
    identities integer not null,
    primary key (partition, name)
) without rowid;
insert into runs_by_partition (partition, name, last, identities) select 0, name, last_block, identities from identity_runs;
drop table identity_runs;
alter table runs_by_partition rename to identity_runs;
