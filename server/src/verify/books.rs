//! What is stored, held against what the log leads to, share by share of the devices.

mod records;

use super::history::{Seen, Sums};
use super::recompute::{Device, Recomputed, share_of};
use super::report::{Law, Report};
use super::scan::{Outline, Source};
use super::{Subject, forgotten_before, is_about_content};
use crate::admission::IdentityKey;
use crate::pipeline::Shard;
use crate::side::DEAD;
use domain::engine::{ClosedWindow, DeviceState, Tally};
use domain::event::Topic;
use domain::master::{FacilityIx, Master, RegionIx};
use domain::rollup::{DEEPEST_LEVEL, HourCell, PackedHour};
use domain::time::{EventTime, HOUR_MS, MINUTE_MS, ProcessingTime};
use std::collections::{BTreeMap, HashMap};

/// Rows of a side output read at once.
const ROWS: usize = 1_000;

/// Start of an hour to one cell per region, the unassigned last.
type Hours = BTreeMap<i64, Vec<HourCell>>;
/// A window by definition, index of its device, and start.
type Key = (usize, u32, i64);

/// What is stored, and what is found wrong with it.
pub struct Books<'a> {
    subject: &'a Subject<'a>,
    log: Source,
    shard: Shard,
    pub report: &'a mut Report,
    /// Windows that retention may have deleted.
    forgotten: u64,
    /// Windows that were put away.
    closed: u64,
    hours: Hours,
    readings: u64,
    windows: Vec<u64>,
}

fn at(ms: i64) -> EventTime {
    EventTime::from_ms(ms)
}

fn told(window: &Seen) -> String {
    let Seen { version, state, sums } = window;
    let Sums { count, temperature, squares, extremes, humidity, battery } = sums;
    format!(
        "{} version {version} of {count} readings, sum {temperature}, squares {squares}, extremes {extremes:?}, humidity {humidity:?}, \
         battery {battery:?}",
        state.name()
    )
}

/// Which regions a device of `facility` counts in, by index; `regions` is that of the unassigned.
fn cells_of(master: &Master, facility: Option<FacilityIx>, regions: usize) -> Vec<usize> {
    match facility {
        Some(facility) => {
            let above = master.ancestors(master.facility(facility).region);
            above.filter(|ix| master.region(*ix).level <= DEEPEST_LEVEL).map(|ix| ix.0 as usize).collect()
        }
        None => vec![0, regions],
    }
}

impl<'a> Books<'a> {
    pub fn new(subject: &'a Subject<'a>, log: Source, shard: Shard, report: &'a mut Report) -> Self {
        let windows = vec![0; subject.config.windows.definitions().len()];
        let (hours, forgotten, closed, readings) = (Hours::new(), 0, 0, 0);
        Self { subject, log, shard, report, forgotten, closed, hours, readings, windows }
    }

    /// Secret of the identities.
    pub fn key(&self) -> IdentityKey {
        self.shard.key()
    }

    /// The log's time.
    fn now(&self) -> ProcessingTime {
        self.shard.room.engine.now()
    }

    fn size(&self, definition: usize) -> i64 {
        self.subject.config.windows.definitions()[definition].size_ms
    }

    fn window_name(&self, (definition, device, start): Key) -> String {
        let id = &self.shard.room.engine.device_state(device).id;
        format!("window of {} s of device {id} from {}", self.size(definition) / 1_000, at(start))
    }

    /// Adds a window to its hour in every region that its device belongs to.
    fn roll(&mut self, device: u32, start: i64, sums: &Sums) {
        let engine = &self.shard.room.engine;
        let master = engine.master();
        let sensor = engine.sensor_of(device).map(|ix| master.sensor(ix));
        let range = sensor.map_or(domain::coldchain::Range::FRIDGE, |s| s.range);
        let (low, high) = sums.extremes.unwrap_or((i32::MAX, i32::MIN));
        let regions = master.regions_to_level(DEEPEST_LEVEL) as usize;
        let cells =
            self.hours.entry(start.div_euclid(HOUR_MS) * HOUR_MS).or_insert_with(|| vec![HourCell::default(); regions + 1]);
        for index in cells_of(master, sensor.map(|s| s.facility), regions) {
            let cell = &mut cells[index];
            cell.windows += 1;
            cell.low += u32::from(low < range.min.0);
            cell.high += u32::from(high > range.max.0);
            cell.readings += sums.count as u32;
        }
    }

