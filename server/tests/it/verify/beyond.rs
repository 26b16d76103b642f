//! What goes beyond tumbling windows: sessions, late joins of sliding windows, devices that travel with trackers, running numbers, and
//! what was known of the hours when. Nothing is found in what was made in order; every change of it is, and of tables that only one of the
//! stores has.

use super::{MASTER, assert_whole, copy, open, run};
use crate::support::{Random, Server, now_ms, rfc3339, stores};
use domain::engine::{ClosedDerived, Derived, DeviceState, EngineConfig, Pairing, Totals};
use domain::join::Fix;
use domain::rollup::HourCell;
use domain::sequence::Sequence;
use domain::time::{EventTime, ProcessingTime};
use domain::window::{WindowConfig, WindowState};
use serde::Serialize;
use serde::de::DeserializeOwned;
use server::admission::Format;
use server::log::{Block, BlockKind, Draft, Log};
use server::rebuild::rebuild;
use server::travel;
use server::verify::{Law, Report, Subject, verify};
use sqlx::{Connection, PgConnection, PgPool, SqlitePool};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::Path;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const WINDOWS: &str = "10:60,300:120,300/10:120,3600/1200:120,session 900:60,session 7200:120";

/// Rules under which all of it exists. The box travels with the truck only since `since`.
fn config(since: i64) -> EngineConfig {
    let windows = WindowConfig::parse(WINDOWS, 10 * MINUTE).expect("valid");
    let pairing =
        |device: &str, from_ms| Pairing { tracker: "truck".to_owned(), device: device.to_owned(), from_ms, to_ms: i64::MAX };
    EngineConfig { windows, pairings: vec![pairing("P110101-1-F1", i64::MIN), pairing("box", since)], ..EngineConfig::default() }
}

/// Notes these pairings in the log.
fn note(dir: &Path, pairings: &[Pairing], at: i64) {
    let body = travel::encode(pairings);
    append(dir, &[(at, Draft { kind: BlockKind::Pairings, source: "", body: &body, records: 0 })]);
}

/// The same for the program: the file with the pairings.
fn settings(since: i64) -> String {
    format!(
        "[[pairings]]\ntracker = 'truck'\ndevice = 'P110101-1-F1'\n[[pairings]]\ntracker = 'truck'\ndevice = 'box'\nfrom = '{}'\n",
        rfc3339(since)
    )
}

async fn check(dir: &Path, store: &str, config: &EngineConfig) -> Report {
    let store = open(dir, store).await;
    let subject = Subject { dir, store: &store, master: &MASTER, config };
    let report = verify(&subject).await.expect("tells");
    store.close().await;
    report
}

/// What a device sends from `start` to `end`, and when it arrives: at times nothing, at times what it kept, in any order, with numbers of
/// which some never come.
fn sendings(random: &mut Random, device: &str, (start, end): (i64, i64)) -> Vec<(i64, String)> {
    let mut out = Vec::new();
    let (mut at, mut seq, mut boot) = (start + random.between(0, HOUR), 1, 1);
    while at < end {
        let keeps = random.one_in(2);
        let online = at + random.between(5, 300) * MINUTE;
        let offline = if random.one_in(4) { random.between(HOUR, 50 * HOUR) } else { random.between(MINUTE, 50 * MINUTE) };
        let back = online + offline;
        let newest_first = random.one_in(2);
        while at < back.min(end) {
            seq += if random.one_in(30) { random.between(2, 5) } else { 1 };
            at += random.between(MINUTE, 5 * MINUTE);
            if at >= online && !keeps {
                continue;
            }
            let line = if device == "truck" || (device == "probe-a" && random.one_in(2)) {
                let place = format!("107.{},-6.{}", random.between(100, 999), random.between(100, 999));
                let properties = format!(r#"{{"device_id":"{device}","ts":{at},"seq":{seq},"boot_id":"b{boot}"}}"#);
                format!(r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[{place}]}},"properties":{properties}}}"#)
            } else {
                let temperature = format!("{}.{}", random.between(-2, 11), random.below(10));
                format!(r#"{{"device_id":"{device}","ts":{at},"temperature":{temperature},"seq":{seq},"boot_id":{boot}}}"#)
            };
            let arrives = match random.below(40) {
                _ if at >= online => back + if newest_first { back - at } else { at - online } / 60,
                0 => at + random.between(HOUR, 5 * HOUR),
                1..=4 => at + random.between(MINUTE, 25 * MINUTE),
                _ => at + random.between(0, 3_000),
            };
            if random.one_in(25) {
                out.push((arrives + random.between(0, HOUR), line.clone()));
            }
            out.push((arrives, line));
        }
        at = at.max(back);
        if random.one_in(3) {
            (boot, seq) = (boot + 1, 0);
        }
    }
    out.retain(|(arrives, _)| *arrives < end);
    out
}

