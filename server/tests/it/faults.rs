//! Faults of the disk under the shipped program: strace answers its calls with an error, the program has to do what it promised.

mod calls;
mod handles;
mod small_disk;

pub use calls::under;

use crate::kill::{Program, make_key};
use crate::support::{LONG, bare, is_soon, now_ms, until};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::Command;

/// Calls on the file `path` fail as `inject` says; `None` where there is no strace.
async fn started(dir: &Path, path: &str, inject: &str) -> Option<Program> {
    let there = Command::new("strace").arg("-V").output().is_ok_and(|out| out.status.success());
    if !there {
        eprintln!("Without strace faults of the disk are not tested.");
        return None;
    }
    let path = dir.join(path);
    let path = path.to_str().expect("a plain path");
    let call = inject.split(':').next().expect("a call");
    // `-D`: the program stays our own child.
    let under = [
        "strace",
        "-D",
        "-I1",
        "-f",
        "-o",
        &trace_of(dir),
        "-P",
        path,
        "-e",
        &format!("trace={call}"),
        "-e",
        &format!("inject={inject}"),
    ];
    Some(Program::start_under(dir, &under.map(str::to_owned)).await)
}

/// Where strace writes the calls that it saw.
fn trace_of(dir: &Path) -> String {
    dir.join("trace").to_str().expect("a plain path").to_owned()
}

/// From here on calls are answered as they are.
fn end_of_fault(program: &Program) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).expect("it runs");
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:")).expect("a line").trim();
    kill_process(Pid::from_raw(tracer.parse().expect("a number")).expect("it is traced"), Signal::TERM).expect("strace runs");
}

/// A data directory with a log, and a key.
async fn prepared(dir: &Path) -> String {
    let key = make_key(dir);
    let mut program = Program::start(dir).await;
    program.terminate();
    assert!(program.ended().await.success());
    key
}

/// The status of the answer to a reading of device `device`; `None` where there was none.
async fn post(program: &Program, key: &str, device: &str) -> Option<(u16, Option<String>)> {
    let request = reqwest::Client::new().post(format!("{}/ingest", program.url)).bearer_auth(key);
    let response = request.body(bare(device, now_ms(), "5")).send().await.ok()?;
    let retry = response.headers().get("retry-after").map(|value| value.to_str().expect("text").to_owned());
    Some((response.status().as_u16(), retry))
}

async fn unique(program: &Program) -> u64 {
    let stats: serde_json::Value =
        reqwest::get(format!("{}/stats", program.url)).await.expect("an answer").json().await.expect("JSON");
    stats["unique_processed"].as_u64().expect("a number")
}

/// When the last checkpoint was committed, in seconds since the Unix epoch.
async fn checkpoint_at(program: &Program) -> f64 {
    let text = reqwest::get(format!("{}/metrics", program.url)).await.expect("an answer").text().await.expect("text");
    let value = text.lines().find_map(|line| line.strip_prefix("rantai_checkpoint_timestamp_seconds "));
    value.expect("the metric").parse().expect("a number")
}

#[track_caller]
fn verified(dir: &Path) {
    let out = Command::new(env!("CARGO_BIN_EXE_rantai")).args(["verify", "--data-dir"]).arg(dir).output().expect("runs");
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
}

const SEGMENT: &str = "log/00000000000000000001.seg";

/// The disk does not confirm the n-th group: nobody is told that it is safe, the program ends, and a restart has all that was told. The
/// disk fails once: whoever asked again would be told that all is well, and what was lost stays lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_ends_the_program() {
    for n in 1..=4 {
        let dir = tempfile::tempdir().expect("a directory");
        let key = prepared(dir.path()).await;
        let Some(program) = started(dir.path(), SEGMENT, &format!("fdatasync:error=EIO:when={n}")).await else { return };
        let mut told = 0;
        while let Some((status, _)) = post(&program, &key, &format!("d{told}")).await {
            assert_eq!(status, 200);
            told += 1;
            assert!(told < n, "the fault never came");
        }
        let exit = tokio::time::timeout(LONG, program.ended()).await.expect("it ends by itself");
        assert_eq!(exit.code(), Some(1));
        let again = Program::start(dir.path()).await;
        // What was written and not confirmed may be there too.
        assert!((told..=told + 1).contains(&unique(&again).await), "{told} were told");
        drop(again);
        verified(dir.path());
    }
}

