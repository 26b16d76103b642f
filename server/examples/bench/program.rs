//! The server under load, in a process of its own so that its CPU time and memory are its own, and a connection to it.

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server in a process of its own; ended and its data removed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    pub key: String,
    /// Removed with the server.
    dir: tempfile::TempDir,
}

impl Server {
    /// The release binary beside this one.
    pub fn program() -> anyhow::Result<PathBuf> {
        let own = std::env::current_exe()?;
        let release = own.parent().and_then(Path::parent).context("an example lies two folders below the program")?;
        Ok(release.join("rantai"))
    }

    /// The shipped server on an empty folder.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(&[])
    }

    /// The same with more options of `serve`.
    pub fn start_with(more: &[&str]) -> anyhow::Result<Self> {
        let dir = Self::folder()?;
        let data = dir.path().join("data");
        let place = [("RANTAI_DATA_DIR", data.to_str().context("a path of text")?)];
        let key = Self::rantai(&place, &["key", "create", "--name", "bench"])?;
        Self::spawn(Self::serve(&data, more)?, key, dir)
    }

    /// One of several processes on one Kafka and one Postgres, which `settings` of the environment name.
    pub fn start_beside(settings: &[(&str, &str)], more: &[&str], key: String) -> anyhow::Result<Self> {
        let dir = Self::folder()?;
        let mut command = Self::serve(&dir.path().join("data"), more)?;
        command.envs(settings.iter().copied());
        Self::spawn(command, key, dir)
    }

    /// What `rantai` says to `args` with `settings` in its environment.
    pub fn rantai(settings: &[(&str, &str)], args: &[&str]) -> anyhow::Result<String> {
        let done = Command::new(Self::program()?).args(args).envs(settings.iter().copied()).output()?;
        ensure!(done.status.success(), "rantai {}: {}", args.join(" "), String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8(done.stdout)?.trim().to_owned())
    }

    /// A folder for data, on the disk of the build folder wherever that is: the system's own may be memory.
    pub fn folder() -> anyhow::Result<tempfile::TempDir> {
        let program = Self::program()?;
        Ok(tempfile::tempdir_in(program.parent().context("the program is in a folder")?)?)
    }

    fn serve(data: &Path, more: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(Self::program()?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data).args(more).env("RUST_LOG", "warn");
        Ok(command)
    }

    /// The yardstick.
    pub fn bare() -> anyhow::Result<Self> {
        let dir = Self::folder()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare-server").arg(dir.path().join("log"));
        Self::spawn(command, "none".into(), dir)
    }

    fn spawn(mut command: Command, key: String, dir: tempfile::TempDir) -> anyhow::Result<Self> {
        let (child, address) = begin(&mut command)?;
        Ok(Self { child, address, key, dir })
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Ends it with `signal`, and waits until it has ended.
    pub fn end(&mut self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid(), signal)?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again after [`Server::end`]: how long until it says that it is ready.
    pub fn start_again(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        (self.child, self.address) = begin(&mut Self::serve(&self.data(), &[])?)?;
        let ready = Connection::open(self, "")?.get("/readyz", "")?;
        ensure!(ready.status == 200, "{}", ready.head);
        Ok(began.elapsed())
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// How many files it has open.
    pub fn open_files(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    /// A figure of `/metrics`.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.metrics()?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("{name} of /metrics"))?.parse()?)
    }

    /// The sum of a figure of `/metrics` over all of its labels; 0 where there is none yet.
    pub fn sum_of_metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.metrics()?;
        let values = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
        values.map(|line| Ok(line.rsplit(' ').next().unwrap_or_default().parse::<f64>()?)).sum()
    }

    fn metrics(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8(Connection::open(self, "")?.get("/metrics", "")?.body)?)
    }

    /// What `/stats` says of all records, or of those of a source.
    pub fn stats(&self, source: Option<&str>) -> anyhow::Result<serde_json::Value> {
        let body = Connection::open(self, "")?.get("/stats?group=source", "")?.body;
        let stats: serde_json::Value = serde_json::from_slice(&body)?;
        Ok(source.map_or(&stats, |source| &stats["sources"][source]).clone())
    }

    /// CPU seconds of its threads whose name begins with `name`.
    pub fn cpu_seconds_of(&self, name: &str) -> anyhow::Result<f64> {
        let mut ticks = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // It may have ended meanwhile.
            let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
            if stat.split_once('(').is_some_and(|(_, rest)| rest.starts_with(name)) {
                ticks += ticks_of(&stat)?;
            }
        }
        Ok(ticks / 100.0)
    }

    /// CPU seconds of all its threads.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        Ok(ticks_of(&std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?)? / 100.0)
    }

    /// Resident memory now, KiB.
    pub fn memory_kib(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = status.lines().find_map(|l| l.strip_prefix(name)).context("a line of its status")?;
        Ok(kib.trim().trim_end_matches(" kB").parse()?)
    }

    /// Largest resident memory so far, MiB.
    pub fn peak_mib(&self) -> anyhow::Result<f64> {
        Ok(self.status("VmHWM:")? / 1_024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `command`: it, and its address once it has told it.
fn begin(command: &mut Command) -> anyhow::Result<(Child, String)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
    let address = line.trim().strip_prefix("listening on http://").context("it did not start")?.to_owned();
    Ok((child, address))
}

/// CPU time in a line of `/proc`.
fn ticks_of(stat: &str) -> anyhow::Result<f64> {
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    Ok(fields[11].parse::<f64>()? + fields[12].parse::<f64>()?)
}

/// Bytes of all files in `dir` and below.
pub fn size_of(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size_of(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// The folder of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The simulated country: its past is in, and it goes on in real time until dropped.
pub struct Fleet {
    child: Child,
    /// Readings of the past.
    pub past: u64,
}

impl Fleet {
    /// Sends the past day of all devices to `server`, and goes on.
    pub fn start(server: &Server) -> anyhow::Result<Self> {
        Self::start_after(server, 24)
    }

    /// Sends so many past hours of all devices to `server`, and goes on.
    pub fn start_after(server: &Server, hours: u32) -> anyhow::Result<Self> {
        let past = ["--duration", "0s", "--backfill", &format!("{hours}h")];
        ensure!(simulate(server, &past)?.status()?.success(), "the past was not sent");
        let past = server.stats(None)?["received"].as_u64().context("received")?;
        let child = simulate(server, &["--backfill", "10m"])?.spawn()?;
        // What came in last is put away, and the fleet has begun.
        std::thread::sleep(Duration::from_secs(12));
        Ok(Self { child, past })
    }

    /// Plays the past `speed` times as fast as it was, for so long that it will not end within `length`.
    pub fn fast(server: &Server, speed: u32, length: Duration) -> anyhow::Result<Self> {
        let hours = (length * speed).as_secs() / 3_600 + 2;
        let more = ["--speed", &speed.to_string(), "--backfill", &format!("{hours}h")];
        Ok(Self { child: simulate(server, &more)?.spawn()?, past: 0 })
    }
}

/// The simulated country, to be sent to `server`, with more options of `simulate`.
pub fn simulate(server: &Server, more: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(Server::program()?);
    command.args(["simulate", "--url", &format!("http://{}", server.address), "--key", &server.key]).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command)
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer to `GET`.
pub struct Answer {
    pub status: u16,
    /// Status line and headers, in small letters.
    pub head: String,
    pub body: Vec<u8>,
    /// From the request to the first byte of the answer,
    pub first_byte: Duration,
    /// and to the last.
    pub whole: Duration,
}

/// A stream of `/live`.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// Listens to `topic`.
    pub fn open(server: &Server, topic: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(&server.address)?;
        write!(stream, "GET /live?topics={topic} HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The next event as it came, the frame of its chunk with it.
    pub fn next(&mut self) -> anyhow::Result<String> {
        let mut event = String::new();
        while !event.ends_with("\n\n") {
            ensure!(self.0.read_line(&mut event)? > 0, "the stream ended");
        }
        Ok(event)
    }
}

/// One keep-alive connection; `post` sends a body and reads the whole answer.
pub struct Connection {
    stream: BufReader<TcpStream>,
    head: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    pub fn open(server: &Server, content_type: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&server.address)?;
        stream.set_nodelay(true)?;
        let head = format!(
            "POST /ingest HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: {content_type}\r\ncontent-length: ",
            server.address, server.key
        );
        Ok(Self { stream: BufReader::new(stream), head, request: Vec::new(), answer: Vec::new() })
    }

    /// Sends `body` and reads the whole answer, which must be 200.
    pub fn post(&mut self, body: &[u8]) -> anyhow::Result<&str> {
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

    /// Asks for `path`; `headers` each end with a line break.
    pub fn get(&mut self, path: &str, headers: &str) -> anyhow::Result<Answer> {
        let mut body = Vec::new();
        let (head, status, first_byte, whole) = self.ask(path, headers, |piece| body.extend_from_slice(piece))?;
        Ok(Answer { status, head, body, first_byte, whole })
    }

    /// The number of lines of an answer of any length.
    pub fn count_lines(&mut self, path: &str, accept: &str) -> anyhow::Result<usize> {
        let mut lines = 0;
        let (head, status, ..) =
            self.ask(path, &format!("accept: {accept}\r\n"), |piece| lines += memchr::memchr_iter(b'\n', piece).count())?;
        ensure!(status == 200, "{head}");
        Ok(lines)
    }

    fn ask(
        &mut self,
        path: &str,
        headers: &str,
        mut each: impl FnMut(&[u8]),
    ) -> anyhow::Result<(String, u16, Duration, Duration)> {
        let asked = Instant::now();
        write!(self.stream.get_mut(), "GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")?;
        ensure!(!self.stream.fill_buf()?.is_empty(), "the connection ended");
        let first_byte = asked.elapsed();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(self.stream.read_line(&mut head)? > 0, "the connection ended");
        }
        head.make_ascii_lowercase();
        let status = head.split(' ').nth(1).context("a status")?.parse()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut buffer = vec![0; 64 * 1_024];
        let mut pass_on =
            |stream: &mut BufReader<TcpStream>, mut left: usize, each: &mut dyn FnMut(&[u8])| -> anyhow::Result<()> {
                while left > 0 {
                    let read = stream.read(&mut buffer[..left.min(64 * 1_024)])?;
                    ensure!(read > 0, "the connection ended");
                    each(&buffer[..read]);
                    left -= read;
                }
                Ok(())
            };
        if let Some(length) = length {
            pass_on(&mut self.stream, length.trim().parse()?, &mut each)?;
        } else {
            ensure!(head.contains("transfer-encoding: chunked"), "{head}");
            loop {
                let mut line = String::new();
                self.stream.read_line(&mut line)?;
                let length = usize::from_str_radix(line.trim(), 16)?;
                pass_on(&mut self.stream, length, &mut each)?;
                self.stream.read_line(&mut line)?;
                if length == 0 {
                    break;
                }
            }
        }
        Ok((head, status, first_byte, asked.elapsed()))
    }
}
