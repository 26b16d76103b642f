//! The chart in the browser: plotters draws on a canvas under the labels, with the colours of the theme; the cursor follows
//! pointer and arrow keys; the picture can be saved. Its twin where there is no browser is `still`.

use super::labels::{self, Mark};
use super::picture::Picture;
use super::sketch::{self, Sketch};
use super::view::Series;
use super::{CLASSES, Ink, Inks, Palette, draw};
use crate::format;
use crate::words::Lang;
use domain::time::EventTime;
use leptos::ev::{KeyboardEvent, PointerEvent};
use leptos::html::{Canvas, Div};
use leptos::prelude::*;
use leptos::svg::Svg;
use plotters_canvas::CanvasBackend;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{CanvasRenderingContext2d, Element, HtmlCanvasElement};

/// At most ten drawings a second.
const PACE: Duration = Duration::from_millis(100);

/// A canvas under the labels of a chart: drawn when what it shows changes, at a new width, in a new theme.
#[derive(Clone, Copy)]
pub struct Board {
    /// Draws the plot.
    pub canvas: NodeRef<Canvas>,
    /// Labels, and the server's plot until the canvas has one.
    pub chart: NodeRef<Svg>,
    /// Height of the plot in pixels.
    height: u32,
    state: StoredValue<Work, LocalStorage>,
}

/// What a board has to do.
#[derive(Default)]
struct Work {
    /// Draws.
    paint: Option<Rc<dyn Fn()>>,
    /// Colours of the theme, until it changes.
    inks: Option<Inks>,
    /// Whether a drawing is due already,
    is_waiting: bool,
    /// and another one after it.
    is_again: bool,
}

impl Board {
    /// A board of that height in pixels.
    pub fn new(height: u32) -> Self {
        Self { canvas: NodeRef::new(), chart: NodeRef::new(), height, state: StoredValue::new_local(Work::default()) }
    }

    /// Takes over after mount: `paint` draws now and whenever something that `changed` looks at has.
    fn start(self, changed: impl Fn() + 'static, paint: impl Fn() + 'static) {
        let _ = self.state.try_update_value(|state| state.paint = Some(Rc::new(paint)));
        Effect::new(move |watched: Option<Option<HtmlCanvasElement>>| {
            changed();
            let canvas = self.canvas.get();
            if let Some(canvas) = &canvas {
                if watched.flatten().as_ref() != Some(canvas) {
                    self.watch(canvas);
                }
                self.schedule();
            }
            canvas
        });
    }

    /// Takes over after mount, and shows `sketch` from then on.
    pub fn start_sketch(self, sketch: Signal<Sketch>) {
        let paint = move || {
            sketch.with_untracked(|sketch| {
                self.draw(&|to, palette| sketch::draw(to, sketch, palette).is_ok(), &sketch.marks);
            });
        };
        self.start(move || sketch.track(), paint);
    }

    /// The listeners live as long as the page: links are followed by the browser, so it ends with a load.
    fn watch(self, canvas: &HtmlCanvasElement) {
        let resized = Closure::<dyn FnMut()>::new(move || self.schedule());
        if let (Ok(observer), Some(stage)) =
            (web_sys::ResizeObserver::new(resized.as_ref().unchecked_ref()), canvas.parent_element())
        {
            observer.observe(&stage);
        }
        resized.forget();
        let theme = Closure::<dyn FnMut()>::new(move || {
            let _ = self.state.try_update_value(|state| state.inks = None);
            self.schedule();
        });
        if let (Ok(observer), Some(html)) =
            (web_sys::MutationObserver::new(theme.as_ref().unchecked_ref()), document().document_element())
        {
            let options = web_sys::MutationObserverInit::new();
            options.set_attributes(true);
            let _ = observer.observe_with_options(&html, &options);
        }
        if let Ok(Some(dark)) = window().match_media("(prefers-color-scheme: dark)") {
            let _ = dark.add_event_listener_with_callback("change", theme.as_ref().unchecked_ref());
        }
        theme.forget();
    }

