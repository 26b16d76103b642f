//! What pages ask of the server: the views, the [`Backend`] that answers, and the server functions that pass a question on.

#![allow(missing_docs, reason = "the server macro makes structs whose fields cannot carry docs")]

mod map;
mod records;

pub use map::{MapConditions, MapPlaces, MapPoint};
pub use records::{DeadLetterRow, LetterState};
#[cfg(feature = "ssr")]
pub use records::{DeadLetterView, LateRecord, LateView, LetterEnd, LetterOutcome, LettersView};

use crate::error::AppError;
use domain::coldchain::Range;
use domain::feed::{ChildNow, DeviceMore, DeviceNow, HourCounts, OutOfRange, PipelineNow, RegionNow};
use domain::milli::Milli;
use domain::time::{EventTime, ProcessingTime, Zone};
use leptos::prelude::*;
use leptos::server_fn::codec::GetUrl;
use serde::{Deserialize, Serialize};

/// Most suggestions while typing: what fits under a field on a phone above its keyboard.
#[cfg(feature = "ssr")]
const SUGGESTIONS: usize = 6;

/// A step of the path from the country down to a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crumb {
    /// Code of the region or facility.
    pub code: String,
    /// Its name.
    pub name: String,
}

/// A node of the hierarchy with its children.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionView {
    /// The server's time when this was taken.
    pub taken_at: ProcessingTime,
    /// Code of the node.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its depth: 0 country, 1 province, 2 regency, 3 district, 4 village.
    pub level: u8,
    /// The path to it, the country first, itself last.
    pub path: Vec<Crumb>,
    /// Its figures.
    pub now: RegionNow,
    /// Its hours of the last 24, oldest first, the running one last; hours without a window are absent.
    pub hours: Vec<HourCounts>,
    /// The devices outside their range now, worst first, at most 20.
    pub worst: Vec<OutOfRange>,
    /// What lies directly below, ordered by name.
    pub children: Vec<ChildView>,
    /// Records per second over the last hour, one value a minute, oldest first; only for the country.
    pub rate: Vec<f32>,
    /// Its facilities, for the map that the server draws; not for the country. The browser asks for them itself.
    #[serde(skip)]
    pub points: Vec<MapPoint>,
    /// What lies below it of which nothing is counted, ordered by name: the villages of a district. The server alone lists it.
    #[serde(skip)]
    pub uncounted: Vec<Crumb>,
    /// Where nothing is counted: the facilities of the nearest place around it that has some, a village's district. The server alone lists them.
    #[serde(skip)]
    pub served_by: Vec<Crumb>,
    /// Whether something is counted here: not below the regions that have facilities. The server alone knows.
    #[serde(skip)]
    pub is_counted: bool,
}

/// Of a region what the stream does not carry: its day, hour by hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DayView {
    /// See [`RegionNow::past`]: which hours these are.
    pub past: u32,
    /// See [`RegionView::hours`].
    pub hours: Vec<HourCounts>,
    /// Code of each region below it, see [`ChildView::in_range_by_hour`].
    pub children: Vec<(String, Vec<Option<u16>>)>,
    /// See [`RegionView::rate`].
    pub rate: Vec<f32>,
}

impl DayView {
    /// The day of `region`.
    pub fn of(region: RegionView) -> Self {
        let children = region.children.into_iter().filter(|child| child.kind == ChildKind::Region);
        Self {
            past: region.now.past,
            hours: region.hours,
            children: children.map(|child| (child.now.code, child.in_range_by_hour)).collect(),
            rate: region.rate,
        }
    }
}

/// Whether a child is a region or a facility.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChildKind {
    /// A region: `/regions/{code}`.
    Region,
    /// A facility: `/facilities/{code}`.
    Facility,
}

/// A child of a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChildView {
    /// Region or facility.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
    /// Code and figures.
    pub now: ChildNow,
    /// Share of five-minute windows in range, in thousandths, per hour of the last 24, oldest first; `None` without windows.
    /// Empty for facilities.
    pub in_range_by_hour: Vec<Option<u16>>,
}

