//! The server as its clients see it: in this process over loopback, or as the shipped program.

mod contract;
mod derived;
mod equivalence;
mod faults;
mod kafka;
mod kill;
mod letters;
mod lifecycle;
mod live;
mod reading;
mod reference;
mod security;
mod store;
mod support;
mod verify;
mod written;
