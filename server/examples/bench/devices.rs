//! A hundred thousand devices that have reported every five minutes for thirty days: what memory the server takes with as many
//! identities, how soon it starts, and what an event costs then.
//!
//! Taking 864 million readings in would take this machine half an hour and more disk than it has. So the readings of some hours are taken
//! in, and the memory of identities is filled by the same code in this process: a ninth of it, which then stands nine times under other
//! names (hard links). The server makes the filters at a first start, which is not measured, and opens all of it as it is; memory is that
//! of 864 million identities. Only one thing is milder than in life: a new identity that one filter lets pass by chance, all nine do or none.

use crate::events::{Stream, now_ms, random};
use crate::figures::Figures;
use crate::ingest::load;
use crate::program::Server;
use anyhow::{Context, ensure};
use domain::engine::Identities;
use domain::event::{BodyHash, Identity};
use domain::time::ProcessingTime;
use rustix::process::Signal;
use server::identities::{DiskIdentities, Freeze, Sizes};
use std::path::Path;
use std::time::{Duration, Instant};

const STREAM: Stream = Stream { devices: 100_000, every_ms: 300_000, late_percent: 0, late_ms: 0 };
/// Identities of thirty days: 100 000 × 288 × 30.
const IDENTITIES: u64 = 864_000_000;
/// As often each made one stands there.
const COPIES: u64 = 9;
/// Identities of a run, as a checkpoint writes it.
const RUN: u64 = 1_000_000;
const RUNS: u64 = IDENTITIES / COPIES / RUN;

/// Loads for `length` before and after.
pub fn run(figures: &mut Figures, length: Duration) -> anyhow::Result<()> {
    let mut server = Server::start()?;
    let before = load(&server, STREAM, false, 0, length)?;
    figures.add("devices: readings of 100 000 devices", before.events as f64, "");
    figures.add("devices: memory with these alone", server.memory_kib()? / 1_024.0, "MiB");
    figures.add("devices: CPU of an event with these alone", 1e6 / before.events_per_cpu_second, "µs");
    server.end(Signal::TERM)?;
    let began = Instant::now();
    fill(&server.data())?;
    figures.add("devices: filling in took", began.elapsed().as_secs_f64(), "s");
    server.start_again()?;
    server.end(Signal::TERM)?;
    figures.add("devices: start", server.start_again()?.as_secs_f64(), "s");
    figures.add("devices: identities", server.metric("rantai_identities")?, "");
    figures.add("devices: memory after the start", server.memory_kib()? / 1_024.0, "MiB");
    let after = load(&server, STREAM, false, before.events, length)?;
    figures.add("devices: events", after.events_per_second, "events/s");
    figures.add("devices: CPU of an event", 1e6 / after.events_per_cpu_second, "µs");
    figures.add("devices: memory under load (at most 2 048)", server.memory_kib()? / 1_024.0, "MiB");
    figures.add("devices: peak memory (at most 2 048)", server.peak_mib()?, "MiB");
    // What came in before is still known.
    let stats = server.stats(None)?;
    load(&server, STREAM, false, 0, Duration::from_millis(500))?;
    let known = server.stats(None)?["duplicate_dropped"].as_u64().context("a count")?;
    ensure!(known > 0 && stats["duplicate_dropped"] == 0, "{known} duplicates after {stats}");
    server.end(Signal::KILL)?;
    figures.add("devices: start after a kill", server.start_again()?.as_secs_f64(), "s");
    Ok(())
}

/// Puts identities before those of the stopped server whose data is in `data`.
fn fill(data: &Path) -> anyhow::Result<()> {
    let folder = std::fs::read_dir(data.join("identities"))?.next().context("the folder of the server's identities")??.path();
    let made = tempfile::tempdir_in(data)?;
    let mut identities = DiskIdentities::open(made.path(), &[], Sizes::default())?;
    // All of it came in within the month.
    let received = ProcessingTime::from_ms(now_ms() - 86_400_000);
    for run in 1..=RUNS {
        for n in (run - 1) * RUN..run * RUN {
            let key = u128::from(random(2 * n)) << 64 | u128::from(random(2 * n + 1));
            identities.check_in(Identity(!key), BodyHash(n));
        }
        let frozen = identities.freeze(run, received, Freeze::All).context("nothing is being written")?;
        frozen.write()?;
        identities.thaw(&frozen)?;
    }
    for entry in std::fs::read_dir(made.path())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name")?;
        let (number, kind) = name.split_once('.').context("a name with an ending")?;
        // How large a filter is depends on how many there are: the server makes them at its first start.
        for copy in 0..if kind == "filter" { 0 } else { COPIES } {
            std::fs::hard_link(&path, folder.join(format!("{:020}.{kind}", number.parse::<u64>()? + copy * RUNS)))?;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(name_runs(data))
}

/// Names them in the database, as checkpoints would have.
async fn name_runs(data: &Path) -> anyhow::Result<()> {
    use sqlx::ConnectOptions;
    let mut database = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("rantai.db")).connect().await?;
    let first: i64 = sqlx::query_scalar("select min(last) from identity_runs").fetch_one(&mut database).await?;
    ensure!(first as u64 > RUNS * COPIES, "the server's own runs begin with block {first}: there is no room before them");
    for run in 1..=RUNS * COPIES {
        sqlx::query("insert into identity_runs (partition, name, last, identities) values (0, $1, $2, $3)")
            .bind(format!("{run:020}.run"))
            .bind(run as i64)
            .bind(RUN as i64)
            .execute(&mut database)
            .await?;
    }
    Ok(())
}
