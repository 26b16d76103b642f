//! Rows of answers in three forms: JSON pages, NDJSON and CSV streams.

use super::problem::Problem;
use axum::http::{HeaderMap, header};
use domain::milli::{Milli, write_milli};
use domain::time::{EventTime, parse_rfc3339};
use domain::window::Window;
use std::fmt::Write;

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
        Ok(if accept.contains("application/x-ndjson") {
            Form::Ndjson
        } else if accept.contains("text/csv") {
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

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Nothing known.
    Null,
    /// A whole number.
    Integer(i64),
    /// Thousandths, written as a decimal.
    Milli(Milli),
    /// A text.
    Text(&'a str),
    /// JSON as it is.
    Json(&'a str),
}

/// Writes a row in `form`; `names` are the columns.
pub fn write_row(out: &mut String, form: Form, names: &[&str], cells: &[Cell<'_>]) {
    let infallible = "writing to a string";
    if form == Form::Csv {
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            match cell {
                Cell::Null => {}
                Cell::Integer(n) => write!(out, "{n}").expect(infallible),
                Cell::Milli(m) => write_milli(out, i64::from(m.0)).expect(infallible),
                Cell::Text(text) | Cell::Json(text) => write_csv_text(out, text),
            }
        }
        out.push_str("\r\n");
        return;
    }
    out.push('{');
    for (index, (name, cell)) in names.iter().zip(cells).enumerate() {
        if index > 0 {
            out.push(',');
        }
        write!(out, "\"{name}\":").expect(infallible);
        match cell {
            Cell::Null => out.push_str("null"),
            Cell::Integer(n) => write!(out, "{n}").expect(infallible),
            Cell::Milli(m) => write_milli(out, i64::from(m.0)).expect(infallible),
            Cell::Text(text) => out.push_str(&serde_json::Value::from(*text).to_string()),
            Cell::Json(json) => out.push_str(json),
        }
    }
    out.push('}');
}

/// A text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, "CSV Injection").
fn write_csv_text(out: &mut String, text: &str) {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
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

/// Writes a window of `device` as a row.
pub fn write_window(out: &mut String, form: Form, device: &str, window: &Window, size_ms: i64) {
    let a = &window.aggregate;
    let (start, end) = (EventTime::from_ms(window.start).to_string(), EventTime::from_ms(window.start + size_ms).to_string());
    let milli = |value: Option<Milli>| value.map_or(Cell::Null, Cell::Milli);
    let battery = a.battery_extremes();
    let cells = [
        Cell::Text(device),
        Cell::Text(&start),
        Cell::Text(&end),
        Cell::Integer(i64::from(a.count)),
        milli(a.temperature_average()),
        Cell::Milli(a.temperature_min),
        Cell::Milli(a.temperature_max),
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

#[cfg(test)]
mod tests {
    use super::*;

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
