//! Something that reports: the boundary between the models and the sending, and the national fleet of thermometers.
//!
//! Trackers will be a second [`Source`]; nothing on the other side of the boundary knows what a record says.

use crate::faults::{Spell, covers};
use crate::fleet::Fleet;
use crate::model::{Device, Reading};
use crate::random::{Draw, Purpose};
use crate::truth::{Fact, Instant, Open, Truth};
use crate::way::{Disorder, Later, other_time};
use domain::time::{EventTime, MINUTE_MS};
use std::collections::HashSet;

/// Where records go, in the order in which they are sent.
pub trait Sink {
    /// Takes one record, a JSON object without line end. Those of one device keep their order.
    fn record(&mut self, device: usize, json: &[u8]);
}

/// Makes records as simulated time goes by.
pub trait Source: Send {
    /// Hands over what is sent before `until` and was not yet, and tells what really happened.
    fn advance(&mut self, until: EventTime, sink: &mut dyn Sink, truth: &mut Truth);

    /// Tells what is still open at the end of the run.
    fn finish(&mut self, truth: &mut Truth);

    /// How many devices it has.
    fn devices(&self) -> usize;
}

/// What is due later than its turn.
#[derive(Debug)]
enum Task {
    /// A reading that was held up, or its second copy.
    Send(u32, Reading),
    /// The gateway tells a reading once more, just after the one measured at this instant.
    TellLate(u32, Reading, EventTime),
    /// A gateway has its network back: send what this device kept.
    Upload(u32),
    /// A blackout of this device's district begins.
    Outage(u32, Spell),
    /// A gateway loses its network.
    Offline(u32, Spell),
    /// Another fault of a device begins.
    Fault(u32, &'static str, Spell),
}

/// The fleet of thermometers in refrigerators: one reading per device and interval, as envelopes.
///
/// Devices measure at their own instants within the interval, so the load is even. All vectors have one entry per device, in the
/// order of these instants; so walking them once per interval yields readings in the order of time without sorting.
pub struct Thermometers {
    seed: u64,
    interval_ms: i64,
    disorder: Disorder,
    from: EventTime,
    devices: Vec<Device>,
    ids: Vec<String>,
    facilities: Vec<String>,
    districts: Vec<String>,
    /// Readings that wait for the network, oldest first.
    kept: Vec<Vec<Reading>>,
    excursions: Vec<Option<Open>>,
    /// Blackouts and network failures already told, by region or facility and start.
    told: HashSet<(u64, EventTime)>,
    later: Later<Task>,
    /// The interval being walked, counted from 1970, and the next device in it.
    slot: i64,
    next: usize,
    text: Vec<u8>,
}

/// Share of the gateways that send what they kept newest first.
const NEWEST_FIRST: f64 = 0.35;

impl Thermometers {
    /// The fleet from `from` on.
    pub fn new(seed: u64, fleet: &Fleet, interval_ms: i64, disorder: Disorder, from: EventTime) -> Self {
        let mut order: Vec<_> = fleet.sensors.iter().map(|sensor| (Device::new(seed, sensor, interval_ms), sensor)).collect();
        order.sort_by(|(a, left), (b, right)| (a.phase_ms, &left.id).cmp(&(b.phase_ms, &right.id)));
        let slot = from.ms().div_euclid(interval_ms);
        // The walk begins with the first device whose turn in this interval is not over.
        let next = order.partition_point(|(device, _)| slot * interval_ms + device.phase_ms < from.ms());
        let n = order.len();
        let names = |of: fn(&crate::fleet::SimSensor) -> &String| order.iter().map(|(_, s)| of(s).clone()).collect();
        let (ids, facilities, districts) = (names(|s| &s.id), names(|s| &s.facility), names(|s| &s.district));
        Self {
            seed,
            interval_ms,
            disorder,
            from,
            devices: order.into_iter().map(|(device, _)| device).collect(),
            ids,
            facilities,
            districts,
            kept: vec![Vec::new(); n],
            excursions: vec![None; n],
            told: HashSet::new(),
            later: Later::default(),
            slot,
            next,
            text: Vec::with_capacity(512),
        }
    }

    /// When the next device measures; never, in an empty fleet.
    fn next_at(&self) -> EventTime {
        match self.devices.get(self.next) {
            Some(device) => EventTime::from_ms(self.slot * self.interval_ms + device.phase_ms),
            None => EventTime::from_ms(i64::MAX),
        }
    }

