//! What was decided of dead letters.

use super::days::HINT;
use super::side::rows;
use super::{Store, StoreError, broken, either};
use crate::letters::{Decided, End, Outcome};
use crate::side::DEAD;
use domain::engine::Totals;
use domain::planted;
use domain::time::ProcessingTime;

const DISCARDED: &str = "discarded";

/// Letter, block, time, who, outcome, position, reason.
type Row = (i64, i64, i64, String, String, Option<i64>, Option<String>);

/// Outcome, position and reason as they are stored.
pub(super) fn columns(decided: &Decided) -> (&'static str, Option<i64>, Option<&str>) {
    match &decided.outcome {
        Outcome::Replayed { position, end } => (end.name(), Some(*position as i64), None),
        Outcome::Discarded { reason } => (DISCARDED, None, Some(reason)),
    }
}

/// Blocks of dead letters that are looked at together.
const BLOCKS: i64 = 256;

impl Store {
    /// C4 of the newest day: as many dead letters came in on it as records were rejected. What was decided may be gone for its age.
    pub(super) async fn check_letters(&self, partition: u32, totals: &Totals) -> Result<(), StoreError> {
        let (today, mut rejected, mut books) = (totals.today_ms(), 0, 0);
        totals.today().for_each(|book| (rejected, books) = (rejected + book.tally.rejected, books + 1));
        if books == 0 || planted("letters-are-believed") {
            return Ok(());
        }
        // Backwards to the last block of the day before; the one in front of it may hold letters of both.
        let (mut found, mut oldest, mut before) = (0, None, i64::MAX);
        let yesterday = 'days: loop {
            let blocks: Vec<(i64, i64, i64)> = either!(self, pools => {
                sqlx::query_as(
                    "select last_position, records, last_received_ms from side_blocks
                     where kind = $1 and partition = $2 and last_position < $3
                     order by last_position desc
                     limit $4",
                )
                .bind(DEAD as i64)
                .bind(i64::from(partition))
                .bind(before)
                .bind(BLOCKS)
                .fetch_all(&pools.writer)
                .await?
            });
            for (last, records, received_ms) in &blocks {
                if *received_ms < today {
                    break 'days *last;
                }
                (found, oldest, before) = (found + *records as u64, Some(*last), *last);
            }
            if blocks.len() < BLOCKS as usize {
                break -1;
            }
        };
        if let Some(last) = oldest {
            let block: (i64, Vec<u8>) = either!(self, pools => {
                sqlx::query_as("select last_position, data from side_blocks where kind = $1 and partition = $2 and last_position = $3")
                    .bind(DEAD as i64)
                    .bind(i64::from(partition))
                    .bind(last)
                    .fetch_one(&pools.writer)
                    .await?
            });
            let of_before = rows(&block)?.iter().filter(|row| row.received_at.ms() < today).count();
            found = found.saturating_sub(of_before as u64);
        }
        let decided: i64 = either!(self, pools => {
            sqlx::query_scalar("select count(*) from decisions where partition = $1 and letter > $2")
                .bind(i64::from(partition))
                .bind(yesterday)
                .fetch_one(&pools.writer)
                .await?
        });
        if found > rejected || rejected - found > decided as u64 {
            let what = format!("C4: {rejected} records were rejected on the newest day, and {found} dead letters came in on it");
            return Err(broken("side_blocks", format!("partition {partition}"), format!("{what}; {HINT}")));
        }
        Ok(())
    }

    /// The decisions of the dead letters at `from` to `to`, both included, in order of position.
    pub async fn decisions(&self, from: u64, to: u64) -> Result<Vec<Decided>, StoreError> {
        let rows: Vec<Row> = either!(self, pools => {
            sqlx::query_as(
                "select letter, block, at_ms, decided_by, outcome, position, reason
                 from decisions
                 where letter between $1 and $2
                 order by letter",
            )
            .bind(from as i64)
            .bind(to as i64)
            .fetch_all(&pools.readers)
            .await?
        });
        rows.into_iter().map(decided).collect()
    }

    /// The dead letter that was taken in again as the record at `position`.
    pub async fn replayed_as(&self, position: u64) -> Result<Option<u64>, StoreError> {
        let letter: Option<i64> = either!(self, pools => {
            sqlx::query_scalar("select letter from decisions where position = $1")
                .bind(position as i64)
                .fetch_optional(&pools.readers)
                .await?
        });
        Ok(letter.map(|letter| letter as u64))
    }
}

fn decided((letter, block, at_ms, by, outcome, position, reason): Row) -> Result<Decided, StoreError> {
    let outcome = match (End::from_name(&outcome), position, reason) {
        (Some(end), Some(position), None) => Outcome::Replayed { position: position as u64, end },
        (None, None, Some(reason)) if outcome == DISCARDED => Outcome::Discarded { reason },
        _ => return Err(broken("decisions", letter, "its outcome is not whole")),
    };
    Ok(Decided { letter: letter as u64, block: block as u64, at: ProcessingTime::from_ms(at_ms), by, outcome })
}
