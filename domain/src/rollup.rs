//! Roll-ups from the facility over every region above it (district → regency → province → country), kept as differences of versions: +new −old, never a rescan.

mod hours;
mod stood;

pub use hours::{PackedHour, hours_kept_from};
pub use stood::{CountsThen, KnownCounts, NO_COLUMN, Stood, StoodThen};

use crate::aggregate::Aggregate;
use crate::coldchain::{Condition, Range};
use crate::feed::{Counts, HISTOGRAM_COLUMNS, HourCounts};
use crate::master::{FacilityIx, MAX_LEVELS, Master, RegionIx, SensorIx};
use crate::milli::Milli;
use crate::planted;
use crate::time::{HOUR_MS, MINUTE_MS, ProcessingTime};
use hours::Hours;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stood::Said;

/// Code of the region that holds devices nobody has registered.
pub const UNASSIGNED: &str = "unassigned";

/// A place with figures: a region down to those that have facilities, a facility, or the region of unregistered devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(u32);

/// What one device window adds to its hour at every level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// Readings.
    pub readings: u32,
    /// One of them lay below the range.
    pub low: bool,
    /// One of them lay above the range.
    pub high: bool,
}

impl Contribution {
    /// Of a window with `aggregate`, of a device that has to keep `range`.
    pub fn of(aggregate: &Aggregate, range: Range) -> Self {
        Self {
            readings: aggregate.count,
            low: aggregate.temperature_min < range.min,
            high: aggregate.temperature_max > range.max,
        }
    }
}

/// What one device adds to the figures of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub condition: Condition,
    /// Its column of the histogram, where it is a refrigerator with fresh data.
    pub column: Option<u8>,
}

impl Standing {
    /// A device nobody has heard of.
    pub const UNHEARD: Standing = Standing { condition: Condition::NoWord, column: None };
}

/// The column of the histogram for `temperature`: below −2 °C, 28 of half a degree, 12 °C and above.
pub fn histogram_column(temperature: Milli) -> u8 {
    ((temperature.0 + 2_500).div_euclid(500)).clamp(0, HISTOGRAM_COLUMNS as i32 - 1) as u8
}

/// Counters of one hour and region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourCell {
    /// Device windows with at least one reading.
    pub windows: u32,
    /// Of those, with one below the range.
    pub low: u32,
    /// Of those, with one above the range.
    pub high: u32,
    /// Readings.
    pub readings: u32,
    /// Readings of the hour that came too late for it: they are in no window.
    pub late: u32,
    /// Of those, below the range.
    pub late_low: u32,
    /// Of those, above the range.
    pub late_high: u32,
}

impl HourCell {
    /// What a late reading of `temperature` adds to its hour, of a device that has to keep `range`.
    pub fn of_late(temperature: Milli, range: Range) -> Self {
        let (late_low, late_high) = (u32::from(temperature < range.min), u32::from(temperature > range.max));
        Self { late: 1, late_low, late_high, ..Self::default() }
    }

    /// Whether nothing of the hour was heard of.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether none of its counters is larger than that of `whole`.
    fn is_within(&self, whole: &HourCell) -> bool {
        let counters = |of: &HourCell| [of.windows, of.low, of.high, of.readings, of.late, of.late_low, of.late_high];
        counters(self).iter().zip(counters(whole)).all(|(part, whole)| *part <= whole)
    }

    /// Adds those of another part of the input, or of the country.
    pub fn add(&mut self, other: &HourCell) {
        self.windows += other.windows;
        self.low += other.low;
        self.high += other.high;
        self.readings += other.readings;
        self.late += other.late;
        self.late_low += other.late_low;
        self.late_high += other.late_high;
    }
}

/// A reading that came too late for its window, and what it adds to the hour of that window all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateReading {
    /// Index of its device.
    pub device: u32,
    /// Start of the window that roll-ups would have followed.
    pub start: i64,
    /// What it adds.
    pub adds: HourCell,
}

/// How long the roll-ups are known by one version of them, in milliseconds: a version for each such stretch of the log's time.
pub const KNOWN_EVERY_MS: i64 = 5 * MINUTE_MS;

/// After so long the figures of an hour count as final, from its end on, in milliseconds; what changes later is a restatement.
pub const FINAL_AFTER_MS: i64 = 48 * HOUR_MS;

