//! The simulation of the engine and the pipeline: clock, disk, store, broker and senders are simulated, every decision is made by the
//! product's own code. One seed, one course of events; machines crash, disks fail, answers get lost.
//!
//! `cargo xtask prove sim` runs it. A failure prints the seed, which makes it again.

mod simulation;

use anyhow::ensure;
use clap::Parser;
use simulation::world::Counts;
use simulation::{Outcome, points, run, workload};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Simulated courses of events.
#[derive(Parser)]
struct Options {
    /// How many seeds
    #[arg(long, default_value_t = 5_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Only this seed, and all that happens in it
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds are run twice, which has to give the same trace
    #[arg(long, default_value_t = 200)]
    twice: u64,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: u64,
}

/// Crashes that a run of all seeds has at least, for each seed.
const CRASHES: u64 = 10;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let master = workload::master();
    if let Some(seed) = options.seed {
        let outcome = run(seed, &master, true);
        println!("seed {seed}: {} crashes, trace {:016x}", outcome.crashes, outcome.trace);
        ensure!(outcome.error.is_none(), "seed {seed}: {}", outcome.error.unwrap_or_default());
        return Ok(());
    }
    // What is expected to fail in a simulation is told by its oracles.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let all: Mutex<Vec<(u64, Outcome)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                let (mut done, mut failed) = (Vec::new(), 0);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.seeds || failed >= 5 {
                        break;
                    }
                    let seed = options.from + number;
                    let mut outcome = run(seed, &master, false);
                    if number < options.twice && outcome.error.is_none() {
                        let again = run(seed, &master, false);
                        if again.trace != outcome.trace {
                            outcome.error = Some("it went another way the second time".to_owned());
                        }
                    }
                    failed += u64::from(outcome.error.is_some());
                    done.push((seed, outcome));
                }
                all.lock().expect("no thread panicked").append(&mut done);
            });
        }
    });
    let all = all.into_inner().expect("no thread panicked");
    let mut counts = Counts::new();
    for (name, count) in all.iter().flat_map(|(_, outcome)| &outcome.counts) {
        *counts.entry(name.clone()).or_default() += count;
    }
    for (name, count) in &counts {
        println!("{name:<48} {count:>9}");
    }
    let crashes: u64 = all.iter().map(|(_, outcome)| outcome.crashes).sum();
    println!(
        "{} seeds, {crashes} crashes in {:.1} s; {} seeds run twice",
        all.len(),
        begun.elapsed().as_secs_f64(),
        options.twice.min(options.seeds)
    );
    let mut failed = 0;
    for (seed, outcome) in &all {
        if let Some(error) = &outcome.error {
            failed += 1;
            println!("FAILED seed {seed}: {error}");
            println!("again: cargo xtask prove sim -- --seed {seed}");
        }
    }
    ensure!(failed == 0, "{failed} seeds failed");
    ensure!(crashes >= CRASHES * options.seeds, "{crashes} crashes are too few");
    // A few seeds need not have had everything.
    ensure!(options.seeds < 1_000 || points::never(&counts).is_empty(), "these never happened: {:?}", points::never(&counts));
    Ok(())
}
