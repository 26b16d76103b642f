//! JSON to records: envelopes, bare temperature payloads, `GeoJSON` features; alone, in arrays, or one a line.
//!
//! One pass over the text without a tree. Numbers are read from their digits, so that thousandths are exact; every object is
//! checked for repeated keys, every text for NUL, every level for depth.

mod judge;

use super::shape::Shape;
use super::{Batch, Format, IdentityKey, Kind, MAX_DEPTH, MAX_RECORDS, Message, Parsed, Text, TooManyRecords};
use bytes::Bytes;
use domain::event::{Reason, Rejection};
use domain::planted;
use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType, Peek};

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
    Speed,
    Heading,
    Accuracy,
}

const NAMES: [&str; 20] = [
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
    "speed",
    "heading",
    "accuracy",
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

/// So many unknown fields of an object are compared one by one.
const FEW_NAMES: usize = 16;
/// So many of the last sources of a body are compared with the next one.
const FEW_SOURCES: usize = 8;

struct Parser<'k> {
    raw: &'k [u8],
    unescaped: String,
    key: &'k IdentityKey,
    /// Source of the records that name none.
    default_source: &'k str,
    /// The sources so far; one may stand there again where many others came in between.
    sources: Vec<String>,
    /// Where the record being read begins.
    start: usize,
    /// What is wrong with it: the first finding.
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
        sources: Vec::new(),
        start: 0,
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
    let Parser { unescaped, sources, .. } = parser;
    Ok(Batch { raw, unescaped, records, sources, is_single })
}

/// Every one of `messages` in `raw` as one record.
pub(super) fn parse_messages<'m>(raw: Bytes, messages: impl IntoIterator<Item = Message<'m>>, key: &'m IdentityKey) -> Batch {
    let mut parser = Parser {
        raw: &raw,
        unescaped: String::new(),
        key,
        default_source: "",
        sources: Vec::new(),
        start: 0,
        rejection: None,
        has_non_finite: false,
        unknown: Vec::new(),
        shape: Shape::default(),
    };
    let mut records = Vec::with_capacity(raw.len() / 160 + 1);
    let mut start = 0;
    for Message { end, source, is_unreadable } in messages {
        parser.default_source = source;
        let mut parsed = parser.whole(skip_space(&raw, start).min(end), end);
        if is_unreadable && !matches!(parsed.kind, Kind::Rejected(_)) {
            parsed = parser.unreadable(start, end);
        }
        records.push(parsed);
        start = end;
    }
    let Parser { unescaped, sources, .. } = parser;
    Batch { raw, unescaped, records, sources, is_single: false }
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
    fn begin(&mut self, start: usize) {
        self.start = start;
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
        self.begin(start);
        let (mut root, mut payload) = (Fields::default(), Fields::default());
        if let Some(end) = self.shape.read(&raw[..to], start, &mut root, &mut payload)
            && skip_space(&raw[..to], end) == to
        {
            return self.judge(start, end, &root, &payload);
        }
        (root, payload) = Default::default();
        let mut jiter = Jiter::new(&raw[start..to]).with_allow_inf_nan();
        let read = self.record(&mut jiter, start, &mut root, &mut payload);
        if read.is_ok() {
            let _ = self.checked(jiter.finish());
        }
        let end = raw[..to].iter().rposition(|b| !b.is_ascii_whitespace()).map_or(start, |at| at + 1).max(start);
        self.learn(start, end, &root, &payload);
        self.judge(start, end, &root, &payload)
    }

    /// The record of an array that starts at `start`, where it ends, and whether that is known rather than guessed.
    fn element(&mut self, start: usize) -> (Parsed, usize, bool) {
        let raw = self.raw;
        self.begin(start);
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
        self.begin(start);
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

    /// Whether the character that begins at byte `at` is none, rather than cut off.
    fn is_no_text(&self, at: usize) -> bool {
        let rest = self.raw.get(at..).unwrap_or_default();
        let character = std::str::from_utf8(&rest[..rest.len().min(4)]);
        character.is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_some())
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
                _ if self.is_no_text(self.start + error.index) => Reason::InvalidUtf8,
                _ => Reason::MalformedJson,
            };
            self.reject(reason, "");
            Abort
        })
    }

    /// The place of `source` among the sources, where it is put unless it is one of the last.
    fn source(&mut self, source: Option<Text>) -> u32 {
        let name = source.map_or(self.default_source, |source| self.get(source));
        let first = self.sources.len().saturating_sub(FEW_SOURCES);
        let known = self.sources[first..].iter().rposition(|source| source == name);
        if known.is_none() {
            let name = name.to_owned();
            self.sources.push(name);
        }
        known.map_or(self.sources.len() - 1, |at| first + at) as u32
    }

    fn get(&self, text: Text) -> &str {
        std::str::from_utf8(self.bytes(text)).unwrap_or_default()
    }

    fn bytes(&self, text: Text) -> &[u8] {
        let range = text.start as usize..(text.start + text.len) as usize;
        if text.is_unescaped { &self.unescaped.as_bytes()[range] } else { &self.raw[range] }
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
        "speed" => Field::Speed,
        "heading" => Field::Heading,
        "accuracy" => Field::Accuracy,
        _ => return None,
    })
}

/// A known field, or the name of an unknown one.
fn known_or_name(name: &str) -> Result<Field, String> {
    field_of(name).ok_or_else(|| name.to_owned())
}

/// The whole number that `digits` are.
fn whole_number(digits: &[u8]) -> Option<i64> {
    // In one pass, whatever the bytes are: seventeen of at most 255 each stay within the number.
    if (1..18).contains(&digits.len()) {
        let (number, most) = digits.iter().fold((0, 0), |(number, most), digit| {
            let value = digit.wrapping_sub(b'0');
            (number * 10 + i64::from(value), value.max(most))
        });
        if most < 10 {
            return Some(number);
        }
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
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
