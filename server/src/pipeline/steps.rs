//! The steps of the embedded pipeline, without a thread or a wait among them: its driver takes them, and so does the simulation
//! (`server/examples/sim`).

pub use super::replay::records_of;
use super::shard::{Due, Shard, needed_from};
use super::{Answer, PARTITION, Refused};
use crate::admission::{Batch, Format, IdentityKey};
use crate::clock::{Clock, Clocks};
use crate::fullness::Ballast;
use crate::log::{AppendError, BlockKind, Draft, Log, LogError, Place};
use crate::store::Snapshot;
use bytes::Bytes;
use domain::engine::EngineConfig;
use domain::master::Master;
use domain::planted;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A checkpoint is due after so many records,
pub const CHECKPOINT_RECORDS: u64 = 2_000_000;
/// or so many bytes of log, or after the configured time with any change.
pub const CHECKPOINT_BYTES: u64 = 384 * 1024 * 1024;
/// Records that no committed checkpoint covers, at most: their results lie in memory. A sender beyond that is asked to come again.
const UNCOMMITTED_RECORDS: u64 = CHECKPOINT_RECORDS + 1_000_000;
/// Bytes of them, at most: those of dead letters lie in memory as they came.
const UNCOMMITTED_BYTES: u64 = CHECKPOINT_BYTES + 256 * 1024 * 1024;
/// How late a timer may be: most are passed by the next block anyway, and each entry of its own costs a sync.
pub(crate) const TIMER_SLACK: Duration = Duration::from_secs(1);
/// A timer that did not come back by then was lost, to a full disk or a broker that was away, and is sent again.
pub(crate) const TIMER_PATIENCE: Duration = Duration::from_secs(5);

/// Whether the database keeps up, where so many records, and bytes of them, are covered by no committed checkpoint.
pub fn keeps_up(uncommitted: &AtomicU64, bytes: &AtomicU64) -> bool {
    uncommitted.load(Ordering::Relaxed) <= UNCOMMITTED_RECORDS && bytes.load(Ordering::Relaxed) <= UNCOMMITTED_BYTES
}

/// What goes into the log.
#[derive(Debug)]
pub enum Submission {
    /// The records of a request.
    Records {
        /// They.
        batch: Batch,
        /// How they are told apart.
        format: Format,
        /// Source of those that name none.
        source: String,
        /// Who waits for the answer.
        reply: oneshot::Sender<Result<Answer, Refused>>,
        /// The room that the body takes.
        permit: OwnedSemaphorePermit,
    },
    /// A decision of a dead letter, encoded, with the source and the number of the records in it.
    Decision {
        /// It.
        body: Bytes,
        /// Source of the letter.
        source: String,
        /// How many records it takes in again.
        records: u64,
        /// Who waits for the answer.
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    /// The pairings in force from now on, encoded.
    Pairings(Bytes),
    /// Time alone.
    Timer,
}

impl Submission {
    /// Asks its sender to come again.
    fn refuse(self) {
        match self {
            Submission::Records { reply, .. } => drop(reply.send(Err(Refused::Unwritable))),
            Submission::Decision { reply, .. } => drop(reply.send(Err(Refused::Unwritable))),
            Submission::Pairings(_) | Submission::Timer => {}
        }
    }

    /// Whether it goes on while the disk is full: what people decide, but for records that they take in again.
    fn goes_on(&self) -> bool {
        match self {
            Submission::Decision { records, .. } => *records == 0,
            Submission::Records { .. } => planted("records-take-the-ballast"),
            Submission::Pairings(_) | Submission::Timer => false,
        }
    }

    fn draft(&self) -> Draft<'_> {
        match self {
            Submission::Records { batch, format, source, .. } => {
                Draft { kind: BlockKind::Records(*format), source, body: batch.raw(), records: batch.len() as u64 }
            }
            Submission::Decision { body, source, records, .. } => {
                Draft { kind: BlockKind::Decision, source, body, records: *records }
            }
            Submission::Pairings(body) => Draft { kind: BlockKind::Pairings, source: "", body, records: 0 },
            Submission::Timer => Draft { kind: BlockKind::Timer, source: "", body: b"", records: 0 },
        }
    }
}

