//! What holds for every answer.

use super::*;
use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt;

#[tokio::test]
async fn a_panic_is_the_end_of_its_request_alone() {
    let panics = || async { panic!("on purpose") as &'static str };
    let routes = guarded(Router::new().route("/panics", get(panics)).route("/works", get(|| async { "yes" })), &Arc::default());
    for (path, expected) in [("/panics", 500), ("/works", 200), ("/panics", 500)] {
        let request = Request::get(path).header("host", "127.0.0.1").body(Body::empty()).expect("a request");
        let answer = routes.clone().oneshot(request).await.expect("an answer");
        assert_eq!(answer.status(), expected, "{path}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
        let kind = answer.headers()["content-type"].to_str().expect("text");
        assert_eq!(kind == "application/problem+json", expected == 500, "{path}: {kind}");
    }
}
