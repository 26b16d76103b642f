//! x

use leptos::prelude::*;

/// x
#[component]
pub fn OverviewPage() -> impl IntoView {
    view! { <h1>"x"</h1> }
}
