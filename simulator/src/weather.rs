//! The air around a refrigerator: by place, time of day and weather.
//!
//! Good enough to move duty cycles and warming in a credible way; not a climate model. Altitude is not in the master data, so
//! regencies differ by a seeded offset in its stead.

use crate::random::{Draw, Purpose, smooth};
use domain::time::{DAY_MS, EventTime, HOUR_MS, Zone};

/// The climate of one facility.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The facility, for [`Draw`].
    pub facility: u64,
    /// The province, for [`Draw`]: weather is shared in it.
    pub province: u64,
    /// Its time zone.
    pub zone: Zone,
    /// Mean temperature of the room, °C.
    mean: f64,
    /// Half the difference between afternoon and early morning, °C. Small at the coast, larger inland.
    half_swing: f64,
}

impl Place {
    /// The climate at `latitude` degrees of a facility in `regency` and `province` (numbers for [`Draw`]).
    pub fn new(seed: u64, facility: u64, regency: u64, province: u64, latitude: f64, zone: Zone) -> Self {
        // Towns in the hills are up to 5 °C cooler; most lie low.
        let hills = Draw::of(seed, regency, 0, Purpose::Place).unit().powi(3) * 5.0;
        let own = Draw::of(seed, facility, 0, Purpose::Place);
        Self {
            facility,
            province,
            zone,
            mean: 27.8 - 0.06 * latitude.abs() - hills + own.between(-0.6, 0.9),
            half_swing: own.next().between(2.0, 4.2),
        }
    }

    /// Room temperature at an instant, °C.
    pub fn ambient(&self, seed: u64, at: EventTime) -> f64 {
        let weather = smooth(seed, self.province, Purpose::Weather, at.ms(), 9 * HOUR_MS);
        let room = smooth(seed, self.facility, Purpose::Room, at.ms(), 3 * HOUR_MS);
        self.mean + self.half_swing * diurnal(self.local_ms(at)) + 1.1 * weather + 0.4 * room
    }

    /// Milliseconds since local midnight.
    pub fn local_ms(&self, at: EventTime) -> i64 {
        (at.ms() + self.zone.offset_ms()).rem_euclid(DAY_MS)
    }

    /// Whole local days since the epoch.
    pub fn local_day(&self, at: EventTime) -> i64 {
        (at.ms() + self.zone.offset_ms()).div_euclid(DAY_MS)
    }
}

/// The course of a day within −1 and 1: coldest at 05:30, warmest at 13:30 local time, so it warms faster than it cools.
fn diurnal(local_ms: i64) -> f64 {
    let hour = local_ms as f64 / HOUR_MS as f64;
    // Half a wave from coldest to warmest in 8 hours, half a wave back in 16.
    let since_coldest = (hour - 5.5).rem_euclid(24.0);
    let part = if since_coldest < 8.0 { since_coldest / 8.0 } else { 1.0 - (since_coldest - 8.0) / 16.0 };
    // Smoothstep instead of a cosine: same shape within 1 %, a tenth of the cost.
    2.0 * part * part * (3.0 - 2.0 * part) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::time::MINUTE_MS;

    #[test]
    fn afternoons_are_warmer_than_mornings() {
        let place = Place::new(1, 2, 3, 4, -6.9, Zone::Wib);
        // 2026-11-20 is day 20 777; WIB is UTC+7.
        let local = |hour: i64| EventTime::from_ms(20_777 * DAY_MS + (hour - 7) * HOUR_MS);
        assert!(place.ambient(1, local(14)) > place.ambient(1, local(5)) + 2.0);
        for quarter in 0..7 * 96 {
            let at = EventTime::from_ms(20_777 * DAY_MS + quarter * 15 * MINUTE_MS);
            assert!((15.0..38.0).contains(&place.ambient(1, at)), "{}", place.ambient(1, at));
        }
    }

    #[test]
    fn a_day_closes_without_a_jump() {
        for minute in 0..1_440 {
            let step = diurnal((minute + 1) % 1_440 * MINUTE_MS) - diurnal(minute * MINUTE_MS);
            assert!(step.abs() < 0.01, "{minute}: {step}");
        }
    }
}
