//! What pages and the API read: the engine's room for now, the store for the past.

use crate::http::Problem;
use crate::http::rows::{Form, write_window};
use crate::pipeline::{Pipeline, Refused, Room, wall_clock};
use crate::publish::{WORST, child_now, children, node_of_region, pipeline_now, region_now, severity};
use crate::side::{Cause, DEAD, SideRow};
use crate::store::{Store, StoreError};
use app::api::{
    Backend, ChildKind, ChildView, Crumb, DeadLetterRow, DeviceView, Equipment, EquipmentKind, FacilityDevice, FacilityView,
    MapPoint, PipelineView, Point, ReasonRow, RegionView, SearchHit, SourceRow, Span,
};
use app::error::AppError;
use domain::coldchain::{Condition, Range};
use domain::engine::{Engine, Tally};
use domain::event::{Reason, Topic};
use domain::master::{self, FacilityIx, Hit, Master, RegionIx, SensorIx};
use domain::rollup::{Node, UNASSIGNED};
use domain::time::{DAY_MS, EventTime, HOUR_MS, ProcessingTime, Zone};
use domain::window::{Window, WindowState};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Points of a sparkline.
const SPARK_POINTS: usize = 96;
/// Rows of a short list.
const SHORT: usize = 20;

/// Answers from the engine and the store.
pub struct EngineBackend {
    pipeline: Pipeline,
    store: Store,
    master: Arc<Master>,
    sizes: Vec<i64>,
}

impl From<Refused> for AppErrorOf {
    fn from(_: Refused) -> Self {
        AppErrorOf(AppError::Unavailable)
    }
}

impl From<StoreError> for AppErrorOf {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "A page's question to the store failed.");
        AppErrorOf(AppError::Unavailable)
    }
}

/// What a page may be told of a failure; the cause is in the log.
struct AppErrorOf(AppError);

impl From<AppErrorOf> for AppError {
    fn from(error: AppErrorOf) -> Self {
        error.0
    }
}

/// Why a reading question failed.
enum ReadError {
    Refused(Refused),
    Store(StoreError),
}

impl From<Refused> for ReadError {
    fn from(error: Refused) -> Self {
        ReadError::Refused(error)
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        ReadError::Store(error)
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(e) => e.into(),
            ReadError::Store(e) => e.into(),
        }
    }
}

impl From<ReadError> for AppErrorOf {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(e) => e.into(),
            ReadError::Store(e) => e.into(),
        }
    }
}

/// Windows by device index and start.
type Found = BTreeMap<u32, BTreeMap<i64, Window>>;

impl EngineBackend {
    /// Over `pipeline` and `store`; `sizes` are the window sizes in milliseconds, shortest first.
    pub fn new(pipeline: Pipeline, store: Store, master: Arc<Master>, sizes: Vec<i64>) -> Self {
        Self { pipeline, store, master, sizes }
    }

    /// The window sizes in milliseconds, shortest first.
    pub fn sizes(&self) -> &[i64] {
        &self.sizes
    }

    /// Id and index of the device `only`, or of all devices from id `from` on, in order of id.
    pub async fn devices_by_id(&self, only: Option<String>, from: Option<String>) -> Result<Vec<(String, u32)>, Problem> {
        let devices = self.pipeline.ask(move |room| {
            let engine = &room.engine;
            if let Some(id) = only {
                return engine.device_by_id(&id).map(|index| (id, index)).into_iter().collect();
            }
            let mut all: Vec<(String, u32)> = (0..engine.device_count())
                .map(|index| (engine.device_state(index).id.clone(), index))
                .filter(|(id, _)| from.as_ref().is_none_or(|from| id >= from))
                .collect();
            all.sort();
            all
        });
        Ok(devices.await?)
    }

