-- What was decided of dead letters, by the position of the letter: `outcome` is `discarded`, for a `reason`, or what became of the record
-- when it was taken in again at `position`. `block` is the place of the decision in the log. A dead letter without a row is open.
create table decisions (
    partition bigint not null,
    letter bigint not null,
    block bigint not null,
    at_ms bigint not null,
    decided_by text not null,
    outcome text not null,
    position bigint,
    reason text,
    primary key (letter)
);
-- Serves: of which letter a record is the replay.
create index decisions_by_position on decisions (position) where position is not null;
