//! How a device stands now: its number first, then what it says of itself.

use super::is_stale;
use crate::api::{self, Point, Span};
use crate::chart::labels::{peak_text, range_text};
use crate::chart::view::{Series, crossed_limit};
use crate::components::icon::Icon;
use crate::components::link;
use crate::components::settled::Erase;
use crate::components::status;
use crate::components::when::When;
use crate::format;
use crate::words::use_lang;
use domain::coldchain::{Condition, Range};
use domain::event::DeviceStatus;
use domain::feed::{DeviceMore, DeviceNow};
use domain::milli::Milli;
use domain::time::{MINUTE_MS, Zone};
use leptos::prelude::*;

/// How fast the newest readings rise, in thousandths of a degree per ten minutes; `None` of less than ten minutes.
pub(super) fn trend(points: &[Point]) -> Option<Milli> {
    let last = points.last()?;
    let from = points.iter().rev().find(|p| last.at.ms() - p.at.ms() >= 10 * MINUTE_MS)?;
    let ms = last.at.ms() - from.at.ms();
    if ms > 30 * MINUTE_MS {
        return None;
    }
    let change = i64::from(last.temperature.0 - from.temperature.0);
    Some(Milli(domain::milli::div_round(change * 10 * MINUTE_MS, ms) as i32))
}

/// What the sensor says of itself where it measures nothing.
#[component]
pub(super) fn FaultNotice(state: RwSignal<DeviceNow>, zone: Zone, now: Signal<i64>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().device;
    let fault = Memo::new(move |_| state.with(|s| s.fault));
    move || {
        fault.get().map(|fault| {
            let note = move || {
                let time = format::moment(lang, fault.at.ms(), zone, now.get());
                (words.fault_note)(&format::celsius(lang, fault.code), &time)
            };
            view! {
                <div class="notice" data-tone="warn" data-live=topic.clone()>
                    <Icon name="warn"/>
                    <p><b>{words.fault}</b></p>
                    <p>{note}" "{words.fault_step}</p>
                </div>
            }
        })
    }
}

/// What to do about a clock that is ahead: times of readings are wrong, and soon they are refused.
#[component]
pub(super) fn ClockNotice(state: RwSignal<DeviceNow>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().device;
    let ahead = Memo::new(move |_| state.with(DeviceNow::clock_ahead_ms));
    move || {
        ahead.get().map(|ms| {
            view! {
                <div class="notice" data-tone="warn" data-live=topic.clone()>
                    <Icon name="clock"/>
                    <p><b>{words.clock_ahead}</b></p>
                    <p>{(words.clock_ahead_note)(&format::length(lang, ms))}</p>
                </div>
            }
        })
    }
}

/// How the device stands now, in one number.
#[component]
pub(super) fn NowBlock(
    state: RwSignal<DeviceNow>,
    series: StoredValue<Series>,
    changed: RwSignal<u32>,
    range: Range,
    interval_ms: i64,
    now: Signal<i64>,
    zone: Zone,
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let condition = Memo::new(move |_| state.with(|s| s.condition));
    let heard = Memo::new(move |_| state.with(|s| s.reading.is_some()));
    // While the sensor measures nothing its last value is not how things stand, even where it was in range.
    let broken = Memo::new(move |_| state.with(|s| s.fault.is_some() && s.condition == Condition::Fine));
    let is_old = Memo::new(move |_| broken.get() || state.with(|s| is_stale(s, interval_ms, now.get())));
    let tone = move || if broken.get() { "unknown" } else { status::tone(condition.get()) };
    let icon = move || if broken.get() { "unknown" } else { status::icon(condition.get()) };
    let value = move || {
        state
            .with(|s| s.reading.map_or_else(|| words.general.none.to_owned(), |r| format::degrees_of(lang, r.temperature, range)))
    };
    let at = Signal::derive(move || state.with(|s| s.reading.map_or(0, |r| r.at.ms())));
    let headline = move || match condition.get() {
        _ if broken.get() => words.device.before_fault,
        Condition::Fine => words.device.now_fine,
        condition => status::word(words, condition),
    };
    let first = move || match state.with(|s| s.excursion.filter(|_| s.condition.is_excursion()).zip(s.reading)) {
        Some((excursion, reading)) => {
            let ms = now.get() - excursion.since.ms();
            let length = if ms >= MINUTE_MS { format::length(lang, ms) } else { words.facility.just_now.to_owned() };
            let limit = crossed_limit(range, reading.temperature, lang);
            let beyond =
                if reading.temperature > range.max { (words.facility.above)(&limit) } else { (words.facility.below)(&limit) };
            view! { <b>{length}</b>" "{beyond} }.erased()
        }
        None => view! { <b>{words.device.range}" "{range_text(lang, range)}</b> }.erased(),
    };
    let second = move || {
        changed.track();
        let moment = |ms| format::moment(lang, ms, zone, now.get());
        state.with(|s| match (s.condition, s.excursion, s.reading) {
            (Condition::NoWord, _, Some(reading)) => (words.device.last_known)(&moment(reading.at.ms())),
            (condition, Some(excursion), _) if condition.is_excursion() => {
                let peak = peak_text(range, excursion.peak, lang);
                let since = (words.facility.since_peak)(&moment(excursion.since.ms()), &peak);
                let trend = series.with_value(|s| (s.span == Span::Day).then(|| trend(&s.points)).flatten());
                match trend {
                    Some(t) if t.0 >= 100 => format!("{since}, {}", (words.device.rising)(&format::celsius(lang, t))),
                    Some(t) if t.0 <= -100 => format!("{since}, {}", (words.device.falling)(&format::celsius(lang, Milli(-t.0)))),
                    _ => since,
                }
            }
            (_, _, Some(reading)) => (words.device.reading_at)(&moment(reading.at.ms())),
            _ => String::new(),
        })
    };
    let note = move || (condition.get() == Condition::NoWord && heard.get()).then(|| view! { <p>{words.device.silent_note}</p> });
    move || {
        if heard.get() {
            let topic = topic.clone();
            view! {
                <section class="todo" data-tone=tone aria-labelledby="now" data-live=topic>
                    <h2 class="todo__what" id="now">
                        {move || view! { <Icon name=icon()/> }}
                        {headline}
                    </h2>
                    <div class="todo__row" class:stale=is_old>
                        <p class="todo__value"><span class="num">{value}</span><small>"\u{a0}°C"</small></p>
                        <p>
                            {first}
                            <br/>
                            <span class="muted" title=move || format::utc(at.get())>{second}</span>
                        </p>
                    </div>
                    {note}
                </section>
            }
            .erased()
        } else {
            view! {
                <section class="panel" data-live=topic.clone()>
                    <div class="empty">
                        <Icon name="unknown"/>
                        <h2>{words.device.never}</h2>
                        <p>{words.device.never_note}</p>
                    </div>
                </section>
            }
            .erased()
        }
    }
}