/// What changed of an hour within a stretch of the log's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownHour {
    /// The figures follow from exactly the records received before this instant; a multiple of [`KNOWN_EVERY_MS`].
    pub known_at: i64,
    /// Start of the hour.
    pub hour: i64,
    /// The changed regions by index (the unassigned last), with their figures.
    pub cells: Vec<(u32, HourCell)>,
}

/// Which figures of which hours changed since their last version: per hour a bit a region.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleHours(BTreeMap<i64, Vec<u64>>);

impl StaleHours {
    fn mark(&mut self, hour: i64, index: u32, regions: u32) {
        let bits = self.0.entry(hour).or_insert_with(|| vec![0; (regions as usize + 64) / 64]);
        if let Some(word) = bits.get_mut(index as usize / 64) {
            *word |= 1 << (index % 64);
        }
    }
}

/// The figures of all places.
#[derive(Clone, Debug)]
pub struct Rollup {
    master: Arc<Master>,
    regions: u32,
    /// Regions, then facilities, then the unassigned.
    counts: Vec<Counts>,
    last_data: Vec<Option<ProcessingTime>>,
    /// Regions only.
    histograms: Vec<[u32; HISTOGRAM_COLUMNS]>,
    /// Where each registered device stands in them, or [`NO_COLUMN`].
    columns: Vec<u8>,
    hours: Hours,
    changed_hours: BTreeSet<i64>,
    touched: Vec<bool>,
    touched_list: Vec<Node>,
    said: Said,
}

impl Rollup {
    /// Every registered device unheard of, nothing else counted.
    pub fn new(master: &Arc<Master>) -> Self {
        let regions = master.counted_regions();
        let nodes = regions as usize + master.facilities().len() + 1;
        let mut rollup = Self {
            regions,
            counts: vec![Counts::default(); nodes],
            last_data: vec![None; nodes],
            histograms: vec![[0; HISTOGRAM_COLUMNS]; regions as usize],
            columns: vec![NO_COLUMN; master.sensors().len()],
            hours: Hours::new(regions as usize + 1),
            changed_hours: BTreeSet::new(),
            touched: vec![false; nodes],
            touched_list: Vec::new(),
            said: Said::new(master.facilities().len(), master.sensors().len()),
            master: Arc::clone(master),
        };
        for (index, facility) in master.facilities().iter().enumerate() {
            let devices = facility.sensors.len() as u32;
            for node in rollup.path(Some(FacilityIx(index as u32))) {
                let counts = &mut rollup.counts[node.0 as usize];
                counts.devices += devices;
                counts.no_word += devices;
                counts.facilities += u32::from(devices > 0);
            }
        }
        rollup
    }

    /// The node of a region; `None` below the deepest that have facilities.
    pub fn of_region(&self, region: RegionIx) -> Option<Node> {
        (region.0 < self.regions).then_some(Node(region.0))
    }

    /// The node of a facility.
    pub const fn of_facility(&self, facility: FacilityIx) -> Node {
        Node(self.regions + facility.0)
    }

    /// The node of unregistered devices.
    pub fn unassigned(&self) -> Node {
        Node(self.counts.len() as u32 - 1)
    }

    /// The region or facility of a node; `None` for the unassigned.
    pub fn place(&self, node: Node) -> Option<Result<RegionIx, FacilityIx>> {
        if node.0 < self.regions {
            Some(Ok(RegionIx(node.0)))
        } else if node == self.unassigned() {
            None
        } else {
            Some(Err(FacilityIx(node.0 - self.regions)))
        }
    }

    /// A device's facility and all regions above; without a facility the unassigned and the country.
    fn path(&self, facility: Option<FacilityIx>) -> impl Iterator<Item = Node> + use<> {
        let mut path = [None; MAX_LEVELS + 1];
        match facility {
            Some(facility) => {
                path[0] = Some(self.of_facility(facility));
                let regions = self.master.ancestors(self.master.facility(facility).region);
                let regions = regions.skip(usize::from(planted("roll-up-skips-a-level")));
                for (slot, node) in path[1..].iter_mut().zip(regions.filter_map(|r| self.of_region(r))) {
                    *slot = Some(node);
                }
            }
            None => path[..2].copy_from_slice(&[Some(self.unassigned()), Some(Node(0))]),
        }
        path.into_iter().flatten()
    }

    fn touch(&mut self, node: Node) {
        if !std::mem::replace(&mut self.touched[node.0 as usize], true) {
            self.touched_list.push(node);
        }
    }

