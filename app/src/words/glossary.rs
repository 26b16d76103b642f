//! What the words of the pipeline page mean. The server alone draws them, so that they are not in the bundle.

use super::Lang;

/// The heading, then each word with what it means and whether anything is to be done.
pub struct Glossary {
    /// Heading.
    pub title: &'static str,
    /// Word, meaning.
    pub terms: [(&'static str, &'static str); 9],
}

impl Glossary {
    /// In that language.
    pub const fn of(lang: Lang) -> &'static Self {
        match lang {
            Lang::Id => &ID,
            Lang::En => &EN,
        }
    }

    /// What a late record is.
    pub const fn late(&self) -> &'static str {
        self.terms[2].1
    }
}

const ID: Glossary = Glossary {
    title: "Arti kata di halaman ini",
    terms: [
        ("Diterima", "Rekaman baru yang sah. Hanya ini yang masuk grafik dan angka."),
        ("Duplikat", "Sudah pernah diterima lalu dikirim lagi. Tidak dihitung dua kali; tidak perlu tindakan."),
        (
            "Terlambat",
            "Datang setelah jendelanya selesai. Disimpan dan tetap dipakai untuk menilai penyimpangan, tetapi tidak mengubah hasil jendela.",
        ),
        (
            "Ditolak (dead letter)",
            "Tidak dapat dipakai: isinya rusak, jam alat salah, atau sensor mengirim kode rusak. Disimpan utuh sampai seseorang \
             memasukkannya lagi atau membuangnya.",
        ),
        (
            "Antrean (lag)",
            "Rekaman yang sudah aman tetapi belum dihitung. Biasanya 0; bila terus naik, server atau basis data tidak mengejar.",
        ),
        ("Jendela", "Bacaan satu alat dalam potongan waktu yang sama. Terbuka: masih dapat berubah. Tertutup: tersimpan."),
        (
            "Lengkap sampai (watermark)",
            "Waktu bacaan terbaru sebuah alat dikurangi jeda untuk data yang datang tidak berurutan. Jendela yang berakhir \
             sebelumnya sudah selesai. Yang jauh tertinggal: periksa alat itu.",
        ),
        ("Alat diam", "Tidak mengirim apa pun selama 15 menit. Watermarknya berhenti dan tidak menahan alat lain."),
        (
            "Titik simpan",
            "Keadaan terakhir yang tertulis di basis data. Setelah mati mendadak server mulai dari sini dan membaca sisanya dari \
             catatannya: tidak ada yang hilang.",
        ),
    ],
};

const EN: Glossary = Glossary {
    title: "What the words on this page mean",
    terms: [
        ("Accepted", "New and sound. Only these are in charts and figures."),
        ("Duplicate", "Accepted before and sent again. Not counted twice; nothing to do."),
        ("Late", "Came after its window was done. Kept, and still used to judge an excursion, but it changes no window."),
        (
            "Rejected (dead letter)",
            "Cannot be used: broken content, a wrong device clock, or a failure code of the sensor. Kept as it came until somebody \
             replays or discards it.",
        ),
        (
            "Lag",
            "Records that are safe but not yet counted. Usually 0; if it keeps rising, the server or its database falls behind.",
        ),
        ("Window", "Readings of one device in the same stretch of time. Open: may still change. Closed: stored."),
        (
            "Complete until (watermark)",
            "The time of a device's newest reading, less an allowance for data that comes out of order. Windows that end before it \
             are done. One that is far behind: check that device.",
        ),
        ("Silent device", "Nothing came for 15 minutes. Its watermark stands still and holds up no other device."),
        (
            "Checkpoint",
            "The last state written to the database. After a crash the server starts from it and reads the rest from its log: \
             nothing is lost.",
        ),
    ],
};
