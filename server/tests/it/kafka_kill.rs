//! SIGKILL under Kafka's load: of engines, each again and again, and of the broker that leads. What is there in the end is what one engine
//! makes of the same topics that nobody disturbs. The long form is that of `cargo xtask prove kill`, see [`crate::kill`].

use crate::brokers::Cluster;
use crate::kafka::{Place, SECOND, ends, stored_letters, told_letters, totals};
use crate::kill::{
    AGO_MS, Loading, Program, Sender, acknowledged, back, check_books, check_records, distinct, kills_of_engines, load, moments,
};
use crate::support::{LONG, Random, counts, now_ms, stores, until};
use domain::window::WindowConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::groups::GroupMemberInfo;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Kills of each engine in the short form.
const KILLS: u64 = 2;
/// A load that a debug build takes in, too.
const PAUSE: Duration = Duration::from_millis(40);
/// A member that was killed is taken for dead soon.
const SOON_DEAD: [&str; 2] = ["session.timeout.ms=4000", "heartbeat.interval.ms=700"];

/// Records that an engine has processed since it was started.
async fn processed(engine: &Program) -> u64 {
    let text = engine.text("/metrics").await;
    let values = text.lines().filter(|line| line.starts_with("rantai_partition_processed{"));
    values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

/// Two engines and somebody who takes records in, in processes of their own.
struct Crew {
    place: Place,
    dir: TempDir,
    engines: Vec<Program>,
    intake: Program,
    key: String,
    base: i64,
    /// Those who send.
    tasks: Vec<Loading>,
}

impl Crew {
    async fn start(place: Place) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let intake = place.program(&dir.path().join("intake"), "ingest").await;
        let engines = vec![place.program(&dir.path().join("engine-0"), "engine").await];
        let key = place.key().await;
        let base = now_ms() - AGO_MS;
        let tasks = load(Sender::all(PAUSE), base, &intake, &key, false);
        Self { place, dir, engines, intake, key, base, tasks }
    }

    /// Waits until an engine processes records; tells how everything stands where it does not.
    async fn works(&self, number: usize) {
        let begun = Instant::now();
        while processed(&self.engines[number]).await == 0 {
            assert!(begun.elapsed() <= LONG, "engine {number} processes nothing\n{}", self.told().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What engines, senders and the group say of themselves.
    async fn told(&self) -> String {
        let mut told = String::new();
        for (number, engine) in self.engines.iter().enumerate() {
            let metrics = engine.text("/metrics").await;
            let of_partitions: Vec<&str> = metrics.lines().filter(|line| line.starts_with("rantai_partition")).collect();
            writeln!(told, "engine {number}:\n{}", of_partitions.join("\n")).expect("a string");
        }
        writeln!(told, "senders: {:?}", self.tasks.iter().map(Loading::stage).collect::<Vec<_>>()).expect("a string");
        let consumer: BaseConsumer = self.place.client().create().expect("a consumer");
        let groups = consumer.fetch_group_list(Some(&self.place.kafka.group()), 10 * SECOND).expect("brokers answer");
        for group in groups.groups() {
            let members: Vec<&str> = group.members().iter().map(GroupMemberInfo::id).collect();
            writeln!(told, "group {}: {} of {members:?}", group.name(), group.state()).expect("a string");
        }
        told
    }

    async fn engine(&self, number: usize) -> Program {
        self.place.program(&self.dir.path().join(format!("engine-{number}")), "engine").await
    }

    /// Kills who takes records in, too, has sent again what was not acknowledged, and looks at what is there.
    async fn finish(self) -> (Place, Vec<Sender>) {
        let Self { place, dir, engines, intake, key, base, tasks } = self;
        intake.kill();
        let senders = back(tasks).await;
        let intake = place.program(&dir.path().join("intake"), "ingest").await;
        let senders = back(load(senders, base, &intake, &key, true)).await;
        let (all, received) = (distinct(&senders), acknowledged(&senders));
        let web = place.program(&dir.path().join("web"), "web").await;
        let store = place.store().await;
        // Everything, and not yet everything may both look like this while somebody is still at it: what is acknowledged is there.
        until("everything is stored and shown", async || {
            let stored = totals(&store).await.all;
            let [shown, unique, _, late, rejected] = counts(&web.json("/stats").await);
            (stored.accepted + stored.late + stored.rejected >= all
                && stored.received >= received
                && shown == stored.received
                && unique + late + rejected >= all)
                .then_some(())
        })
        .await;
        assert_eq!(told_letters(&place), stored_letters(&store).await, "every dead letter is told");
        store.close().await;
        check_books(&web, &senders, u64::MAX).await;
        check_records(&web, &senders, base).await;
        for mut engine in engines {
            engine.terminate();
            assert!(engine.ended().await.success(), "an engine stops in order");
        }
        (place, senders)
    }
}

/// Lets one engine process what there is, and stops it in order. Next offsets.
async fn caught_up(place: &Place, dir: &Path) -> Vec<i64> {
    let mut engine = place.program(dir, "engine").await;
    let (store, all) = (place.store().await, ends(place).iter().sum::<i64>());
    let next = async || store.overview().await.expect("reads").iter().map(|of| of.next_block as i64 - 1).collect::<Vec<i64>>();
    until("one engine has processed everything", async || (next().await.iter().sum::<i64>() >= all).then_some(())).await;
    engine.terminate();
    assert!(engine.ended().await.success());
    let next = next().await;
    store.close().await;
    next
}

/// Everything stored, line by line.
async fn stored(place: &Place) -> Vec<String> {
    let store = place.store().await;
    let mut lines: Vec<String> = store.dump(&WindowConfig::default()).await.expect("dumps").lines().map(str::to_owned).collect();
    // Devices of the same number in several partitions are told in no order.
    lines.sort_unstable();
    let places = store.kafka_partitions().await.expect("reads");
    lines.extend(places.iter().map(|place| format!("{place:?}")));
    store.close().await;
    lines
}

/// What is stored in `place` is what an engine makes of the same topics on its own and at one go.
async fn same_as_undisturbed(place: Place) {
    let postgres = stores().await.remove(1);
    let alone = Place { kafka: place.kafka.clone(), postgres };
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    // An engine that has nothing to do writes a timer every now and then: both have to have seen the same. What is stored is read once they
    // have, since that takes long enough for the next timer.
    let mut at = Vec::new();
    for _ in 0..10 {
        at = vec![caught_up(&place, dirs[0].path()).await, caught_up(&alone, dirs[1].path()).await];
        if at[0] == at[1] {
            break;
        }
    }
    assert_eq!(at[0], at[1], "timers never end");
    let (of_one, of_other) = (stored(&place).await, stored(&alone).await);
    for (line, expected) in of_one.iter().zip(&of_other) {
        assert_eq!(line, expected);
    }
    assert_eq!(of_one.len(), of_other.len());
    println!("{} lines of state as one undisturbed engine makes them", of_one.len());
}

/// How often engines were killed how, and how they came back: each has to have happened.
#[derive(Debug, Default)]
struct Kinds {
    at_work: u64,
    giving_back: u64,
    back_at_once: u64,
    back_later: u64,
}

/// Each of two engines in turn, in each of four rounds otherwise; the moments are seeded.
async fn kill_one(crew: &mut Crew, round: u64, random: &mut Random, kinds: &mut Kinds) {
    let number = round as usize % 2;
    crew.works(number).await;
    tokio::time::sleep(Duration::from_millis(random.below(400))).await;
    if matches!(round % 4, 1 | 2) {
        // In the middle of giving its partitions back, or soon after.
        crew.engines[number].terminate();
        tokio::time::sleep(Duration::from_millis(random.below(20))).await;
        kinds.giving_back += u64::from(crew.engines[number].has_ended().is_none());
    } else {
        kinds.at_work += 1;
    }
    crew.engines.remove(number).kill();
    if round % 4 >= 2 {
        // The other one takes over first, or not yet.
        tokio::time::sleep(Duration::from_millis(random.below(3_000))).await;
        kinds.back_later += 1;
    } else {
        kinds.back_at_once += 1;
    }
    let engine = crew.engine(number).await;
    crew.engines.insert(number, engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_killed_again_and_again_under_load() {
    let Ok(brokers) = std::env::var("RANTAI_TEST_KAFKA") else {
        eprintln!("Without RANTAI_TEST_KAFKA nothing on a real broker is tested.");
        return;
    };
    let Some(mut place) = Place::on(brokers, 1, &SOON_DEAD).await else { return };
    place.kafka.topics.clear();
    let (mut random, each, mut kinds) = (moments(), kills_of_engines(KILLS).max(KILLS), Kinds::default());
    let mut crew = Crew::start(place).await;
    // The first one gives partitions their numbers, in their order.
    crew.works(0).await;
    let second = crew.engine(1).await;
    crew.engines.push(second);
    for round in 0..2 * each {
        kill_one(&mut crew, round, &mut random, &mut kinds).await;
    }
    let (place, senders) = crew.finish().await;
    println!("{each} kills of each engine, {kinds:?}, {} different records", distinct(&senders));
    let Kinds { at_work, giving_back, back_at_once, back_later } = kinds;
    assert!([at_work, giving_back, back_at_once, back_later].iter().all(|often| *often > 0), "a kind of kill never happened");
    same_as_undisturbed(place).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "part of `cargo xtask prove kill`, which has no shorter form of it"]
async fn the_leading_broker_of_three_is_killed_under_load() {
    let Some(mut cluster) = Cluster::start(3) else { return };
    let Some(mut place) = Place::on(cluster.address.clone(), 3, &[]).await else { return };
    place.kafka.topics.clear();
    let mut crew = Crew::start(place).await;
    crew.works(0).await;
    let second = crew.engine(1).await;
    crew.engines.push(second);
    crew.works(1).await;
    let leader = {
        let consumer: BaseConsumer = crew.place.client().create().expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(&crew.place.kafka.events()), 10 * SECOND).expect("brokers answer");
        metadata.topics()[0].partitions()[0].leader()
    };
    let store = crew.place.store().await;
    let before = totals(&store).await.all.received;
    cluster.brokers[leader as usize - 1].kill();
    let killed_at = Instant::now();
    // Each partition has a leader again when a batch over all of them is acknowledged and processed.
    let goes_on = async |since: u64| {
        until("it goes on", async || (totals(&store).await.all.received > since + 1_000).then_some(())).await;
    };
    goes_on(before).await;
    let gap = killed_at.elapsed();
    assert!(gap < 30 * SECOND, "partitions moved in {gap:?}");
    // Back again, while there is load.
    cluster.brokers[leader as usize - 1].start();
    cluster.brokers[leader as usize - 1].wait();
    goes_on(totals(&store).await.all.received).await;
    store.close().await;
    let (place, senders) = crew.finish().await;
    let waited = senders.iter().map(|sender| sender.longest_wait).max().expect("there are senders");
    println!(
        "broker {leader} of three killed: processed again after {gap:?}, the longest wait of a sender {waited:?}, {} different records",
        distinct(&senders)
    );
    same_as_undisturbed(place).await;
}
