//! SIGKILL in the middle of a load, again and again, on one directory: nothing acknowledged is lost, nothing is counted twice.
//!
//! Tests have a short form of it. `cargo xtask prove kill` runs the long one, on the release build that the variable
//! `RANTAI_TEST_BINARY` names, with `RANTAI_TEST_KILLS` and `RANTAI_TEST_SEED`; `RANTAI_TEST_LOG` is what it logs (`RUST_LOG`).

use crate::reference::{Row, Sample, assert_rows};
use crate::support::{LONG, Random, counts, now_ms, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Kills in the short form, with a moment each.
const KILLS: u64 = 20;
/// After so many of them everything is computed again from the log.
const VERIFIED: u64 = 20;
const SENDERS: u64 = 3;
/// Between two requests of a sender: what came in is read back in the end, window by window.
const PAUSE: Duration = Duration::from_millis(2);
const DEVICES: u64 = 8;
const PER_DEVICE: u64 = 5;
const RECORDS: u64 = DEVICES * PER_DEVICE;
/// When the load's first records were taken: a batch moves on by twenty seconds, and the newest must not lie in the future.
pub const AGO_MS: i64 = 60 * 86_400_000;
/// A start after a crash takes no longer.
const RESTART: Duration = Duration::from_secs(5);

/// The shipped program: the one beside this test, or the one that is to be proved.
pub fn binary() -> OsString {
    std::env::var_os("RANTAI_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_rantai").into())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

/// How many kills: `short` ones, or as many as the proof wants.
pub fn kills(short: u64) -> u64 {
    number("RANTAI_TEST_KILLS").unwrap_or(short)
}

/// How many kills of each engine on Kafka: `short` ones, or a fifth of those that the proof wants of the program alone.
pub fn kills_of_engines(short: u64) -> u64 {
    number("RANTAI_TEST_KILLS").map_or(short, |kills| kills.div_ceil(5))
}

/// Moments of kills; a failure under the same seed kills at the same ones.
pub fn moments() -> Random {
    let seed = number("RANTAI_TEST_SEED").unwrap_or(20);
    println!("RANTAI_TEST_SEED={seed}");
    Random(seed)
}

/// A loopback address that no other program of these tests listens on: once this one is killed, nobody answers at its port in its place.
pub fn address_of_its_own() -> Ipv4Addr {
    static PROGRAMS: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(1 << 8).wrapping_add(PROGRAMS.fetch_add(1, Ordering::Relaxed));
    let [_, a, b, c] = number.to_be_bytes();
    Ipv4Addr::new(127, a | 1, b, c)
}

fn spawn(command: &mut Command, dir: &Path, more: &[&str]) -> Child {
    command.args(["serve", "--listen", &format!("{}:0", address_of_its_own()), "--data-dir"]).arg(dir).args(more);
    let told = std::env::var("RANTAI_TEST_LOG").unwrap_or_else(|_| "error".to_owned());
    command.env("RUST_LOG", told).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("starts")
}

/// The shipped program, running.
pub struct Program {
    child: Child,
    pub url: String,
    pub started_in: Duration,
}

impl Program {
    pub async fn start(dir: &Path) -> Self {
        Self::start_with(dir, &["--checkpoint-ms", "60"]).await
    }

    pub async fn start_with(dir: &Path, more: &[&str]) -> Self {
        Self::start_by(Command::new(binary()), dir, more).await
    }

    /// By another program, which is told of ours.
    pub async fn start_under(dir: &Path, under: &[String]) -> Self {
        let mut command = Command::new(&under[0]);
        command.args(&under[1..]).arg(binary());
        Self::start_by(command, dir, &["--checkpoint-ms", "60"]).await
    }

    async fn start_by(command: Command, dir: &Path, more: &[&str]) -> Self {
        Self::try_start(command, dir, more).await.unwrap_or_else(|status| panic!("it does not listen, and ended: {status}"))
    }

    /// By `command`, which is told of our options; how it ended, where it does not come to listen.
    pub async fn try_start(mut command: Command, dir: &Path, more: &[&str]) -> Result<Self, ExitStatus> {
        let begun = Instant::now();
        let mut child = spawn(&mut command, dir, more);
        let stdout = child.stdout.take().expect("piped");
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = tokio::time::timeout(LONG, line).await.expect("it says that it listens").expect("no panic").expect("text");
        let mut program = Self { child, url: String::new(), started_in: begun.elapsed() };
        if line.is_empty() {
            return Err(program.child.wait().expect("our own child"));
        }
        line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("printed {line:?}")).clone_into(&mut program.url);
        Ok(program)
    }

    /// Of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: the process has no say in it.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }

    /// Stops it where it is, or wakes it.
    pub fn pause(&self, is_paused: bool) {
        let signal = if is_paused { Signal::STOP } else { Signal::CONT };
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }

    /// SIGTERM.
    pub fn terminate(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
    }

    pub async fn ended(mut self) -> ExitStatus {
        until("it to end", async || self.child.try_wait().expect("our own child")).await
    }

    pub async fn json(&self, path: &str) -> Value {
        let response = reqwest::get(format!("{}{path}", self.url)).await.expect("an answer");
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.expect("JSON")
    }

    pub async fn text(&self, path: &str) -> String {
        let response = reqwest::get(format!("{}{path}", self.url)).await.expect("an answer");
        response.text().await.expect("a whole answer")
    }

    async fn rows(&self, path: &str) -> Vec<Value> {
        let client = reqwest::Client::new();
        let response =
            client.get(format!("{}{path}", self.url)).header("accept", "application/x-ndjson").send().await.expect("an answer");
        let text = response.text().await.expect("a whole answer");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As an administrator does, with no server running or beside it.
pub fn make_key(dir: &Path) -> String {
    let made = Command::new(binary())
        .args(["key", "create", "--name", "load", "--scope", "ingest,read", "--data-dir"])
        .arg(dir)
        .output()
        .expect("runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).expect("text").trim().to_owned()
}

#[derive(Clone, Debug)]
struct Event {
    id: String,
    device: String,
    sample: Sample,
}

/// The event of one sender: a function of its place alone, so that it can be sent again as it was.
fn event(base: i64, sender: u64, batch: u64, device: u64, n: u64) -> Event {
    if (device, n) == (2, PER_DEVICE - 1) && batch > 0 {
        return event(base, sender, batch - 1, 2, 0); // a duplicate
    }
    let mut random = Random(((sender * 1_000_003 + batch) * 64 + device) * 64 + n);
    let mut at = base + (batch * 20_000 + n * 4_000 + device) as i64;
    let mut temperature = random.between(-5_000, 12_000);
    match (device, n) {
        (0, 4) => at -= 2 * 3_600_000, // too late, once the device has been sending for two hours
        (1, 4) => temperature = 200_000,
        _ => {}
    }
    let sample =
        Sample { at, temperature, humidity: Some(random.between(0, 100_001)), battery: Some(random.between(0, 100_001)) };
    Event { id: format!("{sender}-{batch}-{device}-{n}"), device: format!("k{sender}-{device}"), sample }
}

fn events(base: i64, sender: u64, batch: u64) -> impl Iterator<Item = Event> {
    (0..DEVICES).flat_map(move |device| (0..PER_DEVICE).map(move |n| event(base, sender, batch, device, n)))
}

fn lines(base: i64, sender: u64, batch: u64) -> String {
    let milli = |value: i64| format!("{}{}.{:03}", if value < 0 { "-" } else { "" }, value.abs() / 1_000, value.abs() % 1_000);
    let line = |Event { id, device, sample }: Event| {
        format!(
            "{{\"event_id\":\"{id}\",\"topic\":\"temperature\",\"source\":\"s\",\"payload\":{{\"device_id\":\"{device}\",\"ts\":{},\"temperature\":{},\"humidity\":{},\"battery\":{}}}}}\n",
            sample.at,
            milli(sample.temperature),
            milli(sample.humidity.expect("always")),
            milli(sample.battery.expect("always"))
        )
    };
    events(base, sender, batch).map(line).collect()
}

/// What one connection has sent.
#[derive(Debug, Default)]
pub struct Sender {
    number: u64,
    /// Between two requests.
    pause: Duration,
    /// The first batch that was never sent.
    next: u64,
    /// Sent, and not acknowledged.
    open: BTreeSet<u64>,
    /// How many requests went out, and how many were answered.
    sends: u64,
    acknowledged: u64,
    /// The longest time without an acknowledgement, while it was sending.
    pub longest_wait: Duration,
}

impl Sender {
    /// Those of a load, before it.
    pub fn all(pause: Duration) -> Vec<Self> {
        (0..SENDERS).map(|number| Self { number, pause, ..Self::default() }).collect()
    }

    /// Sends until the connection breaks, or it is told that the server is gone: first what is open, then what is new. `stage` tells what
    /// it is at.
    async fn load(
        mut self,
        base: i64,
        (url, key): (Arc<str>, Arc<str>),
        only_open: bool,
        (gone, stage): (CancellationToken, Stage),
    ) -> Self {
        let client = reqwest::Client::new();
        let mut acknowledged_at = Instant::now();
        let at = |now: &str| now.clone_into(&mut stage.lock().expect("nobody panics with it"));
        loop {
            at("pauses");
            tokio::select! {
                () = tokio::time::sleep(self.pause) => {}
                () = gone.cancelled() => return self,
            }
            let batch = match self.open.first() {
                Some(open) => *open,
                None if only_open => return self,
                None => {
                    self.open.insert(self.next);
                    self.next += 1;
                    self.next - 1
                }
            };
            self.sends += 1;
            let request = client
                .post(format!("{url}/ingest"))
                .bearer_auth(&key)
                .header("content-type", "application/x-ndjson")
                .body(lines(base, self.number, batch));
            at("waits for an answer");
            let answer = tokio::select! {
                answer = request.send() => answer,
                () = gone.cancelled() => return self,
            };
            let response = match answer {
                Ok(response) => response,
                Err(error) => {
                    at(&format!("lost its connection: {error:?}"));
                    return self;
                }
            };
            match response.status().as_u16() {
                200 | 202 => {}
                // Too busy, stopping, or Kafka is away: nothing was acknowledged.
                429 | 503 => {
                    at("was refused");
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(20)) => continue,
                        () = gone.cancelled() => return self,
                    }
                }
                other => panic!("{other} to batch {batch}: {}", response.text().await.unwrap_or_default()),
            }
            // The head of the answer is the acknowledgement, should the rest be lost.
            self.acknowledged += 1;
            self.longest_wait = self.longest_wait.max(acknowledged_at.elapsed());
            acknowledged_at = Instant::now();
            self.open.remove(&batch);
            at("reads an answer");
            let answer = tokio::select! {
                answer = response.json::<Value>() => answer,
                () = gone.cancelled() => return self,
            };
            if let Ok(answer) = answer {
                assert_eq!(answer["received"], RECORDS);
            }
        }
    }
}

/// What a sender is at.
type Stage = Arc<Mutex<String>>;

/// A sender at work.
pub struct Loading {
    task: tokio::task::JoinHandle<Sender>,
    gone: CancellationToken,
    stage: Stage,
}

impl Loading {
    /// What it is at.
    pub fn stage(&self) -> String {
        self.stage.lock().expect("nobody panics with it").clone()
    }
}

/// Begins to send.
pub fn load(senders: Vec<Sender>, base: i64, program: &Program, key: &str, only_open: bool) -> Vec<Loading> {
    let (url, key): (Arc<str>, Arc<str>) = (program.url.as_str().into(), key.into());
    let begin = |sender: Sender| {
        let (gone, stage) = (CancellationToken::new(), Stage::default());
        let task = sender.load(base, (url.clone(), key.clone()), only_open, (gone.clone(), stage.clone()));
        Loading { task: tokio::spawn(task), gone, stage }
    };
    senders.into_iter().map(begin).collect()
}

/// The senders, once each has lost its connection, or has nothing open.
pub async fn back(loading: Vec<Loading>) -> Vec<Sender> {
    let mut senders = Vec::new();
    for (number, Loading { task, stage, .. }) in loading.into_iter().enumerate() {
        let ended = tokio::time::timeout(LONG, task).await;
        let ended = ended.unwrap_or_else(|_| panic!("sender {number} {stage:?}, and does not end; {}", connections()));
        senders.push(ended.unwrap_or_else(|e| panic!("sender {number}: {e}")));
    }
    senders
}

/// The same of a server that is dead. Twice in some thousand kills, beside other tests, a sender was still at it half a minute later, with
/// no connection to its server: as if the client had never told it. Nobody can answer it any more, so after a while it is told here.
async fn back_from_the_dead(mut loading: Vec<Loading>) -> Vec<Sender> {
    for (number, Loading { task, gone, stage }) in loading.iter_mut().enumerate() {
        let soon = until_finished(task);
        if tokio::time::timeout(RESTART, soon).await.is_err() {
            println!("sender {number} {stage:?}, though its server is dead; {}", connections());
            gone.cancel();
        }
    }
    back(loading).await
}

async fn until_finished(task: &tokio::task::JoinHandle<Sender>) {
    while !task.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// All connections of this machine, as the kernel tells: whether one that is waited for was made, and what lies in it unread.
fn connections() -> String {
    std::fs::read_to_string("/proc/net/tcp").unwrap_or_else(|error| format!("/proc/net/tcp: {error}"))
}

/// Different records that were sent: of each batch but the first one record is that of the batch before.
pub fn distinct(senders: &[Sender]) -> u64 {
    senders.iter().map(|s| s.next * (RECORDS - 1) + 1).sum()
}

/// Records that were acknowledged, each as often as it was.
pub fn acknowledged(senders: &[Sender]) -> u64 {
    senders.iter().map(|s| s.acknowledged * RECORDS).sum()
}

/// What must hold after any crash. Counters: conservation, and nothing lost or doubled as far as the answers tell.
pub async fn check_books(program: &Program, senders: &[Sender], round: u64) {
    let [received, unique, _, late, rejected] = counts(&program.json("/stats").await);
    let (sent, acknowledged) =
        (senders.iter().map(|s| s.sends).sum::<u64>(), senders.iter().map(|s| s.acknowledged).sum::<u64>());
    assert!(
        (acknowledged * RECORDS..=sent * RECORDS).contains(&received),
        "round {round}: {acknowledged} ≤ {received}/{RECORDS} ≤ {sent}"
    );
    // Of each batch but the first one record is that of the batch before.
    let distinct = |batches: u64| batches * (RECORDS - 1);
    let at_least: u64 = senders.iter().map(|s| distinct(s.next - s.open.len() as u64)).sum();
    let at_most: u64 = senders.iter().map(|s| distinct(s.next) + 1).sum();
    assert!(
        (at_least..=at_most).contains(&(unique + late + rejected)),
        "round {round}: {at_least} ≤ {unique} + {late} + {rejected} ≤ {at_most}"
    );
    // C2: accepted readings are the sum of the windows' counts.
    let in_windows: u64 = program.rows("/api/v1/windows?size=5m").await.iter().filter_map(|w| w["count"].as_u64()).sum();
    assert_eq!(in_windows, unique, "round {round}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_under_load() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = make_key(dir.path());
    let base = now_ms() - AGO_MS;
    let (mut random, rounds) = (moments(), kills(KILLS));
    let mut senders = Sender::all(PAUSE);
    let mut program = Program::start(dir.path()).await;
    let mut slowest = Duration::ZERO;
    // What is promised is promised of the release build; of another, beside other tests, only that it starts.
    let limit = if std::env::var_os("RANTAI_TEST_BINARY").is_some() { RESTART } else { LONG };
    for round in 1..=rounds {
        let tasks = load(senders, base, &program, &key, false);
        // The random moment is the fault itself.
        tokio::time::sleep(Duration::from_millis(20 + random.below(381))).await;
        if round % 5 == 0 {
            // In the middle of an orderly stop.
            program.terminate();
            tokio::time::sleep(Duration::from_millis(random.below(60))).await;
        }
        program.kill();
        senders = back_from_the_dead(tasks).await;
        if round <= VERIFIED {
            check_verified(dir.path(), round);
        }
        program = Program::start(dir.path()).await;
        slowest = slowest.max(program.started_in);
        assert!(program.started_in <= limit, "round {round}: {:?}", program.started_in);
        check_books(&program, &senders, round).await;
    }
    // F09: killed while it starts, again and again, it still starts.
    let usual = program.started_in;
    program.kill();
    for _ in 0..10 {
        let mut child = spawn(&mut Command::new(binary()), dir.path(), &[]);
        tokio::time::sleep(Duration::from_millis(random.below(usual.as_millis() as u64 + 1))).await;
        child.kill().expect("it runs");
        child.wait().expect("it has ended");
    }
    program = Program::start(dir.path()).await;
    assert!(program.started_in <= limit, "after ten starts that were killed: {:?}", program.started_in);
    senders = back(load(senders, base, &program, &key, true)).await;
    assert!(senders.iter().all(|s| s.open.is_empty()), "all is acknowledged in the end");
    check_books(&program, &senders, rounds + 1).await;
    check_records(&program, &senders, base).await;

    // Everything once more: all of it is known.
    let before = counts(&program.json("/stats").await);
    let client = reqwest::Client::new();
    let mut again = 0;
    for sender in &senders {
        for first in (0..sender.next).step_by(200) {
            let batches = first..(first + 200).min(sender.next);
            let records = RECORDS * (batches.end - batches.start);
            let body: String = batches.map(|batch| lines(base, sender.number, batch)).collect();
            let request =
                client.post(format!("{}/ingest", program.url)).bearer_auth(&key).header("content-type", "application/x-ndjson");
            let answer: Value = request.body(body).send().await.expect("an answer").json().await.expect("JSON");
            assert_eq!(answer["duplicate"], records, "{answer}");
            again += records;
        }
    }
    let [received, unique, duplicate, late, rejected] = before;
    assert_eq!(counts(&program.json("/stats").await), [received + again, unique, duplicate + again, late, rejected]);
    program.terminate();
    assert!(tokio::time::timeout(LONG, program.ended()).await.expect("in time").success());
    check_verified(dir.path(), rounds + 1);
    let requests: u64 = senders.iter().map(|s| s.sends).sum();
    println!("{rounds} kills, {again} records in {requests} requests, slowest restart {slowest:?}");
}

/// What a kill has left is what the log leads to, every window equal to a recomputation.
fn check_verified(dir: &Path, round: u64) {
    let verified = Command::new(binary()).args(["verify", "--data-dir"]).arg(dir).output().expect("runs");
    let report = String::from_utf8_lossy(&verified.stdout);
    assert!(
        verified.status.success() && report.contains("every law holds"),
        "round {round}: {report}{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}

/// Every record has one place: a window, the late ones, or the dead letters; and every window is that of a recomputation.
pub async fn check_records(program: &Program, senders: &[Sender], base: i64) {
    let mut all: BTreeMap<String, Event> = BTreeMap::new();
    for sender in senders {
        for batch in 0..sender.next {
            all.extend(events(base, sender.number, batch).map(|event| (event.id.clone(), event)));
        }
    }
    let [_, unique, _, late, rejected] = counts(&program.json("/stats").await);
    assert_eq!(unique + late + rejected, all.len() as u64, "each record is there once");
    let late_rows = program.rows("/api/v1/late").await;
    let late_ids: BTreeSet<&str> = late_rows.iter().map(|row| row["event_id"].as_str().expect("a text")).collect();
    assert_eq!((late_ids.len() as u64, late_rows.len() as u64), (late, late), "one row for each late record");
    assert!(late_ids.iter().all(|id| id.ends_with("-0-4")));
    let dead_rows = program.rows("/api/v1/dead-letters").await;
    let dead: BTreeSet<&str> = dead_rows.iter().map(|row| row["raw"].as_str().expect("a text")).collect();
    assert_eq!((dead.len() as u64, dead_rows.len() as u64), (rejected, rejected), "one dead letter for each rejected record");
    assert_eq!(rejected, senders.iter().map(|s| s.next).sum::<u64>());
    for (name, size) in [("10s", 10_000), ("5m", 300_000)] {
        let mut expected: BTreeMap<(&str, i64), Vec<Sample>> = BTreeMap::new();
        for event in all.values().filter(|e| !e.id.ends_with("-1-4") && !late_ids.contains(e.id.as_str())) {
            expected.entry((&event.device, event.sample.at.div_euclid(size) * size)).or_default().push(event.sample);
        }
        let expected: Vec<Row> =
            expected.iter().map(|((device, start), samples)| Row::of(device, *start, size, samples)).collect();
        let got: Vec<Row> = program
            .rows(&format!("/api/v1/windows?size={name}"))
            .await
            .iter()
            .map(|row| Row { version: None, state: None, ..Row::read(row) })
            .collect();
        assert_rows(&got, &expected);
    }
}
