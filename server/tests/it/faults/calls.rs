//! Every sync, and every call that takes room on the disk, of the shipped program fails once: what stands between it and the
//! system (`disk.c`) answers the n-th of them with an error, for every n of a short course of requests. Limits are so small in it that
//! all files come to be that there are: a second segment of the log, runs of identities, their filters, blocks put together.
//!
//! Tests fail the first call of each kind on each kind of file in one life of the program, and one in the middle in another; with the variable
//! `RANTAI_TEST_EVERY_CALL`, as `cargo xtask prove kill --nightly` sets it, every single one.

use crate::kill::{Program, binary};
use crate::support::{LONG, envelope, is_soon, now_ms, until};
use domain::engine::EngineConfig;
use domain::master::Master;
use futures::StreamExt;
use server::log::BlockKind;
use server::store::{Store, StoreAddress};
use server::verify::{Subject, verify};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// Courses at once: much of them is waiting.
const AT_ONCE: usize = 4;
/// Records of a request; the last of them cannot be and becomes a dead letter.
const RECORDS: u64 = 12;
const HOUR: i64 = 3_600_000;

/// What is done to the program.
#[derive(Clone, Debug)]
struct Fault {
    kind: &'static str,
    /// The first call that fails, from 1,
    at: u64,
    /// and how many do.
    calls: u64,
    /// Only these count.
    only: Option<Kind>,
}

/// The name of a call, and the file with `*` for its numbers.
type Kind = (String, String);

/// Counts, and fails none.
const NONE: u64 = u64::MAX >> 1;

/// A call that counts, and whether it failed.
#[derive(Clone, Debug)]
struct Call {
    has_failed: bool,
    kind: Kind,
}

/// Where a course begins, and which requests come.
pub(super) struct Life {
    /// A data directory to begin with.
    pub(super) before: Option<PathBuf>,
    pub(super) posts: Range<u64>,
    /// When the first record of all was taken.
    pub(super) base: i64,
    pub(super) master: Arc<Master>,
}

/// The library between the program and the system, made by the C compiler that makes SQLite too.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/disk.c");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let made = Command::new(compiler).args(["-O1", "-shared", "-fPIC", "-o"]).arg(&path).arg(source).output();
        let made = made.expect("there is a C compiler");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (dir, path)
    });
    path
}

/// The program on small limits.
pub(super) fn small() -> Command {
    let mut command = Command::new(binary());
    command.env("RANTAI_SMALL", "1");
    command
}

/// The same under a fault of what lies in `disk`; what calls there were is written to `log`.
pub fn under(fault: (&str, u64, u64), disk: &Path, log: &Path) -> Command {
    let mut command = small();
    let (kind, at, calls) = fault;
    command.env("LD_PRELOAD", library()).env("FAULT_ROOT", disk).env("FAULT_LOG", log).env("FAULT_KIND", kind);
    command.env("FAULT_AT", at.to_string()).env("FAULT_CALLS", calls.to_string());
    command
}

/// What was counted.
fn calls(log: &Path) -> Vec<Call> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .map(|line| {
            let mut words = line.splitn(4, ' ');
            let mut word = || words.next().expect("four words");
            let (fate, _, name, path) = (word(), word(), word(), word());
            let is_number = |part: &str| part.len() >= 16 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            let parts = path.split('/').map(|part| {
                let (stem, rest) = part.split_at(part.find('.').unwrap_or(part.len()));
                if is_number(stem) { format!("*{rest}") } else { part.to_owned() }
            });
            let place = parts.collect::<Vec<_>>().join("/");
            Call { has_failed: fate == "FAILED", kind: (name.to_owned(), place) }
        })
        .collect()
}

impl Life {
    /// The records of a request.
    pub(super) fn body(&self, post: u64) -> String {
        let line = |n: u64| {
            let at = self.base + (post * 400 + n * 20) as i64 * 1_000;
            let temperature = if n == RECORDS - 1 { "500" } else { "4.5" };
            envelope(&format!("p-{post}-{n}"), &format!("d{}", n % 3), at, temperature)
        };
        (0..RECORDS).map(line).collect::<Vec<_>>().join("\n")
    }

