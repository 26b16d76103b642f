//! Numbers, temperatures, times and lengths of time as people of a language read them.
//!
//! Every instant comes in as milliseconds since the Unix epoch, UTC, and is written in the zone of the place it belongs to.

use crate::words::Lang;
use domain::coldchain::Range;
use domain::milli::{Milli, div_round};
use domain::time::{DAY_MS, HOUR_MS, MINUTE_MS, Zone};
use std::fmt::Write;

/// No-break space, before °C and %.
pub const NBSP: char = '\u{a0}';
/// The minus of numbers.
pub const MINUS: char = '−';

/// A whole number with its groups of three: `14.371`.
pub fn int(lang: Lang, number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(lang.words().units.group);
        }
        text.push(digit);
    }
    text
}

/// `thousandths` with `places` decimals (0 to 3), rounded half away from zero: `98,4`, `−0,8`.
pub fn decimal(lang: Lang, thousandths: i64, places: u32) -> String {
    let places = places.min(3);
    let scaled = div_round(thousandths, 10i64.pow(3 - places));
    let unit = 10u64.pow(places);
    let mut text = String::new();
    if scaled < 0 {
        text.push(MINUS);
    }
    text.push_str(&int(lang, scaled.unsigned_abs() / unit));
    if places > 0 {
        let _ = write!(text, "{}{:0width$}", lang.words().units.decimal, scaled.unsigned_abs() % unit, width = places as usize);
    }
    text
}

/// A measured number with one decimal: records per second.
pub fn rate(lang: Lang, number: f32) -> String {
    decimal(lang, (f64::from(number) * 1_000.0) as i64, 1)
}

/// A temperature with one decimal and without its unit: `9,4`.
pub fn degrees(lang: Lang, temperature: Milli) -> String {
    decimal(lang, i64::from(temperature.0), 1)
}

/// A temperature with as many decimals as it takes to show on which side of `range` it lies: 8.04 is too warm, and `8,0` would not be.
pub fn degrees_of(lang: Lang, temperature: Milli, range: Range) -> String {
    let condition = range.condition(temperature);
    let rounded = |unit: i32| Milli(div_round(i64::from(temperature.0), i64::from(unit)) as i32 * unit);
    let places = if range.condition(rounded(100)) == condition {
        1
    } else if range.condition(rounded(10)) == condition {
        2
    } else {
        3
    };
    decimal(lang, i64::from(temperature.0), places)
}

/// A temperature as [`degrees_of`], with its unit.
pub fn celsius_of(lang: Lang, temperature: Milli, range: Range) -> String {
    format!("{}{NBSP}°C", degrees_of(lang, temperature, range))
}

/// A temperature: `9,4 °C`.
pub fn celsius(lang: Lang, temperature: Milli) -> String {
    format!("{}{NBSP}°C", degrees(lang, temperature))
}

/// A position in millionths of a degree, to about eleven metres: `6,8120° LS, 107,6172° BT`.
pub fn position(lang: Lang, latitude_e6: i32, longitude_e6: i32) -> String {
    let words = &lang.words().units;
    let degrees = |e6: i32, names: [&str; 2]| {
        let tenths_of_milli = (e6.unsigned_abs() + 50) / 100;
        let (whole, part) = (tenths_of_milli / 10_000, tenths_of_milli % 10_000);
        format!("{whole}{}{part:04}°{NBSP}{}", words.decimal, names[usize::from(e6 < 0)])
    };
    format!("{}, {}", degrees(latitude_e6, words.latitudes), degrees(longitude_e6, words.longitudes))
}

/// `part` of `whole` in thousandths, rounded towards the side that promises less: never 100 % while one is missing, never 0 % while
/// there is one. `None` of nothing.
pub fn share(part: u32, whole: u32) -> Option<u32> {
    if whole == 0 {
        return None;
    }
    let exact = div_round(i64::from(part) * 1_000, i64::from(whole)) as u32;
    Some(match exact {
        1_000 if part < whole => 999,
        0 if part > 0 => 1,
        share => share,
    })
}

/// A share in thousandths as percent without the sign: `98,4`; `–` for none.
pub fn percent_number(lang: Lang, share: Option<u32>) -> String {
    share.map_or_else(|| lang.words().general.none.to_owned(), |share| decimal(lang, i64::from(share) * 100, 1))
}

/// A share in thousandths as percent: `98,4 %`; `–` for none.
pub fn percent(lang: Lang, share: Option<u32>) -> String {
    match share {
        Some(_) => format!("{}{NBSP}%", percent_number(lang, share)),
        None => lang.words().general.none.to_owned(),
    }
}

