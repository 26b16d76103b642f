//! What of the engine's state goes to which page, and when: changes only, the first after quiet at once, no part of a page more
//! than twice a second.

mod pace;

use crate::feed::{Feed, event_of};
use crate::pipeline::{Room, wall_clock};
use bytes::Bytes;
use domain::engine::Engine;
use domain::feed::{ChildNow, DeviceMore, DeviceNow, LiveTopic, OutOfRange, PipelineNow, RegionNow, Update, past_of};
use domain::master::RegionIx;
use domain::rollup::{Node, UNASSIGNED};
use domain::time::{HOUR_MS, ProcessingTime};
use hashbrown::{HashMap, HashSet};
use pace::Pace;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Between two looks for changes while somebody listens; what a page is behind the disk at least.
const LOOK: Duration = Duration::from_millis(20);
/// The same while nobody does.
const REST: Duration = Duration::from_millis(100);
/// Looking takes this share of the engine's time at most: one part in so many.
const SHARE: u32 = 8;
/// Between two messages of one topic, which may be about different parts of its page.
const MESSAGES_APART: Duration = Duration::from_millis(100);
/// So many changed devices at once are a flood: a national fleet in real time changes a few a tick.
const FLOOD: usize = 2_000;
/// How long roll-ups may stand still in a flood: one flush serves the same pages for a fraction of the work.
const FLOOD_FLUSH: Duration = Duration::from_millis(500);
/// Between two looks for topics that nobody came back to.
const FORGET_APART: Duration = Duration::from_secs(1);
/// A child's age alone is news once it moved by so much, in milliseconds.
const AGE_STEP_MS: i64 = 30_000;
/// Devices of a "worst" list.
pub const WORST: usize = 20;

/// A part of a page: what its listeners were sent last, and when.
#[derive(Debug)]
struct Tile<T> {
    value: Option<T>,
    /// News to those who were sent `value`, of what new listeners were told meanwhile: without it they would never hear that a value
    /// that was held back is gone.
    mixed: News,
    pace: Pace,
}

impl<T> Default for Tile<T> {
    fn default() -> Self {
        Self { value: None, mixed: News::None, pace: Pace::default() }
    }
}

/// What a change of a tile is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    /// Nothing that anybody would see.
    None,
    /// Seen, and good enough a second later.
    Slow,
    /// What the page is there for.
    Urgent,
}

impl<T: PartialEq> Tile<T> {
    /// Of a tile every change of which is urgent.
    fn news(&self, value: &T) -> News {
        if self.value.as_ref() == Some(value) { News::None } else { News::Urgent }
    }

    /// Whether `news` may go out at `now`; what may not is `held`.
    fn is_due(&self, news: News, now: Instant, held: &mut bool) -> bool {
        let is_due = self.value.is_none()
            || match news.max(self.mixed) {
                News::None => return false,
                News::Slow => self.pace.may_follow(now),
                News::Urgent => self.pace.may_lead(now),
            };
        *held |= !is_due;
        is_due
    }

    /// A new listener was told what is `news` to the others.
    fn told(&mut self, news: News) {
        self.mixed = if domain::planted("snapshot-misses-a-correction") { News::None } else { self.mixed.max(news) };
    }

    fn put(&mut self, value: T, now: Instant) {
        self.mixed = News::None;
        // The first only repeats what a new listener was told: the next change need not wait for it.
        if self.value.replace(value).is_some() {
            self.pace.sent(now);
        }
    }
}

/// The parts of a topic's page.
#[derive(Debug)]
enum Page {
    Region {
        code: String,
        node: Node,
        own: Tile<RegionNow>,
        children: HashMap<String, Tile<ChildNow>>,
        worst: Tile<Vec<OutOfRange>>,
    },
    Facility {
        code: String,
        sensors: Vec<u32>,
        devices: HashMap<u32, Tile<DeviceNow>>,
    },
    Device {
        id: String,
        tile: Tile<(DeviceNow, DeviceMore)>,
    },
    Pipeline(Tile<PipelineNow>),
    /// Nothing has that name.
    Nothing,
}

