//! Rules of the cold chain itself: storage ranges and what a temperature means in one.

use crate::milli::Milli;
use crate::planted;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};

/// The temperatures in which an equipment has to stay, both ends inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Lowest allowed temperature.
    pub min: Milli,
    /// Highest allowed temperature.
    pub max: Milli,
}

impl Range {
    /// Refrigerators and cold rooms: 2 to 8 °C.
    pub const FRIDGE: Range = Range { min: Milli::whole(2), max: Milli::whole(8) };
    /// Freezers of regency stores and above: −25 to −15 °C.
    pub const FREEZER: Range = Range { min: Milli::whole(-25), max: Milli::whole(-15) };

    /// What `temperature` means for vaccine stored in this range. Freezing is at or below 0 °C where nothing may freeze.
    pub fn condition(self, temperature: Milli) -> Condition {
        if temperature > self.max || (planted("limit-counts-as-outside") && temperature == self.max) {
            Condition::TooWarm
        } else if temperature >= self.min {
            Condition::Fine
        } else if self.min > Milli(0) && temperature <= Milli(0) && !planted("zero-is-not-freezing") {
            Condition::Freezing
        } else {
            Condition::TooCold
        }
    }

    /// How far `temperature` lies outside, in thousandths of a degree; 0 inside.
    pub fn distance(self, temperature: Milli) -> i32 {
        (temperature.0 - self.max.0).max(self.min.0 - temperature.0).max(0)
    }

    /// Whether `one` is worse for vaccine than `other`: farther outside, or as far and colder, as frost spoils at once.
    pub fn is_worse(self, one: Milli, other: Milli) -> bool {
        (self.distance(one), other) > (self.distance(other), one)
    }
}

/// How a cold-chain equipment stands now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// In range, with fresh data.
    Fine,
    /// Above its range.
    TooWarm,
    /// Below its range, above freezing (or a freezer below its range).
    TooCold,
    /// At or below 0 °C where nothing may freeze.
    Freezing,
    /// No reading in the last hour, or never one. Never shown as fine.
    NoWord,
}

impl Condition {
    /// Every condition, in the order used for counting.
    pub const ALL: [Condition; 5] =
        [Condition::Fine, Condition::TooWarm, Condition::TooCold, Condition::Freezing, Condition::NoWord];

    /// Whether the newest reading lies outside the range.
    pub const fn is_excursion(self) -> bool {
        matches!(self, Condition::TooWarm | Condition::TooCold | Condition::Freezing)
    }

    /// Its place in a list that begins with the worst: freezing, other excursions, no word, fine.
    pub const fn severity(self) -> u8 {
        match self {
            Condition::Freezing => 0,
            Condition::TooWarm => 1,
            Condition::TooCold => 2,
            Condition::NoWord => 3,
            Condition::Fine => 4,
        }
    }
}

/// An unbroken time outside the range, as of its newest reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excursion {
    /// Time of the first reading outside.
    pub since: EventTime,
    /// The reading farthest outside so far; of two as far, the colder one.
    pub peak: Milli,
}

impl Excursion {
    /// Both as one, in whichever order.
    #[must_use]
    pub fn with(self, other: Excursion, range: Range) -> Excursion {
        let since = if planted("excursion-begins-anew") { self.since.max(other.since) } else { self.since.min(other.since) };
        Excursion { since, peak: if range.is_worse(other.peak, self.peak) { other.peak } else { self.peak } }
    }
}

/// A vaccine of the national programme and how it has to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vaccine {
    /// As printed: `DPT-HB-Hib`.
    pub name: &'static str,
    /// Doses in a vial, where the programme's source names it.
    pub doses_per_vial: Option<u16>,
    /// Range at province and regency stores.
    pub at_stores: Range,
    /// Range at puskesmas.
    pub at_facilities: Range,
    /// Range at a village midwife; `None` where it may stay at room temperature.
    pub at_midwives: Option<Range>,
    /// Spoilt by freezing.
    pub freeze_sensitive: bool,
    /// Spoilt quickly by heat.
    pub heat_sensitive: bool,
}

const fn vaccine(name: &'static str, doses: Option<u16>, freeze: bool, heat: bool) -> Vaccine {
    Vaccine {
        name,
        doses_per_vial: doses,
        at_stores: Range::FRIDGE,
        at_facilities: Range::FRIDGE,
        at_midwives: Some(Range::FRIDGE),
        freeze_sensitive: freeze,
        heat_sensitive: heat,
    }
}

