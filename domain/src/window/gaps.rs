//! What stays open behind the watermark of a device: the stretches whose slots are not complete.

use serde::{Deserialize, Serialize};

/// Event time behind the watermark whose slots are not complete: [from, to) in starts of shortest windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap {
    pub from: i64,
    pub to: i64,
    /// Server time at which M(d) − B0 first passed these windows' ends by L.
    pub passed_at: i64,
}

/// The gaps of a device, in order of `from`; `passed_at` never decreases along it.
///
/// Nearly every reading lies after all gaps, and nearly every look finds none expired: both bounds stand here, so that neither
/// has to touch the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Gap>", into = "Vec<Gap>")]
pub(super) struct Gaps {
    list: Vec<Gap>,
    /// The largest `to`; `i64::MIN` without gaps.
    pub end: i64,
    /// The smallest `passed_at`; `i64::MAX` without gaps.
    oldest: i64,
}

impl Default for Gaps {
    fn default() -> Self {
        Gaps::from(Vec::new())
    }
}

impl From<Vec<Gap>> for Gaps {
    fn from(list: Vec<Gap>) -> Self {
        let end = list.last().map_or(i64::MIN, |gap| gap.to);
        let oldest = list.first().map_or(i64::MAX, |gap| gap.passed_at);
        Self { list, end, oldest }
    }
}

impl From<Gaps> for Vec<Gap> {
    fn from(gaps: Gaps) -> Self {
        gaps.list
    }
}

impl Gaps {
    /// Changes the list and brings the bounds after it.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Vec<Gap>) -> T) -> T {
        let mut list = std::mem::take(&mut self.list);
        let result = change(&mut list);
        *self = Gaps::from(list);
        result
    }

    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether any of [from, to) is open though behind.
    pub fn overlap(&self, from: i64, to: i64) -> bool {
        if from >= self.end {
            return false;
        }
        let first = self.list.partition_point(|gap| gap.to <= from);
        self.list.get(first).is_some_and(|gap| gap.from < to)
    }

    /// Takes [from, to) out; whether there was any of it.
    pub fn cut(&mut self, from: i64, to: i64) -> bool {
        if from >= self.end {
            return false;
        }
        self.change(|list| {
            let first = list.partition_point(|gap| gap.to <= from);
            let last = list.partition_point(|gap| gap.from < to);
            if first >= last {
                return false;
            }
            let (left, right) = (list[first], list[last - 1]);
            let rest = [Gap { to: from, ..left }, Gap { from: to, ..right }];
            list.splice(first..last, rest.into_iter().filter(|gap| gap.from < gap.to));
            true
        })
    }

    /// Takes out what was passed at or before `passed_at`; whether there was any.
    pub fn expire(&mut self, passed_at: i64) -> bool {
        if self.oldest > passed_at {
            return false;
        }
        self.change(|list| {
            let keep_from = list.partition_point(|gap| gap.passed_at <= passed_at);
            list.drain(..keep_from);
        });
        true
    }
}
