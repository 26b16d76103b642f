//! What the page of a device says, and its chart.

use super::{Say1, Say2, Say3};

/// The page of a device.
pub struct DeviceWords {
    /// Headline: equipment, facility.
    pub headline: Say2,
    /// Under the headline: the sensor's id.
    pub sensor: Say1,
    /// The block of now when all is fine.
    pub now_fine: &'static str,
    /// The block of now when the sensor measures nothing: the value is the one before.
    pub before_fault: &'static str,
    /// Since when the newest value holds.
    pub reading_at: Say1,
    /// Rising by this much within ten minutes.
    pub rising: Say1,
    /// Falling by this much within ten minutes.
    pub falling: Say1,
    /// No word: how to read the last value.
    pub last_known: Say1,
    /// No word: what to do.
    pub silent_note: &'static str,
    /// The sensor reports a failure.
    pub fault: &'static str,
    /// Which code, when.
    pub fault_note: Say2,
    /// What to do about it.
    pub fault_step: &'static str,
    /// The device's clock is ahead.
    pub clock_ahead: &'static str,
    /// By how much, and what to do.
    pub clock_ahead_note: Say1,
    /// Nobody has registered it.
    pub unregistered: &'static str,
    /// What that means.
    pub unregistered_note: &'static str,
    /// Never a reading.
    pub never: &'static str,
    /// What to do then.
    pub never_note: &'static str,
    /// Title of the chart: day, week, month.
    pub chart_titles: [&'static str; 3],
    /// Switch of the span: day, week, month.
    pub spans: [&'static str; 3],
    /// Name of that switch.
    pub span: &'static str,
    /// A span in a sentence: day, week, month.
    pub span_lengths: [&'static str; 3],
    /// Parts of the chart.
    pub chart: ChartWords,
    /// Panel: the device.
    pub device: &'static str,
    /// Fact: battery.
    pub battery: &'static str,
    /// Fact: humidity.
    pub humidity: &'static str,
    /// Fact: time of the newest reading.
    pub last_reading: &'static str,
    /// Fact: when it came in.
    pub came_in: &'static str,
    /// Fact: what the device says of itself.
    pub says: &'static str,
    /// What it says: in order, needs a look, failing.
    pub says_values: [&'static str; 3],
    /// Fact: how often it reports.
    pub interval: &'static str,
    /// Fact: range to keep.
    pub range: &'static str,
    /// Fact: where it is, where it travels.
    pub position: &'static str,
    /// Panel: readings that never came.
    pub missing: &'static str,
    /// So many between two times.
    pub missing_between: Say3,
    /// So many more, of which the time is not known any more.
    pub missing_older: Say1,
    /// How that is known, and what follows.
    pub missing_note: &'static str,
    /// Fact: facility.
    pub facility: &'static str,
    /// Not reported.
    pub unknown: &'static str,
    /// Panel: summary of a span.
    pub summary: Say1,
    /// Fact: coldest reading.
    pub lowest: &'static str,
    /// Fact: warmest reading.
    pub highest: &'static str,
    /// "3,9 °C · 20.15".
    pub value_at: Say2,
    /// Fact: average over time.
    pub average: &'static str,
    /// Fact: mean kinetic temperature.
    pub kinetic: &'static str,
    /// Fact: share in range.
    pub in_range: &'static str,
    /// Fact: readings of how many expected.
    pub readings: &'static str,
    /// Fact: five-minute windows of how many.
    pub windows: &'static str,
    /// Note on the mean kinetic temperature.
    pub kinetic_note: &'static str,
    /// Note on the summary of a month.
    pub month_note: &'static str,
    /// Panel: excursions.
    pub excursions: &'static str,
    /// How many, in which span.
    pub excursions_count: Say2,
    /// None in this span.
    pub excursions_none: Say1,
    /// And what that rests on.
    pub excursions_none_note: &'static str,
    /// "Since 13.18, still going on".
    pub excursion_open: Say1,
    /// "before 14.10": it began earlier.
    pub excursion_cut: Say1,
    /// State: still out of range.
    pub still_out: &'static str,
    /// State: back in range.
    pub recovered: &'static str,
    /// Length, peak, degree-minutes.
    pub excursion_facts: Say3,
    /// And so much of it without data.
    pub excursion_unknown: Say1,
    /// How many more there are.
    pub excursions_more: Say1,
    /// Its titles for day, week, month.
    pub table_of: [&'static str; 3],
    /// "1–50 of 275, newest first".
    pub table_count: Say2,
    /// Column: time, with the zone.
    pub column_time: Say1,
    /// Column: temperature.
    pub column_temperature: &'static str,
    /// Column: how it stands.
    pub column_state: &'static str,
    /// In range.
    pub state_fine: &'static str,
    /// Link: older readings.
    pub older: &'static str,
    /// Link: newer readings.
    pub newer: &'static str,
    /// Empty table.
    pub table_none: Say1,
}

/// Parts of a temperature chart.
pub struct ChartWords {
    /// "8 °C upper limit".
    pub upper: Say1,
    /// "2 °C lower limit".
    pub lower: Say1,
    /// The freezing point.
    pub freezing: &'static str,
    /// In a gap.
    pub no_data: &'static str,
    /// A chart without any reading.
    pub nothing: &'static str,
    /// "peak 9,4 °C".
    pub peak: Say1,
    /// "lowest −0,8 °C".
    pub lowest: Say1,
    /// Key: range.
    pub key_range: Say1,
    /// Key: in range.
    pub key_fine: &'static str,
    /// Key: above, less than half an hour or past.
    pub key_warm: &'static str,
    /// Key: above, now, for longer.
    pub key_hot: &'static str,
    /// Key: below.
    pub key_cold: &'static str,
    /// Key: no data.
    pub key_gap: &'static str,
    /// Name of the movable cursor.
    pub cursor: &'static str,
    /// Summary: lowest, highest, span.
    pub summary: Say3,
    /// Summary: no reading in this span.
    pub summary_nothing: Say1,
    /// Summary: number of gaps, the longest.
    pub summary_gaps: Say2,
    /// Summary: no excursion.
    pub summary_calm: &'static str,
    /// Summary: number of excursions, the worst peak.
    pub summary_out: Say2,
    /// Summary: lasting since, the peak in words.
    pub summary_open: Say2,
}

/// Indonesian.
pub const ID: DeviceWords = DeviceWords {
    headline: |equipment, facility| format!("{equipment}, {facility}"),
    sensor: |id| format!("Sensor {id}"),
    now_fine: "Dalam rentang",
    before_fault: "Terakhir sebelum sensor rusak",
    reading_at: |time| format!("bacaan {time}"),
    rising: |degrees| format!("naik {degrees} per 10 menit"),
    falling: |degrees| format!("turun {degrees} per 10 menit"),
    last_known: |time| format!("terakhir diketahui {time}"),
    silent_note: "Periksa listrik, baterai dan sinyal. Baca suhu di termometer kulkas.",
    fault: "Sensor tidak mengukur",
    fault_note: |code, time| format!("Alat mengirim kode rusak {code} pada {time}, bukan suhu."),
    fault_step: "Periksa kabel sensor. Sampai itu, baca suhu di termometer kulkas.",
    clock_ahead: "Jam alat terlalu cepat",
    clock_ahead_note: |length| {
        format!("Bacaan terbaru bertanda {length} setelah diterima. Setel jam alat: lebih dari 5 menit ditolak.")
    },
    unregistered: "Alat ini belum terdaftar",
    unregistered_note: "Bacaannya disimpan dan tampak di sini, tetapi tidak dihitung pada fasilitas mana pun. Sampai terdaftar dinilai seperti kulkas: 2–8\u{a0}°C, satu bacaan tiap 5 menit.",
    never: "Belum ada bacaan",
    never_note: "Alat terdaftar, tetapi belum pernah terdengar. Nyalakan alat dan tunggu satu selang.",
    chart_titles: ["Suhu 24 jam terakhir", "Suhu 7 hari terakhir", "Suhu 30 hari terakhir"],
    spans: ["Hari", "Minggu", "Bulan"],
    span: "Rentang waktu",
    span_lengths: ["24 jam", "7 hari", "30 hari"],
    chart: ChartWords {
        upper: |limit| format!("{limit} batas atas"),
        lower: |limit| format!("{limit} batas bawah"),
        freezing: "0 °C titik beku",
        no_data: "tanpa data",
        nothing: "Tidak ada bacaan",
        peak: |value| format!("puncak {value}"),
        lowest: |value| format!("terendah {value}"),
        key_range: |range| format!("rentang {range}"),
        key_fine: "dalam rentang",
        key_warm: "di atas rentang",
        key_hot: "di atas rentang, sudah 30 menit",
        key_cold: "di bawah rentang",
        key_gap: "tanpa data",
        cursor: "Penunjuk pada grafik",
        summary: |lowest, highest, span| format!("Antara {lowest} dan {highest} dalam {span}."),
        summary_nothing: |span| format!("Tidak ada bacaan dalam {span}."),
        summary_gaps: |count, longest| format!("Tanpa data {count} kali, paling lama {longest}."),
        summary_calm: "Tidak ada penyimpangan.",
        summary_out: |count, peak| format!("Penyimpangan yang sudah pulih: {count}, terjauh {peak}."),
        summary_open: |since, peak| format!("Di luar rentang sejak {since}, {peak}."),
    },
    device: "Alat",
    battery: "Baterai",
    humidity: "Kelembapan",
    last_reading: "Bacaan terakhir",
    came_in: "Diterima",
    says: "Kata alat",
    says_values: ["baik", "perlu dilihat", "rusak"],
    interval: "Mengirim setiap",
    range: "Rentang",
    position: "Posisi",
    missing: "Bacaan hilang",
    missing_between: |count, after, before| format!("{count} bacaan hilang antara {after} dan {before}"),
    missing_older: |count| format!("{count} lagi, lebih lama."),
    missing_note: "Alat menomori bacaannya; nomor ini tidak pernah sampai, atau ditolak. Bila alat masih menyimpannya, ia menyusul sendiri.",
    facility: "Fasilitas",
    unknown: "tidak dilaporkan",
    summary: |span| format!("Ringkasan {span}"),
    lowest: "Terendah",
    highest: "Tertinggi",
    value_at: |value, time| format!("{value} · {time}"),
    average: "Rata-rata",
    kinetic: "Suhu kinetik rata-rata",
    in_range: "Dalam rentang",
    readings: "Bacaan diterima",
    windows: "Jendela 5 menit berisi",
    kinetic_note: "Suhu kinetik rata-rata tidak memperlihatkan pembekuan. Jangan dipakai untuk meloloskan vaksin yang pernah terlalu dingin.",
    month_note: "Dari nilai terendah dan tertinggi setiap jam. Rata-rata dan cakupan ada pada hari dan minggu.",
    excursions: "Penyimpangan",
    excursions_count: |count, span| format!("{count} dalam {span}"),
    excursions_none: |span| format!("Tidak ada penyimpangan dalam {span}"),
    excursions_none_note: "Waktu tanpa data tidak dihitung aman.",
    excursion_open: |since| format!("Sejak {since}, masih berlangsung"),
    excursion_cut: |time| format!("sebelum {time}"),
    still_out: "Di luar rentang",
    recovered: "Pulih",
    excursion_facts: |length, peak, degree_minutes| format!("{length} · {peak} · {degree_minutes} derajat-menit"),
    excursion_unknown: |length| format!("{length} di antaranya tanpa data"),
    excursions_more: |count| format!("{count} lagi yang lebih lama"),
    table_of: ["Bacaan", "Rata-rata 5 menit", "Terendah dan tertinggi tiap jam"],
    table_count: |part, whole| format!("{part} dari {whole}, terbaru di atas"),
    column_time: |zone| format!("Waktu {zone}"),
    column_temperature: "Suhu, °C",
    column_state: "Keadaan",
    state_fine: "Dalam rentang",
    older: "Bacaan sebelumnya",
    newer: "Bacaan sesudahnya",
    table_none: |span| format!("Tidak ada bacaan dalam {span} terakhir."),
};

/// English.
pub const EN: DeviceWords = DeviceWords {
    headline: |equipment, facility| format!("{equipment}, {facility}"),
    sensor: |id| format!("Sensor {id}"),
    now_fine: "In range",
    before_fault: "Last before the sensor broke",
    reading_at: |time| format!("reading of {time}"),
    rising: |degrees| format!("rising {degrees} per 10 minutes"),
    falling: |degrees| format!("falling {degrees} per 10 minutes"),
    last_known: |time| format!("last known {time}"),
    silent_note: "Check power, battery and signal. Read the thermometer in the fridge.",
    fault: "The sensor does not measure",
    fault_note: |code, time| format!("The device sent the failure code {code} at {time} in place of a temperature."),
    fault_step: "Check the sensor's cable. Until then, read the thermometer in the fridge.",
    clock_ahead: "The device's clock is ahead",
    clock_ahead_note: |length| {
        format!("Its newest reading is dated {length} after it came in. Set the clock: beyond 5 minutes readings are refused.")
    },
    unregistered: "This device is not registered",
    unregistered_note: "Its readings are kept and shown here, but counted for no facility. Until it is registered it is judged like a fridge: 2–8\u{a0}°C, a reading every 5 minutes.",
    never: "No reading yet",
    never_note: "The device is registered but was never heard of. Switch it on and wait for one interval.",
    chart_titles: ["Temperature, last 24 hours", "Temperature, last 7 days", "Temperature, last 30 days"],
    spans: ["Day", "Week", "Month"],
    span: "Time span",
    span_lengths: ["24 hours", "7 days", "30 days"],
    chart: ChartWords {
        upper: |limit| format!("{limit} upper limit"),
        lower: |limit| format!("{limit} lower limit"),
        freezing: "0 °C freezing point",
        no_data: "no data",
        nothing: "No readings",
        peak: |value| format!("peak {value}"),
        lowest: |value| format!("lowest {value}"),
        key_range: |range| format!("range {range}"),
        key_fine: "in range",
        key_warm: "above range",
        key_hot: "above range, 30 minutes or more",
        key_cold: "below range",
        key_gap: "no data",
        cursor: "Cursor on the chart",
        summary: |lowest, highest, span| format!("Between {lowest} and {highest} in {span}."),
        summary_nothing: |span| format!("No reading in {span}."),
        summary_gaps: |count, longest| format!("Gaps without data: {count}, the longest {longest}."),
        summary_calm: "No excursion.",
        summary_out: |count, peak| format!("Excursions since recovered: {count}, farthest {peak}."),
        summary_open: |since, peak| format!("Out of range since {since}, {peak}."),
    },
    device: "Device",
    battery: "Battery",
    humidity: "Humidity",
    last_reading: "Last reading",
    came_in: "Received",
    says: "Device says",
    says_values: ["in order", "needs a look", "failing"],
    interval: "Sends every",
    range: "Range",
    position: "Position",
    missing: "Missing readings",
    missing_between: |count, after, before| {
        let noun = if count == "1" { "reading" } else { "readings" };
        format!("{count} {noun} missing between {after} and {before}")
    },
    missing_older: |count| format!("{count} more, older."),
    missing_note: "The device numbers its readings; these numbers never came, or were refused. If it still has them, they follow by themselves.",
    facility: "Facility",
    unknown: "not reported",
    summary: |span| format!("Summary of {span}"),
    lowest: "Lowest",
    highest: "Highest",
    value_at: |value, time| format!("{value} · {time}"),
    average: "Average",
    kinetic: "Mean kinetic temperature",
    in_range: "In range",
    readings: "Readings received",
    windows: "5-minute windows filled",
    kinetic_note: "Mean kinetic temperature does not show freezing. Never use it to clear vaccine that was too cold.",
    month_note: "From the lowest and the highest value of each hour. Average and coverage are on day and week.",
    excursions: "Excursions",
    excursions_count: |count, span| format!("{count} in {span}"),
    excursions_none: |span| format!("No excursion in {span}"),
    excursions_none_note: "Time without data does not count as fine.",
    excursion_open: |since| format!("Since {since}, still going on"),
    excursion_cut: |time| format!("before {time}"),
    still_out: "Out of range",
    recovered: "Recovered",
    excursion_facts: |length, peak, degree_minutes| format!("{length} · {peak} · {degree_minutes} degree-minutes"),
    excursion_unknown: |length| format!("{length} of it without data"),
    excursions_more: |count| format!("{count} more, older"),
    table_of: ["Readings", "5-minute averages", "Lowest and highest of each hour"],
    table_count: |part, whole| format!("{part} of {whole}, newest first"),
    column_time: |zone| format!("Time {zone}"),
    column_temperature: "Temperature, °C",
    column_state: "State",
    state_fine: "In range",
    older: "Older readings",
    newer: "Newer readings",
    table_none: |span| format!("No readings in the last {span}."),
};
