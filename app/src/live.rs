//! The live stream: one `EventSource` per page, what it says about itself, and a clock that agrees with the server's.
//!
//! Everything here stands still on the server and until hydration is done; effects run in the browser only.

use crate::words::use_lang;
use domain::feed::{LiveTopic, Update};
use domain::time::{ProcessingTime, Zone};
use leptos::prelude::*;

/// Where live updates come from.
pub const PATH: &str = "/live";
/// Without any word for so long the stream counts as broken: the server says something every five seconds.
pub const SILENCE_MS: f64 = 20_000.0;
/// A page that nobody looks at lets go of its stream after so long: a browser opens six connections to one server, for all of its tabs
/// together, and a seventh page would wait for ever.
#[cfg(feature = "hydrate")]
const UNSEEN_MS: f64 = 3_000.0;
/// After so long without any word curves and hours have holes that the stream does not fill: it tells what is, not what was.
#[cfg(feature = "hydrate")]
const GAP_MS: f64 = 600_000.0;

/// How the page's connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not live: drawn by the server, a page without a stream, or one that nobody looks at.
    Still,
    /// The stream is being opened for the first time.
    Connecting,
    /// Open, and heard of within [`SILENCE_MS`].
    Live,
    /// Broken, the browser tries again.
    Reconnecting,
    /// The browser has no network.
    Offline,
}

/// The state of the stream and the server's time, in context for the whole page.
#[derive(Clone, Copy)]
pub struct Stream {
    /// How the connection stands.
    pub link: RwSignal<Link>,
    /// The server's time at its newest word; `None` before the first.
    pub heard_at: RwSignal<Option<ProcessingTime>>,
    /// The server's time now, ticking once a second; `None` on the server and until hydration is done.
    pub now: RwSignal<Option<ProcessingTime>>,
}

/// Puts the [`Stream`] into context; once, in the application.
pub fn provide_stream_state() {
    provide_context(Stream { link: RwSignal::new(Link::Still), heard_at: RwSignal::new(None), now: RwSignal::new(None) });
}

/// The state of the stream.
pub fn use_stream() -> Stream {
    expect_context()
}

/// Now, by the server's clock, in milliseconds: `taken_at` in the first picture, ticking once a second after mount.
pub fn use_now(taken_at: ProcessingTime) -> Signal<i64> {
    let stream = use_stream();
    Signal::derive(move || stream.now.get().map_or(taken_at.ms(), |now| now.ms().max(taken_at.ms())))
}

/// Subscribes the page to `topics` after mount and until cleanup.
///
/// `on_update` is called with every update, absolute values all of them: first with the full state of each topic, so nothing
/// falls between `taken_at` and the stream. `on_reload` is called when the server has dropped updates that carried more than
/// state (curves, hours): load the view again. Call this once per page.
pub fn use_live(
    topics: Vec<LiveTopic>,
    taken_at: ProcessingTime,
    on_update: impl Fn(Update) + 'static,
    on_reload: impl Fn() + 'static,
) {
    #[cfg(feature = "hydrate")]
    browser::subscribe(topics, taken_at, on_update, on_reload);
    #[cfg(not(feature = "hydrate"))]
    let _ = (topics, taken_at, on_update, on_reload);
}

/// The pill that says how live the page is.
///
/// `as_of` is what it says of a page that is not live: with the time in words.
#[component]
pub fn LivePill(
    /// The time of the page's data, as people read it.
    as_of: String,
    /// The zone in which it tells times.
    zone: Zone,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().general;
    let Stream { link, heard_at, now } = use_stream();
    let still = (words.as_of)(&as_of);
    let last_known = move || heard_at.get().map_or_else(|| as_of.clone(), |at| crate::format::time(lang, at.ms(), zone));
    let text = move || match link.get() {
        Link::Still => match heard_at.get() {
            Some(_) => (words.as_of)(&last_known()),
            None => still.clone(),
        },
        Link::Connecting => words.connecting.to_owned(),
        Link::Live => {
            let age = now.get().zip(heard_at.get()).map_or(0, |(now, heard)| now.ms() - heard.ms());
            (words.live)(&crate::format::age(lang, age))
        }
        Link::Reconnecting => words.reconnecting.to_owned(),
        Link::Offline => (words.offline)(&last_known()),
    };
    let state = move || match link.get() {
        Link::Still => "paused",
        Link::Connecting | Link::Reconnecting => "reconnecting",
        Link::Live => "live",
        Link::Offline => "offline",
    };
    view! { <span class="live" data-state=state>{text}</span> }
}

