//! Moments and ages.

use crate::format;
use crate::words::use_lang;
use domain::time::Zone;
use leptos::prelude::*;

/// A moment in the zone of its place, with the zone's name; UTC on hover.
#[component]
pub fn When(
    /// Milliseconds since the Unix epoch.
    #[prop(into)]
    at: Signal<i64>,
    /// The zone of the place.
    zone: Zone,
    /// Now: a moment of another day is told with its date.
    #[prop(into)]
    now: Signal<i64>,
) -> impl IntoView {
    let lang = use_lang();
    view! {
        <time datetime=move || format::datetime_attribute(at.get(), zone) title=move || format::utc(at.get())>
            {move || format::moment(lang, at.get(), zone, now.get())}
        </time>
    }
}

/// How long ago something was: ticks with `now`. `–` for never.
#[component]
pub fn Age(
    /// When it was, in milliseconds since the Unix epoch.
    #[prop(into)]
    at: Signal<Option<i64>>,
    /// Now, from [`crate::live::use_now`].
    #[prop(into)]
    now: Signal<i64>,
) -> impl IntoView {
    let lang = use_lang();
    // A memo: most ticks do not change the words, and then nothing is touched.
    let text = Memo::new(move |_| match at.get() {
        Some(at) => format::age(lang, now.get() - at),
        None => lang.words().general.none.to_owned(),
    });
    view! { <span class="num">{text}</span> }
}
