//! What the engine is set up with in a course of events: as shipped, or with windows, patience and pairings of its own.

use super::random::Random;
use super::workload::TRACKER;
use super::world::BEGIN_MS;
use domain::engine::{EngineConfig, Pairing};
use domain::join::JoinConfig;
use domain::window::WindowConfig;

const MINUTE: i64 = 60_000;

/// Tumbling windows, sliding ones and sessions, with the allowed lateness in seconds.
const WINDOWS: [(&str, i64); 4] = [
    ("10:60,300:120,300/10:120", 600),
    ("10:60,300:120,3600/300:120,session 900:60", 600),
    ("10:60,300:120,300/10:60,3600/300:600,session 120:60,session 1800:300", 600),
    ("60:0,600:60,3600:180,1800/60:30,session 600:180", 180),
];

/// A setup by chance, every third as shipped.
pub fn chosen(random: &mut Random) -> EngineConfig {
    let mut config = EngineConfig::default();
    if random.one_in(3) {
        return config;
    }
    let (windows, lateness) = *random.pick(&WINDOWS);
    config.windows = WindowConfig::parse(windows, lateness * 1_000).expect("these are windows");
    if random.one_in(4) {
        // Two days pass seldom here.
        config.windows.gap_open_ms = 30 * MINUTE;
    }
    if random.one_in(3) {
        config.join = JoinConfig { tolerance_ms: MINUTE, delay_ms: 2 * MINUTE };
    }
    config.pairings = pairings(random);
    config
}

/// Little room for devices that nobody registered, sometimes. A way of its own: courses without are as they were. The memory of identities
/// is as long as shipped: what has no time of its own is known for as long, give or take a run, and where runs end follows from crashes.
pub fn narrow(config: &mut EngineConfig, random: &Random) {
    let mut random = Random(random.0.rotate_left(32));
    if random.one_in(6) {
        config.max_unregistered = random.below(3) as u32;
    }
}

/// Whether it has little room.
pub fn is_narrow(config: &EngineConfig) -> bool {
    config.max_unregistered != EngineConfig::default().max_unregistered
}

/// Who travels with the tracker, by chance: one that is registered, and one that is not.
pub fn pairings(random: &mut Random) -> Vec<Pairing> {
    let choices: [&[&str]; 4] = [&[], &["P321705-1-F2"], &["box-1"], &["P321705-1-F2", "box-1"]];
    let paired = *random.pick(&choices);
    paired
        .iter()
        .map(|device| {
            let is_bounded = random.one_in(4);
            Pairing {
                tracker: TRACKER.to_owned(),
                device: (*device).to_owned(),
                from_ms: if is_bounded { BEGIN_MS + 20 * MINUTE } else { i64::MIN },
                to_ms: if is_bounded { BEGIN_MS + 80 * MINUTE } else { i64::MAX },
            }
        })
        .collect()
}
