//! `POST /ingest`: records in.

use super::auth::{Keys, Sender};
use super::problem::Problem;
use crate::admission::body::{BodyError, MAX_BODY_BYTES, inflate};
use crate::admission::{Batch, Format};
use crate::pipeline::{Answer, Pipeline, Refused};
use crate::side::field_at_fault;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use domain::engine::{Disposition, Tally};
use domain::event::Reason;
use futures::StreamExt;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// What a record takes in memory once it is read, however short it is, in bytes.
const RECORD_BYTES: usize = 256;
/// How long a sender may take for its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The same once the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Room is taken for so much of a body at a time, as it arrives: who announces much and sends nothing takes none.
const ROOM_BYTES: usize = 256 * 1024;
/// So much of a refused body is read and thrown away,
const DRAIN_BYTES: usize = 2 * MAX_BODY_BYTES;
/// for so long: a sender looks for its answer only when it has sent everything.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// `POST /ingest`: one envelope, a JSON array, or NDJSON (`application/x-ndjson`), plain, gzip or zstd.
///
/// One record: 200 `{"status":"accepted"}` or `{"status":"duplicate event"}`, 422 where it is rejected. Many: 200 with counts and the
/// rejections. The answer comes when all of it is on disk. With `--log kafka` 202 `{"status":"queued"}`, or counts with `queued`, when
/// Kafka has all of it. 401 without a key, 413 beyond 10 MiB inflated, 100 times what
/// was sent, or 10 000 records.
pub async fn ingest(
    State(pipeline): State<Pipeline>,
    State(keys): State<Arc<Keys>>,
    State(stop): State<CancellationToken>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut body = body.into_data_stream();
    let answer = take_in(&pipeline, &keys, &stop, &headers, &mut body).await;
    if answer.is_err() && !stop.is_cancelled() {
        drain(&mut body).await;
    }
    answer
}

async fn take_in(
    pipeline: &Pipeline,
    keys: &Keys,
    stop: &CancellationToken,
    headers: &HeaderMap,
    body: &mut BodyDataStream,
) -> Result<Response, Problem> {
    let sender = keys.ingest(headers).await?;
    take_in_of(&sender, pipeline, stop, headers, body).await.map_err(|problem| problem.of(&sender.key))
}

