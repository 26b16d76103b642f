//! The engine: dispositions, conservation, roll-ups, and that nothing depends on how records are cut into steps.

use super::*;
use crate::event::{BodyHash, Identity, Topic};
use crate::rollup::UNASSIGNED;
use crate::window::WindowState;
use proptest::prelude::*;

const NOW: i64 = 1_795_000_000_000; // November 2026

const LEVELS: &str = "depth,key,name_id,name_en\n0,country,Negara,Country\n1,province,Provinsi,Province\n\
    2,regency,Kabupaten,Regency\n3,district,Kecamatan,District\n";
const REGIONS: &str = "level,code,parent,name\n0,ID,,Indonesia\n1,11,ID,Aceh\n1,32,ID,Jawa Barat\n2,32.17,32,Bandung Barat\n\
    3,32.17.02,32.17,Parongpong\n3,32.17.05,32.17,Lembang\n";
const FACILITIES: &str = "code,name,kind,region,latitude,longitude,zone,equipment\n\
    P321705-1,Puskesmas Lembang,puskesmas,32.17.05,-6.8,107.6,WIB,F1 Haier HBC-80;F2 Haier HBC-80\n\
    P321702-1,Puskesmas Parongpong,puskesmas,32.17.02,-6.8,107.6,WIB,F1 Haier HBC-80\n";

fn master() -> Arc<Master> {
    Arc::new(Master::parse(LEVELS, REGIONS, FACILITIES).expect("the sample parses"))
}

fn engine() -> Engine {
    Engine::new(EngineConfig::default(), &master())
}

/// A record of `device` at `minute` minutes from [`NOW`], identified by device and time unless `id` is given.
fn record(device: &'static str, minute: i64, milli: i32, id: Option<u128>) -> Record<'static> {
    let at = EventTime::from_ms(NOW + minute * MINUTE_MS);
    let natural = device.bytes().fold(0u128, |h, b| h * 257 + u128::from(b)) << 64 | at.ms() as u128;
    Record {
        identity: Some(Identity(id.unwrap_or(natural))),
        is_natural: id.is_none(),
        body: BodyHash(milli as u64),
        topic: Some(Topic::Temperature),
        source: "test".into(),
        content: Content::Reading { device: device.into(), reading: plain_reading(at, Milli(milli)) },
    }
}

fn step(engine: &mut Engine, ids: &mut MemoryIdentities, minute: i64, records: Vec<Record<'_>>) -> Vec<Disposition> {
    let mut dispositions = Vec::new();
    engine.step(records, ProcessingTime::from_ms(NOW + minute * MINUTE_MS), ids, &mut dispositions);
    dispositions
}

#[test]
fn one_disposition_each() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    let rejected = |reason| Disposition::Rejected(reason);
    let mut check = |record: Record<'static>, expected: Disposition| {
        assert_eq!(step(&mut e, &mut ids, 0, vec![record.clone()]), [expected], "{record:?}");
    };
    check(record("d", 0, 5_000, Some(1)), Disposition::Accepted);
    check(record("d", 0, 5_000, Some(1)), Disposition::Duplicate);
    check(record("d", 0, 5_001, Some(1)), rejected(Reason::IdConflict));
    check(record("d", 0, 5_001, Some(1)), Disposition::Duplicate); // the same rejected record again
    check(record("d", 0, 5_002, Some(1)), rejected(Reason::IdConflict)); // another
    check(record("n", 0, 5_000, None), Disposition::Accepted);
    check(record("n", 0, 6_000, None), rejected(Reason::ConflictingReading));
    check(record("d", 5, 5_000, None), Disposition::Accepted); // five minutes ahead, not more
    check(record("d", 6, 5_000, None), rejected(Reason::Future));
    check(record("d", -90 * 24 * 60 - 1, 5_000, None), rejected(Reason::TooOld));
    let mut reset = record("d", 0, 5_000, Some(9));
    reset.content = Content::Reading { device: "d".into(), reading: plain_reading(EventTime::from_ms(1_000), Milli(5_000)) };
    check(reset, rejected(Reason::ClockReset));
    let mut malformed = record("d", 0, 0, None);
    (malformed.identity, malformed.content) = (None, Content::Rejected(Reason::MalformedJson));
    check(malformed.clone(), rejected(Reason::MalformedJson));
    check(malformed, rejected(Reason::MalformedJson)); // without an identity there is no duplicate
    let t = e.totals().all;
    assert_eq!((t.received, t.accepted, t.duplicate, t.rejected), (13, 3, 2, 8));
    // What was refused for its time is accepted when its time has come.
    assert_eq!(step(&mut e, &mut ids, 1, vec![record("d", 6, 5_000, None)]), [Disposition::Accepted]);
}

