//! The page of a facility, phone first: the one thing to do, then every unit with one number each.

use crate::api::{self, FacilityDevice, FacilityView, Point};
use crate::chart::labels::peak_text;
use crate::chart::view::{SPARK, crossed_limit, spark};
use crate::components::frame::{Frame, Section, Step};
use crate::components::icon::Icon;
use crate::components::link::{self, encode, use_code};
use crate::components::page::{Answer, reload};
use crate::components::settled::Erase;
use crate::components::status::{self, Status};
use crate::components::when::When;
use crate::fetch::Refresh;
use crate::format;
use crate::live::{use_live, use_now};
use crate::words::use_lang;
use domain::coldchain::Condition;
use domain::feed::{self, DeviceNow, LiveTopic};
use domain::time::{EventTime, MINUTE_MS, Zone};
use leptos::prelude::*;

/// Where the small curves are asked for.
const SPARKS: &str = "/api/pages/sparks";

/// The page of a facility.
#[component]
pub fn FacilityPage() -> impl IntoView {
    let code = use_code();
    view! {
        <Answer
            ask=|| api::facility(code)
            section=Section::Overview
            view=move |view: FacilityView| {
                view! { <Facility view on_reload=reload/> }
            }
        />
    }
}

/// A value past three of its intervals looks old (a quarter of an hour at least).
pub(crate) fn is_stale(now: &DeviceNow, interval_ms: i64, clock_ms: i64) -> bool {
    now.condition == Condition::NoWord
        || now.reading.is_some_and(|reading| clock_ms - reading.at.ms() > (3 * interval_ms).max(15 * MINUTE_MS))
}

/// A unit as the page keeps it: its state changes, its place in the list does not.
#[derive(Clone, Copy)]
struct Unit {
    device: StoredValue<FacilityDevice>,
    now: RwSignal<DeviceNow>,
    spark: RwSignal<Vec<Point>>,
    /// Its curve lacks something, and is to be asked for.
    lacks: StoredValue<bool>,
}

impl Unit {
    fn new(mut device: FacilityDevice) -> Self {
        Self {
            now: RwSignal::new(device.now.clone()),
            spark: RwSignal::new(std::mem::take(&mut device.spark)),
            lacks: StoredValue::new(false),
            device: StoredValue::new(device),
        }
    }

    fn name(self, words: &'static crate::words::Words) -> String {
        self.device.with_value(|d| status::equipment(words, d.equipment.kind, d.equipment.number))
    }

    /// Whether its sensor measures nothing although its last reading was in range.
    fn broken(self) -> bool {
        self.now.with(|now| now.fault.is_some() && now.condition == Condition::Fine)
    }

    /// How urgent it is: worst first, then farthest outside.
    fn urgency(self) -> (u8, i32) {
        let range = self.device.with_value(|d| d.equipment.range);
        self.now.with(|now| (now.condition.severity(), -now.reading.map_or(0, |r| range.distance(r.temperature))))
    }

    fn take(self, device: DeviceNow) {
        let before = self.now.get_untracked();
        if device == before {
            return;
        }
        if let Some(reading) = device.reading.filter(|r| before.reading.is_none_or(|b| b.at < r.at)) {
            self.spark.update(|spark| spark.push(Point { at: reading.at, temperature: reading.temperature }));
        }
        if is_passed_over(&before, &device, self.device.with_value(|d| d.equipment.interval_ms)) {
            self.lacks.set_value(true);
        }
        self.now.set(device);
    }

    /// Takes a curve that the server drew, and keeps what came after it.
    fn take_spark(self, mut points: Vec<Point>) {
        let last = points.last().map(|p| p.at);
        self.spark.update(|spark| {
            points.extend(spark.iter().filter(|p| Some(p.at) > last));
            *spark = points;
        });
        self.lacks.set_value(false);
    }
}

