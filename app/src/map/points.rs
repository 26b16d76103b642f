//! Facilities as points: places, clusters and hits, without a browser.

use crate::api::{MapPlaces, MapPoint};
use domain::coldchain::Condition;
use std::collections::HashMap;

/// How coordinates become map units: `x = (longitude − west) · scale`, `y = (north − latitude) · scale`, as in `data/map/map.json`.
const WEST: f64 = 94.2;
const NORTH: f64 = 6.2;
const SCALE: f64 = 40.0;
/// Points closer than this on the screen, in pixels, stand together.
pub const CLUSTER_PX: f64 = 12.0;

/// Facilities in map units.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// Places, `x` then `y`.
    pub at: Vec<[f32; 2]>,
    /// How each stands.
    pub condition: Vec<Condition>,
    /// Code of each.
    pub code: Vec<String>,
    /// Name of each.
    pub name: Vec<String>,
}

/// One or more facilities at one place of the screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cluster {
    /// Middle of its facilities, in map units.
    pub at: [f32; 2],
    /// How many.
    pub count: u32,
    /// The worst condition of them.
    pub worst: Condition,
    /// One of them, the worst.
    pub first: usize,
    /// The one it began with.
    anchor: usize,
}

impl Cluster {
    /// How large it is drawn, in pixels from its middle.
    pub fn radius(&self) -> f64 {
        (3.5 + f64::from(self.count).ln() * 1.4).min(11.0)
    }
}

/// A place in map units.
fn unit_of(latitude: f64, longitude: f64) -> [f32; 2] {
    [((longitude - WEST) * SCALE) as f32, ((NORTH - latitude) * SCALE) as f32]
}

impl Points {
    /// The facilities of a region (`ID` for all of them).
    pub fn of(region: &str, facilities: Vec<MapPoint>) -> Self {
        let digits: String = region.chars().filter(char::is_ascii_digit).collect();
        let mut points = Points::default();
        for facility in
            facilities.into_iter().filter(|facility| facility.code.get(1..).is_some_and(|code| code.starts_with(&digits)))
        {
            points.at.push(unit_of(f64::from(facility.at.0) / 1e6, f64::from(facility.at.1) / 1e6));
            points.condition.push(facility.condition);
            points.code.push(facility.code);
            points.name.push(facility.name);
        }
        points
    }

    /// Facilities of which is not known yet how they stand.
    pub fn at(places: MapPlaces) -> Self {
        let (mut latitude, mut longitude) = (0, 0);
        let steps = places.latitudes.into_iter().zip(places.longitudes);
        let at = steps.map(|(north, east)| {
            (latitude, longitude) = (latitude + north, longitude + east);
            unit_of(f64::from(latitude) / 1e5, f64::from(longitude) / 1e5)
        });
        Self { at: at.collect(), condition: Vec::new(), code: places.codes, name: places.names }
    }

    /// How they stand now, see [`MapConditions`](crate::api::MapConditions); whether it is known of each.
    pub fn take(&mut self, conditions: &str) -> bool {
        let known = conditions.bytes().filter_map(|digit| Condition::ALL.get(usize::from(digit.wrapping_sub(b'0'))));
        self.condition = known.copied().collect();
        self.condition.len() == self.at.len()
    }

    /// The smallest box around them: `x, y, width, height`.
    pub fn bounds(&self) -> Option<[f64; 4]> {
        let first = self.at.first()?;
        let (mut low, mut high) = (*first, *first);
        for at in &self.at {
            low = [low[0].min(at[0]), low[1].min(at[1])];
            high = [high[0].max(at[0]), high[1].max(at[1])];
        }
        Some([f64::from(low[0]), f64::from(low[1]), f64::from(high[0] - low[0]), f64::from(high[1] - low[1])])
    }

