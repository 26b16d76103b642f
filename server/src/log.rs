//! The log: the record of truth, in segment files of checksummed blocks.
//!
//! A block is the body of one request, or a timer entry. Blocks are appended in groups; a group is durable once
//! [`Log::append`] returns. What a crash cut off at the end is removed on opening; damage before the end stops the start.
//!
//! A block: length u32, CRC-32C u32 of all that follows, marker, group u64, number u64, first record u64, received-at i64,
//! kind u8, source length u8, source, body; little-endian. Numbers of blocks are contiguous from 1.

use crate::admission::Format;
use bytes::Bytes;
use domain::time::ProcessingTime;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const HEADER: usize = 46;
const MARKER: [u8; 4] = *b"RTB1";
/// A segment is closed once it is longer than this, in bytes.
const SEGMENT_BYTES: u64 = 256 * 1024 * 1024;
/// No block is longer: a body's limit and a name's.
const MAX_BLOCK: usize = crate::admission::body::MAX_BODY_BYTES + HEADER + 256;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// A body of records.
    Records(Format),
    /// Time alone.
    Timer,
    /// What is decided of a dead letter: see `letters.rs`.
    Decision,
}

impl BlockKind {
    const fn code(self) -> u8 {
        match self {
            BlockKind::Records(Format::Json) => 0,
            BlockKind::Records(Format::Ndjson) => 1,
            BlockKind::Timer => 2,
            BlockKind::Decision => 3,
            BlockKind::Records(Format::Record) => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(BlockKind::Records(Format::Json)),
            1 => Some(BlockKind::Records(Format::Ndjson)),
            2 => Some(BlockKind::Timer),
            3 => Some(BlockKind::Decision),
            4 => Some(BlockKind::Records(Format::Record)),
            _ => None,
        }
    }
}

/// A block of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub number: u64,
    /// Position of its first record among all records, from 1.
    pub first_record: u64,
    /// When the server took it in; never decreases along the log.
    pub received_at: ProcessingTime,
    /// What it holds.
    pub kind: BlockKind,
    /// Source of the records that name none.
    pub source: String,
    /// The body.
    pub body: Bytes,
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system failed.
    #[error("{context} {path}: {source}")]
    Io {
        /// What we were doing.
        context: &'static str,
        /// To which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A block before the end is damaged.
    #[error(
        "log segment {path} is damaged at byte {offset} ({reason}); restore it from a backup, or move the data directory away"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the damaged block starts.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
}

fn io_error(context: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { context, path, source }
}

/// The log, open for appending.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
    file: File,
    path: PathBuf,
    segment_bytes: u64,
    /// Bytes of all segments.
    total_bytes: u64,
    next_block: u64,
    next_record: u64,
    next_group: u64,
    last_received_at: ProcessingTime,
    buffer: Vec<u8>,
}

/// A block to append, before it has a place.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// What it holds.
    pub kind: BlockKind,
    /// Source of the records that name none, at most 255 bytes.
    pub source: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// How many records it holds.
    pub records: u64,
}

/// Where a block went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub number: u64,
    /// Position of its first record.
    pub first_record: u64,
    /// When the server took it in.
    pub received_at: ProcessingTime,
}

