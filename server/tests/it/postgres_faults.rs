//! What Postgres may do to us: the connection breaks at a commit, or it does not answer for long.

use crate::brokers::Cluster;
use crate::kafka::{Place, SECOND, SETUP};
use crate::kafka_verify::{assert_whole, verified};
use crate::kill::{Program, binary};
use crate::support::{LONG, Server, bare, envelope, now_ms, slot_now, stores, until};
use crate::wire::{Fate, Said, Wire};
use domain::engine::EngineConfig;
use rdkafka::producer::{BaseRecord, Producer};
use server::kafka::setup::{SetupArgs, setup};
use server::store::{Store, StoreAddress};
use server::verify::{Subject, verify};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Every other commit of a checkpoint is cut off, by turns before Postgres has it and behind: the same checkpoint is tried again, and
/// counts once.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_which_nobody_hears_counts_once() {
    const CUTS: u64 = 4;
    let Some(postgres) = stores().await.into_iter().nth(1) else { return };
    let wire = Wire::new(&postgres);
    let commits = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&commits);
    wire.judge(move |said| match said {
        Said::Message => Fate::Passes,
        Said::Checkpoint => match counted.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => Fate::CutBehind,
            2 => Fate::CutBefore,
            _ => Fate::Passes,
        },
    });
    let server = Server::start_with(&["--store", &wire.url, "--checkpoint-ms", "20"]).await;
    let mut sent = 0;
    until("enough commits were cut", async || {
        let now = now_ms();
        let records = [envelope(&format!("e{sent}"), "d", now - 7_200_000 + sent * 10_000, "4.5"), bare("p", now, "500")];
        assert_eq!(server.post(format!("[{}]", records.join(","))).await.status, 200);
        sent += 1;
        (commits.load(Ordering::Relaxed) >= 2 * CUTS).then_some(())
    })
    .await;
    let [received, unique, duplicate, late, rejected] = server.stats().await;
    assert_eq!((received, unique, duplicate + late + rejected), (2 * sent as u64, sent as u64, sent as u64));
    let dir = server.stop().await;
    let address: StoreAddress = postgres.parse().expect("an address");
    let store = Store::open(&address, dir.path()).await.expect("opens");
    let (config, master) = (EngineConfig::default(), Arc::new(server::data::master().expect("master data")));
    let subject = Subject { dir: dir.path(), store: &store, master: &master, config: &config };
    let report = verify(&subject).await.expect("tells");
    assert_eq!(report.first_broken(), None, "{report}");
    store.close().await;
}

/// A program on an empty database of `postgres` whose checkpoints meet `trouble`, the body of a trigger, and that was sent a record; where it
/// writes its errors.
async fn in_trouble(postgres: &str, trouble: &str) -> (Program, TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let address: StoreAddress = postgres.parse().expect("an address");
    let store = Store::open(&address, dir.path()).await.expect("opens");
    let key = store.create_key("gateway", None, "ingest", now_ms()).await.expect("makes a key");
    store.close().await;
    let mut connection = PgConnection::connect(postgres).await.expect("connects");
    let text = format!(
        "create sequence troubles;
         create function trouble() returns trigger language plpgsql as $$ begin {trouble} return new; end $$;
         create trigger trouble before update on input_position for each row when (old.next <> new.next) execute function trouble()"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut connection).await.expect("runs");
    let mut command = std::process::Command::new(binary());
    command.stderr(std::fs::File::create(dir.path().join("errors")).expect("a file"));
    let options = ["--store", postgres, "--checkpoint-ms", "50"];
    let program = Program::try_start(command, &dir.path().join("data"), &options).await.expect("starts");
    let request = reqwest::Client::new().post(format!("{}/ingest", program.url)).bearer_auth(&key);
    // It may end before it can say so.
    let answer = request.body(bare("d", now_ms(), "5")).send().await;
    assert!(answer.map_or(true, |answer| answer.status() == 200));
    (program, dir)
}

/// Deadlocks and serialisation failures pass, and so does a full disk: the same checkpoint is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_takes_back_is_tried_again() {
    let Some(postgres) = stores().await.into_iter().nth(1) else { return };
    let codes = ["40001", "40P01", "53100", "55P03", "57014"];
    let raise = |(n, code): (usize, &&str)| format!("when {} then raise 'trouble' using errcode = '{code}';", n + 1);
    let cases: String = codes.iter().enumerate().map(raise).collect();
    let (mut program, _dir) = in_trouble(&postgres, &format!("case nextval('troubles') {cases} else null; end case;")).await;
    let mut connection = PgConnection::connect(&postgres).await.expect("connects");
    until("the checkpoint is written", async || {
        assert_eq!(program.has_ended(), None);
        let next: i64 = sqlx::query_scalar("select next from input_position").fetch_one(&mut connection).await.expect("answers");
        (next > 1).then_some(())
    })
    .await;
    let tried: i64 = sqlx::query_scalar("select last_value from troubles").fetch_one(&mut connection).await.expect("answers");
    assert!(tried > codes.len() as i64, "{tried}");
    program.terminate();
    assert!(program.ended().await.success());
}

