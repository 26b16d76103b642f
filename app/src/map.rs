//! The map: provinces, or the regencies of one, coloured by a measure; facilities as points when near.
//!
//! Outlines are drawn by the server, as `inner_html`, so that hydration does not walk them. The browser then moves the `viewBox`,
//! recolours areas through their `data-code`, asks for finer outlines where somebody looks closer, and draws facilities on a canvas above
//! ([`points`]).

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

#[cfg(feature = "hydrate")]
mod input;
#[cfg(feature = "hydrate")]
mod movable;
#[cfg(feature = "ssr")]
mod outlines;
#[cfg(feature = "hydrate")]
mod paint;
pub mod points;
pub mod view;

#[cfg(feature = "ssr")]
pub use outlines::fine as fine_outlines;

use crate::api::{ChildKind, RegionView};
use crate::components::icon::Icon;
use crate::components::link::use_here;
use crate::format;
use crate::pages::region::RegionState;
use crate::words::{Lang, use_lang};
use domain::feed::Counts;
use leptos::html;
use leptos::prelude::*;
use std::collections::BTreeMap;

/// Newer provinces that the outlines' source does not know, with the one inside which they are shown.
pub const INSIDE: [(&str, &str); 5] = [("65", "64"), ("93", "91"), ("94", "91"), ("95", "91"), ("96", "92")];

/// What the areas are coloured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// Share of the reporting units that are out of range.
    #[default]
    Out,
    /// Share of the facilities without word.
    Silent,
}

impl Measure {
    /// Its name in `?measure=`.
    pub const fn key(self) -> &'static str {
        match self {
            Measure::Out => "out",
            Measure::Silent => "silent",
        }
    }

    /// The measure of that name; the first one for any other.
    pub fn from_key(key: Option<&str>) -> Measure {
        if key == Some(Measure::Silent.key()) { Measure::Silent } else { Measure::Out }
    }

    /// Its value in thousandths.
    pub fn value(self, counts: &Counts) -> Option<u32> {
        match self {
            Measure::Out => format::share(counts.out_of_range(), counts.reporting()),
            Measure::Silent => format::share(counts.facilities - counts.facilities_reporting, counts.facilities),
        }
    }

    /// Where the second to the fifth class begin, in thousandths.
    const fn steps(self) -> [u32; 4] {
        match self {
            Measure::Out => [10, 20, 40, 80],
            Measure::Silent => [20, 50, 100, 250],
        }
    }

    /// The class of an area: `m1` to `m5`, `m0` where fewer than half of the facilities report and the measure would mislead.
    pub fn class(self, counts: &Counts) -> &'static str {
        if self == Measure::Out && counts.facilities_reporting * 2 < counts.facilities {
            return "m0";
        }
        let Some(value) = self.value(counts) else { return "m0" };
        ["m1", "m2", "m3", "m4", "m5"][self.steps().iter().filter(|step| value >= **step).count()]
    }
}

/// The province inside which one is shown: itself, where it has an outline.
fn area_of(province: &str) -> &str {
    INSIDE.iter().find(|(newer, _)| *newer == province).map_or(province, |(_, inside)| inside)
}

/// Whether the outline in which a place lies is that of several provinces.
fn is_shared(code: &str) -> bool {
    let province = code.get(..2).unwrap_or_default();
    INSIDE.iter().any(|(newer, inside)| province == *newer || province == *inside)
}

/// What each area is called: all the provinces that are shown as one, with their codes in the order of their names.
pub fn names_of_areas<'a>(provinces: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let mut names = BTreeMap::<String, String>::new();
    for (code, name) in provinces {
        let of_area = names.entry(area_of(code).to_owned()).or_default();
        if !of_area.is_empty() {
            of_area.push_str(", ");
        }
        of_area.push_str(name);
    }
    names
}

/// Sums the counts of provinces that are shown as one area.
pub fn by_area(children: impl IntoIterator<Item = (String, Counts)>) -> BTreeMap<String, Counts> {
    let mut areas = BTreeMap::<String, Counts>::new();
    for (code, counts) in children {
        let sum = areas.entry(area_of(&code).to_owned()).or_default();
        sum.devices += counts.devices;
        sum.fine += counts.fine;
        sum.too_warm += counts.too_warm;
        sum.too_cold += counts.too_cold;
        sum.freezing += counts.freezing;
        sum.no_word += counts.no_word;
        sum.facilities += counts.facilities;
        sum.facilities_reporting += counts.facilities_reporting;
    }
    areas
}