    fn schedule(self) {
        let is_waiting = self.state.try_update_value(|state| {
            state.is_again = state.is_waiting;
            std::mem::replace(&mut state.is_waiting, true)
        });
        if is_waiting == Some(false) {
            request_animation_frame(move || {
                if let Some(paint) = self.state.try_with_value(|state| state.paint.clone()).flatten() {
                    paint();
                }
                let go_on = move || {
                    let is_again = self.state.try_update_value(|state| {
                        state.is_waiting = false;
                        std::mem::take(&mut state.is_again)
                    });
                    if is_again == Some(true) {
                        self.schedule();
                    }
                };
                set_timeout(go_on, PACE);
            });
        }
    }

    /// Draws a plot and writes its labels; says whether it could, for else what the server drew stays.
    fn draw(self, plot: &dyn Fn(&mut CanvasBackend, &Palette) -> bool, marks: &[Mark]) -> bool {
        let (Some(canvas), Some(chart)) = (self.canvas.get_untracked(), self.chart.get_untracked()) else { return false };
        let chart: &Element = &chart;
        let Some(inks) =
            self.state.try_update_value(|state| *state.inks.get_or_insert_with(|| read_inks(chart).unwrap_or(Inks::LIGHT)))
        else {
            return false;
        };
        // Twice the pixels at least: plotters knows whole ones only.
        let scale = window().device_pixel_ratio().max(2.0);
        let width = chart.client_width().max(canvas.parent_element().map_or(0, |stage| stage.client_width()));
        if width <= 0 {
            return false;
        }
        canvas.set_width((f64::from(width) * scale) as u32);
        canvas.set_height((f64::from(self.height) * scale) as u32);
        let Some(mut backend) = CanvasBackend::with_canvas_object(canvas.clone()) else { return false };
        if let Ok(context) = context(&canvas) {
            context.set_line_join("round");
            context.set_line_cap("round");
        }
        if !plot(&mut backend, &Palette::colours(&inks, scale)) {
            return false;
        }
        let _ = canvas.remove_attribute("hidden");
        if let Ok(Some(plot)) = chart.query_selector("[data-part=plot]") {
            plot.remove();
        }
        if let Ok(Some(group)) = chart.query_selector("[data-part=labels]") {
            group.set_inner_html(&labels::markup(marks));
        }
        true
    }
}

/// What the browser knows of a chart beyond its readings.
#[derive(Default)]
struct State {
    /// What is drawn now.
    picture: Option<Picture>,
    /// When the reading under the cursor was taken, and which one of that time it is: its place changes when others come and go, its value
    /// while its window is open.
    at: Option<(EventTime, usize)>,
}

/// The parts of a chart that the browser takes over.
#[derive(Clone, Copy)]
pub struct Stage {
    /// The plot, with its labels and the cursor.
    pub board: Board,
    /// The temperature axis.
    pub axis: NodeRef<Svg>,
    /// Takes pointer and keys.
    pub cursor: NodeRef<Div>,
    series: StoredValue<Series>,
    lang: Lang,
    state: StoredValue<State, LocalStorage>,
}

impl Stage {
    /// The stage of `series`.
    pub fn new(series: StoredValue<Series>, lang: Lang) -> Self {
        Self {
            board: Board::new(labels::PLOT),
            axis: NodeRef::new(),
            cursor: NodeRef::new(),
            series,
            lang,
            state: StoredValue::new_local(State::default()),
        }
    }

    /// Takes over after mount: draws now, after every change, at a new width, in a new theme.
    pub fn start(self, changed: RwSignal<u32>) {
        self.board.start(move || changed.track(), move || self.draw());
        Effect::new(move |_| {
            if let Some(cursor) = self.cursor.get() {
                let _ = cursor.remove_attribute("hidden");
            }
        });
    }

    fn draw(self) {
        let (Some(axis), Some(series)) = (self.axis.get_untracked(), self.series.try_get_value()) else { return };
        let picture = series.picture();
        let marks = labels::marks(&picture, series.span, series.zone, self.lang);
        if !self.board.draw(&|to, palette| draw(to, &picture, palette).is_ok(), &marks) {
            return;
        }
        let axis: &Element = &axis;
        axis.set_inner_html(&labels::degrees_markup(&picture, self.lang));
        let _ = self.state.try_update_value(|state| state.picture = Some(picture));
        self.show_cursor();
    }

