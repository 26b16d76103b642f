//! Invents the facilities and their equipment: synthetic, but for every real district, at a possible place, and the same at
//! every import.

use super::geo::{Point, Shape, distance_km};
use super::hierarchy::{District, Hierarchy};
use super::place::{Place, Places};
use super::seeded::Seeded;
use anyhow::{Context as _, Result, ensure};
use std::fmt::Write as _;

/// Puskesmas in 2024, by the ministry's health profile.
const PUSKESMAS: usize = 10_268;
/// Hospitals, roundly.
const HOSPITALS: usize = 3_000;
/// Puskesmas with a second refrigerator.
const SECOND_REFRIGERATORS: usize = 500;
/// All monitored equipment together; what the others leave of it are hospitals with a refrigerator for birth doses.
const SENSORS: usize = 14_612;

/// A facility to be written.
pub struct Facility {
    /// `P321705-1`.
    pub code: String,
    /// `Puskesmas Lembang`.
    pub name: String,
    /// Word of `facilities.csv`.
    pub kind: &'static str,
    /// Code of the region that it is attached to.
    pub region: String,
    /// Place of its province in the hierarchy.
    pub province: usize,
    /// Where it is, in hundred-thousandths of a degree (a metre): latitude, longitude.
    pub at_e5: (i32, i32),
    /// `F1 Vestfrost VLS 204A`.
    pub equipment: Vec<String>,
}

impl Facility {
    /// Where it is.
    pub fn at(&self) -> Point {
        Point::new(f64::from(self.at_e5.1) / 1e5, f64::from(self.at_e5.0) / 1e5)
    }
}

/// Capitals: province, and the regency or city in which its store lies.
const CAPITALS: [(&str, &str); 38] = [
    ("11", "Kota Banda Aceh"),
    ("12", "Kota Medan"),
    ("13", "Kota Padang"),
    ("14", "Kota Pekanbaru"),
    ("15", "Kota Jambi"),
    ("16", "Kota Palembang"),
    ("17", "Kota Bengkulu"),
    ("18", "Kota Bandar Lampung"),
    ("19", "Kota Pangkal Pinang"),
    ("21", "Kota Tanjung Pinang"),
    ("31", "Kota Adm. Jakarta Pusat"),
    ("32", "Kota Bandung"),
    ("33", "Kota Semarang"),
    ("34", "Kota Yogyakarta"),
    ("35", "Kota Surabaya"),
    ("36", "Kota Serang"),
    ("51", "Kota Denpasar"),
    ("52", "Kota Mataram"),
    ("53", "Kota Kupang"),
    ("61", "Kota Pontianak"),
    ("62", "Kota Palangkaraya"),
    ("63", "Kota Banjarbaru"),
    ("64", "Kota Samarinda"),
    ("65", "Kab. Bulungan"),
    ("71", "Kota Manado"),
    ("72", "Kota Palu"),
    ("73", "Kota Makassar"),
    ("74", "Kota Kendari"),
    ("75", "Kota Gorontalo"),
    ("76", "Kab. Mamuju"),
    ("81", "Kota Ambon"),
    ("82", "Kota Ternate"),
    ("91", "Kota Jayapura"),
    ("92", "Kab. Manokwari"),
    ("93", "Kab. Merauke"),
    ("94", "Kab. Nabire"),
    ("95", "Kab. Jayawijaya"),
    ("96", "Kota Sorong"),
];

/// Time zone of a province (Presidential Decree 41 of 1987; newer provinces keep the zone of the one they were part of).
pub fn zone(province: &str) -> &'static str {
    match province {
        "51" | "52" | "53" | "63" | "64" | "65" | "71" | "72" | "73" | "74" | "75" | "76" => "WITA",
        "81" | "82" | "91" | "92" | "93" | "94" | "95" | "96" => "WIT",
        _ => "WIB",
    }
}

/// Mains refrigerators.
const MAINS: [&str; 7] = [
    "Vestfrost VLS 204A",
    "Vestfrost VLS 304A",
    "Vestfrost VLS 064A",
    "Haier HBC-80",
    "Haier HBC-150",
    "Aucma CFD-50",
    "B Medical TCW 80 AC",
];
/// Solar refrigerators, for where the mains are weak.
const SOLAR: [&str; 4] = ["Vestfrost VLS 054A SDD", "Haier HTC-112", "Haier HTC-40", "B Medical TCW 40R SDD"];
/// Refrigerators of stores.
const LARGE: [&str; 4] = ["Vestfrost VLS 404A", "Vestfrost VLS 504A", "Haier HBC-260", "B Medical TCW 4000 AC"];
const FREEZERS: [&str; 4] = ["Vestfrost MF 214", "Vestfrost MF 314", "Haier HBD-286", "B Medical TFW 800"];
const COLD_ROOMS: [&str; 3] = ["Huurre 20 m³", "Huurre 30 m³", "Foster 40 m³"];

