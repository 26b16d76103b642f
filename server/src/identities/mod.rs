//! The memory of identities: 128-bit keyed fingerprints of everything that was ever accepted, kept late or rejected.
//!
//! A filter in memory (16 bits a key) tells of nearly every new key that it is new. New keys are put at the end of a table; at a
//! checkpoint a full table is frozen, sorted and written to a run file. The run counts once the checkpoint's transaction names it, so
//! that a restart never knows an identity whose record it has yet to process. After 16 million keys the filter is sealed and written
//! beside the run, and the next generation begins.
//!
//! What a restart lacks, the identities since the last run, it takes from the log.

use domain::engine::{Identities, Seen};
use domain::event::{BodyHash, Identity};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A table is frozen at the next checkpoint once it holds so many identities.
pub const FREEZE_AT: usize = 1_000_000;
/// Keys per filter.
const GENERATION_KEYS: usize = 16_000_000;
/// Bytes of an entry in a run: key and body, little-endian.
const ENTRY: usize = 24;
/// Entries of a run that one read brings.
const AT_ONCE: usize = 128;

/// The newest identities, by the first bits of their key: what is new goes to the end of one of few places, all of which stay within a
/// cache. Known keys are rare: they may be searched for.
#[derive(Debug)]
struct Table {
    buckets: Vec<Vec<Entry>>,
    len: usize,
}

/// Halves of the key apart: as one number it would be aligned to 16 bytes and the entry a third larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    high: u64,
    low: u64,
    body: u64,
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

    fn insert(&mut self, key: u128, body: u64) {
        let high = (key >> 64) as u64;
        self.buckets[Self::bucket(high)].push(Entry { high, low: key as u64, body });
        self.len += 1;
    }

    /// Empty, with the memory that it has.
    fn cleared(mut self) -> Self {
        self.buckets.iter_mut().for_each(Vec::clear);
        self.len = 0;
        self
    }
}

/// A file of identities in order.
#[derive(Debug)]
struct Run {
    file: File,
    path: PathBuf,
    entries: usize,
}

impl Run {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len() as usize;
        if !len.is_multiple_of(ENTRY) {
            return Err(io::Error::other(format!("run {} has a broken length", path.display())));
        }
        Ok(Self { file, path: path.to_owned(), entries: len / ENTRY })
    }

    /// Tells every key to `each`.
    fn keys(&self, mut each: impl FnMut(u128)) -> io::Result<()> {
        let mut reader = io::BufReader::with_capacity(1 << 20, &self.file);
        let mut entry = [0; ENTRY];
        for _ in 0..self.entries {
            reader.read_exact(&mut entry)?;
            each(key_of(&entry));
        }
        Ok(())
    }

    /// The body known for `key`, by interpolation: keys are uniform, so two or three reads find it.
    fn find(&self, key: u128) -> io::Result<Option<u64>> {
        let high = |key: u128| key >> 64;
        let mut bytes = [0; ENTRY * AT_ONCE];
        // The key lies in [from, to), between these two keys.
        let (mut from, mut to) = (0, self.entries);
        let (mut below, mut above) = (0, u128::from(u64::MAX) + 1);
        while from < to {
            let share = (high(key) - below) * (to - from) as u128 / (above - below).max(1);
            let middle = (from + share as usize).saturating_sub(AT_ONCE / 2);
            let start = middle.clamp(from, to.saturating_sub(AT_ONCE).max(from));
            let end = (start + AT_ONCE).min(to);
            let part = &mut bytes[..(end - start) * ENTRY];
            self.file.read_exact_at(part, (start * ENTRY) as u64)?;
            let (entries, _) = part.as_chunks::<ENTRY>();
            let (first, last) = (key_of(&entries[0]), key_of(&entries[entries.len() - 1]));
            if key < first {
                (to, above) = (start, high(first) + 1);
            } else if key > last {
                (from, below) = (end, high(last));
            } else {
                let found = entries.binary_search_by_key(&key, key_of).ok();
                return Ok(found.map(|at| u64::from_le_bytes(entries[at][16..].try_into().expect("eight bytes"))));
            }
        }
        Ok(None)
    }
}

