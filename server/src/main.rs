//! The program `rantai`: the server, the simulator and administration.

use anyhow::Context;
use clap::{Parser, Subcommand};
use server::config::ServeArgs;
use server::lifecycle;
use server::pipeline::wall_clock;
use server::store::Store;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Live national vaccine logistics.
#[derive(Parser)]
#[command(name = "rantai", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Send what a country's sensors would send to a server
    Simulate(simulator::SimulateArgs),
    /// Manage the keys of machines
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a key and print it, alone; it cannot be shown again
    Create {
        /// Name of the key, for people
        #[arg(long)]
        name: String,
        /// What it may do: ingest, read, or both with a comma
        #[arg(long, default_value = "ingest")]
        scope: String,
        /// Data directory of the server
        #[arg(long, env = "RANTAI_DATA_DIR", default_value = "./data-dir")]
        data_dir: PathBuf,
    },
    /// Take a key away; a running server refuses it within seconds
    Revoke {
        /// Name of the key
        #[arg(long)]
        name: String,
        /// Data directory of the server
        #[arg(long, env = "RANTAI_DATA_DIR", default_value = "./data-dir")]
        data_dir: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("RANTAI_LOG").unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(run(cli.command))
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => {
            let running = lifecycle::start(&args).await?;
            println!("listening on http://{}", running.address);
            let stop = running.stop.clone();
            tokio::spawn(async move {
                lifecycle::signal().await;
                stop.cancel();
            });
            running.wait().await
        }
        Command::Simulate(args) => simulator::run(args).await,
        Command::Key(KeyCommand::Create { name, scope, data_dir }) => {
            std::fs::create_dir_all(&data_dir).with_context(|| format!("create {}", data_dir.display()))?;
            let store = Store::open(&data_dir).await?;
            let key = store.create_key(&name, &scope, wall_clock().ms()).await?;
            println!("{key}");
            store.close().await;
            Ok(())
        }
        Command::Key(KeyCommand::Revoke { name, data_dir }) => {
            let store = Store::open(&data_dir).await?;
            anyhow::ensure!(store.revoke_key(&name).await?, "there is no key named `{name}`");
            store.close().await;
            Ok(())
        }
    }
}
