//! The cursor of small charts: it follows pointer and keys over a chart's slider and tells what stands there.
//!
//! What a chart shows stands in the table below it, from left to right or, over time, the newest first: from there it is told.

use super::plain_chart::{PLOT, Places};
use crate::chart::standalone::escaped;
use leptos::prelude::{document, set_interval};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Element, Event, HtmlInputElement, KeyboardEvent, PointerEvent};

/// So often what the cursor tells is told anew: figures change under it.
const AGAIN: Duration = Duration::from_millis(500);

/// From here on every slider with the class `chart-range` moves the cursor of its chart.
pub fn start() {
    let shown: Rc<RefCell<Option<HtmlInputElement>>> = Rc::default();
    let again = Rc::clone(&shown);
    let heard = Closure::<dyn FnMut(Event)>::new(move |event: Event| {
        if let Some(slider) = slider_of(&event) {
            let is_touch = || event.unchecked_ref::<PointerEvent>().pointer_type() == "touch";
            let is_escape = || event.unchecked_ref::<KeyboardEvent>().key() == "Escape";
            let mut shown = shown.borrow_mut();
            match event.type_().as_str() {
                "pointermove" => slider.set_value(&nearest(&slider, event.unchecked_ref()).to_string()),
                // What other keys change comes as `input`.
                "keydown" if !is_escape() => return,
                // After a touch it stays until something else is touched.
                "pointerout" if is_touch() => return,
                "keydown" | "pointerout" | "focusout" => {
                    tell(&slider, false);
                    *shown = None;
                    return;
                }
                _ => {}
            }
            tell(&slider, true);
            *shown = Some(slider);
        }
    });
    for name in ["pointermove", "pointerout", "input", "keydown", "focusin", "focusout"] {
        let _ = document().add_event_listener_with_callback(name, heard.as_ref().unchecked_ref());
    }
    // Lives as long as the page.
    heard.forget();
    set_interval(
        move || {
            again.borrow().as_ref().and_then(|slider| tell(slider, true));
        },
        AGAIN,
    );
}

fn slider_of(event: &Event) -> Option<HtmlInputElement> {
    event.target()?.dyn_into::<HtmlInputElement>().ok().filter(|input| input.class_name().starts_with("chart-range"))
}

/// How many values the chart has.
fn count(slider: &HtmlInputElement) -> usize {
    slider.max().parse::<usize>().unwrap_or(0) + 1
}

fn places(slider: &HtmlInputElement) -> Places {
    Places::named(&slider.name())
}

fn nearest(slider: &HtmlInputElement, event: &PointerEvent) -> usize {
    let percent = f64::from(event.offset_x()) / f64::from(slider.client_width()) * 100.0;
    places(slider).nearest(percent, count(slider))
}

/// Tells what the slider stands on, or nothing.
fn tell(slider: &HtmlInputElement, is_shown: bool) -> Option<()> {
    let panel = slider.closest(".panel").ok()??;
    let tip = panel.query_selector(".chart-tip").ok()??;
    if !is_shown {
        tip.set_inner_html("");
        return slider.remove_attribute("aria-valuetext").ok();
    }
    let (places, count, at) = (places(slider), count(slider), slider.value().parse::<usize>().ok()?);
    let row = if places.is_time() { count - 1 - at } else { at };
    let row: Element = panel.query_selector_all("tbody tr").ok()?.item(row as u32)?.unchecked_into();
    let cell = |tag| Some(escaped(&row.query_selector(tag).ok()??.text_content()?));
    let (name, value) = (cell("th")?, cell("td")?);
    let percent = places.at(at, count);
    let left = if percent > 50.0 { -132 } else { 12 };
    tip.set_inner_html(&format!(
        r#"<line class="cursor" x1="{percent:.2}%" x2="{percent:.2}%" y1="0" y2="{PLOT}"/><svg x="{percent:.2}%" y="24" overflow="visible"><g transform="translate({left} 0)"><rect class="tip-box" width="120" height="46" rx="6"/><text x="12" y="18">{name}</text><text class="tip-value" x="12" y="38">{value}</text></g></svg>"#
    ));
    slider.set_attribute("aria-valuetext", &format!("{name}: {value}")).ok()
}