    /// The cursor follows a pointer.
    pub fn point(self, event: &PointerEvent) {
        let Some(cursor) = self.cursor.get_untracked() else { return };
        let rect = cursor.get_bounding_client_rect();
        if rect.width() <= 0.0 {
            return;
        }
        let part = (f64::from(event.client_x()) - rect.left()) / rect.width();
        let nearest = self.state.try_with_value(|state| {
            let picture = state.picture.as_ref()?;
            let ms = picture.start.ms() + (part * (picture.end.ms() - picture.start.ms()) as f64) as i64;
            self.series.try_with_value(|series| {
                let after = series.points.partition_point(|p| p.at.ms() < ms);
                let candidates = [after.checked_sub(1), (after < series.points.len()).then_some(after)];
                candidates.into_iter().flatten().min_by_key(|&index| (series.points[index].at.ms() - ms).abs())
            })?
        });
        self.set_cursor(nearest.flatten());
    }

    /// The cursor follows the arrow keys, one reading at a time; Page moves it by twelve.
    pub fn key(self, event: &KeyboardEvent) {
        let count = self.series.try_with_value(|series| series.points.len()).unwrap_or(0);
        if count == 0 {
            return;
        }
        let at = self.state.try_with_value(|state| state.at).flatten();
        let at = self.series.try_with_value(|series| place(series, at?)).flatten().unwrap_or(count - 1);
        let to = match event.key().as_str() {
            "ArrowLeft" | "ArrowDown" => at.saturating_sub(1),
            "ArrowRight" | "ArrowUp" => at + 1,
            "PageDown" => at.saturating_sub(12),
            "PageUp" => at + 12,
            "Home" => 0,
            "End" => count - 1,
            "Escape" => return self.set_cursor(None),
            _ => return,
        };
        event.prevent_default();
        self.set_cursor(Some(to.min(count - 1)));
    }

    /// The cursor appears at the newest reading.
    pub fn enter(self) {
        if self.state.try_with_value(|state| state.at.is_none()) == Some(true) {
            let newest = self.series.try_with_value(|series| series.points.len().checked_sub(1)).flatten();
            self.set_cursor(newest);
        }
    }

    /// The cursor goes with a mouse; after a touch it stays until something else is touched.
    pub fn unpoint(self, event: &PointerEvent) {
        if event.pointer_type() != "touch" {
            self.leave();
        }
    }

    /// The cursor goes.
    pub fn leave(self) {
        self.set_cursor(None);
    }

    fn set_cursor(self, at: Option<usize>) {
        let at = self.series.try_with_value(|series| {
            let of = series.points.get(at?)?.at;
            Some((of, at? - first(series, of)))
        });
        let at = at.flatten();
        if self.state.try_update_value(|state| state.at = at).is_some() {
            self.show_cursor();
        }
    }

