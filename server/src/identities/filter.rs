//! What tells, of nearly every new key, that it is new.

use super::run::Fences;
use crate::files;
use std::io::{self, Write};
use std::path::Path;

/// A blocked Bloom filter: one cache line a key, one bit in each of its eight words (after Putze, Sanders and Singler, "Cache-,
/// hash- and space-efficient Bloom filters", 2007). At 24 bits a key about 9 in 100 000 unknown keys pass, at 12 about 4 in 1 000.
#[derive(Debug)]
pub(super) struct Filter {
    keys: usize,
    blocks: Vec<FilterBlock>,
}

/// Bits a key of a filter beside so many other `generations`: while they are few time counts, every key that passes by chance is looked
/// for in all runs; once they are many memory does.
pub(super) const fn bits_beside(generations: usize) -> usize {
    if generations < 8 { WIDE } else { TIGHT }
}

const WIDE: usize = 24;
/// Also of the small filter with which a generation begins.
pub(super) const TIGHT: usize = 12;

/// One cache line: the alignment matters.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct FilterBlock([u64; 8]);

/// Blocks of a filter for so many `keys`.
const fn blocks(keys: usize, bits: usize) -> usize {
    keys * bits / 512 + 1
}

/// Bytes that are encoded at once.
const PIECE: usize = 1 << 16;

impl Filter {
    /// An empty one for so many `keys`, of so many `bits` each.
    pub fn new(keys: usize, bits: usize) -> Self {
        Self { keys, blocks: vec![FilterBlock::default(); blocks(keys, bits)] }
    }

    /// Whether it was made for so many `keys`.
    pub const fn is_for(&self, keys: usize) -> bool {
        self.keys == keys
    }

    /// Writes it, the `fences` of the runs whose keys it has, and a checksum of all that; durable on return.
    pub fn write(&self, path: &Path, fences: &[Fences]) -> io::Result<()> {
        files::replace(path, |file| {
            let (mut piece, mut crc) = (Vec::with_capacity(PIECE), 0);
            let mut put = |piece: &mut Vec<u8>| {
                crc = crc32c::crc32c_append(crc, piece);
                file.write_all(piece)?;
                piece.clear();
                io::Result::Ok(crc)
            };
            for blocks in self.blocks.chunks(PIECE / size_of::<FilterBlock>()) {
                blocks.iter().flat_map(|block| block.0).for_each(|word| piece.extend_from_slice(&word.to_le_bytes()));
                put(&mut piece)?;
            }
            for fences in fences {
                fences.iter().for_each(|fence| piece.extend_from_slice(&fence.to_le_bytes()));
                put(&mut piece)?;
            }
            let crc = put(&mut piece)?;
            file.write_all(&crc.to_le_bytes())
        })
    }

    /// Reads the filter at `path` and the fences of its runs, which have so many `pages`; `None` where it is not there or not whole.
    pub fn read(path: &Path, keys: usize, pages: impl Iterator<Item = usize> + Clone) -> io::Result<Option<(Self, Vec<Fences>)>> {
        let bytes = match files::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let rest = pages.clone().sum::<usize>() * size_of::<u32>() + 4;
        let size = |bits| blocks(keys, bits) * size_of::<FilterBlock>();
        let Some(bits) = [WIDE, TIGHT].into_iter().find(|bits| bytes.len() == size(*bits) + rest) else { return Ok(None) };
        let mut filter = Self::new(keys, bits);
        let (content, crc) = bytes.split_at(bytes.len() - 4);
        if crc32c::crc32c(content).to_le_bytes() != crc {
            return Ok(None);
        }
        let (words, fences) = content.split_at(size(bits));
        for (word, bytes) in filter.blocks.iter_mut().flat_map(|block| &mut block.0).zip(words.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        let mut fences = fences.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        let fences = pages.map(|pages| fences.by_ref().take(pages).collect()).collect();
        Ok(Some((filter, fences)))
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
