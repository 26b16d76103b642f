//! The component of a temperature chart: drawn by the server as SVG, taken over by a canvas after mount.

use super::canvas::Stage;
use super::labels;
use super::labels::whole_celsius;
use super::picture::{Line, Picture};
use super::sketch::Sketch;
use super::svg::{Paint, plot};
use crate::api::{CurveEnd, DeviceView, Point, Span};
use crate::words::{Lang, use_lang};
use domain::coldchain::Range;
use domain::event::Reading;
use domain::time::{EventTime, HOUR_MS, MINUTE_MS, Zone};
use leptos::prelude::*;
use std::fmt::Write;

/// The readings behind a chart. Kept outside of signals: it is long, and only its newest end changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Id of the device.
    pub id: String,
    /// Oldest first.
    pub points: Vec<Point>,
    /// Range of the equipment.
    pub range: Range,
    /// How often the device reports.
    pub interval_ms: i64,
    /// What is shown.
    pub span: Span,
    /// Zone of the place.
    pub zone: Zone,
    /// Right end of the chart.
    pub end: EventTime,
    /// Since when the device is outside its range, as the server counts it: to the reading, and from before the left end.
    pub out_since: Option<EventTime>,
}

impl Series {
    /// The readings of a device's page.
    pub fn new(view: &DeviceView) -> Self {
        Self {
            id: view.now.id.clone(),
            points: view.points.clone(),
            range: view.equipment.range,
            interval_ms: view.equipment.interval_ms,
            span: view.span,
            zone: view.zone,
            end: EventTime::from_ms(view.taken_at.ms()),
            out_since: view.now.excursion.map(|excursion| excursion.since),
        }
    }

    /// What the chart shows.
    pub fn picture(&self) -> Picture {
        let mut picture = Picture::new(&self.points, self.range, self.interval_ms, self.span, self.end, self.zone);
        // Points are starts of windows, and the chart has a left end; the state knows the reading itself.
        if let (Some(open), Some(since)) = (picture.outside.last_mut().filter(|o| o.until.is_none()), self.out_since)
            && (open.cut || (since.ms() - open.since.ms()).abs() < 10 * MINUTE_MS)
        {
            open.since = since;
            open.cut = false;
        }
        picture
    }

    /// Takes in the newest reading at once; says whether anything changed. It stands for its whole window until the server's curve
    /// comes ([`Series::take_end`]), because the stream leaves out readings that follow each other fast.
    pub fn push(&mut self, reading: &Reading) -> bool {
        let at = EventTime::from_ms(reading.at.ms().div_euclid(self.window_ms()) * self.window_ms());
        let point = Point { at, temperature: reading.temperature };
        match self.points.last_mut() {
            Some(last) if last.at > at || *last == point => return false,
            Some(last) if last.at == at => *last = point,
            _ => self.points.push(point),
        }
        self.end = self.end.max(reading.at);
        let start = self.end.plus_ms(-self.span.ms());
        let gone = self.points.partition_point(|p| p.at < start);
        self.points.drain(..gone);
        true
    }

    /// What of the curve to ask the server for: where this one counts from, and where the newest end begins: a window before the
    /// newest point, or all of it where something older is missing.
    pub fn end_to_ask(&self, all: bool) -> (EventTime, EventTime) {
        // Full hours: the points of a month are those of an hour.
        let hour = |at: EventTime| at.ms().div_euclid(HOUR_MS) * HOUR_MS;
        let since = EventTime::from_ms(hour(self.end.plus_ms(-self.span.ms())) + HOUR_MS);
        let newest = self.points.last().map_or(since, |p| p.at.plus_ms(-self.window_ms()));
        let from = if self.span == Span::Month { EventTime::from_ms(hour(newest)) } else { newest };
        (since, if all { since } else { from.max(since) })
    }

    /// Puts the server's newest end in place of this one's; says whether the rest is the server's too.
    pub fn take_end(&mut self, (since, from): (EventTime, EventTime), end: CurveEnd) -> bool {
        let is_whole = CurveEnd::of(&self.points, since, from).before == end.before;
        self.points.truncate(self.points.partition_point(|p| p.at < from));
        self.points.extend(end.points);
        is_whole
    }

    /// Length of the windows that the newest points stand for.
    const fn window_ms(&self) -> i64 {
        match self.span {
            Span::Day => 10_000,
            Span::Week | Span::Month => 5 * MINUTE_MS,
        }
    }
}

