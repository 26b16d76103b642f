//! Writing to Kafka: a request is answered when the brokers have acknowledged every record of it.
//!
//! The producer is idempotent and waits for all replicas. A record that was not acknowledged in time may have been stored all the
//! same: its sender comes again, and then it is a duplicate. There is no spool here: while Kafka is away, senders are.

use super::{CONTROL, DECISION, KafkaConfig, MAX_MESSAGE_BYTES, OF, PAIRINGS, SOURCE, TIMER, UNREADABLE, partition_of};
use crate::admission::Batch;
use crate::letters::Decision;
use crate::pipeline::Refused;
use crate::store::Store;
use anyhow::Context;
use domain::event::Reason;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Messages that may wait for their acknowledgement; a sender beyond that is asked to come again.
const WAITING: usize = 400_000;
/// After so long without an acknowledgement a sender is asked to come again.
const PATIENCE: Duration = Duration::from_secs(10);
/// A broker that says nothing for so long cannot be reached.
const REACH: Duration = Duration::from_secs(2);
/// Between two looks whether brokers answer.
const LOOK_APART: Duration = Duration::from_secs(1);

/// Messages whose acknowledgements somebody waits for together.
pub(crate) struct Delivery {
    left: AtomicUsize,
    /// What failed first.
    failed: OnceLock<KafkaError>,
    /// Whoever waits says what failed.
    is_quiet: bool,
    reply: std::sync::Mutex<Option<oneshot::Sender<Result<(), KafkaError>>>>,
    waiting: Arc<AtomicUsize>,
}

impl Delivery {
    /// Takes note of what became of `messages` of them.
    fn report(&self, messages: usize, error: Option<&KafkaError>) {
        if let Some(error) = error
            && self.failed.set(error.clone()).is_ok()
            && !self.is_quiet
        {
            tracing::warn!(%error, "Kafka did not take records; their sender is asked to come again.");
        }
        self.waiting.fetch_sub(messages, Ordering::Relaxed);
        if self.left.fetch_sub(messages, Ordering::AcqRel) == messages {
            let reply = self.reply.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(reply) = reply {
                // Whoever has gone away is not told.
                let _ = reply.send(self.failed.get().cloned().map_or(Ok(()), Err));
            }
        }
    }
}

/// Hands acknowledgements to whoever waits for them.
pub(crate) struct Reports;

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka's client complains.");
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Arc<Delivery>) {
        delivery.report(1, result.as_ref().err().map(|(error, _)| error));
    }
}

/// Whether brokers have acknowledged all of some messages; else what failed first.
pub(crate) type Answer = oneshot::Receiver<Result<(), KafkaError>>;

/// A message on its way out.
pub(crate) struct Outgoing<'a> {
    pub partition: Option<i32>,
    pub key: Option<Cow<'a, [u8]>>,
    pub value: Option<&'a [u8]>,
    pub headers: OwnedHeaders,
}

/// A producer that is made anew when its library gives it up.
pub(crate) struct Producer {
    config: ClientConfig,
    /// Control messages are marked with it.
    prefix: String,
    current: RwLock<Arc<ThreadedProducer<Reports>>>,
    waiting: Arc<AtomicUsize>,
}

impl Producer {
    /// A producer that has yet to reach a broker.
    pub fn new(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        let config = kafka.client(
            &[
                ("message.timeout.ms", &PATIENCE.as_millis().to_string()),
                ("socket.timeout.ms", "10000"),
                ("linger.ms", "5"),
                ("compression.type", "lz4"),
            ],
            &[
                ("enable.idempotence", "true"),
                ("acks", "all"),
                ("message.max.bytes", &MAX_MESSAGE_BYTES.to_string()),
                ("queue.buffering.max.messages", &(2 * WAITING).to_string()),
                // As producers in Java do: the same key in the same partition, whoever writes.
                ("partitioner", "murmur2_random"),
            ],
        );
        let current = config.create_with_context(Reports).context("make a producer for Kafka")?;
        Ok(Self { config, prefix: kafka.prefix.clone(), current: RwLock::new(Arc::new(current)), waiting: Arc::default() })
    }

