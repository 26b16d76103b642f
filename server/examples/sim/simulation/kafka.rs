//! Several machines on Kafka: a broker with partitions, a group that moves them between processes, processes that crash, pause and wake
//! up as zombies, and one store for all.

mod broker;
mod check;
mod trackers;

use super::disk::Disk;
use super::random::Random;
use super::setup;
use super::store::{KEY, Store};
use super::workload::{self, Request};
use super::world::World;
use anyhow::{Context, ensure};
use broker::{Log, control, ours};
use domain::engine::EngineConfig;
use domain::master::Master;
use server::clock::Clocks;
use server::identities::{self, Sizes};
use server::kafka::{Inbox, Owned, TIMER, is_other_log};
use server::pipeline::{Due, Step, Writing};
use server::store::StoreError;
use server::travel;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use trackers::Pairs;

/// A process that was not heard of for so long has lost its partitions.
const SESSION_MS: i64 = 10_000;
/// Worth a run when a partition is given back, in records.
const WORTH: u64 = 15;

/// A process's partition.
struct Work {
    owned: Owned,
    epoch: i64,
    /// The next offset to fetch.
    offset: i64,
    writing: Option<Writing>,
    /// It was asked to give it back.
    drains: bool,
    /// There is a gap, or another log: nothing is fetched any more.
    stands_still: bool,
    /// Its topic was made anew under it: what it fetches from is no more.
    is_gone: bool,
    timer_sent: Option<Duration>,
    pairings_sent: Option<Duration>,
}

/// A partition that was given and not begun with: its offset is known.
enum Place {
    Given(i64),
    Working(Box<Work>),
}

struct Process {
    world: World,
    disk: Disk,
    places: BTreeMap<u32, Place>,
    /// Nothing of it runs before: it crashed, or is paused.
    asleep_until: i64,
    /// It is a member of the group.
    is_member: bool,
    /// It has been told which partitions it has lost.
    has_heard: bool,
}

impl Process {
    /// The topic of `partition` is no more: what was fetched of it is put away.
    fn ask_back(&mut self, partition: u32) {
        if let Some(Place::Working(work)) = self.places.get_mut(&partition) {
            (work.drains, work.is_gone) = (true, true);
        }
    }

    fn stands_still(&self, partition: u32) -> bool {
        matches!(self.places.get(&partition), Some(Place::Working(work)) if work.stands_still)
    }
}

/// The simulation of one seed.
pub struct Cluster {
    pub world: World,
    random: Random,
    pub logs: Vec<Log>,
    store: Store,
    processes: Vec<Process>,
    /// Who owns which partition, as the group has it.
    owners: Vec<Option<usize>>,
    outbox: Vec<Request>,
    config: EngineConfig,
    master: Arc<Master>,
    due: Due,
    crashes_left: u64,
    is_calm: bool,
    /// Whether somebody decides of dead letters.
    decides: bool,
    /// Whether messages are deleted before they are needed, and topics made anew.
    deletes: bool,
    pairs: Pairs,
    /// Another installation that reads the topic, by chance.
    others: Option<Random>,
    /// Devices and trackers of all pairings that there were.
    paired: BTreeSet<String>,
    /// Partitions that a process began with which had lost them already: their owners are fenced by it, and begin again.
    begun_late: BTreeSet<u32>,
}

fn identities_dir(partition: u32) -> PathBuf {
    identities::folder(&PathBuf::from(format!("/data/partition-events-{partition}")), &KEY)
}

