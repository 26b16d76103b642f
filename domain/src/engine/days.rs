//! The books of each day: what became of its records, by source and topic. A day is one of UTC, by when records came in. And what became of
//! all records, by hour.
//!
//! In memory are the books of the newest day alone; older ones are in the store, where checkpoints have put them. Of hours the newest are
//! known, a day of them.

use super::totals::{Tally, Totals};
use super::{Disposition, Engine};
use crate::event::Topic;
use crate::planted;
use crate::time::{DAY_MS, HOUR_MS, ProcessingTime};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many topics are told apart: those there are, and none that is known.
pub const TOPICS: usize = Topic::ALL.len() + 1;

/// What became of the records of one day, source and topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DayBook {
    /// Start of the day, milliseconds since the Unix epoch.
    pub day_ms: i64,
    /// The source.
    pub source: String,
    /// The topic by its place in [`Topic::ALL`]; one more for records without one.
    pub topic: u8,
    /// How many met which end.
    pub tally: Tally,
}

impl DayBook {
    /// The name of the topic of that place.
    pub fn topic_name(topic: u8) -> &'static str {
        Topic::ALL.get(usize::from(topic)).map_or("unknown", |topic| topic.name())
    }

    /// The place of the topic of that name.
    pub fn topic_named(name: &str) -> Option<u8> {
        (0..TOPICS as u8).find(|topic| Self::topic_name(*topic) == name)
    }
}

/// The books of the newest day of the log on which anything came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Today {
    day_ms: i64,
    /// By source, in the order of [`Totals::by_source`], and topic.
    tallies: Vec<[Tally; TOPICS]>,
}

impl Today {
    pub(super) fn count(&mut self, source: usize, topic: usize, disposition: Disposition) {
        if source >= self.tallies.len() {
            self.tallies.resize(source + 1, [Tally::default(); TOPICS]);
        }
        self.tallies[source][topic].count(disposition);
    }

    /// Those that differ from what they were `before`.
    fn changed<'t>(&'t self, before: &'t Today, sources: &'t [(String, Tally)]) -> impl Iterator<Item = DayBook> + 't {
        let is_same_day = self.day_ms == before.day_ms;
        self.tallies.iter().zip(sources).enumerate().flat_map(move |(at, (tallies, (source, _)))| {
            let before = before.tallies.get(at).filter(|_| is_same_day).copied().unwrap_or_default();
            let changed = tallies.iter().zip(before).zip(0..).filter(|((tally, before), _)| *tally != before);
            changed.map(|((tally, _), topic)| DayBook { day_ms: self.day_ms, source: source.clone(), topic, tally: *tally })
        })
    }
}

impl Totals {
    /// The books of the newest day on which anything came in.
    pub fn today(&self) -> impl Iterator<Item = DayBook> + '_ {
        static NOTHING: Today = Today { day_ms: i64::MIN, tallies: Vec::new() };
        self.today.changed(&NOTHING, &self.by_source)
    }

    /// Start of that day, in milliseconds.
    pub fn today_ms(&self) -> i64 {
        self.today.day_ms
    }

    /// What became of the records of each of the newest hours in which anything came in, by the start of the hour, oldest first.
    pub fn by_hour(&self) -> impl Iterator<Item = (i64, Tally)> + '_ {
        let ends = self.begun_hours.iter().skip(1).map(|(_, before)| before).chain([&self.all]);
        self.begun_hours.iter().zip(ends).map(|((start, before), end)| (*start, end.since(before)))
    }

    /// The records to be counted next came in at `now`.
    fn open_hour(&mut self, now: ProcessingTime) {
        let start = now.ms() - now.ms().rem_euclid(HOUR_MS);
        if self.begun_hours.last().is_none_or(|(newest, _)| *newest < start) {
            self.begun_hours.push((start, self.all));
            self.forget_hours();
        }
    }

    /// Keeps those of a day, and the one that is running.
    fn forget_hours(&mut self) {
        self.begun_hours.drain(..self.begun_hours.len().saturating_sub(HOURS));
    }

    /// What was counted before the hour of that start.
    fn before_hour(&self, start: i64) -> &Tally {
        self.begun_hours.iter().find(|(begun, _)| *begun >= start).map_or(&self.all, |(_, before)| before)
    }

    /// Adds the hours of another part of the input, before anything else of it is added.
    pub(super) fn add_hours(&mut self, other: &Totals) {
        let mut starts: Vec<i64> = self.begun_hours.iter().chain(&other.begun_hours).map(|(start, _)| *start).collect();
        starts.sort_unstable();
        starts.dedup();
        let before = |start: i64| {
            let mut sum = *self.before_hour(start);
            sum.add(other.before_hour(start));
            (start, sum)
        };
        self.begun_hours = starts.into_iter().map(before).collect();
        self.forget_hours();
    }
}

/// Hours of which it is known what became of their records.
const HOURS: usize = 25;

/// What of the books is on its way to the store.
#[derive(Clone, Debug, Default)]
pub(super) struct Days {
    /// Of days that are over, since the last checkpoint was cut.
    over: Vec<DayBook>,
    /// What that one took along.
    taken: Arc<Vec<DayBook>>,
    /// Today's as they were then.
    before: Today,
}

