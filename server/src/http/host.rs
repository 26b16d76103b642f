//! Under which name this server is asked: only this machine's own. A foreign name that was made to point here (DNS rebinding) would let
//! the page of somebody else read in a browser what only this machine may.

use super::Problem;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// Refuses a request that names another host, or two lengths of its body.
pub async fn check(request: Request) -> Result<Request, Response> {
    let headers = request.headers();
    let named = request.uri().host().into_iter().chain(hosts(headers));
    if !named.into_iter().all(is_this_machine) && !domain::planted("any-name-is-ours") {
        let problem = Problem::new(StatusCode::MISDIRECTED_REQUEST, "ask 127.0.0.1 or localhost, and not another name");
        return Err(problem.into_response());
    }
    if !headers.contains_key(header::HOST) && request.version() >= Version::HTTP_11 {
        return Err(Problem::bad_request("name the host: RFC 9112, section 3.2").into_response());
    }
    if headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Problem::bad_request("send either a length or chunks: RFC 9112, section 6.1").into_response());
    }
    Ok(request)
}

fn hosts(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default())
}

/// Whether `host` (with or without a port) names this machine alone.
pub fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
