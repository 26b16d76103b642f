//! Kafka as the log, on the real broker that the variable `RANTAI_TEST_KAFKA` names and a Postgres, as `cargo xtask test` sees to;
//! what only a broker's failure shows, on brokers that the client library plays.

use crate::equivalence::{stream, written};
use crate::kill::Program;
use crate::live::Stream;
use crate::support::{Random, Server, bare, envelope, now_ms, slot_now, stores, until};
use domain::engine::{Tally, Totals};
use domain::window::{Window, WindowConfig};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};
use server::kafka::setup::{AcceptGapArgs, SetupArgs, accept_gap, setup};
use server::kafka::{KafkaConfig, watermarks};
use server::side::{Cause, DEAD, SideRow};
use server::store::{Store, StoreAddress};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const SECOND: Duration = Duration::from_secs(1);
const PARTITIONS: i32 = 3;
pub const SETUP: SetupArgs = SetupArgs { partitions: PARTITIONS, replication: 1, keep_days: 7, check: false };

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Topics of their own and an empty database.
pub struct Place {
    pub kafka: KafkaConfig,
    pub postgres: String,
}

impl Place {
    /// `None`, and a word about it, where there is no broker or no Postgres.
    pub async fn new() -> Option<Self> {
        let Ok(brokers) = std::env::var("RANTAI_TEST_KAFKA") else {
            eprintln!("Without RANTAI_TEST_KAFKA nothing on a real broker is tested.");
            return None;
        };
        Self::on(brokers, 1, &[]).await
    }

    /// On brokers of which each message shall have so many copies; with options of the client library.
    pub async fn on(brokers: String, replication: i32, options: &[&str]) -> Option<Self> {
        let place = Self::without_topics(brokers, options).await?;
        setup(&place.kafka, &SetupArgs { replication, ..SETUP }).await.expect("sets up");
        Some(place)
    }

    pub async fn without_topics(brokers: String, options: &[&str]) -> Option<Self> {
        let postgres = stores().await.into_iter().nth(1)?;
        let prefix = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let topics = format!("{prefix}-plain");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let kafka = KafkaConfig { brokers, prefix, topics, options };
        Some(Self { kafka, postgres })
    }

    pub fn options(&self, roles: &str) -> Vec<String> {
        let KafkaConfig { brokers, prefix, topics, .. } = &self.kafka;
        let options = ["--log", "kafka", "--kafka-brokers", brokers, "--kafka-prefix", prefix, "--kafka-topics", topics];
        let more = ["--store", &self.postgres, "--roles", roles, "--checkpoint-ms", "100"];
        let library = self.kafka.options.iter().flat_map(|option| ["--kafka-option", option]);
        options.into_iter().chain(more).chain(library).map(str::to_owned).collect()
    }