    async fn read_windows(&self, definition: (u8, i64), mut devices: Vec<u32>, from: i64, to: i64) -> Result<Found, ReadError> {
        devices.sort_unstable();
        let (Some(first), Some(last)) = (devices.first().copied(), devices.last().copied()) else {
            return Ok(Found::new());
        };
        // What is in memory first, what is stored second: a checkpoint in between shows a window twice, never not at all.
        let wanted = devices.clone();
        let in_memory = self.pipeline.ask(move |room| {
            let mut found = Found::new();
            let mut put = |device: u32, window: &Window| {
                if (from..to).contains(&window.start) {
                    found.entry(device).or_default().insert(window.start, *window);
                }
            };
            for closed in room.closed_windows() {
                if closed.definition == definition.0 && wanted.binary_search(&closed.device).is_ok() {
                    put(closed.device, &closed.window);
                }
            }
            for device in &wanted {
                room.engine.device_state(*device).windows.windows(usize::from(definition.0)).for_each(|w| put(*device, w));
            }
            found
        });
        let mut found = in_memory.await?;
        self.store
            .windows(definition, (first, last), from, to, |closed| {
                if devices.binary_search(&closed.device).is_ok() {
                    found.entry(closed.device).or_default().entry(closed.window.start).or_insert(closed.window);
                }
            })
            .await?;
        Ok(found)
    }

    /// The windows of a definition that start in [from, to), by device index and start.
    pub async fn windows(&self, definition: (u8, i64), devices: Vec<u32>, from: i64, to: i64) -> Result<Found, Problem> {
        Ok(self.read_windows(definition, devices, from, to).await?)
    }

    /// Rows of a side output after `position`, oldest first, at most `limit`.
    pub async fn side(&self, kind: usize, position: u64, limit: usize) -> Result<Vec<SideRow>, Problem> {
        let in_memory = self
            .pipeline
            .ask(move |room| room.side_rows(kind).filter(|row| row.position > position).take(limit).cloned().collect::<Vec<_>>());
        let in_memory = in_memory.await?;
        let mut rows: BTreeMap<u64, SideRow> = in_memory.into_iter().map(|row| (row.position, row)).collect();
        rows.extend(self.store.side_after(kind, position, limit).await?.into_iter().map(|row| (row.position, row)));
        Ok(rows.into_values().take(limit).collect())
    }

    /// Every facility as a point of the map.
    pub async fn map_points(&self) -> Result<Vec<MapPoint>, Problem> {
        let points = self.pipeline.ask(|room| {
            room.engine.flush();
            let (engine, master) = (&room.engine, room.engine.master());
            (0..master.facilities().len() as u32)
                .map(FacilityIx)
                .filter(|f| !master.facility(*f).sensors.is_empty())
                .map(|f| {
                    let facility = master.facility(f);
                    let worst = facility.sensor_ixs().map(|s| engine.condition(s.0)).min_by_key(|c| severity(*c));
                    MapPoint {
                        code: facility.code.clone(),
                        name: facility.name.clone(),
                        at: (facility.latitude_e6, facility.longitude_e6),
                        condition: worst.unwrap_or(Condition::NoWord),
                    }
                })
                .collect()
        });
        Ok(points.await?)
    }

    async fn curve(&self, device: u32, range: Range, span: Span, until: i64) -> Result<Vec<Point>, ReadError> {
        let from = until - span.ms();
        let definition = if span == Span::Day { 0 } else { self.sizes.len() - 1 };
        let found = self.read_windows((definition as u8, self.sizes[definition]), vec![device], from, i64::MAX).await?;
        let points = found.into_values().flatten().filter_map(|(start, window)| point_of(start, &window, range));
        Ok(if span == Span::Month { extremes_by_hour(points) } else { points.collect() })
    }
}

/// What a curve shows of a window: its average, or the reading farthest outside `range` where one was, so that no average hides it.
fn point_of(start: i64, window: &Window, range: Range) -> Option<Point> {
    let aggregate = &window.aggregate;
    let extremes = [aggregate.temperature_min, aggregate.temperature_max];
    let farthest = extremes.into_iter().max_by_key(|t| range.distance(*t)).filter(|t| range.distance(*t) > 0);
    Some(Point { at: EventTime::from_ms(start), temperature: farthest.or(aggregate.temperature_average())? })
}

