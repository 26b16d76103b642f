//! Crash images: the shipped program runs a real workload under strace, and whatever a crash could have left of its files is opened by the
//! real code and verified. Everything that a client was told before the crash has to be there, once.
//!
//! `cargo xtask prove img` runs it. A failure prints the image's seed and number, which make it again.

mod disk;
mod record;
mod trace;

use anyhow::{Context, ensure};
use clap::Parser;
use disk::{Class, Disk, Image};
use domain::engine::EngineConfig;
use domain::master::Master;
use server::store::{Store, StoreAddress};
use server::verify::{Subject, verify};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use trace::{Op, Request};

/// Crash images of a real workload.
#[derive(Clone, Parser)]
struct Options {
    /// The program `rantai`
    #[arg(long)]
    binary: PathBuf,
    /// How many images, all different
    #[arg(long, default_value_t = 20_000)]
    images: usize,
    /// Of the images
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A trace of an earlier run, which a failure names; otherwise one is recorded
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Only this image
    #[arg(long)]
    only: Option<usize>,
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Rounds until there are enough different images, at most.
const ROUNDS: u64 = 20;
/// Images of a further round at least: of few, all may be like others.
const AGAIN: usize = 200;

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

/// What has to be in an image, and the image.
struct Case {
    number: usize,
    class: Class,
    /// After how many operations.
    at: usize,
    image: Image,
    told: Arc<BTreeSet<Request>>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let scratch = tempfile::Builder::new().prefix("rantai-img-").tempdir_in(fast_folder()).context("make a folder")?;
    let (trace, root) = match &options.trace {
        Some(path) => (path.clone(), record::root_of(path)?),
        None => record::record(&options.binary, &std::env::temp_dir())?,
    };
    let text = std::fs::read_to_string(&trace).with_context(|| format!("read {}", trace.display()))?;
    let ops = trace::parse(&text, &root)?;
    drop(text);
    let points: Vec<usize> = (0..ops.len()).filter(|at| matters(&ops[*at])).collect();
    let told = ops.iter().filter(|op| matches!(op, Op::Told(_))).count();
    let bytes: usize = ops.iter().map(|op| if let Op::Write { data, .. } = op { data.len() } else { 0 }).sum();
    let syncs = ops.iter().filter(|op| matches!(op, Op::Sync { .. })).count();
    println!(
        "recorded {} operations: {} writes of {bytes} bytes and names, {syncs} syncs, {told} requests answered",
        ops.len(),
        points.len()
    );
    ensure!(points.len() > 200 && told > 50 && syncs > 50, "that is too little of a workload");

