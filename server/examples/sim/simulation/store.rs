//! The store in memory: what `server::store::Store` promises, one transaction a checkpoint, fenced by epoch and position, and commits of
//! which nobody learns whether they took effect.

use super::world::{Crashed, Fate, World};
use domain::engine::{ClosedDerived, ClosedWindow, ReadingsHeld, Tally, Totals};
use domain::rollup::{HourCell, KnownCounts, KnownHour, StoodThen};
use domain::time::{DAY_MS, ProcessingTime};
use domain::window::WindowConfig;
use server::files;
use server::identities::{self, NamedRun};
use server::letters::Decided;
use server::side::{DEAD, SideRow};
use server::store::{Checkpoint, Snapshot, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

/// Secret of the identities in every simulation.
pub const KEY: [u8; 16] = *b"a simulated key!";

/// All that is stored of a partition.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub epoch: i64,
    pub next: u64,
    pub now_ms: i64,
    /// When a checkpoint was committed last.
    pub committed_at_ms: i64,
    pub totals: Vec<u8>,
    pub devices: BTreeMap<u32, Vec<u8>>,
    pub hours: BTreeMap<i64, Vec<HourCell>>,
    pub runs: Vec<NamedRun>,
    pub windows: Vec<ClosedWindow>,
    pub side: [Vec<SideRow>; 2],
    pub decisions: Vec<Decided>,
    pub derived: Vec<ClosedDerived>,
    pub known: Vec<KnownHour>,
    /// Versions of how equipment stands.
    pub stood: Vec<KnownCounts>,
    /// Books of days: by start, source and topic.
    pub days: BTreeMap<(i64, String, u8), Tally>,
}

impl Stored {
    /// What a checkpoint does to it.
    pub fn apply(&mut self, checkpoint: &Checkpoint) {
        (self.next, self.now_ms, self.committed_at_ms) = (checkpoint.next_block, checkpoint.now_ms, checkpoint.committed_at_ms);
        self.totals.clone_from(&checkpoint.totals);
        self.devices.extend(checkpoint.devices.iter().cloned());
        self.hours.extend(checkpoint.hours.iter().map(|(start, hour)| (*start, hour.cells())));
        self.windows.extend(checkpoint.windows.iter().copied());
        for (stored, new) in self.side.iter_mut().zip(checkpoint.side.iter()) {
            stored.extend(new.iter());
        }
        self.decisions.extend(checkpoint.decisions.iter().cloned());
        self.derived.extend(checkpoint.derived.iter().copied());
        self.known.extend(checkpoint.known_hours.iter().cloned());
        self.stood.extend(checkpoint.known_counts.iter().cloned());
        self.days.extend(checkpoint.days.iter().map(|book| ((book.day_ms, book.source.clone(), book.topic), book.tally)));
        self.runs.retain(|run| !checkpoint.forgotten_runs.contains(&run.name));
        if let Some((name, identities)) = &checkpoint.run
            && !self.runs.iter().any(|run| run.name == *name)
        {
            let (name, identities) = (name.clone(), *identities);
            self.runs.push(NamedRun { name, last_block: checkpoint.next_block - 1, identities });
        }
    }

    /// Positions of its dead letters.
    pub fn letters(&self) -> BTreeSet<u64> {
        self.side[DEAD].iter().map(|row| row.position).collect()
    }

    /// How equipment stood as known at `at`.
    pub fn stood_at(&self, at: i64) -> StoodThen {
        let mut then = StoodThen::default();
        self.stood.iter().filter(|version| version.known_at <= at).for_each(|version| then.take(version));
        then
    }

    /// What a restart begins with.
    pub fn snapshot(&self) -> Snapshot {
        let decode = "it was encoded by a checkpoint";
        Snapshot {
            identity_key: KEY,
            uptime_start: ProcessingTime::from_ms(super::world::BEGIN_MS),
            next_block: self.next.max(1),
            now: ProcessingTime::from_ms(self.now_ms),
            committed_at: (self.committed_at_ms > 0).then_some(ProcessingTime::from_ms(self.committed_at_ms)),
            epoch: self.epoch,
            totals: if self.totals.is_empty() { Totals::default() } else { postcard::from_bytes(&self.totals).expect(decode) },
            devices: self.devices.iter().map(|(index, state)| (*index, postcard::from_bytes(state).expect(decode))).collect(),
            hours: self.hours.iter().map(|(start, cells)| (*start, cells.as_slice().into())).collect(),
            stood: self.stood_at(i64::MAX),
            runs: self.runs.clone(),
            decided: self.decisions.iter().map(|decided| (decided.letter, decided.block)).collect(),
            raw: None,
            held: None,
        }
    }

