//! How equipment stood when: versions of the figures of now, facility by facility.
//!
//! Kept are facilities and not regions: a region is the sum of those below it, a change is one row instead of five, and what several parts of
//! the input know of one facility can be put together.

use super::{Node, Rollup};
use crate::feed::Counts;
use crate::master::FacilityIx;
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
}

/// How the equipment of all facilities stood, by index: versions one after the other. Those that are missing had sent no word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoodThen(BTreeMap<u32, Stood>);

impl StoodThen {
    /// Takes in the next version.
    pub fn take(&mut self, version: &KnownCounts) {
        if version.is_whole {
            self.0.clear();
        }
        self.0.extend(version.facilities.iter().copied());
    }

    /// Adds what another part of the input knows.
    pub fn add(&mut self, other: &Self) {
        for (facility, stood) in &other.0 {
            self.0.entry(*facility).or_default().add(stood);
        }
    }

    /// The facilities of which anything was known.
    pub fn facilities(&self) -> impl Iterator<Item = (u32, Stood)> + '_ {
        self.0.iter().filter(|(_, stood)| **stood != Stood::default()).map(|(facility, stood)| (*facility, *stood))
    }
}

/// What the newest version says, and what may differ from it.
#[derive(Clone, Debug)]
pub(super) struct Said {
    stood: Vec<Stood>,
    changed: Vec<u32>,
    is_changed: Vec<bool>,
}

impl Said {
    /// Nothing, of so many facilities.
    pub fn new(facilities: usize) -> Self {
        Self { stood: vec![Stood::default(); facilities], changed: Vec::new(), is_changed: vec![false; facilities] }
    }

    pub fn mark(&mut self, facility: FacilityIx) {
        if !std::mem::replace(&mut self.is_changed[facility.0 as usize], true) {
            self.changed.push(facility.0);
        }
    }
}

impl Rollup {
    /// Whether something may differ from its newest version.
    pub(crate) fn is_unsaid(&self) -> bool {
        !self.said.changed.is_empty()
    }

    /// How equipment stands, as known at `known_at`: what differs from the version before, or all of it.
    pub(crate) fn take_known_counts(&mut self, known_at: i64, is_whole: bool) -> Option<KnownCounts> {
        let mut changed = std::mem::take(&mut self.said.changed);
        changed.sort_unstable();
        let mut facilities = Vec::new();
        for index in changed {
            let now = Stood::of(&self.counts(self.of_facility(FacilityIx(index))));
            self.said.is_changed[index as usize] = false;
            if std::mem::replace(&mut self.said.stood[index as usize], now) != now {
                facilities.push((index, now));
            }
        }
        if is_whole {
            facilities = (0..).zip(self.said.stood.iter().copied()).filter(|(_, stood)| *stood != Stood::default()).collect();
        }
        (is_whole || !facilities.is_empty()).then_some(KnownCounts { known_at, is_whole, facilities })
    }

    /// Goes on after the version that leaves everything as `then`.
    pub(crate) fn restore_said(&mut self, then: &StoodThen) {
        let mut said = Said::new(self.said.stood.len());
        for (facility, stood) in then.facilities() {
            if let Some(known) = said.stood.get_mut(facility as usize) {
                *known = stood;
            }
        }
        for facility in (0..said.stood.len() as u32).map(FacilityIx) {
            if Stood::of(&self.counts(self.of_facility(facility))) != said.stood[facility.0 as usize] {
                said.mark(facility);
            }
        }
        self.said = said;
    }

    /// The figures of every place as equipment stood `then`, by [`CountsThen::of`].
    pub fn counts_then(&self, then: &StoodThen) -> CountsThen {
        let mut all = vec![Counts::default(); self.counts.len()];
        for (index, facility) in (0..).zip(self.master.facilities()) {
            let devices = facility.sensors.len() as u32;
            let Stood { fine, too_warm, too_cold, freezing } = then.0.get(&index).copied().unwrap_or_default();
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
