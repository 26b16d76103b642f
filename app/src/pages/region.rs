//! A place of any level: what is out of range in it now, where, since when; then pictures; then what lies below it.

mod children;
#[cfg(feature = "ssr")]
pub mod files;
#[cfg(feature = "ssr")]
mod rest;
mod worst;

use crate::api::{self, ChildKind, DayView, RegionView};
use crate::components::frame::{Frame, Section, Step};
use crate::components::kpi::{Kpi, KpiTone};
use crate::components::link::{encode, use_code, use_here};
use crate::components::page::{Answer, reload};
use crate::components::plain_chart::{self, ChartPanel, Places, RatePanel, below_in_above, column_name, windows_out};
use crate::fetch::Refresh;
use crate::format;
use crate::live::{Link, use_live, use_now, use_stream};
use crate::map::MapPanel;
use crate::words::{Lang, use_lang};
use children::Children;
use domain::feed::{self, ChildNow, Counts, HourCounts, LiveTopic, RegionNow};
use domain::time::{MINUTE_MS, Zone};
use leptos::prelude::*;
use std::collections::BTreeMap;
use worst::{Worst, WorstRows};

/// Where the day of a place is asked for.
const DAY: &str = "/api/pages/day";

/// A region other than the country.
#[component]
pub fn RegionPage() -> impl IntoView {
    let code = use_code();
    view! { <Answer ask=|| api::region(code) section=Section::Overview view=|region| view! { <Region region/> }/> }
}

/// What the stream changes on the page.
#[derive(Clone)]
pub struct RegionState {
    /// Figures of the place.
    pub now: RwSignal<RegionNow>,
    /// Its last 24 hours.
    pub hours: RwSignal<Vec<HourCounts>>,
    /// Which hours before the running one `hours` has, see [`RegionNow::past`].
    past: StoredValue<u32>,
    /// The day of each region below it, by code.
    pub days: RwSignal<BTreeMap<String, Vec<Option<u16>>>>,
    /// Figures of its children, by code.
    pub children: StoredValue<BTreeMap<String, RwSignal<ChildNow>>>,
    /// Records per second, by minute; only of the country.
    pub rate: RwSignal<Vec<f32>>,
    /// Minutes have passed of which `rate` knows nothing.
    lacks_rate: StoredValue<bool>,
    /// The rows of the list of the worst.
    pub worst: WorstRows,
}

impl RegionState {
    fn new(view: &RegionView) -> Self {
        let children = view.children.iter().map(|child| (child.now.code.clone(), RwSignal::new(child.now.clone()))).collect();
        let regions = view.children.iter().filter(|child| child.kind == ChildKind::Region);
        Self {
            now: RwSignal::new(view.now.clone()),
            hours: RwSignal::new(view.hours.clone()),
            past: StoredValue::new(view.now.past),
            days: RwSignal::new(regions.map(|child| (child.now.code.clone(), child.in_range_by_hour.clone())).collect()),
            children: StoredValue::new(children),
            rate: RwSignal::new(view.rate.clone()),
            lacks_rate: StoredValue::new(false),
            worst: WorstRows::new(&view.worst),
        }
    }

    /// Asks for the day again, when told to.
    fn follow_day(&self, code: String) -> Refresh {
        let state = self.clone();
        Refresh::past(move || format!("{DAY}?code={}", encode(&code)), move |day| state.take_day(day))
    }

    fn take_day(&self, day: DayView) {
        self.past.set_value(day.past);
        let mut hours = day.hours;
        // The stream may have told of the running hour meanwhile.
        if let Some(hour) = self.now.with_untracked(|now| now.hour) {
            put_hour(&mut hours, hour);
        }
        if self.hours.with_untracked(|shown| *shown != hours) {
            self.hours.set(hours);
        }
        self.days.set(day.children.into_iter().collect());
        if !day.rate.is_empty() {
            self.rate.set(day.rate);
        }
        self.lacks_rate.set_value(false);
    }

    /// Whether the day has to be asked for: its hours are not those that the stream speaks of, or it was not heard for a while.
    fn lacks_day(&self) -> bool {
        self.lacks_rate.get_value() || self.now.with_untracked(|now| now.past) != self.past.get_value()
    }

