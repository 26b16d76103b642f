//! Schemas of earlier versions: each with data in it becomes the newest, and a crash on the way leaves the old one or the new.

use crate::faults::under;
use crate::store::Place;
use crate::store::places;
use crate::support::until;
use crate::wire::{Fate, Said, Wire};
use server::store::{Store, StoreAddress, StoreError};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use std::cmp::Ordering::{Equal, Greater};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What stood in the tables from a schema on.
struct Rows {
    since: usize,
    sqlite: &'static str,
    postgres: &'static str,
    /// What is read of it in the newest schema, in one text.
    read: &'static str,
    expected: &'static str,
}

/// A row in every table, from the first schema on that has it as it is put in here.
const ROWS: &[Rows] = &[
    Rows {
        since: 1,
        sqlite: "insert into facts values ('identity_key', x'000102030405060708090a0b0c0d0e0f'), ('totals', x'0102');
            insert into input_position values (0, 3, 7, 5, 0);
            insert into devices values (4, x'aa');
            insert into hours values (3600000, x'bb');
            insert into window_blocks values (1, 10000, 4, 4, 0, 0, 1, 0, x'cc');
            insert into side_blocks values (1, 9, 8, 2, x'dd');
            insert into identity_runs values ('a.run', 6, 10);
            insert into api_keys values (1, 'cold room', 'ingest', x'ee', 1)",
        postgres: "insert into facts values ('identity_key', '\\x000102030405060708090a0b0c0d0e0f');
            insert into input_position values (0, 3, 7, 5, 0, '', '\\x0102');
            insert into devices values (0, 4, 'd', '\\xaa');
            insert into hours values (0, 3600000, '\\xbb');
            insert into side_blocks values (1, 9, 8, 2, '\\xdd', 0, 0);
            insert into identity_runs values (0, 'a.run', 6, 10);
            insert into identity_run_pieces values (0, 'a.run', 0, '\\xff');
            insert into api_keys (name, scope, hash, created_at_ms) values ('cold room', 'ingest', '\\xee', 1);
            create table readings_1970_01_01 partition of readings for values from (0) to (86400000);
            insert into readings values (1, 2, 3, 4500, null, null, 0, 0, 'd');
            create table windows_1970_01_01 partition of windows for values from (0) to (86400000);
            insert into windows values (0, 4500, 1, 0, 10000, 0, 4, 1, 1, 0, 4500, 4500, null, null)",
        read: "select (select count(*) from input_position where partition = 0 and epoch = 3 and next = 7 and received_at_ms = 5
                    and length(totals) = 2)
                || ',' || (select count(*) from devices where partition = 0 and device_index = 4)
                || ',' || (select count(*) from hours where partition = 0 and start_ms = 3600000)
                || ',' || (select count(*) from side_blocks where kind = 1 and last_position = 9 and partition = 0)
                || ',' || (select count(*) from identity_runs where partition = 0 and name = 'a.run' and last = 6 and identities = 10)
                || ',' || (select coalesce(source, name) from api_keys)",
        expected: "1,1,1,1,1,cold room",
    },
    Rows {
        since: 3,
        sqlite: "insert into decisions values (0, 9, 6, 5, 'Sari', 'discarded', null, 'half a record')",
        postgres: "insert into decisions values (0, 9, 6, 5, 'Sari', 'discarded', null, 'half a record')",
        read: "select decided_by || ',' || reason from decisions where partition = 0 and letter = 9",
        expected: "Sari,half a record",
    },
    Rows {
        since: 4,
        sqlite: "insert into derived_blocks values (1, 0, 1, 4, 4, 0, 5, x'aa'); insert into hour_versions values (0, 0, 5, x'bb')",
        postgres: "insert into derived_blocks (partition, kind, first_device, last_device, first_ms, last_ms, data)
            values (0, 1, 4, 4, 0, 5, '\\xaa');
            insert into hour_versions values (0, 0, 5, '\\xbb')",
        read: "select (select count(*) from derived_blocks where kind = 1 and last_ms = 5)
            || ',' || (select count(*) from hour_versions where known_at_ms = 5)",
        expected: "1,1",
    },
];

