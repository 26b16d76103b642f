//! The engine: dispositions, conservation, roll-ups, and that nothing depends on how records are cut into steps.

#[path = "engine/known_tests.rs"]
mod known;

use super::*;
use crate::coldchain::Excursion;
use crate::event::{BodyHash, Identity, Topic};
use crate::feed::{Counts, HISTOGRAM_COLUMNS, SensorFault};
use crate::join::Fix;
use crate::rollup::{HourCell, KNOWN_EVERY_MS, KnownCounts, StoodThen, UNASSIGNED};
use crate::sequence::Sequence;
use crate::time::{DAY_MS, HOUR_MS};
use crate::window::{WindowConfig, WindowState};
use proptest::prelude::*;
use std::collections::BTreeMap;

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
        sequence: None,
        is_numbered: false,
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

/// Lets time pass as a running server does: never longer than it was told to wait.
fn pass(engine: &mut Engine, minute: i64) {
    let until = ProcessingTime::from_ms(NOW + minute * MINUTE_MS);
    while let Some(next) = engine.next_deadline().filter(|next| *next < until) {
        engine.pass_time(next);
    }
    engine.pass_time(until);
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

/// Memory is asked for before anybody judges the time.
#[test]
fn any_time_at_all_has_a_disposition() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    step(&mut e, &mut ids, 0, vec![record("d", 0, 5_000, None)]);
    for (at, reason) in [(i64::MIN, Reason::ClockReset), (0, Reason::ClockReset), (i64::MAX, Reason::Future)] {
        let mut record = record("d", 0, 5_000, Some(at as u128));
        record.content = Content::Reading { device: "d".into(), reading: plain_reading(EventTime::from_ms(at), Milli(5_000)) };
        assert_eq!(step(&mut e, &mut ids, 0, vec![record]), [Disposition::Rejected(reason)], "{at}");
    }
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
fn any_source_is_counted_by_its_name() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    let of = |source: &'static str, minute| Record { source: source.into(), ..record("d", minute, 5_000, None) };
    step(&mut e, &mut ids, 5, vec![of("\0", 0), of("", 1), of("\0", 2)]);
    let by_source: Vec<(&str, u64)> = e.totals().by_source.iter().map(|(name, t)| (name.as_str(), t.received)).collect();
    assert_eq!(by_source, [("\0", 2), ("", 1)]);
}

#[test]
fn an_older_fault_takes_the_place_of_no_newer_one() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    let fault = |minute, code| {
        let sent = SensorFault { at: EventTime::from_ms(NOW + minute * MINUTE_MS), code: Milli(code), status: DeviceStatus::Ok };
        Record { content: Content::Fault { device: "d".into(), fault: sent }, ..record("d", minute, code, None) }
    };
    step(&mut e, &mut ids, 11, vec![fault(10, 85_000), fault(5, -127_000), record("d", 7, 5_000, None)]);
    let index = e.device_by_id("d").expect("heard of");
    assert_eq!(e.device_now(index).fault.map(|fault| fault.code), Some(Milli(85_000)), "the reading is older");
}

/// The newest reading of back-filled ones may be nearly an hour old: no word a few minutes later.
#[test]
fn the_end_of_all_word_is_noticed_at_once() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    step(&mut e, &mut ids, 0, vec![record("P321705-1-F1", -70, 5_000, None)]); // only idleness is waited for, until 15
    step(&mut e, &mut ids, 1, vec![record("P321705-1-F1", -55, 5_000, None)]);
    assert_eq!(e.condition(e.device_by_id("P321705-1-F1").expect("registered")), Condition::Fine);
    let country = e.rollup().of_region(crate::master::RegionIx(0)).expect("the country");
    e.flush();
    let unheard = e.rollup().counts(country).no_word;
    pass(&mut e, 5);
    e.flush();
    assert_eq!(e.rollup().counts(country).no_word, unheard + 1);
}

/// The same readings in any order: the newest tells, and older ones tell since when.
#[test]
fn an_excursion_does_not_depend_on_the_order_of_arrival() {
    let readings = [(0, 5_000), (5, 9_000), (10, 11_000), (15, 8_500)];
    let expected = Excursion { since: EventTime::from_ms(NOW + 5 * MINUTE_MS), peak: Milli(11_000) };
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [3, 0, 1, 2], [0, 3, 2, 1], [2, 0, 3, 1], [3, 1, 0, 2]] {
        let (mut e, mut ids) = (engine(), MemoryIdentities::default());
        let records = order.map(|i: usize| record("d", readings[i].0, readings[i].1, None));
        step(&mut e, &mut ids, 20, records.to_vec());
        assert_eq!(e.device_now(e.device_by_id("d").expect("heard of")).excursion, Some(expected), "{order:?}");
    }
}

