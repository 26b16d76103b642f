//! JSON to records: envelopes, bare temperature payloads, `GeoJSON` features; alone, in arrays, or one a line.
//!
//! One pass over the text without a tree. Numbers are read from their digits, so that thousandths are exact; every object is
//! checked for repeated keys, every text for NUL, every level for depth.

use super::shape::Shape;
use super::{
    Batch, Format, IdentityKey, Kind, MAX_DEPTH, MAX_RECORD_BYTES, MAX_RECORDS, MAX_TEXT_BYTES, Message, Parsed, Text,
    TooManyRecords,
};
use bytes::Bytes;
use domain::event::{
    BodyHash, DeviceStatus, Identity, MAX_TEMPERATURE, MIN_TEMPERATURE, Reading, Reason, Rejection, SENSOR_FAULT_CODES, Topic,
};
use domain::feed::SensorFault;
use domain::join::Fix;
use domain::milli::{Milli, MilliError};
use domain::planted;
use domain::sequence::Sequence;
use domain::time::{EventTime, parse_rfc3339};
use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};
use std::borrow::Cow;
use std::num::NonZeroU64;

/// The fields that any record may have, at its root or in its payload.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    EventId,
    Topic,
    Source,
    Ts,
    Payload,
    DeviceId,
    Timestamp,
    Temperature,
    Humidity,
    Battery,
    Status,
    Location,
    Type,
    Geometry,
    Properties,
    Seq,
    BootId,
}

const NAMES: [&str; 17] = [
    "event_id",
    "topic",
    "source",
    "ts",
    "payload",
    "device_id",
    "timestamp",
    "temperature",
    "humidity",
    "battery",
    "status",
    "location",
    "type",
    "geometry",
    "properties",
    "seq",
    "boot_id",
];

/// What a field holds, as far as its bytes tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Value {
    #[default]
    Absent,
    Null,
    Bool,
    Text(Text),
    Number(u32, u32),
    Array,
    Object(u32, u32),
}

pub(super) type Fields = [Value; NAMES.len()];

/// The rest of the record cannot be read.
struct Abort;

/// Of a fix: its device, its time, longitude and latitude in millionths of a degree, its running number.
type Feature = (Option<Text>, Option<EventTime>, Option<(i32, i32)>, Option<Sequence>);

/// So many unknown fields of an object are compared one by one.
const FEW_NAMES: usize = 16;

struct Parser<'k> {
    raw: &'k [u8],
    unescaped: String,
    key: &'k IdentityKey,
    default_source: &'k str,
    /// What is wrong with the record being read: the first finding.
    rejection: Option<Rejection>,
    /// It holds `NaN` or an infinity somewhere.
    has_non_finite: bool,
    /// Names of unknown fields of the objects being read, to find repeated ones.
    unknown: Vec<Text>,
    /// Of the last record that was read in full, in a list.
    shape: Shape,
}

pub(super) fn parse(raw: Bytes, format: Format, source: &str, key: &IdentityKey) -> Result<Batch, TooManyRecords> {
    let mut parser = Parser {
        raw: &raw,
        unescaped: String::new(),
        key,
        default_source: source,
        rejection: None,
        has_non_finite: false,
        unknown: Vec::new(),
        shape: Shape::default(),
    };
    let mut records = Vec::with_capacity((raw.len() / 160).clamp(1, MAX_RECORDS));
    let push = |records: &mut Vec<Parsed>, parsed| {
        if records.len() == MAX_RECORDS {
            return Err(TooManyRecords);
        }
        records.push(parsed);
        Ok(())
    };
    let mut is_single = false;
    let start = skip_space(&raw, 0);
    if format == Format::Ndjson {
        let mut from = 0;
        while from < raw.len() {
            let to = memchr::memchr(b'\n', &raw[from..]).map_or(raw.len(), |at| from + at);
            let start = skip_space(&raw, from);
            if start < to {
                push(&mut records, parser.whole(start, to))?;
            }
            from = to + 1;
        }
    } else if format == Format::Json && raw.get(start) == Some(&b'[') {
        let mut at = skip_space(&raw, start + 1);
        let mut is_whole = raw.get(at) == Some(&b']') && skip_space(&raw, at + 1) == raw.len();
        let mut has_ended = raw.get(at) == Some(&b']');
        while at < raw.len() && !has_ended {
            let (parsed, end, is_readable) = parser.element(at);
            push(&mut records, parsed)?;
            at = skip_space(&raw, end);
            match raw.get(at) {
                Some(b',') => at = skip_space(&raw, at + 1),
                Some(b']') if skip_space(&raw, at + 1) == raw.len() => (is_whole, has_ended) = (true, true),
                // The record that cannot be read took the end of the list with it.
                None if !is_readable => (is_whole, has_ended) = (true, true),
                _ => has_ended = true,
            }
        }
        if !is_whole {
            // The list breaks off or goes on after its end: what is left is one record that nobody can read.
            push(&mut records, parser.unreadable(at.min(raw.len()), raw.len()))?;
        }
    } else {
        is_single = true;
        push(&mut records, parser.whole(start.min(raw.len()), raw.len()))?;
    }
    let unescaped = parser.unescaped;
    Ok(Batch { unescaped, raw, records, source: source.to_owned(), is_single })
}

