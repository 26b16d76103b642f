//! The log: the record of truth, in segment files of checksummed blocks.
//!
//! A block is the body of one request, or an entry of ours: time, a decision, pairings. Blocks are appended in groups; a group is durable once
//! [`Log::append`] returns. What a crash left unfinished at the end is removed on opening; damage before the end stops the start, and so
//! does a whole block that this program does not understand.
//!
//! A block: length u32, CRC-32C u32 of all that follows, marker, number of the first block of its group u64, number u64, first record
//! u64, received-at i64, kind u8, source length u8, source, body; little-endian. Numbers of blocks are contiguous from 1.

mod segment;
mod upkeep;

pub use upkeep::{copy, scrub};

use crate::admission::Format;
use crate::files::{self, File};
use crate::limits::rare;
use bytes::Bytes;
use domain::planted;
use domain::time::ProcessingTime;
use segment::SegmentReader;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const HEADER: usize = 46;
/// What blocks of any version have in common,
const FAMILY: [u8; 3] = *b"RTB";
/// and those of this one.
const MARKER: [u8; 4] = *b"RTB2";
/// What is durable stays in the system's memory for so long, and is let go then: nobody reads it before a restart. Kept, it would take
/// memory from all that is read, and fresh memory costs more than memory used again and again.
const KEPT_BYTES: u64 = 4 * 1024 * 1024;
/// No block is longer: a body's limit, a name's, and what the line may take that says who takes a dead letter in again.
const MAX_BLOCK: usize = crate::admission::body::MAX_BODY_BYTES + HEADER + MAX_SOURCE + 64 * 1024;
/// The file that holds the name of the log.
const ID: &str = "id";
/// How long the name of a source may be, in bytes.
const MAX_SOURCE: usize = u8::MAX as usize;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// A body of records.
    Records(Format),
    /// Time alone.
    Timer,
    /// What is decided of a dead letter: see `letters.rs`.
    Decision,
    /// The pairings in force from here on: see `travel.rs`.
    Pairings,
}

