//! What is stored at the end, held against one life without interruption, partition by partition, and against one partition instead of
//! several.

use super::super::beyond::ReadBack;
use super::super::disk::Disk;
use super::super::oracle::{self, NEVER};
use super::super::random::Random;
use super::super::setup;
use super::super::store::{KEY, Stored};
use super::super::world::{Counts, World};
use super::Cluster;
use super::broker::{self, Gap, Message};
use anyhow::{Context, ensure};
use domain::engine::{Derived, DeviceState, EngineConfig, Tally, Totals};
use domain::rollup::{HourCell, StoodThen};
use domain::sequence::Sequences;
use domain::time::{DAY_MS, ProcessingTime};
use domain::window::Window;
use server::admission::IdentityKey;
use server::files;
use server::kafka::{Inbox, Owned, position};
use server::letters::Outcome;
use server::log::Block;
use server::pipeline::Step;
use server::side::{DEAD, LATE, SideRow};
use server::travel::HandedOn;
use server::verify::Recomputed;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Silence of devices counts by the entries of a log: each partition has other ones, and a partition that nobody reads hears no silence.
/// So what follows from silence is left out where several partitions are compared with one: after ten years nobody is silent.
const NO_SILENCE_MS: i64 = 3_650 * DAY_MS;
/// Numbers of partitions in which a log is lived through once more, beyond those of the cluster.
const ONE: u32 = 1_000;
const WITHOUT_SILENCE: u32 = 500;

