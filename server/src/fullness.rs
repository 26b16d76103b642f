//! How full the disk of the data directory is, told while there is still time: once it is full, nothing more can be acknowledged.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the disk is looked at.
const EVERY: Duration = Duration::from_mins(1);
/// Percent at which somebody is told.
const MARKS: [u64; 2] = [80, 90];
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
                "The disk of the data directory fills up. Once it is full senders are told to come again (503), and checkpoints wait: make room, or keep less (`--keep-log-days`, `--keep-windows-days`)."
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

#[cfg(test)]
mod tests {
    use super::*;

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
