//! What the log leads to, recomputed in batches: everything of a share of the identities or devices is remembered at once, and the log
//! is read as often as there are shares, so that memory stays bounded however long it is.

use super::history::{Clock, Definitions, History, Placed, Sums, start_of};
use super::known::{Known, Room, counting, share_of};
use super::nameless::known_by_itself;
use super::scan::{Held, Outline, Source, outline_of_messages, scan};
use super::stood::{self, Stander};
use super::travel::{Change, Companions, Join};
use super::versions::{Changes, Weights, cells_of, known_at};
use crate::admission::IdentityKey;
use crate::kafka::Inbox;
use anyhow::ensure;
use domain::coldchain::{Excursion, Range};
use domain::engine::{Content, Disposition, EngineConfig, KEPT_OUTSIDE, MAX_SOURCES, Pairing, Record, Tally, Totals};
use domain::event::{Reading, Reason, Topic};
use domain::feed::SensorFault;
use domain::join::{Fix, JoinConfig, Located};
use domain::master::{EquipmentKind, Master};
use domain::milli::Milli;
use domain::rollup::HourCell;
use domain::sequence::Sequences;
use domain::time::{DAY_MS, EventTime, HOUR_MS, MINUTE_MS, ProcessingTime};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Records of which everything is remembered at once, at most.
const AT_ONCE: u64 = 6_000_000;

/// What became of a record, in a byte: see [`Recomputed::fate`].
pub(super) const ACCEPTED: u8 = 0;
pub(super) const DUPLICATE: u8 = 1;
const LATE: u8 = 2;
const VOID: u8 = 3;
pub(super) const REJECTED: u8 = 16;

/// What everything that follows needs to know of the log: one byte a record.
pub struct Recomputed {
    log: Source,
    key: IdentityKey,
    config: EngineConfig,
    definitions: Definitions,
    first_record: u64,
    fates: Vec<u8>,
    /// Where and how late, of late records, by place.
    late: HashMap<u64, (i64, i64)>,
    /// Different identities that must be known: of records taken in, and of refused ones with what they said and why.
    pub identities: u64,
    /// Of them those so young that they may not have been forgotten.
    pub young: u64,
    /// What came in before is too old by now, whatever its clock said: its identity may be forgotten.
    pub remembered_from: i64,
    /// The server's time at the end of the log.
    pub now: i64,
    /// Into how many shares devices are divided.
    pub shares: u64,
    /// What changed of the hours when.
    pub changes: Changes,
    /// What changed of how equipment stands when.
    pub stood: stood::Changes,
    /// Fixes whose devices had them before, as another partition had handed them on: by place.
    had_before: HashSet<(u64, String)>,
    /// The unregistered devices for which there is room.
    others: HashSet<String>,
    /// The pairings in force at the end of the log.
    pub pairings: Vec<Pairing>,
    /// The devices of the first share, until somebody asks for them.
    first_devices: Option<HashMap<String, Device>>,
}

/// A device as its readings leave it.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// Its windows.
    pub history: History,
    /// The newest accepted reading by event time.
    pub latest: Option<Reading>,
    /// The excursion that reading is part of,
    pub excursion: Option<Excursion>,
    /// and its readings: those outside since the newest in range.
    outside: BTreeSet<(EventTime, Milli)>,
    /// Time of the newest reading in range.
    pub fine_at: Option<EventTime>,
    /// The newest sensor fault after it.
    pub fault: Option<SensorFault>,
    /// Accepted readings.
    pub readings: u64,
    /// How it stood, where it is registered.
    stands: Option<(Stander, stood::Known)>,
    /// What its late readings add, by the hour in which their windows start.
    pub late: BTreeMap<i64, HourCell>,
    /// When its newest record came in; 0 before the first.
    pub received_at: i64,
    /// Its running numbers. Not recomputed by other means than the engine's: no window depends on them.
    pub sequences: Sequences,
    /// What is open of its readings and fixes, where it travels with a tracker.
    pub join: Option<Join>,
    /// Where its readings were taken.
    pub located: Vec<Located>,
    /// It was noticed that it is silent now.
    is_given_up: bool,
    /// When a reading began to wait for fixes within the silence.
    waits_since: Option<i64>,
    /// Those of the regions that it counts in, once they were asked for.
    weights: Option<Weights>,
}

