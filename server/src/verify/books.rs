//! What is stored, held against what the log leads to, share by share of the devices.

mod days;
mod derived;
mod raw;
mod records;
mod stood;
mod versions;

use super::history::{Seen, Sums};
use super::known::share_of;
use super::recompute::{Device, Recomputed, rolled};
use super::report::{Law, Report};
use super::scan::{Outline, Source};
use super::versions::cells_of;
use super::{Subject, is_about_content};
use crate::admission::IdentityKey;
use crate::pipeline::Shard;
use crate::side::DEAD;
use crate::store::{Forgotten, Snapshot};
use derived::{Counts, FoundDerived};
use domain::coldchain::Range;
use domain::engine::{ClosedWindow, DeviceState, Outside, Tally};
use domain::event::Topic;
use domain::master::RegionIx;
use domain::rollup::{HourCell, PackedHour};
use domain::time::{EventTime, HOUR_MS, ProcessingTime};
use domain::window::WindowState;
use std::collections::{BTreeMap, HashMap};

/// Rows of a side output read at once.
const ROWS: usize = 1_000;

/// Start of an hour to one cell per region, the unassigned last.
type Hours = BTreeMap<i64, Vec<HourCell>>;
/// A window by definition, index of its device, and start.
type Key = (usize, u32, i64);

/// What the last checkpoint covers.
#[derive(Clone, Copy, Debug)]
pub struct Covered {
    /// The first block that it does not.
    next_block: u64,
    /// Readings that were accepted until then.
    pub readings: u64,
}

impl From<&Snapshot> for Covered {
    fn from(snapshot: &Snapshot) -> Self {
        let readings = snapshot.totals.by_topic[Topic::Temperature as usize].accepted;
        Self { next_block: snapshot.next_block, readings }
    }
}

/// What is stored, and what is found wrong with it.
pub struct Books<'a> {
    subject: &'a Subject<'a>,
    log: Source,
    shard: Shard,
    covered: Covered,
    pub report: &'a mut Report,
    /// What may be gone for its age.
    forgotten: Forgotten,
    /// Windows that are, and of them those that records joined after the first time.
    windows_gone: (u64, u64),
    /// Windows that were put away, and of them the same.
    closed: (u64, u64),
    hours: Hours,
    readings: u64,
    windows: Vec<u64>,
    derived: Counts,
    /// Versions of how equipment stands.
    stood_versions: u64,
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

impl<'a> Books<'a> {
    pub fn new(
        subject: &'a Subject<'a>,
        log: Source,
        (shard, covered): (Shard, Covered),
        forgotten: Forgotten,
        report: &'a mut Report,
    ) -> Self {
        Self {
            subject,
            log,
            shard,
            covered,
            report,
            forgotten,
            windows_gone: (0, 0),
            closed: (0, 0),
            hours: Hours::new(),
            readings: 0,
            windows: vec![0; subject.config.windows.definitions().len()],
            derived: Counts::default(),
            stood_versions: 0,
        }
    }

    /// Secret of the identities.
    pub fn key(&self) -> IdentityKey {
        self.shard.key()
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
        let sensor = engine.sensor_of(device).map(|ix| engine.master().sensor(ix));
        let range = sensor.map_or(domain::coldchain::Range::FRIDGE, |s| s.range);
        let (low, high) = sums.extremes.unwrap_or((i32::MAX, i32::MIN));
        let (low, high) = (u32::from(low < range.min.0), u32::from(high > range.max.0));
        let adds = HourCell { windows: 1, low, high, readings: sums.count as u32, ..HourCell::default() };
        self.add_to_hour(device, start.div_euclid(HOUR_MS) * HOUR_MS, &adds);
    }

    /// Adds figures to an hour in every region that a device belongs to.
    fn add_to_hour(&mut self, device: u32, hour: i64, adds: &HourCell) {
        let engine = &self.shard.room.engine;
        let master = engine.master();
        let facility = engine.sensor_of(device).map(|ix| master.sensor(ix).facility);
        let regions = master.counted_regions() as usize;
        let cells = self.hours.entry(hour).or_insert_with(|| vec![HourCell::default(); regions + 1]);
        for index in cells_of(master, facility, regions) {
            cells[index].add(adds);
        }
    }

