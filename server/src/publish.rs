//! What of the engine's state goes to which page, and when: at most one update a topic and half second, changes only.

use crate::feed::Feed;
use crate::pipeline::{Room, wall_clock};
use domain::coldchain::Condition;
use domain::engine::Engine;
use domain::feed::{ChildNow, DeviceNow, LiveTopic, OutOfRange, PipelineNow, RegionNow, Update};
use domain::rollup::{Node, UNASSIGNED};
use domain::time::{HOUR_MS, ProcessingTime};
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time between two updates of one topic.
const PACE: Duration = Duration::from_millis(500);
/// So many changed devices at once are a flood: a national fleet in real time changes a few a tick.
const FLOOD: usize = 2_000;
/// A child's age alone is news once it moved by so much, in milliseconds.
const AGE_STEP_MS: i64 = 30_000;
/// Devices of a "worst" list.
pub const WORST: usize = 20;

/// What a topic's listeners were sent last.
#[derive(Debug, Default)]
struct Sent {
    at: Option<Instant>,
    region: Option<RegionNow>,
    children: HashMap<String, ChildNow>,
    worst: Vec<OutOfRange>,
    devices: HashMap<String, DeviceNow>,
    pipeline: PipelineNow,
}

/// Turns changes of the room into updates for those who listen.
pub struct Publisher {
    feed: Arc<Feed>,
    sent: HashMap<LiveTopic, Sent>,
    flushed_at: Option<Instant>,
}

impl Publisher {
    /// For the listeners of `feed`.
    pub fn new(feed: Arc<Feed>) -> Self {
        Self { feed, sent: HashMap::new(), flushed_at: None }
    }

    /// Sends what changed. The room's roll-ups are up to date afterwards.
    pub fn publish(&mut self, room: &mut Room) {
        // Under a flood one flush per pace serves the same pages for a fraction of the work.
        if room.engine.dirty_len() < FLOOD || self.flushed_at.is_none_or(|at| at.elapsed() >= PACE) {
            room.engine.flush();
            self.flushed_at = Some(Instant::now());
        }
        room.engine.rollup_mut().take_touched();
        let topics = self.feed.topics();
        self.sent.retain(|topic, _| topics.contains(topic));
        for topic in topics {
            let sent = self.sent.entry(topic.clone()).or_default();
            if sent.at.is_some_and(|at| at.elapsed() < PACE) {
                continue;
            }
            if let Some(update) = full(room, &topic).and_then(|update| changes(update, sent)) {
                sent.at = Some(Instant::now());
                self.feed.publish(&topic, &update);
            }
        }
    }
}

/// Of a full update, what differs from what was sent last; `None` where nothing does.
fn changes(update: Update, sent: &mut Sent) -> Option<Update> {
    match update {
        Update::Region { code, now, mut children, worst } => {
            children.retain(|child| match sent.children.get(&child.code) {
                Some(last) => {
                    let age = |c: &ChildNow| c.last_data.map_or(0, ProcessingTime::ms);
                    last.counts != child.counts || age(child) - age(last) >= AGE_STEP_MS
                }
                None => true,
            });
            for child in &children {
                sent.children.insert(child.code.clone(), child.clone());
            }
            let worst = worst.filter(|worst| *worst != sent.worst);
            if sent.region.as_ref() == Some(&now) && children.is_empty() && worst.is_none() {
                return None;
            }
            if let Some(worst) = &worst {
                sent.worst.clone_from(worst);
            }
            sent.region = Some(now.clone());
            Some(Update::Region { code, now, children, worst })
        }
        Update::Facility { code, mut devices } => {
            devices.retain(|device| sent.devices.get(&device.id) != Some(device));
            for device in &devices {
                sent.devices.insert(device.id.clone(), device.clone());
            }
            (!devices.is_empty()).then_some(Update::Facility { code, devices })
        }
        Update::Device { device } => {
            if sent.devices.get(&device.id) == Some(&device) {
                return None;
            }
            sent.devices.insert(device.id.clone(), device.clone());
            Some(Update::Device { device })
        }
        Update::Pipeline { now } => {
            if sent.pipeline == now {
                return None;
            }
            sent.pipeline = now.clone();
            Some(Update::Pipeline { now })
        }
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
pub fn region_now(engine: &Engine, node: Node) -> RegionNow {
    let hour = engine.now().ms() - engine.now().ms().rem_euclid(HOUR_MS);
    RegionNow {
        counts: engine.rollup().counts(node),
        histogram: engine.rollup().histogram(node).to_vec(),
        hour: engine.rollup().hours(node, hour).next(),
        last_data: engine.rollup().last_data(node),
    }
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
        log_bytes: room.log_bytes,
        checkpoint_at: room.checkpoint_at,
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
                now: region_now(engine, node),
                children: children(engine, node).into_iter().map(|(n, code)| child_now(engine, n, code)).collect(),
                worst: Some(engine.worst(node, WORST)),
            }
        }
        LiveTopic::Facility(code) => {
            let facility = engine.master().facility_by_code(code)?;
            let sensors = engine.master().facility(facility).sensor_ixs();
            Update::Facility { code: code.clone(), devices: sensors.map(|s| engine.device_now(s.0)).collect() }
        }
        LiveTopic::Device(id) => Update::Device { device: engine.device_now(engine.device_by_id(id)?) },
        LiveTopic::Pipeline => Update::Pipeline { now: pipeline_now(room) },
    })
}

/// Worst first: freezing, other excursions, no word, fine.
pub const fn severity(condition: Condition) -> u8 {
    match condition {
        Condition::Freezing => 0,
        Condition::TooWarm => 1,
        Condition::TooCold => 2,
        Condition::NoWord => 3,
        Condition::Fine => 4,
    }
}