#[cfg(feature = "hydrate")]
mod browser {
    use super::{GAP_MS, Link, PATH, SILENCE_MS, Stream, UNSEEN_MS, use_stream};
    use domain::feed::{ChildNow, DeviceMore, DeviceNow, LiveTopic, OutOfRange, PipelineNow, RegionNow, Update};
    use domain::time::ProcessingTime;
    use leptos::prelude::*;
    use serde::Deserialize;
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::time::Duration;
    use wasm_bindgen::JsCast;
    use wasm_bindgen::closure::Closure;
    use web_sys::{EventSource, MessageEvent};

    // The kinds of [`Update`] one by one: the name of the event tells which it is, and reading the tagged enum instead would put a
    // second reader of every type into the bundle.
    #[derive(Deserialize)]
    struct RegionData {
        code: String,
        now: RegionNow,
        children: Vec<ChildNow>,
        #[serde(default)]
        worst: Option<Vec<OutOfRange>>,
    }
    #[derive(Deserialize)]
    struct FacilityData {
        code: String,
        devices: Vec<DeviceNow>,
    }
    #[derive(Deserialize)]
    struct DeviceData {
        device: DeviceNow,
        #[serde(default)]
        more: DeviceMore,
    }
    #[derive(Deserialize)]
    struct PipelineData {
        now: PipelineNow,
    }

    /// An open stream with the closures that it calls; closed when dropped.
    struct Source {
        events: EventSource,
        _closures: Vec<Closure<dyn FnMut(MessageEvent)>>,
    }

    impl Drop for Source {
        fn drop(&mut self) {
            self.events.close();
        }
    }

    pub(super) fn subscribe(
        topics: Vec<LiveTopic>,
        taken_at: ProcessingTime,
        on_update: impl Fn(Update) + 'static,
        on_reload: impl Fn() + 'static,
    ) {
        let stream = use_stream();
        let on_update: Rc<dyn Fn(Update)> = Rc::new(on_update);
        let on_reload = Rc::new(on_reload);
        Effect::new(move |_| {
            let topics: Vec<String> = topics.iter().map(ToString::to_string).collect();
            let url = format!("{PATH}?topics={}", js_sys::encode_uri_component(&topics.join(",")));
            // The server's clock minus this machine's, from its newest word; until then from the page itself.
            let offset = Rc::new(Cell::new(taken_at.ms() as f64 - js_sys::Date::now()));
            let heard = Rc::new(Cell::new(js_sys::Date::now()));
            let source: Rc<RefCell<Option<Source>>> = Rc::default();
            let opened = Rc::new(Cell::new(0.0));
            // When somebody looked at the page last, and since when this is one look.
            let (seen, looked) = (Cell::new(js_sys::Date::now()), Cell::new(0.0));
            let open = {
                let (offset, heard, source, opened) = (offset.clone(), heard.clone(), source.clone(), opened.clone());
                let (on_update, on_reload) = (on_update.clone(), on_reload.clone());
                move || {
                    opened.set(js_sys::Date::now());
                    // The old one first: both would count.
                    source.take();
                    *source.borrow_mut() = open(&url, stream, &offset, &heard, &on_update, on_reload.clone());
                }
            };
            let is_open = Cell::new(false);
            let tick = Rc::new(move || {
                let now = js_sys::Date::now();
                stream.now.set(Some(ProcessingTime::from_ms((now + offset.get()) as i64)));
                if document().hidden() {
                    if now - seen.get() > UNSEEN_MS && is_open.replace(false) {
                        source.take();
                        stream.link.set(Link::Still);
                    }
                } else {
                    seen.set(now);
                    if !is_open.replace(true) {
                        // It begins with the whole state; what it does not tell, pages ask for.
                        stream.link.set(Link::Connecting);
                        looked.set(now);
                        open();
                    }
                }
                if !is_open.get() {
                    return;
                }
                let before = stream.link.get_untracked();
                let quiet = now - heard.get().max(looked.get());
                let closed = source.borrow().as_ref().is_none_or(|s| s.events.ready_state() == EventSource::CLOSED);
                let broken = closed || quiet > SILENCE_MS || matches!(before, Link::Reconnecting | Link::Offline);
                let link = match before {
                    _ if !broken => before,
                    // What has not been heard of for so long is no longer "in a moment": the figures are the last known.
                    _ if quiet > 2.0 * SILENCE_MS || !window().navigator().on_line() => Link::Offline,
                    _ => Link::Reconnecting,
                };
                if before != link {
                    stream.link.set(link);
                }
                // The browser tries again by itself, but not after an answer it cannot use, nor while a dead line seems open.
                let since_opened = now - opened.get();
                if (closed && since_opened > 3_000.0) || (quiet > SILENCE_MS && since_opened > SILENCE_MS) {
                    open();
                }
            });
            tick();
            let on_look = tick.clone();
            let listener = window_event_listener_untyped("visibilitychange", move |_| on_look());
            on_cleanup(move || listener.remove());
            if let Ok(interval) = set_interval_with_handle(move || tick(), Duration::from_secs(1)) {
                on_cleanup(move || interval.clear());
            }
        });
    }

