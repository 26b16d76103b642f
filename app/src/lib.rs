//! The Leptos application: pages and components, built for the server (`ssr`) and for the browser (`hydrate`).

pub mod api;
pub mod error;
