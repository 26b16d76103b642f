//! One partition of the input at work: a room with all that is needed to process its part of the log and to write it down. The embedded log
//! has one, a process on Kafka one for each partition that it owns.

use super::room::{InFlight, Room};
use super::wall_clock;
use crate::admission::{Batch, Format, IdentityKey};
use crate::clock::Clocks;
use crate::identities::{DiskIdentities, Freeze, FrozenTable, Sizes};
use crate::letters::{Again, Decided, Decision, Outcome, Verdict};
use crate::log::Place;
use crate::side::{DEAD, SideRow};
use crate::store::{Checkpoint, HINT, RawRecords, Snapshot};
use crate::travel::{self, HandedOn, NoFix};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use domain::engine::{ClosedWindow, DeviceState, Disposition, Engine, EngineConfig, ReadingsHeld, UnevenHour};
use domain::master::Master;
use domain::planted;
use domain::rollup::LateReading;
use domain::time::{DAY_MS, EventTime, ProcessingTime};
use hashbrown::hash_map::Entry;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When a checkpoint is due: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    /// After so many records,
    pub records: u64,
    /// or so many bytes of log,
    pub bytes: u64,
    /// or so long with any change.
    pub every: Duration,
    /// When the memory of identities is written down.
    pub identities: Sizes,
}

/// What came in since the last run of identities.
#[derive(Default)]
struct SinceRun {
    records: u64,
    bytes: u64,
    /// When the first of it did.
    since: Option<ProcessingTime>,
}

/// A room with what processes its part of the log.
pub struct Shard {
    /// What questions see.
    pub room: Room,
    partition: u32,
    /// Positions of two records that follow each other differ by so much.
    step: u64,
    key: IdentityKey,
    config: EngineConfig,
    identities: DiskIdentities,
    /// Readings and fixes accepted since the last checkpoint, where the store keeps them.
    raw: Option<RawRecords>,
    /// Fixes that other partitions may need, where there are some: of blocks from this one on, since the last checkpoint.
    hand_on: Option<(u64, Vec<HandedOn>)>,
    /// The first block that the engine has not seen.
    pub next_block: u64,
    checkpoint_block: u64,
    records_since: u64,
    /// The fixes that wait to be handed on, in records.
    fixes_since: u64,
    /// Processed and in no committed checkpoint yet, and the fixes that wait to be handed on.
    pub uncommitted: Arc<AtomicU64>,
    /// Bytes of their blocks.
    pub uncommitted_bytes: Arc<AtomicU64>,
    bytes_since: u64,
    /// The part of `uncommitted_bytes` that the checkpoint on its way covers.
    bytes_in_flight: u64,
    /// When the last one was cut, by the clock that nobody sets.
    last_checkpoint: Duration,
    due: Due,
    dispositions: Vec<Disposition>,
    since_run: SinceRun,
    /// What changed since [`Shard::take_news`] was last called, where somebody calls it.
    news: Option<News>,
}

/// What changed in a shard.
#[derive(Debug, Default)]
pub struct News {
    /// Devices; some may be named twice.
    pub devices: Vec<u32>,
    /// Windows that left memory, and the block by which they had.
    pub closed: Vec<(ClosedWindow, u64)>,
    /// Readings that came too late, by position, in order of it.
    pub late: Vec<(u64, LateReading)>,
    /// Dead letters that were decided, and the block that did.
    pub decided: Vec<(u64, u64)>,
}

impl Shard {
    /// State as of the checkpoint: what follows has still to be read from the log, from [`needed_from`] on.
    pub fn restore(
        snapshot: Snapshot,
        (partition, step): (u32, u64),
        identities_dir: &Path,
        master: &Arc<Master>,
        config: &EngineConfig,
        due: Due,
    ) -> anyhow::Result<Self> {
        let identities =
            DiskIdentities::open(identities_dir, &snapshot.runs, due.identities).context("open the memory of identities")?;
        let places: Vec<(u32, String)> = snapshot.devices.iter().map(|(index, state)| (*index, state.id.to_string())).collect();
        let states = snapshot.devices.into_iter().map(|(_, state)| state);
        let mut engine = Engine::restore(config.clone(), master, snapshot.now, snapshot.totals, states, snapshot.hours);
        engine.restore_known_counts(&snapshot.stood);
        for (index, id) in places {
            // Stored windows name their device by index: under other master data they would be another device's.
            anyhow::ensure!(
                engine.device_by_id(&id) == Some(index),
                "device {id} had another place in the master data with which this data directory was written; start the program \
                 that wrote it"
            );
        }
        let mut room = Room::new(engine, snapshot.uptime_start, snapshot.decided);
        room.checkpoint_at = snapshot.committed_at;
        Ok(Self {
            room,
            partition,
            step,
            key: IdentityKey(snapshot.identity_key),
            config: config.clone(),
            identities,
            raw: snapshot.raw,
            hand_on: None,
            next_block: snapshot.next_block,
            checkpoint_block: snapshot.next_block,
            records_since: 0,
            fixes_since: 0,
            uncommitted: Arc::default(),
            uncommitted_bytes: Arc::default(),
            bytes_since: 0,
            bytes_in_flight: 0,
            last_checkpoint: Clocks::now().steady,
            due,
            dispositions: Vec::new(),
            since_run: SinceRun::default(),
            news: None,
        })
    }