fn key_of(entry: &[u8; ENTRY]) -> u128 {
    u128::from_le_bytes(entry[..16].try_into().expect("sixteen bytes"))
}

/// A blocked Bloom filter: one cache line a key, one bit in each of its eight words (after Putze, Sanders and Singler, "Cache-,
/// hash- and space-efficient Bloom filters", 2007). At 16 bits a key about 6 in 10 000 unknown keys pass.
#[derive(Debug)]
struct Filter {
    blocks: Vec<FilterBlock>,
}

/// One cache line: the alignment matters.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct FilterBlock([u64; 8]);

impl Filter {
    fn new(keys: usize) -> Self {
        Self { blocks: vec![FilterBlock::default(); keys * 16 / 512 + 1] }
    }

    /// Writes it with its checksum, durable on return.
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut crc = 0;
        for word in self.blocks.iter().flat_map(|block| block.0) {
            let bytes = word.to_le_bytes();
            crc = crc32c::crc32c_append(crc, &bytes);
            writer.write_all(&bytes)?;
        }
        writer.write_all(&crc.to_le_bytes())?;
        writer.into_inner()?.sync_all()
    }

    /// Reads the filter at `path`; `None` where it is not there or not whole.
    fn read(path: &Path, keys: usize) -> io::Result<Option<Self>> {
        let mut filter = Self::new(keys);
        let bytes = match fs::read(path) {
            Ok(bytes) if bytes.len() == filter.blocks.len() * 64 + 4 => bytes,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (words, crc) = bytes.split_at(bytes.len() - 4);
        if crc32c::crc32c(words).to_le_bytes() != crc {
            return Ok(None);
        }
        for (word, bytes) in filter.blocks.iter_mut().flat_map(|block| &mut block.0).zip(words.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        }
        Ok(Some(filter))
    }

    fn block(&self, key: u128) -> usize {
        (((key >> 64) * self.blocks.len() as u128) >> 64) as usize
    }

    fn insert(&mut self, key: u128) {
        let at = self.block(key);
        for (i, word) in self.blocks[at].0.iter_mut().enumerate() {
            *word |= 1 << ((key as u64 >> (i * 6)) & 63);
        }
    }

    /// Without a branch: which bits are set is chance, and a processor that guesses wrong throws away what it had begun.
    fn may_hold(&self, key: u128) -> bool {
        let block = &self.blocks[self.block(key)].0;
        block.iter().enumerate().fold(1, |all, (i, word)| all & (word >> ((key as u64 >> (i * 6)) & 63))) == 1
    }

    /// Reads of what [`Filter::may_hold`] will look at.
    fn touch(&self, key: u128) -> u64 {
        self.blocks[self.block(key)].0[0]
    }
}

/// Runs whose filter takes no more keys.
#[derive(Debug)]
struct Sealed {
    filter: Arc<Filter>,
    runs: Vec<Run>,
}

/// The identities of one log.
#[derive(Debug)]
pub struct DiskIdentities {
    dir: PathBuf,
    generation_keys: usize,
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
}

/// A frozen table on its way to disk.
#[derive(Clone, Debug)]
pub struct FrozenTable {
    table: Arc<Table>,
    path: PathBuf,
    /// Name of its file.
    pub name: String,
    /// The filter of its generation, where it is the last run of it.
    seal: Option<Arc<Filter>>,
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
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(&self.path)?);
        let mut sorted = Vec::new();
        for bucket in &self.table.buckets {
            sorted.clone_from(bucket);
            sorted.sort_unstable();
            for Entry { high, low, body } in &sorted {
                for half in [low, high, body] {
                    writer.write_all(&half.to_le_bytes())?;
                }
            }
        }
        writer.into_inner()?.sync_all()?;
        if let Some(filter) = &self.seal {
            filter.write(&filter_path(&self.path))?;
        }
        File::open(self.path.parent().expect("it was made inside a directory"))?.sync_all()
    }
}

/// Where the filter lies of the generation that ends with the run at `run`.
fn filter_path(run: &Path) -> PathBuf {
    run.with_extension("filter")
}

