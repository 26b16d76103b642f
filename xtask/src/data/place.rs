//! Where districts and regency seats are put on the map, in want of open district outlines.
//!
//! Real points first: towns and inhabited islands that bear a district's name. Then the land of each province is dealt out
//! to its regencies by the nearest of their real points (islands count too: all of them are known with their regency),
//! and the districts without a point of their own are spread over their regency's land, closer together near towns.

use super::geo::{Point, Shape, distance_km, distance2};
use super::hierarchy::{Hierarchy, Regency};
use super::seeded::Seeded;
use super::towns::Town;
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;

/// The outline of a province, which may have more than one of today's provinces in it.
pub struct Outline {
    /// Code of the province that bears the outline's name.
    pub code: String,
    /// FIPS code: `ID30`.
    pub fips: String,
    /// Where it is.
    pub shape: Shape,
}

/// Where everything was put.
pub struct Places {
    /// One per district.
    pub districts: Vec<Place>,
    /// One per regency: its seat.
    pub seats: Vec<Place>,
    /// How many districts got the place of a town of their name.
    pub by_town: usize,
    /// How many districts got the place of an island of their name.
    pub by_island: usize,
}

/// A place, and how the land there is known.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Where.
    pub at: Point,
    /// Kilometres within which other facilities of the district may be put.
    pub room_km: f64,
    /// The place is a real island too small for the outlines: nothing is put beside it.
    pub on_small_island: bool,
}

