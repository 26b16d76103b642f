//! Dead letters: listed, shown, taken in again and discarded, by the API, by the forms of their pages, and by command.

use crate::kill::{Program, make_key};
use crate::support::{Reply, Server, envelope, now_ms, stores, until};
use domain::time::ProcessingTime;
use serde_json::{Value, json};
use server::store::{Retention, Store, StoreAddress};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const MINUTE: i64 = 60_000;

async fn decide(server: &Server, position: u64, action: &str, body: &Value, headers: &[(&str, &str)]) -> Reply {
    let mut request =
        server.client.post(format!("{}/api/v1/dead-letters/{position}/{action}", server.url)).body(body.to_string());
    if !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/json");
    }
    if !headers.iter().any(|(name, _)| *name == "authorization") {
        request = request.bearer_auth(&server.key);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::of(request.send().await.expect("an answer")).await
}

async fn letters(server: &Server) -> Vec<Value> {
    server.rows("/api/v1/dead-letters").await
}

/// A server with three dead letters, at the positions 1, 2 and 3: out of range, not JSON, a sensor's code.
async fn with_letters() -> Server {
    let server = Server::start_with(&["--checkpoint-ms", "30"]).await;
    let now = now_ms();
    server.post_lines([envelope("a", "d", now, "500"), "{".to_owned(), envelope("c", "d", now - MINUTE, "85")].join("\n")).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_decided_once() {
    let server = with_letters().await;
    let open = letters(&server).await;
    assert_eq!(open.len(), 3);
    for row in &open {
        let decided = [&row["state"], &row["replayed_as"], &row["discarded_by"], &row["discard_reason"]];
        assert_eq!(decided, [&json!("open"), &Value::Null, &Value::Null, &Value::Null]);
    }
    // Still refused: a letter of its own, and the first is done.
    let first = decide(&server, 1, "replay", &json!({"by": " Sari "}), &[]).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let told = first.json();
    assert_eq!((&told["state"], &told["replayed_as"], &told["disposition"]), (&json!("replayed"), &json!(4), &json!("rejected")));
    assert_eq!(told["decided_by"], "Sari");
    for _ in 0..3 {
        assert_eq!(decide(&server, 1, "replay", &json!({"by": "Budi"}), &[]).await.json(), told, "however often");
    }
    decide(&server, 1, "discard", &json!({"by": "Budi", "reason": "no"}), &[]).await.problem(409);
    let second = decide(&server, 2, "discard", &json!({"by": "Budi", "reason": "half a record"}), &[]).await;
    assert_eq!((second.status, &second.json()["discard_reason"]), (200, &json!("half a record")));
    decide(&server, 2, "replay", &json!({"by": "Budi"}), &[]).await.problem(409);
    let rows = letters(&server).await;
    let states: Vec<&str> = rows.iter().map(|row| row["state"].as_str().expect("a text")).collect();
    assert_eq!(states, ["replayed", "discarded", "open", "open"]);
    assert_eq!((&rows[0]["replayed_as"], &rows[1]["discarded_by"]), (&json!(4), &json!("Budi")));
    assert_eq!(rows[3]["raw"], rows[0]["raw"]);
    assert_eq!(server.stats().await, [4, 0, 0, 0, 4]);
    // Many at once, of one letter: once.
    let at_once = (0..20).map(|_| decide(&server, 4, "replay", &Value::Null, &[]));
    for reply in futures::future::join_all(at_once).await {
        reply.problem(400);
    }
    let by = json!({"by": "Sari"});
    let at_once = (0..20).map(|_| decide(&server, 4, "replay", &by, &[]));
    for reply in futures::future::join_all(at_once).await {
        assert_eq!((reply.status, &reply.json()["replayed_as"]), (200, &json!(5)));
    }
    // A restart knows all of it.
    let before = letters(&server).await;
    let server = Server::start_in(server.stop().await, &[]).await;
    assert_eq!(letters(&server).await, before);
    assert_eq!(decide(&server, 1, "replay", &json!({"by": "Sari"}), &[]).await.json(), told);
    server.stop().await;
}

/// What BI tools read of it.
#[tokio::test(flavor = "multi_thread")]
async fn views_tell_books_and_decisions() {
    let Some(postgres) = stores().await.into_iter().nth(1) else { return };
    let server = Server::start_with(&["--store", &postgres, "--checkpoint-ms", "30"]).await;
    let begun = now_ms();
    server.post_lines([envelope("a", "d", begun, "5"), envelope("b", "d", begun, "500"), "{".to_owned()].join("\n")).await;
    decide(&server, 3, "discard", &json!({"by": "Budi", "reason": "half a record"}), &[]).await;
    let pool = sqlx::PgPool::connect(&postgres).await.expect("connects");
    let decided: (i64, String, String, Option<i64>, Option<String>) = until("the decision is stored", async || {
        // Of this hour: a timestamp with its time zone.
        let text = "select position, decided_by, outcome, replayed_as, reason from bi.decisions
                    where decided_at between now() - interval '1 hour' and now() + interval '1 minute'";
        sqlx::query_as(text).fetch_optional(&pool).await.expect("reads")
    })
    .await;
    assert_eq!(decided, (3, "Budi".to_owned(), "discarded".to_owned(), None, Some("half a record".to_owned())));
    let text = "select received, accepted, duplicate, late, rejected from bi.daily_books
                where day > now() - interval '2 days' order by received";
    let books: Vec<(i64, i64, i64, i64, i64)> = sqlx::query_as(text).fetch_all(&pool).await.expect("reads");
    assert_eq!(books, [(1, 0, 0, 0, 1), (2, 1, 0, 0, 1)], "what cannot be read is of no topic");
    let gaps: i64 = sqlx::query_scalar("select count(*) from bi.accepted_gaps").fetch_one(&pool).await.expect("reads");
    assert_eq!(gaps, 0);
    pool.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_is_said() {
    let server = with_letters().await;
    let by = json!({"by": "Sari"});
    decide(&server, 9, "replay", &by, &[]).await.problem(404);
    for (action, body) in [
        ("replay", json!({})),
        ("replay", json!({"by": "  "})),
        ("replay", json!({"by": "x".repeat(101)})),
        ("replay", json!({"by": "Sari", "why": "?"})),
        ("discard", json!({"by": "Sari"})),
        ("discard", json!({"by": "Sari", "reason": "x".repeat(501)})),
    ] {
        decide(&server, 1, action, &body, &[]).await.problem(400);
    }
    decide(&server, 1, "replay", &by, &[("content-type", "text/plain")]).await.problem(415);
    decide(&server, 1, "replay", &by, &[("sec-fetch-site", "cross-site")]).await.problem(403);
    decide(&server, 1, "replay", &by, &[("origin", "http://evil.example")]).await.problem(403);
    decide(&server, 1, "replay", &by, &[("host", "evil.example")]).await.problem(421);
    assert!(letters(&server).await.iter().all(|row| row["state"] == "open"));
    server.stop().await;
}

/// A program on this machine that neither has a key for it nor can read the data directory decides nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_decide() {
    let server = with_letters().await;
    let by = json!({"by": "Sari", "reason": "x"});
    let of = async |bearer: &str| decide(&server, 1, "discard", &by, &[("authorization", bearer)]).await;
    for nobody in ["", "Bearer ", "Bearer rantai_0000", &server.key] {
        assert_eq!(of(nobody).await.header("www-authenticate"), "Bearer", "{nobody}");
        of(nobody).await.problem(401);
    }
    for scope in ["ingest", "read"] {
        of(&format!("Bearer {}", server.make_key(scope, scope).await)).await.problem(403);
    }
    // What is a wrong wish, or of no letter, a stranger is not told.
    decide(&server, 9, "replay", &json!({}), &[("authorization", "Bearer x")]).await.problem(401);
    assert!(letters(&server).await.iter().all(|row| row["state"] == "open"));
    // Who can read the lock is of this user.
    let lock = server.dir().join("lock");
    let mode = std::fs::metadata(&lock).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(&lock).expect("reads").lines().nth(2).expect("a token").to_owned();
    assert_eq!(of(&format!("Bearer {token}")).await.status, 200);
    let record = server.send(&[("authorization", &format!("Bearer {token}"))], envelope("e", "d", now_ms(), "5")).await;
    assert_eq!(record.status, 401, "it is no key for records");
    // With a key from afar.
    let ask = |position: &str, key: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rantai"));
        command.args(["dead-letter", "discard", position, "--by", "Sari", "--reason", "x", "--url", &server.url]);
        command.env_remove("RANTAI_KEY").envs(key.map(|key| ("RANTAI_KEY", key))).output().expect("runs")
    };
    let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let without = ask("2", None);
    assert!(!without.status.success() && told(&without.stderr).contains("wants a key"), "{}", told(&without.stderr));
    let done = ask("2", Some(&server.key));
    assert!(done.status.success() && told(&done.stdout) == "2: discarded\n", "{}", told(&done.stderr));
    // A restart makes another token.
    let server = Server::start_in(server.stop().await, &[]).await;
    decide(&server, 3, "discard", &by, &[("authorization", &format!("Bearer {token}"))]).await.problem(401);
    server.stop().await;
}

