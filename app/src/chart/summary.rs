//! Figures of a span of readings: extremes, averages over time, share in range, coverage.

use super::picture::{max_gap_ms, step_ms};
use crate::api::{Point, Span};
use domain::coldchain::{Condition, Range};
use domain::milli::{Milli, div_round};

/// What a span of readings comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Coldest reading, the first of several.
    pub lowest: Point,
    /// Warmest reading, the last of several.
    pub highest: Point,
    /// Average over time: each reading stands until the next, a silence counts as one interval.
    pub average: Milli,
    /// Mean kinetic temperature over the same weights.
    pub kinetic: Option<Milli>,
    /// Readings in range.
    pub in_range: u32,
    /// Readings.
    pub count: u32,
    /// How many there would be with none missing.
    pub expected: u32,
}

impl Summary {
    /// The summary of `points`, oldest first; `None` of none.
    pub fn new(points: &[Point], range: Range, interval_ms: i64, span: Span) -> Option<Self> {
        let lowest = *points.iter().min_by_key(|p| p.temperature)?;
        let highest = *points.iter().max_by_key(|p| p.temperature)?;
        let (step, max_gap) = (step_ms(interval_ms, span), max_gap_ms(interval_ms, span));
        let weights = (0..points.len()).map(|i| match points.get(i + 1) {
            Some(next) if next.at.ms() - points[i].at.ms() <= max_gap => (next.at.ms() - points[i].at.ms()).max(1),
            _ => step,
        });
        let weighted = points.iter().zip(weights).map(|(point, weight)| (point.temperature, weight));
        let (sum, time) =
            weighted.clone().fold((0, 0), |(sum, time), (t, weight)| (sum + i64::from(t.0) * weight, time + weight));
        let in_range = points.iter().filter(|p| range.condition(p.temperature) == Condition::Fine).count();
        Some(Self {
            lowest,
            highest,
            average: Milli(div_round(sum, time) as i32),
            kinetic: domain::kinetic::mean_kinetic_temperature(weighted),
            in_range: in_range as u32,
            count: points.len() as u32,
            expected: ((span.ms() / step) as u32).max(points.len() as u32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::time::{EventTime, MINUTE_MS};

    #[test]
    fn a_reading_stands_for_the_time_until_the_next() {
        let points: Vec<_> = [(0, 4_000), (10, 10_000), (15, 4_000)]
            .map(|(minute, milli)| Point { at: EventTime::from_ms(minute * MINUTE_MS), temperature: Milli(milli) })
            .to_vec();
        let summary = Summary::new(&points, Range::FRIDGE, 5 * MINUTE_MS, Span::Day).expect("readings");
        assert_eq!(summary.average, Milli(5_500)); // 4 for 10 min, 10 for 5 min, 4 for one interval
        assert!(summary.kinetic > Some(summary.average), "{summary:?}");
        assert_eq!((summary.in_range, summary.count, summary.expected), (2, 3, 288));
        assert_eq!((summary.lowest.at.ms(), summary.highest.temperature), (0, Milli(10_000)));
        assert_eq!(Summary::new(&[], Range::FRIDGE, MINUTE_MS, Span::Day), None);
    }
}
