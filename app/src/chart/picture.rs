//! From readings to what a temperature chart shows: strokes, gaps, excursions, ticks. Pure, the same on the server and in the
//! browser. Not here: colours (`draw`), words (`labels`), pixels (`svg`, `canvas`).

use crate::api::{Point, Span};
use domain::coldchain::{Condition, Range};
use domain::milli::Milli;
use domain::time::{DAY_MS, EventTime, HOUR_MS, MINUTE_MS, Zone};

/// How a stretch of the curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// In range.
    Fine,
    /// Above the range; or above it in the past.
    Warm,
    /// Above the range now, and for longer than [`HOT_AFTER_MS`].
    Hot,
    /// Below the range.
    Cold,
}

/// From when on an excursion that lasts is drawn as hot: 30 minutes above the range, the shorter of the two limits that
/// programmes use for it (domain rules 3.1, `msupply_cca`).
pub const HOT_AFTER_MS: i64 = 30 * MINUTE_MS;

/// A stroke of one level; neighbours share the point where they meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How it is drawn.
    pub level: Level,
    /// Whether it belongs to the excursion that is still going on.
    pub open: bool,
    /// Oldest first; at least one.
    pub points: Vec<Point>,
}

/// A time without readings, longer than readings may be apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last reading before it, or the left end of the chart.
    pub from: EventTime,
    /// The first reading after it, or the right end.
    pub to: EventTime,
}

impl Gap {
    /// How long it is, in milliseconds.
    pub const fn length_ms(self) -> i64 {
        self.to.ms() - self.from.ms()
    }
}

/// On which side of the range an excursion lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Too warm.
    Above,
    /// Too cold.
    Below,
}

impl Side {
    /// The side of a temperature outside `range`.
    pub fn of(range: Range, temperature: Milli) -> Side {
        if temperature > range.max { Side::Above } else { Side::Below }
    }
}

/// An unbroken time outside the range, on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outside {
    /// Which side.
    pub side: Side,
    /// First reading outside.
    pub since: EventTime,
    /// Newest reading outside.
    pub last: EventTime,
    /// First reading back in range (or beyond the other limit); `None` while it lasts.
    pub until: Option<EventTime>,
    /// The reading farthest outside.
    pub peak: Point,
    /// Distance from the range over time: thousandths of a degree times milliseconds.
    pub milli_degree_ms: i64,
    /// How much of it lies in gaps, where nothing is known, in milliseconds.
    pub unknown_ms: i64,
    /// Whether the data begin outside, so that it may have begun earlier.
    pub cut: bool,
}

impl Outside {
    /// How long it lasted, up to its newest reading while it lasts; milliseconds.
    pub fn length_ms(&self) -> i64 {
        self.until.unwrap_or(self.last).ms() - self.since.ms()
    }
    /// Degree-minutes, rounded.
    pub const fn degree_minutes(&self) -> i64 {
        (self.milli_degree_ms + 30_000_000) / 60_000_000
    }
}

/// A mark of the time axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Where.
    pub at: EventTime,
    /// Whether it names a day (midnight) and not an hour.
    pub day: bool,
    /// Whether only wide screens have room for it.
    pub wide: bool,
}

/// Everything a temperature chart shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Left end.
    pub start: EventTime,
    /// Right end.
    pub end: EventTime,
    /// Bottom, thousandths of °C.
    pub low: i32,
    /// Top, thousandths of °C.
    pub high: i32,
    /// Range of the equipment.
    pub range: Range,
    /// Whether the freezing point is near enough to be drawn.
    pub freezing_line: bool,
    /// The curve.
    pub lines: Vec<Line>,
    /// Times without readings, oldest first.
    pub gaps: Vec<Gap>,
    /// Times outside the range, oldest first.
    pub outside: Vec<Outside>,
    /// Marks of the time axis, oldest first.
    pub ticks: Vec<Tick>,
    /// Marks of the temperature axis, lowest first, thousandths of °C.
    pub degrees: Vec<i32>,
    /// Coldest reading.
    pub lowest: Option<Point>,
    /// Warmest reading.
    pub highest: Option<Point>,
    /// Newest reading.
    pub newest: Option<Point>,
}

