//! Bytes to records: every source's door. A record that cannot be used becomes a rejection with its reason, never an error of the
//! request that brought it.
//!
//! Nothing here judges by time or by what was seen before; that is `domain::engine`, which also runs when the log is read again.

pub mod body;
mod json;
mod shape;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use domain::engine::{Content, Record};
use domain::event::{BodyHash, Identity, Reading, Reason, Rejection, Topic};
use domain::feed::SensorFault;
use domain::join::Fix;
use domain::sequence::Sequence;
use domain::time::EventTime;
use siphasher::sip128::Hasher128;
use std::borrow::Cow;
use std::hash::Hasher;

/// How many records one request may hold.
pub const MAX_RECORDS: usize = 10_000;
/// How long one record may be, in bytes.
pub const MAX_RECORD_BYTES: usize = 64 * 1024;
/// How deep a record may nest.
pub const MAX_DEPTH: u32 = 32;
/// How long an id or a name may be, in characters.
pub const MAX_TEXT_CHARS: usize = 128;

/// Whether a text, in UTF-8, is no longer than [`MAX_TEXT_CHARS`].
pub fn is_short(text: &[u8]) -> bool {
    let begins_a_char = |byte: &&u8| **byte & 0xc0 != 0x80;
    text.len() <= MAX_TEXT_CHARS
        || (text.len() <= 4 * MAX_TEXT_CHARS && text.iter().filter(begins_a_char).count() <= MAX_TEXT_CHARS)
}

/// How the records of a body are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON value: a record, or an array of records.
    Json,
    /// One record a line; empty lines do not count.
    Ndjson,
    /// One record, whatever its bytes: a dead letter that is taken in again.
    Record,
}

/// The secret of this installation by which identities are made, so that nobody outside can make two of them collide.
#[derive(Clone, Copy)]
pub struct IdentityKey(pub [u8; 16]);

impl IdentityKey {
    fn sip128(&self, parts: &[&[u8]]) -> u128 {
        let mut hasher = siphasher::sip128::SipHasher13::new_with_key(&self.0);
        for part in parts {
            hasher.write(part);
        }
        hasher.finish128().as_u128()
    }

    fn sip64(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_key(&self.0);
        for part in parts {
            hasher.write(part);
        }
        hasher.finish()
    }
}

/// A text of a record: a range of the body, or of the texts that had to be unescaped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Text {
    start: u32,
    len: u32,
    is_unescaped: bool,
}

/// A record of a body.
#[derive(Clone, Debug)]
struct Parsed {
    /// Its bytes within the body.
    start: u32,
    end: u32,
    identity: Option<Identity>,
    is_natural: bool,
    sequence: Option<Sequence>,
    /// Its fields are in `payload`, not at its root.
    is_envelope: bool,
    body: BodyHash,
    topic: Option<Topic>,
    /// Place of its source among those of the body.
    source: u32,
    event_id: Option<Text>,
    device: Option<Text>,
    /// Its time, where it is good enough to tell.
    at: Option<EventTime>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Reading(Reading),
    Fault(SensorFault),
    Fix(Fix),
    Other,
    Rejected(Box<Rejection>),
}

/// The records of one body.
#[derive(Clone, Debug)]
pub struct Batch {
    raw: Bytes,
    unescaped: String,
    records: Vec<Parsed>,
    /// The sources of its records.
    sources: Vec<String>,
    /// Whether the body was one record rather than a list of records.
    pub is_single: bool,
}

/// A record that came as a message of its own.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    /// Where it ends in the buffer: the next one begins there.
    pub end: usize,
    /// Where it counts as from if it names no source.
    pub source: &'m str,
    /// Whoever took it in could not read it: its bytes may be part of something that was broken.
    pub is_unreadable: bool,
}

/// A body with more than [`MAX_RECORDS`] records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {MAX_RECORDS} records in one request")]
pub struct TooManyRecords;

impl Batch {
    /// Parses `raw`; records that name no source count as from `source`.
    pub fn parse(raw: Bytes, format: Format, source: &str, key: &IdentityKey) -> Result<Self, TooManyRecords> {
        json::parse(raw, format, source, key)
    }

