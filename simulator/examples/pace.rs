//! How fast records are made: `cargo run --release -p simulator --example pace`. No server, no network.

use domain::time::{DAY_MS, EventTime};
use simulator::fleet::Fleet;
use simulator::source::{Sink, Source, Thermometers};
use simulator::truth::Truth;
use simulator::way::Disorder;
use std::time::Instant;

struct Count {
    records: u64,
    bytes: u64,
}

impl Sink for Count {
    fn record(&mut self, _device: usize, json: &[u8]) {
        self.records += 1;
        self.bytes += json.len() as u64;
    }
}

fn main() {
    let from = EventTime::from_ms(20_777 * DAY_MS);
    let disorder = Disorder { late: 0.001, duplicates: 0.005, out_of_order: 0.005 };
    let begun = Instant::now();
    let country = Fleet::country();
    println!("{} sensors read in {:.0} ms", country.sensors.len(), begun.elapsed().as_secs_f64() * 1e3);
    let begun = Instant::now();
    let mut source = Thermometers::new(1, &country, 300_000, disorder, from);
    println!("{} devices ready in {:.0} ms", source.devices(), begun.elapsed().as_secs_f64() * 1e3);
    let mut count = Count { records: 0, bytes: 0 };
    let begun = Instant::now();
    source.advance(from.plus_ms(DAY_MS), &mut count, &mut Truth::nowhere());
    let seconds = begun.elapsed().as_secs_f64();
    let (per_record, size) = (seconds * 1e9 / count.records as f64, count.bytes / count.records);
    println!("{} records in {seconds:.2} s: {per_record:.0} ns and {size} bytes each", count.records);
}
