//! Drives the engine: submissions into the log, durable blocks into the engine, what follows to senders, pages and the store.
//!
//! Three parts, each owning what it touches, so there is no lock: the log thread appends groups and waits for the disk; the
//! engine thread owns the [`Room`] (engine, identities, what is not stored yet) and answers questions between blocks; a task
//! writes one checkpoint at a time. Durable first, then processed, then answered.

use crate::admission::{Batch, Format, IdentityKey};
use crate::feed::Feed;
use crate::identities::{DiskIdentities, FrozenTable};
use crate::letters::{Again, Decided, Decision, Outcome, Verdict};
use crate::log::{AppendError, BlockKind, Draft, Log, Place};
use crate::publish::Publisher;
use crate::side::SideRow;
use crate::store::{Checkpoint, Readings, Snapshot, Store, StoreError};
use anyhow::Context;
use bytes::Bytes;
use domain::engine::{ClosedWindow, Disposition, Engine, EngineConfig};
use domain::master::Master;
use domain::time::ProcessingTime;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Bodies in memory at once, in KiB; a sender beyond that is asked to come again.
const BODIES_KIB: usize = 96 * 1024;
/// A group of the log is closed at this size, in bytes.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// A checkpoint is due after so many records,
const CHECKPOINT_RECORDS: u64 = 2_000_000;
/// or so many bytes of log, or after the configured time with any change.
const CHECKPOINT_BYTES: u64 = 256 * 1024 * 1024;
/// Records that no committed checkpoint covers, at most: their results lie in memory. A sender beyond that is asked to come again.
const UNCOMMITTED_RECORDS: u64 = CHECKPOINT_RECORDS + 1_000_000;
/// How late a timer may be: most are passed by the next block anyway, and each entry of its own costs a sync.
const TIMER_SLACK: Duration = Duration::from_secs(1);
/// A timer entry that did not come back by then was lost to a full disk and is sent again.
const TIMER_PATIENCE: Duration = Duration::from_secs(5);
/// The embedded log is one partition of the input.
pub const PARTITION: u32 = 0;
/// Minutes of intake that are remembered.
const RATE_MINUTES: usize = 60;

/// The wall clock. Everything that must be the same after a replay takes its time from the log instead.
pub fn wall_clock() -> ProcessingTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ProcessingTime::from_ms(since_epoch.as_millis() as i64)
}

/// What a sender is told.
#[derive(Debug)]
pub struct Answer {
    /// The records.
    pub batch: Batch,
    /// What became of each.
    pub dispositions: Vec<Disposition>,
}

/// Why a submission was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is waiting already.
    #[error("too many requests are waiting")]
    Busy,
    /// The disk takes no more.
    #[error("the log cannot be written now")]
    Unwritable,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

enum Submission {
    Records {
        batch: Batch,
        format: Format,
        source: String,
        reply: oneshot::Sender<Result<Answer, Refused>>,
        permit: OwnedSemaphorePermit,
    },
    /// A decision of a dead letter, encoded, with the source and the number of the records in it.
    Decision {
        body: Bytes,
        source: String,
        records: u64,
        reply: oneshot::Sender<Result<(), Refused>>,
    },
    Timer,
}

struct Durable {
    place: Place,
    submission: Submission,
}

type Question = Box<dyn FnOnce(&mut Room) + Send>;

enum Message {
    Group {
        blocks: Vec<Durable>,
        log_bytes: u64,
    },
    Ask(Question),
    CheckpointDone(Result<(), StoreError>),
    /// The log thread has ended: nothing follows but questions.
    Drained,
}

/// The handle by which the rest of the server reaches the pipeline.
#[derive(Clone)]
pub struct Pipeline {
    submissions: mpsc::Sender<Submission>,
    messages: std_mpsc::Sender<Message>,
    bodies: Arc<Semaphore>,
    admitted: Arc<AtomicU64>,
    uncommitted: Arc<AtomicU64>,
    /// Secret of the identities.
    pub identity_key: IdentityKey,
    /// Listeners of pages.
    pub feed: Arc<Feed>,
}

/// The pipeline's threads, to wait for.
pub struct Threads {
    log: std::thread::JoinHandle<()>,
    engine: std::thread::JoinHandle<anyhow::Result<()>>,
}