    fn current(&self) -> Arc<ThreadedProducer<Reports>> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends `messages` to `topic`; the answer, whether all were acknowledged, comes later.
    pub fn send<'a>(&self, topic: &str, messages: impl ExactSizeIterator<Item = Outgoing<'a>>) -> Result<Answer, Refused> {
        self.put(topic, messages, false)
    }

    fn put<'a>(
        &self,
        topic: &str,
        messages: impl ExactSizeIterator<Item = Outgoing<'a>>,
        is_quiet: bool,
    ) -> Result<Answer, Refused> {
        let all = messages.len();
        if self.waiting.fetch_add(all, Ordering::Relaxed) + all > WAITING.max(all) {
            self.waiting.fetch_sub(all, Ordering::Relaxed);
            return Err(Refused::Busy);
        }
        let (reply, answer) = oneshot::channel();
        let delivery = Arc::new(Delivery {
            left: AtomicUsize::new(all),
            failed: OnceLock::new(),
            is_quiet,
            reply: std::sync::Mutex::new(Some(reply)),
            waiting: Arc::clone(&self.waiting),
        });
        let producer = self.current();
        for (sent, message) in messages.enumerate() {
            let mut record: BaseRecord<'_, [u8], [u8], _> = BaseRecord::with_opaque_to(topic, Arc::clone(&delivery));
            (record.partition, record.key, record.payload) = (message.partition, message.key.as_deref(), message.value);
            record.headers = Some(message.headers);
            if let Err((error, _)) = producer.send(record) {
                delivery.report(all - sent, Some(&error));
                self.heal(&producer);
                break;
            }
        }
        Ok(answer)
    }

    /// Sends `messages` to `topic` and waits until all of them are acknowledged.
    pub async fn deliver<'a>(&self, topic: &str, messages: impl ExactSizeIterator<Item = Outgoing<'a>>) -> Result<(), Refused> {
        let answer = self.send(topic, messages)?;
        if domain::planted("ack-before-the-brokers") {
            return Ok(());
        }
        if let Ok(Ok(())) = answer.await {
            return Ok(());
        }
        self.heal(&self.current());
        Err(Refused::Unwritable)
    }

    /// Sends each of `messages`, with its topic, and waits for all: what became of each, in their order.
    pub async fn deliver_each<'a>(&self, messages: impl Iterator<Item = (&'a str, Outgoing<'a>)>) -> Vec<Result<(), KafkaError>> {
        let full = || KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
        let answers: Vec<_> = messages.map(|(topic, message)| self.put(topic, std::iter::once(message), true)).collect();
        let mut results = Vec::with_capacity(answers.len());
        for answer in answers {
            results.push(match answer {
                Ok(answer) => answer.await.unwrap_or(Err(KafkaError::Canceled)),
                Err(_) => Err(full()),
            });
        }
        if results.iter().any(Result::is_err) {
            self.heal(&self.current());
        }
        results
    }

    /// Puts another in the place of `producer` if that one will never work again.
    fn heal(&self, producer: &Arc<ThreadedProducer<Reports>>) {
        let Some((code, reason)) = producer.client().fatal_error() else { return };
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, producer) {
            return; // somebody was faster
        }
        match self.config.create_with_context(Reports) {
            Ok(fresh) => {
                tracing::warn!(%code, reason, "Kafka's client gave its producer up; another one takes its place.");
                let old = std::mem::replace(&mut *current, Arc::new(fresh));
                // It waits for its thread.
                std::thread::spawn(move || drop(old));
            }
            Err(error) => tracing::error!(%error, "Kafka's client gave its producer up, and another one cannot be made."),
        }
    }

    /// Whether brokers answer and have `topic`.
    fn reaches(&self, topic: &str) -> bool {
        // Asked for all: a broker may make a topic that somebody names.
        let told = self.current().client().fetch_metadata(None, REACH);
        told.is_ok_and(|all| {
            all.topics().iter().any(|of| of.name() == topic && of.error().is_none() && !of.partitions().is_empty())
        })
    }

    /// Makes time pass in a partition: its owner hears of it in the order of the log.
    pub fn send_timer(&self, topic: &str, partition: i32) {
        self.send_control(topic, partition, TIMER, None);
    }

    /// Notes the pairings in force in a partition.
    pub fn send_pairings(&self, topic: &str, partition: i32, body: &[u8]) {
        self.send_control(topic, partition, PAIRINGS, Some(body));
    }

    /// The headers of a control message.
    pub fn control(&self, what: &[u8]) -> OwnedHeaders {
        let own = Header { key: OF, value: Some(self.prefix.as_bytes()) };
        OwnedHeaders::new().insert(Header { key: CONTROL, value: Some(what) }).insert(own)
    }

    fn send_control(&self, topic: &str, partition: i32, what: &[u8], value: Option<&[u8]>) {
        let message = Outgoing { partition: Some(partition), key: None, value, headers: self.control(what) };
        // Lost: it is sent again.
        let _ = self.send(topic, std::iter::once(message));
    }
}

