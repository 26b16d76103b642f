//! Steps in processes of their own, in lanes: one after another in a lane, lanes beside each other.
//!
//! What a step prints goes to a file. One step at a time is shown as it goes; what the others have said comes whole, after it.

use super::{Tally, end_of, seconds, verdict};
use anyhow::Context;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How soon a line is shown.
const SOON: Duration = Duration::from_millis(100);

/// What a step came to, and how long it took.
pub type Outcome = (&'static str, Tally, Duration);

/// Makes the process of a step, given what the steps before it in its lane came to; the process writes its tally to the file.
type Start = dyn Fn(&[Outcome], &Path) -> Command + Send;

/// A step to be run.
pub struct Work {
    pub name: &'static str,
    pub what: &'static str,
    /// Its number in the list of all.
    pub number: usize,
    /// Its process.
    pub command: Box<Start>,
}

/// Tells what becomes of a step.
enum Said {
    Begun(usize),
    Ended(usize, Outcome),
}

/// A step that has begun and is not all shown.
struct Open {
    number: usize,
    log: PathBuf,
    /// How much of its log is shown.
    shown: u64,
    outcome: Option<Outcome>,
}

/// Runs every lane to its end; logs lie in `folder`. What came of the steps, in the order of their numbers.
pub fn run(lanes: Vec<Vec<Work>>, folder: &Path, out: &mut impl Write) -> anyhow::Result<Vec<Outcome>> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let mut names: Vec<(usize, &str, &str)> = lanes.iter().flatten().map(|work| (work.number, work.name, work.what)).collect();
    names.sort_unstable();
    let (tell, told) = channel();
    std::thread::scope(|scope| {
        for lane in lanes {
            let tell = tell.clone();
            scope.spawn(move || follow(lane, folder, &tell));
        }
        drop(tell);
        show(&told, &names, folder, out)
    })
}

/// Runs the steps of a lane, one after another, whatever comes of them.
fn follow(lane: Vec<Work>, folder: &Path, tell: &Sender<Said>) {
    let mut before = Vec::new();
    for work in lane {
        let begun = Instant::now();
        let log = log_of(folder, work.name);
        let result = File::create(&log).context("make a log").and_then(|file| {
            // Who shows it is gone only when this process ends.
            let _ = tell.send(Said::Begun(work.number));
            perform(&work, &before, folder, &file)
        });
        let tally = result.unwrap_or_else(|error| {
            let _ = File::options().append(true).open(&log).and_then(|mut file| writeln!(file, "{}: {error:#}", work.name));
            Tally { failed: 1, ..Tally::default() }
        });
        let outcome = (work.name, tally, begun.elapsed());
        before.push(outcome);
        let _ = tell.send(Said::Ended(work.number, outcome));
    }
}

fn log_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// The last `lines` lines that a step has said.
pub fn end_of_log(folder: &Path, name: &str, lines: usize) -> String {
    let text = fs::read(log_of(folder, name))
        .map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    end_of(&text, lines)
}

fn perform(work: &Work, before: &[Outcome], folder: &Path, log: &File) -> anyhow::Result<Tally> {
    let tally = folder.join(format!("{}.tally", work.name));
    let _ = fs::remove_file(&tally);
    let mut command = (work.command)(before, &tally);
    let status = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?).status().context("start")?;
    let counted = fs::read_to_string(&tally).ok();
    let counted = counted.as_deref().and_then(Tally::read);
    counted.with_context(|| format!("it ended with {status} and told nothing"))
}

