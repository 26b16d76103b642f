//! The topic of dead letters, for programs that want to hear of them: every record that was rejected, its bytes as they came, under its
//! position as key.
//!
//! They are told before the checkpoint is committed that holds them, so none is in the table alone, but for what is too long for the topic.
//! After a crash some may be told again, under the same key: what counts is the table.

use super::insist::insist;
use super::produce::{Outgoing, Producer};
use super::status::Watched;
use super::{PARTITION_BITS, SOURCE};
use crate::side::{Cause, SideRow, SideRows};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};

/// Where they are told, and what they come from.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The topic that takes them.
    pub to: String,
    /// The topic of the records,
    pub topic: String,
    /// and the partition in it.
    pub partition: i32,
    /// How that one does.
    pub from: Watched,
}

/// Tells `letters`, again and again until brokers have acknowledged each of them, or refused it for good.
pub(super) async fn tell(producer: &Producer, place: &Place, letters: &SideRows) {
    if domain::planted("dead-letters-are-not-told") {
        return;
    }
    for block in letters.blocks() {
        let rows: Vec<_> = block.rows().map(|row| (row.position.to_string(), row)).collect();
        let told = |index: usize| {
            let (key, row): &(String, SideRow) = &rows[index];
            (place.to.as_str(), message(place, key, row))
        };
        let waits = |failed: Option<(&str, &KafkaError)>| {
            if let Some((topic, error)) = failed {
                tracing::warn!(topic, %error, "Dead letters could not be told; trying again.");
            }
            place.from.waits(failed.map(|(topic, error)| (topic, "dead letters", error)));
        };
        for (index, error) in insist(producer, rows.len(), told, waits).await {
            let position = rows[index].1.position;
            tracing::warn!(topic = place.to, position, %error, "A dead letter is too long for its topic: it is in the table alone.");
        }
    }
}

fn message<'a>(place: &Place, key: &'a str, row: &'a SideRow) -> Outgoing<'a> {
    let (reason, field) = match &row.cause {
        Cause::Rejected { reason, field } => (reason.name(), field.as_str()),
        Cause::Late { .. } => ("", ""), // never among dead letters
    };
    let offset = (row.position >> PARTITION_BITS).saturating_sub(1);
    let headers = [
        ("reason", reason),
        ("field", field),
        (SOURCE, row.source.as_str()),
        ("received_at", &row.received_at.to_string()),
        ("topic", &place.topic),
        ("partition", &place.partition.to_string()),
        ("offset", &offset.to_string()),
    ];
    let headers =
        headers.into_iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }));
    Outgoing { partition: None, key: Some(key.as_bytes().into()), value: Some(&row.raw), headers }
}
