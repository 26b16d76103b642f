//! `rantai verify` and `rantai rebuild`: the state against its log, and the state from its log.

use super::{existing, open, open_embedded};
use anyhow::{Context, ensure};
use domain::engine::EngineConfig;
use domain::master::Master;
use server::config::{Config, KafkaStateArgs, LogKind, StateArgs};
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

async fn hold(state: &StateArgs) -> anyhow::Result<Held> {
    let config = existing(state.resolve()?)?;
    ensure!(
        config.log == LogKind::Embedded,
        "with `log = kafka` the log is not in the data directory: `rantai kafka verify` and `rantai kafka rebuild` look there"
    );
    // Before anything is opened: a running server is told of at once.
    let lock = lock_directory(&config.data_dir)?;
    let store = open_embedded(&config).await?;
    let master = Arc::new(server::data::master().context("load master data")?);
    let engine = config.engine_config()?;
    Ok(Held { config, engine, store, master, _lock: lock })
}

/// Checks every law and prints a line for each; an error where one is broken.
pub async fn verify(state: &StateArgs) -> anyhow::Result<()> {
    let Held { config, engine, store, master, _lock } = &hold(state).await?;
    // By other rules everything would look wrong.
    store.agree_on(engine).await?;
    let subject = Subject { dir: &config.data_dir, store, master, config: engine };
    let report = check(&subject).await?;
    store.close().await;
    println!("{report}");
    ensure!(report.first_broken().is_none(), "what is stored is not what the log leads to");
    Ok(())
}

/// The same for every partition that engines on Kafka have read; each prints its name and a line for each law.
pub async fn verify_kafka(state: &KafkaStateArgs) -> anyhow::Result<()> {
    let config = state.resolve()?;
    config.kafka().check()?;
    server::files::create_dir(&config.data_dir).with_context(|| format!("create {}", config.data_dir.display()))?;
    let store = open(&config).await?;
    let master = Arc::new(server::data::master().context("load master data")?);
    let engine = config.engine_config()?;
    store.agree_on(&engine).await?;
    let subject = Subject { dir: &config.data_dir, store: &store, master: &master, config: &engine };
    let reports = server::verify::verify_kafka(&subject, &config.kafka()).await?;
    store.close().await;
    for (name, report) in &reports {
        println!("{name}\n{report}\n");
    }
    let broken: Vec<&str> = reports.iter().filter(|(_, r)| r.first_broken().is_some()).map(|(name, _)| name.as_str()).collect();
    ensure!(broken.is_empty(), "what is stored is not what the log leads to: {}", broken.join(", "));
    Ok(())
}

/// Makes the state anew from the log.
pub async fn rebuild(state: &StateArgs) -> anyhow::Result<()> {
    let Held { config, engine, store, master, _lock } = &hold(state).await?;
    let made = server::rebuild::rebuild(&config.data_dir, store, master, engine).await?;
    store.close().await;
    println!("rebuilt from {} blocks with {} records", made.blocks, made.records);
    Ok(())
}

/// The same from the messages that engines on Kafka read.
pub async fn rebuild_kafka(state: &KafkaStateArgs) -> anyhow::Result<()> {
    let config = state.resolve()?;
    let kafka = config.kafka();
    kafka.check()?;
    let _lock = lock_directory(&config.data_dir)?;
    let store = open(&config).await?;
    let master = Arc::new(server::data::master().context("load master data")?);
    let made = server::rebuild::rebuild_kafka(&config.data_dir, &store, &kafka, &master, &config.engine_config()?).await?;
    store.close().await;
    println!("rebuilt from {} messages with {} records", made.blocks, made.records);
    Ok(())
}
