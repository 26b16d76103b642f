//! A partition of the input without a thread or a broker: what is made of its messages, and what is written down of it. Its worker drives
//! it, and so does the simulation (`server/examples/sim`).

use super::inbox::{Inbox, Kind};
use super::take::take;
use super::{STEP, partition_of};
use crate::identities::Freeze;
use crate::pipeline::{Due, Shard, Writing, needed_from};
use crate::side::DEAD;
use crate::store::Snapshot;
use domain::engine::EngineConfig;
use domain::master::Master;
use domain::planted;
use domain::time::{DAY_MS, ProcessingTime};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Identities of so many records are written for the next owner; fewer it reads from the log again just as soon.
pub const WORTH_A_RUN: u64 = 20_000;
/// Identities are written at the latest after so long, by the log's time: what they came from may be gone from Kafka some day.
const RUN_EVERY_MS: i64 = DAY_MS;

/// Whether a log is not the one that a state came from, although it has the same name: a topic made anew, or cut off by a broker that
/// lacked its end, and perhaps written on. The state ends before `next_block`; the log ends before the offset `high`, and `later` is the
/// first offset of a message that came in after the time of the state's end, where there is one: the state covers none of these. Who asks
/// for `later` first and then for `high` misses no log that was shorter meanwhile.
pub fn is_other_log(next_block: u64, later: Option<i64>, high: i64) -> bool {
    let is_covered = |offset: i64| (offset as u64) + 1 < next_block;
    let is_newer = later.is_some_and(is_covered) && !planted("topic-made-anew-is-the-old-one");
    let is_shorter = is_covered(high) && !planted("shorter-topic-is-the-old-one");
    is_newer || is_shorter
}

/// A partition at work.
pub struct Owned {
    /// Its state.
    pub shard: Shard,
    /// Its number in the store.
    number: u32,
    /// The next block that has to come; those before it are known altogether.
    expected: u64,
    /// The newest time of a message so far.
    clock: ProcessingTime,
    /// Records that the engine has taken in.
    processed: u64,
    /// What comes before its first message was deleted unread: see [`Owned::begin_late`].
    begins_late: bool,
}

impl Owned {
    /// The partition `number` as the store holds it, with its runs of identities in `dir`. Messages have to come from the block
    /// [`Owned::expected`] on.
    pub fn restore(
        mut snapshot: Snapshot,
        number: u32,
        dir: &Path,
        master: &Arc<Master>,
        config: &EngineConfig,
        due: Due,
    ) -> anyhow::Result<Self> {
        let (expected, held) = (needed_from(&snapshot), snapshot.held.take());
        let shard = Shard::restore(snapshot, (number, STEP), dir, master, config, due)?;
        shard.check_hours(held)?;
        Ok(Self { shard, number, expected, clock: ProcessingTime::from_ms(0), processed: 0, begins_late: false })
    }

    /// Nothing was ever stored of it, and its log does not begin at the first offset any more: the first checkpoint has to name a run of
    /// identities, or the next owner would ask for what nobody ever read.
    pub fn begin_late(&mut self) {
        self.begins_late = !planted("late-beginning-is-forgotten");
    }

    /// Whether a checkpoint is due for its run alone, by a wall clock that says `now`: nothing comes in, and what came in lies in no run of
    /// identities yet. Kafka will delete it some day. No timer is sent for that: another installation on the topic would have to make a
    /// run of that timer, and send one of its own.
    pub fn is_run_overdue(&self, now: ProcessingTime) -> bool {
        let is_old = |since: ProcessingTime| since.plus_ms(RUN_EVERY_MS) <= now && !planted("quiet-partition-gets-no-run");
        self.expected >= self.shard.next_block && !self.shard.is_writing() && self.shard.run_waits_since().is_some_and(is_old)
    }

    /// Cuts a checkpoint with a run of all identities that lie in none.
    pub fn cut_with_run(&mut self) -> Writing {
        self.begins_late = false;
        Writing::new(self.shard.cut(Freeze::All))
    }

    /// Its number in the store.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The next block that has to come.
    pub const fn expected(&self) -> u64 {
        self.expected
    }

