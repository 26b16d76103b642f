//! The page of the pipeline: whether all adds up, how fast it runs, where records come from and why some were refused.

mod progress;
mod tables;
pub mod trend;

use super::unassigned::UnregisteredPanel;
use crate::api::{self, PipelineView};
use crate::components::frame::{Frame, Section};
use crate::components::icon::Icon;
use crate::components::page::{Answer, reload};
use crate::components::plain_chart::RatePanel;
use crate::format;
use crate::live::{use_live, use_now};
use crate::words::{Lang, use_lang};
use domain::feed::{self, DelaysNow, LiveTopic, PipelineNow};
use domain::time::{MINUTE_MS, Zone};
use leptos::prelude::*;
use progress::{PartitionsPanel, WatermarkPanel};
use tables::{DeadLettersPanel, ReasonsPanel, SourcesPanel, day_name, topic_name};
pub(super) use tables::{TablePanel, Tables};
use trend::{LagPanel, LatePanel};

/// The server's figures belong to no place; they are told in Western time.
pub(crate) const ZONE: Zone = Zone::Wib;

/// The page of the pipeline.
#[component]
pub fn PipelinePage() -> impl IntoView {
    view! {
        <Answer
            ask=api::pipeline
            section=Section::Pipeline
            view=move |view: PipelineView| {
                view! { <Pipeline view on_reload=reload/> }
            }
        />
    }
}

/// A share of all records with two decimals: `97,99 %`.
fn share(lang: Lang, part: u64, whole: u64) -> String {
    if whole == 0 {
        return lang.words().general.none.to_owned();
    }
    let thousandths = (u128::from(part) * 100_000 + u128::from(whole) / 2) / u128::from(whole);
    format!("{}{}%", format::decimal(lang, thousandths as i64, 2), format::NBSP)
}

/// Bytes with one decimal: `1,4 GB`.
fn bytes(lang: Lang, bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}{}{name}", format::decimal(lang, (u128::from(bytes) * 1_000 / unit) as i64, 1), format::NBSP)
}

/// How far the equation is from holding.
fn difference(now: &PipelineNow) -> u64 {
    now.received.abs_diff(now.accepted + now.duplicate + now.late + now.rejected)
}

/// The page, once its answer is there.
#[component]
pub(crate) fn Pipeline(view: PipelineView, on_reload: impl Fn() + 'static) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let PipelineView { taken_at, uptime_start, .. } = view;
    let tables = Tables::new(&view);
    let PipelineView { now: first, .. } = view;
    let clock = use_now(taken_at);
    let now = RwSignal::new(first);
    let rates = tables.rate;
    let passed = StoredValue::new(0i64);
    let refresh = tables.follow();

    use_live(
        vec![LiveTopic::Pipeline],
        taken_at,
        move |update| {
            if let feed::Update::Pipeline { now: newest } = update {
                let minute = (clock.get_untracked() - taken_at.ms()) / MINUTE_MS;
                let rate = newest.per_second;
                if now.with_untracked(|now| *now != newest) {
                    now.set(newest);
                }
                refresh.ask();
                rates.update(|rates| {
                    // The last value is the minute that runs; a new minute begins a new one.
                    if minute > passed.get_value() || rates.is_empty() {
                        rates.push(rate);
                        rates.drain(..rates.len().saturating_sub(60));
                    } else if let Some(last) = rates.last_mut() {
                        *last = rate;
                    }
                });
                passed.set_value(minute);
            }
        },
        on_reload,
    );

    let topic = LiveTopic::Pipeline.to_string();
    let whole = Memo::new(move |_| now.with(difference) == 0);
    let nothing = Memo::new(move |_| now.with(|n| n.received == 0));
    let headline = move || {
        if nothing.get() {
            words.nothing_yet.to_owned()
        } else if whole.get() {
            words.all_counted.to_owned()
        } else {
            (words.not_counted)(&format::int(lang, now.with(difference)))
        }
    };
    let check = move || {
        let (tone, icon) = if whole.get() { ("ok", "ok") } else { ("act", "act") };
        view! {
            <span class="status" data-tone=tone>
                <Icon name=icon/>
                {(words.difference)(&format::int(lang, now.with(difference)))}
            </span>
        }
    };
    let start = uptime_start.ms();
    #[cfg(feature = "ssr")]
    let glossary = fixed::glossary(lang);
    #[cfg(not(feature = "ssr"))]
    let glossary = String::new();
    let unregistered = Memo::new(move |_| now.with(|n| n.unregistered));
    view! {
        <Frame title=words.title section=Section::Pipeline taken_at=Some(taken_at) zone=ZONE>
            <div class="page-head">
                <h1 data-live=topic.clone()>{headline}</h1>
                <p>
                    <time datetime=format::datetime_attribute(start, ZONE) title=format::utc(start)>
                        {(words.since)(&format::date_time(lang, start, ZONE))}
                    </time>
                    " · "
                    {check}
                    " · "
                    <a href="#words">{words.meaning}</a>
                </p>
            </div>
            {move || nothing.get().then(|| view! {
                <div class="notice" data-tone="unknown"><Icon name="info"/><p>{words.nothing_yet_note}</p></div>
            })}
            <Equation now topic=topic.clone()/>
            <WatermarkPanel now clock topic=topic.clone()/>
            <PartitionsPanel now clock topic=topic.clone()/>
            <div class="grid cols-3">
                <RatePanel rate=rates now=clock zone=ZONE/>
                <LagPanel
                    waiting=Signal::derive(move || now.with(|n| n.lag))
                    by_minute=tables.lag
                    now=tables.taken_at
                    topic=topic.clone()
                />
                <LatePanel hours=tables.hours now=clock topic=topic.clone()/>
            </div>
            <div class="grid cols-3">
                <DelaysPanel now topic=topic.clone()/>
                <EnginePanel now clock topic=topic.clone()/>
                <DevicesPanel now topic/>
            </div>
            <div class="grid cols-2">
                <div class="stack">
                    <SourcesPanel id="topics" title=words.topics column=words.topic rows=tables.topics name=topic_name tables=tables.clone()/>
                    <ReasonsPanel tables=tables.clone()/>
                    <UnregisteredPanel tables=tables.clone() count=unregistered.into() clock/>
                </div>
                <div class="stack">
                    <SourcesPanel id="sources" title=words.sources column=words.source rows=tables.sources name=|_, name| name tables=tables.clone() now=Some(clock)/>
                    <SourcesPanel id="days" title=words.days column=words.day rows=tables.days name=day_name tables=tables.clone()/>
                </div>
            </div>
            <DeadLettersPanel
                tables
                undecided=Signal::derive(move || now.with(|n| n.undecided))
                rejected=Signal::derive(move || now.with(|n| n.rejected))
            />
            <section class="panel" id="words" aria-labelledby="glossary" inner_html=glossary></section>
        </Frame>
    }
}