    /// The nodes whose figures changed since the last call.
    pub fn take_touched(&mut self) -> Vec<Node> {
        for node in &self.touched_list {
            self.touched[node.0 as usize] = false;
        }
        std::mem::take(&mut self.touched_list)
    }

    /// A device of `facility` was heard of at `received_at`.
    pub(crate) fn heard(&mut self, facility: Option<FacilityIx>, received_at: ProcessingTime) {
        for node in self.path(facility) {
            let last = &mut self.last_data[node.0 as usize];
            *last = (*last).max(Some(received_at));
            self.touch(node);
        }
    }

    /// A registered `device` stood as `old` and stands as `new` now.
    pub(crate) fn stands(&mut self, device: SensorIx, old: Standing, new: Standing) {
        if old == new {
            return;
        }
        let facility = self.master.sensor(device).facility;
        if old.condition != new.condition {
            self.said.mark_facility(facility);
        }
        if old.column != new.column {
            self.columns[device.0 as usize] = new.column.unwrap_or(NO_COLUMN);
            self.said.mark_device(device);
        }
        let own = self.of_facility(facility);
        let was_reporting = self.counts[own.0 as usize].reporting() > 0;
        for node in self.path(Some(facility)) {
            let counts = &mut self.counts[node.0 as usize];
            *counts.of(old.condition) -= 1;
            *counts.of(new.condition) += 1;
            if let Some(histogram) = self.histograms.get_mut(node.0 as usize) {
                if let Some(column) = old.column {
                    histogram[usize::from(column)] -= 1;
                }
                if let Some(column) = new.column {
                    histogram[usize::from(column)] += 1;
                }
            }
            self.touch(node);
        }
        let is_reporting = self.counts[own.0 as usize].reporting() > 0;
        if was_reporting != is_reporting {
            for node in self.path(Some(facility)) {
                let reporting = &mut self.counts[node.0 as usize].facilities_reporting;
                if is_reporting {
                    *reporting += 1;
                } else {
                    *reporting -= 1;
                }
            }
        }
    }

    /// A device window that starts at `start` contributed `old` and contributes `new` now.
    pub(crate) fn roll(
        &mut self,
        facility: Option<FacilityIx>,
        start: i64,
        old: Contribution,
        new: Contribution,
        stale: &mut StaleHours,
    ) {
        if old == new {
            return;
        }
        self.change_hour(facility, start, stale, |cell| {
            let step = |counter: &mut u32, old: bool, new: bool| *counter = *counter + u32::from(new) - u32::from(old);
            step(&mut cell.windows, old.readings > 0, new.readings > 0);
            step(&mut cell.low, old.low, new.low);
            step(&mut cell.high, old.high, new.high);
            cell.readings = cell.readings + new.readings - if planted("roll-up-adds") { 0 } else { old.readings };
        });
    }

    /// Readings of a device of `facility` came too late for their window, all of one hour, the one in which `start` lies.
    pub(crate) fn roll_late(&mut self, facility: Option<FacilityIx>, start: i64, adds: &HourCell, stale: &mut StaleHours) {
        if !planted("late-record-corrects-nothing") {
            self.change_hour(facility, start, stale, |cell| cell.add(adds));
        }
    }

    /// Lets `change` change the hour in which `start` lies, in every region of a device of `facility`.
    fn change_hour(&mut self, facility: Option<FacilityIx>, start: i64, stale: &mut StaleHours, change: impl Fn(&mut HourCell)) {
        let hour = start - start.rem_euclid(HOUR_MS);
        let path = self.path(facility);
        let (regions, unassigned) = (self.regions, self.unassigned());
        let Some(mut cells) = self.hours.change(hour) else { return };
        self.changed_hours.insert(hour);
        for node in path {
            // A facility has no cell: its figures are those of its devices.
            let index = if node == unassigned { regions } else { node.0 };
            if index > regions || (index == regions && node != unassigned) {
                continue;
            }
            stale.mark(hour, index, regions);
            cells.cell(index, &change);
        }
    }

    /// How the equipment of a place stands.
    pub fn counts(&self, node: Node) -> Counts {
        self.counts[node.0 as usize]
    }

    /// When the newest record of a place came in.
    pub fn last_data(&self, node: Node) -> Option<ProcessingTime> {
        self.last_data[node.0 as usize]
    }

    /// Refrigerators by newest temperature; empty for facilities.
    pub fn histogram(&self, node: Node) -> &[u32] {
        self.histograms.get(node.0 as usize).map_or(&[], |h| h)
    }