/// When a block comes in, and what it holds; time alone where that is nothing.
type Entry = (i64, Vec<String>);

/// Three days that end a little before now, and when the box began to travel.
fn days(seed: u64) -> (Vec<Entry>, i64) {
    let mut random = Random(seed);
    let end = now_ms() - 10 * MINUTE;
    let start = end - 72 * HOUR;
    let mut all = Vec::new();
    for device in ["truck", "P110101-1-F1", "box", "probe-a", "probe-b"] {
        all.extend(sendings(&mut random, device, (start, end)));
    }
    // At times somebody listens, else nobody would be silent.
    let mut at = start;
    while at < end {
        let length = random.between(HOUR, 6 * HOUR);
        if random.one_in(2) {
            all.extend((at..(at + length).min(end)).step_by(50_000).map(|at| (at, String::new())));
        }
        at += length;
    }
    all.sort();
    let mut entries: Vec<Entry> = Vec::new();
    for (at, line) in all {
        let is_near = |last: &Entry| at - last.0 < 20_000 && last.1.len() < 20 && last.1.is_empty() == line.is_empty();
        match entries.last_mut().filter(|last| is_near(last)) {
            Some(last) => last.1.extend((!line.is_empty()).then_some(line)),
            None => entries.push((at, if line.is_empty() { Vec::new() } else { vec![line] })),
        }
    }
    (entries, (start + 30 * HOUR) / 1_000 * 1_000)
}

fn write(dir: &Path, entries: &[Entry]) {
    let bodies: Vec<String> = entries.iter().map(|(_, lines)| lines.join("\n")).collect();
    let mut drafts = Vec::new();
    for ((at, lines), body) in entries.iter().zip(&bodies) {
        let kind = if lines.is_empty() { BlockKind::Timer } else { BlockKind::Records(Format::Ndjson) };
        drafts.push((*at, Draft { kind, source: "by hand", body: body.as_bytes(), records: lines.len() as u64 }));
    }
    append(dir, &drafts);
}

