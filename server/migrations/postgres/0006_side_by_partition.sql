-- Positions of several partitions are mixed: side outputs are read partition by partition, and put in order.
create index side_blocks_by_partition on side_blocks (kind, partition, last_position);
