//! The icons: one sprite per page, drawn behind the application, and the component that points into it.

use leptos::prelude::*;

/// Every symbol, by id `i-…`, and the pattern `hatch` of gaps and of areas without figures.
pub const SPRITE: &str = r#"<symbol id="i-act" viewBox="0 0 16 16"><path fill="currentColor" fill-rule="evenodd" d="M8 .8 15.8 15H.2zM7.2 5.5v5h1.6v-5zm0 6.3v1.6h1.6v-1.6z"/></symbol>
<symbol id="i-box" viewBox="0 0 16 16"><path d="M2 5.5h12v8.75H2zM2 5.5l1.6-3.75h8.8L14 5.5M6 8.5h4" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-check" viewBox="0 0 16 16"><path d="m2.5 8.5 3.6 3.7L13.5 4" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-clock" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6.75" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/><path d="M8 4v4.2l2.7 1.6" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-down" viewBox="0 0 16 16"><path d="M8 2v8M4.5 7 8 10.5 11.5 7M2 13.75h12" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-flow" viewBox="0 0 16 16"><path d="M1.5 4h5c3 0 3 8 6 8h2M1.5 8h13M1.5 12h5c3 0 3-8 6-8h2" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-freeze" viewBox="0 0 16 16"><path d="M8 1v14M1.9 4.5l12.2 7M14.1 4.5l-12.2 7M6 1.8l2 1.7 2-1.7M6 14.2l2-1.7 2 1.7M1.6 7.3l2.5-.9-.4-2.6M14.4 8.7l-2.5.9.4 2.6M1.6 8.7l2.5.9-.4 2.6M14.4 7.3l-2.5-.9.4-2.6" fill="none" stroke="currentColor" stroke-width="1.3" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-info" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6.75" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/><path d="M8 7.25v4M8 4.7v.1" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-map" viewBox="0 0 16 16"><path d="M1.5 3.5 5.75 2l4.5 1.5L14.5 2v10.5L10.25 14l-4.5-1.5L1.5 14zM5.75 2v10.5M10.25 3.5V14" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-moon" viewBox="0 0 16 16"><path d="M13.8 9.6A6.2 6.2 0 0 1 6.4 2.2a6.2 6.2 0 1 0 7.4 7.4z" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-off" viewBox="0 0 16 16"><path d="M1.5 1.5l13 13M4 7.6A6 6 0 0 1 6 6.5M1.5 5A10 10 0 0 1 4.2 3.3M7.5 2.5A10 10 0 0 1 14.5 5M9.5 6.4A6 6 0 0 1 12 7.6M6 10.2a3 3 0 0 1 3 .1M8 13v.1" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-ok" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6.75" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/><path d="m5 8.2 2.2 2.2 3.9-4.6" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-rule" viewBox="0 0 16 16"><path d="M2 4h5M10.5 4H14M2 12h2M7.5 12H14" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/><circle cx="8.75" cy="4" r="1.75" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/><circle cx="5.75" cy="12" r="1.75" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-search" viewBox="0 0 16 16"><circle cx="7" cy="7" r="4.75" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/><path d="m10.6 10.6 3.9 3.9" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-table" viewBox="0 0 16 16"><path d="M1.5 2.5h13v11h-13zM1.5 6h13M1.5 9.75h13M6 6v7.5" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-unknown" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6.75" stroke-dasharray="2.6 2" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/><path d="M6.2 6.3a1.8 1.8 0 1 1 2.6 1.6c-.5.3-.8.6-.8 1.2M8 11.4v.1" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-warn" viewBox="0 0 16 16"><path fill="currentColor" fill-rule="evenodd" d="M8 .4 15.6 8 8 15.6.4 8zM7.2 4.2v5h1.6v-5zm0 6v1.6h1.6v-1.6z"/></symbol>
<symbol id="i-home" viewBox="0 0 16 16"><path d="M2 7.2 8 2l6 5.2V14H9.8v-4H6.2v4H2z" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-phone" viewBox="0 0 16 16"><path d="M3.4 1.8 5.7 1.6l1.2 3.2L5.3 6.2a9 9 0 0 0 4.5 4.5l1.4-1.6 3.2 1.2-.2 2.3c-.1 1-.9 1.7-1.9 1.6C6.7 13.7 2.3 9.3 1.8 3.7c-.1-1 .6-1.8 1.6-1.9z" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-plus" viewBox="0 0 16 16"><path d="M8 2.5v11M2.5 8h11" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/></symbol>
<symbol id="i-minus" viewBox="0 0 16 16"><path d="M2.5 8h11" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/></symbol>
<symbol id="i-sun" viewBox="0 0 16 16"><path d="M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1.1 1.1M11.9 11.9 13 13M13 3l-1.1 1.1M4.1 11.9 3 13" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round"/><circle cx="8" cy="8" r="3.1" fill="none" stroke="currentColor" stroke-width="1.5"/></symbol>
<symbol id="i-all" viewBox="0 0 16 16"><path d="M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<symbol id="i-warm" viewBox="0 0 16 16"><path d="M6.2 9.4V3a1.8 1.8 0 0 1 3.6 0v6.4a3.1 3.1 0 1 1-3.6 0zM8 5.5v5" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></symbol>
<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path class="hatch-line" d="M0 0v6"/></pattern>"#;

/// An icon. Its meaning stands in words beside it, or on the control it lies in. It has a size of its own: where the style sheet did not
/// come through, a drawing without one is as wide as the page.
#[component]
pub fn Icon(
    /// Its name in the sprite without `i-`: `act`, `freeze`, `ok`, `unknown`, `warn`, `search`, ….
    name: &'static str,
) -> impl IntoView {
    view! {
        <svg class="icon" width="18" height="18" aria-hidden="true">
            <use_ href=format!("#i-{name}")></use_>
        </svg>
    }
}
