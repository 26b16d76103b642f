//! The workloads that are recorded: records of every kind, dead letters and decisions, many checkpoints, orderly stops and a kill.
//!
//! In one of them nothing grows old or large. In the other limits are so small that segments of the log, runs of identities and their
//! filters come to be and are full all the time, and the clock leaps so far that those of the first life are deleted in the lives after it.

use crate::disk::{Class, Disk};
use crate::trace::{self, END, Request};
use anyhow::{Context, ensure};
use server::letters::Decision;
use server::log::{Block, BlockKind};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A workload.
#[derive(Debug)]
pub struct Workload {
    /// Part of its trace's name.
    pub name: &'static str,
    /// Whether the program has small limits. What is shipped knows none, so it is the one that tests have.
    pub is_small: bool,
    /// Requests of each life of the program.
    batches: u64,
    /// So many sizes there are of them, from three records on.
    sizes: u64,
    /// A request has a pause behind it where its number, divided by this, leaves that of its connection: 0 or 1.
    pauses: u64,
    pause: Duration,
    checkpoint_ms: &'static str,
    lives: [Life; 3],
}

/// A life of the program. Only the last one may end by a kill: what it was writing at that moment strace does not tell.
#[derive(Debug)]
struct Life {
    ends_by: &'static str,
    /// By so much its clock is ahead of the machine's.
    days_ahead: u64,
}

/// Both.
pub static WORKLOADS: [Workload; 2] = [
    Workload {
        name: "usual",
        is_small: false,
        batches: 60,
        sizes: 17,
        pauses: 7,
        pause: Duration::from_millis(60),
        checkpoint_ms: "120",
        lives: [
            Life { ends_by: "TERM", days_ahead: 0 },
            Life { ends_by: "TERM", days_ahead: 0 },
            Life { ends_by: "KILL", days_ahead: 0 },
        ],
    },
    Workload {
        name: "small",
        is_small: true,
        batches: 26,
        sizes: 5,
        // Behind each, so that a checkpoint, and with it a run of identities, covers few of them.
        pauses: 2,
        pause: Duration::from_millis(120),
        checkpoint_ms: "20",
        lives: [
            Life { ends_by: "TERM", days_ahead: 0 },
            // Nobody has to remember any more what came in before: its identities are forgotten with the first checkpoint.
            Life { ends_by: "TERM", days_ahead: FAR_AHEAD },
            // A start goes by the log's time, so only this one finds old segments to delete.
            Life { ends_by: "KILL", days_ahead: FAR_AHEAD },
        ],
    },
];

/// Longer than identities are remembered, in days.
const FAR_AHEAD: u64 = 91;
const DAY_SECONDS: u64 = 86_400;
/// What strace tells of.
const CALLS: &str = "trace=open,openat,creat,close,write,pwrite64,writev,lseek,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,\
    unlink,unlinkat,mkdir,mkdirat,sendto,sendmsg,recvfrom,read,copy_file_range,sendfile";