/// A facility with its cold-chain equipment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FacilityView {
    /// The server's time when this was taken.
    pub taken_at: ProcessingTime,
    /// Code of the facility.
    pub code: String,
    /// Its name.
    pub name: String,
    /// The path to it, the country first, its region last.
    pub path: Vec<Crumb>,
    /// Its time zone.
    pub zone: Zone,
    /// Latitude and longitude, degrees.
    pub position: (f64, f64),
    /// Its devices, worst first.
    pub devices: Vec<FacilityDevice>,
}

/// A device in the list of its facility.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FacilityDevice {
    /// What it watches.
    pub equipment: Equipment,
    /// Its state.
    pub now: DeviceNow,
    /// The last 24 hours, thinned to at most 96 points.
    pub spark: Vec<Point>,
}

/// Kind of a cold-chain equipment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EquipmentKind {
    /// Kulkas.
    Refrigerator,
    /// Freezer.
    Freezer,
    /// Kamar dingin.
    ColdRoom,
    /// A device nobody has registered yet.
    Unregistered,
}

/// A cold-chain equipment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equipment {
    /// Kind.
    pub kind: EquipmentKind,
    /// Running number within its facility and kind; 0 where unregistered.
    pub number: u16,
    /// Maker and model; empty where unregistered.
    pub model: String,
    /// Range it has to keep.
    pub range: Range,
    /// How often its device reports, in milliseconds.
    pub interval_ms: i64,
}

/// A point of a temperature curve: a ten-second window of one device (one reading, as a rule).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Start of the window.
    pub at: EventTime,
    /// Average temperature, or the reading farthest outside the range where one was.
    pub temperature: Milli,
}

/// How much of a device's past a page shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// 24 hours.
    #[default]
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
}

impl Span {
    /// Its length in milliseconds.
    pub const fn ms(self) -> i64 {
        domain::time::DAY_MS
            * match self {
                Span::Day => 1,
                Span::Week => 7,
                Span::Month => 30,
            }
    }
}

/// A device with its curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceView {
    /// The server's time when this was taken; the right end of the chart.
    pub taken_at: ProcessingTime,
    /// Where it stands; the country and `unassigned` where unregistered. The last step is the facility.
    pub path: Vec<Crumb>,
    /// Code and name of the facility; `None` where unregistered.
    pub facility: Option<Crumb>,
    /// Its zone; WIB where unregistered.
    pub zone: Zone,
    /// What it watches.
    pub equipment: Equipment,
    /// Its state.
    pub now: DeviceNow,
    /// What else is known of it: missing readings, where it is.
    pub more: DeviceMore,
    /// How much of its past `points` covers.
    pub span: Span,
    /// The curve, oldest first: ten-second windows for a day; five-minute windows for a week; for a month the lowest and the
    /// highest five-minute window of each hour.
    pub points: Vec<Point>,
}

/// The newest end of a device's curve, for a page that shows the rest of it already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurveEnd {
    /// How many points lie before the newest end and what their temperatures sum up to: a page with others has missed something.
    pub before: (usize, i64),
    /// The newest end, oldest first.
    pub points: Vec<Point>,
}

impl CurveEnd {
    /// Of `points`, oldest first: all from `from` on, and what lies between `since` and there.
    pub fn of(points: &[Point], since: EventTime, from: EventTime) -> Self {
        let (first, end) = (points.partition_point(|p| p.at < since), points.partition_point(|p| p.at < from));
        let before = points.get(first..end).unwrap_or_default();
        Self { before: (before.len(), before.iter().map(|p| i64::from(p.temperature.0)).sum()), points: points[end..].to_vec() }
    }
}

