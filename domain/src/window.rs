//! Event-time windows of one device: assignment, firing, lateness and slots (`docs/semantics.md`).
//!
//! Tumbling windows decide everything. Sliding ones are put together from them where somebody asks, see `sliding`; what is kept here
//! is only how many records joined them late. Sessions are kept whole, see `session`.

mod config;
mod gaps;
mod packed;
mod ring;
mod session;
mod sliding;

pub use config::{SessionDefinition, SlidingDefinition, Slot, WindowConfig, WindowConfigError, WindowDefinition};
pub use session::SessionWindow;
pub use sliding::{JoinedRun, SlidingView};

use crate::aggregate::Aggregate;
use crate::event::Reading;
use crate::planted;
use crate::time::{EventTime, ProcessingTime};
use gaps::{Gap, Gaps};
use ring::Ring;
use serde::{Deserialize, Serialize};
use session::Session;
use smallvec::SmallVec;

/// Whether a window's result can still change, and how it came to fire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowState {
    /// Not fired: shown live, never exported as final.
    #[default]
    Provisional,
    /// Fired because its device went silent before the watermark passed its end.
    Incomplete,
    /// Fired because the watermark passed its end.
    Final,
    /// A session that became part of another: its start names none any more.
    Merged,
}

impl WindowState {
    /// The name in the public contract.
    pub const fn name(self) -> &'static str {
        match self {
            WindowState::Provisional => "provisional",
            WindowState::Incomplete => "incomplete",
            WindowState::Final => "final",
            WindowState::Merged => "merged",
        }
    }
}

/// A window of one device and definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Start, inclusive, milliseconds since the Unix epoch; the end is exclusive.
    pub start: i64,
    /// 0 before firing, then 1 + the records accepted after it.
    pub version: u32,
    /// Whether and how it fired.
    pub state: WindowState,
    /// What it holds.
    pub aggregate: Aggregate,
}

/// A window in memory, one cache line long: whether the watermark has passed it follows from M(d), so that firing touches nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(align(64))]
struct Cell {
    start: i64,
    aggregate: Aggregate,
    /// Records accepted after it fired.
    joined_fired: u32,
    /// It fired because its device went silent.
    went_silent: bool,
}

impl Cell {
    /// As it is seen where the watermark of its definition, `size_ms` long, stands at `watermark`.
    fn seen(&self, size_ms: i64, watermark: i64) -> Window {
        let is_passed = watermark >= self.start + size_ms - if planted("window-fires-early") { 1_000 } else { 0 };
        let state = match (is_passed, self.went_silent) {
            (true, _) => WindowState::Final,
            (false, true) => WindowState::Incomplete,
            (false, false) => WindowState::Provisional,
        };
        let version = if state == WindowState::Provisional { 0 } else { 1 + self.joined_fired };
        Window { start: self.start, version, state, aggregate: self.aggregate }
    }
}

/// Takes what leaves a device's windows because it can no longer change. A closure takes tumbling windows alone.
pub trait Closing {
    /// A window of the tumbling definition of that index.
    fn window(&mut self, definition: usize, window: Window);
    /// What records joined windows of the sliding definition of that index after they had fired.
    fn joined(&mut self, _definition: usize, _run: JoinedRun) {}
    /// A session of the session definition of that index, or the last version of one that became part of another.
    fn session(&mut self, _definition: usize, _session: SessionWindow) {}
}

impl<F: FnMut(usize, Window)> Closing for F {
    fn window(&mut self, definition: usize, window: Window) {
        self(definition, window);
    }
}

/// Where a reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Into its window of every definition.
    Accepted,
    /// Into none: the shortest window and its slot were closed.
    Late {
        /// Start of its shortest window.
        window_start: i64,
        /// How far the watermark was past that window's end, in milliseconds.
        lateness_ms: i64,
    },
}

