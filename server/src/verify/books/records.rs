//! The records of the log one by one: their counters and identities, late records, dead letters, and what was decided of these.

use super::raw::RawRows;
use super::{Books, ROWS};
use crate::letters::{Decided, Outcome};
use crate::side::{DEAD, LATE, SideRow};
use crate::store::StoreError;
use crate::verify::is_about_content;
use crate::verify::recompute::{Counted, Recomputed};
use crate::verify::report::Law;
use crate::verify::scan::{Held, scan};
use domain::engine::{Engine, Identities, Seen as Known, Tally};
use domain::event::{BodyHash, Identity, Topic};
use domain::planted;
use domain::time::ProcessingTime;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

impl Books<'_> {
    /// Counters, identities, and what the side outputs and the tables of records should be, in one more reading of the log.
    pub(super) async fn records(&mut self, recomputed: &Recomputed) -> anyhow::Result<(Letters, RawRows)> {
        let known = self.shard.room.identities() as u64;
        let mut counted = Counted::default();
        let (mut expected, mut raw) = (Letters::default(), RawRows::default());
        let (log, key) = recomputed.log();
        let Self { report, shard, subject, covered, .. } = self;
        let has_tables = subject.store.has_raw_rows();
        scan(log, key, |place, held| {
            let batch = match &held {
                Held::Records(batch) | Held::Replay(_, batch) => batch,
                Held::Discard(decision, reason) => {
                    let outcome = Outcome::Discarded { reason: reason.clone() };
                    expected.decide(decision.letter, &decision.by, place.number, place.received_at, outcome);
                    return Ok(());
                }
                Held::Void(_) | Held::Pairings(_) | Held::HandedOn(..) | Held::Timer => return Ok(()),
            };
            let positions = (place.first_record..).step_by(log.step() as usize);
            for ((index, record), position) in batch.records().enumerate().zip(positions) {
                let disposition = recomputed.fate(position).expect("only decisions without effect have no fate");
                counted.count(&record, disposition, position, place.received_at);
                if has_tables && log.is_before(covered.next_block, place, position) {
                    raw.take(&record, disposition, position, place.received_at);
                }
                let record = shard.room.engine.as_judged(record);
                let mut probe = Probe { known: shard.identities(), is_new: false };
                Engine::remember(subject.config, std::iter::once(record), place.received_at, &mut probe);
                if probe.is_new && place.received_at.ms() >= recomputed.remembered_from {
                    let name = batch.event_id(index).or(batch.device_id(index)).unwrap_or_default();
                    report
                        .breaks(Law::Identities, || format!("the record at position {position} ({name}) is not known any more"));
                }
                if let Some((kind, row)) = SideRow::of(batch, index, disposition, position, place.received_at) {
                    expected.rows[kind].push((position, hash(&row)));
                }
                if let Held::Replay(decision, _) = &held {
                    let outcome = Outcome::Replayed { position, end: disposition.into() };
                    expected.decide(decision.letter, &decision.by, place.number, place.received_at, outcome);
                }
            }
            Ok(())
        })?;
        // Those of too old records are forgotten at some time or other.
        let (young, all) = (recomputed.young, recomputed.identities);
        if !(young..=all).contains(&known) {
            report.breaks(Law::Identities, || format!("{known} identities are known, and {all} should be"));
        }
        report.summarise(Law::Identities, format!("{known} known"));
        self.counters(&counted);
        self.days(&counted.days).await?;
        self.side_rows(LATE, &expected.rows[LATE], |_| true, recomputed).await?;
        // One of which nothing was decided stays, however old it is.
        let is_decided = |letter: u64| expected.decided.contains_key(&letter) || planted("open-letter-may-have-gone");
        self.side_rows(DEAD, &expected.rows[DEAD], is_decided, recomputed).await?;
        Ok((expected, raw))
    }

    /// C1: all counters.
    fn counters(&mut self, counted: &Counted) {
        let (found, expected) = (self.shard.room.engine.totals(), &counted.totals);
        let mut differ = |name: &str, expected: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
            let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
            if expected != found {
                self.report.breaks(Law::C1, || format!("{name}: expected {expected}; found {found}"));
            }
        };
        differ("all records", &expected.all, &found.all);
        let topics = Topic::ALL.iter().map(|topic| topic.name()).chain(["unknown"]);
        for (name, (expected, found)) in topics.zip(expected.by_topic.iter().zip(&found.by_topic)) {
            differ(&format!("topic {name}"), expected, found);
        }
        differ("number of sources", &expected.by_source.len(), &found.by_source.len());
        for (expected, found) in expected.by_source.iter().zip(&found.by_source) {
            differ(&format!("source {}", expected.0), expected, found);
        }
        for (reason, (expected, found)) in domain::event::Reason::ALL.iter().zip(expected.by_reason.iter().zip(&found.by_reason))
        {
            differ(&format!("reason {}", reason.name()), expected, found);
        }
        let newest = expected.newest_letters.iter().zip(&found.newest_letters);
        for (reason, (expected, found)) in domain::event::Reason::ALL.iter().zip(newest) {
            differ(&format!("newest dead letter of reason {}", reason.name()), expected, found);
        }
        for ((name, _), (expected, found)) in expected.by_source.iter().zip(expected.heard_from.iter().zip(&found.heard_from)) {
            differ(&format!("last word of source {name}"), expected, found);
        }
        // An hour in which a block without records came has begun, and nothing was counted in it.
        let hours: Vec<_> = found.by_hour().filter(|(_, tally)| tally.received > 0).collect();
        let known_from = found.begun_hours.first().map_or(i64::MAX, |(start, _)| *start);
        let expected_hours: Vec<_> = counted.hours.range(known_from..).map(|(start, tally)| (*start, *tally)).collect();
        differ("records by hour", &expected_hours, &hours);
        let Tally { received, accepted, duplicate, late, rejected } = expected.all;
        self.report.summarise(
            Law::C1,
            format!(
                "{received} received = {accepted} accepted + {duplicate} duplicate + {late} late + {rejected} rejected, from {} sources",
                expected.by_source.len()
            ),
        );
    }

    /// The rows of a side output against what they should be, by position and a hash of all they hold. `may_go` says of which positions
    /// retention takes what is old.
    async fn side_rows(
        &mut self,
        kind: usize,
        expected: &[(u64, u64)],
        may_go: impl Fn(u64) -> bool,
        recomputed: &Recomputed,
    ) -> anyhow::Result<()> {
        let (law, what) = if kind == LATE { (Law::Late, "late record") } else { (Law::C4, "dead letter") };
        let kept_from = ProcessingTime::from_ms(self.forgotten.side);
        let mut found: HashMap<u64, u64> = HashMap::new();
        let mut position = 0;
        loop {
            let rows = match self.subject.store.side_after(kind, position, ROWS).await {
                Ok(rows) => rows,
                Err(error) if is_about_content(&error) => {
                    self.report.breaks(law, || error.to_string());
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            let Some(last) = rows.last() else { break };
            position = last.position;
            for row in rows.iter().filter(|row| self.log.holds(row.position)) {
                if found.insert(row.position, hash(row)).is_some() {
                    self.report.breaks(law, || format!("{what} at position {}: it is there twice", row.position));
                }
            }
        }
        for row in self.shard.room.side_rows(kind) {
            if found.insert(row.position, hash(&row)).is_some() {
                self.report.breaks(law, || format!("{what} at position {}: it is there twice", row.position));
            }
        }
        let (stored, mut wrong) = (found.len(), Vec::new());
        for (position, hash) in expected {
            let found = found.remove(position);
            if found != Some(*hash) {
                // Retention takes rows, and changes none.
                wrong.push(Wrong { position: *position, may_be_forgotten: found.is_none() && may_go(*position) });
            }
        }
        let mut extra: Vec<u64> = found.into_keys().collect();
        extra.sort_unstable();
        for position in extra {
            self.report.breaks(law, || format!("{what} at position {position}: the record there is none"));
        }
        let forgotten = self.explain(kind, law, what, &wrong, kept_from, recomputed).await?;
        let forgotten = if forgotten > 0 { format!(", {forgotten} deleted for their age") } else { String::new() };
        self.report.summarise(law, format!("{stored} rows{forgotten}"));
        Ok(())
    }

    /// Tells what should stand where something is `wrong`, oldest first; how many of these rows retention may have deleted.
    async fn explain(
        &mut self,
        kind: usize,
        law: Law,
        what: &str,
        wrong: &[Wrong],
        kept_from: ProcessingTime,
        recomputed: &Recomputed,
    ) -> anyhow::Result<u64> {
        let (Some(first), Some(last)) = (wrong.first(), wrong.last()) else { return Ok(0) };
        let mut rows: Vec<SideRow> = Vec::new();
        let mut forgotten = 0;
        let (log, key) = recomputed.log();
        let step = log.step();
        scan(log, key, |place, held| {
            let (Held::Records(batch) | Held::Replay(_, batch)) = &held else { return Ok(()) };
            if place.first_record > last.position || place.first_record + batch.len() as u64 * step <= first.position {
                return Ok(());
            }
            for (index, position) in (0..batch.len()).zip((place.first_record..).step_by(step as usize)) {
                let Ok(at) = wrong.binary_search_by_key(&position, |wrong| wrong.position) else { continue };
                if wrong[at].may_be_forgotten && place.received_at < kept_from {
                    forgotten += 1;
                } else {
                    let disposition = recomputed.fate(position).expect("it has a row");
                    let row = SideRow::of(batch, index, disposition, position, place.received_at);
                    rows.extend(row.map(|(_, row)| row.into_owned()));
                }
            }
            Ok(())
        })?;
        for row in rows {
            let stored = self.subject.store.side_at(kind, row.position).await?;
            let found = stored.or_else(|| self.shard.room.side_at(kind, row.position));
            let found = found.as_ref().map_or_else(|| "nothing".to_owned(), short);
            self.report.breaks(law, || format!("{what} at position {}: expected {}; found {found}", row.position, short(&row)));
        }
        Ok(forgotten)
    }

    /// C4: every decision, and that rejected = open + replayed + discarded.
    pub(super) async fn letters(&mut self, expected: Letters) -> anyhow::Result<()> {
        let mut found: BTreeMap<u64, Decided> = BTreeMap::new();
        let stored = match self.subject.store.decisions(0, u64::MAX >> 1).await {
            Ok(stored) => stored,
            Err(error @ StoreError::Broken { .. }) => {
                self.report.breaks(Law::C4, || error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let all = stored.into_iter().chain(self.shard.room.decisions().cloned());
        for decided in all.filter(|decided| self.log.holds(decided.letter)) {
            found.insert(decided.letter, decided);
        }
        let (mut replayed, mut discarded) = (0u64, 0u64);
        for (letter, decided) in &expected.decided {
            match decided.outcome {
                Outcome::Replayed { .. } => replayed += 1,
                Outcome::Discarded { .. } => discarded += 1,
            }
            let found = found.remove(letter);
            if found.as_ref() != Some(decided) {
                self.report.breaks(Law::C4, || {
                    format!("the decision of the dead letter at position {letter}: expected {decided:?}; found {found:?}")
                });
            }
            if expected.rows[DEAD].binary_search_by_key(letter, |(position, _)| *position).is_err() {
                self.report.breaks(Law::C4, || {
                    format!("block {} decides of a dead letter at position {letter}: there is none", decided.block)
                });
            }
        }
        for decided in found.into_values() {
            self.report.breaks(Law::C4, || format!("a decision that is not in the log: {decided:?}"));
        }
        let rejected = self.shard.room.engine.totals().all.rejected;
        let letters = expected.rows[DEAD].len() as u64;
        if rejected != letters {
            self.report.breaks(Law::C4, || format!("{rejected} records are said to be rejected, and {letters} were"));
        }
        let open = letters.saturating_sub(replayed + discarded);
        let summary = format!("{rejected} rejected = {open} open + {replayed} replayed + {discarded} discarded");
        self.report.summarise(Law::C4, summary);
        Ok(())
    }
}

/// Where a row of a side output is missing, or another one.
struct Wrong {
    position: u64,
    /// Nothing is there, and retention was free to take it once it was old.
    may_be_forgotten: bool,
}

/// What the side outputs should be.
#[derive(Default)]
pub(super) struct Letters {
    /// Position and hash of every row, by output.
    rows: [Vec<(u64, u64)>; 2],
    decided: BTreeMap<u64, Decided>,
}

impl Letters {
    fn decide(&mut self, letter: u64, by: &str, block: u64, at: ProcessingTime, outcome: Outcome) {
        self.decided.insert(letter, Decided { letter, block, at, by: by.to_owned(), outcome });
    }
}

/// Asks the memory of identities without teaching it unnoticed.
struct Probe<'a, I> {
    known: &'a mut I,
    is_new: bool,
}

impl<I: Identities> Identities for Probe<'_, I> {
    fn check_in(&mut self, identity: Identity, body: BodyHash) -> Known {
        let seen = self.known.check_in(identity, body);
        self.is_new |= seen == Known::New;
        seen
    }

    fn seen(&self, identity: Identity, body: BodyHash) -> Known {
        self.known.seen(identity, body)
    }
}

fn hash(row: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    postcard::to_stdvec(row).expect("a row has no type that postcard cannot write").hash(&mut hasher);
    hasher.finish()
}

/// A row without its bytes.
fn short(row: &SideRow) -> String {
    let SideRow { received_at, event_id, device_id, ts, source, cause, raw, .. } = row;
    let ts = ts.map(|ts| ts.to_string());
    format!(
        "{cause:?} of {source}, received {received_at}, event {event_id:?}, device {device_id:?}, ts {ts:?}, {} bytes",
        raw.len()
    )
}
