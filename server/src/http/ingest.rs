//! `POST /ingest`: records in.

use super::auth::Keys;
use super::problem::Problem;
use crate::admission::body::{BodyError, MAX_BODY_BYTES, inflate};
use crate::admission::{Batch, Format};
use crate::pipeline::{Answer, Pipeline};
use crate::side::field_at_fault;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::engine::{Disposition, Tally};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// How long a sender may take for its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// `POST /ingest`: one envelope, a JSON array, or NDJSON (`application/x-ndjson`), plain, gzip or zstd.
///
/// One record: 200 `{"status":"accepted"}` or `{"status":"duplicate event"}`, 422 where it is rejected. Many: 200 with counts and the
/// rejections. The answer comes when all of it is on disk. 401 without a key, 413 beyond 10 MiB inflated or 10 000 records.
pub async fn ingest(State(pipeline): State<Pipeline>, State(keys): State<Arc<Keys>>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let key = keys.ingest(&headers).await?;
    let format = format_of(&headers)?;
    let encoding = headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?"));
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, BodyError::TooLarge.to_string());
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|len| len > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    let reserved = announced.unwrap_or(MAX_BODY_BYTES);
    let mut permit = pipeline.reserve(reserved)?;
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES))
        .await
        .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took longer than 30 s"))?
        .map_err(|_| too_large())?;
    let body = inflate(body, encoding).map_err(|error| {
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
    let Answer { batch, dispositions } = pipeline.submit(batch, format, key.name.clone(), permit).await?;
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
            let id = batch.event_id(index).map_or_else(|| "null".to_owned(), |id| serde_json::Value::from(id).to_string());
            let field = serde_json::Value::from(field_at_fault(&batch, index, *reason));
            let comma = if rejections.is_empty() { "" } else { "," };
            let _ = write!(rejections, r#"{comma}{{"index":{index},"event_id":{id},"reason":"{reason}","field":{field}}}"#);
        }
    }
    Ok(json(&counts(&tally, &rejections)))
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
        "" | "application/json" | "application/geo+json" | "text/json" | "text/plain" | "application/octet-stream"
        | "application/x-www-form-urlencoded" => Ok(Format::Json),
        other => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("content type `{other}` is not supported: send application/json or application/x-ndjson"),
        )),
    }
}