/// The texts of the migrations for `database`, oldest first.
fn migrations(database: &str) -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(database);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).expect("lists").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).expect("reads")).collect()
}

/// The statements that make schema `schema` with data in it: each migration, and what is there from then on.
fn making(database: &str, schema: usize) -> Vec<String> {
    let mut all = Vec::new();
    for (number, migration) in (1..=schema).zip(migrations(database)) {
        all.push(migration);
        let rows = ROWS.iter().filter(|rows| rows.since == number);
        all.extend(rows.map(|rows| if database == "sqlite" { rows.sqlite } else { rows.postgres }.to_owned()));
    }
    all.push(match database {
        "sqlite" => format!("pragma user_version = {schema}"),
        _ => format!("create table schema_version (version bigint not null); insert into schema_version values ({schema})"),
    });
    all
}

/// Runs `statements` on the database of `place`.
async fn run(place: &Place, statements: &[String]) {
    match &place.address {
        StoreAddress::Sqlite => {
            let mut connection = sqlite(place.dir.path()).await;
            for statement in statements {
                connection.execute(AssertSqlSafe(statement.clone())).await.expect("runs");
            }
            connection.close().await.expect("closes");
        }
        StoreAddress::Postgres(url) => {
            let mut connection = PgConnection::connect(url).await.expect("connects");
            for statement in statements {
                sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut connection).await.expect("runs");
            }
            connection.close().await.expect("closes");
        }
    }
}

async fn sqlite(dir: &Path) -> SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.join("rantai.db")).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.expect("connects")
}

/// The schema of the database of `place`.
async fn schema_of(place: &Place) -> i64 {
    match &place.address {
        StoreAddress::Sqlite => {
            let mut connection = sqlite(place.dir.path()).await;
            let schema: i64 = sqlx::query_scalar("pragma user_version").fetch_one(&mut connection).await.expect("answers");
            connection.close().await.expect("closes");
            schema
        }
        StoreAddress::Postgres(url) => {
            let mut connection = PgConnection::connect(url).await.expect("connects");
            // Who was cut off may have asked for a commit which is still under way.
            let others = "select count(*) from pg_stat_activity
                where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
            until("nobody else is connected", async || {
                let others: i64 = sqlx::query_scalar(others).fetch_one(&mut connection).await.expect("answers");
                (others == 0).then_some(())
            })
            .await;
            sqlx::query_scalar("select version from schema_version").fetch_one(&mut connection).await.expect("answers")
        }
    }
}

/// What was in the tables when they had schema `schema` is in those of the newest.
async fn check(place: &Place, schema: usize) {
    let store = place.open().await;
    assert_eq!(store.needed_from(0).await.expect("answers"), 7);
    store.close().await;
    for rows in ROWS.iter().filter(|rows| rows.since <= schema) {
        let read = rows.read;
        let found: String = match &place.address {
            StoreAddress::Sqlite => {
                let mut connection = sqlite(place.dir.path()).await;
                sqlx::query_scalar(read).fetch_one(&mut connection).await.expect("answers")
            }
            StoreAddress::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.expect("connects");
                sqlx::query_scalar(read).fetch_one(&mut connection).await.expect("answers")
            }
        };
        assert_eq!(found, rows.expected, "{}: from schema {schema}, what there was since {}", place.address, rows.since);
    }
}

