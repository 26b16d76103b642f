//! How the pipeline has done: what waited by minute, what came late by hour. As charts on its page, and as files.

use super::ZONE;
use crate::api::HourRow;
#[cfg(feature = "ssr")]
use crate::api::PipelineView;
use crate::chart::sketch::Sketch;
#[cfg(feature = "ssr")]
use crate::chart::standalone::{name_of, small_svg};
use crate::components::plain_chart::{ChartPanel, Places, day, minutes};
use crate::format;
use crate::words::{Lang, use_lang};
#[cfg(feature = "ssr")]
use domain::time::EventTime;
use domain::time::{HOUR_MS, MINUTE_MS};
use leptos::prelude::*;

/// Where the files of these charts are.
const FILES: &str = "/pipeline/charts";
/// What their names begin with.
const NAME: &str = "pipeline";

/// The share of records that came too late, in thousandths of a percent; `None` where nothing came.
fn share(row: &HourRow) -> Option<i64> {
    let whole = i128::from(row.received);
    (whole > 0).then(|| ((i128::from(row.late) * 100_000 + whole / 2) / whole) as i64)
}

/// The hour of `now`.
const fn hour_of(now: i64) -> i64 {
    now - now.rem_euclid(HOUR_MS)
}

/// Shares by hour.
fn late_sketch(lang: Lang, hours: &[HourRow], now: i64) -> Sketch {
    let value = |start| hours.iter().find(|row| row.start == start).and_then(share).map(|share| share as f64 / 1_000.0);
    day(lang, hour_of(now), ZONE, 1.0, &value, &|percent| format!("{}{}%", format::int(lang, percent as u64), format::NBSP))
}

fn lag_sketch(lang: Lang, lags: &[Option<u64>], now: i64) -> Sketch {
    let values: Vec<Option<f32>> = lags.iter().map(|lag| lag.map(|lag| lag as f32)).collect();
    minutes(lang, &values, now, ZONE)
}

/// A chart of the page.
#[cfg(feature = "ssr")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrendChart {
    /// What waited, by minute.
    Lag,
    /// What came late, by hour.
    Late,
}

#[cfg(feature = "ssr")]
impl TrendChart {
    /// By the name in its address.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "lag" => Some(Self::Lag),
            "late" => Some(Self::Late),
            _ => None,
        }
    }

    /// What its file is called, without its ending.
    pub fn file_name(self, view: &PipelineView) -> String {
        name_of(NAME, if self == Self::Lag { "lag" } else { "late" }, view.taken_at.ms(), ZONE)
    }

    /// The chart as an SVG file.
    pub fn svg(self, view: &PipelineView, lang: Lang) -> String {
        let (words, now) = (&lang.words().pipeline, view.taken_at.ms());
        let (title, picture) = match self {
            Self::Lag => (words.lag, lag_sketch(lang, &view.lag, now)),
            Self::Late => (words.late_by_hour, late_sketch(lang, &view.hours, now)),
        };
        small_svg(title, &format::date_time(lang, now, ZONE), &picture)
    }

    /// What the chart shows as a CSV file.
    pub fn csv(self, view: &PipelineView) -> String {
        let row = |at: i64, rest: String| format!("{},{rest}\r\n", EventTime::from_ms(at));
        match self {
            Self::Lag => {
                let first = view.taken_at.ms().div_euclid(MINUTE_MS) + 1 - view.lag.len() as i64;
                let rows = (first..)
                    .zip(&view.lag)
                    .map(|(minute, lag)| row(minute * MINUTE_MS, lag.map(|lag| lag.to_string()).unwrap_or_default()));
                ["minute,records_waiting\r\n".to_owned()].into_iter().chain(rows).collect()
            }
            Self::Late => {
                let rows = view.hours.iter().map(|hour| row(hour.start, format!("{},{}", hour.received, hour.late)));
                ["hour,received,late\r\n".to_owned()].into_iter().chain(rows).collect()
            }
        }
    }
}

