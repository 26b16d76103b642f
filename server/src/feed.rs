//! The live feed: who listens to which topic, and the messages on their way to them. A message is written once, however many listen.

use bytes::Bytes;
use domain::feed::{LiveTopic, Update};
use domain::planted;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Messages that may wait for one listener. One that falls further behind is told to load the page's data again.
const QUEUE: usize = 256;

/// The listeners of all topics.
#[derive(Debug, Default)]
pub struct Feed {
    topics: Mutex<HashMap<LiveTopic, HashMap<u64, Listener>>>,
    /// Grows when a topic gets its first listener or loses its last one.
    version: AtomicU64,
    next_listener: AtomicU64,
    listeners: AtomicUsize,
    /// Number of the last message.
    sequence: AtomicU64,
    /// What new listeners were told as the whole state of a topic, for the publisher to look at.
    told: Mutex<HashMap<LiveTopic, Vec<Update>>>,
}

/// A message as all get it; its number stands with it as each listener's own id, see [`Subscription::frame`].
#[derive(Clone, Debug)]
pub struct Message {
    sequence: u64,
    event: Bytes,
}

#[derive(Clone, Debug)]
struct Listener {
    sender: mpsc::Sender<Message>,
    is_behind: Arc<AtomicBool>,
}

/// One listener's end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    id: u64,
    topics: Vec<LiveTopic>,
    /// Of the topics, so that an id of one stream says nothing to another.
    tag: u32,
    receiver: mpsc::Receiver<Message>,
    is_behind: Arc<AtomicBool>,
}

/// An event of the stream as it goes over the wire, without an id.
pub fn event(kind: &str, data: &str) -> Bytes {
    format!("event: {kind}\ndata: {data}\n\n").into()
}

fn tag_of(topics: &[LiveTopic]) -> u32 {
    let mut names: Vec<String> = topics.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    crc32c::crc32c(names.join(",").as_bytes())
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

    /// A number that is the same as before only if [`Feed::topics`] is too.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LiveTopic, HashMap<u64, Listener>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to `topics` from now on.
    pub fn subscribe(self: &Arc<Self>, topics: Vec<LiveTopic>) -> Subscription {
        // Full: the listener is marked as behind and told so with the next message it takes.
        let (sender, receiver) = mpsc::channel(QUEUE);
        let id = self.next_listener.fetch_add(1, Ordering::Relaxed);
        let listener = Listener { sender, is_behind: Arc::new(AtomicBool::new(false)) };
        let is_behind = Arc::clone(&listener.is_behind);
        let mut by_topic = self.lock();
        let before = by_topic.len();
        for topic in &topics {
            by_topic.entry_ref(topic).or_default().insert(id, listener.clone());
        }
        if by_topic.len() > before {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        drop(by_topic);
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Subscription { feed: Arc::clone(self), id, tag: tag_of(&topics), topics, receiver, is_behind }
    }

    /// The wire form of `update` under the next number.
    pub fn write(&self, update: &Update) -> Message {
        let sequence = self.sequence.fetch_add(1, Ordering::AcqRel) + 1;
        let data = serde_json::to_string(update).expect("an update has no map with keys that are not text");
        Message { sequence, event: event(kind_of(update), &data) }
    }

    /// Notes that a new listener of `topic` is told `update`, which need not be what the others were sent last.
    pub fn told(&self, topic: &LiveTopic, update: Update) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let updates = told.entry_ref(topic).or_default();
        // Thousands come back at once after a restart, all to the same.
        if !updates.contains(&update) {
            updates.push(update);
        }
    }

    /// What new listeners were told since the last call.
    pub fn take_told(&self) -> HashMap<LiveTopic, Vec<Update>> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends `message` to all who listen to `topic`. Never waits for one of them.
    pub fn send(&self, topic: &LiveTopic, message: &Message) {
        if let Some(listeners) = self.lock().get(topic) {
            for listener in listeners.values() {
                if listener.sender.try_send(message.clone()).is_err() {
                    listener.is_behind.store(!planted("who-falls-behind-is-not-told"), Ordering::Release);
                }
            }
        }
    }
}

