//! The versions of the hours: each says something new, in order of time, and together they are what the log leads to.

use super::{Books, at};
use crate::verify::is_about_content;
use crate::verify::report::Law;
use crate::verify::versions::{Change, Changes, Weights};
use domain::master::RegionIx;
use domain::rollup::{HourCell, KNOWN_EVERY_MS, KnownHour};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// The versions of hours, one after the other.
struct Reader<'a> {
    /// What is in memory and not stored, in order of hour and time.
    fresh: VecDeque<&'a KnownHour>,
    now: i64,
    /// The hour that is being read, and its figures as of the version before.
    hour: Option<i64>,
    known_at: i64,
    figures: HashMap<u32, HourCell>,
    changes: Changes,
    versions: u64,
    /// What the newest version of each hour says.
    newest: BTreeMap<i64, HashMap<u32, HourCell>>,
    wrong: Vec<String>,
}

impl Reader<'_> {
    /// Takes in a stored version; before it what is in memory of earlier hours.
    fn take(&mut self, version: &KnownHour) {
        while let Some(first) =
            self.fresh.front().filter(|fresh| (fresh.hour, fresh.known_at) <= (version.hour, version.known_at))
        {
            let first = *first;
            self.fresh.pop_front();
            self.read(first);
        }
        self.read(version);
    }

    fn end(&mut self) {
        while let Some(fresh) = self.fresh.pop_front() {
            self.read(fresh);
        }
        self.end_hour();
    }

    fn end_hour(&mut self) {
        if let Some(hour) = self.hour.take() {
            self.newest.insert(hour, std::mem::take(&mut self.figures));
        }
    }

    fn read(&mut self, version: &KnownHour) {
        let KnownHour { known_at, hour, cells } = version;
        if self.hour != Some(*hour) {
            self.end_hour();
            (self.hour, self.known_at) = (Some(*hour), i64::MIN);
        }
        self.versions += 1;
        let name = || format!("hour from {} as known at {}", at(*hour), at(*known_at));
        if known_at.rem_euclid(KNOWN_EVERY_MS) != 0 || *known_at <= self.known_at || *known_at > self.now {
            self.wrong.push(format!("{}: that is no time at which it became known, after {}", name(), at(self.known_at)));
        }
        self.known_at = *known_at;
        let change = self.changes.entry((*hour, *known_at)).or_default();
        let mut is_said = BTreeSet::new();
        for (region, cell) in cells {
            let before = self.figures.insert(*region, *cell).unwrap_or_default();
            match grown(&before, cell) {
                Some(by) if *cell != before && is_said.insert(*region) => {
                    change.add(Weights::of(*region as usize), &by, *region == 0);
                }
                _ => self.wrong.push(format!("{}: region {region} goes from {before:?} to {cell:?}", name())),
            }
        }
    }
}

/// By how much figures grew; `None` where one of them shrank.
fn grown(before: &HourCell, cell: &HourCell) -> Option<HourCell> {
    Some(HourCell {
        windows: cell.windows.checked_sub(before.windows)?,
        low: cell.low.checked_sub(before.low)?,
        high: cell.high.checked_sub(before.high)?,
        readings: cell.readings.checked_sub(before.readings)?,
        late: cell.late.checked_sub(before.late)?,
        late_low: cell.late_low.checked_sub(before.late_low)?,
        late_high: cell.late_high.checked_sub(before.late_high)?,
    })
}

