//! Master data: the administrative hierarchy, facilities, their cold-chain equipment and its sensors, and the search over them.
//!
//! The depth of the hierarchy is data (`levels.csv`): villages may get neighbourhoods and families below them without a change
//! here. What is read from where, and what is synthetic, is told in `data/README.md`; this room only parses text it is given.

mod search;
mod table;

use crate::coldchain::Range as Limits;
use crate::time::Zone;
use hashbrown::{DefaultHashBuilder, HashTable};
use search::SearchIndex;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use table::{FacilityTable, RegionTable, find, parse_facilities, parse_levels, parse_regions};

/// How often the sensor of a cold-chain equipment reports, in milliseconds: every five minutes.
pub const REPORTING_INTERVAL_MS: i64 = 300_000;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The place in a slice that runs parallel to the table.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index! {
    /// Place of a region in [`Master::regions`].
    RegionIx
}
index! {
    /// Place of a facility in [`Master::facilities`].
    FacilityIx
}
index! {
    /// Place of a sensor in [`Master::sensors`].
    SensorIx
}

/// A level of the hierarchy, the country being level 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Word for programs: `regency`.
    pub key: String,
    /// Indonesian name: `Kabupaten/kota`.
    pub name_id: String,
    /// English name: `Regency`.
    pub name_en: String,
}

/// A node of the administrative hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// `ID` for the country, else the dotted Kemendagri code: `32.17.05`.
    pub code: String,
    /// As people write it: `Kab. Bandung Barat`, `Lembang`.
    pub name: String,
    /// Index into [`Master::levels`].
    pub level: u8,
    /// The region it lies in, one level up; none for the country.
    pub parent: Option<RegionIx>,
}

/// What a facility is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FacilityKind {
    /// The national central store.
    NationalStore,
    /// The vaccine store of a province.
    ProvinceStore,
    /// The vaccine store of a regency or city.
    RegencyStore,
    /// A hospital.
    Hospital,
    /// A community health centre.
    Puskesmas,
}

impl FacilityKind {
    /// Every kind, from the centre outward.
    pub const ALL: [FacilityKind; 5] = [
        FacilityKind::NationalStore,
        FacilityKind::ProvinceStore,
        FacilityKind::RegencyStore,
        FacilityKind::Hospital,
        FacilityKind::Puskesmas,
    ];

    /// The word in `facilities.csv` and in JSON.
    pub const fn key(self) -> &'static str {
        match self {
            FacilityKind::NationalStore => "national_store",
            FacilityKind::ProvinceStore => "province_store",
            FacilityKind::RegencyStore => "regency_store",
            FacilityKind::Hospital => "hospital",
            FacilityKind::Puskesmas => "puskesmas",
        }
    }

    /// First letter of its facilities' codes.
    pub const fn letter(self) -> char {
        match self {
            FacilityKind::NationalStore => 'N',
            FacilityKind::ProvinceStore => 'V',
            FacilityKind::RegencyStore => 'R',
            FacilityKind::Hospital => 'H',
            FacilityKind::Puskesmas => 'P',
        }
    }

    /// The kind that `key` names.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.key() == key)
    }
}

/// A place that keeps vaccine cold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facility {
    /// `P321705-1`: letter of its kind, digits of its region's code, running number.
    pub code: String,
    /// As people write it: `Puskesmas Lembang`.
    pub name: String,
    /// What it is.
    pub kind: FacilityKind,
    /// The region it is attached to: a district for a puskesmas, a regency for a hospital, its own region for a store.
    pub region: RegionIx,
    /// Latitude in millionths of a degree, north positive.
    pub latitude_e6: i32,
    /// Longitude in millionths of a degree, east positive.
    pub longitude_e6: i32,
    /// The zone its people read the clock in.
    pub zone: Zone,
    /// Its sensors, as places in [`Master::sensors`].
    pub sensors: Range<u32>,
}

impl Facility {
    /// Latitude in degrees.
    pub fn latitude(&self) -> f64 {
        f64::from(self.latitude_e6) / 1e6
    }

    /// Longitude in degrees.
    pub fn longitude(&self) -> f64 {
        f64::from(self.longitude_e6) / 1e6
    }

    /// The places of its sensors.
    pub fn sensor_ixs(&self) -> impl ExactSizeIterator<Item = SensorIx> + use<> {
        self.sensors.clone().map(SensorIx)
    }
}

