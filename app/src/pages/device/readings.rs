//! The readings as a table, and the chart and its readings as files.

use super::span_name;
use crate::api::{Point, Span};
use crate::chart::view::Series;
use crate::components::files::{ChartFiles, Files};
use crate::components::link::{self, encode, use_here};
use crate::components::status;
use crate::format;
use crate::words::use_lang;
use domain::coldchain::Condition;
use domain::time::{EventTime, Zone};
use leptos::prelude::*;

/// Readings on one page of the table.
const ROWS: usize = 50;

/// The chart and its readings as files.
#[component]
pub(super) fn Downloads(id: String, span: Span, end_ms: i64) -> impl IntoView {
    let lang = use_lang();
    let of = move || {
        let size = if span == Span::Day { "10s" } else { "5m" };
        let from = EventTime::from_ms(end_ms - span.ms());
        ChartFiles {
            svg: format!("{}/chart.svg?span={}&lang={}", link::device(&id), span_name(span), lang.code()),
            // Without an end: what the stream has brought since the page was loaded is in the table, so it is in the file.
            csv: format!("/api/v1/windows?device_id={}&size={size}&from={from}&format=csv", encode(&id)),
            name: format!("{id}-{}", span_name(span)),
        }
    };
    view! { <Files of/> }
}

#[component]
pub(super) fn ReadingsPanel(
    series: StoredValue<Series>,
    changed: RwSignal<u32>,
    page: usize,
    zone: Zone,
    topic: String,
) -> impl IntoView {
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
                    <time datetime=format::datetime_attribute(ms, zone) title=format::utc(ms)>{format::moment_in_column(lang, ms, zone, end)}</time>
                </th>
                <td class=hot>{format::degrees_of(lang, point.temperature, range)}</td>
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
