//! The page of a pipeline.

use leptos::prelude::*;

/// The page of a pipeline.
#[component]
pub fn PipelinePage() -> impl IntoView {
    view! { <h1>"…"</h1> }
}
