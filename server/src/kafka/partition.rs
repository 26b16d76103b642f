//! A partition of the input without a thread or a broker: what is made of its messages, and what is written down of it. Its worker drives
//! it, and so does the simulation (`server/examples/sim`).

use super::STEP;
use super::inbox::{Inbox, Kind};
use super::take::take;
use crate::identities::Freeze;
use crate::pipeline::{Due, Shard, Writing, needed_from};
use crate::store::Snapshot;
use domain::engine::EngineConfig;
use domain::master::Master;
use domain::time::{DAY_MS, ProcessingTime};
use std::path::Path;
use std::sync::Arc;

/// Identities of so many records are written for the next owner; fewer it reads from the log again just as soon.
pub const WORTH_A_RUN: u64 = 20_000;
/// Identities are written at the latest after so long, by the log's time: what they came from may be gone from Kafka some day.
const RUN_EVERY_MS: i64 = DAY_MS;

/// A partition at work.
pub struct Owned {
    /// Its state.
    pub shard: Shard,
    /// Its number in the store.
    number: u32,
    /// The next block that has to come; those before it are known altogether.
    expected: u64,
    /// The newest time of a message so far.
    clock: ProcessingTime,
    /// Records that the engine has taken in.
    processed: u64,
}

impl Owned {
    /// The partition `number` as the store holds it, with its runs of identities in `dir`. Messages have to come from the block
    /// [`Owned::expected`] on.
    pub fn restore(
        snapshot: Snapshot,
        number: u32,
        dir: &Path,
        master: &Arc<Master>,
        config: &EngineConfig,
        due: Due,
    ) -> anyhow::Result<Self> {
        let expected = needed_from(&snapshot);
        let shard = Shard::restore(snapshot, (number, STEP), dir, master, config, due)?;
        Ok(Self { shard, number, expected, clock: ProcessingTime::from_ms(0), processed: 0 })
    }

    /// Its number in the store.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The next block that has to come.
    pub const fn expected(&self) -> u64 {
        self.expected
    }

    /// Records taken in.
    pub const fn processed(&self) -> u64 {
        self.processed
    }

    /// Takes in what was fetched; whether a timer was among it.
    pub fn take(&mut self, inbox: &Inbox) -> bool {
        let mut has_timer = false;
        for run in inbox.runs(self.shard.next_block) {
            if run.last < self.expected {
                continue; // a run of identities tells as much
            }
            self.processed += take(&mut self.shard, self.number, &run, &mut self.clock);
            has_timer |= run.kind == Kind::Timer;
            self.expected = run.last + 1;
        }
        self.shard.settle();
        has_timer
    }

    /// Whether identities are `worth` that many records, or old, and in no run yet. Not while those of what the state covers are still
    /// being read: a run says that it has them all.
    pub fn is_run_due(&self, worth: u64) -> bool {
        self.expected >= self.shard.next_block && self.shard.run_is_due(worth, RUN_EVERY_MS)
    }

    /// Cuts a checkpoint. Identities become a run where they are `worth` that many records, or old.
    pub fn cut(&mut self, worth: u64) -> Writing {
        Writing::new(self.shard.cut(self.freeze(worth)))
    }

    /// Which identities the next checkpoint makes a run of, where that many records are `worth` it.
    pub fn freeze(&self, worth: u64) -> Freeze {
        if self.is_run_due(worth) { Freeze::All } else { Freeze::Full }
    }
}
