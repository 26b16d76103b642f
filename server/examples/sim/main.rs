//! The simulation of the engine and the pipeline: clock, disk, store, broker and senders are simulated, every decision is made by the
//! product's own code. One seed, one course of events; machines crash, disks fail, answers get lost.
//!
//! `cargo xtask prove sim` runs it. A failure prints the seed, which makes it again.

mod simulation;

use anyhow::ensure;
use clap::Parser;
use simulation::{Outcome, run, workload};
use std::collections::BTreeMap;
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

/// What has to happen in a run of many seeds, else it proves less than it says.
const POINTS: &[&str] = &[
    "a commit fenced",
    "a commit recognised",
    "a drain took too long",
    "a gap accepted",
    "a message lost by the broker",
    "a message stored and not confirmed",
    "a partition asked back",
    "a partition given back",
    "a partition goes on behind a gap",
    "a partition stands still",
    "a process ended itself",
    "a process fenced",
    "a process stopped",
    "a refusal",
    "a run fenced",
    "a run fetched",
    "a zombie begins",
    "a zombie hears of it",
    "a zombie works",
    "an answer lost",
    "a timer",
    "a topic made anew",
    "a topic made anew told apart",
    "a decision",
    "messages deleted for their age",
    "segments pruned",
    "names lost",
    "sectors lost",
    "sectors torn",
    "lengths without content",
    "a last checkpoint given up",
    "a start refused for the clock",
    "the clock set wrong",
    "a process crashed",
    "a process paused",
    "a rebalance",
    "power lost",
    "crash at a worker's step",
    "crash at asked to stop",
    "crash at checkpoint cut",
    "crash at checkpoint done",
    "crash at checkpoint's step",
    "crash at commit, after it",
    "crash at commit, before it",
    "crash at copy of a run to the store",
    "crash at cut of a segment",
    "crash at group durable",
    "crash at group processed",
    "crash at last checkpoint cut",
    "crash at load from the store",
    "crash at log opened",
    "crash at making of a file aside",
    "crash at making of a run",
    "crash at making of a segment",
    "crash at removal of a run",
    "crash at removal of a segment",
    "crash at renaming of a run",
    "crash at state loaded",
    "crash at state restored",
    "crash at sync of a file aside",
    "crash at sync of a folder",
    "crash at sync of a run",
    "crash at sync of a segment",
    "crash at write of a file aside",
    "crash at write of a run",
    "crash at write of a segment",
    "crash at write over of a segment",
    "crash while running",
    "crash while starting",
    "crash while stopping",
    "failure of commit, after it",
    "failure of commit, before it",
    "failure of copy of a run to the store",
    "failure of cut of a segment",
    "failure of load from the store",
    "failure of making of a file aside",
    "failure of making of a run",
    "failure of making of a segment",
    "failure of sync of a file aside",
    "failure of sync of a folder",
    "failure of sync of a run",
    "failure of sync of a segment",
    "failure of write of a file aside",
    "failure of write of a run",
    "failure of write of a segment",
    "failure of write over of a segment",
    // What becomes of records,
    "a duplicate",
    "a late record",
    "a slot given up after its time",
    "rejected as clock_reset",
    "rejected as conflicting_reading",
    "rejected as future",
    "rejected as id_conflict",
    "rejected as malformed_json",
    "rejected as out_of_range",
    "rejected as sensor_fault",
    // of windows, sessions and places,
    "a reading placed",
    "a reading without a place",
    "a session became part of another",
    "a session joined after it had fired",
    "a session over",
    "a sliding window joined after it had fired",
    "a window incomplete",
    "a window incomplete, then final",
    "a window joined after it had fired",
    // and what would say nothing if there were none of it.
    "derived results of a duplication compared",
    "derived results of several partitions compared",
    "places compared",
    "places of a permutation compared",
    "sessions compared",
    "sessions of a permutation compared",
    "several partitions compared with one",
    "sliding windows compared",
    "sliding windows of a permutation compared",
    "versions of hours compared",
];

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
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in all.iter().flat_map(|(_, outcome)| &outcome.counts) {
        *counts.entry(name).or_default() += count;
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
    for point in POINTS {
        ensure!(options.seeds < 1_000 || counts.contains_key(point), "`{point}` never happened");
    }
    Ok(())
}
