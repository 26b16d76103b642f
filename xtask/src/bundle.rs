//! The browser's side: `frontend` compiled to wasm, bound to JavaScript, made small.

use crate::workspace::{self, answer};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TARGET: &str = "wasm32-unknown-unknown";

/// Name of the bundle's files, which the pages ask for.
pub const NAME: &str = "rantai";

/// The oldest `wasm-opt` that a bundle was seen to work after. Debian 12's 108 exports the wrong one of two tables, and the page
/// dies as it starts.
const OLDEST_WASM_OPT: u32 = 120;

/// What rustc's wasm target emits and every browser we name understands. Never `--all-features`: what that lets wasm-opt
/// emit, browsers reject.
const WASM_FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Adds the standard library for wasm where it is missing.
pub fn ensure_target() -> anyhow::Result<()> {
    let mut ask = workspace::command("rustc");
    let libraries = answer(ask.args(["--print", "target-libdir", "--target", TARGET])).context("`rustc` does not run")?;
    if Path::new(&libraries).is_dir() {
        return Ok(());
    }
    println!("      adding the target {TARGET} with rustup");
    if workspace::succeed(workspace::command("rustup").args(["target", "add", TARGET])).is_err() {
        bail!("the standard library for {TARGET} is missing: install rustup, then `rustup target add {TARGET}`");
    }
    Ok(())
}

/// Compiles `frontend` with the cargo profile `profile`; returns the unbound module.
pub fn compile(profile: &str) -> anyhow::Result<PathBuf> {
    let mut cargo = workspace::cargo();
    workspace::succeed(cargo.args(["build", "--package", "frontend", "--target", TARGET, "--profile", profile]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(workspace::target_dir().join(TARGET).join(folder).join("frontend.wasm"))
}

/// Binds `module` for a page's `<script type="module">`: `NAME.js`, `NAME_bg.wasm` and snippets, in the folder `into`.
pub fn bind(module: &Path, into: &Path, keep_names: bool) -> anyhow::Result<()> {
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(module)
        .out_name(NAME)
        .web(true)?
        .typescript(false)
        // The page names the module itself, so that its address can carry a version.
        .omit_default_module_path(true)
        .keep_debug(false)
        .remove_name_section(!keep_names)
        .remove_producers_section(true)
        .generate(into)
        .context("bind the bundle with wasm-bindgen")
}

/// Makes `module` smaller with Binaryen's `wasm-opt` where a good one is found; without, the bundle works and is a little larger.
pub fn optimise(module: &Path) -> anyhow::Result<()> {
    let Some(version) = wasm_opt_version().filter(|version| *version >= OLDEST_WASM_OPT) else {
        return Ok(());
    };
    let smaller = module.with_extension("opt");
    let output = workspace::command("wasm-opt")
        .args(["-Oz", "--strip-producers", "--strip-target-features"])
        .args(WASM_FEATURES)
        .arg(module)
        .arg("-o")
        .arg(&smaller)
        .stdin(Stdio::null())
        .output()
        .context("run wasm-opt")?;
    if output.status.success() {
        std::fs::rename(&smaller, module)?;
    } else {
        let _ = std::fs::remove_file(&smaller);
        let why = String::from_utf8_lossy(&output.stderr);
        println!(
            "      wasm-opt {version} failed, the bundle stays as it was: {}",
            why.lines().next().unwrap_or("no reason given")
        );
    }
    Ok(())
}

/// The version of the `wasm-opt` found, from a line like `wasm-opt version 120 (version_120)`.
fn wasm_opt_version() -> Option<u32> {
    answer(Command::new("wasm-opt").arg("--version"))?.split_whitespace().nth(2)?.parse().ok()
}

/// The `wasm-opt` found, and what becomes of it.
pub fn optimiser() -> String {
    match wasm_opt_version() {
        Some(version) if version >= OLDEST_WASM_OPT => format!("wasm-opt {version}"),
        Some(version) => format!("no wasm-opt ({version} is too old, {OLDEST_WASM_OPT} is needed)"),
        None => "no wasm-opt".to_owned(),
    }
}
