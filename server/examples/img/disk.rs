//! A disk as a crash may leave it: what was synced is there, what was not may be there in part.
//!
//! Data: of every write since the last sync of its file any sectors of 512 bytes may be missing. Names: changes in one folder reach the
//! disk in order, and a sync of that folder makes those before it durable, nothing else does; of the others the newest may be missing, in
//! each folder so many as chance will have it. Many a file system does better. What is promised for all of them is no more.

use crate::trace::{Offset, Op, folder};
use std::collections::BTreeMap;
use std::path::Path;

/// The unit that a disk writes whole.
pub const SECTOR: usize = 512;

/// A change to the content of a file.
#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

/// A file: what is durable of it, and what came since; each change with the index of its operation.
#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    since: Vec<(usize, Change)>,
    len: u64,
    is_dir: bool,
}

/// A change of names, all of it within one folder.
#[derive(Clone, Debug)]
enum Name {
    Create(String, usize),
    Rename(String, String),
    Unlink(String),
}

impl Name {
    /// Where it is made.
    fn folder(&self) -> &str {
        let (Name::Create(path, _) | Name::Rename(path, _) | Name::Unlink(path)) = self;
        folder(path)
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Name::Create(path, at) => drop(names.insert(path.clone(), *at)),
            Name::Rename(from, to) => {
                if let Some(at) = names.remove(from) {
                    names.insert(to.clone(), at);
                }
            }
            Name::Unlink(path) => drop(names.remove(path)),
        }
    }
}

/// The disk after some operations.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    contents: Vec<Content>,
    names: BTreeMap<String, usize>,
    /// Names as they are durable, and what changed since; each change with the index of its operation.
    durable_names: BTreeMap<String, usize>,
    changed: Vec<(usize, Name)>,
}

/// How a crash treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The process is killed: everything that was written is there.
    Killed,
    /// Of the last write only a beginning is there.
    Torn,
    /// Some sectors of unsynced writes are missing.
    Sectors,
    /// Some unsynced writes are missing whole, whatever their order.
    Writes,
    /// The newest changes of names in a folder are missing too.
    Names,
}

impl Class {
    pub const ALL: [Class; 5] = [Class::Killed, Class::Torn, Class::Sectors, Class::Writes, Class::Names];

    pub const fn name(self) -> &'static str {
        match self {
            Class::Killed => "killed after a write",
            Class::Torn => "torn last write",
            Class::Sectors => "sectors lost",
            Class::Writes => "writes lost or reordered",
            Class::Names => "names lost",
        }
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, data) => {
            let end = *offset as usize + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset as usize..end].copy_from_slice(data);
        }
        Change::Truncate(len) => bytes.resize(*len as usize, 0),
    }
}

impl Disk {
    /// Does operation number `index`.
    pub fn run(&mut self, index: usize, op: &Op) {
        match op {
            Op::Create { path, is_dir } => {
                self.contents.push(Content { is_dir: *is_dir, ..Content::default() });
                self.change(index, Name::Create(path.clone(), self.contents.len() - 1));
            }
            Op::Write { path, offset, data } => {
                if let Some(content) = self.content(path) {
                    let offset = match offset {
                        Offset::At(at) => *at,
                        Offset::End => content.len,
                    };
                    content.len = content.len.max(offset + data.len() as u64);
                    content.since.push((index, Change::Write(offset, data.clone())));
                }
            }
            Op::Truncate { path, len } => {
                if let Some(content) = self.content(path) {
                    content.len = *len;
                    content.since.push((index, Change::Truncate(*len)));
                }
            }
            Op::Rename { from, to } => self.change(index, Name::Rename(from.clone(), to.clone())),
            Op::Unlink { path } => self.change(index, Name::Unlink(path.clone())),
            Op::Sync { path, asked } => {
                // Of a folder: a file holds no names.
                let (covered, since): (Vec<_>, Vec<_>) =
                    self.changed.drain(..).partition(|(index, change)| index < asked && change.folder() == path);
                for (_, change) in &covered {
                    change.apply(&mut self.durable_names);
                }
                self.changed = since;
                if let Some(content) = self.content(path) {
                    let (covered, since): (Vec<_>, Vec<_>) = content.since.drain(..).partition(|(index, _)| index < asked);
                    for (_, change) in &covered {
                        apply(&mut content.durable, change);
                    }
                    content.since = since;
                }
            }
            Op::Asked(_) | Op::Told(_) => {}
        }
    }

    fn change(&mut self, index: usize, change: Name) {
        change.apply(&mut self.names);
        self.changed.push((index, change));
    }

    fn content(&mut self, path: &str) -> Option<&mut Content> {
        self.names.get(path).map(|at| &mut self.contents[*at])
    }