/// What never changes: the server draws it, the browser has it already.
#[cfg(feature = "ssr")]
mod fixed {
    use crate::components::settled::markup;
    use crate::words::Lang;
    use crate::words::glossary::Glossary;
    use leptos::prelude::*;

    /// What the words of the page mean.
    pub(super) fn glossary(lang: Lang) -> String {
        let Glossary { title, terms } = Glossary::of(lang);
        markup(view! {
            <div class="panel__head"><h2 id="glossary">{*title}</h2></div>
            <dl class="panel__body terms">
                {terms.map(|(word, meaning)| view! { <div><dt>{word}</dt><dd>{meaning}</dd></div> }).collect_view()}
            </dl>
        })
    }
}

#[component]
fn Equation(now: RwSignal<PipelineNow>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let number = move |read: fn(&PipelineNow) -> u64| move || format::int(lang, now.with(read));
    let part = move |name: &'static str, read: fn(&PipelineNow) -> u64| {
        move || format!("{name}, {}", now.with(|n| share(lang, read(n), n.received)))
    };
    view! {
        <section class="sum" aria-label=words.equation data-live=topic>
            <a class="sum__term" href="#sources"><b>{number(|n| n.received)}</b><span>{words.received}</span></a>
            <span class="sum__op" aria-hidden="true">"="</span>
            <a class="sum__term" href="#topics"><b>{number(|n| n.accepted)}</b><span>{part(words.accepted, |n| n.accepted)}</span></a>
            <span class="sum__op" aria-hidden="true">"+"</span>
            <a class="sum__term" href="#sources"><b>{number(|n| n.duplicate)}</b><span>{part(words.duplicate, |n| n.duplicate)}</span></a>
            <span class="sum__op" aria-hidden="true">"+"</span>
            <a class="sum__term" href="/late"><b>{number(|n| n.late)}</b><span>{part(words.late, |n| n.late)}</span></a>
            <span class="sum__op" aria-hidden="true">"+"</span>
            <a class="sum__term" href="#dead-letters"><b>{number(|n| n.rejected)}</b><span>{part(words.rejected, |n| n.rejected)}</span></a>
        </section>
    }
}

