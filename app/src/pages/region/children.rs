//! The tables of what lies directly below a place: regions and facilities. Sorted by the server (`?sort=…&dir=…`), so that it works
//! without any script; live values change in place and rows stay where they are.

use super::RegionState;
use crate::api::{ChildKind, ChildView, Kind, RegionView};
use crate::components::link::{self, Here, use_here};
use crate::components::plain_chart::{LINE, spark};
use crate::components::settled::Erase;
use crate::components::status::Status;
use crate::components::when::Age;
use crate::format;
use crate::words::{Lang, use_lang};
use domain::coldchain::Condition;
use domain::feed::{ChildNow, Counts};
use leptos::prelude::*;

/// What a table can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Name,
    Out,
    Freezing,
    InRange,
    NoWord,
    Reporting,
    Facilities,
    Last,
}

impl Sort {
    const ALL: [Sort; 8] =
        [Sort::Name, Sort::Out, Sort::Freezing, Sort::InRange, Sort::NoWord, Sort::Reporting, Sort::Facilities, Sort::Last];

    /// Its name in the query.
    const fn key(self) -> &'static str {
        match self {
            Sort::Name => "name",
            Sort::Out => "out",
            Sort::Freezing => "freezing",
            Sort::InRange => "in_range",
            Sort::NoWord => "no_word",
            Sort::Reporting => "reporting",
            Sort::Facilities => "facilities",
            Sort::Last => "last",
        }
    }

    /// Whether the first click brings the smallest up: names from A, shares from the worst.
    const fn starts_ascending(self) -> bool {
        matches!(self, Sort::Name | Sort::InRange | Sort::Reporting | Sort::Last)
    }
}

/// The order of the rows, from the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    by: Sort,
    ascending: bool,
}

impl Order {
    fn from(here: &Here) -> Self {
        let by = here.get("sort").and_then(|key| Sort::ALL.into_iter().find(|sort| sort.key() == key)).unwrap_or(Sort::Out);
        let ascending = match here.get("dir") {
            Some("asc") => true,
            Some("desc") => false,
            _ => by.starts_ascending(),
        };
        Self { by, ascending }
    }

    fn sort(self, rows: &mut [ChildView]) {
        let share = |part: u32, whole: u32| if whole == 0 { u64::MAX } else { u64::from(part) * 1_000_000 / u64::from(whole) };
        let key = |row: &ChildView| {
            let counts = &row.now.counts;
            match self.by {
                Sort::Name => 0,
                Sort::Out => u64::from(counts.out_of_range()) << 32 | u64::from(counts.freezing),
                Sort::Freezing => u64::from(counts.freezing) << 32 | u64::from(counts.out_of_range()),
                Sort::InRange => share(counts.fine, counts.reporting()),
                Sort::NoWord => u64::from(counts.no_word),
                Sort::Reporting => share(counts.facilities_reporting, counts.facilities),
                Sort::Facilities => u64::from(counts.facilities),
                Sort::Last => row.now.last_data.map_or(0, |at| at.ms().unsigned_abs()),
            }
        };
        // Rows of equal rank stay in the order of their names, which is how they come.
        let order = |a: &ChildView, b: &ChildView| if self.by == Sort::Name { a.name.cmp(&b.name) } else { key(a).cmp(&key(b)) };
        let after = |a: &ChildView, b: &ChildView| if self.ascending { order(a, b).is_gt() } else { order(b, a).is_gt() };
        // Insertion: no more than some dozens of rows, and the library's sort would be 4 KiB of the bundle for each type of row.
        for end in 1..rows.len() {
            let mut at = end;
            while at > 0 && after(&rows[at - 1], &rows[at]) {
                rows.swap(at - 1, at);
                at -= 1;
            }
        }
    }
}

/// A column head that sorts.
#[component]
fn Head(sort: Sort, order: Order, name: &'static str, #[prop(default = "")] class: &'static str) -> impl IntoView {
    let here = use_here();
    let current = order.by == sort;
    let ascending = if current { !order.ascending } else { sort.starts_ascending() };
    let href = format!("{}#children", here.with_all(&[("sort", sort.key()), ("dir", if ascending { "asc" } else { "desc" })]));
    let aria = current.then_some(if order.ascending { "ascending" } else { "descending" });
    view! {
        <th scope="col" class=class aria-sort=aria>
            <a href=href>{name}</a>
        </th>
    }
}

/// "16 districts".
pub(super) fn count_of(lang: Lang, count: usize, kind: Kind) -> String {
    let (words, names) = (lang.words(), lang.words().cold.of(kind));
    (words.region.count_of)(&format::int(lang, count as u64), if count == 1 { names.one } else { names.many })
}