/// What is too late for its window still says how bad it was.
#[test]
fn an_excursion_hears_of_late_readings() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    let warm = (1..=8).map(|n| record("d", 5 * n, 9_000, None)).collect();
    step(&mut e, &mut ids, 40, warm);
    let [late] = step(&mut e, &mut ids, 41, vec![record("d", 21, 12_000, None)])[..] else { panic!("one record") };
    assert!(matches!(late, Disposition::Late { .. }), "{late:?}");
    let expected = Excursion { since: EventTime::from_ms(NOW + 5 * MINUTE_MS), peak: Milli(12_000) };
    assert_eq!(e.device_now(e.device_by_id("d").expect("heard of")).excursion, Some(expected));
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
    pass(&mut e, 15);
    let index = e.device_by_id("P321705-1-F1").expect("registered");
    assert!(e.device_state(index).windows.windows(&e.config().windows, 0).all(|w| w.state == WindowState::Incomplete));
    pass(&mut e, 60);
    e.flush();
    let counts = e.rollup().counts(country);
    assert_eq!((counts.too_warm, counts.no_word, counts.facilities_reporting), (0, devices, 0));
    assert_eq!((e.rollup().histogram(country).iter().sum::<u32>(), e.worst(country, 20).len()), (0, 0));
    // That is still to be said once, as of the next five minutes.
    assert_eq!(e.next_deadline().map(|at| (at.ms() % KNOWN_EVERY_MS, at > e.now())), Some((0, true)));
    pass(&mut e, 66);
    assert_eq!(e.next_deadline(), None);
}

/// A device that falls silent while it is too warm is too warm as far as anybody knows (semantics A5).
#[test]
fn silence_ends_no_excursion() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    step(&mut e, &mut ids, 0, vec![record("P321705-1-F1", 0, 9_400, None)]);
    let index = e.device_by_id("P321705-1-F1").expect("registered");
    let open = Some(Excursion { since: EventTime::from_ms(NOW), peak: Milli(9_400) });
    for minute in [14, 15, 16, 60, 600] {
        pass(&mut e, minute);
        assert_eq!(e.device_now(index).excursion, open, "after {minute} minutes");
    }
    assert_eq!(e.condition(index), Condition::NoWord);
    step(&mut e, &mut ids, 600, vec![record("P321705-1-F1", 600, 9_000, None)]);
    assert_eq!(e.device_now(index).excursion, open, "and still is when it comes back");
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
    pass(&mut e, 15); // idle; next in turn is the hour without word
    step(&mut e, &mut ids, 20, vec![record("P321705-1-F1", 20, 5_000, None)]);
    pass(&mut e, 34);
    assert_eq!(state_at(&e, 20), WindowState::Provisional);
    pass(&mut e, 35);
    assert_eq!(state_at(&e, 20), WindowState::Incomplete);
    assert!(e.next_deadline().is_some(), "the hour without word is still to come");
    pass(&mut e, 80);
    assert_eq!(e.next_deadline(), None);
}

/// The idleness clock stops while nobody reads: a restart after hours fires nothing at once.
#[test]
fn time_in_which_nobody_read_is_no_silence() {
    let state = |e: &Engine| {
        let state = e.device_state(e.device_by_id("d").expect("heard of"));
        state.windows.windows(&e.config().windows, 0).next().expect("one").state
    };
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    step(&mut e, &mut ids, 0, vec![record("d", 0, 5_000, None)]);
    pass(&mut e, 10);
    // Down for two hours: what comes first is anybody's record.
    step(&mut e, &mut ids, 130, vec![record("other", 130, 5_000, None)]);
    assert_eq!(state(&e), WindowState::Provisional);
    let (totals, devices, hours) = dump(&mut e);
    let mut e = Engine::restore(EngineConfig::default(), &master(), e.now(), totals, devices, hours);
    pass(&mut e, 134);
    assert_eq!(state(&e), WindowState::Provisional);
    pass(&mut e, 135); // ten minutes before, five after
    assert_eq!(state(&e), WindowState::Incomplete);
    // A clock that is set forward by an hour is no silence either.
    step(&mut e, &mut ids, 140, vec![record("e", 140, 5_000, None)]);
    e.pass_time(ProcessingTime::from_ms(NOW + 200 * MINUTE_MS));
    let of_e = e.device_state(e.device_by_id("e").expect("heard of"));
    assert!(of_e.windows.windows(&e.config().windows, 0).all(|w| w.state == WindowState::Provisional));
    // Back again (the log never goes back): nothing happens.
    e.pass_time(ProcessingTime::from_ms(NOW + 140 * MINUTE_MS));
    assert_eq!(e.now(), ProcessingTime::from_ms(NOW + 200 * MINUTE_MS));
}

