//! The sender: an outside client of `POST /ingest` that keeps order per device and gives up on nothing.
//!
//! Devices are spread over lanes, each with one connection and one request at a time, so records of a device arrive in the order in
//! which they were made. A request that fails is sent again byte for byte until the server has answered for it; what got
//! through twice, the server tells apart by event id.

use crate::progress::{Progress, say};
use crate::random::{Draw, Purpose};
use crate::source::Sink;
use anyhow::{Context, bail};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Some records for one request, as NDJSON.
#[derive(Debug, Default)]
pub struct Batch {
    body: Vec<u8>,
    records: usize,
}

/// The server takes 10 MiB inflated; a record is far below 64 KiB, so a full batch stays below that.
const LARGEST_BODY: usize = 9 << 20;
/// Batches waiting per lane. When it is full the player waits, and simulated time with it.
const QUEUE: usize = 2;

/// The player's end of the lanes.
pub struct Lanes {
    open: Vec<Batch>,
    queues: Vec<mpsc::Sender<Batch>>,
    records: usize,
    progress: Arc<Progress>,
    /// A lane has ended: nothing more can be sent.
    closed: bool,
}

impl Lanes {
    /// `n` lanes with requests of up to `records` records, and the ends that [`Sender::run`] takes.
    pub fn new(n: usize, records: usize, progress: Arc<Progress>) -> (Self, Vec<mpsc::Receiver<Batch>>) {
        let (queues, ends) = (0..n).map(|_| mpsc::channel(QUEUE)).unzip();
        let open = std::iter::repeat_with(Batch::default).take(n).collect();
        (Self { open, queues, records, progress, closed: false }, ends)
    }

    fn send(&mut self, lane: usize) {
        let batch = std::mem::take(&mut self.open[lane]);
        self.open[lane].body.reserve(batch.body.len() + 1_024);
        self.progress.made.fetch_add(batch.records as u64, Relaxed);
        self.closed |= self.queues[lane].blocking_send(batch).is_err();
    }

    /// Sends what is waiting for its request to fill. Waits while the queues are full.
    pub fn flush(&mut self) {
        for lane in 0..self.open.len() {
            if self.open[lane].records > 0 {
                self.send(lane);
            }
        }
    }

    /// Whether sending has ended.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

impl Sink for Lanes {
    fn record(&mut self, device: usize, json: &[u8]) {
        let lane = device % self.open.len();
        let batch = &mut self.open[lane];
        batch.body.extend_from_slice(json);
        batch.body.push(b'\n');
        batch.records += 1;
        if batch.records >= self.records || batch.body.len() > LARGEST_BODY {
            self.send(lane);
        }
    }
}

/// What the server says about a request: about one record, or about many.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    status: Option<String>,
    received: u64,
    accepted: u64,
    duplicate: u64,
    late: u64,
    rejected: u64,
    queued: u64,
    rejections: Vec<Rejected>,
}

#[derive(Debug, Deserialize)]
struct Rejected {
    reason: String,
}

/// What came of one attempt.
enum Attempt {
    Done,
    /// Not now; wait at least so long where the server asked for it.
    Later(Option<Duration>, String),
}

/// Where and how to send.
#[derive(Clone)]
pub struct Sender {
    http: reqwest::Client,
    url: Url,
    compress: bool,
    progress: Arc<Progress>,
}

