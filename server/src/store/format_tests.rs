//! A change of what is stored needs a new number.

use super::STATE_FORMAT;
use crate::identities::Freeze;
use crate::log::{Block, BlockKind};
use crate::pipeline::Shard;
use crate::store::{Snapshot, Store, StoreAddress};
use crate::travel;
use domain::engine::{EngineConfig, Pairing};
use domain::master::Master;
use domain::time::{DAY_MS, MINUTE_MS, ProcessingTime};
use domain::window::WindowConfig;
use std::fmt::Write;
use std::sync::Arc;

/// What [`LOG`] leads to, as it is stored in the current format.
const GOLDEN: &str = include_str!("format.golden");

const BEGIN: i64 = 1_790_000_000_000;

/// Something of everything: minutes after [`BEGIN`] at which it came in, and the records. Times in them are minutes too.
const LOG: [(i64, &str); 6] = [
    (0, r#"{"device_id":"plain","ts":-1,"temperature":5.5}"#),
    (
        10,
        r#"{"device_id":"full","ts":1,"temperature":9.25,"humidity":61,"battery":80,"status":"warn","seq":1,"boot_id":"b"}
{"device_id":"full","ts":3,"temperature":-1.125,"humidity":62.5,"battery":79,"status":"ok","seq":4,"boot_id":"b"}
{"type":"Feature","geometry":{"type":"Point","coordinates":[107.6,-6.8]},"properties":{"device_id":"full","ts":3,"speed":12.5}}
{"device_id":"full","ts":9,"temperature":4,"status":"error","seq":5,"boot_id":"b"}"#,
    ),
    (
        11,
        r#"{"device_id":"plain","ts":4,"temperature":85}
{"device_id":"plain","ts":5,"temperature":900}
{"topic":"unheard-of"}"#,
    ),
    (
        40,
        r#"{"device_id":"full","ts":39,"temperature":4.5,"seq":6,"boot_id":"b"}
{"type":"Feature","geometry":{"type":"Point","coordinates":[107.7,-6.9]},"properties":{"device_id":"full","ts":39}}
{"device_id":"full","ts":30,"temperature":4.25}"#,
    ),
    (
        4 * 1_440,
        r#"{"device_id":"full","ts":5759,"temperature":5,"seq":7,"boot_id":"b"}
{"device_id":"full","ts":5759,"temperature":5.5,"humidity":60.5,"battery":70,"seq":8,"boot_id":"b"}
{"device_id":"full","ts":5759,"temperature":7,"battery":71,"seq":9,"boot_id":"b"}
{"device_id":"full","ts":5756,"temperature":6,"seq":10,"boot_id":"b"}
{"device_id":"full","ts":5756,"temperature":6.25,"seq":11,"boot_id":"b"}
{"type":"Feature","geometry":{"type":"Point","coordinates":[107.8,-6.9]},"properties":{"device_id":"full","ts":5759}}"#,
    ),
    (
        4 * 1_440 + 6,
        r#"{"device_id":"full","ts":2,"temperature":5}
{"device_id":"full","ts":5700,"temperature":5.001}"#,
    ),
];

/// A line of `LOG` with its times in milliseconds.
fn with_times(line: &str) -> String {
    let Some((head, tail)) = line.split_once("\"ts\":") else { return line.to_owned() };
    let (minutes, rest) = tail.split_at(tail.find([',', '}']).expect("it ends"));
    format!("{head}\"ts\":{}{rest}", BEGIN + minutes.parse::<i64>().expect("minutes") * MINUTE_MS)
}

fn master() -> Arc<Master> {
    let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n";
    let regions = "level,code,parent,name\n0,ID,,Indonesia\n";
    let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n";
    Arc::new(Master::parse(levels, regions, facilities).expect("parses"))
}

/// What is stored of `LOG`, a line a value.
async fn stored() -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let windows = WindowConfig::default().with_sliding(5 * MINUTE_MS, MINUTE_MS, MINUTE_MS);
    let windows = windows.and_then(|windows| windows.with_session(20 * MINUTE_MS, MINUTE_MS)).expect("they fit");
    let config = EngineConfig { windows, ..EngineConfig::default() };
    let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
    let snapshot = store.load(0, "log", ProcessingTime::from_ms(BEGIN)).await.expect("loads");
    let epoch = snapshot.epoch;
    // Some fingerprints in the state are made with it.
    let snapshot = Snapshot { identity_key: [7; 16], ..snapshot };
    let mut shard = Shard::embedded(snapshot, &dir.path().join("identities"), &master(), &config).expect("begins");
    let (mut number, mut first_record) = (0, 1);
    let mut feed = |at: i64, kind: BlockKind, lines: &[String], records: u64| {
        number += 1;
        let block = Block {
            number,
            first_record,
            received_at: ProcessingTime::from_ms(BEGIN + at),
            kind,
            source: "gateway".to_owned(),
            body: lines.join("\n").into(),
        };
        first_record += records;
        shard.feed(block).expect("feeds");
    };
    let pairing = Pairing { tracker: "truck".into(), device: "plain".into(), from_ms: BEGIN, to_ms: i64::MAX };
    feed(0, BlockKind::Pairings, &[String::from_utf8(travel::encode(&[pairing]).to_vec()).expect("text")], 0);
    for (minute, body) in LOG {
        let lines: Vec<String> = body.lines().map(with_times).collect();
        feed(minute * MINUTE_MS, BlockKind::Records(crate::admission::Format::Ndjson), &lines, lines.len() as u64);
    }
    // Somebody reads, and hears nothing: windows fire incomplete.
    let last = LOG.last().expect("it is there").0;
    (0..60).for_each(|half| feed(last * MINUTE_MS + half * MINUTE_MS / 2, BlockKind::Timer, &[], 0));
    feed(5 * DAY_MS, BlockKind::Timer, &[], 0);
    shard.settle();
    let (checkpoint, _) = shard.cut(Freeze::Full);
    store.checkpoint(&checkpoint, epoch, &config.windows).await.expect("writes");
    store.close().await;

    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.path().join("rantai.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("connects");
    let mut text = format!("format {STATE_FORMAT}\n");
    for (table, value, order) in [
        ("input_position", "totals", "partition"),
        ("devices", "state", "device_index"),
        ("hours", "cells", "start_ms"),
        ("hour_versions", "cells", "start_ms, known_at_ms"),
        ("count_versions", "data", "known_at_ms"),
        ("window_blocks", "data", "id"),
        ("derived_blocks", "data", "id"),
        ("side_blocks", "data", "kind, last_position"),
    ] {
        let query = format!("select {value} from {table} order by {order}");
        let values: Vec<Vec<u8>> = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&pool).await.expect("reads");
        assert!(!values.is_empty(), "nothing in {table}: the log here has to lead to something");
        for mut value in values {
            if matches!(table, "side_blocks" | "count_versions") {
                // How well it is compressed is no matter of the format.
                value = zstd::decode_all(value.as_slice()).expect("decompresses");
            }
            write!(text, "{table} ").expect("writes");
            for byte in value {
                write!(text, "{byte:02x}").expect("writes");
            }
            text.push('\n');
        }
    }
    pool.close().await;
    text
}

#[tokio::test]
async fn what_is_stored_has_not_changed_under_its_number() {
    let stored = stored().await;
    let is_raised = !GOLDEN.starts_with(&format!("format {STATE_FORMAT}\n"));
    let raise = if is_raised {
        "Its number was raised."
    } else {
        "Raise STATE_FORMAT in server/src/store/format.rs by one: data folders that are there cannot be read any more, and have to be told."
    };
    assert!(
        stored == GOLDEN,
        "What is stored is encoded in another way than before. {raise} Then put this into server/src/store/format.golden:\n{stored}"
    );
}
