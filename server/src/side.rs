//! Side outputs: late records and dead letters, one row per record, with all that is needed to judge or replay it.
//!
//! Rows are encoded as they come and lie in blocks, in memory as in the store: where a fifth of all records are late, what each of them
//! costs counts, and they are seldom read.

use crate::admission::Batch;
use domain::engine::Disposition;
use domain::event::Reason;
use domain::planted;
use domain::time::{EventTime, ProcessingTime};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::io;

/// Index of late records among the side outputs.
pub const LATE: usize = 0;
/// Index of dead letters.
pub const DEAD: usize = 1;

/// A record that went to a side output; its texts and its bytes are its own, or its batch's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "T: Serialize, B: AsRef<[u8]>"))]
pub struct SideRow<T = String, B = Vec<u8>> {
    /// Its position among all records, from 1.
    pub position: u64,
    /// When it came in.
    pub received_at: ProcessingTime,
    /// Its id as its sender gave it.
    pub event_id: Option<T>,
    /// Its device.
    pub device_id: Option<T>,
    /// Its time by the device's clock.
    pub ts: Option<EventTime>,
    /// Its source.
    pub source: T,
    /// Why it is here.
    pub cause: Cause<T>,
    /// Its bytes as sent.
    #[serde(serialize_with = "at_once")]
    pub raw: B,
}

/// Written byte by byte they read the same, and take ten times as long.
fn at_once<S: Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes.as_ref())
}

/// Why a record went to a side output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause<T = String> {
    /// Its window was closed.
    Late {
        /// Start of its shortest window.
        window_start: i64,
        /// How far the watermark was past that window's end, in milliseconds.
        lateness_ms: i64,
    },
    /// It is not usable.
    Rejected {
        /// Why.
        reason: Reason,
        /// The field at fault.
        field: T,
    },
}

impl<'a> SideRow<&'a str, Cow<'a, [u8]>> {
    /// The row of record `index` of `batch`, with the output it belongs to; `None` where it belongs to none.
    pub fn of(
        batch: &'a Batch,
        index: usize,
        disposition: Disposition,
        position: u64,
        received_at: ProcessingTime,
    ) -> Option<(usize, Self)> {
        let (kind, cause) = match disposition {
            Disposition::Accepted | Disposition::Duplicate => return None,
            Disposition::Late { .. } if planted("late-record-is-not-kept") => return None,
            Disposition::Late { window_start, lateness_ms } => (LATE, Cause::Late { window_start, lateness_ms }),
            Disposition::Rejected(reason) => (DEAD, Cause::Rejected { reason, field: field_at_fault(batch, index, reason) }),
        };
        let row = SideRow {
            position,
            received_at,
            event_id: batch.event_id(index),
            device_id: batch.device_id(index),
            ts: batch.at(index),
            source: batch.source(index),
            cause,
            raw: if planted("dead-letter-loses-its-bytes") {
                String::from_utf8_lossy(batch.raw_record(index)).into_owned().into_bytes().into()
            } else {
                batch.raw_record(index).into()
            },
        };
        Some((kind, row))
    }

    /// The same, with all that it holds its own.
    pub fn into_owned(self) -> SideRow {
        SideRow {
            position: self.position,
            received_at: self.received_at,
            event_id: self.event_id.map(str::to_owned),
            device_id: self.device_id.map(str::to_owned),
            ts: self.ts,
            source: self.source.to_owned(),
            cause: match self.cause {
                Cause::Late { window_start, lateness_ms } => Cause::Late { window_start, lateness_ms },
                Cause::Rejected { reason, field } => Cause::Rejected { reason, field: field.to_owned() },
            },
            raw: self.raw.into_owned(),
        }
    }
}

/// How many rows a block holds at most,
const BLOCK_ROWS: usize = 1_000;
/// and after how many bytes it ends: no value of a database may be as long as a thousand bodies.
const BLOCK_BYTES: usize = 8 << 20;

/// Rows of a side output that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideBlock {
    /// Positions of the first row and of the last.
    pub positions: (u64, u64),
    /// When the last came in.
    pub received_at: ProcessingTime,
    /// Number of rows.
    pub len: usize,
    /// The rows, encoded, one after the other.
    rows: Vec<u8>,
}