/// Shows steps as they go, the one that has begun first; what the others say waits for its end.
fn show(
    told: &Receiver<Said>,
    names: &[(usize, &'static str, &'static str)],
    folder: &Path,
    out: &mut impl Write,
) -> anyhow::Result<Vec<Outcome>> {
    let (mut open, mut outcomes): (Vec<Open>, Vec<(usize, Outcome)>) = (Vec::new(), Vec::new());
    let total = names.len();
    let mut shown: Option<usize> = None;
    let mut more = true;
    while more || !open.is_empty() {
        match told.recv_timeout(SOON) {
            Ok(Said::Begun(number)) => {
                let (_, name, _) = names.iter().find(|(of, ..)| *of == number).expect("every step has a name");
                open.push(Open { number, log: log_of(folder, name), shown: 0, outcome: None });
            }
            Ok(Said::Ended(number, outcome)) => {
                outcomes.push((number, outcome));
                if let Some(open) = open.iter_mut().find(|open| open.number == number) {
                    open.outcome = Some(outcome);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => more = false,
        }
        // First what has ended; of what goes on the eldest.
        while let Some(at) = shown
            .and_then(|number| open.iter().position(|open| open.number == number))
            .or_else(|| open.iter().position(|open| open.outcome.is_some()))
            .or_else(|| (!open.is_empty()).then_some(0))
        {
            let step = &mut open[at];
            let place = names.iter().position(|(of, ..)| *of == step.number).expect("every step has a name");
            let (_, name, what) = names[place];
            if shown.replace(step.number) != Some(step.number) {
                writeln!(out, "\n[{}/{total}] {name}: {what}", place + 1)?;
            }
            copy(step, out)?;
            let Some((_, tally, took)) = step.outcome else { break };
            writeln!(out, "[{}/{total}] {name}: {} in {}", place + 1, verdict(tally), seconds(took))?;
            open.remove(at);
            shown = None;
        }
        out.flush()?;
    }
    outcomes.sort_unstable_by_key(|(number, _)| *number);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Shows what is new in a log: whole lines, while the step goes on.
fn copy(step: &mut Open, out: &mut impl Write) -> anyhow::Result<()> {
    let mut file = File::open(&step.log).with_context(|| format!("read {}", step.log.display()))?;
    file.seek(SeekFrom::Start(step.shown))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if step.outcome.is_none() {
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
    }
    out.write_all(&bytes)?;
    step.shown += bytes.len() as u64;
    if step.outcome.is_some() && bytes.last().is_some_and(|byte| *byte != b'\n') {
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step that is a shell's `script`, in `folder`, with `$tally` to write to.
    fn work(number: usize, name: &'static str, folder: &Path, script: &'static str) -> Work {
        let folder = folder.to_path_buf();
        let command = move |_: &[Outcome], tally: &Path| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).current_dir(&folder).env("tally", tally);
            shell
        };
        Work { name, what: "a test", number, command: Box::new(command) }
    }

    fn shown(lanes: Vec<Vec<Work>>, folder: &Path) -> (String, Vec<(&'static str, usize, usize)>) {
        let mut out = Vec::new();
        let outcomes = run(lanes, folder, &mut out).expect("runs");
        let outcomes = outcomes.into_iter().map(|(name, Tally { passed, failed, .. }, _)| (name, passed, failed)).collect();
        let text = String::from_utf8(out).expect("text");
        // Without the time that each took.
        (text.lines().map(|line| line.split(" in ").next().unwrap_or(line)).collect::<Vec<_>>().join("\n"), outcomes)
    }

    #[test]
    fn lines_of_steps_beside_each_other_do_not_mix() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path();
        // Each waits for the other in the middle of what it says.
        let first = "echo a1; : > one; while [ ! -e two ]; do :; done; echo a2; echo '2 0 0' > $tally";
        let second = "while [ ! -e one ]; do :; done; echo b1; : > two; echo b2 >&2; echo '3 1 0' > $tally";
        let lanes = vec![
            vec![work(1, "a", folder, first), work(3, "c", folder, "printf c1; echo '1 0 0' > $tally")],
            vec![work(2, "b", folder, second)],
        ];
        let (text, outcomes) = shown(lanes, folder);
        for block in [
            "[1/3] a: a test\na1\na2\n[1/3] a: 2 passed",
            "[2/3] b: a test\nb1\nb2\n[2/3] b: 3 passed, 1 FAILED",
            "[3/3] c: a test\nc1\n[3/3] c: 1 passed",
        ] {
            assert!(text.contains(block), "{block}\nin\n{text}");
        }
        assert_eq!(outcomes, [("a", 2, 0), ("b", 3, 1), ("c", 1, 0)]);
    }

    #[test]
    fn a_step_that_dies_has_failed_and_the_next_is_run() {
        let dir = tempfile::tempdir().expect("a folder");
        let lanes = vec![vec![work(4, "a", dir.path(), "echo a1; exit 3"), work(7, "b", dir.path(), "echo '1 0 0' > $tally")]];
        let (text, outcomes) = shown(lanes, dir.path());
        assert!(text.contains("a1\na: it ended with exit status: 3 and told nothing\n[1/2] a: 0 passed, 1 FAILED"), "{text}");
        assert_eq!(outcomes, [("a", 0, 1), ("b", 1, 0)]);
        assert_eq!(end_of_log(dir.path(), "a", 1), "a: it ended with exit status: 3 and told nothing");
        assert_eq!(end_of_log(dir.path(), "a", 9).lines().count(), 2);
    }
}
