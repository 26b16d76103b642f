//! The books of the newest days.

use super::EngineBackend;
use crate::http::Problem;
use crate::pipeline::{PARTITION, Room};
use crate::store::StoreError;
use app::api::SourceRow;
use domain::engine::{DayBook, Tally};
use domain::time::{DAY_MS, ProcessingTime};
use std::collections::BTreeMap;

/// The time of the log, and the books that are in memory: newer than what is stored.
pub(super) fn fresh(room: &Room) -> (ProcessingTime, Vec<DayBook>) {
    (room.engine.now(), room.engine.day_books().collect())
}

/// What became of the records of each day, the newest first.
pub(super) fn day_rows(books: &[DayBook]) -> Vec<SourceRow> {
    let mut days: BTreeMap<i64, Tally> = BTreeMap::new();
    for book in books {
        days.entry(book.day_ms).or_default().add(&book.tally);
    }
    days.iter().rev().map(|(begins, tally)| super::source_row(&begins.to_string(), tally)).collect()
}

impl EngineBackend {
    /// The books of the newest `days` days, in order of day, source and topic. Those of Kafka's partitions as far as they are stored.
    pub async fn day_books(&self, days: i64) -> Result<Vec<DayBook>, Problem> {
        let (now, fresh) = self.pipeline.ask(|room| fresh(room)).await?;
        Ok(self.day_books_with(now, fresh, days).await?)
    }

    /// The same, where what is in memory has been asked for already.
    pub(super) async fn day_books_with(
        &self,
        now: ProcessingTime,
        fresh: Vec<DayBook>,
        days: i64,
    ) -> Result<Vec<DayBook>, StoreError> {
        let from = (now.ms().div_euclid(DAY_MS) + 1 - days) * DAY_MS;
        let mut books: BTreeMap<(i64, String, u8), BTreeMap<u32, DayBook>> = BTreeMap::new();
        let stored = self.store.day_books(None, from.max(0)).await?;
        // What is in memory is newer, and no difference.
        let fresh = fresh.into_iter().filter(|book| book.day_ms >= from).map(|book| (PARTITION, book));
        for (partition, book) in stored.into_iter().chain(fresh) {
            books.entry((book.day_ms, book.source.clone(), book.topic)).or_default().insert(partition, book);
        }
        let sum = |of: BTreeMap<u32, DayBook>| {
            of.into_values().reduce(|mut sum, book| {
                sum.tally.add(&book.tally);
                sum
            })
        };
        Ok(books.into_values().filter_map(sum).collect())
    }
}
