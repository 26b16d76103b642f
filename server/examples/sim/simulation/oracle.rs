//! What has to be true at the end, whatever befell: L1 nothing lost, L2 nothing twice, L3 everything counted, L4 the same state as without
//! any interruption and as recomputed by other code.

use super::beyond::{self, ByDevice, ReadBack};
use super::embedded::Embedded;
use super::random::Random;
use super::setup;
use super::store::{KEY, Stored};
use super::world::{Counts, World};
use anyhow::{Context, ensure};
use domain::coldchain::Range;
use domain::engine::{ClosedWindow, Derived, DeviceState, EngineConfig, Outside, Tally, Totals};
use domain::event::{Reason, Topic};
use domain::master::Master;
use domain::rollup::HourCell;
use domain::window::WindowState;
use server::admission::IdentityKey;
use server::identities::{Freeze, Sizes};
use server::log::{self, Block};
use server::pipeline::{Due, PARTITION, Shard, steps};
use server::side::{Cause, DEAD, LATE, SideRow};
use server::verify::history::{Seen, Sums};
use server::verify::{Device, Recomputed, outline, stood};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Sizes with which nothing is ever written aside.
pub const NEVER: Due = Due {
    records: u64::MAX,
    bytes: u64::MAX,
    every: Duration::MAX,
    identities: Sizes { freeze_at: usize::MAX, generation_keys: 4_000, run_bytes: u64::MAX },
};

/// Everything after a life of crashes.
pub fn check(sim: &mut Embedded) -> anyhow::Result<()> {
    let found = sim.store.of.get(&PARTITION).cloned().unwrap_or_default();
    let world = World::new(Random(0));
    world.get().now_ms = sim.world.get().now_ms;
    let (dir, key) = (sim.log_dir(), IdentityKey(KEY));

    // What a start would find now, on the disk as it is.
    sim.world.begin_life(None);
    let identities_dir = server::identities::folder(Path::new("/data/identities"), &KEY);
    let mut restarted = steps::restore(
        found.snapshot_to_check(&sim.config.windows),
        &dir,
        &identities_dir,
        &sim.master,
        &sim.config,
        sim.tuning.due,
    )
    .context("a last start")?;

    sim.disk.archive(&world).mount();
    let outline = outline(&dir).map_err(anyhow::Error::msg).context("L1: the log")?;
    let blocks: Vec<Block> = log::read(&dir, 1)?.collect::<Result<_, _>>().context("L1: the log")?;
    ensure!(outline.first_block <= 1, "the log's beginning is gone");

    let mut whole = uninterrupted(&blocks, &sim.master, &sim.config)?;
    if !setup::is_narrow(&sim.config) {
        // With a short memory some are forgotten, run by run.
        same("known identities", &whole.identities().len(), &restarted.identities().len())?;
    }
    let mut expected = Stored { next: 1, ..Stored::default() };
    expected.apply(&whole.cut(Freeze::Full).0);
    compare(&expected, &found).context("L4: against a life without interruption")?;

    let mut recomputed = Recomputed::of_files(&dir, key, &outline, &sim.config, &sim.master)?;
    for (number, (body, told)) in &sim.told.judged {
        let at = blocks.partition_point(|block| block.number < *number);
        let block = blocks.get(at).filter(|block| block.number == *number);
        let block = block.with_context(|| format!("L1: block {number} was confirmed, and is not there"))?;
        ensure!(block.body == *body, "L1: block {number} was confirmed, and is another");
        for (told, position) in told.iter().zip(block.first_record..) {
            let fate = recomputed.fate(position).context("L1: a confirmed record has no fate")?;
            ensure!(fate == *told, "L2: the sender of record {position} was told {told:?}, and it is {fate:?}");
        }
    }
    for letter in &sim.told.decided {
        ensure!(
            found.decisions.iter().any(|decided| decided.letter == *letter),
            "L1: the decision of letter {letter} was confirmed, and is not there"
        );
    }
    let last = blocks.last().map_or(1, |block| block.first_record + steps::records_of(block, &key));
    let positions = blocks.first().map_or(1, |block| block.first_record)..last;
    let mut counts = Counts::new();
    recount(&blocks, positions, &mut recomputed, (&found, &sim.master, &sim.config), &mut counts)?;
    let mut state = sim.world.get();
    state.note(&format!("{:?}", crc(&found)));
    note(&mut state.counts, &found, &ReadBack::of(&found, &sim.config)?, &sim.config)?;
    for (what, often) in counts {
        count(&mut state.counts, &what, often);
    }
    *state.counts.entry("records processed".to_owned()).or_default() += outline_records(&found);
    Ok(())
}

