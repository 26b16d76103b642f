//! Roll-ups facility → district → regency → province → country, kept as differences of versions: +new −old, never a rescan.

use serde::{Deserialize, Serialize};

/// What one device window adds to its hour at every level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    /// Readings.
    pub readings: u32,
    /// One of them lay below the range.
    pub low: bool,
    /// One of them lay above the range.
    pub high: bool,
}
