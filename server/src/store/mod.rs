//! The store: SQLite in the data directory, the only SQL. One writer connection, readers in a pool.

mod keys;

pub use keys::{ApiKey, KeyError};

use crate::blocks::{self, WindowBlock};
use crate::side::SideRow;
use domain::engine::{ClosedWindow, DeviceState, Totals};
use domain::rollup::HourCell;
use domain::time::ProcessingTime;
use domain::window::WindowConfig;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use std::path::Path;
use std::time::Duration;

const SCHEMA: i64 = 1;
const MIGRATIONS: [&str; SCHEMA as usize] = [include_str!("../../migrations/0001_init.sql")];
/// The write-ahead log of older SQLite can lose a committed page under pooled connections (fixed in 3.51.3).
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);
/// Small blocks of windows are put together once there are so many of one size.
const MERGE_AT: i64 = 256;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said so.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// A row breaks an invariant.
    #[error("table {table}, key {key}: {reason}")]
    Broken {
        /// Which table.
        table: &'static str,
        /// Which row.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The SQLite library is too old to be trusted.
    #[error("SQLite {0} is too old: 3.51.3 or newer is needed")]
    OldSqlite(String),
    /// The database was made by a newer version of this program.
    #[error("the database has schema {found}, this program knows {SCHEMA}: use the newer program")]
    NewerSchema {
        /// The schema found.
        found: i64,
    },
    /// Another process moved the input position.
    #[error("another process has taken over this data directory; this one stops")]
    Fenced,
}

fn broken(table: &'static str, key: impl ToString, reason: impl ToString) -> StoreError {
    StoreError::Broken { table, key: key.to_string(), reason: reason.to_string() }
}

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// What a restart begins with.
#[derive(Debug)]
pub struct Snapshot {
    /// Secret of the identities.
    pub identity_key: [u8; 16],
    /// When this store was made.
    pub uptime_start: ProcessingTime,
    /// The state covers the log up to before this block.
    pub next_block: u64,
    /// The log's time at that point.
    pub now: ProcessingTime,
    /// When that was committed.
    pub committed_at: Option<ProcessingTime>,
    /// Fences other processes.
    pub epoch: i64,
    /// Counters.
    pub totals: Totals,
    /// Devices with their index, in order of it.
    pub devices: Vec<(u32, DeviceState)>,
    /// Hours.
    pub hours: Vec<(i64, Vec<HourCell>)>,
    /// Runs of identities: name and the last block they cover, oldest first.
    pub runs: Vec<(String, u64)>,
}

/// What a checkpoint writes.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Where the previous one ended.
    pub from_block: u64,
    /// Where this one ends: the first block it does not cover.
    pub next_block: u64,
    /// The log's time at that point.
    pub now_ms: i64,
    /// The wall clock, for people.
    pub committed_at_ms: i64,
    /// Counters, encoded.
    pub totals: Vec<u8>,
    /// Changed devices: index and state, encoded.
    pub devices: Vec<(u32, Vec<u8>)>,
    /// Windows that closed since.
    pub windows: std::sync::Arc<Vec<ClosedWindow>>,
    /// Changed hours.
    pub hours: Vec<(i64, Vec<HourCell>)>,
    /// Late records and dead letters since.
    pub side: std::sync::Arc<[Vec<SideRow>; 2]>,
    /// A run of identities that counts from now on: name, number of identities.
    pub run: Option<(String, u64)>,
}

impl Store {
    /// Opens the database in `dir`, made and migrated as needed.
    pub async fn open(dir: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(dir.join("rantai.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .pragma("cache_size", "-16000")
            .pragma("foreign_keys", "on");
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        let version: String = sqlx::query_scalar("select sqlite_version()").fetch_one(&writer).await?;
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        let mut part = || parts.next().unwrap_or(0);
        if (part(), part(), part()) < OLDEST_SQLITE {
            return Err(StoreError::OldSqlite(version));
        }
        let found: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&writer).await?;
        if found > SCHEMA {
            return Err(StoreError::NewerSchema { found });
        }
        for (number, migration) in (1..).zip(MIGRATIONS).skip(found as usize) {
            let mut tx = writer.begin().await?;
            sqlx::raw_sql(migration).execute(&mut *tx).await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("pragma user_version = {number}"))).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        let readers = SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await?;
        Ok(Self { writer, readers })
    }

