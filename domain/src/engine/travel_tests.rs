//! Pairings that come, change and go, and fixes that another partition hands on.

use super::super::{Content, Derived, Disposition, MemoryIdentities, plain_reading};
use super::*;
use crate::event::{BodyHash, Identity, Topic};
use crate::master::Master;
use crate::milli::Milli;
use crate::time::MINUTE_MS;
use proptest::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

const NOW: i64 = 1_795_000_000_000;
/// Millionths of a degree east: fixes lie as far from there as their minute says.
const EAST: i32 = 107_000_000;

fn at(minute: i64) -> ProcessingTime {
    ProcessingTime::from_ms(NOW + minute * MINUTE_MS)
}

/// A pairing for all times, `tracker>device`.
fn pairings(text: &str) -> Vec<Pairing> {
    let each = |pair: &str| {
        let (tracker, device) = pair.split_once('>').expect("a tracker and a device");
        Pairing { tracker: tracker.into(), device: device.into(), from_ms: i64::MIN, to_ms: i64::MAX }
    };
    text.split_whitespace().map(each).collect()
}

/// A record of that device at that minute: a fix, which tells its minute as its place, or a reading.
fn record(device: &str, minute: i64, is_fix: bool) -> Record<'static> {
    let time = EventTime::from_ms(NOW + minute * MINUTE_MS);
    let name = device.bytes().fold(u128::from(is_fix), |hash, byte| hash * 257 + u128::from(byte));
    let device = Cow::Owned(device.to_owned());
    let content = if is_fix {
        Content::Fix { device, fix: Fix { at: time, longitude_e6: EAST.wrapping_add(minute as i32), latitude_e6: -6_000_000 } }
    } else {
        Content::Reading { device, reading: plain_reading(time, Milli(5_000)) }
    };
    Record {
        identity: Some(Identity(name << 64 | time.ms() as u128)),
        is_natural: true,
        body: BodyHash(minute as u64),
        sequence: None,
        is_numbered: false,
        topic: Some(if is_fix { Topic::Gps } else { Topic::Temperature }),
        source: Cow::Borrowed("test"),
        content,
    }
}

/// A partition of the input.
struct Partition {
    engine: Engine,
    identities: MemoryIdentities,
}

impl Partition {
    fn new(config: EngineConfig) -> Self {
        let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n";
        let regions = "level,code,parent,name\n0,ID,,Indonesia\n";
        let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n";
        let master = Arc::new(Master::parse(levels, regions, facilities).expect("parses"));
        Self { engine: Engine::new(config, &master), identities: MemoryIdentities::default() }
    }

    /// Lives through what comes in, minute by minute: `r box 3` a reading of minute 3, `f truck 3` a fix, `h box truck 3` a fix that was
    /// handed on for the box, `p truck>box` pairings.
    fn live(&mut self, events: &str) -> &mut Self {
        for event in events.split(';').map(str::trim).filter(|event| !event.is_empty()) {
            let now = self.engine.now().max(at(0));
            let words: Vec<&str> = event.split_whitespace().collect();
            let minute = || words[words.len() - 1].parse::<i64>().expect("a minute");
            match words[0] {
                "p" => self.engine.pair(pairings(&words[1..].join(" ")), now),
                "h" => {
                    let record = record(words[2], minute(), true);
                    self.engine.take_handed_on(words[1], &record, now.max(at(minute())), &mut self.identities);
                }
                kind => {
                    let record = record(words[1], minute(), kind == "f");
                    let mut dispositions = Vec::new();
                    self.engine.step([record], now.max(at(minute())), &mut self.identities, &mut dispositions);
                    assert!(!matches!(dispositions[0], Disposition::Rejected(_)), "{event}");
                }
            }
        }
        self
    }

