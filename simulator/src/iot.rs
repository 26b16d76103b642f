//! The simple form, known from pipelines for things on the internet: a few room sensors that each send several bare readings a second.
//!
//! Their messages are `{device_id, ts, temperature, humidity, battery, status, location}` without envelope, so a message is known
//! by device and time. Rooms have no range to leave; the ground truth is which messages report an error of their sensor.

use crate::encode;
use crate::faults::Spell;
use crate::random::{Draw, Purpose, smooth, subject};
use crate::source::{Sink, Source};
use crate::truth::Truth;
use crate::way::{Disorder, Later, other_time};
use domain::milli::Milli;
use domain::time::{DAY_MS, EventTime, HOUR_MS, MINUTE_MS};

/// Where the sensors hang, with the usual temperature there, °C.
const LOCATIONS: [(&str, f64); 4] = [("floor-1", 24.5), ("floor-2", 25.5), ("lab", 21.5), ("office", 23.5)];

/// Room sensors that report at a fixed rate.
pub struct RoomSensors {
    seed: u64,
    /// Time between two messages of one sensor, in microseconds: rates like 30 a second have no whole milliseconds.
    interval_us: i64,
    disorder: Disorder,
    sensors: Vec<RoomSensor>,
    later: Later<(usize, Vec<u8>)>,
    /// The interval being walked, counted from 1970, and the next sensor in it.
    slot: i64,
    next: usize,
    text: Vec<u8>,
}

struct RoomSensor {
    id: String,
    subject: u64,
    usual: f64,
    /// `{"device_id":"sensor-01","ts":`
    before_ts: Vec<u8>,
    /// `,"location":"lab"}`
    location: Vec<u8>,
}

