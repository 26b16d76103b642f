//! Fixes on their way from a tracker's partition to those of the devices that travel with it: see `travel.rs`.
//!
//! A device sends through admission or to a topic of somebody else's, so each topic that engines read gets the fix, under the device's id
//! as key. Where the tracker and its device share a partition, it comes back to where it was accepted, and has no effect there.

use super::insist::insist;
use super::produce::{Outgoing, Producer};
use super::status::Watched;
use super::{FIX, KafkaConfig, SOURCE};
use crate::travel::HandedOn;
use rdkafka::error::KafkaError;
use rdkafka::message::Header;
use std::sync::Arc;

/// Fixes that are acknowledged together: the producer has room for other messages beside them.
const AT_ONCE: usize = 1_000;

/// The way to other partitions.
#[derive(Clone)]
pub struct HandOn {
    producer: Arc<Producer>,
    topics: Vec<String>,
    /// The partition that hands them on, where somebody watches it.
    from: Option<Watched>,
}

impl HandOn {
    /// Through `producer`, to the topics of `kafka` that engines read.
    pub(super) fn new(kafka: &KafkaConfig, producer: &Arc<Producer>, from: Option<Watched>) -> Self {
        Self { producer: Arc::clone(producer), topics: kafka.inputs(), from }
    }

    /// The same for who has no producer yet.
    pub(crate) fn open(kafka: &KafkaConfig) -> anyhow::Result<Self> {
        Ok(Self::new(kafka, &Arc::new(Producer::new(kafka)?), None))
    }

    /// Tells `fixes` to all topics, again and again until brokers have acknowledged each of them. A topic that cannot be written is waited
    /// for, since who commits without would lose them: whoever asks how the partition does is told so. What a topic will never take it
    /// does not get.
    pub(crate) async fn tell(&self, fixes: &[HandedOn]) {
        for fixes in fixes.chunks(AT_ONCE) {
            let bodies: Vec<Vec<u8>> = fixes.iter().map(HandedOn::encode).collect();
            let message = |index: usize| {
                let (topic, fix) = (index / fixes.len(), index % fixes.len());
                (self.topics[topic].as_str(), self.message(&fixes[fix], &bodies[fix]))
            };
            let waits = |failed: Option<(&str, &KafkaError)>| {
                if let Some((topic, error)) = failed {
                    tracing::warn!(topic, %error, "Fixes of trackers could not be handed on; trying again.");
                }
                self.from.iter().for_each(|from| from.waits(failed.map(|(topic, error)| (topic, "fixes of trackers", error))));
            };
            let refused = insist(&self.producer, fixes.len() * self.topics.len(), message, waits).await;
            for (index, error) in &refused {
                let (topic, fix) = (&self.topics[index / fixes.len()], &fixes[index % fixes.len()]);
                tracing::error!(topic, device.id = fix.device, %error, "A topic takes no message as long as a tracker's fix: it lacks it.");
            }
            self.from.iter().for_each(|from| from.refused(refused.len() as u64));
        }
    }

    fn message<'a>(&self, fix: &'a HandedOn, body: &'a [u8]) -> Outgoing<'a> {
        let headers = self.producer.control(FIX).insert(Header { key: SOURCE, value: Some(&*fix.source) });
        Outgoing { partition: None, key: Some(fix.device.as_bytes().into()), value: Some(body), headers }
    }
}

#[cfg(test)]
#[path = "hand_on_tests.rs"]
mod tests;
