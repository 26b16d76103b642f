//! The project's only build tool: `cargo xtask run`, `test`, `prove`, `build`, `dev`, `bench`, `data`, `services`.
//!
//! Everything a command needs beyond Rust, a C compiler and make is either a library in here (wasm-bindgen, the CSS
//! bundler, brotli) or set up by the command itself. What is not here: anything the product does when it runs.

mod bench;
mod bundle;
mod compress;
mod css;
mod data;
mod dev;
mod process;
mod product;
mod prove;
mod run;
mod services;
mod setup;
mod sources;
mod stamp;
mod test;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Builds, runs and checks Rantai.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything and start it with the simulator feeding it; prints the address
    Run(run::Options),
    /// The release build only: the server and the site beside it
    Build(product::Options),
    /// Set up what is missing and run every check; the last line is the count
    Test(test::Options),
    /// Debug build with the simulator; rebuilds and restarts on change
    Dev(run::Options),
    /// Proofs that are too long for a test: `sim`, simulated faults; `img`, crash images; `kill`, SIGKILL under load; `bugs`, planted
    /// bugs; all where none is named
    Prove(prove::Options),
    /// The benchmarks: one line per figure, JSON under target/bench/
    Bench(bench::Options),
    /// Import the open data again (hierarchy, outlines, places) into data/
    Data,
    /// The real programs that the checks use
    Services {
        #[command(subcommand)]
        command: Services,
    },
}

#[derive(Subcommand)]
enum Services {
    /// Start them, on loopback, from images where Docker runs, else from packages; prints where they are to be reached
    Up {
        /// Which: all where none is named
        services: Vec<services::Service>,
    },
    /// End what `up` started, and throw its data away
    Down {
        /// Which: all where none is named
        services: Vec<services::Service>,
    },
    /// Which are there, in which version, what runs, and how to get the others
    Status,
}

fn main() -> ExitCode {
    // The chain of causes in one line; a stack trace of the build tool helps nobody.
    perform(Arguments::parse().command).map_or_else(
        |error| {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn perform(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Run(options) => run::run(&options),
        Task::Build(options) => product::build_for_shipping(&options).map(drop),
        Task::Test(options) => test::run(&options),
        Task::Dev(options) => dev::run(&options),
        Task::Prove(options) => prove::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Data => data::run(),
        Task::Services { command: Services::Up { services } } => services::up(&services),
        Task::Services { command: Services::Down { services } } => services::down(&services),
        Task::Services { command: Services::Status } => {
            setup::status();
            services::status();
            Ok(())
        }
    }
}
