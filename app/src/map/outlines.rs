//! Outlines as markup, on the server only.

use super::points::{Cluster, Points};
use super::view::View;
use super::{Measure, area_of, area_title, by_area, names_of_areas};
use crate::api::{ChildKind, ChildView, RegionView};
use crate::components::link;
use crate::words::Lang;
use domain::coldchain::Condition;
use domain::feed::Counts;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

/// The map base (`cargo xtask data`; sources and licences in its notice): the whole country, coarse.
#[derive(Deserialize)]
struct Base {
    view: [u32; 2],
    land: String,
    outlines: BTreeMap<String, String>,
    areas: BTreeMap<String, Area>,
}

/// Where a province lies: `x, y, width, height` in map units.
#[derive(Deserialize)]
struct Area {
    r#box: [f64; 4],
}

/// Outlines of single provinces, ten times as fine.
#[derive(Deserialize)]
struct Fine {
    numbers_per_unit: f64,
    outlines: BTreeMap<String, String>,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../data/map/map.json")).expect("a map base that `xtask data` has written")
});
static FINE: LazyLock<Fine> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../data/map/provinces.json"))
        .expect("province outlines that `xtask data` has written")
});

/// Width of the near map to its height, in its own units.
const NEAR_RATIO: f64 = 1.9;

/// The fine outlines by code, for a map that is looked at from near.
pub fn fine() -> BTreeMap<String, String> {
    FINE.outlines.clone()
}

/// So many map units wide a regency is shown at least, 40 being a degree, and a district.
const REGENCY_WIDTH: f64 = 40.0;
const DISTRICT_WIDTH: f64 = 20.0;
/// What is seen is at least so large a part of its province in the small picture that tells where it lies.
const LEAST_OF_PROVINCE: f64 = 0.1;
/// Circles of a province and their names are measured in units of which the map is so many wide: such a letter of these names is wide and
/// high.
const BUBBLES_WIDTH: f64 = 960.0;
const LETTER_WIDTH: f64 = 7.6;
const LETTER_HEIGHT: f64 = 12.0;
/// The points of the server's picture are drawn for a map so many pixels wide.
const STILL_WIDTH: f64 = 720.0;

/// The map's SVG.
#[derive(Default)]
pub(super) struct Picture {
    /// What is seen at first.
    pub view_box: Option<String>,
    /// The whole map, where that is more.
    pub base: Option<String>,
    /// Its inside.
    pub markup: String,
    /// The province with what is seen of it at first, small, where that is not all: its view box and its inside.
    pub locator: Option<(String, String)>,
}

/// The map of a region.
pub(super) fn draw(region: &RegionView, measure: Measure, lang: Lang) -> Picture {
    if region.level == 0 { country(region, measure, lang) } else { near(region, measure, lang) }
}

