//! Checkpoints: everything that a stretch of the input led to, in one transaction, and what a restart begins with.

use super::counts::put_counts;
use super::days::{put_days_postgres, put_days_sqlite};
use super::derived::put_derived;
use super::postgres::{self, RawRecords, window_rows};
use super::{Database, Pools, STATE_FORMAT, Store, StoreError, broken, either, letters};
use crate::blocks::{self, WindowBlock};
use crate::identities::NamedRun;
use crate::letters::Decided;
use crate::side::SideRows;
use crate::travel::HandedOn;
use domain::engine::{ClosedDerived, ClosedWindow, DayBook, DeviceState, ReadingsHeld, Totals};
use domain::planted;
use domain::rollup::{KnownCounts, KnownHour, PackedHour, StoodThen, hours_kept_from};
use domain::time::{DAY_MS, ProcessingTime};
use domain::window::WindowConfig;
use sqlx::{PgConnection, SqliteConnection};
use std::sync::Arc;

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
    /// Hours that are kept in memory.
    pub hours: Vec<(i64, PackedHour)>,
    /// How equipment stood by the newest version of it.
    pub stood: StoodThen,
    /// Runs of identities, oldest first.
    pub runs: Vec<NamedRun>,
    /// Dead letters that were decided: position, and the block that did.
    pub decided: Vec<(u64, u64)>,
    /// Where to put accepted readings and fixes for the next checkpoint; `None` where the store does not keep them: SQLite's lie in the log.
    pub raw: Option<RawRecords>,
    /// What stored windows of the last day hold, where somebody takes the state over from a store that can tell.
    pub held: Option<ReadingsHeld>,
}

/// What a checkpoint of one partition of the input writes.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Which partition of the input.
    pub partition: u32,
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
    pub windows: Arc<Vec<ClosedWindow>>,
    /// Changed hours.
    pub hours: Vec<(i64, PackedHour)>,
    /// Late records and dead letters since.
    pub side: Arc<[SideRows; 2]>,
    /// Decisions of dead letters since.
    pub decisions: Arc<Vec<Decided>>,
    /// A run of identities that counts from now on: name, number of identities.
    pub run: Option<(String, u64)>,
    /// Runs that do not count any more.
    pub forgotten_runs: Vec<String>,
    /// Readings and fixes accepted since, where the store keeps them.
    pub raw: Option<RawRecords>,
    /// What of sliding windows and sessions closed since, and where readings were taken.
    pub derived: Arc<Vec<ClosedDerived>>,
    /// Versions of hours since.
    pub known_hours: Arc<Vec<KnownHour>>,
    /// Versions of how equipment stands since.
    pub known_counts: Arc<Vec<KnownCounts>>,
    /// Books of days that changed since.
    pub days: Arc<Vec<DayBook>>,
    /// Fixes accepted since that other partitions may need: they are told before it is committed, and not stored.
    pub handed_on: Vec<HandedOn>,
}