/// What waited.
#[component]
pub fn LagPanel(
    /// How many wait now.
    #[prop(into)]
    waiting: Signal<u64>,
    /// The most that waited in each minute, the running one last.
    by_minute: RwSignal<Vec<Option<u64>>>,
    /// As of when: the minutes stay where they are while nothing newer is known.
    #[prop(into)]
    now: Signal<i64>,
    /// The live topic that changes it.
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let minute = Memo::new(move |_| now.get() / MINUTE_MS * MINUTE_MS);
    let number = move |records: u64| format::int(lang, records);
    let most = Memo::new(move |_| by_minute.with(|lags| lags.iter().flatten().copied().max().unwrap_or(0)));
    view! {
        <ChartPanel
            id="lag"
            title=words.lag
            figure=Signal::derive(move || number(waiting.get()))
            figure_note=words.records
            picture=Signal::derive(move || by_minute.with(|lags| lag_sketch(lang, lags, minute.get())))
            summary=Signal::derive(move || (words.lag_label)(&number(waiting.get()), &number(most.get())))
            foot=Signal::stored(words.lag_foot.to_owned())
            none=words.nothing_yet
            columns=[lang.words().region.column_minute, words.lag]
            rows=Signal::derive(move || {
                by_minute.with(|lags| {
                    let first = minute.get() - (lags.len() as i64 - 1) * MINUTE_MS;
                    let value = |lag: Option<u64>| lag.map_or_else(|| lang.words().general.none.to_owned(), number);
                    (0..).zip(lags).map(|(n, lag)| [format::clock(lang, first + n * MINUTE_MS, ZONE), value(*lag)]).collect()
                })
            })
            places=Places::Line
            files=FILES.to_owned()
            name=NAME.to_owned()
            topic
        />
    }
}

/// What came too late.
#[component]
pub fn LatePanel(
    /// The newest hours, the running one last.
    hours: RwSignal<Vec<HourRow>>,
    /// Now.
    now: Signal<i64>,
    /// The live topic that changes it.
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let last = Memo::new(move |_| hour_of(now.get()));
    let percent = move |share: Option<i64>| match share {
        Some(share) => format!("{}{}%", format::decimal(lang, share, 1), format::NBSP),
        None => lang.words().general.none.to_owned(),
    };
    let of = move |start: i64| hours.with(|hours| hours.iter().find(|row| row.start == start).cloned());
    let current = move || percent(of(last.get()).as_ref().and_then(share));
    view! {
        <ChartPanel
            id="late"
            title=words.late_by_hour
            figure=Signal::derive(current)
            figure_note=lang.words().region.this_hour
            picture=Signal::derive(move || hours.with(|hours| late_sketch(lang, hours, last.get())))
            summary=Signal::derive(move || {
                // The oldest of them may lie before the day that is shown.
                let from = last.get() - 23 * HOUR_MS;
                let most = hours.with(|hours| hours.iter().filter(|row| row.start >= from).filter_map(share).max());
                (words.late_by_hour_label)(&current(), &percent(most))
            })
            foot=Signal::stored(words.late_by_hour_foot.to_owned())
            none=words.nothing_yet
            columns=[lang.words().region.column_hour, words.late_column]
            rows=Signal::derive(move || {
                if hours.with(Vec::is_empty) {
                    return Vec::new();
                }
                let row = |ago: i64| {
                    let start = last.get() - ago * HOUR_MS;
                    let text = of(start).map(|row| {
                        (words.late_of)(&percent(share(&row)), &format::int(lang, row.late), &format::int(lang, row.received))
                    });
                    [format::clock(lang, start, ZONE), text.unwrap_or_else(|| percent(None))]
                };
                (0..24).rev().map(row).collect()
            })
            places=Places::Hours
            files=FILES.to_owned()
            name=NAME.to_owned()
            topic
        />
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn shares_of_hours() {
        let hour = |received, late| HourRow { start: 0, received, late };
        assert_eq!(share(&hour(0, 0)), None);
        assert_eq!(share(&hour(1_000, 9)), Some(900));
        assert_eq!(share(&hour(3, 1)), Some(33_333));
    }

    #[test]
    fn files_say_what_the_charts_show() {
        let view = sample::pipeline();
        for chart in [TrendChart::Lag, TrendChart::Late] {
            for lang in Lang::ALL {
                assert!(chart.svg(&view, lang).ends_with("</svg></svg>"));
            }
        }
        assert_eq!(TrendChart::from_name("lag"), Some(TrendChart::Lag));
        assert_eq!(TrendChart::Lag.csv(&view).lines().count(), 1 + view.lag.len());
        assert_eq!(TrendChart::Late.csv(&view).lines().count(), 1 + view.hours.len());
    }
}
