//! The program `rantai`: the server, the simulator and administration.

mod cli;

use anyhow::Context;
use clap::{Parser, Subcommand};
use cli::{BackupArgs, DeadLetterCommand, KafkaCommand, KeyCommand};
use server::config::{ServeArgs, StateArgs};
use server::lifecycle;
use std::io::IsTerminal;
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
    /// Kafka: make or check topics, go on after a gap
    #[command(subcommand)]
    Kafka(KafkaCommand),
    /// Records that were rejected: list them, take them in again, discard them
    #[command(subcommand)]
    DeadLetter(DeadLetterCommand),
    /// Check that what is stored is what the log leads to; ends with 1 and names the first law that is broken
    Verify(StateArgs),
    /// Make all results anew from the log alone
    Rebuild(StateArgs),
    /// Copy the data directory, while a server writes to it or not
    Backup(BackupArgs),
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
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let ended = runtime.block_on(run(cli.command));
    // What has to be done is done. Dropped, it would wait for every thread that still reads something.
    runtime.shutdown_background();
    ended
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => {
            let running = lifecycle::start(&args.resolve()?).await?;
            let (stop, signal) = (running.stop.clone(), lifecycle::signal());
            tokio::spawn(async move {
                signal.await;
                stop.cancel();
            });
            println!("listening on http://{}", running.address);
            running.wait().await
        }
        Command::Simulate(args) => simulator::run(args).await,
        Command::Key(command) => command.run().await,
        Command::Kafka(command) => command.run().await,
        Command::DeadLetter(command) => command.run().await,
        Command::Verify(data) => cli::verify(&data).await,
        Command::Rebuild(data) => cli::rebuild(&data).await,
        Command::Backup(args) => cli::backup(&args).await,
    }
}
