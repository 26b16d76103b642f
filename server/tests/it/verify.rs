//! `rantai verify` finds nothing in what was made in order, and names the first law and the records in what somebody has touched; and
//! `rantai rebuild` makes of the log alone what was lived through.

mod beyond;
mod tampering;

use crate::equivalence::{stream, written as line_of};
use crate::kill::Program;
use crate::support::{Random, Server, now_ms, stores};
use crate::written::{self, Entry};
use domain::engine::EngineConfig;
use domain::event::Reason;
use domain::master::Master;
use domain::time::DAY_MS;
use server::rebuild::rebuild;
use server::side::{Cause, DEAD, SideBlock, SideRow, SideRows};
use server::store::{Retention, Store};
use server::verify::{Law, Report, Subject, verify};
use sqlx::{Connection, PgConnection};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, LazyLock};
use tampering::{change_totals, empty_run, identities, number_at, segment, starts};
use tempfile::TempDir;

pub static MASTER: LazyLock<Arc<Master>> = LazyLock::new(|| Arc::new(server::data::master().expect("it is built in")));

async fn open(dir: &Path, store: &str) -> Store {
    Store::open(&store.parse().expect("an address"), dir).await.expect("opens")
}

pub async fn check(dir: &Path, store: &str) -> Report {
    let config = EngineConfig::default();
    let store = open(dir, store).await;
    let report = verify(&Subject { dir, store: &store, master: &MASTER, config: &config }).await.expect("tells");
    store.close().await;
    report
}

#[track_caller]
fn assert_whole(report: &Report) {
    assert_eq!(report.first_broken(), None, "\n{report}");
}

/// A data directory in which a server has taken in `entries`.
async fn taken_in(entries: &[Entry], options: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    written::write(dir.path(), entries, 0);
    Server::start_in(dir, options).await.stop().await
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("makes");
    for entry in std::fs::read_dir(from).expect("lists") {
        let entry = entry.expect("lists");
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
        }
    }
}

/// Days of outages, back-fill in any order, silence, wrong clocks, dead letters and decisions: the engine and the recomputation agree on
/// every one of them, at a checkpoint and behind it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_in_order_is_whole() {
    for seed in 1..=6 {
        let entries = written::days(seed, true);
        let (first, rest) = entries.split_at(entries.len() / 2);
        // Not by a server: its clock would add to the log.
        let dir = tempfile::tempdir().expect("a directory");
        written::write(dir.path(), first, 0);
        let store = open(dir.path(), "sqlite").await;
        rebuild(dir.path(), &store, &MASTER, &EngineConfig::default()).await.expect("rebuilds");
        store.close().await;
        assert_whole(&check(dir.path(), "sqlite").await);
        // The state is behind the log now, as after a crash.
        written::write(dir.path(), rest, written::last_records(first));
        let report = check(dir.path(), "sqlite").await;
        assert_whole(&report);
        let text = report.to_string();
        for word in ["C1", "C2", "C3", "versions", "C4", "late", "identities", "devices"] {
            assert!(text.lines().any(|line| line.starts_with(word) && line.contains(" ok ")), "{word} in\n{text}");
        }
        let c4 = text.lines().find(|line| line.starts_with("C4")).expect("it is there");
        assert!(!c4.contains(" 0 open") && !c4.contains(" 0 replayed") && !c4.contains(" 0 discarded"), "seed {seed}: {c4}");
    }
}

/// Who found no room was refused in the order of the log: a recomputation says the same, at a checkpoint and behind it, and so does the log
/// lived through again with more room.
#[tokio::test(flavor = "multi_thread")]
async fn room_for_devices_follows_from_the_log() {
    let entries = written::days(3, true);
    let (first, rest) = entries.split_at(entries.len() / 2);
    let dir = tempfile::tempdir().expect("a directory");
    written::write(dir.path(), first, 0);
    let mut refused = Vec::new();
    for max_unregistered in [0, 1, 2, 3] {
        let config = EngineConfig { max_unregistered, ..EngineConfig::default() };
        let store = open(dir.path(), "sqlite").await;
        rebuild(dir.path(), &store, &MASTER, &config).await.expect("rebuilds");
        if max_unregistered == 2 {
            written::write(dir.path(), rest, written::last_records(first));
        }
        let subject = Subject { dir: dir.path(), store: &store, master: &MASTER, config: &config };
        let report = verify(&subject).await.expect("tells");
        assert_eq!(report.first_broken(), None, "room for {max_unregistered}:\n{report}");
        let letters = store.side_newest(DEAD, None, 1_000_000).await.expect("reads");
        let has_no_room = |row: &&SideRow| matches!(&row.cause, Cause::Rejected { reason: Reason::OutOfRange, field } if field.ends_with("device_id"));
        refused.push(letters.iter().filter(has_no_room).count());
        store.close().await;
    }
    assert!(refused[0] > refused[1] && refused[1] > refused[2] && refused[2] > 0 && refused[3] == 0, "{refused:?}");
}

