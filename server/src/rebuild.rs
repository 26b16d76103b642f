//! Results made anew from the raw log alone. The old state stays until the new one is complete, and goes in the transaction that puts
//! the new one in its place.

use crate::files;
use crate::identities::{self, Freeze};
use crate::kafka::{Extent, HandOn, Installation, KafkaConfig, Owned, WORTH_A_RUN, is_other_log, nobody_else};
use crate::log::Log;
use crate::pipeline::{PARTITION, REBUILD, Shard, wall_clock};
use crate::store::{Rebuilding, Store};
use crate::verify::outline;
use anyhow::{Context, ensure};
use domain::engine::EngineConfig;
use domain::master::Master;
use domain::planted;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rebuilt {
    /// Blocks of the log.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
}

/// Makes the state of the log in `dir` anew. Nobody else may use the directory meanwhile. Refused where the log does not go back to its
/// beginning: what came before could not be told any more.
pub async fn rebuild(dir: &Path, store: &Store, master: &Arc<Master>, config: &EngineConfig) -> anyhow::Result<Rebuilt> {
    let log_dir = dir.join("log");
    let log_id = crate::log::id(&log_dir)?;
    // Like a start: cuts off what a crash left unfinished at the end.
    drop(Log::open(&log_dir, |_| 0)?);
    let outline = outline(&log_dir).map_err(anyhow::Error::msg)?;
    ensure!(
        outline.first_block <= 1,
        "the log begins with block {}, received {}: what came before was deleted for its age, so results could only be rebuilt from then \
         on, and the older ones would be lost",
        outline.first_block,
        outline.received.0
    );
    let aside = empty_folder(dir.join("identities.rebuild"))?;
    let (mut rebuilding, fresh) = store.begin_rebuild(&[(PARTITION, log_id)], config, wall_clock()).await?;
    let fresh = fresh.into_iter().next().context("one partition was asked for")?;
    let identities_dir = identities::folder(&dir.join("identities"), &fresh.identity_key);
    files::create_dir(&identities_dir).context("create the folder of identities")?;
    let mut shard = Shard::embedded(fresh, &aside, master, config)?;
    let mut blocks = 0;
    for block in crate::log::read(&log_dir, 1)? {
        shard.feed(block?)?;
        blocks += 1;
        if shard.is_checkpoint_due() {
            add(&mut rebuilding, (PARTITION, &mut shard), Freeze::Full, &identities_dir, config, None).await?;
        }
    }
    if shard.has_news() {
        add(&mut rebuilding, (PARTITION, &mut shard), Freeze::Full, &identities_dir, config, None).await?;
    }
    let records = shard.room.engine.totals().all.received;
    rebuilding.commit().await.context("put the new state in the place of the old one")?;
    while store.merge_blocks(&config.windows).await? {}
    fs::remove_dir_all(&aside).context("remove the folder of the attempt")?;
    Ok(Rebuilt { blocks, records })
}

