//! Pages while the whole country reports: how soon the server begins its answer, how much it sends, and how much their streams carry.

use crate::figures::{Figures, Latencies};
use crate::program::{Connection, Events, Fleet, Server};
use anyhow::ensure;
use std::time::{Duration, Instant};

/// Requests a second of all pages together.
const RATE: u64 = 20;
const FACILITY: &str = "/facilities/P321701-1";
/// A stream begins with the whole state, within this time; what comes then counts.
const BEGINNING: Duration = Duration::from_secs(3);
/// How long a stream is listened to: some devices report every five minutes.
const LISTENED: Duration = Duration::from_mins(5);
/// So many facilities are listened to, evenly spread over the country.
const FACILITIES: usize = 100;

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
    streams(&server, figures, LISTENED.min(length * 15))
}

/// What streams carry, as bytes of HTTP.
fn streams(server: &Server, figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    let master = server::data::master()?;
    let with_devices = || master.facilities().iter().filter(|facility| !facility.sensors.is_empty());
    let every = (with_devices().count() / FACILITIES).max(1);
    let facilities: Vec<String> =
        with_devices().step_by(every).take(FACILITIES).map(|facility| format!("facility:{}", facility.code)).collect();
    let device = format!("device:{}", master.sensors()[0].id);
    let pages = [("national overview", "region:ID"), ("a province", "region:32"), ("a district", "region:32.17.05")];
    let pages = pages.into_iter().chain([("a device", device.as_str()), ("pipeline", "pipeline")]);
    std::thread::scope(|scope| {
        let begun: Vec<_> = pages.map(|(what, topics)| (what, scope.spawn(move || listen(server, topics, length)))).collect();
        let many: Vec<_> = facilities.iter().map(|topic| scope.spawn(move || listen(server, topic, length))).collect();
        for (what, listener) in begun {
            let Carried { beginning, then, messages } = listener.join().expect("no panic in a listener")?;
            let minutes = length.as_secs_f64() / 60.0;
            figures.add(format!("pages: stream of {what}, its beginning"), beginning as f64 / 1_000.0, "KB");
            figures.add(format!("pages: stream of {what}, messages"), messages as f64 / minutes, "a minute");
            figures.add(format!("pages: stream of {what}, a minute"), then as f64 / 1_000.0 / minutes, "KB");
        }
        let many: anyhow::Result<Vec<Carried>> =
            many.into_iter().map(|one| one.join().expect("no panic in a listener")).collect();
        let mut many: Vec<f64> = many?.iter().map(|of| of.then as f64 / 1_000.0 / (length.as_secs_f64() / 60.0)).collect();
        many.sort_by(f64::total_cmp);
        figures.add("pages: streams of facilities, a minute: median", many[many.len() / 2], "KB");
        figures.add("pages: streams of facilities, a minute: most (at most 5)", many[many.len() - 1], "KB");
        Ok(())
    })
}

/// What came over a stream.
struct Carried {
    beginning: usize,
    then: usize,
    messages: usize,
}

fn listen(server: &Server, topics: &str, length: Duration) -> anyhow::Result<Carried> {
    let (began, mut events) = (Instant::now(), Events::open(server, topics)?);
    let mut carried = Carried { beginning: 0, then: 0, messages: 0 };
    loop {
        // A beat comes every few seconds.
        let event = events.next()?;
        match began.elapsed() {
            elapsed if elapsed < BEGINNING => carried.beginning += event.len(),
            elapsed if elapsed < BEGINNING + length => {
                carried.then += event.len();
                carried.messages += 1;
            }
            _ => return Ok(carried),
        }
    }
}
