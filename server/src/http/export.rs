//! Whole tables as streams of NDJSON or CSV: pieces made ahead of the reader, few exports at once, none kept open by a reader who
//! has gone to sleep.

use super::problem::Problem;
use super::rows::Form;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
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
pub fn stream(form: Form, columns: &[&str], pieces: impl Pieces) -> Result<Response, Problem> {
    stream_within(PATIENCE, form, columns, pieces)
}

fn stream_within(patience: Duration, form: Form, columns: &[&str], mut pieces: impl Pieces) -> Result<Response, Problem> {
    let permit = Arc::clone(&EXPORTS).try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, format!("{AT_ONCE} exports are running; try again later")).retry_after(5)
    })?;
    let head = (form == Form::Csv).then(|| format!("{}\r\n", columns.join(",")));
    // Full: the reader is slower than the store, which then waits.
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let is_whole = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&is_whole);
    tokio::spawn(async move {
        let _permit = permit;
        let mut piece = Ok(Some(head.unwrap_or_default()));
        while let Ok(Some(text)) = piece {
            let sent = async { text.is_empty() || sender.send_timeout(text.into(), patience).await.is_ok() };
            // The next piece is made while this one is on its way.
            let (is_sent, next) = tokio::join!(sent, pieces.next());
            if !is_sent {
                return;
            }
            piece = next;
        }
        ended.store(piece.is_ok() || domain::planted("broken-export-looks-whole"), Ordering::Release);
    });
    let body = Body::from_stream(futures::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|piece| match piece {
            Some(piece) => Some(Ok(piece)),
            None if is_whole.load(Ordering::Acquire) => None,
            // The head of the answer is gone: breaking off is the only way left to say that it is not whole.
            None => Some(Err(io::Error::other("the export broke off"))),
        })
    }));
    Ok(([(header::CONTENT_TYPE, form.content_type())], body).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use futures::StreamExt;

    /// So many pieces, then an error or the end; what tells that it is gone.
    #[expect(dead_code, reason = "dropping it is what it is for")]
    struct Counted(u32, bool, Arc<()>);

    impl Pieces for Counted {
        async fn next(&mut self) -> Result<Option<String>, Problem> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Ok(Some("x".to_owned()))
                }
                None if self.1 => Ok(None),
                None => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "gone")),
            }
        }
    }

    /// What a reader gets: the text, and whether it ends well. One who `sleeps` begins when nobody waits any more.
    async fn read(number: u32, ends_well: bool, sleeps: bool) -> (String, bool) {
        let alive = Arc::new(());
        let pieces = Counted(number, ends_well, Arc::clone(&alive));
        let patience = if sleeps { Duration::from_millis(1) } else { PATIENCE };
        let body = stream_within(patience, Form::Csv, &["a", "b"], pieces).expect("there is room").into_body();
        while sleeps && Arc::strong_count(&alive) > 1 {
            tokio::task::yield_now().await;
        }
        let (mut text, mut body) = (String::new(), body.into_data_stream());
        while let Some(piece) = body.next().await {
            match piece {
                Ok(piece) => text.push_str(std::str::from_utf8(&piece).expect("text")),
                Err(_) => return (text, false),
            }
        }
        (text, true)
    }

    #[tokio::test]
    async fn what_is_not_whole_does_not_look_so() {
        assert_eq!(read(3, true, false).await, ("a,b\r\nxxx".to_owned(), true));
        assert_eq!(read(0, true, false).await, ("a,b\r\n".to_owned(), true));
        assert_eq!(read(3, false, false).await, ("a,b\r\nxxx".to_owned(), false));
        assert_eq!(read(3, true, true).await, ("a,b\r\n".to_owned(), false), "the last pieces are missing");
    }
}