    /// A minute has passed: the chart of records per second moves on by one value.
    fn move_rate_on(&self, now: Signal<i64>) {
        let (rate, lacks_rate, stream) = (self.rate, self.lacks_rate, use_stream());
        Effect::new(move |before: Option<i64>| {
            let minute = now.get() / MINUTE_MS;
            if before.is_some_and(|before| before != minute) {
                if stream.link.get_untracked() == Link::Live {
                    rate.update(|rate| {
                        if let Some(last) = rate.last().copied() {
                            rate.push(last);
                            rate.remove(0);
                        }
                    });
                } else {
                    lacks_rate.set_value(true);
                }
            }
            minute
        });
    }

    fn apply(&self, own_code: &str, update: feed::Update) {
        let feed::Update::Region { code, mut now, children, worst } = update else { return };
        if code != own_code {
            return;
        }
        if let Some(hour) = now.hour.filter(|hour| !self.hours.with_untracked(|hours| hours.contains(hour))) {
            self.hours.update(|hours| put_hour(hours, hour));
        }
        if let Some(per_second) = now.per_second {
            self.apply_rate(per_second);
        }
        if now.histogram.is_empty() {
            now.histogram = self.now.with_untracked(|old| old.histogram.clone());
        }
        // A stream begins with the whole state, most of which the page shows already.
        if self.now.with_untracked(|old| *old != now) {
            self.now.set(now);
        }
        self.apply_children(children);
        if let Some(worst) = worst {
            self.worst.apply(worst);
        }
    }

    fn apply_rate(&self, per_second: f32) {
        if self.rate.with_untracked(|rate| rate.last() != Some(&per_second)) {
            self.rate.update(|rate| {
                if let Some(last) = rate.last_mut() {
                    *last = per_second;
                }
            });
        }
    }

    fn apply_children(&self, changed: Vec<ChildNow>) {
        self.children.with_value(|children| {
            for child in changed {
                if let Some(signal) = children.get(&child.code).filter(|signal| signal.with_untracked(|old| *old != child)) {
                    signal.set(child);
                }
            }
        });
    }
}

/// Puts the running hour in its place, the newest last; no more than 24 stay.
fn put_hour(hours: &mut Vec<HourCounts>, hour: HourCounts) {
    match hours.binary_search_by_key(&hour.hour, |h| h.hour) {
        Ok(at) => hours[at] = hour,
        Err(at) => hours.insert(at, hour),
    }
    let newest = hours.last().map_or(hour.hour, |last| last.hour);
    hours.retain(|h| h.hour > newest - domain::time::DAY_MS);
}

fn headline(lang: Lang, place: &str, counts: &Counts) -> String {
    let words = &lang.words().region;
    if counts.devices == 0 {
        (words.headline_none)(place)
    } else if counts.reporting() == 0 {
        (words.headline_silent)(place)
    } else if counts.freezing > 0 {
        (words.headline_freezing)(place, &format::int(lang, counts.freezing))
    } else if counts.out_of_range() > 0 {
        (words.headline_out)(place, &format::int(lang, counts.out_of_range()))
    } else {
        (words.headline_calm)(place)
    }
}

