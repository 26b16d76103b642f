//! Files and folders whose names survive a power loss: a new name lasts only once the folder that holds it is synced too.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Makes the names in `dir` durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The folder that holds `path`.
fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Creates the folder `dir` with those above it, where absent, for this user alone; durable on return.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    let made = dir.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).count();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Its own name in any case: whoever made it may have been killed before it was durable.
    dir.ancestors().take(made.max(1)).try_for_each(|made| sync_dir(&parent(made)))
}

/// Writes the file at `path` whole: whoever looks, after a crash too, sees what was there before or all of what `write` writes.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let mut file = File::create(&aside)?;
    write(&mut file)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    sync_dir(&parent(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn folders_are_made_with_those_above_them_and_may_be_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let deep = dir.path().join("a/b/c");
        for _ in 0..2 {
            create_dir(&deep).expect("creates");
            assert!(deep.is_dir());
            let mode = fs::metadata(dir.path().join("a")).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "what devices send is nobody else's");
        }
        fs::write(deep.join("file"), "").expect("writes");
        create_dir(&deep.join("file")).expect_err("a file is no folder");
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.json");
        replace(&path, |file| file.write_all(b"one")).expect("writes");
        replace(&path, |file| file.write_all(b"tw").and(Err(io::Error::other("full")))).expect_err("it broke off");
        assert_eq!(fs::read(&path).expect("reads"), b"one");
        replace(&path, |file| file.write_all(b"two")).expect("writes");
        assert_eq!(fs::read(&path).expect("reads"), b"two");
    }
}
