//! What Kafka may do to us: its topics are not as they should be, it goes away and comes back, it stores what it does not confirm, and it
//! wants TLS and a password; somebody makes a topic anew, or adds partitions.

use crate::brokers::{Cluster, Extra, Wire};
use crate::kafka::{Place, SECOND, SETUP, ends, totals};
use crate::kafka_rebuild::rebuild;
use crate::kafka_verify::verified;
#[cfg(feature = "kafka-tls")]
use crate::kill::address_of_its_own;
use crate::support::{Server, args, bare, envelope, slot_now, stores, until};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, Producer};
use server::kafka::setup::{AcceptGapArgs, SetupArgs, accept_gap, setup};
use server::lifecycle;

/// A sender is asked to come again soon.
const IMPATIENT: &str = "message.timeout.ms=1500";

/// Topics of somebody else's making are put right, and engines do not begin before.
#[tokio::test(flavor = "multi_thread")]
async fn topics_are_checked_and_put_right() {
    let Ok(brokers) = std::env::var("RANTAI_TEST_KAFKA") else { return };
    let Some(place) = Place::without_topics(brokers, &[]).await else { return };
    let try_start = async || {
        let options = place.options("engine");
        let dir = tempfile::tempdir().expect("a directory");
        let config = args(dir.path(), &options.iter().map(String::as_str).collect::<Vec<_>>());
        match lifecycle::start(&config).await {
            Err(error) => Err(format!("{error:#}")),
            Ok(running) => {
                running.stop.cancel();
                running.wait().await.map_err(|error| format!("{error:#}"))
            }
        }
    };
    let refused = async || try_start().await.expect_err("does not start");
    let error = refused().await;
    assert!(error.contains("has no topic") && error.contains("rantai kafka setup"), "{error}");
    let check = SetupArgs { check: true, ..SETUP };
    assert!(setup(&place.kafka, &check).await.is_err());
    let admin: AdminClient<DefaultClientContext> = place.client().create().expect("a client");
    let events = place.kafka.events();
    let theirs = [
        NewTopic::new(&place.kafka.topics, 2, TopicReplication::Fixed(1)).set("segment.ms", "3600000"),
        NewTopic::new(&events, 1, TopicReplication::Fixed(1)).set("retention.ms", "3600000"),
    ];
    admin.create_topics(&theirs, &AdminOptions::new()).await.expect("makes topics");
    let error = until("the broker knows the topics", async || {
        let error = refused().await;
        (!error.contains("has no topic")).then_some(error)
    })
    .await;
    assert!(error.contains("message.timestamp.type=CreateTime"), "{error}");
    assert!(setup(&place.kafka, &check).await.is_err());
    setup(&place.kafka, &SETUP).await.expect("puts right");
    // Fewer partitions than are asked for cannot be mended.
    let with_one = SetupArgs { partitions: 1, ..check.clone() };
    until("all is as it should be", async || setup(&place.kafka, &with_one).await.ok()).await;
    let error = setup(&place.kafka, &check).await.expect_err("three are asked for").to_string();
    assert!(error.contains("cannot be changed"), "{error}");
    let copies = setup(&place.kafka, &SetupArgs { replication: 2, ..SETUP }).await.expect_err("there is one broker").to_string();
    assert!(copies.contains("cannot be changed"), "{copies}");
    // What was set besides is still there.
    let asked = admin.describe_configs(&[ResourceSpecifier::Topic(&place.kafka.topics)], &AdminOptions::new()).await;
    let settings = asked.expect("answers").remove(0).expect("knows the topic");
    let value = |name: &str| {
        let found = settings.entries.iter().find(|entry| entry.name == name);
        found.and_then(|entry| entry.value.clone()).expect("has it")
    };
    assert_eq!((value("segment.ms").as_str(), value("message.timestamp.type").as_str()), ("3600000", "LogAppendTime"));
    place.server("engine").await.stop().await;
    // They take whatever may have to be written.
    for (topic, most) in [(&events, 1 << 20), (&place.kafka.topics, 100_000), (&place.kafka.dead_letters(), 1 << 20)] {
        let most = format!("{most}");
        let change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let change = change.set("max.message.bytes", &most).set("message.timestamp.type", "LogAppendTime");
        admin.alter_configs([&change], &AdminOptions::new()).await.expect("changes");
        let error = until("the broker knows it", async || {
            let error = try_start().await.err()?;
            error.contains("takes messages of").then_some(error)
        })
        .await;
        assert!(error.contains(&format!("`{topic}` takes messages of {most} bytes")), "{error}");
        assert!(setup(&place.kafka, &check).await.is_err());
        setup(&place.kafka, &SETUP).await.expect("puts right");
        until("all is as it should be", async || setup(&place.kafka, &with_one).await.ok()).await;
    }
}

