//! Running numbers that devices give their records: which were seen, and how many are missing.
//!
//! A device counts its records from each of its starts on. Per start a high-water mark and the gaps below it say of every number whether
//! it was seen: a device that loses nothing needs the mark alone, and an outage is one gap however long. Both are bounded. What falls
//! out is answered with "not known", and the memory of identities decides; so is the first number of a start, which may have been heard
//! of and forgotten.

use crate::planted;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::num::NonZeroU64;

/// Starts that are remembered of a device.
pub const MAX_STARTS: usize = 4;
/// Gaps that are remembered of a start.
pub const MAX_GAPS: usize = 32;

/// The running number of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Names the start of the device that it is counted from, together with the channel.
    pub boot: NonZeroU64,
    /// The number.
    pub number: u64,
}

/// Records that never came: consecutive numbers of one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first number that is missing.
    pub from: u64,
    /// The first after it that is not.
    pub to: u64,
    /// Time of the record before it, by the device's clock.
    pub after: EventTime,
    /// Time of the record after it.
    pub before: EventTime,
}

impl Gap {
    /// How many records are missing.
    pub const fn count(&self) -> u64 {
        self.to - self.from
    }
}

/// The numbers of one start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    boot: NonZeroU64,
    /// The lowest number heard of that others are counted from.
    first: u64,
    /// From here on what is in no gap was seen; below nothing is known.
    known_from: u64,
    /// The highest number seen.
    high: u64,
    /// Time of its record.
    high_at: EventTime,
    /// Numbers not seen between `known_from` and `high`, in order.
    gaps: Vec<Gap>,
    /// Numbers from `first` on not seen in gaps that are no longer remembered.
    given_up: u64,
}

impl Start {
    const fn new(boot: NonZeroU64, number: u64, at: EventTime) -> Self {
        Self { boot, first: number, known_from: number, high: number, high_at: at, gaps: Vec::new(), given_up: 0 }
    }

    fn gap_of(&self, number: u64) -> Option<usize> {
        let at = self.gaps.partition_point(|gap| gap.to <= number);
        self.gaps.get(at).filter(|gap| gap.from <= number).map(|_| at)
    }

    fn has_seen(&self, number: u64) -> bool {
        (self.known_from..=self.high).contains(&number) && self.gap_of(number).is_none()
    }

    fn note(&mut self, number: u64, time: EventTime) {
        if number > self.high {
            if number > self.high + 1 && !planted("gap-of-running-numbers-forgotten") {
                self.gaps.push(Gap { from: self.high + 1, to: number, after: self.high_at, before: time });
            }
            (self.high, self.high_at) = (number, time);
        } else if number >= self.known_from {
            let Some(at) = self.gap_of(number) else { return };
            let gap = self.gaps[at];
            let parts = [Gap { to: number, before: time, ..gap }, Gap { from: number + 1, after: time, ..gap }];
            self.gaps.splice(at..=at, parts.into_iter().filter(|part| part.from < part.to));
        } else {
            if number >= self.first {
                self.given_up = self.given_up.saturating_sub(1);
            }
            if number + 1 == self.known_from {
                self.known_from = number;
                self.first = self.first.min(number);
            }
        }
        if self.gaps.len() > MAX_GAPS {
            let gap = self.gaps.remove(0);
            self.given_up = self.given_up.saturating_add(gap.count());
            self.known_from = gap.to;
        }
    }

    fn missing(&self) -> u64 {
        self.gaps.iter().fold(self.given_up, |sum, gap| sum.saturating_add(gap.count()))
    }
}

/// The numbers of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequences {
    /// The one noted last is the last.
    starts: SmallVec<[Start; 1]>,
    /// Missing numbers of starts that are no longer remembered.
    forgotten_missing: u64,
}

impl Sequences {
    /// Whether a record with that number was noted; `false` where it was not, or nothing is known.
    pub fn has_seen(&self, sequence: Sequence) -> bool {
        self.starts.iter().any(|start| start.boot == sequence.boot && start.has_seen(sequence.number))
    }

    /// Notes a record of the time `at` that was not seen before.
    pub fn note(&mut self, sequence: Sequence, at: EventTime) {
        if let Some(start) = self.starts.iter().position(|start| start.boot == sequence.boot) {
            self.starts[start].note(sequence.number, at);
            self.starts[start..].rotate_left(1);
        } else {
            if self.starts.len() == MAX_STARTS {
                let oldest = self.starts.remove(0);
                self.forgotten_missing = self.forgotten_missing.saturating_add(oldest.missing());
            }
            self.starts.push(Start::new(sequence.boot, sequence.number, at));
        }
    }

