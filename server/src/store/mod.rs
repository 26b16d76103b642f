//! The store: the one commit domain, on SQLite in the data directory or on Postgres. The only SQL.
//!
//! An enum of two rather than a trait: there will be no third, readers see at each call what differs, and callers hold a plain
//! [`Store`]. Statements that both databases accept are written once, see `either`; what differs stands side by side: opening and
//! migrating (`sqlite`, `postgres`), and the bulk of a checkpoint (`checkpoint`).

mod address;
mod agreed;
mod checkpoint;
mod counts;
mod days;
mod derived;
mod dump;
mod format;
mod keys;
mod letters;
mod partitions;
mod postgres;
mod rebuild;
mod retention;
mod runs;
mod side;
mod sqlite;
mod windows;

pub use address::{AddressError, StoreAddress};
pub use checkpoint::{Checkpoint, Snapshot};
pub use counts::{decode_counts, encode_counts};
pub use days::{HINT, TAKEN, book_name};
pub use derived::DerivedKind;
pub use dump::{RawRow, RawTable};
pub use format::STATE_FORMAT;
pub use keys::{ApiKey, KeyError};
pub use partitions::{KafkaPartition, Overview};
pub use postgres::RawRecords;
pub use rebuild::Rebuilding;
pub use retention::{Forgotten, Retention, cutoff};
pub use windows::MERGE_WINDOWS_BLOCKS;

use crate::files;
use domain::engine::EngineConfig;
use sqlx::Pool;
use std::path::Path;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said so.
    #[error("the database failed: {}", told(.0))]
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
    /// The database is too old to be trusted.
    #[error("{found} is too old: {needed} or newer is needed")]
    TooOld {
        /// What was found.
        found: String,
        /// What would do.
        needed: &'static str,
    },
    /// The database was made by a newer version of this program.
    #[error("the database has schema {found}, this program knows {known}: use the newer program")]
    NewerSchema {
        /// The schema found.
        found: i64,
        /// The newest schema that this program knows.
        known: i64,
    },
    /// The state in the database is that of another log.
    #[error(
        "the database holds the state of another log: start with the data directory it was written from, or with an empty database"
    )]
    OtherLog,
    /// The state is encoded in a way that this program does not write.
    #[error("{}", format::other(*partition, *found))]
    OtherFormat {
        /// Of which partition.
        partition: i64,
        /// Its format.
        found: i64,
    },
    /// What is stored follows from other windows, or from room for more or fewer devices.
    #[error(
        "the state was made with {stored}, and the server was told {given}: tell it the former, or make the state anew with \
         `rantai rebuild`, on Kafka `rantai kafka rebuild`"
    )]
    OtherRules {
        /// Those of the state.
        stored: String,
        /// Those told.
        given: String,
    },
    /// The database is no file that could be copied.
    #[error("the database is Postgres: dump it with `pg_dump`, and then copy the folders `log` and `identities`")]
    NoFile,
    /// A run of identities cannot be written.
    #[error("a run of identities cannot be written: {0}")]
    Run(#[source] std::io::Error),
    /// Another process moved the input position.
    #[error("another process has taken over this partition of the input; this one stops")]
    Fenced,
}

impl StoreError {
    /// Whether trying again can help: a disk is full, somebody else is writing, a connection broke off. After any other failure of files
    /// of ours, SQLite's too, nobody knows what the disk holds before it was read afresh. And what Postgres refuses for what is in it, it
    /// refuses for ever: a process that ends with the reason is seen, one that tries again is not.
    pub fn may_pass(&self) -> bool {
        match self {
            StoreError::Database(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default();
                match error.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
                    Some(_) => may_pass_in_sqlite(code.parse().unwrap_or_default()),
                    None => may_pass_in_postgres(&code) || domain::planted("whatever-postgres-says-passes"),
                }
            }
            StoreError::Database(error) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::Protocol(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
                    | sqlx::Error::BeginFailed
            ),
            StoreError::Run(error) => {
                files::is_full(error) && !domain::planted("no-room-for-a-run-is-the-end")
                    || files::is_out_of_files(error) && !domain::planted("no-file-for-a-run-is-the-end")
                    || domain::planted("failed-run-is-tried-again")
            }
            _ => false,
        }
    }
}