/// Seats, to a kilometre or two, of regencies of which little else is known: code, town, latitude, longitude.
const SEATS: [(&str, &str, f64, f64); 92] = [
    ("11.02", "Kutacane", 3.48, 97.81),
    ("11.17", "Redelong", 4.72, 96.87),
    ("11.75", "Subulussalam", 2.64, 98.0),
    ("12.08", "Pematang Raya", 2.97, 98.92),
    ("12.23", "Aek Kanopan", 2.57, 99.65),
    ("12.21", "Sibuhuan", 1.05, 99.73),
    ("13.11", "Padang Aro", -1.57, 101.27),
    ("13.74", "Padang Panjang", -0.46, 100.4),
    ("14.06", "Pasir Pengaraian", 0.85, 100.32),
    ("15.06", "Kuala Tungkal", -0.82, 103.46),
    ("15.08", "Muara Bungo", -1.48, 102.12),
    ("15.09", "Muara Tebo", -1.5, 102.44),
    ("15.71", "Jambi", -1.61, 103.61),
    ("16.13", "Muara Rupit", -2.72, 102.9),
    ("17.04", "Bintuhan", -4.8, 103.34),
    ("17.05", "Tais", -4.07, 102.57),
    ("18.01", "Kalianda", -5.73, 105.59),
    ("18.11", "Mesuji", -4.03, 105.4),
    ("18.12", "Panaragan", -4.43, 105.05),
    ("18.13", "Krui", -5.19, 103.93),
    ("31.01", "Pulau Pramuka", -5.745, 106.614),
    ("31.71", "Menteng", -6.18, 106.83),
    ("31.72", "Koja", -6.13, 106.88),
    ("31.73", "Kembangan", -6.17, 106.76),
    ("31.74", "Kebayoran", -6.27, 106.81),
    ("31.75", "Cakung", -6.22, 106.91),
    ("32.16", "Cikarang", -6.26, 107.15),
    ("32.79", "Banjar", -7.37, 108.54),
    ("33.25", "Batang", -6.91, 109.73),
    ("35.21", "Ngawi", -7.4, 111.45),
    ("36.72", "Cilegon", -6.01, 106.04),
    ("36.74", "Ciputat", -6.3, 106.7),
    ("53.04", "Atambua", -9.11, 124.89),
    ("53.18", "Tambolaka", -9.43, 119.23),
    ("53.21", "Betun", -9.55, 124.93),
    ("61.06", "Putussibau", 0.86, 112.93),
    ("61.10", "Nanga Pinoh", -0.34, 111.74),
    ("62.05", "Muara Teweh", -0.95, 114.89),
    ("62.07", "Kuala Pembuang", -3.36, 112.55),
    ("62.09", "Nanga Bulik", -2.19, 111.25),
    ("62.10", "Kuala Kurun", -1.1, 113.87),
    ("62.13", "Tamiang Layang", -2.11, 115.17),
    ("62.71", "Palangkaraya", -2.21, 113.92),
    ("63.72", "Banjarbaru", -3.44, 114.83),
    ("64.07", "Sendawar", -0.23, 115.7),
    ("64.11", "Ujoh Bilang", 0.52, 115.15),
    ("71.74", "Kotamobagu", 0.73, 124.31),
    ("73.12", "Watansoppeng", -4.35, 119.88),
    ("74.11", "Tirawuta", -4.02, 121.88),
    ("74.72", "Bau-Bau", -5.47, 122.61),
    ("82.72", "Soasio", 0.68, 127.45),
    ("91.03", "Sentani", -2.56, 140.51),
    ("91.05", "Serui", -1.88, 136.24),
    ("91.06", "Biak", -1.18, 136.08),
    ("91.10", "Sarmi", -1.87, 138.75),
    ("91.11", "Arso", -2.95, 140.75),
    ("91.15", "Waropen", -2.29, 136.99),
    ("91.20", "Burmeso", -2.1, 138.0),
    ("91.71", "Jayapura", -2.54, 140.7),
    ("92.02", "Manokwari", -0.87, 134.05),
    ("92.03", "Fakfak", -2.93, 132.3),
    ("92.06", "Bintuni", -2.11, 133.52),
    ("92.07", "Rasiei", -2.7, 134.45),
    ("92.08", "Kaimana", -3.65, 133.75),
    ("92.11", "Ransiki", -1.5, 134.15),
    ("92.12", "Anggi", -1.36, 133.88),
    ("93.01", "Merauke", -8.49, 140.41),
    ("93.02", "Tanah Merah", -6.09, 140.3),
    ("93.03", "Kepi", -6.54, 139.33),
    ("93.04", "Agats", -5.54, 138.14),
    ("94.01", "Nabire", -3.37, 135.5),
    ("94.02", "Mulia", -3.71, 137.98),
    ("94.03", "Enarotali", -3.93, 136.38),
    ("94.04", "Timika", -4.55, 136.88),
    ("94.05", "Ilaga", -3.98, 137.62),
    ("94.06", "Moanemani", -4.02, 135.97),
    ("94.07", "Sugapa", -3.73, 137.03),
    ("94.08", "Waghete", -4.03, 136.27),
    ("95.01", "Wamena", -4.1, 138.95),
    ("95.02", "Oksibil", -4.9, 140.63),
    ("95.03", "Dekai", -4.86, 139.47),
    ("95.04", "Karubaga", -3.69, 138.47),
    ("95.05", "Kobakma", -3.66, 139.08),
    ("95.06", "Elelim", -3.78, 139.38),
    ("95.07", "Tiom", -3.92, 138.45),
    ("95.08", "Kenyam", -4.62, 138.43),
    ("96.01", "Aimas", -0.93, 131.32),
    ("96.02", "Teminabuan", -1.43, 132.02),
    ("96.03", "Waisai", -0.43, 130.82),
    ("96.04", "Fef", -0.8, 132.43),
    ("96.05", "Kumurkek", -1.32, 132.4),
    ("96.71", "Sorong", -0.88, 131.27),
];

/// Provinces that share the outline of the one they were part of: code, and code of the outline.
pub const INSIDE: [(&str, &str); 5] = [("65", "64"), ("93", "91"), ("94", "91"), ("95", "91"), ("96", "92")];

/// Code of the outline that a province is shown in.
pub fn outline_code(province: &str) -> &str {
    INSIDE.iter().find(|(code, _)| *code == province).map_or(province, |(_, outline)| outline)
}

/// Lower case, letters and digits only: `2 x 11 Kayu Tanam` is `2x11kayutanam`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn plain_island(name: &str) -> String {
    plain(name.strip_prefix("Pulau ").unwrap_or(name))
}

