//! Suggestions under every search field while somebody types: a combobox after the pattern of the ARIA Authoring Practices. The
//! field is the server's, and without script a plain one; here it only gets a list.
//!
//! One question at a time: while an answer is under way, what is typed meanwhile is asked next, and an answer to anything but what the
//! field holds is thrown away. A slow network is never asked faster than it answers.

use crate::api::SearchHit;
use crate::components::link::encode;
use crate::fetch;
use crate::format;
use crate::words::Lang;
use leptos::prelude::{Effect, document, set_timeout, window};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{Element, Event, EventTarget, HtmlInputElement, KeyboardEvent};

/// Where suggestions come from.
const URL: &str = "/api/pages/suggest?text=";
/// So long nothing may be typed before it is asked.
const PAUSE: Duration = Duration::from_millis(180);
/// Fewer letters than this match too much.
const SHORTEST: usize = 2;

/// A search field with its list.
struct Field {
    input: HtmlInputElement,
    list: Element,
    /// Tells a screen reader how many there are.
    status: Element,
    lang: Lang,
    hits: RefCell<Vec<SearchHit>>,
    /// The option that the arrow keys have reached.
    at: Cell<Option<usize>>,
    /// Counts what was typed: a pause that was broken asks nothing.
    typed: Cell<u32>,
    asking: Cell<bool>,
    /// Suggestions were closed, or the field left, since the last letter.
    closed: Cell<bool>,
}

/// Gives a list to every search field of the page.
pub fn start(lang: Lang) {
    Effect::new(move |_| {
        let Ok(inputs) = document().query_selector_all("form[role=search] input[name=q]") else { return };
        for index in 0..inputs.length() {
            if let Some(input) = inputs.item(index).and_then(|node| node.dyn_into().ok()) {
                attach(input, index, lang);
            }
        }
    });
}

fn attach(input: HtmlInputElement, index: u32, lang: Lang) -> Option<()> {
    let words = &lang.words().search;
    let around = input.parent_element()?;
    let list = document().create_element("ul").ok()?;
    let id = format!("suggestions-{index}");
    for (name, value) in
        [("id", id.as_str()), ("class", "suggestions"), ("role", "listbox"), ("aria-label", words.suggestions), ("hidden", "")]
    {
        list.set_attribute(name, value).ok()?;
    }
    let status = document().create_element("span").ok()?;
    status.set_attribute("class", "sr").ok()?;
    status.set_attribute("role", "status").ok()?;
    around.append_child(&list).ok()?;
    around.append_child(&status).ok()?;
    around.class_list().add_1("suggested").ok()?;
    let roles = [
        ("role", "combobox"),
        ("aria-autocomplete", "list"),
        ("aria-controls", id.as_str()),
        ("aria-expanded", "false"),
        ("autocomplete", "off"),
    ];
    for (name, value) in roles {
        input.set_attribute(name, value).ok()?;
    }
    let field = Rc::new(Field {
        input,
        list,
        status,
        lang,
        hits: RefCell::default(),
        at: Cell::new(None),
        typed: Cell::new(0),
        asking: Cell::new(false),
        closed: Cell::new(true),
    });
    let (typed, keyed, left, chosen) = (field.clone(), field.clone(), field.clone(), field.clone());
    on::<Event>(&field.input, "input", move |_| typed.typed());
    on::<KeyboardEvent>(&field.input, "keydown", move |event| keyed.keyed(&event));
    on::<Event>(&field.input, "blur", move |_| left.close());
    // The field would lose focus, and the list close, before the click.
    on::<Event>(&field.list, "pointerdown", |event| event.prevent_default());
    on::<Event>(&field.list, "click", move |event| {
        let option = event.target().and_then(|t| t.dyn_into::<Element>().ok()).and_then(|e| e.closest("[role=option]").ok()?);
        if let Some(index) = option.and_then(|option| option.get_attribute("data-index")?.parse().ok()) {
            chosen.go(index);
        }
    });
    Some(())
}

fn on<E: JsCast + 'static>(target: &EventTarget, name: &str, mut act: impl FnMut(E) + 'static) {
    let closure = Closure::<dyn FnMut(Event)>::new(move |event: Event| act(event.unchecked_into()));
    let _ = target.add_event_listener_with_callback(name, closure.as_ref().unchecked_ref());
    // Lives as long as the page: links lead to new documents.
    closure.forget();
}

impl Field {
    fn text(&self) -> String {
        self.input.value().trim().to_owned()
    }