    /// Which devices belong to a share.
    fn ours(&self, share: u64, shares: u64) -> Vec<bool> {
        let engine = &self.shard.room.engine;
        (0..engine.device_count()).map(|ix| share_of(&engine.device_state(ix).id, shares) == share).collect()
    }

    /// All windows of the devices that are ours, as stored and in memory; of one that is not there at all the first share tells.
    async fn found(&mut self, is_ours: &[bool], is_first: bool) -> anyhow::Result<HashMap<Key, Seen>> {
        let engine = &self.shard.room.engine;
        let ours = |device: u32| is_ours.get(device as usize).copied();
        let mut found: HashMap<Key, Seen> = HashMap::new();
        let mut twice = Vec::new();
        let (mut strangers, mut closed) = (Vec::new(), (0, 0));
        let mut take = |ClosedWindow { device, definition, window }: ClosedWindow, is_closed: bool| {
            if ours(device) == Some(true) {
                closed.0 += u64::from(is_closed);
                closed.1 += u64::from(is_closed && window.version > 1);
                let key = (usize::from(definition), device, window.start);
                let (version, state, sums) = (u64::from(window.version), window.state, Sums::of(&window.aggregate));
                if found.insert(key, Seen { version, state, sums }).is_some() {
                    twice.push(key);
                }
            } else if ours(device).is_none() && is_first {
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
        self.closed = (self.closed.0 + closed.0, self.closed.1 + closed.1);
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
            let is_ours = self.ours(share, recomputed.shares);
            let mut found = self.found(&is_ours, share == 0).await?;
            let mut derived = self.found_derived(&is_ours, share == 0).await?;
            let mut names: Vec<&String> = devices.keys().collect();
            names.sort_unstable();
            for id in names {
                self.device(id, &devices[id], &recomputed, &mut found, &mut derived);
            }
            self.underived(derived);
            let mut extra: Vec<Key> = found.into_keys().collect();
            extra.sort_unstable();
            for key in extra {
                let name = self.window_name(key);
                self.report.breaks(Law::C2, || format!("{name}: it is stored, and nothing in the log belongs to it"));
            }
            self.silent_devices(&devices, share, recomputed.shares);
        }
        self.rollups(true).await?;
        self.stood(Some(&recomputed.stood)).await?;
        self.versions(Some(&recomputed.changes)).await?;
        let (letters, raw) = self.records(&recomputed).await?;
        self.window_counts();
        self.summarise_derived();
        self.letters(letters).await?;
        self.raw_rows(&raw, &recomputed).await?;
        let now = self.shard.room.engine.now();
        let pairings = self.shard.room.engine.pairings();
        if pairings != recomputed.pairings.as_slice() {
            let expected = &recomputed.pairings;
            self.report.breaks(Law::Located, || format!("the log says who travels with whom: {expected:?}; found {pairings:?}"));
        }
        if now.ms() != recomputed.now {
            self.report.breaks(Law::State, || format!("the state is as of {now}, the log ends at {}", at(recomputed.now)));
        }
        Ok(())
    }

    /// One device and its windows.
    fn device(
        &mut self,
        id: &str,
        device: &Device,
        recomputed: &Recomputed,
        found: &mut HashMap<Key, Seen>,
        derived: &mut FoundDerived,
    ) {
        let Some(index) = self.shard.room.engine.device_by_id(id) else {
            self.report
                .breaks(Law::Devices, || format!("device {id}: the log has records of it, and the state does not know it"));
            return;
        };
        let kept_from = self.forgotten.windows;
        let rolled = rolled(self.subject.config);
        self.readings += device.readings;
        let mut newest_fired = None;
        for (definition, start, expected) in device.history.windows(recomputed.definitions()) {
            let key = (definition, index, start);
            self.windows[definition] += 1;
            match found.remove(&key) {
                Some(seen) if seen == expected => {}
                Some(seen) => {
                    let name = self.window_name(key);
                    self.report.breaks(Law::C2, || format!("{name}: expected {}; found {}", told(&expected), told(&seen)));
                }
                None if start < kept_from => {
                    self.windows_gone.0 += 1;
                    self.windows_gone.1 += u64::from(expected.version > 1);
                }
                None => {
                    let name = self.window_name(key);
                    self.report.breaks(Law::C2, || format!("{name}: expected {}; found nothing", told(&expected)));
                }
            }
            if definition == rolled {
                self.roll(index, start, &expected.sums);
            }
            if definition == 0 && expected.state != WindowState::Provisional {
                newest_fired = Some((start, expected));
            }
        }
        for (hour, adds) in &device.late {
            self.add_to_hour(index, *hour, adds);
        }
        self.derived(index, device, recomputed, derived);
        let state = self.shard.room.engine.device_state(index);
        let found = format!(
            "newest {:?}, {:?}, {:?}, watermark {:?}, heard {:?}, in range {:?}",
            state.latest,
            self.shard.room.engine.excursion(index),
            state.fault,
            state.windows.newest(),
            state.received_at.map(ProcessingTime::ms),
            state.fine_at
        );
        let expected = format!(
            "newest {:?}, {:?}, {:?}, watermark {:?}, heard {:?}, in range {:?}",
            device.latest,
            device.excursion,
            device.fault,
            device.history.watermark(),
            (device.received_at > 0).then_some(device.received_at),
            device.fine_at
        );
        if found != expected {
            self.report.breaks(Law::Devices, || format!("device {id}: expected {expected}; found {found}"));
        }
        let range = self.subject.master.sensor_by_id(id).map_or(Range::FRIDGE, |sensor| self.subject.master.sensor(sensor).range);
        let (newest, before) = device.kept_outside(range);
        let found = state.outside.as_deref().map_or((&[][..], None), Outside::kept);
        if found != (&newest[..], before) {
            self.report.breaks(Law::Devices, || {
                format!("device {id}: expected of its excursion {newest:?} and {before:?} before; found {found:?}")
            });
        }
        let extra = state.extra.as_deref().cloned().unwrap_or_default();
        if extra.sequences != device.sequences {
            self.report.breaks(Law::Devices, || {
                format!("device {id}: expected the running numbers {:?}; found {:?}", device.sequences, extra.sequences)
            });
        }
        let (expected, found) = (format!("{:?}", device.join), format!("{:?}", extra.join));
        if found != expected {
            self.report.breaks(Law::Devices, || format!("device {id}: expected {expected}; found {found}"));
        }
        // Kept apart where none that has fired is left in memory; an older one may still be there.
        let closed = state.newest_closed.as_deref().map(|w| {
            let (version, sums) = (u64::from(w.version), Sums::of(&w.aggregate));
            (w.start, Seen { version, state: w.state, sums })
        });
        let is_held = |start: i64| {
            let windows = &self.subject.config.windows;
            state.windows.windows(windows, 0).rev().any(|window| window.start == start)
        };
        let is_right = match (newest_fired, closed) {
            (None, closed) => closed.is_none(),
            (Some((start, expected)), closed) if !is_held(start) => closed == Some((start, expected)),
            (Some(_), None) => true,
            (Some(_), Some((start, seen))) => device.history.window(recomputed.definitions(), 0, start) == Some(seen),
        };
        if !is_right {
            let told = |of: Option<(i64, Seen)>| of.map(|(start, seen)| format!("from {}, {}", at(start), told(&seen)));
            self.report.breaks(Law::Devices, || {
                format!(
                    "device {id}: the newest window that closed is {:?}, the newest that fired {:?}",
                    told(closed),
                    told(newest_fired)
                )
            });
        }
    }

    /// Devices of a share of which the log knows nothing.
    fn silent_devices(&mut self, devices: &HashMap<String, Device>, share: u64, shares: u64) {
        let engine = &self.shard.room.engine;
        let mut unheard = DeviceState::default();
        for state in (0..engine.device_count()).map(|ix| engine.device_state(ix)) {
            let is_silent = share_of(&state.id, shares) == share && !devices.contains_key(state.id.as_str());
            unheard.id.clone_from(&state.id);
            if is_silent && *state != unheard {
                let id = state.id.clone();
                self.report.breaks(Law::Devices, || format!("device {id}: it has a state, and the log has no record of it"));
            }
        }
        self.report.summarise(Law::Devices, format!("{} devices", engine.device_count()));
    }

    /// C3, once the windows of all devices are rolled up, and their late readings where `knows_late`: these are in no window, and
    /// who has no log has only their sum.
    async fn rollups(&mut self, knows_late: bool) -> anyhow::Result<()> {
        let rollup = self.shard.room.engine.rollup();
        let mut stored: BTreeMap<i64, PackedHour> = BTreeMap::new();
        let not_in_memory = (i64::MIN, rollup.hours_kept_from());
        let put = |start: i64, hour: PackedHour| drop(stored.insert(start, hour));
        self.subject.store.hours(Some(self.log.partition()), not_in_memory, put).await?;
        let master = self.subject.master;
        let regions = master.counted_regions() as usize;
        let (mut cells, mut late) = (0u64, 0u64);
        for index in 0..=regions {
            let (node, name) = if index == regions {
                (rollup.unassigned(), domain::rollup::UNASSIGNED)
            } else {
                let ix = RegionIx(index as u32);
                (rollup.of_region(ix).expect("it lies above the deepest level"), master.region(ix).code.as_str())
            };
            let in_memory = rollup.cells(node, i64::MIN);
            let in_store = stored.iter().filter_map(|(start, hour)| Some((*start, hour.cell(index)?)));
            let found: BTreeMap<i64, HourCell> = in_store.filter(|(_, cell)| !cell.is_empty()).chain(in_memory).collect();
            for (hour, cell) in found.iter().filter(|(_, cell)| cell.late > 0 && !knows_late) {
                let cells = self.hours.entry(*hour).or_insert_with(|| vec![HourCell::default(); regions + 1]);
                let HourCell { late, late_low, late_high, .. } = *cell;
                cells[index] = HourCell { late, late_low, late_high, ..cells[index] };
            }
            if index == 0 {
                late = found.values().map(|cell| u64::from(cell.late)).sum();
            }
            let expected: BTreeMap<i64, HourCell> =
                self.hours.iter().map(|(hour, cells)| (*hour, cells[index])).filter(|(_, cell)| !cell.is_empty()).collect();
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
        let counted = self.shard.room.engine.totals().all.late;
        if late != counted {
            self.report.breaks(Law::C3, || format!("{late} late readings in the hours of the country, and {counted} were late"));
        }
        self.report.summarise(Law::C3, format!("{cells} figures of {} regions in {} hours", regions + 1, self.hours.len()));
        Ok(())
    }

    /// C2 in sums, and the count of windows put away.
    fn window_counts(&mut self) {
        let totals = self.shard.room.engine.totals();
        let (counted, closed) = (totals.closed_windows, self.closed.0 + self.windows_gone.0);
        let (said, corrected) = (totals.corrected_windows, self.closed.1 + self.windows_gone.1);
        let (accepted, readings) = (totals.by_topic[Topic::Temperature as usize].accepted, self.readings);
        if counted != closed {
            self.report.breaks(Law::C2, || format!("{counted} windows are said to be closed, and {closed} are"));
        }
        if said != corrected {
            self.report.breaks(Law::C2, || format!("{said} windows are said to be corrected, and {corrected} are"));
        }
        if accepted != readings {
            self.report.breaks(Law::C2, || format!("{accepted} readings are said to be accepted, and windows hold {readings}"));
        }
        let of: Vec<String> = (0..self.windows.len())
            .map(|definition| format!("{} windows of {} s", self.windows[definition], self.size(definition) / 1_000))
            .collect();
        let forgotten =
            if self.windows_gone.0 > 0 { format!(", {} deleted for their age", self.windows_gone.0) } else { String::new() };
        let (of, sessions) = (of.join(" and "), self.sessions_told());
        self.report.summarise(Law::C2, format!("{readings} readings = what {of}{sessions} hold{forgotten}"));
    }

    /// What can be said where the log does not go back to the beginning: results agree with each other.
    pub async fn agree(&mut self, outline: &Outline) -> anyhow::Result<()> {
        let is_ours = self.ours(0, 1);
        let found = self.found(&is_ours, true).await?;
        let derived = self.found_derived(&is_ours, true).await?;
        let rolled = rolled(self.subject.config);
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
        let may_lack = self.forgotten.windows > outline.received.0.ms();
        for (definition, sum) in sums.into_iter().enumerate() {
            if sum != readings && !(may_lack && sum < readings) {
                let size = self.size(definition) / 1_000;
                self.report.breaks(Law::C2, || format!("windows of {size} s hold {sum} readings, and {readings} were accepted"));
            }
        }
        self.agree_derived(&derived, readings);
        self.report.summarise(Law::C2, format!("{readings} readings in the windows of every definition"));
        if !may_lack {
            self.rollups(false).await?;
            self.stood(None).await?;
            self.versions(None).await?;
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
        self.raw_counts().await
    }
}
