//! Reading the side outputs: late records and dead letters.

use super::{Store, StoreError, broken, either};
use crate::side::SideRow;

/// The last position of a block, and its records encoded.
type Block = (i64, Vec<u8>);

/// Blocks that are read at once: each may hold a thousand records, and megabytes.
const BLOCKS: i64 = 4;

impl Store {
    /// Late records (`kind` 0) or dead letters (1) after `position`, oldest first, at least `limit` where there are so many.
    pub async fn side_after(&self, kind: usize, position: u64, limit: usize) -> Result<Vec<SideRow>, StoreError> {
        let (mut found, mut after) = (Vec::new(), position as i64);
        while found.len() < limit {
            let blocks: Vec<Block> = either!(self, pools => {
                sqlx::query_as(
                    "select last_position, data from side_blocks where kind = $1 and last_position > $2 order by last_position limit $3",
                )
                .bind(kind as i64)
                .bind(after)
                .bind(BLOCKS)
                .fetch_all(&pools.readers)
                .await?
            });
            let Some((last, _)) = blocks.last() else { break };
            after = *last;
            for block in &blocks {
                if found.len() < limit {
                    found.extend(rows(block)?.into_iter().filter(|r| r.position > position));
                }
            }
        }
        Ok(found)
    }

    /// The late record (`kind` 0) or dead letter (1) at `position`.
    pub async fn side_at(&self, kind: usize, position: u64) -> Result<Option<SideRow>, StoreError> {
        let block: Option<Block> = either!(self, pools => {
            sqlx::query_as(
                "select last_position, data from side_blocks
                 where kind = $1 and last_position >= $2 and first_position <= $2
                 order by last_position
                 limit 1",
            )
            .bind(kind as i64)
            .bind(position as i64)
            .fetch_optional(&pools.readers)
            .await?
        });
        let rows = block.as_ref().map(rows).transpose()?.unwrap_or_default();
        Ok(rows.into_iter().find(|row| row.position == position))
    }

    /// The newest late records (`kind` 0) or dead letters (1), newest first, at most `limit`.
    pub async fn side_newest(&self, kind: usize, limit: usize) -> Result<Vec<SideRow>, StoreError> {
        let (mut found, mut before) = (Vec::new(), i64::MAX);
        while found.len() < limit {
            let blocks: Vec<Block> = either!(self, pools => {
                sqlx::query_as(
                    "select last_position, data from side_blocks
                     where kind = $1 and last_position < $2
                     order by last_position desc
                     limit $3",
                )
                .bind(kind as i64)
                .bind(before)
                .bind(BLOCKS)
                .fetch_all(&pools.readers)
                .await?
            });
            let Some((last, _)) = blocks.last() else { break };
            before = *last;
            for block in &blocks {
                if found.len() < limit {
                    found.extend(rows(block)?.into_iter().rev());
                }
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

fn rows((last, data): &Block) -> Result<Vec<SideRow>, StoreError> {
    postcard::from_bytes(data).map_err(|e| broken("side_blocks", last, e))
}
