//! The books of each day against the log, by source and topic.

use super::Books;
use crate::store::{TAKEN, book_name};
use crate::verify::is_about_content;
use crate::verify::report::Law;
use domain::engine::{DayBook, Tally};
use std::collections::{BTreeMap, BTreeSet};

/// Day, source and topic.
pub type Key = (i64, String, u8);

impl Books<'_> {
    /// C1 by day: what is stored and in memory against what the records of the log come to.
    pub(super) async fn days(&mut self, counted: &BTreeMap<Key, Tally>) -> anyhow::Result<()> {
        let stored = match self.subject.store.day_books(Some(self.log.partition()), i64::MIN).await {
            Ok(stored) => stored,
            Err(error) if is_about_content(&error) => {
                self.report.breaks(Law::C1, || error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let fresh = self.shard.room.engine.day_books();
        let key = |book: DayBook| ((book.day_ms, book.source, book.topic), book.tally);
        let found: BTreeMap<Key, Tally> = stored.into_iter().map(|(_, book)| book).chain(fresh).map(key).collect();
        // Of the days that retention has taken the sum is there; where there is none, it has taken none.
        let is_taken = found.keys().any(|(day, ..)| *day == TAKEN);
        let first = found.keys().map(|(day, ..)| *day).find(|day| *day != TAKEN).unwrap_or(i64::MAX);
        let mut expected: BTreeMap<Key, Tally> = BTreeMap::new();
        for ((day, source, topic), tally) in counted {
            let day = if is_taken && *day < first { TAKEN } else { *day };
            expected.entry((day, source.clone(), *topic)).or_default().add(tally);
        }
        let keys: BTreeSet<&Key> = expected.keys().chain(found.keys()).collect();
        for key in keys {
            let (expected, found) = (expected.get(key), found.get(key));
            if expected != found {
                let (day_ms, source, topic) = key.clone();
                let name = book_name(&DayBook { day_ms, source, topic, tally: Tally::default() });
                self.report.breaks(Law::C1, || format!("day {name}: expected {expected:?}; found {found:?}"));
            }
        }
        Ok(())
    }
}
