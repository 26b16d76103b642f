//! The map in the browser: moved by pointer, touch, wheel and keys, facilities drawn on a canvas above the outlines.

use super::points::{Cluster, Points, nearest};
use super::{Measure, Zoom, area_title, by_area};
use crate::api::MapPoint;
use crate::components::link;
use crate::format;
use crate::words::Lang;
use domain::coldchain::Condition;
use domain::feed::ChildNow;
use leptos::html;
use leptos::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    CanvasRenderingContext2d, Element, Event, EventTarget, HtmlCanvasElement, KeyboardEvent, PointerEvent, WheelEvent,
};

/// Where facilities come from; `?region=` narrows them down.
const FACILITIES: &str = "/api/v1/map/facilities";
/// The nearest view: so many map units across (40 units are a degree).
const NEAREST: f64 = 4.0;
/// The nearest view that a place is shown in at first: some of its surroundings tell where it lies.
const SURROUNDINGS: f64 = 40.0;
/// Length of a regency's code (`32.17`): the map comes closer to one. Smaller places are shown in the whole province, whose
/// outline tells where they lie.
const REGENCY_CODE: usize = 5;
/// So many facilities or fewer are named on the map.
const NAMED: usize = 12;
/// Facilities of the country are drawn from this enlargement on.
const NEAR_ENOUGH: f64 = 2.2;
/// A pointer that moved less than this, in pixels, was a tap.
const TAP_PX: f64 = 6.0;
/// How far a key moves the map, as a part of its width.
const KEY_STEP: f64 = 0.12;
/// How often drawn facilities are asked for again.
const REFRESH: Duration = Duration::from_mins(1);

/// A rectangle of map units: what is seen.
#[derive(Clone, Copy, Debug, PartialEq)]
struct View {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

impl View {
    fn parse(text: &str) -> Option<View> {
        let mut numbers = text.split(' ').filter_map(|number| number.parse().ok());
        Some(View { x: numbers.next()?, y: numbers.next()?, width: numbers.next()?, height: numbers.next()? })
    }

    /// Enlarged `factor` times about a place that stays where it is, and kept inside `base`.
    fn zoomed(self, factor: f64, x: f64, y: f64, base: View) -> View {
        let width = (self.width / factor).clamp(NEAREST.min(base.width), base.width);
        let factor = self.width / width;
        View { x: x - (x - self.x) / factor, y: y - (y - self.y) / factor, width, height: self.height / factor }.within(base)
    }

    fn moved(self, dx: f64, dy: f64, base: View) -> View {
        View { x: self.x + dx, y: self.y + dy, ..self }.within(base)
    }

    fn within(self, base: View) -> View {
        let clamp = |value: f64, low: f64, high: f64| value.max(low).min(high.max(low));
        View {
            x: clamp(self.x, base.x, base.x + base.width - self.width),
            y: clamp(self.y, base.y, base.y + base.height - self.height),
            ..self
        }
    }

