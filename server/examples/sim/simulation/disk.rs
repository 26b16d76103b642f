//! A disk in memory: what was written and not synced may be lost, sector by sector, and so may names.

use super::world::{Fate, State, World};
use server::files::{self, How};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Inode {
    /// As processes see it.
    data: Vec<u8>,
    /// As it was when it was last synced.
    durable: Vec<u8>,
    /// Sectors that differ and will be written by the next sync; one that a failed sync forgot is not among them.
    dirty: BTreeSet<usize>,
}

impl Inode {
    fn touch(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / SECTOR..to.div_ceil(SECTOR));
    }

    /// Puts a sector as it is seen onto the disk.
    fn flush(&mut self, sector: usize) {
        let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.data.len()));
        if from < to {
            if self.durable.len() < to {
                self.durable.resize(to, 0);
            }
            self.durable[from..to].copy_from_slice(&self.data[from..to]);
        }
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.flush(sector);
        }
        self.durable.resize(self.data.len(), 0);
    }
}

/// A change of names that no sync of their folder has made durable.
#[derive(Clone, Debug)]
struct Change {
    dir: PathBuf,
    set: Option<(PathBuf, usize)>,
    unset: Option<PathBuf>,
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(path) = &self.unset {
            names.remove(path);
        }
        if let Some((path, inode)) = &self.set {
            names.insert(path.clone(), *inode);
        }
    }
}

#[derive(Debug, Default)]
struct Files {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    /// Segments of the log that were removed, for whoever wants to read all of it.
    removed: BTreeMap<PathBuf, usize>,
}

impl Files {
    fn change(&mut self, path: &Path, set: Option<(PathBuf, usize)>, unset: Option<PathBuf>) {
        let dir = path.parent().expect("files lie in folders").to_owned();
        let change = Change { dir, set, unset };
        change.apply(&mut self.names);
        self.changes.push(change);
    }
}

/// The disk of one machine.
#[derive(Clone, Debug)]
pub struct Disk {
    world: World,
    files: Arc<Mutex<Files>>,
}

#[derive(Debug)]
struct Open {
    disk: Disk,
    inode: usize,
    /// What kind of file it is, for the names of points.
    kind: &'static str,
}

/// What kind of file it is.
fn kind_of(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("seg") => "segment",
        Some("run") => "run",
        Some("new") => "file aside",
        _ => "file",
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} is not there", path.display()))
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

impl Disk {
    pub fn new(world: &World) -> Self {
        Self { world: world.clone(), files: Arc::default() }
    }

    /// From now on this thread's files lie here.
    pub fn mount(&self) {
        files::mount(Some(Arc::new(self.clone())));
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fate(&self, what: &str, kind: &str, can_fail: bool) -> Fate {
        self.world.get().fate(&format!("{what} of a {kind}"), can_fail)
    }

    /// The power goes: what no sync covers is lost in part.
    pub fn lose_power(&self) {
        let mut state = self.world.get();
        let files = &mut *self.files();
        // Of each folder the changes up to some one last, as a journal keeps them.
        let dirs: BTreeSet<PathBuf> = files.changes.iter().map(|change| change.dir.clone()).collect();
        for dir in dirs {
            let of_dir: Vec<&Change> = files.changes.iter().filter(|change| change.dir == dir).collect();
            let kept = state.random.index(of_dir.len() + 1);
            if kept < of_dir.len() {
                *state.counts.entry("names lost".to_owned()).or_default() += 1;
            }
            of_dir[..kept].iter().for_each(|change| change.apply(&mut files.durable_names));
        }
        files.changes.clear();
        files.names = files.durable_names.clone();
        for inode in &mut files.inodes {
            lose(inode, &mut state);
        }
    }

    /// The same files, all of them whole, with what was removed of the log, on a disk that never fails.
    pub fn archive(&self, world: &World) -> Self {
        let files = self.files();
        let mut all = Files::default();
        for (path, inode) in files.removed.iter().chain(&files.names) {
            if kind_of(path) == "segment" {
                all.names.insert(path.clone(), all.inodes.len());
                all.inodes.push(files.inodes[*inode].clone());
            }
        }
        Self { world: world.clone(), files: Arc::new(Mutex::new(all)) }
    }
}

/// What a power loss leaves of a file.
fn lose(inode: &mut Inode, state: &mut State) {
    if inode.dirty.is_empty() && inode.data.len() == inode.durable.len() {
        inode.data.clone_from(&inode.durable);
        return;
    }
    let whole = inode.data.len();
    let chance = *state.random.pick(&[0, 50, 90, 100]);
    let (mut lost, mut torn) = (0, 0);
    for sector in std::mem::take(&mut inode.dirty) {
        if state.random.below(100) >= chance {
            lost += 1;
        } else if state.random.one_in(8) {
            // Written in part: its beginning is new.
            let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(whole));
            let to = from + state.random.index(to.saturating_sub(from) + 1);
            if inode.durable.len() < to {
                inode.durable.resize(to, 0);
            }
            inode.durable[from..to].copy_from_slice(&inode.data[from..to]);
            torn += 1;
        } else {
            inode.flush(sector);
        }
    }
    // The length is written apart from what it covers.
    let is_resized = inode.durable.len() != whole && state.random.one_in(2);
    if is_resized {
        inode.durable.resize(whole, 0);
    }
    for (what, often) in [("sectors lost", lost), ("sectors torn", torn), ("lengths without content", u64::from(is_resized))] {
        if often > 0 {
            *state.counts.entry(what.to_owned()).or_default() += often;
        }
    }
    inode.data.clone_from(&inode.durable);
}