fn database_of(place: &Place) -> &'static str {
    if place.is_sqlite() { "sqlite" } else { "postgres" }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_earlier_schema_becomes_the_newest() {
    let newest = |database: &str| migrations(database).len();
    for schema in 1..=newest("sqlite").max(newest("postgres")) {
        for place in places().await {
            let database = database_of(&place);
            if schema > newest(database) {
                continue;
            }
            run(&place, &making(database, schema)).await;
            // Several at once.
            let opened = futures::future::join_all((0..3).map(|_| Store::open(&place.address, place.dir.path()))).await;
            for store in opened {
                store.expect("opens").close().await;
            }
            assert_eq!(schema_of(&place).await, newest(database) as i64);
            check(&place, schema).await;
            place.run("pragma user_version = 99", "update schema_version set version = 99").await;
            let refused = Store::open(&place.address, place.dir.path()).await.expect_err("refused");
            assert!(matches!(refused, StoreError::NewerSchema { found: 99, .. }), "{refused}");
            assert!(refused.to_string().ends_with("use the newer program"), "{refused}");
        }
    }
}

/// Of those that open a database before its log is written ahead some are refused by SQLite at once, though they only have to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_open_a_new_database_at_once() {
    const ROUNDS: usize = 80;
    for _ in 0..ROUNDS {
        let dir = tempfile::tempdir().expect("a folder");
        let mut made = sqlite(dir.path()).await;
        made.execute("create table what_was_there (x)").await.expect("made");
        made.close().await.expect("closes");
        let open = || {
            let path = dir.path().to_owned();
            tokio::spawn(async move { Store::open(&StoreAddress::Sqlite, &path).await })
        };
        let opening: Vec<_> = (0..6).map(|_| open()).collect();
        for store in opening {
            store.await.expect("no panic").expect("opens").close().await;
        }
    }
}

/// The program is killed behind its calls on files in turn, and Postgres hears nothing more behind each message: the next start finds the
/// old schema or the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_migration() {
    for place in places().await {
        let newest = migrations(database_of(&place)).len();
        if place.is_sqlite() {
            for schema in [1, newest - 1] {
                killed(schema, newest as i64).await;
            }
        }
        if let StoreAddress::Postgres(url) = &place.address {
            let mut is_found = cut(&place, url, newest as i64).await;
            // What connections say while a store is opened differs in order: the commit is not always found by counting.
            for _ in 0..4 {
                for again in places().await {
                    if let (false, StoreAddress::Postgres(url)) = (is_found, &again.address) {
                        is_found = cut(&again, url, newest as i64).await;
                    }
                }
            }
            assert!(is_found, "the new schema was never found");
        }
    }
}

/// From SQLite's `schema`, killed behind every third of its calls on files, or with `RANTAI_TEST_EVERY_CALL` behind each.
async fn killed(schema: usize, newest: i64) {
    let step = if std::env::var_os("RANTAI_TEST_EVERY_CALL").is_some() { 1 } else { 3 };
    let (mut outcomes, mut last) = ([0, 0], 1);
    while let Some(at) = Some(last).filter(|at| *at < 1_000) {
        let found = futures::future::join_all((0..4).map(|n| killed_behind(schema, newest, at + n * step))).await;
        found.iter().flatten().for_each(|is_new| outcomes[usize::from(*is_new)] += 1);
        last = if found.contains(&None) { 1_000 } else { at + 4 * step };
    }
    assert!(outcomes.iter().all(|times| *times > 0), "{outcomes:?}");
}

/// Whether the schema is the newest after a kill behind call number `at`; `None` where there are not so many.
async fn killed_behind(schema: usize, newest: i64, at: u64) -> Option<bool> {
    let top = tempfile::tempdir().expect("a directory");
    let dir = tempfile::TempDir::new_in(top.path()).expect("a directory");
    let place = Place { address: StoreAddress::Sqlite, dir };
    run(&place, &making("sqlite", schema)).await;
    let log = top.path().join("calls");
    let mut program = under(("kill", at, 1), place.dir.path(), &log);
    program.args(["key", "create", "--name", "k", "--scope", "ingest", "--data-dir"]).arg(place.dir.path());
    let ended = tokio::task::spawn_blocking(move || program.output()).await.expect("no panic").expect("runs");
    let has_fired = std::fs::read_to_string(&log).is_ok_and(|calls| calls.contains("FAILED"));
    assert_eq!(ended.status.success(), !has_fired, "{}", String::from_utf8_lossy(&ended.stderr));
    if !has_fired {
        return None;
    }
    let found = schema_of(&place).await;
    assert!(found == schema as i64 || found == newest, "killed behind call {at} it is half way: {found}");
    check(&place, schema).await;
    Some(found == newest)
}

