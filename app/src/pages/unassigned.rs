//! Devices that send readings and that nobody has registered: they belong to no facility, so they stand at a place of their own.

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

use super::pipeline::{TablePanel, Tables, ZONE};
use crate::api::{self, Crumb, PipelineView};
use crate::components::frame::{Frame, Section, Step};
use crate::components::icon::Icon;
use crate::components::link;
use crate::components::page::{Answer, reload};
use crate::components::settled::Erase;
use crate::components::when::When;
use crate::format;
use crate::live::{use_live, use_now};
use crate::words::use_lang;
use domain::feed::{self, DeviceNow, LiveTopic};
use leptos::prelude::*;

/// The page of unregistered devices.
#[component]
pub fn UnassignedPage() -> impl IntoView {
    view! { <Answer ask=api::pipeline section=Section::Overview view=|view: PipelineView| view! { <Unassigned view/> }/> }
}

/// The page, once its answer is there.
#[component]
fn Unassigned(view: PipelineView) -> impl IntoView {
    let lang = use_lang();
    let words = lang.words();
    let PipelineView { taken_at, .. } = view;
    let clock = use_now(taken_at);
    let count = RwSignal::new(view.now.unregistered);
    let tables = Tables::new(&view);
    let refresh = tables.follow();
    use_live(
        vec![LiveTopic::Pipeline],
        taken_at,
        move |update| {
            if let feed::Update::Pipeline { now } = update {
                count.set(now.unregistered);
                // Without such devices there is nothing that could have changed.
                if now.unregistered > 0 {
                    refresh.ask();
                }
            }
        },
        reload,
    );
    let headline = move || match count.get() {
        0 => words.pipeline.unregistered_none.to_owned(),
        count => (words.pipeline.unregistered_count)(&format::int(lang, count)),
    };
    let name = words.region.unassigned;
    let steps = Step::regions(&[
        Crumb { code: "ID".to_owned(), name: "Indonesia".to_owned() },
        Crumb { code: "unassigned".to_owned(), name: name.to_owned() },
    ]);
    let taken = taken_at.ms();
    view! {
        <Frame title=name section=Section::Overview steps taken_at=Some(taken_at) zone=ZONE class="page--narrow">
            <div class="page-head">
                <h1 data-live="pipeline">{headline}</h1>
                <p>
                    <time datetime=format::datetime_attribute(taken, ZONE) title=format::utc(taken)>{format::date_time(lang, taken, ZONE)}</time>
                </p>
            </div>
            <UnregisteredPanel tables count=count.into() clock/>
            <p class="muted" hidden=move || count.get() == 0>
                {words.pipeline.unregistered_next}" "<a href="/pipeline">{words.general.pipeline}</a>"."
            </p>
        </Frame>
    }
}

/// The newest of them.
#[component]
pub fn UnregisteredPanel(
    /// All tables.
    tables: Tables,
    /// How many there are in all.
    count: Signal<u32>,
    /// Now.
    clock: Signal<i64>,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let devices = tables.unregistered;
    let empty = Memo::new(move |_| devices.with(Vec::is_empty));
    let row = move |id: String| {
        let href = link::device(&id);
        let name = id.clone();
        let newest =
            move |devices: &Vec<DeviceNow>| devices.iter().find(|device| device.id == id).and_then(|device| device.reading);
        let reading = Memo::new(move |_| devices.with(&newest));
        let value =
            move || reading.get().map_or_else(|| lang.words().general.none.to_owned(), |r| format::celsius(lang, r.temperature));
        let at = move || reading.get().map(|r| view! { <span class="sub"><When at=r.at.ms() zone=ZONE now=clock/></span> });
        view! {
            <li>
                <a href=href>{name}</a>
                <span class="end num">{value}</span>
                {at}
            </li>
        }
    };
    let ids = move || devices.with(|devices| devices.iter().map(|device| device.id.clone()).collect::<Vec<_>>());
    let content = move || {
        if empty.get() {
            return view! {
                <div class="empty" data-tone="ok">
                    <Icon name="ok"/>
                    <h3>{words.unregistered_none}</h3>
                    <p>{words.unregistered_none_note}</p>
                </div>
            }
            .erased();
        }
        view! {
            <p class="pad muted">{words.unregistered_note}</p>
            // By key: under a finger no row becomes that of another device.
            <ul class="lines"><For each=ids key=Clone::clone children=row/></ul>
            <div class="panel__foot"><a href="/regions/unassigned/devices">{words.unregistered_all}</a></div>
        }
        .erased()
    };
    let shown = Signal::derive(move || {
        let (listed, count) = (devices.with(Vec::len), count.get());
        if count == 0 {
            String::new()
        } else {
            (lang.words().general.of)(&format::int(lang, listed as u64), &format::int(lang, count))
        }
    });
    view! { <TablePanel id="unregistered" title=words.unregistered_devices note=shown tables>{content}</TablePanel> }
}
