//! One machine with the embedded log: senders, the two sides of the pipeline and the writer of checkpoints take turns as chance has it;
//! the machine crashes, loses power, and starts again.

use super::disk::Disk;
use super::oracle;
use super::random::Random;
use super::setup;
use super::store::{KEY, Store};
use super::workload::{self, Request};
use super::world::{Crashed, World};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use domain::engine::{Disposition, EngineConfig};
use domain::master::Master;
use domain::time::HOUR_MS;
use server::admission::{Batch, IdentityKey};
use server::clock::{Clock, ClockError, Clocks, Doubt};
use server::identities::{self, Freeze, Sizes};
use server::letters::{Decision, Verdict};
use server::log;
use server::pipeline::steps::{EngineSide, Group, LogSide, Submission, open_log, restore, to_note};
use server::pipeline::{Answer, Due, PARTITION, Refused, Step, Writing};
use server::side::DEAD;
use server::store::StoreError;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, atomic::Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// Groups that may wait for the engine.
const WAITING: usize = 6;

/// What somebody was told.
#[derive(Debug, Default)]
pub struct Told {
    /// By the number of the block: the body, and what became of its records.
    pub judged: BTreeMap<u64, (Bytes, Vec<Disposition>)>,
    /// Dead letters of which a decision was taken in.
    pub decided: Vec<u64>,
}

/// A request that waits for its answer.
struct Waiting {
    request: Request,
    block: Option<u64>,
    reply: oneshot::Receiver<Result<Answer, Refused>>,
}

struct WaitingDecision {
    decision: Decision,
    source: String,
    raw: Vec<u8>,
    reply: oneshot::Receiver<Result<(), Refused>>,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It crashed.
    Crashed,
    /// It ended itself, because something failed.
    Failed,
    /// It was stopped.
    Stopped,
}

/// A process at work.
struct Process {
    log: LogSide,
    engine: EngineSide,
    epoch: i64,
    groups: VecDeque<Group>,
    writing: Option<Writing>,
}

/// Sizes, so small that everything happens.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    pub segment_bytes: u64,
    pub due: Due,
}

impl Tuning {
    pub fn chosen(random: &mut Random) -> Self {
        let identities = Sizes {
            freeze_at: 5 + random.index(60),
            generation_keys: 100 + random.index(200),
            run_bytes: 4_000 + random.below(60_000),
        };
        let every = Duration::from_secs(5 + random.below(120));
        let due = Due { records: 20 + random.below(150), bytes: 2_000 + random.below(30_000), every, identities };
        Self { segment_bytes: 500 + random.below(8_000), due }
    }
}

/// The simulation of one seed.
pub struct Embedded {
    pub world: World,
    pub disk: Disk,
    pub store: Store,
    pub told: Told,
    pub config: EngineConfig,
    pub master: Arc<Master>,
    pub tuning: Tuning,
    random: Random,
    dir: PathBuf,
    /// Requests that nobody has confirmed, the next first.
    outbox: Vec<Request>,
    waiting: Vec<Waiting>,
    deciding: Vec<WaitingDecision>,
    /// Decisions to ask for again.
    undecided: Vec<WaitingDecision>,
    bodies: Arc<Semaphore>,
    crashes_left: u64,
    prunes: bool,
    /// Makes other pairings at times, where somebody does.
    pairs: Option<Random>,
    /// By how much the wall clock is wrong.
    wrong_by_ms: i64,
    /// Somebody has looked at the clock.
    doubt: Doubt,
}