/// The pipeline page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineView {
    /// The server's time when this was taken.
    pub taken_at: ProcessingTime,
    /// When the first record ever was admitted here, or the server first started.
    pub uptime_start: ProcessingTime,
    /// Its figures.
    pub now: PipelineNow,
    /// Records per second over the last hour, one value a minute, oldest first.
    pub rate: Vec<f32>,
    /// The most records that waited in each minute of the last hour, oldest first, the running one last; `None` where nobody looked.
    pub lag: Vec<Option<u64>>,
    /// The newest hours in which anything came in, oldest first.
    pub hours: Vec<HourRow>,
    /// By source: name, received, duplicate, late, rejected; most received first, at most 20.
    pub sources: Vec<SourceRow>,
    /// By topic, the same.
    pub topics: Vec<SourceRow>,
    /// By day of receipt (its beginning in UTC as milliseconds since 1970), the newest first, a week at most.
    pub days: Vec<SourceRow>,
    /// Rejections by reason, most first.
    pub reasons: Vec<ReasonRow>,
    /// The newest dead letters, at most 20.
    pub dead_letters: Vec<DeadLetterRow>,
    /// Devices that report but are not registered, newest first, at most 20.
    pub unregistered: Vec<DeviceNow>,
}

/// How much came in during an hour, and how much of it too late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourRow {
    /// When it began, milliseconds since the Unix epoch.
    pub start: i64,
    /// Received records.
    pub received: u64,
    /// Late ones.
    pub late: u64,
}

/// What became of the records of one source or topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRow {
    /// Name of the source or topic.
    pub name: String,
    /// Received records.
    pub received: u64,
    /// Accepted.
    pub accepted: u64,
    /// Duplicates.
    pub duplicate: u64,
    /// Late ones.
    pub late: u64,
    /// Rejected ones.
    pub rejected: u64,
    /// When the newest one came in; of sources alone.
    pub last: Option<ProcessingTime>,
}

/// How often a reason led to a rejection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonRow {
    /// The reason.
    pub reason: domain::event::Reason,
    /// Rejected records.
    pub count: u64,
    /// Position of the newest of them.
    pub newest: Option<u64>,
}

/// A page of the list of devices that nobody has registered.
#[cfg(feature = "ssr")]
#[derive(Clone, Debug, PartialEq)]
pub struct UnregisteredView {
    /// The server's time when this was taken.
    pub taken_at: ProcessingTime,
    /// How many there are.
    pub count: u32,
    /// Newest first.
    pub devices: Vec<DeviceNow>,
    /// There are older ones.
    pub is_more: bool,
}

/// Something found by name or code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchHit {
    /// Where it leads: `/regions/32.17`.
    pub href: String,
    /// Its name.
    pub name: String,
    /// Its code or id.
    pub code: String,
    /// Where it lies: `Lembang, Bandung Barat, Jawa Barat`.
    pub place: String,
    /// What it is.
    pub kind: Kind,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A place, with its depth in the hierarchy.
    Region(u8),
    /// A facility.
    Facility,
    /// A device.
    Device,
}

/// What answers the pages' questions. `server` puts one over its engine and store into context, tests one that lives in memory.
#[cfg(feature = "ssr")]
#[async_trait::async_trait]
pub trait Backend: Send + Sync {
    /// A node of the hierarchy; `None` where no node has that code.
    async fn region(&self, code: &str) -> Result<Option<RegionView>, AppError>;
    /// A facility.
    async fn facility(&self, code: &str) -> Result<Option<FacilityView>, AppError>;
    /// A device, registered or not.
    async fn device(&self, id: &str, span: Span) -> Result<Option<DeviceView>, AppError>;
    /// The pipeline's figures.
    async fn pipeline(&self) -> Result<PipelineView, AppError>;
    /// The newest dead letters before a position, or of all; where `only_open`, those of which nobody has decided.
    async fn dead_letters(&self, before: Option<u64>, only_open: bool) -> Result<LettersView, AppError>;
    /// A dead letter.
    async fn dead_letter(&self, position: u64) -> Result<Option<DeadLetterView>, AppError>;
    /// The newest devices that nobody has registered before one of these, or of all; `None` where that is none of them.
    async fn unregistered(&self, before: Option<String>) -> Result<Option<UnregisteredView>, AppError>;
    /// The newest late records before a position, or of all.
    async fn late(&self, before: Option<u64>) -> Result<LateView, AppError>;
    /// A late record.
    async fn late_record(&self, position: u64) -> Result<Option<LateRecord>, AppError>;
    /// Regions, facilities and devices by name or code, best first, at most 20.
    async fn search(&self, text: &str) -> Result<Vec<SearchHit>, AppError>;
}

