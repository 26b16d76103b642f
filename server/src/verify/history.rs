//! One device by the letter of `docs/semantics.md`, written as plainly as it can be: nothing is ever let go, everything is looked up.
//!
//! It shares no code with the engine's windows, which keep only what can still change. `rantai verify` and the tests compare the two.

use super::beyond::Beyond;
use domain::aggregate::Aggregate;
use domain::engine::UNREAD_AFTER_MS;
use domain::event::Reading;
use domain::window::{WindowConfig, WindowState};
use std::collections::BTreeMap;

/// The windows of a topic, in milliseconds.
#[derive(Clone, Debug)]
pub struct Definitions {
    /// (size, delay) of each, shortest first.
    pub windows: Vec<(i64, i64)>,
    /// L.
    pub lateness: i64,
    /// For how long of server time a slot that is not complete stays open.
    pub gap_open: i64,
    /// After how long of listened time without data open windows fire as incomplete.
    pub idle_after: i64,
    /// (size, slide, delay) of each sliding one.
    pub sliding: Vec<(i64, i64, i64)>,
    /// (gap, delay) of each session.
    pub sessions: Vec<(i64, i64)>,
}

impl From<&WindowConfig> for Definitions {
    fn from(config: &WindowConfig) -> Self {
        Self {
            windows: config.definitions().iter().map(|d| (d.size_ms, d.delay_ms)).collect(),
            lateness: config.allowed_lateness_ms(),
            gap_open: config.gap_open_ms,
            idle_after: config.idle_after_ms,
            sliding: config.sliding().iter().map(|d| (d.size_ms, d.slide_ms, d.delay_ms)).collect(),
            sessions: config.sessions().iter().map(|d| (d.gap_ms, d.delay_ms)).collect(),
        }
    }
}

impl Definitions {
    /// Size of the slot of a device that reports every `interval`, and how many readings complete it.
    fn slot(&self, interval: i64) -> (usize, u64) {
        let index = self.windows.iter().position(|(size, _)| *size >= interval).unwrap_or(self.windows.len() - 1);
        (index, (self.windows[index].0 / interval).max(1) as u64)
    }
}

/// What the readings of a window sum up to, in whole thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Readings.
    pub count: u64,
    /// Sum of temperatures.
    pub temperature: i128,
    /// Sum of squared temperatures.
    pub squares: i128,
    /// Lowest and highest temperature.
    pub extremes: Option<(i32, i32)>,
    /// Readings with a humidity, and the sum of those.
    pub humidity: (u64, i128),
    /// Lowest and highest battery charge.
    pub battery: Option<(i32, i32)>,
}

fn widen(extremes: Option<(i32, i32)>, value: i32) -> (i32, i32) {
    extremes.map_or((value, value), |(low, high)| (low.min(value), high.max(value)))
}

impl Sums {
    /// Adds a reading.
    pub(super) fn add(&mut self, reading: &Reading) {
        let t = reading.temperature.0;
        self.count += 1;
        self.temperature += i128::from(t);
        self.squares += i128::from(t) * i128::from(t);
        self.extremes = Some(widen(self.extremes, t));
        if let Some(humidity) = reading.humidity {
            self.humidity = (self.humidity.0 + 1, self.humidity.1 + i128::from(humidity.0));
        }
        if let Some(battery) = reading.battery {
            self.battery = Some(widen(self.battery, battery.0));
        }
    }

    /// Adds what another window holds.
    pub(super) fn merge(&mut self, other: &Sums) {
        self.count += other.count;
        self.temperature += other.temperature;
        self.squares += other.squares;
        self.humidity = (self.humidity.0 + other.humidity.0, self.humidity.1 + other.humidity.1);
        let widest = |one: Option<(i32, i32)>, two: Option<(i32, i32)>| match (one, two) {
            (Some(one), Some(two)) => Some((one.0.min(two.0), one.1.max(two.1))),
            (one, two) => one.or(two),
        };
        self.extremes = widest(self.extremes, other.extremes);
        self.battery = widest(self.battery, other.battery);
    }

    /// Of an aggregate of the engine.
    pub fn of(aggregate: &Aggregate) -> Self {
        Self {
            count: u64::from(aggregate.count),
            temperature: i128::from(aggregate.temperature_sum),
            squares: i128::from(aggregate.temperature_square_sum),
            extremes: (aggregate.count > 0).then_some((aggregate.temperature_min.0, aggregate.temperature_max.0)),
            humidity: (u64::from(aggregate.humidity_count), i128::from(aggregate.humidity_sum)),
            battery: aggregate.battery_extremes().map(|(low, high)| (low.0, high.0)),
        }
    }
}

/// A window as it stands at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// 0 before firing, then 1 + the records accepted after it.
    pub version: u64,
    /// Whether and how it fired.
    pub state: WindowState,
    /// What it holds.
    pub sums: Sums,
}

/// A window.
#[derive(Clone, Copy, Debug, Default)]
struct Pane {
    sums: Sums,
    /// Readings that came after it had fired.
    joined: u64,
    went_silent: bool,
}

/// Where a reading went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Into its window of every definition.
    Accepted,
    /// Into none.
    Late {
        /// Start of its shortest window.
        window_start: i64,
        /// How far the watermark was past that window's end.
        lateness: i64,
    },
}

