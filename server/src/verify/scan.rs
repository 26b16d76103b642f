//! The log, read block by block with what each holds: the same decisions count here as when it was lived through.

use crate::admission::{Batch, Format, IdentityKey};
use crate::letters::{Decision, Verdict};
use crate::log::{self, BlockKind, Place};
use anyhow::Context;
use domain::time::ProcessingTime;
use std::collections::HashSet;
use std::path::Path;

/// What a block holds.
pub enum Held {
    /// Records.
    Records(Batch),
    /// A dead letter that is taken in again.
    Replay(Decision, Batch),
    /// A dead letter that is discarded, for a reason.
    Discard(Decision, String),
    /// A decision that came after another of the same letter: so many records that are none.
    Void(u64),
    /// Time alone.
    Timer,
}

impl Held {
    /// Positions that the block takes up.
    pub fn positions(&self) -> u64 {
        match self {
            Held::Records(batch) | Held::Replay(_, batch) => batch.len() as u64,
            Held::Void(records) => *records,
            Held::Discard(..) | Held::Timer => 0,
        }
    }
}

/// Tells every block of the log in `dir` to `each`, oldest first.
pub fn scan(dir: &Path, key: &IdentityKey, mut each: impl FnMut(Place, Held) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut decided = HashSet::new();
    for block in log::read(dir, 1)? {
        let block = block?;
        let place = Place { number: block.number, first_record: block.first_record, received_at: block.received_at };
        let unreadable = || format!("read block {} of the log", block.number);
        let held = match block.kind {
            BlockKind::Records(format) => {
                Held::Records(Batch::parse(block.body, format, &block.source, key).with_context(unreadable)?)
            }
            BlockKind::Decision => {
                let (decision, raw) = Decision::decode(&block.body).with_context(unreadable)?;
                match &decision.verdict {
                    _ if !decided.insert(decision.letter) => Held::Void(decision.records()),
                    Verdict::Replay => {
                        let batch = Batch::parse(raw, Format::Record, &block.source, key).with_context(unreadable)?;
                        Held::Replay(decision, batch)
                    }
                    Verdict::Discard(reason) => {
                        let reason = reason.clone();
                        Held::Discard(decision, reason)
                    }
                }
            }
            BlockKind::Timer => Held::Timer,
        };
        each(place, held)?;
    }
    Ok(())
}

/// What the log's blocks say of themselves.
#[derive(Clone, Copy, Debug)]
pub struct Outline {
    /// Number of the first block; 0 where there is none.
    pub first_block: u64,
    /// Position of its first record.
    pub first_record: u64,
    /// Number of the last block.
    pub last_block: u64,
    /// The position after the last block's first record, at least.
    pub last_first_record: u64,
    /// When the first and the last came in.
    pub received: (ProcessingTime, ProcessingTime),
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// Reads the whole log for its checksums and its order; what is wrong first.
pub fn outline(dir: &Path) -> Result<Outline, String> {
    let never = ProcessingTime::from_ms(0);
    let mut outline =
        Outline { first_block: 0, first_record: 1, last_block: 0, last_first_record: 0, received: (never, never), bytes: 0 };
    for block in log::read(dir, 1).map_err(|e| e.to_string())? {
        let block = block.map_err(|e| e.to_string())?;
        if outline.first_block == 0 {
            (outline.first_block, outline.first_record) = (block.number, block.first_record);
            outline.received.0 = block.received_at;
        } else {
            if block.number != outline.last_block + 1 {
                return Err(format!(
                    "block {} follows block {}: blocks between them are missing",
                    block.number, outline.last_block
                ));
            }
            if block.received_at < outline.received.1 {
                let before = outline.received.1;
                return Err(format!(
                    "block {} was received at {}, before the one ahead of it at {before}",
                    block.number, block.received_at
                ));
            }
            if block.first_record < outline.last_first_record {
                return Err(format!(
                    "block {} begins with record {}, which an earlier one holds",
                    block.number, block.first_record
                ));
            }
        }
        outline.last_block = block.number;
        outline.last_first_record = block.first_record;
        outline.received.1 = block.received_at;
        outline.bytes += block.body.len() as u64;
    }
    Ok(outline)
}