#[test]
fn faults_are_shown_and_counted_in_no_window() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    step(&mut e, &mut ids, 0, vec![record("P321705-1-F1", 0, 5_000, None)]);
    let mut fault = record("P321705-1-F1", 1, 85_000, None);
    let sent = SensorFault { at: EventTime::from_ms(NOW + MINUTE_MS), code: Milli(85_000), status: DeviceStatus::Ok };
    fault.content = Content::Fault { device: "P321705-1-F1".into(), fault: sent };
    assert_eq!(step(&mut e, &mut ids, 1, vec![fault]), [Disposition::Rejected(Reason::SensorFault)]);
    let index = e.device_by_id("P321705-1-F1").expect("registered");
    assert_eq!(e.device_now(index).fault, Some(sent));
    assert_eq!((e.device_now(index).condition, e.device_now(index).excursion), (Condition::Fine, None));
    assert_eq!(e.device_state(index).windows.windows(&e.config().windows, 0).map(|w| w.aggregate.count).sum::<u32>(), 1);
    step(&mut e, &mut ids, 2, vec![record("P321705-1-F1", 2, 5_000, None)]);
    assert_eq!(e.device_now(index).fault, None);
}

#[test]
fn standing_follows_readings_and_silence() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    let country = e.rollup().of_region(crate::master::RegionIx(0)).expect("the country");
    let devices = e.rollup().counts(country).devices;
    assert_eq!(e.rollup().counts(country).no_word, devices);
    step(&mut e, &mut ids, 0, vec![record("P321705-1-F1", 0, 9_400, None), record("nobody", 0, 9_400, None)]);
    e.flush();
    let counts = e.rollup().counts(country);
    assert_eq!((counts.too_warm, counts.no_word, counts.facilities_reporting), (1, devices - 1, 1));
    assert_eq!(e.worst(country, 20).len(), 1);
    assert_eq!(e.rollup().histogram(country).iter().sum::<u32>(), 1);
    assert_eq!(e.condition(e.device_by_id("nobody").expect("heard of")), Condition::TooWarm);
    assert_eq!(e.rollup().readings(e.rollup().unassigned()), 1, "{UNASSIGNED}");
    assert_eq!(e.rollup().readings(country), 2);
    // Fifteen minutes of silence: incomplete windows. An hour: no word.
    e.pass_time(ProcessingTime::from_ms(NOW + 15 * MINUTE_MS));
    let index = e.device_by_id("P321705-1-F1").expect("registered");
    assert!(e.device_state(index).windows.windows(&e.config().windows, 0).all(|w| w.state == WindowState::Incomplete));
    assert_eq!(e.next_deadline(), Some(ProcessingTime::from_ms(NOW + 60 * MINUTE_MS)));
    e.pass_time(ProcessingTime::from_ms(NOW + 60 * MINUTE_MS));
    e.flush();
    let counts = e.rollup().counts(country);
    assert_eq!((counts.too_warm, counts.no_word, counts.facilities_reporting), (0, devices, 0));
    assert_eq!((e.rollup().histogram(country).iter().sum::<u32>(), e.worst(country, 20).len()), (0, 0));
    assert_eq!(e.next_deadline(), None);
}

#[test]
fn silence_after_a_return_is_noticed_in_time() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    let state_at = |e: &Engine, start: i64| {
        let index = e.device_by_id("P321705-1-F1").expect("registered");
        let found = e
            .device_state(index)
            .windows
            .windows(&e.config().windows, 0)
            .find(|w| w.start == NOW + start * MINUTE_MS)
            .map(|w| w.state);
        found.expect("still here")
    };
    step(&mut e, &mut ids, 0, vec![record("P321705-1-F1", 0, 5_000, None)]);
    e.pass_time(ProcessingTime::from_ms(NOW + 15 * MINUTE_MS)); // idle; next in turn is the hour without word
    step(&mut e, &mut ids, 20, vec![record("P321705-1-F1", 20, 5_000, None)]);
    assert_eq!(e.next_deadline(), Some(ProcessingTime::from_ms(NOW + 35 * MINUTE_MS)));
    assert_eq!(state_at(&e, 20), WindowState::Provisional);
    e.pass_time(ProcessingTime::from_ms(NOW + 35 * MINUTE_MS));
    assert_eq!(state_at(&e, 20), WindowState::Incomplete);
    assert_eq!(e.next_deadline(), Some(ProcessingTime::from_ms(NOW + 80 * MINUTE_MS)));
}

