//! Messages as they come, put together into runs that the engine takes at once.

use super::{CONTROL, DECISION, FIX, Installation, OF, PAIRINGS, SOURCE, TIMER, UNREADABLE};
use crate::admission::Message as Alone;
use crate::letters::Decision;
use bytes::Bytes;
use domain::time::ProcessingTime;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use std::ops::Range;

/// Messages of one fetch, at most,
const MESSAGES: usize = 8_000;
/// at least,
const FEWEST: usize = 100;
/// and their bytes.
const BYTES: usize = 4 << 20;
/// Of a sender's name no more is kept, in bytes.
const MAX_SOURCE_BYTES: usize = 128;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A record, or records.
    Records,
    /// A decision of a dead letter.
    Decision,
    /// The pairings in force from here on.
    Pairings,
    /// A fix that another partition has handed on.
    Fix,
    /// Time passes.
    Timer,
    /// A control message of another installation: nothing but its time is of any meaning here.
    Foreign,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The offset, counted from one.
    number: u64,
    received_at: ProcessingTime,
    end: usize,
    /// Index of the source.
    source: usize,
    kind: Kind,
    is_unreadable: bool,
}

/// Messages of one fetch.
#[derive(Debug)]
pub struct Inbox {
    most: usize,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    sources: Vec<String>,
    ours: Installation,
}

/// Messages that follow each other without a hole and came in at the same moment.
#[derive(Debug)]
pub struct Run<'a> {
    pub kind: Kind,
    /// Blocks from this
    pub first: u64,
    /// to this.
    pub last: u64,
    pub received_at: ProcessingTime,
    /// Their values, one after the other.
    pub bytes: Bytes,
    begin: usize,
    entries: &'a [Entry],
    sources: &'a [String],
}

impl<'a> Run<'a> {
    /// Its records.
    pub fn messages(&self) -> impl Iterator<Item = Alone<'a>> + use<'a> {
        let (sources, begin) = (self.sources, self.begin);
        self.entries.iter().map(move |e| Alone { end: e.end - begin, source: &sources[e.source], is_unreadable: e.is_unreadable })
    }

    /// The position of the dead letter of which it decides.
    pub fn decided(&self) -> Option<u64> {
        let (decision, _) = (self.kind == Kind::Decision).then(|| Decision::decode(&self.bytes).ok())??;
        Some(decision.letter)
    }

    /// The source of its first message.
    pub fn source(&self) -> &'a str {
        &self.sources[self.entries[0].source]
    }
}

impl Inbox {
    /// An empty one of the installation `ours`; what names no source is from `topic`.
    pub fn new(topic: &str, ours: &Installation) -> Self {
        Self { most: MESSAGES, bytes: Vec::new(), entries: Vec::new(), sources: vec![topic.to_owned()], ours: ours.clone() }
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.most || self.bytes.len() >= BYTES
    }

    /// Takes fewer where each message may lead to `spread` others that wait in memory.
    pub fn spread(&mut self, spread: usize) {
        self.most = (MESSAGES / spread.max(1)).max(FEWEST);
    }

    /// Whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts a message at its end.
    pub fn put(&mut self, message: &BorrowedMessage<'_>) {
        // A producer's own time is taken only where the topic was not set up: see `check_topics`.
        let received_at = ProcessingTime::from_ms(message.timestamp().to_millis().unwrap_or_default());
        let headers = message.headers().into_iter().flat_map(Headers::iter).map(|header| (header.key, header.value));
        self.note(message.offset(), received_at, message.payload().unwrap_or_default(), headers);
    }

