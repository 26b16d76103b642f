//! Bars and small lines as markup: the same text from the server and in the browser, set as `inner_html`.
//!
//! Temperature curves are drawn in [`crate::chart`], not here. Positions across are percentages and heights are pixels, so one
//! drawing fits every width and text never shrinks.

use crate::components::files::{ChartFiles, Files};
use crate::components::icon::Icon;
use crate::components::settled::Erase;
use crate::format;
use crate::words::{Lang, use_lang};
use domain::feed::{HISTOGRAM_COLUMNS, HourCounts};
use domain::time::{HOUR_MS, MINUTE_MS, Zone};
use leptos::prelude::*;
use std::fmt::Write;

/// Height of the plot in pixels; the axis and its labels take 22 more.
pub const PLOT: f64 = 190.0;
/// Height of a chart.
pub const HEIGHT: u32 = 212;
/// Room at the left for the labels of the grid, in percent of the width.
const LEFT: f64 = 8.0;

/// Fridges below, in and above 2–8 °C, from a histogram ([`HISTOGRAM_COLUMNS`]).
pub fn below_in_above(histogram: &[u32]) -> [u32; 3] {
    let sum = |from: usize, to: usize| histogram.get(from..to.min(histogram.len())).map_or(0, |part| part.iter().sum());
    [sum(0, 9), sum(9, 21), sum(21, HISTOGRAM_COLUMNS)]
}

