//! Small charts of counts: what they show, and the panel around them. They are drawn in [`crate::chart`], as temperature curves are.

use crate::chart::canvas::Board;
use crate::chart::labels::{Anchor, Kind, Mark};
use crate::chart::picture::Level;
use crate::chart::sketch::{Bar, Sketch};
use crate::chart::svg::Paint;
use crate::components::files::{ChartFiles, Files};
use crate::components::icon::Icon;
use crate::components::settled::Erase;
use crate::format;
use crate::words::{Lang, use_lang};
use domain::feed::{HISTOGRAM_COLUMNS, HourCounts};
use domain::time::{HOUR_MS, MINUTE_MS, Zone};
use leptos::prelude::*;

/// Height of the plot in pixels; the axis and its labels take 22 more.
pub const PLOT: f64 = 190.0;
/// Height of a chart.
pub const HEIGHT: u32 = 212;
/// Base line of what is written under the plot.
const AXIS_Y: f64 = 205.0;
/// Room at the left for the labels of the grid, in percent of the width.
const LEFT: f64 = 8.0;

/// Fridges below, in and above 2–8 °C, from a histogram ([`HISTOGRAM_COLUMNS`]).
pub fn below_in_above(histogram: &[u32]) -> [u32; 3] {
    let sum = |from: usize, to: usize| histogram.get(from..to.min(histogram.len())).map_or(0, |part| part.iter().sum());
    [sum(0, 9), sum(9, 21), sum(21, HISTOGRAM_COLUMNS)]
}

/// Fridges by temperature: columns of half a degree on the shaded range.
pub fn histogram(lang: Lang, columns: &[u32]) -> Sketch {
    let [below, _, above] = below_in_above(columns);
    let most = columns.iter().copied().max().unwrap_or(0).max(1);
    let at = |column: f64| column / HISTOGRAM_COLUMNS as f64;
    let bar = |(column, count): (usize, &u32)| {
        let level = match column {
            0..9 => Level::Cold,
            9..21 => Level::Fine,
            21..25 => Level::Warm,
            _ => Level::Hot,
        };
        let height = (f64::from(*count) / f64::from(most) * (PLOT - 18.0)).max(2.0);
        (Bar::Level(level), [at(column as f64) + 0.002, at(column as f64 + 1.0) - 0.002, top_of(height)])
    };
    let mut marks = Vec::new();
    for (column, degree) in [(1.0, -2i64), (9.0, 2), (21.0, 8)] {
        let text = format::decimal(lang, degree * 1_000, 0);
        marks.push(Mark::text(at(column) * 100.0, AXIS_Y, Anchor::Middle, Kind::Tick, text));
    }
    marks.push(Mark::text(100.0, AXIS_Y, Anchor::End, Kind::Tick, format!("12{}°C", format::NBSP)));
    for (column, count) in [(4.5, below), (25.5, above)] {
        let y = PLOT - 14.0 - tallest(columns, column, most);
        marks.push(Mark::text(at(column) * 100.0, y, Anchor::Middle, Kind::Figure, format::int(lang, count)));
    }
    Sketch {
        band: Some([(at(9.0), 0.0), (at(21.0), 1.0)]),
        bars: columns.iter().enumerate().filter(|(_, count)| **count > 0).map(bar).collect(),
        has_axis: true,
        marks,
        ..Sketch::default()
    }
}

