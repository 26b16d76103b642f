//! `rantai kafka …`: topics with their partitions, retention and kind of time, made or checked; and going on after a gap.

use super::extent::watermarks;
use super::{KafkaConfig, MAX_MESSAGE_BYTES};
use crate::pipeline::wall_clock;
use crate::store::{Retention, Store};
use crate::travel;
use anyhow::{Context, bail, ensure};
use domain::engine::Pairing;
use domain::time::{DAY_MS, HOUR_MS};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a broker may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Engines need to find again what came in since their last run of identities, a day at most, and people need time to mend things.
const SHORTEST_RETENTION_MS: i64 = 3 * DAY_MS;
/// The feed only has to bridge a checkpoint.
const FEED_RETENTION_MS: i64 = HOUR_MS;
/// The time of a message is that of the broker: `received_at` must not be a matter of a sender's clock.
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const LOG_APPEND_TIME: &str = "LogAppendTime";
/// How long a message may be.
const MESSAGE_BYTES: &str = "max.message.bytes";
/// Topics of others take so many bytes at least, as they do unless they were told otherwise: a batch of what engines write there has as many.
const LEAST_MESSAGE_BYTES: usize = 1 << 20;

/// How many brokers have to have a message before it is acknowledged, whatever a producer asks for: `acks=all` waits for those that are in
/// step at the moment, which may be one.
const IN_SYNC: &str = "min.insync.replicas";

/// What topics should be like.
#[derive(Clone, Debug, clap::Args)]
pub struct SetupArgs {
    /// Partitions of each input: as many as engines may ever work side by side; each takes about 10 MB of memory, idle too
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// Brokers that keep each message. With two or more, two have it before it is acknowledged: of two, nothing is taken in while one is
    /// away; of three, all goes on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=32))]
    pub replication: i32,
    /// Days for which inputs are kept: no longer can windows, lateness or the format of the state be changed by a rebuild
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(i64).range(3..=3650))]
    pub keep_days: i64,
    /// Only look: an error where something would have to be made or changed
    #[arg(long)]
    pub check: bool,
}

/// A topic as it should be.
struct Wanted {
    name: String,
    partitions: i32,
    config: BTreeMap<&'static str, String>,
}

