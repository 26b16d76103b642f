//! Whether memory stays flat: the whole country, listeners that stay and listeners that come and go, and every page in turn, for as long
//! as is asked: an hour, when it counts. What matters is memory; hardly a tenth of a core is busy.
//!
//! The country reports in real time, after two days that were sent at once: what a device did not report is waited for for two days. Or it
//! reports at a hundred times its pace: then more is waited for with each minute, of the server's time, than ever would be.

use crate::figures::Figures;
use crate::program::{Connection, Events, Fleet, Server};
use anyhow::ensure;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How much faster than real time a fast fleet reports.
const SPEED: u32 = 100;
/// Hours sent at once before the fleet reports in real time.
const PAST_HOURS: u32 = 48;
/// Listeners that stay.
const LISTENERS: usize = 50;
/// For so long the others listen, one after the other, each on a stream of its own.
const VISIT: Duration = Duration::from_secs(2);
const TOPICS: [&str; 6] =
    ["device:P321701-1-F1", "facility:P321701-1", "region:ID", "region:32", "device:P310101-1-F1", "pipeline"];
const PAGES: [&str; 12] = [
    "/",
    "/regions/32",
    "/facilities/P321701-1",
    "/devices/P321701-1-F1",
    "/pipeline",
    "/api/v1/latest",
    "/api/v1/windows?size=5m&limit=1000&device_id=P321701-1-F1",
    "/api/v1/late?limit=100",
    "/api/v1/dead-letters?limit=100",
    "/stats",
    "/metrics",
    "/no-such-page",
];
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_secs(10);

/// Measures for `length`, the first sixth of which is warming up.
pub fn run(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    let server = Server::start()?;
    let _fleet = Fleet::start_after(&server, PAST_HOURS)?;
    watch(figures, &server, length)
}

/// The same with a fast fleet.
pub fn run_fast(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    let server = Server::start()?;
    let _fleet = Fleet::fast(&server, SPEED, length)?;
    watch(figures, &server, length)
}

/// Watches the memory of `server` while pages are asked for and listened to.
fn watch(figures: &mut Figures, server: &Server, length: Duration) -> anyhow::Result<()> {
    let (is_over, pages, visits) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let failure: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let note = |result: anyhow::Result<()>| {
        if let Err(error) = result {
            failure.lock().expect("no panic holds it").get_or_insert(error);
        }
    };
    std::thread::scope(|scope| {
        for n in 0..LISTENERS {
            let (is_over, note) = (&is_over, &note);
            scope.spawn(move || note(listen(server, TOPICS[n % TOPICS.len()], || is_over.load(Ordering::Relaxed))));
        }
        scope.spawn(|| {
            for topic in TOPICS.iter().cycle() {
                let began = Instant::now();
                note(listen(server, topic, || is_over.load(Ordering::Relaxed) || began.elapsed() >= VISIT));
                visits.fetch_add(1, Ordering::Relaxed);
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        scope.spawn(|| {
            for path in PAGES.iter().cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                note(ask(server, path));
                pages.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let sampled = sample(server, figures, length);
        is_over.store(true, Ordering::Relaxed);
        sampled
    })?;
    figures.add("soak: pages asked for", pages.load(Ordering::Relaxed) as f64, "");
    figures.add("soak: listeners that came and went", visits.load(Ordering::Relaxed) as f64, "");
    match failure.into_inner().expect("no panic holds it") {
        Some(error) => Err(error.context("while memory was watched")),
        None => Ok(()),
    }
}

/// Listens until `is_enough`; it is asked with every message, of which there is one every few seconds at least.
fn listen(server: &Server, topic: &str, is_enough: impl Fn() -> bool) -> anyhow::Result<()> {
    let mut events = Events::open(server, topic)?;
    while !is_enough() {
        events.next()?;
    }
    Ok(())
}

fn ask(server: &Server, path: &str) -> anyhow::Result<()> {
    let page = Connection::open(server, "")?.get(path, "accept-encoding: gzip, br\r\n")?;
    ensure!(page.status == if path == "/no-such-page" { 404 } else { 200 }, "{path}: {}", page.head);
    Ok(())
}

/// Looks at memory for `length`; what it was at each sixth, and the line through what came after the first.
fn sample(server: &Server, figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    let began = Instant::now();
    let cpu = server.cpu_seconds()?;
    let mut samples: Vec<(f64, f64)> = Vec::new();
    let mut sixths = (1..=6).map(|n| length * n / 6).peekable();
    while let Some(next) = sixths.peek() {
        std::thread::sleep(SAMPLE.min(length / 60));
        let (at, mib) = (began.elapsed(), server.memory_kib()? / 1_024.0);
        if at >= length / 6 {
            samples.push((at.as_secs_f64() / 3_600.0, mib));
        }
        if at >= *next {
            figures.add(format!("soak: memory after {:.0} s", at.as_secs_f64()), mib, "MiB");
            figures.add(format!("soak: open files after {:.0} s", at.as_secs_f64()), server.open_files()? as f64, "");
            sixths.next();
        }
    }
    figures.add("soak: memory grows", slope(&samples), "MiB/h");
    let least = samples.iter().map(|s| s.1).fold(f64::INFINITY, f64::min);
    figures.add("soak: memory, least after warming up", least, "MiB");
    figures.add("soak: memory, most", server.peak_mib()?, "MiB");
    figures.add("soak: records", server.stats(None)?["received"].as_f64().unwrap_or_default(), "");
    figures.add("soak: server CPU", (server.cpu_seconds()? - cpu) / began.elapsed().as_secs_f64(), "cores");
    Ok(())
}

/// Slope of the line with the least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let [above, below] = points.iter().fold([0.0, 0.0], |[a, b], p| [a + (p.0 - x) * (p.1 - y), b + (p.0 - x).powi(2)]);
    above / below
}
