//! Batches of 1 000 events over 4 connections, beside the bare server.

use crate::events::{MIX, Stream, now_ms, write_event_of};
use crate::figures::Figures;
use crate::program::{Connection, Server};
use anyhow::ensure;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

/// Time of the first event. Event time runs as fast as the load: it begins so far back that it never passes the clock.
static START_MS: LazyLock<i64> = LazyLock::new(|| now_ms() - 30 * 86_400_000);

/// What checkpoints spend CPU time on.
const PARTS: [&str; 4] = ["copying state", "runs of identities", "encoding results", "in the threads of SQLite"];

pub struct Load {
    /// Events sent.
    pub events: u64,
    pub events_per_second: f64,
    pub events_per_cpu_second: f64,
    peak_mib: f64,
    /// Percent of all CPU time for the parts of checkpoints, see [`PARTS`].
    checkpoint_percent: [f64; 4],
    /// CPU microseconds per event at every 5 million events.
    cost: Vec<f64>,
}

/// Batches of 1 000 over 4 connections for `length`, from event `first` on.
pub fn load(server: &Server, stream: Stream, is_array: bool, first: u64, length: Duration) -> anyhow::Result<Load> {
    let next = AtomicU64::new(first);
    let done = AtomicU64::new(0);
    let start_ms = *START_MS;
    let failure: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let began = Instant::now();
    let cpu_before = server.cpu_seconds()?;
    // The bare server has none.
    let checkpoints = || -> anyhow::Result<[f64; 4]> {
        let part = |name| server.metric(&format!("rantai_checkpoint_cpu_seconds_total{{part=\"{name}\"}}")).unwrap_or(0.0);
        Ok([part("cut"), part("run"), part("store"), server.cpu_seconds_of("sqlx-sqlite")?])
    };
    let checkpoints_before = checkpoints()?;
    let mut cost = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let sent = || -> anyhow::Result<()> {
                    let content_type = if is_array { "application/json" } else { "application/x-ndjson" };
                    let mut connection = Connection::open(server, content_type)?;
                    let mut body = Vec::with_capacity(256 * 1_024);
                    while began.elapsed() < length {
                        let from = next.fetch_add(1_000, Ordering::Relaxed);
                        body.clear();
                        body.extend_from_slice(if is_array { b"[" } else { b"" });
                        for n in from..from + 1_000 {
                            if n > from {
                                body.push(if is_array { b',' } else { b'\n' });
                            }
                            write_event_of(stream, &mut body, n, start_ms);
                        }
                        body.extend_from_slice(if is_array { b"]" } else { b"\n" });
                        let answer = connection.post(&body)?;
                        ensure!(answer.contains("\"rejected\":0") || answer == "ok", "{answer:.400}");
                        done.fetch_add(1_000, Ordering::Relaxed);
                    }
                    Ok(())
                };
                if let Err(error) = sent() {
                    failure.lock().expect("no panic holds it").get_or_insert(error);
                }
            });
        }
        let (mut last_events, mut last_cpu) = (0, cpu_before);
        while began.elapsed() < length {
            std::thread::sleep(Duration::from_millis(20));
            let events = done.load(Ordering::Relaxed);
            if events >= last_events + 5_000_000
                && let Ok(cpu) = server.cpu_seconds()
            {
                cost.push((cpu - last_cpu) * 1e6 / (events - last_events) as f64);
                (last_events, last_cpu) = (events, cpu);
            }
        }
    });
    if let Some(error) = failure.into_inner().expect("no panic holds it") {
        return Err(error);
    }
    let events = done.load(Ordering::Relaxed);
    let elapsed = began.elapsed().as_secs_f64();
    let cpu = server.cpu_seconds()? - cpu_before;
    let checkpoints = checkpoints()?;
    Ok(Load {
        events,
        events_per_second: events as f64 / elapsed,
        events_per_cpu_second: events as f64 / cpu,
        peak_mib: server.peak_mib()?,
        checkpoint_percent: [0, 1, 2, 3].map(|part| (checkpoints[part] - checkpoints_before[part]) / cpu * 100.0),
        cost,
    })
}

pub fn run(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    for is_array in [false, true] {
        let form = if is_array { "JSON arrays" } else { "NDJSON" };
        let ours = load(&Server::start()?, MIX, is_array, 0, length)?;
        figures.add(format!("ingest, {form}: events"), ours.events_per_second, "events/s");
        figures.add(format!("ingest, {form}: events per CPU second"), ours.events_per_cpu_second, "events/CPU s");
        figures.add(format!("ingest, {form}: peak memory"), ours.peak_mib, "MiB");
        let percent = ours.checkpoint_percent;
        figures.add(format!("ingest, {form}: checkpoints, of all CPU time"), percent.iter().sum(), "%");
        for (part, percent) in PARTS.iter().zip(percent) {
            figures.add(format!("ingest, {form}: checkpoints, of it {part}"), percent, "%");
        }
        for (index, cost) in ours.cost.iter().enumerate() {
            figures.add(format!("ingest, {form}: CPU of events {} to {} million", index * 5, index * 5 + 5), *cost, "µs/event");
        }
    }
    beside_bare(figures, length.min(Duration::from_secs(5)))
}