    /// Refuses hours of the last day in which the country, or any other region, is not the sum of its parts, or in which windows, with the
    /// closed ones that `held` tells of, do not hold the readings that are counted: what is wrong there would be wrong in every figure that
    /// is shown from now on.
    pub fn check_hours(&self, held: Option<ReadingsHeld>) -> anyhow::Result<()> {
        let (engine, now) = (&self.room.engine, self.room.engine.now().ms());
        let amiss = engine.rollup().first_amiss((now - DAY_MS, now + DAY_MS)).filter(|_| !planted("hours-are-believed"));
        if let Some((hour, region)) = amiss {
            let (hour, region) = (EventTime::from_ms(hour), &engine.master().region(region).code);
            bail!("C3: the hour from {hour} of region {region} does not come to its parts; {HINT}");
        }
        let uneven = held.and_then(|held| engine.first_uneven_hour(held)).filter(|_| !planted("windows-are-believed"));
        if let Some(UnevenHour { hour, size_ms, counted, held }) = uneven {
            let (hour, seconds) = (EventTime::from_ms(hour), size_ms / 1_000);
            bail!(
                "C2: {counted} readings are counted in the hour from {hour}, and its windows of {seconds} s hold {held}; {HINT}"
            );
        }
        Ok(())
    }

    /// Secret of the identities.
    pub const fn key(&self) -> IdentityKey {
        self.key
    }

    /// The memory of identities.
    pub const fn identities(&mut self) -> &mut DiskIdentities {
        &mut self.identities
    }

    /// Takes note of what changes from now on, for [`Shard::take_news`].
    pub fn watch(&mut self) {
        self.news = Some(News::default());
    }

    /// Other partitions get the fixes that they may need, with every checkpoint, of the blocks from `block` on.
    pub fn hand_on_from(&mut self, block: u64) {
        self.hand_on = Some((block, Vec::new()));
    }