/// A topic that somebody listens to.
#[derive(Debug)]
struct Watched {
    page: Page,
    /// When a change was sent last; the whole state at the beginning is none.
    changed_at: Option<Instant>,
    has_begun: bool,
    /// There may be something that has not been sent.
    is_waiting: bool,
}

/// Turns changes of the room into updates for those who listen.
pub struct Publisher {
    feed: Arc<Feed>,
    outgoing: mpsc::Sender<(LiveTopic, Bytes)>,
    watched: HashMap<LiveTopic, Watched>,
    /// The version of the feed's topics that `watched` agrees with.
    version: Option<u64>,
    flushed_at: Option<Instant>,
    /// When topics that nobody came back to were last forgotten.
    forgot_at: Option<Instant>,
    pause: Duration,
}

impl Publisher {
    /// For the listeners of `feed`.
    pub fn new(feed: Arc<Feed>) -> Self {
        // Thousands of listeners are told by a thread of their own, or the engine would wait for that. Bounded by the pace of topics.
        let (outgoing, messages) = mpsc::channel::<(LiveTopic, Bytes)>();
        let to = Arc::clone(&feed);
        let tell = move || messages.iter().for_each(|(topic, event)| to.send(&topic, &event));
        std::thread::Builder::new().name("feed".into()).spawn(tell).expect("the system has one more thread at the start");
        Self { feed, outgoing, watched: HashMap::new(), version: None, flushed_at: None, forgot_at: None, pause: REST }
    }

    /// How long to wait before [`Publisher::publish`] is called again.
    pub const fn pause(&self) -> Duration {
        self.pause
    }

    /// Sends what changed.
    pub fn publish(&mut self, room: &mut Room) {
        let now = Instant::now();
        room.rates.note_lag(room.lag(), wall_clock());
        if self.forgot_at.is_none_or(|at| now.duration_since(at) >= FORGET_APART) {
            self.forgot_at = Some(now);
            self.feed.forget_left(now);
        }
        self.follow(&room.engine);
        for (topic, updates) in self.feed.take_told() {
            if let Some(watched) = self.watched.get_mut(&topic) {
                for update in &updates {
                    watched.page.told(update);
                }
                watched.is_waiting = true;
            }
        }
        if self.watched.is_empty() {
            self.pause = REST;
            return;
        }
        if room.engine.dirty_len() < FLOOD || self.flushed_at.is_none_or(|at| now.duration_since(at) >= FLOOD_FLUSH) {
            room.engine.flush();
            self.flushed_at = Some(now);
        }
        let touched: HashSet<Node> = room.engine.rollup_mut().take_touched().into_iter().collect();
        for (topic, watched) in &mut self.watched {
            watched.is_waiting |= watched.page.may_differ(room, &touched);
            if !watched.is_waiting || watched.changed_at.is_some_and(|at| now.duration_since(at) < MESSAGES_APART) {
                continue;
            }
            let (update, is_held) = watched.page.changes(room, now);
            watched.is_waiting = is_held;
            if let Some(update) = update {
                if std::mem::replace(&mut watched.has_begun, true) {
                    watched.changed_at = Some(now);
                }
                // Ended only by a panic of its own, which is in the log.
                let _ = self.outgoing.send((topic.clone(), event_of(&update)));
            }
        }
        self.pause = LOOK.max(now.elapsed() * SHARE);
    }