    /// A course of requests under `fault`, and what is left of it; all the calls that it made.
    async fn course(&self, fault: Fault) -> Vec<Call> {
        let top = tempfile::tempdir().expect("a directory");
        let (disk, log) = (top.path().join("disk"), top.path().join("calls"));
        let dir = disk.join("data");
        std::fs::create_dir(&disk).expect("makes");
        if let Some(before) = &self.before {
            copy(before, &dir);
        }
        let mut command = under((fault.kind, fault.at, fault.calls), &disk, &log);
        if let Some((name, file)) = &fault.only {
            command.env("FAULT_NAME", name).env("FAULT_FILE", file);
        }
        let program = start(command, &dir).await;
        let failed_at = |calls: &[Call]| calls.iter().position(|call| call.has_failed);
        let has_failed_at_start = failed_at(&calls(&log)).is_some();
        let mut told = BTreeSet::new();
        let exit = match program {
            Err(status) => status,
            Ok(mut program) => {
                let has_decided = self.send(&program, &dir, &mut told).await == Some(true);
                if program.has_ended().is_none() {
                    program.terminate();
                }
                let exit = tokio::time::timeout(LONG, program.ended()).await.expect("it ends");
                assert!(!has_decided || decisions(&dir) == 1, "{fault:?}: a decision was told and is not there");
                exit
            }
        };
        let made = calls(&log);
        let failed = failed_at(&made).map(|at| made[at].kind.clone());
        let context = format!("{fault:?}, {failed:?}, ended with {exit}");
        match (&failed, fault.kind) {
            (None, _) => assert!(exit.success(), "{context}"),
            (Some((_, place)), "sync") => {
                // What a promise depends on is not asked again; SQLite asks more than that, and of `latest.json` nothing depends.
                let must_end = ["/data/log", "/data/identities"].iter().any(|of| place.starts_with(of));
                assert!(exit.code() == Some(1) || !must_end && exit.success(), "{context}");
            }
            (Some(_), _) if has_failed_at_start => assert!(exit.success() || exit.code() == Some(1), "{context}"),
            (Some(_), _) => assert!(exit.success(), "{context}: it was to wait for room"),
        }
        let found = found(&dir);
        assert!(told.iter().all(|post| found.contains_key(post)), "{context}: {told:?} were told, {found:?} are there");
        assert!(found.values().all(|times| *times == 1), "{context}: {found:?}");
        if failed.is_some() && !exit.success() {
            self.go_on(&dir, &context).await;
        }
        if failed.is_some() {
            self.verify(&dir, &context).await;
        }
        made
    }