    /// Waits for what is being written, and closes.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(sqlx::query_scalar("select value from facts where name = $1").bind(name).fetch_optional(&self.writer).await?)
    }

    /// The fact of that name, put in as `value` where there is none yet.
    async fn fact_or(&self, name: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        sqlx::query("insert into facts (name, value) values ($1, $2) on conflict (name) do nothing")
            .bind(name)
            .bind(value)
            .execute(&self.writer)
            .await?;
        self.fact(name).await?.ok_or_else(|| broken("facts", name, "it was just put in and is not there"))
    }

    /// Loads what the last checkpoint wrote, and takes over: any other process is fenced from here on.
    pub async fn load(&self, now: ProcessingTime) -> Result<Snapshot, StoreError> {
        let mut fresh_key = [0; 16];
        getrandom::fill(&mut fresh_key).map_err(|e| broken("facts", "identity_key", e))?;
        let identity_key = self.fact_or("identity_key", fresh_key.to_vec()).await?;
        let identity_key = identity_key.try_into().map_err(|_| broken("facts", "identity_key", "it is not 16 bytes"))?;
        let start = self.fact_or("uptime_start_ms", now.ms().to_le_bytes().to_vec()).await?;
        let start = start.try_into().map_err(|_| broken("facts", "uptime_start_ms", "it is not 8 bytes"))?;
        let row = sqlx::query(
            "insert into input_position (partition, epoch, next_block, received_at_ms, committed_at_ms)
             values (0, 1, 1, 0, 0)
             on conflict (partition) do update set epoch = epoch + 1
             returning epoch, next_block, received_at_ms, committed_at_ms",
        )
        .fetch_one(&self.writer)
        .await?;
        let totals = match self.fact("totals").await? {
            Some(bytes) => postcard::from_bytes(&bytes).map_err(|e| broken("facts", "totals", e))?,
            None => Totals::default(),
        };
        let devices =
            sqlx::query("select device_index, state from devices order by device_index").fetch_all(&self.writer).await?;
        let devices = devices
            .iter()
            .map(|row| {
                let (index, state): (i64, &[u8]) = (row.try_get("device_index")?, row.try_get("state")?);
                let place = u32::try_from(index).map_err(|e| broken("devices", index, e))?;
                Ok((place, postcard::from_bytes(state).map_err(|e| broken("devices", index, e))?))
            })
            .collect::<Result<_, StoreError>>()?;
        let hours = sqlx::query("select start_ms, cells from hours order by start_ms").fetch_all(&self.writer).await?;
        let hours = hours
            .iter()
            .map(|row| {
                let (start, cells): (i64, &[u8]) = (row.try_get("start_ms")?, row.try_get("cells")?);
                Ok((start, postcard::from_bytes(cells).map_err(|e| broken("hours", start, e))?))
            })
            .collect::<Result<_, StoreError>>()?;
        let runs = sqlx::query("select name, last_block from identity_runs order by last_block").fetch_all(&self.writer).await?;
        let committed_at: i64 = row.try_get("committed_at_ms")?;
        Ok(Snapshot {
            identity_key,
            uptime_start: ProcessingTime::from_ms(i64::from_le_bytes(start)),
            next_block: row.try_get::<i64, _>("next_block")? as u64,
            now: ProcessingTime::from_ms(row.try_get("received_at_ms")?),
            committed_at: (committed_at > 0).then_some(ProcessingTime::from_ms(committed_at)),
            epoch: row.try_get("epoch")?,
            totals,
            devices,
            hours,
            runs: runs
                .iter()
                .map(|r| Ok((r.try_get("name")?, r.try_get::<i64, _>("last_block")? as u64)))
                .collect::<Result<_, sqlx::Error>>()?,
        })
    }

    /// Writes a checkpoint in one transaction, fenced by `epoch` and the position of the one before it.
    pub async fn checkpoint(&self, checkpoint: &Checkpoint, epoch: i64, config: &WindowConfig) -> Result<(), StoreError> {
        // Encoding is the larger part of the work: done before the transaction begins.
        let mut blocks = Vec::new();
        for (definition, size_ms) in (0..).zip(config.definitions().iter().map(|d| d.size_ms)) {
            let mut windows: Vec<ClosedWindow> =
                checkpoint.windows.iter().filter(|w| w.definition == definition).copied().collect();
            windows.sort_unstable_by_key(|w| (w.device, w.window.start));
            let is_merged = windows.len() >= 8 * blocks::BLOCK_WINDOWS;
            blocks.extend(blocks::encode(&windows, size_ms).into_iter().map(|block| (block, is_merged)));
        }
        let mut tx = self.writer.begin_with("begin immediate").await?;
        let moved = sqlx::query(
            "update input_position set next_block = $1, received_at_ms = $2, committed_at_ms = $3
             where partition = 0 and epoch = $4 and next_block = $5",
        )
        .bind(checkpoint.next_block as i64)
        .bind(checkpoint.now_ms)
        .bind(checkpoint.committed_at_ms)
        .bind(epoch)
        .bind(checkpoint.from_block as i64)
        .execute(&mut *tx)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(StoreError::Fenced);
        }
        sqlx::query(
            "insert into facts (name, value) values ('totals', $1) on conflict (name) do update set value = excluded.value",
        )
        .bind(&checkpoint.totals)
        .execute(&mut *tx)
        .await?;
        for chunk in checkpoint.devices.chunks(500) {
            let mut query = sqlx::QueryBuilder::new("insert into devices (device_index, state) ");
            query.push_values(chunk, |mut row, (index, state)| {
                row.push_bind(i64::from(*index)).push_bind(state.as_slice());
            });
            query.push(" on conflict (device_index) do update set state = excluded.state");
            query.build().execute(&mut *tx).await?;
        }
        for (start, cells) in &checkpoint.hours {
            let cells = postcard::to_stdvec(cells).map_err(|e| broken("hours", start, e))?;
            sqlx::query(
                "insert into hours (start_ms, cells) values ($1, $2) on conflict (start_ms) do update set cells = excluded.cells",
            )
            .bind(start)
            .bind(cells)
            .execute(&mut *tx)
            .await?;
        }
        for (block, is_merged) in &blocks {
            insert_block(&mut tx, block, *is_merged).await?;
        }
        for (kind, rows) in checkpoint.side.iter().enumerate() {
            for chunk in rows.chunks(1_000) {
                let data = postcard::to_stdvec(chunk).map_err(|e| broken("side_blocks", kind, e))?;
                let (first, last) = (chunk[0].position, chunk[chunk.len() - 1].position);
                sqlx::query(
                    "insert into side_blocks (kind, last_position, first_position, records, data) values ($1, $2, $3, $4, $5)",
                )
                .bind(kind as i64)
                .bind(last as i64)
                .bind(first as i64)
                .bind(chunk.len() as i64)
                .bind(data)
                .execute(&mut *tx)
                .await?;
            }
        }
        if let Some((name, identities)) = &checkpoint.run {
            sqlx::query("insert into identity_runs (name, last_block, identities) values ($1, $2, $3)")
                .bind(name)
                .bind(checkpoint.next_block as i64 - 1)
                .bind(*identities as i64)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Puts small blocks of windows of one size together, so that a device's day lies in few of them; whether there were enough.
    pub async fn merge_blocks(&self, config: &WindowConfig) -> Result<bool, StoreError> {
        for (definition, size_ms) in (0..).zip(config.definitions().iter().map(|d| d.size_ms)) {
            let rows = sqlx::query(
                "select id, windows, data from window_blocks where size_ms = $1 and is_merged = 0 order by id limit $2",
            )
            .bind(size_ms)
            .bind(4 * MERGE_AT)
            .fetch_all(&self.writer)
            .await?;
            if (rows.len() as i64) < MERGE_AT {
                continue;
            }
            let mut windows = Vec::new();
            for row in &rows {
                let data: &[u8] = row.try_get("data")?;
                let count: i64 = row.try_get("windows")?;
                blocks::decode(data, count as u32, size_ms, definition, |w| windows.push(w))
                    .map_err(|e| broken("window_blocks", row.get::<i64, _>("id"), e))?;
            }
            windows.sort_unstable_by_key(|w| (w.device, w.window.start));
            let last: i64 = rows[rows.len() - 1].try_get("id")?;
            let mut tx = self.writer.begin_with("begin immediate").await?;
            sqlx::query("delete from window_blocks where size_ms = $1 and is_merged = 0 and id <= $2")
                .bind(size_ms)
                .bind(last)
                .execute(&mut *tx)
                .await?;
            for block in blocks::encode(&windows, size_ms) {
                insert_block(&mut tx, &block, true).await?;
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
        use futures::TryStreamExt;
        let mut rows = sqlx::query(
            "select id, windows, data from window_blocks
             where size_ms = $1 and last_start_ms >= $2 and first_start_ms < $3 and first_device <= $5 and last_device >= $4",
        )
        .bind(size_ms)
        .bind(from)
        .bind(to)
        .bind(i64::from(devices.0))
        .bind(i64::from(devices.1))
        .fetch(&self.readers);
        while let Some(row) = rows.try_next().await? {
            let (data, count): (&[u8], i64) = (row.try_get("data")?, row.try_get("windows")?);
            blocks::decode(data, count as u32, size_ms, definition, |w| {
                if (devices.0..=devices.1).contains(&w.device) && (from..to).contains(&w.window.start) {
                    each(w);
                }
            })
            .map_err(|e| broken("window_blocks", row.get::<i64, _>("id"), e))?;
        }
        Ok(())
    }

    /// Late records (`kind` 0) or dead letters (1) after `position`, oldest first, at least `limit` where there are so many.
    pub async fn side_after(&self, kind: usize, position: u64, limit: usize) -> Result<Vec<SideRow>, StoreError> {
        let rows = sqlx::query(
            "select last_position, data from side_blocks where kind = $1 and last_position > $2 order by last_position limit $3",
        )
        .bind(kind as i64)
        .bind(position as i64)
        // A block holds one record at least.
        .bind(limit as i64)
        .fetch_all(&self.readers)
        .await?;
        let mut found = Vec::new();
        for row in rows {
            found.extend(side_rows(&row)?.into_iter().filter(|r| r.position > position));
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    /// The newest late records (`kind` 0) or dead letters (1), newest first, at most `limit`.
    pub async fn side_newest(&self, kind: usize, limit: usize) -> Result<Vec<SideRow>, StoreError> {
        let rows =
            sqlx::query("select last_position, data from side_blocks where kind = $1 order by last_position desc limit $2")
                .bind(kind as i64)
                .bind(limit as i64)
                .fetch_all(&self.readers)
                .await?;
        let mut found = Vec::new();
        for row in rows {
            found.extend(side_rows(&row)?.into_iter().rev());
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

fn side_rows(row: &SqliteRow) -> Result<Vec<SideRow>, StoreError> {
    let data: &[u8] = row.try_get("data")?;
    postcard::from_bytes(data).map_err(|e| broken("side_blocks", row.get::<i64, _>("last_position"), e))
}

async fn insert_block(tx: &mut sqlx::SqliteConnection, block: &WindowBlock, is_merged: bool) -> Result<(), StoreError> {
    sqlx::query(
        "insert into window_blocks (size_ms, first_device, last_device, first_start_ms, last_start_ms, windows, is_merged, data)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(block.size_ms)
    .bind(i64::from(block.devices.0))
    .bind(i64::from(block.devices.1))
    .bind(block.starts.0)
    .bind(block.starts.1)
    .bind(i64::from(block.count))
    .bind(is_merged)
    .bind(block.data.as_slice())
    .execute(tx)
    .await?;
    Ok(())
}
