//! Writing a checkpoint: files first, then the one transaction that names them.

use crate::identities::FrozenTable;
use crate::kafka::HandOn;
use crate::side::{DEAD, SideRows};
use crate::store::{Checkpoint, Store, StoreError};
use crate::travel::HandedOn;
use domain::engine::EngineConfig;
use domain::planted;
use rustix::time::{ClockId, clock_gettime};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a checkpoint's work is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// State is copied and encoded; the engine waits.
    Cut,
    /// A run of identities is sorted and written.
    Run,
    /// Results are encoded and handed to the database.
    Store,
}

/// Names of the parts, in order.
const PARTS: [&str; 3] = ["cut", "run", "store"];

/// CPU time that this process has spent on each part, in nanoseconds, but for what the database's own threads do.
static SPENT: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// What this process has spent on each part of checkpoints, in seconds.
pub(crate) fn cpu_seconds() -> [(&'static str, f64); 3] {
    let mut parts = PARTS.iter().zip(&SPENT).map(|(name, spent)| (*name, spent.load(Ordering::Relaxed) as f64 / 1e9));
    std::array::from_fn(|_| parts.next().expect("as many names"))
}

/// CPU time of this thread.
fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Does something for a checkpoint, and counts its CPU time.
pub(crate) fn counted<T>(part: Part, work: impl FnOnce() -> T) -> T {
    let before = thread_time();
    let result = work();
    SPENT[part as usize].fetch_add(thread_time().saturating_sub(before).as_nanos() as u64, Ordering::Relaxed);
    result
}

/// What has to be done next for a checkpoint.
#[derive(Debug)]
pub enum Step<'a> {
    /// The run of identities has to be written: [`FrozenTable::write`].
    WriteRun(&'a FrozenTable),
    /// The store has to keep the run for other processes: [`Store::keep_run`].
    KeepRun(&'a FrozenTable),
    /// Other partitions have to get these, each of them at least once, and to have acknowledged it: a crash behind the transaction would
    /// lose them.
    HandOn(&'a [HandedOn]),
    /// The transaction: [`Store::checkpoint`].
    Commit(&'a Checkpoint),
    /// So long nothing.
    Wait(Duration),
    /// It is committed.
    Done,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    WriteRun,
    KeepRun,
    HandOn,
    Commit,
    Wait,
    Done,
}

impl Next {
    /// What follows the run of identities, of a checkpoint that `hands_on` fixes.
    fn after_run(hands_on: bool) -> Self {
        if hands_on && !planted("fix-handed-on-after-the-checkpoint") { Next::HandOn } else { Next::Commit }
    }

    fn after_commit(hands_on: bool) -> Self {
        if hands_on && planted("fix-handed-on-after-the-checkpoint") { Next::HandOn } else { Next::Done }
    }
}

/// A checkpoint on its way into the store. Whoever writes it does one step after the other and tells how each went.
#[derive(Debug)]
pub struct Writing {
    checkpoint: Checkpoint,
    frozen: Option<FrozenTable>,
    next: Next,
    /// What failed last, to be tried again.
    failed: Next,
    wait: Duration,
}

impl Writing {
    /// Begins to write what [`crate::pipeline::Shard::cut`] has cut.
    pub fn new((checkpoint, frozen): (Checkpoint, Option<FrozenTable>)) -> Self {
        let next = if frozen.is_some() { Next::WriteRun } else { Next::after_run(!checkpoint.handed_on.is_empty()) };
        Self { checkpoint, frozen, next, failed: next, wait: Duration::from_millis(200) }
    }

    /// Where the checkpoint ends: the first block that it does not cover.
    pub fn next_block(&self) -> u64 {
        self.checkpoint.next_block
    }

    /// The dead letters that it holds.
    pub(crate) fn dead_letters(&self) -> &SideRows {
        &self.checkpoint.side[DEAD]
    }

    /// What has to be done next.
    pub fn step(&self) -> Step<'_> {
        match (self.next, &self.frozen) {
            (Next::WriteRun, Some(frozen)) => Step::WriteRun(frozen),
            (Next::KeepRun, Some(frozen)) => Step::KeepRun(frozen),
            (Next::HandOn, _) => Step::HandOn(&self.checkpoint.handed_on),
            (Next::Wait, _) => Step::Wait(self.wait),
            (Next::Done, _) => Step::Done,
            _ => Step::Commit(&self.checkpoint),
        }
    }

    /// How the step went. What may pass is tried again, while the disk is full or the database away: meanwhile the log refuses what it
    /// cannot hold. A run that is written is never written again: a commit that seemed to fail may name it already. After an error that is
    /// given back the process has to end.
    pub fn went(&mut self, result: Result<(), StoreError>) -> Result<(), StoreError> {
        let hands_on = !self.checkpoint.handed_on.is_empty();
        match (result, self.next) {
            (Ok(()), Next::WriteRun) => self.next = Next::KeepRun,
            (Ok(()), Next::KeepRun) => self.next = Next::after_run(hands_on),
            (Ok(()), Next::HandOn) if planted("fix-handed-on-after-the-checkpoint") => self.next = Next::Done,
            (Ok(()), Next::HandOn) => self.next = Next::Commit,
            (Ok(()), Next::Commit) => self.next = Next::after_commit(hands_on),
            (Ok(()), Next::Done) => self.next = Next::Done,
            (Ok(()), Next::Wait) => {
                self.wait = (self.wait * 2).min(Duration::from_secs(1));
                self.next = self.failed;
            }
            (Err(error), _) if error.may_pass() => {
                tracing::error!(%error, "The checkpoint failed; trying again.");
                (self.failed, self.next) = (self.next, Next::Wait);
            }
            (Err(other), _) => return Err(other),
        }
        Ok(())
    }
}

/// Writes a checkpoint, again and again while the disk is full or the database away.
pub(crate) async fn write_checkpoint(
    store: Store,
    writing: Writing,
    epoch: i64,
    config: EngineConfig,
    hand_on: Option<HandOn>,
) -> Result<(), StoreError> {
    let mut work = pin!(write_all(store, writing, epoch, config, hand_on));
    std::future::poll_fn(|context| counted(Part::Store, || work.as_mut().poll(context))).await
}

async fn write_all(
    store: Store,
    mut writing: Writing,
    epoch: i64,
    config: EngineConfig,
    hand_on: Option<HandOn>,
) -> Result<(), StoreError> {
    loop {
        let result = match writing.step() {
            Step::WriteRun(frozen) => {
                let frozen = frozen.clone();
                let written = tokio::task::spawn_blocking(move || counted(Part::Run, || frozen.write())).await;
                written.map_err(std::io::Error::other).flatten().map_err(StoreError::Run)
            }
            Step::KeepRun(frozen) => store.keep_run(writing.checkpoint.partition, epoch, frozen.path()).await,
            Step::HandOn(fixes) => {
                // An embedded log is the only partition.
                if let Some(others) = &hand_on {
                    others.tell(fixes).await;
                }
                Ok(())
            }
            Step::Commit(checkpoint) => store.checkpoint(checkpoint, epoch, &config.windows).await,
            Step::Wait(wait) => {
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Step::Done => break,
        };
        writing.went(result)?;
    }
    loop {
        match store.merge_blocks(&config.windows).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                // Small blocks only cost time; the next checkpoint tries again.
                tracing::warn!(%error, "Blocks of windows could not be put together.");
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identities::{DiskIdentities, Freeze, Sizes};
    use domain::time::ProcessingTime;

    /// A commit of which nobody learns whether it took effect may name the run: half written once more, it would be damaged.
    #[test]
    fn a_run_is_written_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut identities = DiskIdentities::open(dir.path(), &[], Sizes::default()).expect("opens");
        let frozen = identities.freeze(1, ProcessingTime::from_ms(1), Freeze::All);
        let mut writing = Writing::new((Checkpoint::default(), frozen));
        let away = || StoreError::Database(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()));
        let steps = [Err(()), Ok(()), Ok(()), Ok(()), Err(()), Ok(()), Ok(())].map(|result| {
            let name = match writing.step() {
                Step::WriteRun(_) => "run",
                Step::KeepRun(_) => "keep",
                Step::HandOn(_) => "hand on",
                Step::Commit(_) => "commit",
                Step::Wait(_) => "wait",
                Step::Done => "done",
            };
            writing.went(result.map_err(|()| away())).expect("may pass");
            name
        });
        assert_eq!(steps, ["run", "wait", "run", "keep", "commit", "wait", "commit"]);
        assert!(matches!(writing.step(), Step::Done));
    }

    /// Once the position is stored nobody reads them again.
    #[test]
    fn fixes_are_handed_on_before_the_commit() {
        let fix = HandedOn { device: "box".to_owned(), source: "".into(), raw: bytes::Bytes::new() };
        let mut writing = Writing::new((Checkpoint { handed_on: vec![fix], ..Checkpoint::default() }, None));
        assert!(matches!(writing.step(), Step::HandOn([_])));
        writing.went(Ok(())).expect("goes on");
        assert!(matches!(writing.step(), Step::Commit(_)));
        writing.went(Ok(())).expect("goes on");
        assert!(matches!(writing.step(), Step::Done));
    }

    #[test]
    fn work_is_counted_by_its_cpu_time() {
        const WORK: Duration = Duration::from_millis(5);
        let [_, (_, before), _] = cpu_seconds();
        let result = counted(Part::Run, || {
            let end = thread_time() + WORK;
            while thread_time() < end {}
            7
        });
        assert_eq!(result, 7);
        // Others may be counted at the same time.
        let [_, (name, after), _] = cpu_seconds();
        assert!(name == "run" && after - before >= WORK.as_secs_f64(), "{name}: {}", after - before);
    }
}