/// Where something of a height in pixels begins, in parts of the plot from above.
fn top_of(height: f64) -> f64 {
    1.0 - height / PLOT
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

impl Sketch {
    /// Lines of a grid up to `most`, which is `height` pixels high, with what they stand for.
    fn ruled(most: f64, height: &dyn Fn(f64) -> f64, name: &dyn Fn(f64) -> String) -> Self {
        let values = grid(most);
        let mark = |value: &f64| Mark::text(0.0, PLOT - height(*value) - 3.0, Anchor::Start, Kind::Note, name(*value));
        let marks = values.iter().map(mark).collect();
        Self { grid: values.iter().map(|value| top_of(height(*value))).collect(), has_axis: true, marks, ..Self::default() }
    }

    /// Names what stands at places of the axis, in percent.
    fn name_axis(&mut self, names: [(f64, Anchor, String); 3]) {
        self.marks.extend(names.map(|(x, anchor, name)| Mark::text(x, AXIS_Y, anchor, Kind::Tick, name)));
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
pub fn hours(lang: Lang, hours: &[HourCounts], zone: Zone) -> Sketch {
    let Some(last) = hours.last() else { return Sketch::default() };
    let out = |start| hours.iter().find(|hour| hour.hour == start).map(|hour| f64::from(windows_out(hour)));
    day(lang, last.hour, zone, 3.0, &out, &|value| format::int(lang, value as u64))
}

/// A bar for each of the 24 hours up to `last` by what is known of it, hatched where nothing is; at least `room` fits in.
pub fn day(
    lang: Lang,
    last: i64,
    zone: Zone,
    room: f64,
    value_of: &dyn Fn(i64) -> Option<f64>,
    name: &dyn Fn(f64) -> String,
) -> Sketch {
    let values = (0..24u8).map(|slot| value_of(last - i64::from(23 - slot) * HOUR_MS)).collect::<Vec<_>>();
    let most = values.iter().flatten().copied().fold(room, f64::max);
    let height = |value: f64| value / most * (PLOT - 14.0);
    let width = (100.0 - LEFT) / 24.0;
    let x = |slot: usize| LEFT + width * slot as f64;
    let mut sketch = Sketch::ruled(most, &height, name);
    for (slot, value) in values.into_iter().enumerate() {
        let (from, to) = ((x(slot) + 0.4) / 100.0, (x(slot + 1) - 0.4) / 100.0);
        match value {
            None => sketch.gaps.push([from, to]),
            Some(value) if value > 0.0 => {
                let bar = if slot == 23 { Bar::Last } else { Bar::Plain };
                sketch.bars.push((bar, [from, to, top_of(height(value).max(2.0))]));
            }
            Some(_) => {}
        }
    }
    sketch.name_axis([
        (LEFT, Anchor::Start, format::time(lang, last - 23 * HOUR_MS, zone)),
        (x(12), Anchor::Middle, format::time(lang, last - 11 * HOUR_MS, zone)),
        (100.0, Anchor::End, lang.words().general.now.to_owned()),
    ]);
    sketch
}

/// One value a minute, the last one now; where nothing is known the line breaks off.
pub fn minutes(lang: Lang, values: &[Option<f32>], now: i64, zone: Zone) -> Sketch {
    let highest = values.iter().flatten().copied().fold(0.0, f32::max);
    // A burst far beyond the rest (the past sent at once) is cut off and named, so that the rest can still be read.
    let usual = values.iter().rev().take(3).flatten().copied().filter(|value| *value < highest).fold(0.0, f32::max);
    let is_cut = highest > usual * 8.0 && usual > 0.0;
    let most = f64::from(if is_cut { usual * 2.0 } else { highest }).max(3.0) * 1.08;
    let height = |value: f64| (value / most).min(1.0) * (PLOT - 6.0);
    let mut sketch = Sketch::ruled(most, &height, &|value| format::int(lang, value as u64));
    let last = values.len().saturating_sub(1);
    let x = |minute: usize| minute as f64 / last.max(1) as f64;
    let place = |(minute, value): (usize, &Option<f32>)| value.map(|value| (x(minute), top_of(height(f64::from(value)))));
    sketch.line(values.iter().enumerate().map(place));
    if let Some(minute) = values.iter().position(|value| value.is_some_and(|value| value >= highest)).filter(|_| is_cut) {
        let (anchor, dx) = if x(minute) > 0.5 { (Anchor::End, -6.0) } else { (Anchor::Start, 6.0) };
        let text = format!("↑ {}", format::int(lang, highest as u64));
        let (x, y) = (x(minute) * 100.0, 12.0);
        sketch.marks.push(Mark::Text { x, dx, y, anchor, kind: Kind::Figure, text, more: String::new(), wide: false });
    }
    let minutes = last as i64;
    sketch.name_axis([
        (0.0, Anchor::Start, format::time(lang, now - minutes * MINUTE_MS, zone)),
        (50.0, Anchor::Middle, format::time(lang, now - minutes * MINUTE_MS / 2, zone)),
        (100.0, Anchor::End, lang.words().general.now.to_owned()),
    ]);
    sketch
}

/// Records per second, one value a minute, the last one now.
pub fn rate_sketch(lang: Lang, values: &[f32], now: i64, zone: Zone) -> Sketch {
    let values: Vec<Option<f32>> = values.iter().copied().map(Some).collect();
    minutes(lang, &values, now, zone)
}

/// Height of a small line in a table, in pixels.
pub const LINE: u32 = 20;

/// A small line of shares in thousandths between `lowest` and 1000, oldest first; gaps stay gaps.
pub fn spark(shares: &[Option<u16>], lowest: u16) -> String {
    let span = f64::from(1_000u16.saturating_sub(lowest).max(10));
    let last = (shares.len().max(2) - 1) as f64;
    let y = |share: u16| 0.1 + f64::from(1_000u16.saturating_sub(share)) / span * 0.8;
    let mut sketch = Sketch::default();
    sketch.line(shares.iter().enumerate().map(|(hour, share)| share.map(|share| (hour as f64 / last, y(share)))));
    sketch.plot(LINE, Paint::Classes)
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
    picture: Signal<Sketch>,
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
    /// Where its files are,
    files: String,
    /// and what their names begin with.
    name: String,
    /// The live topic that changes it.
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().general;
    let last = move || rows.with(|rows| rows.len().saturating_sub(1));
    let board = Board::new(PLOT as u32);
    board.start_sketch(picture);
    let empty = Memo::new(move |_| rows.with(Vec::is_empty));
    let body = move || {
        if empty.get() {
            view! {
                <div class="empty">
                    <Icon name="clock"/>
                    <h3>{none}</h3>
                </div>
            }
            .erased()
        } else {
            // What the server has drawn stays until the canvas takes over.
            let first = if cfg!(feature = "hydrate") {
                r#"<g data-part="labels"></g>"#.to_owned()
            } else {
                picture.with(|picture| picture.markup(PLOT as u32))
            };
            view! {
                <div class="chart-stage">
                    <canvas class="chart-canvas chart-canvas--small" aria-hidden="true" hidden node_ref=board.canvas></canvas>
                    <svg class="chart" height=HEIGHT role="img" aria-label=move || summary.get() inner_html=first node_ref=board.chart></svg>
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
        let file = |form| format!("{files}/{id}.{form}?lang={}", lang.code());
        ChartFiles { svg: file("svg"), csv: file("csv"), name: format!("{name}-{id}") }
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
            picture=Signal::derive(move || rate.with(|values| rate_sketch(lang, values, minute.get(), zone)))
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
            files="/regions/ID/charts".to_owned()
            name="ID".to_owned()
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
        assert_eq!(spark(&[Some(1_000), Some(900), None, Some(950)], 900).matches("class=\"series").count(), 2);
        assert_eq!(spark(&[None, None], 900), "");
    }
}
