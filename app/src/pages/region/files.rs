//! The charts of a place as files: SVG with its colours written in, in the light theme, and CSV.

use crate::api::RegionView;
use crate::chart::standalone::{name_of, small_svg};
use crate::components::plain_chart;
use crate::format;
use crate::words::Lang;
use domain::feed::HISTOGRAM_COLUMNS;
use domain::time::{EventTime, MINUTE_MS};
use std::fmt::Write;

/// A chart on the page of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainChart {
    /// Refrigerators by temperature.
    Temperatures,
    /// Windows out of range by hour.
    Hours,
    /// Records per second by minute; of the country alone.
    Rate,
}

impl PlainChart {
    /// By the name in its address.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "temperatures" => Some(Self::Temperatures),
            "hours" => Some(Self::Hours),
            "rate" => Some(Self::Rate),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Temperatures => "temperatures",
            Self::Hours => "hours",
            Self::Rate => "rate",
        }
    }

    /// What its file is called, without its ending.
    pub fn file_name(self, view: &RegionView) -> String {
        name_of(&view.code, self.name(), view.taken_at.ms(), format::zone_of(&view.code))
    }

    /// The chart as an SVG file.
    pub fn svg(self, view: &RegionView, lang: Lang) -> String {
        let (zone, now) = (format::zone_of(&view.code), view.taken_at.ms());
        let words = &lang.words().region;
        let (title, picture) = match self {
            Self::Temperatures => (words.histogram, plain_chart::histogram(lang, &view.now.histogram)),
            Self::Hours => (words.per_hour, plain_chart::hours(lang, &view.hours, zone)),
            Self::Rate => (words.rate, plain_chart::rate_sketch(lang, &view.rate, now, zone)),
        };
        small_svg(&format!("{title} · {}", view.name), &format::date_time(lang, now, zone), &picture)
    }

    /// What the chart shows as a CSV file.
    pub fn csv(self, view: &RegionView) -> String {
        let mut out = String::new();
        let _ = match self {
            Self::Temperatures => {
                out += "from_celsius,to_celsius,refrigerators\r\n";
                let edge = |half: usize| format!("{:.1}", half as f64 / 2.0 - 2.5);
                view.now.histogram.iter().enumerate().try_for_each(|(column, count)| {
                    // The first and the last are open.
                    let from = if column == 0 { String::new() } else { edge(column) };
                    let to = if column + 1 == HISTOGRAM_COLUMNS { String::new() } else { edge(column + 1) };
                    write!(out, "{from},{to},{count}\r\n")
                })
            }
            Self::Hours => {
                out += "hour,windows,windows_below,windows_above,readings\r\n";
                view.hours.iter().try_for_each(|h| {
                    write!(out, "{},{},{},{},{}\r\n", EventTime::from_ms(h.hour), h.windows, h.low, h.high, h.readings)
                })
            }
            Self::Rate => {
                out += "minute,records_per_second\r\n";
                let first = view.taken_at.ms().div_euclid(MINUTE_MS) + 1 - view.rate.len() as i64;
                let row = |(minute, value): (i64, &f32)| write!(out, "{},{value:.2}\r\n", EventTime::from_ms(minute * MINUTE_MS));
                (first..).zip(&view.rate).try_for_each(row)
            }
        };
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn every_class_of_a_file_has_its_colour() {
        let view = sample::region("ID").expect("the country");
        for chart in [PlainChart::Temperatures, PlainChart::Hours, PlainChart::Rate] {
            for lang in Lang::ALL {
                let svg = chart.svg(&view, lang);
                assert!(
                    svg.starts_with("<svg xmlns")
                        && svg.ends_with("</svg></svg>")
                        && !svg.contains("class=\"f-")
                        && !svg.contains("class=\"bar")
                        && !svg.contains("class=\"series"),
                    "{svg}"
                );
            }
            assert_eq!(PlainChart::from_name(chart.name()), Some(chart));
        }
        let csv = PlainChart::Temperatures.csv(&view);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 1 + HISTOGRAM_COLUMNS);
        assert!(lines[1].starts_with(",-2.0,") && lines[10].starts_with("2.0,2.5,") && lines[30].starts_with("12.0,,"), "{csv}");
        assert_eq!(PlainChart::Hours.csv(&view).lines().count(), 1 + view.hours.len());
        assert_eq!(PlainChart::Rate.csv(&view).lines().count(), 1 + view.rate.len());
    }
}