pub fn count(counts: &mut Counts, what: &str, often: u64) {
    if often > 0 {
        *counts.entry(what.to_owned()).or_default() += often;
    }
}

/// Notes what of all that a course of events should lead to it led to, and how much was compared at its end.
pub fn note(counts: &mut Counts, found: &Stored, read: &ReadBack, config: &EngineConfig) -> anyhow::Result<()> {
    let totals = totals_of(found);
    count(counts, "a duplicate", totals.all.duplicate);
    count(counts, "a late record", totals.all.late);
    for (reason, often) in Reason::ALL.iter().zip(totals.by_reason) {
        count(counts, &format!("rejected as {}", reason.name()), often);
    }
    let has_no_room = |row: &&SideRow| matches!(&row.cause, Cause::Rejected { reason: Reason::OutOfRange, field } if field.ends_with("device_id"));
    count(counts, "a device without room", found.side[DEAD].iter().filter(has_no_room).count() as u64);
    for seen in windows_of(found, config)?.values() {
        count(counts, "a window incomplete", u64::from(seen.state == WindowState::Incomplete));
        count(counts, "a window joined after it had fired", u64::from(seen.version > 1));
    }
    for closed in &found.derived {
        let what = match closed.derived {
            Derived::Joined { .. } => "a sliding window joined after it had fired",
            Derived::Session { session, .. } if session.state == WindowState::Merged => "a session became part of another",
            Derived::Session { session, .. } if session.version > 1 => "a session joined after it had fired",
            Derived::Session { .. } => "a session over",
            Derived::Located(located) if located.fix.is_some() => "a reading placed",
            Derived::Located(_) => "a reading without a place",
        };
        count(counts, what, 1);
    }
    let [sliding, sessions, places] = read.len();
    count(counts, "sliding windows compared", sliding as u64);
    count(counts, "sessions compared", sessions as u64);
    count(counts, "places compared", places as u64);
    count(counts, "versions of hours compared", found.known.len() as u64);
    count(counts, "versions of how equipment stands compared", found.stood.len() as u64);
    Ok(())
}

fn outline_records(stored: &Stored) -> u64 {
    totals_of(stored).all.received
}

pub fn totals_of(stored: &Stored) -> Totals {
    if stored.totals.is_empty() { Totals::default() } else { postcard::from_bytes(&stored.totals).expect("it was encoded") }
}

fn crc(stored: &Stored) -> u32 {
    let mut crc = crc32c::crc32c(&stored.totals);
    for state in stored.devices.values() {
        crc = crc32c::crc32c_append(crc, state);
    }
    crc
}

/// The state of one life over `blocks`.
pub fn uninterrupted(blocks: &[Block], master: &Arc<Master>, config: &EngineConfig) -> anyhow::Result<Shard> {
    let fresh = Stored { next: 1, ..Stored::default() }.snapshot();
    let mut shard = Shard::restore(fresh, (PARTITION, 1), Path::new("/oracle"), master, config, NEVER)?;
    for block in blocks {
        shard.feed(block.clone())?;
    }
    shard.settle();
    Ok(shard)
}

pub fn same<T: PartialEq + Debug>(what: &str, expected: &T, found: &T) -> anyhow::Result<()> {
    ensure!(expected == found, "{what}: expected {expected:?}; found {found:?}");
    Ok(())
}

