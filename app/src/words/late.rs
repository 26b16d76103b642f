//! What the pages of late records say. The server alone draws them, so that these words are not in the bundle.

use super::{Lang, Say1};

/// The list of late records, and the page of one.
pub struct LateWords {
    /// Title of the list.
    pub title: &'static str,
    /// Headline: how many there are.
    pub count: Say1,
    /// What to do about them.
    pub next: &'static str,
    /// Panel: the newest ones.
    pub newest: &'static str,
    /// Panel: those before a record.
    pub older_than: Say1,
    /// Column and fact: how late.
    pub lateness: &'static str,
    /// Column and fact: the window it missed.
    pub window: &'static str,
    /// Column and fact: facility.
    pub facility: &'static str,
    /// A device that nobody has registered has none.
    pub unregistered: &'static str,
    /// Link: the next page.
    pub older: &'static str,
    /// Link: the first page.
    pub first: &'static str,
    /// There are none.
    pub none: &'static str,
    /// And what that means.
    pub none_note: &'static str,
    /// None are stored here, though there were some.
    pub not_stored: &'static str,
    /// Title of one: with its position.
    pub record: Say1,
    /// Headline of one: by how much it came late.
    pub late_by: Say1,
    /// Back to the list.
    pub back: &'static str,
}

impl LateWords {
    /// In that language.
    pub const fn of(lang: Lang) -> &'static Self {
        match lang {
            Lang::Id => &ID,
            Lang::En => &EN,
        }
    }
}

const ID: LateWords = LateWords {
    title: "Rekaman terlambat",
    count: |count| format!("{count} rekaman terlambat"),
    next: "Banyak dari alat atau sumber yang sama? Periksa jaringan dan jam pengirimnya.",
    newest: "Terbaru di atas",
    older_than: |position| format!("Sebelum rekaman {position}"),
    lateness: "Terlambat",
    window: "Jendela yang terlewat",
    facility: "Fasilitas",
    unregistered: "belum terdaftar",
    older: "Yang lebih lama",
    first: "Ke yang terbaru",
    none: "Tidak ada rekaman terlambat",
    none_note: "Semua bacaan datang sebelum jendelanya selesai.",
    not_stored: "Di sini tidak ada rekaman yang tersimpan: belum ditulis, atau sudah dihapus karena lama.",
    record: |position| format!("Rekaman terlambat {position}"),
    late_by: |length| format!("Terlambat {length}"),
    back: "Ke semua rekaman terlambat",
};

const EN: LateWords = LateWords {
    title: "Late records",
    count: |count| if count == "1" { "1 late record".to_owned() } else { format!("{count} late records") },
    next: "Many from one device or source? Check its network and its clock.",
    newest: "Newest first",
    older_than: |position| format!("Before record {position}"),
    lateness: "Late by",
    window: "Window missed",
    facility: "Facility",
    unregistered: "not registered",
    older: "Older ones",
    first: "To the newest",
    none: "No late records",
    none_note: "Every reading came before its window was done.",
    not_stored: "No record is stored here: not written yet, or deleted for its age.",
    record: |position| format!("Late record {position}"),
    late_by: |length| format!("Late by {length}"),
    back: "To all late records",
};
