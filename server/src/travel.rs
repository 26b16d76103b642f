//! What a log holds of trackers beside their fixes: notes of the pairings in force, and fixes that another partition has handed on.
//!
//! Pairings are configured, and state follows from the log alone. So a start that finds others in its state than those that it was told
//! notes these in the log, and everybody who reads the log takes them from there.
//!
//! A tracker and the thermometer that travels with it may lie in different partitions of Kafka's topics. The tracker's partition hands on
//! what it accepts, before the checkpoint that covers it is committed: a message under the id of the thermometer as key, and so where that
//! one sends. It holds the record as it came, so whoever reads it knows it again, however often it comes.

use crate::admission::{Batch, Format, IdentityKey, MAX_TEXT_CHARS, is_short};
use bytes::Bytes;
use domain::engine::{Content, Disposition, Engine, Pairing};
use domain::planted;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A block that holds no pairings.
#[derive(Debug, thiserror::Error)]
#[error("a block of the log should hold pairings and does not: {0}")]
pub struct NoPairings(String);

/// The body of a note, a list in JSON.
pub fn encode(pairings: &[Pairing]) -> Bytes {
    serde_json::to_vec(pairings).expect("they hold text and numbers").into()
}

/// The pairings of a note. Anybody may write to a topic, so it may hold anything.
pub fn decode(body: &[u8]) -> Result<Vec<Pairing>, NoPairings> {
    let pairings: Vec<Pairing> = serde_json::from_slice(body).map_err(|error| NoPairings(error.to_string()))?;
    check(&pairings).map_err(NoPairings)?;
    Ok(pairings)
}

/// Pairings at once, more than a country has trackers.
const MAX_PAIRINGS: usize = 10_000;

/// Whether these can be noted; why not.
pub fn check(pairings: &[Pairing]) -> Result<(), String> {
    if pairings.len() > MAX_PAIRINGS {
        return Err(format!("{} pairings are more than {MAX_PAIRINGS}", pairings.len()));
    }
    match pairings.iter().find(|of| !is_id(&of.tracker) || !is_id(&of.device)) {
        Some(of) => {
            let (tracker, device) = (of.tracker.escape_debug(), of.device.escape_debug());
            Err(format!("`{tracker}` with `{device}`: an id has 1 to {MAX_TEXT_CHARS} characters and no NUL"))
        }
        None => Ok(()),
    }
}

/// Whether `id` can be that of a device: admission takes the same.
fn is_id(id: &str) -> bool {
    !id.is_empty() && is_short(id.as_bytes()) && (!id.contains('\0') || planted("nul-travels"))
}

/// So many bytes of a fix that waits to be handed on take as much as a record in its engine.
const RECORD_BYTES: u64 = 512;

/// A fix that is handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOn {
    /// The device that travels with the tracker.
    pub device: String,
    /// Where the record counts as from.
    pub source: Arc<str>,
    /// The tracker's record, as it came: at most [`crate::admission::MAX_RECORD_BYTES`] of it. Fixes for several devices share it.
    pub raw: Bytes,
}

/// The first line of its message.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    device: String,
}

/// A message that should hold a fix that was handed on and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fix that was handed on")]
pub struct NoFix;