/// What keeps the vaccine cold. The word for people depends on the language; see [`Sensor::number`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EquipmentKind {
    /// A vaccine refrigerator, 2 to 8 °C.
    Refrigerator,
    /// A freezer, −25 to −15 °C.
    Freezer,
    /// A walk-in cold room, 2 to 8 °C.
    ColdRoom,
}

impl EquipmentKind {
    /// Every kind.
    pub const ALL: [EquipmentKind; 3] = [EquipmentKind::Refrigerator, EquipmentKind::Freezer, EquipmentKind::ColdRoom];

    /// Its letter in sensor ids: `F`, `Z` or `C`.
    pub const fn letter(self) -> char {
        match self {
            EquipmentKind::Refrigerator => 'F',
            EquipmentKind::Freezer => 'Z',
            EquipmentKind::ColdRoom => 'C',
        }
    }

    /// The temperatures it has to keep.
    pub const fn range(self) -> Limits {
        match self {
            EquipmentKind::Refrigerator | EquipmentKind::ColdRoom => Limits::FRIDGE,
            EquipmentKind::Freezer => Limits::FREEZER,
        }
    }
}

/// The sensor in a cold-chain equipment, and that equipment: each has exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensor {
    /// Device id: code of the facility, letter and number of the equipment: `P321705-1-F1`.
    pub id: String,
    /// Where it is.
    pub facility: FacilityIx,
    /// What it is in.
    pub equipment: EquipmentKind,
    /// Running number among the facility's equipment of this kind, from 1.
    pub number: u16,
    /// Maker and model of the equipment.
    pub model: String,
    /// The temperatures its vaccine needs.
    pub range: Limits,
    /// How often it reports, in milliseconds.
    pub interval_ms: i64,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// A region.
    Region(RegionIx),
    /// A facility.
    Facility(FacilityIx),
    /// A sensor.
    Sensor(SensorIx),
}

/// A line of the master data that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}, {field}: {reason}")]
pub struct MasterError {
    /// `levels.csv`, `regions.csv` or `facilities.csv`.
    pub file: &'static str,
    /// Line, counted from 1; the header is line 1.
    pub line: usize,
    /// Name of the column.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// All master data, unchanging once parsed.
///
/// Regions are ordered by level, then parent, then code, so with dotted codes by (level, code): the upper levels are a prefix
/// of the table, and the children of a region lie side by side. Facilities are ordered by (region, kind, running number),
/// sensors by (facility, kind of equipment, number).
#[derive(Debug)]
pub struct Master {
    levels: Vec<Level>,
    regions: Vec<Region>,
    /// `children[r]..children[r + 1]` are the children of region `r`.
    children: Vec<u32>,
    /// `attached[r]..attached[r + 1]` are the facilities attached to region `r`.
    attached: Vec<u32>,
    /// `level_end[l]` is the number of regions of level `l` and above.
    level_end: Vec<u32>,
    facilities: Vec<Facility>,
    sensors: Vec<Sensor>,
    hasher: DefaultHashBuilder,
    by_code: HashTable<u32>,
    by_facility_code: HashTable<u32>,
    by_sensor_id: HashTable<u32>,
    index: SearchIndex,
    /// The deepest level of a region with facilities.
    deepest: u8,
}

/// Levels that a hierarchy may have, from the country down to the family and more.
pub const MAX_LEVELS: usize = 12;

impl Master {
    /// Reads the three tables, as CSV text with header lines:
    /// - `levels`: `depth,key,name_id,name_en`
    /// - `regions`: `level,code,parent,name`, in any order
    /// - `facilities`: `code,name,kind,region,latitude,longitude,zone,equipment`, in any order; `equipment` lists `F1 model;Z1 model`
    pub fn parse(levels: &str, regions: &str, facilities: &str) -> Result<Master, MasterError> {
        let levels = parse_levels(levels)?;
        let hasher = DefaultHashBuilder::default();
        let RegionTable { regions, by_code, children, level_end } = parse_regions(regions, levels.len(), &hasher)?;
        let FacilityTable { facilities, sensors, attached, by_facility_code, by_sensor_id } =
            parse_facilities(facilities, &regions, &by_code, &hasher)?;
        let index = SearchIndex::build(&regions, &level_end, &facilities, &sensors);
        let deepest = facilities.iter().map(|facility| regions[facility.region.index()].level).max().unwrap_or(0);
        Ok(Master {
            levels,
            regions,
            children,
            attached,
            level_end,
            facilities,
            sensors,
            hasher,
            by_code,
            by_facility_code,
            by_sensor_id,
            index,
            deepest,
        })
    }

