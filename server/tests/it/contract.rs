//! `POST /ingest` to the letter: who may, how much, and every answer.

use crate::support::{Reply, Server, bare, envelope, slot_now, until};
use serde_json::{Value, json};
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_record() {
    let server = Server::start().await;
    let now = slot_now();
    let first = server.post(envelope("e1", "d", now, "5")).await;
    assert_eq!((first.status, first.text.as_str()), (200, r#"{"status":"accepted"}"#));
    assert_eq!(first.header("content-type"), "application/json");
    let again = server.post(envelope("e1", "d", now, "5.0")).await;
    assert_eq!((again.status, again.text.as_str()), (200, r#"{"status":"duplicate event"}"#));
    let conflict = server.post(envelope("e1", "d", now, "6")).await.problem(422);
    assert_eq!((conflict["reason"].as_str(), conflict["pointer"].as_str()), (Some("id_conflict"), Some("/event_id")));
    // Without an id: the device, its channel and the time.
    assert_eq!(server.post(bare("b", now, "5")).await.json(), json!({"status": "accepted"}));
    assert_eq!(server.post(bare("b", now, "5")).await.json(), json!({"status": "duplicate event"}));
    assert_eq!(server.post(bare("b", now, "6")).await.problem(422)["reason"], "conflicting_reading");
    let wrong = server.post(envelope("e2", "d", now, r#""5""#)).await.problem(422);
    assert_eq!((wrong["reason"].as_str(), wrong["pointer"].as_str()), (Some("wrong_type"), Some("/payload/temperature")));
    assert_eq!(server.post("{").await.problem(422)["reason"], "malformed_json");
    let future = server.post(bare("b", now + 3_600_000, "5")).await.problem(422);
    assert_eq!((future["reason"].as_str(), future["pointer"].as_str()), (Some("future"), Some("/ts")));
    let by_timestamp = bare("b", now + 3_600_001, "5").replace("\"ts\"", "\"timestamp\"");
    assert_eq!(server.post(by_timestamp).await.problem(422)["pointer"], "/timestamp");
    assert_eq!(server.post(envelope("f1", "d", now + 3_600_000, "5")).await.problem(422)["pointer"], "/payload/ts");
    // A record for a window that is closed, in a slot that is complete: kept, and said so.
    server.accept(&[envelope("l1", "l", now - 3_600_000, "5"), envelope("l2", "l", now, "5")]).await;
    let late = server.post(envelope("l3", "l", now - 3_600_000 + 1, "5")).await;
    assert_eq!((late.status, late.json()), (200, json!({"status": "accepted", "late": true})));
    for empty in ["", " \n"] {
        server.post(empty).await.problem(400);
    }
    assert_eq!(server.stats().await, [14, 4, 2, 1, 7]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_records() {
    let server = Server::start().await;
    let now = slot_now();
    let records = [
        envelope("e1", "d", now, "5"),
        envelope("e1", "d", now, "5"),
        envelope("e2", "d", now, "500"),
        "{\"event_id\":\"e3\",\"topic\":".to_owned(),
        envelope("e4", "d", now + 1, "85.0"),
        envelope("l1", "l", now - 3_600_000, "5"),
        envelope("l2", "l", now, "5"),
        envelope("l3", "l", now - 3_600_000 + 1, "5"),
        bare("é\\\"", now, "NaN"),
    ];
    let expected = json!({
        "received": 9, "accepted": 3, "duplicate": 1, "late": 1, "rejected": 4,
        "rejections": [
            {"index": 2, "event_id": "e2", "reason": "out_of_range", "field": "payload.temperature"},
            {"index": 3, "event_id": "e3", "reason": "malformed_json", "field": ""},
            {"index": 4, "event_id": "e4", "reason": "sensor_fault", "field": "payload.temperature"},
            {"index": 8, "event_id": null, "reason": "non_finite", "field": "temperature"},
        ],
    });
    let reply = server.post_lines(records.join("\n")).await;
    assert_eq!((reply.status, reply.json()), (200, expected));
    let whole = [&records[..3], &records[4..]].concat();
    let reply = server.post(format!("[{}]", whole.join(","))).await;
    let all_known = json!({"received": 8, "accepted": 0, "duplicate": 8, "late": 0, "rejected": 0, "rejections": []});
    assert_eq!((reply.status, reply.json()), (200, all_known), "the same again, in another form");
    let none = json!({"received": 0, "accepted": 0, "duplicate": 0, "late": 0, "rejected": 0, "rejections": []});
    assert_eq!(server.post("[]").await.json(), none);
    // A list of one is a list.
    assert_eq!(server.post(format!("[{}]", bare("one", now, "5"))).await.json()["accepted"], 1);
    assert_eq!(server.post_lines(bare("two", now, "5")).await.json()["accepted"], 1);
    server.stop().await;
}

/// S4.09: a new record and the same again.
#[tokio::test(flavor = "multi_thread")]
async fn new_and_duplicate() {
    let server = Server::start().await;
    let record = envelope("evt-1", "d", slot_now(), "4.5");
    assert_eq!(server.post(record.clone()).await.json(), json!({"status": "accepted"}));
    assert_eq!(server.post(record).await.json(), json!({"status": "duplicate event"}));
    let stats = server.json("/stats").await;
    assert_eq!([&stats["received"], &stats["unique_processed"], &stats["duplicate_dropped"]], [2, 1, 1]);
    let by_topic = server.json("/stats?group=topic").await;
    assert_eq!(
        by_topic["topics"],
        json!({"temperature": {"received": 2, "unique_processed": 1, "duplicate_dropped": 1, "late": 0, "rejected": 0}})
    );
    let by_source = server.json("/stats?group=source").await;
    assert_eq!(by_source["sources"]["test"]["received"], 2);
    assert!(domain::time::parse_rfc3339(stats["uptime_start"].as_str().expect("a text")).is_some());
    server.get("/stats?group=colour").await.problem(400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_send() {
    let server = Server::start().await;
    let record = || bare("d", slot_now(), "5");
    let right = format!("Bearer {}", server.key);
    for headers in [
        vec![],
        vec![("authorization", "Bearer rantai_0000")],
        vec![("authorization", "Bearer ")],
        vec![("authorization", "Basic eDp5")],
        vec![("authorization", server.key.as_str())],
    ] {
        let reply = server.send(&headers, record()).await;
        reply.problem(401);
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    assert_eq!(server.send(&[("authorization", &right.replace("Bearer", "bearer"))], record()).await.status, 200);
    // A key is found before anything is read of what it sends.
    assert_eq!(server.send(&[("content-encoding", "nonsense")], "x").await.status, 401);
    let reader = format!("Bearer {}", server.make_key("reader", "read").await);
    server.send(&[("authorization", &reader)], record()).await.problem(403);
    let other = format!("Bearer {}", server.make_key("other", "ingest").await);
    assert_eq!(server.send(&[("authorization", &other)], record()).await.status, 200);
    server.revoke_key("other").await;
    until("a revoked key is refused", async || {
        (server.send(&[("authorization", &other)], record()).await.status == 401).then_some(())
    })
    .await;
    server.stop().await;
}

/// A key that follows another brings records of the same source: what was sent under the old one is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_follows_another() {
    let server = Server::start().await;
    let record = envelope("r1", "d", slot_now(), "5").replace(r#""source":"test","#, "");
    let mut answers = Vec::new();
    for (name, source) in [("gateway 2025", None), ("gateway 2026", Some("gateway 2025")), ("stranger", None)] {
        let key = format!("Bearer {}", server.make_key_of(name, source, "ingest").await);
        answers.push(server.send(&[("authorization", &key)], record.clone()).await.json()["status"].clone());
    }
    assert_eq!(answers[..2], ["accepted", "duplicate event"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_much() {
    const MAX: usize = 10 * 1024 * 1024;
    let server = Server::start().await;
    let key = format!("Bearer {}", server.key);
    let refuse = async |status: u16, headers: &[(&str, &str)], body: reqwest::Body| {
        let all: Vec<_> = [("authorization", key.as_str())].into_iter().chain(headers.iter().copied()).collect();
        server.send(&all, body).await.problem(status);
    };
    let spaces = |len: usize| vec![b' '; len];
    refuse(413, &[], format!("[{}1]", "1,".repeat(10_000)).into()).await;
    refuse(413, &[("content-type", "application/x-ndjson")], "1\n".repeat(10_001).into()).await;
    refuse(413, &[], spaces(MAX + 1).into()).await;
    let endless = futures::stream::iter((0..200).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024])));
    refuse(413, &[], reqwest::Body::wrap_stream(endless)).await;
    let bomb = gzip(&vec![b' '; 20 * MAX]);
    assert!(bomb.len() < MAX / 40);
    refuse(413, &[("content-encoding", "gzip")], bomb.into()).await;
    refuse(413, &[("content-encoding", "gzip")], gzip(&spaces(MAX + 1)).into()).await;
    refuse(413, &[("content-encoding", "zstd")], zstd::encode_all(&spaces(20 * MAX)[..], 1).expect("in memory").into()).await;
    refuse(415, &[("content-encoding", "br")], "x".into()).await;
    refuse(415, &[("content-type", "text/csv")], "x".into()).await;
    refuse(415, &[("content-type", "multipart/form-data; boundary=x")], "x".into()).await;
    refuse(400, &[("content-encoding", "gzip")], "not gzip".into()).await;
    refuse(400, &[("content-encoding", "zstd")], "not zstd".into()).await;
    // What was refused was never received.
    assert_eq!(server.stats().await, [0; 5]);
    // At the limits, in every encoding.
    let now = slot_now();
    let lines: String = (0..10_000).map(|i| bare("d", now - i, "5") + "\n").collect();
    let of = |encoding: &'static str| {
        vec![
            ("authorization", key.as_str()),
            ("content-type", "application/x-ndjson; charset=utf-8"),
            ("content-encoding", encoding),
        ]
    };
    let reply = server.send(&of("gzip"), gzip(lines.as_bytes())).await;
    assert_eq!((reply.status, reply.json()["accepted"].as_u64()), (200, Some(10_000)), "{}", reply.text);
    // Names of codings know no case.
    let reply = server.send(&of("ZSTD"), zstd::encode_all(lines.as_bytes(), 1).expect("in memory")).await;
    assert_eq!((reply.status, reply.json()["duplicate"].as_u64()), (200, Some(10_000)), "{}", reply.text);
    let mut padded = lines.into_bytes();
    padded.resize(MAX, b' ');
    let reply = server.send(&of("identity"), padded).await;
    assert_eq!((reply.status, reply.json()["duplicate"].as_u64()), (200, Some(10_000)), "{}", reply.text);
    assert_eq!(server.stats().await, [30_000, 10_000, 20_000, 0, 0]);
    server.stop().await;
}

/// What is asked wrongly is told so, in the form of every other problem.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions() {
    let server = Server::start().await;
    // A misspelt parameter would otherwise be the answer to another question.
    for path in ["/stats?grup=topic", "/api/v1/windows?sise=5m", "/api/v1/late?form=csv", "/live?topics=pipeline&sinse=1"] {
        let problem = server.get(path).await.problem(400);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("unknown field")), "{path}: {problem}");
    }
    server.get("/api/v1/regions/%ff").await.problem(400);
    for path in ["/api/v2/windows", "/api/v1/regions/ID/", "/api/v1/regions//", "/api/v1//latest", "/api/docs/"] {
        server.get(path).await.problem(404);
    }
    for (method, path) in
        [("PUT", "/"), ("DELETE", "/stats"), ("TRACE", "/api/v1/latest"), ("POST", "/settings/theme"), ("GET", "/ingest")]
    {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = server.client.request(method, format!("{}{path}", server.url));
        let reply = Reply::of(request.send().await.expect("an answer")).await;
        reply.problem(405);
        assert!(!reply.header("allow").is_empty(), "{path}");
    }
    server.stop().await;
}

/// One record of every kind, all with an id: what happens to each, in order, where there is room for [`ROOM`].
fn every_kind(now: i64) -> Vec<(Vec<u8>, &'static str)> {
    let of = |id: &str, text: &str| envelope(id, "k", now, "5").replace(r#""temperature":5"#, text);
    let plain = |text: String, fate: &'static str| (text.into_bytes(), fate);
    let deep = format!(r#""temperature":5,"x":{}{}"#, "[".repeat(40), "]".repeat(40));
    let mut not_utf8 = of("r2", r#""temperature":5,"x":"?""#).into_bytes();
    let at = not_utf8.iter().position(|b| *b == b'?').expect("there");
    not_utf8[at] = 0xff;
    vec![
        plain(envelope("a1", "k", now - 3_600_000, "5"), "accepted"),
        plain(envelope("a2", "k", now, "5"), "accepted"),
        plain(envelope("a2", "k", now, "5"), "duplicate"),
        plain(envelope("l1", "k", now - 3_600_000 + 1, "5"), "late"),
        plain(r#"{"event_id":"s1","topic":"stock","payload":{"n":1}}"#.to_owned(), "accepted"),
        plain(r#"{"event_id":"r1","topic":"temperature","payload":{"#.to_owned(), "malformed_json"),
        (not_utf8, "invalid_utf8"),
        plain(of("r3", r#""temperature":5,"temperature":5"#), "duplicate_key"),
        plain(of("r4", &deep), "too_deep"),
        plain(of("r5", &format!(r#""temperature":5,"x":"{}""#, "x".repeat(70_000))), "too_large"),
        plain(of("r6", r#""temperature":5"#).replace("\"topic\":\"temperature\"", "\"topic\":\"weather\""), "unknown_topic"),
        plain(of("r7", r#""humidity":5"#), "missing_field"),
        plain(of("r8", r#""temperature":"5""#), "wrong_type"),
        plain(of("r9", r#""temperature":1e999"#), "non_finite"),
        plain(of("r10", r#""temperature":126"#), "out_of_range"),
        plain(of("r11", r#""temperature":85.0"#), "sensor_fault"),
        plain(envelope("r12", "k", now + 3_600_000, "5"), "future"),
        plain(envelope("r13", "k", 0, "5"), "clock_reset"),
        plain(envelope("r14", "k", now - 91 * 86_400_000, "5"), "too_old"),
        plain(envelope("a2", "k", now, "6"), "id_conflict"),
        plain(bare("n", now, "5"), "accepted"),
        plain(bare("n", now, "6"), "conflicting_reading"),
        plain(envelope("u1", "u", now, "5"), "too_many_unregistered"),
    ]
}

/// Two devices that nobody registered.
const ROOM: [&str; 2] = ["--max-unregistered", "2"];

/// Posting the same file twice changes `/stats` only in `received` and `duplicate_dropped`.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_twice() {
    let server = Server::start_with(&ROOM).await;
    let kinds = every_kind(slot_now());
    let file = kinds.iter().map(|(record, _)| record.as_slice()).collect::<Vec<_>>().join(&b'\n');
    let first = server.post_lines(file.clone()).await.json();
    let rejections = first["rejections"].as_array().expect("a list");
    let told: Vec<(u64, &str)> =
        rejections.iter().map(|r| (r["index"].as_u64().expect("a number"), r["reason"].as_str().expect("a text"))).collect();
    let expected: Vec<(u64, &str)> = (0..)
        .zip(&kinds)
        .map(|(i, (_, fate))| (i, *fate))
        .filter(|(_, fate)| !matches!(*fate, "accepted" | "duplicate" | "late"))
        .collect();
    assert_eq!(told, expected);
    let mut reasons: Vec<&str> = expected.iter().map(|(_, reason)| *reason).collect();
    reasons.sort_unstable();
    let mut all = domain::event::Reason::ALL.map(domain::event::Reason::name);
    all.sort_unstable();
    assert_eq!(reasons, all, "every reason of the closed list");

    let stats = server.json("/stats?group=topic").await;
    let n = kinds.len() as u64;
    assert_eq!(server.stats().await, [n, 4, 1, 1, 17]);
    let dead_letters = server.json("/api/v1/dead-letters").await;
    let second = server.post_lines(file).await.json();
    assert_eq!((second["duplicate"].as_u64(), second["rejections"].as_array().map(Vec::len)), (Some(n), Some(0)), "{second}");
    assert_eq!(server.stats().await, [2 * n, 4, 1 + n, 1, 17]);
    let strip = |mut stats: Value| {
        let topics = stats["topics"].as_object_mut().expect("a map");
        for topic in topics.values_mut() {
            (topic["received"], topic["duplicate_dropped"]) = (Value::Null, Value::Null);
        }
        (stats["received"], stats["duplicate_dropped"]) = (Value::Null, Value::Null);
        stats
    };
    assert_eq!(strip(server.json("/stats?group=topic").await), strip(stats));
    assert_eq!(server.json("/api/v1/dead-letters").await, dead_letters, "one dead letter each");
    // After a restart it is known all the same.
    let key = server.key.clone();
    let mut server = Server::start_in(server.stop().await, &ROOM).await;
    server.key = key;
    let file = kinds.into_iter().map(|(record, _)| record).collect::<Vec<_>>().join(&b'\n');
    assert_eq!(server.post_lines(file).await.json()["duplicate"], n);
    assert_eq!(server.stats().await, [3 * n, 4, 1 + 2 * n, 1, 17]);
    server.stop().await;
}
