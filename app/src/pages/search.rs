//! Search by name or code, as a plain form. Nothing here changes by itself, so the server alone draws it.

use leptos::prelude::*;

/// Search by name or code: `/search?q=`.
#[component]
pub fn SearchPage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    return fixed::draw();
    #[cfg(not(feature = "ssr"))]
    view! { <div class="host" inner_html=String::new()></div> }
}

#[cfg(feature = "ssr")]
mod fixed {
    use crate::api::{Kind, SearchHit, backend};
    use crate::components::frame::{Frame, Section};
    use crate::components::icon::Icon;
    use crate::components::link::use_here;
    use crate::components::page::drawn;
    use crate::format;
    use crate::words::use_lang;
    use leptos::prelude::*;

    /// Most hits that the server gives.
    const MOST: usize = 20;

    /// The page for what the address asks.
    pub(super) fn draw() -> impl IntoView {
        let text = use_here().get("q").unwrap_or_default().trim().to_owned();
        let backend = backend();
        let answer = async move {
            let hits = if text.is_empty() { Vec::new() } else { backend.search(&text).await? };
            Ok((text, hits))
        };
        drawn(Section::Search, answer, |(text, hits)| view! { <Results text hits/> })
    }

    #[component]
    fn Results(text: String, hits: Vec<SearchHit>) -> impl IntoView {
        let lang = use_lang();
        let words = lang.words();
        let w = &words.search;
        let title = match hits.len() {
            _ if text.is_empty() => w.title.to_owned(),
            0 => (w.nothing)(&text),
            count => (w.found)(&format::int(lang, count as u64), &text),
        };
        let full = hits.len() >= MOST;
        // Hits come best first; a group stands where its best hit stands.
        let mut groups: Vec<(Kind, Vec<SearchHit>)> = Vec::new();
        for hit in hits {
            match groups.iter_mut().find(|(kind, _)| *kind == hit.kind) {
                Some((_, group)) => group.push(hit),
                None => groups.push((hit.kind, vec![hit])),
            }
        }
        let empty = groups.is_empty() && !text.is_empty();
        let groups = groups
            .into_iter()
            .enumerate()
            .map(|(group, (kind, hits))| {
                let id = format!("group-{group}");
                view! {
                    <section class="panel" aria-labelledby=id.clone()>
                        <div class="panel__head">
                            <h2 id=id.clone()>{words.cold.of(kind).title}</h2>
                            <span class="count count--calm">{hits.len()}</span>
                        </div>
                        <ul class="hits">
                            {hits
                                .into_iter()
                                .map(|hit| {
                                    view! {
                                        <li>
                                            <a class="hit" href=hit.href>
                                                <b>{hit.name}</b>
                                                <code>{hit.code}</code>
                                                <span>{hit.place}</span>
                                            </a>
                                        </li>
                                    }
                                })
                                .collect_view()}
                        </ul>
                    </section>
                }
            })
            .collect_view();
        view! {
            <Frame title=title.clone() section=Section::Search class="page--narrow">
                <div class="page-head"><h1>{title}</h1></div>
                <form class="field" action="/search" role="search">
                    <label for="q">{w.label}</label>
                    <p class="hint" id="q-hint">{w.hint}</p>
                    <div class="search-row">
                        <input class="input" id="q" type="search" name="q" value=text aria-describedby="q-hint" autocomplete="off"/>
                        <button class="btn btn--main" type="submit">{w.go}</button>
                    </div>
                </form>
                {empty.then(|| view! {
                    <section class="panel">
                        <div class="empty">
                            <Icon name="search"/>
                            <p>{w.nothing_note}</p>
                            <a class="btn" href="/">{words.general.to_overview}</a>
                        </div>
                    </section>
                })}
                {groups}
                {full.then(|| view! { <p class="muted">{w.first_ones}</p> })}
            </Frame>
        }
    }
}
