//! A reconnect storm: devices that were cut off for hours come back within a minute, each on a connection of its own with all that it has
//! kept, while the country reports on. How long until all is taken in, whether anything is lost, and how soon live readings are seen.

use crate::events::now_ms;
use crate::figures::{Figures, Latencies};
use crate::program::{Connection, Events, Fleet, Server};
use anyhow::{Context, ensure};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Devices that come back, not those of the fleet,
const DEVICES: u64 = 20_000;
/// each with so many readings,
const KEPT: u64 = 48;
/// so far apart,
const EVERY_MS: i64 = 300_000;
/// all within this time.
const WITHIN: Duration = Duration::from_mins(1);
/// So many reconnect at a time.
const AT_ONCE: usize = 64;
/// A device that was refused comes again so much later.
const AGAIN: Duration = Duration::from_secs(1);
/// Then the storm should be over.
const DRAINED_WITHIN: Duration = Duration::from_mins(10);
/// So many devices of the fleet are looked at: few enough for one stream, and so many that no tile of theirs changes as often as it may.
const LIVE: usize = 16;
/// How far apart their readings are.
const APART: Duration = Duration::from_millis(100);
/// How soon the last of them has to be seen to count as seen at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// What stands before the time of a reading in a message.
const SIGN: &str = "\"reading\":{\"at\":";

/// Measures the fleet alone for 20 s, then the storm.
pub fn run(figures: &mut Figures) -> anyhow::Result<()> {
    let server = Server::start()?;
    let fleet = Fleet::start(&server)?;
    figures.add("storm: readings of the past day", fleet.past as f64, "");
    // All of them were heard of before they were cut off.
    let back = now_ms();
    let mut connection = Connection::open(&server, "application/x-ndjson")?;
    for from in (0..DEVICES).step_by(1_000) {
        let mut body = String::new();
        (from..from + 1_000).for_each(|device| write_reading(&mut body, device, 0, back));
        connection.post(body.as_bytes())?;
    }
    let calm = watched(&server, || {
        std::thread::sleep(Duration::from_secs(20));
        Ok(())
    })?;
    calm.report(figures, "storm: live, posted to received before it")?;
    let (again, answered) = (AtomicU64::new(0), Mutex::new(Latencies::default()));
    let cpu = server.cpu_seconds()?;
    let began = Instant::now();
    let mut drained = Duration::ZERO;
    let live = watched(&server, || {
        send_all(&server, began, back, &again, &answered)?;
        loop {
            let stats = server.stats(Some("storm"))?;
            if stats["received"].as_u64().context("received")? >= DEVICES * (KEPT + 1) {
                drained = began.elapsed();
                return Ok(());
            }
            ensure!(began.elapsed() < DRAINED_WITHIN, "not drained: {stats}");
            std::thread::sleep(Duration::from_millis(100));
        }
    })?;
    figures.add("storm: readings", (DEVICES * KEPT) as f64, "");
    figures.add("storm: drained after", drained.as_secs_f64(), "s");
    figures.add("storm: server CPU", (server.cpu_seconds()? - cpu) / drained.as_secs_f64(), "cores");
    figures.add("storm: requests that had to come again", again.into_inner() as f64, "");
    answered.into_inner().expect("no panic holds it").report(figures, "storm: a device's 48 readings, connected to answered")?;
    live.report(figures, "storm: live, posted to received meanwhile")?;
    figures.add("storm: peak memory", server.peak_mib()?, "MiB");
    let stats = server.stats(Some("storm"))?;
    for disposition in ["unique_processed", "duplicate_dropped", "late", "rejected"] {
        figures.add(format!("storm: {disposition}"), stats[disposition].as_f64().context("a count")?, "");
    }
    ensure!(stats["unique_processed"] == DEVICES * (KEPT + 1), "something was lost: {stats}");
    Ok(())
}

/// Reading `n` of a device that was cut off: the first came in before.
fn write_reading(body: &mut String, device: u64, n: u64, back: i64) {
    let ts = back - (KEPT + 1 - n) as i64 * EVERY_MS;
    let temperature = 2 + (device + n) % 6;
    let _ = writeln!(
        body,
        "{{\"event_id\":\"storm-{device}-{n}\",\"topic\":\"temperature\",\"source\":\"storm\",\"ts\":{ts},\"payload\":{{\"device_id\":\
         \"storm-{device:05}\",\"ts\":{ts},\"temperature\":{temperature}.5}}}}"
    );
}

