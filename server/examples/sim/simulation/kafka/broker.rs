//! The broker of the simulation: partitions with their messages, what it stores and does not confirm, what it deletes for its age, and a
//! topic that somebody makes anew.

use super::super::random::Random;
use super::super::setup;
use super::super::store::KEY;
use super::Cluster;
use domain::event::Reason;
use domain::time::{HOUR_MS, ProcessingTime};
use server::admission::{Batch, Format, IdentityKey};
use server::kafka::{CONTROL, DECISION, FIX, Inbox, Installation, OF, PAIRINGS, SOURCE, TIMER, UNREADABLE, position};
use server::letters::{Decision, Verdict};
use server::log::{Block, BlockKind};
use server::side::DEAD;
use server::travel;

/// The name of the installation that is simulated, and of another one on the same topic.
const OURS: &str = "sim";
const OTHERS: &str = "simpler";
/// Who decides there.
pub const STRANGER: &str = "Budi";

/// The installation that is simulated.
pub fn ours() -> Installation {
    Installation::new([OURS.to_owned()])
}

/// The headers of its control messages.
pub fn control(what: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![(CONTROL, what.to_vec()), (OF, OURS.as_bytes().to_vec())]
}

/// A message as the broker has it.
#[derive(Clone, Debug)]
pub struct Message {
    pub offset: i64,
    pub at: ProcessingTime,
    pub value: Vec<u8>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

impl Message {
    pub fn put(&self, inbox: &mut Inbox) {
        let headers = self.headers.iter().map(|(key, value)| (*key, Some(value.as_slice())));
        inbox.note(self.offset, self.at, &self.value, headers);
    }

    pub fn is_foreign(&self) -> bool {
        self.headers.iter().any(|(key, value)| *key == OF && value == OTHERS.as_bytes())
    }

    /// The same as a block of a log; `clock` is the newest time so far. What nobody can read, and a fix that was handed on, is time alone.
    pub fn block(&self, partition: u32, clock: &mut ProcessingTime) -> Block {
        let header = |name: &str| self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_slice());
        let kind = match header(CONTROL) {
            _ if self.is_foreign() => BlockKind::Timer,
            None => BlockKind::Records(Format::Record),
            Some(DECISION) => BlockKind::Decision,
            Some(PAIRINGS) => BlockKind::Pairings,
            Some(_) => BlockKind::Timer,
        };
        *clock = (*clock).max(self.at);
        let source = String::from_utf8_lossy(header(SOURCE).unwrap_or(b"events")).into_owned();
        let number = self.offset as u64 + 1;
        Block {
            number,
            first_record: position(partition, number),
            received_at: *clock,
            kind,
            source,
            body: self.value.clone().into(),
        }
    }

    /// Whether it takes the place of a record, or of one that is taken in again.
    pub fn has_record(&self) -> bool {
        let is_decision = self.headers.iter().any(|(key, value)| *key == CONTROL && value == DECISION);
        let replays = || Decision::decode(&self.value.clone().into()).is_ok_and(|(decision, _)| decision.records() > 0);
        self.is_record() || is_decision && replays()
    }

    pub fn is_record(&self) -> bool {
        !self.headers.iter().any(|(key, value)| *key == CONTROL && value != UNREADABLE)
    }
}

/// Messages that were deleted before they were needed no longer, and that somebody does without.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// The first offset that was needed: identities from here on are forgotten.
    pub needed: i64,
    /// The first block that was not processed.
    pub next: u64,
    /// The first offset that was there still.
    pub low: i64,
}

/// A partition as the broker has it.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// All that ever were in this topic; those before `low` cannot be fetched any more.
    pub messages: Vec<Message>,
    next_offset: i64,
    low: i64,
    /// Gaps that were accepted, in order.
    pub gaps: Vec<Gap>,
    /// What was in the topic that had this name before.
    pub before: Option<Vec<Message>>,
}

impl Log {
    /// The first offset that is there, and the first that is not there yet.
    pub const fn extent(&self) -> (i64, i64) {
        (self.low, self.next_offset)
    }

