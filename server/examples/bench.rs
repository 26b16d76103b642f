//! The benchmarks: one line per figure, JSON beside it with `--out`. Run by `cargo xtask bench [NAME]`.
//!
//! The server under load is the release binary in a process of its own, so that its CPU time and memory are its own; the load
//! comes from this process. Names: engine, ingest, single, log.

use anyhow::{Context, bail, ensure};
use axum::extract::State;
use domain::engine::{Content, Engine, EngineConfig, MemoryIdentities, Record, plain_reading};
use domain::event::{BodyHash, Identity, Topic};
use domain::milli::Milli;
use domain::time::{EventTime, ProcessingTime};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One measured figure.
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

fn figure(figures: &mut Vec<Figure>, name: impl Into<String>, value: f64, unit: &'static str) {
    let name = name.into();
    println!("{name}: {value:.3} {unit}");
    figures.push(Figure { name, value, unit });
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (mut names, mut out, mut seconds) = (Vec::new(), None, 20);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" => out = Some(PathBuf::from(args.next().context("--out FOLDER")?)),
            "--seconds" => seconds = args.next().context("--seconds N")?.parse()?,
            "bare-server" => return bare_server(&PathBuf::from(args.next().context("bare-server FILE")?)),
            name => names.push(name.to_owned()),
        }
    }
    if names.is_empty() {
        names = ["engine", "ingest", "single", "log"].map(str::to_owned).to_vec();
    }
    for name in names {
        let mut figures = Vec::new();
        match name.as_str() {
            "engine" => engine(&mut figures)?,
            "ingest" => ingest(&mut figures, Duration::from_secs(seconds))?,
            "single" => single(&mut figures, Duration::from_secs(seconds.min(20)))?,
            "log" => log(&mut figures)?,
            other => bail!("there is no benchmark `{other}`: choose from engine, ingest, single, log"),
        }
        if let Some(out) = &out {
            let rows: Vec<_> =
                figures.iter().map(|f| serde_json::json!({"name": f.name, "value": f.value, "unit": f.unit})).collect();
            std::fs::write(out.join(format!("{name}.json")), serde_json::to_vec_pretty(&rows)?)?;
        }
    }
    Ok(())
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

/// Counter-based randomness: the n-th number of a stream (splitmix64).
fn random(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const DEVICES: u64 = 10_000;

/// The n-th event of the mix: 10 000 devices in turn, one reading per device and 5 s of event time, a random UUID each.
fn write_event(out: &mut Vec<u8>, n: u64, start_ms: i64) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (a, b) = (random(2 * n), random(2 * n + 1));
    out.extend_from_slice(b"{\"event_id\":\"");
    let from = out.len();
    out.extend_from_slice(b"00000000-0000-4000-8000-000000000000");
    for (i, at) in (0..36).filter(|i| !matches!(i, 8 | 13 | 14 | 18 | 19 | 23)).enumerate() {
        let bits = if i < 16 { a >> (4 * i) } else { b >> (4 * (i - 16)) };
        out[from + at] = HEX[(bits & 15) as usize];
    }
    let temperature = 2_500 + (b >> 52) as i64; // 2.5 to 6.6 °C
    let ts = start_ms + (n / DEVICES) as i64 * 5_000;
    let _ = write!(
        out,
        "\",\"topic\":\"temperature\",\"source\":\"bench\",\"ts\":{ts},\"payload\":{{\"device_id\":\"bench-{:05}\",\"ts\":{ts},\"temperature\":{}.{:03},\"humidity\":55.5,\"battery\":88}}}}",
        n % DEVICES,
        temperature / 1_000,
        temperature % 1_000
    );
}

// The engine alone ------------------------------------------------------------------------------------------------------------

