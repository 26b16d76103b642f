//! The books of each day: over HTTP, as stored, thinned by retention, and what a start does with broken ones.

use crate::derived::write_log;
use crate::store::{NOW, Place, places};
use crate::support::{Server, args, bare, now_ms, rfc3339, stores};
use crate::wire::{Fate, Wire};
use domain::aggregate::Aggregate;
use domain::engine::{ClosedWindow, Content, DayBook, Engine, EngineConfig, MemoryIdentities, Record, Tally, Totals};
use domain::event::{BodyHash, DeviceStatus, Identity, Reading, Topic};
use domain::master::Master;
use domain::milli::Milli;
use domain::time::{DAY_MS, EventTime, HOUR_MS, MINUTE_MS, ProcessingTime};
use domain::window::{Window, WindowConfig, WindowState};
use serde_json::json;
use server::blocks::encode;
use server::lifecycle;
use server::store::{Checkpoint, Retention, Store, StoreAddress, StoreError, TAKEN};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[tokio::test(flavor = "multi_thread")]
async fn each_day_over_http() {
    for store in stores().await {
        let dir = tempfile::tempdir().expect("a directory");
        let day = now_ms().div_euclid(DAY_MS) * DAY_MS - 2 * DAY_MS;
        let reading = |at: i64, milli: &str| bare("P110101-1-F1", at, milli);
        write_log(
            dir.path(),
            &[
                (day - 40 * DAY_MS, vec![reading(day - 40 * DAY_MS, "5")]),
                (day - 1, vec![reading(day - 1, "5"), "not a record".to_owned()]),
                (day, vec![reading(day - 1, "5"), reading(day, "5")]),
            ],
        );
        let options = ["--store", store.as_str(), "--checkpoint-ms", "50"];
        let mut server = Server::start_in(dir, &options).await;
        for _ in 0..2 {
            let stats = server.json("/stats?group=day").await;
            let row = |unique: u32, duplicate: u32, rejected: u32| {
                let own = json!({
                    "received": unique + duplicate + rejected, "unique_processed": unique, "duplicate_dropped": duplicate,
                    "late": 0, "rejected": rejected,
                });
                let mut row = own.clone();
                row["sources"] = json!({"test": own});
                row
            };
            let name = |day: i64| rfc3339(day)[..10].to_owned();
            assert_eq!(stats["days"], json!({(name(day - 1)): row(1, 0, 1), (name(day)): row(1, 1, 0)}), "newest 31 days");
            assert_eq!(stats["received"], 5);
            let dir = server.stop().await;
            server = Server::start_in(dir, &options).await;
        }
        server.stop().await;
    }
}

/// Counters and books of ten days that end at [`NOW`], two records each.
fn ten_days() -> Checkpoint {
    let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n";
    let regions = "level,code,parent,name\n0,ID,,Indonesia\n";
    let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n";
    let master = Arc::new(Master::parse(levels, regions, facilities).expect("parses"));
    let (mut engine, mut identities) = (Engine::new(EngineConfig::default(), &master), MemoryIdentities::default());
    for n in 0..20 {
        let record = Record {
            identity: Some(Identity(n / 4)),
            is_natural: false,
            body: BodyHash(0),
            sequence: None,
            is_numbered: false,
            topic: Some(Topic::Stock),
            source: if n % 2 == 0 { "depot" } else { "gateway" }.into(),
            content: Content::Other { at: None },
        };
        let at = NOW.plus_ms(-(9 - n as i64 / 2) * DAY_MS);
        engine.step([record], at, &mut identities, &mut Vec::new());
    }
    let days = engine.take_day_books();
    assert_eq!(days.len(), 20);
    let totals = postcard::to_stdvec(engine.totals()).expect("encodes");
    Checkpoint {
        from_block: 1,
        next_block: 21,
        now_ms: NOW.ms(),
        committed_at_ms: NOW.ms(),
        totals,
        days,
        ..Checkpoint::default()
    }
}

