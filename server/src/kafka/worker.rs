//! One partition: fetches its messages, runs the engine over them, writes checkpoints, and ends as it is told.

use super::engine::Group;
use super::extent::{first_after, watermarks};
use super::feed::Teller;
use super::hand_on::HandOn;
use super::inbox::Inbox;
use super::installation::Installation;
use super::letters;
use super::partition::{Owned, WORTH_A_RUN, is_other_log};
use super::produce::Producer;
use super::status::{State, Status};
use crate::identities;
use crate::pipeline::steps::{TIMER_PATIENCE, TIMER_SLACK};
use crate::pipeline::{CheckpointPart, Due, Writing, counted, fail, wall_clock, write_checkpoint};
use crate::store::{Snapshot, Store, StoreError};
use anyhow::{Context, ensure};
use domain::engine::EngineConfig;
use domain::master::Master;
use domain::planted;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// How long a fetch waits for the first message; orders wait as long.
const WAIT: Duration = Duration::from_millis(20);
/// Processed records that no committed checkpoint covers, at most, of all workers of a process: one that is beyond its share fetches
/// nothing. A few hundred bytes each, with the windows that they closed.
const UNCOMMITTED: u64 = 300_000;
/// A checkpoint of fewer would cost more than it saves.
const LEAST_SHARE: u64 = 40_000;
/// How long the store may take for a question of a partition that may be given back meanwhile.
const ANSWER: Duration = Duration::from_secs(4);
/// So many letters the store is asked for within that time.
const LETTERS_AT_ONCE: usize = 32;
/// Before the store is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// Between two looks at what is not about messages.
const TICK: Duration = Duration::from_millis(200);

/// Between two updates of pages at least,
const TELL: Duration = Duration::from_millis(100);
/// while there is much to catch up with,
const TELL_BEHIND: Duration = Duration::from_secs(1);
/// and so many times as long as the last one took: there are several workers;
const TELL_SHARE: u32 = 40;
/// but at once when so many windows have closed: they lie in memory until then, 80 bytes each.
const TELL_WINDOWS: usize = 50_000;

/// What a worker may be told.
pub(super) enum Order {
    /// Write a last checkpoint, within this time for each step, and end.
    Drain(Duration),
    /// End: the partition belongs to somebody else already.
    Drop,
}

/// How a worker ended.
pub(super) enum Ended {
    /// As it was told.
    AsTold,
    /// Somebody has decided to go on without what is gone: its partition has to be taken over once more.
    ToBeginAnew,
}

/// What a worker is made of.
pub(super) struct WorkerParts {
    pub topic: String,
    pub partition: i32,
    /// The partition's number in the store.
    pub number: u32,
    /// The name of its log, by which the store knows it again.
    pub log: String,
    /// The first block that is fetched.
    pub begin: u64,
    /// Where its identities lie.
    pub dir: PathBuf,
    pub queue: PartitionQueue<Group>,
    pub consumer: Arc<BaseConsumer<Group>>,
    pub producer: Arc<Producer>,
    pub store: Store,
    pub master: Arc<Master>,
    pub config: EngineConfig,
    pub due: Due,
    pub status: Status,
    /// How many partitions this process has.
    pub owned: Arc<AtomicUsize>,
    /// The topic of the feed, and how many partitions it has.
    pub feed: (String, i32),
    /// Where its dead letters are told.
    pub letters: letters::Place,
    /// The way to other partitions.
    pub others: HandOn,
    pub runtime: tokio::runtime::Handle,
    /// Whose control messages count.
    pub ours: Installation,
    pub orders: mpsc::Receiver<Order>,
}

/// A checkpoint that is being written.
struct Being {
    task: tokio::task::JoinHandle<Result<(), StoreError>>,
    next_block: u64,
}

/// The log as it was found at a takeover.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The one that the state came from.
    SameLog,
    /// The same for a state of nothing: its first messages were deleted before anybody read them.
    BegunLate,
    /// Another one under its name.
    OtherLog,
}

