//! Several processes share a store, and what is old is deleted once, by the log's time and no sooner than any engine wants.

use crate::kafka::Place;
use crate::store::empty;
use crate::support::Server;
use domain::aggregate::Aggregate;
use domain::engine::ClosedWindow;
use domain::time::{DAY_MS, ProcessingTime};
use domain::window::{Window, WindowConfig, WindowState};
use server::store::{Checkpoint, Retention, Store, StoreAddress};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;

/// The log's time: long ago by the clock of every process.
const NOW: i64 = 20_000 * DAY_MS;
/// A partition that nobody reads.
const PARTITION: u32 = 900;

/// Days before [`NOW`] of which there are windows.
async fn days(postgres: &str) -> Vec<i64> {
    let mut connection = PgConnection::connect(postgres).await.expect("connects");
    let starts: Vec<i64> =
        sqlx::query_scalar("select start_ms from windows order by 1").fetch_all(&mut connection).await.expect("answers");
    starts.into_iter().map(|start| (NOW - start) / DAY_MS).collect()
}

/// What is left once processes of `roles` that want windows to be kept for so many days have started and ended.
async fn left_by(place: &Place, roles: &str, keep: &str) -> Vec<i64> {
    let options = place.options(roles);
    let options: Vec<&str> = options.iter().map(String::as_str).chain(["--keep-windows-days", keep]).collect();
    // The first thing that it does, and it ends in order.
    Server::start_with(&options).await.stop().await;
    days(&place.postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_deletes_by_its_own_clock_or_will() {
    let Some(place) = Place::new().await else { return };
    let store = place.store().await;
    let config = WindowConfig::default();
    let epoch = store.load(PARTITION, "log", ProcessingTime::from_ms(NOW)).await.expect("loads").epoch;
    let window = |ago: i64| {
        let aggregate = Aggregate::default();
        let window = Window { start: NOW - ago * DAY_MS, version: 1, state: WindowState::Final, aggregate };
        ClosedWindow { device: 0, definition: 0, window }
    };
    let windows = Arc::new(vec![window(100), window(5)]);
    let first = Checkpoint { partition: PARTITION, now_ms: NOW, committed_at_ms: NOW, windows, ..empty(1, 2) };
    store.checkpoint(&first, epoch, &config).await.expect("writes");
    assert_eq!(left_by(&place, "web,ingest", "1").await, [100, 5], "who shows and takes in deletes nothing");
    assert_eq!(left_by(&place, "engine", "30").await, [5], "long ago by the clock, and not by the log");
    assert_eq!(left_by(&place, "engine", "3").await, [5], "another engine wants it");
    // The other one was not heard of for more than a week.
    let later = Checkpoint { partition: PARTITION, now_ms: NOW + 8 * DAY_MS, committed_at_ms: NOW, ..empty(2, 3) };
    store.checkpoint(&later, epoch, &config).await.expect("writes");
    assert_eq!(left_by(&place, "engine", "3").await, Vec::<i64>::new());
    store.close().await;
}

/// One clock that is ahead, a broker's or that of a process, makes nothing old.
#[tokio::test(flavor = "multi_thread")]
async fn the_earlier_of_two_clocks_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
    let at = |days: i64| ProcessingTime::from_ms(NOW + days * DAY_MS);
    assert_eq!(store.agreed_time(at(0)).await.expect("answers"), None, "nothing was stored");
    for (partition, now_ms) in [(1, NOW), (2, NOW - DAY_MS)] {
        let epoch = store.load(partition, "log", at(0)).await.expect("loads").epoch;
        let checkpoint = Checkpoint { partition, now_ms, ..empty(1, 2) };
        store.checkpoint(&checkpoint, epoch, &WindowConfig::default()).await.expect("writes");
    }
    for (clock, agreed) in [(400, 0), (0, 0), (-400, -400)] {
        assert_eq!(store.agreed_time(at(clock)).await.expect("answers"), Some(at(agreed)));
    }
    let keep = |windows_days, side_days| Retention { windows_days, side_days, ..Retention::default() };
    for (name, wants, day, agreed) in [
        ("a", keep(30, 9), 0, keep(30, 9)),
        ("b", keep(7, 90), 1, keep(30, 90)),
        ("b", keep(7, 8), 6, keep(30, 9)),
        ("b", keep(7, 8), 8, keep(7, 8)),
        ("a", keep(30, 1), 9, keep(30, 8)),
    ] {
        assert_eq!(store.agree_on_retention(name, &wants, at(day)).await.expect("answers"), agreed, "{name} on day {day}");
    }
    store.close().await;
}
