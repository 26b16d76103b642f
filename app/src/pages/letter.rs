//! One dead letter: its bytes as they came, why it was refused, and what to do with it. Plain forms; the server alone draws it.

use leptos::prelude::*;

/// A dead letter: `/pipeline/dead-letters/{position}`.
#[component]
pub fn LetterPage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    return fixed::draw();
    #[cfg(not(feature = "ssr"))]
    view! { <div class="host" inner_html=String::new()></div> }
}

#[cfg(feature = "ssr")]
pub(super) use fixed::{RawPanel, address};

#[cfg(feature = "ssr")]
mod fixed {
    use crate::api::{DeadLetterView, LetterEnd, LetterOutcome, backend};
    use crate::components::frame::{Frame, Section, Step};
    use crate::components::icon::Icon;
    use crate::components::link::{self, use_code, use_here};
    use crate::components::page::drawn;
    use crate::error::AppError;
    use crate::format;
    use crate::pages::pipeline::ZONE;
    use crate::pages::{late, letters};
    use crate::words::late::LateWords;
    use crate::words::letter::LetterWords;
    use crate::words::use_lang;
    use domain::time::ProcessingTime;
    use leptos::prelude::*;

    /// The page for what the address asks.
    pub(super) fn draw() -> impl IntoView {
        let position = use_code().parse::<u64>();
        let wrong = use_here().get("wrong").map(str::to_owned);
        let backend = backend();
        let answer = async move {
            let position = position.map_err(|_| AppError::NotFound)?;
            backend.dead_letter(position).await?.ok_or(AppError::NotFound)
        };
        drawn(Section::Pipeline, answer, |letter| view! { <Letter letter wrong/> })
    }

    /// The page of a dead letter.
    pub fn address(position: u64) -> String {
        format!("{}/{position}", letters::PAGE)
    }

    #[component]
    fn Letter(letter: DeadLetterView, wrong: Option<String>) -> impl IntoView {
        let lang = use_lang();
        let words = LetterWords::of(lang);
        let pipeline = &lang.words().pipeline;
        let DeadLetterView {
            position,
            received_at,
            source,
            event_id,
            device_id,
            ts,
            reason,
            field,
            raw,
            is_text,
            outcome,
            replay_of,
            form_token,
        } = letter;
        let title = (words.title)(&format::int(lang, position));
        let mut steps = letters::steps(lang);
        steps.push(Step { href: address(position), name: title.clone() });
        let (what, advice) = pipeline.reason_words[reason as usize];
        let field = if field.is_empty() { pipeline.whole_record.to_owned() } else { field };
        let none = lang.words().general.none;
        let (tone, icon, state) = match &outcome {
            None => ("warn", "warn", words.open),
            Some(LetterOutcome::Replayed { .. }) => ("ok", "ok", words.replayed),
            Some(LetterOutcome::Discarded { .. }) => ("unknown", "unknown", words.discarded),
        };
        let wrong = wrong.and_then(|wrong| words.wrong(&wrong)).map(|text| {
            view! { <div class="notice" data-tone="warn" role="alert"><Icon name="warn"/><p>{text}</p></div> }
        });
        let instant = move |at: ProcessingTime| {
            let ms = at.ms();
            view! {
                <time datetime=format::datetime_attribute(ms, ZONE) title=format::utc(ms)>{format::date_time(lang, ms, ZONE)}</time>
            }
        };
        let device = device_id.map(|id| view! { <a href=link::device(&id)>{id.clone()}</a> });
        let is_open = outcome.is_none();
        let decided = outcome.map(|outcome| view! { <Decided outcome/> });
        view! {
            <Frame title=title.clone() section=Section::Pipeline steps class="page--narrow">
                <div class="page-head">
                    <h1>{title}</h1>
                    <p><span class="status" data-tone=tone><Icon name=icon/>{state}</span></p>
                </div>
                {wrong}
                {decided}
                <section class="panel" aria-labelledby="why">
                    <div class="panel__head"><h2 id="why">{what}</h2><code>{reason.name()}</code></div>
                    <div class="panel__body">
                        <p>{advice}</p>
                        <dl class="facts facts--wide">
                            <dt>{words.received}</dt>
                            <dd>{instant(received_at)}</dd>
                            <dt>{pipeline.source}</dt>
                            <dd>{source}</dd>
                            <dt>{pipeline.field}</dt>
                            <dd><code>{field}</code></dd>
                            <dt>{words.event_id}</dt>
                            <dd>{event_id.unwrap_or_else(|| none.to_owned())}</dd>
                            <dt>{words.device}</dt>
                            <dd>{device.map_or_else(|| view! { {none} }.into_any(), IntoAny::into_any)}</dd>
                            <dt>{words.device_time}</dt>
                            <dd>{ts.map_or_else(|| none.to_owned(), |ts| format::date_time(lang, ts.ms(), ZONE))}</dd>
                            {replay_of.map(|letter| view! {
                                <dt>{words.replay_of}</dt>
                                <dd><a href=address(letter)>{(words.title)(&format::int(lang, letter))}</a></dd>
                            })}
                        </dl>
                    </div>
                </section>
                <RawPanel raw is_text/>
                {is_open.then(|| view! { <Forms position token=form_token/> })}
                <p><a href=letters::PAGE>{words.back}</a></p>
            </Frame>
        }
    }