/// Puts every district and every seat.
pub fn place(hierarchy: &Hierarchy, outlines: &[Outline], towns: &[Town]) -> Result<Places> {
    let outline_of: Vec<usize> = (0..hierarchy.regencies.len())
        .map(|regency| {
            let code = outline_code(&hierarchy.province_of(regency).code);
            outlines.iter().position(|outline| outline.code == code).with_context(|| format!("no outline for province {code}"))
        })
        .collect::<Result<_>>()?;
    let town_outline: Vec<Option<usize>> = towns.iter().map(|town| outline_of_town(town, outlines)).collect();
    let towns_in = |outline: usize| {
        towns.iter().zip(&town_outline).filter(move |(_, within)| **within == Some(outline)).map(|(town, _)| town)
    };

    let mut seats: Vec<Option<Point>> = Vec::new();
    for (regency, outline) in hierarchy.regencies.iter().zip(&outline_of) {
        seats.push(known_seat(regency, hierarchy, *outline, &outline_of, towns_in(*outline)));
    }
    let (mut at, by_town, by_island) = real_points(hierarchy, &outline_of, &seats, &|outline| towns_in(outline).collect());
    for (number, regency) in hierarchy.regencies.iter().enumerate() {
        let districts = regency.districts.clone();
        if seats[number].is_none() {
            // The largest town that bears a district's name is the seat as a rule.
            let largest = towns_in(outline_of[number])
                .filter(|town| districts.clone().any(|district| at[district] == Some(town.at)))
                .max_by_key(|town| town.population);
            seats[number] = largest.map(|town| town.at);
        }
    }

    let lost = hierarchy.regencies.iter().enumerate().filter(|(number, regency)| {
        let any_point = || regency.districts.clone().any(|district| at[district].is_some()) || !regency.islands.is_empty();
        seats[*number].is_none() && (regency.is_city || !any_point())
    });
    let lost: Vec<_> = lost.map(|(_, regency)| format!("{} {}", regency.code, regency.name)).collect();
    ensure!(lost.is_empty(), "no real point is known of these: add their seats to SEATS: {}", lost.join(", "));

    let mut land: Vec<Vec<Point>> = vec![Vec::new(); hierarchy.regencies.len()];
    for (number, outline) in outlines.iter().enumerate() {
        deal_out(number, &outline.shape, hierarchy, &outline_of, &seats, &at, &mut land);
    }
    let mut districts = Vec::with_capacity(hierarchy.districts.len());
    let mut seat_places = Vec::with_capacity(hierarchy.regencies.len());
    for (number, regency) in hierarchy.regencies.iter().enumerate() {
        let shape = &outlines[outline_of[number]].shape;
        let mut land = std::mem::take(&mut land[number]);
        if land.len() < 2 * regency.districts.len() {
            let populated = regency.islands.iter().filter(|island| island.is_populated);
            land.extend(populated.map(|island| island.at));
        }
        if land.is_empty() {
            land.extend(regency.islands.iter().map(|island| island.at).chain(seats[number]));
        }
        ensure!(!land.is_empty(), "{} {} has no land", regency.code, regency.name);
        let centres: Vec<Point> = towns_in(outline_of[number]).map(|town| town.at).collect();
        spread(&mut at[regency.districts.clone()], &land, &centres, Seeded::new(&regency.code));
        let chosen: Vec<Point> = at[regency.districts.clone()].iter().map(|at| at.expect("spread places all")).collect();
        let placed: Vec<Place> = chosen.iter().map(|point| settle(*point, regency, shape, &land, &chosen)).collect();
        let middle = medoid(&chosen);
        seat_places.push(settle(seats[number].unwrap_or(middle), regency, shape, &land, &chosen));
        districts.extend(placed);
    }
    Ok(Places { districts, seats: seat_places, by_town, by_island })
}

fn outline_of_town(town: &Town, outlines: &[Outline]) -> Option<usize> {
    let admin = if town.admin == "42" { "14" } else { &town.admin }; // Kalimantan Utara lies in Kalimantan Timur's outline
    let by_code = outlines.iter().position(|outline| outline.fips[2..] == *admin);
    by_code.or_else(|| outlines.iter().position(|outline| outline.shape.contains(town.at)))
}

