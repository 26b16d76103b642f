//! Results made anew from the raw log alone. The old state stays until the new one is complete, and goes in the transaction that puts
//! the new one in its place.

use crate::files;
use crate::identities;
use crate::log::Log;
use crate::pipeline::{PARTITION, Shard, wall_clock};
use crate::store::{Rebuilding, Store};
use crate::verify::outline;
use anyhow::{Context, ensure};
use domain::engine::EngineConfig;
use domain::master::Master;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

/// What was read.
#[derive(Clone, Copy, Debug)]
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
    let aside = dir.join("identities.rebuild");
    if aside.exists() {
        fs::remove_dir_all(&aside).context("remove what an earlier attempt has left")?;
    }
    let (mut rebuilding, fresh) = store.begin_rebuild(PARTITION, &log_id, wall_clock()).await?;
    let identities_dir = identities::folder(&dir.join("identities"), &fresh.identity_key);
    files::create_dir(&identities_dir).context("create the folder of identities")?;
    let mut shard = Shard::embedded(fresh, &aside, master, config)?;
    let mut blocks = 0;
    for block in crate::log::read(&log_dir, 1)? {
        shard.feed(block?)?;
        blocks += 1;
        if shard.is_checkpoint_due() {
            add(&mut rebuilding, &mut shard, &identities_dir, config).await?;
        }
    }
    if shard.has_news() {
        add(&mut rebuilding, &mut shard, &identities_dir, config).await?;
    }
    let records = shard.room.engine.totals().all.received;
    rebuilding.commit().await.context("put the new state in the place of the old one")?;
    store.agree_on(&config.windows).await.context("note the windows")?;
    while store.merge_blocks(&config.windows).await? {}
    fs::remove_dir_all(&aside).context("remove the folder of the attempt")?;
    Ok(Rebuilt { blocks, records })
}

/// Adds what followed since the last call.
async fn add(rebuilding: &mut Rebuilding, shard: &mut Shard, identities_dir: &Path, config: &EngineConfig) -> anyhow::Result<()> {
    shard.settle();
    let (mut checkpoint, frozen) = shard.cut(identities::Freeze::Full);
    let prefix = format!("r{}-", rebuilding.epoch());
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
        rebuilding.keep_run(&there).await?;
        checkpoint.run = checkpoint.run.map(|(_, identities)| (name, identities));
    }
    rebuilding.add(&checkpoint, &config.windows).await.context("store a part of the new state")?;
    shard.checkpoint_done()
}