/// `acks=all` waits for those brokers that are in step, which may be one: topics of somebody else's making are told to wait for two.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_lies_on_two_brokers() {
    let Some(cluster) = Cluster::start(2) else { return };
    let Some(place) = Place::without_topics(cluster.address.clone(), &[]).await else { return };
    let admin: AdminClient<DefaultClientContext> = place.client().create().expect("a client");
    let events = place.kafka.events();
    let theirs = [
        NewTopic::new(&events, 3, TopicReplication::Fixed(2)).set("min.insync.replicas", "1"),
        NewTopic::new(&place.kafka.topics, 3, TopicReplication::Fixed(1)).set("min.insync.replicas", "2"),
    ];
    admin.create_topics(&theirs, &AdminOptions::new()).await.expect("makes topics");
    let least = async || {
        let letters = place.kafka.dead_letters();
        let topics = [events.as_str(), &place.kafka.topics, &letters].map(ResourceSpecifier::Topic);
        let asked = admin.describe_configs(&topics, &AdminOptions::new()).await.expect("answers");
        let value = |name: &str, found: rdkafka::admin::ConfigResource| {
            found.entries.into_iter().find(|entry| entry.name == name).and_then(|entry| entry.value)
        };
        let of = asked.into_iter().map(|found| found.ok().and_then(|found| value("min.insync.replicas", found)));
        of.map(Option::unwrap_or_default).collect::<Vec<_>>()
    };
    until("the brokers know the topics", async || (least().await[..2] == ["1", "2"]).then_some(())).await;
    let check = SetupArgs { check: true, ..SETUP };
    assert!(setup(&place.kafka, &check).await.is_err());
    setup(&place.kafka, &SETUP).await.expect("puts right");
    // Of what has one copy, one is all that there can be.
    until("it is as it should be", async || (least().await == ["2", "1", "1"]).then_some(())).await;
    until("and said to be", async || setup(&place.kafka, &check).await.ok()).await;
}

