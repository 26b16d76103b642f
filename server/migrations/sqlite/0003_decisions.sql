-- What was decided of dead letters, by the position of the letter: `outcome` is `discarded`, for a `reason`, or what became of the record
-- when it was taken in again at `position`. `block` is the place of the decision in the log. A dead letter without a row is open.
create table decisions (
    partition integer not null,
    letter integer not null,
    block integer not null,
    at_ms integer not null,
    decided_by text not null,
    outcome text not null,
    position integer,
    reason text,
    primary key (letter)
) without rowid;
-- Serves: of which letter a record is the replay.
create index decisions_by_position on decisions (position) where position is not null;