impl Recomputed {
    /// [`Recomputed::of`] the embedded log in `dir`.
    pub fn of_files(
        dir: &Path,
        key: IdentityKey,
        outline: &Outline,
        config: &EngineConfig,
        master: &Master,
    ) -> anyhow::Result<Self> {
        Self::of(Source::Files(dir.to_owned()), key, outline, config, master)
    }

    /// [`Recomputed::of`] all messages of the partition of that number.
    pub fn of_messages(
        partition: u32,
        inbox: Inbox,
        key: IdentityKey,
        config: &EngineConfig,
        master: &Master,
    ) -> anyhow::Result<Self> {
        let outline = outline_of_messages(partition, &inbox);
        Self::of(Source::Messages(partition, Arc::new(inbox)), key, &outline, config, master)
    }

    /// Judges every record of `log`, whose outline is known.
    pub fn of(log: Source, key: IdentityKey, outline: &Outline, config: &EngineConfig, master: &Master) -> anyhow::Result<Self> {
        let records = outline.last_first_record.saturating_sub(outline.first_record) / log.step() + 1;
        let mut all = Self {
            log,
            key,
            config: config.clone(),
            definitions: Definitions::from(&config.windows),
            first_record: outline.first_record,
            fates: Vec::with_capacity(records as usize),
            late: HashMap::new(),
            identities: 0,
            young: 0,
            remembered_from: outline.received.1.ms() - config.retention_ms - config.future_ms,
            now: outline.received.1.ms(),
            shares: records.div_ceil(AT_ONCE),
            changes: Changes::new(),
            stood: stood::Changes::new(),
            had_before: HashSet::new(),
            others: HashSet::new(),
            pairings: Vec::new(),
            first_devices: None,
        };
        let mut room = Room { master, others: HashSet::new(), most_others: config.max_unregistered as usize };
        for share in 0..all.shares {
            all.judge(&mut room, share)?;
        }
        all.others = room.others;
        let (mut changes, mut stood) = (Changes::new(), stood::Changes::new());
        for share in 1..all.shares {
            all.read_devices(master, share, &mut changes, &mut stood)?;
        }
        // The first last: it is asked for next.
        all.first_devices = Some(all.read_devices(master, 0, &mut changes, &mut stood)?);
        (all.changes, all.stood) = (changes, stood);
        Ok(all)
    }

    /// Judges the records of a share of the identities, all but whether they are late.
    fn judge(&mut self, room: &mut Room<'_>, share: u64) -> anyhow::Result<()> {
        let mut known = Known::default();
        let Self { log, key, config, fates, first_record, shares, remembered_from, young, had_before, .. } = self;
        let (mut next, step) = (*first_record, log.step());
        let (is_first, shares) = (share == 0, *shares);
        let is_ours = |record: &Record<'_>| record.identity.map_or(0, |identity| (identity.0 >> 64) as u64 % shares) == share;
        let mut companions = Companions::default();
        scan(log, key, |place, held| {
            ensure!(
                // Kafka's offsets may have holes.
                place.first_record == next || step > 1 && place.first_record > next,
                "block {} begins with record {}, and the one before it ends before record {next}",
                place.number,
                place.first_record
            );
            next = place.first_record + held.positions() * step;
            let now = place.received_at.ms();
            let at = ((place.first_record - *first_record) / step) as usize;
            if is_first {
                fates.resize(at + held.positions() as usize, VOID);
            }
            let (batch, is_replay) = match &held {
                Held::Records(batch) => (batch, false),
                Held::Replay(_, batch) => (batch, true),
                Held::Pairings(pairings) => {
                    for pairing in pairings {
                        room.note(&pairing.device);
                    }
                    companions.pairings.clone_from(pairings);
                    return Ok(());
                }
                Held::HandedOn(device, batch) => {
                    if is_first {
                        fates.resize(at + 1, VOID);
                    }
                    for record in batch.records().filter(is_ours) {
                        let before = known.len();
                        if let Some((tracker, fix)) = known.take_handed_on(config, device, &record, now)
                            && companions.paired_with(tracker, fix.at).contains(&device.as_str())
                        {
                            fates[at] = ACCEPTED;
                        }
                        *young += if now >= *remembered_from { known.len() - before } else { 0 };
                    }
                    return Ok(());
                }
                _ => return Ok(()),
            };
            let records = batch.records().enumerate().map(|(index, record)| known_by_itself(record, batch, index));
            for ((fate, record), position) in
                fates[at..].iter_mut().zip(records).zip((place.first_record..).step_by(step as usize))
            {
                record.device().into_iter().for_each(|device| room.note(device));
                // Identities are uniform already.
                if is_ours(&record) {
                    let before = known.len();
                    *fate = known.judge(config, room, &record, now, is_replay);
                    *young += if now >= *remembered_from { known.len() - before } else { 0 };
                    if let (ACCEPTED, Content::Fix { device, fix }) = (*fate, &record.content) {
                        let had = companions.of_tracker(device, fix.at);
                        let had = had.into_iter().filter(|device| known.has_been_handed_on(&record, device));
                        had_before.extend(had.map(|device| (position, device.to_owned())));
                    }
                }
            }
            Ok(())
        })?;
        self.identities += known.len();
        Ok(())
    }

