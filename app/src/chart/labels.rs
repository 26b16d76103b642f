//! The second layer of a chart: what is written on it, as data at percentages of the width and pixels of the height, and its
//! three forms: markup for pages, markup with colours for files, and (in `canvas`) text on a canvas for PNG.

use super::picture::{Level, Picture, Side};
use super::standalone::escaped;
use super::svg::trimmed;
use super::{Ink, Inks};
use crate::api::Span;
use crate::format;
use crate::words::Lang;
use domain::coldchain::Range;
use domain::milli::Milli;
use domain::time::{DAY_MS, MINUTE_MS, Zone};
use std::fmt::Write;

/// Room over the plot, for brackets and their labels, in pixels.
pub const TOP: f64 = 24.0;
/// Height of the plot.
pub const PLOT: u32 = 280;
/// Height of the whole chart: room, plot, time axis.
pub const HEIGHT: u32 = 326;

/// Which end of a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// What a label is, and so how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A mark of an axis.
    Tick,
    /// The right end of the time axis.
    Value,
    /// A figure on a small chart.
    Figure,
    /// A limit.
    Threshold,
    /// The freezing point, a gap.
    Note,
    /// An excursion above the range that lasts.
    Over,
    /// One that is past.
    Past,
    /// One below the range.
    Under,
}

/// Something of the second layer. `x` in percent of the width, `y` in pixels from the top of the chart.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A text.
    Text {
        /// Place in percent.
        x: f64,
        /// Pixels to the right of it.
        dx: f64,
        /// Base line.
        y: f64,
        /// Which end stands there.
        anchor: Anchor,
        /// What it is.
        kind: Kind,
        /// What it says.
        text: String,
        /// What it says in addition where there is room.
        more: String,
        /// Whether it is shown only where there is room.
        wide: bool,
    },
    /// The bar over an excursion.
    Bar {
        /// Left end, percent.
        from: f64,
        /// Right end, percent.
        to: f64,
        /// Height.
        y: f64,
        /// What it is.
        kind: Kind,
    },
    /// The newest reading.
    Dot {
        /// Place, percent.
        x: f64,
        /// Height.
        y: f64,
        /// How it is drawn.
        level: Level,
    },
}

impl Mark {
    /// A text of which all is shown at every width.
    pub const fn text(x: f64, y: f64, anchor: Anchor, kind: Kind, text: String) -> Self {
        Self::Text { x, dx: 0.0, y, anchor, kind, text, more: String::new(), wide: false }
    }
}

