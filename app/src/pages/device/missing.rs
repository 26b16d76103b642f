//! Readings that never came: the device numbers them, so a number that is missing was lost on the way, or refused.

#![allow(clippy::needless_pass_by_value, reason = "a component owns what it is given")]

use crate::components::settled::Erase;
use crate::format;
use crate::words::use_lang;
use domain::feed::DeviceMore;
use domain::sequence::Gap;
use domain::time::Zone;
use leptos::prelude::*;

/// How many readings are missing, and between which times; nothing where none is.
#[component]
pub(super) fn MissingPanel(more: RwSignal<DeviceMore>, zone: Zone, now: Signal<i64>, topic: String) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().device;
    let is_any = Memo::new(move |_| more.with(|more| more.missing > 0));
    let row = move |gap: &Gap| {
        let gap = *gap;
        let text = move || {
            let moment = |ms| format::moment(lang, ms, zone, now.get());
            (words.missing_between)(&format::int(lang, gap.count()), &moment(gap.after.ms()), &moment(gap.before.ms()))
        };
        view! { <li><span>{text}</span></li> }
    };
    let rows = move || more.with(|more| more.gaps.iter().map(row).collect_view());
    let older = move || {
        let (missing, listed) = more.with(|more| (more.missing, more.gaps.iter().map(Gap::count).sum::<u64>()));
        let rest = missing.saturating_sub(listed);
        (rest > 0).then(|| view! { <p class="pad muted">{(words.missing_older)(&format::int(lang, rest))}</p> })
    };
    move || {
        let topic = topic.clone();
        is_any.get().then(|| {
            view! {
                <section class="panel" aria-labelledby="missing" data-live=topic>
                    <div class="panel__head">
                        <h2 id="missing">{words.missing}</h2>
                        <span class="num"><b>{move || format::int(lang, more.with(|more| more.missing))}</b></span>
                    </div>
                    <ul class="lines">{rows}</ul>
                    {older}
                    <p class="panel__foot">{words.missing_note}</p>
                </section>
            }
            .erased()
        })
    }
}
