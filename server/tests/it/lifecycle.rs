//! Start, health, headers, stop, and start again.

use crate::support::{LONG, Server, args, bare, envelope, now_ms, slot_now, stores};
use server::lifecycle;
use server::store::Store;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics() {
    let server = Server::start().await;
    assert_eq!((server.get("/healthz").await.status, server.get("/readyz").await.status), (200, 200));
    let now = slot_now();
    server.accept(&[bare("d", now, "5"), bare("P110101-1-F1", now, "5")]).await;
    server.post(bare("d", now, "5")).await;
    server.post("{").await.problem(422);
    let metrics = server.get("/metrics").await;
    assert_eq!((metrics.status, metrics.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "# TYPE rantai_records_total counter",
        r#"rantai_records_total{topic="temperature",disposition="accepted"} 2"#,
        r#"rantai_records_total{topic="temperature",disposition="duplicate"} 1"#,
        r#"rantai_rejections_total{reason="malformed_json"} 1"#,
        r#"rantai_rejections_total{reason="too_old"} 0"#,
        "rantai_unregistered_devices 1",
        "rantai_lag_records 0",
        "rantai_live_streams 0",
        "# TYPE rantai_checkpoint_cpu_seconds_total counter",
    ] {
        assert!(metrics.text.lines().any(|l| l == line), "{line} in\n{}", metrics.text);
    }
    let open = server.get_with("/metrics", &[("accept", "application/openmetrics-text;version=1.0.0,*/*;q=0.1")]).await;
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text.contains("# TYPE rantai_records counter\nrantai_records_total{"), "{}", open.text);
    assert!(open.text.contains("# UNIT rantai_log_bytes bytes\n") && open.text.ends_with("# EOF\n"), "{}", open.text);
    // The older format knows neither, and names a counter in its head as in its lines.
    assert!(!metrics.text.contains("# UNIT") && !metrics.text.contains("# EOF"), "{}", metrics.text);
    for line in metrics.text.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        assert!(metrics.text.contains(&format!("# TYPE {name} ")) && metrics.text.contains(&format!("# HELP {name} ")), "{line}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_guarded() {
    let server = Server::start().await;
    for path in [
        "/stats",
        "/api/v1/windows",
        "/api/v1/regions/nowhere",
        "/api/docs",
        "/api/openapi.json",
        "/",
        "/no/such/page",
        "/metrics",
    ] {
        let reply = server.get(path).await;
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(reply.header("referrer-policy"), "same-origin", "{path}");
        let policy = reply.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"),
            "{path}: {policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"), "{path}: {policy}");
    }
    // A page's scripts run by a nonce that no other answer has.
    let nonces: Vec<String> = [server.get("/").await, server.get("/").await]
        .iter()
        .map(|page| {
            assert_eq!(page.status, 200);
            let policy = page.header("content-security-policy");
            let nonce = policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).expect("a nonce").to_owned();
            let scripts = page.text.split("<script").skip(1).filter_map(|script| script.split('>').next());
            for tag in scripts {
                assert!(tag.contains(&nonce) || tag.contains(r#"type="application/json""#), "{tag}"); // data is not run
            }
            assert!(!page.text.contains(" style=") && !page.text.contains(" onclick="));
            nonce
        })
        .collect();
    assert_ne!(nonces[0], nonces[1]);
    // Errors of the API are problems, whatever is wrong.
    server.get("/api/v1/nothing").await.problem(404);
    server.get("/ingest").await.problem(405);
    let reply = server.client.post(format!("{}/stats", server.url)).send().await.expect("an answer");
    crate::support::Reply::of(reply).await.problem(405);
    assert_eq!(server.get("/no/such/page").await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn theme() {
    let server = Server::start().await;
    for (query, location, cookie) in [
        ("to=dark&back=/regions/32", "/regions/32", "theme=dark;"),
        ("to=light", "/", "theme=light;"),
        ("to=system&back=//evil.example", "/", "theme=; Path=/; Max-Age=0"),
        ("to=dark&back=https://evil.example/", "/", "theme=dark;"),
        ("to=dark&back=/%5Cevil.example", "/", "theme=dark;"),
    ] {
        let reply = server.get(&format!("/settings/theme?{query}")).await;
        assert_eq!((reply.status, reply.header("location")), (303, location), "{query}");
        assert!(reply.header("set-cookie").starts_with(cookie), "{query}: {}", reply.header("set-cookie"));
    }
    for wrong in ["to=pink", "", "back=/"] {
        server.get(&format!("/settings/theme?{wrong}")).await.problem(400);
    }
    server.stop().await;
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rantai"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback() {
    let dir = tempfile::tempdir().expect("a directory");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let mut args = args(dir.path(), &[]);
        args.listen = address.parse().expect("an address");
        let error = lifecycle::start(&args).await.err().expect("refused").to_string();
        assert!(error.contains("loopback"), "{error}");
    }
    let data_dir = dir.path().to_str().expect("a plain path");
    let ended = program(&["serve", "--listen", "0.0.0.0:0", "--data-dir", data_dir]).output().expect("runs");
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && error.contains("loopback"), "{error}");
    assert!(ended.stdout.is_empty());
}

