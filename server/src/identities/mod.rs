//! The memory of identities: 128-bit keyed fingerprints of everything that was ever accepted, kept late or rejected.
//!
//! A filter in memory (24 bits a key, 12 once there are many) tells of nearly every new key that it is new. New keys are put at the end of a table; at a
//! checkpoint a full table is frozen, sorted and written to a run file. The run counts once the checkpoint's transaction names it, so
//! that a restart never knows an identity whose record it has yet to process. After 16 million keys the filter is sealed and written
//! beside the run, and the next generation begins, with a small filter, because many a log has few keys; its first million make it the
//! full one.
//!
//! What a restart lacks, the identities since the last run, it takes from the log; so that it need not read much, a run is also written
//! after much log, be it of few identities or none.
//!
//! A generation is forgotten once whatever it could tell of is too old to be taken in: all of it came in more than the time of retention
//! ago. What has no time of its own is known again as a duplicate for as long, and no longer; a rebuild, which remembers everything,
//! tells such a repetition after months from a new record where the one who lived through it could not.

mod filter;
mod run;

use crate::files::{self, File};
use domain::engine::{Identities, Seen};
use domain::event::{BodyHash, Identity};
use domain::planted;
use domain::time::ProcessingTime;
use filter::Filter;
use run::{Fences, Run, RunWriter};
use std::hash::Hasher;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// How much is kept where; smaller in tests and simulations, where everything has to happen soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// A table is frozen at the next checkpoint once it holds so many identities. Until then its generation has a small filter.
    pub freeze_at: usize,
    /// Keys per generation.
    pub generation_keys: usize,
    /// A run of identities is written at the latest after so much log, be it of few: as much a restart reads at most for what it has
    /// processed already.
    pub run_bytes: u64,
}

impl Sizes {
    /// As a server has them.
    pub const NORMAL: Self = Self { freeze_at: 1_000_000, generation_keys: 16_000_000, run_bytes: 512 * 1024 * 1024 };
    /// So small that a run and a generation are soon full: for tests.
    pub const SMALL: Self = Self { freeze_at: 8, generation_keys: 16, run_bytes: 1_000_000 };

    /// An empty filter for a generation of so many `keys` as yet, beside so many `others`.
    fn filter(self, keys: usize, others: usize) -> Filter {
        // More may come in before it is made the full one.
        let few = self.freeze_at.saturating_mul(2);
        if keys < self.freeze_at && few < self.generation_keys {
            Filter::new(few, filter::TIGHT)
        } else {
            Filter::new(self.generation_keys, filter::bits_beside(others))
        }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self::NORMAL
    }
}

/// A run that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRun {
    /// Name of its file.
    pub name: String,
    /// The last block that it covers, with those before it.
    pub last_block: u64,
    /// How many identities it holds.
    pub identities: u64,
}

/// What becomes of the newest identities at a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freeze {
    /// They become a run once they are many.
    Full,
    /// They become a run, be they few or none: a restart need not read what lies before.
    All,
}

/// Where runs under the secret `key` lie within `dir`: a folder for each secret, so that a start on another store takes none of its files
/// for left-overs. The name does not tell the secret.
pub fn folder(dir: &Path, key: &[u8; 16]) -> PathBuf {
    let mut hasher = siphasher::sip::SipHasher13::new_with_key(key);
    hasher.write(b"the folder of identities");
    dir.join(format!("{:016x}", hasher.finish()))
}

/// Reads all of the run at `path`: whether it is what was written, so many `identities`.
pub fn check_run(path: &Path, identities: u64) -> io::Result<()> {
    scrub_run(path, identities, &|| false)
}

/// As [`check_run`], but without the pages that are left once `is_stopped` says so, which is asked before each.
pub fn scrub_run(path: &Path, identities: u64, is_stopped: &dyn Fn() -> bool) -> io::Result<()> {
    Run::open(path, identities)?.check(is_stopped)
}

