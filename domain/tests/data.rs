//! The committed master data: complete, and every facility where it may be. Laws of the data, not of the parser.

use domain::master::{EquipmentKind, FacilityIx, FacilityKind, Hit, Master, RegionIx};
use domain::time::Zone;
use std::io::Read as _;

fn inflate(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).expect("gzip of UTF-8");
    text
}

fn master() -> Master {
    let regions = inflate(include_bytes!("../../data/hierarchy/regions.csv.gz"));
    let facilities = inflate(include_bytes!("../../data/facilities/facilities.csv.gz"));
    Master::parse(include_str!("../../data/hierarchy/levels.csv"), &regions, &facilities).expect("the committed data parse")
}

#[test]
fn complete() {
    let master = master();
    let counts: Vec<usize> = (0..5).map(|level| master.regions_of_level(level).len()).collect();
    assert_eq!(counts, [1, 38, 514, 7_277, 83_763]);
    for kind in FacilityKind::ALL {
        let expected = match kind {
            FacilityKind::NationalStore => 1,
            FacilityKind::ProvinceStore => 38,
            FacilityKind::RegencyStore => 514,
            FacilityKind::Hospital => 3_000,
            FacilityKind::Puskesmas => 10_268,
        };
        assert_eq!(master.facilities().iter().filter(|facility| facility.kind == kind).count(), expected, "{kind:?}");
    }
    assert_eq!(master.sensors().len(), 14_612);
    for level in [1, 2, 3] {
        let kind = [FacilityKind::ProvinceStore, FacilityKind::RegencyStore, FacilityKind::Puskesmas][level as usize - 1];
        for region in master.regions_of_level(level) {
            let mut attached = master.facilities_of(region);
            assert!(attached.any(|ix| master.facility(ix).kind == kind), "{} has no {kind:?}", master.region(region).code);
        }
    }
}

#[test]
fn upper_levels_are_a_prefix_ordered_by_code() {
    let master = master();
    assert_eq!(master.regions_to_level(3), 1 + 38 + 514 + 7_277);
    let mut keys = master.regions().iter().map(|region| (region.level, region.code.as_str()));
    assert!(keys.by_ref().is_sorted());
    for ix in (0..master.regions().len() as u32).map(RegionIx) {
        assert!(master.children(ix).all(|child| master.region(child).parent == Some(ix)));
    }
}

#[test]
fn codes_and_names_follow_from_the_region() {
    let master = master();
    for facility in master.facilities() {
        let region = master.region(facility.region);
        let digits = region.code.replace('.', "");
        assert!(facility.code.starts_with(&format!("{}{digits}-", facility.kind.letter())), "{}", facility.code);
        if facility.kind == FacilityKind::Puskesmas {
            assert_eq!(region.level, 3);
            assert!(facility.name.starts_with(&format!("Puskesmas {}", region.name)), "{}", facility.name);
        }
    }
    for (number, sensor) in (0u32..).zip(master.sensors()) {
        assert_eq!(master.sensor_by_id(&sensor.id).map(|ix| ix.0), Some(number));
        assert!(master.facility(sensor.facility).sensors.contains(&number));
        assert_eq!(sensor.range, sensor.equipment.range());
    }
    // bOPV needs a freezer at stores.
    for (number, facility) in (0u32..).zip(master.facilities()) {
        let freezers = master.sensors_of(FacilityIx(number)).iter().filter(|sensor| sensor.equipment == EquipmentKind::Freezer);
        let is_store = !matches!(facility.kind, FacilityKind::Hospital | FacilityKind::Puskesmas);
        assert_eq!(freezers.count() > 0, is_store, "{}", facility.code);
    }
}

#[test]
fn every_facility_is_in_its_time_zone() {
    let master = master();
    for facility in master.facilities() {
        let province = master.ancestor_at(facility.region, 1).map_or("32", |ix| master.region(ix).code.as_str());
        let expected = match province {
            "51" | "52" | "53" | "63" | "64" | "65" | "71" | "72" | "73" | "74" | "75" | "76" => Zone::Wita,
            "81" | "82" | "91" | "92" | "93" | "94" | "95" | "96" => Zone::Wit,
            _ => Zone::Wib,
        };
        let (west, east) = match expected {
            Zone::Wib => (95.0, 116.0),
            Zone::Wita => (113.7, 127.3),
            Zone::Wit => (123.8, 141.1),
        };
        assert_eq!(facility.zone, expected, "{}", facility.code);
        assert!((west..east).contains(&facility.longitude()) && (-11.1..6.1).contains(&facility.latitude()), "{}", facility.code);
    }
}

