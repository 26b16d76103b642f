//! The browser's entry: takes over the page that the server rendered. Nothing else lives here.

use wasm_bindgen::prelude::wasm_bindgen;

/// Hydrates the page; called once by its script.
#[wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(app::App);
}
