//! Sliding windows, sessions and places at the end of a course of events: as a reader puts them together from what is stored, and sliding
//! windows as they follow from the records alone.

use super::oracle::states_of;
use super::store::{KEY, Stored};
use anyhow::ensure;
use domain::aggregate::Aggregate;
use domain::engine::{Content, Derived, Disposition, EngineConfig};
use domain::event::{Reading, Reason};
use domain::join::Located;
use domain::master::Master;
use domain::time::MINUTE_MS;
use domain::window::{JoinedRun, SessionWindow, Window, WindowState};
use server::admission::{Batch, Format, IdentityKey};
use server::letters::{Decision, Verdict};
use server::log::{Block, BlockKind};
use server::verify::Recomputed;
use server::verify::history::Clock;
use std::collections::BTreeMap;

/// By definition and device.
pub type ByDevice<T> = BTreeMap<(usize, String), Vec<T>>;

/// What somebody who asks would read, oldest first; nothing where there is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    pub sliding: ByDevice<Window>,
    /// With those that became part of another.
    pub sessions: ByDevice<SessionWindow>,
    /// By device.
    pub places: BTreeMap<String, Vec<Located>>,
}

impl ReadBack {
    /// Puts it together from what is stored (as `server::backend` does); an error where something is there twice.
    pub fn of(stored: &Stored, config: &EngineConfig) -> anyhow::Result<Self> {
        let windows = &config.windows;
        let mut read = Self::default();
        for (index, state) in &states_of(stored) {
            let own = || stored.derived.iter().filter(|closed| closed.device == *index).map(|closed| closed.derived);
            for (definition, of) in windows.sliding().iter().enumerate() {
                let mut view = state.windows.sliding_view(windows, definition);
                view.joined.extend(own().filter_map(|derived| match derived {
                    Derived::Joined { size_ms, slide_ms, run } if (size_ms, slide_ms) == (of.size_ms, of.slide_ms) => Some(run),
                    _ => None,
                }));
                view.joined.sort_unstable_by_key(|run| run.from);
                let twice = view.joined.windows(2).find(|pair: &&[JoinedRun]| pair[0].to > pair[1].from);
                ensure!(twice.is_none(), "L2: counts of sliding windows of {} are there twice: {twice:?}", state.id);
                let gone =
                    stored.windows.iter().filter(|closed| closed.device == *index && usize::from(closed.definition) == of.pane);
                let mut panes: BTreeMap<i64, Aggregate> = gone.map(|c| (c.window.start, c.window.aggregate)).collect();
                panes.extend(state.windows.windows(windows, of.pane).map(|window| (window.start, window.aggregate)));
                let all = view.windows(panes, i64::MIN / 4, i64::MAX / 4);
                put(&mut read.sliding, (definition, state.id.to_string()), all);
            }
            for (definition, of) in windows.sessions().iter().enumerate() {
                let gone = own().filter_map(|derived| match derived {
                    Derived::Session { gap_ms, session } if gap_ms == of.gap_ms => Some(session),
                    _ => None,
                });
                let mut all: Vec<SessionWindow> = gone.chain(state.windows.sessions(windows, definition)).collect();
                all.sort_by_key(|session| session.start);
                let twice = all.windows(2).find(|pair| pair[0].start == pair[1].start);
                ensure!(twice.is_none(), "L2: a session of {} is there twice: {twice:?}", state.id);
                put(&mut read.sessions, (definition, state.id.to_string()), all);
            }
            let mut places: Vec<Located> = own()
                .filter_map(|derived| match derived {
                    Derived::Located(located) => Some(located),
                    _ => None,
                })
                .collect();
            places.sort_unstable();
            put(&mut read.places, state.id.to_string(), places);
        }
        Ok(read)
    }

    /// What does not say how often it changed.
    pub fn without_versions(mut self) -> Self {
        self.sliding.values_mut().flatten().for_each(|window| window.version = 0);
        for sessions in self.sessions.values_mut() {
            sessions.retain(|session| session.state != WindowState::Merged);
            for session in sessions.iter_mut() {
                session.version = 0;
            }
        }
        self
    }

    /// How many sliding windows, sessions and places.
    pub fn len(&self) -> [usize; 3] {
        let of_sessions = self.sessions.values().map(Vec::len).sum();
        [self.sliding.values().map(Vec::len).sum(), of_sessions, self.places.values().map(Vec::len).sum()]
    }
}

fn put<K: Ord, T>(all: &mut BTreeMap<K, Vec<T>>, key: K, own: Vec<T>) {
    if !own.is_empty() {
        all.insert(key, own);
    }
}

/// A device as its records leave it: every one of them is remembered, every window has an entry of its own.
#[derive(Default)]
struct Plain {
    accepted: Vec<Reading>,
    newest: Option<i64>,
    /// When something came last, in listened time.
    heard: i64,
    /// M(d) when the device last went silent.
    silent: Option<i64>,
    /// By definition and start: what a sliding window holds, and how many of it came after it had fired.
    sliding: BTreeMap<(usize, i64), (Aggregate, u32)>,
    /// M(d) with which the windows that fired incomplete become final.
    final_from: Vec<i64>,
}

impl Plain {
    fn wait(&mut self, config: &EngineConfig, clock: Clock) {
        let Some(newest) = self.newest.filter(|_| clock.listened >= self.heard + config.windows.idle_after_ms) else { return };
        self.silent = Some(newest);
        let ends = config.windows.definitions().iter().map(|d| (newest.div_euclid(d.size_ms) + 1) * d.size_ms + d.delay_ms);
        self.final_from.extend(ends);
    }