/// Every one of `messages` in `raw` as one record.
pub(super) fn parse_messages<'m>(raw: Bytes, messages: impl IntoIterator<Item = Message<'m>>, key: &'m IdentityKey) -> Batch {
    let mut parser = Parser {
        raw: &raw,
        unescaped: String::new(),
        key,
        default_source: "",
        rejection: None,
        has_non_finite: false,
        unknown: Vec::new(),
        shape: Shape::default(),
    };
    let mut records = Vec::with_capacity(raw.len() / 160 + 1);
    let mut start = 0;
    let mut known_source = ("", Text::default());
    for Message { end, source, is_unreadable } in messages {
        parser.default_source = source;
        let mut parsed = parser.whole(skip_space(&raw, start).min(end), end);
        if is_unreadable && !matches!(parsed.kind, Kind::Rejected(_)) {
            parsed = parser.unreadable(start, end);
        }
        if parsed.source.is_none() {
            if known_source.0 != source {
                let start = parser.unescaped.len() as u32;
                parser.unescaped.push_str(source);
                known_source = (source, Text { start, len: source.len() as u32, is_unescaped: true });
            }
            parsed.source = Some(known_source.1);
        }
        records.push(parsed);
        start = end;
    }
    Batch { unescaped: parser.unescaped, raw, records, source: String::new(), is_single: false }
}

fn skip_space(raw: &[u8], mut at: usize) -> usize {
    while at < raw.len() && matches!(raw[at], b' ' | b'\t' | b'\r' | b'\n') {
        at += 1;
    }
    at
}