    /// A record as it came.
    #[component]
    pub fn RawPanel(
        /// As text.
        raw: String,
        /// It is text throughout.
        is_text: bool,
    ) -> impl IntoView {
        let words = LetterWords::of(use_lang());
        view! {
            <section class="panel" aria-labelledby="raw">
                <div class="panel__head"><h2 id="raw">{words.raw}</h2></div>
                <div class="panel__body">
                    <pre class="raw-block" tabindex="0" role="group" aria-labelledby="raw"><code>{raw}</code></pre>
                </div>
                {(!is_text).then(|| view! { <p class="panel__foot">{words.not_text}</p> })}
            </section>
        }
    }

    /// What became of it, and who wanted that.
    #[component]
    fn Decided(outcome: LetterOutcome) -> impl IntoView {
        let lang = use_lang();
        let words = LetterWords::of(lang);
        let (title, by, at, more) = match outcome {
            LetterOutcome::Replayed { position, end, by, at } => {
                let end_words = words.ends[end as usize];
                let record = (words.as_record)(&format::int(lang, position));
                let again = match end {
                    LetterEnd::Rejected => Some((address(position), words.title)),
                    LetterEnd::Late => Some((late::address(position), LateWords::of(lang).record)),
                    LetterEnd::Accepted | LetterEnd::Duplicate => None,
                };
                let again = again.map(|(href, title)| view! { " "<a href=href>{title(&format::int(lang, position))}</a> });
                (words.replayed, by, at, view! { {end_words}", "{record}"."{again} }.into_any())
            }
            LetterOutcome::Discarded { reason, by, at } => (words.discarded, by, at, view! { {reason} }.into_any()),
        };
        let ms = at.ms();
        view! {
            <section class="panel" aria-labelledby="decided">
                <div class="panel__head"><h2 id="decided">{title}</h2></div>
                <div class="panel__body">
                    <p>{more}</p>
                    <p class="muted">
                        {by}" · "
                        <time datetime=format::datetime_attribute(ms, ZONE) title=format::utc(ms)>{format::date_time(lang, ms, ZONE)}</time>
                    </p>
                </div>
            </section>
        }
    }

    /// The two things that can be done.
    #[component]
    fn Forms(position: u64, token: String) -> impl IntoView {
        let words = LetterWords::of(use_lang());
        let address = address(position);
        view! {
            <div class="grid cols-2">
                <section class="panel" aria-labelledby="replay">
                    <div class="panel__head"><h2 id="replay">{words.replay}</h2></div>
                    <form class="panel__body stack" method="post" action=format!("{address}/replay")>
                        <input type="hidden" name="token" value=token.clone()/>
                        <p>{words.replay_note}</p>
                        <div class="field">
                            <label for="replay-by">{words.name}</label>
                            <input class="input" id="replay-by" name="by" required="required" maxlength="100" autocomplete="name"/>
                        </div>
                        <button class="btn btn--main" type="submit">{words.replay}</button>
                    </form>
                </section>
                <section class="panel" aria-labelledby="discard">
                    <div class="panel__head"><h2 id="discard">{words.discard}</h2></div>
                    <form class="panel__body stack" method="post" action=format!("{address}/discard")>
                        <input type="hidden" name="token" value=token/>
                        <p>{words.discard_note}</p>
                        <div class="field">
                            <label for="discard-by">{words.name}</label>
                            <input class="input" id="discard-by" name="by" required="required" maxlength="100" autocomplete="name"/>
                        </div>
                        <div class="field">
                            <label for="reason">{words.reason}</label>
                            <input class="input" id="reason" name="reason" required="required" maxlength="500" autocomplete="off"/>
                        </div>
                        <button class="btn" type="submit">{words.discard}</button>
                    </form>
                </section>
            </div>
        }
    }
}
