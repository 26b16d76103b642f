//! Postgres: opening, migrating, and the tables that grow without end, readings, positions and windows, which are partitioned by day.

use super::{Pools, StoreError};
use crate::admission::Batch;
use domain::engine::{ClosedWindow, Content, Disposition};
use domain::time::{DAY_MS, ProcessingTime};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, Postgres, Transaction};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MIGRATIONS: [&str; 11] = [
    include_str!("../../migrations/postgres/0001_init.sql"),
    include_str!("../../migrations/postgres/0002_decisions.sql"),
    include_str!("../../migrations/postgres/0003_kafka.sql"),
    include_str!("../../migrations/postgres/0004_derived.sql"),
    include_str!("../../migrations/postgres/0005_sources.sql"),
    include_str!("../../migrations/postgres/0006_side_by_partition.sql"),
    include_str!("../../migrations/postgres/0007_state_format.sql"),
    include_str!("../../migrations/postgres/0008_positions.sql"),
    include_str!("../../migrations/postgres/0009_daily_books.sql"),
    include_str!("../../migrations/postgres/0010_count_versions.sql"),
    include_str!("../../migrations/postgres/0011_bi_books.sql"),
];
const OLDEST: i32 = 150_000;
/// Held while the schema changes, so that several processes may start at once. Any number that nobody else uses.
const SCHEMA_LOCK: i64 = 0x7261_6e74_6169;
/// What our connections are called in `pg_stat_activity`.
const NAME: &str = "rantai";
/// What the connection of a rebuild is called there while its transaction lasts.
const NAME_OF_REBUILD: &str = "rantai rebuild";
/// For each connection: who says nothing in the middle of a transaction for so long, or whose host does not answer any more, has none and
/// holds no lock. Without these a host that is gone holds them for hours. A message on its way counts as silence, and one may be 4 MiB.
const UNHEARD_OF: &str = "set idle_in_transaction_session_timeout = '60s';
     set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 2;
     set tcp_user_timeout = '20s'";
/// So long a process that does not move may be in the way of who takes its partition over.
const IN_THE_WAY: Duration = Duration::from_secs(3);
/// Ends them: the connections of processes named `$1` whose next word Postgres has waited for since `$2` seconds at least, while another
/// waits for them. Of a copy Postgres tells only when it began: a process that is still at it, but has lost its place, is ended too.
const IN_THE_WAY_ARE: &str = "with holding as materialized (
         select distinct holder.pid
         from pg_stat_activity waiting
         cross join lateral unnest(pg_blocking_pids(waiting.pid)) as blocking (pid)
         join pg_stat_activity holder on holder.pid = blocking.pid
         where waiting.datname = current_database() and waiting.application_name = $1
             and waiting.query_start < clock_timestamp() - make_interval(secs => $2)
             and holder.datname = current_database() and holder.application_name = $1 and holder.wait_event_type = 'Client'
             and holder.state_change < clock_timestamp() - make_interval(secs => $2)
     )
     select pid from holding where pg_terminate_backend(pid)";
/// The tables with a partition a day.
pub const DAILY: [&str; 3] = ["readings", "positions", "windows"];

