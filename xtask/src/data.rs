//! `cargo xtask data`: imports the open data and writes `data/`, the same bytes at every run.
//!
//! What comes from where, and what is invented, is told in `data/README.md` and `NOTICE`. The sources are fetched by npm and
//! apt; nothing here runs in a build.

mod facilities;
mod fetch;
mod geo;
mod hierarchy;
mod map;
mod place;
mod seeded;
mod sqlite;
mod towns;

use anyhow::{Context as _, Result, ensure};
use facilities::Facility;
use flate2::{Compression, GzBuilder};
use geo::{Bounds, Point, Shape};
use hierarchy::Hierarchy;
use place::{Outline, Places};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

/// FIPS codes of the outlines and our codes of the provinces that bear their names.
const OUTLINES: [(&str, &str); 33] = [
    ("ID01", "11"),
    ("ID26", "12"),
    ("ID24", "13"),
    ("ID37", "14"),
    ("ID05", "15"),
    ("ID32", "16"),
    ("ID03", "17"),
    ("ID15", "18"),
    ("ID35", "19"),
    ("ID40", "21"),
    ("ID04", "31"),
    ("ID30", "32"),
    ("ID07", "33"),
    ("ID10", "34"),
    ("ID08", "35"),
    ("ID33", "36"),
    ("ID02", "51"),
    ("ID17", "52"),
    ("ID18", "53"),
    ("ID11", "61"),
    ("ID13", "62"),
    ("ID12", "63"),
    ("ID14", "64"),
    ("ID31", "71"),
    ("ID21", "72"),
    ("ID38", "73"),
    ("ID22", "74"),
    ("ID34", "75"),
    ("ID41", "76"),
    ("ID28", "81"),
    ("ID29", "82"),
    ("ID36", "91"),
    ("ID39", "92"),
];

/// Countries drawn as land without a figure, as far as they reach into the map.
const NEIGHBOURS: [&str; 10] = ["MYS", "SGP", "BRN", "PNG", "TLS", "AUS", "PHL", "THA", "VNM", "KHM"];

/// Imports everything.
pub fn run() -> Result<()> {
    let data = crate::workspace::root().join("data");
    println!("Fetching the sources");
    let sources = fetch::sources(&crate::workspace::target_dir().join("data-sources"))?;

    println!("Reading");
    let hierarchy = hierarchy::read(&sources.hierarchy)?;
    let towns = towns::read(&sources.towns)?;
    let (outlines, neighbours) = shapes(&sources.outlines)?;
    println!("  {} villages, {} towns, {} outlines", hierarchy.villages.len(), towns.len(), outlines.len());

    println!("Placing districts");
    let places = place::place(&hierarchy, &outlines, &towns)?;
    println!("  {} at a town and {} at an island of their name", places.by_town, places.by_island);

    println!("Inventing facilities");
    let shape_of_province = |province: usize| -> &Shape {
        let code = place::outline_code(&hierarchy.provinces[province].code);
        outlines.iter().find(|outline| outline.code == code).map(|outline| &outline.shape).expect("place() found them all")
    };
    let province_of: Vec<usize> = (0..hierarchy.provinces.len())
        .flat_map(|province| hierarchy.provinces[province].regencies.clone().map(move |_| province))
        .collect();
    let facilities = facilities::invent(&hierarchy, &places, &|regency| shape_of_province(province_of[regency]))?;
    let on_islands = facilities::check_places(&hierarchy, &facilities, &shape_of_province)?;
    println!("  {} facilities, {on_islands} of them on islands that the outlines lack", facilities.len());

    println!("Writing");
    write(&data.join("hierarchy/levels.csv"), hierarchy::LEVELS_CSV.as_bytes())?;
    write(&data.join("hierarchy/regions.csv.gz"), &gzip(&hierarchy.regions_csv())?)?;
    let licence = std::fs::read(sources.hierarchy.join("LICENSE.md")).context("reading the hierarchy's licence")?;
    write(&data.join("hierarchy/LICENSE-ODbL.md"), &licence)?;
    write(&data.join("facilities/facilities.csv.gz"), &gzip(&facilities::csv(&hierarchy, &facilities))?)?;
    let (overview, close) = maps(&hierarchy, &places, &facilities, &outlines, &neighbours);
    write(&data.join("map/map.json"), overview.as_bytes())?;
    write(&data.join("map/provinces.json"), close.as_bytes())?;
    Ok(())
}

