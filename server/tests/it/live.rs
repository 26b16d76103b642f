//! `GET /live` as a browser reads it.

use crate::support::{LONG, Server, bare, now_ms};
use serde_json::Value;
use std::time::{Duration, Instant};

/// How soon a reading is to be seen by those who listen.
const SOON: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Event {
    id: Option<String>,
    kind: String,
    data: String,
}

impl Event {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|e| panic!("{e}: {}", self.data))
    }
}

/// An open stream.
pub struct Stream {
    response: reqwest::Response,
    buffer: String,
}

impl Stream {
    pub async fn open(server: &Server, query: &str, last_event_id: Option<&str>) -> Self {
        let mut request = server.client.get(format!("{}/live?{query}", server.url));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { response, buffer: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let event: String = self.buffer.drain(..end + 2).collect();
                let mut parsed = Event { id: None, kind: String::new(), data: String::new() };
                for line in event.trim_end().lines() {
                    match line.split_once(": ").expect("a field") {
                        ("id", id) => parsed.id = Some(id.to_owned()),
                        ("event", kind) => kind.clone_into(&mut parsed.kind),
                        ("data", data) => data.clone_into(&mut parsed.data),
                        (other, _) => panic!("a field {other}"),
                    }
                }
                return Some(parsed);
            }
            let chunk = tokio::time::timeout(LONG, self.response.chunk()).await.expect("a beat at least").ok()??;
            self.buffer.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    /// The next event of that kind for which `wanted` holds, and how long it took.
    pub async fn find(&mut self, kind: &str, wanted: impl Fn(&Value) -> bool) -> (Event, Duration) {
        let started = Instant::now();
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.kind == kind && wanted(&event.json()) {
                return (event, started.elapsed());
            }
            assert!(started.elapsed() < LONG, "waited in vain for {kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_state_first_then_what_changes() {
    let server = Server::start().await;
    let device = "P110101-1-F1";
    server.accept(&[bare(device, now_ms() - 60_000, "5")]).await;
    let mut stream = Stream::open(&server, &format!("topics=device:{device},region:ID,facility:P110101-1,pipeline"), None).await;
    let headers = stream.response.headers().clone();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(headers[name], value);
    }
    for (kind, left) in [("device", 3), ("region", 2), ("facility", 1), ("pipeline", 0)] {
        let event = stream.next().await.expect("the whole state of every topic");
        assert_eq!(event.kind, kind, "in the order asked for");
        assert_eq!(event.json()["kind"], kind);
        let untold = event.id.as_deref().expect("an id").matches("-x").count();
        assert_eq!(untold, left, "topics of which it was told nothing yet");
        match kind {
            "device" => assert_eq!(event.json()["device"]["reading"]["temperature"], 5_000),
            "region" => assert_eq!(event.json()["now"]["counts"]["fine"], 1),
            "facility" => assert_eq!(event.json()["devices"][0]["id"], device),
            _ => assert_eq!(event.json()["now"]["received"], 1),
        }
    }
    // A reading is seen soon, on every level.
    server.accept(&[bare(device, now_ms(), "9.4")]).await;
    let (_, took) = stream.find("device", |u| u["device"]["reading"]["temperature"] == 9_400).await;
    assert!(took < SOON, "{took:?}");
    let mut again = Stream::open(&server, "topics=region:11.01.01", None).await;
    let (event, _) = again.find("region", |u| u["now"]["counts"]["too_warm"] == 1).await;
    assert_eq!(event.json()["worst"][0]["device"], device);
    // A stream ends when the server stops; it does not hold it up.
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    while stream.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_comes_back() {
    let server = Server::start().await;
    let device = "P110101-1-F1";
    server.accept(&[bare(device, now_ms(), "5")]).await;
    // Nothing changes any more: the whole state, once more by the first look for changes, then beats alone.
    let mut stream = Stream::open(&server, &format!("topics=device:{device}"), None).await;
    let (first, _) = stream.find("device", |_| true).await;
    let (second, _) = stream.find("device", |_| true).await;
    assert_ne!(first.id, second.id);
    let newest = second.id.as_deref().expect("an id");
    let missed_nothing =
        Stream::open(&server, &format!("topics=device:{device}"), Some(newest)).await.next().await.expect("an event");
    assert_eq!((missed_nothing.kind.as_str(), &missed_nothing.id), ("beat", &None));
    assert!((missed_nothing.json()["now"].as_i64().expect("a time") - now_ms()).abs() < 60_000);
    let by_query =
        Stream::open(&server, &format!("topics=device:{device}&since={newest}"), None).await.next().await.expect("an event");
    assert_eq!(by_query.kind, "beat");
    // The same id says nothing of other topics.
    let other = Stream::open(&server, "topics=region:11", Some(newest)).await.next().await.expect("an event");
    assert_eq!(other.kind, "region");
    let missed_some =
        Stream::open(&server, &format!("topics=device:{device}"), first.id.as_deref()).await.next().await.expect("an event");
    assert_eq!((missed_some.kind.as_str(), &missed_some.json()["device"]["reading"]["temperature"]), ("device", &5_000.into()));
    // An id of before a restart is never taken for one of after it.
    drop(stream);
    let server = Server::start_in(server.stop().await, &[]).await;
    let after = Stream::open(&server, &format!("topics=device:{device}"), Some(newest)).await.next().await.expect("an event");
    assert_eq!(after.kind, "device");
    server.stop().await;
}

/// A page whose line broke comes back to a server on which much happens to others: it is told what it missed, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn coming_back_to_a_busy_server() {
    let server = Server::start().await;
    let (device, other, now) = ("P110101-1-F1", "P321701-1-F1", now_ms());
    server.accept(&[bare(device, now - 60_000, "5"), bare(other, now - 60_000, "5")]).await;
    let topics = format!("topics=device:{device},facility:P110101-1");
    let open = async |id: Option<&str>| Stream::open(&server, &topics, id).await;
    let mut others = Stream::open(&server, &format!("topics=device:{other},region:32,pipeline"), None).await;
    let mut busy = async |n: i64, temperature: &str| {
        server.accept(&[bare(other, now - 30_000 + n, temperature)]).await;
        others.find("device", |u| u["device"]["reading"]["at"] == now - 30_000 + n).await;
    };
    let mut stream = open(None).await;
    // The whole state of both, and once more by the first look for changes.
    let (mut id, mut told) = (None, 0);
    while told < 4 {
        let event = stream.next().await.expect("an event");
        told += usize::from(event.id.is_some());
        id = event.id.or(id);
    }
    for n in 0..5 {
        drop(stream);
        busy(n, "6").await;
        stream = open(id.as_deref()).await;
        let event = stream.next().await.expect("an event");
        assert_eq!(event.kind, "beat", "nothing of its own happened: {}", event.data);
    }
    // What happened to it while it was away.
    drop(stream);
    server.accept(&[bare(device, now, "9.4")]).await;
    busy(10, "7").await;
    let mut stream = open(id.as_deref()).await;
    stream.find("device", |u| u["device"]["reading"]["temperature"] == 9_400).await;
    server.stop().await;
}

/// A change that the pace of updates holds back, seen by who begins to listen just then, and undone: who came hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_what_was_true_for_a_moment() {
    let server = Server::start().await;
    let (device, mut at) = ("P110101-1-F1", now_ms() - 60_000);
    let mut post = async |temperature: &str| {
        at += 1;
        server.accept(&[bare(device, at, temperature)]).await;
    };
    post("5").await;
    let too_warm = |n: u32| move |update: &Value| update["now"]["counts"]["too_warm"] == n;
    for _ in 0..3 {
        let mut before = Stream::open(&server, "topics=region:11", None).await;
        before.find("region", too_warm(0)).await;
        // What may be sent at once is used up.
        post("20").await;
        before.find("region", too_warm(1)).await;
        post("5").await;
        before.find("region", too_warm(0)).await;
        post("20").await;
        let mut newcomer = Stream::open(&server, "topics=region:11", None).await;
        newcomer.find("region", too_warm(1)).await;
        post("5").await;
        newcomer.find("region", too_warm(0)).await;
    }
    server.stop().await;
}

/// What lies before the running hour comes with no update; the stream says that it is another, and pages ask for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_hears_that_its_past_has_changed() {
    let server = Server::start().await;
    let (device, hour) = ("P110101-1-F1", 60 * 60_000);
    let mut stream = Stream::open(&server, "topics=region:11", None).await;
    let (whole, _) = stream.find("region", |_| true).await;
    let before = whole.json()["now"]["past"].clone();
    assert_eq!(server.json("/api/pages/day?code=11").await["past"], before);
    let past: Vec<String> = (0..=6).map(|age| bare(device, now_ms() - (6 - age) * hour, "5")).collect();
    server.accept(&past).await;
    let (event, _) = stream.find("region", |u| u["now"]["past"] != before).await;
    let day = server.json("/api/pages/day?code=11").await;
    assert_eq!(day["past"], event.json()["now"]["past"]);
    assert_eq!(day["hours"].as_array().map(Vec::len), Some(7));
    let of_regency = day["children"].as_array().expect("a list").iter().find(|child| child[0] == "11.01").expect("the regency");
    let heard = of_regency[1].as_array().expect("a day").iter().filter(|share| share.is_number()).count();
    assert_eq!((of_regency[1].as_array().map(Vec::len), heard), (Some(24), 7));
    let sparks = server.json("/api/pages/sparks?code=P110101-1").await;
    let own = sparks.as_array().expect("a list").iter().find(|one| one[0] == device).expect("the device");
    assert_eq!(own[1].as_array().map(Vec::len), Some(7));
    for question in ["day?code=zzz", "sparks?code=zzz"] {
        server.get(&format!("/api/pages/{question}")).await.problem(404);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions() {
    let server = Server::start().await;
    for query in ["", "topics=", "topics=nonsense", "topics=region:", "topics=weather:ID"] {
        server.get(&format!("/live?{query}")).await.problem(400);
    }
    for long in ["x".repeat(129), "%E2%86%92".repeat(129)] {
        server.get(&format!("/live?topics=device:{long}")).await.problem(400);
    }
    drop(Stream::open(&server, &format!("topics=device:{}", "%E2%86%92".repeat(128)), None).await);
    let many: Vec<String> = (0..17).map(|i| format!("region:{i}")).collect();
    server.get(&format!("/live?topics={}", many.join(","))).await.problem(400);
    // What nobody knows yet may come: its stream is open and silent.
    let mut stream = Stream::open(&server, "topics=device:not-yet", None).await;
    assert_eq!(stream.next().await.expect("an event").kind, "beat");
    server.accept(&[bare("not-yet", now_ms(), "5")]).await;
    let (_, took) = stream.find("device", |u| u["device"]["id"] == "not-yet").await;
    assert!(took < SOON, "{took:?}");
    drop(stream);
    server.stop().await;
}

/// The first change after quiet is sent at once; one that follows closely waits, and no reading is lost to the page.
#[tokio::test(flavor = "multi_thread")]
async fn twice_a_second_and_at_once_after_quiet() {
    let server = Server::start().await;
    let (device, now) = ("P110101-1-F1", now_ms());
    server.accept(&[bare(device, now - 60_000, "5")]).await;
    let mut stream = Stream::open(&server, &format!("topics=device:{device}"), None).await;
    // The whole state, and once more by the first look for changes.
    stream.find("device", |_| true).await;
    stream.find("device", |_| true).await;
    let started = Instant::now();
    let mut seen = 0;
    for n in 0..40 {
        server.accept(&[bare(device, now - 1_000 + n, &format!("4.{n:02}1"))]).await;
    }
    let posting = started.elapsed();
    loop {
        let (event, _) = stream.find("device", |_| true).await;
        seen += 1;
        if event.json()["device"]["reading"]["at"] == now - 1_000 + 39 {
            break;
        }
    }
    // Two at once after quiet, then two a second.
    let most = 3 + (started.elapsed().as_millis() / 500) as usize;
    assert!(seen >= 2 && seen <= most, "{seen} updates of 40 readings in {posting:?}");
    server.stop().await;
}
