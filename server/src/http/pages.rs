//! Pages, their data, the bundle, and the settings a page can change without a script.

use super::AppState;
use super::problem::{Path, Problem, Query, no_such_route, wrong_method};
use super::rows::{Cell, Form, write_row};
use super::{letters, map};
use app::api::{Backend, ChildKind, Span};
use app::chart::standalone::name_of;
use app::error::AppError;
use app::format;
use app::pages::pipeline::trend::TrendChart;
use app::pages::region::files::PlainChart;
use app::words::Lang;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use leptos::nonce::use_nonce;
use leptos::prelude::{expect_context, provide_context};
use leptos_axum::ResponseOptions;
use serde::Deserialize;
use std::sync::Arc;
use tower::Layer;
use tower_http::compression::CompressionLayer;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// Pages, server functions and static files.
pub fn router(state: &AppState) -> Router<AppState> {
    // Already set where a test has started a server before.
    let _ = any_spawner::Executor::init_tokio();
    let backend: Arc<dyn Backend> = state.backend.clone();
    let functions: Arc<dyn Fn() + Send + Sync> = {
        let backend = Arc::clone(&backend);
        Arc::new(move || provide_context(Arc::clone(&backend)))
    };
    let context: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        provide_context(Arc::clone(&backend));
        set_policy();
    });
    let options = state.leptos.clone();
    let page = move |request: Request<Body>| {
        let answer = app::page(options.clone(), Arc::clone(&context), request);
        async move {
            let mut answer = answer.await;
            // Asked for again each time, and another by the language and the theme of a cookie.
            answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            answer.headers_mut().append(header::VARY, HeaderValue::from_static("cookie"));
            answer
        }
    };
    let files = ServeDir::new(&state.site_dir.0).precompressed_br().precompressed_gzip().append_index_html_on_directories(false);
    Router::new()
        .route("/", get(page.clone()))
        .route("/api/pages/map/conditions", get(map::conditions))
        .route("/api/pages/map/places", get(map::places))
        .route("/api/pages/{*function}", any(move |request: Request<Body>| function(Arc::clone(&functions), request)))
        .route("/devices/{id}/chart.svg", get(chart))
        .route("/regions/{code}/charts/{name}", get(region_chart))
        .route("/pipeline/charts/{name}", get(pipeline_chart))
        .route("/regions/{code}/children.csv", get(region_children))
        .route("/settings/theme", get(theme))
        .route("/pipeline/dead-letters/{position}/replay", post(letters::replay_form))
        .route("/pipeline/dead-letters/{position}/discard", post(letters::discard_form))
        .method_not_allowed_fallback(wrong_method)
        // What is no file is a page, also the one that says "not found".
        .fallback_service(from_fn(keep).layer(files.fallback(get(page).with_state(()))))
        .layer(CompressionLayer::new())
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-cache")))
}

/// A question of a page in the browser. What goes wrong is told as everywhere else.
async fn function(context: Arc<dyn Fn() + Send + Sync>, mut request: Request<Body>) -> Response {
    // Who seems to want a page would be sent back to the one before.
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let answer = app::function(context, request).await;
    let status = answer.status();
    if !status.is_client_error() && !status.is_server_error() {
        return answer;
    }
    let body = axum::body::to_bytes(answer.into_body(), 64 * 1024).await.unwrap_or_default();
    match serde_json::from_slice(&body) {
        Ok(AppError::NotFound) => Problem::not_found("there is nothing of that name"),
        Ok(AppError::Invalid(why)) => Problem::bad_request(why),
        Ok(AppError::Unavailable) => {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server cannot answer now; try again").retry_soon()
        }
        Err(_) if status == StatusCode::BAD_REQUEST => return no_such_route().await.into_response(),
        Err(_) => Problem::new(status, "the question cannot be answered"),
    }
    .into_response()
}

