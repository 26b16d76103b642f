//! What stands around every page: bar, path of places, sections, the dock of phones, the foot.

use crate::api::Crumb;
use crate::components::icon::Icon;
use crate::components::link::{self, encode};
use crate::components::settled::Content;
use crate::format;
use crate::live::{Link, LivePill, use_stream};
use crate::words::use_lang;
use domain::time::{ProcessingTime, Zone};
use leptos::prelude::*;

/// A theme that was chosen; without one the device's holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// Its name in `data-theme`, in the cookie and in `/settings/theme?to=`.
    pub const fn name(self) -> &'static str {
        match self {
            Theme::Light => "light",
            Theme::Dark => "dark",
        }
    }

    /// The theme with that name.
    pub fn from_name(name: &str) -> Option<Theme> {
        [Theme::Light, Theme::Dark].into_iter().find(|theme| theme.name() == name)
    }

    /// From the cookie `theme`.
    #[cfg(feature = "ssr")]
    pub fn from_request() -> Option<Theme> {
        crate::words::cookie(&use_context::<http::request::Parts>()?, "theme").and_then(Theme::from_name)
    }

    /// The theme of this page: on the server from the request, in the browser from `<html data-theme>`.
    pub fn current() -> Option<Theme> {
        #[cfg(feature = "ssr")]
        let theme = Theme::from_request();
        #[cfg(not(feature = "ssr"))]
        let theme = document()
            .document_element()
            .and_then(|html| html.get_attribute("data-theme"))
            .and_then(|name| Theme::from_name(&name));
        theme
    }
}

/// The address that sets the theme (`None`: as the device) and comes back; the server answers it without any script.
pub fn theme_href(to: Option<Theme>, back: &str) -> String {
    format!("/settings/theme?to={}&back={}", to.map_or("system", Theme::name), encode(back))
}

/// The sections of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The country, its regions, facilities and devices.
    Overview,
    /// The pipeline.
    Pipeline,
    /// Search.
    Search,
    /// Settings.
    Settings,
}

/// A step of the path shown in the bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it leads.
    pub href: String,
    /// Its name.
    pub name: String,
}

impl Step {
    /// Steps for regions of the hierarchy, the country first.
    pub fn regions(path: &[Crumb]) -> Vec<Step> {
        path.iter().map(|crumb| Step { href: link::region(&crumb.code), name: crumb.name.clone() }).collect()
    }
}

/// Everything around a page's content; `children` go into `<main class="page">`.
///
/// The first child is `<div class="page-head">` with the `<h1>`, or an `<h1 class="sr">` where the first block is the answer.
#[component]
pub fn Frame(
    /// Title of the browser's tab, without the product's name.
    #[prop(into)]
    title: String,
    /// The section that is marked as the current one.
    section: Section,
    /// The path to this page, itself last; empty where it lies in no place.
    #[prop(default = Vec::new())]
    steps: Vec<Step>,
    /// When the page's data was taken; absent where the page shows none.
    #[prop(default = None)]
    taken_at: Option<ProcessingTime>,
    /// The zone in which the page tells its time.
    #[prop(default = Zone::Wib)]
    zone: Zone,
    /// More classes of `<main>`: `page--narrow page--field` on a facility's page.
    #[prop(default = "")]
    class: &'static str,
    /// The content.
    children: Content,
) -> impl IntoView {
    let lang = use_lang();
    let words = &lang.words().general;
    let stream = use_stream();
    let as_of = taken_at.map(|at| format::clock(lang, at.ms(), zone));
    // A page whose connection is gone shows figures that may be old: they look old, all of them.
    let main_class = move || {
        let stale = stream.link.get() == Link::Offline;
        format!("page {class}{}", if stale { " page--offline" } else { "" })
    };
    let since = move || {
        let heard_at = stream.heard_at.get().or(taken_at)?.ms();
        let now = stream.now.get().map_or(heard_at, ProcessingTime::ms);
        Some((words.offline_since)(&format::moment(lang, heard_at, zone, now)))
    };
    let offline = move || {
        (stream.link.get() == Link::Offline).then(|| {
            view! {
                <div class="notice notice--over" data-tone="warn" role="status">
                    <Icon name="off"/>
                    <p><b>{since}</b></p>
                    <p>{words.offline_note}</p>
                </div>
            }
        })
    };
    #[cfg(feature = "ssr")]
    let Fixed { before, search, choices, sections, after } = fixed::draw(title, section, steps);
    #[cfg(not(feature = "ssr"))]
    let Fixed { before, search, choices, sections, after } = {
        let _ = (title, section, steps);
        Fixed::default()
    };
    view! {
        <a class="skip" href="#content">{words.skip}</a>
        <header class="bar">
            <div class="host" inner_html=before></div>
            <div class="bar__end">
                <div class="host" inner_html=search></div>
                {as_of.map(|as_of| view! { <LivePill as_of zone/> })}
                <div class="host" inner_html=choices></div>
            </div>
        </header>
        <nav class="nav only-desk" aria-label=words.sections inner_html=sections></nav>
        <main class=main_class id="content">
            {offline}
            {children.run()}
        </main>
        <div class="host" inner_html=after></div>
    }
}

