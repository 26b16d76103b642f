//! The reading side of the API: windows, side outputs, and the newest window of every device.

use super::problem::{Problem, Query};
use super::rows::{Cell, Form, WINDOW_COLUMNS, cursor, time_of, uncursor, write_row, write_window};
use super::{AppState, export};
use crate::backend::{EXPORT_ROWS, Kind, Letter, Walk};
use crate::letters::{Decided, Outcome};
use crate::side::{Cause, DEAD, LATE, SideRow};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::window::WindowConfig;
use serde::Deserialize;
use std::fmt::Write;

/// Rows of a page where none is asked for.
const DEFAULT_LIMIT: usize = 1_000;
/// Rows of a page at most.
const MAX_LIMIT: usize = 10_000;
/// Bytes of a page after which it ends early.
const MAX_PAGE_BYTES: usize = 16 << 20;
/// Rows of a side output that are read at once: each may be long.
const SIDE_ROWS: usize = 200;

/// Which windows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowsQuery {
    device_id: Option<String>,
    size: Option<String>,
    slide: Option<String>,
    kind: Option<String>,
    gap: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    next: Option<String>,
    format: Option<String>,
}

/// Milliseconds of `10s`, `5m`, `1h`.
fn size_of(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(unit)
}

/// Which windows a question is about.
fn kind_of(query: &WindowsQuery, config: &WindowConfig) -> Result<Kind, Problem> {
    let seconds = |ms: i64| format!("{}s", ms / 1_000);
    let list = |known: Vec<String>| {
        if known.is_empty() { "none are configured".to_owned() } else { format!("choose from {}", known.join(", ")) }
    };
    let kind = query.kind.as_deref().unwrap_or(if query.slide.is_some() { "sliding" } else { "tumbling" });
    match (kind, &query.slide, &query.gap) {
        ("tumbling", None, None) => {
            // They are in order of size.
            let shortest = config.definitions().first().map(|d| seconds(d.size_ms));
            let text = query.size.as_deref().or(shortest.as_deref()).unwrap_or_default();
            let found = size_of(text).and_then(|size| config.of_size(size).map(|at| Kind::Tumbling((at as u8, size))));
            let known = || list(config.definitions().iter().map(|d| seconds(d.size_ms)).collect());
            found.ok_or_else(|| Problem::bad_request(format!("there are no windows of size `{text}`: {}", known())))
        }
        ("sliding", Some(slide), None) => {
            let size = query.size.as_deref().unwrap_or_default();
            let found = size_of(size).zip(size_of(slide)).and_then(|(size, slide)| config.sliding_of(size, slide));
            let known =
                || list(config.sliding().iter().map(|d| format!("{}/{}", seconds(d.size_ms), seconds(d.slide_ms))).collect());
            let none = || Problem::bad_request(format!("there are no windows of size `{size}` by `{slide}`: {}", known()));
            found.map(|at| Kind::Sliding(at, config.sliding()[at])).ok_or_else(none)
        }
        ("session", None, gap) if query.size.is_none() => {
            let found = match gap {
                Some(gap) => size_of(gap).and_then(|gap| config.session_of(gap)),
                None => (config.sessions().len() == 1).then_some(0),
            };
            let known = || list(config.sessions().iter().map(|d| seconds(d.gap_ms)).collect());
            let none = || Problem::bad_request(format!("name the `gap` of the sessions: {}", known()));
            found.map(|at| Kind::Session(at, config.sessions()[at])).ok_or_else(none)
        }
        ("tumbling" | "sliding" | "session", ..) => {
            Err(Problem::bad_request("tumbling windows have a `size`, sliding ones a `size` and a `slide`, sessions a `gap`"))
        }
        (other, ..) => Err(Problem::bad_request(format!("there is no kind `{other}`: choose tumbling, sliding or session"))),
    }
}

/// How many rows a page has.
pub(super) fn limit_of(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        None => Ok(DEFAULT_LIMIT),
        Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
        Some(_) => Err(Problem::bad_request(format!("`limit` is 1 to {MAX_LIMIT}"))),
    }
}

/// `bytes` in base64 (RFC 4648, section 4). No library that this crate uses itself offers it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| three.get(index).copied().map_or(0, u32::from);
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

