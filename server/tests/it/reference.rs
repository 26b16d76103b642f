//! Semantics 3.1 to 3.3 as plainly as they can be written: everything is remembered, everything is looked up.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A reading as it was sent, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub at: i64,
    pub temperature: i64,
    pub humidity: Option<i64>,
    pub battery: Option<i64>,
}

/// The topic's windows: (size, delay) in milliseconds, shortest first, and L.
#[derive(Clone, Debug)]
pub struct Definitions {
    pub windows: Vec<(i64, i64)>,
    pub lateness: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Accepted,
    Duplicate,
    Late { window_start: i64, lateness: i64 },
    Rejected(&'static str),
}

/// A window: what it holds, its version, and whether it has fired.
#[derive(Clone, Debug, Default)]
pub struct Window {
    pub samples: Vec<Sample>,
    pub version: u64,
    pub is_final: bool,
}

#[derive(Clone, Debug, Default)]
struct Device {
    accepted: Vec<i64>,
    /// In the order in which they were accepted.
    samples: Vec<Sample>,
    newest: Option<i64>,
    windows: BTreeMap<(usize, i64), Window>,
}

/// What a record says: a reading, or a code of a failed sensor.
#[derive(Clone, Debug)]
pub struct Record {
    /// `None`: its identity is (device, channel, time).
    pub id: Option<String>,
    pub device: String,
    pub sample: Sample,
}

#[derive(Debug)]
pub struct Reference {
    definitions: Definitions,
    /// How often every device reports.
    interval: i64,
    /// What was seen under which identity first.
    seen: BTreeMap<String, String>,
    /// Rejected records: identity, body and reason.
    refused: BTreeSet<(String, String, &'static str)>,
    devices: BTreeMap<String, Device>,
}

impl Reference {
    pub fn new(definitions: Definitions, interval: i64) -> Self {
        Self { definitions, interval, seen: BTreeMap::new(), refused: BTreeSet::new(), devices: BTreeMap::new() }
    }

    /// What becomes of `record`, received at `now`.
    pub fn take(&mut self, record: &Record, now: i64) -> Fate {
        let at = record.sample.at;
        let identity = match &record.id {
            Some(id) => format!("id {id}"),
            None => format!("at {at} {}", record.device),
        };
        let body = format!("{} {:?}", record.device, record.sample);
        let reason = if at > now + 300_000 {
            Some("future")
        } else if at < 1_704_067_200_000 {
            Some("clock_reset")
        } else if at < now - 90 * 86_400_000 {
            Some("too_old")
        } else if [85_000, 127_940, -127_000].contains(&record.sample.temperature) {
            Some("sensor_fault")
        } else {
            match self.seen.get(&identity) {
                None => None,
                Some(known) if *known == body => return Fate::Duplicate,
                Some(_) if record.id.is_some() => Some("id_conflict"),
                Some(_) => Some("conflicting_reading"),
            }
        };
        if let Some(reason) = reason {
            let is_new = self.refused.insert((identity, body, reason));
            return if is_new { Fate::Rejected(reason) } else { Fate::Duplicate };
        }
        self.seen.insert(identity, body);
        self.place(&record.device, record.sample)
    }

    fn place(&mut self, device: &str, sample: Sample) -> Fate {
        let Definitions { windows: definitions, lateness } = &self.definitions;
        let device = self.devices.entry(device.to_owned()).or_default();
        let start_of = |at: i64, size: i64| at.div_euclid(size) * size;
        let (size0, delay0) = definitions[0];
        let (slot, _) =
            *definitions.iter().find(|(size, _)| *size >= self.interval).unwrap_or(&definitions[definitions.len() - 1]);
        let needed = (slot / self.interval).max(1) as usize;
        if let Some(newest) = device.newest {
            let start = start_of(sample.at, size0);
            let end = start + size0;
            let in_slot = device.accepted.iter().filter(|at| start_of(**at, slot) == start_of(sample.at, slot)).count();
            if newest - delay0 >= end + lateness && in_slot >= needed {
                return Fate::Late { window_start: start, lateness: newest - delay0 - end };
            }
        }
        device.accepted.push(sample.at);
        device.samples.push(sample);
        let before = device.newest;
        device.newest = Some(before.map_or(sample.at, |newest| newest.max(sample.at)));
        for (index, (size, delay)) in definitions.iter().enumerate() {
            let start = start_of(sample.at, *size);
            let window = device.windows.entry((index, start)).or_default();
            // One that is made behind the watermark fires with its first record.
            window.is_final |= before.is_some_and(|newest| newest - delay >= start + size);
            window.samples.push(sample);
            window.version += u64::from(window.is_final);
        }
        for ((index, start), window) in &mut device.windows {
            let (size, delay) = definitions[*index];
            if !window.is_final && device.newest.is_some_and(|newest| newest - delay >= start + size) {
                (window.is_final, window.version) = (true, 1);
            }
        }
        Fate::Accepted
    }

