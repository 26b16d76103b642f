//! What tells, of nearly every new key, that it is new.

use crate::files;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// A blocked Bloom filter: one cache line a key, one bit in each of its eight words (after Putze, Sanders and Singler, "Cache-,
/// hash- and space-efficient Bloom filters", 2007). At 16 bits a key about 6 in 10 000 unknown keys pass.
#[derive(Debug)]
pub(super) struct Filter {
    blocks: Vec<FilterBlock>,
}

/// One cache line: the alignment matters.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct FilterBlock([u64; 8]);

/// Blocks of a filter for so many `keys`.
const fn blocks(keys: usize) -> usize {
    keys * 16 / 512 + 1
}

impl Filter {
    pub fn new(keys: usize) -> Self {
        Self { blocks: vec![FilterBlock::default(); blocks(keys)] }
    }

    /// Whether it was made for so many `keys`.
    pub const fn is_for(&self, keys: usize) -> bool {
        self.blocks.len() == blocks(keys)
    }

    /// Writes it with its checksum, durable on return.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        files::replace(path, |file| {
            let mut writer = BufWriter::with_capacity(1 << 20, file);
            let mut crc = 0;
            for word in self.blocks.iter().flat_map(|block| block.0) {
                let bytes = word.to_le_bytes();
                crc = crc32c::crc32c_append(crc, &bytes);
                writer.write_all(&bytes)?;
            }
            writer.write_all(&crc.to_le_bytes())?;
            writer.flush()
        })
    }

    /// Reads the filter at `path`; `None` where it is not there or not whole.
    pub fn read(path: &Path, keys: usize) -> io::Result<Option<Self>> {
        let mut filter = Self::new(keys);
        let bytes = match files::read(path) {
            Ok(bytes) if bytes.len() == filter.blocks.len() * 64 + 4 => bytes,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (words, crc) = bytes.split_at(bytes.len() - 4);
        if crc32c::crc32c(words).to_le_bytes() != crc {
            return Ok(None);
        }
        for (word, bytes) in filter.blocks.iter_mut().flat_map(|block| &mut block.0).zip(words.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        }
        Ok(Some(filter))
    }

    fn block(&self, key: u128) -> usize {
        (((key >> 64) * self.blocks.len() as u128) >> 64) as usize
    }

    pub fn insert(&mut self, key: u128) {
        let at = self.block(key);
        for (i, word) in self.blocks[at].0.iter_mut().enumerate() {
            *word |= 1 << ((key as u64 >> (i * 6)) & 63);
        }
    }

    /// Without a branch: which bits are set is chance, and a processor that guesses wrong throws away what it had begun.
    pub fn may_hold(&self, key: u128) -> bool {
        let block = &self.blocks[self.block(key)].0;
        block.iter().enumerate().fold(1, |all, (i, word)| all & (word >> ((key as u64 >> (i * 6)) & 63))) == 1
    }

    /// Reads of what [`Filter::may_hold`] will look at.
    pub fn touch(&self, key: u128) -> u64 {
        self.blocks[self.block(key)].0[0]
    }
}