impl SideBlock {
    fn is_full(&self) -> bool {
        self.len >= BLOCK_ROWS || self.rows.len() >= BLOCK_BYTES
    }

    /// Its rows, oldest first.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = SideRow> + use<> {
        let mut rest = self.rows.as_slice();
        let rows = (0..self.len).map(|_| {
            let (row, others) = postcard::take_from_bytes(rest).expect("it was encoded here");
            rest = others;
            row
        });
        rows.collect::<Vec<_>>().into_iter()
    }

    /// As the store keeps it: number of rows and rows as `postcard` has them, compressed.
    pub fn encode(&self) -> Vec<u8> {
        let text = "in memory";
        let mut data = postcard::to_extend(&self.len, Vec::with_capacity(self.rows.len() + 5)).expect(text);
        data.extend_from_slice(&self.rows);
        // Its fastest level but for those that save hardly anything: it has to cost less than the writing that it saves.
        zstd::bulk::compress(&data, 1).expect(text)
    }

    /// The rows of what [`SideBlock::encode`] made.
    pub fn decode(data: &[u8]) -> io::Result<Vec<SideRow>> {
        postcard::from_bytes(&zstd::decode_all(data)?).map_err(io::Error::other)
    }
}

/// Rows of a side output, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideRows {
    blocks: Vec<SideBlock>,
}

impl SideRows {
    /// Puts `row` after the others.
    pub fn push<T: Serialize, B: AsRef<[u8]>>(&mut self, row: &SideRow<T, B>) {
        let (position, received_at) = (row.position, row.received_at);
        if self.blocks.last().is_none_or(SideBlock::is_full) {
            if let Some(full) = self.blocks.last_mut() {
                full.rows.shrink_to_fit();
            }
            self.blocks.push(SideBlock { positions: (position, position), received_at, len: 0, rows: Vec::new() });
        }
        if let Some(block) = self.blocks.last_mut() {
            let rows = std::mem::take(&mut block.rows);
            block.rows = postcard::to_extend(row, rows).expect("a row has no type that postcard cannot write");
            (block.positions.1, block.received_at, block.len) = (position, received_at, block.len + 1);
        }
    }

    /// The blocks, oldest first.
    pub fn blocks(&self) -> &[SideBlock] {
        &self.blocks
    }

    /// The rows, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = SideRow> {
        self.blocks.iter().flat_map(SideBlock::rows)
    }
}

impl FromIterator<SideRow> for SideRows {
    fn from_iter<I: IntoIterator<Item = SideRow>>(rows: I) -> Self {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.push(&row));
        all
    }
}

/// The field that a rejection is about; empty where it is the whole record.
pub fn field_at_fault(batch: &Batch, index: usize, reason: Reason) -> &str {
    match reason {
        Reason::Future | Reason::ClockReset | Reason::TooOld => time_field(batch.raw_record(index)),
        Reason::IdConflict => batch.identity_field(index),
        // Not admission's word, then the engine's: there was no room for its device.
        Reason::OutOfRange if batch.rejection(index).is_none_or(|found| found != reason) => batch.device_field(index),
        _ => batch.field(index),
    }
}

