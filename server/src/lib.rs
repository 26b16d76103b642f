//! Everything that touches the world: admission, log, store, pipeline, HTTP and the live feed.

pub mod admission;
pub mod blocks;
pub mod feed;
pub mod identities;
pub mod log;
pub mod pipeline;
pub mod publish;
pub mod side;
pub mod store;
