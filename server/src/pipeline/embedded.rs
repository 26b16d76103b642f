//! The embedded driver: submissions into the log, durable blocks into the engine, what follows to senders, pages and the store.
//!
//! Three parts, each owning what it touches, so there is no lock: the log thread appends groups and waits for the disk; the
//! engine thread owns the [`Shard`](super::shard::Shard) and answers questions between blocks; a task writes one checkpoint at a time. Durable first, then
//! processed, then answered.

use super::checkpoint::{Part, Writing, counted, write_checkpoint};
use super::shard::Due;
use super::steps::{
    CHECKPOINT_BYTES, CHECKPOINT_RECORDS, EngineSide, Group, LogSide, Submission, keeps_up, open_log, restore, to_note,
};
use super::{Answer, BODIES_KIB, Intake, PARTITION, Pipeline, Question, Refused, Threads, fail, wall_clock};
use crate::admission::{Batch, Format, IdentityKey};
use crate::clock::{Clock, Clocks, Doubt};
use crate::feed::Feed;
use crate::fullness::Ballast;
use crate::identities::{self, Freeze};
use crate::letters::Decision;
use crate::limits::rare;
use crate::publish::Publisher;
use crate::store::{Store, StoreError};
use anyhow::Context;
use domain::engine::EngineConfig;
use domain::master::Master;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// A group of the log is closed at this size, in bytes.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// How long the last checkpoints may take when the server stops: they only make the next start short.
const LAST_CHECKPOINT: Duration = Duration::from_secs(10);

/// What a server starts with; who decides a dead letter and ends starts without.
#[derive(Debug)]
pub struct AsServer {
    /// What is done about a clock that does not fit the log.
    pub doubt: Doubt,
    /// Let go while the disk is full.
    pub ballast: Option<Ballast>,
}

enum Message {
    Group(Group),
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
        keeps_up(&self.uncommitted, &self.uncommitted_bytes)
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
    /// Restores the state of `dir` and starts, where the clock fits the log; the pairings of trackers stay as they are. Must be called
    /// inside a Tokio runtime.
    pub async fn start(
        dir: &Path,
        store: Store,
        master: &Arc<Master>,
        config: EngineConfig,
        checkpoint_every: Duration,
    ) -> anyhow::Result<(Self, Threads)> {
        Self::begin(dir, store, master, config, checkpoint_every, None).await
    }

    /// The same for a server: its pairings are in force from now on.
    pub async fn start_server(
        dir: &Path,
        store: Store,
        master: &Arc<Master>,
        config: EngineConfig,
        checkpoint_every: Duration,
        server: AsServer,
    ) -> anyhow::Result<(Self, Threads)> {
        Self::begin(dir, store, master, config, checkpoint_every, Some(server)).await
    }

