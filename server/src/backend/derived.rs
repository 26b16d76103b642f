//! Sliding windows and sessions as they are read back, where readings were taken, and the hours as they were known.

use super::windows::{Placed, Row};
use super::{EngineBackend, ReadError};
use crate::http::Problem;
use crate::pipeline::PARTITION;
use crate::publish::node_of_region;
use crate::store::DerivedKind;
use domain::engine::{ClosedDerived, Derived};
use domain::feed::DeviceMore;
use domain::join::Located;
use domain::rollup::{HourCell, KNOWN_EVERY_MS, KnownHour, PackedHour};
use domain::time::{HOUR_MS, ProcessingTime};
use domain::window::{SessionDefinition, SessionWindow, SlidingDefinition, SlidingView, Window};
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// What the device page of the API tells of where a device is and was.
#[derive(Debug, Default)]
pub struct Whereabouts {
    /// The fix of its newest reading, and the records that are missing by its running numbers.
    pub more: DeviceMore,
    /// Readings that are settled, oldest first.
    pub located: Vec<Located>,
}

/// An hour of a region that changed after it had become final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restatement {
    /// Start of the hour.
    pub hour: i64,
    /// The figures follow from the records received before this instant.
    pub known_at: i64,
    /// As they were.
    pub before: HourCell,
    /// As they are since.
    pub after: HourCell,
}

impl EngineBackend {
    /// The sliding windows of `devices` (indices) that start in [from, to), in order of the place of their device and start.
    pub(super) async fn read_sliding(
        &self,
        (index, of): (usize, SlidingDefinition),
        devices: Vec<u32>,
        from: i64,
        to: i64,
    ) -> Result<Vec<Row>, ReadError> {
        let (Some(first), Some(last)) = (devices.iter().min().copied(), devices.iter().max().copied()) else {
            return Ok(Vec::new());
        };
        let wanted = devices.clone();
        let views = self.pipeline.ask(move |room| {
            let config = &room.engine.config().windows;
            let places: HashMap<u32, usize> = wanted.iter().copied().zip(0..).collect();
            let of_device = |device: &u32| room.engine.device_state(*device).windows.sliding_view(config, index);
            let mut views: Vec<SlidingView> = wanted.iter().map(of_device).collect();
            room.engine.derived().for_each(|closed| note_joined(&mut views, &places, of, closed));
            (views, config.definitions()[of.pane].size_ms)
        });
        let (mut views, pane_ms) = views.await?;
        let places: HashMap<u32, usize> = devices.iter().copied().zip(0..).collect();
        let until = to.saturating_add(of.size_ms);
        let panes: Placed = self.read_windows((of.pane as u8, pane_ms), devices, from, until).await?;
        let stored = self.store.derived(DerivedKind::Joined, (first, last), (from, to), |_, closed| {
            note_joined(&mut views, &places, of, &closed);
        });
        stored.await?;
        // Hours of work for a whole country: not on a thread that others wait for.
        let composed = tokio::task::spawn_blocking(move || {
            let mut rows = Vec::new();
            for own in panes.chunk_by(|a, b| a.0 == b.0) {
                let place = own[0].0;
                let windows = views[place as usize].windows(own.iter().map(|(_, pane)| (pane.start, pane.aggregate)), from, to);
                rows.extend(windows.into_iter().map(|window| (place, window, window.start + of.size_ms)));
            }
            rows
        });
        Ok(composed.await.unwrap_or_default())
    }