/// Opens the database at `url`, migrated as needed.
pub async fn open(url: &str) -> Result<(Pools<Postgres>, Days), StoreError> {
    let options: PgConnectOptions = url.parse()?;
    let pool = PgPoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(10))
        .after_connect(|connection, _| Box::pin(async { sqlx::raw_sql(UNHEARD_OF).execute(connection).await.map(drop) }))
        .connect_with(options.application_name(NAME))
        .await?;
    let version: String = sqlx::query_scalar("select current_setting('server_version_num')").fetch_one(&pool).await?;
    if version.parse().is_ok_and(|number: i32| number < OLDEST) {
        return Err(StoreError::TooOld { found: format!("Postgres {version}"), needed: "150000 (15.0)" });
    }
    let mut tx = pool.begin().await?;
    lock_schema(&mut tx).await?;
    sqlx::raw_sql("create table if not exists schema_version (version bigint not null)").execute(&mut *tx).await?;
    let known = MIGRATIONS.len() as i64;
    let found: Option<i64> = sqlx::query_scalar("select version from schema_version").fetch_optional(&mut *tx).await?;
    if found.is_some_and(|found| found > known) {
        return Err(StoreError::NewerSchema { found: found.unwrap_or_default(), known });
    }
    if found != Some(known) {
        for migration in MIGRATIONS.into_iter().skip(found.unwrap_or(0) as usize) {
            sqlx::raw_sql(migration).execute(&mut *tx).await?;
            if domain::planted("schema-changes-in-pieces") {
                sqlx::raw_sql("commit; begin").execute(&mut *tx).await?;
            }
        }
        sqlx::query("delete from schema_version").execute(&mut *tx).await?;
        sqlx::query("insert into schema_version (version) values ($1)").bind(known).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok((Pools { writer: pool.clone(), readers: pool }, Days::default()))
}

/// Waits until nobody else changes tables or gives out numbers, and keeps others from it until the transaction ends.
pub async fn lock_schema(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock($1)").bind(SCHEMA_LOCK).execute(tx).await.map(drop)
}

impl Pools<Postgres> {
    /// A transaction that is going to write.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.writer.begin().await
    }

    /// A transaction of a rebuild, which is silent for as long as it computes, and is waited for.
    pub async fn begin_rebuild(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut tx = self.begin().await?;
        let text = format!("set local application_name = '{NAME_OF_REBUILD}'; set local idle_in_transaction_session_timeout = 0");
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *tx).await?;
        Ok(tx)
    }

    /// Does `taking`, which takes over what another process may hold locked. One that was stopped in the middle of a checkpoint, or whose
    /// host is gone, would keep it locked for as long as its connection lasts: where Postgres waits for such a one, its connection is ended.
    /// It is fenced in any case. Whoever is at work is waited for, but for a copy that has lost its place.
    pub async fn unblocked<T>(&self, taking: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        let mut taking = std::pin::pin!(taking);
        loop {
            if let Ok(taken) = tokio::time::timeout(IN_THE_WAY, &mut taking).await {
                return taken;
            }
            if domain::planted("who-stands-still-is-waited-for") {
                continue;
            }
            let look = async {
                // Not one of the pool's: all of these may be waiting.
                let mut connection = PgConnection::connect_with(&self.writer.connect_options()).await?;
                let ended: Vec<i32> = sqlx::query_scalar(IN_THE_WAY_ARE)
                    .bind(NAME)
                    .bind(IN_THE_WAY.as_secs_f64() / 2.0)
                    .fetch_all(&mut connection)
                    .await?;
                connection.close().await.map(|()| ended)
            };
            match tokio::time::timeout(IN_THE_WAY, look).await {
                Ok(Ok(ended)) if ended.is_empty() => {}
                Ok(Ok(ended)) => {
                    tracing::warn!(?ended, "A process that does not move held what is taken over: its connections were ended.");
                }
                Ok(Err(error)) => tracing::warn!(%error, "Postgres cannot say who is in the way."),
                Err(_) => tracing::warn!("Postgres does not say who is in the way."),
            }
        }
    }
}

/// The days that are known to have their partitions, by number since 1970, the same for every table.
#[derive(Clone, Debug, Default)]
pub struct Days(Arc<Mutex<BTreeSet<i64>>>);

