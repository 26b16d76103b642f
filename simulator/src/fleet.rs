//! Which sensors there are and where they stand.
//!
//! Built from the committed master data, as anybody outside could read it; the server is not asked.

use domain::coldchain::Range;
use domain::master::Master;
use domain::time::Zone;
use flate2::read::GzDecoder;
use std::io::Read;

/// One sensor in one equipment.
#[derive(Clone, Debug)]
pub struct SimSensor {
    /// Device id: `P321705-1-F1`.
    pub id: String,
    /// Code of the facility it stands in: `P321705-1`.
    pub facility: String,
    /// Code of the facility's district, or of the smallest region that it serves: `32.17.05`.
    pub district: String,
    /// Latitude, degrees.
    pub latitude: f64,
    /// The facility's time zone.
    pub zone: Zone,
    /// What the equipment has to hold.
    pub range: Range,
}

impl SimSensor {
    /// Code of the regency: the first two parts of the district's.
    pub fn regency(&self) -> &str {
        match self.district.match_indices('.').nth(1) {
            Some((at, _)) => &self.district[..at],
            None => &self.district,
        }
    }

    /// Code of the province: the first part of the district's.
    pub fn province(&self) -> &str {
        self.district.split('.').next().unwrap_or(&self.district)
    }
}

/// All sensors of a run.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// In the order of the master data.
    pub sensors: Vec<SimSensor>,
}

impl Fleet {
    /// Every sensor of the country: the master data as committed with this version.
    ///
    /// # Panics
    /// If that does not parse, which a test rules out.
    pub fn country() -> Self {
        const LEVELS: &str = include_str!("../../data/hierarchy/levels.csv");
        const REGIONS: &[u8] = include_bytes!("../../data/hierarchy/regions.csv.gz");
        const FACILITIES: &[u8] = include_bytes!("../../data/facilities/facilities.csv.gz");
        let text = |packed: &[u8]| {
            let mut text = String::new();
            GzDecoder::new(packed).read_to_string(&mut text).map(|_| text)
        };
        let (regions, facilities) = (text(REGIONS).expect("valid gzip"), text(FACILITIES).expect("valid gzip"));
        Self::of(&Master::parse(LEVELS, &regions, &facilities).expect("valid master data"))
    }

    /// Every sensor of `master`.
    pub fn of(master: &Master) -> Self {
        let sensors = master.sensors().iter().map(|sensor| {
            let facility = master.facility(sensor.facility);
            SimSensor {
                id: sensor.id.clone(),
                facility: facility.code.clone(),
                district: master.region(facility.region).code.clone(),
                latitude: facility.latitude(),
                zone: facility.zone,
                range: sensor.range,
            }
        });
        Self { sensors: sensors.collect() }
    }

    /// An invented fleet of `n` sensors, two to a district, over all provinces: for tests, and for loads beyond the real one.
    /// The codes are of no real facility, so a server books them under `unassigned`.
    pub fn invented(n: usize) -> Self {
        const PROVINCES: [(u8, f64, Zone); 10] = [
            (12, 2.5, Zone::Wib),
            (16, -3.0, Zone::Wib),
            (32, -6.9, Zone::Wib),
            (33, -7.2, Zone::Wib),
            (35, -7.7, Zone::Wib),
            (61, 0.0, Zone::Wib),
            (73, -4.1, Zone::Wita),
            (53, -9.5, Zone::Wita),
            (81, -3.6, Zone::Wit),
            (94, -4.0, Zone::Wit),
        ];
        let sensors = (0..n)
            .map(|index| {
                let (province, latitude, zone) = PROVINCES[index % PROVINCES.len()];
                let district = index / (2 * PROVINCES.len());
                let facility = format!("X{province}{:02}{:02}-{}", district / 100 % 100, district % 100, district / 10_000);
                let tag = index / PROVINCES.len() % 2 + 1;
                SimSensor {
                    id: format!("{facility}-F{tag}"),
                    district: format!("{province}.{:02}.{:02}", district / 100, district % 100),
                    facility,
                    latitude,
                    zone,
                    range: Range::FRIDGE,
                }
            })
            .collect();
        Self { sensors }
    }

    /// `n` sensors spread evenly over this fleet; invented ones are added where it has fewer.
    #[must_use]
    pub fn sized(self, n: usize) -> Self {
        let real = self.sensors.len();
        if n > real {
            let mut sensors = self.sensors;
            sensors.extend(Self::invented(n - real).sensors);
            return Self { sensors };
        }
        // Every index k * real / n is taken once: n of them, evenly spread.
        let sensors = self.sensors.into_iter().enumerate();
        Self { sensors: sensors.filter(|(i, _)| (i * n) % real.max(1) < n).map(|(_, sensor)| sensor).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn any_size_is_met_exactly_with_distinct_ids() {
        for n in [1, 7, 100, 3_472, 14_600, 50_000] {
            let fleet = Fleet::invented(14_600).sized(n.min(14_600));
            assert_eq!(fleet.sensors.len(), n.min(14_600));
            let ids: BTreeSet<_> = Fleet::invented(n).sensors.into_iter().map(|s| s.id).collect();
            assert_eq!(ids.len(), n);
        }
    }

    #[test]
    fn the_country_is_all_there() {
        let country = Fleet::country();
        let provinces: BTreeSet<_> = country.sensors.iter().map(SimSensor::province).collect();
        assert_eq!(provinces.len(), 38 + usize::from(provinces.contains("ID")));
        assert!((14_000..20_000).contains(&country.sensors.len()), "{}", country.sensors.len());
        assert!(country.sensors.iter().all(|sensor| (-11.5..6.5).contains(&sensor.latitude)));
        assert_eq!(country.sized(3_472).sensors.len(), 3_472);
    }

    #[test]
    fn codes_of_regions() {
        let sensor = &Fleet::invented(1).sensors[0];
        assert_eq!((sensor.province(), sensor.regency()), ("12", "12.00"));
        let store = SimSensor { district: "32".into(), ..sensor.clone() };
        assert_eq!((store.province(), store.regency()), ("32", "32"));
    }
}