/// Whether SQLite's error `code` is about something that passes.
const fn may_pass_in_sqlite(code: u32) -> bool {
    // By the lowest byte (https://sqlite.org/rescode.html): somebody else is writing, the disk is full. Whole: a file cannot be opened, as
    // when there are too many open. And what is about the index of its log, a file that it shares with other processes, makes anew after
    // a crash and never syncs: no room in it, or not to be opened.
    matches!(code & 0xff, 5 | 6 | 13) || matches!(code, 14 | 4_618 | 4_874 | 5_386)
}

/// Whether what Postgres says under `code` passes, by its class: the connection, a transaction that was rolled back for another's sake, a
/// lack of room or of connections, somebody who stops or cancels; a lock that somebody else holds, and a transaction that took so long that the
/// connection was ended (a machine was paused). A password that is not taken any more
/// or a database that only reads do not pass for this process: the next start finds others, or says so.
fn may_pass_in_postgres(code: &str) -> bool {
    // https://www.postgresql.org/docs/current/errcodes-appendix.html
    matches!(code.get(..2), Some("08" | "40" | "53" | "57")) || matches!(code, "55P03" | "25P03" | "25P04")
}

/// What the database says, with where.
fn told(error: &sqlx::Error) -> String {
    let of = error.as_database_error().and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>());
    let Some(of) = of else { return error.to_string() };
    let places = [("table ", of.table()), ("constraint ", of.constraint()), ("", of.r#where())];
    let places = places.into_iter().filter_map(|(name, value)| Some(format!(", {name}{}", value?)));
    format!("{error} (SQLSTATE {}{})", of.code(), places.collect::<String>())
}

fn broken(table: &'static str, key: impl ToString, reason: impl ToString) -> StoreError {
    StoreError::Broken { table, key: key.to_string(), reason: reason.to_string() }
}

/// Connections to one kind of database. SQLite has one writer; Postgres needs no such care, and both are the same pool.
#[derive(Debug)]
struct Pools<D: sqlx::Database> {
    writer: Pool<D>,
    readers: Pool<D>,
}

impl<D: sqlx::Database> Clone for Pools<D> {
    fn clone(&self) -> Self {
        Self { writer: self.writer.clone(), readers: self.readers.clone() }
    }
}

#[derive(Clone, Debug)]
enum Database {
    Sqlite(Pools<sqlx::Sqlite>),
    Postgres(Pools<sqlx::Postgres>, postgres::Days),
}

/// Does `$body` with the pools of whichever database this is: the same text, compiled for each.
macro_rules! either {
    ($store:expr, $pools:ident => $body:expr) => {
        match &$store.database {
            $crate::store::Database::Sqlite($pools) => $body,
            $crate::store::Database::Postgres($pools, _) => $body,
        }
    };
}
use either;

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    merge_windows_blocks: u32,
}

impl Store {
    /// Opens the database at `address`, made and migrated as needed; SQLite's lies in the data directory `dir`.
    pub async fn open(address: &StoreAddress, dir: &Path) -> Result<Self, StoreError> {
        let database = match address {
            StoreAddress::Sqlite => Database::Sqlite(sqlite::open(dir).await?),
            StoreAddress::Postgres(url) => {
                let (pools, days) = postgres::open(url).await?;
                Database::Postgres(pools, days)
            }
        };
        Ok(Self { database, merge_windows_blocks: MERGE_WINDOWS_BLOCKS })
    }

    /// The same, that puts small blocks of windows together once there are `blocks` of one size. Postgres has no blocks of windows.
    #[must_use]
    pub fn merging_windows_at(self, blocks: u32) -> Self {
        Self { merge_windows_blocks: blocks, ..self }
    }

    /// Waits for what is being written, and closes.
    pub async fn close(&self) {
        either!(self, pools => {
            pools.readers.close().await;
            pools.writer.close().await;
        });
    }

