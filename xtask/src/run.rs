//! `cargo xtask run`: the whole product on this machine, fed by the simulator through the public API.

use crate::process::{Program, Stop};
use crate::product::{self, Flavour, Product};
use crate::workspace;
use anyhow::{Context, bail, ensure};
use std::ffi::OsString;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What `run` and `dev` take.
#[derive(clap::Args)]
pub struct Options {
    /// Port to listen on; another free one is taken, and named, if it is in use
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Folder for the log, the database and the programs' logs
    #[arg(long, default_value = "rantai-data")]
    data_dir: PathBuf,
    /// Start without the simulator
    #[arg(long)]
    no_simulator: bool,
    /// Further arguments for `rantai simulate`, after `--`
    #[arg(last = true)]
    simulate: Vec<String>,
}

/// Builds and runs until Ctrl-C.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let product = product::build(Flavour::Release)?;
    let stop = Stop::on_signal()?;
    let mut running = Running::start(options, &product, &stop)?;
    println!("\n  Rantai is running: {}", running.address);
    println!("  Until signing in exists its pages are open, on this machine only.");
    if !options.no_simulator {
        println!("  The simulator fills in the past (at most 24 hours), then goes on in real time.");
    }
    println!("  Logs and data: {}/   End with Ctrl-C.\n", workspace::shown(&running.data_dir));
    while !stop.came() {
        running.check()?;
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("\nstopping");
    running.end();
    Ok(())
}

/// The server and the simulator.
pub struct Running {
    /// Where the server listens, as a URL.
    pub address: String,
    data_dir: PathBuf,
    server: Program,
    simulator: Option<Program>,
    noted_at: Instant,
}

impl Running {
    /// Starts both; returns once the server answers.
    pub fn start(options: &Options, product: &Product, stop: &Stop) -> anyhow::Result<Running> {
        let data_dir = std::path::absolute(&options.data_dir)?;
        make_private(&data_dir).with_context(|| format!("make {}", data_dir.display()))?;
        let listen = format!("127.0.0.1:{}", free_port(options.port)?);
        let mut serve = workspace::command_of(&product.server);
        serve.args(["serve", "--demo", "--listen", &listen, "--data-dir"]).arg(&data_dir).arg("--site-dir").arg(&product.site);
        let mut server = Program::start("server", &mut serve, &data_dir.join("server.log"))?;
        let address = server.wait_for_line("listening on ", Duration::from_mins(2), stop)?;
        let simulator = if options.no_simulator { None } else { Some(start_simulator(options, product, &address, &data_dir)?) };
        Ok(Running { address, data_dir, server, simulator, noted_at: Instant::now() })
    }

    /// Shows what the programs said; an error if the server ended. The simulator may end by itself (`-- --duration 1h`).
    pub fn check(&mut self) -> anyhow::Result<()> {
        self.server.new_lines().for_each(|line| println!("  server: {line}"));
        if let Some(status) = self.server.ended()? {
            bail!("the server ended with {status}{}", self.server.last_words());
        }
        if let Some(simulator) = &mut self.simulator {
            simulator.new_lines().for_each(|line| println!("  simulator: {line}"));
            if let Some(status) = simulator.ended()? {
                println!(
                    "  the simulator ended with {status}{}",
                    if status.success() { String::new() } else { simulator.last_words() }
                );
                self.simulator = None;
            }
        }
        if self.simulator.is_some() && self.noted_at.elapsed() > Duration::from_secs(10) {
            self.noted_at = Instant::now();
            note_time(&self.data_dir)?;
        }
        Ok(())
    }

    /// Ends both, the sender first.
    pub fn end(&mut self) {
        if let Some(simulator) = &mut self.simulator {
            simulator.end();
        }
        self.server.end();
    }
}

fn start_simulator(options: &Options, product: &Product, address: &str, data_dir: &Path) -> anyhow::Result<Program> {
    let key = simulator_key(product, data_dir)?;
    let mut simulate = workspace::command_of(&product.server);
    simulate.args(["simulate", "--url", address]).args(&options.simulate).env("RANTAI_KEY", key);
    let to_fill = minutes_to_fill(noted_time(data_dir), SystemTime::now());
    simulate.args(usual_options(&options.simulate, data_dir, to_fill));
    Program::start("simulator", &mut simulate, &data_dir.join("simulator.log"))
}

