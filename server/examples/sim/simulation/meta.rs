//! Properties of the whole that need no faults: the order of arrival within lateness, and how often something comes.
//!
//! Crash-equivalence is what `embedded` and `kafka` compare at their ends, rescaling `kafka`, replay the example's runs of one seed twice;
//! that both databases hold the same is tested with real ones (`tests/it/backends.rs`).

use super::beyond::ReadBack;
use super::disk::Disk;
use super::oracle::{NEVER, WindowKey, check_sums, count, same, same_list, states_of, totals_of, windows_of};
use super::random::Random;
use super::setup;
use super::store::Stored;
use super::workload;
use super::world::{BEGIN_MS, Counts, World};
use anyhow::Context;
use bytes::Bytes;
use domain::engine::{EngineConfig, Tally};
use domain::master::Master;
use domain::time::ProcessingTime;
use domain::window::WindowState;
use server::admission::Format;
use server::identities::Freeze;
use server::log::{Block, BlockKind};
use server::pipeline::{PARTITION, Shard};
use server::side::LATE;
use server::travel;
use server::verify::history::Sums;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const MINUTE: i64 = 60_000;

/// What the texts of `records` lead to in this order, each a request of its own, all at `at_ms`.
fn led_to<'t>(
    records: impl Iterator<Item = &'t str>,
    at_ms: i64,
    master: &Arc<Master>,
    config: &EngineConfig,
) -> anyhow::Result<Stored> {
    let world = World::new(Random(0));
    Disk::new(&world).mount();
    let fresh = Stored { next: 1, ..Stored::default() };
    let mut shard = Shard::restore(fresh.snapshot(), (PARTITION, 1), Path::new("/meta"), master, config, NEVER)?;
    let block = |number, first_record, kind, body| {
        let received_at = ProcessingTime::from_ms(at_ms);
        Block { number, first_record, received_at, kind, source: "gateway".to_owned(), body }
    };
    shard.feed(block(1, 1, BlockKind::Pairings, travel::encode(&config.pairings)))?;
    for (text, number) in records.zip(1..) {
        let body = Bytes::copy_from_slice(text.as_bytes());
        shard.feed(block(number + 1, number, BlockKind::Records(Format::Record), body))?;
    }
    shard.settle();
    let mut stored = fresh;
    stored.apply(&shard.cut(Freeze::Full).0);
    check_sums(&totals_of(&stored))?;
    Ok(stored)
}

/// All windows but for their versions, which say how often they changed.
fn contents(stored: &Stored, config: &EngineConfig) -> anyhow::Result<BTreeMap<WindowKey, (WindowState, Sums)>> {
    Ok(windows_of(stored, config)?.into_iter().map(|(key, seen)| (key, (seen.state, seen.sums))).collect())
}

/// Any order of arrival within lateness, of one device or of several, leads to the same windows, sessions and places, and the same counts.
pub fn permutation(mut random: Random, master: &Arc<Master>, counts: &mut Counts) -> anyhow::Result<()> {
    let mut config = setup::chosen(&mut random);
    let within = config.windows.definitions()[0].delay_ms + config.windows.allowed_lateness_ms();
    // What comes later than this than the rest may be placed otherwise, and so may what comes before it is known that a device travels:
    // the first record of each comes first in any order.
    config.join.delay_ms = within;
    config.pairings.iter_mut().for_each(|pairing| (pairing.from_ms, pairing.to_ms) = (i64::MIN, i64::MAX));
    let records = workload::readings(&mut random, 5, 60, !config.pairings.is_empty());
    let now = BEGIN_MS + 24 * 60 * MINUTE;
    let sorted = led_to(records.iter().map(|(_, text)| text.as_str()), now, master, &config)?;
    let mut moved: Vec<(i64, &str)> = records
        .iter()
        .map(|(at, text)| (at + if *at < BEGIN_MS { 0 } else { random.between(0, within) }, text.as_str()))
        .collect();
    moved.sort_by_key(|(at, _)| *at);
    let moved = led_to(moved.into_iter().map(|(_, text)| text), now, master, &config)?;
    same("permutation: counts", &totals_of(&sorted).all, &totals_of(&moved).all)?;
    same("permutation: windows", &contents(&sorted, &config)?, &contents(&moved, &config)?)?;
    let [sorted_read, moved_read] = [&sorted, &moved].map(|stored| ReadBack::of(stored, &config).map(ReadBack::without_versions));
    let sorted_read = sorted_read?;
    let [sliding, sessions, places] = sorted_read.len();
    same("permutation: sliding windows, sessions, places", &sorted_read, &moved_read?)?;
    // Readings that wait for fixes still, and the fixes that they wait with.
    let joins = |stored: &Stored| -> BTreeMap<String, _> {
        let extra = states_of(stored).into_values().map(|state| (state.id.to_string(), state.extra.and_then(|extra| extra.join)));
        extra.collect()
    };
    same("permutation: fixes", &joins(&sorted), &joins(&moved))?;
    // Since when each is outside its range, and how far.
    let outside = |stored: &Stored| -> BTreeMap<String, _> {
        states_of(stored)
            .into_values()
            .map(|state| (state.id.to_string(), (state.latest, state.fine_at, state.outside)))
            .collect()
    };
    same("permutation: excursions", &outside(&sorted), &outside(&moved))?;
    let open = outside(&sorted).into_values().filter(|(.., outside)| outside.is_some()).count();
    count(counts, "excursions of a permutation compared", open as u64);
    same("permutation: hours", &sorted.hours, &moved.hours)?;
    count(counts, "sliding windows of a permutation compared", sliding as u64);
    count(counts, "sessions of a permutation compared", sessions as u64);
    count(counts, "places of a permutation compared", places as u64);
    Ok(())
}

/// However often something comes, all is the same but for the count of duplicates.
pub fn duplication(mut random: Random, master: &Arc<Master>, counts: &mut Counts) -> anyhow::Result<()> {
    let config = setup::chosen(&mut random);
    let records = workload::records(&mut random, 40, !config.pairings.is_empty());
    let now = BEGIN_MS + 24 * 60 * MINUTE;
    // What nobody can read has nothing by which it could be known again.
    let texts: Vec<&str> = records.iter().map(|sent| sent.text.as_str()).filter(|text| text.ends_with('}')).collect();
    let once = led_to(texts.iter().copied(), now, master, &config)?;
    let mut often: Vec<&str> = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        often.push(text);
        for _ in 0..random.below(3) {
            often.push(texts[random.index(at + 1)]);
        }
    }
    let again = often.len() - texts.len();
    let often = led_to(often.into_iter(), now, master, &config)?;
    let (of_once, of_often) = (totals_of(&once).all, totals_of(&often).all);
    let expected = Tally { received: of_once.received + again as u64, duplicate: of_once.duplicate + again as u64, ..of_once };
    same("duplication: counts", &expected, &of_often)?;
    same("duplication: devices", &once.devices, &often.devices).context("bit for bit")?;
    same("duplication: hours", &once.hours, &often.hours)?;
    same("duplication: windows", &windows_of(&once, &config)?.len(), &windows_of(&often, &config)?.len())?;
    same("duplication: windows put away", &once.windows, &often.windows)?;
    same_list("duplication: sessions, sliding windows, places", &once.derived, &often.derived)?;
    // Their positions in the log are others.
    let late = |stored: &Stored| -> Vec<_> { stored.side[LATE].iter().map(|row| (row.cause.clone(), row.raw.clone())).collect() };
    same_list("duplication: late records", &late(&once), &late(&often))?;
    count(counts, "derived results of a duplication compared", once.derived.len() as u64);
    Ok(())
}
