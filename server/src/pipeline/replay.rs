//! Reading the embedded log again: at a start, to verify, and to make the state anew.

use super::PARTITION;
use super::shard::{Due, Shard};
use crate::admission::Batch;
use crate::identities::Sizes;
use crate::letters::Decision;
use crate::log::{Block, BlockKind, Place};
use crate::store::Snapshot;
use anyhow::{Context, ensure};
use domain::engine::EngineConfig;
use domain::master::Master;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// When a part of a state that is made anew is stored: it lies in memory meanwhile.
pub(crate) const REBUILD: Due = Due { records: 500_000, bytes: 256 << 20, every: Duration::MAX, identities: Sizes::NORMAL };

/// How many records a block holds.
pub fn records_of(block: &Block, key: &crate::admission::IdentityKey) -> u64 {
    match block.kind {
        BlockKind::Records(format) => {
            Batch::parse(block.body.clone(), format, &block.source, key).map_or(0, |batch| batch.len() as u64)
        }
        BlockKind::Decision => Decision::decode(&block.body).map_or(0, |(decision, _)| decision.records()),
        BlockKind::Pairings | BlockKind::Timer => 0,
    }
}

impl Shard {
    /// The state of `snapshot`, of an embedded log that nobody writes.
    pub fn embedded(
        snapshot: Snapshot,
        identities_dir: &Path,
        master: &Arc<Master>,
        config: &EngineConfig,
    ) -> anyhow::Result<Self> {
        Shard::restore(snapshot, (PARTITION, 1), identities_dir, master, config, REBUILD)
    }

    /// Takes in a block of the log as it was taken in when it was new; of one that the state covers, only the identities.
    pub fn feed(&mut self, block: Block) -> anyhow::Result<()> {
        let place = Place { number: block.number, first_record: block.first_record, received_at: block.received_at };
        let is_covered = self.covers(block.number);
        match block.kind {
            BlockKind::Records(format) => {
                let batch = Batch::parse(block.body, format, &block.source, &self.key())
                    .with_context(|| format!("read block {} of the log again", block.number))?;
                if is_covered {
                    self.remember(&batch, block.received_at);
                } else {
                    self.take(&batch, place);
                }
            }
            BlockKind::Decision if is_covered => {
                self.remember_replay(block.body, &block.source, block.number, block.received_at)?;
            }
            BlockKind::Decision => self.decide(&block.body, &block.source, place, None)?,
            BlockKind::Pairings | BlockKind::Timer if is_covered => {}
            BlockKind::Pairings => {
                if let Err(error) = self.pair(&block.body, place) {
                    // Ids that an older program let in; the start notes those that are configured now.
                    tracing::warn!(error = format!("{error:#}"), "Pairings cannot be read; passed over.");
                    self.pass_time(place);
                }
            }
            BlockKind::Timer => self.pass_time(place),
        }
        Ok(())
    }

    /// Reads the log in `dir` from block `from` on.
    pub fn read_log(&mut self, dir: &Path, from: u64) -> anyhow::Result<()> {
        let begun = std::time::Instant::now();
        let covered = self.next_block;
        let mut expected = from;
        for block in crate::log::read(dir, from)? {
            let block = block?;
            ensure!(block.number == expected, "the log misses block {expected}: the next is {}", block.number);
            expected += 1;
            self.feed(block)?;
        }
        ensure!(expected >= covered, "the log ends at block {} before the state does", expected - 1);
        self.restored(begun);
        Ok(())
    }
}