/// How far apart two points may lie before the time between them counts as unknown: twice the interval or 15 minutes (domain
/// rules 3.1). The month shows two points an hour, so there it is what is left after that.
pub fn max_gap_ms(interval_ms: i64, span: Span) -> i64 {
    let step = step_ms(interval_ms, span);
    match span {
        Span::Day | Span::Week => (2 * step).max(15 * MINUTE_MS),
        Span::Month => (2 * step).max(2 * HOUR_MS),
    }
}

/// How far apart the points of a span lie when nothing is missing.
pub fn step_ms(interval_ms: i64, span: Span) -> i64 {
    interval_ms.max(match span {
        Span::Day => 10_000,
        Span::Week => 5 * MINUTE_MS,
        Span::Month => 30 * MINUTE_MS,
    })
}

fn side(range: Range, temperature: Milli) -> Option<Side> {
    match range.condition(temperature) {
        Condition::TooWarm => Some(Side::Above),
        Condition::TooCold | Condition::Freezing => Some(Side::Below),
        Condition::Fine | Condition::NoWord => None,
    }
}

/// The excursions in `points` (oldest first), oldest first. The last is open where the newest reading lies outside.
///
/// Exposure is counted between two readings on the same side that are at most `max_gap_ms` apart (domain rules 3.1 and 3.2);
/// longer pieces are unknown.
pub fn excursions(points: &[Point], range: Range, max_gap_ms: i64) -> Vec<Outside> {
    let mut found: Vec<Outside> = Vec::new();
    let mut open: Option<Outside> = None;
    let mut before: Option<Point> = None;
    for (index, &point) in points.iter().enumerate() {
        let now = side(range, point.temperature);
        let (dt, known) = before.map_or((0, true), |b| {
            let dt = point.at.ms() - b.at.ms();
            (dt, dt <= max_gap_ms)
        });
        if let Some(mut current) = open.take() {
            if !known {
                current.unknown_ms += dt;
            }
            if now == Some(current.side) {
                if known {
                    let earlier = before.map_or(point.temperature, |b| b.temperature);
                    let mean = i32::midpoint(range.distance(earlier), range.distance(point.temperature));
                    current.milli_degree_ms += i64::from(mean) * dt;
                }
                current.last = point.at;
                if range.distance(point.temperature) > range.distance(current.peak.temperature) {
                    current.peak = point;
                }
                open = Some(current);
            } else {
                current.until = Some(point.at);
                found.push(current);
            }
        }
        if open.is_none()
            && let Some(side) = now
        {
            open = Some(Outside {
                side,
                since: point.at,
                last: point.at,
                until: None,
                peak: point,
                milli_degree_ms: 0,
                unknown_ms: 0,
                cut: index == 0,
            });
        }
        before = Some(point);
    }
    found.extend(open);
    found
}

impl Picture {
    /// The picture of `points` (oldest first) over `span` up to `end`; those outside of that time are left out.
    pub fn new(points: &[Point], range: Range, interval_ms: i64, span: Span, end: EventTime, zone: Zone) -> Self {
        let start = end.plus_ms(-span.ms());
        let first = points.partition_point(|p| p.at < start);
        let last = points.partition_point(|p| p.at <= end).max(first);
        let points = &points[first..last];
        let max_gap = max_gap_ms(interval_ms, span);

        let mut outside = excursions(points, range, max_gap);
        if let (Some(first), Some(point)) = (outside.first_mut(), points.first()) {
            // The first reading of all, long after the left end: nothing began before it.
            first.cut &= point.at.ms() - start.ms() <= max_gap;
        }
        let gaps = gaps(points, start, end, max_gap);
        let lines = lines(&thin(points, start, end), range, max_gap, outside.last().filter(|o| o.until.is_none()));
        let lowest = points.iter().copied().min_by_key(|p| p.temperature);
        let highest = points.iter().rev().copied().max_by_key(|p| p.temperature);

        let coldest = lowest.map_or(range.min.0, |p| p.temperature.0.min(range.min.0));
        let warmest = highest.map_or(range.max.0, |p| p.temperature.0.max(range.max.0));
        let pad = ((warmest - coldest) / 9).max(1_000);
        let freezing_line = range.min.0 > 0 && coldest <= 1_500;
        let low = if freezing_line { (coldest - pad).min(-600) } else { coldest - pad };
        let high = warmest + pad;
        Self {
            start,
            end,
            low,
            high,
            range,
            freezing_line,
            lines,
            gaps,
            outside,
            ticks: ticks(start, end, span, zone),
            degrees: degrees(low, high),
            lowest,
            highest,
            newest: points.last().copied(),
        }
    }

