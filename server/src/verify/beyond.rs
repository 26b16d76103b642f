//! Sliding windows and sessions of one device by the letter of `docs/semantics.md`, as plainly as `history.rs` has the tumbling ones.
//!
//! What a sliding window holds follows from tumbling ones. Its version does not: here is how many readings joined it after it had fired.

use super::history::{Definitions, Seen, Sums, start_of};
use domain::event::Reading;
use domain::window::WindowState;
use std::collections::BTreeMap;

/// How many readings joined each window of a sliding definition after it had fired: where along the starts that number changes, and by
/// how much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined(BTreeMap<i64, i64>);

impl Joined {
    /// So many more `joined` the windows that start in [from, to).
    pub fn add(&mut self, from: i64, to: i64, joined: i64) {
        for (at, by) in [(from, joined), (to, -joined)] {
            let step = self.0.entry(at).or_default();
            *step += by;
            if *step == 0 {
                self.0.remove(&at);
            }
        }
    }

    /// The first window in which `found` differs, with what both say of it; none that starts before `kept_from` and is not there.
    pub fn first_other(&self, found: &Joined, kept_from: i64) -> Option<(i64, i64, i64)> {
        let mut at: Vec<i64> = self.0.keys().chain(found.0.keys()).copied().collect();
        at.sort_unstable();
        at.dedup();
        let ends = at.iter().copied().skip(1).chain([i64::MAX]);
        let (mut own, mut other) = (0, 0);
        at.iter().copied().zip(ends).find_map(|(start, end)| {
            own += self.0.get(&start).unwrap_or(&0);
            other += found.0.get(&start).unwrap_or(&0);
            let from = if other == 0 { start.max(kept_from) } else { start };
            (own != other && from < end).then_some((from, own, other))
        })
    }
}

/// A session. `Seen` of one that is part of another now says so, and holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenSession {
    /// Its newest reading plus the gap.
    pub end: i64,
    /// The rest.
    pub seen: Seen,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    start: i64,
    last: i64,
    version: u64,
    has_fired: bool,
    sums: Sums,
}

impl Session {
    fn fire(&mut self) {
        self.version += u64::from(!self.has_fired);
        self.has_fired = true;
    }
}

/// What of a device goes beyond tumbling windows.
#[derive(Clone, Debug, Default)]
pub struct Beyond {
    /// M(d) when the device last went silent: every sliding window that begins until then has fired.
    silent: Option<i64>,
    /// By sliding definition.
    joined: BTreeMap<usize, Joined>,
    /// By session definition and start.
    sessions: BTreeMap<(usize, i64), Session>,
    /// Starts that are none any more, of sessions that had been given out.
    void: Vec<((usize, i64), SeenSession)>,
}

impl Beyond {
    /// The device went silent while its newest reading was of `newest`.
    pub(super) fn wait(&mut self, definitions: &Definitions, newest: i64) {
        self.silent = Some(newest);
        for (index, (gap, delay)) in definitions.sessions.iter().enumerate() {
            // Those that the watermark has not passed.
            let own = self.sessions.range_mut((index, i64::MIN)..=(index, i64::MAX)).rev();
            own.map(|(_, session)| session).take_while(|s| newest - delay < s.last + gap).for_each(Session::fire);
        }
    }

    /// Takes in a reading that is not late; the newest one `before` it.
    pub(super) fn place(&mut self, definitions: &Definitions, before: Option<i64>, reading: &Reading) {
        let at = reading.at.ms();
        for (index, (size, slide, delay)) in definitions.sliding.iter().enumerate() {
            let Some(newest) = before else { continue };
            // Of the windows that hold it, those whose end the watermark had passed, or that had begun when the device went silent.
            let fired = (newest - delay - size).max(self.silent.unwrap_or(i64::MIN));
            let (from, to) = (start_of(at - size, *slide) + slide, start_of(at.min(fired), *slide) + slide);
            if from < to {
                self.joined.entry(index).or_default().add(from, to, 1);
            }
        }
        for (index, (gap, delay)) in definitions.sessions.iter().enumerate() {
            let is_passed = |last: i64| before.is_some_and(|newest| newest - delay >= last + gap);
            // What it touches, the newest first.
            let near = self.sessions.range((index, i64::MIN)..(index, at + gap)).rev();
            let mut parts: Vec<Session> = near.map(|(_, session)| *session).take_while(|s| at < s.last + gap).collect();
            for part in &mut parts {
                self.sessions.remove(&(index, part.start));
                if is_passed(part.last) {
                    part.fire();
                }
            }
            // Fired because of silence, it stays so unless it grows at its end.
            let is_silent = parts.first().is_some_and(|newest| newest.has_fired && at <= newest.last);
            let mut session = Session {
                start: parts.iter().map(|s| s.start).fold(at, i64::min),
                last: parts.iter().map(|s| s.last).fold(at, i64::max),
                version: parts.iter().map(|s| s.version).max().unwrap_or(0),
                has_fired: false,
                sums: Sums::default(),
            };
            session.sums.add(reading);
            for part in &parts {
                session.sums.merge(&part.sums);
            }
            if is_silent || is_passed(session.last) {
                session.fire();
            }
            for part in parts.iter().filter(|part| part.start != session.start && part.version > 0) {
                let seen = Seen { version: part.version + 1, state: WindowState::Merged, sums: Sums::default() };
                self.void.push(((index, part.start), SeenSession { end: part.last + gap, seen }));
            }
            self.sessions.insert((index, session.start), session);
        }
    }

    /// What joined the windows of a sliding definition.
    pub fn joined(&self, index: usize) -> Option<&Joined> {
        self.joined.get(&index)
    }

    /// Every session that there was, by definition and start, where the newest reading is of `newest`.
    pub fn sessions<'a>(
        &'a self,
        definitions: &'a Definitions,
        newest: i64,
    ) -> impl Iterator<Item = ((usize, i64), SeenSession)> + 'a {
        let held = self.sessions.iter().map(move |((index, start), session)| {
            let (gap, delay) = definitions.sessions[*index];
            let (mut session, end) = (*session, session.last + gap);
            let is_passed = newest - delay >= end;
            if is_passed {
                session.fire();
            }
            let state = match (is_passed, session.has_fired) {
                (true, _) => WindowState::Final,
                (false, true) => WindowState::Incomplete,
                (false, false) => WindowState::Provisional,
            };
            ((*index, *start), SeenSession { end, seen: Seen { version: session.version, state, sums: session.sums } })
        });
        held.chain(self.void.iter().copied())
    }
}
