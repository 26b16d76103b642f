//! The live feed: who listens to which topic, and the messages on their way to them. A message is written once, however many listen.

use bytes::Bytes;
use domain::feed::{LiveTopic, Update};
use hashbrown::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Messages that may wait for one listener. One that falls further behind is told to load the page's data again.
const QUEUE: usize = 256;

/// The listeners of all topics.
#[derive(Debug, Default)]
pub struct Feed {
    topics: Mutex<HashMap<LiveTopic, Vec<Listener>>>,
    next_listener: AtomicU64,
    /// Number of the last message.
    sequence: AtomicU64,
}

#[derive(Clone, Debug)]
struct Listener {
    id: u64,
    sender: mpsc::Sender<Bytes>,
    is_behind: Arc<AtomicBool>,
}

/// One listener's end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    id: u64,
    topics: Vec<LiveTopic>,
    receiver: mpsc::Receiver<Bytes>,
    is_behind: Arc<AtomicBool>,
}

/// An event of the stream as it goes over the wire.
pub fn frame(sequence: u64, kind: &str, data: &str) -> Bytes {
    format!("id: {sequence}\nevent: {kind}\ndata: {data}\n\n").into()
}

const fn kind_of(update: &Update) -> &'static str {
    match update {
        Update::Region { .. } => "region",
        Update::Facility { .. } => "facility",
        Update::Device { .. } => "device",
        Update::Pipeline { .. } => "pipeline",
    }
}

impl Feed {
    /// A feed whose message numbers begin after `sequence`, so that they grow over restarts.
    pub fn starting_at(sequence: u64) -> Self {
        Self { sequence: AtomicU64::new(sequence), ..Self::default() }
    }

    /// Number of the last message.
    pub fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// The topics that somebody listens to.
    pub fn topics(&self) -> Vec<LiveTopic> {
        self.lock().keys().cloned().collect()
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        let mut ids: Vec<u64> = self.lock().values().flatten().map(|l| l.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LiveTopic, Vec<Listener>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to `topics` from now on.
    pub fn subscribe(self: &Arc<Self>, topics: Vec<LiveTopic>) -> Subscription {
        // Full: the listener is marked as behind and told so with the next message it takes.
        let (sender, receiver) = mpsc::channel(QUEUE);
        let listener = Listener {
            id: self.next_listener.fetch_add(1, Ordering::Relaxed),
            sender,
            is_behind: Arc::new(AtomicBool::new(false)),
        };
        let mut by_topic = self.lock();
        for topic in &topics {
            by_topic.entry(topic.clone()).or_default().push(listener.clone());
        }
        drop(by_topic);
        Subscription { feed: Arc::clone(self), id: listener.id, topics, receiver, is_behind: listener.is_behind }
    }

    /// The wire form of `update` under the next number.
    pub fn write(&self, update: &Update) -> Bytes {
        let sequence = self.sequence.fetch_add(1, Ordering::AcqRel) + 1;
        let data = serde_json::to_string(update).expect("an update has no map with keys that are not text");
        frame(sequence, kind_of(update), &data)
    }

    /// Sends `update` to all who listen to `topic`. Never waits.
    pub fn publish(&self, topic: &LiveTopic, update: &Update) {
        let message = self.write(update);
        if let Some(listeners) = self.lock().get(topic) {
            for listener in listeners {
                if listener.sender.try_send(message.clone()).is_err() {
                    listener.is_behind.store(true, Ordering::Release);
                }
            }
        }
    }
}

impl Subscription {
    /// The topics listened to.
    pub fn topics(&self) -> &[LiveTopic] {
        &self.topics
    }

    /// The next message. A listener that was behind first gets `reload`.
    pub async fn next(&mut self) -> Option<Bytes> {
        if self.is_behind.swap(false, Ordering::AcqRel) {
            while self.receiver.try_recv().is_ok() {}
            return Some(frame(self.feed.sequence(), "reload", "behind"));
        }
        self.receiver.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut topics = self.feed.lock();
        for topic in &self.topics {
            if let Some(listeners) = topics.get_mut(topic) {
                listeners.retain(|l| l.id != self.id);
                if listeners.is_empty() {
                    topics.remove(topic);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::feed::PipelineNow;

    fn update(received: u64) -> Update {
        Update::Pipeline { now: PipelineNow { received, ..PipelineNow::default() } }
    }

    #[tokio::test]
    async fn a_listener_gets_its_topics_and_no_others() {
        let feed = Arc::new(Feed::starting_at(41));
        let mut listener = feed.subscribe(vec![LiveTopic::Pipeline]);
        feed.publish(&LiveTopic::Region("ID".into()), &update(1));
        feed.publish(&LiveTopic::Pipeline, &update(2));
        let message = String::from_utf8(listener.next().await.expect("a message").to_vec()).expect("text");
        assert!(
            message.starts_with("id: 43\nevent: pipeline\ndata: {\"kind\":\"pipeline\",\"now\":{\"received\":2,"),
            "{message}"
        );
        drop(listener);
        assert!(feed.topics().is_empty());
    }

    #[tokio::test]
    async fn a_listener_that_falls_behind_is_told_to_reload() {
        let feed = Arc::new(Feed::default());
        let mut listener = feed.subscribe(vec![LiveTopic::Pipeline]);
        for i in 0..=QUEUE as u64 {
            feed.publish(&LiveTopic::Pipeline, &update(i));
        }
        let message = listener.next().await.expect("a message");
        assert!(message.ends_with(b"event: reload\ndata: behind\n\n"));
        feed.publish(&LiveTopic::Pipeline, &update(9));
        assert!(listener.next().await.expect("a message").starts_with(b"id: 258\nevent: pipeline\n"));
    }
}