/// Something submitted that the disk has.
#[derive(Debug)]
pub struct Durable {
    /// Where.
    pub place: Place,
    /// What.
    pub submission: Submission,
}

/// What was made durable at once.
#[derive(Debug)]
pub struct Group {
    /// In order of the log.
    pub blocks: Vec<Durable>,
    /// Bytes of the log after it.
    pub log_bytes: u64,
}

/// Opens the log in `dir`, whose records have identities under `key`.
pub fn open_log(dir: &Path, key: IdentityKey) -> Result<Log, LogError> {
    Log::open(dir, move |block| records_of(block, &key))
}

/// State as of the checkpoint, then the rest of the log.
pub fn restore(
    mut snapshot: Snapshot,
    log_dir: &Path,
    identities_dir: &Path,
    master: &Arc<Master>,
    config: &EngineConfig,
    due: Due,
) -> anyhow::Result<Shard> {
    let (from, held) = (needed_from(&snapshot), snapshot.held.take());
    let mut shard = Shard::restore(snapshot, (PARTITION, 1), identities_dir, master, config, due)?;
    shard.check_hours(held)?;
    shard.read_log(log_dir, from)?;
    Ok(shard)
}

/// What a start has to note in the log before anything else is taken in.
pub fn to_note(engine: &EngineSide) -> Vec<Submission> {
    engine.shard.wants_pairings().map(Submission::Pairings).into_iter().collect()
}

/// A group of which nobody knows whether the disk has it.
#[derive(Debug)]
pub struct Unknown {
    /// Why.
    pub error: LogError,
    /// Nobody of them may be told anything.
    pub group: Vec<Submission>,
}

/// The side that makes things durable.
#[derive(Debug)]
pub struct LogSide {
    log: Log,
    clock: Clock,
    admitted: Arc<AtomicU64>,
    ballast: Option<Ballast>,
    is_clock_wrong: bool,
}

impl LogSide {
    /// Appends to `log` by the time of `clock`, and adds to `admitted` the records that were.
    pub fn new(log: Log, clock: Clock, admitted: Arc<AtomicU64>) -> Self {
        Self { log, clock, admitted, ballast: None, is_clock_wrong: false }
    }

    /// Lets `ballast` go while the disk is full.
    #[must_use]
    pub fn with_ballast(self, ballast: Option<Ballast>) -> Self {
        Self { ballast, ..self }
    }

    /// Makes `group` durable, while the disk is full only what goes on; `None` where nothing was. The senders of what was not were asked to
    /// come again. After an error nobody knows what the disk holds: the process has to end.
    pub fn keep(&mut self, mut group: Vec<Submission>) -> Result<Option<Group>, Unknown> {
        let now = match self.clock.time(Clocks::now()) {
            Ok(now) => now,
            Err(error) => {
                if !std::mem::replace(&mut self.is_clock_wrong, true) {
                    tracing::error!(%error, "Senders are asked to come again.");
                }
                group.into_iter().for_each(Submission::refuse);
                return Ok(None);
            }
        };
        if std::mem::take(&mut self.is_clock_wrong) {
            tracing::info!("The server's clock is right again.");
        }
        let mut is_full = self.ballast.as_mut().is_some_and(|ballast| !ballast.hold());
        loop {
            if is_full {
                let refused: Vec<Submission>;
                (group, refused) = group.into_iter().partition(Submission::goes_on);
                refused.into_iter().for_each(Submission::refuse);
            }
            if group.is_empty() {
                return Ok(None);
            }
            // Time stands still: nobody falls silent while records are refused.
            let is_still = is_full && !planted("time-passes-on-a-full-disk");
            let now = if is_still { self.log.last_received_at() } else { now };
            let drafts: Vec<Draft<'_>> = group.iter().map(Submission::draft).collect();
            let error = match self.log.append(&drafts, now) {
                Ok(places) => {
                    self.admitted.fetch_add(drafts.iter().map(|d| d.records).sum(), Ordering::Relaxed);
                    let blocks = places.into_iter().zip(group).map(|(place, submission)| Durable { place, submission }).collect();
                    return Ok(Some(Group { blocks, log_bytes: self.log.total_bytes() }));
                }
                Err(error) => error,
            };
            let gives_room = error.is_for_room() && self.ballast.as_mut().is_some_and(Ballast::let_go);
            match error {
                AppendError::Sync(error) => return Err(Unknown { error, group }),
                AppendError::Write(error) => {
                    tracing::error!(%error, "Cannot write to the log; senders are asked to come again.");
                }
            }
            if !gives_room {
                group.into_iter().for_each(Submission::refuse);
                return Ok(None);
            }
            is_full = true;
        }
    }
}

