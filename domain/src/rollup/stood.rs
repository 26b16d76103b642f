//! How equipment stood when: versions of the figures of now, facility by facility.
//!
//! Kept are facilities and not regions: a region is the sum of those below it, a change is one row instead of five, and what several parts of
//! the input know of one facility can be put together. For the same reason the histogram is kept device by device: where one stands in it.

use super::{Node, Rollup};
use crate::feed::{Counts, HISTOGRAM_COLUMNS};
use crate::master::{FacilityIx, SensorIx};
use crate::planted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many devices of a facility stood in which condition. The others had sent no word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    /// In range with fresh data.
    pub fine: u32,
    /// Above range.
    pub too_warm: u32,
    /// Below range, above freezing.
    pub too_cold: u32,
    /// At or below 0 °C where nothing may freeze.
    pub freezing: u32,
}

impl Stood {
    fn of(counts: &Counts) -> Self {
        let Counts { fine, too_warm, too_cold, freezing, .. } = *counts;
        Self { fine, too_warm, too_cold, freezing }
    }

    /// Adds what another part of the input knows.
    pub fn add(&mut self, other: &Self) {
        self.fine += other.fine;
        self.too_warm += other.too_warm;
        self.too_cold += other.too_cold;
        self.freezing += other.freezing;
    }
}

/// What changed of how equipment stands within a stretch of the log's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownCounts {
    /// It follows from exactly the records received before this instant, as of it; a multiple of [`super::KNOWN_EVERY_MS`].
    pub known_at: i64,
    /// Every facility of which anything is known is named, as once a day: nobody has to read what came before.
    pub is_whole: bool,
    /// The changed facilities by index.
    pub facilities: Vec<(u32, Stood)>,
    /// The registered devices, by index, that stand in another column of the histogram, with it: [`NO_COLUMN`] where they left it.
    pub columns: Vec<(u32, u8)>,
}

/// In place of a column: a device that is no refrigerator, or of which nothing is known.
pub const NO_COLUMN: u8 = HISTOGRAM_COLUMNS as u8;

/// How the equipment of all facilities stood, by index: versions one after the other. Those that are missing had sent no word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoodThen {
    facilities: BTreeMap<u32, Stood>,
    /// By index of the device; those behind the end are in no column.
    columns: Vec<u8>,
    /// What other parts of the input know: one that was heard of under two partitions within an hour counts in both.
    beside: Vec<(u32, u8)>,
}

impl StoodThen {
    /// Takes in the next version.
    pub fn take(&mut self, version: &KnownCounts) {
        if version.is_whole {
            self.facilities.clear();
            self.columns.clear();
        }
        self.facilities.extend(version.facilities.iter().copied());
        for (device, column) in &version.columns {
            let device = *device as usize;
            if device >= self.columns.len() {
                self.columns.resize(device + 1, NO_COLUMN);
            }
            self.columns[device] = *column;
        }
    }

    /// Adds what another part of the input knows.
    pub fn add(&mut self, other: &Self) {
        for (facility, stood) in &other.facilities {
            self.facilities.entry(*facility).or_default().add(stood);
        }
        self.beside.extend(other.columns());
    }

    /// The facilities of which anything was known.
    pub fn facilities(&self) -> impl Iterator<Item = (u32, Stood)> + '_ {
        self.facilities.iter().filter(|(_, stood)| **stood != Stood::default()).map(|(facility, stood)| (*facility, *stood))
    }

    /// The devices that stood in a column of the histogram, and in which.
    pub fn columns(&self) -> impl Iterator<Item = (u32, u8)> + '_ {
        let own = (0..).zip(self.columns.iter().copied()).filter(|(_, column)| *column != NO_COLUMN);
        own.chain(self.beside.iter().copied())
    }
}

/// What the newest version says, and what may differ from it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    facilities: Values<Stood>,
    columns: Values<u8>,
}

/// What it says of each of a kind, by index.
#[derive(Clone, Debug)]
struct Values<T> {
    said: Vec<T>,
    changed: Vec<u32>,
    is_changed: Vec<bool>,
}

impl<T: Copy + PartialEq> Values<T> {
    fn new(count: usize, nothing: T) -> Self {
        Self { said: vec![nothing; count], changed: Vec::new(), is_changed: vec![false; count] }
    }

    fn mark(&mut self, index: u32) {
        if let Some(is_changed) = self.is_changed.get_mut(index as usize)
            && !std::mem::replace(is_changed, true)
        {
            self.changed.push(index);
        }
    }