    /// The definition that roll-ups follow.
    fn rolled(&self) -> usize {
        let windows = &self.subject.config.windows;
        windows.of_size(5 * MINUTE_MS).unwrap_or(windows.definitions().len() - 1)
    }

    /// All windows of the devices of a share, as stored and in memory.
    async fn found(&mut self, share: u64, shares: u64) -> anyhow::Result<HashMap<Key, Seen>> {
        let engine = &self.shard.room.engine;
        let is_ours: Vec<bool> =
            (0..engine.device_count()).map(|ix| share_of(&engine.device_state(ix).id, shares) == share).collect();
        let ours = |device: u32| is_ours.get(device as usize).copied();
        let mut found: HashMap<Key, Seen> = HashMap::new();
        let mut twice = Vec::new();
        let (mut strangers, mut closed) = (Vec::new(), 0);
        let mut take = |ClosedWindow { device, definition, window }: ClosedWindow, is_closed: bool| {
            if ours(device) == Some(true) {
                closed += u64::from(is_closed);
                let key = (usize::from(definition), device, window.start);
                let (version, state, sums) = (u64::from(window.version), window.state, Sums::of(&window.aggregate));
                if found.insert(key, Seen { version, state, sums }).is_some() {
                    twice.push(key);
                }
            } else if ours(device).is_none() && share == 0 {
                strangers.push((device, window.start));
            }
        };
        let mut broken = None;
        for (definition, of) in self.subject.config.windows.definitions().iter().enumerate() {
            let definition_of = (definition as u8, of.size_ms);
            let all = (0, i32::MAX as u32);
            let own = Some(self.log.partition());
            let each = |_, window| take(window, true);
            match self.subject.store.windows_by_partition(definition_of, own, all, i64::MIN, i64::MAX, each).await {
                Ok(()) => {}
                Err(error) if is_about_content(&error) => broken = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        for window in self.shard.room.closed_windows() {
            take(*window, true);
        }
        for device in (0..engine.device_count()).filter(|ix| ours(*ix) == Some(true)) {
            for definition in 0..self.subject.config.windows.definitions().len() {
                for window in engine.device_state(device).windows.windows(&self.subject.config.windows, definition) {
                    take(ClosedWindow { device, definition: definition as u8, window }, false);
                }
            }
        }
        self.closed += closed;
        for key in twice {
            let name = self.window_name(key);
            self.report.breaks(Law::C2, || format!("{name}: it is there twice"));
        }
        for (device, start) in strangers {
            self.report
                .breaks(Law::C2, || format!("window from {} of device number {device}: there is no such device", at(start)));
        }
        if let Some(error) = broken {
            self.report.breaks(Law::C2, || error.to_string());
        }
        Ok(found)
    }

    /// Holds everything against the recomputation.
    pub async fn compare(&mut self, mut recomputed: Recomputed) -> anyhow::Result<()> {
        for share in 0..recomputed.shares {
            let devices = recomputed.devices(self.subject.master, share)?;
            let mut found = self.found(share, recomputed.shares).await?;
            let mut names: Vec<&String> = devices.keys().collect();
            names.sort_unstable();
            for id in names {
                self.device(id, &devices[id], &recomputed, &mut found);
            }
            let mut extra: Vec<Key> = found.into_keys().collect();
            extra.sort_unstable();
            for key in extra {
                let name = self.window_name(key);
                self.report.breaks(Law::C2, || format!("{name}: it is stored, and nothing in the log belongs to it"));
            }
            self.silent_devices(&devices, share, recomputed.shares);
        }
        self.rollups().await?;
        let letters = self.records(&recomputed).await?;
        self.window_counts();
        self.letters(letters).await?;
        let now = self.shard.room.engine.now();
        if now.ms() != recomputed.now {
            self.report.breaks(Law::State, || format!("the state is as of {now}, the log ends at {}", at(recomputed.now)));
        }
        Ok(())
    }

    /// One device and its windows.
    fn device(&mut self, id: &str, device: &Device, recomputed: &Recomputed, found: &mut HashMap<Key, Seen>) {
        let Some(index) = self.shard.room.engine.device_by_id(id) else {
            self.report
                .breaks(Law::Devices, || format!("device {id}: the log has records of it, and the state does not know it"));
            return;
        };
        let (kept_from, rolled) = (forgotten_before(self.now(), self.subject.keep.windows_days).ms(), self.rolled());
        self.readings += device.readings;
        for (definition, start, expected) in device.history.windows(recomputed.definitions()) {
            let key = (definition, index, start);
            self.windows[definition] += 1;
            match found.remove(&key) {
                Some(seen) if seen == expected => {}
                Some(seen) => {
                    let name = self.window_name(key);
                    self.report.breaks(Law::C2, || format!("{name}: expected {}; found {}", told(&expected), told(&seen)));
                }
                None if start < kept_from => self.forgotten += 1,
                None => {
                    let name = self.window_name(key);
                    self.report.breaks(Law::C2, || format!("{name}: expected {}; found nothing", told(&expected)));
                }
            }
            if definition == rolled {
                self.roll(index, start, &expected.sums);
            }
        }
        let state = self.shard.room.engine.device_state(index);
        let found = format!(
            "newest {:?}, {:?}, {:?}, watermark {:?}, heard {:?}",
            state.latest,
            state.excursion,
            state.fault,
            state.windows.newest(),
            state.received_at.map(ProcessingTime::ms)
        );
        let expected = format!(
            "newest {:?}, {:?}, {:?}, watermark {:?}, heard {:?}",
            device.latest,
            device.excursion,
            device.fault,
            device.history.watermark(),
            Some(device.received_at)
        );
        if found != expected {
            self.report.breaks(Law::Devices, || format!("device {id}: expected {expected}; found {found}"));
        }
    }

    /// Devices of a share of which the log knows nothing.
    fn silent_devices(&mut self, devices: &HashMap<String, Device>, share: u64, shares: u64) {
        let engine = &self.shard.room.engine;
        let mut unheard = DeviceState::default();
        for state in (0..engine.device_count()).map(|ix| engine.device_state(ix)) {
            let is_silent = share_of(&state.id, shares) == share && !devices.contains_key(&state.id);
            unheard.id.clone_from(&state.id);
            if is_silent && *state != unheard {
                let id = state.id.clone();
                self.report.breaks(Law::Devices, || format!("device {id}: it has a state, and the log has no record of it"));
            }
        }
        self.report.summarise(Law::Devices, format!("{} devices", engine.device_count()));
    }

    /// C3, once the windows of all devices are rolled up.
    async fn rollups(&mut self) -> anyhow::Result<()> {
        let rollup = self.shard.room.engine.rollup();
        let mut stored: BTreeMap<i64, PackedHour> = BTreeMap::new();
        let not_in_memory = (i64::MIN, rollup.hours_kept_from());
        let put = |start: i64, cells: Vec<HourCell>| drop(stored.insert(start, cells.into()));
        self.subject.store.hours(Some(self.log.partition()), not_in_memory, put).await?;
        let master = self.subject.master;
        let regions = master.regions_to_level(DEEPEST_LEVEL) as usize;
        let mut cells = 0u64;
        for index in 0..=regions {
            let (node, name) = if index == regions {
                (rollup.unassigned(), domain::rollup::UNASSIGNED)
            } else {
                let ix = RegionIx(index as u32);
                (rollup.of_region(ix).expect("it lies above the deepest level"), master.region(ix).code.as_str())
            };
            let in_memory = rollup
                .hours(node, i64::MIN)
                .map(|h| (h.hour, HourCell { windows: h.windows, low: h.low, high: h.high, readings: h.readings }));
            let in_store = stored.iter().filter_map(|(start, hour)| Some((*start, hour.cell(index)?)));
            let found: BTreeMap<i64, HourCell> = in_store.filter(|(_, cell)| cell.windows > 0).chain(in_memory).collect();
            let expected: BTreeMap<i64, HourCell> =
                self.hours.iter().map(|(hour, cells)| (*hour, cells[index])).filter(|(_, cell)| cell.windows > 0).collect();
            cells += expected.len() as u64;
            if found == expected {
                continue;
            }
            let mut hours: Vec<i64> = found.keys().chain(expected.keys()).copied().collect();
            hours.sort_unstable();
            hours.dedup();
            for hour in hours.into_iter().filter(|hour| found.get(hour) != expected.get(hour)) {
                let (expected, found) = (expected.get(&hour), found.get(&hour));
                self.report
                    .breaks(Law::C3, || format!("region {name}, hour from {}: expected {expected:?}; found {found:?}", at(hour)));
            }
        }
        self.report.summarise(Law::C3, format!("{cells} figures of {} regions in {} hours", regions + 1, self.hours.len()));
        Ok(())
    }

    /// C2 in sums, and the count of windows put away.
    fn window_counts(&mut self) {
        let totals = self.shard.room.engine.totals();
        let (counted, closed) = (totals.closed_windows, self.closed + self.forgotten);
        let (accepted, readings) = (totals.by_topic[Topic::Temperature as usize].accepted, self.readings);
        if counted != closed {
            self.report.breaks(Law::C2, || format!("{counted} windows are said to be closed, and {closed} are"));
        }
        if accepted != readings {
            self.report.breaks(Law::C2, || format!("{accepted} readings are said to be accepted, and windows hold {readings}"));
        }
        let of: Vec<String> = (0..self.windows.len())
            .map(|definition| format!("{} windows of {} s", self.windows[definition], self.size(definition) / 1_000))
            .collect();
        let forgotten = if self.forgotten > 0 { format!(", {} deleted for their age", self.forgotten) } else { String::new() };
        self.report.summarise(Law::C2, format!("{readings} readings = what {} hold{forgotten}", of.join(" and ")));
    }

    /// The table of raw readings, where there is one.
    async fn raw_readings(&mut self) -> anyhow::Result<()> {
        let Some((rows, _)) = self.subject.store.row_counts().await? else { return Ok(()) };
        let readings = self.readings;
        let is_old = forgotten_before(self.now(), self.subject.keep.readings_days) > ProcessingTime::from_ms(0)
            && self
                .hours
                .keys()
                .next()
                .is_some_and(|oldest| *oldest < forgotten_before(self.now(), self.subject.keep.readings_days).ms());
        if rows as u64 != readings && !(is_old && (rows as u64) < readings) {
            self.report.breaks(Law::Readings, || format!("{readings} readings were accepted, and the table holds {rows}"));
        }
        self.report.summarise(Law::Readings, format!("{rows} rows"));
        Ok(())
    }

    /// What can be said where the log does not go back to the beginning: results agree with each other.
    pub async fn agree(&mut self, outline: &Outline) -> anyhow::Result<()> {
        let found = self.found(0, 1).await?;
        let rolled = self.rolled();
        let mut sums = vec![0u64; self.windows.len()];
        for ((definition, device, start), seen) in &found {
            self.windows[*definition] += 1;
            sums[*definition] += seen.sums.count;
            if *definition == rolled {
                self.roll(*device, *start, &seen.sums);
            }
        }
        let totals = self.shard.room.engine.totals().clone();
        let sum = |tallies: &mut dyn Iterator<Item = &Tally>| tallies.map(|tally| tally.received).sum::<u64>();
        let Tally { received, accepted, duplicate, late, rejected } = totals.all;
        for (name, sum) in [
            ("dispositions", accepted + duplicate + late + rejected),
            ("topics", sum(&mut totals.by_topic.iter())),
            ("sources", sum(&mut totals.by_source.iter().map(|(_, tally)| tally))),
        ] {
            if sum != received {
                self.report.breaks(Law::C1, || format!("{name}: {sum} records, and {received} were received"));
            }
        }
        let reasons: u64 = totals.by_reason.iter().sum();
        if reasons != rejected {
            self.report.breaks(Law::C1, || format!("reasons: {reasons} records, and {rejected} were rejected"));
        }
        self.report.summarise(
            Law::C1,
            format!("{received} received = {accepted} accepted + {duplicate} duplicate + {late} late + {rejected} rejected"),
        );
        let readings = totals.by_topic[Topic::Temperature as usize].accepted;
        let may_lack = forgotten_before(self.now(), self.subject.keep.windows_days).ms() > outline.received.0.ms();
        for (definition, sum) in sums.into_iter().enumerate() {
            if sum != readings && !(may_lack && sum < readings) {
                let size = self.size(definition) / 1_000;
                self.report.breaks(Law::C2, || format!("windows of {size} s hold {sum} readings, and {readings} were accepted"));
            }
        }
        self.report.summarise(Law::C2, format!("{readings} readings in the windows of every definition"));
        if !may_lack {
            self.rollups().await?;
        }
        let (mut rows, mut position) = (0u64, 0);
        loop {
            let page = self.subject.store.side_after(DEAD, position, ROWS).await?;
            let Some(last) = page.last() else { break };
            position = last.position;
            rows += page.iter().filter(|row| self.log.holds(row.position)).count() as u64;
        }
        rows += self.shard.room.side_rows(DEAD).count() as u64;
        if rows > rejected {
            self.report.breaks(Law::C4, || format!("{rows} dead letters are stored, and {rejected} records were rejected"));
        }
        self.report.summarise(Law::C4, format!("{rows} dead letters of {rejected} rejected records are still kept"));
        Ok(())
    }
}
