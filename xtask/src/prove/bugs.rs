//! `cargo xtask prove bugs`: the tests have teeth. Every bug of a bank, planted at its line of the product behind a switch, makes the test
//! fail that is named for it.
//!
//! The test programs are those that run all tests: they are built with the feature `planted`. Without a switch all the named tests pass;
//! then each bug is switched on alone and its test has to fail. A bug whose line no test reached, or that its test let pass, fails the proof.

mod list;

use crate::services::Throwaways;
use crate::test::{TESTS, Tally, end_of};
use crate::{setup, workspace};
use anyhow::{Context, bail, ensure};
use list::{BUGS, Bug, Suite};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A test that takes longer hangs, and has told nobody of a bug.
const PATIENCE: Duration = Duration::from_mins(2);
/// Of what a test said that did not catch its bug.
const LINES_OF_A_FAILURE: usize = 20;
/// Bugs under test at once: many tests wait more than they work.
const AT_ONCE: usize = 3;

/// What became of a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Caught,
    /// Its test passed.
    Passed,
    /// Its test failed, or passed, without having reached it.
    NeverFired,
    /// Its test did not end.
    Hung,
    /// There is no such test, or it could not be started.
    NotTried,
}

impl Fate {
    const fn words(self) -> &'static str {
        match self {
            Fate::Caught => "caught",
            Fate::Passed => "NOT CAUGHT",
            Fate::NeverFired => "NEVER FIRED",
            Fate::Hung => "HUNG",
            Fate::NotTried => "NOT TRIED",
        }
    }
}

/// Runs the bank, or of it what `only` names: how many bugs were caught, and how many not. `with_control`: first without any bug. A bug that
/// was not caught beside others has another try alone, and the table says so: what has to be shown is that the test finds it.
pub fn run(only: &[String], with_control: bool) -> anyhow::Result<Tally> {
    if let Some(unknown) = only.iter().find(|name| BUGS.iter().all(|bug| bug.name != **name)) {
        bail!("there is no planted bug `{unknown}`");
    }
    let chosen: Vec<&Bug> = BUGS.iter().filter(|bug| only.is_empty() || only.iter().any(|name| name == bug.name)).collect();
    setup::strace()?;
    setup::openssl()?;
    let bench = Bench::new()?;
    if with_control {
        bench.control(&chosen)?;
    }
    let (next, trials) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                // From the end of the list, where tests wait longest: beside the last one nothing would be left to do.
                while let Some(index) = chosen.len().checked_sub(1 + next.fetch_add(1, Ordering::Relaxed)) {
                    let trial = bench.trial_of(chosen[index]);
                    trials.lock().expect("nobody panics").push((index, trial));
                }
            });
        }
    });
    let mut trials = trials.into_inner().expect("nobody panics");
    trials.sort_by_key(|(index, _)| *index);
    let width = chosen.iter().map(|bug| bug.name.len()).max().unwrap_or(0);
    let (mut caught, mut failed) = (0, Vec::new());
    for (index, trial) in trials {
        let bug = chosen[index];
        println!("{}", trial.row(bug, width));
        if trial.fate == Fate::Caught {
            caught += 1;
            continue;
        }
        let alone = bench.trial_of(bug);
        println!("{}  alone", alone.row(bug, width));
        if alone.fate == Fate::Caught {
            caught += 1;
        } else {
            failed.push((bug, alone));
        }
    }
    println!("{caught} of {} planted bugs caught", chosen.len());
    for (bug, trial) in &failed {
        println!("\n{}: {}, by {}\nwhich {}\n{}", bug.name, trial.fate.words(), bug.by(), bug.breaks, trial.said);
    }
    Ok(Tally { passed: caught, failed: failed.len(), ..Tally::default() })
}

/// A test program's run with a bug.
struct Trial {
    fate: Fate,
    took: Duration,
    /// The end of what it said.
    said: String,
}

impl Trial {
    /// As the table tells it.
    fn row(&self, bug: &Bug, width: usize) -> String {
        let (name, verdict, seconds, by) = (bug.name, self.fate.words(), self.took.as_secs_f64(), bug.by());
        format!("{name:width$}  {verdict:<11}  {seconds:>5.1} s  {by}")
    }
}

/// The test programs with all that they need.
struct Bench {
    programs: Vec<(Suite, PathBuf)>,
    services: Throwaways,
    /// Where bugs leave their mark.
    marks: PathBuf,
}

impl Bench {
    fn new() -> anyhow::Result<Self> {
        let programs = build()?;
        let marks = workspace::target_dir().join("xtask").join(format!("planted-{}", std::process::id()));
        std::fs::create_dir_all(&marks)?;
        Ok(Self { programs, services: Throwaways::start()?, marks })
    }

