//! Where things are: the workspace, cargo's target folder and the commands that work on them.

use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the workspace's Cargo.toml.
///
/// Cargo tells at run time; what it told at compile time would be wrong for a binary that several clones share.
pub fn root() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().expect("xtask lies in the workspace").to_path_buf()
}

/// Cargo's target folder, also where `CARGO_TARGET_DIR` moves it (relative to the workspace then, as all of ours run there).
pub fn target_dir() -> PathBuf {
    let root = root();
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |moved| root.join(moved))
}

/// `path` as a person in the current folder would type it.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

/// A command that runs in the workspace's folder.
///
/// What cargo told this process about the crate `xtask` is not passed on: to a nested cargo it would look like a changed
/// environment, and build scripts that watch it would run again each time.
pub fn command(program: &str) -> Command {
    command_of(Path::new(program))
}

/// The same for a program that we built.
pub fn command_of(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" || name == "CARGO_MANIFEST_PATH" {
            command.env_remove(&*name);
        }
    }
    command
}

/// Cargo, the same one that started us.
pub fn cargo() -> Command {
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
}

/// Runs `command` to its end; an error unless it succeeds.
pub fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let line = line_of(command);
    let status = command.status().with_context(|| format!("start `{line}`"))?;
    ensure!(status.success(), "`{line}` ended with {status}");
    Ok(())
}

/// What `command` prints on its standard output, trimmed; `None` where it cannot be started or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `command` as one would type it, for messages.
pub fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Every file below `folder`, sorted; none where the folder is missing.
pub fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    files_below_but(folder, &[])
}

/// The same without what lies in folders with one of these names.
pub fn files_below_but(folder: &Path, names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                if !path.file_name().is_some_and(|name| names.iter().any(|left_out| name == *left_out)) {
                    open.push(path);
                }
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