/// What the forms of a page send along.
fn token_of(page: &str) -> String {
    let (_, after) = page.split_once("name=\"token\" value=\"").unwrap_or_else(|| panic!("no token: {page}"));
    after.split('"').next().expect("it ends").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_works_by_plain_forms() {
    let server = with_letters().await;
    let page = server.get("/pipeline/dead-letters/1?lang=en").await;
    assert_eq!(page.status, 200, "{}", page.text);
    for words in ["Dead letter 1", "Waiting for a decision", "out_of_range", "&quot;temperature&quot;:500", "method=\"post\""] {
        assert!(page.text.contains(words) || page.text.contains(&words.replace("&quot;", "\"")), "{words}");
    }
    assert_eq!(server.get("/pipeline/dead-letters/99").await.status, 404);
    assert_eq!(server.get("/pipeline/dead-letters/x").await.status, 404);
    let mut tokens = Vec::new();
    for position in 1..=3 {
        tokens.push(token_of(&server.get(&format!("/pipeline/dead-letters/{position}")).await.text));
    }
    let send_as = async |token: &str, position: u64, action: &str, body: &str, site: &str| {
        let body = format!("token={token}&{body}");
        let request = server.client.post(format!("{}/pipeline/dead-letters/{position}/{action}", server.url));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        Reply::of(request.header("sec-fetch-site", site).send().await.expect("an answer")).await
    };
    let send = async |position: u64, action: &str, body: &str, site: &str| {
        send_as(&tokens[position as usize - 1], position, action, body, site).await
    };
    send(1, "discard", "by=Sari&reason=x", "cross-site").await.problem(403);
    // A form that somebody else made up, or took from the page of another letter.
    for token in ["", "0", &tokens[1]] {
        send_as(token, 1, "discard", "by=Sari&reason=x", "same-origin").await.problem(403);
    }
    let back = send(1, "discard", "by=Sari&reason=", "same-origin").await;
    assert_eq!((back.status, back.header("location")), (303, "/pipeline/dead-letters/1?wrong=reason"));
    assert!(server.get("/pipeline/dead-letters/1?wrong=reason&lang=en").await.text.contains("Enter the reason."));
    let back = send(1, "discard", "by=Sari+%C3%BC&reason=broken+sensor", "same-origin").await;
    assert_eq!((back.status, back.header("location")), (303, "/pipeline/dead-letters/1"));
    let page = server.get("/pipeline/dead-letters/1").await.text;
    assert!(
        page.contains("Dibuang")
            && page.contains("broken sensor")
            && page.contains("Sari ü")
            && !page.contains("<form class=\"panel")
    );
    let back = send(1, "replay", "by=Budi", "same-origin").await;
    assert_eq!(back.header("location"), "/pipeline/dead-letters/1?wrong=decided");
    send(3, "replay", "by=Budi", "same-origin").await;
    let page = server.get("/pipeline/dead-letters/3?lang=en").await.text;
    assert!(page.contains("Refused again") && page.contains("/pipeline/dead-letters/4"), "{page}");
    assert!(server.get("/pipeline/dead-letters/4?lang=en").await.text.contains("Replay of"));
    assert!(server.get("/pipeline?lang=en").await.text.contains("/pipeline/dead-letters/4"));
    server.stop().await;
}

/// A reason's newest letter is no link any more once retention has taken it.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_gone_is_not_linked_to() {
    let server = with_letters().await;
    let all: Vec<u64> = letters(&server).await.iter().map(|row| row["position"].as_u64().expect("a position")).collect();
    let last = format!("/pipeline/dead-letters/{}\"", all.iter().max().expect("some"));
    assert!(server.get("/pipeline").await.text.contains(&last));
    for position in &all {
        decide(&server, *position, "discard", &json!({"by": "Sari", "reason": "noise"}), &[]).await;
    }
    let dir = server.stop().await;
    let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
    let later = ProcessingTime::from_ms(now_ms()).plus_ms(400 * 86_400_000);
    store.forget(later, &Retention { side_days: 30, ..Retention::default() }).await.expect("deletes");
    store.close().await;
    let server = Server::start_in(dir, &[]).await;
    assert_eq!(letters(&server).await, Vec::<Value>::new());
    let page = server.get("/pipeline").await.text;
    assert!(page.contains("out_of_range") && !page.contains("/pipeline/dead-letters/"), "{page}");
    server.stop().await;
}

