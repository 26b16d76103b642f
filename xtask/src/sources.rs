//! Times of source files. Cargo tells by them what has changed since it was compiled, and git makes all of them new in a fresh clone.

use crate::workspace;
use anyhow::Context;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Folders without sources of ours.
const OTHERS: [&str; 4] = [".git", "target", "node_modules", "test-results"];

/// What files held, and since when, as nanoseconds since the Unix epoch; by path below the root.
type Known = BTreeMap<String, (u64, u64)>;

/// Gives each file that holds what it held when this was last done for the same target folder the time that it had then, and every other
/// one the time now. So only what differs is compiled again, and of two clones none takes for its own what the other has built. New files
/// of xtask keep their times: they have just been compiled.
pub fn keep_times() -> anyhow::Result<()> {
    let note = workspace::target_dir().join("xtask").join("sources.json");
    let before: Known = std::fs::read(&note).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let known = keep_times_of(&workspace::root(), &before, SystemTime::now())?;
    std::fs::create_dir_all(note.parent().expect("it lies in a folder"))?;
    std::fs::write(&note, serde_json::to_vec(&known)?).with_context(|| format!("write {}", note.display()))
}

fn keep_times_of(root: &Path, before: &Known, now: SystemTime) -> anyhow::Result<Known> {
    let now = nanoseconds(now)?;
    let mut known = Known::new();
    for path in workspace::files_below_but(root, &OTHERS)? {
        let name = path.strip_prefix(root).expect("it lies below").to_string_lossy().into_owned();
        let mut hasher = DefaultHasher::new();
        std::fs::read(&path).with_context(|| format!("read {}", path.display()))?.hash(&mut hasher);
        let held = hasher.finish();
        let file = std::fs::File::open(&path)?;
        let changed = if name.starts_with("xtask/") { nanoseconds(file.metadata()?.modified()?)? } else { now };
        let since = before.get(&name).filter(|(then, _)| *then == held).map_or(changed, |(_, since)| *since);
        file.set_modified(UNIX_EPOCH + Duration::from_nanos(since)).with_context(|| format!("date {}", path.display()))?;
        known.insert(name, (held, since));
    }
    Ok(known)
}

fn nanoseconds(time: SystemTime) -> anyhow::Result<u64> {
    Ok(u64::try_from(time.duration_since(UNIX_EPOCH)?.as_nanos())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_the_same_keeps_its_time() {
        let root = tempfile::tempdir().expect("a folder");
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).expect("writes");
        let time_of = |name: &str| std::fs::metadata(root.path().join(name)).and_then(|file| file.modified()).expect("a time");
        for name in ["target", "xtask"] {
            std::fs::create_dir(root.path().join(name)).expect("a folder");
        }
        for name in ["same", "other", "target/built", "xtask/tool"] {
            write(name, "1");
        }
        let as_they_are = ["target/built", "xtask/tool"].map(time_of);
        let first = keep_times_of(root.path(), &Known::new(), at(100)).expect("dates");
        write("same", "1");
        write("other", "2");
        write("new", "1");
        let second = keep_times_of(root.path(), &first, at(200)).expect("dates");
        assert_eq!(["same", "other", "new"].map(time_of), [at(100), at(200), at(200)]);
        assert_eq!(["target/built", "xtask/tool"].map(time_of), as_they_are);
        // Back to what it held before: compiled was the other one last.
        write("other", "1");
        keep_times_of(root.path(), &second, at(300)).expect("dates");
        assert_eq!(["same", "other"].map(time_of), [at(100), at(300)]);
    }
}