impl Days {
    /// Makes the partitions of `days` where they are missing.
    pub async fn ensure(&self, pools: &Pools<Postgres>, days: impl IntoIterator<Item = i64>) -> Result<(), StoreError> {
        let missing: Vec<i64> = {
            let known = self.0.lock().expect("nobody panics with it");
            days.into_iter().filter(|day| !known.contains(day)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let mut tx = pools.begin().await?;
        lock_schema(&mut tx).await?;
        for day in &missing {
            for table in DAILY {
                let name = partition_name(table, *day);
                let exists: bool =
                    sqlx::query_scalar("select to_regclass($1) is not null").bind(&name).fetch_one(&mut *tx).await?;
                if exists {
                    continue;
                }
                // Made apart and attached: readers of the other days need not be waited for.
                let text = format!(
                    "create table {name} (like {table} including defaults);
                     alter table {table} attach partition {name} for values from ({}) to ({})",
                    day * DAY_MS,
                    (day + 1) * DAY_MS
                );
                sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *tx).await?;
            }
        }
        tx.commit().await?;
        self.0.lock().expect("nobody panics with it").extend(missing);
        Ok(())
    }

    /// Forgets what is known: some partition may be gone, dropped here or by another process.
    pub fn forget(&self) {
        self.0.lock().expect("nobody panics with it").clear();
    }
}

/// Whether it says that a row lies in a day without a partition: a check of the table that is violated, in its words.
pub fn lacks_a_day(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(DatabaseError::is_check_violation)
}

/// Drops the partitions of `table` that lie before `day`; how many there were.
pub async fn drop_before(pools: &Pools<Postgres>, days: &Days, table: &'static str, day: i64) -> Result<u64, StoreError> {
    // Names have the date in them: their order is that of the days.
    let old: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = to_regclass($1) and c.relname::text < $2
         order by 1",
    )
    .bind(table)
    .bind(partition_name(table, day))
    .fetch_all(&pools.writer)
    .await?;
    for name in &old {
        let mut tx = pools.begin().await?;
        lock_schema(&mut tx).await?;
        // A reader in the way is not worth stopping everybody behind us: the next round tries again.
        let text = format!("set local lock_timeout = '2s'; drop table if exists {name}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *tx).await?;
        tx.commit().await?;
        days.forget();
    }
    Ok(old.len() as u64)
}

/// Name of the partition of `table` for a day since 1970.
fn partition_name(table: &str, day: i64) -> String {
    let date = domain::time::EventTime::from_ms(day * DAY_MS).to_string();
    format!("{table}_{}", date[..10].replace('-', "_"))
}

/// Rows of a binary `COPY`, and the days that they lie in.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    days: BTreeSet<i64>,
    last_day: Option<i64>,
}

impl Rows {
    fn begin(&mut self, at_ms: i64, columns: i16) {
        let day = at_ms.div_euclid(DAY_MS);
        if self.last_day != Some(day) {
            self.days.insert(day);
            self.last_day = Some(day);
        }
        self.bytes.extend_from_slice(&columns.to_be_bytes());
    }

    fn put<const N: usize>(&mut self, value: [u8; N]) {
        self.bytes.extend_from_slice(&(N as i32).to_be_bytes());
        self.bytes.extend_from_slice(&value);
    }

    fn put_big(&mut self, value: i64) {
        self.put(value.to_be_bytes());
    }

    fn put_int(&mut self, value: i32) {
        self.put(value.to_be_bytes());
    }