/// Runs `binary` under strace; the trace. The data directory that its paths begin with is written beside it.
pub fn record(workload: &Workload, binary: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let data = tempfile::Builder::new().prefix("rantai-img-data-").tempdir_in(folder)?;
    let tools = tempfile::tempdir_in(folder)?;
    let root = data.path().to_str().context("a plain path")?;
    let trace = folder.join(format!("rantai-img-{}-{}.trace", workload.name, std::process::id()));
    std::fs::write(&trace, "")?;
    std::fs::write(beside(&trace), root)?;
    let clock = if workload.is_small { clock(tools.path())? } else { PathBuf::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let part = trace.with_extension("part");
    let made = traced(workload, binary, &part, 0, &clock)
        .args(["key", "create", "--name", "img", "--scope", "ingest,read", "--data-dir"])
        .arg(data.path())
        .output();
    let made = made.context("start strace (Debian: apt-get install strace)")?;
    ensure!(made.status.success(), "no key was made: {}", String::from_utf8_lossy(&made.stderr));
    let key = String::from_utf8(made.stdout)?.trim().to_owned();
    append(&trace, &part)?;
    for (number, life) in (0..).zip(&workload.lives) {
        let mut program = start(workload, life, traced(workload, binary, &part, life.days_ahead, &clock), data.path())?;
        let url = address(&mut program.0)?;
        let done = runtime.block_on(load(workload, number, &url, &key));
        program.signal(life.ends_by)?;
        program.0.wait()?;
        done?;
        append(&trace, &part)?;
        if life.ends_by == "TERM" {
            is_understood(&trace, data.path())?;
        }
    }
    Ok(trace)
}

/// What stands between a program and its clock, made in `folder` by the C compiler that makes SQLite too.
fn clock(folder: &Path) -> anyhow::Result<PathBuf> {
    let library = folder.join("clock.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/img/clock.c");
    let mut command = Command::new(compiler);
    // Last: older C libraries have `dlsym` apart.
    command.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    let made = command.output().context("start the C compiler")?;
    ensure!(made.status.success(), "no clock was made: {}", String::from_utf8_lossy(&made.stderr));
    Ok(library)
}

/// Puts the trace of one program behind that of those before it.
fn append(trace: &Path, part: &Path) -> anyhow::Result<()> {
    let mut whole = std::fs::OpenOptions::new().append(true).open(trace)?;
    std::io::copy(&mut std::fs::File::open(part)?, &mut whole)?;
    writeln!(whole, "{END}")?;
    Ok(std::fs::remove_file(part)?)
}

/// What is written beside a trace.
fn beside(trace: &Path) -> PathBuf {
    trace.with_extension("root")
}

/// The data directory of a trace.
pub fn root_of(trace: &Path) -> anyhow::Result<String> {
    let beside = beside(trace);
    std::fs::read_to_string(&beside).with_context(|| format!("read {}", beside.display()))
}

/// The workload of a trace, by its name.
pub fn workload_of(trace: &Path) -> &'static Workload {
    let name = trace.file_name().unwrap_or_default().to_string_lossy();
    WORKLOADS.iter().find(|workload| name.contains(workload.name)).unwrap_or(&WORKLOADS[0])
}

/// Takes a trace away of which nobody will ask any more.
pub fn remove(trace: &Path) {
    let _ = std::fs::remove_file(trace);
    let _ = std::fs::remove_file(beside(trace));
}

/// What the trace tells makes the files that are in the folder `data` by now: a crash made of anything else would be no crash of this
/// program.
fn is_understood(trace: &Path, data: &Path) -> anyhow::Result<()> {
    let ops = trace::parse(&std::fs::read_to_string(trace)?, &root_of(trace)?)?;
    let mut disk = Disk::default();
    ops.iter().enumerate().for_each(|(index, op)| disk.run(index, op));
    let (image, _) = disk.crash(Class::Killed, |_| 0);
    let other = image.differs_from(data, trace::is_told)?;
    ensure!(other.is_none(), "{} is not what {} tells: it was misread", other.unwrap_or_default(), trace.display());
    Ok(())
}

struct Program(Child);

impl Program {
    /// strace hands signals on to the program and ends with it.
    fn signal(&self, name: &str) -> anyhow::Result<()> {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.0.id())).unwrap_or_default();
        let child = children.split_whitespace().next().context("the program under strace has ended")?.to_owned();
        let done = Command::new("kill").args([&format!("-{name}"), &child]).status().context("run kill")?;
        ensure!(done.success(), "kill failed");
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.signal("KILL");
        let _ = self.0.wait();
    }
}

/// `binary` under strace, with its clock so many days ahead by `clock`.
fn traced(workload: &Workload, binary: &Path, trace: &Path, days_ahead: u64, clock: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-xx", "-s", "30000000", "-e", CALLS, "-o"]).arg(trace);
    if workload.is_small {
        command.args(["-E", "RANTAI_SMALL=1"]);
    }
    if days_ahead > 0 {
        command.arg("-E").arg(format!("LD_PRELOAD={}", clock.display()));
        command.arg("-E").arg(format!("CLOCK_AHEAD={}", days_ahead * DAY_SECONDS));
    }
    command.arg(binary).env("RUST_LOG", "error");
    command
}

fn start(workload: &Workload, life: &Life, mut traced: Command, data: &Path) -> anyhow::Result<Program> {
    traced.args(["serve", "--listen", "127.0.0.1:0", "--checkpoint-ms", workload.checkpoint_ms, "--data-dir"]).arg(data);
    if workload.is_small {
        traced.args(["--keep-log-days", "1"]);
    }
    if life.days_ahead > 0 {
        traced.arg("--accept-clock");
    }
    let child = traced.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    Ok(Program(child.context("start strace (Debian: apt-get install strace)")?))
}

