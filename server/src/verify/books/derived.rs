//! What does not follow from tumbling windows: what joined sliding ones after they had fired, sessions, and where readings were taken.
//!
//! Compared are the definitions that are configured: others may have come and gone, and what is left of them means nothing.

use super::{Books, told};
use crate::store::DerivedKind;
use crate::verify::beyond::{Joined, SeenSession};
use crate::verify::history::{Seen, Sums};
use crate::verify::is_about_content;
use crate::verify::recompute::{Device, Recomputed};
use crate::verify::report::Law;
use domain::engine::Derived;
use domain::join::{Fix, Located};
use domain::window::{SessionWindow, WindowState};
use std::collections::{BTreeMap, HashMap};

/// What a definition that was not there from the beginning looks like, too.
const HINT: &str = "(or it was not configured from the log's beginning on: `rantai rebuild` makes it so)";

/// Of the devices of a share, as stored and in memory.
#[derive(Default)]
pub(super) struct FoundDerived {
    /// By sliding definition and device.
    joined: HashMap<(usize, u32), Joined>,
    /// By session definition, device, and start.
    sessions: HashMap<(usize, u32, i64), SeenSession>,
    /// By device: how often.
    located: HashMap<u32, BTreeMap<Located, i64>>,
}

/// How much there was of what is compared here.
#[derive(Default)]
pub(super) struct Counts {
    sessions: u64,
    located: u64,
}

fn seen(session: &SessionWindow) -> SeenSession {
    let SessionWindow { end, version, state, aggregate, .. } = *session;
    SeenSession { end, seen: Seen { version: u64::from(version), state, sums: Sums::of(&aggregate) } }
}

fn told_session(session: Option<&SeenSession>) -> String {
    session.map_or_else(|| "nothing".to_owned(), |of| format!("{}, until {}", told(&of.seen), super::at(of.end)))
}

fn told_fix(fix: Option<Fix>) -> String {
    fix.map_or_else(|| "nowhere".to_owned(), |fix| format!("{}, {} at {}", fix.longitude_e6, fix.latitude_e6, fix.at))
}