    /// A test program about to run `tests`, and nothing else.
    fn command<'t>(&self, suite: Suite, tests: impl IntoIterator<Item = &'t str>) -> Command {
        let (_, program) = self.programs.iter().find(|(of, _)| *of == suite).expect("every suite was built");
        let mut command = workspace::command_of(program);
        self.services
            .told_to(&mut command)
            .current_dir(workspace::root().join(suite.package()))
            .arg("--exact")
            .args(tests)
            // Always the same cases, no search for the smallest one, and no trace of it among the sources.
            .env("PROPTEST_RNG_SEED", "1")
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
            .env_remove("RANTAI_PLANTED")
            .env_remove("RANTAI_PLANTED_FIRED")
            .stdin(Stdio::null());
        command
    }

    /// Without a bug every one of their tests passes.
    fn control(&self, bugs: &[&Bug]) -> anyhow::Result<()> {
        for suite in Suite::ALL {
            let mut tests: Vec<&str> = bugs.iter().filter(|bug| bug.suite == suite).map(|bug| bug.test).collect();
            tests.sort_unstable();
            tests.dedup();
            if tests.is_empty() {
                continue;
            }
            let begun = Instant::now();
            let output = self.command(suite, tests.iter().copied()).output().context("run the tests without a bug")?;
            let text = String::from_utf8_lossy(&output.stdout);
            ensure!(
                output.status.success() && text.contains(&format!("test result: ok. {} passed;", tests.len())),
                "without a bug the {} named tests of {} have to pass:\n{text}{}",
                tests.len(),
                suite.name(),
                String::from_utf8_lossy(&output.stderr)
            );
            println!("{}: {} tests pass without a bug, in {:.1} s", suite.name(), tests.len(), begun.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Runs the test of `bug` with it.
    fn trial_of(&self, bug: &Bug) -> Trial {
        let begun = Instant::now();
        let (fate, said) = self.fate_of(bug).unwrap_or_else(|error| (Fate::NotTried, format!("{error:#}")));
        Trial { fate, took: begun.elapsed(), said }
    }

    /// What becomes of it, and the end of what its test said.
    fn fate_of(&self, bug: &Bug) -> anyhow::Result<(Fate, String)> {
        let (mark, log) = (self.marks.join(bug.name), self.marks.join(format!("{}.log", bug.name)));
        let output = std::fs::File::create(&log)?;
        let mut child = self
            .command(bug.suite, [bug.test])
            .env("RANTAI_PLANTED", bug.name)
            .env("RANTAI_PLANTED_FIRED", &mark)
            .process_group(0)
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("start a test program")?;
        let begun = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if begun.elapsed() > PATIENCE => break None,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        // What it started and did not end, dying of the bug, goes with it.
        let group = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let text = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        let fate = match status {
            None => {
                child.wait()?;
                Fate::Hung
            }
            Some(_) if !text.contains("running 1 test\n") => Fate::NotTried,
            // It is made at the first question for any bug, and written to where this one is.
            Some(_) if std::fs::read(&mark).map_or(true, |mark| mark.is_empty()) => Fate::NeverFired,
            Some(status) if status.success() => Fate::Passed,
            Some(_) => Fate::Caught,
        };
        Ok((fate, end_of(&text, LINES_OF_A_FAILURE)))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.marks);
    }
}

/// Builds the test programs, with every bug in them.
fn build() -> anyhow::Result<Vec<(Suite, PathBuf)>> {
    let mut cargo = workspace::cargo();
    cargo.args(TESTS).args(["--no-run", "--message-format", "json-render-diagnostics"]).stderr(Stdio::inherit());
    let output = cargo.output().context("start cargo")?;
    ensure!(output.status.success(), "the test programs with planted bugs do not compile");
    let artifacts: Vec<serde_json::Value> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    Suite::ALL
        .into_iter()
        .map(|suite| {
            let of_suite = |artifact: &&serde_json::Value| {
                artifact["profile"]["test"] == true
                    && artifact["target"]["name"] == suite.target()
                    && artifact["executable"].is_string()
            };
            let found = artifacts.iter().find(of_suite).and_then(|artifact| artifact["executable"].as_str());
            Ok((suite, Path::new(found.with_context(|| format!("cargo built no tests of {}", suite.name()))?).to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The names in the calls `planted("…")` of the product.
    fn planted() -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for room in ["domain/src", "server/src", "app/src"] {
            for path in workspace::files_below(&workspace::root().join(room)).expect("lists") {
                let text = std::fs::read_to_string(&path).expect("reads");
                let calls = text.split("planted(\"").skip(1);
                names.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
            }
        }
        names
    }

    #[test]
    fn every_planted_bug_is_in_the_list_and_the_other_way_round() {
        let listed: BTreeSet<String> = BUGS.iter().map(|bug| bug.name.to_owned()).collect();
        assert_eq!(listed.len(), BUGS.len(), "a name twice");
        assert_eq!(listed, planted());
        assert!(BUGS.len() >= 40, "{}", BUGS.len());
    }
}