/// The vaccines of the programme with their ranges and sensitivities (domain rules 3.5 and 3.10). Of what these do not name, ours are:
/// JE spoils by heat, as other live vaccines do.
pub const VACCINES: [Vaccine; 13] = [
    vaccine("BCG", Some(20), false, true),
    Vaccine { at_stores: Range::FREEZER, ..vaccine("bOPV", Some(10), false, true) },
    vaccine("IPV", Some(5), true, false),
    vaccine("DPT-HB-Hib", Some(5), true, false),
    Vaccine { at_midwives: None, ..vaccine("HB0", None, true, false) },
    vaccine("MR", Some(10), false, true),
    vaccine("PCV", Some(4), true, false),
    vaccine("Rotavirus", None, true, false),
    vaccine("HPV", None, true, false),
    vaccine("DT", None, true, false),
    vaccine("Td", None, true, false),
    vaccine("JE", None, false, true),
    vaccine("Hexa", None, true, false),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: Range, milli: i32, expected: Condition) {
        assert_eq!(range.condition(Milli(milli)), expected, "{milli}");
    }

    #[test]
    fn conditions_at_the_edges() {
        check(Range::FRIDGE, 8_001, Condition::TooWarm);
        check(Range::FRIDGE, 8_000, Condition::Fine);
        check(Range::FRIDGE, 2_000, Condition::Fine);
        check(Range::FRIDGE, 1_999, Condition::TooCold);
        check(Range::FRIDGE, 1, Condition::TooCold);
        check(Range::FRIDGE, 0, Condition::Freezing); // a valid reading, and a valid threshold
        check(Range::FREEZER, -15_000, Condition::Fine);
        check(Range::FREEZER, -14_999, Condition::TooWarm);
        check(Range::FREEZER, -25_001, Condition::TooCold);
    }

    #[test]
    fn an_excursion_keeps_its_start_and_its_peak() {
        let of = |minute: i64, milli| Excursion { since: EventTime::from_ms(minute * 60_000), peak: Milli(milli) };
        let parts = [of(5, 8_500), of(10, 9_400), of(15, 8_800), of(20, 600)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
            let whole = order.map(|at: usize| parts[at]).into_iter().reduce(|a, b| a.with(b, Range::FRIDGE));
            assert_eq!(whole, Some(of(5, 600)), "{order:?}"); // 1.4 degrees too cold, and as many too warm
        }
    }

    /// One vaccine against the rules, in words: its doses; its ranges at stores, puskesmas and midwives; what spoils it.
    #[track_caller]
    fn check_vaccine(name: &str, doses: &str, ranges: &str, spoilt_by: &str) {
        let found: Vec<&Vaccine> = VACCINES.iter().filter(|vaccine| vaccine.name == name).collect();
        let [vaccine] = found[..] else { panic!("{name}: {found:?}") };
        let range = |range: Range| format!("{}..{}", range.min, range.max);
        let places = [Some(vaccine.at_stores), Some(vaccine.at_facilities), vaccine.at_midwives];
        let shown = places.map(|place| place.map_or("room".to_owned(), range)).join(" ");
        let spoilers = [(vaccine.freeze_sensitive, "frost"), (vaccine.heat_sensitive, "heat")];
        let shown_spoilers: Vec<&str> = spoilers.iter().filter(|(is_one, _)| *is_one).map(|(_, name)| *name).collect();
        assert_eq!(vaccine.doses_per_vial.map_or("?".to_owned(), |n| n.to_string()), doses, "{name}");
        assert_eq!(shown, ranges, "{name}");
        assert_eq!(shown_spoilers.join(" "), spoilt_by, "{name}");
    }

    /// Domain rules 3.10 (names, doses, ranges) and 3.5 (what spoils them), line by line.
    #[test]
    fn vaccines_of_the_programme() {
        check_vaccine("BCG", "20", "2..8 2..8 2..8", "heat");
        check_vaccine("bOPV", "10", "-25..-15 2..8 2..8", "heat"); // polio is frozen at province and regency alone
        check_vaccine("IPV", "5", "2..8 2..8 2..8", "frost");
        check_vaccine("DPT-HB-Hib", "5", "2..8 2..8 2..8", "frost");
        check_vaccine("HB0", "?", "2..8 2..8 room", "frost"); // the only one that a midwife may keep uncooled
        check_vaccine("MR", "10", "2..8 2..8 2..8", "heat");
        check_vaccine("PCV", "4", "2..8 2..8 2..8", "frost"); // unverified there
        check_vaccine("Rotavirus", "?", "2..8 2..8 2..8", "frost"); // unverified there, of the liquid one
        check_vaccine("HPV", "?", "2..8 2..8 2..8", "frost"); // unverified there
        check_vaccine("DT", "?", "2..8 2..8 2..8", "frost");
        check_vaccine("Td", "?", "2..8 2..8 2..8", "frost");
        check_vaccine("JE", "?", "2..8 2..8 2..8", "heat"); // not named there: ours
        check_vaccine("Hexa", "?", "2..8 2..8 2..8", "frost"); // unverified there
        assert_eq!(VACCINES.len(), 13, "and no others");
    }
}
