//! How often a part of a page may change: twice a second, and at once after quiet.

use std::time::{Duration, Instant};

/// Between two updates of a tile that changes all the time.
const APART: Duration = Duration::from_millis(500);
/// So much sooner is soon enough: what comes exactly twice a second is not held up by how late the one before was looked at.
const JITTER: Duration = Duration::from_millis(100);
/// Between two updates that carry nothing urgent. An urgent one may come in between at once, and counts against the next.
const QUIET: Duration = Duration::from_millis(1_500);

/// When a tile was updated, and when it may be again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    last: Option<Instant>,
    before: Option<Instant>,
    /// When the next update is due if they came as densely as they may.
    next: Option<Instant>,
}

impl Pace {
    /// Whether an urgent change may go out at `now`: the first after quiet at once, others half a second apart.
    pub fn may_lead(&self, now: Instant) -> bool {
        let is_quiet = self.before.is_none_or(|at| now.duration_since(at) >= QUIET);
        is_quiet || self.next.is_none_or(|next| now + JITTER >= next)
    }

    /// Whether a change that nobody waits for may go out at `now`.
    pub fn may_follow(&self, now: Instant) -> bool {
        self.last.is_none_or(|at| now.duration_since(at) >= QUIET)
    }

    /// The tile was updated at `now`.
    pub fn sent(&mut self, now: Instant) {
        (self.before, self.last) = (self.last, Some(now));
        self.next = Some(self.next.map_or(now, |next| next.max(now)) + APART);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When changes at `changes` go out, looked at every 20 ms for `until` ms; one of them waiting is enough.
    fn sent(changes: &[u64], until: u64, is_urgent: bool) -> Vec<u64> {
        let (start, mut pace, mut waiting, mut sent) = (Instant::now(), Pace::default(), false, Vec::new());
        for ms in (0..until).step_by(20) {
            let now = start + Duration::from_millis(ms);
            waiting |= changes.contains(&ms);
            if waiting && if is_urgent { pace.may_lead(now) } else { pace.may_follow(now) } {
                pace.sent(now);
                waiting = false;
                sent.push(ms);
            }
        }
        sent
    }

    #[test]
    fn at_once_after_quiet() {
        assert_eq!(sent(&[0, 40, 2_000, 2_100], 4_000, true), [0, 40, 2_000, 2_100]);
        assert_eq!(sent(&[0, 40, 80], 4_000, true), [0, 40, 900]);
        let every_second: Vec<u64> = (0..10).map(|n| n * 1_000).collect();
        assert_eq!(sent(&every_second, 10_000, true), every_second);
    }

    #[test]
    fn what_comes_twice_a_second_never_waits() {
        let unevenly: Vec<u64> = (0..200).map(|n| n * 500 + n * 7 % 5 * 20).collect();
        assert_eq!(sent(&unevenly, 100_100, true), unevenly);
    }

    #[test]
    fn twice_a_second_and_no_more() {
        let always: Vec<u64> = (0..5_000).map(|n| n * 20).collect();
        let times = sent(&always, 100_000, true);
        assert!((200..=202).contains(&times.len()), "{}", times.len());
        assert!(times.windows(3).all(|w| w[2] - w[0] >= 900), "{times:?}");
        assert!(times[2..].windows(2).all(|w| w[1] - w[0] == 500), "evenly: {times:?}");
    }

    #[test]
    fn what_nobody_waits_for_leaves_room() {
        let always: Vec<u64> = (0..500).map(|n| n * 20).collect();
        assert_eq!(sent(&always, 4_000, false), [0, 1_500, 3_000]);
        let start = Instant::now();
        for ms in (0..3_000).step_by(100) {
            let mut pace = Pace::default();
            for slow in [0, 1_500, 3_000].iter().filter(|slow| **slow <= ms) {
                pace.sent(start + Duration::from_millis(*slow));
            }
            assert!(pace.may_lead(start + Duration::from_millis(ms)), "urgent at {ms}");
        }
    }
}
