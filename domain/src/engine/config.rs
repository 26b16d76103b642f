//! Limits and windows of the engine, and which devices travel with which trackers.

use crate::join::JoinConfig;
use crate::time::{DAY_MS, EventTime, HOUR_MS, MINUTE_MS};
use crate::window::WindowConfig;
use serde::{Deserialize, Serialize};

/// How old an event may be, in milliseconds; an engine may be told less.
pub const RETENTION_MS: i64 = 90 * DAY_MS;

/// Limits and windows of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Windows of the topic `temperature`.
    pub windows: WindowConfig,
    /// How far ahead of the server an event may lie, in milliseconds.
    pub future_ms: i64,
    /// How old an event may be: as long as identities are remembered, in milliseconds; at most [`RETENTION_MS`].
    pub retention_ms: i64,
    /// After how long without a reading nothing is known of a device, in milliseconds.
    pub silent_after_ms: i64,
    /// For how many devices that nobody registered there is room: the first so many that are heard of. It belongs to a state: made with
    /// another number it would be another one.
    pub max_unregistered: u32,
    /// How readings are joined with the fixes of trackers.
    pub join: JoinConfig,
    /// Which devices should travel with which trackers. The engine does not go by it: in force is what the log says, see
    /// [`super::Engine::pair`].
    pub pairings: Vec<Pairing>,
}

/// A thermometer that travels with a tracker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairing {
    /// Id of the tracker.
    pub tracker: String,
    /// Id of the device with the thermometer.
    pub device: String,
    /// From when, milliseconds since the Unix epoch.
    #[serde(default = "Pairing::always_from")]
    pub from_ms: i64,
    /// Until before when.
    #[serde(default = "Pairing::always_to")]
    pub to_ms: i64,
}

impl Pairing {
    const fn always_from() -> i64 {
        i64::MIN
    }

    const fn always_to() -> i64 {
        i64::MAX
    }

    pub(super) fn holds_at(&self, at: EventTime) -> bool {
        (self.from_ms..self.to_ms).contains(&at.ms())
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            windows: WindowConfig::default(),
            future_ms: 5 * MINUTE_MS,
            retention_ms: RETENTION_MS,
            silent_after_ms: HOUR_MS,
            max_unregistered: 100_000,
            join: JoinConfig::default(),
            pairings: Vec::new(),
        }
    }
}