impl BlockKind {
    const fn code(self) -> u8 {
        match self {
            BlockKind::Records(Format::Json) => 0,
            BlockKind::Records(Format::Ndjson) => 1,
            BlockKind::Timer => 2,
            BlockKind::Decision => 3,
            BlockKind::Records(Format::Record) => 4,
            BlockKind::Pairings => 5,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(BlockKind::Records(Format::Json)),
            1 => Some(BlockKind::Records(Format::Ndjson)),
            2 => Some(BlockKind::Timer),
            3 => Some(BlockKind::Decision),
            4 => Some(BlockKind::Records(Format::Record)),
            5 => Some(BlockKind::Pairings),
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
        "log segment {path} is damaged at byte {offset} ({reason}); `rantai restore` puts a backup into another data directory (`rantai backup` makes one), or move this one away"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the damaged block starts.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A block is whole and means nothing to this program.
    #[error(
        "log segment {path} holds at byte {offset} a block that this program does not understand ({reason}); use the one that wrote it"
    )]
    NotUnderstood {
        /// The segment.
        path: PathBuf,
        /// Where the block starts.
        offset: u64,
        /// What is not understood.
        reason: &'static str,
    },
    /// A block to append is too long to be read again.
    #[error("a block of {bytes} bytes from a source with a name of {source_bytes} is too long for the log")]
    TooLong {
        /// Length of its body.
        bytes: usize,
        /// Length of its source.
        source_bytes: usize,
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
    segment_limit: u64,
    direct_bytes: usize,
    /// So far into the segment the system was told that nobody reads it.
    let_go: u64,
    /// Bytes of all segments.
    total_bytes: u64,
    next_block: u64,
    next_record: u64,
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
        files::create_dir(dir).map_err(io_error("cannot create", dir))?;
        let segments = segments(dir)?;
        let (mut next_block, mut next_record) = (1, 1);
        let mut last_received_at = ProcessingTime::from_ms(0);
        // Whoever made a segment may have ended before its name was durable.
        files::sync_dir(dir).map_err(io_error("cannot sync", dir))?;
        let mut open = None;
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
                        let file = File::append(path).map_err(io_error("cannot open", path))?;
                        let cut = reader.bytes.len() as u64 - offset;
                        tracing::warn!(path = %path.display(), offset, cut, "Cut off the unfinished end of the log.");
                        if !planted("torn-end-stays") {
                            file.set_len(offset).map_err(io_error("cannot cut", path))?;
                        }
                        file.sync_all().map_err(io_error("cannot sync", path))?;
                        break offset;
                    }
                    Err(error) => return Err(error),
                }
            };
            if is_last {
                open = Some((path.clone(), end));
            }
            if let Some(block) = last {
                reader.confirm()?;
                next_block = block.number + 1;
                next_record = block.first_record + count(&block);
                last_received_at = block.received_at;
                break;
            }
        }
        let (path, segment_bytes) = match open {
            Some(open) => open,
            None => (create_segment(dir, next_block).map_err(AppendError::cause)?, 0),
        };
        let file = File::append(&path).map_err(io_error("cannot open", &path))?;
        let total_bytes = bytes_of(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            file,
            path,
            segment_bytes,
            segment_limit: rare().segment_bytes,
            direct_bytes: rare().direct_bytes,
            let_go: 0,
            total_bytes,
            next_block,
            next_record,
            last_received_at,
            buffer: Vec::new(),
        })
    }

    /// Closes segments once they are longer than `segment` bytes, and writes a body of `direct` bytes or more from where it lies: for
    /// simulations.
    #[must_use]
    pub fn with_limits(mut self, segment: u64, direct: usize) -> Self {
        (self.segment_limit, self.direct_bytes) = (segment, direct);
        self
    }

    /// Appends `drafts` as one group, received at `now` (or at the last block's time, if the clock went back), and waits until the
    /// disk has them. `Err` on a write leaves the log as it was; after a failed sync nobody knows what the disk holds, so the caller
    /// must end the process.
    pub fn append(&mut self, drafts: &[Draft<'_>], now: ProcessingTime) -> Result<Vec<Place>, AppendError> {
        if let Some(Draft { body, source, .. }) = drafts.iter().find(|draft| !draft.fits()) {
            return Err(AppendError::Write(LogError::TooLong { bytes: body.len(), source_bytes: source.len() }));
        }
        if self.segment_bytes > self.segment_limit {
            let path = create_segment(&self.dir, self.next_block)?;
            self.file = File::append(&path).map_err(|e| AppendError::Write(io_error("cannot open", &path)(e)))?;
            (self.path, self.segment_bytes, self.let_go) = (path, 0, 0);
            // Others may have been pruned since.
            self.total_bytes = bytes_of(&self.dir).map_err(AppendError::Write)?;
        }
        let received_at = if planted("time-of-the-log-goes-back") { now } else { now.max(self.last_received_at) };
        let (places, bytes) = match self.write(drafts, received_at) {
            Ok(written) => written,
            Err(error) => {
                // Part of it may be there: take it away again, so that the next group starts where this one did.
                if !planted("half-a-group-stays") {
                    self.file
                        .set_len(self.segment_bytes)
                        .map_err(|e| AppendError::Sync(io_error("cannot cut", &self.path)(e)))?;
                }
                return Err(AppendError::Write(io_error("cannot write to", &self.path)(error)));
            }
        };
        let mut synced = if planted("ack-before-sync") { Ok(()) } else { self.file.sync_data() };
        if synced.is_err() && planted("failed-sync-is-tried-again") {
            synced = self.file.sync_data();
        }
        synced.map_err(|e| AppendError::Sync(io_error("cannot sync", &self.path)(e)))?;
        self.segment_bytes += bytes;
        self.total_bytes += bytes;
        if self.segment_bytes >= self.let_go + KEPT_BYTES {
            // Whole pages alone: the next group goes on in the last one.
            let whole = self.segment_bytes / 4_096 * 4_096;
            self.file.let_go(self.let_go..whole);
            self.let_go = whole;
        }
        if let (Some(last), Some(draft)) = (places.last(), drafts.last()) {
            (self.next_block, self.next_record) = (last.number + 1, last.first_record + draft.records);
        }
        self.last_received_at = received_at;
        Ok(places)
    }

    /// Writes `drafts` behind what is there, as one group. Where each went, and how many bytes they took.
    fn write(&mut self, drafts: &[Draft<'_>], received_at: ProcessingTime) -> io::Result<(Vec<Place>, u64)> {
        let (mut number, mut first_record, mut bytes) = (self.next_block, self.next_record, 0);
        let mut places = Vec::with_capacity(drafts.len());
        self.buffer.clear();
        for draft in drafts {
            let start = self.buffer.len();
            let len = HEADER + draft.source.len() + draft.body.len();
            self.buffer.extend_from_slice(&(len as u32).to_le_bytes());
            self.buffer.extend_from_slice(&[0; 4]);
            self.buffer.extend_from_slice(&MARKER);
            let group_first = if planted("block-knows-no-group") { number } else { self.next_block };
            self.buffer.extend_from_slice(&group_first.to_le_bytes());
            self.buffer.extend_from_slice(&number.to_le_bytes());
            self.buffer.extend_from_slice(&first_record.to_le_bytes());
            self.buffer.extend_from_slice(&received_at.ms().to_le_bytes());
            self.buffer.extend_from_slice(&[draft.kind.code(), draft.source.len() as u8]);
            self.buffer.extend_from_slice(draft.source.as_bytes());
            let crc = crc32c::crc32c_append(crc32c::crc32c(&self.buffer[start + 8..]), draft.body);
            self.buffer[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
            if draft.body.len() < self.direct_bytes {
                self.buffer.extend_from_slice(draft.body);
            } else {
                self.file.write_all(&self.buffer)?;
                self.file.write_all(draft.body)?;
                self.buffer.clear();
            }
            places.push(Place { number, first_record, received_at });
            number += 1;
            first_record += draft.records;
            bytes += len as u64;
        }
        self.file.write_all(&self.buffer)?;
        Ok((places, bytes))
    }

    /// When its last block came in; 0 where there is none.
    pub fn last_received_at(&self) -> ProcessingTime {
        self.last_received_at
    }

    /// Bytes of all segments.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }
}

impl Draft<'_> {
    /// Whether its block can be read again.
    fn fits(&self) -> bool {
        self.source.len() <= MAX_SOURCE && HEADER + self.source.len() + self.body.len() <= MAX_BLOCK
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

impl AppendError {
    /// Whether there was no room for it.
    pub fn is_for_room(&self) -> bool {
        matches!(self, AppendError::Write(LogError::Io { source, .. }) if files::is_full(source))
    }

    fn cause(self) -> LogError {
        let (AppendError::Write(cause) | AppendError::Sync(cause)) = self;
        cause
    }
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
                Ok(Some(block)) if block.number >= from => return Some(Ok(block)),
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
        if (first.number > needed_from && !planted("segment-in-need-is-deleted")) || first.received_at > older_than {
            break;
        }
        files::remove(path).map_err(io_error("cannot remove", path))?;
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
    let path = dir.join(ID);
    files::create_dir(dir).map_err(io_error("cannot create", dir))?;
    if files::len(&path).is_err() {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|e| io_error("cannot name", dir)(io::Error::other(e)))?;
        let name = format!("{:032x}", u128::from_le_bytes(name));
        files::replace(&path, |file| file.write_all(name.as_bytes())).map_err(io_error("cannot write to", &path))?;
    }
    let name = files::read(&path).map_err(io_error("cannot read", &path))?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

fn first_block_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// The segments in `dir`, oldest first.
fn segments(dir: &Path) -> Result<Vec<PathBuf>, LogError> {
    let mut paths = Vec::new();
    for path in files::list(dir).map_err(io_error("cannot list", dir))? {
        if path.extension().is_some_and(|e| e == "seg") && first_block_of(&path).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Bytes of all segments in `dir`.
fn bytes_of(dir: &Path) -> Result<u64, LogError> {
    let mut bytes = 0;
    for path in segments(dir)? {
        match files::len(&path) {
            Ok(len) => bytes += len,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // pruned a moment ago
            Err(error) => return Err(io_error("cannot look at", &path)(error)),
        }
    }
    Ok(bytes)
}

fn create_segment(dir: &Path, first_block: u64) -> Result<PathBuf, AppendError> {
    let path = dir.join(format!("{first_block:020}.seg"));
    let file = File::create(&path).map_err(|e| AppendError::Write(io_error("cannot create", &path)(e)))?;
    file.sync_all().map_err(|e| AppendError::Sync(io_error("cannot sync", &path)(e)))?;
    match files::sync_dir(dir) {
        Err(error) if planted("name-of-a-segment-is-not-synced") => drop(error),
        // The folder was not even opened: nothing is known of its names that was not known before.
        Err(error) if files::is_out_of_files(&error) => return Err(AppendError::Write(io_error("cannot sync", dir)(error))),
        synced => synced.map_err(|e| AppendError::Sync(io_error("cannot sync", dir)(e)))?,
    }
    Ok(path)
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