/// The marks on and under the plot.
pub fn marks(picture: &Picture, span: Span, zone: Zone, lang: Lang) -> Vec<Mark> {
    let words = &lang.words().device.chart;
    let mut marks = Vec::new();
    let y = |milli: i32| TOP + picture.y(milli) * f64::from(PLOT);
    let x = |at| picture.x(at) * 100.0;
    let text = Mark::text;
    let bottom = TOP + f64::from(PLOT);

    let (min, max) = (picture.range.min, picture.range.max);
    let gap_y = f64::midpoint(y(min.0), bottom) + 4.0;
    if picture.newest.is_none() {
        marks.push(text(50.0, y(i32::midpoint(min.0, max.0)), Anchor::Middle, Kind::Value, words.nothing.to_owned()));
    } else {
        for gap in &picture.gaps {
            let (from, to) = (x(gap.from), x(gap.to));
            let length = long(lang, gap.length_ms());
            let middle = f64::midpoint(from, to);
            // At the left stand the names of the limits.
            let gap_y = if middle < 48.0 { y(i32::midpoint(min.0, max.0)) } else { gap_y };
            if to - from > 16.0 {
                let more = format!(" {length}");
                let mark = text(middle, gap_y, Anchor::Middle, Kind::Note, words.no_data.to_owned());
                marks.push(with_more(mark, more));
            } else if to - from > 4.0 {
                marks.push(wide(text(middle, gap_y, Anchor::Middle, Kind::Note, length)));
            }
        }
    }
    let at_left =
        |y, kind, text| Mark::Text { x: 0.0, dx: 4.0, y, anchor: Anchor::Start, kind, text, more: String::new(), wide: false };
    marks.push(at_left(y(max.0) - 5.0, Kind::Threshold, (words.upper)(&whole_celsius(lang, max))));
    marks.push(at_left(y(min.0) + 14.0, Kind::Threshold, (words.lower)(&whole_celsius(lang, min))));
    if picture.freezing_line {
        // Under the line; where the frame ends there, over it.
        let below = y(0) + 14.0;
        marks.push(at_left(if below > bottom - 2.0 { y(0) - 5.0 } else { below }, Kind::Under, words.freezing.to_owned()));
    }

    // The lasting excursion first, then the worst, as long as labels do not lie over each other.
    let mut by_weight: Vec<_> = picture.outside.iter().collect();
    by_weight.sort_by_key(|o| (o.until.is_some(), std::cmp::Reverse(o.milli_degree_ms)));
    let mut taken: Vec<f64> = Vec::new();
    for outside in by_weight {
        let (from, to) = (x(outside.since), outside.until.map_or(100.0, x).min(100.0));
        let middle = f64::midpoint(from, to);
        let kind = match (outside.side, outside.until) {
            (Side::Below, _) => Kind::Under,
            (Side::Above, None) => Kind::Over,
            (Side::Above, Some(_)) => Kind::Past,
        };
        if taken.len() == 5 || taken.iter().any(|other| (other - middle).abs() < 18.0) {
            continue;
        }
        let peak = y(outside.peak.temperature.0);
        let (bar_y, text_y) = match outside.side {
            Side::Above => ((peak - 10.0).max(14.0), (peak - 16.0).max(10.0)),
            Side::Below => ((peak + 10.0).min(bottom - 14.0), (peak + 23.0).min(bottom - 3.0)),
        };
        let (anchor, at, narrow) = match middle {
            m if m > 88.0 => (Anchor::End, to, false),
            m if m < 12.0 => (Anchor::Start, from.max(0.0), false),
            m => (Anchor::Middle, m, outside.until.is_some()),
        };
        taken.push(middle);
        marks.push(Mark::Bar { from: from.max(0.0), to, y: bar_y, kind });
        let peak_text = peak_text(picture.range, outside.peak.temperature, lang);
        let length = lasted(lang, outside.until.unwrap_or(picture.end).ms() - outside.since.ms());
        let mark = text(at, text_y, anchor, kind, length);
        let mark = with_more(mark, format!(" · {peak_text}"));
        // On a phone, past ones are seen but not told: the list below tells them.
        marks.push(if narrow && taken.len() > 2 { wide(mark) } else { mark });
    }

    if let Some(newest) = picture.newest {
        marks.push(Mark::Dot { x: x(newest.at), y: y(newest.temperature.0), level: picture.newest_level() });
    }
    let axis_y = f64::from(HEIGHT) - 6.0;
    for tick in &picture.ticks {
        let ms = tick.at.ms();
        let label = if tick.day { format::day(lang, ms, zone) } else { format::time(lang, ms, zone) };
        let mark = text(x(tick.at), axis_y, Anchor::Middle, Kind::Tick, label);
        marks.push(if tick.wide { wide(mark) } else { mark });
    }
    let end = match span {
        Span::Day => format::time(lang, picture.end.ms(), zone),
        Span::Week | Span::Month => format::day(lang, picture.end.ms(), zone),
    };
    marks.push(text(100.0, axis_y, Anchor::End, Kind::Value, end));
    marks
}

fn wide(mark: Mark) -> Mark {
    match mark {
        Mark::Text { x, dx, y, anchor, kind, text, more, .. } => Mark::Text { x, dx, y, anchor, kind, text, more, wide: true },
        other => other,
    }
}

fn with_more(mark: Mark, more: String) -> Mark {
    match mark {
        Mark::Text { x, dx, y, anchor, kind, text, wide, .. } => Mark::Text { x, dx, y, anchor, kind, text, more, wide },
        other => other,
    }
}

/// The peak of an excursion in words: `puncak 9,4 °C`, `terendah −0,8 °C`.
pub fn peak_text(range: Range, peak: Milli, lang: Lang) -> String {
    let words = &lang.words().device.chart;
    let value = format::celsius_of(lang, peak, range);
    match Side::of(range, peak) {
        Side::Above => (words.peak)(&value),
        Side::Below => (words.lowest)(&value),
    }
}

/// How long an excursion lasted: `47 mnt`, and `< 1 mnt` rather than none.
pub fn lasted(lang: Lang, ms: i64) -> String {
    if ms < MINUTE_MS { format!("<{}1{0}{}", format::NBSP, lang.words().units.minutes) } else { format::length(lang, ms) }
}

/// A length of time; whole days are rounded, as 5 days and 23 hours are no 5 days.
fn long(lang: Lang, ms: i64) -> String {
    format::length(lang, if ms >= 2 * DAY_MS { ms + DAY_MS / 2 } else { ms })
}