/// What lies directly below a place.
#[component]
pub fn Children(region: RegionView, state: RegionState, now: Signal<i64>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let order = Order::from(&use_here());
    let below = Kind::Region(region.level + 1);
    let (mut regions, mut facilities): (Vec<ChildView>, Vec<ChildView>) =
        region.children.iter().cloned().partition(|child| child.kind == ChildKind::Region);
    order.sort(&mut regions);
    order.sort(&mut facilities);
    #[cfg(feature = "ssr")]
    let rest = super::rest::draw(&region, regions.is_empty() && facilities.is_empty(), lang);
    #[cfg(not(feature = "ssr"))]
    let rest = String::new();
    // The anchor of links to the table stands on the first table there is.
    let facilities_id = if regions.is_empty() { "children" } else { "facilities" };
    let regions_title = count_of(lang, regions.len(), below);
    let facilities_title = count_of(lang, facilities.len(), Kind::Facility);
    let csv = format!("/regions/{}/children.csv", link::encode(&region.code));
    let regions = (!regions.is_empty()).then(|| {
        let (state, topic, csv) = (state.clone(), topic.clone(), csv.clone());
        view! { <Regions title=regions_title csv kind=below rows=regions state order now topic/> }
    });
    let facilities = (!facilities.is_empty())
        .then(|| view! { <Facilities id=facilities_id title=facilities_title csv rows=facilities state order now topic/> });
    view! {
        {regions}
        {facilities}
        <div class="host" inner_html=rest></div>
    }
}

#[component]
fn Regions(
    title: String,
    csv: String,
    kind: Kind,
    rows: Vec<ChildView>,
    state: RegionState,
    order: Order,
    now: Signal<i64>,
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let w = &words.region;
    // One scale for all small lines: they are there to be compared.
    let days = state.days;
    let lowest = Memo::new(move |_| days.with(|days| days.values().flatten().flatten().copied().min()).unwrap_or(900));
    let totals = state.now;
    let body = rows
        .into_iter()
        .filter_map(|row| {
            let signal = state.children.with_value(|children| children.get(&row.now.code).copied())?;
            let code = row.now.code.clone();
            let line =
                Signal::derive(move || days.with(|days| days.get(&code).map(|day| spark(day, lowest.get())).unwrap_or_default()));
            let topic = topic.clone();
            Some(view! {
                <tr data-live=topic>
                    <th scope="row"><a href=link::region(&row.now.code)>{row.name}</a></th>
                    <RegionCells now_of=Signal::derive(move || signal.get()) now line=Some(line)/>
                </tr>
            })
        })
        .collect_view();
    let total_topic = topic.clone();
    let total =
        Signal::derive(move || totals.with(|now| ChildNow { code: String::new(), counts: now.counts, last_data: now.last_data }));
    view! {
        <section class="panel" aria-labelledby="children">
            <div class="panel__head"><h2 id="children">{title}</h2><a href=csv download>"CSV"</a></div>
            <div class="scroll" tabindex="0" role="group" aria-labelledby="children">
                <table class="table">
                    <thead>
                        <tr>
                            <Head sort=Sort::Name order name=words.cold.of(kind).title/>
                            <Head sort=Sort::Out order name=w.column_out/>
                            <Head sort=Sort::Freezing order name=w.column_freezing/>
                            <Head sort=Sort::InRange order name=w.column_in_range/>
                            <th scope="col" class="p2">{w.column_day}</th>
                            <Head sort=Sort::NoWord order name=w.column_no_word class="p2"/>
                            <Head sort=Sort::Reporting order name=w.column_reporting class="p2"/>
                            <Head sort=Sort::Facilities order name=w.column_facilities class="p3"/>
                            <Head sort=Sort::Last order name=w.column_last class="p3"/>
                        </tr>
                    </thead>
                    <tbody>{body}</tbody>
                    <tfoot>
                        <tr data-live=total_topic>
                            <th scope="row">{w.total}</th>
                            <RegionCells now_of=total now line=None/>
                        </tr>
                    </tfoot>
                </table>
            </div>
            <p class="panel__foot">{w.unit_note}</p>
        </section>
    }
}

/// A number, dimmed where it is zero.
fn zero_class(number: u32, class: &'static str) -> String {
    if number == 0 { format!("zero {class}") } else { class.to_owned() }
}

#[component]
fn RegionCells(now_of: Signal<ChildNow>, now: Signal<i64>, line: Option<Signal<String>>) -> impl IntoView {
    let lang = use_lang();
    let counts = Memo::new(move |_| now_of.with(|now| now.counts));
    // Where nothing reports nothing is known: no zero.
    let int = move |number: u32| {
        if counts.get().reporting() == 0 { lang.words().general.none.to_owned() } else { format::int(lang, number) }
    };
    let whole = move |number: u32| format::int(lang, number);
    let last = Memo::new(move |_| now_of.with(|now| now.last_data.map(domain::time::ProcessingTime::ms)));
    let percent = move |part: u32, whole: u32| format::percent_number(lang, format::share(part, whole));
    view! {
        <td class=move || zero_class(counts.get().out_of_range(), "")>{move || int(counts.get().out_of_range())}</td>
        <td class=move || { if counts.get().freezing > 0 { "cold" } else { "zero" } }>{move || int(counts.get().freezing)}</td>
        <td>{move || percent(counts.get().fine, counts.get().reporting())}</td>
        <td class="p2">
            {line.map(|line| view! {
                <svg class="spark" height=LINE aria-hidden="true" inner_html=move || line.get()></svg>
            })}
        </td>
        <td class=move || zero_class(counts.get().no_word, "p2")>{move || whole(counts.get().no_word)}</td>
        <td class="p2">{move || percent(counts.get().facilities_reporting, counts.get().facilities)}</td>
        <td class="p3">{move || format!("{} / {}", whole(counts.get().facilities_reporting), whole(counts.get().facilities))}</td>
        <td class="p3 muted"><Age at=last now/></td>
    }
}

