//! The books of the newest days.

use super::EngineBackend;
use crate::http::Problem;
use crate::pipeline::PARTITION;
use domain::engine::DayBook;
use domain::time::DAY_MS;
use std::collections::BTreeMap;

impl EngineBackend {
    /// The books of the newest `days` days, in order of day, source and topic. Those of Kafka's partitions as far as they are stored.
    pub async fn day_books(&self, days: i64) -> Result<Vec<DayBook>, Problem> {
        let in_memory = self.pipeline.ask(|room| (room.engine.now().ms(), room.engine.day_books().collect::<Vec<_>>()));
        let (now, fresh) = in_memory.await?;
        let from = (now.div_euclid(DAY_MS) + 1 - days) * DAY_MS;
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