fn engine(figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    const EVENTS: u64 = 4_000_000;
    let master = Arc::new(server::data::master()?);
    let start = now_ms() - 86_400_000;
    let names: Vec<String> = (0..DEVICES).map(|d| format!("bench-{d:05}")).collect();
    let mut run = |label: &str, mut next: Box<dyn FnMut(u64) -> u64 + '_>| {
        let started = Instant::now();
        let mut done = 0;
        while done < EVENTS {
            done = next(done);
        }
        figure(figures, label, EVENTS as f64 / started.elapsed().as_secs_f64() / 1e6, "million events/s");
    };
    let mut engine = Engine::new(EngineConfig::default(), &master);
    let mut none = NoIdentities;
    let mut dispositions = Vec::new();
    let received = ProcessingTime::from_ms(now_ms());
    run(
        "engine, windows and roll-ups, parse and identities excluded",
        Box::new(|done| {
            let records = (done..done + 1_000).map(|n| Record {
                identity: Some(Identity(u128::from(n))),
                is_natural: false,
                body: BodyHash(n),
                topic: Some(Topic::Temperature),
                source: "bench".into(),
                content: Content::Reading {
                    device: names[(n % DEVICES) as usize].as_str().into(),
                    reading: plain_reading(
                        EventTime::from_ms(start + (n / DEVICES) as i64 * 5_000),
                        Milli(2_500 + (random(n) >> 52) as i32),
                    ),
                },
            });
            dispositions.clear();
            engine.step(records, received, &mut none, &mut dispositions);
            if done % 50_000 == 0 {
                engine.flush();
                engine.take_closed();
            }
            done + 1_000
        }),
    );
    let mut bodies = Vec::new();
    for chunk in 0..EVENTS / 1_000 {
        let mut body = Vec::with_capacity(220_000);
        for n in chunk * 1_000..(chunk + 1) * 1_000 {
            write_event(&mut body, n, start);
            body.push(b'\n');
        }
        bodies.push(bytes::Bytes::from(body));
    }
    let key = server::admission::IdentityKey([7; 16]);
    run(
        "admission alone: NDJSON to records",
        Box::new(|done| {
            let body = bodies[(done / 1_000) as usize].clone();
            let batch = server::admission::Batch::parse(body, server::admission::Format::Ndjson, "bench", &key);
            done + batch.map_or(0, |b| b.len() as u64)
        }),
    );
    let mut engine = Engine::new(EngineConfig::default(), &master);
    let mut identities = MemoryIdentities::default();
    run(
        "engine with parse and identities in memory",
        Box::new(|done| {
            let body = bodies[(done / 1_000) as usize].clone();
            let Ok(batch) = server::admission::Batch::parse(body, server::admission::Format::Ndjson, "bench", &key) else {
                return EVENTS;
            };
            dispositions.clear();
            engine.step(batch.records(), received, &mut identities, &mut dispositions);
            if done % 50_000 == 0 {
                engine.flush();
                engine.take_closed();
            }
            done + 1_000
        }),
    );
    Ok(())
}

struct NoIdentities;

impl domain::engine::Identities for NoIdentities {
    fn check_in(&mut self, _: Identity, _: BodyHash) -> domain::engine::Seen {
        domain::engine::Seen::New
    }
}

// A server in a process of its own ---------------------------------------------------------------------------------------------

struct Server {
    child: Child,
    address: String,
    key: String,
    /// Removed with the server.
    _dir: tempfile::TempDir,
}

impl Server {
    fn program() -> anyhow::Result<PathBuf> {
        let own = std::env::current_exe()?;
        let release = own.parent().and_then(Path::parent).context("an example lies two folders below the program")?;
        Ok(release.join("rantai"))
    }

    fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir_in(std::env::current_dir()?.join("target"))?;
        let program = Self::program()?;
        let data = dir.path().join("data");
        let made = Command::new(&program).args(["key", "create", "--name", "bench", "--data-dir"]).arg(&data).output()?;
        ensure!(made.status.success(), "no key: {}", String::from_utf8_lossy(&made.stderr));
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data).env("RANTAI_LOG", "warn");
        Self::spawn(command, String::from_utf8(made.stdout)?.trim().to_owned(), dir)
    }

    fn bare() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir_in(std::env::current_dir()?.join("target"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare-server").arg(dir.path().join("log"));
        Self::spawn(command, "none".into(), dir)
    }

    fn spawn(mut command: Command, key: String, dir: tempfile::TempDir) -> anyhow::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on http://").context("it did not start")?.to_owned();
        Ok(Self { child, address, key, _dir: dir })
    }

    /// CPU seconds of all its threads.
    fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok(ticks / 100.0)
    }

    /// Largest resident memory so far, MiB.
    fn peak_mib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("VmHWM")?;
        Ok(kib.trim().trim_end_matches(" kB").parse::<f64>()? / 1_024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One keep-alive connection; `post` sends a body and reads the whole answer.
struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    fn open(server: &Server, content_type: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&server.address)?;
        stream.set_nodelay(true)?;
        let head = format!(
            "POST /ingest HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: {content_type}\r\ncontent-length: ",
            server.address, server.key
        );
        Ok(Self { stream: BufReader::new(stream), head, request: Vec::new(), answer: Vec::new() })
    }

    fn post(&mut self, body: &[u8]) -> anyhow::Result<&str> {
        self.request.clear();
        write!(self.request, "{}{}\r\n\r\n", self.head, body.len())?;
        self.request.extend_from_slice(body);
        self.stream.get_mut().write_all(&self.request)?;
        let (mut line, mut length, mut ok) = (String::new(), 0usize, false);
        loop {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the connection ended");
            if line.starts_with("HTTP/1.1 ") {
                ok = line.starts_with("HTTP/1.1 200");
            } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            } else if line == "\r\n" {
                break;
            }
        }
        self.answer.resize(length, 0);
        self.stream.read_exact(&mut self.answer)?;
        let text = std::str::from_utf8(&self.answer)?;
        ensure!(ok, "{text}");
        Ok(text)
    }
}

