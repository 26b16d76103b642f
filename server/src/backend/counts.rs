//! How equipment stood at an instant.

use super::EngineBackend;
use crate::http::Problem;
use crate::pipeline::PARTITION;
use crate::publish::{children, node_of_region};
use domain::feed::Counts;
use domain::rollup::{CountsThen, KnownCounts, StoodThen};
use domain::time::ProcessingTime;
use std::collections::BTreeMap;

/// How the equipment of a region stood.
#[derive(Debug, Default)]
pub struct StoodRegion {
    /// Its figures.
    pub counts: Counts,
    /// Its refrigerators by temperature; empty where there is no histogram.
    pub histogram: Vec<u32>,
    /// Those of what lies directly below, by code.
    pub children: Vec<(String, Counts)>,
}

impl EngineBackend {
    /// How the equipment of a region stood, as it follows from the records received before `known_at`, as of then; `None` where there is
    /// no such region, `Some(None)` where nobody knows any more. A partition of the input that had told nothing by then changes nothing.
    pub async fn counts_as_known_at(&self, code: String, known_at: i64) -> Result<Option<Option<StoodRegion>>, Problem> {
        let asked = code.clone();
        let in_memory = self.pipeline.ask(move |room| {
            let node = node_of_region(&room.engine, &asked)?;
            let at = ProcessingTime::from_ms(known_at);
            if room.engine.now() < at {
                // All that is known was received before: no need to look for versions.
                room.engine.flush();
                let below = children(&room.engine, node);
                return Some(Ok(room.engine.standing_at(at, |rollup| StoodRegion {
                    counts: rollup.counts(node),
                    histogram: rollup.histogram(node).to_vec(),
                    children: below.into_iter().map(|(child, code)| (code, rollup.counts(child))).collect(),
                })));
            }
            let versions = room.engine.known_counts().filter(|version| version.known_at <= known_at);
            Some(Err(versions.cloned().collect::<Vec<KnownCounts>>()))
        });
        let newer = match in_memory.await? {
            None => return Ok(None),
            Some(Ok(counts)) => return Ok(Some(Some(counts))),
            Some(Err(newer)) => newer,
        };
        let mut by_partition: BTreeMap<u32, StoodThen> = BTreeMap::new();
        for partition in self.store.partitions().await? {
            let until = if domain::planted("counts-as-known-are-those-of-now") { i64::MAX } else { known_at };
            match self.store.stood_at(partition as u32, until).await? {
                Some(then) => drop(by_partition.insert(partition as u32, then)),
                None => return Ok(Some(None)),
            }
        }
        for version in &newer {
            by_partition.entry(PARTITION).or_default().take(version);
        }
        let mut then = StoodThen::default();
        for of in by_partition.values() {
            then.add(of);
        }
        let counts = self.pipeline.ask(move |room| {
            let node = node_of_region(&room.engine, &code)?;
            let counts: CountsThen = room.engine.rollup().counts_then(&then);
            Some(StoodRegion {
                counts: counts.of(node),
                histogram: room.engine.rollup().histogram_then(node, &then),
                children: children(&room.engine, node).into_iter().map(|(child, code)| (code, counts.of(child))).collect(),
            })
        });
        Ok(counts.await?.map(Some))
    }
}