/// The outlines of the provinces, by our code, and of the neighbouring countries.
fn shapes(file: &Path) -> Result<(Vec<Outline>, Vec<Shape>)> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let database = sqlite::Database::new(bytes)?;
    let shape = |value: &sqlite::Value| match value {
        sqlite::Value::Blob(blob) => geo::read_gpkg_shape(blob),
        _ => anyhow::bail!("a shape is missing"),
    };
    let mut outlines = Vec::new();
    for [geometry, country, fips] in database.table("states_provinces", ["geom", "adm0_a3", "fips"])? {
        if country.text() != "IDN" {
            continue;
        }
        let code = OUTLINES.iter().find(|(known, _)| *known == fips.text()).map(|(_, code)| (*code).to_owned());
        let code = code.with_context(|| format!("an unknown province {}", fips.text()))?;
        outlines.push(Outline { code, fips: fips.text().to_owned(), shape: shape(&geometry)? });
    }
    ensure!(outlines.len() == OUTLINES.len(), "{} outlines of provinces, expected {}", outlines.len(), OUTLINES.len());
    outlines.sort_by(|a, b| a.code.cmp(&b.code));
    let mut neighbours = Vec::new();
    for [geometry, country] in database.table("countries", ["geom", "ISO_A3"])? {
        if NEIGHBOURS.contains(&country.text()) {
            neighbours.push(map::clipped(&shape(&geometry)?));
        }
    }
    Ok((outlines, neighbours))
}

/// The texts of `map.json` and `provinces.json`.
fn maps(
    hierarchy: &Hierarchy,
    places: &Places,
    facilities: &[Facility],
    outlines: &[Outline],
    neighbours: &[Shape],
) -> (String, String) {
    let all: Vec<&Shape> = outlines.iter().map(|outline| &outline.shape).chain(neighbours).collect();
    let mut projection = String::new();
    let _ = write!(
        projection,
        "\"view\":[{},{}],\n\"projection\":{{\"kind\":\"equirectangular\",\"x\":\"(longitude - west) * scale\",\
         \"y\":\"(north - latitude) * scale\",\"west\":{},\"north\":{},\"scale\":{}}}",
        map::VIEW.0,
        map::VIEW.1,
        map::WEST,
        map::NORTH,
        map::SCALE
    );
    let inside: Vec<String> = place::INSIDE.iter().map(|(code, outline)| format!("\"{code}\":\"{outline}\"")).collect();

    let paths = map::paths(&all, map::OVERVIEW);
    let named = |paths: &[String]| {
        let lines: Vec<String> =
            outlines.iter().zip(paths).map(|(outline, path)| format!("\"{}\":\"{path}\"", outline.code)).collect();
        lines.join(",\n")
    };
    let mut areas = Vec::new();
    for (number, province) in hierarchy.provinces.iter().enumerate() {
        let outline =
            outlines.iter().find(|outline| outline.code == place::outline_code(&province.code)).expect("every province has one");
        let is_shared = place::INSIDE.iter().any(|(code, outline)| province.code == *code || province.code == *outline);
        let own: Vec<Point> = facilities.iter().filter(|facility| facility.province == number).map(Facility::at).collect();
        let (bounds, label) = if is_shared {
            let districts = province.regencies.clone().flat_map(|regency| hierarchy.regencies[regency].districts.clone());
            (Bounds::of(&own), middle(&districts.map(|district| places.districts[district].at).collect::<Vec<_>>()))
        } else {
            // Of real islands the outline may lack the outermost.
            let shape = outline.shape.bounds();
            (Bounds::of([&shape.low, &shape.high].into_iter().chain(&own)), map::label(&outline.shape))
        };
        let (left, bottom) = map::project(bounds.low);
        let (right, top) = map::project(bounds.high);
        let (left, top, right, bottom) = (left.floor() - 2.0, top.floor() - 2.0, right.ceil() + 2.0, bottom.ceil() + 2.0);
        let (x, y) = map::project(label);
        let (width, height) = (right - left, bottom - top);
        areas.push(format!(
            "\"{}\":{{\"box\":[{left},{top},{width},{height}],\"label\":[{},{}]}}",
            province.code,
            x.round(),
            y.round()
        ));
    }
    let overview = format!(
        "{{{projection},\n\"inside\":{{{}}},\n\"land\":\"{}\",\n\"outlines\":{{\n{}}},\n\"areas\":{{\n{}}}}}\n",
        inside.join(","),
        paths[outlines.len()..].concat(),
        named(&paths),
        areas.join(",\n")
    );
    let close = map::paths(&all, map::CLOSE);
    let close = format!(
        "{{{projection},\n\"numbers_per_unit\":{},\n\"outlines\":{{\n{}}}}}\n",
        map::CLOSE.numbers_per_unit,
        named(&close)
    );
    (overview, close)
}

/// The point nearest to the mean of all.
fn middle(points: &[Point]) -> Point {
    let count = points.len() as f64;
    let mean = Point::new(points.iter().map(|p| p.lon).sum::<f64>() / count, points.iter().map(|p| p.lat).sum::<f64>() / count);
    *points
        .iter()
        .min_by(|a, b| geo::distance2(**a, mean).total_cmp(&geo::distance2(**b, mean)))
        .expect("a province has districts")
}

/// Compressed without a date or a name, so that the same text gives the same bytes.
fn gzip(text: &str) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes())?;
    Ok(encoder.finish()?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))?;
    println!("  {} ({} bytes)", crate::workspace::shown(path), bytes.len());
    Ok(())
}