/// What sliding windows and sessions need beyond their panes; nothing for a device without sessions whose records come in time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Beyond {
    /// M(d) when the device last went silent: every sliding window that begins until then has fired.
    silent_newest: Option<i64>,
    /// Per sliding definition how many records joined which windows after they had fired, while that can change.
    joined: SmallVec<[Vec<JoinedRun>; 1]>,
    /// Per session definition the sessions that can still change, oldest first.
    sessions: SmallVec<[Vec<Session>; 1]>,
}

/// All windows of one device, with its watermark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWindows {
    /// M(d): the newest accepted event time; never decreases.
    newest: Option<i64>,
    /// Per definition the windows ahead of M(d) − B0 − L, oldest first.
    #[serde(with = "packed::live")]
    live: SmallVec<[Ring; 2]>,
    /// What lies behind it and is not closed; none for a device that left no slot incomplete.
    gaps: Gaps,
    /// Per definition the windows that a gap keeps open, oldest first.
    held: Box<[Vec<Cell>]>,
    beyond: Option<Box<Beyond>>,
}

fn floor(at: i64, size: i64) -> i64 {
    if planted("slot-of-negative-time") {
        return at / size * size;
    }
    at - at.rem_euclid(size)
}

impl DeviceWindows {
    /// M(d): the newest accepted event time, in milliseconds since the Unix epoch.
    pub const fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// W(d) of a definition.
    fn watermark(&self, definition: WindowDefinition) -> i64 {
        self.newest.map_or(i64::MIN, |newest| newest - definition.delay_ms)
    }

    /// Reads a little of the live windows that [`DeviceWindows::add`] of a reading of `at` will touch, so that the memory of many devices is on
    /// its way at once instead of being waited for one after the other. The answer means nothing, and nobody has judged `at` yet.
    pub(crate) fn warm(&self, config: &WindowConfig, at: EventTime) -> i64 {
        let until = at.plus_ms(-config.definitions[0].delay_ms - config.allowed_lateness_ms).ms();
        self.live.iter().zip(&config.definitions).map(|(live, of)| live.warm(at.ms(), until, of.size_ms)).fold(0, |a, b| a ^ b)
    }

    fn held(&self, definition: usize) -> &[Cell] {
        self.held.get(definition).map_or(&[], Vec::as_slice)
    }

    /// Those of definition `definition` that a gap keeps open, to be added to.
    fn held_mut(&mut self, config: &WindowConfig, definition: usize) -> &mut Vec<Cell> {
        if self.held.len() < config.definitions.len() {
            let mut held = std::mem::take(&mut self.held).into_vec();
            held.resize(config.definitions.len(), Vec::new());
            self.held = held.into();
        }
        &mut self.held[definition]
    }