/// Whether there is a run at `path` that holds so many `identities`. Its pages are checked when they are read.
pub fn is_run(path: &Path, identities: u64) -> bool {
    Run::open(path, identities).is_ok()
}

/// Copies `runs` from the folder `from` to `to`, made where absent, with what is written beside them, each checked; durable on return.
pub fn copy_runs(from: &Path, to: &Path, runs: &[NamedRun]) -> io::Result<()> {
    files::create_dir(to)?;
    let copy = |path: &Path| {
        let to = to.join(path.file_name().expect("a file of ours"));
        std::fs::copy(path, &to).and_then(|_| File::open(&to)?.sync_all())
    };
    for run in runs {
        let path = from.join(&run.name);
        copy(&path)?;
        check_run(&to.join(&run.name), run.identities)?;
        match copy(&filter_path(&path)) {
            // Not each ends a generation.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => copied?,
        }
    }
    files::sync_dir(to)
}

/// The newest identities, by the first bits of their key: what is new goes to the end of one of few places, all of which stay within a
/// cache. Known keys are rare: they may be searched for.
#[derive(Debug)]
struct Table {
    buckets: Vec<Vec<Entry>>,
    len: usize,
}

/// Halves of the key apart: as one number it would be aligned to 16 bytes and the entry a third larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    high: u64,
    low: u64,
    body: u64,
}