    /// Settled readings of a device, `minute>minute of the fix`.
    fn settled(&self, id: &str) -> String {
        let index = self.engine.device_by_id(id);
        let own = self.engine.derived().filter(|of| Some(of.device) == index);
        let told = own.filter_map(|of| match of.derived {
            Derived::Located(l) => Some(format!(
                "{}>{}",
                (l.at.ms() - NOW) / MINUTE_MS,
                l.fix.map_or("-".into(), |f| (f.longitude_e6 - EAST).to_string())
            )),
            _ => None,
        });
        told.collect::<Vec<_>>().join(" ")
    }
}

#[track_caller]
fn check(events: &str, device: &str, settled: &str) {
    assert_eq!(Partition::new(EngineConfig::default()).live(events).settled(device), settled, "{events}");
}

#[test]
fn a_device_travels_from_the_note_of_its_pairing_on() {
    // Every reading since waits for fixes, whichever side comes first.
    check("p truck>box; r box 1; r box 2; f truck 1; f truck 2; f truck 30", "box", "1>1 2>2");
    check("p truck>box; f truck 1; f truck 2; r box 1; r box 2; f truck 30", "box", "1>1 2>2");
    // Of those before it the newest can still be placed.
    check("r box 1; r box 2; p truck>box; f truck 1; f truck 2; f truck 30", "box", "2>2");
    // A tracker that carries nothing is where it is itself.
    check("r truck 1; f truck 1; f truck 30", "truck", "1>1");
    check("p truck>box; r truck 1; f truck 1; f truck 30", "truck", "");
}

#[test]
fn a_pairing_that_changes_counts_from_there_on() {
    check("p a>box; r box 1; f a 1; p b>box; r box 2; f a 2; f b 3; f b 30", "box", "1>1 2>1");
    // What waits when it ends is settled as it stands, and nothing waits any more.
    check("p a>box; r box 1; f a 1; p; r box 2; f a 2; f a 30", "box", "1>1");
    // So is what a tracker had of itself before it carried others.
    check("r a 1; f a 1; p a>box; f a 2", "a", "1>1");
    // The same once more is no change.
    check("p a>box; r box 1; f a 1; p a>box; f a 2; f a 30", "box", "1>1");
}

/// The configuration says what should be; what is, the log says.
#[test]
fn the_log_says_who_travels_with_whom() {
    let config = || EngineConfig { pairings: pairings("truck>box"), ..EngineConfig::default() };
    let mut partition = Partition::new(config());
    partition.live("r box 1; f truck 1; f truck 30");
    assert_eq!((partition.engine.pairings(), partition.settled("box").as_str()), (&[][..], ""));
    let mut partition = Partition::new(config());
    partition.live("p other>box; r box 1; f truck 1; f other 2; f other 30");
    assert_eq!(partition.settled("box"), "1>2");
    // It is known after a restart.
    let Partition { engine, identities } = partition;
    let states: Vec<_> = (0..engine.device_count()).map(|index| engine.device_state(index).clone()).collect();
    let engine = Engine::restore(config(), &engine.master, engine.now(), engine.totals.clone(), states, []);
    let mut again = Partition { engine, identities };
    assert_eq!(again.live("r box 31; f truck 31; f other 32; f other 60").settled("box"), "31>30");
}

#[test]
fn a_fix_that_is_handed_on_counts_once_and_is_no_record() {
    let direct = "r box 1; f truck 1; r box 2; f truck 2; f truck 30";
    let mut whole = Partition::new(EngineConfig::default());
    whole.live("p truck>box").live(direct);
    let mut own = Partition::new(EngineConfig::default());
    own.live("p truck>box; r box 1; h box truck 1; r box 2; h box truck 2; h box truck 30");
    let state = |partition: &Partition| {
        let index = partition.engine.device_by_id("box").expect("known");
        (partition.engine.device_state(index).clone(), partition.settled("box"))
    };
    assert_eq!(state(&own), state(&whole));
    assert_eq!((own.engine.totals().all.received, own.engine.device_by_id("truck")), (2, None));
    // Once more, in any order, also when the join has let go of them: nothing changes.
    let before = (state(&own), own.engine.totals().clone());
    own.live("r box 60; h box truck 60");
    let moved = (state(&own), own.engine.totals().clone());
    own.live("h box truck 2; h box truck 60; h box truck 1; h box truck 30");
    assert!(before != moved && (state(&own), own.engine.totals().clone()) == moved);
    // Let go of, and wanted again by a reading that is late: what comes twice is of no use to it.
    let mut held = Partition::new(EngineConfig::default());
    held.live("p truck>box; r box 1; h box truck 2; h box truck 17; r box 40; r box 4");
    held.live("h box truck 2; h box truck 41; h box truck 80");
    assert_eq!(held.settled("box"), "1>2 4>- 40>41");
}

