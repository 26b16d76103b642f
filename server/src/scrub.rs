//! Looks through what lies on the disk and nobody reads, once a day: bits that have changed are found while a backup still has them right.
//!
//! What is read is checked then too, and never served when it is damaged. The newest segment of the log is left out: a start reads it.

use crate::identities;
use crate::log;
use crate::pipeline::PARTITION;
use crate::store::Store;
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_hours(24);
/// A server that is started each day looks too.
const FIRST: Duration = Duration::from_mins(10);

static DAMAGED: AtomicU64 = AtomicU64::new(0);

/// How much the last look found damaged.
pub(crate) fn damaged() -> u64 {
    DAMAGED.load(Ordering::Relaxed)
}

/// Looks through all that lies in the data directory `dir` and in `store`: a sentence for each thing that is damaged, with the file and
/// where in it. Once `stop` is cancelled it reads no more of the files, which may take hours, and a process that ends waits for whoever
/// reads; what was found until then is told.
pub async fn look(store: &Store, dir: &Path, stop: &CancellationToken) -> anyhow::Result<Vec<String>> {
    let (key, runs) = (store.identity_key().await?, store.named_runs(PARTITION).await?);
    let (log_dir, runs_dir) = (dir.join("log"), identities::folder(&dir.join("identities"), &key));
    let stop = stop.clone();
    let files = tokio::task::spawn_blocking(move || {
        let is_stopped = || stop.is_cancelled() && !domain::planted("a-stop-waits-for-the-look");
        let mut found: Vec<String> = log::scrub(&log_dir, &is_stopped)?.iter().map(ToString::to_string).collect();
        for run in runs {
            // Forgotten a moment ago, it is there no longer.
            match identities::scrub_run(&runs_dir.join(&run.name), run.identities, &is_stopped) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => found.push(error.to_string()),
                _ => {}
            }
        }
        anyhow::Ok(found)
    });
    let mut found = files.await.context("read the files")??;
    found.extend(store.damage().await.context("check the database")?);
    Ok(found)
}

/// Looks once a day until `stop`, and says what it finds.
pub(crate) async fn daily(store: Store, dir: PathBuf, stop: CancellationToken) {
    let mut every = interval_at(Instant::now() + FIRST, EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(every.tick()).await.is_some() {
        let Some(looked) = stop.run_until_cancelled(look(&store, &dir, &stop)).await else { return };
        match looked {
            Ok(found) => {
                DAMAGED.store(found.len() as u64, Ordering::Relaxed);
                for what in found {
                    tracing::error!(what, "Something on the disk is damaged that nobody has read yet.");
                }
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "Cannot look through the disk; trying again tomorrow."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Format;
    use crate::log::{BlockKind, Draft, Log};
    use domain::time::ProcessingTime;
    use std::cell::Cell;
    use std::fs;

    #[test]
    fn a_stop_ends_the_look_through_the_log_between_two_blocks() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = Log::open(dir.path(), |_| 1).expect("opens");
        for ms in 1..=4 {
            let draft = Draft { kind: BlockKind::Records(Format::Ndjson), source: "gateway", body: b"a", records: 1 };
            log.append(&[draft], ProcessingTime::from_ms(ms)).expect("appends");
        }
        drop(log);
        // It is closed once another one is there; its last block is damaged.
        fs::write(dir.path().join(format!("{:020}.seg", 5)), "").expect("writes");
        let segment = dir.path().join(format!("{:020}.seg", 1));
        let mut bytes = fs::read(&segment).expect("reads");
        *bytes.last_mut().expect("four blocks") ^= 1;
        fs::write(&segment, bytes).expect("writes");
        let found = |questions: u32| {
            let asked = Cell::new(0);
            let found = log::scrub(dir.path(), &|| asked.replace(asked.get() + 1) >= questions);
            found.expect("reads").len()
        };
        // One question for the segment, and one for each of its blocks.
        assert_eq!([0, 1, 4, 5, 99].map(found), [0, 0, 0, 1, 1]);
    }
}