impl Cluster {
    pub fn new(mut random: Random, master: &Arc<Master>) -> Self {
        let world = World::new(random.fork());
        let fails_one_in = *random.pick(&[0, 0, 300, 100, 40]);
        let partitions = 1 + random.index(4);
        let processes = 1 + random.index(4);
        let mut config = setup::chosen(&mut random);
        setup::narrow(&mut config, &random);
        // A way of its own: courses without are as they were.
        let mut pairs = Random(!random.0);
        let mut others = Random(random.0.rotate_left(17));
        let pairs = match pairs.below(4) {
            0 if !config.pairings.is_empty() => Pairs::Change(pairs),
            1 => Pairs::NotedByChance,
            _ => Pairs::NotedFirst,
        };
        let records = workload::records(&mut random, 50, !config.pairings.is_empty());
        let mut outbox = workload::requests(&mut random, &records);
        outbox.sort_by_key(|request| std::cmp::Reverse(request.due_ms));
        let identities = Sizes {
            freeze_at: 5 + random.index(40),
            generation_keys: 60 + random.index(150),
            run_bytes: 2_000 + random.below(30_000),
        };
        let every = Duration::from_secs(5 + random.below(60));
        let due = Due { records: 10 + random.below(80), bytes: 1_000 + random.below(20_000), every, identities };
        let processes = (0..processes)
            .map(|_| {
                let world = World::new(random.fork());
                world.get().fails_one_in = fails_one_in;
                let disk = Disk::new(&world);
                Process { world, disk, places: BTreeMap::new(), asleep_until: 0, is_member: true, has_heard: true }
            })
            .collect();
        let mut cluster = Self {
            logs: vec![Log::default(); partitions],
            store: Store::default(),
            owners: vec![None; partitions],
            outbox,
            config,
            master: Arc::clone(master),
            due,
            crashes_left: 8 + random.below(12),
            is_calm: false,
            decides: random.one_in(2),
            deletes: random.one_in(2),
            pairs,
            others: others.one_in(3).then_some(others),
            paired: BTreeSet::new(),
            begun_late: BTreeSet::new(),
            processes,
            random,
            world,
        };
        (0..cluster.processes.len()).for_each(|at| cluster.light(at));
        cluster.note_paired();
        if matches!(cluster.pairs, Pairs::NotedFirst) && !cluster.config.pairings.is_empty() {
            let body = travel::encode(&cluster.config.pairings);
            for partition in 0..partitions {
                cluster.note_pairings(partition, &body);
            }
        }
        cluster
    }

    /// All that happened to all of them.
    pub fn worlds(&self) -> impl Iterator<Item = &World> {
        std::iter::once(&self.world).chain(self.processes.iter().map(|process| &process.world))
    }

    /// A process begins, to crash at some point.
    fn light(&mut self, at: usize) {
        let fuse = (self.crashes_left > 0).then(|| {
            let far = if self.random.one_in(3) { 15 } else { 200 };
            self.random.below(far)
        });
        self.crashes_left = self.crashes_left.saturating_sub(1);
        self.processes[at].world.begin_life(fuse);
    }

    fn now(&self) -> i64 {
        self.world.get().now_ms
    }

    /// Until everything that was sent is confirmed and processed.
    pub fn run(&mut self) -> anyhow::Result<()> {
        for turn in 0.. {
            ensure!(turn < 60_000, "60 000 turns, and still not everything was taken in");
            let ms = self.random.between(0, 1_500);
            self.world.pass(ms);
            if self.outbox.is_empty() && !self.is_calm {
                self.calm();
            }
            match self.random.below(12) {
                0..=1 => self.send()?,
                2 => self.rebalance(),
                3 if !self.is_calm => self.pause(),
                4 if self.decides && !self.is_calm => self.decide(),
                5 if self.random.one_in(2) => self.accept(),
                6 if self.deletes && !self.is_calm && self.random.one_in(2) => {
                    self.age();
                    self.make_anew();
                }
                _ => {
                    let at = self.random.index(self.processes.len());
                    self.turn(at)?;
                }
            }
            self.pair();
            self.meddle();
            if self.is_calm && self.is_done() {
                break;
            }
        }
        self.check()
    }

    /// Nothing goes wrong from now on, and everybody is awake.
    fn calm(&mut self) {
        self.is_calm = true;
        self.crashes_left = 0;
        let now = self.now();
        for process in &mut self.processes {
            process.world.get().fails_one_in = 0;
            process.asleep_until = process.asleep_until.min(now);
            if !process.world.is_crashed() {
                process.world.begin_life(None);
            }
        }
    }

    fn is_done(&self) -> bool {
        self.logs.iter().enumerate().all(|(partition, log)| {
            let stored = self.store.of.get(&(partition as u32));
            // What is in a topic that was made anew nobody processes.
            log.before.is_some() || log.end().is_none_or(|end| stored.is_some_and(|stored| stored.next == end))
        })
    }

