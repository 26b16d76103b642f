//! Deleting what need not be kept any longer: whole days on Postgres, whole blocks on SQLite.

use super::{Database, Store, StoreError, either, postgres};
use domain::time::{DAY_MS, ProcessingTime};

/// For how many days what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The log: what lies in it besides can be computed again.
    pub log_days: u32,
    /// Raw readings and positions, by event time; Postgres only.
    pub readings_days: u32,
    /// Closed windows, by their start.
    pub windows_days: u32,
    /// Late records and dead letters, by when they came in, and the books of each day.
    pub side_days: u32,
}

impl Default for Retention {
    /// Five years.
    fn default() -> Self {
        let days = 5 * 365 + 1;
        Self { log_days: days, readings_days: days, windows_days: days, side_days: days }
    }
}

/// The instant `days` before `now`, in milliseconds since 1970.
pub fn cutoff(now: ProcessingTime, days: u32) -> i64 {
    now.ms() - i64::from(days - u32::from(domain::planted("kept-a-day-less"))) * DAY_MS
}

impl Store {
    /// Deletes what is older than `keep` says at `now`; how many tables and blocks that were.
    pub async fn forget(&self, now: ProcessingTime, keep: &Retention) -> Result<u64, StoreError> {
        let mut gone = either!(self, pools => {
            sqlx::query("delete from side_blocks where last_received_ms < $1")
                .bind(cutoff(now, keep.side_days))
                .execute(&pools.writer)
                .await?
                .rows_affected()
        });
        gone += self.forget_days(cutoff(now, keep.side_days)).await?;
        gone += self.forget_counts(cutoff(now, keep.windows_days)).await?;
        gone += self.forget_derived(cutoff(now, keep.windows_days)).await?;
        match &self.database {
            Database::Sqlite(pools) => {
                // One size after the other, as the index goes: the only writer is not held up by reading everything.
                let sizes: Vec<i64> =
                    sqlx::query_scalar("select distinct size_ms from window_blocks").fetch_all(&pools.readers).await?;
                for size in sizes {
                    let done = sqlx::query("delete from window_blocks where size_ms = $1 and last_start_ms < $2")
                        .bind(size)
                        .bind(cutoff(now, keep.windows_days))
                        .execute(&pools.writer)
                        .await?;
                    gone += done.rows_affected();
                }
            }
            Database::Postgres(pools, days) => {
                for (table, keep_days) in
                    [("readings", keep.readings_days), ("positions", keep.readings_days), ("windows", keep.windows_days)]
                {
                    let day = cutoff(now, keep_days).div_euclid(DAY_MS);
                    gone += postgres::drop_before(pools, days, table, day).await?;
                }
            }
        }
        Ok(gone)
    }

    /// The first position of `partition`'s log that a restart would read: what lies before it is covered by the last checkpoint and by
    /// runs of identities.
    pub async fn needed_from(&self, partition: u32) -> Result<u64, StoreError> {
        let (next, last): (Option<i64>, Option<i64>) = either!(self, pools => {
            sqlx::query_as(
                "select (select next from input_position where partition = $1),
                     (select max(last) from identity_runs where partition = $1)",
            )
            .bind(i64::from(partition))
            .fetch_one(&pools.writer)
            .await?
        });
        let last = if domain::planted("log-is-deleted-before-its-identities") { next } else { last };
        Ok(next.unwrap_or(0).min(last.map_or(0, |last| last + 1)).max(0) as u64)
    }
}
