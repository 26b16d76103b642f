//! What the product says, in Indonesian and English.
//!
//! [`Words`] has a field for every sentence; a language is a constant of it, so a missing sentence does not compile. Sentences
//! with inserted values are functions. One thing has one word on every page.

pub mod device;
mod en;
pub mod facility;
#[cfg(feature = "ssr")]
pub mod glossary;
mod id;
#[cfg(feature = "ssr")]
pub mod late;
#[cfg(feature = "ssr")]
pub mod letter;
pub mod pipeline;

use crate::api::Kind;
use leptos::prelude::*;

/// A sentence with one inserted text.
pub type Say1 = fn(&str) -> String;
/// A sentence with two inserted texts.
pub type Say2 = fn(&str, &str) -> String;
/// A sentence with three inserted texts.
pub type Say3 = fn(&str, &str, &str) -> String;

/// A language of the product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lang {
    /// Indonesian.
    #[default]
    Id,
    /// English.
    En,
}

impl Lang {
    /// Every language, the first one first.
    pub const ALL: [Lang; 2] = [Lang::Id, Lang::En];

    /// Its BCP 47 code.
    pub const fn code(self) -> &'static str {
        match self {
            Lang::Id => "id",
            Lang::En => "en",
        }
    }

    /// The language with that code.
    pub fn from_code(code: &str) -> Option<Lang> {
        Lang::ALL.into_iter().find(|lang| lang.code() == code)
    }

    /// What the product says in it.
    pub const fn words(self) -> &'static Words {
        match self {
            Lang::Id => &id::ID,
            Lang::En => &en::EN,
        }
    }

    /// The language of this page, from the request.
    #[cfg(feature = "ssr")]
    pub fn current() -> Lang {
        Lang::from_request()
    }

    /// The language of this page, from `<html lang>`.
    #[cfg(not(feature = "ssr"))]
    pub fn current() -> Lang {
        let html = document().document_element();
        html.and_then(|html| html.get_attribute("lang")).and_then(|code| Lang::from_code(&code)).unwrap_or_default()
    }

    /// From `?lang=`, else the cookie `lang`, else Indonesian. `?lang=` is remembered in the cookie.
    #[cfg(feature = "ssr")]
    pub fn from_request() -> Lang {
        use http::header::{HeaderValue, SET_COOKIE};
        use http::request::Parts;
        let Some(parts) = use_context::<Parts>() else { return Lang::default() };
        let asked = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .find_map(|pair| pair.strip_prefix("lang="))
            .and_then(Lang::from_code);
        if let (Some(lang), Some(response)) = (asked, use_context::<leptos_axum::ResponseOptions>()) {
            let cookie = match lang {
                Lang::Id => "lang=id; Path=/; Max-Age=31536000; SameSite=Lax",
                Lang::En => "lang=en; Path=/; Max-Age=31536000; SameSite=Lax",
            };
            response.append_header(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        asked.or_else(|| cookie(&parts, "lang").and_then(Lang::from_code)).unwrap_or_default()
    }
}

/// The value of a cookie of the request.
#[cfg(feature = "ssr")]
pub(crate) fn cookie<'a>(parts: &'a http::request::Parts, name: &str) -> Option<&'a str> {
    parts
        .headers
        .get_all(http::header::COOKIE)
        .iter()
        .filter_map(|header| header.to_str().ok())
        .flat_map(|header| header.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The language of the page.
pub fn use_lang() -> Lang {
    use_context().unwrap_or_default()
}

/// What the product says in the language of the page.
pub fn use_words() -> &'static Words {
    use_lang().words()
}

/// Everything the product says in one language.
pub struct Words {
    /// Said on every page.
    pub general: GeneralWords,
    /// Numbers, lengths of time, dates.
    pub units: UnitWords,
    /// How equipment stands and what it is called.
    pub cold: ColdWords,
    /// The national overview and the pages of regions.
    pub region: RegionWords,
    /// The map.
    pub map: MapWords,
    /// The search page.
    pub search: SearchWords,
    /// The settings page.
    pub settings: SettingsWords,
    /// The page of a facility.
    pub facility: facility::FacilityWords,
    /// The page of a device.
    pub device: device::DeviceWords,
    /// The page of the pipeline.
    pub pipeline: pipeline::PipelineWords,
}

