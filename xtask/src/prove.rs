//! `cargo xtask prove img` and `prove kill`: what must survive a crash does, on every image that a crash could have left, and when the
//! program is killed under load again and again. `prove bugs`: the tests catch every bug of a bank of planted ones.

pub mod bugs;

use crate::product::{self, Flavour, Product};
use crate::services::Throwaways;
use crate::test::{self, Tally};
use crate::{setup, workspace};
use anyhow::ensure;
use clap::Parser;

/// What `prove` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Which proof
    #[arg(default_value = "img")]
    proof: Proof,
    /// Handed on to it, after `--`: for `img` `--images N --seed N --only N --trace FILE`, for `kill` `--kills N --seed N`, for `bugs` names
    #[arg(last = true)]
    more: Vec<String>,
}

/// A proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Proof {
    /// Crash images: a real workload recorded with strace, and whatever a crash could have left of its files opened and verified
    Img,
    /// SIGKILL under load: the program alone, engines on Kafka and Postgres, the leader of three brokers
    Kill,
    /// Planted bugs: each switched on alone, the test named for it has to fail
    Bugs,
}

/// Runs it.
pub fn run(options: &Options) -> anyhow::Result<()> {
    match options.proof {
        Proof::Img => images(&options.more),
        Proof::Kill => {
            let Tally { passed, failed } = kills(&options.more)?;
            ensure!(failed == 0, "{failed} of {} failed", passed + failed);
            Ok(())
        }
        Proof::Bugs => bugs::run(&options.more).map(drop),
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

/// What `prove kill` takes.
#[derive(clap::Parser)]
#[command(no_binary_name = true)]
struct Kills {
    /// Kills of the program alone; of each engine at most 20
    #[arg(long, default_value_t = 100)]
    kills: u64,
    /// For the moments
    #[arg(long, default_value_t = 20)]
    seed: u64,
}

/// SIGKILL under load, by tests of the server on its release build. One after the other: the load is part of it.
pub fn kills(more: &[String]) -> anyhow::Result<Tally> {
    const PROOFS: [&str; 3] = [
        "kill::killed_again_and_again_under_load",
        "kafka_kill::two_engines_killed_again_and_again_under_load",
        "kafka_kill::the_leading_broker_of_three_is_killed_under_load",
    ];
    let Kills { kills, seed } = Kills::try_parse_from(more)?;
    setup::openssl()?;
    product::build_server(Flavour::Release)?;
    let services = Throwaways::start()?;
    let mut cargo = workspace::cargo();
    services
        .told_to(cargo.args(test::TESTS))
        .args(["--test", "it", "--", "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
        .args(PROOFS)
        .env("RANTAI_TEST_BINARY", Product::of(Flavour::Release).server)
        .env("RANTAI_TEST_KILLS", kills.to_string())
        .env("RANTAI_TEST_SEED", seed.to_string());
    let tally = test::tests_of(&mut cargo)?;
    ensure!(tally.passed + tally.failed == PROOFS.len(), "not every proof was found");
    Ok(tally)
}
