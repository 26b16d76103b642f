//! `cargo xtask bench [NAME]`: the benchmarks, which lie beside the code they measure.

use crate::workspace;

/// What `bench` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Which benchmark; all of them without it
    name: Option<String>,
}

/// Runs them on a release build; one line per figure, JSON under `target/bench/`.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let into = workspace::target_dir().join("bench");
    std::fs::create_dir_all(&into)?;
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "server", "--example", "bench", "--"]);
    cargo.args(&options.name).arg("--out").arg(into);
    workspace::succeed(&mut cargo)
}