/// Every device connects at its moment, sends all that it has kept, and comes again where it is refused.
fn send_all(server: &Server, began: Instant, back: i64, again: &AtomicU64, answered: &Mutex<Latencies>) -> anyhow::Result<()> {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| -> anyhow::Result<()> {
                    let (mut own, mut body) = (Latencies::default(), String::new());
                    loop {
                        let device = next.fetch_add(1, Ordering::Relaxed);
                        if device >= DEVICES {
                            answered.lock().expect("no panic holds it").append(own);
                            return Ok(());
                        }
                        body.clear();
                        (1..=KEPT).for_each(|n| write_reading(&mut body, device, n, back));
                        let due = began + WITHIN.mul_f64(device as f64 / DEVICES as f64);
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        let connected = Instant::now();
                        while let Err(error) =
                            Connection::open(server, "application/x-ndjson").and_then(|mut c| c.post(body.as_bytes()).map(drop))
                        {
                            ensure!(began.elapsed() < DRAINED_WITHIN, "{error:#}");
                            again.fetch_add(1, Ordering::Relaxed);
                            std::thread::sleep(AGAIN);
                        }
                        own.add(connected.elapsed());
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic in a device"))
    })
}

/// Posts live readings while `work` is done: how long each took until a listener had it. All of them have to come.
fn watched(server: &Server, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Latencies> {
    let master = server::data::master()?;
    let is_one = |s: &&domain::master::Sensor| s.equipment == domain::master::EquipmentKind::Refrigerator;
    let ids: Vec<&str> = master.sensors().iter().filter(is_one).step_by(500).take(LIVE).map(|s| s.id.as_str()).collect();
    let topics: Vec<String> = ids.iter().map(|id| format!("device:{id}")).collect();
    let mut events = Events::open(server, &topics.join(","))?;
    let (base, began) = (now_ms(), Instant::now());
    let posted: Mutex<Vec<Instant>> = Mutex::default();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let listener = scope.spawn(|| -> anyhow::Result<Latencies> {
            let (mut latencies, mut end) = (Latencies::default(), None);
            loop {
                let event = events.next()?;
                let now = Instant::now();
                let digits =
                    event.split_once(SIGN).map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
                if let Some(at) = digits.and_then(|digits| digits.parse::<i64>().ok())
                    && at >= base
                    && (at - base) % APART.as_millis() as i64 == 0
                {
                    let n = ((at - base) / APART.as_millis() as i64) as usize;
                    if let Some(at) = posted.lock().expect("no panic holds it").get(n) {
                        latencies.add(now - *at);
                    }
                }
                // A beat comes every few seconds, so the last message is not waited for in vain.
                if is_over.load(Ordering::Relaxed) {
                    let missing = posted.lock().expect("no panic holds it").len().saturating_sub(latencies.len());
                    if missing == 0 {
                        return Ok(latencies);
                    }
                    let end = *end.get_or_insert(now + PATIENCE);
                    ensure!(now < end, "{missing} live readings were never seen");
                }
            }
        });
        let sender = scope.spawn(|| -> anyhow::Result<()> {
            let mut connection = Connection::open(server, "application/json")?;
            for n in 0.. {
                std::thread::sleep((began + APART * n).saturating_duration_since(Instant::now()));
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let (id, ts) = (ids[n as usize % LIVE], base + i64::from(n) * APART.as_millis() as i64);
                posted.lock().expect("no panic holds it").push(Instant::now());
                connection
                    .post(format!(r#"{{"device_id":"{id}","ts":{ts},"temperature":{}.{}}}"#, 3 + n % 4, n % 10).as_bytes())?;
            }
            Ok(())
        });
        let worked = work();
        is_over.store(true, Ordering::Relaxed);
        sender.join().expect("no panic in the sender")?;
        let latencies = listener.join().expect("no panic in the listener")?;
        worked.map(|()| latencies)
    })
}
