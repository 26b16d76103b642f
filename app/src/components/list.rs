//! What pages share that list records page by page. The server alone draws it.

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

use crate::format;
use crate::pages::pipeline::ZONE;
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
