//! How equipment stood when: how that changed from version to version, from what the log leads to, and from the versions that are stored.
//!
//! As with hours only a sum is kept of all changes of an instant, in which every facility and condition has a weight of its own, and every
//! device and column of the histogram.

use super::versions::known_at;
use domain::coldchain::{Condition, Range};
use domain::milli::Milli;
use domain::rollup::{KNOWN_EVERY_MS, KnownCounts, NO_COLUMN, Stood};
use std::collections::{BTreeMap, BTreeSet};

/// By the instant as of which it is known: the sum of what changed.
pub type Changes = BTreeMap<i64, u64>;

/// The weight of a device of the facility of that index in a condition. One of which there is no word counts nothing.
fn weight(facility: u32, condition: Condition) -> u64 {
    if condition == Condition::NoWord { 0 } else { mixed(u64::from(facility) * 4 + u64::from(condition as u8) + 1) }
}

/// The weight of the device of that index in a column of the histogram.
fn weight_in_column(device: u32, column: Option<u8>) -> u64 {
    column.map_or(0, |column| mixed(1 << 40 | u64::from(device) << 8 | u64::from(column)))
}

/// The column of the histogram for a temperature: how many of its edges, from −2 °C to 12 °C, it has reached.
fn column_of(temperature: Milli) -> u8 {
    (-2_000..=12_000).step_by(500).filter(|edge| temperature.0 >= *edge).count() as u8
}

/// Counter-based randomness (splitmix64).
fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One device of a facility.
#[derive(Clone, Copy, Debug)]
pub struct Stander {
    /// Its index.
    pub device: u32,
    /// Whether it stands in histograms.
    pub is_refrigerator: bool,
    /// Index of its facility.
    pub facility: u32,
    /// What it has to keep.
    pub range: Range,
    /// After how long without a reading nothing is known of it.
    pub silent_after: i64,
}

/// What is known of it by versions so far.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    condition: Condition,
    /// Its column of the histogram.
    column: Option<u8>,
    /// The first instant at which it may be another.
    next: i64,
}

impl Known {
    /// Nothing, before the first reading, which came in at `now`.
    pub fn before(now: i64) -> Self {
        Self { condition: Condition::NoWord, column: None, next: known_at(now) }
    }

    /// All that came in before `until`, and until then nothing newer than `latest` (time and temperature).
    pub fn pass(&mut self, of: &Stander, latest: Option<domain::event::Reading>, until: i64, changes: &mut Changes) {
        let Some(latest) = latest else { return };
        let silent = latest.at.ms() + of.silent_after;
        // The first instant as of which it is silent.
        let silent = (silent + KNOWN_EVERY_MS - 1).div_euclid(KNOWN_EVERY_MS) * KNOWN_EVERY_MS;
        let heard = if silent > self.next { of.range.condition(latest.temperature) } else { Condition::NoWord };
        for (at, condition) in [(self.next, heard), (silent.max(self.next), Condition::NoWord)] {
            let is_fresh = of.is_refrigerator && condition != Condition::NoWord;
            let column = is_fresh.then(|| column_of(latest.temperature));
            if at < until && (condition, column) != (self.condition, self.column) {
                let change = changes.entry(at).or_default();
                let now = weight(of.facility, condition).wrapping_add(weight_in_column(of.device, column));
                let before = weight(of.facility, self.condition).wrapping_add(weight_in_column(of.device, self.column));
                *change = change.wrapping_add(now).wrapping_sub(before);
                (self.condition, self.column) = (condition, column);
            }
        }
        self.next = self.next.max(until);
    }
}

/// The stored versions, one after the other.
#[derive(Default)]
pub struct Reader {
    stood: BTreeMap<u32, Stood>,
    columns: BTreeMap<u32, u8>,
    known_at: Option<i64>,
    /// When the first was known.
    pub begins: Option<i64>,
    /// What changed when.
    pub changes: Changes,
    /// How many there are.
    pub versions: u64,
    /// What cannot be.
    pub wrong: Vec<String>,
}

impl Reader {
    /// Takes in the next one, of a log that ends at `now`.
    pub fn read(&mut self, version: &KnownCounts, now: i64) {
        let KnownCounts { known_at, is_whole, facilities, columns } = version;
        let is_in_order = self.known_at.is_none_or(|before| before < *known_at);
        if known_at.rem_euclid(KNOWN_EVERY_MS) != 0 || !is_in_order || *known_at > now {
            self.wrong.push(format!("that is no time at which it became known, after {:?}", self.known_at));
        }
        self.begins = self.begins.or(Some(*known_at));
        self.known_at = Some(*known_at);
        self.versions += 1;
        let before = if *is_whole { std::mem::take(&mut self.stood) } else { BTreeMap::new() };
        let gone = before.iter().filter(|(facility, _)| facilities.iter().all(|(named, _)| named != *facility));
        let gone: Vec<(u32, Stood)> = gone.map(|(facility, _)| (*facility, Stood::default())).collect();
        for (facility, now) in facilities.iter().chain(&gone) {
            let known = if *is_whole { before.get(facility).copied() } else { self.stood.get(facility).copied() };
            let known = known.unwrap_or_default();
            if known == *now && !is_whole {
                self.wrong.push(format!("facility number {facility} stands as before, {known:?}"));
            }
            self.stood.insert(*facility, *now);
            let counts = |of: &Stood| [of.fine, of.too_warm, of.too_cold, of.freezing];
            for ((condition, now), known) in Condition::ALL.into_iter().zip(counts(now)).zip(counts(&known)) {
                let by = u64::from(now).wrapping_sub(u64::from(known)).wrapping_mul(weight(*facility, condition));
                let change = self.changes.entry(*known_at).or_default();
                *change = change.wrapping_add(by);
            }
        }
        self.read_columns(*known_at, *is_whole, columns);
    }

    /// The same of where devices stand in histograms.
    fn read_columns(&mut self, known_at: i64, is_whole: bool, columns: &[(u32, u8)]) {
        let before = if is_whole { std::mem::take(&mut self.columns) } else { BTreeMap::new() };
        let named: BTreeSet<u32> = columns.iter().map(|(device, _)| *device).collect();
        let gone = before.keys().filter(|device| !named.contains(device)).map(|device| (*device, NO_COLUMN));
        let change = self.changes.entry(known_at).or_default();
        for (device, now) in columns.iter().copied().chain(gone) {
            let known = if is_whole { before.get(&device) } else { self.columns.get(&device) };
            let known = known.copied().unwrap_or(NO_COLUMN);
            if known == now && !is_whole {
                self.wrong.push(format!("device number {device} stands in column {now} as before"));
            }
            self.columns.insert(device, now);
            let weight = |column: u8| weight_in_column(device, (column != NO_COLUMN).then_some(column));
            *change = change.wrapping_add(weight(now)).wrapping_sub(weight(known));
        }
    }
}
