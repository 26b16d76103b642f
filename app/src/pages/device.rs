//! The page of a device: how it stands, its curve over a day, a week or a month, what that comes to, and the readings.

use super::facility::is_stale;
use crate::api::{self, DeviceView, EquipmentKind, Point, Span};
use crate::chart::canvas::Stage;
use crate::chart::labels::{lasted, peak_text, range_text};
use crate::chart::picture::{Outside, Side};
use crate::chart::summary::Summary;
use crate::chart::view::{Series, TemperatureChart, crossed_limit};
use crate::components::frame::{Frame, Section, Step};
use crate::components::icon::Icon;
use crate::components::link::{self, encode, use_code, use_here};
use crate::components::page::{Answer, reload};
use crate::components::settled::Erase;
use crate::components::status;
use crate::components::when::When;
use crate::format;
use crate::live::{use_live, use_now};
use crate::words::{Lang, use_lang};
use domain::coldchain::{Condition, Range};
use domain::event::DeviceStatus;
use domain::feed::{self, DeviceNow, LiveTopic};
use domain::milli::Milli;
use domain::time::{EventTime, MINUTE_MS, Zone};
use leptos::prelude::*;

/// Readings on one page of the table.
const ROWS: usize = 50;
/// Excursions listed before the rest is only counted.
const LISTED: usize = 8;

/// The page of a device.
#[component]
pub fn DevicePage() -> impl IntoView {
    let (id, here) = (use_code(), use_here());
    let span = here.get("span").map_or(Span::Day, span_of);
    let page = here.get("page").and_then(|n| n.parse().ok()).unwrap_or(1);
    view! {
        <Answer
            ask=move || api::device(id, span)
            section=Section::Overview
            view=move |view: DeviceView| {
                view! { <Device view page on_reload=reload/> }
            }
        />
    }
}

/// The span of that name; a day for anything else.
fn span_of(name: &str) -> Span {
    match name {
        "week" => Span::Week,
        "month" => Span::Month,
        _ => Span::Day,
    }
}

const fn span_name(span: Span) -> &'static str {
    match span {
        Span::Day => "day",
        Span::Week => "week",
        Span::Month => "month",
    }
}

/// What a device is called: equipment and facility, or its id where nobody has registered it.
pub fn name(view: &DeviceView, lang: Lang) -> String {
    match &view.facility {
        Some(facility) => {
            let equipment = status::equipment(lang.words(), view.equipment.kind, view.equipment.number);
            (lang.words().device.headline)(&equipment, &facility.name)
        }
        None => view.now.id.clone(),
    }
}

/// How fast the newest readings rise, in thousandths of a degree per ten minutes; `None` of less than ten minutes.
fn trend(points: &[Point]) -> Option<Milli> {
    let last = points.last()?;
    let from = points.iter().rev().find(|p| last.at.ms() - p.at.ms() >= 10 * MINUTE_MS)?;
    let ms = last.at.ms() - from.at.ms();
    if ms > 30 * MINUTE_MS {
        return None;
    }
    let change = i64::from(last.temperature.0 - from.temperature.0);
    Some(Milli(domain::milli::div_round(change * 10 * MINUTE_MS, ms) as i32))
}