impl Embedded {
    pub fn new(mut random: Random, master: &Arc<Master>) -> Self {
        let world = World::new(random.fork());
        world.get().fails_one_in = *random.pick(&[0, 0, 400, 120, 50]);
        let disk = Disk::new(&world);
        let mut config = setup::chosen(&mut random);
        setup::narrow(&mut config, &random);
        // A way of its own: courses without are as they were.
        let mut pairs = Random(!random.0);
        let pairs = (!config.pairings.is_empty() && pairs.one_in(2)).then_some(pairs);
        let records = workload::records(&mut random, 50, !config.pairings.is_empty());
        let mut outbox = workload::requests(&mut random, &records);
        outbox.sort_by_key(|request| std::cmp::Reverse(request.due_ms));
        Self {
            disk,
            store: Store::default(),
            told: Told::default(),
            config,
            master: Arc::clone(master),
            tuning: Tuning::chosen(&mut random),
            dir: PathBuf::from("/data"),
            outbox,
            waiting: Vec::new(),
            deciding: Vec::new(),
            undecided: Vec::new(),
            bodies: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            crashes_left: 8 + random.below(12),
            prunes: random.one_in(3),
            pairs,
            wrong_by_ms: 0,
            doubt: Doubt::Refuse,
            world,
            random,
        }
    }

    fn identities_dir(&self) -> PathBuf {
        identities::folder(&self.dir.join("identities"), &KEY)
    }

    /// Lives until everything that was sent is confirmed; then holds what is there against what should be.
    pub fn run(&mut self) -> anyhow::Result<()> {
        self.disk.mount();
        for lives in 0.. {
            ensure!(lives < 3_000, "3 000 lives, and still not everything was taken in");
            let fuse = (self.crashes_left > 0).then(|| {
                let far = if self.random.one_in(3) { 15 } else { 160 };
                self.random.below(far)
            });
            if fuse.is_none() {
                self.world.get().fails_one_in = 0;
                self.set_clock(0);
                self.doubt = Doubt::Accept;
            }
            self.world.begin_life(fuse);
            let failures = self.failures();
            let end = match self.live() {
                Ok(end) => end,
                Err(_) if self.world.is_crashed() => End::Crashed,
                Err(_) if self.failures() > failures => End::Failed,
                Err(error) if error.is::<ClockError>() => {
                    self.world.note("a start refused for the clock");
                    self.doubt = *self.random.pick(&[Doubt::Refuse, Doubt::Accept]);
                    End::Failed
                }
                Err(error) => return Err(error.context("without any fault")),
            };
            self.take_answers(end)?;
            match end {
                End::Crashed => {
                    self.crashes_left = self.crashes_left.saturating_sub(1);
                    if self.random.one_in(2) {
                        self.world.note("power lost");
                        self.disk.lose_power();
                    }
                }
                End::Failed => self.world.note("a process ended itself"),
                End::Stopped if self.is_idle() && fuse.is_none() => break,
                End::Stopped => self.world.note("a process stopped"),
            }
            let pause = if self.random.one_in(8) { 600_000 } else { 20_000 };
            let pause = self.random.between(100, pause);
            self.world.pass(pause);
            self.give_back();
        }
        oracle::check(self)
    }

    fn failures(&self) -> u64 {
        self.world.get().counts.iter().filter(|(name, _)| name.starts_with("failure")).map(|(_, count)| count).sum()
    }

    fn is_idle(&self) -> bool {
        self.outbox.is_empty() && self.waiting.is_empty() && self.undecided.is_empty() && self.deciding.is_empty()
    }