    /// The smallest view of `base`'s shape around a box, with a margin.
    fn around([x, y, width, height]: [f64; 4], base: View) -> View {
        let ratio = base.width / base.height;
        let (w, h) = ((width * 1.25).max(SURROUNDINGS), (height * 1.25).max(SURROUNDINGS / ratio));
        let (w, h) = if w / h < ratio { (h * ratio, h) } else { (w, w / ratio) };
        View { x: x + width / 2.0 - w / 2.0, y: y + height / 2.0 - h / 2.0, width: w, height: h }
    }
}

/// The colours of the points, read from the style sheet.
struct Inks {
    fine: String,
    act: String,
    freeze: String,
    unknown: String,
    ink: String,
    surface: String,
}

#[expect(clippy::struct_excessive_bools, reason = "four things that are independently so or not")]
struct Map {
    parts: Parts,
    lang: Lang,
    country: bool,
    /// The whole map, which the view never leaves.
    base: View,
    /// The view it opens with and comes back to.
    home: View,
    view: View,
    points: Option<Points>,
    /// Clusters and the enlargement they were made for.
    clusters: Vec<Cluster>,
    clustered_for: f64,
    inks: Option<Inks>,
    pointers: Vec<(i32, f64, f64)>,
    /// Where the first pointer went down, and whether it has moved since.
    down: (f64, f64),
    dragged: bool,
    hover: Option<(f64, f64)>,
    scheduled: bool,
    asked: bool,
    scrolled_at: f64,
    shown: RwSignal<bool>,
}

struct Parts {
    root: Element,
    svg: Element,
    canvas: HtmlCanvasElement,
    context: CanvasRenderingContext2d,
}

/// Handle on a started map; does nothing before it has started.
#[derive(Clone, Default)]
pub(super) struct Movable(Rc<RefCell<Option<Shared>>>);

type Shared = Rc<RefCell<Map>>;

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
    country: bool,
    lang: Lang,
    ready: RwSignal<bool>,
    shown: RwSignal<bool>,
) -> Movable {
    let movable = Movable::default();
    let started = movable.clone();
    let region = region.to_owned();
    Effect::new(move |_| {
        let Some(root) = node.get() else { return };
        let Some(map) = Map::new(root.into(), country, lang, shown) else { return };
        let map = Rc::new(RefCell::new(map));
        listen(&map, &region);
        if !country {
            ask(&map, &region);
        }
        let (again, region) = (map.clone(), region.clone());
        let refresh = move || {
            if again.borrow().asked && !document().hidden() {
                ask(&again, &region);
            }
        };
        if let Ok(interval) = set_interval_with_handle(refresh, REFRESH) {
            on_cleanup(move || interval.clear());
        }
        schedule(&map);
        *started.0.borrow_mut() = Some(map);
        ready.set(true);
    });
    movable
}

impl Map {
    fn new(root: Element, country: bool, lang: Lang, shown: RwSignal<bool>) -> Option<Map> {
        let svg = root.query_selector("svg").ok()??;
        let canvas: HtmlCanvasElement = root.query_selector("canvas").ok()??.dyn_into().ok()?;
        let context = canvas.get_context("2d").ok()??.dyn_into().ok()?;
        let base = View::parse(&svg.get_attribute("viewBox")?)?;
        Some(Map {
            parts: Parts { root, svg, canvas, context },
            lang,
            country,
            base,
            home: base,
            view: base,
            points: None,
            clusters: Vec::new(),
            clustered_for: 0.0,
            inks: None,
            pointers: Vec::new(),
            down: (0.0, 0.0),
            dragged: false,
            hover: None,
            scheduled: false,
            asked: false,
            scrolled_at: 0.0,
            shown,
        })
    }

    /// Width and height of the picture in pixels.
    fn size(&self) -> (f64, f64) {
        (f64::from(self.parts.svg.client_width()).max(1.0), f64::from(self.parts.svg.client_height()).max(1.0))
    }

    /// Pixels per map unit: the whole view is seen, whatever the shape of the panel.
    fn scale(&self) -> f64 {
        let (width, height) = self.size();
        (width / self.view.width).min(height / self.view.height)
    }

    /// The place of the map at the top left corner of the picture: the view stands in the middle.
    fn corner(&self) -> (f64, f64) {
        let ((width, height), scale) = (self.size(), self.scale());
        let View { x, y, .. } = self.view;
        (x - (width / scale - self.view.width) / 2.0, y - (height / scale - self.view.height) / 2.0)
    }

    /// The place of the map under a place of the window.
    fn place(&self, client_x: f64, client_y: f64) -> (f64, f64) {
        let rect = self.parts.svg.get_bounding_client_rect();
        let scale = self.scale();
        let (x, y) = self.corner();
        (x + (client_x - rect.left()) / scale, y + (client_y - rect.top()) / scale)
    }

    fn shows_points(&self) -> bool {
        !self.country || self.base.width / self.view.width >= NEAR_ENOUGH
    }

    fn cluster(&mut self) {
        let scale = self.scale();
        if (self.clustered_for - scale).abs() > f64::EPSILON {
            self.clusters = self.points.as_ref().map(|points| points.clusters(scale)).unwrap_or_default();
            self.clustered_for = scale;
        }
    }

    fn hit(&mut self, client_x: f64, client_y: f64) -> Option<Cluster> {
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
        self.draw_points();
    }