/// While Kafka is away senders are asked to come again, and afterwards it goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_away_and_back() {
    let Some(postgres) = stores().await.into_iter().nth(1) else { return };
    let brokers = MockCluster::new(1).expect("plays a broker");
    let address = brokers.bootstrap_servers();
    brokers.create_topic("mock.events", 3, 1).expect("makes a topic");
    let options = ["--kafka-option", IMPATIENT, "--kafka-prefix", "mock", "--roles", "ingest"];
    let kafka = ["--log", "kafka", "--store", &postgres, "--kafka-brokers", &address];
    let server = Server::start_with(&options.into_iter().chain(kafka).collect::<Vec<_>>()).await;
    let record = envelope("e1", "d1", slot_now(), "4.0");
    let single =
        until("it is taken in", async || Some(server.post(record.clone()).await).filter(|reply| reply.status != 503)).await;
    assert_eq!((single.status, single.text.as_str()), (202, r#"{"status":"queued"}"#));
    let wrong = server.post(r#"{"device_id":"d","ts":1}"#).await;
    wrong.problem(422);
    // No engine runs anywhere: whether it is ready is about what it does.
    let ready = async || server.get("/readyz").await.status == 200;
    until("it is ready", async || ready().await.then_some(())).await;
    brokers.broker_down(1).expect("goes");
    until("it is not ready", async || (!ready().await).then_some(())).await;
    let refused = server.post(format!("[{record},{record}]")).await;
    refused.problem(503);
    assert!(refused.is_to_come_again());
    brokers.broker_up(1).expect("comes");
    let reply = until("it is taken in again", async || {
        let reply = server.post(format!("[{record},{record}]")).await;
        (reply.status != 503).then_some(reply)
    })
    .await;
    assert_eq!((reply.status, reply.json()["queued"].as_u64()), (202, Some(2)), "{}", reply.text);
    until("it is ready again", async || ready().await.then_some(())).await;
    server.stop().await;
}

/// Sent again until it is acknowledged.
async fn insist(server: &Server, record: &str) {
    until("it is taken in", async || {
        let reply = server.post(record.to_owned()).await;
        assert!([202, 503].contains(&reply.status), "{}", reply.text);
        (reply.status == 202).then_some(())
    })
    .await;
}

/// A real broker is killed and comes back: nobody is told that a record is safe meanwhile, and intake and engine go on by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_killed_and_comes_back() {
    let Some(mut cluster) = Cluster::start(1) else { return };
    let Some(place) = Place::on(cluster.address.clone(), 1, &[IMPATIENT]).await else { return };
    let server = place.server("ingest,engine").await;
    let record = |n: u32| envelope(&format!("e{n}"), &format!("d{n}"), slot_now(), "4.0");
    insist(&server, &record(0)).await;
    place.stored(1).await;
    cluster.brokers[0].kill();
    for n in 1..=2 {
        let refused = server.post(record(n)).await;
        refused.problem(503);
        assert!(refused.is_to_come_again());
    }
    assert_eq!(server.get("/healthz").await.status, 200, "it waits, and does not end");
    cluster.brokers[0].start();
    cluster.brokers[0].wait();
    for n in 1..=3 {
        insist(&server, &record(n)).await;
    }
    let store = place.store().await;
    let all = until("everything is processed", async || {
        let all = totals(&store).await.all;
        (all.accepted == 4).then_some(all)
    })
    .await;
    assert_eq!(all.received, 4 + all.duplicate, "{all:?}");
    store.close().await;
    server.stop().await;
}

/// The broker has stored a record, and its word is lost: the sender was asked to come again, does so, and it counts once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_and_not_confirmed_counts_once() {
    let wire = Wire::new();
    let extra = Extra { told: Some(wire.address), ..Extra::default() };
    let Some(cluster) = Cluster::start_with(1, &extra) else { return };
    wire.leads_to(cluster.listens_on());
    let Some(place) = Place::on(cluster.address.clone(), 1, &[IMPATIENT]).await else { return };
    let intake = place.server("ingest").await;
    let records = [envelope("e1", "d1", slot_now(), "4.0"), envelope("e2", "d1", slot_now() + 1_000, "4.0")];
    // On a slow machine the broker may have what is insisted on more than once.
    let messages = || ends(&place).iter().sum::<i64>();
    insist(&intake, &records[0]).await;
    let before = messages();
    wire.mute();
    intake.post(records[1].clone()).await.problem(503);
    wire.heal();
    assert_eq!(messages(), before + 1, "the broker has it all the same");
    insist(&intake, &records[1]).await;
    let all = messages() as u64;
    assert!(all >= before as u64 + 2, "nobody but the engine can know that it is the same");
    let engine = place.server("engine").await;
    let found = place.stored(all).await.all;
    assert_eq!((found.received, found.accepted, found.duplicate), (all, 2, all - 2));
    engine.stop().await;
    intake.stop().await;
}