/// `GET /api/v1/windows?device_id=&size=10s|5m&slide=&kind=&gap=&from=&to=&limit=&next=`: windows in order of device and start; without `device_id` of all
/// devices. NDJSON and CSV (by `Accept` or `format`) stream all of them.
pub async fn windows(
    State(state): State<AppState>,
    Query(query): Query<WindowsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = Form::of(query.format.as_deref(), &headers)?;
    let config = state.pipeline.ask(|room| room.engine.config().windows.clone()).await?;
    let kind = kind_of(&query, &config)?;
    let limit = limit_of(query.limit)?;
    let start = uncursor(query.next.as_deref())?;
    let start = match &start {
        Some(text) => Some(
            text.split_once(' ')
                .and_then(|(after, id)| Some((id.to_owned(), after.parse::<i64>().ok()?)))
                .ok_or_else(|| Problem::bad_request("`next` is not a cursor of an earlier answer"))?,
        ),
        None => None,
    };
    let span = (
        time_of("from", query.from.as_deref())?.unwrap_or(i64::MIN / 2),
        time_of("to", query.to.as_deref())?.unwrap_or(i64::MAX),
    );
    let rows = if form == Form::Json { limit + 1 } else { EXPORT_ROWS };
    let walk = state.backend.walk(kind, query.device_id, span, start, rows).await?;
    if form == Form::Json {
        windows_page(walk, limit).await
    } else {
        export::stream(form, &WINDOW_COLUMNS, Windows { walk, form })
    }
}