/// Makes the state of all that engines read from Kafka anew, on one Postgres; `dir` takes files of the attempt. Refused while engines are at
/// work, and where Kafka has not kept everything from the beginning. Read is what Kafka has at the beginning: engines go on from there.
pub async fn rebuild_kafka(
    dir: &Path,
    store: &Store,
    kafka: &KafkaConfig,
    master: &Arc<Master>,
    config: &EngineConfig,
) -> anyhow::Result<Rebuilt> {
    nobody_else(kafka)?;
    Installation::noted(kafka, store).await?;
    let extents = Extent::all(kafka, store).await?;
    for extent in &extents {
        ensure!(
            extent.low == 0,
            "Kafka has {} from offset {} on: what came before was deleted there for its age, so results could only be rebuilt from then on, \
             and the older ones would be lost",
            extent.name(),
            extent.low
        );
    }
    let logs: Vec<(u32, String)> = extents.iter().map(|of| (of.place.number, of.log.clone())).collect();
    let (mut rebuilding, fresh) = store.begin_rebuild(&logs, config, wall_clock()).await?;
    for extent in &extents {
        let (next_block, now) = rebuilding.covered(extent.place.number)?;
        let covered = next_block as i64 - 1;
        ensure!(
            !is_other_log(next_block, extent.first_after(now)?, extent.high),
            "the stored state covers {} to before offset {covered}, and Kafka does not have what it came from: it is not the topic that it \
             was, and its results would be lost",
            extent.name()
        );
    }
    let aside = empty_folder(dir.join("kafka-rebuild"))?;
    let others = HandOn::open(kafka)?;
    let mut made = Rebuilt::default();
    for (extent, fresh) in extents.iter().zip(fresh) {
        let number = extent.place.number;
        let folder = aside.join(number.to_string());
        let kept = empty_folder(folder.join("kept"))?;
        let mut owned = Owned::restore(fresh, number, &folder.join("identities"), master, config, REBUILD)?;
        // Fixes before that have been handed on, but for those that were refused for want of room, and which nobody can tell from the
        // others: where there is another one all go once more, and count once.
        let from = if rebuilding.has_other_room() && !planted("rebuild-hands-on-new-fixes-alone") {
            0
        } else {
            rebuilding.covered(number)?.0
        };
        owned.shard.hand_on_from(from);
        let mut reader = extent.reader(if planted("rebuild-begins-late") { 2 } else { 1 })?;
        while let Some(reader) = &mut reader
            && let Some(inbox) = reader.read(owned.shard.room.engine.most_travellers())?
        {
            let letters = rebuilding.letters(number, &owned.asks_for(&inbox)).await.context("look for dead letters")?;
            owned.take(&inbox, &letters);
            if planted("rebuild-ends-early") {
                break;
            }
            if owned.shard.is_checkpoint_due() {
                let freeze = owned.freeze(u64::MAX);
                add(&mut rebuilding, (number, &mut owned.shard), freeze, &kept, config, Some(&others)).await?;
            }
        }
        if owned.shard.has_news() {
            // As an engine does that gives it back: what the next one would need may be gone from Kafka by then.
            let freeze = owned.freeze(WORTH_A_RUN);
            add(&mut rebuilding, (number, &mut owned.shard), freeze, &kept, config, Some(&others)).await?;
        }
        let records = owned.shard.room.engine.totals().all.received;
        tracing::info!(partition = extent.name(), records, "A partition is made anew.");
        (made.blocks, made.records) = (made.blocks + owned.expected() - 1, made.records + records);
        drop(owned);
        fs::remove_dir_all(&folder).context("remove the files of a partition that is done")?;
    }
    rebuilding.commit().await.context("put the new state in the place of the old one")?;
    fs::remove_dir_all(&aside).context("remove the folder of the attempt")?;
    Ok(made)
}

/// The folder at `path`, without what an earlier attempt has left.
fn empty_folder(path: PathBuf) -> anyhow::Result<PathBuf> {
    if path.exists() {
        fs::remove_dir_all(&path).context("remove what an earlier attempt has left")?;
    }
    crate::files::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
    Ok(path)
}

/// Adds what followed in a partition since the last call.
async fn add(
    rebuilding: &mut Rebuilding,
    (partition, shard): (u32, &mut Shard),
    freeze: Freeze,
    identities_dir: &Path,
    config: &EngineConfig,
    others: Option<&HandOn>,
) -> anyhow::Result<()> {
    shard.settle();
    let (mut checkpoint, frozen) = shard.cut(freeze);
    if let Some(others) = others {
        others.tell(&checkpoint.handed_on).await;
    }
    let prefix = format!("r{}-", rebuilding.epoch(partition)?);
    for name in &mut checkpoint.forgotten_runs {
        name.insert_str(0, &prefix);
    }
    if let Some(frozen) = &frozen {
        frozen.write().context("write a run of identities")?;
        // Under a name that the old state does not use, and which counts with the transaction; left-overs go at the next start.
        let name = format!("{prefix}{}", frozen.name);
        let there = identities_dir.join(&name);
        for (from, to) in
            [(frozen.path().to_owned(), there.clone()), (frozen.path().with_extension("filter"), there.with_extension("filter"))]
        {
            if from.exists() {
                let _ = fs::remove_file(&to);
                fs::hard_link(&from, &to).with_context(|| format!("put {} in its place", to.display()))?;
            }
        }
        File::open(identities_dir)?.sync_all()?;
        rebuilding.keep_run(partition, &there).await?;
        checkpoint.run = checkpoint.run.map(|(_, identities)| (name, identities));
    }
    rebuilding.add(&checkpoint, &config.windows).await.context("store a part of the new state")?;
    shard.checkpoint_done()
}