    fn draw_points(&mut self) {
        let ratio = window().device_pixel_ratio();
        let (css_width, css_height) = self.size();
        let (w, h) = ((css_width * ratio) as u32, (css_height * ratio) as u32);
        if self.parts.canvas.width() != w || self.parts.canvas.height() != h {
            self.parts.canvas.set_width(w);
            self.parts.canvas.set_height(h);
            self.clustered_for = 0.0;
        }
        let context = self.parts.context.clone();
        let _ = context.set_transform(ratio, 0.0, 0.0, ratio, 0.0, 0.0);
        context.clear_rect(0.0, 0.0, css_width, css_height);
        let visible = self.shows_points() && self.points.is_some();
        if self.shown.get_untracked() != visible {
            self.shown.set(visible);
        }
        if !visible {
            return;
        }
        self.cluster();
        if self.inks.is_none() {
            self.inks = Inks::read(&self.parts.root);
        }
        let Some(inks) = &self.inks else { return };
        let scale = self.scale();
        let (left, top) = self.corner();
        let seen: Vec<(f64, f64, &Cluster)> = self
            .clusters
            .iter()
            .map(|cluster| ((f64::from(cluster.at[0]) - left) * scale, (f64::from(cluster.at[1]) - top) * scale, cluster))
            .filter(|(x, y, _)| *x > -20.0 && *y > -20.0 && *x < css_width + 20.0 && *y < css_height + 20.0)
            .collect();
        let size = |cluster: &Cluster| (3.5 + f64::from(cluster.count).ln() * 1.4).min(11.0);
        // One path per look, the calm ones first so that nothing urgent is hidden.
        let look = |fill: &str, line: &str, wanted: &dyn Fn(&Cluster) -> bool, shape: &dyn Fn(f64, f64, f64)| {
            context.begin_path();
            for (x, y, cluster) in seen.iter().filter(|(_, _, cluster)| wanted(cluster)) {
                shape(*x, *y, size(cluster));
            }
            if !fill.is_empty() {
                context.set_fill_style_str(fill);
                context.fill();
            }
            if !line.is_empty() {
                context.set_stroke_style_str(line);
                context.stroke();
            }
        };
        let circle = |x: f64, y: f64, r: f64| {
            context.move_to(x + r, y);
            let _ = context.arc(x, y, r, 0.0, TAU);
        };
        let triangle = |x: f64, y: f64, r: f64| {
            context.move_to(x, y - r * 1.2);
            context.line_to(x + r * 1.15, y + r * 0.9);
            context.line_to(x - r * 1.15, y + r * 0.9);
            context.close_path();
        };
        let flake = |x: f64, y: f64, r: f64| {
            for (dx, dy) in [(0.0, 1.2), (1.04, 0.6), (1.04, -0.6)] {
                context.move_to(x - dx * r, y - dy * r);
                context.line_to(x + dx * r, y + dy * r);
            }
        };
        context.set_line_width(1.0);
        look(&inks.fine, &inks.surface, &|c| c.worst == Condition::Fine, &circle);
        context.set_line_width(1.5);
        look(&inks.surface, &inks.unknown, &|c| c.worst == Condition::NoWord, &circle);
        context.set_line_width(1.0);
        look(&inks.act, &inks.surface, &|c| c.worst == Condition::TooWarm, &triangle);
        let cold = |c: &Cluster| matches!(c.worst, Condition::Freezing | Condition::TooCold);
        context.set_line_width(5.0);
        look("", &inks.surface, &cold, &flake);
        context.set_line_width(2.2);
        look("", &inks.freeze, &cold, &flake);
        context.set_text_align("center");
        context.set_line_join("round");
        context.set_font("600 10px system-ui, sans-serif");
        // Numbers under the larger groups, where no other number stands.
        let mut labelled: Vec<(f64, f64)> = Vec::new();
        for (x, y, cluster) in seen.iter().filter(|(_, _, cluster)| cluster.count > 5) {
            if labelled.iter().all(|(lx, ly)| (lx - x).abs() > 24.0 || (ly - y).abs() > 18.0) {
                labelled.push((*x, *y));
                self.label(inks, &cluster.count.to_string(), *x, y + size(cluster) + 10.0);
            }
        }
        if self.points.as_ref().is_some_and(|points| points.code.len() <= NAMED) {
            context.set_font("13px system-ui, sans-serif");
            for (x, y, cluster) in &seen {
                let name = self.name(cluster);
                let name = name.as_str();
                let half = context.measure_text(name).map_or(0.0, |size| size.width() / 2.0);
                let middle = x.max(half + 6.0).min((css_width - half - 6.0).max(half));
                // Above its point or below it, wherever no other point and no other name lies under it.
                let free = |line: &f64| {
                    let covers = |px: f64, py: f64| (px - middle).abs() < half + 6.0 && py > line - 16.0 && py < line + 8.0;
                    !seen.iter().any(|(px, py, _)| covers(*px, *py))
                        && !labelled.iter().any(|(lx, ly)| (lx - middle).abs() < half * 2.0 && (ly - line).abs() < 16.0)
                };
                let r = size(cluster);
                if let Some(line) = [y - r - 8.5, y + r + 17.0].into_iter().find(free) {
                    labelled.push((middle, line));
                    self.label(inks, name, middle, line);
                }
            }
        }
        if let Some((x, y, cluster)) = self.hover.and_then(|(hx, hy)| {
            let near = |x: f64, y: f64| (x - hx).hypot(y - hy);
            seen.iter().min_by(|a, b| near(a.0, a.1).total_cmp(&near(b.0, b.1))).filter(|(x, y, _)| near(*x, *y) < 14.0)
        }) {
            let text = self.name(cluster);
            context.set_font("600 13px system-ui, sans-serif");
            let half = context.measure_text(&text).map_or(0.0, |size| size.width() / 2.0);
            let x = x.max(half + 6.0).min((css_width - half - 6.0).max(half));
            self.label(inks, &text, x, y - size(cluster) - 7.0);
        }
    }