/// A partition at work.
pub(super) struct Worker {
    parts: WorkerParts,
    /// The partition.
    of: Owned,
    epoch: i64,
    begun: Option<Instant>,
    writing: Option<Being>,
    is_behind: bool,
    /// Nothing is fetched any more: there is a gap, or another log.
    stands_still: bool,
    /// Its partition has to be taken over once more.
    begins_anew: bool,
    /// An order that came while it waited for something else.
    order: Option<Order>,
    timer_sent: Option<Instant>,
    pairings_sent: Option<Instant>,
    teller: Teller,
    /// Everything before this block is stored.
    stored: u64,
    told_at: Instant,
    /// Telling takes a bounded share of the time.
    tell_after: Duration,
}

impl Worker {
    /// Takes the partition over, and works until it is told to end.
    pub fn run(parts: WorkerParts) -> anyhow::Result<Ended> {
        let begun = Instant::now();
        let Some(snapshot) = load(&parts)? else { return Ok(Ended::AsTold) };
        let Some(found) = look_back(&parts, &snapshot)? else { return Ok(Ended::AsTold) };
        let dir = identities::folder(&parts.dir, &snapshot.identity_key);
        let epoch = snapshot.epoch;
        let (stored, received) = (snapshot.next_block, snapshot.totals.all.received);
        let mut of = Owned::restore(snapshot, parts.number, &dir, &parts.master, &parts.config, parts.due)?;
        // Positions only go back when somebody makes the state anew, and what lies before the beginning is not fetched.
        let has_gone_back = of.expected() < parts.begin && !planted("begins-where-the-old-state-ended");
        ensure!(!has_gone_back, "its state was made anew while this process took it over; start it again");
        of.shard.watch();
        of.shard.hand_on_from(0);
        if found == Found::BegunLate {
            of.begin_late();
        }
        let teller = Teller {
            topic: parts.feed.0.clone(),
            to: parts.number as i32 % parts.feed.1.max(1),
            partition: parts.number,
            epoch,
            told: stored,
            stored,
            received,
        };
        let worker = Self {
            teller,
            stored,
            told_at: begun,
            tell_after: TELL,
            parts,
            of,
            epoch,
            begun: Some(begun),
            writing: None,
            is_behind: true,
            stands_still: found == Found::OtherLog,
            begins_anew: false,
            order: None,
            timer_sent: None,
            pairings_sent: None,
        };
        worker.work()
    }

    fn work(mut self) -> anyhow::Result<Ended> {
        let mut next_tick = Instant::now();
        loop {
            match self.order.take().map_or_else(|| self.parts.orders.try_recv(), Ok) {
                Ok(Order::Drain(limit)) => return self.drain(limit).map(|()| Ended::AsTold),
                Ok(Order::Drop) | Err(mpsc::TryRecvError::Disconnected) => {
                    self.abort();
                    return Ok(Ended::AsTold);
                }
                Err(mpsc::TryRecvError::Empty) => {}
            }
            if self.writing.as_ref().is_some_and(|writing| writing.task.is_finished()) {
                self.written()?;
            }
            let share = (UNCOMMITTED / self.parts.owned.load(Ordering::Relaxed).max(1) as u64).max(LEAST_SHARE);
            if self.stands_still || (self.of.shard.is_writing() && self.of.shard.uncommitted.load(Ordering::Relaxed) > share) {
                std::thread::sleep(WAIT);
            } else {
                self.fetch()?;
            }
            // The next half can be taken in while the first one is written.
            let is_half = self.of.shard.uncommitted.load(Ordering::Relaxed) > share / 2 && !self.of.shard.is_writing();
            if self.of.shard.is_checkpoint_due() || is_half {
                self.checkpoint(u64::MAX);
            }
            if Instant::now() >= next_tick {
                if self.begins_anew || self.is_gap_accepted() {
                    self.abort();
                    return Ok(Ended::ToBeginAnew);
                }
                self.tick();
                next_tick = Instant::now() + TICK;
            }
            if self.has_to_tell() && (self.told_at.elapsed() >= self.tell_after || self.of.shard.news_to_tell() >= TELL_WINDOWS) {
                self.tell();
            }
        }
    }

    /// A checkpoint on its way is given up.
    fn abort(&self) {
        if let Some(writing) = &self.writing {
            writing.task.abort();
        }
    }

