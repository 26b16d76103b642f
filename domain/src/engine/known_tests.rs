//! What was known at a moment is what follows from the records received before it.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// What was known at T is what follows from the records received before T, whatever came later; also over a restart.
    #[test]
    fn as_known_at(
        events in prop::collection::vec((0usize..4, 0i64..6, -300i64..1, 0i32..12_000), 1..60),
        cut in 0usize..60,
        asked in -1i64..80,
    ) {
        let names = ["P321705-1-F1", "P321705-1-F2", "P321702-1-F1", "x"];
        let (mut one, mut ids) = (engine(), MemoryIdentities::default());
        let (mut then, mut then_ids) = (engine(), MemoryIdentities::default());
        let mut versions: Vec<KnownHour> = Vec::new();
        let mut minute = 0;
        let known_at = (NOW + asked * 5 * MINUTE_MS) / KNOWN_EVERY_MS * KNOWN_EVERY_MS;
        for (n, (device, wait, ago, milli)) in events.into_iter().enumerate() {
            minute += wait;
            let record = record(names[device], minute + ago, milli, Some(n as u128));
            step(&mut one, &mut ids, minute, vec![record.clone()]);
            if NOW + minute * MINUTE_MS < known_at {
                step(&mut then, &mut then_ids, minute, vec![record]);
            }
            if n == cut {
                versions.extend(one.take_known_hours().iter().cloned());
                let (totals, devices, hours) = dump(&mut one);
                one = Engine::restore(EngineConfig::default(), &master(), one.now(), totals, devices, hours);
            }
        }
        one.pass_time(ProcessingTime::from_ms(NOW + 500 * MINUTE_MS));
        versions.extend(one.known_hours().cloned());
        let mut cells: BTreeMap<(i64, u32), HourCell> = BTreeMap::new();
        for version in versions.iter().filter(|version| version.known_at <= known_at) {
            cells.extend(version.cells.iter().map(|(region, cell)| ((version.hour, *region), *cell)));
        }
        cells.retain(|_, cell| *cell != HourCell::default());
        then.flush();
        let mut expected: BTreeMap<(i64, u32), HourCell> = BTreeMap::new();
        for (hour, own) in then.take_changed_hours() {
            expected.extend(own.cells().into_iter().zip(0..).map(|(cell, region)| ((hour, region), cell)));
        }
        expected.retain(|_, cell| *cell != HourCell::default());
        prop_assert_eq!(cells, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// How equipment stood at T is what follows from the readings received before T, as of T, whatever came later; also over restarts, and
    /// where the log has no entry for hours or days. The newest whole picture and what follows it say all.
    #[test]
    fn counts_as_known_at(
        events in prop::collection::vec((0usize..4, prop_oneof![6 => 0i64..9, 1 => 0i64..200, 1 => 1_000i64..4_000], -90i64..6, -2_000i32..12_000, 0u8..8), 1..60),
        asked in prop::collection::vec(0i64..900, 1..20),
    ) {
        let names = ["P321705-1-F1", "P321705-1-F2", "P321702-1-F1", "x"];
        let (mut one, mut ids) = (engine(), MemoryIdentities::default());
        let mut versions: Vec<KnownCounts> = Vec::new();
        let mut accepted: Vec<(i64, usize, i64, i32)> = Vec::new();
        let mut minute = 0;
        for (n, (device, wait, ago, milli, then)) in events.into_iter().enumerate() {
            minute += wait;
            let told = step(&mut one, &mut ids, minute, vec![record(names[device], minute + ago, milli, Some(n as u128))]);
            if told == [Disposition::Accepted] {
                accepted.push((minute, device, minute + ago, milli));
            }
            if then < 3 {
                one.flush();
            }
            if then < 2 {
                versions.extend(one.take_known_counts().iter().cloned());
            }
            if then == 0 {
                let (totals, devices, hours) = dump(&mut one);
                one = Engine::restore(EngineConfig::default(), &master(), one.now(), totals, devices, hours);
                let mut then = StoodThen::default();
                for version in &versions {
                    then.take(version);
                }
                one.restore_known_counts(&then);
            }
        }
        pass(&mut one, minute + 500);
        versions.extend(one.known_counts().cloned());
        let until = one.now().ms();
        let last = (until - NOW) / (5 * MINUTE_MS);
        for at in asked.into_iter().map(|n| (NOW + n * last / 900 * 5 * MINUTE_MS) / KNOWN_EVERY_MS * KNOWN_EVERY_MS) {
            let known = || versions.iter().filter(|version| version.known_at <= at);
            let mut then = StoodThen::default();
            known().for_each(|version| then.take(version));
            let mut from_whole = StoodThen::default();
            let whole = known().collect::<Vec<_>>().iter().rposition(|version| version.is_whole).unwrap_or(0);
            known().skip(whole).for_each(|version| from_whole.take(version));
            prop_assert_eq!(from_whole.facilities().collect::<Vec<_>>(), then.facilities().collect::<Vec<_>>());
            prop_assert_eq!(from_whole.columns().collect::<Vec<_>>(), then.columns().collect::<Vec<_>>());
            let counts = one.rollup().counts_then(&then);
            let mut expected = Counts { devices: 3, facilities: 2, ..Counts::default() };
            let mut histogram = vec![0; HISTOGRAM_COLUMNS];
            let mut reporting = std::collections::BTreeSet::new();
            for (device, name) in names.iter().enumerate().take(3) {
                let own = accepted.iter().filter(|of| of.1 == device && NOW + of.0 * MINUTE_MS < at);
                // Of two of one time the worse is the newest: farther outside, or as far and colder.
                let range = Range::FRIDGE;
                let worse = |of: &&(i64, usize, i64, i32)| (of.2, range.distance(Milli(of.3)), std::cmp::Reverse(of.3));
                let newest = own.max_by_key(worse);
                let is_fresh = |of: &&(i64, usize, i64, i32)| at < NOW + (of.2 + 60) * MINUTE_MS;
                let condition = newest.filter(is_fresh).map_or(Condition::NoWord, |of| Range::FRIDGE.condition(Milli(of.3)));
                *expected.of(condition) += 1;
                if condition != Condition::NoWord {
                    reporting.insert(&name[..9]);
                    histogram[usize::from(histogram_column(Milli(newest.expect("it is fresh").3)))] += 1;
                }
            }
            expected.facilities_reporting = reporting.len() as u32;
            let country = one.rollup().of_region(crate::master::RegionIx(0)).expect("the country");
            prop_assert_eq!(counts.of(country), expected, "at minute {}", (at - NOW) / MINUTE_MS);
            prop_assert_eq!(one.rollup().histogram_then(country, &then), histogram, "at minute {}", (at - NOW) / MINUTE_MS);
        }
        // What is not said yet is as it stands, also a while ahead.
        one.flush();
        for ahead in [0, 30, 70] {
            let at = ProcessingTime::from_ms(until + ahead * MINUTE_MS);
            let country = one.rollup().of_region(crate::master::RegionIx(0)).expect("the country");
            let seen = one.standing_at(at, |rollup| rollup.counts(country));
            let mut later = one.clone();
            later.pass_time(at);
            later.flush();
            prop_assert_eq!(seen, later.rollup().counts(country));
        }
        prop_assert_eq!(one.rollup().counts(one.rollup().unassigned()), Counts::default());
    }
}