/// What an area says of itself: `Aceh: 0,6 %`.
fn area_title(lang: Lang, name: &str, value: Option<u32>) -> String {
    format!("{name}: {}", format::percent(lang, value))
}

/// The map of the country, or of the province a region lies in, opened where the region's facilities are.
#[component]
pub fn MapPanel(
    /// The place.
    region: RegionView,
    /// What the stream changes.
    state: RegionState,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().map;
    let here = use_here();
    let country = region.level == 0;
    let has_areas = region.level < 2;
    let measure = Measure::from_key(here.get("measure"));
    let title = match measure {
        _ if !has_areas => words.facilities,
        Measure::Out => words.out,
        Measure::Silent => words.silent,
    };
    let summary = if has_areas {
        let areas = region.children.iter().filter(|child| child.kind == ChildKind::Region);
        let worst = areas.max_by_key(|child| measure.value(&child.now.counts));
        let (name, value) = worst.map_or((String::new(), None), |child| (child.name.clone(), measure.value(&child.now.counts)));
        let say = if measure == Measure::Out { words.summary_out } else { words.summary_silent };
        say(&name, &format::percent(lang, value))
    } else {
        (words.summary_points)(&region.name)
    };
    #[cfg(feature = "ssr")]
    let outlines::Picture { view_box, base, markup, locator } = outlines::draw(&region, measure, lang);
    // All are in the page already; the browser must not write them again.
    #[cfg(not(feature = "ssr"))]
    let (view_box, base, markup, locator) = (None::<String>, None::<String>, String::new(), None::<(String, String)>);

    let map = NodeRef::<html::Div>::new();
    let ready = RwSignal::new(false);
    let zoom = RwSignal::new(Zoom::All);
    let shown = RwSignal::new(!has_areas);
    #[cfg(feature = "hydrate")]
    {
        let movable = movable::start(map, &region.code, has_areas, lang, ready, shown);
        Effect::new(move |_| movable.zoom(zoom.get()));
        if has_areas {
            let areas = region.children.iter().map(|child| (child.now.code.as_str(), child.name.as_str()));
            movable::recolour(map, state.children, names_of_areas(areas), measure, lang);
        }
    }
    #[cfg(not(feature = "hydrate"))]
    let _ = (&state, &shown);

    let measures = has_areas.then(|| {
        let link = |choice: Measure, name: &'static str| {
            let key = if choice == Measure::default() { "" } else { choice.key() };
            view! { <a href=here.with("measure", key) aria-current=(choice == measure).then_some("true")>{name}</a> }
        };
        view! {
            <nav class="seg" aria-label=words.measures>
                {link(Measure::Out, words.measure_out)}
                {link(Measure::Silent, words.measure_silent)}
            </nav>
        }
    });
    // Regencies and what is below: the breadcrumbs say the same to those who do not see it.
    let locator = (region.level > 1).then(|| {
        let (view_box, inside) = locator.unzip();
        view! {
            <svg class="map__locator" viewBox=view_box width="96" height="48" aria-hidden="true" inner_html=inside.unwrap_or_default()></svg>
        }
    });
    view! {
        <section class="panel span" aria-labelledby="map-title" data-live=format!("region:{}", region.code)>
            <div class="panel__head">
                <h2 id="map-title">{title}</h2>
                {measures}
                {locator}
            </div>
            <div
                class="map-box"
                node_ref=map
                role="group"
                aria-labelledby="map-title map-summary"
                aria-describedby="map-keys"
                tabindex=move || ready.get().then_some("0")
            >
                <svg
                    class=if country { "map map--wide" } else { "map map--near" }
                    viewBox=view_box
                    data-base=base
                    aria-hidden="true"
                    inner_html=markup
                ></svg>
                <canvas class="map__points" aria-hidden="true"></canvas>
                <Show when=move || ready.get()>
                    <div class="map__tools">
                        <button class="btn btn--icon" type="button" aria-label=words.zoom_in on:click=move |_| zoom.set(Zoom::In)>
                            <Icon name="plus"/>
                        </button>
                        <button class="btn btn--icon" type="button" aria-label=words.zoom_out on:click=move |_| zoom.set(Zoom::Out)>
                            <Icon name="minus"/>
                        </button>
                        <button class="btn btn--icon" type="button" aria-label=words.zoom_all on:click=move |_| zoom.set(Zoom::All)>
                            <Icon name="all"/>
                        </button>
                    </div>
                </Show>
            </div>
            <p class="sr" id="map-summary">{summary}</p>
            <p class="sr" id="map-keys">{words.keys}</p>
            <div class="panel__foot">
                {has_areas.then(|| view! { <Legend measure bubbles=!country/> })}
                {(country || is_shared(&region.code)).then(|| view! { <p>{words.newer}</p> })}
                <Show when=move || shown.get()><PointsLegend/></Show>
                <Show when=move || ready.get() && !shown.get()><p>{words.hint}</p></Show>
                <a href="#children">{lang.words().general.as_table}</a>
            </div>
        </section>
    }
}