fn run(dir: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rantai"));
    let out =
        command.arg("dead-letter").args(arguments).arg("--data-dir").arg(dir).env("RUST_LOG", "error").output().expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.success(), text(&out.stdout), text(&out.stderr))
}

/// By command, beside a running server and without one: the same.
#[tokio::test(flavor = "multi_thread")]
async fn by_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = make_key(dir.path());
    let mut program = Program::start(dir.path()).await;
    let now = now_ms();
    let body = (0..4).map(|n| envelope(&format!("e{n}"), "d", now, "500")).collect::<Vec<_>>().join("\n");
    let request = reqwest::Client::new().post(format!("{}/ingest", program.url)).bearer_auth(&key);
    let sent = request.header("content-type", "application/x-ndjson").body(body).send().await.expect("an answer");
    assert_eq!(sent.status(), 200);
    let list = async |lines: usize| {
        until("the checkpoint", async || {
            let (done, text, error) = run(dir.path(), &["list", "--state", "open"]);
            assert!(done, "{error}");
            (text.lines().count() == lines).then_some(text)
        })
        .await
    };
    let text = list(4).await;
    assert!(text.lines().all(|line| line.contains("\topen\tout_of_range\tpayload.temperature\ttest")), "{text}");
    let (done, text, _) = run(dir.path(), &["show", "2"]);
    assert!(done && text.contains("state      open") && text.ends_with("\"temperature\":500}}\n"), "{text}");
    // Beside the server.
    let (done, text, error) = run(dir.path(), &["discard", "1", "--by", "Sari", "--reason", "a test"]);
    assert!(done && text == "1: discarded\n", "{text}{error}");
    let (done, text, error) = run(dir.path(), &["replay", "2", "1", "--by", "Sari"]);
    assert!(!done && text == "2: replayed as 5, rejected\n" && error.contains("something else was decided"), "{text}{error}");
    program.terminate();
    assert!(program.ended().await.success());
    // Without one.
    let (done, text, error) = run(dir.path(), &["replay", "2", "3", "--by", "Budi"]);
    assert!(done && text == "2: replayed as 5, rejected\n3: replayed as 6, rejected\n", "{text}{error}");
    let (done, text, _) = run(dir.path(), &["show", "3"]);
    assert!(done && text.contains("replayed   as 6, rejected, by Budi"), "{text}");
    let (done, _, error) = run(dir.path(), &["replay", "99", "--by", "Budi"]);
    assert!(!done && error.contains("there is no dead letter at position 99"), "{error}");
    assert!(!run(dir.path(), &["show", "99"]).0);
    assert_eq!(list(3).await.lines().count(), 3);
    let verified =
        Command::new(env!("CARGO_BIN_EXE_rantai")).args(["verify", "--data-dir"]).arg(dir.path()).output().expect("runs");
    let report = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && report.contains("6 rejected = 3 open + 2 replayed + 1 discarded"), "{report}");
}