    async fn begin(
        dir: &Path,
        store: Store,
        master: &Arc<Master>,
        config: EngineConfig,
        checkpoint_every: Duration,
        server: Option<AsServer>,
    ) -> anyhow::Result<(Self, Threads)> {
        // Who was perhaps not told of any pairings leaves them as they are.
        let notes_pairings = server.is_some();
        let (doubt, ballast) = server.map_or((Doubt::Refuse, None), |AsServer { doubt, ballast }| (doubt, ballast));
        let log_dir = dir.join("log");
        let log_id = crate::log::id(&log_dir).context("read the log's name")?;
        store.agree_on(&config).await?;
        let snapshot = store.load(PARTITION, &log_id, wall_clock()).await.context("load the last checkpoint")?;
        let key = IdentityKey(snapshot.identity_key);
        let identities_dir = identities::folder(&dir.join("identities"), &key.0);
        store.fetch_runs(PARTITION, &identities_dir).await.context("fetch the memory of identities")?;
        let epoch = snapshot.epoch;
        let log = open_log(&log_dir, key).context("open the log")?;
        let clock = Clock::start(Clocks::now(), log.last_received_at(), doubt)?;
        let (master, shard_config) = (Arc::clone(master), config.clone());
        let due =
            Due { records: CHECKPOINT_RECORDS, bytes: CHECKPOINT_BYTES, every: checkpoint_every, identities: rare().identities };
        let restored =
            tokio::task::spawn_blocking(move || restore(snapshot, &log_dir, &identities_dir, &master, &shard_config, due));
        let mut shard = restored.await.context("restore")??;
        shard.room.log_bytes = log.total_bytes();
        let (admitted, uncommitted) = (Arc::clone(&shard.room.admitted), Arc::clone(&shard.uncommitted));
        let uncommitted_bytes = Arc::clone(&shard.uncommitted_bytes);
        admitted.store(shard.room.processed, Ordering::Relaxed);

        let feed = Arc::new(Feed::default());
        // Full: senders wait here, and their bodies count against `BODIES_KIB`.
        let (submissions, to_log) = mpsc::channel(1_024);
        // Bounded by the bodies of what the log thread passes on; questions and checkpoints are few.
        let (messages, to_engine) = std_mpsc::channel();
        let timers = submissions.downgrade();
        let mut side = LogSide::new(log, clock, Arc::clone(&admitted)).with_ballast(ballast);
        let mut engine = EngineSide::new(shard);
        let notes = if notes_pairings { to_note(&engine) } else { Vec::new() };
        if !notes.is_empty() {
            tracing::info!(pairings = config.pairings.len(), "Other pairings than before are in force from now on.");
            let kept = side.keep(notes).map_err(|unknown| unknown.error).context("note the pairings in the log")?;
            engine.take(kept.context("the pairings cannot be noted in the log")?);
        }
        let log_thread = {
            let messages = messages.clone();
            let run = move || {
                run_log(side, to_log, &messages);
                Ok(())
            };
            std::thread::Builder::new().name("log".into()).spawn(run)?
        };
        let engine_thread = {
            let driver = Driver {
                side: engine,
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
            intake: Intake::Log(LogIntake { submissions, uncommitted, uncommitted_bytes }),
            ask: Arc::new(move |question| messages.send(Message::Ask(question)).is_ok()),
            bodies: Arc::new(Semaphore::new(BODIES_KIB)),
            identity_key: key,
            feed,
        };
        Ok((pipeline, Threads(vec![("log", log_thread), ("engine", engine_thread)])))
    }
}

fn run_log(mut side: LogSide, mut submissions: mpsc::Receiver<Submission>, engine: &std_mpsc::Sender<Message>) {
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
        match side.keep(group) {
            Ok(Some(group)) => {
                if engine.send(Message::Group(group)).is_err() {
                    return;
                }
            }
            Ok(None) => {}
            Err(unknown) => fail(&unknown.error),
        }
    }
    let _ = engine.send(Message::Drained);
}

struct Driver {
    side: EngineSide,
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
        let mut drained: Option<Instant> = None;
        while drained.is_none() || self.side.shard.is_writing() {
            if drained.is_some_and(|at| at.elapsed() >= LAST_CHECKPOINT) {
                tracing::warn!("Stopping without a last checkpoint: it takes too long. The next start reads the log instead.");
                return Ok(());
            }
            match messages.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(Message::Group(group)) => self.side.take(group),
                Ok(Message::Ask(question)) => question(&mut self.side.shard.room),
                Ok(Message::CheckpointDone(result)) => {
                    if let Err(error) = result {
                        fail(&error);
                    }
                    self.side.shard.checkpoint_done()?;
                }
                Ok(Message::Drained) => drained = Some(Instant::now()),
                Err(std_mpsc::RecvTimeoutError::Timeout) => {}
                Err(std_mpsc::RecvTimeoutError::Disconnected) => break,
            }
            if self.side.shard.is_checkpoint_due() {
                self.checkpoint();
            }
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + self.publisher.pause();
            }
        }
        // Everything durable is processed; one last checkpoint makes the next start short.
        if self.side.shard.has_news() {
            let writing = Writing::new(counted(Part::Cut, || self.side.shard.cut(Freeze::Full)));
            let written = write_checkpoint(self.store.clone(), writing, self.epoch, self.config, None);
            let left = LAST_CHECKPOINT.saturating_sub(drained.map_or(Duration::ZERO, |at| at.elapsed()));
            if let Ok(written) = self.runtime.block_on(async { tokio::time::timeout(left, written).await }) {
                written?;
            } else {
                tracing::warn!("The last checkpoint took too long. The next start reads the log instead.");
            }
        }
        Ok(())
    }

    fn tick(&mut self) {
        self.publisher.publish(&mut self.side.shard.room);
        if self.side.is_timer_due()
            && let Some(timers) = self.timers.upgrade()
        {
            // Full: the log is busy, and its blocks carry time too.
            self.side.note_timer(timers.try_send(Submission::Timer).is_ok());
        }
    }

    fn checkpoint(&mut self) {
        let writing = Writing::new(counted(Part::Cut, || self.side.shard.cut(Freeze::Full)));
        let (store, config, done, epoch) = (self.store.clone(), self.config.clone(), self.done.clone(), self.epoch);
        self.runtime.spawn(async move {
            let result = write_checkpoint(store, writing, epoch, config, None).await;
            let _ = done.send(Message::CheckpointDone(result));
        });
    }
}