    /// Parses `raw`, in which `messages` lie one after the other, each of them one record whatever its bytes.
    pub fn of_messages<'m>(raw: Bytes, messages: impl IntoIterator<Item = Message<'m>>, key: &'m IdentityKey) -> Self {
        json::parse_messages(raw, messages, key)
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The body.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    fn text(&self, text: Text) -> &str {
        let range = text.start as usize..(text.start + text.len) as usize;
        if text.is_unescaped {
            &self.unescaped[range]
        } else {
            // Checked when it was parsed; checking again is cheaper than carrying a second copy.
            std::str::from_utf8(&self.raw[range]).unwrap_or_default()
        }
    }

    /// The records as the engine takes them.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.records.iter().map(|parsed| Record {
            identity: parsed.identity,
            is_natural: parsed.is_natural,
            body: parsed.body,
            sequence: parsed.sequence,
            is_numbered: parsed.sequence.is_some() && parsed.event_id.is_none(),
            topic: parsed.topic,
            source: Cow::Borrowed(self.sources[parsed.source as usize].as_str()),
            content: match (&parsed.kind, parsed.device) {
                (Kind::Reading(reading), Some(device)) => {
                    Content::Reading { device: Cow::Borrowed(self.text(device)), reading: *reading }
                }
                (Kind::Fault(fault), Some(device)) => Content::Fault { device: Cow::Borrowed(self.text(device)), fault: *fault },
                (Kind::Fix(fix), Some(device)) => Content::Fix { device: Cow::Borrowed(self.text(device)), fix: *fix },
                (Kind::Rejected(rejection), _) => Content::Rejected(rejection.reason),
                _ => Content::Other { at: parsed.at },
            },
        })
    }

    /// The bytes of record `index`.
    pub fn raw_record(&self, index: usize) -> &[u8] {
        let parsed = &self.records[index];
        &self.raw[parsed.start as usize..parsed.end as usize]
    }

    /// Id of record `index` as its sender gave it.
    pub fn event_id(&self, index: usize) -> Option<&str> {
        self.records[index].event_id.map(|text| self.text(text))
    }

    /// Device of record `index`.
    pub fn device_id(&self, index: usize) -> Option<&str> {
        self.records[index].device.map(|text| self.text(text))
    }

    /// Time of record `index` by its device's clock.
    pub fn at(&self, index: usize) -> Option<EventTime> {
        self.records[index].at
    }

    /// The key under which record `index` goes to its partition: its device, else its id, else what its bytes make it. So what is repeated
    /// finds itself again.
    pub fn key(&self, index: usize) -> Option<Cow<'_, [u8]>> {
        let name = self.device_id(index).or_else(|| self.event_id(index)).map(|name| Cow::Borrowed(name.as_bytes()));
        name.or_else(|| self.records[index].identity.map(|identity| Cow::Owned(identity.0.to_be_bytes().to_vec())))
    }

    /// Source of record `index`.
    pub fn source(&self, index: usize) -> &str {
        &self.sources[self.records[index].source as usize]
    }

    /// Why admission rejected record `index`, where it did.
    pub fn rejection(&self, index: usize) -> Option<Reason> {
        match &self.records[index].kind {
            Kind::Rejected(rejection) => Some(rejection.reason),
            Kind::Fault(_) => Some(Reason::SensorFault),
            Kind::Reading(_) | Kind::Fix(_) | Kind::Other => None,
        }
    }

    /// The field by which record `index` is told from others, where that is not its time.
    pub fn identity_field(&self, index: usize) -> &'static str {
        let parsed = &self.records[index];
        match (parsed.event_id, parsed.topic, parsed.is_envelope) {
            (Some(_), ..) => "event_id",
            (None, Some(Topic::Gps), true) => "payload.properties.seq",
            (None, Some(Topic::Gps), false) => "properties.seq",
            (None, _, true) => "payload.seq",
            (None, _, false) => "seq",
        }
    }

    /// The field that names the device of record `index`.
    pub fn device_field(&self, index: usize) -> &'static str {
        let parsed = &self.records[index];
        match (parsed.topic, parsed.is_envelope) {
            (Some(Topic::Gps), true) => "payload.properties.device_id",
            (Some(Topic::Gps), false) => "properties.device_id",
            (_, true) => "payload.device_id",
            (_, false) => "device_id",
        }
    }

    /// The field at fault of record `index`, empty where admission found none.
    pub fn field(&self, index: usize) -> &str {
        match &self.records[index].kind {
            Kind::Rejected(rejection) => &rejection.field,
            Kind::Fault(_) if self.records[index].is_envelope => "payload.temperature",
            Kind::Fault(_) => "temperature",
            _ => "",
        }
    }
}
