//! `rantai verify` finds nothing in what was made in order, and names the first law and the records in what somebody has touched; and
//! `rantai rebuild` makes of the log alone what was lived through.

use crate::equivalence::{stream, written as line_of};
use crate::kill::Program;
use crate::support::{Random, Server, now_ms, stores};
use crate::written::{self, Entry};
use domain::engine::{DeviceState, EngineConfig, Totals};
use domain::event::Reason;
use domain::master::Master;
use domain::milli::Milli;
use domain::rollup::HourCell;
use domain::time::ProcessingTime;
use server::blocks;
use server::identities::{DiskIdentities, Freeze, Sizes};
use server::rebuild::rebuild;
use server::side::{Cause, DEAD, LATE, SideBlock, SideRow, SideRows};
use server::store::{Retention, Store};
use server::verify::{Law, Report, Subject, verify};
use sqlx::SqlitePool;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, LazyLock};
use tempfile::TempDir;

static MASTER: LazyLock<Arc<Master>> = LazyLock::new(|| Arc::new(server::data::master().expect("it is built in")));

async fn open(dir: &Path, store: &str) -> Store {
    Store::open(&store.parse().expect("an address"), dir).await.expect("opens")
}

async fn check(dir: &Path, store: &str) -> Report {
    check_with(dir, store, Retention::default()).await
}

async fn check_with(dir: &Path, store: &str, keep: Retention) -> Report {
    let config = EngineConfig::default();
    let store = open(dir, store).await;
    let report = verify(&Subject { dir, store: &store, master: &MASTER, config: &config, keep }).await.expect("tells");
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
        for word in ["C1", "C2", "C3", "C4", "late", "identities", "devices"] {
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
        let subject = Subject { dir: dir.path(), store: &store, master: &MASTER, config: &config, keep: Retention::default() };
        let report = verify(&subject).await.expect("tells");
        assert_eq!(report.first_broken(), None, "room for {max_unregistered}:\n{report}");
        let log_id = server::log::id(&dir.path().join("log")).expect("has a name");
        let totals = store.peek(0, &log_id).await.expect("reads").expect("is there").totals;
        refused.push(totals.by_reason[Reason::TooManyUnregistered as usize]);
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
            let (action, body) =
                if n % 3 == 0 { ("discard", r#"{"by":"Sari","reason":"a test"}"#) } else { ("replay", r#"{"by":"Sari"}"#) };
            let path = format!("{}/api/v1/dead-letters/{}/{action}", server.url, letter["position"]);
            let request = server.client.post(path).header("content-type", "application/json").body(body);
            assert_eq!(request.send().await.expect("an answer").status(), 200);
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
    let pool = pool(dir.path()).await;
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
        assert!(took.as_secs_f64() < 1.0, "{command}: {took:?}");
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
    let pool = pool(dir.path()).await;
    empty_run(&pool, &identities(dir.path()).await, number_at(&bytes, blocks[30])).await;
    pool.close().await;
    let report = check(dir.path(), "sqlite").await;
    assert_whole(&report);
    assert!(report.to_string().contains("the log begins with block 21"), "{report}");
    let refused = run(&["rebuild"], dir.path());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("begins with block 21") && words.contains("from then on"), "{words}");
    let pool = self::pool(dir.path()).await;
    change_totals(&pool, |totals| totals.all.accepted += 1).await;
    pool.close().await;
    assert_eq!(check(dir.path(), "sqlite").await.first_broken(), Some(Law::C1));
}

/// What retention has deleted is not missed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_for_its_age_is_not_missed() {
    for address in stores().await {
        let dir = taken_in(&written::days(2, true), &["--store", &address]).await;
        let keep = Retention { windows_days: 2, side_days: 2, readings_days: 2, ..Retention::default() };
        let store = open(dir.path(), &address).await;
        let log_id = server::log::id(&dir.path().join("log")).expect("has a name");
        let snapshot = store.peek(0, &log_id).await.expect("reads").expect("is there");
        store.forget(snapshot.now, &keep).await.expect("deletes");
        store.close().await;
        let report = check_with(dir.path(), &address, keep).await;
        assert_whole(&report);
        // Whole blocks go, so SQLite may still have all of them.
        assert_eq!(report.to_string().contains("deleted for their age"), address != "sqlite", "{report}");
    }
}

// --- Tampering ---------------------------------------------------------------------------------------------------------------------

async fn pool(dir: &Path) -> SqlitePool {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("rantai.db"));
    SqlitePool::connect_with(options).await.expect("connects")
}

