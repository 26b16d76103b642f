//! What devices send: readings live, late, after outages in any order, twice, under one id with two bodies, with clocks that are wrong,
//! and what nobody can read.

use super::random::Random;
use super::world::BEGIN_MS;
use bytes::Bytes;
use domain::master::Master;
use server::admission::Format;
use std::sync::Arc;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A small country: real rules, and quick to begin with.
pub fn master() -> Arc<Master> {
    const LEVELS: &str = "depth,key,name_id,name_en\n0,country,Negara,Country\n1,province,Provinsi,Province\n\
        2,regency,Kabupaten,Regency\n3,district,Kecamatan,District\n";
    const REGIONS: &str = "level,code,parent,name\n0,ID,,Indonesia\n1,32,ID,Jawa Barat\n2,32.17,32,Bandung Barat\n\
        3,32.17.02,32.17,Parongpong\n3,32.17.05,32.17,Lembang\n";
    const FACILITIES: &str = "code,name,kind,region,latitude,longitude,zone,equipment\n\
        P321705-1,Puskesmas Lembang,puskesmas,32.17.05,-6.8,107.6,WIB,F1 Haier HBC-80;F2 Haier HBC-80\n\
        P321702-1,Puskesmas Parongpong,puskesmas,32.17.02,-6.8,107.6,WIB,F1 Haier HBC-80\n";
    Arc::new(Master::parse(LEVELS, REGIONS, FACILITIES).expect("the sample parses"))
}

const DEVICES: [&str; 6] = ["P321705-1-F1", "P321705-1-F2", "P321702-1-F1", "box-1", "box-2", TRACKER];
/// It sends where it is, and a temperature of its own.
pub const TRACKER: &str = "truck";

/// A record on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When it is sent first.
    pub at_ms: i64,
    pub text: String,
}

/// A request of a sender, which sends it until somebody says that it was taken in.
#[derive(Clone, Debug)]
pub struct Request {
    pub due_ms: i64,
    pub body: Bytes,
    pub format: Format,
    pub source: &'static str,
    pub tries: u32,
}

fn thousandths(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", value.abs() / 1_000, value.abs() % 1_000)
}

/// How a device tells its records apart.
#[derive(Clone, Copy)]
enum Naming {
    Natural,
    Id,
    Numbered,
}

fn reading(device: &str, naming: Naming, n: usize, at: i64, milli: i64) -> String {
    let temperature = thousandths(milli);
    match naming {
        Naming::Natural => format!(r#"{{"device_id":"{device}","ts":{at},"temperature":{temperature}}}"#),
        Naming::Id => format!(
            r#"{{"event_id":"{device}-{n}","topic":"temperature","source":"gate","payload":{{"device_id":"{device}","ts":{at},"temperature":{temperature},"humidity":40.5}}}}"#
        ),
        Naming::Numbered => {
            format!(r#"{{"device_id":"{device}","ts":{at},"temperature":{temperature},"battery":90,"seq":{n},"boot_id":"b1"}}"#)
        }
    }
}

fn fix(device: &str, at: i64, random: &mut Random) -> String {
    let (east, north) = (107_000 + random.below(1_000), 6_000 + random.below(900));
    // Some see no satellite, and say so by a place.
    let (east, north) = if north % 11 == 0 { (0, 0) } else { (east, north) };
    format!(
        r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[{},-{}]}},"properties":{{"device_id":"{device}","ts":{at}}}}}"#,
        thousandths(east as i64),
        thousandths(north as i64)
    )
}