    /// Puts a message at its end that lies at `offset` since `received_at`.
    pub fn note<'h>(
        &mut self,
        offset: i64,
        received_at: ProcessingTime,
        value: &[u8],
        headers: impl Iterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) {
        let (mut kind, mut is_unreadable, mut source, mut is_ours) = (Kind::Records, false, 0, true);
        for header in headers {
            match header {
                (SOURCE, Some(name)) => source = self.source(name),
                (CONTROL, Some(TIMER)) => kind = Kind::Timer,
                (CONTROL, Some(DECISION)) => kind = Kind::Decision,
                (CONTROL, Some(PAIRINGS)) => kind = Kind::Pairings,
                (CONTROL, Some(FIX)) => kind = Kind::Fix,
                (CONTROL, Some(UNREADABLE)) => is_unreadable = true,
                (OF, Some(name)) => is_ours = self.ours.wrote(name),
                _ => {}
            }
        }
        if kind != Kind::Records && !is_ours {
            kind = Kind::Foreign;
        }
        self.add(offset, received_at, value, (kind, source, is_unreadable));
    }

    fn add(
        &mut self,
        offset: i64,
        received_at: ProcessingTime,
        value: &[u8],
        (kind, source, is_unreadable): (Kind, usize, bool),
    ) {
        self.bytes.extend_from_slice(value);
        let (number, end) = (offset as u64 + 1, self.bytes.len());
        self.entries.push(Entry { number, received_at, end, source, kind, is_unreadable });
    }

    fn source(&mut self, name: &[u8]) -> usize {
        // Few senders write at a time, and each writes many records.
        if let Some(known) = self.sources.iter().rposition(|known| known.as_bytes() == name) {
            return known;
        }
        // Anybody may write to a topic. Postgres takes no NUL in a text.
        let name = String::from_utf8_lossy(name).replace('\0', "\u{fffd}");
        let end = name.floor_char_boundary(MAX_SOURCE_BYTES);
        self.sources.push(name[..end].to_owned());
        self.sources.len() - 1
    }

    /// The blocks that decide of dead letters, or so they say, with the positions of these.
    pub fn decided(&self) -> impl Iterator<Item = (u64, u64)> {
        let runs = self.entries.iter().any(|entry| entry.kind == Kind::Decision).then(|| self.runs(0));
        runs.into_iter().flatten().filter_map(|run| Some((run.last, run.decided()?)))
    }

    /// The runs of which it consists; none goes over the beginning of block `border`.
    pub fn runs(&self, border: u64) -> impl Iterator<Item = Run<'_>> {
        let all = Bytes::copy_from_slice(&self.bytes);
        let mut at = 0;
        std::iter::from_fn(move || {
            let first = self.entries.get(at)?;
            let of_run = |range: &Range<usize>| {
                let (before, next) = (&self.entries[range.end - 1], self.entries.get(range.end)?);
                let goes_on = next.kind == Kind::Records
                    && before.kind == Kind::Records
                    && next.number == before.number + 1
                    && next.received_at == before.received_at
                    && next.number != border;
                goes_on.then_some(())
            };
            let mut range = at..at + 1;
            while of_run(&range).is_some() {
                range.end += 1;
            }
            let begin = if at == 0 { 0 } else { self.entries[at - 1].end };
            let entries = &self.entries[range.clone()];
            let last = &entries[entries.len() - 1];
            at = range.end;
            Some(Run {
                kind: first.kind,
                first: first.number,
                last: last.number,
                received_at: first.received_at,
                bytes: all.slice(begin..last.end),
                begin,
                entries,
                sources: &self.sources,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages as `offset@time` with `t` for timers, and the runs that they make before and after block 5.
    fn check(messages: &str, runs: &str) {
        let mut inbox = Inbox::new("topic", &Installation::new(["ours".to_owned()]));
        for message in messages.split_whitespace() {
            let (kind, plain) = message.strip_prefix('t').map_or((Kind::Records, message), |rest| (Kind::Timer, rest));
            let (offset, at) = plain.split_once('@').expect("offset and time");
            let at = ProcessingTime::from_ms(at.parse().expect("a number"));
            inbox.add(offset.parse().expect("a number"), at, offset.as_bytes(), (kind, 0, false));
        }
        let found: Vec<String> =
            inbox.runs(5).map(|run| format!("{}-{}:{}", run.first, run.last, String::from_utf8_lossy(&run.bytes))).collect();
        assert_eq!(found.join(" "), runs, "{messages}");
    }

    #[test]
    fn a_source_is_text_for_every_store() {
        let mut inbox = Inbox::new("topic", &Installation::new(["ours".to_owned()]));
        for name in [&b"gate\0way"[..], b"\xff", &[b'n'; 1_000]] {
            inbox.note(0, ProcessingTime::from_ms(1), b"", [(SOURCE, Some(name))].into_iter());
        }
        let told: Vec<usize> = inbox.sources[1..].iter().map(String::len).collect();
        assert_eq!(told, ["gate\u{fffd}way".len(), 3, MAX_SOURCE_BYTES]);
        assert!(inbox.sources.iter().all(|name| !name.contains('\0')));
    }

    /// What an older program wrote has no mark: it counts as before.
    #[test]
    fn control_messages_of_others_are_told_apart() {
        let ours = Installation::new(["new".to_owned(), "old".to_owned()]);
        let kind = |what: Option<&[u8]>, mark: Option<&[u8]>| {
            let headers = [what.map(|what| (CONTROL, Some(what))), mark.map(|mark| (OF, Some(mark)))];
            let mut both = [Inbox::new("topic", &ours), Inbox::new("topic", &ours)];
            both[0].note(0, ProcessingTime::from_ms(1), b"x", headers.into_iter().flatten());
            both[1].note(0, ProcessingTime::from_ms(1), b"x", headers.into_iter().rev().flatten());
            let [one, other] = both.map(|inbox| inbox.runs(0).next().expect("a message").kind);
            assert_eq!(one, other, "in whichever order headers come");
            one
        };
        for (what, own) in [(TIMER, Kind::Timer), (DECISION, Kind::Decision), (PAIRINGS, Kind::Pairings), (FIX, Kind::Fix)] {
            let marks = [None, Some(&b"new"[..]), Some(b"old"), Some(b"other"), Some(b"ne"), Some(b"")];
            let expected = [own, own, own, Kind::Foreign, Kind::Foreign, Kind::Foreign];
            assert_eq!(marks.map(|mark| kind(Some(what), mark)), expected);
        }
        // Records are everybody's.
        assert_eq!([kind(None, Some(b"other")), kind(Some(UNREADABLE), Some(b"other"))], [Kind::Records; 2]);
    }

    #[test]
    fn runs_end_at_holes_other_times_timers_and_the_border() {
        check("", "");
        check("0@1 1@1 2@1", "1-3:012");
        check("0@1 1@2 2@2", "1-1:0 2-3:12");
        check("0@1 2@1", "1-1:0 3-3:2");
        check("0@1 t1@1 2@1", "1-1:0 2-2:1 3-3:2");
        check("2@1 3@1 4@1 5@1", "3-4:23 5-6:45");
    }
}
