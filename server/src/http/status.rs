//! How the server does: counters, health, metrics.

use super::problem::{Problem, Query};
use crate::pipeline::{Pipeline, Room};
use crate::publish::pipeline_now;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use domain::engine::{Tally, Totals};
use domain::event::{Reason, Topic};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt::Write;

/// Which groups `/stats` should show.
#[derive(Debug, Deserialize)]
pub struct StatsQuery {
    group: Option<String>,
}

fn tally(tally: &Tally) -> Value {
    json!({
        "received": tally.received,
        "unique_processed": tally.accepted,
        "duplicate_dropped": tally.duplicate,
        "late": tally.late,
        "rejected": tally.rejected,
    })
}

fn by_topic(totals: &Totals) -> impl Iterator<Item = (&'static str, &Tally)> {
    let names = Topic::ALL.iter().map(|t| t.name()).chain(["unknown"]);
    names.zip(&totals.by_topic).filter(|(_, tally)| tally.received > 0)
}

/// `GET /stats`: what became of all records, exact after any crash; `?group=topic|source` adds the same for each.
pub async fn stats(State(pipeline): State<Pipeline>, Query(query): Query<StatsQuery>) -> Result<Json<Value>, Problem> {
    if let Some(wrong) = query.group.as_deref().filter(|g| !matches!(*g, "topic" | "source")) {
        return Err(Problem::bad_request(format!("cannot group by `{wrong}`: choose topic or source")));
    }
    let answer = pipeline.ask(move |room| {
        let totals = room.engine.totals();
        let mut answer = tally(&totals.all);
        answer["uptime_start"] = room.uptime_start.to_string().into();
        match query.group.as_deref() {
            Some("topic") => {
                answer["topics"] =
                    by_topic(totals).map(|(name, t)| (name.to_owned(), tally(t))).collect::<serde_json::Map<_, _>>().into();
            }
            Some(_) => {
                answer["sources"] =
                    totals.by_source.iter().map(|(name, t)| (name.clone(), tally(t))).collect::<serde_json::Map<_, _>>().into();
            }
            None => {}
        }
        answer
    });
    Ok(Json(answer.await?))
}

/// `GET /healthz`: 200 while the process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: 200 when records are taken in and processed.
pub async fn readyz(State(pipeline): State<Pipeline>) -> Result<&'static str, Problem> {
    pipeline.ask(|_| ()).await?;
    Ok("ready\n")
}

/// `GET /metrics`: Prometheus text.
pub async fn metrics(State(pipeline): State<Pipeline>) -> Result<Response, Problem> {
    let listeners = pipeline.feed.listeners();
    let text = pipeline.ask(move |room| exposition(room, listeners)).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// The text of the exposition format (version 0.0.4), written from the engine's own counters so that they cannot disagree.
fn exposition(room: &Room, listeners: usize) -> String {
    let mut text = String::new();
    let totals = room.engine.totals();
    let now = pipeline_now(room);
    let head = |text: &mut String, name: &str, kind: &str, help: &str| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    };
    head(&mut text, "rantai_records_total", "counter", "Durably admitted records by topic and disposition.");
    for (topic, t) in by_topic(totals) {
        for (disposition, count) in
            [("accepted", t.accepted), ("duplicate", t.duplicate), ("late", t.late), ("rejected", t.rejected)]
        {
            let _ = writeln!(text, "rantai_records_total{{topic=\"{topic}\",disposition=\"{disposition}\"}} {count}");
        }
    }
    head(&mut text, "rantai_rejections_total", "counter", "Rejected records by reason.");
    for (reason, count) in Reason::ALL.iter().zip(totals.by_reason) {
        let _ = writeln!(text, "rantai_rejections_total{{reason=\"{reason}\"}} {count}");
    }
    let gauges: [(&str, &str, f64); 9] = [
        ("rantai_records_per_second", "Records taken in per second over the last ten.", f64::from(now.per_second)),
        ("rantai_lag_records", "Records in the log that are not processed yet.", now.lag as f64),
        ("rantai_devices", "Devices known, registered or not.", f64::from(now.devices)),
        ("rantai_unregistered_devices", "Devices heard of that nobody registered.", f64::from(now.unregistered)),
        ("rantai_open_windows", "Windows that can still change.", now.open_windows as f64),
        ("rantai_identities", "Identities remembered to tell duplicates.", room.identities() as f64),
        ("rantai_log_bytes", "Bytes of the log.", now.log_bytes as f64),
        ("rantai_live_streams", "Pages that listen.", listeners as f64),
        (
            "rantai_checkpoint_timestamp_seconds",
            "When the last checkpoint was committed.",
            now.checkpoint_at.map_or(0.0, |t| t.ms() as f64 / 1_000.0),
        ),
    ];
    for (name, help, value) in gauges {
        head(&mut text, name, "gauge", help);
        let _ = writeln!(text, "{name} {value}");
    }
    head(&mut text, "rantai_closed_windows_total", "counter", "Windows that can no longer change.");
    let _ = writeln!(text, "rantai_closed_windows_total {}", now.closed_windows);
    text
}