#[component]
fn Device(view: DeviceView, page: usize, on_reload: impl Fn() + 'static) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let name = name(&view, lang);
    let series = StoredValue::new(Series::new(&view));
    let changed = RwSignal::new(0u32);
    let DeviceView { taken_at, path, facility, zone, equipment, now: device, span, .. } = view;
    let id = device.id.clone();
    let topic = LiveTopic::Device(id.clone());
    let now = use_now(taken_at);
    let state = RwSignal::new(device);

    use_live(
        vec![topic.clone()],
        taken_at,
        move |update| {
            if let feed::Update::Device { device } = update
                && device != state.get_untracked()
            {
                let newer = device.reading.filter(|reading| state.with_untracked(|s| s.reading != Some(*reading)));
                series.update_value(|s| s.out_since = device.excursion.map(|excursion| excursion.since));
                state.set(device);
                if newer.is_some_and(|reading| series.try_update_value(|s| s.push(&reading)) == Some(true)) {
                    changed.update(|n| *n = n.wrapping_add(1));
                }
            }
        },
        on_reload,
    );

    let registered = equipment.kind != EquipmentKind::Unregistered;
    let steps = {
        let mut steps = Step::regions(&path[..path.len() - usize::from(facility.is_some() && !path.is_empty())]);
        if let Some(step) = steps.last_mut().filter(|_| !registered) {
            words.region.unassigned.clone_into(&mut step.name);
        }
        if let Some(facility) = &facility {
            steps.push(Step { href: link::facility(&facility.code), name: facility.name.clone() });
        }
        let own = if registered { status::equipment(words, equipment.kind, equipment.number) } else { id.clone() };
        steps.push(Step { href: link::device(&id), name: own });
        steps
    };
    let topic = topic.to_string();
    let stage = Stage::new(series, lang);
    let taken = taken_at.ms();
    let title = words.device.chart_titles[span as usize];
    view! {
        <Frame title=name.clone() section=Section::Overview steps taken_at=Some(taken_at) zone>
            <div class="page-head">
                <h1>{name.clone()}</h1>
                <p>
                    {(words.device.sensor)(&id)}
                    {(!equipment.model.is_empty()).then(|| format!(" · {}", equipment.model))}
                    " · "
                    <time datetime=format::datetime_attribute(taken, zone) title=format::utc(taken)>{format::date_time(lang, taken, zone)}</time>
                </p>
            </div>
            {(!registered).then(|| view! {
                <div class="notice" data-tone="unknown">
                    <Icon name="unknown"/>
                    <p><b>{words.device.unregistered}</b></p>
                    <p>{words.device.unregistered_note}</p>
                </div>
            })}
            <div class="grid cols-side">
                <div class="stack top">
                    <FaultNotice state zone now topic=topic.clone()/>
                    <NowBlock state series changed range=equipment.range interval_ms=equipment.interval_ms now zone topic=topic.clone()/>
                </div>
                <section class="panel span" aria-labelledby="chart">
                    <div class="panel__head">
                        <h2 id="chart">{title}</h2>
                        <SpanLinks span/>
                    </div>
                    <div class="panel__body"><TemperatureChart series changed stage topic=topic.clone()/></div>
                    <div class="panel__foot">
                        <a href="#readings">{words.general.as_table}</a>
                        <span class="grow"></span>
                        <Downloads id=id.clone() span end_ms=taken stage titles=name.clone()/>
                    </div>
                </section>
                <DevicePanel state equipment_range=equipment.range interval_ms=equipment.interval_ms facility now zone topic=topic.clone()/>
            </div>
            <div class="grid cols-2">
                <SummaryPanel series changed zone now topic=topic.clone()/>
                <ExcursionPanel series changed zone now topic=topic.clone()/>
            </div>
            <ReadingsPanel series changed page zone topic/>
        </Frame>
    }
}

/// What the sensor says of itself where it measures nothing.
#[component]
fn FaultNotice(state: RwSignal<DeviceNow>, zone: Zone, now: Signal<i64>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().device;
    let fault = Memo::new(move |_| state.with(|s| s.fault));
    move || {
        fault.get().map(|fault| {
            let time = format::moment(lang, fault.at.ms(), zone, now.get_untracked());
            view! {
                <div class="notice" data-tone="warn" data-live=topic.clone()>
                    <Icon name="warn"/>
                    <p><b>{words.fault}</b></p>
                    <p>{(words.fault_note)(&format::celsius(lang, fault.code), &time)}" "{words.fault_step}</p>
                </div>
            }
        })
    }
}

