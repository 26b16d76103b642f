//! The page of a device.

use leptos::prelude::*;

/// The page of a device.
#[component]
pub fn DevicePage() -> impl IntoView {
    view! { <h1>"…"</h1> }
}