/// Fridges by temperature: columns of half a degree on the shaded range.
pub fn histogram(lang: Lang, columns: &[u32]) -> String {
    let [below, _, above] = below_in_above(columns);
    let most = columns.iter().copied().max().unwrap_or(0).max(1);
    let width = 100.0 / HISTOGRAM_COLUMNS as f64;
    let at = |column: f64| column * width;
    let mut out = String::with_capacity(3_000);
    let _ = write!(out, r#"<rect class="band" x="{:.2}%" width="{:.2}%" y="0" height="{PLOT}"/>"#, at(9.0), at(12.0));
    for (column, count) in columns.iter().enumerate().filter(|(_, count)| **count > 0) {
        let class = match column {
            0..9 => "f-freeze",
            9..21 => "f-ok",
            21..25 => "f-warm",
            _ => "f-hot",
        };
        let height = (f64::from(*count) / f64::from(most) * (PLOT - 18.0)).round().max(2.0);
        let _ = write!(
            out,
            r#"<rect class="{class}" x="{:.2}%" width="{:.2}%" y="{}" height="{height}"/>"#,
            at(column as f64) + 0.2,
            width - 0.4,
            PLOT - height
        );
    }
    let _ = write!(out, r#"<line class="axis" x1="0" x2="100%" y1="{PLOT}" y2="{PLOT}"/>"#);
    for (column, degree) in [(1.0, -2i64), (9.0, 2), (21.0, 8)] {
        let _ = write!(
            out,
            r#"<text x="{:.2}%" y="205" text-anchor="middle">{}</text>"#,
            at(column),
            format::decimal(lang, degree * 1_000, 0)
        );
    }
    let _ = write!(out, r#"<text x="100%" y="205" text-anchor="end">12{}°C</text>"#, format::NBSP);
    for (column, count) in [(4.5, below), (25.5, above)] {
        let _ = write!(
            out,
            r#"<text class="val halo" x="{:.2}%" y="{}" text-anchor="middle">{}</text>"#,
            at(column),
            PLOT - 14.0 - tallest(columns, column, most),
            format::int(lang, count)
        );
    }
    out
}

/// The tallest bar around a label's place, so that the label stands above it.
fn tallest(columns: &[u32], column: f64, most: u32) -> f64 {
    let around = (column as usize).saturating_sub(3)..(column as usize + 4).min(columns.len());
    let tallest = columns.get(around).and_then(|part| part.iter().max()).copied().unwrap_or(0);
    (f64::from(tallest) / f64::from(most) * (PLOT - 18.0)).min(PLOT - 30.0)
}

/// The name of a histogram column: `< −2`, `2–2,5`, `≥ 12`.
pub fn column_name(lang: Lang, column: usize) -> String {
    let edge = |half: i64| format::decimal(lang, half * 500, 1);
    match column {
        0 => format!("< {}", edge(-4)),
        c if c + 1 == HISTOGRAM_COLUMNS => format!("≥ {}", edge(24)),
        c => format!("{} – {}", edge(c as i64 - 5), edge(c as i64 - 4)),
    }
}

/// One to three round values between 0 and `top` for the lines of a grid.
fn grid(top: f64) -> Vec<f64> {
    let step = [1.0, 2.0, 5.0]
        .into_iter()
        .flat_map(|unit| (0..8).map(move |power| unit * 10f64.powi(power)))
        .filter(|step| top / step <= 3.0)
        .fold(f64::MAX, f64::min);
    (1u8..=3).map(|n| f64::from(n) * step).filter(|value| *value <= top).collect()
}

fn grid_markup(out: &mut String, lang: Lang, top: f64, height: impl Fn(f64) -> f64) {
    for value in grid(top) {
        let y = PLOT - height(value);
        let _ = write!(
            out,
            r#"<line class="grid-line" x1="0" x2="100%" y1="{y:.1}" y2="{y:.1}"/><text class="halo" x="0" y="{:.1}">{}</text>"#,
            y - 3.0,
            format::int(lang, value as u64)
        );
    }
}

/// Windows of an hour with a reading outside the range.
pub const fn windows_out(hour: &HourCounts) -> u32 {
    hour.low + hour.high
}

/// The table of [`hours`]: each of the 24, oldest first; of an hour without any window nothing is known.
pub fn hour_rows(lang: Lang, hours: &[HourCounts], zone: Zone) -> Vec<[String; 2]> {
    let Some(last) = hours.last() else { return Vec::new() };
    let row = |slot: i64| {
        let start = last.hour - (23 - slot) * HOUR_MS;
        let out = hours.iter().find(|hour| hour.hour == start).map(|hour| format::int(lang, windows_out(hour)));
        [format::clock(lang, start, zone), out.unwrap_or_else(|| lang.words().general.none.to_owned())]
    };
    (0..24).map(row).collect()
}

/// A bar for each of the 24 hours that end with `hours`' newest; an hour without any window is hatched.
pub fn hours(lang: Lang, hours: &[HourCounts], zone: Zone) -> String {
    let Some(last) = hours.last() else { return String::new() };
    let most = f64::from(hours.iter().map(windows_out).max().unwrap_or(0).max(3));
    let height = |value: f64| value / most * (PLOT - 14.0);
    let width = (100.0 - LEFT) / 24.0;
    let x = |slot: i64| LEFT + width * slot as f64;
    let mut out = String::with_capacity(3_000);
    let mut bars = String::with_capacity(2_000);
    for slot in 0..24 {
        let start = last.hour - (23 - slot) * HOUR_MS;
        let (left, w) = (x(slot) + 0.4, width - 0.8);
        match hours.iter().find(|hour| hour.hour == start) {
            None => {
                let _ = write!(bars, r#"<rect class="gap" x="{left:.2}%" width="{w:.2}%" y="0" height="{PLOT}"/>"#);
            }
            Some(hour) if windows_out(hour) > 0 => {
                let class = if slot == 23 { "bar-fill--last" } else { "bar-fill" };
                let h = height(f64::from(windows_out(hour))).round().max(2.0);
                let _ = write!(bars, r#"<rect class="{class}" x="{left:.2}%" width="{w:.2}%" y="{}" height="{h}"/>"#, PLOT - h);
            }
            Some(_) => {}
        }
    }
    grid_markup(&mut out, lang, most, height);
    out.push_str(&bars);
    let _ = write!(
        out,
        r#"<line class="axis" x1="0" x2="100%" y1="{PLOT}" y2="{PLOT}"/><text x="{LEFT}%" y="205">{}</text><text x="{:.1}%" y="205" text-anchor="middle">{}</text><text x="100%" y="205" text-anchor="end">{}</text>"#,
        format::time(lang, last.hour - 23 * HOUR_MS, zone),
        x(12),
        format::time(lang, last.hour - 11 * HOUR_MS, zone),
        lang.words().general.now
    );
    // The grid's numbers once more over the bars: their halo keeps them readable.
    for value in grid(most) {
        let _ = write!(
            out,
            r#"<text class="halo" x="0" y="{:.1}">{}</text>"#,
            PLOT - height(value) - 3.0,
            format::int(lang, value as u64)
        );
    }
    out
}

/// Records per second, one value a minute, the last one now.
pub fn rate(lang: Lang, values: &[f32], now: i64, zone: Zone) -> String {
    let highest = values.iter().copied().fold(0.0, f32::max);
    // A burst far beyond the rest (the past sent at once) is cut off and named, so that the rest can still be read.
    let usual = values.iter().rev().take(3).copied().filter(|value| *value < highest).fold(0.0, f32::max);
    let cut = highest > usual * 8.0 && usual > 0.0;
    let most = f64::from(if cut { usual * 2.0 } else { highest }).max(3.0) * 1.08;
    let height = |value: f64| (value / most).min(1.0) * (PLOT - 6.0);
    let mut out = String::with_capacity(1_500);
    grid_markup(&mut out, lang, most, height);
    let last = values.len().saturating_sub(1);
    let _ = write!(
        out,
        r#"<svg class="plot" width="100%" height="{PLOT}" viewBox="0 0 {} {PLOT}" preserveAspectRatio="none"><polyline class="series series--plain" points=""#,
        last.max(1) * 10
    );
    for (minute, value) in values.iter().enumerate() {
        let _ = write!(out, "{}{},{:.1}", if minute > 0 { " " } else { "" }, minute * 10, PLOT - height(f64::from(*value)));
    }
    let minutes = last as i64;
    let peak = values.iter().position(|value| *value >= highest).filter(|_| cut);
    let _ = write!(
        out,
        r#""/></svg>{}<line class="axis" x1="0" x2="100%" y1="{PLOT}" y2="{PLOT}"/><text x="0" y="205">{}</text><text x="50%" y="205" text-anchor="middle">{}</text><text x="100%" y="205" text-anchor="end">{}</text>"#,
        peak.map(|minute| {
            let x = minute as f64 / last.max(1) as f64 * 100.0;
            let anchor = if x > 50.0 { "end" } else { "start" };
            let shift = if x > 50.0 { -6 } else { 6 };
            let value = format::int(lang, highest as u64);
            format!(r#"<text class="val halo" x="{x:.1}%" y="12" dx="{shift}" text-anchor="{anchor}">↑ {value}</text>"#)
        })
        .unwrap_or_default(),
        format::time(lang, now - minutes * 60_000, zone),
        format::time(lang, now - minutes * 30_000, zone),
        lang.words().general.now
    );
    out
}

/// A small line of shares in thousandths between `lowest` and 1000, oldest first; gaps stay gaps.
pub fn spark(shares: &[Option<u16>], lowest: u16) -> String {
    let span = f64::from(1_000u16.saturating_sub(lowest).max(10));
    let step = 92.0 / (shares.len().max(2) - 1) as f64;
    let y = |share: u16| 2.0 + f64::from(1_000u16.saturating_sub(share)) / span * 16.0;
    let mut out = String::new();
    let mut open = false;
    for (hour, share) in shares.iter().enumerate() {
        let Some(share) = share else {
            if open {
                out.push_str(r#""/>"#);
            }
            open = false;
            continue;
        };
        let x = hour as f64 * step;
        let lone = !open && shares.get(hour + 1).is_none_or(Option::is_none);
        out.push_str(if open { " " } else { r#"<polyline class="series series--plain" points=""# });
        let _ = write!(out, "{x:.0},{:.1}", y(*share));
        if lone {
            // A lone hour between gaps is drawn as a short dash.
            let _ = write!(out, " {:.0},{:.1}", x + 2.0, y(*share));
        }
        open = true;
    }
    if open {
        out.push_str(r#""/>"#);
    }
    out
}

/// Where the values of a chart stand across, as wide as each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// In the middle of their bars.
    Histogram,
    /// In the middle of their bars, beside the labels of the grid.
    Hours,
    /// On the points of a line, from end to end.
    Line,
}

impl Places {
    /// Its name, for the slider.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Histogram => "histogram",
            Self::Hours => "hours",
            Self::Line => "line",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Self {
        match name {
            "histogram" => Self::Histogram,
            "hours" => Self::Hours,
            _ => Self::Line,
        }
    }

    /// Whether they follow each other in time.
    pub const fn is_time(self) -> bool {
        !matches!(self, Self::Histogram)
    }

    /// Left end in percent, how far from its own left end a value stands in parts of its width, and how wide `count` of them are.
    fn frame(self, count: usize) -> (f64, f64, f64) {
        let left = if self == Self::Hours { LEFT } else { 0.0 };
        let inset = if self == Self::Line { 0.0 } else { 0.5 };
        (left, inset, (count as f64 - 1.0 + 2.0 * inset).max(1.0))
    }

    /// Where the value of that number stands, in percent of the width.
    pub fn at(self, number: usize, count: usize) -> f64 {
        let (left, inset, width) = self.frame(count);
        left + (100.0 - left) * (number as f64 + inset) / width
    }

    /// The value that is nearest to a place.
    pub fn nearest(self, percent: f64, count: usize) -> usize {
        let (left, inset, width) = self.frame(count);
        let number = (percent - left) / (100.0 - left) * width - inset;
        (number.round().max(0.0) as usize).min(count.saturating_sub(1))
    }
}

/// A panel around a chart: the answer beside the title, the picture with its summary and a cursor, what it counts, and its data as a table
/// and as files.
#[component]
pub fn ChartPanel(
    /// Id of the title.
    id: &'static str,
    /// Title.
    title: &'static str,
    /// The figure beside the title.
    #[prop(into)]
    figure: Signal<String>,
    /// What the figure is, after it.
    #[prop(default = "")]
    figure_note: &'static str,
    /// The picture, by a function of this module.
    #[prop(into)]
    picture: Signal<String>,
    /// What the picture shows, in a sentence.
    #[prop(into)]
    summary: Signal<String>,
    /// What is counted.
    #[prop(into)]
    foot: Signal<String>,
    /// Said in place of an empty picture.
    none: &'static str,
    /// Names of the table's columns.
    columns: [&'static str; 2],
    /// What the chart shows, from left to right; over time the table begins with the newest.
    #[prop(into)]
    rows: Signal<Vec<[String; 2]>>,
    /// Where these stand.
    places: Places,
    /// Code of the place, for its files.
    code: String,
    /// The live topic that changes it.
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().general;
    let last = move || rows.with(|rows| rows.len().saturating_sub(1));
    let body = move || {
        if rows.with(Vec::is_empty) {
            view! {
                <div class="empty">
                    <Icon name="clock"/>
                    <h3>{none}</h3>
                </div>
            }
            .erased()
        } else {
            view! {
                <div class="chart-stage">
                    <svg class="chart" height=HEIGHT role="img" aria-label=move || summary.get() inner_html=move || picture.get()></svg>
                    <svg class="chart chart-tip" height=HEIGHT aria-hidden="true"></svg>
                    <input
                        class="chart-range needs-script"
                        type="range"
                        name=places.name()
                        min="0"
                        max=last
                        value=last
                        autocomplete="off"
                        aria-label=lang.words().device.chart.cursor
                    />
                </div>
                <details class="data-table">
                    <summary>{words.as_table}</summary>
                    <div class="scroll" tabindex="0" role="group" aria-labelledby=id>
                        <table class="table">
                            <thead>
                                <tr>{columns.map(|name| view! { <th scope="col">{name}</th> }).collect_view()}</tr>
                            </thead>
                            <tbody>
                                {move || {
                                    let mut rows = rows.get();
                                    if places.is_time() {
                                        rows.reverse();
                                    }
                                    rows.into_iter()
                                        .map(|[name, value]| view! { <tr><th scope="row">{name}</th><td>{value}</td></tr> })
                                        .collect_view()
                                }}
                            </tbody>
                        </table>
                    </div>
                </details>
            }
            .erased()
        }
    };
    let of = move || {
        let file = |form| format!("/regions/{code}/charts/{id}.{form}?lang={}", lang.code());
        ChartFiles { svg: file("svg"), csv: file("csv"), name: format!("{code}-{id}") }
    };
    view! {
        <section class="panel" aria-labelledby=id data-live=topic>
            <div class="panel__head">
                <h2 id=id>{title}</h2>
                <span class="num"><b>{move || figure.get()}</b>{(!figure_note.is_empty()).then(|| format!(" {figure_note}"))}</span>
            </div>
            <div class="panel__body">{body}</div>
            <div class="panel__foot">
                <span>{move || foot.get()}</span>
                <span class="grow"></span>
                <Files of/>
            </div>
        </section>
    }
}

/// Records per second of the last hour.
#[component]
pub fn RatePanel(
    /// One value a minute, the last one now.
    rate: RwSignal<Vec<f32>>,
    /// Now.
    now: Signal<i64>,
    /// The zone in which it tells the time.
    zone: Zone,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().region;
    let newest = Signal::derive(move || rate.with(|rate| format::rate(lang, rate.last().copied().unwrap_or(0.0))));
    let minute = Memo::new(move |_| now.get() / MINUTE_MS * MINUTE_MS);
    view! {
        <ChartPanel
            id="rate"
            title=words.rate
            figure=newest
            picture=Signal::derive(move || rate.with(|values| self::rate(lang, values, minute.get(), zone)))
            summary=Signal::derive(move || (words.rate_label)(&newest.get()))
            foot=Signal::stored(words.rate_foot.to_owned())
            none=words.histogram_none
            columns=[words.column_minute, words.rate]
            rows=Signal::derive(move || {
                rate.with(|rate| {
                    let first = minute.get() - (rate.len() as i64 - 1) * MINUTE_MS;
                    let row = |(minutes, value): (usize, &f32)| {
                        [format::clock(lang, first + minutes as i64 * MINUTE_MS, zone), format::rate(lang, *value)]
                    };
                    rate.iter().enumerate().map(row).collect()
                })
            })
            places=Places::Line
            code="ID".to_owned()
            topic="region:ID".to_owned()
        />
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_parts_and_names() {
        let mut columns = vec![0; HISTOGRAM_COLUMNS];
        (columns[0], columns[8], columns[9], columns[20], columns[21], columns[29]) = (1, 2, 10, 20, 3, 4);
        assert_eq!(below_in_above(&columns), [3, 30, 7]);
        assert_eq!(below_in_above(&[]), [0, 0, 0]);
        assert_eq!(column_name(Lang::Id, 0), "< −2,0");
        assert_eq!(column_name(Lang::Id, 1), "−2,0 – −1,5");
        assert_eq!(column_name(Lang::Id, 9), "2,0 – 2,5");
        assert_eq!(column_name(Lang::Id, 29), "≥ 12,0");
    }

    #[test]
    fn grids_are_round_and_few() {
        assert_eq!(grid(44.0), [20.0, 40.0]);
        assert_eq!(grid(3.0), [1.0, 2.0, 3.0]);
        assert_eq!(grid(97.0), [50.0]);
    }

    #[test]
    fn every_value_is_found_where_it_stands() {
        for places in [Places::Histogram, Places::Hours, Places::Line] {
            for count in [1, 2, 24, 60] {
                assert_eq!(Places::named(places.name()), places);
                for number in 0..count {
                    let percent = places.at(number, count);
                    assert!((0.0..=100.0).contains(&percent), "{percent}");
                    assert_eq!(places.nearest(percent, count), number);
                }
                assert_eq!(places.nearest(-9.0, count), 0);
                assert_eq!(places.nearest(999.0, count), count - 1);
            }
        }
        assert!((Places::Hours.at(0, 24) - LEFT - (100.0 - LEFT) / 48.0).abs() < 1e-9);
    }

    #[test]
    fn an_hour_without_windows_is_no_zero() {
        let of = |hour: i64, high| HourCounts { hour: hour * HOUR_MS, windows: 9, high, ..HourCounts::default() };
        let rows = hour_rows(Lang::En, &[of(90, 2), of(100, 3)], Zone::Wib);
        let values: Vec<&str> = rows.iter().map(|[_, value]| value.as_str()).collect();
        assert_eq!((values.len(), values[13], values[14], values[23]), (24, "2", Lang::En.words().general.none, "3"));
    }

    #[test]
    fn sparks_leave_gaps() {
        assert_eq!(spark(&[Some(1_000), Some(900), None, Some(950)], 900).matches("<polyline").count(), 2);
        assert_eq!(spark(&[None, None], 900), "");
    }
}
