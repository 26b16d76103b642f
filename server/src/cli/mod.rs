//! The commands of `rantai` besides the server: administration of a data directory and its database.

mod backup;
mod dead_letter;
mod kafka;
mod key;
mod state;

pub use backup::{BackupArgs, backup};
pub use dead_letter::DeadLetterCommand;
pub use kafka::KafkaCommand;
pub use key::KeyCommand;
pub use state::{rebuild, rebuild_kafka, verify, verify_kafka};

use anyhow::{Context, ensure};
use server::config::Config;
use server::lifecycle::ensure_embedded;
use server::store::Store;

/// The store of a server that may be running, or may have yet to run for the first time.
async fn open(config: &Config) -> anyhow::Result<Store> {
    let store =
        Store::open(&config.store, &config.data_dir).await.with_context(|| format!("open the database {}", config.store))?;
    Ok(store.merging_windows_at(config.merge_windows_blocks))
}

/// The same for whoever works on the log of the data directory: not a store with the state of Kafka's.
async fn open_embedded(config: &Config) -> anyhow::Result<Store> {
    let store = open(config).await?;
    ensure_embedded(&store, &config.store).await?;
    Ok(store)
}

/// The configuration of a data directory that is there.
fn existing(config: Config) -> anyhow::Result<Config> {
    ensure!(config.data_dir.is_dir(), "there is no data directory {}", config.data_dir.display());
    Ok(config)
}
