-- Accepted fixes, a partition a day of event time (UTC), as the table of readings; millionths of a degree.
create table positions (
    at_ms bigint not null,
    received_at_ms bigint not null,
    position bigint not null,
    longitude_e6 integer not null,
    latitude_e6 integer not null,
    partition integer not null,
    device_id text not null
) partition by range (at_ms);
create index positions_by_time on positions using brin (at_ms);

create view bi.positions as
select
    device_id,
    to_timestamp(at_ms / 1000.0) as at,
    to_timestamp(received_at_ms / 1000.0) as received_at,
    latitude_e6 / 1000000.0 as latitude,
    longitude_e6 / 1000000.0 as longitude,
    at_ms
from positions;