    /// What nobody has confirmed is sent again.
    fn give_back(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.send_again(waiting.request);
        }
        self.undecided.append(&mut self.deciding);
    }

    fn send_again(&mut self, mut request: Request) {
        request.tries += 1;
        let wait = self.random.between(200, 5_000 * i64::from(request.tries.min(6)));
        request.due_ms = self.world.get().now_ms + wait;
        let at = self.outbox.partition_point(|other| other.due_ms > request.due_ms);
        self.outbox.insert(at, request);
    }

    /// The answers that were given; some get lost on the way.
    fn take_answers(&mut self, end: End) -> anyhow::Result<()> {
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.reply.try_recv() {
                Ok(Ok(Answer::Judged { dispositions, .. })) => {
                    let block = waiting.block.context("somebody was answered before the log had what they sent")?;
                    let records = Batch::parse(
                        waiting.request.body.clone(),
                        waiting.request.format,
                        waiting.request.source,
                        &IdentityKey(KEY),
                    )?;
                    ensure!(records.len() == dispositions.len(), "an answer has another length than its request");
                    // Of a process that crashed the answer may have left or not.
                    if self.random.one_in(if end == End::Crashed { 2 } else { 15 }) {
                        self.world.note("an answer lost");
                        self.send_again(waiting.request);
                    } else {
                        self.world.note("an answer");
                        self.told.judged.insert(block, (waiting.request.body, dispositions));
                    }
                }
                Ok(Ok(Answer::Queued(_))) => bail!("nothing is queued on an embedded log"),
                Ok(Err(_)) => {
                    self.world.note("a refusal");
                    self.send_again(waiting.request);
                }
                Err(oneshot::error::TryRecvError::Empty) => self.waiting.push(waiting),
                Err(oneshot::error::TryRecvError::Closed) => self.send_again(waiting.request),
            }
        }
        for mut deciding in std::mem::take(&mut self.deciding) {
            match deciding.reply.try_recv() {
                Ok(Ok(())) => self.told.decided.push(deciding.decision.letter),
                Err(oneshot::error::TryRecvError::Empty) => self.deciding.push(deciding),
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => self.undecided.push(deciding),
            }
        }
        Ok(())
    }

    /// The wall clock is wrong by so much from now on.
    fn set_clock(&mut self, by_ms: i64) {
        self.world.set_wall(by_ms - self.wrong_by_ms);
        self.wrong_by_ms = by_ms;
    }

    fn phase(&self, phase: &'static str) {
        self.world.get().phase = phase;
    }

    /// One process from its start to its end.
    fn live(&mut self) -> anyhow::Result<End> {
        self.phase("starting");
        if let Some(pairs) = &mut self.pairs
            && pairs.one_in(3)
        {
            self.config.pairings = setup::pairings(pairs);
            self.world.note("other pairings");
        }
        let Some(mut process) = self.start()? else { return Ok(End::Failed) };
        let notes = to_note(&process.engine);
        if !notes.is_empty() {
            if let Some(end) = self.append(&mut process, notes)? {
                return Ok(end);
            }
            if process.groups.is_empty() {
                return Ok(End::Failed);
            }
            self.world.note("pairings noted");
        }
        self.phase("running");
        let mut stops_in = if self.random.one_in(4) { self.random.below(200) } else { u64::MAX };
        loop {
            if stops_in == 0 || self.is_idle() {
                break;
            }
            stops_in -= 1;
            let ms = self.random.between(0, 2_500);
            self.world.pass(ms);
            let was_wrong_by_ms = self.wrong_by_ms;
            if self.wrong_by_ms != 0 && self.random.one_in(30) {
                self.set_clock(0);
            } else if self.crashes_left > 0 && self.random.one_in(600) {
                let by = self.random.between(11_000, 2 * 3_600_000);
                let is_ahead = self.random.one_in(2);
                self.set_clock(if is_ahead { by } else { -by });
                self.world.note("the clock set wrong");
            }
            if self.wrong_by_ms != was_wrong_by_ms {
                // A process that does not believe its clock takes nothing in: somebody starts it again.
                stops_in = stops_in.min(20 + self.random.below(150));
            }
            if let Some(end) = self.turn(&mut process)? {
                return Ok(end);
            }
            self.take_answers(End::Stopped)?;
        }
        self.phase("stopping");
        self.stop(process)
    }

    /// `None` where something failed.
    fn start(&mut self) -> anyhow::Result<Option<Process>> {
        let Ok(snapshot) = self.store.load(PARTITION, &self.config.windows, &self.world)? else { return Ok(None) };
        let epoch = snapshot.epoch;
        self.world.point("state loaded")?;
        let log_dir = self.dir.join("log");
        let log = open_log(&log_dir, IdentityKey(KEY))?.with_limits(self.tuning.segment_bytes, 200);
        self.world.point("log opened")?;
        let clock = Clock::start(Clocks::now(), log.last_received_at(), self.doubt)?;
        self.doubt = Doubt::Refuse;
        let dir = self.identities_dir();
        let shard = restore(snapshot, &log_dir, &dir, &self.master, &self.config, self.tuning.due)?;
        self.world.point("state restored")?;
        let log = LogSide::new(log, clock, Arc::default());
        Ok(Some(Process { log, engine: EngineSide::new(shard), epoch, groups: VecDeque::new(), writing: None }))
    }

    /// Somebody does a step; how the process ends where it does.
    fn turn(&mut self, process: &mut Process) -> anyhow::Result<Option<End>> {
        match self.random.below(16) {
            0..=4 => self.keep(process),
            5..=9 => self.take(process),
            10..=12 => self.write(process),
            13 => {
                if process.engine.is_timer_due() && process.groups.len() < WAITING {
                    process.engine.note_timer(true);
                    self.world.note("a timer");
                    return self.append(process, vec![Submission::Timer]);
                }
                Ok(None)
            }
            14 => {
                self.decide(process);
                Ok(None)
            }
            _ => self.prune(process),
        }
    }

    /// The log's side makes durable what is due.
    fn keep(&mut self, process: &mut Process) -> anyhow::Result<Option<End>> {
        if process.groups.len() >= WAITING {
            return Ok(None);
        }
        let now = self.world.get().now_ms;
        if let Some(next) = self.outbox.last().filter(|next| next.due_ms > now + 30_000)
            && self.random.one_in(3)
        {
            // Little is going on; where it is nothing for days, they pass by many hours.
            let wait_ms = next.due_ms - now;
            self.world.pass(if wait_ms > HOUR_MS { wait_ms / 2 } else { 12_000 });
            return Ok(None);
        }
        let mut group = Vec::new();
        let first = self.waiting.len();
        for _ in 0..=self.random.below(3) {
            let Some(request) = self.outbox.pop_if(|next| next.due_ms <= now) else { break };
            let batch = Batch::parse(request.body.clone(), request.format, request.source, &IdentityKey(KEY))?;
            let (sender, reply) = oneshot::channel();
            let permit = Arc::clone(&self.bodies).try_acquire_owned()?;
            let (format, source) = (request.format, request.source.to_owned());
            group.push(Submission::Records { batch, format, source, reply: sender, permit });
            self.waiting.push(Waiting { request, block: None, reply });
        }
        if let Some(mut again) = self.undecided.pop() {
            let (sender, reply) = oneshot::channel();
            again.reply = reply;
            let (body, source) = (again.decision.encode(&again.raw), again.source.clone());
            group.push(Submission::Decision { body, source, records: again.decision.records(), reply: sender });
            self.deciding.push(again);
        }
        if group.is_empty() {
            return Ok(None);
        }
        let asked = self.waiting.len() - first;
        let end = self.append(process, group)?;
        if end.is_none()
            && let Some(kept) = process.groups.back()
        {
            let places = kept.blocks.iter().map(|block| block.place.number);
            for (waiting, block) in self.waiting[first..first + asked].iter_mut().zip(places) {
                waiting.block.get_or_insert(block);
            }
        }
        Ok(end)
    }

    fn append(&mut self, process: &mut Process, group: Vec<Submission>) -> anyhow::Result<Option<End>> {
        let kept = process.log.keep(group);
        if self.world.is_crashed() {
            return Ok(Some(End::Crashed));
        }
        match kept {
            Ok(Some(group)) => {
                self.world.point("group durable")?;
                process.groups.push_back(group);
                Ok(None)
            }
            Ok(None) => Ok(None),
            Err(_) => Ok(Some(End::Failed)),
        }
    }

    /// The engine's side takes in a group, and cuts a checkpoint where one is due.
    fn take(&mut self, process: &mut Process) -> anyhow::Result<Option<End>> {
        if let Some(group) = process.groups.pop_front() {
            process.engine.take(group);
            self.world.point("group processed")?;
        }
        self.cut_if_due(process)?;
        Ok(None)
    }

    fn cut_if_due(&mut self, process: &mut Process) -> Result<(), Crashed> {
        if process.engine.shard.is_checkpoint_due() {
            process.writing = Some(Writing::new(process.engine.shard.cut(Freeze::Full)));
            self.world.point("checkpoint cut")?;
        }
        Ok(())
    }

    /// The writer of checkpoints does a step.
    fn write(&mut self, process: &mut Process) -> anyhow::Result<Option<End>> {
        let Some(writing) = &mut process.writing else { return Ok(None) };
        let result = match writing.step() {
            Step::WriteRun(frozen) => frozen.write().map_err(StoreError::Run),
            Step::Commit(checkpoint) => self.store.checkpoint(checkpoint, process.epoch, &self.world),
            // SQLite's runs stay where they are, and there is no other partition.
            Step::KeepRun(_) | Step::HandOn(_) | Step::Wait(_) => Ok(()),
            Step::Done => {
                process.writing = None;
                process.engine.shard.checkpoint_done()?;
                self.world.point("checkpoint done")?;
                return Ok(None);
            }
        };
        if self.world.is_crashed() {
            return Ok(Some(End::Crashed));
        }
        if writing.went(result).is_err() {
            return Ok(Some(End::Failed));
        }
        self.world.point("checkpoint's step")?;
        Ok(None)
    }

    /// Somebody decides of a dead letter.
    fn decide(&mut self, process: &Process) {
        if !self.random.one_in(3) || self.undecided.len() + self.deciding.len() > 2 || self.outbox.is_empty() {
            return;
        }
        let stored = self.store.of.get(&PARTITION).map_or(&[][..], |stored| &stored.side[DEAD]);
        if stored.is_empty() {
            return;
        }
        let row = self.random.pick(stored);
        if process.engine.shard.room.is_decided(row.position) && !self.random.one_in(4) {
            return;
        }
        let verdict = if self.random.one_in(2) { Verdict::Replay } else { Verdict::Discard("of no use".to_owned()) };
        let decision = Decision { letter: row.position, by: "Sari".to_owned(), verdict };
        let (_, reply) = oneshot::channel();
        self.world.note("a decision");
        self.undecided.push(WaitingDecision { decision, source: row.source.clone(), raw: row.raw.clone(), reply });
    }

    /// What is old of the log goes.
    fn prune(&mut self, process: &Process) -> anyhow::Result<Option<End>> {
        if self.prunes && self.random.one_in(6) {
            let needed_from = self.store.of[&PARTITION].needed_from();
            let older_than = process.engine.shard.room.engine.now().plus_ms(-10 * 60_000);
            let pruned = log::prune(&self.dir.join("log"), needed_from, older_than);
            if self.world.is_crashed() {
                return Ok(Some(End::Crashed));
            }
            if pruned? > 0 {
                self.world.note("segments pruned");
            }
        }
        Ok(None)
    }

    /// The process is asked to end: the rest is processed, and a last checkpoint written.
    fn stop(&mut self, mut process: Process) -> anyhow::Result<End> {
        self.world.point("asked to stop")?;
        while !process.groups.is_empty() || process.writing.is_some() {
            self.take(&mut process)?;
            if let Some(end) = self.write(&mut process)? {
                return Ok(end);
            }
        }
        self.take_answers(End::Stopped)?;
        if self.crashes_left > 0 && self.random.one_in(6) {
            self.world.note("a last checkpoint given up");
            return Ok(End::Stopped);
        }
        if process.engine.shard.has_news() {
            process.writing = Some(Writing::new(process.engine.shard.cut(Freeze::Full)));
            self.world.point("last checkpoint cut")?;
            while process.writing.is_some() {
                if let Some(end) = self.write(&mut process)? {
                    return Ok(end);
                }
            }
        }
        ensure!(
            process.engine.shard.uncommitted.load(Ordering::Relaxed) == 0,
            "records are said to be uncommitted after all was"
        );
        Ok(End::Stopped)
    }

    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }
}