/// A topic of the same name with other messages: where they are fewer than were processed and where they are more, no record of it
/// is passed over in silence, and none is mixed with the old ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_is_not_taken_for_the_old_one() {
    let Ok(brokers) = std::env::var("RANTAI_TEST_KAFKA") else { return };
    let Some(place) = Place::on(brokers, 1, &[]).await else { return };
    let (slot, topic) = (slot_now() - 3_600_000, place.kafka.topics.as_str());
    let send = |from: i64, to: i64| {
        let producer = place.producer();
        for n in from..to {
            let record = bare("fridge", slot + n * 1_000, "4.5");
            producer.send(BaseRecord::to(topic).partition(1).key("fridge").payload(&record)).expect("takes it");
        }
        producer.flush(10 * SECOND).expect("is acknowledged");
    };
    send(0, 20);
    let engine = place.server("engine").await;
    place.stored(20).await;
    engine.stop().await;
    let admin: AdminClient<DefaultClientContext> = place.client().create().expect("a client");
    let store = place.store().await;
    // Taken over while it has nothing yet, and while it has less than was processed; each time once more when it has grown beyond that.
    for (first, roles) in [(0, "engine"), (15, "web,ingest,engine")] {
        admin.delete_topics(&[topic], &AdminOptions::new()).await.expect("deletes");
        until("it is gone", async || {
            let metadata = admin.inner().fetch_metadata(None, 10 * SECOND).expect("brokers answer");
            metadata.topics().iter().all(|of| of.name() != topic).then_some(())
        })
        .await;
        until("it is made again", async || setup(&place.kafka, &SETUP).await.ok()).await;
        for (from, to) in [(20, 20 + first), (20 + first, 60)] {
            send(from, to);
            let engine = place.server(roles).await;
            let problem = until("the partition stands still", async || {
                let reply = engine.get("/readyz").await;
                (reply.status == 503 && reply.text.contains("stands still")).then_some(reply)
            })
            .await;
            let words = format!("partition 1 of {topic} stands still: its topic was made anew");
            assert!(problem.text.contains(&words), "{first}, {from} to {to}: {}", problem.text);
            engine.stop().await;
            assert_eq!(totals(&store).await.all.received, 20);
        }
    }
    let args = AcceptGapArgs { topic: topic.to_owned(), partition: 1, by: "Sari".to_owned() };
    let refused = accept_gap(&place.kafka, &store, &args).await.expect_err("this is no gap").to_string();
    assert!(refused.contains("no gap"), "{refused}");
    store.close().await;
    let reports = verified(&place).await.expect("tells");
    let told: Vec<String> = reports.iter().map(|(_, report)| report.to_string()).collect();
    assert!(told.iter().any(|text| text.contains("made anew")), "{told:?}");
    let refused = rebuild(&place).expect_err("its results would be lost");
    assert!(refused.contains("not the topic that it was"), "{refused}");
}

/// Partitions are added while an engine works: it takes them, and nothing is lost or counted twice.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_added() {
    const OFTEN: &str = "topic.metadata.refresh.interval.ms=500";
    let Ok(brokers) = std::env::var("RANTAI_TEST_KAFKA") else { return };
    let Some(place) = Place::on(brokers, 1, &[OFTEN]).await else { return };
    let server = place.server("web,ingest,engine").await;
    let start = slot_now() - 3_600_000;
    let lines = |from: i64, to: i64| {
        let line = |n: i64| envelope(&format!("e{n}"), &format!("d{}", n % 40), start + n * 1_000, "4.0");
        (from..to).map(line).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(server.post_lines(lines(0, 400)).await.status, 202);
    place.stored(400).await;
    let admin: AdminClient<DefaultClientContext> = place.client().create().expect("a client");
    let events = place.kafka.events();
    let more = NewPartitions::new(&events, 8);
    admin.create_partitions([&more], &AdminOptions::new()).await.expect("adds");
    let mut sent = 400;
    until("a record lies in a new partition", async || {
        assert_eq!(server.post_lines(lines(sent, sent + 40)).await.status, 202);
        sent += 40;
        ends(&place)[3..].iter().any(|end| *end > 0).then_some(())
    })
    .await;
    let found = place.stored(sent as u64).await.all;
    assert_eq!((found.received, found.accepted), (sent as u64, sent as u64));
    server.stop().await;
    for (name, report) in verified(&place).await.expect("tells") {
        assert_eq!(report.first_broken(), None, "{name}\n{report}");
    }
}