    fn typed(self: &Rc<Self>) {
        let typed = self.typed.get().wrapping_add(1);
        self.typed.set(typed);
        self.closed.set(false);
        if self.text().chars().count() < SHORTEST {
            return self.close();
        }
        let field = self.clone();
        set_timeout(
            move || {
                if field.typed.get() == typed {
                    field.ask();
                }
            },
            PAUSE,
        );
    }

    fn ask(self: &Rc<Self>) {
        if self.asking.replace(true) {
            return;
        }
        let field = self.clone();
        leptos::task::spawn_local(async move {
            let text = field.text();
            let hits = fetch::json::<Vec<SearchHit>>(&format!("{URL}{}", encode(&text))).await;
            field.asking.set(false);
            if field.closed.get() {
                return;
            }
            if field.text() == text {
                // Without an answer nothing is known: not that there is nothing.
                hits.map_or_else(|| field.close(), |hits| field.show(hits));
            } else if field.text().chars().count() >= SHORTEST {
                field.ask();
            }
        });
    }

    fn show(&self, hits: Vec<SearchHit>) {
        let words = self.lang.words();
        self.list.set_text_content(None);
        for (index, hit) in hits.iter().enumerate() {
            let _ = self.append(index, hit);
        }
        let said = match hits.len() {
            0 => words.search.suggestions_none.to_owned(),
            count => (words.search.suggestions_count)(&format::int(self.lang, count as u64)),
        };
        self.status.set_text_content(Some(&said));
        self.mark(None);
        self.open(!hits.is_empty());
        self.hits.replace(hits);
    }

    fn append(&self, index: usize, hit: &SearchHit) -> Option<()> {
        let option = document().create_element("li").ok()?;
        let (id, index) = (format!("{}-{index}", self.list.id()), index.to_string());
        for (name, value) in
            [("id", id.as_str()), ("role", "option"), ("class", "hit"), ("aria-selected", "false"), ("data-index", &index)]
        {
            option.set_attribute(name, value).ok()?;
        }
        let kind = self.lang.words().cold.of(hit.kind).one;
        let place = if hit.place.is_empty() { kind.to_owned() } else { format!("{kind} · {}", hit.place) };
        for (tag, text) in [("b", &hit.name), ("code", &hit.code), ("span", &place)] {
            let part = document().create_element(tag).ok()?;
            part.set_text_content(Some(text));
            option.append_child(&part).ok()?;
        }
        self.list.append_child(&option).ok()?;
        Some(())
    }

    fn open(&self, open: bool) {
        let _ = if open { self.list.remove_attribute("hidden") } else { self.list.set_attribute("hidden", "") };
        let _ = self.input.set_attribute("aria-expanded", if open { "true" } else { "false" });
    }

    fn is_open(&self) -> bool {
        !self.list.has_attribute("hidden")
    }

    fn close(&self) {
        self.closed.set(true);
        self.mark(None);
        self.open(false);
        self.status.set_text_content(None);
    }

    /// Marks the option that Enter would follow.
    fn mark(&self, at: Option<usize>) {
        self.at.set(at);
        let options = self.list.children();
        for index in 0..options.length() {
            let selected = at == Some(index as usize);
            if let Some(option) = options.item(index) {
                let _ = option.set_attribute("aria-selected", if selected { "true" } else { "false" });
            }
        }
        let _ = match at {
            Some(index) => self.input.set_attribute("aria-activedescendant", &format!("{}-{index}", self.list.id())),
            None => self.input.remove_attribute("aria-activedescendant"),
        };
    }

    fn keyed(self: &Rc<Self>, event: &KeyboardEvent) {
        let count = self.hits.borrow().len();
        match (event.key().as_str(), self.is_open()) {
            // From the field to the first or last option, through all of them, and back to the field.
            ("ArrowDown", true) => self.mark(self.at.get().map_or(Some(0), |at| (at + 1 < count).then_some(at + 1))),
            ("ArrowUp", true) => self.mark(self.at.get().map_or(Some(count - 1), |at| at.checked_sub(1))),
            ("ArrowDown", false) => self.typed(),
            ("Escape", true) => self.close(),
            ("Enter", true) => match self.at.get() {
                Some(at) => self.go(at),
                // As without script: the form is sent.
                None => return,
            },
            _ => return,
        }
        event.prevent_default();
    }

    fn go(&self, index: usize) {
        if let Some(hit) = self.hits.borrow().get(index) {
            let _ = window().location().set_href(&hit.href);
        }
    }
}
