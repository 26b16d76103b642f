//! The engine: what every record leads to, as a function of the log.
//!
//! [`Engine::step`] takes events and time and returns dispositions; it knows neither clock nor IO. Which identities were seen
//! before it asks an [`Identities`], because those outgrow memory and live on disk.

use crate::coldchain::{Condition, Excursion, Range};
use crate::event::{BodyHash, DeviceStatus, Identity, Reading, Reason, Topic};
use crate::feed::{DeviceNow, OutOfRange, SensorFault};
use crate::master::{EquipmentKind, FacilityIx, Master, SensorIx};
use crate::milli::Milli;
use crate::rollup::{Contribution, Node, Rollup, Standing, histogram_column};
use crate::time::{DAY_MS, EventTime, HOUR_MS, MINUTE_MS, ProcessingTime};
use crate::window::{DeviceWindows, Placement, Slot, Window, WindowConfig};
use compact_str::CompactString;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A record as admission hands it on.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// What makes it itself; `None` where it names neither an id nor a device and time.
    pub identity: Option<Identity>,
    /// Whether the identity is (device, channel, time) rather than an id that its sender gave.
    pub is_natural: bool,
    /// What it says.
    pub body: BodyHash,
    /// Its topic; `None` where it names none that is known.
    pub topic: Option<Topic>,
    /// Its source.
    pub source: Cow<'a, str>,
    /// Its content.
    pub content: Content<'a>,
}

/// What a record is about.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// A measurement.
    Reading {
        /// Id of the device.
        device: Cow<'a, str>,
        /// What it measured.
        reading: Reading,
    },
    /// A sensor's report of its own failure.
    Fault {
        /// Id of the device.
        device: Cow<'a, str>,
        /// When, and with which code.
        fault: SensorFault,
    },
    /// A record of a topic that is kept and counted.
    Other {
        /// When it happened, where it says so.
        at: Option<EventTime>,
    },
    /// Admission found it wrong.
    Rejected(Reason),
}

/// What became of a record: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// New, and counted.
    Accepted,
    /// Known already; no effect.
    Duplicate,
    /// New, but its window and slot were closed; kept.
    Late {
        /// Start of its shortest window.
        window_start: i64,
        /// How far the watermark was past that window's end, in milliseconds.
        lateness_ms: i64,
    },
    /// Not usable; kept as a dead letter.
    Rejected(Reason),
}

/// Whether an identity was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No; it is remembered from now on.
    New,
    /// Yes, with the same body.
    Same,
    /// Yes, with another body.
    Other,
}

/// The memory of identities.
pub trait Identities {
    /// Whether `identity` was seen before, and remembers it with `body` where it was not.
    fn check_in(&mut self, identity: Identity, body: BodyHash) -> Seen;

    /// Says that `identity` will be checked in soon: memory may be fetched already. Changes nothing.
    fn expect(&self, _identity: Identity) {}
}

/// Limits and windows of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Windows of the topic `temperature`.
    pub windows: WindowConfig,
    /// How far ahead of the server an event may lie, in milliseconds.
    pub future_ms: i64,
    /// How old an event may be: as long as identities are remembered, in milliseconds.
    pub retention_ms: i64,
    /// After how long without a reading nothing is known of a device, in milliseconds.
    pub silent_after_ms: i64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { windows: WindowConfig::default(), future_ms: 5 * MINUTE_MS, retention_ms: 90 * DAY_MS, silent_after_ms: HOUR_MS }
    }
}

/// A clock before this instant was reset: 2024-01-01, before this product existed.
pub const CLOCK_RESET_BEFORE: EventTime = EventTime::from_ms(1_704_067_200_000);
/// How many records are looked at ahead of being taken in.
const AHEAD: usize = 64;
/// How many sources are counted by name; the records of further ones count as `(other)`.
pub const MAX_SOURCES: usize = 10_000;

/// How many records met which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All of them: always the sum of the other four.
    pub received: u64,
    /// Accepted.
    pub accepted: u64,
    /// Duplicate.
    pub duplicate: u64,
    /// Late.
    pub late: u64,
    /// Rejected.
    pub rejected: u64,
}