#[component]
pub(super) fn DevicePanel(
    state: RwSignal<DeviceNow>,
    more: RwSignal<DeviceMore>,
    equipment_range: Range,
    interval_ms: i64,
    facility: Option<api::Crumb>,
    now: Signal<i64>,
    zone: Zone,
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let percent = move |value: Option<Milli>| {
        value.map_or_else(
            || words.device.unknown.to_owned(),
            |value| format!("{}{}%", format::decimal(lang, i64::from(value.0), 0), format::NBSP),
        )
    };
    let battery = move || percent(state.with(|s| s.reading.and_then(|r| r.battery)));
    let humidity = move || percent(state.with(|s| s.reading.and_then(|r| r.humidity)));
    let says = move || {
        state.with(|s| s.fault.map(|f| f.status).or(s.reading.map(|r| r.status))).map_or(words.general.none, |status| {
            words.device.says_values[match status {
                DeviceStatus::Ok => 0,
                DeviceStatus::Warn => 1,
                DeviceStatus::Error => 2,
            }]
        })
    };
    let reading_at = Memo::new(move |_| state.with(|s| s.reading.map(|r| r.at.ms())));
    let came_in = move || {
        state
            .with(|s| s.received_at)
            .map_or_else(|| words.general.none.to_owned(), |at| (words.pipeline.ago)(&format::age(lang, now.get() - at.ms())))
    };
    let last = move || match reading_at.get() {
        Some(at) => view! { <When at zone now/> }.erased(),
        None => words.facility.never.erased(),
    };
    // Whether it travels hardly ever changes, where to does.
    let travels = Memo::new(move |_| more.with(|more| more.position.is_some()));
    let position = move || more.with(|more| more.position).map(|fix| format::position(lang, fix.latitude_e6, fix.longitude_e6));
    let seen_at = Signal::derive(move || more.with(|more| more.position.map_or(0, |fix| fix.at.ms())));
    let interval = if interval_ms < MINUTE_MS { format::age(lang, interval_ms) } else { format::length(lang, interval_ms) };
    view! {
        <section class="panel" aria-labelledby="device" data-live=topic>
            <div class="panel__head"><h2 id="device">{words.device.device}</h2></div>
            <div class="panel__body">
                <dl class="facts">
                    <dt>{words.device.last_reading}</dt>
                    <dd>{last}</dd>
                    <dt>{words.device.came_in}</dt>
                    <dd>{came_in}</dd>
                    <dt>{words.device.battery}</dt>
                    <dd>{battery}</dd>
                    <dt>{words.device.humidity}</dt>
                    <dd>{humidity}</dd>
                    <dt>{words.device.says}</dt>
                    <dd>{says}</dd>
                    <dt>{words.device.interval}</dt>
                    <dd>{interval}</dd>
                    <dt>{words.device.range}</dt>
                    <dd>{range_text(lang, equipment_range)}</dd>
                    {move || travels.get().then(|| view! {
                        <dt>{words.device.position}</dt>
                        <dd>{position}<br/><When at=seen_at zone now/></dd>
                    })}
                    {facility.map(|facility| view! {
                        <dt>{words.device.facility}</dt>
                        <dd><a href=link::facility(&facility.code)>{facility.name}</a></dd>
                    })}
                </dl>
            </div>
        </section>
    }
}