fn country(region: &RegionView, measure: Measure, lang: Lang) -> Picture {
    let base = &*BASE;
    let [width, height] = base.view;
    let counts = by_area(region.children.iter().map(|child| (child.now.code.clone(), child.now.counts)));
    let names = names_of_areas(region.children.iter().map(|child| (child.now.code.as_str(), child.name.as_str())));
    let mut out = String::with_capacity(60_000);
    let _ = write!(out, r#"<path class="land" d="{}"/>"#, base.land);
    for (code, outline) in &base.outlines {
        let counts = counts.get(code).copied().unwrap_or_default();
        let name = names.get(code).map_or(code.as_str(), String::as_str);
        let href = link::region(code);
        area(&mut out, (code, name, &counts), &href, (measure, lang), format_args!(r#"<path d="{outline}"/>"#));
    }
    Picture { view_box: Some(format!("0 0 {width} {height}")), markup: out, ..Picture::default() }
}

/// An area of that code, name and figures as the browser finds and recolours it, with its `shape`, which leads to `href`.
fn area(
    out: &mut String,
    (code, name, counts): (&str, &str, &Counts),
    href: &str,
    (measure, lang): (Measure, Lang),
    shape: std::fmt::Arguments<'_>,
) {
    let title = escape(&area_title(lang, name, measure.value(counts)));
    let _ = write!(
        out,
        r#"<a href="{href}" class="{}" data-code="{code}" tabindex="-1"><title>{title}</title>{shape}</a>"#,
        measure.class(counts)
    );
}

fn near(region: &RegionView, measure: Measure, lang: Lang) -> Picture {
    let (base, fine) = (&*BASE, &*FINE);
    let province = region.code.get(..2).unwrap_or_default();
    let shown = area_of(province);
    let Some(area) = base.areas.get(province) else { return Picture::default() };
    let [x, y, width, height] = area.r#box;
    // A margin, then the shape of the panel.
    let (mut w, mut h) = (width * 1.12, height * 1.12);
    if w / h < NEAR_RATIO {
        w = h * NEAR_RATIO;
    } else {
        h = w / NEAR_RATIO;
    }
    let (left, top) = (x + width / 2.0 - w / 2.0, y + height / 2.0 - h / 2.0);
    let mut out = String::with_capacity(20_000);
    let _ = write!(out, r#"<path class="area land" d="{}"/><g transform="scale({})">"#, base.land, 1.0 / fine.numbers_per_unit);
    for (code, outline) in fine.outlines.iter().filter(|(code, _)| *code != shown) {
        let [bx, by, bw, bh] = base.areas.get(code).map_or([0.0; 4], |area| area.r#box);
        if bx < left + w && bx + bw > left && by < top + h && by + bh > top {
            let _ = write!(out, r#"<path class="area land" d="{outline}"/>"#);
        }
    }
    // Last, so that no neighbour's white border lies on its own.
    if let Some(outline) = fine.outlines.get(shown) {
        let _ = write!(out, r#"<path class="area own" d="{outline}"/>"#);
    }
    out.push_str("</g>");
    let base = View { x: left.round(), y: top.round(), width: w.round(), height: h.round() };
    let points = Points::of(&region.code, region.points.clone());
    let least = match region.level {
        1 => f64::INFINITY,
        2 => REGENCY_WIDTH,
        _ => DISTRICT_WIDTH,
    };
    let home = match points.bounds() {
        Some(bounds) if least < base.width => View::around(bounds, least, base).within(base),
        _ => base,
    };
    if region.level == 1 {
        bubbles(&mut out, region, &points, base, measure, lang);
    } else {
        still(&mut out, &points.clusters(STILL_WIDTH / home.width), home.width / STILL_WIDTH);
    }
    let text = |View { x, y, width, height }: View| format!("{x:.2} {y:.2} {width:.2} {height:.2}");
    let is_part = home != base;
    let locator = is_part.then(|| {
        let province = View { x, y, width, height };
        let mut inside = String::new();
        if let Some(outline) = fine.outlines.get(shown) {
            let _ = write!(inside, r#"<path class="own" transform="scale({})" d="{outline}"/>"#, 1.0 / fine.numbers_per_unit);
        }
        // Small, but never too small to be found.
        let seen = home.at_least(province.width.max(province.height) * LEAST_OF_PROVINCE);
        let View { x, y, width, height } = seen;
        let _ = write!(inside, r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#);
        (text(province.at_least(province.width * 1.1)), inside)
    });
    Picture { view_box: Some(text(home)), base: is_part.then(|| text(base)), markup: out, locator }
}

/// The parts of a province at the middle of their facilities: circles whose area tells how many these are, the largest first, so that none
/// is hidden; its own facilities as squares; then the names that find room, first those of what is worst.
fn bubbles(out: &mut String, region: &RegionView, points: &Points, base: View, measure: Measure, lang: Lang) {
    let unit = base.width / BUBBLES_WIDTH;
    let inside = |at: &[f32; 2]| ((f64::from(at[0]) - base.x) / unit, (f64::from(at[1]) - base.y) / unit);
    let middle = |code: &str| {
        let digits = code.replace('.', "");
        let own = points.code.iter().zip(&points.at).filter(|(code, _)| code[1..].starts_with(&digits)).map(|(_, at)| at);
        let (count, x, y) = own.fold((0.0, 0.0, 0.0), |(n, x, y), at| (n + 1.0, x + f64::from(at[0]), y + f64::from(at[1])));
        (count > 0.0).then(|| inside(&[(x / count) as f32, (y / count) as f32]))
    };
    let parts = region.children.iter().filter(|child| child.kind == ChildKind::Region);
    let mut parts: Vec<Bubble> = parts.filter_map(|child| Some(Bubble::of(child, middle(&child.now.code)?, measure))).collect();
    parts.sort_by(|a, b| b.r.total_cmp(&a.r));
    let _ = write!(out, r#"<g class="map__bubbles" transform="translate({:.2} {:.2}) scale({unit:.4})">"#, base.x, base.y);
    for Bubble { child, x, y, r, .. } in &parts {
        let circle = format_args!(r#"<circle cx="{x:.0}" cy="{y:.0}" r="{r:.1}"/>"#);
        let of = (child.now.code.as_str(), child.name.as_str(), &child.now.counts);
        area(out, of, &link::region(of.0), (measure, lang), circle);
    }
    for child in region.children.iter().filter(|child| child.kind == ChildKind::Facility) {
        let of = (child.now.code.as_str(), child.name.as_str(), &child.now.counts);
        let Some((x, y)) = points.code.iter().position(|code| code == of.0).map(|at| inside(&points.at[at])) else { continue };
        let square = format_args!(r#"<rect x="{:.0}" y="{:.0}" width="10" height="10"/>"#, x - 5.0, y - 5.0);
        area(out, of, &link::facility(of.0), (measure, lang), square);
    }
    let mut taken: Vec<[f64; 4]> = parts.iter().map(|Bubble { x, y, r, .. }| [x - r, y - r, x + r, y + r]).collect();
    parts.sort_by(|a, b| b.class.cmp(a.class).then(b.r.total_cmp(&a.r)));
    for Bubble { child, x, y, r, .. } in &parts {
        let name = child.name.trim_start_matches("Kabupaten ").trim_start_matches("Kab. ");
        let width = name.chars().count() as f64 * LETTER_WIDTH;
        let beside = y + LETTER_HEIGHT / 3.0;
        // Below, above, on the right, on the left.
        let places = [
            ("middle", *x, x - width / 2.0, y + r + LETTER_HEIGHT + 1.0),
            ("middle", *x, x - width / 2.0, y - r - 4.0),
            ("start", x + r + 4.0, x + r + 4.0, beside),
            ("end", x - r - 4.0, x - r - 4.0 - width, beside),
        ];
        let place = places.into_iter().find_map(|(anchor, at, left, line)| {
            let text = [left, line - LETTER_HEIGHT, left + width, line + 3.0];
            let covers = |other: &[f64; 4]| text[0] < other[2] && text[2] > other[0] && text[1] < other[3] && text[3] > other[1];
            (left > 0.0 && text[2] < BUBBLES_WIDTH && !taken.iter().any(covers)).then_some((anchor, at, line, text))
        });
        if let Some((anchor, at, line, text)) = place {
            taken.push(text);
            let _ = write!(out, r#"<text x="{at:.0}" y="{line:.0}" text-anchor="{anchor}">{}</text>"#, escape(name));
        }
    }
    out.push_str("</g>");
}

/// A part of a province as a circle; place and radius in units of which the map is [`BUBBLES_WIDTH`] wide.
struct Bubble<'a> {
    child: &'a ChildView,
    class: &'static str,
    x: f64,
    y: f64,
    r: f64,
}

impl<'a> Bubble<'a> {
    fn of(child: &'a ChildView, (x, y): (f64, f64), measure: Measure) -> Self {
        let counts = &child.now.counts;
        Self { child, class: measure.class(counts), x, y, r: (2.3 * f64::from(counts.facilities).sqrt()).clamp(7.0, 28.0) }
    }
}

/// Facilities as they stand now, in the shapes of `paint.rs`; a pixel is `unit` map units wide. The calm ones first, so that
/// nothing urgent is hidden.
fn still(out: &mut String, clusters: &[Cluster], unit: f64) {
    type Looks = fn(Condition) -> bool;
    let looks: [(&str, Looks); 4] = [
        ("key-ok", |c| c == Condition::Fine),
        ("key-none", |c| c == Condition::NoWord),
        ("key-act", |c| c == Condition::TooWarm),
        ("key-freeze", |c| matches!(c, Condition::Freezing | Condition::TooCold)),
    ];
    // Fine enough for a tenth of a pixel.
    let d = if unit < 0.1 { 3 } else { 2 };
    out.push_str(r#"<g class="map__still">"#);
    for (class, is_it) in looks {
        let _ = write!(out, r#"<path class="{class}" d=""#);
        for cluster in clusters.iter().filter(|cluster| is_it(cluster.worst)) {
            let (x, y, r) = (f64::from(cluster.at[0]), f64::from(cluster.at[1]), cluster.radius() * unit);
            let _ = match class {
                "key-act" => write!(out, "M{x:.d$} {:.d$}l{:.d$} {:.d$}h{:.d$}z", y - r * 1.2, r * 1.15, r * 2.1, r * -2.3),
                "key-freeze" => write!(
                    out,
                    "M{x:.d$} {:.d$}v{:.d$}M{:.d$} {:.d$}l{:.d$} {:.d$}m0 {:.d$}l{:.d$} {:.d$}",
                    y - r * 1.2,
                    r * 2.4,
                    x - r * 1.04,
                    y - r * 0.6,
                    r * 2.08,
                    r * 1.2,
                    r * -1.2,
                    r * -2.08,
                    r * 1.2
                ),
                _ => {
                    write!(
                        out,
                        "M{:.d$} {y:.d$}a{r:.d$} {r:.d$} 0 1 0 {:.d$} 0a{r:.d$} {r:.d$} 0 1 0 {:.d$} 0",
                        x - r,
                        r * 2.0,
                        r * -2.0
                    )
                }
            };
        }
        out.push_str(r#""/>"#);
    }
    out.push_str("</g>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::INSIDE;
    use super::*;

    #[test]
    fn the_base_reads_and_its_provinces_are_known() {
        assert_eq!(BASE.areas.len(), 38);
        assert_eq!(BASE.outlines.len() + INSIDE.len(), 38);
        assert_eq!(FINE.outlines.len(), BASE.outlines.len());
        assert!((FINE.numbers_per_unit - 10.0).abs() < f64::EPSILON, "as the browser scales them");
        for (newer, inside) in INSIDE {
            assert!(!BASE.outlines.contains_key(newer) && BASE.outlines.contains_key(inside), "{newer}");
        }
    }
}
