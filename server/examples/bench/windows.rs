//! Reading a day of the whole country back: every window as NDJSON and CSV, pages of JSON, and the newest of every device.

use crate::figures::{Figures, Latencies};
use crate::program::{Connection, Fleet, Server};
use anyhow::ensure;
use std::time::Instant;

/// Measures each once, `latest` twenty times.
pub fn run(figures: &mut Figures) -> anyhow::Result<()> {
    let server = Server::start()?;
    let fleet = Fleet::start(&server)?;
    let mut connection = Connection::open(&server, "")?;
    figures.add("windows: readings of the past day", fleet.past as f64, "");
    let before = server.peak_mib()?;
    for (form, size) in [("application/x-ndjson", "10s"), ("text/csv", "10s"), ("application/x-ndjson", "5m")] {
        let began = Instant::now();
        let answer = connection.count_lines(&format!("/api/v1/windows?size={size}"), form)?;
        figures.add(format!("windows: all of {size} as {form}"), began.elapsed().as_secs_f64(), "s");
        figures.add(format!("windows: all of {size} as {form}: lines"), answer as f64, "");
    }
    figures.add("windows: memory beyond the peak of before", server.peak_mib()? - before, "MiB");
    let mut pages = Latencies::default();
    let mut next = String::new();
    for _ in 0..20 {
        let page = connection.get(&format!("/api/v1/windows?limit=10000{next}"), "")?;
        ensure!(page.status == 200, "{}", page.head);
        let text = String::from_utf8(page.body)?;
        let (_, cursor) = text.rsplit_once("\"next\":\"").expect("a day has more pages than these");
        next = format!("&next={}", cursor.trim_end_matches("\"}"));
        pages.add(page.whole);
    }
    pages.report(figures, "windows: a page of 10 000")?;
    let mut latest = Latencies::default();
    for _ in 0..20 {
        latest.add(connection.get("/api/v1/latest", "")?.whole);
    }
    latest.report(figures, "windows: the newest of every device")
}
