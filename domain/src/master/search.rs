//! Search by name or code over all master data: one pass over one lower-cased text.

use super::{Facility, FacilityIx, Hit, Region, RegionIx, Sensor, SensorIx};
use std::cmp::Ordering;

/// Words before a name that tell what it is, not which one.
const KIND_WORDS: [&str; 9] = ["kab. ", "kota ", "adm. ", "puskesmas ", "rsud ", "rs ", "gudang ", "vaksin ", "provinsi "];

/// Lower-cased names and codes of everything in one text, `\nname\ncode` after `\nname\ncode`, in the order in which equally
/// good hits are shown: regions down to districts, facilities, villages and below, sensors (by id only).
#[derive(Debug)]
pub(super) struct SearchIndex {
    text: String,
    entries: Vec<Entry>,
    /// End in `text` of what a single letter searches.
    short_end: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hit: Hit,
    /// Start in `text`, at the line break before the name.
    start: u32,
    /// Start of the name behind its kind words.
    core: u32,
}

/// How well an entry fits, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Whole,
    Beginning,
    Word,
    Inside,
}

impl SearchIndex {
    pub(super) fn build(regions: &[Region], level_end: &[u32], facilities: &[Facility], sensors: &[Sensor]) -> Self {
        let districts_end = level_end.get(3).or(level_end.last()).map_or(0, |end| *end as usize);
        let regencies_end = level_end.get(2).or(level_end.last()).map_or(0, |end| *end as usize);
        let region = |ix: usize| (Hit::Region(RegionIx(ix as u32)), regions[ix].name.as_str(), regions[ix].code.as_str());
        let all = (0..districts_end)
            .map(region)
            .chain(facilities.iter().zip(0..).map(|(f, ix)| (Hit::Facility(FacilityIx(ix)), f.name.as_str(), f.code.as_str())))
            .chain((districts_end..regions.len()).map(region))
            .chain(sensors.iter().zip(0..).map(|(s, ix)| (Hit::Sensor(SensorIx(ix)), "", s.id.as_str())));
        let mut index = Self {
            text: String::with_capacity(40 * (regions.len() + facilities.len() + sensors.len())),
            entries: Vec::with_capacity(regions.len() + facilities.len() + sensors.len()),
            short_end: 0,
        };
        for (number, (hit, name, code)) in all.enumerate() {
            if number == regencies_end {
                index.short_end = index.text.len();
            }
            let start = index.text.len();
            index.text.push('\n');
            push_lower(&mut index.text, name);
            let mut core = start + 1;
            while let Some(word) = KIND_WORDS.iter().find(|word| index.text[core..].starts_with(**word)) {
                core += word.len();
            }
            if !name.is_empty() {
                index.text.push('\n');
            }
            push_lower(&mut index.text, code);
            index.entries.push(Entry { hit, start: start as u32, core: core as u32 });
        }
        if index.short_end == 0 {
            index.short_end = index.text.len();
        }
        index
    }

    pub(super) fn search(&self, text: &str, limit: usize) -> Vec<Hit> {
        let mut wanted = String::with_capacity(text.len());
        for word in text.split_whitespace() {
            if !wanted.is_empty() {
                wanted.push(' ');
            }
            push_lower(&mut wanted, word);
        }
        // The longest word is the rarest as a rule; entries that hold it are looked at for the others.
        let Some(needle) = wanted.split(' ').max_by_key(|word| word.len()).filter(|word| !word.is_empty() && limit > 0) else {
            return Vec::new();
        };
        let haystack = if wanted.len() == 1 { &self.text[..self.short_end] } else { self.text.as_str() };
        let mut best: Vec<(Fit, u32)> = Vec::with_capacity(limit + 1);
        let mut entry = 0;
        let mut taken = usize::MAX;
        for (at, _) in haystack.match_indices(needle) {
            while self.entries.get(entry + 1).is_some_and(|next| next.start as usize <= at) {
                entry += 1;
            }
            if entry == taken {
                continue;
            }
            // Most places of a short word fit no better than what is there already: not worth looking at the whole entry.
            let worst = if best.len() == limit { best.last().map(|(fit, _)| *fit) } else { None };
            if needle == wanted && worst.is_some_and(|worst| self.fit_at(entry, at, needle.len()) >= worst) {
                continue;
            }
            taken = entry;
            let Some(fit) = self.fit(entry, &wanted) else { continue };
            // Entries come in the order of equals, so a newcomer goes behind those that fit as well.
            let place = best.partition_point(|(other, _)| other.cmp(&fit) != Ordering::Greater);
            if place < limit {
                best.truncate(limit - 1);
                best.insert(place, (fit, entry as u32));
            }
        }
        best.into_iter().map(|(_, entry)| self.entries[entry as usize].hit).collect()
    }

    /// How well a text fits an entry that is found at `at` and is `length` bytes long.
    fn fit_at(&self, number: usize, at: usize, length: usize) -> Fit {
        let bytes = self.text.as_bytes();
        let (before, after) = (bytes[at - 1], bytes.get(at + length).copied().unwrap_or(b'\n'));
        match (before == b'\n' || at == self.entries[number].core as usize, after) {
            (true, b'\n') => Fit::Whole,
            (true, _) => Fit::Beginning,
            _ if is_boundary(before) => Fit::Word,
            _ => Fit::Inside,
        }
    }

    /// How well `wanted` (lower case, single spaces) fits an entry; none where a word of it is missing.
    fn fit(&self, number: usize, wanted: &str) -> Option<Fit> {
        let entry = self.entries[number];
        let end = self.entries.get(number + 1).map_or(self.text.len(), |next| next.start as usize);
        let whole = &self.text[entry.start as usize..end];
        let mut fit = None;
        for (at, _) in whole.match_indices(wanted) {
            let here = self.fit_at(number, entry.start as usize + at, wanted.len());
            fit = Some(fit.map_or(here, |other: Fit| other.min(here)));
        }
        if fit.is_some() || !wanted.contains(' ') {
            return fit;
        }
        wanted.split(' ').try_fold(Fit::Word, |worst, word| {
            let places = whole.match_indices(word).map(|(at, _)| is_boundary(whole.as_bytes()[at - 1]));
            let best = places.reduce(|a, b| a || b)?;
            Some(if best { worst } else { Fit::Inside })
        })
    }
}

fn is_boundary(before: u8) -> bool {
    !before.is_ascii_alphanumeric() && before.is_ascii()
}

fn push_lower(text: &mut String, name: &str) {
    if name.is_ascii() {
        text.extend(name.chars().map(|c| if c == '\n' { ' ' } else { c.to_ascii_lowercase() }));
    } else {
        text.extend(name.chars().filter(|c| *c != '\n').flat_map(char::to_lowercase));
    }
}
