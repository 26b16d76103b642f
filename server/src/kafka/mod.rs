//! Kafka as the log: what is ours there, how admission writes it, how engines read it, and the feed from engines to pages.
//!
//! One message is one record, its raw bytes, under the id of its device as key, so that a device lies in one partition. The broker's
//! time of a message is when the record came in. A message with our header is a control message: a timer, a decision of a dead letter, the
//! pairings in force, or a fix that another partition has handed on; another header says of which installation it is. Partitions have
//! numbers of their own in the store; what counts is the store's position, never Kafka's group offsets.

mod engine;
mod extent;
mod feed;
mod hand_on;
mod inbox;
mod insist;
mod installation;
mod letters;
mod partition;
mod produce;
pub mod setup;
mod start;
mod status;
mod take;
mod view;
mod worker;

pub use engine::Engine;
pub use extent::watermarks;
pub(crate) use extent::{Extent, nobody_else};
pub use hand_on::HandOn;
pub use inbox::Inbox;
pub(crate) use inbox::{Kind, Run};
pub use installation::Installation;
pub use partition::{Owned, WORTH_A_RUN, is_other_log};
pub use produce::Intake;
pub use start::start;
pub use status::{Partition, State, Status};
pub(crate) use take::take;

use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};

/// The header by which a message names its source where the record does not.
pub const SOURCE: &str = "source";
/// The header of messages that are more, or less, than a record, with one of the values below.
pub const CONTROL: &str = "rantai";
/// The header of control messages by which their installation knows them: its prefix. One without was written by an older program.
pub const OF: &str = "rantai-of";
/// Time passes, nothing else.
pub const TIMER: &[u8] = b"timer";
/// The value is a decision of a dead letter.
pub const DECISION: &[u8] = b"decision";
/// The value is the pairings in force from here on.
pub const PAIRINGS: &[u8] = b"pairings";
/// The value is a fix that another partition has handed on.
pub const FIX: &[u8] = b"fix";
/// Admission could not read the record.
pub const UNREADABLE: &[u8] = b"unreadable";

/// Numbers of partitions take so many bits of a record's position.
const PARTITION_BITS: u32 = 10;
/// Positions of neighbours in a partition differ by this.
pub(crate) const STEP: u64 = 1 << PARTITION_BITS;
/// The largest message: a request's body, since a record that is too long is kept as a dead letter, and some for its head.
pub(crate) const MAX_MESSAGE_BYTES: usize = crate::admission::body::MAX_BODY_BYTES + (1 << 20);

/// The position of the record in block `number` of a partition: unlike any other's in the store.
pub const fn position(partition: u32, number: u64) -> u64 {
    number << PARTITION_BITS | partition as u64
}

/// The name by which the store knows the log of a partition again.
fn log_name(cluster: &str, topic: &str, partition: i32) -> String {
    format!("kafka {cluster} {topic} {partition}")
}

/// The number of the partition in which the record at `position` lies.
pub(crate) const fn partition_of(position: u64) -> u32 {
    (position & (STEP - 1)) as u32
}

/// How to reach Kafka, and what is ours there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// Brokers to begin with, HOST:PORT with commas.
    pub brokers: String,
    /// Names of our topics and of the group begin with it.
    pub prefix: String,
    /// Topics to which others write bare readings, with commas.
    pub topics: String,
    /// Further options of the client library, KEY=VALUE: for TLS, names and passwords. Not written back.
    #[serde(skip_serializing)]
    pub options: Vec<String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            prefix: "rantai".to_owned(),
            topics: "iot-metrics".to_owned(),
            options: Vec::new(),
        }
    }
}

impl KafkaConfig {
    /// The topic to which admission writes.
    pub fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// The topic by which engines tell pages what changed.
    pub fn feed(&self) -> String {
        format!("{}.feed", self.prefix)
    }

    /// The topic by which engines tell other programs of dead letters.
    pub fn dead_letters(&self) -> String {
        format!("{}.dead-letters", self.prefix)
    }

    /// The group of all engines.
    pub fn group(&self) -> String {
        format!("{}.engines", self.prefix)
    }

    /// The topics to which others write.
    pub fn plain_topics(&self) -> impl Iterator<Item = &str> {
        self.topics.split(',').map(str::trim).filter(|topic| !topic.is_empty())
    }

    /// Every topic that engines read.
    pub fn inputs(&self) -> Vec<String> {
        std::iter::once(self.events()).chain(self.plain_topics().map(str::to_owned)).collect()
    }

    /// Refuses what cannot be.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.brokers.trim().is_empty(), "`kafka_brokers` names no broker");
        let is_name = |name: &str| {
            (1..=200).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        for name in std::iter::once(self.prefix.as_str()).chain(self.plain_topics()) {
            anyhow::ensure!(is_name(name), "`{name}` cannot be in the name of a topic: letters, digits, `.`, `_` and `-` can");
        }
        // The value may be a password: only the key is named.
        for (place, option) in self.options.iter().enumerate() {
            let Some((key, value)) = option.split_once('=') else { anyhow::bail!("Kafka option {} is not KEY=VALUE", place + 1) };
            let (key, value) = (key.trim(), value.to_ascii_uppercase());
            let needs_tls = key == "security.protocol" && value.contains("SSL")
                || key.starts_with("sasl.mechanism") && value.contains("SCRAM");
            anyhow::ensure!(
                cfg!(feature = "kafka-tls") || !needs_tls,
                "this program was built without TLS, which the Kafka option {key}={value} needs: build it with `--features kafka-tls`"
            );
        }
        Ok(())
    }

    /// A client with `defaults`, what was asked for instead of them, and what `must` be.
    pub(crate) fn client(&self, defaults: &[(&str, &str)], must: &[(&str, &str)]) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers).set("client.id", "rantai");
        // Back soon after a broker was away, whatever else is waiting.
        client.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        let options = self.options.iter().filter_map(|option| option.split_once('='));
        for (key, value) in defaults.iter().copied().chain(options).chain(must.iter().copied()) {
            client.set(key.trim(), value);
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_refused_that_this_build_cannot_serve() {
        let check = |options: &[&str], is_fine: bool| {
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            let checked = KafkaConfig { options, ..KafkaConfig::default() }.check();
            assert_eq!(checked.is_ok(), is_fine, "{checked:?}");
        };
        let has_tls = cfg!(feature = "kafka-tls");
        check(&["linger.ms"], false);
        check(&["linger.ms=1", "security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN"], true);
        check(&["security.protocol=sasl_ssl"], has_tls);
        check(&[" sasl.mechanisms = SCRAM-SHA-512"], has_tls);
    }

    #[test]
    fn positions_are_unlike_over_partitions_and_in_order_within_one() {
        assert_eq!((position(3, 7), partition_of(position(3, 7)), position(3, 8) - position(3, 7)), (7 * 1024 + 3, 3, STEP));
        assert_eq!(partition_of(position(1_023, u64::MAX >> 11)), 1_023);
    }
}