    /// The levels of the hierarchy, the country first.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// All regions; the first is the country.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// The country.
    pub const fn country(&self) -> RegionIx {
        RegionIx(0)
    }

    /// The regions of one level; none for a level that does not exist. For tests.
    pub fn regions_of_level(&self, level: u8) -> impl ExactSizeIterator<Item = RegionIx> + use<> {
        let end = self.regions_to_level(level);
        let start = if level == 0 { 0 } else { self.regions_to_level(level - 1) };
        (start..end).map(RegionIx)
    }

    /// How many regions are of `level` or above it: these are the first of [`Master::regions`].
    pub fn regions_to_level(&self, level: u8) -> u32 {
        self.level_end.get(usize::from(level)).copied().unwrap_or(self.regions.len() as u32)
    }

    /// How many regions have figures of their own: those down to the deepest level to which a facility belongs. They are the first of
    /// [`Master::regions`].
    pub fn counted_regions(&self) -> u32 {
        self.regions_to_level(self.deepest)
    }

    /// How many of them have parts with figures: those above that level.
    pub fn counted_parents(&self) -> u32 {
        self.deepest.checked_sub(1).map_or(0, |level| self.regions_to_level(level))
    }

    /// A region.
    pub fn region(&self, ix: RegionIx) -> &Region {
        &self.regions[ix.index()]
    }

    /// The region of a code.
    pub fn region_by_code(&self, code: &str) -> Option<RegionIx> {
        find(&self.by_code, &self.hasher, code, |ix| &self.regions[ix as usize].code).map(RegionIx)
    }

    /// The regions directly inside a region, by code.
    pub fn children(&self, ix: RegionIx) -> impl ExactSizeIterator<Item = RegionIx> + DoubleEndedIterator + use<> {
        (self.children[ix.index()]..self.children[ix.index() + 1]).map(RegionIx)
    }

    /// A region, the one it lies in, and so on up to the country.
    pub fn ancestors(&self, ix: RegionIx) -> impl Iterator<Item = RegionIx> + '_ {
        std::iter::successors(Some(ix), |ix| self.region(*ix).parent)
    }

    /// The region of `level` that `ix` lies in, itself included; none where `ix` is above that level.
    pub fn ancestor_at(&self, ix: RegionIx, level: u8) -> Option<RegionIx> {
        self.ancestors(ix).find(|above| self.region(*above).level == level)
    }

    /// All facilities.
    pub fn facilities(&self) -> &[Facility] {
        &self.facilities
    }

    /// A facility.
    pub fn facility(&self, ix: FacilityIx) -> &Facility {
        &self.facilities[ix.index()]
    }

    /// The facility of a code.
    pub fn facility_by_code(&self, code: &str) -> Option<FacilityIx> {
        find(&self.by_facility_code, &self.hasher, code, |ix| &self.facilities[ix as usize].code).map(FacilityIx)
    }

    /// The facilities attached to a region itself, not to one inside it.
    pub fn facilities_of(&self, ix: RegionIx) -> impl ExactSizeIterator<Item = FacilityIx> + DoubleEndedIterator + use<> {
        (self.attached[ix.index()]..self.attached[ix.index() + 1]).map(FacilityIx)
    }

    /// All sensors.
    pub fn sensors(&self) -> &[Sensor] {
        &self.sensors
    }

    /// A sensor.
    pub fn sensor(&self, ix: SensorIx) -> &Sensor {
        &self.sensors[ix.index()]
    }

    /// The sensor of a device id; none where the device is not registered.
    pub fn sensor_by_id(&self, id: &str) -> Option<SensorIx> {
        find(&self.by_sensor_id, &self.hasher, id, |ix| &self.sensors[ix as usize].id).map(SensorIx)
    }

    /// The sensors of a facility, for tests. Their places are [`Facility::sensor_ixs`].
    pub fn sensors_of(&self, ix: FacilityIx) -> &[Sensor] {
        let range = &self.facility(ix).sensors;
        &self.sensors[range.start as usize..range.end as usize]
    }

