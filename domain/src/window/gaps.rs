//! What stays open behind the watermark of a device: the stretches whose slots are not complete.

use super::packed::as_bytes;
use crate::planted;
use crate::varint::{Numbers, put, put_signed};
use serde::{Deserialize, Serialize};

/// Event time behind the watermark whose slots are not complete: [from, to) in starts of shortest windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[serde(try_from = "Stored", into = "Stored")]
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

/// Gaps as numbers of `varint`. Those that a device made by running ahead lie end to end and were passed one soon after the other, so a
/// gap is told by the one before it: where it begins after that one's end, its length, and how much later it was passed.
#[derive(Serialize, Deserialize)]
struct Stored(#[serde(serialize_with = "as_bytes")] Box<[u8]>);

impl From<Gaps> for Stored {
    fn from(gaps: Gaps) -> Self {
        let mut data = Vec::with_capacity(gaps.list.len() * 6);
        let (mut end, mut passed_at) = (0, 0);
        for gap in gaps.list {
            put_signed(&mut data, gap.from.wrapping_sub(end));
            put(&mut data, gap.to.wrapping_sub(gap.from) as u64);
            put_signed(&mut data, if planted("stored-gaps-expire-at-once") { 0 } else { gap.passed_at.wrapping_sub(passed_at) });
            (end, passed_at) = (gap.to, gap.passed_at);
        }
        Self(data.into())
    }
}

impl TryFrom<Stored> for Gaps {
    type Error = &'static str;

    fn try_from(Stored(data): Stored) -> Result<Self, Self::Error> {
        let mut data = Numbers(&data);
        let mut list: Vec<Gap> = Vec::new();
        while !data.0.is_empty() {
            let gap = gap_after(list.last(), &mut data).ok_or("gaps that are none, or out of order")?;
            list.push(gap);
        }
        Ok(list.into())
    }
}

/// The next gap; `None` where it is cut off or does not lie after the one `before`.
fn gap_after(before: Option<&Gap>, data: &mut Numbers<'_>) -> Option<Gap> {
    let (end, passed) = before.map_or((0, 0), |before| (before.to, before.passed_at));
    let from = end.wrapping_add(data.get_signed()?);
    let to = from.wrapping_add(data.get()? as i64);
    let passed_at = passed.wrapping_add(data.get_signed()?);
    let is_after = before.is_none_or(|before| before.to <= from && before.passed_at <= passed_at);
    (is_after && from < to).then_some(Gap { from, to, passed_at })
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gap(from: i64, to: i64, passed_at: i64) -> Gap {
        Gap { from, to, passed_at }
    }

    proptest! {
        #[test]
        fn gaps_are_read_as_they_were_written(first in prop_oneof![Just(i64::MIN), any::<i32>().prop_map(i64::from)],
            steps in proptest::collection::vec((0..3i64, 1..4i64, 0..5_000i64), 0..9)) {
            let (mut from, mut passed_at) = (first, 1_700_000_000_000);
            let list: Vec<Gap> = steps.into_iter().map(|(skipped, len, later)| {
                // What nothing bounds from below ends where the other ones may begin.
                let start = from.saturating_add(skipped * 10_000);
                let to = if from == i64::MIN { 0 } else { start + len * 10_000 };
                passed_at += later;
                let is = gap(if from == i64::MIN { from } else { start }, to, passed_at);
                from = to;
                is
            }).collect();
            let gaps = Gaps::from(list);
            prop_assert_eq!(Gaps::try_from(Stored::from(gaps.clone())), Ok(gaps));
        }
    }

    #[test]
    fn what_is_none_or_out_of_order_is_refused() {
        let stored = |gaps: &[Gap]| Stored::from(Gaps::from(gaps.to_vec()));
        let is_read = |gaps: &[Gap]| Gaps::try_from(stored(gaps)).is_ok();
        let first = gap(0, 10, 5);
        assert!(is_read(&[first, gap(10, 20, 5)]));
        for wrong in [gap(9, 20, 5), gap(10, 20, 4), gap(10, 10, 5), gap(10, 9, 5)] {
            assert!(!is_read(&[first, wrong]), "{wrong:?}");
        }
        let bytes = stored(&[first]).0;
        for len in 1..bytes.len() {
            assert!(Gaps::try_from(Stored(bytes[..len].into())).is_err(), "{len}");
        }
    }
}
