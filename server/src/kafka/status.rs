//! How the partitions of this process do, for health and metrics.

use crate::pipeline::CHECKPOINT_PATIENCE;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a partition is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its state is being loaded and the log behind it read again.
    Restoring,
    /// Its records are processed as they come.
    Running,
    /// Part of its log is gone, and it stands still until somebody decides to go on without: offsets `from` to before `to`.
    Gap {
        /// The first offset that is missing.
        from: i64,
        /// The first that is there; before `from` where the log was cut off.
        to: i64,
    },
    /// Its topic was made anew, or cut off and written on: Kafka has other messages than those that were processed. It stands still.
    OtherLog,
}

/// How a partition does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// What it is doing.
    pub state: State,
    /// The next offset to be processed.
    pub next_offset: i64,
    /// Records processed here since it was taken over.
    pub processed: u64,
    /// Messages in Kafka that are not fetched yet.
    pub lag: u64,
    /// A topic that does not take what has to arrive before a checkpoint: nothing is put away meanwhile.
    pub waits_for: Option<String>,
    /// Fixes of trackers that topics will never take, since it was taken over here.
    pub refused: u64,
    /// Since when a checkpoint of it is being written.
    pub writing_since: Option<Instant>,
}

type Partitions = BTreeMap<(String, i32), Partition>;

/// The partitions that this process owns now.
#[derive(Clone, Debug, Default)]
pub struct Status(Arc<Mutex<Partitions>>);

impl Status {
    fn lock(&self) -> MutexGuard<'_, Partitions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, by topic and number within the topic.
    pub fn partitions(&self) -> Partitions {
        self.lock().clone()
    }

    /// Whether all of them are processed.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|partition| partition.state == State::Running)
    }

    /// A sentence for each that stands still, or of which nothing is put away.
    pub fn standstills(&self) -> Vec<String> {
        let sentence = |((topic, partition), of): (&(String, i32), &Partition)| match of.state {
            State::Gap { from, to } => Some(format!("partition {partition} of {topic} stands still: gap({from},{to})")),
            State::OtherLog => Some(format!(
                "partition {partition} of {topic} stands still: its topic was made anew, and has other messages than were processed"
            )),
            State::Restoring | State::Running => {
                let waits = of.writing_since.is_some_and(|since| since.elapsed() >= CHECKPOINT_PATIENCE);
                let why = of.waits_for.as_deref().or_else(|| waits.then_some("the database takes nothing"));
                why.map(|why| format!("partition {partition} of {topic} puts nothing away: {why}"))
            }
        };
        self.lock().iter().filter_map(sentence).collect()
    }

    pub(super) fn lag(&self, topic: &str, partition: i32) -> u64 {
        self.lock().get(&(topic.to_owned(), partition)).map_or(0, |of| of.lag)
    }

    /// One partition of them, for who writes down what becomes of it.
    pub(super) fn watched(&self, topic: &str, partition: i32) -> Watched {
        Watched { all: self.clone(), topic: topic.to_owned(), partition }
    }

    pub(super) fn begin(&self, topic: &str, partition: i32) {
        let fresh = Partition {
            state: State::Restoring,
            next_offset: 0,
            processed: 0,
            lag: 0,
            waits_for: None,
            refused: 0,
            writing_since: None,
        };
        self.lock().insert((topic.to_owned(), partition), fresh);
    }

    pub(super) fn end(&self, topic: &str, partition: i32) {
        self.lock().remove(&(topic.to_owned(), partition));
    }

    pub(super) fn change(&self, topic: &str, partition: i32, change: impl FnOnce(&mut Partition)) {
        if let Some(found) = self.lock().get_mut(&(topic.to_owned(), partition)) {
            change(found);
        }
    }
}

/// A partition whose checkpoints are being written.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    all: Status,
    topic: String,
    partition: i32,
}

impl Watched {
    /// What keeps its checkpoint waiting, where anything does: a topic, what it does not take, and why.
    pub fn waits(&self, why: Option<(&str, &str, &KafkaError)>) {
        let why = why.map(|(topic, what, error)| format!("the topic {topic} does not take {what}: {error}"));
        self.all.change(&self.topic, self.partition, |of| of.waits_for = why);
    }

    /// So many fixes more were refused for good.
    pub fn refused(&self, fixes: u64) {
        self.all.change(&self.topic, self.partition, |of| of.refused += fixes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `/readyz` asks for these, with pages and without.
    #[test]
    fn a_checkpoint_that_waits_is_told() {
        let status = Status::default();
        status.begin("events", 1);
        let told = |since: Option<Instant>| {
            status.change("events", 1, |of| (of.state, of.writing_since) = (State::Running, since));
            status.standstills()
        };
        let (now, long_ago) = (Instant::now(), Instant::now().checked_sub(CHECKPOINT_PATIENCE));
        assert_eq!((told(None), told(Some(now))), (Vec::new(), Vec::new()));
        assert!(long_ago.is_none() || told(long_ago)[0].starts_with("partition 1 of events puts nothing away"));
    }
}
