//! The format of what is stored: how the derived state and the results are encoded, as one number.
//!
//! The log and the runs of identities are no part of it: blocks of the log say themselves of which version they are, and a rebuild makes
//! the runs anew.

use super::{Store, StoreError, either};

/// The number of the format that this program reads and writes. It stands beside the position of each partition (`input_position`), and a
/// state with another one is refused before anything of it is read.
///
/// **Raise it by one whenever what is stored changes**: a type of `domain` or of this crate that goes through `postcard` (`Totals`,
/// `DeviceState` and all in it, `HourCell`, `Stood`, `ClosedDerived`, `SideRow`), the blocks of windows and of side outputs, packed hours, or what any of
/// it means. The test below notices most such changes and tells what to do. There is no migration from one format to the next: the log is
/// the record of truth, and `rantai rebuild` and `rantai kafka rebuild` make the state anew.
pub const STATE_FORMAT: i64 = 10;

/// What somebody is told whose state is in another format.
pub(super) fn other(partition: i64, found: i64) -> String {
    let is = match found {
        0 => "of a time before formats had numbers".to_owned(),
        number => format!("in format {number}"),
    };
    let way = if partition == 0 {
        "`rantai rebuild` makes it anew from the log"
    } else {
        "`rantai kafka rebuild` makes it anew from Kafka's topics"
    };
    format!(
        "the state in the database is {is}, and this program reads format {STATE_FORMAT}: {way}, or start the program that wrote it"
    )
}

impl Store {
    /// Refuses what is stored in another format than [`STATE_FORMAT`]: it must not be read.
    pub async fn check_format(&self) -> Result<(), StoreError> {
        let found: Option<(i64, i64)> = either!(self, pools => {
            sqlx::query_as(
                "select partition, state_format from input_position
                 where state_format <> $1 and committed_at_ms > 0 order by partition limit 1",
            )
            .bind(STATE_FORMAT)
            .fetch_optional(&pools.readers)
            .await?
        });
        match found {
            Some((partition, found)) if !domain::planted("any-format-is-ours") => {
                Err(StoreError::OtherFormat { partition, found })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
