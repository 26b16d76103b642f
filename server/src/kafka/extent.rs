//! A partition as it lies in Kafka, for who only reads it: to verify, and to make state anew. Workers read in their own way.

use super::inbox::{Inbox, Run};
use super::{Installation, KafkaConfig, partition_of, position};
use crate::log::Place;
use crate::store::{KafkaPartition, Store};
use anyhow::{Context, bail, ensure};
use domain::time::ProcessingTime;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a broker may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// The messages that a partition had when somebody began to look.
#[derive(Clone, Debug)]
pub struct Extent {
    kafka: KafkaConfig,
    ours: Installation,
    /// The partition.
    pub place: KafkaPartition,
    /// By this name the store knows its log.
    pub log: String,
    /// The first offset that Kafka still has.
    pub low: i64,
    /// The first that was not there yet.
    pub high: i64,
}

/// Reads on quietly: the end of a partition is no mistake.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        if !matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PartitionEOF)) {
            tracing::warn!(%error, reason, "Kafka's client complains.");
        }
    }
}

impl ConsumerContext for Quiet {}

/// A consumer that asks nobody where to begin.
fn consumer(kafka: &KafkaConfig) -> anyhow::Result<BaseConsumer<Quiet>> {
    let must = [
        ("group.id", kafka.group()),
        ("enable.auto.commit", "false".to_owned()),
        ("enable.auto.offset.store", "false".to_owned()),
        ("auto.offset.reset", "error".to_owned()),
        ("enable.partition.eof", "true".to_owned()),
        ("queued.max.messages.kbytes", "16384".to_owned()),
    ];
    let must: Vec<(&str, &str)> = must.iter().map(|(key, value)| (*key, value.as_str())).collect();
    kafka.client(&[("fetch.wait.max.ms", "100")], &must).create_with_context(Quiet).context("make a consumer for Kafka")
}

/// Refuses while engines are at work: what they write meanwhile would look like a mistake.
pub fn nobody_else(kafka: &KafkaConfig) -> anyhow::Result<()> {
    let group = kafka.group();
    let found = consumer(kafka)?.fetch_group_list(Some(&group), PATIENCE).context("ask Kafka who is at work")?;
    let members: usize = found.groups().iter().filter(|of| of.name() == group).map(|of| of.members().len()).sum();
    ensure!(members == 0, "{members} engines of the group `{group}` are at work: stop them first");
    Ok(())
}

/// The first offset that Kafka has of a partition, and the one behind its last. Asks on while the partition has no leader that knows of it:
/// so it is for a moment after it was made, and when a leader goes.
pub fn watermarks<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) -> KafkaResult<(i64, i64)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.fetch_watermarks(topic, partition, PATIENCE) {
            Err(KafkaError::MetadataFetch(RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable))
                if Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(100));
            }
            told => return told,
        }
    }
}

/// The first offset of a message that came in after `at`, where there is one.
pub(super) fn first_after<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    at: ProcessingTime,
) -> Result<Option<i64>, KafkaError> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(topic, partition, Offset::Offset(at.ms() + 1))?;
    let told = consumer.offsets_for_times(asked, PATIENCE)?;
    let Some(of) = told.elements().into_iter().next() else { return Ok(None) };
    of.error()?;
    Ok(of.offset().to_raw().filter(|offset| *offset >= 0))
}

/// How many partitions a topic has.
fn partitions(kafka: &KafkaConfig, topic: &str) -> anyhow::Result<i32> {
    let metadata = consumer(kafka)?.fetch_metadata(Some(topic), PATIENCE).context("reach Kafka")?;
    let partitions = metadata.topics().first().map_or(0, |of| of.partitions().len() as i32);
    ensure!(partitions > 0, "Kafka has no topic `{topic}`: run `rantai kafka setup`");
    Ok(partitions)
}

impl Extent {
    /// Of every partition that engines read, numbered by `store` where one has no number yet, and of those that they have ever read.
    pub async fn all(kafka: &KafkaConfig, store: &Store) -> anyhow::Result<Vec<Self>> {
        let known = store.kafka_partitions().await?;
        let ours = Installation::of(kafka, store).await?;
        let mut fresh = Vec::new();
        for topic in kafka.inputs() {
            for partition in 0..partitions(kafka, &topic)? {
                if !known.iter().any(|of| (&of.topic, of.partition) == (&topic, partition)) {
                    fresh.push(KafkaPartition { topic: topic.clone(), partition, number: 0 });
                }
            }
        }
        // A lost database gave numbers to them, too: decisions name their letters by these, so they come first.
        for extent in Self::of(kafka, &ours, fresh.clone())? {
            if let Some(number) = extent.number_of_old()? {
                store.number_kafka_partition(&KafkaPartition { number, ..extent.place }).await?;
            }
        }
        for KafkaPartition { topic, partition, .. } in fresh {
            store.kafka_partition(&topic, partition).await?;
        }
        Self::of(kafka, &ours, store.kafka_partitions().await?)
    }

