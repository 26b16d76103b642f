//! What the page of a facility says.

use super::{Say1, Say2, Say3};

/// The page of a facility.
pub struct FacilityWords {
    /// The one thing to do: equipment, how it stands.
    pub what: Say2,
    /// After a length of time: above the upper limit.
    pub above: Say1,
    /// After a length of time: below the lower limit.
    pub below: Say1,
    /// In place of a length of time when it has just begun.
    pub just_now: &'static str,
    /// "since 13.18 WIB, peak 9,6 °C": when, and the peak in words.
    pub since_peak: Say2,
    /// What to do about a unit that is too warm.
    pub steps_warm: [&'static str; 3],
    /// What to do about a unit that is too cold.
    pub steps_cold: [&'static str; 3],
    /// What to do about a unit that freezes.
    pub steps_freezing: [&'static str; 3],
    /// Link: chart and readings of the unit.
    pub to_device: &'static str,
    /// How many more are out of range.
    pub also: Say1,
    /// Nothing to do: how many of how many report in range.
    pub calm: &'static str,
    /// And what that rests on: reporting, all.
    pub calm_note: Say2,
    /// Some do not report.
    pub silent: Say1,
    /// All of them do not report.
    pub silent_all: &'static str,
    /// What to do then.
    pub silent_note: &'static str,
    /// Panel: the units.
    pub units: &'static str,
    /// Its reach.
    pub last_day: &'static str,
    /// Never a reading.
    pub never: &'static str,
    /// The sensor reports a failure.
    pub fault: &'static str,
    /// Headline then: the units.
    pub broken: Say1,
    /// Foot: how often, where.
    pub foot: Say3,
    /// Empty: no unit is registered here.
    pub empty: &'static str,
    /// And what follows.
    pub empty_note: &'static str,
}

/// Indonesian.
pub const ID: FacilityWords = FacilityWords {
    what: |unit, state| format!("{unit} {}", lower(state)),
    above: |limit| format!("di atas {limit}"),
    below: |limit| format!("di bawah {limit}"),
    just_now: "baru saja",
    since_peak: |since, peak| format!("sejak {since}, {peak}"),
    steps_warm: [
        "Pastikan pintu rapat dan steker terpasang.",
        "Siapkan kulkas lain atau kotak dingin. Pindahkan vaksin bila suhu tidak turun.",
        "Jangan buang vaksin. Catat, lalu tunggu hasil pemeriksaan.",
    ],
    steps_cold: [
        "Naikkan setelan suhu satu langkah.",
        "Jauhkan vaksin dari dinding dan dari kantong beku.",
        "Periksa lagi pada bacaan berikutnya.",
    ],
    steps_freezing: [
        "Pindahkan vaksin peka beku ke kulkas lain: IPV, DPT-HB-Hib, HB0, PCV, Rotavirus, HPV, DT, Td.",
        "Naikkan setelan suhu dan jauhkan vaksin dari dinding.",
        "Jangan pakai dan jangan buang. Tandai, lalu tunggu uji kocok.",
    ],
    to_device: "Grafik dan semua bacaan",
    also: |units| format!("Juga di luar rentang: {units}."),
    calm: "Semua dalam rentang",
    calm_note: |reporting, all| format!("{reporting} dari {all} alat melapor dalam satu jam terakhir."),
    silent: |units| format!("Tidak ada kabar dari {units}"),
    silent_all: "Tidak ada kabar dari semua alat",
    silent_note: "Periksa listrik, baterai dan sinyal. Baca suhu di termometer kulkas.",
    units: "Kulkas, freezer, kamar dingin",
    last_day: "24 jam",
    never: "belum pernah",
    fault: "Sensor rusak",
    broken: |units| format!("Sensor rusak: {units}"),
    foot: |interval, place, zone| format!("Suhu setiap {interval} dari alat. {place}. Semua jam dalam {zone}."),
    empty: "Belum ada alat terdaftar di sini",
    empty_note: "Begitu sensor didaftarkan, suhunya muncul di sini.",
};

/// English.
pub const EN: FacilityWords = FacilityWords {
    what: |unit, state| format!("{unit} {}", lower(state)),
    above: |limit| format!("above {limit}"),
    below: |limit| format!("below {limit}"),
    just_now: "just now",
    since_peak: |since, peak| format!("since {since}, {peak}"),
    steps_warm: [
        "Make sure the door is shut and the plug is in.",
        "Get another fridge or a cold box ready. Move the vaccine if the temperature does not fall.",
        "Do not throw vaccine away. Note it, then wait for the check.",
    ],
    steps_cold: [
        "Turn the thermostat one step warmer.",
        "Keep vaccine away from the walls and from frozen packs.",
        "Look again at the next reading.",
    ],
    steps_freezing: [
        "Move freeze-sensitive vaccine to another fridge: IPV, DPT-HB-Hib, HB0, PCV, Rotavirus, HPV, DT, Td.",
        "Turn the thermostat warmer and keep vaccine away from the walls.",
        "Do not use it and do not throw it away. Mark it, then wait for the shake test.",
    ],
    to_device: "Chart and all readings",
    also: |units| format!("Also out of range: {units}."),
    calm: "Everything in range",
    calm_note: |reporting, all| format!("{reporting} of {all} devices reported in the last hour."),
    silent: |units| format!("No word from {units}"),
    silent_all: "No word from any device",
    silent_note: "Check power, battery and signal. Read the thermometer in the fridge.",
    units: "Fridges, freezers, cold rooms",
    last_day: "24 hours",
    never: "never yet",
    fault: "Sensor broken",
    broken: |units| format!("Sensor broken: {units}"),
    foot: |interval, place, zone| format!("Temperature every {interval} from the device. {place}. All times in {zone}."),
    empty: "No device registered here yet",
    empty_note: "As soon as a sensor is registered, its temperature shows here.",
};

/// A state inside a sentence: its first letter small.
fn lower(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