    /// The name of one facility, the number of several.
    fn name(&self, cluster: &Cluster) -> String {
        match &self.points {
            Some(points) if cluster.count == 1 => points.name[cluster.first].clone(),
            _ => (self.lang.words().map.cluster)(&format::int(self.lang, cluster.count)),
        }
    }

    fn label(&self, inks: &Inks, text: &str, x: f64, y: f64) {
        let context = &self.parts.context;
        context.set_stroke_style_str(&inks.surface);
        context.set_line_width(4.0);
        let _ = context.stroke_text(text, x, y);
        context.set_fill_style_str(&inks.ink);
        let _ = context.fill_text(text, x, y);
    }
}

impl Inks {
    /// Colours as the style sheet gives them: probes of the legend's own classes, because `light-dark()` is only resolved in use.
    fn read(root: &Element) -> Option<Inks> {
        let probe = document().create_element("span").ok()?;
        root.append_child(&probe).ok()?;
        let colour = |class: &str| {
            probe.set_class_name(class);
            let style = window().get_computed_style(&probe).ok().flatten();
            style.and_then(|style| style.get_property_value("color").ok()).unwrap_or_default()
        };
        let inks = Inks {
            fine: colour("ink-fine"),
            act: colour("ink-act"),
            freeze: colour("ink-freeze"),
            unknown: colour("ink-unknown"),
            ink: colour("ink-ink"),
            surface: colour("ink-surface"),
        };
        probe.remove();
        Some(inks)
    }
}

/// Draws with the next frame, once.
fn schedule(map: &Shared) {
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

fn set_view(map: &Shared, region: &str, view: View) {
    let ask_now = {
        let mut map = map.borrow_mut();
        map.view = view;
        map.shows_points() && !map.asked
    };
    if ask_now {
        ask(map, region);
    }
    schedule(map);
}

fn zoom_to(map: &Shared, zoom: Zoom) {
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
    set_view(map, "ID", view);
}

/// Asks for the facilities and draws them when they come.
fn ask(map: &Shared, region: &str) {
    map.borrow_mut().asked = true;
    let (map, region) = (map.clone(), region.to_owned());
    leptos::task::spawn_local(async move {
        let url = if region == "ID" { FACILITIES.to_owned() } else { format!("{FACILITIES}?region={}", link::encode(&region)) };
        match fetch(&url).await {
            Some(facilities) => {
                let points = Points::of(&region, facilities);
                {
                    let mut map = map.borrow_mut();
                    // The first facilities of a regency tell where it lies.
                    let first = !map.country && map.points.is_none() && region.len() == REGENCY_CODE;
                    if let Some(bounds) = points.bounds().filter(|_| first) {
                        map.view = View::around(bounds, map.base).within(map.base);
                        map.home = map.view;
                    }
                    map.points = Some(points);
                    map.clustered_for = 0.0;
                }
                schedule(&map);
            }
            // Asked again with the next interval or movement.
            None => map.borrow_mut().asked = false,
        }
    });
}

async fn fetch(url: &str) -> Option<Vec<MapPoint>> {
    let response: web_sys::Response = JsFuture::from(window().fetch_with_str(url)).await.ok()?.dyn_into().ok()?;
    if !response.ok() {
        return None;
    }
    let text = JsFuture::from(response.text().ok()?).await.ok()?.as_string()?;
    serde_json::from_str(&text).ok()
}

/// Recolours the provinces when their figures change.
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

fn on<E: JsCast + 'static>(target: &EventTarget, name: &str, act: impl FnMut(E) + 'static) {
    let mut act = act;
    let closure = Closure::<dyn FnMut(Event)>::new(move |event: Event| act(event.unchecked_into()));
    // The default of wheel and touch must be preventable.
    let options = web_sys::AddEventListenerOptions::new();
    options.set_passive(false);
    let _ =
        target.add_event_listener_with_callback_and_add_event_listener_options(name, closure.as_ref().unchecked_ref(), &options);
    // Lives as long as the page: links lead to new documents.
    closure.forget();
}