    fn send(&mut self, device: u32, reading: &Reading, sink: &mut dyn Sink) {
        self.text.clear();
        self.devices[device as usize].encode(self.seed, reading, &mut self.text);
        sink.record(device as usize, &self.text);
    }

    /// The next device measures.
    fn measure(&mut self, at: EventTime, sink: &mut dyn Sink, truth: &mut Truth) {
        let (index, slot) = (self.next, self.slot);
        let device = index as u32;
        self.next += 1;
        if self.next == self.devices.len() {
            (self.slot, self.next) = (self.slot + 1, 0);
        }
        if self.devices[index].page_turns(at) {
            self.look_ahead(device, at);
        }
        let seen = self.devices[index].observe(self.seed, slot, at);
        self.judge(index, &seen, truth);
        let troubles = *self.devices[index].troubles(self.seed, at);
        if covers(troubles.silent, at) {
            return;
        }
        if let Some(spell) = troubles.offline.filter(|spell| spell.covers(at)) {
            if self.kept[index].is_empty() {
                let wait = Draw::of(self.seed, self.devices[index].exposure.facility, spell.end.ms(), Purpose::Way);
                self.later.push(spell.end.plus_ms(wait.below(MINUTE_MS as u64) as i64), Task::Upload(device));
                self.kept[index] = self.kept_before(index, spell);
            }
            self.kept[index].push(seen.reading);
            return;
        }
        let fate = self.disorder.fate(self.seed, self.devices[index].subject, at, self.interval_ms);
        if let Some(after) = fate.repeated_after_ms {
            self.later.push(at.plus_ms(fate.held_ms + after), Task::Send(device, seen.reading));
        }
        // What a server rejects fills no slot, so telling it again is not late either.
        if let Some(after) = fate.late_after_ms.filter(|_| !seen.probe_failed && seen.reading.at == at) {
            let again = Reading { true_at: other_time(at), at: other_time(at), ..seen.reading };
            self.later.push(at.plus_ms(after + 1), Task::TellLate(device, again, at.plus_ms(after)));
        }
        if fate.held_ms > 0 {
            self.later.push(at.plus_ms(fate.held_ms), Task::Send(device, seen.reading));
        } else {
            self.send(device, &seen.reading, sink);
        }
    }

    /// Whether the server was told of what `device` measured last, at `at`, and could use it.
    fn was_heard(&self, device: u32, at: EventTime) -> bool {
        let troubles = self.devices[device as usize].known_troubles();
        let clock = troubles.clock.map(|(spell, _)| spell);
        ![troubles.offline, troubles.silent, troubles.sensor_lost, clock].into_iter().any(|spell| covers(spell, at))
    }

    /// What a device has kept in `spell` before the run began: one that goes on where another ended leaves no gap.
    fn kept_before(&self, index: usize, spell: Spell) -> Vec<Reading> {
        let mut device = self.devices[index].clone();
        device.forget_troubles();
        let (interval_ms, phase_ms) = (self.interval_ms, device.phase_ms);
        let first = (spell.start.ms() - phase_ms + interval_ms - 1).div_euclid(interval_ms);
        let turns = (first..).map(|slot| (slot, EventTime::from_ms(slot * interval_ms + phase_ms)));
        let mut kept = Vec::new();
        for (slot, at) in turns.take_while(|(_, at)| *at < self.from) {
            if !covers(device.troubles(self.seed, at).silent, at) {
                kept.push(device.observe(self.seed, slot, at).reading);
            }
        }
        kept
    }

    /// Opens and closes excursions by the true temperature, and notes single fault codes.
    fn judge(&mut self, index: usize, seen: &crate::model::Observation, truth: &mut Truth) {
        let range = self.devices[index].range;
        let at = seen.reading.true_at;
        let outside = range.distance(seen.temperature);
        match &mut self.excursions[index] {
            None if outside == 0 => {}
            None => {
                let open = Open { start: at, peak: seen.temperature, cause: seen.cause.name() };
                self.excursions[index] = Some(open);
            }
            Some(open) if outside == 0 => {
                truth.excursion(&self.ids[index], open, Some(at));
                self.excursions[index] = None;
            }
            Some(open) => {
                if outside > range.distance(open.peak) {
                    (open.peak, open.cause) = (seen.temperature, seen.cause.name());
                }
            }
        }
        if seen.probe_failed && !covers(self.devices[index].known_troubles().sensor_lost, at) {
            truth.device_fault(&self.ids[index], "fault_code", Spell { start: at, end: at.plus_ms(self.interval_ms) });
        }
    }