    /// A process stands still for a while; if it is long, it is a zombie when it goes on.
    fn pause(&mut self) {
        if self.random.one_in(25) {
            let (at, ms) = (self.random.index(self.processes.len()), self.random.between(500, 40_000));
            self.processes[at].asleep_until = self.now() + ms;
            self.world.note("a process paused");
        }
    }

    /// The group looks who is there, and moves partitions.
    fn rebalance(&mut self) {
        let now = self.now();
        let mut has_changed = false;
        for (at, process) in self.processes.iter_mut().enumerate() {
            let is_gone = process.world.is_crashed() || now + SESSION_MS < process.asleep_until;
            if is_gone && process.is_member {
                process.is_member = false;
                process.has_heard = false;
                has_changed = true;
                for owner in &mut self.owners {
                    if *owner == Some(at) {
                        *owner = None;
                    }
                }
            } else if !is_gone && !process.is_member && now >= process.asleep_until && process.has_heard {
                (process.is_member, has_changed) = (true, true);
            }
        }
        let members: Vec<usize> = (0..self.processes.len()).filter(|at| self.processes[*at].is_member).collect();
        if members.is_empty() {
            return;
        }
        let is_whim = !self.is_calm && self.random.one_in(12);
        if !has_changed && !is_whim && self.owners.iter().all(Option::is_some) {
            return;
        }
        self.world.note("a rebalance");
        let turn = self.random.index(members.len());
        for partition in 0..self.logs.len() {
            let target = members[(partition + turn) % members.len()];
            match self.owners[partition] {
                Some(owner) if owner == target => {}
                Some(owner) => {
                    // Given back first: whoever is to have it gets it in the next round.
                    match self.processes[owner].places.get_mut(&(partition as u32)) {
                        Some(Place::Working(work)) if !work.drains => {
                            work.drains = true;
                            self.world.note("a partition asked back");
                        }
                        Some(Place::Working(_)) => {}
                        Some(Place::Given(_)) | None => {
                            self.processes[owner].places.remove(&(partition as u32));
                            self.owners[partition] = None;
                        }
                    }
                }
                None => {
                    let begins_at = self.begins_at(partition as u32);
                    // Whatever it had of it before is void.
                    self.processes[target].places.insert(partition as u32, Place::Given(begins_at));
                    self.owners[partition] = Some(target);
                    self.world.note("a partition given");
                }
            }
        }
    }

    /// The offset at which the store says that a partition begins.
    fn begins_at(&self, partition: u32) -> i64 {
        self.store.of.get(&partition).map_or(0, |stored| stored.needed_from().max(1) as i64 - 1)
    }

