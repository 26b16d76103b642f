//! Connections: taken in, handed to the router, ended in order. What one of them may cost is bounded here.

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// How long the head of a request may take, and how long a connection may lie idle.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// After a failed accept: the machine is out of something that other connections may give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves `router` on `listener`, at most `connections` at once (more wait unaccepted), until `stop`; then waits for open requests.
pub async fn serve(listener: TcpListener, router: Router, connections: usize, stop: CancellationToken) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let open = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(connections));
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await.expect("nobody closes it");
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "Cannot take in a connection.");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small messages of a live page must not wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| router.clone().call(request.map(Body::new)));
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A connection that breaks off is the other side's affair.
            let _ = connection.await;
            drop(permit);
        });
    }
    open.shutdown().await;
    Ok(())
}
