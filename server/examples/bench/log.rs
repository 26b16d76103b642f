//! Segment files against rows of a SQLite table.

use crate::events::{now_ms, write_event};
use crate::figures::Figures;
use crate::program::Server;
use domain::time::ProcessingTime;
use std::time::Instant;

/// Groups of four bodies of 1 000 events, each group durable before the next: segment files, and rows of a SQLite table.
pub fn run(figures: &mut Figures) -> anyhow::Result<()> {
    const GROUPS: u64 = 300;
    let mut body = Vec::new();
    for n in 0..1_000 {
        write_event(&mut body, n, now_ms());
        body.push(b'\n');
    }
    let dir = Server::folder()?;
    let mut log = server::log::Log::open(&dir.path().join("log"), |_| 0)?;
    let mut measure = |label: &str, mut group: Box<dyn FnMut() -> anyhow::Result<()> + '_>| -> anyhow::Result<()> {
        let (began, cpu) = (Instant::now(), own_cpu_seconds()?);
        for _ in 0..GROUPS {
            group()?;
        }
        let events = (GROUPS * 4_000) as f64;
        figures.add(format!("log, {label}: events"), events / began.elapsed().as_secs_f64(), "events/s");
        figures.add(format!("log, {label}: events per CPU second"), events / (own_cpu_seconds()? - cpu), "events/CPU s");
        Ok(())
    };
    measure(
        "segment files",
        Box::new(|| {
            let draft = server::log::Draft {
                kind: server::log::BlockKind::Records(server::admission::Format::Ndjson),
                source: "bench",
                body: &body,
                records: 1_000,
            };
            log.append(&[draft.clone(), draft.clone(), draft.clone(), draft], ProcessingTime::from_ms(now_ms()))?;
            Ok(())
        }),
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(dir.path().join("log.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    let pool = runtime.block_on(sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect_with(options))?;
    runtime.block_on(sqlx::query("create table blocks (number integer primary key, body blob not null)").execute(&pool))?;
    measure(
        "SQLite table",
        Box::new(|| {
            runtime.block_on(async {
                let mut tx = pool.begin().await?;
                for _ in 0..4 {
                    sqlx::query("insert into blocks (body) values ($1)").bind(body.as_slice()).execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(())
            })
        }),
    )
}

fn own_cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
