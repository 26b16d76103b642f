//! The HTTP face: the router, who may pass, and the answers every route shares.

pub mod auth;
mod docs;
mod export;
mod history;
mod host;
mod ingest;
mod letters;
mod live;
mod map;
mod metrics;
mod pages;
mod problem;
mod read;
pub mod refused;
pub mod rows;
pub mod serve;
mod status;
mod worker;

use crate::backend::EngineBackend;
use crate::pipeline::Pipeline;
use crate::store::Store;
use axum::Router;
use axum::extract::FromRef;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state, map_request, map_response};
use axum::routing::{any, get, post};
use domain::master::Master;
use leptos::config::LeptosOptions;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;

pub use problem::Problem;
pub use worker::worker_router;

/// What handlers use.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The store.
    pub store: Store,
    /// Master data.
    pub master: Arc<Master>,
    /// Answers of pages.
    pub backend: Arc<EngineBackend>,
    /// Keys of machines.
    pub keys: Arc<auth::Keys>,
    /// Where the bundle is, and how it is named.
    pub leptos: LeptosOptions,
    /// The folder of the bundle.
    pub site_dir: SiteDir,
    /// The partitions of Kafka that this process owns.
    pub partitions: crate::kafka::Status,
    /// Requests that were refused.
    pub refusals: Arc<refused::Refusals>,
    /// Ends open streams.
    pub stop: CancellationToken,
}

/// The folder with style sheets and the browser bundle.
#[derive(Clone, Debug)]
pub struct SiteDir(pub PathBuf);

/// All routes.
pub fn router(state: AppState) -> Router {
    let api = Router::new()
        .route("/ingest", post(ingest::ingest))
        .route("/stats", get(status::stats))
        .route("/api/v1/windows", get(read::windows))
        .route("/api/v1/late", get(read::late))
        .route("/api/v1/dead-letters", get(read::dead_letters))
        .route("/api/v1/dead-letters/{position}/replay", post(letters::replay))
        .route("/api/v1/dead-letters/{position}/discard", post(letters::discard))
        .route("/api/v1/latest", get(read::latest))
        .route("/api/v1/regions/{code}", get(history::region))
        .route("/api/v1/regions/{code}/restatements", get(history::restatements))
        .route("/api/v1/positions", get(history::positions))
        .route("/api/v1/map/facilities", get(map::facilities))
        .route("/live", get(live::live))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/api/openapi.json", get(docs::openapi))
        .route("/api/docs", get(docs::page))
        .method_not_allowed_fallback(problem::wrong_method)
        .route("/api/{*rest}", any(problem::no_such_route))
        // Whole tables go over slow lines too; the live stream is left as it is.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest));
    guarded(api.merge(pages::router(&state)), &state.refusals).with_state(state)
}

/// What holds for every answer: problems in one form, no foreign host, what browsers are told to refuse, a panic that is the end of its
/// request alone, and that refusals are counted.
fn guarded<S: Clone + Send + Sync + 'static>(routes: Router<S>, refusals: &Arc<refused::Refusals>) -> Router<S> {
    let fixed =
        |name: HeaderName, value: &'static str| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    // In one piece: with each request a router copies what it holds once for every piece around it.
    routes.layer((
        fixed(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        fixed(header::REFERRER_POLICY, "same-origin"),
        fixed(header::X_FRAME_OPTIONS, "DENY"),
        fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        from_fn_with_state(Arc::clone(refusals), refused::count),
        map_request(host::check),
        map_response(problem::in_one_form),
        from_fn(problem::unbroken),
    ))
}

#[cfg(test)]
#[path = "guarded_tests.rs"]
mod tests;
