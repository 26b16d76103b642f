//! Tampering with what is stored: every one is found, and named.

use super::{MASTER, assert_whole, check, copy, open, taken_in};
use crate::support::now_ms;
use crate::written;
use domain::engine::{DeviceState, EngineConfig, Totals};
use domain::milli::Milli;
use domain::rollup::{HourCell, KnownCounts, PackedHour};
use domain::time::ProcessingTime;
use server::blocks::{self, WindowBlock};
use server::identities::{DiskIdentities, Freeze, Sizes};
use server::side::{Cause, DEAD, LATE, SideBlock, SideRow, SideRows};
use server::store::{decode_counts, encode_counts};
use server::verify::{Law, Subject, verify};
use sqlx::SqlitePool;
use std::path::{Path, PathBuf};

pub(super) async fn pool(dir: &Path) -> SqlitePool {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("rantai.db"));
    SqlitePool::connect_with(options).await.expect("connects")
}

/// Where runs of identities lie.
pub(super) async fn identities(dir: &Path) -> PathBuf {
    let store = open(dir, "sqlite").await;
    let log_id = server::log::id(&dir.join("log")).expect("has a name");
    let key = store.peek(0, &log_id).await.expect("reads").expect("is there").identity_key;
    store.close().await;
    let folder = server::identities::folder(&dir.join("identities"), &key);
    std::fs::create_dir_all(&folder).expect("makes");
    folder
}

/// A run without identities that is said to cover the log up to block `last`.
pub(super) async fn empty_run(pool: &SqlitePool, folder: &Path, last: u64) {
    let mut none = DiskIdentities::open(&folder.with_extension("aside"), &[], Sizes::default()).expect("opens");
    let frozen = none.freeze(last, ProcessingTime::from_ms(now_ms()), Freeze::All).expect("freezes");
    frozen.write().expect("writes");
    std::fs::rename(frozen.path(), folder.join(&frozen.name)).expect("moves");
    let insert = sqlx::query("insert into identity_runs values (0, $1, $2, 0)").bind(&frozen.name).bind(last as i64);
    insert.execute(pool).await.expect("runs");
}

pub(super) fn segment(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir.join("log")).expect("lists");
    let path = entries.map(|entry| entry.expect("lists").path()).find(|path| path.extension().is_some_and(|e| e == "seg"));
    path.expect("there is one")
}

/// Where the blocks of a segment begin.
pub(super) fn starts(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    while let Some(start) = starts.last().copied().filter(|start| *start < bytes.len()) {
        let len = u32::from_le_bytes(bytes[start..start + 4].try_into().expect("four bytes"));
        starts.push(start + len as usize);
    }
    starts.pop();
    starts
}

