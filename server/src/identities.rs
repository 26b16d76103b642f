//! The memory of identities: 128-bit keyed fingerprints of everything that was ever accepted, kept late or rejected.
//!
//! New ones live in a hash table. At a checkpoint a full table is frozen, sorted and written to a run file; the run counts once
//! the checkpoint's transaction names it, so that a restart never knows an identity whose record it has yet to process. Filters
//! in memory (16 bits a key) tell that a key is in no run of a generation; so an unknown key touches no disk.
//!
//! What a restart lacks, the identities since the last run, it takes from the log.

use domain::engine::{Identities, Seen};
use domain::event::{BodyHash, Identity};
use hashbrown::HashMap;
use std::fs::{self, File};
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A table is frozen at the next checkpoint once it holds so many identities.
pub const FREEZE_AT: usize = 1_500_000;
/// Keys per filter.
const GENERATION_KEYS: usize = 16_000_000;
const ENTRY: usize = 24;
/// Every so many entries of a run its index has one.
const STRIDE: usize = 128;

/// Identities are uniform already: their low half is the hash.
#[derive(Default)]
pub struct LowHalf(u64);

impl Hasher for LowHalf {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

type Table = HashMap<u128, u64, BuildHasherDefault<LowHalf>>;

/// With room for all that one checkpoint may freeze: growing by doubling would stop the engine for tens of milliseconds. Pages that are
/// never touched cost no memory.
fn empty_table() -> Table {
    Table::with_capacity_and_hasher(FREEZE_AT + FREEZE_AT / 8, BuildHasherDefault::default())
}

/// A file of identities in order.
#[derive(Debug)]
struct Run {
    file: File,
    path: PathBuf,
    entries: usize,
    /// The high halves of every [`STRIDE`]th key.
    index: Vec<u64>,
}

impl Run {
    /// Opens the run at `path`, telling each of its keys to `each`.
    fn open(path: &Path, mut each: impl FnMut(u128)) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len() as usize;
        if !len.is_multiple_of(ENTRY) {
            return Err(io::Error::other(format!("run {} has a broken length", path.display())));
        }
        let mut reader = io::BufReader::with_capacity(1 << 20, &file);
        let (mut index, mut entry) = (Vec::with_capacity(len / ENTRY / STRIDE + 1), [0; ENTRY]);
        for i in 0..len / ENTRY {
            reader.read_exact(&mut entry)?;
            let key = u128::from_le_bytes(entry[..16].try_into().expect("sixteen bytes"));
            if i % STRIDE == 0 {
                index.push((key >> 64) as u64);
            }
            each(key);
        }
        Ok(Self { file, path: path.to_owned(), entries: len / ENTRY, index })
    }

    fn find(&self, key: u128) -> io::Result<Option<u64>> {
        let high = (key >> 64) as u64;
        // Equal high halves may cross a stride: look at every stride that can hold the key.
        let first = self.index.partition_point(|h| *h < high).saturating_sub(1);
        let last = self.index.partition_point(|h| *h <= high);
        let (from, to) = (first * STRIDE, (last * STRIDE).min(self.entries));
        let mut bytes = vec![0; (to - from) * ENTRY];
        self.file.read_exact_at(&mut bytes, (from * ENTRY) as u64)?;
        let (mut low, mut high) = (0, to - from);
        while low < high {
            let mid = usize::midpoint(low, high);
            let entry = &bytes[mid * ENTRY..(mid + 1) * ENTRY];
            let here = u128::from_le_bytes(entry[..16].try_into().expect("sixteen bytes"));
            match here.cmp(&key) {
                std::cmp::Ordering::Equal => {
                    return Ok(Some(u64::from_le_bytes(entry[16..].try_into().expect("eight bytes"))));
                }
                std::cmp::Ordering::Less => low = mid + 1,
                std::cmp::Ordering::Greater => high = mid,
            }
        }
        Ok(None)
    }
}

/// A blocked Bloom filter: one cache line a key, one bit in each of its eight words (after Putze, Sanders and Singler, "Cache-,
/// hash- and space-efficient Bloom filters", 2007). At 16 bits a key about 6 in 10 000 unknown keys pass.
#[derive(Debug)]
struct Filter {
    blocks: Vec<[u64; 8]>,
}

impl Filter {
    fn new(keys: usize) -> Self {
        Self { blocks: vec![[0; 8]; keys * 16 / 512 + 1] }
    }

    fn block(&self, key: u128) -> usize {
        (((key >> 64) * self.blocks.len() as u128) >> 64) as usize
    }

    fn insert(&mut self, key: u128) {
        let at = self.block(key);
        for (i, word) in self.blocks[at].iter_mut().enumerate() {
            *word |= 1 << ((key as u64 >> (i * 6)) & 63);
        }
    }

    fn may_hold(&self, key: u128) -> bool {
        let block = &self.blocks[self.block(key)];
        block.iter().enumerate().all(|(i, word)| word >> ((key as u64 >> (i * 6)) & 63) & 1 == 1)
    }
}

#[derive(Debug)]
struct Generation {
    filter: Filter,
    keys: usize,
    runs: Vec<Run>,
}

