//! Reading a segment of the log: block by block, each checked.

use super::{Block, BlockKind, FAMILY, HEADER, LogError, MARKER, MAX_BLOCK, first_block_of, io_error};
use crate::files::{self, File};
use bytes::Bytes;
use domain::planted;
use domain::time::ProcessingTime;
use std::path::{Path, PathBuf};

/// A segment in memory: at most a little more than [`crate::limits::Rare::segment_bytes`].
pub(super) struct SegmentReader {
    path: PathBuf,
    pub bytes: Bytes,
    pub offset: u64,
    /// Number of the last block that was read, or of the one before the segment.
    last_number: u64,
    /// The group of the last block that was read: number of its first block, and where that lies.
    group: (u64, u64),
}

impl SegmentReader {
    pub fn open(path: &Path) -> Result<Self, LogError> {
        let bytes = files::read(path).map_err(io_error("cannot read", path))?;
        let last_number = first_block_of(path).unwrap_or(1).saturating_sub(1);
        Ok(Self { path: path.to_owned(), bytes: bytes.into(), offset: 0, last_number, group: (0, 0) })
    }

    pub fn next_block(&mut self) -> Result<Option<Block>, LogError> {
        let at = self.offset as usize;
        if at == self.bytes.len() {
            return Ok(None);
        }
        let (path, offset) = (|| self.path.clone(), self.offset);
        match decode(&self.bytes, at) {
            Ok(Decoded { block, group_first, end }) => {
                if self.group.0 != group_first {
                    self.group = (group_first, offset);
                }
                (self.offset, self.last_number) = (end as u64, block.number);
                Ok(Some(block))
            }
            Err(Flaw::Damaged(reason)) => Err(LogError::Damaged { path: path(), offset, reason }),
            Err(Flaw::NotUnderstood(reason)) => Err(LogError::NotUnderstood { path: path(), offset, reason }),
        }
    }

    /// Makes the last group durable that was read. Whoever wrote it may have ended before it was, and was told so by nobody; after a sync
    /// that failed the system even takes for written what is not, and only writes again what is written anew. Groups before it were
    /// durable when it was begun.
    pub fn confirm(&self) -> Result<(), LogError> {
        let file = File::over(&self.path).map_err(io_error("cannot open", &self.path))?;
        let group = &self.bytes[self.group.1 as usize..self.offset as usize];
        file.write_over(group, self.group.1).map_err(io_error("cannot write to", &self.path))?;
        file.sync_all().map_err(io_error("cannot sync", &self.path))
    }

    /// Whether what starts at `offset` can be the rest of a group whose append never ended: no block of a group follows that began
    /// after the missing one, because such a group was begun only when all before it was durable. Within the unfinished group anything
    /// may be missing: pages reach the disk in any order.
    pub fn is_unfinished(&self, offset: u64) -> bool {
        let rest = offset as usize..self.bytes.len().saturating_sub(HEADER);
        planted("damage-is-cut-off")
            || !rest.into_iter().any(|at| {
                self.bytes[at + 8..at + 11] == FAMILY
                    && match decode(&self.bytes, at) {
                        Ok(Decoded { group_first, .. }) => group_first > self.last_number + 1,
                        Err(Flaw::NotUnderstood(_)) => true,
                        Err(Flaw::Damaged(_)) => false,
                    }
            })
    }
}

/// A block with where it lay.
pub(super) struct Decoded {
    pub block: Block,
    /// Number of the first block of its group.
    group_first: u64,
    pub end: usize,
}

/// Why there is no block.
pub(super) enum Flaw {
    Damaged(&'static str),
    /// The checksum matches.
    NotUnderstood(&'static str),
}

/// The block that begins at byte `at`.
pub(super) fn decode(bytes: &Bytes, at: usize) -> Result<Decoded, Flaw> {
    let u64_at = |i: usize| u64::from_le_bytes(bytes[i..i + 8].try_into().expect("eight bytes"));
    let u32_at = |i: usize| u32::from_le_bytes(bytes[i..i + 4].try_into().expect("four bytes"));
    if bytes.len() < at + HEADER {
        return Err(Flaw::Damaged("its header is cut off"));
    }
    let len = u32_at(at) as usize;
    if !(HEADER..=MAX_BLOCK).contains(&len) {
        return Err(Flaw::Damaged("its length is impossible"));
    }
    let end = at + len;
    if end > bytes.len() {
        return Err(Flaw::Damaged("it is cut off"));
    }
    if u32_at(at + 4) != crc32c::crc32c(&bytes[at + 8..end]) && !planted("damage-is-believed") {
        return Err(Flaw::Damaged("its checksum does not match"));
    }
    if bytes[at + 8..at + 12] != MARKER {
        return Err(Flaw::NotUnderstood("it is of another version"));
    }
    let kind = BlockKind::from_code(bytes[at + 44]).ok_or(Flaw::NotUnderstood("it is of an unknown kind"))?;
    let body_at = at + HEADER + usize::from(bytes[at + 45]);
    let source = bytes.get(at + HEADER..body_at.min(end)).and_then(|s| std::str::from_utf8(s).ok());
    let source = source.filter(|_| body_at <= end).ok_or(Flaw::NotUnderstood("its source is not text"))?;
    let block = Block {
        number: u64_at(at + 20),
        first_record: u64_at(at + 28),
        received_at: ProcessingTime::from_ms(u64_at(at + 36) as i64),
        kind,
        source: source.to_owned(),
        body: bytes.slice(body_at..end),
    };
    Ok(Decoded { block, group_first: u64_at(at + 12), end })
}