async fn windows_page(mut walk: Walk, limit: usize) -> Result<Response, Problem> {
    let (mut body, mut rows, mut last) = (String::from(r#"{"windows":["#), 0, String::new());
    let mut next = None;
    'all: while let Some(step) = walk.next().await? {
        for (id, window, end) in step.rows() {
            if rows == limit {
                next = Some(last);
                break 'all;
            }
            if rows > 0 {
                body.push(',');
            }
            write_window(&mut body, Form::Json, id, window, end);
            rows += 1;
            last.clear();
            let _ = write!(last, "{} {id}", window.start);
        }
    }
    match next {
        Some(last) => body.extend([r#"],"next":""#, &cursor(&last), r#""}"#]),
        None => body.push_str(r#"],"next":null}"#),
    }
    Ok(([(header::CONTENT_TYPE, Form::Json.content_type())], body).into_response())
}

/// All windows of a walk.
struct Windows {
    walk: Walk,
    form: Form,
}

impl export::Pieces for Windows {
    async fn next(&mut self) -> Result<Option<String>, Problem> {
        let form = self.form;
        let Some(step) = self.walk.next().await? else { return Ok(None) };
        // Milliseconds of work: not on a thread that others wait for.
        let written = tokio::task::spawn_blocking(move || {
            let mut out = String::new();
            for (id, window, end) in step.rows() {
                write_window(&mut out, form, id, window, end);
                if form == Form::Ndjson {
                    out.push('\n');
                }
            }
            out
        });
        Ok(Some(written.await.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the export failed"))?))
    }
}

/// Which rows of a side output.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideQuery {
    limit: Option<usize>,
    next: Option<String>,
    format: Option<String>,
}

const LATE_COLUMNS: [&str; 8] =
    ["position", "received_at", "event_id", "device_id", "ts", "window_start", "lateness_ms", "payload"];
const DEAD_COLUMNS: [&str; 11] = [
    "position",
    "received_at",
    "source",
    "reason",
    "field",
    "raw",
    "state",
    "replayed_as",
    "discarded_by",
    "discard_reason",
    "raw_base64",
];

/// `GET /api/v1/late`: records that came too late for their window, oldest first; kept and counted, in no window.
pub async fn late(
    State(state): State<AppState>,
    Query(query): Query<SideQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    side(state, LATE, query, headers, "late").await
}

/// `GET /api/v1/dead-letters`: rejected records with their bytes and the reason, and what was decided of them, oldest first.
pub async fn dead_letters(
    State(state): State<AppState>,
    Query(query): Query<SideQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    side(state, DEAD, query, headers, "dead_letters").await
}

async fn side(state: AppState, kind: usize, query: SideQuery, headers: HeaderMap, name: &str) -> Result<Response, Problem> {
    let form = Form::of(query.format.as_deref(), &headers)?;
    let limit = limit_of(query.limit)?;
    let after = match uncursor(query.next.as_deref())? {
        Some(text) => text.parse().map_err(|_| Problem::bad_request("`next` is not a cursor of an earlier answer"))?,
        None => 0,
    };
    if form != Form::Json {
        let columns: &[&str] = if kind == LATE { &LATE_COLUMNS } else { &DEAD_COLUMNS };
        return export::stream(form, columns, Side { state, kind, form, after });
    }
    let (mut body, mut count, mut last) = (format!("{{\"{name}\":["), 0, after);
    let mut rows = Vec::new().into_iter();
    let is_more = loop {
        let Some((row, decided)) = rows.next() else {
            // A record may be long, so not many at once.
            rows = rows_after(&state, kind, last, SIDE_ROWS.min(limit + 1 - count)).await?.into_iter();
            if rows.len() == 0 {
                break false;
            }
            continue;
        };
        if count == limit || body.len() > MAX_PAGE_BYTES {
            break true;
        }
        if count > 0 {
            body.push(',');
        }
        write_side(&mut body, form, &row, decided.as_ref());
        count += 1;
        last = row.position;
    };
    if is_more {
        body.extend([r#"],"next":""#, &cursor(&last.to_string()), r#""}"#]);
    } else {
        body.push_str(r#"],"next":null}"#);
    }
    Ok(([(header::CONTENT_TYPE, form.content_type())], body).into_response())
}

/// Rows of a side output with what was decided of them.
async fn rows_after(state: &AppState, kind: usize, position: u64, limit: usize) -> Result<Vec<Letter>, Problem> {
    if kind == DEAD {
        return state.backend.letters(position, limit).await;
    }
    Ok(state.backend.side(kind, position, limit).await?.into_iter().map(|row| (row, None)).collect())
}

/// All rows of a side output.
struct Side {
    state: AppState,
    kind: usize,
    form: Form,
    after: u64,
}

impl export::Pieces for Side {
    async fn next(&mut self) -> Result<Option<String>, Problem> {
        let rows = rows_after(&self.state, self.kind, self.after, SIDE_ROWS).await?;
        let Some((last, _)) = rows.last() else { return Ok(None) };
        self.after = last.position;
        let mut out = String::new();
        for (row, decided) in &rows {
            write_side(&mut out, self.form, row, decided.as_ref());
            if self.form == Form::Ndjson {
                out.push('\n');
            }
        }
        Ok(Some(out))
    }
}

fn write_side(out: &mut String, form: Form, row: &SideRow, decided: Option<&Decided>) {
    let raw = String::from_utf8_lossy(&row.raw);
    let (position, received_at) = (Cell::Integer(row.position as i64), Cell::Time(row.received_at.ms()));
    match &row.cause {
        Cause::Late { window_start, lateness_ms } => {
            // A line break can only stand between two of its values, so it is white space; a row is one line.
            let payload = raw.replace(['\r', '\n'], " ");
            let cells = [
                position,
                received_at,
                row.event_id.as_deref().map_or(Cell::Null, Cell::Text),
                row.device_id.as_deref().map_or(Cell::Null, Cell::Text),
                row.ts.map_or(Cell::Null, |ts| Cell::Time(ts.ms())),
                Cell::Time(*window_start),
                Cell::Integer(*lateness_ms),
                Cell::Json(&payload),
            ];
            write_row(out, form, &LATE_COLUMNS, &cells);
        }
        Cause::Rejected { reason, field } => {
            let (state, replayed_as, discarded_by, discard_reason) = match decided.map(|d| (&d.outcome, &d.by)) {
                None => ("open", Cell::Null, Cell::Null, Cell::Null),
                Some((Outcome::Replayed { position, .. }, _)) => {
                    ("replayed", Cell::Integer(*position as i64), Cell::Null, Cell::Null)
                }
                Some((Outcome::Discarded { reason }, by)) => ("discarded", Cell::Null, Cell::Text(by), Cell::Text(reason)),
            };
            // As text it would have lost what it was rejected for.
            let bytes = std::str::from_utf8(&row.raw).is_err().then(|| base64(&row.raw));
            let cells = [
                position,
                received_at,
                Cell::Text(&row.source),
                Cell::Text(reason.name()),
                Cell::Text(field),
                Cell::Text(&raw),
                Cell::Text(state),
                replayed_as,
                discarded_by,
                discard_reason,
                bytes.as_deref().map_or(Cell::Null, Cell::Text),
            ];
            write_row(out, form, &DEAD_COLUMNS, &cells);
        }
    }
}

/// `GET /api/v1/latest`: the newest closed window of every device.
pub async fn latest(State(state): State<AppState>) -> Result<Response, Problem> {
    let body = state.backend.latest().await?;
    Ok(([(header::CONTENT_TYPE, Form::Json.content_type())], body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_cursors() {
        assert_eq!((size_of("10s"), size_of("5m"), size_of("1h")), (Some(10_000), Some(300_000), Some(3_600_000)));
        assert_eq!((size_of("10"), size_of("s"), size_of("10 s"), size_of("99999999999999999h")), (None, None, None, None));
        let text = "1795 P321701-1-F1 é";
        assert_eq!(uncursor(Some(&cursor(text))).expect("a cursor").as_deref(), Some(text));
        assert!(uncursor(Some("zz")).is_err() && uncursor(Some("6é")).is_err());
    }

    /// The vectors of RFC 4648, section 10, and every digit.
    #[test]
    fn bytes_as_text() {
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
            (b"fooba", "Zm9vYmE="),
            (b"foobar", "Zm9vYmFy"),
            (b"\xff", "/w=="),
            (b"\xfb\xff\xbe", "+/++"),
            (
                &[
                    0, 16, 131, 16, 81, 135, 32, 146, 139, 48, 211, 143, 65, 20, 147, 81, 85, 151, 97, 150, 155, 113, 215, 159,
                    130, 24, 163, 146, 89, 167, 162, 154, 171, 178, 219, 175, 195, 28, 179, 211, 93, 183, 227, 158, 187, 243,
                    223, 191,
                ],
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
            ),
        ] {
            assert_eq!(base64(bytes), expected);
        }
    }
}