/// Scripts run only with the nonce of this very answer.
fn set_policy() {
    let nonce = use_nonce().map(|nonce| format!("'nonce-{nonce}'")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self' {nonce} 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
         font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        expect_context::<ResponseOptions>().insert_header(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// Files named by their content are kept for ever, where there are such; what is no file has said so itself.
async fn keep(request: Request, next: Next) -> Response {
    let is_named_by_content = request.uri().path().starts_with("/pkg/rantai-");
    let mut response = next.run(request).await;
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        let value =
            if is_named_by_content { "public, max-age=31536000, immutable" } else { "public, max-age=0, must-revalidate" };
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Which picture of a device.
#[derive(Debug, Deserialize)]
struct ChartQuery {
    #[serde(default)]
    span: Span,
    lang: Option<String>,
}

/// In which language a small chart is told.
#[derive(Debug, Deserialize)]
struct SmallChartQuery {
    lang: Option<String>,
}

/// `GET /devices/{id}/chart.svg?span=day|week|month&lang=id|en`: the chart as a file of its own.
async fn chart(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<ChartQuery>,
) -> Result<Response, Problem> {
    let view = state.backend.device(&id, query.span).await.map_err(unavailable)?;
    let view = view.ok_or_else(|| Problem::not_found(format!("there is no device `{id}`")))?;
    let lang = query.lang.as_deref().and_then(Lang::from_code).unwrap_or_default();
    let name = app::chart::standalone::file_name(&view);
    Ok(file(&name, "svg", app::chart::standalone::standalone_svg(&view, lang)))
}

/// A file to be saved as `name` with the ending `form`: `svg` or `csv`.
fn file(name: &str, form: &str, text: String) -> Response {
    let content_type = if form == "svg" { "image/svg+xml" } else { "text/csv; charset=utf-8" };
    let disposition = format!("attachment; filename=\"{name}.{form}\"");
    ([(header::CONTENT_TYPE, content_type), (header::CONTENT_DISPOSITION, &disposition)], text).into_response()
}

/// `GET /regions/{code}/charts/{temperatures|hours|rate}.{svg|csv}?lang=id|en`: a chart of a place as a file of its own.
async fn region_chart(
    State(state): State<AppState>,
    Path((code, name)): Path<(String, String)>,
    Query(query): Query<SmallChartQuery>,
) -> Result<Response, Problem> {
    let (chart, form) = chart_named(&name, PlainChart::from_name)?;
    let view = state.backend.region(&code).await.map_err(unavailable)?;
    let view = view.ok_or_else(|| Problem::not_found(format!("there is no region `{code}`")))?;
    let lang = query.lang.as_deref().and_then(Lang::from_code).unwrap_or_default();
    if chart == PlainChart::Rate && view.rate.is_empty() {
        return Err(Problem::not_found("records per second are counted for the country alone"));
    }
    let text = if form == "svg" { chart.svg(&view, lang) } else { chart.csv(&view) };
    Ok(file(&chart.file_name(&view), form, text))
}

/// `GET /regions/{code}/children.csv`: the tables of what lies below a place as one file, in order of name, regions first.
async fn region_children(State(state): State<AppState>, Path(code): Path<String>) -> Result<Response, Problem> {
    const COLUMNS: [&str; 13] = [
        "code",
        "name",
        "kind",
        "units",
        "in_range",
        "too_warm",
        "too_cold",
        "freezing",
        "no_word",
        "facilities",
        "facilities_reporting",
        "last_data",
        "as_of",
    ];
    let view = state.backend.region(&code).await.map_err(unavailable)?;
    let view = view.ok_or_else(|| Problem::not_found(format!("there is no region `{code}`")))?;
    let mut out = COLUMNS.join(",");
    out.push_str("\r\n");
    let of = |kind| view.children.iter().filter(move |child| child.kind == kind);
    for child in of(ChildKind::Region).chain(of(ChildKind::Facility)) {
        let counts = &child.now.counts;
        let kind = if child.kind == ChildKind::Region { "region" } else { "facility" };
        let int = |number: u32| Cell::Integer(i64::from(number));
        let cells = [
            Cell::Text(&child.now.code),
            Cell::Text(&child.name),
            Cell::Text(kind),
            int(counts.devices),
            int(counts.fine),
            int(counts.too_warm),
            int(counts.too_cold),
            int(counts.freezing),
            int(counts.no_word),
            int(counts.facilities),
            int(counts.facilities_reporting),
            child.now.last_data.map_or(Cell::Null, |at| Cell::Time(at.ms())),
            Cell::Time(view.taken_at.ms()),
        ];
        write_row(&mut out, Form::Csv, &COLUMNS, &cells);
    }
    let name = name_of(&view.code, "children", view.taken_at.ms(), format::zone_of(&view.code));
    Ok(file(&name, "csv", out))
}

/// `GET /pipeline/charts/{lag|late}.{svg|csv}?lang=id|en`: a chart of the pipeline as a file of its own.
async fn pipeline_chart(
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(query): Query<SmallChartQuery>,
) -> Result<Response, Problem> {
    let (chart, form) = chart_named(&name, TrendChart::from_name)?;
    let view = state.backend.pipeline().await.map_err(unavailable)?;
    let lang = query.lang.as_deref().and_then(Lang::from_code).unwrap_or_default();
    let text = if form == "svg" { chart.svg(&view, lang) } else { chart.csv(&view) };
    Ok(file(&chart.file_name(&view), form, text))
}

/// The chart and the form of a file's name, such as `rate.svg`.
fn chart_named<C>(name: &str, of: fn(&str) -> Option<C>) -> Result<(C, &str), Problem> {
    match name.rsplit_once('.').and_then(|(chart, form)| Some((of(chart)?, form))) {
        Some((chart, form @ ("svg" | "csv"))) => Ok((chart, form)),
        _ => Err(Problem::not_found(format!("there is no chart `{name}`"))),
    }
}

fn unavailable(_: AppError) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server cannot answer now; try again")
}

/// The theme to use, and where to go back to.
#[derive(Debug, Deserialize)]
struct ThemeQuery {
    to: String,
    back: Option<String>,
}

/// `GET /settings/theme?to=light|dark|system&back=/path`: remembers the theme in a cookie and goes back to a path of this server.
async fn theme(Query(query): Query<ThemeQuery>) -> Result<Response, Problem> {
    let cookie = match query.to.as_str() {
        "light" => "theme=light; Path=/; Max-Age=31536000; SameSite=Lax",
        "dark" => "theme=dark; Path=/; Max-Age=31536000; SameSite=Lax",
        "system" => "theme=; Path=/; Max-Age=0; SameSite=Lax",
        other => return Err(Problem::bad_request(format!("there is no theme `{other}`: choose light, dark or system"))),
    };
    let back = query.back.filter(|path| is_local(path)).unwrap_or_else(|| "/".to_owned());
    let back = HeaderValue::from_str(&back).map_err(|_| Problem::bad_request("`back` is not a path"))?;
    Ok((StatusCode::SEE_OTHER, [(header::SET_COOKIE, HeaderValue::from_static(cookie)), (header::LOCATION, back)])
        .into_response())
}

/// A path of this server, not `//other.example` nor `/\other.example`.
fn is_local(path: &str) -> bool {
    let mut bytes = path.bytes();
    bytes.next() == Some(b'/')
        && !matches!(bytes.next(), Some(b'/' | b'\\'))
        && path.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_paths_of_this_server() {
        for (path, expected) in [
            ("/", true),
            ("/regions/32?measure=silent", true),
            ("", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("https://evil.example", false),
            ("/a\r\nset-cookie: x", false),
        ] {
            assert_eq!(is_local(path), expected, "{path}");
        }
    }
}
