//! What the pages of dead letters say. The server alone draws it, so that these words are not in the bundle.

use super::{Lang, Say1};

/// The list of dead letters, and the page of one.
pub struct LetterWords {
    /// Title of the list.
    pub list: &'static str,
    /// Headline: there are none.
    pub none: &'static str,
    /// Headline: something was decided of each.
    pub all_decided: &'static str,
    /// And what that means.
    pub all_decided_note: &'static str,
    /// Headline: how many wait for a decision.
    pub waiting: Say1,
    /// Choice: which are listed.
    pub which: &'static str,
    /// All of them.
    pub every: &'static str,
    /// Among those of this page is none.
    pub none_here: &'static str,
    /// Title: with its position.
    pub title: Say1,
    /// State: nobody has decided.
    pub open: &'static str,
    /// State: taken in again.
    pub replayed: &'static str,
    /// State: discarded.
    pub discarded: &'static str,
    /// Fact: when it came in.
    pub received: &'static str,
    /// Fact: the sender's id.
    pub event_id: &'static str,
    /// Fact: device.
    pub device: &'static str,
    /// Fact: time by the device's clock.
    pub device_time: &'static str,
    /// Fact: the letter that it is the replay of.
    pub replay_of: &'static str,
    /// Panel: its bytes.
    pub raw: &'static str,
    /// Foot of it where they are no text.
    pub not_text: &'static str,
    /// Form and button: take it in again.
    pub replay: &'static str,
    /// What that does.
    pub replay_note: &'static str,
    /// Form and button: discard it.
    pub discard: &'static str,
    /// What that does.
    pub discard_note: &'static str,
    /// Field: who does it.
    pub name: &'static str,
    /// Field: why.
    pub reason: &'static str,
    /// What a replay ended as, in the order of `LetterEnd`.
    pub ends: [&'static str; 4],
    /// "as record 1,204".
    pub as_record: Say1,
    /// Back to the list.
    pub back: &'static str,
    /// What was wrong with a form: name, reason, decided already, not now.
    wrong: [(&'static str, &'static str); 4],
}

impl LetterWords {
    /// In that language.
    pub const fn of(lang: Lang) -> &'static Self {
        match lang {
            Lang::Id => &ID,
            Lang::En => &EN,
        }
    }

    /// What was wrong with a form, by its code in the address.
    pub fn wrong(&self, code: &str) -> Option<&'static str> {
        self.wrong.iter().find(|(name, _)| *name == code).map(|(_, text)| *text)
    }
}

const ID: LetterWords = LetterWords {
    list: "Rekaman tertolak",
    none: "Tidak ada rekaman tertolak",
    all_decided: "Semua rekaman tertolak sudah diputuskan",
    all_decided_note: "Tidak ada yang menunggu keputusan.",
    waiting: |count| format!("{count} rekaman tertolak menunggu keputusan"),
    which: "Yang ditampilkan",
    every: "Semua",
    none_here: "Tidak ada di antara yang terbaru. Lihat yang lebih lama.",
    title: |position| format!("Rekaman tertolak {position}"),
    open: "Menunggu keputusan",
    replayed: "Dimasukkan lagi",
    discarded: "Dibuang",
    received: "Masuk",
    event_id: "Id kejadian",
    device: "Alat",
    device_time: "Waktu alat",
    replay_of: "Ulangan dari",
    raw: "Isi seperti datangnya",
    not_text: "Isinya bukan teks UTF-8 yang utuh; huruf yang tidak terbaca diganti tanda tanya.",
    replay: "Masukkan lagi",
    replay_note: "Rekaman dinilai lagi seolah baru datang. Bila masih ditolak, ia menjadi rekaman tertolak yang baru.",
    discard: "Buang",
    discard_note: "Rekaman tidak dipakai. Isi, nama dan alasan tetap disimpan.",
    name: "Nama Anda",
    reason: "Alasan",
    ends: ["Diterima", "Sudah dikenal, jadi duplikat", "Terlambat, disimpan", "Ditolak lagi"],
    as_record: |position| format!("sebagai rekaman {position}"),
    back: "Ke semua rekaman tertolak",
    wrong: [
        ("name", "Isi nama Anda."),
        ("reason", "Isi alasannya."),
        ("decided", "Rekaman ini sudah diputuskan orang lain."),
        ("later", "Server belum dapat menyimpannya. Coba lagi sebentar."),
    ],
};

const EN: LetterWords = LetterWords {
    list: "Dead letters",
    none: "No dead letters",
    all_decided: "All dead letters are decided",
    all_decided_note: "None is waiting for a decision.",
    waiting: |count| {
        if count == "1" {
            "1 dead letter is waiting for a decision".to_owned()
        } else {
            format!("{count} dead letters are waiting for a decision")
        }
    },
    which: "What is shown",
    every: "All",
    none_here: "None among the newest. Look at the older ones.",
    title: |position| format!("Dead letter {position}"),
    open: "Waiting for a decision",
    replayed: "Taken in again",
    discarded: "Discarded",
    received: "Received",
    event_id: "Event id",
    device: "Device",
    device_time: "Device time",
    replay_of: "Replay of",
    raw: "Content as it came",
    not_text: "It is not UTF-8 text throughout; what cannot be read is shown as a question mark.",
    replay: "Replay",
    replay_note: "The record is judged again as if it had just come in. If it is still refused, it becomes a new dead letter.",
    discard: "Discard",
    discard_note: "The record is not used. Its content, the name and the reason are kept.",
    name: "Your name",
    reason: "Reason",
    ends: ["Accepted", "Known already, so a duplicate", "Late, kept", "Refused again"],
    as_record: |position| format!("as record {position}"),
    back: "To all dead letters",
    wrong: [
        ("name", "Enter your name."),
        ("reason", "Enter the reason."),
        ("decided", "Somebody else has decided on this record."),
        ("later", "The server cannot store it now. Try again in a moment."),
    ],
};