impl Cluster {
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let calm = World::new(Random(0));
        calm.get().now_ms = self.now();
        let disk = Disk::new(&calm);
        disk.mount();
        let (mut counts, mut windows) = (Counts::new(), BTreeSet::new());
        let (mut all, mut due) = (Vec::new(), Vec::new());
        for (partition, log) in self.logs.iter().enumerate() {
            let found = self.store.of.get(&(partition as u32)).cloned().unwrap_or_default();
            let replays =
                found.decisions.iter().filter(|decided| matches!(decided.outcome, Outcome::Replayed { .. })).count() as u64;
            // What lay in gaps was processed by nobody, and of a topic that is no more only what came before.
            let messages = log.before.as_ref().unwrap_or(&log.messages);
            let is_lost = |offset: i64| log.gaps.iter().any(|gap| (gap.next as i64 - 1..gap.low).contains(&offset));
            let is_ours = |message: &&Message| {
                !is_lost(message.offset) && (log.before.is_none() || (message.offset as u64) + 1 < found.next)
            };
            let messages: Vec<&Message> = messages.iter().filter(is_ours).collect();
            let records = messages.iter().filter(|message| message.is_record()).count() as u64 + replays;
            let totals = oracle::totals_of(&found);
            oracle::same(&format!("L1: records of partition {partition}"), &records, &totals.all.received)?;
            oracle::check_sums(&totals)?;
            oracle::check_days(&found)?;
            ensure!(found.decisions.iter().all(|of| of.by != broker::STRANGER), "L2: a decision of another installation counts");
            oracle::count(&mut counts, "records processed", records);
            if records > 0 {
                let (expected, mut handed_on) =
                    self.uninterrupted(partition as u32, &messages, &log.gaps, &self.config, &disk)?;
                due.append(&mut handed_on);
                oracle::compare(&expected, &found).with_context(|| format!("L4: partition {partition}"))?;
                let travellers =
                    self.check_travellers(&found, &messages).with_context(|| format!("L2: partition {partition}"))?;
                oracle::count(&mut counts, "devices that travel", travellers);
                // What was known before a gap is forgotten: who recounts would still know it.
                if log.gaps.is_empty() {
                    self.recount(partition as u32, &messages, &found, &mut counts)
                        .with_context(|| format!("recounted: partition {partition}"))?;
                    oracle::count(&mut counts, "partitions of Kafka recounted", 1);
                }
                oracle::note(&mut counts, &found, &ReadBack::of(&found, &self.config)?, &self.config)?;
                for key in oracle::windows_of(&found, &self.config)?.into_keys() {
                    ensure!(windows.insert(key.clone()), "L2: two partitions have the window {key:?}");
                }
            }
            all.push(found);
        }
        if self.logs.iter().all(|log| log.gaps.is_empty() && log.before.is_none()) {
            oracle::count(&mut counts, "fixes handed on, compared", self.check_handed_on(&due)?);
        }
        // Decisions name letters by partition and offset: they would mean others. There is room in each partition, and a fix that is
        // handed on may be too old when it comes.
        if all.len() > 1
            && !self.decides
            && !setup::is_narrow(&self.config)
            && self.logs.iter().all(|log| log.gaps.is_empty() && log.before.is_none())
        {
            let [compared, places] = self.rescaled(&all, &disk).context("rescale")?;
            oracle::count(&mut counts, "places of paired devices of several partitions compared", places);
            oracle::count(&mut counts, "several partitions compared with one", 1);
            oracle::count(&mut counts, "derived results of several partitions compared", compared);
        }
        let mut state = self.world.get();
        state.note(&format!("{counts:?}"));
        for (what, often) in counts {
            oracle::count(&mut state.counts, &what, often);
        }
        Ok(())
    }

    /// What is stored of a partition follows from its `messages`, by other code than the engine's.
    fn recount(&self, partition: u32, messages: &[&Message], found: &Stored, counts: &mut Counts) -> anyhow::Result<()> {
        let (mut inbox, mut clock) = (Inbox::new("events", &broker::ours()), ProcessingTime::from_ms(0));
        for message in messages {
            message.put(&mut inbox);
        }
        let blocks: Vec<Block> = messages.iter().map(|message| message.block(partition, &mut clock)).collect();
        let records = messages.iter().filter(|message| message.has_record());
        let positions = records.map(|message| position(partition, message.offset as u64 + 1));
        let mut recomputed = Recomputed::of_messages(partition, inbox, IdentityKey(KEY), &self.config, &self.master)?;
        oracle::recount(&blocks, positions, &mut recomputed, (found, &self.master, &self.config), counts)
    }

    /// One partition instead of several, of which `found` is stored, leads to the same; how many derived results were compared, and of
    /// these places of devices that are paired.
    fn rescaled(&self, found: &[Stored], disk: &Disk) -> anyhow::Result<[u64; 2]> {
        let mut all: Vec<(usize, &Message)> = Vec::new();
        for (partition, log) in self.logs.iter().enumerate() {
            // In one partition every fix lies where it is needed.
            let own = log.messages.iter().filter(|message| !message.is_fix());
            all.extend(own.map(|message| (partition, message)));
        }
        all.sort_by_key(|(partition, message)| (message.at, *partition, message.offset));
        let renumbered: Vec<Message> =
            all.into_iter().zip(0..).map(|((_, message), offset)| Message { offset, ..message.clone() }).collect();
        let mut quiet = self.config.clone();
        quiet.windows.idle_after_ms = NO_SILENCE_MS;
        let (one, _) = self.uninterrupted(ONE, &renumbered.iter().collect::<Vec<_>>(), &[], &quiet, disk)?;
        // Whatever does not follow from silence is so in what is stored.
        oracle::same("dispositions", &Books::of(std::slice::from_ref(&one)), &Books::of(found))?;
        for (name, kind) in [("late records", LATE), ("dead letters", DEAD)] {
            oracle::same_list(name, &rows(std::slice::from_ref(&one), kind), &rows(found, kind))?;
        }
        oracle::same("books of days", &days(std::slice::from_ref(&one)), &days(found))?;
        oracle::same("hours", &hours(std::slice::from_ref(&one)), &hours(found))?;
        // Of what came after the last entry of some partition it has no version yet.
        let until = found.iter().filter(|stored| stored.now_ms > 0).map(|stored| stored.now_ms).min().unwrap_or(0);
        let at: BTreeSet<i64> =
            one.known.iter().chain(found.iter().flat_map(|stored| &stored.known)).map(|of| of.known_at).collect();
        let stood = one.stood.iter().chain(found.iter().flat_map(|stored| &stored.stood)).map(|of| of.known_at);
        for at in stood.filter(|at| *at <= until).collect::<BTreeSet<i64>>() {
            let mut together = StoodThen::default();
            for stored in found {
                together.add(&stored.stood_at(at));
            }
            let facilities = |then: &StoodThen| then.facilities().collect::<Vec<_>>();
            let expected = facilities(&one.stood_at(at));
            oracle::same_list(&format!("how equipment stood as known at {at}"), &expected, &facilities(&together))?;
            let columns = |then: &StoodThen| then.columns().collect::<BTreeMap<u32, u8>>();
            oracle::same(&format!("columns as known at {at}"), &columns(&one.stood_at(at)), &columns(&together))?;
        }
        for at in at.into_iter().filter(|at| *at <= until) {
            let (expected, found) = (known(std::slice::from_ref(&one), at), known(found, at));
            oracle::same(&format!("hours as known at {at}"), &expected, &found)?;
        }
        // The rest, windows with their versions among it, is so in lives without silence; that what is stored equals lives with silence
        // has been compared already.
        let mut expected = by_device(&one);
        let (mut compared, mut places) = (0, 0);
        for (partition, log) in (0..).zip(&self.logs) {
            let messages: Vec<&Message> = log.messages.iter().collect();
            let (own, _) = self.uninterrupted(WITHOUT_SILENCE + partition, &messages, &[], &quiet, disk)?;
            for (id, mut own) in by_device(&own) {
                if broker::partition_of(&id, self.logs.len()) != partition as usize {
                    // A tracker whose messages are here is paired with it.
                    own.without_places();
                    let nothing = DeviceState { id: id.into(), ..DeviceState::default() };
                    oracle::same("a device of another partition", &nothing, &own.state)?;
                    continue;
                }
                let mut expected = expected.remove(&id).with_context(|| format!("{id} is in one of several partitions alone"))?;
                if self.may_differ(&id) {
                    expected.without_places();
                    own.without_places();
                } else if self.paired.contains(&id) {
                    places += own.derived.iter().filter(|of| matches!(of, Derived::Located(_))).count() as u64;
                }
                // Fixes that are handed on come later than others.
                expected.in_order();
                own.in_order();
                compared += own.derived.len() as u64;
                oracle::same(&format!("state of {id}"), &expected.state, &own.state)?;
                oracle::same_list(&format!("windows of {id}"), &expected.windows, &own.windows)?;
                oracle::same_list(&format!("sessions, sliding windows, places of {id}"), &expected.derived, &own.derived)?;
            }
        }
        // What is left was heard of by its tracker alone.
        for (id, mut left) in expected {
            left.without_places();
            let nothing = DeviceState { id: id.into(), ..DeviceState::default() };
            oracle::same("a device that no partition has", &nothing, &left.state)?;
        }
        Ok([compared, places])
    }

    /// The state of one life over `messages`, fetched all at once, that begins anew behind each of the `gaps` alone, and the fixes that it
    /// has to hand on.
    fn uninterrupted(
        &self,
        partition: u32,
        messages: &[&Message],
        gaps: &[Gap],
        config: &EngineConfig,
        disk: &Disk,
    ) -> anyhow::Result<(Stored, Vec<HandedOn>)> {
        disk.mount();
        let dir = Path::new("/oracle").join(partition.to_string());
        files::create_dir(&dir)?;
        let mut stored = Stored { next: 1, ..Stored::default() };
        let begin = |stored: &Stored| {
            let begun = Owned::restore(stored.snapshot(), partition, &dir, &self.master, config, NEVER);
            begun.map(|mut owned| {
                owned.shard.hand_on_from(0);
                owned
            })
        };
        let mut handed_on = Vec::new();
        let mut owned = begin(&stored)?;
        let mut rest = messages;
        for gap in gaps {
            // What it could still know again, and what it had processed without.
            for (end, worth) in [(gap.needed, 0), (gap.next as i64 - 1, u64::MAX)] {
                let (known, more) = rest.split_at(rest.partition_point(|message| message.offset < end));
                rest = more;
                handed_on.append(&mut take(&mut owned, known, worth, &mut stored)?);
            }
            if let Some(run) = stored.accept_gap(gap.low as u64 + 1) {
                files::replace(&dir.join(run), |_| Ok(()))?;
            }
            owned = begin(&stored)?;
            // Of what the state covers it reads again what is still there, for its identities.
            rest = &messages[messages.partition_point(|message| message.offset < gap.low)..];
        }
        handed_on.append(&mut take(&mut owned, rest, u64::MAX, &mut stored)?);
        Ok((stored, handed_on))
    }
}

