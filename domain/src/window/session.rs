//! Session windows of one device: readings that lie less than a gap apart belong together.
//!
//! A session is known by the start of its first reading. A record may extend one, or join two to one; a start that is no longer the
//! first of its session is void: where it had been given out, a last version of it says `merged`, so that whoever keeps results by
//! device and start can drop it.

use super::{Gaps, SessionDefinition, WindowState};
use crate::aggregate::Aggregate;
use crate::event::Reading;
use crate::planted;
use serde::{Deserialize, Serialize};

/// A session as it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionWindow {
    /// Time of its first reading, milliseconds since the Unix epoch.
    pub start: i64,
    /// Time of its newest reading plus the gap, exclusive.
    pub end: i64,
    /// 0 before it first fires; then one more with each firing and with each record that joins while it has fired.
    pub version: u32,
    /// Whether and how it fired, or that it is part of another now.
    pub state: WindowState,
    /// What it holds; nothing where it is part of another.
    pub aggregate: Aggregate,
}

/// A session in memory: whether the watermark has passed it follows from M(d).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    start: i64,
    /// Its newest reading.
    last: i64,
    /// The version that it had before what may be its present firing.
    before: u32,
    /// It fired because its device went silent, and did not grow at its end since.
    pub(super) went_silent: bool,
    aggregate: Aggregate,
}

impl Session {
    pub(super) const fn end(&self, of: SessionDefinition) -> i64 {
        self.last + of.gap_ms
    }

    pub(super) fn seen(&self, of: SessionDefinition, watermark: i64) -> SessionWindow {
        let (state, version) = match (watermark >= self.end(of), self.went_silent) {
            (true, _) => (WindowState::Final, self.before + 1),
            (false, true) => (WindowState::Incomplete, self.before + 1),
            (false, false) => (WindowState::Provisional, self.before),
        };
        SessionWindow { start: self.start, end: self.end(of), version, state, aggregate: self.aggregate }
    }

    /// Whether a record may still join it: while what it reaches is not behind, or a gap keeps it open.
    pub(super) fn is_open(&self, of: SessionDefinition, passed_until: i64, gaps: &Gaps) -> bool {
        self.end(of) > passed_until || gaps.overlap(self.start - of.gap_ms + 1, self.end(of))
    }
}

/// Takes `reading` into its session among `sessions` (in order, all a gap apart), as the watermark stands before it moves. Starts that
/// had been given out and are void now go to `merged`.
pub(super) fn add(
    sessions: &mut Vec<Session>,
    of: SessionDefinition,
    reading: &Reading,
    watermark: i64,
    mut merged: impl FnMut(SessionWindow),
) {
    let at = reading.at.ms();
    // Nearly always the newest.
    let mut after = sessions.len();
    while after > 0 && sessions[after - 1].start > at {
        after -= 1;
    }
    let first = if after > 0 && at < sessions[after - 1].end(of) + i64::from(planted("session-gap-off-by-one")) {
        after - 1
    } else {
        after
    };
    let next = if sessions.get(after).is_some_and(|s| s.start - of.gap_ms < at) { after + 1 } else { after };
    if first == next {
        let mut aggregate = Aggregate::default();
        aggregate.add(reading);
        sessions.insert(first, Session { start: at, last: at, before: 0, went_silent: false, aggregate });
        return;
    }
    let joined = &sessions[first..next];
    let newest = joined[joined.len() - 1];
    let mut session = Session {
        start: joined[0].start.min(at),
        last: newest.last.max(at),
        before: joined.iter().map(|s| s.seen(of, watermark).version).max().unwrap_or(0),
        // One that grows at its end is open again until it fires anew.
        went_silent: newest.went_silent && at <= newest.last,
        aggregate: joined[0].aggregate,
    };
    joined[1..].iter().for_each(|s| session.aggregate.merge(&s.aggregate));
    session.aggregate.add(reading);
    for void in joined.iter().filter(|s| s.start != session.start) {
        let void = void.seen(of, watermark);
        if void.version > 0 {
            let aggregate = Aggregate::default();
            merged(SessionWindow { version: void.version + 1, state: WindowState::Merged, aggregate, ..void });
        }
    }
    sessions[first] = session;
    sessions.drain(first + 1..next);
}
