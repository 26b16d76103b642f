//! The reading side of the API: windows, side outputs, latest, regions, and what the map draws.

use super::AppState;
use super::problem::{Problem, Query};
use super::rows::{Cell, Form, WINDOW_COLUMNS, time_of, write_row, write_window};
use crate::backend::{latest_records, region_json};
use crate::side::{Cause, DEAD, LATE, SideRow};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::window::Window;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Rows of a page where none is asked for.
const DEFAULT_LIMIT: usize = 1_000;
/// Rows of a page at most.
const MAX_LIMIT: usize = 10_000;
/// Devices whose windows are gathered at once.
const DEVICES_AT_ONCE: usize = 64;

/// Which windows.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct WindowsQuery {
    device_id: Option<String>,
    size: Option<String>,
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

fn limit_of(limit: Option<usize>) -> Result<usize, Problem> {
    match limit {
        None => Ok(DEFAULT_LIMIT),
        Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
        Some(_) => Err(Problem::bad_request(format!("`limit` is 1 to {MAX_LIMIT}"))),
    }
}

/// A cursor as an opaque text, and back.
fn cursor(text: &str) -> String {
    text.bytes().fold(String::with_capacity(2 * text.len()), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("writing to a string");
        digits
    })
}

fn uncursor(text: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Some).ok_or_else(|| Problem::bad_request("`next` is not a cursor of an earlier answer"))
}

/// Walks over windows in order of device id and start.
struct Walk {
    state: AppState,
    definition: (u8, i64),
    from: i64,
    to: i64,
    /// Id and index of the devices still to come, in order of id, reversed.
    devices: Vec<(String, u32)>,
    /// Of the first of these, windows up to this start were given already.
    after: Option<i64>,
}

impl Walk {
    /// The windows of the next devices; `None` when there are no more.
    async fn next(&mut self) -> Result<Option<Vec<(String, Vec<Window>)>>, Problem> {
        if self.devices.is_empty() {
            return Ok(None);
        }
        let rest = self.devices.len().saturating_sub(DEVICES_AT_ONCE);
        let chunk: Vec<(String, u32)> = self.devices.split_off(rest).into_iter().rev().collect();
        let indices: Vec<u32> = chunk.iter().map(|(_, index)| *index).collect();
        let mut found = self.state.backend.windows(self.definition, indices, self.from, self.to).await?;
        if let Some(after) = self.after.take()
            && let Some(first) = found.get_mut(&chunk[0].1)
        {
            *first = first.split_off(&(after + 1));
        }
        let windows = |index: u32, found: &mut BTreeMap<u32, BTreeMap<i64, Window>>| {
            found.remove(&index).map(|w| w.into_values().collect()).unwrap_or_default()
        };
        Ok(Some(chunk.into_iter().map(|(id, index)| (id, windows(index, &mut found))).collect()))
    }
}

/// `GET /api/v1/windows?device_id=&size=10s|5m&from=&to=&limit=&next=`: windows in order of device and start; without `device_id` of all
/// devices. NDJSON and CSV (by `Accept` or `format`) stream all of them.
pub async fn windows(
    State(state): State<AppState>,
    Query(query): Query<WindowsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = Form::of(query.format.as_deref(), &headers)?;
    let sizes = state.backend.sizes();
    let text = query.size.as_deref().unwrap_or("10s");
    let definition =
        size_of(text).and_then(|size| sizes.iter().position(|s| *s == size).map(|at| (at as u8, size))).ok_or_else(|| {
            let known: Vec<String> = sizes.iter().map(|s| format!("{}s", s / 1_000)).collect();
            Problem::bad_request(format!("there are no windows of size `{text}`: choose from {}", known.join(", ")))
        })?;
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
    let mut devices = state.backend.devices_by_id(query.device_id, start.as_ref().map(|(id, _)| id.clone())).await?;
    let is_same = start.as_ref().is_some_and(|(id, _)| devices.first().is_some_and(|(first, _)| first == id));
    devices.reverse();
    let walk = Walk {
        definition,
        from: time_of("from", query.from.as_deref())?.unwrap_or(i64::MIN / 2),
        to: time_of("to", query.to.as_deref())?.unwrap_or(i64::MAX),
        devices,
        after: start.filter(|_| is_same).map(|(_, after)| after),
        state,
    };
    if form == Form::Json { windows_page(walk, limit).await } else { Ok(windows_stream(walk, form)) }
}