/// Readings of several devices, and fixes of the tracker where one `travels`, with their times, oldest first: nothing is wrong with any of
/// them. An hour before the others comes one of each.
pub fn readings(random: &mut Random, devices: usize, of_device: usize, travels: bool) -> Vec<(i64, String)> {
    let mut all = Vec::new();
    for device in with_tracker(&DEVICES[..devices], travels) {
        let step = *random.pick(&[7 * SECOND, 20 * SECOND, MINUTE, 5 * MINUTE]);
        let naming = *random.pick(&[Naming::Natural, Naming::Id, Naming::Numbered]);
        let mut at = BEGIN_MS - HOUR;
        for n in 0..=of_device {
            let milli = random.between(-2_000, 12_000);
            all.push((at, if device == TRACKER { fix(device, at, random) } else { reading(device, naming, n, at, milli) }));
            at = at.max(BEGIN_MS) + step + random.between(-step / 3, step / 3 + 1);
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

/// Those devices, the tracker among them where one `travels` with it.
fn with_tracker(devices: &[&'static str], travels: bool) -> Vec<&'static str> {
    let mut devices = devices.to_vec();
    if travels && !devices.contains(&TRACKER) {
        devices.push(TRACKER);
    }
    devices
}

/// Everything that is sent, in order of sending. Where one `travels`, the tracker sends too.
pub fn records(random: &mut Random, of_device: usize, travels: bool) -> Vec<Sent> {
    let mut all: Vec<Sent> = Vec::new();
    let devices = 2 + random.index(DEVICES.len() - 1);
    for device in &with_tracker(&DEVICES[..devices], travels) {
        let step = *random.pick(&[7 * SECOND, 20 * SECOND, MINUTE, 5 * MINUTE]);
        // Some know no finer time than how often they report: ends of windows and sessions are met exactly.
        let grain = *random.pick(&[1, SECOND, step]);
        let naming = *random.pick(&[Naming::Natural, Naming::Id, Naming::Id, Naming::Numbered]);
        let mut own: Vec<Sent> = Vec::new();
        let mut exact = BEGIN_MS - random.between(0, 3 * 60 * MINUTE) * i64::from(random.one_in(3)) + random.between(0, step);
        let mut milli = 5_000;
        for n in 0..of_device / 2 + random.index(of_device) {
            exact += step + random.between(-step / 3, step / 3 + 1);
            if random.one_in(50) {
                exact += random.between(5 * MINUTE, 40 * MINUTE); // silent
            }
            milli += random.between(-400, 401);
            let at = exact - exact.rem_euclid(grain);
            let at_ms = at.max(BEGIN_MS) + random.between(0, 10 * SECOND);
            let text = if *device == TRACKER && random.one_in(2) {
                fix(device, at, random)
            } else {
                reading(device, naming, n, at, milli)
            };
            own.push(Sent { at_ms, text });
            disturb(random, &mut own, device, naming, n, (at, at_ms, milli));
        }
        keep_back(random, &mut own);
        all.append(&mut own);
    }
    all.sort_by_key(|sent| sent.at_ms);
    all
}

/// What goes wrong with one record or beside it.
fn disturb(
    random: &mut Random,
    own: &mut Vec<Sent>,
    device: &'static str,
    naming: Naming,
    n: usize,
    (at, at_ms, milli): (i64, i64, i64),
) {
    if !random.one_in(6) {
        return;
    }
    let later = at_ms + random.between(0, 30 * MINUTE);
    let (at_ms, text) = match random.below(10) {
        0..=2 => (later, own.last().expect("just put").text.clone()), // a duplicate
        3 => (later, reading(device, naming, n, at, milli + 1)),      // the same id, or instant, with another body
        4 => (at_ms, reading(device, Naming::Id, 100_000 + n, at_ms + 60 * MINUTE, milli)), // its clock is ahead
        5 => (at_ms, reading(device, Naming::Id, 200_000 + n, 1_000 * n as i64, milli)), // its clock was reset
        6 => (at_ms, reading(device, Naming::Id, 300_000 + n, at, 85_000)), // the sensor's code for a failure
        7 if random.one_in(2) => {
            // It names nothing, and comes twice.
            let text = format!(r#"{{"temperature":{},"gate":"{device}"}}"#, thousandths(milli));
            own.push(Sent { at_ms: later, text: text.clone() });
            (at_ms, text)
        }
        7 => (at_ms, format!(r#"{{"device_id":"{device}","ts":{at},"temperature":"#)), // broken off
        8 => (at_ms + 20 * MINUTE, reading(device, Naming::Id, 400_000 + n, at + 1, milli)), // probably late
        _ => (at_ms, reading(device, Naming::Id, 500_000 + n, at, 999_000)),           // out of range
    };
    own.push(Sent { at_ms, text });
}

/// Stretches without a network: sent later, oldest first, newest first or in any order.
fn keep_back(random: &mut Random, own: &mut [Sent]) {
    for _ in 0..2 {
        if own.len() < 8 || random.one_in(3) {
            continue;
        }
        let from = random.index(own.len() - 4);
        let to = (from + 3 + random.index(20)).min(own.len());
        // Seldom for so long that nobody waits for it any more.
        let longer = if random.one_in(25) { 49 * HOUR } else { 0 };
        let back = own[to - 1].at_ms + longer + random.between(0, 20 * MINUTE);
        let mut order: Vec<usize> = (from..to).collect();
        match random.below(3) {
            0 => {}
            1 => order.reverse(),
            _ => random.shuffle(&mut order),
        }
        for (place, at) in order.into_iter().enumerate() {
            own[at].at_ms = back + place as i64 * random.between(0, 3 * SECOND);
        }
    }
}

/// Records put together to requests.
pub fn requests(random: &mut Random, records: &[Sent]) -> Vec<Request> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < records.len() {
        let len = (1 + random.index(6)).min(records.len() - at);
        let part = &records[at..at + len];
        at += len;
        let texts: Vec<&str> = part.iter().map(|sent| sent.text.as_str()).collect();
        let (format, body) = match random.below(4) {
            0 if texts.len() == 1 => (Format::Json, texts[0].to_owned()),
            0 => (Format::Json, format!("[{}]", texts.join(","))),
            _ => (Format::Ndjson, texts.join("\n")),
        };
        let source = *random.pick(&["gateway", "recorder"]);
        let due_ms = part[len - 1].at_ms;
        all.push(Request { due_ms, body: body.into(), format, source, tries: 0 });
    }
    all
}
