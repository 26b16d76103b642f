//! What does not follow from tumbling windows: versions of sliding ones, sessions, where readings were taken; and versions of the hours.

use super::{Checkpoint, Store, StoreError, broken, either};
use domain::engine::{ClosedDerived, Derived};
use domain::rollup::{FINAL_AFTER_MS, HourCell, KnownHour, PackedHour};
use domain::time::HOUR_MS;
use futures::TryStreamExt;
use std::collections::BTreeSet;

/// How many of them a block holds at most.
const BLOCK: usize = 4_096;

/// What a block of derived results is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DerivedKind {
    /// How many records joined sliding windows after they had fired.
    Joined = 0,
    /// Sessions.
    Session = 1,
    /// Where readings were taken.
    Located = 2,
}

impl DerivedKind {
    const fn of(derived: &Derived) -> Self {
        match derived {
            Derived::Joined { .. } => DerivedKind::Joined,
            Derived::Session { .. } => DerivedKind::Session,
            Derived::Located(_) => DerivedKind::Located,
        }
    }
}

/// A block as its row has it.
pub(super) struct DerivedBlock {
    pub kind: i64,
    pub devices: (i64, i64),
    pub span: (i64, i64),
    pub data: Vec<u8>,
}

/// The derived results of a checkpoint as blocks.
pub(super) fn blocks(checkpoint: &Checkpoint) -> Result<Vec<DerivedBlock>, StoreError> {
    let mut all = checkpoint.derived.to_vec();
    all.sort_by_key(|d| (DerivedKind::of(&d.derived), d.device, d.derived.span()));
    let chunks =
        all.chunk_by(|a, b| DerivedKind::of(&a.derived) == DerivedKind::of(&b.derived)).flat_map(|kind| kind.chunks(BLOCK));
    chunks
        .map(|chunk| {
            let kind = DerivedKind::of(&chunk[0].derived) as i64;
            let spans = || chunk.iter().map(|d| d.derived.span());
            Ok(DerivedBlock {
                kind,
                devices: (i64::from(chunk[0].device), i64::from(chunk[chunk.len() - 1].device)),
                span: (spans().map(|s| s.0).min().unwrap_or(0), spans().map(|s| s.1).max().unwrap_or(0)),
                data: postcard::to_stdvec(chunk).map_err(|e| broken("derived_blocks", kind, e))?,
            })
        })
        .collect()
}