/// Whoever starts on books that are broken serves no number: the first broken row is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_broken_books_is_refused() {
    let newest = "day_ms = (select max(day_ms) from daily_books)";
    let oldest = "day_ms = (select min(day_ms) from daily_books)";
    let name = |ago: i64| rfc3339(NOW.plus_ms(-ago * DAY_MS).ms())[..10].to_owned();
    let tampers = [
        (
            format!("update daily_books set late = late + 1 where {oldest} and source = 'depot'"),
            format!("{} of source depot", name(9)),
        ),
        (
            format!("update daily_books set late = late + 1, received = received + 1 where {newest}"),
            format!("{} of source depot", name(0)),
        ),
        (
            format!("delete from daily_books where {newest} and source = 'gateway'"),
            format!("{} of source gateway, topic stock: it is missing", name(0)),
        ),
        (format!("delete from daily_books where {oldest} and source = 'gateway'"), "all of source gateway".to_owned()),
        (format!("update daily_books set topic = 'gps' where {oldest} and source = 'gateway'"), "all of topic gps".to_owned()),
        (format!("update daily_books set topic = 'weather' where {newest}"), "there is no topic `weather`".to_owned()),
    ];
    for (tamper, words) in tampers {
        for place in places().await {
            let store = place.open().await;
            let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
            store.checkpoint(&ten_days(), epoch, &WindowConfig::default()).await.expect("writes");
            store.load(0, "log", NOW).await.expect("loads what it wrote");
            place.run(&tamper, &tamper).await;
            let refused = store.load(0, "log", NOW).await.expect_err("refused");
            assert!(matches!(refused, StoreError::Broken { table: "daily_books", .. }), "{tamper}: {refused}");
            let told = refused.to_string();
            assert!(told.contains(&words) && (told.contains("rantai verify") || words.contains("weather")), "{tamper}: {told}");
            if !place.is_sqlite() {
                assert!(store.checked_overview().await.is_err(), "pages neither");
                // Who loads again after a gap of the feed reads no book.
                let read = store.overview().await;
                assert!(read.is_ok(), "{tamper}: {read:?}");
            }
            store.close().await;
        }
    }
}

/// Nor does whoever lacks dead letters of the newest day.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_its_dead_letters_is_refused() {
    for address in stores().await {
        let options = ["--store", address.as_str()];
        let server = Server::start_with(&options).await;
        assert_eq!(server.post_lines(format!("{{\n[\n{}", bare("d", now_ms(), "5"))).await.status, 200);
        let checked = if address == "sqlite" { json!(["C1", "C2", "C3", "C4"]) } else { json!(["C1", "C3", "C4"]) };
        assert_eq!(server.json("/stats").await["checked_at_start"], checked);
        let server = Server::start_in(server.stop().await, &options).await;
        let place = Place { dir: server.stop().await, address: address.parse().expect("an address") };
        let tamper = "delete from side_blocks";
        place.run(tamper, tamper).await;
        let error = format!("{:#}", lifecycle::start(&args(place.dir.path(), &options)).await.err().expect("refused"));
        assert!(error.contains("C4: 2 records were rejected on the newest day, and 0 dead letters"), "{error}");
    }
}

/// Nor does whoever has windows of the last day that nobody counted: on Postgres `verify` tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_other_windows_is_refused() {
    let server = Server::start().await;
    let now = now_ms();
    let lines: Vec<String> = (0..300).map(|n| bare("d", now - n * 10_000, "5")).collect();
    assert_eq!(server.post_lines(lines.join("\n")).await.status, 200);
    let server = Server::start_in(server.stop().await, &[]).await;
    let place = Place { dir: server.stop().await, address: StoreAddress::Sqlite };
    let (hour, mut aggregate) = (now - now % HOUR_MS, Aggregate::default());
    aggregate.add(&Reading {
        at: EventTime::from_ms(hour),
        temperature: Milli(5_000),
        humidity: None,
        battery: None,
        status: DeviceStatus::Ok,
    });
    let window = Window { start: hour, version: 1, state: WindowState::Final, aggregate };
    let closed = ClosedWindow { device: 0, definition: 0, window };
    let blocks = encode([closed].iter(), 10_000);
    let data = server::hex::hex(&blocks[0].data);
    let tamper = format!(
        "insert into window_blocks (size_ms, first_device, last_device, first_start_ms, last_start_ms, windows, is_merged, data)
         values (10000, 0, 0, {hour}, {hour}, 1, 0, x'{data}')"
    );
    place.run(&tamper, &tamper).await;
    let error = format!("{:#}", lifecycle::start(&args(place.dir.path(), &[])).await.err().expect("refused"));
    assert!(error.contains("C2: ") && error.contains("its windows of 10 s hold "), "{error}");
}

