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