/// Said on every page.
pub struct GeneralWords {
    /// What the product is, for search engines and previews.
    pub description: &'static str,
    /// The link over the bar to the content.
    pub skip: &'static str,
    /// Name of the bar's link to the overview.
    pub home: &'static str,
    /// Name of the path of places.
    pub places: &'static str,
    /// Name of the list of sections.
    pub sections: &'static str,
    /// Section: the overview.
    pub overview: &'static str,
    /// Section: the pipeline.
    pub pipeline: &'static str,
    /// Section: search.
    pub search: &'static str,
    /// Section: settings.
    pub settings: &'static str,
    /// Label of the search field.
    pub search_label: &'static str,
    /// Hint inside the search field.
    pub search_hint: &'static str,
    /// Name of the switch of languages.
    pub language: &'static str,
    /// Switch to the dark theme.
    pub to_dark: &'static str,
    /// Switch to the light theme.
    pub to_light: &'static str,
    /// Live, with the age of the newest word from the server.
    pub live: Say1,
    /// The stream is being opened.
    pub connecting: &'static str,
    /// The stream broke and is being opened again.
    pub reconnecting: &'static str,
    /// No connection; last known at this time.
    pub offline: Say1,
    /// A page that is not live: as of this time.
    pub as_of: Say1,
    /// A notice over stale figures: offline since this time.
    pub offline_since: Say1,
    /// And what that means.
    pub offline_note: &'static str,
    /// Try again.
    pub try_again: &'static str,
    /// To the overview.
    pub to_overview: &'static str,
    /// Headline: nothing here.
    pub not_found: &'static str,
    /// What to do then.
    pub not_found_note: &'static str,
    /// The same where a record was asked for.
    pub no_record_note: &'static str,
    /// Headline: the server cannot answer.
    pub failed: &'static str,
    /// What to do then.
    pub failed_note: &'static str,
    /// Headline: the question was wrong.
    pub invalid: &'static str,
    /// "x of y".
    pub of: Say2,
    /// The foot of every page: sources.
    pub foot: &'static str,
    /// Opens the same data as a table.
    pub as_table: &'static str,
    /// Before links to files.
    pub download: &'static str,
    /// Right end of a time axis.
    pub now: &'static str,
    /// No figure.
    pub none: &'static str,
}

