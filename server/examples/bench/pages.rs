//! Pages while the whole country reports: how soon the server begins its answer, and how much it sends.

use crate::figures::{Figures, Latencies};
use crate::program::{Connection, Fleet, Server};
use anyhow::ensure;
use std::time::{Duration, Instant};

/// Requests a second of all pages together.
const RATE: u64 = 20;
const FACILITY: &str = "/facilities/P321701-1";

/// Measures for `length`, after the past day is in.
pub fn run(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    let server = Server::start()?;
    let fleet = Fleet::start(&server)?;
    figures.add("pages: readings of the past day", fleet.past as f64, "");
    for (what, path, limit) in [("national overview", "/", 60), ("facility page", FACILITY, 20)] {
        let mut connection = Connection::open(&server, "")?;
        let (mut first_byte, mut whole) = (Latencies::default(), Latencies::default());
        let (began, mut size) = (Instant::now(), 0);
        for n in 0..length.as_secs() * RATE {
            std::thread::sleep((began + Duration::from_millis(1_000 / RATE * n)).saturating_duration_since(Instant::now()));
            let page = connection.get(path, "accept: text/html\r\naccept-encoding: gzip, br\r\n")?;
            ensure!(page.status == 200 && page.head.contains("content-encoding: "), "{}", page.head);
            first_byte.add(page.first_byte);
            whole.add(page.whole);
            size = page.body.len();
        }
        first_byte.report(figures, &format!("pages: {what}, first byte"))?;
        whole.report(figures, &format!("pages: {what}, last byte"))?;
        figures.add(format!("pages: {what}, compressed (at most {limit})"), size as f64 / 1_000.0, "KB");
    }
    Ok(())
}
