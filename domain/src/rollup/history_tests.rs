//! However long the history, memory holds a part of it, and that with the store is what a plain sum of everything is.

use crate::aggregate::Aggregate;
use crate::coldchain::Range;
use crate::engine::{Content, Disposition, Engine, EngineConfig, MemoryIdentities, Record, plain_reading};
use crate::event::{BodyHash, Identity, Topic};
use crate::master::{Master, RegionIx};
use crate::milli::Milli;
use crate::rollup::{Contribution, HourCell};
use crate::time::{DAY_MS, EventTime, HOUR_MS, MINUTE_MS, ProcessingTime};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const BEGIN: i64 = 1_790_000_000_000;

fn master() -> Arc<Master> {
    let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n";
    let regions = "level,code,parent,name\n0,ID,,Indonesia\n";
    let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n";
    Arc::new(Master::parse(levels, regions, facilities).expect("parses"))
}

/// The figures of the country: those that were stored, and in their place those in memory from the first hour on that is kept there.
fn country(engine: &Engine, stored: &BTreeMap<i64, Vec<HourCell>>) -> BTreeMap<i64, HourCell> {
    let rollup = engine.rollup();
    let node = rollup.of_region(RegionIx(0)).expect("the country");
    let older = stored.range(..rollup.hours_kept_from()).map(|(start, cells)| (*start, cells[0]));
    older.chain(rollup.cells(node, i64::MIN)).filter(|(_, cell)| !cell.is_empty()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_not_in_memory_is_in_the_store(
        events in prop::collection::vec((0i64..40, 0i64..(92 * 24 * 60), 0usize..60, 1_000i32..10_000, 0u8..10), 200..300),
    ) {
        let mut engine = Engine::new(EngineConfig::default(), &master());
        let (mut identities, mut dispositions) = (MemoryIdentities::default(), Vec::new());
        let mut stored: BTreeMap<i64, Vec<HourCell>> = BTreeMap::new();
        let mut all: BTreeMap<(usize, i64), Aggregate> = BTreeMap::new();
        let mut expected: BTreeMap<i64, HourCell> = BTreeMap::new();
        let mut now = BEGIN;
        for (n, (hours, ago, device, milli, then)) in events.into_iter().enumerate() {
            now += hours * HOUR_MS;
            let reading = plain_reading(EventTime::from_ms(now - ago * MINUTE_MS), Milli(milli));
            let record = Record {
                identity: Some(Identity(n as u128)),
                is_natural: false,
                body: BodyHash(n as u64),
                topic: Some(Topic::Temperature),
                source: "s".into(),
                sequence: None,
                is_numbered: false,
                // Some of them for the first time: nothing is too late of those.
                content: Content::Reading { device: format!("{device}{}", if n % 2 == 0 { "" } else { "x" }).into(), reading },
            };
            dispositions.clear();
            engine.step([record], ProcessingTime::from_ms(now), &mut identities, &mut dispositions);
            let start = reading.at.ms() - reading.at.ms().rem_euclid(5 * MINUTE_MS);
            if dispositions[0] == Disposition::Accepted {
                all.entry((device * 2 + n % 2, start)).or_default().add(&reading);
            } else if matches!(dispositions[0], Disposition::Late { .. }) {
                let late = HourCell::of_late(reading.temperature, Range::FRIDGE);
                expected.entry(start - start.rem_euclid(HOUR_MS)).or_default().add(&late);
            }
            if then < 4 {
                engine.flush();
            }
            if then < 2 {
                stored.extend(engine.take_changed_hours().into_iter().map(|(start, hour)| (start, hour.cells())));
            }
            if then == 0 {
                let states: Vec<_> = (0..engine.device_count()).map(|index| engine.device_state(index).clone()).collect();
                let hours = stored.iter().map(|(start, cells)| (*start, cells.as_slice().into()));
                engine = Engine::restore(EngineConfig::default(), &master(), engine.now(), engine.totals().clone(), states, hours);
            }
        }
        engine.flush();
        stored.extend(engine.take_changed_hours().into_iter().map(|(start, hour)| (start, hour.cells())));
        for ((_, start), aggregate) in &all {
            let of = Contribution::of(aggregate, Range::FRIDGE);
            let cell = HourCell { windows: 1, low: of.low.into(), high: of.high.into(), readings: of.readings, ..HourCell::default() };
            expected.entry(start - start.rem_euclid(HOUR_MS)).or_default().add(&cell);
        }
        prop_assert_eq!(country(&engine, &stored), expected.clone());
        let all_stored: BTreeMap<i64, HourCell> = stored.iter().map(|(start, cells)| (*start, cells[0])).collect();
        prop_assert_eq!(all_stored, expected);
        // Neither days without end nor days of open hours.
        let (held, open) = engine.rollup().hours_in_memory();
        prop_assert!(held <= 91 * 24 + 3, "{} hours", held);
        prop_assert!(open <= 3 * 24, "{} open hours", open);
        let kept_from = engine.rollup().hours_kept_from();
        prop_assert!(now - kept_from <= 91 * DAY_MS + 2 * HOUR_MS, "nothing was forgotten since {}", kept_from);
    }
}

/// The hierarchy is data: a facility of a village, or of a place below it, counts there and in every place above.
#[test]
fn figures_reach_down_to_where_facilities_are() {
    let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n1,province,Provinsi,Province\n2,regency,Kabupaten,Regency\n\
                  3,district,Kecamatan,District\n4,village,Desa,Village\n5,rw,RW,RW\n6,rt,RT,RT\n";
    let regions = "level,code,parent,name\n0,ID,,Indonesia\n1,32,ID,J\n2,32.17,32,B\n3,32.17.02,32.17,P\n4,32.17.02.2001,32.17.02,V\n\
                   5,32.17.02.2001.05,32.17.02.2001,RW 5\n6,32.17.02.2001.05.01,32.17.02.2001.05,RT 1\n";
    let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n\
                      P321702-1,Posyandu,puskesmas,32.17.02.2001.05,-6.8,107.6,WIB,F1 model\n";
    let master = Arc::new(Master::parse(levels, regions, facilities).expect("parses"));
    assert_eq!((master.counted_regions(), master.counted_parents()), (6, 5));
    let mut engine = Engine::new(EngineConfig::default(), &master);
    let reading = plain_reading(EventTime::from_ms(BEGIN), Milli(9_000));
    let record = Record {
        identity: Some(Identity(1)),
        is_natural: false,
        body: BodyHash(1),
        topic: Some(Topic::Temperature),
        source: "s".into(),
        sequence: None,
        is_numbered: false,
        content: Content::Reading { device: "P321702-1-F1".into(), reading },
    };
    engine.step([record], ProcessingTime::from_ms(BEGIN), &mut MemoryIdentities::default(), &mut Vec::new());
    engine.flush();
    for code in ["ID", "32", "32.17", "32.17.02", "32.17.02.2001", "32.17.02.2001.05"] {
        let node = engine.rollup().of_region(master.region_by_code(code).expect("known")).expect("counted");
        assert_eq!((engine.rollup().counts(node).too_warm, engine.rollup().readings(node)), (1, 1), "{code}");
    }
    assert_eq!(engine.rollup().of_region(master.region_by_code("32.17.02.2001.05.01").expect("known")), None);
    assert_eq!(engine.rollup().first_amiss((BEGIN - DAY_MS, BEGIN + DAY_MS)), None);
}
