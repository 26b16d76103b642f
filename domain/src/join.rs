//! Where a reading was taken: the stream of a thermometer joined with the fixes of the tracker that travels with it, by event time.
//!
//! To every reading belongs the fix nearest in time, at most a tolerance away; of two as near, the earlier. Both sides have a watermark
//! a delay behind their newest record. A reading is settled once the tracker's watermark has passed all that could be nearer, so the
//! result is the same for every order of arrival within the delay. A fix or reading behind its own watermark is late: it changes nothing
//! that is settled, and joins what it still can.

use crate::planted;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Where a tracker was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fix {
    /// When, by the tracker's clock.
    pub at: EventTime,
    /// Millionths of a degree east.
    pub longitude_e6: i32,
    /// Millionths of a degree north.
    pub latitude_e6: i32,
}

impl Fix {
    /// Whether it can be where something of this country was: in the box around it, from 95° 00' to 141° 01' E and from 11° 00' S to
    /// 6° 05' N, a tenth of a degree wider. 0° 0°, which trackers send that see no satellite, is not, nor is a latitude without its sign
    /// on Java and south of it.
    pub fn is_in_country(&self) -> bool {
        let is_there =
            (94_900_000..=141_100_000).contains(&self.longitude_e6) && (-11_100_000..=6_200_000).contains(&self.latitude_e6);
        is_there || planted("fix-of-nowhere-places-readings")
    }
}

/// How readings and fixes are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinConfig {
    /// How far apart in time a reading and its fix may be, in milliseconds.
    pub tolerance_ms: i64,
    /// How far a watermark stays behind the newest record of its side, in milliseconds.
    pub delay_ms: i64,
}

impl Default for JoinConfig {
    /// Five minutes, and ten for what comes out of order.
    fn default() -> Self {
        Self { tolerance_ms: 300_000, delay_ms: 600_000 }
    }
}

/// Fixes and waiting readings that are held at most. What goes beyond is let go, oldest first: far more than the delay holds.
pub const MAX_HELD: usize = 2_048;
/// Fixes that are held before the first reading: those of a tracker whose thermometer sends elsewhere, or never.
pub const MAX_HELD_UNREAD: usize = 120;

/// A reading with its fix; `None` where no fix was near enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Located {
    /// Time of the reading.
    pub at: EventTime,
    /// Where it was taken.
    pub fix: Option<Fix>,
}

/// The join of one thermometer with its tracker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// In order, each once.
    fixes: VecDeque<Fix>,
    /// Times of readings that are not settled, in order.
    waiting: VecDeque<EventTime>,
    newest_fix: Option<EventTime>,
    newest_reading: Option<EventTime>,
}

impl Join {
    /// The newest fix so far.
    pub const fn newest_fix(&self) -> Option<EventTime> {
        self.newest_fix
    }

    /// The fix nearest to `at`, of those held, within the tolerance.
    pub fn nearest(&self, config: JoinConfig, at: EventTime) -> Option<Fix> {
        let after = self.fixes.partition_point(|fix| fix.at < at);
        // Of several at one instant the first, whichever came first.
        let before = after.checked_sub(1).map(|last| self.fixes[last].at).and_then(|instant| {
            let first = self.fixes.partition_point(|fix| fix.at < instant);
            self.fixes.get(first)
        });
        let distance = |fix: &&Fix| (fix.at.ms() - at.ms()).abs();
        let nearest = before.into_iter().chain(self.fixes.get(after)).min_by_key(distance);
        nearest.filter(|fix| distance(fix) <= config.tolerance_ms).copied()
    }

    /// Takes in the time of a reading; readings that are settled now go to `settled`.
    pub fn reading(&mut self, config: JoinConfig, at: EventTime, settled: &mut impl FnMut(Located)) {
        let place = self.waiting.partition_point(|waiting| *waiting <= at);
        self.waiting.insert(place, at);
        self.newest_reading = self.newest_reading.max(Some(at));
        self.settle(config, settled);
    }

    /// Takes in a fix; readings that are settled now go to `settled`.
    pub fn fix(&mut self, config: JoinConfig, fix: Fix, settled: &mut impl FnMut(Located)) {
        let place = self.fixes.partition_point(|held| *held < fix);
        if self.fixes.get(place) != Some(&fix) {
            self.fixes.insert(place, fix);
        }
        self.newest_fix = self.newest_fix.max(Some(fix.at));
        self.settle(config, settled);
    }

    fn settle(&mut self, config: JoinConfig, settled: &mut impl FnMut(Located)) {
        let fixes_until = self.newest_fix.map_or(i64::MIN, |at| at.ms() - config.delay_ms);
        while let Some(at) = self.waiting.front().copied()
            && (at.ms() + config.tolerance_ms
                < fixes_until + if planted("joined-before-the-watermark") { config.delay_ms } else { 0 }
                || self.waiting.len() > MAX_HELD)
        {
            self.waiting.pop_front();
            settled(Located { at, fix: self.nearest(config, at) });
        }
        // A fix is needed while a reading near it can still come.
        let readings_from = self.newest_reading.map_or(i64::MIN, |at| at.ms() - config.delay_ms - config.tolerance_ms);
        let first_waiting = self.waiting.front().map_or(i64::MAX, |at| at.ms() - config.tolerance_ms);
        let most = if self.newest_reading.is_some() { MAX_HELD } else { MAX_HELD_UNREAD };
        while let Some(fix) = self.fixes.front()
            && (fix.at.ms() < readings_from.min(first_waiting) || self.fixes.len() > most)
        {
            self.fixes.pop_front();
        }
    }