impl Sender {
    /// To `/ingest` below `url`, signed with `key`.
    pub fn new(base: &Url, key: &str, compress: bool, progress: Arc<Progress>) -> anyhow::Result<Self> {
        let url = format!("{}/ingest", base.as_str().trim_end_matches('/')).parse()?;
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {key}")).context("the key has characters that no key has")?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        if compress {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        }
        let mut http = reqwest::Client::builder()
            .default_headers(headers)
            .user_agent(concat!("rantai-simulate/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            // Followed, a POST would become a GET, or end at an address with TLS that we could only fail at for ever.
            .redirect(Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_mins(1));
        // A proxy set for the outside world cannot reach our own machine.
        if matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            http = http.no_proxy();
        }
        Ok(Self { http: http.build().context("set up the HTTP client")?, url, compress, progress })
    }

    /// Sends the batches of one lane until the player has ended, or `abandon` is cancelled. An error is one that waiting does
    /// not heal: a refused key, an answer that is none.
    pub async fn run(self, lane: u64, mut batches: mpsc::Receiver<Batch>, abandon: CancellationToken) -> anyhow::Result<()> {
        while let Some(batch) = batches.recv().await {
            let delivered = abandon.run_until_cancelled(self.deliver(lane, batch)).await;
            match delivered {
                Some(result) => result?,
                None => break,
            }
        }
        Ok(())
    }

    async fn deliver(&self, lane: u64, batch: Batch) -> anyhow::Result<()> {
        let body = if self.compress { zstd::bulk::compress(&batch.body, 1).context("compress a request")? } else { batch.body };
        let body = Bytes::from(body);
        let mut attempts = 0u32;
        loop {
            match self.attempt(body.clone(), batch.records as u64).await? {
                Attempt::Done => {
                    if attempts > 0 && self.progress.down.swap(false, Relaxed) {
                        say("the server takes readings again");
                    }
                    return Ok(());
                }
                Attempt::Later(asked, why) => {
                    // A busy server says when to come back; only one that is gone is worth a line, and one for all lanes.
                    if asked.is_none() && !self.progress.down.swap(true, Relaxed) {
                        say(&format!("the server does not take readings, trying again: {why}"));
                    }
                    self.progress.retries.fetch_add(1, Relaxed);
                    tokio::time::sleep(pause(lane, attempts, asked)).await;
                    attempts += 1;
                }
            }
        }
    }

    async fn attempt(&self, body: Bytes, records: u64) -> anyhow::Result<Attempt> {
        let answer = match self.http.post(self.url.clone()).body(body).send().await {
            Ok(answer) => answer,
            Err(error) if error.is_builder() => return Err(error).context("build a request"),
            Err(error) => return Ok(Attempt::Later(None, cause(&error))),
        };
        let status = answer.status();
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let location = answer.headers().get(LOCATION).map_or("nowhere".into(), |value| excerpt(value.as_bytes()));
        let text = match answer.bytes().await {
            Ok(text) => text,
            Err(error) => return Ok(Attempt::Later(None, cause(&error))),
        };
        match status {
            StatusCode::OK | StatusCode::ACCEPTED => {
                let answer: Answer = serde_json::from_slice(&text).with_context(|| {
                    format!("{} answered with {status}, but not as /ingest does: {}", self.url, excerpt(&text))
                })?;
                self.count(&answer, records);
                Ok(Attempt::Done)
            }
            // A single record that the server rejects.
            StatusCode::UNPROCESSABLE_ENTITY if records == 1 => {
                self.count(&Answer { received: 1, rejected: 1, ..Answer::default() }, 1);
                Ok(Attempt::Done)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                bail!("{} refuses the key ({status}): make one with `rantai key create --name N --scope ingest`", self.url)
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Ok(Attempt::Later(Some(Duration::from_secs(asked.unwrap_or(1))), status.to_string()))
            }
            _ if status.is_redirection() => {
                bail!("{} sends us to {location} ({status}): give an address that takes readings itself, by plain HTTP", self.url)
            }
            _ if status.is_server_error() => Ok(Attempt::Later(asked.map(Duration::from_secs), status.to_string())),
            _ => bail!("{} answered with {status}: {}", self.url, excerpt(&text)),
        }
    }

    fn count(&self, answer: &Answer, records: u64) {
        let progress = &*self.progress;
        match answer.status.as_deref() {
            Some("accepted") => drop(progress.accepted.fetch_add(1, Relaxed)),
            Some("queued") => drop(progress.queued.fetch_add(1, Relaxed)),
            Some(_) => drop(progress.duplicate.fetch_add(1, Relaxed)),
            None => {
                progress.accepted.fetch_add(answer.accepted, Relaxed);
                progress.duplicate.fetch_add(answer.duplicate, Relaxed);
                progress.late.fetch_add(answer.late, Relaxed);
                progress.rejected.fetch_add(answer.rejected, Relaxed);
                progress.queued.fetch_add(answer.queued, Relaxed);
            }
        }
        answer.rejections.iter().for_each(|rejected| progress.rejected_for(&rejected.reason));
        progress.answered.fetch_add(records, Relaxed);
    }
}

/// How long to wait before the next attempt: what the server asked for, or 0.1 s doubling to 5 s; then up to as much again, or
/// thousands of clients would come back at once.
fn pause(lane: u64, attempts: u32, asked: Option<Duration>) -> Duration {
    let least = match asked {
        Some(asked) => asked.min(Duration::from_mins(1)),
        None => Duration::from_millis(100 << attempts.min(6)).min(Duration::from_secs(5)),
    };
    let jitter = Draw::of(u64::from(std::process::id()), lane, i64::from(attempts), Purpose::Backoff).unit();
    least + least.mul_f64(jitter)
}

/// The innermost cause: `Connection refused` rather than `error sending request`.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers requests with `answers` in turn (`None`: hangs up), then ends. Returns its address and the bodies.
    async fn stub(answers: Vec<Option<(u16, &'static str, &'static str)>>) -> (String, Arc<Mutex<Vec<Vec<u8>>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = bodies.clone();
        tokio::spawn(async move {
            let mut answers = answers.into_iter();
            while let Some(mut answer) = answers.next() {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                loop {
                    let mut request = Vec::new();
                    let body_at = loop {
                        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
                            break at + 4;
                        }
                        assert!(stream.read_buf(&mut request).await.expect("readable") > 0, "the client hung up");
                    };
                    let head = String::from_utf8_lossy(&request[..body_at]).to_lowercase();
                    assert!(head.starts_with("post /ingest http/1.1") && head.contains("authorization: bearer secret"), "{head}");
                    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                    let length: usize = length.expect("a length");
                    while request.len() < body_at + length {
                        assert!(stream.read_buf(&mut request).await.expect("readable") > 0, "the client hung up");
                    }
                    kept.lock().expect("no panic").push(request[body_at..].to_vec());
                    let Some((status, header, text)) = answer else { break };
                    let reply = format!("HTTP/1.1 {status} X\r\n{header}content-length: {}\r\n\r\n{text}", text.len());
                    stream.write_all(reply.as_bytes()).await.expect("writable");
                    match answers.next() {
                        Some(next) => answer = next,
                        None => return,
                    }
                }
            }
        });
        (url, bodies)
    }

    async fn send(url: &str, compress: bool, records: &[&str]) -> (anyhow::Result<()>, Arc<Progress>) {
        let progress = Arc::new(Progress::default());
        let (mut lanes, mut ends) = Lanes::new(1, 100, progress.clone());
        let sender = Sender::new(&url.parse().expect("an address"), "secret", compress, progress.clone()).expect("valid");
        let records: Vec<_> = records.iter().map(|record| record.as_bytes().to_vec()).collect();
        tokio::task::spawn_blocking(move || {
            for record in &records {
                lanes.record(7, record);
            }
            lanes.flush();
        })
        .await
        .expect("no panic");
        let result = sender.run(0, ends.remove(0), CancellationToken::new()).await;
        (result, progress)
    }

    #[tokio::test]
    async fn the_same_bytes_until_the_server_has_answered() {
        let counts = r#"{"received":2,"accepted":1,"duplicate":0,"late":0,"rejected":1,
            "rejections":[{"index":1,"event_id":"b","reason":"future"}]}"#;
        let busy = Some((429, "retry-after: 0\r\n", "{}"));
        let (url, bodies) = stub(vec![None, Some((500, "", "")), busy, Some((200, "", counts))]).await;
        let (result, progress) = send(&url, false, &[r#"{"a":1}"#, r#"{"b":2}"#]).await;
        result.expect("delivered");
        assert_eq!(*bodies.lock().expect("no panic"), vec![b"{\"a\":1}\n{\"b\":2}\n".to_vec(); 4]);
        assert_eq!(progress.dispositions(), "accepted 1, rejected 1 (future 1), requests repeated 3");
        assert_eq!((progress.made.load(Relaxed), progress.answered.load(Relaxed)), (2, 2));
        assert!(!progress.down.load(Relaxed));
    }

    #[tokio::test]
    async fn one_record_and_its_answer() {
        let (url, bodies) = stub(vec![Some((200, "", r#"{"status":"duplicate event"}"#))]).await;
        let (result, progress) = send(&url, true, &[r#"{"a":1}"#]).await;
        result.expect("delivered");
        let body = zstd::bulk::decompress(&bodies.lock().expect("no panic")[0], 100).expect("zstd");
        assert_eq!(body, b"{\"a\":1}\n");
        assert_eq!(progress.dispositions(), "accepted 0, duplicate 1");
    }

    #[tokio::test]
    async fn a_refused_key_ends_the_run() {
        let (url, _) = stub(vec![Some((401, "", "{}"))]).await;
        let error = send(&url, false, &["{}"]).await.0.expect_err("refused");
        assert!(error.to_string().contains("refuses the key (401"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_wants_tls_ends_the_run() {
        let (url, _) = stub(vec![Some((308, "location: https://127.0.0.1:1/ingest\r\n", ""))]).await;
        let error = send(&url, false, &["{}"]).await.0.expect_err("sent elsewhere").to_string();
        assert!(error.contains("308") && error.contains("https://127.0.0.1:1/ingest"), "{error}");
    }
}
