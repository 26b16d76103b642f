//! Late records by the real rules: the stream of a simulator through the engine.

use domain::engine::{Content, Disposition, Engine, EngineConfig, MemoryIdentities, Record};
use domain::event::{BodyHash, DeviceStatus, Identity, Reading, SENSOR_FAULT_CODES, Topic};
use domain::feed::SensorFault;
use domain::master::Master;
use domain::milli::Milli;
use domain::time::{EventTime, HOUR_MS, MINUTE_MS, ProcessingTime};
use simulator::fleet::Fleet;
use simulator::iot::RoomSensors;
use simulator::source::{Sink, Source, Thermometers};
use simulator::truth::Truth;
use simulator::way::Disorder;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io::Write;
use std::sync::{Arc, Mutex};

const FROM: EventTime = EventTime::from_ms(1_795_000_000_000);

#[derive(serde::Deserialize)]
struct Envelope {
    event_id: String,
    payload: Payload,
}

#[derive(serde::Deserialize)]
struct Payload {
    device_id: String,
    ts: i64,
    temperature: serde_json::Number,
}

/// As admission reads it: an envelope is known by its id, a bare message by device and time.
fn record(json: &str) -> Record<'static> {
    let hash = |text: &str| BuildHasherDefault::<DefaultHasher>::default().hash_one(text);
    let (id, payload) = match serde_json::from_str::<Envelope>(json) {
        Ok(envelope) => (Some(envelope.event_id), envelope.payload),
        Err(_) => (None, serde_json::from_str(json).expect("a bare message")),
    };
    let at = EventTime::from_ms(payload.ts);
    let temperature: Milli = payload.temperature.to_string().parse().expect("a decimal");
    let name = id.clone().unwrap_or_else(|| format!("{} {at}", payload.device_id));
    let device = payload.device_id.into();
    let status = DeviceStatus::Ok;
    let content = if SENSOR_FAULT_CODES.contains(&temperature) {
        Content::Fault { device, fault: SensorFault { at, code: temperature, status } }
    } else {
        Content::Reading { device, reading: Reading { at, temperature, humidity: None, battery: None, status } }
    };
    Record {
        identity: Some(Identity(u128::from(hash(&name)))),
        is_natural: id.is_none(),
        body: BodyHash(hash(json)),
        sequence: None,
        is_numbered: false,
        topic: Some(Topic::Temperature),
        source: "simulator".into(),
        content,
    }
}

#[derive(Default)]
struct Lines(Vec<String>);

impl Sink for Lines {
    fn record(&mut self, _device: usize, json: &[u8]) {
        self.0.push(String::from_utf8(json.to_vec()).expect("JSON"));
    }
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic while held").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// When a server hears of what is sent.
#[derive(Clone, Copy)]
enum Heard {
    /// As it happens.
    Live,
    /// After all of it: the past that a run sends first.
    Afterwards,
}

/// A run judged.
struct Judged {
    /// Every record with what became of it, in the order of sending.
    records: Vec<(String, Disposition)>,
    truth: Vec<u8>,
}

impl Judged {
    fn late(&self) -> usize {
        self.records.iter().filter(|(_, disposition)| matches!(disposition, Disposition::Late { .. })).count()
    }

    /// The share of late ones among all that is sent, copies aside.
    fn late_share(&self) -> f64 {
        let copies = self.records.iter().filter(|(_, disposition)| *disposition == Disposition::Duplicate).count();
        self.late() as f64 / (self.records.len() - copies) as f64
    }

    /// What is not late.
    fn others(&self) -> Vec<&(String, Disposition)> {
        self.records.iter().filter(|(_, disposition)| !matches!(disposition, Disposition::Late { .. })).collect()
    }
}

/// Sends what `source` has to say for `hours` through a server that knows none of its devices, so slots are 5 minutes long and hold one.
fn judge(mut source: impl Source, hours: i64, heard: Heard) -> Judged {
    let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n";
    let regions = "level,code,parent,name\n0,ID,,Indonesia\n";
    let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n";
    let master = Arc::new(Master::parse(levels, regions, facilities).expect("parses"));
    let mut engine = Engine::new(EngineConfig::default(), &master);
    let mut identities = MemoryIdentities::default();
    let told = Memory::default();
    let mut truth = Truth::to(told.clone());
    let mut records = Vec::new();
    let end = FROM.plus_ms(hours * HOUR_MS);
    for stride in 1..=hours * 60 {
        let until = FROM.plus_ms(stride * MINUTE_MS);
        let mut lines = Lines::default();
        source.advance(until, &mut lines, &mut truth);
        let mut dispositions = Vec::new();
        let now = match heard {
            Heard::Live => until,
            Heard::Afterwards => end,
        };
        engine.step(
            lines.0.iter().map(|line| record(line)),
            ProcessingTime::from_ms(now.ms()),
            &mut identities,
            &mut dispositions,
        );
        records.extend(lines.0.into_iter().zip(dispositions));
    }
    source.finish(&mut truth);
    let truth = told.0.lock().expect("no panic while held").clone();
    Judged { records, truth }
}

fn fleet(late: f64, heard: Heard) -> Judged {
    let disorder = Disorder { late, duplicates: 0.005, out_of_order: 0.005 };
    judge(Thermometers::new(1, &Fleet::invented(200), 5 * MINUTE_MS, disorder, FROM), 36, heard)
}

fn rooms(late: f64) -> Judged {
    let disorder = Disorder { late, duplicates: 0.005, out_of_order: 0.005 };
    judge(RoomSensors::new(1, 4, 0.5, disorder, FROM), 6, Heard::Live)
}

/// That of `with`, a share of `share` is late, and that it differs from `without` in nothing else.
#[track_caller]
fn check(with: &Judged, without: &Judged, share: f64) {
    assert_eq!(without.late(), 0);
    let is = with.late_share();
    println!("asked for {share}, late {is:.5} of {}", with.records.len());
    assert!((share * 0.85..share * 1.05).contains(&is), "{is} instead of {share}"); // the first half hour has none
    assert!(with.others() == without.others(), "something else is sent, or judged otherwise");
    assert_eq!(with.truth, without.truth);
}

#[test]
fn as_many_are_late_as_were_asked_for() {
    let without = fleet(0.0, Heard::Live);
    for share in [0.02, 0.5] {
        check(&fleet(share, Heard::Live), &without, share);
    }
}

#[test]
fn so_they_are_where_the_past_is_sent_at_once() {
    check(&fleet(0.02, Heard::Afterwards), &fleet(0.0, Heard::Afterwards), 0.02);
}

#[test]
fn so_they_are_in_the_simple_form() {
    let without = rooms(0.0);
    for share in [0.02, 0.5] {
        check(&rooms(share), &without, share);
    }
}
