//! Looking after the log: copied for a backup, and read through for damage.

use super::segment::{Decoded, Flaw, SegmentReader, decode};
use super::{Block, HEADER, ID, LogError, MAX_BLOCK, first_block_of, id, io_error, segments};
use crate::files::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;

/// Copies the log in `from` to the folder `to`, made where absent, as far as it is written, every block checked; the numbers of
/// the blocks that are there, from 1 where there is none yet. Durable on return but for the name of `to`. May run beside a [`Log`](super::Log) that
/// appends, and beside [`prune`](super::prune).
pub fn copy(from: &Path, to: &Path) -> Result<Range<u64>, LogError> {
    files::create_dir(to).map_err(io_error("cannot create", to))?;
    let write = |path: &Path, bytes: &[u8]| {
        let to = to.join(path.file_name().expect("a file that was listed"));
        let written = File::create(&to).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
        written.map_err(io_error("cannot write to", &to))
    };
    let mut blocks: Option<Range<u64>> = None;
    // Newest first: what is pruned meanwhile are the oldest, so that nothing is missing between two of them.
    let segments = segments(from)?;
    for path in segments.iter().rev() {
        let mut reader = match SegmentReader::open(path) {
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => break,
            opened => opened?,
        };
        loop {
            match reader.next_block() {
                Ok(Some(Block { number, .. })) => {
                    let known = blocks.unwrap_or(number..number + 1);
                    blocks = Some(known.start.min(number)..known.end.max(number + 1));
                }
                Ok(None) => break,
                // It is being written.
                Err(LogError::Damaged { offset, .. }) if Some(path) == segments.last() && reader.is_unfinished(offset) => break,
                Err(error) => return Err(error),
            }
        }
        write(path, &reader.bytes[..reader.offset as usize])?;
    }
    let name = id(from)?;
    write(Path::new(ID), name.as_bytes())?;
    files::sync_dir(to).map_err(io_error("cannot sync", to))?;
    Ok(blocks.unwrap_or(1..1))
}

/// Reads every segment in `dir` but the newest, of which a start reads what counts, and checks each block, one at a time in memory; what is
/// damaged. May run beside a [`Log`](super::Log) that appends and [`prune`](super::prune). It ends with what it has found once
/// `is_stopped` says so, which is asked before every block: there may be years of them.
pub fn scrub(dir: &Path, is_stopped: &dyn Fn() -> bool) -> Result<Vec<LogError>, LogError> {
    let mut segments = segments(dir)?;
    segments.pop();
    let mut damaged = Vec::new();
    for path in segments.iter().take_while(|_| !is_stopped()) {
        match scrub_segment(path, is_stopped) {
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {} // pruned a moment ago
            Err(error) => damaged.push(error),
            Ok(()) => {}
        }
    }
    Ok(damaged)
}

fn scrub_segment(path: &Path, is_stopped: &dyn Fn() -> bool) -> Result<(), LogError> {
    let file = File::open(path).map_err(io_error("cannot read", path))?;
    let len = file.len().map_err(io_error("cannot read", path))?;
    let mut input = io::BufReader::with_capacity(1 << 20, file);
    let mut number = first_block_of(path);
    let mut offset = 0;
    while offset < len && !is_stopped() {
        let damaged = |reason| LogError::Damaged { path: path.to_owned(), offset, reason };
        let mut bytes = vec![0; HEADER];
        let left = len - offset;
        let read_into =
            |input: &mut io::BufReader<File>, bytes: &mut [u8]| input.read_exact(bytes).map_err(io_error("cannot read", path));
        if left < HEADER as u64 {
            return Err(damaged("its header is cut off"));
        }
        read_into(&mut input, &mut bytes)?;
        let block_len = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
        if (HEADER..=MAX_BLOCK).contains(&block_len) && block_len as u64 <= left {
            bytes.resize(block_len, 0);
            read_into(&mut input, &mut bytes[HEADER..])?;
        }
        match decode(&bytes.into(), 0) {
            Ok(Decoded { block, end, .. }) if number.is_none_or(|number| number == block.number) => {
                offset += end as u64;
                number = Some(block.number + 1);
            }
            Ok(_) => return Err(damaged("another block belongs there")),
            Err(Flaw::Damaged(reason)) => return Err(damaged(reason)),
            Err(Flaw::NotUnderstood(reason)) => return Err(LogError::NotUnderstood { path: path.to_owned(), offset, reason }),
        }
    }
    // Read once a day, by nobody else.
    input.into_inner().let_go(0..len);
    Ok(())
}