/// Changes of pairings reach one partition after the other: until its own note a partition goes by the one before.
#[test]
fn a_fix_is_taken_from_trackers_that_the_note_here_names_alone() {
    let handed_on = |events: &str, settled: &str| check(&format!("{events}; h box truck 30"), "box", settled);
    // No more: its device does not travel again, and waits for nothing.
    handed_on("p truck>box; r box 1; h box truck 1; p; h box truck 2; r box 3; h box truck 3", "1>1");
    handed_on("p truck>box; r box 1; p other>box; h box truck 1; h box other 2; h box other 30", "1>2");
    // Not yet.
    handed_on("h box truck 1; p truck>box; r box 2; h box truck 2", "2>2");
    handed_on("r box 1; h box truck 1; p other>box; p truck>box; h box truck 3", "1>3");
    // What came too early is known, also to who reads it again and knows no pairings of then.
    handed_on("h box truck 1; p truck>box; r box 2; h box truck 1", "2>-");
    let mut partition = Partition::new(EngineConfig::default());
    partition.live("h box truck 1; h box truck 2");
    let mut again = MemoryIdentities::default();
    for minute in [1, 2] {
        let record = record("truck", minute, true);
        Engine::remember_handed_on(partition.engine.config(), "box", &record, at(minute), &mut again);
    }
    assert_eq!((partition.identities, partition.engine.device_by_id("box")), (again, None));
    // A pairing holds for fixes of its time.
    let mut partition = Partition::new(EngineConfig::default());
    let from = Pairing { from_ms: NOW + 2 * MINUTE_MS, ..pairings("truck>box").remove(0) };
    partition.engine.pair(vec![from], at(0));
    partition.live("r box 1; r box 2; h box truck 1; h box truck 2; h box truck 30");
    assert_eq!(partition.settled("box"), "1>2 2>2");
}

/// A partition that had the record itself takes nothing from its being handed on, and the other way round.
#[test]
fn a_fix_that_came_both_ways_counts_once() {
    let settled = |events: &str| Partition::new(EngineConfig::default()).live(events).settled("box");
    let came = |first: &str, last: &str| {
        settled(&format!(
            "p truck>box; r box 1; {first} truck 2; h box truck 17; r box 40; r box 4; {last} truck 2; h box truck 41; h box truck 80"
        ))
    };
    assert_eq!([came("f", "h box"), came("h box", "f")], ["1>2 4>- 40>41", "1>2 4>- 40>41"]);
}

