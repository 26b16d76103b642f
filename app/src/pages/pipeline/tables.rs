//! Where records came from, why some were refused, and those themselves. The stream tells that something has changed, the tables
//! are asked for again then: they are what a reload shows, all as of one moment.

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

use super::ZONE;
use crate::api::{DeadLetterRow, HourRow, PipelineView, ReasonRow, SourceRow};
use crate::components::hold::Hold;
use crate::components::icon::Icon;
use crate::components::settled::{Content, Erase};
use crate::components::when::Age;
use crate::fetch::Refresh;
use crate::format;
use crate::words::{Lang, use_lang};
use domain::event::Topic;
use domain::feed::DeviceNow;
use leptos::prelude::*;
use std::rc::Rc;
use std::time::Duration;

/// How often the tables are asked for while records come in.
const PAUSE: Duration = Duration::from_secs(5);
/// Where.
const URL: &str = "/api/pages/pipeline";

/// The table of dead letters, to whom holds it.
const LETTERS: &str = "dead-letters";

/// The tables of the page.
#[derive(Clone)]
pub struct Tables {
    /// As of when, in milliseconds since the Unix epoch.
    pub taken_at: RwSignal<i64>,
    /// Records per second, by minute, the running one last.
    pub rate: RwSignal<Vec<f32>>,
    /// What waited, by minute, the running one last.
    pub lag: RwSignal<Vec<Option<u64>>>,
    /// The newest hours.
    pub hours: RwSignal<Vec<HourRow>>,
    /// All records then, in one row.
    pub all: RwSignal<SourceRow>,
    /// By source.
    pub sources: RwSignal<Vec<SourceRow>>,
    /// By topic.
    pub topics: RwSignal<Vec<SourceRow>>,
    /// By day, the newest first.
    pub days: RwSignal<Vec<SourceRow>>,
    /// Rejections by reason.
    pub reasons: RwSignal<Vec<ReasonRow>>,
    /// The newest dead letters, as shown.
    pub dead_letters: RwSignal<Vec<DeadLetterRow>>,
    /// Those that come once nobody holds the list.
    newest_letters: StoredValue<Vec<DeadLetterRow>>,
    /// The newest devices that nobody has registered.
    pub unregistered: RwSignal<Vec<DeviceNow>>,
    hold: Hold,
}

impl Tables {
    /// Those of the first picture.
    pub fn new(view: &PipelineView) -> Self {
        Self {
            taken_at: RwSignal::new(view.taken_at.ms()),
            rate: RwSignal::new(view.rate.clone()),
            lag: RwSignal::new(view.lag.clone()),
            hours: RwSignal::new(view.hours.clone()),
            all: RwSignal::new(all_of(view)),
            sources: RwSignal::new(view.sources.clone()),
            topics: RwSignal::new(view.topics.clone()),
            days: RwSignal::new(view.days.clone()),
            reasons: RwSignal::new(view.reasons.clone()),
            dead_letters: RwSignal::new(view.dead_letters.clone()),
            unregistered: RwSignal::new(view.unregistered.clone()),
            newest_letters: StoredValue::new(view.dead_letters.clone()),
            hold: Hold::default(),
        }
    }

    /// Asks for them again whenever told that something has changed.
    pub fn follow(&self) -> Refresh {
        let tables = self.clone();
        let take = move |view: PipelineView| {
            tables.take(view);
            false
        };
        Refresh::new(PAUSE, || URL.to_owned(), take)
    }

    fn take(&self, mut view: PipelineView) {
        self.taken_at.set(view.taken_at.ms());
        put(self.all, all_of(&view));
        // A page that nobody looked at for some minutes has missed those.
        self.rate.set(std::mem::take(&mut view.rate));
        put(self.lag, std::mem::take(&mut view.lag));
        put(self.hours, std::mem::take(&mut view.hours));
        if self.hold.is_on("sources") {
            self.sources.with_untracked(|shown| keep_order(&mut view.sources, |row| place(shown, |s| s.name == row.name)));
        }
        if self.hold.is_on("topics") {
            self.topics.with_untracked(|shown| keep_order(&mut view.topics, |row| place(shown, |s| s.name == row.name)));
        }
        if self.hold.is_on("reasons") {
            self.reasons.with_untracked(|shown| keep_order(&mut view.reasons, |row| place(shown, |s| s.reason == row.reason)));
        }
        self.newest_letters.set_value(view.dead_letters);
        if !self.hold.is_on(LETTERS) {
            self.show_letters();
        }
        put(self.sources, view.sources);
        put(self.topics, view.topics);
        put(self.days, view.days);
        put(self.reasons, view.reasons);
        if !self.hold.is_on("unregistered") {
            put(self.unregistered, view.unregistered);
        }
    }

