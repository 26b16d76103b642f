//! What waits in Kafka, processed by one engine on Postgres: an engine that comes back after a stop of the whole country's processing.
//!
//! Taken in over HTTP like everything, by a process of its own; then the engine starts, and is measured from its first record to its
//! last, and until the last is committed. Kafka and Postgres are those of `cargo xtask bench`, empty, and on the same machine.

use crate::figures::Figures;
use crate::program::{Server, simulate};
use anyhow::{Context, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use server::kafka::KafkaConfig;
use server::store::{Store, StoreAddress};
use std::time::{Duration, Instant};

/// A million readings of thermometers a day, the national load that the product was asked for, a hundred times: records a second.
const HUNDREDFOLD: f64 = 100.0 * 1_000_000.0 / 86_400.0;
/// Between two looks at how far the engine is.
const LOOK: Duration = Duration::from_millis(50);
/// How long the first record may take, and the whole.
const PATIENCE: Duration = Duration::from_mins(30);

/// Measures on `hours` of the country.
pub fn run(figures: &mut Figures, hours: u64) -> anyhow::Result<()> {
    let told = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set: `cargo xtask bench kafka` sets it"));
    let (brokers, postgres) = (told("RANTAI_TEST_KAFKA")?, told("RANTAI_TEST_POSTGRES")?);
    let aside = tempfile::tempdir()?;
    let settings = [
        ("RANTAI_LOG", "kafka"),
        ("RANTAI_KAFKA_BROKERS", brokers.as_str()),
        ("RANTAI_STORE", postgres.as_str()),
        ("RANTAI_DATA_DIR", aside.path().to_str().context("a path of text")?),
    ];
    Server::rantai(&settings, &["kafka", "setup"])?;
    let key = Server::rantai(&settings, &["key", "create", "--name", "bench"])?;

    let intake = Server::start_beside(&settings, &["--roles", "ingest"], key)?;
    let (began, past) = (Instant::now(), format!("{hours}h"));
    let sent = simulate(&intake, &["--backfill", &past, "--duration", "0s"])?.status()?;
    let took = began.elapsed();
    ensure!(sent.success(), "the past was not sent");
    drop(intake);
    let waiting = messages(&brokers)?;
    ensure!(waiting > 0, "nothing waits in Kafka");
    figures.add("kafka: records", waiting as f64, "");
    figures.add("kafka: HTTP to Kafka, acknowledged by the broker", waiting as f64 / took.as_secs_f64(), "records/s");

    let engine = Server::start_beside(&settings, &["--roles", "engine"], String::new())?;
    let end = Instant::now() + PATIENCE;
    // Until so many are processed: the look before it, and the one that found it, each with the CPU time until then.
    let wait_for = |least: u64| -> anyhow::Result<[(Instant, f64); 2]> {
        let look = || anyhow::Ok((Instant::now(), engine.cpu_seconds()?));
        let mut before = look()?;
        loop {
            let processed = engine.sum_of_metric("rantai_partition_processed")? as u64;
            let now = look()?;
            if processed >= least {
                return Ok([before, now]);
            }
            ensure!(now.0 < end, "{processed} of {waiting} records after {} min", PATIENCE.as_secs() / 60);
            before = now;
            std::thread::sleep(LOOK);
        }
    };
    let [(first, cpu_before), _] = wait_for(1)?;
    let [_, (last, cpu)] = wait_for(waiting)?;
    let peak = engine.peak_mib()?;
    // Not stopped before: a stop gives up a checkpoint that takes too long.
    let mut stored = stored(&postgres)?;
    while stored < waiting {
        ensure!(Instant::now() < end, "{stored} of {waiting} records are in Postgres after {} min", PATIENCE.as_secs() / 60);
        std::thread::sleep(LOOK);
        stored = self::stored(&postgres)?;
    }
    let committed = first.elapsed();
    ensure!(stored == waiting, "{stored} records are in Postgres, and {waiting} were sent");
    let took = last.duration_since(first);
    let rate = waiting as f64 / took.as_secs_f64();
    figures.add("kafka: to engine to Postgres, first to last record", took.as_secs_f64(), "s");
    figures.add("kafka: to engine to Postgres", rate, "records/s");
    figures.add("kafka: of real time at a hundred times a million records a day", rate / HUNDREDFOLD, "×");
    let fleet = waiting as f64 / (hours * 3_600) as f64;
    figures.add("kafka: of real time at a hundred times this fleet", rate / (100.0 * fleet), "×");
    figures.add("kafka: to engine to Postgres, until the last is committed", committed.as_secs_f64(), "s");
    figures.add("kafka: CPU of the engine", (cpu - cpu_before) / waiting as f64 * 1e6, "µs/record");
    figures.add("kafka: peak memory of the engine", peak, "MiB");
    Ok(())
}

/// How many messages there are in our input.
fn messages(brokers: &str) -> anyhow::Result<u64> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let (topic, patience) = (KafkaConfig::default().events(), Duration::from_secs(15));
    let metadata = consumer.fetch_metadata(Some(&topic), patience)?;
    let partitions = metadata.topics().first().context("the topic")?.partitions();
    let ends = partitions.iter().map(|of| anyhow::Ok(consumer.fetch_watermarks(&topic, of.id(), patience)?.1 as u64));
    ends.sum()
}

/// How many records the counters in Postgres know of.
fn stored(postgres: &str) -> anyhow::Result<u64> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let dir = tempfile::tempdir()?;
        let store = Store::open(&StoreAddress::Postgres(postgres.to_owned()), dir.path()).await?;
        let received = store.overview().await?.iter().map(|of| of.totals.all.received).sum();
        store.close().await;
        Ok(received)
    })
}
