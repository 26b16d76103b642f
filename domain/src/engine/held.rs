//! What windows hold, against what hours count: law C2 hour by hour.

use super::Engine;
use crate::time::HOUR_MS;
use std::collections::BTreeMap;

/// The readings in the windows of each size that lie in one place, by the hour in which the windows start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadingsHeld {
    /// Only of hours that start at or after this instant.
    from: i64,
    by_hour: BTreeMap<(i64, i64), u64>,
}

impl ReadingsHeld {
    /// Of the whole hours from `from` on; none yet.
    pub fn since(from: i64) -> Self {
        Self { from: from + (-from).rem_euclid(HOUR_MS), by_hour: BTreeMap::new() }
    }

    /// The first instant of the hours that count here, in milliseconds since 1970.
    pub const fn from(&self) -> i64 {
        self.from
    }

    /// Adds windows of `size_ms`, each given by its start and its readings: quick where many of one hour follow each other.
    pub fn add(&mut self, size_ms: i64, windows: impl Iterator<Item = (i64, u32)>) {
        let from = self.from;
        let (mut hour, mut sum) = (from, 0);
        for (start, readings) in windows.filter(|(start, _)| *start >= from) {
            if !(hour..hour + HOUR_MS).contains(&start) {
                self.put(size_ms, hour, std::mem::take(&mut sum));
                hour = start - start.rem_euclid(HOUR_MS);
            }
            sum += u64::from(readings);
        }
        self.put(size_ms, hour, sum);
    }

    fn put(&mut self, size_ms: i64, hour: i64, readings: u64) {
        if readings > 0 {
            *self.by_hour.entry((size_ms, hour)).or_default() += readings;
        }
    }
}

/// An hour in which windows do not hold the readings that the country counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnevenHour {
    /// Its start, in milliseconds since 1970.
    pub hour: i64,
    /// The size of the windows, in milliseconds.
    pub size_ms: i64,
    /// Readings of that hour by the figures of the country.
    pub counted: u64,
    /// Those that windows hold.
    pub held: u64,
}

impl Engine {
    /// The first hour, of those that `closed` is about, in which the windows of a size do not hold as many readings as the country counts
    /// (C2): the closed ones, and the open ones that this engine has. Hours are counted by one of the sizes; of the others only those can
    /// be compared whose windows, as those of that one, never reach from one hour into the next.
    pub fn first_uneven_hour(&self, mut closed: ReadingsHeld) -> Option<UnevenHour> {
        let (windows, from) = (&self.config.windows, closed.from);
        let counted_by = windows.definitions()[self.roll_definition].size_ms;
        let country = self.rollup.of_region(self.master.country());
        let cells = country.into_iter().flat_map(|country| self.rollup.cells(country, from));
        let counted: BTreeMap<i64, u64> = cells.map(|(hour, cell)| (hour, u64::from(cell.readings))).collect();
        for (index, definition) in windows.definitions().iter().enumerate() {
            let size_ms = definition.size_ms;
            if size_ms != counted_by && HOUR_MS % size_ms + HOUR_MS % counted_by != 0 {
                continue;
            }
            for device in &self.devices {
                closed.add(size_ms, device.state.windows.windows(windows, index).map(|w| (w.start, w.aggregate.count)));
            }
            let held = |hour: i64| closed.by_hour.get(&(size_ms, hour)).copied().unwrap_or(0);
            let of_size = closed.by_hour.range((size_ms, i64::MIN)..=(size_ms, i64::MAX)).map(|((_, hour), _)| *hour);
            let hours = counted.keys().copied().chain(of_size);
            let uneven = |hour: i64| {
                let counted = counted.get(&hour).copied().unwrap_or(0);
                (counted != held(hour)).then(|| UnevenHour { hour, size_ms, counted, held: held(hour) })
            };
            if let Some(first) = hours.filter_map(uneven).min_by_key(|uneven| uneven.hour) {
                return Some(first);
            }
        }
        None
    }
}
