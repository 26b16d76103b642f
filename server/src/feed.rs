//! The live feed: who listens to which topic, and the messages on their way to them. A message is written once, however many listen.

use bytes::Bytes;
use domain::feed::{LiveTopic, Update};
use domain::planted;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use std::fmt::Write;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Messages that may wait for one listener. One that falls further behind is told to load the page's data again.
const QUEUE: usize = 256;
/// For how long a topic that nobody listens to any more is kept up to date: who comes back within it need not be told everything again.
pub const LINGER: Duration = Duration::from_secs(30);
/// So many topics at most are kept for that: who opens streams of ever other topics gets no more of it.
const LINGERING: usize = 4_096;

/// The listeners of all topics.
#[derive(Debug, Default)]
pub struct Feed {
    topics: Mutex<Topics>,
    /// Grows when a topic comes or goes.
    version: AtomicU64,
    next_listener: AtomicU64,
    listeners: AtomicUsize,
    /// What new listeners were told as the whole state of a topic, for the publisher to look at.
    told: Mutex<HashMap<LiveTopic, Vec<Update>>>,
    /// Makes the ids of streams. Its secret is new with each start: an id of an earlier one says nothing.
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Topics {
    by_topic: HashMap<LiveTopic, Watched>,
    /// How many there were: each is another one, also under the name of one that has gone.
    made: u64,
    /// Those without a listener.
    lingering: usize,
}

/// A topic that somebody listens to, or did a moment ago.
#[derive(Debug)]
struct Watched {
    /// Which of all it is.
    entry: u64,
    /// Number of its last message.
    number: u64,
    listeners: HashMap<u64, Listener>,
    /// When the last listener went.
    left: Option<Instant>,
}

/// A message of a topic under its number there.
#[derive(Debug)]
struct Message {
    entry: u64,
    number: u64,
    event: Bytes,
}

#[derive(Clone, Debug)]
struct Listener {
    /// A pointer each: the channel of a listener has room for 32 of them from the beginning.
    sender: mpsc::Sender<Arc<Message>>,
    is_behind: Arc<AtomicBool>,
}

/// What a listener has of one topic.
#[derive(Debug)]
struct Place {
    topic: LiveTopic,
    entry: u64,
    /// Number of its last message when the listener came.
    joined: u64,
    /// Number of the message up to which the listener knows everything; `None` until it was told the whole state.
    known: Option<u64>,
}

/// One listener's end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    feed: Arc<Feed>,
    id: u64,
    /// In order of topic.
    places: Vec<Place>,
    /// Of the topics, so that an id of one stream says nothing to another.
    tag: u64,
    receiver: mpsc::Receiver<Arc<Message>>,
    is_behind: Arc<AtomicBool>,
}

/// An event of the stream as it goes over the wire, without an id.
pub fn event(kind: &str, data: &str) -> Bytes {
    format!("event: {kind}\ndata: {data}\n\n").into()
}

/// The wire form of `update`, without an id.
pub fn event_of(update: &Update) -> Bytes {
    let kind = match update {
        Update::Region { .. } => "region",
        Update::Facility { .. } => "facility",
        Update::Device { .. } => "device",
        Update::Pipeline { .. } => "pipeline",
    };
    event(kind, &serde_json::to_string(update).expect("an update has no map with keys that are not text"))
}

impl Feed {
    /// The topics that somebody listens to, or did a moment ago.
    pub fn topics(&self) -> Vec<LiveTopic> {
        self.lock().by_topic.keys().cloned().collect()
    }

