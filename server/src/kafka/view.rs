//! What a process with pages knows: all partitions as one, loaded from the store and kept up by the feed of the engines.
//!
//! Its [`Room`] is asked like that of an embedded engine. Late records and dead letters it has as far as they are stored.

use super::feed::{DeviceNews, Part, Rest};
use super::{KafkaConfig, position};
use crate::feed::Feed;
use crate::pipeline::{Ask, Question, Room, Thread, wall_clock};
use crate::publish::Publisher;
use crate::store::{Overview, Store, StoreError};
use anyhow::{Context, ensure};
use domain::engine::{ClosedWindow, Engine, EngineConfig, Totals};
use domain::feed::PartitionNow;
use domain::master::Master;
use domain::rollup::{HourCell, LateReading, PackedHour};
use domain::time::ProcessingTime;
use hashbrown::{HashMap, HashSet};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long the feed is waited for before questions are looked at.
const WAIT: Duration = Duration::from_millis(4);
/// Messages of the feed that are taken in between two looks at questions.
const AT_ONCE: usize = 64;
/// Clocks of machines differ by less.
const SKEW_MS: i64 = 60_000;
/// Between two loads of what is stored.
const LOAD_APART: Duration = Duration::from_secs(1);
/// How long Kafka may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the database may take to name a partition.
const WAIT_FOR_NAMES: Duration = Duration::from_millis(500);
/// Changed hours are a checkpoint's matter: dropped now and then.
const TIDY: Duration = Duration::from_mins(1);

/// What is known of a partition.
#[derive(Debug, Default)]
struct Followed {
    epoch: i64,
    /// What was loaded ends before this block,
    loaded: u64,
    /// what is known altogether before this.
    covered: u64,
    /// The position of the newest late reading that its figures have, where it was not loaded.
    late_until: u64,
    /// Of the update that ends before this block, so many parts have come.
    parts: (u64, u32),
    totals: Totals,
    lag: u64,
    identities: u64,
    checkpoint_at: Option<ProcessingTime>,
}

/// What is needed to load it all again.
struct Source {
    kafka: KafkaConfig,
    store: Store,
    master: Arc<Master>,
    config: EngineConfig,
    runtime: tokio::runtime::Handle,
}

struct View {
    source: Source,
    room: Room,
    followed: BTreeMap<u32, Followed>,
    consumer: BaseConsumer,
    /// Partition and block of each window in `room.closed`, in its order.
    closed_by: Vec<(u32, u64)>,
    /// Device, definition and start of them.
    is_closed: HashSet<(u32, u8, i64)>,
    /// Topic and number within it of the partitions.
    names: HashMap<u32, (String, i32)>,
    /// Indices here of devices that are not registered, by partition and index there.
    indices: HashMap<(u32, u32), u32>,
    loaded_at: Instant,
    is_amiss: bool,
}

/// Loads what is stored and follows the feed, until `stop`.
pub(super) async fn start(
    kafka: KafkaConfig,
    store: Store,
    master: Arc<Master>,
    config: EngineConfig,
    feed: Arc<Feed>,
    stop: CancellationToken,
) -> anyhow::Result<(Ask, Thread)> {
    let runtime = tokio::runtime::Handle::current();
    let source = Source { kafka, store, master, config, runtime };
    let view = tokio::task::spawn_blocking(move || View::load(source)).await.context("load what is stored")??;
    let (questions, asked) = mpsc::channel::<Question>();
    let thread = std::thread::Builder::new().name("view".into()).spawn(move || {
        view.run(Publisher::new(feed), &asked, &stop);
        Ok(())
    })?;
    let ask: Ask = Arc::new(move |question| questions.send(question).is_ok());
    Ok((ask, ("view", thread)))
}

