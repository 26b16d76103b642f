//! Trackers and the thermometers that travel with them: in one log and in several partitions of Kafka's, and pairings that change.

use crate::kafka::{Place, SECOND, ends};
use crate::kafka_rebuild::{rebuild, rebuild_with};
use crate::kafka_verify::{assert_whole, verified};
use crate::kill::Program;
use crate::support::{Server, bare, now_ms, stores, until};
use crate::verify::{MASTER, check};
use domain::engine::{Derived, EngineConfig};
use domain::join::Located;
use domain::window::WindowConfig;
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::Value;
use server::kafka::KafkaConfig;
use server::pipeline::PARTITION;
use server::rebuild::rebuild as rebuild_log;
use server::store::{DerivedKind, Store, StoreAddress};
use sqlx::PgPool;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

const MINUTE: i64 = 60_000;
const TRACKER: &str = "truck";
/// Some of them lie in other partitions than their tracker; one is registered.
const DEVICES: [&str; 6] = ["box-0", "box-1", "box-2", "box-3", "box-4", "P110101-1-F1"];

/// A file with pairings of the tracker with these devices.
fn paired(dir: &Path, devices: &[&str]) -> String {
    let mut text = String::new();
    for device in devices {
        write!(text, "[[pairings]]\ntracker = '{TRACKER}'\ndevice = '{device}'\n").expect("writes");
    }
    let path = dir.join(format!("{}.toml", devices.len()));
    std::fs::write(&path, text).expect("writes");
    path.to_str().expect("a plain name").to_owned()
}

fn fix(base: i64, minute: i64) -> String {
    let properties = format!(r#"{{"device_id":"{TRACKER}","ts":{}}}"#, base + minute * MINUTE);
    let place = format!("107.{:03},-6.8", minute + 100);
    format!(r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[{place}]}},"properties":{properties}}}"#)
}

/// What all of them send in these minutes, minute by minute.
fn sent(base: i64, minutes: std::ops::Range<i64>) -> Vec<Vec<String>> {
    let minute = |minute: i64| {
        let mut lines: Vec<String> = DEVICES.iter().map(|id| bare(id, base + minute * MINUTE + 20_000, "4.5")).collect();
        if minute % 3 == 0 {
            lines.push(fix(base, minute));
        }
        lines
    };
    minutes.map(minute).collect()
}

/// By device, where its readings were taken; what is there twice is an error.
async fn located(store: &Store) -> BTreeMap<String, Vec<Located>> {
    let mut ids = BTreeMap::new();
    for of in store.overview().await.expect("reads") {
        ids.extend(of.devices.into_iter().map(|(index, state)| ((of.partition, index), state.id)));
    }
    let mut all: BTreeMap<String, BTreeSet<Located>> = BTreeMap::new();
    let each = |partition, closed: domain::engine::ClosedDerived| {
        if let Derived::Located(located) = closed.derived {
            let id = &ids[&(partition, closed.device)];
            assert!(all.entry(id.to_string()).or_default().insert(located), "{located:?} of {id} is there twice");
        }
    };
    let everything = (i64::MIN / 2, i64::MAX / 2);
    store.derived_by_partition(DerivedKind::Located, None, (0, u32::MAX), everything, each).await.expect("reads");
    all.into_iter().map(|(id, located)| (id, located.into_iter().collect())).collect()
}

async fn open(postgres: &str) -> Store {
    let address: StoreAddress = postgres.parse().expect("an address");
    Store::open(&address, Path::new(".")).await.expect("opens")
}