    /// The sessions of `devices` that start in [from, to), in order of the place of their device and start.
    pub(super) async fn read_sessions(
        &self,
        (index, of): (usize, SessionDefinition),
        devices: Vec<u32>,
        from: i64,
        to: i64,
    ) -> Result<Vec<Row>, ReadError> {
        let (Some(first), Some(last)) = (devices.iter().min().copied(), devices.iter().max().copied()) else {
            return Ok(Vec::new());
        };
        let places: HashMap<u32, u32> = devices.iter().copied().zip(0..).collect();
        let wanted = places.clone();
        let own = move |closed: &ClosedDerived| match closed.derived {
            Derived::Session { gap_ms, session } if gap_ms == of.gap_ms => Some(session),
            _ => None,
        };
        let in_memory = self.pipeline.ask(move |room| {
            let config = &room.engine.config().windows;
            let mut found: Vec<(u32, SessionWindow)> = Vec::new();
            for closed in room.engine.derived() {
                found.extend(wanted.get(&closed.device).copied().zip(own(closed)));
            }
            for (device, place) in devices.into_iter().zip(0..) {
                let held = room.engine.device_state(device).windows.sessions(config, index);
                found.extend(held.map(|session| (place, session)));
            }
            found
        });
        let mut found = in_memory.await?;
        let stored = self.store.derived(DerivedKind::Session, (first, last), (from, to), |_, closed| {
            found.extend(places.get(&closed.device).copied().zip(own(&closed)));
        });
        stored.await?;
        found.retain(|(_, session)| (from..to).contains(&session.start));
        found.sort_by_key(|(place, session)| (*place, session.start));
        found.dedup_by_key(|(place, session)| (*place, session.start));
        let row = |(place, s): (u32, SessionWindow)| {
            (place, Window { start: s.start, version: s.version, state: s.state, aggregate: s.aggregate }, s.end)
        };
        Ok(found.into_iter().map(row).collect())
    }

    /// Where the readings of a device that lie in [from, to) were taken; `None` where nobody has heard of it.
    pub async fn whereabouts(&self, id: String, from: i64, to: i64) -> Result<Option<Whereabouts>, Problem> {
        let in_memory = self.pipeline.ask(move |room| {
            let engine = &room.engine;
            let index = engine.device_by_id(&id)?;
            let own = engine.derived().filter(|closed| closed.device == index).filter_map(located).collect();
            Some((index, Whereabouts { more: engine.device_more(index), located: own }))
        });
        let Some((index, mut found)) = in_memory.await? else { return Ok(None) };
        let stored = self.store.derived(DerivedKind::Located, (index, index), (from, to), |_, closed| {
            found.located.extend(located(&closed));
        });
        stored.await?;
        found.located.retain(|located| (from..to).contains(&located.at.ms()));
        found.located.sort_unstable();
        found.located.dedup();
        Ok(Some(found))
    }

    /// The figures of the hours of a region that start in [from, to), as they follow from the records received before `known_at`, a
    /// multiple of [`KNOWN_EVERY_MS`]; `None` where there is no region of that code.
    pub async fn hours_as_known_at(
        &self,
        code: String,
        (from, to): (i64, i64),
        known_at: i64,
    ) -> Result<Option<BTreeMap<i64, HourCell>>, Problem> {
        debug_assert_eq!(known_at % KNOWN_EVERY_MS, 0, "versions are made at these instants");
        let in_memory = self.pipeline.ask(move |room| {
            let node = node_of_region(&room.engine, &code)?;
            if room.engine.now() < ProcessingTime::from_ms(known_at) {
                // All that is known was received before: no need to look for versions.
                room.engine.flush();
                let rollup = room.engine.rollup();
                let hours: BTreeMap<i64, HourCell> = rollup.cells(node, from).filter(|(hour, _)| *hour < to).collect();
                return Some(Ok((rollup.cell_of(node), rollup.hours_kept_from(), hours)));
            }
            let cell = room.engine.rollup().cell_of(node)?;
            let wanted = |version: &&KnownHour| version.known_at <= known_at && (from..to).contains(&version.hour);
            Some(Err((cell, room.engine.known_hours().filter(wanted).cloned().collect::<Vec<_>>())))
        });
        let (region, newer) = match in_memory.await? {
            None => return Ok(None),
            Some(Ok((cell, kept_from, mut hours))) => {
                // What is older cannot change any more, and is in the store alone.
                let put = |start: i64, hour: PackedHour| {
                    if let Some(cell) = cell.and_then(|index| hour.cell(index as usize)).filter(|cell| !cell.is_empty()) {
                        hours.entry(start).or_default().add(&cell);
                    }
                };
                self.store.hours(None, (from, to.min(kept_from)), put).await?;
                return Ok(Some(hours));
            }
            Some(Err(versions)) => versions,
        };
        let mut by_partition: BTreeMap<(u32, i64), HourCell> = BTreeMap::new();
        let mut put = |partition: u32, version: &KnownHour| {
            if let Some((_, cell)) = version.cells.iter().find(|(index, _)| *index == region) {
                by_partition.insert((partition, version.hour), *cell);
            }
        };
        let stored_until = if domain::planted("as-known-at-is-as-of-now") { i64::MAX } else { known_at };
        self.store.hour_versions((from, to), stored_until, |partition, version| put(partition, &version)).await?;
        for version in &newer {
            put(PARTITION, version);
        }
        let mut hours: BTreeMap<i64, HourCell> = BTreeMap::new();
        for ((_, hour), cell) in by_partition {
            hours.entry(hour).or_default().add(&cell);
        }
        hours.retain(|_, cell| !cell.is_empty());
        Ok(Some(hours))
    }

