//! Reads the three CSV tables of master data into ordered tables with their look-ups.

use super::{
    EquipmentKind, Facility, FacilityIx, FacilityKind, Level, MAX_LEVELS, MasterError, REPORTING_INTERVAL_MS, Region, RegionIx,
    Sensor,
};
use crate::time::Zone;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::borrow::Cow;
use std::hash::BuildHasher;

const LEVELS: &str = "levels.csv";
const REGIONS: &str = "regions.csv";
const FACILITIES: &str = "facilities.csv";

/// The rows of a CSV text (RFC 4180 without line breaks inside fields), each with its line number and exactly `N` fields.
fn rows<'t, const N: usize>(
    file: &'static str,
    columns: [&'static str; N],
    text: &'t str,
) -> impl Iterator<Item = Result<(usize, [Cow<'t, str>; N]), MasterError>> {
    let error = move |line, field, reason: String| MasterError { file, line, field, reason };
    let mut lines = text.lines().zip(1usize..);
    let header = lines.next().map_or("", |(line, _)| line).trim_start_matches('\u{feff}');
    let wrong_header = (!header.split(',').eq(columns))
        .then(|| error(1, columns[0], format!("the header is `{header}`, expected `{}`", columns.join(","))));
    wrong_header.map(Err).into_iter().chain(lines.filter(|(line, _)| !line.is_empty()).map(move |(line, number)| {
        let mut fields: [Cow<'t, str>; N] = [const { Cow::Borrowed("") }; N];
        let mut rest = Some(line);
        for (field, column) in fields.iter_mut().zip(columns) {
            let Some(text) = rest else {
                return Err(error(number, column, "is missing".into()));
            };
            (*field, rest) = take_field(text).ok_or_else(|| error(number, column, "has an open or misplaced quote".into()))?;
        }
        match rest {
            Some(extra) => Err(error(number, columns[N - 1], format!("is followed by more: `{extra}`"))),
            None => Ok((number, fields)),
        }
    }))
}

/// The first field of `text` and what follows its comma.
fn take_field(text: &str) -> Option<(Cow<'_, str>, Option<&str>)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return Some(match text.split_once(',') {
            Some((field, rest)) => (Cow::Borrowed(field), Some(rest)),
            None => (Cow::Borrowed(text), None),
        });
    };
    let mut field = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        if let Some(more) = after.strip_prefix('"') {
            field.push('"');
            rest = more;
        } else if after.is_empty() {
            return Some((Cow::Owned(field), None));
        } else {
            return Some((Cow::Owned(field), Some(after.strip_prefix(',')?)));
        }
    }
}

pub(super) fn find<'a>(
    table: &HashTable<u32>,
    hasher: &DefaultHashBuilder,
    key: &str,
    key_of: impl Fn(u32) -> &'a String,
) -> Option<u32> {
    table.find(hasher.hash_one(key), |ix| key_of(*ix) == key).copied()
}

/// Adds `ix` under `key`; false where the key is taken.
fn insert<'a>(table: &mut HashTable<u32>, hasher: &DefaultHashBuilder, ix: u32, key_of: impl Fn(u32) -> &'a str) -> bool {
    let key = key_of(ix);
    let hash = hasher.hash_one(key);
    if table.find(hash, |other| key_of(*other) == key).is_some() {
        return false;
    }
    table.insert_unique(hash, ix, |other| hasher.hash_one(key_of(*other)));
    true
}

pub(super) fn parse_levels(text: &str) -> Result<Vec<Level>, MasterError> {
    let mut levels = Vec::new();
    for row in rows(LEVELS, ["depth", "key", "name_id", "name_en"], text) {
        let (line, [depth, key, name_id, name_en]) = row?;
        let error = |field, reason| MasterError { file: LEVELS, line, field, reason };
        if depth.parse() != Ok(levels.len()) {
            return Err(error("depth", format!("is `{depth}`, expected {} (levels count up from 0)", levels.len())));
        }
        if levels.len() == MAX_LEVELS {
            return Err(error("depth", format!("is `{depth}`, and there may be {MAX_LEVELS} levels")));
        }
        if key.is_empty() {
            return Err(error("key", "is empty".into()));
        }
        levels.push(Level { key: key.into_owned(), name_id: name_id.into_owned(), name_en: name_en.into_owned() });
    }
    if levels.is_empty() {
        return Err(MasterError { file: LEVELS, line: 1, field: "depth", reason: "no level is given".into() });
    }
    Ok(levels)
}