/// A length of time of at least a minute: `47 mnt`, `3 j 10 m`, `6 hari`.
pub fn length(lang: Lang, ms: i64) -> String {
    let words = &lang.words().units;
    let minutes = ms.max(0) / MINUTE_MS;
    match minutes {
        0..60 => format!("{minutes}{NBSP}{}", words.minutes),
        60..2_880 if minutes % 60 == 0 => format!("{}{NBSP}{}", minutes / 60, words.hours),
        60..2_880 => (words.hours_minutes)(&(minutes / 60).to_string(), &(minutes % 60).to_string()).replace(' ', "\u{a0}"),
        _ => (words.days)(&int(lang, (minutes / 1_440) as u64)).replace(' ', "\u{a0}"),
    }
}

/// A length of time that may be short: tenths of a second up to a minute, then as [`length`].
pub fn short_length(lang: Lang, ms: u64) -> String {
    if ms < MINUTE_MS as u64 {
        format!("{}{NBSP}{}", decimal(lang, ms as i64, 1), lang.words().units.seconds)
    } else {
        length(lang, ms as i64)
    }
}

/// An age: seconds up to a minute, then as [`length`]. What lies ahead is 0 seconds old.
pub fn age(lang: Lang, ms: i64) -> String {
    if ms < MINUTE_MS { format!("{}{NBSP}{}", ms.max(0) / 1_000, lang.words().units.seconds) } else { length(lang, ms) }
}

/// A time of day without its zone: `14.05`.
pub fn time(lang: Lang, ms: i64, zone: Zone) -> String {
    let civil = zone.civil(ms);
    format!("{:02}{}{:02}", civil.hour, lang.words().units.clock, civil.minute)
}

/// A time of day: `14.05 WIB`.
pub fn clock(lang: Lang, ms: i64, zone: Zone) -> String {
    format!("{}{NBSP}{}", time(lang, ms, zone), zone.name())
}

/// A date: `20 Nov 2026`.
pub fn date(lang: Lang, ms: i64, zone: Zone) -> String {
    let civil = zone.civil(ms);
    format!("{} {} {}", civil.day, lang.words().units.months[civil.month as usize - 1], civil.year)
}

/// A date without its year: `20 Nov`.
pub fn day(lang: Lang, ms: i64, zone: Zone) -> String {
    let civil = zone.civil(ms);
    format!("{} {}", civil.day, lang.words().units.months[civil.month as usize - 1])
}

/// A date with its day of the week: `Jumat, 20 Nov 2026`.
pub fn long_date(lang: Lang, ms: i64, zone: Zone) -> String {
    format!("{}, {}", lang.words().units.weekdays[zone.civil(ms).weekday as usize], date(lang, ms, zone))
}

/// A date and time: `20 Nov 2026, 14.05 WIB`.
pub fn date_time(lang: Lang, ms: i64, zone: Zone) -> String {
    format!("{}, {}", date(lang, ms, zone), clock(lang, ms, zone))
}

/// A moment as seen from `now`: the time of day on the same local day, else the date before it: `19 Nov, 23.40 WIB`.
pub fn moment(lang: Lang, ms: i64, zone: Zone, now: i64) -> String {
    format!("{}{NBSP}{}", moment_in_column(lang, ms, zone, now), zone.name())
}

/// As [`moment`], without the zone, which the head of the column names: `19 Nov, 23.40`.
pub fn moment_in_column(lang: Lang, ms: i64, zone: Zone, now: i64) -> String {
    let day_of = |ms: i64| (ms + zone.offset_ms()).div_euclid(DAY_MS);
    let time = time(lang, ms, zone);
    if day_of(ms) == day_of(now) { time } else { format!("{}, {time}", day(lang, ms, zone)) }
}

/// A date and time in UTC, for hover and for those who compare logs: `2026-11-20 07:05:00 UTC`.
pub fn utc(ms: i64) -> String {
    let c = domain::time::Civil::from_ms(ms);
    format!("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", c.year, c.month, c.day, c.hour, c.minute, c.second)
}

/// For the `datetime` attribute: RFC 3339 with the zone's offset.
pub fn datetime_attribute(ms: i64, zone: Zone) -> String {
    let c = zone.civil(ms);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}+{:02}:00",
        c.year,
        c.month,
        c.day,
        c.hour,
        c.minute,
        c.second,
        zone.offset_ms() / HOUR_MS
    )
}