impl Log {
    /// Opens the log in `dir`, made where absent, and cuts off what a crash left unfinished at its end. `count` tells how many
    /// records a block holds; it is asked for the last block only.
    pub fn open(dir: &Path, count: impl Fn(&Block) -> u64) -> Result<Self, LogError> {
        fs::create_dir_all(dir).map_err(io_error("cannot create", dir))?;
        let segments = segments(dir)?;
        let (mut next_block, mut next_record, mut next_group) = (1, 1, 1);
        let mut last_received_at = ProcessingTime::from_ms(0);
        let mut total_bytes = 0;
        let mut open = None;
        for path in &segments {
            total_bytes += fs::metadata(path).map_err(io_error("cannot look at", path))?.len();
        }
        // The newest segment may be empty: a crash right after it was made.
        for path in segments.iter().rev() {
            let is_last = Some(path) == segments.last();
            let mut reader = SegmentReader::open(path)?;
            let mut last = None;
            let end = loop {
                match reader.next_block() {
                    Ok(Some(block)) => last = Some(block),
                    Ok(None) => break reader.offset,
                    Err(LogError::Damaged { offset, .. }) if is_last && reader.is_unfinished(offset) => {
                        let file = OpenOptions::new().write(true).open(path).map_err(io_error("cannot open", path))?;
                        let cut = reader.bytes.len() as u64 - offset;
                        tracing::warn!(path = %path.display(), offset, cut, "Cut off the unfinished end of the log.");
                        file.set_len(offset).map_err(io_error("cannot cut", path))?;
                        file.sync_all().map_err(io_error("cannot sync", path))?;
                        total_bytes -= cut;
                        break offset;
                    }
                    Err(error) => return Err(error),
                }
            };
            if is_last {
                open = Some((path.clone(), end));
            }
            if let Some((block, group)) = last {
                next_block = block.number + 1;
                next_record = block.first_record + count(&block);
                next_group = group + 1;
                last_received_at = block.received_at;
                break;
            }
        }
        let (path, segment_bytes) = match open {
            Some(open) => open,
            None => (create_segment(dir, next_block)?, 0),
        };
        let file = OpenOptions::new().append(true).open(&path).map_err(io_error("cannot open", &path))?;
        Ok(Self {
            dir: dir.to_owned(),
            file,
            path,
            segment_bytes,
            total_bytes,
            next_block,
            next_record,
            next_group,
            last_received_at,
            buffer: Vec::new(),
        })
    }

    /// Appends `drafts` as one group, received at `now` (or at the last block's time, if the clock went back), and waits until the
    /// disk has them. `Err` on a write leaves the log as it was; after a failed sync nobody knows what the disk holds, so the caller
    /// must end the process.
    pub fn append(&mut self, drafts: &[Draft<'_>], now: ProcessingTime) -> Result<Vec<Place>, AppendError> {
        if self.segment_bytes > SEGMENT_BYTES {
            let path = create_segment(&self.dir, self.next_block).map_err(AppendError::Write)?;
            self.file =
                OpenOptions::new().append(true).open(&path).map_err(|e| AppendError::Write(io_error("cannot open", &path)(e)))?;
            (self.path, self.segment_bytes) = (path, 0);
        }
        let received_at = now.max(self.last_received_at);
        let (mut number, mut first_record) = (self.next_block, self.next_record);
        self.buffer.clear();
        let mut places = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let start = self.buffer.len();
            self.buffer.extend_from_slice(&[0; 8]);
            self.buffer.extend_from_slice(&MARKER);
            self.buffer.extend_from_slice(&self.next_group.to_le_bytes());
            self.buffer.extend_from_slice(&number.to_le_bytes());
            self.buffer.extend_from_slice(&first_record.to_le_bytes());
            self.buffer.extend_from_slice(&received_at.ms().to_le_bytes());
            let source = &draft.source.as_bytes()[..draft.source.len().min(255)];
            self.buffer.extend_from_slice(&[draft.kind.code(), source.len() as u8]);
            self.buffer.extend_from_slice(source);
            self.buffer.extend_from_slice(draft.body);
            let len = (self.buffer.len() - start) as u32;
            let crc = crc32c::crc32c(&self.buffer[start + 8..]);
            self.buffer[start..start + 4].copy_from_slice(&len.to_le_bytes());
            self.buffer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
            places.push(Place { number, first_record, received_at });
            number += 1;
            first_record += draft.records;
        }
        if let Err(error) = self.file.write_all(&self.buffer) {
            // Part of it may be there: take it away again, so that the next group starts where this one did.
            self.file.set_len(self.segment_bytes).map_err(|e| AppendError::Sync(io_error("cannot cut", &self.path)(e)))?;
            return Err(AppendError::Write(io_error("cannot write to", &self.path)(error)));
        }
        self.file.sync_data().map_err(|e| AppendError::Sync(io_error("cannot sync", &self.path)(e)))?;
        self.segment_bytes += self.buffer.len() as u64;
        self.total_bytes += self.buffer.len() as u64;
        (self.next_block, self.next_record) = (number, first_record);
        self.next_group += 1;
        self.last_received_at = received_at;
        Ok(places)
    }

