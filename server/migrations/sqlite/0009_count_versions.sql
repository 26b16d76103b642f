-- Versions of how equipment stands: the facilities that changed, as it follows from the records received before `known_at_ms`, as of then.
-- Where `is_whole` is 1 all of them are named, at every midnight of UTC: nobody has to read what came before.
create table count_versions (
    partition integer not null,
    known_at_ms integer not null,
    is_whole integer not null,
    data blob not null,
    primary key (partition, known_at_ms)
);
-- Serves: where reading back begins.
create index count_versions_whole on count_versions (partition, known_at_ms) where is_whole = 1;
