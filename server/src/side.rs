//! Side outputs: late records and dead letters, one row per record, with all that is needed to judge or replay it.

use crate::admission::Batch;
use domain::engine::Disposition;
use domain::event::Reason;
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
        first_record: u64,
        received_at: ProcessingTime,
    ) -> Option<(usize, Self)> {
        let (kind, cause) = match disposition {
            Disposition::Accepted | Disposition::Duplicate => return None,
            Disposition::Late { window_start, lateness_ms } => (LATE, Cause::Late { window_start, lateness_ms }),
            Disposition::Rejected(reason) => {
                (DEAD, Cause::Rejected { reason, field: field_at_fault(batch, index, reason).to_owned() })
            }
        };
        let row = SideRow {
            position: first_record + index as u64,
            received_at,
            event_id: batch.event_id(index).map(str::to_owned),
            device_id: batch.device_id(index).map(str::to_owned),
            ts: batch.at(index),
            source: batch.source(index).to_owned(),
            cause,
            raw: batch.raw_record(index).to_vec(),
        };
        Some((kind, row))
    }
}

/// The field that a rejection is about; empty where it is the whole record.
pub fn field_at_fault(batch: &Batch, index: usize, reason: Reason) -> &str {
    match reason {
        Reason::Future | Reason::ClockReset | Reason::TooOld => "ts",
        Reason::IdConflict => "event_id",
        _ => batch.field(index),
    }
}
