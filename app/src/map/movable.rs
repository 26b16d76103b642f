//! The map in the browser: moved by pointer, touch, wheel and keys, facilities drawn on a canvas above the outlines.

use super::input::listen;
use super::paint::Inks;
use super::points::{Cluster, Points, nearest};
use super::view::View;
use super::{Measure, Zoom, area_title, by_area};
use crate::api::{MapConditions, MapPlaces};
use crate::components::link;
use crate::fetch;
use crate::words::Lang;
use domain::feed::ChildNow;
use leptos::html;
use leptos::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::JsCast;
use web_sys::{CanvasRenderingContext2d, Element, HtmlCanvasElement};

/// Where facilities are, and how they stand; `?region=` narrows them down.
const PLACES: &str = "/api/pages/map/places";
const CONDITIONS: &str = "/api/pages/map/conditions";
/// Where outlines for a near look come from.
const OUTLINES: &str = "/api/pages/outlines";
/// So much finer than a map unit are their numbers.
const FINE: &str = "scale(.1)";
/// A map of areas shows facilities instead, the country finer outlines too, from this enlargement on.
const NEAR_ENOUGH: f64 = 2.2;
/// How old what is drawn of facilities may be, in milliseconds,
const OLD_MS: f64 = 60_000.0;
/// and how often that is looked at.
const LOOK: Duration = Duration::from_secs(15);

#[expect(clippy::struct_excessive_bools, reason = "four things that are independently so or not")]
pub(super) struct Map {
    pub parts: Parts,
    pub lang: Lang,
    /// Whose map it is.
    region: String,
    /// It shows areas until somebody looks closer: provinces, or the parts of one.
    pub has_areas: bool,
    /// The whole map, which the view never leaves.
    pub base: View,
    /// The view it opens with and comes back to.
    pub home: View,
    pub view: View,
    pub points: Option<Points>,
    /// Clusters and the enlargement they were made for.
    pub clusters: Vec<Cluster>,
    pub clustered_for: f64,
    pub inks: Option<Inks>,
    pub pointers: Vec<(i32, f64, f64)>,
    /// Where the first pointer went down, and whether it has moved since.
    pub down: (f64, f64),
    pub dragged: bool,
    pub hover: Option<(f64, f64)>,
    pub scheduled: bool,
    /// When it was asked last how facilities stand; 0 where no answer came.
    asked_at: f64,
    is_asking: bool,
    /// Of which version `points` are.
    places: Option<u32>,
    pub scrolled_at: f64,
    pub shown: RwSignal<bool>,
    outlines: Outlines,
}

/// The provinces' outlines, coarse from far, fine from near.
#[derive(Default)]
struct Outlines {
    /// Path of each province, its code, and its coarse outline as the server drew it.
    provinces: Vec<(Element, String, String)>,
    fine: Option<BTreeMap<String, String>>,
    asked: bool,
    /// The fine ones are shown.
    is_fine: bool,
}

/// The elements that the map consists of.
pub(super) struct Parts {
    pub root: Element,
    pub svg: Element,
    pub canvas: HtmlCanvasElement,
    pub context: CanvasRenderingContext2d,
}

/// Handle on a started map; does nothing before it has started.
#[derive(Clone, Default)]
pub(super) struct Movable(Rc<RefCell<Option<Shared>>>);

pub(super) type Shared = Rc<RefCell<Map>>;

impl Movable {
    pub(super) fn zoom(&self, zoom: Zoom) {
        if let Some(map) = &*self.0.borrow() {
            zoom_to(map, zoom);
        }
    }
}

/// Makes the map movable once it is in the page.
pub(super) fn start(
    node: NodeRef<html::Div>,
    region: &str,
    has_areas: bool,
    lang: Lang,
    ready: RwSignal<bool>,
    shown: RwSignal<bool>,
) -> Movable {
    let movable = Movable::default();
    let started = movable.clone();
    let region = region.to_owned();
    Effect::new(move |_| {
        let Some(root) = node.get() else { return };
        let Some(map) = Map::new(root.into(), region.clone(), has_areas, lang, shown) else { return };
        let map = Rc::new(RefCell::new(map));
        listen(&map);
        ask_if_old(&map);
        let again = map.clone();
        if let Ok(interval) = set_interval_with_handle(move || ask_if_old(&again), LOOK) {
            on_cleanup(move || interval.clear());
        }
        schedule(&map);
        *started.0.borrow_mut() = Some(map);
        ready.set(true);
    });
    movable
}