    /// What changed since the last call.
    pub fn take_news(&mut self) -> News {
        self.flush();
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How many closed windows and late readings [`Shard::take_news`] would tell of.
    pub fn news_to_tell(&self) -> usize {
        self.news.as_ref().map_or(0, |news| news.closed.len() + news.late.len())
    }

    fn flush(&mut self) {
        let dirty = self.room.engine.flush();
        if let Some(news) = &mut self.news {
            news.devices.extend(dirty);
        }
    }

    /// Whether a block lies before what the state covers: only its identities have to be remembered.
    pub fn covers(&self, number: u64) -> bool {
        number < self.next_block && !planted("replayed-over-the-checkpoint")
    }

    /// Remembers the identities of a block that the state covers already.
    pub fn remember(&mut self, batch: &Batch, received_at: ProcessingTime) {
        if !planted("identities-in-memory-only") {
            let records = batch.records().map(|record| self.room.engine.as_judged(record));
            Engine::remember(&self.config, records, received_at, &mut self.identities);
        }
        self.count_for_run(batch);
    }

    fn count_for_run(&mut self, batch: &Batch) {
        self.since_run.records += batch.len() as u64;
        self.since_run.bytes += batch.raw().len() as u64;
    }

    /// Something came in, be it time alone: who has no run that covers it reads it again, for as long as it can be read.
    pub fn note_for_run(&mut self, received_at: ProcessingTime) {
        self.since_run.since.get_or_insert(received_at);
    }

    /// Since when something came in that no run covers, by the log's time.
    pub const fn run_waits_since(&self) -> Option<ProcessingTime> {
        self.since_run.since
    }

    /// Whether identities of at least `records` records, or some that are older than `age_ms` by the log's time, lie in no run yet.
    pub fn run_is_due(&self, records: u64, age_ms: i64) -> bool {
        let SinceRun { records: count, since, .. } = self.since_run;
        count >= records || since.is_some_and(|since| self.room.engine.now().ms() - since.ms() >= age_ms)
    }

    /// Runs the engine over one durable block.
    pub fn take(&mut self, batch: &Batch, place: Place) -> &[Disposition] {
        self.dispositions.clear();
        self.room.engine.step(batch.records(), place.received_at, &mut self.identities, &mut self.dispositions);
        self.taken(batch, place)
    }

    /// Counts for how long the records of `batch` were on their way, which was taken in just now.
    pub fn count_delays(&mut self, batch: &Batch) {
        self.room.delays.count(batch, &self.dispositions, wall_clock());
    }

    /// Takes note of a block whose records the engine has judged.
    fn taken(&mut self, batch: &Batch, place: Place) -> &[Disposition] {
        let mut late = self.room.engine.take_late().into_iter();
        for (index, disposition) in self.dispositions.iter().enumerate() {
            let position = place.first_record + index as u64 * self.step;
            if let Disposition::Rejected(reason) = disposition {
                self.room.engine.note_letter(*reason, position);
            }
            if let (Disposition::Late { .. }, Some(news)) = (disposition, &mut self.news) {
                news.late.extend(late.next().map(|late| (position, late)));
            }
            if let Some((kind, row)) = SideRow::of(batch, index, *disposition, position, place.received_at) {
                self.room.side[kind].push(&row);
            }
        }
        if let Some(raw) = &mut self.raw {
            let positions = (place.first_record..).step_by(self.step as usize);
            raw.add(self.partition, batch, &self.dispositions, positions, place.received_at);
        }
        if let Some((from, fixes)) = &mut self.hand_on
            && place.number >= *from
            && !self.room.engine.pairings().is_empty()
        {
            let before = fixes.len();
            fixes.extend(HandedOn::of(&self.room.engine, batch, &self.dispositions));
            // One tracker may carry many devices.
            let weight = if planted("fixes-to-hand-on-are-not-counted") { 0 } else { HandedOn::weight(&fixes[before..]) };
            self.uncommitted.fetch_add(weight, Ordering::Relaxed);
            self.fixes_since += weight;
        }
        self.count_for_run(batch);
        self.next_block = place.number + 1;
        self.count_uncommitted(batch);
        self.room.processed += batch.len() as u64;
        &self.dispositions
    }

    /// What no checkpoint covers yet is bounded, and makes one due.
    fn count_uncommitted(&mut self, batch: &Batch) {
        let (records, bytes) = (batch.len() as u64, batch.raw().len() as u64);
        self.uncommitted.fetch_add(records, Ordering::Relaxed);
        self.uncommitted_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.records_since += records;
        self.bytes_since += bytes;
    }

    /// Decides of a dead letter as the block at `place` says; the first decision of a letter counts, others have no effect. Where others
    /// may write blocks too, `letters` are those that the store has of the ones that blocks name: an error where there is none.
    pub fn decide(&mut self, body: &Bytes, source: &str, place: Place, letters: Option<&BTreeSet<u64>>) -> anyhow::Result<()> {
        let (decision, raw) = Decision::decode(body).with_context(|| format!("read block {} of the log", place.number))?;
        if let Some(letters) = letters {
            self.check_letter(decision.letter, letters)?;
        }
        if planted("letter-is-replayed-twice") {
            self.room.decided.remove(&decision.letter);
        }
        if let Entry::Vacant(entry) = self.room.decided.entry(decision.letter) {
            entry.insert(place.number);
            if let Some(news) = &mut self.news {
                news.decided.push((decision.letter, place.number));
            }
            let outcome = match decision.verdict {
                Verdict::Replay => {
                    let batch = Batch::parse(raw, Format::Record, source, &self.key)?;
                    let own = batch.records().next().and_then(|record| record.identity);
                    let mut identities = Again { known: &mut self.identities, own };
                    self.dispositions.clear();
                    self.room.engine.step(batch.records(), place.received_at, &mut identities, &mut self.dispositions);
                    let end = self.taken(&batch, place)[0].into();
                    Outcome::Replayed { position: place.first_record, end }
                }
                Verdict::Discard(reason) => Outcome::Discarded { reason },
            };
            let (letter, block, at) = (decision.letter, place.number, place.received_at);
            self.room.decisions.push(Decided { letter, block, at, by: decision.by, outcome });
        } else {
            self.room.processed += decision.records();
        }
        self.pass_time(place);
        Ok(())
    }

    /// Refuses to decide of what is no dead letter of this partition.
    fn check_letter(&self, letter: u64, stored: &BTreeSet<u64>) -> anyhow::Result<()> {
        let is_letter = letter % self.step == u64::from(self.partition)
            && (self.room.is_decided(letter) || stored.contains(&letter) || self.room.side_at(DEAD, letter).is_some());
        ensure!(is_letter || planted("anything-is-a-letter"), "position {letter} holds no dead letter of this partition");
        Ok(())
    }

    /// Remembers the identity of a letter that was taken in again by the block `number`, which the state covers already.
    pub fn remember_replay(&mut self, body: Bytes, source: &str, number: u64, received_at: ProcessingTime) -> anyhow::Result<()> {
        let (decision, raw) = Decision::decode(&body).with_context(|| format!("read block {number} of the log"))?;
        if decision.verdict == Verdict::Replay && self.room.decided.get(&decision.letter) == Some(&number) {
            let batch = Batch::parse(raw, Format::Record, source, &self.key)?;
            let own = batch.records().next().and_then(|record| record.identity);
            let mut identities = Again { known: &mut self.identities, own };
            let records = batch.records().map(|record| self.room.engine.as_judged(record));
            Engine::remember(&self.config, records, received_at, &mut identities);
        }
        Ok(())
    }

    /// The pairings that the configuration wants, as a note for the log, where others are in force.
    pub fn wants_pairings(&self) -> Option<Bytes> {
        let wanted = &self.config.pairings;
        let are_noted = self.room.engine.pairings() == wanted.as_slice() || planted("pairings-are-not-noted");
        (!are_noted).then(|| travel::encode(wanted))
    }

    /// From here on the pairings of the block at `place` are in force.
    pub fn pair(&mut self, body: &[u8], place: Place) -> anyhow::Result<()> {
        let pairings = travel::decode(body).with_context(|| format!("read block {} of the log", place.number))?;
        self.room.engine.pair(pairings, place.received_at);
        self.next_block = place.number + 1;
        Ok(())
    }

    /// Takes in a fix that another partition has handed on.
    pub fn take_handed_on(&mut self, body: &Bytes, source: &str, place: Place) -> Result<(), NoFix> {
        let (device, batch) = HandedOn::decode(body, source, &self.key)?;
        for record in batch.records() {
            self.room.engine.take_handed_on(&device, &record, place.received_at, &mut self.identities);
        }
        self.count_uncommitted(&batch);
        self.count_for_run(&batch);
        self.next_block = place.number + 1;
        Ok(())
    }

    /// Remembers the identity of a fix that another partition has handed on, in a block that the state covers already.
    pub fn remember_handed_on(&mut self, body: &Bytes, source: &str, received_at: ProcessingTime) -> Result<(), NoFix> {
        let (device, batch) = HandedOn::decode(body, source, &self.key)?;
        for record in batch.records() {
            Engine::remember_handed_on(&self.config, &device, &record, received_at, &mut self.identities);
        }
        self.count_for_run(&batch);
        Ok(())
    }

    /// A block that tells nothing but time.
    pub fn pass_time(&mut self, place: Place) {
        self.room.engine.pass_time(place.received_at);
        self.next_block = place.number + 1;
    }

    /// After some blocks: what follows from them is at hand for questions.
    pub fn settle(&mut self) {
        if self.room.engine.closed_len() > 0 {
            let mut closed = self.room.engine.take_closed();
            if let Some(news) = &mut self.news {
                news.closed.extend(closed.iter().map(|window| (*window, self.next_block)));
            }
            self.room.closed.append(&mut closed);
        }
        self.room.identities = self.identities.len();
    }

    /// After all of the log was read again.
    pub fn restored(&mut self, begun: Instant) {
        self.settle();
        self.flush();
        tracing::info!(
            partition = self.partition,
            replayed = self.records_since,
            devices = self.room.engine.device_count(),
            took_ms = begun.elapsed().as_millis() as u64,
            "State restored."
        );
    }

    /// Whether there is anything that the last checkpoint does not cover.
    pub fn has_news(&self) -> bool {
        self.next_block > self.checkpoint_block
    }

    /// Whether a checkpoint is on its way.
    pub fn is_writing(&self) -> bool {
        self.room.in_flight.is_some()
    }

    /// Whether a checkpoint should be cut now.
    pub fn is_checkpoint_due(&self) -> bool {
        !self.is_writing()
            && self.has_news()
            && (self.records_since + self.fixes_since >= self.due.records
                || self.bytes_since >= self.due.bytes
                || Clocks::now().steady.saturating_sub(self.last_checkpoint) >= self.due.every)
    }

    /// Cuts a checkpoint: all that changed since the last, as of the last block.
    pub fn cut(&mut self, freeze: Freeze) -> (Checkpoint, Option<FrozenTable>) {
        self.flush();
        let room = &mut self.room;
        let windows = Arc::new(std::mem::take(&mut room.closed));
        let side = Arc::new(std::mem::take(&mut room.side));
        let decisions = Arc::new(std::mem::take(&mut room.decisions));
        let freeze = if self.since_run.bytes >= self.due.identities.run_bytes { Freeze::All } else { freeze };
        let now = room.engine.now();
        let frozen = self.identities.freeze(self.next_block - 1, now, freeze);
        if frozen.is_some() {
            self.since_run = SinceRun::default();
        }
        // What came in before this is too old by now, even where its clock was ahead.
        let remembered_from = now.plus_ms(-self.config.retention_ms - self.config.future_ms);
        let forgotten_runs = self.identities.forget(remembered_from);
        if planted("run-is-removed-before-the-commit") {
            self.identities.remove_forgotten();
        }
        let encode = "the state has no type that postcard cannot write";
        // In one buffer, which has its size soon: each state in one of its own grew a dozen times.
        let mut buffer = Vec::new();
        let mut written = |state: &DeviceState| {
            buffer.clear();
            buffer = postcard::to_extend(state, std::mem::take(&mut buffer)).expect(encode);
            buffer.clone()
        };
        let checkpoint = Checkpoint {
            partition: self.partition,
            raw: self.raw.as_mut().map(std::mem::take),
            from_block: self.checkpoint_block,
            next_block: self.next_block,
            now_ms: room.engine.now().ms(),
            committed_at_ms: wall_clock().ms(),
            totals: postcard::to_stdvec(room.engine.totals()).expect(encode),
            hours: room.engine.take_changed_hours(),
            devices: room.engine.take_changed().map(|(i, state)| (i, written(state))).collect(),
            windows: Arc::clone(&windows),
            side: Arc::clone(&side),
            decisions: Arc::clone(&decisions),
            run: frozen.as_ref().map(|f| (f.name.clone(), f.len() as u64)),
            forgotten_runs,
            derived: room.engine.take_derived(),
            known_hours: room.engine.take_known_hours(),
            known_counts: room.engine.take_known_counts(),
            days: room.engine.take_day_books(),
            handed_on: self.hand_on.as_mut().map(|(_, fixes)| std::mem::take(fixes)).unwrap_or_default(),
        };
        room.in_flight = Some(InFlight {
            begun: Instant::now(),
            records: self.records_since + self.fixes_since,
            windows,
            side,
            decisions,
            frozen: frozen.clone(),
        });
        self.checkpoint_block = self.next_block;
        self.bytes_in_flight = self.bytes_since;
        (self.records_since, self.fixes_since, self.bytes_since) = (0, 0, 0);
        self.last_checkpoint = Clocks::now().steady;
        (checkpoint, frozen)
    }

    /// The checkpoint that was cut is committed.
    pub fn checkpoint_done(&mut self) -> anyhow::Result<()> {
        if let Some(flight) = self.room.in_flight.take() {
            self.uncommitted.fetch_sub(flight.records, Ordering::Relaxed);
            self.uncommitted_bytes.fetch_sub(self.bytes_in_flight, Ordering::Relaxed);
            if let Some(frozen) = flight.frozen {
                self.identities.thaw(&frozen).context("open a run of identities")?;
            }
            self.identities.remove_forgotten();
        }
        self.room.checkpoint_at = Some(wall_clock());
        Ok(())
    }
}

/// The first block that a restart with `snapshot` has to read: what the newest run of identities does not cover.
pub fn needed_from(snapshot: &Snapshot) -> u64 {
    snapshot.runs.last().map_or(0, |run| run.last_block) + 1
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
