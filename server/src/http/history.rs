//! What was known when, and where: hours of regions as of an instant, what changed after they were final, and where devices were.

use super::AppState;
use super::problem::{Path, Problem, Query};
use super::read::limit_of;
use super::rows::{time_of, uncursor};
use crate::backend::{Devices, Missing, Restatement, StoodRegion, figures_json, hour_json, region_json};
use crate::pipeline::wall_clock;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use domain::feed::{Counts, DeviceMore, HISTOGRAM_COLUMNS};
use domain::master::Master;
use domain::rollup::{KNOWN_EVERY_MS, UNASSIGNED};
use domain::sequence::Gap;
use domain::time::{DAY_MS, EventTime, HOUR_MS};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How much of the past one question may be about.
const LONGEST_MS: i64 = 31 * DAY_MS;

/// Which hours, and as known when.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoursQuery {
    as_known_at: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// A region, and where it is the one of unregistered devices, which of these.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionQuery {
    as_known_at: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    next: Option<String>,
}

const fn floor(ms: i64, length: i64) -> i64 {
    ms - ms.rem_euclid(length)
}

impl HoursQuery {
    /// The span asked for, whole hours; of the length `default_ms` before `until` where none is.
    fn span(&self, until: i64, default_ms: i64) -> Result<(i64, i64), Problem> {
        let to = time_of("to", self.to.as_deref())?.unwrap_or(until);
        let from = floor(time_of("from", self.from.as_deref())?.unwrap_or(to.saturating_sub(default_ms)), HOUR_MS);
        if to.saturating_sub(from) > LONGEST_MS + HOUR_MS {
            return Err(Problem::bad_request("one answer is about at most 31 days: ask from `from` to `to`"));
        }
        Ok((from, to))
    }
}

fn time(ms: i64) -> String {
    EventTime::from_ms(ms).to_string()
}

/// Whether it is a region below those that have hours.
fn is_village(master: &Master, code: &str) -> bool {
    master.region_by_code(code).is_some_and(|region| region.0 >= master.counted_regions())
}

/// `GET /api/v1/regions/{code}?as_known_at=&from=&to=&limit=&next=`: a node of the hierarchy with its figures, its last 24 hours and its
/// children; of `unassigned` page by page its devices; or its hours as they were known at an instant.
pub async fn region(
    State(state): State<AppState>,
    Path(code): Path<String>,
    Query(query): Query<RegionQuery>,
) -> Result<Response, Problem> {
    let RegionQuery { as_known_at, from, to, limit, next } = query;
    let query = HoursQuery { as_known_at, from, to };
    if (limit.is_some() || next.is_some()) && (code != UNASSIGNED || query.as_known_at.is_some()) {
        return Err(Problem::bad_request("`limit` and `next` page the devices of `unassigned`, as they are now"));
    }
    let devices = Devices { before: uncursor(next.as_deref())?, limit: limit_of(limit)? };
    let no_such = |code: &str| Problem::not_found(format!("there is no region `{code}`"));
    let Some(asked) = time_of("as_known_at", query.as_known_at.as_deref())? else {
        if query.from.is_some() || query.to.is_some() {
            return Err(Problem::bad_request("`from` and `to` are about the hours `as_known_at` an instant: name that too"));
        }
        let of_room = code.clone();
        let body = state.pipeline.ask(move |room| region_json(room, &of_room, &devices)).await?;
        let body = body.map_err(|missing| match missing {
            Missing::Region => no_such(&code),
            Missing::Device => Problem::bad_request("`next` is not a cursor of an earlier answer"),
        })?;
        return Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response());
    };
    if asked > wall_clock().ms() {
        return Err(Problem::bad_request("`as_known_at` lies ahead: nobody knows yet"));
    }
    let known_at = floor(asked, KNOWN_EVERY_MS);
    let span = query.span(known_at, DAY_MS)?;
    let stood = state.backend.counts_as_known_at(code.clone(), known_at).await?;
    // A village has no figures of its own.
    let nothing = || StoodRegion { histogram: vec![0; HISTOGRAM_COLUMNS], ..StoodRegion::default() };
    let stood = stood.unwrap_or_else(|| Some(nothing()));
    let hours = state.backend.hours_as_known_at(code.clone(), span, known_at).await?;
    let hours = hours.or_else(|| is_village(&state.master, &code).then(BTreeMap::new)).ok_or_else(|| no_such(&code))?;
    let rows: Vec<Value> = hours.iter().map(|(hour, cell)| hour_json(*hour, cell, known_at + 1)).collect();
    let child = |(code, counts): &(String, Counts)| json!({"code": code, "counts": counts});
    let children = stood.as_ref().map(|of| of.children.iter().map(child).collect::<Vec<Value>>());
    let answer = json!({
        "code": code,
        "as_known_at": time(known_at),
        "counts": stood.as_ref().map(|of| &of.counts),
        "histogram": stood.as_ref().map(|of| &of.histogram),
        "hours": rows,
        "children": children,
    });
    Ok(Json(answer).into_response())
}

/// `GET /api/v1/regions/{code}/restatements?from=&to=`: what changed of hours after they had become final.
pub async fn restatements(
    State(state): State<AppState>,
    Path(code): Path<String>,
    Query(query): Query<HoursQuery>,
) -> Result<Json<Value>, Problem> {
    if query.as_known_at.is_some() {
        return Err(Problem::bad_request("restatements tell of themselves when they were known: leave out `as_known_at`"));
    }
    let span = query.span(wall_clock().ms(), 7 * DAY_MS)?;
    let found = state.backend.restatements(code.clone(), span).await?;
    let found = found.or_else(|| is_village(&state.master, &code).then(Vec::new));
    let found = found.ok_or_else(|| Problem::not_found(format!("there is no region `{code}`")))?;
    let row = |r: &Restatement| json!({"hour": time(r.hour), "known_at": time(r.known_at), "before": figures_json(&r.before), "after": figures_json(&r.after)});
    Ok(Json(json!({"code": code, "restatements": found.iter().map(row).collect::<Vec<_>>()})))
}

/// Of which device, and when.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionsQuery {
    device_id: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// `GET /api/v1/positions?device_id=&from=&to=`: where the readings of a device were taken, and how many of its records are missing, between which times.
pub async fn positions(State(state): State<AppState>, Query(query): Query<PositionsQuery>) -> Result<Json<Value>, Problem> {
    let id = query.device_id.ok_or_else(|| Problem::bad_request("name a device: `device_id`"))?;
    let to = time_of("to", query.to.as_deref())?.unwrap_or(i64::MAX);
    let from = time_of("from", query.from.as_deref())?.unwrap_or(to.min(wall_clock().ms()).saturating_sub(DAY_MS));
    let found = state.backend.whereabouts(id.clone(), from, to).await?;
    let found = found.ok_or_else(|| Problem::not_found(format!("nobody has heard of the device `{id}`")))?;
    let place = |fix: domain::join::Fix| json!({"ts": fix.at.to_string(), "longitude": f64::from(fix.longitude_e6) / 1e6, "latitude": f64::from(fix.latitude_e6) / 1e6});
    let positions: Vec<Value> = found.located.iter().map(|l| json!({"ts": l.at.to_string(), "fix": l.fix.map(place)})).collect();
    let DeviceMore { missing, gaps, position } = found.more;
    let gap = |gap: &Gap| json!({"count": gap.count(), "after": gap.after.to_string(), "before": gap.before.to_string()});
    let gaps: Vec<Value> = gaps.iter().map(gap).collect();
    Ok(Json(json!({"device_id": id, "now": position.map(place), "missing": missing, "gaps": gaps, "positions": positions})))
}
