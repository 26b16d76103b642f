//! Everything that touches the world: admission, log, store, pipeline, HTTP and the live feed.

pub mod admission;
pub mod backend;
pub mod backup;
pub mod blocks;
pub mod clock;
pub mod config;
pub mod data;
pub mod feed;
pub mod files;
mod fullness;
pub mod hex;
pub mod http;
pub mod identities;
pub mod kafka;
pub mod letters;
pub mod lifecycle;
pub mod limits;
pub mod log;
pub mod pipeline;
pub mod publish;
pub mod rebuild;
pub mod scrub;
pub mod side;
pub mod store;
pub mod travel;
pub mod verify;