    /// Looks up the troubles around `at` and puts in what has to be told of them when they begin.
    fn look_ahead(&mut self, device: u32, at: EventTime) {
        let before = *self.devices[device as usize].known_troubles();
        let troubles = *self.devices[device as usize].troubles(self.seed, at);
        let from = self.from;
        let current = |spell: Option<Spell>| spell.filter(|s| s.end > from);
        let exposure = self.devices[device as usize].exposure;
        if let Some(spell) = current(troubles.blackout)
            && self.told.insert((exposure.district, spell.start))
        {
            self.later.push(spell.start, Task::Outage(device, spell));
        }
        if let Some(spell) = current(troubles.offline)
            && self.told.insert((exposure.facility, spell.start))
        {
            self.later.push(spell.start, Task::Offline(device, spell));
        }
        let clock = |troubles: &crate::faults::Troubles| troubles.clock.map(|(spell, _)| spell);
        let clock_fault = match troubles.clock {
            Some((_, crate::faults::ClockFault::Reset(_))) => "clock_reset",
            _ => "clock_ahead",
        };
        for (fault, old, new) in [
            ("refrigerant_leak", before.leak, troubles.leak),
            ("set_too_cold", before.too_cold, troubles.too_cold),
            ("silent", before.silent, troubles.silent),
            ("sensor_lost", before.sensor_lost, troubles.sensor_lost),
            (clock_fault, clock(&before), clock(&troubles)),
        ] {
            if let Some(spell) = current(new).filter(|_| old != new) {
                self.later.push(spell.start, Task::Fault(device, fault, spell));
            }
        }
    }

    fn perform(&mut self, task: &Task, sink: &mut dyn Sink, truth: &mut Truth) {
        match *task {
            Task::Send(device, ref reading) => self.send(device, reading, sink),
            // Without newer readings it would be in time; and a gateway without network sends nothing.
            Task::TellLate(device, ref reading, newest_at) => {
                if self.was_heard(device, newest_at) {
                    self.send(device, reading, sink);
                }
            }
            Task::Upload(device) => {
                let mut kept = std::mem::take(&mut self.kept[device as usize]);
                let facility = self.devices[device as usize].exposure.facility;
                if Draw::of(self.seed, facility, 0, Purpose::UploadOrder).happens(NEWEST_FIRST) {
                    kept.reverse();
                }
                for reading in &kept {
                    self.send(device, reading, sink);
                }
            }
            Task::Outage(device, spell) => {
                let district = &self.districts[device as usize];
                truth.tell(&Fact::Outage { district, start: Instant(spell.start), end: Instant(spell.end) });
            }
            Task::Offline(device, spell) => truth.tell(&Fact::Fault {
                device_id: None,
                facility: Some(&self.facilities[device as usize]),
                fault: "offline",
                start: Instant(spell.start),
                end: Instant(spell.end),
            }),
            Task::Fault(device, fault, spell) => truth.device_fault(&self.ids[device as usize], fault, spell),
        }
    }
}

impl Source for Thermometers {
    fn advance(&mut self, until: EventTime, sink: &mut dyn Sink, truth: &mut Truth) {
        loop {
            let at = self.next_at();
            // What was put off to the same instant comes first: it is older.
            if self.later.next_at().is_some_and(|later| later <= at) {
                match self.later.pop_before(until) {
                    Some(task) => self.perform(&task, sink, truth),
                    None => return,
                }
            } else if at < until {
                self.measure(at, sink, truth);
            } else {
                return;
            }
        }
    }

    fn finish(&mut self, truth: &mut Truth) {
        for (id, open) in self.ids.iter().zip(&mut self.excursions) {
            if let Some(open) = open.take() {
                truth.excursion(id, &open, None);
            }
        }
    }

    fn devices(&self) -> usize {
        self.devices.len()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use domain::time::{DAY_MS, HOUR_MS};
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc, Mutex};

    /// Keeps every record, in order.
    #[derive(Default)]
    pub struct Kept(pub Vec<u8>);

    impl Sink for Kept {
        fn record(&mut self, _device: usize, json: &[u8]) {
            self.0.extend_from_slice(json);
            self.0.push(b'\n');
        }
    }