    pub async fn server(&self, roles: &str) -> Server {
        let options = self.options(roles);
        Server::start_with(&options.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    pub async fn program(&self, dir: &std::path::Path, roles: &str) -> Program {
        let options = self.options(roles);
        Program::start_with(dir, &options.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    pub async fn store(&self) -> Store {
        let address: StoreAddress = self.postgres.parse().expect("an address");
        Store::open(&address, std::path::Path::new(".")).await.expect("opens")
    }

    /// A client of somebody else's.
    pub fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.kafka.brokers);
        client
    }

    /// Idempotent: what it sends again after a slow answer is there once, and offsets are those that a test counts on.
    pub fn producer(&self) -> BaseProducer {
        self.client().set("enable.idempotence", "true").create().expect("a producer")
    }

    /// A key for a program that takes records in.
    pub async fn key(&self) -> String {
        let store = self.store().await;
        let key = store.create_key("load", None, "ingest", now_ms()).await.expect("makes a key");
        store.close().await;
        key
    }

    /// Waits until engines have stored the outcome of so many records.
    pub async fn stored(&self, received: u64) -> Totals {
        let store = self.store().await;
        let totals = until(&format!("{received} records to be stored"), async || {
            let totals = totals(&store).await;
            (totals.all.received >= received).then_some(totals)
        })
        .await;
        store.close().await;
        totals
    }
}

/// The partitions that a process has, as it says; none once it has ended.
async fn owned(engine: &Program) -> Vec<(String, i32)> {
    let Ok(answer) = reqwest::get(format!("{}/metrics", engine.url)).await else { return Vec::new() };
    let text = answer.text().await.unwrap_or_default();
    let labels = text.lines().filter_map(|line| line.strip_prefix("rantai_partition_running{")?.split_once('}'));
    let value = |labels: &str, name: &str| -> String {
        let (_, rest) = labels.split_once(&format!("{name}=\"")).expect("a label");
        rest.split_once('"').expect("a text").0.to_owned()
    };
    labels.map(|(labels, _)| (value(labels, "topic"), value(labels, "partition").parse().expect("a number"))).collect()
}

/// Ends of the partitions to which admission writes.
pub fn ends(place: &Place) -> Vec<i64> {
    let consumer: BaseConsumer = place.client().create().expect("a consumer");
    let topic = place.kafka.events();
    let metadata = consumer.fetch_metadata(Some(&topic), 10 * SECOND).expect("the broker answers");
    let partitions = metadata.topics()[0].partitions().len() as i32;
    (0..partitions).map(|p| watermarks(consumer.client(), &topic, p).expect("the broker answers").1).collect()
}

/// Reason and bytes of dead letters, by position.
pub type Letters = BTreeMap<u64, (String, Vec<u8>)>;

/// The dead letters that engines have told other programs of; some perhaps more than once, and then the same.
pub fn told_letters(place: &Place) -> Letters {
    let consumer: BaseConsumer = place.client().set("group.id", "none").create().expect("a consumer");
    let topic = place.kafka.dead_letters();
    let metadata = consumer.fetch_metadata(Some(&topic), 10 * SECOND).expect("the broker answers");
    let (mut all, mut left, mut letters) = (TopicPartitionList::new(), 0, Letters::new());
    for partition in metadata.topics()[0].partitions() {
        all.add_partition_offset(&topic, partition.id(), Offset::Beginning).expect("an offset");
        left += watermarks(consumer.client(), &topic, partition.id()).expect("the broker answers").1;
    }
    consumer.assign(&all).expect("assigns");
    while left > 0 {
        let message = consumer.poll(10 * SECOND).expect("there are more").expect("reads");
        let header = |key: &str| {
            let value = message.headers()?.iter().find(|header| header.key == key)?.value?;
            Some(std::str::from_utf8(value).expect("a text").to_owned())
        };
        let position: u64 = std::str::from_utf8(message.key().expect("a key")).expect("a text").parse().expect("a number");
        assert_eq!(header("offset"), Some((position / 1_024 - 1).to_string()));
        assert!(header("topic").is_some_and(|topic| place.kafka.inputs().contains(&topic)));
        assert!(["partition", "source", "field", "received_at"].iter().all(|key| header(key).is_some()));
        let letter = (header("reason").expect("a reason"), message.payload().unwrap_or_default().to_vec());
        assert!(letters.insert(position, letter.clone()).is_none_or(|before| before == letter));
        left -= 1;
    }
    letters
}

/// Those that are stored.
pub async fn stored_letters(store: &Store) -> Letters {
    let rows = store.side_after(DEAD, 0, usize::MAX >> 1).await.expect("reads");
    let letter = |row: SideRow| match row.cause {
        Cause::Rejected { reason, .. } => (row.position, (reason.name().to_owned(), row.raw)),
        Cause::Late { .. } => panic!("a late record among dead letters"),
    };
    rows.into_iter().map(letter).collect()
}

/// Sums over all partitions.
pub async fn totals(store: &Store) -> Totals {
    let mut sum = Totals::default();
    for of in store.overview().await.expect("reads") {
        for (to, from) in std::iter::once((&mut sum.all, &of.totals.all)).chain(sum.by_topic.iter_mut().zip(&of.totals.by_topic))
        {
            add(to, from);
        }
        sum.by_reason.iter_mut().zip(&of.totals.by_reason).for_each(|(to, from)| *to += from);
        sum.closed_windows += of.totals.closed_windows;
    }
    sum
}

fn add(to: &mut Tally, from: &Tally) {
    to.received += from.received;
    to.accepted += from.accepted;
    to.duplicate += from.duplicate;
    to.late += from.late;
    to.rejected += from.rejected;
}

/// Every window, open or closed, by device, definition and start.
async fn windows(store: &Store) -> BTreeMap<(String, u8, i64), Window> {
    let config = WindowConfig::default();
    let mut ids = BTreeMap::new();
    let mut all = BTreeMap::new();
    let mut put = |key: (String, u8, i64), window: Window| assert_eq!(all.insert(key.clone(), window), None, "{key:?} twice");
    for of in store.overview().await.expect("reads") {
        for (index, state) in of.devices {
            for definition in 0..config.definitions().len() {
                for window in state.windows.windows(&config, definition) {
                    put((state.id.to_string(), definition as u8, window.start), window);
                }
            }
            ids.insert((of.partition, index), state.id);
        }
    }
    for (definition, of) in (0u8..).zip(config.definitions()) {
        let each = |partition, closed: domain::engine::ClosedWindow| {
            put((ids[&(partition, closed.device)].to_string(), definition, closed.window.start), closed.window);
        };
        let everything = (definition, of.size_ms);
        store.windows_by_partition(everything, None, (0, u32::MAX), i64::MIN, i64::MAX, each).await.expect("reads");
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_as_on_the_embedded_log() {
    let Some(place) = Place::new().await else { return };
    let embedded = stores().await.remove(1);
    let here = Server::start_with(&["--store", &embedded]).await;
    let there = place.server("ingest,engine").await;
    let mut random = Random(11);
    let records = stream(&mut random, now_ms());
    let mut ahead = records.as_slice();
    let broken = r#"{"temperature":1,"device_id":"dev-1" "ts":1}"#;
    let mut sent = 0;
    while !ahead.is_empty() {
        let (batch, others) = ahead.split_at((1 + random.below(150) as usize).min(ahead.len()));
        ahead = others;
        let mut lines: Vec<String> = batch.iter().map(written).collect();
        if random.one_in(9) {
            // Those after the first name nothing and come again and again.
            lines.extend([broken.replace("1}", &format!("{sent}}}")), "[1,\n2]".to_owned(), "{\n}".to_owned()]);
        }
        sent += lines.len() as u64;
        let body = format!("[{}]", lines.join(",\n"));
        let (told, queued) = (here.post(body.clone()).await, there.post(body).await);
        assert_eq!((told.status, queued.status), (200, 202), "{} {}", told.text, queued.text);
        let queued = queued.json();
        assert_eq!(queued["received"], lines.len());
        assert_eq!(
            queued["queued"].as_u64().expect("a number") + queued["rejected"].as_u64().expect("a number"),
            lines.len() as u64
        );
        // What admission rejects it tells at once; what only the engine knows, times and identities, it does not.
        let known = queued["rejections"].as_array().expect("a list");
        let told = told.json()["rejections"].as_array().expect("a list").clone();
        let of_admission = |rejection: &&serde_json::Value| {
            let reason = rejection["reason"].as_str().expect("a text");
            !["future", "clock_reset", "too_old", "id_conflict", "conflicting_reading"].contains(&reason)
        };
        for rejection in told.iter().filter(of_admission) {
            assert!(known.contains(rejection), "{rejection}");
        }
    }
    let found = place.stored(sent).await;
    there.stop().await;
    here.stop().await;
    let embedded: StoreAddress = embedded.parse().expect("an address");
    let embedded = Store::open(&embedded, std::path::Path::new(".")).await.expect("opens");
    let expected = totals(&embedded).await;
    assert_eq!(found.all, expected.all);
    assert!([found.all.accepted, found.all.duplicate, found.all.late, found.all.rejected].iter().all(|n| *n > 20));
    assert_eq!((found.by_topic, found.by_reason), (expected.by_topic, expected.by_reason));
    let store = place.store().await;
    assert_eq!(store.overview().await.expect("reads").len(), PARTITIONS as usize * 2, "every partition of both topics is owned");
    assert_eq!(windows(&store).await, windows(&embedded).await);
    let hours = async |store: &Store| {
        let mut sums = BTreeMap::new();
        for (start, cells) in store.overview().await.expect("reads").into_iter().flat_map(|of| of.hours) {
            *sums.entry(start).or_insert(0u64) += u64::from(cells.cell(0).expect("the country").readings);
        }
        sums
    };
    assert_eq!(hours(&store).await, hours(&embedded).await);
    let letters = stored_letters(&store).await;
    assert_eq!(letters.len() as u64, found.all.rejected);
    assert_eq!(told_letters(&place), letters);
    store.close().await;
    embedded.close().await;
}

/// Others write to their own topic, with keys and without, twice, and what is no record at all; engines come and go.
#[tokio::test(flavor = "multi_thread")]
async fn others_write_directly_and_engines_come_and_go() {
    let Some(place) = Place::new().await else { return };
    let (slot, producer) = (slot_now() - 3_600_000, place.producer());
    let send = |from: i64, to: i64| {
        for n in from..to {
            let device = format!("fridge-{}", n % 7);
            let record = bare(&device, slot + n * 1_000, "4.5");
            producer.send(BaseRecord::to(&place.kafka.topics).key(&device).payload(&record)).expect("takes it");
        }
        producer.flush(10 * SECOND).expect("is acknowledged");
    };
    send(0, 300);
    let engine = place.server("engine").await;
    let found = place.stored(300).await;
    assert_eq!((found.all.accepted, found.all.received), (300, 300));
    // All of it again, by another engine: what the first one knew is known.
    engine.stop().await;
    send(0, 300);
    let engine = place.server("engine").await;
    let found = place.stored(600).await;
    assert_eq!((found.all.accepted, found.all.duplicate), (300, 300));
    // And what nobody can read stays where somebody finds it.
    for garbage in [&b"\xff\x00"[..], b"", b"[]", b"{}"] {
        producer.send(BaseRecord::<str, [u8]>::to(&place.kafka.topics).payload(garbage)).expect("takes it");
    }
    producer.flush(10 * SECOND).expect("is acknowledged");
    let found = place.stored(604).await;
    assert_eq!((found.all.rejected, found.all.received), (4, 604));
    let store = place.store().await;
    let letters = store.side_after(DEAD, 0, 100).await.expect("reads");
    assert_eq!(letters.len(), 4);
    assert!(letters.iter().all(|row| row.source == place.kafka.topics), "{letters:?}");
    assert!(letters.iter().any(|row| row.raw == b"\xff\x00") && letters.iter().any(|row| row.raw.is_empty()));
    engine.stop().await;
    store.close().await;
}

/// What no checkpoint holds when an engine is killed, and identities that no run holds, are read from Kafka again.
#[tokio::test(flavor = "multi_thread")]
async fn engines_are_killed_added_and_paused() {
    let Some(place) = Place::new().await else { return };
    let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("a directory")).collect();
    let first = place.program(dirs[0].path(), "engine").await;
    let mut second = place.program(dirs[1].path(), "engine").await;
    let intake = place.server("ingest").await;
    let start = slot_now() - 20 * 3_600_000;
    let mut sent = 0u64;
    let mut post = async |batches: u64| {
        for _ in 0..batches {
            // Each record twice, in one request or over two.
            let line = |n: u64| envelope(&format!("e{n}"), &format!("d{}", n % 40), start + n as i64 * 700, "4.0");
            let lines: Vec<String> = (sent..sent + 100).flat_map(|n| [line(n), line(n.saturating_sub(50))]).collect();
            let reply = intake.post_lines(lines.join("\n")).await;
            assert_eq!(reply.status, 202, "{}", reply.text);
            sent += 100;
        }
        sent
    };
    let exact = |found: &Totals, sent: u64| {
        assert_eq!((found.all.received, found.all.accepted), (2 * sent, sent), "{:?}", found.all);
    };
    let sent_so_far = post(20).await;
    exact(&place.stored(2 * sent_so_far).await, sent_so_far);
    // Killed in the middle of it: the other one goes on with its partitions.
    let sent_so_far = post(10).await;
    first.kill();
    let killed_at = Instant::now();
    let more = post(10).await;
    assert!(more > sent_so_far);
    exact(&place.stored(2 * more).await, more);
    assert!(killed_at.elapsed() < 30 * SECOND, "partitions moved in {:?}", killed_at.elapsed());
    eprintln!("After a kill all was processed in {:?}.", killed_at.elapsed());
    // Another one is added.
    let third = place.program(dirs[2].path(), "engine").await;
    let more = post(20).await;
    exact(&place.stored(2 * more).await, more);
    // One is paused: it is taken for dead, and when it wakes it has nothing to say any more.
    second.pause(true);
    let paused_at = Instant::now();
    let more = post(20).await;
    exact(&place.stored(2 * more).await, more);
    assert!(paused_at.elapsed() < 30 * SECOND, "partitions moved in {:?}", paused_at.elapsed());
    second.pause(false);
    let more = post(10).await;
    exact(&place.stored(2 * more).await, more);
    // Fenced with what it had not stored yet, and ended by it, or told of its loss before it tried to: then it has the partitions that the
    // group gave it anew. Never both it and another.
    until("every partition to have one engine", async || {
        let awake = match second.has_ended() {
            Some(status) => {
                assert!(!status.success(), "{status}");
                Vec::new()
            }
            None => owned(&second).await,
        };
        let mut all = [awake, owned(&third).await].concat();
        all.sort_unstable();
        let topics = place.kafka.inputs().into_iter();
        let mut expected: Vec<(String, i32)> =
            topics.flat_map(|topic| (0..PARTITIONS).map(move |n| (topic.clone(), n))).collect();
        expected.sort_unstable();
        (all == expected).then_some(())
    })
    .await;
    let store = place.store().await;
    let in_windows: u64 = windows(&store)
        .await
        .iter()
        .filter(|((_, definition, _), _)| *definition == 0)
        .map(|(_, w)| u64::from(w.aggregate.count))
        .sum();
    assert_eq!(in_windows, more, "every accepted reading lies in one window");
    store.close().await;
    drop((second, third));
    intake.stop().await;
}

/// A process that only shows pages shows what engines process elsewhere, at once and after it was started again.
#[tokio::test(flavor = "multi_thread")]
async fn pages_in_a_process_of_their_own() {
    let Some(place) = Place::new().await else { return };
    let web = place.server("web").await;
    assert_eq!(web.stats().await, [0; 5]);
    let engines = [place.server("engine").await, place.server("engine").await];
    let intake = place.server("ingest").await;
    let both = place.server("web,ingest").await;
    let start = slot_now() - 3_600_000;
    // Registered and not, in several partitions; the country has figures of all of them.
    let devices = ["P110101-1-F1", "P110101-1-F2", "other-1", "other-2", "other-3", "other-4", "other-5", "other-6"];
    let lines: Vec<String> = (0..800u64)
        .map(|n| envelope(&format!("e{n}"), devices[n as usize % 8], start + n as i64 * 3_000, &format!("{}.5", n % 9)))
        .collect();
    let (first, second) = lines.split_at(500);
    let expected = async |server: &Server, records: u64| {
        until("its pages know of all records", async || (server.stats().await[1] == records).then_some(())).await;
        let region = server.json("/api/v1/regions/ID").await;
        let readings: u64 =
            region["hours"].as_array().expect("a list").iter().map(|h| h["readings"].as_u64().expect("a number")).sum();
        assert_eq!(readings, records, "{region}");
        let rows = server.rows("/api/v1/windows?size=5m").await;
        let mut by_device = BTreeMap::new();
        for row in &rows {
            *by_device.entry(row["device_id"].as_str().expect("a text").to_owned()).or_insert(0) +=
                row["count"].as_u64().expect("a number");
        }
        assert_eq!((by_device.len(), by_device.values().sum::<u64>()), (devices.len(), records));
        rows
    };
    let mut stream = Stream::open(&web, "topics=pipeline", None).await;
    assert_eq!(intake.post_lines(first.join("\n")).await.status, 202);
    expected(&web, 500).await;
    stream.find("pipeline", |update| update["now"]["received"] == 500).await;
    assert_eq!(both.post_lines(second.join("\n")).await.status, 202);
    let rows = expected(&web, 800).await;
    assert_eq!(expected(&both, 800).await, rows);
    // Nothing new came in: what is stored and what the feed still holds make the same picture.
    let fresh = place.server("web").await;
    assert_eq!(expected(&fresh, 800).await, rows);
    assert_eq!(web.json("/api/v1/latest").await["records"], fresh.json("/api/v1/latest").await["records"]);
    let device = fresh.get("/devices/other-3").await;
    assert_eq!(device.status, 200);
    assert!(web.post(lines[0].clone()).await.status == 503, "it takes nothing in");
    assert_eq!(intake.get("/").await.status, 404);
    let metrics = engines[0].get("/metrics").await;
    assert!(metrics.text.contains("rantai_partition_lag{topic="), "{}", metrics.text);
    for server in [web, fresh, both, intake].into_iter().chain(engines) {
        server.stop().await;
    }
}

/// A part of the log that is gone is not passed over in silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_stands_still_until_somebody_accepts_it() {
    let Some(place) = Place::new().await else { return };
    let (slot, producer) = (slot_now() - 3_600_000, place.producer());
    let send = |from: i64, to: i64| {
        for n in from..to {
            let record = bare("fridge", slot + n * 1_000, "4.5");
            producer.send(BaseRecord::to(&place.kafka.topics).partition(1).key("fridge").payload(&record)).expect("takes it");
        }
        producer.flush(10 * SECOND).expect("is acknowledged");
    };
    send(0, 20);
    let engine = place.server("engine").await;
    place.stored(20).await;
    engine.stop().await;
    let extent = || watermarks(producer.client(), &place.kafka.topics, 1).expect("answers");
    // On a slow machine the engine has had the time to add timers.
    let (_, begin) = extent();
    send(20, 40);
    assert_eq!(extent(), (0, begin + 20), "each record is there once");
    let kept_from = begin + 10;
    let admin: AdminClient<DefaultClientContext> = place.client().create().expect("a client");
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&place.kafka.topics, 1, Offset::Offset(kept_from)).expect("a list");
    admin.delete_records(&gone, &AdminOptions::new()).await.expect("deletes");
    let engine = place.server("engine").await;
    let problem = until("the gap is told", async || {
        let reply = engine.get("/readyz").await;
        (reply.status == 503 && reply.text.contains("gap(")).then_some(reply)
    })
    .await;
    let words = format!("partition 1 of {} stands still: gap(0,{kept_from})", place.kafka.topics);
    assert!(problem.text.contains(&words), "{}", problem.text);
    let store = place.store().await;
    assert_eq!(totals(&store).await.all.received, 20, "nothing after the gap is processed");
    let args = AcceptGapArgs { topic: place.kafka.topics.clone(), partition: 1, by: "Sari".to_owned() };
    accept_gap(&place.kafka, &store, &args).await.expect("goes on");
    let again = accept_gap(&place.kafka, &store, &args).await.expect_err("there is none any more");
    assert!(again.to_string().contains("no gap"), "{again}");
    let found = place.stored(30).await;
    assert_eq!((found.all.received, found.all.accepted), (30, 30), "it goes on by itself");
    until("it is ready", async || (engine.get("/readyz").await.status == 200).then_some(())).await;
    let pool = sqlx::PgPool::connect(&place.postgres).await.expect("connects");
    let noted = "select topic, partition, from_offset, to_offset, accepted_by from bi.accepted_gaps
                 where accepted_at between now() - interval '1 hour' and now() + interval '1 minute'";
    let noted: Vec<(String, i32, i64, i64, String)> = sqlx::query_as(noted).fetch_all(&pool).await.expect("reads");
    assert_eq!(noted, [(place.kafka.topics.clone(), 1, 0, kept_from, "Sari".to_owned())]);
    pool.close().await;
    engine.stop().await;
    store.close().await;
}

/// What was deleted before any engine read it is in no book, and stops nobody later: the first state says where the log began.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_before_anybody_read_it() {
    let Some(place) = Place::new().await else { return };
    let (slot, producer) = (slot_now() - 3_600_000, place.producer());
    for n in 0..30 {
        let record = bare("fridge", slot + n * 1_000, "4.5");
        producer.send(BaseRecord::to(&place.kafka.topics).partition(1).key("fridge").payload(&record)).expect("takes it");
    }
    producer.flush(10 * SECOND).expect("is acknowledged");
    let admin: AdminClient<DefaultClientContext> = place.client().create().expect("a client");
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&place.kafka.topics, 1, Offset::Offset(10)).expect("a list");
    admin.delete_records(&gone, &AdminOptions::new()).await.expect("deletes");
    for _ in 0..2 {
        let engine = place.server("engine").await;
        let found = place.stored(20).await.all;
        assert_eq!((found.received, found.accepted), (20, 20));
        until("it is ready", async || (engine.get("/readyz").await.status == 200).then_some(())).await;
        engine.stop().await;
    }
}