/// The page of a place.
#[component]
pub fn Region(
    /// What the server knows of it.
    region: RegionView,
) -> impl IntoView {
    let lang = use_lang();
    let country = region.code == "ID";
    let zone = format::zone_of(&region.code);
    let name = region.name.clone();
    let state = RegionState::new(&region);
    let now = use_now(region.taken_at);
    let counts = Memo::new({
        let now = state.now;
        move |_| now.with(|now| now.counts)
    });
    let topic = LiveTopic::Region(region.code.clone());

    let on_update = {
        let (state, code) = (state.clone(), region.code.clone());
        let day = state.follow_day(code.clone());
        move |update| {
            state.apply(&code, update);
            if state.lacks_day() {
                day.ask();
            }
        }
    };
    use_live(vec![topic.clone()], region.taken_at, on_update, reload);
    if country {
        state.move_rate_on(now);
    }

    let title = headline(lang, &name, &region.now.counts);
    let h1 = {
        let name = name.clone();
        move || headline(lang, &name, &counts.get())
    };
    // Somebody reads it in a tab behind others, which hears of nothing new: there it says no more than what it is.
    let stream = use_stream();
    Effect::new({
        let name = name.clone();
        move |_| {
            let is_unseen = stream.link.get() == Link::Still && stream.heard_at.get_untracked().is_some();
            let says = if is_unseen { name.clone() } else { headline(lang, &name, &counts.get()) };
            document().set_title(&format!("{says} · Rantai"));
        }
    });
    let topic = topic.to_string();
    // Where nothing is registered (a village, most often) there is nothing to count, and a row of zeros would look like good news.
    let bare = region.now.counts.devices == 0;
    view! {
        <Frame title section=Section::Overview steps=Step::regions(&region.path) taken_at=Some(region.taken_at) zone>
            <div class="page-head">
                <h1 data-live=topic.clone()>{h1}</h1>
                <p><PageTime country now zone/></p>
            </div>
            {(!bare).then(|| view! {
                <Figures counts topic=topic.clone()/>
                <div class="grid cols-side">
                    <Worst rows=state.worst.clone() counts now topic=topic.clone()/>
                    <MapPanel region=region.clone() state=state.clone()/>
                </div>
                <Charts state=state.clone() now zone country code=region.code.clone() topic=topic.clone()/>
            })}
            <Children region state now topic/>
        </Frame>
    }
}

/// The time of the page: of the country in all three zones.
#[component]
fn PageTime(country: bool, now: Signal<i64>, zone: Zone) -> impl IntoView {
    let lang = use_lang();
    let minute = Memo::new(move |_| now.get() / MINUTE_MS * MINUTE_MS);
    let text = move || {
        let ms = minute.get();
        let here = format!("{}, {}", format::long_date(lang, ms, zone), format::clock(lang, ms, zone));
        if country {
            format!("{here} · {} · {}", format::clock(lang, ms, Zone::Wita), format::clock(lang, ms, Zone::Wit))
        } else {
            here
        }
    };
    view! { <time datetime=move || format::datetime_attribute(minute.get(), zone) title=move || format::utc(minute.get())>{text}</time> }
}

/// The headline figures.
#[component]
fn Figures(counts: Memo<Counts>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().region;
    let here = use_here();
    let int = move |number: u32| format::int(lang, number);
    let sorted = |key: &str| format!("{}#children", here.with_all(&[("sort", key), ("dir", "")]));
    let figure = move |value: fn(&Counts) -> u32| Signal::derive(move || int(value(&counts.get())));
    // Of what nobody reports nothing is known: no zero.
    let known = move |value: fn(&Counts) -> u32| {
        Signal::derive(move || match counts.get() {
            counts if counts.reporting() == 0 => lang.words().general.none.to_owned(),
            counts => int(value(&counts)),
        })
    };
    let share = move |part: fn(&Counts) -> u32, whole: fn(&Counts) -> u32| {
        Signal::derive(move || counts.with(|counts| format::percent_number(lang, format::share(part(counts), whole(counts)))))
    };
    let percent = "\u{a0}%";
    view! {
        <section class="kpis" aria-label=words.figures>
            <Kpi
                href="#worst".to_owned()
                value=known(Counts::out_of_range)
                label=words.out_of_range
                note=Signal::derive(move || {
                    let counts = counts.get();
                    if counts.reporting() == 0 {
                        words.out_of_range_silent.to_owned()
                    } else if counts.out_of_range() == 0 {
                        words.out_of_range_calm.to_owned()
                    } else {
                        (words.out_of_range_note)(&int(counts.freezing), &int(counts.too_cold), &int(counts.too_warm))
                    }
                })
                tone=Signal::derive(move || match counts.get() {
                    counts if counts.out_of_range() > 0 => KpiTone::Act,
                    counts if counts.reporting() > 0 => KpiTone::Calm,
                    _ => KpiTone::Unknown,
                })
                topic=topic.clone()
            />
            <Kpi
                href=sorted("freezing")
                value=known(|counts| counts.freezing)
                label=words.freezing
                note=Signal::stored(words.freezing_note.to_owned())
                tone=Signal::derive(move || if counts.get().freezing == 0 { KpiTone::Plain } else { KpiTone::Freeze })
                topic=topic.clone()
            />
            <Kpi
                href=sorted("in_range")
                value=share(|counts| counts.fine, Counts::reporting)
                unit=percent
                label=words.in_range
                note=Signal::derive(move || (words.in_range_note)(&int(counts.get().fine), &int(counts.get().reporting())))
                topic=topic.clone()
            />
            <Kpi
                href=sorted("reporting")
                value=share(|counts| counts.facilities_reporting, |counts| counts.facilities)
                unit=percent
                label=words.reporting
                note=Signal::derive(move || (words.reporting_note)(&int(counts.get().facilities_reporting), &int(counts.get().facilities)))
                topic=topic.clone()
            />
            <Kpi
                href=sorted("no_word")
                value=figure(|counts| counts.no_word)
                label=words.no_word
                note=Signal::derive(move || (words.no_word_note)(&int(counts.get().devices)))
                topic
            />
        </section>
    }
}