    /// Where an instant lies between the left end (0) and the right (1).
    pub fn x(&self, at: EventTime) -> f64 {
        (at.ms() - self.start.ms()) as f64 / (self.end.ms() - self.start.ms()) as f64
    }
    /// Where a temperature lies between the top (0) and the bottom (1).
    pub fn y(&self, milli: i32) -> f64 {
        f64::from(self.high - milli) / f64::from(self.high - self.low)
    }
    /// How the newest reading is drawn.
    pub fn newest_level(&self) -> Level {
        self.lines.last().map_or(Level::Fine, |line| line.level)
    }
    /// The excursion that lasts.
    pub fn open(&self) -> Option<&Outside> {
        self.outside.last().filter(|o| o.until.is_none())
    }
}

fn gaps(points: &[Point], start: EventTime, end: EventTime, max_gap_ms: i64) -> Vec<Gap> {
    let mut instants = Vec::with_capacity(points.len() + 2);
    instants.push(start);
    instants.extend(points.iter().map(|p| p.at));
    instants.push(end);
    instants.windows(2).map(|pair| Gap { from: pair[0], to: pair[1] }).filter(|gap| gap.length_ms() > max_gap_ms).collect()
}

/// Columns of time within which four points say all that can be seen.
const COLUMNS: i64 = 1_440;

/// At most four points a column: its first, lowest, highest and last, so that peaks and gaps stay
/// (Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", 2014).
fn thin(points: &[Point], start: EventTime, end: EventTime) -> Vec<Point> {
    if points.len() <= 2 * COLUMNS as usize {
        return points.to_vec();
    }
    let width = ((end.ms() - start.ms()) / COLUMNS).max(1);
    let mut kept = Vec::with_capacity(4 * COLUMNS as usize);
    for column in points.chunk_by(|a, b| (a.at.ms() - start.ms()) / width == (b.at.ms() - start.ms()) / width) {
        let lowest = column.iter().min_by_key(|p| p.temperature).expect("a chunk is never empty");
        let highest = column.iter().max_by_key(|p| p.temperature).expect("a chunk is never empty");
        let from = kept.len();
        kept.extend([column[0], *lowest, *highest, column[column.len() - 1]]);
        kept[from..].sort_by_key(|p| p.at);
    }
    kept.dedup();
    kept
}

