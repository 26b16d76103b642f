//! Reading the side outputs: late records and dead letters.

use super::{Store, StoreError, broken, either};
use crate::side::{DEAD, LATE, SideBlock, SideRow};
use domain::planted;
use std::collections::{BTreeSet, VecDeque};

/// The last position of a block, and its records encoded.
type Block = (i64, Vec<u8>);

/// Blocks that are read at once where there is one partition: each may hold a thousand records, and megabytes.
const BLOCKS: i64 = 4;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    OldestFirst,
    NewestFirst,
}

/// One partition's records. Its blocks follow each other; those of several partitions overlap.
struct Reader {
    partition: i64,
    /// The last position of the block that was read last.
    at: i64,
    rows: VecDeque<SideRow>,
    has_ended: bool,
}

impl Store {
    /// Late records (`kind` 0) or dead letters (1) after `position`, in the order of their positions, at most `limit`.
    pub async fn side_after(&self, kind: usize, position: u64, limit: usize) -> Result<Vec<SideRow>, StoreError> {
        self.side(kind, clamped(position), limit, Order::OldestFirst).await
    }

    /// The newest late records (`kind` 0) or dead letters (1) before `position`, or of all, newest first, at most `limit`.
    pub async fn side_newest(&self, kind: usize, position: Option<u64>, limit: usize) -> Result<Vec<SideRow>, StoreError> {
        self.side(kind, position.map_or(i64::MAX, clamped), limit, Order::NewestFirst).await
    }

    async fn side(&self, kind: usize, from: i64, limit: usize, order: Order) -> Result<Vec<SideRow>, StoreError> {
        let mut readers = Vec::new();
        for partition in self.partitions().await? {
            let at = match order {
                Order::OldestFirst => from,
                Order::NewestFirst => self.behind(kind, partition, from).await?,
            };
            readers.push(Reader { partition, at, rows: VecDeque::new(), has_ended: false });
        }
        let at_once = if readers.len() > 1 { 1 } else { BLOCKS };
        let mut found = Vec::new();
        while found.len() < limit {
            for reader in &mut readers {
                while reader.rows.is_empty() && !reader.has_ended {
                    let blocks = self.side_blocks(kind, reader, at_once, order).await?;
                    reader.has_ended = blocks.is_empty();
                    for block in &blocks {
                        reader.at = block.0;
                        let mut rows = rows(block)?;
                        match order {
                            Order::OldestFirst => rows.retain(|row| row.position as i64 > from),
                            Order::NewestFirst => {
                                rows.retain(|row| (row.position as i64) < from);
                                rows.reverse();
                            }
                        }
                        reader.rows.extend(rows);
                    }
                }
            }
            let next = readers.iter_mut().filter(|reader| !reader.rows.is_empty());
            let next = match order {
                Order::OldestFirst => next.min_by_key(|reader| reader.rows[0].position),
                Order::NewestFirst => next.max_by_key(|reader| reader.rows[0].position),
            };
            let Some(row) = next.and_then(|reader| reader.rows.pop_front()) else { break };
            found.push(row);
        }
        Ok(found)
    }

    /// Where the blocks end that may hold a record before `position`: the one that reaches over it is the last of them.
    async fn behind(&self, kind: usize, partition: i64, position: i64) -> Result<i64, StoreError> {
        let text = "select min(last_position) from side_blocks where kind = $1 and partition = $2 and last_position >= $3";
        let last: Option<i64> = either!(self, pools => {
            let query = sqlx::query_scalar(text).bind(kind as i64).bind(partition).bind(position);
            query.fetch_one(&pools.readers).await?
        });
        Ok(last.map_or(i64::MAX, |last| last + 1))
    }

    async fn side_blocks(&self, kind: usize, reader: &Reader, limit: i64, order: Order) -> Result<Vec<Block>, StoreError> {
        let text = match order {
            Order::OldestFirst => {
                "select last_position, data from side_blocks
                 where kind = $1 and partition = $2 and last_position > $3
                 order by last_position
                 limit $4"
            }
            Order::NewestFirst => {
                "select last_position, data from side_blocks
                 where kind = $1 and partition = $2 and last_position < $3
                 order by last_position desc
                 limit $4"
            }
        };
        Ok(either!(self, pools => {
            let query = sqlx::query_as(text).bind(kind as i64).bind(reader.partition).bind(reader.at).bind(limit);
            query.fetch_all(&pools.readers).await?
        }))
    }

    /// The late record (`kind` 0) or dead letter (1) at `position`.
    pub async fn side_at(&self, kind: usize, position: u64) -> Result<Option<SideRow>, StoreError> {
        let Some(before) = position.checked_sub(1) else { return Ok(None) };
        Ok(self.side_after(kind, before, 1).await?.pop().filter(|row| row.position == position))
    }