impl RoomSensors {
    /// `n` sensors that each send `rate` messages a second (0 < `rate` ≤ 1 000, for times are whole milliseconds) from `from` on.
    pub fn new(seed: u64, n: usize, rate: f64, disorder: Disorder, from: EventTime) -> Self {
        let sensors = (0..n).map(|index| {
            let id = format!("sensor-{:02}", index + 1);
            let (location, usual) = LOCATIONS[index % LOCATIONS.len()];
            RoomSensor {
                subject: subject(&id),
                usual: usual + Draw::of(seed, subject(&id), 0, Purpose::Place).between(-0.8, 0.8),
                before_ts: format!(r#"{{"device_id":"{id}","ts":"#).into_bytes(),
                location: format!(r#","location":"{location}"}}"#).into_bytes(),
                id,
            }
        });
        let interval_us = (1_000_000.0 / rate).round() as i64;
        Self {
            seed,
            interval_us,
            disorder,
            sensors: sensors.collect(),
            later: Later::default(),
            slot: (from.ms() * 1_000).div_euclid(interval_us) + 1,
            next: 0,
            text: Vec::with_capacity(256),
        }
    }

    /// When a sensor sends for the `slot`-th time since 1970: evenly spread, one sensor after another.
    fn at(&self, slot: i64, index: usize) -> EventTime {
        let shift = self.interval_us * index as i64 / self.sensors.len() as i64;
        EventTime::from_ms((slot * self.interval_us + shift) / 1_000)
    }

    fn measure(&mut self, at: EventTime, sink: &mut dyn Sink, truth: &mut Truth) {
        let (index, slot) = (self.next, self.slot);
        self.next += 1;
        if self.next == self.sensors.len() {
            (self.slot, self.next) = (self.slot + 1, 0);
        }
        let seed = self.seed;
        let next_at = self.at(slot + 1, index);
        let sensor = &self.sensors[index];
        let fate = self.disorder.fate(seed, sensor.subject, EventTime::from_ms(slot), (self.interval_us / 1_000).max(1));
        let noise = Draw::of(seed, sensor.subject, slot, Purpose::Noise);
        let hour = (at.ms().rem_euclid(DAY_MS) as f64 / HOUR_MS as f64 + 7.0).rem_euclid(24.0); // WIB
        let warmth = 1.2 * (1.0 - ((hour - 14.0).abs().min(24.0 - (hour - 14.0).abs()) / 6.0).min(2.0));
        let drift = smooth(seed, sensor.subject, Purpose::Room, at.ms(), 10 * MINUTE_MS);
        let temperature = sensor.usual + warmth + 0.7 * drift + noise.between(-0.08, 0.08);
        let humidity = 55.0 - 2.0 * warmth + 6.0 * smooth(seed, sensor.subject, Purpose::Humidity, at.ms(), HOUR_MS);
        // Six hours from full to a quarter, then charged at once.
        let shift = Draw::of(seed, sensor.subject, 0, Purpose::Battery).below(6 * HOUR_MS as u64) as i64;
        let battery = 100 - (at.ms() + shift).rem_euclid(6 * HOUR_MS) * 82 / (6 * HOUR_MS);
        let has_failed = noise.next().happens(0.000_5);
        if has_failed {
            truth.device_fault(&sensor.id, "reported_error", Spell { start: at, end: next_at });
        }
        let status = match () {
            () if has_failed => "error",
            () if battery < 20 || temperature > sensor.usual + 1.9 => "warn",
            () => "ok",
        };
        let out = &mut self.text;
        out.clear();
        out.extend_from_slice(&sensor.before_ts);
        encode::integer(out, at.ms());
        let ts_to = out.len();
        out.extend_from_slice(br#","temperature":"#);
        encode::milli(out, Milli((temperature * 100.0).round() as i32 * 10));
        out.extend_from_slice(br#","humidity":"#);
        encode::milli(out, Milli((humidity * 10.0).round() as i32 * 100));
        out.extend_from_slice(br#","battery":"#);
        encode::integer(out, battery);
        out.extend_from_slice(br#","status":""#);
        out.extend_from_slice(status.as_bytes());
        out.push(b'"');
        out.extend_from_slice(&sensor.location);
        if let Some(after) = fate.late_after_ms {
            let mut again = sensor.before_ts.clone();
            encode::integer(&mut again, other_time(at).ms());
            again.extend_from_slice(&out[ts_to..]);
            self.later.push(at.plus_ms(after + 1), (index, again));
        }
        if let Some(after) = fate.repeated_after_ms {
            self.later.push(at.plus_ms(fate.held_ms + after), (index, out.clone()));
        }
        if fate.held_ms > 0 {
            self.later.push(at.plus_ms(fate.held_ms), (index, out.clone()));
        } else {
            sink.record(index, out);
        }
    }
}

impl Source for RoomSensors {
    fn advance(&mut self, until: EventTime, sink: &mut dyn Sink, truth: &mut Truth) {
        if self.sensors.is_empty() {
            return;
        }
        loop {
            let at = self.at(self.slot, self.next);
            if self.later.next_at().is_some_and(|later| later <= at) {
                match self.later.pop_before(until) {
                    Some((index, text)) => sink.record(index, &text),
                    None => return,
                }
            } else if at < until {
                self.measure(at, sink, truth);
            } else {
                return;
            }
        }
    }

    /// What there was to tell was told with its message.
    fn finish(&mut self, _truth: &mut Truth) {}

    fn devices(&self) -> usize {
        self.sensors.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::{Kept, Shared};
    use domain::event::DeviceStatus;
    use std::collections::BTreeMap;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Message {
        device_id: String,
        ts: i64,
        temperature: f64,
        humidity: f64,
        battery: u8,
        #[serde(rename = "status")]
        _status: DeviceStatus,
        location: String,
    }

    const FROM: EventTime = EventTime::from_ms(20_777 * DAY_MS);

    fn play(n: usize, rate: f64, disorder: Disorder, seconds: i64) -> (Vec<u8>, Vec<Message>) {
        let mut kept = Kept::default();
        let mut source = RoomSensors::new(1, n, rate, disorder, FROM);
        source.advance(FROM.plus_ms(seconds * 1_000), &mut kept, &mut Truth::nowhere());
        let messages = kept.0.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let messages = messages.map(|line| serde_json::from_slice(line).expect("the contract's form")).collect();
        (kept.0, messages)
    }

    #[test]
    fn twenty_devices_at_ten_a_second_are_two_hundred() {
        let (bytes, messages) = play(20, 10.0, Disorder::default(), 60);
        assert!((11_960..=12_000).contains(&messages.len()), "{}", messages.len()); // the first interval is partly before
        assert_eq!(bytes, play(20, 10.0, Disorder::default(), 60).0);
        let mut counts: BTreeMap<_, u32> = BTreeMap::new();
        for message in &messages {
            assert!(LOCATIONS.iter().any(|(name, _)| *name == message.location));
            assert!((15.0..32.0).contains(&message.temperature) && (20.0..80.0).contains(&message.humidity));
            assert!((10..=100).contains(&message.battery) && message.device_id.starts_with("sensor-"));
            *counts.entry((message.device_id.clone(), message.ts / 10_000)).or_default() += 1;
        }
        assert_eq!(counts.values().filter(|count| **count == 100).count(), 20 * 5);
        // 4 a second make 40 in a window of 10 s.
        assert!((8 * 4 * 10 - 8..=8 * 4 * 10).contains(&play(8, 4.0, Disorder::default(), 10).1.len()));
    }

    #[test]
    fn every_error_is_told_in_the_truth() {
        let told = Shared::default();
        let mut truth = Truth::to(told.clone());
        let mut kept = Kept::default();
        RoomSensors::new(1, 8, 4.0, Disorder::default(), FROM).advance(FROM.plus_ms(HOUR_MS), &mut kept, &mut truth);
        truth.flush().expect("memory");
        let errors: Vec<_> = String::from_utf8(kept.0)
            .expect("JSON")
            .lines()
            .filter(|line| line.contains(r#""status":"error""#))
            .map(|line| serde_json::from_str::<Message>(line).expect("the contract's form"))
            .map(|message| (message.device_id, EventTime::from_ms(message.ts)))
            .map(|(id, at)| {
                format!(
                    r#"{{"kind":"fault","device_id":"{id}","fault":"reported_error","start":"{at}","end":"{}"}}"#,
                    at.plus_ms(250)
                )
            })
            .collect();
        assert!(errors.len() > 20, "{errors:?}");
        assert_eq!(told.text().lines().collect::<Vec<_>>(), errors);
    }
}
