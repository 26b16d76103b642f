//! Everything that touches the world: admission, log, store, pipeline, HTTP and the live feed.

pub mod admission;
pub mod identities;
pub mod log;