/// A limit without decimals where it has none: `8 °C`.
pub fn whole_celsius(lang: Lang, limit: Milli) -> String {
    let places = u32::from(limit.0 % 1_000 != 0);
    format!("{}{}°C", format::decimal(lang, i64::from(limit.0), places), format::NBSP)
}

/// A range: `2–8 °C`, `−25 sampai −15 °C` reads as `−25…−15 °C`.
pub fn range_text(lang: Lang, range: Range) -> String {
    let number = |limit: Milli| format::decimal(lang, i64::from(limit.0), u32::from(limit.0 % 1_000 != 0));
    let between = if range.min.0 < 0 { "…" } else { "–" };
    format!("{}{between}{}{}°C", number(range.min), number(range.max), format::NBSP)
}

/// The numbers of the temperature axis: height in pixels and text.
pub fn degrees(picture: &Picture, lang: Lang) -> Vec<(f64, String)> {
    let whole = picture.degrees.iter().all(|milli| milli % 1_000 == 0);
    picture
        .degrees
        .iter()
        .map(|&milli| {
            (TOP + picture.y(milli) * f64::from(PLOT) + 4.0, format::decimal(lang, i64::from(milli), u32::from(!whole)))
        })
        .filter(|(y, _)| *y > 18.0)
        .collect()
}

/// The temperature axis as markup.
pub fn degrees_markup(picture: &Picture, lang: Lang) -> String {
    let mut out = String::new();
    for (y, text) in degrees(picture, lang) {
        let _ = write!(out, r#"<text x="100%" y="{}" text-anchor="end">{text}</text>"#, trimmed(y, 1));
    }
    out.push_str(r#"<text x="100%" y="10" text-anchor="end">°C</text>"#);
    out
}

const fn anchor_name(anchor: Anchor) -> Option<&'static str> {
    match anchor {
        Anchor::Start => None,
        Anchor::Middle => Some("middle"),
        Anchor::End => Some("end"),
    }
}

const fn classes(kind: Kind) -> &'static str {
    match kind {
        Kind::Tick => "",
        Kind::Value => "val",
        Kind::Figure => "val halo",
        Kind::Threshold => "threshold-label halo",
        Kind::Note => "halo",
        Kind::Over => "over-label halo",
        Kind::Past => "over-label over-label--calm halo",
        Kind::Under => "under-label halo",
    }
}