    fn show_letters(&self) {
        put(self.dead_letters, self.newest_letters.get_value());
    }

    /// "as of 14.05 WIB".
    fn stamp(&self, lang: Lang) -> Signal<String> {
        let taken_at = self.taken_at;
        Signal::derive(move || (lang.words().pipeline.as_of)(&format::clock(lang, taken_at.get(), ZONE)))
    }
}

/// All records, in the columns of the tables.
fn all_of(view: &PipelineView) -> SourceRow {
    let now = &view.now;
    SourceRow {
        name: String::new(),
        received: now.received,
        accepted: now.accepted,
        duplicate: now.duplicate,
        late: now.late,
        rejected: now.rejected,
        last: None,
    }
}

fn put<T: PartialEq + Send + Sync + 'static>(signal: RwSignal<T>, value: T) {
    if signal.with_untracked(|old| *old != value) {
        signal.set(value);
    }
}

/// The place of a row among those shown; new ones come last.
fn place<T>(shown: &[T], is_it: impl Fn(&T) -> bool) -> usize {
    shown.iter().position(is_it).unwrap_or(shown.len())
}

/// Brings rows into the order of their places. Insertion, as for the other short tables: see `region/children.rs`.
fn keep_order<T>(rows: &mut [T], place: impl Fn(&T) -> usize) {
    for end in 1..rows.len() {
        let mut at = end;
        while at > 0 && place(&rows[at - 1]) > place(&rows[at]) {
            rows.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// The name of a topic in words; as it came where nobody knows it.
pub fn topic_name(lang: Lang, name: String) -> String {
    match Topic::from_name(&name) {
        Some(topic) => lang.words().pipeline.topic_names[topic as usize].to_owned(),
        None => name,
    }
}

/// The date of a day, which is known by its beginning; what stands for other days as it is.
pub fn day_name(lang: Lang, name: String) -> String {
    // A day of UTC begins within the same day of our zones.
    name.parse().map_or(name, |begins| format::date(lang, begins, ZONE))
}

/// A panel around a table: while a pointer or focus is in it, its rows keep their places.
#[component]
pub fn TablePanel(
    /// Of the heading.
    id: &'static str,
    /// Heading.
    title: &'static str,
    /// What stands at the right of the title.
    #[prop(into)]
    note: Signal<String>,
    /// All tables.
    tables: Tables,
    /// What is in it.
    children: Content,
) -> impl IntoView {
    let hold = tables.hold;
    let released: Rc<dyn Fn()> = Rc::new(move || {
        if id == LETTERS {
            tables.show_letters();
        }
    });
    let (leave, blur) = (released.clone(), released);
    view! {
        <section
            class="panel"
            aria-labelledby=id
            data-live="pipeline"
            on:pointerenter=move |_| hold.point(id)
            on:pointerleave=move |_| hold.leave(id, leave.clone())
            on:focusout=move |_| hold.blur(id, blur.clone())
        >
            <div class="panel__head"><h2 id=id>{title}</h2><span class="age">{note}</span></div>
            {children.run()}
        </section>
    }
}

/// The cells of a row: received, accepted, duplicate, late, rejected.
fn cells(lang: Lang, row: &SourceRow) -> impl IntoView + use<> {
    let cell = |number: u64, class: &'static str| {
        let class = if number == 0 { format!("zero {class}") } else { class.to_owned() };
        view! { <td class=class>{format::int(lang, number)}</td> }
    };
    (cell(row.received, ""), cell(row.accepted, "p3"), cell(row.duplicate, "p3"), cell(row.late, "p3"), cell(row.rejected, ""))
}

/// What became of the records of each source, topic or day.
#[component]
pub fn SourcesPanel(
    /// Of the heading.
    id: &'static str,
    /// Heading.
    title: &'static str,
    /// What a row is.
    column: &'static str,
    /// The largest of them.
    rows: RwSignal<Vec<SourceRow>>,
    /// The name of one in words.
    name: fn(Lang, String) -> String,
    /// All tables.
    tables: Tables,
    /// Now, where it is told when each was last heard of.
    #[prop(optional_no_strip)]
    now: Option<Signal<i64>>,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let all = tables.all;
    let empty = Memo::new(move |_| rows.with(Vec::is_empty));
    let body = move || {
        let line = |row: SourceRow| {
            let cells = cells(lang, &row);
            let last = now.map(|now| {
                let at = row.last.map(domain::time::ProcessingTime::ms);
                view! { <td class="p2 muted"><Age at=Signal::stored(at) now/></td> }
            });
            view! { <tr><th scope="row">{name(lang, row.name)}</th>{cells}{last}</tr> }
        };
        let rest = others(&all.get(), &rows.read(), words.others);
        rows.get().into_iter().chain(rest).map(line).collect_view()
    };
    let total = move || cells(lang, &all.read());
    view! {
        <TablePanel id title note=tables.stamp(lang) tables>
            {move || empty.get().then(|| view! { <p class="pad muted">{words.nothing_yet}</p> })}
            <div class="scroll" tabindex="0" role="group" aria-labelledby=id>
                <table class="table">
                    <thead>
                        <tr>
                            <th scope="col">{column}</th>
                            <th scope="col">{words.columns[0]}</th>
                            <th scope="col" class="p3">{words.columns[1]}</th>
                            <th scope="col" class="p3">{words.columns[2]}</th>
                            <th scope="col" class="p3">{words.columns[3]}</th>
                            <th scope="col">{words.columns[4]}</th>
                            {now.map(|_| view! { <th scope="col" class="p2">{words.last}</th> })}
                        </tr>
                    </thead>
                    <tbody>{body}</tbody>
                    <tfoot><tr><th scope="row">{words.total}</th>{total}{now.map(|_| view! { <td class="p2"></td> })}</tr></tfoot>
                </table>
            </div>
        </TablePanel>
    }
}

/// Only the largest are listed; the rest is what is missing to the total.
fn others(all: &SourceRow, rows: &[SourceRow], name: &str) -> Option<SourceRow> {
    let rest = |read: fn(&SourceRow) -> u64| read(all).saturating_sub(rows.iter().map(read).sum());
    let row = SourceRow {
        name: name.to_owned(),
        received: rest(|r| r.received),
        accepted: rest(|r| r.accepted),
        duplicate: rest(|r| r.duplicate),
        late: rest(|r| r.late),
        rejected: rest(|r| r.rejected),
        last: None,
    };
    (row.received > 0).then_some(row)
}

/// Why records were rejected, and what to do about it.
#[component]
pub fn ReasonsPanel(
    /// All tables.
    tables: Tables,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let reasons = tables.reasons;
    let empty = Memo::new(move |_| reasons.with(Vec::is_empty));
    let rows = move || {
        let row = |ReasonRow { reason, count, newest }| {
            let (what, step) = words.reason_words[reason as usize];
            let example = newest.map(|at| view! { <a href=format!("/pipeline/dead-letters/{at}")>{words.newest}</a> });
            view! {
                <tr>
                    <th scope="row">{what}</th>
                    <td>{format::int(lang, count)}</td>
                    <td class="txt">{example}</td>
                    <td class="txt p3"><code>{reason.name()}</code></td>
                    <td class="txt">{step}</td>
                </tr>
            }
        };
        reasons.get().into_iter().map(row).collect_view()
    };
    let content = move || {
        if empty.get() {
            return view! {
                <div class="empty" data-tone="ok">
                    <Icon name="ok"/>
                    <h3>{words.reasons_none}</h3>
                    <p>{words.reasons_none_note}</p>
                </div>
            }
            .erased();
        }
        view! {
            <div class="scroll" tabindex="0" role="group" aria-labelledby="reasons">
                <table class="table table--wrap">
                    <thead>
                        <tr>
                            <th scope="col">{words.reason}</th>
                            <th scope="col">{words.column_records}</th>
                            <th scope="col" class="txt">{words.example}</th>
                            <th scope="col" class="txt p3">"API"</th>
                            <th scope="col" class="txt">{words.step}</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        }
        .erased()
    };
    view! {
        <TablePanel id="reasons" title=words.reasons note=tables.stamp(lang) tables>
            {content}
            <div class="panel__foot">
                {words.records_at}
                <a href="/late">{words.link_late}</a>
                <a href="/api/v1/dead-letters">{words.link_dead_letters}</a>
                <a href="/metrics">{words.link_metrics}</a>
                <a href="/api/docs" hreflang="en">{words.link_docs}</a>
            </div>
        </TablePanel>
    }
}

/// The newest rejected records, as they came.
#[component]
pub fn DeadLettersPanel(
    /// All tables.
    tables: Tables,
    /// How many wait for a decision, as soon as the engine has counted them.
    undecided: Signal<u64>,
    /// How many there are, the same.
    rejected: Signal<u64>,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let (letters, taken_at) = (tables.dead_letters, tables.taken_at);
    let empty = Memo::new(move |_| letters.with(Vec::is_empty));
    let count = move || {
        (words.dead_letters_count)(
            &format::int(lang, letters.with(Vec::len) as u64),
            &format::int(lang, rejected.get()),
            &format::int(lang, undecided.get()),
        )
    };
    let row = move |row: DeadLetterRow| {
        let ms = row.received_at.ms();
        let field = if row.field.is_empty() { words.whole_record.to_owned() } else { row.field };
        view! {
            <tr>
                <th scope="row">
                    <a href=format!("/pipeline/dead-letters/{}", row.position)>
                        <time datetime=format::datetime_attribute(ms, ZONE) title=format::utc(ms)>{move || format::moment_in_column(lang, ms, ZONE, taken_at.get())}</time>
                    </a>
                </th>
                <td class="txt">{words.letter_states[row.state as usize]}</td>
                <td class="txt">{words.reason_words[row.reason as usize].0}</td>
                <td class="txt p2"><code>{field}</code></td>
                <td class="txt p3">{row.source}</td>
                <td class="txt p2"><code class="raw">{row.raw}</code></td>
            </tr>
        }
    };
    let content = move || {
        if empty.get() {
            return view! { <p class="pad muted">{words.reasons_none}"."</p> }.erased();
        }
        view! {
            <div class="scroll" tabindex="0" role="group" aria-labelledby="dead-letters">
                <table class="table table--wrap">
                    <thead>
                        <tr>
                            <th scope="col">{(words.column_time)(ZONE.name())}</th>
                            <th scope="col" class="txt">{words.letter_state}</th>
                            <th scope="col" class="txt">{words.reason}</th>
                            <th scope="col" class="txt p2">{words.field}</th>
                            <th scope="col" class="txt p3">{words.source}</th>
                            <th scope="col" class="txt p2">{words.raw}</th>
                        </tr>
                    </thead>
                    <tbody>
                        // By key: under a finger no row becomes that of another record.
                        <For each=move || letters.get() key=|row| (row.position, row.state as u8) children=row/>
                    </tbody>
                </table>
            </div>
        }
        .erased()
    };
    view! {
        <TablePanel id=LETTERS title=words.dead_letters note=Signal::derive(count) tables>
            {content}
            <div class="panel__foot"><span>{words.dead_letters_foot}</span><a href="/pipeline/dead-letters">{words.dead_letters_all}</a></div>
        </TablePanel>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_places_under_a_finger() {
        let mut rows = ["c", "new", "a", "b"];
        let shown = ["a", "b", "c"];
        keep_order(&mut rows, |row| place(&shown, |s| s == row));
        assert_eq!(rows, ["a", "b", "c", "new"]);
    }

    #[test]
    fn every_topic_has_its_words_in_order() {
        for (index, topic) in Topic::ALL.into_iter().enumerate() {
            assert_eq!(topic as usize, index, "{}", topic.name());
        }
        assert_eq!(topic_name(Lang::Id, "temperature".into()), "Suhu");
        assert_eq!(topic_name(Lang::Id, "weather".into()), "weather");
    }
}
