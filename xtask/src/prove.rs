//! `cargo xtask prove img`: what must survive a crash does, on every image that a crash could have left.

use crate::product::{self, Flavour, Product};
use crate::{setup, workspace};

/// What `prove` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Which proof
    #[arg(default_value = "img")]
    proof: Proof,
    /// Handed on to it, after `--`: `--images N --seed N --only N --trace FILE`
    #[arg(last = true)]
    more: Vec<String>,
}

/// A proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Proof {
    /// Crash images: a real workload recorded with strace, and whatever a crash could have left of its files opened and verified
    Img,
}

/// Runs it on a release build.
pub fn run(options: &Options) -> anyhow::Result<()> {
    match options.proof {
        Proof::Img => images(&options.more),
    }
}

/// Crash images; `more` are options of the example `img`.
pub fn images(more: &[String]) -> anyhow::Result<()> {
    setup::strace()?;
    product::build_server(Flavour::Release)?;
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "server", "--example", "img", "--", "--binary"]);
    cargo.arg(Product::of(Flavour::Release).server).args(more);
    workspace::succeed(&mut cargo)
}
