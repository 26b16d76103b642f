//! What pages and the API read: the engine's room for now, the store for the past.

mod counts;
mod curve;
mod days;
mod derived;
mod late;
mod latest;
mod letters;
mod order;
mod region;
mod search;
mod shared;
mod windows;

pub use counts::StoodRegion;
pub use derived::{Restatement, Whereabouts, is_restated};
pub use letters::{Letter, Undecided};
pub use region::{Devices, Missing, figures_json, hour_json, region_json};
pub use windows::{Definition, EXPORT_ROWS, Kind, Step, Walk};

use crate::http::Problem;
use crate::pipeline::{Pipeline, Refused, wall_clock};
use crate::publish::pipeline_now;
use crate::side::{DEAD, SideRow};
use crate::store::{Store, StoreError};
use app::api::{
    Backend, Crumb, DeadLetterView, DeviceView, Equipment, EquipmentKind, FacilityDevice, FacilityView, HourRow, LateRecord,
    LateView, LettersView, MapConditions, MapPoint, PipelineView, Point, ReasonRow, RegionView, SearchHit, SourceRow, Span,
    UnregisteredView,
};
use app::error::AppError;
use bytes::Bytes;
use curve::{extremes_by_hour, point_of, thin};
use days::day_rows;
use domain::coldchain::{Condition, Range};
use domain::engine::{Engine, Tally};
use domain::event::{Reason, Topic};
use domain::master::{self, FacilityIx, Master, RegionIx, SensorIx};
use domain::rollup::UNASSIGNED;
use domain::time::{DAY_MS, ProcessingTime, Zone};
use order::DeviceOrder;
use region::{points, region_view};
use shared::Shared;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// Rows of a short list.
const SHORT: usize = 20;

/// Days whose books the page of the pipeline shows.
const WEEK: i64 = 7;

/// Answers from the engine and the store.
pub struct EngineBackend {
    pipeline: Pipeline,
    store: Store,
    master: Arc<Master>,
    sizes: Vec<i64>,
    order: DeviceOrder,
    newest: Shared<Bytes>,
    points: Shared<Bytes>,
    conditions: Shared<Bytes>,
    places: OnceLock<(u32, Bytes)>,
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

impl EngineBackend {
    /// Laws without which this process would not have started. On Kafka engines check C3 and C4, of what they take over.
    pub fn checked_at_start(&self) -> &'static [&'static str] {
        match (self.pipeline.judges_at_once(), self.store.sums_windows()) {
            (true, true) => &["C1", "C2", "C3", "C4"],
            (true, false) => &["C1", "C3", "C4"],
            (false, _) => &["C1"],
        }
    }

    /// Over `pipeline` and `store`; `sizes` are the window sizes in milliseconds, shortest first.
    pub fn new(pipeline: Pipeline, store: Store, master: Arc<Master>, sizes: Vec<i64>) -> Self {
        Self {
            pipeline,
            store,
            master,
            sizes,
            order: DeviceOrder::default(),
            newest: Shared::default(),
            points: Shared::default(),
            conditions: Shared::default(),
            places: OnceLock::new(),
        }
    }

    /// The window sizes in milliseconds, shortest first.
    pub fn sizes(&self) -> &[i64] {
        &self.sizes
    }

    /// Rows of a side output after `position`, oldest first, at most `limit`.
    pub async fn side(&self, kind: usize, position: u64, limit: usize) -> Result<Vec<SideRow>, Problem> {
        let in_memory = self.pipeline.ask(move |room| room.side_after(kind, position).take(limit).collect::<Vec<_>>());
        let in_memory = in_memory.await?;
        let mut rows: BTreeMap<u64, SideRow> = in_memory.into_iter().map(|row| (row.position, row)).collect();
        rows.extend(self.store.side_after(kind, position, limit).await?.into_iter().map(|row| (row.position, row)));
        Ok(rows.into_values().take(limit).collect())
    }

    /// The newest of `in_memory` and of the store's rows before `position`, or of all, newest first, at most `limit`.
    async fn side_newest(
        &self,
        kind: usize,
        in_memory: Vec<SideRow>,
        position: Option<u64>,
        limit: usize,
    ) -> Result<Vec<SideRow>, StoreError> {
        let mut rows: BTreeMap<u64, SideRow> = in_memory.into_iter().map(|row| (row.position, row)).collect();
        rows.extend(self.store.side_newest(kind, position, limit).await?.into_iter().map(|row| (row.position, row)));
        Ok(rows.into_values().rev().take(limit).collect())
    }

