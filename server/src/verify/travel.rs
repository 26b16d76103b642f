//! Where the readings of a device were taken, by the letter of the rule: the fix nearest in time within the tolerance, of two as near the
//! earlier, decided once the tracker's watermark has passed all that could be nearer. It shares no code with the engine's join.

use domain::engine::Pairing;
use domain::join::{Fix, JoinConfig, Located, MAX_HELD, MAX_HELD_UNREAD};
use domain::time::EventTime;

/// Which devices travel with which trackers, as the log has said so far.
#[derive(Debug, Default)]
pub struct Companions {
    pub pairings: Vec<Pairing>,
}

/// What other pairings mean for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It travels.
    Travels,
    /// It does not travel any more; as a tracker, not with itself.
    Stays,
}

impl Companions {
    /// From here on `pairings` are in force; what changes for which device, in order.
    pub fn change(&mut self, pairings: Vec<Pairing>) -> Vec<(String, Change)> {
        if pairings == self.pairings {
            return Vec::new();
        }
        let travels = |id: &String| pairings.iter().any(|of| of.device == *id);
        let left = self.pairings.iter().map(|of| &of.device).chain(pairings.iter().map(|of| &of.tracker));
        let stay = left.filter(|id| !travels(id)).map(|id| (id.clone(), Change::Stays));
        let changes = stay.chain(pairings.iter().map(|of| (of.device.clone(), Change::Travels))).collect();
        self.pairings = pairings;
        changes
    }

    /// Who travels with `tracker` at that time: those it is paired with, else itself.
    pub fn of_tracker<'t>(&'t self, tracker: &'t str, at: EventTime) -> Vec<&'t str> {
        let paired = self.paired_with(tracker, at);
        if paired.is_empty() { vec![tracker] } else { paired }
    }

    /// Those that it is paired with at that time: for these alone a fix that another partition handed on has an effect.
    pub fn paired_with(&self, tracker: &str, at: EventTime) -> Vec<&str> {
        let holds = |of: &&Pairing| of.tracker == tracker && (of.from_ms..of.to_ms).contains(&at.ms());
        self.pairings.iter().filter(holds).map(|of| of.device.as_str()).collect()
    }
}

/// Readings that wait for fixes, and fixes that wait for readings. Called and written as the state has it, so that the two are told alike.
#[derive(Clone, Debug, Default)]
pub struct Join {
    fixes: Vec<Fix>,
    waiting: Vec<EventTime>,
    newest_fix: Option<EventTime>,
    newest_reading: Option<EventTime>,
}

impl Join {
    fn best(&self, config: JoinConfig, at: EventTime) -> Located {
        let distance = |fix: &Fix| (fix.at.ms() - at.ms()).abs();
        let near = self.fixes.iter().filter(|fix| distance(fix) <= config.tolerance_ms);
        Located { at, fix: near.min_by_key(|fix| (distance(fix), **fix)).copied() }
    }

    /// A reading of that time came.
    pub fn reading(&mut self, config: JoinConfig, at: EventTime, located: &mut Vec<Located>) {
        self.waiting.push(at);
        self.waiting.sort_unstable();
        self.newest_reading = self.newest_reading.max(Some(at));
        self.settle(config, located);
    }

    /// A fix came.
    pub fn fix(&mut self, config: JoinConfig, fix: Fix, located: &mut Vec<Located>) {
        self.fixes.push(fix);
        self.fixes.sort_unstable();
        self.fixes.dedup();
        self.newest_fix = self.newest_fix.max(Some(fix.at));
        self.settle(config, located);
    }

    fn settle(&mut self, config: JoinConfig, located: &mut Vec<Located>) {
        let JoinConfig { tolerance_ms, delay_ms } = config;
        let is_passed = |at: EventTime| self.newest_fix.is_some_and(|fix| at.ms() + tolerance_ms < fix.ms() - delay_ms);
        let passed = self.waiting.iter().filter(|at| is_passed(**at)).count();
        let settled = passed.max(self.waiting.len().saturating_sub(MAX_HELD));
        let due: Vec<EventTime> = self.waiting.drain(..settled).collect();
        located.extend(due.into_iter().map(|at| self.best(config, at)));
        // Nobody asks for a fix before the oldest reading that waits or may still come in time.
        let awaited = self.newest_reading.map(|at| at.ms() - delay_ms - tolerance_ms);
        let first = self.waiting.first().map(|at| at.ms() - tolerance_ms);
        if let Some(from) = awaited.map(|from| first.map_or(from, |first| first.min(from))) {
            self.fixes.retain(|fix| fix.at.ms() >= from);
        }
        let most = if self.newest_reading.is_none() { MAX_HELD_UNREAD } else { MAX_HELD };
        self.fixes.drain(..self.fixes.len().saturating_sub(most));
    }

    /// Nothing came from the device for long: whatever waits is decided.
    pub fn give_up(&mut self, config: JoinConfig, located: &mut Vec<Located>) {
        let waiting = std::mem::take(&mut self.waiting);
        located.extend(waiting.into_iter().map(|at| self.best(config, at)));
    }
}