/// Of each hour the lowest and the highest point, in their order.
fn extremes_by_hour(points: impl Iterator<Item = Point>) -> Vec<Point> {
    let mut hours: BTreeMap<i64, (Point, Point)> = BTreeMap::new();
    for point in points {
        let (low, high) = hours.entry(point.at.ms().div_euclid(HOUR_MS)).or_insert((point, point));
        if point.temperature < low.temperature {
            *low = point;
        }
        if point.temperature > high.temperature {
            *high = point;
        }
    }
    let mut points: Vec<Point> = hours.into_values().flat_map(|(low, high)| [low, high]).collect();
    points.sort_by_key(|p| p.at);
    points.dedup();
    points
}

/// The farthest outside its range, or the first, of as many stretches as a sparkline has points.
fn thin(points: &[Point], range: Range) -> Vec<Point> {
    let per_point = points.len().div_ceil(SPARK_POINTS).max(1);
    points
        .chunks(per_point)
        .filter_map(|chunk| chunk.iter().rev().max_by_key(|p| range.distance(p.temperature)).copied())
        .collect()
}

fn crumbs(master: &Master, region: RegionIx) -> Vec<Crumb> {
    let mut path: Vec<Crumb> = master
        .ancestors(region)
        .map(|ix| Crumb { code: master.region(ix).code.clone(), name: master.region(ix).name.clone() })
        .collect();
    path.reverse();
    path
}

fn equipment(master: &Master, sensor: Option<SensorIx>) -> Equipment {
    let Some(sensor) = sensor.map(|s| master.sensor(s)) else {
        return Equipment {
            kind: EquipmentKind::Unregistered,
            number: 0,
            model: String::new(),
            range: Range::FRIDGE,
            interval_ms: 5 * domain::time::MINUTE_MS,
        };
    };
    Equipment {
        kind: match sensor.equipment {
            master::EquipmentKind::Refrigerator => EquipmentKind::Refrigerator,
            master::EquipmentKind::Freezer => EquipmentKind::Freezer,
            master::EquipmentKind::ColdRoom => EquipmentKind::ColdRoom,
        },
        number: sensor.number,
        model: sensor.model.clone(),
        range: sensor.range,
        interval_ms: sensor.interval_ms,
    }
}

fn start_of_day(engine: &Engine) -> i64 {
    let now = engine.now().ms().max(wall_clock().ms());
    now - now.rem_euclid(HOUR_MS) - DAY_MS + HOUR_MS
}

fn region_view(room: &Room, code: &str) -> Option<RegionView> {
    let engine = &room.engine;
    let (master, rollup) = (engine.master(), engine.rollup());
    let node = node_of_region(engine, code)?;
    let from = start_of_day(engine);
    let place = rollup.place(node).and_then(Result::ok);
    let mut views: Vec<ChildView> =
        children(engine, node).into_iter().map(|(child, code)| child_view(engine, child, code, from)).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    let country = Crumb { code: master.region(RegionIx(0)).code.clone(), name: master.region(RegionIx(0)).name.clone() };
    Some(RegionView {
        taken_at: wall_clock(),
        code: code.to_owned(),
        name: place.map_or_else(|| UNASSIGNED.to_owned(), |region| master.region(region).name.clone()),
        level: place.map_or(1, |region| master.region(region).level),
        path: place.map_or_else(
            || vec![country, Crumb { code: UNASSIGNED.into(), name: UNASSIGNED.into() }],
            |region| crumbs(master, region),
        ),
        now: region_now(engine, node),
        hours: rollup.hours(node, from).collect(),
        worst: engine.worst(node, WORST),
        children: views,
        rate: if place == Some(RegionIx(0)) { room.rates.by_minute(wall_clock()) } else { Vec::new() },
    })
}