    /// The row of a side output at `position`.
    async fn side_at(&self, kind: usize, position: u64) -> Result<Option<SideRow>, ReadError> {
        let pending = self.pipeline.ask(move |room| room.side_at(kind, position)).await?;
        Ok(match pending {
            Some(row) => Some(row),
            None => self.store.side_at(kind, position).await?,
        })
    }

    /// Every facility of `region` as a point of the map, as JSON. The country's are made once for all who ask at the same time.
    pub async fn map_points(&self, region: RegionIx) -> Result<Bytes, Problem> {
        let points = async {
            let points = self.pipeline.ask(move |room| {
                room.engine.flush();
                points(&room.engine, region)
            });
            Ok::<_, Problem>(serde_json::to_vec(&points.await?).expect("points hold only text and numbers").into())
        };
        if region == RegionIx(0) { self.points.get(points).await } else { points.await }
    }

    /// How they stand, as JSON.
    pub async fn map_conditions(&self, region: RegionIx) -> Result<Bytes, Problem> {
        let version = self.places_version();
        let conditions = async {
            let conditions = self.pipeline.ask(move |room| {
                room.engine.flush();
                region::conditions(&room.engine, region)
            });
            let answer = MapConditions { version, conditions: conditions.await? };
            Ok::<_, Problem>(serde_json::to_vec(&answer).expect("digits").into())
        };
        if region == RegionIx(0) { self.conditions.get(conditions).await } else { conditions.await }
    }

    /// Where they are, as JSON.
    pub fn map_places(&self, region: RegionIx) -> Bytes {
        if region == RegionIx(0) { self.places().1.clone() } else { self.places_of(region) }
    }

    /// Another one where places are others: master data is read anew with each start.
    pub fn places_version(&self) -> u32 {
        self.places().0
    }

    /// The version and the places of the country.
    fn places(&self) -> &(u32, Bytes) {
        self.places.get_or_init(|| {
            let places = self.places_of(RegionIx(0));
            (crc32c::crc32c(&places), places)
        })
    }

    fn places_of(&self, region: RegionIx) -> Bytes {
        serde_json::to_vec(&region::places(&self.master, region)).expect("text and numbers").into()
    }

    async fn curve(&self, device: u32, range: Range, span: Span, until: i64) -> Result<Vec<Point>, ReadError> {
        let from = until - span.ms();
        let definition = if span == Span::Day { 0 } else { self.sizes.len() - 1 };
        let found = self.read_windows((definition as u8, self.sizes[definition]), vec![device], from, i64::MAX).await?;
        let points = found.iter().filter_map(|(_, window)| point_of(window, range));
        Ok(if span == Span::Month { extremes_by_hour(points) } else { points.collect() })
    }
}

