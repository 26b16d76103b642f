//! A state made anew in the place of the old one, in one transaction: whoever looks sees the old one or the new one, and after a crash
//! halfway the old one is there.

use super::checkpoint::{put_postgres, put_sqlite};
use super::postgres::Days;
use super::{Checkpoint, Database, Pools, Readings, STATE_FORMAT, Snapshot, Store, StoreError, either};
use domain::engine::Totals;
use domain::time::ProcessingTime;
use domain::window::WindowConfig;
use sqlx::{Postgres, Sqlite, Transaction};
use std::path::Path;

/// Tables of both databases that hold what a partition's log has led to.
const RESULTS: [&str; 7] = ["devices", "hours", "hour_versions", "derived_blocks", "side_blocks", "decisions", "identity_runs"];
/// Further ones of SQLite,
const RESULTS_SQLITE: [&str; 1] = ["window_blocks"];
/// and of Postgres.
const RESULTS_POSTGRES: [&str; 3] = ["windows", "readings", "identity_run_pieces"];

/// The new state may be of other windows.
const FORGET_WINDOWS: &str = "delete from facts where name = 'windows'";

enum Open {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>, Pools<Postgres>, Days),
}

/// A state on its way.
pub struct Rebuilding {
    open: Open,
    partition: u32,
    epoch: i64,
}

macro_rules! empty {
    ($tx:ident, $partition:ident, $tables:expr) => {
        for table in $tables {
            let text = format!("delete from {table} where partition = {}", $partition);
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut **$tx).await?;
        }
        sqlx::query(
            "update input_position set next = 1, received_at_ms = 0, committed_at_ms = 0, totals = null, state_format = $2
             where partition = $1",
        )
        .bind(i64::from($partition))
        .bind(STATE_FORMAT)
        .execute(&mut **$tx)
        .await?;
    };
}

impl Store {
    /// Takes `partition` over and begins its state anew; what a start on an empty store would begin with.
    pub async fn begin_rebuild(
        &self,
        partition: u32,
        log: &str,
        now: ProcessingTime,
    ) -> Result<(Rebuilding, Snapshot), StoreError> {
        // Secrets and names stay; whoever else holds the partition is fenced from here on. The old state is not read: it may be in a format
        // that this program does not know.
        let (identity_key, uptime_start) = (self.identity_key().await?, self.uptime_start(now).await?);
        let taken: Option<i64> = either!(self, pools => {
            sqlx::query_scalar(
                "insert into input_position (partition, epoch, next, received_at_ms, committed_at_ms, log)
                 values ($1, 1, 1, 0, 0, $2)
                 on conflict (partition) do update set epoch = input_position.epoch + 1, log = excluded.log
                 where input_position.log in ('', excluded.log)
                 returning epoch",
            )
            .bind(i64::from(partition))
            .bind(log)
            .fetch_optional(&pools.writer)
            .await?
        });
        let epoch = taken.ok_or(StoreError::OtherLog)?;
        let mut open = match &self.database {
            Database::Sqlite(pools) => Open::Sqlite(pools.begin().await?),
            Database::Postgres(pools, days) => Open::Postgres(pools.begin().await?, pools.clone(), days.clone()),
        };
        match &mut open {
            Open::Sqlite(tx) => {
                empty!(tx, partition, RESULTS.iter().chain(&RESULTS_SQLITE));
            }
            Open::Postgres(tx, ..) => {
                empty!(tx, partition, RESULTS.iter().chain(&RESULTS_POSTGRES));
            }
        }
        match &mut open {
            Open::Sqlite(tx) => sqlx::query(FORGET_WINDOWS).execute(&mut **tx).await.map(|_| ())?,
            Open::Postgres(tx, ..) => sqlx::query(FORGET_WINDOWS).execute(&mut **tx).await.map(|_| ())?,
        }
        let fresh = Snapshot {
            identity_key,
            uptime_start,
            epoch,
            next_block: 1,
            now: ProcessingTime::from_ms(0),
            committed_at: None,
            totals: Totals::default(),
            devices: Vec::new(),
            hours: Vec::new(),
            runs: Vec::new(),
            decided: Vec::new(),
            readings: matches!(self.database, Database::Postgres(..)).then(Readings::default),
        };
        Ok((Rebuilding { open, partition, epoch }, fresh))
    }
}

impl Rebuilding {
    /// Fences other processes; in the names of files that belong to this state.
    pub const fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Adds what a further stretch of the log has led to.
    pub async fn add(&mut self, checkpoint: &Checkpoint, config: &WindowConfig) -> Result<(), StoreError> {
        match &mut self.open {
            Open::Sqlite(tx) => put_sqlite(tx, checkpoint, self.epoch, config).await,
            Open::Postgres(tx, pools, days) => put_postgres(tx, pools, days, checkpoint, self.epoch, config).await,
        }
    }

    /// Keeps the run of identities in the file `path` where other machines can read it.
    pub async fn keep_run(&mut self, path: &Path) -> Result<(), StoreError> {
        match &mut self.open {
            Open::Sqlite(_) => Ok(()),
            Open::Postgres(tx, ..) => super::runs::put_pieces(tx, self.partition, path).await,
        }
    }

    /// The new state counts.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self.open {
            Open::Sqlite(tx) => tx.commit().await?,
            Open::Postgres(tx, ..) => tx.commit().await?,
        }
        Ok(())
    }
}
