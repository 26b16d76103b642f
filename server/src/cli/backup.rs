//! `rantai backup`.

use super::{existing, open_embedded};
use anyhow::ensure;
use server::config::{LogKind, StoreArgs};
use std::path::PathBuf;

/// What `backup` takes.
#[derive(clap::Args)]
pub struct BackupArgs {
    /// The folder to be made: a data directory like the one that is copied
    to: PathBuf,
    #[command(flatten)]
    data: StoreArgs,
}

/// Copies the data directory.
pub async fn backup(args: &BackupArgs) -> anyhow::Result<()> {
    let config = existing(args.data.resolve()?)?;
    ensure!(
        config.log == LogKind::Embedded,
        "with `log = kafka` there is nothing in the data directory that Kafka and Postgres do not have"
    );
    ensure!(config.data_dir.join("log").is_dir(), "no server has written to {} yet", config.data_dir.display());
    let store = open_embedded(&config).await?;
    let copied = server::backup::backup(&store, &config.data_dir, &args.to).await?;
    store.close().await;
    let to = args.to.display();
    println!(
        "{to} has the {} blocks of the log and {} runs of identities; `rantai verify --data-dir {to}` checks it",
        copied.next_block - 1,
        copied.runs
    );
    Ok(())
}
