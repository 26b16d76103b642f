//! Which devices travel with which trackers, and the fixes that are handed to them.
//!
//! The pairings in force are part of the state, and so are changes of them part of the log. A device of a pairing travels from there on,
//! whether its tracker has been heard of or not: each of its readings waits for fixes. Its tracker may lie in another partition of the
//! input. That one hands on what it accepts ([`Engine::travellers`]), and this one takes it in ([`Engine::take_handed_on`]), where the
//! pairing is in force here too: changes reach one partition after the other.

use super::device::settle_to;
use super::judge::{handed_on_identity, new_here};
use super::{Engine, EngineConfig, Identities, Pairing, Record, Seen};
use crate::join::{Fix, Join};
use crate::planted;
use crate::sequence::Sequences;
use crate::time::{EventTime, ProcessingTime};
use smallvec::SmallVec;
use std::collections::BTreeSet;

impl Engine {
    /// The pairings in force.
    pub fn pairings(&self) -> &[Pairing] {
        if planted("pairings-of-the-configuration-count") { &self.config.pairings } else { &self.totals.pairings }
    }

    /// From `now` on these pairings are in force, and no others. For devices whose pairing ends, and for trackers that carry others from
    /// now on, what waits is settled as it stands.
    pub fn pair(&mut self, pairings: Vec<Pairing>, now: ProcessingTime) {
        self.pass_time(now);
        if pairings == self.totals.pairings {
            return;
        }
        let before = std::mem::replace(&mut self.totals.pairings, pairings.clone());
        self.index_trackers();
        let devices: BTreeSet<&str> = pairings.iter().map(|of| of.device.as_str()).collect();
        let left = before.iter().map(|of| &of.device).chain(pairings.iter().map(|of| &of.tracker));
        for id in left.filter(|id| !devices.contains(id.as_str())) {
            if let Some(index) = self.device_by_id(id) {
                self.stay(index);
            }
        }
        for pairing in &pairings {
            // Named by the log, as by a record.
            if let Some(index) = self.index_or_room(&pairing.device) {
                self.travel(index);
            }
        }
    }

    /// Makes `trackers` and `carried` anew.
    pub(super) fn index_trackers(&mut self) {
        self.trackers.clear();
        self.carried.clear();
        self.most_travellers = 0;
        let pairings = if planted("pairings-of-the-configuration-count") { &self.config.pairings } else { &self.totals.pairings };
        for (pairing, place) in pairings.iter().zip(0..) {
            let own = self.trackers.entry(pairing.tracker.as_str().into()).or_default();
            own.push(place);
            self.most_travellers = self.most_travellers.max(own.len());
            self.carried.entry(pairing.device.as_str().into()).or_default().push(place);
        }
    }

    /// Whether `device` travels with `tracker` at that time by the pairings in force.
    fn carries(&self, tracker: &str, device: &str, at: EventTime) -> bool {
        let own = self.carried.get(device).map_or(&[][..], |places| places.as_slice());
        own.iter().map(|place| &self.pairings()[*place as usize]).any(|of| of.tracker == tracker && of.holds_at(at))
    }

    /// How many devices the tracker has that carries most.
    pub const fn most_travellers(&self) -> usize {
        self.most_travellers
    }

    /// The devices that travel with `tracker` at that time by the pairings; none where it carries itself.
    pub fn travellers(&self, tracker: &str, at: EventTime) -> impl Iterator<Item = &str> {
        let own = self.trackers.get(tracker).map_or(&[][..], |places| places.as_slice());
        let own = own.iter().map(|place| &self.pairings()[*place as usize]);
        own.filter(move |of| of.holds_at(at)).map(|of| of.device.as_str())
    }

    /// Hands a fix of the tracker `tracker`, accepted as `record`, to the devices that travel with it: those it is paired with, else
    /// itself.
    pub(super) fn locate(&mut self, tracker: u32, record: &Record<'_>, fix: Fix, identities: &impl Identities) {
        // What another partition handed on before is known here.
        let is_known = |id: &str| {
            let identity = record.identity.map(|identity| handed_on_identity(identity, id));
            identity.is_some_and(|identity| identities.seen(identity, record.body) == Seen::Same)
        };
        let paired: SmallVec<[Option<u32>; 2]> = {
            let travellers = self.travellers(&self.devices[tracker as usize].state.id, fix.at);
            travellers.map(|id| self.device_by_id(id).filter(|_| !is_known(id))).collect()
        };
        if paired.is_empty() && !is_known(&self.devices[tracker as usize].state.id) {
            self.hand(tracker, fix);
        }
        paired.into_iter().flatten().for_each(|index| self.hand(index, fix));
    }

    /// Takes in `record`, of a tracker in another partition that accepted it and handed it on for the device of that id. It is no record of
    /// this partition: nothing is counted, and taken in once more it changes nothing. Where the pairing is not in force here, be it no more
    /// or not yet, it has no effect, and is remembered all the same: who only remembers does not know what was in force then.
    pub fn take_handed_on(&mut self, device: &str, record: &Record<'_>, now: ProcessingTime, identities: &mut impl Identities) {
        self.pass_time(now);
        let Some(fix) = new_here(&self.config, (device, record), self.now, identities) else { return };
        let travels = record.device().is_some_and(|tracker| self.carries(tracker, device, fix.at));
        // Who is in a note has an index since then, if there was room.
        if let Some(index) = self.device_by_id(device)
            && (travels || planted("fix-of-an-ended-pairing-counts"))
        {
            self.hand(index, fix);
        }
    }

    /// Lets the identity of `record` be remembered as [`Engine::take_handed_on`] would, without any other effect.
    pub fn remember_handed_on(
        config: &EngineConfig,
        device: &str,
        record: &Record<'_>,
        now: ProcessingTime,
        identities: &mut impl Identities,
    ) {
        let _ = new_here(config, (device, record), now, identities);
    }

    /// A fix that cannot be stays a record, and says nothing of where anything was.
    fn hand(&mut self, index: u32, fix: Fix) {
        if !fix.is_in_country() {
            return;
        }
        self.travel(index);
        let Self { devices, derived, config, .. } = self;
        if let Some(join) = &mut devices[index as usize].state.extra.get_or_insert_default().join {
            join.fix(config.join, fix, &mut settle_to(&mut derived.new, index));
        }
    }

    /// The device travels, if it did not already.
    fn travel(&mut self, index: u32) {
        let Self { devices, derived, config, .. } = self;
        let state = &mut devices[index as usize].state;
        let join = &mut state.extra.get_or_insert_default().join;
        if join.is_none() {
            let mut begun = Join::default();
            if let Some(latest) = state.latest {
                // Nobody knew before that it travels: the newest reading is the one that can still be placed.
                begun.reading(config.join, latest.at, &mut settle_to(&mut derived.new, index));
            }
            *join = Some(begun);
        }
        self.mark(index);
    }

    /// The device travels no more.
    fn stay(&mut self, index: u32) {
        let Self { devices, derived, config, .. } = self;
        let extra = &mut devices[index as usize].state.extra;
        if let Some(mut join) = extra.as_mut().and_then(|extra| extra.join.take()) {
            join.give_up_waiting(config.join, &mut settle_to(&mut derived.new, index));
            *extra = extra.take().filter(|extra| extra.sequences != Sequences::default());
            self.mark(index);
        }
    }
}

#[cfg(test)]
#[path = "travel_tests.rs"]
mod tests;
