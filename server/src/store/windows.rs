//! Closed windows: read, and on SQLite put together. SQLite has them in column blocks, see `blocks.rs`; Postgres as rows, for BI.

use super::checkpoint::put_block;
use super::{Database, HINT, Store, StoreError, broken};
use crate::blocks::{self, WindowBlock};
use crate::limits::rare;
use domain::aggregate::Aggregate;
use domain::engine::{ClosedWindow, ReadingsHeld};
use domain::milli::Milli;
use domain::window::{Window, WindowConfig, WindowState};
use futures::TryStreamExt;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

/// Small blocks of windows are put together once there are so many of one size, where nobody says otherwise.
pub const MERGE_WINDOWS_BLOCKS: u32 = 256;

/// Windows that are in memory at once for it, and those of one block.
const AT_ONCE: usize = 1_000_000;

impl Store {
    /// Puts small blocks of windows of one size together, so that a device's day lies in few of them; whether there were enough.
    pub async fn merge_blocks(&self, config: &WindowConfig) -> Result<bool, StoreError> {
        let Database::Sqlite(pools) = &self.database else { return Ok(false) };
        let merge_at = i64::from(rare().merge_at.unwrap_or(self.merge_windows_blocks));
        for (definition, size_ms) in (0..).zip(config.definitions().iter().map(|d| d.size_ms)) {
            let rows = sqlx::query("select * from window_blocks where size_ms = $1 and is_merged = 0 order by id limit $2")
                .bind(size_ms)
                .bind(4 * merge_at)
                .fetch_all(&pools.writer)
                .await?;
            if (rows.len() as i64) < merge_at {
                continue;
            }
            let (mut windows, mut last) = (Vec::new(), 0i64);
            for row in &rows {
                tell_block(row, definition, |w| windows.push(w))?;
                last = row.try_get("id")?;
                if windows.len() >= AT_ONCE {
                    break;
                }
            }
            let mut tx = pools.begin().await?;
            sqlx::query("delete from window_blocks where size_ms = $1 and is_merged = 0 and id <= $2")
                .bind(size_ms)
                .bind(last)
                .execute(&mut *tx)
                .await?;
            for block in blocks::encode(windows.iter(), size_ms) {
                // Embedded there is one partition.
                put_block(&mut tx, 0, &block, true).await?;
            }
            tx.commit().await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Tells the stored windows of definition `definition` that start in [from, to) to `each`, of the devices whose index lies in `devices`,
    /// in no order.
    pub async fn windows(
        &self,
        (definition, size_ms): (u8, i64),
        devices: (u32, u32),
        from: i64,
        to: i64,
        mut each: impl FnMut(ClosedWindow),
    ) -> Result<(), StoreError> {
        self.windows_by_partition((definition, size_ms), None, devices, from, to, |_, window| each(window)).await
    }

    /// Whether a start sums up what windows hold: on Postgres so many rows are not read in passing.
    pub fn sums_windows(&self) -> bool {
        matches!(self.database, Database::Sqlite(_))
    }

    /// The readings that stored windows hold, of the whole hours from `from` on that retention leaves alone; `None` where no start sums
    /// them up.
    pub(super) async fn readings_held(&self, from: i64) -> Result<Option<ReadingsHeld>, StoreError> {
        let Database::Sqlite(pools) = &self.database else { return Ok(None) };
        let mut held = ReadingsHeld::since(from.max(self.forgotten().await?.windows));
        let mut of_block = Vec::with_capacity(blocks::BLOCK_WINDOWS);
        let sizes: Vec<i64> = sqlx::query_scalar("select distinct size_ms from window_blocks").fetch_all(&pools.readers).await?;
        for size in sizes {
            let mut rows = sqlx::query("select * from window_blocks where size_ms = $1 and last_start_ms >= $2")
                .bind(size)
                .bind(held.from())
                .fetch(&pools.readers);
            while let Some(row) = rows.try_next().await? {
                of_block.clear();
                tell_block(&row, 0, |w| of_block.push((w.window.start, w.window.aggregate.count)))?;
                held.add(size, of_block.iter().copied());
            }
        }
        Ok(Some(held))
    }

    /// The same of one `partition`, or of all, with the number of that to which each belongs: an index is that of a device within its
    /// partition.
    pub async fn windows_by_partition(
        &self,
        (definition, size_ms): (u8, i64),
        partition: Option<u32>,
        devices: (u32, u32),
        from: i64,
        to: i64,
        mut each: impl FnMut(u32, ClosedWindow),
    ) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(pools) => {
                let mut rows = sqlx::query(
                    "select * from window_blocks
                     where size_ms = $1 and last_start_ms >= $2 and first_start_ms < $3 and first_device <= $5 and last_device >= $4",
                )
                .bind(size_ms)
                .bind(from)
                .bind(to)
                .bind(i64::from(devices.0))
                .bind(i64::from(devices.1))
                .fetch(&pools.readers);
                while let Some(row) = rows.try_next().await? {
                    tell_block(&row, definition, |w| {
                        if (devices.0..=devices.1).contains(&w.device) && (from..to).contains(&w.window.start) {
                            each(crate::pipeline::PARTITION, w);
                        }
                    })?;
                }
            }
            Database::Postgres(pools, _) => {
                let mut rows = sqlx::query(
                    "select partition, device_index, start_ms, version, count, temperature_sum, temperature_square_sum, temperature_min,
                         temperature_max, humidity_count, humidity_sum, battery_min, battery_max
                     from windows
                     where size_ms = $1 and start_ms >= $2 and start_ms < $3 and device_index between $4 and $5
                         and ($6::integer is null or partition = $6)",
                )
                // Of the columns' own types: the index serves no others.
                .bind(size_ms as i32)
                .bind(from)
                .bind(to)
                .bind(devices.0.min(i32::MAX as u32) as i32)
                .bind(devices.1.min(i32::MAX as u32) as i32)
                .bind(partition.map(|partition| partition as i32))
                .fetch(&pools.readers);
                while let Some(row) = rows.try_next().await? {
                    each(row.try_get::<i32, _>("partition")? as u32, window_of(&row, definition)?);
                }
            }
        }
        Ok(())
    }
}

