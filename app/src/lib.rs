//! The Leptos application: pages and components, built for the server (`ssr`) and for the browser (`hydrate`).
//!
//! Rules of every page
//! - A page is a component without arguments that reads its code from the path and hands one server function to
//!   [`components::page::Answer`], which draws the answer, or "not found" and "try again".
//!   The view of the answer starts with [`components::frame::Frame`]: bar, path, sections, `<main>`, dock.
//! - Server and browser draw the same first picture: no clock, no random number, no measured text in a view. "Now" is
//!   `taken_at` of the answer until [`live::use_now`] has ticked once.
//! - Words come from [`words`], numbers and times from [`mod@format`]: no text in a view.
//! - No `style` and no script attribute anywhere: the content security policy forbids both. Classes, and attributes of SVG.
//! - Links are plain `<a href>` that the browser follows: every page starts from HTML that the server has drawn, with the bundle
//!   already in the cache, and needs no router in it.
//! - What never changes is drawn by the server alone ([`components::settled`]).
//! - An element that the live stream changes carries `data-live` with its topic (`region:32`).

// Views with many parts are deeply nested types; the compiler's default limits are too low for them.
#![recursion_limit = "512"]

pub mod api;
pub mod chart;
pub mod components;
pub mod error;
pub mod fetch;
pub mod format;
pub mod live;
pub mod map;
pub mod pages;
#[cfg(all(test, feature = "ssr"))]
pub mod sample;
#[cfg(feature = "hydrate")]
mod suggest;
pub mod words;

use leptos::prelude::*;
use pages::device::DevicePage;
use pages::facility::FacilityPage;
#[cfg(feature = "ssr")]
use pages::late::{LatePage, LateRecordPage};
#[cfg(feature = "ssr")]
use pages::letter::LetterPage;
#[cfg(feature = "ssr")]
use pages::letters::LettersPage;
#[cfg(feature = "ssr")]
use pages::not_found::NotFoundPage;
use pages::overview::OverviewPage;
use pages::pipeline::PipelinePage;
use pages::region::RegionPage;
#[cfg(feature = "ssr")]
use pages::search::SearchPage;
use pages::settings::SettingsPage;
use pages::unassigned::UnassignedPage;
#[cfg(feature = "ssr")]
use pages::unregistered::UnregisteredPage;
use words::Lang;

/// The HTML document around [`App`]; only the server draws it.
///
/// `options` names the bundle. Every script carries the nonce of the answer; the icons stand behind the application, where
/// hydration does not walk.
#[cfg(feature = "ssr")]
pub fn shell(options: LeptosOptions) -> impl IntoView {
    use components::frame::Theme;
    use leptos_meta::MetaTags;
    let lang = Lang::from_request();
    provide_context(lang);
    let words = lang.words();
    view! {
        <!DOCTYPE html>
        <html lang=lang.code() data-theme=Theme::current().map(Theme::name)>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="description" content=words.general.description/>
                <meta name="color-scheme" content="light dark"/>
                <link rel="stylesheet" href=format!("/{}/{}.css", options.site_pkg_dir, options.output_name)/>
                <link rel="icon" href="/favicon.svg" type="image/svg+xml"/>
                <MetaTags/>
            </head>
            <body>
                <App/>
                <svg width="0" height="0" class="sr" aria-hidden="true" inner_html=components::icon::SPRITE></svg>
                <script type="module" nonce=leptos::nonce::use_nonce()>{start_script(&options)}</script>
            </body>
        </html>
    }
}

/// Starts the bundle once the first picture stands: on a slow network the page comes first and has the whole line. Loading,
/// starting and hydrating are three tasks, so that none holds up a finger for long. A page that nobody looks at draws no frame; it
/// starts after a second.
#[cfg(feature = "ssr")]
fn start_script(options: &LeptosOptions) -> String {
    let bundle = format!("/{}/{}", options.site_pkg_dir, options.output_name);
    // `cargo leptos` names the module so, and tells of itself by this.
    let module = if option_env!("LEPTOS_OUTPUT_NAME").is_some() { "" } else { "_bg" };
    format!(
        "let start=()=>{{start=()=>{{}};const module_or_path=fetch('{bundle}{module}.wasm');import('{bundle}.js').then(\
         async m=>{{await m.default({{module_or_path}});setTimeout(m.hydrate)}})}};\
         requestAnimationFrame(()=>setTimeout(()=>start()));setTimeout(()=>start(),1000)"
    )
}

