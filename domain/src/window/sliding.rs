//! Sliding windows put together from panes, and how many records joined each after it had fired.
//!
//! What a window holds follows from its panes. Its version does not: a pane cannot tell how many of its records came after which of the
//! windows over it had fired. A record that comes behind the watermark joined every fired window that holds its instant, and these
//! lie side by side; so the counts are kept as runs of neighbouring windows, and only where there are any.

use super::{Gaps, SlidingDefinition, Window, WindowState};
use crate::aggregate::Aggregate;
use crate::planted;
use serde::{Deserialize, Serialize};

/// Neighbouring windows of a sliding definition which as many records joined after they had fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinedRun {
    /// Start of the first.
    pub from: i64,
    /// Start of the first that is none of them.
    pub to: i64,
    /// Records that joined each.
    pub joined: u32,
}

/// Adds one record to every window that starts in [from, to). `runs` are in order and do not overlap.
pub(super) fn join(runs: &mut Vec<JoinedRun>, from: i64, to: i64) {
    let first = runs.partition_point(|run| run.to <= from);
    let last = runs.partition_point(|run| run.from < to);
    let (mut pieces, mut at) = (Vec::with_capacity(last - first + 2), from);
    for run in &runs[first..last] {
        let (start, end) = (run.from.max(from), run.to.min(to));
        let all = [
            JoinedRun { to: from, ..*run },
            JoinedRun { from: at, to: start, joined: 1 },
            JoinedRun { from: start, to: end, joined: run.joined + 1 },
        ];
        pieces.extend(all.into_iter().filter(|piece| piece.from < piece.to));
        at = end;
    }
    let rest = runs[first..last].last().map(|run| JoinedRun { from: to, ..*run });
    pieces
        .extend([Some(JoinedRun { from: at, to, joined: 1 }), rest].into_iter().flatten().filter(|piece| piece.from < piece.to));
    runs.splice(first..last, pieces);
}

/// Takes out the windows that end in (`ends.0`, `ends.1`], all behind, which no gap keeps open: these can no longer change.
pub(super) fn close(
    runs: &mut Vec<JoinedRun>,
    of: SlidingDefinition,
    ends: (i64, i64),
    gaps: &Gaps,
    mut closed: impl FnMut(JoinedRun),
) {
    let may_end = |run: &JoinedRun| run.from + of.size_ms <= ends.1 && run.to - of.slide_ms + of.size_ms > ends.0;
    if !runs.iter().any(may_end) {
        return;
    }
    let (mut kept, mut gone) = (Vec::with_capacity(runs.len()), Vec::new());
    for run in runs.drain(..) {
        if !may_end(&run) {
            kept.push(run);
            continue;
        }
        for start in (run.from..run.to).step_by(of.slide_ms as usize) {
            let end = start + of.size_ms;
            let is_closed = ends.0 < end && end <= ends.1 && !gaps.overlap(start, end);
            let into = if is_closed { &mut gone } else { &mut kept };
            match into.last_mut() {
                Some(last) if last.to == start && last.joined == run.joined => last.to += of.slide_ms,
                _ => into.push(JoinedRun { from: start, to: start + of.slide_ms, joined: run.joined }),
            }
        }
    }
    *runs = kept;
    gone.into_iter().for_each(&mut closed);
}

/// All that is needed to tell version and state of a device's sliding windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlidingView {
    pub(super) of: SlidingDefinition,
    /// M(d).
    pub(super) newest: Option<i64>,
    /// M(d) when the device last went silent.
    pub(super) silent_newest: Option<i64>,
    /// Counts that are known, of windows in any order; a window may be told of twice, and the higher count is the newer one.
    pub joined: Vec<JoinedRun>,
}

impl SlidingView {
    /// The definition.
    pub const fn definition(&self) -> SlidingDefinition {
        self.of
    }

    /// The windows that start in [from, to) and hold a reading. `panes` are windows of the pane definition in order of start; those that
    /// start in [from, to + size) must be there.
    pub fn windows(&self, panes: impl IntoIterator<Item = (i64, Aggregate)>, from: i64, to: i64) -> Vec<Window> {
        let mut joined = self.joined.clone();
        joined.sort_unstable_by_key(|run| run.from);
        let mut next = 0;
        // Runs that begin before the window and may reach it.
        let mut open: Vec<JoinedRun> = Vec::new();
        compose(self.of, panes, from, to)
            .into_iter()
            .map(|(start, aggregate)| {
                while joined.get(next).is_some_and(|run| run.from <= start) {
                    open.push(joined[next]);
                    next += 1;
                }
                open.retain(|run| run.to > start);
                let joined = open.iter().map(|run| run.joined).max().unwrap_or(0);
                self.seen(start, aggregate, joined)
            })
            .collect()
    }

