//! Files and folders whose names survive a power loss: a new name lasts only once the folder that holds it is synced too.
//!
//! What must survive a crash, the log and the memory of identities, reaches the disk through here alone, so that a simulation can put a
//! disk of its own in its place: [`mount`].

use rustix::io::Errno;
use std::cell::RefCell;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk that is not the machine's.
pub trait Disk: Debug {
    /// Opens the file at `path`.
    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn DiskFile>>;
    /// The files in `dir`, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Takes the name `path` away.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives the file at `from` the name `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// A file on such a disk.
pub trait DiskFile: Debug + Send + Sync {
    /// Writes some of `bytes` at its end; how many.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes `bytes` over what lies at `offset`, all of which is there.
    fn write_over(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads into `buffer` from `offset` on; how much, 0 at its end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// How long it is, in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts it off, or makes it longer by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes what it holds durable.
    fn sync(&self) -> io::Result<()>;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// To be read; it has to be there.
    Read,
    /// To be written from its beginning, empty.
    Create,
    /// To be written at its end; it has to be there.
    Append,
    /// To be written over; it has to be there.
    Over,
}

thread_local! {
    static MOUNTED: RefCell<Option<Arc<dyn Disk>>> = const { RefCell::new(None) };
}

/// Everything below goes to `disk` on this thread from now on, or to the machine's files again where there is none.
pub fn mount(disk: Option<Arc<dyn Disk>>) {
    MOUNTED.with_borrow_mut(|mounted| *mounted = disk);
}

/// What `simulated` does on a mounted disk, else what `real` does.
fn on<T>(simulated: impl FnOnce(&dyn Disk) -> io::Result<T>, real: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let disk = MOUNTED.with_borrow(Clone::clone);
    disk.map_or_else(real, |disk| simulated(&*disk))
}

/// An open file.
#[derive(Debug)]
pub struct File(Place);

#[derive(Debug)]
enum Place {
    Real(fs::File),
    Simulated { file: Box<dyn DiskFile>, read: u64 },
}

impl File {
    fn open_as(path: &Path, how: How) -> io::Result<Self> {
        let mut options = fs::File::options();
        match how {
            How::Read => options.read(true),
            How::Create => options.write(true).create(true).truncate(true),
            How::Append => options.append(true),
            How::Over => options.write(true),
        };
        on(
            |disk| Ok(Self(Place::Simulated { file: disk.open(path, how)?, read: 0 })),
            || options.open(path).map(|file| Self(Place::Real(file))),
        )
    }

    /// Opens the file at `path` to be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_as(path, How::Read)
    }

    /// Opens the file at `path` to be written, made where absent, empty.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::open_as(path, How::Create)
    }

    /// Opens the file at `path` to be written at its end.
    pub fn append(path: &Path) -> io::Result<Self> {
        Self::open_as(path, How::Append)
    }

    /// Opens the file at `path` to be written over.
    pub fn over(path: &Path) -> io::Result<Self> {
        Self::open_as(path, How::Over)
    }

    /// Writes `bytes` over what lies at `offset`.
    pub fn write_over(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match &self.0 {
            Place::Real(file) => file.write_all_at(bytes, offset),
            Place::Simulated { file, .. } => file.write_over(bytes, offset),
        }
    }

    /// How long it is, in bytes.
    pub fn len(&self) -> io::Result<u64> {
        match &self.0 {
            Place::Real(file) => Ok(file.metadata()?.len()),
            Place::Simulated { file, .. } => file.len(),
        }
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts it off, or makes it longer by zeros.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        match &self.0 {
            Place::Real(file) => file.set_len(len),
            Place::Simulated { file, .. } => file.set_len(len),
        }
    }

    /// Makes it durable, with all that is known of it.
    pub fn sync_all(&self) -> io::Result<()> {
        match &self.0 {
            Place::Real(file) => file.sync_all(),
            Place::Simulated { file, .. } => file.sync(),
        }
    }

    /// Makes what it holds durable.
    pub fn sync_data(&self) -> io::Result<()> {
        match &self.0 {
            Place::Real(file) => file.sync_data(),
            Place::Simulated { file, .. } => file.sync(),
        }
    }

    /// Tells the system that nobody will read `range` soon: it need not keep in memory what is durable of it. Advice, no more.
    pub fn let_go(&self, range: Range<u64>) {
        if let (Place::Real(file), Some(len)) = (&self.0, NonZeroU64::new(range.end.saturating_sub(range.start))) {
            let _ = rustix::fs::fadvise(file, range.start, Some(len), rustix::fs::Advice::DontNeed);
        }
    }

    /// Fills `buffer` from `offset` on.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match &self.0 {
            Place::Real(file) => file.read_exact_at(buffer, offset),
            Place::Simulated { file, .. } if file.read_at(buffer, offset)? == buffer.len() => Ok(()),
            Place::Simulated { .. } => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl io::Read for File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Place::Real(file) => file.read(buffer),
            Place::Simulated { file, read } => {
                let len = file.read_at(buffer, *read)?;
                *read += len as u64;
                Ok(len)
            }
        }
    }
}

impl io::Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Place::Real(file) => file.write(bytes),
            Place::Simulated { file, .. } => file.append(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether `error` says that this process, or the machine, has as many files open as it may: nothing was done, and others may be closed.
pub fn is_out_of_files(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE].iter().any(|of| Some(of.raw_os_error()) == error.raw_os_error())
}

/// Whether `error` says that there is no room: nothing is lost, and others may make some.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// All of the file at `path`.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::with_capacity(file.len()? as usize);
    io::Read::read_to_end(&mut file, &mut bytes)?;
    Ok(bytes)
}

/// How long the file at `path` is, in bytes.
pub fn len(path: &Path) -> io::Result<u64> {
    on(|disk| disk.open(path, How::Read)?.len(), || Ok(fs::metadata(path)?.len()))
}

/// What lies in `dir`, in any order.
pub fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    on(|disk| disk.list(dir), || fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect())
}

/// Removes the file at `path`.
pub fn remove(path: &Path) -> io::Result<()> {
    on(|disk| disk.remove(path), || fs::remove_file(path))
}

/// Makes the names in `dir` durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    on(|disk| disk.sync_dir(dir), || fs::File::open(dir)?.sync_all())
}

/// The folder that holds `path`.
pub fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Creates the folder `dir` with those above it, where absent, for this user alone; durable on return.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    // A simulated disk has every folder.
    on(
        |_| Ok(()),
        || {
            let made = dir.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists()).count();
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            // Its own name in any case: whoever made it may have been killed before it was durable.
            dir.ancestors().take(made.max(1)).try_for_each(|made| sync_dir(&parent(made)))
        },
    )
}

/// Writes the file at `path` whole: whoever looks, after a crash too, sees what was there before or all of what `write` writes.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let mut file = File::create(&aside)?;
    write(&mut file)?;
    file.sync_all()?;
    on(|disk| disk.rename(&aside, path), || fs::rename(&aside, path))?;
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
