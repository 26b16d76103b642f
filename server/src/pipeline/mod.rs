//! What turns records into state: the handle by which the rest of the server reaches it, and what drives the engine.
//!
//! `shard` is a partition's state at work, `room` what questions see of it, `checkpoint` writes it down, `steps` is what is done with one on
//! the log of this process and `embedded` the threads that do it; `crate::kafka` drives many on Kafka.

mod checkpoint;
mod delays;
mod embedded;
mod rates;
mod replay;
mod room;
mod shard;
pub mod steps;

pub use checkpoint::{Step, Writing};
pub use delays::Delays;
pub use embedded::AsServer;
pub use rates::Rates;
pub use room::Room;
pub use shard::{Due, News, Shard, needed_from};

pub(crate) use checkpoint::{Part as CheckpointPart, counted, cpu_seconds as checkpoint_cpu_seconds, write_checkpoint};
pub(crate) use replay::REBUILD;

use crate::admission::{Batch, Format, IdentityKey};
use crate::feed::Feed;
use crate::kafka;
use crate::letters::Decision;
use domain::engine::Disposition;
use domain::time::ProcessingTime;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Bodies in memory at once, in KiB; a sender beyond that is asked to come again.
pub(crate) const BODIES_KIB: usize = 96 * 1024;
/// After so long a checkpoint that is not written is a fault and no delay.
pub(crate) const CHECKPOINT_PATIENCE: Duration = Duration::from_secs(30);
/// Questions that may wait for the engine at once, between which it takes records in; more wait here, and are forgotten with who asks.
const QUESTIONS: usize = 64;
/// For so long.
const QUESTION_PATIENCE: Duration = Duration::from_secs(20);

static ASKING: Semaphore = Semaphore::const_new(QUESTIONS);

/// The embedded log is one partition of the input.
pub const PARTITION: u32 = 0;

/// The wall clock. Everything that must be the same after a replay takes its time from the log instead.
pub fn wall_clock() -> ProcessingTime {
    if let Some(simulated) = crate::clock::simulated() {
        return simulated.wall;
    }
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ProcessingTime::from_ms(since_epoch.as_millis() as i64)
}

/// What a sender is told.
#[derive(Debug)]
pub enum Answer {
    /// What became of each record.
    Judged {
        /// The records.
        batch: Batch,
        /// What became of each.
        dispositions: Vec<Disposition>,
    },
    /// The records are safe on Kafka; an engine will judge them.
    Queued(Batch),
}

/// Why a submission was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is waiting already.
    #[error("too many requests are waiting")]
    Busy,
    /// The disk, or Kafka, takes no more.
    #[error("the log cannot be written now")]
    Unwritable,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// It is not this process that does it.
    #[error("this process has not the role for it")]
    Elsewhere,
}

/// Something to ask the room.
pub(crate) type Question = Box<dyn FnOnce(&mut Room) + Send>;
/// Hands a question on; whether anybody will answer it.
pub(crate) type Ask = Arc<dyn Fn(Question) -> bool + Send + Sync>;

/// Where records go.
#[derive(Clone)]
pub(crate) enum Intake {
    /// Into the log of this process.
    Log(embedded::LogIntake),
    /// To Kafka.
    Kafka(Arc<kafka::Intake>),
    /// Nowhere: this process takes none in.
    None,
}

/// The handle by which the rest of the server reaches the pipeline.
#[derive(Clone)]
pub struct Pipeline {
    pub(crate) intake: Intake,
    pub(crate) ask: Ask,
    pub(crate) bodies: Arc<Semaphore>,
    /// Secret of the identities.
    pub identity_key: IdentityKey,
    /// Listeners of pages.
    pub feed: Arc<Feed>,
}

