//! What the live stream carries to the browser, and the state it changes there.
//!
//! Every update carries values as they are now, never differences of numbers: applying one twice, or after a gap, is safe.

use crate::coldchain::{Condition, Excursion};
use crate::event::{DeviceStatus, Reading, Topic};
use crate::join::Fix;
use crate::master::EquipmentKind;
use crate::milli::Milli;
use crate::sequence::Gap;
use crate::time::{EventTime, HOUR_MS, ProcessingTime};
use serde::{Deserialize, Serialize};

/// A stream that a page can subscribe to, written `kind:key` (`region:32`, `facility:P321705-1`, `device:P321705-1-F1`, `pipeline`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum LiveTopic {
    /// A node of the hierarchy, by code (`ID` for the country).
    Region(String),
    /// A facility, by code.
    Facility(String),
    /// A device, by id.
    Device(String),
    /// The pipeline itself.
    Pipeline,
}

impl std::fmt::Display for LiveTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LiveTopic::Region(code) => write!(f, "region:{code}"),
            LiveTopic::Facility(code) => write!(f, "facility:{code}"),
            LiveTopic::Device(id) => write!(f, "device:{id}"),
            LiveTopic::Pipeline => f.write_str("pipeline"),
        }
    }
}

impl From<LiveTopic> for String {
    fn from(topic: LiveTopic) -> Self {
        topic.to_string()
    }
}

/// A text that names no live topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no live topic: expected region:CODE, facility:CODE, device:ID or pipeline")]
pub struct NoSuchLiveTopic(pub String);

impl std::str::FromStr for LiveTopic {
    type Err = NoSuchLiveTopic;
    fn from_str(text: &str) -> Result<Self, NoSuchLiveTopic> {
        let no_such = || NoSuchLiveTopic(text.to_owned());
        match text.split_once(':') {
            Some((_, "")) => Err(no_such()),
            Some(("region", code)) => Ok(LiveTopic::Region(code.to_owned())),
            Some(("facility", code)) => Ok(LiveTopic::Facility(code.to_owned())),
            Some(("device", id)) => Ok(LiveTopic::Device(id.to_owned())),
            None if text == "pipeline" => Ok(LiveTopic::Pipeline),
            _ => Err(no_such()),
        }
    }
}

impl TryFrom<String> for LiveTopic {
    type Error = NoSuchLiveTopic;
    fn try_from(text: String) -> Result<Self, NoSuchLiveTopic> {
        text.parse()
    }
}

/// One message of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Update {
    /// A region's figures, and those of its children that changed.
    Region {
        /// Code of the node.
        code: String,
        /// Its own figures.
        now: RegionNow,
        /// Children whose figures changed: sub-regions, and facilities of its own.
        children: Vec<ChildNow>,
        /// The devices outside their range now, worst first, at most 20; absent where unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worst: Option<Vec<OutOfRange>>,
    },
    /// Devices of a facility that changed.
    Facility {
        /// Code of the facility.
        code: String,
        /// The changed devices.
        devices: Vec<DeviceNow>,
    },
    /// A device.
    Device {
        /// Its state.
        device: DeviceNow,
        /// What only its own page shows.
        #[serde(default)]
        more: DeviceMore,
    },
    /// The pipeline's figures.
    Pipeline {
        /// All of them.
        now: PipelineNow,
    },
}

/// How many devices stand how, and how many facilities are heard of. Counts are of registered equipment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Registered devices in refrigerators, freezers and cold rooms.
    pub devices: u32,
    /// In range with fresh data.
    pub fine: u32,
    /// Above range.
    pub too_warm: u32,
    /// Below range, above freezing.
    pub too_cold: u32,
    /// At or below 0 °C where nothing may freeze.
    pub freezing: u32,
    /// No reading in the last hour.
    pub no_word: u32,
    /// Facilities with at least one device.
    pub facilities: u32,
    /// Of those, heard of in the last hour.
    pub facilities_reporting: u32,
}

