//! Events as the engine takes them in: already parsed and checked for shape, not yet judged.
//!
//! Bytes become events in `server::admission`; what an event leads to is decided in [`crate::engine`].

use crate::milli::Milli;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A keyed 128-bit fingerprint of what makes a record itself: its `event_id`, or (device, channel, time) without one, or its bytes where it
/// names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub u128);

/// A keyed 64-bit fingerprint of what a record says, to tell a repeat from a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyHash(pub u64);

/// Why a record was rejected: the closed list of the public contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Not JSON, or not one JSON value.
    MalformedJson,
    /// Bytes that are not UTF-8, or a NUL character.
    InvalidUtf8,
    /// An object names one key twice.
    DuplicateKey,
    /// Nested deeper than 32 levels.
    TooDeep,
    /// A record beyond 64 KiB, or a text beyond its limit.
    TooLarge,
    /// A topic that nobody here reads.
    UnknownTopic,
    /// A required field is absent.
    MissingField,
    /// A field of another type than its contract says.
    WrongType,
    /// Not a finite number.
    NonFinite,
    /// Outside what can be measured or a field may hold; a device that nobody registered, after as many others as there is room for.
    OutOfRange,
    /// A code by which a sensor reports its own failure (85.0, 127.94, −127).
    SensorFault,
    /// More than 5 minutes ahead of the server.
    Future,
    /// A clock that was reset: before this product existed.
    ClockReset,
    /// Older than duplicates are remembered.
    TooOld,
    /// The id of a known event with another body.
    IdConflict,
    /// The device, channel and time of a known reading with another value.
    ConflictingReading,
}

impl Reason {
    /// Every reason, in the order of the contract.
    pub const ALL: [Reason; 16] = [
        Reason::MalformedJson,
        Reason::InvalidUtf8,
        Reason::DuplicateKey,
        Reason::TooDeep,
        Reason::TooLarge,
        Reason::UnknownTopic,
        Reason::MissingField,
        Reason::WrongType,
        Reason::NonFinite,
        Reason::OutOfRange,
        Reason::SensorFault,
        Reason::Future,
        Reason::ClockReset,
        Reason::TooOld,
        Reason::IdConflict,
        Reason::ConflictingReading,
    ];

    /// The name in the public contract.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::MalformedJson => "malformed_json",
            Reason::InvalidUtf8 => "invalid_utf8",
            Reason::DuplicateKey => "duplicate_key",
            Reason::TooDeep => "too_deep",
            Reason::TooLarge => "too_large",
            Reason::UnknownTopic => "unknown_topic",
            Reason::MissingField => "missing_field",
            Reason::WrongType => "wrong_type",
            Reason::NonFinite => "non_finite",
            Reason::OutOfRange => "out_of_range",
            Reason::SensorFault => "sensor_fault",
            Reason::Future => "future",
            Reason::ClockReset => "clock_reset",
            Reason::TooOld => "too_old",
            Reason::IdConflict => "id_conflict",
            Reason::ConflictingReading => "conflicting_reading",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A reason together with the field at fault (`payload.temperature`), empty where the whole record is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// Path of the field at fault, from the record's root.
    pub field: String,
}

/// The subjects that sources report on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// Readings of cold-chain sensors.
    Temperature,
    /// Fixes of trackers.
    Gps,
    /// Stock movements.
    Stock,
    /// Distributions between facilities.
    Distribution,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Topic; 4] = [Topic::Temperature, Topic::Gps, Topic::Stock, Topic::Distribution];

    /// The name in the public contract.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Temperature => "temperature",
            Topic::Gps => "gps",
            Topic::Stock => "stock",
            Topic::Distribution => "distribution",
        }
    }

    /// The topic of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }
}

/// What a device says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceStatus {
    /// In order, or silent about it.
    #[default]
    Ok,
    /// Something needs a look.
    Warn,
    /// The device reports a failure.
    Error,
}

/// One measurement of a cold-chain sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// When it was measured, by the device's clock.
    pub at: EventTime,
    /// Temperature, thousandths of °C.
    pub temperature: Milli,
    /// Relative humidity, thousandths of %.
    pub humidity: Option<Milli>,
    /// Battery charge, thousandths of %.
    pub battery: Option<Milli>,
    /// What the device says of itself.
    pub status: DeviceStatus,
}

/// Codes by which a DS18B20 sensor reports that it measured nothing: power-on reset, and two of a broken line.
pub const SENSOR_FAULT_CODES: [Milli; 3] = [Milli(85_000), Milli(127_940), Milli(-127_000)];
/// Lowest temperature a sensor can measure (DS18B20 data sheet).
pub const MIN_TEMPERATURE: Milli = Milli::whole(-55);
/// Highest temperature a sensor can measure (DS18B20 data sheet).
pub const MAX_TEMPERATURE: Milli = Milli::whole(125);
