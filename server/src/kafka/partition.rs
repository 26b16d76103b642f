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
use domain::planted;
use domain::time::{DAY_MS, ProcessingTime};
use std::path::Path;
use std::sync::Arc;

/// Identities of so many records are written for the next owner; fewer it reads from the log again just as soon.
pub const WORTH_A_RUN: u64 = 20_000;
/// Identities are written at the latest after so long, by the log's time: what they came from may be gone from Kafka some day.
const RUN_EVERY_MS: i64 = DAY_MS;

/// Whether a log is not the one that a state came from, although it has the same name: a topic made anew, or cut off by a broker that
/// lacked its end, and perhaps written on. The state ends before `next_block`; the log ends before the offset `high`, and `later` is the
/// first offset of a message that came in after the time of the state's end, where there is one: the state covers none of these. Who asks
/// for `later` first and then for `high` misses no log that was shorter meanwhile.
pub fn is_other_log(next_block: u64, later: Option<i64>, high: i64) -> bool {
    let is_covered = |offset: i64| (offset as u64) + 1 < next_block;
    let is_newer = later.is_some_and(is_covered) && !planted("topic-made-anew-is-the-old-one");
    let is_shorter = is_covered(high) && !planted("shorter-topic-is-the-old-one");
    is_newer || is_shorter
}

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

    /// What is gone of that what has to come next, where the log holds offsets from `low` to before `high`: from here to there. `to` lies
    /// before `from` where the log was cut off.
    pub fn gap(&self, (low, high): (i64, i64)) -> Option<(i64, i64)> {
        let from = self.expected as i64 - 1;
        if from < low { Some((from, low)) } else { (from > high).then_some((from, high)) }
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