/// What Postgres refuses for what is in it, it refuses for ever: the program says so and ends, and so does every start.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_never_takes_ends_the_program() {
    let Some(postgres) = stores().await.into_iter().nth(1) else { return };
    let trouble = "raise 'no such bytes' using errcode = '22021', table = 'input_position';";
    let (program, dir) = in_trouble(&postgres, trouble).await;
    let status = tokio::time::timeout(LONG, program.ended()).await.expect("in time");
    assert_eq!(status.code(), Some(1));
    let errors = std::fs::read_to_string(dir.path().join("errors")).expect("reads");
    let told = "(SQLSTATE 22021, table input_position, PL/pgSQL function trouble()";
    assert!(errors.contains("no such bytes") && errors.contains(told), "{errors}");
}

/// The epochs of all partitions: whoever takes one over raises its own.
async fn epochs(postgres: &str) -> Vec<(i64, i64)> {
    let mut connection = PgConnection::connect(postgres).await.expect("connects");
    let text = "select partition, epoch from input_position order by partition";
    sqlx::query_as(text).fetch_all(&mut connection).await.expect("answers")
}

/// Postgres answers nothing for much longer than Kafka waits for a member that does not poll: the engine keeps its partitions, takes in no
/// more than it may hold, and afterwards everything is as if nothing had been.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_slow_partitions_stay() {
    const PATIENCE_MS: u64 = 1_500;
    /// So many that each has but the least share of what no checkpoint may cover, see `kafka/worker.rs`; more than that comes, and what one
    /// fetch takes besides.
    const PARTITIONS: i32 = 4;
    const RECORDS: i64 = 66_000;
    const MOST: u64 = 60_000;
    let Some(cluster) = Cluster::start(1) else { return };
    let patience = [
        format!("max.poll.interval.ms={PATIENCE_MS}"),
        "session.timeout.ms=1200".to_owned(),
        "heartbeat.interval.ms=300".to_owned(),
    ];
    let patience: Vec<&str> = patience.iter().map(String::as_str).collect();
    let Some(place) = Place::without_topics(cluster.address.clone(), &patience).await else { return };
    setup(&place.kafka, &SetupArgs { partitions: PARTITIONS, ..SETUP }).await.expect("sets up");
    let wire = Wire::new(&place.postgres);
    let through = Place { kafka: place.kafka.clone(), postgres: wire.url.clone() };
    let engine = through.server("engine").await;
    let (slot, topic) = (slot_now() - 86_400_000, place.kafka.topics.as_str());
    let send = |from: i64, to: i64| {
        let producer = place.producer();
        for n in from..to {
            let record = bare("fridge", slot + n * 500, "4.5");
            let mut next = BaseRecord::to(topic).partition(1).key("fridge").payload(&record);
            while let Err((_, back)) = producer.send(next) {
                producer.poll(SECOND / 100);
                next = back;
            }
        }
        producer.flush(10 * SECOND).expect("is acknowledged");
    };
    send(0, 10);
    place.stored(10).await;
    let before = epochs(&place.postgres).await;
    wire.hold(true);
    let since = Instant::now();
    send(10, RECORDS);
    let sum = async |name: &str| {
        let metrics = engine.get("/metrics").await.text;
        let of = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<u64>().ok()).expect("a number");
        metrics.lines().filter(|line| line.starts_with(name)).map(of).sum::<u64>()
    };
    let mut last = (0, Instant::now());
    let held = until("it takes in nothing more, and Kafka's patience is over", async || {
        let now = sum("rantai_partition_processed{").await;
        if now != last.0 {
            last = (now, Instant::now());
        }
        let is_over =
            since.elapsed() > 3 * Duration::from_millis(PATIENCE_MS) && last.1.elapsed() > Duration::from_millis(PATIENCE_MS);
        is_over.then_some(now)
    })
    .await;
    // How far it lags behind the group's thread hears when it polls.
    until("the group is polled", async || (sum("rantai_partition_lag{").await >= RECORDS as u64 - held).then_some(())).await;
    assert!(wire.waited() > 0, "Postgres had something to answer");
    assert!((1..MOST).contains(&held), "{held} of {RECORDS} lie in memory");
    wire.hold(false);
    place.stored(RECORDS as u64).await;
    assert_eq!(epochs(&place.postgres).await, before, "somebody took a partition over");
    engine.stop().await;
    assert_whole(&verified(&place).await.expect("tells"));
}
