//! Addresses of pages, and of this page with another choice in its query.

use std::fmt::Write;

/// The page of a region; the country's is the overview.
pub fn region(code: &str) -> String {
    if code == "ID" { "/".to_owned() } else { format!("/regions/{}", encode(code)) }
}

/// The page of a facility.
pub fn facility(code: &str) -> String {
    format!("/facilities/{}", encode(code))
}

/// The page of a device.
pub fn device(id: &str) -> String {
    format!("/devices/{}", encode(id))
}

/// `text` as one value of a query or one step of a path.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => out.push(byte as char),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Where this page is: its path, and the pairs of its query.
#[derive(Clone, Debug, Default)]
pub struct Here {
    path: String,
    query: Vec<(String, String)>,
}

/// Where this page is. Links are followed by the browser, so it stays what it was.
#[cfg(feature = "ssr")]
pub fn use_here() -> Here {
    use leptos::prelude::GetUntracked;
    let location = leptos_router::hooks::use_location();
    let query = location.query.get_untracked().into_iter().map(|(key, value)| (key.to_string(), value));
    Here { path: location.pathname.get_untracked(), query: query.collect() }
}

/// Where this page is.
#[cfg(not(feature = "ssr"))]
pub fn use_here() -> Here {
    let location = leptos::prelude::window().location();
    let search = location.search().unwrap_or_default();
    let pairs = search.trim_start_matches('?').split('&').filter_map(|pair| pair.split_once('='));
    Here {
        path: location.pathname().unwrap_or_default(),
        query: pairs.map(|(key, value)| (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))).collect(),
    }
}

/// The code or id that the address of this page ends with.
#[cfg(feature = "ssr")]
pub fn use_code() -> String {
    use leptos::prelude::WithUntracked;
    let params = leptos_router::hooks::use_params_map();
    params.with_untracked(|params| params.get("code").or_else(|| params.get("id"))).unwrap_or_default()
}

/// The code or id that the address of this page ends with.
#[cfg(not(feature = "ssr"))]
pub fn use_code() -> String {
    let path = leptos::prelude::window().location().pathname().unwrap_or_default();
    decode(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
}

#[cfg(feature = "hydrate")]
fn decode(text: &str) -> String {
    js_sys::decode_uri_component(text).map_or_else(|_| text.to_owned(), String::from)
}

#[cfg(not(any(feature = "hydrate", feature = "ssr")))]
fn decode(text: &str) -> String {
    text.to_owned()
}

impl Here {
    /// The value of a key of the query.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// This page with `key` set to `value` and everything else as it is; an empty value leaves the key out.
    pub fn with(&self, key: &str, value: &str) -> String {
        self.with_all(&[(key, value)])
    }

    /// The same for several keys.
    pub fn with_all(&self, pairs: &[(&str, &str)]) -> String {
        let kept =
            self.query.iter().map(|(k, v)| (k.as_str(), v.as_str())).filter(|(k, _)| pairs.iter().all(|(new, _)| new != k));
        let mut out = self.path.clone();
        let mut joint = '?';
        for (key, value) in kept.chain(pairs.iter().copied()).filter(|(_, value)| !value.is_empty()) {
            let _ = write!(out, "{joint}{}={}", encode(key), encode(value));
            joint = '&';
        }
        out
    }

    /// This page, for coming back to it.
    pub fn back(&self) -> String {
        self.with_all(&[("lang", "")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_keeps_the_others() {
        let here = Here { path: "/regions/32".into(), query: vec![("sort".into(), "name".into()), ("lang".into(), "en".into())] };
        assert_eq!(here.with("measure", "silent"), "/regions/32?sort=name&lang=en&measure=silent");
        assert_eq!(here.with("sort", "out of"), "/regions/32?lang=en&sort=out%20of");
        assert_eq!(here.back(), "/regions/32?sort=name");
        assert_eq!(encode("é/&"), "%C3%A9%2F%26");
    }
}
