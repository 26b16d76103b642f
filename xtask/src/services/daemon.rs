//! A program that runs on after us. A file tells its process, and when that began: a process of the same number that began at
//! another time is not ours, and is left alone.

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program whose files lie in one folder.
pub struct Daemon {
    name: &'static str,
    /// What it prints.
    pub log: PathBuf,
    pid: PathBuf,
}

impl Daemon {
    /// The program `name` whose files lie in `folder`; it may run or not.
    pub fn new(name: &'static str, folder: &Path) -> Daemon {
        Daemon { name, log: folder.join("log"), pid: folder.join("pid") }
    }

    /// Its process, if it runs.
    pub fn process(&self) -> Option<Pid> {
        let noted = fs::read_to_string(&self.pid).ok()?;
        let (number, began) = noted.trim().split_once(' ')?;
        let number: i32 = number.parse().ok()?;
        (began_at(number)? == began).then(|| Pid::from_raw(number))?
    }

    /// Starts `command`, and waits until `is_ready`.
    pub fn start(&self, command: &mut Command, at_most: Duration, is_ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let log = File::create(&self.log).with_context(|| format!("write {}", self.log.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().with_context(|| format!("start {}", self.name))?;
        let number = Pid::from_child(&child).as_raw_nonzero().get();
        let began = began_at(number).with_context(|| format!("{} ended at once{}", self.name, self.last_words()))?;
        fs::write(&self.pid, format!("{number} {began}\n")).with_context(|| format!("write {}", self.pid.display()))?;
        let end = Instant::now() + at_most;
        while !is_ready() {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}{}", self.name, self.last_words());
            }
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                bail!("{} was not ready after {} s{}", self.name, at_most.as_secs(), self.last_words());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Asks it to end by `signal` and waits; kills it when it does not within 20 s. Whether it ran.
    pub fn end(&self, signal: Signal) -> anyhow::Result<bool> {
        let Some(process) = self.process() else { return Ok(false) };
        kill_process(process, signal).with_context(|| format!("end {}", self.name))?;
        let end = Instant::now() + Duration::from_secs(20);
        while self.process().is_some() {
            if Instant::now() > end {
                let _ = kill_process(process, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }

    /// The end of its log, to show why it ended.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("; the end of {}:\n{}", self.log.display(), lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

/// When a process began, in the kernel's ticks since the machine did; `None` where there is none, or it has ended and only waits for
/// its parent to notice.
fn began_at(process: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program may hold anything, blanks and parentheses too.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18))?.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_was_started() {
        let folder = std::env::temp_dir().join(format!("rantai-daemon-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let daemon = Daemon::new("sleep", &folder);
        assert!(daemon.process().is_none());
        daemon.start(Command::new("sleep").arg("1000"), Duration::from_secs(5), || true).expect("starts");
        assert!(daemon.process().is_some());
        // The same number, another beginning: somebody else's process.
        let noted = fs::read_to_string(&daemon.pid).expect("noted");
        fs::write(&daemon.pid, format!("{} 1", noted.split_once(' ').expect("two fields").0)).expect("writes");
        assert!(daemon.process().is_none() && !daemon.end(Signal::TERM).expect("answers"));
        fs::write(&daemon.pid, noted).expect("writes");
        assert!(daemon.end(Signal::TERM).expect("ends") && daemon.process().is_none());
        fs::remove_dir_all(&folder).expect("removes");
    }
}
