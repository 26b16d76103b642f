//! What the map asks of the server: where facilities are, and how they stand.

use domain::coldchain::Condition;
use serde::{Deserialize, Serialize};

/// A facility as a point of the map. Served as JSON at `/api/v1/map/facilities`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapPoint {
    /// Code of the facility.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Latitude and longitude, millionths of a degree.
    pub at: (i32, i32),
    /// Its worst device.
    pub condition: Condition,
}

/// Where facilities are, for the canvas of the map: columns, which pack better than rows. Served at `/api/pages/map/places`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapPlaces {
    /// Code of each.
    pub codes: Vec<String>,
    /// Name of each.
    pub names: Vec<String>,
    /// Latitude of each, in hundred-thousandths of a degree, less that of the one before: neighbours lie side by side.
    pub latitudes: Vec<i32>,
    /// Its longitude in the same way.
    pub longitudes: Vec<i32>,
    /// Latitude and longitude of the last one.
    #[serde(skip)]
    last: (i32, i32),
}

impl MapPlaces {
    /// One more, at so many millionths of a degree.
    pub fn push(&mut self, code: &str, name: &str, (latitude_e6, longitude_e6): (i32, i32)) {
        let at = (latitude_e6 / 10, longitude_e6 / 10);
        self.codes.push(code.to_owned());
        self.names.push(name.to_owned());
        self.latitudes.push(at.0 - self.last.0);
        self.longitudes.push(at.1 - self.last.1);
        self.last = at;
    }
}

/// How these facilities stand. Served at `/api/pages/map/conditions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapConditions {
    /// Of which places, by the address that they are asked for with.
    pub version: u32,
    /// The worst device of each: a digit, its place in [`Condition::ALL`].
    pub conditions: String,
}

impl MapConditions {
    /// The digit of a condition.
    pub fn digit(condition: Condition) -> char {
        char::from(b'0' + condition as u8)
    }
}
