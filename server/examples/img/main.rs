//! Crash images: the program runs real workloads under strace, and whatever a crash could have left of its files is opened by the real code
//! and verified. Everything that a client was told before the crash has to be there, once.
//!
//! There are two workloads, with half of the images each: the shipped program on a usual day, and the one that tests have on limits so
//! small that log and identities are in many files, which come and go (`record.rs`). `cargo xtask prove img` runs it. A failure prints the
//! image's seed and number, which make it again.

mod check;
mod disk;
mod events;
mod record;
mod trace;

use anyhow::{Context, ensure};
use check::Case;
use clap::Parser;
use disk::{Class, Disk};
use domain::master::Master;
use events::Event;
use record::{WORKLOADS, Workload};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use trace::{Op, Request};

/// Crash images of real workloads.
#[derive(Parser)]
struct Options {
    /// The program `rantai`
    #[arg(long)]
    binary: PathBuf,
    /// The one that tests have, which knows small limits
    #[arg(long)]
    small_binary: PathBuf,
    /// How many images, all different
    #[arg(long, default_value_t = 20_000)]
    images: usize,
    /// Of the images
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A trace of an earlier run, which a failure names; otherwise one of each workload is recorded
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Only this image
    #[arg(long, requires = "trace")]
    only: Option<usize>,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Rounds until there are enough different images, at most.
const ROUNDS: u64 = 20;
/// Images of a further round at least: of few, all may be like others.
const AGAIN: usize = 200;
/// Images in which a planted bug has to be found.
const PLANTED: usize = 400;
/// After so many failures no more is learnt.
const FAILURES: usize = 5;

/// A small seeded generator (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let scratch = tempfile::Builder::new().prefix("rantai-img-").tempdir_in(fast_folder()).context("make a folder")?;
    let traces: Vec<PathBuf> = if let Some(trace) = &options.trace {
        vec![trace.clone()]
    } else {
        let record = |workload: &Workload| {
            let binary = if workload.is_small { &options.small_binary } else { &options.binary };
            record::record(workload, binary, &std::env::temp_dir())
                .with_context(|| format!("record the workload `{}`", workload.name))
        };
        WORKLOADS.iter().map(record).collect::<anyhow::Result<_>>()?
    };
    let master = Arc::new(server::data::master()?);
    let mut left = options.images;
    for (number, trace) in traces.iter().enumerate() {
        let images = left / (traces.len() - number);
        left -= images;
        let round = Round { images, seed: options.seed, only: options.only, threads: options.threads };
        Recorded::read(trace, scratch.path())?.prove(round, &master, scratch.path())?;
        if options.trace.is_none() {
            record::remove(trace);
        }
    }
    Ok(())
}

/// Where files cost nothing, if there is such a place.
fn fast_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

/// Whether a crash after this operation may leave something else than one before it.
fn matters(op: &Op) -> bool {
    !matches!(op, Op::Asked(_) | Op::Told(_) | Op::Sync { .. })
}

/// Which images are made.
#[derive(Clone, Copy)]
struct Round {
    images: usize,
    seed: u64,
    only: Option<usize>,
    threads: usize,
}

/// A workload as it was recorded.
struct Recorded {
    workload: &'static Workload,
    trace: PathBuf,
    ops: Vec<Op>,
    /// The operations behind which a crash is made.
    points: Vec<usize>,
    /// From which operation on the log need not hold a request any more.
    gone: BTreeMap<Request, usize>,
}

impl Recorded {
    fn read(trace: &Path, scratch: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(trace).with_context(|| format!("read {}", trace.display()))?;
        let ops = trace::parse(&text, &record::root_of(trace)?)?;
        drop(text);
        let workload = record::workload_of(trace);
        let points: Vec<usize> = (0..ops.len()).filter(|at| matters(&ops[*at])).collect();
        let told = ops.iter().filter(|op| matches!(op, Op::Told(_))).count();
        let bytes: usize = ops.iter().map(|op| if let Op::Write { data, .. } = op { data.len() } else { 0 }).sum();
        let syncs = ops.iter().filter(|op| matches!(op, Op::Sync { .. })).count();
        let gone = gone(&ops, &scratch.join("gone"))?;
        println!(
            "workload `{}`: {} operations, {} writes of {bytes} bytes and names, {syncs} syncs, {told} requests answered, {} deleted for \
             their age",
            workload.name,
            ops.len(),
            points.len(),
            gone.len()
        );
        ensure!(points.len() > 200 && told > 50 && syncs > 50, "that is too little of a workload");
        // What comes last in it: before minutes are spent on images of a program that knows no small limits.
        for event in [Event::SegmentDeleted, Event::RunDeleted, Event::FilterDeleted] {
            let happened = ops.iter().any(|op| Event::of(op) == Some(event));
            ensure!(happened || !workload.is_small, "the workload has nothing of what it is for: {}", event.name());
        }
        Ok(Self { workload, trace: trace.to_owned(), ops, points, gone })
    }

