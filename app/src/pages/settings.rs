//! Language and theme, for phones above all: on wide screens both also stand in the bar.

use leptos::prelude::*;

/// Language and theme. Plain links: the server keeps the choice in a cookie.
#[component]
pub fn SettingsPage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let page = fixed::draw();
    #[cfg(not(feature = "ssr"))]
    let page = String::new();
    view! { <div class="host" inner_html=page></div> }
}

#[cfg(feature = "ssr")]
mod fixed {
    use crate::components::frame::{Frame, Section, Theme, theme_href};
    use crate::components::link::use_here;
    use crate::components::settled::markup;
    use crate::words::{Lang, use_lang};
    use leptos::prelude::*;

    pub(super) fn draw() -> String {
        let lang = use_lang();
        let words = &lang.words().settings;
        let here = use_here();
        let theme = Theme::current();
        let back = here.back();
        let languages = Lang::ALL.map(|choice| {
            let name = match choice {
                Lang::Id => "Bahasa Indonesia",
                Lang::En => "English",
            };
            let code = choice.code();
            view! {
                <a href=here.with("lang", code) lang=code hreflang=code aria-current=(choice == lang).then_some("true")>{name}</a>
            }
        });
        let themes = [(None, words.theme_system), (Some(Theme::Light), words.theme_light), (Some(Theme::Dark), words.theme_dark)];
        let themes = themes.map(|(choice, name)| {
            view! { <a href=theme_href(choice, &back) aria-current=(choice == theme).then_some("true")>{name}</a> }
        });
        markup(view! {
            <Frame title=words.title section=Section::Settings class="page--narrow">
                <div class="page-head"><h1>{words.title}</h1></div>
                <section class="panel">
                    <div class="panel__head"><h2 id="language">{words.language}</h2></div>
                    <div class="panel__body"><div class="row" role="group" aria-labelledby="language"><div class="seg">{languages.collect_view()}</div></div></div>
                    <div class="panel__head"><h2 id="theme">{words.theme}</h2></div>
                    <div class="panel__body"><div class="row" role="group" aria-labelledby="theme"><div class="seg">{themes.collect_view()}</div></div></div>
                    <p class="panel__foot">{words.kept}</p>
                </section>
                <section class="panel">
                    <div class="panel__head"><h2>{words.times}</h2></div>
                    <div class="panel__body"><p>{words.times_note}</p></div>
                </section>
            </Frame>
        })
    }
}
