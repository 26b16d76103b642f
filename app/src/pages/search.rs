//! x

use leptos::prelude::*;

/// x
#[component]
pub fn SearchPage() -> impl IntoView {
    view! { <h1>"x"</h1> }
}