    /// The same for a start that is told what the closed windows of the last day hold.
    pub fn snapshot_to_check(&self, windows: &WindowConfig) -> Snapshot {
        let mut held = ReadingsHeld::since(self.now_ms - DAY_MS);
        for closed in &self.windows {
            let size_ms = windows.definitions()[usize::from(closed.definition)].size_ms;
            held.add(size_ms, std::iter::once((closed.window.start, closed.window.aggregate.count)));
        }
        Snapshot { held: Some(held), ..self.snapshot() }
    }

    /// It goes on at block `to` although those before are gone; the name of the run that says so, where it is new.
    pub fn accept_gap(&mut self, to: u64) -> Option<String> {
        (self.epoch, self.next) = (self.epoch + 1, self.next.max(to));
        let name = format!("{:020}.run", to - 1);
        let is_new = self.runs.iter().all(|run| run.name != name);
        is_new.then(|| {
            self.runs.push(NamedRun { name: name.clone(), last_block: to - 1, identities: 0 });
            name
        })
    }

    /// The first block that a restart reads.
    pub fn needed_from(&self) -> u64 {
        self.next.min(self.runs.last().map_or(0, |run| run.last_block + 1))
    }
}

/// The database.
#[derive(Debug, Default)]
pub struct Store {
    pub of: BTreeMap<u32, Stored>,
    /// Copies of runs, for other machines.
    pieces: BTreeMap<(u32, String), Vec<u8>>,
}

fn away() -> StoreError {
    StoreError::Database(sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()))
}

impl Store {
    /// Loads what is stored of `partition` and takes it over.
    pub fn load(
        &mut self,
        partition: u32,
        windows: &WindowConfig,
        world: &World,
    ) -> Result<Result<Snapshot, StoreError>, Crashed> {
        let fate = world.get().fate("load from the store", true);
        match fate {
            Fate::Crashes => return Err(Crashed),
            Fate::Fails => return Ok(Err(away())),
            Fate::Goes => {}
        }
        let stored = self.of.entry(partition).or_insert_with(|| Stored { next: 1, ..Stored::default() });
        stored.epoch += 1;
        Ok(Ok(stored.snapshot_to_check(windows)))
    }

    /// [`server::store::Store::accept_gap`]; the first block of `partition` that was not processed before.
    pub fn accept_gap(&mut self, partition: u32, to: u64) -> u64 {
        let stored = self.of.entry(partition).or_default();
        let next = stored.next;
        stored.accept_gap(to);
        next
    }

    fn is_ours(&self, partition: u32, epoch: i64) -> bool {
        self.of.get(&partition).is_some_and(|stored| stored.epoch == epoch)
    }

    /// [`server::store::Store::keep_run`].
    pub fn keep_run(&mut self, partition: u32, epoch: i64, path: &Path, world: &World) -> Result<(), StoreError> {
        let fate = world.get().fate("copy of a run to the store", true);
        if fate != Fate::Goes {
            return Err(away());
        }
        if !self.is_ours(partition, epoch) {
            world.note("a run fenced");
            return Err(StoreError::Fenced);
        }
        let bytes = files::read(path).map_err(sqlx::Error::Io)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        self.pieces.insert((partition, name), bytes);
        Ok(())
    }

    /// [`server::store::Store::fetch_runs`].
    pub fn fetch_runs(&mut self, partition: u32, dir: &Path, world: &World) -> Result<(), StoreError> {
        let runs = self.of.get(&partition).map(|stored| stored.runs.clone()).unwrap_or_default();
        self.pieces.retain(|(of, name), _| *of != partition || runs.iter().any(|run| run.name == *name));
        for run in runs {
            let path = dir.join(&run.name);
            if identities::is_run(&path, run.identities) {
                continue;
            }
            let bytes = self.pieces.get(&(partition, run.name.clone())).cloned().unwrap_or_default();
            world.note("a run fetched");
            files::replace(&path, |file| file.write_all(&bytes)).map_err(sqlx::Error::Io)?;
            identities::check_run(&path, run.identities).map_err(sqlx::Error::Io)?;
        }
        Ok(())
    }

    /// [`server::store::Store::checkpoint`].
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint, epoch: i64, world: &World) -> Result<(), StoreError> {
        if world.get().fate("commit, before it", true) != Fate::Goes {
            return Err(away());
        }
        let stored = self.of.entry(checkpoint.partition).or_default();
        if (stored.epoch, stored.next) != (epoch, checkpoint.from_block) {
            if (stored.epoch, stored.next) == (epoch, checkpoint.next_block) {
                world.note("a commit recognised");
                return Ok(());
            }
            world.note("a commit fenced");
            return Err(StoreError::Fenced);
        }
        stored.apply(checkpoint);
        world.note("a commit");
        checkpoint.forgotten_runs.iter().for_each(|_| world.note("a run of identities forgotten"));
        if world.get().fate("commit, after it", true) == Fate::Goes { Ok(()) } else { Err(away()) }
    }
}
