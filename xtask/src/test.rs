//! `cargo xtask test`: every check there is, in one list. A failed one does not keep the rest from running.
//!
//! With `--beside` two lanes run beside each other, as much of every step is waiting, and cargo builds one thing at a time of the debug and
//! of the release build each. The last line is `N passed, N failed`: tests where a step runs tests, else one for the step.

mod lanes;

use crate::product::{self, Flavour, Product};
use crate::services::Throwaways;
use crate::{prove, setup, sources, workspace};
use anyhow::{Context, ensure};
use lanes::{Outcome, Work};
use std::io::{BufRead, BufReader};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What `test` takes.
#[derive(clap::Args)]
pub struct Options {
    /// Run only this step (may be repeated): format, lint, lint-wasm, test, bugs, doc, build, simulation, images, kills, journeys
    #[arg(long = "only", value_name = "STEP", value_parser = clap::builder::PossibleValuesParser::new(STEPS.map(|step| step.name)))]
    only: Vec<String>,
    /// This is a clone of its own on a target folder that others had before it: only what differs from the last one's is compiled
    #[arg(long)]
    fresh_clone: bool,
    /// Run what needs the release build beside the rest, at a low priority: shorter, but what looks at the clock waits longer
    #[arg(long)]
    beside: bool,
    /// This is the process of the one step, which writes what it came to into this file
    #[arg(long, hide = true, value_name = "FILE")]
    tally: Option<PathBuf>,
    /// The tests have just been seen to pass
    #[arg(long, hide = true)]
    tested: bool,
}

/// How many checks of a step passed, failed, and could not be made here.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub left_out: usize,
}

impl Tally {
    /// As a step's process writes it.
    fn written(self) -> String {
        format!("{} {} {}\n", self.passed, self.failed, self.left_out)
    }

    /// What that says.
    fn read(text: &str) -> Option<Tally> {
        let mut counts = text.split_whitespace().map(|count| count.parse().ok());
        let mut count = || counts.next().flatten();
        Some(Tally { passed: count()?, failed: count()?, left_out: count()? })
    }
}

/// All tests, of one build: other packages or features together would make others of what they share. The planted bugs are in them, none
/// of them switched on; what is shipped is built without.
pub const TESTS: [&str; 6] = ["test", "--workspace", "--exclude", "frontend", "--features", "server/planted,server/kafka-tls"];

/// Steps one after another, beside the other lane.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// What needs the debug build. Tests look at the clock.
    Debug,
    /// What needs the release build alone: it takes the processor when the other lane leaves it one.
    Release,
}

struct Step {
    name: &'static str,
    what: &'static str,
    lane: Lane,
    /// Whether the tests have just been seen to pass is told.
    run: fn(bool) -> anyhow::Result<Tally>,
}

/// Of a lane in this order: cheap before dear, and `build` before the journeys, which drive what it made. Kills build what they need.
const STEPS: [Step; 11] = [
    Step { name: "format", what: "cargo fmt --check", lane: Lane::Debug, run: |_| format() },
    Step { name: "lint", what: "clippy on the host's crates, warnings are errors", lane: Lane::Debug, run: |_| lint() },
    Step {
        name: "lint-wasm",
        what: "clippy on the browser's crates, warnings are errors",
        lane: Lane::Debug,
        run: |_| lint_wasm(),
    },
    Step {
        name: "test",
        what: "unit, property, store (SQLite and Postgres), Kafka and HTTP tests, and examples in the documentation",
        lane: Lane::Debug,
        run: |_| cargo_test(),
    },
    Step { name: "bugs", what: "planted bugs, each caught by the test named for it", lane: Lane::Debug, run: planted_bugs },
    Step { name: "doc", what: "documentation without warnings", lane: Lane::Debug, run: |_| doc() },
    Step { name: "build", what: "the release build", lane: Lane::Release, run: |_| build() },
    Step { name: "simulation", what: "5 000 seeds of simulated crashes and faults", lane: Lane::Release, run: |_| simulation() },
    Step { name: "images", what: "crash images of real workloads, opened and verified", lane: Lane::Release, run: |_| images() },
    Step {
        name: "kills",
        what: "SIGKILL of the release build under load, alone and on Kafka and Postgres",
        lane: Lane::Debug,
        run: |_| kills(),
    },
    Step {
        name: "journeys",
        what: "browser journeys on the release build in Chromium",
        lane: Lane::Release,
        run: |_| journeys(),
    },
];