    fn open(
        url: &str,
        stream: Stream,
        offset: &Rc<Cell<f64>>,
        heard: &Rc<Cell<f64>>,
        on_update: &Rc<dyn Fn(Update)>,
        on_reload: Rc<dyn Fn()>,
    ) -> Option<Source> {
        let events = EventSource::new(url).ok()?;
        let mut closures = Vec::new();
        let mut listen = |name: &str, mut act: Box<dyn FnMut(String)>| {
            let (heard, on_reload) = (heard.clone(), on_reload.clone());
            let closure = Closure::new(move |event: MessageEvent| {
                let now = js_sys::Date::now();
                if now - heard.replace(now) > GAP_MS {
                    on_reload();
                }
                act(event.data().as_string().unwrap_or_default());
            });
            let _ = events.add_event_listener_with_callback(name, closure.as_ref().unchecked_ref());
            closures.push(closure);
        };
        let set_live = move |at: ProcessingTime| {
            stream.heard_at.set(Some(at));
            if stream.link.get_untracked() != Link::Live {
                stream.link.set(Link::Live);
            }
        };
        let mut update = |kind: &str, read: fn(&str) -> serde_json::Result<Update>| {
            let (on_update, offset) = (on_update.clone(), offset.clone());
            listen(
                kind,
                Box::new(move |data| {
                    set_live(ProcessingTime::from_ms((js_sys::Date::now() + offset.get()) as i64));
                    match read(&data) {
                        Ok(update) => on_update(update),
                        Err(error) => leptos::logging::warn!("live update not understood: {error}"),
                    }
                }),
            );
        };
        update("region", |data| {
            let RegionData { code, now, children, worst } = serde_json::from_str(data)?;
            Ok(Update::Region { code, now, children, worst })
        });
        update("facility", |data| {
            let FacilityData { code, devices } = serde_json::from_str(data)?;
            Ok(Update::Facility { code, devices })
        });
        update("device", |data| {
            let DeviceData { device, more } = serde_json::from_str(data)?;
            Ok(Update::Device { device, more })
        });
        update("pipeline", |data| {
            let PipelineData { now } = serde_json::from_str(data)?;
            Ok(Update::Pipeline { now })
        });
        let beat = offset.clone();
        listen(
            "beat",
            Box::new(move |data| {
                // `{"now":1795158300000}`
                if let Ok(ms) = data.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>() {
                    beat.set(ms - js_sys::Date::now());
                }
                set_live(ProcessingTime::from_ms((js_sys::Date::now() + beat.get()) as i64));
            }),
        );
        let reload = on_reload.clone();
        listen("reload", Box::new(move |_| reload()));
        let error = Closure::new(move |_: MessageEvent| {
            // What has been broken for longer stays what the clock has made of it.
            if matches!(stream.link.get_untracked(), Link::Live | Link::Connecting) {
                stream.link.set(Link::Reconnecting);
            }
        });
        events.set_onerror(Some(error.as_ref().unchecked_ref()));
        closures.push(error);
        Some(Source { events, _closures: closures })
    }
}
