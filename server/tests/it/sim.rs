//! Some seeds of the simulation, where every assertion of a debug build counts; `cargo xtask prove sim` runs thousands.

#[path = "../../examples/sim/simulation/mod.rs"]
pub mod simulation;

use bytes::Bytes;
use domain::time::ProcessingTime;
use server::admission::Format;
use server::log::{BlockKind, Draft, Log};
use simulation::disk::Disk;
use simulation::random::Random;
use simulation::world::{Counts, World};
use simulation::{points, run, workload};
use std::path::Path;

#[test]
fn fifty_seeds() {
    let master = workload::master();
    // Those after the first fifty found something once.
    for seed in (1..=50).chain([171, 204, 276, 291, 336]) {
        let outcome = run(seed, &master, false);
        assert_eq!(outcome.error, None, "again: cargo xtask prove sim -- --seed {seed}");
    }
}

/// Several partitions lead to what one would, in courses in which these are compared.
#[test]
fn one_partition_instead_of_several() {
    let master = workload::master();
    let (mut compared, mut failed) = (0, Vec::new());
    for seed in (3..=120).step_by(3) {
        let outcome = run(seed, &master, false);
        compared += outcome.counts.get("several partitions compared with one").copied().unwrap_or_default();
        failed.extend(outcome.error.map(|error| format!("seed {seed}: {error}")));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(compared >= 3, "{compared}");
}

#[test]
fn what_never_happened_is_named() {
    let all: Counts = points::POINTS.iter().map(|point| ((*point).to_owned(), 1)).collect();
    assert!(points::never(&all).is_empty());
    for missing in points::POINTS {
        let mut counts = all.clone();
        counts.remove(*missing);
        assert_eq!(points::never(&counts), [*missing]);
    }
}

/// A sync that failed leaves pages which the system takes for written, and a kill others that nobody synced: a start that believed what it
/// reads would go on behind a hole.
#[test]
fn what_a_start_reads_is_durable() {
    let dir = Path::new("/log");
    for seed in 0..200 {
        let world = World::new(Random(seed));
        let disk = Disk::new(&world);
        disk.mount();
        let open = || Log::open(dir, |_| 1);
        let append = |log: &mut Log, body: &[u8]| {
            let draft = Draft { kind: BlockKind::Records(Format::Ndjson), source: "", body, records: 1 };
            log.append(&[draft], ProcessingTime::from_ms(1)).is_ok()
        };
        let mut log = open().expect("opens");
        assert!(append(&mut log, &[b'a'; 2_000]));
        world.begin_life((seed % 2 == 0).then_some(1)); // killed between write and sync, or
        world.get().fails_one_in = seed % 2; // nothing works
        assert!(!append(&mut log, &[b'b'; 3_000]));
        world.get().fails_one_in = 0;
        world.begin_life(None);
        let mut log = open().expect("opens");
        let seen = bodies(dir);
        if seed % 4 < 2 {
            assert!(append(&mut log, &[b'c'; 2_000]));
        }
        let before = bodies(dir);
        disk.lose_power();
        drop(open().expect("nothing is damaged"));
        assert_eq!(bodies(dir), before, "seed {seed}");
        assert!(before.starts_with(&seen));
    }
    server::files::mount(None);
    server::clock::simulate(None);
}

fn bodies(dir: &Path) -> Vec<Bytes> {
    server::log::read(dir, 1).expect("lists").map(|block| block.expect("reads").body).collect()
}

#[test]
fn the_same_seed_goes_the_same_way() {
    let master = workload::master();
    for seed in 1..=6 {
        let (one, other) = (run(seed, &master, false), run(seed, &master, false));
        assert!(one.crashes > 0 && one.counts == other.counts, "seed {seed}");
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}
