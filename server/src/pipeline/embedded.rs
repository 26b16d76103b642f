//! The embedded driver: submissions into the log, durable blocks into the engine, what follows to senders, pages and the store.
//!
//! Three parts, each owning what it touches, so there is no lock: the log thread appends groups and waits for the disk; the
//! engine thread owns the [`Shard`] and answers questions between blocks; a task writes one checkpoint at a time. Durable first, then
//! processed, then answered.

use super::checkpoint::write_checkpoint;
use super::replay::records_of;
use super::room::{Due, Shard, needed_from};
use super::{Answer, BODIES_KIB, Intake, PARTITION, Pipeline, Question, Refused, Threads, fail, wall_clock};
use crate::admission::{Batch, Format, IdentityKey};
use crate::clock::{Clock, Clocks, Doubt};
use crate::feed::Feed;
use crate::identities::{self, Freeze};
use crate::letters::Decision;
use crate::log::{AppendError, BlockKind, Draft, Log, Place};
use crate::publish::Publisher;
use crate::store::{Snapshot, Store, StoreError};
use anyhow::Context;
use bytes::Bytes;
use domain::engine::EngineConfig;
use domain::master::Master;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// A group of the log is closed at this size, in bytes.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// A checkpoint is due after so many records,
const CHECKPOINT_RECORDS: u64 = 2_000_000;
/// or so many bytes of log, or after the configured time with any change.
const CHECKPOINT_BYTES: u64 = 256 * 1024 * 1024;
/// Records that no committed checkpoint covers, at most: their results lie in memory. A sender beyond that is asked to come again.
const UNCOMMITTED_RECORDS: u64 = CHECKPOINT_RECORDS + 1_000_000;
/// Bytes of them, at most: those of dead letters lie in memory as they came.
const UNCOMMITTED_BYTES: u64 = CHECKPOINT_BYTES + 256 * 1024 * 1024;
/// How long the last checkpoints may take when the server stops: they only make the next start short.
const LAST_CHECKPOINT: Duration = Duration::from_secs(10);
/// How late a timer may be: most are passed by the next block anyway, and each entry of its own costs a sync.
const TIMER_SLACK: Duration = Duration::from_secs(1);
/// A timer entry that did not come back by then was lost to a full disk and is sent again.
const TIMER_PATIENCE: Duration = Duration::from_secs(5);

/// What goes into the log.
pub(super) enum Submission {
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

/// The way into the embedded log.
#[derive(Clone)]
pub(crate) struct LogIntake {
    submissions: mpsc::Sender<Submission>,
    uncommitted: Arc<AtomicU64>,
    uncommitted_bytes: Arc<AtomicU64>,
}

impl LogIntake {
    /// Whether the database keeps up.
    pub fn keeps_up(&self) -> bool {
        self.uncommitted.load(Ordering::Relaxed) <= UNCOMMITTED_RECORDS
            && self.uncommitted_bytes.load(Ordering::Relaxed) <= UNCOMMITTED_BYTES
    }

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

    pub async fn decide(&self, decision: &Decision, raw: &[u8], source: String) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        let (body, records) = (decision.encode(raw), decision.records());
        let submission = Submission::Decision { body, source, records, reply };
        self.submissions.send(submission).await.map_err(|_| Refused::Stopping)?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }
}

impl Pipeline {
    /// Restores the state of `dir` and starts, where the clock fits the log. Must be called inside a Tokio runtime.
    pub async fn start(
        dir: &Path,
        store: Store,
        master: &Arc<Master>,
        config: EngineConfig,
        checkpoint_every: Duration,
    ) -> anyhow::Result<(Self, Threads)> {
        Self::start_at(dir, store, master, config, checkpoint_every, Doubt::Refuse).await
    }

