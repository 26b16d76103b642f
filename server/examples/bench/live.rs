//! From a reading posted to its value at those who look, while 10 000 other readings a second come in.
//!
//! To a plain client of `/live`, and to the page in Chromium where Node and the packages of `end2end` are there.

use crate::events::now_ms;
use crate::figures::{Figures, Latencies};
use crate::program::{Connection, Events, Server, root};
use anyhow::{Context, ensure};
use std::fmt::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Readings a second of other devices,
const BACKGROUND: usize = 10_000;
/// in so many bodies.
const BODIES: usize = 20;
/// The device that is looked at, of a real place.
const DEVICE: &str = "P321701-1-F1";
/// How soon a reading has to be seen to count as seen at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures for `length` each way.
pub fn run(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    let server = Server::start()?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| background(&server, &is_over));
        let measured = plain_client(&server, figures, length).and_then(|()| browser(&server, figures, length));
        is_over.store(true, Ordering::Relaxed);
        let per_second = load.join().expect("no panic in the load")?;
        figures.add("live: readings of other devices meanwhile", per_second, "events/s");
        measured
    })
}

/// Readings of all registered refrigerators but the one that is looked at, all in range; how many a second it came to.
fn background(server: &Server, is_over: &AtomicBool) -> anyhow::Result<f64> {
    let master = server::data::master()?;
    let is_other = |s: &&domain::master::Sensor| s.equipment == domain::master::EquipmentKind::Refrigerator && s.id != DEVICE;
    let ids: Vec<&str> = master.sensors().iter().filter(is_other).map(|s| s.id.as_str()).collect();
    let mut connection = Connection::open(server, "application/x-ndjson")?;
    let (began, mut sent, mut body) = (Instant::now(), 0, String::new());
    while !is_over.load(Ordering::Relaxed) {
        let due = began + Duration::from_millis((sent / (BACKGROUND / 1_000)) as u64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        body.clear();
        let ts = now_ms();
        for n in sent..sent + BACKGROUND / BODIES {
            let temperature = 3_000 + n * 7 % 4_000;
            let _ = writeln!(
                body,
                "{{\"device_id\":\"{}\",\"ts\":{ts},\"temperature\":{}.{:03}}}",
                ids[n % ids.len()],
                temperature / 1_000,
                temperature % 1_000
            );
        }
        connection.post(body.as_bytes())?;
        sent += BACKGROUND / BODIES;
    }
    Ok(sent as f64 / began.elapsed().as_secs_f64())
}

/// Posts a reading every 1.1 seconds, in range and out of it in turn, and waits for it on the streams of the device, its facility and
/// the country.
fn plain_client(server: &Server, figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    // Every device has spoken: the country's figures change with ours only.
    std::thread::sleep(Duration::from_secs(4));
    let (heard, updates) = mpsc::channel();
    for topic in [format!("device:{DEVICE}"), "facility:P321701-1".to_owned(), "region:ID".to_owned()] {
        let (mut events, heard) = (Events::open(server, &topic)?, heard.clone());
        std::thread::spawn(move || {
            while let Ok(event) = events.next() {
                if heard.send((Instant::now(), event)).is_err() {
                    return;
                }
            }
        });
    }
    let mut connection = Connection::open(server, "application/json")?;
    let mut latencies: [Latencies; 3] = std::array::from_fn(|_| Latencies::default());
    let (began, mut is_warm) = (Instant::now(), false);
    while began.elapsed() < length {
        is_warm = !is_warm;
        let (ts, temperature) = (now_ms(), if is_warm { "9.4" } else { "5.1" });
        // What is underway of before is not the answer to this.
        std::thread::sleep(Duration::from_millis(100));
        while updates.try_recv().is_ok() {}
        let posted = Instant::now();
        connection.post(format!(r#"{{"device_id":"{DEVICE}","ts":{ts},"temperature":{temperature}}}"#).as_bytes())?;
        let signs = [
            format!("event: device\n…\"at\":{ts},"),
            format!("event: facility\n…\"at\":{ts},"),
            format!("event: region\n…\"too_warm\":{},", u8::from(is_warm)),
        ];
        let mut missing = vec![0, 1, 2];
        while !missing.is_empty() {
            let (at, event) = updates.recv_timeout(PATIENCE).context("a reading was never seen")?;
            missing.retain(|which| {
                let (kind, value) = signs[*which].split_once('…').expect("written above");
                let is_seen = event.contains(kind) && event.contains(value);
                if is_seen {
                    latencies[*which].add(at.duration_since(posted));
                }
                !is_seen
            });
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(posted.elapsed()));
    }
    for (latencies, what) in latencies.into_iter().zip(["its device", "its facility", "the country's counts"]) {
        latencies.report(figures, &format!("live: posted to received by a listener of {what}"))?;
    }
    Ok(())
}

/// The same to the page, by `end2end/latency.mjs`.
fn browser(server: &Server, figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    let folder = root().join("end2end");
    if !folder.join("node_modules").exists() {
        println!("live: no browser figures without the packages of end2end (`cargo xtask test --only journeys` installs them)");
        return Ok(());
    }
    let output = Command::new("node")
        .current_dir(folder)
        .args(["latency.mjs", DEVICE, &length.as_secs().to_string()])
        .env("RANTAI_URL", format!("http://{}", server.address))
        .env("RANTAI_KEY", &server.key)
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("start node")?;
    ensure!(output.status.success(), "end2end/latency.mjs failed");
    let mut latencies = Latencies::default();
    for line in String::from_utf8(output.stdout)?.lines() {
        latencies.add(Duration::from_secs_f64(line.parse::<f64>()?.max(0.0) / 1_000.0));
    }
    latencies.report(figures, "live: posted to the value on the page of its device in Chromium")
}