pub(super) struct RegionTable {
    pub(super) regions: Vec<Region>,
    pub(super) by_code: HashTable<u32>,
    pub(super) children: Vec<u32>,
    pub(super) level_end: Vec<u32>,
}

pub(super) fn parse_regions(text: &str, depth: usize, hasher: &DefaultHashBuilder) -> Result<RegionTable, MasterError> {
    struct Row<'t> {
        line: usize,
        code: Cow<'t, str>,
        parent: Cow<'t, str>,
        name: Cow<'t, str>,
    }
    let error = |line, field, reason| MasterError { file: REGIONS, line, field, reason };
    let mut by_level: Vec<Vec<Row<'_>>> = (0..depth).map(|_| Vec::new()).collect();
    let mut count = 0;
    for row in rows(REGIONS, ["level", "code", "parent", "name"], text) {
        let (line, [level, code, parent, name]) = row?;
        let of_level = level.parse().ok().and_then(|level: usize| by_level.get_mut(level));
        let of_level = of_level.ok_or_else(|| error(line, "level", format!("`{level}` is not in {LEVELS}")))?;
        if code.is_empty() {
            return Err(error(line, "code", "is empty".into()));
        }
        of_level.push(Row { line, code, parent, name });
        count += 1;
    }
    if by_level[0].len() != 1 {
        let line = by_level[0].get(1).map_or(1, |row| row.line);
        return Err(error(line, "level", format!("{} regions of level 0, expected one: the country", by_level[0].len())));
    }

    let mut regions: Vec<Region> = Vec::with_capacity(count);
    let mut by_code = HashTable::with_capacity(count);
    let mut level_end = Vec::with_capacity(depth);
    for (level, rows) in by_level.into_iter().enumerate() {
        let mut placed = Vec::with_capacity(rows.len());
        for row in rows {
            let parent = match (level, row.parent.as_ref()) {
                (0, "") => None,
                (0, parent) => return Err(error(row.line, "parent", format!("is `{parent}`, but level 0 has none"))),
                (_, parent) => {
                    let above = find(&by_code, hasher, parent, |ix| &regions[ix as usize].code)
                        .filter(|ix| usize::from(regions[*ix as usize].level) + 1 == level)
                        .ok_or_else(|| error(row.line, "parent", format!("`{parent}` is no region one level above")))?;
                    Some(RegionIx(above))
                }
            };
            placed.push((parent, row));
        }
        placed.sort_by(|(parent, row), (other, row_other)| (parent, &row.code).cmp(&(other, &row_other.code)));
        for (parent, Row { line, code, name, .. }) in placed {
            let ix = regions.len() as u32;
            regions.push(Region { code: code.into_owned(), name: name.into_owned(), level: level as u8, parent });
            if !insert(&mut by_code, hasher, ix, |ix| regions[ix as usize].code.as_str()) {
                return Err(error(line, "code", format!("`{}` is given twice", regions[ix as usize].code)));
            }
        }
        level_end.push(regions.len() as u32);
    }
    // Regions are ordered by (level, parent), and a parent is always one level up, so parents never go down along the table.
    let children = offsets(regions.len(), regions.iter().skip(1).map(|region| region.parent.map_or(0, RegionIx::index)), 1);
    Ok(RegionTable { regions, by_code, children, level_end })
}

/// For items ordered by owner, the item before which each owner's items start, and the end; items are counted from `first`.
fn offsets(owners: usize, owner_of_items: impl Iterator<Item = usize>, first: u32) -> Vec<u32> {
    let mut starts = vec![0; owners + 1];
    for owner in owner_of_items {
        starts[owner + 1] += 1;
    }
    let mut at = first;
    for start in &mut starts {
        at += *start;
        *start = at;
    }
    starts
}

pub(super) struct FacilityTable {
    pub(super) facilities: Vec<Facility>,
    pub(super) sensors: Vec<Sensor>,
    pub(super) attached: Vec<u32>,
    pub(super) by_facility_code: HashTable<u32>,
    pub(super) by_sensor_id: HashTable<u32>,
}