impl Entry {
    fn key(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

impl Table {
    const BUCKETS: usize = 1 << 12;

    fn new() -> Self {
        Self { buckets: vec![Vec::new(); Self::BUCKETS], len: 0 }
    }

    const fn bucket(high: u64) -> usize {
        (high >> 52) as usize
    }

    fn get(&self, key: u128) -> Option<u64> {
        let (high, low) = ((key >> 64) as u64, key as u64);
        self.buckets[Self::bucket(high)].iter().find(|e| e.high == high && e.low == low).map(|e| e.body)
    }

    /// Reads of where [`Table::insert`] will write.
    fn touch(&self, key: u128) -> u64 {
        self.buckets[Self::bucket((key >> 64) as u64)].last().map_or(0, |entry| entry.low)
    }

    fn insert(&mut self, key: u128, body: u64) {
        let high = (key >> 64) as u64;
        let bucket = &mut self.buckets[Self::bucket(high)];
        if bucket.len() == bucket.capacity() {
            // They keep their room: doubled, in time nearly all would have twice what they need.
            bucket.reserve_exact((bucket.len() / 4).max(4));
        }
        bucket.push(Entry { high, low: key as u64, body });
        self.len += 1;
    }

    fn keys(&self) -> impl Iterator<Item = u128> {
        self.buckets.iter().flatten().map(Entry::key)
    }

    /// Empty, with the memory that it has.
    fn cleared(mut self) -> Self {
        self.buckets.iter_mut().for_each(Vec::clear);
        self.len = 0;
        self
    }
}

/// Runs whose filter takes no more keys.
#[derive(Debug)]
struct Sealed {
    filter: Arc<Filter>,
    runs: Vec<Run>,
}

impl Sealed {
    /// The filter is written where it is missing or damaged: making it takes reading all of `runs`.
    fn open(mut runs: Vec<Run>, generation_keys: usize, others: usize) -> io::Result<Self> {
        let path = filter_path(&runs.last().expect("it is full").path);
        let filter = if let Some((filter, fences)) = Filter::read(&path, generation_keys, runs.iter().map(|run| run.pages))? {
            runs.iter_mut().zip(fences).for_each(|(run, fences)| run.fences = fences);
            filter
        } else {
            let filter = filled(Filter::new(generation_keys, filter::bits_beside(others)), &mut runs)?;
            filter.write(&path, &fences_of(&runs))?;
            filter
        };
        Ok(Self { filter: Arc::new(filter), runs })
    }

    fn received_at(&self) -> Option<ProcessingTime> {
        self.runs.iter().map(|run| run.received_at).max()
    }
}

/// The `filter` with all keys of `runs`, which are read for it.
fn filled(mut filter: Filter, runs: &mut [Run]) -> io::Result<Filter> {
    runs.iter_mut().try_for_each(|run| run.read(|key| filter.insert(key)))?;
    Ok(filter)
}

fn fences_of(runs: &[Run]) -> Vec<Fences> {
    runs.iter().map(|run| Arc::clone(&run.fences)).collect()
}

/// The identities of one log.
#[derive(Debug)]
pub struct DiskIdentities {
    dir: PathBuf,
    sizes: Sizes,
    table: Table,
    /// Being written by a checkpoint.
    frozen: Option<Arc<Table>>,
    /// The last frozen table, whose memory the next one takes: memory that the system gives anew has to be cleared first.
    retired: Option<Arc<Table>>,
    /// Holds the keys of `table`, and of `frozen` and `runs` where those are of the current generation.
    filter: Filter,
    runs: Vec<Run>,
    sealed: Vec<Sealed>,
    in_runs: usize,
    /// Files of forgotten generations, while a committed checkpoint may name them.
    forgotten: Vec<PathBuf>,
}

/// A frozen table on its way to disk.
#[derive(Clone, Debug)]
pub struct FrozenTable {
    table: Arc<Table>,
    path: PathBuf,
    /// Name of its file.
    pub name: String,
    /// When the newest of it came in.
    received_at: ProcessingTime,
    /// Its run, once that is written, open: when the checkpoint is committed that names it, no file need be had.
    run: Arc<Mutex<Option<Run>>>,
    /// What is written of its generation, where it is the last run of it.
    seal: Option<Seal>,
}

/// The filter of a generation, and of its runs but for the last the fences and where they lie.
#[derive(Clone, Debug)]
struct Seal {
    filter: Arc<Filter>,
    fences: Vec<Fences>,
    paths: Vec<PathBuf>,
}

impl FrozenTable {
    /// Number of identities.
    pub fn len(&self) -> usize {
        self.table.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.table.len == 0
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sorts and writes it, durable on return, the name of the file too.
    pub fn write(&self) -> io::Result<()> {
        let mut writer = RunWriter::create(&self.path, self.received_at)?;
        let mut sorted = Vec::new();
        for bucket in &self.table.buckets {
            sorted.clone_from(bucket);
            // As one number: two halves would be compared by guess.
            sorted.sort_unstable_by_key(Entry::key);
            sorted.iter().try_for_each(|entry| writer.push(entry))?;
        }
        let fences = writer.finish()?;
        if let Some(Seal { filter, fences: before, paths }) = &self.seal {
            let all: Vec<Fences> = before.iter().chain([&fences]).cloned().collect();
            filter.write(&filter_path(&self.path), &all)?;
            // A start reads the filter from now on, and only what comes again is looked for in the runs: kept in the system's memory, they
            // would fill that, and fresh memory costs more than memory used again and again.
            for run in paths.iter().chain([&self.path]) {
                let _ = File::open(run).and_then(|run| run.len().map(|len| run.let_go(0..len)));
            }
        }
        files::sync_dir(self.path.parent().expect("it was made inside a directory"))?;
        let mut run = Run::open(&self.path, self.len() as u64)?;
        run.fences = fences;
        *self.run.lock().expect("nobody panics with it") = Some(run);
        Ok(())
    }
}

/// Where the filter lies of the generation that ends with the run at `run`.
fn filter_path(run: &Path) -> PathBuf {
    run.with_extension("filter")
}

impl DiskIdentities {
    /// Opens the memory in `dir` with the named `runs`, oldest first; other files there are left-overs of a crash and removed.
    pub fn open(dir: &Path, runs: &[NamedRun], sizes: Sizes) -> io::Result<Self> {
        let generation_keys = sizes.generation_keys;
        files::create_dir(dir)?;
        for path in files::list(dir)? {
            if !runs.iter().any(|run| path.file_stem() == Path::new(&run.name).file_stem()) {
                files::remove(&path)?;
            }
        }
        let mut identities = Self {
            dir: dir.to_owned(),
            sizes,
            table: Table::new(),
            frozen: None,
            retired: None,
            filter: sizes.filter(0, 0),
            runs: Vec::new(),
            sealed: Vec::new(),
            in_runs: 0,
            forgotten: Vec::new(),
        };
        let mut generation = Vec::new();
        let mut keys = 0;
        for run in runs {
            let run = Run::open(&dir.join(&run.name), run.identities)?;
            identities.in_runs += run.entries;
            keys += run.entries;
            generation.push(run);
            // A generation ends with the run that fills its filter.
            if keys >= generation_keys {
                let others = identities.sealed.len();
                identities.sealed.push(Sealed::open(std::mem::take(&mut generation), generation_keys, others)?);
                keys = 0;
            }
        }
        identities.filter = filled(sizes.filter(keys, identities.sealed.len()), &mut generation)?;
        identities.runs = generation;
        Ok(identities)
    }

    /// Freezes the table, to be written and named by the checkpoint that ends with `last_block`, received at `now`.
    pub fn freeze(&mut self, last_block: u64, now: ProcessingTime, freeze: Freeze) -> Option<FrozenTable> {
        let len = self.table.len;
        if self.frozen.is_some() || (freeze == Freeze::Full && len < self.sizes.freeze_at) {
            return None;
        }
        let name = format!("{last_block:020}.run");
        let path = self.dir.join(&name);
        let mut known = self.runs.iter().chain(self.sealed.iter().flat_map(|generation| &generation.runs)).map(|run| &run.path);
        if known.any(|known| *known == path) {
            // Nothing came in since: it would be written over.
            return None;
        }
        let next = self.retired.take().and_then(Arc::into_inner).map_or_else(Table::new, Table::cleared);
        let table = Arc::new(std::mem::replace(&mut self.table, next));
        self.frozen = Some(Arc::clone(&table));
        let of_generation = self.runs.iter().map(|run| run.entries).sum::<usize>() + len;
        let is_full = of_generation >= self.sizes.generation_keys && self.filter.is_for(self.sizes.generation_keys);
        let seal = is_full.then(|| {
            let filter = Arc::new(std::mem::replace(&mut self.filter, self.sizes.filter(0, self.sealed.len())));
            let fences = fences_of(&self.runs);
            let paths = self.runs.iter().map(|run| run.path.clone()).collect();
            self.sealed.push(Sealed { filter: Arc::clone(&filter), runs: std::mem::take(&mut self.runs) });
            Seal { filter, fences, paths }
        });
        Some(FrozenTable { table, path, name, received_at: now, run: Arc::default(), seal })
    }

    /// The frozen table is durable and named by a committed checkpoint: its run takes over.
    pub fn thaw(&mut self, frozen: &FrozenTable) -> io::Result<()> {
        let written = frozen.run.lock().expect("nobody panics with it").take();
        let run = written.ok_or_else(|| io::Error::other("a run that was never written cannot count"))?;
        self.in_runs += run.entries;
        match (&frozen.seal, self.sealed.last_mut()) {
            (Some(_), Some(generation)) => generation.runs.push(run),
            _ => self.runs.push(run),
        }
        self.retired = self.frozen.take();
        self.widen()
    }

    /// Makes the filter the full one once its generation has outgrown the small one.
    fn widen(&mut self) -> io::Result<()> {
        let keys = self.runs.iter().map(|run| run.entries).sum::<usize>() + self.table.len;
        if keys >= self.sizes.freeze_at && !self.filter.is_for(self.sizes.generation_keys) {
            let mut filter = filled(self.sizes.filter(keys, self.sealed.len()), &mut self.runs)?;
            self.table.keys().for_each(|key| filter.insert(key));
            self.filter = filter;
        }
        Ok(())
    }

    /// Forgets the generations all of which came in before `before`; the names of their runs, for the next checkpoint. The newest run
    /// stays in any case: it tells what a restart has to read.
    pub fn forget(&mut self, before: ProcessingTime) -> Vec<String> {
        // A frozen table may be the last run of the newest one.
        let stays = usize::from(self.runs.is_empty() || self.frozen.is_some());
        let may_go = self.sealed.len().saturating_sub(stays);
        let is_old = |generation: &&Sealed| {
            generation.received_at().is_some_and(|at| at < before || planted("identities-forgotten-too-early"))
        };
        let old = self.sealed[..may_go].iter().take_while(is_old).count();
        let runs: Vec<Run> = self.sealed.drain(..old).flat_map(|generation| generation.runs).collect();
        self.in_runs -= runs.iter().map(|run| run.entries).sum::<usize>();
        self.forgotten.extend(runs.iter().map(|run| run.path.clone()));
        runs.iter().filter_map(|run| Some(run.path.file_name()?.to_str()?.to_owned())).collect()
    }

    /// The checkpoint is committed that no longer names what was forgotten.
    pub fn remove_forgotten(&mut self) {
        for path in std::mem::take(&mut self.forgotten) {
            // What stays is removed by the next start.
            let _ = files::remove(&filter_path(&path));
            let _ = files::remove(&path);
        }
    }

    /// Looks for a key that a filter may hold.
    fn find(&self, key: u128) -> Option<u64> {
        // While its generation is sealed already, the frozen table's keys are in an older filter.
        let frozen = self.frozen.as_ref().filter(|_| !planted("identity-unknown-while-frozen"));
        let newest = self.table.get(key).or_else(|| frozen.and_then(|table| table.get(key)));
        if newest.is_some() {
            return newest;
        }
        let of_current = self.filter.may_hold(key).then_some(&self.runs);
        let of_sealed = self.sealed.iter().rev().filter(|generation| generation.filter.may_hold(key)).map(|g| &g.runs);
        of_current.into_iter().chain(of_sealed).flatten().find_map(|run| {
            // Without this file duplicates cannot be told: stopping is the only safe answer.
            run.find(key).unwrap_or_else(|e| panic!("cannot read {}: {e}", run.path.display()))
        })
    }

    fn may_know(&self, key: u128) -> bool {
        self.filter.may_hold(key)
            || (!planted("older-identities-forgotten") && self.sealed.iter().any(|generation| generation.filter.may_hold(key)))
    }

    /// Number of identities known.
    pub fn len(&self) -> usize {
        self.table.len + self.frozen.as_ref().map_or(0, |t| t.len) + self.in_runs
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Identities for DiskIdentities {
    fn expect(&self, identities: &[Identity]) {
        // Nothing is decided by what is read here, and nothing else is done: the reads for many records are under way at once.
        let touch = |filter: &Filter| identities.iter().fold(0, |all, identity| all ^ filter.touch(identity.0));
        let sealed = self.sealed.iter().map(|generation| touch(&generation.filter));
        std::hint::black_box(sealed.fold(touch(&self.filter), |all, lines| all ^ lines));
        // New ones go to the end of their bucket: mostly a page that the processor has not looked up lately.
        std::hint::black_box(identities.iter().fold(0, |all, identity| all ^ self.table.touch(identity.0)));
    }

    fn check_in(&mut self, identity: Identity, body: BodyHash) -> Seen {
        let seen = self.seen(identity, body);
        if seen == Seen::New {
            self.filter.insert(identity.0);
            self.table.insert(identity.0, body.0);
        }
        seen
    }

    fn seen(&self, identity: Identity, body: BodyHash) -> Seen {
        let known = if self.may_know(identity.0) { self.find(identity.0) } else { None };
        match known {
            None => Seen::New,
            Some(known) if known == body.0 => Seen::Same,
            Some(_) => Seen::Other,
        }
    }
}

#[cfg(test)]
mod tests;