/// What a checkpoint does on either database, within the transaction `$tx`: takes the position, and writes what is little.
macro_rules! either_checkpoint {
    ($tx:ident, $checkpoint:ident, $epoch:ident) => {{
        let partition = i64::from($checkpoint.partition);
        let moved = sqlx::query(
            "update input_position set next = $1, received_at_ms = $2, committed_at_ms = $3, totals = $4
             where partition = $5 and epoch = $6 and next = $7",
        )
        .bind(if planted("state-without-its-position") { $checkpoint.from_block } else { $checkpoint.next_block } as i64)
        .bind($checkpoint.now_ms)
        .bind($checkpoint.committed_at_ms)
        .bind($checkpoint.totals.as_slice())
        .bind(partition)
        .bind($epoch)
        .bind($checkpoint.from_block as i64)
        .execute(&mut *$tx)
        .await?;
        if moved.rows_affected() != 1 && !planted("fenced-process-goes-on") {
            let now: Option<(i64, i64)> = sqlx::query_as("select epoch, next from input_position where partition = $1")
                .bind(partition)
                .fetch_optional(&mut *$tx)
                .await?;
            // Only we write under this epoch: this very checkpoint was committed before, and we were not told.
            let is_done = now == Some(($epoch, $checkpoint.next_block as i64))
                || (planted("commit-of-another-is-ours") && now.is_some_and(|(_, next)| next == $checkpoint.next_block as i64));
            return if is_done && !planted("commit-is-not-recognised") { Ok(()) } else { Err(StoreError::Fenced) };
        }
        for (start, hour) in &$checkpoint.hours {
            sqlx::query(
                "insert into hours (partition, start_ms, cells) values ($1, $2, $3)
                 on conflict (partition, start_ms) do update set cells = excluded.cells",
            )
            .bind(partition)
            .bind(start)
            .bind(hour.to_bytes())
            .execute(&mut *$tx)
            .await?;
        }
        for (kind, rows) in $checkpoint.side.iter().enumerate() {
            for block in rows.blocks() {
                sqlx::query(
                    "insert into side_blocks (kind, last_position, first_position, records, data, partition, last_received_ms)
                     values ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(kind as i64)
                .bind(block.positions.1 as i64)
                .bind(block.positions.0 as i64)
                .bind(block.len as i64)
                .bind(block.encode())
                .bind(partition)
                .bind(block.received_at.ms())
                .execute(&mut *$tx)
                .await?;
            }
        }
        for decided in $checkpoint.decisions.iter().filter(|_| !planted("decision-is-forgotten")) {
            let (end, position, reason) = letters::columns(decided);
            sqlx::query(
                "insert into decisions (partition, letter, block, at_ms, decided_by, outcome, position, reason)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(partition)
            .bind(decided.letter as i64)
            .bind(decided.block as i64)
            .bind(decided.at.ms())
            .bind(decided.by.as_str())
            .bind(end)
            .bind(position)
            .bind(reason)
            .execute(&mut *$tx)
            .await?;
        }
        put_derived!($tx, $checkpoint);
        put_counts!($tx, $checkpoint);
        for name in &$checkpoint.forgotten_runs {
            sqlx::query("delete from identity_runs where partition = $1 and name = $2")
                .bind(partition)
                .bind(name)
                .execute(&mut *$tx)
                .await?;
        }
        if let Some((name, identities)) = &$checkpoint.run
            && !planted("run-is-not-named")
        {
            // One that covers no new block is not told from its repetition by the position.
            sqlx::query(
                "insert into identity_runs (partition, name, last, identities) values ($1, $2, $3, $4)
                 on conflict (partition, name) do nothing",
            )
            .bind(partition)
            .bind(name)
            .bind($checkpoint.next_block as i64 - 1)
            .bind(*identities as i64)
            .execute(&mut *$tx)
            .await?;
        }
    }};
}

/// Epoch, next position, the times of receipt and of commit, counters.
type PositionRow = (i64, i64, i64, i64, Option<Vec<u8>>);
/// A device as its row has it: its index, and its state encoded.
type DeviceRow = (i64, Vec<u8>);

/// `epoch`, `next`, `received_at_ms`, `committed_at_ms`, `totals` and `log` of `input_position`.
type NamedPositionRow = (i64, i64, i64, i64, Option<Vec<u8>>, String);

impl Store {
    /// The secret of the identities, made where there is none yet.
    pub async fn identity_key(&self) -> Result<[u8; 16], StoreError> {
        let mut fresh_key = [0; 16];
        getrandom::fill(&mut fresh_key).map_err(|e| broken("facts", "identity_key", e))?;
        let identity_key = self.fact_or("identity_key", fresh_key.to_vec()).await?;
        identity_key.try_into().map_err(|_| broken("facts", "identity_key", "it is not 16 bytes"))
    }

    /// When this store was made: now, where it has just been.
    pub async fn uptime_start(&self, now: ProcessingTime) -> Result<ProcessingTime, StoreError> {
        let start = self.fact_or("uptime_start_ms", now.ms().to_le_bytes().to_vec()).await?;
        let start = start.try_into().map_err(|_| broken("facts", "uptime_start_ms", "it is not 8 bytes"))?;
        Ok(ProcessingTime::from_ms(i64::from_le_bytes(start)))
    }

    /// Loads what the last checkpoint of `partition` wrote, and takes it over: any other process is fenced from here on. Refused where
    /// the state follows from another log than `log`, or is in another format than [`STATE_FORMAT`].
    pub async fn load(&self, partition: u32, log: &str, now: ProcessingTime) -> Result<Snapshot, StoreError> {
        let partition = i64::from(partition);
        let identity_key = self.identity_key().await?;
        let uptime_start = self.uptime_start(now).await?;

        let taken: Option<PositionRow> = either!(self, pools => {
            // A log without a name is of a time before logs had names.
            let taking = sqlx::query_as(
                // A state that nothing was committed of is of any format.
                "insert into input_position (partition, epoch, next, received_at_ms, committed_at_ms, log, state_format)
                 values ($1, 1, 1, 0, 0, $2, $3)
                 on conflict (partition) do update
                 set epoch = input_position.epoch + 1, log = excluded.log, state_format = excluded.state_format
                 where input_position.log in ('', excluded.log)
                     and (input_position.state_format = excluded.state_format or input_position.committed_at_ms = 0
                         or $4)
                 returning epoch, next, received_at_ms, committed_at_ms, totals",
            )
            .bind(partition)
            .bind(log)
            .bind(STATE_FORMAT)
            .bind(planted("any-format-is-ours"))
            .fetch_optional(&pools.writer);
            pools.unblocked(taking).await?
        });
        let Some((epoch, next, received_at_ms, committed_at_ms, totals)) = taken else {
            self.check_format().await?;
            return Err(StoreError::OtherLog);
        };
        let position = (epoch, next, received_at_ms, committed_at_ms, totals);
        let mut snapshot = self.snapshot(partition, identity_key, uptime_start, position).await?;
        snapshot.held = self.readings_held(snapshot.now.ms() - DAY_MS).await?;
        // What is wrong here would be wrong in every count that is shown from now on.
        self.check_days(partition as u32, &snapshot.totals).await?;
        self.check_letters(partition as u32, &snapshot.totals).await?;
        Ok(snapshot)
    }

    /// What [`Store::load`] would load, without taking anything over; `None` where no start has left anything yet. Only sound while
    /// nobody writes.
    pub async fn peek(&self, partition: u32, log: &str) -> Result<Option<Snapshot>, StoreError> {
        let partition = i64::from(partition);
        self.check_format().await?;
        let (Some(key), Some(start)) = (self.fact("identity_key").await?, self.fact("uptime_start_ms").await?) else {
            return Ok(None);
        };
        let identity_key = key.try_into().map_err(|_| broken("facts", "identity_key", "it is not 16 bytes"))?;
        let start = start.try_into().map_err(|_| broken("facts", "uptime_start_ms", "it is not 8 bytes"))?;
        let found: Option<NamedPositionRow> = either!(self, pools => {
            sqlx::query_as(
                "select epoch, next, received_at_ms, committed_at_ms, totals, log from input_position where partition = $1",
            )
            .bind(partition)
            .fetch_optional(&pools.readers)
            .await?
        });
        let Some((epoch, next, received_at_ms, committed_at_ms, totals, named)) = found else { return Ok(None) };
        if !named.is_empty() && named != log {
            return Err(StoreError::OtherLog);
        }
        let uptime_start = ProcessingTime::from_ms(i64::from_le_bytes(start));
        let position = (epoch, next, received_at_ms, committed_at_ms, totals);
        self.snapshot(partition, identity_key, uptime_start, position).await.map(Some)
    }

    /// Where to put accepted readings and fixes, if they are kept here.
    pub(super) fn keeps_raw(&self) -> Option<RawRecords> {
        self.has_raw_rows().then(RawRecords::default)
    }

    /// What a restart begins with, as of `position`.
    async fn snapshot(
        &self,
        partition: i64,
        identity_key: [u8; 16],
        uptime_start: ProcessingTime,
        (epoch, next, received_at_ms, committed_at_ms, totals): PositionRow,
    ) -> Result<Snapshot, StoreError> {
        let totals = totals.map(|bytes| postcard::from_bytes(&bytes)).transpose();
        let totals = totals.map_err(|e| broken("input_position", partition, e))?.unwrap_or_default();

        let devices: Vec<DeviceRow> = either!(self, pools => {
            sqlx::query_as("select device_index, state from devices where partition = $1 order by device_index")
                .bind(partition)
                .fetch_all(&pools.writer)
                .await?
        });
        let devices = devices
            .iter()
            .map(|(index, state)| {
                let place = u32::try_from(*index).map_err(|e| broken("devices", index, e))?;
                Ok((place, postcard::from_bytes(state).map_err(|e| broken("devices", index, e))?))
            })
            .collect::<Result<_, StoreError>>()?;
        let now = ProcessingTime::from_ms(received_at_ms);
        let mut hours = Vec::new();
        let kept = (hours_kept_from(now), i64::MAX);
        self.hours(Some(partition as u32), kept, |start, hour| hours.push((start, hour))).await?;
        let decided: Vec<(i64, i64)> = either!(self, pools => {
            sqlx::query_as("select letter, block from decisions where partition = $1 order by letter")
                .bind(partition)
                .fetch_all(&pools.writer)
                .await?
        });
        let stood = self.stood_at(partition as u32, i64::MAX).await?.unwrap_or_default();
        Ok(Snapshot {
            stood,
            identity_key,
            uptime_start,
            next_block: next as u64,
            now,
            committed_at: (committed_at_ms > 0).then_some(ProcessingTime::from_ms(committed_at_ms)),
            epoch,
            totals,
            devices,
            hours,
            runs: self.named_runs(partition as u32).await?,
            decided: decided.into_iter().map(|(letter, block)| (letter as u64, block as u64)).collect(),
            raw: self.keeps_raw(),
            held: None,
        })
    }

    /// Writes a checkpoint in one transaction, fenced by `epoch` and the position of the one before it.
    pub async fn checkpoint(&self, checkpoint: &Checkpoint, epoch: i64, config: &WindowConfig) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(pools) => {
                let blocks = window_blocks(&checkpoint.windows, &sizes_of(config));
                let mut tx = pools.begin().await?;
                put_sqlite_blocks(&mut tx, checkpoint, epoch, &blocks).await?;
                tx.commit().await?;
            }
            Database::Postgres(pools, days) => {
                let rows = PostgresRows::of(checkpoint, config);
                // A day may have been dropped since: the next attempt looks again, and that one has to do.
                match rows.write(pools, days, checkpoint, epoch).await {
                    Err(StoreError::Database(error)) if postgres::lacks_a_day(&error) => {
                        rows.write(pools, days, checkpoint, epoch).await?;
                    }
                    written => written?,
                }
            }
        }
        Ok(())
    }
}

