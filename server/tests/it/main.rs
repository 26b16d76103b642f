//! The server as its clients see it: in this process over loopback, or as the shipped program.

mod backends;
mod brokers;
mod contract;
mod days;
mod derived;
mod equivalence;
mod faults;
mod fences;
mod formats;
mod kafka;
mod kafka_faults;
mod kafka_kill;
mod kafka_rebuild;
mod kafka_verify;
mod kill;
mod letters;
mod lifecycle;
mod live;
mod reading;
mod reference;
mod security;
mod sim;
mod store;
mod support;
mod verify;
mod written;