    /// A process does something.
    fn turn(&mut self, at: usize) -> anyhow::Result<()> {
        let now = self.now();
        if now < self.processes[at].asleep_until {
            return Ok(());
        }
        self.processes[at].world.get().now_ms = now;
        if self.processes[at].world.is_crashed() {
            self.revive(at);
            return Ok(());
        }
        if !self.processes[at].is_member && !self.processes[at].has_heard && self.random.one_in(6) {
            // What it has lost it drops; until then it was a zombie.
            self.world.note("a zombie hears of it");
            self.processes[at].places.clear();
            self.processes[at].has_heard = true;
            return Ok(());
        }
        let partitions: Vec<u32> = self.processes[at].places.keys().copied().collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let partition = *self.random.pick(&partitions);
        self.processes[at].disk.mount();
        let failures = self.failures(at);
        let is_zombie = self.owners[partition as usize] != Some(at);
        if is_zombie && matches!(self.processes[at].places.get(&partition), Some(Place::Given(_))) {
            self.begun_late.insert(partition);
            self.world.note("a zombie begins");
        }
        let done = self.work(at, partition);
        if is_zombie {
            self.world.note("a zombie works");
        }
        let process = &mut self.processes[at];
        match done {
            _ if process.world.is_crashed() => {
                self.world.note("a process crashed");
                process.asleep_until = now + self.random.between(100, 30_000);
                if self.random.one_in(2) {
                    self.world.note("power lost");
                    process.disk.lose_power();
                }
                process.places.clear();
                Ok(())
            }
            Ok(true) => {
                if self.owners[partition as usize] == Some(at) {
                    self.owners[partition as usize] = None;
                }
                process.places.remove(&partition);
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(error) => {
                let is_fenced = matches!(error.downcast_ref(), Some(StoreError::Fenced));
                // Without a fault of its own a process ends only because somebody else has taken over.
                ensure!(is_fenced || self.failures(at) > failures, "without any fault: {error:#}");
                let is_expected = is_zombie || self.begun_late.contains(&partition);
                ensure!(!is_fenced || is_expected, "the owner of partition {partition} was fenced");
                self.world.note(if is_fenced { "a process fenced" } else { "a process ended itself" });
                let process = &mut self.processes[at];
                process.places.clear();
                process.world.get().is_crashed = true;
                process.asleep_until = now + 1_000;
                Ok(())
            }
        }
    }

    fn failures(&self, at: usize) -> u64 {
        let state = self.processes[at].world.get();
        state.counts.iter().filter(|(name, _)| name.starts_with("failure")).map(|(_, count)| count).sum()
    }

    /// A process that had ended begins again.
    fn revive(&mut self, at: usize) {
        let process = &mut self.processes[at];
        process.places.clear();
        // The group learns of it sooner or later: for now it is another member.
        process.is_member = false;
        process.has_heard = true;
        for owner in &mut self.owners {
            if *owner == Some(at) {
                *owner = None;
            }
        }
        self.light(at);
    }

    /// A step for a partition; whether it was given back.
    fn work(&mut self, at: usize, partition: u32) -> anyhow::Result<bool> {
        let Some(place) = self.processes[at].places.remove(&partition) else { return Ok(false) };
        let world = self.processes[at].world.clone();
        let mut work = match place {
            Place::Working(work) => work,
            Place::Given(offset) => {
                let begun = self.begin(partition, offset, &world)?;
                let place = begun.map_or(Place::Given(offset), |work| Place::Working(Box::new(work)));
                self.processes[at].places.insert(partition, place);
                return Ok(false);
            }
        };
        let is_back = if work.drains {
            self.drain(&mut work, &world)?
        } else {
            match self.random.below(8) {
                _ if work.stands_still && self.is_gap_accepted(&work) => {
                    self.world.note("a partition goes on behind a gap");
                    let begins_at = self.begins_at(partition);
                    self.processes[at].places.insert(partition, Place::Given(begins_at));
                    return Ok(false);
                }
                0..=3 if !work.stands_still => {
                    if !self.fetch(&mut work, partition) {
                        let begins_at = self.begins_at(partition);
                        self.processes[at].places.insert(partition, Place::Given(begins_at));
                        return Ok(false);
                    }
                }
                4 => {
                    self.send_timer(&mut work, partition);
                    self.send_pairings(&mut work, partition);
                    if work.writing.is_none() && work.owned.is_run_overdue(Clocks::now().wall) {
                        self.world.note("a run for its age alone");
                        work.writing = Some(work.owned.cut_with_run());
                    }
                }
                _ => self.write(&mut work, &world)?,
            }
            world.point("a worker's step")?;
            if work.writing.is_none() && work.owned.shard.is_checkpoint_due() {
                work.writing = Some(work.owned.cut(u64::MAX));
                world.point("checkpoint cut")?;
            }
            false
        };
        if !is_back {
            self.processes[at].places.insert(partition, Place::Working(work));
        }
        Ok(is_back)
    }

    /// Takes a partition over; `None` where the store did not answer.
    fn begin(&mut self, partition: u32, offset: i64, world: &World) -> anyhow::Result<Option<Work>> {
        world.get().phase = "starting";
        let Ok(snapshot) = self.store.load(partition, &self.config.windows, world)? else { return Ok(None) };
        let dir = identities_dir(partition);
        self.store.fetch_runs(partition, &dir, world).context("fetch runs")?;
        world.point("state loaded")?;
        let epoch = snapshot.epoch;
        let log = &self.logs[partition as usize];
        let stands_still = is_other_log(snapshot.next_block, log.first_after(snapshot.now), log.extent().1);
        if stands_still {
            self.world.note("a topic made anew told apart");
            ensure!(log.before.is_some(), "partition {partition} is taken for another than it was");
        }
        let mut owned = Owned::restore(snapshot, partition, &dir, &self.master, &self.config, self.due)?;
        owned.shard.watch();
        owned.shard.hand_on_from(0);
        world.point("state restored")?;
        world.get().phase = "running";
        let (writing, timer_sent, pairings_sent) = (None, None, None);
        let (drains, is_gone) = (false, false);
        Ok(Some(Work { owned, epoch, offset, writing, drains, stands_still, is_gone, timer_sent, pairings_sent }))
    }

    /// Whether the store wants a partition to begin behind the gap at which it stands still.
    fn is_gap_accepted(&self, work: &Work) -> bool {
        self.begins_at(work.owned.number()) as u64 + 1 > work.owned.expected()
    }

    /// Fetches some messages and processes them. `false` where what it asked for is gone and nobody needs it: to be begun anew.
    fn fetch(&mut self, work: &mut Work, partition: u32) -> bool {
        let most = 1 + self.random.index(12);
        let log = &self.logs[partition as usize];
        let Some(messages) = log.fetch(work.offset, most) else {
            work.stands_still = work.owned.gap(log.extent()).is_some();
            self.world.note(if work.stands_still { "a partition stands still" } else { "a partition begins anew" });
            return work.stands_still;
        };
        let Some(last) = messages.last() else { return true };
        if work.is_gone {
            return true;
        }
        let mut inbox = Inbox::new("events", &ours());
        for message in messages {
            message.put(&mut inbox);
        }
        work.offset = last.offset + 1;
        let letters = self.store.of.get(&partition).map(super::store::Stored::letters).unwrap_or_default();
        if work.owned.take(&inbox, &letters) {
            work.timer_sent = None;
        }
        let _ = work.owned.shard.take_news();
        true
    }

    fn send_timer(&mut self, work: &mut Work, partition: u32) {
        let Clocks { wall, steady } = Clocks::now();
        let is_due = work.owned.shard.room.engine.next_deadline().is_some_and(|deadline| deadline.plus_ms(1_000) <= wall);
        let is_behind = self.logs[partition as usize].messages.last().is_some_and(|last| last.offset >= work.offset);
        if is_due
            && !is_behind
            && !work.stands_still
            && !self.is_calm
            && work.timer_sent.is_none_or(|at| steady.saturating_sub(at).as_secs() >= 5)
        {
            work.timer_sent = Some(steady);
            self.store_message(partition as usize, Vec::new(), control(TIMER));
            self.world.note("a timer");
        }
    }

    /// The writer of checkpoints does a step.
    fn write(&mut self, work: &mut Work, world: &World) -> anyhow::Result<()> {
        let Some(writing) = &mut work.writing else { return Ok(()) };
        let partition = work.owned.number();
        if let Step::HandOn(fixes) = writing.step() {
            if !self.hand_on(fixes, world)? {
                return Ok(());
            }
            writing.went(Ok(()))?;
            world.point("fixes handed on")?;
            return Ok(());
        }
        let result = match writing.step() {
            Step::WriteRun(frozen) => frozen.write().map_err(StoreError::Run),
            Step::KeepRun(frozen) => self.store.keep_run(partition, work.epoch, frozen.path(), world),
            Step::Commit(checkpoint) => self.store.checkpoint(checkpoint, work.epoch, world),
            Step::HandOn(_) | Step::Wait(_) => Ok(()),
            Step::Done => {
                work.writing = None;
                work.owned.shard.checkpoint_done()?;
                world.point("checkpoint done")?;
                return Ok(());
            }
        };
        writing.went(result)?;
        world.point("checkpoint's step")?;
        Ok(())
    }

    /// Gives a partition back; whether that is done.
    fn drain(&mut self, work: &mut Work, world: &World) -> anyhow::Result<bool> {
        world.get().phase = "stopping";
        if !self.is_calm && self.random.one_in(60) {
            self.world.note("a drain took too long");
            return Ok(true);
        }
        if work.writing.is_some() {
            self.write(work, world)?;
        } else if work.owned.shard.has_news() || work.owned.is_run_due(WORTH) {
            work.writing = Some(work.owned.cut(WORTH));
            world.point("last checkpoint cut")?;
        } else {
            world.get().phase = "running";
            self.world.note("a partition given back");
            return Ok(true);
        }
        Ok(false)
    }
}
