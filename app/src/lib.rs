//! The Leptos application: pages and components, built for the server (`ssr`) and for the browser (`hydrate`).
//!
//! Rules of every page
//! - A page is a component without arguments that reads its code from the path, asks one server function through a [`Resource`],
//!   and shows the answer inside [`components::page::Answer`], which draws waiting, "not found" and "try again" as well.
//!   The view of the answer starts with [`components::frame::Frame`]: bar, path, sections, `<main>`, dock.
//! - Server and browser draw the same first picture: no clock, no random number, no measured text in a view. "Now" is
//!   `taken_at` of the answer until [`live::use_now`] has ticked once.
//! - Words come from [`words`], numbers and times from [`format`]: no text in a view.
//! - No `style` and no script attribute anywhere: the content security policy forbids both. Classes, and attributes of SVG.
//! - Links are plain `<a href>`; the browser follows them itself ([`leave_links_to_the_browser`]), so every page starts from HTML
//!   that the server has drawn, with the bundle already in the cache.
//! - An element that the live stream changes carries `data-live` with its topic (`region:32`).

// Views with many parts are deeply nested types; the compiler's default limits are too low for them.
#![recursion_limit = "512"]

pub mod api;
pub mod chart;
pub mod components;
pub mod error;
pub mod format;
pub mod live;
pub mod map;
pub mod pages;
#[cfg(all(test, feature = "ssr"))]
pub mod sample;
pub mod words;

use leptos::prelude::*;
use leptos_meta::provide_meta_context;
use leptos_router::components::{FlatRoutes, Route, Router};
use leptos_router::{SsrMode, path};
use pages::device::DevicePage;
use pages::facility::FacilityPage;
use pages::not_found::NotFoundPage;
use pages::overview::OverviewPage;
use pages::pipeline::PipelinePage;
use pages::region::RegionPage;
use pages::search::SearchPage;
use pages::settings::SettingsPage;
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
                <HydrationScripts options/>
                <MetaTags/>
            </head>
            <body>
                <App/>
                <svg width="0" height="0" class="sr" aria-hidden="true" inner_html=components::icon::SPRITE></svg>
            </body>
        </html>
    }
}

/// Draws the page that `request` asks for, whole: every page is [`SsrMode::Async`]. `context` puts in what pages need.
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

/// The application: context for every page, and the routes.
#[component]
pub fn App() -> impl IntoView {
    provide_meta_context();
    let lang = use_context::<Lang>().unwrap_or_else(Lang::current);
    provide_context(lang);
    live::provide_stream_state();
    #[cfg(feature = "hydrate")]
    leave_links_to_the_browser();
    view! {
        <Router>
            <FlatRoutes fallback=NotFoundPage>
                <Route path=path!("/") view=OverviewPage ssr=SsrMode::Async/>
                <Route path=path!("/regions/:code") view=RegionPage ssr=SsrMode::Async/>
                <Route path=path!("/facilities/:code") view=FacilityPage ssr=SsrMode::Async/>
                <Route path=path!("/devices/:id") view=DevicePage ssr=SsrMode::Async/>
                <Route path=path!("/pipeline") view=PipelinePage ssr=SsrMode::Async/>
                <Route path=path!("/search") view=SearchPage ssr=SsrMode::Async/>
                <Route path=path!("/settings") view=SettingsPage ssr=SsrMode::Async/>
            </FlatRoutes>
        </Router>
    }
}

/// Keeps the router from following links: its own listener sits on the window too, and this one comes first.
#[cfg(feature = "hydrate")]
fn leave_links_to_the_browser() {
    let listener = window_event_listener(leptos::ev::click, |event| {
        use wasm_bindgen::JsCast;
        let on_link = event
            .target()
            .and_then(|target| target.dyn_into::<web_sys::Element>().ok())
            .and_then(|element| element.closest("a").ok().flatten())
            .is_some();
        if on_link {
            event.stop_immediate_propagation();
        }
    });
    on_cleanup(move || listener.remove());
}