pub(super) fn number_at(bytes: &[u8], start: usize) -> u64 {
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

pub(super) async fn change_totals(pool: &SqlitePool, change: impl FnOnce(&mut Totals)) {
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
    let (id, count, data): (i64, u32, Vec<u8>) =
        sqlx::query_as("select id, windows, data from window_blocks where size_ms = 10000 order by id limit 1")
            .fetch_one(pool)
            .await
            .expect("reads");
    let mut windows = Vec::new();
    let block = WindowBlock { size_ms: 10_000, devices: (0, u32::MAX), starts: (i64::MIN, i64::MAX), count, data };
    block.decode(0, |w| windows.push(w)).expect("decodes");
    let middle = windows.len() / 2;
    change(&mut windows[middle].window);
    let data = blocks::encode(windows.iter(), 10_000).remove(0).data;
    sqlx::query("update window_blocks set data = $1 where id = $2").bind(data).bind(id).execute(pool).await.expect("writes");
}

async fn change_hour(pool: &SqlitePool, change: impl FnOnce(&mut Vec<HourCell>)) {
    let (start, cells): (i64, Vec<u8>) =
        sqlx::query_as("select start_ms, cells from hours order by start_ms limit 1").fetch_one(pool).await.expect("reads");
    let mut cells = PackedHour::from_bytes(&cells).expect("decodes").cells();
    change(&mut cells);
    let cells = PackedHour::from(cells).to_bytes();
    sqlx::query("update hours set cells = $1 where start_ms = $2").bind(cells).bind(start).execute(pool).await.expect("writes");
}

/// Changes the first version of how equipment stands that names a facility and a column, a whole picture or not.
async fn change_stood(pool: &SqlitePool, is_whole: bool, change: impl FnOnce(&mut KnownCounts)) {
    let rows: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select known_at_ms, data from count_versions where is_whole = $1 order by known_at_ms")
            .bind(i64::from(is_whole))
            .fetch_all(pool)
            .await
            .expect("reads");
    let versions = rows.iter().map(|(at, data)| decode_counts(*at, is_whole, data).expect("decodes"));
    let says_something = |of: &KnownCounts| !of.facilities.is_empty() && !of.columns.is_empty();
    let mut version = versions.into_iter().find(says_something).expect("one that says something");
    change(&mut version);
    let set = sqlx::query("update count_versions set data = $1 where known_at_ms = $2").bind(encode_counts(&version));
    set.bind(version.known_at).execute(pool).await.expect("writes");
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
const TAMPERINGS: [(&str, Law, &str); 41] = [
    ("one more accepted", Law::C1, "the newest day: its hours come to"),
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
    ("a late reading of an hour", Law::C3, "region ID, hour from"),
    ("a row of the first day", Law::C1, "received is not the sum of the other four"),
    ("a row of the newest day", Law::C1, "and the counters Some"),
    ("a record that moved to another day", Law::C1, "expected Some"),
    ("a day gone", Law::C1, "all of source"),
    ("a version of how equipment stands gone", Law::Versions, "how equipment stood as known at"),
    ("a facility that stood otherwise", Law::Versions, "another change was expected"),
    ("a whole picture without a facility", Law::Versions, "how equipment stood as known at"),
    ("a device in another column", Law::Versions, "how equipment stood as known at"),
    ("a whole picture without a device", Law::Versions, "how equipment stood as known at"),
    ("a record that moved to the hour before", Law::C1, "records by hour: expected"),
    ("a source without a last word", Law::C1, "were heard of, and"),
    ("an hour that began with one late record more", Law::C1, "what was counted before it is not the sum"),
    ("a newest dead letter at another place", Law::C1, "newest dead letter of reason"),
    ("one more corrected window", Law::C2, "windows are said to be corrected, and"),
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
        26 => change_hour(&pool, |cells| cells[0].late += 1).await,
        27 => sql(&pool, "update daily_books set late = late + 1 where day_ms = (select min(day_ms) from daily_books)").await,
        28 => {
            sql(
                &pool,
                "update daily_books set received = received + 1, accepted = accepted + 1
                 where day_ms = (select max(day_ms) from daily_books)",
            )
            .await;
        }
        29 => {
            // Of one source and topic, so that all days together are the same: its first day, and the next with something to take away.
            sql(
                &pool,
                "with own as (
                     select day_ms, duplicate from daily_books
                     where topic = 'temperature' and source = (select min(source) from daily_books)
                 ), first as (select min(day_ms) as day_ms from own
                 ), other as (
                     select min(own.day_ms) as day_ms from own, first where own.day_ms > first.day_ms and own.duplicate > 0
                 )
                 update daily_books
                 set received = received + iif(day_ms = (select day_ms from first), 1, -1),
                     duplicate = duplicate + iif(day_ms = (select day_ms from first), 1, -1)
                 where topic = 'temperature' and source = (select min(source) from daily_books)
                     and day_ms in (select day_ms from first union select day_ms from other)",
            )
            .await;
        }
        30 => sql(&pool, "delete from daily_books where day_ms = (select min(day_ms) from daily_books)").await,
        31 => {
            let text =
                "delete from count_versions where known_at_ms = (select max(known_at_ms) from count_versions where is_whole = 0)";
            sql(&pool, text).await;
        }
        32 => change_stood(&pool, false, |version| version.facilities[0].1.fine += 1).await,
        33 => change_stood(&pool, true, |version| version.facilities.truncate(version.facilities.len() - 1)).await,
        34 => change_stood(&pool, false, |version| version.columns[0].1 ^= 1).await,
        35 => change_stood(&pool, true, |version| version.columns.truncate(version.columns.len() - 1)).await,
        36 => {
            change_totals(&pool, |totals| {
                // Not one of the newest day, whose sum a start looks at.
                let (_, before) = &mut totals.begun_hours[0];
                (before.received, before.accepted) = (before.received + 1, before.accepted + 1);
            })
            .await;
        }
        37 => change_totals(&pool, |totals| totals.heard_from.truncate(1)).await,
        38 => change_totals(&pool, |totals| totals.begun_hours[0].1.late += 1).await,
        39 => {
            change_totals(&pool, |totals| {
                let newest = totals.newest_letters.iter_mut().flatten().next();
                newest.expect("some were rejected").1 -= 1;
            })
            .await;
        }
        40 => change_totals(&pool, |totals| totals.corrected_windows += 1).await,
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
        let report = verify(&Subject { dir: dir.path(), store: &store, master: &MASTER, config: &config }).await;
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