impl DiskIdentities {
    /// Opens the memory in `dir` with the named `runs`, oldest first; other files there are left-overs of a crash and removed.
    pub fn open(dir: &Path, runs: &[String]) -> io::Result<Self> {
        Self::with_generations(dir, runs, GENERATION_KEYS)
    }

    fn with_generations(dir: &Path, runs: &[String], generation_keys: usize) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if !runs.iter().any(|run| path.file_stem() == Path::new(run).file_stem()) {
                fs::remove_file(path)?;
            }
        }
        let mut identities = Self {
            dir: dir.to_owned(),
            generation_keys,
            table: Table::new(),
            frozen: None,
            retired: None,
            filter: Filter::new(generation_keys),
            runs: Vec::new(),
            sealed: Vec::new(),
            in_runs: 0,
        };
        let paths: Vec<PathBuf> = runs.iter().map(|name| dir.join(name)).collect();
        let mut rest = paths.as_slice();
        while !rest.is_empty() {
            // A generation ends with the run that fills its filter.
            let (mut keys, mut ends) = (0, 0);
            while ends < rest.len() && keys < generation_keys {
                keys += fs::metadata(&rest[ends])?.len() as usize / ENTRY;
                ends += 1;
            }
            let (generation, others) = rest.split_at(ends);
            let is_full = keys >= generation_keys;
            let stored = if is_full { Filter::read(&filter_path(&generation[ends - 1]), generation_keys)? } else { None };
            let mut made = Filter::new(generation_keys);
            let runs = generation
                .iter()
                .map(|path| {
                    let run = Run::open(path)?;
                    if stored.is_none() {
                        run.keys(|key| made.insert(key))?;
                    }
                    Ok(run)
                })
                .collect::<io::Result<Vec<_>>>()?;
            let filter = stored.unwrap_or(made);
            if is_full {
                identities.sealed.push(Sealed { filter: Arc::new(filter), runs });
            } else {
                (identities.filter, identities.runs) = (filter, runs);
            }
            identities.in_runs += keys;
            rest = others;
        }
        Ok(identities)
    }

    /// Freezes the table where it is full (or `always`), to be written and named by the checkpoint that ends with `last_block`.
    pub fn freeze(&mut self, last_block: u64, always: bool) -> Option<FrozenTable> {
        let len = self.table.len;
        if self.frozen.is_some() || len == 0 || (len < FREEZE_AT && !always) {
            return None;
        }
        let next = self.retired.take().and_then(Arc::into_inner).map_or_else(Table::new, Table::cleared);
        let table = Arc::new(std::mem::replace(&mut self.table, next));
        self.frozen = Some(Arc::clone(&table));
        let of_generation = self.runs.iter().map(|run| run.entries).sum::<usize>() + len;
        let seal = (of_generation >= self.generation_keys).then(|| {
            let filter = Arc::new(std::mem::replace(&mut self.filter, Filter::new(self.generation_keys)));
            self.sealed.push(Sealed { filter: Arc::clone(&filter), runs: std::mem::take(&mut self.runs) });
            filter
        });
        let name = format!("{last_block:020}.run");
        Some(FrozenTable { table, path: self.dir.join(&name), name, seal })
    }

    /// The frozen table is durable and named by a committed checkpoint: its run takes over.
    pub fn thaw(&mut self, frozen: &FrozenTable) -> io::Result<()> {
        let run = Run::open(&frozen.path)?;
        self.in_runs += run.entries;
        match (&frozen.seal, self.sealed.last_mut()) {
            (Some(_), Some(generation)) => generation.runs.push(run),
            _ => self.runs.push(run),
        }
        self.retired = self.frozen.take();
        Ok(())
    }

    /// Looks for a key that a filter may hold.
    fn find(&self, key: u128) -> Option<u64> {
        // While its generation is sealed already, the frozen table's keys are in an older filter.
        let newest = self.table.get(key).or_else(|| self.frozen.as_ref().and_then(|table| table.get(key)));
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
        self.filter.may_hold(key) || self.sealed.iter().any(|generation| generation.filter.may_hold(key))
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
    fn expect(&self, identity: Identity) {
        // Nothing is decided by what is read here, so that the reads for many records are under way at once.
        let sealed = self.sealed.iter().map(|generation| &*generation.filter);
        let lines = sealed.chain([&self.filter]).fold(0, |all, filter| all ^ filter.touch(identity.0));
        std::hint::black_box(lines);
    }

    fn check_in(&mut self, identity: Identity, body: BodyHash) -> Seen {
        let known = if self.may_know(identity.0) { self.find(identity.0) } else { None };
        match known {
            None => {
                self.filter.insert(identity.0);
                self.table.insert(identity.0, body.0);
                Seen::New
            }
            Some(known) if known == body.0 => Seen::Same,
            Some(_) => Seen::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(i: u64) -> Identity {
        let mixed = u128::from(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Identity(mixed << 64 | u128::from(i.wrapping_mul(0xbf58_476d_1ce4_e5b9)))
    }

    /// Five runs of 1 000, two a generation.
    #[test]
    fn an_identity_is_known_in_the_table_while_frozen_and_from_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ids = DiskIdentities::with_generations(dir.path(), &[], 2_000).expect("opens");
        let mut runs = Vec::new();
        for round in 0..5u64 {
            for i in 0..1_000 {
                assert_eq!(ids.check_in(key(round * 1_000 + i), BodyHash(i)), Seen::New);
            }
            let frozen = ids.freeze(round, true).expect("not empty");
            assert_eq!(ids.check_in(key(round * 1_000), BodyHash(0)), Seen::Same, "while frozen");
            frozen.write().expect("writes");
            ids.thaw(&frozen).expect("opens");
            runs.push(frozen.name);
        }
        fs::write(dir.path().join("left-over.run"), b"x").expect("writes");
        let reopen = || DiskIdentities::with_generations(dir.path(), &runs, 2_000).expect("opens");
        let from_filter = reopen();
        assert!(!dir.path().join("left-over.run").exists());
        let filter = dir.path().join(&runs[1]).with_extension("filter");
        let mut damaged = fs::read(&filter).expect("the first generation is sealed");
        damaged[100] ^= 1;
        fs::write(&filter, damaged).expect("writes");
        let from_runs = reopen();
        for mut ids in [ids, from_filter, from_runs] {
            assert_eq!(ids.sealed.len(), 2);
            for i in 0..5_000 {
                assert_eq!(ids.check_in(key(i), BodyHash(i % 1_000)), Seen::Same);
                assert_eq!(ids.check_in(key(i), BodyHash(i % 1_000 + 1)), Seen::Other);
            }
            assert_eq!(ids.check_in(key(5_000), BodyHash(0)), Seen::New);
            assert_eq!(ids.len(), 5_001);
        }
    }

    /// The worst for interpolation: nearly all keys at one end.
    #[test]
    fn a_run_is_searched_whatever_its_keys() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ids = DiskIdentities::open(dir.path(), &[]).expect("opens");
        let skewed = |i: u64| Identity(if i == 999 { u128::MAX } else { u128::from(i) << 64 });
        (0..1_000).for_each(|i| assert_eq!(ids.check_in(skewed(i), BodyHash(i)), Seen::New));
        let frozen = ids.freeze(1, true).expect("not empty");
        frozen.write().expect("writes");
        ids.thaw(&frozen).expect("opens");
        for i in 0..1_000 {
            assert_eq!(ids.find(skewed(i).0), Some(i));
            assert_eq!(ids.runs[0].find(skewed(i).0 + u128::from(i < 999)).expect("reads"), (i == 999).then_some(i));
        }
    }

    #[test]
    fn few_unknown_keys_pass_a_full_filter() {
        let mut filter = Filter::new(100_000);
        (0..100_000).for_each(|i| filter.insert(key(i).0));
        assert!((0..100_000).all(|i| filter.may_hold(key(i).0)));
        let passed = (100_000..200_000).filter(|i| filter.may_hold(key(*i).0)).count();
        assert!(passed < 200, "{passed} of 100 000");
    }
}