/// Tells the windows of a row of `window_blocks`.
fn tell_block(row: &SqliteRow, definition: u8, each: impl FnMut(ClosedWindow)) -> Result<(), StoreError> {
    let id: i64 = row.try_get("id")?;
    let block = WindowBlock {
        size_ms: row.try_get("size_ms")?,
        devices: (row.try_get("first_device")?, row.try_get("last_device")?),
        starts: (row.try_get("first_start_ms")?, row.try_get("last_start_ms")?),
        count: row.try_get("windows")?,
        data: row.try_get("data")?,
    };
    block.decode(definition, each).map_err(|e| broken("window_blocks", id, format!("{e}; {HINT}")))
}

fn window_of(row: &PgRow, definition: u8) -> Result<ClosedWindow, sqlx::Error> {
    let whole = |name: &str| row.try_get::<i32, _>(name);
    let big = |name: &str| row.try_get::<i64, _>(name);
    let part = |name: &str| row.try_get::<Option<i32>, _>(name);
    let mut aggregate = Aggregate::default();
    aggregate.count = whole("count")? as u32;
    aggregate.humidity_count = whole("humidity_count")? as u32;
    aggregate.temperature_sum = big("temperature_sum")?;
    aggregate.temperature_square_sum = big("temperature_square_sum")? as u64;
    aggregate.humidity_sum = big("humidity_sum")?;
    aggregate.temperature_min = Milli(whole("temperature_min")?);
    aggregate.temperature_max = Milli(whole("temperature_max")?);
    aggregate.set_battery_extremes(part("battery_min")?.zip(part("battery_max")?).map(|(low, high)| (Milli(low), Milli(high))));
    let window = Window {
        start: big("start_ms")?,
        version: whole("version")? as u32,
        // What is put away has fired and can no longer change.
        state: WindowState::Final,
        aggregate,
    };
    Ok(ClosedWindow { device: whole("device_index")? as u32, definition, window })
}
