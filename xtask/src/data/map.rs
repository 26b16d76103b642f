//! The map base: outlines simplified along shared borders, projected, written as path data with whole numbers.

use super::geo::{Point, Ring, Shape, edges, signed_area};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Width and height of the map in its own units.
pub const VIEW: (f64, f64) = (1_903.0, 700.0);
/// Longitude of the left edge.
pub const WEST: f64 = 94.2;
/// Latitude of the upper edge.
pub const NORTH: f64 = 6.2;
/// Units per degree, of longitude and of latitude alike (equirectangular; the equator runs through the middle).
pub const SCALE: f64 = 40.0;

/// A place in map units.
pub fn project(point: Point) -> (f64, f64) {
    ((point.lon - WEST) * SCALE, (NORTH - point.lat) * SCALE)
}

/// How finely a map is drawn.
#[derive(Clone, Copy)]
pub struct Detail {
    /// Written numbers per map unit.
    pub numbers_per_unit: f64,
    /// How far a border may move, in map units.
    pub tolerance: f64,
    /// Islands smaller than this are left out, in square map units; the largest of a shape always stays.
    pub smallest: f64,
}

/// The national overview.
pub const OVERVIEW: Detail = Detail { numbers_per_unit: 1.0, tolerance: 0.35, smallest: 0.8 };
/// A province filling the screen.
pub const CLOSE: Detail = Detail { numbers_per_unit: 10.0, tolerance: 0.06, smallest: 0.03 };

type Key = (i64, i64);

fn key(point: Point) -> Key {
    ((point.lon * 1e5).round() as i64, (point.lat * 1e5).round() as i64)
}

/// The path data of each shape. A border that two shapes share is simplified once, so no gap opens between them.
pub fn paths(shapes: &[&Shape], detail: Detail) -> Vec<String> {
    let mut owners: BTreeMap<(Key, Key), u64> = BTreeMap::new();
    let edge = |a: Point, b: Point| (key(a).min(key(b)), key(a).max(key(b)));
    for (number, shape) in shapes.iter().enumerate() {
        for ring in shape.polygons.iter().flat_map(|polygon| &polygon.rings) {
            for (a, b) in edges(ring) {
                *owners.entry(edge(a, b)).or_default() |= 1 << number;
            }
        }
    }
    let owners_of = |a: Point, b: Point| owners[&edge(a, b)];
    shapes
        .iter()
        .map(|shape| {
            let area = |ring: &Ring| signed_area(ring).abs() * SCALE * SCALE;
            let largest = shape.polygons.iter().map(|polygon| area(&polygon.rings[0])).fold(0.0, f64::max);
            let kept = shape.polygons.iter().flat_map(|polygon| &polygon.rings);
            let kept = kept.filter(|ring| area(ring) >= detail.smallest.min(largest));
            kept.map(|ring| path(&simplified(ring, &owners_of, detail), detail)).collect()
        })
        .collect()
}

/// A ring cut where its neighbour changes, each piece simplified, and put together again.
fn simplified(ring: &Ring, owners_of: &dyn Fn(Point, Point) -> u64, detail: Detail) -> Vec<(f64, f64)> {
    let count = ring.len();
    let at = |place: usize| ring[place % count];
    let changes: Vec<usize> =
        (0..count).filter(|place| owners_of(at(place + count - 1), at(*place)) != owners_of(at(*place), at(place + 1))).collect();
    let start_of_island = || {
        let lowest = (0..count).min_by_key(|place| key(ring[*place])).expect("a ring has points");
        let far =
            (0..count).max_by(|a, b| flat_distance(ring[*a], ring[lowest]).total_cmp(&flat_distance(ring[*b], ring[lowest])));
        let mut both = vec![lowest, far.expect("a ring has points")];
        both.sort_unstable();
        both.dedup();
        both
    };
    let cuts = if changes.len() < 2 { start_of_island() } else { changes };
    let mut result = Vec::new();
    for (number, start) in cuts.iter().enumerate() {
        let end = cuts.get(number + 1).copied().unwrap_or(cuts[0] + count);
        let mut piece: Vec<Point> = (*start..=end).map(at).collect();
        // The same piece, walked the other way by the neighbour, must give the same points.
        let backwards = key(piece[0]) > key(piece[piece.len() - 1]);
        if backwards {
            piece.reverse();
        }
        let mut points: Vec<(f64, f64)> = piece.into_iter().map(project).collect();
        points = douglas_peucker(&points, detail.tolerance);
        if backwards {
            points.reverse();
        }
        points.pop(); // the next piece begins there
        result.extend(points);
    }
    result
}