impl Tally {
    /// Counts one record.
    pub fn count(&mut self, disposition: Disposition) {
        self.received += 1;
        *match disposition {
            Disposition::Accepted => &mut self.accepted,
            Disposition::Duplicate => &mut self.duplicate,
            Disposition::Late { .. } => &mut self.late,
            Disposition::Rejected(_) => &mut self.rejected,
        } += 1;
    }
}

/// All counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Of all records.
    pub all: Tally,
    /// By topic, in the order of [`Topic::ALL`]; the last is of records without one.
    pub by_topic: [Tally; 5],
    /// By source, in order of first appearance.
    pub by_source: Vec<(String, Tally)>,
    /// Rejections, in the order of [`Reason::ALL`].
    pub by_reason: [u64; 16],
    /// Windows that can no longer change.
    pub closed_windows: u64,
}

/// A window that can no longer change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedWindow {
    /// Index of the device.
    pub device: u32,
    /// Index of the definition.
    pub definition: u8,
    /// The window.
    pub window: Window,
}

/// What of a device a checkpoint holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Its id.
    pub id: String,
    /// Its windows and watermark.
    pub windows: DeviceWindows,
    /// The newest reading by event time.
    pub latest: Option<Reading>,
    /// The excursion that reading is part of.
    pub excursion: Option<Excursion>,
    /// The newest sensor fault after it.
    pub fault: Option<SensorFault>,
    /// When its newest record came in.
    pub received_at: Option<ProcessingTime>,
    /// The newest window of the shortest definition that left memory when none that has fired stayed.
    pub newest_closed: Option<Box<Window>>,
}

#[derive(Clone, Debug)]
struct Device {
    state: DeviceState,
    sensor: Option<SensorIx>,
    facility: Option<FacilityIx>,
    range: Range,
    slot: Slot,
    is_refrigerator: bool,
    /// What the roll-ups hold of it.
    standing: Standing,
    /// Windows that the roll-ups are behind on: start, and what they hold of it.
    unrolled: SmallVec<[(i64, Contribution); 1]>,
    /// Roll-ups are behind its state.
    is_dirty: bool,
    /// The last checkpoint is behind its state.
    is_changed: bool,
    /// The instant of its entry in `deadlines`.
    queued_at: Option<i64>,
}

impl Device {
    /// What its window that starts at `start` adds to the roll-ups; nothing where it is not in memory.
    fn contribution(&self, definition: usize, start: i64) -> Contribution {
        let aggregate = self.state.windows.aggregate(definition, start);
        aggregate.map_or_else(Contribution::default, |a| Contribution::of(a, self.range))
    }

    /// Takes note of windows that have just left memory.
    fn note_closed(&mut self, config: &WindowConfig, roll_definition: usize, closed: &[ClosedWindow], rollup: &mut Rollup) {
        for ClosedWindow { definition, window, .. } in closed {
            if usize::from(*definition) == roll_definition
                && let Some(at) = self.unrolled.iter().position(|(start, _)| *start == window.start)
            {
                let (start, rolled) = self.unrolled.swap_remove(at);
                rollup.roll(self.facility, start, rolled, Contribution::of(&window.aggregate, self.range));
            }
        }
        if !self.state.windows.has_fired_ahead(config, 0) {
            let of_shortest = closed.iter().filter(|c| c.definition == 0).map(|c| c.window);
            let known = self.state.newest_closed.as_deref().copied();
            self.state.newest_closed = of_shortest.chain(known).max_by_key(|w| w.start).map(Box::new);
        }
    }
}

