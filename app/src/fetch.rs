//! What the browser asks for after the page is there. Plain `fetch`: the clients of server functions would add their own readers of
//! every type to the bundle. On the server nothing is asked.

use serde::de::DeserializeOwned;
use std::time::Duration;

/// Between two questions about the past.
const PAST_PAUSE: Duration = Duration::from_secs(30);
/// The longest that a page waits so that others ask at another moment.
#[cfg(feature = "hydrate")]
const PAST_SPREAD: Duration = Duration::from_secs(6);

/// The answer at `url`, read as JSON; `None` when it does not come.
#[cfg(feature = "hydrate")]
pub async fn json<T: DeserializeOwned>(url: &str) -> Option<T> {
    use wasm_bindgen::JsCast;
    use wasm_bindgen_futures::JsFuture;
    let answer = JsFuture::from(leptos::prelude::window().fetch_with_str(url)).await.ok()?;
    let response: web_sys::Response = answer.dyn_into().ok()?;
    if !response.ok() {
        return None;
    }
    let text = JsFuture::from(response.text().ok()?).await.ok()?.as_string()?;
    serde_json::from_str(&text).ok()
}

/// A part of a page that is asked for again when the stream says that it has changed: never two questions at a time, and a pause
/// between two, so that a slow network is not asked faster than it answers.
#[derive(Clone)]
pub struct Refresh {
    #[cfg(feature = "hydrate")]
    question: std::rc::Rc<browser::Question>,
}

impl Refresh {
    /// Asks `url`, hands the answer to `take`, which says whether to ask again; at most once in `pause`.
    pub fn new<T: DeserializeOwned + 'static>(
        pause: Duration,
        url: impl Fn() -> String + 'static,
        take: impl Fn(T) -> bool + 'static,
    ) -> Self {
        #[cfg(feature = "hydrate")]
        return Self { question: browser::question(pause, Duration::ZERO, url, take) };
        #[cfg(not(feature = "hydrate"))]
        {
            let _ = (pause, url, take);
            Self {}
        }
    }

    /// The same for what a page shows of the past: now and then is enough. Many pages hear of one change at the same moment, so each
    /// waits a little, none as long as another.
    pub fn past<T: DeserializeOwned + 'static>(url: impl Fn() -> String + 'static, take: impl Fn(T) + 'static) -> Self {
        let take = move |answer| {
            take(answer);
            false
        };
        #[cfg(feature = "hydrate")]
        return Self { question: browser::question(PAST_PAUSE, PAST_SPREAD, url, take) };
        #[cfg(not(feature = "hydrate"))]
        Self::new(PAST_PAUSE, url, take)
    }

    /// Something has changed.
    pub fn ask(&self) {
        #[cfg(feature = "hydrate")]
        browser::ask(&self.question);
    }
}

#[cfg(feature = "hydrate")]
mod browser {
    use leptos::prelude::{document, set_timeout};
    use serde::de::DeserializeOwned;
    use std::cell::Cell;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::time::Duration;

    #[derive(Clone, Copy, PartialEq)]
    enum State {
        /// Nothing to ask.
        Rest,
        /// To be asked after the pause.
        Due,
        /// Asked, no answer yet.
        Asked,
        /// Something has changed since it was asked.
        Outdated,
    }

    type Answer = Pin<Box<dyn Future<Output = bool>>>;

    pub struct Question {
        state: Cell<State>,
        asked_at: Cell<f64>,
        pause: Duration,
        spread: Duration,
        answer: Box<dyn Fn() -> Answer>,
    }

    pub fn question<T: DeserializeOwned + 'static>(
        pause: Duration,
        spread: Duration,
        url: impl Fn() -> String + 'static,
        take: impl Fn(T) -> bool + 'static,
    ) -> Rc<Question> {
        let take = Rc::new(take);
        let answer = move || -> Answer {
            let (url, take) = (url(), take.clone());
            // What does not come is asked for with the next change.
            Box::pin(async move { super::json(&url).await.is_some_and(|answer| take(answer)) })
        };
        Rc::new(Question { state: Cell::new(State::Rest), asked_at: Cell::new(0.0), pause, spread, answer: Box::new(answer) })
    }

    pub fn ask(question: &Rc<Question>) {
        match question.state.get() {
            State::Rest => {
                question.state.set(State::Due);
                wait(question);
            }
            State::Asked => question.state.set(State::Outdated),
            State::Due | State::Outdated => {}
        }
    }

    fn wait(question: &Rc<Question>) {
        let passed = js_sys::Date::now() - question.asked_at.get();
        let rest =
            (question.pause.as_millis() as f64 - passed).max(0.0) + question.spread.as_millis() as f64 * js_sys::Math::random();
        let question = question.clone();
        set_timeout(
            move || {
                // Nobody looks: asked when somebody does.
                if document().hidden() {
                    question.asked_at.set(js_sys::Date::now());
                    return wait(&question);
                }
                question.state.set(State::Asked);
                question.asked_at.set(js_sys::Date::now());
                leptos::task::spawn_local(async move {
                    let is_partial = (question.answer)().await;
                    if question.state.replace(State::Rest) == State::Outdated || is_partial {
                        ask(&question);
                    }
                });
            },
            Duration::from_millis(rest as u64),
        );
    }
}
