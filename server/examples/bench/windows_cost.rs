//! What windows cost the engine, in nanoseconds an event on one core, parse and identities excluded: sliding ones and sessions beside
//! tumbling ones, records that come late, and ten times the devices at the same rate.
//!
//! Every pair is measured in turn, three times, and the best of each counts: the machine may be busy with something else.

use crate::events::{MIX, Stream};
use crate::figures::Figures;
use domain::engine::{ClosedWindow, Content, Disposition, Engine, EngineConfig, Identities, Record, Seen, plain_reading};
use domain::event::{BodyHash, Identity, Topic};
use domain::milli::Milli;
use domain::time::{EventTime, ProcessingTime};
use domain::window::WindowConfig;
use std::sync::Arc;
use std::time::Instant;

const EVENTS: u64 = 2_000_000;
const ROUNDS: usize = 3;
/// Event time of the first reading: any that no clock reset has.
const START: i64 = 1_795_000_000_000;

struct NoIdentities;

impl Identities for NoIdentities {
    fn check_in(&mut self, _: Identity, _: BodyHash) -> Seen {
        Seen::New
    }

    fn seen(&self, _: Identity, _: BodyHash) -> Seen {
        Seen::New
    }
}

/// An engine that has taken in `stream`, what closed, how many were late, and the time an event took.
fn taken(
    master: &Arc<domain::master::Master>,
    names: &[String],
    windows: &str,
    stream: Stream,
) -> (Engine, Vec<ClosedWindow>, u64, f64) {
    let windows = WindowConfig::parse(windows, 600_000).expect("a valid text");
    let mut engine = Engine::new(EngineConfig { windows, ..EngineConfig::default() }, master);
    let received = ProcessingTime::from_ms(START + 86_400_000);
    let (mut closed, mut late, mut dispositions) = (Vec::new(), 0, Vec::new());
    let mut took = std::time::Duration::ZERO;
    for from in (0..EVENTS).step_by(1_000) {
        let begun = Instant::now();
        let records = (from..from + 1_000).map(|n| Record {
            identity: Some(Identity(u128::from(n))),
            is_natural: false,
            body: BodyHash(n),
            sequence: None,
            is_numbered: false,
            topic: Some(Topic::Temperature),
            source: "bench".into(),
            content: Content::Reading {
                device: names[(n % stream.devices) as usize].as_str().into(),
                reading: plain_reading(EventTime::from_ms(stream.at(n, START)), Milli(2_500 + (n % 4_096) as i32)),
            },
        });
        dispositions.clear();
        engine.step(records, received, &mut NoIdentities, &mut dispositions);
        if from % 50_000 == 0 {
            engine.flush();
            engine.take_derived();
        }
        took += begun.elapsed();
        closed.append(&mut engine.take_closed());
        late += dispositions.iter().filter(|d| matches!(d, Disposition::Late { .. })).count() as u64;
    }
    (engine, closed, late, took.as_nanos() as f64 / EVENTS as f64)
}

pub fn run(figures: &mut Figures) -> anyhow::Result<()> {
    let master = Arc::new(server::data::master()?);
    let names: Vec<String> = (0..100_000).map(|d| format!("bench-{d:06}")).collect();
    let tumbling = "10:60,300:120";
    let slow = Stream { devices: 10_000, every_ms: 50_000, ..MIX };
    let cases = [
        ("tumbling 10 s and 5 min", tumbling, MIX),
        ("sliding 5 min by 10 s over 10 s", "10:60,300/10:120", MIX),
        ("tumbling and sliding 5 min by 10 s", "10:60,300:120,300/10:120", MIX),
        ("tumbling and sliding 1 h by 10 s", "10:60,300:120,3600/10:120", MIX),
        ("tumbling and sessions of 15 min", "10:60,300:120,session 900:60", MIX),
        ("tumbling, 20 % behind the watermark", tumbling, Stream { late_percent: 20, late_ms: 240_000, ..MIX }),
        ("tumbling, 20 % too late", tumbling, Stream { late_percent: 20, late_ms: 1_800_000, ..MIX }),
        ("tumbling and sliding, 20 % behind", "10:60,300:120,300/10:120", Stream { late_percent: 20, late_ms: 240_000, ..MIX }),
        ("tumbling, 100 000 devices, each as often", tumbling, Stream { devices: 100_000, ..MIX }),
        ("tumbling, each a tenth as often", tumbling, slow),
        ("tumbling, 100 000 devices, each a tenth as often", tumbling, Stream { devices: 100_000, ..slow }),
    ];
    let mut best = [f64::INFINITY; 11];
    let mut late = [0; 11];
    for _ in 0..ROUNDS {
        for (index, (_, windows, stream)) in cases.iter().enumerate() {
            let (_, _, count, ns) = taken(&master, &names, windows, *stream);
            best[index] = best[index].min(ns);
            late[index] = count;
        }
    }
    for (index, (name, ..)) in cases.iter().enumerate() {
        figures.add(format!("windows-cost: {name}"), best[index], "ns an event");
        figures.add(format!("windows-cost: {name}: beside tumbling"), best[index] / best[0], "×");
        if late[index] > 0 {
            figures.add(format!("windows-cost: {name}: late"), late[index] as f64 / EVENTS as f64 * 100.0, "%");
        }
    }
    figures.add("windows-cost: ten times the devices at the same rate", best[10] / best[9], "×");
    // Every sliding window of the stream put together once, as an export does; panes in the order in which they are stored.
    let (engine, mut panes, ..) = taken(&master, &names, "10:60,300:120,300/10:120", MIX);
    panes.retain(|closed| closed.definition == 0);
    panes.sort_unstable_by_key(|closed| (closed.device, closed.window.start));
    let started = Instant::now();
    let mut windows = 0;
    for own in panes.chunk_by(|a, b| a.device == b.device) {
        let state = engine.device_state(own[0].device);
        let view = state.windows.sliding_view(&engine.config().windows, 0);
        windows += view.windows(own.iter().map(|c| (c.window.start, c.window.aggregate)), START - 86_400_000, i64::MAX / 4).len();
    }
    let ns = started.elapsed().as_nanos() as f64;
    figures.add("windows-cost: putting a sliding window together", ns / windows as f64, "ns a window");
    figures.add("windows-cost: putting all of them together", ns / EVENTS as f64, "ns an event of the stream");
    figures.add(
        "windows-cost: tumbling and sliding, all put together: beside tumbling",
        (best[2] + ns / EVENTS as f64) / best[0],
        "×",
    );
    Ok(())
}