/// Where runs of identities lie.
async fn identities(dir: &Path) -> PathBuf {
    let store = open(dir, "sqlite").await;
    let log_id = server::log::id(&dir.join("log")).expect("has a name");
    let key = store.peek(0, &log_id).await.expect("reads").expect("is there").identity_key;
    store.close().await;
    let folder = server::identities::folder(&dir.join("identities"), &key);
    std::fs::create_dir_all(&folder).expect("makes");
    folder
}

/// A run without identities that is said to cover the log up to block `last`.
async fn empty_run(pool: &SqlitePool, folder: &Path, last: u64) {
    let mut none = DiskIdentities::open(&folder.with_extension("aside"), &[], Sizes::default()).expect("opens");
    let frozen = none.freeze(last, ProcessingTime::from_ms(now_ms()), Freeze::All).expect("freezes");
    frozen.write().expect("writes");
    std::fs::rename(frozen.path(), folder.join(&frozen.name)).expect("moves");
    let insert = sqlx::query("insert into identity_runs values (0, $1, $2, 0)").bind(&frozen.name).bind(last as i64);
    insert.execute(pool).await.expect("runs");
}

fn segment(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir.join("log")).expect("lists");
    let path = entries.map(|entry| entry.expect("lists").path()).find(|path| path.extension().is_some_and(|e| e == "seg"));
    path.expect("there is one")
}

/// Where the blocks of a segment begin.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    while let Some(start) = starts.last().copied().filter(|start| *start < bytes.len()) {
        let len = u32::from_le_bytes(bytes[start..start + 4].try_into().expect("four bytes"));
        starts.push(start + len as usize);
    }
    starts.pop();
    starts
}

fn number_at(bytes: &[u8], start: usize) -> u64 {
    u64::from_le_bytes(bytes[start + 20..start + 28].try_into().expect("eight bytes"))
}

/// Changes a block so that its checksum is right again.
fn forge(bytes: &mut [u8], start: usize, change: impl FnOnce(&mut [u8])) {
    let len = u32::from_le_bytes(bytes[start..start + 4].try_into().expect("four bytes")) as usize;
    let block = &mut bytes[start..start + len];
    change(block);
    let crc = crc32c::crc32c(&block[8..]);
    block[4..8].copy_from_slice(&crc.to_le_bytes());
}

async fn change_totals(pool: &SqlitePool, change: impl FnOnce(&mut Totals)) {
    let bytes: Vec<u8> = sqlx::query_scalar("select totals from input_position").fetch_one(pool).await.expect("reads");
    let mut totals: Totals = postcard::from_bytes(&bytes).expect("decodes");
    change(&mut totals);
    let bytes = postcard::to_stdvec(&totals).expect("encodes");
    sqlx::query("update input_position set totals = $1").bind(bytes).execute(pool).await.expect("writes");
}

async fn change_side(pool: &SqlitePool, kind: usize, change: impl FnOnce(&mut Vec<SideRow>)) {
    let (last, bytes): (i64, Vec<u8>) =
        sqlx::query_as("select last_position, data from side_blocks where kind = $1 order by last_position limit 1")
            .bind(kind as i64)
            .fetch_one(pool)
            .await
            .expect("reads");
    let mut rows = SideBlock::decode(&bytes).expect("decodes");
    change(&mut rows);
    let bytes = rows.into_iter().collect::<SideRows>().blocks()[0].encode();
    sqlx::query("update side_blocks set data = $1 where kind = $2 and last_position = $3")
        .bind(bytes)
        .bind(kind as i64)
        .bind(last)
        .execute(pool)
        .await
        .expect("writes");
}

async fn change_windows(pool: &SqlitePool, change: impl FnOnce(&mut domain::window::Window)) {
    let (id, count, data): (i64, i64, Vec<u8>) =
        sqlx::query_as("select id, windows, data from window_blocks where size_ms = 10000 order by id limit 1")
            .fetch_one(pool)
            .await
            .expect("reads");
    let mut windows = Vec::new();
    blocks::decode(&data, count as u32, 10_000, 0, |w| windows.push(w)).expect("decodes");
    let middle = windows.len() / 2;
    change(&mut windows[middle].window);
    let data = blocks::encode(windows.iter(), 10_000).remove(0).data;
    sqlx::query("update window_blocks set data = $1 where id = $2").bind(data).bind(id).execute(pool).await.expect("writes");
}

