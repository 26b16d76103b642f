//! The temperature inside a refrigerator, freezer or cold room as a function of the instant.
//!
//! A closed form instead of a simulation step by step: the compressor's saw tooth around the thermostat, plus warmth that came
//! in by the door, plus the share of the way to room temperature that a blackout or a leak has let it go. So nothing is carried
//! from reading to reading (`random` says why that matters).

use crate::faults::{Spell, Troubles, covers};
use crate::random::{Draw, Purpose};
use crate::weather::Place;
use domain::coldchain::Range;
use domain::time::{EventTime, HOUR_MS, MINUTE_MS};

/// What one equipment is like.
#[derive(Clone, Copy, Debug)]
pub struct Fridge {
    /// Mean inside at 27 °C room temperature, °C.
    set_point: f64,
    /// Half the hysteresis of the thermostat, °C.
    half_swing: f64,
    /// From one start of the compressor to the next.
    period_ms: f64,
    /// Time constant of warming without power: 6 to 40 hours by model; ice-lined ones hold longest.
    hold_ms: f64,
    /// Time constant of warming while refrigerant leaks away.
    leak_ms: f64,
    /// Time constant of cooling down again.
    recover_ms: f64,
    /// The middle of what it is set to when it is set too cold, °C.
    cold_point: f64,
    /// How much one opening of the door warms the air, °C.
    door_warmth: f64,
}

/// Why the inside is where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The door.
    Door,
    /// No mains.
    Blackout,
    /// Refrigerant leak.
    Leak,
    /// Thermostat.
    SetTooCold,
}

impl Cause {
    /// The name in the ground truth.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Door => "door",
            Cause::Blackout => "blackout",
            Cause::Leak => "refrigerant_leak",
            Cause::SetTooCold => "set_too_cold",
        }
    }
}

/// Doors are opened in slots of this length.
const DOOR_SLOT_MS: i64 = 5 * MINUTE_MS;
/// What is left of an opening's warmth one slot later: time constant 12 minutes.
const DOOR_DECAY: f64 = 0.659_240_630_202;

impl Fridge {
    /// The equipment known as `device` to [`Draw`], which has to stay in `range`.
    pub fn new(seed: u64, device: u64, range: Range) -> Self {
        let draw = Draw::of(seed, device, 0, Purpose::Fridge);
        let (d1, d2, d3) = (draw.next(), draw.next().next(), draw.next().next().next());
        let (low, high) = (range.min.as_f64(), range.max.as_f64());
        // In a range of 6 °C: 4.0 to 5.0 with half a swing of 0.35 to 0.8.
        let width = high - low;
        Self {
            set_point: low + width * draw.between(0.333, 0.5),
            half_swing: width * d1.between(0.06, 0.13),
            period_ms: d2.between(32.0, 75.0) * MINUTE_MS as f64,
            hold_ms: d3.log_between(6.0, 40.0) * HOUR_MS as f64,
            leak_ms: d3.next().between(28.0, 60.0) * HOUR_MS as f64,
            recover_ms: d2.next().between(0.8, 1.6) * HOUR_MS as f64,
            cold_point: low - width * d1.next().between(0.14, 0.24),
            door_warmth: d1.next().next().between(0.25, 0.8),
        }
    }

    /// Temperature inside at `at`, °C, and its main cause if it lies outside the range.
    pub fn inside(&self, seed: u64, device: u64, place: &Place, troubles: &Troubles, at: EventTime) -> (f64, Cause) {
        let ambient = place.ambient(seed, at);
        let dark = covers(troubles.blackout, at);
        // Without power the compressor stands still where the blackout caught it.
        let compressor_at = if dark { troubles.blackout.map_or(at, |spell| spell.start) } else { at };
        let saw = self.half_swing * saw_tooth(compressor_at.ms() as f64 / self.period_ms, duty(ambient));
        // The new setting is reached within hours, and left again as slowly.
        let cold = warming(troubles.too_cold, at, self.recover_ms, 2.0 * self.recover_ms);
        let usual = self.set_point + 0.04 * (ambient - 27.0);
        let mean = usual + (self.cold_point + 0.33 * (ambient - 27.0) - usual) * cold;
        let blackout = warming(troubles.blackout, at, self.hold_ms, self.recover_ms);
        let leak = warming(troubles.leak, at, self.leak_ms, self.recover_ms);
        let share = 1.0 - (1.0 - blackout) * (1.0 - leak);
        // A compressor that cannot keep up does not cycle.
        let inside = mean + saw * (1.0 - leak).powi(2) + (ambient - mean).max(0.0) * share;
        let door = if dark { 0.0 } else { self.door(seed, device, place, at) };
        let cause = if cold > 0.02 && cold > share {
            Cause::SetTooCold
        } else if share < 0.02 {
            Cause::Door
        } else if blackout >= leak {
            Cause::Blackout
        } else {
            Cause::Leak
        };
        (inside + door, cause)
    }

