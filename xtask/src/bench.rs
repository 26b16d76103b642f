//! `cargo xtask bench [NAME]`: the benchmarks, which lie beside the code they measure.

use crate::workspace;

/// What `bench` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Which benchmark; all of them without it
    name: Option<String>,
    /// How long each measurement under load takes
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
}

/// Runs them on a release build; one line per figure, JSON under `target/bench/`.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let into = workspace::target_dir().join("bench");
    std::fs::create_dir_all(&into)?;
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "server", "--example", "bench", "--"]);
    cargo.args(&options.name).arg("--out").arg(into);
    if let Some(seconds) = options.seconds {
        cargo.args(["--seconds", &seconds.to_string()]);
    }
    workspace::succeed(&mut cargo)
}