impl Books<'_> {
    /// What is known of the hours when, against what `expected` of the log leads to, where that can be told; once the windows of all
    /// devices are rolled up.
    pub(super) async fn versions(&mut self, expected: Option<&Changes>) -> anyhow::Result<()> {
        let engine = &self.shard.room.engine;
        let mut fresh: Vec<&KnownHour> = engine.known_hours().collect();
        fresh.sort_by_key(|version| (version.hour, version.known_at));
        let mut reader = Reader {
            fresh: fresh.into(),
            now: engine.now().ms(),
            hour: None,
            known_at: i64::MIN,
            figures: HashMap::new(),
            changes: Changes::new(),
            versions: 0,
            newest: BTreeMap::new(),
            wrong: Vec::new(),
        };
        let kept_from = self.forgotten.windows;
        // Of older hours retention may have left some.
        let (partition, all) = (Some(self.log.partition()), (kept_from, i64::MAX));
        let each = |_, version: KnownHour| reader.take(&version);
        match self.subject.store.hour_versions_by_partition(partition, all, i64::MAX, each).await {
            Ok(()) => reader.end(),
            Err(error) if is_about_content(&error) => {
                self.report.breaks(Law::Versions, || error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        // What changed since the last version. Nobody but the roll-ups has to know how it is kept.
        let stale = postcard::to_stdvec(&engine.totals().stale).expect("a map has no type that postcard cannot write");
        let stale: BTreeMap<i64, Vec<u64>> = postcard::from_bytes(&stale)?;
        let is_stale = |hour: i64, region: usize| {
            stale.get(&hour).and_then(|bits| bits.get(region / 64)).is_some_and(|word| word >> (region % 64) & 1 == 1)
        };
        let (now, master) = (reader.now, self.subject.master);
        let Reader { changes, versions, newest, wrong, .. } = reader;
        for words in wrong {
            self.report.breaks(Law::Versions, || words);
        }
        let regions = master.counted_regions();
        let name = |region: u32| {
            if region < regions { master.region(RegionIx(region)).code.as_str() } else { domain::rollup::UNASSIGNED }
        };
        // Most regions are quiet: only those of which anything is said are looked at.
        let hours: BTreeSet<i64> = self.hours.keys().chain(newest.keys()).copied().filter(|hour| *hour >= kept_from).collect();
        for hour in hours {
            let (cells, known) = (self.hours.get(&hour).map_or(&[][..], Vec::as_slice), newest.get(&hour));
            let there = cells.iter().zip(0u32..).filter(|(cell, _)| !cell.is_empty()).map(|(_, region)| region);
            let regions: BTreeSet<u32> = there.chain(known.into_iter().flat_map(HashMap::keys).copied()).collect();
            for region in regions.into_iter().filter(|region| !is_stale(hour, *region as usize)) {
                let expected = cells.get(region as usize).copied().unwrap_or_default();
                let found = known.and_then(|of| of.get(&region)).copied().unwrap_or_default();
                if found != expected {
                    self.report.breaks(Law::Versions, || {
                        let (hour, region) = (at(hour), name(region));
                        format!("hour from {hour}, region {region}: expected {expected:?}; its newest version has {found:?}")
                    });
                }
            }
        }
        if let Some(expected) = expected {
            let kept = |of: &&(i64, i64)| of.0 >= kept_from;
            let due: BTreeSet<&(i64, i64)> =
                expected.keys().filter(|of| of.1 <= now).chain(changes.keys()).filter(kept).collect();
            for key in due {
                let none = Change::default();
                let (expected, found) = (expected.get(key).unwrap_or(&none), changes.get(key).unwrap_or(&none));
                if expected != found {
                    let (hour, known_at) = (at(key.0), at(key.1));
                    self.report.breaks(Law::Versions, || {
                        format!(
                            "hour from {hour} as known at {known_at}: expected a change, in the country, of {:?}; found {:?}{}",
                            expected.country,
                            found.country,
                            if expected.country == found.country { ", and others in its regions" } else { "" }
                        )
                    });
                }
            }
            let unsaid: BTreeSet<i64> = expected.keys().filter(|of| of.1 > now).map(|of| of.0).collect();
            let said: BTreeSet<i64> = stale.keys().copied().collect();
            for hour in unsaid.symmetric_difference(&said) {
                self.report.breaks(Law::Versions, || {
                    format!("hour from {}: whether it changed since its last version is not what the log says", at(*hour))
                });
            }
        }
        let stood = self.stood_versions;
        self.report
            .summarise(Law::Versions, format!("{versions} versions of {} hours, {stood} of how equipment stands", newest.len()));
        Ok(())
    }
}
