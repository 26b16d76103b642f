//! An image, opened by the real code: everything in it is verified, and what clients were told before the crash is there, once.

use crate::disk::Image;
use crate::record;
use crate::trace::Request;
use anyhow::{Context, ensure};
use domain::engine::{Engine, EngineConfig, Identities, Seen};
use domain::event::{BodyHash, Identity};
use domain::master::Master;
use server::admission::{Batch, IdentityKey};
use server::identities::{self, DiskIdentities, Sizes};
use server::log::{self, BlockKind};
use server::pipeline::PARTITION;
use server::store::{Store, StoreAddress};
use server::verify::{Subject, verify};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What has to be in an image, and the image.
pub struct Case<'a> {
    /// Behind which operation it lies.
    pub at: usize,
    pub image: Image,
    pub told: Arc<BTreeSet<Request>>,
    /// From which operation on the log need not hold a request any more.
    pub gone: &'a BTreeMap<Request, usize>,
}

impl Case<'_> {
    /// Puts it into the folder `dir`, opens and verifies it; whether anything was ever stored there.
    pub async fn check(&self, master: &Arc<Master>, dir: &Path) -> anyhow::Result<bool> {
        std::fs::create_dir_all(dir)?;
        self.image.write(dir)?;
        let config = EngineConfig::default();
        let store = Store::open(&StoreAddress::Sqlite, dir).await.context("open the database")?;
        let subject = Subject { dir, store: &store, master, config: &config };
        let report = verify(&subject).await;
        let known = if self.image.holds(".run") { small_memory(&store, dir, &config).await } else { Ok(()) };
        store.close().await;
        let report = report?;
        ensure!(report.first_broken().is_none(), "\n{report}");
        known?;
        let mut found: BTreeMap<Request, u32> = BTreeMap::new();
        for block in log::read(&dir.join("log"), 1)? {
            if let Some(request) = record::of_block(&block?) {
                *found.entry(request).or_default() += 1;
            }
        }
        for request in self.told.iter().filter(|request| !found.contains_key(*request)) {
            let may_be_gone = self.gone.get(request).is_some_and(|since| *since <= self.at);
            ensure!(may_be_gone, "{request:?} was answered before operation {}, and is not there", self.at);
        }
        if let Some((request, count)) = found.iter().find(|(_, count)| **count > 1) {
            anyhow::bail!("{request:?} is there {count} times");
        }
        let is_empty = report.to_string().contains("nothing was ever stored");
        ensure!(!is_empty || self.told.is_empty(), "something was answered, and nothing was stored");
        Ok(!is_empty)
    }
}

/// Opens the memory of identities as a start on small limits does, by the filters that lie beside its runs: of what is still to be
/// remembered it knows all that the runs cover. `verify` has large limits, for which no generation is full yet, and reads no filter.
async fn small_memory(store: &Store, dir: &Path, config: &EngineConfig) -> anyhow::Result<()> {
    let log_dir = dir.join("log");
    let Some(snapshot) = store.peek(PARTITION, &log::id(&log_dir)?).await? else { return Ok(()) };
    let Some(last) = snapshot.runs.last() else { return Ok(()) };
    let key = IdentityKey(snapshot.identity_key);
    let folder = identities::folder(&dir.join("identities"), &key.0);
    let known =
        DiskIdentities::open(&folder, &snapshot.runs, Sizes::SMALL).context("open the memory of identities on small limits")?;
    let mut probe = Probe { known, is_new: false };
    let remembered_from = snapshot.now.plus_ms(-config.retention_ms - config.future_ms);
    for block in log::read(&log_dir, 1)? {
        let block = block?;
        if block.number > last.last_block {
            break;
        }
        let BlockKind::Records(format) = block.kind else { continue };
        if block.received_at < remembered_from {
            continue;
        }
        let batch = Batch::parse(block.body, format, &block.source, &key)?;
        Engine::remember(config, batch.records(), block.received_at, &mut probe);
        ensure!(!probe.is_new, "on small limits a record of block {} is not known any more", block.number);
    }
    Ok(())
}

/// Asks the memory of identities, and notes whether something was new to it.
struct Probe {
    known: DiskIdentities,
    is_new: bool,
}

impl Identities for Probe {
    fn check_in(&mut self, identity: Identity, body: BodyHash) -> Seen {
        let seen = self.known.check_in(identity, body);
        self.is_new |= seen == Seen::New;
        seen
    }

    fn seen(&self, identity: Identity, body: BodyHash) -> Seen {
        self.known.seen(identity, body)
    }
}
