//! The engine: what every record leads to, as a function of the log.
//!
//! [`Engine::step`] takes events and time and returns dispositions; it knows neither clock nor IO. Which identities were seen
//! before it asks an [`Identities`], because those outgrow memory and live on disk.

mod adopt;
mod ask;
mod config;
mod days;
mod device;
mod held;
mod index;
mod judge;
mod outside;
mod passing;
mod record;
mod totals;
mod travel;
mod watermark;

pub use config::{EngineConfig, Pairing, RETENTION_MS};
pub use days::{DayBook, TOPICS, Today};
pub use device::{ClosedDerived, ClosedWindow, Derived, DeviceState};
pub use held::{ReadingsHeld, UnevenHour};
pub use outside::{KEPT_OUTSIDE, Outside};
pub use record::{Content, Disposition, Identities, MemoryIdentities, Record, Seen};
pub use totals::{Tally, Totals};

use crate::coldchain::{Condition, Range};
use crate::event::{DeviceStatus, Reading, Reason};
use crate::master::{EquipmentKind, Master, SensorIx};
use crate::milli::Milli;
use crate::planted;
use crate::rollup::{HourCell, KnownCounts, KnownHour, LateReading, PackedHour, Rollup, Standing, StoodThen, histogram_column};
use crate::time::{EventTime, MINUTE_MS, ProcessingTime};
use crate::window::Placement;
use compact_str::CompactString;
use days::Days;
use device::{Device, Handed, Leaving, roll_up, settle_to};
use hashbrown::HashMap;
use index::DeviceIndex;
use judge::judge;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A clock before this instant was reset: 2024-01-01, before this product existed.
pub const CLOCK_RESET_BEFORE: EventTime = EventTime::from_ms(1_704_067_200_000);
/// How many records are looked at ahead of being taken in.
const AHEAD: usize = 64;
/// Without an entry in the log for so long, nobody read: paused, back-pressured, restarting. Such time is no silence of devices.
pub const UNREAD_AFTER_MS: i64 = MINUTE_MS;
/// While a silence is waited for, time has to pass at least so often, well within [`UNREAD_AFTER_MS`].
const PASS_EVERY_MS: i64 = 30_000;
/// How many sources are counted by name; the records of further ones count as `(other)`.
pub const MAX_SOURCES: usize = 10_000;