    /// At most `most` messages from `offset` on; `None` where it is out of range.
    pub fn fetch(&self, offset: i64, most: usize) -> Option<&[Message]> {
        let from = self.messages.partition_point(|message| message.offset < offset);
        let to = (from + most).min(self.messages.len());
        (self.low..=self.next_offset).contains(&offset).then(|| &self.messages[from..to])
    }

    /// The first offset of a message that came in after `at`.
    pub fn first_after(&self, at: ProcessingTime) -> Option<i64> {
        let there = self.messages.iter().filter(|message| message.offset >= self.low);
        there.filter(|message| message.at > at).map(|message| message.offset).next()
    }

    /// The block after the last message that is there.
    pub fn end(&self) -> Option<u64> {
        self.messages.last().map(|message| message.offset as u64 + 2)
    }

    /// Adds a message, perhaps after a hole.
    fn add(&mut self, has_hole: bool, at: ProcessingTime, value: Vec<u8>, headers: Vec<(&'static str, Vec<u8>)>) {
        // The first message of a topic has offset 0.
        self.next_offset += i64::from(has_hole && self.next_offset > 0);
        self.messages.push(Message { offset: self.next_offset, at, value, headers });
        self.next_offset += 1;
    }

    /// Deletes messages from the front.
    fn retain(&mut self, random: &mut Random) {
        let there = self.messages.partition_point(|message| message.offset < self.low);
        if there < self.messages.len() {
            let to = there + random.index(self.messages.len() - there);
            self.low = self.messages[to].offset;
        }
    }
}

/// Where a device's messages go.
pub fn partition_of(key: impl AsRef<[u8]>, partitions: usize) -> usize {
    key.as_ref().iter().fold(7usize, |hash, byte| hash.wrapping_mul(31) ^ usize::from(*byte)) % partitions
}

impl Cluster {
    /// A request goes to the broker, or part of it, or nobody knows.
    pub(super) fn send(&mut self) -> anyhow::Result<()> {
        let now = self.now();
        if let Some(next) = self.outbox.last().filter(|next| next.due_ms > now + 60_000)
            && self.random.one_in(3)
        {
            // Where nothing comes for days, by many hours.
            let wait_ms = next.due_ms - now;
            self.world.pass(if wait_ms > HOUR_MS { wait_ms / 2 } else { 15_000 });
        }
        let Some(mut request) = self.outbox.pop_if(|next| next.due_ms <= now) else { return Ok(()) };
        let batch = Batch::parse(request.body.clone(), request.format, request.source, &IdentityKey(KEY))?;
        let mut is_confirmed = true;
        for index in 0..batch.len() {
            let mut headers = vec![(SOURCE, request.source.as_bytes().to_vec())];
            if batch.rejection(index) == Some(Reason::MalformedJson) {
                headers.push((CONTROL, UNREADABLE.to_vec()));
            }
            let partition = match batch.key(index) {
                Some(key) => partition_of(&key, self.logs.len()),
                None => self.random.index(self.logs.len()),
            };
            let (is_stored, is_told) = if self.is_calm {
                (true, true)
            } else {
                match self.random.below(40) {
                    0 => (false, false),
                    1 | 2 => (true, false),
                    _ => (true, true),
                }
            };
            if is_stored {
                self.store_message(partition, batch.raw_record(index).to_vec(), headers);
            }
            if !is_told {
                self.world.note(if is_stored { "a message stored and not confirmed" } else { "a message lost by the broker" });
                is_confirmed = false;
            }
        }
        if !is_confirmed || self.random.one_in(25) {
            request.tries += 1;
            let wait = self.random.between(100, 5_000);
            request.due_ms = now + wait;
            let at = self.outbox.partition_point(|other| other.due_ms > request.due_ms);
            self.outbox.insert(at, request);
        }
        Ok(())
    }

