//! No file handles: whatever the program would open it cannot, while it runs.

use super::calls::{Life, insist, small, start};
use crate::kill::Program;
use crate::support::{LONG, is_soon, now_ms, until};
use domain::time::HOUR_MS;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it is left without.
const WITHOUT: Duration = Duration::from_millis(600);
/// Of a second of it the program may work so much: what fails is not tried without end.
const BUSY: f64 = 0.3;

/// How many handles the program may have so that `spare` more can be had than are.
fn limit_of(program: &Program, spare: u64) -> u64 {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", program.id())).expect("it runs");
    let open: BTreeSet<u64> =
        entries.map(|e| e.expect("an entry").file_name().to_str().expect("text").parse().expect("a number")).collect();
    // New ones get the lowest numbers.
    (0..).filter(|number| !open.contains(number)).nth(spare as usize).expect("numbers do not end")
}

/// What the limit was before.
fn set_limit(program: &Program, current: Option<u64>) -> Rlimit {
    let pid = Pid::from_raw(program.id() as i32).expect("a process");
    prlimit(Some(pid), Resource::Nofile, Rlimit { current, maximum: maximum(pid) }).expect("may be limited")
}

/// The hard limit stays as it is.
fn maximum(pid: Pid) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).expect("it runs");
    let line = text.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    line.split_whitespace().nth(4).expect("a column").parse().ok()
}

/// Processor time that it has used.
fn cpu(program: &Program) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", program.id())).expect("it runs");
    let (_, rest) = text.rsplit_once(')').expect("a name");
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// The status and the `retry-after` of the answer to `request`, sent over a connection that is open already: where the client begins another,
/// as it does while the last answer has not quite left that one, it waits in vain, and asks again.
async fn answered(request: &reqwest::RequestBuilder) -> (u16, String) {
    until("an answer: the program lives", async || {
        let answer = request.try_clone().expect("a body in memory").timeout(WITHOUT).send().await.ok()?;
        let retry = answer.headers().get("retry-after").map(|value| value.to_str().expect("a number").to_owned());
        let status = answer.status().as_u16();
        answer.bytes().await.ok().map(|_| (status, retry.unwrap_or_default()))
    })
    .await
}

/// With none to spare, and with one, two, three: each time something else is the first that lacks one. Records are taken in or their
/// senders asked to come again, the program does not end, and goes on by itself when there are handles again.
#[tokio::test(flavor = "multi_thread")]
async fn without_file_handles_it_waits() {
    for spare in 0..4 {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        let Ok(mut program) = start(small(), &data).await else { panic!("no start") };
        let master = Arc::new(server::data::master().expect("master data"));
        let life = Life { before: None, posts: 0..8, base: now_ms() - 2 * HOUR_MS, master };
        let key = super::calls::key(&data).await;
        let client = reqwest::Client::new();
        assert_eq!(insist(&client, &program, &key, &life.body(0)).await, Some(0));
        let normal = set_limit(&program, Some(limit_of(&program, spare)));
        let (mut told, mut refused) = (1, 0);
        for post in 1..5 {
            let request = client.post(format!("{}/ingest", program.url)).bearer_auth(&key);
            let request = request.header("content-type", "application/x-ndjson").body(life.body(post));
            let (status, retry) = answered(&request).await;
            match status {
                200 => told += 1,
                503 => {
                    assert!(is_soon(&retry));
                    refused += 1;
                    break;
                }
                other => panic!("{other}"),
            }
        }
        assert!(refused > 0 || spare > 0, "a segment was begun without a handle");
        let stats = client.get(format!("{}/stats", program.url));
        assert_eq!(answered(&stats).await.0, 200, "reads go on");
        // Somebody who comes now waits, and so does the program.
        let _waits = std::net::TcpStream::connect(program.url.trim_start_matches("http://")).expect("the system takes it in");
        let (since, before) = (Instant::now(), cpu(&program));
        until("a while has passed", async || (since.elapsed() >= WITHOUT).then_some(())).await;
        let busy = cpu(&program).saturating_sub(before).as_secs_f64() / since.elapsed().as_secs_f64();
        assert!(busy < BUSY, "it works all the time without a handle: {busy}");
        assert_eq!(program.has_ended(), None);
        set_limit(&program, normal.current);
        for post in told..life.posts.end {
            insist(&client, &program, &key, &life.body(post)).await.expect("the program lives");
        }
        let unique =
            reqwest::get(format!("{}/stats", program.url)).await.expect("a new connection").json::<serde_json::Value>().await;
        assert_eq!(unique.expect("JSON")["unique_processed"], life.posts.end * 11);
        program.terminate();
        assert!(tokio::time::timeout(LONG, program.ended()).await.expect("it ends").success(), "{spare} to spare");
        life.verify(&data, &format!("{spare} handles to spare")).await;
    }
}
