//! What pages share that list records page by page. The server alone draws it.

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

use crate::format;
use crate::pages::pipeline::ZONE;
use crate::words::late::LateWords;
use crate::words::{Lang, use_lang};
use domain::time::ProcessingTime;
use leptos::prelude::*;

/// The title of a list, and when it was taken.
#[component]
pub fn ListHead(
    /// What it lists.
    title: String,
    /// The server's time when it was taken.
    taken_at: ProcessingTime,
) -> impl IntoView {
    let lang = use_lang();
    let ms = taken_at.ms();
    view! {
        <div class="page-head">
            <h1>{title}</h1>
            <p>
                <time datetime=format::datetime_attribute(ms, ZONE) title=format::utc(ms)>
                    {(lang.words().pipeline.as_of)(&format::clock(lang, ms, ZONE))}
                </time>
            </p>
        </div>
    }
}

/// `50 of 1 234`; nothing where there is nothing.
pub fn shown_of(lang: Lang, shown: usize, count: impl Into<u64>) -> impl IntoView {
    let count = count.into();
    (count > 0 && shown > 0).then(|| {
        let (shown, count) = (format::int(lang, shown as u64), format::int(lang, count));
        view! { <span class="age">{(lang.words().general.of)(&shown, &count)}</span> }
    })
}

/// The panel of a list of records by position: from which on, how many, the way to others, and the same records as files.
#[component]
pub fn RecordsPanel(
    /// Of the heading.
    id: &'static str,
    /// The position before which they lie; the newest of all without one.
    before: Option<u64>,
    /// How many are shown.
    shown: usize,
    /// Of how many.
    count: u64,
    /// Where the newest are, and those that are older than the last one shown.
    ways: [Option<String>; 2],
    /// Where programs find them.
    api: &'static str,
    /// They.
    content: AnyView,
) -> impl IntoView {
    let lang = use_lang();
    let words = LateWords::of(lang);
    let [first, older] = ways;
    let first = first.map(|href| view! { <a class="btn" href=href>{words.first}</a> });
    let older = older.map(|href| view! { <a class="btn" rel="next" href=href>{words.older}</a> });
    let is_paged = older.is_some() || first.is_some();
    view! {
        <section class="panel" aria-labelledby=id>
            <div class="panel__head">
                <h2 id=id>{before.map_or_else(|| words.newest.to_owned(), |position| (words.older_than)(&format::int(lang, position)))}</h2>
                {shown_of(lang, shown, count)}
            </div>
            {content}
            {is_paged.then(|| view! { <div class="panel__body row">{first}{older}</div> })}
            <div class="panel__foot">
                {lang.words().pipeline.records_at}
                <a href=api>"JSON"</a>
                <a href=format!("{api}?format=ndjson")>"NDJSON"</a>
                <a href=format!("{api}?format=csv")>"CSV"</a>
            </div>
        </section>
    }
}
