//! What stands at an address that leads nowhere.

use crate::components::frame::Section;
use crate::components::page::Problem;
use crate::error::AppError;
use leptos::prelude::*;

/// Nothing here: says so with status 404, and offers search.
#[component]
pub fn NotFoundPage() -> impl IntoView {
    view! { <Problem error=AppError::NotFound section=Section::Overview/> }
}
