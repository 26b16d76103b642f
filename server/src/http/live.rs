//! `GET /live`: the live stream of a page.

use super::AppState;
use super::problem::{Problem, Query};
use crate::admission::{MAX_TEXT_CHARS, is_short};
use crate::feed::{Subscription, event, event_of};
use crate::pipeline::{Pipeline, Room, wall_clock};
use crate::publish;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use domain::feed::LiveTopic;
use serde::Deserialize;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Interval;
use tokio_util::sync::WaitForCancellationFutureOwned;

/// How many topics a page may listen to.
const MAX_TOPICS: usize = 16;
/// How often a stream says that it lives.
const BEAT: Duration = Duration::from_secs(5);

/// What a page asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveQuery {
    topics: String,
    since: Option<String>,
}

/// `GET /live?topics=region:ID,…&since=ID`: server-sent events, one stream a tab. Every message has an id; after a break the browser
/// sends the last one as `Last-Event-ID` (or `since=`). Each topic begins with its whole state, unless that id says that nothing of it was
/// missed; updates hold values, not differences, so a repeated one does no harm. `beat` every 5 s carries the server's time; `reload` says
/// that the page fell behind and should load its data again.
pub async fn live(
    State(state): State<AppState>,
    Query(query): Query<LiveQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut topics = Vec::new();
    for topic in query.topics.split(',').filter(|t| !t.is_empty()) {
        let name = topic.split_once(':').map_or(topic, |(_, name)| name);
        if !is_short(name.as_bytes()) {
            return Err(Problem::bad_request(format!("what a topic names has at most {MAX_TEXT_CHARS} characters")));
        }
        let topic: LiveTopic = topic.parse().map_err(|e: domain::feed::NoSuchLiveTopic| Problem::bad_request(e.to_string()))?;
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    if topics.is_empty() || topics.len() > MAX_TOPICS {
        return Err(Problem::bad_request(format!(
            "name 1 to {MAX_TOPICS} topics: region:CODE, facility:CODE, device:ID, pipeline"
        )));
    }
    let last = headers.get("last-event-id").and_then(|v| v.to_str().ok()).or(query.since.as_deref());
    // Listen first, look second: nothing falls between.
    let mut subscription = state.pipeline.feed.subscribe(topics.clone());
    if let Some(id) = last {
        subscription.resume(id);
    }
    let untold = subscription.untold();
    topics.retain(|topic| untold.contains(topic));
    let mut first = VecDeque::new();
    if !topics.is_empty() {
        for (topic, event) in whole_state(&state.pipeline, topics).await? {
            first.extend(subscription.tell(&topic, event.as_ref()));
        }
    }
    let stream = Stream {
        first,
        subscription,
        beat: beats(),
        // Registered once a stream, not once a message.
        stopped: Box::pin(state.stop.cancelled_owned()),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// The whole state of each of `topics`; `None` where nothing has that name.
async fn whole_state(pipeline: &Pipeline, topics: Vec<LiveTopic>) -> Result<Vec<(LiveTopic, Option<Bytes>)>, Problem> {
    let feed = pipeline.feed.clone();
    let whole = move |room: &mut Room| {
        room.engine.flush();
        let of = |topic: LiveTopic| {
            let event = publish::full(room, &topic).map(|update| {
                let event = event_of(&update);
                feed.told(&topic, update);
                event
            });
            (topic, event)
        };
        topics.into_iter().map(of).collect()
    };
    Ok(pipeline.ask(whole).await?)
}

/// What one page is sent.
struct Stream {
    first: VecDeque<Bytes>,
    subscription: Subscription,
    beat: Interval,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

fn beats() -> Interval {
    let mut beat = tokio::time::interval(BEAT);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beat
}

impl futures::Stream for Stream {
    type Item = Result<Bytes, Infallible>;

    /// Ends when the server stops, because an open stream would hold that up for ever.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Some(frame) = self.first.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Poll::Ready(message) = self.subscription.poll_next(cx) {
            return Poll::Ready(message.map(Ok));
        }
        self.beat.poll_tick(cx).map(|_| Some(Ok(beat())))
    }
}

/// A beat has no id: it is no message to come back to.
fn beat() -> Bytes {
    event("beat", &format!(r#"{{"now":{}}}"#, wall_clock().ms()))
}
