//! The page of a facility.

use leptos::prelude::*;

/// The page of a facility.
#[component]
pub fn FacilityPage() -> impl IntoView {
    view! { <h1>"…"</h1> }
}
