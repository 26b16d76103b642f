//! A chart as a file of its own: SVG with its colours written in, in the light theme, for reports.

use super::labels::{self, Anchor, Mark};
use super::picture::Picture;
use super::sketch::Sketch;
use super::svg::{Paint, plot, trimmed};
use super::{Ink, Inks};
use crate::api::{DeviceView, Span};
use crate::components::plain_chart;
use crate::format;
use crate::words::Lang;
use domain::time::{EventTime, Zone};
use std::fmt::Write;

/// Width of the file in pixels.
pub const WIDTH: u32 = 1_200;
/// Height of the file in pixels.
pub const HEIGHT: u32 = 420;
/// Left and top of the chart within it.
pub const ORIGIN: (f64, f64) = (48.0, 64.0);
/// Width of the chart within it.
pub const CHART_WIDTH: f64 = 1_128.0;

/// The two lines over the chart: what, and of when.
pub fn titles(view: &DeviceView, end: EventTime, lang: Lang) -> [String; 2] {
    let words = &lang.words().device;
    let name = crate::pages::device::name(view, lang);
    let when = format::date_time(lang, end.ms(), view.zone);
    [format!("{} · {name}", words.chart_titles[view.span as usize]), format!("{} · {when}", (words.sensor)(&view.now.id))]
}

/// The chart of a device as an SVG file.
pub fn standalone_svg(view: &DeviceView, lang: Lang) -> String {
    let inks = &Inks::LIGHT;
    let end = EventTime::from_ms(view.taken_at.ms());
    let picture = Picture::new(&view.points, view.equipment.range, view.equipment.interval_ms, view.span, end, view.zone);
    let mut out = String::with_capacity(16_384);
    let _ = write!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="{}"/>"#,
        hex(inks.surface)
    );
    let _ = write!(
        out,
        r#"<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0v6" stroke="{}"/></pattern>"#,
        hex(inks.axis)
    );
    let [first, second] = titles(view, end, lang);
    let _ = write!(
        out,
        r#"<title>{0}</title><text x="16" y="26" font-size="16" font-weight="650" fill="{1}">{0}</text>"#,
        escaped(&first),
        hex(inks.text)
    );
    let _ = write!(out, r#"<text x="16" y="46" fill="{1}">{0}</text>"#, escaped(&second), hex(inks.muted));
    for (y, text) in labels::degrees(&picture, lang) {
        let (x, y) = (trimmed(ORIGIN.0 - 8.0, 1), trimmed(ORIGIN.1 + y, 1));
        let _ = write!(out, r#"<text x="{x}" y="{y}" text-anchor="end" fill="{}">{text}</text>"#, hex(inks.muted));
    }
    let (x, y) = ORIGIN;
    let _ = write!(out, r#"<svg x="{x}" y="{y}" width="{CHART_WIDTH}" height="{0}" overflow="visible">"#, labels::HEIGHT);
    let _ = write!(out, r#"<svg y="{}" width="100%" height="{}" overflow="visible">"#, labels::TOP, labels::PLOT);
    out += &plot(&picture, labels::PLOT, Paint::Colours(*inks));
    out.push_str("</svg>");
    for mark in labels::marks(&picture, view.span, view.zone, lang) {
        write_mark(&mut out, &mark, inks);
    }
    out.push_str("</svg></svg>\n");
    out
}

/// A small chart as a file: what it shows, of when, and the picture.
pub fn small_svg(title: &str, when: &str, picture: &Sketch) -> String {
    let inks = &Inks::LIGHT;
    let title = escaped(title);
    let (text, muted, surface, axis) = (hex(inks.text), hex(inks.muted), hex(inks.surface), hex(inks.axis));
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="640" height="292" viewBox="0 0 640 292" font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="{surface}"/><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0v6" stroke="{axis}"/></pattern><title>{title}</title><text x="16" y="26" font-size="16" font-weight="650" fill="{text}">{title}</text><text x="16" y="46" fill="{muted}">{when}</text><svg x="16" y="64" width="608" height="{}" fill="{muted}" overflow="visible">{}"#,
        plain_chart::HEIGHT,
        picture.plot(plain_chart::PLOT as u32, Paint::Colours(*inks))
    );
    picture.marks.iter().for_each(|mark| write_mark(&mut out, mark, inks));
    out.push_str("</svg></svg>");
    out
}

/// A label with its colours written in.
fn write_mark(out: &mut String, mark: &Mark, inks: &Inks) {
    let _ = match mark {
        Mark::Text { x, dx, y, anchor, kind, text, more, .. } => {
            let anchor = match anchor {
                Anchor::Start => "start",
                Anchor::Middle => "middle",
                Anchor::End => "end",
            };
            let weight = if labels::bold(*kind) { 650 } else { 400 };
            write!(
                out,
                r#"<text x="{}%" dx="{dx}" y="{}" text-anchor="{anchor}" font-weight="{weight}" fill="{}" paint-order="stroke" stroke="{}" stroke-width="3" stroke-linejoin="round">{}{}</text>"#,
                trimmed(*x, 2),
                trimmed(*y, 1),
                hex(labels::ink(inks, *kind)),
                hex(inks.surface),
                escaped(text),
                escaped(more),
            )
        }
        Mark::Bar { from, to, y, kind } => write!(
            out,
            r#"<line x1="{}%" x2="{}%" y1="{2}" y2="{2}" stroke="{3}" stroke-width="2"/>"#,
            trimmed(*from, 2),
            trimmed(*to, 2),
            trimmed(*y, 1),
            hex(labels::ink(inks, *kind)),
        ),
        Mark::Dot { x, y, level } => write!(
            out,
            r#"<circle cx="{}%" cy="{}" r="4" fill="{}" stroke="{}" stroke-width="2"/>"#,
            trimmed(*x, 2),
            trimmed(*y, 1),
            hex(labels::level_ink(inks, *level)),
            hex(inks.surface),
        ),
    };
}

/// A colour as CSS has it.
pub fn hex((r, g, b): Ink) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Text for markup.
pub fn escaped(text: &str) -> String {
    // What no document may hold (XML 1.0, 2.2), a device's name may.
    let allowed = text.replace(|c| matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'), "\u{fffd}");
    allowed.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What the file of a device's chart is called, without its ending: `P321705-1-F1-day-20261120-1405`.
pub fn file_name(view: &DeviceView) -> String {
    let span = match view.span {
        Span::Day => "day",
        Span::Week => "week",
        Span::Month => "month",
    };
    name_of(&view.now.id, span, view.taken_at.ms(), view.zone)
}

/// A file's name: of whom, what, and when by the clock of its place. What may not stand in every name becomes `_`.
pub fn name_of(whose: &str, what: &str, at: i64, zone: Zone) -> String {
    let c = zone.civil(at);
    let whose: String = whose.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect();
    format!("{whose}-{what}-{:04}{:02}{:02}-{:02}{:02}", c.year, c.month, c.day, c.hour, c.minute)
}