    /// Sends the requests one after the other, each until it is taken in; whether a dead letter was decided, `None` where the program
    /// ended.
    async fn send(&self, program: &Program, dir: &Path, told: &mut BTreeSet<u64>) -> Option<bool> {
        let client = reqwest::Client::new();
        let key = key(dir).await;
        for post in self.posts.clone() {
            let body = self.body(post);
            insist(&client, program, &key, &body).await?;
            told.insert(post);
        }
        if self.before.is_none() {
            return Some(false);
        }
        let url = format!("{}/api/v1/dead-letters", program.url);
        let decided = until("a dead letter is discarded", async || {
            let Ok(rows) = client.get(&url).header("accept", "application/x-ndjson").send().await else { return Some(false) };
            let Ok(rows) = rows.text().await else { return Some(false) };
            let row: serde_json::Value = serde_json::from_str(rows.lines().next()?).ok()?;
            let request = client
                .post(format!("{url}/{}/discard", row["position"]))
                .bearer_auth(&key)
                .header("content-type", "application/json");
            let Ok(answer) = request.body(r#"{"by":"a test","reason":"a test"}"#).send().await else { return Some(false) };
            assert!([200, 503].contains(&answer.status().as_u16()), "{answer:?}");
            (answer.status() == 200).then_some(true)
        })
        .await;
        decided.then_some(true)
    }

    /// A restart has all that was told, and takes in the rest.
    async fn go_on(&self, dir: &Path, context: &str) {
        let Ok(mut program) = start(small(), dir).await else { panic!("{context}: no start after it") };
        let (client, key) = (reqwest::Client::new(), key(dir).await);
        for post in 0..self.posts.end {
            let answer = insist(&client, &program, &key, &self.body(post)).await;
            assert_eq!(answer, Some(0), "{context}: nothing fails any more");
        }
        let unique = program.json("/stats").await["unique_processed"].as_u64().expect("a number");
        assert_eq!(unique, self.posts.end * (RECORDS - 1), "{context}");
        program.terminate();
        assert!(tokio::time::timeout(LONG, program.ended()).await.expect("it ends").success(), "{context}");
    }

    pub(super) async fn verify(&self, dir: &Path, context: &str) {
        let config = EngineConfig::default();
        let store = Store::open(&StoreAddress::Sqlite, dir).await.expect("opens");
        let subject = Subject { dir, store: &store, master: &self.master, config: &config };
        let report = verify(&subject).await.unwrap_or_else(|error| panic!("{context}: {error:#}"));
        assert!(report.first_broken().is_none(), "{context}:\n{report}");
        store.close().await;
    }

    /// Courses in each of which one call fails and, where there is no room, the `calls` from then on: the first of each kind, or one in the
    /// middle, or every one.
    async fn every(&self, kinds: &[&'static str], calls: u64) {
        let counted = self.course(Fault { kind: kinds[0], at: NONE, calls, only: None }).await;
        let mut expected: BTreeMap<Kind, u64> = BTreeMap::new();
        for call in &counted {
            *expected.entry(call.kind.clone()).or_default() += 1;
        }
        let mut faults: Vec<Fault> = Vec::new();
        for (number, (only, times)) in expected.iter().enumerate() {
            // Another course may have fewer of them.
            let at = if self.before.is_none() { 1 } else { (*times).div_ceil(2) };
            faults.push(Fault { kind: kinds[number % kinds.len()], at, calls, only: Some(only.clone()) });
        }
        if std::env::var_os("RANTAI_TEST_EVERY_CALL").is_some() {
            let all = 1..=counted.len() as u64;
            faults.extend(all.map(|at| Fault { kind: kinds[at as usize % kinds.len()], at, calls, only: None }));
        }
        let courses = faults.into_iter().map(|fault| self.course(fault));
        let done: Vec<Vec<Call>> = futures::stream::iter(courses).buffer_unordered(AT_ONCE).collect().await;
        let mut failed: BTreeMap<Kind, u32> = BTreeMap::new();
        for call in done.into_iter().filter_map(|made| made.into_iter().find(|call| call.has_failed)) {
            *failed.entry(call.kind).or_default() += 1;
        }
        for ((name, file), times) in &failed {
            println!("{:<5} {name:<10} {file:<32} {times:>4}", kinds[0]);
        }
        let missing: Vec<_> = expected.keys().filter(|kind| !failed.contains_key(*kind)).collect();
        assert!(missing.is_empty(), "these never failed: {missing:?}");
    }
}

/// A course on an empty directory, and one on what it leaves when it is killed.
async fn lives() -> (TempDir, [Life; 2]) {
    let (base, master) = (now_ms() - 2 * HOUR, Arc::new(server::data::master().expect("master data")));
    let first = Life { before: None, posts: 0..4, base, master: Arc::clone(&master) };
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    let Ok(program) = start(small(), &data).await else { panic!("no start") };
    assert_eq!(first.send(&program, &data, &mut BTreeSet::new()).await, Some(false));
    program.kill();
    let second = Life { before: Some(data), posts: 4..7, base, master };
    (dir, [first, second])
}

pub(super) async fn start(command: Command, dir: &Path) -> Result<Program, ExitStatus> {
    let latest = dir.join("latest.json");
    let latest = latest.to_str().expect("a plain path");
    Program::try_start(command, dir, &["--checkpoint-ms", "1", "--latest-file", latest]).await
}

/// A key, made beside the server.
pub(super) async fn key(dir: &Path) -> String {
    let store = Store::open(&StoreAddress::Sqlite, dir).await.expect("opens");
    let key = store.create_key(&format!("key {}", now_ms()), None, "ingest,read", now_ms()).await.expect("makes a key");
    store.close().await;
    key
}

/// Sends `body` until it is taken in; how often it was not, `None` where the program ended. Meanwhile pages are answered.
pub(super) async fn insist(client: &reqwest::Client, program: &Program, key: &str, body: &str) -> Option<u64> {
    for refused in 0.. {
        let request = client.post(format!("{}/ingest", program.url)).bearer_auth(key);
        let answer = request.header("content-type", "application/x-ndjson").body(body.to_owned()).send().await.ok()?;
        if answer.status() == 200 {
            // One that is not read to its end takes its connection with it.
            return answer.bytes().await.ok().map(|_| refused);
        }
        assert!(answer.status() == 503 && is_soon(answer.headers()["retry-after"].to_str().expect("a number")), "{answer:?}");
        assert_eq!(client.get(format!("{}/stats", program.url)).send().await.ok()?.status(), 200, "reads go on");
        assert!(refused < 100, "the disk has had room for long");
    }
    None
}

/// The requests in the log, and how often each is there.
fn found(dir: &Path) -> BTreeMap<u64, u32> {
    let mut found = BTreeMap::new();
    if dir.join("log").is_dir() {
        for block in server::log::read(&dir.join("log"), 1).expect("lists") {
            // What a crash left unfinished at the end is of no request that was answered.
            let Ok(block) = block else { break };
            let text = std::str::from_utf8(&block.body).expect("text");
            if let Some((_, rest)) = text.split_once("\"event_id\":\"p-")
                && matches!(block.kind, BlockKind::Records(_))
            {
                let post = rest.split('-').next().and_then(|number| number.parse().ok()).expect("a number");
                *found.entry(post).or_insert(0) += 1;
            }
        }
    }
    found
}

fn decisions(dir: &Path) -> usize {
    let log = dir.join("log");
    let blocks = server::log::read(&log, 1).expect("lists");
    blocks.filter(|block| block.as_ref().is_ok_and(|block| block.kind == BlockKind::Decision)).count()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("makes");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copies");
        }
    }
}

/// The n-th sync is not confirmed: nobody is told that what it was for is safe. The program ends, and a restart has all that was
/// told; where nothing that was told depends on the sync it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn every_sync_fails_once() {
    let (_dir, lives) = lives().await;
    for life in &lives {
        life.every(&["sync"], 1).await;
    }
}

/// There is no room for the n-th call and the next, or for half of the n-th: senders are asked to come again, pages are answered, and
/// it goes on without a restart. A start without room says so and ends, and the next one finds nothing broken.
#[tokio::test(flavor = "multi_thread")]
async fn every_call_finds_no_room_once() {
    let (_dir, lives) = lives().await;
    for life in &lives {
        life.every(&["room", "half"], 2).await;
    }
}
