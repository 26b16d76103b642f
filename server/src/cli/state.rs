//! `rantai verify` and `rantai rebuild`: the state against its log, and the state from its log.

use super::{existing, open};
use anyhow::{Context, ensure};
use domain::engine::EngineConfig;
use domain::master::Master;
use server::config::{Config, LogKind, StoreArgs};
use server::lifecycle::{DirectoryLock, lock_directory};
use server::store::Store;
use server::verify::{Subject, verify as check};
use std::sync::Arc;

/// A data directory that is ours alone, with all that was said about it.
struct Held {
    config: Config,
    engine: EngineConfig,
    store: Store,
    master: Arc<Master>,
    _lock: DirectoryLock,
}

async fn hold(data: &StoreArgs) -> anyhow::Result<Held> {
    let config = existing(data)?;
    ensure!(config.log == LogKind::Embedded, "with `log = kafka` the log is not in the data directory: this reads embedded logs");
    // Before anything is opened: a running server is told of at once.
    let lock = lock_directory(&config.data_dir)?;
    let store = open(&config).await?;
    let master = Arc::new(server::data::master().context("load master data")?);
    let engine = config.engine_config()?;
    Ok(Held { config, engine, store, master, _lock: lock })
}

/// Checks every law and prints a line for each; an error where one is broken.
pub async fn verify(data: &StoreArgs) -> anyhow::Result<()> {
    let Held { config, engine, store, master, _lock } = &hold(data).await?;
    let subject = Subject { dir: &config.data_dir, store, master, config: engine, keep: config.retention() };
    let report = check(&subject).await?;
    store.close().await;
    println!("{report}");
    ensure!(report.first_broken().is_none(), "what is stored is not what the log leads to");
    Ok(())
}

/// Makes the state anew from the log.
pub async fn rebuild(data: &StoreArgs) -> anyhow::Result<()> {
    let Held { config, engine, store, master, _lock } = &hold(data).await?;
    let made = server::rebuild::rebuild(&config.data_dir, store, master, engine).await?;
    store.close().await;
    println!("rebuilt from {} blocks with {} records", made.blocks, made.records);
    Ok(())
}
