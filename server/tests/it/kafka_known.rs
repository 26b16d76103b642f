//! What was known when, asked over HTTP, of several partitions on a real broker and a Postgres: the same as of one log.

use crate::derived::write_log;
use crate::kafka::{Place, SECOND, SETUP};
use crate::support::{Server, bare, now_ms, rfc3339, stores, until};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::{Value, json};
use server::kafka::setup::setup;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// One in each partition, and in each of two provinces; nothing is known of the equipment of the third partition.
const DEVICES: [&str; 3] = ["P110101-1-F1", "P321701-1-F1", "nobody"];

/// Minute of receipt, partition, minute of the reading, temperature.
const READINGS: [(i64, usize, i64, &str); 6] =
    [(2, 0, 1, "5"), (7, 1, 6, "4"), (12, 0, 11, "9"), (13, 2, 12, "5"), (22, 1, 21, "-1"), (26, 0, 13, "9.5")];

/// Minute, how the two stand then, and of the hours so far: windows, of them below and above the range, readings.
const KNOWN: [(i64, [&str; 2], [u64; 4]); 9] = [
    (4, ["", ""], [0, 0, 0, 0]),
    (5, ["fine", ""], [1, 0, 0, 1]),
    (10, ["fine", "fine"], [2, 0, 0, 2]),
    (15, ["too_warm", "fine"], [4, 0, 1, 4]),
    (25, ["too_warm", "freezing"], [5, 1, 1, 5]),
    (30, ["too_warm", "freezing"], [5, 1, 1, 6]),
    // An hour after the newest reading nothing is known of a device, in whichever partition the log went on.
    (74, ["too_warm", "freezing"], [5, 1, 1, 6]),
    (75, ["", "freezing"], [5, 1, 1, 6]),
    (90, ["", ""], [5, 1, 1, 6]),
];

const NAMES: [&str; 4] = ["fine", "too_warm", "too_cold", "freezing"];

/// What a server tells of a minute: counts of the country, of each of the two provinces, and its hours.
async fn told(server: &Server, hour: i64, minute: i64) -> Value {
    let path = format!("/api/v1/regions/ID?as_known_at={}&from={}", rfc3339(hour + minute * MINUTE), rfc3339(hour));
    let answer = server.json(&path).await;
    let children = answer["children"].as_array().expect("a list");
    let of = |code: &str| children.iter().find(|child| child["code"] == code).expect("a province")["counts"].clone();
    json!({"country": answer["counts"], "11": of("11"), "32": of("32"), "hours": answer["hours"]})
}

/// Whether that is as it should be.
fn is_as_known(told: &Value, standing: [&str; 2], figures: [u64; 4]) -> bool {
    let count = |code: &str, name: &str| told[code][name].as_u64().expect("a number");
    let stands = |at: usize, name: &str| u64::from(standing[at] == name);
    let heard = |at: usize| u64::from(!standing[at].is_empty());
    let sum =
        |name: &str| told["hours"].as_array().expect("a list").iter().map(|row| row[name].as_u64().expect("a number")).sum();
    let sums: [u64; 4] = ["windows", "low", "high", "readings"].map(sum);
    NAMES.iter().all(|name| {
        let both = [stands(0, name), stands(1, name)];
        [count("11", name), count("32", name), count("country", name)] == [both[0], both[1], both[0] + both[1]]
    }) && ["11", "32"].iter().enumerate().all(|(at, code)| count(code, "facilities_reporting") == heard(at))
        && count("country", "no_word") == count("country", "devices") - heard(0) - heard(1)
        && sums == figures
}

#[tokio::test(flavor = "multi_thread")]
async fn as_known_at_in_several_partitions() {
    let Ok(brokers) = std::env::var("RANTAI_TEST_KAFKA") else { return };
    let Some(place) = Place::without_topics(brokers, &[]).await else { return };
    let hour = (now_ms() - 30 * HOUR).div_euclid(HOUR) * HOUR;
    let line = |at: usize, minute: i64, temperature: &str| bare(DEVICES[at], hour + minute * MINUTE, temperature);

    // A topic keeps the times of its messages, whatever it is told to do with later ones.
    let admin: AdminClient<DefaultClientContext> = place.client().create().expect("a client");
    let topic = NewTopic::new(&place.kafka.topics, 3, TopicReplication::Fixed(1));
    admin.create_topics(&[topic], &AdminOptions::new()).await.expect("makes a topic");
    let producer = place.producer();
    for (received, partition, minute, temperature) in READINGS {
        let record = line(partition, minute, temperature);
        let message = BaseRecord::to(&place.kafka.topics).partition(partition as i32).key(DEVICES[partition]);
        producer.send(message.timestamp(hour + received * MINUTE).payload(&record)).expect("takes it");
    }
    producer.flush(10 * SECOND).expect("is acknowledged");
    setup(&place.kafka, &SETUP).await.expect("sets up");

    let blocks: Vec<(i64, Vec<String>)> =
        READINGS.iter().map(|(received, at, minute, t)| (hour + received * MINUTE, vec![line(*at, *minute, t)])).collect();
    let dir = tempfile::tempdir().expect("a directory");
    write_log(dir.path(), &blocks);
    let embedded = stores().await.remove(1);
    let here = Server::start_in(dir, &["--store", &embedded, "--checkpoint-ms", "100"]).await;
    let mut there = place.server("web,ingest,engine").await;
    let others = place.server("web").await;
    for _ in 0..2 {
        until("pages know of all records", async || (there.stats().await[1] == READINGS.len() as u64).then_some(())).await;
        for (minute, standing, figures) in KNOWN {
            // What is not stored yet may still change.
            until(&format!("minute {minute}"), async || {
                let own = told(&there, hour, minute).await;
                let all = [told(&here, hour, minute).await, told(&others, hour, minute).await];
                let is_known = is_as_known(&own, standing, figures) && all.iter().all(|told| *told == own);
                (is_known).then_some(())
            })
            .await;
        }
        // And by who takes the partitions over.
        there.stop().await;
        there = place.server("web,ingest,engine").await;
    }
    for server in [here, there, others] {
        server.stop().await;
    }
}
