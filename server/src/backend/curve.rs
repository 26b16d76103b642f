//! Curves: which points of many windows a page is shown.

use app::api::Point;
use domain::coldchain::Range;
use domain::time::{EventTime, HOUR_MS};
use domain::window::Window;
use std::collections::BTreeMap;

/// Points of a sparkline.
const SPARK_POINTS: usize = 96;

/// What a curve shows of a window: its average, or the reading farthest outside `range` where one was, so that no average hides it.
pub(super) fn point_of(window: &Window, range: Range) -> Option<Point> {
    let aggregate = &window.aggregate;
    let extremes = [aggregate.temperature_min, aggregate.temperature_max];
    let farthest = extremes.into_iter().max_by_key(|t| range.distance(*t)).filter(|t| range.distance(*t) > 0);
    Some(Point { at: EventTime::from_ms(window.start), temperature: farthest.or(aggregate.temperature_average())? })
}

/// Of each hour the lowest and the highest point, in their order.
pub(super) fn extremes_by_hour(points: impl Iterator<Item = Point>) -> Vec<Point> {
    let mut hours: BTreeMap<i64, (Point, Point)> = BTreeMap::new();
    for point in points {
        let (low, high) = hours.entry(point.at.ms().div_euclid(HOUR_MS)).or_insert((point, point));
        if point.temperature < low.temperature {
            *low = point;
        }
        if point.temperature > high.temperature {
            *high = point;
        }
    }
    let mut points: Vec<Point> = hours.into_values().flat_map(|(low, high)| [low, high]).collect();
    points.sort_by_key(|p| p.at);
    points.dedup();
    points
}

/// The farthest outside its range, or the first, of as many stretches as a sparkline has points.
pub(super) fn thin(points: &[Point], range: Range) -> Vec<Point> {
    let per_point = points.len().div_ceil(SPARK_POINTS).max(1);
    points
        .chunks(per_point)
        .filter_map(|chunk| chunk.iter().rev().max_by_key(|p| range.distance(p.temperature)).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::milli::Milli;

    fn point(at: i64, milli: i32) -> Point {
        Point { at: EventTime::from_ms(at), temperature: Milli(milli) }
    }

    #[test]
    fn thinning_keeps_what_is_worst() {
        let mut points: Vec<Point> = (0..960).map(|i| point(i, 5_000)).collect();
        points[333] = point(333, 9_400);
        points[777] = point(777, -800);
        let thinned = thin(&points, Range::FRIDGE);
        assert_eq!(thinned.len(), 96);
        assert!(thinned.contains(&point(333, 9_400)) && thinned.contains(&point(777, -800)));
        assert_eq!(thinned[0], point(0, 5_000));
    }

    #[test]
    fn a_month_keeps_the_extremes_of_each_hour() {
        let points = [point(0, 4_000), point(1, 6_000), point(2, 5_000), point(HOUR_MS, 3_000)];
        let kept = extremes_by_hour(points.into_iter());
        assert_eq!(kept, [point(0, 4_000), point(1, 6_000), point(HOUR_MS, 3_000)]);
    }
}