    /// The windows of definition `index`, as rows of the API, in its order.
    pub fn rows(&self, index: usize) -> Vec<Row> {
        let (size, _) = self.definitions.windows[index];
        let of_device = |(id, device): (&String, &Device)| {
            let id = id.clone();
            let windows = device.windows.iter().filter(|((i, _), _)| *i == index);
            let rows = windows.map(|((_, start), window)| Row {
                version: Some(window.version),
                state: Some(if window.is_final { "final" } else { "provisional" }.to_owned()),
                ..Row::of(&id, *start, size, &window.samples)
            });
            rows.collect::<Vec<_>>()
        };
        self.devices.iter().flat_map(of_device).collect()
    }
}

impl Reference {
    /// The sliding windows of every device, each stored on its own, as rows of the API in its order.
    pub fn sliding_rows(&self, size: i64, slide: i64, delay: i64) -> Vec<Row> {
        let of_device = |(id, device): (&String, &Device)| {
            let mut windows: BTreeMap<i64, Window> = BTreeMap::new();
            let mut newest = None::<i64>;
            for sample in &device.samples {
                let mut start = sample.at.div_euclid(slide) * slide;
                while start + size > sample.at {
                    let window = windows.entry(start).or_default();
                    window.is_final |= newest.is_some_and(|newest| newest - delay >= start + size);
                    window.samples.push(*sample);
                    window.version += u64::from(window.is_final);
                    start -= slide;
                }
                newest = newest.max(Some(sample.at));
                for (start, window) in &mut windows {
                    if !window.is_final && newest.is_some_and(|newest| newest - delay >= start + size) {
                        (window.is_final, window.version) = (true, 1);
                    }
                }
            }
            let row = |(start, window): (i64, Window)| Row {
                version: Some(window.version),
                state: Some(if window.is_final { "final" } else { "provisional" }.to_owned()),
                ..Row::of(id, start, size, &window.samples)
            };
            windows.into_iter().map(row).collect::<Vec<_>>()
        };
        self.devices.iter().flat_map(of_device).collect()
    }

