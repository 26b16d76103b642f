//! Versions of how equipment stands, and how it stood at some instant.

use super::{Store, StoreError, broken, either};
use domain::rollup::{KnownCounts, Stood, StoodThen};
use domain::time::DAY_MS;
use std::io;

/// Puts the versions of a checkpoint into either database, within the transaction `$tx`.
macro_rules! put_counts {
    ($tx:ident, $checkpoint:ident) => {{
        for known in $checkpoint.known_counts.iter() {
            let data = super::encode_counts(known);
            sqlx::query("insert into count_versions (partition, known_at_ms, is_whole, data) values ($1, $2, $3, $4)")
                .bind(i64::from($checkpoint.partition))
                .bind(known.known_at)
                .bind(i64::from(known.is_whole))
                .bind(data)
                .execute(&mut *$tx)
                .await?;
        }
    }};
}
pub(super) use put_counts;

/// Partition, when it is known, whether it is whole, and the facilities.
type Row = (i64, i64, Vec<u8>);

fn read((known_at, is_whole, data): Row) -> Result<KnownCounts, StoreError> {
    decode_counts(known_at, is_whole == 1, &data).map_err(|e| broken("count_versions", known_at, e))
}

/// What a version says, for a row: facilities, then the changed devices, each by how far behind the one before, then their columns.
/// Compressed to a third.
pub fn encode_counts(known: &KnownCounts) -> Vec<u8> {
    let gaps: Vec<u32> =
        known.columns.iter().scan(0, |from, (device, _)| Some(device - std::mem::replace(from, *device))).collect();
    let columns: Vec<u8> = known.columns.iter().map(|(_, column)| *column).collect();
    let data = postcard::to_stdvec(&(&known.facilities, gaps, columns)).expect("plain values always encode");
    zstd::bulk::compress(&data, 1).expect("compressing in memory does not fail")
}

/// The version made as of `known_at` that a row holds.
pub fn decode_counts(known_at: i64, is_whole: bool, data: &[u8]) -> io::Result<KnownCounts> {
    let data = zstd::decode_all(data)?;
    let (facilities, gaps, columns): (Vec<(u32, Stood)>, Vec<u32>, Vec<u8>) =
        postcard::from_bytes(&data).map_err(io::Error::other)?;
    if gaps.len() != columns.len() {
        return Err(io::Error::other("as many devices as columns were expected"));
    }
    let devices = gaps.iter().scan(0u32, |device, gap| {
        *device = device.saturating_add(*gap);
        Some(*device)
    });
    Ok(KnownCounts { known_at, is_whole, facilities, columns: devices.zip(columns).collect() })
}

impl Store {
    /// The versions of how the equipment of `partition` stands, oldest first.
    pub async fn count_versions(&self, partition: u32) -> Result<Vec<KnownCounts>, StoreError> {
        let rows: Vec<Row> = either!(self, pools => {
            sqlx::query_as("select known_at_ms, is_whole, data from count_versions where partition = $1 order by known_at_ms")
                .bind(i64::from(partition))
                .fetch_all(&pools.readers)
                .await?
        });
        rows.into_iter().map(read).collect()
    }

    /// How the equipment of `partition` stood as known at `known_at`, from the newest whole picture on; `None` where retention has taken
    /// what would tell. A partition that had none at the time tells of nothing.
    pub async fn stood_at(&self, partition: u32, known_at: i64) -> Result<Option<StoodThen>, StoreError> {
        let rows: Vec<Row> = either!(self, pools => {
            sqlx::query_as(
                "select known_at_ms, is_whole, data from count_versions
                 where partition = $1 and known_at_ms <= $2
                     and known_at_ms >= coalesce(
                         (select max(known_at_ms) from count_versions where partition = $1 and is_whole = 1 and known_at_ms <= $2), 0)
                 order by known_at_ms",
            )
            .bind(i64::from(partition))
            .bind(known_at)
            .fetch_all(&pools.readers)
            .await?
        });
        // Asked later: what retention takes meanwhile it has noted before.
        if known_at < self.forgotten().await?.counts() {
            return Ok(None);
        }
        let mut then = StoodThen::default();
        for row in rows {
            then.take(&read(row)?);
        }
        Ok(Some(then))
    }

    /// Deletes the versions of days before that of `cutoff`; how many. What is left of those of a partition begins with a whole picture.
    pub(super) async fn forget_counts(&self, cutoff: i64) -> Result<u64, StoreError> {
        let text = "delete from count_versions where known_at_ms < $1";
        let before = cutoff - cutoff.rem_euclid(DAY_MS);
        Ok(either!(self, pools => sqlx::query(text).bind(before).execute(&pools.writer).await?.rows_affected()))
    }
}
