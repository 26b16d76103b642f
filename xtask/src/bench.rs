//! `cargo xtask bench [NAME]`: the benchmarks, which lie beside the code they measure.

use crate::services::Throwaways;
use crate::workspace;

/// What `bench` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Which benchmark; all of them without it
    name: Option<String>,
    /// How long each measurement under load takes
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// How many hours of the country `kafka` processes [default: 24]
    #[arg(long, value_name = "N")]
    hours: Option<u64>,
}

/// Runs them on a release build; one line per figure, JSON under `target/bench/`.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let into = workspace::target_dir().join("bench");
    std::fs::create_dir_all(&into)?;
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "server", "--example", "bench", "--"]);
    cargo.args(&options.name).arg("--out").arg(into);
    for (name, value) in [("--seconds", options.seconds), ("--hours", options.hours)] {
        if let Some(value) = value {
            cargo.args([name, &value.to_string()]);
        }
    }
    // One of them works on the real programs.
    let services = options.name.as_ref().is_none_or(|name| name == "kafka").then(Throwaways::start_durable).transpose()?;
    if let Some(services) = &services {
        services.told_to(&mut cargo);
    }
    workspace::succeed(&mut cargo)
}