/// The first difference of two lists.
pub fn same_list<T: PartialEq + Debug>(what: &str, expected: &[T], found: &[T]) -> anyhow::Result<()> {
    if let Some(at) = (0..expected.len().max(found.len())).find(|at| expected.get(*at) != found.get(*at)) {
        let (of, expected, found) = (expected.len(), expected.get(at), found.get(at));
        anyhow::bail!("{what}, number {at} of {of}: expected {expected:?}; found {found:?}");
    }
    Ok(())
}

fn sorted(windows: &[ClosedWindow]) -> Vec<ClosedWindow> {
    let mut windows = windows.to_vec();
    windows.sort_by_key(|closed| (closed.device, closed.definition, closed.window.start));
    windows
}

/// Holds what is stored against what should be, bit for bit.
pub fn compare(expected: &Stored, found: &Stored) -> anyhow::Result<()> {
    same("the position", &expected.next, &found.next)?;
    same("the log's time", &expected.now_ms, &found.now_ms)?;
    same("counters", &totals_of(expected), &totals_of(found))?;
    same("counters as bytes", &expected.totals, &found.totals)?;
    let (keys, found_keys): (Vec<_>, Vec<_>) = (expected.devices.keys().collect(), found.devices.keys().collect());
    same("devices", &keys, &found_keys)?;
    for (index, state) in &expected.devices {
        if state != &found.devices[index] {
            let decode = |bytes: &[u8]| postcard::from_bytes::<DeviceState>(bytes).expect("it was encoded");
            same("a device", &decode(state), &decode(&found.devices[index]))?;
            anyhow::bail!("device {index} is the same in other bytes");
        }
    }
    same("hours", &expected.hours, &found.hours)?;
    same_list("windows", &sorted(&expected.windows), &sorted(&found.windows))?;
    same_list("late records", &expected.side[LATE], &found.side[LATE])?;
    same_list("dead letters", &expected.side[DEAD], &found.side[DEAD])?;
    same_list("decisions", &expected.decisions, &found.decisions)?;
    same_list("sessions, sliding windows, places", &expected.derived, &found.derived)?;
    same("books of days", &expected.days, &found.days)?;
    same_list("versions of how equipment stands", &expected.stood, &found.stood)?;
    same_list("versions of hours", &expected.known, &found.known)
}

/// L3, and everything that is stored by other code than the engine's: what `recomputed` makes of the log of `blocks`, which has records at
/// `positions`. Counts what was compared.
pub fn recount(
    blocks: &[Block],
    positions: impl Iterator<Item = u64>,
    recomputed: &mut Recomputed,
    (found, master, config): (&Stored, &Master, &EngineConfig),
    counts: &mut Counts,
) -> anyhow::Result<()> {
    let devices = recomputed.devices(master, 0)?;
    recount_books(positions, recomputed, &devices, found, config)?;
    count(counts, "excursions recounted", recount_states(&devices, found, master)?);
    let read = ReadBack::of(found, config)?;
    recount_derived(recomputed, &devices, &read, config)?;
    let followed = beyond::follow(blocks, recomputed, master, config)?;
    for key in followed.sliding.keys().chain(read.sliding.keys()) {
        let of = |all: &ByDevice<_>| all.get(key).cloned().unwrap_or_default();
        same_list(&format!("L4: sliding windows {key:?}"), &of(&followed.sliding), &of(&read.sliding))?;
    }
    for (what, often) in [
        ("a fix of nowhere", followed.fixes_of_nowhere),
        ("a slot given up after its time", followed.slots_given_up),
        ("a window incomplete, then final", followed.incomplete_then_final),
    ] {
        count(counts, what, often);
    }
    Ok(())
}