/// How the device stands now, in one number.
#[component]
fn NowBlock(
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
    let stale = Memo::new(move |_| broken.get() || state.with(|s| is_stale(s, interval_ms, now.get())));
    let tone = move || if broken.get() { "unknown" } else { status::tone(condition.get()) };
    let icon = move || if broken.get() { "unknown" } else { status::icon(condition.get()) };
    let value =
        move || state.with(|s| s.reading.map_or_else(|| words.general.none.to_owned(), |r| format::degrees(lang, r.temperature)));
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
                let peak = peak_text(Side::of(range, excursion.peak), excursion.peak, lang);
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
                    <div class="todo__row" class:stale=stale>
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
fn SpanLinks(span: Span) -> impl IntoView {
    let words = &use_lang().words().device;
    let here = use_here();
    let link = move |(index, to): (usize, Span)| {
        let name = if to == Span::Day { "" } else { span_name(to) };
        let href = here.with_all(&[("span", name), ("page", "")]);
        view! { <a href=href aria-current=(to == span).then_some("true")>{words.spans[index]}</a> }
    };
    view! {
        <nav class="seg" aria-label=words.span>
            {[Span::Day, Span::Week, Span::Month].into_iter().enumerate().map(link).collect_view()}
        </nav>
    }
}

/// The chart and its readings as files. PNG needs the browser's canvas, so its button comes with it.
#[component]
fn Downloads(id: String, span: Span, end_ms: i64, stage: Stage, titles: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().device;
    let size = if span == Span::Day { "10s" } else { "5m" };
    let (from, to) = (EventTime::from_ms(end_ms - span.ms()), EventTime::from_ms(end_ms));
    let csv = format!("/api/v1/windows?device_id={}&size={size}&from={from}&to={to}&limit=10000&format=csv", encode(&id));
    let svg = format!("{}/chart.svg?span={}&lang={}", link::device(&id), span_name(span), lang.code());
    let titles = [format!("{} · {titles}", words.chart_titles[span as usize]), (words.sensor)(&id)];
    let mounted = RwSignal::new(false);
    Effect::new(move |_| mounted.set(true));
    view! {
        <span class="row">
            {words.download}
            <button class="link" type="button" hidden=move || !mounted.get() on:click=move |_| stage.png(&titles)>"PNG"</button>
            <a href=svg download>"SVG"</a>
            <a href=csv download>"CSV"</a>
        </span>
    }
}

#[component]
fn DevicePanel(
    state: RwSignal<DeviceNow>,
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
                    {facility.map(|facility| view! {
                        <dt>{words.device.facility}</dt>
                        <dd><a href=link::facility(&facility.code)>{facility.name}</a></dd>
                    })}
                </dl>
            </div>
        </section>
    }
}

#[component]
fn SummaryPanel(
    series: StoredValue<Series>,
    changed: RwSignal<u32>,
    zone: Zone,
    now: Signal<i64>,
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().device;
    let span = series.with_value(|s| s.span);
    let length = words.span_lengths[span as usize];
    let summary = Memo::new(move |_| {
        changed.track();
        series.with_value(|s| Summary::new(&s.points, s.range, s.interval_ms, s.span))
    });
    let known = Memo::new(move |_| summary.with(Option::is_some));
    let fact = move |read: fn(&Summary) -> Option<Milli>| {
        move || summary.with(|s| s.as_ref().and_then(read).map(|t| format::celsius(lang, t)))
    };
    let extreme = move |read: fn(&Summary) -> Point| {
        move || {
            summary.with(|s| {
                s.as_ref().map(read).map(|p| {
                    let time = format::moment(lang, p.at.ms(), zone, now.get_untracked());
                    (words.value_at)(&format::celsius(lang, p.temperature), &time)
                })
            })
        }
    };
    let in_range = move || summary.with(|s| s.as_ref().map(|s| format::percent(lang, format::share(s.in_range, s.count))));
    let readings = move || {
        summary
            .with(|s| s.as_ref().map(|s| (lang.words().general.of)(&format::int(lang, s.count), &format::int(lang, s.expected))))
    };
    view! {
        <section class="panel" aria-labelledby="summary" data-live=topic>
            <div class="panel__head"><h2 id="summary">{(words.summary)(length)}</h2></div>
            {move || if known.get() {
                view! {
                    <div class="panel__body">
                        <dl class="facts facts--wide">
                            <dt>{words.lowest}</dt>
                            <dd>{extreme(|s| s.lowest)}</dd>
                            <dt>{words.highest}</dt>
                            <dd>{extreme(|s| s.highest)}</dd>
                            {(span != Span::Month).then(|| view! {
                                <dt>{words.average}</dt>
                                <dd>{fact(|s| Some(s.average))}</dd>
                                <dt>{words.kinetic}</dt>
                                <dd>{fact(|s| s.kinetic)}</dd>
                                <dt>{words.in_range}</dt>
                                <dd>{in_range}</dd>
                                <dt>{if span == Span::Day { words.readings } else { words.windows }}</dt>
                                <dd>{readings}</dd>
                            })}
                        </dl>
                        <p class="hint">{if span == Span::Month { words.month_note } else { words.kinetic_note }}</p>
                    </div>
                }.erased()
            } else {
                view! { <p class="pad muted">{(words.table_none)(length)}</p> }.erased()
            }}
        </section>
    }
}