/// Whoever may write to a topic may write this too: what cannot be has no effect.
#[test]
fn what_is_handed_on_has_to_be_possible() {
    let config = EngineConfig { max_unregistered: 1, ..EngineConfig::default() };
    let mut partition = Partition::new(config);
    partition.live("p truck>box truck>another; r box 1");
    let before = partition.engine.device_state(0).clone();
    let mut take = |device: &str, record: Record<'_>| {
        partition.engine.take_handed_on(device, &record, at(1), &mut partition.identities);
        (partition.engine.device_count(), partition.engine.device_state(0).clone())
    };
    let far = EngineConfig::default().future_ms / MINUTE_MS * 3;
    for minute in [far, -91 * 24 * 60, -NOW / MINUTE_MS] {
        assert_eq!(take("box", record("truck", minute, true)), (1, before.clone()), "minute {minute}");
    }
    let nameless = Record { identity: None, ..record("truck", 1, true) };
    let refused = Record { content: Content::Rejected(crate::event::Reason::MalformedJson), ..record("truck", 1, true) };
    for wrong in [record("truck", 1, false), nameless, refused] {
        assert_eq!(take("box", wrong), (1, before.clone()));
    }
    // There is no room for one more.
    assert_eq!(take("another", record("truck", 1, true)), (1, before.clone()));
    assert!(take("box", record("truck", 1, true)) != (1, before));
}

/// A thermometer that never sends costs little, however long its tracker does.
#[test]
fn fixes_that_nobody_waits_for_are_few() {
    let mut partition = Partition::new(EngineConfig::default());
    partition.live("p truck>box");
    for minute in 0..1_000 {
        partition.live(&format!("f truck {minute}"));
    }
    let index = partition.engine.device_by_id("box").expect("known");
    let held = format!("{:?}", partition.engine.device_state(index).extra).matches("Fix {").count();
    assert_eq!(held, crate::join::MAX_HELD_UNREAD);
}

/// Places where nothing of this country is, in thousandths of a degree: no satellite, New York, a latitude without its sign, just outside.
const NOWHERE: [(i32, i32); 5] = [(0, 0), (-73_980, 40_750), (107_600, 6_800), (94_899, 5_000), (120_000, -11_101)];

#[test]
fn the_country_has_room_for_all_of_it() {
    let at = EventTime::from_ms(NOW);
    let is_in = |(east, north): (i32, i32)| Fix { at, longitude_e6: east * 1_000, latitude_e6: north * 1_000 }.is_in_country();
    // Sabang, Merauke, Miangas, Rote, and the sea between.
    assert!([(95_320, 5_890), (140_400, -8_490), (126_580, 5_560), (122_880, -10_930), (128_000, -5_000)].into_iter().all(is_in));
    assert!(!NOWHERE.into_iter().any(is_in));
}

proptest! {
    /// A fix that cannot be places nothing, also where it is the nearest, and moves no watermark: all is as if it had not come.
    #[test]
    fn a_fix_of_nowhere_places_nothing(events in prop::collection::vec((0usize..8, 0i64..60), 1..60)) {
        let live = |takes_all: bool| {
            let mut partition = Partition::new(EngineConfig::default());
            partition.live("p truck>box");
            for (n, (kind, minute)) in events.iter().enumerate() {
                match kind {
                    0..=1 => drop(partition.live(&format!("r box {minute}"))),
                    2..=3 => drop(partition.live(&format!("f truck {minute}"))),
                    _ if takes_all => {
                        let (east, north) = NOWHERE[n % NOWHERE.len()];
                        let fix = Fix { at: EventTime::from_ms(NOW + minute * MINUTE_MS), longitude_e6: east * 1_000, latitude_e6: north * 1_000 };
                        let content = Content::Fix { device: "truck".into(), fix };
                        let sent = Record { content, identity: Some(Identity(n as u128)), ..record("truck", *minute, true) };
                        let mut told = Vec::new();
                        if *kind > 5 {
                            partition.engine.take_handed_on("box", &sent, at(*minute), &mut partition.identities);
                        } else {
                            partition.engine.step([sent], at(*minute), &mut partition.identities, &mut told);
                            prop_assert_eq!(told, [Disposition::Accepted], "it stays a record");
                        }
                    }
                    // Time passes all the same.
                    _ => partition.engine.pass_time(at(*minute)),
                }
            }
            let index = partition.engine.device_by_id("box").expect("paired");
            Ok((partition.settled("box"), partition.engine.device_state(index).extra.clone()))
        };
        prop_assert_eq!(live(true)?, live(false)?);
    }
}