pub(super) fn parse_facilities(
    text: &str,
    regions: &[Region],
    by_code: &HashTable<u32>,
    hasher: &DefaultHashBuilder,
) -> Result<FacilityTable, MasterError> {
    struct Row<'t> {
        line: usize,
        number: u32,
        facility: Facility,
        equipment: Cow<'t, str>,
    }
    let mut parsed = Vec::new();
    for row in rows(FACILITIES, ["code", "name", "kind", "region", "latitude", "longitude", "zone", "equipment"], text) {
        let (line, [code, name, kind, region, latitude, longitude, zone, equipment]) = row?;
        let error = |field, reason| MasterError { file: FACILITIES, line, field, reason };
        let degrees = |field, text: &str, most: f64| {
            let value = text.parse().ok().filter(|degrees: &f64| degrees.abs() <= most);
            value
                .map(|degrees| (degrees * 1e6).round() as i32)
                .ok_or_else(|| error(field, format!("`{text}` is no number of degrees")))
        };
        let kind = FacilityKind::from_key(&kind).ok_or_else(|| error("kind", format!("`{kind}` is not known")))?;
        let in_region = find(by_code, hasher, &region, |ix| &regions[ix as usize].code);
        let number = code.strip_prefix(kind.letter()).and_then(|rest| rest.rsplit_once('-')).and_then(|(_, n)| n.parse().ok());
        parsed.push(Row {
            line,
            number: number.ok_or_else(|| error("code", format!("`{code}` is not like {}321705-1", kind.letter())))?,
            facility: Facility {
                code: code.into_owned(),
                name: name.into_owned(),
                kind,
                region: RegionIx(in_region.ok_or_else(|| error("region", format!("`{region}` is not in {REGIONS}")))?),
                latitude_e6: degrees("latitude", &latitude, 90.0)?,
                longitude_e6: degrees("longitude", &longitude, 180.0)?,
                zone: match zone.as_ref() {
                    "WIB" => Zone::Wib,
                    "WITA" => Zone::Wita,
                    "WIT" => Zone::Wit,
                    _ => return Err(error("zone", format!("`{zone}` is none of WIB, WITA, WIT"))),
                },
                sensors: 0..0,
            },
            equipment,
        });
    }
    parsed.sort_by(|a, b| {
        (a.facility.region, a.facility.kind, a.number, &a.facility.code).cmp(&(
            b.facility.region,
            b.facility.kind,
            b.number,
            &b.facility.code,
        ))
    });

    let mut facilities: Vec<Facility> = Vec::with_capacity(parsed.len());
    let mut sensors: Vec<Sensor> = Vec::with_capacity(2 * parsed.len());
    let mut by_facility_code = HashTable::with_capacity(parsed.len());
    let mut by_sensor_id = HashTable::with_capacity(2 * parsed.len());
    for Row { line, facility, equipment, .. } in parsed {
        let error = |field, reason| MasterError { file: FACILITIES, line, field, reason };
        let ix = facilities.len() as u32;
        let first = sensors.len() as u32;
        facilities.push(facility);
        let facility = &facilities[ix as usize];
        if !insert(&mut by_facility_code, hasher, ix, |ix| facilities[ix as usize].code.as_str()) {
            return Err(error("code", format!("`{}` is given twice", facility.code)));
        }
        for item in equipment.split(';').filter(|item| !item.is_empty()) {
            let (kind, number, model) =
                parse_equipment(item).ok_or_else(|| error("equipment", format!("`{item}` is not like `F1 model`")))?;
            sensors.push(Sensor {
                id: format!("{}-{}{number}", facility.code, kind.letter()),
                facility: FacilityIx(ix),
                equipment: kind,
                number,
                model: model.to_owned(),
                range: kind.range(),
                interval_ms: REPORTING_INTERVAL_MS,
            });
        }
        sensors[first as usize..].sort_by_key(|sensor| (sensor.equipment, sensor.number));
        for sensor in first..sensors.len() as u32 {
            if !insert(&mut by_sensor_id, hasher, sensor, |ix| sensors[ix as usize].id.as_str()) {
                return Err(error("equipment", format!("`{}` is given twice", sensors[sensor as usize].id)));
            }
        }
        facilities[ix as usize].sensors = first..sensors.len() as u32;
    }
    let attached = offsets(regions.len(), facilities.iter().map(|facility| facility.region.index()), 0);
    Ok(FacilityTable { facilities, sensors, attached, by_facility_code, by_sensor_id })
}

/// `F1 Vestfrost VLS 204A` taken apart.
fn parse_equipment(item: &str) -> Option<(EquipmentKind, u16, &str)> {
    let (tag, model) = item.split_once(' ')?;
    let kind = EquipmentKind::ALL.into_iter().find(|kind| tag.starts_with(kind.letter()))?;
    let number = tag[1..].parse().ok().filter(|number| *number > 0)?;
    Some((kind, number, model))
}