/// What the engine holds.
#[component]
fn EnginePanel(now: RwSignal<PipelineNow>, clock: Signal<i64>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let number = move |read: fn(&PipelineNow) -> u64| move || format::int(lang, now.with(read));
    let checkpoint = move || {
        now.with(|n| n.checkpoint_at)
            .map_or_else(|| lang.words().general.none.to_owned(), |at| (words.ago)(&format::age(lang, clock.get() - at.ms())))
    };
    let has_log = Memo::new(move |_| now.with(|n| n.partitions.is_empty()));
    view! {
        <section class="panel" aria-labelledby="engine" data-live=topic>
            <div class="panel__head">
                <h2 id="engine">{words.open_windows}</h2>
                <span class="num"><b>{number(|n| n.open_windows)}</b></span>
            </div>
            <div class="panel__body">
                <dl class="facts">
                    <dt>{words.closed_windows}</dt>
                    <dd>{number(|n| n.closed_windows)}</dd>
                    <dt>{words.corrected_windows}</dt>
                    <dd>{number(|n| n.corrected_windows)}</dd>
                    <dt>{words.checkpoint}</dt>
                    <dd>{checkpoint}</dd>
                    // Where the log is Kafka's, its size is.
                    {move || has_log.get().then(|| view! {
                        <dt>{words.log}</dt>
                        <dd>{move || bytes(lang, now.with(|n| n.log_bytes))}</dd>
                    })}
                </dl>
            </div>
            <p class="panel__foot">{words.corrected_foot}</p>
        </section>
    }
}

/// How long records are on their way.
#[component]
fn DelaysPanel(now: RwSignal<PipelineNow>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let length = move |read: fn(&DelaysNow) -> u64| {
        move || {
            let delay = now.with(|n| n.delays.as_ref().map(read));
            delay.map_or_else(|| lang.words().general.none.to_owned(), |ms| format::short_length(lang, ms))
        }
    };
    view! {
        <section class="panel" aria-labelledby="delays" data-live=topic>
            <div class="panel__head">
                <h2 id="delays">{words.delays}</h2>
                <span class="num"><b>{length(|d| d.half_ms)}</b></span>
            </div>
            <div class="panel__body">
                <dl class="facts">
                    <dt>{words.delay_shares[0]}</dt>
                    <dd>{length(|d| d.half_ms)}</dd>
                    <dt>{words.delay_shares[1]}</dt>
                    <dd>{length(|d| d.most_ms)}</dd>
                    <dt>{words.delay_shares[2]}</dt>
                    <dd>{length(|d| d.nearly_all_ms)}</dd>
                </dl>
            </div>
            <p class="panel__foot">{words.delays_foot}</p>
        </section>
    }
}

#[component]
fn DevicesPanel(now: RwSignal<PipelineNow>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let number = move |read: fn(&PipelineNow) -> u32| move || format::int(lang, now.with(read));
    let per_device = move || {
        now.with(|n| match n.devices {
            0 => lang.words().general.none.to_owned(),
            devices => format::decimal(lang, (u128::from(n.accepted) * 1_000 / u128::from(devices)) as i64, 1),
        })
    };
    view! {
        <section class="panel" aria-labelledby="devices" data-live=topic>
            <div class="panel__head">
                <h2 id="devices">{words.devices}</h2>
                <span class="num"><b>{number(|n| n.devices)}</b></span>
            </div>
            <div class="panel__body">
                <dl class="facts">
                    <dt>{words.registered}</dt>
                    <dd>{number(|n| n.devices.saturating_sub(n.unregistered))}</dd>
                    <dt>{words.unregistered}</dt>
                    <dd><a href="#unregistered">{number(|n| n.unregistered)}</a></dd>
                    <dt>{words.per_device}</dt>
                    <dd>{per_device}</dd>
                </dl>
            </div>
            <p class="panel__foot">{words.devices_foot}</p>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_sizes() {
        assert_eq!(share(Lang::Id, 5_793_118, 5_912_004), "97,99\u{a0}%");
        assert_eq!(share(Lang::Id, 0, 0), "–");
        assert_eq!(bytes(Lang::Id, 0), "0,0\u{a0}kB");
        assert_eq!(bytes(Lang::En, 1_432_000_000), "1.4\u{a0}GB");
    }

    #[test]
    fn the_equation_is_checked_not_assumed() {
        let now = PipelineNow { received: 10, accepted: 7, duplicate: 1, late: 1, rejected: 1, ..PipelineNow::default() };
        assert_eq!(difference(&now), 0);
        assert_eq!(difference(&PipelineNow { received: 12, ..now }), 2);
    }

    #[test]
    fn every_reason_has_its_words_in_order() {
        use domain::event::Reason;
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason}");
        }
    }
}