    /// Forgets topics that nobody listens to any more and begins with new ones.
    fn follow(&mut self, engine: &Engine) {
        // Read before the topics: what comes in between is found the next time.
        let version = Some(self.feed.version());
        if version == self.version {
            return;
        }
        let topics: HashSet<LiveTopic> = self.feed.topics().into_iter().collect();
        self.watched.retain(|topic, _| topics.contains(topic));
        for topic in topics {
            let page = || Page::of(engine, &topic);
            let watched = || Watched { page: page(), changed_at: None, has_begun: false, is_waiting: true };
            self.watched.entry_ref(&topic).or_insert_with(watched);
        }
        self.version = version;
    }
}

impl Page {
    fn of(engine: &Engine, topic: &LiveTopic) -> Self {
        match topic {
            LiveTopic::Region(code) => node_of_region(engine, code).map_or(Page::Nothing, |node| Page::Region {
                code: code.clone(),
                node,
                own: Tile::default(),
                children: HashMap::new(),
                worst: Tile::default(),
            }),
            LiveTopic::Facility(code) => engine.master().facility_by_code(code).map_or(Page::Nothing, |ix| Page::Facility {
                code: code.clone(),
                sensors: engine.master().facility(ix).sensor_ixs().map(|sensor| sensor.0).collect(),
                devices: HashMap::new(),
            }),
            // Nobody need have heard of it yet.
            LiveTopic::Device(id) => Page::Device { id: id.clone(), tile: Tile::default() },
            LiveTopic::Pipeline => Page::Pipeline(Tile::default()),
        }
    }

    /// Whether it may differ from what was sent, after the figures of `touched` places changed.
    fn may_differ(&self, room: &Room, touched: &HashSet<Node>) -> bool {
        match self {
            // What lies below a region touches it too. How much comes in changes also when nothing does.
            Page::Region { node, own, .. } => {
                let sent = own.value.as_ref().and_then(|sent| sent.per_second);
                touched.contains(node) || (sent.is_some() && sent != Some(room.rates.per_second(wall_clock())))
            }
            Page::Facility { .. } | Page::Device { .. } | Page::Pipeline(_) => true,
            Page::Nothing => false,
        }
    }

    /// A new listener was told `update`, its whole state.
    fn told(&mut self, update: &Update) {
        match (self, update) {
            (Page::Region { own, children: known, worst, .. }, Update::Region { now, children, worst: list, .. }) => {
                own.told(news_of_region(own.value.as_ref(), now));
                for child in children {
                    if let Some(tile) = known.get_mut(&child.code) {
                        tile.told(news_of_child(tile.value.as_ref(), child));
                    }
                }
                if let Some(list) = list {
                    worst.told(worst.news(list));
                }
            }
            (Page::Facility { sensors, devices: known, .. }, Update::Facility { devices, .. }) => {
                for (sensor, device) in sensors.iter().zip(devices) {
                    if let Some(tile) = known.get_mut(sensor) {
                        tile.told(tile.news(device));
                    }
                }
            }
            (Page::Device { tile, .. }, Update::Device { device, more }) => tile.told(tile.news(&(device.clone(), more.clone()))),
            (Page::Pipeline(tile), Update::Pipeline { now }) => tile.told(tile.news(now)),
            _ => {}
        }
    }

