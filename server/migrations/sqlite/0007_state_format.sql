-- The number of the format that the state of a partition and its results are encoded in, see `store/format.rs`; 0 is of a time before they
-- had one.
alter table input_position add column state_format integer not null default 0;