fn flat_distance(a: Point, b: Point) -> f64 {
    (a.lon - b.lon) * (a.lon - b.lon) + (a.lat - b.lat) * (a.lat - b.lat)
}

/// Douglas and Peucker, "Algorithms for the reduction of the number of points required to represent a digitized line", 1973.
fn douglas_peucker(points: &[(f64, f64)], tolerance: f64) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
    let off = |point: &(f64, f64)| {
        let (x, y) = (last.0 - first.0, last.1 - first.1);
        let length2 = x * x + y * y;
        let part =
            if length2 > 0.0 { (((point.0 - first.0) * x + (point.1 - first.1) * y) / length2).clamp(0.0, 1.0) } else { 0.0 };
        let (dx, dy) = (point.0 - first.0 - part * x, point.1 - first.1 - part * y);
        dx * dx + dy * dy
    };
    let farthest = (1..points.len().max(1) - 1).max_by(|a, b| off(&points[*a]).total_cmp(&off(&points[*b])));
    match farthest.filter(|place| off(&points[*place]) > tolerance * tolerance) {
        Some(place) => {
            let mut kept = douglas_peucker(&points[..=place], tolerance);
            kept.pop();
            kept.extend(douglas_peucker(&points[place..], tolerance));
            kept
        }
        None => vec![*first, *last],
    }
}

/// Path data of a closed ring, in whole numbers: `M140 164l-6-3…z`; empty where nothing is left of it.
fn path(ring: &[(f64, f64)], detail: Detail) -> String {
    let rounded = |value: f64| (value * detail.numbers_per_unit).round() as i64;
    let mut points: Vec<(i64, i64)> = ring.iter().map(|(x, y)| (rounded(*x), rounded(*y))).collect();
    points.dedup();
    while points.len() > 1 && points.first() == points.last() {
        points.pop();
    }
    // A point between two others on a straight line says nothing.
    let mut kept: Vec<(i64, i64)> = Vec::with_capacity(points.len());
    for (place, point) in points.iter().enumerate() {
        let (before, after) = (kept.last().copied().unwrap_or(points[points.len() - 1]), points[(place + 1) % points.len()]);
        let cross = (point.0 - before.0) * (after.1 - point.1) - (point.1 - before.1) * (after.0 - point.0);
        let onward = (point.0 - before.0) * (after.0 - point.0) + (point.1 - before.1) * (after.1 - point.1);
        if cross != 0 || onward < 0 {
            kept.push(*point);
        }
    }
    if kept.len() < 3 {
        return String::new();
    }
    let mut text = format!("M{} {}l", kept[0].0, kept[0].1);
    let mut needs_space = false;
    for pair in kept.windows(2) {
        for step in [pair[1].0 - pair[0].0, pair[1].1 - pair[0].1] {
            if needs_space && step >= 0 {
                text.push(' ');
            }
            let _ = write!(text, "{step}");
            needs_space = true;
        }
    }
    text.push('z');
    text
}

/// A shape cut off at the edges of the map, some units outside so that no border is seen there (Sutherland and Hodgman, 1974).
pub fn clipped(shape: &Shape) -> Shape {
    const MARGIN: f64 = 0.3; // degrees
    let (west, east) = (WEST - MARGIN, WEST + VIEW.0 / SCALE + MARGIN);
    let (south, north) = (NORTH - VIEW.1 / SCALE - MARGIN, NORTH + MARGIN);
    let cut = |ring: Ring, inside: &dyn Fn(Point) -> bool, cross: &dyn Fn(Point, Point) -> f64| -> Ring {
        let mut result = Ring::new();
        for (a, b) in edges(&ring) {
            if inside(a) {
                result.push(a);
            }
            if inside(a) != inside(b) {
                result.push(a.towards(b, cross(a, b)));
            }
        }
        result
    };
    let mut result = Shape::default();
    for polygon in &shape.polygons {
        let mut ring = polygon.rings[0].clone();
        ring = cut(ring, &|p| p.lon >= west, &|a, b| (west - a.lon) / (b.lon - a.lon));
        ring = cut(ring, &|p| p.lon <= east, &|a, b| (east - a.lon) / (b.lon - a.lon));
        ring = cut(ring, &|p| p.lat >= south, &|a, b| (south - a.lat) / (b.lat - a.lat));
        ring = cut(ring, &|p| p.lat <= north, &|a, b| (north - a.lat) / (b.lat - a.lat));
        if ring.len() >= 3 {
            result.polygons.push(super::geo::Polygon::new(vec![ring]));
        }
    }
    result
}