    /// The gaps that are remembered, those of the start noted last at the end.
    pub fn gaps(&self) -> impl DoubleEndedIterator<Item = &Gap> {
        self.starts.iter().flat_map(|start| &start.gaps)
    }

    /// How many records are missing: numbers between the first and the highest of each start that never came.
    pub fn missing(&self) -> u64 {
        self.starts.iter().fold(self.forgotten_missing, |sum, start| sum.saturating_add(start.missing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const fn of(boot: u64, number: u64) -> Sequence {
        Sequence { boot: NonZeroU64::MIN.saturating_add(boot), number }
    }

    fn noted(numbers: impl IntoIterator<Item = u64>) -> Sequences {
        let mut sequences = Sequences::default();
        numbers.into_iter().for_each(|number| sequences.note(of(1, number), at(number)));
        sequences
    }

    /// A device that counts one record a millisecond.
    const fn at(number: u64) -> EventTime {
        EventTime::from_ms(number as i64)
    }

    #[test]
    fn gaps_are_counted_and_filled() {
        assert_eq!(noted([5, 6, 7]).missing(), 0);
        assert_eq!(noted([5, 6, 9]).missing(), 2);
        assert_eq!(noted([5, 9, 7]).missing(), 2);
        assert_eq!(noted([5, 9, 7, 6, 8]).missing(), 0);
        // Newest first: what lies before the first is no gap, and is counted on from once it is reached.
        let backwards = noted([9, 8, 7]);
        assert!(backwards.missing() == 0 && backwards.has_seen(of(1, 7)));
        assert!(!noted([9]).has_seen(of(2, 9)));
        assert_eq!(noted([0, u64::MAX]).missing(), u64::MAX - 1);
    }

    #[test]
    fn a_gap_lies_between_two_records() {
        let gaps = |sequences: &Sequences| -> Vec<(u64, i64, i64)> {
            sequences.gaps().map(|gap| (gap.count(), gap.after.ms(), gap.before.ms())).collect()
        };
        let mut sequences = noted([5, 9]);
        assert_eq!(gaps(&sequences), [(3, 5, 9)]);
        // One of them comes after all: what is missing lies on both sides of it.
        sequences.note(of(1, 7), at(7));
        assert_eq!(gaps(&sequences), [(1, 5, 7), (1, 7, 9)]);
        sequences.note(of(1, 6), at(6));
        assert_eq!(gaps(&sequences), [(1, 7, 9)]);
        sequences.note(of(2, 0), at(20));
        sequences.note(of(2, 2), at(22));
        assert_eq!(gaps(&sequences), [(1, 7, 9), (1, 20, 22)]);
    }

    #[test]
    fn what_is_too_much_is_given_up_and_still_missing() {
        // Every other number: more gaps than are remembered.
        let mut sequences = noted((0..200).step_by(2));
        assert_eq!(sequences.missing(), 99);
        assert!(!sequences.has_seen(of(1, 0)), "given up: the memory of identities knows");
        assert!(sequences.has_seen(of(1, 198)));
        sequences.note(of(1, 1), at(1));
        assert_eq!(sequences.missing(), 98);
        // More starts than are remembered.
        (2..=5).for_each(|boot| sequences.note(of(boot, 0), at(0)));
        assert_eq!((sequences.starts.len(), sequences.missing()), (MAX_STARTS, 98));
        assert!(!sequences.has_seen(of(1, 198)));
    }

    proptest! {
        #[test]
        fn what_is_said_to_be_seen_was(numbers in prop::collection::vec((0u64..3, 0u64..120), 0..200), few in any::<bool>()) {
            let (mut sequences, mut seen) = (Sequences::default(), BTreeSet::new());
            for (boot, number) in numbers {
                let number = if few { number / 8 } else { number };
                if seen.insert((boot, number)) {
                    prop_assert!(!sequences.has_seen(of(boot, number)));
                    sequences.note(of(boot, number), at(number));
                }
                prop_assert!(sequences.starts.iter().all(|start| start.gaps.len() <= MAX_GAPS));
            }
            let mut missing = 0;
            for start in &sequences.starts {
                let own = |number| seen.contains(&(start.boot.get() - 1, number));
                prop_assert!((0..130).all(|n| !start.has_seen(n) || own(n)));
                prop_assert!((start.known_from..=start.high).all(|n| start.has_seen(n) == own(n)));
                missing += (start.first..=start.high).filter(|n| !own(*n)).count() as u64;
            }
            prop_assert_eq!(sequences.missing(), missing);
        }
    }
}