impl Threads {
    /// Waits until everything submitted is durable, processed and covered by a checkpoint. All handles must be gone.
    pub fn join(self) -> anyhow::Result<()> {
        self.log.join().map_err(|_| anyhow::anyhow!("the log thread panicked"))?;
        self.engine.join().map_err(|_| anyhow::anyhow!("the engine thread panicked"))?
    }

    /// Whether one of them has ended.
    pub fn is_finished(&self) -> bool {
        self.log.is_finished() || self.engine.is_finished()
    }
}

/// What the engine thread owns. Questions see it between two blocks.
pub struct Room {
    /// The engine.
    pub engine: Engine,
    identities: DiskIdentities,
    /// Side outputs that no checkpoint has taken yet.
    side: [Vec<SideRow>; 2],
    /// The checkpoint that is being written.
    in_flight: Option<InFlight>,
    closed: Vec<ClosedWindow>,
    /// Every dead letter that was decided, and the block that did.
    decided: HashMap<u64, u64>,
    /// Decisions since the last checkpoint.
    decisions: Vec<Decided>,
    key: IdentityKey,
    /// Readings accepted since the last checkpoint, where the store keeps them.
    readings: Option<Readings>,
    /// The first block that the engine has not seen.
    next_block: u64,
    checkpoint_block: u64,
    records_since: u64,
    /// Processed and in no committed checkpoint yet.
    uncommitted: Arc<AtomicU64>,
    bytes_since: u64,
    last_checkpoint: Instant,
    checkpoint_every: Duration,
    /// When the last checkpoint was committed.
    pub checkpoint_at: Option<ProcessingTime>,
    /// When this store was made.
    pub uptime_start: ProcessingTime,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Intake.
    pub rates: Rates,
    admitted: Arc<AtomicU64>,
    processed: u64,
    dispositions: Vec<Disposition>,
    /// When a timer entry was last sent to the log, while it has not come back.
    timer_sent: Option<Instant>,
}

/// What a checkpoint took along and is not committed yet.
struct InFlight {
    records: u64,
    windows: Arc<Vec<ClosedWindow>>,
    side: Arc<[Vec<SideRow>; 2]>,
    decisions: Arc<Vec<Decided>>,
    frozen: Option<FrozenTable>,
}

/// Records per second, by wall clock.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Second since the epoch and the records taken in during it, oldest first.
    seconds: VecDeque<(i64, u32)>,
}

impl Rates {
    fn count(&mut self, records: u32, now: ProcessingTime) {
        let second = now.ms() / 1_000;
        match self.seconds.back_mut() {
            Some((last, count)) if *last >= second => *count += records,
            _ => self.seconds.push_back((second, records)),
        }
        while self.seconds.front().is_some_and(|(first, _)| *first <= second - 60 * RATE_MINUTES as i64) {
            self.seconds.pop_front();
        }
    }

    fn between(&self, from: i64, to: i64) -> f32 {
        let sum: u64 = self.seconds.iter().filter(|(s, _)| (from..to).contains(s)).map(|(_, n)| u64::from(*n)).sum();
        sum as f32 / (to - from) as f32
    }

    /// Over the ten seconds before this one.
    pub fn per_second(&self, now: ProcessingTime) -> f32 {
        let second = now.ms() / 1_000;
        self.between(second - 10, second)
    }

    /// Over the last hour, one value a minute, oldest first.
    pub fn by_minute(&self, now: ProcessingTime) -> Vec<f32> {
        let second = now.ms() / 1_000;
        (1..=RATE_MINUTES as i64).rev().map(|m| self.between(second - m * 60, second - (m - 1) * 60)).collect()
    }
}

