//! Windows as they are read back: those in memory and those in the store as one, a bounded number at a time.

use super::order::Devices;
use super::{EngineBackend, ReadError};
use crate::http::Problem;
use domain::window::{SessionDefinition, SlidingDefinition, Window};
use hashbrown::HashMap;
use std::sync::Arc;

/// Windows that an export holds at once.
pub const EXPORT_ROWS: usize = 50_000;
/// Devices of the first step of an export; further steps follow from how many windows it found.
const FIRST_STEP: usize = 64;
/// A step is at most so many times the one before it.
const GROWTH: usize = 8;

/// Windows with the place of their device in a list, in order of place and start, each once.
pub type Placed = Vec<(u32, Window)>;

/// A window with the place of its device in a list, and its end.
pub type Row = (u32, Window, i64);

/// A tumbling definition's number and its size in milliseconds.
pub type Definition = (u8, i64);

/// Which windows, with the number of their definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Tumbling ones.
    Tumbling(Definition),
    /// Sliding ones.
    Sliding(usize, SlidingDefinition),
    /// Sessions.
    Session(usize, SessionDefinition),
}

/// Places in a list of devices, by how the store names them.
type Stored = HashMap<(Option<u32>, u32), u32>;

impl EngineBackend {
    /// The windows of `devices` (indices) that start in [from, to); a window's place is that of its device in `devices`.
    pub(super) async fn read_windows(
        &self,
        definition: Definition,
        devices: Vec<u32>,
        from: i64,
        to: i64,
    ) -> Result<Placed, ReadError> {
        if devices.is_empty() {
            return Ok(Placed::new());
        }
        let places: Arc<HashMap<u32, u32>> = Arc::new(devices.iter().copied().zip(0..).collect());
        // What is in memory first, what is stored second: a checkpoint in between shows a window twice, never not at all.
        let wanted = Arc::clone(&places);
        let in_memory = self.pipeline.ask(move |room| {
            let mut found = Placed::new();
            let mut put = |place: u32, window: &Window| {
                if (from..to).contains(&window.start) {
                    found.push((place, *window));
                }
            };
            for closed in room.closed_windows().filter(|closed| closed.definition == definition.0) {
                if let Some(place) = wanted.get(&closed.device) {
                    put(*place, &closed.window);
                }
            }
            let config = &room.engine.config().windows;
            for (device, place) in devices.iter().zip(0..) {
                let open = &room.engine.device_state(*device).windows;
                open.windows(config, usize::from(definition.0)).for_each(|window| put(place, &window));
            }
            let stored: Stored = devices.iter().map(|device| room.stored_as(*device)).zip(0..).collect();
            (found, stored)
        });
        let (mut found, stored) = in_memory.await?;
        let indices = || stored.keys().map(|(_, index)| *index);
        let span = (indices().min().unwrap_or_default(), indices().max().unwrap_or_default());
        let store = self.store.windows_by_partition(definition, None, span, from, to, |partition, closed| {
            let place = stored.get(&(None, closed.device)).or_else(|| stored.get(&(Some(partition), closed.device)));
            if let Some(place) = place {
                found.push((*place, closed.window));
            }
        });
        store.await?;
        // Blocks are in order already, so this is a merge; of two alike the one from memory stays.
        found.sort_by_key(|(place, window)| (*place, window.start));
        found.dedup_by_key(|(place, window)| (*place, window.start));
        Ok(found)
    }

    async fn read(&self, kind: Kind, devices: Vec<u32>, from: i64, to: i64) -> Result<Vec<Row>, ReadError> {
        match kind {
            Kind::Tumbling(definition) => {
                let windows = self.read_windows(definition, devices, from, to).await?;
                Ok(windows.into_iter().map(|(place, window)| (place, window, window.start + definition.1)).collect())
            }
            Kind::Sliding(index, of) => self.read_sliding((index, of), devices, from, to).await,
            Kind::Session(index, of) => self.read_sessions((index, of), devices, from, to).await,
        }
    }

    /// A walk over the windows of the device `only`, or of all, that start in [from, to), beginning after the window of device and
    /// start `after`; about `rows` windows a step.
    pub async fn walk(
        self: &Arc<Self>,
        kind: Kind,
        only: Option<String>,
        (from, to): (i64, i64),
        after: Option<(String, i64)>,
        rows: usize,
    ) -> Result<Walk, Problem> {
        let mut devices = match only {
            None => self.order.now(&self.pipeline).await?,
            Some(id) => {
                let found = self.pipeline.ask(move |room| room.engine.device_by_id(&id).map(|index| (id, index)));
                Arc::new(found.await?.into_iter().collect())
            }
        };
        let mut skip = None;
        let mut next = 0;
        if let Some((id, start)) = after {
            next = devices.partition_point(|(other, _)| *other < id);
            if devices.get(next).is_some_and(|(other, _)| *other == id) {
                skip = Some(start);
            }
        }
        if next >= devices.len() {
            devices = Devices::default();
        }
        // A device may have years of windows: a page, or the rest of one, begins with one device.
        let step = if rows < EXPORT_ROWS || skip.is_some() { 1 } else { FIRST_STEP };
        Ok(Walk { backend: Arc::clone(self), kind, from, to, devices, next, skip, rows, step })
    }
}

/// Walks over windows in order of device id and start.
pub struct Walk {
    backend: Arc<EngineBackend>,
    kind: Kind,
    from: i64,
    to: i64,
    devices: Devices,
    /// The first device that is still to come.
    next: usize,
    /// Of that device, windows up to this start were given already.
    skip: Option<i64>,
    /// Windows wanted of a step.
    rows: usize,
    /// Devices of the next step.
    step: usize,
}

/// Windows of some devices.
pub struct Step {
    devices: Devices,
    first: usize,
    windows: Vec<Row>,
}

impl Step {
    /// Each window with the id of its device and its end.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &Window, i64)> {
        self.windows.iter().map(|(place, window, end)| (self.devices[self.first + *place as usize].0.as_str(), window, *end))
    }
}

impl Walk {
    /// The windows of one device that start after `skip`; for a page no more than it needs.
    async fn rest_of(&self, device: Vec<u32>, skip: i64) -> Result<Vec<Row>, ReadError> {
        let from = self.from.max(skip.saturating_add(1));
        if let Kind::Tumbling((_, size_ms)) = self.kind
            && self.rows < EXPORT_ROWS
        {
            // Where readings come as they should, a page of windows lies in as much time.
            let until = from.saturating_add(size_ms.saturating_mul(self.rows as i64 + 1));
            if until < self.to {
                let windows = self.backend.read(self.kind, device.clone(), from, until).await?;
                if windows.len() >= self.rows {
                    return Ok(windows);
                }
            }
        }
        self.backend.read(self.kind, device, from, self.to).await
    }

    /// The windows of the next devices; `None` when there are no more.
    pub async fn next(&mut self) -> Result<Option<Step>, Problem> {
        if self.next >= self.devices.len() {
            return Ok(None);
        }
        let first = self.next;
        self.next = (first + self.step).min(self.devices.len());
        let indices: Vec<u32> = self.devices[first..self.next].iter().map(|(_, index)| *index).collect();
        let count = indices.len();
        let windows = match self.skip {
            None => self.backend.read(self.kind, indices, self.from, self.to).await?,
            Some(skip) => self.rest_of(indices, skip).await?,
        };
        // As many devices as held the wanted number of windows this time.
        self.step = (count * self.rows / windows.len().max(1)).clamp(1, count * GROWTH);
        self.skip = None;
        Ok(Some(Step { devices: Arc::clone(&self.devices), first, windows }))
    }
}
