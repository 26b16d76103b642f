//! The partitions of Kafka's topics: their numbers, where a restart begins, and what is missing of them. Postgres only.

use super::days::{check, stored};
use super::derived::hour;
use super::{Database, Pools, Store, StoreError, broken, postgres};
use domain::engine::{DeviceState, Totals};
use domain::rollup::{PackedHour, hours_kept_from};
use domain::time::ProcessingTime;
use futures::TryStreamExt;
use sqlx::{PgConnection, Postgres, Transaction};
use std::collections::BTreeMap;

/// Numbers end before this one: a record's position has room for no more.
const NUMBERS: i64 = 1 << 10;

/// The fact that holds prefixes, one a line.
const PREFIXES: &str = "kafka_prefixes";

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaPartition {
    /// The topic.
    pub topic: String,
    /// The number that Kafka gave it within the topic.
    pub partition: i32,
    /// The number under which its state is kept.
    pub number: u32,
}

/// What the last checkpoint of a partition wrote, for somebody who only looks.
#[derive(Clone, Debug)]
pub struct Overview {
    /// The number of the partition.
    pub partition: u32,
    /// Who owned it is fenced under a higher one.
    pub epoch: i64,
    /// The state covers the log up to before this block.
    pub next_block: u64,
    /// The log's time at that point.
    pub now: ProcessingTime,
    /// When that was committed, where anything was.
    pub committed_at: Option<ProcessingTime>,
    /// Counters.
    pub totals: Totals,
    /// Devices with their index in the partition.
    pub devices: Vec<(u32, DeviceState)>,
    /// Hours that are kept in memory.
    pub hours: Vec<(i64, PackedHour)>,
    /// Dead letters that were decided, with the block that did.
    pub decided: Vec<(u64, u64)>,
}

type PositionRow = (i64, i64, i64, i64, i64, Option<Vec<u8>>);

impl Store {
    /// Every partition as of one moment.
    pub async fn overview(&self) -> Result<Vec<Overview>, StoreError> {
        Self::overview_in(&mut *self.moment().await?).await
    }

    /// The same for a start: refused where the books of days do not agree with the counters. That reads all of them, so who only loads again
    /// does without.
    pub async fn checked_overview(&self) -> Result<Vec<Overview>, StoreError> {
        let mut tx = self.moment().await?;
        let all = Self::overview_in(&mut tx).await?;
        for of in &all {
            // Pages show no counts that are known to be wrong.
            check(stored!(&mut *tx, i64::from(of.partition), of.totals), &of.totals)?;
        }
        Ok(all)
    }

    /// A transaction to which nothing changes while it reads.
    async fn moment(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        self.check_format().await?;
        let mut tx = self.shared()?.begin().await?;
        sqlx::raw_sql("set transaction isolation level repeatable read read only").execute(&mut *tx).await?;
        Ok(tx)
    }

