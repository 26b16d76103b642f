//! A small chart of records per second: one neutral curve, from zero, with its own two grid lines.

use super::svg::{trimmed, values};
use crate::format;
use crate::words::Lang;
use std::fmt::Write;

/// Height of the plot in pixels.
pub const PLOT: u32 = 120;
/// Height of the whole chart.
pub const HEIGHT: u32 = 142;

/// A round number not below `value`: 1, 2, 4, 5 or 8 times a power of ten; at least 1.
pub fn round_top(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(10.0 * power)
}

/// What the chart of `values` (oldest first, one a minute) consists of; `from` is the label of its left end.
pub fn markup(rates: &[f32], from: &str, lang: Lang) -> String {
    let highest = rates.iter().copied().fold(0.0f32, f32::max);
    let top = round_top(f64::from(highest));
    // A tenth of room above, so that a curve at the top is not cut.
    let (frame, plot) = (top * 1.1, f64::from(PLOT));
    let y = |value: f64| plot - value / frame * plot;
    let mut out = String::new();
    for value in [top / 2.0, top] {
        let y = trimmed(y(value), 1);
        let _ = write!(out, r#"<line class="grid-line" x1="0" x2="100%" y1="{y}" y2="{y}"/>"#);
    }
    out += &values(rates, frame, PLOT);
    let _ = write!(out, r#"<line class="axis" x1="0" x2="100%" y1="{PLOT}" y2="{PLOT}"/>"#);
    for value in [top / 2.0, top] {
        let text = if value.fract() == 0.0 {
            format::int(lang, value as u64)
        } else {
            format::decimal(lang, (value * 1_000.0) as i64, 1)
        };
        let _ = write!(out, r#"<text class="halo" x="0" y="{}">{text}</text>"#, trimmed(y(value) - 3.0, 1));
    }
    let now = lang.words().general.now;
    let _ = write!(out, r#"<text x="0" y="135">{from}</text><text x="100%" y="135" text-anchor="end">{now}</text>"#);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tops_are_round() {
        for (value, expected) in [(0.0, 1.0), (0.4, 1.0), (68.4, 80.0), (80.0, 80.0), (81.0, 100.0), (203_000.0, 400_000.0)] {
            assert!((round_top(value) - expected).abs() < 1e-9, "{value}: {}", round_top(value));
        }
    }

    #[test]
    fn a_flat_line_at_zero_is_still_a_chart() {
        let svg = markup(&[0.0, 0.0, 0.0], "13.05", Lang::Id);
        assert!(svg.contains(r#"class="series series--plain""#) && svg.contains(">kini<") && svg.contains(">0,5<"), "{svg}");
    }
}