/// The seat from the table above, or the town with the regency's name, unless that is a city's.
fn known_seat<'t>(
    regency: &Regency,
    hierarchy: &Hierarchy,
    outline: usize,
    outline_of: &[usize],
    towns: impl Iterator<Item = &'t Town>,
) -> Option<Point> {
    if let Some((_, _, lat, lon)) = SEATS.iter().find(|(code, ..)| *code == regency.code) {
        return Some(Point::new(*lon, *lat));
    }
    let name = plain(regency.bare_name());
    let mut others = hierarchy.regencies.iter().zip(outline_of);
    if !regency.is_city && others.any(|(other, within)| *within == outline && other.is_city && plain(other.bare_name()) == name) {
        return None;
    }
    towns.filter(|town| plain(&town.name) == name).max_by_key(|town| town.population).map(|town| town.at)
}

/// The districts that bear the name of a town or an inhabited island, at its place.
fn real_points<'t>(
    hierarchy: &Hierarchy,
    outline_of: &[usize],
    seats: &[Option<Point>],
    towns_in: &dyn Fn(usize) -> Vec<&'t Town>,
) -> (Vec<Option<Point>>, usize, usize) {
    let mut at: Vec<Option<Point>> = vec![None; hierarchy.districts.len()];
    let mut by_island = 0;
    for regency in &hierarchy.regencies {
        let populated: Vec<(String, Point)> = regency
            .islands
            .iter()
            .filter(|island| island.is_populated)
            .map(|island| (plain_island(&island.name), island.at))
            .collect();
        for district in regency.districts.clone() {
            let name = plain_island(&hierarchy.districts[district].name);
            let mut same = populated.iter().filter(|(island, _)| *island == name);
            if let (Some((_, point)), None) = (same.next(), same.next()) {
                at[district] = Some(*point);
                by_island += 1;
            }
        }
    }

    // Pairs of a district and a town of its name in the same outline. First those that are unique on both sides, so that the
    // others can then be told apart by which regency's points they are near.
    let mut pairs: BTreeMap<(usize, String), (Vec<usize>, Vec<Point>)> = BTreeMap::new();
    let outlines = outline_of.iter().max().map_or(0, |most| most + 1);
    for outline in 0..outlines {
        for town in towns_in(outline) {
            pairs.entry((outline, plain(&town.name))).or_default().1.push(town.at);
        }
    }
    let mut regency_of = vec![0; hierarchy.districts.len()];
    for (number, regency) in hierarchy.regencies.iter().enumerate() {
        for district in regency.districts.clone() {
            regency_of[district] = number;
            if let Some(pair) = pairs.get_mut(&(outline_of[number], plain(&hierarchy.districts[district].name))) {
                pair.0.push(district);
            }
        }
    }
    let mut by_town = 0;
    for (districts, towns) in pairs.values() {
        if let ([district], [town]) = (districts.as_slice(), towns.as_slice())
            && at[*district].is_none()
            && nearest_point(&hierarchy.regencies[regency_of[*district]], seats[regency_of[*district]], &at, *town) < FAR_KM
        {
            at[*district] = Some(*town);
            by_town += 1;
        }
    }
    for (districts, towns) in pairs.values() {
        if districts.len() <= 1 && towns.len() <= 1 {
            continue;
        }
        for town in towns {
            let open = districts.iter().filter(|district| at[**district].is_none());
            let nearest = open
                .map(|district| {
                    let regency = regency_of[*district];
                    (nearest_point(&hierarchy.regencies[regency], seats[regency], &at, *town), *district)
                })
                .min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((distance, district)) = nearest
                && distance < NEAR_KM
            {
                at[district] = Some(*town);
                by_town += 1;
            }
        }
    }
    (at, by_town, by_island)
}

/// A town of a district's name farther than this from all else that is known of the regency is taken for a namesake.
const FAR_KM: f64 = 100.0;
/// The same where several districts or several towns bear the name.
const NEAR_KM: f64 = 40.0;