/// The same on either store, lived through with many checkpoints: and the log alone gives the same state again.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_what_was_lived_through() {
    let config = EngineConfig::default();
    for store in stores().await {
        let server = Server::start_with(&["--store", &store, "--checkpoint-ms", "20"]).await;
        let mut random = Random(4);
        for batch in stream(&mut random, now_ms()).chunks(70) {
            let lines: Vec<String> = batch.iter().map(line_of).collect();
            server.post_lines(lines.join("\n")).await;
        }
        let letters = server.rows("/api/v1/dead-letters").await;
        for (n, letter) in letters.iter().take(12).enumerate() {
            let position = &letter["position"];
            if n % 3 == 0 { server.discard(position).await } else { server.replay(position).await }
        }
        let dir = server.stop().await;
        assert_whole(&check(dir.path(), &store).await);
        let dump = async || {
            let store = open(dir.path(), &store).await;
            let dump = store.dump(&config.windows).await.expect("dumps");
            store.close().await;
            dump
        };
        let lived = dump().await;
        for word in ["device 0/", "hour 0/", "window 10000/", "side 0: ", "side 1: ", "decision: "] {
            assert!(lived.lines().any(|line| line.starts_with(word)), "no {word}");
        }
        let made = run(&["rebuild", "--store", &store], dir.path());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let rebuilt = dump().await;
        assert_eq!(lived.lines().zip(rebuilt.lines()).find(|(a, b)| a != b), None);
        assert_eq!(lived.len(), rebuilt.len());
        // By the program too, and a server goes on from there.
        let told = run(&["verify", "--store", &store], dir.path());
        assert!(told.status.success(), "{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        assert!(String::from_utf8_lossy(&told.stdout).ends_with("every law holds\n"));
        let server = Server::start_in(dir, &["--store", &store]).await;
        assert_eq!(
            server.rows("/api/v1/dead-letters").await.len(),
            letters.len() + 8,
            "what was refused again is a letter of its own"
        );
        server.stop().await;
    }
}

fn run(arguments: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rantai"));
    command.args(arguments).arg("--data-dir").arg(dir).env("RUST_LOG", "error").output().expect("runs")
}

/// A rebuild that breaks off leaves the old state, whole; the one after it is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_breaks_off_changes_nothing() {
    let dir = taken_in(&written::days(3, true), &[]).await;
    let config = EngineConfig::default();
    let store = open(dir.path(), "sqlite").await;
    let before = store.dump(&config.windows).await.expect("dumps");
    let log_id = server::log::id(&dir.path().join("log")).expect("has a name");
    let logs = [(0, log_id)];
    let (rebuilding, _) = store.begin_rebuild(&logs, &config, server::pipeline::wall_clock()).await.expect("begins");
    drop(rebuilding);
    store.close().await;
    std::fs::create_dir(dir.path().join("identities.rebuild")).expect("makes");
    std::fs::write(identities(dir.path()).await.join("r9-left.run"), b"x").expect("writes");
    let store = open(dir.path(), "sqlite").await;
    assert_eq!(store.dump(&config.windows).await.expect("dumps"), before);
    rebuild(dir.path(), &store, &MASTER, &config).await.expect("rebuilds");
    assert_eq!(store.dump(&config.windows).await.expect("dumps"), before);
    store.close().await;
    assert!(!dir.path().join("identities.rebuild").exists());
}

/// An empty directory, and one whose database is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_is_made_again() {
    let dir = taken_in(&written::days(5, true), &[]).await;
    for name in ["rantai.db", "rantai.db-wal", "rantai.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(name));
    }
    let report = check(dir.path(), "sqlite").await;
    assert_eq!(report.first_broken(), Some(Law::State), "\n{report}");
    assert!(report.told(Law::State)[0].contains("rantai rebuild"), "{report}");
    assert!(run(&["rebuild"], dir.path()).status.success());
    assert_whole(&check(dir.path(), "sqlite").await);
    let empty = tempfile::tempdir().expect("a directory");
    assert_whole(&check(empty.path(), "sqlite").await);
}

