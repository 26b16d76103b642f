//! Programs that run beside us: started in a group of their own, asked to end (SIGTERM) when we are, never left behind.

use anyhow::{Context, bail};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long a program may take to drain after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(30);

/// Set by SIGINT (Ctrl-C), SIGTERM or SIGHUP. A second one ends this process at once.
#[derive(Clone)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Begins to listen for the signals.
    pub fn on_signal() -> anyhow::Result<Stop> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Order matters: the first signal finds the flag unset and only sets it.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop)).context("listen for signals")?;
            signal_hook::flag::register(signal, Arc::clone(&stop)).context("listen for signals")?;
        }
        Ok(Stop(stop))
    }

    /// Whether a signal came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A started program; ended when dropped.
pub struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
    lines: Receiver<String>,
}

impl Program {
    /// Starts `command`. Its standard error goes to the file `log`; its standard output is read line by line.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> anyhow::Result<Program> {
        let errors = File::create(log).with_context(|| format!("write {}", log.display()))?;
        let mut child = command
            .process_group(0) // Ctrl-C reaches us alone; we end the programs in order
            .env("NO_COLOR", "1") // the log is a file
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let output = BufReader::new(child.stdout.take().expect("its standard output is piped"));
        let (to, lines) = channel();
        // Reads on even when nobody listens: a full pipe would stop the program.
        std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(to.send(line))));
        Ok(Program { name, child, log: log.to_path_buf(), lines })
    }

    /// Waits for a line of its output that begins with `beginning`, and returns what follows.
    pub fn wait_for_line(&mut self, beginning: &str, at_most: Duration, stop: &Stop) -> anyhow::Result<String> {
        let end = Instant::now() + at_most;
        loop {
            match self.lines.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => {
                    if let Some(rest) = line.strip_prefix(beginning) {
                        return Ok(rest.trim().to_owned());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    bail!("the {} ended before it was ready ({status}){}", self.name, self.last_words());
                }
                Err(RecvTimeoutError::Timeout) if stop.came() => bail!("stopped before the {} was ready", self.name),
                Err(RecvTimeoutError::Timeout) if Instant::now() > end => {
                    bail!("the {} was not ready after {} s{}", self.name, at_most.as_secs(), self.last_words());
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Its lines so far that nobody took yet.
    pub fn new_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.lines.try_iter()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The end of its log, to show why it ended.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(15)..];
        if last.is_empty() { String::new() } else { format!("; the end of {}:\n{}", self.log.display(), last.join("\n")) }
    }

    /// Asks it to end and waits; kills it when it does not within 30 s. Says so when it did not end cleanly.
    pub fn end(&mut self) {
        let asked = rustix::process::Pid::from_child(&self.child);
        if matches!(self.child.try_wait(), Ok(Some(_)))
            || rustix::process::kill_process(asked, rustix::process::Signal::TERM).is_err()
        {
            return;
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Ok(Some(status)) = self.child.try_wait() {
                if !status.success() && status.signal() != Some(signal_hook::consts::SIGTERM) {
                    println!("the {} ended with {status}{}", self.name, self.last_words());
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        println!("the {} did not end within {} s and was killed", self.name, PATIENCE.as_secs());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}
