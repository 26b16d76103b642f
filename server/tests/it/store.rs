//! The store, on SQLite and on Postgres alike: every test here runs on both.

use crate::support::{Random, stores};
use domain::aggregate::Aggregate;
use domain::engine::{ClosedWindow, DayBook, DeviceState, Identities, Tally, Totals};
use domain::event::{BodyHash, DeviceStatus, Identity, Reading, Reason};
use domain::milli::Milli;
use domain::rollup::{HourCell, PackedHour};
use domain::time::{EventTime, ProcessingTime};
use domain::window::{Window, WindowConfig, WindowState};
use server::identities::{DiskIdentities, Freeze, NamedRun, Sizes};
use server::letters::{Decided, Outcome};
use server::side::{Cause, DEAD, LATE, SideRow, SideRows};
use server::store::{Checkpoint, KeyError, Retention, Snapshot, Store, StoreAddress, StoreError, TAKEN};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// An empty store.
pub struct Place {
    pub address: StoreAddress,
    pub dir: TempDir,
}

impl Place {
    pub async fn open(&self) -> Store {
        Store::open(&self.address, self.dir.path()).await.expect("opens")
    }

    pub fn is_sqlite(&self) -> bool {
        self.address == StoreAddress::Sqlite
    }

    /// Runs a statement of the test's own.
    pub async fn run(&self, sqlite: &str, postgres: &str) {
        let safe = |text: &str| sqlx::AssertSqlSafe(text.to_owned());
        match &self.address {
            StoreAddress::Sqlite => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.dir.path().join("rantai.db"));
                let pool = sqlx::SqlitePool::connect_with(options.create_if_missing(true)).await.expect("connects");
                sqlx::raw_sql(safe(sqlite)).execute(&pool).await.expect("runs");
                pool.close().await;
            }
            StoreAddress::Postgres(url) => {
                let pool = sqlx::PgPool::connect(url).await.expect("connects");
                sqlx::raw_sql(safe(postgres)).execute(&pool).await.expect("runs");
                pool.close().await;
            }
        }
    }
}

/// One empty store of each kind.
pub async fn places() -> Vec<Place> {
    let place =
        |address: String| Place { address: address.parse().expect("an address"), dir: tempfile::tempdir().expect("a directory") };
    stores().await.into_iter().map(place).collect()
}

const DAY: i64 = 86_400_000;
pub const NOW: ProcessingTime = ProcessingTime::from_ms(1_790_000_000_000);

fn aggregate(random: &mut Random) -> Aggregate {
    let mut aggregate = Aggregate::default();
    for _ in 0..=random.below(4) {
        aggregate.add(&Reading {
            at: EventTime::from_ms(0),
            temperature: Milli(random.between(-55_000, 125_001) as i32),
            humidity: random.one_in(2).then(|| Milli(random.between(0, 100_001) as i32)),
            battery: random.one_in(2).then(|| Milli(random.between(0, 100_001) as i32)),
            status: DeviceStatus::Ok,
        });
    }
    aggregate
}

/// A closed window of `device` with `start` in units of its size.
fn window(random: &mut Random, config: &WindowConfig, definition: u8, device: u32, start: i64) -> ClosedWindow {
    let size = config.definitions()[usize::from(definition)].size_ms;
    let start = NOW.ms() - NOW.ms() % size - start * size;
    let window = Window { start, version: 1 + random.below(3) as u32, state: WindowState::Final, aggregate: aggregate(random) };
    ClosedWindow { device, definition, window }
}

fn side_row(kind: usize, position: u64) -> SideRow {
    let cause = match kind {
        LATE => Cause::Late { window_start: position as i64 * 10_000, lateness_ms: 7 },
        _ => Cause::Rejected { reason: Reason::OutOfRange, field: "temperature".to_owned() },
    };
    SideRow {
        position,
        received_at: NOW,
        event_id: Some(format!("e{position}")),
        device_id: None,
        ts: Some(EventTime::from_ms(position as i64)),
        source: "gateway ü".to_owned(),
        cause,
        raw: vec![0, 255, position as u8],
    }
}

pub fn device(id: &str, received: i64) -> DeviceState {
    DeviceState { id: id.into(), received_at: Some(ProcessingTime::from_ms(received)), ..DeviceState::default() }
}