fn address(child: &mut Child) -> anyhow::Result<String> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
    let url = line.trim().strip_prefix("listening on ").with_context(|| format!("the program printed {line:?}"))?;
    Ok(url.to_owned())
}

impl Life {
    /// Its time.
    fn now_ms(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (now + Duration::from_secs(self.days_ahead * DAY_SECONDS)).as_millis() as i64
    }
}

/// Batch number `batch`: records of some devices of the day before `now_ms`, a duplicate, and where it is long one that cannot be, one
/// for a closed window, one of the future.
fn body(batch: u64, sizes: u64, now_ms: i64) -> String {
    let base = now_ms - 86_400_000 + batch as i64 * 300_000;
    let mut lines = Vec::new();
    for n in 0..3 + batch % sizes {
        let device = if n % 3 == 0 { format!("P110101-1-F{}", 1 + n % 2) } else { format!("probe-{}", (batch + n) % 7) };
        let (at, temperature) = match n {
            5 => (base, "500".to_owned()),
            6 => (base - 7_200_000, "4.5".to_owned()),
            7 => (now_ms + 3_600_000, "4.5".to_owned()),
            _ => (base + n as i64 * 11_000, format!("{}.{}", n % 9, batch % 10)),
        };
        lines.push(format!(
            r#"{{"event_id":"b-{batch}-{n}","topic":"temperature","source":"img","payload":{{"device_id":"{device}","ts":{at},"temperature":{temperature}}}}}"#
        ));
    }
    lines.push(lines[0].clone());
    lines.join("\n")
}

/// Sends the batches of the life of that `number` over two connections at once, each request after the answer to the one before it.
async fn load(workload: &Workload, number: u64, url: &str, key: &str) -> anyhow::Result<()> {
    let Workload { batches, sizes, pauses, pause, .. } = *workload;
    let life = &workload.lives[number as usize];
    let send = |connection: u64| {
        let (url, key) = (url.to_owned(), key.to_owned());
        async move {
            let client = reqwest::Client::builder().pool_max_idle_per_host(1).build()?;
            for batch in (0..batches).filter(|batch| batch % 2 == connection) {
                let request =
                    client.post(format!("{url}/ingest")).bearer_auth(&key).header("content-type", "application/x-ndjson");
                let response = request.body(body(number * batches + batch, sizes, life.now_ms())).send().await?;
                ensure!(response.status() == 200, "{}", response.status());
                response.bytes().await?;
                if batch % pauses == connection {
                    tokio::time::sleep(pause).await;
                }
            }
            anyhow::Ok(())
        }
    };
    let (first, second) = tokio::join!(send(0), send(1));
    first?;
    second?;
    decide(url, key).await
}

/// Decides of some dead letters that are open.
async fn decide(url: &str, key: &str) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let answer: serde_json::Value = client.get(format!("{url}/api/v1/dead-letters?limit=10000")).send().await?.json().await?;
    let open = answer["dead_letters"].as_array().context("a list")?.iter().filter(|row| row["state"] == "open");
    for (n, row) in open.take(12).enumerate() {
        let position = &row["position"];
        let (action, body) =
            if n % 3 == 0 { ("discard", r#"{"by":"img","reason":"a test"}"#) } else { ("replay", r#"{"by":"img"}"#) };
        let request = client.post(format!("{url}/api/v1/dead-letters/{position}/{action}")).bearer_auth(key);
        let request = request.header("content-type", "application/json");
        ensure!(request.body(body).send().await?.status() == 200, "the decision was not taken");
    }
    Ok(())
}

/// The request whose block this is.
pub fn of_block(block: &Block) -> Option<Request> {
    match block.kind {
        BlockKind::Records(_) => {
            let text = std::str::from_utf8(&block.body).ok()?;
            let (_, rest) = text.split_once("\"event_id\":\"b-")?;
            rest.split('-').next()?.parse().ok().map(Request::Batch)
        }
        BlockKind::Decision => Decision::decode(&block.body).ok().map(|(decision, _)| Request::Decision(decision.letter)),
        BlockKind::Pairings | BlockKind::Timer => None,
    }
}