/// On Postgres from the first schema, with nothing more heard from the program behind its n-th message for every n; whether the new
/// schema was found behind one of them.
async fn cut(place: &Place, url: &str, newest: i64) -> bool {
    run(place, &making("postgres", 1)).await;
    let wire = Wire::new(url);
    let address: StoreAddress = wire.url.parse().expect("an address");
    let mut cuts = 0;
    for at in 1.. {
        let count = AtomicU64::new(0);
        // Whoever has crashed says nothing more on any connection.
        wire.judge(move |said| match (said, (count.fetch_add(1, Ordering::Relaxed) + 1).cmp(&at)) {
            (Said::Message, Greater) => Fate::CutBefore,
            (Said::Message, Equal) => Fate::CutBehind,
            _ => Fate::Passes,
        });
        if let Ok(store) = Store::open(&address, place.dir.path()).await {
            store.close().await;
            assert_eq!(schema_of(place).await, newest, "it was opened");
            return false;
        }
        cuts += 1;
        let found = schema_of(place).await;
        if found == newest {
            break;
        }
        assert_eq!(found, 1, "cut at message {at} it is half way");
    }
    assert!(cuts > 2 * migrations("postgres").len(), "{cuts}");
    wire.judge(|_| Fate::Passes);
    check(place, 1).await;
    true
}

/// A migration is one message of many statements. Postgres ends the connection behind the n-th change of its schema, for every n: what is
/// found is the schema that was there, table by table.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_statements_of_a_migration() {
    for place in places().await {
        let StoreAddress::Postgres(url) = &place.address else { continue };
        run(&place, &making("postgres", 1)).await;
        let before = tables(url).await;
        let crash = "create sequence crash_at;
            create function crash() returns event_trigger language plpgsql as $$ begin
                if nextval('crash_at') = 0 then perform pg_terminate_backend(pg_backend_pid()); end if;
            end $$;
            create event trigger crash on ddl_command_end execute function crash()";
        run(&place, &[crash.to_owned()]).await;
        let mut crashes = 0;
        for at in 1.. {
            // Sequences go on whatever becomes of the transaction.
            run(
                &place,
                &[format!(
                    "alter event trigger crash disable; alter sequence crash_at minvalue -1000 restart with {};
                alter event trigger crash enable",
                    1 - at
                )],
            )
            .await;
            let opened = Store::open(&place.address, place.dir.path()).await;
            run(&place, &["alter event trigger crash disable".to_owned()]).await;
            if let Ok(store) = opened {
                store.close().await;
                break;
            }
            crashes += 1;
            assert_eq!(schema_of(&place).await, 1, "behind change {at}");
            assert_eq!(tables(url).await, before, "behind change {at} it is half way");
        }
        assert!(crashes > migrations("postgres").len(), "{crashes} changes");
        assert_eq!(schema_of(&place).await, migrations("postgres").len() as i64);
        check(&place, 1).await;
    }
}

/// All tables, columns, views and indexes of the database at `url`.
async fn tables(url: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    let all = "select relname::text || ' ' || coalesce(string_agg(attname::text, ',' order by attnum), '')
         from pg_class join pg_namespace n on n.oid = relnamespace left join pg_attribute on attrelid = pg_class.oid and attnum > 0
         where nspname in ('public', 'bi') and relname <> 'crash_at' group by pg_class.oid, relname order by 1";
    sqlx::query_scalar(all).fetch_all(&mut connection).await.expect("answers")
}
