//! `POST /ingest` to the letter: who may, how much, and every answer. And what the contract says of answers that no other test reads.

use crate::support::{Reply, Server, bare, counts, envelope, slot_now, until};
use domain::coldchain::{Condition, Excursion};
use domain::event::{DeviceStatus, Reading, Topic};
use domain::feed::{
    ChildNow, Counts, DelaysNow, DeviceMore, DeviceNow, HourCounts, OutOfRange, PartitionNow, PipelineNow, RegionNow,
    SensorFault, Update, WatermarkNow,
};
use domain::join::Fix;
use domain::master::EquipmentKind;
use domain::milli::Milli;
use domain::sequence::Gap;
use domain::time::{EventTime, ProcessingTime};
use serde_json::{Value, json};
use std::collections::BTreeSet;
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
    assert_eq!((late.status, late.json()), (200, json!({"status": "accepted"})));
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

/// What was refused is in no book, and counted all the same: by status, for whoever looks.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_counted_apart() {
    let server = Server::start().await;
    assert_eq!(server.json("/stats").await["refused_since_start"], json!({}));
    let key = format!("Bearer {}", server.key);
    let reader = format!("Bearer {}", server.make_key("reader", "read").await);
    for _ in 0..2 {
        server.send(&[("authorization", "Bearer x")], "{}").await.problem(401);
    }
    server.send(&[("authorization", &reader)], "{}").await.problem(403);
    server.send(&[("authorization", &key)], format!("[{}1]", "1,".repeat(10_000))).await.problem(413);
    server.send(&[("authorization", &key), ("content-type", "text/csv")], "x").await.problem(415);
    server.send(&[("authorization", &key)], " ").await.problem(400);
    server.get_with("/stats", &[("host", "evil.example")]).await.problem(421);
    // A record that was taken in and is kept, and what is nowhere.
    server.post(envelope("e", "d", slot_now(), "500")).await.problem(422);
    server.get("/api/v2").await.problem(404);
    let stats = server.json("/stats").await;
    assert_eq!(stats["refused_since_start"], json!({"400": 1, "401": 2, "403": 1, "413": 1, "415": 1, "421": 1}));
    assert_eq!(counts(&stats), [1, 0, 0, 0, 1]);
    let metrics = server.get("/metrics").await.text;
    for line in [r#"rantai_refused_total{status="401"} 2"#, r#"rantai_refused_total{status="421"} 1"#] {
        assert!(metrics.lines().any(|of| of == line), "{line}: {metrics}");
    }
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