impl files::Disk for Disk {
    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn files::DiskFile>> {
        let kind = kind_of(path);
        if how == How::Create {
            match self.fate("making", kind, true) {
                Fate::Goes => {}
                Fate::Fails => return Err(io::ErrorKind::StorageFull.into()),
                Fate::Crashes => return Err(dead()),
            }
        } else if self.world.is_crashed() {
            return Err(dead());
        }
        let files = &mut *self.files();
        let found = files.names.get(path).copied();
        let inode = match (found, how) {
            (None, How::Create) => {
                files.inodes.push(Inode::default());
                let inode = files.inodes.len() - 1;
                files.change(path, Some((path.to_owned(), inode)), None);
                inode
            }
            (None, How::Read | How::Append | How::Over) => return Err(missing(path)),
            (Some(inode), How::Create) => {
                let file = &mut files.inodes[inode];
                file.data.clear();
                file.dirty.clear();
                inode
            }
            (Some(inode), How::Read | How::Append | How::Over) => inode,
        };
        Ok(Box::new(Open { disk: self.clone(), inode, kind }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.files().names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let kind = kind_of(path);
        match self.fate("removal", kind, false) {
            Fate::Goes | Fate::Fails => {}
            Fate::Crashes => return Err(dead()),
        }
        let files = &mut *self.files();
        let inode = *files.names.get(path).ok_or_else(|| missing(path))?;
        if kind == "segment" {
            files.removed.insert(path.to_owned(), inode);
        }
        files.change(path, None, Some(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.fate("renaming", kind_of(to), false) == Fate::Crashes {
            return Err(dead());
        }
        let files = &mut *self.files();
        let inode = *files.names.get(from).ok_or_else(|| missing(from))?;
        files.change(to, Some((to.to_owned(), inode)), Some(from.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match self.fate("sync", "folder", true) {
            Fate::Goes => {}
            Fate::Fails => return Err(io::Error::other("a failed sync")),
            Fate::Crashes => return Err(dead()),
        }
        let files = &mut *self.files();
        let (of_dir, others) = std::mem::take(&mut files.changes).into_iter().partition(|change: &Change| change.dir == dir);
        files.changes = others;
        let of_dir: Vec<Change> = of_dir;
        for change in &of_dir {
            change.apply(&mut files.durable_names);
        }
        Ok(())
    }
}

impl files::DiskFile for Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let was_dead = self.disk.world.is_crashed();
        let fate = self.disk.fate("write", self.kind, true);
        let kept = match fate {
            Fate::Goes => bytes.len(),
            Fate::Fails => self.disk.world.get().random.index(bytes.len()),
            Fate::Crashes if was_dead => 0,
            Fate::Crashes => self.disk.world.get().random.index(bytes.len() + 1),
        };
        let files = &mut *self.disk.files();
        let inode = &mut files.inodes[self.inode];
        let from = inode.data.len();
        inode.data.extend_from_slice(&bytes[..kept]);
        inode.touch(from, from + kept);
        match fate {
            Fate::Goes => Ok(kept),
            Fate::Fails => Err(io::ErrorKind::StorageFull.into()),
            Fate::Crashes => Err(dead()),
        }
    }

    fn write_over(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.disk.fate("write over", self.kind, true) {
            Fate::Goes => {}
            Fate::Fails => return Err(io::Error::other("a failed write")),
            Fate::Crashes => return Err(dead()),
        }
        let files = &mut *self.disk.files();
        let inode = &mut files.inodes[self.inode];
        let (from, to) = (offset as usize, offset as usize + bytes.len());
        inode.data[from..to].copy_from_slice(bytes);
        inode.touch(from, to);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let files = self.disk.files();
        let data = &files.inodes[self.inode].data;
        let from = (offset as usize).min(data.len());
        let len = buffer.len().min(data.len() - from);
        buffer[..len].copy_from_slice(&data[from..from + len]);
        Ok(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.files().inodes[self.inode].data.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.disk.fate("cut", self.kind, true) {
            Fate::Goes => {}
            Fate::Fails => return Err(io::Error::other("a failed cut")),
            Fate::Crashes => return Err(dead()),
        }
        let files = &mut *self.disk.files();
        let inode = &mut files.inodes[self.inode];
        let (before, len) = (inode.data.len(), len as usize);
        inode.data.resize(len, 0);
        inode.touch(before.min(len), len);
        inode.dirty.retain(|sector| sector * SECTOR < len);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let fate = self.disk.fate("sync", self.kind, true);
        if fate == Fate::Crashes {
            return Err(dead());
        }
        let state = &mut *self.disk.world.get();
        let files = &mut *self.disk.files();
        let inode = &mut files.inodes[self.inode];
        if fate == Fate::Goes {
            inode.sync();
            return Ok(());
        }
        // After a failed sync the system believes that the sectors are clean: some of them never reached the disk.
        for sector in std::mem::take(&mut inode.dirty) {
            if state.random.one_in(2) {
                inode.flush(sector);
            }
        }
        Err(io::Error::other("a failed sync"))
    }
}