// Ingestion --------------------------------------------------------------------------------------------------------------------

struct Load {
    events_per_second: f64,
    events_per_cpu_second: f64,
    peak_mib: f64,
    /// CPU microseconds per event at every 5 million events.
    cost: Vec<f64>,
}

/// Batches of 1 000 over 4 connections for `length`.
fn load(server: &Server, is_array: bool, length: Duration) -> anyhow::Result<Load> {
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    // Event time runs as fast as the load: it begins so far back that it never passes the clock.
    let start_ms = now_ms() - 30 * 86_400_000;
    let failure: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let began = Instant::now();
    let cpu_before = server.cpu_seconds()?;
    let mut cost = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let sent = || -> anyhow::Result<()> {
                    let content_type = if is_array { "application/json" } else { "application/x-ndjson" };
                    let mut connection = Connection::open(server, content_type)?;
                    let mut body = Vec::with_capacity(256 * 1_024);
                    while began.elapsed() < length {
                        let from = next.fetch_add(1_000, Ordering::Relaxed);
                        body.clear();
                        body.extend_from_slice(if is_array { b"[" } else { b"" });
                        for n in from..from + 1_000 {
                            if n > from {
                                body.push(if is_array { b',' } else { b'\n' });
                            }
                            write_event(&mut body, n, start_ms);
                        }
                        body.extend_from_slice(if is_array { b"]" } else { b"\n" });
                        let answer = connection.post(&body)?;
                        ensure!(answer.contains("\"accepted\":1000") || answer == "ok", "{answer}");
                        done.fetch_add(1_000, Ordering::Relaxed);
                    }
                    Ok(())
                };
                if let Err(error) = sent() {
                    failure.lock().expect("no panic holds it").get_or_insert(error);
                }
            });
        }
        let (mut last_events, mut last_cpu) = (0, cpu_before);
        while began.elapsed() < length {
            std::thread::sleep(Duration::from_millis(20));
            let events = done.load(Ordering::Relaxed);
            if events >= last_events + 5_000_000
                && let Ok(cpu) = server.cpu_seconds()
            {
                cost.push((cpu - last_cpu) * 1e6 / (events - last_events) as f64);
                (last_events, last_cpu) = (events, cpu);
            }
        }
    });
    if let Some(error) = failure.into_inner().expect("no panic holds it") {
        return Err(error);
    }
    let events = done.load(Ordering::Relaxed) as f64;
    let elapsed = began.elapsed().as_secs_f64();
    let cpu = server.cpu_seconds()? - cpu_before;
    Ok(Load { events_per_second: events / elapsed, events_per_cpu_second: events / cpu, peak_mib: server.peak_mib()?, cost })
}

fn ingest(figures: &mut Vec<Figure>, length: Duration) -> anyhow::Result<()> {
    let bare = load(&Server::bare()?, false, length.min(Duration::from_secs(20)))?;
    figure(figures, "bare server, NDJSON: events", bare.events_per_second, "events/s");
    figure(figures, "bare server, NDJSON: events per CPU second", bare.events_per_cpu_second, "events/CPU s");
    for is_array in [false, true] {
        let form = if is_array { "JSON arrays" } else { "NDJSON" };
        let server = Server::start()?;
        let ours = load(&server, is_array, length)?;
        figure(figures, format!("ingest, {form}: events"), ours.events_per_second, "events/s");
        figure(figures, format!("ingest, {form}: events per CPU second"), ours.events_per_cpu_second, "events/CPU s");
        figure(
            figures,
            format!("ingest, {form}: of the bare server's"),
            ours.events_per_cpu_second / bare.events_per_cpu_second,
            "",
        );
        figure(figures, format!("ingest, {form}: peak memory"), ours.peak_mib, "MiB");
        for (index, cost) in ours.cost.iter().enumerate() {
            figure(
                figures,
                format!("ingest, {form}: CPU of events {} to {} million", index * 5, index * 5 + 5),
                *cost,
                "µs/event",
            );
        }
    }
    Ok(())
}

