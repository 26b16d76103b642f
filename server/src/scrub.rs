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
/// where in it.
pub async fn look(store: &Store, dir: &Path) -> anyhow::Result<Vec<String>> {
    let (key, runs) = (store.identity_key().await?, store.named_runs(PARTITION).await?);
    let (log_dir, runs_dir) = (dir.join("log"), identities::folder(&dir.join("identities"), &key));
    let files = tokio::task::spawn_blocking(move || {
        let mut found: Vec<String> = log::scrub(&log_dir)?.iter().map(ToString::to_string).collect();
        for run in runs {
            // Forgotten a moment ago, it is there no longer.
            match identities::check_run(&runs_dir.join(&run.name), run.identities) {
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
        let Some(looked) = stop.run_until_cancelled(look(&store, &dir)).await else { return };
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
