//! How full the disk of the data directory is, told while there is still time, and room that is kept for when there is none: once it is
//! full, no record can be acknowledged.

use crate::files;
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the disk is looked at.
const EVERY: Duration = Duration::from_mins(1);
/// Percent at which somebody is told.
const MARKS: [u64; 2] = [80, 90];
/// How much room is kept, in bytes,
const BALLAST_BYTES: u64 = 16 * 1024 * 1024;
/// or this share of a small disk.
const BALLAST_SHARE: u64 = 64;
/// What `stat` counts blocks of a file in, in bytes.
const STAT_BLOCK: u64 = 512;
/// A mark counts as left once the disk is so many percent below it: what comes and goes about it is told once.
const SLACK: u64 = 5;

/// Looks at the disk of `dir` until the server stops, and warns at each mark that it passes.
pub async fn watch(dir: PathBuf, stop: CancellationToken) {
    let mut every = tokio::time::interval(EVERY);
    let mut passed = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        let dir = dir.clone();
        // Of a disk that does not answer, writing tells.
        let Ok(Ok(percent)) = tokio::task::spawn_blocking(move || used_percent(&dir)).await else { continue };
        if is_told(&mut passed, percent) {
            tracing::warn!(
                percent,
                "The disk of the data directory fills up. Once it is full senders are told to come again (503): make room, or keep less (`--keep-log-days`, `--keep-windows-days`)."
            );
        }
    }
}

/// How much of what this process may have of the disk of `dir` is used, in percent, as `df` tells it.
fn used_percent(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    let used = disk.f_blocks.saturating_sub(disk.f_bfree);
    Ok((used * 100).div_ceil((used + disk.f_bavail).max(1)))
}

/// Whether a disk that is now full to `percent` has passed a mark beyond the `passed` ones, which it becomes the number of.
fn is_told(passed: &mut usize, percent: u64) -> bool {
    let reached = MARKS.iter().filter(|mark| percent >= **mark).count();
    let left = MARKS.iter().filter(|mark| percent + SLACK > **mark).count();
    let before = std::mem::replace(passed, left.min(*passed).max(reached));
    *passed > before
}

/// Room for when there is none: a file that is let go once the disk is full, so that what is small goes on in its place: checkpoints, and
/// what people decide. Records are asked to come again until somebody has made room for it twice.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    bytes: u64,
    is_held: bool,
}

impl Ballast {
    /// The one of `dir`. What an earlier process held there is let go at once where its disk has no room for a start.
    pub fn of(dir: &Path) -> Self {
        let disk = rustix::fs::statvfs(dir);
        let bytes = disk.map_or(BALLAST_BYTES, |disk| BALLAST_BYTES.min(disk.f_blocks * disk.f_frsize / BALLAST_SHARE));
        Self::of_size(dir, bytes)
    }

    /// The one of `dir`, of so many bytes.
    pub fn of_size(dir: &Path, bytes: u64) -> Self {
        let path = dir.join("ballast");
        let is_held = fs::metadata(&path).is_ok_and(|file| file.blocks() * STAT_BLOCK >= bytes);
        let mut ballast = Self { path, bytes, is_held };
        let is_full = if is_held { ballast.free() < bytes && ballast.let_go() } else { !ballast.hold() };
        if is_full {
            tracing::error!("The disk of the data directory is full: senders are asked to come again until somebody makes room.");
        }
        ballast
    }

    /// Whether it is held; taken back first, where somebody has made room.
    pub fn hold(&mut self) -> bool {
        if self.is_held {
            return true;
        }
        // Room for it alone is what it has just given.
        if self.free() < self.bytes.saturating_mul(2) {
            return false;
        }
        match self.take() {
            Ok(()) => self.is_held = true,
            Err(error) if files::is_full(&error) => {
                let _ = fs::remove_file(&self.path);
            }
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "No room can be kept for when the disk is full.");
                self.is_held = true;
            }
        }
        self.is_held
    }

    /// Lets it go; whether it was held.
    pub fn let_go(&mut self) -> bool {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "The room kept for a full disk cannot be given.");
        }
        std::mem::take(&mut self.is_held)
    }

    /// It need not survive a crash: the next start makes it whole.
    fn take(&self) -> io::Result<()> {
        let file = File::options().write(true).create(true).truncate(false).open(&self.path)?;
        Ok(fallocate(&file, FallocateFlags::empty(), 0, self.bytes)?)
    }

    /// Bytes of its disk that this process may still have. Of one that does not tell, writing tells.
    fn free(&self) -> u64 {
        let dir = self.path.parent().unwrap_or(&self.path);
        rustix::fs::statvfs(dir).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_held_given_and_taken_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let held = || fs::metadata(dir.path().join("ballast")).map(|file| file.blocks() * STAT_BLOCK).unwrap_or_default();
        let mut ballast = Ballast::of_size(dir.path(), 1 << 20);
        assert!(held() >= 1 << 20 && ballast.hold());
        assert!(ballast.let_go() && !ballast.let_go());
        assert_eq!(held(), 0);
        assert!(ballast.hold() && held() >= 1 << 20, "there is room");
        // The next process finds it; one that was killed while it made its own does not matter.
        assert!(Ballast::of_size(dir.path(), 1 << 20).is_held);
        fs::write(dir.path().join("ballast"), b"half").expect("writes");
        assert!(Ballast::of_size(dir.path(), 1 << 20).is_held && held() >= 1 << 20);
        // Of a size that no disk has.
        assert!(!Ballast::of_size(dir.path(), 1 << 60).hold());
    }

    #[test]
    fn each_mark_is_told_once_until_there_is_room_again() {
        let told = |course: &[u64]| {
            let mut passed = 0;
            course.iter().copied().filter(|percent| is_told(&mut passed, *percent)).collect::<Vec<_>>()
        };
        assert!(told(&[10, 79, 79]).is_empty());
        assert_eq!(told(&[79, 80, 81, 89, 90, 100]), [80, 90]);
        assert_eq!(told(&[95, 96]), [95]);
        assert_eq!(told(&[80, 79, 80, 76, 80]), [80], "it comes and goes about the mark");
        assert_eq!(told(&[80, 75, 80]), [80, 80], "there was room meanwhile");
        assert_eq!(told(&[91, 86, 90, 85, 90]), [91, 90]);
    }

    #[test]
    fn the_disk_of_a_folder_answers() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(used_percent(dir.path()).expect("answers") <= 100);
        used_percent(&dir.path().join("none")).expect_err("there is no such folder");
    }
}
