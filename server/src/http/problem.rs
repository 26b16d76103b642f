//! Errors as `application/problem+json` (RFC 9457).

use super::refused::Refusal;
use crate::pipeline::Refused;
use crate::store::{ApiKey, StoreError};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use serde::Serialize;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What went wrong with a request.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip)]
    retry_after: Option<u32>,
    /// Of whose request, where that is known; for the log.
    #[serde(skip)]
    pub(super) key: Option<Arc<ApiKey>>,
}

impl Problem {
    /// A problem with `status` and a sentence that says what to do.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            pointer: None,
            reason: None,
            retry_after: None,
            key: None,
        }
    }

    /// The request is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Nothing here has that name.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// A record was rejected for `reason`; `field` is its path, empty for the whole record.
    pub fn rejected(reason: domain::event::Reason, field: &str) -> Self {
        let detail = if field.is_empty() {
            format!("The record was rejected: {reason}. It is kept as a dead letter.")
        } else {
            format!("The record was rejected: {reason} ({field}). It is kept as a dead letter.")
        };
        Self {
            title: "Record rejected",
            // RFC 6901; the last two signs are those of the pointer itself.
            pointer: (!field.is_empty()).then(|| format!("/{}", field.replace('~', "~0").replace('/', "~1").replace('.', "/"))),
            reason: Some(reason.name()),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        }
    }

    /// Come again soon, not all at the same moment.
    #[must_use]
    pub fn retry_soon(self) -> Self {
        static TURN: AtomicU32 = AtomicU32::new(0);
        self.retry_after(soon(TURN.fetch_add(1, Ordering::Relaxed)))
    }

    /// Come again in `seconds`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

/// After how many seconds the one who is refused as the `turn`-th should come again: 1 to 5, so that those who were refused together do not
/// come back together. By turns and not by chance: no draw is more even.
fn soon(turn: u32) -> u32 {
    if domain::planted("all-come-back-at-once") { 1 } else { 1 + turn % 5 * 3 % 5 }
}

/// The query of a request; one that cannot be read is a [`Problem`].
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Problem::bad_request(rejection.body_text())
    }
}

/// The parts of a path; one that cannot be read is a [`Problem`].
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Problem::bad_request(rejection.body_text())
    }
}

/// A route that exists, asked with another method.
pub async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method: see /api/docs")
}

/// An answer of a part that knows nothing of problems: the same status as one. Pages that say what is wrong stay.
pub async fn in_one_form(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error())
        || kind.starts_with("application/problem+json")
        || kind.starts_with("text/html")
    {
        return response;
    }
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the body is too long",
        StatusCode::METHOD_NOT_ALLOWED => "this address does not take that method: see /api/docs",
        StatusCode::NOT_FOUND => "there is nothing at this address: see /api/docs",
        _ => "the request cannot be answered",
    };
    let mut problem = Problem::new(status, detail).into_response();
    for name in [header::ALLOW, header::RETRY_AFTER] {
        if let Some(value) = response.headers().get(&name) {
            problem.headers_mut().insert(name, value.clone());
        }
    }
    problem
}

/// The answer to `request`, also where its handler panics: then what it said is in the log, and other requests go on.
pub async fn unbroken(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(answer) => answer,
        Err(panic) if domain::planted("panic-ends-the-connection") => resume_unwind(panic),
        Err(_) => {
            let detail = "something is wrong with this program: its log says what";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
    }
}

/// A path of the API that does not exist.
pub async fn no_such_route() -> Problem {
    Problem::not_found("there is nothing at this address: see /api/docs")
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let status = match refused {
            Refused::Busy => StatusCode::TOO_MANY_REQUESTS,
            Refused::Unwritable | Refused::Stopping | Refused::Elsewhere => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, format!("{refused}; send the same records again later")).retry_soon()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "A question to the store failed.");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store cannot answer now; try again").retry_soon()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("a problem has only text and numbers");
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Refusal { key: self.key, detail: self.detail });
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_together_does_not_come_back_together() {
        assert_eq!([0, 1, 2, 3, 4, 5, u32::MAX].map(soon), [1, 4, 2, 5, 3, 1, 1]);
        let mut told: Vec<u32> = (0..5).filter_map(|_| Problem::from(Refused::Busy).retry_after).collect();
        told.sort_unstable();
        assert!(told.iter().all(|seconds| (1..=5).contains(seconds)) && told.len() == 5, "{told:?}");
    }

    #[tokio::test]
    async fn errors_of_others_become_problems() {
        let plain = (StatusCode::PAYLOAD_TOO_LARGE, [(header::ALLOW, "GET")], "length limit exceeded").into_response();
        let problem = in_one_form(plain).await;
        assert_eq!(problem.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(problem.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(problem.headers()[header::ALLOW], "GET");
        for stays in
            [axum::response::Html("no such page").into_response(), Problem::not_found("x").into_response(), "ok".into_response()]
        {
            let kind = stays.headers()[header::CONTENT_TYPE].clone();
            assert_eq!(in_one_form(stays).await.headers()[header::CONTENT_TYPE], kind);
        }
    }
}