    /// [`Pipeline::start`], with what is to be done about a clock that does not fit the log.
    pub async fn start_at(
        dir: &Path,
        store: Store,
        master: &Arc<Master>,
        config: EngineConfig,
        checkpoint_every: Duration,
        doubt: Doubt,
    ) -> anyhow::Result<(Self, Threads)> {
        let log_dir = dir.join("log");
        let log_id = crate::log::id(&log_dir).context("read the log's name")?;
        store.agree_on(&config.windows).await?;
        let snapshot = store.load(PARTITION, &log_id, wall_clock()).await.context("load the last checkpoint")?;
        let key = IdentityKey(snapshot.identity_key);
        let identities_dir = identities::folder(&dir.join("identities"), &key.0);
        store.fetch_runs(PARTITION, &identities_dir).await.context("fetch the memory of identities")?;
        let epoch = snapshot.epoch;
        let log = Log::open(&log_dir, move |block| records_of(block, &key)).context("open the log")?;
        let clock = Clock::start(Clocks::now(), log.last_received_at(), doubt)?;
        let (master, shard_config) = (Arc::clone(master), config.clone());
        let due = Due { records: CHECKPOINT_RECORDS, bytes: CHECKPOINT_BYTES, every: checkpoint_every };
        let restored =
            tokio::task::spawn_blocking(move || restore(snapshot, &log_dir, &identities_dir, &master, &shard_config, due));
        let mut shard = restored.await.context("restore")??;
        shard.room.log_bytes = log.total_bytes();
        let (admitted, uncommitted) = (Arc::clone(&shard.room.admitted), Arc::clone(&shard.uncommitted));
        let uncommitted_bytes = Arc::clone(&shard.uncommitted_bytes);
        admitted.store(shard.room.processed, Ordering::Relaxed);

        let feed = Arc::new(Feed::starting_at(wall_clock().ms() as u64));
        // Full: senders wait here, and their bodies count against `BODIES_KIB`.
        let (submissions, to_log) = mpsc::channel(1_024);
        // Bounded by the bodies of what the log thread passes on; questions and checkpoints are few.
        let (messages, to_engine) = std_mpsc::channel();
        let timers = submissions.downgrade();
        let log_thread = {
            let (messages, admitted) = (messages.clone(), Arc::clone(&admitted));
            let run = move || {
                run_log(log, clock, to_log, &messages, &admitted);
                Ok(())
            };
            std::thread::Builder::new().name("log".into()).spawn(run)?
        };
        let engine_thread = {
            let driver = Driver {
                shard,
                publisher: Publisher::new(Arc::clone(&feed)),
                store,
                epoch,
                config,
                runtime: tokio::runtime::Handle::current(),
                done: messages.clone(),
                timers,
                timer_sent: None,
            };
            std::thread::Builder::new().name("engine".into()).spawn(move || driver.run(&to_engine))?
        };
        let pipeline = Self {
            intake: Intake::Log(LogIntake { submissions, uncommitted, uncommitted_bytes }),
            ask: Arc::new(move |question| messages.send(Message::Ask(question)).is_ok()),
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            identity_key: key,
            feed,
        };
        Ok((pipeline, Threads(vec![("log", log_thread), ("engine", engine_thread)])))
    }
}

/// State as of the checkpoint, then the rest of the log.
fn restore(
    snapshot: Snapshot,
    log_dir: &Path,
    identities_dir: &Path,
    master: &Arc<Master>,
    config: &EngineConfig,
    due: Due,
) -> anyhow::Result<Shard> {
    let from = needed_from(&snapshot);
    let mut shard = Shard::restore(snapshot, (PARTITION, 1), identities_dir, master, config, due)?;
    shard.read_log(log_dir, from)?;
    Ok(shard)
}

fn run_log(
    mut log: Log,
    mut clock: Clock,
    mut submissions: mpsc::Receiver<Submission>,
    engine: &std_mpsc::Sender<Message>,
    admitted: &AtomicU64,
) {
    let mut is_clock_wrong = false;
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
        let now = match clock.time(Clocks::now()) {
            Ok(now) => now,
            Err(error) => {
                if !std::mem::replace(&mut is_clock_wrong, true) {
                    tracing::error!(%error, "Senders are asked to come again.");
                }
                refuse(group);
                continue;
            }
        };
        if std::mem::take(&mut is_clock_wrong) {
            tracing::info!("The server's clock is right again.");
        }
        match log.append(&drafts, now) {
            Ok(places) => {
                admitted.fetch_add(drafts.iter().map(|d| d.records).sum(), Ordering::Relaxed);
                let blocks = places.into_iter().zip(group).map(|(place, submission)| Durable { place, submission }).collect();
                if engine.send(Message::Group { blocks, log_bytes: log.total_bytes() }).is_err() {
                    return;
                }
            }
            Err(AppendError::Write(error)) => {
                tracing::error!(%error, "Cannot write to the log; senders are asked to come again.");
                refuse(group);
            }
            Err(AppendError::Sync(error)) => fail(&error),
        }
    }
    let _ = engine.send(Message::Drained);
}

