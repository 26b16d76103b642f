//! How far the data has come: the watermark of each topic, and what waits in each partition of Kafka.

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

use super::ZONE;
use super::tables::topic_name;
use crate::components::hold::Hold;
use crate::components::link;
use crate::components::settled::Erase;
use crate::components::when::Age;
use crate::format;
use crate::words::use_lang;
use domain::feed::{PartitionNow, PipelineNow, WatermarkNow};
use domain::time::{EventTime, ProcessingTime};
use leptos::prelude::*;
use std::rc::Rc;

/// The watermark of each topic that has windows.
#[component]
pub fn WatermarkPanel(now: RwSignal<PipelineNow>, clock: Signal<i64>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let hold = Hold::default();
    let rows = Memo::new(move |shown: Option<&Vec<WatermarkNow>>| {
        let mut rows = now.with(|now| now.watermarks.clone());
        // Under a finger no link becomes that to another device.
        if let Some(shown) = shown.filter(|_| hold.is_on("watermark")) {
            for row in &mut rows {
                row.slowest = shown.iter().find(|of| of.topic == row.topic).and_then(|of| of.slowest.clone());
            }
        }
        rows
    });
    let row = move |of: WatermarkNow| {
        let cell = move |at: Option<EventTime>| match at {
            Some(at) => {
                let ms = at.ms();
                let time = format::moment(lang, ms, ZONE, clock.get_untracked());
                view! { <time datetime=format::datetime_attribute(ms, ZONE) title=format::utc(ms)>{time}</time> }.erased()
            }
            None => lang.words().general.none.erased(),
        };
        let slowest = of.slowest.map(|id| view! { <a href=link::device(&id)>{id.clone()}</a> });
        view! {
            <tr>
                <th scope="row">{topic_name(lang, of.topic.name().to_owned())}</th>
                <td>{cell(of.half)}</td>
                <td class="p2">{cell(of.tenth)}</td>
                <td>{cell(of.lowest)}</td>
                <td class="txt p2">{slowest}</td>
                <td class="p3">{format::int(lang, of.active)}</td>
                <td class="p3">{format::int(lang, of.idle)}</td>
                <td class="p3">{format::age(lang, of.delay_ms)}</td>
            </tr>
        }
    };
    let is_none = Memo::new(move |_| rows.with(Vec::is_empty));
    let none = move || is_none.get().then(|| view! { <p class="pad muted">{words.watermark_none}</p> });
    // Of the first topic, by itself: what a glance is to find.
    let half = Signal::derive(move || rows.with(|rows| rows.first().and_then(|of| of.half).map(EventTime::ms)));
    view! {
        <section
            class="panel"
            aria-labelledby="watermark"
            data-live=topic
            on:pointerenter=move |_| hold.point("watermark")
            on:pointerleave=move |_| hold.leave("watermark", Rc::new(|| ()))
        >
            <div class="panel__head">
                <h2 id="watermark">{words.watermark}</h2>
                <span class="age" hidden=is_none>{words.watermark_behind}" "<Age at=half now=clock/></span>
            </div>
            {none}
            <div class="scroll" tabindex="0" role="group" aria-labelledby="watermark" hidden=is_none>
                <table class="table">
                    <thead>
                        <tr>
                            <th scope="col">{words.topic}</th>
                            <th scope="col">{words.watermark_columns[0]}</th>
                            <th scope="col" class="p2">{words.watermark_columns[1]}</th>
                            <th scope="col">{words.watermark_columns[2]}</th>
                            <th scope="col" class="txt p2">{words.watermark_columns[3]}</th>
                            <th scope="col" class="p3">{words.watermark_columns[4]}</th>
                            <th scope="col" class="p3">{words.watermark_columns[5]}</th>
                            <th scope="col" class="p3">{words.watermark_columns[6]}</th>
                        </tr>
                    </thead>
                    <tbody>{move || rows.get().into_iter().map(row).collect_view()}</tbody>
                </table>
            </div>
            <p class="panel__foot">{words.watermark_foot}</p>
        </section>
    }
}

/// What waits in each partition of Kafka; nothing where the log is that of this server.
#[component]
pub fn PartitionsPanel(now: RwSignal<PipelineNow>, clock: Signal<i64>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let rows = Memo::new(move |_| now.with(|now| now.partitions.clone()));
    let is_there = Memo::new(move |_| rows.with(|rows| !rows.is_empty()));
    let row = move |of: PartitionNow| {
        let at = Signal::stored(of.checkpoint_at.map(ProcessingTime::ms));
        view! {
            <tr>
                <th scope="row">{of.topic}</th>
                <td>{of.partition}</td>
                <td>{format::int(lang, of.lag)}</td>
                <td class="p2">{format::int(lang, of.next)}</td>
                <td><Age at now=clock/></td>
            </tr>
        }
    };
    move || {
        let topic = topic.clone();
        is_there.get().then(|| {
            view! {
                <section class="panel" aria-labelledby="partitions" data-live=topic>
                    <div class="panel__head"><h2 id="partitions">{words.partitions}</h2></div>
                    <div class="scroll" tabindex="0" role="group" aria-labelledby="partitions">
                        <table class="table">
                            <thead>
                                <tr>
                                    <th scope="col">{words.topic}</th>
                                    <th scope="col">{words.partition_columns[0]}</th>
                                    <th scope="col">{words.partition_columns[1]}</th>
                                    <th scope="col" class="p2">{words.partition_columns[2]}</th>
                                    <th scope="col">{words.partition_columns[3]}</th>
                                </tr>
                            </thead>
                            <tbody>{move || rows.get().into_iter().map(row).collect_view()}</tbody>
                        </table>
                    </div>
                    <p class="panel__foot">{words.partitions_foot}</p>
                </section>
            }
            .erased()
        })
    }
}