/// Of a failed step so much is said again at the end, where a record of a run may begin.
const LINES_OF_A_FAILURE: usize = 60;

/// Runs the checks; an error if one failed.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(tally) = &options.tally {
        return run_step(options, tally);
    }
    let start = Instant::now();
    if options.fresh_clone {
        sources::keep_times()?;
    }
    // Now: cargo may build this program again meanwhile, with other features.
    let xtask = std::env::current_exe().context("find this program")?;
    let is_chosen = |step: &Step| options.only.is_empty() || options.only.iter().any(|name| name == step.name);
    let lanes: &[&[Lane]] = if options.beside { &[&[Lane::Debug], &[Lane::Release]] } else { &[&[Lane::Debug, Lane::Release]] };
    let works = lanes.iter().map(|lanes| {
        let steps = STEPS.iter().enumerate().filter(|(_, step)| lanes.contains(&step.lane) && is_chosen(step));
        steps.map(|(number, step)| work_of(&xtask, number, step, options.beside)).collect()
    });
    let folder = workspace::target_dir().join("xtask").join("checks");
    let results = lanes::run(works.collect(), &folder, &mut std::io::stdout())?;
    for (name, ..) in results.iter().filter(|(_, tally, _)| tally.failed > 0) {
        println!("\n{name} FAILED. The end of what it said:\n{}", lanes::end_of_log(&folder, name, LINES_OF_A_FAILURE));
    }
    println!();
    for (name, tally, took) in &results {
        println!("{name:<10} {:>8}  {}", seconds(*took), verdict(*tally));
    }
    let (passed, failed) =
        results.iter().fold((0, 0), |(passed, failed), (_, tally, _)| (passed + tally.passed, failed + tally.failed));
    println!("all in {}", seconds(start.elapsed()));
    let left_out: usize = results.iter().map(|(_, tally, _)| tally.left_out).sum();
    if left_out > 0 {
        println!("{left_out} LEFT OUT, as said above");
    }
    println!("{passed} passed, {failed} failed");
    // Not an error value: its message would come after the line that has to be last.
    std::process::exit(i32::from(failed > 0 || passed == 0));
}

/// The step in a process of its own.
fn work_of(xtask: &Path, number: usize, step: &'static Step, beside: bool) -> Work {
    let xtask = xtask.to_path_buf();
    let command = move |before: &[Outcome], tally: &Path| {
        let mut xtask = Command::new(&xtask);
        xtask.args(["test", "--only", step.name, "--tally"]).arg(tally);
        if beside {
            xtask.arg("--beside");
        }
        if before.iter().any(|(name, tally, _)| *name == "test" && tally.failed == 0) {
            xtask.arg("--tested");
        }
        xtask
    };
    Work { name: step.name, what: step.what, number, command: Box::new(command) }
}

/// Runs the one step that is asked for.
fn run_step(options: &Options, tally: &Path) -> anyhow::Result<()> {
    let step = STEPS.iter().find(|step| options.only == [step.name]).context("one step writes one tally")?;
    if options.beside && step.lane == Lane::Release {
        rustix::process::nice(10).context("be patient")?;
    }
    let counted = (step.run)(options.tested).unwrap_or_else(|error| {
        println!("{}: {error:#}", step.name);
        Tally { failed: 1, ..Tally::default() }
    });
    std::fs::write(tally, counted.written()).with_context(|| format!("write {}", tally.display()))
}

