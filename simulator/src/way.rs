//! What happens to records between a device and the server: delays, changed order, repetition.

use crate::random::{Draw, Purpose};
use domain::time::{EventTime, MINUTE_MS};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How often records go astray, each as a share between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disorder {
    /// Late by the rules: too old for their window. A share of all that is sent, at most a half, for each tells a reading once more.
    pub late: f64,
    /// Sent twice, byte for byte.
    pub duplicates: f64,
    /// Sent after the next one or more of the same device.
    pub out_of_order: f64,
}

/// What befalls one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// How long it was held back so that others overtook it.
    pub held_ms: i64,
    /// How long after the first copy a second one is sent.
    pub repeated_after_ms: Option<i64>,
    /// How long after it was measured its gateway tells it once more, under the time that [`other_time`] gives: whole intervals.
    pub late_after_ms: Option<i64>,
}

/// How far a device's newest reading must have passed another one for that to be late, by the server's default windows: 10 s of its
/// window, a minute of delay, 10 minutes of allowed lateness. Its slot has to be full, too, so only a reading that came can be told late.
const LATE_AFTER_MS: i64 = 10_000 + 11 * MINUTE_MS;
/// How much later than need be late ones come at most.
const LATE_SPREAD_MS: i64 = 20 * MINUTE_MS;

/// The time under which a reading of `at` is told once more: the millisecond beside it, as of a gateway that rounds times. It lies in
/// the same window, and where readings are 2 ms apart no other one has it.
pub fn other_time(at: EventTime) -> EventTime {
    EventTime::from_ms(at.ms() ^ 1)
}

impl Disorder {
    /// The fate of the record that `subject`, reporting every `interval_ms`, measured at `at`.
    pub fn fate(&self, seed: u64, subject: u64, at: EventTime, interval_ms: i64) -> Fate {
        let draw = Draw::of(seed, subject, at.ms(), Purpose::Way);
        let mut fate = Fate::default();
        if draw.happens(self.out_of_order) {
            fate.held_ms = interval_ms + draw.next().below(MINUTE_MS as u64) as i64;
        }
        let repeated = draw.next().next();
        if repeated.happens(self.duplicates) {
            fate.repeated_after_ms = Some(repeated.next().below(MINUTE_MS as u64 / 2) as i64);
        }
        let late = repeated.next().next();
        // So many more that they are this share of all.
        if late.happens(self.late / (1.0 - self.late)) {
            // Two intervals more than need be: the newest reading is up to one old, and may itself be held back.
            let least = (LATE_AFTER_MS + interval_ms - 1) / interval_ms + 2;
            let more = late.next().below((LATE_SPREAD_MS / interval_ms + 1) as u64) as i64;
            fate.late_after_ms = Some((least + more) * interval_ms);
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
        assert!((share(|f| f.late_after_ms.is_some()) - 0.1 / 0.9).abs() < 0.01); // a tenth of them and what they are told beside
        assert!((share(|f| f.held_ms > 0) - 0.2).abs() < 0.01);
        assert!((share(|f| f.repeated_after_ms.is_some()) - 0.05).abs() < 0.01);
        assert_eq!(Disorder::default().fate(1, 2, EventTime::from_ms(3), 1_000), Fate::default());
    }

    #[test]
    fn late_ones_come_after_whole_intervals() {
        let disorder = Disorder { late: 0.5, ..Disorder::default() };
        for interval_ms in [2, 100, 3_000, 5 * MINUTE_MS, 60 * MINUTE_MS] {
            for m in 0..100 {
                let after = disorder.fate(1, 2, EventTime::from_ms(m), interval_ms).late_after_ms.expect("one for each");
                assert!(after % interval_ms == 0 && after >= LATE_AFTER_MS + 2 * interval_ms, "{interval_ms} {after}");
            }
        }
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
