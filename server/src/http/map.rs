//! What the canvas of the map asks for: where facilities are, which never changes, and how they stand, which is little.

use super::AppState;
use super::problem::{Problem, Query};
use super::read::tagged;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::master::RegionIx;
use domain::rollup::UNASSIGNED;
use serde::Deserialize;

/// Facilities of which place are asked for.
#[derive(Deserialize)]
pub struct PointsQuery {
    region: Option<String>,
    /// Of the places, see [`app::api::MapConditions::version`].
    version: Option<u32>,
}

impl PointsQuery {
    /// The region, the country without any; none that of unregistered devices, which has no facilities.
    fn region(&self, state: &AppState) -> Result<Option<RegionIx>, Problem> {
        match self.region.as_deref() {
            None => Ok(Some(RegionIx(0))),
            Some(UNASSIGNED) => Ok(None),
            Some(code) => {
                let region = state.master.region_by_code(code);
                region.map(Some).ok_or_else(|| Problem::not_found(format!("there is no region `{code}`")))
            }
        }
    }
}

/// `GET /api/v1/map/facilities?region=`: every facility, of that region or of the country, as a point with its worst device.
pub async fn facilities(
    State(state): State<AppState>,
    Query(query): Query<PointsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let body = match query.region(&state)? {
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
    let region = query.region(&state)?.ok_or_else(|| Problem::not_found("unregistered devices stand on no map"))?;
    Ok(tagged(&headers, "no-cache", state.backend.map_conditions(region).await?))
}

/// `GET /api/pages/map/places?region=&version=`: where they are, [`app::api::MapPlaces`]. Of one version they are the same for ever.
pub async fn places(State(state): State<AppState>, Query(query): Query<PointsQuery>) -> Result<Response, Problem> {
    let region = query.region(&state)?.ok_or_else(|| Problem::not_found("unregistered devices stand on no map"))?;
    if query.version != Some(state.backend.places_version()) {
        return Err(Problem::not_found("these places are of another version"));
    }
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, state.backend.map_places(region)).into_response())
}
