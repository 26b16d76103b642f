//! One event a request over 64 keep-alive connections.

use crate::events::{now_ms, write_event};
use crate::figures::{Figures, Latencies};
use crate::program::{Connection, Server};
use anyhow::ensure;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Measures for `length`.
pub fn run(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    let server = Server::start()?;
    let next = AtomicU64::new(0);
    let start_ms = now_ms() - 86_400_000;
    let latencies: Mutex<Latencies> = Mutex::default();
    let failure: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let sent = || -> anyhow::Result<Latencies> {
                    let mut connection = Connection::open(&server, "application/json")?;
                    let (mut body, mut own) = (Vec::new(), Latencies::default());
                    while began.elapsed() < length {
                        body.clear();
                        write_event(&mut body, next.fetch_add(1, Ordering::Relaxed), start_ms);
                        let sent = Instant::now();
                        let answer = connection.post(&body)?;
                        ensure!(answer.contains("accepted"), "{answer}");
                        own.add(sent.elapsed());
                    }
                    Ok(own)
                };
                match sent() {
                    Ok(own) => latencies.lock().expect("no panic holds it").append(own),
                    Err(error) => {
                        failure.lock().expect("no panic holds it").get_or_insert(error);
                    }
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().expect("no panic holds it") {
        return Err(error);
    }
    let latencies = latencies.into_inner().expect("no panic holds it");
    figures.add("single events, 64 connections: requests", latencies.len() as f64 / began.elapsed().as_secs_f64(), "requests/s");
    latencies.report(figures, "single events, 64 connections")
}
