//! Logs written by hand, with the server's clock in hand too: days of a fleet with everything that happens to it.

use crate::support::{Random, envelope, now_ms};
use domain::time::ProcessingTime;
use server::admission::Format;
use server::letters::{Decision, Verdict};
use server::log::{Block, BlockKind, Draft, Log};
use std::collections::HashSet;
use std::path::Path;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A block before it is written: when it comes in, what it holds, and how many records that is.
pub struct Entry {
    at: i64,
    kind: BlockKind,
    body: Vec<u8>,
    records: u64,
}

/// What a device sends, and when it arrives.
struct Sending {
    arrives: i64,
    line: String,
}

/// Five days that end a little before now. `letters`: what becomes of dead letters is decided too.
pub fn days(seed: u64, letters: bool) -> Vec<Entry> {
    let mut random = Random(seed);
    let end = now_ms() - 10 * MINUTE;
    let mut all = Vec::new();
    for (device, step) in ["P110101-1-F1", "P321701-1-F1", "probe-a", "probe-b", "probe-c"].into_iter().zip([5, 5, 1, 20, 5]) {
        all.extend(device_days(&mut random, device, step * MINUTE, end));
    }
    all.sort_by_key(|sending| sending.arrives);
    let (mut entries, mut position, mut dead) = (Vec::new(), 0u64, Vec::new());
    let mut known = HashSet::new();
    let mut ahead = all.as_slice();
    while let Some(first) = ahead.first() {
        let most = 1 + random.below(20) as usize;
        let until = first.arrives + 2 * MINUTE;
        let len = ahead.iter().take(most).take_while(|s| s.arrives <= until).count();
        let (batch, others) = ahead.split_at(len);
        ahead = others;
        let at = batch[len - 1].arrives;
        if random.one_in(9) {
            entries.push(Entry { at: at - 1, kind: BlockKind::Timer, body: Vec::new(), records: 0 });
        }
        for sending in batch {
            position += 1;
            // What comes again is a duplicate, or no longer wrong.
            if sending.line.contains("\"bad-") && known.insert(&sending.line) {
                dead.push((position, sending.line.clone()));
            }
        }
        let lines: Vec<&str> = batch.iter().map(|s| s.line.as_str()).collect();
        let (kind, body) =
            if random.one_in(2) { (Format::Ndjson, lines.join("\n")) } else { (Format::Json, format!("[{}]", lines.join(","))) };
        entries.push(Entry { at, kind: BlockKind::Records(kind), body: body.into(), records: len as u64 });
        if letters && random.one_in(15) && !dead.is_empty() {
            let (letter, line) = &dead[random.below(dead.len() as u64) as usize];
            let discard = random.one_in(3);
            let verdict = if discard { Verdict::Discard("a test".to_owned()) } else { Verdict::Replay };
            let decision = Decision { letter: *letter, by: "Sari".to_owned(), verdict };
            position += decision.records();
            let body = decision.encode(line.as_bytes()).to_vec();
            entries.push(Entry {
                at: at + random.between(0, 1_000),
                kind: BlockKind::Decision,
                body,
                records: decision.records(),
            });
        }
    }
    entries
}

/// What one device sends in five days: at times nothing, at times what it kept, newest or oldest first, and some of everything else.
fn device_days(random: &mut Random, device: &str, step: i64, end: i64) -> Vec<Sending> {
    let mut out = Vec::new();
    let (mut at, mut n) = (end - 5 * 24 * HOUR + random.between(0, HOUR), 0);
    while at < end {
        // A stretch on line, a stretch off: most are short, some longer than a gap stays open.
        for _ in 0..random.between(1, 200) {
            let temperature = format!("{}.{}", random.between(-5, 12), random.below(10));
            let line = match random.below(40) {
                0 => envelope(&format!("bad-{device}-{n}"), device, at + random.between(8, 40) * MINUTE, &temperature),
                1 => envelope(&format!("bad-{device}-{n}"), device, at, "500"),
                2 => envelope(&format!("{device}-{n}"), device, at, "85"),
                3 => format!(r#"{{"bad-{n}": 1}}"#),
                4 => format!(
                    r#"{{"topic":"stock","source":"depot {}","event_id":"{device}-s{n}","payload":{{"n":{n}}}}}"#,
                    random.below(5)
                ),
                5 => crate::support::bare(device, at, &temperature),
                6 => envelope(&format!("{device}-{}", n / 2), device, at, &temperature),
                _ => envelope(&format!("{device}-{n}"), device, at, &temperature),
            };
            out.push(Sending { arrives: at + random.between(0, 3_000), line: line.clone() });
            if random.one_in(25) {
                out.push(Sending { arrives: at + random.between(0, HOUR), line });
            }
            n += 1;
            at += step + random.between(-step / 4, step / 4);
        }
        let off = if random.one_in(4) { random.between(HOUR, 60 * HOUR) } else { random.between(MINUTE, 40 * MINUTE) };
        let back = (at + off).min(end);
        let keeps = random.one_in(2);
        let newest_first = random.one_in(2);
        while at < back {
            if keeps {
                let line = envelope(&format!("{device}-{n}"), device, at, "4.5");
                let since = if newest_first { back - at } else { at };
                out.push(Sending { arrives: back + since.rem_euclid(5 * MINUTE), line });
            }
            n += 1;
            at += step;
        }
        // What comes far too late.
        if keeps && random.one_in(3) {
            let line = envelope(&format!("{device}-late-{n}"), device, at - 3 * HOUR, "4.5");
            out.push(Sending { arrives: back + HOUR, line });
        }
    }
    out.retain(|sending| sending.arrives < end);
    out
}

/// Appends `entries` to the log of the data directory `dir`.
pub fn write(dir: &Path, entries: &[Entry], next_records: u64) {
    // A server may have written down the time since.
    let count = |block: &Block| if block.kind == BlockKind::Timer { 0 } else { next_records };
    let mut log = Log::open(&dir.join("log"), count).expect("opens");
    for Entry { at, kind, body, records } in entries {
        let draft = Draft { kind: *kind, source: "by hand", body, records: *records };
        log.append(&[draft], ProcessingTime::from_ms(*at)).expect("appends");
    }
}

/// Records of the last of `entries`, by which the log goes on.
pub fn last_records(entries: &[Entry]) -> u64 {
    entries.last().map_or(0, |entry| entry.records)
}