/// Where the log is Kafka's, nobody works on one in the data directory, whether the variable says so or the database.
#[tokio::test(flavor = "multi_thread")]
async fn beside_kafkas_log_there_is_none_in_the_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    std::fs::create_dir(&data).expect("makes");
    let refused = |arguments: &[&str], variables: &[(&str, &str)], words: &str| {
        let mut command = program(arguments);
        let ended = command.arg("--data-dir").arg(&data).envs(variables.iter().copied()).output().expect("runs");
        let error = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && error.contains(words), "{arguments:?}: {error}");
        assert!(!data.join("log").exists() && !copy.exists(), "{arguments:?} made a folder");
    };
    let discard = ["dead-letter", "discard", "1", "--reason", "noise", "--by", "Sari"];
    // As README.md says; nobody is there, and nobody is asked.
    let kafka = [("RANTAI_LOG", "kafka"), ("RANTAI_STORE", "postgres://nobody@127.0.0.1:1/none")];
    for (arguments, words) in [
        (&["verify"][..], "`rantai kafka verify`"),
        (&["rebuild"], "`rantai kafka rebuild`"),
        (&discard, "a server decides"),
        (&["backup", copy.to_str().expect("a plain path")], "that Kafka and Postgres do not have"),
    ] {
        refused(arguments, &kafka, words);
    }
    refused(&["verify"], &kafka[..1], "needs a store that several processes share");
    for address in stores().await.iter().filter(|address| *address != "sqlite") {
        let store = Store::open(&address.parse().expect("an address"), &data).await.expect("opens");
        store.kafka_partition("readings", 0).await.expect("gives a number");
        store.close().await;
        let words = "the database holds the state of Kafka's log";
        for arguments in [&["verify"][..], &["rebuild"], &discard] {
            refused(arguments, &[("RANTAI_STORE", address.as_str())], words);
        }
        let error = lifecycle::start(&args(&data, &["--store", address])).await.err().expect("refused").to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut args = args(&dir.path().join("data"), &[]);
    args.site_dir = Some(dir.path().join("nope"));
    let error = lifecycle::start(&args).await.err().expect("refused").to_string();
    assert!(error.contains("site-dir") && error.contains("nope"), "{error}");
}

/// Stored windows name their definition by its place: with others they would be something else.
#[tokio::test(flavor = "multi_thread")]
async fn other_windows_than_those_of_the_state_are_refused() {
    let server = Server::start().await;
    server.accept(&[bare("d", now_ms(), "5")]).await;
    let dir = server.stop().await;
    let others = [
        ["--windows", "20:60,300:120"],
        ["--windows", "10:60,300:120,300/10:120"],
        ["--windows", "10:60,300:120,session 900:60"],
        ["--allowed-lateness", "60"],
        ["--max-unregistered", "7"],
    ];
    for other in others {
        let error = format!("{:#}", lifecycle::start(&args(dir.path(), &other)).await.err().expect("refused"));
        assert!(error.contains("10000:60000,300000:120000") && error.contains("rebuild"), "{error}");
    }
    let same = ["--windows", "10:60,300:120"];
    let running = lifecycle::start(&args(dir.path(), &same)).await.expect("starts");
    running.stop.cancel();
    running.wait().await.expect("ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_a_directory() {
    let server = Server::start().await;
    let error = lifecycle::start(&args(server.dir(), &[])).await.err().expect("refused").to_string();
    assert!(error.contains("in use by process"), "{error}");
    let data_dir = server.dir().to_str().expect("a plain path").to_owned();
    // F10: refused within a second, and not for want of a turn on a busy machine.
    let tries = (0..20).map(|_| {
        let begun = Instant::now();
        let other = program(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &data_dir]).output().expect("runs");
        assert!(!other.status.success() && String::from_utf8_lossy(&other.stderr).contains("in use by process"));
        begun.elapsed()
    });
    let mut tries = tries.inspect(|took| println!("refused after {took:?}"));
    assert!(tries.any(|took| took < Duration::from_secs(1)), "it is never refused within a second");
    // The first goes on unharmed, and administration works beside it.
    server.accept(&[bare("d", now_ms(), "5")]).await;
    let made =
        program(&["key", "create", "--name", "gateway", "--scope", "ingest", "--data-dir", &data_dir]).output().expect("runs");
    let printed = String::from_utf8(made.stdout).expect("text");
    assert!(made.status.success() && printed.lines().count() == 1, "the key alone: {printed}");
    let bearer = format!("Bearer {}", printed.trim());
    assert_eq!(server.send(&[("authorization", &bearer)], bare("e", now_ms(), "5")).await.status, 200);
    let again =
        program(&["key", "create", "--name", "gateway", "--scope", "ingest", "--data-dir", &data_dir]).output().expect("runs");
    assert!(!again.status.success() && again.stdout.is_empty());
    // A place is free again once its server has stopped.
    let dir = server.stop().await;
    Server::start_in(dir, &[]).await.stop().await;
}