    /// Regions, facilities and sensors whose name or code holds every word of `text`, best first, at most `limit`.
    ///
    /// Case does not matter. The whole name or code comes before its beginning, that before the beginning of a word, that
    /// before the middle of one; `Kab.`, `Kota`, `Puskesmas` and the like do not count as part of a name's beginning. Among
    /// equals the larger place comes first, villages behind facilities. A single letter finds regencies and above only.
    pub fn search(&self, text: &str, limit: usize) -> Vec<Hit> {
        self.index.search(text, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: &str = "depth,key,name_id,name_en\n0,country,Negara,Country\n1,province,Provinsi,Province\n\
        2,regency,Kabupaten/kota,Regency\n3,district,Kecamatan,District\n4,village,Desa/kelurahan,Village\n5,rw,RW,Neighbourhood\n";
    const REGIONS: &str = "level,code,parent,name\n4,32.17.05.2001,32.17.05,Gudangkahuripan\n0,ID,,Indonesia\n\
        1,32,ID,Jawa Barat\n1,11,ID,Aceh\n2,32.17,32,Kab. Bandung Barat\n2,32.73,32,Kota Bandung\n\
        3,32.73.05,32.73,Cicendo\n3,32.17.05,32.17,Lembang\n3,32.17.02,32.17,\"Parongpong, Utara\"\n\
        4,32.17.05.2002,32.17.05,Lembang\n5,32.17.05.2001.07,32.17.05.2001,RW 07\n4,32.17.02.2001,32.17.02,Cihanjuang\n";
    const FACILITIES: &str = "code,name,kind,region,latitude,longitude,zone,equipment\n\
        P321705-10,Puskesmas Lembang X,puskesmas,32.17.05,-6.81,107.62,WIB,F1 Haier HBC-80\n\
        P321705-2,Puskesmas Lembang II,puskesmas,32.17.05,-6.811,107.622,WIB,\n\
        P321705-1,Puskesmas Lembang,puskesmas,32.17.05,-6.8123456,107.6175,WIB,F2 Haier HBC-80;F1 Vestfrost VLS 204A\n\
        V32-1,Gudang vaksin Jawa Barat,province_store,32,-6.9,107.6,WIB,Z1 Vestfrost MF 314;F1 Vestfrost VLS 504A;C1 Kolpak 30 m³\n";

    fn master() -> Master {
        Master::parse(LEVELS, REGIONS, FACILITIES).expect("valid master data")
    }

    fn codes(master: &Master, regions: impl Iterator<Item = RegionIx>) -> String {
        regions.map(|ix| master.region(ix).code.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn regions_are_in_order_of_level_and_code_however_deep() {
        let master = master();
        let all = codes(&master, (0..master.regions().len() as u32).map(RegionIx));
        assert_eq!(
            all,
            "ID 11 32 32.17 32.73 32.17.02 32.17.05 32.73.05 32.17.02.2001 32.17.05.2001 32.17.05.2002 32.17.05.2001.07"
        );
        assert_eq!(master.regions_to_level(2), 5);
        assert_eq!(codes(&master, master.regions_of_level(3)), "32.17.02 32.17.05 32.73.05");
        assert_eq!(master.regions_of_level(9).len(), 0);
        let at = |code| master.region_by_code(code).expect("known");
        assert_eq!(codes(&master, master.children(at("ID"))), "11 32");
        assert_eq!(codes(&master, master.children(at("11"))), "");
        assert_eq!(codes(&master, master.children(at("32.17.05"))), "32.17.05.2001 32.17.05.2002");
        assert_eq!(
            codes(&master, master.ancestors(at("32.17.05.2001.07"))),
            "32.17.05.2001.07 32.17.05.2001 32.17.05 32.17 32 ID"
        );
        assert_eq!(master.ancestor_at(at("32.17.05"), 1), Some(at("32")));
        assert_eq!(master.region(at("32.17.02")).name, "Parongpong, Utara");
        assert_eq!(master.region_by_code("99"), None);
    }

    #[test]
    fn facilities_and_sensors() {
        let master = master();
        let lembang = master.region_by_code("32.17.05").expect("known");
        let names: Vec<_> = master.facilities_of(lembang).map(|ix| master.facility(ix).code.as_str()).collect();
        assert_eq!(names, ["P321705-1", "P321705-2", "P321705-10"]); // by number, not by text
        let first = master.facility_by_code("P321705-1").expect("known");
        assert_eq!((master.facility(first).latitude_e6, master.facility(first).longitude_e6), (-6_812_346, 107_617_500));
        let sensors: Vec<_> = master.sensors_of(first).iter().map(|s| (s.id.as_str(), s.model.as_str())).collect();
        assert_eq!(sensors, [("P321705-1-F1", "Vestfrost VLS 204A"), ("P321705-1-F2", "Haier HBC-80")]);
        let freezer = master.sensor(master.sensor_by_id("V32-1-Z1").expect("known"));
        assert_eq!((freezer.equipment, freezer.number, freezer.range), (EquipmentKind::Freezer, 1, Limits::FREEZER));
        assert_eq!(master.facility(freezer.facility).kind, FacilityKind::ProvinceStore);
        assert_eq!(master.sensors().len(), 6);
        assert_eq!(master.sensor_by_id("P321705-1-F3"), None);
    }

    #[track_caller]
    fn check_search(text: &str, expected: &str) {
        let master = master();
        let hits = master.search(text, 4);
        let found: Vec<_> = hits
            .iter()
            .map(|hit| match hit {
                Hit::Region(ix) => master.region(*ix).code.as_str(),
                Hit::Facility(ix) => master.facility(*ix).code.as_str(),
                Hit::Sensor(ix) => master.sensor(*ix).id.as_str(),
            })
            .collect();
        assert_eq!(found.join(" "), expected, "{text}");
    }

    #[test]
    fn search() {
        check_search("bandung", "32.73 32.17"); // the whole name before its beginning, `Kab.` and `Kota` aside
        check_search("LEMBANG", "32.17.05 P321705-1 32.17.05.2002 P321705-2");
        check_search("barat", "32 32.17 V32-1");
        check_search("pong", "32.17.02");
        check_search("  kota   bandung ", "32.73");
        check_search("lembang puskesmas", "P321705-1 P321705-2 P321705-10");
        check_search("p321705-1-f", "P321705-1-F1 P321705-1-F2");
        check_search("32.17.05", "32.17.05 32.17.05.2001 32.17.05.2002 32.17.05.2001.07");
        check_search("a", "11 ID 32 32.17");
        check_search("gudangk", "32.17.05.2001");
        check_search("nowhere", "");
        check_search(" ", "");
    }

    #[track_caller]
    fn check_error(regions: &str, facilities: &str, expected: &str) {
        let regions = format!("level,code,parent,name\n0,ID,,Indonesia\n1,32,ID,Jawa Barat\n{regions}");
        let facilities = format!("code,name,kind,region,latitude,longitude,zone,equipment\n{facilities}");
        let error = Master::parse(LEVELS, &regions, &facilities).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn errors_name_file_line_and_field() {
        check_error("9,33,ID,X\n", "", "regions.csv, line 4, level: `9` is not in levels.csv");
        check_error("2,33.01,33,X\n", "", "regions.csv, line 4, parent: `33` is no region one level above");
        check_error("3,32.01.01,32,X\n", "", "regions.csv, line 4, parent: `32` is no region one level above");
        check_error("1,32,ID,X\n", "", "regions.csv, line 4, code: `32` is given twice");
        check_error("1,33,ID\n", "", "regions.csv, line 4, name: is missing");
        check_error("1,33,ID,X,Y\n", "", "regions.csv, line 4, name: is followed by more: `Y`");
        check_error("1,33,ID,\"X\n", "", "regions.csv, line 4, name: has an open or misplaced quote");
        check_error("0,MY,,Malaysia\n", "", "regions.csv, line 4, level: 2 regions of level 0, expected one: the country");
        check_error("", "V32-1,X,shop,32,0,0,WIB,\n", "facilities.csv, line 2, kind: `shop` is not known");
        check_error("", "V32-1,X,hospital,32,0,0,WIB,\n", "facilities.csv, line 2, code: `V32-1` is not like H321705-1");
        check_error("", "H32-1,X,hospital,32,NaN,0,WIB,\n", "facilities.csv, line 2, latitude: `NaN` is no number of degrees");
        check_error("", "H32-1,X,hospital,32,0,0,CET,\n", "facilities.csv, line 2, zone: `CET` is none of WIB, WITA, WIT");
        check_error("", "H32-1,X,hospital,32,0,0,WIB,X1 a\n", "facilities.csv, line 2, equipment: `X1 a` is not like `F1 model`");
        check_error(
            "",
            "H32-1,X,hospital,32,0,0,WIB,F1 a;F1 b\n",
            "facilities.csv, line 2, equipment: `H32-1-F1` is given twice",
        );
        let wrong = Master::parse("depth,key\n", REGIONS, FACILITIES).expect_err("a wrong header");
        assert_eq!((wrong.file, wrong.line), ("levels.csv", 1));
    }
}