/// The field that a record's time came from: the device's own before the envelope's, as admission takes it. Read again, because it
/// matters only for the few records whose time is refused.
fn time_field(record: &[u8]) -> &'static str {
    let record: serde_json::Value = serde_json::from_slice(record).unwrap_or_default();
    let is_envelope = !record["payload"].is_null() || !record["topic"].is_null();
    let payload = if is_envelope { &record["payload"] } else { &record };
    let is_feature = payload["type"] == "Feature";
    let fields = if is_feature { &payload["properties"] } else { payload };
    match (is_envelope, is_feature, fields["ts"].is_null(), fields["timestamp"].is_null()) {
        (false, false, true, false) => "timestamp",
        (true, false, false, _) => "payload.ts",
        (true, false, true, false) => "payload.timestamp",
        (false, true, false, _) => "properties.ts",
        (false, true, true, false) => "properties.timestamp",
        (true, true, false, _) => "payload.properties.ts",
        (true, true, true, false) => "payload.properties.timestamp",
        _ => "ts",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{Format, IdentityKey};
    use bytes::Bytes;

    /// Whatever they are: only so can a person judge, and a corrected program read, what this one could not.
    #[test]
    fn bytes_are_kept_as_they_came() {
        let raw: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
        let batch = Batch::parse(Bytes::from(raw.clone()), Format::Ndjson, "s", &IdentityKey([0; 16])).expect("one record");
        let kept = |disposition| {
            let row = SideRow::of(&batch, 0, disposition, 7, ProcessingTime::from_ms(9));
            row.map(|(kind, row)| (kind, row.position, row.raw.into_owned()))
        };
        assert_eq!(kept(Disposition::Rejected(Reason::MalformedJson)), Some((DEAD, 7, raw.clone())));
        assert_eq!(kept(Disposition::Late { window_start: 0, lateness_ms: 1 }), Some((LATE, 7, raw)));
        assert_eq!((kept(Disposition::Accepted), kept(Disposition::Duplicate)), (None, None));
    }

    fn row(position: u64, bytes: usize) -> SideRow {
        SideRow {
            position,
            received_at: ProcessingTime::from_ms(position as i64),
            event_id: Some("e".to_owned()),
            device_id: None,
            ts: None,
            source: "s".to_owned(),
            cause: Cause::Rejected { reason: Reason::MalformedJson, field: String::new() },
            raw: vec![7; bytes],
        }
    }

    #[test]
    fn blocks_end_by_number_and_by_bytes() {
        let check = |bytes: Vec<usize>, expected: &[usize]| {
            let rows: Vec<SideRow> = (1..).zip(bytes).map(|(position, bytes)| row(position, bytes)).collect();
            let all: SideRows = rows.iter().cloned().collect();
            assert_eq!(all.blocks().iter().map(|block| block.len).collect::<Vec<_>>(), expected);
            assert_eq!(all.iter().collect::<Vec<_>>(), rows);
            assert!(all.iter().rev().eq(rows.iter().rev().cloned()));
            let stored = all.blocks().iter().flat_map(|block| SideBlock::decode(&block.encode()).expect("decodes"));
            assert!(stored.eq(rows.iter().cloned()));
            for block in all.blocks() {
                let (first, last) = block.positions;
                assert!(block.rows().map(|row| row.position).eq(first..=last));
                assert_eq!(block.received_at.ms(), last as i64);
            }
        };
        check(vec![], &[]);
        check(vec![100; 2_500], &[1_000, 1_000, 500]);
        check(vec![BLOCK_BYTES / 2; 5], &[2, 2, 1]);
        check(vec![0, BLOCK_BYTES + 1, 0], &[2, 1]);
    }

    #[test]
    fn a_damaged_block_is_an_error() {
        let rows: SideRows = (1..=3).map(|position| row(position, 10)).collect();
        let data = rows.blocks()[0].encode();
        assert!(SideBlock::decode(&data[..data.len() - 1]).is_err() && SideBlock::decode(b"x").is_err());
    }

    #[test]
    fn the_field_of_the_time() {
        for (record, expected) in [
            (r#"{"device_id":"d","ts":1,"timestamp":2}"#, "ts"),
            (r#"{"device_id":"d","ts":null,"timestamp":2}"#, "timestamp"),
            (r#"{"topic":"temperature","ts":1,"payload":{"device_id":"d"}}"#, "ts"),
            (r#"{"topic":"temperature","ts":1,"payload":{"ts":2}}"#, "payload.ts"),
            (r#"{"topic":"temperature","payload":{"timestamp":2}}"#, "payload.timestamp"),
            (r#"{"type":"Feature","properties":{"ts":1}}"#, "properties.ts"),
            (r#"{"topic":"gps","payload":{"type":"Feature","properties":{"timestamp":1}}}"#, "payload.properties.timestamp"),
            (r#"{"topic":"gps","ts":1,"payload":{"type":"Feature","properties":{}}}"#, "ts"),
        ] {
            assert_eq!(time_field(record.as_bytes()), expected, "{record}");
        }
    }
}