impl Room {
    /// Records admitted to the log and not yet processed.
    pub fn lag(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed).saturating_sub(self.processed)
    }

    /// Windows that closed and are in no committed checkpoint yet.
    pub fn closed_windows(&self) -> impl Iterator<Item = &ClosedWindow> {
        self.in_flight.iter().flat_map(|flight| flight.windows.iter()).chain(&self.closed)
    }

    /// Side outputs that are in no committed checkpoint yet, oldest first.
    pub fn side_rows(&self, kind: usize) -> impl DoubleEndedIterator<Item = &SideRow> {
        self.in_flight.iter().flat_map(move |flight| flight.side[kind].iter()).chain(&self.side[kind])
    }

    /// Whether something was decided of the dead letter at `position`.
    pub fn is_decided(&self, position: u64) -> bool {
        self.decided.contains_key(&position)
    }

    /// How many dead letters were decided.
    pub fn decided(&self) -> usize {
        self.decided.len()
    }

    /// Decisions that are in no committed checkpoint yet.
    pub fn decisions(&self) -> impl Iterator<Item = &Decided> {
        self.in_flight.iter().flat_map(|flight| flight.decisions.iter()).chain(&self.decisions)
    }

    /// Number of identities known.
    pub fn identities(&self) -> usize {
        self.identities.len()
    }

    /// Runs the engine over one durable block.
    fn take(&mut self, batch: &Batch, place: Place) -> &[Disposition] {
        self.dispositions.clear();
        self.engine.step(batch.records(), place.received_at, &mut self.identities, &mut self.dispositions);
        self.taken(batch, place)
    }

    /// Takes note of a block whose records the engine has judged.
    fn taken(&mut self, batch: &Batch, place: Place) -> &[Disposition] {
        for (index, disposition) in self.dispositions.iter().enumerate() {
            if let Some((kind, row)) = SideRow::of(batch, index, *disposition, place.first_record, place.received_at) {
                self.side[kind].push(row);
            }
        }
        if let Some(readings) = &mut self.readings {
            readings.add(PARTITION, batch, &self.dispositions, place);
        }
        self.next_block = place.number + 1;
        self.records_since += batch.len() as u64;
        self.uncommitted.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.bytes_since += batch.raw().len() as u64;
        self.processed += batch.len() as u64;
        &self.dispositions
    }

    /// Decides of a dead letter as the block at `place` says; the first decision of a letter counts, others have no effect.
    fn decide(&mut self, body: &Bytes, source: &str, place: Place) -> anyhow::Result<()> {
        let (decision, raw) = Decision::decode(body).with_context(|| format!("read block {} of the log", place.number))?;
        if let Entry::Vacant(entry) = self.decided.entry(decision.letter) {
            entry.insert(place.number);
            let outcome = match decision.verdict {
                Verdict::Replay => {
                    let batch = Batch::parse(raw, Format::Record, source, &self.key)?;
                    let own = batch.records().next().and_then(|record| record.identity);
                    let mut identities = Again { known: &mut self.identities, own };
                    self.dispositions.clear();
                    self.engine.step(batch.records(), place.received_at, &mut identities, &mut self.dispositions);
                    let end = self.taken(&batch, place)[0].into();
                    Outcome::Replayed { position: place.first_record, end }
                }
                Verdict::Discard(reason) => Outcome::Discarded { reason },
            };
            let (letter, block, at) = (decision.letter, place.number, place.received_at);
            self.decisions.push(Decided { letter, block, at, by: decision.by, outcome });
        } else {
            self.processed += decision.records();
        }
        self.engine.pass_time(place.received_at);
        self.next_block = place.number + 1;
        Ok(())
    }

    /// Remembers the identity of a letter that was taken in again by the block `number`, which the state covers already.
    fn remember_replay(&mut self, body: Bytes, source: &str, number: u64, received_at: ProcessingTime) -> anyhow::Result<()> {
        let (decision, raw) = Decision::decode(&body).with_context(|| format!("read block {number} of the log"))?;
        if decision.verdict == Verdict::Replay && self.decided.get(&decision.letter) == Some(&number) {
            let batch = Batch::parse(raw, Format::Record, source, &self.key)?;
            let own = batch.records().next().and_then(|record| record.identity);
            let mut identities = Again { known: &mut self.identities, own };
            Engine::remember(self.engine.config(), batch.records(), received_at, &mut identities);
        }
        Ok(())
    }

    fn pass_time(&mut self, place: Place) {
        self.engine.pass_time(place.received_at);
        self.next_block = place.number + 1;
        self.timer_sent = None;
    }

    fn group(&mut self, blocks: Vec<Durable>, log_bytes: u64) {
        self.log_bytes = log_bytes;
        for Durable { place, submission } in blocks {
            match submission {
                Submission::Timer => self.pass_time(place),
                Submission::Records { batch, reply, permit, .. } => {
                    let dispositions = self.take(&batch, place).to_vec();
                    self.rates.count(batch.len() as u32, place.received_at);
                    // A sender that has gone away is not told; the records are safe all the same.
                    let _ = reply.send(Ok(Answer { batch, dispositions }));
                    drop(permit);
                }
                Submission::Decision { body, source, reply, .. } => {
                    if let Err(error) = self.decide(&body, &source, place) {
                        unreachable!("it was encoded a moment ago: {error}");
                    }
                    let _ = reply.send(Ok(()));
                }
            }
        }
        if self.engine.closed_len() > 0 {
            self.closed.append(&mut self.engine.take_closed());
        }
    }

    fn is_checkpoint_due(&self) -> bool {
        self.in_flight.is_none()
            && self.next_block > self.checkpoint_block
            && (self.records_since >= CHECKPOINT_RECORDS
                || self.bytes_since >= CHECKPOINT_BYTES
                || self.last_checkpoint.elapsed() >= self.checkpoint_every)
    }

    /// Cuts a checkpoint: all that changed since the last, as of the last block.
    fn cut(&mut self) -> (Checkpoint, Option<FrozenTable>) {
        self.engine.flush();
        let windows = Arc::new(std::mem::take(&mut self.closed));
        let side = Arc::new(std::mem::take(&mut self.side));
        let decisions = Arc::new(std::mem::take(&mut self.decisions));
        let frozen = self.identities.freeze(self.next_block - 1, false);
        let encode = "the state has no type that postcard cannot write";
        let checkpoint = Checkpoint {
            partition: PARTITION,
            readings: self.readings.as_mut().map(std::mem::take),
            from_block: self.checkpoint_block,
            next_block: self.next_block,
            now_ms: self.engine.now().ms(),
            committed_at_ms: wall_clock().ms(),
            totals: postcard::to_stdvec(self.engine.totals()).expect(encode),
            hours: self.engine.rollup_mut().take_changed_hours(),
            devices: self.engine.take_changed().map(|(i, state)| (i, postcard::to_stdvec(state).expect(encode))).collect(),
            windows: Arc::clone(&windows),
            side: Arc::clone(&side),
            decisions: Arc::clone(&decisions),
            run: frozen.as_ref().map(|f| (f.name.clone(), f.len() as u64)),
        };
        self.in_flight = Some(InFlight { records: self.records_since, windows, side, decisions, frozen: frozen.clone() });
        self.checkpoint_block = self.next_block;
        (self.records_since, self.bytes_since) = (0, 0);
        self.last_checkpoint = Instant::now();
        (checkpoint, frozen)
    }

    fn checkpoint_done(&mut self) -> anyhow::Result<()> {
        if let Some(flight) = self.in_flight.take() {
            self.uncommitted.fetch_sub(flight.records, Ordering::Relaxed);
            if let Some(frozen) = flight.frozen {
                self.identities.thaw(&frozen).context("open a run of identities")?;
            }
        }
        self.checkpoint_at = Some(wall_clock());
        Ok(())
    }
}