impl View {
    fn load(source: Source) -> anyhow::Result<Self> {
        // The library wants a group for every consumer; nobody joins this one.
        let group = format!("{}.web", source.kafka.prefix);
        let consumer: BaseConsumer = source
            .kafka
            .client(
                &[("fetch.wait.max.ms", "50")],
                &[("group.id", &group), ("enable.auto.commit", "false"), ("auto.offset.reset", "earliest")],
            )
            .create()
            .context("make a consumer for Kafka")?;
        let room = Room::new(Engine::new(source.config.clone(), &source.master), wall_clock(), []);
        let mut view = Self {
            source,
            room,
            followed: BTreeMap::new(),
            consumer,
            closed_by: Vec::new(),
            is_closed: HashSet::new(),
            names: HashMap::new(),
            indices: HashMap::new(),
            loaded_at: Instant::now(),
            is_amiss: false,
        };
        let Source { store, runtime, .. } = &view.source;
        let all = runtime.block_on(store.checked_overview()).context("load what is stored")?;
        view.begin_with(all)?;
        Ok(view)
    }

    /// Begins anew with what is stored.
    fn load_again(&mut self) -> anyhow::Result<()> {
        let Source { store, runtime, .. } = &self.source;
        let all = runtime.block_on(store.overview()).context("load what is stored")?;
        self.begin_with(all)
    }

    /// Begins with all partitions as they were stored, and with the feed as it was then.
    fn begin_with(&mut self, all: Vec<Overview>) -> anyhow::Result<()> {
        let Source { store, master, config, runtime, .. } = &self.source;
        let read = async { Ok::<_, StoreError>((store.kafka_partitions().await?, store.uptime_start(wall_clock()).await?)) };
        let (names, uptime_start) = runtime.block_on(read).context("load what is stored")?;
        self.names = names.into_iter().map(|of| (of.number, (of.topic, of.partition))).collect();
        let mut totals = Totals::default();
        let mut hours: BTreeMap<i64, Vec<PackedHour>> = BTreeMap::new();
        let (mut now, mut oldest) = (ProcessingTime::from_ms(0), i64::MAX);
        let (mut places, mut states, mut decided) = (Vec::new(), Vec::new(), Vec::new());
        let mut followed = BTreeMap::new();
        for of in all {
            let Overview { partition, epoch, next_block, committed_at, .. } = of;
            totals.add(&of.totals);
            now = now.max(of.now);
            oldest = oldest.min(committed_at.map_or(0, ProcessingTime::ms));
            for (start, hour) in of.hours {
                hours.entry(start).or_default().push(hour);
            }
            for (index, state) in of.devices {
                places.push((partition, index, state.id.clone(), state.received_at.is_some()));
                states.push(state);
            }
            decided.extend(of.decided);
            let (loaded, covered) = (next_block, next_block);
            let fresh =
                Followed { epoch, loaded, covered, checkpoint_at: committed_at, totals: of.totals, ..Followed::default() };
            followed.insert(partition, fresh);
        }
        let hours = hours.into_iter().map(|(start, parts)| (start, sum(&parts)));
        let engine = Engine::restore(config.clone(), master, now, totals, states, hours);
        // Delays are told again by what of the feed is read again.
        let rates = std::mem::take(&mut self.room.rates);
        self.room = Room::new(engine, uptime_start, decided);
        self.room.rates = rates;
        self.room.checkpoint_at = followed.values().filter_map(|of| of.checkpoint_at).max();
        self.followed = followed;
        self.tell_partitions();
        self.closed_by.clear();
        self.is_closed.clear();
        self.indices.clear();
        for (partition, index, id, is_heard) in places {
            let here = self.room.engine.device_by_id(&id).context("a device that was just restored")?;
            self.place(partition, index, here, is_heard)?;
        }
        self.begin_feed((oldest < i64::MAX).then_some((oldest - SKEW_MS).max(0)))?;
        (self.loaded_at, self.is_amiss) = (Instant::now(), false);
        Ok(())
    }

    /// Notes where the store has the device of index `here`.
    ///
    /// A partition may know it by its pairing alone: where something `is_heard` of the device itself counts more.
    fn place(&mut self, partition: u32, index: u32, here: u32, is_heard: bool) -> anyhow::Result<()> {
        let registered = self.source.master.sensors().len() as u32;
        if index < registered {
            ensure!(
                here == index,
                "device {here} has another place in the master data of the engines; start the same program everywhere"
            );
        } else {
            self.indices.insert((partition, index), here);
            if is_heard || !self.room.places.contains_key(&here) {
                self.room.places.insert(here, (partition, index));
            }
        }
        Ok(())
    }