fn map_point(engine: &Engine, facility: FacilityIx) -> MapPoint {
    let facility = engine.master().facility(facility);
    let worst = facility.sensor_ixs().map(|s| engine.condition(s.0)).min_by_key(|c| c.severity());
    MapPoint {
        code: facility.code.clone(),
        name: facility.name.clone(),
        at: (facility.latitude_e6, facility.longitude_e6),
        condition: worst.unwrap_or(Condition::NoWord),
    }
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

fn source_row(name: &str, tally: &Tally) -> SourceRow {
    SourceRow {
        name: name.to_owned(),
        received: tally.received,
        accepted: tally.accepted,
        duplicate: tally.duplicate,
        late: tally.late,
        rejected: tally.rejected,
        last: None,
    }
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
        let found = self.read_windows((0, self.sizes[0]), indices, taken_at.ms() - DAY_MS, i64::MAX).await;
        let found = found.map_err(AppErrorOf::from)?;
        let mut devices: Vec<FacilityDevice> = sensors
            .iter()
            .zip(states)
            .zip(0..)
            .map(|((sensor, now), place)| {
                let equipment = equipment(&self.master, Some(*sensor));
                let own = found.chunk_by(|a, b| a.0 == b.0).find(|chunk| chunk[0].0 == place).unwrap_or_default();
                let points: Vec<Point> = own.iter().filter_map(|(_, window)| point_of(window, equipment.range)).collect();
                FacilityDevice { spark: thin(&points, equipment.range), equipment, now }
            })
            .collect();
        devices.sort_by_key(|d| d.now.condition.severity());
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
            let engine = &room.engine;
            Some((index, engine.sensor_of(index), engine.device_now(index), engine.device_more(index)))
        });
        let Some((index, sensor, now, more)) = found.await.map_err(AppErrorOf::from)? else { return Ok(None) };
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
            more,
            span,
            points,
        }))
    }

    async fn pipeline(&self) -> Result<PipelineView, AppError> {
        let view = self.pipeline.ask(|room| {
            let engine = &room.engine;
            let totals = engine.totals();
            let with_last = |((name, tally), last): (&(String, Tally), &ProcessingTime)| SourceRow {
                last: Some(*last),
                ..source_row(name, tally)
            };
            let mut sources: Vec<SourceRow> = totals.by_source.iter().zip(&totals.heard_from).map(with_last).collect();
            sources.sort_by_key(|row| std::cmp::Reverse(row.received));
            sources.truncate(SHORT);
            let names = Topic::ALL.iter().map(|t| t.name()).chain(["unknown"]);
            let topics =
                names.zip(&totals.by_topic).filter(|(_, t)| t.received > 0).map(|(name, t)| source_row(name, t)).collect();
            let mut reasons: Vec<ReasonRow> = Reason::ALL
                .into_iter()
                .zip(totals.by_reason)
                .zip(totals.newest_letters)
                .filter(|((_, count), _)| *count > 0)
                .map(|((reason, count), newest)| ReasonRow { reason, count, newest: newest.map(|(_, position)| position) })
                .collect();
            reasons.sort_by_key(|row| std::cmp::Reverse(row.count));
            let registered = engine.master().sensors().len() as u32;
            let letters: Vec<SideRow> = room.side_rows(DEAD).rev().take(SHORT).collect();
            let view = PipelineView {
                taken_at: wall_clock(),
                uptime_start: room.uptime_start,
                now: pipeline_now(room),
                rate: room.rates.by_minute(wall_clock()),
                lag: room.rates.lag_by_minute(wall_clock()),
                hours: totals
                    .by_hour()
                    .map(|(start, tally)| HourRow { start, received: tally.received, late: tally.late })
                    .collect(),
                sources,
                topics,
                days: Vec::new(),
                reasons,
                dead_letters: Vec::new(),
                unregistered: (registered..engine.device_count()).rev().take(SHORT).map(|i| engine.device_now(i)).collect(),
            };
            let newest = view.reasons.iter().filter_map(|row| row.newest);
            let not_in_memory: BTreeSet<u64> = newest.filter(|position| room.side_at(DEAD, *position).is_none()).collect();
            (view, letters, not_in_memory, days::fresh(room))
        });
        let (mut view, letters, not_in_memory, (now, fresh)) = view.await.map_err(AppErrorOf::from)?;
        view.days = day_rows(&self.day_books_with(now, fresh, WEEK).await.map_err(AppErrorOf::from)?);
        view.dead_letters = self.newest_letters(letters, SHORT).await?;
        let gone = self.gone_letters(not_in_memory).await?;
        view.reasons.iter_mut().filter(|row| row.newest.is_some_and(|at| gone.contains(&at))).for_each(|row| row.newest = None);
        Ok(view)
    }

    async fn dead_letters(&self, before: Option<u64>, only_open: bool) -> Result<LettersView, AppError> {
        self.letters_view(before, only_open).await
    }

    async fn dead_letter(&self, position: u64) -> Result<Option<DeadLetterView>, AppError> {
        self.letter_view(position).await
    }

    async fn unregistered(&self, before: Option<String>) -> Result<Option<UnregisteredView>, AppError> {
        let view = self.pipeline.ask(move |room| region::unregistered_view(&room.engine, before)).await;
        Ok(view.map_err(AppErrorOf::from)?)
    }

    async fn late(&self, before: Option<u64>) -> Result<LateView, AppError> {
        self.late_view(before).await
    }

    async fn late_record(&self, position: u64) -> Result<Option<LateRecord>, AppError> {
        self.late_at(position).await
    }

    async fn search(&self, text: &str) -> Result<Vec<SearchHit>, AppError> {
        Ok(search::hits(&self.master, text))
    }
}