/// What of the frame never changes, as markup: the server draws it, the browser has it already.
#[derive(Default)]
struct Fixed {
    /// Brand and path.
    before: String,
    /// The search field.
    search: String,
    /// Language and theme.
    choices: String,
    /// The sections.
    sections: String,
    /// Foot and dock.
    after: String,
}

#[cfg(feature = "ssr")]
mod fixed {
    use super::{Fixed, Section, Step, Theme, theme_href};
    use crate::components::icon::Icon;
    use crate::components::link::{Here, use_here};
    use crate::components::settled::markup;
    use crate::words::{Lang, use_lang};
    use leptos::prelude::*;
    use leptos_meta::Title;

    pub(super) fn draw(title: String, section: Section, steps: Vec<Step>) -> Fixed {
        let words = &use_lang().words().general;
        let here = use_here();
        let before = markup(view! {
            <Title text=text(&title) + " · Rantai"/>
            <a class="brand" href="/" aria-label=words.home>
                <svg viewBox="0 0 28 28" width="26" height="26" aria-hidden="true">
                    <g fill="none" stroke="currentColor" stroke-width="3.2">
                        <rect x="3" y="8.5" width="13" height="11" rx="5.5"></rect>
                        <path d="M14 14h5.5M12 8.5h7.5a5.5 5.5 0 0 1 0 11H18"></path>
                    </g>
                </svg>
                "Rantai"
            </a>
            <Crumbs steps/>
        });
        let search = markup(view! {
            <form class="search only-desk" role="search" action="/search">
                <Icon name="search"/>
                <input type="search" name="q" aria-label=words.search_label placeholder=words.search_hint/>
            </form>
        });
        let choices = markup(view! {
            <LanguageLinks here=here.clone()/>
            <ThemeLinks here/>
        });
        let sections = markup(view! {
            <ul>
                <SectionLink section=Section::Overview current=section/>
                <SectionLink section=Section::Pipeline current=section/>
                <SectionLink section=Section::Search current=section/>
                <SectionLink section=Section::Settings current=section/>
            </ul>
        });
        let after = markup(view! {
            <footer class="foot">{words.foot}</footer>
            <nav class="dock only-phone" aria-label=words.sections>
                <ul>
                    <SectionLink section=Section::Overview current=section icon="map"/>
                    <SectionLink section=Section::Search current=section icon="search"/>
                    <SectionLink section=Section::Pipeline current=section icon="flow"/>
                    <SectionLink section=Section::Settings current=section icon="rule"/>
                </ul>
            </nav>
        });
        Fixed { before, search, choices, sections, after }
    }

    /// A title as markup: `leptos_meta` writes it as it is, and there may be in it what somebody searched for, or named a device.
    fn text(title: &str) -> String {
        if domain::planted("title-is-markup") {
            return title.to_owned();
        }
        title.replace('&', "&amp;").replace('<', "&lt;")
    }

    #[component]
    fn Crumbs(steps: Vec<Step>) -> impl IntoView {
        let words = &use_lang().words().general;
        let last = steps.len().saturating_sub(1);
        let item = move |(at, step): (usize, Step)| {
            view! { <li><a href=step.href aria-current=(at == last).then_some("page")>{step.name}</a></li> }
        };
        (!steps.is_empty()).then(|| {
            view! {
                <nav class="crumbs" aria-label=words.places>
                    <ol>{steps.into_iter().enumerate().map(item).collect_view()}</ol>
                </nav>
            }
        })
    }

    #[component]
    fn SectionLink(section: Section, current: Section, #[prop(optional)] icon: Option<&'static str>) -> impl IntoView {
        let words = &use_lang().words().general;
        let (href, name) = match section {
            Section::Overview => ("/", words.overview),
            Section::Pipeline => ("/pipeline", words.pipeline),
            Section::Search => ("/search", words.search),
            Section::Settings => ("/settings", words.settings),
        };
        view! {
            <li>
                <a href=href aria-current=(section == current).then_some("page")>
                    {icon.map(|name| view! { <Icon name/> })}
                    {name}
                </a>
            </li>
        }
    }

    #[component]
    fn LanguageLinks(here: Here) -> impl IntoView {
        let current = use_lang();
        let link = move |lang: Lang| {
            view! {
                <a
                    href=here.with("lang", lang.code())
                    aria-current=(lang == current).then_some("true")
                    lang=lang.code()
                    hreflang=lang.code()
                >
                    {match lang {
                        Lang::Id => "ID",
                        Lang::En => "EN",
                    }}
                </a>
            }
        };
        view! {
            <nav class="seg only-desk" aria-label=current.words().general.language>
                {Lang::ALL.map(link).collect_view()}
            </nav>
        }
    }

    /// Both links stand in the page and the style sheet shows the one that changes something: only the browser knows what the device's
    /// own theme is.
    #[component]
    fn ThemeLinks(here: Here) -> impl IntoView {
        let words = &use_lang().words().general;
        let back = here.back();
        view! {
            <a class="btn btn--icon only-desk theme-link theme-link--dark" href=theme_href(Some(Theme::Dark), &back) aria-label=words.to_dark>
                <Icon name="moon"/>
            </a>
            <a class="btn btn--icon only-desk theme-link theme-link--light" href=theme_href(Some(Theme::Light), &back) aria-label=words.to_light>
                <Icon name="sun"/>
            </a>
        }
    }
}
