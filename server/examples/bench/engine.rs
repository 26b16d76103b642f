//! The engine alone, on one core: parse excluded, parse alone, and both with identities.

use crate::events::{DEVICES, now_ms, random, write_event};
use crate::figures::Figures;
use domain::engine::{Content, Engine, EngineConfig, Identities, Record, plain_reading};
use domain::event::{BodyHash, Identity, Topic};
use domain::milli::Milli;
use domain::time::{EventTime, ProcessingTime};
use server::admission::{Batch, Format, IdentityKey};
use server::identities::{DiskIdentities, Sizes};
use std::sync::Arc;
use std::time::Instant;

pub fn run(figures: &mut Figures) -> anyhow::Result<()> {
    const EVENTS: u64 = 4_000_000;
    let master = Arc::new(server::data::master()?);
    let start = now_ms() - 86_400_000;
    let names: Vec<String> = (0..DEVICES).map(|d| format!("bench-{d:05}")).collect();
    let mut run = |label: &str, mut next: Box<dyn FnMut(u64) -> u64 + '_>| {
        let started = Instant::now();
        let mut done = 0;
        while done < EVENTS {
            done = next(done);
        }
        figures.add(label, EVENTS as f64 / started.elapsed().as_secs_f64() / 1e6, "million events/s");
    };
    let mut engine = Engine::new(EngineConfig::default(), &master);
    let mut none = NoIdentities;
    let mut dispositions = Vec::new();
    let received = ProcessingTime::from_ms(now_ms());
    run(
        "engine, windows and roll-ups, parse and identities excluded",
        Box::new(|done| {
            let records = (done..done + 1_000).map(|n| Record {
                identity: Some(Identity(u128::from(n))),
                is_natural: false,
                body: BodyHash(n),
                sequence: None,
                is_numbered: false,
                topic: Some(Topic::Temperature),
                source: "bench".into(),
                content: Content::Reading {
                    device: names[(n % DEVICES) as usize].as_str().into(),
                    reading: plain_reading(
                        EventTime::from_ms(start + (n / DEVICES) as i64 * 5_000),
                        Milli(2_500 + (random(n) >> 52) as i32),
                    ),
                },
            });
            dispositions.clear();
            engine.step(records, received, &mut none, &mut dispositions);
            if done % 50_000 == 0 {
                engine.flush();
                engine.take_closed();
            }
            done + 1_000
        }),
    );
    let mut bodies = Vec::new();
    for chunk in 0..EVENTS / 1_000 {
        let mut body = Vec::with_capacity(220_000);
        for n in chunk * 1_000..(chunk + 1) * 1_000 {
            write_event(&mut body, n, start);
            body.push(b'\n');
        }
        bodies.push(bytes::Bytes::from(body));
    }
    let key = IdentityKey([7; 16]);
    run(
        "admission alone: NDJSON to records",
        Box::new(|done| {
            let body = bodies[(done / 1_000) as usize].clone();
            let batch = Batch::parse(body, Format::Ndjson, "bench", &key);
            done + batch.map_or(0, |b| b.len() as u64)
        }),
    );
    let mut engine = Engine::new(EngineConfig::default(), &master);
    run("engine with parse, identities excluded", Box::new(|done| parsed(&bodies, done, &key, &mut engine, received, &mut none)));
    let mut engine = Engine::new(EngineConfig::default(), &master);
    let dir = tempfile::tempdir()?;
    let mut identities = DiskIdentities::open(dir.path(), &[], Sizes::default())?;
    run(
        "engine with parse and identities, before they go to disk",
        Box::new(|done| parsed(&bodies, done, &key, &mut engine, received, &mut identities)),
    );
    Ok(())
}

/// Parses the body that begins with event `done` and takes it in; the number of events taken in then.
fn parsed(
    bodies: &[bytes::Bytes],
    done: u64,
    key: &IdentityKey,
    engine: &mut Engine,
    received: ProcessingTime,
    identities: &mut impl Identities,
) -> u64 {
    let body = bodies[(done / 1_000) as usize].clone();
    let batch = Batch::parse(body, Format::Ndjson, "bench", key).expect("a body of 1 000");
    engine.step(batch.records(), received, identities, &mut Vec::with_capacity(1_000));
    if done.is_multiple_of(50_000) {
        engine.flush();
        engine.take_closed();
    }
    done + 1_000
}

struct NoIdentities;

impl Identities for NoIdentities {
    fn check_in(&mut self, _: Identity, _: BodyHash) -> domain::engine::Seen {
        domain::engine::Seen::New
    }

    fn seen(&self, _: Identity, _: BodyHash) -> domain::engine::Seen {
        domain::engine::Seen::New
    }
}
