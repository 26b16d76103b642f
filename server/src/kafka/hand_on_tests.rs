//! Handing on to a broker that the client library plays.

use super::super::status::Status;
use super::*;
use bytes::Bytes;
use rdkafka::bindings::rd_kafka_resp_err_t::{
    RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const PARTITION: i32 = 3;

struct Place {
    brokers: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    kafka: KafkaConfig,
    status: Status,
    others: HandOn,
}

fn place() -> Place {
    let brokers = MockCluster::new(1).expect("plays a broker");
    let options = ["message.timeout.ms=700", "linger.ms=50"].map(str::to_owned).to_vec();
    let kafka =
        KafkaConfig { brokers: brokers.bootstrap_servers(), prefix: "mock".to_owned(), topics: "plain".to_owned(), options };
    for topic in kafka.inputs() {
        brokers.create_topic(&topic, 1, 1).expect("makes a topic");
    }
    let status = Status::default();
    status.begin("plain", PARTITION);
    let producer = Arc::new(Producer::new(&kafka).expect("a producer"));
    let others = HandOn::new(&kafka, &producer, Some(status.watched("plain", PARTITION)));
    Place { brokers, kafka, status, others }
}

fn fixes(count: usize) -> Vec<HandedOn> {
    let fix = |n| HandedOn { device: format!("box-{n}"), source: "gate".into(), raw: Bytes::from_static(b"{}") };
    (0..count).map(fix).collect()
}

/// Keys of the messages that `topic` has.
fn keys(place: &Place, topic: &str) -> Vec<String> {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &place.kafka.brokers).set("group.id", "none").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = client.create().expect("a consumer");
    let mut all = TopicPartitionList::new();
    all.add_partition_offset(topic, 0, Offset::Beginning).expect("an offset");
    consumer.assign(&all).expect("assigns");
    let (mut keys, begun) = (Vec::new(), Instant::now());
    loop {
        match consumer.poll(SECOND) {
            Some(Ok(message)) => keys.push(String::from_utf8_lossy(message.key().expect("a key")).into_owned()),
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => break,
            _ => assert!(begun.elapsed() < 20 * SECOND, "the broker answers"),
        }
    }
    keys.sort_unstable();
    keys
}

#[track_caller]
fn assert_all_once(place: &Place, fixes: &[HandedOn]) {
    let mut expected: Vec<String> = fixes.iter().map(|fix| fix.device.clone()).collect();
    expected.sort_unstable();
    for topic in place.kafka.inputs() {
        assert_eq!(keys(place, &topic), expected, "{topic}");
    }
}

/// A batch may be too large although none of its messages is.
#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_sent_again_and_nothing_else() {
    let (place, fixes) = (place(), fixes(20));
    place.brokers.request_errors(RDKafkaApiKey::Produce, &[RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    place.others.tell(&fixes).await;
    assert_all_once(&place, &fixes);
    let partition = &place.status.partitions()[&("plain".to_owned(), PARTITION)];
    assert_eq!((&partition.waits_for, partition.refused), (&None, 0));
}

/// One that no broker will ever take holds up neither the others nor the partition.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_arrive_holds_nobody_up() {
    let (place, mut fixes) = (place(), fixes(5));
    fixes[2].raw = vec![b' '; super::super::MAX_MESSAGE_BYTES].into();
    let told = tokio::time::timeout(20 * SECOND, place.others.tell(&fixes)).await;
    assert!(told.is_ok(), "it is tried for ever");
    fixes.remove(2);
    assert_all_once(&place, &fixes);
    let partition = &place.status.partitions()[&("plain".to_owned(), PARTITION)];
    assert_eq!((&partition.waits_for, partition.refused), (&None, 2));
}

/// A topic that cannot be written is waited for: the others have what is theirs, and somebody is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_cannot_be_written_is_told() {
    let (place, fixes) = (place(), fixes(3));
    place.brokers.topic_error("plain", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).expect("sets it");
    let telling = tokio::spawn({
        let (others, fixes) = (place.others.clone(), fixes.clone());
        async move { others.tell(&fixes).await }
    });
    let begun = Instant::now();
    let sentence = loop {
        if let Some(sentence) = place.status.standstills().pop() {
            break sentence;
        }
        assert!(begun.elapsed() < 20 * SECOND && !telling.is_finished());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(
        sentence.starts_with("partition 3 of plain puts nothing away: the topic plain does not take fixes of trackers: "),
        "{sentence}"
    );
    assert_eq!(keys(&place, "mock.events").len(), 3);
    place.brokers.topic_error("plain", rdkafka::bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).expect("sets it");
    telling.await.expect("does not panic");
    assert_all_once(&place, &fixes);
    assert_eq!(place.status.standstills(), Vec::<String>::new());
}