fn sizes_of(config: &WindowConfig) -> Vec<i64> {
    config.definitions().iter().map(|d| d.size_ms).collect()
}

/// Puts a checkpoint into SQLite within a transaction.
pub(super) async fn put_sqlite(
    tx: &mut SqliteConnection,
    checkpoint: &Checkpoint,
    epoch: i64,
    config: &WindowConfig,
) -> Result<(), StoreError> {
    put_sqlite_blocks(tx, checkpoint, epoch, &window_blocks(&checkpoint.windows, &sizes_of(config))).await
}

/// The same with its windows encoded already: that is the larger part of the work, and better done before the transaction begins.
async fn put_sqlite_blocks(
    tx: &mut SqliteConnection,
    checkpoint: &Checkpoint,
    epoch: i64,
    blocks: &[(WindowBlock, bool)],
) -> Result<(), StoreError> {
    either_checkpoint!(tx, checkpoint, epoch);
    if !planted("position-without-its-state") {
        put_devices_sqlite(tx, checkpoint).await?;
    }
    put_days_sqlite(tx, checkpoint).await?;
    for (block, is_merged) in blocks {
        put_block(tx, checkpoint.partition, block, *is_merged).await?;
    }
    Ok(())
}

/// Puts a checkpoint into Postgres within a transaction; days are made outside it, and stay where it fails.
pub(super) async fn put_postgres(
    tx: &mut PgConnection,
    pools: &Pools<sqlx::Postgres>,
    days: &postgres::Days,
    checkpoint: &Checkpoint,
    epoch: i64,
    config: &WindowConfig,
) -> Result<(), StoreError> {
    let rows = PostgresRows::of(checkpoint, config);
    days.ensure(pools, rows.days(checkpoint)).await?;
    rows.put(tx, checkpoint, epoch).await
}

