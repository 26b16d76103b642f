//! Whole runs against a server that keeps what it is sent.

use clap::Parser;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: simulator::SimulateArgs,
}

/// The bodies of a run, in the order of arrival.
type Bodies = Arc<Mutex<Vec<Vec<u8>>>>;

async fn answer(mut stream: TcpStream, bodies: Bodies) -> Option<()> {
    loop {
        let mut request = Vec::new();
        let body_at = loop {
            if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut request).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&request[..body_at]).to_lowercase();
        let length: usize = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
        while request.len() < body_at + length {
            stream.read_buf(&mut request).await.ok()?;
        }
        let body = request.split_off(body_at);
        let records = body.split(|byte| *byte == b'\n').count() - 1;
        bodies.lock().expect("no panic").push(body);
        let counts =
            format!(r#"{{"received":{records},"accepted":{records},"duplicate":0,"late":0,"rejected":0,"rejections":[]}}"#);
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{counts}", counts.len());
        stream.write_all(reply.as_bytes()).await.ok()?;
    }
}

async fn run(options: &str) -> Vec<Vec<u8>> {
    let bodies = Bodies::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let kept = bodies.clone();
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(answer(stream, kept.clone()));
        }
    });
    let options = format!("simulate --url {url} --key secret {options}");
    let cli = Cli::try_parse_from(options.split_whitespace()).expect("valid options");
    simulator::run(cli.args).await.expect("a whole run");
    server.abort();
    std::mem::take(&mut *bodies.lock().expect("no panic"))
}

fn lines(bodies: &[Vec<u8>]) -> Vec<&str> {
    bodies.iter().flat_map(|body| std::str::from_utf8(body).expect("JSON").lines()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_of_a_fleet() {
    let truth = std::env::temp_dir().join(format!("rantai-truth-{}.ndjson", std::process::id()));
    let past = "--devices 60 --start 2024-11-20T12:00:00Z --backfill 24h --duration 0s --seed 5 --connections 3 --batch 500";
    let bodies = run(&format!("{past} --truth {}", truth.display())).await;
    let sent = lines(&bodies);
    assert!((15_500..=17_500).contains(&sent.len()), "{}", sent.len());
    assert!(bodies.iter().all(|body| body.len() < 10 << 20 && lines(std::slice::from_ref(body)).len() <= 500));

    // Oldest first per device but for what went astray on purpose.
    let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
    let mut behind = 0;
    for line in &sent {
        let id = line.split("\"device_id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an id");
        let ts: i64 = line.split("\"ts\":").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok()).expect("a time");
        let newest = newest.entry(id).or_default();
        behind += usize::from(ts < *newest);
        *newest = ts.max(*newest);
    }
    assert!(behind * 20 < sent.len(), "{behind}");

    // A second run sends the same records, however they meet in time.
    let again = run(&format!("{past} --truth {}", truth.display())).await;
    assert_eq!(sent.iter().collect::<BTreeSet<_>>(), lines(&again).iter().collect::<BTreeSet<_>>());

    let told = std::fs::read_to_string(&truth).expect("the ground truth");
    std::fs::remove_file(&truth).expect("ours");
    assert!(told.starts_with(r#"{"kind":"run","seed":5,"devices":60,"from":"2024-11-19T12:00:00.000Z","interval_ms":300000}"#));
    // What the first one told is still there.
    let (first, second) = told.split_at(told.len() / 2);
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simple_form_at_speed() {
    // A minute at 60 times the pace of real time, so within a second.
    let start = "--start 2024-11-20T12:00:00Z --speed 60 --duration 1s";
    let bodies = run(&format!("--devices 20 --rate 10.0 {start}")).await;
    let sent = lines(&bodies);
    assert!((11_960..=12_000).contains(&sent.len()), "{}", sent.len());
    assert!(sent[0].starts_with(r#"{"device_id":"sensor-"#) && sent[0].contains(r#","location":""#), "{}", sent[0]);
}
