//! What a device's past comes to: figures over the span, and every time it was outside its range.

use crate::api::{Point, Span};
use crate::chart::labels::{lasted, peak_text};
use crate::chart::picture::{Outside, Side};
use crate::chart::summary::Summary;
use crate::chart::view::Series;
use crate::components::icon::Icon;
use crate::components::settled::Erase;
use crate::format;
use crate::words::{Lang, use_lang};
use domain::coldchain::Range;
use domain::milli::Milli;
use domain::time::{EventTime, Zone};
use leptos::prelude::*;

/// Excursions listed before the rest is only counted.
const LISTED: usize = 8;

#[component]
pub(super) fn SummaryPanel(
    series: StoredValue<Series>,
    changed: RwSignal<u32>,
    zone: Zone,
    now: Signal<i64>,
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().device;
    let (span, range) = series.with_value(|s| (s.span, s.range));
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
                    let time = format::moment(lang, p.at.ms(), zone, now.get());
                    (words.value_at)(&format::celsius_of(lang, p.temperature, range), &time)
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
pub(super) fn ExcursionPanel(
    series: StoredValue<Series>,
    changed: RwSignal<u32>,
    zone: Zone,
    now: Signal<i64>,
    topic: String,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().device;
    let (span, range) = series.with_value(|s| (s.span, s.range));
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
        let rows = outside.iter().rev().take(LISTED).map(|o| excursion_row(o, range, zone, now, lang)).collect_view();
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

fn excursion_row(o: &Outside, range: Range, zone: Zone, now: Signal<i64>, lang: Lang) -> impl IntoView + use<> {
    let words = &lang.words().device;
    let (tone, icon, state) = match (o.until, o.side) {
        (Some(_), _) => ("ok", "ok", words.recovered),
        (None, Side::Above) => ("act", "act", words.still_out),
        (None, _) => ("freeze", "freeze", words.still_out),
    };
    let outside = *o;
    let what = move || {
        let moment = |at: EventTime| format::moment(lang, at.ms(), zone, now.get());
        let since = if outside.cut { (words.excursion_cut)(&moment(outside.since)) } else { moment(outside.since) };
        let Some(until) = outside.until else { return (words.excursion_open)(&since) };
        // The end names its day where that is neither the day it began nor today.
        let same_day = format::day(lang, until.ms(), zone) == format::day(lang, outside.since.ms(), zone);
        let until = if same_day { format::clock(lang, until.ms(), zone) } else { moment(until) };
        format!("{since} – {until}")
    };
    let peak = peak_text(range, o.peak.temperature, lang);
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