fn admin(kafka: &KafkaConfig) -> anyhow::Result<AdminClient<DefaultClientContext>> {
    kafka.client(&[], &[]).create().context("make a client for Kafka")
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

/// A topic that exists.
#[derive(Clone, Copy)]
struct Existing {
    partitions: i32,
    /// Brokers that keep each message of the partition that has fewest.
    copies: i32,
}

/// The topics that exist.
fn existing<C: ClientContext>(kafka: &KafkaConfig, client: &Client<C>) -> anyhow::Result<BTreeMap<String, Existing>> {
    let metadata = client.fetch_metadata(None, PATIENCE).with_context(|| format!("reach Kafka at {}", kafka.brokers))?;
    let of = |topic: &MetadataTopic| {
        let copies = topic.partitions().iter().map(|partition| partition.replicas().len() as i32).min();
        Existing { partitions: topic.partitions().len() as i32, copies: copies.unwrap_or(0) }
    };
    Ok(metadata.topics().iter().map(|topic| (topic.name().to_owned(), of(topic))).collect())
}

/// How many of `copies` have to be there: a broker that is lost takes nothing along that was acknowledged.
fn in_sync(copies: i32) -> i32 {
    copies.clamp(1, 2)
}

/// Settings of a topic that exists.
async fn settings(admin: &AdminClient<DefaultClientContext>, name: &str) -> anyhow::Result<BTreeMap<String, (String, bool)>> {
    let mut found = admin
        .describe_configs(&[ResourceSpecifier::Topic(name)], &options())
        .await
        .with_context(|| format!("ask for the settings of {name}"))?;
    let found = found.pop().context("Kafka's answer is empty")?;
    let found = found.map_err(|code| anyhow::anyhow!("the settings of {name} cannot be read: {code}"))?;
    let entry = |entry: rdkafka::admin::ConfigEntry| Some((entry.name, (entry.value?, !entry.is_default)));
    Ok(found.entries.into_iter().filter_map(entry).collect())
}

/// Makes what is missing, changes what is not as it should be, and says what it did.
pub async fn setup(kafka: &KafkaConfig, args: &SetupArgs) -> anyhow::Result<()> {
    let admin = admin(kafka)?;
    let by_default = Retention::default().log_days;
    if args.keep_days < i64::from(by_default) {
        println!(
            "after {} days Kafka deletes what results could be made anew from (`rantai kafka rebuild`): windows, lateness and the format of \
             the state stay as they are from then on; an embedded log is kept for {by_default} days (`--keep-days`)",
            args.keep_days
        );
    }
    let input = BTreeMap::from([
        (TIMESTAMP_TYPE, LOG_APPEND_TIME.to_owned()),
        ("retention.ms", (args.keep_days * DAY_MS).to_string()),
        ("cleanup.policy", "delete".to_owned()),
        (MESSAGE_BYTES, MAX_MESSAGE_BYTES.to_string()),
    ]);
    let letters = BTreeMap::from([
        ("retention.ms", (args.keep_days * DAY_MS).to_string()),
        ("cleanup.policy", "delete".to_owned()),
        (MESSAGE_BYTES, MAX_MESSAGE_BYTES.to_string()),
    ]);
    let feed = BTreeMap::from([
        ("retention.ms", FEED_RETENTION_MS.to_string()),
        ("segment.ms", (HOUR_MS / 4).to_string()),
        ("cleanup.policy", "delete".to_owned()),
        (MESSAGE_BYTES, MAX_MESSAGE_BYTES.to_string()),
    ]);
    let mut wanted: Vec<Wanted> =
        kafka.inputs().into_iter().map(|name| Wanted { name, partitions: args.partitions, config: input.clone() }).collect();
    wanted.push(Wanted { name: kafka.dead_letters(), partitions: args.partitions, config: letters });
    wanted.push(Wanted { name: kafka.feed(), partitions: args.partitions, config: feed });
    let existing = existing(kafka, admin.inner())?;
    let (mut is_amiss, mut is_beyond, mut made) = (false, false, Vec::new());
    for topic in &wanted {
        match existing.get(&topic.name) {
            None if args.check => {
                println!("{}: missing", topic.name);
                is_amiss = true;
            }
            None => {
                make(&admin, topic, args.replication).await?;
                made.push(topic.name.as_str());
            }
            Some(found) => {
                is_amiss |= !adjust(&admin, topic, *found, args.check).await?;
                is_beyond |= !fits(topic, *found, args);
            }
        }
    }
    ensure!(!is_amiss, "not everything is as it should be: run `rantai kafka setup` without `--check`");
    ensure!(!is_beyond, "what is said above of partitions and copies cannot be changed here: see to it with Kafka's own tools");
    led(kafka, admin.inner(), &made).await
}

/// Waits until Kafka tells who leads each partition of the topics `made` a moment ago: who starts next has to find them.
async fn led<C: ClientContext>(kafka: &KafkaConfig, client: &Client<C>, made: &[&str]) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metadata = client.fetch_metadata(None, PATIENCE).with_context(|| format!("reach Kafka at {}", kafka.brokers))?;
        let led: Vec<&str> = metadata
            .topics()
            .iter()
            .filter(|topic| !topic.partitions().is_empty() && topic.partitions().iter().all(|partition| partition.leader() >= 0))
            .map(MetadataTopic::name)
            .collect();
        let Some(missing) = made.iter().find(|name| !led.contains(name)) else { return Ok(()) };
        ensure!(Instant::now() < deadline, "Kafka has made the topic {missing}, and nobody leads it after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn make(admin: &AdminClient<DefaultClientContext>, topic: &Wanted, replication: i32) -> anyhow::Result<()> {
    let mut fresh = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(replication));
    let in_sync = in_sync(replication).to_string();
    fresh = fresh.set(IN_SYNC, &in_sync);
    for (key, value) in &topic.config {
        fresh = fresh.set(key, value);
    }
    let made = admin.create_topics([&fresh], &options()).await.with_context(|| format!("make {}", topic.name))?;
    for result in made {
        match result {
            // Somebody else was as fast.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => bail!("Kafka does not make the topic {name}: {code}"),
        }
    }
    println!("{}: made with {} partitions", topic.name, topic.partitions);
    Ok(())
}

