//! The public contract as `OpenAPI`, and as a page that needs neither network nor script.

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::sync::LazyLock;

const OPENAPI: &str = include_str!("../../openapi.json");
static PAGE: LazyLock<String> = LazyLock::new(|| render(&serde_json::from_str(OPENAPI).expect("a test reads it")));

/// `GET /api/openapi.json`.
pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// `GET /api/docs`: the same contract for people, made from the same file.
pub async fn page() -> Html<&'static str> {
    Html(&PAGE)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Text with `code` in backquotes.
fn prose(value: &Value) -> String {
    let parts = value.as_str().unwrap_or_default().split('`').map(escape).enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { format!("<code>{part}</code>") } else { part }).collect()
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn map(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `value`, or what its `$ref` points to.
fn resolved<'a>(spec: &'a Value, value: &'a Value) -> &'a Value {
    value["$ref"].as_str().and_then(|path| spec.pointer(path.trim_start_matches('#'))).unwrap_or(value)
}

/// A schema in few words: a link to a named one, or its type.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    let any = ["oneOf", "allOf"].iter().find_map(|of| schema[of].as_array());
    if let Some(any) = any {
        return any.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if let Some(only) = schema.get("const") {
        return format!("<code>{}</code>", escape(&only.to_string()));
    }
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .map(|v| format!("<code>{}</code>", v.as_str().map_or_else(|| v.to_string(), escape)))
            .collect::<Vec<_>>()
            .join(" ");
    }
    let name = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        name => name.as_str().unwrap_or("any").to_owned(),
    };
    let mut words = if name == "array" { format!("list of {}", kind(&schema["items"])) } else { name };
    for (key, sign) in [("minimum", "≥"), ("maximum", "≤")] {
        if schema[key].is_number() {
            let _ = write!(words, " {sign} {}", schema[key]);
        }
    }
    if !schema["default"].is_null() {
        let _ = write!(words, ", <code>{}</code> by default", text_of(&schema["default"]));
    }
    words
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| escape(&value.to_string()), escape)
}

/// An example as one would see it: text as it is, JSON over several lines.
fn sample(value: &Value) -> String {
    let shown = match value {
        Value::String(text) => text.trim_end().to_owned(),
        other => serde_json::to_string_pretty(other).expect("it was JSON"),
    };
    format!("<pre class=\"docs-sample\" tabindex=\"0\">{}</pre>", escape(&shown))
}

/// The media types of a body with their examples.
fn bodies(out: &mut String, content: &Value) {
    for (media, body) in map(content) {
        let _ = write!(out, "<p><code>{}</code>: {}</p>", escape(media), kind(&body["schema"]));
        for (_, example) in map(&body["examples"]) {
            let _ = write!(out, "<p class=\"docs-note\">{}</p>{}", text(&example["summary"]), sample(&example["value"]));
        }
        if !body["example"].is_null() {
            out.push_str(&sample(&body["example"]));
        }
    }
}

fn operation(out: &mut String, spec: &Value, method: &str, path: &str, operation: &Value) {
    let _ = write!(
        out,
        "<section class=\"panel\" id=\"{}\"><div class=\"panel__head\"><h3 class=\"docs-route\"><code>{} {}</code></h3></div>\
         <div class=\"panel__body\"><p><b>{}</b></p><p>{}</p>",
        text(&operation["operationId"]),
        method.to_uppercase(),
        escape(path),
        prose(&operation["summary"]),
        prose(&operation["description"])
    );
    if list(&operation["security"]).next().is_some() {
        out.push_str("<p>Needs an API key: <code>Authorization: Bearer KEY</code>.</p>");
    }
    if list(&operation["parameters"]).next().is_some() {
        out.push_str("<h4>Parameters</h4><dl class=\"docs-list\">");
        for parameter in list(&operation["parameters"]).map(|p| resolved(spec, p)) {
            let place = match parameter["in"].as_str() {
                Some("query") | None => String::new(),
                Some(place) => format!(" ({place})"),
            };
            let required = if parameter["required"] == true { ", required" } else { "" };
            let (name, what) = (text(&parameter["name"]), prose(&parameter["description"]));
            let _ = write!(
                out,
                "<dt><code>{name}</code>{place}</dt><dd>{what} <span>{}{required}</span></dd>",
                kind(&parameter["schema"])
            );
        }
        out.push_str("</dl>");
    }
    if !operation["requestBody"].is_null() {
        out.push_str("<h4>Body</h4>");
        bodies(out, &operation["requestBody"]["content"]);
    }
    out.push_str("<h4>Answers</h4>");
    let (mut good, mut others) = (String::new(), String::new());
    for (status, answer) in map(&operation["responses"]).map(|(status, answer)| (status, resolved(spec, answer))) {
        if status.starts_with('2') {
            let _ = write!(good, "<p><b>{}</b> {}</p>", escape(status), prose(&answer["description"]));
            bodies(&mut good, &answer["content"]);
        } else {
            let _ = write!(others, "<dt><b>{}</b></dt><dd>{}</dd>", escape(status), prose(&answer["description"]));
        }
    }
    out.push_str(&good);
    if !others.is_empty() {
        let _ = write!(out, "<p>Otherwise a <a href=\"#schema-Problem\">Problem</a>:</p><dl class=\"docs-list\">{others}</dl>");
    }
    out.push_str("</div></section>");
}

