//! Chance as a function: the same seed, subject, moment and purpose always draw the same number.
//!
//! Nothing here keeps state, so any reading can be computed without those before it, in any order, and a simulator that is
//! started again sends the same readings once more instead of contradicting itself.

/// What a draw is for, so that two questions about one device and one moment have independent answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What a place is like: mean temperature, swing, posyandu days.
    Place,
    /// The weather of a province.
    Weather,
    /// The weather around one facility.
    Room,
    /// What a refrigerator is like: thermostat, swing, cold life.
    Fridge,
    /// Whether a door is opened.
    Door,
    /// Scatter of a sensor.
    Noise,
    /// Relative humidity.
    Humidity,
    /// What a battery is like.
    Battery,
    /// Blackouts of a district.
    Blackout,
    /// Refrigerant leaks.
    Leak,
    /// Thermostats set too cold.
    TooCold,
    /// Gateways without network.
    Offline,
    /// In which order a gateway sends what it kept.
    UploadOrder,
    /// Loggers that died.
    Silent,
    /// Clocks that run ahead.
    ClockAhead,
    /// Clocks that were reset.
    ClockReset,
    /// Probes that lost contact.
    SensorLost,
    /// Single readings that are fault codes.
    Glitch,
    /// The instant within an interval at which a device measures.
    Phase,
    /// Where a device stands in its life: boots, sequence numbers.
    Boot,
    /// What happens to a record on its way: delay, repetition.
    Way,
    /// First half of an event id.
    IdHigh,
    /// Second half of an event id.
    IdLow,
    /// Waiting times between attempts.
    Backoff,
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One draw, and the head of a sequence of further ones.
#[derive(Clone, Copy, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The draw for a question: `subject` is who ([`subject`]), `moment` is when (any unit; 0 for what never changes).
    pub const fn of(seed: u64, subject: u64, moment: i64, purpose: Purpose) -> Self {
        let about = mix(seed ^ subject.wrapping_mul(GOLDEN)).wrapping_add(purpose as u64);
        Self(mix(about.wrapping_mul(GOLDEN) ^ (moment as u64)))
    }

    /// All 64 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Even over `[0, 1)`.
    pub fn unit(self) -> f64 {
        (self.0 >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0) // 53 bits
    }

    /// Even over `[low, high)`.
    pub fn between(self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    /// Even over the logarithms of `[low, high)`: short ones often, long ones seldom.
    pub fn log_between(self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.unit())
    }

    /// Even over `0..below`.
    pub fn below(self, below: u64) -> u64 {
        ((u128::from(self.0) * u128::from(below)) >> 64) as u64
    }

    /// True in `chance` of all cases.
    pub fn happens(self, chance: f64) -> bool {
        self.unit() < chance
    }

    /// The next draw of the sequence that begins here.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(mix(self.0.wrapping_add(GOLDEN)))
    }
}

/// The number by which chance knows somebody: FNV-1a of the code, so it depends on neither order nor size of the fleet.
pub fn subject(code: &str) -> u64 {
    code.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A smooth wave over time within −1 and 1: random at knots `period_ms` apart, eased between them.
pub fn smooth(seed: u64, subject: u64, purpose: Purpose, at_ms: i64, period_ms: i64) -> f64 {
    let knot = at_ms.div_euclid(period_ms);
    let part = at_ms.rem_euclid(period_ms) as f64 / period_ms as f64;
    let from = Draw::of(seed, subject, knot, purpose).between(-1.0, 1.0);
    let to = Draw::of(seed, subject, knot + 1, purpose).between(-1.0, 1.0);
    from + (to - from) * part * part * (3.0 - 2.0 * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_independent() {
        let mean = |purpose| (0..10_000).map(|m| Draw::of(1, 2, m, purpose).unit()).sum::<f64>() / 10_000.0;
        for purpose in [Purpose::Door, Purpose::Noise, Purpose::Way] {
            assert!((mean(purpose) - 0.5).abs() < 0.02, "{purpose:?}: {}", mean(purpose));
        }
        let both = (0..10_000)
            .filter(|m| Draw::of(1, 2, *m, Purpose::Door).happens(0.5) && Draw::of(1, 2, *m, Purpose::Noise).happens(0.5))
            .count();
        assert!((2_300..2_700).contains(&both), "{both}");
    }

    #[test]
    fn smooth_waves_have_no_jumps() {
        let wave = |minute: i64| smooth(1, 2, Purpose::Weather, minute * 60_000, 3_600_000);
        for minute in -600..600 {
            assert!((wave(minute + 1) - wave(minute)).abs() < 0.06, "{minute}");
        }
    }
}