/// A wish for another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zoom {
    /// Closer.
    In,
    /// Farther.
    Out,
    /// Everything.
    All,
}

#[component]
fn Legend(
    measure: Measure,
    /// Areas are circles.
    bubbles: bool,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().map;
    let steps = measure.steps();
    let number = |thousandths: u32| format::decimal(lang, i64::from(thousandths) * 100, 0);
    // The last value of a class is one tenth below the next one's first.
    let last = |thousandths: u32| format::decimal(lang, i64::from(thousandths) * 100 - 100, 1);
    let items = [
        ("m1", format!("0–{}\u{a0}%", last(steps[0]))),
        ("m2", format!("{}–{}", number(steps[0]), last(steps[1]))),
        ("m3", format!("{}–{}", number(steps[1]), last(steps[2]))),
        ("m4", format!("{}–{}", number(steps[2]), last(steps[3]))),
        ("m5", format!("≥ {}", number(steps[3]))),
    ];
    let half = (measure == Measure::Out).then(|| ("m0", words.half.to_owned()));
    let items = items
        .into_iter()
        .chain(half)
        .map(|(class, text)| {
            view! {
                <li>
                    <svg viewBox="0 0 20 12" width="20" height="12" aria-hidden="true"><rect class=class width="20" height="12"></rect></svg>
                    {text}
                </li>
            }
        })
        .collect_view();
    view! { <ul class="key">{items}{bubbles.then(|| view! { <li>{words.bubbles}</li> })}</ul> }
}

#[component]
fn PointsLegend() -> impl IntoView {
    let cold = &use_lang().words().cold;
    let items = [
        ("M8 2 14.5 14h-13z", "key-act", cold.too_warm),
        ("M8 1v14M2 4.5l12 7M14 4.5l-12 7", "key-freeze", cold.freezing_or_cold),
        ("M8 3a5 5 0 1 0 .01 0z", "key-none", cold.no_word),
        ("M8 4a4 4 0 1 0 .01 0z", "key-ok", cold.fine),
    ];
    view! {
        <ul class="key">
            {items
                .into_iter()
                .map(|(shape, class, word)| {
                    view! {
                        <li>
                            <svg viewBox="0 0 16 16" width="20" height="12" aria-hidden="true"><path class=class d=shape></path></svg>
                            {word}
                        </li>
                    }
                })
                .collect_view()}
        </ul>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(fine: u32, too_warm: u32, facilities: u32, reporting: u32) -> Counts {
        Counts { devices: fine + too_warm, fine, too_warm, facilities, facilities_reporting: reporting, ..Counts::default() }
    }

    #[test]
    fn classes() {
        assert_eq!(Measure::Out.class(&counts(1_000, 0, 10, 10)), "m1");
        assert_eq!(Measure::Out.class(&counts(985, 15, 10, 10)), "m2");
        assert_eq!(Measure::Out.class(&counts(900, 100, 10, 10)), "m5");
        assert_eq!(Measure::Out.class(&counts(900, 100, 10, 4)), "m0");
        assert_eq!(Measure::Out.class(&Counts::default()), "m0");
        assert_eq!(Measure::Silent.class(&counts(1, 0, 10, 4)), "m5");
    }

    #[test]
    fn a_shared_area_names_all_of_its_provinces() {
        let names = names_of_areas([("11", "Aceh"), ("91", "Papua"), ("95", "Papua Pegunungan"), ("93", "Papua Selatan")]);
        assert_eq!((names.len(), names["11"].as_str()), (2, "Aceh"));
        assert_eq!(names["91"], "Papua, Papua Pegunungan, Papua Selatan");
        assert!(["91", "95", "65.01.02", "64"].into_iter().all(is_shared) && !["ID", "11", "32.17"].into_iter().any(is_shared));
    }

    #[test]
    fn newer_provinces_count_in_their_former_one() {
        let areas = by_area([
            ("91".to_owned(), counts(10, 1, 2, 2)),
            ("95".to_owned(), counts(20, 2, 3, 1)),
            ("11".to_owned(), counts(5, 0, 1, 1)),
        ]);
        assert_eq!(areas.len(), 2);
        assert_eq!(areas["91"], counts(30, 3, 5, 3));
    }
}