/// The pages of the list: every dead letter once, newest first; of those that wait for a decision the same.
#[tokio::test(flavor = "multi_thread")]
async fn all_are_found_page_by_page() {
    let server = Server::start().await;
    let records: Vec<String> = (0..120).map(|n| format!(r#"{{"device_id":"k","ts":{n}}}"#)).collect();
    server.post_lines(records.join("\n")).await;
    let all: Vec<u64> = letters(&server).await.iter().rev().map(|row| row["position"].as_u64().expect("a number")).collect();
    assert_eq!(all.len(), 120);
    for position in all.iter().step_by(2) {
        server.discard(position).await;
    }
    let open: Vec<u64> = all.iter().copied().skip(1).step_by(2).collect();
    for (choice, expected) in [("", &all), ("state=open&", &open)] {
        let (mut found, mut next) = (Vec::new(), Some(format!("/pipeline/dead-letters?{choice}")));
        while let Some(page) = next {
            let html = server.get(&page).await.text;
            let table = html.split("<tbody>").nth(1).and_then(|rest| rest.split("</tbody>").next()).expect("a table");
            let positions = table.split("href=\"/pipeline/dead-letters/").skip(1);
            found.extend(positions.map(|rest| rest.split('"').next().and_then(|n| n.parse::<u64>().ok()).expect("a position")));
            let older = html.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
            next = older.map(|link| link.replace("&amp;", "&"));
        }
        assert_eq!(&found, expected, "{choice}");
    }
}