/// Over TLS, with a name and a password, by each mechanism; and not with a wrong one.
#[cfg(feature = "kafka-tls")]
#[tokio::test(flavor = "multi_thread")]
async fn over_tls_with_a_password() {
    let (keys, host) = (tempfile::tempdir().expect("a directory"), address_of_its_own());
    let keytool = |arguments: &str| {
        let mut keytool = std::process::Command::new("keytool");
        let done = keytool.current_dir(keys.path()).args(arguments.split(' ')).output().expect("Java has a keytool");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    };
    keytool(&format!(
        "-genkeypair -alias broker -keyalg RSA -dname CN={host} -ext SAN=IP:{host} -storetype PKCS12 -keystore broker.p12 \
         -storepass broker-secret",
    ));
    keytool("-exportcert -rfc -alias broker -keystore broker.p12 -storepass broker-secret -file broker.pem");
    keytool(
        "-importcert -noprompt -alias broker -file broker.pem -storetype PKCS12 -keystore trust.p12 -storepass broker-secret",
    );
    let (dir, scram) = (keys.path().display(), "org.apache.kafka.common.security.scram.ScramLoginModule required");
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    let settings = format!(
        "ssl.keystore.type=PKCS12\n\
         ssl.keystore.location={dir}/broker.p12\n\
         ssl.keystore.password=broker-secret\n\
         ssl.truststore.type=PKCS12\n\
         ssl.truststore.location={dir}/trust.p12\n\
         ssl.truststore.password=broker-secret\n\
         sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN\n\
         sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512\n\
         listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram} username=\"rantai\" password=\"word\";\n\
         listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} username=\"rantai\" password=\"word\";\n\
         listener.name.sasl_ssl.plain.sasl.jaas.config={plain} username=\"rantai\" password=\"word\" user_rantai=\"word\";\n"
    );
    let format =
        ["--add-scram", "SCRAM-SHA-256=[name=rantai,password=word]", "--add-scram", "SCRAM-SHA-512=[name=rantai,password=word]"];
    let extra = Extra { host, protocol: Some(("SASL_SSL", &settings)), format: &format, ..Extra::default() };
    let Some(cluster) = Cluster::start_with(1, &extra) else { return };
    let authority = format!("ssl.ca.location={dir}/broker.pem");
    let options = |mechanism: &'static str, password: &'static str| {
        [authority.as_str(), "security.protocol=SASL_SSL", mechanism, "sasl.username=rantai", password].map(str::to_owned)
    };
    for mechanism in ["sasl.mechanism=SCRAM-SHA-512", "sasl.mechanism=SCRAM-SHA-256", "sasl.mechanism=PLAIN"] {
        let options = options(mechanism, "sasl.password=word");
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let Some(place) = Place::on(cluster.address.clone(), 1, &options).await else { return };
        let server = place.server("ingest,engine").await;
        insist(&server, &envelope("e1", "d1", slot_now(), "4.0")).await;
        assert_eq!(place.stored(1).await.all.accepted, 1, "{mechanism}");
        server.stop().await;
    }
    let wrong = options("sasl.mechanism=SCRAM-SHA-512", "sasl.password=guess");
    let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
    let Some(place) = Place::without_topics(cluster.address.clone(), &wrong).await else { return };
    assert!(setup(&place.kafka, &SETUP).await.is_err(), "a wrong password opens nothing");
}
