//! Bars and small lines as markup: the same text from the server and in the browser, set as `inner_html`.
//!
//! Temperature curves are drawn in [`crate::chart`], not here.