fn listen(map: &Shared, region: &str) {
    let root: EventTarget = map.borrow().parts.root.clone().into();
    let region: Rc<str> = region.into();

    let shared = map.clone();
    on::<Event>(&window().into(), "scroll", move |_| shared.borrow_mut().scrolled_at = js_sys::Date::now());

    let (shared, code) = (map.clone(), region.clone());
    on::<WheelEvent>(&root, "wheel", move |event| {
        let (view, next) = {
            let map = shared.borrow();
            // Somebody who is scrolling the page does not want to be caught by the map.
            if js_sys::Date::now() - map.scrolled_at < 400.0 {
                return;
            }
            let (x, y) = map.place(f64::from(event.client_x()), f64::from(event.client_y()));
            let lines = if event.delta_mode() == 0 { 1.0 } else { 16.0 };
            (map.view, map.view.zoomed((-event.delta_y() * lines * 0.0022).exp(), x, y, map.base))
        };
        if next != view {
            event.prevent_default();
            set_view(&shared, &code, next);
        }
    });

    let shared = map.clone();
    on::<PointerEvent>(&root, "pointerdown", move |event| {
        let mut map = shared.borrow_mut();
        let at = (f64::from(event.client_x()), f64::from(event.client_y()));
        map.pointers.retain(|(id, _, _)| *id != event.pointer_id());
        map.pointers.push((event.pointer_id(), at.0, at.1));
        if map.pointers.len() == 1 {
            map.down = at;
            map.dragged = false;
        }
    });

    let (shared, code) = (map.clone(), region.clone());
    on::<PointerEvent>(&root, "pointermove", move |event| pointer_moved(&shared, &code, &event));

    for name in ["pointerup", "pointercancel"] {
        let shared = map.clone();
        on::<PointerEvent>(&root, name, move |event| shared.borrow_mut().pointers.retain(|(id, _, _)| *id != event.pointer_id()));
    }

    let shared = map.clone();
    on::<PointerEvent>(&root, "pointerleave", move |_| {
        shared.borrow_mut().hover = None;
        schedule(&shared);
    });

    // Dragging must not start dragging the link of a province.
    on::<Event>(&root, "dragstart", move |event| event.prevent_default());

    let (shared, code) = (map.clone(), region.clone());
    on::<web_sys::MouseEvent>(&root, "click", move |event| clicked(&shared, &code, &event));

    let (shared, code) = (map.clone(), region.clone());
    on::<KeyboardEvent>(&root, "keydown", move |event| {
        let (view, base) = {
            let map = shared.borrow();
            (map.view, map.base)
        };
        let step = view.width * KEY_STEP;
        let next = match event.key().as_str() {
            "ArrowLeft" => view.moved(-step, 0.0, base),
            "ArrowRight" => view.moved(step, 0.0, base),
            "ArrowUp" => view.moved(0.0, -step, base),
            "ArrowDown" => view.moved(0.0, step, base),
            "+" | "=" => return keyed(&event, || zoom_to(&shared, Zoom::In)),
            "-" | "_" => return keyed(&event, || zoom_to(&shared, Zoom::Out)),
            "0" => return keyed(&event, || zoom_to(&shared, Zoom::All)),
            _ => return,
        };
        // At the edge the keys scroll the page as everywhere.
        if next != view {
            keyed(&event, || set_view(&shared, &code, next));
        }
    });

    // Another width, another theme: measure and draw again.
    let shared = map.clone();
    let resized = Closure::<dyn FnMut(JsValue)>::new(move |_| {
        shared.borrow_mut().inks = None;
        schedule(&shared);
    });
    if let Ok(observer) = web_sys::ResizeObserver::new(resized.as_ref().unchecked_ref()) {
        observer.observe(&map.borrow().parts.root);
    }
    if let Ok(Some(dark)) = window().match_media("(prefers-color-scheme: dark)") {
        let _ = dark.add_event_listener_with_callback("change", resized.as_ref().unchecked_ref());
    }
    resized.forget();
}