impl HandedOn {
    /// The accepted fixes of `batch` that have to be handed on.
    pub fn of<'b>(engine: &'b Engine, batch: &'b Batch, dispositions: &'b [Disposition]) -> impl Iterator<Item = Self> + 'b {
        let accepted = |index: &usize| dispositions[*index] == Disposition::Accepted;
        batch.records().enumerate().filter(move |(index, _)| accepted(index)).flat_map(|(index, record)| {
            let mut devices = Vec::new();
            if let Content::Fix { device, fix } = &record.content {
                devices.extend(engine.travellers(device, fix.at).map(str::to_owned));
            }
            let shared = (!devices.is_empty())
                .then(|| (Arc::<str>::from(batch.source(index)), Bytes::copy_from_slice(batch.raw_record(index))));
            let shared = shared.into_iter().cycle();
            devices.into_iter().zip(shared).map(|(device, (source, raw))| Self { device, source, raw })
        })
    }

    /// What `fixes`, in the order in which they were told, take of memory, in records that no checkpoint covers.
    pub fn weight(fixes: &[Self]) -> u64 {
        let is_its_first = |at: usize| at == 0 || fixes[at - 1].raw.as_ptr() != fixes[at].raw.as_ptr();
        let weight = |(at, fix): (usize, &Self)| 1 + if is_its_first(at) { fix.raw.len() as u64 / RECORD_BYTES } else { 0 };
        fixes.iter().enumerate().map(weight).sum()
    }

    /// The value of its message: a line of JSON, then the record. Its source is a header. An older program, that takes it for a record,
    /// cannot read it.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = serde_json::to_vec(&Head { device: self.device.clone() }).expect("it holds text");
        body.push(b'\n');
        body.extend_from_slice(&self.raw);
        body
    }

    /// The device of a message, and the record of its tracker. Anybody may write to a topic, so it may hold anything.
    pub fn decode(body: &Bytes, source: &str, key: &IdentityKey) -> Result<(String, Batch), NoFix> {
        let end = memchr::memchr(b'\n', body).ok_or(NoFix)?;
        let Head { device } = serde_json::from_slice(&body[..end]).map_err(|_| NoFix)?;
        let batch = Batch::parse(body.slice(end + 1..), Format::Record, source, key).map_err(|_| NoFix)?;
        let is_fix = batch.records().next().is_some_and(|record| matches!(record.content, Content::Fix { .. }));
        if is_fix && is_id(&device) { Ok((device, batch)) } else { Err(NoFix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_is_read_back_and_nothing_else_is() {
        const FIX: &str = r#"{"type":"Feature","geometry":{"type":"Point","coordinates":[107.6,-6.8]},"properties":{"device_id":"truck","ts":1790000000000}}"#;
        let key = IdentityKey([7; 16]);
        let fix = |device: &str, raw: &str| {
            let fix = HandedOn { device: device.to_owned(), source: "gate".into(), raw: Bytes::copy_from_slice(raw.as_bytes()) };
            HandedOn::decode(&fix.encode().into(), "gate", &key)
        };
        let (device, batch) = fix("kotak \"7\"\n", FIX).expect("reads");
        assert_eq!(
            (device.as_str(), batch.len(), batch.device_id(0), batch.source(0)),
            ("kotak \"7\"\n", 1, Some("truck"), "gate")
        );
        // As a record of its own it would be another.
        let direct = Batch::parse(FIX.into(), Format::Ndjson, "gate", &key).expect("parses");
        assert_eq!(direct.records().next().map(|r| (r.identity, r.body)), batch.records().next().map(|r| (r.identity, r.body)));
        let whole = HandedOn { device: "box".to_owned(), source: "".into(), raw: FIX.into() }.encode();
        let old = Batch::parse(whole.into(), Format::Record, "gate", &key).expect("parses");
        assert!(old.rejection(0).is_some(), "an older program would take it for a record");
        let reading = r#"{"device_id":"box","ts":1790000000000,"temperature":5}"#;
        for (device, raw) in [
            ("", FIX),
            (&"b".repeat(MAX_TEXT_CHARS + 1)[..], FIX),
            ("box\0", FIX),
            ("box", reading),
            ("box", ""),
            ("box", "\u{0}"),
        ] {
            assert!(fix(device, raw).is_err(), "{device} {raw}");
        }
        for wrong in ["", "\n", "{}\n", FIX, "{\"device\":\"box\"}", "{\"device\":\"box\",\"more\":1}\n{}"] {
            assert!(HandedOn::decode(&Bytes::copy_from_slice(wrong.as_bytes()), "gate", &key).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_note_is_read_back() {
        let pairing = |from_ms, to_ms| Pairing { tracker: "truk \"7\"".into(), device: "kotak".into(), from_ms, to_ms };
        for pairings in [vec![], vec![pairing(i64::MIN, i64::MAX), pairing(1_790_000_000_000, 1_790_000_000_001)]] {
            assert_eq!(decode(&encode(&pairings)).expect("reads"), pairings);
        }
        for wrong in [&b""[..], b"{}", b"[1]", b"\xff", br#"[{"tracker":"t"}]"#] {
            assert!(decode(wrong).is_err());
        }
        let named = |tracker: &str| Pairing { tracker: tracker.to_owned(), ..pairing(0, 1) };
        for (pairings, is_fine) in [
            (vec![named(""); 1], false),
            (vec![named("t\0"); 1], false),
            (vec![Pairing { device: "\0".to_owned(), ..pairing(0, 1) }; 1], false),
            (vec![named(&"t".repeat(MAX_TEXT_CHARS)); 1], true),
            (vec![named(&"t".repeat(MAX_TEXT_CHARS + 1)); 1], false),
            (vec![named("t"); MAX_PAIRINGS], true),
            (vec![named("t"); MAX_PAIRINGS + 1], false),
        ] {
            assert_eq!(decode(&encode(&pairings)).is_ok(), is_fine);
        }
    }
}
