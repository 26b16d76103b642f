//! The public contract as `OpenAPI`, and as a page that needs no network.

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::Value;
use std::fmt::Write;

const OPENAPI: &str = include_str!("../../openapi.json");

/// `GET /api/openapi.json`.
pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// `GET /api/docs`: the same contract for people, made from the same file.
pub async fn page() -> Html<String> {
    Html(render(&serde_json::from_str(OPENAPI).expect("a test reads it")))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn render(spec: &Value) -> String {
    let text = |value: &Value| escape(value.as_str().unwrap_or_default());
    let mut body = String::new();
    for (path, methods) in spec["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let _ = write!(
                body,
                "<section class=\"panel\"><div class=\"panel__head\"><h2><code>{} {}</code></h2></div><div class=\"panel__body\"><p>{}</p><p>{}</p>",
                method.to_uppercase(),
                escape(path),
                text(&operation["summary"]),
                text(&operation["description"])
            );
            let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
            if !parameters.is_empty() {
                body.push_str("<dl class=\"docs-list\">");
                for parameter in parameters {
                    let _ = write!(body, "<dt><code>{}</code></dt><dd>{}</dd>", text(&parameter["name"]), text(&parameter["description"]));
                }
                body.push_str("</dl>");
            }
            body.push_str("<dl class=\"docs-list\">");
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                let _ = write!(body, "<dt><b>{}</b></dt><dd>{}</dd>", escape(status), text(&response["description"]));
            }
            body.push_str("</dl></div></section>");
        }
    }
    let info = &spec["info"];
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>API · Rantai</title><link rel=\"stylesheet\" href=\"/pkg/rantai.css\"></head><body><main class=\"page page--narrow\" id=\"isi\">\
         <div class=\"page-head\"><h1>{}</h1><p><a href=\"/api/openapi.json\">openapi.json</a> · <a href=\"/\">Rantai</a></p></div><p>{}</p>{body}</main></body></html>",
        text(&info["title"]),
        text(&info["description"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::event::Reason;

    #[test]
    fn the_contract_is_json_and_names_every_reason() {
        let spec: Value = serde_json::from_str(OPENAPI).expect("valid JSON");
        let reasons: Vec<&str> = spec["components"]["schemas"]["Reason"]["enum"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        assert_eq!(reasons, Reason::ALL.map(Reason::name));
        assert!(render(&spec).contains("POST /ingest"));
    }
}
