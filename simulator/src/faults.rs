//! What goes wrong, when and for how long: spells drawn from the seed, one calendar per kind of trouble.
//!
//! The time of a subject is cut into epochs of a fixed length, each with its own draw: at most one spell of a kind per epoch,
//! over before the epoch is, aftermath included. So the troubles around any instant are found by looking at one epoch, without
//! a history. The rates are ours, set so that the country looks credible: about 98 % of the refrigerators that report are in
//! range, 1–2 % too warm, 0.1–0.3 % too cold, and 3 % are without word.

use crate::random::{Draw, Purpose};
use domain::time::{DAY_MS, EventTime, HOUR_MS};

/// A stretch of time; its end lies outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spell {
    /// First instant.
    pub start: EventTime,
    /// First instant after it.
    pub end: EventTime,
}

impl Spell {
    /// Whether `at` lies in it.
    pub fn covers(&self, at: EventTime) -> bool {
        self.start <= at && at < self.end
    }
}

/// Whether an optional spell covers an instant.
pub fn covers(spell: Option<Spell>, at: EventTime) -> bool {
    spell.is_some_and(|s| s.covers(at))
}

/// How often a kind of trouble comes, and how long it stays.
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    purpose: Purpose,
    /// Length of an epoch.
    epoch_ms: i64,
    /// Chance of a spell in an epoch.
    chance: f64,
    /// Shortest and longest spell; short ones are more frequent (even over the logarithm).
    length_ms: (i64, i64),
    /// Time after a spell in which it still shows, kept free at the end of the epoch.
    aftermath_ms: i64,
}

/// The district's supply fails: 0.5 to 10 hours.
pub const BLACKOUT: Calendar = Calendar {
    purpose: Purpose::Blackout,
    epoch_ms: DAY_MS,
    chance: 0.14,
    length_ms: (HOUR_MS / 2, 10 * HOUR_MS),
    aftermath_ms: 9 * HOUR_MS,
};
/// A refrigerant leak, until repaired: 1 to 3 days.
pub const LEAK: Calendar = Calendar {
    purpose: Purpose::Leak,
    epoch_ms: 7 * DAY_MS,
    chance: 0.026,
    length_ms: (DAY_MS, 3 * DAY_MS),
    aftermath_ms: 9 * HOUR_MS,
};
/// The thermostat is set too cold until somebody notices: 2 to 6 days.
pub const TOO_COLD: Calendar = Calendar {
    purpose: Purpose::TooCold,
    epoch_ms: 7 * DAY_MS,
    chance: 0.0045,
    length_ms: (2 * DAY_MS, 6 * DAY_MS),
    aftermath_ms: 16 * HOUR_MS,
};
/// The facility's gateway has no network: 1 to 24 hours, then it sends what it kept.
pub const OFFLINE: Calendar = Calendar {
    purpose: Purpose::Offline,
    epoch_ms: 4 * DAY_MS,
    chance: 0.32,
    length_ms: (HOUR_MS, DAY_MS),
    aftermath_ms: HOUR_MS,
};
/// The logger is dead and keeps nothing: 10 to 28 days.
pub const SILENT: Calendar = Calendar {
    purpose: Purpose::Silent,
    epoch_ms: 30 * DAY_MS,
    chance: 0.014,
    length_ms: (10 * DAY_MS, 28 * DAY_MS),
    aftermath_ms: 0,
};
/// The clock runs 6 minutes to 10 hours ahead: half a day to 3 days.
pub const CLOCK_AHEAD: Calendar = Calendar {
    purpose: Purpose::ClockAhead,
    epoch_ms: 7 * DAY_MS,
    chance: 0.003,
    length_ms: (DAY_MS / 2, 3 * DAY_MS),
    aftermath_ms: 0,
};
/// The clock restarted at 1970 or 2000: 2 to 24 hours.
pub const CLOCK_RESET: Calendar = Calendar {
    purpose: Purpose::ClockReset,
    epoch_ms: 7 * DAY_MS,
    chance: 0.005,
    length_ms: (2 * HOUR_MS, DAY_MS),
    aftermath_ms: 0,
};
/// The probe has no contact and reads −127: 1 to 24 hours.
pub const SENSOR_LOST: Calendar =
    Calendar { purpose: Purpose::SensorLost, epoch_ms: 7 * DAY_MS, chance: 0.008, length_ms: (HOUR_MS, DAY_MS), aftermath_ms: 0 };

/// What a calendar says around an instant.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The epoch's spell, if it has one: before, around or after the instant.
    pub spell: Option<Spell>,
    /// The draw behind it, for its further properties.
    pub draw: Draw,
    /// Where the epoch ends and another page begins.
    pub until: EventTime,
}

impl Calendar {
    /// The page for `at`; `factor` multiplies the chance (1 is the national mean).
    pub fn page(&self, seed: u64, subject: u64, factor: f64, at: EventTime) -> Page {
        // Epochs of different subjects begin at different times, or every trouble would begin after the same midnight.
        let shift = Draw::of(seed, subject, i64::MIN, self.purpose).below(self.epoch_ms as u64) as i64;
        let epoch = (at.ms() - shift).div_euclid(self.epoch_ms);
        let begins = epoch * self.epoch_ms + shift;
        let draw = Draw::of(seed, subject, epoch, self.purpose);
        let spell = draw.happens(self.chance * factor).then(|| {
            let length = draw.next().log_between(self.length_ms.0 as f64, self.length_ms.1 as f64) as i64;
            let room = (self.epoch_ms - self.aftermath_ms - length).max(1) as u64;
            let start = begins + draw.next().next().below(room) as i64;
            Spell { start: EventTime::from_ms(start), end: EventTime::from_ms(start + length) }
        });
        Page { spell, draw: draw.next().next().next(), until: EventTime::from_ms(begins + self.epoch_ms) }
    }
}

