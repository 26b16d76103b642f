//! `rantai kafka rebuild`: what Kafka holds makes the state again, whatever is left of the old one, and nobody ever sees half of it.

use crate::equivalence::{stream, written};
use crate::kafka::Place;
use crate::kafka_verify::{WORTH_A_RUN, assert_whole, verified};
use crate::support::{Random, bare, envelope, now_ms, slot_now, until};
use domain::window::WindowConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use sqlx::PgPool;
use std::path::Path;
use std::process::Command;

/// All that is stored; rows of several partitions come in no order.
async fn dump(place: &Place) -> Vec<String> {
    let store = place.store().await;
    let dump = store.dump(&WindowConfig::default()).await.expect("dumps");
    store.close().await;
    let mut lines: Vec<String> = dump.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[track_caller]
fn assert_same(found: &[String], expected: &[String]) {
    assert_eq!(found.iter().zip(expected).find(|(a, b)| a != b), None);
    assert_eq!(found.len(), expected.len());
}

fn command(place: &Place, dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rantai"));
    let kafka = &place.kafka;
    command.args(["kafka", "rebuild", "--store", &place.postgres, "--kafka-brokers", &kafka.brokers]);
    command.args(["--kafka-prefix", &kafka.prefix, "--kafka-topics", &kafka.topics, "--data-dir"]).arg(dir);
    command.env("RUST_LOG", "error");
    command
}

/// What it says, where it is refused.
pub fn rebuild(place: &Place) -> Result<(), String> {
    rebuild_with(place, &[])
}

/// The same with further options.
pub fn rebuild_with(place: &Place, more: &[&str]) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a directory");
    let done = command(place, dir.path()).args(more).output().expect("runs");
    assert!(!dir.path().join("kafka-rebuild").exists(), "nothing is left behind");
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_holds_makes_the_state_again() {
    let Some(place) = Place::new().await else { return };
    let server = place.server("web,ingest,engine").await;
    let mut random = Random(6);
    let records = stream(&mut random, now_ms());
    let mut sent = 0;
    for batch in records.chunks(200) {
        let mut lines: Vec<String> = batch.iter().map(written).collect();
        lines.push(r#"{"device_id":"dev-1" "ts":1}"#.to_owned());
        sent += lines.len() as u64;
        assert_eq!(server.post_lines(lines.join("\n")).await.status, 202);
    }
    let line = |n: &usize| bare("busy", slot_now() - 30 * 3_600_000 + *n as i64 * 1_000, "4.5");
    let busy: Vec<String> = (0..WORTH_A_RUN).map(|n| line(&n)).collect();
    for part in busy.chunks(3_000) {
        sent += part.len() as u64;
        assert_eq!(server.post_lines(part.join("\n")).await.status, 202);
    }
    place.stored(sent).await;
    let letters = server.rows("/api/v1/dead-letters").await;
    server.replay(&letters[0]["position"]).await;
    server.discard(&letters[1]["position"]).await;
    sent += 1;
    place.stored(sent).await;
    let refused = rebuild(&place).expect_err("an engine is at work");
    assert!(refused.contains("at work"), "{refused}");
    server.stop().await;

    let lived = dump(&place).await;
    for word in ["device ", "hour ", "window 10000/", "side ", "decision: "] {
        assert!(lived.iter().any(|line| line.starts_with(word)), "no {word}");
    }
    let pool = PgPool::connect(&place.postgres).await.expect("connects");
    let run = async |text: &'static str| sqlx::raw_sql(text).execute(&pool).await.expect("runs");
    // Pages that were loaded from what is wrong; what the feed has told before is of another epoch.
    run("update input_position set totals = null, epoch = epoch + 1; delete from daily_books").await;
    let web = place.server("web").await;
    assert_eq!(web.stats().await[0], 0);
    run("update devices set state = '\\x00'; delete from windows where size_ms = 300000; delete from identity_run_pieces").await;
    rebuild(&place).expect("rebuilds");
    assert_same(&dump(&place).await, &lived);
    assert_whole(&verified(&place).await.expect("tells"));

    // Engines go on from there, know what came before, and pages see it.
    let server = place.server("ingest,engine").await;
    let known = place.stored(sent).await.all.duplicate;
    let again = format!("{}\n{}", busy[..50].join("\n"), bare("busy", slot_now(), "4.5"));
    assert_eq!(server.post_lines(again).await.status, 202);
    sent += 51;
    assert_eq!(place.stored(sent).await.all.duplicate, known + 50);
    until("pages see the new state", async || (web.stats().await[0] == sent).then_some(())).await;
    web.stop().await;
    server.stop().await;

    // A database that is lost.
    let lived = dump(&place).await;
    run("truncate kafka_partitions, input_position, devices, hours, hour_versions, count_versions, daily_books, derived_blocks,
         side_blocks, decisions, identity_runs, identity_run_pieces, windows, readings, positions, facts")
    .await;
    rebuild(&place).expect("rebuilds");
    assert_whole(&verified(&place).await.expect("tells"));
    assert_eq!(dump(&place).await.len(), lived.len(), "but for the numbers of partitions it is the same");

    // Without the beginning there is nothing to make it from.
    let lived = dump(&place).await;
    let ends = crate::kafka::ends(&place);
    let fullest = (0..).zip(&ends).max_by_key(|(_, end)| **end).expect("there are partitions").0;
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&place.kafka.events(), fullest, Offset::Offset(10)).expect("a list");
    let admin: AdminClient<DefaultClientContext> = place.client().create().expect("a client");
    admin.delete_records(&gone, &AdminOptions::new()).await.expect("deletes");
    let refused = rebuild(&place).expect_err("the beginning is gone");
    assert!(refused.contains("from offset 10 on") && refused.contains("would be lost"), "{refused}");
    assert_same(&dump(&place).await, &lived);
    pool.close().await;
}

/// Killed halfway it leaves the old state, whole; an engine that comes meanwhile waits, and does not take the one state for the other.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_half_a_state() {
    let Some(place) = Place::new().await else { return };
    let server = place.server("ingest,engine").await;
    let records: Vec<String> = (0..300).map(|n| envelope(&format!("e{n}"), &format!("d{}", n % 20), slot_now(), "4.0")).collect();
    assert_eq!(server.post_lines(records.join("\n")).await.status, 202);
    place.stored(300).await;
    server.stop().await;
    let lived = dump(&place).await;
    let pool = PgPool::connect(&place.postgres).await.expect("connects");
    let waiting = async |query: &'static str| {
        until(query, async || {
            let waiting = sqlx::query_scalar::<_, i64>(
                "select count(*) from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock' and ltrim(query) like $1",
            );
            let waiting = waiting.bind(query).fetch_one(&pool).await.expect("counts");
            (waiting > 0).then_some(())
        })
        .await;
    };
    let dir = tempfile::tempdir().expect("a directory");
    // Halfway: all that was there is deleted by then.
    let held_up = async || {
        let mut held = pool.begin().await.expect("begins");
        sqlx::raw_sql("select 1 from facts where name = 'rules' for update").execute(&mut *held).await.expect("locks");
        let rebuilding = command(&place, dir.path()).spawn().expect("starts");
        waiting("insert into facts%'rules'%").await;
        (held, rebuilding)
    };
    let (held, mut rebuilding) = held_up().await;
    rebuilding.kill().expect("it runs");
    rebuilding.wait().expect("it has ended");
    held.rollback().await.expect("lets go");
    assert_same(&dump(&place).await, &lived);
    assert_whole(&verified(&place).await.expect("tells"));

    // As if identities were known up to the end, which the new state does not say.
    let far =
        "insert into identity_runs (partition, name, last, identities) select partition, 'far', next - 1, 0 from input_position";
    sqlx::raw_sql(far).execute(&pool).await.expect("runs");
    let (held, mut rebuilding) = held_up().await;
    let there = tempfile::tempdir().expect("a directory");
    let engine = place.program(there.path(), "engine").await;
    waiting("insert into input_position%").await;
    held.rollback().await.expect("lets go");
    assert!(rebuilding.wait().expect("it has ended").success());
    assert!(!engine.ended().await.success(), "it began where the old state ended");
    assert_same(&dump(&place).await, &lived);
    let reports = until("the group has forgotten it", async || verified(&place).await.ok()).await;
    assert_whole(&reports);
    pool.close().await;
}