/// Newest readings, faults and excursions of devices; how many are in one.
fn recount_states(devices: &HashMap<String, Device>, found: &Stored, master: &Master) -> anyhow::Result<u64> {
    let (nobody, mut open) = (Device::default(), 0);
    for state in states_of(found).into_values() {
        let device = devices.get(state.id.as_str()).unwrap_or(&nobody);
        let range = master.sensor_by_id(&state.id).map_or(Range::FRIDGE, |sensor| master.sensor(sensor).range);
        let (newest, before) = device.kept_outside(range);
        let kept = state.outside.as_deref().map_or((&[][..], None), Outside::kept);
        let expected = (device.latest, device.fault, device.fine_at, (&newest[..], before));
        same(&format!("L4: {}", state.id), &expected, &(state.latest, state.fault, state.fine_at, kept))?;
        open += u64::from(state.outside.is_some());
    }
    Ok(open)
}

/// Counters, hours, how equipment stood, and windows.
fn recount_books(
    positions: impl Iterator<Item = u64>,
    recomputed: &Recomputed,
    devices: &HashMap<String, Device>,
    found: &Stored,
    config: &EngineConfig,
) -> anyhow::Result<()> {
    let totals = totals_of(found);
    let mut tally = Tally::default();
    positions.filter_map(|position| recomputed.fate(position)).for_each(|fate| tally.count(fate));
    same("L3: counters", &tally, &totals.all)?;
    check_sums(&totals)?;
    check_days(found)?;
    same("L3: late records", &totals.all.late, &(found.side[LATE].len() as u64))?;
    same("L3: dead letters", &totals.all.rejected, &(found.side[DEAD].len() as u64))?;
    // The country's hours, late records among them.
    let mut hours: BTreeMap<i64, HourCell> = BTreeMap::new();
    for ((hour, _), change) in &recomputed.changes {
        hours.entry(*hour).or_default().add(&change.country);
    }
    let country: BTreeMap<i64, HourCell> = found.hours.iter().map(|(hour, cells)| (*hour, cells[0])).collect();
    same("L4: hours of the country", &hours, &country)?;
    let late: u64 = country.values().map(|cell| u64::from(cell.late)).sum();
    same("L3: late records in hours", &totals.all.late, &late)?;
    let mut stood = stood::Reader::default();
    for version in &found.stood {
        stood.read(version, found.now_ms);
    }
    same("L4: versions of how equipment stands", &Vec::<String>::new(), &stood.wrong)?;
    let changed = |all: &stood::Changes| -> Vec<(i64, u64)> {
        all.iter().filter(|(at, by)| **by != 0 && **at <= found.now_ms).map(|(at, by)| (*at, *by)).collect()
    };
    same_list("L4: how equipment stood", &changed(&recomputed.stood), &changed(&stood.changes))?;
    let mut windows = windows_of(found, config)?;
    let accepted = totals.by_topic[Topic::Temperature as usize].accepted;
    for definition in 0..config.windows.definitions().len() {
        let held: u64 = windows.iter().filter(|((of, ..), _)| *of == definition).map(|(_, seen)| seen.sums.count).sum();
        same("L3: readings in windows", &accepted, &held)?;
    }
    for (id, device) in devices {
        for (definition, start, expected) in device.history.windows(recomputed.definitions()) {
            let seen = windows.remove(&(definition, id.clone(), start));
            same(&format!("L4: window {definition} of {id} from {start}"), &Some(expected), &seen)?;
        }
    }
    ensure!(windows.is_empty(), "L4: nothing in the log belongs to {:?}", windows.keys().next());
    Ok(())
}