/// Asks the senders of `group` to come again.
fn refuse(group: Vec<Submission>) {
    for submission in group {
        match submission {
            Submission::Records { reply, .. } => drop(reply.send(Err(Refused::Unwritable))),
            Submission::Decision { reply, .. } => drop(reply.send(Err(Refused::Unwritable))),
            Submission::Timer => {}
        }
    }
}

struct Driver {
    shard: Shard,
    publisher: Publisher,
    store: Store,
    epoch: i64,
    config: EngineConfig,
    runtime: tokio::runtime::Handle,
    done: std_mpsc::Sender<Message>,
    timers: mpsc::WeakSender<Submission>,
    /// When a timer entry was last sent to the log, while it has not come back.
    timer_sent: Option<Instant>,
}

impl Driver {
    fn run(mut self, messages: &std_mpsc::Receiver<Message>) -> anyhow::Result<()> {
        let mut next_tick = Instant::now();
        let mut drained: Option<Instant> = None;
        while drained.is_none() || self.shard.is_writing() {
            if drained.is_some_and(|at| at.elapsed() >= LAST_CHECKPOINT) {
                tracing::warn!("Stopping without a last checkpoint: it takes too long. The next start reads the log instead.");
                return Ok(());
            }
            match messages.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(Message::Group { blocks, log_bytes }) => self.group(blocks, log_bytes),
                Ok(Message::Ask(question)) => question(&mut self.shard.room),
                Ok(Message::CheckpointDone(result)) => {
                    if let Err(error) = result {
                        fail(&error);
                    }
                    self.shard.checkpoint_done()?;
                }
                Ok(Message::Drained) => drained = Some(Instant::now()),
                Err(std_mpsc::RecvTimeoutError::Timeout) => {}
                Err(std_mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if self.shard.is_checkpoint_due() {
                self.checkpoint();
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + self.publisher.pause();
            }
        }
        // Everything durable is processed; one last checkpoint makes the next start short.
        if self.shard.has_news() {
            let (checkpoint, frozen) = self.shard.cut(Freeze::Full);
            let written = write_checkpoint(self.store.clone(), checkpoint, frozen, self.epoch, self.config);
            let left = LAST_CHECKPOINT.saturating_sub(drained.map_or(Duration::ZERO, |at| at.elapsed()));
            if let Ok(written) = self.runtime.block_on(async { tokio::time::timeout(left, written).await }) {
                written?;
            } else {
                tracing::warn!("The last checkpoint took too long. The next start reads the log instead.");
            }
        }
        Ok(())
    }

    fn group(&mut self, blocks: Vec<Durable>, log_bytes: u64) {
        self.shard.room.log_bytes = log_bytes;
        for Durable { place, submission } in blocks {
            match submission {
                Submission::Timer => {
                    self.shard.pass_time(place);
                    self.timer_sent = None;
                }
                Submission::Records { batch, reply, permit, .. } => {
                    let dispositions = self.shard.take(&batch, place).to_vec();
                    self.shard.room.rates.count(batch.len() as u32, place.received_at);
                    // A sender that has gone away is not told; the records are safe all the same.
                    let _ = reply.send(Ok(Answer::Judged { batch, dispositions }));
                    drop(permit);
                }
                Submission::Decision { body, source, reply, .. } => {
                    if let Err(error) = self.shard.decide(&body, &source, place) {
                        unreachable!("it was encoded a moment ago: {error}");
                    }
                    let _ = reply.send(Ok(()));
                }
            }
        }
        self.shard.settle();
    }

    fn tick(&mut self) {
        self.publisher.publish(&mut self.shard.room);
        if self.timer_sent.is_none_or(|at| at.elapsed() >= TIMER_PATIENCE)
            && self.shard.room.engine.next_deadline().is_some_and(|deadline| deadline.plus(TIMER_SLACK) <= wall_clock())
            && let Some(timers) = self.timers.upgrade()
        {
            // Full: the log is busy, and its blocks carry time too.
            self.timer_sent = timers.try_send(Submission::Timer).is_ok().then(Instant::now);
        }
    }

    fn checkpoint(&mut self) {
        let (checkpoint, frozen) = self.shard.cut(Freeze::Full);
        let (store, config, done, epoch) = (self.store.clone(), self.config.clone(), self.done.clone(), self.epoch);
        self.runtime.spawn(async move {
            let result = write_checkpoint(store, checkpoint, frozen, epoch, config).await;
            let _ = done.send(Message::CheckpointDone(result));
        });
    }
}