impl Map {
    fn new(root: Element, region: String, has_areas: bool, lang: Lang, shown: RwSignal<bool>) -> Option<Map> {
        let svg = root.query_selector("svg").ok()??;
        let canvas: HtmlCanvasElement = root.query_selector("canvas").ok()??.dyn_into().ok()?;
        let context = canvas.get_context("2d").ok()??.dyn_into().ok()?;
        let home = View::parse(&svg.get_attribute("viewBox")?)?;
        let base = svg.get_attribute("data-base").and_then(|base| View::parse(&base)).unwrap_or(home);
        Some(Map {
            parts: Parts { root, svg, canvas, context },
            lang,
            region,
            has_areas,
            base,
            home,
            view: home,
            points: None,
            clusters: Vec::new(),
            clustered_for: 0.0,
            inks: None,
            pointers: Vec::new(),
            down: (0.0, 0.0),
            dragged: false,
            hover: None,
            scheduled: false,
            asked_at: 0.0,
            is_asking: false,
            places: None,
            scrolled_at: 0.0,
            shown,
            outlines: Outlines::default(),
        })
    }

    fn is_country(&self) -> bool {
        self.region == "ID"
    }

    /// Width and height of the picture in pixels.
    pub fn size(&self) -> (f64, f64) {
        (f64::from(self.parts.svg.client_width()).max(1.0), f64::from(self.parts.svg.client_height()).max(1.0))
    }

    /// Pixels per map unit: the whole view is seen, whatever the shape of the panel.
    pub fn scale(&self) -> f64 {
        let (width, height) = self.size();
        (width / self.view.width).min(height / self.view.height)
    }

    /// The place of the map at the top left corner of the picture: the view stands in the middle.
    pub fn corner(&self) -> (f64, f64) {
        let ((width, height), scale) = (self.size(), self.scale());
        let View { x, y, .. } = self.view;
        (x - (width / scale - self.view.width) / 2.0, y - (height / scale - self.view.height) / 2.0)
    }

    /// The place of the map under a place of the window.
    pub fn place(&self, client_x: f64, client_y: f64) -> (f64, f64) {
        let rect = self.parts.svg.get_bounding_client_rect();
        let scale = self.scale();
        let (x, y) = self.corner();
        (x + (client_x - rect.left()) / scale, y + (client_y - rect.top()) / scale)
    }

    pub fn shows_points(&self) -> bool {
        !self.has_areas || self.is_near()
    }

    pub fn cluster(&mut self) {
        let scale = self.scale();
        if (self.clustered_for - scale).abs() > f64::EPSILON {
            self.clusters = self.points.as_ref().map(|points| points.clusters(scale)).unwrap_or_default();
            self.clustered_for = scale;
        }
    }

    pub fn hit(&mut self, client_x: f64, client_y: f64) -> Option<Cluster> {
        if !self.shows_points() {
            return None;
        }
        self.cluster();
        let (x, y) = self.place(client_x, client_y);
        nearest(&self.clusters, x, y, 14.0 / self.scale()).copied()
    }

    fn draw(&mut self) {
        let View { x, y, width, height } = self.view;
        let mut view_box = String::with_capacity(48);
        let _ = write!(view_box, "{x:.2} {y:.2} {width:.2} {height:.2}");
        let _ = self.parts.svg.set_attribute("viewBox", &view_box);
        let _ = self.parts.root.class_list().toggle_with_force("map-box--near", self.view != self.home);
        self.draw_outlines();
        self.draw_points();
    }

    fn is_near(&self) -> bool {
        self.base.width / self.view.width >= NEAR_ENOUGH
    }

    /// Fine outlines from near, coarse ones from far: drawing all of the fine ones would take most of a frame.
    fn draw_outlines(&mut self) {
        let near = self.is_near();
        let Outlines { provinces, fine: Some(fine), is_fine, .. } = &mut self.outlines else { return };
        if std::mem::replace(is_fine, near) == near {
            return;
        }
        for (path, code, coarse) in provinces {
            let Some(outline) = fine.get(code.as_str()) else { continue };
            let _ = if near { path.set_attribute("transform", FINE) } else { path.remove_attribute("transform") };
            let _ = path.set_attribute("d", if near { outline } else { coarse });
        }
    }

    /// Notes the provinces as the server drew them, and their fine outlines.
    fn take_outlines(&mut self, fine: BTreeMap<String, String>) {
        let areas = self.parts.svg.query_selector_all("[data-code]");
        let Ok(areas) = areas else { return };
        self.outlines.provinces = (0..areas.length())
            .filter_map(|index| {
                let area: Element = areas.item(index)?.dyn_into().ok()?;
                let path = area.query_selector("path").ok()??;
                let coarse = path.get_attribute("d")?;
                Some((path, area.get_attribute("data-code")?, coarse))
            })
            .collect();
        self.outlines.fine = Some(fine);
    }
}