    fn show_cursor(self) {
        let (Some(chart), Some(cursor)) = (self.board.chart.get_untracked(), self.cursor.get_untracked()) else { return };
        let chart: &Element = &chart;
        let Ok(Some(group)) = chart.query_selector("[data-part=cursor]") else { return };
        let shown = self.state.try_with_value(|state| {
            let picture = state.picture.as_ref()?;
            self.series.try_with_value(|series| {
                let at = place(series, state.at?)?;
                let point = series.points[at];
                let (lang, zone) = (self.lang, series.zone);
                let value = format::celsius_of(lang, point.temperature, series.range);
                let local = format!("{}, {}", format::day(lang, point.at.ms(), zone), format::clock(lang, point.at.ms(), zone));
                let utc = format::utc(point.at.ms());
                let (x, y) = (picture.x(point.at), labels::TOP + picture.y(point.temperature.0) * f64::from(labels::PLOT));
                let width = f64::from(cursor.client_width());
                // To the right of the line; to its left where that would not fit.
                let px = x * width;
                let left = if px + 184.0 <= width { 12.0 } else { (px - 184.0).max(0.0) - px };
                let (percent, bottom) = (x * 100.0, labels::TOP + f64::from(labels::PLOT));
                let box_y = if y > labels::TOP + 120.0 { labels::TOP + 24.0 } else { bottom - 96.0 };
                let markup = format!(
                    r#"<line class="cursor" x1="{percent:.2}%" x2="{percent:.2}%" y1="{}" y2="{bottom}"/><circle class="cursor-dot" cx="{percent:.2}%" cy="{y:.1}" r="4.5"/><svg x="{percent:.2}%" y="{box_y}" overflow="visible"><g transform="translate({left:.0} 0)"><rect class="tip-box" width="172" height="64" rx="6"/><text x="12" y="18">{local}</text><text class="tip-value" x="12" y="38">{value}</text><text x="12" y="55">{utc}</text></g></svg>"#,
                    labels::TOP,
                );
                Some((markup, format!("{value}, {local}, {utc}"), at, series.points.len()))
            })?
        });
        let Some((markup, text, at, count)) = shown.flatten() else {
            let _ = cursor.remove_attribute("aria-valuetext");
            return group.set_inner_html("");
        };
        group.set_inner_html(&markup);
        for (name, value) in
            [("aria-valuetext", text), ("aria-valuenow", at.to_string()), ("aria-valuemax", (count - 1).to_string())]
        {
            let _ = cursor.set_attribute(name, &value);
        }
    }
}

/// Where the first reading of that time stands among those of the chart.
fn first(series: &Series, at: EventTime) -> usize {
    series.points.partition_point(|point| point.at < at)
}

/// Where a reading stands; `None` of one that has left the chart.
fn place(series: &Series, (at, which): (EventTime, usize)) -> Option<usize> {
    let place = first(series, at) + which;
    (series.points.get(place)?.at == at).then_some(place)
}

fn context(canvas: &HtmlCanvasElement) -> Result<CanvasRenderingContext2d, JsValue> {
    Ok(canvas.get_context("2d")?.ok_or(JsValue::NULL)?.unchecked_into())
}

/// The colours of the theme: what the style sheet makes of one element of each class. A custom property itself would still be
/// `light-dark(…)`.
fn read_inks(chart: &Element) -> Option<Inks> {
    let probe = document().create_element_ns(Some("http://www.w3.org/2000/svg"), "g").ok()?;
    let mut markup = String::new();
    for class in CLASSES {
        let _ = write!(markup, r#"<path class="{class}"/>"#);
    }
    markup += r#"<text class="val"/><text/><text class="over-label"/><text class="over-label over-label--calm"/><text class="under-label"/><rect class="tip-box"/>"#;
    probe.set_inner_html(&markup);
    chart.append_child(&probe).ok()?;
    let children = probe.children();
    let read = |index: usize, property: &str| -> Option<Ink> {
        let element = children.item(index as u32)?;
        let text = window().get_computed_style(&element).ok()??.get_property_value(property).ok()?;
        parse_rgb(&text)
    };
    let text = CLASSES.len();
    let inks = || {
        Some(Inks {
            band: read(0, "fill")?,
            grid: read(1, "stroke")?,
            threshold: read(2, "stroke")?,
            axis: read(5, "stroke")?,
            fine: read(6, "stroke")?,
            warm: read(7, "stroke")?,
            hot: read(8, "stroke")?,
            cold: read(9, "stroke")?,
            text: read(text, "fill")?,
            muted: read(text + 1, "fill")?,
            act: read(text + 2, "fill")?,
            warn: read(text + 3, "fill")?,
            freeze: read(text + 4, "fill")?,
            bar: read(17, "fill")?,
            plain: read(18, "fill")?,
            surface: read(text + 5, "fill")?,
        })
    };
    let found = inks();
    probe.remove();
    found
}

/// `rgb(14, 138, 124)` or with an opacity.
fn parse_rgb(text: &str) -> Option<Ink> {
    let inside = text.split_once('(')?.1.trim_end_matches(')');
    let mut numbers = inside.split([',', ' ', '/']).filter(|part| !part.is_empty()).map(str::parse::<f64>);
    let mut next = || numbers.next()?.ok().map(|n| n as u8);
    Some((next()?, next()?, next()?))
}
