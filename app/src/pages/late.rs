//! Records that came after their window was done: the newest of them, and one with its bytes. The server alone draws them.

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

use super::letter::RawPanel;
use crate::api::{Crumb, LateRecord, LateView, backend};
use crate::components::frame::{Frame, Section, Step};
use crate::components::icon::Icon;
use crate::components::link::{self, use_code, use_here};
use crate::components::list::{ListHead, RecordsPanel};
use crate::components::page::drawn;
use crate::components::status;
use crate::error::AppError;
use crate::format;
use crate::words::glossary::Glossary;
use crate::words::late::LateWords;
use crate::words::letter::LetterWords;
use crate::words::{Lang, use_lang};
use domain::coldchain::Range;
use domain::milli::Milli;
use domain::time::{EventTime, ProcessingTime, Zone};
use leptos::prelude::*;

/// The list: `/late?before={position}`.
#[component]
pub fn LatePage() -> impl IntoView {
    let before = use_here().get("before").map(str::parse::<u64>).transpose();
    let backend = backend();
    let answer = async move {
        let before = before.map_err(|_| AppError::NotFound)?;
        Ok((before, backend.late(before).await?))
    };
    drawn(Section::Pipeline, answer, |(before, view)| view! { <List before view/> })
}

/// One of them: `/late/{position}`.
#[component]
pub fn LateRecordPage() -> impl IntoView {
    let position = use_code().parse::<u64>();
    let backend = backend();
    let answer = async move {
        let position = position.map_err(|_| AppError::NotFound)?;
        backend.late_record(position).await?.ok_or(AppError::NotFound)
    };
    drawn(Section::Pipeline, answer, |record| view! { <Record record/> })
}

/// The page of a late record.
pub(super) fn address(position: u64) -> String {
    format!("/late/{position}")
}

fn steps(lang: Lang, more: Option<Step>) -> Vec<Step> {
    let mut steps = vec![
        Step { href: "/pipeline".to_owned(), name: lang.words().pipeline.title.to_owned() },
        Step { href: "/late".to_owned(), name: LateWords::of(lang).title.to_owned() },
    ];
    steps.extend(more);
    steps
}

/// A moment where the record comes from, without its date on the day of `now`.
fn when(lang: Lang, ms: i64, zone: Zone, now: ProcessingTime) -> impl IntoView {
    view! {
        <time datetime=format::datetime_attribute(ms, zone) title=format::utc(ms)>{format::moment(lang, ms, zone, now.ms())}</time>
    }
}

fn device_link(id: Option<String>) -> impl IntoView {
    id.map(|id| view! { <a href=link::device(&id)>{id.clone()}</a> })
}

fn facility_link(lang: Lang, facility: Option<Crumb>) -> impl IntoView {
    match facility {
        Some(Crumb { code, name }) => view! { <a href=link::facility(&code)>{name}</a> }.into_any(),
        None => view! { <span class="muted">{LateWords::of(lang).unregistered}</span> }.into_any(),
    }
}

/// The temperature, and how it lies outside its range.
fn temperature(lang: Lang, measured: Option<(Milli, Range)>) -> impl IntoView {
    let Some((temperature, range)) = measured else { return lang.words().general.none.into_any() };
    let value = format::degrees_of(lang, temperature, range);
    let condition = range.condition(temperature);
    if !condition.is_excursion() {
        return value.into_any();
    }
    view! {
        {value}" "
        <span class="status" data-tone=status::tone(condition)>
            <Icon name=status::icon(condition)/>
            {status::word(lang.words(), condition)}
        </span>
    }
    .into_any()
}

/// `13.52.10–13.52.20 WIB`: windows may be shorter than a minute.
fn window(lang: Lang, record: &LateRecord) -> String {
    let (start, end) = record.window;
    let zone = record.zone;
    let seconds = |ms: i64| {
        let clock = lang.words().units.clock;
        format!("{}{clock}{:02}", format::time(lang, ms, zone), zone.civil(ms).second)
    };
    format!("{}–{}{}{}", seconds(start.ms()), seconds(end.ms()), format::NBSP, zone.name())
}