    /// What is gone of that what has to come next, where the log holds offsets from `low` to before `high`: from here to there. `to` lies
    /// before `from` where the log was cut off.
    pub fn gap(&self, (low, high): (i64, i64)) -> Option<(i64, i64)> {
        let from = self.expected as i64 - 1;
        if from < low { Some((from, low)) } else { (from > high).then_some((from, high)) }
    }

    /// Records taken in.
    pub const fn processed(&self) -> u64 {
        self.processed
    }

    /// Of which positions the store has to say whether they hold a dead letter, before `inbox` can be taken in: not of those that lie in
    /// memory, are decided on, or belong to others, whatever somebody writes.
    pub fn asks_for(&self, inbox: &Inbox) -> BTreeSet<u64> {
        let from = self.expected.max(self.shard.next_block);
        let is_unknown = |letter: &u64| {
            partition_of(*letter) == self.number
                && !self.shard.room.is_decided(*letter)
                && self.shard.room.side_at(DEAD, *letter).is_none()
        };
        inbox.decided().filter(|(block, _)| *block >= from).map(|(_, letter)| letter).filter(is_unknown).collect()
    }

    /// Takes in what was fetched; whether a timer was among it. Of [`Owned::asks_for`], `letters` are those that the store has.
    pub fn take(&mut self, inbox: &Inbox, letters: &BTreeSet<u64>) -> bool {
        let mut has_timer = false;
        for run in inbox.runs(self.shard.next_block) {
            if run.last < self.expected {
                continue; // a run of identities tells as much
            }
            self.processed += take(&mut self.shard, self.number, &run, &mut self.clock, letters);
            has_timer |= run.kind == Kind::Timer;
            self.expected = run.last + 1;
        }
        self.shard.settle();
        has_timer
    }

    /// Whether identities are `worth` that many records, or old, and in no run yet. Not while those of what the state covers are still
    /// being read: a run says that it has them all.
    pub fn is_run_due(&self, worth: u64) -> bool {
        self.expected >= self.shard.next_block && self.shard.run_is_due(worth, RUN_EVERY_MS)
    }

    /// Cuts a checkpoint. Identities become a run where they are `worth` that many records, or old.
    pub fn cut(&mut self, worth: u64) -> Writing {
        let freeze = self.freeze(worth);
        self.begins_late = false;
        Writing::new(self.shard.cut(freeze))
    }

    /// Which identities the next checkpoint makes a run of, where that many records are `worth` it.
    pub fn freeze(&self, worth: u64) -> Freeze {
        if self.begins_late || self.is_run_due(worth) { Freeze::All } else { Freeze::Full }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CONTROL, DECISION, FIX, Installation, OF, PAIRINGS, TIMER, position};
    use super::*;
    use crate::letters::{Decision, Outcome, Verdict};
    use crate::pipeline::{REBUILD, Step};
    use crate::store::{Store, StoreAddress};
    use crate::travel;
    use domain::engine::Pairing;
    use std::sync::atomic::Ordering;

    fn inbox() -> Inbox {
        Inbox::new("events", &Installation::new(["ours".to_owned()]))
    }