/// The chart of `series`, live: drawn again whenever `changed` changes.
#[component]
pub fn TemperatureChart(
    /// What it shows.
    series: StoredValue<Series>,
    /// Changes whenever `series` has.
    changed: RwSignal<u32>,
    /// The live topic that changes it.
    topic: String,
    /// Its buttons and links for files.
    stage: Stage,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().device;
    let span = series.with_value(|s| s.span);
    let (axis, body) = if cfg!(feature = "hydrate") {
        // What the server has drawn stays until the canvas takes over; these are for a view that the browser builds itself.
        (String::new(), r#"<g data-part="labels"></g><g data-part="cursor"></g>"#.to_owned())
    } else {
        series.with_value(|s| first_picture(s, lang))
    };
    let summary = move || {
        changed.track();
        let text = series.with_value(|s| labels::summary(&s.picture(), s.span, s.zone, lang));
        format!("{}. {text}", words.chart_titles[span as usize])
    };
    let key = series.with_value(|s| key(s.range, lang));
    stage.start(changed);
    view! {
        <div class="chart-box" data-live=topic>
            <svg class="chart y-axis" height=labels::HEIGHT aria-hidden="true" inner_html=axis node_ref=stage.axis></svg>
            <div class="chart-stage">
                <canvas class="chart-canvas" aria-hidden="true" hidden node_ref=stage.board.canvas></canvas>
                <svg class="chart" height=labels::HEIGHT role="img" aria-label=summary inner_html=body node_ref=stage.board.chart></svg>
                <div
                    class="chart-cursor"
                    role="slider"
                    tabindex="0"
                    aria-label=words.chart.cursor
                    aria-valuemin="0"
                    aria-valuemax="0"
                    aria-valuenow="0"
                    hidden
                    node_ref=stage.cursor
                    on:pointermove=move |event| stage.point(&event)
                    on:pointerdown=move |event| stage.point(&event)
                    on:pointerleave=move |event| stage.unpoint(&event)
                    on:focus=move |_| stage.enter()
                    on:blur=move |_| stage.leave()
                    on:keydown=move |event| stage.key(&event)
                ></div>
            </div>
        </div>
        <ul class="key" inner_html=key></ul>
    }
}

/// The temperature axis and the chart as the server draws them.
pub fn first_picture(series: &Series, lang: Lang) -> (String, String) {
    let picture = series.picture();
    let mut body = format!(r#"<svg y="{}" width="100%" height="{}" data-part="plot">"#, labels::TOP, labels::PLOT);
    body += &plot(&picture, labels::PLOT, Paint::Classes);
    body.push_str(r#"</svg><g data-part="labels">"#);
    body += &labels::markup(&labels::marks(&picture, series.span, series.zone, lang));
    body.push_str(r#"</g><g data-part="cursor"></g>"#);
    (labels::degrees_markup(&picture, lang), body)
}

/// What the strokes mean.
fn key(range: Range, lang: Lang) -> String {
    let words = &lang.words().device.chart;
    let mut out = String::new();
    let range_text = labels::range_text(lang, range);
    let _ = write!(
        out,
        r#"<li><svg viewBox="0 0 20 12" width="20" height="12" aria-hidden="true"><rect class="band" width="20" height="12"/></svg>{}</li>"#,
        (words.key_range)(&range_text)
    );
    for (class, text) in [
        ("series", words.key_fine),
        ("series series--warm", words.key_warm),
        ("series series--hot", words.key_hot),
        ("series series--freeze", words.key_cold),
    ] {
        let _ = write!(
            out,
            r#"<li><svg viewBox="0 0 20 12" width="20" height="12" aria-hidden="true"><path class="{class}" d="M0 6h20"/></svg>{text}</li>"#
        );
    }
    let _ = write!(
        out,
        r#"<li><svg viewBox="0 0 20 12" width="20" height="12" aria-hidden="true"><rect class="gap" width="20" height="12"/></svg>{}</li>"#,
        words.key_gap
    );
    out
}

/// How far outside the range a temperature may be said to lie: the limit it has crossed, as people read it.
pub fn crossed_limit(range: Range, temperature: domain::milli::Milli, lang: Lang) -> String {
    whole_celsius(lang, if temperature > range.max { range.max } else { range.min })
}

/// Height of the little curve of a unit, in pixels.
pub const SPARK: u32 = 28;

/// The curve of the last 24 hours, small: what stands inside `<svg class="spark">`.
///
/// Its frame is fixed (the range and half of it on both sides, wider only where the data need it), so that units compare.
pub fn spark(points: &[Point], range: Range, interval_ms: i64, end: EventTime, zone: Zone) -> String {
    let picture = Picture::new(points, range, interval_ms, Span::Day, end, zone);
    let half = (range.max.0 - range.min.0) / 2;
    let low = (range.min.0 - half).min(picture.lowest.map_or(i32::MAX, |p| p.temperature.0));
    let high = (range.max.0 + half).max(picture.highest.map_or(i32::MIN, |p| p.temperature.0));
    // A pixel is left over and under it for the stroke.
    let margin = 1.0 / f64::from(SPARK);
    let y = |milli: i32| f64::from(high - milli) / f64::from(high - low) * (1.0 - 2.0 * margin) + margin;
    let places = |line: &Line| line.points.iter().map(|point| (picture.x(point.at), y(point.temperature.0))).collect();
    Sketch {
        band: Some([(0.0, y(range.max.0)), (1.0, y(range.min.0))]),
        strokes: picture.lines.iter().map(|line| (Some(line.level), places(line))).collect(),
        ..Sketch::default()
    }
    .plot(SPARK, Paint::Classes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::event::DeviceStatus;
    use domain::milli::Milli;
    use domain::time::{DAY_MS, MINUTE_MS};

    fn series(span: Span) -> Series {
        Series {
            id: "P321705-1-F1".into(),
            points: (0..288).map(|i| Point { at: EventTime::from_ms(i * 5 * MINUTE_MS), temperature: Milli(5_000) }).collect(),
            range: Range::FRIDGE,
            interval_ms: 5 * MINUTE_MS,
            span,
            zone: Zone::Wib,
            end: EventTime::from_ms(DAY_MS),
            out_since: None,
        }
    }

    fn reading(minute: i64, milli: i32) -> Reading {
        Reading {
            at: EventTime::from_ms(minute * MINUTE_MS + 3_000),
            temperature: Milli(milli),
            humidity: None,
            battery: None,
            status: DeviceStatus::Ok,
        }
    }

    #[test]
    fn the_newest_reading_is_taken_in_once_and_old_ones_leave() {
        let mut series = series(Span::Day);
        assert!(series.push(&reading(1_445, 6_000)));
        assert!(!series.push(&reading(1_445, 6_000)), "the same again changes nothing");
        assert!(!series.push(&reading(1_430, 9_000)), "an older one is not drawn");
        assert_eq!(series.points.len(), 287, "the reading of minute 0 and that of minute 5 have left");
        assert_eq!(series.points.last().map(|p| p.at.ms()), Some(1_445 * MINUTE_MS));
    }

    #[test]
    fn the_end_of_the_curve_becomes_the_servers() {
        let mut series = series(Span::Day);
        let at = |minute: i64, milli| Point { at: EventTime::from_ms(minute * MINUTE_MS), temperature: Milli(milli) };
        assert!(series.push(&reading(1_445, 6_000)) && series.push(&reading(1_445, 7_000)), "the stream shows the newest");
        let mut truth = series.points.clone();
        truth.pop();
        truth.push(at(1_445, 6_500));
        let asked = series.end_to_ask(false);
        assert!(series.take_end(asked, CurveEnd::of(&truth, asked.0, asked.1)));
        assert_eq!(series.points, truth, "the window's average");
        // A record of yesterday that came late.
        truth.insert(100, at(truth[100].at.ms() / MINUTE_MS - 1, 9_000));
        let asked = series.end_to_ask(false);
        assert!(!series.take_end(asked, CurveEnd::of(&truth, asked.0, asked.1)), "something older is missing");
        let asked = series.end_to_ask(true);
        assert!(series.take_end(asked, CurveEnd::of(&truth, asked.0, asked.1)));
        assert_eq!(series.points, truth);
    }

    #[test]
    fn the_first_picture_holds_plot_and_labels_and_no_inline_style() {
        let (axis, body) = first_picture(&series(Span::Day), Lang::Id);
        assert!(axis.contains("°C") && axis.contains(">8<"), "{axis}");
        assert!(body.contains("data-part=\"plot\"") && body.contains("class=\"dot-now dot-now--ok\""), "{body}");
        assert!(!body.contains("style=") && !body.contains("rgb"), "{body}");
    }

    #[test]
    fn a_spark_is_small_and_split_at_gaps_and_limits() {
        let at = |minute: i64, milli| Point { at: EventTime::from_ms(minute * MINUTE_MS), temperature: Milli(milli) };
        let svg = spark(
            &[at(0, 5_000), at(15, 5_100), at(700, 7_000), at(710, 9_000)],
            Range::FRIDGE,
            5 * MINUTE_MS,
            EventTime::from_ms(DAY_MS),
            Zone::Wib,
        );
        assert_eq!(svg.matches("<path class=\"series\"").count(), 2, "{svg}");
        assert_eq!(svg.matches("series--warm").count(), 1, "{svg}");
        assert!(svg.starts_with(r#"<rect class="band" width="100%" y="7.5" height="13"/>"#), "{svg}");
    }
}