fn child_view(engine: &Engine, node: Node, code: String, from: i64) -> ChildView {
    let master = engine.master();
    let (kind, name) = match engine.rollup().place(node) {
        Some(Err(facility)) => (ChildKind::Facility, master.facility(facility).name.clone()),
        Some(Ok(region)) => (ChildKind::Region, master.region(region).name.clone()),
        None => (ChildKind::Region, UNASSIGNED.to_owned()),
    };
    let mut in_range_by_hour = Vec::new();
    if kind == ChildKind::Region {
        in_range_by_hour = vec![None; 24];
        for hour in engine.rollup().hours(node, from) {
            let index = (hour.hour - from) / HOUR_MS;
            if let Some(slot) = in_range_by_hour.get_mut(index as usize) {
                let outside = (hour.low + hour.high).min(hour.windows);
                *slot = Some((u64::from(hour.windows - outside) * 1_000 / u64::from(hour.windows)) as u16);
            }
        }
    }
    ChildView { kind, name, now: child_now(engine, node, code), in_range_by_hour }
}

/// A region as the API answers it; `None` where there is none of that code.
pub fn region_json(room: &mut Room, code: &str) -> Option<String> {
    room.engine.flush();
    let view = region_view(room, code)?;
    let time = |t: Option<ProcessingTime>| t.map(|t| t.to_string());
    let levels = room.engine.master().levels();
    let children: Vec<Value> = view
        .children
        .iter()
        .map(|child| {
            json!({
                "kind": child.kind, "code": child.now.code, "name": child.name, "counts": child.now.counts,
                "last_data": time(child.now.last_data),
            })
        })
        .collect();
    let hours: Vec<Value> = view
        .hours
        .iter()
        .map(|h| {
            json!({
                "hour": EventTime::from_ms(h.hour).to_string(), "windows": h.windows, "low": h.low, "high": h.high,
                "readings": h.readings,
            })
        })
        .collect();
    let body = json!({
        "code": view.code,
        "name": view.name,
        "level": levels.get(usize::from(view.level)).map(|l| l.key.clone()),
        "path": view.path.iter().map(|c| json!({"code": c.code, "name": c.name})).collect::<Vec<_>>(),
        "taken_at": view.taken_at.to_string(),
        "last_data": time(view.now.last_data),
        "counts": view.now.counts,
        "histogram": view.now.histogram,
        "hours": hours,
        "children": children,
    });
    Some(body.to_string())
}