impl Counts {
    /// Devices heard of in the last hour.
    pub const fn reporting(&self) -> u32 {
        self.devices - self.no_word
    }
    /// Devices outside their range now.
    pub const fn out_of_range(&self) -> u32 {
        self.too_warm + self.too_cold + self.freezing
    }
    /// The counter of a condition.
    pub fn of(&mut self, condition: Condition) -> &mut u32 {
        match condition {
            Condition::Fine => &mut self.fine,
            Condition::TooWarm => &mut self.too_warm,
            Condition::TooCold => &mut self.too_cold,
            Condition::Freezing => &mut self.freezing,
            Condition::NoWord => &mut self.no_word,
        }
    }
}

/// Number of columns of a temperature histogram: below −2 °C, 28 of half a degree from −2 to 12 °C, 12 °C and above.
pub const HISTOGRAM_COLUMNS: usize = 30;

/// A node of the hierarchy now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RegionNow {
    /// How its equipment stands.
    pub counts: Counts,
    /// Refrigerators (2–8 °C) by newest temperature, see [`HISTOGRAM_COLUMNS`]; only those heard of in the last hour. Empty where not asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<u32>,
    /// The hour that is running, see [`HourCounts`]; absent before the first window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<HourCounts>,
    /// When the newest record of any of its devices came in.
    pub last_data: Option<ProcessingTime>,
    /// Records of all kinds taken in per second over the last ten; of the country alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f32>,
    /// Another number whenever one of the 23 hours before that one is another, see [`past_of`]: its day is to be asked for again.
    #[serde(default)]
    pub past: u32,
}

/// A number for what pages draw of `hours`: other hours have another one, as good as always (FNV-1a, by words).
pub fn past_of(hours: impl Iterator<Item = HourCounts>) -> u32 {
    hours
        .flat_map(|h| [(h.hour / HOUR_MS) as u32, h.windows, h.low, h.high])
        .fold(0x811c_9dc5, |hash, number| (hash ^ number).wrapping_mul(0x0100_0193))
}

/// Device windows of five minutes that lie in one hour of event time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourCounts {
    /// Start of the hour.
    pub hour: i64,
    /// Windows with at least one reading.
    pub windows: u32,
    /// Of those, with a reading below the range.
    pub low: u32,
    /// Of those, with a reading above the range.
    pub high: u32,
    /// Readings in them.
    pub readings: u32,
}

/// A child of a region, as a row of its table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChildNow {
    /// Code of the sub-region or facility.
    pub code: String,
    /// Its figures.
    pub counts: Counts,
    /// When its newest record came in.
    pub last_data: Option<ProcessingTime>,
}

/// A device outside its range now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutOfRange {
    /// Id of the device.
    pub device: String,
    /// What it watches.
    pub equipment: EquipmentKind,
    /// Running number of the equipment within its facility and kind.
    pub number: u16,
    /// Code of its facility.
    pub facility: String,
    /// Name of its facility.
    pub facility_name: String,
    /// Name of the regency.
    pub place: String,
    /// How it stands.
    pub condition: Condition,
    /// Newest temperature.
    pub temperature: Milli,
    /// Since when, and how bad at worst.
    pub excursion: Excursion,
}

/// A device now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceNow {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub condition: Condition,
    /// Newest reading by event time.
    pub reading: Option<Reading>,
    /// When its newest record came in.
    pub received_at: Option<ProcessingTime>,
    /// The excursion it is in.
    pub excursion: Option<Excursion>,
    /// The newest failure its sensor reported, while no later reading is good.
    pub fault: Option<SensorFault>,
}

/// Gaps in the numbers of a device that its page lists at most.
pub const LISTED_GAPS: usize = 5;