/// A key may come before the first start: the folder that it makes is this user's alone, as one that a start makes.
#[test]
fn a_key_before_the_first_start() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("deep/data");
    assert_eq!(crate::kill::make_key(&data).lines().count(), 1);
    for (made, expected) in [(&data, 0o700), (&dir.path().join("deep"), 0o700), (&data.join("rantai.db"), 0o600)] {
        let mode = std::fs::metadata(made).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, expected, "{}", made.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_and_start_keep_everything() {
    for store in stores().await {
        keep_everything(&["--store", &store]).await;
    }
}

async fn keep_everything(options: &[&str]) {
    let mut server = Server::start_with(options).await;
    let key = server.key.clone();
    // Away from the hour with which the last day of a region begins: it may pass in between.
    let (now, start) = (slot_now(), slot_now() - 72_000_000);
    for round in 0..3 {
        let records: Vec<String> = (0..50)
            .map(|i| envelope(&format!("{round}-{i}"), &format!("d{}", i % 7), start + (round * 50 + i) * 60_000, "5.5"))
            .collect();
        server.accept(&records).await;
        let mixed = [
            bare("P110101-1-F1", now + round, "4"),
            "{".to_owned(),
            envelope("0-0", "d0", start, "5.5"),
            envelope("x", "d0", now, "85"),
        ];
        server.post_lines(mixed.join("\n")).await;
        let before = everything(&server).await;
        server = Server::start_in(server.stop().await, options).await;
        // A key is kept too.
        server.key.clone_from(&key);
        assert_eq!(everything(&server).await, before);
        assert_eq!(server.post(envelope("0-0", "d0", start, "5.5")).await.json()["status"], "duplicate event");
    }
    server.stop().await;
}

/// All that can be read and does not tell the time.
async fn everything(server: &Server) -> Vec<(String, serde_json::Value)> {
    let mut all = Vec::new();
    for path in [
        "/stats?group=topic",
        "/stats?group=source",
        "/api/v1/late",
        "/api/v1/dead-letters",
        "/api/v1/regions/ID",
        "/api/v1/regions/11.01.01",
        "/api/v1/regions/unassigned",
        "/api/v1/latest",
        "/api/v1/map/facilities",
    ] {
        let mut answer = server.json(path).await;
        for moving in ["taken_at", "updated_at"] {
            if let Some(map) = answer.as_object_mut() {
                map.remove(moving);
            }
        }
        all.push((path.to_owned(), answer));
    }
    for path in ["/api/v1/windows", "/api/v1/windows?size=5m"] {
        all.push((path.to_owned(), server.rows(path).await.into()));
    }
    all
}

/// SIGTERM drains and ends with 0; what was acknowledged is there after it.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_stops_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut program = crate::kill::Program::start(dir.path()).await;
    let key = crate::kill::make_key(dir.path());
    let client = reqwest::Client::new();
    let posted = client
        .post(format!("{}/ingest", program.url))
        .bearer_auth(&key)
        .body(bare("d", now_ms(), "5"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(posted.status(), 200);
    drop(client);
    program.terminate();
    let exit = tokio::time::timeout(LONG, program.ended()).await.expect("in time");
    assert_eq!(exit.code(), Some(0));
    let again = crate::kill::Program::start(dir.path()).await;
    let stats: serde_json::Value =
        reqwest::get(format!("{}/stats", again.url)).await.expect("an answer").json().await.expect("JSON");
    assert_eq!(stats["unique_processed"], 1);
}