pub fn encoded(state: &DeviceState) -> Vec<u8> {
    postcard::to_stdvec(state).expect("encodes")
}

pub fn totals(accepted: u64) -> Totals {
    let all = Tally { received: accepted, accepted, ..Tally::default() };
    let (by_source, heard_from) = (vec![("gateway".to_owned(), all)], vec![ProcessingTime::from_ms(0)]);
    let mut totals = Totals { all, by_source, heard_from, ..Totals::default() };
    totals.by_topic[0] = all;
    totals
}

/// A checkpoint of blocks [from, next) that changes nothing else.
pub fn empty(from: u64, next: u64) -> Checkpoint {
    Checkpoint {
        from_block: from,
        next_block: next,
        now_ms: NOW.ms() + next as i64,
        committed_at_ms: NOW.ms() + 1,
        totals: postcard::to_stdvec(&totals(next)).expect("encodes"),
        days: Arc::new(vec![DayBook { day_ms: TAKEN, source: "gateway".to_owned(), topic: 0, tally: totals(next).all }]),
        ..Checkpoint::default()
    }
}

/// What a restart would see, but for the epoch.
fn seen(snapshot: &Snapshot) -> String {
    let Snapshot { identity_key, uptime_start, next_block, now, committed_at, totals, devices, hours, runs, .. } = snapshot;
    format!("{identity_key:?} {uptime_start:?} {next_block} {now:?} {committed_at:?} {totals:?} {devices:?} {hours:?} {runs:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_checkpoint_wrote_a_restart_loads() {
    let config = WindowConfig::default();
    for place in places().await {
        let store = place.open().await;
        let fresh = store.load(0, "log", NOW).await.expect("loads");
        assert_eq!((fresh.next_block, fresh.epoch, fresh.committed_at), (1, 1, None));
        assert_eq!((fresh.totals, fresh.devices.len(), fresh.hours.len(), fresh.runs.len()), (Totals::default(), 0, 0, 0));
        let cells = |n: u32| PackedHour::from(vec![HourCell { windows: n, ..HourCell::default() }; 3]);
        let hour = NOW.ms() - NOW.ms() % 3_600_000;
        let old = hour - 92 * DAY;
        let first = Checkpoint {
            // More than one statement's worth.
            devices: (0..1_200).map(|i| (i, encoded(&device(&format!("Gerät {i}"), 1)))).collect(),
            hours: vec![(old, cells(9)), (hour - 3_600_000, cells(1)), (hour, cells(2))],
            run: Some(("a.run".to_owned(), 3)),
            ..empty(1, 5)
        };
        store.checkpoint(&first, 1, &config).await.expect("writes");
        let second = Checkpoint {
            devices: vec![(7, encoded(&device("Gerät 7", 2))), (1_200, encoded(&device("new", 2)))],
            hours: vec![(hour, cells(3))],
            run: Some(("b.run".to_owned(), 4)),
            ..empty(5, 9)
        };
        store.checkpoint(&second, 1, &config).await.expect("writes");
        store.close().await;

        let store = place.open().await;
        let loaded = store.load(0, "log", ProcessingTime::from_ms(5)).await.expect("loads");
        assert_eq!((loaded.identity_key, loaded.uptime_start), (fresh.identity_key, NOW), "made once");
        assert_eq!((loaded.next_block, loaded.epoch, loaded.now.ms()), (9, 2, NOW.ms() + 9));
        assert_eq!(loaded.totals, totals(9));
        assert_eq!(loaded.committed_at, Some(ProcessingTime::from_ms(NOW.ms() + 1)));
        assert_eq!(loaded.hours, vec![(hour - 3_600_000, cells(1)), (hour, cells(3))]);
        // What is too old to change stays where it is.
        for (partition, expected) in [(Some(0), Some(cells(9))), (None, Some(cells(9))), (Some(1), None)] {
            let mut found = None;
            store.hours(partition, (i64::MIN, hour - DAY), |start, cells| found = Some((start, cells))).await.expect("reads");
            assert_eq!(found, expected.map(|cells| (old, cells)));
        }
        assert_eq!(loaded.runs, [named("a.run", 4, 3), named("b.run", 8, 4)]);
        let expected: Vec<(u32, DeviceState)> = (0..1_200)
            .map(|i| (i, device(&format!("Gerät {i}"), if i == 7 { 2 } else { 1 })))
            .chain([(1_200, device("new", 2))])
            .collect();
        assert_eq!(loaded.devices, expected);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lost_its_place_is_fenced() {
    let config = WindowConfig::default();
    for place in places().await {
        let (zombie, owner) = (place.open().await, place.open().await);
        let old = zombie.load(0, "log", NOW).await.expect("loads").epoch;
        let side = Arc::new([SideRows::from_iter([side_row(LATE, 1)]), SideRows::default()]);
        let with_side = |from, next| Checkpoint { side: Arc::clone(&side), ..empty(from, next) };
        zombie.checkpoint(&empty(1, 3), old, &config).await.expect("writes");
        let new = owner.load(0, "log", NOW).await.expect("loads").epoch;
        assert!(new > old);
        // By epoch, before and after the new owner has moved on.
        let refused = zombie.checkpoint(&with_side(3, 4), old, &config).await;
        assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
        owner.checkpoint(&empty(3, 6), new, &config).await.expect("writes");
        let refused = zombie.checkpoint(&with_side(3, 6), old, &config).await;
        assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
        // By position.
        for (from, next) in [(3, 7), (5, 7), (7, 8)] {
            let refused = owner.checkpoint(&with_side(from, next), new, &config).await;
            assert!(matches!(refused, Err(StoreError::Fenced)), "{from}..{next}: {refused:?}");
        }
        assert!(owner.side_after(LATE, 0, 9).await.expect("reads").is_empty(), "a refused checkpoint leaves nothing");
        // The same again, because nobody told that it was committed: done once.
        owner.checkpoint(&with_side(6, 7), new, &config).await.expect("writes");
        owner.checkpoint(&with_side(6, 7), new, &config).await.expect("knows");
        assert_eq!(owner.side_after(LATE, 0, 9).await.expect("reads").len(), 1);
        assert_eq!(owner.load(0, "log", NOW).await.expect("loads").next_block, 7);
        zombie.close().await;
        owner.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_stand_alone_and_a_log_is_known() {
    let config = WindowConfig::default();
    for place in places().await {
        let store = place.open().await;
        for partition in [0, 1] {
            let epoch = store.load(partition, "log", NOW).await.expect("loads").epoch;
            let devices = vec![(0, encoded(&device(&format!("of {partition}"), 1)))];
            let run = Some(("a.run".to_owned(), 1));
            let checkpoint = Checkpoint { partition, devices, run, ..empty(1, 2 + u64::from(partition)) };
            store.checkpoint(&checkpoint, epoch, &config).await.expect("writes");
        }
        for partition in [0, 1] {
            let loaded = store.load(partition, "log", NOW).await.expect("loads");
            assert_eq!((loaded.epoch, loaded.next_block), (2, 2 + u64::from(partition)));
            assert_eq!(loaded.devices, [(0, device(&format!("of {partition}"), 1))]);
        }
        let before = seen(&store.load(0, "log", NOW).await.expect("loads"));
        let refused = store.load(0, "another", NOW).await;
        assert!(matches!(refused, Err(StoreError::OtherLog)), "{refused:?}");
        let after = store.load(0, "log", NOW).await.expect("loads");
        assert_eq!((after.epoch, seen(&after)), (4, before), "whoever was refused has fenced nobody");
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys() {
    for place in places().await {
        let store = place.open().await;
        let key = store.create_key("gateway", None, "ingest", 1).await.expect("makes");
        let reader = store.create_key("ΑΒΓ", Some("gateway"), "read,ingest", 1).await.expect("makes");
        let found = store.key(&key).await.expect("reads").expect("is there");
        assert_eq!((found.name.as_str(), found.source.as_str(), found.can_ingest), ("gateway", "gateway", true));
        let found = store.key(&reader).await.expect("reads").expect("is there");
        assert_eq!((found.name.as_str(), found.source.as_str(), found.can_ingest), ("ΑΒΓ", "gateway", true));
        assert_eq!(store.key(&key[..key.len() - 1]).await.expect("reads"), None);
        assert!(matches!(store.create_key("gateway", None, "read", 1).await, Err(KeyError::Taken(_))));
        for name in ["", "a\nb", &"x".repeat(65)] {
            assert!(matches!(store.create_key(name, None, "read", 1).await, Err(KeyError::Name)));
        }
        assert!(matches!(store.create_key("x", None, "read,write", 1).await, Err(KeyError::Scope(_))));
        assert!(store.revoke_key("gateway").await.expect("answers") && !store.revoke_key("gateway").await.expect("answers"));
        assert_eq!(store.key(&key).await.expect("reads"), None);
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn side_outputs_are_read_page_by_page() {
    let config = WindowConfig::default();
    for place in places().await {
        let store = place.open().await;
        let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        // 2 500 and 5 records: several blocks to a checkpoint, and two checkpoints.
        let late: Vec<SideRow> = (1..=2_500).map(|i| side_row(LATE, i * 3)).collect();
        let dead: Vec<SideRow> = (1..=5).map(|i| side_row(DEAD, i * 100)).collect();
        for (from, late, dead) in [(1, &late[..1_300], &dead[..2]), (2, &late[1_300..], &dead[2..])] {
            let side = Arc::new([late, dead].map(|rows| rows.iter().cloned().collect()));
            let checkpoint = Checkpoint { side, ..empty(from, from + 1) };
            store.checkpoint(&checkpoint, epoch, &config).await.expect("writes");
        }
        for limit in [1, 7, 1_000, 9_999] {
            let (mut position, mut found) = (0, Vec::new());
            loop {
                let mut page = store.side_after(LATE, position, limit).await.expect("reads");
                assert!(page.len() >= limit.min(late.len() - found.len()));
                page.truncate(limit);
                let Some(last) = page.last() else { break };
                position = last.position;
                found.extend(page);
                if limit == 1 && found.len() > 20 {
                    break;
                }
            }
            assert_eq!(found, late[..found.len()]);
            assert!(limit == 1 || found.len() == late.len());
        }
        assert_eq!(store.side_after(DEAD, 100, 9).await.expect("reads"), dead[1..]);
        let newest: Vec<SideRow> = late.iter().rev().take(1_250).cloned().collect();
        assert_eq!(store.side_newest(LATE, None, 1_250).await.expect("reads"), newest);
        assert_eq!(store.side_newest(LATE, Some(u64::MAX), 1_250).await.expect("reads"), newest, "any number may be asked for");
        assert_eq!(store.side_after(LATE, u64::MAX, 9).await.expect("reads"), []);
        assert_eq!(store.side_newest(DEAD, None, 99).await.expect("reads").len(), 5);
        // Back from within a block, from its end, from between two records and from before all of them.
        for (before, kept) in [(3_001, 1_000), (3_000, 999), (3, 0), (1, 0), (9_999, 2_500)] {
            let expected: Vec<SideRow> = late[..kept].iter().rev().take(1_100).cloned().collect();
            assert_eq!(store.side_newest(LATE, Some(before), 1_100).await.expect("reads"), expected, "before {before}");
        }
        store.close().await;
    }
}

/// Kafka's partitions mix their positions; every page goes on where the one before it ended, in all of them.
#[tokio::test(flavor = "multi_thread")]
async fn side_outputs_of_several_partitions_are_put_in_order() {
    let config = WindowConfig::default();
    for place in places().await {
        let store = place.open().await;
        let mut all = Vec::new();
        for partition in 1..=3 {
            let epoch = store.load(partition, &format!("log {partition}"), NOW).await.expect("loads").epoch;
            for n in 0..4u64 {
                // A few records far apart: each block reaches over many of the others.
                let late: Vec<SideRow> = (0..5u64)
                    .map(|i| side_row(LATE, (n * 5 + i) * 1_000 * u64::from(partition) + u64::from(partition)))
                    .collect();
                all.extend(late.clone());
                let side = Arc::new([late.into_iter().collect(), SideRows::default()]);
                let checkpoint = Checkpoint { partition, side, ..empty(n + 1, n + 2) };
                store.checkpoint(&checkpoint, epoch, &config).await.expect("writes");
            }
        }
        all.sort_by_key(|row| row.position);
        for limit in [1, 4, 7, 99] {
            let mut found: Vec<SideRow> = Vec::new();
            loop {
                let page = store.side_after(LATE, found.last().map_or(0, |row| row.position), limit).await.expect("reads");
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                found.extend(page);
            }
            assert_eq!(found, all, "pages of {limit}");
        }
        for row in &all {
            assert_eq!(store.side_at(LATE, row.position).await.expect("reads").as_ref(), Some(row));
        }
        all.reverse();
        assert_eq!(store.side_newest(LATE, None, 10).await.expect("reads"), all[..10]);
        for (at, row) in (1..).zip(&all) {
            let older = store.side_newest(LATE, Some(row.position), 4).await.expect("reads");
            assert_eq!(older, all[at..all.len().min(at + 4)], "before {}", row.position);
        }
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_read_the_same_before_and_after_merging() {
    let config = WindowConfig::default();
    for place in places().await {
        let store = place.open().await;
        let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        let mut random = Random(7);
        let mut all: Vec<ClosedWindow> = Vec::new();
        for block in 0..300u64 {
            // Some of each definition, over 60 days, each window once.
            let windows: Vec<ClosedWindow> = (0..20)
                .map(|i| {
                    let start = (block * 20 + i) as i64 * 29;
                    window(&mut random, &config, (i % 2) as u8, (i * 7 % 13) as u32, start)
                })
                .collect();
            all.extend(&windows);
            let checkpoint = Checkpoint { windows: Arc::new(windows), ..empty(1 + block, 2 + block) };
            store.checkpoint(&checkpoint, epoch, &config).await.expect("writes");
        }
        let read = async |definition: u8, devices: (u32, u32), from: i64, to: i64| {
            let size = config.definitions()[usize::from(definition)].size_ms;
            let mut found = Vec::new();
            store.windows((definition, size), devices, from, to, |w| found.push(w)).await.expect("reads");
            found.sort_unstable_by_key(|w| (w.device, w.window.start));
            found
        };
        let expected = |definition: u8, devices: (u32, u32), from: i64, to: i64| {
            let mut found: Vec<ClosedWindow> = all
                .iter()
                .filter(|w| w.definition == definition && (devices.0..=devices.1).contains(&w.device))
                .filter(|w| (from..to).contains(&w.window.start))
                .copied()
                .collect();
            found.sort_unstable_by_key(|w| (w.device, w.window.start));
            found
        };
        let mut is_merged = false;
        loop {
            for definition in [0, 1] {
                for (devices, from, to) in [
                    ((0, 12), 0, i64::MAX),
                    ((3, 5), NOW.ms() - 2 * DAY, NOW.ms()),
                    ((5, 5), NOW.ms() - 30 * DAY, NOW.ms() - 3 * DAY),
                    ((0, 12), all[7].window.start, all[7].window.start + 1),
                    ((90, 99), 0, i64::MAX),
                    ((0, 12), 5, 5),
                ] {
                    assert_eq!(read(definition, devices, from, to).await, expected(definition, devices, from, to), "{devices:?}");
                }
            }
            if !store.merge_blocks(&config).await.expect("merges") {
                break;
            }
            is_merged = true;
        }
        assert_eq!(is_merged, place.is_sqlite(), "Postgres has rows, SQLite has blocks");
        store.close().await;
    }
}

/// As many as the store was told, and not one less.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_put_together_as_configured() {
    let (config, mut random) = (WindowConfig::default(), Random(5));
    for place in places().await.into_iter().filter(Place::is_sqlite) {
        let store = place.open().await.merging_windows_at(3);
        let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        for block in 1..=7 {
            let windows = Arc::new(vec![window(&mut random, &config, 0, 1, block as i64)]);
            store.checkpoint(&Checkpoint { windows, ..empty(block, block + 1) }, epoch, &config).await.expect("writes");
            assert_eq!(store.merge_blocks(&config).await.expect("merges"), block % 3 == 0, "{block} blocks");
        }
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_again_changes_nothing_and_a_newer_schema_is_refused() {
    for place in places().await {
        // Several at once, on nothing.
        let opened = futures::future::join_all((0..4).map(|_| Store::open(&place.address, place.dir.path()))).await;
        for store in opened {
            store.expect("opens").close().await;
        }
        let store = place.open().await;
        let first = seen(&store.load(0, "log", NOW).await.expect("loads"));
        store.close().await;
        let store = place.open().await;
        assert_eq!(seen(&store.load(0, "log", NOW).await.expect("loads")), first);
        store.close().await;
        place.run("pragma user_version = 99", "update schema_version set version = 99").await;
        let refused = Store::open(&place.address, place.dir.path()).await.expect_err("refused");
        assert!(matches!(refused, StoreError::NewerSchema { found: 99, .. }), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_need_not_be_kept_is_deleted() {
    let config = WindowConfig::default();
    for place in places().await {
        let (store, other) = (place.open().await, place.open().await);
        let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        let mut random = Random(3);
        // A window of 10 s on each of 30 days, the newest first, and a record a day in the side outputs.
        let per_day = DAY / 10_000;
        for day in 0..30u64 {
            let windows = vec![window(&mut random, &config, 0, 1, day as i64 * per_day)];
            let mut late = side_row(LATE, day + 1);
            late.received_at = ProcessingTime::from_ms(NOW.ms() - (29 - day as i64) * DAY);
            let side = Arc::new([SideRows::from_iter([late]), SideRows::default()]);
            let run = (day == 20).then(|| ("a.run".to_owned(), 1));
            let checkpoint = Checkpoint { windows: Arc::new(windows), side, run, ..empty(1 + day, 2 + day) };
            store.checkpoint(&checkpoint, epoch, &config).await.expect("writes");
        }
        assert_eq!(store.needed_from(0).await.expect("answers"), 22, "identities after the run come from the log");
        let count = async || {
            let mut windows = 0;
            store.windows((0, 10_000), (0, 9), i64::MIN, i64::MAX, |_| windows += 1).await.expect("reads");
            (windows, store.side_after(LATE, 0, 99).await.expect("reads").len())
        };
        let keep = |windows_days, side_days| Retention { windows_days, side_days, ..Retention::default() };
        other.forget(NOW, &keep(100, 100)).await.expect("deletes");
        assert_eq!(count().await, (30, 30));
        other.forget(NOW, &keep(7, 3)).await.expect("deletes");
        let (kept, side) = count().await;
        // Postgres forgets whole days of UTC.
        assert!((7..=8).contains(&kept) && side == 4, "{kept} {side}");
        // What belongs to a day that was dropped meanwhile is stored all the same.
        let windows = Arc::new(vec![window(&mut random, &config, 0, 1, 20 * per_day)]);
        let checkpoint = Checkpoint { windows, ..empty(31, 32) };
        store.checkpoint(&checkpoint, epoch, &config).await.expect("writes");
        assert_eq!(count().await.0, kept + 1);
        other.close().await;
        store.close().await;
    }
}

/// However old it is, a dead letter waits for somebody's decision; what lies in one block with it stays too.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decided_on_stays() {
    let config = WindowConfig::default();
    for place in places().await {
        let store = place.open().await;
        let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        let decided = |letter| Decided {
            letter,
            block: letter,
            at: NOW,
            by: "Sari".to_owned(),
            outcome: Outcome::Discarded { reason: "noise".to_owned() },
        };
        // Of the second block as much is decided as it holds, but for one that is no letter.
        for (n, letters, decisions) in
            [(1, [1, 5], vec![1]), (2, [11, 15], vec![11, 13]), (3, [21, 25], vec![21, 25]), (4, [31, 35], vec![])]
        {
            let side = Arc::new([SideRows::default(), letters.map(|at| side_row(DEAD, at)).into_iter().collect()]);
            let decisions = Arc::new(decisions.into_iter().map(decided).collect());
            store.checkpoint(&Checkpoint { side, decisions, ..empty(n, n + 1) }, epoch, &config).await.expect("writes");
        }
        let left = async || {
            let rows = store.side_after(DEAD, 0, 99).await.expect("reads");
            rows.into_iter().map(|row| row.position).collect::<Vec<_>>()
        };
        let keep = Retention { side_days: 30, ..Retention::default() };
        store.forget(NOW.plus_ms(29 * DAY), &keep).await.expect("deletes");
        assert_eq!(left().await, [1, 5, 11, 15, 21, 25, 31, 35]);
        store.forget(NOW.plus_ms(400 * DAY), &keep).await.expect("deletes");
        assert_eq!(left().await, [1, 5, 11, 15, 31, 35]);
        let asked = BTreeSet::from([0, 1, 2, 5, 13, 15, 21, 32, 35, 36, u64::MAX]);
        assert_eq!(store.letters(0, &asked).await.expect("reads"), BTreeSet::from([1, 5, 15, 35]));
        assert_eq!(store.letters(1, &asked).await.expect("reads"), BTreeSet::new());
        store.close().await;
    }
}

/// Identities of a run that does not fit one piece.
const RUN: u64 = 200_000;

pub fn named(name: &str, last_block: u64, identities: u64) -> NamedRun {
    NamedRun { name: name.to_owned(), last_block, identities }
}

/// Writes a run of that name with so many `identities` in `dir`; its bytes.
pub fn write_run(dir: &Path, name: &str, identities: u64) -> Vec<u8> {
    let count = identities;
    let mut identities = DiskIdentities::open(dir, &[], Sizes::default()).expect("opens");
    // Spread over the table, as fingerprints are.
    for i in 0..u128::from(count) {
        identities.check_in(Identity(i << 110), BodyHash(i as u64));
    }
    let frozen = identities.freeze(1, NOW, Freeze::All).expect("freezes");
    frozen.write().expect("writes");
    std::fs::rename(frozen.path(), dir.join(name)).expect("renames");
    std::fs::read(dir.join(name)).expect("reads")
}

/// What one process wrote of its identities, another on another machine can read.
#[tokio::test(flavor = "multi_thread")]
async fn runs_move_with_their_partition() {
    let config = WindowConfig::default();
    for place in places().await {
        let store = place.open().await;
        let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        let here = place.dir.path().join("here");
        let bytes = write_run(&here, "a.run", RUN);
        std::fs::write(here.join("unnamed.run"), b"x").expect("writes");
        for _ in 0..2 {
            store.keep_run(0, epoch, &here.join("a.run")).await.expect("keeps"); // twice: the first checkpoint failed
        }
        store.keep_run(0, epoch, &here.join("unnamed.run")).await.expect("keeps");
        let run = Some(("a.run".to_owned(), RUN));
        store.checkpoint(&Checkpoint { run, ..empty(1, 2) }, epoch, &config).await.expect("writes");
        let names = |dir: &Path| -> Vec<String> {
            let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("lists").file_name().into_string().expect("text");
            std::fs::read_dir(dir).into_iter().flatten().map(name).collect()
        };
        let there = place.dir.path().join("there");
        if place.is_sqlite() {
            store.fetch_runs(0, &there).await.expect("has nothing to do");
            assert!(names(&there).is_empty(), "embedded they lie where they were written");
        } else {
            for what_is_there in [None, Some(&bytes[..100]), Some(&bytes[..])] {
                if let Some(what_is_there) = what_is_there {
                    std::fs::write(there.join("a.run"), what_is_there).expect("writes");
                }
                store.fetch_runs(0, &there).await.expect("fetches");
                assert_eq!(names(&there), ["a.run"]);
                assert!(std::fs::read(there.join("a.run")).expect("reads") == bytes);
            }
            std::fs::write(there.join("a.run"), &bytes[..4_096]).expect("writes");
            place.run("", "delete from identity_run_pieces where piece = 1").await;
            let error = store.fetch_runs(0, &there).await.expect_err("a part is missing").to_string();
            assert!(error.contains("a.run"), "{error}");
            assert_eq!(std::fs::read(there.join("a.run")).expect("reads").len(), 4_096, "nothing takes its place");
        }
        let forgotten_runs = vec!["a.run".to_owned()];
        store.checkpoint(&Checkpoint { forgotten_runs, ..empty(2, 3) }, epoch, &config).await.expect("writes");
        assert_eq!(store.load(0, "log", NOW).await.expect("loads").runs, []);
        store.close().await;
    }
}
