-- The partitions of Kafka's topics, each with the number under which its state is kept. Number 0 is the embedded log.
create table kafka_partitions (
    topic text not null,
    kafka_partition integer not null,
    partition bigint not null unique,
    primary key (topic, kafka_partition)
);

-- Parts of a partition's log that were gone before they were read, and that somebody decided to go on without: from the first block that
-- is missing to before the one read next.
create table accepted_gaps (
    partition bigint not null,
    from_block bigint not null,
    to_block bigint not null,
    at_ms bigint not null,
    accepted_by text not null
);
