//! A node of the hierarchy with its figures, its day and its children: for its page, and for the API.

use super::{crumbs, map_point};
use crate::http::rows::cursor;
use crate::pipeline::{Room, wall_clock};
use crate::publish::{WORST, child_now, children, node_of_region, region_now};
use app::api::{ChildKind, ChildView, Crumb, MapConditions, MapPlaces, MapPoint, RegionView, UnregisteredView};
use domain::engine::Engine;
use domain::feed::{DeviceNow, HISTOGRAM_COLUMNS, RegionNow};
use domain::master::{FacilityIx, Master, RegionIx};
use domain::rollup::{HourCell, Node, UNASSIGNED};
use domain::time::{DAY_MS, EventTime, HOUR_MS, ProcessingTime};
use serde_json::{Value, json};

/// Rows of a page of the list of devices that nobody has registered.
const ROWS: usize = 50;

/// Which of the devices that nobody has registered an answer is about, newest first.
#[derive(Clone, Debug)]
pub struct Devices {
    /// Those before this one; from the newest on where none is named.
    pub before: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// What a question names and nobody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// A region.
    Region,
    /// An unregistered device, as a cursor.
    Device,
}

fn start_of_day(engine: &Engine) -> i64 {
    let now = engine.now().ms().max(wall_clock().ms());
    now - now.rem_euclid(HOUR_MS) - DAY_MS + HOUR_MS
}

/// A region's page; `None` where there is none of that code.
pub(super) fn region_view(room: &Room, code: &str) -> Option<RegionView> {
    let engine = &room.engine;
    let (master, rollup) = (engine.master(), engine.rollup());
    let Some(node) = node_of_region(engine, code) else { return village_view(room, code) };
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
        now: region_now(room, node),
        hours: rollup.hours(node, from).collect(),
        worst: engine.worst(node, WORST),
        children: views,
        rate: if place == Some(RegionIx(0)) { room.rates.by_minute(wall_clock()) } else { Vec::new() },
        // The country's map shows them only from near, and asks for them then.
        points: place.filter(|region| *region != RegionIx(0)).map_or_else(Vec::new, |region| points(engine, region)),
        uncounted: place.map_or_else(Vec::new, |region| {
            uncounted(master, master.children(region).filter(|child| rollup.of_region(*child).is_none()))
        }),
        served_by: Vec::new(),
        is_counted: true,
    })
}

/// Names and codes, by name.
fn uncounted(master: &Master, regions: impl Iterator<Item = RegionIx>) -> Vec<Crumb> {
    let crumb = |ix| Crumb { code: master.region(ix).code.clone(), name: master.region(ix).name.clone() };
    let mut crumbs: Vec<Crumb> = regions.map(crumb).collect();
    crumbs.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.code.cmp(&b.code)));
    crumbs
}

/// The facilities of a region that have devices: those that stand on a map, in the order of their places.
fn on_map(master: &Master, region: RegionIx) -> impl Iterator<Item = FacilityIx> {
    let level = master.region(region).level;
    (0..master.facilities().len() as u32).map(FacilityIx).filter(move |f| {
        !master.facility(*f).sensors.is_empty() && master.ancestor_at(master.facility(*f).region, level) == Some(region)
    })
}

/// They as points.
pub(super) fn points(engine: &Engine, region: RegionIx) -> Vec<MapPoint> {
    on_map(engine.master(), region).map(|f| map_point(engine, f)).collect()
}

/// How they stand, a digit each.
pub(super) fn conditions(engine: &Engine, region: RegionIx) -> String {
    on_map(engine.master(), region).map(|f| MapConditions::digit(map_point(engine, f).condition)).collect()
}

/// Where they are.
pub(super) fn places(master: &Master, region: RegionIx) -> MapPlaces {
    let mut places = MapPlaces::default();
    for facility in on_map(master, region).map(|f| master.facility(f)) {
        places.push(&facility.code, &facility.name, (facility.latitude_e6, facility.longitude_e6));
    }
    places
}