    /// The devices of a share, as the whole log leaves them.
    pub fn devices(&mut self, master: &Master, share: u64) -> anyhow::Result<HashMap<String, Device>> {
        let first = self.first_devices.take().filter(|_| share == 0);
        // What they changed of the hours is noted already.
        first.map_or_else(|| self.read_devices(master, share, &mut Changes::new(), &mut stood::Changes::new()), Ok)
    }

    /// Those; which of their records are late is noted, to `changes` what they changed of the hours is added, to `stood` how they stood.
    fn read_devices(
        &mut self,
        master: &Master,
        share: u64,
        changes: &mut Changes,
        stood: &mut stood::Changes,
    ) -> anyhow::Result<HashMap<String, Device>> {
        let mut devices: HashMap<String, Device> = HashMap::new();
        let Self { log, key, config, definitions, fates, late, first_record, shares, others, had_before, pairings, .. } = self;
        let (mut clock, step, config) = (Clock::default(), log.step(), &*config);
        let rolled = rolled(config);
        let size = definitions.windows[rolled].0;
        let regions = master.counted_regions() as usize;
        let mut companions = Companions::default();
        let has_room = |id: &str| master.sensor_by_id(id).is_some() || others.contains(id);
        scan(log, key, |place, held| {
            clock.pass(place.received_at.ms());
            let batch = match held {
                Held::Records(batch) | Held::Replay(_, batch) => batch,
                Held::Pairings(pairings) => {
                    for (id, change) in companions.change(pairings) {
                        if share_of(&id, *shares) != share || !has_room(&id) {
                            continue;
                        }
                        match change {
                            Change::Travels => devices.entry(id).or_default().travel(definitions, config, clock),
                            Change::Stays => {
                                devices.get_mut(&id).into_iter().for_each(|device| device.stay(definitions, config, clock));
                            }
                        }
                    }
                    return Ok(());
                }
                Held::HandedOn(device, batch) => {
                    let has_effect = fates[((place.first_record - *first_record) / step) as usize] == ACCEPTED;
                    for record in
                        batch.records().filter(|_| has_effect && share_of(&device, *shares) == share && has_room(&device))
                    {
                        if let Content::Fix { fix, .. } = &record.content {
                            devices.entry(device.clone()).or_default().locate(definitions, config, *fix, clock);
                        }
                    }
                    return Ok(());
                }
                _ => return Ok(()),
            };
            for (record, position) in batch.records().zip((place.first_record..).step_by(step as usize)) {
                let fate = &mut fates[((position - *first_record) / step) as usize];
                if let (ACCEPTED | LATE, Some((id, sequence, at))) = (*fate, counting(&record))
                    && share_of(id, *shares) == share
                {
                    devices.entry(id.to_owned()).or_default().sequences.note(sequence, at);
                }
                match &record.content {
                    // It may have been found late before.
                    Content::Reading { device: id, reading }
                        if matches!(*fate, ACCEPTED | LATE) && share_of(id, *shares) == share =>
                    {
                        let index = master.sensor_by_id(id);
                        let sensor = index.map(|ix| master.sensor(ix));
                        let (interval, range) = sensor.map_or((5 * MINUTE_MS, Range::FRIDGE), |s| (s.interval_ms, s.range));
                        let device = devices.entry(id.to_string()).or_default();
                        device.hear(definitions, config, clock);
                        let before = device.history.sums_at(definitions, rolled, reading.at.ms());
                        let hour = start_of(start_of(reading.at.ms(), size), HOUR_MS);
                        let step = match device.history.place(definitions, interval, reading, clock) {
                            Placed::Accepted => {
                                if let (Some(index), Some(sensor)) = (index, sensor) {
                                    let stander = Stander {
                                        device: index.0,
                                        is_refrigerator: sensor.equipment == EquipmentKind::Refrigerator,
                                        facility: sensor.facility.0,
                                        range,
                                        silent_after: config.silent_after_ms,
                                    };
                                    let known = stood::Known::before(clock.now);
                                    let (_, known) = device.stands.get_or_insert((stander, known));
                                    known.pass(&stander, device.latest, known_at(clock.now), stood);
                                }
                                device.take(reading, range, config.join);
                                step_of(&before, reading, range)
                            }
                            Placed::Late { window_start, lateness } => {
                                device.stand(reading, range);
                                *fate = LATE;
                                late.insert(position, (window_start, lateness));
                                let step = late_step_of(reading, range);
                                device.late.entry(hour).or_default().add(&step);
                                step
                            }
                        };
                        let of_facility = || Weights::of_all(&cells_of(master, sensor.map(|s| s.facility), regions));
                        let weights = *device.weights.get_or_insert_with(of_facility);
                        changes.entry((hour, known_at(clock.now))).or_default().add(weights, &step, true);
                    }
                    Content::Fault { device: id, fault }
                        if *fate == REJECTED + Reason::SensorFault as u8 && share_of(id, *shares) == share =>
                    {
                        let device = devices.entry(id.to_string()).or_default();
                        device.hear(definitions, config, clock);
                        let is_newest = device.fault.is_none_or(|known| fault.at > known.at);
                        if is_newest && device.latest.is_none_or(|latest| fault.at > latest.at) {
                            device.fault = Some(*fault);
                        }
                    }
                    Content::Fix { device: id, fix } if *fate == ACCEPTED => {
                        if share_of(id, *shares) == share {
                            devices.entry(id.to_string()).or_default().hear(definitions, config, clock);
                        }
                        let own = |id: &&str| {
                            let had_before = had_before.contains(&(position, (*id).to_owned()));
                            share_of(id, *shares) == share && has_room(id) && !had_before
                        };
                        for id in companions.of_tracker(id, fix.at).into_iter().filter(own) {
                            devices.entry(id.to_owned()).or_default().locate(definitions, config, *fix, clock);
                        }
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        for device in devices.values_mut() {
            device.wait(definitions, config, clock);
            if let Some((stander, known)) = &mut device.stands {
                known.pass(stander, device.latest, known_at(clock.now), stood);
            }
        }
        *pairings = companions.pairings;
        Ok(devices)
    }

    /// The windows.
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// Where the log is and how its identities are made.
    pub fn log(&self) -> (&Source, &IdentityKey) {
        (&self.log, &self.key)
    }

    /// What became of the record at `position`; `None` where a decision without effect holds the place.
    pub fn fate(&self, position: u64) -> Option<Disposition> {
        Some(match self.fates[((position - self.first_record) / self.log.step()) as usize] {
            ACCEPTED => Disposition::Accepted,
            DUPLICATE => Disposition::Duplicate,
            LATE => {
                let (window_start, lateness_ms) = self.late[&position];
                Disposition::Late { window_start, lateness_ms }
            }
            VOID => return None,
            rejected => Disposition::Rejected(Reason::ALL[usize::from(rejected - REJECTED)]),
        })
    }
}

/// The definition that roll-ups follow.
pub fn rolled(config: &EngineConfig) -> usize {
    config.windows.of_size(5 * MINUTE_MS).unwrap_or(config.windows.definitions().len() - 1)
}

/// What one more reading changes of the hour that its window, which held `before`, is rolled up in.
fn step_of(before: &Sums, reading: &Reading, range: Range) -> HourCell {
    let t = reading.temperature;
    let (low, high) = before.extremes.unwrap_or((i32::MAX, i32::MIN));
    HourCell {
        windows: u32::from(before.count == 0),
        low: u32::from(low >= range.min.0 && t < range.min),
        high: u32::from(high <= range.max.0 && t > range.max),
        readings: 1,
        ..HourCell::default()
    }
}

/// What a late reading adds to its hour.
fn late_step_of(reading: &Reading, range: Range) -> HourCell {
    let is_outside = |is: bool| u32::from(is);
    let t = reading.temperature;
    HourCell { late: 1, late_low: is_outside(t < range.min), late_high: is_outside(t > range.max), ..HourCell::default() }
}

impl Device {
    fn hear(&mut self, definitions: &Definitions, config: &EngineConfig, clock: Clock) {
        self.wait(definitions, config, clock);
        self.history.hear(definitions, clock);
        self.received_at = clock.now;
        (self.is_given_up, self.waits_since) = (false, None);
    }

    /// Time has come to `clock`.
    fn wait(&mut self, definitions: &Definitions, config: &EngineConfig, clock: Clock) {
        self.history.wait(definitions, clock);
        if !self.history.is_idle(definitions, clock) {
            return;
        }
        // Once when it has been silent for long, and what began to wait since then when nothing is known of it any more.
        let unknown_from = self.latest.map(|reading| reading.at.ms() + config.silent_after_ms);
        let is_due = self.waits_since.zip(unknown_from).is_some_and(|(since, from)| (since + 1..=clock.now).contains(&from));
        if let Some(join) = self.join.as_mut().filter(|_| !self.is_given_up || is_due) {
            join.give_up(config.join, &mut self.located);
        }
        self.is_given_up = true;
    }

    fn take(&mut self, reading: &Reading, range: Range, join: JoinConfig) {
        self.readings += 1;
        // Of two at one instant the worse one.
        let rank = |of: &Reading| (of.at, excess(of.temperature, range), Reverse(of.temperature));
        let is_newest = self.latest.is_none_or(|latest| rank(reading) > rank(&latest));
        self.stand(reading, range);
        if is_newest {
            self.latest = Some(*reading);
            self.fault = self.fault.filter(|fault| fault.at >= reading.at);
        }
        if let Some(own) = &mut self.join {
            own.reading(join, reading.at, &mut self.located);
        }
    }

    /// It travels from now on, where it did not already.
    fn travel(&mut self, definitions: &Definitions, config: &EngineConfig, clock: Clock) {
        self.wait(definitions, config, clock);
        if self.join.is_some() {
            return;
        }
        let join = self.join.insert(Join::default());
        // Of what came before somebody knew that it travels the newest reading can still be placed.
        if let Some(latest) = self.latest {
            join.reading(config.join, latest.at, &mut self.located);
            self.waits_since = self.is_given_up.then_some(clock.now);
        }
    }

    /// The tracker that it travels with was there.
    fn locate(&mut self, definitions: &Definitions, config: &EngineConfig, fix: Fix, clock: Clock) {
        let [east, north] = [fix.longitude_e6, fix.latitude_e6].map(|e6| f64::from(e6) / 1e6);
        if !(94.9..=141.1).contains(&east) || !(-11.1..=6.2).contains(&north) {
            return;
        }
        self.travel(definitions, config, clock);
        if let Some(join) = &mut self.join {
            join.fix(config.join, fix, &mut self.located);
        }
    }

    /// It travels no more: what waits is settled as it stands.
    fn stay(&mut self, definitions: &Definitions, config: &EngineConfig, clock: Clock) {
        self.wait(definitions, config, clock);
        if let Some(mut join) = self.join.take() {
            join.give_up(config.join, &mut self.located);
        }
        self.waits_since = None;
    }

    /// What it says of the excursion, also where it is late: that is all readings outside since the newest in range, by their time.
    fn stand(&mut self, reading: &Reading, range: Range) {
        let Reading { at, temperature, .. } = *reading;
        let outside = self.outside.len();
        if (range.min..=range.max).contains(&temperature) {
            self.fine_at = self.fine_at.max(Some(at));
            // What the engine has summed up it cannot take apart.
            if self.outside.range((at, Milli(i32::MIN))..).nth(KEPT_OUTSIDE - 1).is_none() {
                self.outside = self.outside.split_off(&(at, Milli(i32::MIN)));
            }
        } else if self.fine_at.is_none_or(|fine| at >= fine) {
            self.outside.insert((at, temperature));
        }
        if self.outside.len() < outside {
            self.excursion = None;
            self.outside.iter().for_each(|each| self.excursion = Some(joined(self.excursion, *each, range)));
        } else if self.outside.contains(&(at, temperature)) {
            self.excursion = Some(joined(self.excursion, (at, temperature), range));
        }
    }

    /// What the engine keeps of the excursion: its newest readings, and what those before them come to.
    pub fn kept_outside(&self, range: Range) -> (Vec<(EventTime, Milli)>, Option<Excursion>) {
        let before = self.outside.len().saturating_sub(KEPT_OUTSIDE);
        let sum = self.outside.iter().take(before).fold(None, |sum, each| Some(joined(sum, *each, range)));
        (self.outside.iter().skip(before).copied().collect(), sum)
    }
}

/// How far outside that is.
fn excess(t: Milli, range: Range) -> i32 {
    if t > range.max { t.0 - range.max.0 } else { (range.min.0 - t.0).max(0) }
}

/// The excursion with one more reading outside.
fn joined(open: Option<Excursion>, (at, temperature): (EventTime, Milli), range: Range) -> Excursion {
    let Some(Excursion { since, peak }) = open else { return Excursion { since: at, peak: temperature } };
    let peak = [peak, temperature].into_iter().max_by_key(|t| (excess(*t, range), Reverse(*t))).expect("one of two");
    Excursion { since: since.min(at), peak }
}

/// The counters of all records, as they are told one after the other.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// The counters; closed windows are not counted here.
    pub totals: Totals,
    /// The books of each day: its start, source and topic.
    pub days: BTreeMap<(i64, String, u8), Tally>,
    /// All records of each hour, by its start.
    pub hours: BTreeMap<i64, Tally>,
    sources: HashMap<String, usize>,
}

impl Counted {
    /// Counts a record that came in at `now` and met this end.
    pub fn count(&mut self, record: &Record<'_>, disposition: Disposition, position: u64, now: ProcessingTime) {
        let Totals { all, by_topic, by_source, by_reason, newest_letters, heard_from, .. } = &mut self.totals;
        all.count(disposition);
        by_topic[record.topic.map_or(4, |topic| topic as usize)].count(disposition);
        let is_known = self.sources.contains_key(&*record.source);
        let name = if is_known || self.sources.len() < MAX_SOURCES { &*record.source } else { "(other)" };
        let at = *self.sources.entry(name.to_owned()).or_insert_with(|| {
            by_source.push((name.to_owned(), Tally::default()));
            heard_from.push(now);
            by_source.len() - 1
        });
        by_source[at].1.count(disposition);
        heard_from[at] = now;
        self.hours.entry(now.ms().div_euclid(HOUR_MS) * HOUR_MS).or_default().count(disposition);
        let topic = record.topic.map_or(Topic::ALL.len(), |topic| topic as usize) as u8;
        let day = now.ms().div_euclid(DAY_MS) * DAY_MS;
        self.days.entry((day, name.to_owned(), topic)).or_default().count(disposition);
        if let Disposition::Rejected(reason) = disposition {
            by_reason[reason as usize] += 1;
            newest_letters[reason as usize] = Some((now, position));
        }
    }
}