    /// Which of `positions` hold a dead letter of `partition`.
    pub async fn letters(&self, partition: u32, positions: &BTreeSet<u64>) -> Result<BTreeSet<u64>, StoreError> {
        let mut found = Letters::default();
        for position in positions {
            let Some(at) = found.asks_for(*position) else { continue };
            found.take(either!(self, pools => {
                let query = sqlx::query_as(LETTERS_AROUND).bind(DEAD as i64).bind(i64::from(partition)).bind(at);
                query.fetch_optional(&pools.readers).await?
            }))?;
            found.look(*position);
        }
        Ok(found.found)
    }

    /// Deletes blocks all of whose records came in before `cutoff`; how many there were. A dead letter of which nothing was decided stays,
    /// with its block: it is not for a clock to discard what somebody has to answer for (C4).
    pub(super) async fn forget_side(&self, cutoff: i64) -> Result<u64, StoreError> {
        let mut gone = either!(self, pools => {
            sqlx::query("delete from side_blocks where last_received_ms < $1 and kind = $2")
                .bind(cutoff)
                .bind(LATE as i64)
                .execute(&pools.writer)
                .await?
                .rows_affected()
        });
        // Those of which so much was decided as they hold; what exactly, is looked at block by block.
        let blocks: Vec<(i64, i64, i64)> = either!(self, pools => {
            sqlx::query_as(
                "select partition, first_position, last_position from side_blocks
                 where last_received_ms < $1 and kind = $2
                     and (records <= (select count(*) from decisions
                                      where letter between side_blocks.first_position and side_blocks.last_position)
                         or $3)",
            )
            .bind(cutoff)
            .bind(DEAD as i64)
            .bind(planted("open-letter-is-deleted"))
            .fetch_all(&pools.readers)
            .await?
        });
        for (partition, first, last) in blocks {
            let decided: BTreeSet<u64> =
                self.decisions(first as u64, last as u64).await?.into_iter().map(|decided| decided.letter).collect();
            gone += either!(self, pools => {
                let block: Option<Block> = sqlx::query_as(
                    "select last_position, data from side_blocks where kind = $1 and partition = $2 and last_position = $3",
                )
                .bind(DEAD as i64)
                .bind(partition)
                .bind(last)
                .fetch_optional(&pools.readers)
                .await?;
                let Some(block) = block else { continue };
                if rows(&block)?.iter().any(|row| !decided.contains(&row.position)) && !planted("open-letter-is-deleted") {
                    continue;
                }
                sqlx::query("delete from side_blocks where kind = $1 and partition = $2 and last_position = $3")
                    .bind(DEAD as i64)
                    .bind(partition)
                    .bind(last)
                    .execute(&pools.writer)
                    .await?
                    .rows_affected()
            });
        }
        Ok(gone)
    }

    /// The partitions of which anything was stored.
    pub async fn partitions(&self) -> Result<Vec<i64>, StoreError> {
        Ok(either!(self, pools => {
            sqlx::query_scalar("select partition from input_position order by partition").fetch_all(&pools.readers).await?
        }))
    }
}

/// The block of dead letters of a partition that may hold a position.
pub(super) const LETTERS_AROUND: &str = "select last_position, data from side_blocks
    where kind = $1 and partition = $2 and last_position >= $3 and first_position <= $3";

/// Dead letters that were found, in ascending order of their positions: a block that holds several is read once.
#[derive(Default)]
pub(super) struct Letters {
    /// The positions that the newest block holds.
    block: Vec<u64>,
    pub found: BTreeSet<u64>,
}

impl Letters {
    /// What to ask of the database, to know of `position`; `None` where that is known.
    pub fn asks_for(&mut self, position: u64) -> Option<i64> {
        let is_within = self.block.first().is_some_and(|first| *first <= position) && self.block.last() >= Some(&position);
        if is_within {
            self.look(position);
            return None;
        }
        i64::try_from(position).ok()
    }

    /// Takes the answer.
    pub fn take(&mut self, block: Option<Block>) -> Result<(), StoreError> {
        let rows = block.map(|block| rows(&block)).transpose()?;
        self.block = rows.into_iter().flatten().map(|row| row.position).collect();
        Ok(())
    }

    /// Notes whether there is a letter at `position`.
    pub fn look(&mut self, position: u64) {
        if self.block.binary_search(&position).is_ok() {
            self.found.insert(position);
        }
    }
}

/// A position that somebody asked for, which may be any number; the store has none beyond the largest signed one.
fn clamped(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

pub(super) fn rows((last, data): &Block) -> Result<Vec<SideRow>, StoreError> {
    SideBlock::decode(data).map_err(|e| broken("side_blocks", last, e))
}