fn schema(out: &mut String, name: &str, schema: &Value) {
    let _ = write!(
        out,
        "<section class=\"panel\" id=\"schema-{0}\"><div class=\"panel__head\"><h3>{0}</h3></div><div class=\"panel__body\"><p>{1}</p>",
        escape(name),
        prose(&schema["description"])
    );
    // A schema made of others shows the fields of its own part.
    let own = list(&schema["allOf"]).find(|part| part["properties"].is_object()).unwrap_or(schema);
    if own["properties"].is_object() {
        let is_required = |name: &str| list(&own["required"]).any(|r| r == name);
        out.push_str("<dl class=\"docs-list\">");
        for (name, field) in map(&own["properties"]) {
            let optional = if is_required(name) { "" } else { ", optional" };
            let _ = write!(
                out,
                "<dt><code>{}</code></dt><dd>{} <span>{}{optional}</span></dd>",
                escape(name),
                prose(&field["description"]),
                kind(field)
            );
        }
        out.push_str("</dl>");
    }
    if !std::ptr::eq(own, schema) || !own["properties"].is_object() {
        let _ = write!(out, "<p>{}</p>", kind(schema));
    }
    if !schema["example"].is_null() {
        out.push_str(&sample(&schema["example"]));
    }
    out.push_str("</div></section>");
}

fn render(spec: &Value) -> String {
    let (mut contents, mut body) = (String::new(), String::new());
    for tag in list(&spec["tags"]) {
        let _ = write!(body, "<h2>{}</h2>", text(&tag["description"]));
        for (path, methods) in map(&spec["paths"]) {
            for (method, of) in map(methods).filter(|(_, of)| of["tags"][0] == tag["name"]) {
                operation(&mut body, spec, method, path, of);
                let route = format!("{} {}", method.to_uppercase(), escape(path));
                let _ = write!(
                    contents,
                    "<li><a href=\"#{}\"><code>{route}</code></a> {}</li>",
                    text(&of["operationId"]),
                    text(&of["summary"])
                );
            }
        }
    }
    body.push_str("<h2>Schemas</h2>");
    for (name, of) in map(&spec["components"]["schemas"]) {
        schema(&mut body, name, of);
    }
    let info = &spec["info"];
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>API · Rantai</title><link rel=\"icon\" href=\"/favicon.svg\" type=\"image/svg+xml\"><link rel=\"stylesheet\" href=\"/pkg/rantai.css\"></head><body><main class=\"page page--narrow docs\" id=\"isi\">\
         <div class=\"page-head\"><h1>{}</h1><p><a href=\"/api/openapi.json\">openapi.json</a> · <a href=\"/\">Rantai</a></p></div><p>{}</p>\
         <nav aria-label=\"Contents\"><ul class=\"docs-contents\">{contents}</ul></nav>{body}</main></body></html>",
        text(&info["title"]),
        prose(&info["description"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::event::Reason;
    use std::collections::BTreeSet;

    fn spec() -> Value {
        serde_json::from_str(OPENAPI).expect("valid JSON")
    }

    #[test]
    fn the_contract_names_every_reason() {
        let spec = spec();
        let reasons: Vec<&str> = list(&spec["components"]["schemas"]["Reason"]["enum"]).filter_map(Value::as_str).collect();
        assert_eq!(reasons, Reason::ALL.map(Reason::name));
        let told = spec["components"]["schemas"]["Reason"]["description"].as_str().expect("a text");
        assert!(reasons.iter().all(|reason| told.contains(&format!("`{reason}`: "))), "each with what it means");
    }

    /// Routes as `mod.rs` writes them: `.route("/path", get(…))`.
    #[test]
    fn every_route_is_documented_and_every_documented_route_exists() {
        let source = include_str!("mod.rs");
        let routes: BTreeSet<(String, String)> = source
            .split(".route(\"")
            .skip(1)
            .filter_map(|rest| rest.split_once("\", "))
            .filter(|(path, _)| !path.contains("{*"))
            .map(|(path, rest)| (path.to_owned(), rest.split('(').next().unwrap_or_default().to_owned()))
            .collect();
        let spec = spec();
        let documented: BTreeSet<(String, String)> =
            map(&spec["paths"]).flat_map(|(path, of)| map(of).map(|(method, _)| (path.clone(), method.clone()))).collect();
        assert_eq!(documented, routes);
        for (path, methods) in map(&spec["paths"]) {
            for (method, of) in map(methods) {
                let place = format!("{method} {path}");
                assert!(!text(&of["summary"]).is_empty() && !text(&of["operationId"]).is_empty(), "{place}");
                assert!(map(&of["responses"]).any(|(status, _)| status.starts_with('2')), "{place}");
                for name in path.split(['{', '}']).skip(1).step_by(2) {
                    assert!(
                        list(&of["parameters"]).any(|p| p["name"] == name && p["in"] == "path" && p["required"] == true),
                        "{place}"
                    );
                }
                for answer in
                    map(&of["responses"]).filter(|(status, _)| status.starts_with(['4', '5'])).map(|(_, a)| resolved(&spec, a))
                {
                    assert!(answer["content"]["application/problem+json"].is_object(), "{place}");
                }
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(spec: &Value, value: &Value) {
            if let Some(path) = value["$ref"].as_str() {
                assert!(spec.pointer(path.trim_start_matches('#')).is_some(), "{path}");
            }
            map(value).for_each(|(_, inner)| check(spec, inner));
            list(value).for_each(|inner| check(spec, inner));
        }
        let spec = spec();
        check(&spec, &spec);
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = render(&spec());
        for never in ["<script", " style=", "http://", "https://", " onclick", "<img"] {
            assert!(!page.contains(never), "{never}");
        }
        for always in [
            "POST /ingest",
            "GET /api/v1/windows",
            "<code>id_conflict</code>",
            "href=\"#schema-Problem\"",
            "id=\"schema-Problem\"",
        ] {
            assert!(page.contains(always), "{always}");
        }
        assert_eq!(page.matches("<h1>").count(), 1);
        // Every link within the page has its place.
        for target in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(page.contains(&format!("id=\"{target}\"")), "{target}");
        }
    }
}