fn append(dir: &Path, drafts: &[(i64, Draft<'_>)]) {
    let count = |block: &Block| match block.kind {
        BlockKind::Timer | BlockKind::Pairings => 0,
        _ => block.body.split(|byte| *byte == b'\n').count() as u64,
    };
    let mut log = Log::open(&dir.join("log"), count).expect("opens");
    for (at, draft) in drafts {
        log.append(std::slice::from_ref(draft), ProcessingTime::from_ms(*at)).expect("appends");
    }
}

/// A directory with such days in `store`, taken in in two parts, the second one by a server; verified after each step. One more device
/// travels with the tracker since the second part.
async fn lived_through(seed: u64, store: &str) -> (tempfile::TempDir, EngineConfig) {
    let (entries, since) = days(seed);
    let config = config(since);
    let dir = tempfile::tempdir().expect("a directory");
    let (first, rest) = entries.split_at(entries.len() * 2 / 3);
    note(dir.path(), &config.pairings[..1], first[0].0);
    write(dir.path(), first);
    let opened = open(dir.path(), store).await;
    rebuild(dir.path(), &opened, &MASTER, &config).await.expect("rebuilds");
    opened.close().await;
    assert_whole(&check(dir.path(), store, &config).await);
    // The state is behind the log now, as after a crash.
    note(dir.path(), &config.pairings, rest[0].0);
    write(dir.path(), rest);
    let report = check(dir.path(), store, &config).await;
    assert_whole(&report);
    let text = report.to_string();
    for words in ["versions    ok ", "located     ok ", " sessions of 2 kinds hold"] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    let file = dir.path().join("rantai.toml");
    std::fs::write(&file, settings(since)).expect("writes");
    let file = file.to_str().expect("a plain name").to_owned();
    let options = ["--store", store, "--windows", WINDOWS, "--config", &file, "--checkpoint-ms", "50"];
    let dir = Server::start_in(dir, &options).await.stop().await;
    assert_whole(&check(dir.path(), store, &config).await);
    (dir, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_beyond_tumbling_windows_is_whole() {
    for seed in 2..=4 {
        lived_through(seed, "sqlite").await;
    }
}

/// A tracker is heard of for the first time while the device that travels with it is silent: its last reading waits until nothing is
/// known of the device any more, and is placed by what came until then.
#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_within_a_silence_is_whole() {
    let start = (now_ms() - 10 * HOUR) / 1_000 * 1_000;
    let mut entries: Vec<Entry> = (1..150).map(|n| (start + n * MINUTE / 2, Vec::new())).collect();
    entries[0].1.push(format!(r#"{{"device_id":"box","ts":{start},"temperature":5}}"#));
    let fix = |minute: i64| {
        let properties = format!(r#"{{"device_id":"truck","ts":{}}}"#, start + minute * MINUTE);
        format!(r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[107.6,-6.8]}},"properties":{properties}}}"#)
    };
    entries[40].1.push(fix(4));
    entries[60].1.push(fix(5));
    let config = config(i64::MIN);
    // While it waits, and when it does no more.
    for (blocks, is_placed) in [(110, false), (149, true)] {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), &entries[..40]);
        note(dir.path(), &config.pairings, entries[40].0);
        write(dir.path(), &entries[40..blocks]);
        let store = open(dir.path(), "sqlite").await;
        rebuild(dir.path(), &store, &MASTER, &config).await.expect("rebuilds");
        store.close().await;
        let report = check(dir.path(), "sqlite", &config).await;
        assert_whole(&report);
        assert_eq!(report.to_string().contains("located     ok      1 readings"), is_placed, "{report}");
    }
}

/// Either database.
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

macro_rules! on {
    ($pool:expr, $own:ident => $body:expr) => {
        match $pool {
            Pool::Sqlite($own) => $body,
            Pool::Postgres($own) => $body,
        }
    };
}

impl Pool {
    async fn open(dir: &Path, store: &str) -> Self {
        if store == "sqlite" {
            Pool::Sqlite(super::tampering::pool(dir).await)
        } else {
            Pool::Postgres(PgPool::connect(store).await.expect("connects"))
        }
    }

    async fn run(&self, text: &'static str) {
        let changed = on!(self, own => sqlx::raw_sql(text).execute(own).await.expect("runs").rows_affected());
        assert!(changed > 0, "{text}");
    }

    /// Changes the first of the values that `select` finds with their keys, of which `change` says that it did.
    async fn change<T: Serialize + DeserializeOwned>(
        &self,
        select: &'static str,
        update: &'static str,
        mut change: impl FnMut(&mut T) -> bool,
    ) {
        let rows: Vec<(i64, Vec<u8>)> = on!(self, own => sqlx::query_as(select).fetch_all(own).await.expect("reads"));
        for (key, value) in rows {
            let mut value: T = postcard::from_bytes(&value).expect("decodes");
            if change(&mut value) {
                let value = postcard::to_stdvec(&value).expect("encodes");
                on!(self, own => sqlx::query(update).bind(value).bind(key).execute(own).await.map(drop)).expect("writes");
                return;
            }
        }
        panic!("nothing to change in: {select}");
    }

    async fn change_derived(&self, mut change: impl FnMut(&mut Derived) -> bool) {
        let change = |block: &mut Vec<ClosedDerived>| block.iter_mut().any(|closed| change(&mut closed.derived));
        self.change(
            "select id, data from derived_blocks order by id",
            "update derived_blocks set data = $1 where id = $2",
            change,
        )
        .await;
    }

    async fn change_device(&self, change: impl FnMut(&mut DeviceState) -> bool) {
        let select = "select device_index, state from devices order by device_index";
        self.change(select, "update devices set state = $1 where device_index = $2", change).await;
    }

    async fn close(self) {
        on!(self, own => own.close().await);
    }
}

/// What is done, whether SQLite has what it is done to, and what has to be found: the law, and words of the first record that is told.
const TAMPERINGS: [(&str, bool, Law, &str); 25] = [
    ("a reading less in a session", true, Law::C2, "session of"),
    ("a version of a session", true, Law::C2, "session of"),
    ("the end of a session", true, Law::C2, "until"),
    ("a session that became part of another comes back", true, Law::C2, "session of"),
    ("sessions gone", true, Law::C2, "found nothing"),
    ("a reading more that joined sliding windows", true, Law::C2, "sliding window of"),
    ("sliding windows were joined by nothing", true, Law::C2, "readings joined it after it had fired; found 0"),
    ("results unreadable", true, Law::C2, "table derived_blocks"),
    ("a reading was taken elsewhere", true, Law::Located, "that it was taken"),
    ("places gone", true, Law::Located, "is missing"),
    ("the newest version of an hour", true, Law::Versions, "its newest version has"),
    ("an older version of an hour", true, Law::Versions, "as known at"),
    ("a version of a region's hour alone", true, Law::Versions, "and others in its regions"),
    ("a version of an hour gone", true, Law::Versions, "hour from"),
    ("a version known too early", true, Law::Versions, "as known at"),
    ("a version said twice", true, Law::Versions, "goes from"),
    ("an hour changed and had not", true, Law::Versions, "whether it changed"),
    ("when a device was in range", true, Law::Devices, "in range"),
    ("the newest window that closed", true, Law::Devices, "newest window that closed"),
    ("a running number that never came", true, Law::Devices, "running numbers"),
    ("what waits for fixes", true, Law::Devices, "Join"),
    ("the value of a reading", false, Law::Readings, "reading at position"),
    ("a reading twice for another", false, Law::Readings, "it is there twice"),
    ("the device of a reading", false, Law::Readings, "reading at position"),
    ("a fix elsewhere", false, Law::Readings, "fix at position"),
];

/// What a version of an hour says, as it is stored.
type Cells = Vec<(u32, HourCell)>;

async fn tamper(index: usize, pool: &Pool) {
    let of_hour = "select start_ms, cells from hour_versions v
         where known_at_ms = (select max(known_at_ms) from hour_versions where start_ms = v.start_ms) order by start_ms";
    let set_of_hour = "update hour_versions set cells = $1
         where start_ms = $2 and known_at_ms = (select max(known_at_ms) from hour_versions where start_ms = $2)";
    let before = "select start_ms, cells from hour_versions v
         where known_at_ms = (select min(known_at_ms) from hour_versions where start_ms = v.start_ms)
             and known_at_ms < (select max(known_at_ms) from hour_versions where start_ms = v.start_ms)
         order by start_ms";
    let set_before = "update hour_versions set cells = $1
         where start_ms = $2 and known_at_ms = (select min(known_at_ms) from hour_versions where start_ms = $2)";
    match index {
        0..=3 => {
            pool.change_derived(|derived| {
                let Derived::Session { session, .. } = derived else { return false };
                if (session.state == WindowState::Merged) != (index == 3) {
                    return false;
                }
                match index {
                    0 => session.aggregate.count += 1,
                    1 => session.version += 1,
                    2 => session.end += 1,
                    _ => session.state = WindowState::Final,
                }
                true
            })
            .await;
        }
        4 => pool.run("delete from derived_blocks where id = (select min(id) from derived_blocks where kind = 1)").await,
        5 => {
            pool.change_derived(|derived| {
                let Derived::Joined { run, .. } = derived else { return false };
                run.joined += 1;
                true
            })
            .await;
        }
        6 => pool.run("delete from derived_blocks where id = (select min(id) from derived_blocks where kind = 0)").await,
        7 => pool.run("delete from derived_blocks where kind <> 1; update derived_blocks set data = substr(data, 1, 9)").await,
        8 => {
            pool.change_derived(|derived| {
                let Derived::Located(located) = derived else { return false };
                let Some(fix) = located.fix else { return false };
                located.fix = Some(Fix { longitude_e6: fix.longitude_e6 + 1, ..fix });
                true
            })
            .await;
        }
        9 => pool.run("delete from derived_blocks where id = (select min(id) from derived_blocks where kind = 2)").await,
        10 => {
            pool.change(of_hour, set_of_hour, |cells: &mut Cells| {
                cells[0].1.readings += 1;
                true
            })
            .await;
        }
        11 => {
            pool.change(before, set_before, |cells: &mut Cells| {
                cells[0].1.readings -= 1;
                true
            })
            .await;
        }
        12 => {
            // A region that the next version says anew, and not as it was before.
            pool.change(before, set_before, |cells: &mut Cells| {
                let (region, cell) = cells.last_mut().expect("it is of some region");
                let is_region = *region > 0 && cell.readings > 1;
                cell.readings -= u32::from(is_region);
                is_region
            })
            .await;
        }
        13 => pool.run("delete from hour_versions where start_ms = (select min(start_ms) from hour_versions)").await,
        14 => {
            pool.run(
                "update hour_versions set known_at_ms = known_at_ms - 300000
                 where start_ms = (select min(start_ms) from hour_versions)
                     and known_at_ms = (select min(known_at_ms) from hour_versions
                         where start_ms = (select min(start_ms) from hour_versions))",
            )
            .await;
        }
        15 => {
            pool.run(
                "insert into hour_versions (partition, start_ms, known_at_ms, cells)
                 select partition, start_ms, known_at_ms + 300000, cells from hour_versions
                 where start_ms = (select min(start_ms) from hour_versions)
                 order by known_at_ms desc limit 1",
            )
            .await;
        }
        16 => {
            let hour = now_ms() - now_ms() % HOUR - 12 * 24 * HOUR;
            let select = "select partition, totals from input_position";
            pool.change(select, "update input_position set totals = $1 where partition = $2", |totals: &mut Totals| {
                let stale = postcard::to_stdvec(&totals.stale).expect("encodes");
                let mut stale: BTreeMap<i64, Vec<u64>> = postcard::from_bytes(&stale).expect("it is a map");
                stale.insert(hour, vec![1]);
                totals.stale = postcard::from_bytes(&postcard::to_stdvec(&stale).expect("encodes")).expect("decodes");
                true
            })
            .await;
        }
        17 => {
            pool.change_device(|state| {
                state.fine_at = state.fine_at.map(|at| EventTime::from_ms(at.ms() - 1));
                state.fine_at.is_some()
            })
            .await;
        }
        18 => pool.change_device(|state| state.newest_closed.as_mut().map(|window| window.version += 1).is_some()).await,
        19 => {
            pool.change_device(|state| {
                let Some(extra) = &mut state.extra else { return false };
                let sequence = Sequence { boot: NonZeroU64::MAX, number: 1 };
                extra.sequences.note(sequence, EventTime::from_ms(now_ms()));
                true
            })
            .await;
        }
        20 => pool.change_device(|state| state.extra.as_mut().is_some_and(|extra| extra.join.take().is_some())).await,
        21 => {
            pool.run("update readings set temperature = temperature + 1 where position = (select max(position) from readings)")
                .await;
        }
        22 => {
            pool.run(
                "create temporary table one as select * from readings where position = (select min(position) from readings);
                 delete from readings
                 where position = (select max(position) from readings where at_ms / 86400000 = (select at_ms / 86400000 from one));
                 insert into readings select * from one",
            )
            .await;
        }
        23 => pool.run("update readings set device_id = 'another' where position = (select min(position) from readings)").await,
        24 => {
            pool.run("update positions set latitude_e6 = latitude_e6 - 1 where position = (select max(position) from positions)")
                .await;
        }
        _ => unreachable!("there are no more"),
    }
}

/// A copy of the database of that address; `None` where it lies in the data directory.
async fn copied(store: &str, number: usize) -> Option<String> {
    let (server, name) = store.rsplit_once('/').filter(|_| store != "sqlite")?;
    let mut connection = PgConnection::connect(&format!("{server}/template1")).await.expect("connects");
    let text = format!("create database {name}_{number} template {name}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.expect("copies a database");
    connection.close().await.expect("closes");
    Some(format!("{store}_{number}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tampering_beyond_is_found_and_named() {
    for store in stores().await {
        let (whole, config) = lived_through(1, &store).await;
        for (index, (what, is_everywhere, law, words)) in TAMPERINGS.into_iter().enumerate() {
            if store == "sqlite" && !is_everywhere {
                continue;
            }
            let dir = tempfile::tempdir().expect("a directory");
            copy(whole.path(), dir.path());
            let store = copied(&store, index).await.unwrap_or_else(|| store.clone());
            let pool = Pool::open(dir.path(), &store).await;
            tamper(index, &pool).await;
            pool.close().await;
            let report = check(dir.path(), &store, &config).await;
            assert_eq!(report.first_broken(), Some(law), "{what} in {store}:\n{report}");
            assert!(report.told(law)[0].contains(words), "{what} in {store}: `{words}` in\n{report}");
            if index == 8 || index == 24 {
                // The program says so too.
                let file = whole.path().join("rantai.toml");
                let file = file.to_str().expect("a plain name");
                let told = run(&["verify", "--store", &store, "--windows", WINDOWS, "--config", file], dir.path());
                let text = String::from_utf8_lossy(&told.stdout).into_owned();
                assert_eq!(told.status.code(), Some(1), "{what}: {text}{}", String::from_utf8_lossy(&told.stderr));
                assert!(text.ends_with(&format!("the first broken law is {}\n", law.name())), "{what}: {text}");
            }
        }
    }
}