/// A place below those that have facilities, a village: of it nothing is counted, so it has a name, a way to it, and who looks after it.
fn village_view(room: &Room, code: &str) -> Option<RegionView> {
    let master = room.engine.master();
    let region = master.region_by_code(code)?;
    debug_assert_eq!(master.facilities_of(region).len(), 0, "its figures would be missing");
    let around = master.ancestors(region).find(|above| master.facilities_of(*above).len() > 0);
    let served_by = around.into_iter().flat_map(|around| master.facilities_of(around)).map(|ix| {
        let facility = master.facility(ix);
        Crumb { code: facility.code.clone(), name: facility.name.clone() }
    });
    Some(RegionView {
        taken_at: wall_clock(),
        code: code.to_owned(),
        name: master.region(region).name.clone(),
        level: master.region(region).level,
        path: crumbs(master, region),
        now: RegionNow { histogram: vec![0; HISTOGRAM_COLUMNS], ..RegionNow::default() },
        hours: Vec::new(),
        worst: Vec::new(),
        children: Vec::new(),
        rate: Vec::new(),
        points: Vec::new(),
        uncounted: uncounted(master, master.children(region)),
        served_by: served_by.collect(),
        is_counted: false,
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

/// A region as the API answers it, with those `devices` where it is the one that unregistered devices belong to.
pub fn region_json(room: &mut Room, code: &str, devices: &Devices) -> Result<String, Missing> {
    room.engine.flush();
    let view = region_view(room, code).ok_or(Missing::Region)?;
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
    let engine = &room.engine;
    let node = node_of_region(engine, code);
    let hours = node.into_iter().flat_map(|node| engine.rollup().cells(node, start_of_day(engine)));
    let hours: Vec<Value> = hours.map(|(hour, cell)| hour_json(hour, &cell, view.taken_at.ms())).collect();
    let mut body = json!({
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
    if code == UNASSIGNED {
        // It has no places below it: what it holds are the devices themselves.
        let (devices, is_more) = unregistered(&room.engine, devices).ok_or(Missing::Device)?;
        body["next"] = devices.last().filter(|_| is_more).map(|device| cursor(&device.id)).into();
        body["devices"] = devices.iter().map(device_json).collect();
    }
    Ok(body.to_string())
}

/// The figures of an hour of a region as the API tells them.
pub fn figures_json(cell: &HourCell) -> Value {
    let HourCell { windows, low, high, readings, late, late_low, late_high } = cell;
    json!({
        "windows": windows, "low": low, "high": high, "readings": readings,
        "late": late, "late_low": late_low, "late_high": late_high,
    })
}

/// The same with the hour, as known at an instant.
pub fn hour_json(hour: i64, cell: &HourCell, known_at: i64) -> Value {
    let mut row = figures_json(cell);
    row["hour"] = json!(EventTime::from_ms(hour).to_string());
    row["final"] = json!(super::is_restated(hour, known_at));
    row
}

/// Some of the devices that nobody has registered, newest first, and whether there are older ones; `None` where they should come before one
/// that is none of them.
fn unregistered(engine: &Engine, Devices { before, limit }: &Devices) -> Option<(Vec<DeviceNow>, bool)> {
    let registered = engine.master().sensors().len() as u32;
    let until = match before {
        Some(id) => engine.device_by_id(id).filter(|index| *index >= registered)?,
        None => engine.device_count(),
    };
    let devices = (registered..until).rev().take(*limit).map(|index| engine.device_now(index)).collect();
    Some((devices, (until - registered) as usize > *limit))
}

fn device_json(device: &DeviceNow) -> Value {
    let reading = device.reading;
    json!({
        "device_id": device.id,
        "received_at": device.received_at.map(|at| at.to_string()),
        "ts": reading.map(|r| r.at.to_string()),
        "temperature": reading.map(|r| f64::from(r.temperature.0) / 1_000.0),
    })
}

/// The page of the list of devices that nobody has registered.
pub(super) fn unregistered_view(engine: &Engine, before: Option<String>) -> Option<UnregisteredView> {
    let (devices, is_more) = unregistered(engine, &Devices { before, limit: ROWS })?;
    let count = engine.device_count() - engine.master().sensors().len() as u32;
    Some(UnregisteredView { taken_at: wall_clock(), count, devices, is_more })
}
