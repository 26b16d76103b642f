//! A real disk that is full: a file system of 32 MiB in memory, mounted for the test.

use crate::faults::verified;
use crate::kill::{Program, make_key};
use crate::support::{LONG, bare, is_soon, now_ms};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A file system, for as long as this is there.
struct Mounted<'d>(&'d Path);

impl<'d> Mounted<'d> {
    /// `None`, and a word about it, where this user may not and nobody has seen that he may (`RANTAI_TEST_MAY_MOUNT`).
    fn on(dir: &'d Path) -> Option<Self> {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", "size=32m,mode=700", "rantai-test"]).arg(dir).output();
        if done.as_ref().is_ok_and(|done| done.status.success()) {
            return Some(Self(dir));
        }
        assert!(
            std::env::var_os("RANTAI_TEST_MAY_MOUNT").is_none(),
            "no file system of 32 MiB can be mounted any more: {done:?}"
        );
        eprintln!("LEFT OUT: no file system of 32 MiB can be mounted here ({done:?}): a disk that is really full is not tested.");
        None
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// Who sends to it, each record once.
struct Sender {
    client: reqwest::Client,
    key: String,
    taken: u64,
}

impl Sender {
    /// Sends a record of `len` bytes and some; whether it was taken. A full disk asks to come again soon.
    async fn send(&mut self, program: &Program, len: usize) -> bool {
        let record = bare(&format!("d{}", self.taken), now_ms(), "5") + &" ".repeat(len);
        let answer = self.post(program, "/ingest", record).await;
        let status = answer.status().as_u16();
        self.taken += u64::from(status == 200);
        let retry = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(status == 200 || status == 503 && is_soon(retry), "{answer:?}");
        status == 200
    }

    async fn post(&self, program: &Program, path: &str, body: String) -> reqwest::Response {
        let request = self.client.post(format!("{}{path}", program.url)).bearer_auth(&self.key);
        request.header("content-type", "application/json").body(body).send().await.expect("an answer: the program lives")
    }

    /// The status of the answer to whoever discards the dead letter at `position`.
    async fn discard(&self, program: &Program, position: u64) -> u16 {
        let body = r#"{"by":"Sari","reason":"no reading"}"#.to_owned();
        self.post(program, &format!("/api/v1/dead-letters/{position}/discard"), body).await.status().as_u16()
    }
}

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut file = File::options().create(true).append(true).open(path).expect("opens");
    while file.write_all(&[0; 4_096]).is_ok() {}
}

/// What can be asked for while nothing can be written.
async fn check_reads(program: &Program, taken: u64) {
    for page in ["/healthz", "/metrics", "/", "/pipeline"] {
        assert_eq!(reqwest::get(format!("{}{page}", program.url)).await.expect("an answer").status(), 200, "{page}");
    }
    assert_eq!(program.json("/stats").await["unique_processed"], taken);
}

/// Senders fill it, are asked to come again, somebody makes room, and it goes on; meanwhile what people decide goes on, and a start does.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_disk_fills_and_is_given_room() {
    let top = tempfile::tempdir().expect("a directory");
    let Some(disk) = Mounted::on(top.path()) else { return };
    let dir = top.path().join("data");
    let mut sender = Sender { client: reqwest::Client::new(), key: make_key(&dir), taken: 0 };
    // Something else takes most of it.
    let filler = top.path().join("filler");
    std::fs::write(&filler, vec![0; 16 << 20]).expect("writes");
    let mut program = Program::start(&dir).await;
    let ballast = dir.join("ballast");
    assert!(ballast.exists());
    // Two dead letters, for somebody to decide on.
    for _ in 0..2 {
        assert_eq!(sender.post(&program, "/ingest", bare("d", now_ms(), "null")).await.status(), 422);
    }
    while sender.send(&program, 500_000).await {}
    for len in [500_000, 3_000, 0] {
        assert!(!sender.send(&program, len).await, "nobody has made room");
    }
    assert!(!ballast.exists());
    assert_eq!(sender.discard(&program, 1).await, 200);
    check_reads(&program, sender.taken).await;
    // Even that room is taken.
    fill(&filler);
    assert!(!sender.send(&program, 0).await);
    check_reads(&program, sender.taken).await;
    std::fs::remove_file(&filler).expect("removes");
    for _ in 0..5 {
        assert!(sender.send(&program, 500_000).await, "there is room");
    }
    assert!(ballast.exists());
    // Full when it starts, with what the one before held, and when it starts again, with nothing.
    program.kill();
    fill(&filler);
    for _ in 0..2 {
        program = Program::start(&dir).await;
        assert!(!ballast.exists());
        assert!(!sender.send(&program, 0).await);
        check_reads(&program, sender.taken).await;
        program.kill();
    }
    program = Program::start(&dir).await;
    assert_eq!(sender.discard(&program, 2).await, 200);
    std::fs::remove_file(&filler).expect("removes");
    assert!(sender.send(&program, 500_000).await, "there is room");
    check_reads(&program, sender.taken).await;
    program.terminate();
    assert!(tokio::time::timeout(LONG, program.ended()).await.expect("it ends").success());
    verified(&dir);
    let again = Program::start(&dir).await;
    check_reads(&again, sender.taken).await;
    drop(again);
    drop(disk);
}
