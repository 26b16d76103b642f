//! The workload that is recorded: records of every kind, dead letters and decisions, many checkpoints, an orderly stop and a kill.

use crate::trace::{END, Request};
use anyhow::{Context, ensure};
use server::letters::Decision;
use server::log::{Block, BlockKind};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Requests of each life of the program.
const BATCHES: u64 = 60;
/// What strace tells of.
const CALLS: &str = "trace=open,openat,creat,close,write,pwrite64,writev,lseek,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,\
    unlink,unlinkat,mkdir,mkdirat,sendto,sendmsg,recvfrom,read,copy_file_range,sendfile";

/// Runs `binary` under strace; the trace, and the data directory that its paths begin with.
pub fn record(binary: &Path, folder: &Path) -> anyhow::Result<(PathBuf, String)> {
    let data = tempfile::Builder::new().prefix("rantai-img-data-").tempdir_in(folder)?;
    let root = data.path().to_str().context("a plain path")?.to_owned();
    let trace = folder.join(format!("rantai-img-{}.trace", std::process::id()));
    std::fs::write(&trace, "")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let part = trace.with_extension("part");
    let made = traced(binary, &part)
        .args(["key", "create", "--name", "img", "--scope", "ingest,read", "--data-dir"])
        .arg(data.path())
        .output();
    let made = made.context("start strace (Debian: apt-get install strace)")?;
    ensure!(made.status.success(), "no key was made: {}", String::from_utf8_lossy(&made.stderr));
    let key = String::from_utf8(made.stdout)?.trim().to_owned();
    append(&trace, &part)?;
    for life in 0..3 {
        let mut program = start(binary, data.path(), &part)?;
        let url = address(&mut program.0)?;
        let done = runtime.block_on(load(&url, &key, life));
        program.signal(if life == 2 { "KILL" } else { "TERM" })?;
        program.0.wait()?;
        done?;
        append(&trace, &part)?;
    }
    let beside = trace.with_extension("root");
    std::fs::write(beside, &root)?;
    Ok((trace, root))
}

/// Puts the trace of one program behind that of those before it.
fn append(trace: &Path, part: &Path) -> anyhow::Result<()> {
    let mut whole = std::fs::OpenOptions::new().append(true).open(trace)?;
    std::io::copy(&mut std::fs::File::open(part)?, &mut whole)?;
    writeln!(whole, "{END}")?;
    Ok(std::fs::remove_file(part)?)
}

/// The data directory of an earlier trace.
pub fn root_of(trace: &Path) -> anyhow::Result<String> {
    let beside = trace.with_extension("root");
    std::fs::read_to_string(&beside).with_context(|| format!("read {}", beside.display()))
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

/// `binary` under strace.
fn traced(binary: &Path, trace: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-xx", "-s", "30000000", "-e", CALLS, "-o"]).arg(trace).arg(binary).env("RUST_LOG", "error");
    command
}

fn start(binary: &Path, data: &Path, trace: &Path) -> anyhow::Result<Program> {
    let child = traced(binary, trace)
        .args(["serve", "--listen", "127.0.0.1:0", "--checkpoint-ms", "120", "--data-dir"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start strace (Debian: apt-get install strace)")?;
    Ok(Program(child))
}

fn address(child: &mut Child) -> anyhow::Result<String> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line)?;
    let url = line.trim().strip_prefix("listening on ").with_context(|| format!("the program printed {line:?}"))?;
    Ok(url.to_owned())
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

/// Batch number `batch`: records of some devices an hour apart, a duplicate, one that cannot be, one for a closed window.
fn body(batch: u64) -> String {
    let base = now_ms() - 86_400_000 + batch as i64 * 300_000;
    let mut lines = Vec::new();
    for n in 0..3 + batch % 17 {
        let device = if n % 3 == 0 { format!("P110101-1-F{}", 1 + n % 2) } else { format!("probe-{}", (batch + n) % 7) };
        let (at, temperature) = match n {
            5 => (base, "500".to_owned()),
            6 => (base - 7_200_000, "4.5".to_owned()),
            7 => (now_ms() + 3_600_000, "4.5".to_owned()),
            _ => (base + n as i64 * 11_000, format!("{}.{}", n % 9, batch % 10)),
        };
        lines.push(format!(
            r#"{{"event_id":"b-{batch}-{n}","topic":"temperature","source":"img","payload":{{"device_id":"{device}","ts":{at},"temperature":{temperature}}}}}"#
        ));
    }
    lines.push(lines[0].clone());
    lines.join("\n")
}

/// Sends the batches of a life over two connections at once, each request after the answer to the one before it.
async fn load(url: &str, key: &str, life: u64) -> anyhow::Result<()> {
    let send = |connection: u64| {
        let (url, key) = (url.to_owned(), key.to_owned());
        async move {
            let client = reqwest::Client::builder().pool_max_idle_per_host(1).build()?;
            for batch in (0..BATCHES).filter(|batch| batch % 2 == connection) {
                let request =
                    client.post(format!("{url}/ingest")).bearer_auth(&key).header("content-type", "application/x-ndjson");
                let response = request.body(body(life * BATCHES + batch)).send().await?;
                ensure!(response.status() == 200, "{}", response.status());
                response.bytes().await?;
                if batch % 7 == connection {
                    tokio::time::sleep(Duration::from_millis(60)).await;
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