#[component]
fn ExcursionPanel(
    series: StoredValue<Series>,
    changed: RwSignal<u32>,
    zone: Zone,
    now: Signal<i64>,
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().device;
    let span = series.with_value(|s| s.span);
    let found = Memo::new(move |_| {
        changed.track();
        series.with_value(|s| (s.picture().outside, s.points.is_empty()))
    });
    let list = move || {
        let (outside, nothing) = found.get();
        if outside.is_empty() {
            let tone = if nothing { "unknown" } else { "ok" };
            let text = if nothing {
                (words.table_none)(words.span_lengths[span as usize])
            } else {
                (words.excursions_none)(words.span_lengths[span as usize])
            };
            return view! {
                <div class="empty" data-tone=tone>
                    <Icon name=tone/>
                    <h3>{text}</h3>
                    <p>{words.excursions_none_note}</p>
                </div>
            }
            .erased();
        }
        let more = outside.len().saturating_sub(LISTED);
        let rows = outside.iter().rev().take(LISTED).map(|o| excursion_row(o, zone, now, lang)).collect_view();
        view! {
            <ul class="lines">{rows}</ul>
            {(more > 0).then(|| view! { <p class="pad muted">{(words.excursions_more)(&format::int(lang, more as u64))}</p> })}
        }
        .erased()
    };
    let length = words.span_lengths[span as usize];
    let count = move || {
        found.with(|(outside, _)| {
            (!outside.is_empty()).then(|| (words.excursions_count)(&format::int(lang, outside.len() as u64), length))
        })
    };
    view! {
        <section class="panel" aria-labelledby="excursions" data-live=topic>
            <div class="panel__head">
                <h2 id="excursions">{words.excursions}</h2>
                <span class="muted">{count}</span>
            </div>
            {list}
        </section>
    }
}

fn excursion_row(o: &Outside, zone: Zone, now: Signal<i64>, lang: Lang) -> impl IntoView + use<> {
    let words = &lang.words().device;
    let moment = |at: EventTime| format::moment(lang, at.ms(), zone, now.get_untracked());
    let since = if o.cut { (words.excursion_cut)(&moment(o.since)) } else { moment(o.since) };
    let (tone, icon, what, state) = match o.until {
        None => (
            if o.side == Side::Above { "act" } else { "freeze" },
            if o.side == Side::Above { "act" } else { "freeze" },
            (words.excursion_open)(&since),
            words.still_out,
        ),
        Some(until) => ("ok", "ok", format!("{since} – {}", format::clock(lang, until.ms(), zone)), words.recovered),
    };
    let (outside, peak) = (*o, peak_text(o.side, o.peak.temperature, lang));
    // What lasts grows with the clock; what is past stands.
    let facts = move || {
        let length = match outside.until {
            Some(_) => outside.length_ms(),
            None => (now.get() - outside.since.ms()).max(outside.length_ms()),
        };
        let degree_minutes = format::int(lang, outside.degree_minutes() as u64);
        let facts = (words.excursion_facts)(&lasted(lang, length), &peak, &degree_minutes);
        match outside.unknown_ms {
            0 => facts,
            ms => format!("{facts} · {}", (words.excursion_unknown)(&format::length(lang, ms))),
        }
    };
    view! {
        <li data-tone=tone>
            <b>{what}</b>
            <span class="status"><Icon name=icon/>{state}</span>
            <span class="sub">{facts}</span>
        </li>
    }
}

