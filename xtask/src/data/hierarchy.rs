//! The administrative hierarchy: read from `idn-area-data`, names made readable, written as `data/hierarchy/`.

use super::geo::Point;
use anyhow::{Context as _, Result, ensure};
use std::fmt::Write as _;
use std::path::Path;

/// A province.
pub struct Province {
    /// `32`.
    pub code: String,
    /// `Jawa Barat`.
    pub name: String,
    /// Its regencies, as a range of [`Hierarchy::regencies`].
    pub regencies: std::ops::Range<usize>,
}

/// A regency or city.
pub struct Regency {
    /// `32.17`.
    pub code: String,
    /// `Kab. Bandung Barat`.
    pub name: String,
    /// A city (kota), not a regency (kabupaten).
    pub is_city: bool,
    /// Its districts, as a range of [`Hierarchy::districts`].
    pub districts: std::ops::Range<usize>,
    /// Its islands that have a name.
    pub islands: Vec<Island>,
}

impl Regency {
    /// `Bandung Barat`.
    pub fn bare_name(&self) -> &str {
        let name = self.name.strip_prefix("Kab. ").or_else(|| self.name.strip_prefix("Kota ")).unwrap_or(&self.name);
        name.strip_prefix("Adm. ").unwrap_or(name)
    }
}

/// A district.
pub struct District {
    /// `32.17.05`.
    pub code: String,
    /// `Lembang`.
    pub name: String,
    /// How many villages it has.
    pub villages: usize,
}

/// An island.
pub struct Island {
    /// `Pulau Batutunggal`.
    pub name: String,
    /// People live there.
    pub is_populated: bool,
    /// Where it is.
    pub at: Point,
}

/// All levels, each ordered by code.
pub struct Hierarchy {
    /// 38.
    pub provinces: Vec<Province>,
    /// 514.
    pub regencies: Vec<Regency>,
    /// 7 277.
    pub districts: Vec<District>,
    /// 83 763, code and name.
    pub villages: Vec<(String, String)>,
}

