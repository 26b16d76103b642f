//! Sliding windows, sessions, positions, and what was known when: over HTTP, as stored and read again, on every store.

use crate::equivalence::{stream, written};
use crate::reference::{Definitions, Fate, Reference, Row, assert_rows};
use crate::store::{NOW, empty, places};
use crate::support::{Random, Server, bare, now_ms, rfc3339, stores};
use domain::rollup::{KnownCounts, Stood, StoodThen};
use domain::time::ProcessingTime;
use domain::window::WindowConfig;
use serde_json::{Value, json};
use server::admission::Format;
use server::log::{BlockKind, Draft, Log};
use server::store::{Checkpoint, Retention};
use sqlx::{Connection, PgConnection};
use std::sync::Arc;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

async fn compare(server: &Server, reference: &Reference) {
    for (size, slide, path) in [(5 * MINUTE, 10_000, "size=5m&slide=10s"), (HOUR, 20 * MINUTE, "size=1h&slide=20m")] {
        let rows: Vec<Row> = server.rows(&format!("/api/v1/windows?{path}")).await.iter().map(Row::read).collect();
        assert_rows(&rows, &reference.sliding_rows(size, slide, 2 * MINUTE));
    }
    let (void, rows): (Vec<Value>, Vec<Value>) =
        server.rows("/api/v1/windows?kind=session").await.into_iter().partition(|row| row["state"] == "merged");
    let (expected, expected_void) = reference.session_rows(15 * MINUTE, MINUTE);
    assert_rows(&rows.iter().map(Row::read).collect::<Vec<_>>(), &expected);
    let time = |row: &Value| domain::time::parse_rfc3339(row["window_start"].as_str().expect("a text")).expect("a time");
    let void: Vec<_> = void
        .iter()
        .map(|row| {
            assert!(row["count"] == 0 && row["min_temperature"].is_null() && row["avg_temperature"].is_null(), "{row}");
            (row["device_id"].as_str().expect("a text").to_owned(), time(row), row["version"].as_u64().expect("a number"))
        })
        .collect();
    assert_eq!(void, expected_void);
}

