//! `POST /ingest`: records in.

use super::auth::Keys;
use super::problem::Problem;
use crate::admission::body::{BodyError, MAX_BODY_BYTES, inflate};
use crate::admission::{Batch, Format};
use crate::pipeline::{Answer, Pipeline};
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

/// How long a sender may take for its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// So much of a refused body is read and thrown away,
const DRAIN_BYTES: usize = 2 * MAX_BODY_BYTES;
/// for so long: a sender looks for its answer only when it has sent everything.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// `POST /ingest`: one envelope, a JSON array, or NDJSON (`application/x-ndjson`), plain, gzip or zstd.
///
/// One record: 200 `{"status":"accepted"}` or `{"status":"duplicate event"}`, 422 where it is rejected. Many: 200 with counts and the
/// rejections. The answer comes when all of it is on disk. With `--log kafka` 202 `{"status":"queued"}`, or counts with `queued`, when
/// Kafka has all of it. 401 without a key, 413 beyond 10 MiB inflated or 10 000 records.
pub async fn ingest(
    State(pipeline): State<Pipeline>,
    State(keys): State<Arc<Keys>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut body = body.into_data_stream();
    let answer = take_in(&pipeline, &keys, &headers, &mut body).await;
    if answer.is_err() {
        drain(&mut body).await;
    }
    answer
}

async fn take_in(pipeline: &Pipeline, keys: &Keys, headers: &HeaderMap, body: &mut BodyDataStream) -> Result<Response, Problem> {
    let key = keys.ingest(headers).await?;
    let format = format_of(headers)?;
    // Names of codings know no case (RFC 9110, 8.4.1).
    let encoding = headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|len| len > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    let reserved = announced.unwrap_or(MAX_BODY_BYTES);
    let mut permit = pipeline.reserve(reserved)?;
    let body = tokio::time::timeout(BODY_TIMEOUT, read(body, announced))
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took longer than 30 s"))??;
    let body = inflate(body, encoding.as_deref()).map_err(|error| {
        let status = match error {
            BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
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
    let batch = Batch::parse(body, format, &key.name, &pipeline.identity_key)
        .map_err(|error| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))?;
    if batch.is_empty() {
        return Ok(json(&counts(&Tally::default(), "")));
    }
    let (batch, dispositions) = match pipeline.submit(batch, format, key.name.clone(), permit).await? {
        Answer::Judged { batch, dispositions } => (batch, dispositions),
        Answer::Queued(batch) => return Ok(queued(&batch)),
    };
    if batch.is_single {
        return Ok(match dispositions[0] {
            Disposition::Accepted => json(r#"{"status":"accepted"}"#),
            Disposition::Duplicate => json(r#"{"status":"duplicate event"}"#),
            Disposition::Late { .. } => json(r#"{"status":"accepted","late":true}"#),
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

/// The whole body, at most [`MAX_BODY_BYTES`] of it.
async fn read(body: &mut BodyDataStream, announced: Option<usize>) -> Result<Bytes, Problem> {
    let broken = |error: axum::Error| Problem::bad_request(format!("the body broke off: {error}"));
    let Some(first) = body.next().await.transpose().map_err(broken)? else { return Ok(Bytes::new()) };
    if announced == Some(first.len()) {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(2 * first.len()));
    whole.extend_from_slice(&first);
    while whole.len() <= MAX_BODY_BYTES
        && let Some(chunk) = body.next().await.transpose().map_err(broken)?
    {
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
