//! Time that passes: what silence of a device means, and when figures of hours get a version.

use super::device::{roll_up, settle_to};
use super::{Engine, PASS_EVERY_MS, UNREAD_AFTER_MS};
use crate::planted;
use crate::rollup::{KNOWN_EVERY_MS, Rollup};
use crate::time::{DAY_MS, ProcessingTime};
use std::collections::BTreeMap;

impl Engine {
    /// The next instant at which silence of a device means something, after `now`.
    pub(super) fn queue(&mut self, index: u32) {
        let (idle, silent) = self.silences(index);
        let next = [idle, silent].into_iter().flatten().filter(|at| *at > self.now.ms()).min();
        if let Some(at) = std::mem::replace(&mut self.devices[index as usize].queued_at, next) {
            self.deadlines.remove(&(at, index));
        }
        if let Some(at) = next {
            self.deadlines.insert((at, index));
        }
    }

    /// When the device counts as idle (by server time in which somebody read), and when nothing is known of it any more (by event time).
    pub(super) fn silences(&self, index: u32) -> (Option<i64>, Option<i64>) {
        let state = &self.devices[index as usize].state;
        let idle_after_ms = self.config.windows.idle_after_ms;
        let idle_at = |at: ProcessingTime| at.ms() + idle_after_ms + self.totals.unread.since(at);
        (state.received_at.map(idle_at), state.latest.map(|reading| reading.at.ms() + self.config.silent_after_ms))
    }

    /// When to call [`Engine::pass_time`] next even if nothing arrives. While a silence is waited for, that is soon: time that passes
    /// between two calls far apart counts as time in which nobody listened.
    pub fn next_deadline(&self) -> Option<ProcessingTime> {
        let silence =
            self.deadlines.first().map(|(first, _)| ProcessingTime::from_ms(*first).min(self.now.plus_ms(PASS_EVERY_MS)));
        // Who is silent from now on would be told of with the next record alone, if ever.
        let version = self.rollup.is_unsaid().then(|| ProcessingTime::from_ms(self.next_version()));
        [silence, version].into_iter().flatten().min()
    }

    /// When figures get their next version.
    fn next_version(&self) -> i64 {
        self.now.ms() - self.now.ms().rem_euclid(KNOWN_EVERY_MS) + KNOWN_EVERY_MS
    }

    /// Lets time pass to `now` (never backwards): idle devices fire, silent ones are counted as such, roll-ups get a version.
    pub fn pass_time(&mut self, now: ProcessingTime) {
        let passed_ms = now.ms() - self.now.ms();
        if passed_ms <= 0 && !planted("time-goes-back") {
            return;
        }
        let known_at = self.next_version();
        if now.ms() >= known_at {
            self.make_known(known_at);
            self.make_counts_known(known_at, now.ms());
        }
        self.now = now;
        if passed_ms > UNREAD_AFTER_MS && !planted("time-in-which-nobody-read-is-silence") {
            self.totals.unread.note(now, passed_ms, self.config.windows.idle_after_ms);
        }
        while let Some((at, index)) = self.deadlines.first().copied()
            && at <= self.now.ms()
        {
            self.deadlines.pop_first();
            self.devices[index as usize].queued_at = None;
            let (idle, _) = self.silences(index);
            if idle.is_some_and(|at| at <= self.now.ms()) {
                let state = &mut self.devices[index as usize].state;
                state.windows.fire_incomplete(&self.config.windows);
                if planted("silence-resolves-an-excursion") {
                    state.outside = None;
                }
                if let Some(join) = state.extra.as_mut().and_then(|extra| extra.join.as_mut()) {
                    join.give_up_waiting(self.config.join, &mut settle_to(&mut self.derived.new, index));
                }
            }
            self.queue(index);
            self.mark(index);
        }
    }

    /// Makes the versions of how equipment stands from `first` on: one for each instant until `now` as of which it differs from the version
    /// before. Devices fall silent also while the log has no entry.
    fn make_counts_known(&mut self, first: i64, now: i64) {
        let last = now - now.rem_euclid(KNOWN_EVERY_MS);
        let mut changes = BTreeMap::from([(first, self.dirty.clone())]);
        for (index, at) in self.silent_until(last) {
            let at = (at + KNOWN_EVERY_MS - 1).div_euclid(KNOWN_EVERY_MS) * KNOWN_EVERY_MS;
            changes.entry(at.max(first)).or_default().push(index);
        }
        // Where the log has no entry for days nothing changes but on the first: whole pictures of that one and of the last will do.
        let midnights = [first + (-first).rem_euclid(DAY_MS), last - last.rem_euclid(DAY_MS)];
        let is_whole = |at: i64| self.now.ms() > 0 && (first..=last).contains(&at) && midnights.contains(&at);
        let wholes: Vec<i64> = midnights.into_iter().filter(|at| is_whole(*at)).collect();
        for at in &wholes {
            changes.entry(*at).or_default();
        }
        for (at, indices) in changes {
            for index in indices.into_iter().filter(|_| !planted("counts-as-known-lag-behind")) {
                self.stand(index, ProcessingTime::from_ms(at));
            }
            self.known_counts.new.extend(self.rollup.take_known_counts(at, wholes.contains(&at)));
        }
    }

    /// The devices of which nothing is known any more at `until` and still is, with the instant from which on; further ones too.
    fn silent_until(&self, until: i64) -> Vec<(u32, i64)> {
        let due = self.deadlines.range(..=(until, u32::MAX)).map(|(_, index)| *index);
        due.filter_map(|index| Some((index, self.silences(index).1.filter(|at| *at <= until)?))).collect()
    }

    /// Lets `read` see the figures of now as they stand at `at` if nothing more comes until then. As of the last [`Engine::flush`].
    pub fn standing_at<T>(&mut self, at: ProcessingTime, read: impl FnOnce(&Rollup) -> T) -> T {
        let silent = self.silent_until(at.ms());
        for (index, _) in &silent {
            self.stand(*index, at);
        }
        let answer = read(&self.rollup);
        for (index, _) in &silent {
            self.stand(*index, self.now);
        }
        answer
    }

    /// Makes a version of all figures of hours that changed since the last one: they follow from the records received before `known_at`.
    fn make_known(&mut self, known_at: i64) {
        for index in self.dirty.iter().filter(|_| !planted("as-known-at-lags-behind")) {
            roll_up(
                &mut self.devices[*index as usize],
                &self.config.windows,
                &mut self.rollup,
                self.roll_definition,
                &mut self.totals.stale,
            );
        }
        self.known.new.append(&mut self.rollup.take_known(&mut self.totals.stale, known_at));
    }
}
