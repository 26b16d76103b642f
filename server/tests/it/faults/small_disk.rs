//! A real disk that is full: a file system of 32 MiB in memory, mounted for the test.

use crate::faults::verified;
use crate::kill::{Program, make_key};
use crate::support::{LONG, bare, is_soon, now_ms};
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

/// Senders fill it, are asked to come again, somebody makes room, and it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_disk_fills_and_is_given_room() {
    let top = tempfile::tempdir().expect("a directory");
    let Some(disk) = Mounted::on(top.path()) else { return };
    let dir = top.path().join("data");
    let key = make_key(&dir);
    // Something else takes most of it.
    let ballast = top.path().join("ballast");
    std::fs::write(&ballast, vec![0; 16 << 20]).expect("writes");
    let mut program = Program::start(&dir).await;
    let client = reqwest::Client::new();
    let mut told = 0;
    let mut post = async |len: usize| {
        let record = bare(&format!("d{told}"), now_ms(), "5");
        let request = client.post(format!("{}/ingest", program.url)).bearer_auth(&key);
        let answer = request.body(record + &" ".repeat(len)).send().await.expect("an answer: the program lives");
        let status = answer.status().as_u16();
        told += u64::from(status == 200);
        let retry = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(status == 200 || status == 503 && is_soon(retry), "{answer:?}");
        status == 200
    };
    while post(500_000).await {}
    // Down to the last byte, and a while on end.
    while post(3_000).await {}
    for _ in 0..10 {
        assert!(!post(500_000).await, "nobody has made room");
    }
    for page in ["/stats", "/healthz", "/metrics"] {
        assert_eq!(reqwest::get(format!("{}{page}", program.url)).await.expect("an answer").status(), 200, "{page}");
    }
    std::fs::remove_file(&ballast).expect("removes");
    for _ in 0..5 {
        assert!(post(500_000).await, "there is room");
    }
    let stats = program.json("/stats").await;
    assert_eq!(stats["unique_processed"], told);
    program.terminate();
    assert!(tokio::time::timeout(LONG, program.ended()).await.expect("it ends").success());
    verified(&dir);
    let again = Program::start(&dir).await;
    assert_eq!(again.json("/stats").await["unique_processed"], told);
    drop(again);
    drop(disk);
}