/// The rows of a checkpoint that Postgres takes in by `COPY`, encoded.
struct PostgresRows<'c> {
    windows: postgres::Rows,
    raw: Option<&'c RawRecords>,
}

impl<'c> PostgresRows<'c> {
    fn of(checkpoint: &'c Checkpoint, config: &WindowConfig) -> Self {
        let windows = window_rows(checkpoint.partition, &checkpoint.windows, &sizes_of(config));
        Self { windows, raw: checkpoint.raw.as_ref() }
    }

    /// The days that have to be there. Today and tomorrow too: nobody should have to wait for them at midnight.
    fn days(&self, checkpoint: &Checkpoint) -> impl Iterator<Item = i64> {
        let today = checkpoint.committed_at_ms.div_euclid(DAY_MS);
        self.windows.days().chain(self.raw.into_iter().flat_map(RawRecords::days)).chain(today..today + 2)
    }

    /// In a transaction of its own.
    async fn write(
        &self,
        pools: &Pools<sqlx::Postgres>,
        days: &postgres::Days,
        checkpoint: &Checkpoint,
        epoch: i64,
    ) -> Result<(), StoreError> {
        days.ensure(pools, self.days(checkpoint)).await?;
        let written = async {
            let mut tx = pools.begin().await?;
            self.put(&mut tx, checkpoint, epoch).await?;
            Ok(tx.commit().await?)
        };
        written.await.inspect_err(|_| days.forget())
    }