    /// What changed of the hours of a region that start in [from, to) after they had become final, oldest first; `None` where there is
    /// no region of that code.
    pub async fn restatements(&self, code: String, (from, to): (i64, i64)) -> Result<Option<Vec<Restatement>>, Problem> {
        let in_memory = self.pipeline.ask(move |room| {
            let region = room.engine.rollup().cell_of(node_of_region(&room.engine, &code)?)?;
            let newer = room.engine.known_hours().filter(|version| (from..to).contains(&version.hour));
            Some((region, newer.cloned().collect::<Vec<_>>()))
        });
        let Some((region, newer)) = in_memory.await? else { return Ok(None) };
        let mut hours = self.store.restated_hours((from, to)).await?;
        hours.extend(newer.iter().filter(|v| is_restated(v.hour, v.known_at)).map(|v| v.hour));
        let mut found = Vec::new();
        for hour in hours {
            let mut versions: BTreeMap<(i64, u32), HourCell> = BTreeMap::new();
            let mut put = |partition: u32, version: &KnownHour| {
                if let Some((_, cell)) = version.cells.iter().find(|(index, _)| *index == region) {
                    versions.insert((version.known_at, partition), *cell);
                }
            };
            self.store.hour_versions((hour, hour + 1), i64::MAX, |partition, version| put(partition, &version)).await?;
            newer.iter().filter(|version| version.hour == hour).for_each(|version| put(PARTITION, version));
            let mut last: BTreeMap<u32, HourCell> = BTreeMap::new();
            for ((known_at, partition), after) in versions {
                let before = last.insert(partition, after).unwrap_or_default();
                if is_restated(hour, known_at) && before != after {
                    found.push(Restatement { hour, known_at, before, after });
                }
            }
        }
        Ok(Some(found))
    }
}

/// Whether figures of an hour known at `known_at` came after it had become final.
pub fn is_restated(hour: i64, known_at: i64) -> bool {
    known_at > hour + HOUR_MS + domain::rollup::FINAL_AFTER_MS
}

fn located(closed: &ClosedDerived) -> Option<Located> {
    match closed.derived {
        Derived::Located(located) => Some(located),
        _ => None,
    }
}

fn note_joined(views: &mut [SlidingView], places: &HashMap<u32, usize>, of: SlidingDefinition, closed: &ClosedDerived) {
    if let Derived::Joined { size_ms, slide_ms, run } = closed.derived
        && (size_ms, slide_ms) == (of.size_ms, of.slide_ms)
        && let Some(place) = places.get(&closed.device)
    {
        views[*place].joined.push(run);
    }
}