/// Kilometres from `point` to the nearest real point of a regency; 0 where none is known.
fn nearest_point(regency: &Regency, seat: Option<Point>, at: &[Option<Point>], point: Point) -> f64 {
    let known = regency.districts.clone().filter_map(|district| at[district]);
    let all = known.chain(regency.islands.iter().map(|island| island.at)).chain(seat);
    let nearest = all.map(|other| distance2(other, point)).fold(f64::MAX, f64::min);
    if nearest < f64::MAX { nearest.sqrt() } else { 0.0 }
}

/// Deals a province's land out to its regencies: a grid of points, each to the regency with the nearest real point.
fn deal_out(
    outline: usize,
    shape: &Shape,
    hierarchy: &Hierarchy,
    outline_of: &[usize],
    seats: &[Option<Point>],
    at: &[Option<Point>],
    land: &mut [Vec<Point>],
) {
    let regencies: Vec<usize> = (0..hierarchy.regencies.len()).filter(|regency| outline_of[*regency] == outline).collect();
    let mut anchors: Vec<(Point, usize)> = Vec::new();
    let mut cities: Vec<(Point, usize, f64)> = Vec::new();
    for number in &regencies {
        let regency = &hierarchy.regencies[*number];
        let mut islands: Vec<Point> = regency.islands.iter().map(|island| island.at).collect();
        islands.sort_by(|a, b| a.lon.total_cmp(&b.lon).then(a.lat.total_cmp(&b.lat)));
        // One island per 3 km is enough to know whose coast it is.
        let mut thinned: Vec<Point> = Vec::new();
        for island in islands {
            if thinned.iter().rev().take(60).all(|other| distance2(*other, island) > 9.0) {
                thinned.push(island);
            }
        }
        anchors.extend(thinned.into_iter().map(|island| (island, *number)));
        if regency.is_city {
            let seat = seats[*number].expect("every city's seat is known");
            cities.push((seat, *number, city_radius_km(regency)));
        } else {
            anchors.extend(regency.districts.clone().filter_map(|district| at[district]).map(|point| (point, *number)));
            anchors.extend(seats[*number].map(|seat| (seat, *number)));
        }
    }
    let districts: usize = regencies.iter().map(|regency| hierarchy.regencies[*regency].districts.len()).sum();
    let step = (shape.area() / (30 * districts) as f64).sqrt().clamp(0.004, 0.03);
    let bounds = shape.bounds();
    let (columns, rows) = ((bounds.high.lon - bounds.low.lon) / step, (bounds.high.lat - bounds.low.lat) / step);
    for row in 0..rows.ceil() as u32 {
        for column in 0..columns.ceil() as u32 {
            let offset = if row % 2 == 0 { 0.25 } else { 0.75 };
            let point =
                Point::new(bounds.low.lon + (f64::from(column) + offset) * step, bounds.low.lat + (f64::from(row) + 0.5) * step);
            if !shape.contains(point) {
                continue;
            }
            let city = cities
                .iter()
                .map(|(seat, number, radius)| (distance2(*seat, point) / (radius * radius), *number))
                .filter(|(share, _)| *share <= 1.0)
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let nearest =
                || anchors.iter().map(|(at, number)| (distance2(*at, point), *number)).min_by(|a, b| a.0.total_cmp(&b.0));
            let all_cities =
                || cities.iter().map(|(at, number, _)| (distance2(*at, point), *number)).min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((_, owner)) = city.or_else(nearest).or_else(all_cities) {
                land[owner].push(point);
            }
        }
    }
}

/// About how far a city reaches: its districts are small, on Java smaller.
fn city_radius_km(regency: &Regency) -> f64 {
    let on_java = ("31".."37").contains(&&regency.code[..2]);
    let per_district = if on_java { 1.7 } else { 2.6 };
    (per_district * (regency.districts.len() as f64).sqrt()).max(3.0)
}