impl Engine {
    /// The records to be counted next came in at `now`.
    pub(super) fn open_books(&mut self, now: ProcessingTime) {
        self.totals.open_hour(now);
        let day_ms = now.ms() - now.ms().rem_euclid(DAY_MS);
        let Totals { today, by_source, .. } = &mut self.totals;
        if today.day_ms != day_ms {
            if !planted("day-ends-without-its-last-records") {
                self.days.over.extend(today.changed(&self.days.before, by_source));
            }
            *today = Today { day_ms, tallies: Vec::new() };
        }
    }

    /// The books of days that changed since the last call, each as it stands. They stay readable by [`Engine::day_books`] until the next
    /// one: by then they have to be stored.
    pub fn take_day_books(&mut self) -> Arc<Vec<DayBook>> {
        let mut changed = std::mem::take(&mut self.days.over);
        changed.extend(self.totals.today.changed(&self.days.before, &self.totals.by_source));
        self.days.before = self.totals.today.clone();
        self.days.taken = Arc::new(changed);
        Arc::clone(&self.days.taken)
    }

    /// The books that may not be stored yet, later ones in place of earlier ones of the same day, source and topic.
    pub fn day_books(&self) -> impl Iterator<Item = DayBook> + '_ {
        self.days.taken.iter().chain(&self.days.over).cloned().chain(self.totals.today())
    }

    /// What is stored of today is what the counters say.
    pub(super) fn restore_day(&mut self) {
        self.days.before = self.totals.today.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Content, EngineConfig, MemoryIdentities, Record};
    use super::*;
    use crate::event::{BodyHash, Identity, Reason};
    use crate::master::Master;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const BEGIN: i64 = 1_790_000_000_000;

    fn record(n: u8, source: usize, topic: usize) -> Record<'static> {
        Record {
            identity: Some(Identity(u128::from(n))),
            is_natural: false,
            body: BodyHash(0),
            sequence: None,
            is_numbered: false,
            topic: Topic::ALL.get(topic).copied(),
            source: ["a", "b", "c"][source].into(),
            content: if n.is_multiple_of(5) { Content::Rejected(Reason::MissingField) } else { Content::Other { at: None } },
        }
    }

    proptest! {
        /// C1 by day: however checkpoints and restarts cut the log, what was handed over says the same as a plain count.
        #[test]
        fn books_of_each_day_are_what_came_in(
            events in prop::collection::vec((0i64..40, 0u8..30, 0usize..3, 0usize..5, 0u8..6), 1..120),
        ) {
            let master = Arc::new(Master::parse("depth,key,name_id,name_en\n0,country,Negara,Country\n",
                "level,code,parent,name\n0,ID,,Indonesia\n",
                "code,name,kind,region,latitude,longitude,zone,equipment\n").expect("parses"));
            let (mut engine, mut identities) = (Engine::new(EngineConfig::default(), &master), MemoryIdentities::default());
            // The same records, shared out between two parts of the input.
            let mut parts = [(); 2].map(|()| (Engine::new(EngineConfig::default(), &master), MemoryIdentities::default()));
            let mut by_hour: BTreeMap<i64, Tally> = BTreeMap::new();
            let mut stored: BTreeMap<(i64, String, u8), Tally> = BTreeMap::new();
            let mut expected = stored.clone();
            let put = |all: &mut BTreeMap<_, _>, book: DayBook| {
                all.insert((book.day_ms, book.source, book.topic), book.tally);
            };
            let mut now = BEGIN;
            for (hours, n, source, topic, then) in events {
                now += hours * DAY_MS / 24;
                let mut told = Vec::new();
                engine.step([record(n, source, topic)], ProcessingTime::from_ms(now), &mut identities, &mut told);
                let key = (now.div_euclid(DAY_MS) * DAY_MS, ["a", "b", "c"][source].to_owned(), topic as u8);
                expected.entry(key).or_default().count(told[0]);
                by_hour.entry(now.div_euclid(HOUR_MS) * HOUR_MS).or_default().count(told[0]);
                let (part, known) = &mut parts[usize::from(n % 2)];
                part.step([record(n, source, topic)], ProcessingTime::from_ms(now), known, &mut Vec::new());
                let mut seen = stored.clone();
                for book in engine.day_books() {
                    put(&mut seen, book);
                }
                prop_assert_eq!(&seen, &expected, "as questions see it");
                if then < 2 {
                    for book in engine.take_day_books().iter() {
                    put(&mut stored, book.clone());
                }
                }
                if then == 0 {
                    let (now, totals) = (engine.now(), engine.totals().clone());
                    engine = Engine::restore(EngineConfig::default(), &master, now, totals, [], []);
                }
            }
            for book in engine.take_day_books().iter() {
                    put(&mut stored, book.clone());
                }
            prop_assert_eq!(&stored, &expected);
            let hours: Vec<(i64, Tally)> = engine.totals().by_hour().collect();
            let newest: Vec<(i64, Tally)> = by_hour.into_iter().rev().take(HOURS).rev().collect();
            prop_assert_eq!(&hours, &newest, "each of the newest hours");
            let mut both = parts[0].0.totals().clone();
            both.add(parts[1].0.totals());
            let both: Vec<(i64, Tally)> = both.by_hour().collect();
            prop_assert_eq!(&both, &hours, "however the input is shared out");
            let sum = expected.values().fold(Tally::default(), |mut sum, tally| { sum.add(tally); sum });
            prop_assert_eq!(sum, engine.totals().all);
            prop_assert!(expected.values().all(|t| t.received == t.accepted + t.duplicate + t.late + t.rejected));
        }
    }
}