impl Subscription {
    /// `message` under its id: its number, and whose stream it is.
    pub fn frame(&self, message: &Message) -> Bytes {
        let mut frame = format!("id: {}-{:08x}\n", message.sequence, self.tag).into_bytes();
        frame.extend_from_slice(&message.event);
        frame.into()
    }

    /// Whether `id` is that of the newest message, of a stream of the same topics.
    pub fn is_newest(&self, id: &str) -> bool {
        id == format!("{}-{:08x}", self.feed.sequence(), self.tag)
            || (planted("id-of-another-stream") && id.starts_with(&format!("{}-", self.feed.sequence())))
    }

    /// The next message. A listener that was behind first gets `reload`.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.is_behind.load(Ordering::Acquire) && self.is_behind.swap(false, Ordering::AcqRel) {
            while self.receiver.try_recv().is_ok() {}
            let reload = Message { sequence: self.feed.sequence(), event: event("reload", "behind") };
            return Poll::Ready(Some(self.frame(&reload)));
        }
        self.receiver.poll_recv(cx).map(|message| message.map(|message| self.frame(&message)))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.listeners.fetch_sub(1, Ordering::Relaxed);
        let mut topics = self.feed.lock();
        for topic in &self.topics {
            if let EntryRef::Occupied(mut listeners) = topics.entry_ref(topic) {
                listeners.get_mut().remove(&self.id);
                if listeners.get().is_empty() {
                    listeners.remove();
                    self.feed.version.fetch_add(1, Ordering::AcqRel);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::feed::PipelineNow;

    async fn next(listener: &mut Subscription) -> Bytes {
        std::future::poll_fn(|cx| listener.poll_next(cx)).await.expect("a message")
    }

    fn update(received: u64) -> Update {
        Update::Pipeline { now: PipelineNow { received, ..PipelineNow::default() } }
    }

    #[tokio::test]
    async fn a_listener_gets_its_topics_and_no_others() {
        let feed = Arc::new(Feed::starting_at(41));
        let mut listener = feed.subscribe(vec![LiveTopic::Pipeline]);
        feed.send(&LiveTopic::Region("ID".into()), &feed.write(&update(1)));
        feed.send(&LiveTopic::Pipeline, &feed.write(&update(2)));
        let message = String::from_utf8(next(&mut listener).await.to_vec()).expect("text");
        assert!(
            message.starts_with("id: 43-")
                && message.contains("\nevent: pipeline\ndata: {\"kind\":\"pipeline\",\"now\":{\"received\":2,"),
            "{message}"
        );
        // The same number is no news to a stream of the same topics alone.
        let id = message.lines().next().and_then(|line| line.strip_prefix("id: ")).expect("an id");
        assert!(listener.is_newest(id) && !listener.is_newest("43"));
        assert!(!feed.subscribe(vec![LiveTopic::Pipeline, LiveTopic::Region("ID".into())]).is_newest(id));
        drop(listener);
        assert!(feed.topics().is_empty());
        assert_eq!(feed.listeners(), 0);
    }

    #[test]
    fn the_version_tells_whether_the_topics_are_others() {
        let feed = Arc::new(Feed::default());
        let first = feed.subscribe(vec![LiveTopic::Pipeline]);
        let version = feed.version();
        let second = feed.subscribe(vec![LiveTopic::Pipeline]);
        assert_eq!((feed.version(), feed.listeners()), (version, 2));
        drop(first);
        assert_eq!(feed.version(), version);
        drop(second);
        assert_ne!(feed.version(), version);
    }

    #[tokio::test]
    async fn a_listener_that_falls_behind_is_told_to_reload() {
        let feed = Arc::new(Feed::default());
        let mut listener = feed.subscribe(vec![LiveTopic::Pipeline]);
        for i in 0..=QUEUE as u64 {
            feed.send(&LiveTopic::Pipeline, &feed.write(&update(i)));
        }
        let message = next(&mut listener).await;
        assert!(message.ends_with(b"event: reload\ndata: behind\n\n"));
        feed.send(&LiveTopic::Pipeline, &feed.write(&update(9)));
        assert!(next(&mut listener).await.starts_with(b"id: 258-"));
    }
}
