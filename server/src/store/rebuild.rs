//! A state made anew in the place of the old one, all partitions of it in one transaction: whoever looks sees the old one or the new one,
//! and after a crash halfway the old one is there.

use super::checkpoint::{put_postgres, put_sqlite};
use super::postgres::Days;
use super::side::{LETTERS_AROUND, Letters};
use super::{Checkpoint, Database, Pools, STATE_FORMAT, Snapshot, Store, StoreError, broken, either, name_of, room_of};
use crate::side::DEAD;
use domain::engine::{EngineConfig, Totals};
use domain::planted;
use domain::rollup::StoodThen;
use domain::time::ProcessingTime;
use domain::window::WindowConfig;
use sqlx::{Postgres, Sqlite, Transaction};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Tables of both databases that hold what a partition's log has led to.
const RESULTS: [&str; 9] = [
    "devices",
    "hours",
    "hour_versions",
    "count_versions",
    "daily_books",
    "derived_blocks",
    "side_blocks",
    "decisions",
    "identity_runs",
];
/// Further ones of SQLite,
const RESULTS_SQLITE: [&str; 1] = ["window_blocks"];
/// and of Postgres.
const RESULTS_POSTGRES: [&str; 4] = ["windows", "readings", "positions", "identity_run_pieces"];

/// What retention has taken is there again, unless some partition stays as it is.
macro_rules! remembered {
    ($partitions:ident) => {
        format!(
            "delete from facts
             where name like 'forgotten.%' and not exists (select 1 from input_position where partition not in ({}))",
            $partitions
        )
    };
}

/// The new state may be made by other rules.
const NOTE_RULES: &str = "insert into facts (name, value) values ('rules', $1)
     on conflict (name) do update set value = excluded.value";

enum Open {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>, Pools<Postgres>, Days),
}

/// A state on its way.
pub struct Rebuilding {
    open: Open,
    /// Of each partition its epoch, and where the old state ended: block, and the log's time.
    taken: BTreeMap<u32, (i64, u64, ProcessingTime)>,
    has_other_room: bool,
}

macro_rules! empty {
    ($tx:ident, $partitions:ident, $rules:ident, $tables:expr) => {
        for table in $tables {
            let text = format!("delete from {table} where partition in ({})", $partitions);
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut **$tx).await?;
        }
        let text = format!(
            "update input_position
             set next = 1, received_at_ms = 0, committed_at_ms = 0, totals = null, state_format = {STATE_FORMAT}
             where partition in ({})",
            $partitions
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut **$tx).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(remembered!($partitions))).execute(&mut **$tx).await?;
        sqlx::query(NOTE_RULES).bind(name_of($rules).into_bytes()).execute(&mut **$tx).await?;
    };
}

