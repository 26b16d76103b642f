//! SQLite: one file in the data directory, one writer, readers in a pool.

use super::{Database, Pools, Store, StoreError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, Transaction};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

const MIGRATIONS: [&str; 9] = [
    include_str!("../../migrations/sqlite/0001_init.sql"),
    include_str!("../../migrations/sqlite/0002_partitions.sql"),
    include_str!("../../migrations/sqlite/0003_decisions.sql"),
    include_str!("../../migrations/sqlite/0004_derived.sql"),
    include_str!("../../migrations/sqlite/0005_sources.sql"),
    include_str!("../../migrations/sqlite/0006_side_by_partition.sql"),
    include_str!("../../migrations/sqlite/0007_state_format.sql"),
    include_str!("../../migrations/sqlite/0008_daily_books.sql"),
    include_str!("../../migrations/sqlite/0009_count_versions.sql"),
];
/// The write-ahead log of older SQLite can lose a committed page under pooled connections (fixed in 3.51.3).
const OLDEST: (u32, u32, u32) = (3, 51, 3);

/// Within the data directory.
const FILE: &str = "rantai.db";
/// Most of what is written are blocks of windows of about 100 KB: larger pages are fewer writes. A database keeps the pages it was made
/// with.
const PAGE_BYTES: u32 = 16_384;
/// Pages that a connection keeps, in KiB with a minus sign. What pages of the product read is a little of a large file, and the operating
/// system has that: a cache of its own for each reader would only fill up.
const READER_CACHE: &str = "-2000";
const WRITER_CACHE: &str = "-16000";

/// How long somebody else who writes is waited for,
const PATIENCE: Duration = Duration::from_secs(10);
/// and how long until SQLite is asked again where it does not wait itself.
const PAUSE: Duration = Duration::from_millis(20);

/// Opens the database in `dir`, made and migrated as needed.
pub async fn open(dir: &Path) -> Result<Pools<Sqlite>, StoreError> {
    // SQLite would let everybody read it who may look into the folder, and gives its other files the mode of this one. One that is there
    // is not opened: to close it would end the locks that another part of this process has on it.
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(FILE)) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => drop(made.map_err(sqlx::Error::Io)?),
    }
    let options = SqliteConnectOptions::new()
        .filename(dir.join(FILE))
        .create_if_missing(true)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("foreign_keys", "on");
    // Where SQLite itself rolls back (a full disk), sqlx goes on counting a transaction and can never begin another one.
    let pool = SqlitePoolOptions::new().max_connections(1).before_acquire(|connection, _| {
        Box::pin(async move { Ok(!connection.is_in_transaction() || domain::planted("stuck-in-a-transaction")) })
    });
    let writer = connect(pool, &options).await?;
    let version: String = sqlx::query_scalar("select sqlite_version()").fetch_one(&writer).await?;
    if is_too_old(&version) {
        return Err(StoreError::TooOld { found: format!("SQLite {version}"), needed: "3.51.3" });
    }
    let known = MIGRATIONS.len() as i64;
    let mut tx = begin(&writer).await?; // two programs may open it at once
    let found: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut *tx).await?;
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    for (number, migration) in (1..).zip(MIGRATIONS).skip(found as usize) {
        sqlx::raw_sql(migration).execute(&mut *tx).await?;
        if domain::planted("schema-changes-in-pieces") {
            sqlx::raw_sql("commit; begin immediate").execute(&mut *tx).await?;
        }
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("pragma user_version = {number}"))).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    let options = options.read_only(true).pragma("cache_size", READER_CACHE);
    let readers = connect(SqlitePoolOptions::new().max_connections(4), &options).await?;
    Ok(Pools { writer, readers })
}

/// Connects `pool`. Two that open a new file at once may be in each other's way where SQLite lets neither wait: then again, as long as it
/// would wait.
async fn connect(pool: SqlitePoolOptions, options: &SqliteConnectOptions) -> Result<sqlx::SqlitePool, sqlx::Error> {
    let is_busy = |error: &sqlx::Error| {
        // Of an extended code the lowest byte tells (https://sqlite.org/rescode.html).
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        code.is_some_and(|code| code & 0xff == 5)
    };
    let since = Instant::now();
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && since.elapsed() < PATIENCE && !domain::planted("locked-database-is-given-up") => {
                tokio::time::sleep(PAUSE).await;
            }
            connected => return connected,
        }
    }
}

async fn begin(writer: &sqlx::SqlitePool) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    writer.begin_with("begin immediate").await
}

impl Pools<Sqlite> {
    /// A transaction that is going to write: it waits for another writer now, not halfway.
    pub async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        begin(&self.writer).await
    }

    /// Does `taking`: no other process has the file, so nobody stands in the way.
    pub async fn unblocked<T>(&self, taking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        taking.await
    }
}

impl Store {
    /// Copies the database into the folder `dir`, as of one moment, while others write to it; durable on return but for its name there.
    pub async fn copy_to(&self, dir: &Path) -> Result<(), StoreError> {
        let Database::Sqlite(pools) = &self.database else { return Err(StoreError::NoFile) };
        let path = dir.join(FILE);
        let name = path.to_str().ok_or(std::io::ErrorKind::InvalidFilename).map_err(|e| sqlx::Error::Io(e.into()))?;
        sqlx::query("vacuum into $1").bind(name).execute(&pools.readers).await?;
        std::fs::File::open(&path).and_then(|file| file.sync_all()).map_err(sqlx::Error::Io)?;
        Ok(())
    }

    /// What SQLite finds damaged in its file, at most a hundred things. Postgres has checksums of its own.
    pub async fn damage(&self) -> Result<Vec<String>, StoreError> {
        let Database::Sqlite(pools) = &self.database else { return Ok(Vec::new()) };
        let found: Vec<String> = sqlx::query_scalar("pragma quick_check(100)").fetch_all(&pools.readers).await?;
        Ok(found.into_iter().filter(|what| what != "ok").map(|what| format!("{FILE}: {what}")).collect())
    }
}

fn is_too_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    (part(), part(), part()) < OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    /// Where SQLite does not wait itself, as between two that open a new file at once, which a test cannot bring about every time.
    #[tokio::test]
    async fn who_comes_to_a_locked_database_waits() {
        let dir = tempfile::tempdir().expect("a folder");
        let options =
            SqliteConnectOptions::new().filename(dir.path().join(FILE)).create_if_missing(true).busy_timeout(Duration::ZERO);
        let mut holder = sqlx::SqliteConnection::connect_with(&options).await.expect("connects");
        sqlx::raw_sql("create table what_was_there (x); begin exclusive").execute(&mut holder).await.expect("locks");
        let options = options.journal_mode(SqliteJournalMode::Wal);
        let mut opening = pin!(connect(SqlitePoolOptions::new().max_connections(1), &options));
        tokio::time::timeout(PAUSE * 2, &mut opening).await.expect_err("it is refused, and asks again");
        sqlx::raw_sql("commit").execute(&mut holder).await.expect("unlocks");
        opening.await.expect("opens as soon as it can");
    }

    #[test]
    fn versions_that_can_lose_a_page_are_refused() {
        for (version, expected) in
            [("3.46.0", true), ("3.51.2", true), ("3.51.3", false), ("3.53.0", false), ("4.0", false), ("3.51", true), ("", true)]
        {
            assert_eq!(is_too_old(version), expected, "{version}");
        }
    }
}