    /// Whoever may write to a topic may write our messages: what holds nothing of ours tells nothing but time, and pairings of a stranger
    /// are asked to be put right.
    #[tokio::test]
    async fn what_strangers_write_does_no_harm() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
        let at = |ms: i64| ProcessingTime::from_ms(1_790_000_000_000 + ms);
        let snapshot = store.load(1, "log", at(0)).await.expect("loads");
        let master = Arc::new(crate::data::master().expect("reads"));
        let mut owned = Owned::restore(snapshot, 1, dir.path(), &master, &EngineConfig::default(), REBUILD).expect("restores");
        let devices = owned.shard.room.engine.device_count();
        let reading = br#"{"device":"box"}
{"device_id":"box","ts":1790000000000,"temperature":5}"#;
        let with_nul = br#"[{"tracker":"t","device":"d\u0000"}]"#;
        let fix_with_nul = br#"{"device":"box\u0000"}
{"type":"Feature","geometry":{"type":"Point","coordinates":[107.6,-6.8]},"properties":{"device_id":"t","ts":1790000000000}}"#;
        let values = [&b""[..], b"{}", b"\n", b"\xff\n\xff", b"[", reading, with_nul, fix_with_nul];
        let kinds = [FIX, PAIRINGS, DECISION];
        for (value, offset) in values.into_iter().flat_map(|value| kinds.map(|kind| (value, kind))).zip(0..) {
            let mut inbox = inbox();
            inbox.note(offset, at(offset), value.0, [(CONTROL, Some(value.1))].into_iter());
            owned.take(&inbox, &BTreeSet::new());
            let engine = &owned.shard.room.engine;
            assert_eq!((owned.expected(), engine.now()), (offset as u64 + 2, at(offset)));
            assert_eq!((engine.totals().all.received, engine.device_count(), engine.pairings().len()), (0, devices, 0));
        }
        assert_eq!((owned.shard.wants_pairings(), owned.shard.identities().len()), (None, 0));
        let mut inbox = inbox();
        let theirs = br#"[{"tracker":"t","device":"d"}]"#;
        inbox.note(100, at(100), theirs, [(CONTROL, Some(PAIRINGS))].into_iter());
        owned.take(&inbox, &BTreeSet::new());
        assert_eq!(owned.shard.wants_pairings().as_deref(), Some(&b"[]"[..]));
        store.close().await;
    }

    /// Anybody may write a decision. One of a letter of this partition counts; one of anything else would leave counters that no letter
    /// stands for, or take the place of another partition's.
    #[tokio::test]
    async fn only_letters_of_the_partition_are_decided_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
        let at = ProcessingTime::from_ms(1_790_000_000_000);
        let snapshot = store.load(1, "log", at).await.expect("loads");
        let master = Arc::new(crate::data::master().expect("reads"));
        let mut owned = Owned::restore(snapshot, 1, dir.path(), &master, &EngineConfig::default(), REBUILD).expect("restores");
        let mut inbox = inbox();
        inbox.note(0, at, b"[", std::iter::empty());
        inbox.note(1, at, br#"{"device_id":"box","ts":1790000000000,"temperature":5}"#, std::iter::empty());
        let decided =
            [position(2, 1), position(1, 2), position(1, 9), 0, u64::MAX, position(1, 1), position(1, 1), position(1, 7)];
        for (letter, offset) in decided.into_iter().zip(2..) {
            let verdict = Verdict::Discard("of no\0use".to_owned());
            let body = Decision { letter, by: "\0".to_owned(), verdict }.encode(b"");
            inbox.note(offset, at, &body, [(CONTROL, Some(DECISION))].into_iter());
        }
        assert_eq!(inbox.decided().collect::<Vec<_>>(), (3..).zip(decided).collect::<Vec<_>>());
        let asked = owned.asks_for(&inbox);
        assert_eq!(asked, [1, 2, 7, 9].map(|block| position(1, block)).into(), "neither of others nor twice");
        // What the store has: one that came before the state that was loaded.
        owned.take(&inbox, &BTreeSet::from([position(1, 7), position(2, 1)]));
        let room = &owned.shard.room;
        let of: Vec<(u64, &str)> = room.decisions().map(|decided| (decided.letter, decided.by.as_str())).collect();
        assert_eq!(of, [(position(1, 1), "\u{fffd}"), (position(1, 7), "\u{fffd}")]);
        let reason = Outcome::Discarded { reason: "of no\u{fffd}use".to_owned() };
        assert!(room.decisions().all(|decided| decided.outcome == reason));
        assert_eq!((room.decided(), owned.expected(), owned.shard.next_block), (2, 11, 11));
        assert!(owned.asks_for(&inbox).is_empty(), "what is covered asks nothing");
        store.close().await;
    }

    /// A tracker with many devices makes many fixes of one, and they wait in memory until they are handed on.
    #[tokio::test]
    async fn fixes_that_wait_are_counted() {
        const DEVICES: u64 = 300;
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
        let at = ProcessingTime::from_ms(1_790_000_000_000);
        let snapshot = store.load(1, "log", at).await.expect("loads");
        let master = Arc::new(crate::data::master().expect("reads"));
        let due = Due { records: 1_000, ..REBUILD };
        let mut owned = Owned::restore(snapshot, 1, dir.path(), &master, &EngineConfig::default(), due).expect("restores");
        owned.shard.hand_on_from(0);
        let pairing = |n| Pairing { tracker: "truck".into(), device: format!("box-{n}"), from_ms: i64::MIN, to_ms: i64::MAX };
        let pairings: Vec<Pairing> = (0..DEVICES).map(pairing).collect();
        let mut inbox = inbox();
        inbox.note(0, at, &travel::encode(&pairings), [(CONTROL, Some(PAIRINGS))].into_iter());
        for n in 0..4 {
            let place = r#"{"type":"Feature","geometry":{"type":"Point","coordinates":[107.6,-6.8]}"#;
            let long = "x".repeat(if n == 3 { 10 * 512 } else { 0 });
            let fix = format!(r#"{place},"properties":{{"device_id":"truck","ts":{},"note":"{long}"}}}}"#, at.ms() + n);
            inbox.note(n + 1, at, fix.as_bytes(), std::iter::empty());
        }
        owned.take(&inbox, &BTreeSet::new());
        let waiting = |owned: &Owned| owned.shard.uncommitted.load(Ordering::Relaxed);
        assert_eq!(waiting(&owned), 4 * (1 + DEVICES) + 10, "the records, their fixes, and the long one's bytes once");
        assert!(owned.shard.is_checkpoint_due());
        let checkpoint = owned.cut(u64::MAX);
        let Step::HandOn(fixes) = checkpoint.step() else { panic!("fixes first") };
        assert_eq!(fixes.len() as u64, 4 * DEVICES);
        owned.shard.checkpoint_done().expect("it is done");
        assert_eq!(waiting(&owned), 0);
        // A fetch is smaller where each message may lead to so many.
        assert_eq!(owned.shard.room.engine.most_travellers() as u64, DEVICES);
        store.close().await;
    }

    /// A partition that goes quiet makes a run once what came in last is a day old, once: also of what another installation wrote, and
    /// without a word to it.
    #[tokio::test]
    async fn a_quiet_partition_gets_its_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
        let at = |ms: i64| ProcessingTime::from_ms(1_790_000_000_000 + ms);
        let snapshot = store.load(1, "log", at(0)).await.expect("loads");
        let master = Arc::new(crate::data::master().expect("reads"));
        let mut owned = Owned::restore(snapshot, 1, dir.path(), &master, &EngineConfig::default(), REBUILD).expect("restores");
        let take = |owned: &mut Owned, offset: i64, ms: i64, value: &[u8], mark: Option<&str>| {
            let mut inbox = inbox();
            let headers = mark.map(|mark| [(CONTROL, Some(TIMER)), (OF, Some(mark.as_bytes()))]);
            inbox.note(offset, at(ms), value, headers.into_iter().flatten());
            owned.take(&inbox, &BTreeSet::new())
        };
        let cut = |owned: &mut Owned| {
            let writing = owned.cut_with_run();
            let Step::WriteRun(run) = writing.step() else { panic!("identities become a run") };
            run.write().expect("writes");
            owned.shard.checkpoint_done().expect("it is done");
        };
        assert!(!owned.is_run_overdue(at(RUN_EVERY_MS)), "nothing ever came in");
        take(&mut owned, 0, 0, b"{}", None);
        assert!(!owned.is_run_overdue(at(RUN_EVERY_MS - 1)) && !owned.is_run_due(2));
        assert!(owned.is_run_overdue(at(RUN_EVERY_MS)));
        cut(&mut owned);
        assert!(!owned.is_run_overdue(at(9 * RUN_EVERY_MS)), "one run is enough");
        assert!(!take(&mut owned, 1, 1, b"", Some("theirs")), "a timer of another is none of ours");
        assert_eq!(owned.shard.room.engine.now(), at(1));
        assert!(owned.is_run_overdue(at(RUN_EVERY_MS + 1)), "Kafka may delete it");
        cut(&mut owned);
        assert!(!owned.is_run_overdue(at(9 * RUN_EVERY_MS)));
        assert!(take(&mut owned, 2, RUN_EVERY_MS, b"", Some("ours")));
        take(&mut owned, 3, 2 * RUN_EVERY_MS, b"{}", None);
        // By the log's time it is due as well.
        assert!(owned.is_run_due(2) && owned.freeze(2) == Freeze::All);
        store.close().await;
    }
}