impl Pipeline {
    /// Restores the state of `dir` and starts. Must be called inside a Tokio runtime.
    pub async fn start(
        dir: &Path,
        store: Store,
        master: &Arc<Master>,
        config: EngineConfig,
        checkpoint_every: Duration,
    ) -> anyhow::Result<(Self, Threads)> {
        let (log_dir, identities_dir) = (dir.join("log"), dir.join("identities"));
        let log_id = crate::log::id(&log_dir).context("read the log's name")?;
        let snapshot = store.load(PARTITION, &log_id, wall_clock()).await.context("load the last checkpoint")?;
        store.fetch_runs(PARTITION, &identities_dir).await.context("fetch the memory of identities")?;
        let key = IdentityKey(snapshot.identity_key);
        let epoch = snapshot.epoch;
        let count_key = key;
        let log = Log::open(&log_dir, move |block| match block.kind {
            BlockKind::Records(format) => {
                Batch::parse(block.body.clone(), format, &block.source, &count_key).map_or(0, |b| b.len() as u64)
            }
            BlockKind::Decision => Decision::decode(&block.body).map_or(0, |(decision, _)| decision.records()),
            BlockKind::Timer => 0,
        })
        .context("open the log")?;
        let admitted = Arc::new(AtomicU64::new(0));
        let (master, room_config, room_admitted) = (Arc::clone(master), config.clone(), Arc::clone(&admitted));
        let log_bytes = log.total_bytes();
        let mut room = tokio::task::spawn_blocking(move || {
            restore(snapshot, &log_dir, &identities_dir, &master, &room_config, key, room_admitted, log_bytes)
        })
        .await
        .context("restore")??;
        admitted.store(room.processed, Ordering::Relaxed);
        room.checkpoint_every = checkpoint_every;

        let uncommitted = Arc::clone(&room.uncommitted);
        let feed = Arc::new(Feed::starting_at(wall_clock().ms() as u64));
        // Full: senders wait here, and their bodies count against `BODIES_KIB`.
        let (submissions, to_log) = mpsc::channel(1_024);
        // Bounded by the bodies of what the log thread passes on; questions and checkpoints are few.
        let (messages, to_engine) = std_mpsc::channel();
        let timers = submissions.downgrade();
        let log_thread = {
            let (messages, admitted) = (messages.clone(), Arc::clone(&admitted));
            std::thread::Builder::new().name("log".into()).spawn(move || run_log(log, to_log, &messages, &admitted))?
        };
        let engine_thread = {
            let driver = Driver {
                room,
                publisher: Publisher::new(Arc::clone(&feed)),
                store,
                epoch,
                config,
                runtime: tokio::runtime::Handle::current(),
                done: messages.clone(),
                timers,
            };
            std::thread::Builder::new().name("engine".into()).spawn(move || driver.run(&to_engine))?
        };
        let pipeline = Self {
            submissions,
            messages,
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            admitted,
            uncommitted,
            identity_key: key,
            feed,
        };
        Ok((pipeline, Threads { log: log_thread, engine: engine_thread }))
    }