/// Gives a place on `land` to every district that has none: evenly, closer together near `towns`.
fn spread(districts: &mut [Option<Point>], land: &[Point], towns: &[Point], mut seeded: Seeded) {
    let weights: Vec<f64> = land
        .iter()
        .map(|point| {
            let nearest = towns.iter().map(|town| distance2(*town, *point)).fold(f64::MAX, f64::min);
            1.0 / (1.0 + nearest / 400.0) + 0.03
        })
        .collect();
    let mut points: Vec<Point> = districts.iter().flatten().copied().collect();
    let fixed = points.len();
    // Start far from each other, then move each to the weighted middle of the land nearest to it (Lloyd's algorithm).
    if points.is_empty() {
        points.push(land[seeded.below(land.len() as u64) as usize]);
    }
    let mut gaps: Vec<f64> = vec![f64::MAX; land.len()];
    let mut seen = 0;
    while points.len() < districts.len() {
        for point in &points[seen..] {
            for (gap, spot) in gaps.iter_mut().zip(land) {
                *gap = gap.min(distance2(*spot, *point));
            }
        }
        seen = points.len();
        let farthest = (0..land.len()).max_by(|a, b| (gaps[*a] * weights[*a]).total_cmp(&(gaps[*b] * weights[*b])));
        points.push(land[farthest.expect("land is not empty")]);
    }
    for _ in 0..12 {
        let mut sums = vec![(0.0, 0.0, 0.0); points.len()];
        for (spot, weight) in land.iter().zip(&weights) {
            let owner = nearest_of(&points, *spot);
            let sum = &mut sums[owner];
            *sum = (sum.0 + spot.lon * weight, sum.1 + spot.lat * weight, sum.2 + weight);
        }
        for (point, (lon, lat, weight)) in points.iter_mut().zip(sums).skip(fixed) {
            if weight > 0.0 {
                *point = Point::new(lon / weight, lat / weight);
            }
        }
    }
    // The middle of a bay's shores lies in the water: back to the nearest land, each spot once as long as there are enough.
    let mut taken = vec![false; land.len()];
    let mut rest = points.into_iter().skip(fixed);
    for district in districts.iter_mut().filter(|district| district.is_none()) {
        let point = rest.next().unwrap_or(land[0]);
        let free = |spot: &usize| !taken[*spot];
        let nearest =
            (0..land.len()).filter(free).min_by(|a, b| distance2(land[*a], point).total_cmp(&distance2(land[*b], point)));
        let spot = nearest.unwrap_or_else(|| nearest_of(land, point));
        taken[spot] = true;
        *district = Some(land[spot]);
    }
}

fn nearest_of(points: &[Point], to: Point) -> usize {
    (0..points.len()).min_by(|a, b| distance2(points[*a], to).total_cmp(&distance2(points[*b], to))).expect("points are given")
}

/// The point with the smallest sum of distances to the others.
fn medoid(points: &[Point]) -> Point {
    let sum = |point: &Point| points.iter().map(|other| distance_km(*point, *other)).sum::<f64>();
    *points.iter().min_by(|a, b| sum(a).total_cmp(&sum(b))).expect("points are given")
}

/// Moves a point off the simplified outline inland; leaves one on a real island that the outlines lack.
fn settle(point: Point, regency: &Regency, shape: &Shape, land: &[Point], others: &[Point]) -> Place {
    let gaps = others.iter().filter(|other| **other != point).map(|other| distance_km(*other, point));
    let room_km = (gaps.fold(f64::MAX, f64::min) * 0.35).clamp(0.3, 7.0);
    if shape.contains(point) {
        return Place { at: point, room_km, on_small_island: false };
    }
    let on_island = regency.islands.iter().any(|island| distance_km(island.at, point) < 0.5);
    if !on_island || shape.edge_distance_km(point) < 3.0 {
        let ashore = land.iter().filter(|spot| shape.contains(**spot));
        if let Some(ashore) = ashore.min_by(|a, b| distance2(**a, point).total_cmp(&distance2(**b, point))) {
            // Up to half a kilometre behind the beach.
            let steps = (distance_km(*ashore, point) * 2.0).ceil().max(1.0);
            let mut part = 0.0;
            while !shape.contains(point.towards(*ashore, part / steps)) {
                part += 1.0;
            }
            return Place { at: point.towards(*ashore, part / steps), room_km, on_small_island: false };
        }
    }
    Place { at: point, room_km, on_small_island: true }
}
