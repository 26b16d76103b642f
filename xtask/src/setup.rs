//! The real programs that checks and builds use: which are there, and setting up the others.

use crate::bundle;
use crate::stamp::{self, Fingerprint};
use crate::workspace::{self, answer};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program, the Debian package that has it, and what it is for.
struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const CHROMIUM: Tool = Tool { program: "chromium", package: "chromium", purpose: "browser journeys" };
const NODE: Tool = Tool { program: "node", package: "nodejs", purpose: "browser journeys" };
const NPM: Tool = Tool { program: "npm", package: "npm", purpose: "browser journeys" };

impl Tool {
    fn version(&self) -> Option<String> {
        // Chromium's wrapper script writes warnings to standard error; the version is on standard output.
        answer(Command::new(self.path()).arg("--version"))
    }

    fn path(&self) -> PathBuf {
        if self.program == CHROMIUM.program {
            return chromium();
        }
        PathBuf::from(self.program)
    }
}

/// The browser of the journeys: `CHROMIUM` where set, else Debian's.
pub fn chromium() -> PathBuf {
    std::env::var_os("CHROMIUM").map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from)
}

/// Prints which programs the browser journeys and the build find.
pub fn status() {
    for tool in [CHROMIUM, NODE, NPM] {
        match tool.version() {
            Some(version) => println!("{:<10} {version} ({})", tool.program, tool.purpose),
            None => println!("{:<10} missing: apt-get install {} ({})", tool.program, tool.package, tool.purpose),
        }
    }
    println!("{:<10} {} (a slightly smaller browser bundle; optional, Debian: binaryen)", "wasm-opt", bundle::optimiser());
}

/// Sets up strace, which records what a program does to its files, and lets them fail.
pub fn strace() -> anyhow::Result<()> {
    if answer(Command::new("strace").arg("-V")).is_some() {
        Ok(())
    } else {
        install(&["strace"], "the crash images and faults of the disk")
    }
}

/// Sets up OpenSSL with its headers, for Kafka over TLS.
pub fn openssl() -> anyhow::Result<()> {
    if answer(Command::new("pkg-config").args(["--modversion", "openssl"])).is_some() {
        Ok(())
    } else {
        install(&["libssl-dev", "pkg-config"], "the checks of Kafka over TLS")
    }
}

/// Sets up what the browser journeys need; says what to install where we may not.
pub fn journeys() -> anyhow::Result<()> {
    let missing: Vec<Tool> = [CHROMIUM, NODE, NPM].into_iter().filter(|tool| tool.version().is_none()).collect();
    if !missing.is_empty() {
        let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
        install(&packages, "the browser journeys")?;
    }
    let folder = workspace::root().join("end2end");
    if !folder.join("node_modules").is_dir() {
        stamp::forget("npm");
    }
    Fingerprint::new()
        .text(&folder.to_string_lossy())
        .file(&folder.join("package-lock.json"))?
        .unless_done("npm", || npm_ci(&folder))?;
    Ok(())
}

/// Installs Debian's `packages`, which `purpose` needs; says what to install where we may not.
pub fn install(packages: &[&str], purpose: &str) -> anyhow::Result<()> {
    let names = packages.join(" ");
    if !rustix::process::geteuid().is_root() || answer(Command::new("apt-get").arg("--version")).is_none() {
        bail!("missing for {purpose}: install {names} (Debian, Ubuntu: `sudo apt-get install {names}`)");
    }
    // Another step may be at it: apt-get does not wait.
    let lock = workspace::target_dir().join("xtask").join("install.lock");
    std::fs::create_dir_all(lock.parent().expect("it lies in a folder"))?;
    let lock = std::fs::File::create(lock).context("make a lock")?;
    lock.lock().context("wait for another step")?;
    println!("installing {names}");
    let apt = |arguments: &[&str]| {
        let mut command = workspace::command("apt-get");
        workspace::succeed(command.args(arguments).args(["--yes", "--quiet"]).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], packages].concat())
}

fn npm_ci(folder: &Path) -> anyhow::Result<()> {
    let mut npm = workspace::command("npm");
    // The browser is Debian's: none is downloaded.
    npm.current_dir(folder).args(["ci", "--no-audit", "--no-fund"]).env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    workspace::succeed(&mut npm).context("set up end2end")
}
