//! All devices that nobody has registered, page by page. The server alone draws it.

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

use super::pipeline::ZONE;
use crate::api::{Crumb, UnregisteredView, backend};
use crate::components::frame::{Frame, Section, Step};
use crate::components::icon::Icon;
use crate::components::link::{self, encode, use_here};
use crate::components::list::{ListHead, shown_of};
use crate::components::page::drawn;
use crate::error::AppError;
use crate::format;
use crate::words::late::LateWords;
use crate::words::letter::LetterWords;
use crate::words::use_lang;
use domain::feed::DeviceNow;
use domain::time::ProcessingTime;
use leptos::prelude::*;

const PAGE: &str = "/regions/unassigned/devices";

/// The list: `/regions/unassigned/devices?before={device}`.
#[component]
pub fn UnregisteredPage() -> impl IntoView {
    let before = use_here().get("before").map(str::to_owned);
    let backend = backend();
    let answer = async move {
        let is_first = before.is_none();
        Ok((is_first, backend.unregistered(before).await?.ok_or(AppError::NotFound)?))
    };
    drawn(Section::Overview, answer, |(is_first, view)| view! { <List is_first view/> })
}

#[component]
fn List(is_first: bool, view: UnregisteredView) -> impl IntoView {
    let lang = use_lang();
    let (words, letter, pipeline) = (LateWords::of(lang), LetterWords::of(lang), &lang.words().pipeline);
    let UnregisteredView { taken_at, count, devices, is_more } = view;
    let title =
        if count == 0 { pipeline.unregistered_none.to_owned() } else { (pipeline.unregistered_count)(&format::int(lang, count)) };
    let steps = Step::regions(&[
        Crumb { code: "ID".to_owned(), name: "Indonesia".to_owned() },
        Crumb { code: "unassigned".to_owned(), name: lang.words().region.unassigned.to_owned() },
    ]);
    let steps = steps.into_iter().chain([Step { href: PAGE.to_owned(), name: pipeline.unregistered_all.to_owned() }]).collect();
    let none = lang.words().general.none;
    let when = move |ms: Option<i64>| {
        ms.map_or_else(
            || none.into_any(),
            |ms| {
                view! {
                    <time datetime=format::datetime_attribute(ms, ZONE) title=format::utc(ms)>
                        {format::moment(lang, ms, ZONE, taken_at.ms())}
                    </time>
                }
                .into_any()
            },
        )
    };
    let row = move |device: DeviceNow| {
        let reading = device.reading;
        view! {
            <tr>
                <th scope="row"><a href=link::device(&device.id)>{device.id.clone()}</a></th>
                <td>{reading.map_or_else(|| none.to_owned(), |r| format::celsius(lang, r.temperature))}</td>
                <td class="txt">{when(reading.map(|r| r.at.ms()))}</td>
                <td class="txt p2">{when(device.received_at.map(ProcessingTime::ms))}</td>
            </tr>
        }
    };
    let (shown, oldest) = (devices.len(), devices.last().map(|device| device.id.clone()));
    let content = if count == 0 {
        view! { <div class="empty" data-tone="ok"><Icon name="ok"/><p>{pipeline.unregistered_none_note}</p></div> }.into_any()
    } else {
        view! {
            <div class="scroll" tabindex="0" role="group" aria-labelledby="devices">
                <table class="table table--wrap">
                    <thead>
                        <tr>
                            <th scope="col" class="txt">{letter.device}</th>
                            <th scope="col">{lang.words().device.column_temperature}</th>
                            <th scope="col" class="txt">{letter.device_time}</th>
                            <th scope="col" class="txt p2">{letter.received}</th>
                        </tr>
                    </thead>
                    <tbody>{devices.into_iter().map(row).collect_view()}</tbody>
                </table>
            </div>
        }
        .into_any()
    };
    let older = oldest
        .filter(|_| is_more)
        .map(|id| view! { <a class="btn" rel="next" href=format!("{PAGE}?before={}", encode(&id))>{words.older}</a> });
    let first = (!is_first).then(|| view! { <a class="btn" href=PAGE>{words.first}</a> });
    let is_paged = older.is_some() || first.is_some();
    view! {
        <Frame title=pipeline.unregistered_devices section=Section::Overview steps>
            <ListHead title taken_at/>
            <p class="muted">{pipeline.unregistered_note}</p>
            <section class="panel" aria-labelledby="devices">
                <div class="panel__head">
                    <h2 id="devices">{if is_first { words.newest } else { words.older }}</h2>
                    {shown_of(lang, shown, count)}
                </div>
                {content}
                {is_paged.then(|| view! { <div class="panel__body row">{first}{older}</div> })}
                <div class="panel__foot"><a href="/api/v1/regions/unassigned">"JSON"</a></div>
            </section>
        </Frame>
    }
}
