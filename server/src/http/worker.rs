//! The HTTP face of a process without pages: health, metrics of its partitions, and the way in where it takes records in.

use super::problem::{Problem, no_such_route, wrong_method};
use super::{AppState, guarded, ingest, metrics, status};
use crate::kafka::Status;
use crate::pipeline::Pipeline;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};

/// The routes of such a process.
pub fn worker_router(state: AppState, takes_in: bool) -> Router {
    let mut routes = Router::new()
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::of_partitions));
    if takes_in {
        routes = routes.route("/ingest", post(ingest::ingest));
    }
    guarded(routes.method_not_allowed_fallback(wrong_method).fallback(no_such_route), &state.refusals).with_state(state)
}

/// `GET /readyz`: 200 when records are taken in, if that is its role, and every partition that this process owns is processed as it comes.
async fn readyz(State(pipeline): State<Pipeline>, State(partitions): State<Status>) -> Result<&'static str, Problem> {
    status::check_kafka(&pipeline, &partitions).await?;
    if !partitions.is_ready() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "partitions are being taken over"));
    }
    Ok("ready\n")
}
