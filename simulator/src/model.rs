//! What a device measures and says at an instant: fridge, troubles, battery and probe put together.

use crate::encode;
use crate::faults::{ClockFault, Exposure, Troubles, covers, remoteness};
use crate::fleet::SimSensor;
use crate::fridge::{Cause, Fridge};
use crate::random::{Draw, Purpose, smooth, subject};
use crate::weather::Place;
use domain::coldchain::Range;
use domain::event::DeviceStatus;
use domain::milli::Milli;
use domain::time::{DAY_MS, EventTime, HOUR_MS};

/// A reading as the device sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When it was measured, by a right clock: what makes its event id.
    pub true_at: EventTime,
    /// When it was measured, by the device's clock.
    pub at: EventTime,
    /// As reported: a fault code where the probe failed.
    pub temperature: Milli,
    /// Relative humidity.
    pub humidity: Milli,
    /// Battery charge, whole per cent.
    pub battery: u8,
    /// What the device says of itself.
    pub status: DeviceStatus,
    /// Which boot of the device this is.
    pub boot: u32,
    /// Readings since that boot.
    pub seq: u32,
}

/// A reading together with the truth behind it.
#[derive(Clone, Copy, Debug)]
pub struct Observation {
    /// What the device would send.
    pub reading: Reading,
    /// The temperature that there really was.
    pub temperature: Milli,
    /// Why, if it lies outside the range.
    pub cause: Cause,
    /// The probe failed, so the reading carries a fault code.
    pub probe_failed: bool,
}

/// One sensor and the equipment it watches.
#[derive(Clone, Debug)]
pub struct Device {
    /// For [`Draw`].
    pub subject: u64,
    /// What the equipment has to hold.
    pub range: Range,
    /// Whom it shares gateway and supply with.
    pub exposure: Exposure,
    /// The instant within each interval at which it measures.
    pub phase_ms: i64,
    place: Place,
    fridge: Fridge,
    battery: Battery,
    troubles: Troubles,
    boot_shift: i64,
    /// JSON between event id and first time, and between the two times.
    before_ts: Box<[u8]>,
    before_payload_ts: Box<[u8]>,
}

/// Readings between two boots of a device: four weeks at 5 minutes.
const READINGS_PER_BOOT: i64 = 28 * 288;

