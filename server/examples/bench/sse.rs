//! 9 000 listeners with 10 messages a second each: whether all arrive, how late, and what a listener costs the server.

use crate::events::now_ms;
use crate::figures::{Figures, Latencies};
use crate::program::{Connection, Server};
use anyhow::{Context, ensure};
use rustix::event::epoll;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const LISTENERS: usize = 9_000;
/// Each listens to so many devices, each of which reports twice a second, at evenly spread times: so often a page may change.
const DEVICES: usize = 5;
const APART: Duration = Duration::from_millis(100);
/// Registered ones, each of another facility.
const IDS: [&str; DEVICES] = ["P321701-1-F1", "P321702-1-F1", "P321703-1-F1", "P321704-1-F1", "P310101-1-F1"];
/// What stands before the time of a reading in a message.
const SIGN: &[u8] = b"\"reading\":{\"at\":";
/// How long the last message may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures for `length`.
pub fn run(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    lift_file_limit()?;
    let server = Server::start()?;
    for id in IDS {
        Connection::open(&server, "application/json")?.post(reading(id, now_ms() - 1_000, 0).as_bytes())?;
    }
    std::thread::sleep(Duration::from_millis(500));
    let before = server.memory_kib()?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut listeners = Vec::with_capacity(LISTENERS);
    for index in 0..LISTENERS {
        let mut stream = TcpStream::connect(&server.address).context("connect a listener")?;
        let topics: Vec<String> = IDS.iter().map(|id| format!("device:{id}")).collect();
        write!(stream, "GET /live?topics={} HTTP/1.1\r\nhost: localhost\r\n\r\n", topics.join(","))?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        listeners.push(Listener { stream, rest: Vec::new(), received: 0 });
        // No faster than the kernel's queue of new connections is emptied.
        std::thread::sleep(Duration::from_millis(if index % 500 == 0 { 50 } else { 0 }));
    }
    // Longer than a beat: every stream has begun, and been idle.
    let idle = Duration::from_secs(7);
    let (base, began) = (now_ms() + idle.as_millis() as i64, Instant::now() + idle);
    let count = (length.as_millis() / APART.as_millis()) as usize;
    let posted: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
    let is_over = AtomicBool::new(false);
    let (latencies, received) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&poll, &mut listeners, &is_over, began, base, &posted));
        let posting = post_all(&server, figures, before, began, base, &posted);
        is_over.store(true, Ordering::Relaxed);
        let read = reader.join().expect("no panic in the reader");
        posting.and(read)
    })?;
    let due = (count * LISTENERS) as f64;
    figures.add("sse: listeners", LISTENERS as f64, "");
    figures.add("sse: messages a second and listener", 1.0 / APART.as_secs_f64(), "");
    figures.add("sse: delivered", received as f64 / due * 100.0, "%");
    latencies.report(figures, "sse: posted to received")?;
    ensure!(listeners.iter().all(|l| l.received == count), "a listener missed messages");
    Ok(())
}

/// Posts the readings at their times, and measures the server meanwhile.
fn post_all(
    server: &Server,
    figures: &mut Figures,
    before: f64,
    began: Instant,
    base: i64,
    posted: &[AtomicU64],
) -> anyhow::Result<()> {
    let sleep_until = |at: Instant| std::thread::sleep(at.saturating_duration_since(Instant::now()));
    sleep_until(began);
    figures.add("sse: memory per listener, idle", (server.memory_kib()? - before) / LISTENERS as f64, "KiB");
    let mut connection = Connection::open(server, "application/json")?;
    let (cpu, mut answered) = (server.cpu_seconds()?, Latencies::default());
    for (n, at) in posted.iter().enumerate() {
        sleep_until(began + APART * n as u32);
        let sent = Instant::now();
        at.store(began.elapsed().as_micros() as u64, Ordering::Release);
        let ts = base + n as i64 * APART.as_millis() as i64;
        connection.post(reading(IDS[n % DEVICES], ts, n).as_bytes())?;
        answered.add(sent.elapsed());
    }
    figures.add("sse: server CPU", (server.cpu_seconds()? - cpu) / began.elapsed().as_secs_f64(), "cores");
    figures.add("sse: memory per listener under load", (server.memory_kib()? - before) / LISTENERS as f64, "KiB");
    std::thread::sleep(PATIENCE);
    answered.report(figures, "sse: posted to answered")
}

/// Every listener is a file, here and in the server.
fn lift_file_limit() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let needed = LISTENERS as u64 + 500;
    ensure!(
        files >= needed,
        "only {files} files may be open, {needed} are needed: raise the hard limit (`ulimit -Hn {needed}` as root)"
    );
    Ok(())
}

fn reading(id: &str, ts: i64, n: usize) -> String {
    format!(r#"{{"device_id":"{id}","ts":{ts},"temperature":{}.{}}}"#, 3 + n % 4, n % 10)
}

/// One page that listens.
struct Listener {
    stream: TcpStream,
    /// The beginning of an event whose end has not come yet.
    rest: Vec<u8>,
    received: usize,
}

/// Reads what comes until all is over; how long each message took, and how many there were.
fn read_all(
    poll: &std::os::fd::OwnedFd,
    listeners: &mut [Listener],
    is_over: &AtomicBool,
    began: Instant,
    base: i64,
    posted: &[AtomicU64],
) -> anyhow::Result<(Latencies, usize)> {
    let (mut latencies, mut received) = (Latencies::default(), 0);
    let mut buffer = vec![0; 256 * 1_024];
    let mut events = Vec::with_capacity(1_024);
    let wait = rustix::time::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    while !is_over.load(Ordering::Relaxed) {
        events.clear();
        match epoll::wait(poll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let listener = &mut listeners[event.data.u64() as usize];
            let length = match listener.stream.read(&mut buffer) {
                Ok(0) => anyhow::bail!("the server ended a stream"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            let now = began.elapsed().as_micros() as u64;
            listener.take(&buffer[..length], |at| {
                let index = (at - base) / APART.as_millis() as i64;
                let Some(posted) = usize::try_from(index).ok().filter(|_| at >= base).and_then(|n| posted.get(n)) else {
                    return false;
                };
                latencies.add(Duration::from_micros(now - posted.load(Ordering::Acquire)));
                received += 1;
                true
            });
        }
    }
    Ok((latencies, received))
}

impl Listener {
    /// Tells `each` the time of every reading in what came; counts those that it wants.
    fn take(&mut self, bytes: &[u8], mut each: impl FnMut(i64) -> bool) {
        let whole: &[u8] = if self.rest.is_empty() {
            bytes
        } else {
            self.rest.extend_from_slice(bytes);
            &self.rest
        };
        let mut from = 0;
        for end in memchr::memmem::find_iter(whole, b"\n\n") {
            let event = &whole[from..end];
            from = end + 2;
            if let Some(at) = memchr::memmem::find(event, SIGN) {
                let digits = event[at + SIGN.len()..].iter().take_while(|b| b.is_ascii_digit());
                self.received += usize::from(each(digits.fold(0, |n, digit| n * 10 + i64::from(digit - b'0'))));
            }
        }
        self.rest = whole[from..].to_vec();
    }
}
