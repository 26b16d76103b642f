//! Trackers and what travels with them in partitions of a broker: pairings that are noted and change, fixes that are handed on, and what has
//! to be true of them at the end.

use super::super::oracle;
use super::super::random::Random;
use super::super::setup;
use super::super::store::{KEY, Stored};
use super::super::world::World;
use super::broker::{Message, control, partition_of};
use super::{Cluster, Work};
use anyhow::ensure;
use domain::engine::{Content, Pairing};
use domain::time::EventTime;
use server::admission::{Batch, Format, IdentityKey};
use server::clock::Clocks;
use server::kafka::{CONTROL, FIX, PAIRINGS, SOURCE};
use server::travel::HandedOn;
use std::collections::BTreeSet;

/// How pairings come and go.
pub enum Pairs {
    /// Every partition has them noted before anything else, and they stay.
    NotedFirst,
    /// They are noted when a worker has caught up, and stay.
    NotedByChance,
    /// Somebody configures others at times, by this chance.
    Change(Random),
}

impl Cluster {
    /// Somebody configures other pairings: processes know of it with the next partition that they take over.
    pub(super) fn pair(&mut self) {
        if let Pairs::Change(random) = &mut self.pairs
            && !self.is_calm
            && random.one_in(400)
        {
            self.config.pairings = setup::pairings(random);
            self.note_paired();
            self.world.note("other pairings");
        }
    }

    pub(super) fn note_paired(&mut self) {
        let each = |of: &Pairing| [of.tracker.clone(), of.device.clone()];
        self.paired.extend(self.config.pairings.iter().flat_map(each));
    }

    pub(super) fn note_pairings(&mut self, partition: usize, body: &[u8]) {
        self.store_message(partition, body.to_vec(), control(PAIRINGS));
        self.world.note("pairings noted");
    }

    /// Notes the pairings of a partition where others are in force, as its worker does once it has caught up.
    pub(super) fn send_pairings(&mut self, work: &mut Work, partition: u32) {
        let Clocks { steady, .. } = Clocks::now();
        let is_behind = self.logs[partition as usize].messages.last().is_some_and(|last| last.offset >= work.offset);
        if !is_behind
            && !work.stands_still
            && !work.is_gone
            && work.pairings_sent.is_none_or(|at| steady.saturating_sub(at).as_secs() >= 5)
            && let Some(body) = work.owned.shard.wants_pairings()
        {
            work.pairings_sent = Some(steady);
            self.note_pairings(partition as usize, &body);
        }
    }

    /// Hands fixes on; whether the broker has confirmed them all. Where it has not they are sent again, all of them.
    pub(super) fn hand_on(&mut self, fixes: &[HandedOn], world: &World) -> anyhow::Result<bool> {
        let mut are_confirmed = true;
        for fix in fixes {
            let (is_stored, is_told) = match self.random.below(30) {
                0 if !self.is_calm => (false, false),
                1 if !self.is_calm => (true, false),
                _ => (true, true),
            };
            if is_stored {
                let headers = [(SOURCE, fix.source.as_bytes().to_vec())].into_iter().chain(control(FIX)).collect();
                self.store_message(partition_of(&fix.device, self.logs.len()), fix.encode(), headers);
                self.world.note("a fix handed on");
            }
            are_confirmed &= is_told;
            world.point("fix handed on")?;
        }
        Ok(are_confirmed)
    }

    /// Every fix that had to be handed on lies in the partition of its device, and no other: `due` are those of all partitions, each of
    /// whose logs is whole.
    pub(super) fn check_handed_on(&self, due: &[HandedOn]) -> anyhow::Result<u64> {
        let due: BTreeSet<(usize, Vec<u8>)> =
            due.iter().map(|fix| (partition_of(&fix.device, self.logs.len()), fix.encode())).collect();
        let there = self.logs.iter().enumerate().flat_map(|(partition, log)| {
            log.messages.iter().filter(|message| message.is_fix()).map(move |message| (partition, message.value.clone()))
        });
        let there: BTreeSet<(usize, Vec<u8>)> = there.collect();
        let told = |of: Option<&(usize, Vec<u8>)>| of.map(|(to, body)| (*to, String::from_utf8_lossy(body).into_owned()));
        let (lost, made_up) = (due.difference(&there).next(), there.difference(&due).next());
        ensure!(lost.is_none(), "L1: a fix was not handed on: {:?}", told(lost));
        ensure!(made_up.is_none(), "L2: a fix was handed on that nobody accepted: {:?}", told(made_up));
        Ok(due.len() as u64)
    }