/// Where the value that starts at `start` ends, by its brackets alone: for a value that cannot be read.
fn structural_end(raw: &[u8], start: usize) -> usize {
    let (mut depth, mut in_text, mut at) = (0u32, false, start);
    while at < raw.len() {
        match raw[at] {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => {
                if depth == 0 {
                    return at;
                }
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' if !in_text && depth == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    raw.len()
}

impl Parser<'_> {
    fn begin(&mut self) {
        self.rejection = None;
        self.has_non_finite = false;
        self.unknown.clear();
    }

    fn reject(&mut self, reason: Reason, field: &str) {
        if self.rejection.is_none() {
            self.rejection = Some(Rejection { reason, field: field.to_owned() });
        }
    }

    /// The record that fills [start, to) but for white space.
    fn whole(&mut self, start: usize, to: usize) -> Parsed {
        let raw = self.raw;
        self.begin();
        let (mut root, mut payload) = (Fields::default(), Fields::default());
        if let Some(end) = self.shape.read(&raw[..to], start, &mut root, &mut payload)
            && skip_space(&raw[..to], end) == to
        {
            return self.judge(start, end, &root, &payload);
        }
        (root, payload) = Default::default();
        let mut jiter = Jiter::new(&raw[start..to]).with_allow_inf_nan();
        let read = self.record(&mut jiter, start, &mut root, &mut payload);
        if read.is_ok() && jiter.finish().is_err() {
            self.reject(Reason::MalformedJson, "");
        }
        let end = raw[..to].iter().rposition(|b| !b.is_ascii_whitespace()).map_or(start, |at| at + 1).max(start);
        self.learn(start, end, &root, &payload);
        self.judge(start, end, &root, &payload)
    }

    /// The record of an array that starts at `start`, where it ends, and whether that is known rather than guessed.
    fn element(&mut self, start: usize) -> (Parsed, usize, bool) {
        let raw = self.raw;
        self.begin();
        let (mut root, mut payload) = (Fields::default(), Fields::default());
        if let Some(end) = self.shape.read(raw, start, &mut root, &mut payload) {
            return (self.judge(start, end, &root, &payload), end, true);
        }
        (root, payload) = Default::default();
        let mut jiter = Jiter::new(&raw[start..]).with_allow_inf_nan();
        let (end, is_readable) = match self.record(&mut jiter, start, &mut root, &mut payload) {
            Ok(()) => (start + jiter.current_index(), true),
            Err(Abort) => (structural_end(raw, start), false),
        };
        self.learn(start, end, &root, &payload);
        (self.judge(start, end, &root, &payload), end, is_readable)
    }

    /// Takes the shape of a record that was read in full, where nothing was wrong and another can follow.
    fn learn(&mut self, start: usize, end: usize, root: &Fields, payload: &Fields) {
        if self.rejection.is_none() && !self.has_non_finite && end < self.raw.len() {
            self.shape.learn(self.raw, start, end, root, payload);
        }
    }

    fn unreadable(&mut self, start: usize, end: usize) -> Parsed {
        self.begin();
        self.reject(Reason::MalformedJson, "");
        self.judge(start, end, &Fields::default(), &Fields::default())
    }

    fn record(&mut self, j: &mut Jiter<'_>, base: usize, root: &mut Fields, payload: &mut Fields) -> Result<(), Abort> {
        match self.checked(j.peek())? {
            Peek::Object => self.object(j, base, root, Some(payload), "", 1),
            peek => {
                self.skip(j, base, peek, 0)?;
                self.reject(Reason::WrongType, "");
                Ok(())
            }
        }
    }

    /// Notes what makes the text unreadable.
    fn checked<T>(&mut self, result: Result<T, JiterError>) -> Result<T, Abort> {
        result.map_err(|error| {
            let reason = match error.error_type {
                JiterErrorType::JsonError(
                    JsonErrorType::InvalidUnicodeCodePoint
                    | JsonErrorType::LoneLeadingSurrogateInHexEscape
                    // The first half of a surrogate pair without the second.
                    | JsonErrorType::UnexpectedEndOfHexEscape,
                ) => Reason::InvalidUtf8,
                // An integer of thousands of digits.
                JiterErrorType::JsonError(JsonErrorType::NumberOutOfRange) => Reason::OutOfRange,
                _ => Reason::MalformedJson,
            };
            self.reject(reason, "");
            Abort
        })
    }

    fn get(&self, text: Text) -> &str {
        let range = text.start as usize..(text.start + text.len) as usize;
        if text.is_unescaped { &self.unescaped[range] } else { std::str::from_utf8(&self.raw[range]).unwrap_or_default() }
    }

    /// Reads the fields of an object whose brace comes next. `payload` takes those of the field of that name.
    fn object(
        &mut self,
        j: &mut Jiter<'_>,
        base: usize,
        fields: &mut Fields,
        mut payload: Option<&mut Fields>,
        prefix: &str,
        depth: u32,
    ) -> Result<(), Abort> {
        let first_unknown = self.unknown.len();
        let mut key = j.known_object().map(|key| key.map(known_or_name));
        while let Some(name) = self.checked(key)? {
            let peek = self.checked(j.peek())?;
            if let Ok(field) = name {
                let slot = field as usize;
                if !matches!(fields[slot], Value::Absent) && !planted("last-of-repeated-keys-counts") {
                    self.reject(Reason::DuplicateKey, &format!("{prefix}{}", NAMES[slot]));
                    self.skip(j, base, peek, depth)?;
                } else if let (Field::Payload, Peek::Object, Some(inner)) = (field, peek, payload.as_deref_mut()) {
                    let start = base + j.current_index();
                    self.object(j, base, inner, None, "payload.", depth + 1)?;
                    fields[slot] = Value::Object(start as u32, (base + j.current_index()) as u32);
                } else {
                    fields[slot] = self.value(j, base, peek, depth)?;
                }
            } else if let Err(name) = name {
                self.note_unknown(first_unknown, &name, prefix);
                self.skip(j, base, peek, depth)?;
            }
            key = j.next_key().map(|key| key.map(known_or_name));
        }
        self.forget_unknown(first_unknown, prefix);
        Ok(())
    }

    fn note_unknown(&mut self, first: usize, name: &str, prefix: &str) {
        if name.contains('\0') {
            self.reject(Reason::InvalidUtf8, "");
        }
        let of_object = &self.unknown[first..];
        if of_object.len() < FEW_NAMES && of_object.iter().any(|text| self.get(*text) == name) {
            self.reject(Reason::DuplicateKey, &format!("{prefix}{}", clip(name)));
            return;
        }
        let start = self.unescaped.len() as u32;
        self.unescaped.push_str(name);
        self.unknown.push(Text { start, len: name.len() as u32, is_unescaped: true });
    }

    /// Ends the object whose unknown fields begin at `first`. Where they are many, repeated ones are found only now, by sorting.
    fn forget_unknown(&mut self, first: usize, prefix: &str) {
        if self.unknown.len() - first <= FEW_NAMES {
            self.unknown.truncate(first);
            return;
        }
        let mut names = self.unknown.split_off(first);
        names.sort_unstable_by(|a, b| self.get(*a).cmp(self.get(*b)));
        let repeated =
            names.windows(2).find(|pair| self.get(pair[0]) == self.get(pair[1])).map(|pair| clip(self.get(pair[0])).to_owned());
        if let Some(name) = repeated {
            self.reject(Reason::DuplicateKey, &format!("{prefix}{name}"));
        }
    }

    fn value(&mut self, j: &mut Jiter<'_>, base: usize, peek: Peek, depth: u32) -> Result<Value, Abort> {
        let start = base + j.current_index();
        Ok(match peek {
            Peek::String => {
                let text = j.known_str().map(|text| (text.len(), text.contains('\0')));
                let (len, has_nul) = self.checked(text)?;
                if has_nul && !planted("nul-is-taken") {
                    self.reject(Reason::InvalidUtf8, "");
                }
                let end = base + j.current_index() - 1;
                if len == end - start - 1 {
                    // An escape is always longer than what it stands for: there was none.
                    Value::Text(Text { start: start as u32 + 1, len: len as u32, is_unescaped: false })
                } else {
                    let raw = self.raw;
                    let mut again = Jiter::new(&raw[start..=end]);
                    let text = again.next_str().unwrap_or_default();
                    let at = self.unescaped.len() as u32;
                    self.unescaped.push_str(text);
                    Value::Text(Text { start: at, len: text.len() as u32, is_unescaped: true })
                }
            }
            Peek::Null => {
                self.checked(j.known_null())?;
                Value::Null
            }
            Peek::True | Peek::False => {
                self.checked(j.known_bool(peek))?;
                Value::Bool
            }
            Peek::Array | Peek::Object => {
                self.skip(j, base, peek, depth)?;
                let end = (base + j.current_index()) as u32;
                if peek == Peek::Array { Value::Array } else { Value::Object(start as u32, end) }
            }
            _ => {
                let is_finite =
                    j.known_number_bytes(peek).map(|text| matches!(text, [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..]));
                self.has_non_finite |= !self.checked(is_finite)?;
                Value::Number(start as u32, (base + j.current_index()) as u32)
            }
        })
    }

    /// Passes over a value, still checking depth, repeated keys and texts.
    fn skip(&mut self, j: &mut Jiter<'_>, base: usize, peek: Peek, depth: u32) -> Result<(), Abort> {
        match peek {
            Peek::Array | Peek::Object if depth >= MAX_DEPTH + u32::from(planted("a-level-too-deep")) => {
                self.reject(Reason::TooDeep, "");
                Err(Abort)
            }
            Peek::Array => {
                let mut next = j.known_array();
                while let Some(peek) = self.checked(next)? {
                    self.skip(j, base, peek, depth + 1)?;
                    next = j.array_step();
                }
                Ok(())
            }
            Peek::Object => {
                let first_unknown = self.unknown.len();
                let mut key = j.known_object().map(|key| key.map(str::to_owned));
                while let Some(name) = self.checked(key)? {
                    self.note_unknown(first_unknown, &name, "");
                    let peek = self.checked(j.peek())?;
                    self.skip(j, base, peek, depth + 1)?;
                    key = j.next_key().map(|key| key.map(str::to_owned));
                }
                self.forget_unknown(first_unknown, "");
                Ok(())
            }
            _ => self.value(j, base, peek, depth).map(|_| ()),
        }
    }

    // What the fields mean ---------------------------------------------------------------------------------------------------

    fn judge(&mut self, start: usize, end: usize, root: &Fields, payload: &Fields) -> Parsed {
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
        if let Some(rejection) = self.rejection.take() {
            kind = Kind::Rejected(Box::new(rejection));
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
            source,
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
            let source = source.filter(|_| !planted("ids-of-all-sources-are-one")).map_or(self.default_source, |s| self.get(s));
            return Some(Identity(self.key.sip128(&[b"id", source.as_bytes(), b"\xff", self.get(id).as_bytes()])));
        }
        let (topic, device) = (topic?, device?);
        let channel = topic.name().as_bytes();
        if let Some(Sequence { boot, number }) = sequence {
            let device = self.get(device).as_bytes();
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
        Some(Identity(self.key.sip128(&[b"at", channel, b"\xff", self.get(device).as_bytes(), b"\xff", &at.ms().to_le_bytes()])))
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
            value => self.text(value, &format!("{prefix}boot_id")).map(|text| self.boot(topic, self.get(text).as_bytes())),
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
        let text = |t: Option<Text>| t.map_or("", |t| self.get(t)).as_bytes();
        BodyHash(self.key.sip64(&[&fixed, text(device), b"\xff", text(location)]))
    }

    fn text(&mut self, value: Value, field: &str) -> Option<Text> {
        match value {
            Value::Absent | Value::Null => None,
            Value::Text(text) if text.len == 0 => {
                self.reject(Reason::OutOfRange, field);
                None
            }
            Value::Text(text) if text.len as usize > MAX_TEXT_BYTES => {
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
                let is_whole = digits.iter().all(|b| b.is_ascii_digit() || *b == b'-');
                let ms = whole_number(digits);
                match digits.first() {
                    Some(b'N' | b'I') => (Reason::NonFinite, None),
                    _ if digits.starts_with(b"-I") => (Reason::NonFinite, None),
                    _ if is_whole => (Reason::OutOfRange, ms),
                    _ => (Reason::WrongType, None),
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
        (device, at, place, sequence)
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

fn field_of(name: &str) -> Option<Field> {
    Some(match name {
        "event_id" => Field::EventId,
        "topic" => Field::Topic,
        "source" => Field::Source,
        "ts" => Field::Ts,
        "payload" => Field::Payload,
        "device_id" => Field::DeviceId,
        "timestamp" => Field::Timestamp,
        "temperature" => Field::Temperature,
        "humidity" => Field::Humidity,
        "battery" => Field::Battery,
        "status" => Field::Status,
        "location" => Field::Location,
        "type" => Field::Type,
        "geometry" => Field::Geometry,
        "properties" => Field::Properties,
        "seq" => Field::Seq,
        "boot_id" => Field::BootId,
        _ => return None,
    })
}

/// A known field, or the name of an unknown one.
fn known_or_name(name: &str) -> Result<Field, String> {
    field_of(name).ok_or_else(|| name.to_owned())
}

/// The whole number that `digits` are.
fn whole_number(digits: &[u8]) -> Option<i64> {
    if digits.len() < 18 && digits.iter().all(u8::is_ascii_digit) {
        return Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')));
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn payload_name(name: &str) -> &'static str {
    if name == "ts" { "payload.ts" } else { "payload.timestamp" }
}

fn is_non_finite(text: &str) -> bool {
    let bare = text.trim_start_matches(['+', '-']);
    ["nan", "inf", "infinity"].iter().any(|word| bare.eq_ignore_ascii_case(word))
}

fn clip(name: &str) -> &str {
    let mut end = name.len().min(64);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