/// Neither a clock that is ahead nor one that was reset moves a watermark; neighbours do not notice.
#[test]
fn bad_clocks_move_no_watermark() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    step(&mut e, &mut ids, 0, vec![record("d", 0, 5_000, None), record("n", 0, 5_000, None)]);
    let newest = |e: &Engine, id: &str| e.device_state(e.device_by_id(id).expect("heard of")).windows.newest();
    let (of_d, of_n) = (newest(&e, "d"), newest(&e, "n"));
    for (at, expected) in [
        (NOW + 5 * MINUTE_MS + 1, Reason::Future),
        (NOW + 20_000 * DAY_MS, Reason::Future),
        (0, Reason::ClockReset),                        // 1970
        (946_684_800_000, Reason::ClockReset),          // 2000
        (1_704_067_199_999, Reason::ClockReset),        // the last instant of 2023
        (NOW - 1_024 * 7 * DAY_MS, Reason::ClockReset), // a GPS week rolled over
        (NOW - 90 * DAY_MS - 1, Reason::TooOld),
    ] {
        let mut bad = record("d", 0, 5_000, Some(at as u128));
        bad.content = Content::Reading { device: "d".into(), reading: plain_reading(EventTime::from_ms(at), Milli(5_000)) };
        assert_eq!(step(&mut e, &mut ids, 0, vec![bad]), [Disposition::Rejected(expected)], "{at}");
        assert_eq!((newest(&e, "d"), newest(&e, "n")), (of_d, of_n), "{at}");
    }
}

fn numbered(number: u64, milli: i32) -> Record<'static> {
    let mut record = record("d", number as i64 - 30, milli, Some(1_000 + u128::from(number)));
    record.sequence = Some(Sequence { boot: std::num::NonZeroU64::MIN, number });
    record.is_numbered = true;
    record
}

#[test]
fn running_numbers_tell_duplicates_and_what_is_missing() {
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    let records = [1, 2, 5, 6].map(|n| numbered(n, 5_000)).to_vec();
    assert!(step(&mut e, &mut ids, 0, records).iter().all(|d| *d == Disposition::Accepted));
    let index = e.device_by_id("d").expect("heard of");
    assert_eq!(e.missing(index), 2);
    assert_eq!(step(&mut e, &mut ids, 0, vec![numbered(5, 5_000)]), [Disposition::Duplicate]);
    assert_eq!(step(&mut e, &mut ids, 0, vec![numbered(5, 6_000)]), [Disposition::Rejected(Reason::IdConflict)]);
    assert_eq!(step(&mut e, &mut ids, 0, vec![numbered(4, 5_000)]), [Disposition::Accepted]);
    assert_eq!(e.missing(index), 1);
    // Identities are forgotten one day; a number that was counted is never counted again.
    let mut forgot = MemoryIdentities::default();
    assert_eq!(
        step(&mut e, &mut forgot, 0, vec![numbered(2, 5_000), numbered(3, 5_000)]),
        [Disposition::Duplicate, Disposition::Accepted]
    );
    assert_eq!((e.missing(index), e.totals().all.accepted), (0, 6));
    // A record refused for its time is not counted as come.
    let mut future = numbered(7, 5_000);
    future.content = Content::Reading { device: "d".into(), reading: plain_reading(EventTime::from_ms(NOW + DAY_MS), Milli(0)) };
    step(&mut e, &mut ids, 0, vec![future, numbered(8, 5_000)]);
    assert_eq!(e.missing(index), 1);
}

/// Millionths of a degree east, from which fixes lie so far.
const EAST: i32 = 107_000_000;

