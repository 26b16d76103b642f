//! A device in the engine: its state, and what leaves it.

use super::outside::Outside;
use crate::coldchain::Range;
use crate::event::Reading;
use crate::feed::SensorFault;
use crate::join::{Join, Located};
use crate::master::{FacilityIx, SensorIx};
use crate::rollup::{Contribution, HourCell, LateReading, Rollup, StaleHours, Standing};
use crate::sequence::{Sequence, Sequences};
use crate::time::{EventTime, HOUR_MS, ProcessingTime};
use crate::window::{Closing, DeviceWindows, JoinedRun, SessionWindow, Slot, Window, WindowConfig};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::sync::Arc;

/// A window that can no longer change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedWindow {
    /// Index of the device.
    pub device: u32,
    /// Index of the definition.
    pub definition: u8,
    /// The window.
    pub window: Window,
}

/// What is kept of a sliding window or a session that can no longer change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedDerived {
    /// Index of the device.
    pub device: u32,
    /// What is kept.
    pub derived: Derived,
}

/// A part of a derived window's result that does not follow from tumbling windows. The definition is named by its lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Derived {
    /// How many records joined sliding windows after they had fired.
    Joined {
        /// Length of the windows in milliseconds.
        size_ms: i64,
        /// From one start to the next, in milliseconds.
        slide_ms: i64,
        /// Which windows, and how many.
        run: JoinedRun,
    },
    /// A session, or the last version of one that became part of another.
    Session {
        /// The silence that ends it, in milliseconds.
        gap_ms: i64,
        /// The session.
        session: SessionWindow,
    },
    /// Where a reading was taken, or that nobody knows.
    Located(Located),
}

impl Derived {
    /// The event time that it is about: [start, end).
    pub const fn span(&self) -> (i64, i64) {
        match self {
            Derived::Joined { run, .. } => (run.from, run.to),
            Derived::Session { session, .. } => (session.start, session.end),
            Derived::Located(located) => (located.at.ms(), located.at.ms() + 1),
        }
    }
}

/// What of a device a checkpoint holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Its id.
    pub id: CompactString,
    /// Its windows and watermark.
    pub windows: DeviceWindows,
    /// The newest reading by event time.
    pub latest: Option<Reading>,
    /// The excursion that reading is part of.
    pub outside: Option<Box<Outside>>,
    /// Time of the newest reading in range.
    pub fine_at: Option<EventTime>,
    /// The newest sensor fault after it.
    pub fault: Option<SensorFault>,
    /// When its newest record came in.
    pub received_at: Option<ProcessingTime>,
    /// The newest window of the shortest definition that left memory when none that has fired stayed.
    pub newest_closed: Option<Box<Window>>,
    /// What few devices have: apart, so that most need no more than a word for it.
    pub extra: Option<Box<Extra>>,
}

/// What few devices have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    /// Running numbers of a device that counts its records.
    pub sequences: Sequences,
    /// Readings and fixes of a device that travels with a tracker.
    pub join: Option<Join>,
}

impl DeviceState {
    /// What a reading says of the excursion. What is older than one in range was another one, and is over.
    pub(super) fn note_condition(&mut self, reading: &Reading, range: Range) {
        if !range.condition(reading.temperature).is_excursion() {
            self.fine_at = self.fine_at.max(Some(reading.at));
            if self.outside.as_mut().is_some_and(|outside| !outside.end_before(reading.at)) {
                self.outside = None;
            }
        } else if self.fine_at.is_none_or(|fine| reading.at >= fine) {
            self.outside.get_or_insert_default().add(reading.at, reading.temperature, range);
        }
    }

    pub(super) fn has_seen(&self, sequence: Sequence) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.sequences.has_seen(sequence))
    }
}

/// Results on their way to the store: what came since the last checkpoint was cut, and what that one took along.
#[derive(Clone, Debug)]
pub(super) struct Handed<T> {
    pub new: Vec<T>,
    taken: Arc<Vec<T>>,
}

impl<T> Default for Handed<T> {
    fn default() -> Self {
        Self { new: Vec::new(), taken: Arc::default() }
    }
}

impl<T> Handed<T> {
    pub fn take(&mut self) -> Arc<Vec<T>> {
        self.taken = Arc::new(std::mem::take(&mut self.new));
        Arc::clone(&self.taken)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.taken.iter().chain(&self.new)
    }
}

/// What came too late, by the start of its hour.
type Waiting = SmallVec<[(i64, HourCell); 2]>;

/// Hours of late readings of one device that wait to be rolled up, at most.
const UNROLLED_LATE: usize = 8;

