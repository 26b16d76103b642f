//! What was decided of dead letters.

use super::{Store, StoreError, broken, either};
use crate::letters::{Decided, End, Outcome};
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

impl Store {
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