/// The strokes of `points`: cut at gaps, at the limits of the range, and where the excursion that lasts becomes hot.
fn lines(points: &[Point], range: Range, max_gap_ms: i64, open: Option<&Outside>) -> Vec<Line> {
    let hot_from = open.filter(|o| o.side == Side::Above).map(|o| o.since.plus_ms(HOT_AFTER_MS));
    let open_from = open.map(|o| o.since);
    let mut lines: Vec<Line> = Vec::new();
    for run in points.chunk_by(|a, b| b.at.ms() - a.at.ms() <= max_gap_ms) {
        let run_starts = lines.len();
        if let [single] = run {
            let level = level(range, single.temperature, single.at, hot_from);
            let open = open_from.is_some_and(|from| single.at >= from);
            lines.push(Line { level, open, points: vec![*single] });
            continue;
        }
        for pair in run.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let mut cuts = vec![a];
            let (min, max) = (range.min, range.max);
            let rising = if b.temperature >= a.temperature { [min, max] } else { [max, min] };
            for limit in rising {
                let between =
                    (a.temperature < limit) != (b.temperature < limit) && a.temperature != limit && b.temperature != limit;
                if between {
                    let part = f64::from(limit.0 - a.temperature.0) / f64::from(b.temperature.0 - a.temperature.0);
                    let at = a.at.plus_ms(((b.at.ms() - a.at.ms()) as f64 * part).round() as i64);
                    cuts.push(Point { at, temperature: limit });
                }
            }
            if let Some(from) = hot_from.filter(|from| a.at < *from && *from < b.at) {
                let part = (from.ms() - a.at.ms()) as f64 / (b.at.ms() - a.at.ms()) as f64;
                let milli = f64::from(a.temperature.0) + f64::from(b.temperature.0 - a.temperature.0) * part;
                cuts.push(Point { at: from, temperature: Milli(milli.round() as i32) });
            }
            cuts.push(b);
            cuts.sort_by_key(|p| p.at);
            for piece in cuts.windows(2) {
                let middle = Milli(i32::midpoint(piece[0].temperature.0, piece[1].temperature.0));
                let middle_at = EventTime::from_ms(i64::midpoint(piece[0].at.ms(), piece[1].at.ms()));
                let level = level(range, middle, middle_at, hot_from);
                let open = level != Level::Fine && open_from.is_some_and(|from| piece[1].at >= from);
                match lines[run_starts..].last_mut() {
                    Some(line) if line.level == level && line.open == open => line.points.push(piece[1]),
                    _ => lines.push(Line { level, open, points: piece.to_vec() }),
                }
            }
        }
    }
    lines
}

fn level(range: Range, temperature: Milli, at: EventTime, hot_from: Option<EventTime>) -> Level {
    match side(range, temperature) {
        None => Level::Fine,
        Some(Side::Below) => Level::Cold,
        Some(Side::Above) if hot_from.is_some_and(|from| at >= from) => Level::Hot,
        Some(Side::Above) => Level::Warm,
    }
}

/// Every third hour of a day, every day of a week, every fifth day of a month, in the zone's own time.
fn ticks(start: EventTime, end: EventTime, span: Span, zone: Zone) -> Vec<Tick> {
    let (step, narrow) = match span {
        Span::Day => (3 * HOUR_MS, 6 * HOUR_MS),
        Span::Week => (DAY_MS, 2 * DAY_MS),
        Span::Month => (5 * DAY_MS, 10 * DAY_MS),
    };
    let length = end.ms() - start.ms();
    let local = |at: i64| at + zone.offset_ms();
    let mut at = start.ms() + (step - local(start.ms()).rem_euclid(step)) % step;
    let mut found = Vec::new();
    while at < end.ms() {
        // The right end carries its own time; what stands too near to it, or would be cut off at the left, goes.
        let share = (at - start.ms()) * 100 / length;
        if (2..90).contains(&share) {
            let day = local(at).rem_euclid(DAY_MS) == 0;
            let wide = local(at).rem_euclid(narrow) != 0 || !(6..=72).contains(&share);
            found.push(Tick { at: EventTime::from_ms(at), day, wide });
        }
        at += step;
    }
    found
}

/// Whole steps between `low` and `high`, at most eight.
fn degrees(low: i32, high: i32) -> Vec<i32> {
    const STEPS: [i32; 7] = [500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000];
    let step = STEPS.into_iter().find(|step| (high - low) / step <= 7).unwrap_or(50_000);
    let first = low.div_euclid(step) * step + if low.rem_euclid(step) == 0 { 0 } else { step };
    (first..=high).step_by(step as usize).collect()
}

