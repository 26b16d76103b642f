//! Connections: taken in, handed to the router, ended in order. What one of them may cost is bounded here.

mod patient;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use patient::Patient;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// What a connection may cost, and how long it may do nothing.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more wait unaccepted.
    pub connections: usize,
    /// How long the first request may take to come: nobody opens a connection to say nothing.
    pub first: Duration,
    /// How long the head of a later one may take, and a connection lie idle.
    pub head: Duration,
    /// The longest head in bytes.
    pub head_bytes: usize,
    /// How long the other side may read nothing of what is written to it.
    pub unread: Duration,
    /// How long open requests may take after the signal to stop,
    pub drain: Duration,
    /// and what is left of answers to be read.
    pub flush: Duration,
}

impl Limits {
    /// Of a server for `connections` at once.
    pub const fn of(connections: usize) -> Self {
        Self {
            connections,
            first: Duration::from_secs(10),
            head: Duration::from_mins(1),
            head_bytes: 64 * 1024,
            unread: Duration::from_mins(1),
            drain: Duration::from_secs(6),
            flush: Duration::from_secs(1),
        }
    }
}

/// After a failed accept: the machine is out of something that other connections may give back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves `router` on `listener` until `stop`; then waits for open requests, and breaks off those that do not end. When this ends, or is
/// dropped, no connection is left.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(limits.connections));
    let mut open = JoinSet::new();
    loop {
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await.expect("nobody closes it");
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = stop.cancelled() => break,
            // Connections that have ended are forgotten.
            Some(_) = open.join_next() => continue,
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
        open.spawn(connection(stream, permit, router.clone(), limits, stop.clone()));
    }
    drop(listener);
    let ended = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, ended).await.is_err() {
        tracing::warn!(requests = open.len(), "Some requests did not end in time and are broken off.");
        open.shutdown().await;
    }
    Ok(())
}

/// One connection, to its end, which gives back its `_permit`. One that breaks off is the other side's affair.
async fn connection(stream: TcpStream, _permit: OwnedSemaphorePermit, router: Router, limits: Limits, stop: CancellationToken) {
    // Small messages of a live page must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let (begun, is_busy) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let service = {
        let (begun, is_busy) = (Arc::clone(&begun), Arc::clone(&is_busy));
        service_fn(move |request: Request<Incoming>| {
            begun.notify_one();
            is_busy.store(true, Ordering::Relaxed);
            let busy = Busy(Arc::clone(&is_busy));
            let answer = router.clone().call(request.map(Body::new));
            async move { answer.await.map(|answer| answer.map(|body| Answer { body, _busy: busy })) }
        })
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_header_size(limits.head_bytes);
    let mut connection = pin!(http.serve_connection(TokioIo::new(Patient::new(stream, limits.unread)), service));
    let silent = async {
        if tokio::time::timeout(limits.first, begun.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = &mut connection => return,
        () = silent => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let rest = tokio::time::timeout(limits.flush, &mut connection).await;
    if rest.is_err() && is_busy.load(Ordering::Relaxed) {
        let _ = connection.await;
    }
}

/// A request is being answered, until this is dropped.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The body of an answer, which ends with it.
struct Answer {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::convert::Infallible;
    use std::net::SocketAddr;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    /// Far more than anything here takes.
    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(50);
    const PATIENT: Limits = Limits { first: LONG, unread: LONG, drain: LONG, flush: SHORT, ..Limits::of(100) };

    async fn start(limits: Limits) -> (SocketAddr, CancellationToken, JoinHandle<io::Result<()>>) {
        let endless =
            || async { Body::from_stream(futures::stream::repeat(Ok::<_, Infallible>(Bytes::from(vec![b' '; 65_536])))) };
        let router = Router::new().route("/", get(|| async { "yes" })).route("/endless", get(endless));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, stop) = (listener.local_addr().expect("bound"), CancellationToken::new());
        (address, stop.clone(), tokio::spawn(serve(listener, router, limits, stop)))
    }

    async fn send(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("accepted");
        stream.write_all(text.as_bytes()).await.expect("taken");
        stream
    }

    /// All that still comes.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut all = Vec::new();
        let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut all)).await.expect("it ends");
        String::from_utf8_lossy(&all).into_owned()
    }

    async fn ends(server: JoinHandle<io::Result<()>>) {
        let ended = tokio::time::timeout(LONG / 2, server).await.expect("the server ends");
        ended.expect("no panic").expect("no error");
    }

    #[tokio::test]
    async fn half_a_head_holds_up_nothing() {
        let (address, stop, server) = start(PATIENT).await;
        let mut silent = send(address, "").await;
        let mut half = send(address, "GET / HTTP/1.1\r\nhost: x\r\n").await;
        let mut idle = send(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut answer = [0; 12];
        idle.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
        stop.cancel();
        ends(server).await;
        for stream in [&mut silent, &mut half, &mut idle] {
            rest(stream).await;
        }
    }

    #[tokio::test]
    async fn a_reader_that_stops_reading_is_broken_off() {
        let (address, stop, server) = start(Limits { drain: SHORT, ..PATIENT }).await;
        let mut stuck = send(address, "GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut head = [0; 12];
        stuck.read_exact(&mut head).await.expect("it has begun");
        stop.cancel();
        ends(server).await;
        // And without any stop.
        let (address, stop, server) = start(Limits { unread: SHORT, ..PATIENT }).await;
        let stuck = send(address, "GET /endless HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let begun = Instant::now();
        loop {
            tokio::time::timeout(LONG, stuck.writable()).await.expect("the server lets go of it").expect("a socket");
            match stuck.try_write(b"x") {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                _ => tokio::task::yield_now().await,
            }
            assert!(begun.elapsed() < LONG, "the server lets go of it");
        }
        stop.cancel();
        ends(server).await;
    }

    #[tokio::test]
    async fn who_says_nothing_or_too_much_is_let_go() {
        let (address, stop, server) = start(Limits { first: SHORT, ..PATIENT }).await;
        let mut silent = send(address, "").await;
        assert_eq!(rest(&mut silent).await, "");
        let mut half = send(address, "GET / HTTP/1.1\r\n").await;
        assert_eq!(rest(&mut half).await, "");
        let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}", "x".repeat(70_000));
        let mut long = send(address, &long).await;
        assert!(rest(&mut long).await.starts_with("HTTP/1.1 431"));
        stop.cancel();
        ends(server).await;
    }
}
