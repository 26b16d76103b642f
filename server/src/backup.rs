//! A copy of the data directory, made while a server writes to it: `rantai backup`.
//!
//! The database first, as of one moment; then the memory of identities that it names, then the log. Both only grow meanwhile, so the copy
//! is what a server leaves that is killed: a start on it goes on from the database's position with the rest of the log.

use crate::files;
use crate::identities;
use crate::pipeline::PARTITION;
use crate::store::{Store, StoreAddress};
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    /// The first block of the log that is to come in: all before it are there.
    pub next_block: u64,
    /// Files of identities.
    pub runs: usize,
}

/// Copies the data directory `from`, whose database is `store`, to `to`, which must not be there. Durable and whole on return; what broke
/// off before lies beside it, under its name and `.partial`, and the next attempt takes its place. Fails where the database is no file of
/// the directory, and where something to copy is damaged.
pub async fn backup(store: &Store, from: &Path, to: &Path) -> anyhow::Result<Copied> {
    ensure!(!to.exists(), "{} is there already", to.display());
    let aside = PathBuf::from(format!("{}.partial", to.display()));
    if aside.exists() {
        std::fs::remove_dir_all(&aside).with_context(|| format!("remove {}", aside.display()))?;
    }
    files::create_dir(&aside).with_context(|| format!("create {}", aside.display()))?;
    store.copy_to(&aside).await.context("copy the database")?;
    let copy = Store::open(&StoreAddress::Sqlite, &aside).await.context("open the copy of the database")?;
    let (key, runs) = (copy.identity_key().await?, copy.named_runs(PARTITION).await?);
    let needed_from = copy.needed_from(PARTITION).await?;
    copy.close().await;
    let copied = {
        let (from, aside) = (from.to_owned(), aside.clone());
        tokio::task::spawn_blocking(move || copy_files(&from, &aside, &key, &runs, needed_from)).await??
    };
    std::fs::rename(&aside, to).with_context(|| format!("rename {}", aside.display()))?;
    files::sync_dir(&files::parent(to)).with_context(|| format!("sync the folder of {}", to.display()))?;
    Ok(copied)
}

fn copy_files(from: &Path, to: &Path, key: &[u8; 16], runs: &[identities::NamedRun], needed_from: u64) -> anyhow::Result<Copied> {
    let folder = |dir: &Path| identities::folder(&dir.join("identities"), key);
    identities::copy_runs(&folder(from), &folder(to), runs).context("copy the memory of identities")?;
    let extent = crate::log::copy(&from.join("log"), &to.join("log")).context("copy the log")?;
    // Deleted is only what a start does not need; of an older moment, such as that of the copy, it may have needed more.
    ensure!(
        extent.start <= needed_from.max(1),
        "the log was deleted up to block {} while it was copied, and the copy needs it from block {needed_from} on; try again",
        extent.start
    );
    files::sync_dir(to)?;
    Ok(Copied { next_block: extent.end, runs: runs.len() })
}