/// Sessions and places by other code than the engine's.
fn recount_derived(
    recomputed: &Recomputed,
    devices: &HashMap<String, Device>,
    read: &ReadBack,
    config: &EngineConfig,
) -> anyhow::Result<()> {
    for (id, device) in devices {
        let newest = device.history.watermark().unwrap_or(i64::MIN / 2);
        let mut sessions: BTreeMap<(usize, i64), (i64, Seen)> = BTreeMap::new();
        for (key, session) in device.history.beyond().sessions(recomputed.definitions(), newest) {
            ensure!(sessions.insert(key, (session.end, session.seen)).is_none(), "two sessions of {id} begin at {}", key.1);
        }
        for (definition, gap) in config.windows.sessions().iter().enumerate() {
            let expected: Vec<_> =
                sessions.range((definition, i64::MIN)..=(definition, i64::MAX)).map(|(key, of)| (key.1, *of)).collect();
            let of_device = read.sessions.get(&(definition, id.clone())).map_or(&[][..], Vec::as_slice);
            let found: Vec<_> = of_device
                .iter()
                .map(|s| (s.start, (s.end, Seen { version: u64::from(s.version), state: s.state, sums: Sums::of(&s.aggregate) })))
                .collect();
            same_list(&format!("L4: sessions of {id} by {} ms", gap.gap_ms), &expected, &found)?;
        }
        let mut expected = device.located.clone();
        expected.sort_unstable();
        let found = read.places.get(id).map_or(&[][..], Vec::as_slice);
        same_list(&format!("L4: places of {id}"), &expected, found)?;
    }
    let known = |id: &String| devices.contains_key(id);
    ensure!(read.sessions.keys().all(|(_, id)| known(id)) && read.places.keys().all(known), "L4: a device that nobody heard of");
    Ok(())
}

/// Every tally is the sum of its parts, and they of each other.
pub fn check_sums(totals: &Totals) -> anyhow::Result<()> {
    let of_sources = totals.by_source.iter().map(|(_, tally)| tally);
    for tally in std::iter::once(&totals.all).chain(&totals.by_topic).chain(of_sources.clone()) {
        let Tally { received, accepted, duplicate, late, rejected } = *tally;
        same("L3: received", &(accepted + duplicate + late + rejected), &received)?;
    }
    let sum = |parts: &mut dyn Iterator<Item = &Tally>| {
        parts.fold(Tally::default(), |mut sum, part| {
            sum.add(part);
            sum
        })
    };
    same("L3: topics", &sum(&mut totals.by_topic.iter()), &totals.all)?;
    same("L3: sources", &sum(&mut of_sources.clone()), &totals.all)?;
    same("L3: reasons", &totals.by_reason.iter().sum(), &totals.all.rejected)
}

/// C1 by day: all days together are the counters of each source and topic.
pub fn check_days(stored: &Stored) -> anyhow::Result<()> {
    let totals = totals_of(stored);
    let (mut by_source, mut by_topic) = (BTreeMap::new(), totals.by_topic.map(|_| Tally::default()));
    for ((_, source, topic), tally) in &stored.days {
        let Tally { received, accepted, duplicate, late, rejected } = *tally;
        same("L3: received of a day", &(accepted + duplicate + late + rejected), &received)?;
        by_source.entry(source.clone()).or_insert_with(Tally::default).add(tally);
        by_topic[usize::from(*topic)].add(tally);
    }
    same("L3: days by source", &totals.by_source.into_iter().collect(), &by_source)?;
    same("L3: days by topic", &totals.by_topic, &by_topic)
}

/// A window: definition, device, start.
pub type WindowKey = (usize, String, i64);

/// All devices, by their index.
pub fn states_of(stored: &Stored) -> BTreeMap<u32, DeviceState> {
    stored.devices.iter().map(|(index, bytes)| (*index, postcard::from_bytes(bytes).expect("it was encoded"))).collect()
}

/// All windows, put away or not; an error where one is there twice.
pub fn windows_of(stored: &Stored, config: &EngineConfig) -> anyhow::Result<BTreeMap<WindowKey, Seen>> {
    let states = states_of(stored);
    let mut all = BTreeMap::new();
    let mut put = |definition: usize, index: u32, window: &domain::window::Window| {
        let key = (definition, states[&index].id.to_string(), window.start);
        let seen = Seen { version: u64::from(window.version), state: window.state, sums: Sums::of(&window.aggregate) };
        ensure!(all.insert(key.clone(), seen).is_none(), "L2: the window {key:?} is there twice");
        Ok(())
    };
    for closed in &stored.windows {
        put(usize::from(closed.definition), closed.device, &closed.window)?;
    }
    for (index, state) in &states {
        for definition in 0..config.windows.definitions().len() {
            for window in state.windows.windows(&config.windows, definition) {
                put(definition, *index, &window)?;
            }
        }
    }
    Ok(all)
}
