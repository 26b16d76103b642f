//! x
#![allow(dead_code)]
mod encode;
mod faults;
mod fleet;
mod fridge;
mod model;
mod random;
mod weather;