    /// What differs from what was said; that is said now.
    fn take(&mut self, now: impl Fn(u32) -> T) -> Vec<(u32, T)> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        let mut taken = Vec::new();
        for index in changed {
            let (value, at) = (now(index), index as usize);
            self.is_changed[at] = false;
            if std::mem::replace(&mut self.said[at], value) != value {
                taken.push((index, value));
            }
        }
        taken
    }

    /// All that was said but `nothing`.
    fn all_but(&self, nothing: T) -> Vec<(u32, T)> {
        (0..).zip(self.said.iter().copied()).filter(|(_, value)| *value != nothing).collect()
    }

    /// `then` was said; what is otherwise now differs.
    fn restore(&mut self, then: impl Iterator<Item = (u32, T)>, now: impl Fn(u32) -> T) {
        for (index, value) in then {
            if let Some(said) = self.said.get_mut(index as usize) {
                *said = value;
            }
        }
        for index in 0..self.said.len() as u32 {
            if now(index) != self.said[index as usize] {
                self.mark(index);
            }
        }
    }
}

impl Said {
    /// Nothing, of so many facilities and registered devices.
    pub fn new(facilities: usize, devices: usize) -> Self {
        Self { facilities: Values::new(facilities, Stood::default()), columns: Values::new(devices, NO_COLUMN) }
    }

    pub fn mark_facility(&mut self, facility: FacilityIx) {
        self.facilities.mark(facility.0);
    }

    pub fn mark_device(&mut self, device: SensorIx) {
        self.columns.mark(device.0);
    }
}

impl Rollup {
    /// Whether something may differ from its newest version.
    pub(crate) fn is_unsaid(&self) -> bool {
        !self.said.facilities.changed.is_empty() || !self.said.columns.changed.is_empty()
    }

    /// How equipment stands, as known at `known_at`: what differs from the version before, or all of it.
    pub(crate) fn take_known_counts(&mut self, known_at: i64, is_whole: bool) -> Option<KnownCounts> {
        let Self { said, counts, columns, regions, .. } = self;
        let mut facilities = said.facilities.take(|index| Stood::of(&counts[(*regions + index) as usize]));
        let mut changed = said.columns.take(|index| columns[index as usize]);
        if is_whole {
            facilities = said.facilities.all_but(Stood::default());
            changed = said.columns.all_but(NO_COLUMN);
        }
        let says_something = is_whole || !facilities.is_empty() || !changed.is_empty();
        says_something.then_some(KnownCounts { known_at, is_whole, facilities, columns: changed })
    }

    /// Goes on after the version that leaves everything as `then`.
    pub(crate) fn restore_said(&mut self, then: &StoodThen) {
        let mut said = Said::new(self.master.facilities().len(), self.columns.len());
        said.facilities.restore(then.facilities(), |index| Stood::of(&self.counts(self.of_facility(FacilityIx(index)))));
        said.columns.restore(then.columns(), |index| self.columns[index as usize]);
        self.said = said;
    }

    /// The figures of every place as equipment stood `then`, by [`CountsThen::of`].
    pub fn counts_then(&self, then: &StoodThen) -> CountsThen {
        let mut all = vec![Counts::default(); self.counts.len()];
        for (index, facility) in (0..).zip(self.master.facilities()) {
            let devices = facility.sensors.len() as u32;
            let Stood { fine, too_warm, too_cold, freezing } = then.facilities.get(&index).copied().unwrap_or_default();
            let reporting = fine + too_warm + too_cold + freezing;
            for node in self.path(Some(FacilityIx(index))) {
                let counts = &mut all[node.0 as usize];
                counts.devices += devices;
                counts.fine += fine;
                counts.too_warm += too_warm;
                counts.too_cold += too_cold;
                counts.freezing += freezing;
                // One that was heard of under two partitions within an hour counts in both.
                counts.no_word += devices.saturating_sub(reporting);
                counts.facilities += u32::from(devices > 0);
                counts.facilities_reporting += u32::from(reporting > 0);
            }
        }
        CountsThen(all)
    }

    /// The histogram of a place as equipment stood `then`; empty for facilities, as [`Rollup::histogram`] is.
    pub fn histogram_then(&self, node: Node, then: &StoodThen) -> Vec<u32> {
        let mut histogram = self.histogram(node).to_vec();
        if planted("histogram-as-known-is-that-of-now") {
            return histogram;
        }
        histogram.fill(0);
        for (device, column) in then.columns() {
            let Some(sensor) = self.master.sensors().get(device as usize) else { continue };
            if let Some(count) = histogram.get_mut(usize::from(column))
                && self.path(Some(sensor.facility)).any(|place| place == node)
            {
                *count += 1;
            }
        }
        histogram
    }
}

/// The figures of every place as equipment stood at some instant.
#[derive(Clone, Debug)]
pub struct CountsThen(Vec<Counts>);

impl CountsThen {
    /// Those of a place.
    pub fn of(&self, node: Node) -> Counts {
        self.0[node.0 as usize]
    }
}