/// What only the page of a device shows of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceMore {
    /// How many of its readings are missing by its running numbers; 0 also where it does not count them.
    pub missing: u64,
    /// The newest gaps in these numbers, newest first, at most [`LISTED_GAPS`]: what is missing beyond them is known by number alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Where its newest reading was taken, where it travels with a tracker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Fix>,
}

/// A device whose newest reading lies further ahead of its receipt has a clock that is to be set, in milliseconds.
pub const CLOCK_AHEAD_MS: i64 = 120_000;

impl DeviceNow {
    /// How far the device's clock is ahead of the server's at least, in milliseconds: nothing is measured after it came in. A clock that
    /// is behind looks like a slow network, so of that nothing is said.
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        let ahead = self.reading?.at.ms() - self.received_at?.ms();
        (ahead > CLOCK_AHEAD_MS).then_some(ahead)
    }
}

/// A failure reported by a sensor in place of a temperature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorFault {
    /// When, by the device's clock.
    pub at: EventTime,
    /// The code it sent.
    pub code: Milli,
    /// What the device said of itself.
    pub status: DeviceStatus,
}

/// What became of all records, and how the pipeline runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PipelineNow {
    /// Durably admitted records: always the sum of the next four.
    pub received: u64,
    /// Accepted.
    pub accepted: u64,
    /// Known already.
    pub duplicate: u64,
    /// Too late for their window; kept.
    pub late: u64,
    /// Rejected; kept as dead letters.
    pub rejected: u64,
    /// Records taken in per second over the last ten.
    pub per_second: f32,
    /// Records admitted to the log and not yet processed.
    pub lag: u64,
    /// Devices known, registered or not.
    pub devices: u32,
    /// Of those, not registered.
    pub unregistered: u32,
    /// Windows still open.
    pub open_windows: u64,
    /// Windows closed since the beginning.
    pub closed_windows: u64,
    /// Of those, given out more than once, because records came after the first time.
    #[serde(default)]
    pub corrected_windows: u64,
    /// How long the records of the last 15 minutes were on their way; `None` where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delays: Option<DelaysNow>,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// When the last checkpoint was committed.
    pub checkpoint_at: Option<ProcessingTime>,
    /// How far event time has come, for each topic that has windows and was heard of.
    #[serde(default)]
    pub watermarks: Vec<WatermarkNow>,
    /// The partitions of Kafka, by topic and number; empty where the log is that of this server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionNow>,
    /// Rejected records of which nobody has decided yet.
    #[serde(default)]
    pub undecided: u64,
}

/// How long accepted records were on their way, from the clock of their device until they were on the disk and computed; in milliseconds,
/// each at most an eighth too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelaysNow {
    /// Half of them took no longer.
    pub half_ms: u64,
    /// 95 of 100.
    pub most_ms: u64,
    /// 99 of 100.
    pub nearly_all_ms: u64,
}

/// How far event time has come on a topic, over its devices of which something came within the last 15 minutes that somebody listened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkNow {
    /// The topic.
    pub topic: Topic,
    /// How far the watermark of a device stays behind its newest record, in milliseconds.
    pub delay_ms: i64,
    /// Devices that it is taken over.
    pub active: u32,
    /// Devices that were silent for longer and hold nothing up.
    pub idle: u32,
    /// The device that is farthest behind.
    pub slowest: Option<String>,
    /// Its watermark, the lowest of all.
    pub lowest: Option<EventTime>,
    /// Nine devices in ten have come so far.
    pub tenth: Option<EventTime>,
    /// Half of them have.
    pub half: Option<EventTime>,
    /// The farthest one has.
    pub highest: Option<EventTime>,
}

/// A partition of Kafka as a process with pages knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionNow {
    /// Its topic; empty while nobody has told it.
    pub topic: String,
    /// Its number within the topic.
    pub partition: i32,
    /// The next offset to be processed.
    pub next: u64,
    /// Records that wait in it.
    pub lag: u64,
    /// When its last checkpoint was committed.
    pub checkpoint_at: Option<ProcessingTime>,
}