/// What retention may have taken of the last day is missed by no start.
#[tokio::test(flavor = "multi_thread")]
async fn windows_gone_for_their_age_are_not_missed() {
    for place in places().await {
        let store = place.open().await;
        let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        store.checkpoint(&ten_days(), epoch, &WindowConfig::default()).await.expect("writes");
        let snapshot = store.load(0, "log", NOW).await.expect("loads");
        let kept_from = snapshot.held.map(|held| (held.from(), held.from() - (snapshot.now.ms() - DAY_MS)));
        assert_eq!(kept_from.is_some(), place.is_sqlite());
        assert!(kept_from.is_none_or(|(_, after)| (0..HOUR_MS).contains(&after)), "{kept_from:?}");
        // Nothing came in for ten hours and a half.
        let now = snapshot.now.plus_ms(10 * HOUR_MS + HOUR_MS / 2);
        store.forget(now, &Retention { windows_days: 1, ..Retention::default() }).await.expect("deletes");
        let held = store.load(0, "log", NOW).await.expect("loads").held;
        let after = held.map(|held| held.from() - (now.ms() - DAY_MS));
        assert!(after.is_none_or(|after| (0..HOUR_MS).contains(&after)), "{after:?}");
        store.close().await;
    }
}

/// Retention takes days and leaves their sum, but never the newest day.
#[tokio::test(flavor = "multi_thread")]
async fn what_retention_takes_stays_in_the_sum() {
    for place in places().await {
        let store = place.open().await;
        let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        store.checkpoint(&ten_days(), epoch, &WindowConfig::default()).await.expect("writes");
        let keep = Retention { side_days: 3, ..Retention::default() };
        for (now, kept) in [(NOW, 4), (NOW, 4), (NOW.plus_ms(DAY_MS), 3), (ProcessingTime::from_ms(NOW.ms() + 99 * DAY_MS), 1)] {
            // Every process does, and they may do so at once.
            let forget = || store.forget(now.plus_ms(MINUTE_MS), &keep);
            let (one, two, three) = tokio::join!(forget(), forget(), forget());
            one.and(two).and(three).expect("deletes");
            let books = store.day_books(Some(0), i64::MIN).await.expect("reads");
            let (taken, days): (Vec<_>, Vec<_>) = books.iter().partition(|(_, book)| book.day_ms == TAKEN);
            assert_eq!((taken.len(), days.len()), (2, 2 * kept), "{books:?}");
            assert_eq!(books.iter().map(|(_, book)| book.tally.received).sum::<u64>(), 20);
            store.load(0, "log", NOW).await.expect("it still agrees with the counters");
        }
        store.close().await;
    }
}

/// As many sources as are told apart, each with records of the day: a handful of statements, and each book is replaced by its successor.
#[tokio::test(flavor = "multi_thread")]
async fn books_of_many_sources_are_one_statement() {
    for place in places().await {
        let wire = match &place.address {
            StoreAddress::Sqlite => None,
            StoreAddress::Postgres(url) => Some(Wire::new(url)),
        };
        let address = wire.as_ref().map_or(place.address.clone(), |wire| wire.url.parse().expect("an address"));
        let store = Store::open(&address, place.dir.path()).await.expect("opens");
        let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        for times in 1..=2u64 {
            let (mut totals, mut books) = (Totals::default(), Vec::new());
            for n in 0..10_000 {
                let (source, topic) = (format!("gateway {n}"), n % 5);
                let tally = Tally { received: 3 * times, accepted: times, duplicate: times, rejected: times, ..Tally::default() };
                totals.all.add(&tally);
                totals.by_topic[usize::from(topic as u8)].add(&tally);
                totals.by_source.push((source.clone(), tally));
                totals.heard_from.push(ProcessingTime::from_ms(0));
                books.push(DayBook { day_ms: TAKEN, source, topic: topic as u8, tally });
            }
            let checkpoint = Checkpoint {
                from_block: times,
                next_block: times + 1,
                now_ms: NOW.ms(),
                committed_at_ms: NOW.ms(),
                totals: postcard::to_stdvec(&totals).expect("encodes"),
                days: Arc::new(books.clone()),
                ..Checkpoint::default()
            };
            let said = Arc::new(AtomicU64::new(0));
            if let Some(wire) = &wire {
                let said = Arc::clone(&said);
                wire.judge(move |_| {
                    said.fetch_add(1, Ordering::Relaxed);
                    Fate::Passes
                });
            }
            store.checkpoint(&checkpoint, epoch, &WindowConfig::default()).await.expect("writes");
            assert!(said.load(Ordering::Relaxed) < 100, "{said:?} messages");
            let mut found: Vec<DayBook> =
                store.day_books(Some(0), i64::MIN).await.expect("reads").into_iter().map(|(_, book)| book).collect();
            found.sort_unstable();
            books.sort_unstable();
            assert!(found == books, "each is there as it stands");
            store.check_days(0, &totals).await.expect("they agree");
        }
        store.close().await;
    }
}
