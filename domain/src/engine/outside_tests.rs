//! The same excursion whatever the order of arrival, as far as readings are kept.

use super::super::{Content, Disposition, Engine, EngineConfig, MemoryIdentities, Record, plain_reading};
use super::*;
use crate::event::{BodyHash, Identity, Topic};
use crate::master::Master;
use crate::time::{MINUTE_MS, ProcessingTime};
use proptest::prelude::*;
use std::sync::Arc;

const NOW: i64 = 1_795_000_000_000;

/// An engine without a country that has taken in readings of one device, at half minutes from [`NOW`] on, in this order; how many came late.
fn after(readings: &[(i64, i32)]) -> (Engine, usize) {
    let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n";
    let regions = "level,code,parent,name\n0,ID,,Indonesia\n";
    let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n";
    let master = Arc::new(Master::parse(levels, regions, facilities).expect("parses"));
    let mut engine = Engine::new(EngineConfig::default(), &master);
    let record = |(at, milli): &(i64, i32)| Record {
        // Another temperature at one time is another record, and the same one a repetition.
        identity: Some(Identity((*at as u128) << 64 | u128::from(*milli as u32))),
        is_natural: false,
        body: BodyHash(*milli as u64),
        sequence: None,
        is_numbered: false,
        topic: Some(Topic::Temperature),
        source: "test".into(),
        content: Content::Reading {
            device: "d".into(),
            reading: plain_reading(EventTime::from_ms(NOW + at * MINUTE_MS / 2), Milli(*milli)),
        },
    };
    let mut told = Vec::new();
    let now = ProcessingTime::from_ms(NOW + 10_000 * MINUTE_MS);
    engine.step(readings.iter().map(record), now, &mut MemoryIdentities::default(), &mut told);
    let late = told.iter().filter(|disposition| matches!(disposition, Disposition::Late { .. })).count();
    (engine, late)
}

fn excursion(readings: &[(i64, i32)]) -> Option<(i64, i32)> {
    let (engine, _) = after(readings);
    let found = engine.device_now(engine.device_by_id("d").expect("heard of")).excursion?;
    Some(((found.since.ms() - NOW) * 2 / MINUTE_MS, found.peak.0))
}

/// By definition: the readings outside since the newest in range. Of two at one instant the one outside counts.
fn by_definition(readings: &[(i64, i32)]) -> Option<(i64, i32)> {
    let is_fine = |milli: i32| (2_000..=8_000).contains(&milli);
    let fine_at = readings.iter().filter(|(_, milli)| is_fine(*milli)).map(|(at, _)| *at).max();
    let outside = || readings.iter().filter(|(at, milli)| !is_fine(*milli) && fine_at.is_none_or(|fine| *at >= fine));
    let peak = outside().map(|(_, milli)| *milli).max_by_key(|milli| ((milli - 8_000).max(2_000 - milli), -milli))?;
    Some((outside().map(|(at, _)| *at).min()?, peak))
}

/// What comes back-filled between two readings outside says that there were two excursions.
#[test]
fn an_end_that_is_heard_of_late_is_an_end() {
    let whole = [(0, 12_000), (10, 5_000), (20, 9_000), (30, 9_500)];
    for order in [[0, 1, 2, 3], [0, 2, 1, 3], [0, 2, 3, 1], [3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2]] {
        assert_eq!(excursion(&order.map(|at: usize| whole[at])), Some((20, 9_500)), "{order:?}");
    }
    assert_eq!(excursion(&[(0, 12_000), (20, 9_000), (30, 5_000), (10, 5_000)]), None);
}

/// Newer than a reading in range are at most so many: what is older is summed up, and cannot be taken apart again.
#[test]
fn what_is_kept_of_a_long_excursion() {
    let kept = KEPT_OUTSIDE as i64;
    let mut long: Vec<(i64, i32)> = (0..kept + 20).map(|n| (2 * n, if n == 3 { 1_000 } else { 9_000 })).collect();
    assert_eq!(excursion(&long), Some((0, 1_000)));
    let backwards: Vec<(i64, i32)> = long.iter().rev().copied().collect();
    let [there, back] = [&long, &backwards].map(|order| after(order).0.device_state(0).outside.clone().expect("it is outside"));
    assert_eq!(there, back);
    assert_eq!(there.kept().0.len(), KEPT_OUTSIDE);
    assert_eq!(there.newest.capacity(), KEPT_OUTSIDE, "no room that is never used");
    // 101 are newer than the first of these, and 95 than the second.
    long.push((2 * 15 - 1, 5_000));
    assert_eq!(excursion(&long), Some((0, 1_000)));
    long.push((2 * 21 - 1, 5_000));
    assert_eq!(excursion(&long), Some((2 * 21, 9_000)));
}

proptest! {
    /// Readings in range and outside on both sides, live, back-filled, late, repeated, two at one instant: in any order the same.
    #[test]
    fn any_order_gives_the_same_excursion(
        readings in prop::collection::vec((0i64..150, prop_oneof![-500i32..12_000, Just(9_000), Just(1_000), Just(5_000)]), 1..KEPT_OUTSIDE)
            .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
    ) {
        let (sorted, any) = readings;
        let expected = by_definition(&sorted);
        prop_assert_eq!(excursion(&any), expected);
        let (engine, _) = after(&any);
        let device = engine.device_by_id("d").expect("heard of");
        // Whoever is shown outside is in an excursion, and nobody else.
        prop_assert_eq!(engine.device_state(device).latest.map(|r| Range::FRIDGE.condition(r.temperature).is_excursion()), Some(expected.is_some()));
    }
}

/// The orders above have late readings among them.
#[test]
fn late_readings_are_met() {
    let (engine, late) = after(&(0..20).map(|n| (n, 9_000)).chain([(60, 9_000), (3, 5_000), (3, 12_000)]).collect::<Vec<_>>());
    assert_eq!(late, 2);
    let found = engine.device_now(engine.device_by_id("d").expect("heard of")).excursion;
    assert_eq!(found.map(|e| e.peak), Some(Milli(12_000)));
}