/// Whether what cannot be changed of a topic is as `args` want it. More of it is fine, and other partitions are an error only to who asks
/// whether all is as it should be: another number would send devices to partitions where nothing is known of them.
fn fits(topic: &Wanted, found: Existing, args: &SetupArgs) -> bool {
    let Existing { partitions, copies } = found;
    if partitions != topic.partitions {
        println!("{}: has {partitions} partitions, and keeps them", topic.name);
    }
    if copies < args.replication {
        println!("{}: {copies} brokers keep each message, should be {}", topic.name, args.replication);
    }
    copies >= args.replication && (partitions >= topic.partitions || !args.check)
}

/// Whether the settings of `topic` are as they should be, at last.
async fn adjust(admin: &AdminClient<DefaultClientContext>, topic: &Wanted, of: Existing, check: bool) -> anyhow::Result<bool> {
    let found = settings(admin, &topic.name).await?;
    let value = |key: &str| found.get(key).map_or("", |(value, _)| value.as_str());
    let mut wanted = topic.config.clone();
    wanted.insert(IN_SYNC, in_sync(of.copies).to_string());
    let amiss: Vec<(&str, &String)> = wanted
        .iter()
        .filter(|(key, wanted)| match **key {
            // Kept longer is fine, and without end too.
            "retention.ms" => value(key).parse::<i64>().is_ok_and(|kept| kept >= 0 && kept < wanted.parse().unwrap_or(0)),
            MESSAGE_BYTES => value(key).parse::<i64>().is_ok_and(|most| most < wanted.parse().unwrap_or(0)),
            // More than there are: nothing would ever be acknowledged.
            IN_SYNC => value(key).parse::<i32>().is_ok_and(|least| least < in_sync(of.copies) || least > of.copies),
            key => value(key) != wanted.as_str(),
        })
        .map(|(key, wanted)| (*key, wanted))
        .collect();
    for (key, wanted) in &amiss {
        println!("{}: {key} is {}, should be {wanted}", topic.name, value(key));
    }
    if amiss.is_empty() {
        println!("{}: as it should be", topic.name);
        return Ok(true);
    }
    if check {
        return Ok(false);
    }
    // What is not named would go back to its default.
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(&topic.name));
    for (key, (value, is_own)) in &found {
        if *is_own {
            change = change.set(key, value);
        }
    }
    for (key, wanted) in &amiss {
        change = change.set(key, wanted);
    }
    for result in admin.alter_configs([&change], &options()).await.with_context(|| format!("change {}", topic.name))? {
        result.map_err(|(_, code)| anyhow::anyhow!("Kafka does not change the topic {}: {code}", topic.name))?;
    }
    println!("{}: changed", topic.name);
    Ok(true)
}

