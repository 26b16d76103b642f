//! Both databases under the real pipeline: they hold the same of the same log, whatever breaks off meanwhile.

use crate::equivalence::{stream, written};
use crate::reference::Record;
use crate::support::{Random, Server, now_ms, stores, until};
use domain::window::WindowConfig;
use server::store::Store;
use sqlx::Connection;
use std::path::Path;
use tempfile::TempDir;

/// Everything that can be derived, some of it with every few records.
const WINDOWS: &str = "10:60,300:120,300/10:120,3600/300:120,session 900:60";

/// The same log through the real pipeline leaves the same state in either store, lived through or read again.
#[tokio::test(flavor = "multi_thread")]
async fn both_stores_hold_the_same_state() {
    let kinds = stores().await.len();
    for origin in 0..kinds {
        let addresses = stores().await;
        let options = ["--store", &addresses[origin], "--checkpoint-ms", "50", "--windows", WINDOWS];
        let server = Server::start_with(&options).await;
        let mut random = Random(11 + origin as u64);
        let mut accepted = 0;
        for batch in stream(&mut random, now_ms()).chunks(90) {
            let lines: Vec<String> = batch.iter().map(written).collect();
            accepted += server.post_lines(lines.join("\n")).await.json()["accepted"].as_i64().expect("a number");
            send_fixes(&server, batch).await;
        }
        compare(&addresses, origin, server.stop().await, accepted).await;
    }
}

/// A database that breaks off every connection now and then, also within a checkpoint and its commit, costs nothing but time.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_breaks_off_loses_and_doubles_nothing() {
    let addresses = stores().await;
    let Some(address) = addresses.get(1) else { return };
    let server = Server::start_with(&["--store", address, "--checkpoint-ms", "5", "--windows", WINDOWS]).await;
    let (host, name) = address.rsplit_once('/').expect("a URL with a database");
    let mut breaker = sqlx::PgConnection::connect(&format!("{host}/postgres")).await.expect("connects");
    let mut random = Random(5);
    let (mut accepted, mut broken) = (0, 0);
    for (index, batch) in stream(&mut random, now_ms()).chunks(40).enumerate() {
        let lines: Vec<String> = batch.iter().map(written).collect();
        let body = lines.join("\n");
        let reply = until("an answer", async || Some(server.post_lines(body.clone()).await).filter(|r| r.status == 200)).await;
        accepted += reply.json()["accepted"].as_i64().expect("a number");
        send_fixes(&server, batch).await;
        if index % 3 == 0 {
            // The server comes back in its own time: this waits for it.
            broken += until("a connection to break off", async || {
                let done = sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1").bind(name);
                Some(done.execute(&mut breaker).await.expect("runs").rows_affected()).filter(|count| *count > 0)
            })
            .await;
        }
    }
    assert!(broken > 10, "{broken} connections were broken off");
    compare(&addresses, 1, server.stop().await, accepted).await;
}

/// Sends where the one device was that travels, near each of its readings in `batch`.
async fn send_fixes(server: &Server, batch: &[Record]) {
    let readings = batch.iter().filter(|record| record.device == "dev-3").map(|record| record.sample.at + 20_000);
    let fix = |at: i64| {
        let place = format!(r#"{{"type":"Point","coordinates":[107.{:03},-6.5]}}"#, at / 1_000 % 1_000);
        format!(r#"{{"type":"Feature","geometry":{place},"properties":{{"device_id":"dev-3","ts":{at}}}}}"#)
    };
    let body = readings.map(fix).collect::<Vec<_>>().join("\n");
    if !body.is_empty() {
        until("an answer", async || Some(server.post_lines(body.clone()).await).filter(|r| r.status == 200)).await;
    }
}

/// The store `origin` holds what came of the log in `lived`: every other one, made from that log alone, must hold the same.
async fn compare(addresses: &[String], origin: usize, lived: TempDir, accepted: i64) {
    let config = WindowConfig::parse(WINDOWS, 600_000).expect("windows");
    let mut dumps = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let mut dir = tempfile::tempdir().expect("a directory");
        if index == origin {
            copy_files(lived.path(), dir.path());
        } else {
            copy_files(&lived.path().join("log"), &dir.path().join("log"));
            dir = Server::start_in(dir, &["--store", address, "--windows", WINDOWS]).await.stop().await;
        }
        let store = Store::open(&address.parse().expect("an address"), dir.path()).await.expect("opens");
        dumps.push(store.dump(&config).await.expect("dumps"));
        if let Some((readings, windows)) = store.row_counts().await.expect("counts") {
            assert_eq!(readings, accepted);
            assert!(windows > 100);
        }
        store.close().await;
    }
    for word in ["position 0: next", "device 0/", "hour 0/", "window 10000/", "window 300000/", "side 0: ", "side 1: "] {
        assert!(dumps[0].lines().filter(|line| line.starts_with(word)).count() > 0, "no {word}");
    }
    for word in ["Joined", "Session", "Merged", "Located"] {
        assert!(dumps[0].lines().any(|line| line.starts_with("derived 0/") && line.contains(word)), "no {word}");
    }
    for dump in &dumps[1..] {
        let different = dumps[0].lines().zip(dump.lines()).find(|(a, b)| a != b);
        assert_eq!(different, None);
        assert_eq!(dumps[0].len(), dump.len());
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        if entry.path().is_dir() {
            continue;
        }
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
}
