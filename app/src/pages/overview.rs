//! The country: the same page as any region's, at its own address.

use crate::api;
use crate::components::frame::Section;
use crate::components::page::Answer;
use crate::pages::region::Region;
use leptos::prelude::*;

/// The country.
#[component]
pub fn OverviewPage() -> impl IntoView {
    view! { <Answer ask=|| api::region("ID".to_owned()) section=Section::Overview view=|region| view! { <Region region/> }/> }
}