    /// Room for a body of `len` bytes; held until its records are processed.
    pub fn reserve(&self, len: usize) -> Result<OwnedSemaphorePermit, Refused> {
        if self.uncommitted.load(Ordering::Relaxed) > UNCOMMITTED_RECORDS {
            return Err(Refused::Busy); // the database does not keep up
        }
        let kib = u32::try_from(len / 1_024 + 1).unwrap_or(u32::MAX);
        Arc::clone(&self.bodies).try_acquire_many_owned(kib).map_err(|_| Refused::Busy)
    }

    /// Makes `batch` durable and processes it. The answer comes after both.
    pub async fn submit(
        &self,
        batch: Batch,
        format: Format,
        source: String,
        permit: OwnedSemaphorePermit,
    ) -> Result<Answer, Refused> {
        let (reply, answer) = oneshot::channel();
        let submission = Submission::Records { batch, format, source, reply, permit };
        self.submissions.send(submission).await.map_err(|_| Refused::Stopping)?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }

    /// Makes a decision of a dead letter durable, whose bytes are `raw`, and carries it out. It has no effect where one came before it.
    pub async fn decide(&self, decision: &Decision, raw: &[u8], source: String) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        let (body, records) = (decision.encode(raw), decision.records());
        let submission = Submission::Decision { body, source, records, reply };
        self.submissions.send(submission).await.map_err(|_| Refused::Stopping)?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }

    /// Asks the engine's room; `question` runs between two blocks and should be short.
    pub async fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut Room) -> T + Send + 'static) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |room| {
            let _ = reply.send(question(room));
        });
        self.messages.send(Message::Ask(question)).map_err(|_| Refused::Stopping)?;
        answer.await.map_err(|_| Refused::Stopping)
    }

    /// Records admitted to the log since the start.
    pub fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }
}