/// The rings of the outlines in `provinces.json`, in map units.
fn outlines() -> impl Fn(&str) -> Vec<Vec<(f64, f64)>> {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../data/map/provinces.json")).expect("JSON");
    let map: serde_json::Value = serde_json::from_str(include_str!("../../data/map/map.json")).expect("JSON");
    move |province| {
        let code = map["inside"][province].as_str().unwrap_or(province);
        let path = file["outlines"][code].as_str().expect("every province has an outline");
        path.split('z').filter(|ring| !ring.is_empty()).map(ring).collect()
    }
}

fn ring(text: &str) -> Vec<(f64, f64)> {
    let spaced = text.replace('M', "").replace('l', " ").replace('-', " -");
    let numbers: Vec<f64> = spaced.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    let steps = numbers.chunks(2).map(|pair| (pair[0] / 10.0, pair[1] / 10.0));
    steps
        .scan((0.0, 0.0), |at, step| {
            *at = (at.0 + step.0, at.1 + step.1);
            Some(*at)
        })
        .collect()
}

/// Whether a point lies in the rings, or so near to an edge that the simplification may have moved it.
fn on_land(rings: &[Vec<(f64, f64)>], (x, y): (f64, f64)) -> bool {
    let mut inside = false;
    for ring in rings {
        for (a, b) in ring.iter().zip(ring.iter().cycle().skip(1)) {
            if (a.1 > y) != (b.1 > y) && x < (b.0 - a.0) * (y - a.1) / (b.1 - a.1) + a.0 {
                inside = !inside;
            }
            let (dx, dy) = (b.0 - a.0, b.1 - a.1);
            let part = (((x - a.0) * dx + (y - a.1) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
            if (a.0 + part * dx - x).hypot(a.1 + part * dy - y) < 0.2 {
                return true;
            }
        }
    }
    inside
}

#[test]
fn facilities_stand_on_their_provinces_land() {
    let master = master();
    let map: serde_json::Value = serde_json::from_str(include_str!("../../data/map/map.json")).expect("JSON");
    let number = |name: &str| map["projection"][name].as_f64().expect("a number");
    let (west, north, scale) = (number("west"), number("north"), number("scale"));
    let outline = outlines();
    let mut elsewhere = Vec::new();
    for province in master.regions_of_level(1) {
        let code = master.region(province).code.as_str();
        let rings = outline(code);
        let bounds = &map["areas"][code]["box"];
        let side = |at: usize| bounds[at].as_f64().expect("a number");
        for facility in master.facilities().iter().filter(|f| master.ancestor_at(f.region, 1) == Some(province)) {
            let (x, y) = ((facility.longitude() - west) * scale, (north - facility.latitude()) * scale);
            assert!((0.0..1_903.0).contains(&x) && (0.0..700.0).contains(&y), "{} is off the map", facility.code);
            let inside = x >= side(0) && y >= side(1) && x <= side(0) + side(2) && y <= side(1) + side(3);
            assert!(inside, "{} lies outside the box of {code}", facility.code);
            if !on_land(&rings, (x, y)) {
                elsewhere.push(facility.code.as_str());
            }
        }
    }
    // On real islands that the outlines lack; the import checks each against the coordinates of the islands.
    assert!(elsewhere.len() <= 60, "{} facilities in the water: {elsewhere:?}", elsewhere.len());
}

#[test]
fn search_finds_what_people_type() {
    let master = master();
    let first = |text: &str| match master.search(text, 10)[..] {
        [Hit::Region(ix), ..] => master.region(ix).name.clone(),
        [Hit::Facility(ix), ..] => master.facility(ix).name.clone(),
        [Hit::Sensor(ix), ..] => master.sensor(ix).id.clone(),
        [] => String::new(),
    };
    assert_eq!(first("jawa barat"), "Jawa Barat");
    assert_eq!(first("bandung"), "Kab. Bandung");
    assert_eq!(first("kota bandung"), "Kota Bandung");
    assert_eq!(first("32.73"), "Kota Bandung");
    assert_eq!(first("puskesmas lembang"), "Puskesmas Lembang");
    assert_eq!(first("P321701-1-F1"), "P321701-1-F1");
    assert_eq!(master.search("e", 20).len(), 20);
}