/// Everything that keeps vaccine, ordered by kind and code.
pub fn invent<'s>(hierarchy: &Hierarchy, places: &Places, shape_of: &dyn Fn(usize) -> &'s Shape) -> Result<Vec<Facility>> {
    let mut all = Vec::new();
    stores(hierarchy, places, shape_of, &mut all)?;
    let puskesmas_from = all.len();
    puskesmas(hierarchy, places, shape_of, &mut all);
    second_refrigerators(hierarchy, &mut all[puskesmas_from..]);
    let hospitals_from = all.len();
    hospitals(hierarchy, places, shape_of, &mut all);
    let monitored =
        SENSORS.checked_sub(all.iter().map(|facility| facility.equipment.len()).sum()).context("too much equipment")?;
    hospital_refrigerators(&mut all[hospitals_from..], monitored);
    let sensors: usize = all.iter().map(|facility| facility.equipment.len()).sum();
    ensure!(sensors == SENSORS, "{sensors} sensors, expected {SENSORS}");
    Ok(all)
}

/// A place near `place` on the same land, where no other facility is.
fn near(place: &Place, part: f64, shape: &Shape, seeded: &mut Seeded, others: &[Facility]) -> (i32, i32) {
    let rounded = |at: Point| ((at.lat * 1e5).round() as i32, (at.lon * 1e5).round() as i32);
    let mut reach = if place.on_small_island { 0.15 } else { place.room_km * part };
    for _ in 0..200 {
        let (east, north) = seeded.in_disc();
        let at_e5 = rounded(place.at.moved(east * reach, north * reach));
        let at = Point::new(f64::from(at_e5.1) / 1e5, f64::from(at_e5.0) / 1e5);
        if (place.on_small_island || shape.contains(at)) && others.iter().rev().take(40).all(|other| other.at_e5 != at_e5) {
            return at_e5;
        }
        reach *= 0.97;
    }
    rounded(place.at)
}

fn stores<'s>(
    hierarchy: &Hierarchy,
    places: &Places,
    shape_of: &dyn Fn(usize) -> &'s Shape,
    all: &mut Vec<Facility>,
) -> Result<()> {
    let equipment = |seeded: &mut Seeded, refrigerators: usize, freezers: usize, cold_rooms: usize| {
        let mut equipment = Vec::new();
        for (letter, count, models) in
            [('F', refrigerators, &LARGE[..]), ('Z', freezers, &FREEZERS[..]), ('C', cold_rooms, &COLD_ROOMS[..])]
        {
            equipment.extend((1..=count).map(|number| format!("{letter}{number} {}", seeded.choose(models))));
        }
        equipment
    };
    for (number, province) in hierarchy.provinces.iter().enumerate() {
        let capital = CAPITALS.iter().find(|(code, _)| *code == province.code).map_or("", |(_, capital)| capital);
        let regency = province.regencies.clone().find(|regency| hierarchy.regencies[*regency].name == capital);
        let regency = regency.with_context(|| format!("{} has no regency `{capital}`", province.name))?;
        let code = format!("V{}-1", province.code);
        let mut seeded = Seeded::new(&code);
        all.push(Facility {
            at_e5: near(&places.seats[regency], 0.6, shape_of(regency), &mut seeded, all),
            name: format!("Gudang Vaksin Provinsi {}", province.name),
            kind: "province_store",
            region: province.code.clone(),
            province: number,
            equipment: equipment(&mut seeded, 1, 2, 2),
            code,
        });
        if province.code == "32" {
            let mut seeded = Seeded::new("NID-1");
            all.push(Facility {
                code: "NID-1".into(),
                name: "Gudang Vaksin Nasional".into(),
                kind: "national_store",
                region: "ID".into(),
                province: number,
                at_e5: near(&places.seats[regency], 1.0, shape_of(regency), &mut seeded, all),
                equipment: equipment(&mut seeded, 0, 4, 4),
            });
        }
    }
    for (number, province) in hierarchy.provinces.iter().enumerate() {
        for regency in province.regencies.clone() {
            let code = format!("R{}-1", hierarchy.regencies[regency].code.replace('.', ""));
            let mut seeded = Seeded::new(&code);
            all.push(Facility {
                at_e5: near(&places.seats[regency], 0.6, shape_of(regency), &mut seeded, all),
                name: format!("Gudang Vaksin {}", hierarchy.regencies[regency].name),
                kind: "regency_store",
                region: hierarchy.regencies[regency].code.clone(),
                province: number,
                equipment: equipment(&mut seeded, 2, 1, 0),
                code,
            });
        }
    }
    Ok(())
}

