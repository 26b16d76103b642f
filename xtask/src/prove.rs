//! `cargo xtask prove`: what must survive does, on more courses of events than tests have time for.

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
    /// Which proof: all where none is named
    proof: Option<Proof>,
    /// The long form: twenty times the seeds, ten times the images, twenty times the kills, and faults of every call on files
    #[arg(long)]
    nightly: bool,
    /// Handed on to the proof, after `--`: img takes `--images N --seed N --only N --trace FILE`, sim `--seeds N
    /// --from N --seed N`, kill `--kills N --seed N`, bugs names
    #[arg(last = true)]
    more: Vec<String>,
}

/// A proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Proof {
    /// Crash images: real workloads recorded with strace, and whatever a crash could have left of their files opened and verified
    Img,
    /// SIGKILL under load: the program alone, engines on Kafka and Postgres, the leader of three brokers
    Kill,
    /// Planted bugs: each switched on alone, the test named for it has to fail
    Bugs,
    /// Simulation: crashes, faults of disk, store and broker, lost answers, all from one seed
    Sim,
}

/// Images, seeds and kills of the long form.
const NIGHTLY_IMAGES: u32 = 200_000;
const NIGHTLY_SEEDS: u32 = 100_000;
const NIGHTLY_TWICE: u32 = 5_000;
const NIGHTLY_KILLS: u32 = 2_000;

/// Runs it.
pub fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.proof.is_some() || options.more.is_empty(), "name the proof that takes these options");
    let proofs = options.proof.map_or(vec![Proof::Sim, Proof::Bugs, Proof::Img, Proof::Kill], |proof| vec![proof]);
    for proof in proofs {
        let mut more = Vec::new();
        if options.nightly {
            let long: &[(&str, u32)] = match proof {
                Proof::Img => &[("--images", NIGHTLY_IMAGES)],
                Proof::Bugs => &[],
                Proof::Kill => &[("--kills", NIGHTLY_KILLS)],
                Proof::Sim => &[("--seeds", NIGHTLY_SEEDS), ("--twice", NIGHTLY_TWICE)],
            };
            more.extend(long.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]));
            more.extend((proof == Proof::Kill).then(|| "--every-call".to_owned()));
        }
        more.extend_from_slice(&options.more);
        match proof {
            Proof::Bugs => all_passed(bugs::run(&more, true)?)?,
            Proof::Img => images(&more)?,
            Proof::Kill => all_passed(kills(&more)?)?,
            Proof::Sim => simulation(&more)?,
        }
    }
    Ok(())
}

fn all_passed(Tally { passed, failed, .. }: Tally) -> anyhow::Result<()> {
    ensure!(failed == 0, "{failed} of {} failed", passed + failed);
    Ok(())
}

/// Crash images; `more` are options of the example `img`.
pub fn images(more: &[String]) -> anyhow::Result<()> {
    setup::strace()?;
    setup::openssl()?;
    product::build_server(Flavour::Release)?;
    // The program that tests have comes with them: only that knows limits so small that all files come to be that there are.
    workspace::succeed(workspace::cargo().args(test::TESTS).arg("--no-run"))?;
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "server", "--example", "img", "--", "--binary"]);
    // Each image is some megabytes, taken and given back: the allocator is to keep them, rather than ask for fresh pages every time.
    cargo.env("MALLOC_MMAP_THRESHOLD_", "33554432").env("MALLOC_TRIM_THRESHOLD_", "1073741824");
    cargo.arg(Product::of(Flavour::Release).server);
    cargo.arg("--small-binary").arg(Product::of(Flavour::Debug).server).args(more);
    workspace::succeed(&mut cargo)
}

/// What `prove kill` takes.
#[derive(clap::Parser)]
#[command(no_binary_name = true)]
struct KillOptions {
    /// Kills of the program alone; of each engine on Kafka a fifth of that
    #[arg(long, default_value_t = 100)]
    kills: u64,
    /// For the moments
    #[arg(long, default_value_t = 20)]
    seed: u64,
    /// Besides, fail every call on files in turn, and be killed behind each in a migration, of which tests take some
    #[arg(long)]
    every_call: bool,
}

/// SIGKILL under load, by tests of the server on its release build. Two at a time: on Kafka much of it is waiting for who was killed.
pub fn kills(more: &[String]) -> anyhow::Result<Tally> {
    const PROOFS: [&str; 3] = [
        "kill::killed_again_and_again_under_load",
        "kafka_kill::two_engines_killed_again_and_again_under_load",
        "kafka_kill::the_leading_broker_of_three_is_killed_under_load",
    ];
    let KillOptions { kills, seed, every_call } = KillOptions::try_parse_from(more)?;
    setup::openssl()?;
    product::build_server(Flavour::Release)?;
    let services = Throwaways::start()?;
    let mut cargo = workspace::cargo();
    services
        .told_to(cargo.args(test::TESTS))
        .args(["--test", "it", "--", "--exact", "--include-ignored", "--nocapture", "--test-threads=2"])
        .args(PROOFS)
        .env("RANTAI_TEST_BINARY", Product::of(Flavour::Release).server)
        .env("RANTAI_TEST_KILLS", kills.to_string())
        .env("RANTAI_TEST_SEED", seed.to_string());
    let mut tally = test::tests_of(&mut cargo)?;
    ensure!(tally.passed + tally.failed == PROOFS.len(), "not every proof was found");
    if every_call {
        // On the program that tests have: only that knows limits so small that all files come to be that there are.
        const EVERY: [&str; 3] = [
            "faults::calls::every_sync_fails_once",
            "faults::calls::every_call_finds_no_room_once",
            "migrations::a_crash_in_a_migration",
        ];
        let mut cargo = workspace::cargo();
        services
            .told_to(cargo.args(test::TESTS))
            .args(["--test", "it", "--", "--exact", "--nocapture", "--test-threads=1"])
            .args(EVERY);
        let Tally { passed, failed, .. } = test::tests_of(cargo.env("RANTAI_TEST_EVERY_CALL", "1"))?;
        ensure!(passed + failed == EVERY.len(), "not every fault of the disk and kill of a migration was found");
        (tally.passed, tally.failed) = (tally.passed + passed, tally.failed + failed);
    }
    Ok(tally)
}

/// The simulation; `more` are options of the example `sim`.
pub fn simulation(more: &[String]) -> anyhow::Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "server", "--example", "sim", "--"]).args(more);
    workspace::succeed(&mut cargo)
}
