//! x

use leptos::prelude::*;

/// x
#[component]
pub fn RegionPage() -> impl IntoView {
    view! { <h1>"x"</h1> }
}