/// A thread, with its name.
pub(crate) type Thread = (&'static str, std::thread::JoinHandle<anyhow::Result<()>>);

/// The pipeline's threads, to wait for.
pub struct Threads(pub(crate) Vec<Thread>);

impl Threads {
    /// Waits until everything submitted is durable, processed and covered by a checkpoint. All handles must be gone.
    pub fn join(self) -> anyhow::Result<()> {
        for (name, thread) in self.0 {
            thread.join().map_err(|_| anyhow::anyhow!("the thread `{name}` panicked"))??;
        }
        Ok(())
    }

    /// Whether one of them has ended.
    pub fn is_finished(&self) -> bool {
        self.0.iter().any(|(_, thread)| thread.is_finished())
    }
}

impl Pipeline {
    /// Room for a body of `len` bytes; held until its records are processed.
    pub fn reserve(&self, len: usize) -> Result<OwnedSemaphorePermit, Refused> {
        if !self.keeps_up() {
            return Err(Refused::Busy);
        }
        if matches!(self.intake, Intake::None) {
            return Err(Refused::Elsewhere);
        }
        let kib = u32::try_from(len / 1_024 + 1).unwrap_or(u32::MAX);
        Arc::clone(&self.bodies).try_acquire_many_owned(kib).map_err(|_| Refused::Busy)
    }

    /// Whether the database keeps up with what is taken in.
    pub fn keeps_up(&self) -> bool {
        !matches!(&self.intake, Intake::Log(log) if !log.keeps_up())
    }

    /// Whether the log takes records in now, as far as one can tell without one.
    pub async fn takes_in(&self) -> bool {
        match &self.intake {
            Intake::Kafka(kafka) => kafka.is_reachable().await,
            Intake::Log(_) | Intake::None => true,
        }
    }

    /// Makes `batch` durable and, on the embedded log, processes it. The answer comes after that.
    pub async fn submit(
        &self,
        batch: Batch,
        format: Format,
        source: String,
        permit: OwnedSemaphorePermit,
    ) -> Result<Answer, Refused> {
        match &self.intake {
            Intake::Log(log) => log.submit(batch, format, source, permit).await,
            Intake::Kafka(kafka) => {
                let sent = kafka.submit(&batch, &source).await;
                drop(permit);
                sent.map(|()| Answer::Queued(batch))
            }
            Intake::None => Err(Refused::Elsewhere),
        }
    }

    /// Makes a decision of a dead letter durable, whose bytes are `raw`, and on the embedded log carries it out. It has no effect where
    /// one came before it.
    pub async fn decide(&self, decision: &Decision, raw: &[u8], source: String) -> Result<(), Refused> {
        match &self.intake {
            Intake::Log(log) => log.decide(decision, raw, source).await,
            Intake::Kafka(kafka) => kafka.decide(decision, raw, &source).await,
            Intake::None => Err(Refused::Elsewhere),
        }
    }

    /// Asks the room; `question` runs between two blocks and should be short.
    pub async fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut Room) -> T + Send + 'static) -> Result<T, Refused> {
        let turn = tokio::time::timeout(QUESTION_PATIENCE, ASKING.acquire()).await.map_err(|_| Refused::Busy)?;
        let _turn = turn.map_err(|_| Refused::Stopping)?;
        let (reply, answer) = oneshot::channel();
        let question: Question = Box::new(move |room| {
            // Who has gone away meanwhile costs nothing more.
            if !reply.is_closed() {
                let _ = reply.send(question(room));
            }
        });
        if !(self.ask)(question) {
            return Err(Refused::Stopping);
        }
        answer.await.map_err(|_| Refused::Stopping)
    }

    /// Whether records are judged before their sender is answered.
    pub fn judges_at_once(&self) -> bool {
        matches!(self.intake, Intake::Log(_))
    }
}

/// Ends the process at once: what the disk or the database holds is not known, and only a fresh start looks.
pub(crate) fn fail(error: &dyn std::fmt::Display) -> ! {
    tracing::error!(%error, "Stopping: a restart reads again what is stored.");
    eprintln!("rantai: {error}");
    std::process::exit(1)
}