/// State as of the checkpoint, then the rest of the log.
#[expect(clippy::too_many_arguments, reason = "all that a restart needs, used once")]
fn restore(
    snapshot: Snapshot,
    log_dir: &Path,
    identities_dir: &Path,
    master: &Arc<Master>,
    config: &EngineConfig,
    key: IdentityKey,
    admitted: Arc<AtomicU64>,
    log_bytes: u64,
) -> anyhow::Result<Room> {
    let started = Instant::now();
    let names: Vec<String> = snapshot.runs.iter().map(|(name, _)| name.clone()).collect();
    let identities = DiskIdentities::open(identities_dir, &names).context("open the memory of identities")?;
    let remembered = snapshot.runs.last().map_or(0, |(_, last_block)| *last_block);
    let places: Vec<(u32, String)> = snapshot.devices.iter().map(|(index, state)| (*index, state.id.clone())).collect();
    let states = snapshot.devices.into_iter().map(|(_, state)| state);
    let engine = Engine::restore(config.clone(), master, snapshot.now, snapshot.totals, states, snapshot.hours);
    for (index, id) in places {
        // Stored windows name their device by index: under other master data they would be another device's.
        anyhow::ensure!(
            engine.device_by_id(&id) == Some(index),
            "device {id} had another place in the master data with which this data directory was written; start the program that wrote it"
        );
    }
    let mut room = Room {
        processed: engine.totals().all.received,
        engine,
        identities,
        side: Default::default(),
        in_flight: None,
        closed: Vec::new(),
        decided: snapshot.decided.into_iter().collect(),
        decisions: Vec::new(),
        key,
        readings: snapshot.readings,
        next_block: snapshot.next_block,
        checkpoint_block: snapshot.next_block,
        records_since: 0,
        uncommitted: Arc::default(),
        bytes_since: 0,
        last_checkpoint: Instant::now(),
        checkpoint_every: Duration::ZERO,
        checkpoint_at: snapshot.committed_at,
        uptime_start: snapshot.uptime_start,
        log_bytes,
        rates: Rates::default(),
        admitted,
        dispositions: Vec::new(),
        timer_sent: None,
    };
    let mut expected = remembered + 1;
    for block in crate::log::read(log_dir, remembered + 1)? {
        let block = block?;
        anyhow::ensure!(block.number == expected, "the log misses block {expected}: the next is {}", block.number);
        expected += 1;
        let place = Place { number: block.number, first_record: block.first_record, received_at: block.received_at };
        match block.kind {
            BlockKind::Records(format) => {
                let batch = Batch::parse(block.body, format, &block.source, &key)
                    .with_context(|| format!("read block {} of the log again", block.number))?;
                if block.number < snapshot.next_block {
                    Engine::remember(config, batch.records(), block.received_at, &mut room.identities);
                } else {
                    room.take(&batch, place);
                }
            }
            BlockKind::Decision if block.number < snapshot.next_block => {
                room.remember_replay(block.body, &block.source, block.number, block.received_at)?;
            }
            BlockKind::Decision => room.decide(&block.body, &block.source, place)?,
            BlockKind::Timer if block.number >= snapshot.next_block => room.pass_time(place),
            BlockKind::Timer => {}
        }
    }
    anyhow::ensure!(expected >= snapshot.next_block, "the log ends at block {} before the state does", expected - 1);
    room.closed.append(&mut room.engine.take_closed());
    room.engine.flush();
    tracing::info!(
        replayed = room.records_since,
        devices = room.engine.device_count(),
        took_ms = started.elapsed().as_millis() as u64,
        "State restored."
    );
    Ok(room)
}

fn run_log(mut log: Log, mut submissions: mpsc::Receiver<Submission>, engine: &std_mpsc::Sender<Message>, admitted: &AtomicU64) {
    while let Some(first) = submissions.blocking_recv() {
        let mut bytes = 0;
        let mut group = vec![first];
        while bytes < GROUP_BYTES
            && let Ok(next) = submissions.try_recv()
        {
            if let Submission::Records { batch, .. } = &next {
                bytes += batch.raw().len();
            }
            group.push(next);
        }
        let drafts: Vec<Draft<'_>> = group
            .iter()
            .map(|submission| match submission {
                Submission::Records { batch, format, source, .. } => {
                    Draft { kind: BlockKind::Records(*format), source, body: batch.raw(), records: batch.len() as u64 }
                }
                Submission::Decision { body, source, records, .. } => {
                    Draft { kind: BlockKind::Decision, source, body, records: *records }
                }
                Submission::Timer => Draft { kind: BlockKind::Timer, source: "", body: b"", records: 0 },
            })
            .collect();
        match log.append(&drafts, wall_clock()) {
            Ok(places) => {
                admitted.fetch_add(drafts.iter().map(|d| d.records).sum(), Ordering::Relaxed);
                let blocks = places.into_iter().zip(group).map(|(place, submission)| Durable { place, submission }).collect();
                if engine.send(Message::Group { blocks, log_bytes: log.total_bytes() }).is_err() {
                    return;
                }
            }
            Err(AppendError::Write(error)) => {
                tracing::error!(%error, "Cannot write to the log; senders are asked to come again.");
                for submission in group {
                    match submission {
                        Submission::Records { reply, .. } => drop(reply.send(Err(Refused::Unwritable))),
                        Submission::Decision { reply, .. } => drop(reply.send(Err(Refused::Unwritable))),
                        Submission::Timer => {}
                    }
                }
            }
            Err(AppendError::Sync(error)) => fail(&error),
        }
    }
    let _ = engine.send(Message::Drained);
}

