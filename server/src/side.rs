//! Side outputs: late records and dead letters, one row per record, with all that is needed to judge or replay it.

use crate::admission::Batch;
use domain::engine::Disposition;
use domain::event::Reason;
use domain::planted;
use domain::time::{EventTime, ProcessingTime};
use serde::{Deserialize, Serialize};

/// Index of late records among the side outputs.
pub const LATE: usize = 0;
/// Index of dead letters.
pub const DEAD: usize = 1;

/// A record that went to a side output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideRow {
    /// Its position among all records, from 1.
    pub position: u64,
    /// When it came in.
    pub received_at: ProcessingTime,
    /// Its id as its sender gave it.
    pub event_id: Option<String>,
    /// Its device.
    pub device_id: Option<String>,
    /// Its time by the device's clock.
    pub ts: Option<EventTime>,
    /// Its source.
    pub source: String,
    /// Why it is here.
    pub cause: Cause,
    /// Its bytes as sent.
    pub raw: Vec<u8>,
}

/// Why a record went to a side output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
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
        field: String,
    },
}

impl SideRow {
    /// The row of record `index` of `batch`, with the output it belongs to; `None` where it belongs to none.
    pub fn of(
        batch: &Batch,
        index: usize,
        disposition: Disposition,
        position: u64,
        received_at: ProcessingTime,
    ) -> Option<(usize, Self)> {
        let (kind, cause) = match disposition {
            Disposition::Accepted | Disposition::Duplicate => return None,
            Disposition::Late { .. } if planted("late-record-is-not-kept") => return None,
            Disposition::Late { window_start, lateness_ms } => (LATE, Cause::Late { window_start, lateness_ms }),
            Disposition::Rejected(reason) => {
                (DEAD, Cause::Rejected { reason, field: field_at_fault(batch, index, reason).to_owned() })
            }
        };
        let row = SideRow {
            position,
            received_at,
            event_id: batch.event_id(index).map(str::to_owned),
            device_id: batch.device_id(index).map(str::to_owned),
            ts: batch.at(index),
            source: batch.source(index).to_owned(),
            cause,
            raw: if planted("dead-letter-loses-its-bytes") {
                String::from_utf8_lossy(batch.raw_record(index)).into_owned().into_bytes()
            } else {
                batch.raw_record(index).to_vec()
            },
        };
        Some((kind, row))
    }
}

/// The field that a rejection is about; empty where it is the whole record.
pub fn field_at_fault(batch: &Batch, index: usize, reason: Reason) -> &str {
    match reason {
        Reason::Future | Reason::ClockReset | Reason::TooOld => time_field(batch.raw_record(index)),
        Reason::IdConflict => batch.identity_field(index),
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
            SideRow::of(&batch, 0, disposition, 7, ProcessingTime::from_ms(9)).map(|(kind, row)| (kind, row.position, row.raw))
        };
        assert_eq!(kept(Disposition::Rejected(Reason::MalformedJson)), Some((DEAD, 7, raw.clone())));
        assert_eq!(kept(Disposition::Late { window_start: 0, lateness_ms: 1 }), Some((LATE, 7, raw)));
        assert_eq!((kept(Disposition::Accepted), kept(Disposition::Duplicate)), (None, None));
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
