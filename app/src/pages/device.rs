//! The page of a device: how it stands, its curve over a day, a week or a month, what that comes to, and the readings.

mod missing;
mod now;
mod past;
mod readings;

use super::facility::is_stale;
use crate::api::{self, CurveEnd, DeviceView, EquipmentKind, Span};
use crate::chart::canvas::Stage;
use crate::chart::view::{Series, TemperatureChart};
use crate::components::frame::{Frame, Section, Step};
use crate::components::icon::Icon;
use crate::components::link::{self, encode, use_code, use_here};
use crate::components::page::{Answer, reload};
use crate::components::status;
use crate::fetch::Refresh;
use crate::format;
use crate::live::{use_live, use_now};
use crate::words::{Lang, use_lang};
use domain::feed::{self, LiveTopic};
use leptos::prelude::*;
use missing::MissingPanel;
use now::{ClockNotice, DevicePanel, FaultNotice, NowBlock};
use past::{ExcursionPanel, SummaryPanel};
use readings::{Downloads, ReadingsPanel};
use std::time::Duration;

/// How often the server's curve is asked for while readings come in.
const CURVE_PAUSE: Duration = Duration::from_secs(2);
/// Where it is asked for.
const CURVE: &str = "/api/pages/curve";

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

#[component]
fn Device(view: DeviceView, page: usize, on_reload: impl Fn() + 'static) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let name = name(&view, lang);
    let series = StoredValue::new(Series::new(&view));
    let changed = RwSignal::new(0u32);
    let DeviceView { taken_at, path, facility, zone, equipment, now: device, more, span, .. } = view;
    let id = device.id.clone();
    let topic = LiveTopic::Device(id.clone());
    let now = use_now(taken_at);
    let state = RwSignal::new(device);
    let more = RwSignal::new(more);
    let curve = follow_curve(id.clone(), series, changed);

    use_live(
        vec![topic.clone()],
        taken_at,
        move |update| {
            let feed::Update::Device { device, more: newest } = update else { return };
            if newest != more.get_untracked() {
                more.set(newest);
            }
            if device != state.get_untracked() {
                let newer = device.reading.filter(|reading| state.with_untracked(|s| s.reading != Some(*reading)));
                series.update_value(|s| s.out_since = device.excursion.map(|excursion| excursion.since));
                state.set(device);
                if newer.is_some_and(|reading| series.try_update_value(|s| s.push(&reading)) == Some(true)) {
                    changed.update(|n| *n = n.wrapping_add(1));
                }
                curve.ask();
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
                    <ClockNotice state topic=topic.clone()/>
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
                        <Downloads id=id.clone() span end_ms=taken/>
                    </div>
                </section>
                <DevicePanel state more equipment_range=equipment.range interval_ms=equipment.interval_ms facility now zone topic=topic.clone()/>
            </div>
            <div class="grid cols-2">
                <SummaryPanel series changed zone now topic=topic.clone()/>
                <ExcursionPanel series changed zone now topic=topic.clone()/>
            </div>
            <MissingPanel more zone now topic=topic.clone()/>
            <ReadingsPanel series changed page zone topic/>
        </Frame>
    }
}

/// Brings the curve to what a reload would show: the average of a window whose readings the stream passed over, and records that
/// came in late.
fn follow_curve(id: String, series: StoredValue<Series>, changed: RwSignal<u32>) -> Refresh {
    let is_whole = StoredValue::new(true);
    let asked = StoredValue::new(series.with_value(|s| s.end_to_ask(false)));
    let url = move || {
        let (span, (since, from)) = series.with_value(|s| (s.span, s.end_to_ask(!is_whole.get_value())));
        asked.set_value((since, from));
        format!("{CURVE}?id={}&span={}&since={}&from={}", encode(&id), span_name(span), since.ms(), from.ms())
    };
    let take = move |end: CurveEnd| {
        let whole = series.try_update_value(|s| s.take_end(asked.get_value(), end)).unwrap_or(true);
        is_whole.set_value(whole);
        changed.update(|n| *n = n.wrapping_add(1));
        !whole
    };
    Refresh::new(CURVE_PAUSE, url, take)
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

#[cfg(test)]
#[path = "device/tests.rs"]
mod tests;