/// Refuses topics that are missing or take too short messages, and inputs whose messages carry their senders' time; how many partitions
/// the feed has.
pub(super) fn check_topics<C: ClientContext>(
    kafka: &KafkaConfig,
    pairings: &[Pairing],
    client: &Client<C>,
    runtime: &tokio::runtime::Handle,
) -> anyhow::Result<i32> {
    let existing = existing(kafka, client)?;
    let admin = admin(kafka)?;
    let missing = |name: &str| format!("Kafka has no topic `{name}`: run `rantai kafka setup`");
    for name in kafka.inputs() {
        ensure!(existing.contains_key(&name), missing(&name));
        let found = runtime.block_on(settings(&admin, &name))?;
        let value = |key: &str| found.get(key).map_or("", |(value, _)| value.as_str());
        let timestamp = value(TIMESTAMP_TYPE);
        ensure!(
            timestamp == LOG_APPEND_TIME,
            "the topic `{name}` has {TIMESTAMP_TYPE}={timestamp}, which leaves the time to its senders: run `rantai kafka setup`"
        );
        let kept: i64 = value("retention.ms").parse().unwrap_or(-1);
        ensure!(
            !(0..SHORTEST_RETENTION_MS).contains(&kept),
            "the topic `{name}` keeps its messages for less than three days: run `rantai kafka setup`"
        );
        // Into topics of others engines write the fixes of trackers, and what is noted in them.
        let least = if name == kafka.events() { MAX_MESSAGE_BYTES } else { LEAST_MESSAGE_BYTES };
        ensure_room(&name, value(MESSAGE_BYTES), least.max(note_bytes(pairings)))?;
        let (copies, least) = (existing[&name].copies, value(IN_SYNC).parse().unwrap_or(1));
        if copies == 1 {
            tracing::info!(topic = name, "One broker keeps each message: with its disk they are gone.");
        } else if least < in_sync(copies) {
            tracing::warn!(
                topic = name,
                copies,
                "What is acknowledged may lie on {least} broker alone ({IN_SYNC}): run `rantai kafka setup`."
            );
        }
    }
    let (letters, feed) = (kafka.dead_letters(), kafka.feed());
    ensure!(existing.contains_key(&letters), missing(&letters));
    let found = runtime.block_on(settings(&admin, &letters))?;
    ensure_room(&letters, found.get(MESSAGE_BYTES).map_or("", |(value, _)| value), MAX_MESSAGE_BYTES)?;
    existing.get(&feed).map(|of| of.partitions).with_context(|| missing(&feed))
}

/// How long the message is that notes `pairings`.
fn note_bytes(pairings: &[Pairing]) -> usize {
    travel::encode(pairings).len() + 1024
}

/// Refuses a topic that does not take messages of `least` bytes.
fn ensure_room(name: &str, value: &str, least: usize) -> anyhow::Result<()> {
    let most = value.parse().unwrap_or(usize::MAX);
    ensure!(
        most >= least,
        "the topic `{name}` takes messages of {most} bytes, and {least} are needed: run `rantai kafka setup` ({MESSAGE_BYTES})"
    );
    Ok(())
}

/// Which partition may go on without what is gone.
#[derive(Clone, Debug, clap::Args)]
pub struct AcceptGapArgs {
    /// Its topic
    #[arg(long)]
    pub topic: String,
    /// Its number within the topic
    #[arg(long)]
    pub partition: i32,
    /// Who decides
    #[arg(long)]
    pub by: String,
}

/// Lets a partition go on with the first message that Kafka still has. The gap is noted, and the engine that owns it begins anew behind
/// it.
pub async fn accept_gap(kafka: &KafkaConfig, store: &Store, args: &AcceptGapArgs) -> anyhow::Result<()> {
    let places = store.kafka_partitions().await?;
    let place = places.iter().find(|place| (place.topic.as_str(), place.partition) == (&args.topic, args.partition));
    let number = place.with_context(|| format!("no engine has read partition {} of {} yet", args.partition, args.topic))?.number;
    let (config, topic, partition) = (kafka.client(&[], &[]), args.topic.clone(), args.partition);
    let watermarks = tokio::task::spawn_blocking(move || -> anyhow::Result<(i64, i64)> {
        let consumer: BaseConsumer = config.create()?;
        Ok(watermarks(consumer.client(), &topic, partition)?)
    });
    let (low, high) = watermarks.await?.context("ask what Kafka has")?;
    let needed = store.begins_at(number).await?.map_or(0, |block| block as i64 - 1);
    ensure!(
        needed < low,
        "there is no gap that could be passed over: offset {needed} is needed next, and Kafka has {low} to before {high}"
    );
    store.accept_gap(number, low as u64 + 1, wall_clock().ms(), &args.by).await?;
    println!("partition {} of {} goes on at offset {low}, without gap({needed},{low})", args.partition, args.topic);
    Ok(())
}