    /// Settles all that waits: the tracker has been silent for too long.
    pub fn give_up_waiting(&mut self, config: JoinConfig, settled: &mut impl FnMut(Located)) {
        for at in std::mem::take(&mut self.waiting) {
            settled(Located { at, fix: self.nearest(config, at) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONFIG: JoinConfig = JoinConfig { tolerance_ms: 300, delay_ms: 600 };

    fn fix(at: i64, place: i32) -> Fix {
        Fix { at: EventTime::from_ms(at), longitude_e6: place, latitude_e6: 0 }
    }

    /// Events as `r`eading or `f`ix with their time; settled readings as `time>fix time`.
    #[track_caller]
    fn check(events: &str, expected: &str) {
        let (mut join, mut out) = (Join::default(), Vec::new());
        let mut settled = |l: Located| out.push(format!("{}>{}", l.at.ms(), l.fix.map_or(-1, |fix| fix.at.ms())));
        for event in events.split(' ') {
            let at = event[1..].parse().unwrap_or(0);
            match &event[..1] {
                "r" => join.reading(CONFIG, EventTime::from_ms(at), &mut settled),
                "f" => join.fix(CONFIG, fix(at, 0), &mut settled),
                _ => join.give_up_waiting(CONFIG, &mut settled),
            }
        }
        assert_eq!(out.join(" "), expected, "{events}");
    }

    #[test]
    fn the_nearest_fix_in_time() {
        check("f100 r150 f180 f1100", "150>180"); // settled once the tracker is past 150 + 300 + 600
        check("f100 r150 f180 f1050", ""); // a fix at 450 could still come
        check("f100 r150 f200 f1100", "150>100"); // as near: the earlier
        check("r500 f100 f1500", "500>-1"); // none near enough
        check("r500 f200 f1500", "500>200"); // exactly as far as may be
        check("r10 r20 silent", "10>-1 20>-1");
        check("r1000 f900 silent f950 r2000 f3000", "1000>900 2000>-1");
    }

    /// All at once: every reading with the best of all fixes.
    fn batch(readings: &[i64], fixes: &[Fix]) -> Vec<Located> {
        let best = |at: i64| {
            let near = fixes.iter().filter(|fix| (fix.at.ms() - at).abs() <= CONFIG.tolerance_ms);
            near.min_by_key(|fix| ((fix.at.ms() - at).abs(), **fix)).copied()
        };
        let mut all: Vec<Located> = readings.iter().map(|at| Located { at: EventTime::from_ms(*at), fix: best(*at) }).collect();
        all.sort_unstable();
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        /// Each side late by less than the delay, in any interleaving: as if everything had been known at once.
        #[test]
        fn equals_the_batch(
            readings in prop::collection::vec((0i64..8_000, 0i64..600), 0..60),
            fixes in prop::collection::vec((0i64..8_000, 0i64..600, 0i32..3), 0..60),
            turns in any::<u64>(),
        ) {
            // In order of when they come: their time and how long they took, below the delay.
            let mut coming: Vec<(i64, i64)> = readings.iter().map(|(at, late)| (at + late, *at)).collect();
            coming.sort_unstable();
            let mut coming_fixes: Vec<(i64, Fix)> = fixes.iter().map(|(at, late, place)| (at + late, fix(*at, *place))).collect();
            coming_fixes.sort_unstable();
            let (mut join, mut out) = (Join::default(), Vec::new());
            let mut settled = |located| out.push(located);
            let (mut a, mut b) = (coming.iter().peekable(), coming_fixes.iter().peekable());
            let mut turn = turns;
            while a.peek().is_some() || b.peek().is_some() {
                turn = turn.rotate_left(1).wrapping_add(0x9e37);
                // Side by side, more or less: one may run ahead of the other.
                let is_reading = b.peek().is_none() || (a.peek().is_some() && turn & 3 != 0);
                if is_reading {
                    join.reading(CONFIG, EventTime::from_ms(a.next().expect("looked").1), &mut settled);
                } else {
                    join.fix(CONFIG, b.next().expect("looked").1, &mut settled);
                }
            }
            join.give_up_waiting(CONFIG, &mut settled);
            out.sort_unstable();
            let all_fixes: Vec<Fix> = fixes.iter().map(|(at, _, place)| fix(*at, *place)).collect();
            prop_assert_eq!(out, batch(&coming.iter().map(|(_, at)| *at).collect::<Vec<_>>(), &all_fixes));
        }
    }
}