/// The backend in context.
#[cfg(feature = "ssr")]
pub fn backend() -> std::sync::Arc<dyn Backend> {
    expect_context::<std::sync::Arc<dyn Backend>>()
}

/// A node of the hierarchy.
#[server(prefix = "/api/pages", endpoint = "region", input = GetUrl)]
pub async fn region(
    /// Its code.
    code: String,
) -> Result<RegionView, AppError> {
    backend().region(&code).await?.ok_or(AppError::NotFound)
}

/// The day of a node of the hierarchy, for a page that has the rest from the stream.
#[server(prefix = "/api/pages", endpoint = "day", input = GetUrl)]
pub async fn day(
    /// Its code.
    code: String,
) -> Result<DayView, AppError> {
    Ok(DayView::of(backend().region(&code).await?.ok_or(AppError::NotFound)?))
}

/// A facility.
#[server(prefix = "/api/pages", endpoint = "facility", input = GetUrl)]
pub async fn facility(
    /// Its code.
    code: String,
) -> Result<FacilityView, AppError> {
    backend().facility(&code).await?.ok_or(AppError::NotFound)
}

/// The small curves of a facility's page: id of each device, and [`FacilityDevice::spark`].
#[server(prefix = "/api/pages", endpoint = "sparks", input = GetUrl)]
pub async fn sparks(
    /// Its code.
    code: String,
) -> Result<Vec<(String, Vec<Point>)>, AppError> {
    let view = backend().facility(&code).await?.ok_or(AppError::NotFound)?;
    Ok(view.devices.into_iter().map(|device| (device.now.id, device.spark)).collect())
}

/// A device and its curve over `span`.
#[server(prefix = "/api/pages", endpoint = "device", input = GetUrl)]
pub async fn device(
    /// Its id.
    id: String,
    /// How much of its past.
    span: Span,
) -> Result<DeviceView, AppError> {
    backend().device(&id, span).await?.ok_or(AppError::NotFound)
}

/// The curve of a device from `from` on, see [`CurveEnd`]; times in milliseconds since the Unix epoch.
#[server(prefix = "/api/pages", endpoint = "curve", input = GetUrl)]
pub async fn curve(
    /// Its id.
    id: String,
    /// How much of its past the page shows.
    span: Span,
    /// Where the page's own curve counts from.
    since: i64,
    /// Where the newest end begins.
    from: i64,
) -> Result<CurveEnd, AppError> {
    let view = backend().device(&id, span).await?.ok_or(AppError::NotFound)?;
    Ok(CurveEnd::of(&view.points, EventTime::from_ms(since), EventTime::from_ms(from)))
}

/// The pipeline's figures.
#[server(prefix = "/api/pages", endpoint = "pipeline", input = GetUrl)]
pub async fn pipeline() -> Result<PipelineView, AppError> {
    backend().pipeline().await
}

/// Regions, facilities and devices by name or code, best first.
#[server(prefix = "/api/pages", endpoint = "search", input = GetUrl)]
pub async fn search(
    /// A name, a part of one, or a code.
    text: String,
) -> Result<Vec<SearchHit>, AppError> {
    backend().search(&text).await
}

/// Suggestions while somebody types: the best hits of a search, few of them.
#[server(prefix = "/api/pages", endpoint = "suggest", input = GetUrl)]
pub async fn suggest(
    /// What is typed so far.
    text: String,
) -> Result<Vec<SearchHit>, AppError> {
    let mut hits = backend().search(&text).await?;
    hits.truncate(SUGGESTIONS);
    Ok(hits)
}

/// The provinces' outlines for a map that is looked at from near: path data by code, ten numbers a map unit. They never change
/// while the server runs.
#[server(prefix = "/api/pages", endpoint = "outlines", input = GetUrl)]
#[allow(clippy::unused_async, reason = "server functions are async, and this one has nothing to wait for")]
pub async fn outlines() -> Result<std::collections::BTreeMap<String, String>, AppError> {
    expect_context::<leptos_axum::ResponseOptions>()
        .insert_header(http::header::CACHE_CONTROL, http::HeaderValue::from_static("public, max-age=86400"));
    Ok(crate::map::fine_outlines())
}