    /// Bytes of all segments.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Number of the next block.
    pub fn next_block(&self) -> u64 {
        self.next_block
    }
}

/// Why a group was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It was not written; the log is as it was.
    #[error("the log cannot be written: {0}")]
    Write(LogError),
    /// It was written, but the disk did not confirm it: only a fresh look at the disk can tell.
    #[error("the log cannot be made durable: {0}")]
    Sync(LogError),
}

/// The blocks from number `from` on, oldest first.
pub fn read(dir: &Path, from: u64) -> Result<impl Iterator<Item = Result<Block, LogError>>, LogError> {
    let mut segments = segments(dir)?;
    // The last segment that starts at or before `from`, and all after it.
    let first = segments.iter().rposition(|path| first_block_of(path).is_some_and(|n| n <= from)).unwrap_or(0);
    segments.drain(..first);
    let mut segments = segments.into_iter();
    let mut reader: Option<SegmentReader> = None;
    Ok(std::iter::from_fn(move || {
        loop {
            if reader.is_none() {
                match SegmentReader::open(&segments.next()?) {
                    Ok(opened) => reader = Some(opened),
                    Err(error) => return Some(Err(error)),
                }
            }
            match reader.as_mut()?.next_block() {
                Ok(Some((block, _))) if block.number >= from => return Some(Ok(block)),
                Ok(Some(_)) => {}
                Ok(None) => reader = None,
                Err(error) => {
                    reader = None;
                    segments = Vec::new().into_iter();
                    return Some(Err(error));
                }
            }
        }
    }))
}

/// Deletes whole segments, oldest first, all of whose blocks lie before number `needed_from` and were received before `older_than`; how
/// many there were. The newest segment always stays. May run beside a [`Log`] that appends.
pub fn prune(dir: &Path, needed_from: u64, older_than: ProcessingTime) -> Result<usize, LogError> {
    let segments = segments(dir)?;
    let mut pruned = 0;
    for (path, next) in segments.iter().zip(&segments[1.min(segments.len())..]) {
        // A segment ends where the next one begins, in number and in time.
        let Some(first) = first_block_at(next)? else { break };
        if first.number > needed_from || first.received_at > older_than {
            break;
        }
        fs::remove_file(path).map_err(io_error("cannot remove", path))?;
        pruned += 1;
    }
    Ok(pruned)
}

/// The place of the first block of a segment, from its header alone; `None` where it has none yet.
fn first_block_at(path: &Path) -> Result<Option<Place>, LogError> {
    let mut header = [0; HEADER];
    let mut file = File::open(path).map_err(io_error("cannot read", path))?;
    if let Err(error) = file.read_exact(&mut header) {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(io_error("cannot read", path)(error)) };
    }
    let u64_at = |i: usize| u64::from_le_bytes(header[i..i + 8].try_into().expect("eight bytes"));
    Ok(Some(Place { number: u64_at(20), first_record: u64_at(28), received_at: ProcessingTime::from_ms(u64_at(36) as i64) }))
}

/// The name of the log in `dir`, given to it once: by it a store knows whose state it holds.
pub fn id(dir: &Path) -> Result<String, LogError> {
    let path = dir.join("id");
    fs::create_dir_all(dir).map_err(io_error("cannot create", dir))?;
    if !path.exists() {
        let aside = dir.join("id.new");
        let mut file = File::create(&aside).map_err(io_error("cannot create", &aside))?;
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|e| io_error("cannot name", dir)(io::Error::other(e)))?;
        let name = format!("{:032x}", u128::from_le_bytes(name));
        file.write_all(name.as_bytes()).and_then(|()| file.sync_all()).map_err(io_error("cannot write to", &aside))?;
        fs::rename(&aside, &path).map_err(io_error("cannot rename", &aside))?;
        File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("cannot sync", dir))?;
    }
    fs::read_to_string(&path).map_err(io_error("cannot read", &path))
}

