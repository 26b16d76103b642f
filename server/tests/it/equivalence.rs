//! A seeded stream with everything that happens to senders gives the dispositions and windows of the plain reference.

use crate::reference::{Definitions, Fate, Record, Reference, Row, Sample, assert_rows};
use crate::support::{Random, Server, now_ms, stores};
use serde_json::Value;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn thousandths(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", value.abs() / 1_000, value.abs() % 1_000)
}

pub fn written(record: &Record) -> String {
    let sample = record.sample;
    let optional =
        |name: &str, value: Option<i64>| value.map_or_else(String::new, |v| format!(r#","{name}":{}"#, thousandths(v)));
    let payload = format!(
        r#"{{"device_id":"{}","ts":{},"temperature":{}{}{}}}"#,
        record.device,
        sample.at,
        thousandths(sample.temperature),
        optional("humidity", sample.humidity),
        optional("battery", sample.battery),
    );
    match &record.id {
        Some(id) => format!(r#"{{"event_id":"{id}","topic":"temperature","source":"s","payload":{payload}}}"#),
        None => payload,
    }
}

/// Records of several devices in the order of sending.
pub fn stream(random: &mut Random, now: i64) -> Vec<Record> {
    let mut by_device = Vec::new();
    // How often each reports: from ten times in a slot to less than once.
    for (index, step) in [4_000, 9_000, 30_000, 60_000, 300_000, 300_000, 420_000].into_iter().enumerate() {
        let device = if index == 5 { "P110101-1-F1".to_owned() } else { format!("dev-{index}") };
        let mut own: Vec<Record> = Vec::new();
        let mut at = now - 20 * HOUR + random.between(0, HOUR);
        let until = if step < 10_000 { at + HOUR + 30 * MINUTE } else { now };
        while at < until && own.len() < 500 {
            at += step + random.between(-step / 3, step / 3 + 1);
            if random.one_in(60) {
                at += random.between(5 * MINUTE, 4 * HOUR); // an outage
            }
            if at >= until {
                break;
            }
            let sample = Sample {
                at,
                temperature: if random.one_in(50) { 85_000 } else { random.between(-30_000, 40_000) },
                humidity: (!random.one_in(4)).then(|| random.between(0, 100_001)),
                battery: random.one_in(2).then(|| random.between(0, 100_001)),
            };
            let id = (!random.one_in(3)).then(|| format!("{device}-{}", own.len()));
            own.push(Record { id, device: device.clone(), sample });
        }
        disturb(random, &mut own, now);
        by_device.push(own);
    }
    // Devices send side by side.
    let mut all = Vec::new();
    let mut queues: Vec<std::collections::VecDeque<Record>> = by_device.into_iter().map(Into::into).collect();
    while queues.iter().any(|queue| !queue.is_empty()) {
        let which = random.below(queues.len() as u64) as usize;
        for _ in 0..random.below(12) {
            all.extend(queues[which].pop_front());
        }
    }
    all
}

fn disturb(random: &mut Random, own: &mut Vec<Record>, now: i64) {
    // Stretches that were kept while there was no network: sent later, oldest or newest first, among what is new by then.
    for _ in 0..4 {
        let len = random.between(5, 60) as usize;
        if own.len() < 2 * len + 10 {
            continue;
        }
        let from = random.below((own.len() - len) as u64) as usize;
        let mut kept: Vec<Record> = own.drain(from..from + len).collect();
        if random.one_in(2) {
            kept.reverse();
        }
        let mut at = from + random.below((own.len() - from + 1) as u64) as usize;
        for record in kept {
            own.insert(at, record);
            at = (at + 1 + random.below(3) as usize).min(own.len());
        }
    }
    for _ in 0..own.len() / 10 {
        let from = random.below(own.len() as u64) as usize;
        let to = (from + random.below(8) as usize).min(own.len() - 1);
        own.swap(from, to); // out of order
    }
    for n in 0..own.len() / 6 {
        let from = random.below(own.len() as u64) as usize;
        let mut record = own[from].clone();
        match random.below(8) {
            0..=3 => {}                          // a duplicate
            4 => record.sample.temperature += 1, // the same id or instant, another value
            5 => {
                // One more for a window that has probably been closed.
                record.id = Some(format!("{}-late-{n}", record.device));
                record.sample.at += 1;
            }
            6 => (record.id, record.sample.at) = (Some(format!("{}-future-{n}", record.device)), now + 5 * HOUR),
            _ => (record.id, record.sample.at) = (Some(format!("{}-reset-{n}", record.device)), 1_000 * n as i64),
        }
        let at = from + random.below((own.len() - from + 1) as u64) as usize;
        own.insert(at, record);
    }
}

async fn check(seed: u64, windows: &str, definitions: Definitions, sizes: &[&str]) {
    for store in stores().await {
        check_on(&store, seed, windows, definitions.clone(), sizes).await;
    }
}

async fn check_on(store: &str, seed: u64, windows: &str, definitions: Definitions, sizes: &[&str]) {
    let lateness = (definitions.lateness / 1_000).to_string();
    let options = ["--store", store, "--windows", windows, "--allowed-lateness", &lateness];
    let server = Server::start_with(&options).await;
    let mut random = Random(seed);
    let now = now_ms();
    let records = stream(&mut random, now);
    let mut reference = Reference::new(definitions, 5 * MINUTE);
    let mut late: Vec<(Option<String>, String, i64, i64, i64)> = Vec::new();
    let mut totals = [0u64; 5];
    let mut ahead = records.as_slice();
    while !ahead.is_empty() {
        let (batch, others) = ahead.split_at((1 + random.below(120) as usize).min(ahead.len()));
        ahead = others;
        let lines: Vec<String> = batch.iter().map(written).collect();
        let reply = if random.one_in(2) {
            server.post_lines(lines.join("\n")).await
        } else {
            server.post(format!("[{}]", lines.join(","))).await
        };
        assert_eq!(reply.status, 200, "{}", reply.text);
        let (mut counts, mut rejections) = ([0u64; 4], Vec::new());
        for (index, record) in (0u64..).zip(batch) {
            let fate = reference.take(record, now);
            counts[match &fate {
                Fate::Accepted => 0,
                Fate::Duplicate => 1,
                Fate::Late { .. } => 2,
                Fate::Rejected(_) => 3,
            }] += 1;
            match fate {
                Fate::Late { window_start, lateness } => {
                    late.push((record.id.clone(), record.device.clone(), record.sample.at, window_start, lateness));
                }
                Fate::Rejected(reason) => rejections.push((index, reason.to_owned())),
                _ => {}
            }
        }
        let answer = reply.json();
        let told: Vec<(u64, String)> = answer["rejections"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|r| (r["index"].as_u64().expect("a number"), r["reason"].as_str().expect("a text").to_owned()))
            .collect();
        assert_eq!(told, rejections, "seed {seed}");
        let names = ["accepted", "duplicate", "late", "rejected"];
        assert_eq!(names.map(|name| answer[name].as_u64().expect("a number")), counts, "seed {seed}: {names:?}");
        totals[0] += batch.len() as u64;
        (0..4).for_each(|i| totals[i + 1] += counts[i]);
    }
    assert_eq!(server.stats().await, totals);
    assert!(totals.iter().all(|n| *n > 20), "the stream has some of everything: {totals:?}");
    let time = |row: &Value, name: &str| domain::time::parse_rfc3339(row[name].as_str().expect("a text")).expect("a time");
    let told: Vec<_> = server
        .rows("/api/v1/late")
        .await
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().map(str::to_owned);
            let lateness = row["lateness_ms"].as_i64().expect("a number");
            (text("event_id"), text("device_id").expect("a text"), time(row, "ts"), time(row, "window_start"), lateness)
        })
        .collect();
    assert_eq!(told, late, "seed {seed}");
    let compare = async |server: &Server| {
        for (index, size) in sizes.iter().enumerate() {
            let rows: Vec<Row> = server.rows(&format!("/api/v1/windows?size={size}")).await.iter().map(Row::read).collect();
            assert_rows(&rows, &reference.rows(index));
            // C2: accepted readings are the sum of the windows' counts, for every size.
            assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), totals[1], "{size}");
        }
    };
    compare(&server).await;
    // And once more as it was stored.
    let server = Server::start_in(server.stop().await, &options).await;
    compare(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_as_shipped() {
    for seed in [1, 2] {
        let definitions = Definitions { windows: vec![(10_000, MINUTE), (5 * MINUTE, 2 * MINUTE)], lateness: 10 * MINUTE };
        check(seed, "10:60,300:120", definitions, &["10s", "5m"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_another_making() {
    // The slot holds two readings, and is neither the shortest nor the longest window.
    let definitions = Definitions { windows: vec![(60_000, 0), (10 * MINUTE, MINUTE), (HOUR, 3 * MINUTE)], lateness: 3 * MINUTE };
    check(3, "60:0,600:60,3600:180", definitions, &["1m", "10m", "1h"]).await;
}
