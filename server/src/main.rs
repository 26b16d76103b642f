//! The program `rantai`: the server, the simulator and administration.

use anyhow::Context;
use clap::{Parser, Subcommand};
use server::config::{ServeArgs, StoreArgs};
use server::lifecycle;
use server::pipeline::wall_clock;
use server::store::Store;
use std::process::ExitCode;
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

fn main() -> ExitCode {
    // The chain of causes in one line; a stack trace helps nobody who runs it.
    start().map_or_else(
        |error| {
            eprintln!("rantai: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn start() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn")); // RUST_LOG
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(run(cli.command))
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => {
            let running = lifecycle::start(&args.resolve()?).await?;
            println!("listening on http://{}", running.address);
            let stop = running.stop.clone();
            tokio::spawn(async move {
                lifecycle::signal().await;
                stop.cancel();
            });
            running.wait().await
        }
        Command::Simulate(args) => simulator::run(args).await,
        Command::Key(KeyCommand::Create { name, scope, data }) => {
            let store = open(&data).await?;
            let key = store.create_key(&name, &scope, wall_clock().ms()).await?;
            println!("{key}");
            store.close().await;
            Ok(())
        }
        Command::Key(KeyCommand::Revoke { name, data }) => {
            let store = open(&data).await?;
            anyhow::ensure!(store.revoke_key(&name).await?, "there is no key named `{name}`");
            store.close().await;
            Ok(())
        }
    }
}

/// The store of a server that may be running, or may have yet to run for the first time.
async fn open(data: &StoreArgs) -> anyhow::Result<Store> {
    let config = data.resolve()?;
    std::fs::create_dir_all(&config.data_dir).with_context(|| format!("create {}", config.data_dir.display()))?;
    Store::open(&config.store, &config.data_dir).await.with_context(|| format!("open the database {}", config.store))
}
