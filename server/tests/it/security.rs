//! What somebody of ill will would try.

use crate::kill::{Program, make_key};
use crate::support::{Server, bare, now_ms};
use sha2::Digest;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The answer to `text` as it is, up to the end of the connection.
async fn raw(server: &Server, text: &str) -> String {
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.expect("accepted");
    stream.write_all(text.as_bytes()).await.expect("taken");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// What a stranger chooses stands in the title of a page as text.
#[tokio::test(flavor = "multi_thread")]
async fn no_markup_through_a_title() {
    let server = Server::start().await;
    let device = "<meta http-equiv=refresh content=0>&amp;";
    server.accept(&[bare(device, now_ms(), "5")]).await;
    let markup = "%3Cmeta%20http-equiv%3Drefresh%20content%3D0%3E%26amp%3B";
    for address in [format!("/search?q=%3C%2Ftitle%3E{markup}"), format!("/devices/{markup}")] {
        let page = server.get(&address).await;
        assert!(page.status == 200 && page.header("content-type").starts_with("text/html"), "{address}: {}", page.status);
        assert!(!page.text.contains("<meta http-equiv=refresh"), "{address}");
        assert_eq!(page.text.matches("</title>").count(), 1, "{address}");
        let title = page.text.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next()).expect("a title");
        assert!(title.contains("&lt;meta http-equiv=refresh content=0>&amp;amp;"), "{title}");
    }
    server.stop().await;
}

/// Every file below `dir` with its bytes.
fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("reads") {
        let path = entry.expect("reads").path();
        if path.is_dir() {
            files.append(&mut files_below(&path));
        } else {
            let bytes = std::fs::read(&path).expect("reads");
            files.push((path, bytes));
        }
    }
    files
}

/// Who gets hold of the data folder has no key: neither its text nor its bytes are in any file of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_nowhere_on_the_disk() {
    let server = Server::start().await;
    let (key, revoked) = (server.make_key("kunci-gudang", "ingest").await, server.make_key("kunci-lama", "ingest,read").await);
    for key in [&key, &revoked] {
        let bearer = format!("Bearer {key}");
        assert_eq!(server.send(&[("authorization", &bearer)], bare("d", now_ms(), "5")).await.status, 200);
    }
    server.revoke_key("kunci-lama").await;
    let check = |dir: &Path| {
        let files = files_below(dir);
        let holds = |wanted: &[u8]| {
            let found = files.iter().find(|(_, bytes)| memchr::memmem::find(bytes, wanted).is_some());
            found.map(|(path, _)| path.clone())
        };
        // What is there is found.
        assert!(holds(b"kunci-gudang").is_some() && holds(&sha2::Sha256::digest(&key)).is_some());
        for key in [&key, &revoked] {
            let digits = &key["rantai_".len()..];
            let bytes: Vec<u8> =
                (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("digits")).collect();
            for wanted in [digits.as_bytes(), digits.to_uppercase().as_bytes(), &bytes] {
                assert_eq!(holds(wanted), None);
            }
        }
    };
    check(server.dir());
    check(server.stop().await.path());
}

/// What a process holds in memory, by the name of `/proc/PID/status`, in KiB.
fn memory_of(program: &Program, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")
}

/// Ten gigabytes in a body of some hundred kilobytes or of ten megabytes are refused, and take no more room than a large body does.
#[tokio::test(flavor = "multi_thread")]
async fn bombs_stay_small() {
    const MIB: usize = 1024 * 1024;
    let dir = tempfile::tempdir().expect("a directory");
    let key = make_key(dir.path());
    let mut program = Program::start(dir.path()).await;
    let client = reqwest::Client::new();
    let post = async |encoding: &str, body: Vec<u8>| {
        let request = client.post(format!("{}/ingest", program.url)).bearer_auth(&key).header("content-encoding", encoding);
        request.body(body).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(post("identity", bare("d", now_ms(), "5").into_bytes()).await, 200);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let zeros = vec![0; 64 * MIB];
    let frame = zstd::encode_all(&zeros[..], 1).expect("in memory");
    let member = gzip(&zeros[..10 * MIB]);
    let many = |part: &[u8], times: usize| part.repeat(times.min((10 * MIB - 1) / part.len()));
    let bombs = [("zstd", many(&frame, 160)), ("gzip", many(&member, 1_024)), ("gzip", member.clone()), ("zstd", frame.clone())];
    drop(zeros);
    std::fs::write(format!("/proc/{}/clear_refs", program.id()), "5").expect("it is our own");
    let before = memory_of(&program, "VmRSS:");
    for (encoding, bomb) in bombs {
        let len = bomb.len();
        assert_eq!(post(encoding, bomb).await, 413, "{encoding}, {len} bytes");
        let grown = memory_of(&program, "VmHWM:") - before;
        assert!(grown < 32 * 1024, "{grown} KiB more for {len} bytes of {encoding}");
    }
    // One in another is none that anybody here opens.
    assert_eq!(post("gzip, gzip", gzip(&member)).await, 415);
    program.terminate();
    assert!(program.ended().await.success());
}

/// A foreign name that was made to point at this machine reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn only_under_our_own_name() {
    let server = Server::start().await;
    for path in [
        "/",
        "/stats",
        "/api/v1/latest",
        "/live?topics=pipeline",
        "/healthz",
        "/favicon.svg",
        "/no/such",
        "/api/pages/region?code=ID",
    ] {
        for host in ["evil.example", "127.0.0.1.evil.example", "169.254.169.254", "x@127.0.0.1", ""] {
            server.get_with(path, &[("host", host)]).await.problem(421);
        }
    }
    let port = server.url.rsplit_once(':').expect("a port").1;
    for host in [format!("localhost:{port}"), format!("[::1]:{port}"), "LOCALHOST".to_owned()] {
        assert_eq!(server.get_with("/healthz", &[("host", &host)]).await.status, 200, "{host}");
    }
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\n", "400"),
        ("GET /healthz HTTP/1.0\r\n", "200"),
        ("GET http://evil.example/healthz HTTP/1.1\r\nhost: localhost\r\n", "421"),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n", "421"),
    ] {
        let answer = raw(&server, &format!("{head}connection: close\r\n\r\n")).await;
        assert_eq!(answer.get(9..12), Some(status), "{head}{answer}");
    }
    server.stop().await;
}