/// The worst condition among the devices of a facility.
fn worst_condition(counts: &Counts) -> Condition {
    let mut counts = *counts;
    let there = Condition::ALL.into_iter().filter(|condition| *counts.of(*condition) > 0);
    there.min_by_key(|condition| condition.severity()).unwrap_or(Condition::NoWord)
}

#[component]
fn Facilities(
    id: &'static str,
    title: String,
    csv: String,
    rows: Vec<ChildView>,
    state: RegionState,
    order: Order,
    now: Signal<i64>,
    topic: String,
) -> impl IntoView {
    let lang: Lang = use_lang();
    let words = lang.words();
    let w = &words.region;
    let int = move |number: u32| format::int(lang, number);
    let body = rows
        .into_iter()
        .filter_map(|row| {
            let signal = state.children.with_value(|children| children.get(&row.now.code).copied())?;
            let counts = Memo::new(move |_| signal.with(|now| now.counts));
            let last = Memo::new(move |_| signal.with(|now| now.last_data.map(domain::time::ProcessingTime::ms)));
            // Without units it is not silent: there is nothing that could report.
            let units = counts.get_untracked().devices;
            Some(view! {
                <tr data-live=topic.clone()>
                    <th scope="row"><a href=link::facility(&row.now.code)>{row.name}</a></th>
                    <td class="txt">
                        {if units == 0 {
                            view! { <span class="muted">{w.no_units}</span> }.erased()
                        } else {
                            view! { <Status condition=Signal::derive(move || worst_condition(&counts.get()))/> }.erased()
                        }}
                    </td>
                    <td class=move || zero_class(counts.get().out_of_range(), "")>{move || int(counts.get().out_of_range())}</td>
                    <td class=move || zero_class(counts.get().no_word, "p2")>{move || int(counts.get().no_word)}</td>
                    <td class="p2">{move || int(counts.get().devices)}</td>
                    <td class="p2 muted"><Age at=last now/></td>
                </tr>
            })
        })
        .collect_view();
    view! {
        <section class="panel" aria-labelledby=id>
            <div class="panel__head"><h2 id=id>{title}</h2><a href=csv download>"CSV"</a></div>
            <div class="scroll" tabindex="0" role="group" aria-labelledby=id>
                <table class="table">
                    <thead>
                        <tr>
                            <Head sort=Sort::Name order name=words.cold.facility.title/>
                            <th scope="col" class="txt">{w.column_state}</th>
                            <Head sort=Sort::Out order name=w.column_out/>
                            <Head sort=Sort::NoWord order name=w.column_no_word class="p2"/>
                            <th scope="col" class="p2">{w.column_devices}</th>
                            <Head sort=Sort::Last order name=w.column_last class="p2"/>
                        </tr>
                    </thead>
                    <tbody>{body}</tbody>
                </table>
            </div>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, freezing: u32, too_warm: u32) -> ChildView {
        let counts =
            Counts { devices: 10, fine: 10 - freezing - too_warm, freezing, too_warm, facilities: 1, ..Counts::default() };
        ChildView {
            kind: ChildKind::Region,
            name: name.into(),
            now: ChildNow { code: name.into(), counts, last_data: None },
            in_range_by_hour: Vec::new(),
        }
    }

    #[track_caller]
    fn check(by: Sort, ascending: bool, expected: &str) {
        let mut rows = [row("A", 1, 0), row("B", 0, 3), row("C", 0, 3), row("D", 0, 0)];
        Order { by, ascending }.sort(&mut rows);
        assert_eq!(rows.map(|row| row.name).concat(), expected);
    }

    #[test]
    fn orders() {
        check(Sort::Out, false, "BCAD");
        check(Sort::Freezing, false, "ABCD");
        check(Sort::InRange, true, "BCAD");
        check(Sort::Name, false, "DCBA");
    }

    #[test]
    fn a_facility_is_as_bad_as_its_worst_device() {
        assert_eq!(worst_condition(&row("A", 1, 2).now.counts), Condition::Freezing);
        assert_eq!(worst_condition(&row("D", 0, 0).now.counts), Condition::Fine);
        assert_eq!(worst_condition(&Counts::default()), Condition::NoWord);
    }
}