/// One event a request over 64 keep-alive connections.
fn single(figures: &mut Vec<Figure>, length: Duration) -> anyhow::Result<()> {
    let server = Server::start()?;
    let next = AtomicU64::new(0);
    let start_ms = now_ms() - 86_400_000;
    let latencies: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    let failure: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let slowest = AtomicI64::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let sent = || -> anyhow::Result<Vec<u32>> {
                    let mut connection = Connection::open(&server, "application/json")?;
                    let (mut body, mut own) = (Vec::new(), Vec::new());
                    while began.elapsed() < length {
                        body.clear();
                        write_event(&mut body, next.fetch_add(1, Ordering::Relaxed), start_ms);
                        let sent = Instant::now();
                        let answer = connection.post(&body)?;
                        ensure!(answer.contains("accepted"), "{answer}");
                        own.push(sent.elapsed().as_micros() as u32);
                    }
                    Ok(own)
                };
                match sent() {
                    Ok(own) => {
                        slowest.fetch_max(i64::from(own.iter().copied().max().unwrap_or(0)), Ordering::Relaxed);
                        latencies.lock().expect("no panic holds it").extend(own);
                    }
                    Err(error) => {
                        failure.lock().expect("no panic holds it").get_or_insert(error);
                    }
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().expect("no panic holds it") {
        return Err(error);
    }
    let mut latencies = latencies.into_inner().expect("no panic holds it");
    latencies.sort_unstable();
    let elapsed = began.elapsed().as_secs_f64();
    let at = |share: f64| f64::from(latencies[((latencies.len() - 1) as f64 * share) as usize]) / 1_000.0;
    figure(figures, "single events, 64 connections: requests", latencies.len() as f64 / elapsed, "requests/s");
    figure(figures, "single events, 64 connections: median", at(0.5), "ms");
    figure(figures, "single events, 64 connections: p99", at(0.99), "ms");
    figure(figures, "single events, 64 connections: slowest", slowest.load(Ordering::Relaxed) as f64 / 1_000.0, "ms");
    Ok(())
}

// Segment files against a table ------------------------------------------------------------------------------------------------

/// Groups of four bodies of 1 000 events, each group durable before the next: segment files, and rows of a SQLite table.
fn log(figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    const GROUPS: u64 = 300;
    let mut body = Vec::new();
    for n in 0..1_000 {
        write_event(&mut body, n, now_ms());
        body.push(b'\n');
    }
    let dir = tempfile::tempdir_in(std::env::current_dir()?.join("target"))?;
    let mut log = server::log::Log::open(&dir.path().join("log"), |_| 0)?;
    let mut measure = |label: &str, mut group: Box<dyn FnMut() -> anyhow::Result<()> + '_>| -> anyhow::Result<()> {
        let (began, cpu) = (Instant::now(), own_cpu_seconds()?);
        for _ in 0..GROUPS {
            group()?;
        }
        let events = (GROUPS * 4_000) as f64;
        figure(figures, format!("log, {label}: events"), events / began.elapsed().as_secs_f64(), "events/s");
        figure(figures, format!("log, {label}: events per CPU second"), events / (own_cpu_seconds()? - cpu), "events/CPU s");
        Ok(())
    };
    measure(
        "segment files",
        Box::new(|| {
            let draft = server::log::Draft {
                kind: server::log::BlockKind::Records(server::admission::Format::Ndjson),
                source: "bench",
                body: &body,
                records: 1_000,
            };
            log.append(&[draft.clone(), draft.clone(), draft.clone(), draft], ProcessingTime::from_ms(now_ms()))?;
            Ok(())
        }),
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(dir.path().join("log.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    let pool = runtime.block_on(sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(options))?;
    runtime.block_on(sqlx::query("create table blocks (number integer primary key, body blob not null)").execute(&pool))?;
    measure(
        "SQLite table",
        Box::new(|| {
            runtime.block_on(async {
                let mut tx = pool.begin().await?;
                for _ in 0..4 {
                    sqlx::query("insert into blocks (body) values ($1)").bind(body.as_slice()).execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(())
            })
        }),
    )
}

fn own_cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

// The yardstick ----------------------------------------------------------------------------------------------------------------

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
fn bare_server(path: &Path) -> anyhow::Result<()> {
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