/// The stream of the equivalence test: late, twice, out of order, back-filled both ways.
#[tokio::test(flavor = "multi_thread")]
async fn sliding_windows_and_sessions_are_those_of_the_reference() {
    for store in stores().await {
        let options =
            ["--store", &store, "--checkpoint-ms", "50", "--windows", "10:60,300:120,300/10:120,3600/1200:120,session 900:60"];
        let server = Server::start_with(&options).await;
        let definitions = Definitions { windows: vec![(10_000, MINUTE), (5 * MINUTE, 2 * MINUTE)], lateness: 10 * MINUTE };
        let mut reference = Reference::new(definitions, 5 * MINUTE);
        let mut random = Random(11);
        let now = now_ms();
        let records = stream(&mut random, now);
        let (mut rest, mut late) = (records.as_slice(), 0);
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(rest.len().min(1 + random.below(200) as usize));
            rest = after;
            let reply = server.post_lines(batch.iter().map(written).collect::<Vec<_>>().join("\n")).await;
            assert_eq!(reply.status, 200, "{}", reply.text);
            late += batch.iter().filter(|record| matches!(reference.take(record, now), Fate::Late { .. })).count() as u64;
        }
        assert_eq!(server.stats().await[3], late);
        compare(&server, &reference).await;
        let server = Server::start_in(server.stop().await, &options).await;
        compare(&server, &reference).await;
        // A page at a time gives the same as all at once.
        let path = "/api/v1/windows?kind=session&gap=15m&limit=7";
        let (mut paged, mut page) = (Vec::new(), server.json(path).await);
        loop {
            paged.extend(page["windows"].as_array().expect("a list").clone());
            let Some(next) = page["next"].as_str() else { break };
            page = server.json(&format!("{path}&next={next}")).await;
        }
        assert_eq!(paged, server.rows("/api/v1/windows?kind=session").await);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_cannot_be_answered_are_refused() {
    let server = Server::start_with(&["--windows", "10:60,300:120,60/20:60"]).await;
    for (path, words) in [
        ("windows?size=5m&slide=10s", "60s/20s"),
        ("windows?slide=20s", "60s/20s"),
        ("windows?kind=session", "none are configured"),
        ("windows?kind=session&size=1m", "sessions a `gap`"),
        ("windows?size=10s&gap=1m", "sessions a `gap`"),
        ("windows?kind=hopping", "`hopping`"),
        ("regions/ID?from=2026-11-01T00:00:00Z", "as_known_at"),
        ("regions/ID?as_known_at=2999-01-01T00:00:00Z", "lies ahead"),
        ("regions/ID?as_known_at=2026-11-01T00:00:00Z&from=0", "31 days"),
        ("regions/ID/restatements?as_known_at=0", "leave out"),
        ("positions", "device_id"),
    ] {
        let problem = server.get(&format!("/api/v1/{path}")).await.problem(400);
        assert!(problem["detail"].as_str().expect("a text").contains(words), "{path}: {problem}");
    }
    server.get("/api/v1/positions?device_id=nobody").await.problem(404);
    server.get("/api/v1/regions/nowhere/restatements").await.problem(404);
    server.get("/api/v1/regions/nowhere?as_known_at=2026-01-01T00:00:00Z").await.problem(404);
    server.stop().await;
}

/// A log as it would be had records come in at these times; each `(received, bodies)` a block.
pub fn write_log(dir: &std::path::Path, blocks: &[(i64, Vec<String>)]) {
    let mut log = Log::open(&dir.join("log"), |_| 0).expect("opens");
    for (received, lines) in blocks {
        let body = lines.join("\n");
        let kind = BlockKind::Records(Format::Ndjson);
        let draft = Draft { kind, source: "test", body: body.as_bytes(), records: lines.len() as u64 };
        log.append(&[draft], ProcessingTime::from_ms(*received)).expect("appends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_as_they_were_known() {
    for store in stores().await {
        let dir = tempfile::tempdir().expect("a directory");
        // Four days ago, a whole hour: three readings of it, known one after the other, the last after it was final.
        let hour = (now_ms() - 96 * HOUR).div_euclid(HOUR) * HOUR;
        let reading = |at: i64, milli: &str| bare("P110101-1-F1", hour + at, milli);
        write_log(
            dir.path(),
            &[
                (hour + 2 * MINUTE, vec![reading(MINUTE, "5")]),
                (hour + 12 * MINUTE, vec![reading(11 * MINUTE, "9")]),
                (hour + 49 * HOUR + 10 * MINUTE, vec![reading(31 * MINUTE, "5"), reading(49 * HOUR, "4")]),
                // Its slot is complete: too late, and outside the range.
                (hour + 49 * HOUR + 20 * MINUTE, vec![reading(2 * MINUTE, "9.5")]),
                (hour + 50 * HOUR, vec![reading(50 * HOUR, "4")]),
            ],
        );
        let options = ["--store", store.as_str(), "--checkpoint-ms", "50"];
        let mut server = Server::start_in(dir, &options).await;
        for _ in 0..2 {
            let known = async |at: i64| {
                let path = format!("/api/v1/regions/ID?as_known_at={}&from={}", rfc3339(hour + at), rfc3339(hour));
                let answer = server.json(&path).await;
                let rows = answer["hours"].as_array().expect("a list").iter();
                let of_hour = rows.filter(|row| row["hour"] == rfc3339(hour)).collect::<Vec<_>>();
                of_hour
                    .first()
                    .map(|row| (row["windows"].clone(), row["high"].clone(), row["readings"].clone(), row["final"].clone()))
            };
            let row = |n: u32, high: u32, is_final: bool| Some((json!(n), json!(high), json!(n), json!(is_final)));
            assert_eq!(known(4 * MINUTE).await, None, "nothing was received before minute 0");
            assert_eq!(known(5 * MINUTE).await, row(1, 0, false));
            assert_eq!(known(14 * MINUTE).await, row(1, 0, false));
            assert_eq!(known(15 * MINUTE).await, row(2, 1, false));
            assert_eq!(known(49 * HOUR).await, row(2, 1, true));
            assert_eq!(known(49 * HOUR + 15 * MINUTE).await, row(3, 1, true));
            // What came last has no version yet: nothing came after it. It is known all the same.
            assert_eq!(known(90 * HOUR).await, row(3, 1, true));
            let path = format!("/api/v1/regions/11/restatements?from={}", rfc3339(hour));
            let restated = server.json(&path).await["restatements"].clone();
            let figures = |n: u32, late: u32| json!({"windows": n, "low": 0, "high": 1, "readings": n, "late": late, "late_low": 0, "late_high": late});
            let restatement = |minute: i64, before: Value, after: Value| {
                let known_at = rfc3339(hour + 49 * HOUR + minute * MINUTE);
                json!({"hour": rfc3339(hour), "known_at": known_at, "before": before, "after": after})
            };
            let expected = json!([restatement(15, figures(2, 0), figures(3, 0)), restatement(25, figures(3, 0), figures(3, 1))]);
            assert_eq!(restated, expected);
            let other = format!("/api/v1/regions/32/restatements?from={}", rfc3339(hour));
            assert_eq!(server.json(&other).await["restatements"], json!([]));
            // And as it was stored.
            let dir = server.stop().await;
            server = Server::start_in(dir, &options).await;
        }
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equipment_as_it_was_known() {
    for store in stores().await {
        let dir = tempfile::tempdir().expect("a directory");
        let hour = (now_ms() - 96 * HOUR).div_euclid(HOUR) * HOUR;
        let reading = |at: i64, milli: &str| bare("P110101-1-F1", hour + at, milli);
        write_log(
            dir.path(),
            &[
                (hour + 2 * MINUTE, vec![reading(MINUTE, "5")]),
                (hour + 12 * MINUTE, vec![reading(11 * MINUTE, "9"), bare("nobody", hour, "9")]),
                (hour + 49 * HOUR + 10 * MINUTE, vec![reading(49 * HOUR, "-1")]),
            ],
        );
        let options = ["--store", store.as_str(), "--checkpoint-ms", "50"];
        let mut server = Server::start_in(dir, &options).await;
        let now = server.json("/api/v1/regions/ID").await["counts"].clone();
        assert_eq!(now["devices"], now["no_word"]);
        for _ in 0..2 {
            for (at, condition) in [
                (4 * MINUTE, ""),
                (5 * MINUTE, "fine"),
                (14 * MINUTE, "fine"),
                (15 * MINUTE, "too_warm"),
                // No word for an hour, and nobody read meanwhile.
                (74 * MINUTE, "too_warm"),
                (75 * MINUTE, ""),
                (49 * HOUR + 10 * MINUTE, ""),
                (49 * HOUR + 15 * MINUTE, "freezing"),
                (50 * HOUR - 1, "freezing"),
                (50 * HOUR, ""),
                (90 * HOUR, ""),
            ] {
                let answer = server.json(&format!("/api/v1/regions/11?as_known_at={}", rfc3339(hour + at))).await;
                let count = |name: &str| u64::from(name == condition);
                let counts = &answer["counts"];
                for name in ["fine", "too_warm", "too_cold", "freezing"] {
                    assert_eq!(counts[name], count(name), "{name} at {at}: {counts}");
                }
                let devices = counts["devices"].as_u64().expect("a number");
                let heard = u64::from(!condition.is_empty());
                assert_eq!((&counts["no_word"], &counts["facilities_reporting"]), (&json!(devices - heard), &json!(heard)));
                let column = [("fine", 15), ("too_warm", 23), ("freezing", 3)].into_iter().find(|(name, _)| *name == condition);
                let histogram: Vec<u64> = (0..30).map(|n| u64::from(column.is_some_and(|(_, column)| n == column))).collect();
                assert_eq!(answer["histogram"], json!(histogram), "at {at}");
                // What lies below adds up to it.
                let children = answer["children"].as_array().expect("a list");
                for name in ["devices", "no_word", "facilities", "facilities_reporting", "too_warm"] {
                    let sum: u64 = children.iter().map(|child| child["counts"][name].as_u64().expect("a number")).sum();
                    assert_eq!(counts[name], sum, "{name} at {at}");
                }
            }
            let village = server.json(&format!("/api/v1/regions/unassigned?as_known_at={}", rfc3339(hour + HOUR))).await;
            assert_eq!((&village["counts"]["devices"], &village["children"]), (&json!(0), &json!([])));
            assert_eq!(village["histogram"], json!([]));
            let dir = server.stop().await;
            server = Server::start_in(dir, &options).await;
        }
        server.stop().await;
    }
}

/// A log may begin shortly before midnight: its first version is a whole picture then, and before it nothing was known. That is an answer.
#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_picture_nobody_had_told_anything() {
    for store in stores().await {
        let dir = tempfile::tempdir().expect("a directory");
        let midnight = (now_ms() - 96 * HOUR).div_euclid(24 * HOUR) * 24 * HOUR;
        let reading = |at: i64| bare("P110101-1-F1", midnight + at, "5");
        write_log(
            dir.path(),
            &[(midnight - 3 * MINUTE, vec![reading(-3 * MINUTE)]), (midnight + 12 * MINUTE, vec![reading(11 * MINUTE)])],
        );
        let options = ["--store", store.as_str(), "--checkpoint-ms", "50"];
        let mut server = Server::start_in(dir, &options).await;
        for _ in 0..2 {
            for (at, fine) in [(-24 * HOUR, 0), (-1, 0), (0, 1), (MINUTE, 1)] {
                let answer = server.json(&format!("/api/v1/regions/11?as_known_at={}", rfc3339(midnight + at))).await;
                let counts = &answer["counts"];
                assert_eq!(counts["fine"], fine, "at {at}: {answer}");
                assert_eq!(counts["no_word"], counts["devices"].as_u64().expect("a number") - fine, "at {at}: {answer}");
            }
            let dir = server.stop().await;
            server = Server::start_in(dir, &options).await;
        }
        server.stop().await;
    }
}

/// A topic that got more partitions: those that were not there tell of nothing, and what was known before by the others stays known until
/// retention takes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_partition_takes_no_history_away() {
    let day = |n: i64| NOW.ms().div_euclid(24 * HOUR) * 24 * HOUR - n * 24 * HOUR;
    let version = |known_at: i64, is_whole: bool, facility: u32| KnownCounts {
        known_at,
        is_whole,
        facilities: vec![(facility, Stood { fine: 1, ..Stood::default() })],
        columns: Vec::new(),
    };
    let stood = |facilities: &[u32]| {
        let mut then = StoodThen::default();
        for facility in facilities {
            then.take(&version(0, false, *facility));
        }
        then
    };
    for place in places().await {
        let store = place.open().await;
        let old = vec![
            version(day(5) + 5 * MINUTE, false, 1),
            version(day(4), true, 1),
            version(day(4) + 5 * MINUTE, false, 2),
            version(day(3), true, 3),
            version(day(2), true, 4),
        ];
        // Its first record came in shortly before midnight.
        for (partition, known) in [(1, old), (2, vec![version(day(2), true, 9)])] {
            let epoch = store.load(partition, &format!("log {partition}"), NOW).await.expect("loads").epoch;
            let checkpoint = Checkpoint { partition, known_counts: Arc::new(known), ..empty(1, 2) };
            store.checkpoint(&checkpoint, epoch, &WindowConfig::default()).await.expect("writes");
        }
        let known = async |partition, at| store.stood_at(partition, at).await.expect("reads");
        assert_eq!(known(1, day(5)).await, Some(stood(&[])), "before the first record");
        assert_eq!(known(1, day(4) + HOUR).await, Some(stood(&[1, 2])));
        assert_eq!(known(2, day(4) + HOUR).await, Some(stood(&[])), "it was not there");
        assert_eq!(known(2, day(2)).await, Some(stood(&[9])));
        let now = ProcessingTime::from_ms(day(0) + HOUR);
        // Told to keep more again, what is gone stays gone; and with nothing left a partition is as silent as it was.
        for (days, first) in [(9, 9), (3, 3), (9, 3), (1, 1)] {
            store.forget(now, &Retention { windows_days: days, ..Retention::default() }).await.expect("deletes");
            for (partition, at, facilities) in [
                (1, day(4) + HOUR, vec![1, 2]),
                (1, day(3), vec![3]),
                (1, day(2) - 1, vec![3]),
                (2, day(3), vec![]),
                (2, day(2) - 1, vec![]),
                (1, day(1), if first > 1 { vec![4] } else { vec![] }),
                (2, day(1), if first > 1 { vec![9] } else { vec![] }),
            ] {
                let expected = (at >= day(first)).then(|| stood(&facilities));
                assert_eq!(known(partition, at).await, expected, "{days} days: partition {partition} at {at}");
            }
        }
        store.close().await;
    }
}

fn fix(tracker: &str, at: i64, longitude: &str, seq: u32) -> String {
    format!(
        r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[{longitude},-6.5]}},"properties":{{"device_id":"{tracker}","ts":{at},"seq":{seq},"boot_id":"b"}}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_and_missing_records() {
    for store in stores().await {
        let options = ["--store", store.as_str(), "--checkpoint-ms", "50"];
        let server = Server::start_with(&options).await;
        let start = now_ms() - 2 * HOUR;
        let numbered = |minute: i64, seq: u32| {
            format!(r#"{{"device_id":"box","ts":{},"temperature":5,"seq":{seq},"boot_id":7}}"#, start + minute * MINUTE)
        };
        server.accept(&[numbered(0, 1), fix("box", start + MINUTE, "107.25", 1), numbered(3, 4)]).await;
        server
            .accept(&[fix("box", start + 30 * MINUTE, "107.5", 2), numbered(29, 5), fix("box", start + 70 * MINUTE, "108", 3)])
            .await;
        let told = async |server: &Server| server.json(&format!("/api/v1/positions?device_id=box&from={}", rfc3339(start))).await;
        let at = |minute: i64| rfc3339(start + minute * MINUTE);
        let place = |minute: i64, longitude: f64| json!({"ts": at(minute), "longitude": longitude, "latitude": -6.5});
        let expected = json!({
            "device_id": "box", "missing": 2, "now": place(30, 107.5),
            "gaps": [{"count": 2, "after": at(0), "before": at(3)}],
            "positions": [
                {"ts": at(0), "fix": place(1, 107.25)},
                {"ts": at(3), "fix": place(1, 107.25)},
                {"ts": at(29), "fix": place(30, 107.5)},
            ],
        });
        assert_eq!(told(&server).await, expected);
        // The same number again: a repeat, or a conflict that names the field.
        let reply = server.post(numbered(3, 4)).await;
        assert_eq!(reply.json()["status"], "duplicate event", "{}", reply.text);
        let problem = server.post(numbered(4, 4)).await.problem(422);
        assert!(problem.to_string().contains("id_conflict") && problem["pointer"] == "/seq", "{problem}");
        let server = Server::start_in(server.stop().await, &options).await;
        assert_eq!(told(&server).await, expected);
        // They came, if too late for their window.
        let reply = server.post(format!("[{},{}]", numbered(1, 2), numbered(2, 3))).await;
        assert_eq!(reply.json()["late"], 2, "{}", reply.text);
        assert_eq!(told(&server).await["missing"], 0);
        let reply = server.post(fix("box", start + 70 * MINUTE, "108", 3)).await;
        assert_eq!(reply.json()["status"], "duplicate event", "{}", reply.text);
        server.stop().await;
        if store.starts_with("postgres:") {
            let mut postgres = PgConnection::connect(&store).await.expect("connects");
            let rows =
                "select device_id, at_ms, longitude::float8, latitude::float8 from bi.positions where at < now() order by at";
            let rows: Vec<(String, i64, f64, f64)> = sqlx::query_as(rows).fetch_all(&mut postgres).await.expect("reads");
            let row = |minute: i64, longitude| ("box".to_owned(), start + minute * MINUTE, longitude, -6.5);
            assert_eq!(rows, [row(1, 107.25), row(30, 107.5), row(70, 108.0)]);
        }
    }
}