    /// The windows of definition `definition` still held here, oldest first.
    pub fn windows(&self, config: &WindowConfig, definition: usize) -> impl DoubleEndedIterator<Item = Window> + '_ {
        let of = config.definitions[definition];
        let watermark = self.watermark(of);
        let live = self.live.get(definition).into_iter().flat_map(Ring::iter);
        self.held(definition).iter().chain(live).map(move |cell| cell.seen(of.size_ms, watermark))
    }

    /// What the window of definition `definition` that starts at `start` holds, where it is still held here.
    pub(crate) fn aggregate(&self, config: &WindowConfig, definition: usize, start: i64) -> Option<&Aggregate> {
        let live = self.live.get(definition)?;
        if let (at, false) = live.place_of(start, config.definitions[definition].size_ms) {
            return live.get(at).map(|cell| &cell.aggregate);
        }
        let held = self.held(definition);
        held.binary_search_by_key(&start, |c| c.start).ok().map(|at| &held[at].aggregate)
    }

    /// How many windows of all definitions are still held here.
    pub fn open_windows(&self) -> u64 {
        self.live.iter().map(Ring::len).chain(self.held.iter().map(Vec::len)).sum::<usize>() as u64
    }

    /// The newest fired window of definition `definition` still held here.
    pub fn newest_fired(&self, config: &WindowConfig, definition: usize) -> Option<Window> {
        self.windows(config, definition).rev().find(|w| w.state != WindowState::Provisional)
    }

    /// Whether a window of definition `definition` ahead of M(d) − B0 − L has fired.
    pub(crate) fn has_fired_ahead(&self, config: &WindowConfig, definition: usize) -> bool {
        let of = config.definitions[definition];
        let Some(live) = self.live.get(definition) else { return false };
        let has_fired = |cell: &Cell| cell.seen(of.size_ms, self.watermark(of)).state != WindowState::Provisional;
        live.is_first_before(self.watermark(of), of.size_ms) || live.front().is_some_and(has_fired)
    }

    /// Takes in `reading`, received at `now`. Windows that can no longer change leave through `closed`, with their definition.
    pub fn add(
        &mut self,
        config: &WindowConfig,
        slot: Slot,
        reading: &Reading,
        now: ProcessingTime,
        closed: &mut impl Closing,
    ) -> Placement {
        if let Some(late) = self.lateness(config, reading.at, now, closed) {
            return late;
        }
        self.accept(config, slot, reading, now, closed);
        Placement::Accepted
    }

    /// Takes in `reading`, which is not late.
    pub(crate) fn accept(
        &mut self,
        config: &WindowConfig,
        slot: Slot,
        reading: &Reading,
        now: ProcessingTime,
        closed: &mut impl Closing,
    ) {
        let at = reading.at.ms() - i64::from(planted("window-end-is-inside"));
        if self.live.len() < config.definitions.len() {
            self.live.resize(config.definitions.len(), Ring::default());
        }
        let mut slot_count = 0;
        for (index, definition) in config.definitions.iter().enumerate() {
            let cell = self.cell_at(config, index, *definition, floor(at, definition.size_ms));
            cell.aggregate.add(reading);
            if index == slot.definition {
                slot_count = cell.aggregate.count;
            }
        }
        if !config.sliding.is_empty() || !config.sessions.is_empty() {
            self.add_beyond(config, reading, closed);
        }
        let slot_ms = config.definitions[slot.definition].size_ms;
        if slot_count >= slot.needed && at - slot_ms < self.gaps.end {
            let from = floor(at, slot_ms);
            if self.gaps.cut(from, from + slot_ms) {
                self.close_held(config, (from, from + slot_ms), closed);
            }
        }
        if self.newest.is_none_or(|newest| at > newest) || planted("watermark-goes-back") {
            self.advance(config, slot, at, now, closed);
        }
    }

    /// Whether a reading of `at`, received at `now`, is late, as [`DeviceWindows::add`] would find; closes what has expired.
    pub(crate) fn lateness(
        &mut self,
        config: &WindowConfig,
        at: EventTime,
        now: ProcessingTime,
        closed: &mut impl Closing,
    ) -> Option<Placement> {
        self.expire(config, now, closed);
        let shortest = config.definitions[0];
        let window_start = floor(at.ms(), shortest.size_ms);
        let lateness_ms = self.newest? - shortest.delay_ms - (window_start + shortest.size_ms);
        let is_late =
            lateness_ms >= config.allowed_lateness_ms + i64::from(planted("lateness-off-by-one")) && !self.is_open(window_start);
        is_late.then_some(Placement::Late { window_start, lateness_ms })
    }

    /// The window that starts at `start`, made where there is none; it counts one more record after firing.
    fn cell_at(&mut self, config: &WindowConfig, index: usize, definition: WindowDefinition, start: i64) -> &mut Cell {
        let end = start + definition.size_ms;
        let is_behind = self.newest.is_some_and(|newest| config.passed_until(newest) >= end);
        let is_passed = self.watermark(definition) >= end;
        let fresh = Cell { start, ..Cell::default() };
        let (cell, is_fresh) = if is_behind {
            let held = self.held_mut(config, index);
            match held.binary_search_by_key(&start, |c| c.start) {
                Ok(at) => (&mut held[at], false),
                Err(at) => {
                    held.insert(at, fresh);
                    (&mut held[at], true)
                }
            }
        } else {
            let live = &mut self.live[index];
            match live.place_of(start, definition.size_ms) {
                (at, true) => (live.insert(at, fresh), true),
                (at, false) => (live.get_mut(at).expect("it is there"), false),
            }
        };
        // Where it was made behind the watermark its first firing is version 1.
        let is_new_version = !is_fresh && (is_passed || cell.went_silent) && !planted("late-correction-keeps-its-version");
        cell.joined_fired += u32::from(is_new_version);
        cell
    }

    /// Moves M(d) to `to`: notes the gaps it passes, and lets go what can no longer change.
    fn advance(&mut self, config: &WindowConfig, slot: Slot, to: i64, now: ProcessingTime, closed: &mut impl Closing) {
        let from = self.newest.map_or(i64::MIN, |newest| config.passed_until(newest));
        let until = config.passed_until(to);
        self.newest = Some(to);
        if from == until {
            return;
        }
        self.note_gaps(config, slot, from, until, now);
        for (index, definition) in config.definitions.iter().enumerate() {
            while let Some(cell) = self.live[index].leave(until, definition.size_ms) {
                if self.gaps.overlap(cell.start, cell.start + definition.size_ms) {
                    self.held_mut(config, index).push(cell);
                } else {
                    // It has fired: no delay exceeds B0 + L.
                    closed.window(index, cell.seen(definition.size_ms, i64::MAX));
                }
            }
        }
        self.close_beyond(config, (from, until), false, closed);
    }

    /// Of the event time [from, until) that M(d) just passed, what lies in slots that are not complete.
    fn note_gaps(&mut self, config: &WindowConfig, slot: Slot, from: i64, until: i64, now: ProcessingTime) {
        let size = config.definitions[slot.definition].size_ms;
        let mut open_from = from;
        let mut found = Vec::new();
        let mut note = |from: i64, to: i64| {
            if from < to {
                found.push(Gap { from, to, passed_at: now.ms() });
            }
        };
        for cell in self.live[slot.definition].iter() {
            // Nearly always the first one reaches beyond it all, and no other is looked at.
            if open_from >= until || cell.start >= until {
                break;
            }
            if cell.aggregate.count >= slot.needed && cell.start + size > open_from {
                note(open_from, cell.start);
                open_from = cell.start + size;
            }
        }
        note(open_from, until);
        if !found.is_empty() {
            self.gaps.change(|list| list.append(&mut found));
        }
    }

    /// Whether the slot of the shortest window that starts at `start` is open though behind.
    fn is_open(&self, start: i64) -> bool {
        self.gaps.overlap(start, start + 1) && !planted("back-fill-is-late")
    }

    /// Closes what was kept open by a gap of [`span.0`, `span.1`) and no longer is.
    fn close_held(&mut self, config: &WindowConfig, span: (i64, i64), closed: &mut impl Closing) {
        self.close_beyond(config, span, true, closed);
        let Self { gaps, held, .. } = self;
        for (index, (definition, held)) in config.definitions.iter().zip(held).enumerate() {
            held.retain(|cell| {
                let is_open = gaps.overlap(cell.start, cell.start + definition.size_ms);
                if !is_open {
                    closed.window(index, cell.seen(definition.size_ms, i64::MAX));
                }
                is_open
            });
        }
        if gaps.is_empty() {
            self.held = Box::default();
        }
    }

    /// Closes the slots that stayed incomplete for too long by `now`.
    pub fn expire(&mut self, config: &WindowConfig, now: ProcessingTime, closed: &mut impl Closing) {
        if !planted("gap-stays-open-for-ever") && self.gaps.expire(now.ms() - config.gap_open_ms) {
            self.close_held(config, (i64::MIN, i64::MAX), closed);
        }
    }

    /// Fires what has not fired as incomplete: the device has been silent for too long.
    pub fn fire_incomplete(&mut self, config: &WindowConfig) {
        for (live, definition) in self.live.iter_mut().zip(&config.definitions) {
            let watermark = self.newest.map_or(i64::MIN, |newest| newest - definition.delay_ms);
            for at in (0..live.len()).rev() {
                match live.get_mut(at) {
                    Some(cell) if watermark < cell.start + definition.size_ms => cell.went_silent = true,
                    _ => break,
                }
            }
        }
        if self.newest.is_some() && !(config.sliding.is_empty() && config.sessions.is_empty()) {
            let beyond = self.beyond.get_or_insert_default();
            beyond.silent_newest = self.newest;
            // Those that have fired stay as they are: what the watermark has passed it never comes back to.
            beyond.sessions.iter_mut().flatten().for_each(|session| session.went_silent = true);
        }
    }

    // Sliding windows and sessions -------------------------------------------------------------------------------------------

    /// Takes `reading` into its sessions, and notes which sliding windows it joins though they have fired; M(d) has not moved yet.
    fn add_beyond(&mut self, config: &WindowConfig, reading: &Reading, closed: &mut impl Closing) {
        let at = reading.at.ms();
        for (index, of) in config.sliding.iter().enumerate() {
            let Some(newest) = self.newest else { continue };
            let (from, until) = of.starts_around(at);
            let mut fired_until = of.starts_until(newest - of.delay_ms - of.size_ms);
            if let Some(silent_newest) = self.beyond.as_ref().and_then(|beyond| beyond.silent_newest) {
                fired_until = fired_until.max(of.starts_until(silent_newest));
            }
            if from < fired_until {
                let joined = &mut self.beyond.get_or_insert_default().joined;
                joined.resize(config.sliding.len(), Vec::new());
                sliding::join(&mut joined[index], from, until.min(fired_until));
            }
        }
        for (index, of) in config.sessions.iter().enumerate() {
            let watermark = self.newest.map_or(i64::MIN, |newest| newest - of.delay_ms);
            let sessions = &mut self.beyond.get_or_insert_default().sessions;
            sessions.resize(config.sessions.len(), Vec::new());
            session::add(&mut sessions[index], *of, reading, watermark, |merged| closed.session(index, merged));
        }
    }

    /// Lets go what of sliding windows and sessions can no longer change, after M(d) has passed the event time of `span`, or after a gap in
    /// it `was_open`.
    fn close_beyond(&mut self, config: &WindowConfig, span: (i64, i64), was_open: bool, closed: &mut impl Closing) {
        let (Some(beyond), Some(newest)) = (&mut self.beyond, self.newest) else { return };
        let until = config.passed_until(newest);
        let gaps = &self.gaps;
        for (index, (of, runs)) in config.sliding.iter().zip(&mut beyond.joined).enumerate() {
            let last = if was_open { span.1.saturating_add(of.size_ms).min(until) } else { span.1 };
            sliding::close(runs, *of, (span.0, last), gaps, |run| closed.joined(index, run));
        }
        for (index, (of, sessions)) in config.sessions.iter().zip(&mut beyond.sessions).enumerate() {
            // Those that a gap keeps open need not be looked at each time that M(d) moves.
            let is_new = |session: &Session| was_open || session.end(*of) > span.0;
            sessions.retain(|session| {
                let is_open = !is_new(session) || session.is_open(*of, until, gaps);
                if !is_open {
                    closed.session(index, session.seen(*of, i64::MAX));
                }
                is_open
            });
        }
    }

    /// What tells version and state of the windows of sliding definition `index`; counts of windows that left memory are added by
    /// whoever keeps them.
    pub fn sliding_view(&self, config: &WindowConfig, index: usize) -> SlidingView {
        let beyond = self.beyond.as_deref();
        SlidingView {
            of: config.sliding[index],
            newest: self.newest,
            silent_newest: beyond.and_then(|beyond| beyond.silent_newest),
            joined: beyond.and_then(|beyond| beyond.joined.get(index)).cloned().unwrap_or_default(),
        }
    }

    /// The sessions of session definition `index` still held here, oldest first.
    pub fn sessions(&self, config: &WindowConfig, index: usize) -> impl Iterator<Item = SessionWindow> + '_ {
        let of = config.sessions[index];
        let watermark = self.newest.map_or(i64::MIN, |newest| newest - of.delay_ms);
        let held = self.beyond.as_ref().and_then(|beyond| beyond.sessions.get(index)).into_iter().flatten();
        held.map(move |session| session.seen(of, watermark))
    }
}

#[cfg(test)]
mod beyond_tests;
#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