fn fix(tracker: &'static str, minute: i64, place: i32) -> Record<'static> {
    let mut record = record(tracker, minute, place, Some(9_000 + minute as u128 * 100 + place as u128));
    let at = EventTime::from_ms(NOW + minute * MINUTE_MS);
    record.content =
        Content::Fix { device: tracker.into(), fix: Fix { at, longitude_e6: EAST + place, latitude_e6: -6_000_000 } };
    record.topic = Some(Topic::Gps);
    record
}

#[test]
fn readings_find_where_they_were_taken() {
    let pairing =
        Pairing { tracker: "truck".into(), device: "box".into(), from_ms: NOW + 10 * MINUTE_MS, to_ms: NOW + 100 * MINUTE_MS };
    let (mut e, mut ids) = (engine(), MemoryIdentities::default());
    e.pair(vec![pairing], ProcessingTime::from_ms(NOW));
    let place = |e: &Engine, id: &str| e.position(e.device_by_id(id).expect("heard of")).map(|fix| fix.longitude_e6 - EAST);
    // A device that is both, by its own id.
    step(&mut e, &mut ids, 0, vec![record("d", 0, 5_000, None), fix("d", 1, 11), fix("d", 2, 12)]);
    assert_eq!(place(&e, "d"), Some(11));
    // The truck carries the box from minute 10 on.
    step(&mut e, &mut ids, 9, vec![record("box", 9, 5_000, None), fix("truck", 9, 21)]);
    assert_eq!(place(&e, "box"), None);
    step(&mut e, &mut ids, 12, vec![fix("truck", 10, 22), record("box", 12, 5_000, None)]);
    assert_eq!(place(&e, "box"), Some(22));
    step(&mut e, &mut ids, 30, vec![fix("truck", 12, 23), fix("truck", 30, 24)]);
    assert_eq!(place(&e, "box"), Some(23));
    let located = |e: &Engine| -> Vec<_> {
        let all = e.derived().filter_map(|d| match d.derived {
            Derived::Located(l) => Some(((l.at.ms() - NOW) / MINUTE_MS, l.fix.map(|fix| fix.longitude_e6 - EAST))),
            _ => None,
        });
        all.collect()
    };
    assert_eq!(located(&e), [(9, Some(22)), (12, Some(23))]);
    // Silent for a quarter of an hour: what waited is settled with what there is.
    pass(&mut e, 46);
    assert_eq!(located(&e), [(9, Some(22)), (12, Some(23)), (0, Some(11))]);
    assert_eq!(e.take_derived().len(), 3);
    assert_eq!(e.derived().count(), 3, "until the next are taken");
}

#[test]
fn sliding_windows_and_sessions_leave_what_the_store_needs() {
    let windows = WindowConfig::parse("10:60,300:120,300/10:120,session 1200:60", 600_000).expect("valid");
    let config = EngineConfig { windows, ..EngineConfig::default() };
    let (mut e, mut ids) = (Engine::new(config, &master()), MemoryIdentities::default());
    let minutes = [-120, -115, -110, -30, -25, -104, 0];
    for minute in minutes {
        step(&mut e, &mut ids, 0, vec![record("P321705-1-F1", minute, 5_000, Some((minute + 500) as u128))]);
    }
    // The session of minutes -120 to -110 can still grow: what follows it is a gap, open for 48 hours.
    assert!(e.derived().all(|d| matches!(d.derived, Derived::Joined { .. })));
    step(&mut e, &mut ids, 49 * 60, vec![record("P321705-1-F1", 49 * 60, 5_000, None)]);
    let sessions: Vec<_> = e
        .take_derived()
        .iter()
        .filter_map(|d| match d.derived {
            Derived::Session { gap_ms, session } => {
                Some((gap_ms, (session.start - NOW) / MINUTE_MS, session.aggregate.count, session.version))
            }
            _ => None,
        })
        .collect();
    // The next one was passed only now: its gaps are open from now on.
    assert_eq!(sessions, [(1_200_000, -120, 4, 2)]);
}

/// Whoever comes after the last for whom there was room is refused, once and for all, whatever is forgotten and restored meanwhile.
#[test]
fn room_for_devices_that_nobody_registered() {
    let config = EngineConfig { max_unregistered: 2, ..EngineConfig::default() };
    let no_room = Disposition::Rejected(Reason::OutOfRange);
    let (mut e, mut ids) = (Engine::new(config.clone(), &master()), MemoryIdentities::default());
    let too_old = record("a", -91 * 1_440, 5_000, Some(1));
    let records =
        vec![too_old, record("b", -1, 5_000, Some(2)), record("c", -1, 5_000, Some(3)), record("c", -91 * 1_440, 5_000, None)];
    let told = step(&mut e, &mut ids, 0, records.clone());
    assert_eq!(told, [Disposition::Rejected(Reason::TooOld), Disposition::Accepted, no_room, no_room]);
    // The country's own are never strangers, those that are there stay, and a record of no device needs no room.
    let other = Record { content: Content::Other { at: None }, identity: None, ..record("c", 0, 0, None) };
    let fault = SensorFault { at: EventTime::from_ms(NOW), code: Milli(85_000), status: DeviceStatus::Ok };
    let fault = Record { content: Content::Fault { device: "d".into(), fault }, ..record("d", 0, 0, None) };
    let more = vec![record("P321705-1-F1", -1, 5_000, None), record("a", -1, 5_000, None), other, fault];
    let accepted = Disposition::Accepted;
    assert_eq!(step(&mut e, &mut ids, 1, more), [accepted, accepted, accepted, no_room]);
    assert_eq!(e.totals().by_reason[Reason::OutOfRange as usize], 3);
    assert_eq!((e.device_count(), e.device_by_id("c")), (3 + 2, None));
    // What a restart reads again it remembers as it was judged.
    let (totals, devices, hours) = dump(&mut e);
    let mut again = Engine::restore(config.clone(), &master(), e.now(), totals, devices, hours);
    let mut remembered = MemoryIdentities::default();
    let judged = records.iter().map(|record| again.as_judged(record.clone()));
    Engine::remember(&config, judged, ProcessingTime::from_ms(NOW), &mut remembered);
    for (engine, ids) in [(&mut e, &mut ids), (&mut again, &mut remembered)] {
        assert_eq!(step(engine, ids, 2, records.clone()), [Disposition::Duplicate; 4]);
        assert_eq!(step(engine, ids, 2, vec![record("e", 2, 5_000, None), record("b", 2, 5_000, None)]), [no_room, accepted]);
    }
    // With more room it is another state: the identity was never taken.
    let wider = EngineConfig { max_unregistered: 3, ..config };
    let (totals, devices, hours) = dump(&mut again);
    let mut wider = Engine::restore(wider, &master(), again.now(), totals, devices, hours);
    assert_eq!(step(&mut wider, &mut remembered, 3, vec![record("c", -1, 5_000, Some(3))]), [accepted]);
}

/// C2 by hour: closed and open windows hold what is counted, and a closed one that is missing is told, from the very start of the first
/// hour on; not of a size whose windows reach from one hour into the next.
#[test]
fn windows_hold_what_hours_count() {
    let windows = WindowConfig::parse("10:60,300:120,420:120", 600_000).expect("valid");
    let config = EngineConfig { windows: windows.clone(), ..EngineConfig::default() };
    let (mut e, mut ids) = (Engine::new(config, &master()), MemoryIdentities::default());
    for minute in -300..0 {
        let of = |device| record(device, minute, 5_000, None);
        step(&mut e, &mut ids, minute, vec![of("P321705-1-F1"), of("x")]);
    }
    e.flush();
    let closed = e.take_closed();
    let hour_of = |at: i64| at - at.rem_euclid(HOUR_MS);
    let from = hour_of(NOW - 290 * MINUTE_MS) + HOUR_MS;
    let size_of = |closed: &ClosedWindow| windows.definitions()[usize::from(closed.definition)].size_ms;
    let held = |since: i64, without: Option<usize>| {
        let mut held = ReadingsHeld::since(since);
        for (_, c) in closed.iter().enumerate().filter(|(place, _)| Some(*place) != without) {
            held.add(size_of(c), std::iter::once((c.window.start, c.window.aggregate.count)));
        }
        held
    };
    assert_eq!(held(from - 1, None).from(), from);
    let open = (0..e.device_count()).map(|i| e.device_state(i).windows.windows(&windows, 0).count()).sum::<usize>();
    for since in [from, from - 1, from - HOUR_MS] {
        assert_eq!(e.first_uneven_hour(held(since, None)), None, "since {since}");
    }
    let mut kinds = [0; 3];
    for (place, gone) in closed.iter().enumerate() {
        let (start, size_ms, of_hour) = (gone.window.start, size_of(gone), hour_of(gone.window.start));
        let expected =
            (start >= from && size_ms != 420_000).then_some((of_hour, size_ms, u64::from(gone.window.aggregate.count)));
        let found = e.first_uneven_hour(held(from, Some(place)));
        assert_eq!(found.map(|uneven| (uneven.hour, uneven.size_ms, uneven.counted - uneven.held)), expected, "{gone:?}");
        kinds[usize::from(gone.definition)] += u32::from(start >= from);
    }
    assert!(kinds.iter().all(|closed| *closed > 0) && open > 0, "{kinds:?}, {open} open");
    assert!(closed.iter().any(|c| c.window.start == from), "a window begins with the first hour");
    // As many readings too many.
    let mut more = held(from, None);
    more.add(10_000, std::iter::once((from + 10_000, 3)));
    let told = e.first_uneven_hour(more).map(|uneven| (uneven.hour, uneven.size_ms, uneven.held - uneven.counted));
    assert_eq!(told, Some((from, 10_000, 3)));
}

type Hours = Vec<(i64, PackedHour)>;

fn with_all_windows() -> EngineConfig {
    let windows = WindowConfig::parse("10:60,300:120,300/10:120,session 900:60", 600_000).expect("valid");
    EngineConfig { windows, ..EngineConfig::default() }
}

/// Everything a checkpoint would hold, in a comparable form.
fn dump(e: &mut Engine) -> (Totals, Vec<DeviceState>, Hours) {
    e.flush();
    let devices = (0..e.device_count()).map(|i| e.device_state(i).clone()).collect();
    (e.totals().clone(), devices, e.take_changed_hours())
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
        let (mut one, mut ids) = (Engine::new(with_all_windows(), &master()), MemoryIdentities::default());
        let all = step(&mut one, &mut ids, 0, records.clone());
        let tally = one.totals().all;
        prop_assert_eq!(tally.received, tally.accepted + tally.duplicate + tally.late + tally.rejected);
        prop_assert_eq!(tally.received, records.len() as u64);

        let (mut two, mut ids) = (Engine::new(with_all_windows(), &master()), MemoryIdentities::default());
        let cut = cut.min(records.len());
        let mut dispositions = Vec::new();
        for (i, r) in records[..cut].iter().enumerate() {
            dispositions.extend(step(&mut two, &mut ids, 0, vec![r.clone()]));
            if flushes >> (i % 64) & 1 == 1 {
                two.flush();
            }
        }
        let mut closed = two.take_closed();
        let mut derived = two.take_derived().to_vec();
        let (totals, devices, hours) = dump(&mut two);
        let mut three = Engine::restore(with_all_windows(), &master(), two.now(), totals, devices, hours);
        let restored_country = three.rollup().of_region(crate::master::RegionIx(0)).expect("the country");
        prop_assert_eq!(three.rollup().counts(restored_country), two.rollup().counts(restored_country));
        dispositions.extend(step(&mut three, &mut ids, 0, records[cut..].to_vec()));
        prop_assert_eq!(dispositions, all);
        closed.extend(three.take_closed());
        derived.extend(three.take_derived().iter());
        prop_assert_eq!(derived, one.take_derived().to_vec());
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
        let sum = |region| one.master().children(region).map(of).sum::<u64>();
        prop_assert_eq!(of(country), sum(country) + one.rollup().readings(one.rollup().unassigned()));
        prop_assert_eq!(of(country), tally.accepted);
        let regions = (0..REGIONS.lines().count() as u32 - 1).map(crate::master::RegionIx);
        for region in regions.clone().filter(|region| one.master().children(*region).next().is_some() && *region != country) {
            prop_assert_eq!(of(region), sum(region));
        }
        // However often they were brought up to date meanwhile.
        for region in regions {
            let hours = |e: &Engine| e.rollup().cells(e.rollup().of_region(region).expect("above villages"), i64::MIN).collect::<Vec<_>>();
            prop_assert_eq!(hours(&three), hours(&one));
        }
        // What was late is in no window, and in its hour all the same.
        let late = |node| one.rollup().cells(node, i64::MIN).map(|(_, cell)| u64::from(cell.late)).sum::<u64>();
        let late_of = |region| late(one.rollup().of_region(region).expect("above villages"));
        prop_assert_eq!(late_of(country), tally.late);
        prop_assert_eq!(late_of(country), one.master().children(country).map(late_of).sum::<u64>() + late(one.rollup().unassigned()));
    }
}
