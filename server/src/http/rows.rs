//! Rows of answers in three forms: JSON pages, NDJSON and CSV streams.

use super::problem::Problem;
use crate::hex::hex;
use axum::http::{HeaderMap, header};
use domain::milli::Milli;
use domain::time::{Civil, EventTime, parse_rfc3339};
use domain::window::Window;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A page of a JSON list with a cursor to the next.
    Json,
    /// Everything, one JSON object a line.
    Ndjson,
    /// Everything, comma-separated with a head line.
    Csv,
}

impl Form {
    /// By `?format=`, else by `Accept`.
    pub fn of(format: Option<&str>, headers: &HeaderMap) -> Result<Self, Problem> {
        match format {
            Some("json") => return Ok(Form::Json),
            Some("ndjson") => return Ok(Form::Ndjson),
            Some("csv") => return Ok(Form::Csv),
            Some(other) => return Err(Problem::bad_request(format!("there is no format `{other}`: choose json, ndjson or csv"))),
            None => {}
        }
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Ok(if accepts(accept, "application/x-ndjson") {
            Form::Ndjson
        } else if accepts(accept, "text/csv") {
            Form::Csv
        } else {
            Form::Json
        })
    }

    /// Its content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Form::Json => "application/json",
            Form::Ndjson => "application/x-ndjson",
            Form::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// Whether the header `accept` names `kind`, and not as what is refused (`q=0`).
fn accepts(accept: &str, kind: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_refused = |part: &str| part.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(kind)) && !parts.any(is_refused)
    })
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Nothing known.
    Null,
    /// A whole number.
    Integer(i64),
    /// Thousandths, written as a decimal.
    Milli(Milli),
    /// An instant in milliseconds since the Unix epoch.
    Time(i64),
    /// A text.
    Text(&'a str),
    /// JSON as it is.
    Json(&'a str),
}

/// Writes a row in `form`; `names` are the columns. An export writes millions of them, so nothing here goes through a formatter.
pub fn write_row(out: &mut String, form: Form, names: &[&str], cells: &[Cell<'_>]) {
    if form == Form::Csv {
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            match cell {
                Cell::Null => {}
                Cell::Integer(n) => push_integer(out, *n),
                Cell::Milli(m) => push_milli(out, *m),
                Cell::Time(ms) => push_time(out, *ms),
                Cell::Text(text) | Cell::Json(text) => write_csv_text(out, text),
            }
        }
        out.push_str("\r\n");
        return;
    }
    for (index, (name, cell)) in names.iter().zip(cells).enumerate() {
        out.push_str(if index > 0 { ",\"" } else { "{\"" });
        out.push_str(name);
        out.push_str("\":");
        match cell {
            Cell::Null => out.push_str("null"),
            Cell::Integer(n) => push_integer(out, *n),
            Cell::Milli(m) => push_milli(out, *m),
            Cell::Time(ms) => {
                out.push('"');
                push_time(out, *ms);
                out.push('"');
            }
            Cell::Text(text) => push_json_text(out, text),
            Cell::Json(json) => out.push_str(json),
        }
    }
    out.push('}');
}

/// The last `digits` digits of `n`, zeros in front.
fn push_digits(out: &mut String, mut n: u64, digits: usize) {
    let mut text = [b'0'; 20];
    for digit in text[..digits].iter_mut().rev() {
        *digit += (n % 10) as u8;
        n /= 10;
    }
    out.push_str(std::str::from_utf8(&text[..digits]).expect("digits"));
}

fn push_integer(out: &mut String, n: i64) {
    if n < 0 {
        out.push('-');
    }
    let n = n.unsigned_abs();
    push_digits(out, n, n.checked_ilog10().map_or(1, |log| log as usize + 1));
}

/// As [`domain::milli::write_milli`] does.
fn push_milli(out: &mut String, milli: Milli) {
    if milli.0 < 0 {
        out.push('-');
    }
    let n = milli.0.unsigned_abs();
    push_integer(out, i64::from(n / 1_000));
    let part = n % 1_000;
    let (part, digits) = match part {
        0 => return,
        part if part % 100 == 0 => (part / 100, 1),
        part if part % 10 == 0 => (part / 10, 2),
        part => (part, 3),
    };
    out.push('.');
    push_digits(out, u64::from(part), digits);
}

/// As [`EventTime`] shows itself.
fn push_time(out: &mut String, ms: i64) {
    let civil = Civil::from_ms(ms);
    let Some(year) = u64::try_from(civil.year).ok().filter(|year| *year <= 9_999) else {
        out.push_str(&EventTime::from_ms(ms).to_string());
        return;
    };
    push_digits(out, year, 4);
    for (sign, part) in [('-', civil.month), ('-', civil.day), ('T', civil.hour), (':', civil.minute), (':', civil.second)] {
        out.push(sign);
        push_digits(out, u64::from(part), 2);
    }
    out.push('.');
    push_digits(out, u64::from(civil.milli), 3);
    out.push('Z');
}

fn push_json_text(out: &mut String, text: &str) {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// A text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, "CSV Injection").
fn write_csv_text(out: &mut String, text: &str) {
    let guard =
        if !domain::planted("formula-in-a-table") && text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if text.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(guard);
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(guard);
        out.push_str(text);
    }
}

/// Columns of a window.
pub const WINDOW_COLUMNS: [&str; 13] = [
    "device_id",
    "window_start",
    "window_end",
    "count",
    "avg_temperature",
    "min_temperature",
    "max_temperature",
    "stddev_temperature",
    "avg_humidity",
    "min_battery",
    "max_battery",
    "version",
    "state",
];

/// Writes a window of `device` that ends at `end` as a row.
pub fn write_window(out: &mut String, form: Form, device: &str, window: &Window, end: i64) {
    let a = &window.aggregate;
    let milli = |value: Option<Milli>| value.map_or(Cell::Null, Cell::Milli);
    let battery = a.battery_extremes();
    // A session that is part of another holds nothing itself.
    let of_some = |value: Milli| milli((a.count > 0).then_some(value));
    let cells = [
        Cell::Text(device),
        Cell::Time(window.start),
        Cell::Time(end),
        Cell::Integer(i64::from(a.count)),
        milli(a.temperature_average()),
        of_some(a.temperature_min),
        of_some(a.temperature_max),
        milli(a.temperature_deviation()),
        milli(a.humidity_average()),
        milli(battery.map(|b| b.0)),
        milli(battery.map(|b| b.1)),
        Cell::Integer(i64::from(window.version)),
        Cell::Text(window.state.name()),
    ];
    write_row(out, form, &WINDOW_COLUMNS, &cells);
}

/// RFC 3339 or epoch milliseconds.
pub fn time_of(name: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    text.parse().ok().or_else(|| parse_rfc3339(text)).map(Some).ok_or_else(|| {
        Problem::bad_request(format!("`{name}` is neither an RFC 3339 time with an offset nor epoch milliseconds"))
    })
}

/// A cursor as an opaque text.
pub fn cursor(text: &str) -> String {
    hex(text.as_bytes())
}

/// The text that a cursor is made of.
pub(super) fn uncursor(text: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Some).ok_or_else(|| Problem::bad_request("`next` is not a cursor of an earlier answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_the_formatter_would() {
        for n in [0, 1, -1, 9, 10, 999, 1_000, 1_001, 1_010, 1_100, -500, 125_000, i32::MAX, i32::MIN] {
            let (mut own, mut expected) = (String::new(), String::new());
            push_milli(&mut own, Milli(n));
            domain::milli::write_milli(&mut expected, i64::from(n)).expect("to a string");
            assert_eq!(own, expected);
        }
        for n in [0, 7, 10, -10, 1_234_567_890, i64::MAX, i64::MIN] {
            let mut own = String::new();
            push_integer(&mut own, n);
            assert_eq!(own, n.to_string());
        }
        for ms in [0, -1, 1_795_158_300_123, 951_782_400_000, 253_402_300_799_999, 253_402_300_800_000, -62_167_219_200_001] {
            let mut own = String::new();
            push_time(&mut own, ms);
            assert_eq!(own, EventTime::from_ms(ms).to_string());
        }
    }

    #[test]
    fn what_is_accepted() {
        for (accept, expected) in [
            ("text/csv", true),
            ("application/json;q=0.5, TEXT/CSV; header=present; q=0.9", true),
            ("text/csv;q=0", false),
            ("text/csv; q=0.000, */*", false),
            ("application/json, text/csv-schema", false),
            ("", false),
        ] {
            assert_eq!(accepts(accept, "text/csv"), expected, "{accept}");
        }
    }

    #[test]
    fn rows_are_valid_and_harmless() {
        let cells = [Cell::Text("=1+1,\"x\""), Cell::Milli(Milli(-500)), Cell::Null, Cell::Integer(7)];
        let names = ["a", "b", "c", "d"];
        let mut csv = String::new();
        write_row(&mut csv, Form::Csv, &names, &cells);
        assert_eq!(csv, "\"'=1+1,\"\"x\"\"\",-0.5,,7\r\n");
        let mut json = String::new();
        write_row(&mut json, Form::Json, &names, &cells);
        assert_eq!(json, r#"{"a":"=1+1,\"x\"","b":-0.5,"c":null,"d":7}"#);
    }
}