    /// Whether the store wants it to begin behind the gap at which it stands still.
    fn is_gap_accepted(&self) -> bool {
        let begins_at = || self.parts.runtime.block_on(self.parts.store.begins_at(self.parts.number));
        // While the store is away nobody can decide.
        self.stands_still && begins_at().is_ok_and(|block| block.is_some_and(|block| block > self.of.expected()))
    }

    /// Also while it catches up: what is to be told would grow with all that there is to catch up with.
    fn has_to_tell(&self) -> bool {
        self.begun.is_none() || self.of.processed() > 0
    }

    /// Tells pages what changed.
    fn tell(&mut self) {
        let begun = Instant::now();
        let news = self.of.shard.take_news();
        let lag = self.parts.status.lag(&self.parts.topic, self.parts.partition);
        self.of.shard.room.admitted.store(self.of.shard.room.processed + lag, Ordering::Relaxed);
        let next = self.of.shard.next_block;
        self.teller.tell(&self.parts.producer, &mut self.of.shard.room, news, next, self.stored);
        self.told_at = Instant::now();
        let least = if self.is_behind { TELL_BEHIND } else { TELL };
        self.tell_after = least.max(begun.elapsed() * TELL_SHARE);
    }

    /// Takes in what waits, at most so much that other things need not wait long.
    fn fetch(&mut self) -> anyhow::Result<()> {
        let mut inbox = Inbox::new(&self.parts.topic, &self.parts.ours);
        inbox.spread(self.of.shard.room.engine.most_travellers());
        let mut wait = WAIT;
        while !inbox.is_full() {
            match self.parts.queue.poll(std::mem::take(&mut wait)) {
                Some(Ok(message)) => inbox.put(&message),
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                    self.stands_still = true;
                    break;
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "Kafka's consumer complains.");
                    break;
                }
                None => break,
            }
        }
        self.is_behind = inbox.is_full();
        // Not taken in where an order comes first: its offsets stay where they are.
        let Some(letters) = self.letters(self.of.asks_for(&inbox))? else { return Ok(()) };
        if self.of.take(&inbox, &letters) {
            self.timer_sent = None;
        }
        if self.stands_still {
            self.tell_gap()?;
        } else if !self.is_behind
            && let Some(begun) = self.begun.take()
        {
            self.of.shard.restored(begun);
            self.parts.status.change(&self.parts.topic, self.parts.partition, |of| of.state = State::Running);
        }
        Ok(())
    }

    /// Which of `positions` hold a dead letter that is stored; `None` where an order came first. A few are asked for at a time: however
    /// many somebody decides on, each answer is a step further.
    fn letters(&mut self, mut positions: BTreeSet<u64>) -> anyhow::Result<Option<BTreeSet<u64>>> {
        let (number, mut found) = (self.of.number(), BTreeSet::new());
        while !positions.is_empty() {
            let beyond = positions.iter().nth(LETTERS_AT_ONCE).copied();
            let few: BTreeSet<u64> = positions.iter().take(LETTERS_AT_ONCE).copied().collect();
            let asked = async { tokio::time::timeout(ANSWER, self.parts.store.letters(number, &few)).await };
            match self.parts.runtime.block_on(asked) {
                Ok(Ok(some)) => {
                    found.extend(some);
                    positions = beyond.map(|beyond| positions.split_off(&beyond)).unwrap_or_default();
                    continue;
                }
                Ok(Err(error)) if !error.may_pass() => return Err(error).context("look for dead letters"),
                Ok(Err(error)) => tracing::warn!(%error, "The store cannot say what there is to decide on; trying again."),
                Err(_) => tracing::warn!("The store does not say what there is to decide on; trying again."),
            }
            match self.parts.orders.recv_timeout(PAUSE) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Ok(order) => self.order = Some(order),
                Err(mpsc::RecvTimeoutError::Disconnected) => self.order = Some(Order::Drop),
            }
            if self.order.is_some() {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    /// What should come next is gone. Going on would lose it in silence, so people decide.
    fn tell_gap(&mut self) -> anyhow::Result<()> {
        let WorkerParts { topic, partition, consumer, status, .. } = &self.parts;
        let (low, high) = watermarks(consumer.client(), topic, *partition).context("ask what Kafka has")?;
        let Some((from, to)) = self.of.gap((low, high)) else {
            // What was asked for is gone, and is not needed: somebody accepted a gap while this process took the partition over.
            self.begins_anew = true;
            return Ok(());
        };
        let lost = if (to as u64) < self.of.shard.next_block {
            "were processed, but what would tell their repetitions is"
        } else {
            "were not all processed, and are"
        };
        tracing::error!(
            topic,
            partition,
            "gap({from},{to}): these offsets {lost} gone; the partition stands still. To go on without them: \
             rantai kafka accept-gap --topic {topic} --partition {partition}"
        );
        status.change(topic, *partition, |of| of.state = State::Gap { from, to });
        Ok(())
    }

    /// Identities become a run where they are `worth` that many records, so that nobody has to read them from the log again.
    fn checkpoint(&mut self, worth: u64) {
        let writing = counted(CheckpointPart::Cut, || self.of.cut(worth));
        self.write(writing);
    }

    fn write(&mut self, writing: Writing) {
        let next_block = writing.next_block();
        let (producer, place) = (Arc::clone(&self.parts.producer), self.parts.letters.clone());
        let (store, epoch, config) = (self.parts.store.clone(), self.epoch, self.parts.config.clone());
        let others = self.parts.others.clone();
        let write = async move {
            letters::tell(&producer, &place, writing.dead_letters()).await;
            write_checkpoint(store, writing, epoch, config, Some(others)).await
        };
        self.writing = Some(Being { task: self.parts.runtime.spawn(write), next_block });
        self.tell_writing(Some(Instant::now()));
    }

    fn tell_writing(&self, since: Option<Instant>) {
        self.parts.status.change(&self.parts.topic, self.parts.partition, |of| of.writing_since = since);
    }

    /// The checkpoint that was being written is done; waits for it where it is not.
    fn written(&mut self) -> anyhow::Result<()> {
        let Some(Being { task, next_block }) = self.writing.take() else { return Ok(()) };
        if let Err(error) = self.parts.runtime.block_on(task).context("write a checkpoint")? {
            // Fenced, or something that trying again does not mend: this process has nothing to say any more.
            fail(&format!("partition {} of {}: {error}", self.parts.partition, self.parts.topic));
        }
        self.of.shard.checkpoint_done()?;
        self.tell_writing(None);
        self.stored = next_block;
        // For tools that look at the group's lag; where to begin is what the store says.
        let mut hint = TopicPartitionList::new();
        let offset = Offset::Offset(next_block as i64 - 1);
        if hint.add_partition_offset(&self.parts.topic, self.parts.partition, offset).is_ok() {
            let _ = self.parts.consumer.commit(&hint, CommitMode::Async);
        }
        Ok(())
    }

    fn tick(&mut self) {
        let (next_offset, processed) = (self.of.expected() as i64 - 1, self.of.processed());
        self.parts.status.change(&self.parts.topic, self.parts.partition, |of| {
            of.lag = of.lag.saturating_sub(next_offset.saturating_sub(of.next_offset).max(0) as u64);
            (of.next_offset, of.processed) = (next_offset, processed);
        });
        if self.is_behind || self.stands_still || self.begun.is_some() {
            return;
        }
        // Asked again and again: whoever had the partition before may note others still.
        if self.pairings_sent.is_none_or(|at| at.elapsed() >= TIMER_PATIENCE)
            && let Some(wanted) = self.of.shard.wants_pairings()
        {
            tracing::info!(topic = self.parts.topic, partition = self.parts.partition, "Its pairings are noted.");
            self.parts.producer.send_pairings(&self.parts.topic, self.parts.partition, &wanted);
            self.pairings_sent = Some(Instant::now());
        }
        if self.of.is_run_overdue(wall_clock()) {
            let writing = counted(CheckpointPart::Cut, || self.of.cut_with_run());
            self.write(writing);
        }
        if self.timer_sent.is_none_or(|at| at.elapsed() >= TIMER_PATIENCE)
            && self.of.shard.room.engine.next_deadline().is_some_and(|deadline| deadline.plus(TIMER_SLACK) <= wall_clock())
        {
            self.parts.producer.send_timer(&self.parts.topic, self.parts.partition);
            self.timer_sent = Some(Instant::now());
        }
    }

    /// Everything processed is put into a checkpoint before somebody else goes on. Where that takes too long, the other repeats work.
    fn drain(mut self, limit: Duration) -> anyhow::Result<()> {
        if self.has_to_tell() {
            self.tell();
        }
        let end = Instant::now() + limit;
        for _ in 0..2 {
            while self.writing.as_ref().is_some_and(|writing| !writing.task.is_finished()) {
                if Instant::now() >= end {
                    self.abort();
                    let (topic, partition) = (&self.parts.topic, self.parts.partition);
                    tracing::warn!(topic, partition, "A partition ends without its last checkpoint: the store took too long.");
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            self.written()?;
            if !self.of.shard.has_news() && !self.of.is_run_due(WORTH_A_RUN) {
                break;
            }
            self.checkpoint(WORTH_A_RUN);
        }
        // The loop ended with the last checkpoint begun, or with nothing left to write.
        while self.writing.as_ref().is_some_and(|writing| !writing.task.is_finished()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        if self.writing.as_ref().is_some_and(|writing| writing.task.is_finished()) {
            self.written()?;
        }
        Ok(())
    }
}

/// Takes over what the store holds of the partition; `None` where an order came first.
fn load(parts: &WorkerParts) -> anyhow::Result<Option<Snapshot>> {
    loop {
        let attempt = async {
            parts.store.agree_on(&parts.config).await?;
            let snapshot = parts.store.load(parts.number, &parts.log, wall_clock()).await?;
            // Once more: a rebuild may have had to be waited for.
            parts.store.agree_on(&parts.config).await?;
            parts.store.fetch_runs(parts.number, &identities::folder(&parts.dir, &snapshot.identity_key)).await?;
            Ok::<_, StoreError>(snapshot)
        };
        match parts.runtime.block_on(attempt) {
            Ok(snapshot) => return Ok(Some(snapshot)),
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "The store cannot hand a partition over; trying again.");
                if !matches!(parts.orders.recv_timeout(PAUSE), Err(mpsc::RecvTimeoutError::Timeout)) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error).context("load the last checkpoint"),
        }
    }
}

/// What Kafka has under the name of the log that `snapshot` came from; `None` where an order came first.
fn look_back(parts: &WorkerParts, snapshot: &Snapshot) -> anyhow::Result<Option<Found>> {
    let WorkerParts { topic, partition, consumer, orders, status, .. } = parts;
    loop {
        // In this order: see `is_other_log`. A broker that leads since a moment ago refuses to tell an end that is not up to date.
        let asked = first_after(consumer, topic, *partition, snapshot.now)
            .and_then(|later| Ok((later, watermarks(consumer.client(), topic, *partition)?)));
        match asked {
            Ok((later, (low, high))) if !is_other_log(snapshot.next_block, later, high) => {
                if snapshot.committed_at.is_none() && low > 0 {
                    tracing::warn!(
                        topic,
                        partition,
                        low,
                        "Kafka had deleted messages before anybody read them here; they are in no book."
                    );
                    return Ok(Some(Found::BegunLate));
                }
                return Ok(Some(Found::SameLog));
            }
            Ok((later, (_, high))) => {
                tracing::error!(
                    topic,
                    partition,
                    processed = snapshot.next_block - 1,
                    later,
                    high,
                    "Offsets that were processed long ago are gone or have newer messages: the topic was made anew, or cut off by a broker \
                     that lacked its end. The partition stands still. Make a topic of another name: its records come beside the old ones."
                );
                status.change(topic, *partition, |of| of.state = State::OtherLog);
                return Ok(Some(Found::OtherLog));
            }
            Err(error) => {
                tracing::warn!(%error, "Kafka cannot say what came in after a partition's checkpoint; trying again.");
                if !matches!(orders.recv_timeout(PAUSE), Err(mpsc::RecvTimeoutError::Timeout)) {
                    return Ok(None);
                }
            }
        }
    }
}