    /// What was written to the file at `path`, be it durable or not; nothing where there is none.
    pub fn read(&self, path: &str) -> Vec<u8> {
        let Some(content) = self.names.get(path).map(|at| &self.contents[*at]) else { return Vec::new() };
        let mut bytes = content.durable.clone();
        content.since.iter().for_each(|(_, change)| apply(&mut bytes, change));
        bytes
    }

    /// The names that are durable, and of what changed since in each folder the first so many; the operations of which nothing is left.
    fn some_names(&self, random: &mut impl FnMut(u64) -> u64) -> (BTreeMap<String, usize>, Vec<usize>) {
        let mut kept: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, change) in &self.changed {
            *kept.entry(change.folder()).or_default() += 1;
        }
        for kept in kept.values_mut() {
            *kept = random(*kept + 1);
        }
        let (mut names, mut undone) = (self.durable_names.clone(), Vec::new());
        for (index, change) in &self.changed {
            let kept = kept.get_mut(change.folder()).expect("it was counted");
            if *kept > 0 {
                *kept -= 1;
                change.apply(&mut names);
            } else {
                undone.push(*index);
            }
        }
        // Nobody finds what lies in a folder that has no name.
        let found = names.clone();
        names.retain(|path, _| {
            let above = std::iter::successors(Some(folder(path)), |&path| Some(folder(path)));
            above.take_while(|path| !path.is_empty()).all(|path| found.contains_key(path))
        });
        (names, undone)
    }

    /// The files that a crash of `class` leaves, and which operations it undoes that changed names; `random` gives numbers below its
    /// argument.
    pub fn crash(&self, class: Class, mut random: impl FnMut(u64) -> u64) -> (Image, Vec<usize>) {
        let (names, undone) = if class == Class::Names { self.some_names(&mut random) } else { (self.names.clone(), Vec::new()) };
        let newest = self.contents.iter().filter_map(|content| content.since.last()).map(|(index, _)| *index).max();
        // How likely a sector is to be there, in sixteenths: from hardly any to nearly all.
        let share = random(17);
        let files = names.into_iter().map(|(path, at)| {
            let content = &self.contents[at];
            let mut bytes = content.durable.clone();
            for (index, change) in &content.since {
                match (class, change) {
                    (Class::Torn, Change::Write(offset, data)) if Some(*index) == newest => {
                        let len = random(data.len() as u64) as usize;
                        apply(&mut bytes, &Change::Write(*offset, data[..len].to_vec()));
                    }
                    (Class::Killed | Class::Torn, change) => apply(&mut bytes, change),
                    (Class::Sectors | Class::Names, Change::Write(offset, data)) => {
                        let mut from = 0;
                        while from < data.len() {
                            let at = *offset as usize + from;
                            let to = (from + SECTOR - at % SECTOR).min(data.len());
                            if random(16) < share {
                                apply(&mut bytes, &Change::Write(at as u64, data[from..to].to_vec()));
                            } else if random(2) == 0 && bytes.len() < at + to - from {
                                // The length is there, the data is not.
                                bytes.resize(at + to - from, 0);
                            }
                            from = to;
                        }
                    }
                    (_, change) => {
                        if random(16) < share {
                            apply(&mut bytes, change);
                        }
                    }
                }
            }
            (path, (!content.is_dir).then_some(bytes))
        });
        (Image { files: files.collect() }, undone)
    }
}

/// Files and folders as a crash has left them; a folder has no bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Image {
    files: Vec<(String, Option<Vec<u8>>)>,
}

impl Image {
    /// Whether a file in it has a name that ends so.
    pub fn holds(&self, ending: &str) -> bool {
        self.files.iter().any(|(path, _)| path.ends_with(ending))
    }

    /// The first file that is not in the folder `dir` as it is here, or is there alone; `is_told` says of which names that is asked.
    pub fn differs_from(&self, dir: &Path, is_told: impl Fn(&str) -> bool) -> std::io::Result<Option<String>> {
        let mut there = BTreeMap::new();
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                let name = path.strip_prefix(dir).expect("it lies there").to_string_lossy().into_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if is_told(&name) {
                    there.insert(name, std::fs::read(path)?);
                }
            }
        }
        let files = self.files.iter().filter_map(|(path, bytes)| Some((path, bytes.as_ref()?)));
        let other =
            files.filter(|(path, bytes)| there.remove(*path).as_ref() != Some(*bytes)).map(|(path, _)| path.clone()).min();
        Ok(other.or_else(|| there.into_keys().next()))
    }

    /// Puts it into the empty folder `dir`.
    pub fn write(&self, dir: &Path) -> std::io::Result<()> {
        for (path, bytes) in &self.files {
            let path = dir.join(path);
            match bytes {
                None => std::fs::create_dir_all(&path)?,
                Some(bytes) => {
                    std::fs::create_dir_all(path.parent().expect("it lies in the folder"))?;
                    std::fs::write(&path, bytes)?;
                }
            }
        }
        Ok(())
    }
}