/// Its last `lines` lines.
pub fn end_of(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn verdict(tally: Tally) -> String {
    let Tally { passed, failed, left_out } = tally;
    let told = [(failed, "FAILED"), (left_out, "LEFT OUT")].into_iter().filter(|(often, _)| *often > 0);
    told.fold(format!("{passed} passed"), |told, (often, what)| format!("{told}, {often} {what}"))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// One check: the command succeeds.
fn one(command: &mut Command) -> anyhow::Result<Tally> {
    workspace::succeed(command)?;
    Ok(Tally { passed: 1, failed: 0, left_out: 0 })
}

fn format() -> anyhow::Result<Tally> {
    one(workspace::cargo().args(["fmt", "--all", "--check"]))
}

fn lint() -> anyhow::Result<Tally> {
    setup::openssl()?;
    let features = ["--features", "server/kafka-tls"];
    one(workspace::cargo()
        .args(["clippy", "--workspace", "--exclude", "frontend", "--all-targets"])
        .args(features)
        .args(["--", "--deny", "warnings"]))
}

fn lint_wasm() -> anyhow::Result<Tally> {
    crate::bundle::ensure_target()?;
    let target = ["--target", "wasm32-unknown-unknown"];
    one(workspace::cargo()
        .args(["clippy", "--package", "frontend", "--package", "app"])
        .args(target)
        .args(["--", "--deny", "warnings"]))
}

fn doc() -> anyhow::Result<Tally> {
    setup::openssl()?;
    let mut cargo = workspace::cargo();
    cargo
        .args(["doc", "--workspace", "--exclude", "frontend", "--features", "server/kafka-tls"])
        .args(["--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings");
    one(&mut cargo)
}

fn build() -> anyhow::Result<Tally> {
    product::build(Flavour::Release)?;
    Ok(Tally { passed: 1, failed: 0, left_out: 0 })
}

/// `cargo test` on all but the browser's entry, with a Postgres and a Kafka of its own; counts what the test programs say.
fn cargo_test() -> anyhow::Result<Tally> {
    setup::strace()?;
    setup::openssl()?;
    let services = Throwaways::start()?;
    let mut cargo = workspace::cargo();
    let may_mount = may_mount();
    if may_mount {
        // Then a test that finds it may not has failed.
        cargo.env("RANTAI_TEST_MAY_MOUNT", "1");
    }
    // Many of them wait for a server, a broker or a database: two a core keep it busy.
    let threads = 2 * std::thread::available_parallelism().map_or(2, NonZero::get);
    services.told_to(cargo.args(TESTS)).arg("--no-fail-fast").env("RUST_TEST_THREADS", threads.to_string());
    let tally = tests_of(&mut cargo)?;
    if may_mount {
        return Ok(tally);
    }
    // It says nothing where it passes.
    println!("LEFT OUT: {SMALL_DISK}: this user may not mount a file system in memory");
    Ok(Tally { passed: tally.passed.saturating_sub(1), left_out: 1, ..tally })
}

/// The test of a disk that is really full.
const SMALL_DISK: &str = "faults::small_disk::a_small_disk_fills_and_is_given_room";

/// Whether this user may mount a file system in memory: tried.
fn may_mount() -> bool {
    let dir = std::env::temp_dir().join(format!("rantai-xtask-mount-{}", std::process::id()));
    let quiet = |command: &mut Command| command.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    let mounted = std::fs::create_dir(&dir).is_ok()
        && quiet(Command::new("mount").args(["-t", "tmpfs", "-o", "size=32m,mode=700", "rantai-test"]).arg(&dir));
    if mounted {
        quiet(Command::new("umount").arg(&dir));
    }
    let _ = std::fs::remove_dir(&dir);
    mounted
}

/// Runs tests and counts what the test programs say.
pub fn tests_of(cargo: &mut Command) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let status = shown_and_read(cargo, |line| {
        if let Some(found) = counts_of(line) {
            tally.passed += found.passed;
            tally.failed += found.failed;
        }
    })?;
    // Also what fails to compile, or dies before it has counted, is a failure.
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    ensure!(tally.passed + tally.failed > 0, "no test ran");
    Ok(tally)
}

/// The counts in a line like `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
fn counts_of(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse().ok());
    Some(Tally { passed: count("passed")?, failed: count("failed")?, left_out: 0 })
}

fn simulation() -> anyhow::Result<Tally> {
    prove::simulation(&[])?;
    Ok(Tally { passed: 1, failed: 0, left_out: 0 })
}

/// What `cargo xtask prove img` does.
fn images() -> anyhow::Result<Tally> {
    prove::images(&[])?;
    Ok(Tally { passed: 1, failed: 0, left_out: 0 })
}

/// What `cargo xtask prove kill` does.
fn kills() -> anyhow::Result<Tally> {
    prove::kills(&[])
}

/// Every planted bug is a check. That their tests pass without them has just been seen where all tests passed.
fn planted_bugs(are_tested: bool) -> anyhow::Result<Tally> {
    prove::bugs::run(&[], !are_tested)
}

/// The journeys of `end2end/` on the release build.
fn journeys() -> anyhow::Result<Tally> {
    setup::journeys()?;
    let product = Product::of(Flavour::Release);
    ensure!(product.server.exists(), "the release build is missing: run the step `build` first");
    let report = workspace::target_dir().join("xtask").join("journeys.json");
    let _ = std::fs::remove_file(&report);
    std::fs::create_dir_all(report.parent().expect("the report lies in a folder"))?;
    let mut playwright = workspace::command("npx");
    playwright
        .current_dir(workspace::root().join("end2end"))
        .args(["--no-install", "playwright", "test", "--reporter=list,json"])
        .env("PLAYWRIGHT_JSON_OUTPUT_NAME", &report)
        // Without a record of every step, which costs a quarter of the time.
        .env("CI", "1")
        .env("CHROMIUM", setup::chromium())
        .env("RANTAI_BINARY", &product.server)
        .env("RANTAI_SITE_DIR", &product.site)
        .stdin(Stdio::null());
    let status = playwright.status().context("start Playwright")?;
    let written = std::fs::read(&report).context("Playwright wrote no report")?;
    let mut tally = tally_of_report(&serde_json::from_slice(&written).context("read Playwright's report")?);
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    ensure!(tally.passed + tally.failed > 0, "no journey ran");
    Ok(tally)
}

/// The counts in Playwright's JSON report. A journey that only passed when tried again has failed.
fn tally_of_report(report: &serde_json::Value) -> Tally {
    let count = |name: &str| usize::try_from(report["stats"][name].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
    Tally { passed: count("expected"), failed: count("unexpected") + count("flaky"), left_out: 0 }
}

/// Runs `command`, showing what it prints and handing each line to `read`.
fn shown_and_read(command: &mut Command, mut read: impl FnMut(&str)) -> anyhow::Result<ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().context("start cargo")?;
    for line in BufReader::new(child.stdout.take().expect("its output is piped")).lines() {
        let line = line?;
        println!("{line}");
        read(&line);
    }
    Ok(child.wait()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_cargo_test() {
        let check = |line: &str, expected: Option<(usize, usize)>| {
            assert_eq!(counts_of(line).map(|found| (found.passed, found.failed)), expected, "{line}");
        };
        check("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s", Some((12, 0)));
        check("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s", Some((3, 2)));
        check("test tests::passed ... ok", None);
        check("running 12 tests", None);
    }

    #[test]
    fn counts_of_playwright() {
        let report = serde_json::json!({"stats": {"expected": 9, "unexpected": 1, "flaky": 2, "skipped": 4}});
        let found = tally_of_report(&report);
        assert_eq!((found.passed, found.failed), (9, 3));
    }
}
