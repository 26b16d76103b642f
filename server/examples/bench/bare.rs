//! The yardstick: the least that a durable ingestion server does.

use axum::extract::State;
use std::io::Write;
use std::path::Path;

#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "parsed for the sake of parsing")]
struct Payload<'a> {
    device_id: &'a str,
    ts: i64,
    temperature: f64,
    humidity: Option<f64>,
    battery: Option<f64>,
}

#[derive(serde::Deserialize)]
#[expect(dead_code, clippy::struct_field_names, reason = "parsed for the sake of parsing, by the names of the contract")]
struct Event<'a> {
    event_id: &'a str,
    topic: &'a str,
    source: &'a str,
    ts: i64,
    #[serde(borrow)]
    payload: Payload<'a>,
}

/// A body on its way to the file, and who waits for it.
type Waiting = (bytes::Bytes, tokio::sync::oneshot::Sender<()>);

async fn take(State(sender): State<tokio::sync::mpsc::Sender<Waiting>>, body: bytes::Bytes) -> &'static str {
    for line in body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        std::hint::black_box(serde_json::from_slice::<Event<'_>>(line).expect("the bench writes events"));
    }
    let (reply, done) = tokio::sync::oneshot::channel();
    sender.send((body, reply)).await.expect("the file thread runs");
    done.await.expect("the file thread answers");
    "ok"
}

/// A bare axum server: parses each line into a typed event, appends the body to a file, answers after a group's fdatasync.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<Waiting>(256);
    let mut file = std::fs::File::create(path)?;
    std::thread::spawn(move || {
        while let Some(first) = receiver.blocking_recv() {
            let mut group = vec![first];
            while let Ok(next) = receiver.try_recv() {
                group.push(next);
            }
            for (body, _) in &group {
                file.write_all(body).expect("the disk takes it");
            }
            file.sync_data().expect("the disk takes it");
            for (_, reply) in group {
                let _ = reply.send(());
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on http://{}", listener.local_addr()?);
        let app = axum::Router::new()
            .route("/ingest", axum::routing::post(take))
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state(sender);
        axum::serve(listener, app).await?;
        Ok(())
    })
}