/// How many people a village of a district stands for, compared with the others; roughly, from what is generally known.
fn people_per_village(province: &str, is_city: bool) -> f64 {
    let rural = match province {
        "31" | "32" | "33" | "34" | "35" | "36" => 1.5,
        "11" => 0.4,
        "91" | "92" | "93" | "94" | "95" | "96" => 0.25,
        _ => 1.0,
    };
    if is_city { rural * 2.5 } else { rural }
}

/// Deals `total` seats out by weight, at least one to each (highest averages; ties to the earlier).
fn deal(weights: &[f64], total: usize) -> Vec<usize> {
    let mut seats = vec![1; weights.len()];
    for _ in weights.len()..total {
        let mut best = 0;
        for candidate in 1..weights.len() {
            if weights[candidate] * seats[best] as f64 > weights[best] * seats[candidate] as f64 {
                best = candidate;
            }
        }
        seats[best] += 1;
    }
    seats
}

fn puskesmas<'s>(hierarchy: &Hierarchy, places: &Places, shape_of: &dyn Fn(usize) -> &'s Shape, all: &mut Vec<Facility>) {
    let mut weights = Vec::with_capacity(hierarchy.districts.len());
    for (number, regency) in hierarchy.regencies.iter().enumerate() {
        let per_village = people_per_village(&hierarchy.province_of(number).code, regency.is_city);
        weights.extend(hierarchy.districts[regency.districts.clone()].iter().map(|d| d.villages as f64 * per_village));
    }
    let counts = deal(&weights, PUSKESMAS);
    for (province, regency_numbers) in hierarchy.provinces.iter().map(|province| province.regencies.clone()).enumerate() {
        for regency in regency_numbers {
            for district in hierarchy.regencies[regency].districts.clone() {
                let District { code, name, .. } = &hierarchy.districts[district];
                for number in 1..=counts[district] {
                    let facility = format!("P{}-{number}", code.replace('.', ""));
                    let mut seeded = Seeded::new(&facility);
                    let share = if number == 1 { 0.25 } else { 1.0 };
                    let models =
                        if is_off_grid(&hierarchy.provinces[province].code, &mut seeded) { &SOLAR[..] } else { &MAINS[..] };
                    all.push(Facility {
                        at_e5: near(&places.districts[district], share, shape_of(regency), &mut seeded, all),
                        name: numbered(&format!("Puskesmas {name}"), number),
                        kind: "puskesmas",
                        region: code.clone(),
                        province,
                        equipment: vec![format!("F1 {}", seeded.choose(models))],
                        code: facility,
                    });
                }
            }
        }
    }
}

fn is_off_grid(province: &str, seeded: &mut Seeded) -> bool {
    let percent = match province {
        "91" | "92" | "93" | "94" | "95" | "96" => 65,
        "53" | "81" | "82" => 40,
        "61" | "62" | "63" | "64" | "65" | "72" | "74" | "76" => 15,
        _ => 2,
    };
    seeded.below(100) < percent
}

/// `Puskesmas Lembang`, `Puskesmas Lembang II`, …
fn numbered(name: &str, number: usize) -> String {
    const ROMAN: [&str; 20] = [
        "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV", "XV", "XVI", "XVII", "XVIII",
        "XIX", "XX",
    ];
    if number == 1 { name.to_owned() } else { format!("{name} {}", ROMAN[number - 1]) }
}

/// The first puskesmas of the districts with most villages get a second refrigerator.
fn second_refrigerators(hierarchy: &Hierarchy, puskesmas: &mut [Facility]) {
    let villages = |facility: &Facility| {
        let place = hierarchy.districts.partition_point(|district| district.code < facility.region);
        hierarchy.districts[place].villages
    };
    let mut first: Vec<usize> = (0..puskesmas.len()).filter(|place| puskesmas[*place].code.ends_with("-1")).collect();
    first.sort_by_key(|place| (std::cmp::Reverse(villages(&puskesmas[*place])), *place));
    for place in first.into_iter().take(SECOND_REFRIGERATORS) {
        let model = *Seeded::new(&format!("{}-F2", puskesmas[place].code)).choose(&MAINS);
        puskesmas[place].equipment.push(format!("F2 {model}"));
    }
}