/// How much more often than the national mean supply and network fail, by the province's number (Kemendagri). Ours, not a
/// statistic: Java and Bali are well supplied, the east is not.
pub fn remoteness(province: u8) -> f64 {
    match province {
        31..=36 | 51 => 0.45, // Java, Bali
        53 => 1.9,            // East Nusa Tenggara
        81..=82 => 2.1,       // the Moluccas
        91..=97 => 2.3,       // Papua
        _ => 1.05,
    }
}

/// Who may be hit: the numbers for [`Draw`] of a device, its facility and its district, and how remote they are.
#[derive(Clone, Copy, Debug)]
pub struct Exposure {
    /// The device.
    pub device: u64,
    /// Its facility, which shares one gateway.
    pub facility: u64,
    /// Its district, which shares the supply.
    pub district: u64,
    /// See [`remoteness`].
    pub remoteness: f64,
}

/// How a clock lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFault {
    /// It runs ahead by this many milliseconds.
    Ahead(i64),
    /// It counts from this instant on since the fault began.
    Reset(EventTime),
}

/// All that befalls one device around one instant.
#[derive(Clone, Copy, Debug)]
pub struct Troubles {
    /// No mains.
    pub blackout: Option<Spell>,
    /// Refrigerant leak.
    pub leak: Option<Spell>,
    /// Thermostat set too cold.
    pub too_cold: Option<Spell>,
    /// No network; readings are kept.
    pub offline: Option<Spell>,
    /// Dead; readings are lost.
    pub silent: Option<Spell>,
    /// The probe has no contact.
    pub sensor_lost: Option<Spell>,
    /// The clock lies.
    pub clock: Option<(Spell, ClockFault)>,
    /// From when on all this must be looked up again.
    pub until: EventTime,
}

impl Troubles {
    /// The troubles of a device around `at`.
    pub fn around(seed: u64, who: &Exposure, at: EventTime) -> Self {
        let blackout = BLACKOUT.page(seed, who.district, who.remoteness, at);
        let offline = OFFLINE.page(seed, who.facility, who.remoteness.sqrt(), at);
        let own = |calendar: Calendar| calendar.page(seed, who.device, 1.0, at);
        let (leak, too_cold, silent, sensor_lost) = (own(LEAK), own(TOO_COLD), own(SILENT), own(SENSOR_LOST));
        let (ahead, reset) = (own(CLOCK_AHEAD), own(CLOCK_RESET));
        let pages = [blackout, offline, leak, too_cold, silent, sensor_lost, ahead, reset];
        let clock = match (reset.spell, ahead.spell) {
            (Some(spell), _) => {
                // 1970-01-01 or 2000-01-01: where clocks without a battery start.
                let from = if reset.draw.happens(0.5) { 0 } else { 946_684_800_000 };
                Some((spell, ClockFault::Reset(EventTime::from_ms(from))))
            }
            (None, Some(spell)) => {
                Some((spell, ClockFault::Ahead(ahead.draw.log_between(6.0 * 60_000.0, 10.0 * 3_600_000.0) as i64)))
            }
            (None, None) => None,
        };
        Self {
            blackout: blackout.spell,
            leak: leak.spell,
            too_cold: too_cold.spell,
            offline: offline.spell,
            silent: silent.spell,
            sensor_lost: sensor_lost.spell,
            clock,
            until: pages.iter().map(|page| page.until).min().expect("the list is not empty"),
        }
    }

    /// No trouble at all, ever: for tests and for what is not a refrigerator.
    pub const NONE: Self = Self {
        blackout: None,
        leak: None,
        too_cold: None,
        offline: None,
        silent: None,
        sensor_lost: None,
        clock: None,
        until: EventTime::from_ms(i64::MAX),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_stay_within_their_epoch_and_limits() {
        for calendar in [BLACKOUT, LEAK, TOO_COLD, OFFLINE, SILENT, CLOCK_AHEAD, CLOCK_RESET, SENSOR_LOST] {
            for subject in 0..50 {
                let at = EventTime::from_ms(1_790_000_000_000);
                let page = calendar.page(7, subject, 1_000.0, at);
                let spell = page.spell.expect("certain at that factor");
                let length = spell.end.ms() - spell.start.ms();
                assert!((calendar.length_ms.0..=calendar.length_ms.1).contains(&length), "{calendar:?}");
                assert!(page.until > at && page.until.ms() - calendar.epoch_ms <= at.ms());
                assert!(spell.start.ms() >= page.until.ms() - calendar.epoch_ms);
                assert!(spell.end.ms() + calendar.aftermath_ms <= page.until.ms(), "{calendar:?}");
                // Any other instant of the epoch sees the same spell.
                assert_eq!(calendar.page(7, subject, 1_000.0, page.until.plus_ms(-1)).spell, page.spell);
            }
        }
    }

    #[test]
    fn a_blackout_hits_the_whole_district() {
        let at = EventTime::from_ms(1_790_000_000_000);
        let who = |device| Exposure { device, facility: device / 2, district: 9, remoteness: 10.0 };
        let first = Troubles::around(3, &who(1), at).blackout;
        assert!(first.is_some());
        assert!((2..40).all(|device| Troubles::around(3, &who(device), at).blackout == first));
    }
}