async fn change_hour(pool: &SqlitePool, change: impl FnOnce(&mut Vec<HourCell>)) {
    let (start, cells): (i64, Vec<u8>) =
        sqlx::query_as("select start_ms, cells from hours order by start_ms limit 1").fetch_one(pool).await.expect("reads");
    let mut cells: Vec<HourCell> = postcard::from_bytes(&cells).expect("decodes");
    change(&mut cells);
    let cells = postcard::to_stdvec(&cells).expect("encodes");
    sqlx::query("update hours set cells = $1 where start_ms = $2").bind(cells).bind(start).execute(pool).await.expect("writes");
}

async fn change_device(pool: &SqlitePool, change: impl FnOnce(&mut DeviceState)) {
    let (index, state): (i64, Vec<u8>) =
        sqlx::query_as("select device_index, state from devices limit 1").fetch_one(pool).await.expect("reads");
    let mut state: DeviceState = postcard::from_bytes(&state).expect("decodes");
    change(&mut state);
    let state = postcard::to_stdvec(&state).expect("encodes");
    sqlx::query("update devices set state = $1 where device_index = $2")
        .bind(state)
        .bind(index)
        .execute(pool)
        .await
        .expect("writes");
}

async fn sql(pool: &SqlitePool, text: &'static str) {
    let changed = sqlx::raw_sql(text).execute(pool).await.expect("runs").rows_affected();
    assert!(changed > 0, "{text}");
}

/// What is done to the first directory, and what has to be found: the law, and words of the first record that is told.
const TAMPERINGS: [(&str, Law, &str); 26] = [
    ("one more accepted", Law::C1, "all records: expected"),
    ("one late more of a source", Law::C1, "source "),
    ("one reason more", Law::C1, "reason too_deep"),
    ("one window more closed", Law::C2, "are said to be closed"),
    ("a sum in a window", Law::C2, "window of 10 s of device"),
    ("a version of a window", Law::C2, "final version"),
    ("a block of windows gone", Law::C2, "found nothing"),
    ("a block of windows twice", Law::C2, "it is there twice"),
    ("a block of windows unreadable", Law::C2, "table window_blocks"),
    ("a window moved", Law::C2, "expected"),
    ("a figure of the country", Law::C3, "region ID, hour from"),
    ("a figure of a district", Law::C3, "hour from"),
    ("an hour gone", Law::C3, "found None"),
    ("a dead letter gone", Law::C4, "found nothing"),
    ("the bytes of a dead letter", Law::C4, "dead letter at position"),
    ("another decision", Law::C4, "the decision of the dead letter at position"),
    ("a decision gone", Law::C4, "found None"),
    ("a decision nobody made", Law::C4, "a decision that is not in the log"),
    ("a lateness", Law::Late, "late record at position"),
    ("a late record gone", Law::Late, "found nothing"),
    ("identities forgotten", Law::Identities, "is not known any more"),
    ("the newest reading of a device", Law::Devices, "device "),
    ("the time of the state", Law::State, "the log ends at"),
    ("a state ahead of its log", Law::State, "before the state does"),
    ("a flipped bit in the log", Law::Log, "is damaged at byte"),
    ("a block cut out of the log", Law::Log, "are missing"),
];

