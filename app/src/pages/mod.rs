//! One file per route.

pub mod device;
pub mod facility;
#[cfg(feature = "ssr")]
pub mod late;
pub mod letter;
#[cfg(feature = "ssr")]
pub mod letters;
pub mod not_found;
pub mod overview;
pub mod pipeline;
pub mod region;
pub mod search;
pub mod settings;
pub mod unassigned;
#[cfg(feature = "ssr")]
pub mod unregistered;