/// Draws with the next frame, once.
pub(super) fn schedule(map: &Shared) {
    if std::mem::replace(&mut map.borrow_mut().scheduled, true) {
        return;
    }
    let map = map.clone();
    request_animation_frame(move || {
        let mut map = map.borrow_mut();
        map.scheduled = false;
        map.draw();
    });
}

pub(super) fn set_view(map: &Shared, view: View) {
    let ask_fine = {
        let mut map = map.borrow_mut();
        map.view = view;
        map.is_country() && map.is_near() && !map.outlines.asked
    };
    ask_if_old(map);
    if ask_fine {
        map.borrow_mut().outlines.asked = true;
        ask_outlines(map);
    }
    schedule(map);
}

/// Asks for the fine outlines, which the first picture goes without.
fn ask_outlines(map: &Shared) {
    let map = map.clone();
    leptos::task::spawn_local(async move {
        match fetch::json(OUTLINES).await {
            Some(fine) => {
                map.borrow_mut().take_outlines(fine);
                schedule(&map);
            }
            None => map.borrow_mut().outlines.asked = false,
        }
    });
}

pub(super) fn zoom_to(map: &Shared, zoom: Zoom) {
    let (view, base, home) = {
        let map = map.borrow();
        (map.view, map.base, map.home)
    };
    let (x, y) = (view.x + view.width / 2.0, view.y + view.height / 2.0);
    let view = match zoom {
        Zoom::In => view.zoomed(1.8, x, y, base),
        Zoom::Out => view.zoomed(1.0 / 1.8, x, y, base),
        Zoom::All => home,
    };
    set_view(map, view);
}

/// Asks how facilities stand, where somebody sees them and what is drawn is old or not there: a point that stands still would be taken
/// for the state of its facility.
fn ask_if_old(map: &Shared) {
    let now = js_sys::Date::now();
    {
        let mut map = map.borrow_mut();
        if document().hidden() || !map.shows_points() || map.is_asking || now - map.asked_at < OLD_MS {
            return;
        }
        map.is_asking = true;
    }
    let map = map.clone();
    leptos::task::spawn_local(async move {
        let is_answered = ask(&map).await.is_some();
        {
            let mut map = map.borrow_mut();
            map.is_asking = false;
            // Without an answer it is asked again soon.
            map.asked_at = if is_answered { now } else { 0.0 };
        }
        if is_answered {
            schedule(&map);
        }
    });
}

/// How facilities stand; where they are only if that is not known: they are many, and stay where they are.
async fn ask(map: &Shared) -> Option<()> {
    let (region, known) = (map.borrow().region.clone(), map.borrow().places);
    let of = if map.borrow().is_country() { String::new() } else { format!("region={}", link::encode(&region)) };
    let MapConditions { version, conditions } = fetch::json(&format!("{CONDITIONS}?{of}")).await?;
    if known != Some(version) {
        let places: MapPlaces = fetch::json(&format!("{PLACES}?{of}&version={version}")).await?;
        let mut map = map.borrow_mut();
        map.points = Some(Points::at(places));
        map.places = Some(version);
    }
    let mut map = map.borrow_mut();
    let is_whole = map.points.as_mut().is_some_and(|points| points.take(&conditions));
    if !is_whole {
        (map.points, map.places) = (None, None);
        return None;
    }
    // Those of the server's picture cannot follow what changes.
    if let Ok(Some(still)) = map.parts.svg.query_selector(".map__still") {
        still.remove();
    }
    map.clustered_for = 0.0;
    Some(())
}

/// Recolours the areas when their figures change.
pub(super) fn recolour(
    node: NodeRef<html::Div>,
    children: StoredValue<BTreeMap<String, RwSignal<ChildNow>>>,
    names: BTreeMap<String, String>,
    measure: Measure,
    lang: Lang,
) {
    Effect::new(move |before: Option<BTreeMap<String, (&'static str, String)>>| {
        let counts = children.with_value(|children| {
            by_area(children.iter().map(|(code, child)| (code.clone(), child.with(|child| child.counts))).collect::<Vec<_>>())
        });
        let looks: BTreeMap<_, _> = counts
            .into_iter()
            .map(|(code, counts)| {
                let name = names.get(&code).map_or(code.as_str(), String::as_str);
                let look = (measure.class(&counts), area_title(lang, name, measure.value(&counts)));
                (code, look)
            })
            .collect();
        // The first picture is the server's.
        if let (Some(before), Some(root)) = (before, node.get_untracked()) {
            for (code, look) in looks.iter().filter(|(code, look)| before.get(*code) != Some(*look)) {
                if let Ok(Some(area)) = root.query_selector(&format!("[data-code=\"{code}\"]")) {
                    let _ = area.set_attribute("class", look.0);
                    if let Ok(Some(title)) = area.query_selector("title") {
                        title.set_text_content(Some(&look.1));
                    }
                }
            }
        }
        looks
    });
}