#[component]
fn List(before: Option<u64>, view: LateView) -> impl IntoView {
    let lang = use_lang();
    let (words, letter, pipeline) = (LateWords::of(lang), LetterWords::of(lang), &lang.words().pipeline);
    let LateView { taken_at, count, records, is_more } = view;
    let title = if count == 0 { words.none.to_owned() } else { (words.count)(&format::int(lang, count)) };
    let (shown, oldest) = (records.len(), records.last().map(|record| record.position));
    let row = move |record: LateRecord| {
        let window = window(lang, &record);
        let at = record.ts.map_or(record.received_at.ms(), EventTime::ms);
        view! {
            <tr>
                <th scope="row"><a href=address(record.position)>{when(lang, at, record.zone, taken_at)}</a></th>
                <td class="txt">{temperature(lang, record.measured)}</td>
                <td class="p2">{format::age(lang, record.lateness_ms)}</td>
                <td class="txt">{device_link(record.device_id)}</td>
                <td class="txt p2">{facility_link(lang, record.facility)}</td>
                <td class="txt p2">{window}</td>
                <td class="txt p3">{when(lang, record.received_at.ms(), record.zone, taken_at)}</td>
                <td class="txt p3">{record.source}</td>
            </tr>
        }
    };
    let content = match (shown, count) {
        (0, 0) => view! { <div class="empty" data-tone="ok"><Icon name="ok"/><p>{words.none_note}</p></div> }.into_any(),
        (0, _) => view! { <p class="pad muted">{words.not_stored}</p> }.into_any(),
        _ => view! {
            <div class="scroll" tabindex="0" role="group" aria-labelledby="late">
                <table class="table table--wrap">
                    <thead>
                        <tr>
                            <th scope="col">{letter.device_time}</th>
                            <th scope="col" class="txt">{lang.words().device.column_temperature}</th>
                            <th scope="col" class="p2">{words.lateness}</th>
                            <th scope="col" class="txt">{letter.device}</th>
                            <th scope="col" class="txt p2">{words.facility}</th>
                            <th scope="col" class="txt p2">{words.window}</th>
                            <th scope="col" class="txt p3">{letter.received}</th>
                            <th scope="col" class="txt p3">{pipeline.source}</th>
                        </tr>
                    </thead>
                    <tbody>{records.into_iter().map(row).collect_view()}</tbody>
                </table>
            </div>
        }
        .into_any(),
    };
    let first = before.map(|_| "/late".to_owned());
    let ways = [first, oldest.filter(|_| is_more).map(|position| format!("/late?before={position}"))];
    view! {
        <Frame title=words.title section=Section::Pipeline steps=steps(lang, None)>
            <ListHead title taken_at/>
            <p class="muted">{Glossary::of(lang).late()}{(shown > 0).then(|| format!(" {}", words.next))}</p>
            <RecordsPanel id="late" before shown count ways api="/api/v1/late" content/>
        </Frame>
    }
}

#[component]
fn Record(record: LateRecord) -> impl IntoView {
    let lang = use_lang();
    let (words, letter, pipeline) = (LateWords::of(lang), LetterWords::of(lang), &lang.words().pipeline);
    let title = (words.record)(&format::int(lang, record.position));
    let step = Step { href: address(record.position), name: title.clone() };
    let window = window(lang, &record);
    let none = lang.words().general.none;
    let instant = move |ms: i64, zone: Zone| {
        view! {
            <time datetime=format::datetime_attribute(ms, zone) title=format::utc(ms)>{format::date_time(lang, ms, zone)}</time>
        }
    };
    let zone = record.zone;
    let device = if record.device_id.is_some() { device_link(record.device_id).into_any() } else { none.into_any() };
    let at = record.ts.map_or_else(|| none.into_any(), |ts| instant(ts.ms(), zone).into_any());
    view! {
        <Frame title=title.clone() section=Section::Pipeline steps=steps(lang, Some(step)) class="page--narrow">
            <div class="page-head"><h1>{title}</h1></div>
            <section class="panel" aria-labelledby="why">
                <div class="panel__head"><h2 id="why">{(words.late_by)(&format::age(lang, record.lateness_ms))}</h2></div>
                <div class="panel__body">
                    <p>{Glossary::of(lang).late()}</p>
                    <dl class="facts facts--wide">
                        <dt>{letter.device_time}</dt>
                        <dd>{at}</dd>
                        <dt>{lang.words().device.column_temperature}</dt>
                        <dd>{temperature(lang, record.measured)}</dd>
                        <dt>{words.window}</dt>
                        <dd>{window}</dd>
                        <dt>{letter.received}</dt>
                        <dd>{instant(record.received_at.ms(), zone)}</dd>
                        <dt>{letter.device}</dt>
                        <dd>{device}</dd>
                        <dt>{words.facility}</dt>
                        <dd>{facility_link(lang, record.facility)}</dd>
                        <dt>{pipeline.source}</dt>
                        <dd>{record.source}</dd>
                        <dt>{letter.event_id}</dt>
                        <dd>{record.event_id.unwrap_or_else(|| none.to_owned())}</dd>
                    </dl>
                </div>
            </section>
            <RawPanel raw=String::from_utf8_lossy(&record.raw).into_owned() is_text=std::str::from_utf8(&record.raw).is_ok()/>
            <p><a href="/late">{words.back}</a></p>
        </Frame>
    }
}