/// The log's disk is full for a while: devices are asked to come again, pages are answered, and it goes on without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = prepared(dir.path()).await;
    let Some(mut program) = started(dir.path(), SEGMENT, "write:error=ENOSPC:when=3..6").await else { return };
    let (mut told, mut refused) = (0, 0);
    until("the disk to have room again", async || {
        let answer = post(&program, &key, &format!("d{told}")).await.expect("an answer: the program lives");
        match answer {
            (200, _) => told += 1,
            (503, Some(retry)) => {
                assert!(is_soon(&retry), "{retry}");
                refused += 1;
                assert_eq!(unique(&program).await, told, "reads go on");
            }
            other => panic!("{other:?}"),
        }
        (refused > 0 && told > 5).then_some(())
    })
    .await;
    // A timer entry may have met the full disk in place of a request.
    assert!((1..=4).contains(&refused), "{refused} were refused");
    program.terminate();
    assert!(tokio::time::timeout(LONG, program.ended()).await.expect("in time").success());
    verified(dir.path());
}

/// The disk takes the first half of a group and no more (a limit of the file's size does what a full disk does): the half is taken back, so
/// that what is acknowledged afterwards stands behind what was acknowledged before.
#[tokio::test(flavor = "multi_thread")]
async fn half_a_group_is_taken_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = prepared(dir.path()).await;
    // In half a KiB; past the limit the call fails instead of ending the program.
    let under = ["sh", "-c", "trap '' XFSZ; ulimit -f 4096; exec \"$@\"", "_"];
    let mut program = Program::start_under(dir.path(), &under.map(str::to_owned)).await;
    let mut told = 0;
    let mut refused = async |len: usize| {
        let record = bare(&format!("d{told}"), now_ms(), "5");
        let request = reqwest::Client::new().post(format!("{}/ingest", program.url)).bearer_auth(&key);
        let status = request.body(record + &" ".repeat(len)).send().await.expect("an answer: the program lives").status();
        told += u64::from(status == 200);
        status == 503
    };
    while !refused(300_000).await {}
    for len in [10, 200_000, 10, 300_000, 10] {
        assert_eq!(refused(len).await, len == 300_000, "{len} bytes");
    }
    program.terminate();
    assert!(tokio::time::timeout(LONG, program.ended()).await.expect("in time").success());
    verified(dir.path());
    let again = Program::start(dir.path()).await;
    assert_eq!(unique(&again).await, told);
}

/// The database's disk is full for a while: records are taken in all the same, and the checkpoint is written when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_is_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = prepared(dir.path()).await;
    let Some(mut program) = started(dir.path(), "rantai.db-wal", "pwrite64:error=ENOSPC:when=8+").await else { return };
    for n in 0..20 {
        assert_eq!(post(&program, &key, &format!("d{n}")).await, Some((200, None)));
    }
    let told_at = now_ms() as f64 / 1_000.0;
    let has_failed = || std::fs::read_to_string(trace_of(dir.path())).is_ok_and(|trace| trace.matches("INJECTED").count() >= 3);
    until("checkpoints that failed", async || has_failed().then_some(())).await;
    assert!(checkpoint_at(&program).await < told_at, "the fault is there");
    end_of_fault(&program);
    until("a checkpoint of all of it", async || (checkpoint_at(&program).await > told_at).then_some(())).await;
    program.terminate();
    assert!(tokio::time::timeout(LONG, program.ended()).await.expect("in time").success());
    verified(dir.path());
    let again = Program::start(dir.path()).await;
    assert_eq!(unique(&again).await, 20);
}
