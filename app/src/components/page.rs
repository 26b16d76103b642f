//! The answer that a page waits for, or why there is none.

use crate::components::frame::{Frame, Section};
use crate::components::icon::Icon;
use crate::components::link::use_here;
use crate::error::AppError;
use crate::words::use_lang;
use leptos::prelude::*;

/// Waits for `answer` and draws it with `view`; draws waiting and failing itself. The status of the response follows the answer.
///
/// ```ignore
/// let params = use_params_map();
/// let code = move || params.with(|params| params.get("code").unwrap_or_default());
/// let answer = Resource::new(code, api::facility);
/// view! { <Answer answer section=Section::Overview view=|facility: FacilityView| view! { <Facility facility/> }/> }
/// ```
#[component]
pub fn Answer<T, F, V>(
    /// What the page asked the server.
    answer: Resource<Result<T, AppError>>,
    /// The section the page belongs to, for its frame when there is no answer.
    section: Section,
    /// Draws the answer, frame and all.
    view: F,
) -> impl IntoView
where
    T: Clone + Send + Sync + 'static,
    F: Fn(T) -> V + Clone + Send + Sync + 'static,
    V: IntoView + 'static,
{
    view! {
        <Suspense fallback=move || view! { <Waiting section/> }>
            {move || {
                let view = view.clone();
                Suspend::new(async move {
                    match answer.await {
                        Ok(answer) => leptos::either::Either::Left(view(answer)),
                        Err(error) => leptos::either::Either::Right(view! { <Problem error section/> }),
                    }
                })
            }}
        </Suspense>
    }
}

/// A page that waits for its answer; only ever seen when the browser draws a page without the server.
#[component]
fn Waiting(section: Section) -> impl IntoView {
    let words = &use_lang().words().general;
    view! {
        <Frame title=words.loading section>
            <div class="panel" aria-busy="true">
                <div class="panel__body">
                    <p class="sr" role="status">{words.loading}</p>
                    <div class="skeleton skeleton--line skeleton--short"></div>
                    <div class="skeleton skeleton--line"></div>
                    <div class="skeleton skeleton--block"></div>
                </div>
            </div>
        </Frame>
    }
}

/// Why there is no answer, and what to do next.
#[component]
pub fn Problem(
    /// What happened.
    error: AppError,
    /// The section the page belongs to.
    section: Section,
) -> impl IntoView {
    let words = &use_lang().words().general;
    let (status, title, note) = match &error {
        AppError::NotFound => (404, words.not_found, words.not_found_note.to_owned()),
        AppError::Invalid(how) => (400, words.invalid, how.clone()),
        AppError::Unavailable => (503, words.failed, words.failed_note.to_owned()),
    };
    set_status(status);
    let again = (error == AppError::Unavailable).then(|| use_here().back());
    view! {
        <Frame title section>
            <section class="panel">
                <div class="empty" data-tone=(error != AppError::NotFound).then_some("warn")>
                    <Icon name=if error == AppError::NotFound { "unknown" } else { "warn" }/>
                    <h1>{title}</h1>
                    <p>{note}</p>
                    {again.map(|href| view! { <a class="btn btn--main" href=href>{words.try_again}</a> })}
                    <form class="row" action="/search" role="search">
                        <input class="input input--inline" type="search" name="q" aria-label=words.search_label placeholder=words.search_hint/>
                        <button class="btn" type="submit">{words.search}</button>
                    </form>
                    <a href="/">{words.to_overview}</a>
                </div>
            </section>
        </Frame>
    }
}

/// The status of the response; nothing in the browser.
pub fn set_status(status: u16) {
    #[cfg(feature = "ssr")]
    if let (Some(response), Ok(status)) = (use_context::<leptos_axum::ResponseOptions>(), http::StatusCode::from_u16(status)) {
        response.set_status(status);
    }
    #[cfg(not(feature = "ssr"))]
    let _ = status;
}