/// A device as the engine has it: what is stored of it, what the master data say, and how far others follow it.
// It begins where a line of a processor's cache does, so that it lies in as few of them as it can.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Device {
    pub state: DeviceState,
    pub sensor: Option<SensorIx>,
    pub facility: Option<FacilityIx>,
    pub range: Range,
    pub slot: Slot,
    pub is_refrigerator: bool,
    /// What the roll-ups hold of it.
    pub standing: Standing,
    /// Windows that the roll-ups are behind on: start, and what they hold of it.
    pub unrolled: SmallVec<[(i64, Contribution); 1]>,
    /// What came too late and no hour holds yet, by the start of its hour: what comes late seldom comes alone, and a change of an hour that
    /// hardly changes any more is dear. At most [`UNROLLED_LATE`] of them.
    pub unrolled_late: Option<Box<Waiting>>,
    /// Roll-ups are behind its state.
    pub is_dirty: bool,
    /// The last checkpoint is behind its state.
    pub is_changed: bool,
    /// The instant of its entry in `deadlines`.
    pub queued_at: Option<i64>,
}

impl Device {
    /// Reads a little of every part of it, so that the memory of many devices is on its way at once. The answer means nothing.
    pub fn warm(&self) -> i64 {
        let state = &self.state;
        let times = [
            state.windows.newest(),
            state.latest.map(|reading| reading.at.ms()),
            state.fine_at.map(EventTime::ms),
            state.fault.map(|fault| fault.at.ms()),
            state.received_at.map(ProcessingTime::ms),
            self.unrolled.first().map(|(start, _)| *start),
            self.queued_at,
        ];
        times.into_iter().flatten().fold(0, |a, b| a ^ b)
    }

    /// What its window that starts at `start` adds to the roll-ups; nothing where it is not in memory.
    pub fn contribution(&self, config: &WindowConfig, definition: usize, start: i64) -> Contribution {
        let aggregate = self.state.windows.aggregate(config, definition, start);
        aggregate.map_or_else(Contribution::default, |a| Contribution::of(a, self.range))
    }

    /// Puts what came too late to the rest that no hour holds yet; says whether there was room for it.
    pub fn note_late(&mut self, late: &LateReading) -> bool {
        let hour = late.start - late.start.rem_euclid(HOUR_MS);
        let waiting = self.unrolled_late.get_or_insert_default();
        if let Some((_, adds)) = waiting.iter_mut().find(|(start, _)| *start == hour) {
            adds.add(&late.adds);
        } else if waiting.len() < UNROLLED_LATE {
            waiting.push((hour, late.adds));
        } else {
            return false;
        }
        true
    }

    /// Takes note of windows that have just left memory.
    pub fn note_closed(
        &mut self,
        config: &WindowConfig,
        roll_definition: usize,
        closed: &[ClosedWindow],
        rollup: &mut Rollup,
        stale: &mut StaleHours,
    ) {
        for ClosedWindow { definition, window, .. } in closed {
            if usize::from(*definition) == roll_definition
                && let Some(at) = self.unrolled.iter().position(|(start, _)| *start == window.start)
            {
                let (start, rolled) = self.unrolled.swap_remove(at);
                let now = Contribution::of(&window.aggregate, self.range);
                rollup.roll(self.facility, start, rolled, now, stale);
            }
        }
        if !self.state.windows.has_fired_ahead(config, 0) {
            let of_shortest = closed.iter().filter(|c| c.definition == 0).map(|c| c.window);
            let known = self.state.newest_closed.as_deref().copied();
            self.state.newest_closed = of_shortest.chain(known).max_by_key(|w| w.start).map(Box::new);
        }
    }
}

/// Takes what leaves the windows of one device.
pub(super) struct Leaving<'e> {
    pub device: u32,
    pub config: &'e WindowConfig,
    pub closed: &'e mut Vec<ClosedWindow>,
    pub derived: &'e mut Vec<ClosedDerived>,
}

impl Closing for Leaving<'_> {
    fn window(&mut self, definition: usize, window: Window) {
        self.closed.push(ClosedWindow { device: self.device, definition: definition as u8, window });
    }

    fn joined(&mut self, definition: usize, run: JoinedRun) {
        let of = self.config.sliding()[definition];
        let derived = Derived::Joined { size_ms: of.size_ms, slide_ms: of.slide_ms, run };
        self.derived.push(ClosedDerived { device: self.device, derived });
    }

    fn session(&mut self, definition: usize, session: SessionWindow) {
        let derived = Derived::Session { gap_ms: self.config.sessions()[definition].gap_ms, session };
        self.derived.push(ClosedDerived { device: self.device, derived });
    }
}

/// Takes readings of the device of that index that found their place.
pub(super) fn settle_to(derived: &mut Vec<ClosedDerived>, device: u32) -> impl FnMut(Located) {
    move |located| derived.push(ClosedDerived { device, derived: Derived::Located(located) })
}

/// Brings the hours up to what the windows of `device` hold.
pub(super) fn roll_up(
    device: &mut Device,
    config: &WindowConfig,
    rollup: &mut Rollup,
    roll_definition: usize,
    stale: &mut StaleHours,
) {
    for (start, rolled) in std::mem::take(&mut device.unrolled) {
        rollup.roll(device.facility, start, rolled, device.contribution(config, roll_definition, start), stale);
    }
    for (start, adds) in device.unrolled_late.take().into_iter().flat_map(|waiting| *waiting) {
        rollup.roll_late(device.facility, start, &adds, stale);
    }
}
