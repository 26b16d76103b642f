//! The engine on Kafka: one member of the consumer group, one worker for each partition that it is given.
//!
//! This thread serves the group, workers fetch and process. A partition begins at the position that the store holds, and ends with a last
//! checkpoint before it is given back. Fetched messages wait in a queue of the partition whose length is bounded: a worker that the
//! database holds up does not fetch, and this thread polls on, so that the group does not take it for dead.

use super::hand_on::HandOn;
use super::installation::Installation;
use super::produce::Producer;
use super::status::Status;
use super::worker::{Ended, Order, Worker, WorkerParts};
use super::{KafkaConfig, letters};
use crate::identities::Sizes;
use crate::pipeline::{Due, Thread, fail};
use crate::store::Store;
use anyhow::{Context as _, ensure};
use domain::engine::EngineConfig;
use domain::master::Master;
use domain::planted;
use rdkafka::bindings::rd_kafka_resp_err_t::{RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS, RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A member that was not heard of for so long has lost its partitions.
const SESSION: Duration = Duration::from_secs(10);
/// How long a partition that is given back may take for its last checkpoint; without it the next owner repeats some work.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the store may be away when a partition is to begin.
const STORE_PATIENCE: Duration = Duration::from_mins(1);
/// Messages of a partition that are fetched ahead: what one fetch of a worker takes, and some. The library keeps a few hundred bytes for
/// each, and its own limit is for a program with one queue.
const FETCHED: usize = 16_000;
/// And their bytes, in KiB.
const FETCHED_KIB: usize = 8 * 1024;

/// What an engine needs.
pub struct Engine {
    /// How to reach Kafka.
    pub kafka: KafkaConfig,
    /// The store.
    pub store: Store,
    /// Master data.
    pub master: Arc<Master>,
    /// Limits and windows.
    pub config: EngineConfig,
    /// When checkpoints are due.
    pub checkpoint_every: Duration,
    /// Where memories of identities lie, a folder each.
    pub dir: PathBuf,
    /// How partitions do.
    pub status: Status,
    /// Ends it.
    pub stop: CancellationToken,
}

/// What the group wants.
enum Wish {
    Assign(TopicPartitionList),
    Revoke { partitions: TopicPartitionList, are_lost: bool },
}

/// Notes what the group wants: it is done by the thread that polls, between two polls.
pub(super) struct Group {
    wishes: mpsc::Sender<Wish>,
    status: Status,
    is_closing: AtomicBool,
}

impl ClientContext for Group {
    fn stats(&self, statistics: Statistics) {
        for topic in statistics.topics.values() {
            for (number, partition) in &topic.partitions {
                let end = partition.ls_offset.max(0);
                self.status.change(&topic.topic, *number, |of| of.lag = (end - of.next_offset).max(0) as u64);
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka's client complains.");
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let wish = match what {
            RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS if !self.is_closing.load(Ordering::Acquire) => Wish::Assign(partitions.clone()),
            RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS if !self.is_closing.load(Ordering::Acquire) => {
                Wish::Revoke { partitions: partitions.clone(), are_lost: consumer.assignment_lost() }
            }
            // Nothing is owned any more: there is nothing to be done first.
            RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                if let Err(error) = consumer.incremental_unassign(partitions) {
                    tracing::warn!(%error, "Cannot give partitions back.");
                }
                return;
            }
            other => {
                tracing::warn!(?other, "Kafka's group did something unexpected.");
                return;
            }
        };
        // Received by the thread that polls, which is this one.
        let _ = self.wishes.send(wish);
    }
}

struct Running {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<anyhow::Result<Ended>>,
}

/// Keys of what this process owns.
type Key = (String, i32);

struct Member {
    engine: Engine,
    consumer: Arc<BaseConsumer<Group>>,
    producer: Arc<Producer>,
    cluster: String,
    ours: Installation,
    feed_partitions: i32,
    workers: HashMap<Key, Running>,
    /// How many there are of them.
    owned: Arc<AtomicUsize>,
    runtime: tokio::runtime::Handle,
}

impl Engine {
    /// Joins the group. Must be called inside a Tokio runtime.
    pub async fn start(self) -> anyhow::Result<Thread> {
        let (wishes, to_do) = mpsc::channel();
        let config = self.kafka.client(
            &[
                ("session.timeout.ms", &SESSION.as_millis().to_string()),
                ("heartbeat.interval.ms", "2000"),
                ("fetch.wait.max.ms", "100"),
            ],
            &[
                ("group.id", &self.kafka.group()),
                ("partition.assignment.strategy", "cooperative-sticky"),
                // The store knows where to begin, and a position that is gone is for people to decide about.
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", if planted("gap-is-passed-over") { "earliest" } else { "error" }),
                ("queued.min.messages", &FETCHED.to_string()),
                ("queued.max.messages.kbytes", &FETCHED_KIB.to_string()),
                // Otherwise a partition of which enough is fetched is left alone for a second, and the worker waits for most of it.
                ("fetch.queue.backoff.ms", "10"),
                ("statistics.interval.ms", "1000"),
            ],
        );
        let context = Group { wishes, status: self.status.clone(), is_closing: AtomicBool::new(false) };
        let runtime = tokio::runtime::Handle::current();
        let ours =
            Installation::noted(&self.kafka, &self.store).await.context("note under which name this installation writes")?;
        let member = tokio::task::spawn_blocking(move || -> anyhow::Result<Member> {
            let consumer: BaseConsumer<Group> = config.create_with_context(context).context("make a consumer for Kafka")?;
            let inputs = self.kafka.inputs();
            let feed_partitions = super::setup::check_topics(&self.kafka, &self.config.pairings, consumer.client(), &runtime)?;
            let cluster = consumer.client().fetch_cluster_id(Duration::from_secs(10)).context("ask Kafka for its name")?;
            let names: Vec<&str> = inputs.iter().map(String::as_str).collect();
            consumer.subscribe(&names).context("join the group")?;
            let producer = Arc::new(Producer::new(&self.kafka)?);
            let consumer = Arc::new(consumer);
            let (workers, owned) = (HashMap::new(), Arc::default());
            Ok(Member { consumer, producer, cluster, ours, feed_partitions, workers, owned, runtime, engine: self })
        });
        let member = member.await.context("reach Kafka")??;
        let thread = std::thread::Builder::new().name("kafka".into()).spawn(move || member.run(&to_do))?;
        Ok(("kafka", thread))
    }
}

impl Member {
    fn run(mut self, wishes: &mpsc::Receiver<Wish>) -> anyhow::Result<()> {
        while !self.engine.stop.is_cancelled() {
            match self.consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => {
                    // Queues are split before anything is fetched. Passing over a record would lose it.
                    let (topic, partition) = (message.topic().to_owned(), message.partition());
                    fail(&format!("a message of {topic}/{partition} came another way than its worker's"));
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => fail(&format!("Kafka's client gave up: {code}")),
                Some(Err(error)) => tracing::debug!(%error, "Kafka's consumer complains."),
                None => {}
            }
            for wish in wishes.try_iter() {
                match wish {
                    Wish::Assign(partitions) => self.assign(partitions)?,
                    Wish::Revoke { partitions, are_lost } => self.revoke(&partitions, are_lost)?,
                }
            }
            self.look_after()?;
            // Also where nobody waits for ever for a connection.
            while planted("group-waits-for-the-store") && self.runtime.block_on(self.engine.store.needed_from(0)).is_err() {}
        }
        let all: Vec<Key> = self.workers.keys().cloned().collect();
        let result = self.end(&all, true);
        self.consumer.context().is_closing.store(true, Ordering::Release);
        // Leaves the group: what is left of the assignment goes back.
        drop(self.consumer);
        result
    }

    fn assign(&mut self, mut partitions: TopicPartitionList) -> anyhow::Result<()> {
        let keys: Vec<Key> = partitions.elements().iter().map(|p| (p.topic().to_owned(), p.partition())).collect();
        let mut begun = Vec::new();
        for (topic, partition) in keys {
            let (number, block) = self.beginning(&topic, partition)?;
            let offset = match block {
                None if planted("begins-at-the-end") => Offset::End,
                None => Offset::Beginning,
                Some(_) if planted("offset-of-kafka-is-believed") => Offset::Stored,
                Some(block) => Offset::Offset(block as i64 - 1),
            };
            partitions.set_partition_offset(&topic, partition, offset).context("note where a partition begins")?;
            // Before anything is fetched: from now on its messages come this way.
            let queue = self.consumer.split_partition_queue(&topic, partition).context("take a partition's queue")?;
            self.engine.status.begin(&topic, partition);
            let (orders, to_do) = mpsc::channel();
            let worker = WorkerParts {
                log: super::log_name(&self.cluster, &topic, partition),
                dir: self.engine.dir.join(format!("partition-{topic}-{partition}")),
                number,
                begin: block.unwrap_or(1),
                queue,
                consumer: Arc::clone(&self.consumer),
                producer: Arc::clone(&self.producer),
                store: self.engine.store.clone(),
                master: Arc::clone(&self.engine.master),
                config: self.engine.config.clone(),
                due: Due { records: 200_000, bytes: 32 << 20, every: self.engine.checkpoint_every, identities: Sizes::default() },
                status: self.engine.status.clone(),
                feed: (self.engine.kafka.feed(), self.feed_partitions),
                letters: letters::Place {
                    to: self.engine.kafka.dead_letters(),
                    topic: topic.clone(),
                    partition,
                    from: self.engine.status.watched(&topic, partition),
                },
                others: HandOn::new(&self.engine.kafka, &self.producer, Some(self.engine.status.watched(&topic, partition))),
                owned: Arc::clone(&self.owned),
                ours: self.ours.clone(),
                runtime: self.runtime.clone(),
                orders: to_do,
                topic: topic.clone(),
                partition,
            };
            begun.push(((topic, partition), worker, orders));
        }
        tracing::info!(partitions = begun.len(), "Kafka's group gives partitions to this process.");
        self.consumer.incremental_assign(&partitions).context("take partitions")?;
        for (key, parts, orders) in begun {
            let name = format!("{}/{}", key.0, key.1);
            let thread = std::thread::Builder::new().name(name).spawn(move || Worker::run(parts))?;
            self.workers.insert(key, Running { orders, thread });
        }
        self.owned.store(self.workers.len(), Ordering::Relaxed);
        Ok(())
    }

    /// The number of a partition, and the first block that it needs. The store may be away for a while.
    fn beginning(&self, topic: &str, partition: i32) -> anyhow::Result<(u32, Option<u64>)> {
        let since = Instant::now();
        loop {
            let store = &self.engine.store;
            let ask = async {
                let number = store.kafka_partition(topic, partition).await?;
                Ok::<_, crate::store::StoreError>((number, store.begins_at(number).await?))
            };
            match self.runtime.block_on(ask) {
                Ok(found) => return Ok(found),
                Err(error) if error.may_pass() && since.elapsed() < STORE_PATIENCE => {
                    tracing::warn!(%error, "The store cannot say where a partition begins; trying again.");
                    std::thread::sleep(Duration::from_millis(500));
                }
                Err(error) => return Err(error).with_context(|| format!("begin with partition {partition} of {topic}")),
            }
        }
    }

    fn revoke(&mut self, partitions: &TopicPartitionList, are_lost: bool) -> anyhow::Result<()> {
        let keys: Vec<Key> = partitions.elements().iter().map(|p| (p.topic().to_owned(), p.partition())).collect();
        tracing::info!(partitions = keys.len(), are_lost, "Kafka's group takes partitions from this process.");
        self.end(&keys, !are_lost)?;
        self.consumer.incremental_unassign(partitions).context("give partitions back")?;
        Ok(())
    }

    /// Ends workers, with a last checkpoint where they `drain`.
    fn end(&mut self, keys: &[Key], drain: bool) -> anyhow::Result<()> {
        let ending: Vec<(Key, Running)> = keys.iter().filter_map(|key| self.workers.remove_entry(key)).collect();
        for (_, worker) in &ending {
            // One that has ended already needs no order.
            let _ = worker.orders.send(if drain { Order::Drain(DRAIN) } else { Order::Drop });
        }
        for ((topic, partition), worker) in ending {
            let result = worker.thread.join();
            self.engine.status.end(&topic, partition);
            result.map_err(|_| anyhow::anyhow!("the worker of {topic}/{partition} panicked"))??;
        }
        self.owned.store(self.workers.len(), Ordering::Relaxed);
        Ok(())
    }

    /// A worker ends by itself only when something is wrong, or when its gap was accepted: then its partition begins anew.
    fn look_after(&mut self) -> anyhow::Result<()> {
        let ended: Vec<Key> = self.workers.iter().filter(|(_, w)| w.thread.is_finished()).map(|(key, _)| key.clone()).collect();
        for key in ended {
            let worker = self.workers.remove(&key).expect("it was just seen");
            let result = worker.thread.join().map_err(|_| anyhow::anyhow!("the worker of {}/{} panicked", key.0, key.1))?;
            if let Ended::ToBeginAnew = result.with_context(|| format!("partition {} of {}", key.1, key.0))? {
                let mut again = TopicPartitionList::new();
                again.add_partition(&key.0, key.1);
                self.consumer.incremental_unassign(&again).context("let go of a partition")?;
                self.assign(again)?;
                continue;
            }
            ensure!(self.engine.stop.is_cancelled(), "the worker of {}/{} ended unexpectedly", key.0, key.1);
        }
        Ok(())
    }
}