    /// A number that is the same as before only if [`Feed::topics`] is too.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to `topics` from now on, each of which is named once.
    pub fn subscribe(self: &Arc<Self>, mut topics: Vec<LiveTopic>) -> Subscription {
        // Full: the listener is marked as behind and told so with the next message it takes.
        let (sender, receiver) = mpsc::channel(QUEUE);
        let id = self.next_listener.fetch_add(1, Ordering::Relaxed);
        let listener = Listener { sender, is_behind: Arc::new(AtomicBool::new(false)) };
        let is_behind = Arc::clone(&listener.is_behind);
        topics.sort_by_cached_key(ToString::to_string);
        let mut all = self.lock();
        let Topics { by_topic, made, lingering } = &mut *all;
        let before = *made;
        let places: Vec<Place> = topics
            .into_iter()
            .map(|topic| {
                let watched = by_topic.entry_ref(&topic).or_insert_with(|| {
                    *made += 1;
                    Watched { entry: *made, number: 0, listeners: HashMap::new(), left: None }
                });
                *lingering -= usize::from(watched.left.take().is_some());
                watched.listeners.insert(id, listener.clone());
                Place { topic, entry: watched.entry, joined: watched.number, known: None }
            })
            .collect();
        if *made > before {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        drop(all);
        self.listeners.fetch_add(1, Ordering::Relaxed);
        let mut hasher = self.hasher.build_hasher();
        for place in &places {
            (place.topic.to_string(), place.entry).hash(&mut hasher);
        }
        Subscription { feed: Arc::clone(self), id, tag: hasher.finish(), places, receiver, is_behind }
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

    /// Sends `event` to all who listen to `topic`. Never waits for one of them.
    pub fn send(&self, topic: &LiveTopic, event: &Bytes) {
        if let Some(watched) = self.lock().by_topic.get_mut(topic) {
            watched.number += 1;
            let message = Arc::new(Message { entry: watched.entry, number: watched.number, event: event.clone() });
            for listener in watched.listeners.values() {
                if listener.sender.try_send(Arc::clone(&message)).is_err() {
                    listener.is_behind.store(!planted("who-falls-behind-is-not-told"), Ordering::Release);
                }
            }
        }
    }

    /// Forgets topics whose last listener went [`LINGER`] before `now`.
    pub fn forget_left(&self, now: Instant) {
        let mut all = self.lock();
        if all.lingering == 0 {
            return;
        }
        let before = all.by_topic.len();
        all.by_topic.retain(|_, watched| watched.left.is_none_or(|left| now.duration_since(left) < LINGER));
        let gone = before - all.by_topic.len();
        all.lingering -= gone;
        if gone > 0 {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Subscription {
    /// The id of what the listener knows now: of each topic the number of a message. What happens elsewhere in the country shows in none.
    fn id(&self) -> String {
        let mut id = format!("{:016x}", self.tag);
        for place in &self.places {
            match place.known {
                Some(number) => write!(id, "-{number}"),
                None => write!(id, "-x"),
            }
            .expect("writing to a string");
        }
        id
    }

    fn frame(&self, event: &Bytes) -> Bytes {
        let mut frame = format!("id: {}\n", self.id()).into_bytes();
        frame.extend_from_slice(event);
        frame.into()
    }

    /// Takes the listener for one who has come back, and knows what the one knew whose last message had `id`.
    pub fn resume(&mut self, id: &str) {
        let mut parts = id.split('-');
        let tag = parts.next().and_then(|tag| u64::from_str_radix(tag, 16).ok());
        if tag != Some(self.tag) && !planted("id-of-another-stream") {
            return;
        }
        for (place, number) in self.places.iter_mut().zip(parts) {
            place.known = number.parse().ok().filter(|number| *number == place.joined);
        }
    }

    /// The topics of which it has yet to be told the whole state.
    pub fn untold(&self) -> Vec<LiveTopic> {
        self.places.iter().filter(|place| place.known.is_none()).map(|place| place.topic.clone()).collect()
    }

    /// Notes that `topic` is told whole, by the message that is the answer; by none where nothing has that name.
    pub fn tell(&mut self, topic: &LiveTopic, event: Option<&Bytes>) -> Option<Bytes> {
        if let Some(place) = self.places.iter_mut().find(|place| place.topic == *topic) {
            place.known = Some(place.joined);
        }
        event.map(|event| self.frame(event))
    }

    /// The next message. A listener that was behind first gets `reload`.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.is_behind.load(Ordering::Acquire) && self.is_behind.swap(false, Ordering::AcqRel) {
            while self.receiver.try_recv().is_ok() {}
            // What it missed nobody can tell by a number.
            self.places.iter_mut().for_each(|place| place.known = None);
            return Poll::Ready(Some(self.frame(&event("reload", "behind"))));
        }
        self.receiver.poll_recv(cx).map(|message| {
            message.map(|message| {
                if let Some(place) = self.places.iter_mut().find(|place| place.entry == message.entry) {
                    place.known = Some(message.number);
                }
                self.frame(&message.event)
            })
        })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.listeners.fetch_sub(1, Ordering::Relaxed);
        let mut all = self.feed.lock();
        let Topics { by_topic, lingering, .. } = &mut *all;
        for place in &self.places {
            if let EntryRef::Occupied(mut watched) = by_topic.entry_ref(&place.topic) {
                watched.get_mut().listeners.remove(&self.id);
                if !watched.get().listeners.is_empty() {
                    continue;
                }
                if *lingering < LINGERING && !planted("who-comes-back-is-told-everything") {
                    watched.get_mut().left = Some(Instant::now());
                    *lingering += 1;
                } else {
                    watched.remove();
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

    async fn next(listener: &mut Subscription) -> String {
        let message = std::future::poll_fn(|cx| listener.poll_next(cx)).await.expect("a message");
        String::from_utf8(message.to_vec()).expect("text")
    }

    /// The next message and its id.
    async fn next_id(listener: &mut Subscription) -> (String, String) {
        let message = next(listener).await;
        let (id, event) = message.strip_prefix("id: ").and_then(|rest| rest.split_once('\n')).expect("an id");
        (id.to_owned(), event.to_owned())
    }

    fn event_with(received: u64) -> Bytes {
        event_of(&Update::Pipeline { now: PipelineNow { received, ..PipelineNow::default() } })
    }

    fn country() -> LiveTopic {
        LiveTopic::Region("ID".into())
    }

    #[tokio::test]
    async fn a_listener_gets_its_topics_and_no_others() {
        let feed = Arc::new(Feed::default());
        let mut listener = feed.subscribe(vec![LiveTopic::Pipeline]);
        feed.send(&country(), &event_with(1));
        feed.send(&LiveTopic::Pipeline, &event_with(2));
        let (_, event) = next_id(&mut listener).await;
        assert!(event.starts_with("event: pipeline\ndata: {\"kind\":\"pipeline\",\"now\":{\"received\":2,"), "{event}");
        assert_eq!(feed.listeners(), 1);
        drop(listener);
        assert_eq!(feed.listeners(), 0);
        feed.forget_left(Instant::now());
        assert_eq!(feed.topics(), [LiveTopic::Pipeline], "somebody may come back");
        feed.forget_left(Instant::now() + LINGER);
        assert!(feed.topics().is_empty());
    }

    /// Whoever comes back is told of the topics in which something happened, whatever happened in others.
    #[tokio::test]
    async fn who_comes_back_hears_what_it_missed() {
        let feed = Arc::new(Feed::default());
        let both = || vec![country(), LiveTopic::Pipeline];
        let mut others = feed.subscribe(vec![LiveTopic::Device("d".into())]);
        let mut listener = feed.subscribe(both());
        assert_eq!(listener.untold(), [LiveTopic::Pipeline, country()]);
        // Between the first and the second of the whole state only one is known.
        let first = listener.tell(&country(), Some(&event_with(0))).expect("a message");
        let half = String::from_utf8(first.to_vec()).expect("text")[4..].lines().next().expect("an id").to_owned();
        listener.tell(&LiveTopic::Pipeline, None);
        assert!(listener.untold().is_empty());
        for n in 0..3 {
            feed.send(&country(), &event_with(n));
        }
        let mut last = String::new();
        for _ in 0..3 {
            last = next_id(&mut listener).await.0;
        }
        drop(listener);
        let untold = |id: &str, topics: Vec<LiveTopic>| {
            let mut again = feed.subscribe(topics);
            again.resume(id);
            again.untold()
        };
        // Something happened to others meanwhile.
        for n in 0..10 {
            feed.send(&LiveTopic::Device("d".into()), &event_with(n));
        }
        assert!(untold(&last, both()).is_empty());
        assert!(untold(&last, vec![LiveTopic::Pipeline, country()]).is_empty(), "in another order");
        assert_eq!(
            untold(&half, both()),
            both().into_iter().rev().collect::<Vec<_>>(),
            "it has missed three, and never got the other"
        );
        feed.send(&LiveTopic::Pipeline, &event_with(9));
        assert_eq!(untold(&last, both()), [LiveTopic::Pipeline]);
        // Of other topics, of another start, and made up.
        for id in [last.as_str(), "", "x", "-3", &last[..16], &format!("{last}-7"), &format!("{:016x}-3-3", 7)] {
            assert_eq!(untold(id, vec![country()]), [country()], "{id}");
        }
        assert!(!untold(&last.replace('-', "-1"), both()).is_empty());
        // A topic that went and came under the same name is another one.
        assert_eq!(untold(&last, both()), [LiveTopic::Pipeline]);
        feed.forget_left(Instant::now() + LINGER);
        for _ in 0..3 {
            let mut watch = feed.subscribe(both());
            watch.tell(&country(), None);
            feed.send(&country(), &event_with(1));
            feed.send(&LiveTopic::Pipeline, &event_with(1));
        }
        assert_eq!(untold(&last, both()), [LiveTopic::Pipeline, country()]);
        // An id tells how often its own topics were sent something, and nothing of the rest.
        let (other, _) = next_id(&mut others).await;
        assert!(other.ends_with("-1") && last.ends_with("-0-3"), "{other} {last}");
    }

    #[test]
    fn the_version_tells_whether_the_topics_are_others() {
        let feed = Arc::new(Feed::default());
        let first = feed.subscribe(vec![LiveTopic::Pipeline]);
        let version = feed.version();
        let second = feed.subscribe(vec![LiveTopic::Pipeline]);
        assert_eq!((feed.version(), feed.listeners()), (version, 2));
        drop(first);
        drop(second);
        feed.forget_left(Instant::now());
        assert_eq!(feed.version(), version);
        // Who came back keeps it.
        let third = feed.subscribe(vec![LiveTopic::Pipeline]);
        feed.forget_left(Instant::now() + LINGER);
        assert_eq!(feed.version(), version);
        drop(third);
        feed.forget_left(Instant::now() + LINGER);
        assert_ne!(feed.version(), version);
    }

    /// Streams of ever other topics cost no more than so much.
    #[test]
    fn few_topics_linger() {
        let feed = Arc::new(Feed::default());
        for n in 0..LINGERING + 10 {
            drop(feed.subscribe(vec![LiveTopic::Device(n.to_string())]));
        }
        assert_eq!(feed.topics().len(), LINGERING);
        feed.forget_left(Instant::now() + LINGER);
        drop(feed.subscribe(vec![LiveTopic::Pipeline]));
        assert_eq!(feed.topics(), [LiveTopic::Pipeline]);
    }

    #[tokio::test]
    async fn a_listener_that_falls_behind_is_told_to_reload() {
        let feed = Arc::new(Feed::default());
        let mut listener = feed.subscribe(vec![LiveTopic::Pipeline]);
        for i in 0..=QUEUE as u64 {
            feed.send(&LiveTopic::Pipeline, &event_with(i));
        }
        let (id, message) = next_id(&mut listener).await;
        assert!(message.ends_with("event: reload\ndata: behind\n\n") && id.ends_with("-x"), "{id} {message}");
        feed.send(&LiveTopic::Pipeline, &event_with(9));
        assert!(next_id(&mut listener).await.0.ends_with("-258"));
    }
}