/// A tracker's speed, heading and accuracy are numbers within their ranges, or the fix is refused and says which is not.
#[tokio::test(flavor = "multi_thread")]
async fn fixes() {
    let server = Server::start().await;
    let now = slot_now();
    let fix = |n: i64, more: &str| {
        format!(
            r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[107.6,-6.8]}},"properties":{{"device_id":"t","ts":{}{more}}}}}"#,
            now + n
        )
    };
    server.accept(&[fix(0, ""), fix(1, r#","speed":0,"heading":360,"accuracy":4.5"#), fix(2, r#","speed":null"#)]).await;
    for (n, (more, field, reason)) in (3..).zip([
        (r#","speed":"fast""#, "speed", "wrong_type"),
        (r#","heading":360.5"#, "heading", "out_of_range"),
        (r#","accuracy":-1"#, "accuracy", "out_of_range"),
        (r#","speed":1e999"#, "speed", "non_finite"),
    ]) {
        let problem = server.post(fix(n, more)).await.problem(422);
        assert_eq!((&problem["reason"], &problem["pointer"]), (&json!(reason), &json!(format!("/properties/{field}"))));
    }
    server.stop().await;
}

/// What was refused because it is no UTF-8 is given out whole all the same, in every form; what is UTF-8 is given out once.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text() {
    let server = Server::start().await;
    // The second begins as a formula would.
    server.post_lines(b"{\n\xff\xfe{\n\xfb\xef{".to_vec()).await;
    let expected = [("{", Value::Null), ("\u{fffd}\u{fffd}{", json!("//57")), ("\u{fffd}\u{fffd}{", json!("++97"))];
    for rows in [
        server.rows("/api/v1/dead-letters").await,
        server.json("/api/v1/dead-letters").await["dead_letters"].as_array().expect("a list").clone(),
    ] {
        let found: Vec<_> = rows.iter().map(|row| (row["raw"].as_str().expect("a text"), row["raw_base64"].clone())).collect();
        assert_eq!(found, expected);
        assert!(rows.iter().all(|row| row.as_object().is_some_and(|row| row.contains_key("raw_base64"))));
    }
    let table = server.get("/api/v1/dead-letters?format=csv").await.text;
    let last: Vec<_> = table.lines().map(|line| line.rsplit(',').next().expect("a cell")).collect();
    assert_eq!(last, ["raw_base64", "", "//57", "'++97"]);
    server.stop().await;
}

/// Values of `/live` by which the test knows which unit they are in.
const AT: i64 = 1_795_012_268_011;
const TEMPERATURE: i32 = 4_250;
const PERCENT: i32 = 61_500;
const PLACE: i32 = -6_812_100;

/// One update of every kind with all that it can carry. Written out in full: a field that is added has to be added here.
fn every_update() -> [Update; 4] {
    let (at, time) = (ProcessingTime::from_ms(AT), EventTime::from_ms(AT));
    let temperature = Milli(TEMPERATURE);
    let (counts, excursion) = (Counts::default(), Excursion { since: time, peak: temperature });
    let hour = HourCounts { hour: AT, windows: 12, low: 1, high: 2, readings: 13 };
    let (id, code, status) = ("d".to_owned(), "32".to_owned(), DeviceStatus::Warn);
    let percent = Some(Milli(PERCENT));
    let reading = Reading { at: time, temperature, humidity: percent, battery: percent, status };
    let device = DeviceNow {
        id: id.clone(),
        condition: Condition::TooWarm,
        reading: Some(reading),
        received_at: Some(at),
        excursion: Some(excursion),
        fault: Some(SensorFault { at: time, code: temperature, status }),
    };
    let out_of_range = OutOfRange {
        device: id.clone(),
        equipment: EquipmentKind::ColdRoom,
        number: 1,
        facility: "P321705-1".to_owned(),
        facility_name: "Puskesmas Lembang".to_owned(),
        place: "Kabupaten Bandung Barat".to_owned(),
        condition: Condition::Freezing,
        temperature,
        excursion,
    };
    let region = RegionNow { counts, histogram: vec![1], hour: Some(hour), last_data: Some(at), per_second: Some(0.5), past: 7 };
    let watermark = WatermarkNow {
        topic: Topic::Temperature,
        delay_ms: 60_000,
        active: 3,
        idle: 1,
        slowest: Some(id),
        lowest: Some(time),
        tenth: Some(time),
        half: Some(time),
        highest: Some(time),
    };
    let partition = PartitionNow { topic: "t".to_owned(), partition: 1, next: 2, lag: 3, checkpoint_at: Some(at) };
    [
        Update::Region {
            code: code.clone(),
            now: region,
            children: vec![ChildNow { code: code.clone(), counts, last_data: Some(at) }],
            worst: Some(vec![out_of_range]),
        },
        Update::Facility { code, devices: vec![device.clone()] },
        Update::Device {
            device,
            more: DeviceMore {
                missing: 2,
                gaps: vec![Gap { from: 3, to: 5, after: time, before: time }],
                position: Some(Fix { at: time, longitude_e6: PLACE, latitude_e6: PLACE }),
            },
        },
        Update::Pipeline {
            now: PipelineNow {
                received: 1,
                accepted: 1,
                duplicate: 0,
                late: 0,
                rejected: 0,
                per_second: 0.5,
                lag: 0,
                devices: 1,
                unregistered: 0,
                open_windows: 1,
                closed_windows: 2,
                corrected_windows: 1,
                delays: Some(DelaysNow { half_ms: 900, most_ms: 2_000, nearly_all_ms: 5_000 }),
                log_bytes: 100,
                checkpoint_at: Some(at),
                watermarks: vec![watermark],
                partitions: vec![partition],
                undecided: 0,
            },
        },
    ]
}

/// Whether the contract says of `value` what it is: every member, and nothing that is not there; each with words, numbers with their unit.
fn check_documented(spec: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = match schema["oneOf"].as_array() {
        Some(any) => any.iter().find(|one| one["type"] != "null").expect("something"),
        None => schema,
    };
    let name = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/components/schemas/"));
    let named = name.map_or(schema, |name| &spec["components"]["schemas"][name]);
    match value {
        Value::Object(members) => {
            let told = named["properties"].as_object().unwrap_or_else(|| panic!("{place} has no members in the contract"));
            let (listed, found): (BTreeSet<_>, BTreeSet<_>) = (told.keys().collect(), members.keys().collect());
            assert_eq!(listed, found, "{place}");
            for (member, inner) in members {
                let (place, schema) = (format!("{place}.{member}"), &told[member]);
                let has_words = schema["description"].as_str().is_some_and(|words| !words.is_empty());
                assert!(has_words || schema.get("const").is_some(), "{place} has no words");
                check_documented(spec, schema, inner, &place);
            }
        }
        Value::Array(elements) => {
            assert!(!elements.is_empty(), "{place}: there is one to look at");
            for element in elements {
                check_documented(spec, &named["items"], element, place);
            }
        }
        Value::Number(number) => {
            let unit = match number.as_i64() {
                Some(AT) => Some("EpochMs"),
                Some(n) if n == i64::from(TEMPERATURE) => Some("MilliCelsius"),
                Some(n) if n == i64::from(PERCENT) => Some("MilliPercent"),
                Some(n) if n == i64::from(PLACE) => Some("MicroDegrees"),
                _ => None,
            };
            assert_eq!(name, unit, "{place}");
            let kind = if number.is_f64() { "number" } else { "integer" };
            assert_eq!(named["type"], kind, "{place}");
        }
        Value::String(text) => {
            let is_told = match (named.get("const"), named["enum"].as_array()) {
                (Some(only), _) => only == text,
                (None, Some(all)) => all.iter().any(|one| one == text),
                (None, None) => named["type"] == "string",
            };
            assert!(is_told, "{place}: {text}");
        }
        Value::Bool(_) | Value::Null => panic!("{place}: everything is there, and nothing is true or false"),
    }
}

/// What `/live` sends is in the contract field by field, in its units: other programs than our page read it too.
#[test]
fn live_events_are_in_the_contract() {
    let spec: Value = serde_json::from_str(include_str!("../../openapi.json")).expect("valid JSON");
    let events = &spec["paths"]["/live"]["get"]["responses"]["200"]["content"]["text/event-stream"]["schema"]["oneOf"];
    let mut left: Vec<&str> = events.as_array().expect("a list").iter().filter_map(|event| event["$ref"].as_str()).collect();
    let sent = every_update().map(|update| serde_json::to_value(update).expect("JSON"));
    for event in sent.into_iter().chain([json!({"now": AT})]) {
        let name = match event["kind"].as_str() {
            Some("region") => "LiveRegion",
            Some("facility") => "LiveFacility",
            Some("device") => "LiveDevice",
            Some("pipeline") => "LivePipeline",
            _ => "LiveBeat",
        };
        let path = format!("#/components/schemas/{name}");
        left.retain(|one| *one != path);
        check_documented(&spec, &json!({"$ref": path}), &event, name);
    }
    assert!(left.is_empty(), "{left:?} is sent by nobody");
    for (unit, words) in [
        ("EpochMs", "milliseconds since 1970"),
        ("MilliCelsius", "thousandths of a degree Celsius"),
        ("MilliPercent", "thousandths of a per cent"),
        ("MicroDegrees", "millionths of a degree"),
    ] {
        let told = spec["components"]["schemas"][unit]["description"].as_str().expect("words");
        assert!(told.contains(words), "{unit}: {told}");
    }
}

/// What is asked wrongly is told so, in the form of every other problem.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions() {
    let server = Server::start().await;
    // A misspelt parameter would otherwise be the answer to another question.
    for path in [
        "/stats?grup=topic",
        "/api/v1/windows?sise=5m",
        "/api/v1/late?form=csv",
        "/live?topics=pipeline&sinse=1",
        "/api/v1/map/facilities?regoin=11",
        "/api/v1/map/facilities?region=11&version=1",
    ] {
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

/// One record of every kind, those that name nothing too: what happens to each, in order, where there is room for [`ROOM`].
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
        plain(envelope("u1", "u", now, "5"), "out_of_range"),
        plain("{".to_owned(), "malformed_json"),
        plain("17".to_owned(), "wrong_type"),
        plain(r#"{"temperature":5}"#.to_owned(), "missing_field"),
        (b"\xff\xfe".to_vec(), "invalid_utf8"),
    ]
}

/// Two devices that nobody registered.
const ROOM: [&str; 2] = ["--max-unregistered", "2"];

/// A device without room is told by the field that names it, whatever the record is.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_room_is_told_by_its_field() {
    let server = Server::start_with(&["--max-unregistered", "0"]).await;
    let now = slot_now();
    let fix = |device: &str| {
        format!(
            r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[107.6,-6.9]}},"properties":{{"device_id":"{device}","ts":{now}}}}}"#
        )
    };
    let wrapped = format!(r#"{{"event_id":"w","topic":"gps","payload":{}}}"#, fix("b"));
    let records = [
        (bare("a", now, "5"), "device_id"),
        (envelope("e", "a", now, "5"), "payload.device_id"),
        (fix("a"), "properties.device_id"),
        (wrapped, "payload.properties.device_id"),
        (bare("c", now, "85.0"), "device_id"),
    ];
    let answer = server.post_lines(records.clone().map(|(record, _)| record).join("\n")).await.json();
    let told: Vec<_> = answer["rejections"].as_array().expect("a list").iter().map(|r| (&r["reason"], &r["field"])).collect();
    let expected = records.map(|(_, field)| (Value::from("out_of_range"), Value::from(field)));
    assert_eq!(told, expected.iter().map(|(reason, field)| (reason, field)).collect::<Vec<_>>(), "{answer}");
    server.stop().await;
}

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
    let no_room = kinds.iter().position(|(record, _)| record.starts_with(br#"{"event_id":"u1","#)).expect("is there");
    let no_room = rejections.iter().find(|r| r["index"] == no_room).expect("is refused");
    assert_eq!(no_room["field"], "payload.device_id");
    let mut reasons: Vec<&str> = expected.iter().map(|(_, reason)| *reason).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let mut all = domain::event::Reason::ALL.map(domain::event::Reason::name);
    all.sort_unstable();
    assert_eq!(reasons, all, "every reason of the closed list");

    let stats = server.json("/stats?group=topic").await;
    let n = kinds.len() as u64;
    assert_eq!(server.stats().await, [n, 4, 1, 1, 21]);
    let dead_letters = server.json("/api/v1/dead-letters").await;
    let second = server.post_lines(file).await.json();
    assert_eq!((second["duplicate"].as_u64(), second["rejections"].as_array().map(Vec::len)), (Some(n), Some(0)), "{second}");
    assert_eq!(server.stats().await, [2 * n, 4, 1 + n, 1, 21]);
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
    assert_eq!(server.stats().await, [3 * n, 4, 1 + 2 * n, 1, 21]);
    server.stop().await;
}
