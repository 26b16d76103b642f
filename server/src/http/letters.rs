//! Deciding what becomes of dead letters, by the API and by the forms of their pages.
//!
//! A program needs a key, or what only the user who runs the server can read. Until sign-in exists pages are open, and whoever sits at this
//! machine may decide by their forms, each of which holds a token that only its page tells. What has to be kept out is the page of somebody
//! else in a browser on this machine: every request must come from our own page or from no page at all, and name this machine as its host,
//! so that no foreign name that points here will do.

use super::AppState;
use super::host::is_this_machine;
use super::problem::{Path, Problem};
use crate::backend::Undecided;
use crate::letters::{Decided, Outcome, Verdict};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::json;

/// What a form of a page sends.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filled {
    #[serde(default)]
    token: String,
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
}

/// Who decides, and why.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
}

/// Whether a request may have come from a page, and from which.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// A program or a page of ours.
    Any,
    /// A page of ours.
    Page,
}

/// Refuses what another site's page sends, and what is sent to a name that is not this machine's own.
fn check_origin(headers: &HeaderMap, sender: Sender) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let refused = |why: &str| Err(Problem::new(StatusCode::FORBIDDEN, why));
    let host = text("host").unwrap_or_default();
    if !is_this_machine(host) {
        return refused("send this to 127.0.0.1 or localhost, and not under another name");
    }
    let origin = text("origin");
    if origin.is_some_and(|origin| origin.strip_prefix("http://") != Some(host)) {
        return refused("another site's page may not do this");
    }
    match text("sec-fetch-site") {
        Some("same-origin") => Ok(()),
        Some(_) if domain::planted("any-site-decides") => Ok(()),
        Some(_) => refused("another site's page may not do this"),
        None if sender == Sender::Any || origin.is_some() => Ok(()),
        None => refused("the browser does not say whose page this comes from"),
    }
}

/// The wish in a JSON body, which no other site's form can send, of a program that may have it.
async fn wish(state: &AppState, headers: &HeaderMap, body: &Bytes) -> Result<Wish, Problem> {
    check_origin(headers, Sender::Any)?;
    state.keys.decide(headers).await?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send a JSON object as application/json"));
    }
    serde_json::from_slice(body).map_err(|error| Problem::bad_request(format!("the body is not what it should be: {error}")))
}

fn answer(position: u64, decided: Option<Decided>) -> Response {
    let Some(decided) = decided else {
        return (StatusCode::ACCEPTED, Json(json!({"position": position, "state": "queued"}))).into_response();
    };
    let (by, at) = (decided.by, decided.at.to_string());
    Json(match decided.outcome {
        Outcome::Replayed { position: new, end } => json!({
            "position": position, "state": "replayed", "replayed_as": new, "disposition": end.name(), "decided_by": by, "decided_at": at,
        }),
        Outcome::Discarded { reason } => json!({
            "position": position, "state": "discarded", "discard_reason": reason, "decided_by": by, "decided_at": at,
        }),
    })
    .into_response()
}

/// `POST /api/v1/dead-letters/{position}/replay` `{"by"}`: takes a dead letter in again, once however often it is asked. 401 and 403
/// without a key that may, 404 where there is none, 409 where it was discarded.
pub async fn replay(
    State(state): State<AppState>,
    Path(position): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Wish { by, .. } = wish(&state, &headers, &body).await?;
    Ok(answer(position, state.backend.decide(position, &by, Verdict::Replay).await?))
}

/// `POST /api/v1/dead-letters/{position}/discard` `{"by","reason"}`: notes that a dead letter is of no use. 409 where it was taken in
/// again.
pub async fn discard(
    State(state): State<AppState>,
    Path(position): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let Wish { by, reason } = wish(&state, &headers, &body).await?;
    Ok(answer(position, state.backend.decide(position, &by, Verdict::Discard(reason)).await?))
}

/// What a form of a dead letter's page sends, and back to the page.
async fn form(
    state: AppState,
    position: u64,
    headers: HeaderMap,
    body: Bytes,
    verdict: impl FnOnce(String) -> Verdict,
) -> Result<Response, Problem> {
    check_origin(&headers, Sender::Page)?;
    let Filled { token, by, reason } = serde_urlencoded::from_bytes(&body)
        .map_err(|error| Problem::bad_request(format!("the form is not what it should be: {error}")))?;
    if !state.backend.is_form_of(position, &token) && !domain::planted("any-form-decides") {
        return Err(Problem::new(StatusCode::FORBIDDEN, "this is no form of the page of that record: open the page again"));
    }
    let wrong = match state.backend.decide(position, &by, verdict(reason)).await {
        Ok(_) | Err(Undecided::Missing(_)) => "",
        Err(Undecided::Name) => "?wrong=name",
        Err(Undecided::Reason) => "?wrong=reason",
        Err(Undecided::Decided(_)) => "?wrong=decided",
        Err(Undecided::Refused(_) | Undecided::Store(_)) => "?wrong=later",
    };
    Ok(Redirect::to(&format!("/pipeline/dead-letters/{position}{wrong}")).into_response())
}

/// `POST /pipeline/dead-letters/{position}/replay`: the form of the page.
pub async fn replay_form(
    State(state): State<AppState>,
    Path(position): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    form(state, position, headers, body, |_| Verdict::Replay).await
}

/// `POST /pipeline/dead-letters/{position}/discard`: the form of the page.
pub async fn discard_form(
    State(state): State<AppState>,
    Path(position): Path<u64>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    form(state, position, headers, body, Verdict::Discard).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], by_program: bool, by_page: bool) {
        let map: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect();
        let allowed = [Sender::Any, Sender::Page].map(|sender| check_origin(&map, sender).is_ok());
        assert_eq!(allowed, [by_program, by_page], "{headers:?}");
    }

    #[test]
    fn only_this_machine_and_only_our_own_pages() {
        check(&[("host", "127.0.0.1:3000")], true, false);
        check(&[("host", "[::1]:3000"), ("sec-fetch-site", "same-origin")], true, true);
        check(&[("host", "localhost"), ("origin", "http://localhost")], true, true);
        check(&[("host", "127.0.0.1:3000"), ("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:3000")], true, true);
        for site in ["cross-site", "same-site", "none"] {
            check(&[("host", "127.0.0.1:3000"), ("sec-fetch-site", site)], false, false);
        }
        for origin in ["http://127.0.0.1:4000", "http://evil.example", "null", "https://127.0.0.1:3000"] {
            check(&[("host", "127.0.0.1:3000"), ("origin", origin)], false, false);
            check(&[("host", "127.0.0.1:3000"), ("origin", origin), ("sec-fetch-site", "same-origin")], false, false);
        }
        // A foreign name that was made to point here.
        check(&[("host", "evil.example"), ("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")], false, false);
        check(&[("host", "127.0.0.1.evil.example")], false, false);
        check(&[], false, false);
    }
}
