//! The page of the pipeline: whether all adds up, how fast it runs, where records come from and why some were refused.

use crate::api::{self, DeadLetterRow, PipelineView, ReasonRow, SourceRow};
use crate::chart::rate;
use crate::components::frame::{Frame, Section};
use crate::components::icon::Icon;
use crate::components::link;
use crate::components::page::{Answer, reload};
use crate::components::settled::Erase;
use crate::components::when::When;
use crate::format;
use crate::live::{use_live, use_now};
use crate::words::{Lang, use_lang};
use domain::event::Topic;
use domain::feed::{self, DeviceNow, LiveTopic, PipelineNow};
use domain::time::{HOUR_MS, MINUTE_MS, Zone};
use leptos::prelude::*;

/// The server's figures belong to no place; they are told in Western time.
const ZONE: Zone = Zone::Wib;

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
    let PipelineView { taken_at, uptime_start, now: first, rate, sources, topics, reasons, dead_letters, unregistered } = view;
    let clock = use_now(taken_at);
    let now = RwSignal::new(first);
    let rates = RwSignal::new(rate);
    let passed = StoredValue::new(0i64);

    use_live(
        vec![LiveTopic::Pipeline],
        taken_at,
        move |update| {
            if let feed::Update::Pipeline { now: newest } = update {
                let minute = (clock.get_untracked() - taken_at.ms()) / MINUTE_MS;
                let rate = newest.per_second;
                now.set(newest);
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
    let stamp = StoredValue::new((words.as_of)(&format::clock(lang, taken_at.ms(), ZONE)));
    // The tables stand as of `taken_at`, and so do their totals.
    let all = now.with_untracked(|n| SourceRow {
        name: String::new(),
        received: n.received,
        accepted: n.accepted,
        duplicate: n.duplicate,
        late: n.late,
        rejected: n.rejected,
    });
    let rejected = all.rejected;
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
                </p>
            </div>
            {move || nothing.get().then(|| view! {
                <div class="notice" data-tone="unknown"><Icon name="info"/><p>{words.nothing_yet_note}</p></div>
            })}
            <Equation now topic=topic.clone()/>
            <div class="grid cols-3">
                <RatePanel now rates from=taken_at.ms() - HOUR_MS topic=topic.clone()/>
                <LagPanel now clock topic=topic.clone()/>
                <DevicesPanel now topic=topic/>
            </div>
            <div class="grid cols-2">
                <div class="stack">
                    <SourcesPanel id="topics" title=words.topics column=words.topic rows=topics name=topic_name all=all.clone() stamp/>
                    <ReasonsPanel reasons stamp/>
                    <UnregisteredPanel devices=unregistered clock stamp/>
                </div>
                <SourcesPanel id="sources" title=words.sources column=words.source rows=sources name=|_, name| name all stamp/>
            </div>
            <DeadLettersPanel rows=dead_letters rejected/>
        </Frame>
    }
}

/// The name of a topic in words; as it came where nobody knows it.
fn topic_name(lang: Lang, name: String) -> String {
    match Topic::from_name(&name) {
        Some(topic) => lang.words().pipeline.topic_names[topic as usize].to_owned(),
        None => name,
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
            <a class="sum__term" href="/api/v1/late"><b>{number(|n| n.late)}</b><span>{part(words.late, |n| n.late)}</span></a>
            <span class="sum__op" aria-hidden="true">"+"</span>
            <a class="sum__term" href="#dead-letters"><b>{number(|n| n.rejected)}</b><span>{part(words.rejected, |n| n.rejected)}</span></a>
        </section>
    }
}

#[component]
fn RatePanel(now: RwSignal<PipelineNow>, rates: RwSignal<Vec<f32>>, from: i64, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let value = move || format::rate(lang, now.with(|n| n.per_second));
    let chart = move || rates.with(|rates| rate::markup(rates, &format::time(lang, from, ZONE), lang));
    view! {
        <section class="panel" aria-labelledby="rate" data-live=topic>
            <div class="panel__head"><h2 id="rate">{words.per_second}</h2><span class="num"><b>{value}</b></span></div>
            <div class="panel__body">
                <svg class="chart" height=rate::HEIGHT role="img" aria-label=move || (words.per_second_label)(&value()) inner_html=chart></svg>
            </div>
            <p class="panel__foot">{words.per_second_foot}</p>
        </section>
    }
}

#[component]
fn LagPanel(now: RwSignal<PipelineNow>, clock: Signal<i64>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let number = move |read: fn(&PipelineNow) -> u64| move || format::int(lang, now.with(read));
    let checkpoint = move || {
        now.with(|n| n.checkpoint_at)
            .map_or_else(|| lang.words().general.none.to_owned(), |at| (words.ago)(&format::age(lang, clock.get() - at.ms())))
    };
    view! {
        <section class="panel" aria-labelledby="lag" data-live=topic>
            <div class="panel__head">
                <h2 id="lag">{words.lag}</h2>
                <span class="num"><b>{number(|n| n.lag)}</b>" "{words.records}</span>
            </div>
            <div class="panel__body">
                <dl class="facts">
                    <dt>{words.open_windows}</dt>
                    <dd>{number(|n| n.open_windows)}</dd>
                    <dt>{words.closed_windows}</dt>
                    <dd>{number(|n| n.closed_windows)}</dd>
                    <dt>{words.checkpoint}</dt>
                    <dd>{checkpoint}</dd>
                    <dt>{words.log}</dt>
                    <dd>{move || bytes(lang, now.with(|n| n.log_bytes))}</dd>
                </dl>
            </div>
            <p class="panel__foot">{words.lag_foot}</p>
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

#[component]
fn SourcesPanel(
    id: &'static str,
    title: &'static str,
    column: &'static str,
    rows: Vec<SourceRow>,
    name: fn(Lang, String) -> String,
    all: SourceRow,
    stamp: StoredValue<String>,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let cells = move |row: &SourceRow| {
        let cell = |number: u64, class: &'static str| {
            let class = if number == 0 { format!("zero {class}") } else { class.to_owned() };
            view! { <td class=class>{format::int(lang, number)}</td> }
        };
        (
            cell(row.received, ""),
            cell(row.accepted, "p3"),
            cell(row.duplicate, "p2"),
            cell(row.late, "p3"),
            cell(row.rejected, ""),
        )
    };
    let sum = |read: fn(&SourceRow) -> u64| rows.iter().map(read).sum::<u64>();
    // Only the largest are listed; the rest is what is missing to the total.
    let others = SourceRow {
        name: words.others.to_owned(),
        received: all.received.saturating_sub(sum(|r| r.received)),
        accepted: all.accepted.saturating_sub(sum(|r| r.accepted)),
        duplicate: all.duplicate.saturating_sub(sum(|r| r.duplicate)),
        late: all.late.saturating_sub(sum(|r| r.late)),
        rejected: all.rejected.saturating_sub(sum(|r| r.rejected)),
    };
    let total = cells(&all);
    let empty = rows.is_empty();
    let body = rows
        .into_iter()
        .map(|row| {
            let cells = cells(&row);
            view! { <tr><th scope="row">{name(lang, row.name)}</th>{cells}</tr> }
        })
        .collect_view();
    let others = (others.received > 0).then(|| {
        let cells = cells(&others);
        view! { <tr><th scope="row">{others.name}</th>{cells}</tr> }
    });
    view! {
        <section class="panel" aria-labelledby=id>
            <div class="panel__head"><h2 id=id>{title}</h2><span class="age">{stamp.get_value()}</span></div>
            {empty.then(|| view! { <p class="pad muted">{words.nothing_yet}</p> })}
            <div class="scroll" tabindex="0" role="group" aria-labelledby=id>
                <table class="table">
                    <thead>
                        <tr>
                            <th scope="col">{column}</th>
                            <th scope="col">{words.columns[0]}</th>
                            <th scope="col" class="p3">{words.columns[1]}</th>
                            <th scope="col" class="p2">{words.columns[2]}</th>
                            <th scope="col" class="p3">{words.columns[3]}</th>
                            <th scope="col">{words.columns[4]}</th>
                        </tr>
                    </thead>
                    <tbody>{body}{others}</tbody>
                    <tfoot><tr><th scope="row">{words.total}</th>{total}</tr></tfoot>
                </table>
            </div>
        </section>
    }
}

#[component]
fn ReasonsPanel(reasons: Vec<ReasonRow>, stamp: StoredValue<String>) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let content = if reasons.is_empty() {
        view! {
            <div class="empty" data-tone="ok">
                <Icon name="ok"/>
                <h3>{words.reasons_none}</h3>
                <p>{words.reasons_none_note}</p>
            </div>
        }
        .erased()
    } else {
        let rows = reasons
            .into_iter()
            .map(|ReasonRow { reason, count }| {
                let (what, step) = words.reason_words[reason as usize];
                view! {
                    <tr>
                        <th scope="row">{what}</th>
                        <td>{format::int(lang, count)}</td>
                        <td class="txt p2"><code>{reason.name()}</code></td>
                        <td class="txt">{step}</td>
                    </tr>
                }
            })
            .collect_view();
        view! {
            <div class="scroll" tabindex="0" role="group" aria-labelledby="reasons">
                <table class="table table--wrap">
                    <thead>
                        <tr>
                            <th scope="col">{words.reason}</th>
                            <th scope="col">{words.column_records}</th>
                            <th scope="col" class="txt p2">"API"</th>
                            <th scope="col" class="txt">{words.step}</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        }
        .erased()
    };
    view! {
        <section class="panel" aria-labelledby="reasons">
            <div class="panel__head"><h2 id="reasons">{words.reasons}</h2><span class="age">{stamp.get_value()}</span></div>
            {content}
            <div class="panel__foot">
                {words.records_at}
                <a href="/api/v1/late">{words.link_late}</a>
                <a href="/api/v1/dead-letters">{words.link_dead_letters}</a>
                <a href="/metrics">{words.link_metrics}</a>
                <a href="/api/docs">{words.link_docs}</a>
            </div>
        </section>
    }
}

#[component]
fn UnregisteredPanel(devices: Vec<DeviceNow>, clock: Signal<i64>, stamp: StoredValue<String>) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let content = if devices.is_empty() {
        view! {
            <div class="empty" data-tone="ok">
                <Icon name="ok"/>
                <h3>{words.unregistered_none}</h3>
                <p>{words.unregistered_none_note}</p>
            </div>
        }
        .erased()
    } else {
        let row = move |device: DeviceNow| {
            let value =
                device.reading.map_or_else(|| lang.words().general.none.to_owned(), |r| format::celsius(lang, r.temperature));
            let at = device.reading.map(|r| r.at.ms());
            view! {
                <li>
                    <a href=link::device(&device.id)>{device.id.clone()}</a>
                    <span class="end num">{value}</span>
                    {at.map(|at| view! { <span class="sub"><When at zone=ZONE now=clock/></span> })}
                </li>
            }
        };
        view! {
            <p class="pad muted">{words.unregistered_note}</p>
            <ul class="lines">{devices.into_iter().map(row).collect_view()}</ul>
        }
        .erased()
    };
    view! {
        <section class="panel" aria-labelledby="unregistered">
            <div class="panel__head"><h2 id="unregistered">{words.unregistered_devices}</h2><span class="age">{stamp.get_value()}</span></div>
            {content}
        </section>
    }
}

