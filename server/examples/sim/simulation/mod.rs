//! The simulation: the product's own code for every decision, and a world around it in which everything goes wrong that can.

pub mod beyond;
pub mod disk;
pub mod embedded;
pub mod kafka;
pub mod meta;
pub mod oracle;
pub mod points;
pub mod random;
pub mod setup;
pub mod store;
pub mod workload;
pub mod world;

use domain::master::Master;
use random::Random;
use std::sync::Arc;
use world::{Counts, World};

/// What a seed led to.
#[derive(Debug)]
pub struct Outcome {
    /// The first thing wrong.
    pub error: Option<String>,
    pub crashes: u64,
    pub counts: Counts,
    /// A hash of all that happened.
    pub trace: u64,
}

/// Runs a seed: two of three on the embedded log, the third on Kafka; then what has to be true without faults. Everything follows from it.
pub fn run(seed: u64, master: &Arc<Master>, is_told: bool) -> Outcome {
    let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let outcome = if seed.is_multiple_of(3) {
        let mut sim = kafka::Cluster::new(random.fork(), master);
        sim.worlds().for_each(|world| world.get().is_told = is_told);
        let error = caught(|| sim.run());
        Outcome::of(error, sim.worlds())
    } else {
        let mut sim = embedded::Embedded::new(random.fork(), master);
        sim.world.get().is_told = is_told;
        let error = caught(|| sim.run());
        Outcome::of(error, std::iter::once(&sim.world))
    };
    let mut outcome = outcome;
    if outcome.error.is_none() {
        let (permuted, repeated) = (random.fork(), random.fork());
        let mut counts = std::mem::take(&mut outcome.counts);
        outcome.error = caught(|| {
            meta::permutation(permuted, master, &mut counts)?;
            meta::duplication(repeated, master, &mut counts)
        });
        outcome.counts = counts;
    }
    server::files::mount(None);
    server::clock::simulate(None);
    outcome
}

/// What went wrong, a panic included.
fn caught(run: impl FnOnce() -> anyhow::Result<()>) -> Option<String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{error:#}")),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
            Some(format!("it panicked: {}", words.unwrap_or_default()))
        }
    }
}

impl Outcome {
    fn of<'w>(error: Option<String>, worlds: impl Iterator<Item = &'w World>) -> Self {
        let mut outcome = Self { error, crashes: 0, counts: Counts::new(), trace: 0 };
        for world in worlds {
            let state = world.get();
            outcome.crashes += state.crashes;
            outcome.trace = outcome.trace.rotate_left(9) ^ state.trace();
            for (name, count) in &state.counts {
                *outcome.counts.entry(name.clone()).or_default() += count;
            }
        }
        outcome
    }
}