/// Whether readings came in that the stream told nothing of: it tells the newest one alone.
fn is_passed_over(before: &DeviceNow, now: &DeviceNow, interval_ms: i64) -> bool {
    match (before.reading, now.reading) {
        (Some(last), Some(newest)) if last.at < newest.at => newest.at.ms() - last.at.ms() > interval_ms * 3 / 2,
        // An older one.
        (Some(_), _) => before.received_at != now.received_at,
        // The first, which others may have come with.
        (None, newest) => newest.is_some(),
    }
}

/// Brings the small curves to what a reload would show.
fn follow_sparks(code: String, units: Vec<Unit>) -> Refresh {
    let take = move |sparks: Vec<(String, Vec<Point>)>| {
        for (id, points) in sparks {
            if let Some(unit) = units.iter().find(|unit| unit.device.with_value(|d| d.now.id == id)) {
                unit.take_spark(points);
            }
        }
    };
    Refresh::past(move || format!("{SPARKS}?code={}", encode(&code)), take)
}

/// The page, once its answer is there.
#[component]
pub(crate) fn Facility(view: FacilityView, on_reload: impl Fn() + 'static) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let FacilityView { taken_at, code, name, path, zone, devices, .. } = view;
    let topic = LiveTopic::Facility(code.clone());
    let now = use_now(taken_at);
    let interval_ms = devices.iter().map(|d| d.equipment.interval_ms).min();
    let units: Vec<Unit> = devices.into_iter().map(Unit::new).collect();

    let live = units.clone();
    let sparks = follow_sparks(code.clone(), units.clone());
    use_live(
        vec![topic.clone()],
        taken_at,
        move |update| {
            if let feed::Update::Facility { devices, .. } = update {
                for device in devices {
                    if let Some(unit) = live.iter().find(|unit| unit.device.with_value(|d| d.now.id == device.id)) {
                        unit.take(device);
                    }
                }
                if live.iter().any(|unit| unit.lacks.get_value()) {
                    sparks.ask();
                }
            }
        },
        on_reload,
    );

    let place = path.iter().skip(1).rev().map(|step| step.name.as_str()).collect::<Vec<_>>().join(", ");
    let steps = {
        let mut steps = Step::regions(&path);
        steps.push(Step { href: link::facility(&code), name: name.clone() });
        steps
    };
    let foot = interval_ms.map(|ms| (words.facility.foot)(&format::length(lang, ms), &code, zone.name()));
    let topic = topic.to_string();
    let rows = units.iter().map(|&unit| view! { <li><UnitRow unit now zone topic=topic.clone()/></li> }).collect_view();
    let empty = units.is_empty().then(|| {
        view! {
            <div class="empty">
                <Icon name="unknown"/>
                <h3>{words.facility.empty}</h3>
                <p>{words.facility.empty_note}</p>
            </div>
        }
    });
    view! {
        <Frame title=name.clone() section=Section::Overview steps taken_at=Some(taken_at) zone class="page--narrow page--field">
            <div class="page-head">
                <h1>{name}</h1>
                <p>{place}</p>
            </div>
            <div class="stack"><NowBlock units=units.clone() now zone topic=topic.clone()/></div>
            <div class="stack">
                <section class="panel" aria-labelledby="units">
                    <div class="panel__head">
                        <h2 id="units">{words.facility.units}</h2>
                        <span class="muted">{words.facility.last_day}</span>
                    </div>
                    {empty}
                    <ul class="units">{rows}</ul>
                </section>
                {foot.map(|foot| view! { <p class="age">{foot}</p> })}
            </div>
        </Frame>
    }
}