    /// No device of a partition travels but those of its newest note, and those that were themselves where their fixes say: whatever is
    /// handed on by pairings that have ended. `messages` are those of the partition; how many devices travel.
    pub(super) fn check_travellers(&self, found: &Stored, messages: &[&Message]) -> anyhow::Result<u64> {
        let own: BTreeSet<String> = messages
            .iter()
            .filter(|message| !message.is_fix())
            .flat_map(|message| message.times())
            .filter_map(|(device, _, is_fix)| is_fix.then_some(device))
            .collect();
        let pairings = oracle::totals_of(found).pairings;
        let mut travellers = 0;
        for (_, state) in oracle::states_of(found) {
            let is_told = own.contains(state.id.as_str()) || pairings.iter().any(|of| of.device == state.id);
            let travels = state.extra.is_some_and(|extra| extra.join.is_some());
            // A letter that is taken in again may be a fix.
            ensure!(is_told || !travels || self.decides, "{} travels, and no note says so", state.id);
            travellers += u64::from(travels);
        }
        Ok(travellers)
    }

    /// Whether where `id` was may differ between several partitions and one: what comes late may be placed otherwise, and so may what comes
    /// while the notes of pairings reach one partition after the other.
    pub(super) fn may_differ(&self, id: &str) -> bool {
        let lies_apart = |of: &Pairing| {
            let [tracker, device] = [&of.tracker, &of.device].map(|id| partition_of(id, self.logs.len()));
            tracker != device
        };
        let is_parted = self.config.pairings.iter().any(|of| of.device == id && lies_apart(of));
        self.paired.contains(id) && (!matches!(self.pairs, Pairs::NotedFirst) || (is_parted && !self.is_in_time(id)))
    }

    /// Whether neither the readings of `id` nor the fixes of those that it may travel with came later than the join waits.
    fn is_in_time(&self, id: &str) -> bool {
        let trackers: Vec<&str> =
            self.config.pairings.iter().filter(|of| of.device == id).map(|of| of.tracker.as_str()).collect();
        let (mut readings, mut fixes, mut handed_on) = (Vec::new(), Vec::new(), Vec::new());
        let mut known = BTreeSet::new();
        for message in self.logs.iter().flat_map(|log| &log.messages) {
            for (device, at, is_fix) in message.times() {
                match is_fix {
                    false if device == id => readings.push(at),
                    true if message.is_fix() && message.is_for(id) && known.insert(message.value.clone()) => handed_on.push(at),
                    true if !message.is_fix() && trackers.contains(&device.as_str()) => fixes.push(at),
                    _ => {}
                }
            }
        }
        // What was sent again came late, or was the same: it counts only as far as it makes others late.
        let are_in_time = |times: &[EventTime]| {
            let mut newest = i64::MIN;
            times.iter().all(|at| {
                newest = newest.max(at.ms());
                newest - at.ms() <= self.config.join.delay_ms
            })
        };
        [readings, fixes, handed_on].iter().all(|times| are_in_time(times))
    }
}

impl Message {
    fn has(&self, what: &[u8]) -> bool {
        self.headers.iter().any(|(key, value)| *key == CONTROL && value == what)
    }

    pub fn is_fix(&self) -> bool {
        self.has(FIX) && !self.is_foreign()
    }

    fn is_for(&self, device: &str) -> bool {
        HandedOn::decode(&self.value.clone().into(), "", &IdentityKey(KEY)).is_ok_and(|(of, _)| of == device)
    }

    /// Device and time of the readings and fixes in it, and whether it is a fix.
    fn times(&self) -> Vec<(String, EventTime, bool)> {
        let key = IdentityKey(KEY);
        let value = self.value.clone().into();
        let batch = if self.is_fix() {
            HandedOn::decode(&value, "", &key).ok().map(|(_, batch)| batch)
        } else {
            Some(value).filter(|_| self.is_record()).and_then(|value| Batch::parse(value, Format::Record, "", &key).ok())
        };
        let each = |batch: Batch| -> Vec<_> {
            let told = batch.records().filter_map(|record| match record.content {
                Content::Reading { device, reading } => Some((device.into_owned(), reading.at, false)),
                Content::Fix { device, fix } => Some((device.into_owned(), fix.at, true)),
                _ => None,
            });
            told.collect()
        };
        batch.map(each).unwrap_or_default()
    }
}