/// The charts of a place.
#[component]
fn Charts(state: RegionState, now: Signal<i64>, zone: Zone, country: bool, code: String, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().region;
    let int = move |number: u32| format::int(lang, number);
    let histogram = Memo::new({
        let now = state.now;
        move |_| now.with(|now| now.histogram.clone())
    });
    let parts = Memo::new(move |_| histogram.with(|columns| below_in_above(columns)));
    let hours = state.hours;
    let rate = state.rate;
    let files = format!("/regions/{code}/charts");
    view! {
        <div class=if country { "grid cols-3" } else { "grid cols-2" }>
            <ChartPanel
                id="temperatures"
                title=words.histogram
                figure=Signal::derive(move || int(parts.get().iter().sum()))
                figure_note=words.column_units_few
                picture=Signal::derive(move || histogram.with(|columns| plain_chart::histogram(lang, columns)))
                summary=Signal::derive(move || {
                    let [cold, fine, warm] = parts.get();
                    (words.histogram_label)(&int(cold), &int(fine), &int(warm))
                })
                foot=Signal::derive(move || {
                    let [cold, _, warm] = parts.get();
                    (words.histogram_foot)(&int(cold), &int(warm))
                })
                none=words.histogram_none
                columns=[words.column_temperature, words.column_units]
                rows=Signal::derive(move || {
                    histogram.with(|columns| {
                        if columns.iter().all(|count| *count == 0) {
                            return Vec::new();
                        }
                        columns.iter().enumerate().map(|(column, count)| [column_name(lang, column), int(*count)]).collect()
                    })
                })
                places=Places::Histogram
                files=files.clone()
                name=code.clone()
                topic=topic.clone()
            />
            <ChartPanel
                id="hours"
                title=words.per_hour
                figure=Signal::derive(move || int(hours.with(|hours| hours.last().map_or(0, windows_out))))
                figure_note=words.this_hour
                picture=Signal::derive(move || hours.with(|hours| plain_chart::hours(lang, hours, zone)))
                summary=Signal::derive(move || {
                    hours.with(|hours| {
                        let most = hours.iter().max_by_key(|hour| windows_out(hour)).copied().unwrap_or_default();
                        (words.per_hour_label)(&int(windows_out(&most)), &format::time(lang, most.hour, zone))
                    })
                })
                foot=Signal::stored(words.per_hour_foot.to_owned())
                none=words.per_hour_none
                columns=[words.column_hour, words.column_windows_out]
                rows=Signal::derive(move || {
                    hours.with(|hours| plain_chart::hour_rows(lang, hours, zone))
                })
                places=Places::Hours
                files=files.clone()
                name=code.clone()
                topic=topic.clone()
            />
            {country.then(|| view! { <RatePanel rate now zone/> })}
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::time::HOUR_MS;

    #[test]
    fn the_running_hour_takes_its_place() {
        let hour = |n: i64, windows| HourCounts { hour: n * HOUR_MS, windows, ..HourCounts::default() };
        let mut hours: Vec<HourCounts> = (0..24).map(|n| hour(n, 1)).collect();
        put_hour(&mut hours, hour(23, 2));
        assert_eq!((hours.len(), hours[23].windows), (24, 2));
        put_hour(&mut hours, hour(24, 3));
        assert_eq!((hours.len(), hours[0].hour, hours[23].windows), (24, HOUR_MS, 3));
    }
}