    /// The number that most decisions among its messages know the partition by: anybody may write one.
    fn number_of_old(&self) -> anyhow::Result<Option<u32>> {
        let mut numbers: BTreeMap<u32, usize> = BTreeMap::new();
        for letter in self.decided()? {
            *numbers.entry(partition_of(letter)).or_default() += 1;
        }
        Ok(numbers.into_iter().max_by_key(|(_, often)| *often).map(|(number, _)| number))
    }

    /// Positions of the dead letters of which messages decide, or so they say.
    pub fn decided(&self) -> anyhow::Result<Vec<u64>> {
        let mut decided = Vec::new();
        self.runs(1, u64::MAX, |run| {
            decided.extend(run.decided());
            Ok(())
        })?;
        Ok(decided)
    }

    /// Of each of `places`, as they are now.
    pub fn of(kafka: &KafkaConfig, ours: &Installation, places: Vec<KafkaPartition>) -> anyhow::Result<Vec<Self>> {
        let consumer = consumer(kafka)?;
        let cluster = consumer.client().fetch_cluster_id(PATIENCE).context("ask Kafka for its name")?;
        let each = |place: KafkaPartition| -> anyhow::Result<Self> {
            let asked = watermarks(consumer.client(), &place.topic, place.partition);
            let (low, high) = asked.with_context(|| format!("ask what Kafka has of {}", place.topic))?;
            let log = super::log_name(&cluster, &place.topic, place.partition);
            Ok(Self { kafka: kafka.clone(), ours: ours.clone(), place, log, low, high })
        };
        places.into_iter().map(each).collect()
    }

    /// The name of the partition, for people.
    pub fn name(&self) -> String {
        format!("partition {} of {}", self.place.partition, self.place.topic)
    }

    /// The first offset of a message that came in after `at`, where there is one.
    pub fn first_after(&self, at: ProcessingTime) -> anyhow::Result<Option<i64>> {
        let consumer = consumer(&self.kafka)?;
        first_after(&consumer, &self.place.topic, self.place.partition, at).with_context(|| format!("ask about {}", self.name()))
    }

    /// The place of `run` in the log; `clock` is the newest time so far.
    pub fn place_of(&self, run: &Run<'_>, clock: &mut ProcessingTime) -> Place {
        *clock = (*clock).max(run.received_at);
        Place { number: run.last, first_record: position(self.place.number, run.first), received_at: *clock }
    }

    /// Position of the record in block `number`.
    pub fn position(&self, number: u64) -> u64 {
        position(self.place.number, number)
    }

    /// Tells all messages from block `from` on, oldest first; no run goes over the beginning of block `border`.
    pub fn runs(&self, from: u64, border: u64, mut each: impl FnMut(&Run<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let Some(mut reader) = self.reader(from)? else { return Ok(()) };
        while let Some(inbox) = reader.read(1)? {
            inbox.runs(border).try_for_each(|run| each(&run))?;
        }
        Ok(())
    }

    /// Reads from block `from` on; `None` where there is nothing.
    pub fn reader(&self, from: u64) -> anyhow::Result<Option<Reader<'_>>> {
        let next = (from as i64 - 1).max(self.low);
        if next >= self.high {
            return Ok(None);
        }
        let consumer = consumer(&self.kafka)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.place.topic, self.place.partition, Offset::Offset(next))?;
        consumer.assign(&list).with_context(|| format!("read {}", self.name()))?;
        Ok(Some(Reader { extent: self, consumer, next }))
    }
}

/// Reads a partition as far as it went when somebody began to look.
pub struct Reader<'e> {
    extent: &'e Extent,
    consumer: BaseConsumer<Quiet>,
    /// The offset that comes next.
    next: i64,
}

impl Reader<'_> {
    /// The messages that follow, some thousands at most, fewer where each may lead to `spread` others; `None` after the last one.
    pub fn read(&mut self, spread: usize) -> anyhow::Result<Option<Inbox>> {
        let mut inbox = Inbox::new(&self.extent.place.topic, &self.extent.ours);
        inbox.spread(spread);
        let mut heard_at = Instant::now();
        while !inbox.is_full() && self.next < self.extent.high {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) if message.offset() < self.extent.high => {
                    self.next = message.offset() + 1;
                    heard_at = Instant::now();
                    inbox.put(&message);
                }
                // Offsets may have holes, at the end too.
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => self.next = self.extent.high,
                Some(Err(error)) if heard_at.elapsed() > PATIENCE => bail!("{} cannot be read: {error}", self.extent.name()),
                Some(Err(error)) => tracing::debug!(%error, "Kafka's consumer complains."),
                None => ensure!(heard_at.elapsed() < PATIENCE, "Kafka sends nothing of {}", self.extent.name()),
            }
        }
        Ok((!inbox.is_empty()).then_some(inbox))
    }
}