fn hospitals<'s>(hierarchy: &Hierarchy, places: &Places, shape_of: &dyn Fn(usize) -> &'s Shape, all: &mut Vec<Facility>) {
    let weights: Vec<f64> = hierarchy
        .regencies
        .iter()
        .enumerate()
        .map(|(number, regency)| {
            let villages: usize = hierarchy.districts[regency.districts.clone()].iter().map(|district| district.villages).sum();
            let city = if regency.is_city { 2.0 } else { 1.0 };
            villages as f64 * city * people_per_village(&hierarchy.province_of(number).code, regency.is_city)
        })
        .collect();
    let counts = deal(&weights, HOSPITALS);
    for (province, regency_numbers) in hierarchy.provinces.iter().map(|province| province.regencies.clone()).enumerate() {
        for regency in regency_numbers {
            let of = &hierarchy.regencies[regency];
            // The districts with most villages first, then round again.
            let mut districts: Vec<usize> = of.districts.clone().collect();
            districts.sort_by_key(|district| (std::cmp::Reverse(hierarchy.districts[*district].villages), *district));
            for number in 1..=counts[regency] {
                let code = format!("H{}-{number}", of.code.replace('.', ""));
                let mut seeded = Seeded::new(&code);
                let (name, place) = if number == 1 {
                    (format!("RSUD {}", of.name), &places.seats[regency])
                } else {
                    let turn = number - 2;
                    let district = districts[turn % districts.len()];
                    let name = format!("RS {}", hierarchy.districts[district].name);
                    (numbered(&name, turn / districts.len() + 1), &places.districts[district])
                };
                all.push(Facility {
                    at_e5: near(place, 0.5, shape_of(regency), &mut seeded, all),
                    name,
                    kind: "hospital",
                    region: of.code.clone(),
                    province,
                    equipment: Vec::new(),
                    code,
                });
            }
        }
    }
}

/// A refrigerator for every public hospital (the first of each regency), and for as many others as `monitored` leaves.
fn hospital_refrigerators(hospitals: &mut [Facility], monitored: usize) {
    let mut order: Vec<usize> = (0..hospitals.len()).collect();
    order.sort_by_key(|place| {
        let code = &hospitals[*place].code;
        (!code.ends_with("-1"), Seeded::new(code).below(u64::MAX))
    });
    for place in order.into_iter().take(monitored) {
        let model = *Seeded::new(&format!("{}-F1", hospitals[place].code)).choose(&MAINS);
        hospitals[place].equipment.push(format!("F1 {model}"));
    }
}

/// The text of `facilities.csv`.
pub fn csv(hierarchy: &Hierarchy, facilities: &[Facility]) -> String {
    let mut text = String::from("code,name,kind,region,latitude,longitude,zone,equipment\n");
    for facility in facilities {
        let Facility { code, name, kind, region, .. } = facility;
        assert!(!name.contains([',', '"', '\n']), "`{name}` would need quotes");
        let (at, zone) = (facility.at(), zone(&hierarchy.provinces[facility.province].code));
        let _ =
            writeln!(text, "{code},{name},{kind},{region},{:.5},{:.5},{zone},{}", at.lat, at.lon, facility.equipment.join(";"));
    }
    text
}

/// Whether every facility stands on its province's land, or beside a real island that the outlines lack; how many do the latter.
pub fn check_places<'s>(
    hierarchy: &Hierarchy,
    facilities: &[Facility],
    shape_of_province: &dyn Fn(usize) -> &'s Shape,
) -> Result<usize> {
    let mut on_islands = 0;
    for facility in facilities {
        let at = facility.at();
        if shape_of_province(facility.province).contains(at) {
            continue;
        }
        let regency_code = facility.region.get(..5).unwrap_or("");
        let regency = hierarchy.regencies.iter().find(|regency| regency.code == regency_code);
        let on_real_island = regency.is_some_and(|regency| regency.islands.iter().any(|island| distance_km(island.at, at) < 1.0));
        ensure!(on_real_island, "{} {} stands in the water at {at:?}", facility.code, facility.name);
        on_islands += 1;
    }
    Ok(on_islands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_dealt_by_weight_and_everyone_gets_one() {
        assert_eq!(deal(&[0.0, 1.0, 10.0, 20.0], 10), [1, 1, 3, 5]);
        assert_eq!(deal(&[1.0, 1.0], 3), [2, 1]);
    }

    #[test]
    fn the_second_of_a_name_gets_a_numeral() {
        assert_eq!(numbered("Puskesmas Lembang", 1), "Puskesmas Lembang");
        assert_eq!(numbered("Puskesmas Lembang", 4), "Puskesmas Lembang IV");
    }
}