fn first_block_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// The segments in `dir`, oldest first.
fn segments(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("cannot list", dir))? {
        let path = entry.map_err(io_error("cannot list", dir))?.path();
        if path.extension().is_some_and(|e| e == "seg") && first_block_of(&path).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn create_segment(dir: &Path, first_block: u64) -> Result<PathBuf, LogError> {
    let path = dir.join(format!("{first_block:020}.seg"));
    let file = File::create(&path).map_err(io_error("cannot create", &path))?;
    file.sync_all().map_err(io_error("cannot sync", &path))?;
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error("cannot sync", dir))?;
    Ok(path)
}

/// A segment in memory: at most a little more than [`SEGMENT_BYTES`].
struct SegmentReader {
    path: PathBuf,
    bytes: Bytes,
    offset: u64,
    last_group: u64,
}

impl SegmentReader {
    fn open(path: &Path) -> Result<Self, LogError> {
        let mut bytes = Vec::new();
        File::open(path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(io_error("cannot read", path))?;
        Ok(Self { path: path.to_owned(), bytes: bytes.into(), offset: 0, last_group: 0 })
    }

    fn next_block(&mut self) -> Result<Option<(Block, u64)>, LogError> {
        let at = self.offset as usize;
        if at == self.bytes.len() {
            return Ok(None);
        }
        match decode(&self.bytes, at) {
            Ok((block, group, end)) => {
                (self.offset, self.last_group) = (end as u64, group);
                Ok(Some((block, group)))
            }
            Err(reason) => Err(LogError::Damaged { path: self.path.clone(), offset: self.offset, reason }),
        }
    }

    /// Whether what starts at `offset` can be the rest of a group whose append never ended: nothing readable of a later group
    /// follows. The group after the last good one may be torn anywhere, because its pages reach the disk in any order.
    fn is_unfinished(&self, offset: u64) -> bool {
        let rest = offset as usize..self.bytes.len().saturating_sub(HEADER);
        !rest.into_iter().any(|at| {
            self.bytes[at + 8..at + 12] == MARKER
                && decode(&self.bytes, at).is_ok_and(|(_, group, _)| group > self.last_group + 1)
        })
    }
}

fn decode(bytes: &Bytes, at: usize) -> Result<(Block, u64, usize), &'static str> {
    let u64_at = |i: usize| u64::from_le_bytes(bytes[i..i + 8].try_into().expect("eight bytes"));
    let u32_at = |i: usize| u32::from_le_bytes(bytes[i..i + 4].try_into().expect("four bytes"));
    if bytes.len() < at + HEADER {
        return Err("its header is cut off");
    }
    let len = u32_at(at) as usize;
    if !(HEADER..=MAX_BLOCK).contains(&len) {
        return Err("its length is impossible");
    }
    let end = at + len;
    if end > bytes.len() {
        return Err("it is cut off");
    }
    if u32_at(at + 4) != crc32c::crc32c(&bytes[at + 8..end]) || bytes[at + 8..at + 12] != MARKER {
        return Err("its checksum does not match");
    }
    let kind = BlockKind::from_code(bytes[at + 44]).ok_or("it is of an unknown kind")?;
    let body_at = at + HEADER + usize::from(bytes[at + 45]);
    let source = bytes.get(at + HEADER..body_at).and_then(|s| std::str::from_utf8(s).ok()).ok_or("its source is not text")?;
    let block = Block {
        number: u64_at(at + 20),
        first_record: u64_at(at + 28),
        received_at: ProcessingTime::from_ms(u64_at(at + 36) as i64),
        kind,
        source: source.to_owned(),
        body: bytes.slice(body_at..end),
    };
    Ok((block, u64_at(at + 12), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(body: &'static [u8]) -> Draft<'static> {
        Draft { kind: BlockKind::Records(Format::Ndjson), source: "gateway", body, records: body.len() as u64 }
    }

    fn open(dir: &Path) -> Result<Log, LogError> {
        Log::open(dir, |block| block.body.len() as u64)
    }

    fn bodies(dir: &Path, from: u64) -> Vec<String> {
        read(dir, from).expect("lists").map(|b| String::from_utf8_lossy(&b.expect("reads").body).into_owned()).collect()
    }

    /// Three groups: `a`; `bb`, `ccc`; `dddd`.
    fn written(dir: &Path) -> PathBuf {
        let mut log = open(dir).expect("opens");
        log.append(&[draft(b"a")], ProcessingTime::from_ms(5)).expect("appends");
        let places = log.append(&[draft(b"bb"), draft(b"ccc")], ProcessingTime::from_ms(3)).expect("appends");
        assert_eq!(places[1], Place { number: 3, first_record: 4, received_at: ProcessingTime::from_ms(5) }); // never back
        log.append(&[draft(b"dddd")], ProcessingTime::from_ms(9)).expect("appends");
        segments(dir).expect("lists").remove(0)
    }

    #[test]
    fn what_was_appended_is_read_and_numbers_go_on() {
        let dir = tempfile::tempdir().expect("a directory");
        written(dir.path());
        assert_eq!(bodies(dir.path(), 1), ["a", "bb", "ccc", "dddd"]);
        assert_eq!(bodies(dir.path(), 3), ["ccc", "dddd"]);
        let mut log = open(dir.path()).expect("opens");
        let place = log.append(&[draft(b"e")], ProcessingTime::from_ms(10)).expect("appends")[0];
        assert_eq!((place.number, place.first_record), (5, 11));
    }

    #[test]
    fn every_torn_end_is_cut_and_nothing_before_it_is_lost() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = written(dir.path());
        let whole = fs::read(&path).expect("reads");
        let starts: Vec<usize> = (0..whole.len() - 12).filter(|i| whole[i + 8..i + 12] == MARKER).collect();
        assert_eq!(starts.len(), 4);
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).expect("writes");
            open(dir.path()).expect("opens");
            let expected = starts[1..].iter().chain([&whole.len()]).filter(|end| **end <= len).count();
            assert_eq!(bodies(dir.path(), 1), ["a", "bb", "ccc", "dddd"][..expected], "cut at {len}");
        }
    }