/// The identities of one log.
#[derive(Debug)]
pub struct DiskIdentities {
    dir: PathBuf,
    table: Table,
    /// Being written by a checkpoint.
    frozen: Option<Arc<Table>>,
    generations: Vec<Generation>,
}

/// A frozen table on its way to disk.
#[derive(Clone, Debug)]
pub struct FrozenTable {
    table: Arc<Table>,
    path: PathBuf,
    /// Name of its file.
    pub name: String,
}

impl FrozenTable {
    /// Number of identities.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sorts and writes it, durable on return, the name of the file too.
    pub fn write(&self) -> io::Result<()> {
        let mut entries: Vec<(u128, u64)> = self.table.iter().map(|(k, v)| (*k, *v)).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let mut writer = BufWriter::with_capacity(1 << 20, File::create(&self.path)?);
        for (key, body) in entries {
            writer.write_all(&key.to_le_bytes())?;
            writer.write_all(&body.to_le_bytes())?;
        }
        writer.into_inner()?.sync_all()?;
        File::open(self.path.parent().expect("it was made inside a directory"))?.sync_all()
    }
}

impl DiskIdentities {
    /// Opens the memory in `dir` with the named `runs`, oldest first; other files there are left-overs of a crash and removed.
    pub fn open(dir: &Path, runs: &[String]) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_none_or(|name| !runs.iter().any(|run| run == name)) {
                fs::remove_file(entry.path())?;
            }
        }
        let mut identities = Self { dir: dir.to_owned(), table: empty_table(), frozen: None, generations: Vec::new() };
        for name in runs {
            identities.add_run(&dir.join(name))?;
        }
        Ok(identities)
    }

    fn add_run(&mut self, path: &Path) -> io::Result<()> {
        if self.generations.last().is_none_or(|g| g.keys >= GENERATION_KEYS) {
            self.generations.push(Generation { filter: Filter::new(GENERATION_KEYS), keys: 0, runs: Vec::new() });
        }
        let generation = self.generations.last_mut().expect("one was just made");
        let run = Run::open(path, |key| generation.filter.insert(key))?;
        generation.keys += run.entries;
        generation.runs.push(run);
        Ok(())
    }

    /// Freezes the table where it is full (or `always`), to be written and named by the checkpoint that ends with `last_block`.
    pub fn freeze(&mut self, last_block: u64, always: bool) -> Option<FrozenTable> {
        if self.frozen.is_some() || self.table.is_empty() || (self.table.len() < FREEZE_AT && !always) {
            return None;
        }
        let table = Arc::new(std::mem::replace(&mut self.table, empty_table()));
        self.frozen = Some(Arc::clone(&table));
        let name = format!("{last_block:020}.run");
        Some(FrozenTable { table, path: self.dir.join(&name), name })
    }

    /// The frozen table is durable and named by a committed checkpoint: its run takes over.
    pub fn thaw(&mut self, frozen: &FrozenTable) -> io::Result<()> {
        self.add_run(&frozen.path)?;
        self.frozen = None;
        Ok(())
    }

    fn find(&self, key: u128) -> Option<u64> {
        if let Some(body) = self.frozen.as_ref().and_then(|table| table.get(&key)) {
            return Some(*body);
        }
        for generation in self.generations.iter().rev() {
            if !generation.filter.may_hold(key) {
                continue;
            }
            for run in generation.runs.iter().rev() {
                // Without this file duplicates cannot be told: stopping is the only safe answer.
                let found = run.find(key).unwrap_or_else(|e| panic!("cannot read {}: {e}", run.path.display()));
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    /// Number of identities known.
    pub fn len(&self) -> usize {
        self.table.len() + self.frozen.as_ref().map_or(0, |t| t.len()) + self.generations.iter().map(|g| g.keys).sum::<usize>()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Identities for DiskIdentities {
    fn expect(&self, identity: Identity) {
        let in_filters = self.generations.iter().filter(|g| g.filter.may_hold(identity.0)).count();
        std::hint::black_box((self.table.contains_key(&identity.0), in_filters));
    }

    fn check_in(&mut self, identity: Identity, body: BodyHash) -> Seen {
        let known = match self.table.get(&identity.0) {
            Some(known) => Some(*known),
            None => self.find(identity.0),
        };
        match known {
            None => {
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

    #[test]
    fn an_identity_is_known_in_the_table_while_frozen_and_from_disk() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut ids = DiskIdentities::open(dir.path(), &[]).expect("opens");
        let mut runs = Vec::new();
        for round in 0..3u64 {
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
        let mut again = DiskIdentities::open(dir.path(), &runs).expect("opens");
        assert!(!dir.path().join("left-over.run").exists());
        for ids in [&mut ids, &mut again] {
            for i in 0..3_000 {
                assert_eq!(ids.check_in(key(i), BodyHash(i % 1_000)), Seen::Same);
                assert_eq!(ids.check_in(key(i), BodyHash(i % 1_000 + 1)), Seen::Other);
            }
            assert_eq!(ids.check_in(key(3_000), BodyHash(0)), Seen::New);
            assert_eq!(ids.len(), 3_001);
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