impl Books<'_> {
    /// What there is of the devices that are `ours`; of one that is not there at all the first share tells.
    pub(super) async fn found_derived(&mut self, is_ours: &[bool], is_first: bool) -> anyhow::Result<FoundDerived> {
        let windows = &self.subject.config.windows;
        let mut found = FoundDerived::default();
        let (mut twice, mut strangers) = (Vec::new(), Vec::new());
        let ours = |device: u32| is_ours.get(device as usize).copied();
        let mut take = |device: u32, derived: &Derived| {
            match ours(device) {
                Some(true) => {}
                Some(false) => return,
                None => return strangers.push((device, derived.span().0)),
            }
            match derived {
                Derived::Joined { size_ms, slide_ms, run } => {
                    if let Some(index) = windows.sliding_of(*size_ms, *slide_ms) {
                        let joined = found.joined.entry((index, device)).or_default();
                        joined.add(run.from, run.to, i64::from(run.joined));
                    }
                }
                Derived::Session { gap_ms, session } => {
                    if let Some(index) = windows.session_of(*gap_ms) {
                        let key = (index, device, session.start);
                        if found.sessions.insert(key, seen(session)).is_some() {
                            twice.push(key);
                        }
                    }
                }
                Derived::Located(located) => *found.located.entry(device).or_default().entry(*located).or_default() += 1,
            }
        };
        let (all, own) = ((0, u32::MAX), Some(self.log.partition()));
        let mut broken = Vec::new();
        for (kind, is_there, law) in [
            (DerivedKind::Joined, !windows.sliding().is_empty(), Law::C2),
            (DerivedKind::Session, !windows.sessions().is_empty(), Law::C2),
            (DerivedKind::Located, true, Law::Located),
        ] {
            if !is_there {
                continue;
            }
            let each = |_, closed: domain::engine::ClosedDerived| take(closed.device, &closed.derived);
            match self.subject.store.derived_by_partition(kind, own, all, (i64::MIN, i64::MAX), each).await {
                Ok(()) => {}
                Err(error) if is_about_content(&error) => broken.push((law, error)),
                Err(error) => return Err(error.into()),
            }
        }
        let engine = &self.shard.room.engine;
        engine.derived().for_each(|closed| take(closed.device, &closed.derived));
        let is_more = !windows.sliding().is_empty() || !windows.sessions().is_empty();
        for device in (0..engine.device_count()).filter(|ix| is_more && ours(*ix) == Some(true)) {
            let state = &engine.device_state(device).windows;
            for (index, of) in windows.sliding().iter().enumerate() {
                for run in state.sliding_view(windows, index).joined {
                    take(device, &Derived::Joined { size_ms: of.size_ms, slide_ms: of.slide_ms, run });
                }
            }
            for (index, of) in windows.sessions().iter().enumerate() {
                for session in state.sessions(windows, index) {
                    take(device, &Derived::Session { gap_ms: of.gap_ms, session });
                }
            }
        }
        for key in twice {
            let name = self.session_name(key);
            self.report.breaks(Law::C2, || format!("{name}: it is there twice"));
        }
        for (device, start) in strangers.into_iter().filter(|_| is_first) {
            self.report.breaks(Law::Located, || {
                format!("result from {} of device number {device}: there is no such device", super::at(start))
            });
        }
        for (law, error) in broken {
            self.report.breaks(law, || error.to_string());
        }
        Ok(found)
    }

    fn session_name(&self, (definition, device, start): (usize, u32, i64)) -> String {
        let id = &self.shard.room.engine.device_state(device).id;
        let gap = self.subject.config.windows.sessions()[definition].gap_ms / 1_000;
        format!("session of {gap} s of device {id} from {}", super::at(start))
    }

    /// A device, against what is left in `found`.
    pub(super) fn derived(&mut self, index: u32, device: &Device, recomputed: &Recomputed, found: &mut FoundDerived) {
        let kept_from = self.forgotten.windows;
        let (beyond, definitions) = (device.history.beyond(), recomputed.definitions());
        for definition in 0..definitions.sliding.len() {
            let none = Joined::default();
            let joined = found.joined.remove(&(definition, index)).unwrap_or_default();
            let expected = beyond.joined(definition).unwrap_or(&none);
            self.sliding(definition, index, expected, &joined, kept_from);
        }
        let newest = device.history.watermark().unwrap_or(i64::MIN / 2);
        for ((definition, start), expected) in beyond.sessions(definitions, newest) {
            let key = (definition, index, start);
            let found = found.sessions.remove(&key);
            self.derived.sessions += u64::from(expected.seen.state != WindowState::Merged);
            // Whole blocks are deleted, whose end lies before that.
            if found != Some(expected) && !(found.is_none() && expected.end < kept_from) {
                let name = self.session_name(key);
                self.report.breaks(Law::C2, || {
                    format!("{name}: expected {}; found {} {HINT}", told_session(Some(&expected)), told_session(found.as_ref()))
                });
            }
        }
        let mut located = found.located.remove(&index).unwrap_or_default();
        self.derived.located += device.located.len() as u64;
        for expected in &device.located {
            // None where it is not there, so that it is told of below.
            *located.entry(*expected).or_default() -= 1;
        }
        located.retain(|of, times| *times > 0 || (*times < 0 && of.at.ms() >= kept_from));
        let id = &self.shard.room.engine.device_state(index).id;
        for (Located { at, fix }, times) in located {
            let what = if times < 0 { "missing" } else { "not so" };
            self.report.breaks(Law::Located, || {
                format!("reading of device {id} at {at}: that it was taken {} is {what}", told_fix(fix))
            });
        }
    }

    fn sliding(&mut self, definition: usize, device: u32, expected: &Joined, found: &Joined, kept_from: i64) {
        let Some((start, expected, found)) = expected.first_other(found, kept_from) else { return };
        let of = self.subject.config.windows.sliding()[definition];
        let id = &self.shard.room.engine.device_state(device).id;
        self.report.breaks(Law::C2, || {
            format!(
                "sliding window of {} s by {} s of device {id} from {}: {expected} readings joined it after it had fired; found {found} \
                 {HINT}",
                of.size_ms / 1_000,
                of.slide_ms / 1_000,
                super::at(start)
            )
        });
    }

    /// What nothing in the log leads to.
    pub(super) fn underived(&mut self, found: FoundDerived) {
        let FoundDerived { joined, sessions, located } = found;
        for ((definition, device), joined) in joined {
            self.sliding(definition, device, &Joined::default(), &joined, i64::MIN);
        }
        let mut sessions: Vec<_> = sessions.into_keys().collect();
        sessions.sort_unstable();
        for key in sessions {
            let name = self.session_name(key);
            self.report.breaks(Law::C2, || format!("{name}: it is stored, and nothing in the log belongs to it"));
        }
        for device in located.into_keys() {
            let id = &self.shard.room.engine.device_state(device).id;
            self.report.breaks(Law::Located, || {
                format!("device {id}: it is stored where its readings were taken, and nothing in the log says so")
            });
        }
    }

    /// Says how much there was.
    pub(super) fn summarise_derived(&mut self) {
        let Counts { located, .. } = self.derived;
        if located > 0 {
            self.report.summarise(
                Law::Located,
                format!("{located} readings of which it is known where they were taken, or that nobody knows"),
            );
        }
    }

    /// How many sessions there are, for people.
    pub(super) fn sessions_told(&self) -> String {
        let kinds = self.subject.config.windows.sessions().len();
        if kinds > 0 { format!(" and {} sessions of {kinds} kinds", self.derived.sessions) } else { String::new() }
    }

    /// What can be said where the log does not go back to the beginning: no session holds a reading that was not accepted.
    pub(super) fn agree_derived(&mut self, found: &FoundDerived, accepted: u64) {
        for (definition, of) in self.subject.config.windows.sessions().iter().enumerate() {
            let own = found.sessions.iter().filter(|((own, ..), _)| *own == definition);
            let held: u64 = own.map(|(_, session)| session.seen.sums.count).sum();
            if held > accepted {
                let gap = of.gap_ms / 1_000;
                self.report.breaks(Law::C2, || format!("sessions of {gap} s hold {held} readings, and {accepted} were accepted"));
            }
        }
    }
}