/// The state machine. Devices of the master data have the indices of their sensors; unregistered ones follow.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EngineConfig,
    master: Arc<Master>,
    devices: Vec<Device>,
    by_id: DeviceIndex,
    rollup: Rollup,
    totals: Totals,
    sources: HashMap<Box<str>, u32>,
    /// When to look at which device again because nothing came from it.
    deadlines: BTreeSet<(i64, u32)>,
    dirty: Vec<u32>,
    changed: Vec<u32>,
    /// Registered devices outside their range now.
    out_of_range: BTreeSet<u32>,
    closed: Vec<ClosedWindow>,
    late: Vec<LateReading>,
    derived: Handed<ClosedDerived>,
    known: Handed<KnownHour>,
    known_counts: Handed<KnownCounts>,
    days: Days,
    /// Places in the list of pairings, by tracker,
    trackers: HashMap<CompactString, SmallVec<[u32; 2]>>,
    /// and by device.
    carried: HashMap<CompactString, SmallVec<[u32; 2]>>,
    most_travellers: usize,
    now: ProcessingTime,
    roll_definition: usize,
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(config: EngineConfig, master: &Arc<Master>) -> Self {
        debug_assert!(config.retention_ms <= RETENTION_MS, "hours would leave memory too early");
        let definitions = config.windows.definitions().len();
        let mut engine = Self {
            roll_definition: config.windows.of_size(5 * MINUTE_MS).unwrap_or(definitions - 1),
            config,
            devices: Vec::with_capacity(master.sensors().len()),
            by_id: DeviceIndex::default(),
            rollup: Rollup::new(master),
            totals: Totals::default(),
            sources: HashMap::new(),
            deadlines: BTreeSet::new(),
            dirty: Vec::new(),
            changed: Vec::new(),
            out_of_range: BTreeSet::new(),
            closed: Vec::new(),
            late: Vec::new(),
            derived: Handed::default(),
            known: Handed::default(),
            known_counts: Handed::default(),
            days: Days::default(),
            trackers: HashMap::new(),
            carried: HashMap::new(),
            most_travellers: 0,
            now: ProcessingTime::from_ms(0),
            master: Arc::clone(master),
        };
        for index in 0..master.sensors().len() {
            engine.add_device(&master.sensors()[index].id, Some(SensorIx(index as u32)));
        }
        engine
    }

    /// The engine of a checkpoint: its counters, devices and hours, as of the log's `now`.
    pub fn restore(
        config: EngineConfig,
        master: &Arc<Master>,
        now: ProcessingTime,
        totals: Totals,
        devices: impl IntoIterator<Item = DeviceState>,
        hours: impl IntoIterator<Item = (i64, PackedHour)>,
    ) -> Self {
        let mut engine = Self::new(config, master);
        engine.now = now;
        engine.sources = totals.by_source.iter().zip(0..).map(|((name, _), ix)| (name.as_str().into(), ix)).collect();
        engine.totals = totals;
        engine.restore_day();
        engine.index_trackers();
        engine.rollup.restore_hours(now, hours.into_iter());
        for state in devices {
            let index = engine.device_index(&state.id);
            if engine.knows_more_of(index, &state) {
                continue;
            }
            let received_at = state.received_at;
            engine.devices[index as usize].state = state;
            if !planted("restart-forgets-who-is-silent") {
                engine.queue(index);
            }
            if let Some(received_at) = received_at {
                let facility = engine.devices[index as usize].facility;
                engine.rollup.heard(facility, received_at);
            }
            engine.settle(index);
        }
        engine
    }

    fn add_device(&mut self, id: &str, sensor: Option<SensorIx>) -> u32 {
        let registered = sensor.map(|s| self.master.sensor(s));
        let index = self.devices.len() as u32;
        let are_many = index > 3 && planted("later-strangers-are-judged-otherwise");
        let of_strangers = if are_many { Range { max: Milli::whole(5), ..Range::FRIDGE } } else { Range::FRIDGE };
        self.devices.push(Device {
            state: DeviceState { id: CompactString::from(id), ..DeviceState::default() },
            sensor,
            facility: registered.map(|s| s.facility),
            range: registered.map_or(of_strangers, |s| s.range),
            slot: self.config.windows.slot(registered.map_or(5 * MINUTE_MS, |s| s.interval_ms)),
            is_refrigerator: registered.is_some_and(|s| s.equipment == EquipmentKind::Refrigerator),
            standing: Standing::UNHEARD,
            unrolled: SmallVec::new(),
            unrolled_late: None,
            is_dirty: false,
            is_changed: false,
            queued_at: None,
        });
        self.by_id.add_last(&self.devices);
        index
    }

    /// Takes in `records`, durable since `now`; one disposition each, in their order, is appended to `dispositions`.
    pub fn step<'a>(
        &mut self,
        records: impl IntoIterator<Item = Record<'a>>,
        now: ProcessingTime,
        identities: &mut impl Identities,
        dispositions: &mut Vec<Disposition>,
    ) {
        self.pass_time(now);
        let now = self.now;
        self.open_books(now);
        let mut records = records.into_iter();
        // A few records at a time: first their memory is asked for, all at once, then they are taken in.
        let mut ahead = Vec::with_capacity(AHEAD);
        let mut expected = Vec::with_capacity(AHEAD);
        loop {
            ahead.extend(records.by_ref().take(AHEAD).map(|record| {
                let hash = match &record.content {
                    Content::Reading { device, .. } => Some(self.by_id.hash(device)),
                    _ => None,
                };
                (record, hash, None)
            }));
            if ahead.is_empty() {
                return;
            }
            let hashes = ahead.iter().filter_map(|(_, hash, _)| *hash);
            std::hint::black_box(hashes.map(|hash| self.by_id.warm(&self.devices, hash)).fold(0, |a, b| a ^ b));
            expected.clear();
            expected.extend(ahead.iter().filter_map(|(record, ..)| record.identity));
            identities.expect(&expected);
            for (record, hash, index) in &mut ahead {
                if let (Content::Reading { device, .. }, Some(hash)) = (&record.content, *hash) {
                    *index = self.by_id.find(&self.devices, hash, device);
                }
            }
            // Twice, so that no read waits for another one of the same device while others could be on their way.
            let indices = || ahead.iter().filter_map(|(.., index)| *index);
            std::hint::black_box(indices().map(|index| self.devices[index as usize].warm()).fold(0, |a, b| a ^ b));
            let readings = ahead.iter().filter_map(|(record, _, index)| match record.content {
                Content::Reading { reading, .. } => index.map(|index| (index, reading.at)),
                _ => None,
            });
            let warm = |(index, at): (u32, EventTime)| self.devices[index as usize].state.windows.warm(&self.config.windows, at);
            std::hint::black_box(readings.map(warm).fold(0, |a, b| a ^ b));
            let mut last_source: Option<(Cow<'_, str>, usize)> = None;
            for (record, _, index) in &ahead {
                let disposition = self.take(record, *index, now, identities);
                let source = match &last_source {
                    Some((name, index)) if *name == record.source => *index,
                    _ => {
                        let index = self.source_index(&record.source);
                        // One for each source, where nobody has changed the state.
                        if let Some(heard) = self.totals.heard_from.get_mut(index) {
                            *heard = now;
                        }
                        last_source.insert((record.source.clone(), index)).1
                    }
                };
                self.totals.all.count(disposition);
                self.totals.by_topic[record.topic.map_or(4, |t| t as usize)].count(disposition);
                self.totals.by_source[source].1.count(disposition);
                self.totals.today.count(source, record.topic.map_or(4, |t| t as usize), disposition);
                if let Disposition::Rejected(reason) = disposition {
                    self.totals.by_reason[reason as usize] += 1;
                }
                dispositions.push(disposition);
            }
            ahead.clear();
        }
    }

    /// `record` as it was judged when the state that this engine has was made: there is no room for further devices, else they were in it.
    pub fn as_judged<'a>(&self, record: Record<'a>) -> Record<'a> {
        let has_room =
            record.device().is_none_or(|id| self.device_by_id(id).is_some()) || planted("without-room-is-remembered-as-taken");
        if has_room { record } else { record.without_room() }
    }

    /// Lets the identities of `records` be remembered as [`Engine::step`] would, without any other effect: what a restart does
    /// with the part of the log that the state already covers and the identities do not. See [`Engine::as_judged`].
    pub fn remember<'a>(
        config: &EngineConfig,
        records: impl IntoIterator<Item = Record<'a>>,
        now: ProcessingTime,
        identities: &mut impl Identities,
    ) {
        for record in records {
            let _ = judge(config, &record, now, identities, false);
        }
    }

    /// `known` is the index of the record's device, where it was found already.
    fn take(
        &mut self,
        record: &Record<'_>,
        known: Option<u32>,
        now: ProcessingTime,
        identities: &mut impl Identities,
    ) -> Disposition {
        let index = match (record.device(), known) {
            (Some(id), None) => match self.index_or_room(id) {
                None => return judge(&self.config, &record.clone().without_room(), now, identities, false),
                there => there,
            },
            (_, known) => known,
        };
        let has_seen = record.sequence.is_some_and(|sequence| {
            record.is_numbered && index.is_some_and(|index| self.devices[index as usize].state.has_seen(sequence))
        });
        let judged = judge(&self.config, record, now, identities, has_seen);
        let Some(index) = index else { return judged };
        let (at, disposition) = match (&record.content, judged) {
            (Content::Fault { fault, .. }, Disposition::Rejected(Reason::SensorFault)) => {
                self.heard(index, now);
                let device = &mut self.devices[index as usize];
                let is_newest = device.state.fault.is_none_or(|known| fault.at > known.at);
                if planted("sensor-code-is-an-excursion") {
                    let code =
                        Reading { at: fault.at, temperature: fault.code, humidity: None, battery: None, status: fault.status };
                    device.state.note_condition(&code, device.range);
                }
                if is_newest && device.state.latest.is_none_or(|r| fault.at > r.at) {
                    device.state.fault = Some(*fault);
                }
                self.mark(index);
                return judged;
            }
            (Content::Reading { reading, .. }, Disposition::Accepted) => (reading.at, self.place(index, reading, now)),
            (Content::Fix { fix, .. }, Disposition::Accepted) => {
                self.heard(index, now);
                self.mark(index);
                self.locate(index, record, *fix, identities);
                (fix.at, judged)
            }
            _ => return judged,
        };
        if let Some(sequence) = record.sequence {
            self.devices[index as usize].state.extra.get_or_insert_default().sequences.note(sequence, at);
        }
        disposition
    }

    /// Index of the device of that id, which gets one where it is heard of for the first time, whatever becomes of its record; `None` where
    /// there is no room for a further one that nobody registered. So who has room follows from the order of the log alone.
    fn index_or_room(&mut self, id: &str) -> Option<u32> {
        if let Some(index) = self.device_by_id(id) {
            return Some(index);
        }
        let unregistered = self.devices.len() - self.master.sensors().len();
        if unregistered >= self.config.max_unregistered as usize && !planted("unregistered-without-end") {
            return None;
        }
        let index = self.add_device(id, None);
        self.mark(index);
        Some(index)
    }

    fn heard(&mut self, index: u32, now: ProcessingTime) {
        let state = &mut self.devices[index as usize].state;
        state.received_at = Some(now);
    }

    fn place(&mut self, index: u32, reading: &Reading, now: ProcessingTime) -> Disposition {
        let Self { devices, rollup, closed, late: came_late, derived, totals, config, roll_definition, .. } = self;
        let device = &mut devices[index as usize];
        device.state.received_at = Some(now);
        let first_closed = closed.len();
        let mut leaving = Leaving { device: index, config: &config.windows, closed, derived: &mut derived.new };
        let late = device.state.windows.lateness(&config.windows, reading.at, now, &mut leaving);
        let roll_size = config.windows.definitions()[*roll_definition].size_ms;
        let start = reading.at.ms() - reading.at.ms().rem_euclid(roll_size);
        if late.is_none() {
            if device.unrolled.iter().all(|(s, _)| *s != start) {
                device.unrolled.push((start, device.contribution(&config.windows, *roll_definition, start)));
            }
            device.state.windows.accept(&config.windows, device.slot, reading, now, &mut leaving);
        }
        if closed.len() > first_closed {
            device.note_closed(&config.windows, *roll_definition, &closed[first_closed..], rollup, &mut totals.stale);
        }
        totals.closed_windows += (closed.len() - first_closed) as u64;
        totals.corrected_windows += closed[first_closed..].iter().filter(|closed| closed.window.version > 1).count() as u64;
        let disposition = if late.is_some() && planted("late-is-dropped-in-silence") {
            Disposition::Accepted
        } else if let Some(Placement::Late { window_start, lateness_ms }) = late {
            // In no window, and yet it happened.
            if !planted("late-data-passes-no-detection") {
                device.state.note_condition(reading, device.range);
            }
            let adds = HourCell::of_late(reading.temperature, device.range);
            let late = LateReading { device: index, start, adds };
            if !device.note_late(&late) {
                rollup.roll_late(device.facility, start, &adds, &mut totals.stale);
            }
            came_late.push(late);
            Disposition::Late { window_start, lateness_ms }
        } else {
            // Of two at one instant the worse one tells, whichever came first.
            let is_newest = device.state.latest.is_none_or(|latest| {
                let is_worse = || device.range.is_worse(reading.temperature, latest.temperature);
                reading.at > latest.at || reading.at == latest.at && is_worse()
            });
            device.state.note_condition(reading, device.range);
            if is_newest {
                device.state.latest = Some(*reading);
                if device.state.fault.is_some_and(|fault| fault.at < reading.at) {
                    device.state.fault = None;
                }
            }
            if let Some(join) = device.state.extra.as_mut().and_then(|extra| extra.join.as_mut()) {
                join.reading(config.join, reading.at, &mut settle_to(&mut derived.new, index));
            }
            Disposition::Accepted
        };
        self.mark(index);
        disposition
    }

    fn device_index(&mut self, id: &str) -> u32 {
        self.device_by_id(id).unwrap_or_else(|| self.add_device(id, None))
    }

    fn source_index(&mut self, source: &str) -> usize {
        if let Some(index) = self.sources.get(source) {
            return *index as usize;
        }
        if self.totals.by_source.len() >= MAX_SOURCES {
            return self.source_index_of_other();
        }
        self.add_source(source)
    }

    fn source_index_of_other(&mut self) -> usize {
        match self.sources.get("(other)") {
            Some(index) => *index as usize,
            None => self.add_source("(other)"),
        }
    }

    fn add_source(&mut self, source: &str) -> usize {
        let index = self.totals.by_source.len();
        self.totals.by_source.push((source.to_owned(), Tally::default()));
        self.totals.heard_from.push(self.now);
        self.sources.insert(source.into(), index as u32);
        index
    }

    fn mark(&mut self, index: u32) {
        let device = &mut self.devices[index as usize];
        if !std::mem::replace(&mut device.is_dirty, true) {
            self.dirty.push(index);
        }
        if !std::mem::replace(&mut device.is_changed, true) {
            self.changed.push(index);
        }
        // What is queued may be a later silence than those after this record.
        let idle_at = self.now.ms() + self.config.windows.idle_after_ms;
        let silent_at = device.state.latest.map_or(i64::MAX, |reading| reading.at.ms() + self.config.silent_after_ms);
        let next = if silent_at > self.now.ms() { idle_at.min(silent_at) } else { idle_at };
        if device.queued_at.is_none_or(|at| at > next) {
            self.queue(index);
        }
    }

    /// The versions of hours since the last call. They stay readable by [`Engine::known_hours`] until the next one: by then they have to
    /// be stored.
    pub fn take_known_hours(&mut self) -> Arc<Vec<KnownHour>> {
        self.known.take()
    }

    /// The versions of hours that may not be stored yet, oldest first.
    pub fn known_hours(&self) -> impl Iterator<Item = &KnownHour> {
        self.known.iter()
    }

    /// The versions of how equipment stands since the last call. They stay readable by [`Engine::known_counts`] until the next one: by then
    /// they have to be stored.
    pub fn take_known_counts(&mut self) -> Arc<Vec<KnownCounts>> {
        self.known_counts.take()
    }

    /// The versions of how equipment stands that may not be stored yet, oldest first.
    pub fn known_counts(&self) -> impl Iterator<Item = &KnownCounts> {
        self.known_counts.iter()
    }

    /// Goes on after the versions of how equipment stands that led to `then`: what was restored is told from it.
    pub fn restore_known_counts(&mut self, then: &StoodThen) {
        self.rollup.restore_said(then);
    }

    /// The hours that changed since the last call, as of the last [`Engine::flush`], whole: start, one cell per region in order of code, the
    /// unassigned last. They have to be stored: some of them may leave memory.
    pub fn take_changed_hours(&mut self) -> Vec<(i64, PackedHour)> {
        self.rollup.take_changed_hours(self.now)
    }

    /// How many devices changed since the last [`Engine::flush`].
    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// Brings the roll-ups up to the state of the devices; the devices that changed since the last call.
    pub fn flush(&mut self) -> Vec<u32> {
        let dirty = std::mem::take(&mut self.dirty);
        for index in &dirty {
            self.settle(*index);
        }
        dirty
    }

    fn settle(&mut self, index: u32) {
        let Self { devices, rollup, roll_definition, totals, config, .. } = self;
        let device = &mut devices[index as usize];
        device.is_dirty = false;
        roll_up(device, &config.windows, rollup, *roll_definition, &mut totals.stale);
        if let Some(received_at) = device.state.received_at {
            rollup.heard(device.facility, received_at);
        }
        self.stand(index, self.now);
    }

    /// Brings the figures of now up to how a device stands at `at`.
    fn stand(&mut self, index: u32, at: ProcessingTime) {
        let condition = self.condition_at(index, at);
        let Self { devices, rollup, out_of_range, .. } = self;
        let device = &mut devices[index as usize];
        let Some(sensor) = device.sensor else { return };
        let column = device
            .state
            .latest
            .filter(|_| device.is_refrigerator && condition != Condition::NoWord)
            .map(|reading| histogram_column(reading.temperature));
        let standing = Standing { condition, column };
        rollup.stands(sensor, device.standing, standing);
        device.standing = standing;
        if condition.is_excursion() {
            out_of_range.insert(index);
        } else {
            out_of_range.remove(&index);
        }
    }

    /// Master data.
    pub fn master(&self) -> &Master {
        &self.master
    }

    /// Roll-ups, as of the last [`Engine::flush`].
    pub fn rollup(&self) -> &Rollup {
        &self.rollup
    }

    /// Roll-ups, to take what changed.
    pub fn rollup_mut(&mut self) -> &mut Rollup {
        &mut self.rollup
    }

    /// Counters.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Notes where the log has a record that was just rejected for `reason`.
    pub fn note_letter(&mut self, reason: Reason, position: u64) {
        self.totals.newest_letters[reason as usize] = Some((self.now, position));
    }

    /// Configuration.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// The server's time as of the last step.
    pub fn now(&self) -> ProcessingTime {
        self.now
    }

    /// The windows that closed since the last call, in the order in which they did.
    pub fn take_closed(&mut self) -> Vec<ClosedWindow> {
        std::mem::take(&mut self.closed)
    }

    /// The late readings since the last call, in the order in which they came.
    pub fn take_late(&mut self) -> Vec<LateReading> {
        std::mem::take(&mut self.late)
    }

    /// What of sliding windows and sessions closed since the last call. It stays readable by [`Engine::derived`] until the next one: by
    /// then it has to be stored.
    pub fn take_derived(&mut self) -> Arc<Vec<ClosedDerived>> {
        self.derived.take()
    }

    /// What of sliding windows and sessions closed and may not be stored yet.
    pub fn derived(&self) -> impl Iterator<Item = &ClosedDerived> {
        self.derived.iter()
    }

    /// Windows of all devices that can still change.
    pub fn open_windows(&self) -> u64 {
        self.devices.iter().map(|d| d.state.windows.open_windows()).sum()
    }

    /// How many windows wait to be taken.
    pub fn closed_len(&self) -> usize {
        self.closed.len()
    }

    /// Index and state of the devices that changed since the last call.
    pub fn take_changed(&mut self) -> impl Iterator<Item = (u32, &DeviceState)> {
        let changed = std::mem::take(&mut self.changed);
        for index in &changed {
            self.devices[*index as usize].is_changed = false;
        }
        let devices = &self.devices;
        changed.into_iter().map(move |index| (index, &devices[index as usize].state))
    }
}

/// What a device says of itself and its battery need not be known to place a reading: one with temperature alone.
pub fn plain_reading(at: EventTime, temperature: Milli) -> Reading {
    Reading { at, temperature, humidity: None, battery: None, status: DeviceStatus::Ok }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
