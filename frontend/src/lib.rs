//! The browser's entry: takes over the page that the server rendered. Nothing else lives here.

// The pages' views are deeply nested types, and this crate is where they get their layout.
#![recursion_limit = "512"]

use wasm_bindgen::prelude::wasm_bindgen;

/// Hydrates the page; called once by its script.
#[wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(app::App);
}