/// The newest closed window of every device, as the API and `latest.json` give it.
pub fn latest_records(room: &mut Room) -> String {
    let engine = &room.engine;
    let size_ms = engine.config().windows.definitions()[0].size_ms;
    let mut body = format!(r#"{{"updated_at":"{}","records":["#, engine.now());
    let mut is_first = true;
    let mut devices: Vec<u32> = (0..engine.device_count()).collect();
    devices.sort_by_cached_key(|index| engine.device_state(*index).id.clone());
    for index in devices {
        let state = engine.device_state(index);
        let held = state.windows.newest_fired(0).filter(|w| w.state != WindowState::Provisional);
        let newest = held.into_iter().chain(&state.newest_closed).max_by_key(|w| w.start);
        if let Some(window) = newest {
            if !std::mem::replace(&mut is_first, false) {
                body.push(',');
            }
            write_window(&mut body, Form::Json, &state.id, window, size_ms);
        }
    }
    body.push_str("]}");
    body
}

fn source_row(name: &str, tally: &Tally) -> SourceRow {
    SourceRow {
        name: name.to_owned(),
        received: tally.received,
        accepted: tally.accepted,
        duplicate: tally.duplicate,
        late: tally.late,
        rejected: tally.rejected,
    }
}

fn dead_letter(row: &SideRow) -> Option<DeadLetterRow> {
    let Cause::Rejected { reason, field } = &row.cause else { return None };
    Some(DeadLetterRow {
        position: row.position,
        received_at: row.received_at,
        source: row.source.clone(),
        reason: *reason,
        field: field.clone(),
        raw: String::from_utf8_lossy(&row.raw).chars().take(300).collect(),
    })
}

#[async_trait::async_trait]
impl Backend for EngineBackend {
    async fn region(&self, code: &str) -> Result<Option<RegionView>, AppError> {
        let code = code.to_owned();
        let view = self.pipeline.ask(move |room| {
            room.engine.flush();
            region_view(room, &code)
        });
        Ok(view.await.map_err(AppErrorOf::from)?)
    }

    async fn facility(&self, code: &str) -> Result<Option<FacilityView>, AppError> {
        let Some(ix) = self.master.facility_by_code(code) else { return Ok(None) };
        let facility = self.master.facility(ix);
        let sensors: Vec<SensorIx> = facility.sensor_ixs().collect();
        let (of_room, taken_at) = (sensors.clone(), wall_clock());
        let states = self.pipeline.ask(move |room| of_room.iter().map(|s| room.engine.device_now(s.0)).collect::<Vec<_>>());
        let states = states.await.map_err(AppErrorOf::from)?;
        let indices = sensors.iter().map(|s| s.0).collect();
        let mut found =
            self.read_windows((0, self.sizes[0]), indices, taken_at.ms() - DAY_MS, i64::MAX).await.map_err(AppErrorOf::from)?;
        let mut devices: Vec<FacilityDevice> = sensors
            .iter()
            .zip(states)
            .map(|(sensor, now)| {
                let equipment = equipment(&self.master, Some(*sensor));
                let windows = found.remove(&sensor.0).unwrap_or_default();
                let points: Vec<Point> =
                    windows.iter().filter_map(|(start, window)| point_of(*start, window, equipment.range)).collect();
                FacilityDevice { spark: thin(&points, equipment.range), equipment, now }
            })
            .collect();
        devices.sort_by_key(|d| severity(d.now.condition));
        Ok(Some(FacilityView {
            taken_at,
            code: facility.code.clone(),
            name: facility.name.clone(),
            path: crumbs(&self.master, facility.region),
            zone: facility.zone,
            position: (facility.latitude(), facility.longitude()),
            devices,
        }))
    }

    async fn device(&self, id: &str, span: Span) -> Result<Option<DeviceView>, AppError> {
        let (id, taken_at) = (id.to_owned(), wall_clock());
        let found = self.pipeline.ask(move |room| {
            let index = room.engine.device_by_id(&id)?;
            Some((index, room.engine.sensor_of(index), room.engine.device_now(index)))
        });
        let Some((index, sensor, now)) = found.await.map_err(AppErrorOf::from)? else { return Ok(None) };
        let equipment = equipment(&self.master, sensor);
        let points = self.curve(index, equipment.range, span, taken_at.ms()).await.map_err(AppErrorOf::from)?;
        let facility = sensor.map(|s| self.master.facility(self.master.sensor(s).facility));
        let facility_crumb = facility.map(|f| Crumb { code: f.code.clone(), name: f.name.clone() });
        let mut path = if let Some(facility) = facility {
            crumbs(&self.master, facility.region)
        } else {
            let mut path = crumbs(&self.master, RegionIx(0));
            path.push(Crumb { code: UNASSIGNED.into(), name: UNASSIGNED.into() });
            path
        };
        path.extend(facility_crumb.clone());
        Ok(Some(DeviceView {
            taken_at,
            path,
            facility: facility_crumb,
            zone: facility.map_or(Zone::Wib, |f| f.zone),
            equipment,
            now,
            span,
            points,
        }))
    }

    async fn pipeline(&self) -> Result<PipelineView, AppError> {
        let view = self.pipeline.ask(|room| {
            let engine = &room.engine;
            let totals = engine.totals();
            let mut sources: Vec<SourceRow> = totals.by_source.iter().map(|(name, t)| source_row(name, t)).collect();
            sources.sort_by_key(|row| std::cmp::Reverse(row.received));
            sources.truncate(SHORT);
            let names = Topic::ALL.iter().map(|t| t.name()).chain(["unknown"]);
            let topics =
                names.zip(&totals.by_topic).filter(|(_, t)| t.received > 0).map(|(name, t)| source_row(name, t)).collect();
            let mut reasons: Vec<ReasonRow> = Reason::ALL
                .into_iter()
                .zip(totals.by_reason)
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| ReasonRow { reason, count })
                .collect();
            reasons.sort_by_key(|row| std::cmp::Reverse(row.count));
            let registered = engine.master().sensors().len() as u32;
            PipelineView {
                taken_at: wall_clock(),
                uptime_start: room.uptime_start,
                now: pipeline_now(room),
                rate: room.rates.by_minute(wall_clock()),
                sources,
                topics,
                reasons,
                dead_letters: room.side_rows(DEAD).rev().take(SHORT).filter_map(dead_letter).collect(),
                unregistered: (registered..engine.device_count()).rev().take(SHORT).map(|i| engine.device_now(i)).collect(),
            }
        });
        let mut view = view.await.map_err(AppErrorOf::from)?;
        let stored = self.store.side_newest(DEAD, SHORT).await.map_err(AppErrorOf::from)?;
        let known: Vec<u64> = view.dead_letters.iter().map(|row| row.position).collect();
        view.dead_letters.extend(stored.iter().filter(|row| !known.contains(&row.position)).filter_map(dead_letter));
        view.dead_letters.truncate(SHORT);
        Ok(view)
    }

    async fn search(&self, text: &str) -> Result<Vec<SearchHit>, AppError> {
        let master = &self.master;
        let place = |region: RegionIx, skip: usize| {
            let names: Vec<&str> =
                master.ancestors(region).skip(skip).filter(|ix| ix.0 != 0).map(|ix| master.region(ix).name.as_str()).collect();
            names.join(", ")
        };
        let hits = master.search(text, SHORT).into_iter().map(|hit| match hit {
            Hit::Region(ix) => {
                let region = master.region(ix);
                // Villages have no page of their own: their district has.
                let page = master.ancestors(ix).find(|a| master.region(*a).level <= domain::rollup::DEEPEST_LEVEL).unwrap_or(ix);
                SearchHit {
                    href: format!("/regions/{}", master.region(page).code),
                    name: region.name.clone(),
                    code: region.code.clone(),
                    place: place(ix, 1),
                    level: region.level,
                }
            }
            Hit::Facility(ix) => {
                let facility = master.facility(ix);
                SearchHit {
                    href: format!("/facilities/{}", facility.code),
                    name: facility.name.clone(),
                    code: facility.code.clone(),
                    place: place(facility.region, 0),
                    level: 5,
                }
            }
            Hit::Sensor(ix) => {
                let sensor = master.sensor(ix);
                let facility = master.facility(sensor.facility);
                SearchHit {
                    href: format!("/devices/{}", sensor.id),
                    name: facility.name.clone(),
                    code: sensor.id.clone(),
                    place: place(facility.region, 0),
                    level: 6,
                }
            }
        });
        Ok(hits.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::milli::Milli;

    fn point(at: i64, milli: i32) -> Point {
        Point { at: EventTime::from_ms(at), temperature: Milli(milli) }
    }

    #[test]
    fn thinning_keeps_what_is_worst() {
        let mut points: Vec<Point> = (0..960).map(|i| point(i, 5_000)).collect();
        points[333] = point(333, 9_400);
        points[777] = point(777, -800);
        let thinned = thin(&points, Range::FRIDGE);
        assert_eq!(thinned.len(), 96);
        assert!(thinned.contains(&point(333, 9_400)) && thinned.contains(&point(777, -800)));
        assert_eq!(thinned[0], point(0, 5_000));
    }

    #[test]
    fn a_month_keeps_the_extremes_of_each_hour() {
        let points = [point(0, 4_000), point(1, 6_000), point(2, 5_000), point(HOUR_MS, 3_000)];
        let kept = extremes_by_hour(points.into_iter());
        assert_eq!(kept, [point(0, 4_000), point(1, 6_000), point(HOUR_MS, 3_000)]);
    }
}