/// The side that takes in what is durable, and answers.
pub struct EngineSide {
    /// State.
    pub shard: Shard,
    /// When a timer entry was last sent to the log, while it has not come back.
    timer_sent: Option<Duration>,
}

impl EngineSide {
    /// Goes on with `shard`.
    pub fn new(shard: Shard) -> Self {
        Self { shard, timer_sent: None }
    }

    /// Runs the engine over `group` and answers its senders.
    pub fn take(&mut self, group: Group) {
        self.shard.room.log_bytes = group.log_bytes;
        for Durable { place, submission } in group.blocks {
            match submission {
                Submission::Timer => {
                    self.shard.pass_time(place);
                    self.timer_sent = None;
                }
                Submission::Pairings(body) => {
                    if let Err(error) = self.shard.pair(&body, place) {
                        unreachable!("it was encoded a moment ago: {error}");
                    }
                }
                Submission::Records { batch, reply, permit, .. } => {
                    let dispositions = self.shard.take(&batch, place).to_vec();
                    self.shard.room.rates.count(batch.len() as u32, place.received_at);
                    self.shard.count_delays(&batch);
                    // A sender that has gone away is not told; the records are safe all the same.
                    let _ = reply.send(Ok(Answer::Judged { batch, dispositions }));
                    drop(permit);
                }
                Submission::Decision { body, source, reply, .. } => {
                    if let Err(error) = self.shard.decide(&body, &source, place, None) {
                        unreachable!("it was encoded a moment ago: {error}");
                    }
                    let _ = reply.send(Ok(()));
                }
            }
        }
        self.shard.settle();
    }

    /// Whether a timer entry should go to the log now. Not while senders are asked to come again: their silence is ours then, and time of
    /// which the log has no entry is none.
    pub fn is_timer_due(&self) -> bool {
        if !keeps_up(&self.shard.uncommitted, &self.shard.uncommitted_bytes) && !planted("refused-is-silent") {
            return false;
        }
        let Clocks { wall, steady } = Clocks::now();
        self.timer_sent.is_none_or(|at| steady.saturating_sub(at) >= TIMER_PATIENCE)
            && self.shard.room.engine.next_deadline().is_some_and(|deadline| deadline.plus(TIMER_SLACK) <= wall)
    }

    /// Takes note of whether one was sent.
    pub fn note_timer(&mut self, is_sent: bool) {
        self.timer_sent = is_sent.then(|| Clocks::now().steady);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Doubt, simulate};
    use crate::pipeline::{BODIES_KIB, REBUILD};
    use crate::store::{Store, StoreAddress};
    use domain::engine::ReadingsHeld;
    use domain::master::RegionIx;
    use domain::rollup::HourCell;
    use domain::time::{DAY_MS, HOUR_MS, ProcessingTime};
    use domain::window::WindowState;
    use tokio::sync::Semaphore;

    /// A program that is started, and whose clocks the test sets.
    struct Program {
        log: LogSide,
        engine: EngineSide,
        key: IdentityKey,
        seconds: u64,
    }

    fn at(seconds: u64) -> Clocks {
        let wall = ProcessingTime::from_ms(1_790_000_000_000 + seconds as i64 * 1_000);
        Clocks { wall, steady: Duration::from_secs(seconds) }
    }

