//! What is known of identities and devices while records are judged, a share at a time: whether a record can be used, and whether it came
//! before.

use super::recompute::{ACCEPTED, DUPLICATE, REJECTED};
use domain::engine::{CLOCK_RESET_BEFORE, Content, EngineConfig, Record};
use domain::event::Reason;
use domain::join::Fix;
use domain::master::Master;
use domain::sequence::{Sequence, Sequences};
use domain::time::EventTime;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Which share of `shares` the device belongs to.
pub fn share_of(id: &str, shares: u64) -> u64 {
    if shares == 1 {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish() % shares
}

fn wrong_time(config: &EngineConfig, at: EventTime, now: i64) -> Option<Reason> {
    match at.ms() {
        at if at - now > config.future_ms => Some(Reason::Future),
        at if at < CLOCK_RESET_BEFORE.ms() => Some(Reason::ClockReset),
        at if now - at > config.retention_ms => Some(Reason::TooOld),
        _ => None,
    }
}

/// Why a record cannot be used, whatever came before it of its identity.
fn wrong(config: &EngineConfig, room: &Room<'_>, record: &Record<'_>, now: i64) -> Option<Reason> {
    match &record.content {
        Content::Reading { device, .. } | Content::Fault { device, .. } | Content::Fix { device, .. } if !room.holds(device) => {
            Some(Reason::OutOfRange)
        }
        Content::Rejected(reason) => Some(*reason),
        Content::Reading { reading, .. } => wrong_time(config, reading.at, now),
        Content::Fault { fault, .. } => Some(wrong_time(config, fault.at, now).unwrap_or(Reason::SensorFault)),
        Content::Fix { fix, .. } => wrong_time(config, fix.at, now),
        Content::Other { at } => at.and_then(|at| wrong_time(config, at, now)),
    }
}

/// The devices for which there is room: the registered ones, and of the others the first that the log names.
pub(super) struct Room<'m> {
    pub master: &'m Master,
    pub others: HashSet<String>,
    pub most_others: usize,
}

impl Room<'_> {
    /// A record names `device`: it has room from now on, if there is any.
    pub fn note(&mut self, device: &str) {
        if self.others.len() < self.most_others && !self.holds(device) {
            self.others.insert(device.to_owned());
        }
    }

    fn holds(&self, device: &str) -> bool {
        self.master.sensor_by_id(device).is_some() || self.others.contains(device)
    }
}

/// Identities of one share.
#[derive(Default)]
pub(super) struct Known {
    /// What was taken in first under which identity.
    taken: HashMap<u128, u64>,
    /// Refused: identity, body and reason.
    refused: HashSet<(u128, u64, u8)>,
    /// What other partitions handed on for which device: identity and body.
    handed_on: HashMap<(u128, String), u64>,
    /// Running numbers by device. They tell of a duplicate only where a record came once with an id and once without.
    numbers: HashMap<String, Sequences>,
}

/// The device that counts its records, with the number and the time of this one.
pub(super) fn counting<'r>(record: &'r Record<'_>) -> Option<(&'r str, Sequence, EventTime)> {
    match &record.content {
        Content::Reading { device, reading } => Some((device, record.sequence?, reading.at)),
        Content::Fix { device, fix } => Some((device, record.sequence?, fix.at)),
        _ => None,
    }
}

impl Known {
    pub fn len(&self) -> u64 {
        (self.taken.len() + self.refused.len() + self.handed_on.len()) as u64
    }

    pub fn judge(&mut self, config: &EngineConfig, room: &Room<'_>, record: &Record<'_>, now: i64, is_replay: bool) -> u8 {
        let fate = self.judge_uncounted(wrong(config, room, record, now), record, is_replay);
        if let (ACCEPTED, Some((device, sequence, at))) = (fate, counting(record)) {
            self.numbers.entry(device.to_owned()).or_default().note(sequence, at);
        }
        fate
    }

    /// The tracker's id and the fix that another partition handed on, where it is new.
    pub fn take_handed_on<'r>(
        &mut self,
        config: &EngineConfig,
        device: &str,
        record: &'r Record<'_>,
        now: i64,
    ) -> Option<(&'r str, Fix)> {
        let (Content::Fix { device: tracker, fix }, Some(identity)) = (&record.content, record.identity) else { return None };
        let at = fix.at.ms();
        let is_possible = (now - config.retention_ms..=now + 2 * config.future_ms).contains(&at) && at >= CLOCK_RESET_BEFORE.ms();
        if !is_possible || self.taken.get(&identity.0) == Some(&record.body.0) {
            return None;
        }
        match self.handed_on.entry((identity.0, device.to_owned())) {
            Entry::Occupied(_) => None,
            Entry::Vacant(entry) => {
                entry.insert(record.body.0);
                Some((tracker, *fix))
            }
        }
    }

    /// Whether the fix of a record was handed on for that device before.
    pub fn has_been_handed_on(&self, record: &Record<'_>, device: &str) -> bool {
        let key = record.identity.map(|identity| (identity.0, device.to_owned()));
        key.and_then(|key| self.handed_on.get(&key)) == Some(&record.body.0)
    }

    fn judge_uncounted(&mut self, wrong: Option<Reason>, record: &Record<'_>, is_replay: bool) -> u8 {
        let identity = record.identity.map(|identity| (identity.0, record.body.0));
        let reason = match (wrong, identity) {
            (Some(reason), _) => reason,
            (None, None) => return ACCEPTED,
            (None, Some((identity, body))) => match self.taken.get(&identity) {
                None => {
                    self.taken.insert(identity, body);
                    let numbered = counting(record).filter(|_| record.is_numbered);
                    let has_seen =
                        numbered.is_some_and(|(id, number, _)| self.numbers.get(id).is_some_and(|of| of.has_seen(number)));
                    return if has_seen { DUPLICATE } else { ACCEPTED };
                }
                Some(known) if *known == body => return DUPLICATE,
                Some(_) if record.is_natural => Reason::ConflictingReading,
                Some(_) => Reason::IdConflict,
            },
        };
        let is_new = identity.is_none_or(|(identity, body)| self.refused.insert((identity, body, reason as u8)));
        // A letter that is taken in again and refused again has to stay a letter.
        if is_new || is_replay { REJECTED + reason as u8 } else { DUPLICATE }
    }
}
