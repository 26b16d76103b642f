//! `rantai backup` copies what a server writes to, and the copy is one that a server could have left; and what has changed on the disk is
//! found by the daily look before anybody needs it.

use crate::kill::{AGO_MS, Program, Sender, back, binary, load, make_key};
use crate::support::{Server, counts, envelope, now_ms, until};
use server::scrub;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Segments, runs and merged blocks come to be soon.
fn small() -> Command {
    let mut command = Command::new(binary());
    command.env("RANTAI_SMALL", "1").env("RUST_LOG", "error");
    command
}

fn backup(from: &Path, to: &Path) -> Output {
    small().arg("backup").arg(to).arg("--data-dir").arg(from).output().expect("runs")
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

/// Copied under load three times, each copy passes `verify` and serves what had been confirmed before.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_under_load_is_whole_and_serves() {
    let place = tempfile::tempdir().expect("a directory");
    let dir = place.path().join("data");
    std::fs::create_dir(&dir).expect("makes");
    let key = make_key(&dir);
    let program = Program::try_start(small(), &dir, &["--checkpoint-ms", "20"]).await.expect("it listens");
    let senders = load(Sender::all(Duration::from_millis(2)), now_ms() - AGO_MS, &program, &key, false);
    let mut before = 0;
    for round in 1..=3 {
        before = until("more has come in", async || {
            let [received, ..] = counts(&program.json("/stats").await);
            (received > before + 1_000).then_some(received)
        })
        .await;
        let copy = place.path().join(format!("copy-{round}"));
        let made = tokio::task::spawn_blocking({
            let (dir, copy) = (dir.clone(), copy.clone());
            move || backup(&dir, &copy)
        });
        let made = made.await.expect("no panic");
        assert!(made.status.success(), "{}", said(&made));
        assert!(!place.path().join(format!("copy-{round}.partial")).exists());
        let again = backup(&dir, &copy);
        assert!(!again.status.success() && said(&again).contains("is there already"), "{}", said(&again));
        let verified = small().args(["verify", "--data-dir"]).arg(&copy).output().expect("runs");
        assert!(verified.status.success(), "{}", said(&verified));
        let restored = Program::try_start(small(), &copy, &["--checkpoint-ms", "20"]).await.expect("it listens");
        let [received, ..] = counts(&restored.json("/stats").await);
        assert!(received >= before, "{received} of {before} that were confirmed");
        restored.kill();
    }
    program.kill();
    back(senders).await;
}

/// The daily look says which file has changed and where; and nobody makes a backup of it.
#[tokio::test]
async fn what_has_changed_on_the_disk_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = Server::start_in(dir, &[]).await;
    for n in 0..3 {
        made.accept(&[envelope(&format!("e{n}"), "d", now_ms(), "4.5")]).await;
    }
    let dir = made.stop().await;
    let store = server::store::Store::open(&server::store::StoreAddress::Sqlite, dir.path()).await.expect("opens");
    let stop = CancellationToken::new();
    assert_eq!(scrub::look(&store, dir.path(), &stop).await.expect("looks"), [] as [&str; 0]);
    // The newest segment is looked at by a start: it needs one after it.
    let log = dir.path().join("log");
    let segment = log.join(format!("{:020}.seg", 1));
    std::fs::write(log.join(format!("{:020}.seg", 1_000)), "").expect("writes");
    let mut bytes = std::fs::read(&segment).expect("reads");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).expect("writes");
    let found = scrub::look(&store, dir.path(), &stop).await.expect("looks");
    assert!(found.len() == 1 && found[0].contains(segment.to_str().expect("text")) && found[0].contains("at byte"), "{found:?}");
    let refused = server::backup::backup(&store, dir.path(), &dir.path().join("copy")).await.expect_err("it is damaged");
    assert!(format!("{refused:#}").contains("is damaged at byte"), "{refused:#}");
    // A server that stops reads no more of it.
    stop.cancel();
    assert_eq!(scrub::look(&store, dir.path(), &stop).await.expect("ends"), [] as [&str; 0]);
    store.close().await;
}