    /// Reads the feed from `since` on, from its beginning where nothing was ever stored.
    fn begin_feed(&self, since: Option<i64>) -> anyhow::Result<()> {
        let topic = self.source.kafka.feed();
        let metadata = self.consumer.fetch_metadata(Some(&topic), PATIENCE).context("reach Kafka")?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len() as i32);
        ensure!(partitions > 0, "Kafka has no topic `{topic}`: run `rantai kafka setup`");
        let mut begin = TopicPartitionList::new();
        for partition in 0..partitions {
            begin.add_partition_offset(&topic, partition, since.map_or(Offset::Beginning, Offset::Offset)).context("a list")?;
        }
        if since.is_some() {
            begin = self.consumer.offsets_for_times(begin, PATIENCE).context("ask where the feed was")?;
        }
        self.consumer.assign(&begin).context("read the feed")?;
        Ok(())
    }

    fn run(mut self, mut publisher: Publisher, asked: &mpsc::Receiver<Question>, stop: &CancellationToken) {
        let (mut next_tick, mut tidied) = (Instant::now(), Instant::now());
        while !stop.is_cancelled() {
            let mut wait = WAIT;
            for _ in 0..AT_ONCE {
                match self.consumer.poll(std::mem::take(&mut wait)) {
                    Some(Ok(message)) => {
                        let part = message.payload().map(postcard::from_bytes::<Part>);
                        drop(message);
                        if let Some(Ok(part)) = part {
                            self.take(part);
                        } else {
                            // Of another version of this program; its engines store what they do.
                            tracing::debug!("A message of the feed cannot be read.");
                        }
                    }
                    Some(Err(error)) => tracing::debug!(%error, "The feed's consumer complains."),
                    None => break,
                }
            }
            for question in asked.try_iter() {
                question(&mut self.room);
            }
            if self.is_amiss && self.loaded_at.elapsed() >= LOAD_APART {
                self.loaded_at = Instant::now();
                tracing::info!("The feed has a gap; what is stored is loaded again.");
                if let Err(error) = self.load_again() {
                    tracing::warn!(error = format!("{error:#}"), "What is stored cannot be loaded; trying again.");
                }
            }
            if Instant::now() >= next_tick {
                // Silence is told by nobody.
                self.room.engine.adopt_time(wall_clock());
                publisher.publish(&mut self.room);
                next_tick = Instant::now() + publisher.pause();
            }
            if tidied.elapsed() >= TIDY {
                self.room.engine.take_changed_hours();
                self.room.engine.take_changed().for_each(drop);
                tidied = Instant::now();
            }
        }
        // Whoever still asks is told that the server stops.
    }

    /// Takes in a part of an update, if it is one of those that are missing.
    fn take(&mut self, part: Part) {
        let fresh = || Followed { epoch: part.epoch, loaded: 1, covered: 1, ..Followed::default() };
        let of = self.followed.entry(part.partition).or_insert_with(fresh);
        if part.epoch < of.epoch || part.next < of.covered {
            return;
        }
        // One that took over and told nothing may have made the state anew.
        self.is_amiss |= part.epoch > of.epoch + 1;
        of.epoch = part.epoch;
        let expected = if of.parts.0 == part.next { of.parts.1 } else { 0 };
        if part.from > of.covered || (part.number != expected && part.number > 0) {
            self.is_amiss = true;
            return;
        }
        of.parts = (part.next, part.number + 1);
        let loaded = of.loaded;
        for device in part.devices {
            match postcard::from_bytes(&device) {
                Ok(news) => self.adopt(part.partition, loaded, news),
                Err(error) => tracing::warn!(%error, "A device of the feed cannot be read."),
            }
        }
        if let Some(rest) = part.rest {
            self.finish(part.partition, part.next, rest);
        }
    }

    fn adopt(&mut self, partition: u32, loaded: u64, news: DeviceNews) {
        let known = self.room.engine.device_by_id(&news.state.id);
        let mut closed = Vec::new();
        for (definition, window, block) in news.closed {
            // What was loaded holds it, or another engine told it already.
            if block > loaded && !known.is_some_and(|here| self.is_closed.contains(&(here, definition, window.start))) {
                closed.push((ClosedWindow { device: 0, definition, window }, block));
            }
        }
        let windows: Vec<ClosedWindow> = closed.iter().map(|(window, _)| *window).collect();
        let is_heard = news.state.received_at.is_some();
        let here = self.room.engine.adopt(news.state, &windows);
        if let Err(error) = self.place(partition, news.index, here, is_heard) {
            tracing::error!(%error, "A device of the feed cannot be placed.");
        }
        for (window, block) in closed {
            self.is_closed.insert((here, window.definition, window.window.start));
            self.closed_by.push((partition, block));
            self.room.closed.push(ClosedWindow { device: here, ..window });
        }
    }

    /// Lets the room know how each partition does.
    fn tell_partitions(&mut self) {
        if !self.followed.keys().all(|number| self.names.contains_key(number)) {
            // One that nobody had read before. Asked once: without the database it has no name until what is stored is loaded again.
            let Source { store, runtime, .. } = &self.source;
            let asked = runtime.block_on(async { tokio::time::timeout(WAIT_FOR_NAMES, store.kafka_partitions()).await });
            if let Ok(Ok(names)) = asked {
                self.names.extend(names.into_iter().map(|of| (of.number, (of.topic, of.partition))));
            }
            for number in self.followed.keys() {
                self.names.entry(*number).or_default();
            }
        }
        let of = |(number, of): (&u32, &Followed)| {
            let (topic, partition) = self.names[number].clone();
            PartitionNow { topic, partition, next: of.covered - 1, lag: of.lag, checkpoint_at: of.checkpoint_at }
        };
        self.room.partitions = self.followed.iter().map(of).collect();
        self.room.partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    }

    fn finish(&mut self, partition: u32, next: u64, rest: Rest) {
        let Some(of) = self.followed.get_mut(&partition) else { return };
        of.covered = of.covered.max(next);
        let registered = self.source.master.sensors().len() as u32;
        let loaded = position(partition, of.loaded);
        for (position, late) in rest.late {
            // What was loaded holds it, or another engine told it already.
            if position < loaded || position <= of.late_until {
                continue;
            }
            of.late_until = position;
            let here =
                if late.device < registered { Some(late.device) } else { self.indices.get(&(partition, late.device)).copied() };
            match here {
                Some(device) => self.room.engine.adopt_late(&LateReading { device, ..late }),
                None => self.is_amiss = true,
            }
        }
        (of.totals, of.lag, of.identities) = (rest.totals, rest.lag, rest.identities);
        of.checkpoint_at = of.checkpoint_at.max(rest.checkpoint_at);
        self.room.rates.count(rest.taken, wall_clock());
        self.room.delays.add(&rest.delays);
        self.room.decided.extend(rest.decided);
        let mut totals = Totals::default();
        self.followed.values().for_each(|of| totals.add(&of.totals));
        let lag: u64 = self.followed.values().map(|of| of.lag).sum();
        self.room.processed = totals.all.received;
        self.room.admitted.store(totals.all.received + lag, Ordering::Relaxed);
        self.room.identities = self.followed.values().map(|of| of.identities as usize).sum();
        self.room.checkpoint_at = self.followed.values().filter_map(|of| of.checkpoint_at).max();
        self.room.engine.adopt_totals(totals);
        self.room.engine.adopt_time(rest.now);
        self.tell_partitions();
        // What is stored is read from there.
        let Self { room, closed_by, is_closed, .. } = self;
        if closed_by.iter().any(|(of, block)| *of == partition && *block <= rest.stored) {
            let mut by = closed_by.iter();
            room.closed.retain(|window| {
                let (of, block) = by.next().expect("one for each window");
                let is_stored = *of == partition && *block <= rest.stored;
                if is_stored {
                    is_closed.remove(&(window.device, window.definition, window.window.start));
                }
                !is_stored
            });
            closed_by.retain(|(of, block)| *of != partition || *block > rest.stored);
        }
    }
}

/// An hour of several partitions.
fn sum(parts: &[PackedHour]) -> PackedHour {
    let mut sum: Vec<HourCell> = Vec::new();
    for cells in parts.iter().map(PackedHour::cells) {
        sum.resize(sum.len().max(cells.len()), HourCell::default());
        sum.iter_mut().zip(&cells).for_each(|(to, from)| to.add(from));
    }
    sum.into()
}