/// A state that another build encoded in its own way is not believed: whoever asks is told what to do, and then it works.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_another_build_is_made_anew() {
    let dir = taken_in(&written::days(4, true), &[]).await;
    let pool = tampering::pool(dir.path()).await;
    let change = "update input_position set state_format = 0, totals = x'ff'; update devices set state = x'ff'; update hours set cells = x''";
    sqlx::raw_sql(change).execute(&pool).await.expect("runs");
    pool.close().await;
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["dead-letter", "list"]] {
        let refused = run(command, dir.path());
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains("`rantai rebuild` makes it anew"), "{command:?}: {words}");
    }
    let report = check(dir.path(), "sqlite").await;
    assert!(report.told(Law::State)[0].contains("rantai rebuild"), "{report}");
    let made = run(&["rebuild"], dir.path());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_whole(&check(dir.path(), "sqlite").await);
    Server::start_in(dir, &[]).await.stop().await;
}

/// Whoever checks state or makes it is told the rules as the server is; by others nothing is called broken, and a rebuild changes them.
#[tokio::test(flavor = "multi_thread")]
async fn rules_are_told_as_to_the_server() {
    const OTHER: [&str; 2] = ["--allowed-lateness", "900"];
    let dir = taken_in(&written::days(3, true), &OTHER).await;
    let verify = |more: &[&str]| {
        let told = run(&[&["verify"], more].concat(), dir.path());
        (told.status.success(), String::from_utf8_lossy(&told.stderr).into_owned())
    };
    let (is_whole, words) = verify(&[]);
    assert!(!is_whole && words.contains("lateness 900000") && words.contains("rantai rebuild"), "{words}");
    assert_eq!(verify(&OTHER), (true, String::new()));
    assert!(run(&["rebuild"], dir.path()).status.success());
    assert_eq!(verify(&[]), (true, String::new()));
    assert!(run(&["rebuild", OTHER[0], OTHER[1]], dir.path()).status.success());
    Server::start_in(dir, &OTHER).await.stop().await;
}

/// Beside a running server neither is done; the holder is named at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = Program::start(dir.path()).await;
    for command in ["verify", "rebuild", "serve"] {
        let begun = std::time::Instant::now();
        let refused = run(&[command], dir.path());
        let took = begun.elapsed();
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && words.contains(&format!("in use by process {}", program.id())), "{words}");
        // SQLite would wait for ten seconds.
        assert!(took.as_secs_f64() < 5.0, "{command}: {took:?}");
    }
}

/// Where the beginning of the log is gone, results are compared with each other, and a rebuild is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_log_is_said_to_be_one() {
    let dir = taken_in(&written::days(2, true), &[]).await;
    let segment = segment(dir.path());
    let bytes = std::fs::read(&segment).expect("reads");
    let blocks = starts(&bytes);
    let cut = blocks[20];
    let later = segment.with_file_name(format!("{:020}.seg", number_at(&bytes, cut)));
    std::fs::write(later, &bytes[cut..]).expect("writes");
    std::fs::remove_file(segment).expect("removes");
    // A restart needs all of the log here, because no run of identities was written yet; it is told what is missing.
    let report = check(dir.path(), "sqlite").await;
    assert_eq!(report.first_broken(), Some(Law::State), "\n{report}");
    // With a run that covers the beginning it needs no more.
    let pool = tampering::pool(dir.path()).await;
    empty_run(&pool, &identities(dir.path()).await, number_at(&bytes, blocks[30])).await;
    pool.close().await;
    let report = check(dir.path(), "sqlite").await;
    assert_whole(&report);
    assert!(report.to_string().contains("the log begins with block 21"), "{report}");
    let refused = run(&["rebuild"], dir.path());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("begins with block 21") && words.contains("from then on"), "{words}");
    let pool = tampering::pool(dir.path()).await;
    change_totals(&pool, |totals| totals.all.accepted += 1).await;
    pool.close().await;
    assert_eq!(check(dir.path(), "sqlite").await.first_broken(), Some(Law::C1));
}