/// The one thing to do, or that there is none.
#[component]
fn NowBlock(units: Vec<Unit>, now: Signal<i64>, zone: Zone, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let all = units.clone();
    // Only a change of place or of kind draws the block anew; values in it change by themselves. It stays with its unit as long as no other
    // is in a worse condition: two that take turns at being farther out must not swap under a finger.
    let worst = Memo::new(move |shown: Option<&Option<(usize, Condition, bool)>>| {
        let (farthest, _) = all.iter().enumerate().min_by_key(|(_, unit)| unit.urgency())?;
        let severity = |at: usize| all[at].urgency().0;
        let shown = shown.copied().flatten().map(|(at, ..)| at).filter(|at| severity(*at) == severity(farthest));
        let at = shown.unwrap_or(farthest);
        let broken = all.iter().any(|unit| unit.broken());
        Some((at, all[at].now.with(|now| now.condition), broken))
    });
    let names = move |units: &[Unit], of: fn(&DeviceNow) -> bool| -> Vec<String> {
        units.iter().filter(|unit| unit.now.with(of)).map(|unit| unit.name(words)).collect()
    };
    move || {
        let topic = topic.clone();
        match worst.get() {
            None => ().erased(),
            Some((at, condition, _)) if condition.is_excursion() => {
                let others: Vec<Unit> = units.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, unit)| *unit).collect();
                view! { <Todo unit=units[at] condition others now zone topic/> }.erased()
            }
            Some((_, condition, broken)) if condition == Condition::NoWord || broken => {
                let units = units.clone();
                let (tone, note) = if condition == Condition::NoWord {
                    ("unknown", words.facility.silent_note)
                } else {
                    ("warn", words.device.fault_step)
                };
                let what = move || {
                    if condition != Condition::NoWord {
                        return (words.facility.broken)(&names(&units, |n| n.fault.is_some()).join(", "));
                    }
                    let silent = names(&units, |n| n.condition == Condition::NoWord);
                    if silent.len() == units.len() {
                        words.facility.silent_all.to_owned()
                    } else {
                        (words.facility.silent)(&silent.join(", "))
                    }
                };
                view! {
                    <div class="notice" data-tone=tone data-live=topic>
                        <Icon name=tone/>
                        <h2>{what}</h2>
                        <p>{note}</p>
                    </div>
                }
                .erased()
            }
            Some(_) => {
                let count = format::int(lang, units.len() as u64);
                view! {
                    <div class="notice" data-tone="ok" data-live=topic>
                        <Icon name="ok"/>
                        <h2>{words.facility.calm}</h2>
                        <p>{(words.facility.calm_note)(&count, &count)}</p>
                    </div>
                }
                .erased()
            }
        }
    }
}

#[component]
fn Todo(unit: Unit, condition: Condition, others: Vec<Unit>, now: Signal<i64>, zone: Zone, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let (href, range) = unit.device.with_value(|d| (link::device(&d.now.id), d.equipment.range));
    let name = unit.name(words);
    let steps = match condition {
        Condition::Freezing => words.facility.steps_freezing,
        Condition::TooCold => words.facility.steps_cold,
        _ => words.facility.steps_warm,
    };
    let value = move || {
        unit.now
            .with(|n| n.reading.map_or_else(|| words.general.none.to_owned(), |r| format::degrees_of(lang, r.temperature, range)))
    };
    let since = move || unit.now.with(|n| n.excursion.map(|e| e.since.ms()));
    let length = move || match since().map(|since| now.get() - since) {
        Some(ms) if ms >= MINUTE_MS => format::length(lang, ms),
        _ => words.facility.just_now.to_owned(),
    };
    let beyond = move || {
        unit.now.with(|n| {
            n.reading.map(|r| {
                let limit = crossed_limit(range, r.temperature, lang);
                if r.temperature > range.max { (words.facility.above)(&limit) } else { (words.facility.below)(&limit) }
            })
        })
    };
    let detail = move || {
        unit.now.with(|n| {
            n.excursion.map(|e| {
                let peak = peak_text(range, e.peak, lang);
                (words.facility.since_peak)(&format::moment(lang, e.since.ms(), zone, now.get()), &peak)
            })
        })
    };
    let also = move || {
        let names: Vec<String> =
            others.iter().filter(|u| u.now.with(|n| n.condition.is_excursion())).map(|u| u.name(words)).collect();
        (!names.is_empty()).then(|| view! { <p><b>{(words.facility.also)(&names.join(", "))}</b></p> })
    };
    view! {
        <section class="todo" data-tone=status::tone(condition) aria-labelledby="todo" data-live=topic>
            <h2 class="todo__what" id="todo">
                <Icon name=status::icon(condition)/>
                {(words.facility.what)(&name, status::word(words, condition))}
            </h2>
            <div class="todo__row">
                <p class="todo__value"><span class="num">{value}</span><small>"\u{a0}°C"</small></p>
                <p><b>{length}</b>" "{beyond}<br/><span class="muted">{detail}</span></p>
            </div>
            <ol class="steps">{steps.map(|step| view! { <li>{step}</li> }).collect_view()}</ol>
            {also}
            <a href=href>{words.facility.to_device}</a>
        </section>
    }
}