/// All that was accepted from one device, as windows, and when what came.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every M(d) there was, and the server's time at which it became that.
    newest: Vec<(i64, i64)>,
    panes: BTreeMap<(usize, i64), Pane>,
    /// When something came last, in listened time.
    heard: Option<i64>,
    beyond: Beyond,
}

/// The server's time, and how much of it somebody listened: time in which the log has no entry for long is no silence of devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// The server's time.
    pub now: i64,
    /// Of which so much was listened.
    pub listened: i64,
}

impl Clock {
    /// The log's next entry came in at `now`.
    pub fn pass(&mut self, now: i64) {
        let passed = now - self.now;
        self.now = now;
        if passed <= UNREAD_AFTER_MS {
            self.listened += passed;
        }
    }
}

pub(super) fn start_of(at: i64, size: i64) -> i64 {
    at.div_euclid(size) * size
}

impl History {
    fn newest(&self) -> Option<i64> {
        self.newest.last().map(|(_, at)| *at)
    }

    /// Whether the device has been silent for long.
    pub fn is_idle(&self, definitions: &Definitions, clock: Clock) -> bool {
        self.heard.is_some_and(|heard| clock.listened >= heard + definitions.idle_after)
    }

    /// Time has come to `clock`: after long silence what has not fired fires as incomplete.
    pub fn wait(&mut self, definitions: &Definitions, clock: Clock) {
        let Some(newest) = self.newest().filter(|_| self.is_idle(definitions, clock)) else { return };
        for (index, (size, delay)) in definitions.windows.iter().enumerate() {
            // Those whose end the watermark has not reached.
            for (_, pane) in self.panes.range_mut((index, newest - delay - size + 1)..(index + 1, i64::MIN)) {
                pane.went_silent = true;
            }
        }
        self.beyond.wait(definitions, newest);
    }

    /// Something came from the device, a reading or not.
    pub fn hear(&mut self, definitions: &Definitions, clock: Clock) {
        self.wait(definitions, clock);
        self.heard = Some(clock.listened);
    }

    /// Takes in a reading of a device that reports every `interval`.
    pub fn place(&mut self, definitions: &Definitions, interval: i64, reading: &Reading, clock: Clock) -> Placed {
        self.hear(definitions, clock);
        let (at, now) = (reading.at.ms(), clock.now);
        let (size, delay) = definitions.windows[0];
        let start = start_of(at, size);
        let before = self.newest();
        if let Some(newest) = before {
            let lateness = newest - delay - (start + size);
            if lateness >= definitions.lateness {
                let (slot, needed) = definitions.slot(interval);
                let slot_start = start_of(at, definitions.windows[slot].0);
                let is_complete = self.panes.get(&(slot, slot_start)).is_some_and(|pane| pane.sums.count >= needed);
                // When M(d) − B0 first passed the window's end by L.
                let first = self.newest.partition_point(|(_, m)| m - delay < start + size + definitions.lateness);
                let is_given_up = self.newest.get(first).is_some_and(|(since, _)| now - since >= definitions.gap_open);
                if is_complete || is_given_up {
                    return Placed::Late { window_start: start, lateness };
                }
            }
        }
        for (index, (size, delay)) in definitions.windows.iter().enumerate() {
            let start = start_of(at, *size);
            let is_passed = before.is_some_and(|newest| newest - delay >= start + size);
            let pane = self.panes.entry((index, start)).or_default();
            // One that is made behind the watermark fires with its first reading.
            pane.joined += u64::from(pane.sums.count > 0 && (is_passed || pane.went_silent));
            pane.sums.add(reading);
        }
        self.beyond.place(definitions, before, reading);
        if before.is_none_or(|newest| at > newest) {
            self.newest.push((now, at));
        }
        Placed::Accepted
    }

    /// What the window of a definition in which the instant `at` lies holds so far.
    pub fn sums_at(&self, definitions: &Definitions, definition: usize, at: i64) -> Sums {
        let start = start_of(at, definitions.windows[definition].0);
        self.panes.get(&(definition, start)).map_or_else(Sums::default, |pane| pane.sums)
    }

    /// What there is beyond tumbling windows.
    pub fn beyond(&self) -> &Beyond {
        &self.beyond
    }

    /// M(d).
    pub fn watermark(&self) -> Option<i64> {
        self.newest()
    }

    /// The windows of every definition: its index, their start and what they are, in that order.
    pub fn windows<'a>(&'a self, definitions: &'a Definitions) -> impl Iterator<Item = (usize, i64, Seen)> + 'a {
        self.panes.iter().map(move |((index, start), pane)| (*index, *start, self.seen(definitions, (*index, *start), pane)))
    }

    /// The window of a definition that starts at `start`, where there is one.
    pub fn window(&self, definitions: &Definitions, definition: usize, start: i64) -> Option<Seen> {
        let key = (definition, start);
        self.panes.get(&key).map(|pane| self.seen(definitions, key, pane))
    }

    fn seen(&self, definitions: &Definitions, (index, start): (usize, i64), pane: &Pane) -> Seen {
        let newest = self.newest().unwrap_or(i64::MIN / 2);
        let (size, delay) = definitions.windows[index];
        let state = match (newest - delay >= start + size, pane.went_silent) {
            (true, _) => WindowState::Final,
            (false, true) => WindowState::Incomplete,
            (false, false) => WindowState::Provisional,
        };
        let version = if state == WindowState::Provisional { 0 } else { 1 + pane.joined };
        Seen { version, state, sums: pane.sums }
    }
}
