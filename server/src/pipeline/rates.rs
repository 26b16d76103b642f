//! How fast records come in, for people.

use domain::time::ProcessingTime;
use std::collections::VecDeque;

/// Minutes of intake that are remembered.
const RATE_MINUTES: usize = 60;

/// Records per second, by wall clock.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Second since the epoch and the records taken in during it, oldest first.
    seconds: VecDeque<(i64, u32)>,
}

impl Rates {
    /// Counts `records` as taken in at `now`.
    pub fn count(&mut self, records: u32, now: ProcessingTime) {
        let second = now.ms() / 1_000;
        match self.seconds.back_mut() {
            Some((last, count)) if *last >= second => *count += records,
            _ => self.seconds.push_back((second, records)),
        }
        while self.seconds.front().is_some_and(|(first, _)| *first <= second - 60 * RATE_MINUTES as i64) {
            self.seconds.pop_front();
        }
    }

    fn between(&self, from: i64, to: i64) -> f32 {
        let sum: u64 = self.seconds.iter().filter(|(s, _)| (from..to).contains(s)).map(|(_, n)| u64::from(*n)).sum();
        sum as f32 / (to - from) as f32
    }

    /// Over the ten seconds before this one.
    pub fn per_second(&self, now: ProcessingTime) -> f32 {
        let second = now.ms() / 1_000;
        self.between(second - 10, second)
    }

    /// Over the last hour, one value a minute, oldest first.
    pub fn by_minute(&self, now: ProcessingTime) -> Vec<f32> {
        let second = now.ms() / 1_000;
        (1..=RATE_MINUTES as i64).rev().map(|m| self.between(second - m * 60, second - (m - 1) * 60)).collect()
    }
}
