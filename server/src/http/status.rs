//! How the server does: counters and health.

use super::problem::{Problem, Query};
use super::refused::Refusals;
use crate::backend::EngineBackend;
use crate::kafka::Status;
use crate::pipeline::{CHECKPOINT_PATIENCE, Pipeline};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::engine::{Tally, Totals};
use domain::event::Topic;
use domain::time::EventTime;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which groups `/stats` should show.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// Counters of the topics of which anything came, by name.
pub(super) fn by_topic(totals: &Totals) -> impl Iterator<Item = (&'static str, &Tally)> {
    let names = Topic::ALL.iter().map(|t| t.name()).chain(["unknown"]);
    names.zip(&totals.by_topic).filter(|(_, tally)| tally.received > 0)
}

/// Days that `/stats` tells of.
const DAYS: i64 = 31;

/// The books of the newest days, newest last, with those of their sources.
async fn by_day(backend: &EngineBackend) -> Result<Value, Problem> {
    let mut days: BTreeMap<i64, (Tally, BTreeMap<String, Tally>)> = BTreeMap::new();
    for book in backend.day_books(DAYS).await? {
        let (all, sources) = days.entry(book.day_ms).or_default();
        all.add(&book.tally);
        sources.entry(book.source).or_default().add(&book.tally);
    }
    let row = |(day_ms, (all, sources)): (i64, (Tally, BTreeMap<String, Tally>))| {
        let mut row = tally(&all);
        row["sources"] = sources.iter().map(|(name, of)| (name.clone(), tally(of))).collect::<Map<_, _>>().into();
        (EventTime::from_ms(day_ms).to_string()[..10].to_owned(), row)
    };
    Ok(days.into_iter().map(row).collect::<Map<_, _>>().into())
}

/// `GET /stats`: what became of all records, exact after any crash; `?group=topic|source|day` adds the same for each. Apart from these the
/// requests that this process refused since its start, by status, and the laws that were checked at that start.
pub async fn stats(
    State(pipeline): State<Pipeline>,
    State(backend): State<Arc<EngineBackend>>,
    State(refusals): State<Arc<Refusals>>,
    Query(query): Query<StatsQuery>,
) -> Result<Json<Value>, Problem> {
    if let Some(wrong) = query.group.as_deref().filter(|g| !matches!(*g, "topic" | "source" | "day")) {
        return Err(Problem::bad_request(format!("cannot group by `{wrong}`: choose topic, source or day")));
    }
    let days = if query.group.as_deref() == Some("day") { Some(by_day(&backend).await?) } else { None };
    let answer = pipeline.ask(move |room| {
        let totals = room.engine.totals();
        let mut answer = tally(&totals.all);
        answer["uptime_start"] = room.uptime_start.to_string().into();
        match query.group.as_deref() {
            Some("topic") => {
                answer["topics"] = by_topic(totals).map(|(name, t)| (name.to_owned(), tally(t))).collect::<Map<_, _>>().into();
            }
            Some("source") => {
                answer["sources"] =
                    totals.by_source.iter().map(|(name, t)| (name.clone(), tally(t))).collect::<Map<_, _>>().into();
            }
            _ => {}
        }
        answer
    });
    let mut answer = answer.await?;
    answer["refused_since_start"] =
        refusals.counts().map(|(status, count)| (status.to_string(), count.into())).collect::<Map<_, _>>().into();
    if let Some(days) = days {
        answer["days"] = days;
    }
    // This process would not have started otherwise.
    answer["checked_at_start"] = backend.checked_at_start().into();
    Ok(Json(answer))
}

/// `GET /healthz`: 200 while the process answers.
pub async fn healthz() -> &'static str {
    "ok\n"
}

fn unready(why: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).retry_after(1)
}

/// Refuses where Kafka does not take what this process sends, or a partition of its own stands still; on the embedded log neither can be.
pub(super) async fn check_kafka(pipeline: &Pipeline, partitions: &Status) -> Result<(), Problem> {
    if let Some(standstill) = partitions.standstills().first() {
        return Err(unready(standstill));
    }
    if !pipeline.takes_in().await {
        return Err(unready("Kafka cannot be reached: senders are asked to come again"));
    }
    Ok(())
}

/// `GET /readyz`: 200 when records are taken in, processed and put away.
pub async fn readyz(State(pipeline): State<Pipeline>, State(partitions): State<Status>) -> Result<&'static str, Problem> {
    if pipeline.ask(|room| room.checkpoint_waits()).await? >= CHECKPOINT_PATIENCE {
        return Err(unready("the database does not take what is to be put away"));
    }
    if !pipeline.keeps_up() {
        return Err(unready("the database does not keep up: senders are asked to come again"));
    }
    check_kafka(&pipeline, &partitions).await?;
    Ok("ready\n")
}