async fn windows_page(mut walk: Walk, limit: usize) -> Result<Response, Problem> {
    let (mut body, mut rows, mut last) = (String::from(r#"{"windows":["#), 0, String::new());
    let mut next = None;
    'all: while let Some(chunk) = walk.next().await? {
        for (id, windows) in chunk {
            for window in windows {
                if rows == limit {
                    next = Some(last);
                    break 'all;
                }
                if rows > 0 {
                    body.push(',');
                }
                write_window(&mut body, Form::Json, &id, &window, walk.definition.1);
                rows += 1;
                last = format!("{} {id}", window.start);
            }
        }
    }
    match next {
        Some(last) => body.extend([r#"],"next":""#, &cursor(&last), r#""}"#]),
        None => body.push_str(r#"],"next":null}"#),
    }
    Ok(([(header::CONTENT_TYPE, Form::Json.content_type())], body).into_response())
}

fn windows_stream(walk: Walk, form: Form) -> Response {
    let head = (form == Form::Csv).then(|| format!("{}\r\n", WINDOW_COLUMNS.join(",")));
    let stream = futures::stream::unfold((walk, head), move |(mut walk, head)| async move {
        if let Some(head) = head {
            return Some((Ok(Bytes::from(head)), (walk, None)));
        }
        match walk.next().await {
            Ok(Some(chunk)) => {
                let mut out = String::new();
                for (id, windows) in &chunk {
                    for window in windows {
                        write_window(&mut out, form, id, window, walk.definition.1);
                        if form == Form::Ndjson {
                            out.push('\n');
                        }
                    }
                }
                Some((Ok(Bytes::from(out)), (walk, None)))
            }
            Ok(None) => None,
            // The head of the answer is gone: breaking off is the only way left to say that it is not whole.
            Err(_) => Some((Err(std::io::Error::other("the store failed")), (walk, None))),
        }
    });
    ([(header::CONTENT_TYPE, form.content_type())], Body::from_stream(stream)).into_response()
}

/// Which rows of a side output.
#[derive(Clone, Debug, Deserialize)]
pub struct SideQuery {
    limit: Option<usize>,
    next: Option<String>,
    format: Option<String>,
}

const LATE_COLUMNS: [&str; 8] =
    ["position", "received_at", "event_id", "device_id", "ts", "window_start", "lateness_ms", "payload"];
const DEAD_COLUMNS: [&str; 6] = ["position", "received_at", "source", "reason", "field", "raw"];

/// `GET /api/v1/late`: records that came too late for their window, oldest first; kept and counted, in no window.
pub async fn late(
    State(state): State<AppState>,
    Query(query): Query<SideQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    side(state, LATE, query, headers, "late").await
}

/// `GET /api/v1/dead-letters`: rejected records with their bytes and the reason, oldest first.
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
    let columns: &[&str] = if kind == LATE { &LATE_COLUMNS } else { &DEAD_COLUMNS };
    if form == Form::Json {
        let rows = state.backend.side(kind, after, limit + 1).await?;
        let mut body = format!("{{\"{name}\":[");
        for (index, row) in rows.iter().take(limit).enumerate() {
            if index > 0 {
                body.push(',');
            }
            write_side(&mut body, form, row);
        }
        match rows.get(limit - 1).filter(|_| rows.len() > limit) {
            Some(last) => body.extend([r#"],"next":""#, &cursor(&last.position.to_string()), r#""}"#]),
            None => body.push_str(r#"],"next":null}"#),
        }
        return Ok(([(header::CONTENT_TYPE, form.content_type())], body).into_response());
    }
    let head = if form == Form::Csv { format!("{}\r\n", columns.join(",")) } else { String::new() };
    let stream = futures::stream::unfold((state, Some(after), head), move |(state, after, mut out)| async move {
        let Ok(rows) = state.backend.side(kind, after?, MAX_LIMIT).await else {
            return Some((Err(std::io::Error::other("the store failed")), (state, None, String::new())));
        };
        for row in &rows {
            write_side(&mut out, form, row);
            if form == Form::Ndjson {
                out.push('\n');
            }
        }
        Some((Ok(Bytes::from(out)), (state, rows.last().map(|r| r.position), String::new())))
    });
    Ok(([(header::CONTENT_TYPE, form.content_type())], Body::from_stream(stream)).into_response())
}

fn write_side(out: &mut String, form: Form, row: &SideRow) {
    let received_at = row.received_at.to_string();
    let raw = String::from_utf8_lossy(&row.raw);
    let ts = row.ts.map(|ts| ts.to_string());
    let text = |value: &'_ Option<String>| value.clone();
    match &row.cause {
        Cause::Late { window_start, lateness_ms } => {
            let start = domain::time::EventTime::from_ms(*window_start).to_string();
            // A line break can only stand between two of its values, so it is white space; a row is one line.
            let payload = raw.replace(['\r', '\n'], " ");
            let (event_id, device_id) = (text(&row.event_id), text(&row.device_id));
            let optional = |value: &'_ Option<String>| value.is_none();
            let cells = [
                Cell::Integer(row.position as i64),
                Cell::Text(&received_at),
                if optional(&event_id) { Cell::Null } else { Cell::Text(event_id.as_deref().unwrap_or_default()) },
                if optional(&device_id) { Cell::Null } else { Cell::Text(device_id.as_deref().unwrap_or_default()) },
                ts.as_deref().map_or(Cell::Null, Cell::Text),
                Cell::Text(&start),
                Cell::Integer(*lateness_ms),
                Cell::Json(&payload),
            ];
            write_row(out, form, &LATE_COLUMNS, &cells);
        }
        Cause::Rejected { reason, field } => {
            let cells = [
                Cell::Integer(row.position as i64),
                Cell::Text(&received_at),
                Cell::Text(&row.source),
                Cell::Text(reason.name()),
                Cell::Text(field),
                Cell::Text(&raw),
            ];
            write_row(out, form, &DEAD_COLUMNS, &cells);
        }
    }
}

/// `GET /api/v1/latest`: the newest closed window of every device.
pub async fn latest(State(state): State<AppState>) -> Result<Response, Problem> {
    let body = state.pipeline.ask(latest_records).await?;
    Ok(([(header::CONTENT_TYPE, Form::Json.content_type())], body).into_response())
}

/// `GET /api/v1/regions/{code}`: a node of the hierarchy with its figures, its last 24 hours and its children.
pub async fn region(State(state): State<AppState>, Path(code): Path<String>) -> Result<Response, Problem> {
    let body = state.pipeline.ask(move |room| region_json(room, &code).ok_or(code)).await?;
    match body {
        Ok(body) => Ok(([(header::CONTENT_TYPE, Form::Json.content_type())], body).into_response()),
        Err(code) => Err(Problem::not_found(format!("there is no region `{code}`"))),
    }
}

/// `GET /api/v1/map/facilities`: every facility as a point with its worst device, for the map's canvas.
pub async fn map_facilities(State(state): State<AppState>) -> Result<Response, Problem> {
    let points = state.backend.map_points().await?;
    let body = serde_json::to_vec(&points).expect("points hold only text and numbers");
    Ok(([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], body).into_response())
}

/// `GET /api/v1/map/outline`: outlines of the provinces, for a page that the browser draws from scratch.
pub async fn map_outline() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=86400")];
    (headers, include_str!("../../../data/map/map.json")).into_response()
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
}
