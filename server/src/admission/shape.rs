//! The shape of a record: what stays the same from one record of a body to the next.
//!
//! Devices write the same names in the same order for ever. Once a record was read in full, the next one is compared with the text
//! between its values, and only the values are read: plain ASCII texts and plain decimals. Whatever differs in any way is no match and
//! is read in full again, so a shape never decides what a record means.

use super::Text;
use super::json::{Fields, Value};

/// So many shapes are learned for one body: a body of all kinds of records should not pay for each of them.
const MAX_LEARNED: u32 = 16;
/// The full reading has limits for longer numbers.
const MAX_DIGITS: usize = 18;

/// Where the value of a shape goes.
#[derive(Clone, Copy, Debug)]
struct Slot {
    of_payload: bool,
    field: u8,
}

/// The text before a value, and the value.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// End of the text before it, in `Shape::text`.
    text_end: u32,
    slot: Slot,
    is_text: bool,
}

/// The shape of the records of a body so far.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// All text between the values, one after the other; the rest of the last part is the end of the record.
    text: Vec<u8>,
    parts: Vec<Part>,
    /// Values that are written in `text`, the same in every record of the shape.
    fixed: Vec<(Slot, Value)>,
    learned: u32,
}

impl Shape {
    /// Reads the record that starts at `at`; where it ends, or `None` where it is of another shape. Then the fields hold anything.
    pub(super) fn read(&self, raw: &[u8], mut at: usize, root: &mut Fields, payload: &mut Fields) -> Option<usize> {
        if self.text.is_empty() {
            return None;
        }
        let mut text_start = 0;
        for Part { text_end, slot, is_text } in &self.parts {
            at = passed(raw, at, &self.text[text_start..*text_end as usize])?;
            text_start = *text_end as usize;
            let end = if *is_text { text_end_at(raw, at)? } else { number_end_at(raw, at)? };
            *slot.of(root, payload) = if *is_text {
                Value::Text(Text { start: at as u32, len: (end - at) as u32, is_unescaped: false })
            } else {
                Value::Number(at as u32, end as u32)
            };
            at = end;
        }
        for (slot, value) in &self.fixed {
            *slot.of(root, payload) = *value;
        }
        passed(raw, at, &self.text[text_start..])
    }

    /// Takes the shape of the record in [start, end), which was read in full and has these fields.
    pub(super) fn learn(&mut self, raw: &[u8], start: usize, end: usize, root: &Fields, payload: &Fields) {
        if self.learned == MAX_LEARNED {
            return;
        }
        self.learned += 1;
        let slots = [(root, false), (payload, true)].into_iter().flat_map(|(fields, of_payload)| {
            fields.iter().zip(0..).map(move |(value, field)| (Slot { of_payload, field }, *value))
        });
        let (mut values, mut fixed) = (Vec::new(), Vec::new());
        for (slot, value) in slots {
            match value {
                Value::Absent => {}
                Value::Text(Text { is_unescaped: true, .. }) => return,
                Value::Text(Text { start, len, .. }) => values.push((start as usize, (start + len) as usize, slot, true)),
                Value::Number(start, end) => values.push((start as usize, end as usize, slot, false)),
                // Their bytes, and those of the names in a payload, are text of the shape.
                Value::Null | Value::Bool => fixed.push((slot, value)),
                Value::Object(..) if slot.is_payload() => fixed.push((slot, value)),
                // What is in them is read again later, from where it stands.
                Value::Array | Value::Object(..) => return,
            }
        }
        self.text.clear();
        self.parts.clear();
        self.fixed = fixed;
        values.sort_unstable_by_key(|(start, ..)| *start);
        let mut at = start;
        for (start, end, slot, is_text) in values {
            self.text.extend_from_slice(&raw[at..start]);
            self.parts.push(Part { text_end: self.text.len() as u32, slot, is_text });
            at = end;
        }
        self.text.extend_from_slice(&raw[at..end]);
    }
}

impl Slot {
    fn of<'f>(self, root: &'f mut Fields, payload: &'f mut Fields) -> &'f mut Value {
        if self.of_payload { &mut payload[usize::from(self.field)] } else { &mut root[usize::from(self.field)] }
    }

    const fn is_payload(self) -> bool {
        !self.of_payload && self.field == super::json::Field::Payload as u8
    }
}

/// The place after `text`, where it stands at `at`.
fn passed(raw: &[u8], at: usize, text: &[u8]) -> Option<usize> {
    raw[at..].starts_with(text).then_some(at + text.len())
}

/// Where the text that starts at `at` has its closing quote; `None` where anything but printable ASCII comes before it.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "a lazy or is a branch per byte, and keeps the compiler from taking many at a time"
)]
fn text_end_at(raw: &[u8], at: usize) -> Option<usize> {
    let len = memchr::memchr(b'"', &raw[at..])?;
    // Without a way out in the middle: many bytes at a time.
    let is_odd = raw[at..at + len].iter().fold(false, |odd, b| odd | (b.wrapping_sub(b' ') > b'~' - b' ') | (*b == b'\\'));
    (!is_odd).then_some(at + len)
}

/// Where the number that starts at `at` ends; `None` where it is not `-12.34` or simpler, or goes on with an exponent.
fn number_end_at(raw: &[u8], at: usize) -> Option<usize> {
    let digits = |from: usize| raw[from..].iter().position(|b| !b.is_ascii_digit()).unwrap_or(raw.len() - from);
    let first = at + usize::from(raw.get(at) == Some(&b'-'));
    let whole = digits(first);
    if whole == 0 || (whole > 1 && raw[first] == b'0') {
        return None;
    }
    let mut end = first + whole;
    if raw.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        if fraction == 0 {
            return None;
        }
        end += 1 + fraction;
    }
    (end - first <= MAX_DIGITS && !matches!(raw.get(end), Some(b'e' | b'E'))).then_some(end)
}
