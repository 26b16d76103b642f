//! Dead letters, page by page: all of them, or those that wait for a decision. The server alone draws them.

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

use super::letter::address;
use super::pipeline::ZONE;
use crate::api::{DeadLetterRow, LettersView, backend};
use crate::components::frame::{Frame, Section, Step};
use crate::components::icon::Icon;
use crate::components::link::use_here;
use crate::components::list::{ListHead, RecordsPanel};
use crate::components::page::drawn;
use crate::error::AppError;
use crate::format;
use crate::words::late::LateWords;
use crate::words::letter::LetterWords;
use crate::words::{Lang, use_lang};
use leptos::prelude::*;

/// Where the list is.
pub(super) const PAGE: &str = "/pipeline/dead-letters";
/// The key of its address, and the value, with which only those are listed that wait for a decision.
const OPEN: (&str, &str) = ("state", "open");

/// The list: `/pipeline/dead-letters?state=open&before={position}`.
#[component]
pub fn LettersPage() -> impl IntoView {
    let here = use_here();
    let before = here.get("before").map(str::parse::<u64>).transpose();
    let only_open = match here.get(OPEN.0) {
        None => Ok(false),
        Some(state) if state == OPEN.1 => Ok(true),
        Some(_) => Err(AppError::NotFound),
    };
    let backend = backend();
    let answer = async move {
        let (before, only_open) = (before.map_err(|_| AppError::NotFound)?, only_open?);
        Ok((before, only_open, backend.dead_letters(before, only_open).await?))
    };
    drawn(Section::Pipeline, answer, |(before, only_open, view)| view! { <List before only_open view/> })
}

/// The steps to the list.
pub(super) fn steps(lang: Lang) -> Vec<Step> {
    vec![
        Step { href: "/pipeline".to_owned(), name: lang.words().pipeline.title.to_owned() },
        Step { href: PAGE.to_owned(), name: LetterWords::of(lang).list.to_owned() },
    ]
}

#[component]
fn List(before: Option<u64>, only_open: bool, view: LettersView) -> impl IntoView {
    let lang = use_lang();
    let here = use_here();
    let (words, late, pipeline) = (LetterWords::of(lang), LateWords::of(lang), &lang.words().pipeline);
    let LettersView { taken_at, rejected, undecided, letters, older } = view;
    let (count, shown) = (if only_open { undecided } else { rejected }, letters.len());
    let title = match (rejected, undecided) {
        (0, _) => words.none.to_owned(),
        (_, 0) => words.all_decided.to_owned(),
        (_, undecided) => (words.waiting)(&format::int(lang, undecided)),
    };
    let row = move |letter: DeadLetterRow| {
        let ms = letter.received_at.ms();
        let field = if letter.field.is_empty() { pipeline.whole_record.to_owned() } else { letter.field };
        view! {
            <tr>
                <th scope="row">
                    <a href=address(letter.position)>
                        <time datetime=format::datetime_attribute(ms, ZONE) title=format::utc(ms)>
                            {format::moment_in_column(lang, ms, ZONE, taken_at.ms())}
                        </time>
                    </a>
                </th>
                <td class="txt">{pipeline.letter_states[letter.state as usize]}</td>
                <td class="txt">{pipeline.reason_words[letter.reason as usize].0}</td>
                <td class="txt p2"><code>{field}</code></td>
                <td class="txt p3">{letter.source}</td>
                <td class="txt p2"><code class="raw">{letter.raw}</code></td>
            </tr>
        }
    };
    let content = match (shown, count) {
        (0, 0) => {
            let note = if rejected == 0 { pipeline.reasons_none_note } else { words.all_decided_note };
            view! { <div class="empty" data-tone="ok"><Icon name="ok"/><p>{note}</p></div> }.into_any()
        }
        // Some are further back than one page looks for them.
        (0, _) if older.is_some() => view! { <p class="pad muted">{words.none_here}</p> }.into_any(),
        (0, _) => view! { <p class="pad muted">{late.not_stored}</p> }.into_any(),
        _ => view! {
            <div class="scroll" tabindex="0" role="group" aria-labelledby="dead-letters">
                <table class="table table--wrap">
                    <thead>
                        <tr>
                            <th scope="col">{(pipeline.column_time)(ZONE.name())}</th>
                            <th scope="col" class="txt">{pipeline.letter_state}</th>
                            <th scope="col" class="txt">{pipeline.reason}</th>
                            <th scope="col" class="txt p2">{pipeline.field}</th>
                            <th scope="col" class="txt p3">{pipeline.source}</th>
                            <th scope="col" class="txt p2">{pipeline.raw}</th>
                        </tr>
                    </thead>
                    <tbody>{letters.into_iter().map(row).collect_view()}</tbody>
                </table>
            </div>
        }
        .into_any(),
    };
    let first = before.map(|_| here.with("before", ""));
    let ways = [first, older.map(|position| here.with("before", &position.to_string()))];
    let choices = [("", words.every), (OPEN.1, words.open)].map(|(state, name)| {
        let current = (state == OPEN.1) == only_open;
        view! { <a href=here.with_all(&[(OPEN.0, state), ("before", "")]) aria-current=current.then_some("true")>{name}</a> }
    });
    view! {
        <Frame title=words.list section=Section::Pipeline steps=steps(lang)>
            <ListHead title taken_at/>
            // Alone it would be as wide as the page.
            <div><nav class="seg" aria-label=words.which>{choices}</nav></div>
            <RecordsPanel id="dead-letters" before shown count ways api="/api/v1/dead-letters" content/>
        </Frame>
    }
}
