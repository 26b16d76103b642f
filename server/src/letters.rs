//! Dead letters and what is decided of them: taken in again, or discarded.
//!
//! A decision is a block of the log like a body of records: state stays a function of the log, and a rebuild decides the same. The
//! first decision of a letter counts, whatever follows has no effect, so that two that cross take the record in once. Replaying is a
//! new admission of the letter's bytes, linked to it; what is still refused then becomes a dead letter of its own.

use bytes::Bytes;
use domain::engine::{Disposition, Identities, Seen};
use domain::event::{BodyHash, Identity};
use domain::planted;
use domain::time::ProcessingTime;
use serde::{Deserialize, Serialize};

/// How long a name or a reason may be, in bytes.
pub const MAX_WORDS: usize = 1_000;

/// What somebody wants done with a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Position of the letter among all records.
    pub letter: u64,
    /// Who wants it.
    pub by: String,
    /// What.
    pub verdict: Verdict,
}

/// What becomes of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is taken in again.
    Replay,
    /// It is of no use, for this reason.
    Discard(String),
}

/// A block that holds no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of the log should hold a decision and does not")]
pub struct NoDecision;

impl Decision {
    /// How many records its block holds.
    pub fn records(&self) -> u64 {
        u64::from(self.verdict == Verdict::Replay)
    }

    /// The body of its block: itself as a line of JSON, then the bytes of a letter that is taken in again.
    pub fn encode(&self, raw: &[u8]) -> Bytes {
        let mut body = serde_json::to_vec(self).expect("it holds text and a number");
        if self.verdict == Verdict::Replay {
            body.push(b'\n');
            body.extend_from_slice(raw);
        }
        body.into()
    }

    /// The decision of a block, and the bytes to take in again. Postgres takes no NUL in a text: older programs let one into the log, and
    /// others may write it to a topic.
    pub fn decode(body: &Bytes) -> Result<(Self, Bytes), NoDecision> {
        let end = memchr::memchr(b'\n', body).unwrap_or(body.len());
        let mut decision: Self = serde_json::from_slice(&body[..end]).map_err(|_| NoDecision)?;
        let reason = match &mut decision.verdict {
            Verdict::Replay => None,
            Verdict::Discard(reason) => Some(reason),
        };
        for words in std::iter::once(&mut decision.by).chain(reason) {
            if words.len() > MAX_WORDS {
                return Err(NoDecision);
            }
            if words.contains('\0') && !planted("nul-is-decided") {
                *words = words.replace('\0', "\u{fffd}");
            }
        }
        Ok((decision, body.slice((end + 1).min(body.len())..)))
    }
}

/// A decision that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Position of the letter.
    pub letter: u64,
    /// The block of the log that decided.
    pub block: u64,
    /// When.
    pub at: ProcessingTime,
    /// Who.
    pub by: String,
    /// What became of the letter.
    pub outcome: Outcome,
}

/// What became of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken in again.
    Replayed {
        /// At which position.
        position: u64,
        /// And met this end.
        end: End,
    },
    /// It was discarded.
    Discarded {
        /// Why.
        reason: String,
    },
}

/// A disposition without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// New, and counted.
    Accepted,
    /// Known already.
    Duplicate,
    /// New, but its window was closed.
    Late,
    /// Refused again: a dead letter of its own.
    Rejected,
}

impl End {
    /// Every end.
    pub const ALL: [End; 4] = [End::Accepted, End::Duplicate, End::Late, End::Rejected];

    /// The name in the public contract.
    pub const fn name(self) -> &'static str {
        match self {
            End::Accepted => "accepted",
            End::Duplicate => "duplicate",
            End::Late => "late",
            End::Rejected => "rejected",
        }
    }

    /// The end of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.name() == name)
    }
}

impl From<Disposition> for End {
    fn from(disposition: Disposition) -> Self {
        match disposition {
            Disposition::Accepted => End::Accepted,
            Disposition::Duplicate => End::Duplicate,
            Disposition::Late { .. } => End::Late,
            Disposition::Rejected(_) => End::Rejected,
        }
    }
}

/// The memory of identities for a letter that is taken in again. That it was refused before is known, and no reason to drop it as a
/// duplicate: what is refused once more has to stay a dead letter that somebody can decide on.
#[derive(Debug)]
pub struct Again<'a, I> {
    /// The memory.
    pub known: &'a mut I,
    /// The record's own identity; others under which it is looked for are those of its refusals.
    pub own: Option<Identity>,
}

impl<I: Identities> Identities for Again<'_, I> {
    fn check_in(&mut self, identity: Identity, body: BodyHash) -> Seen {
        let seen = self.known.check_in(identity, body);
        if self.own == Some(identity) || planted("replay-is-a-duplicate-of-its-letter") { seen } else { Seen::New }
    }

    fn seen(&self, identity: Identity, body: BodyHash) -> Seen {
        self.known.seen(identity, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_read_back_with_the_bytes_of_its_letter() {
        let replay = Decision { letter: 7, by: "Sari\n\"x\"".to_owned(), verdict: Verdict::Replay };
        let discard = Decision { letter: 8, by: "ü".to_owned(), verdict: Verdict::Discard("broken\nsensor".to_owned()) };
        for raw in [&b""[..], b"{\n}\n", b"\0\xff\n"] {
            assert_eq!(Decision::decode(&replay.encode(raw)), Ok((replay.clone(), Bytes::copy_from_slice(raw))));
            assert_eq!(Decision::decode(&discard.encode(raw)), Ok((discard.clone(), Bytes::new())));
        }
        assert_eq!((replay.records(), discard.records()), (1, 0));
        let with_nul = Decision { letter: 9, by: "\0Budi".to_owned(), verdict: Verdict::Discard("a\0b".to_owned()) };
        let (read, _) = Decision::decode(&with_nul.encode(b"")).expect("an older program let it in");
        assert_eq!((read.by.as_str(), &read.verdict), ("\u{fffd}Budi", &Verdict::Discard("a\u{fffd}b".to_owned())));
        for (by, reason) in [(MAX_WORDS + 1, 1), (1, MAX_WORDS + 1)] {
            let long = Decision { letter: 9, by: "x".repeat(by), verdict: Verdict::Discard("x".repeat(reason)) };
            assert_eq!(Decision::decode(&long.encode(b"")), Err(NoDecision));
        }
        for wrong in [&b""[..], b"{}", b"\n{}", b"\xff"] {
            assert_eq!(Decision::decode(&Bytes::copy_from_slice(wrong)), Err(NoDecision));
        }
    }
}