/// What `rantai simulate` is told beyond the options `given`: the past to send, unless they plan the time themselves, and where to keep
/// the ground truth of what the data holds.
fn usual_options(given: &[String], data_dir: &Path, minutes_to_fill: u64) -> Vec<OsString> {
    let names = |options: &[&str]| given.iter().any(|argument| options.iter().any(|option| argument.starts_with(option)));
    let mut usual = Vec::new();
    if !names(&["--backfill", "--rate", "--speed", "--start"]) {
        usual.extend(["--backfill".into(), format!("{minutes_to_fill}m").into()]);
    }
    if !names(&["--truth"]) {
        usual.extend(["--truth".into(), data_dir.join("simulator.truth.ndjson").into_os_string()]);
    }
    usual
}

/// How much of the past to send: what passed since the simulator last ran on this data, at most a day: what is sent twice is a
/// duplicate, but takes time. Full five minutes, as it counts itself.
fn minutes_to_fill(ran_until: Option<SystemTime>, now: SystemTime) -> u64 {
    const STEP: u64 = 5 * 60;
    let steps = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) / STEP;
    let passed = ran_until.map_or(u64::MAX, |until| steps(now).saturating_sub(steps(until) + 1));
    passed.saturating_mul(STEP / 60).min(24 * 60)
}

/// Notes that the simulator runs on this data now.
fn note_time(data_dir: &Path) -> anyhow::Result<()> {
    let file = data_dir.join("simulator.until");
    std::fs::write(&file, "").with_context(|| format!("write {}", file.display()))
}

/// When it last did.
fn noted_time(data_dir: &Path) -> Option<SystemTime> {
    std::fs::metadata(data_dir.join("simulator.until")).and_then(|file| file.modified()).ok()
}

/// Makes the folder `dir` with those above it, where absent, for this user alone: as the server would, which comes to it only then.
fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The simulator's API key: made once per data folder and kept beside the data, readable by its owner alone.
fn simulator_key(product: &Product, data_dir: &Path) -> anyhow::Result<String> {
    let file = data_dir.join("simulator.key");
    if let Ok(key) = std::fs::read_to_string(&file) {
        return Ok(key);
    }
    let mut create: Command = workspace::command_of(&product.server);
    create.args(["key", "create", "--name", "simulator", "--scope", "ingest", "--data-dir"]).arg(data_dir);
    let output = create.output().context("start `rantai key create`")?;
    ensure!(output.status.success(), "`rantai key create` failed: {}", String::from_utf8_lossy(&output.stderr));
    let key = String::from_utf8(output.stdout).context("the key is text")?.trim().to_owned();
    let mut options = std::fs::OpenOptions::new();
    let mut written =
        options.write(true).create_new(true).mode(0o600).open(&file).with_context(|| format!("write {}", file.display()))?;
    written.write_all(key.as_bytes())?;
    Ok(key)
}

/// `wanted` if nothing listens there, else any free port, which it names.
fn free_port(wanted: u16) -> anyhow::Result<u16> {
    if TcpListener::bind(("127.0.0.1", wanted)).is_ok() {
        return Ok(wanted);
    }
    let port = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?.local_addr()?.port();
    println!("port {wanted} is in use; taking {port}");
    Ok(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        for _ in 0..2 {
            make_private(&data).expect("makes");
        }
        let mode = std::fs::metadata(&data).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn what_the_simulator_is_told() {
        let check = |given: &str, expected: &str| {
            let given: Vec<_> = given.split_whitespace().map(str::to_owned).collect();
            let usual = usual_options(&given, Path::new("/data"), 1_440);
            let usual: Vec<_> = usual.iter().map(|option| option.to_str().expect("ours")).collect();
            assert_eq!(usual.join(" "), expected, "{given:?}");
        };
        check("", "--backfill 1440m --truth /data/simulator.truth.ndjson");
        check("--seed 3", "--backfill 1440m --truth /data/simulator.truth.ndjson");
        check("--devices 20 --rate 10.0", "--truth /data/simulator.truth.ndjson");
        check("--truth=/tmp/t --start 0", "");
    }

    #[test]
    fn past_to_fill_in() {
        let at = |minutes: u64| UNIX_EPOCH + Duration::from_secs(minutes * 60);
        let check = |ran_until: Option<u64>, now: u64, expected: u64| {
            assert_eq!(minutes_to_fill(ran_until.map(at), at(now)), expected, "{ran_until:?} {now}");
        };
        check(None, 10_000, 24 * 60);
        check(Some(100), 104, 0); // the same five minutes
        check(Some(104), 107, 0); // the next ones: 100 is known, 105 is where it goes on
        check(Some(104), 117, 10); // 105 and 110 are missing; 115 is where it goes on
        check(Some(100), 10_000, 24 * 60);
    }
}
