//! `rantai kafka verify`: nothing is found in what engines made, what somebody has touched is named, and pruned topics are said to be.

use crate::equivalence::{stream, written};
use crate::kafka::Place;
use crate::support::{Random, bare, now_ms, slot_now};
use domain::engine::EngineConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use server::verify::{Law, Report, Subject, verify_kafka};
use std::sync::Arc;

/// So many identities of a partition become a run when its engine stops.
pub const WORTH_A_RUN: usize = 21_000;

pub async fn verified(place: &Place) -> anyhow::Result<Vec<(String, Report)>> {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, master) = (place.store().await, Arc::new(server::data::master().expect("it is built in")));
    let config = EngineConfig::default();
    let subject = Subject { dir: dir.path(), store: &store, master: &master, config: &config };
    let reports = verify_kafka(&subject, &place.kafka).await;
    store.close().await;
    assert_eq!(std::fs::read_dir(dir.path()).expect("is there").count(), 0, "nothing is left behind");
    reports
}

#[track_caller]
pub fn assert_whole(reports: &[(String, Report)]) {
    for (name, report) in reports {
        assert_eq!(report.first_broken(), None, "{name}\n{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_engines_made_is_what_the_messages_lead_to() {
    let Some(place) = Place::new().await else { return };
    let server = place.server("web,ingest,engine").await;
    let mut random = Random(5);
    let records = stream(&mut random, now_ms());
    let mut sent = 0;
    for batch in records.chunks(200) {
        let mut lines: Vec<String> = batch.iter().map(written).collect();
        lines.push(r#"{"device_id":"dev-1" "ts":1}"#.to_owned());
        sent += lines.len();
        assert_eq!(server.post_lines(lines.join("\n")).await.status, 202);
    }
    for part in (0..WORTH_A_RUN).collect::<Vec<_>>().chunks(3_000) {
        let line = |n: &usize| bare("busy", slot_now() - 30 * 3_600_000 + *n as i64 * 1_000, "4.5");
        sent += part.len();
        assert_eq!(server.post_lines(part.iter().map(line).collect::<Vec<_>>().join("\n")).await.status, 202);
    }
    place.stored(sent as u64).await;
    // One dead letter is taken in again, another discarded: these are messages too.
    let letters = server.rows("/api/v1/dead-letters").await;
    assert!(letters.len() > 2);
    server.replay(&letters[0]["position"]).await;
    server.discard(&letters[1]["position"]).await;
    place.stored(sent as u64 + 1).await;
    let refused = verified(&place).await.expect_err("an engine is at work").to_string();
    assert!(refused.contains("at work"), "{refused}");
    server.stop().await;

    let reports = verified(&place).await.expect("tells");
    assert_whole(&reports);
    assert!(reports.iter().all(|(_, report)| report.range.is_none()), "all of it was recomputed");
    let text = reports.iter().map(|(_, report)| report.to_string()).collect::<Vec<_>>().join("\n");
    assert!(text.contains("1 replayed") && text.contains("1 discarded"), "{text}");

    // A window is not what it was.
    let pool = sqlx::PgPool::connect(&place.postgres).await.expect("connects");
    let run = async |text: &'static str| sqlx::raw_sql(text).execute(&pool).await.expect("runs");
    run("create table aside as select * from windows where size_ms = 300000 limit 1").await;
    run("delete from windows where (partition, device_index, size_ms, start_ms) in
         (select partition, device_index, size_ms, start_ms from aside)")
    .await;
    let reports = verified(&place).await.expect("tells");
    let broken: Vec<_> = reports.iter().filter_map(|(name, report)| Some((name, report.first_broken()?))).collect();
    assert!(matches!(broken[..], [(_, Law::C2)]), "{broken:?}");
    run("insert into windows select * from aside").await;
    assert_whole(&verified(&place).await.expect("tells"));
    // Nor a reading, though there are as many.
    run("update readings set temperature = temperature + 1 where position = (select max(position) from readings)").await;
    let reports = verified(&place).await.expect("tells");
    let broken: Vec<_> = reports.iter().filter_map(|(_, report)| Some((report, report.first_broken()?))).collect();
    let [(report, Law::Readings)] = broken[..] else { panic!("{broken:?}") };
    assert!(report.told(Law::Readings)[0].starts_with("reading at position "), "{report}");
    run("update readings set temperature = temperature - 1 where position = (select max(position) from readings)").await;

    // Kafka forgets what identities and state cover: said so, and what can be compared still is.
    let admin: AdminClient<DefaultClientContext> = place.client().create().expect("a client");
    let ends = crate::kafka::ends(&place);
    let fullest = (0..).zip(&ends).max_by_key(|(_, end)| **end).expect("there are partitions").0;
    let mut gone = TopicPartitionList::new();
    gone.add_partition_offset(&place.kafka.events(), fullest, Offset::Offset(1_000)).expect("a list");
    admin.delete_records(&gone, &AdminOptions::new()).await.expect("deletes");
    let reports = verified(&place).await.expect("tells");
    assert_whole(&reports);
    let told: Vec<&str> = reports.iter().filter_map(|(_, report)| report.range.as_deref()).collect();
    assert!(matches!(told[..], [range] if range.contains("from offset 1000")), "{told:?}");
    pool.close().await;
}
