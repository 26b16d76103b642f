//! What the canvas of the map asks for: where facilities are, which never changes, and how they stand, which is little.

use super::AppState;
use super::problem::{Problem, Query};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::master::RegionIx;
use domain::rollup::UNASSIGNED;
use serde::Deserialize;

/// Facilities of which place are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointsQuery {
    region: Option<String>,
}

/// The same, and of which version.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacesQuery {
    region: Option<String>,
    /// See [`app::api::MapConditions::version`].
    version: Option<u32>,
}

/// The region with this code, the country without any; none that of unregistered devices, which has no facilities.
fn region_of(code: Option<&str>, state: &AppState) -> Result<Option<RegionIx>, Problem> {
    match code {
        None => Ok(Some(RegionIx(0))),
        Some(UNASSIGNED) => Ok(None),
        Some(code) => {
            let region = state.master.region_by_code(code);
            region.map(Some).ok_or_else(|| Problem::not_found(format!("there is no region `{code}`")))
        }
    }
}

/// The same for pages, which have no map of unregistered devices.
fn region_on_map(code: Option<&str>, state: &AppState) -> Result<RegionIx, Problem> {
    region_of(code, state)?.ok_or_else(|| Problem::not_found("unregistered devices stand on no map"))
}

/// JSON under a tag of its bytes: who has it already is only told so.
fn tagged(headers: &HeaderMap, cache: &'static str, body: Bytes) -> Response {
    // Weak: the same for every encoding on the way.
    let tag = format!("W/\"{:x}-{:08x}\"", body.len(), crc32c::crc32c(&body));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|one| matches!(one.trim(), "*") || one.trim() == tag);
    let headers =
        [(header::CONTENT_TYPE, "application/json".to_owned()), (header::CACHE_CONTROL, cache.to_owned()), (header::ETAG, tag)];
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, body).into_response()
}

/// `GET /api/v1/map/facilities?region=`: every facility, of that region or of the country, as a point with its worst device.
pub async fn facilities(
    State(state): State<AppState>,
    Query(query): Query<PointsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let body = match region_of(query.region.as_deref(), &state)? {
        Some(region) => state.backend.map_points(region).await?,
        None => Bytes::from_static(b"[]"),
    };
    Ok(tagged(&headers, "no-cache", body))
}

/// `GET /api/pages/map/conditions?region=`: how each of these facilities stands, [`app::api::MapConditions`].
pub async fn conditions(
    State(state): State<AppState>,
    Query(query): Query<PointsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let region = region_on_map(query.region.as_deref(), &state)?;
    Ok(tagged(&headers, "no-cache", state.backend.map_conditions(region).await?))
}

/// `GET /api/pages/map/places?region=&version=`: where they are, [`app::api::MapPlaces`]. Of one version they are the same for ever.
pub async fn places(State(state): State<AppState>, Query(query): Query<PlacesQuery>) -> Result<Response, Problem> {
    let region = region_on_map(query.region.as_deref(), &state)?;
    if query.version != Some(state.backend.places_version()) {
        return Err(Problem::not_found("these places are of another version"));
    }
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, state.backend.map_places(region)).into_response())
}
