//! The devices outside their range now, worst first: values change in place, rows keep their places under a pointer or focus.

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

use crate::components::hold::Hold;
use crate::components::icon::Icon;
use crate::components::link;
use crate::components::settled::Erase;
use crate::components::status;
use crate::format;
use crate::words::use_lang;
use domain::coldchain::Condition;
use domain::feed::{Counts, OutOfRange};
use leptos::prelude::*;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Rows shown at once.
const SHOWN: usize = 6;

#[derive(Clone, Debug, PartialEq)]
struct Row {
    entry: OutOfRange,
    /// It has come back into range while it was shown.
    back: bool,
}

/// The rows of the list, and the newest list where the rows must not move yet.
#[derive(Clone)]
pub struct WorstRows {
    order: RwSignal<Vec<String>>,
    /// Counted, not owned by whatever runs when a row comes: a handler's owner is gone before the row is.
    rows: StoredValue<BTreeMap<String, ArcRwSignal<Row>>>,
    newest: RwSignal<Vec<OutOfRange>>,
    /// How many rows would come or go if the list were sorted now.
    pending: RwSignal<usize>,
    hold: Hold,
}

/// The list, to whom holds it.
const LIST: &str = "worst-title";

impl WorstRows {
    /// The rows of the first picture.
    pub fn new(worst: &[OutOfRange]) -> Self {
        let shown = &worst[..worst.len().min(SHOWN)];
        let row = |entry: &OutOfRange| (entry.device.clone(), ArcRwSignal::new(Row { entry: entry.clone(), back: false }));
        Self {
            order: RwSignal::new(shown.iter().map(|entry| entry.device.clone()).collect()),
            rows: StoredValue::new(shown.iter().map(row).collect()),
            newest: RwSignal::new(worst.to_vec()),
            pending: RwSignal::new(0),
            hold: Hold::default(),
        }
    }

    /// Takes the newest list, worst first: values at once, places when nobody is pointing at the list.
    pub fn apply(&self, worst: Vec<OutOfRange>) {
        // The server sends the 20 worst. A row that is missing in a shorter list is back in range; in a full one nobody knows.
        let complete = worst.len() < 20;
        self.rows.with_value(|rows| {
            for (id, signal) in rows {
                match worst.iter().find(|entry| entry.device == *id) {
                    Some(entry) if signal.with_untracked(|row| !row.back && row.entry == *entry) => {}
                    Some(entry) => signal.set(Row { entry: entry.clone(), back: false }),
                    None if complete => signal.update(|row| row.back = true),
                    None => {}
                }
            }
        });
        let wanted =
            worst.iter().take(SHOWN).filter(|entry| !self.order.with_untracked(|order| order.contains(&entry.device))).count();
        let gone = self
            .order
            .with_untracked(|order| order.iter().filter(|id| worst.iter().take(SHOWN).all(|entry| entry.device != **id)).count());
        self.newest.set(worst);
        if self.hold.is_on(LIST) {
            self.pending.set(wanted.max(gone));
        } else {
            self.sort();
        }
    }

    /// Brings the rows into the newest order.
    fn sort(&self) {
        let newest = self.newest.get_untracked();
        let shown = &newest[..newest.len().min(SHOWN)];
        self.rows.update_value(|rows| {
            rows.retain(|id, _| shown.iter().any(|entry| entry.device == *id));
            for entry in shown {
                rows.entry(entry.device.clone()).or_insert_with(|| ArcRwSignal::new(Row { entry: entry.clone(), back: false }));
            }
        });
        let order: Vec<String> = shown.iter().map(|entry| entry.device.clone()).collect();
        if self.order.with_untracked(|old| *old != order) {
            self.order.set(order);
        }
        self.pending.set(0);
    }

    fn released(&self) {
        if self.pending.get_untracked() > 0 {
            self.sort();
        }
    }
}