/// Marks as markup of a page.
pub fn markup(marks: &[Mark]) -> String {
    let mut out = String::new();
    for mark in marks {
        let _ = match mark {
            Mark::Text { x, dx, y, anchor, kind, text, more, wide } => {
                let class = match (classes(*kind), wide) {
                    ("", false) => String::new(),
                    ("", true) => r#" class="wide""#.to_owned(),
                    (class, false) => format!(r#" class="{class}""#),
                    (class, true) => format!(r#" class="{class} wide""#),
                };
                let dx = if *dx == 0.0 { String::new() } else { format!(r#" dx="{}""#, trimmed(*dx, 1)) };
                let anchor = anchor_name(*anchor).map_or_else(String::new, |name| format!(r#" text-anchor="{name}""#));
                let more = if more.is_empty() { String::new() } else { format!(r#"<tspan class="wide">{more}</tspan>"#) };
                let text = escaped(text);
                write!(out, r#"<text{class} x="{}%"{dx} y="{}"{anchor}>{text}{more}</text>"#, trimmed(*x, 2), trimmed(*y, 1))
            }
            Mark::Bar { from, to, y, kind } => {
                let class = match kind {
                    Kind::Under => "over-bar under-bar",
                    Kind::Past => "over-bar over-bar--calm",
                    _ => "over-bar",
                };
                let (from, to, y) = (trimmed(*from, 2), trimmed(*to, 2), trimmed(*y, 1));
                write!(out, r#"<line class="{class}" x1="{from}%" x2="{to}%" y1="{y}" y2="{y}"/>"#)
            }
            Mark::Dot { x, y, level } => {
                let class = match level {
                    Level::Fine => "dot-now dot-now--ok",
                    Level::Warm => "dot-now dot-now--warm",
                    Level::Hot => "dot-now",
                    Level::Cold => "dot-now dot-now--freeze",
                };
                write!(out, r#"<circle class="{class}" cx="{}%" cy="{}" r="4"/>"#, trimmed(*x, 2), trimmed(*y, 1))
            }
        };
    }
    out
}

/// The colour of a label.
pub const fn ink(inks: &Inks, kind: Kind) -> Ink {
    match kind {
        Kind::Tick | Kind::Note => inks.muted,
        Kind::Value | Kind::Figure | Kind::Threshold => inks.text,
        Kind::Over => inks.act,
        Kind::Past => inks.warn,
        Kind::Under => inks.freeze,
    }
}

/// The colour of a level.
pub const fn level_ink(inks: &Inks, level: Level) -> Ink {
    match level {
        Level::Fine => inks.fine,
        Level::Warm => inks.warm,
        Level::Hot => inks.hot,
        Level::Cold => inks.cold,
    }
}

/// Whether a label is written in bold.
pub const fn bold(kind: Kind) -> bool {
    !matches!(kind, Kind::Tick | Kind::Note)
}

/// What the chart says to those who do not see it.
pub fn summary(picture: &Picture, span: Span, zone: Zone, lang: Lang) -> String {
    let words = &lang.words().device;
    let length = words.span_lengths[span as usize];
    let (Some(lowest), Some(highest)) = (picture.lowest, picture.highest) else {
        return (words.chart.summary_nothing)(length);
    };
    let value = |temperature| format::celsius_of(lang, temperature, picture.range);
    let mut text = (words.chart.summary)(&value(lowest.temperature), &value(highest.temperature), length);
    if let Some(longest) = picture.gaps.iter().map(|gap| gap.length_ms()).max() {
        text.push(' ');
        text += &(words.chart.summary_gaps)(&format::int(lang, picture.gaps.len() as u64), &long(lang, longest));
    }
    let past: Vec<_> = picture.outside.iter().filter(|o| o.until.is_some()).collect();
    if let Some(worst) = past.iter().max_by_key(|o| picture.range.distance(o.peak.temperature)) {
        text.push(' ');
        text += &(words.chart.summary_out)(&format::int(lang, past.len() as u64), &value(worst.peak.temperature));
    }
    if let Some(open) = picture.open() {
        text.push(' ');
        let since = format::moment(lang, open.since.ms(), zone, picture.end.ms());
        text += &(words.chart.summary_open)(&since, &peak_text(picture.range, open.peak.temperature, lang));
    } else if past.is_empty() {
        text.push(' ');
        text += words.chart.summary_calm;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::coldchain::Range;

    fn texts(picture: &Picture, lang: Lang) -> Vec<String> {
        marks(picture, Span::Day, Zone::Wib, lang)
            .into_iter()
            .filter_map(|mark| match mark {
                Mark::Text { text, more, .. } => Some(format!("{text}{more}")),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn limits_gaps_excursions_and_times_are_told() {
        let picture =
            Picture::of_minutes(&[(10, 5_000), (700, 5_000), (710, 9_400), (720, 5_000), (1_420, 8_500), (1_435, 9_000)]);
        let texts = texts(&picture, Lang::Id);
        for expected in [
            "8\u{a0}°C batas atas",
            "2\u{a0}°C batas bawah",
            "tanpa data 11\u{a0}j\u{a0}30\u{a0}m",
            "10\u{a0}mnt · puncak 9,4\u{a0}°C",
            "20\u{a0}mnt · puncak 9,0\u{a0}°C",
            "07.00",
            "2 Jan",
        ] {
            assert!(texts.iter().any(|text| text == expected), "{expected} in {texts:?}");
        }
    }

    #[test]
    fn an_empty_chart_says_so() {
        let picture = Picture::of_minutes(&[]);
        assert!(texts(&picture, Lang::En).contains(&"No readings".to_owned()));
        assert_eq!(summary(&picture, Span::Day, Zone::Wib, Lang::En), "No reading in 24 hours.");
    }

    #[test]
    fn the_summary_tells_what_the_picture_shows() {
        let picture = Picture::of_minutes(&[(10, 5_000), (15, 9_000), (20, 5_000), (1_430, -800)]);
        assert_eq!(
            summary(&picture, Span::Day, Zone::Wib, Lang::En),
            "Between −0.8\u{a0}°C and 9.0\u{a0}°C in 24 hours. Gaps without data: 1, the longest 23\u{a0}h\u{a0}30\u{a0}m. \
             Excursions since recovered: 1, farthest 9.0\u{a0}°C. Out of range since 06:50\u{a0}WIB, lowest −0.8\u{a0}°C."
        );
    }

    #[test]
    fn short_excursions_lasted() {
        assert_eq!(lasted(Lang::Id, 10_000), "<\u{a0}1\u{a0}mnt");
        assert_eq!(lasted(Lang::En, 120_000), "2\u{a0}min");
    }

    #[test]
    fn ranges() {
        assert_eq!(range_text(Lang::Id, Range::FRIDGE), "2–8\u{a0}°C");
        assert_eq!(range_text(Lang::Id, Range::FREEZER), "−25…−15\u{a0}°C");
    }
}