    /// Opens images until there are enough different ones.
    fn prove(&self, asked: Round, master: &Arc<Master>, scratch: &Path) -> anyhow::Result<()> {
        if asked.only.is_none() {
            self.find_planted(asked, master, scratch)?;
        }
        let begun = Instant::now();
        let (mut opened, mut round) = (Opened::default(), asked);
        // Some images of a round are like others: as many more are made of another seed.
        while round.images > 0 && round.seed < asked.seed + ROUNDS {
            opened = Shared::new(self, &self.ops, round, opened).run(master, scratch);
            for failure in &opened.failed {
                println!("FAILED {failure}");
                println!(
                    "again: cargo xtask prove img -- --trace {} --seed {} --images {} --only {}",
                    self.trace.display(),
                    round.seed,
                    round.images,
                    failure.split(' ').nth(1).unwrap_or_default()
                );
            }
            if !opened.failed.is_empty() || asked.only.is_some() {
                break;
            }
            let missing = asked.images.saturating_sub(opened.images.len());
            round = Round { images: if missing > 0 { missing.max(AGAIN) } else { 0 }, seed: round.seed + 1, ..round };
        }
        for class in Class::ALL {
            println!("{:<26} {:>6} images", class.name(), opened.classes.get(&class).copied().unwrap_or(0));
        }
        // What there is of them is told of every workload; it has to be there in the one that is for it.
        for (event, images) in &opened.events {
            println!("{:<26} {images:>6} images", event.name());
        }
        println!(
            "{} different images opened and verified in {:.1} s; {} with anything stored",
            opened.images.len(),
            begun.elapsed().as_secs_f64(),
            opened.stored
        );
        ensure!(opened.failed.is_empty(), "{} images failed", opened.failed.len());
        if asked.only.is_some() {
            return Ok(());
        }
        ensure!(opened.images.len() >= asked.images, "there are no {} different images", asked.images);
        for class in Class::ALL {
            ensure!(opened.classes.contains_key(&class), "a crash of the class `{}` never happened", class.name());
        }
        for event in Event::ALL.into_iter().filter(|_| self.workload.is_small) {
            ensure!(opened.events.contains_key(&event), "no crash met what the workload is for: {}", event.name());
        }
        Ok(())
    }

    /// What would be wrong with another program has to be found.
    fn find_planted(&self, asked: Round, master: &Arc<Master>, scratch: &Path) -> anyhow::Result<()> {
        // With what is said of the failure, where it can only be one.
        for (bug, ops, words) in [
            ("answers before the sync", told_too_early(&self.ops), "is not there"),
            ("names of segments that are never synced", without_names_of_segments(&self.ops), ""),
        ] {
            let few = Round { images: PLANTED.min(asked.images), ..asked };
            let opened = Shared::new(self, &ops, few, Opened::default()).run(master, scratch);
            let first = opened.failed.iter().find(|failure| failure.contains(words));
            println!("planted: {bug}: {}", first.map_or("NOT FOUND", |failure| failure));
            ensure!(first.is_some(), "a planted bug was not found");
        }
        Ok(())
    }
}

/// The requests of segments that are deleted for their age, and by which operation. The log is read by the real code, in the folder `dir`.
fn gone(ops: &[Op], dir: &Path) -> anyhow::Result<BTreeMap<Request, usize>> {
    let (mut disk, mut gone) = (Disk::default(), BTreeMap::new());
    for (index, op) in ops.iter().enumerate() {
        if let (Op::Unlink { path }, Some(Event::SegmentDeleted)) = (op, Event::of(op)) {
            std::fs::create_dir_all(dir)?;
            let name = Path::new(path).file_name().context("a segment has a name")?;
            std::fs::write(dir.join(name), disk.read(path))?;
            for block in server::log::read(dir, 1)? {
                if let Some(request) = record::of_block(&block?) {
                    gone.insert(request, index);
                }
            }
            std::fs::remove_dir_all(dir)?;
        }
        disk.run(index, op);
    }
    Ok(gone)
}

/// The operations as they would have been if every client had been told at once.
fn told_too_early(ops: &[Op]) -> Vec<Op> {
    let told: BTreeSet<&Request> =
        ops.iter().filter_map(|op| if let Op::Told(request) = op { Some(request) } else { None }).collect();
    let mut early = Vec::with_capacity(ops.len());
    for op in ops {
        // An operation for each one, so that those which name others by their place stay right.
        early.push(match op {
            Op::Asked(request) if told.contains(request) => Op::Told(request.clone()),
            Op::Told(request) => Op::Asked(request.clone()),
            other => other.clone(),
        });
    }
    early
}