    /// A reading of so many seconds on, and what its sender is told.
    async fn reading(seconds: u64, key: &IdentityKey) -> (Submission, oneshot::Receiver<Result<Answer, Refused>>) {
        let body = format!(r#"{{"device_id":"box","ts":{},"temperature":5}}"#, at(seconds).wall.ms());
        let batch = Batch::parse(body.into(), Format::Ndjson, "gate", key).expect("parses");
        let permit = Arc::new(Semaphore::new(BODIES_KIB)).acquire_owned().await.expect("there is room");
        let (reply, answer) = oneshot::channel();
        (Submission::Records { batch, format: Format::Ndjson, source: "gate".to_owned(), reply, permit }, answer)
    }

    impl Program {
        fn keep(&mut self, submission: Submission) {
            let group = self.log.keep(vec![submission]).expect("the disk is well");
            self.engine.take(group.expect("it has room"));
        }

        /// A reading of now.
        async fn read(&mut self) {
            let (submission, _) = reading(self.seconds, &self.key).await;
            self.keep(submission);
        }

        /// So many minutes pass in which nothing comes in; whether the device has fallen silent.
        fn wait(&mut self, minutes: u64) -> bool {
            for _ in 0..minutes * 12 {
                self.seconds += 5;
                simulate(Some(at(self.seconds)));
                if self.engine.is_timer_due() {
                    self.engine.note_timer(true);
                    self.keep(Submission::Timer);
                }
            }
            let engine = &self.engine.shard.room.engine;
            let state = engine.device_state(engine.device_by_id("box").expect("it was heard of"));
            let config = EngineConfig::default().windows;
            state.windows.windows(&config, 1).any(|window| window.state == WindowState::Incomplete)
                || self.engine.shard.room.closed_windows().any(|closed| closed.window.state == WindowState::Incomplete)
        }
    }

    /// What people decide goes on while the disk is full, at the time of the last record; everything else comes again.
    #[tokio::test]
    async fn a_full_disk_takes_decisions_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        simulate(Some(at(0)));
        let key = IdentityKey([7; 16]);
        let log = open_log(dir.path(), key).expect("opens");
        let clock = Clock::start(at(0), log.last_received_at(), Doubt::Refuse).expect("the clock is right");
        let mut log = LogSide::new(log, clock, Arc::default());
        let first = log.keep(vec![reading(0, &key).await.0]).expect("the disk is well").expect("it has room");
        // More is to be held than any disk has.
        let mut log = log.with_ballast(Some(Ballast::of_size(dir.path(), 1 << 60)));
        simulate(Some(at(60)));
        let (reading, read) = reading(60, &key).await;
        let decision = |records| {
            let (reply, answer) = oneshot::channel();
            (Submission::Decision { body: Bytes::from_static(b"said"), source: "gate".to_owned(), records, reply }, answer)
        };
        let ((replay, replayed), (discard, mut discarded)) = (decision(1), decision(0));
        let group = log.keep(vec![Submission::Timer, reading, replay, discard]).expect("the disk is well");
        let [Durable { place, .. }] = group.expect("a decision takes little").blocks[..] else { panic!("one of them alone") };
        assert_eq!((place.number, place.received_at), (2, first.blocks[0].place.received_at), "time stands still");
        assert!(matches!(read.await, Ok(Err(Refused::Unwritable))));
        assert!(matches!(replayed.await, Ok(Err(Refused::Unwritable))));
        discarded.try_recv().expect_err("the engine is to answer");
        assert!(log.keep(vec![Submission::Timer]).expect("the disk is well").is_none());
        simulate(None);
    }

    /// The database stands still, and senders are asked to come again for longer than it takes to fall silent.
    #[tokio::test]
    async fn time_in_which_senders_are_refused_is_no_silence() {
        let dir = tempfile::tempdir().expect("a directory");
        simulate(Some(at(0)));
        let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
        let snapshot = store.load(PARTITION, "log", at(0).wall).await.expect("loads");
        let (key, log_dir) = (IdentityKey(snapshot.identity_key), dir.path().join("log"));
        let log = open_log(&log_dir, key).expect("opens");
        let clock = Clock::start(at(0), log.last_received_at(), Doubt::Refuse).expect("the clock is right");
        let master = Arc::new(crate::data::master().expect("reads"));
        let config = EngineConfig::default();
        let shard = restore(snapshot, &log_dir, &dir.path().join("identities"), &master, &config, REBUILD).expect("restores");
        let log = LogSide::new(log, clock, Arc::default());
        let mut program = Program { log, engine: EngineSide::new(shard), key, seconds: 0 };
        program.read().await;
        assert!(!program.wait(10));
        program.read().await;
        let committed = program.engine.shard.uncommitted.swap(UNCOMMITTED_RECORDS + 1, Ordering::Relaxed);
        assert!(!program.wait(120), "its records were refused");
        program.engine.shard.uncommitted.store(committed, Ordering::Relaxed);
        assert!(!program.wait(13), "and it has as long as before to come again");
        assert!(program.wait(4), "by itself it falls silent");
        simulate(None);
        store.close().await;
    }