/// Events per CPU second beside the bare server's. In turn: the machine may be half as fast a minute later, or its memory alone.
fn beside_bare(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    const ROUNDS: usize = 8;
    let ours = [Server::start()?, Server::start()?];
    let mut known = [0; 2];
    let mut yardsticks = Vec::new();
    let mut ratios = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        let bare = load(&Server::bare()?, MIX, false, 0, length)?.events_per_cpu_second;
        yardsticks.push(bare);
        for (which, ratios) in ratios.iter_mut().enumerate() {
            let done = load(&ours[which], MIX, which == 1, known[which], length)?;
            known[which] += done.events;
            ratios.push(done.events_per_cpu_second / bare);
        }
    }
    figures.add("bare server, NDJSON: events per CPU second, median of rounds", median(&mut yardsticks), "events/CPU s");
    for (form, mut ratios) in ["NDJSON", "JSON arrays"].into_iter().zip(ratios) {
        let of = format!("ingest, {form}: of the bare server's events per CPU second");
        figures.add(format!("{of}, median of rounds"), median(&mut ratios), "");
        figures.add(format!("{of}, least"), ratios[0], "");
        figures.add(format!("{of}, most"), ratios[ROUNDS - 1], "");
    }
    Ok(())
}

/// Sorts `values` and tells their median; there are at least two.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { values[half - 1].midpoint(values[half]) }
}

/// Whether the twenty-millionth event costs more than one of the first: a server that has taken in so many, and a new one each time, in
/// turn.
pub fn flat(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    const ROUNDS: usize = 8;
    const HISTORY: u64 = 20_000_000;
    let (mut old, mut known, mut longest) = (Server::start()?, 0, 0);
    let (mut times, mut all) = (Vec::new(), [const { Vec::new() }; 2]);
    for round in 0..ROUNDS {
        if round > 0 && round % 2 == 0 {
            // What is measured comes into the history too: it would soon be twice as long.
            (old, known) = (Server::start()?, 0);
        }
        while known < HISTORY {
            known += load(&old, MIX, false, known, length)?.events;
        }
        let new = Server::start()?;
        // Its first windows, before any closes, cost less than all others: they are no measure.
        let begun = load(&new, MIX, false, 0, Duration::from_secs(3))?.events;
        let mut costs = [0.0; 2];
        // Now the one first, now the other.
        for turn in [round % 2, (round + 1) % 2] {
            let (server, first) = if turn == 0 { (&new, begun) } else { (&old, known) };
            let done = load(server, MIX, false, first, length)?;
            costs[turn] = 1e6 / done.events_per_cpu_second;
            known += if turn == 0 { 0 } else { done.events };
        }
        longest = longest.max(known);
        all.iter_mut().zip(costs).for_each(|(all, cost)| all.push(cost));
        times.push(costs[1] / costs[0]);
    }
    figures.add("flat: new, median", median(&mut all[0]), "µs/event");
    figures.add("flat: with history, median", median(&mut all[1]), "µs/event");
    figures.add("flat: events in the longest history", longest as f64 / 1e6, "million");
    figures.add("flat: with history beside new, median", median(&mut times), "×");
    Ok(())
}

/// What the semantics cost the whole server in CPU time an event, beside the mix: records that come late, ten times the devices at the
/// same rate, and sliding windows. Runs in turn, the best of each counts: the machine may be busy with something else.
pub fn cost(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    const ROUNDS: usize = 3;
    let slow = Stream { every_ms: 50_000, ..MIX };
    // Three minutes: behind the watermarks of one minute and two, within the ten minutes allowed.
    let behind = Stream { late_percent: 20, late_ms: 180_000, ..MIX };
    let cases: [(&str, Stream, &[&str]); 6] = [
        ("the mix", MIX, &[]),
        ("20 % of the records behind the watermark", behind, &[]),
        ("20 % of the records too late", Stream { late_ms: 1_800_000, ..behind }, &[]),
        ("sliding windows too", MIX, &["--windows", "10:60,300:120,300/10:120"]),
        ("each device a tenth as often", slow, &[]),
        ("ten times the devices, each a tenth as often", Stream { devices: 100_000, ..slow }, &[]),
    ];
    let mut best = [f64::INFINITY; 6];
    for _ in 0..ROUNDS {
        for ((_, stream, options), best) in cases.iter().zip(&mut best) {
            let done = load(&Server::start_with(options)?, *stream, false, 0, length)?;
            *best = best.min(1e6 / done.events_per_cpu_second);
        }
    }
    for ((name, ..), best) in cases.iter().zip(best) {
        figures.add(format!("cost: {name}"), best, "µs of CPU an event");
    }
    for (name, of, beside) in [
        ("20 % behind the watermark, beside the mix", 1, 0),
        ("20 % too late, beside the mix", 2, 0),
        ("sliding windows too, beside the mix", 3, 0),
        ("ten times the devices at the same rate, beside as many", 5, 4),
    ] {
        figures.add(format!("cost: {name}"), best[of] / best[beside], "×");
    }
    Ok(())
}