    fn hear(&mut self, config: &EngineConfig, clock: Clock) {
        self.wait(config, clock);
        self.heard = clock.listened;
    }

    fn has_fired(&self, start: i64, size_ms: i64, delay_ms: i64) -> (bool, bool) {
        let is_passed = self.newest.is_some_and(|newest| newest - delay_ms >= start + size_ms);
        (is_passed, self.silent.is_some_and(|newest| start <= newest))
    }

    fn accept(&mut self, config: &EngineConfig, reading: &Reading) {
        let at = reading.at.ms();
        for (index, of) in config.windows.sliding().iter().enumerate() {
            let mut start = at.div_euclid(of.slide_ms) * of.slide_ms;
            while start > at - of.size_ms {
                let (is_passed, went_silent) = self.has_fired(start, of.size_ms, of.delay_ms);
                let (aggregate, joined) = self.sliding.entry((index, start)).or_default();
                aggregate.add(reading);
                *joined += u32::from(is_passed || went_silent);
                start -= of.slide_ms;
            }
        }
        self.accepted.push(*reading);
        self.newest = self.newest.max(Some(at));
    }

    fn sliding(&self, config: &EngineConfig, index: usize) -> Vec<Window> {
        let of = config.windows.sliding()[index];
        let own = self.sliding.range((index, i64::MIN)..=(index, i64::MAX));
        own.map(|((_, start), (aggregate, joined))| {
            let (state, has_fired) = match self.has_fired(*start, of.size_ms, of.delay_ms) {
                (true, _) => (WindowState::Final, true),
                (false, true) => (WindowState::Incomplete, true),
                (false, false) => (WindowState::Provisional, false),
            };
            // Where all came after it had fired, empty, the first of them made version 1.
            let version = if has_fired { joined + u32::from(aggregate.count > *joined) } else { 0 };
            Window { start: *start, version, state, aggregate: *aggregate }
        })
        .collect()
    }

    /// Whether the slot in which the instant `at` lies has all the readings that it needs.
    fn is_complete(&self, config: &EngineConfig, interval_ms: i64, at: i64) -> bool {
        let sizes: Vec<i64> = config.windows.definitions().iter().map(|d| d.size_ms).collect();
        let size = sizes.iter().copied().find(|size| *size >= interval_ms).unwrap_or(sizes[sizes.len() - 1]);
        let start = at.div_euclid(size) * size;
        let held = self.accepted.iter().filter(|reading| (start..start + size).contains(&reading.at.ms())).count() as i64;
        held >= (size / interval_ms).max(1)
    }
}

/// What the records of a log led to, as it was recomputed.
#[derive(Default)]
pub struct Followed {
    pub sliding: ByDevice<Window>,
    /// Late records of slots that had been given up with readings missing.
    pub slots_given_up: u64,
    /// Fixes that cannot be, and place nothing.
    pub fixes_of_nowhere: u64,
    /// Windows that had fired incomplete and were passed by the watermark later.
    pub incomplete_then_final: u64,
}

/// Follows the records of `blocks`, each with the fate that `recomputed` knows.
pub fn follow(blocks: &[Block], recomputed: &Recomputed, master: &Master, config: &EngineConfig) -> anyhow::Result<Followed> {
    let (mut devices, mut followed, mut clock) = (BTreeMap::<String, Plain>::new(), Followed::default(), Clock::default());
    for block in blocks {
        clock.pass(block.received_at.ms());
        let (raw, format) = match block.kind {
            BlockKind::Records(format) => (block.body.clone(), format),
            BlockKind::Decision => match Decision::decode(&block.body)? {
                (Decision { verdict: Verdict::Replay, .. }, raw) => (raw, Format::Record),
                _ => continue,
            },
            BlockKind::Pairings | BlockKind::Timer => continue,
        };
        let batch = Batch::parse(raw, format, &block.source, &IdentityKey(KEY))?;
        for (record, position) in batch.records().zip(block.first_record..) {
            let Some(id) = record.device() else { continue };
            // Nothing became of a decision after another one.
            let Some(fate) = recomputed.fate(position) else { continue };
            match (&record.content, fate) {
                (Content::Reading { reading, .. }, Disposition::Accepted) => {
                    let device = devices.entry(id.to_owned()).or_default();
                    device.hear(config, clock);
                    device.accept(config, reading);
                }
                (Content::Reading { reading, .. }, Disposition::Late { .. }) => {
                    let device = devices.entry(id.to_owned()).or_default();
                    device.hear(config, clock);
                    let interval_ms = master.sensor_by_id(id).map_or(5 * MINUTE_MS, |ix| master.sensor(ix).interval_ms);
                    followed.slots_given_up += u64::from(!device.is_complete(config, interval_ms, reading.at.ms()));
                }
                (Content::Fix { fix, .. }, Disposition::Accepted) => {
                    devices.entry(id.to_owned()).or_default().hear(config, clock);
                    followed.fixes_of_nowhere += u64::from((fix.longitude_e6, fix.latitude_e6) == (0, 0));
                }
                (Content::Fault { .. }, Disposition::Rejected(Reason::SensorFault)) => {
                    devices.entry(id.to_owned()).or_default().hear(config, clock);
                }
                _ => {}
            }
        }
    }
    for (id, mut device) in devices {
        device.wait(config, clock);
        let is_final = |from: &&i64| device.newest.is_some_and(|newest| newest >= **from);
        followed.incomplete_then_final += device.final_from.iter().filter(is_final).count() as u64;
        for index in 0..config.windows.sliding().len() {
            put(&mut followed.sliding, (index, id.clone()), device.sliding(config, index));
        }
    }
    Ok(followed)
}