#[component]
fn ReadingsPanel(series: StoredValue<Series>, changed: RwSignal<u32>, page: usize, zone: Zone, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let (span, range) = series.with_value(|s| (s.span, s.range));
    let here = use_here();
    let skip = (page.max(1) - 1) * ROWS;
    let rows = Memo::new(move |_| {
        // The first page grows at its top; older pages stand still while they are read.
        if page <= 1 {
            changed.track();
        }
        series.with_value(|s| s.points.iter().rev().skip(skip).take(ROWS).copied().collect::<Vec<_>>())
    });
    let total = Memo::new(move |_| {
        changed.track();
        series.with_value(|s| s.points.len())
    });
    let count = move || {
        let (shown, total) = (rows.with(Vec::len), total.get());
        let part =
            format!("{}–{}", format::int(lang, (skip + usize::from(shown > 0)) as u64), format::int(lang, (skip + shown) as u64));
        (total > 0).then(|| (words.device.table_count)(&part, &format::int(lang, total as u64)))
    };
    let end = series.with_value(|s| s.end.ms());
    let row = move |point: Point| {
        let ms = point.at.ms();
        let condition = range.condition(point.temperature);
        let hot = match condition {
            Condition::Fine => None,
            Condition::TooWarm => Some("hot"),
            _ => Some("cold"),
        };
        let state = if condition == Condition::Fine { words.device.state_fine } else { status::word(words, condition) };
        view! {
            <tr>
                <th scope="row">
                    <time datetime=format::datetime_attribute(ms, zone) title=format::utc(ms)>{table_time(lang, ms, zone, end)}</time>
                </th>
                <td class=hot>{format::degrees(lang, point.temperature)}</td>
                <td class="txt">{state}</td>
            </tr>
        }
    };
    let older = here.with("page", &(page.max(1) + 1).to_string());
    let newer = here.with("page", &if page > 2 { (page - 1).to_string() } else { String::new() });
    let more = move || total.get() > skip + ROWS;
    let empty = move || {
        rows.with(Vec::is_empty)
            .then(|| view! { <p class="pad muted">{(words.device.table_none)(words.device.span_lengths[span as usize])}</p> })
    };
    view! {
        <section class="panel" aria-labelledby="readings" data-live=topic>
            <div class="panel__head">
                <h2 id="readings">{words.device.table_of[span as usize]}</h2>
                <span class="muted">{count}</span>
            </div>
            <div class="scroll" tabindex="0" role="group" aria-labelledby="readings">
                <table class="table">
                    <thead>
                        <tr>
                            <th scope="col">{(words.device.column_time)(zone.name())}</th>
                            <th scope="col">{words.device.column_temperature}</th>
                            <th scope="col" class="txt">{words.device.column_state}</th>
                        </tr>
                    </thead>
                    <tbody>
                        <For each=move || rows.get() key=|point| (point.at, point.temperature) children=row/>
                    </tbody>
                </table>
            </div>
            {empty}
            {move || (page > 1 || more()).then(|| view! {
                <div class="panel__foot">
                    {(page > 1).then(|| view! { <a href=format!("{newer}#readings")>{words.device.newer}</a> })}
                    {more().then(|| view! { <a href=format!("{older}#readings")>{words.device.older}</a> })}
                </div>
            })}
        </section>
    }
}

/// The time of a row: `14.05`, with its day where that is not the newest.
fn table_time(lang: Lang, ms: i64, zone: Zone, end: i64) -> String {
    let (day, last) = (format::day(lang, ms, zone), format::day(lang, end, zone));
    let time = format::time(lang, ms, zone);
    if day == last { time } else { format!("{day}, {time}") }
}

#[cfg(test)]
#[path = "device/tests.rs"]
mod tests;