/// The state machine. Devices of the master data have the indices of their sensors; unregistered ones follow.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EngineConfig,
    master: Arc<Master>,
    devices: Vec<Device>,
    /// Short ids lie in the table itself: finding a device touches no other memory.
    by_id: HashMap<CompactString, u32>,
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
    now: ProcessingTime,
    roll_definition: usize,
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(config: EngineConfig, master: &Arc<Master>) -> Self {
        let definitions = config.windows.definitions().len();
        let mut engine = Self {
            roll_definition: config.windows.of_size(5 * MINUTE_MS).unwrap_or(definitions - 1),
            config,
            devices: Vec::with_capacity(master.sensors().len()),
            by_id: HashMap::with_capacity(master.sensors().len()),
            rollup: Rollup::new(master),
            totals: Totals::default(),
            sources: HashMap::new(),
            deadlines: BTreeSet::new(),
            dirty: Vec::new(),
            changed: Vec::new(),
            out_of_range: BTreeSet::new(),
            closed: Vec::new(),
            now: ProcessingTime::from_ms(0),
            master: Arc::clone(master),
        };
        for index in 0..master.sensors().len() {
            engine.add_device(master.sensors()[index].id.clone(), Some(SensorIx(index as u32)));
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
        hours: impl IntoIterator<Item = (i64, Vec<crate::rollup::HourCell>)>,
    ) -> Self {
        let mut engine = Self::new(config, master);
        engine.now = now;
        engine.sources = totals.by_source.iter().zip(0..).map(|((name, _), ix)| (name.as_str().into(), ix)).collect();
        engine.totals = totals;
        for (hour, cells) in hours {
            engine.rollup.restore_hour(hour, cells);
        }
        for state in devices {
            let index = match engine.by_id.get(state.id.as_str()) {
                Some(index) => *index,
                None => engine.add_device(state.id.clone(), None),
            };
            let received_at = state.received_at;
            engine.devices[index as usize].state = state;
            engine.queue(index);
            if let Some(received_at) = received_at {
                let facility = engine.devices[index as usize].facility;
                engine.rollup.heard(facility, received_at);
            }
            engine.settle(index);
        }
        engine
    }

    fn add_device(&mut self, id: String, sensor: Option<SensorIx>) -> u32 {
        let registered = sensor.map(|s| self.master.sensor(s));
        let index = self.devices.len() as u32;
        self.by_id.insert(CompactString::from(&id), index);
        self.devices.push(Device {
            state: DeviceState { id, ..DeviceState::default() },
            sensor,
            facility: registered.map(|s| s.facility),
            range: registered.map_or(Range::FRIDGE, |s| s.range),
            slot: self.config.windows.slot(registered.map_or(5 * MINUTE_MS, |s| s.interval_ms)),
            is_refrigerator: registered.is_some_and(|s| s.equipment == EquipmentKind::Refrigerator),
            standing: Standing::UNHEARD,
            unrolled: SmallVec::new(),
            is_dirty: false,
            is_changed: false,
            queued_at: None,
        });
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
        let mut records = records.into_iter();
        // A few hundred records at a time: first their memory is asked for, all at once, then they are taken in.
        let mut ahead = Vec::with_capacity(AHEAD);
        loop {
            ahead.extend(records.by_ref().take(AHEAD).map(|record| {
                let index = match &record.content {
                    Content::Reading { device, .. } => self.by_id.get(&**device).copied(),
                    _ => None,
                };
                if let Some(identity) = record.identity {
                    identities.expect(identity);
                }
                (record, index)
            }));
            if ahead.is_empty() {
                return;
            }
            let indices = ahead.iter().filter_map(|(_, index)| *index);
            std::hint::black_box(indices.map(|index| self.devices[index as usize].state.windows.warm()).fold(0, |a, b| a ^ b));
            let mut last_source: (Cow<'_, str>, usize) = (Cow::Borrowed("\0"), 0);
            for (record, index) in ahead.drain(..) {
                let disposition = self.take(&record, index, now, identities);
                if last_source.0 != record.source {
                    last_source = (record.source.clone(), self.source_index(&record.source));
                }
                self.totals.all.count(disposition);
                self.totals.by_topic[record.topic.map_or(4, |t| t as usize)].count(disposition);
                self.totals.by_source[last_source.1].1.count(disposition);
                if let Disposition::Rejected(reason) = disposition {
                    self.totals.by_reason[reason as usize] += 1;
                }
                dispositions.push(disposition);
            }
        }
    }

    /// Lets the identities of `records` be remembered as [`Engine::step`] would, without any other effect: what a restart does
    /// with the part of the log that the state already covers and the identities do not.
    pub fn remember<'a>(
        config: &EngineConfig,
        records: impl IntoIterator<Item = Record<'a>>,
        now: ProcessingTime,
        identities: &mut impl Identities,
    ) {
        for record in records {
            let _ = judge(config, &record, now, identities);
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
        let judged = judge(&self.config, record, now, identities);
        match (&record.content, judged) {
            (Content::Fault { device, fault }, Disposition::Rejected(Reason::SensorFault)) => {
                let index = self.device_index(device);
                let device = &mut self.devices[index as usize];
                device.state.received_at = Some(now);
                if device.state.latest.is_none_or(|r| fault.at > r.at) {
                    device.state.fault = Some(*fault);
                }
                self.mark(index);
                judged
            }
            (Content::Reading { device, reading }, Disposition::Accepted) => {
                let index = known.unwrap_or_else(|| self.device_index(device));
                self.place(index, reading, now)
            }
            _ => judged,
        }
    }

    fn place(&mut self, index: u32, reading: &Reading, now: ProcessingTime) -> Disposition {
        let Self { devices, rollup, closed, totals, config, roll_definition, .. } = self;
        let device = &mut devices[index as usize];
        device.state.received_at = Some(now);
        let roll_size = config.windows.definitions()[*roll_definition].size_ms;
        let start = reading.at.ms() - reading.at.ms().rem_euclid(roll_size);
        if device.unrolled.iter().all(|(s, _)| *s != start) {
            device.unrolled.push((start, device.contribution(*roll_definition, start)));
        }
        let first_closed = closed.len();
        let placement = device.state.windows.add(&config.windows, device.slot, reading, now, &mut |definition, window| {
            closed.push(ClosedWindow { device: index, definition: definition as u8, window });
        });
        if closed.len() > first_closed {
            device.note_closed(&config.windows, *roll_definition, &closed[first_closed..], rollup);
        }
        totals.closed_windows += (closed.len() - first_closed) as u64;
        let disposition = match placement {
            Placement::Late { window_start, lateness_ms } => Disposition::Late { window_start, lateness_ms },
            Placement::Accepted => {
                if device.state.latest.is_none_or(|latest| reading.at > latest.at) {
                    device.state.excursion = Excursion::after(device.state.excursion, reading, device.range);
                    device.state.latest = Some(*reading);
                    if device.state.fault.is_some_and(|fault| fault.at < reading.at) {
                        device.state.fault = None;
                    }
                }
                Disposition::Accepted
            }
        };
        self.mark(index);
        disposition
    }

    fn device_index(&mut self, id: &str) -> u32 {
        match self.by_id.get(id) {
            Some(index) => *index,
            None => self.add_device(id.to_owned(), None),
        }
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
        // What is queued may be a later silence than that after this record.
        let idle_at = self.now.ms() + self.config.windows.idle_after_ms;
        if device.queued_at.is_none_or(|at| at > idle_at) {
            self.queue(index);
        }
    }

    /// The next instant at which silence of a device means something, after `now`.
    fn queue(&mut self, index: u32) {
        let (idle, silent) = self.silences(index);
        let next = [idle, silent].into_iter().flatten().filter(|at| *at > self.now.ms()).min();
        if let Some(at) = std::mem::replace(&mut self.devices[index as usize].queued_at, next) {
            self.deadlines.remove(&(at, index));
        }
        if let Some(at) = next {
            self.deadlines.insert((at, index));
        }
    }

    /// When the device counts as idle (by server time), and when nothing is known of it any more (by event time).
    fn silences(&self, index: u32) -> (Option<i64>, Option<i64>) {
        let state = &self.devices[index as usize].state;
        (
            state.received_at.map(|at| at.ms() + self.config.windows.idle_after_ms),
            state.latest.map(|reading| reading.at.ms() + self.config.silent_after_ms),
        )
    }

    /// When to call [`Engine::pass_time`] next even if nothing arrives.
    pub fn next_deadline(&self) -> Option<ProcessingTime> {
        self.deadlines.first().map(|(at, _)| ProcessingTime::from_ms(*at))
    }

    /// Lets time pass to `now` (never backwards): idle devices fire, silent ones are counted as such.
    pub fn pass_time(&mut self, now: ProcessingTime) {
        self.now = self.now.max(now);
        while let Some((at, index)) = self.deadlines.first().copied()
            && at <= self.now.ms()
        {
            self.deadlines.pop_first();
            self.devices[index as usize].queued_at = None;
            let (idle, _) = self.silences(index);
            if idle.is_some_and(|at| at <= self.now.ms()) {
                self.devices[index as usize].state.windows.fire_incomplete(&self.config.windows);
            }
            self.queue(index);
            self.mark(index);
        }
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
        let condition = self.condition(index);
        let Self { devices, rollup, out_of_range, roll_definition, .. } = self;
        let device = &mut devices[index as usize];
        device.is_dirty = false;
        for (start, rolled) in std::mem::take(&mut device.unrolled) {
            rollup.roll(device.facility, start, rolled, device.contribution(*roll_definition, start));
        }
        if let Some(received_at) = device.state.received_at {
            rollup.heard(device.facility, received_at);
        }
        let Some(facility) = device.facility else { return };
        let column = device
            .state
            .latest
            .filter(|_| device.is_refrigerator && condition != Condition::NoWord)
            .map(|reading| histogram_column(reading.temperature));
        let standing = Standing { condition, column };
        rollup.stands(facility, device.standing, standing);
        device.standing = standing;
        if condition.is_excursion() {
            out_of_range.insert(index);
        } else {
            out_of_range.remove(&index);
        }
    }

    /// How a device stands now.
    pub fn condition(&self, index: u32) -> Condition {
        let device = &self.devices[index as usize];
        match device.state.latest {
            Some(reading) if self.now.ms() < reading.at.ms() + self.config.silent_after_ms => {
                device.range.condition(reading.temperature)
            }
            _ => Condition::NoWord,
        }
    }

    /// What people see of a device.
    pub fn device_now(&self, index: u32) -> DeviceNow {
        let state = &self.devices[index as usize].state;
        let condition = self.condition(index);
        DeviceNow {
            id: state.id.clone(),
            condition,
            reading: state.latest,
            received_at: state.received_at,
            excursion: state.excursion,
            fault: state.fault,
        }
    }

    /// Index of the device with that id, registered or heard of.
    pub fn device_by_id(&self, id: &str) -> Option<u32> {
        self.by_id.get(id).copied()
    }

    /// State of a device.
    pub fn device_state(&self, index: u32) -> &DeviceState {
        &self.devices[index as usize].state
    }

    /// The sensor that a device is registered as.
    pub fn sensor_of(&self, index: u32) -> Option<SensorIx> {
        self.devices[index as usize].sensor
    }

    /// Number of devices: those of the master data, then those heard of without being registered.
    pub fn device_count(&self) -> u32 {
        self.devices.len() as u32
    }

    /// The registered devices below `node` that are outside their range now: freezing first, then farthest outside, at most `limit`.
    pub fn worst(&self, node: Node, limit: usize) -> Vec<OutOfRange> {
        let rank = |index: &u32| {
            let device = &self.devices[*index as usize];
            let reading = device.state.latest.expect("a device outside its range has a reading");
            (
                device.standing.condition != Condition::Freezing,
                std::cmp::Reverse(device.range.distance(reading.temperature)),
                *index,
            )
        };
        let mut below: Vec<u32> = self.out_of_range.iter().copied().filter(|index| self.is_below(*index, node)).collect();
        below.sort_by_cached_key(rank);
        below.truncate(limit);
        below.into_iter().filter_map(|index| self.out_of_range_row(index)).collect()
    }

    fn is_below(&self, index: u32, node: Node) -> bool {
        let Some(facility) = self.devices[index as usize].facility else { return false };
        match self.rollup.place(node) {
            Some(Ok(region)) => self.master.ancestors(self.master.facility(facility).region).any(|r| r == region),
            Some(Err(own)) => own == facility,
            None => false,
        }
    }

    fn out_of_range_row(&self, index: u32) -> Option<OutOfRange> {
        let device = &self.devices[index as usize];
        let (sensor, facility) = (self.master.sensor(device.sensor?), self.master.facility(device.facility?));
        let (reading, excursion) = (device.state.latest?, device.state.excursion?);
        let regency = self.master.ancestor_at(facility.region, 2).unwrap_or(facility.region);
        Some(OutOfRange {
            device: device.state.id.clone(),
            equipment: sensor.equipment,
            number: sensor.number,
            facility: facility.code.clone(),
            facility_name: facility.name.clone(),
            place: self.master.region(regency).name.clone(),
            condition: device.standing.condition,
            temperature: reading.temperature,
            excursion,
        })
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

/// What becomes of a record as far as its own content, the time and the known identities tell.
fn judge(config: &EngineConfig, record: &Record<'_>, now: ProcessingTime, identities: &mut impl Identities) -> Disposition {
    let reason = match &record.content {
        Content::Rejected(reason) => Some(*reason),
        Content::Reading { reading, .. } => wrong_time(config, reading.at, now),
        Content::Fault { fault, .. } => wrong_time(config, fault.at, now).or(Some(Reason::SensorFault)),
        Content::Other { at } => at.and_then(|at| wrong_time(config, at, now)),
    };
    let reason = match (reason, record.identity) {
        (Some(reason), _) => reason,
        (None, None) => return Disposition::Accepted,
        (None, Some(identity)) => match identities.check_in(identity, record.body) {
            Seen::New => return Disposition::Accepted,
            Seen::Same => return Disposition::Duplicate,
            Seen::Other if record.is_natural => Reason::ConflictingReading,
            Seen::Other => Reason::IdConflict,
        },
    };
    // A repeated request is all duplicates (semantics 3.4), its rejected records too: one dead letter each, however often a
    // sender tries. Its own identity stays free, so that a record refused for its time can be accepted later.
    match record.identity.map(|identity| identities.check_in(rejected_identity(identity, record.body, reason), record.body)) {
        None | Some(Seen::New) => Disposition::Rejected(reason),
        Some(Seen::Same | Seen::Other) => Disposition::Duplicate,
    }
}

/// The identity under which a rejected record is remembered. Identity and body are keyed fingerprints already.
fn rejected_identity(identity: Identity, body: BodyHash, reason: Reason) -> Identity {
    let salt = (u128::from(body.0) << 64) | (u128::from(reason as u8) + 1);
    Identity(identity.0 ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn wrong_time(config: &EngineConfig, at: EventTime, now: ProcessingTime) -> Option<Reason> {
    if at.ms() > now.ms() + config.future_ms {
        Some(Reason::Future)
    } else if at < CLOCK_RESET_BEFORE {
        Some(Reason::ClockReset)
    } else if at.ms() < now.ms() - config.retention_ms {
        Some(Reason::TooOld)
    } else {
        None
    }
}

/// Identities in memory, for tests, simulations and small tools.
#[derive(Clone, Debug, Default)]
pub struct MemoryIdentities(HashMap<u128, u64>);

impl Identities for MemoryIdentities {
    fn check_in(&mut self, identity: Identity, body: BodyHash) -> Seen {
        match self.0.insert(identity.0, body.0) {
            None => Seen::New,
            Some(known) if known == body.0 => Seen::Same,
            Some(known) => {
                self.0.insert(identity.0, known);
                Seen::Other
            }
        }
    }
}

/// What a device says of itself and its battery need not be known to place a reading: one with temperature alone.
pub fn plain_reading(at: EventTime, temperature: Milli) -> Reading {
    Reading { at, temperature, humidity: None, battery: None, status: DeviceStatus::Ok }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