/// The counters of all partitions together.
#[derive(Debug, PartialEq, Eq)]
struct Books {
    all: Tally,
    by_topic: Vec<Tally>,
    /// In order of name: they come up in another order.
    by_source: BTreeMap<String, Tally>,
    by_reason: Vec<u64>,
    closed_windows: u64,
}

impl Books {
    fn of(stored: &[Stored]) -> Self {
        let mut sum = Totals::default();
        for stored in stored {
            sum.add(&oracle::totals_of(stored));
        }
        let Totals { all, by_topic, by_source, by_reason, closed_windows, .. } = sum;
        let by_source = by_source.into_iter().collect();
        Self { all, by_topic: by_topic.to_vec(), by_source, by_reason: by_reason.to_vec(), closed_windows }
    }
}

/// The rows of a side output of all partitions. Positions, and the order within an instant, are a matter of partitions.
fn rows(stored: &[Stored], kind: usize) -> Vec<SideRow> {
    let all = stored.iter().flat_map(|stored| &stored.side[kind]);
    let mut rows: Vec<SideRow> = all.map(|row| SideRow { position: 0, ..row.clone() }).collect();
    rows.sort_by(|a, b| (a.received_at, &a.source, &a.raw).cmp(&(b.received_at, &b.source, &b.raw)));
    rows
}