    /// The sessions of every device as rows of the API in its order; and the starts that are void, with their last version.
    pub fn session_rows(&self, gap: i64, delay: i64) -> (Vec<Row>, Vec<(String, i64, u64)>) {
        let (mut rows, mut void) = (Vec::new(), Vec::new());
        for (id, device) in &self.devices {
            let mut sessions: Vec<Window> = Vec::new();
            let mut newest = None::<i64>;
            let first = |session: &Window| session.samples.iter().map(|s| s.at).min().expect("not empty");
            let end = |session: &Window| session.samples.iter().map(|s| s.at).max().expect("not empty") + gap;
            let mut own_void = Vec::new();
            for sample in &device.samples {
                let touches = |s: &Window| s.samples.iter().any(|other| (other.at - sample.at).abs() < gap);
                let (joined, others): (Vec<Window>, Vec<Window>) = sessions.into_iter().partition(touches);
                let version = joined.iter().map(|s| s.version).max().unwrap_or(0);
                let mut session = Window { samples: vec![*sample], version, is_final: false };
                session.samples.extend(joined.iter().flat_map(|s| &s.samples));
                session.is_final = newest.is_some_and(|newest| newest - delay >= end(&session));
                session.version += u64::from(session.is_final);
                let gone = joined.iter().filter(|s| first(s) != first(&session) && s.version > 0);
                own_void.extend(gone.map(|s| (id.clone(), first(s), s.version + 1)));
                sessions = others;
                sessions.push(session);
                newest = newest.max(Some(sample.at));
                for session in sessions.iter_mut().filter(|s| !s.is_final) {
                    if newest.is_some_and(|newest| newest - delay >= end(session)) {
                        (session.is_final, session.version) = (true, session.version + 1);
                    }
                }
            }
            sessions.sort_by_key(first);
            own_void.sort();
            void.extend(own_void);
            rows.extend(sessions.iter().map(|session| Row {
                version: Some(session.version),
                state: Some(if session.is_final { "final" } else { "provisional" }.to_owned()),
                ..Row::of(id, first(session), end(session) - first(session), &session.samples)
            }));
        }
        (rows, void)
    }
}

/// A window as the API shows it, values in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub device: String,
    pub start: i64,
    pub end: i64,
    pub count: u64,
    /// Average, lowest, highest, deviation.
    pub temperature: [i64; 4],
    pub humidity: Option<i64>,
    pub battery: Option<(i64, i64)>,
    /// Not compared where the order of arrival is not known.
    pub version: Option<u64>,
    pub state: Option<String>,
}

/// `sum / n` rounded half away from zero.
fn rounded(sum: i128, n: i128) -> i64 {
    let twice = 2 * sum.abs() + n;
    (sum.signum() * (twice / (2 * n))) as i64
}

impl Row {
    /// The row of a window with these samples, whatever their order.
    pub fn of(device: &str, start: i64, size: i64, samples: &[Sample]) -> Self {
        let n = samples.len() as i128;
        let temperatures = || samples.iter().map(|s| i128::from(s.temperature));
        let sum: i128 = temperatures().sum();
        // n²·σ²; the deviation is the d with (2d − 1)·n ≤ 2·√v < (2d + 1)·n.
        let v: i128 = n * temperatures().map(|t| t * t).sum::<i128>() - sum * sum;
        let mut deviation = ((v as f64).sqrt() / n as f64) as i128;
        while ((2 * deviation + 1) * n).pow(2) <= 4 * v {
            deviation += 1;
        }
        while deviation > 0 && ((2 * deviation - 1) * n).pow(2) > 4 * v {
            deviation -= 1;
        }
        let humidities: Vec<i64> = samples.iter().filter_map(|s| s.humidity).collect();
        let batteries = || samples.iter().filter_map(|s| s.battery);
        let lowest = samples.iter().map(|s| s.temperature).min().expect("not empty");
        let highest = samples.iter().map(|s| s.temperature).max().expect("not empty");
        Self {
            device: device.to_owned(),
            start,
            end: start + size,
            count: samples.len() as u64,
            temperature: [rounded(sum, n), lowest, highest, deviation as i64],
            humidity: (!humidities.is_empty())
                .then(|| rounded(humidities.iter().map(|h| i128::from(*h)).sum(), humidities.len() as i128)),
            battery: batteries().min().zip(batteries().max()),
            version: None,
            state: None,
        }
    }

    /// A row of the API.
    pub fn read(row: &Value) -> Self {
        let time = |name: &str| domain::time::parse_rfc3339(row[name].as_str().expect("a text")).expect("a time");
        let milli = |name: &str| row[name].as_f64().map(|value| (value * 1_000.0).round() as i64);
        let sure = |name: &str| milli(name).unwrap_or_else(|| panic!("{name} in {row}"));
        Self {
            device: row["device_id"].as_str().expect("a text").to_owned(),
            start: time("window_start"),
            end: time("window_end"),
            count: row["count"].as_u64().expect("a number"),
            temperature: ["avg_temperature", "min_temperature", "max_temperature", "stddev_temperature"].map(sure),
            humidity: milli("avg_humidity"),
            battery: milli("min_battery").zip(milli("max_battery")),
            version: row["version"].as_u64(),
            state: row["state"].as_str().map(str::to_owned),
        }
    }
}

/// The same rows in the same order, or what differs first.
#[track_caller]
pub fn assert_rows(got: &[Row], expected: &[Row]) {
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got, expected);
    }
    assert_eq!(got.len(), expected.len(), "number of windows");
}
