//! What the fields that were read mean: a record, or what is wrong with it.

use super::{Field, Fields, Parser, Value, is_non_finite, whole_number};
use crate::admission::{Kind, MAX_RECORD_BYTES, Parsed, Text, is_short};
use domain::event::{
    BodyHash, DeviceStatus, Identity, MAX_TEMPERATURE, MIN_TEMPERATURE, Reading, Reason, SENSOR_FAULT_CODES, Topic,
};
use domain::feed::SensorFault;
use domain::join::Fix;
use domain::milli::{Milli, MilliError};
use domain::planted;
use domain::sequence::Sequence;
use domain::time::{EventTime, parse_rfc3339};
use jiter::Jiter;
use std::borrow::Cow;
use std::num::NonZeroU64;

/// Of a fix: its device, its time, longitude and latitude in millionths of a degree, its running number.
type Feature = (Option<Text>, Option<EventTime>, Option<(i32, i32)>, Option<Sequence>);

impl Parser<'_> {
    pub(super) fn judge(&mut self, start: usize, end: usize, root: &Fields, payload: &Fields) -> Parsed {
        let get = |fields: &Fields, field: Field| fields[field as usize];
        if end - start > MAX_RECORD_BYTES && !planted("record-of-any-length") {
            self.reject(Reason::TooLarge, "");
        }
        let event_id = self.text(get(root, Field::EventId), "event_id");
        let source = self.text(get(root, Field::Source), "source");
        // Counters by source are text that databases and tools read.
        let source = source.filter(|text| self.rejection.is_none() || !self.get(*text).contains('\0'));
        let is_envelope = !matches!((get(root, Field::Payload), get(root, Field::Topic)), (Value::Absent, Value::Absent));
        let (fields, prefix) = if is_envelope { (payload, "payload.") } else { (root, "") };
        let is_feature = matches!(get(fields, Field::Type), Value::Text(t) if self.get(t) == "Feature");
        let topic = if is_envelope {
            match get(root, Field::Topic) {
                Value::Text(name) => {
                    let topic = Topic::from_name(self.get(name));
                    if topic.is_none() {
                        self.reject(Reason::UnknownTopic, "topic");
                    }
                    topic
                }
                Value::Absent | Value::Null => {
                    self.reject(Reason::MissingField, "topic");
                    None
                }
                _ => {
                    self.reject(Reason::WrongType, "topic");
                    None
                }
            }
        } else if is_feature {
            Some(Topic::Gps)
        } else {
            Some(Topic::Temperature)
        };
        if is_envelope {
            match get(root, Field::Payload) {
                Value::Object(..) => {}
                Value::Absent | Value::Null => self.reject(Reason::MissingField, "payload"),
                _ => self.reject(Reason::WrongType, "payload"),
            }
        }
        let envelope_time = if is_envelope { self.time(get(root, Field::Ts), "ts") } else { None };
        let mut device = None;
        let mut at = envelope_time;
        let mut kind = Kind::Other;
        let mut body = None;
        let mut sequence = None;
        match topic {
            Some(Topic::Temperature) => {
                device = self.required_text(get(fields, Field::DeviceId), prefix, "device_id");
                sequence = self.sequence(fields, prefix, Topic::Temperature);
                at = self.device_time(fields, prefix, envelope_time);
                if at.is_none() {
                    self.reject(Reason::MissingField, &format!("{prefix}ts"));
                }
                if let Some(reading) = self.reading(fields, prefix, at) {
                    let location =
                        self.text(get(fields, Field::Location), if is_envelope { "payload.location" } else { "location" });
                    body = Some(self.body_of(device, &reading, location));
                    kind = if SENSOR_FAULT_CODES.contains(&reading.temperature) {
                        Kind::Fault(SensorFault { at: reading.at, code: reading.temperature, status: reading.status })
                    } else {
                        Kind::Reading(reading)
                    };
                }
            }
            Some(Topic::Gps) => {
                let place;
                (device, at, place, sequence) = self.feature(fields, prefix, envelope_time);
                if let (Some(at), Some((longitude_e6, latitude_e6))) = (at, place) {
                    kind = Kind::Fix(Fix { at, longitude_e6, latitude_e6 });
                }
            }
            Some(Topic::Stock | Topic::Distribution) | None => {}
        }
        let identity = self.identity(event_id, source, topic, device, at, sequence);
        if identity.is_none() && matches!(topic, Some(Topic::Stock | Topic::Distribution)) {
            self.reject(Reason::MissingField, "event_id");
        }
        if self.has_non_finite && !planted("non-finite-is-taken") {
            self.reject(Reason::NonFinite, "");
        }
        let mut identity = identity;
        if let Some(rejection) = self.rejection.take() {
            kind = Kind::Rejected(Box::new(rejection));
            if !planted("nameless-is-refused-each-time") {
                identity = identity.or_else(|| Some(self.bytes_as_identity(source, start, end)));
            }
        }
        let body = match (&kind, body) {
            (Kind::Reading(_) | Kind::Fault(_), Some(body)) => body,
            // No typed content: the bytes as they were sent.
            _ => BodyHash(self.key.sip64(&[&self.raw[start..end]])),
        };
        Parsed {
            start: start as u32,
            end: end as u32,
            identity,
            is_natural: event_id.is_none() && sequence.is_none(),
            sequence,
            is_envelope,
            body,
            topic,
            source: self.source(source),
            event_id,
            device,
            at,
            kind,
        }
    }

    fn identity(
        &self,
        event_id: Option<Text>,
        source: Option<Text>,
        topic: Option<Topic>,
        device: Option<Text>,
        at: Option<EventTime>,
        sequence: Option<Sequence>,
    ) -> Option<Identity> {
        if let Some(id) = event_id {
            let source = source.filter(|_| !planted("ids-of-all-sources-are-one"));
            let source = source.map_or(self.default_source.as_bytes(), |s| self.bytes(s));
            return Some(Identity(self.key.sip128(&[b"id", source, b"\xff", self.bytes(id)])));
        }
        let (topic, device) = (topic?, device?);
        let channel = topic.name().as_bytes();
        if let Some(Sequence { boot, number }) = sequence {
            let device = self.bytes(device);
            return Some(Identity(self.key.sip128(&[
                b"seq",
                channel,
                b"\xff",
                device,
                b"\xff",
                &boot.get().to_le_bytes(),
                &number.to_le_bytes(),
            ])));
        }
        let at = at?;
        Some(Identity(self.key.sip128(&[b"at", channel, b"\xff", self.bytes(device), b"\xff", &at.ms().to_le_bytes()])))
    }

    /// Who a refused record is that names nothing: its bytes. Another one that is like it would be refused as it was.
    fn bytes_as_identity(&self, source: Option<Text>, start: usize, end: usize) -> Identity {
        let source = source.map_or(self.default_source.as_bytes(), |s| self.bytes(s));
        Identity(self.key.sip128(&[b"raw", source, b"\xff", &self.raw[start..end]]))
    }

    /// The running number of a record and the start of its device that it is counted from; a number alone names nothing.
    fn sequence(&mut self, fields: &Fields, prefix: &str, topic: Topic) -> Option<Sequence> {
        let number = match fields[Field::Seq as usize] {
            Value::Absent | Value::Null => None,
            Value::Number(start, end) => {
                let digits = &self.raw[start as usize..end as usize];
                let is_whole = digits.iter().all(|b| b.is_ascii_digit() || *b == b'-');
                let number = whole_number(digits).filter(|number| *number >= 0);
                if number.is_none() {
                    self.reject(if is_whole { Reason::OutOfRange } else { Reason::WrongType }, &format!("{prefix}seq"));
                }
                number
            }
            _ => {
                self.reject(Reason::WrongType, &format!("{prefix}seq"));
                None
            }
        };
        let boot = match fields[Field::BootId as usize] {
            // A whole number stands for its digits.
            Value::Number(start, end) => {
                let digits = &self.raw[start as usize..end as usize];
                let is_whole = digits.len() <= 20 && digits.iter().all(|b| b.is_ascii_digit() || *b == b'-');
                if !is_whole {
                    self.reject(Reason::WrongType, &format!("{prefix}boot_id"));
                }
                is_whole.then(|| self.boot(topic, digits))
            }
            Value::Absent | Value::Null => None,
            value => self.text(value, &format!("{prefix}boot_id")).map(|text| self.boot(topic, self.bytes(text))),
        };
        Some(Sequence { boot: boot?, number: number? as u64 })
    }

    fn boot(&self, topic: Topic, id: &[u8]) -> NonZeroU64 {
        let name = self.key.sip64(&[b"boot", topic.name().as_bytes(), b"\xff", id]);
        NonZeroU64::new(name).unwrap_or(NonZeroU64::MIN)
    }

    /// What a reading says, whichever way it was written.
    fn body_of(&self, device: Option<Text>, reading: &Reading, location: Option<Text>) -> BodyHash {
        let optional = |m: Option<Milli>| m.map_or(i32::MIN, |m| m.0).to_le_bytes();
        let mut fixed = [0u8; 21];
        fixed[0..8].copy_from_slice(&reading.at.ms().to_le_bytes());
        fixed[8..12].copy_from_slice(&reading.temperature.0.to_le_bytes());
        fixed[12..16].copy_from_slice(&optional(reading.humidity));
        fixed[16..20].copy_from_slice(&optional(reading.battery));
        fixed[20] = reading.status as u8;
        let text = |t: Option<Text>| t.map_or(&b""[..], |t| self.bytes(t));
        BodyHash(self.key.sip64(&[&fixed, text(device), b"\xff", text(location)]))
    }

    fn text(&mut self, value: Value, field: &str) -> Option<Text> {
        match value {
            Value::Absent | Value::Null => None,
            Value::Text(text) if text.len == 0 => {
                self.reject(Reason::OutOfRange, field);
                None
            }
            Value::Text(text) if !is_short(self.bytes(text)) => {
                self.reject(Reason::TooLarge, field);
                None
            }
            Value::Text(text) => Some(text),
            _ => {
                self.reject(Reason::WrongType, field);
                None
            }
        }
    }

    fn required_text(&mut self, value: Value, prefix: &str, name: &str) -> Option<Text> {
        if matches!(value, Value::Absent | Value::Null) {
            self.reject(Reason::MissingField, &format!("{prefix}{name}"));
            return None;
        }
        // Short in any case, mostly: the name of the field need not be made.
        if let Value::Text(Text { len: 1..=128, .. }) = value {
            return self.text(value, name);
        }
        self.text(value, &format!("{prefix}{name}"))
    }

    fn device_time(&mut self, fields: &Fields, prefix: &str, envelope: Option<EventTime>) -> Option<EventTime> {
        for (field, name) in [(Field::Ts, "ts"), (Field::Timestamp, "timestamp")] {
            let value = fields[field as usize];
            if !matches!(value, Value::Absent | Value::Null) {
                return match prefix {
                    "" => self.time(value, name),
                    "payload." => self.time(value, payload_name(name)),
                    _ => self.time(value, &format!("{prefix}{name}")),
                };
            }
        }
        envelope
    }

    /// An RFC 3339 text or whole epoch milliseconds.
    fn time(&mut self, value: Value, field: &str) -> Option<EventTime> {
        let (reason, ms) = match value {
            Value::Absent | Value::Null => return None,
            Value::Text(text) => (Reason::WrongType, parse_rfc3339(self.get(text))),
            Value::Number(start, end) => {
                let digits = &self.raw[start as usize..end as usize];
                let is_whole = || digits.iter().all(|b| b.is_ascii_digit() || *b == b'-');
                match whole_number(digits) {
                    Some(ms) => return Some(EventTime::from_ms(ms)),
                    None if matches!(digits, [b'N' | b'I', ..] | [b'-', b'I', ..]) => (Reason::NonFinite, None),
                    None if is_whole() => (Reason::OutOfRange, None),
                    None => (Reason::WrongType, None),
                }
            }
            _ => (Reason::WrongType, None),
        };
        if ms.is_none() {
            self.reject(reason, field);
        }
        ms.map(EventTime::from_ms)
    }

    /// The fields of a temperature payload, each checked; `None` where one of them is wrong.
    fn reading(&mut self, fields: &Fields, prefix: &str, at: Option<EventTime>) -> Option<Reading> {
        let get = |field: Field| fields[field as usize];
        if matches!(get(Field::Temperature), Value::Absent | Value::Null) {
            self.reject(Reason::MissingField, &format!("{prefix}temperature"));
        }
        let temperature = self.number(get(Field::Temperature), prefix, "temperature", MIN_TEMPERATURE, MAX_TEMPERATURE);
        let percent = (Milli(0), Milli::whole(100));
        let humidity = self.number(get(Field::Humidity), prefix, "humidity", percent.0, percent.1);
        let battery = self.number(get(Field::Battery), prefix, "battery", percent.0, percent.1);
        let status = match get(Field::Status) {
            Value::Absent | Value::Null => DeviceStatus::Ok,
            Value::Text(text) => match self.get(text) {
                "ok" => DeviceStatus::Ok,
                "warn" => DeviceStatus::Warn,
                "error" => DeviceStatus::Error,
                _ => {
                    self.reject(Reason::OutOfRange, &format!("{prefix}status"));
                    DeviceStatus::Ok
                }
            },
            _ => {
                self.reject(Reason::WrongType, &format!("{prefix}status"));
                DeviceStatus::Ok
            }
        };
        Some(Reading { at: at?, temperature: temperature?, humidity, battery, status })
    }

    fn number(&mut self, value: Value, prefix: &str, name: &str, min: Milli, max: Milli) -> Option<Milli> {
        let reason = match value {
            Value::Absent | Value::Null => return None,
            Value::Number(start, end) => match Milli::from_json_number(&self.raw[start as usize..end as usize]) {
                Ok(milli) if name == "temperature" && SENSOR_FAULT_CODES.contains(&milli) => return Some(milli),
                Ok(milli) if (min..=max).contains(&milli) => return Some(milli),
                Ok(_) => Reason::OutOfRange,
                Err(MilliError::NotANumber) => Reason::NonFinite,
                Err(MilliError::TooLarge) => {
                    let text = std::str::from_utf8(&self.raw[start as usize..end as usize]).unwrap_or_default();
                    if text.parse::<f64>().is_ok_and(f64::is_finite) { Reason::OutOfRange } else { Reason::NonFinite }
                }
            },
            Value::Text(text) if is_non_finite(self.get(text)) => Reason::NonFinite,
            _ => Reason::WrongType,
        };
        self.reject(reason, &format!("{prefix}{name}"));
        None
    }

    /// A `GeoJSON` Feature with a Point, and properties that name the device and the time.
    fn feature(&mut self, fields: &Fields, prefix: &str, envelope: Option<EventTime>) -> Feature {
        let get = |field: Field| fields[field as usize];
        if !matches!(get(Field::Type), Value::Text(t) if self.get(t) == "Feature") {
            self.reject(Reason::WrongType, &format!("{prefix}type"));
        }
        let mut place = None;
        match get(Field::Geometry) {
            Value::Object(start, end) => place = self.point(start as usize, end as usize, prefix),
            Value::Absent | Value::Null => self.reject(Reason::MissingField, &format!("{prefix}geometry")),
            _ => self.reject(Reason::WrongType, &format!("{prefix}geometry")),
        }
        let Value::Object(start, end) = get(Field::Properties) else {
            self.reject(Reason::MissingField, &format!("{prefix}properties"));
            return (None, envelope, place, None);
        };
        let (raw, mut inner) = (self.raw, Fields::default());
        let mut j = Jiter::new(&raw[start as usize..end as usize]).with_allow_inf_nan();
        // It was read once already, so it is well-formed.
        if j.peek().is_err() || self.object(&mut j, start as usize, &mut inner, None, "", 2).is_err() {
            return (None, envelope, place, None);
        }
        let prefix = format!("{prefix}properties.");
        let device = self.required_text(inner[Field::DeviceId as usize], &prefix, "device_id");
        let at = self.device_time(&inner, &prefix, envelope);
        if at.is_none() {
            self.reject(Reason::MissingField, &format!("{prefix}ts"));
        }
        let sequence = self.sequence(&inner, &prefix, Topic::Gps);
        // How fast nothing can be, or how far off, is not said: nothing is decided by them.
        for (field, name, most) in
            [(Field::Speed, "speed", f64::MAX), (Field::Heading, "heading", 360.0), (Field::Accuracy, "accuracy", f64::MAX)]
        {
            self.motion(inner[field as usize], &prefix, name, most);
        }
        (device, at, place, sequence)
    }

    /// A number from 0 to `most` that stays with the record alone: only checked, so not taken to thousandths.
    fn motion(&mut self, value: Value, prefix: &str, name: &str, most: f64) {
        let reason = match value {
            Value::Absent | Value::Null => return,
            Value::Number(start, end) => {
                let text = std::str::from_utf8(&self.raw[start as usize..end as usize]).unwrap_or_default();
                match text.parse::<f64>() {
                    Ok(number) if (0.0..=most).contains(&number) => return,
                    Ok(number) if number.is_finite() => Reason::OutOfRange,
                    _ => Reason::NonFinite,
                }
            }
            Value::Text(text) if is_non_finite(self.get(text)) => Reason::NonFinite,
            _ => Reason::WrongType,
        };
        self.reject(reason, &format!("{prefix}{name}"));
    }

    /// Longitude and latitude in millionths of a degree.
    fn point(&mut self, start: usize, end: usize, prefix: &str) -> Option<(i32, i32)> {
        #[derive(serde::Deserialize)]
        struct Point<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            coordinates: Vec<f64>,
        }
        let raw = self.raw;
        let field = format!("{prefix}geometry");
        match serde_json::from_slice::<Point<'_>>(&raw[start..end]) {
            Ok(point) if point.kind == "Point" && (2..=3).contains(&point.coordinates.len()) => {
                if !(-180.0..=180.0).contains(&point.coordinates[0]) || !(-90.0..=90.0).contains(&point.coordinates[1]) {
                    self.reject(Reason::OutOfRange, &format!("{field}.coordinates"));
                    return None;
                }
                let e6 = |degrees: f64| (degrees * 1e6).round() as i32;
                return Some((e6(point.coordinates[0]), e6(point.coordinates[1])));
            }
            // It is well-formed, or this would not be read: what serde_json cannot read then is a number.
            Err(error) if error.is_syntax() => self.reject(Reason::NonFinite, &format!("{field}.coordinates")),
            _ => self.reject(Reason::WrongType, &field),
        }
        None
    }
}

fn payload_name(name: &str) -> &'static str {
    if name == "ts" { "payload.ts" } else { "payload.timestamp" }
}