    pub(super) fn store_message(&mut self, partition: usize, value: Vec<u8>, headers: Vec<(&'static str, Vec<u8>)>) {
        let at = ProcessingTime::from_ms(self.now());
        let has_hole = self.random.one_in(20);
        self.logs[partition].add(has_hole, at, value, headers);
    }

    /// Somebody decides of a dead letter, perhaps not for the first time.
    pub(super) fn decide(&mut self) {
        let partition = self.random.index(self.logs.len());
        let letters = self.store.of.get(&(partition as u32)).map_or(&[][..], |stored| &stored.side[DEAD]);
        if letters.is_empty() || !self.random.one_in(30) {
            return;
        }
        let row = self.random.pick(letters);
        let verdict = if self.random.one_in(2) { Verdict::Replay } else { Verdict::Discard("of no use".to_owned()) };
        let decision = Decision { letter: row.position, by: "Sari".to_owned(), verdict };
        let headers = [(SOURCE, row.source.as_bytes().to_vec())].into_iter().chain(control(DECISION)).collect();
        let value = decision.encode(&row.raw).to_vec();
        self.store_message(partition, value, headers);
        self.world.note("a decision");
    }

    /// Another installation that reads the topic writes into it what would mean much if it were ours.
    pub(super) fn meddle(&mut self) {
        let Some(random) = self.others.as_mut().filter(|_| !self.is_calm) else { return };
        if !random.one_in(60) {
            return;
        }
        let partition = random.index(self.logs.len());
        let messages = &self.logs[partition].messages;
        let letter =
            messages.get(random.index(messages.len().max(1))).map_or(1, |of| position(partition as u32, of.offset as u64 + 1));
        let discard = Decision { letter, by: STRANGER.to_owned(), verdict: Verdict::Discard("not ours".to_owned()) };
        let fix = messages.iter().rfind(|message| message.is_fix()).map_or(Vec::new(), |message| message.value.clone());
        let (what, value) = match random.below(4) {
            0 => (TIMER, Vec::new()),
            1 => (DECISION, discard.encode(b"").to_vec()),
            2 => (PAIRINGS, travel::encode(&setup::pairings(random)).to_vec()),
            _ => (FIX, fix),
        };
        self.store_message(partition, value, vec![(OF, OTHERS.as_bytes().to_vec()), (CONTROL, what.to_vec())]);
        self.world.note("a message of another installation");
    }

    /// The broker deletes what is old, needed or not. A partition of which nothing was stored ever is taken as it is found.
    pub(super) fn age(&mut self) {
        let partition = self.random.index(self.logs.len());
        let is_known = self.store.of.get(&(partition as u32)).is_some_and(|stored| stored.committed_at_ms > 0);
        if is_known && self.logs[partition].before.is_none() && self.random.one_in(60) {
            self.logs[partition].retain(&mut self.random);
            self.world.note("messages deleted for their age");
        }
    }

    /// Somebody deletes a topic and makes one of the same name: whoever has the partition is asked for it back.
    pub(super) fn make_anew(&mut self) {
        let partition = self.random.index(self.logs.len());
        let is_known = self.store.of.get(&(partition as u32)).is_some_and(|stored| stored.next > 1);
        if !is_known || self.logs[partition].before.is_some() || !self.random.one_in(400) {
            return;
        }
        let old = std::mem::take(&mut self.logs[partition]);
        self.logs[partition] = Log { gaps: old.gaps, before: Some(old.messages), ..Log::default() };
        self.world.pass(1);
        self.world.note("a topic made anew");
        for process in &mut self.processes {
            process.ask_back(partition as u32);
        }
    }

    /// Somebody who is told that a partition stands still lets it go on (`server::kafka::setup::accept_gap`).
    pub(super) fn accept(&mut self) {
        let partition = self.random.index(self.logs.len());
        let needed = self.begins_at(partition as u32);
        let (low, _) = self.logs[partition].extent();
        let is_told = self.processes.iter().any(|process| process.stands_still(partition as u32));
        if needed < low && is_told && self.random.one_in(4) {
            let next = self.store.accept_gap(partition as u32, low as u64 + 1);
            self.logs[partition].gaps.push(Gap { needed, next, low });
            // Whoever owns it is fenced.
            self.begun_late.insert(partition as u32);
            self.world.note("a gap accepted");
        }
    }
}