/// The books of days of all partitions together.
fn days(stored: &[Stored]) -> BTreeMap<(i64, String, u8), Tally> {
    let mut sum: BTreeMap<(i64, String, u8), Tally> = BTreeMap::new();
    for (key, tally) in stored.iter().flat_map(|stored| &stored.days) {
        sum.entry(key.clone()).or_default().add(tally);
    }
    sum
}

/// The hours of all partitions together.
fn hours(stored: &[Stored]) -> BTreeMap<i64, Vec<HourCell>> {
    let mut sum: BTreeMap<i64, Vec<HourCell>> = BTreeMap::new();
    for (hour, cells) in stored.iter().flat_map(|stored| &stored.hours) {
        let sum = sum.entry(*hour).or_insert_with(|| vec![HourCell::default(); cells.len()]);
        sum.iter_mut().zip(cells).for_each(|(sum, cell)| sum.add(cell));
    }
    sum
}

/// The figures of all partitions together, by hour and region, as they were known at `at`.
fn known(stored: &[Stored], at: i64) -> BTreeMap<(i64, u32), HourCell> {
    let mut sum: BTreeMap<(i64, u32), HourCell> = BTreeMap::new();
    for stored in stored {
        let mut own: BTreeMap<(i64, u32), HourCell> = BTreeMap::new();
        // Oldest first: the last one counts.
        for version in stored.known.iter().filter(|version| version.known_at <= at) {
            own.extend(version.cells.iter().map(|(region, cell)| ((version.hour, *region), *cell)));
        }
        for (key, cell) in own {
            sum.entry(key).or_default().add(&cell);
        }
    }
    sum
}

/// All that is stored of a device. Its index is a matter of the partition.
struct Whole {
    state: DeviceState,
    windows: Vec<(u8, Window)>,
    derived: Vec<Derived>,
}

impl Whole {
    /// Places by time: in which order they were settled is left out.
    fn in_order(&mut self) {
        self.derived.sort_by_key(|derived| match derived {
            Derived::Located(located) => (1, Some(*located)),
            _ => (0, None),
        });
    }

    /// Where it was is left out.
    fn without_places(&mut self) {
        self.derived.retain(|derived| !matches!(derived, Derived::Located(_)));
        if let Some(extra) = &mut self.state.extra {
            extra.join = None;
        }
        self.state.extra = self.state.extra.take().filter(|extra| extra.sequences != Sequences::default());
    }
}

fn by_device(stored: &Stored) -> BTreeMap<String, Whole> {
    let whole = |(index, state): (u32, DeviceState)| {
        let windows = stored.windows.iter().filter(|of| of.device == index).map(|of| (of.definition, of.window)).collect();
        let derived = stored.derived.iter().filter(|of| of.device == index).map(|of| of.derived).collect();
        (state.id.to_string(), Whole { state, windows, derived })
    };
    oracle::states_of(stored).into_iter().map(whole).collect()
}

/// Processes `messages` and stores what they lead to, with a run of their identities where that is `worth` it; the fixes to hand on.
fn take(owned: &mut Owned, messages: &[&Message], worth: u64, stored: &mut Stored) -> anyhow::Result<Vec<HandedOn>> {
    let mut inbox = Inbox::new("events", &broker::ours());
    for message in messages {
        message.put(&mut inbox);
    }
    owned.take(&inbox, &stored.letters());
    let mut writing = owned.cut(worth);
    let mut handed_on = Vec::new();
    loop {
        match writing.step() {
            Step::WriteRun(frozen) => frozen.write()?,
            Step::KeepRun(_) | Step::Wait(_) => {}
            Step::HandOn(fixes) => handed_on.extend_from_slice(fixes),
            Step::Commit(checkpoint) => stored.apply(checkpoint),
            Step::Done => break,
        }
        writing.went(Ok(()))?;
    }
    owned.shard.checkpoint_done()?;
    Ok(handed_on)
}