/// The same, of a sender that may.
async fn take_in_of(
    sender: &Sender,
    pipeline: &Pipeline,
    stop: &CancellationToken,
    headers: &HeaderMap,
    body: &mut BodyDataStream,
) -> Result<Response, Problem> {
    let key = &sender.key;
    let format = format_of(headers)?;
    // Names of codings know no case (RFC 9110, 8.4.1).
    let encoding = headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|len| len > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    let too_slow = async {
        tokio::select! {
            () = tokio::time::sleep(BODY_TIMEOUT) => {
                Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took longer than 30 s")
            }
            () = async { stop.cancelled().await; tokio::time::sleep(STOP_TIMEOUT).await } => Refused::Stopping.into(),
        }
    };
    let mut room = Room { pipeline, sender, permit: pipeline.reserve(0)?, arriving: None, reserved: 0 };
    let body = tokio::select! {
        biased; // mostly it is there already
        body = read(body, announced, &mut room) => body?,
        problem = too_slow => return Err(problem),
    };
    let Room { mut permit, reserved, .. } = room;
    let body = inflate(body, encoding.as_deref()).map_err(|error| {
        let status = match error {
            BodyError::TooLarge | BodyError::Bomb => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::UnknownEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, error.to_string())
    })?;
    if body.len() > reserved {
        // What was sent compressed takes room as it is now.
        permit.merge(pipeline.reserve(body.len() - reserved)?);
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::bad_request("the body is empty"));
    }
    let batch = Batch::parse(body, format, &key.source, &pipeline.identity_key)
        .map_err(|error| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))?;
    if batch.is_empty() {
        return Ok(json(&counts(&Tally::default(), "")));
    }
    // Many short records take more room read than as they came.
    let held = batch.len() * RECORD_BYTES;
    if held > reserved.max(batch.raw().len()) {
        permit.merge(pipeline.reserve(held - reserved.max(batch.raw().len()))?);
    }
    let (batch, dispositions) = match pipeline.submit(batch, format, key.source.clone(), permit).await? {
        Answer::Judged { batch, dispositions } => (batch, dispositions),
        Answer::Queued(batch) => return Ok(queued(&batch)),
    };
    if batch.is_single {
        return Ok(match dispositions[0] {
            // What the public contract says of a late record, too: it is acknowledged and kept.
            Disposition::Accepted | Disposition::Late { .. } => json(r#"{"status":"accepted"}"#),
            Disposition::Duplicate => json(r#"{"status":"duplicate event"}"#),
            Disposition::Rejected(reason) => Problem::rejected(reason, field_at_fault(&batch, 0, reason)).into_response(),
        });
    }
    let mut tally = Tally::default();
    let mut rejections = String::new();
    for (index, disposition) in dispositions.iter().enumerate() {
        tally.count(*disposition);
        if let Disposition::Rejected(reason) = disposition {
            write_rejection(&mut rejections, &batch, index, *reason);
        }
    }
    Ok(json(&counts(&tally, &rejections)))
}

fn write_rejection(rejections: &mut String, batch: &Batch, index: usize, reason: Reason) {
    let id = batch.event_id(index).map_or_else(|| "null".to_owned(), |id| serde_json::Value::from(id).to_string());
    let field = serde_json::Value::from(field_at_fault(batch, index, reason));
    let comma = if rejections.is_empty() { "" } else { "," };
    let _ = write!(rejections, r#"{comma}{{"index":{index},"event_id":{id},"reason":"{reason}","field":{field}}}"#);
}

/// 202: the records are safe on Kafka, what an engine will make of them is not known yet but for those that admission rejects.
fn queued(batch: &Batch) -> Response {
    if batch.is_single {
        return match batch.rejection(0) {
            Some(reason) => Problem::rejected(reason, field_at_fault(batch, 0, reason)).into_response(),
            None => (StatusCode::ACCEPTED, json(r#"{"status":"queued"}"#)).into_response(),
        };
    }
    let (mut rejected, mut rejections) = (0, String::new());
    for (index, reason) in (0..batch.len()).filter_map(|index| Some((index, batch.rejection(index)?))) {
        rejected += 1;
        write_rejection(&mut rejections, batch, index, reason);
    }
    let (received, queued) = (batch.len(), batch.len() - rejected);
    let body = format!(r#"{{"received":{received},"queued":{queued},"rejected":{rejected},"rejections":[{rejections}]}}"#);
    (StatusCode::ACCEPTED, json(&body)).into_response()
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, BodyError::TooLarge.to_string())
}

/// The room of a body that is arriving: it grows with what has come, and of what has come one key has its share only.
struct Room<'a> {
    pipeline: &'a Pipeline,
    sender: &'a Sender,
    permit: OwnedSemaphorePermit,
    /// Of the key's share, until the body is whole.
    arriving: Option<OwnedSemaphorePermit>,
    reserved: usize,
}

impl Room<'_> {
    /// Takes room for a body of `len` bytes, some of which have come.
    fn grow_to(&mut self, len: usize, announced: Option<usize>) -> Result<(), Refused> {
        if len > self.reserved {
            let more = len.next_multiple_of(ROOM_BYTES).min(announced.unwrap_or(usize::MAX)).max(len) - self.reserved;
            self.permit.merge(self.pipeline.reserve(more)?);
            let share = self.sender.reserve(more).ok_or(Refused::Busy)?;
            match &mut self.arriving {
                Some(arriving) => arriving.merge(share),
                None => self.arriving = Some(share),
            }
            self.reserved += more;
        }
        Ok(())
    }
}

/// The whole body, at most [`MAX_BODY_BYTES`] of it.
async fn read(body: &mut BodyDataStream, announced: Option<usize>, room: &mut Room<'_>) -> Result<Bytes, Problem> {
    let broken = |error: axum::Error| Problem::bad_request(format!("the body broke off: {error}"));
    let Some(first) = body.next().await.transpose().map_err(broken)? else { return Ok(Bytes::new()) };
    room.grow_to(first.len(), announced)?;
    if announced == Some(first.len()) {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(2 * first.len()).min(2 * ROOM_BYTES));
    whole.extend_from_slice(&first);
    while whole.len() <= MAX_BODY_BYTES
        && let Some(chunk) = body.next().await.transpose().map_err(broken)?
    {
        room.grow_to(whole.len() + chunk.len(), announced)?;
        whole.extend_from_slice(&chunk);
    }
    if whole.len() > MAX_BODY_BYTES { Err(too_large()) } else { Ok(whole.freeze()) }
}

/// Reads what is left of a refused body: closing the connection on it could cost its sender the answer.
async fn drain(body: &mut BodyDataStream) {
    let rest = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(chunk)) = body.next().await {
            match left.checked_sub(chunk.len()) {
                Some(fewer) => left = fewer,
                None => break,
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
}

fn counts(tally: &Tally, rejections: &str) -> String {
    format!(
        r#"{{"received":{},"accepted":{},"duplicate":{},"late":{},"rejected":{},"rejections":[{rejections}]}}"#,
        tally.received, tally.accepted, tally.duplicate, tally.late, tally.rejected
    )
}

fn json(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_owned()).into_response()
}

fn format_of(headers: &HeaderMap) -> Result<Format, Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    let essence = value.split(';').next().unwrap_or_default().trim();
    match essence.to_ascii_lowercase().as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Format::Ndjson),
        // The last three are what small clients send without being told: the body says the same.
        ""
        | "application/json"
        | "application/geo+json"
        | "text/json"
        | "text/plain"
        | "application/octet-stream"
        | "application/x-www-form-urlencoded" => Ok(Format::Json),
        other => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("content type `{other}` is not supported: send application/json or application/x-ndjson"),
        )),
    }
}