/// Draws the page that `request` asks for, whole: nothing of it is streamed. `context` puts in what pages need.
///
/// Not generic, so that the pages' code is made in this crate and not again whenever the server changes.
#[cfg(feature = "ssr")]
pub fn page(
    options: LeptosOptions,
    context: std::sync::Arc<dyn Fn() + Send + Sync>,
    request: http::Request<axum::body::Body>,
) -> std::pin::Pin<Box<dyn Future<Output = http::Response<axum::body::Body>> + Send>> {
    leptos_axum::render_app_async_with_context(move || context(), move || shell(options.clone()))(request)
}

/// Answers a call of a server function; see [`page`].
#[cfg(feature = "ssr")]
pub fn function(
    context: std::sync::Arc<dyn Fn() + Send + Sync>,
    request: http::Request<axum::body::Body>,
) -> std::pin::Pin<Box<dyn Future<Output = http::Response<axum::body::Body>> + Send>> {
    use axum::response::IntoResponse;
    Box::pin(async move { leptos_axum::handle_server_fns_with_context(move || context(), request).await.into_response() })
}

/// The application on the server: context for every page, and the routes.
#[cfg(feature = "ssr")]
#[component]
pub fn App() -> impl IntoView {
    use leptos_router::components::{FlatRoutes, Route, Router};
    use leptos_router::{SsrMode, path};
    leptos_meta::provide_meta_context();
    provide_page_context();
    view! {
        <Router>
            <FlatRoutes fallback=NotFoundPage>
                <Route path=path!("/") view=OverviewPage ssr=SsrMode::Async/>
                <Route path=path!("/regions/unassigned") view=UnassignedPage ssr=SsrMode::Async/>
                <Route path=path!("/regions/unassigned/devices") view=UnregisteredPage ssr=SsrMode::Async/>
                <Route path=path!("/regions/:code") view=RegionPage ssr=SsrMode::Async/>
                <Route path=path!("/facilities/:code") view=FacilityPage ssr=SsrMode::Async/>
                <Route path=path!("/devices/:id") view=DevicePage ssr=SsrMode::Async/>
                <Route path=path!("/pipeline") view=PipelinePage ssr=SsrMode::Async/>
                <Route path=path!("/pipeline/dead-letters") view=LettersPage ssr=SsrMode::Async/>
                <Route path=path!("/pipeline/dead-letters/:id") view=LetterPage ssr=SsrMode::Async/>
                <Route path=path!("/late") view=LatePage ssr=SsrMode::Async/>
                <Route path=path!("/late/:id") view=LateRecordPage ssr=SsrMode::Async/>
                <Route path=path!("/search") view=SearchPage ssr=SsrMode::Async/>
                <Route path=path!("/settings") view=SettingsPage ssr=SsrMode::Async/>
            </FlatRoutes>
        </Router>
    }
}

/// The application in the browser: the one page that the server has drawn. Every link leads to a new document, so there is
/// nothing to route, and no router in the bundle.
#[cfg(not(feature = "ssr"))]
#[component]
pub fn App() -> impl IntoView {
    use leptos::either::EitherOf7;
    provide_page_context();
    #[cfg(feature = "hydrate")]
    {
        suggest::start(words::use_lang());
        components::files::start();
        components::chart_cursor::start();
    }
    let path = window().location().pathname().unwrap_or_default();
    let mut steps = path.trim_matches('/').split('/');
    match (steps.next().unwrap_or_default(), steps.next(), steps.next()) {
        ("", None, None) => EitherOf7::A(view! { <OverviewPage/> }),
        ("regions", Some("unassigned"), None) => EitherOf7::G(view! { <UnassignedPage/> }),
        ("regions", Some(_), None) => EitherOf7::B(view! { <RegionPage/> }),
        ("facilities", Some(_), None) => EitherOf7::C(view! { <FacilityPage/> }),
        ("devices", Some(_), None) => EitherOf7::D(view! { <DevicePage/> }),
        ("pipeline", None, None) => EitherOf7::E(view! { <PipelinePage/> }),
        // Late records, a dead letter, the list of unregistered devices, search, settings and what is not there: drawn by the server alone, all in the same way.
        _ => EitherOf7::F(view! { <SettingsPage/> }),
    }
}

/// What every page finds in context.
fn provide_page_context() {
    let lang = use_context::<Lang>().unwrap_or_else(Lang::current);
    provide_context(lang);
    live::provide_stream_state();
}