#[component]
fn DeadLettersPanel(rows: Vec<DeadLetterRow>, rejected: u64) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().pipeline;
    let count = (words.dead_letters_count)(&format::int(lang, rows.len() as u64), &format::int(lang, rejected));
    let empty = rows.is_empty();
    let body = rows
        .into_iter()
        .map(|row| {
            let ms = row.received_at.ms();
            let field = if row.field.is_empty() { words.whole_record.to_owned() } else { row.field };
            view! {
                <tr>
                    <th scope="row"><time datetime=format::datetime_attribute(ms, ZONE) title=format::utc(ms)>{format::time(lang, ms, ZONE)}</time></th>
                    <td class="txt">{words.reason_words[row.reason as usize].0}</td>
                    <td class="txt p2"><code>{field}</code></td>
                    <td class="txt p3">{row.source}</td>
                    <td class="txt"><code class="raw">{row.raw}</code></td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <section class="panel" aria-labelledby="dead-letters">
            <div class="panel__head"><h2 id="dead-letters">{words.dead_letters}</h2><span class="muted">{count}</span></div>
            {if empty {
                view! { <p class="pad muted">{words.reasons_none}"."</p> }.erased()
            } else {
                view! {
                    <div class="scroll" tabindex="0" role="group" aria-labelledby="dead-letters">
                        <table class="table table--wrap">
                            <thead>
                                <tr>
                                    <th scope="col">{(words.column_time)(ZONE.name())}</th>
                                    <th scope="col" class="txt">{words.reason}</th>
                                    <th scope="col" class="txt p2">{words.field}</th>
                                    <th scope="col" class="txt p3">{words.source}</th>
                                    <th scope="col" class="txt">{words.raw}</th>
                                </tr>
                            </thead>
                            <tbody>{body}</tbody>
                        </table>
                    </div>
                }.erased()
            }}
            <div class="panel__foot"><span>{words.dead_letters_foot}</span><a href="/api/v1/dead-letters">{words.link_dead_letters}</a></div>
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
    fn every_reason_and_topic_has_its_words_in_order() {
        use domain::event::Reason;
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason}");
        }
        for (index, topic) in Topic::ALL.into_iter().enumerate() {
            assert_eq!(topic as usize, index, "{}", topic.name());
        }
        assert_eq!(topic_name(Lang::Id, "temperature".into()), "Suhu");
        assert_eq!(topic_name(Lang::Id, "weather".into()), "weather");
    }
}