    #[test]
    fn damage_of_the_last_group_is_cut_and_damage_before_it_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = written(dir.path());
        let whole = fs::read(&path).expect("reads");
        let last = (0..whole.len() - 12).rfind(|i| whole[i + 8..i + 12] == MARKER).expect("a block");
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            fs::write(&path, &damaged).expect("writes");
            match open(dir.path()) {
                Ok(_) => assert!(at >= starts_of_second_group(&whole), "byte {at} of a durable group went unnoticed"),
                Err(LogError::Damaged { offset, .. }) => assert!(offset as usize <= at && at < last),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn segments_that_nobody_needs_are_pruned_from_the_front() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = open(dir.path()).expect("opens");
        for second in 1..=4 {
            log.segment_bytes = SEGMENT_BYTES + 1; // a segment for each block
            log.append(&[draft(b"a")], ProcessingTime::from_ms(second * 1_000)).expect("appends");
        }
        let count = |needed_from, ms| prune(dir.path(), needed_from, ProcessingTime::from_ms(ms)).expect("prunes");
        let left = || segments(dir.path()).expect("lists").len();
        let before = left();
        assert_eq!(count(0, 9_000), 0); // everything is needed
        assert_eq!(count(9, 500), 0); // nothing is old enough
        let pruned = count(3, 9_000);
        assert_eq!(left(), before - pruned);
        assert_eq!(bodies(dir.path(), 3), ["a", "a"]);
        let pruned = pruned + count(9, 3_500);
        assert_eq!((left(), bodies(dir.path(), 3).len()), (before - pruned, 2), "block 4 came after that");
        count(9, 9_000);
        assert_eq!(left(), 1);
        drop(log);
        let mut log = open(dir.path()).expect("opens");
        assert_eq!(log.append(&[draft(b"a")], ProcessingTime::from_ms(5_000)).expect("appends")[0].number, 5);
    }

    /// With the group before the last damaged, only the last group tells that it was durable: the first must always be found out.
    fn starts_of_second_group(whole: &[u8]) -> usize {
        (1..whole.len() - 12).find(|i| whole[i + 8..i + 12] == MARKER).expect("a block")
    }
}
