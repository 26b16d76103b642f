//! The log, read block by block with what each holds: the same decisions count here as when it was lived through. The embedded one, or
//! a partition of Kafka's.

use crate::admission::{Batch, Format, IdentityKey};
use crate::kafka::{Extent, Inbox, Kind, Run, STEP, partition_of, position};
use crate::letters::{Decision, Verdict};
use crate::log::{self, BlockKind, Place};
use crate::pipeline::PARTITION;
use crate::travel::{self, HandedOn};
use anyhow::Context;
use bytes::Bytes;
use domain::engine::Pairing;
use domain::planted;
use domain::time::ProcessingTime;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a log is.
#[derive(Clone, Debug)]
pub enum Source {
    /// The folder of the embedded one.
    Files(PathBuf),
    /// Messages in Kafka, and what decisions among them name that holds no dead letter of theirs.
    Kafka(Extent, Arc<HashSet<u64>>),
    /// All messages of the partition of that number, in memory.
    Messages(u32, Arc<Inbox>),
}

impl Source {
    /// Positions of two records that follow each other differ by so much.
    pub fn step(&self) -> u64 {
        match self {
            Source::Files(_) => 1,
            Source::Kafka(..) | Source::Messages(..) => STEP,
        }
    }

    /// Whether the record at `position` belongs to it.
    pub fn holds(&self, position: u64) -> bool {
        match self {
            Source::Files(_) => true,
            Source::Kafka(..) | Source::Messages(..) => partition_of(position) == self.partition(),
        }
    }

    /// Whether the record at position `record`, of the block at `place`, comes before the block `number`.
    pub fn is_before(&self, number: u64, place: Place, record: u64) -> bool {
        match self {
            Source::Files(_) => place.number < number,
            // A block is a record there, and many are read together.
            Source::Kafka(..) | Source::Messages(..) => record < position(self.partition(), number),
        }
    }

    /// The number of its partition in the store.
    pub fn partition(&self) -> u32 {
        match self {
            Source::Files(_) => PARTITION,
            Source::Kafka(extent, _) => extent.place.number,
            Source::Messages(number, _) => *number,
        }
    }
}

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
    /// The pairings in force from here on.
    Pairings(Vec<Pairing>),
    /// A fix that another partition has handed on for the device of that id: no record of this one.
    HandedOn(String, Batch),
    /// Time alone.
    Timer,
}

impl Held {
    /// Positions that the block takes up.
    pub fn positions(&self) -> u64 {
        match self {
            Held::Records(batch) | Held::Replay(_, batch) => batch.len() as u64,
            Held::Void(records) => *records,
            Held::Discard(..) | Held::Pairings(_) | Held::HandedOn(..) | Held::Timer => 0,
        }
    }
}

/// Tells every block of the log to `each`, oldest first.
pub fn scan(source: &Source, key: &IdentityKey, each: impl FnMut(Place, Held) -> anyhow::Result<()>) -> anyhow::Result<()> {
    match source {
        Source::Files(dir) => scan_files(dir, key, each),
        Source::Kafka(extent, strange) => extent.runs(1, u64::MAX, of_runs(source.partition(), strange, key, each)),
        Source::Messages(number, inbox) => {
            let nothing_strange = HashSet::new();
            let mut each = of_runs(*number, &nothing_strange, key, each);
            inbox.runs(u64::MAX).try_for_each(|run| each(&run))
        }
    }
}

/// Whether the block at `place` came before the record at `position`.
fn is_to_come(position: u64, place: Place) -> bool {
    position >= place.first_record && !planted("letter-to-come-is-decided-on")
}

/// Takes the runs of a partition's messages, and tells `each` what they hold.
fn of_runs(
    partition: u32,
    strange: &HashSet<u64>,
    key: &IdentityKey,
    mut each: impl FnMut(Place, Held) -> anyhow::Result<()>,
) -> impl FnMut(&Run<'_>) -> anyhow::Result<()> {
    let (mut decided, mut clock) = (HashSet::new(), ProcessingTime::from_ms(0));
    move |run| {
        clock = clock.max(run.received_at);
        let place = Place { number: run.last, first_record: position(partition, run.first), received_at: clock };
        let held = match run.kind {
            Kind::Records => Held::Records(Batch::of_messages(run.bytes.clone(), run.messages(), key)),
            // Anybody may write to a topic: what is no decision decides nothing, nor what names a letter that there was not yet.
            Kind::Decision if run.decided().is_none_or(|letter| strange.contains(&letter) || is_to_come(letter, place)) => {
                Held::Timer
            }
            Kind::Decision => decision(&run.bytes, run.source(), key, &mut decided).unwrap_or(Held::Timer),
            Kind::Pairings => travel::decode(&run.bytes).map_or(Held::Timer, Held::Pairings),
            Kind::Fix => match HandedOn::decode(&run.bytes, run.source(), key) {
                Ok((device, batch)) => Held::HandedOn(device, batch),
                Err(_) => Held::Timer,
            },
            Kind::Timer | Kind::Foreign => Held::Timer,
        };
        each(place, held)
    }
}