async fn tamper(index: usize, dir: &Path) {
    let pool = pool(dir).await;
    let path = segment(dir);
    let mut log = std::fs::read(&path).expect("reads");
    match index {
        0 => change_totals(&pool, |totals| totals.all.accepted += 1).await,
        1 => change_totals(&pool, |totals| totals.by_source[0].1.late += 1).await,
        2 => change_totals(&pool, |totals| totals.by_reason[3] += 1).await,
        3 => change_totals(&pool, |totals| totals.closed_windows += 1).await,
        4 => change_windows(&pool, |window| window.aggregate.temperature_sum += 1).await,
        5 => change_windows(&pool, |window| window.version += 1).await,
        6 => sql(&pool, "delete from window_blocks where id = (select min(id) from window_blocks)").await,
        7 => {
            sql(
                &pool,
                "insert into window_blocks (size_ms, first_device, last_device, first_start_ms, last_start_ms, windows, is_merged, data)
                 select size_ms, first_device, last_device, first_start_ms, last_start_ms, windows, is_merged, data
                 from window_blocks limit 1",
            )
            .await;
        }
        8 => sql(&pool, "update window_blocks set data = x'ff' where id = (select min(id) from window_blocks)").await,
        9 => change_windows(&pool, |window| window.start += 10_000 * 7).await,
        10 => change_hour(&pool, |cells| cells[0].readings += 1).await,
        11 => {
            change_hour(&pool, |cells| {
                let district = cells.iter().rposition(|cell| cell.windows > 0).expect("one has some");
                cells[district].low += 1;
            })
            .await;
        }
        12 => sql(&pool, "delete from hours where start_ms = (select min(start_ms) from hours)").await,
        13 => change_side(&pool, DEAD, |rows| drop(rows.remove(rows.len() / 2))).await,
        14 => change_side(&pool, DEAD, |rows| rows[0].raw.push(b' ')).await,
        15 => sql(&pool, "update decisions set decided_by = 'Budi' where letter = (select min(letter) from decisions)").await,
        16 => sql(&pool, "delete from decisions where letter = (select min(letter) from decisions)").await,
        17 => sql(&pool, "insert into decisions values (0, 9999999, 1, 0, 'Budi', 'discarded', null, 'no reason')").await,
        18 => {
            change_side(&pool, LATE, |rows| {
                if let Cause::Late { lateness_ms, .. } = &mut rows[0].cause {
                    *lateness_ms += 1;
                }
            })
            .await;
        }
        19 => change_side(&pool, LATE, |rows| drop(rows.pop())).await,
        20 => {
            empty_run(&pool, &identities(dir).await, 30).await;
        }
        21 => {
            change_device(&pool, |state| {
                let latest = state.latest.as_mut().expect("it has sent");
                latest.temperature = Milli(latest.temperature.0 + 1);
            })
            .await;
        }
        22 => sql(&pool, "update input_position set received_at_ms = received_at_ms + 1").await,
        23 => sql(&pool, "update input_position set next = next + 1").await,
        24 => {
            let middle = log.len() / 2;
            log[middle] ^= 4;
        }
        25 => {
            let starts = starts(&log);
            let (from, to) = (starts[50], starts[51]);
            log.drain(from..to);
        }
        _ => unreachable!("there are no more"),
    }
    std::fs::write(path, log).expect("writes");
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tampering_is_found_and_named() {
    let whole = taken_in(&written::days(1, true), &[]).await;
    assert_whole(&check(whole.path(), "sqlite").await);
    for (index, (what, law, words)) in TAMPERINGS.into_iter().enumerate() {
        let dir = tempfile::tempdir().expect("a directory");
        copy(whole.path(), dir.path());
        tamper(index, dir.path()).await;
        let report = check(dir.path(), "sqlite").await;
        assert_eq!(report.first_broken(), Some(law), "{what}:\n{report}");
        assert!(report.told(law)[0].contains(words), "{what}: `{words}` in\n{report}");
        assert!(report.to_string().ends_with(&format!("the first broken law is {}", law.name())), "{what}:\n{report}");
    }
}

/// A change of a block.
type Forgery = fn(&mut [u8]);

/// A log that somebody has changed with care, so that every checksum is right: what follows from it is not what is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_log_is_found() {
    let whole = taken_in(&written::days(1, true), &[]).await;
    let clean = std::fs::read(segment(whole.path())).expect("reads");
    let later: Forgery = |block| {
        let at = i64::from_le_bytes(block[36..44].try_into().expect("eight bytes"));
        block[36..44].copy_from_slice(&(at - 3_600_000).to_le_bytes());
    };
    let record: Forgery = |block| block[28] ^= 1;
    let digit: Forgery = |block| {
        let place = (46..block.len() - 14).rfind(|at| block[*at..].starts_with(b"temperature\":")).expect("a reading") + 13;
        let digit = (place..place + 3).find(|at| block[*at].is_ascii_digit()).expect("a number");
        block[digit] = if block[digit] == b'7' { b'6' } else { b'7' };
    };
    for (what, forgery, law) in [("time back", later, Law::Log), ("a position", record, Law::Log), ("a value", digit, Law::C2)] {
        let dir = tempfile::tempdir().expect("a directory");
        copy(whole.path(), dir.path());
        let mut log = clean.clone();
        let starts = starts(&log);
        let start = starts.iter().copied().skip(60).find(|start| {
            log[*start..].windows(22).take(400).any(|w| w == b"\"temperature\":7.5}}\n{\"e" || w.starts_with(b"temperature\":"))
        });
        forge(&mut log, start.expect("a block of readings"), forgery);
        std::fs::write(segment(dir.path()), log).expect("writes");
        let config = EngineConfig::default();
        let store = open(dir.path(), "sqlite").await;
        let keep = Retention::default();
        let report = verify(&Subject { dir: dir.path(), store: &store, master: &MASTER, config: &config, keep }).await;
        store.close().await;
        match report {
            Ok(report) => {
                let broken = report.first_broken();
                assert!(broken == Some(law) || (law == Law::C2 && broken.is_some()), "{what}:\n{report}");
            }
            Err(error) => assert!(law == Law::Log && error.to_string().contains("record"), "{what}: {error:#}"),
        }
    }
}