/// What is kept in caches is what it says it is, for everybody.
#[tokio::test(flavor = "multi_thread")]
async fn caches_keep_files_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let pkg = dir.path().join("site/pkg");
    std::fs::create_dir_all(&pkg).expect("a folder");
    std::fs::write(pkg.join("rantai-abc.js"), "1").expect("a file");
    std::fs::write(dir.path().join("site/robots.txt"), "1").expect("a file");
    let server = Server::start_in(dir, &[]).await;
    for (path, status, cache) in [
        ("/pkg/rantai-abc.js", 200, "public, max-age=31536000, immutable"),
        ("/pkg/rantai-deadbeef.js", 404, "no-cache"),
        ("/robots.txt", 200, "public, max-age=0, must-revalidate"),
        ("/regions/32.17", 200, "no-cache"),
        ("/regions/32.17?lang=en", 200, "no-cache"),
        ("/", 200, "no-cache"),
        ("/no.such", 404, "no-cache"),
    ] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.header("cache-control")), (status, cache), "{path}");
        if reply.header("content-type").starts_with("text/html") {
            let vary: Vec<_> = reply.headers.get_all("vary").iter().filter_map(|v| v.to_str().ok()).collect();
            assert!(vary.join(",").contains("cookie"), "{path}: {vary:?}");
        }
    }
    server.stop().await;
}

/// Whatever goes wrong is a problem, also in parts that are not ours.
#[tokio::test(flavor = "multi_thread")]
async fn every_error_is_a_problem() {
    let server = Server::start().await;
    server.get("/api/pages/region?code=zzz").await.problem(404);
    server.get("/api/pages/region").await.problem(400);
    server.get("/api/pages/nothing").await.problem(404);
    assert_eq!(server.get("/api/pages/region?code=ID").await.status, 200);
    server.stop().await;
}

/// Any node of the hierarchy, down to the village.
#[tokio::test(flavor = "multi_thread")]
async fn villages_are_regions() {
    let server = Server::start().await;
    let village = server.json("/api/v1/regions/32.17.05.2001").await;
    assert_eq!((village["code"].as_str(), village["level"].as_str()), (Some("32.17.05.2001"), Some("village")));
    assert_eq!(village["path"].as_array().map(Vec::len), Some(5), "{village}");
    let hour = now_ms() - now_ms() % 3_600_000;
    let known = server.json(&format!("/api/v1/regions/32.17.05.2001?as_known_at={hour}")).await;
    assert_eq!(known["hours"].as_array().map(Vec::len), Some(0));
    let page = server.get("/regions/32.17.05.2001").await;
    assert_eq!(page.status, 200);
    let district = server.get("/regions/32.17.05").await.text;
    assert!(district.contains("href=\"/regions/32.17.05.2001\""), "its district lists it");
    // It has no facility of its own: it names those of its district.
    let facility = page.text.split("href=\"/facilities/").nth(1).and_then(|rest| rest.split('"').next()).expect("a facility");
    assert!(facility.starts_with("P321705-") && district.contains(facility), "{facility}");
    let name = village["name"].as_str().expect("a name");
    let found = server.json(&format!("/api/pages/search?text={name}")).await;
    let found = found.as_array().expect("a list");
    assert!(found.iter().any(|hit| hit["href"] == "/regions/32.17.05.2001"), "{found:?}");
    assert_eq!(server.get("/regions/32.17.05.9999").await.status, 404);
    server.get("/api/v1/regions/32.17.05.9999").await.problem(404);
    server.stop().await;
}

/// What does not change goes over the line once, and packed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_not_sent_again() {
    let server = Server::start().await;
    for path in ["/api/v1/map/facilities", "/api/pages/map/conditions?region=11"] {
        let packed = server.client.get(format!("{}{path}", server.url)).header("accept-encoding", "gzip");
        let packed = packed.send().await.expect("an answer");
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        let tag = packed.headers()["etag"].to_str().expect("text").to_owned();
        let again = server.get_with(path, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status, again.text.as_str()), (304, ""));
        assert_eq!(server.get_with(path, &[("if-none-match", "W/\"0\"")]).await.status, 200);
    }
    let live = server.client.get(format!("{}/live?topics=pipeline", server.url)).header("accept-encoding", "gzip, br");
    assert!(live.send().await.expect("an answer").headers().get("content-encoding").is_none());
    server.stop().await;
}

/// Senders who announce much and send nothing keep nobody out, and hold up no stop.
#[tokio::test(flavor = "multi_thread")]
async fn idle_senders_take_no_room() {
    let server = Server::start().await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.expect("accepted");
        let head = format!(
            "POST /ingest HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 10485760\r\n\r\n[",
            server.key
        );
        stream.write_all(head.as_bytes()).await.expect("taken");
        idle.push(stream);
    }
    // All of them have begun by the time that one more is answered after they are seen to wait.
    let now = now_ms();
    for n in 0..50 {
        server.accept(&[bare("d", now - n, "5")]).await;
    }
    let stopped = tokio::time::timeout(Duration::from_secs(8), server.stop()).await;
    assert!(stopped.is_ok(), "half a body holds up the stop");
}
