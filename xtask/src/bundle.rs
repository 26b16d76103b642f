//! The browser's side: `frontend` compiled to wasm, bound to JavaScript, made small.

use crate::product::Flavour;
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

/// What only views are for that are fetched in parts, as lazy routes are. This product has none, but for every kind of view rustc leaves a
/// copy in the module, because a table of functions names it: a seventh of all code.
const NEVER_CALLED: &str = "::hydrate_async";

/// Whether a function is that, or the future that it makes. Not what stands within, nor what drops it: such pieces others may share.
fn is_never_called(mangled: &str) -> bool {
    // The other form leaves out the hash at the end.
    let name = format!("{:#}", rustc_demangle::demangle(mangled));
    name.trim_end_matches("::{{closure}}").ends_with(NEVER_CALLED) && !name.contains("drop_in_place")
}

/// Reads `module`; in place of what is never called stands a trap.
fn without_never_called(module: &Path) -> anyhow::Result<walrus::Module> {
    let mut module = walrus::ModuleConfig::new()
        // As wasm-bindgen reads it: LLVM has checked what it wrote.
        .strict_validate(false)
        .generate_dwarf(false)
        .generate_name_section(false)
        .generate_producers_section(false)
        .parse(&std::fs::read(module)?)?;
    let is_never_called = |function: &&walrus::Function| function.name.as_deref().is_some_and(is_never_called);
    let all: Vec<_> = module.funcs.iter().filter(is_never_called).map(|function| (function.id(), function.ty())).collect();
    for (id, kind) in all {
        let kind = module.types.get(kind);
        let (takes, gives) = (kind.params().to_vec(), kind.results().to_vec());
        let arguments = takes.iter().map(|of| module.locals.add(*of)).collect();
        let mut trap = walrus::FunctionBuilder::new(&mut module.types, &takes, &gives);
        trap.func_body().unreachable();
        module.funcs.get_mut(id).kind = walrus::FunctionKind::Local(trap.local_func(arguments));
    }
    Ok(module)
}

/// Binds `module` for a page's `<script type="module">`: `NAME.js`, `NAME_bg.wasm` and snippets, in the folder `into`.
pub fn bind(module: &Path, into: &Path, flavour: Flavour) -> anyhow::Result<()> {
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    match flavour {
        Flavour::Release => bindgen.input_module(NAME, without_never_called(module)?),
        Flavour::Debug => bindgen.input_path(module),
    };
    bindgen
        .out_name(NAME)
        .web(true)?
        .typescript(false)
        // The page names the module itself, so that its address can carry a version.
        .omit_default_module_path(true)
        .keep_debug(false)
        .remove_name_section(flavour == Flavour::Release)
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

#[cfg(test)]
mod tests {
    use super::is_never_called;

    #[test]
    fn only_whole_functions_are_never_called() {
        let name = |path: &str| format!("_ZN{path}17h52c96b46b099e876E");
        for (path, expected) in [
            ("6tachys4view13hydrate_async", true),
            ("6tachys4view13hydrate_async28_$u7b$$u7b$closure$u7d$$u7d$", true),
            ("6tachys4view7hydrate", false),
            ("6tachys4view13hydrate_async28_$u7b$$u7b$closure$u7d$$u7d$7inner_1", false),
            ("4core3ptr47drop_in_place$LT$x..hydrate_async..closure$GT$13hydrate_async", false),
        ] {
            assert_eq!(is_never_called(&name(path)), expected, "{path}");
        }
    }
}