fn keyed(event: &KeyboardEvent, act: impl FnOnce()) {
    event.prevent_default();
    act();
}

fn pointer_moved(shared: &Shared, region: &str, event: &PointerEvent) {
    let at = (f64::from(event.client_x()), f64::from(event.client_y()));
    let next = {
        let mut map = shared.borrow_mut();
        let Some(slot) = map.pointers.iter().position(|(id, _, _)| *id == event.pointer_id()) else {
            let rect = map.parts.svg.get_bounding_client_rect();
            map.hover = Some((at.0 - rect.left(), at.1 - rect.top()));
            let hit = map.hit(at.0, at.1).is_some();
            let _ = map.parts.root.class_list().toggle_with_force("map-box--hit", hit);
            drop(map);
            schedule(shared);
            return;
        };
        let before = map.pointers.clone();
        map.pointers[slot] = (event.pointer_id(), at.0, at.1);
        let far = (at.0 - map.down.0).hypot(at.1 - map.down.1) > TAP_PX;
        if far && !map.dragged {
            map.dragged = true;
            // From here on it is a drag, also outside the map.
            let _ = map.parts.root.set_pointer_capture(event.pointer_id());
        }
        let scale = map.scale();
        let after = map.pointers.clone();
        match (before.as_slice(), after.as_slice()) {
            ([old], [new]) if map.dragged => map.view.moved((old.1 - new.1) / scale, (old.2 - new.2) / scale, map.base),
            (old, new) if old.len() == 2 && new.len() == 2 => {
                map.dragged = true;
                let spread = |two: &[(i32, f64, f64)]| (two[0].1 - two[1].1).hypot(two[0].2 - two[1].2).max(1.0);
                let middle = |two: &[(i32, f64, f64)]| (f64::midpoint(two[0].1, two[1].1), f64::midpoint(two[0].2, two[1].2));
                let (was, is) = (middle(old), middle(new));
                let place = map.place(is.0, is.1);
                let zoomed = map.view.zoomed(spread(new) / spread(old), place.0, place.1, map.base);
                zoomed.moved((was.0 - is.0) / scale, (was.1 - is.1) / scale, map.base)
            }
            _ => return,
        }
    };
    set_view(shared, region, next);
}

fn clicked(shared: &Shared, region: &str, event: &web_sys::MouseEvent) {
    let (hit, dragged) = {
        let mut map = shared.borrow_mut();
        // Buttons of the map are not places of it.
        let on_button = event
            .target()
            .and_then(|t| t.dyn_into::<Element>().ok())
            .is_some_and(|e| e.closest("button").is_ok_and(|b| b.is_some()));
        if on_button {
            return;
        }
        let dragged = std::mem::take(&mut map.dragged);
        (map.hit(f64::from(event.client_x()), f64::from(event.client_y())), dragged)
    };
    if dragged {
        event.prevent_default();
        return;
    }
    let Some(cluster) = hit else { return };
    event.prevent_default();
    let target = {
        let map = shared.borrow();
        let at_end = map.view.width <= NEAREST * 1.01;
        if cluster.count == 1 || at_end {
            map.points.as_ref().map(|points| link::facility(&points.code[cluster.first]))
        } else {
            None
        }
    };
    if let Some(href) = target {
        let _ = window().location().set_href(&href);
    } else {
        let (view, base) = {
            let map = shared.borrow();
            (map.view, map.base)
        };
        let (x, y) = (f64::from(cluster.at[0]), f64::from(cluster.at[1]));
        set_view(shared, region, view.zoomed(2.5, x, y, base));
    }
}
