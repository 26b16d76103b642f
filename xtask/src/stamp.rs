//! Which inputs a step was last done for, so that it is skipped while they are the same.

use crate::workspace;
use anyhow::Context;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// A fingerprint of inputs. Always begins with the tool itself: a changed xtask does its steps again.
#[derive(Clone)]
pub struct Fingerprint(DefaultHasher);

impl Fingerprint {
    /// The tool alone.
    pub fn new() -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        let tool = std::env::current_exe().and_then(std::fs::metadata);
        tool.and_then(|tool| Ok((tool.len(), tool.modified()?))).ok().hash(&mut hasher);
        Fingerprint(hasher)
    }

    /// With a text.
    pub fn text(mut self, text: &str) -> Fingerprint {
        text.hash(&mut self.0);
        self
    }

    /// With the contents of one file.
    pub fn file(mut self, path: &Path) -> anyhow::Result<Fingerprint> {
        std::fs::read(path).with_context(|| format!("read {}", path.display()))?.hash(&mut self.0);
        Ok(self)
    }

    /// With the names and contents of every file below a folder.
    pub fn folder(mut self, folder: &Path) -> anyhow::Result<Fingerprint> {
        for path in workspace::files_below(folder)? {
            path.strip_prefix(folder).unwrap_or(&path).hash(&mut self.0);
            self = self.file(&path)?;
        }
        Ok(self)
    }

    /// Does `step` unless it was the last to succeed under this `name` with the same inputs; tells whether it did.
    pub fn unless_done(self, name: &str, step: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<bool> {
        let stamp = stamp_path(name);
        let inputs = format!("{:016x}\n", self.0.finish());
        if std::fs::read_to_string(&stamp).is_ok_and(|done| done == inputs) {
            return Ok(false);
        }
        // A step that fails halfway must not look done.
        let _ = std::fs::remove_file(&stamp);
        step()?;
        std::fs::create_dir_all(stamp.parent().expect("a stamp lies in a folder"))?;
        std::fs::write(&stamp, inputs).with_context(|| format!("write {}", stamp.display()))?;
        Ok(true)
    }
}

/// Forgets that the step `name` was done.
pub fn forget(name: &str) {
    let _ = std::fs::remove_file(stamp_path(name));
}

fn stamp_path(name: &str) -> PathBuf {
    workspace::target_dir().join("xtask").join(name).with_extension("stamp")
}