/// An engine with these pairings, in a process of its own.
async fn engine(place: &Place, dir: &Path, pairings: &str) -> Program {
    let mut options = place.options("engine");
    options.extend(["--config".to_owned(), pairings.to_owned()]);
    Program::start_with(dir, &options.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Waits until every partition has noted so many pairings.
async fn noted(store: &Store, pairings: usize) {
    until(&format!("{pairings} pairings to be noted everywhere"), async || {
        let all = store.overview().await.expect("reads");
        let is_noted = |of: &server::store::Overview| of.totals.pairings.len() == pairings;
        // As many of ours as of somebody else's topic.
        (all.len() == 6 && all.iter().all(is_noted)).then_some(())
    })
    .await;
}

async fn positions(postgres: &str) -> i64 {
    let pool = PgPool::connect(postgres).await.expect("connects");
    let rows = sqlx::query_scalar("select count(*) from bi.positions").fetch_one(&pool).await.expect("reads");
    pool.close().await;
    rows
}

/// A tracker and what travels with it lie in several partitions, and an engine is killed between fixes and the readings that they belong to:
/// the same as on one log.
#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_in_another_partition() {
    let Some(place) = Place::new().await else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let pairings = paired(dir.path(), &DEVICES);
    let embedded = stores().await.remove(1);
    let here = Server::start_with(&["--store", &embedded, "--config", &pairings, "--checkpoint-ms", "100"]).await;
    let there = place.server("web,ingest").await;
    let store = place.store().await;
    let one = engine(&place, &dir.path().join("one"), &pairings).await;
    noted(&store, DEVICES.len()).await;

    let base = now_ms() - 180 * MINUTE;
    let mut received = 0;
    let mut post = async |minutes| {
        for lines in sent(base, minutes) {
            received += lines.len() as u64;
            let body = lines.join("\n");
            assert_eq!((here.post_lines(body.clone()).await.status, there.post_lines(body).await.status), (200, 202));
        }
        received
    };
    let first = post(0..40).await;
    place.stored(first / 3).await;
    // Whatever it has handed on, and not covered by a checkpoint, is handed on again by the other one.
    let two = engine(&place, &dir.path().join("two"), &pairings).await;
    one.kill();
    let all = post(40..90).await;
    place.stored(all).await;
    let own = open(&embedded).await;
    let settled = |places: &BTreeMap<String, Vec<Located>>| places.values().map(Vec::len).sum::<usize>();
    let expected = until("the embedded log to have settled", async || {
        let places = located(&own).await;
        // Readings to the minute 87 - 15 are, of each.
        (settled(&places) == DEVICES.len() * 72).then_some(places)
    })
    .await;
    until("the same in several partitions", async || (located(&store).await == expected).then_some(())).await;
    let placed = expected.values().flatten().filter(|located| located.fix.is_some()).count();
    assert_eq!(placed, DEVICES.len() * 72);

    // It was about several partitions.
    let home = |of: &server::store::Overview, id: &str| {
        of.devices.iter().any(|(_, state)| state.id == id && state.received_at.is_some()).then_some(of.partition)
    };
    let overview = store.overview().await.expect("reads");
    let homes: Vec<u32> = DEVICES.iter().map(|id| overview.iter().find_map(|of| home(of, id)).expect("it was heard")).collect();
    let of_tracker = overview.iter().find_map(|of| home(of, TRACKER)).expect("it was heard");
    assert!(homes.iter().any(|home| *home != of_tracker), "all lie where the tracker does: {homes:?}");
    // Fixes that were handed on are no records.
    let totals = crate::kafka::totals(&store).await;
    assert_eq!((totals.all.received, totals.all.accepted), (all, all));
    assert_eq!((positions(&place.postgres).await, positions(&embedded).await), (30, 30));
    // Pages know where everything is, wherever it lies.
    for id in DEVICES {
        let path = format!("/api/v1/positions?device_id={id}");
        let told = until("pages to know it", async || {
            let [here, there] = [here.json(&path).await, there.json(&path).await];
            (here["positions"].as_array().is_some_and(|all| all.len() == 72) && here == there).then_some(there)
        })
        .await;
        assert_ne!(told["now"], Value::Null, "{id}");
    }
    there.stop().await;
    here.stop().await;

    // Other pairings: of those that travel no more what waits is settled.
    let less = paired(dir.path(), &DEVICES[..2]);
    stop(two).await;
    let three = engine(&place, &dir.path().join("three"), &less).await;
    noted(&store, 2).await;
    stop(three).await;
    let after = located(&store).await;
    assert_eq!((after["box-0"].len(), after["box-4"].len()), (72, 90));
    assert_whole(&verified(&place).await.expect("tells"));

    // From the messages alone, and without anything that was there before.
    rebuild(&place).expect("rebuilds");
    assert_eq!(located(&store).await, after);
    assert_whole(&verified(&place).await.expect("tells"));
    store.close().await;
    own.close().await;
}

async fn stop(mut engine: Program) {
    engine.terminate();
    assert!(engine.ended().await.success(), "an engine stops in order");
}

/// What was refused for want of room is handed on by the rebuild that has room for it.
#[tokio::test(flavor = "multi_thread")]
async fn more_room_hands_on_what_was_refused() {
    let Some(place) = Place::new().await else { return };
    let dir = tempfile::tempdir().expect("a directory");
    // The note of its pairing takes the only room in each partition, also in that of its tracker.
    let file = |room: u32| {
        let path = dir.path().join(format!("room-{room}.toml"));
        let pairing = format!("[[pairings]]\ntracker = '{TRACKER}'\ndevice = 'box-0'\n");
        std::fs::write(&path, format!("max_unregistered = {room}\n{pairing}")).expect("writes");
        path.to_str().expect("a plain name").to_owned()
    };
    let (little, more) = (file(1), file(5));
    let one = engine(&place, &dir.path().join("one"), &little).await;
    let store = place.store().await;
    noted(&store, 1).await;
    let base = now_ms() - 180 * MINUTE;
    let producer = place.producer();
    for minute in 0..20 {
        let fix = fix(base, 3 * minute);
        producer.send(BaseRecord::to(&place.kafka.topics).partition(1).key(TRACKER).payload(&fix)).expect("takes it");
    }
    producer.flush(10 * SECOND).expect("is acknowledged");
    let intake = place.server("ingest").await;
    let readings: Vec<String> = (0..30).map(|minute| bare("box-0", base + minute * MINUTE, "4.5")).collect();
    assert_eq!(intake.post_lines(readings.join("\n")).await.status, 202);
    intake.stop().await;
    let found = place.stored(50).await.all;
    assert_eq!((found.accepted, found.rejected), (30, 20));
    stop(one).await;
    assert_eq!(located(&store).await, BTreeMap::new());

    let before = ends(&place);
    rebuild_with(&place, &["--config", &more]).expect("rebuilds");
    let after = ends(&place);
    assert_eq!(after.iter().sum::<i64>() - before.iter().sum::<i64>(), 20);
    // With the same room once more nothing is new.
    rebuild_with(&place, &["--config", &more]).expect("rebuilds");
    assert_eq!(ends(&place), after);
    assert_eq!(place.stored(50).await.all.accepted, 50);
    let two = engine(&place, &dir.path().join("two"), &more).await;
    let places =
        until("its readings to be placed", async || located(&store).await.remove("box-0").filter(|all| all.len() == 30)).await;
    assert!(places.iter().all(|located| located.fix.is_some()), "{places:?}");
    stop(two).await;
    store.close().await;
}

/// Two installations read one topic of somebody else's: neither takes what the other notes there for its own.
#[tokio::test(flavor = "multi_thread")]
async fn two_installations_on_one_topic() {
    let Some(one) = Place::new().await else { return };
    let Some(Place { kafka, postgres }) = Place::new().await else { return };
    let shared = one.kafka.topics.clone();
    let two = Place { kafka: KafkaConfig { topics: shared.clone(), ..kafka }, postgres };
    let dir = tempfile::tempdir().expect("a directory");
    let engines = [
        engine(&one, &dir.path().join("one"), &paired(dir.path(), &DEVICES[..1])).await,
        engine(&two, &dir.path().join("two"), &paired(dir.path(), &DEVICES[..2])).await,
    ];
    let (store, other) = (one.store().await, two.store().await);
    let producer = one.producer();
    let base = now_ms() - 60 * MINUTE;
    let mut sent = 0;
    for minute in 0..8 {
        // In each partition, so that both have read up to there.
        for partition in 0..3 {
            let fix = fix(base, 10 * minute + i64::from(partition));
            producer.send(BaseRecord::to(&shared).partition(partition).key(TRACKER).payload(&fix)).expect("takes it");
            sent += 1;
        }
        producer.flush(10 * SECOND).expect("is acknowledged");
        one.stored(sent).await;
        two.stored(sent).await;
        noted(&store, 1).await;
        noted(&other, 2).await;
    }
    // Each has the note of the other in its partitions by now, and goes by its own.
    for (store, pairings) in [(&store, 1), (&other, 2)] {
        let all = store.overview().await.expect("reads");
        assert!(all.iter().all(|of| of.totals.pairings.len() == pairings));
    }
    for engine in engines {
        stop(engine).await;
    }
    for place in [&one, &two] {
        assert_whole(&verified(place).await.expect("tells"));
    }
    let lived = located(&store).await;
    rebuild(&one).expect("rebuilds");
    assert_eq!(located(&store).await, lived);
    assert_whole(&verified(&one).await.expect("tells"));
    store.close().await;
    other.close().await;
}

/// Pairings that are added, changed and taken away later: on every store, `verify` finds nothing, and a rebuild makes the same.
#[tokio::test(flavor = "multi_thread")]
async fn pairings_that_come_later() {
    for store in stores().await {
        let dir = tempfile::tempdir().expect("a directory");
        let files = tempfile::tempdir().expect("a directory");
        let base = now_ms() - 300 * MINUTE;
        let mut at = 0;
        let mut dir = Some(dir);
        for devices in [&[][..], &DEVICES[..1], &DEVICES[..3], &DEVICES[2..], &[]] {
            let pairings = paired(files.path(), devices);
            let options = ["--store", &store, "--config", &pairings, "--checkpoint-ms", "50"];
            let server = Server::start_in(dir.take().expect("it comes back"), &options).await;
            for lines in sent(base, at..at + 30) {
                server.accept(&lines).await;
            }
            at += 30;
            dir = Some(server.stop().await);
            let report = check(dir.as_ref().expect("it is here").path(), &store).await;
            assert_eq!(report.first_broken(), None, "{report}");
        }
        let dir = dir.expect("it came back");
        let opened = Store::open(&store.parse().expect("an address"), dir.path()).await.expect("opens");
        let lived = opened.dump(&WindowConfig::default()).await.expect("dumps");
        assert!(lived.contains("Located("), "{lived}");
        rebuild_log(dir.path(), &opened, &MASTER, &EngineConfig::default()).await.expect("rebuilds");
        assert_eq!(opened.dump(&WindowConfig::default()).await.expect("dumps"), lived);
        opened.close().await;
    }
}

/// Who decides of a dead letter while no server runs was perhaps not told of any pairings: they stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_changes_no_pairings() {
    let files = tempfile::tempdir().expect("a directory");
    let pairings = paired(files.path(), &DEVICES[..2]);
    let server = Server::start_with(&["--config", &pairings]).await;
    server.post_lines("{").await;
    let dir = server.stop().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_rantai"));
    command.args(["dead-letter", "discard", "1", "--by", "Sari", "--reason", "noise", "--data-dir"]).arg(dir.path());
    let done = command.env("RUST_LOG", "error").output().expect("runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
    let log = server::log::id(&dir.path().join("log")).expect("it has a name");
    let state = store.peek(PARTITION, &log).await.expect("reads").expect("it is there");
    assert_eq!((state.totals.pairings.len(), state.decided.len()), (2, 1));
    store.close().await;
}
