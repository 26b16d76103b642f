//! How long records were on their way, for people: from the clock of their device to where they are computed, which is after the disk.

use crate::admission::Batch;
use domain::engine::Disposition;
use domain::feed::DelaysNow;
use domain::time::{MINUTE_MS, ProcessingTime};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Minutes that are told of.
const MINUTES: i64 = 15;
/// Eight buckets for each doubling, up to 2^41 ms.
const BUCKETS: usize = 312;

/// The delays of the accepted records of the last minutes, as counts by length. In memory alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Delays {
    /// By minute since the epoch, oldest first.
    minutes: VecDeque<(i64, Vec<u32>)>,
}

/// The bucket of a delay: of lengths that differ by less than an eighth.
fn bucket(ms: u64) -> usize {
    let Some(doublings) = ms.checked_ilog2().filter(|doublings| *doublings >= 3) else { return ms as usize };
    let eighth = (ms >> (doublings - 3)) as usize & 7;
    ((doublings as usize - 2) * 8 + eighth).min(BUCKETS - 1)
}

/// The longest delay of a bucket, in milliseconds.
fn longest(bucket: usize) -> u64 {
    let (doublings, eighth) = (bucket / 8, bucket as u64 % 8);
    if doublings == 0 { eighth } else { ((eighth + 9) << (doublings - 1)) - 1 }
}

impl Delays {
    /// Counts what of `batch` was accepted, computed at `now`. A device whose clock is ahead counts as no delay.
    pub fn count(&mut self, batch: &Batch, dispositions: &[Disposition], now: ProcessingTime) {
        let minute = now.ms() / MINUTE_MS;
        // A clock that was set back: what lies ahead is of no minute.
        while self.minutes.back().is_some_and(|(newest, _)| *newest > minute) {
            self.minutes.pop_back();
        }
        let counts = self.minute(minute);
        for (index, disposition) in dispositions.iter().enumerate() {
            if let (Disposition::Accepted, Some(at)) = (disposition, batch.at(index)) {
                counts[bucket(now.ms().saturating_sub(at.ms()).max(0) as u64)] += 1;
            }
        }
    }

    /// Adds those that another part of the input has counted.
    pub fn add(&mut self, other: &Self) {
        for (minute, counts) in &other.minutes {
            self.minute(*minute).iter_mut().zip(counts).for_each(|(to, from)| *to += from);
        }
    }

    /// The counts of `minute`; those that are too old by the newest are forgotten.
    fn minute(&mut self, minute: i64) -> &mut [u32] {
        let at = self.minutes.partition_point(|(known, _)| *known < minute);
        if self.minutes.get(at).is_none_or(|(known, _)| *known != minute) {
            self.minutes.insert(at, (minute, vec![0; BUCKETS]));
        }
        let newest = self.minutes.back().map_or(minute, |(newest, _)| *newest);
        let gone = self.minutes.partition_point(|(known, _)| *known <= newest - MINUTES).min(at);
        self.minutes.drain(..gone);
        &mut self.minutes[at - gone].1
    }

    /// What half, 95 and 99 of 100 of the records of the last 15 minutes stayed below; `None` where there were none.
    pub fn now(&self, now: ProcessingTime) -> Option<DelaysNow> {
        let from = now.ms() / MINUTE_MS - MINUTES;
        let mut counts = [0u64; BUCKETS];
        for (_, of_minute) in self.minutes.iter().filter(|(minute, _)| (from + 1..=from + MINUTES).contains(minute)) {
            counts.iter_mut().zip(of_minute).for_each(|(to, from)| *to += u64::from(*from));
        }
        let all: u64 = counts.iter().sum();
        let below = |percent: u64| {
            let wanted = (all * percent).div_ceil(100);
            let mut sum = 0;
            let found = counts.iter().position(|count| {
                sum += count;
                sum >= wanted
            });
            longest(found.unwrap_or(BUCKETS - 1))
        };
        (all > 0).then(|| DelaysNow { half_ms: below(50), most_ms: below(95), nearly_all_ms: below(99) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Format, IdentityKey};

    #[test]
    fn buckets_hold_what_differs_by_less_than_an_eighth() {
        for ms in (0..5_000).chain([59_999, 86_400_000, 1 << 39, (1 << 41) - 1]) {
            let (at, top) = (bucket(ms), longest(bucket(ms)));
            assert!(top >= ms && top - ms <= ms / 8, "{ms} of bucket {at} up to {top}");
            assert!(at == 0 || longest(at - 1) < ms, "{ms} fits into the bucket before {at}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_last_minutes_are_told_by_their_shares() {
        let body = |delays: &[i64], now: i64| {
            let line = |delay: &i64| format!(r#"{{"device_id":"d","ts":{},"temperature":5}}"#, now - delay);
            let lines: Vec<String> = delays.iter().map(line).collect();
            Batch::parse(lines.join("\n").into(), Format::Ndjson, "s", &IdentityKey([0; 16])).expect("parses")
        };
        let (mut one, mut other) = (Delays::default(), Delays::default());
        let at = |minute: i64| ProcessingTime::from_ms(1_790_000_000_000 + minute * MINUTE_MS);
        assert_eq!(one.now(at(0)), None);
        let quick = body(&[500; 97], at(0).ms());
        one.count(&quick, &[Disposition::Accepted; 97], at(0));
        let slow = body(&[60_000, 60_000, 90_000, -5_000], at(1).ms());
        let ends = [Disposition::Accepted, Disposition::Duplicate, Disposition::Accepted, Disposition::Accepted];
        other.count(&slow, &ends, at(1));
        one.add(&other);
        let [half_ms, most_ms, nearly_all_ms] = [500, 500, 60_000].map(|ms| longest(bucket(ms)));
        assert_eq!(one.now(at(1)), Some(DelaysNow { half_ms, most_ms, nearly_all_ms }), "of 100");
        assert_eq!(one.now(at(15)), other.now(at(15)), "the first minute is too long ago");
        assert_eq!(one.now(at(16)), None);
    }
}