/// Where a name or a figure is written: the spot of the largest island that is farthest from its coast, roughly.
pub fn label(shape: &Shape) -> Point {
    let area = |ring: &Ring| signed_area(ring).abs();
    let largest =
        shape.polygons.iter().max_by(|a, b| area(&a.rings[0]).total_cmp(&area(&b.rings[0]))).expect("a shape has polygons");
    let island = Shape { polygons: vec![largest.clone()] };
    let bounds = island.bounds();
    let step = |low: f64, high: f64, part: u32| low + (high - low) * (f64::from(part) + 0.5) / 32.0;
    let mut best = (0.0, largest.rings[0][0]);
    for row in 0..32 {
        for column in 0..32 {
            let spot = Point::new(step(bounds.low.lon, bounds.high.lon, column), step(bounds.low.lat, bounds.high.lat, row));
            if island.contains(spot) {
                let room = island.edge_distance_km(spot);
                if room > best.0 {
                    best = (room, spot);
                }
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::geo::Polygon;

    fn shape(points: &[(f64, f64)]) -> Shape {
        Shape { polygons: vec![Polygon::new(vec![points.iter().map(|(lon, lat)| Point::new(*lon, *lat)).collect()])] }
    }

    fn points(path: &str) -> Vec<(i64, i64)> {
        let spaced = path.replace(['M', 'z'], "").replace('l', " ").replace('-', " -");
        let numbers: Vec<i64> = spaced.split_whitespace().map(|number| number.parse().expect("a number")).collect();
        let steps = numbers.chunks(2).map(|pair| (pair[0], pair[1]));
        steps
            .scan((0, 0), |at, step| {
                *at = (at.0 + step.0, at.1 + step.1);
                Some(*at)
            })
            .collect()
    }

    #[test]
    fn a_shared_border_is_the_same_on_both_sides() {
        // Two squares with a crooked border between them, walked up by the one and down by the other.
        let border = [(102.0, 0.0), (102.013, 0.3), (101.9, 0.6), (102.2, 1.1), (102.0, 2.0)];
        let west: Vec<_> = [(100.0, 2.0), (100.0, 0.0)].into_iter().chain(border).collect();
        let east: Vec<_> = border.into_iter().rev().chain([(104.0, 0.0), (104.0, 2.0)]).collect();
        let paths = paths(&[&shape(&west), &shape(&east)], OVERVIEW);
        let (west, east) = (points(&paths[0]), points(&paths[1]));
        let common: Vec<_> = west.iter().filter(|point| east.contains(point)).collect();
        let at_border = |point: &&(i64, i64)| (305..325).contains(&point.0);
        assert_eq!(common.len(), west.iter().filter(at_border).count());
        assert_eq!(common.len(), east.iter().filter(at_border).count());
        assert!((3..=5).contains(&common.len()), "{common:?}");
    }

    #[test]
    fn straight_lines_and_specks_are_left_out() {
        let detail = Detail { numbers_per_unit: 1.0, tolerance: 0.0, smallest: 0.0 };
        assert_eq!(path(&[(0.0, 0.0), (5.0, 0.0), (10.0, 0.0), (10.0, 10.0)], detail), "M0 0l10 0 0 10z");
        assert_eq!(path(&[(10.0, 10.0), (4.0, 7.0), (4.0, 12.0)], detail), "M10 10l-6-3 0 5z");
        assert_eq!(path(&[(0.1, 0.1), (0.3, 0.1), (0.3, 0.3)], detail), "");
    }
}