    let master = Arc::new(server::data::master()?);
    if options.only.is_none() {
        // Had clients been told before the disk had what they sent, this must find it.
        let planted = told_too_early(&ops);
        let few = Options { images: 400.min(options.images), trace: None, binary: options.binary.clone(), ..options };
        let points: Vec<usize> = (0..planted.len()).filter(|at| matters(&planted[*at])).collect();
        let shared = Shared::new(&planted, &points, &few);
        shared.run(&master, scratch.path());
        let caught = shared.failed.into_inner().expect("no thread panicked");
        let first = caught.iter().find(|failure| failure.contains("is not there"));
        println!("planted: answers before the sync: {}", first.map_or("NOT FOUND", |failure| failure));
        ensure!(first.is_some(), "a planted bug was not found");
    }
    let begun = Instant::now();
    let (mut seen, mut classes, mut recovered, mut failed) = (HashSet::new(), BTreeMap::new(), 0, 0);
    // Some images of a round are like others: as many more are made of another seed.
    let mut round = options.clone();
    while round.images > 0 && round.seed < options.seed + ROUNDS {
        let mut shared = Shared::new(&ops, &points, &round);
        shared.seen = Mutex::new(seen);
        shared.run(&master, scratch.path());
        seen = shared.seen.into_inner().expect("no thread panicked");
        for (class, opened) in shared.classes.into_inner().expect("no thread panicked") {
            *classes.entry(class).or_insert(0) += opened;
        }
        recovered += shared.recovered.into_inner();
        for failure in shared.failed.into_inner().expect("no thread panicked") {
            println!("FAILED {failure}");
            println!(
                "again: cargo xtask prove img -- --trace {} --seed {} --images {} --only {}",
                trace.display(),
                round.seed,
                round.images,
                failure.split(' ').nth(1).unwrap_or_default()
            );
            failed += 1;
        }
        if failed > 0 || options.only.is_some() {
            break;
        }
        let missing = options.images.saturating_sub(seen.len());
        round = Options { images: if missing > 0 { missing.max(AGAIN) } else { 0 }, seed: round.seed + 1, ..round };
    }
    for class in Class::ALL {
        println!("{:<26} {:>6} images", class.name(), classes.get(&class).copied().unwrap_or(0));
    }
    println!(
        "{} different images opened and verified in {:.1} s; {recovered} with records that no checkpoint held",
        seen.len(),
        begun.elapsed().as_secs_f64()
    );
    ensure!(failed == 0, "{failed} images failed");
    ensure!(options.only.is_some() || seen.len() >= options.images, "there are no {} different images", options.images);
    if options.only.is_none() {
        for class in Class::ALL {
            ensure!(classes.contains_key(&class), "a crash of the class `{}` never happened", class.name());
        }
    }
    if options.trace.is_none() {
        let _ = std::fs::remove_file(&trace);
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

struct Shared<'a> {
    ops: &'a [Op],
    points: &'a [usize],
    options: &'a Options,
    next: AtomicUsize,
    failed: Mutex<Vec<String>>,
    classes: Mutex<BTreeMap<Class, usize>>,
    /// What was opened.
    seen: Mutex<HashSet<u64>>,
    recovered: AtomicU64,
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

impl<'a> Shared<'a> {
    fn new(ops: &'a [Op], points: &'a [usize], options: &'a Options) -> Self {
        Self {
            ops,
            points,
            options,
            next: AtomicUsize::new(0),
            failed: Mutex::default(),
            classes: Mutex::default(),
            seen: Mutex::default(),
            recovered: AtomicU64::new(0),
        }
    }

    /// Checks all images.
    fn run(&self, master: &Arc<Master>, scratch: &Path) {
        std::thread::scope(|scope| {
            for thread in 0..self.options.threads {
                let dir = scratch.join(thread.to_string());
                scope.spawn(move || self.work(master, &dir));
            }
        });
    }

    /// Image number `number` lies behind which operation, and is of which class. Spread evenly; every point is killed first.
    fn plan(&self, number: usize) -> (usize, Class) {
        let (images, points) = (self.options.images, self.points.len());
        let point = (number * points / images).min(points - 1);
        let first = (point * images).div_ceil(points);
        let class = match number - first {
            _ if images < 2 * points => Class::ALL[number % Class::ALL.len()],
            0 => Class::Killed,
            _ => Class::ALL[1 + number % (Class::ALL.len() - 1)],
        };
        (self.points[point], class)
    }

    fn work(&self, master: &Arc<Master>, dir: &Path) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (mut disk, mut done) = (Disk::default(), 0);
        let mut told = BTreeSet::new();
        let mut shared_told = Arc::new(BTreeSet::new());
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.options.images || self.failed.lock().expect("no thread panicked").len() >= 5 {
                return;
            }
            if self.options.only.is_some_and(|only| only != number) {
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
            let mut random = Random(self.options.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number as u64);
            let image = disk.crash(class, |end| random.below(end));
            let mut hasher = DefaultHasher::new();
            image.hash(&mut hasher);
            if !self.seen.lock().expect("no thread panicked").insert(hasher.finish() ^ shared_told.len() as u64) {
                continue; // verified already, with as much to be found in it
            }
            *self.classes.lock().expect("no thread panicked").entry(class).or_default() += 1;
            let case = Case { number, class, at: point, image, told: Arc::clone(&shared_told) };
            let result = runtime.block_on(self.check(&case, master, dir));
            if let Err(error) = result {
                let failure = format!("image {number} ({}, after operation {point}): {error:#}", case.class.name());
                self.failed.lock().expect("no thread panicked").push(failure);
            }
            let _ = std::fs::remove_dir_all(dir);
        }
    }

    async fn check(&self, case: &Case, master: &Arc<Master>, dir: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(dir)?;
        case.image.write(dir)?;
        let config = EngineConfig::default();
        let store = Store::open(&StoreAddress::Sqlite, dir).await.context("open the database")?;
        let subject = Subject { dir, store: &store, master, config: &config };
        let report = verify(&subject).await;
        store.close().await;
        let report = report?;
        ensure!(report.first_broken().is_none(), "\n{report}");
        let mut found: BTreeMap<Request, u32> = BTreeMap::new();
        for block in server::log::read(&dir.join("log"), 1)? {
            let block = block?;
            if let Some(request) = record::of_block(&block) {
                *found.entry(request).or_default() += 1;
            }
        }
        for request in case.told.iter() {
            ensure!(found.contains_key(request), "{request:?} was answered before operation {}, and is not there", case.at);
        }
        if let Some((request, count)) = found.iter().find(|(_, count)| **count > 1) {
            anyhow::bail!("{request:?} is there {count} times");
        }
        if report.to_string().contains("nothing was ever stored") {
            ensure!(case.told.is_empty(), "something was answered, and nothing was stored");
        } else {
            self.recovered.fetch_add(1, Ordering::Relaxed);
        }
        let _ = case.number;
        Ok(())
    }
}