    /// Clusters where a map unit is `scale` pixels wide: a facility joins the first one within [`CLUSTER_PX`] of it. The order of the
    /// facilities decides, not what is seen, so moving the map does not regroup anything.
    pub fn clusters(&self, scale: f64) -> Vec<Cluster> {
        let reach = (CLUSTER_PX / scale) as f32;
        // Anchors by cells as wide as the reach: whoever is near enough lies in one of nine.
        let mut cells = HashMap::<(i32, i32), Vec<u32>>::with_capacity(self.at.len().min(4_096));
        let mut clusters: Vec<Cluster> = Vec::new();
        for (index, at) in self.at.iter().enumerate() {
            let (column, row) = ((at[0] / reach).floor() as i32, (at[1] / reach).floor() as i32);
            let near = |slot: &u32| {
                let anchor = self.at[clusters[*slot as usize].anchor];
                (anchor[0] - at[0]).hypot(anchor[1] - at[1]) < reach
            };
            let found = (-1..=1)
                .flat_map(|dx| (-1..=1).map(move |dy| (column + dx, row + dy)))
                .filter_map(|cell| cells.get(&cell))
                .find_map(|slots| slots.iter().copied().find(near));
            let condition = self.condition[index];
            let slot = found.unwrap_or_else(|| {
                clusters.push(Cluster { at: [0.0, 0.0], count: 0, worst: condition, first: index, anchor: index });
                let slot = clusters.len() as u32 - 1;
                cells.entry((column, row)).or_default().push(slot);
                slot
            });
            let cluster = &mut clusters[slot as usize];
            cluster.at[0] += at[0];
            cluster.at[1] += at[1];
            cluster.count += 1;
            if condition.severity() < cluster.worst.severity() {
                (cluster.worst, cluster.first) = (condition, index);
            }
        }
        for cluster in &mut clusters {
            cluster.at = [cluster.at[0] / cluster.count as f32, cluster.at[1] / cluster.count as f32];
        }
        clusters
    }
}

/// The cluster nearest to a place, if within `radius` map units.
pub fn nearest(clusters: &[Cluster], x: f64, y: f64, radius: f64) -> Option<&Cluster> {
    let distance = |cluster: &Cluster| (f64::from(cluster.at[0]) - x).hypot(f64::from(cluster.at[1]) - y);
    clusters.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).filter(|cluster| distance(cluster) <= radius)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MapConditions;

    fn point(code: &str, latitude: i32, longitude: i32, condition: Condition) -> MapPoint {
        MapPoint { code: code.into(), name: code.into(), at: (latitude, longitude), condition }
    }

    fn three() -> Points {
        Points::of(
            "32",
            vec![
                point("P321705-1", -6_800_000, 107_600_000, Condition::Fine),
                point("P321705-2", -6_800_100, 107_600_100, Condition::Freezing),
                point("H3201-1", -6_500_000, 106_800_000, Condition::NoWord),
                point("P110101-1", 5_000_000, 95_000_000, Condition::Fine),
            ],
        )
    }

    #[test]
    fn only_a_regions_own() {
        let points = three();
        assert_eq!(points.code, ["P321705-1", "P321705-2", "H3201-1"]);
        assert!((points.at[0][0] - 536.0).abs() < 0.01 && (points.at[0][1] - 520.0).abs() < 0.01);
    }

    #[test]
    fn places_and_conditions_come_apart() {
        let mut places = MapPlaces::default();
        places.push("P321705-1", "Puskesmas Lembang", (-6_800_010, 107_600_020));
        places.push("P110101-1", "Puskesmas Bakongan", (5_000_000, 95_000_000));
        let mut points = Points::at(places);
        let expected = [
            point("P321705-1", -6_800_010, 107_600_020, Condition::Fine),
            point("P110101-1", 5_000_000, 95_000_000, Condition::NoWord),
        ];
        let expected = Points::of("ID", expected.to_vec());
        assert_eq!((&points.at, &points.code), (&expected.at, &expected.code));
        let digits: String = expected.condition.iter().map(|condition| MapConditions::digit(*condition)).collect();
        assert!(points.take(&digits));
        assert_eq!(points.condition, expected.condition);
        for other in ["", "0", "000", "0x"] {
            assert!(!points.take(other), "{other}");
        }
    }

    #[test]
    fn near_points_stand_together_and_show_their_worst() {
        let clusters = three().clusters(1.0);
        assert_eq!(clusters.len(), 2);
        assert_eq!((clusters[0].count, clusters[0].worst, clusters[0].first), (2, Condition::Freezing, 1));
        assert_eq!(nearest(&clusters, 536.5, 520.0, 2.0), Some(&clusters[0]));
        assert_eq!(nearest(&clusters, 600.0, 600.0, 2.0), None);
        assert_eq!(three().clusters(100_000.0).len(), 3);
    }
}
