//! Below the tables of a place: what lies in it of which nothing is counted, or that nothing does and who looks after it. None of it
//! changes, so the server alone draws it.

use super::children::count_of;
use crate::api::{Crumb, Kind, RegionView};
use crate::components::icon::Icon;
use crate::components::link;
use crate::components::settled::markup;
use crate::words::Lang;
use leptos::prelude::*;

/// The panels; the one that says that there is nothing where `is_empty`: where no table stands above them.
pub(super) fn draw(region: &RegionView, is_empty: bool, lang: Lang) -> String {
    let mut out = if is_empty { nothing(region, lang) } else { String::new() };
    if !region.uncounted.is_empty() {
        let title = count_of(lang, region.uncounted.len(), Kind::Region(region.level + 1));
        out += &markup(view! {
            <section class="panel" aria-labelledby="uncounted">
                <div class="panel__head"><h2 id="uncounted">{title}</h2></div>
                {names(&region.uncounted, link::region)}
                <p class="panel__foot">{lang.words().region.uncounted_note}</p>
            </section>
        });
    }
    out
}

fn nothing(region: &RegionView, lang: Lang) -> String {
    let words = &lang.words().region;
    let above = region.path.iter().rev().nth(1).cloned();
    let place = above.as_ref().map(|above| above.name.clone()).unwrap_or_default();
    let note = match region.served_by.is_empty() {
        _ if region.is_counted => words.children_none_note.to_owned(),
        true => (words.served_by_none)(&place),
        false => (words.served_by)(&place),
    };
    let served_by = (!region.served_by.is_empty()).then(|| names(&region.served_by, link::facility));
    markup(view! {
        <section class="panel" id="children">
            <div class="empty">
                <Icon name="unknown"/>
                <h2>{words.children_none}</h2>
                <p>{note}</p>
            </div>
            {served_by}
            {above.map(|place| view! {
                <p class="panel__foot"><a href=link::region(&place.code)>{(words.to_place)(&place.name)}</a></p>
            })}
        </section>
    })
}

/// Links, in as many columns as there is room for.
fn names(places: &[Crumb], href: fn(&str) -> String) -> impl IntoView + use<> {
    let items: Vec<_> =
        places.iter().map(|place| view! { <li><a href=href(&place.code)>{place.name.clone()}</a></li> }).collect();
    view! { <ul class="names">{items}</ul> }
}
