//! Whether what is stored is what the log leads to: the conservation laws (`docs/semantics.md`), and every result against a recomputation in
//! batches that shares no code with the engine's windows and roll-ups.
//!
//! The stored side is what a restart would have: the last checkpoint, and the engine over the rest of the log.

mod beyond;
mod books;
pub mod history;
mod kafka;
mod known;
mod nameless;
mod recompute;
mod report;
mod scan;
pub mod stood;
mod travel;
mod versions;

pub use kafka::verify_kafka;
pub use recompute::{Device, Recomputed};
pub use report::{Law, Report};
pub use scan::{Outline, outline};

use crate::log::{Log, LogError};
use crate::pipeline::{Shard, needed_from};
use crate::store::{Snapshot, Store, StoreError};
use anyhow::Context;
use books::{Books, Covered};
use domain::engine::EngineConfig;
use domain::master::Master;
use scan::Source;
use std::path::Path;
use std::sync::Arc;

/// What is verified, and by which settings it was made. Nobody else may use the directory meanwhile.
pub struct Subject<'a> {
    /// The data directory.
    pub dir: &'a Path,
    /// The database.
    pub store: &'a Store,
    /// Master data.
    pub master: &'a Arc<Master>,
    /// Limits and windows.
    pub config: &'a EngineConfig,
}

/// Verifies everything; an error only where nothing can be said. Like a start it cuts off what a crash left unfinished at the log's end.
pub async fn verify(subject: &Subject<'_>) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let log_dir = subject.dir.join("log");
    let outline = match open(&log_dir) {
        Ok(outline) => outline,
        Err(reason) => {
            report.breaks(Law::Log, || reason);
            return Ok(report);
        }
    };
    let Outline { first_block, last_block, received, bytes, .. } = outline;
    report.summarise(
        Law::Log,
        format!("blocks {first_block} to {last_block} with {bytes} bytes, received {} to {}", received.0, received.1),
    );
    let (shard, covered) = match restore(subject, &log_dir, &outline, &mut report).await {
        Ok(Some(restored)) => restored,
        Ok(None) => {
            report.summarise(Law::State, "nothing was ever stored here".to_owned());
            return Ok(report);
        }
        Err(error) => {
            report.breaks(Law::State, || format!("{error:#}"));
            return Ok(report);
        }
    };
    report.summarise(Law::State, format!("loaded up to block {}, one run of the program after another", shard.next_block - 1));
    let source = Source::Files(log_dir);
    let mut books = Books::new(subject, source.clone(), (shard, covered), subject.store.forgotten().await?, &mut report);
    if first_block > 1 {
        books.report.range = Some(format!(
            "the log begins with block {first_block}, received {}; what came before was deleted for its age, so results are compared \
             with each other and not recomputed",
            received.0
        ));
        books.agree(&outline).await?;
    } else {
        let key = books.key();
        let recomputed = Recomputed::of(source, key, &outline, subject.config, subject.master)?;
        books.compare(recomputed).await?;
    }
    Ok(report)
}

/// What the log says of itself, after what a start does to its end.
fn open(log_dir: &Path) -> Result<Outline, String> {
    Log::open(log_dir, |_| 0).map_err(|e: LogError| e.to_string())?;
    outline(log_dir)
}

/// The state of the last checkpoint, and the engine over the rest of the log; `None` where nothing was ever stored or logged.
async fn restore(
    subject: &Subject<'_>,
    log_dir: &Path,
    outline: &Outline,
    report: &mut Report,
) -> anyhow::Result<Option<(Shard, Covered)>> {
    let log_id = crate::log::id(log_dir)?;
    let Some(snapshot) = subject.store.peek(crate::pipeline::PARTITION, &log_id).await? else {
        anyhow::ensure!(
            outline.last_block == 0,
            "the database is empty, and the log is not: `rantai rebuild` makes the state from it"
        );
        return Ok(None);
    };
    check_days(subject, crate::pipeline::PARTITION, &snapshot, report).await?;
    let identities_dir = crate::identities::folder(&subject.dir.join("identities"), &snapshot.identity_key);
    subject.store.fetch_runs(crate::pipeline::PARTITION, &identities_dir).await.context("fetch the memory of identities")?;
    let (from, covered) = (needed_from(&snapshot), Covered::from(&snapshot));
    let mut shard = Shard::embedded(snapshot, &identities_dir, subject.master, subject.config)?;
    shard.read_log(log_dir, from)?;
    Ok(Some((shard, covered)))
}

/// C1 by day, as a start checks it.
async fn check_days(subject: &Subject<'_>, partition: u32, snapshot: &Snapshot, report: &mut Report) -> anyhow::Result<()> {
    match subject.store.check_days(partition, &snapshot.totals).await {
        Err(error) if is_about_content(&error) => report.breaks(Law::C1, || error.to_string()),
        checked => checked?,
    }
    Ok(())
}

/// Whether an error of the store is about what it holds rather than about reaching it.
fn is_about_content(error: &StoreError) -> bool {
    matches!(error, StoreError::Broken { .. })
}