#[cfg(test)]
impl Picture {
    /// A refrigerator's day of readings every five minutes, from minutes and thousandths of a degree; for tests.
    pub fn of_minutes(points: &[(i64, i32)]) -> Picture {
        let point =
            |&(minute, milli): &(i64, i32)| Point { at: EventTime::from_ms(minute * MINUTE_MS), temperature: Milli(milli) };
        let points: Vec<Point> = points.iter().map(point).collect();
        Picture::new(&points, Range::FRIDGE, 5 * MINUTE_MS, Span::Day, EventTime::from_ms(DAY_MS), Zone::Wib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"0 7.9, 5 8.5"`: minutes and degrees.
    fn points(text: &str) -> Vec<Point> {
        text.split(", ")
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (minute, degrees) = pair.split_once(' ').expect("minute and degrees");
                Point {
                    at: EventTime::from_ms(minute.parse::<i64>().expect("a minute") * MINUTE_MS),
                    temperature: degrees.parse().expect("degrees"),
                }
            })
            .collect()
    }

    fn minutes(ms: i64) -> String {
        let tenths = ms * 10 / MINUTE_MS;
        if tenths % 10 == 0 { (tenths / 10).to_string() } else { format!("{}.{}", tenths / 10, tenths % 10) }
    }

    #[track_caller]
    fn check_excursions(text: &str, expected: &str) {
        let found: Vec<String> = excursions(&points(text), Range::FRIDGE, 15 * MINUTE_MS)
            .iter()
            .map(|o| {
                format!(
                    "{}-{} {}@{} {}dm{}{}",
                    minutes(o.since.ms()),
                    o.until.map_or("open".to_owned(), |u| minutes(u.ms())),
                    o.peak.temperature,
                    minutes(o.peak.at.ms()),
                    o.degree_minutes(),
                    if o.unknown_ms > 0 { format!(" unknown {}", minutes(o.unknown_ms)) } else { String::new() },
                    if o.cut { " cut" } else { "" },
                )
            })
            .collect();
        assert_eq!(found.join("; "), expected, "{text}");
    }

    #[test]
    fn excursions_of_a_fridge() {
        check_excursions("", "");
        check_excursions("0 4, 5 8, 10 2", ""); // both limits are inside
        check_excursions("0 4, 5 8.5, 10 9, 15 7", "5-15 9@10 4dm"); // (0.5 + 1.0) / 2 * 5 min = 3.75
        check_excursions("0 4, 5 8.5", "5-open 8.5@5 0dm");
        check_excursions("0 9, 5 9, 10 4", "0-10 9@0 5dm cut");
        check_excursions("0 4, 5 1, 10 9, 15 4", "5-10 1@5 0dm; 10-15 9@10 0dm"); // straight through the range: two
        check_excursions("0 4, 5 9, 60 9, 65 4", "5-65 9@5 0dm unknown 55"); // what happened in the gap is not exposure
        check_excursions("0 4, 5 0, 10 -1, 15 0", "5-open -1@10 25dm"); // 0.0 is a reading
    }

    #[track_caller]
    fn check_lines(text: &str, expected: &str) {
        let points = points(text);
        let open = excursions(&points, Range::FRIDGE, 15 * MINUTE_MS).pop().filter(|o| o.until.is_none());
        let found: Vec<String> = lines(&points, Range::FRIDGE, 15 * MINUTE_MS, open.as_ref())
            .iter()
            .map(|line| {
                let points: Vec<_> = line.points.iter().map(|p| format!("{} {}", minutes(p.at.ms()), p.temperature)).collect();
                format!("{:?}{} {}", line.level, if line.open { "*" } else { "" }, points.join(", "))
            })
            .collect();
        assert_eq!(found.join(" | "), expected, "{text}");
    }

    #[test]
    fn strokes_change_at_the_limits() {
        check_lines("0 4, 5 5", "Fine 0 4, 5 5");
        check_lines("0 7, 10 9, 20 7", "Fine 0 7, 5 8 | Warm 5 8, 10 9, 15 8 | Fine 15 8, 20 7");
        check_lines("0 8, 10 9", "Warm* 0 8, 10 9"); // the limit itself is inside: no piece of length zero
        check_lines("0 3, 10 1, 20 3", "Fine 0 3, 5 2 | Cold 5 2, 10 1, 15 2 | Fine 15 2, 20 3");
        check_lines("0 11, 10 -1", "Warm 0 11, 2.5 8 | Fine 2.5 8, 7.5 2 | Cold* 7.5 2, 10 -1");
        check_lines("0 4, 10 4, 60 4, 70 4", "Fine 0 4, 10 4 | Fine 60 4, 70 4"); // never across a gap
        check_lines("0 4, 60 5", "Fine 0 4 | Fine 60 5");
        check_lines("0 9, 15 9, 30 9, 40 9", "Warm* 0 9, 15 9, 30 9 | Hot* 30 9, 40 9"); // lasting, and for 30 minutes
        check_lines("0 9, 15 9, 30 9, 40 9, 50 7", "Warm 0 9, 15 9, 30 9, 40 9, 45 8 | Fine 45 8, 50 7"); // past: never red
    }

    #[track_caller]
    fn check_gaps(text: &str, expected: &str) {
        let picture = picture(text);
        let found: Vec<String> =
            picture.gaps.iter().map(|g| format!("{}-{}", minutes(g.from.ms()), minutes(g.to.ms()))).collect();
        assert_eq!(found.join(" "), expected, "{text}");
    }

    fn picture(text: &str) -> Picture {
        Picture::new(&points(text), Range::FRIDGE, 5 * MINUTE_MS, Span::Day, EventTime::from_ms(DAY_MS), Zone::Wib)
    }

    #[test]
    fn gaps_at_both_ends_and_between() {
        check_gaps("", "0-1440");
        check_gaps("10 4, 700 4, 715 4, 731 4, 1430 4", "10-700 715-731 731-1430");
        check_gaps("1000 4", "0-1000 1000-1440");
    }

    #[test]
    fn the_frame_holds_band_data_and_the_freezing_point_where_near() {
        let calm = picture("10 4, 15 5");
        assert_eq!((calm.low, calm.high, calm.freezing_line), (1_000, 9_000, false));
        assert_eq!(calm.degrees, [2_000, 4_000, 6_000, 8_000]);
        let cold = picture("10 4, 15 0.4");
        assert!(cold.freezing_line && cold.low <= -600, "{cold:?}");
        assert!(cold.degrees.contains(&0));
        let freezer = Picture::new(&[], Range::FREEZER, MINUTE_MS, Span::Day, EventTime::from_ms(DAY_MS), Zone::Wib);
        assert_eq!((freezer.low, freezer.high, freezer.freezing_line), (-26_111, -13_889, false));
    }

    #[test]
    fn ticks_follow_the_zone() {
        let hours = |zone| -> Vec<i64> {
            ticks(EventTime::from_ms(0), EventTime::from_ms(DAY_MS), Span::Day, zone)
                .iter()
                .map(|t| t.at.ms() / HOUR_MS)
                .collect()
        };
        assert_eq!(hours(Zone::Wib), [2, 5, 8, 11, 14, 17, 20]); // 09.00, 12.00 … WIB; 23 UTC stands too near to the end
        assert_eq!(hours(Zone::Wit), [3, 6, 9, 12, 15, 18, 21]);
        let midnight = ticks(EventTime::from_ms(0), EventTime::from_ms(DAY_MS), Span::Day, Zone::Wib).into_iter().find(|t| t.day);
        assert_eq!(midnight.map(|t| t.at.ms() / HOUR_MS), Some(17));
    }

    #[test]
    fn thinning_keeps_ends_and_peaks() {
        let many: Vec<Point> = (0..86_400)
            .step_by(5)
            .map(|s| Point { at: EventTime::from_ms(s * 1_000), temperature: Milli(if s == 40_000 { 9_000 } else { 5_000 }) })
            .collect();
        let kept = thin(&many, EventTime::from_ms(0), EventTime::from_ms(DAY_MS));
        assert!(kept.len() <= 4 * COLUMNS as usize, "{}", kept.len());
        assert!(kept.contains(&many[8_000]) && kept.first() == many.first() && kept.last() == many.last());
    }
}