/// Reads the five files of the source.
pub fn read(folder: &Path) -> Result<Hierarchy> {
    let read = |name: &str| -> Result<Vec<Vec<String>>> {
        let path = folder.join(name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        // The source's only quotation marks stand for an apostrophe inside a name (`Soka"an`); no field is quoted.
        let mut rows: Vec<Vec<String>> = text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect();
        rows.sort();
        Ok(rows)
    };
    let (provinces, regencies, districts) = (read("provinces.csv")?, read("regencies.csv")?, read("districts.csv")?);
    let (villages, islands) = (read("villages.csv")?, read("islands.csv")?);
    let found = [provinces.len(), regencies.len(), districts.len(), villages.len(), islands.len()];
    ensure!(found == [38, 514, 7_277, 83_763, 16_995], "unexpected numbers of places: {found:?}");

    let children = |rows: &[Vec<String>], code: &str| {
        let start = rows.partition_point(|row| row[1].as_str() < code);
        start..start + rows[start..].partition_point(|row| row[1].as_str() <= code)
    };
    Ok(Hierarchy {
        provinces: provinces
            .iter()
            .map(|row| Province { code: row[0].clone(), name: province_name(&row[1]), regencies: children(&regencies, &row[0]) })
            .collect(),
        regencies: regencies
            .iter()
            .map(|row| {
                let islands = islands.iter().filter(|island| island[1] == row[0]);
                Ok(Regency {
                    code: row[0].clone(),
                    name: regency_name(&row[2])?,
                    is_city: row[2].starts_with("KOTA "),
                    districts: children(&districts, &row[0]),
                    islands: islands
                        .map(|row| Ok(Island { name: row[5].clone(), is_populated: row[3] == "1", at: coordinate(&row[2])? }))
                        .collect::<Result<_>>()?,
                })
            })
            .collect::<Result<_>>()?,
        districts: districts
            .iter()
            .map(|row| District { code: row[0].clone(), name: readable(&row[2]), villages: children(&villages, &row[0]).len() })
            .collect(),
        villages: villages.iter().map(|row| (row[0].clone(), readable(&row[2]))).collect(),
    })
}

fn province_name(upper: &str) -> String {
    match upper {
        "DKI JAKARTA" => "DKI Jakarta".into(),
        "DAERAH ISTIMEWA YOGYAKARTA" => "DI Yogyakarta".into(),
        _ => title_case(upper),
    }
}

fn regency_name(upper: &str) -> Result<String> {
    let (kind, rest) = upper.split_once(' ').context("a regency without a kind")?;
    let kind = match kind {
        "KABUPATEN" => "Kab.",
        "KOTA" => "Kota",
        _ => anyhow::bail!("`{upper}` is neither KABUPATEN nor KOTA"),
    };
    Ok(match rest.strip_prefix("ADMINISTRASI ") {
        Some(rest) => format!("{kind} Adm. {}", title_case(rest)),
        None => format!("{kind} {}", title_case(rest)),
    })
}

fn title_case(upper: &str) -> String {
    let word = |word: &str| {
        let lower = word.to_lowercase();
        if lower == "dan" {
            return lower;
        }
        let mut letters = lower.chars();
        letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
    };
    upper.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// A name without the source's slips: an apostrophe written as a quotation mark, a stray asterisk, spaces in a row.
fn readable(name: &str) -> String {
    let clean = name.replace(['"', '’'], "'").replace('*', "");
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads `03°19'03.44" N 097°07'41.73" E`.
fn coordinate(text: &str) -> Result<Point> {
    let read = |part: &str, positive: &str, negative: &str| -> Option<f64> {
        let (degrees, rest) = part.split_once('°')?;
        let (minutes, rest) = rest.split_once('\'')?;
        let (seconds, side) = rest.split_once("\" ")?;
        let value = degrees.parse::<f64>().ok()? + minutes.parse::<f64>().ok()? / 60.0 + seconds.parse::<f64>().ok()? / 3_600.0;
        if side == positive { Some(value) } else { (side == negative).then_some(-value) }
    };
    let split = text.find(['N', 'S']).and_then(|at| Some((text.get(..=at)?, text.get(at + 2..)?)));
    let point = split.and_then(|(north, east)| Some(Point::new(read(east, "E", "W")?, read(north, "N", "S")?)));
    point.with_context(|| format!("`{text}` is no coordinate"))
}

impl Hierarchy {
    /// The province of a regency.
    pub fn province_of(&self, regency: usize) -> &Province {
        let place = self.provinces.partition_point(|province| province.regencies.end <= regency);
        &self.provinces[place]
    }

    /// The text of `regions.csv`.
    pub fn regions_csv(&self) -> String {
        let mut text = String::from("level,code,parent,name\n0,ID,,Indonesia\n");
        let mut line = |level: u8, code: &str, parent: &str, name: &str| {
            assert!(!name.contains([',', '"', '\n']) && !name.is_empty(), "`{name}` would need quotes");
            let _ = writeln!(text, "{level},{code},{parent},{name}");
        };
        let above = |code: &str| code.rsplit_once('.').map_or_else(|| "ID".to_owned(), |(parent, _)| parent.to_owned());
        for province in &self.provinces {
            line(1, &province.code, "ID", &province.name);
        }
        for regency in &self.regencies {
            line(2, &regency.code, &above(&regency.code), &regency.name);
        }
        for district in &self.districts {
            line(3, &district.code, &above(&district.code), &district.name);
        }
        for (code, name) in &self.villages {
            line(4, code, &above(code), name);
        }
        text
    }
}

/// The text of `levels.csv`.
pub const LEVELS_CSV: &str = "depth,key,name_id,name_en\n\
    0,country,Negara,Country\n\
    1,province,Provinsi,Province\n\
    2,regency,Kabupaten/kota,Regency\n\
    3,district,Kecamatan,District\n\
    4,village,Desa/kelurahan,Village\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_regency(upper: &str, expected: &str) {
        assert_eq!(regency_name(upper).ok().as_deref(), Some(expected));
    }

    #[test]
    fn names() {
        check_regency("KABUPATEN BANDUNG BARAT", "Kab. Bandung Barat");
        check_regency("KOTA ADMINISTRASI JAKARTA PUSAT", "Kota Adm. Jakarta Pusat");
        check_regency("KABUPATEN PANGKAJENE DAN KEPULAUAN", "Kab. Pangkajene dan Kepulauan");
        assert!(regency_name("PROVINSI BALI").is_err());
        assert_eq!(province_name("DAERAH ISTIMEWA YOGYAKARTA"), "DI Yogyakarta");
        assert_eq!(readable("Soka\"an"), "Soka'an");
        assert_eq!(readable(" Teuw* "), "Teuw");
    }

    #[test]
    fn coordinates() {
        let point = coordinate("03°30'00.00\" S 097°15'36.00\" E").expect("a coordinate");
        assert!((point.lat + 3.5).abs() < 1e-9 && (point.lon - 97.26).abs() < 1e-9);
        assert!(coordinate("03°30' S").is_err());
    }
}
