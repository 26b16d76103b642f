//! How the map is moved: pointer, touch, wheel and keys.

use super::Zoom;
use super::movable::{Shared, schedule, set_view, zoom_to};
use super::view::NEAREST;
use crate::components::link;
use leptos::prelude::*;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Element, Event, EventTarget, KeyboardEvent, PointerEvent, WheelEvent};

/// A pointer that moved less than this, in pixels, was a tap.
const TAP_PX: f64 = 6.0;
/// So far from where it meets the glass a finger means what it touches.
const REACH_PX: f64 = 22.0;
/// How far a key moves the map, as a part of its width.
const KEY_STEP: f64 = 0.12;

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

pub(super) fn listen(map: &Shared) {
    let root: EventTarget = map.borrow().parts.root.clone().into();

    let shared = map.clone();
    on::<Event>(&window().into(), "scroll", move |_| shared.borrow_mut().scrolled_at = js_sys::Date::now());

    let shared = map.clone();
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
            set_view(&shared, next);
        }
    });

    let shared = map.clone();
    on::<PointerEvent>(&root, "pointerdown", move |event| {
        // Another button opens a menu, which takes the release.
        if event.button() != 0 {
            return;
        }
        let mut map = shared.borrow_mut();
        let at = (f64::from(event.client_x()), f64::from(event.client_y()));
        map.pointers.retain(|(id, _, _)| *id != event.pointer_id());
        map.pointers.push((event.pointer_id(), at.0, at.1));
        if map.pointers.len() == 1 {
            map.down = at;
            map.dragged = false;
        }
    });

    let shared = map.clone();
    on::<PointerEvent>(&root, "pointermove", move |event| pointer_moved(&shared, &event));

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

    let shared = map.clone();
    on::<web_sys::MouseEvent>(&root, "click", move |event| clicked(&shared, &event));

    let shared = map.clone();
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
            keyed(&event, || set_view(&shared, next));
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

fn pointer_moved(shared: &Shared, event: &PointerEvent) {
    let at = (f64::from(event.client_x()), f64::from(event.client_y()));
    let next = {
        let mut map = shared.borrow_mut();
        if event.buttons() == 0 {
            // It was released where nobody was told.
            map.pointers.retain(|(id, _, _)| *id != event.pointer_id());
        }
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
    set_view(shared, next);
}

/// Whether it was an element of `selector` that was clicked, or something in one.
fn lies_in(event: &web_sys::MouseEvent, selector: &str) -> bool {
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    target.is_some_and(|target| target.closest(selector).is_ok_and(|found| found.is_some()))
}

/// Circles are small under a finger: the nearest within its reach opens.
fn open_near(shared: &Shared, event: &web_sys::MouseEvent) {
    let map = shared.borrow();
    if map.shows_points() || lies_in(event, "a") {
        return;
    }
    let Ok(links) = map.parts.svg.query_selector_all(".map__bubbles a") else { return };
    let links = (0..links.length()).filter_map(|index| links.item(index)?.dyn_into::<Element>().ok());
    let away = |link: &Element| {
        let rect = link.get_bounding_client_rect();
        let (x, y) = (rect.left() + rect.width() / 2.0, rect.top() + rect.height() / 2.0);
        (x - f64::from(event.client_x())).hypot(y - f64::from(event.client_y()))
    };
    let nearest = links.map(|link| (away(&link), link)).min_by(|one, other| one.0.total_cmp(&other.0));
    if let Some(href) = nearest.filter(|(away, _)| *away < REACH_PX).and_then(|(_, link)| link.get_attribute("href")) {
        let _ = window().location().set_href(&href);
    }
}

fn clicked(shared: &Shared, event: &web_sys::MouseEvent) {
    let (hit, dragged) = {
        let mut map = shared.borrow_mut();
        // Buttons of the map are not places of it.
        if lies_in(event, "button") {
            return;
        }
        let dragged = std::mem::take(&mut map.dragged);
        (map.hit(f64::from(event.client_x()), f64::from(event.client_y())), dragged)
    };
    if dragged {
        event.prevent_default();
        return;
    }
    let Some(cluster) = hit else { return open_near(shared, event) };
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
        set_view(shared, view.zoomed(2.5, x, y, base));
    }
}