type Hours = Vec<(i64, Vec<crate::rollup::HourCell>)>;

/// Everything a checkpoint would hold, in a comparable form.
fn dump(e: &mut Engine) -> (Totals, Vec<DeviceState>, Hours) {
    e.flush();
    let devices = (0..e.device_count()).map(|i| e.device_state(i).clone()).collect();
    (e.totals().clone(), devices, e.rollup_mut().take_changed_hours())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// C1 to C3, and crash-equivalence: however the log is cut into steps, and wherever the engine is put away and restored.
    #[test]
    fn conservation_and_restart(
        events in prop::collection::vec((0usize..5, -400i64..1, 1_000i32..10_000, prop::option::of(0u128..40)), 1..150),
        cut in 0usize..150,
        flushes in any::<u64>(),
    ) {
        let names = ["P321705-1-F1", "P321705-1-F2", "P321702-1-F1", "x", "y"];
        let records: Vec<_> = events.iter().map(|(d, m, t, id)| record(names[*d], *m, *t, *id)).collect();
        let (mut one, mut ids) = (engine(), MemoryIdentities::default());
        let all = step(&mut one, &mut ids, 0, records.clone());
        let tally = one.totals().all;
        prop_assert_eq!(tally.received, tally.accepted + tally.duplicate + tally.late + tally.rejected);
        prop_assert_eq!(tally.received, records.len() as u64);

        let (mut two, mut ids) = (engine(), MemoryIdentities::default());
        let cut = cut.min(records.len());
        let mut dispositions = Vec::new();
        for (i, r) in records[..cut].iter().enumerate() {
            dispositions.extend(step(&mut two, &mut ids, 0, vec![r.clone()]));
            if flushes >> (i % 64) & 1 == 1 {
                two.flush();
            }
        }
        let mut closed = two.take_closed();
        let (totals, devices, hours) = dump(&mut two);
        let mut three = Engine::restore(EngineConfig::default(), &master(), two.now(), totals, devices, hours);
        let restored_country = three.rollup().of_region(crate::master::RegionIx(0)).expect("the country");
        prop_assert_eq!(three.rollup().counts(restored_country), two.rollup().counts(restored_country));
        dispositions.extend(step(&mut three, &mut ids, 0, records[cut..].to_vec()));
        prop_assert_eq!(dispositions, all);
        closed.extend(three.take_closed());
        let (one_closed, one_dump) = (one.take_closed(), dump(&mut one));
        three.flush();
        prop_assert_eq!(&closed.iter().map(|c| (c.device, c.window.start, c.window.aggregate)).collect::<Vec<_>>(),
            &one_closed.iter().map(|c| (c.device, c.window.start, c.window.aggregate)).collect::<Vec<_>>());
        let three_dump = dump(&mut three);
        prop_assert_eq!(&three_dump.0, &one_dump.0);
        prop_assert_eq!(&three_dump.1, &one_dump.1);

        // C2: accepted readings are the sum of window counts, for every size. C3: the country is the sum of its parts.
        for d in 0..2u8 {
            let open: u64 = one_dump.1.iter().flat_map(|s| s.windows.windows(&one.config().windows, usize::from(d))).map(|w| u64::from(w.aggregate.count)).sum();
            let gone: u64 = one_closed.iter().filter(|c| c.definition == d).map(|c| u64::from(c.window.aggregate.count)).sum();
            prop_assert_eq!(open + gone, tally.accepted);
        }
        let country = crate::master::RegionIx(0);
        let of = |region| one.rollup().readings(one.rollup().of_region(region).expect("above villages"));
        let children: u64 = one.master().children(country).map(of).sum();
        prop_assert_eq!(of(country), children + one.rollup().readings(one.rollup().unassigned()));
        prop_assert_eq!(of(country), tally.accepted);
    }
}
