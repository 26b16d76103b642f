//! Counters of the engine, and what else of it belongs to no device.

use super::days::Today;
use super::{Disposition, Pairing};
use crate::event::Reason;
use crate::rollup::StaleHours;
use crate::time::ProcessingTime;
use serde::{Deserialize, Serialize};

/// How many records met which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tally {
    /// All of them: always the sum of the other four.
    pub received: u64,
    /// Accepted.
    pub accepted: u64,
    /// Duplicate.
    pub duplicate: u64,
    /// Late.
    pub late: u64,
    /// Rejected.
    pub rejected: u64,
}

impl Tally {
    /// Counts one record.
    pub fn count(&mut self, disposition: Disposition) {
        self.received += 1;
        *match disposition {
            Disposition::Accepted => &mut self.accepted,
            Disposition::Duplicate => &mut self.duplicate,
            Disposition::Late { .. } => &mut self.late,
            Disposition::Rejected(_) => &mut self.rejected,
        } += 1;
    }
}

impl Tally {
    /// What was counted since it was `before`; nothing where that says more, as in a state that somebody has changed.
    #[must_use]
    pub fn since(&self, before: &Tally) -> Tally {
        Tally {
            received: self.received.saturating_sub(before.received),
            accepted: self.accepted.saturating_sub(before.accepted),
            duplicate: self.duplicate.saturating_sub(before.duplicate),
            late: self.late.saturating_sub(before.late),
            rejected: self.rejected.saturating_sub(before.rejected),
        }
    }

    /// Adds the counts of other records.
    pub fn add(&mut self, other: &Tally) {
        self.received += other.received;
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.rejected += other.rejected;
    }
}

/// Stretches of server time in which nobody read, as far as they matter to a device that is not idle yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// End and length of each, in milliseconds, oldest first.
    stretches: Vec<(i64, i64)>,
}

impl Unread {
    /// Nobody read for `length_ms` until `end`.
    pub(super) fn note(&mut self, end: ProcessingTime, length_ms: i64, idle_after_ms: i64) {
        self.stretches.push((end.ms(), length_ms));
        // Whoever was heard of before one that is followed by so much time in which somebody read is idle already.
        let is_over =
            |of: &Self, (until, _): (i64, i64)| end.ms() - until - of.since(ProcessingTime::from_ms(until)) >= idle_after_ms;
        while self.stretches.first().is_some_and(|first| is_over(self, *first)) {
            self.stretches.remove(0);
        }
    }

    /// For how long nobody read since `at`, in milliseconds.
    pub(super) fn since(&self, at: ProcessingTime) -> i64 {
        self.stretches.iter().rev().take_while(|(end, _)| *end > at.ms()).map(|(_, length)| length).sum()
    }
}

/// All counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Of all records.
    pub all: Tally,
    /// By topic, in the order of [`crate::event::Topic::ALL`]; the last is of records without one.
    pub by_topic: [Tally; 5],
    /// By source, in order of first appearance.
    pub by_source: Vec<(String, Tally)>,
    /// When the newest record of each of them came in, in the same order.
    pub heard_from: Vec<ProcessingTime>,
    /// Of the newest 25 hours in which anything came in, oldest first: when each began, and what was counted before it.
    pub begun_hours: Vec<(i64, Tally)>,
    /// Rejections, in the order of [`crate::event::Reason::ALL`].
    pub by_reason: [u64; Reason::ALL.len()],
    /// When the newest dead letter of each of them came in, and its position, where there is one.
    pub newest_letters: [Option<(ProcessingTime, u64)>; Reason::ALL.len()],
    /// Windows that can no longer change.
    pub closed_windows: u64,
    /// Of those, given out more than once: records came after the first time.
    pub corrected_windows: u64,
    /// When nobody read: that does not count as silence of devices.
    pub unread: Unread,
    /// Figures of hours that changed since their last version.
    pub stale: StaleHours,
    /// The books of the newest day.
    pub today: Today,
    /// Which devices travel with which trackers; one that is not named travels with itself.
    pub pairings: Vec<Pairing>,
}