    fn seen(&self, start: i64, aggregate: Aggregate, joined: u32) -> Window {
        let is_passed = self.newest.is_some_and(|newest| newest - self.of.delay_ms >= start + self.of.size_ms);
        let went_silent = self.silent_newest.is_some_and(|newest| start <= newest);
        let (state, version) = match (is_passed, went_silent) {
            // Where all its records came after it had fired, empty, the first of them made version 1.
            (true, _) => (WindowState::Final, joined + u32::from(aggregate.count > joined)),
            (false, true) => (WindowState::Incomplete, joined + u32::from(aggregate.count > joined)),
            (false, false) => (WindowState::Provisional, 0),
        };
        Window { start, version, state, aggregate }
    }
}

/// The sliding windows that start in [from, to) and hold a pane, each with what its panes hold together.
///
/// A queue of two stacks: the older panes with the sums from each to the last of them, the newer ones with one sum over all. Each pane
/// is added twice, however many windows it lies in.
fn compose(
    of: SlidingDefinition,
    panes: impl IntoIterator<Item = (i64, Aggregate)>,
    from: i64,
    to: i64,
) -> Vec<(i64, Aggregate)> {
    let mut panes = panes.into_iter().skip_while(|(start, _)| *start < from).peekable();
    let mut windows = Vec::new();
    let mut older: Vec<(i64, Aggregate)> = Vec::new();
    let mut newer: Vec<(i64, Aggregate)> = Vec::new();
    let mut newer_sum = Aggregate::default();
    let mut start = super::floor(from - 1, of.slide_ms) + of.slide_ms;
    while start < to {
        while let Some((pane, aggregate)) = panes.next_if(|(pane, _)| *pane < start + of.size_ms) {
            if planted("sliding-window-misses-a-pane") && pane >= start + of.size_ms - of.slide_ms {
                continue;
            }
            newer.push((pane, aggregate));
            newer_sum.merge(&aggregate);
        }
        while older.last().is_some_and(|(pane, _)| *pane < start) {
            older.pop();
        }
        if older.is_empty() {
            newer_sum = Aggregate::default();
            let mut sum = Aggregate::default();
            while let Some((pane, aggregate)) = newer.pop() {
                if pane >= start {
                    sum.merge(&aggregate);
                    older.push((pane, sum));
                }
            }
        }
        let Some((_, sum)) = older.last() else {
            // Nothing here: on to the first window that holds the next pane.
            let Some((pane, _)) = panes.peek() else { break };
            start = start.max(of.starts_around(*pane).0);
            continue;
        };
        let mut sum = *sum;
        sum.merge(&newer_sum);
        windows.push((start, sum));
        start += of.slide_ms;
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::plain_reading;
    use crate::milli::Milli;
    use crate::time::EventTime;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn windows_hold_what_their_panes_do(
            readings in prop::collection::vec((0i64..900, -9_000i32..9_000), 0..40),
            (size, slide) in prop_oneof![Just((30, 10)), Just((300, 10)), Just((50, 20)), Just((70, 60))],
            from in -100i64..900,
            len in 0i64..900,
        ) {
            let of = SlidingDefinition { size_ms: size, slide_ms: slide, delay_ms: 0, pane: 0 };
            let mut panes: BTreeMap<i64, Aggregate> = BTreeMap::new();
            for (at, t) in &readings {
                panes.entry(at - at % 10).or_default().add(&plain_reading(EventTime::from_ms(*at), Milli(*t)));
            }
            let mut expected = Vec::new();
            for start in (from..from + len).filter(|s| s.rem_euclid(slide) == 0) {
                let mut sum = Aggregate::default();
                let inside = readings.iter().filter(|(at, _)| (start..start + size).contains(at));
                inside.for_each(|(at, t)| sum.add(&plain_reading(EventTime::from_ms(*at), Milli(*t))));
                if sum.count > 0 {
                    expected.push((start, sum));
                }
            }
            prop_assert_eq!(compose(of, panes, from, from + len), expected);
        }

        #[test]
        fn runs_are_counts(ranges in prop::collection::vec((0i64..40, 1i64..20), 0..20), ends in (0i64..70, 0i64..70)) {
            let mut runs = Vec::new();
            let mut counts = BTreeMap::new();
            for (from, len) in ranges {
                join(&mut runs, from * 10, (from + len) * 10);
                (from..from + len).for_each(|n| *counts.entry(n * 10).or_insert(0u32) += 1);
            }
            let plain = |runs: &[JoinedRun]| -> BTreeMap<i64, u32> {
                runs.iter().flat_map(|r| (r.from..r.to).step_by(10).map(move |s| (s, r.joined))).collect()
            };
            prop_assert_eq!(&plain(&runs), &counts);
            prop_assert!(runs.windows(2).all(|pair| pair[0].to <= pair[1].from));
            let of = SlidingDefinition { size_ms: 30, slide_ms: 10, delay_ms: 0, pane: 0 };
            let mut gone = Vec::new();
            close(&mut runs, of, (ends.0 * 10, ends.1 * 10), &Gaps::default(), |run| gone.push(run));
            let (out, kept): (BTreeMap<i64, u32>, BTreeMap<i64, u32>) =
                counts.into_iter().partition(|(s, _)| s + 30 > ends.0 * 10 && s + 30 <= ends.1 * 10);
            prop_assert_eq!((plain(&gone), plain(&runs)), (out, kept));
        }
    }
}