/// Numbers, lengths of time, dates.
pub struct UnitWords {
    /// Between whole and decimals.
    pub decimal: char,
    /// Between groups of three.
    pub group: char,
    /// Between hours and minutes of a time of day.
    pub clock: char,
    /// Seconds, short.
    pub seconds: &'static str,
    /// Minutes, short.
    pub minutes: &'static str,
    /// Hours and minutes: `3 j 10 m`.
    pub hours_minutes: Say2,
    /// Hours alone.
    pub hours: &'static str,
    /// Days.
    pub days: Say1,
    /// One day.
    pub day: &'static str,
    /// North and south of the equator.
    pub latitudes: [&'static str; 2],
    /// East and west of Greenwich.
    pub longitudes: [&'static str; 2],
    /// Months, short, January first.
    pub months: [&'static str; 12],
    /// Days of the week, Monday first.
    pub weekdays: [&'static str; 7],
}

/// How equipment stands and what it is called.
pub struct ColdWords {
    /// In range, with fresh data.
    pub fine: &'static str,
    /// Above its range.
    pub too_warm: &'static str,
    /// Below its range.
    pub too_cold: &'static str,
    /// At or below 0 °C.
    pub freezing: &'static str,
    /// No reading in the last hour.
    pub no_word: &'static str,
    /// Below the range, whether above or below 0 °C.
    pub freezing_or_cold: &'static str,
    /// Refrigerator.
    pub refrigerator: &'static str,
    /// Freezer.
    pub freezer: &'static str,
    /// Cold room.
    pub cold_room: &'static str,
    /// A device nobody has registered.
    pub unregistered: &'static str,
    /// The levels of the hierarchy: country, province, regency, district, village.
    pub levels: [Names; 5],
    /// A place of a level below these: the hierarchy is data, and may go deeper.
    pub place: Names,
    /// A facility.
    pub facility: Names,
    /// A device.
    pub device: Names,
    /// "since 13.18 WIB".
    pub since: Say1,
    /// "peak 9,4 °C".
    pub peak: Say1,
    /// "peak −0,8 °C" for cold excursions.
    pub lowest: Say1,
}

/// What something is called.
pub struct Names {
    /// As a heading.
    pub title: &'static str,
    /// After the number one.
    pub one: &'static str,
    /// After larger numbers, and zero.
    pub many: &'static str,
}

impl ColdWords {
    /// What is of that kind is called so.
    pub fn of(&self, kind: Kind) -> &Names {
        match kind {
            Kind::Region(level) => self.levels.get(usize::from(level)).unwrap_or(&self.place),
            Kind::Facility => &self.facility,
            Kind::Device => &self.device,
        }
    }
}

/// The national overview and the pages of regions.
pub struct RegionWords {
    /// Headline: place, freezing units.
    pub headline_freezing: Say2,
    /// Headline: place, units outside their range.
    pub headline_out: Say2,
    /// Headline: place; everything heard of is in range.
    pub headline_calm: Say1,
    /// Headline: place; nothing has been heard yet.
    pub headline_silent: Say1,
    /// Headline where nothing is registered.
    pub headline_none: Say1,
    /// Title of the browser's tab.
    pub title: Say1,
    /// Name of the block of figures.
    pub figures: &'static str,
    /// Figure: outside the range now.
    pub out_of_range: &'static str,
    /// Its note: freezing, too cold, too warm.
    pub out_of_range_note: Say3,
    /// Its note when calm.
    pub out_of_range_calm: &'static str,
    /// Note of the first figure while nothing reports.
    pub out_of_range_silent: &'static str,
    /// Figure: freezing.
    pub freezing: &'static str,
    /// Its note.
    pub freezing_note: &'static str,
    /// Figure: share in range.
    pub in_range: &'static str,
    /// Its note: fine, reporting, age.
    pub in_range_note: Say2,
    /// Figure: facilities reporting.
    pub reporting: &'static str,
    /// Its note: reporting, facilities.
    pub reporting_note: Say2,
    /// Figure: no word.
    pub no_word: &'static str,
    /// Its note: of how many.
    pub no_word_note: Say1,
    /// What a unit is.
    pub unit_note: &'static str,
    /// Panel: look at these now.
    pub worst: &'static str,
    /// Link to all.
    pub worst_all: Say1,
    /// Empty: nothing outside its range.
    pub worst_none: &'static str,
    /// And what follows.
    pub worst_none_note: &'static str,
    /// Said in place of an empty list of the worst while nothing reports.
    pub worst_silent: &'static str,
    /// What to do then.
    pub worst_silent_note: &'static str,
    /// A row that has come back into range since the page was opened.
    pub back_in_range: &'static str,
    /// Button: so many rows have changed, sort.
    pub changed_sort: Say1,
    /// Chart: temperatures now.
    pub histogram: &'static str,
    /// Its summary: below 2, in 2–8, above 8.
    pub histogram_label: Say3,
    /// Its foot: too cold, too warm.
    pub histogram_foot: Say2,
    /// Empty: no temperature heard of.
    pub histogram_none: &'static str,
    /// Chart: windows out of range per hour.
    pub per_hour: &'static str,
    /// "29 this hour".
    pub this_hour: &'static str,
    /// Its summary: highest count, at.
    pub per_hour_label: Say2,
    /// Its foot.
    pub per_hour_foot: &'static str,
    /// Empty: no window yet.
    pub per_hour_none: &'static str,
    /// Chart: records per second.
    pub rate: &'static str,
    /// Its summary: now.
    pub rate_label: Say1,
    /// Its foot.
    pub rate_foot: &'static str,
    /// Column: temperature.
    pub column_temperature: &'static str,
    /// Column: number of units.
    pub column_units: &'static str,
    /// The same after a number.
    pub column_units_few: &'static str,
    /// State of a facility without units.
    pub no_units: &'static str,
    /// Column: hour.
    pub column_hour: &'static str,
    /// Column: windows out of range.
    pub column_windows_out: &'static str,
    /// Column: minute.
    pub column_minute: &'static str,
    /// Column: out of range.
    pub column_out: &'static str,
    /// Column: freezing.
    pub column_freezing: &'static str,
    /// Column: share in range.
    pub column_in_range: &'static str,
    /// Column: 24 hours.
    pub column_day: &'static str,
    /// Column: no word.
    pub column_no_word: &'static str,
    /// Column: share of facilities reporting.
    pub column_reporting: &'static str,
    /// Column: facilities.
    pub column_facilities: &'static str,
    /// Column: newest data.
    pub column_last: &'static str,
    /// Column: state.
    pub column_state: &'static str,
    /// Column: units of a facility.
    pub column_devices: &'static str,
    /// Row of the total.
    pub total: &'static str,
    /// Empty: nothing lies below.
    pub children_none: &'static str,
    /// And what follows.
    pub children_none_note: &'static str,
    /// Link to the place above.
    pub to_place: Say1,
    /// What is said of villages under their list.
    pub uncounted_note: &'static str,
    /// Of a village: whose facilities serve it, before they are listed.
    pub served_by: Say1,
    /// Of a village whose district has none.
    pub served_by_none: Say1,
    /// Number of children, with the name of their level.
    pub count_of: Say2,
    /// Where devices nobody has registered are kept.
    pub unassigned: &'static str,
}

/// The map.
pub struct MapWords {
    /// Title when coloured by share out of range.
    pub out: &'static str,
    /// Title when coloured by reporting.
    pub silent: &'static str,
    /// Name of the choice of measures.
    pub measures: &'static str,
    /// Measure: temperature.
    pub measure_out: &'static str,
    /// Measure: reporting.
    pub measure_silent: &'static str,
    /// Summary: worst place, its value.
    pub summary_out: Say2,
    /// Summary: worst place, its value.
    pub summary_silent: Say2,
    /// Summary of the map of one region.
    pub summary_points: Say1,
    /// Legend: what the area of a circle means, and a square.
    pub bubbles: &'static str,
    /// Legend: less than half report.
    pub half: &'static str,
    /// Newer provinces, where they are shown.
    pub newer: &'static str,
    /// Title of the map of a region.
    pub facilities: &'static str,
    /// Button: closer.
    pub zoom_in: &'static str,
    /// Button: farther.
    pub zoom_out: &'static str,
    /// Button: everything.
    pub zoom_all: &'static str,
    /// Name of the movable map, with its keys.
    pub keys: &'static str,
    /// Hint: zoom in for facilities.
    pub hint: &'static str,
    /// "12 facilities here".
    pub cluster: Say1,
}

/// The search page.
pub struct SearchWords {
    /// Headline before a search.
    pub title: &'static str,
    /// Label of the field.
    pub label: &'static str,
    /// Button.
    pub go: &'static str,
    /// Headline: number of hits, what was asked.
    pub found: Say2,
    /// Headline: nothing for what was asked.
    pub nothing: Say1,
    /// What to do then.
    pub nothing_note: &'static str,
    /// What can be found.
    pub hint: &'static str,
    /// "the first 20": more exist than shown.
    pub first_ones: &'static str,
    /// Name of the list under the field while somebody types.
    pub suggestions: &'static str,
    /// How many it holds and how to reach them, for those who do not see it.
    pub suggestions_count: Say1,
    /// It holds none.
    pub suggestions_none: &'static str,
}

/// The settings page.
pub struct SettingsWords {
    /// Headline.
    pub title: &'static str,
    /// Language.
    pub language: &'static str,
    /// Theme.
    pub theme: &'static str,
    /// As the device says.
    pub theme_system: &'static str,
    /// Light.
    pub theme_light: &'static str,
    /// Dark.
    pub theme_dark: &'static str,
    /// Where it is kept.
    pub kept: &'static str,
    /// Headline of the part on time.
    pub times: &'static str,
    /// How times are shown.
    pub times_note: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn languages_have_codes() {
        for lang in Lang::ALL {
            assert_eq!(Lang::from_code(lang.code()), Some(lang));
        }
        assert_eq!(Lang::from_code("xx"), None);
    }

    /// Texts that are the same in Indonesian and English, in the order of the alphabet: months, names, codes of a form's fault.
    const ALIKE: [&str; 16] = [
        "Apr",
        "Feb",
        "Freezer",
        "GPS",
        "Jan",
        "Jul",
        "Jun",
        "Mar",
        "Nov",
        "Sensor {}",
        "Sep",
        "decided",
        "later",
        "name",
        "reason",
        "{} · Rantai",
    ];

    /// Every text of the constants of that name in this folder, with `{}` for each inserted value; none may be empty. Read from
    /// the sources: a sentence with inserted values is a function, and a file of words that is added takes part.
    fn texts(constant: &str) -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/words");
        let mut found = BTreeSet::new();
        for file in std::fs::read_dir(folder).expect("the sources are there") {
            let path = file.expect("it can be listed").path();
            let source = std::fs::read_to_string(&path).expect("it is text");
            for rest in source.split(&format!("const {constant}: ")).skip(1) {
                let words = rest.split("\n};").next().unwrap_or_default();
                assert!(!words.contains(r#"\""#) && !words.contains("//"), "every second part between quotes is a text: {words}");
                for text in words.split('"').skip(1).step_by(2) {
                    assert!(!text.trim().is_empty(), "an empty text in {}", path.display());
                    found.insert(without_values(text));
                }
            }
        }
        found
    }

    /// `{part} of {whole}` as `{} of {}`.
    fn without_values(text: &str) -> String {
        let mut parts = text.split('{');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + "{}" + part.split_once('}').map_or(part, |(_, after)| after))
    }

    #[test]
    fn no_text_is_empty_and_none_is_the_other_language_s() {
        let (indonesian, english) = (texts("ID"), texts("EN"));
        let alike: Vec<&String> = indonesian.intersection(&english).filter(|text| text.contains(char::is_alphabetic)).collect();
        assert_eq!(alike, ALIKE, "a text in both languages: translate it, or name it in ALIKE");
    }
}