/// Ends the process at once: what the disk holds is not known, and only a fresh start looks.
fn fail(error: &dyn std::error::Error) -> ! {
    tracing::error!(error = %error, "Stopping: a restart reads again what the disk holds.");
    eprintln!("rantai: {error}");
    std::process::exit(1)
}

struct Driver {
    room: Room,
    publisher: Publisher,
    store: Store,
    epoch: i64,
    config: EngineConfig,
    runtime: tokio::runtime::Handle,
    done: std_mpsc::Sender<Message>,
    timers: mpsc::WeakSender<Submission>,
}

impl Driver {
    fn run(mut self, messages: &std_mpsc::Receiver<Message>) -> anyhow::Result<()> {
        let mut next_tick = Instant::now();
        let mut is_drained = false;
        while !(is_drained && self.room.in_flight.is_none()) {
            match messages.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(Message::Group { blocks, log_bytes }) => self.room.group(blocks, log_bytes),
                Ok(Message::Ask(question)) => question(&mut self.room),
                Ok(Message::CheckpointDone(result)) => {
                    if let Err(error) = result {
                        fail(&error);
                    }
                    self.room.checkpoint_done()?;
                }
                Ok(Message::Drained) => is_drained = true,
                Err(std_mpsc::RecvTimeoutError::Timeout) => {}
                Err(std_mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if self.room.is_checkpoint_due() {
                self.checkpoint();
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + self.publisher.pause();
            }
        }
        // Everything durable is processed; one last checkpoint makes the next start short.
        if self.room.next_block > self.room.checkpoint_block {
            let (checkpoint, frozen) = self.room.cut();
            self.runtime.block_on(write_checkpoint(self.store.clone(), checkpoint, frozen, self.epoch, self.config))?;
        }
        Ok(())
    }

    fn tick(&mut self) {
        self.publisher.publish(&mut self.room);
        if self.room.timer_sent.is_none_or(|at| at.elapsed() >= TIMER_PATIENCE)
            && self.room.engine.next_deadline().is_some_and(|deadline| deadline.plus(TIMER_SLACK) <= wall_clock())
            && let Some(timers) = self.timers.upgrade()
        {
            // Full: the log is busy, and its blocks carry time too.
            self.room.timer_sent = timers.try_send(Submission::Timer).is_ok().then(Instant::now);
        }
    }

    fn checkpoint(&mut self) {
        let (checkpoint, frozen) = self.room.cut();
        let (store, config, done, epoch) = (self.store.clone(), self.config.clone(), self.done.clone(), self.epoch);
        self.runtime.spawn(async move {
            let result = write_checkpoint(store, checkpoint, frozen, epoch, config).await;
            let _ = done.send(Message::CheckpointDone(result));
        });
    }
}

/// Writes a checkpoint, again and again while the disk is full or busy: meanwhile the log refuses what it cannot hold.
async fn write_checkpoint(
    store: Store,
    checkpoint: Checkpoint,
    frozen: Option<FrozenTable>,
    epoch: i64,
    config: EngineConfig,
) -> Result<(), StoreError> {
    let mut wait = Duration::from_millis(200);
    loop {
        let attempt = async {
            if let Some(frozen) = frozen.clone() {
                let written = tokio::task::spawn_blocking(move || frozen.write()).await;
                written.map_err(std::io::Error::other).flatten().map_err(sqlx::Error::Io)?;
            }
            if let Some(frozen) = &frozen {
                store.keep_run(PARTITION, frozen.path()).await?;
            }
            store.checkpoint(&checkpoint, epoch, &config.windows).await
        };
        match attempt.await {
            Ok(()) => break,
            Err(StoreError::Database(error)) => {
                tracing::error!(%error, "The checkpoint failed; trying again.");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(10));
            }
            Err(other) => return Err(other),
        }
    }
    loop {
        match store.merge_blocks(&config.windows).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                // Small blocks only cost time; the next checkpoint tries again.
                tracing::warn!(%error, "Blocks of windows could not be put together.");
                return Ok(());
            }
        }
    }
}