    /// A file in memory.
    #[derive(Clone, Default)]
    pub struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Shared {
        /// What was written so far.
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic while held").clone()).expect("JSON")
        }
    }

    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic while held").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const FROM: EventTime = EventTime::from_ms(20_777 * DAY_MS);
    const DISORDER: Disorder = Disorder { late: 0.001, duplicates: 0.005, out_of_order: 0.005 };

    /// A run of `hours`, advanced in strides of `stride_ms`: its records and its truth.
    fn play(seed: u64, devices: usize, hours: i64, stride_ms: i64) -> (String, String) {
        let mut source = Thermometers::new(seed, &Fleet::invented(devices), 300_000, DISORDER, FROM);
        let (mut kept, told) = (Kept::default(), Shared::default());
        let mut truth = Truth::to(told.clone());
        let end = FROM.plus_ms(hours * HOUR_MS);
        let mut at = FROM;
        while at < end {
            at = at.plus_ms(stride_ms).min(end);
            source.advance(at, &mut kept, &mut truth);
        }
        source.finish(&mut truth);
        (String::from_utf8(kept.0).expect("JSON"), told.text())
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let (records, truth) = play(1, 200, 30, 300_000);
        assert_eq!(play(1, 200, 30, 300_000), (records.clone(), truth.clone()));
        // However the time is cut into steps, as it is by a clock.
        assert_eq!(play(1, 200, 30, 7_777), (records.clone(), truth));
        assert_ne!(play(2, 200, 30, 300_000).0, records);
    }

    #[test]
    fn a_later_start_repeats_the_same_readings() {
        let run = |from: EventTime| {
            let mut source = Thermometers::new(1, &Fleet::invented(100), 300_000, DISORDER, from);
            let mut kept = Kept::default();
            source.advance(FROM.plus_ms(DAY_MS), &mut kept, &mut Truth::nowhere());
            String::from_utf8(kept.0).expect("JSON").lines().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let (whole, half) = (run(FROM), run(FROM.plus_ms(DAY_MS / 2)));
        assert!(half.len() > 10_000 && half.is_subset(&whole));
        // Nor is anything lost that a gateway kept while no simulator ran: after a day all of the last hours is told.
        let since = |records: &BTreeSet<String>, from: EventTime| {
            let late_enough = |line: &&String| {
                let ts = line.split("\"ts\":").nth(1).and_then(|rest| rest.get(..13)?.parse().ok());
                ts.is_some_and(|ts: i64| ts >= from.ms())
            };
            records.iter().filter(late_enough).count()
        };
        let noon = FROM.plus_ms(DAY_MS / 2);
        assert_eq!(since(&half, noon), since(&whole, noon));
        assert!(half.len() > since(&half, noon), "some of what is sent was kept from before");
    }

    #[test]
    fn what_is_sent() {
        let (records, truth) = play(3, 600, 48, 300_000);
        let lines: Vec<_> = records.lines().collect();
        let distinct: BTreeSet<_> = lines.iter().map(|line| &line[13..49]).collect();
        let bodies: BTreeSet<_> = lines.iter().collect();
        assert_eq!(distinct.len(), bodies.len()); // one id, one body
        let whole = 600.0 * 48.0 * 12.0;
        let share = distinct.len() as f64 / whole;
        assert!((0.94..0.999).contains(&share), "{share}"); // some are lost or still kept
        let repeated = (lines.len() - distinct.len()) as f64 / whole;
        assert!((0.003..0.007).contains(&repeated), "{repeated}");

        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        let mut behind = 0;
        for line in &lines {
            let id = line.split("\"device_id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
            let ts: i64 = line.split("\"ts\":").nth(1).and_then(|rest| rest.get(..13)?.parse().ok()).unwrap_or(0);
            let seen = newest.entry(id).or_default();
            behind += u32::from(ts < *seen);
            *seen = ts.max(*seen);
        }
        assert!(behind > 500, "{behind}"); // newest-first uploads, overtaken readings

        let kinds = |kind: &str| truth.lines().filter(|line| line.contains(kind)).count();
        for kind in [r#""kind":"excursion""#, r#""kind":"outage""#, r#""fault":"offline""#, r#""fault":"refrigerant_leak""#] {
            assert!(kinds(kind) > 0, "{kind}");
        }
        for line in truth.lines() {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        }
    }
}
