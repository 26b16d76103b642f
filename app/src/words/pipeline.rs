//! What the page of the pipeline says.

use super::{Say1, Say2, Say3};

/// The page of the pipeline.
pub struct PipelineWords {
    /// Title of the browser's tab.
    pub title: &'static str,
    /// Headline: the equation holds.
    pub all_counted: &'static str,
    /// Headline: it does not; how many are missing.
    pub not_counted: Say1,
    /// Headline: nothing has come in yet.
    pub nothing_yet: &'static str,
    /// What to do then.
    pub nothing_yet_note: &'static str,
    /// "since 20 Nov 2026, 14.05 WIB".
    pub since: Say1,
    /// "difference 0".
    pub difference: Say1,
    /// Link to what the words mean.
    pub meaning: &'static str,
    /// What the equation says, for those who do not see it.
    pub equation: &'static str,
    /// Term: everything that came in.
    pub received: &'static str,
    /// Term: accepted.
    pub accepted: &'static str,
    /// Term: duplicates.
    pub duplicate: &'static str,
    /// Term: late, kept.
    pub late: &'static str,
    /// Term: rejected, kept.
    pub rejected: &'static str,
    /// Columns: the five of them.
    pub columns: [&'static str; 5],
    /// Column: number of records.
    pub column_records: &'static str,
    /// Panel: the queue.
    pub lag: &'static str,
    /// Its unit.
    pub records: &'static str,
    /// Its foot.
    pub lag_foot: &'static str,
    /// What its chart shows: how many now, and the most within the hour.
    pub lag_label: Say2,
    /// Panel: shares of late records by hour.
    pub late_by_hour: &'static str,
    /// What its chart shows: the share of this hour, and the largest.
    pub late_by_hour_label: Say2,
    /// Its foot.
    pub late_by_hour_foot: &'static str,
    /// Its column.
    pub late_column: &'static str,
    /// An hour in the table: share, late, received.
    pub late_of: Say3,
    /// Panel: how long records were on their way.
    pub delays: &'static str,
    /// Half of them, 95 of 100, 99 of 100.
    pub delay_shares: [&'static str; 3],
    /// Its foot.
    pub delays_foot: &'static str,
    /// Fact: windows open.
    pub open_windows: &'static str,
    /// Fact: windows closed.
    pub closed_windows: &'static str,
    /// Fact: of those, corrected.
    pub corrected_windows: &'static str,
    /// What that means.
    pub corrected_foot: &'static str,
    /// Fact: last checkpoint.
    pub checkpoint: &'static str,
    /// "12 s ago".
    pub ago: Say1,
    /// Fact: bytes of the log.
    pub log: &'static str,
    /// Panel: how far event time has come.
    pub watermark: &'static str,
    /// Before the age of the median of the first topic.
    pub watermark_behind: &'static str,
    /// Columns: half, nine in ten, slowest, which one, active, silent, delay.
    pub watermark_columns: [&'static str; 7],
    /// Its foot.
    pub watermark_foot: &'static str,
    /// No topic has one yet.
    pub watermark_none: &'static str,
    /// Panel: partitions of Kafka.
    pub partitions: &'static str,
    /// Columns: number, lag, next offset, checkpoint.
    pub partition_columns: [&'static str; 4],
    /// Its foot.
    pub partitions_foot: &'static str,
    /// Panel: devices.
    pub devices: &'static str,
    /// Fact: registered devices.
    pub registered: &'static str,
    /// Fact: not registered.
    pub unregistered: &'static str,
    /// Fact: records accepted per device.
    pub per_device: &'static str,
    /// Its foot.
    pub devices_foot: &'static str,
    /// Panel: by source.
    pub sources: &'static str,
    /// Panel: by topic.
    pub topics: &'static str,
    /// Panel: by day of receipt.
    pub days: &'static str,
    /// Column: day.
    pub day: &'static str,
    /// Column: source.
    pub source: &'static str,
    /// Column: topic.
    pub topic: &'static str,
    /// Column: how long ago the newest record came.
    pub last: &'static str,
    /// Row: those beyond the ones shown.
    pub others: &'static str,
    /// Row: total.
    pub total: &'static str,
    /// "as of 14.05 WIB".
    pub as_of: Say1,
    /// Names of topics: temperature, gps, stock, distribution.
    pub topic_names: [&'static str; 4],
    /// Panel: rejections by reason.
    pub reasons: &'static str,
    /// Column: reason.
    pub reason: &'static str,
    /// Column: what to do.
    pub step: &'static str,
    /// Column: an example.
    pub example: &'static str,
    /// Link to the newest record rejected for that reason.
    pub newest: &'static str,
    /// Every reason in the order of `domain::event::Reason::ALL`, with what to do about it.
    pub reason_words: [(&'static str, &'static str); 16],
    /// No rejection.
    pub reasons_none: &'static str,
    /// And what that means.
    pub reasons_none_note: &'static str,
    /// Panel: newest dead letters.
    pub dead_letters: &'static str,
    /// Its count: shown, all, those that wait for a decision.
    pub dead_letters_count: Say3,
    /// Column: time, with the zone.
    pub column_time: Say1,
    /// Column: field at fault.
    pub field: &'static str,
    /// Column: the record as it came.
    pub raw: &'static str,
    /// The whole record.
    pub whole_record: &'static str,
    /// Column: what became of a dead letter.
    pub letter_state: &'static str,
    /// Those, in the order of `api::LetterState`.
    pub letter_states: [&'static str; 3],
    /// Foot of the dead letters.
    pub dead_letters_foot: &'static str,
    /// Link to the whole list.
    pub dead_letters_all: &'static str,
    /// Panel: devices nobody has registered.
    pub unregistered_devices: &'static str,
    /// Headline: how many of them.
    pub unregistered_count: Say1,
    /// What to do about them.
    pub unregistered_next: &'static str,
    /// What that means.
    pub unregistered_note: &'static str,
    /// Link to the whole list.
    pub unregistered_all: &'static str,
    /// None.
    pub unregistered_none: &'static str,
    /// And what that means.
    pub unregistered_none_note: &'static str,
    /// Before the links to records.
    pub records_at: &'static str,
    /// Link: late records.
    pub link_late: &'static str,
    /// Link: dead letters.
    pub link_dead_letters: &'static str,
    /// Link: metrics.
    pub link_metrics: &'static str,
    /// Link: documentation of the interface.
    pub link_docs: &'static str,
}

/// Indonesian.
pub const ID: PipelineWords = PipelineWords {
    title: "Aliran data",
    all_counted: "Semua data tercatat",
    not_counted: |count| format!("{count} rekaman belum tercatat"),
    nothing_yet: "Belum ada data masuk",
    nothing_yet_note: "Kirim bacaan ke /ingest dengan kunci; angkanya muncul di sini seketika.",
    since: |time| format!("sejak {time}"),
    difference: |count| format!("selisih {count}"),
    meaning: "Arti kata",
    equation: "Rekaman masuk sama dengan jumlah empat nasibnya",
    received: "masuk",
    accepted: "diterima",
    duplicate: "duplikat",
    late: "terlambat, disimpan",
    rejected: "ditolak, disimpan",
    columns: ["Masuk", "Diterima", "Duplikat", "Terlambat", "Ditolak"],
    column_records: "Rekaman",
    lag: "Antrean (lag)",
    records: "rekaman",
    lag_foot: "sudah tersimpan aman, belum dihitung; terbanyak tiap menit",
    lag_label: |now, most| format!("{now} rekaman menunggu; terbanyak dalam satu jam {most}"),
    late_by_hour: "Terlambat per jam",
    late_by_hour_label: |now, most| format!("{now} jam ini; tertinggi dalam 24 jam {most}"),
    late_by_hour_foot: "bagian dari yang masuk; disimpan, tidak mengubah jendela yang sudah ditutup",
    late_column: "Terlambat",
    late_of: |share, late, all| format!("{share} ({late} dari {all})"),
    delays: "Dari alat sampai terhitung",
    delay_shares: ["Separuh rekaman", "95 dari 100", "99 dari 100"],
    delays_foot: "15 menit terakhir, dari jam alat sampai tersimpan di cakram dan terhitung; layar menyusul dalam setengah detik",
    open_windows: "Jendela terbuka",
    closed_windows: "Jendela tertutup",
    corrected_windows: "Di antaranya dikoreksi",
    corrected_foot: "dikoreksi: rekaman datang sesudah jendela dilaporkan, dan jendela dihitung ulang",
    checkpoint: "Titik simpan terakhir",
    ago: |age| format!("{age} lalu"),
    log: "Catatan di cakram",
    watermark: "Data lengkap sampai (watermark)",
    watermark_behind: "setengah alat suhu: jarak",
    watermark_columns: [
        "Setengah alat",
        "9 dari 10 alat",
        "Paling lambat",
        "Alat paling lambat",
        "Alat aktif",
        "Alat diam",
        "Jeda",
    ],
    watermark_foot: "Dari alat yang terdengar dalam 15 menit terakhir: bacaan terbarunya dikurangi jeda. Topik lain tidak berjendela.",
    watermark_none: "Belum ada bacaan yang diterima.",
    partitions: "Partisi Kafka",
    partition_columns: ["Nomor", "Menunggu (lag)", "Offset berikutnya", "Titik simpan"],
    partitions_foot: "Tiap partisi dikerjakan satu mesin; yang menunggu sudah aman di Kafka.",
    devices: "Alat",
    registered: "Terdaftar",
    unregistered: "Belum terdaftar",
    per_device: "Diterima per alat",
    devices_foot: "yang belum terdaftar disimpan, tidak dihitung pada fasilitas",
    sources: "Menurut sumber",
    topics: "Menurut topik",
    days: "Menurut hari diterima",
    day: "Hari (UTC)",
    source: "Sumber",
    topic: "Topik",
    last: "Terakhir",
    others: "Lainnya",
    total: "Jumlah",
    as_of: |time| format!("pada {time}"),
    topic_names: ["Suhu", "GPS", "Stok", "Distribusi"],
    reasons: "Ditolak menurut alasan",
    reason: "Alasan",
    step: "Yang dilakukan",
    example: "Contoh",
    newest: "terbaru",
    reason_words: [
        ("Bukan JSON yang utuh", "Periksa program pengirim"),
        ("Huruf bukan UTF-8", "Periksa program pengirim"),
        ("Kunci tertulis dua kali", "Periksa program pengirim"),
        ("Bersarang terlalu dalam", "Periksa program pengirim"),
        ("Terlalu besar", "Kirim rekaman yang lebih kecil"),
        ("Topik tidak dikenal", "Periksa nama topik"),
        ("Isian wajib tidak ada", "Lengkapi isian"),
        ("Jenis isian salah", "Periksa program pengirim"),
        ("Bukan angka terhingga", "Periksa sensor"),
        ("Di luar yang dapat diukur atau ditampung", "Lihat isiannya: periksa sensor, atau cari pengirim id baru"),
        ("Kode rusak sensor", "Periksa kabel sensor"),
        ("Jam alat di masa depan", "Setel jam alat"),
        ("Jam alat kembali ke awal", "Setel jam alat, ganti baterainya"),
        ("Lebih tua dari ingatan duplikat", "Kirim lebih cepat"),
        ("Id sama, isi berbeda", "Beri id baru pada setiap rekaman"),
        ("Waktu sama, nilai berbeda", "Bandingkan kedua rekaman"),
    ],
    reasons_none: "Tidak ada yang ditolak",
    reasons_none_note: "Rekaman yang tidak dapat dibaca disimpan dan muncul di sini dengan alasannya.",
    dead_letters: "Rekaman tertolak terbaru",
    dead_letters_count: |shown, all, open| format!("{shown} dari {all}, {open} menunggu keputusan"),
    column_time: |zone| format!("Waktu {zone}"),
    field: "Isian",
    raw: "Isi",
    whole_record: "seluruh rekaman",
    letter_state: "Keputusan",
    letter_states: ["menunggu", "dimasukkan lagi", "dibuang"],
    dead_letters_foot: "Isi asli disimpan seperti datangnya. Pilih waktunya untuk memutuskan.",
    dead_letters_all: "Semua rekaman tertolak",
    unregistered_devices: "Alat belum terdaftar",
    unregistered_count: |count| format!("{count} alat belum terdaftar"),
    unregistered_next: "Beri tahu administrator: pendaftaran alat belum bisa di halaman ini. Kunci pengirim yang tidak dikenal dicabut dengan “rantai key revoke”. Sumber pengirim ada di",
    unregistered_note: "Mengirim bacaan, tetapi tidak ada fasilitas yang memilikinya. Yang terbaru di atas.",
    unregistered_all: "Daftar lengkap",
    unregistered_none: "Semua alat terdaftar",
    unregistered_none_note: "Alat baru yang mengirim tanpa terdaftar muncul di sini.",
    records_at: "Semua rekaman",
    link_late: "Terlambat",
    link_dead_letters: "Tertolak",
    link_metrics: "Metrik",
    link_docs: "Dokumentasi API (bahasa Inggris)",
};

/// English.
pub const EN: PipelineWords = PipelineWords {
    title: "Data flow",
    all_counted: "Every record is accounted for",
    not_counted: |count| {
        if count == "1" { "1 record is not accounted for".to_owned() } else { format!("{count} records are not accounted for") }
    },
    nothing_yet: "No data has come in yet",
    nothing_yet_note: "Post readings to /ingest with a key; the figures appear here at once.",
    since: |time| format!("since {time}"),
    difference: |count| format!("difference {count}"),
    meaning: "What the words mean",
    equation: "Records received equal the sum of what became of them",
    received: "received",
    accepted: "accepted",
    duplicate: "duplicate",
    late: "late, kept",
    rejected: "rejected, kept",
    columns: ["Received", "Accepted", "Duplicate", "Late", "Rejected"],
    column_records: "Records",
    lag: "Lag",
    records: "records",
    lag_foot: "stored safely, not yet counted; the most in each minute",
    lag_label: |now, most| format!("{now} records waiting; the most within the hour {most}"),
    late_by_hour: "Late by hour",
    late_by_hour_label: |now, most| format!("{now} this hour; the highest of 24 hours {most}"),
    late_by_hour_foot: "share of what came in; kept, and no closed window changes",
    late_column: "Late",
    late_of: |share, late, all| format!("{share} ({late} of {all})"),
    delays: "From device to result",
    delay_shares: ["Half of the records", "95 of 100", "99 of 100"],
    delays_foot: "last 15 minutes, from the device's clock until stored on disk and computed; screens follow within half a second",
    open_windows: "Windows open",
    closed_windows: "Windows closed",
    corrected_windows: "Of those, corrected",
    corrected_foot: "corrected: records came after the window had been reported, and it was computed again",
    checkpoint: "Last checkpoint",
    ago: |age| format!("{age} ago"),
    log: "Log on disk",
    watermark: "Data complete until (watermark)",
    watermark_behind: "half of the sensors: behind by",
    watermark_columns: ["Half of devices", "9 in 10 devices", "Slowest", "Slowest device", "Active", "Silent", "Delay"],
    watermark_foot: "Of devices heard of in the last 15 minutes: their newest reading less the delay. Other topics have no windows.",
    watermark_none: "No reading has been accepted yet.",
    partitions: "Kafka partitions",
    partition_columns: ["Number", "Waiting (lag)", "Next offset", "Checkpoint"],
    partitions_foot: "Each partition is processed by one engine; what waits is safe in Kafka.",
    devices: "Devices",
    registered: "Registered",
    unregistered: "Not registered",
    per_device: "Accepted per device",
    devices_foot: "those not registered are kept, but counted for no facility",
    sources: "By source",
    topics: "By topic",
    days: "By day of receipt",
    day: "Day (UTC)",
    source: "Source",
    topic: "Topic",
    last: "Last",
    others: "Others",
    total: "Total",
    as_of: |time| format!("at {time}"),
    topic_names: ["Temperature", "GPS", "Stock", "Distribution"],
    reasons: "Rejected by reason",
    reason: "Reason",
    step: "What to do",
    example: "Example",
    newest: "newest",
    reason_words: [
        ("Not one whole JSON value", "Check the sending program"),
        ("Text that is not UTF-8", "Check the sending program"),
        ("A key written twice", "Check the sending program"),
        ("Nested too deep", "Check the sending program"),
        ("Too large", "Send smaller records"),
        ("Unknown topic", "Check the topic's name"),
        ("A required field is missing", "Fill the field in"),
        ("A field of the wrong type", "Check the sending program"),
        ("Not a finite number", "Check the sensor"),
        ("Beyond what can be measured or taken in", "See the field: check the sensor, or find who sends new ids"),
        ("Failure code of the sensor", "Check the sensor's cable"),
        ("Device clock in the future", "Set the device's clock"),
        ("Device clock was reset", "Set the device's clock, change its battery"),
        ("Older than duplicates are remembered", "Send sooner"),
        ("Same id, other content", "Give each record an id of its own"),
        ("Same time, other value", "Compare the two records"),
    ],
    reasons_none: "Nothing was rejected",
    reasons_none_note: "Records that cannot be read are kept and appear here with their reason.",
    dead_letters: "Newest dead letters",
    dead_letters_count: |shown, all, open| format!("{shown} of {all}, {open} waiting for a decision"),
    column_time: |zone| format!("Time {zone}"),
    field: "Field",
    raw: "Content",
    whole_record: "whole record",
    letter_state: "Decision",
    letter_states: ["waiting", "replayed", "discarded"],
    dead_letters_foot: "The content is kept as it came. Choose a time to decide.",
    dead_letters_all: "All dead letters",
    unregistered_devices: "Devices not registered",
    unregistered_count: |count| {
        if count == "1" { "1 device not registered".to_owned() } else { format!("{count} devices not registered") }
    },
    unregistered_next: "Tell the administrator: devices cannot be registered on this page yet. The key of an unknown sender is taken away with “rantai key revoke”. Senders are listed under",
    unregistered_note: "They send readings, but no facility owns them. Newest first.",
    unregistered_all: "The whole list",
    unregistered_none: "Every device is registered",
    unregistered_none_note: "New devices that send without being registered appear here.",
    records_at: "All records",
    link_late: "Late",
    link_dead_letters: "Dead letters",
    link_metrics: "Metrics",
    link_docs: "API documentation",
};
