//! Whole tables as streams of NDJSON or CSV: pieces made ahead of the reader, few exports at once, none kept open by a reader who
//! has gone to sleep.

use super::problem::Problem;
use super::rows::Form;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Exports at once: each holds some ten megabytes, and two keep a small machine busy.
const AT_ONCE: usize = 8;
/// How long a reader may leave a piece lying.
const PATIENCE: Duration = Duration::from_mins(1);

static EXPORTS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// What makes the pieces of an export.
pub trait Pieces: Send + 'static {
    /// The next piece; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Result<Option<String>, Problem>> + Send;
}

/// An answer of all `pieces` under the head line `columns` (of CSV).
pub fn stream(form: Form, columns: &[&str], mut pieces: impl Pieces) -> Result<Response, Problem> {
    let permit = Arc::clone(&EXPORTS).try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, format!("{AT_ONCE} exports are running; try again later")).retry_after(5)
    })?;
    let head = (form == Form::Csv).then(|| format!("{}\r\n", columns.join(",")));
    // Full: the reader is slower than the store, which then waits.
    let (sender, mut receiver) = mpsc::channel::<io::Result<Bytes>>(1);
    tokio::spawn(async move {
        let _permit = permit;
        let mut piece = Ok(Some(head.unwrap_or_default()));
        loop {
            let (message, is_last) = match piece {
                Ok(Some(text)) => (Ok(Bytes::from(text)), false),
                Ok(None) => return,
                // The head of the answer is gone: breaking off is the only way left to say that it is not whole.
                Err(_) => (Err(io::Error::other("the export failed")), true),
            };
            let is_empty = message.as_ref().is_ok_and(Bytes::is_empty);
            let sent = async { is_empty || matches!(tokio::time::timeout(PATIENCE, sender.send(message)).await, Ok(Ok(()))) };
            // The next piece is made while this one is on its way.
            let (is_sent, next) = tokio::join!(sent, pieces.next());
            if !is_sent || is_last {
                return;
            }
            piece = next;
        }
    });
    let body = Body::from_stream(futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)));
    Ok(([(header::CONTENT_TYPE, form.content_type())], body).into_response())
}