/// The way into Kafka for what admission takes in.
pub struct Intake {
    producer: Arc<Producer>,
    topic: String,
    store: Store,
    /// When somebody asked last whether brokers answer, and whether they did.
    looked: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

impl Intake {
    /// For `kafka`, whose partitions `store` numbers.
    pub(crate) fn new(kafka: &KafkaConfig, store: Store) -> anyhow::Result<Self> {
        let producer = Arc::new(Producer::new(kafka)?);
        Ok(Self { producer, topic: kafka.events(), store, looked: tokio::sync::Mutex::default() })
    }

    /// Whether brokers answer and have the topic. Who asks at once with others gets their answer.
    pub(crate) async fn is_reachable(&self) -> bool {
        let mut looked = self.looked.lock().await;
        if let Some((at, found)) = *looked
            && at.elapsed() < LOOK_APART
        {
            return found;
        }
        let (producer, topic) = (Arc::clone(&self.producer), self.topic.clone());
        let found = tokio::task::spawn_blocking(move || producer.reaches(&topic)).await.unwrap_or(false);
        *looked = Some((Instant::now(), found));
        found
    }

    /// Sends every record of `batch`, those that admission rejects too: the engine makes their dead letters.
    pub(crate) async fn submit(&self, batch: &Batch, source: &str) -> Result<(), Refused> {
        let messages = (0..batch.len()).map(|index| {
            let mut headers = OwnedHeaders::new_with_capacity(1).insert(Header { key: SOURCE, value: Some(source) });
            if batch.rejection(index) == Some(Reason::MalformedJson) {
                headers = headers.insert(Header { key: CONTROL, value: Some(UNREADABLE) });
            }
            Outgoing { partition: None, key: batch.key(index), value: Some(batch.raw_record(index)), headers }
        });
        self.producer.deliver(&self.topic, messages).await
    }

    /// Sends a decision into the partition of its letter.
    pub(crate) async fn decide(&self, decision: &Decision, raw: &[u8], source: &str) -> Result<(), Refused> {
        let number = partition_of(decision.letter);
        let places = self.store.kafka_partitions().await.map_err(|error| {
            tracing::error!(%error, "Cannot look up a partition.");
            Refused::Unwritable
        })?;
        let Some(place) = places.into_iter().find(|place| place.number == number) else {
            tracing::error!(letter = decision.letter, "There is no partition of that number.");
            return Err(Refused::Unwritable);
        };
        let body = decision.encode(raw);
        let headers = self.producer.control(DECISION).insert(Header { key: SOURCE, value: Some(source) });
        let message = Outgoing { partition: Some(place.partition), key: None, value: Some(&body), headers };
        self.producer.deliver(&place.topic, std::iter::once(message)).await
    }
}
