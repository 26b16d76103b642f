//! Counters of the engine, and what else of it belongs to no device.

use super::Disposition;
use crate::rollup::StaleHours;
use serde::{Deserialize, Serialize};

/// How many records met which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Adds the counts of other records.
    pub fn add(&mut self, other: &Tally) {
        self.received += other.received;
        self.accepted += other.accepted;
        self.duplicate += other.duplicate;
        self.late += other.late;
        self.rejected += other.rejected;
    }
}

/// All counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Of all records.
    pub all: Tally,
    /// By topic, in the order of [`Topic::ALL`]; the last is of records without one.
    pub by_topic: [Tally; 5],
    /// By source, in order of first appearance.
    pub by_source: Vec<(String, Tally)>,
    /// Rejections, in the order of [`Reason::ALL`].
    pub by_reason: [u64; 16],
    /// Windows that can no longer change.
    pub closed_windows: u64,
    /// Server time in which nobody read, in milliseconds: it does not count as silence of devices.
    pub unread_ms: i64,
    /// Figures of hours that changed since their last version.
    pub stale: StaleHours,
}