    fn put_optional(&mut self, value: Option<i32>) {
        match value {
            Some(value) => self.put_int(value),
            None => self.bytes.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }

    fn put_text(&mut self, text: &str) {
        self.bytes.extend_from_slice(&(text.len() as i32).to_be_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// The days that the rows lie in, by number since 1970.
    pub fn days(&self) -> impl Iterator<Item = i64> {
        self.days.iter().copied()
    }

    /// Writes the rows by `statement`, a `copy … from stdin (format binary)`.
    pub async fn copy(&self, tx: &mut PgConnection, statement: &'static str) -> Result<(), sqlx::Error> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let mut copy = tx.copy_in_raw(statement).await?;
        copy.send(&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"[..]).await?;
        // In pieces: the driver holds what it was given until it is sent.
        for piece in self.bytes.chunks(1 << 20) {
            copy.send(piece).await?;
        }
        copy.send(&(-1i16).to_be_bytes()[..]).await?;
        copy.finish().await.map(drop)
    }
}

/// Accepted readings and fixes on their way into the tables of raw ones.
#[derive(Clone, Debug, Default)]
pub struct RawRecords {
    readings: Rows,
    positions: Rows,
}

impl RawRecords {
    const COPY_READINGS: &str =
        "copy readings (at_ms, received_at_ms, position, temperature, humidity, battery, partition, status, device_id)
         from stdin (format binary)";
    const COPY_POSITIONS: &str =
        "copy positions (at_ms, received_at_ms, position, longitude_e6, latitude_e6, partition, device_id)
         from stdin (format binary)";

    /// Takes in the accepted readings and fixes of a batch of `partition`, whose records lie at `positions`.
    pub fn add(
        &mut self,
        partition: u32,
        batch: &Batch,
        dispositions: &[Disposition],
        positions: impl Iterator<Item = u64>,
        received_at: ProcessingTime,
    ) {
        let accepted = |(_, disposition): &(_, &Disposition)| **disposition == Disposition::Accepted;
        let records = batch.records().zip(positions).zip(dispositions).filter(accepted);
        for ((record, position), _) in records {
            match &record.content {
                Content::Reading { device, reading } => {
                    let rows = &mut self.readings;
                    rows.begin(reading.at.ms(), 9);
                    rows.put_big(reading.at.ms());
                    rows.put_big(received_at.ms());
                    rows.put_big(position as i64);
                    rows.put_int(reading.temperature.0);
                    rows.put_optional(reading.humidity.map(|h| h.0));
                    rows.put_optional(reading.battery.map(|b| b.0));
                    rows.put_int(partition as i32);
                    rows.put((reading.status as i16).to_be_bytes());
                    rows.put_text(device);
                }
                Content::Fix { device, fix } => {
                    let rows = &mut self.positions;
                    rows.begin(fix.at.ms(), 7);
                    rows.put_big(fix.at.ms());
                    rows.put_big(received_at.ms());
                    rows.put_big(position as i64);
                    rows.put_int(fix.longitude_e6);
                    rows.put_int(fix.latitude_e6);
                    rows.put_int(partition as i32);
                    rows.put_text(device);
                }
                _ => {}
            }
        }
    }

    /// The days that they lie in, by number since 1970.
    pub fn days(&self) -> impl Iterator<Item = i64> {
        self.readings.days().chain(self.positions.days())
    }

    /// Writes them.
    pub async fn copy(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.readings.copy(tx, Self::COPY_READINGS).await?;
        self.positions.copy(tx, Self::COPY_POSITIONS).await
    }
}

/// The statement that takes windows in.
pub const COPY_WINDOWS: &str =
    "copy windows (start_ms, temperature_sum, temperature_square_sum, humidity_sum, size_ms, partition,
         device_index, version, count, humidity_count, temperature_min, temperature_max, battery_min, battery_max)
     from stdin (format binary)";

/// Closed windows as rows, in order of definition, device and start, so that those of a device lie together.
pub fn window_rows(partition: u32, windows: &[ClosedWindow], sizes: &[i64]) -> Rows {
    let mut windows: Vec<&ClosedWindow> = windows.iter().collect();
    windows.sort_unstable_by_key(|w| (w.definition, w.device, w.window.start));
    let mut rows = Rows::default();
    for ClosedWindow { device, definition, window } in windows {
        let a = &window.aggregate;
        let battery = a.battery_extremes();
        rows.begin(window.start, 14);
        rows.put_big(window.start);
        rows.put_big(a.temperature_sum);
        rows.put_big(a.temperature_square_sum as i64);
        rows.put_big(a.humidity_sum);
        rows.put_int(sizes[usize::from(*definition)] as i32);
        rows.put_int(partition as i32);
        rows.put_int(*device as i32);
        rows.put_int(window.version as i32);
        rows.put_int(a.count as i32);
        rows.put_int(a.humidity_count as i32);
        rows.put_int(a.temperature_min.0);
        rows.put_int(a.temperature_max.0);
        rows.put_optional(battery.map(|(low, _)| low.0));
        rows.put_optional(battery.map(|(_, high)| high.0));
    }
    rows
}
