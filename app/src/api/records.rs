//! Records that met another end than being accepted: dead letters and late ones.

#[cfg(feature = "ssr")]
use super::Crumb;
#[cfg(feature = "ssr")]
use domain::coldchain::Range;
#[cfg(feature = "ssr")]
use domain::milli::Milli;
use domain::time::ProcessingTime;
#[cfg(feature = "ssr")]
use domain::time::{EventTime, Zone};
use serde::{Deserialize, Serialize};

/// A rejected record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterRow {
    /// Its position in the order of all records.
    pub position: u64,
    /// When it came in.
    pub received_at: ProcessingTime,
    /// Its source.
    pub source: String,
    /// Why it was rejected.
    pub reason: domain::event::Reason,
    /// The field at fault.
    pub field: String,
    /// The record, as text; cut at 300 characters.
    pub raw: String,
    /// What became of it.
    pub state: LetterState,
}

/// A page of the list of dead letters.
#[cfg(feature = "ssr")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LettersView {
    /// The server's time when this was taken.
    pub taken_at: ProcessingTime,
    /// How many there were ever.
    pub rejected: u64,
    /// Those of which nobody has decided.
    pub undecided: u64,
    /// Newest first.
    pub letters: Vec<DeadLetterRow>,
    /// There are older ones, before this position.
    pub older: Option<u64>,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterState {
    /// Nobody has decided.
    #[default]
    Open,
    /// It was taken in again.
    Replayed,
    /// It was discarded.
    Discarded,
}

/// A dead letter with all that is known of it.
#[cfg(feature = "ssr")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterView {
    /// Its position in the order of all records.
    pub position: u64,
    /// When it came in.
    pub received_at: ProcessingTime,
    /// Its source.
    pub source: String,
    /// Its id as its sender gave it.
    pub event_id: Option<String>,
    /// Its device.
    pub device_id: Option<String>,
    /// Its time by the device's clock.
    pub ts: Option<EventTime>,
    /// Why it was rejected.
    pub reason: domain::event::Reason,
    /// The field at fault.
    pub field: String,
    /// The record, as text.
    pub raw: String,
    /// Whether it is text throughout.
    pub is_text: bool,
    /// What was decided.
    pub outcome: Option<LetterOutcome>,
    /// The letter that was taken in again as this record.
    pub replay_of: Option<u64>,
    /// What its forms send along: by it the server knows that they come from its page.
    pub form_token: String,
}

/// What was decided of a dead letter.
#[cfg(feature = "ssr")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetterOutcome {
    /// It was taken in again.
    Replayed {
        /// At which position.
        position: u64,
        /// And met this end.
        end: LetterEnd,
        /// Who wanted it.
        by: String,
        /// When.
        at: ProcessingTime,
    },
    /// It was discarded.
    Discarded {
        /// Why.
        reason: String,
        /// Who wanted it.
        by: String,
        /// When.
        at: ProcessingTime,
    },
}

/// What a record that was taken in again ended as.
#[cfg(feature = "ssr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterEnd {
    /// Accepted.
    Accepted,
    /// Known already.
    Duplicate,
    /// Late.
    Late,
    /// Rejected again.
    Rejected,
}

/// A page of the list of late records.
#[cfg(feature = "ssr")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateView {
    /// The server's time when this was taken.
    pub taken_at: ProcessingTime,
    /// How many there were ever.
    pub count: u64,
    /// Newest first.
    pub records: Vec<LateRecord>,
    /// There are older ones.
    pub is_more: bool,
}

/// A record that came after its window was done.
#[cfg(feature = "ssr")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateRecord {
    /// Its position in the order of all records.
    pub position: u64,
    /// When it came in.
    pub received_at: ProcessingTime,
    /// Its source.
    pub source: String,
    /// Its id as its sender gave it.
    pub event_id: Option<String>,
    /// Its device.
    pub device_id: Option<String>,
    /// The device's facility; `None` where unregistered.
    pub facility: Option<Crumb>,
    /// The facility's zone; WIB where unregistered.
    pub zone: Zone,
    /// Its time by the device's clock.
    pub ts: Option<EventTime>,
    /// Start and end of the shortest window it belongs to.
    pub window: (EventTime, EventTime),
    /// How far the watermark was past that window's end, in milliseconds.
    pub lateness_ms: i64,
    /// What it measured, and the range of its device's equipment: that it came late keeps no excursion from being seen.
    pub measured: Option<(Milli, Range)>,
    /// Its bytes as they came.
    pub raw: Vec<u8>,
}