/// The operations as they would have been if nobody had synced the folder of the log.
fn without_names_of_segments(ops: &[Op]) -> Vec<Op> {
    let without = |op: &Op| match op {
        // Of nothing, in its place.
        Op::Sync { path, .. } if path == "log" => Op::Sync { path: path.clone(), asked: 0 },
        other => other.clone(),
    };
    ops.iter().map(without).collect()
}

/// What was opened.
#[derive(Default)]
struct Opened {
    /// Hashes of the images, each with how much has to be found in it.
    images: HashSet<u64>,
    classes: BTreeMap<Class, usize>,
    /// Verified images by what happened last before the crash, and by what it undid.
    events: BTreeMap<Event, usize>,
    /// In how many of them anything was stored.
    stored: usize,
    failed: Vec<String>,
}

struct Shared<'a> {
    recorded: &'a Recorded,
    /// Its operations, or those of a planted bug.
    ops: &'a [Op],
    round: Round,
    next: AtomicUsize,
    opened: Mutex<Opened>,
}

impl<'a> Shared<'a> {
    fn new(recorded: &'a Recorded, ops: &'a [Op], round: Round, opened: Opened) -> Self {
        Self { recorded, ops, round, next: AtomicUsize::new(0), opened: Mutex::new(opened) }
    }

    /// Checks all images that were not opened before; what was opened by then.
    fn run(self, master: &Arc<Master>, scratch: &Path) -> Opened {
        std::thread::scope(|scope| {
            for thread in 0..self.round.threads {
                let (shared, dir) = (&self, scratch.join(thread.to_string()));
                scope.spawn(move || shared.work(master, &dir));
            }
        });
        self.opened.into_inner().expect("no thread panicked")
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().expect("no thread panicked")
    }

    /// Image number `number` lies behind which operation, and is of which class. Spread evenly; every point is killed first.
    fn plan(&self, number: usize) -> (usize, Class) {
        let (images, points) = (self.round.images, self.recorded.points.len());
        let point = (number * points / images).min(points - 1);
        let first = (point * images).div_ceil(points);
        let class = match number - first {
            _ if images < 2 * points => Class::ALL[number % Class::ALL.len()],
            0 => Class::Killed,
            // Few operations change names, and by this class alone they may be undone.
            1 | 2 if Event::of(&self.ops[self.recorded.points[point]]).is_some_and(|event| event.undone().is_some()) => {
                Class::Names
            }
            _ => Class::ALL[1 + number % (Class::ALL.len() - 1)],
        };
        (self.recorded.points[point], class)
    }

    fn work(&self, master: &Arc<Master>, dir: &Path) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (mut disk, mut done) = (Disk::default(), 0);
        let mut told = BTreeSet::new();
        let mut shared_told = Arc::new(BTreeSet::new());
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.round.images || self.opened().failed.len() >= FAILURES {
                return;
            }
            if self.round.only.is_some_and(|only| only != number) {
                continue;
            }
            let (point, class) = self.plan(number);
            // Numbers only grow, so the disk only goes on.
            while done <= point {
                disk.run(done, &self.ops[done]);
                if let Op::Told(request) = &self.ops[done] {
                    told.insert(request.clone());
                    shared_told = Arc::new(told.clone());
                }
                done += 1;
            }
            let mut random = Random(self.round.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number as u64);
            let (image, undone) = disk.crash(class, |end| random.below(end));
            let mut hasher = DefaultHasher::new();
            image.hash(&mut hasher);
            if !self.opened().images.insert(hasher.finish() ^ shared_told.len() as u64) {
                continue; // verified already, with as much to be found in it
            }
            let undone = undone.iter().filter_map(|index| Event::of(&self.ops[*index])?.undone());
            let events: BTreeSet<Event> = Event::of(&self.ops[point]).into_iter().chain(undone).collect();
            let case = Case { at: point, image, told: Arc::clone(&shared_told), gone: &self.recorded.gone };
            let result = runtime.block_on(case.check(master, dir));
            let mut opened = self.opened();
            *opened.classes.entry(class).or_default() += 1;
            match result {
                Ok(has_state) => {
                    opened.stored += usize::from(has_state);
                    for event in events {
                        *opened.events.entry(event).or_default() += 1;
                    }
                }
                Err(error) => {
                    opened.failed.push(format!("image {number} ({}, after operation {point}): {error:#}", class.name()));
                }
            }
            drop(opened);
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}