    /// The hours of a region that start at or after `from`, oldest first; those without a window are absent. None for facilities. What lies
    /// before [`Rollup::hours_kept_from`] is in the store alone.
    pub fn hours(&self, node: Node, from: i64) -> impl DoubleEndedIterator<Item = HourCounts> + '_ {
        self.cells(node, from).filter(|(_, cell)| cell.windows > 0).map(|(hour, cell)| HourCounts {
            hour,
            windows: cell.windows,
            low: cell.low,
            high: cell.high,
            readings: cell.readings,
        })
    }

    /// The same with what came too late, and with hours of which nothing else was heard.
    pub fn cells(&self, node: Node, from: i64) -> impl DoubleEndedIterator<Item = (i64, HourCell)> + '_ {
        let index = if node == self.unassigned() { self.regions } else { node.0 } as usize;
        self.hours.cells(index, from).filter(|(_, cell)| !cell.is_empty())
    }

    /// The first hour of which anything is in memory.
    pub const fn hours_kept_from(&self) -> i64 {
        self.hours.kept_from()
    }

    /// How many hours are in memory, and how many of them are not packed.
    #[cfg(test)]
    fn hours_in_memory(&self) -> (usize, usize) {
        self.hours.len()
    }

    /// The hours that changed since the last call, whole: start, one cell per region in order of code, the unassigned last. They have to
    /// be stored: those that cannot change after `now` leave memory.
    pub(crate) fn take_changed_hours(&mut self, now: ProcessingTime) -> Vec<(i64, PackedHour)> {
        let changed = std::mem::take(&mut self.changed_hours);
        let taken = changed.into_iter().filter_map(|hour| Some((hour, self.hours.packed(hour)?))).collect();
        self.hours.tidy(now);
        taken
    }

    /// What is `stale`, as of `known_at`; nothing is any more.
    pub(crate) fn take_known(&self, stale: &mut StaleHours, known_at: i64) -> Vec<KnownHour> {
        let hours = std::mem::take(stale).0.into_iter().filter_map(|(hour, bits)| {
            let cells = self.hours.get(hour)?;
            let is_stale = |index: usize| bits.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1);
            let changed = cells.iter().zip(0u32..).filter(|(_, index)| is_stale(*index as usize));
            Some(KnownHour { known_at, hour, cells: changed.map(|(cell, index)| (index, *cell)).collect() })
        });
        hours.collect()
    }

    /// The first hour of those that start `from` this instant until before the other, and the region in it, whose figures are not the sum of
    /// those of its parts (C3). Where facilities belong to a region itself, they are at least that.
    pub fn first_amiss(&self, (from, to): (i64, i64)) -> Option<(i64, RegionIx)> {
        let parents = self.master.counted_parents();
        let first = from - from.rem_euclid(HOUR_MS);
        let hours = (first..to).step_by(HOUR_MS as usize).filter_map(|hour| Some((hour, self.hours.get(hour)?)));
        for (hour, cells) in hours {
            let cell = |index: u32| cells.get(index as usize).copied().unwrap_or_default();
            for region in (0..parents).map(RegionIx) {
                let mut parts = if region.0 == 0 { cell(self.regions) } else { HourCell::default() };
                self.master.children(region).for_each(|child| parts.add(&cell(child.0)));
                let (whole, has_own) = (cell(region.0), self.master.facilities_of(region).len() > 0);
                if whole != parts && !(has_own && parts.is_within(&whole)) {
                    return Some((hour, region));
                }
            }
        }
        None
    }

    /// Where the figures of a region stand among the cells of an hour; `None` for facilities.
    pub fn cell_of(&self, node: Node) -> Option<u32> {
        if node == self.unassigned() { Some(self.regions) } else { (node.0 < self.regions).then_some(node.0) }
    }

    /// Puts back the hours that were stored until `now`.
    pub(crate) fn restore_hours(&mut self, now: ProcessingTime, hours: impl Iterator<Item = (i64, PackedHour)>) {
        self.hours.restore(now, hours);
    }

    /// Sum of the readings of all hours of a region.
    pub fn readings(&self, node: Node) -> u64 {
        self.hours(node, i64::MIN).map(|h| u64::from(h.readings)).sum()
    }
}

#[cfg(test)]
#[path = "rollup/history_tests.rs"]
mod history_tests;
