//! Deleting what need not be kept any longer: whole days on Postgres, whole blocks on SQLite.

use super::{Database, Store, StoreError, broken, either, postgres};
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
    /// Late records and dead letters that were decided, by when they came in, and the books of each day.
    pub side_days: u32,
}

impl Default for Retention {
    /// Five years.
    fn default() -> Self {
        let days = 5 * 365 + 1;
        Self { log_days: days, readings_days: days, windows_days: days, side_days: days }
    }
}

/// What may be gone for its age: all that is older than the latest instant that retention was ever told, in milliseconds since 1970, whatever
/// it is told today. 0 where it has taken nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Raw readings and positions, by event time.
    pub readings: i64,
    /// Closed windows and what else is derived, by their start; versions of how equipment stands, by when they were known.
    pub windows: i64,
    /// Late records and dead letters, by when they came in.
    pub side: i64,
}

impl Forgotten {
    /// Those of `keep` at `now`.
    fn at(now: ProcessingTime, keep: &Retention) -> Self {
        let cutoff = |days| cutoff(now, days).max(0);
        Self { readings: cutoff(keep.readings_days), windows: cutoff(keep.windows_days), side: cutoff(keep.side_days) }
    }

    /// Versions of how equipment stands are gone whole days at a time: so what was known before this is.
    pub const fn counts(&self) -> i64 {
        self.windows - self.windows.rem_euclid(DAY_MS)
    }

    /// The facts that they are.
    fn facts(&mut self) -> [(&'static str, &mut i64); 3] {
        [("forgotten.readings", &mut self.readings), ("forgotten.windows", &mut self.windows), ("forgotten.side", &mut self.side)]
    }
}

/// The instant `days` before `now`, in milliseconds since 1970.
pub fn cutoff(now: ProcessingTime, days: u32) -> i64 {
    now.ms() - i64::from(days - u32::from(domain::planted("kept-a-day-less"))) * DAY_MS
}

impl Store {
    /// What may be gone for its age.
    pub async fn forgotten(&self) -> Result<Forgotten, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = either!(self, pools => {
            sqlx::query_as("select name, value from facts where name like 'forgotten.%'").fetch_all(&pools.readers).await?
        });
        let mut forgotten = Forgotten::default();
        for (name, instant) in forgotten.facts() {
            if let Some((_, value)) = rows.iter().find(|row| row.0 == name) {
                let value = value.as_slice().try_into().map_err(|_| broken("facts", name, "it is not 8 bytes"))?;
                *instant = i64::from_be_bytes(value);
            }
        }
        Ok(forgotten)
    }

    /// Notes what may be gone from now on.
    async fn note(&self, mut forgotten: Forgotten) -> Result<(), StoreError> {
        either!(self, pools => {
            let mut tx = pools.begin().await?;
            for (name, instant) in forgotten.facts() {
                // The largest byte first: later instants are larger as bytes too.
                sqlx::query(
                    "insert into facts (name, value) values ($1, $2)
                     on conflict (name) do update set value = excluded.value where facts.value < excluded.value",
                )
                .bind(name)
                .bind(instant.to_be_bytes().to_vec())
                .execute(&mut *tx)
                .await?;
            }
            tx.commit().await?;
        });
        Ok(())
    }

    /// Deletes what is older than `keep` says at `now`; how many tables and blocks that were.
    pub async fn forget(&self, now: ProcessingTime, keep: &Retention) -> Result<u64, StoreError> {
        // Before anything goes: who misses something finds it here.
        if !domain::planted("retention-leaves-no-note") {
            self.note(Forgotten::at(now, keep)).await?;
        }
        let mut gone = self.forget_side(cutoff(now, keep.side_days)).await?;
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