    /// What differs from what was sent and may go out at `now`, and whether anything has to wait.
    fn changes(&mut self, room: &Room, now: Instant) -> (Option<Update>, bool) {
        let (engine, mut is_held) = (&room.engine, false);
        let update = match self {
            Page::Region { code, node, own, children: known, worst } => {
                let figures = region_now(room, *node);
                let news = news_of_region(own.value.as_ref(), &figures);
                let mut is_due = own.is_due(news, now, &mut is_held);
                if is_due {
                    own.put(figures, now);
                }
                // What is only a child's age waits for the next message of the region: it would repeat the region's figures for that alone.
                let takes_slow = is_due || own.pace.may_follow(now);
                let mut due_children = Vec::new();
                for child in children(engine, *node).into_iter().map(|(node, code)| child_now(engine, node, code)) {
                    let tile = known.entry_ref(&child.code).or_default();
                    let news = news_of_child(tile.value.as_ref(), &child);
                    if news.max(tile.mixed) == News::Slow && !takes_slow {
                        is_held = true;
                    } else if tile.is_due(news, now, &mut is_held) {
                        tile.put(child.clone(), now);
                        due_children.push(child);
                    }
                }
                let list = engine.worst(*node, WORST);
                let news = worst.news(&list);
                let due_worst = worst.is_due(news, now, &mut is_held).then(|| {
                    worst.put(list.clone(), now);
                    list
                });
                is_due |= !due_children.is_empty() || due_worst.is_some();
                // A message about other parts repeats what its page shows of the region itself.
                let now = own.value.clone().unwrap_or_default();
                is_due.then(|| Update::Region { code: code.clone(), now, children: due_children, worst: due_worst })
            }
            Page::Facility { code, sensors, devices: known } => {
                let mut due = Vec::new();
                for sensor in sensors {
                    let device = engine.device_now(*sensor);
                    let tile = known.entry(*sensor).or_default();
                    if tile.is_due(tile.news(&device), now, &mut is_held) {
                        tile.put(device.clone(), now);
                        due.push(device);
                    }
                }
                (!due.is_empty()).then(|| Update::Facility { code: code.clone(), devices: due })
            }
            Page::Device { id, tile } => engine.device_by_id(id).and_then(|index| {
                let own = (engine.device_now(index), engine.device_more(index));
                tile.is_due(tile.news(&own), now, &mut is_held).then(|| {
                    tile.put(own.clone(), now);
                    Update::Device { device: own.0, more: own.1 }
                })
            }),
            // Counting what is open takes a while, so only when it may be sent.
            Page::Pipeline(tile) if tile.pace.may_lead(now) => {
                let figures = pipeline_now(room);
                tile.is_due(tile.news(&figures), now, &mut is_held).then(|| {
                    tile.put(figures.clone(), now);
                    Update::Pipeline { now: figures }
                })
            }
            Page::Pipeline(_) | Page::Nothing => None,
        };
        (update, is_held)
    }
}

fn news_of_region(sent: Option<&RegionNow>, figures: &RegionNow) -> News {
    sent.map_or(News::Urgent, |sent| match sent {
        sent if sent.counts != figures.counts => News::Urgent,
        sent if sent != figures => News::Slow,
        _ => News::None,
    })
}

fn news_of_child(sent: Option<&ChildNow>, child: &ChildNow) -> News {
    let age = |c: &ChildNow| c.last_data.map_or(0, ProcessingTime::ms);
    match sent {
        Some(sent) if sent.counts == child.counts => {
            if age(child) - age(sent) >= AGE_STEP_MS {
                News::Slow
            } else {
                News::None
            }
        }
        _ => News::Urgent,
    }
}

/// The node of a region's code; the country's, a province's, …, or that of unregistered devices.
pub fn node_of_region(engine: &Engine, code: &str) -> Option<Node> {
    if code == UNASSIGNED {
        return Some(engine.rollup().unassigned());
    }
    engine.rollup().of_region(engine.master().region_by_code(code)?)
}

/// The figures of a node.
pub fn region_now(room: &Room, node: Node) -> RegionNow {
    let engine = &room.engine;
    let is_country = engine.rollup().place(node) == Some(Ok(RegionIx(0)));
    let hour = engine.now().ms() - engine.now().ms().rem_euclid(HOUR_MS);
    RegionNow {
        counts: engine.rollup().counts(node),
        histogram: engine.rollup().histogram(node).to_vec(),
        hour: engine.rollup().hours(node, hour).next(),
        last_data: engine.rollup().last_data(node),
        per_second: is_country.then(|| room.rates.per_second(wall_clock())),
        past: past(engine, node, hour),
    }
}