    async fn put(&self, tx: &mut PgConnection, checkpoint: &Checkpoint, epoch: i64) -> Result<(), StoreError> {
        either_checkpoint!(tx, checkpoint, epoch);
        put_devices_postgres(tx, checkpoint).await?;
        put_days_postgres(tx, checkpoint).await?;
        self.windows.copy(tx, postgres::COPY_WINDOWS).await?;
        if let Some(raw) = self.raw {
            raw.copy(tx).await?;
        }
        Ok(())
    }
}

async fn put_devices_sqlite(tx: &mut SqliteConnection, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    for chunk in checkpoint.devices.chunks(500) {
        let mut query = sqlx::QueryBuilder::new("insert into devices (partition, device_index, state) ");
        query.push_values(chunk, |mut row, (index, state)| {
            row.push_bind(i64::from(checkpoint.partition)).push_bind(i64::from(*index)).push_bind(state.as_slice());
        });
        query.push(" on conflict (partition, device_index) do update set state = excluded.state");
        query.build().execute(&mut *tx).await?;
    }
    Ok(())
}

async fn put_devices_postgres(tx: &mut PgConnection, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    for chunk in checkpoint.devices.chunks(10_000) {
        let indices: Vec<i64> = chunk.iter().map(|(index, _)| i64::from(*index)).collect();
        // The id, for people: a state begins with it.
        let ids = chunk.iter().map(|(index, state)| {
            postcard::take_from_bytes::<&str>(state).map(|(id, _)| id).map_err(|e| broken("devices", index, e))
        });
        let ids: Vec<&str> = ids.collect::<Result<_, _>>()?;
        let states: Vec<&[u8]> = chunk.iter().map(|(_, state)| state.as_slice()).collect();
        sqlx::query(
            "insert into devices (partition, device_index, id, state)
             select $1, * from unnest($2::bigint[], $3::text[], $4::bytea[])
             on conflict (partition, device_index) do update set state = excluded.state",
        )
        .bind(i64::from(checkpoint.partition))
        .bind(indices)
        .bind(ids)
        .bind(states)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Closed windows as blocks; those of a definition that fill several count as put together already.
fn window_blocks(windows: &[ClosedWindow], sizes: &[i64]) -> Vec<(WindowBlock, bool)> {
    let mut all = Vec::new();
    for (definition, size_ms) in (0..).zip(sizes) {
        let blocks = blocks::encode(windows.iter().filter(|w| w.definition == definition), *size_ms);
        let is_merged = blocks.len() > 8;
        all.extend(blocks.into_iter().map(|block| (block, is_merged)));
    }
    all
}

/// Puts a block of windows into SQLite's table.
pub(super) async fn put_block(
    tx: &mut SqliteConnection,
    partition: u32,
    block: &WindowBlock,
    is_merged: bool,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into window_blocks
             (partition, size_ms, first_device, last_device, first_start_ms, last_start_ms, windows, is_merged, data)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(i64::from(partition))
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
