//! The pure rules of the cold chain.
//!
//! Everything here is a function of its arguments: no clock, no IO, no randomness, so the same log always gives the same
//! state, on the server and in the browser alike. What touches the world lives in `server`.
//!
//! ```
//! use domain::milli::Milli;
//!
//! let reading: Milli = "8.0005".parse().expect("a decimal number");
//! assert_eq!(reading.to_string(), "8.001"); // taken to thousandths, half away from zero
//! ```

pub mod aggregate;
pub mod coldchain;
pub mod engine;
pub mod event;
pub mod feed;
pub mod join;
pub mod kinetic;
pub mod master;
pub mod milli;
mod planted;
pub mod rollup;
pub mod sequence;
pub mod time;
pub mod varint;
pub mod window;

pub use planted::planted;
