//! What others may write, or an older program has: nothing of it stops an installation for good.

use crate::kafka::{Place, SECOND};
use crate::kafka_rebuild::rebuild;
use crate::kafka_verify::{assert_whole, verified};
use crate::support::{Reply, Server, bare, now_ms, slot_now, stores, until};
use domain::engine::Pairing;
use domain::time::ProcessingTime;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::json;
use server::admission::Format;
use server::kafka::{CONTROL, DECISION, FIX, PAIRINGS};
use server::letters::{Decision, Verdict};
use server::log::{BlockKind, Draft, Log};
use server::store::{Store, StoreAddress};
use server::travel;

/// A NUL, which Postgres takes in no text, is refused, and one that an older program let into the log is read over.
#[tokio::test(flavor = "multi_thread")]
async fn no_store_is_told_a_nul() {
    for address in stores().await {
        let dir = tempfile::tempdir().expect("a directory");
        let verdict = Verdict::Discard("broken\0".to_owned());
        let old = Decision { letter: 1, by: "\0Sari".to_owned(), verdict }.encode(b"");
        let nobody = Pairing { tracker: "t\0".to_owned(), device: "d\0".to_owned(), from_ms: 0, to_ms: 1 };
        let note = travel::encode(&[nobody]);
        let mut log = Log::open(&dir.path().join("log"), |_| 0).expect("opens");
        let draft = |kind, body, records| Draft { kind, source: "test", body, records };
        let drafts = [
            draft(BlockKind::Records(Format::Ndjson), &b"{\n["[..], 2),
            draft(BlockKind::Decision, &old, 0),
            draft(BlockKind::Pairings, &note, 0),
        ];
        log.append(&drafts, ProcessingTime::from_ms(now_ms() - 60_000)).expect("appends");
        drop(log);
        let server = Server::start_in(dir, &["--store", &address]).await;
        for (by, reason) in [("Sa\0ri", "noise"), ("Sari", "no\0ise")] {
            let request = server.client.post(format!("{}/api/v1/dead-letters/2/discard", server.url));
            let request = request.header("content-type", "application/json").bearer_auth(&server.key);
            let body = json!({"by": by, "reason": reason}).to_string();
            Reply::of(request.body(body).send().await.expect("an answer")).await.problem(400);
        }
        server.accept(&[bare("d", now_ms(), "5")]).await;
        let dir = server.stop().await;
        let address: StoreAddress = address.parse().expect("an address");
        let store = Store::open(&address, dir.path()).await.expect("opens");
        let decided = store.decisions(0, 99).await.expect("reads");
        assert_eq!(decided.iter().map(|of| (of.letter, of.by.as_str())).collect::<Vec<_>>(), [(1, "\u{fffd}Sari")]);
        store.close().await;
    }
}

/// Whoever may write to a topic writes our messages, with what no store takes and of letters that are none: engines go on, and the books
/// are right.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_stops_an_engine() {
    let Some(place) = Place::new().await else { return };
    let server = place.server("web,ingest,engine").await;
    assert_eq!(server.post_lines(format!("{{\n{}", bare("d", slot_now(), "5"))).await.status, 202);
    place.stored(2).await;
    let letters = server.rows("/api/v1/dead-letters").await;
    let letter = letters[0]["position"].as_u64().expect("a number");
    let producer = place.producer();
    let topic = place.kafka.events();
    let with_nul = Pairing { tracker: "t".to_owned(), device: "d\0".to_owned(), from_ms: 0, to_ms: 1 };
    let fix = br#"{"device":"d\u0000"}
{"type":"Feature","geometry":{"type":"Point","coordinates":[107.6,-6.8]},"properties":{"device_id":"t","ts":1790000000000}}"#;
    for partition in 0..3 {
        // One that there is lies in one of these partitions; of the others it is none, and the next but some is none at all.
        let decisions = [letter, letter + 50 * 1_024, letter ^ 3].map(|letter| {
            let verdict = Verdict::Discard("\0".to_owned());
            (DECISION, Decision { letter, by: "nobody\0".to_owned(), verdict }.encode(b"").to_vec())
        });
        let replay = Decision { letter: letter + 7 * 1_024, by: "nobody".to_owned(), verdict: Verdict::Replay };
        let others = [
            (DECISION, replay.encode(bare("stranger", slot_now(), "5").as_bytes()).to_vec()),
            (PAIRINGS, travel::encode(std::slice::from_ref(&with_nul)).to_vec()),
            (FIX, fix.to_vec()),
        ];
        for (what, value) in decisions.into_iter().chain(others) {
            let headers = OwnedHeaders::new().insert(Header { key: CONTROL, value: Some(what) });
            let record = BaseRecord::<(), _>::to(&topic).partition(partition).payload(&value).headers(headers);
            producer.send(record).map_err(|(error, _)| error).expect("takes it");
        }
    }
    producer.flush(10 * SECOND).expect("is acknowledged");
    let lines: Vec<String> = (0..30).map(|n| bare(&format!("after-{n}"), slot_now(), "5")).collect();
    assert_eq!(server.post_lines(lines.join("\n")).await.status, 202);
    place.stored(32).await;
    let row = until("the letter is decided", async || {
        let rows = server.rows("/api/v1/dead-letters").await;
        (rows[0]["state"] == "discarded").then(|| rows[0].clone())
    })
    .await;
    assert_eq!(row["discarded_by"], "nobody\u{fffd}");
    assert_eq!(server.stats().await, [32, 31, 0, 0, 1]);
    server.stop().await;
    let store = place.store().await;
    let decided = store.decisions(0, u64::MAX >> 1).await.expect("reads");
    assert_eq!(decided.iter().map(|of| of.letter).collect::<Vec<_>>(), [letter]);
    store.close().await;
    assert_whole(&verified(&place).await.expect("tells"));
    rebuild(&place).expect("rebuilds");
    assert_whole(&verified(&place).await.expect("tells"));
}
