//! What processes that share a store have to agree on before anything is deleted: what time it is, and for how long what is kept.

use super::{Retention, Store, StoreError, broken, either};
use domain::planted;
use domain::time::{DAY_MS, ProcessingTime};

/// For so long, by the log's time, what an engine wants to be kept counts after it was last heard of: it may only be away for a while.
const COUNTS_FOR_MS: i64 = 7 * DAY_MS;
/// Names of the facts that engines note.
const KEEP: &str = "keep.";

/// The instant that was noted, and the days.
fn encode(at: ProcessingTime, keep: &Retention) -> Vec<u8> {
    let days = [keep.log_days, keep.readings_days, keep.windows_days, keep.side_days].map(i64::from);
    std::iter::once(at.ms()).chain(days).flat_map(i64::to_be_bytes).collect()
}

fn decode(name: &str, value: &[u8]) -> Result<(ProcessingTime, Retention), StoreError> {
    let numbers = value.chunks_exact(8).map(|chunk| i64::from_be_bytes(chunk.try_into().expect("eight bytes")));
    let numbers: Vec<i64> = numbers.collect();
    let days = |at: usize| numbers.get(at).and_then(|days| u32::try_from(*days).ok());
    let read = || {
        Some((
            ProcessingTime::from_ms(*numbers.first()?),
            Retention { log_days: days(1)?, readings_days: days(2)?, windows_days: days(3)?, side_days: days(4)? },
        ))
    };
    read().ok_or_else(|| broken("facts", name, "it is not a time and four numbers of days"))
}

impl Store {
    /// The log's time by which a process of several may delete what is old: that of the newest checkpoint of any partition, and never later
    /// than its own clock says, so that one wrong clock, a broker's or its own, deletes nothing. `None` where nothing was stored yet.
    pub async fn agreed_time(&self, clock: ProcessingTime) -> Result<Option<ProcessingTime>, StoreError> {
        if planted("own-clock-deletes") {
            return Ok(Some(clock));
        }
        let newest: Option<i64> = either!(self, pools => {
            sqlx::query_scalar("select max(received_at_ms) from input_position").fetch_one(&pools.writer).await?
        });
        Ok(newest.filter(|newest| *newest > 0).map(|newest| ProcessingTime::from_ms(newest).min(clock)))
    }

    /// For how long what is kept: the longest that any engine wants. The one of that `name` wants `keep` at `now`, the log's time; those
    /// count that were heard of within a week of it.
    pub async fn agree_on_retention(&self, name: &str, keep: &Retention, now: ProcessingTime) -> Result<Retention, StoreError> {
        let own = format!("{KEEP}{name}");
        let facts: Vec<(String, Vec<u8>)> = either!(self, pools => {
            sqlx::query(
                "insert into facts (name, value) values ($1, $2)
                 on conflict (name) do update set value = excluded.value",
            )
            .bind(&own)
            .bind(encode(now, keep))
            .execute(&pools.writer)
            .await?;
            sqlx::query_as("select name, value from facts where name like $1")
                .bind(format!("{KEEP}%"))
                .fetch_all(&pools.writer)
                .await?
        });
        let mut agreed = *keep;
        for (name, value) in facts {
            let (at, of) = decode(&name, &value)?;
            if at.plus_ms(COUNTS_FOR_MS) < now {
                either!(self, pools => {
                    sqlx::query("delete from facts where name = $1 and value = $2")
                        .bind(&name)
                        .bind(&value)
                        .execute(&pools.writer)
                        .await?;
                });
            } else if !planted("own-retention-deletes") {
                agreed = Retention {
                    log_days: agreed.log_days.max(of.log_days),
                    readings_days: agreed.readings_days.max(of.readings_days),
                    windows_days: agreed.windows_days.max(of.windows_days),
                    side_days: agreed.side_days.max(of.side_days),
                };
            }
        }
        Ok(agreed)
    }
}