    /// Warmth that came in by the door within the last 40 minutes, °C.
    ///
    /// Doors are opened in working hours, 08:00 to 15:00 local time, Monday to Saturday, and more on posyandu days.
    fn door(&self, seed: u64, device: u64, place: &Place, at: EventTime) -> f64 {
        let local = place.local_ms(at);
        if !(8 * HOUR_MS..15 * HOUR_MS + 40 * MINUTE_MS).contains(&local) {
            return 0.0;
        }
        let day = place.local_day(at);
        let weekday = (day + 3).rem_euclid(7); // 0 = Monday
        if weekday == 6 {
            return 0.0;
        }
        // Two fixed weekdays of each facility are posyandu days.
        let pick = Draw::of(seed, place.facility, 1, Purpose::Place);
        let busy = weekday == pick.below(6) as i64 || weekday == pick.next().below(6) as i64;
        let chance = if busy { 0.22 } else { 0.07 };
        let first = local / DOOR_SLOT_MS;
        let mut warmth = 0.0;
        let mut left = 1.0 - (local % DOOR_SLOT_MS) as f64 / DOOR_SLOT_MS as f64 * (1.0 - DOOR_DECAY);
        for slot in (first - 7..=first).rev() {
            if (8 * 12..15 * 12).contains(&slot) {
                let draw = Draw::of(seed, device, day * 288 + slot, Purpose::Door);
                if draw.happens(chance) {
                    warmth += left * self.door_warmth * draw.next().between(0.4, 1.2);
                }
            }
            left *= DOOR_DECAY;
        }
        // Warm air mixes; it does not add up without end.
        1.4 * warmth / (1.4 + warmth)
    }
}

/// Share of the time that the compressor runs.
fn duty(ambient: f64) -> f64 {
    (0.38 + 0.02 * (ambient - 27.0)).clamp(0.2, 0.75)
}

/// Saw tooth within −1 and 1: falls while the compressor runs (the first `duty` of each period), rises after.
fn saw_tooth(periods: f64, duty: f64) -> f64 {
    let part = periods - periods.floor();
    if part < duty { 1.0 - 2.0 * part / duty } else { 2.0 * (part - duty) / (1.0 - duty) - 1.0 }
}

/// Share of the way from inside to room temperature: grows during `spell` with time constant `warm_ms`, shrinks after it with
/// `cool_ms`.
fn warming(spell: Option<Spell>, at: EventTime, warm_ms: f64, cool_ms: f64) -> f64 {
    let Some(spell) = spell.filter(|s| s.start <= at) else {
        return 0.0;
    };
    let until = if at < spell.end { at } else { spell.end };
    let warmed = 1.0 - (-((until.ms() - spell.start.ms()) as f64) / warm_ms).exp();
    if at < spell.end { warmed } else { warmed * (-((at.ms() - spell.end.ms()) as f64) / cool_ms).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::time::{DAY_MS, Zone};

    const MIDNIGHT: i64 = 20_777 * DAY_MS - 7 * HOUR_MS; // Friday 2026-11-20, 00:00 WIB

    fn place(facility: u64) -> Place {
        Place::new(1, facility, 3, 32, -6.9, Zone::Wib)
    }

    fn minutes(minute: i64) -> EventTime {
        EventTime::from_ms(MIDNIGHT + minute * MINUTE_MS)
    }

    #[test]
    fn a_healthy_fridge_stays_in_range_for_a_week() {
        for device in 0..400 {
            for range in [Range::FRIDGE, Range::FREEZER] {
                let fridge = Fridge::new(1, device, range);
                for slot in 0..7 * 288 {
                    let (inside, _) = fridge.inside(1, device, &place(device), &Troubles::NONE, minutes(slot * 5));
                    let (low, high) = (range.min.as_f64(), range.max.as_f64());
                    assert!((low + 0.3..high).contains(&inside), "device {device}, slot {slot}: {inside}");
                }
            }
        }
    }

    #[test]
    fn a_blackout_warms_it_and_power_cools_it_again() {
        for device in 0..200 {
            let fridge = Fridge::new(1, device, Range::FRIDGE);
            let spell = Spell { start: minutes(60), end: minutes(60 + 600) };
            let troubles = Troubles { blackout: Some(spell), ..Troubles::NONE };
            let inside = |minute| fridge.inside(1, device, &place(device), &troubles, minutes(minute)).0;
            let crossed = (60..660).find(|minute| inside(*minute) > 8.0);
            // By the model: 8 °C is 15 to 20 % of the way, 0.8 to 8 hours at time constants of 6 to 40 hours; the longest
            // holders do not cross at all.
            assert!(crossed.is_none_or(|minute| minute > 60 + 40), "device {device}: {crossed:?}");
            assert!(crossed.is_some() || fridge.hold_ms > 25.0 * HOUR_MS as f64, "device {device}");
            assert!(inside(659) > inside(90) + 1.5, "device {device}");
            assert!(inside(660 + 9 * 60) < 8.0, "device {device}: {}", inside(660 + 9 * 60));
        }
    }

    #[test]
    fn a_leak_drifts_over_hours() {
        let fridge = Fridge::new(1, 5, Range::FRIDGE);
        let troubles = Troubles { leak: Some(Spell { start: minutes(0), end: minutes(3 * 1_440) }), ..Troubles::NONE };
        let inside = |hour: i64| fridge.inside(1, 5, &place(5), &troubles, minutes(hour * 60)).0;
        assert!(inside(2) < 8.0 && inside(24) > 8.0 && inside(48) > inside(24));
    }

    #[test]
    fn set_too_cold_freezes_at_night() {
        let frozen = (0..100)
            .filter(|device| {
                let fridge = Fridge::new(1, *device, Range::FRIDGE);
                let troubles = Troubles { too_cold: Some(Spell { start: minutes(0), end: minutes(2_880) }), ..Troubles::NONE };
                let inside = |minute| fridge.inside(1, *device, &place(*device), &troubles, minutes(minute)).0;
                (0..288).any(|slot| inside(slot * 5) <= 0.0)
            })
            .count();
        assert!((50..=100).contains(&frozen), "{frozen}");
    }
}