    /// Refuses rules with which the stored state was not made. It names windows by their place, and its counters would mean other ones;
    /// sliding windows and sessions may come and go. And who found room in it, others would have found.
    pub async fn agree_on(&self, config: &EngineConfig) -> Result<(), StoreError> {
        let given = name_of(config);
        let stored = self.fact_or("rules", given.clone().into_bytes()).await?;
        let stored = String::from_utf8_lossy(&stored).into_owned();
        if stored == given || domain::planted("other-windows-are-taken") {
            Ok(())
        } else {
            Err(StoreError::OtherRules { stored, given })
        }
    }

    async fn fact(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(either!(self, pools => {
            sqlx::query_scalar("select value from facts where name = $1").bind(name).fetch_optional(&pools.writer).await?
        }))
    }

    /// The fact of that name, put in as `value` where there is none yet.
    async fn fact_or(&self, name: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        either!(self, pools => {
            sqlx::query("insert into facts (name, value) values ($1, $2) on conflict (name) do nothing")
                .bind(name)
                .bind(value)
                .execute(&pools.writer)
                .await?;
        });
        self.fact(name).await?.ok_or_else(|| broken("facts", name, "it was just put in and is not there"))
    }
}

/// Before the number of devices for which there is room.
const ROOM: &str = " and room for ";

/// What is noted of that, in the rules `name`.
fn room_of(name: &str) -> Option<&str> {
    name.rsplit_once(ROOM).map(|(_, room)| room)
}

/// What is noted of the rules by which a state is made.
fn name_of(config: &EngineConfig) -> String {
    let windows = &config.windows;
    let tumbling = windows.definitions().iter().map(|d| format!("{}:{}", d.size_ms, d.delay_ms));
    // What is kept of them lies in the order of their definitions, and says nothing of the time before one was there.
    let sliding = windows.sliding().iter().map(|d| format!("{}/{}:{}", d.size_ms, d.slide_ms, d.delay_ms));
    let sessions = windows.sessions().iter().map(|d| format!("session {}:{}", d.gap_ms, d.delay_ms));
    format!(
        "windows {} and lateness {} (milliseconds){ROOM}{} unregistered devices",
        tumbling.chain(sliding).chain(sessions).collect::<Vec<_>>().join(","),
        windows.allowed_lateness_ms(),
        config.max_unregistered
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::io::{Error, ErrorKind};

    #[tokio::test]
    async fn only_what_may_pass_is_tried_again() {
        let pool = sqlx::SqlitePool::connect("sqlite::memory:").await.expect("opens");
        sqlx::raw_sql("create table t (x integer primary key); insert into t values (1)").execute(&pool).await.expect("runs");
        let twice = sqlx::query("insert into t values (1)").execute(&pool).await.expect_err("it is there already");
        assert!(!StoreError::from(twice).may_pass());
        assert!(StoreError::from(sqlx::Error::PoolTimedOut).may_pass());
        assert!(StoreError::Run(Error::from(ErrorKind::StorageFull)).may_pass());
        assert!(StoreError::Run(Errno::MFILE.into()).may_pass());
        assert!(!StoreError::Run(Errno::IO.into()).may_pass());
        assert!(!StoreError::Run(Error::other("a failed sync")).may_pass());
        assert!(!StoreError::Fenced.may_pass());
        assert!(StoreError::from(sqlx::Error::Io(ErrorKind::ConnectionReset.into())).may_pass());
        assert!(!StoreError::from(sqlx::Error::RowNotFound).may_pass());
    }

    #[test]
    fn what_postgres_says_passes_or_does_not() {
        for passes in ["08006", "40001", "40P01", "53100", "53300", "55P03", "57014", "57P01", "57P03", "25P03", "25P04"] {
            assert!(may_pass_in_postgres(passes), "{passes}");
        }
        // A NUL in a text, a row that is there, a table that is not, a password, a database that only reads, a broken page.
        for stays in ["22021", "23505", "42P01", "28P01", "25006", "55006", "XX001", "5", ""] {
            assert!(!may_pass_in_postgres(stays), "{stays}");
        }
    }
}
