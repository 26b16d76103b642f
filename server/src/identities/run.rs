//! Runs: files of identities in order, in pages that each carry a checksum, so that what is read is known to be what was written.
//!
//! A page is 4 096 bytes: CRC-32C u32 of its own number (u64) and of all that follows; number of entries u32; when the newest identity
//! of the run came in, i64; up to 170 entries of key and body; zeros; little-endian. Every page but the last is full. With what each
//! page begins is kept in memory: a key is looked for in one page.

use super::Entry;
use crate::files::File;
use domain::time::ProcessingTime;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PAGE: usize = 4_096;
const HEADER: usize = 16;
const ENTRY: usize = 24;
/// Entries of a page.
pub(super) const ENTRIES: usize = (PAGE - HEADER) / ENTRY;

/// The first 32 bits of the first key of each page.
pub(super) type Fences = Arc<[u32]>;

const fn fence(high: u64) -> u32 {
    (high >> 32) as u32
}

/// A page as it was read.
type Page = [u8; PAGE];

fn checksum(number: usize, page: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&(number as u64).to_le_bytes()), &page[4..])
}

fn u32_at(page: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(page[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The entries of a page.
fn entries(page: &Page) -> &[[u8; ENTRY]] {
    let (entries, _) = page[HEADER..].as_chunks::<ENTRY>();
    &entries[..u32_at(page, 4) as usize]
}

fn key_of(entry: &[u8; ENTRY]) -> u128 {
    u128::from(u64_at(entry, 0)) | (u128::from(u64_at(entry, 8)) << 64)
}

/// A file of identities in order.
#[derive(Debug)]
pub(super) struct Run {
    file: File,
    pub path: PathBuf,
    pub pages: usize,
    /// None until they are set or the run was read.
    pub fences: Fences,
    pub entries: usize,
    /// When its newest identity came in.
    pub received_at: ProcessingTime,
}

impl Run {
    /// Opens the run at `path`, which has to hold so many `identities`. Its pages are checked as they are read.
    pub fn open(path: &Path, identities: u64) -> io::Result<Self> {
        let context = |e: io::Error| io::Error::new(e.kind(), format!("the run of identities {}: {e}", path.display()));
        let file = File::open(path).map_err(context)?;
        let len = file.len()? as usize;
        let received_at = ProcessingTime::from_ms(0);
        let mut run = Self { file, path: path.to_owned(), pages: len / PAGE, fences: [].into(), entries: 0, received_at };
        if !len.is_multiple_of(PAGE) {
            return Err(run.damaged("its length is impossible"));
        }
        if let Some(last) = run.pages.checked_sub(1) {
            let page = run.page(last)?;
            run.entries = last * ENTRIES + entries(&page).len();
            run.received_at = ProcessingTime::from_ms(u64_at(&page, 8) as i64);
        }
        if run.entries as u64 != identities {
            return Err(run.damaged(format_args!("it holds {} identities and should hold {identities}", run.entries)));
        }
        Ok(run)
    }

    fn damaged(&self, what: impl std::fmt::Display) -> io::Error {
        let path = self.path.display();
        io::Error::other(format!(
            "the run of identities {path} is damaged: {what}; restore it from a backup, or make it anew with `rebuild`"
        ))
    }

    /// Reads a page and checks it.
    fn page(&self, number: usize) -> io::Result<Page> {
        let mut page = [0; PAGE];
        self.file.read_exact_at(&mut page, (number * PAGE) as u64)?;
        let held = u32_at(&page, 4) as usize;
        let is_possible = if number + 1 < self.pages { held == ENTRIES } else { (1..=ENTRIES).contains(&held) };
        if (u32_at(&page, 0) != checksum(number, &page) && !domain::planted("run-is-not-checked")) || !is_possible {
            return Err(self.damaged(format_args!("the checksum of page {number} does not match")));
        }
        Ok(page)
    }

    /// Reads page after page until `is_stopped`, and checks each.
    pub fn check(&self, is_stopped: &dyn Fn() -> bool) -> io::Result<()> {
        for number in 0..self.pages {
            if is_stopped() {
                break;
            }
            self.page(number)?;
        }
        Ok(())
    }

    /// Reads all of it and tells every key to `each`.
    pub fn read(&mut self, mut each: impl FnMut(u128)) -> io::Result<()> {
        let mut fences = Vec::with_capacity(self.pages);
        for number in 0..self.pages {
            let page = self.page(number)?;
            let keys = entries(&page).iter().map(key_of);
            fences.extend(keys.clone().next().map(|first| fence((first >> 64) as u64)));
            keys.for_each(&mut each);
        }
        self.fences = fences.into();
        Ok(())
    }

    /// The body known for `key`.
    pub fn find(&self, key: u128) -> io::Result<Option<u64>> {
        let fences = &self.fences;
        let of_key = fence((key >> 64) as u64);
        // Keys are uniform: it lies about here.
        let mut at = ((u64::from(of_key) * fences.len() as u64) >> 32) as usize;
        while at > 0 && fences[at] >= of_key {
            at -= 1;
        }
        while at + 1 < fences.len() && fences[at + 1] < of_key {
            at += 1;
        }
        // Pages that begin with the same bits may follow.
        while at < fences.len() && fences[at] <= of_key {
            let page = self.page(at)?;
            let entries = entries(&page);
            if let Ok(found) = entries.binary_search_by_key(&key, key_of) {
                return Ok(Some(u64_at(&entries[found], 16)));
            }
            at += 1;
        }
        Ok(None)
    }
}

/// Writes a run, in order of key.
pub(super) struct RunWriter {
    out: BufWriter<File>,
    page: Page,
    held: usize,
    number: usize,
    fences: Vec<u32>,
}

impl RunWriter {
    pub fn create(path: &Path, received_at: ProcessingTime) -> io::Result<Self> {
        let mut page = [0; PAGE];
        page[8..HEADER].copy_from_slice(&received_at.ms().to_le_bytes());
        Ok(Self { out: BufWriter::with_capacity(1 << 20, File::create(path)?), page, held: 0, number: 0, fences: Vec::new() })
    }

    pub fn push(&mut self, entry: &Entry) -> io::Result<()> {
        if self.held == 0 {
            self.fences.push(fence(entry.high));
        }
        let at = HEADER + self.held * ENTRY;
        for (field, value) in self.page[at..at + ENTRY].chunks_exact_mut(8).zip([entry.low, entry.high, entry.body]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        self.held += 1;
        if self.held == ENTRIES { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> io::Result<()> {
        self.page[HEADER + self.held * ENTRY..].fill(0);
        self.page[4..8].copy_from_slice(&(self.held as u32).to_le_bytes());
        let checksum = checksum(self.number, &self.page);
        self.page[..4].copy_from_slice(&checksum.to_le_bytes());
        self.out.write_all(&self.page)?;
        (self.held, self.number) = (0, self.number + 1);
        Ok(())
    }

    /// Durable on return, but for the name of the file.
    pub fn finish(mut self) -> io::Result<Fences> {
        if self.held > 0 {
            self.end_page()?;
        }
        self.out.into_inner()?.sync_all()?;
        Ok(self.fences.into())
    }
}