/// The zone of a place, by the province its code starts with (`32.17`, `P321705-1`, `P321705-1-F1`); every province lies in one.
/// The country and what is unassigned are told in Western time.
pub fn zone_of(code: &str) -> Zone {
    let digits = code.trim_start_matches(|c: char| c.is_ascii_uppercase());
    match digits.get(..2) {
        Some("51" | "52" | "53" | "63" | "64" | "65" | "71" | "72" | "73" | "74" | "75" | "76") => Zone::Wita,
        Some("81" | "82" | "91" | "92" | "93" | "94" | "95" | "96" | "97") => Zone::Wit,
        _ => Zone::Wib,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(int(Lang::Id, 0u32), "0");
        assert_eq!(int(Lang::Id, 14_371u32), "14.371");
        assert_eq!(int(Lang::En, 4_000_000u64), "4,000,000");
        assert_eq!(decimal(Lang::Id, -840, 1), "−0,8");
        assert_eq!(decimal(Lang::Id, -40, 1), "0,0");
        assert_eq!(decimal(Lang::En, 1_234_560, 1), "1,234.6");
        assert_eq!(celsius(Lang::Id, Milli(9_400)), "9,4\u{a0}°C");
    }

    #[test]
    fn a_rounded_temperature_stays_on_its_side() {
        for (milli, range, expected) in [
            (8_000, Range::FRIDGE, "8,0"),
            (8_040, Range::FRIDGE, "8,04"),
            (8_004, Range::FRIDGE, "8,004"),
            (9_040, Range::FRIDGE, "9,0"),
            (1_960, Range::FRIDGE, "1,96"),
            (40, Range::FRIDGE, "0,04"),
            (-40, Range::FRIDGE, "0,0"),
            (-14_980, Range::FREEZER, "−14,98"),
        ] {
            assert_eq!(degrees_of(Lang::Id, Milli(milli), range), expected);
        }
    }

    #[test]
    fn positions() {
        assert_eq!(position(Lang::Id, -6_812_000, 107_617_249), "6,8120°\u{a0}LS, 107,6172°\u{a0}BT");
        assert_eq!(position(Lang::En, 5_000_049, 95_300_050), "5.0000°\u{a0}N, 95.3001°\u{a0}E");
    }

    #[test]
    fn shares_never_promise_more_than_there_is() {
        assert_eq!(share(14_611, 14_612), Some(999));
        assert_eq!(share(14_612, 14_612), Some(1_000));
        assert_eq!(share(1, 14_612), Some(1));
        assert_eq!(share(0, 14_612), Some(0));
        assert_eq!(share(0, 0), None);
        assert_eq!(percent(Lang::Id, share(984, 1_000)), "98,4\u{a0}%");
        assert_eq!(percent(Lang::Id, None), "–");
    }

    #[test]
    fn times() {
        let ms = domain::time::parse_rfc3339("2026-11-20T07:05:00Z").expect("valid");
        assert_eq!(clock(Lang::Id, ms, Zone::Wib), "14.05\u{a0}WIB");
        assert_eq!(clock(Lang::En, ms, Zone::Wit), "16:05\u{a0}WIT");
        assert_eq!(long_date(Lang::Id, ms, Zone::Wib), "Jumat, 20 Nov 2026");
        assert_eq!(moment(Lang::Id, ms, Zone::Wib, ms + DAY_MS), "20 Nov, 14.05\u{a0}WIB");
        assert_eq!(datetime_attribute(ms, Zone::Wita), "2026-11-20T15:05:00+08:00");
        assert_eq!(age(Lang::Id, 2_400), "2\u{a0}dtk");
        assert_eq!(short_length(Lang::Id, 831), "0,8\u{a0}dtk");
        assert_eq!(short_length(Lang::En, 60_000), "1\u{a0}min");
        assert_eq!(age(Lang::Id, 47 * MINUTE_MS), "47\u{a0}mnt");
        assert_eq!(length(Lang::Id, 190 * MINUTE_MS), "3\u{a0}j\u{a0}10\u{a0}m");
        assert_eq!(length(Lang::En, 6 * DAY_MS), "6\u{a0}days");
    }

    #[test]
    fn zones_of_places() {
        assert_eq!(zone_of("32.17"), Zone::Wib);
        assert_eq!(zone_of("P531005-1-F1"), Zone::Wita);
        assert_eq!(zone_of("97.02.01"), Zone::Wit);
        assert_eq!(zone_of("ID"), Zone::Wib);
    }
}
