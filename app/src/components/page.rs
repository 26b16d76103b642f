//! The answer that a page waits for, or why there is none.

use crate::components::frame::Section;
use crate::components::settled::Settled;
use crate::error::AppError;
use leptos::either::Either;
use leptos::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Draws the answer to what a page asks, or why there is none; the status of the response follows it.
///
/// Only the server asks. It writes the answer into the page as JSON, from which the browser draws the same picture again when it
/// hydrates: there is nothing to wait for, and no second request. Every page is an example: [`crate::pages::facility::FacilityPage`].
#[component]
pub fn Answer<T, A, Q, F, V>(
    /// What the page asks the server.
    ask: A,
    /// The section the page belongs to, for its frame when there is no answer.
    section: Section,
    /// Draws the answer, frame and all.
    view: F,
) -> impl IntoView
where
    T: Serialize + DeserializeOwned + Send + 'static,
    A: FnOnce() -> Q,
    Q: Future<Output = Result<T, AppError>> + Send + 'static,
    F: FnOnce(T) -> V + Send + 'static,
    V: IntoView + 'static,
{
    let draw = move |data: String, answer: Result<T, AppError>| {
        let page = match answer {
            Ok(answer) => Either::Left(view(answer)),
            Err(error) => Either::Right(view! { <Problem error section/> }),
        };
        Settled::new((view! { <script type="application/json" id=DATA inner_html=data></script> }, page))
    };
    #[cfg(feature = "ssr")]
    {
        let answer = ask();
        Suspend::new(async move {
            let answer = answer.await;
            // `null` where there is no answer. No `</script>` can stand in it.
            let data = serde_json::to_string(&answer.as_ref().ok()).unwrap_or_default().replace('<', "\\u003c");
            draw(data, answer)
        })
    }
    #[cfg(not(feature = "ssr"))]
    {
        drop(ask);
        let data = document().get_element_by_id(DATA).and_then(|element| element.text_content()).unwrap_or_default();
        // Why there is none stands in the page already.
        let answer = serde_json::from_str::<Option<T>>(&data).ok().flatten().ok_or(AppError::Unavailable);
        draw(String::new(), answer)
    }
}

/// A page that the server alone draws, once there is an answer, or why there is none. In the browser it is like every other such page.
#[cfg(feature = "ssr")]
pub fn drawn<T: Send + 'static, V: IntoView>(
    section: Section,
    answer: impl Future<Output = Result<T, AppError>> + Send + 'static,
    view: impl FnOnce(T) -> V + Send + 'static,
) -> impl IntoView {
    // What is drawn after waiting still belongs to this page.
    let owner = Owner::current();
    Suspend::new(async move {
        let answer = answer.await;
        let draw = || match answer {
            Ok(answer) => crate::components::settled::markup(view(answer)),
            Err(error) => crate::components::settled::markup(view! { <Problem error section/> }),
        };
        let page = owner.map_or_else(String::new, |owner| owner.with(draw));
        view! { <div class="host" inner_html=page></div> }
    })
}

/// Where the answer lies in the page.
const DATA: &str = "answer";

/// Loads the page again: the stream has lost what cannot be caught up with.
pub fn reload() {
    #[cfg(feature = "hydrate")]
    let _ = window().location().reload();
}

/// Why there is no answer, and what to do next.
#[component]
#[allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]
pub fn Problem(
    /// What happened.
    error: AppError,
    /// The section the page belongs to.
    section: Section,
) -> impl IntoView {
    #[cfg(feature = "ssr")]
    let page = fixed::draw(&error, section);
    #[cfg(not(feature = "ssr"))]
    let page = {
        let _ = (error, section);
        String::new()
    };
    view! { <div class="host" inner_html=page></div> }
}

#[cfg(feature = "ssr")]
mod fixed {
    use crate::components::frame::{Frame, Section};
    use crate::components::icon::Icon;
    use crate::components::link::use_here;
    use crate::components::settled::markup;
    use crate::error::AppError;
    use crate::words::use_lang;
    use leptos::prelude::*;

    pub(super) fn draw(error: &AppError, section: Section) -> String {
        let words = &use_lang().words().general;
        let (status, title, note) = match error {
            AppError::NotFound if section == Section::Pipeline => (404, words.not_found, words.no_record_note.to_owned()),
            AppError::NotFound => (404, words.not_found, words.not_found_note.to_owned()),
            AppError::Invalid(how) => (400, words.invalid, how.clone()),
            AppError::Unavailable => (503, words.failed, words.failed_note.to_owned()),
        };
        super::set_status(status);
        let missing = *error == AppError::NotFound;
        let again = (*error == AppError::Unavailable).then(|| use_here().back());
        markup(view! {
            <Frame title section>
                <section class="panel">
                    <div class="empty" data-tone=(!missing).then_some("warn")>
                        <Icon name=if missing { "unknown" } else { "warn" }/>
                        <h1>{title}</h1>
                        <p>{note}</p>
                        {again.map(|href| view! { <a class="btn btn--main" href=href>{words.try_again}</a> })}
                        <form class="row" action="/search" role="search">
                            <input
                                class="input input--inline"
                                type="search"
                                name="q"
                                aria-label=words.search_label
                                placeholder=words.search_hint
                            />
                            <button class="btn" type="submit">{words.search}</button>
                        </form>
                        <a href="/">{words.to_overview}</a>
                    </div>
                </section>
            </Frame>
        })
    }
}

/// The status of the response.
#[cfg(feature = "ssr")]
fn set_status(status: u16) {
    if let (Some(response), Ok(status)) = (use_context::<leptos_axum::ResponseOptions>(), http::StatusCode::from_u16(status)) {
        response.set_status(status);
    }
}
