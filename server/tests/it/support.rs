//! A server on a free port with a directory of its own, and how to talk to it.

pub use crate::sim::simulation::random::Random;

use clap::Parser;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};
use server::config::{Config, ServeArgs};
use server::lifecycle::{self, Running};
use server::store::{Store, StoreAddress};
use sqlx::Connection;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Far more than anything here takes; a test that waits so long has failed.
pub const LONG: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ServeArgs,
}

/// Options as they would stand on the command line.
pub fn args(dir: &std::path::Path, more: &[&str]) -> Config {
    let dir = dir.to_str().expect("a plain path");
    let site = format!("{dir}/site");
    std::fs::create_dir_all(&site).expect("makes");
    let fixed = ["serve", "--listen", "127.0.0.1:0", "--data-dir", dir, "--site-dir", &site];
    Cli::try_parse_from(fixed.iter().chain(more)).expect("valid options").args.resolve().expect("valid values")
}

/// The address of an empty store of each kind: SQLite, and Postgres where the variable `RANTAI_TEST_POSTGRES` names a server, as
/// `cargo xtask test` sees to. Databases are left for whoever throws that server away.
pub async fn stores() -> Vec<String> {
    let mut stores = vec!["sqlite".to_owned()];
    if let Ok(server) = std::env::var("RANTAI_TEST_POSTGRES") {
        let name = format!("rantai_{:x}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection = sqlx::PgConnection::connect(&server).await.expect("the Postgres of the checks runs");
        let create = sqlx::AssertSqlSafe(format!("create database {name} template template0"));
        sqlx::raw_sql(create).execute(&mut connection).await.expect("makes a database");
        let (address, _) = server.rsplit_once('/').expect("a URL with a database");
        stores.push(format!("{address}/{name}"));
    } else {
        eprintln!("Without RANTAI_TEST_POSTGRES only SQLite is tested.");
    }
    stores
}

static NEXT: AtomicU32 = AtomicU32::new(0);

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

/// The start of this slot of five minutes: what lies a little after it lies in the same.
pub fn slot_now() -> i64 {
    let now = now_ms();
    now - now.rem_euclid(300_000)
}

/// Milliseconds as the API writes them.
pub fn rfc3339(ms: i64) -> String {
    domain::time::EventTime::from_ms(ms).to_string()
}

/// A bare temperature payload.
pub fn bare(device: &str, ts: i64, temperature: &str) -> String {
    format!(r#"{{"device_id":"{device}","ts":{ts},"temperature":{temperature}}}"#)
}

/// A temperature in an envelope.
pub fn envelope(id: &str, device: &str, ts: i64, temperature: &str) -> String {
    format!(r#"{{"event_id":"{id}","topic":"temperature","source":"test","payload":{}}}"#, bare(device, ts, temperature))
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("a whole answer") }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// Whether its sender is asked to come again, some seconds later.
    pub fn is_to_come_again(&self) -> bool {
        is_soon(self.header("retry-after"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("plain text"))
    }

    /// A problem of this status, as `application/problem+json` with all that every problem has.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!((self.status, self.header("content-type")), (status, "application/problem+json"), "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["type"].is_string() && problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}

/// Whether `retry_after` is one of the answers to who is refused.
pub fn is_soon(retry_after: &str) -> bool {
    ["1", "2", "3", "4", "5"].contains(&retry_after)
}

pub struct Server {
    pub url: String,
    pub key: String,
    pub client: reqwest::Client,
    dir: TempDir,
    store: StoreAddress,
    running: Running,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(more: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), more).await
    }

    /// On the directory of an earlier server, or a fresh one; the key is new each time.
    pub async fn start_in(dir: TempDir, more: &[&str]) -> Self {
        let config = args(dir.path(), more);
        // A program that another test begins to run has for a moment what is open here, the lock of a server that has just ended too.
        let own = format!("is in use by process {}", std::process::id());
        let running = until("the directory is free", async || match lifecycle::start(&config).await {
            Err(error) if error.to_string().contains(&own) => None,
            started => Some(started.expect("starts")),
        })
        .await;
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let url = format!("http://{}", running.address);
        let mut server = Self { url, key: String::new(), client, dir, store: config.store, running };
        server.key = server.make_key(&format!("key {}", now_ms()), "ingest,read").await;
        server
    }

    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// As `rantai key create` does beside a running server.
    pub async fn make_key(&self, name: &str, scope: &str) -> String {
        self.make_key_of(name, None, scope).await
    }

    /// The same for records of a source.
    pub async fn make_key_of(&self, name: &str, source: Option<&str>, scope: &str) -> String {
        let store = Store::open(&self.store, self.dir.path()).await.expect("opens");
        let key = store.create_key(name, source, scope, now_ms()).await.expect("makes a key");
        store.close().await;
        key
    }

    pub async fn revoke_key(&self, name: &str) {
        let store = Store::open(&self.store, self.dir.path()).await.expect("opens");
        assert!(store.revoke_key(name).await.expect("answers"));
        store.close().await;
    }

    /// Stops in order; the directory stays.
    pub async fn stop(self) -> TempDir {
        let Self { dir, running, client, .. } = self;
        drop(client);
        running.stop.cancel();
        tokio::time::timeout(LONG, running.wait()).await.expect("ends").expect("without an error");
        dir
    }

    pub async fn send(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Reply {
        let mut request = self.client.post(format!("{}/ingest", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::of(request.send().await.expect("an answer")).await
    }

    pub async fn post(&self, body: impl Into<reqwest::Body>) -> Reply {
        let key = format!("Bearer {}", self.key);
        self.send(&[(AUTHORIZATION.as_str(), &key), (CONTENT_TYPE.as_str(), "application/json")], body).await
    }

    pub async fn post_lines(&self, body: impl Into<reqwest::Body>) -> Reply {
        let key = format!("Bearer {}", self.key);
        self.send(&[(AUTHORIZATION.as_str(), &key), (CONTENT_TYPE.as_str(), "application/x-ndjson")], body).await
    }

    /// Posts records as an array, all of which must be accepted.
    pub async fn accept(&self, records: &[String]) {
        let reply = self.post(format!("[{}]", records.join(","))).await;
        assert_eq!((reply.status, reply.json()["accepted"].as_u64()), (200, Some(records.len() as u64)), "{}", reply.text);
    }

    /// Decides about a dead letter; `action` is `replay` or `discard`.
    pub async fn decide(&self, position: impl std::fmt::Display, action: &str, body: &Value) -> Reply {
        let url = format!("{}/api/v1/dead-letters/{position}/{action}", self.url);
        Reply::of(self.client.post(url).bearer_auth(&self.key).json(body).send().await.expect("an answer")).await
    }

    /// Discards a dead letter.
    pub async fn discard(&self, position: impl std::fmt::Display) {
        let reply = self.decide(position, "discard", &json!({"by": "Sari", "reason": "a test"})).await;
        assert!(matches!(reply.status, 200 | 202), "{}: {}", reply.status, reply.text); // 202: an engine elsewhere will
    }

    /// Takes a dead letter in again.
    pub async fn replay(&self, position: impl std::fmt::Display) {
        let reply = self.decide(position, "replay", &json!({"by": "Sari"})).await;
        assert!(matches!(reply.status, 200 | 202), "{}: {}", reply.status, reply.text);
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = self.client.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Reply::of(request.send().await.expect("an answer")).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.get_with(path, &[]).await
    }

    /// A JSON answer that must be 200.
    pub async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"), "{path}: {}", reply.text);
        reply.json()
    }

    /// The rows of an NDJSON answer.
    pub async fn rows(&self, path: &str) -> Vec<Value> {
        let reply = self.get_with(path, &[("accept", "application/x-ndjson")]).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/x-ndjson"), "{path}: {}", reply.text);
        reply.text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// received, unique, duplicate, late, rejected.
    pub async fn stats(&self) -> [u64; 5] {
        counts(&self.json("/stats").await)
    }
}

/// The five counters of a `/stats` object, which must agree.
#[track_caller]
pub fn counts(stats: &Value) -> [u64; 5] {
    let names = ["received", "unique_processed", "duplicate_dropped", "late", "rejected"];
    let counts = names.map(|name| stats[name].as_u64().unwrap_or_else(|| panic!("{name} in {stats}")));
    assert_eq!(counts[0], counts[1..].iter().sum::<u64>(), "{stats}");
    counts
}

/// Asks again and again until `done`; the state of a server changes in its own time.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < LONG, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
