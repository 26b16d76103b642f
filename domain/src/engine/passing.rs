//! Time that passes: what silence of a device means, and when figures of hours get a version.

use super::device::{roll_up, settle_to};
use super::{Engine, PASS_EVERY_MS, UNREAD_AFTER_MS};
use crate::planted;
use crate::rollup::KNOWN_EVERY_MS;
use crate::time::ProcessingTime;

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
        let (first, _) = self.deadlines.first()?;
        Some(ProcessingTime::from_ms(*first).min(self.now.plus_ms(PASS_EVERY_MS)))
    }

    /// Lets time pass to `now` (never backwards): idle devices fire, silent ones are counted as such, roll-ups get a version.
    pub fn pass_time(&mut self, now: ProcessingTime) {
        let passed_ms = now.ms() - self.now.ms();
        if passed_ms <= 0 && !planted("time-goes-back") {
            return;
        }
        let known_at = self.now.ms() - self.now.ms().rem_euclid(KNOWN_EVERY_MS) + KNOWN_EVERY_MS;
        if now.ms() >= known_at {
            self.make_known(known_at);
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
                    state.excursion = None;
                }
                if let Some(join) = state.extra.as_mut().and_then(|extra| extra.join.as_mut()) {
                    join.give_up_waiting(self.config.join, &mut settle_to(&mut self.derived.new, index));
                }
            }
            self.queue(index);
            self.mark(index);
        }
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