impl Store {
    /// Takes `partitions` over, each with the name of its log, and begins their state anew, under `rules`: for each, in the same order,
    /// what a start on an empty store would begin with. The old state is not read: it may be broken, or in a format that this program does
    /// not know.
    pub async fn begin_rebuild(
        &self,
        partitions: &[(u32, String)],
        rules: &EngineConfig,
        now: ProcessingTime,
    ) -> Result<(Rebuilding, Vec<Snapshot>), StoreError> {
        // Secrets and names stay.
        let (identity_key, uptime_start) = (self.identity_key().await?, self.uptime_start(now).await?);
        let (mut taken, mut fresh) = (BTreeMap::new(), Vec::new());
        for (partition, log) in partitions {
            // Whoever else holds the partition is fenced from here on.
            let row: Option<(i64, i64, i64)> = either!(self, pools => {
                let taking = sqlx::query_as(
                    "insert into input_position (partition, epoch, next, received_at_ms, committed_at_ms, log)
                     values ($1, 1, 1, 0, 0, $2)
                     on conflict (partition) do update set epoch = input_position.epoch + $3, log = excluded.log
                     where input_position.log in ('', excluded.log)
                     returning epoch, next, received_at_ms",
                )
                .bind(i64::from(*partition))
                .bind(log)
                .bind(i64::from(!planted("rebuild-fences-nobody")))
                .fetch_optional(&pools.writer);
                pools.unblocked(taking).await?
            });
            let (epoch, next, now_ms) = row.ok_or(StoreError::OtherLog)?;
            taken.insert(*partition, (epoch, next as u64, ProcessingTime::from_ms(now_ms)));
            fresh.push(Snapshot {
                identity_key,
                uptime_start,
                next_block: 1,
                now: ProcessingTime::from_ms(0),
                committed_at: None,
                epoch,
                totals: Totals::default(),
                devices: Vec::new(),
                hours: Vec::new(),
                stood: StoodThen::default(),
                runs: Vec::new(),
                decided: Vec::new(),
                raw: self.keeps_raw(),
                held: None,
            });
        }
        let stored = self.fact("rules").await?.map(|stored| String::from_utf8_lossy(&stored).into_owned());
        let given = name_of(rules);
        let has_other_room = stored.is_some_and(|stored| room_of(&stored) != room_of(&given));
        let all: Vec<String> = taken.keys().map(u32::to_string).collect();
        let all = all.join(", ");
        let mut open = match &self.database {
            Database::Sqlite(pools) => Open::Sqlite(pools.begin().await?),
            Database::Postgres(pools, days) => Open::Postgres(pools.begin_rebuild().await?, pools.clone(), days.clone()),
        };
        match &mut open {
            Open::Sqlite(tx) => {
                empty!(tx, all, rules, RESULTS.iter().chain(&RESULTS_SQLITE));
            }
            Open::Postgres(tx, ..) => {
                empty!(tx, all, rules, RESULTS.iter().chain(&RESULTS_POSTGRES));
            }
        }
        Ok((Rebuilding { open, taken, has_other_room }, fresh))
    }
}

impl Rebuilding {
    /// Fences other processes; in the names of files that belong to the new state of `partition`.
    pub fn epoch(&self, partition: u32) -> Result<i64, StoreError> {
        self.taken(partition).map(|(epoch, ..)| epoch)
    }

    /// The first block of `partition` that the old state did not cover, and the log's time there.
    pub fn covered(&self, partition: u32) -> Result<(u64, ProcessingTime), StoreError> {
        self.taken(partition).map(|(_, next, now)| (next, now))
    }

    /// Whether the old state had another room for devices that nobody registered: who was refused then may be accepted now.
    pub const fn has_other_room(&self) -> bool {
        self.has_other_room
    }

    fn taken(&self, partition: u32) -> Result<(i64, u64, ProcessingTime), StoreError> {
        self.taken.get(&partition).copied().ok_or_else(|| broken("input_position", partition, "it was not taken over"))
    }

    /// Adds what a further stretch of the log has led to.
    pub async fn add(&mut self, checkpoint: &Checkpoint, config: &WindowConfig) -> Result<(), StoreError> {
        let epoch = self.epoch(checkpoint.partition)?;
        match &mut self.open {
            Open::Sqlite(tx) => put_sqlite(tx, checkpoint, epoch, config).await,
            Open::Postgres(tx, pools, days) => put_postgres(tx, pools, days, checkpoint, epoch, config).await,
        }
    }

    /// Which of `positions` hold a dead letter of `partition`, as far as the new state goes.
    pub async fn letters(&mut self, partition: u32, positions: &BTreeSet<u64>) -> Result<BTreeSet<u64>, StoreError> {
        let mut found = Letters::default();
        for position in positions {
            let Some(at) = found.asks_for(*position) else { continue };
            let (kind, partition) = (DEAD as i64, i64::from(partition));
            found.take(match &mut self.open {
                Open::Sqlite(tx) => {
                    sqlx::query_as(LETTERS_AROUND).bind(kind).bind(partition).bind(at).fetch_optional(&mut **tx).await?
                }
                Open::Postgres(tx, ..) => {
                    sqlx::query_as(LETTERS_AROUND).bind(kind).bind(partition).bind(at).fetch_optional(&mut **tx).await?
                }
            })?;
            found.look(*position);
        }
        Ok(found.found)
    }

    /// Keeps the run of identities of `partition` in the file `path` where other machines can read it.
    pub async fn keep_run(&mut self, partition: u32, path: &Path) -> Result<(), StoreError> {
        match &mut self.open {
            Open::Sqlite(_) => Ok(()),
            Open::Postgres(tx, ..) => super::runs::put_pieces(tx, partition, path).await,
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