/// What retention has deleted is not missed, and what it has not is, whatever it is told today.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_for_its_age_is_not_missed() {
    for address in stores().await {
        let dir = taken_in(&written::days(2, true), &["--store", &address]).await;
        let keep = |days| Retention { windows_days: days, side_days: days, readings_days: days, ..Retention::default() };
        let store = open(dir.path(), &address).await;
        let log_id = server::log::id(&dir.path().join("log")).expect("has a name");
        let now = store.peek(0, &log_id).await.expect("reads").expect("is there").now;
        let versions = async || store.count_versions(0).await.expect("reads");
        let all = versions().await;
        for days in [2, 9] {
            store.forget(now, &keep(days)).await.expect("deletes");
            let report = check(dir.path(), &address).await;
            assert_whole(&report);
            // Whole blocks go, so SQLite may still have all of them.
            assert_eq!(report.to_string().contains("deleted for their age"), address != "sqlite", "{report}");
        }
        let kept = versions().await;
        assert!(kept.len() < all.len() && kept[0].is_whole, "{} of {}", kept.len(), all.len());
        // Gone without a word of retention: no whole picture makes up for it.
        let last = kept.iter().rfind(|version| !version.is_whole).expect("something changed").known_at;
        let gone = format!("delete from count_versions where known_at_ms <= {last}");
        run_sql(dir.path(), &address, &gone).await;
        let told = check(dir.path(), &address).await;
        assert_eq!(told.first_broken(), Some(Law::Versions), "{told}");
        assert!(told.told(Law::Versions)[0].starts_with("how equipment stood as known at"), "{told}");
        // A state made anew has all of it.
        store.close().await;
        let made = run(&["rebuild", "--store", &address], dir.path());
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let store = open(dir.path(), &address).await;
        let made = store.count_versions(0).await.expect("reads");
        assert!(made.starts_with(&all), "{} and {}", made.len(), all.len());
        assert_whole(&check(dir.path(), &address).await);
        run_sql(dir.path(), &address, &gone).await;
        assert_eq!(check(dir.path(), &address).await.first_broken(), Some(Law::Versions));
        store.close().await;
    }
}

/// Retention takes no dead letter that is open, however old it is, and changes none: one that is missing or another is found.
#[tokio::test(flavor = "multi_thread")]
async fn no_open_letter_is_too_old_to_be_missed() {
    for address in stores().await {
        let dir = taken_in(&written::days(2, true), &["--store", &address]).await;
        let store = open(dir.path(), &address).await;
        let log_id = server::log::id(&dir.path().join("log")).expect("has a name");
        let now = store.peek(0, &log_id).await.expect("reads").expect("is there").now;
        let letters = store.side_after(DEAD, 0, 100_000).await.expect("reads").len();
        let decided = store.decisions(0, u64::MAX >> 1).await.expect("reads").len();
        assert!(0 < decided && decided < letters, "{decided} of {letters}");
        let keep = Retention { side_days: 1, ..Retention::default() };
        store.forget(now.plus_ms(400 * DAY_MS), &keep).await.expect("deletes");
        store.close().await;
        let report = check(dir.path(), &address).await;
        assert_whole(&report);
        assert!(report.to_string().contains("deleted for their age"), "late records are: {report}");
        if address == "sqlite" {
            let pool = tampering::pool(dir.path()).await;
            let (last, bytes): (i64, Vec<u8>) =
                sqlx::query_as("select last_position, data from side_blocks where kind = 1 limit 1")
                    .fetch_one(&pool)
                    .await
                    .expect("reads");
            let mut rows = SideBlock::decode(&bytes).expect("decodes");
            rows[0].raw.push(b' ');
            let bytes = rows.into_iter().collect::<SideRows>().blocks()[0].encode();
            sqlx::query("update side_blocks set data = $1 where kind = 1 and last_position = $2")
                .bind(bytes)
                .bind(last)
                .execute(&pool)
                .await
                .expect("writes");
            pool.close().await;
            let report = check(dir.path(), &address).await;
            assert_eq!(report.first_broken(), Some(Law::C4), "\n{report}");
            assert_eq!(report.told(Law::C4).len(), 1, "\n{report}");
        }
        run_sql(dir.path(), &address, "delete from side_blocks where kind = 1").await;
        let report = check(dir.path(), &address).await;
        assert_eq!(report.first_broken(), Some(Law::C4), "\n{report}");
        // Those of which something was decided may be gone.
        assert!(report.to_string().contains(&format!("BROKEN  in {} places", letters - decided)), "\n{report}");
        assert!(report.told(Law::C4).iter().all(|line| line.ends_with("found nothing")), "\n{report}");
    }
}

/// Runs a statement of the test's own.
async fn run_sql(dir: &Path, address: &str, text: &str) {
    let text = sqlx::AssertSqlSafe(text.to_owned());
    let done = if address == "sqlite" {
        let pool = tampering::pool(dir).await;
        let done = sqlx::raw_sql(text).execute(&pool).await.expect("runs").rows_affected();
        pool.close().await;
        done
    } else {
        let mut connection = PgConnection::connect(address).await.expect("connects");
        sqlx::raw_sql(text).execute(&mut connection).await.expect("runs").rows_affected()
    };
    assert!(done > 0, "nothing changed");
}
