//! `rantai key`: keys of machines.

use super::open;
use anyhow::Context;
use clap::Subcommand;
use server::config::StoreArgs;
use server::pipeline::wall_clock;
use server::store::Store;

/// What to do with keys.
#[derive(Subcommand)]
pub enum KeyCommand {
    /// Make a key and print it, alone; it cannot be shown again
    Create {
        /// Name of the key, for people
        #[arg(long)]
        name: String,
        /// The source of the records that it brings, as in the key that it follows: what that one sent is not counted again [default: the
        /// name]
        #[arg(long)]
        source: Option<String>,
        /// What it may do: `ingest` posts records; `read` alone grants nothing more, as reading is open on this machine; `ingest,read`
        /// also decides of dead letters by the API
        #[arg(long, default_value = "ingest")]
        scope: String,
        #[command(flatten)]
        data: StoreArgs,
    },
    /// Take a key away; a running server refuses it within seconds
    Revoke {
        /// Name of the key
        #[arg(long)]
        name: String,
        #[command(flatten)]
        data: StoreArgs,
    },
}

impl KeyCommand {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            KeyCommand::Create { name, source, scope, data } => {
                let store = made(&data).await?;
                let key = store.create_key(&name, source.as_deref(), &scope, wall_clock().ms()).await?;
                println!("{key}");
                store.close().await;
            }
            KeyCommand::Revoke { name, data } => {
                let store = made(&data).await?;
                anyhow::ensure!(store.revoke_key(&name).await?, "there is no key named `{name}`");
                store.close().await;
            }
        }
        Ok(())
    }
}

/// The store, made where there is none: a key may come before the first start.
async fn made(data: &StoreArgs) -> anyhow::Result<Store> {
    let config = data.resolve()?;
    server::files::create_dir(&config.data_dir).with_context(|| format!("create {}", config.data_dir.display()))?;
    open(&config).await
}
