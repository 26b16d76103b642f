//! What comes into the engine: records as admission hands them on, and the memory of those that came before.

use crate::event::{BodyHash, Identity, Reading, Reason, Topic};
use crate::feed::SensorFault;
use crate::join::Fix;
use crate::sequence::Sequence;
use crate::time::EventTime;
use hashbrown::HashMap;
use std::borrow::Cow;

/// A record as admission hands it on.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// What makes it itself; `None` where nothing tells it from others. What names neither an id nor a device and time has one of its bytes,
    /// and is always refused.
    pub identity: Option<Identity>,
    /// Whether the identity is (device, channel, time) rather than an id that its sender gave.
    pub is_natural: bool,
    /// What it says.
    pub body: BodyHash,
    /// Its running number, where its device counts its records.
    pub sequence: Option<Sequence>,
    /// Whether that number is its identity; `false` where its sender gave an id.
    pub is_numbered: bool,
    /// Its topic; `None` where it names none that is known.
    pub topic: Option<Topic>,
    /// Its source.
    pub source: Cow<'a, str>,
    /// Its content.
    pub content: Content<'a>,
}

/// What a record is about.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// A measurement.
    Reading {
        /// Id of the device.
        device: Cow<'a, str>,
        /// What it measured.
        reading: Reading,
    },
    /// A sensor's report of its own failure.
    Fault {
        /// Id of the device.
        device: Cow<'a, str>,
        /// When, and with which code.
        fault: SensorFault,
    },
    /// Where a tracker was.
    Fix {
        /// Id of the tracker.
        device: Cow<'a, str>,
        /// When and where.
        fix: Fix,
    },
    /// A record of a topic that is kept and counted.
    Other {
        /// When it happened, where it says so.
        at: Option<EventTime>,
    },
    /// Admission found it wrong.
    Rejected(Reason),
}

impl Record<'_> {
    /// Id of the device that it is about, where it is usable.
    pub fn device(&self) -> Option<&str> {
        match &self.content {
            Content::Reading { device, .. } | Content::Fault { device, .. } | Content::Fix { device, .. } => Some(device),
            Content::Other { .. } | Content::Rejected(_) => None,
        }
    }

    /// The same of a device for which there is no room: its id is outside what this field may hold by now.
    pub(super) fn without_room(self) -> Self {
        Self { content: Content::Rejected(Reason::OutOfRange), ..self }
    }
}

/// What became of a record: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// New, and counted.
    Accepted,
    /// Known already; no effect.
    Duplicate,
    /// New, but its window and slot were closed; kept.
    Late {
        /// Start of its shortest window.
        window_start: i64,
        /// How far the watermark was past that window's end, in milliseconds.
        lateness_ms: i64,
    },
    /// Not usable; kept as a dead letter.
    Rejected(Reason),
}

/// Whether an identity was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// No; it is remembered from now on.
    New,
    /// Yes, with the same body.
    Same,
    /// Yes, with another body.
    Other,
}

/// The memory of identities.
pub trait Identities {
    /// Whether `identity` was seen before, and remembers it with `body` where it was not.
    fn check_in(&mut self, identity: Identity, body: BodyHash) -> Seen;

    /// The same without remembering it.
    fn seen(&self, identity: Identity, body: BodyHash) -> Seen;

    /// Says that these will be checked in soon: memory may be fetched already. Changes nothing.
    fn expect(&self, _identities: &[Identity]) {}
}

/// Identities in memory, for tests, simulations and small tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryIdentities(HashMap<u128, u64>);

impl Identities for MemoryIdentities {
    fn check_in(&mut self, identity: Identity, body: BodyHash) -> Seen {
        match self.0.insert(identity.0, body.0) {
            None => Seen::New,
            Some(known) if known == body.0 => Seen::Same,
            Some(known) => {
                self.0.insert(identity.0, known);
                Seen::Other
            }
        }
    }

    fn seen(&self, identity: Identity, body: BodyHash) -> Seen {
        match self.0.get(&identity.0) {
            None => Seen::New,
            Some(known) if *known == body.0 => Seen::Same,
            Some(_) => Seen::Other,
        }
    }
}
