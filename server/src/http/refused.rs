//! Requests that were refused before anything of them was taken in: in no book, so they are counted apart and told in the log.
//!
//! By this process since its start, as no disk has to remember them. A record that is rejected is none: it was taken in, and is kept.

use super::problem::Problem;
use crate::store::ApiKey;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The answers that refuse: not understood, no key, not allowed, too slow, too long, of a kind that nobody reads, to a foreign name, too
/// much at once, not now.
const STATUSES: [u16; 9] = [400, 401, 403, 408, 413, 415, 421, 429, 503];
/// Between two lines of the log about one status: a sender that goes on trying must not fill the disk.
const APART: Duration = Duration::from_secs(10);

/// What was refused.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: [AtomicU64; STATUSES.len()],
    told: Mutex<[Told; STATUSES.len()]>,
}

/// What the log knows of one status.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    at: Option<Instant>,
    /// Refused since then.
    more: u64,
}

/// Whose request was refused, and why: it rides along the answer.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub key: Option<Arc<ApiKey>>,
    pub detail: String,
}

impl Refusals {
    /// How many requests were refused with each status of which there was one.
    pub fn counts(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = STATUSES.into_iter().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Counts an answer; how many of its kind went unsaid, where it is time to say something.
    fn note(&self, status: u16, now: Instant) -> Option<u64> {
        let index = STATUSES.iter().position(|of| *of == status)?;
        if !domain::planted("refusals-are-not-counted") {
            self.counts[index].fetch_add(1, Ordering::Relaxed);
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Told { at, more } = &mut told[index];
        if at.is_some_and(|at| now.duration_since(at) < APART) {
            *more += 1;
            return None;
        }
        *at = Some(now);
        Some(std::mem::take(more))
    }
}

/// Counts the answer to `request` where it refuses. Whether a process is healthy is asked all the time, and no refusal.
pub(super) async fn count(State(refusals): State<Arc<Refusals>>, request: Request, next: Next) -> Response {
    let path = match request.uri().path() {
        "/healthz" | "/readyz" => None,
        path => Some(path.to_owned()),
    };
    let answer = next.run(request).await;
    let status = answer.status().as_u16();
    if let Some(path) = path
        && let Some(more) = refusals.note(status, Instant::now())
    {
        let refusal = answer.extensions().get::<Refusal>();
        let key = refusal.and_then(|refusal| refusal.key.as_ref()).map(|key| key.name.as_str());
        let reason = refusal.map_or("", |refusal| refusal.detail.as_str());
        tracing::warn!(status, path, key, reason, like_it_before = more, "A request was refused; nothing of it was taken in.");
    }
    answer
}

impl Problem {
    /// The same, of a request with that key.
    #[must_use]
    pub(super) fn of(mut self, key: &Arc<ApiKey>) -> Self {
        self.key = Some(Arc::clone(key));
        self
    }
}

/// For metrics.
#[derive(Debug)]
pub(super) struct Counted(pub Arc<Refusals>);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Requests that this process refused, by status; rejected records are none";
        let mut family = encoder.encode_descriptor("refused", help, None, MetricType::Counter)?;
        for (status, count) in self.0.counts() {
            ConstCounter::new(count).encode(family.encode_family(&[("status", status.to_string())])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_few_are_told() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let note = |status, after_ms| refusals.note(status, start + Duration::from_millis(after_ms));
        assert_eq!((note(401, 0), note(401, 1), note(401, 9_999)), (Some(0), None, None));
        assert_eq!(note(429, 5_000), Some(0), "another status");
        assert_eq!((note(401, 10_000), note(401, 10_001), note(401, 25_000)), (Some(2), None, Some(1)));
        // Answers that refuse nothing, and a record that is kept as a dead letter.
        for status in [200, 304, 404, 405, 409, 422, 500] {
            assert_eq!(note(status, 0), None);
        }
        assert_eq!(refusals.counts().collect::<Vec<_>>(), [(401, 6), (429, 1)]);
    }
}
