//! The archipelago simulator: what the refrigerators of a country would report, sent to a server as any outside client would.
//!
//! It knows `POST /ingest` and the public master data, nothing else of the server. The models are functions of seed, device and
//! instant ([`random`], [`weather`], [`faults`], [`fridge`], [`model`]); [`source`] and [`iot`] make records of them in the order
//! of sending; [`client`] sends; [`truth`] keeps what really happened. GPS trackers will be a further [`source::Source`].
//!
//! The same seed gives the same readings whenever a run starts, so a run that repeats a part of an older one sends duplicates,
//! not contradictions.

pub mod args;
pub mod client;
pub mod encode;
pub mod faults;
pub mod fleet;
pub mod fridge;
pub mod iot;
pub mod model;
mod play;
pub mod progress;
pub mod random;
pub mod source;
pub mod truth;
pub mod way;
pub mod weather;

pub use args::SimulateArgs;
pub use play::run;
