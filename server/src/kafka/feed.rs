//! What engines tell the processes that show pages: every change of a partition's state, in order, through a topic of its own.
//!
//! An update covers the blocks from where the one before it ended. Whoever misses one sees that, and loads what is stored again. Nothing
//! is shown that Kafka does not hold already, since engines process only what they have read from there.

use super::produce::{Outgoing, Producer};
use crate::pipeline::{Delays, News, Room};
use domain::engine::{DeviceState, Today, Totals};
use domain::rollup::{LateReading, StaleHours};
use domain::time::ProcessingTime;
use domain::window::Window;
use hashbrown::HashMap;
use rdkafka::message::OwnedHeaders;
use serde::{Deserialize, Serialize};

/// An update goes out in parts of about this size: a broker takes a million bytes unless it was told otherwise.
const PART_BYTES: usize = 600 << 10;

/// A part of an update.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    /// The partition's number.
    pub partition: u32,
    /// Who tells it; a lower one than known has lost its place.
    pub epoch: i64,
    /// The update covers the blocks from this
    pub from: u64,
    /// to before this.
    pub next: u64,
    /// Which part it is, from 0.
    pub number: u32,
    /// Devices that changed, encoded one by one.
    pub devices: Vec<Vec<u8>>,
    /// In the last part: everything that is not of a device.
    pub rest: Option<Rest>,
}

/// A device that changed.
#[derive(Debug, Deserialize)]
pub(super) struct DeviceNews {
    /// Its index in the partition.
    pub index: u32,
    /// Its state.
    pub state: DeviceState,
    /// Windows that left its memory: definition, window, and the block by which they had.
    pub closed: Vec<(u8, Window, u64)>,
}

/// What is not of a device.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rest {
    pub now: ProcessingTime,
    pub totals: Totals,
    /// Readings that came too late, by position, in order of it; devices by their index in the partition.
    pub late: Vec<(u64, LateReading)>,
    /// Dead letters that were decided, with the block that did.
    pub decided: Vec<(u64, u64)>,
    /// Records processed since the last update.
    pub taken: u32,
    /// How long they were on their way.
    pub delays: Delays,
    pub lag: u64,
    pub identities: u64,
    /// Everything before this block is stored.
    pub stored: u64,
    pub checkpoint_at: Option<ProcessingTime>,
}

/// Tells what changed in one partition.
pub(super) struct Teller {
    pub topic: String,
    /// The partition of the topic that takes it.
    pub to: i32,
    pub partition: u32,
    pub epoch: i64,
    /// What was told ends before this block.
    pub told: u64,
    /// What was stored when it was told last.
    pub stored: u64,
    pub received: u64,
}

impl Teller {
    /// Tells `news` of the blocks before `next`; nothing where there is none.
    pub fn tell(&mut self, producer: &Producer, room: &mut Room, news: News, next: u64, stored: u64) {
        if next == self.told && stored == self.stored {
            return;
        }
        let mut closed: HashMap<u32, Vec<(u8, Window, u64)>> = HashMap::new();
        for (of, block) in news.closed {
            closed.entry(of.device).or_default().push((of.definition, of.window, block));
        }
        let mut changed = news.devices;
        changed.sort_unstable();
        changed.dedup();
        let received = room.engine.totals().all.received;
        let part = |number, devices| Part {
            partition: self.partition,
            epoch: self.epoch,
            from: self.told,
            next,
            number,
            devices,
            rest: None,
        };
        let (mut parts, mut devices, mut bytes) = (Vec::new(), Vec::new(), 0);
        for index in changed {
            let closed = closed.remove(&index).unwrap_or_default();
            // As a `DeviceNews` is encoded.
            let device = encode(&(index, room.engine.device_state(index), closed));
            bytes += device.len();
            devices.push(device);
            if bytes >= PART_BYTES {
                parts.push(part(parts.len() as u32, std::mem::take(&mut devices)));
                bytes = 0;
            }
        }
        debug_assert!(closed.is_empty(), "a window left a device that did not change");
        let mut last = part(parts.len() as u32, devices);
        last.rest = Some(Rest {
            now: room.engine.now(),
            totals: Totals {
                stale: StaleHours::default(),
                today: Today::default(),
                pairings: Vec::new(),
                ..room.engine.totals().clone()
            },
            late: news.late,
            decided: news.decided,
            taken: received.saturating_sub(self.received) as u32,
            delays: std::mem::take(&mut room.delays),
            lag: room.lag(),
            identities: room.identities() as u64,
            stored,
            checkpoint_at: room.checkpoint_at,
        });
        parts.push(last);
        let bodies: Vec<Vec<u8>> = parts.iter().map(encode).collect();
        let messages = bodies.iter().map(|body| Outgoing {
            partition: Some(self.to),
            key: None,
            value: Some(body),
            headers: OwnedHeaders::new(),
        });
        // Lost: whoever reads sees the gap before the next one.
        let _ = producer.send(&self.topic, messages);
        (self.told, self.stored, self.received) = (next, stored, received);
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("the state has no type that postcard cannot write")
}