    async fn overview_in(tx: &mut PgConnection) -> Result<Vec<Overview>, StoreError> {
        let positions: Vec<PositionRow> = sqlx::query_as(
            "select partition, epoch, next, received_at_ms, committed_at_ms, totals from input_position order by partition",
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut all = BTreeMap::new();
        for (partition, epoch, next, received_at_ms, committed_at_ms, totals) in positions {
            let totals = totals.map(|bytes| postcard::from_bytes(&bytes)).transpose();
            let of = Overview {
                partition: partition as u32,
                epoch,
                next_block: next as u64,
                now: ProcessingTime::from_ms(received_at_ms),
                committed_at: (committed_at_ms > 0).then_some(ProcessingTime::from_ms(committed_at_ms)),
                totals: totals.map_err(|e| broken("input_position", partition, e))?.unwrap_or_default(),
                devices: Vec::new(),
                hours: Vec::new(),
                decided: Vec::new(),
            };
            all.insert(partition, of);
        }
        let devices: Vec<(i64, i64, Vec<u8>)> =
            sqlx::query_as("select partition, device_index, state from devices order by partition, device_index")
                .fetch_all(&mut *tx)
                .await?;
        for (partition, index, state) in devices {
            if let Some(of) = all.get_mut(&partition) {
                let state = postcard::from_bytes(&state).map_err(|e| broken("devices", index, e))?;
                of.devices.push((index as u32, state));
            }
        }
        let kept_from = all.values().map(|of| hours_kept_from(of.now)).max().unwrap_or_default();
        let mut hours =
            sqlx::query_as::<_, (i64, i64, Vec<u8>)>("select partition, start_ms, cells from hours where start_ms >= $1")
                .bind(kept_from)
                .fetch(&mut *tx);
        while let Some((partition, start, cells)) = hours.try_next().await? {
            if let Some(of) = all.get_mut(&partition) {
                of.hours.push((start, hour(start, &cells)?));
            }
        }
        drop(hours);
        let decided: Vec<(i64, i64, i64)> =
            sqlx::query_as("select partition, letter, block from decisions").fetch_all(&mut *tx).await?;
        for (partition, letter, block) in decided {
            if let Some(of) = all.get_mut(&partition) {
                of.decided.push((letter as u64, block as u64));
            }
        }
        Ok(all.into_values().collect())
    }

    fn shared(&self) -> Result<&Pools<Postgres>, StoreError> {
        match &self.database {
            Database::Postgres(pools, _) => Ok(pools),
            Database::Sqlite(_) => Err(broken("kafka_partitions", "", "only Postgres is shared by several processes")),
        }
    }

    /// All partitions that were ever read.
    pub async fn kafka_partitions(&self) -> Result<Vec<KafkaPartition>, StoreError> {
        let all: Vec<(String, i32, i64)> =
            sqlx::query_as("select topic, kafka_partition, partition from kafka_partitions order by partition")
                .fetch_all(&self.shared()?.writer)
                .await?;
        Ok(all.into_iter().map(|(topic, partition, number)| KafkaPartition { topic, partition, number: number as u32 }).collect())
    }

    /// The number of a partition, given to it now where it has none. Refused where the database holds the state of an embedded log.
    pub async fn kafka_partition(&self, topic: &str, partition: i32) -> Result<u32, StoreError> {
        let mut tx = self.shared()?.begin().await?;
        postgres::lock_schema(&mut tx).await?;
        let embedded: bool =
            sqlx::query_scalar("select exists (select 1 from input_position where partition = 0)").fetch_one(&mut *tx).await?;
        if embedded {
            return Err(StoreError::OtherLog);
        }
        sqlx::query(
            "insert into kafka_partitions (topic, kafka_partition, partition)
             select $1, $2, coalesce(max(partition), 0) + 1 from kafka_partitions
             on conflict (topic, kafka_partition) do nothing",
        )
        .bind(topic)
        .bind(partition)
        .execute(&mut *tx)
        .await?;
        let number: i64 = sqlx::query_scalar("select partition from kafka_partitions where topic = $1 and kafka_partition = $2")
            .bind(topic)
            .bind(partition)
            .fetch_one(&mut *tx)
            .await?;
        if number >= NUMBERS {
            return Err(broken("kafka_partitions", topic, "there are too many partitions"));
        }
        tx.commit().await?;
        Ok(number as u32)
    }

    /// Gives a partition that has none the number that it says, unless that is another's or none at all.
    pub async fn number_kafka_partition(&self, place: &KafkaPartition) -> Result<(), StoreError> {
        if !(1..NUMBERS).contains(&i64::from(place.number)) {
            return Ok(());
        }
        sqlx::query(
            "insert into kafka_partitions (topic, kafka_partition, partition) values ($1, $2, $3) on conflict do nothing",
        )
        .bind(&place.topic)
        .bind(place.partition)
        .bind(i64::from(place.number))
        .execute(&self.shared()?.writer)
        .await?;
        Ok(())
    }

    /// The prefixes under which engines have written with this store, the oldest first.
    pub async fn kafka_prefixes(&self) -> Result<Vec<String>, StoreError> {
        let noted = self.fact(PREFIXES).await?.unwrap_or_default();
        let noted = String::from_utf8(noted).map_err(|e| broken("facts", PREFIXES, e))?;
        Ok(noted.lines().map(str::to_owned).collect())
    }

    /// Notes `prefix` among them.
    pub async fn note_kafka_prefix(&self, prefix: &str) -> Result<(), StoreError> {
        let mut tx = self.shared()?.begin().await?;
        postgres::lock_schema(&mut tx).await?;
        let noted: Option<Vec<u8>> =
            sqlx::query_scalar("select value from facts where name = $1").bind(PREFIXES).fetch_optional(&mut *tx).await?;
        let mut noted = noted.unwrap_or_default();
        if noted.split(|byte| *byte == b'\n').any(|known| known == prefix.as_bytes()) {
            return Ok(());
        }
        noted.extend_from_slice(prefix.as_bytes());
        noted.push(b'\n');
        sqlx::query(
            "insert into facts (name, value) values ($1, $2)
             on conflict (name) do update set value = excluded.value",
        )
        .bind(PREFIXES)
        .bind(noted)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The first block that a restart of `partition` reads; `None` where nothing of it was ever committed.
    pub async fn begins_at(&self, partition: u32) -> Result<Option<u64>, StoreError> {
        let committed: Option<i64> =
            sqlx::query_scalar("select next from input_position where partition = $1 and committed_at_ms > 0")
                .bind(i64::from(partition))
                .fetch_optional(&self.shared()?.writer)
                .await?;
        match committed {
            Some(_) => Ok(Some(self.needed_from(partition).await?.max(1))),
            None => Ok(None),
        }
    }

    /// Lets `partition` go on at block `to` although those before it, from the next one that it needs, are gone. Whoever owns it now is
    /// fenced. Identities that only the missing blocks told are not known any more.
    pub async fn accept_gap(&self, partition: u32, to: u64, at_ms: i64, by: &str) -> Result<u64, StoreError> {
        let from = self.begins_at(partition).await?.unwrap_or(1);
        let mut tx = self.shared()?.begin().await?;
        sqlx::query("update input_position set epoch = epoch + 1, next = greatest(next, $2) where partition = $1")
            .bind(i64::from(partition))
            .bind(to as i64)
            .execute(&mut *tx)
            .await?;
        // A run of no identities says that those before are not to be looked for in the log.
        sqlx::query(
            "insert into identity_runs (partition, name, last, identities) values ($1, $2, $3, 0)
             on conflict (partition, name) do nothing",
        )
        .bind(i64::from(partition))
        .bind(format!("{:020}.run", to - 1))
        .bind(to as i64 - 1)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "insert into accepted_gaps (partition, from_block, to_block, at_ms, accepted_by) values ($1, $2, $3, $4, $5)",
        )
        .bind(i64::from(partition))
        .bind(from as i64)
        .bind(to as i64)
        .bind(at_ms)
        .bind(by)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(from)
    }
}
