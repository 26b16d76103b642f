//! How fast records come in and how many wait, for people.

use domain::time::{MINUTE_MS, ProcessingTime};
use std::collections::VecDeque;

/// Minutes of intake that are remembered.
const RATE_MINUTES: usize = 60;

/// Records per second, and how many waited, by wall clock.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Second since the epoch and the records taken in during it, oldest first.
    seconds: VecDeque<(i64, u32)>,
    /// Minute since the epoch and the most that waited during it, oldest first.
    lags: VecDeque<(i64, u64)>,
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

    /// So many wait at `now`.
    pub fn note_lag(&mut self, lag: u64, now: ProcessingTime) {
        let minute = now.ms() / MINUTE_MS;
        // A clock that was set back: what lies ahead is of no minute.
        while self.lags.back().is_some_and(|(last, _)| *last > minute) {
            self.lags.pop_back();
        }
        match self.lags.back_mut() {
            Some((last, most)) if *last >= minute => *most = lag.max(*most),
            _ => self.lags.push_back((minute, lag)),
        }
        while self.lags.front().is_some_and(|(first, _)| *first <= minute - RATE_MINUTES as i64) {
            self.lags.pop_front();
        }
    }

    /// The most that waited in each minute of the last hour, oldest first, the running one last; `None` where nobody looked.
    pub fn lag_by_minute(&self, now: ProcessingTime) -> Vec<Option<u64>> {
        let minute = now.ms() / MINUTE_MS;
        let of = |ago: i64| self.lags.iter().find(|(at, _)| *at == minute - ago).map(|(_, most)| *most);
        (0..RATE_MINUTES as i64).rev().map(of).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_waited_in_each_minute() {
        let mut rates = Rates::default();
        let at = |minute: i64| ProcessingTime::from_ms(1_790_000_000_000 / MINUTE_MS * MINUTE_MS + minute * MINUTE_MS + 7);
        for (minute, lag) in [(0, 4), (0, 9), (0, 2), (2, 5)] {
            rates.note_lag(lag, at(minute));
        }
        let of = |rates: &Rates, minute| rates.lag_by_minute(at(minute)).split_off(57);
        assert_eq!(of(&rates, 2), [Some(9), None, Some(5)], "nobody looked in between: that is no zero");
        assert_eq!(of(&rates, 62), [None, None, None]);
        rates.note_lag(1, at(1));
        assert_eq!(of(&rates, 1), [None, Some(9), Some(1)], "the clock was set back");
    }
}