/// See [`RegionNow::past`]; `hour` is the one that is running.
fn past(engine: &Engine, node: Node, hour: i64) -> u32 {
    let before = engine.rollup().hours(node, hour - 23 * HOUR_MS).take_while(|h| h.hour < hour);
    if domain::planted("past-is-not-told") { 0 } else { past_of(before) }
}

/// The nodes directly below a region: sub-regions with figures, then facilities.
pub fn children(engine: &Engine, node: Node) -> Vec<(Node, String)> {
    let Some(Ok(region)) = engine.rollup().place(node) else { return Vec::new() };
    let master = engine.master();
    let regions =
        master.children(region).filter_map(|child| Some((engine.rollup().of_region(child)?, master.region(child).code.clone())));
    let facilities = master.facilities_of(region).map(|f| (engine.rollup().of_facility(f), master.facility(f).code.clone()));
    regions.chain(facilities).collect()
}

/// A child's row.
pub fn child_now(engine: &Engine, node: Node, code: String) -> ChildNow {
    ChildNow { code, counts: engine.rollup().counts(node), last_data: engine.rollup().last_data(node) }
}

/// The pipeline's figures.
pub fn pipeline_now(room: &Room) -> PipelineNow {
    let engine = &room.engine;
    let all = engine.totals().all;
    let registered = engine.master().sensors().len() as u32;
    PipelineNow {
        received: all.received,
        accepted: all.accepted,
        duplicate: all.duplicate,
        late: all.late,
        rejected: all.rejected,
        per_second: room.rates.per_second(wall_clock()),
        lag: room.lag(),
        devices: engine.device_count(),
        unregistered: engine.device_count() - registered,
        open_windows: engine.open_windows(),
        closed_windows: engine.totals().closed_windows,
        corrected_windows: engine.totals().corrected_windows,
        delays: room.delays.now(wall_clock()),
        log_bytes: room.log_bytes,
        checkpoint_at: room.checkpoint_at,
        watermarks: engine.watermarks(),
        partitions: room.partitions.clone(),
        undecided: all.rejected.saturating_sub(room.decided() as u64),
    }
}

/// The whole state of a topic; `None` where there is nothing of that name.
pub fn full(room: &Room, topic: &LiveTopic) -> Option<Update> {
    let engine = &room.engine;
    Some(match topic {
        LiveTopic::Region(code) => {
            let node = node_of_region(engine, code)?;
            Update::Region {
                code: code.clone(),
                now: region_now(room, node),
                children: children(engine, node).into_iter().map(|(n, code)| child_now(engine, n, code)).collect(),
                worst: Some(engine.worst(node, WORST)),
            }
        }
        LiveTopic::Facility(code) => {
            let facility = engine.master().facility_by_code(code)?;
            let sensors = engine.master().facility(facility).sensor_ixs();
            Update::Facility { code: code.clone(), devices: sensors.map(|s| engine.device_now(s.0)).collect() }
        }
        LiveTopic::Device(id) => {
            let index = engine.device_by_id(id)?;
            Update::Device { device: engine.device_now(index), more: engine.device_more(index) }
        }
        LiveTopic::Pipeline => Update::Pipeline { now: pipeline_now(room) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change that is held back, seen by who comes meanwhile, and then undone: the others heard of nothing, but the newcomer has to.
    #[test]
    fn a_newcomer_is_told_that_a_held_change_is_gone() {
        let (now, mut held) = (Instant::now(), false);
        let mut tile = Tile::default();
        tile.put("A", now);
        assert!(!tile.is_due(tile.news(&"A"), now, &mut held), "the others know");
        tile.told(tile.news(&"A"));
        assert!(!tile.is_due(tile.news(&"A"), now, &mut held), "so does a newcomer who was told the same");
        tile.told(tile.news(&"B"));
        assert!(tile.is_due(tile.news(&"A"), now, &mut held));
        tile.put("A", now);
        assert!(!tile.is_due(tile.news(&"A"), now, &mut held), "once");
    }
}