#[component]
fn UnitRow(unit: Unit, now: Signal<i64>, zone: Zone, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let (id, interval_ms, range) = unit.device.with_value(|d| (d.now.id.clone(), d.equipment.interval_ms, d.equipment.range));
    let condition = Signal::derive(move || unit.now.with(|n| n.condition));
    // A memo: it changes once, not with every tick of the clock.
    let stale = Memo::new(move |_| unit.broken() || unit.now.with(|n| is_stale(n, interval_ms, now.get())));
    let start = now.get_untracked();
    let curve = move || {
        let last = unit.now.with(|n| n.reading.map_or(start, |r| r.at.ms()));
        let end = EventTime::from_ms(start.max(last));
        let (range, interval_ms) = unit.device.with_value(|d| (d.equipment.range, d.equipment.interval_ms));
        unit.spark.with(|points| spark(points, range, interval_ms, end, zone))
    };
    let value = move || match unit.now.with(|n| n.reading) {
        Some(reading) => format::degrees_of(lang, reading.temperature, range),
        None => words.general.none.to_owned(),
    };
    let age = move || {
        let at = unit.now.with(|n| n.reading.map(|r| r.at.ms()));
        match at {
            None => Some(view! { <span class="age">{words.facility.never}</span> }.erased()),
            Some(at) if stale.get() => Some(view! { <span class="age"><When at zone now/></span> }.erased()),
            Some(_) => None,
        }
    };
    let fault = move || {
        unit.now.with(|n| n.fault.is_some()).then(|| {
            view! { <span class="status" data-tone="warn"><Icon name="warn"/>{words.facility.fault}</span> }
        })
    };
    view! {
        <a
            class="unit"
            class:stale=stale
            data-tone=move || if unit.broken() { "unknown" } else { status::tone(condition.get()) }
            href=link::device(&id)
            data-live=topic
        >
            <span>
                <b class="unit__name">{unit.name(words)}</b>
                {move || (!unit.broken()).then(|| view! { <Status condition/> })}
                {fault}
            </span>
            <svg class="spark" height=SPARK aria-hidden="true" inner_html=curve></svg>
            <span class="unit__temp">
                <span class="num">{value}<small>"\u{a0}°C"</small></span>
                {age}
            </span>
        </a>
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::device_now;
    use domain::time::ProcessingTime;

    #[test]
    fn what_the_stream_passes_over_is_noticed() {
        let before = device_now("P321705-1-F1", 4_600);
        let interval_ms = 5 * MINUTE_MS;
        let after = |ms: i64| {
            let mut now = before.clone();
            now.reading = now.reading.map(|r| domain::event::Reading { at: EventTime::from_ms(r.at.ms() + ms), ..r });
            now.received_at = now.received_at.map(|at| ProcessingTime::from_ms(at.ms() + 1));
            is_passed_over(&before, &now, interval_ms)
        };
        assert!(!after(interval_ms), "the next one");
        assert!(after(2 * interval_ms), "one between came with it");
        assert!(after(0), "an older one");
        let silent = DeviceNow { condition: Condition::NoWord, ..before.clone() };
        assert!(!is_passed_over(&before, &silent, interval_ms), "nothing came in");
        let unheard = DeviceNow { reading: None, received_at: None, ..before.clone() };
        assert!(is_passed_over(&unheard, &before, interval_ms), "the first, and maybe a day of them");
    }
}