impl Device {
    /// The device that measures for `sensor` every `interval_ms`.
    pub fn new(seed: u64, sensor: &SimSensor, interval_ms: i64) -> Self {
        let device = subject(&sensor.id);
        let facility = subject(&sensor.facility);
        let province = sensor.province();
        let exposure = Exposure {
            device,
            facility,
            district: subject(&sensor.district),
            remoteness: province.parse().map_or(1.0, remoteness),
        };
        let digits: String = sensor.regency().chars().filter(char::is_ascii_digit).collect();
        Self {
            subject: device,
            range: sensor.range,
            exposure,
            phase_ms: Draw::of(seed, device, 0, Purpose::Phase).below(interval_ms as u64) as i64,
            place: Place::new(seed, facility, subject(sensor.regency()), subject(province), sensor.latitude, sensor.zone),
            fridge: Fridge::new(seed, device, sensor.range),
            battery: Battery::new(seed, device),
            troubles: Troubles { until: EventTime::from_ms(i64::MIN), ..Troubles::NONE },
            boot_shift: Draw::of(seed, device, 0, Purpose::Boot).below(READINGS_PER_BOOT as u64) as i64,
            before_ts: format!(r#"","topic":"temperature","source":"gateway-{digits}","ts":"#).into_bytes().into(),
            before_payload_ts: format!(r#","payload":{{"device_id":"{}","ts":"#, sensor.id).into_bytes().into(),
        }
    }

    /// Whether the troubles known so far end before `at`.
    pub fn page_turns(&self, at: EventTime) -> bool {
        at >= self.troubles.until
    }

    /// Has them looked up anew, so that an earlier time can be asked for.
    pub fn forget_troubles(&mut self) {
        self.troubles.until = EventTime::from_ms(i64::MIN);
    }

    /// The troubles last looked up.
    pub fn known_troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Its troubles around `at`. Looked up anew only where a calendar turns a page, so ask in the order of time.
    pub fn troubles(&mut self, seed: u64, at: EventTime) -> &Troubles {
        if self.page_turns(at) {
            self.troubles = Troubles::around(seed, &self.exposure, at);
        }
        &self.troubles
    }

    /// What it measures at `at`, the `slot`-th interval since 1970. [`Device::troubles`] must have been asked for `at` before.
    pub fn observe(&self, seed: u64, slot: i64, at: EventTime) -> Observation {
        let troubles = &self.troubles;
        let (inside, cause) = self.fridge.inside(seed, self.subject, &self.place, troubles, at);
        let noise = Draw::of(seed, self.subject, slot, Purpose::Noise);
        let temperature = hundredths(inside + noise.between(-0.04, 0.04));

        let lived = slot + self.boot_shift;
        let (boot, seq) = (lived.div_euclid(READINGS_PER_BOOT) as u32, lived.rem_euclid(READINGS_PER_BOOT) as u32);
        let glitch = Draw::of(seed, self.subject, slot, Purpose::Glitch);
        // The codes of a DS18B20: no contact, power-on reset, broken line.
        let code = if covers(troubles.sensor_lost, at) {
            Some(Milli(-127_000))
        } else if (seq == 0 && glitch.happens(0.5)) || glitch.happens(0.000_02) {
            Some(Milli(85_000))
        } else if glitch.next().happens(0.000_003) {
            Some(Milli(127_940))
        } else {
            None
        };
        let reported = code.unwrap_or(temperature);
        let humidity = 58.0 + 14.0 * smooth(seed, self.subject, Purpose::Humidity, at.ms(), 4 * HOUR_MS) + noise.next().unit();
        let battery = self.battery.charge(troubles, at);
        let status = if code.is_some() {
            DeviceStatus::Error
        } else if battery < 20 || self.range.condition(temperature).is_excursion() {
            DeviceStatus::Warn
        } else {
            DeviceStatus::Ok
        };
        let shown_at = match troubles.clock {
            Some((spell, fault)) if spell.covers(at) => match fault {
                ClockFault::Ahead(ms) => at.plus_ms(ms),
                ClockFault::Reset(from) => from.plus_ms(at.ms() - spell.start.ms()),
            },
            _ => at,
        };
        let reading = Reading {
            true_at: at,
            at: shown_at,
            temperature: reported,
            humidity: Milli((humidity * 10.0) as i32 * 100),
            battery,
            status,
            boot,
            seq,
        };
        Observation { reading, temperature, cause, probe_failed: code.is_some() }
    }

    /// Appends a reading of this device as one envelope, without line end.
    pub fn encode(&self, seed: u64, reading: &Reading, out: &mut Vec<u8>) {
        let id = |purpose| Draw::of(seed, self.subject, reading.true_at.ms(), purpose).bits();
        out.extend_from_slice(br#"{"event_id":""#);
        encode::uuid(out, id(Purpose::IdHigh), id(Purpose::IdLow));
        out.extend_from_slice(&self.before_ts);
        let ts_from = out.len();
        encode::integer(out, reading.at.ms());
        let ts_to = out.len();
        out.extend_from_slice(&self.before_payload_ts);
        out.extend_from_within(ts_from..ts_to);
        out.extend_from_slice(br#","temperature":"#);
        encode::milli(out, reading.temperature);
        out.extend_from_slice(br#","humidity":"#);
        encode::milli(out, reading.humidity);
        out.extend_from_slice(br#","battery":"#);
        encode::integer(out, i64::from(reading.battery));
        out.extend_from_slice(match reading.status {
            DeviceStatus::Ok => br#","status":"ok","seq":"#.as_slice(),
            DeviceStatus::Warn => br#","status":"warn","seq":"#,
            DeviceStatus::Error => br#","status":"error","seq":"#,
        });
        encode::integer(out, i64::from(reading.seq));
        out.extend_from_slice(br#","boot_id":"#);
        encode::integer(out, i64::from(reading.boot));
        out.extend_from_slice(b"}}");
    }
}

/// °C to hundredths of a degree, the resolution of the loggers.
fn hundredths(celsius: f64) -> Milli {
    Milli((celsius * 100.0).round() as i32 * 10)
}

/// The battery of a logger: drained by its work, charged by the mains or a small panel.
#[derive(Clone, Copy, Debug)]
struct Battery {
    /// Full charge, per cent; worn ones hold little.
    full: f64,
    /// Charge at which it is charged again.
    empty: f64,
    /// From one full charge to the next.
    cycle_ms: i64,
}

impl Battery {
    fn new(seed: u64, device: u64) -> Self {
        let draw = Draw::of(seed, device, 0, Purpose::Battery);
        let worn = draw.happens(0.015);
        let full = if worn { draw.next().between(16.0, 40.0) } else { draw.next().between(94.0, 100.5) };
        Self {
            full,
            empty: full * draw.next().next().between(0.35, 0.9),
            cycle_ms: draw.next().next().next().between(1.5 * DAY_MS as f64, 6.0 * DAY_MS as f64) as i64,
        }
    }

    /// Charge at `at`, per cent.
    fn charge(&self, troubles: &Troubles, at: EventTime) -> u8 {
        let part = at.ms().rem_euclid(self.cycle_ms) as f64 / self.cycle_ms as f64;
        // Drains for nine tenths of a cycle, is charged in the last tenth.
        let level = if part < 0.9 { 1.0 - part / 0.9 } else { (part - 0.9) / 0.1 };
        // Without mains 4 % an hour more, won back at three times that pace.
        let dark = troubles.blackout.filter(|spell| spell.start <= at).map_or(0.0, |spell| {
            let hours = |from: EventTime, to: EventTime| (to.ms() - from.ms()) as f64 / HOUR_MS as f64;
            if at < spell.end {
                4.0 * hours(spell.start, at)
            } else {
                (4.0 * hours(spell.start, spell.end) - 12.0 * hours(spell.end, at)).max(0.0)
            }
        });
        (self.empty + (self.full - self.empty) * level - dark).clamp(2.0, 100.0) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Fleet;
    use domain::coldchain::Condition;

    const INTERVAL: i64 = 300_000;
    const SLOT: i64 = 20_777 * 288;

    fn devices(n: usize) -> Vec<Device> {
        Fleet::invented(n).sensors.iter().map(|sensor| Device::new(1, sensor, INTERVAL)).collect()
    }

    fn observe(device: &mut Device, slot: i64) -> Observation {
        let at = EventTime::from_ms(slot * INTERVAL + device.phase_ms);
        device.troubles(1, at);
        device.observe(1, slot, at)
    }

    #[test]
    fn a_reading_needs_none_before_it() {
        for mut device in devices(300) {
            let mut fresh = device.clone();
            for slot in 0..2 * 288 {
                observe(&mut device, SLOT + slot);
            }
            assert_eq!(observe(&mut device, SLOT + 600).reading, observe(&mut fresh, SLOT + 600).reading);
        }
    }

    #[test]
    fn the_country_looks_credible() {
        let mut counts = [0u32; 5];
        let mut devices: Vec<_> = Fleet::country().sensors.iter().map(|sensor| Device::new(1, sensor, INTERVAL)).collect();
        for slot in (0..7 * 288).step_by(150) {
            for device in &mut devices {
                let seen = observe(device, SLOT + slot);
                let at = seen.reading.true_at;
                let hour_ago = at.plus_ms(-HOUR_MS);
                let dumb = |spell: Option<crate::faults::Spell>| spell.is_some_and(|s| s.covers(at) && s.covers(hour_ago));
                let troubles = device.troubles(1, at);
                let mute = dumb(troubles.offline) || dumb(troubles.silent) || dumb(troubles.sensor_lost);
                let condition = if mute { Condition::NoWord } else { device.range.condition(seen.temperature) };
                counts[Condition::ALL.iter().position(|c| *c == condition).expect("listed")] += 1;
            }
        }
        let [fine, warm, cold, freezing, mute] = counts.map(f64::from);
        let heard = fine + warm + cold + freezing;
        let percent = |part: f64, of: f64| 100.0 * part / of;
        println!(
            "fine {:.2} %, warm {:.2} %, cold {:.2} %, freezing {:.2} % of those heard; without word {:.2} %",
            percent(fine, heard),
            percent(warm, heard),
            percent(cold, heard),
            percent(freezing, heard),
            percent(mute, heard + mute)
        );
        assert!((96.0..99.5).contains(&percent(fine, heard)));
        assert!((0.8..2.2).contains(&percent(warm, heard)));
        assert!((0.05..0.5).contains(&percent(cold + freezing, heard)));
        assert!((2.0..4.5).contains(&percent(mute, heard + mute)));
    }

    #[test]
    fn every_event_is_json_and_keeps_the_contract() {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Envelope {
            event_id: String,
            topic: String,
            source: String,
            ts: i64,
            payload: Payload,
        }
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Payload {
            device_id: String,
            ts: i64,
            temperature: serde_json::Number,
            humidity: f64,
            battery: f64,
            status: DeviceStatus,
            seq: u64,
            boot_id: u64,
        }
        let fleet = Fleet::invented(500);
        let mut text = Vec::new();
        for (device, sensor) in devices(500).iter_mut().zip(&fleet.sensors) {
            for slot in (0..600).step_by(7) {
                let seen = observe(device, SLOT + slot);
                text.clear();
                device.encode(1, &seen.reading, &mut text);
                let event: Envelope = serde_json::from_slice(&text).expect("the contract's form");
                let id = event.event_id.as_bytes();
                assert!(id.len() == 36 && id[14] == b'4' && matches!(id[19], b'8' | b'9' | b'a' | b'b'), "{}", event.event_id);
                assert_eq!((event.topic.as_str(), event.payload.device_id.as_str()), ("temperature", sensor.id.as_str()));
                assert!(event.source.starts_with("gateway-"));
                assert_eq!((event.ts, event.payload.ts), (seen.reading.at.ms(), seen.reading.at.ms()));
                let sent: Milli = event.payload.temperature.to_string().parse().expect("a decimal");
                assert_eq!(sent, seen.reading.temperature);
                assert!((0.0..=100.0).contains(&event.payload.humidity) && (0.0..=100.0).contains(&event.payload.battery));
                assert_eq!(event.payload.status == DeviceStatus::Error, seen.probe_failed);
                assert!(event.payload.seq < 8_064 && event.payload.boot_id > 0);
            }
        }
    }
}