/// Puts the derived results of a checkpoint and its versions of hours into either database, within the transaction `$tx`.
macro_rules! put_derived {
    ($tx:ident, $checkpoint:ident) => {{
        for block in $crate::store::derived::blocks($checkpoint)? {
            sqlx::query(
                "insert into derived_blocks (partition, kind, first_device, last_device, first_ms, last_ms, data)
                 values ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(i64::from($checkpoint.partition))
            .bind(block.kind)
            .bind(block.devices.0)
            .bind(block.devices.1)
            .bind(block.span.0)
            .bind(block.span.1)
            .bind(block.data)
            .execute(&mut *$tx)
            .await?;
        }
        for known in $checkpoint.known_hours.iter() {
            let cells = postcard::to_stdvec(&known.cells).map_err(|e| broken("hour_versions", known.hour, e))?;
            sqlx::query("insert into hour_versions (partition, start_ms, known_at_ms, cells) values ($1, $2, $3, $4)")
                .bind(i64::from($checkpoint.partition))
                .bind(known.hour)
                .bind(known.known_at)
                .bind(cells)
                .execute(&mut *$tx)
                .await?;
        }
    }};
}
pub(super) use put_derived;

/// The hour from `start` as its row has it.
pub(super) fn hour(start: i64, cells: &[u8]) -> Result<PackedHour, StoreError> {
    PackedHour::from_bytes(cells).ok_or_else(|| broken("hours", start, "its cells cannot be read"))
}

impl Store {
    /// Tells the stored derived results of a kind that overlap [from, to) to `each`, of the devices whose index lies in `devices`, with the
    /// number of their partition; in no order.
    pub async fn derived(
        &self,
        kind: DerivedKind,
        devices: (u32, u32),
        span: (i64, i64),
        each: impl FnMut(u32, ClosedDerived),
    ) -> Result<(), StoreError> {
        self.derived_by_partition(kind, None, devices, span, each).await
    }

    /// The same of one `partition`, or of all.
    pub async fn derived_by_partition(
        &self,
        kind: DerivedKind,
        partition: Option<u32>,
        devices: (u32, u32),
        (from, to): (i64, i64),
        mut each: impl FnMut(u32, ClosedDerived),
    ) -> Result<(), StoreError> {
        either!(self, pools => {
            let mut rows = sqlx::query_as::<_, (i64, i64, Vec<u8>)>(
                "select id, partition, data from derived_blocks
                 where kind = $1 and last_ms > $2 and first_ms < $3 and first_device <= $5 and last_device >= $4
                     and (partition = $6 or $6 is null)",
            )
            .bind(kind as i64)
            .bind(from)
            .bind(to)
            .bind(i64::from(devices.0))
            .bind(i64::from(devices.1))
            .bind(partition.map(i64::from))
            .fetch(&pools.readers);
            while let Some((id, partition, data)) = rows.try_next().await? {
                let block: Vec<ClosedDerived> = postcard::from_bytes(&data).map_err(|e| broken("derived_blocks", id, e))?;
                for derived in block {
                    let (starts, ends) = derived.derived.span();
                    if (devices.0..=devices.1).contains(&derived.device) && starts < to && ends > from {
                        each(partition as u32, derived);
                    }
                }
            }
        });
        Ok(())
    }

    /// Tells the hours that start in [from, to) to `each`, as of the last checkpoint: of one partition, oldest first, or of all.
    pub async fn hours(
        &self,
        partition: Option<u32>,
        (from, to): (i64, i64),
        mut each: impl FnMut(i64, PackedHour),
    ) -> Result<(), StoreError> {
        either!(self, pools => {
            let mut rows = sqlx::query_as::<_, (i64, Vec<u8>)>(
                "select start_ms, cells from hours
                 where (partition = $1 or $1 is null) and start_ms >= $2 and start_ms < $3 order by start_ms",
            )
            .bind(partition.map(i64::from))
            .bind(from)
            .bind(to)
            .fetch(&pools.readers);
            while let Some((start, cells)) = rows.try_next().await? {
                each(start, hour(start, &cells)?);
            }
        });
        Ok(())
    }

    /// Tells the stored versions of the hours that start in [from, to), made until `known_at`, to `each`, with the number of their
    /// partition: per partition and hour oldest first.
    pub async fn hour_versions(
        &self,
        span: (i64, i64),
        known_at: i64,
        each: impl FnMut(u32, KnownHour),
    ) -> Result<(), StoreError> {
        self.hour_versions_by_partition(None, span, known_at, each).await
    }

    /// The same of one `partition`, or of all.
    pub async fn hour_versions_by_partition(
        &self,
        partition: Option<u32>,
        (from, to): (i64, i64),
        known_at: i64,
        mut each: impl FnMut(u32, KnownHour),
    ) -> Result<(), StoreError> {
        either!(self, pools => {
            let mut rows = sqlx::query_as::<_, (i64, i64, i64, Vec<u8>)>(
                "select partition, start_ms, known_at_ms, cells from hour_versions
                 where start_ms >= $1 and start_ms < $2 and known_at_ms <= $3 and (partition = $4 or $4 is null)
                 order by partition, start_ms, known_at_ms",
            )
            .bind(from)
            .bind(to)
            .bind(known_at)
            .bind(partition.map(i64::from))
            .fetch(&pools.readers);
            while let Some((partition, hour, known_at, cells)) = rows.try_next().await? {
                let cells: Vec<(u32, HourCell)> = postcard::from_bytes(&cells).map_err(|e| broken("hour_versions", hour, e))?;
                each(partition as u32, KnownHour { known_at, hour, cells });
            }
        });
        Ok(())
    }

    /// The hours that start in [from, to) and changed after they had become final.
    pub async fn restated_hours(&self, (from, to): (i64, i64)) -> Result<BTreeSet<i64>, StoreError> {
        let hours: Vec<i64> = either!(self, pools => {
            sqlx::query_scalar(
                "select distinct start_ms from hour_versions
                 where start_ms >= $1 and start_ms < $2 and known_at_ms > start_ms + $3",
            )
            .bind(from)
            .bind(to)
            .bind(HOUR_MS + FINAL_AFTER_MS)
            .fetch_all(&pools.readers)
            .await?
        });
        Ok(hours.into_iter().collect())
    }

    /// Deletes what is about times before `cutoff`; how many blocks and versions that were.
    pub(super) async fn forget_derived(&self, cutoff: i64) -> Result<u64, StoreError> {
        let mut gone = 0;
        for text in ["delete from derived_blocks where last_ms < $1", "delete from hour_versions where start_ms < $1"] {
            gone += either!(self, pools => sqlx::query(text).bind(cutoff).execute(&pools.writer).await?.rows_affected());
        }
        Ok(gone)
    }
}
