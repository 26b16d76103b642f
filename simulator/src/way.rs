//! What happens to records between a device and the server: delays, changed order, repetition.

use crate::random::{Draw, Purpose};
use domain::time::{EventTime, MINUTE_MS};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How often records go astray, each as a share between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disorder {
    /// Sent up to 2 minutes after they were measured.
    pub late: f64,
    /// Sent twice, byte for byte.
    pub duplicates: f64,
    /// Sent after the next one or more of the same device.
    pub out_of_order: f64,
}

/// What befalls one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// How long it was on its way because the network was slow: 0 to 120 s.
    pub late_ms: i64,
    /// How long it was held back so that others overtook it.
    pub held_ms: i64,
    /// How long after the first copy a second one is sent.
    pub repeated_after_ms: Option<i64>,
}

impl Disorder {
    /// The fate of the record that `subject`, reporting every `interval_ms`, measured at `at`.
    pub fn fate(&self, seed: u64, subject: u64, at: EventTime, interval_ms: i64) -> Fate {
        let draw = Draw::of(seed, subject, at.ms(), Purpose::Way);
        let mut fate = Fate::default();
        // One record has at most one delay, so three shares are told apart by one draw each only where they can meet.
        let lot = draw.unit();
        if lot < self.late {
            fate.late_ms = 1 + draw.next().below(2 * MINUTE_MS as u64) as i64;
        } else if lot < self.late + self.out_of_order {
            fate.held_ms = interval_ms + draw.next().below(MINUTE_MS as u64) as i64;
        }
        if self.duplicates > 0.0 && draw.next().next().happens(self.duplicates) {
            fate.repeated_after_ms = Some(draw.next().next().next().below(MINUTE_MS as u64 / 2) as i64);
        }
        fate
    }
}

/// Things that are due later, earliest first, equal times in the order in which they were put in.
#[derive(Debug)]
pub struct Later<T> {
    heap: BinaryHeap<Reverse<Due<T>>>,
    count: u64,
}

#[derive(Debug)]
struct Due<T> {
    at: EventTime,
    nth: u64,
    what: T,
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.nth) == (other.at, other.nth)
    }
}

impl<T> Eq for Due<T> {}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.nth).cmp(&(other.at, other.nth))
    }
}

impl<T> Default for Later<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), count: 0 }
    }
}

impl<T> Later<T> {
    /// Puts in what is due at `at`.
    pub fn push(&mut self, at: EventTime, what: T) {
        self.count += 1;
        self.heap.push(Reverse(Due { at, nth: self.count, what }));
    }

    /// When the next thing is due.
    pub fn next_at(&self) -> Option<EventTime> {
        self.heap.peek().map(|due| due.0.at)
    }

    /// Takes out the next thing if it is due before `until`.
    pub fn pop_before(&mut self, until: EventTime) -> Option<T> {
        if self.next_at()? < until { self.heap.pop().map(|due| due.0.what) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept() {
        let disorder = Disorder { late: 0.1, duplicates: 0.05, out_of_order: 0.2 };
        let fates: Vec<_> = (0..20_000).map(|m| disorder.fate(1, 2, EventTime::from_ms(m), 1_000)).collect();
        let share = |is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count() as f64 / 20_000.0;
        assert!((share(|f| f.late_ms > 0) - 0.1).abs() < 0.01);
        assert!((share(|f| f.held_ms > 0) - 0.2).abs() < 0.01);
        assert!((share(|f| f.repeated_after_ms.is_some()) - 0.05).abs() < 0.01);
        assert!(fates.iter().all(|f| f.late_ms <= 120_000));
        assert_eq!(Disorder::default().fate(1, 2, EventTime::from_ms(3), 1_000), Fate::default());
    }

    #[test]
    fn earliest_first_then_first_put_in() {
        let mut later = Later::default();
        for (at, what) in [(3, 'c'), (1, 'a'), (3, 'd'), (2, 'b')] {
            later.push(EventTime::from_ms(at), what);
        }
        let order: String = std::iter::from_fn(|| later.pop_before(EventTime::from_ms(3))).collect();
        assert_eq!(order, "ab");
        let rest: String = std::iter::from_fn(|| later.pop_before(EventTime::from_ms(4))).collect();
        assert_eq!(rest, "cd");
    }
}