    /// Nor is one whose windows hold other readings than it counts, of the day that the state is as of.
    #[tokio::test]
    async fn windows_that_hold_other_readings_are_refused() {
        let at = ProcessingTime::from_ms(1_790_000_000_000);
        let hour = at.ms() - at.ms() % HOUR_MS;
        let master = Arc::new(crate::data::master().expect("reads"));
        let regions = master.counted_regions() as usize;
        let both = [(10_000, hour + 10_000, 2), (300_000, hour, 2)];
        let before = (10_000, hour - 30 * HOUR_MS, 7);
        for (held, counted, is_fine) in [
            (both.to_vec(), 2, true),
            (both.to_vec(), 3, false),
            (both[..1].to_vec(), 2, false),
            (both[1..].to_vec(), 2, false),
            (vec![both[0], both[1], (10_000, hour - HOUR_MS, 1)], 2, false),
            (vec![both[0], both[1], before], 2, true),
            (vec![before], 0, true),
        ] {
            let dir = tempfile::tempdir().expect("a directory");
            let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
            let mut snapshot = store.load(PARTITION, "log", at).await.expect("loads");
            let log_dir = dir.path().join("log");
            drop(open_log(&log_dir, IdentityKey(snapshot.identity_key)).expect("opens"));
            let mut cells = vec![HourCell::default(); regions + 1];
            (cells[0].readings, cells[regions].readings) = (counted, counted);
            (snapshot.now, snapshot.hours) = (at, vec![(hour, cells.into())]);
            let mut closed = ReadingsHeld::since(at.ms() - DAY_MS);
            for (size_ms, start, readings) in &held {
                closed.add(*size_ms, std::iter::once((*start, *readings)));
            }
            snapshot.held = Some(closed);
            let identities = dir.path().join("identities");
            let begun = restore(snapshot, &log_dir, &identities, &master, &EngineConfig::default(), REBUILD);
            let error = begun.err().map(|error| error.to_string());
            assert_eq!(error.is_none(), is_fine, "{held:?}: {error:?}");
            assert!(error.is_none_or(|error| error.contains("C2")));
            store.close().await;
        }
    }

    /// A country that is not the sum of its parts is shown by nobody.
    #[tokio::test]
    async fn hours_that_are_no_sums_are_refused() {
        let at = ProcessingTime::from_ms(1_790_000_000_000);
        let hour = at.ms() - at.ms() % HOUR_MS;
        let master = Arc::new(crate::data::master().expect("reads"));
        let regions = master.counted_regions() as usize;
        let province = master.children(RegionIx(0)).next().expect("it has some").0 as usize;
        // Of a device that nobody registered, of one that the country does not know, and of a store of the country's own.
        for (known_to, ago, is_fine) in [
            (vec![], 0, true),
            (vec![0, regions], 0, true),
            (vec![regions], 0, false),
            (vec![province], 0, false),
            (vec![0], 0, true),
            (vec![regions], 48, true),
        ] {
            let dir = tempfile::tempdir().expect("a directory");
            let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
            let mut snapshot = store.load(PARTITION, "log", at).await.expect("loads");
            let log_dir = dir.path().join("log");
            drop(open_log(&log_dir, IdentityKey(snapshot.identity_key)).expect("opens"));
            let mut cells = vec![HourCell::default(); regions + 1];
            for index in &known_to {
                cells[*index].readings = 1;
            }
            (snapshot.now, snapshot.hours) = (at, vec![(hour - ago * HOUR_MS, cells.into())]);
            // No windows are there.
            snapshot.held = None;
            let identities = dir.path().join("identities");
            let begun = restore(snapshot, &log_dir, &identities, &master, &EngineConfig::default(), REBUILD);
            let error = begun.err().map(|error| error.to_string());
            assert_eq!(error.is_none(), is_fine, "{known_to:?}: {error:?}");
            assert!(error.is_none_or(|error| error.contains("C3")));
            store.close().await;
        }
    }
}