/// The list of the worst.
#[component]
pub fn Worst(rows: WorstRows, counts: Memo<Counts>, now: Signal<i64>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().region;
    let order = rows.order;
    let pending = rows.pending;
    let all = move || counts.get().out_of_range();
    let here = link::use_here();
    let all_href = format!("{}#children", here.with_all(&[("sort", "out"), ("dir", "")]));
    let sort = {
        let rows = rows.clone();
        move |_| rows.sort()
    };
    // In place of the link, so that no row moves when it comes: a row that slips away from under the pointer would not be held.
    let head = move || {
        if pending.get() > 0 {
            let sort = sort.clone();
            let text = move || (words.changed_sort)(&format::int(lang, pending.get() as u64));
            return view! { <button class="btn btn--quiet resort" type="button" on:click=sort>{text}</button> }.erased();
        }
        let shown = order.with(Vec::len);
        (all() as usize > shown)
            .then(|| {
                view! { <a href=all_href.clone()>{(words.worst_all)(&format::int(lang, all()))}</a> }
            })
            .erased()
    };
    let (hold, released) = (rows.hold, rows.clone());
    let released: Rc<dyn Fn()> = Rc::new(move || released.released());
    let (leave, blur) = (released.clone(), released);
    let list_rows = rows.clone();
    let row = move |id: String| {
        let topic = topic.clone();
        list_rows.rows.with_value(|rows| rows.get(&id).cloned()).map(|row| view! { <WorstRow row=row.into() now topic/> })
    };
    view! {
        <section
            class="panel top"
            id="worst"
            aria-labelledby=LIST
            on:pointerenter=move |_| hold.point(LIST)
            on:pointerleave=move |_| hold.leave(LIST, leave.clone())
            on:focusout=move |_| hold.blur(LIST, blur.clone())
        >
            <div class="panel__head">
                <h2 id=LIST>{words.worst}</h2>
                {head}
            </div>
            <ol class="alerts">
                <For each=move || order.get() key=Clone::clone children=row/>
            </ol>
            <Show when=move || order.with(Vec::is_empty)>
                {move || {
                    let (tone, title, note) = if counts.get().reporting() == 0 {
                        ("unknown", words.worst_silent, words.worst_silent_note)
                    } else {
                        ("ok", words.worst_none, words.worst_none_note)
                    };
                    view! {
                        <div class="empty" data-tone=tone>
                            <Icon name=tone/>
                            <h3>{title}</h3>
                            <p>{note}</p>
                        </div>
                    }
                }}
            </Show>
        </section>
    }
}

#[component]
fn WorstRow(row: RwSignal<Row>, now: Signal<i64>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let first = row.get_untracked().entry;
    let (zone, range) = (format::zone_of(&first.facility), first.equipment.range());
    let since = Memo::new(move |_| row.with(|row| row.entry.excursion.since.ms()));
    let length = Memo::new(move |_| format::length(lang, now.get() - since.get()));
    let condition = move || row.with(|row| if row.back { Condition::Fine } else { row.entry.condition });
    let what = move || {
        row.with(|row| {
            // What it was when it was still outside is not what it is now.
            if row.back {
                return words.region.back_in_range.to_owned();
            }
            format!("{} {}", status::word(words, row.entry.condition), format::celsius_of(lang, row.entry.temperature, range))
        })
    };
    let peak = move || {
        row.with(|row| {
            let say = if row.entry.condition == Condition::TooWarm { words.cold.peak } else { words.cold.lowest };
            say(&format::celsius_of(lang, row.entry.excursion.peak, range))
        })
    };
    let place =
        format!("{}, {} · {}", status::equipment(words, first.equipment.into(), first.number), first.facility_name, first.place);
    view! {
        <li>
            <a class="alert alert--plain" data-tone=move || status::tone(condition()) href=link::device(&first.device) data-live=topic>
                {move || view! { <Icon name=status::icon(condition())/> }}
                <span class="alert__what">{what}</span>
                <span class="alert__since">{length}</span>
                <span class="alert__where">{place}</span>
                <span class="alert__who">
                    {peak}
                    " · "
                    <time datetime=move || format::datetime_attribute(since.get(), zone) title=move || format::utc(since.get())>
                        {move || (words.cold.since)(&format::moment(lang, since.get(), zone, now.get()))}
                    </time>
                </span>
            </a>
        </li>
    }
}
