//! Fixes on their way from a tracker's partition to those of the devices that travel with it: see `travel.rs`.
//!
//! A device sends through admission or to a topic of somebody else's, so each topic that engines read gets the fix, under the device's id
//! as key. Where the tracker and its device share a partition, it comes back to where it was accepted, and has no effect there.

use super::produce::{Outgoing, Producer};
use super::{CONTROL, FIX, KafkaConfig, SOURCE};
use crate::travel::HandedOn;
use rdkafka::message::{Header, OwnedHeaders};
use std::sync::Arc;
use std::time::Duration;

/// Before what was not acknowledged is told again.
const PAUSE: Duration = Duration::from_millis(500);
/// Fixes that are acknowledged together: the producer has room for other messages beside them.
const AT_ONCE: usize = 1_000;

/// The way to other partitions.
#[derive(Clone)]
pub struct HandOn {
    producer: Arc<Producer>,
    topics: Vec<String>,
}

impl HandOn {
    /// Through `producer`, to the topics of `kafka` that engines read.
    pub(super) fn new(kafka: &KafkaConfig, producer: &Arc<Producer>) -> Self {
        Self { producer: Arc::clone(producer), topics: kafka.inputs() }
    }

    /// The same for who has no producer yet.
    pub(crate) fn open(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        Ok(Self::new(kafka, &Arc::new(Producer::new(kafka)?)))
    }

    /// Tells `fixes`, again and again until brokers have acknowledged all of them.
    pub(crate) async fn tell(&self, fixes: &[HandedOn]) {
        for fixes in fixes.chunks(AT_ONCE) {
            let bodies: Vec<Vec<u8>> = fixes.iter().map(HandedOn::encode).collect();
            for topic in &self.topics {
                let messages = || fixes.iter().zip(&bodies).map(|(fix, body)| message(fix, body));
                while self.producer.deliver(topic, messages()).await.is_err() {
                    tracing::warn!(topic, "Fixes of trackers could not be handed on; trying again.");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

fn message<'a>(fix: &'a HandedOn, body: &'a [u8]) -> Outgoing<'a> {
    let headers = OwnedHeaders::new()
        .insert(Header { key: SOURCE, value: Some(fix.source.as_str()) })
        .insert(Header { key: CONTROL, value: Some(FIX) });
    Outgoing { partition: None, key: Some(fix.device.as_bytes().into()), value: Some(body), headers }
}