/// What a decision comes to; only the first one of a letter counts.
fn decision(body: &Bytes, source: &str, key: &IdentityKey, decided: &mut HashSet<u64>) -> anyhow::Result<Held> {
    let (decision, raw) = Decision::decode(body)?;
    Ok(match &decision.verdict {
        _ if !decided.insert(decision.letter) => Held::Void(decision.records()),
        Verdict::Replay => {
            let batch = Batch::parse(raw, Format::Record, source, key)?;
            Held::Replay(decision, batch)
        }
        Verdict::Discard(reason) => {
            let reason = reason.clone();
            Held::Discard(decision, reason)
        }
    })
}

fn scan_files(dir: &Path, key: &IdentityKey, mut each: impl FnMut(Place, Held) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut decided = HashSet::new();
    for block in log::read(dir, 1)? {
        let block = block?;
        let place = Place { number: block.number, first_record: block.first_record, received_at: block.received_at };
        let unreadable = || format!("read block {} of the log", block.number);
        let held = match block.kind {
            BlockKind::Records(format) => {
                Held::Records(Batch::parse(block.body, format, &block.source, key).with_context(unreadable)?)
            }
            BlockKind::Decision => decision(&block.body, &block.source, key, &mut decided).with_context(unreadable)?,
            BlockKind::Pairings => travel::decode(&block.body).map_or(Held::Timer, Held::Pairings),
            BlockKind::Timer => Held::Timer,
        };
        each(place, held)?;
    }
    Ok(())
}

/// Reads a whole partition for its times: `None` where there is nothing in it.
pub fn outline_of(extent: &Extent) -> anyhow::Result<Option<Outline>> {
    let (mut clock, mut outline) = (ProcessingTime::from_ms(0), None);
    extent.runs(1, u64::MAX, |run| {
        let place = extent.place_of(run, &mut clock);
        let outline = outline.get_or_insert(Outline {
            first_block: extent.low as u64 + 1,
            first_record: extent.position(extent.low as u64 + 1),
            last_block: 0,
            last_first_record: 0,
            received: (clock, clock),
            bytes: 0,
        });
        (outline.last_block, outline.last_first_record) = (place.number, extent.position(place.number));
        outline.received.1 = clock;
        outline.bytes += run.bytes.len() as u64;
        Ok(())
    })?;
    Ok(outline)
}

/// The same of messages in memory, the first of which is the first that there ever was.
pub fn outline_of_messages(partition: u32, inbox: &Inbox) -> Outline {
    let first = position(partition, 1);
    let never = ProcessingTime::from_ms(0);
    let nothing = Outline {
        first_block: 1,
        first_record: first,
        last_block: 0,
        last_first_record: first,
        received: (never, never),
        bytes: 0,
    };
    inbox.runs(u64::MAX).fold(nothing, |outline, run| {
        let received = outline.received.1.max(run.received_at);
        Outline {
            last_block: run.last,
            last_first_record: position(partition, run.last),
            received: (if outline.last_block == 0 { received } else { outline.received.0 }, received),
            bytes: outline.bytes + run.bytes.len() as u64,
            ..outline
        }
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{CONTROL, DECISION, Installation};

    /// Whoever names a letter before it is there decides nothing, live as here, whatever comes to lie at that place.
    #[test]
    fn what_decides_of_a_letter_to_come_is_void() {
        let at = ProcessingTime::from_ms(1_790_000_000_000);
        let mut inbox = Inbox::new("events", &Installation::new(["ours".to_owned()]));
        let verdict = Verdict::Discard("noise".to_owned());
        let of = |block| Decision { letter: position(1, block), by: "Sari".to_owned(), verdict: verdict.clone() }.encode(b"");
        inbox.note(0, at, &of(2), [(CONTROL, Some(DECISION))].into_iter());
        inbox.note(1, at, b"[", std::iter::empty());
        inbox.note(2, at, &of(2), [(CONTROL, Some(DECISION))].into_iter());
        let mut held = Vec::new();
        let key = IdentityKey([0; 16]);
        let messages = Source::Messages(1, Arc::new(inbox));
        scan(&messages, &key, |place, what| {
            held.push((place.number, matches!(what, Held::Timer), matches!(what, Held::Discard(..))));
            Ok(())
        })
        .expect("reads");
        assert_eq!(held, [(1, true, false), (2, false, false), (3, false, true)]);
    }
}
