//! What a shard does to its files, and when.

use super::*;
use crate::admission::Format;
use crate::log::{Block, BlockKind};
use crate::pipeline::{PARTITION, REBUILD};
use crate::store::{Store, StoreAddress};
use domain::time::MINUTE_MS;

/// The store names a run until the checkpoint is committed that forgets it: who crashes before that asks for its file again.
#[tokio::test]
async fn a_run_stays_until_no_checkpoint_names_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens");
    let begin = ProcessingTime::from_ms(1_790_000_000_000);
    let snapshot = store.load(PARTITION, "log", begin).await.expect("loads");
    let runs = dir.path().join("identities");
    let identities = Sizes { freeze_at: 10, generation_keys: 20, run_bytes: u64::MAX };
    let config = EngineConfig { retention_ms: MINUTE_MS, ..EngineConfig::default() };
    let master = Arc::new(crate::data::master().expect("reads"));
    let due = Due { identities, ..REBUILD };
    let mut shard = Shard::restore(snapshot, (PARTITION, 1), &runs, &master, &config, due).expect("begins");
    let (mut named, mut forgotten): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for minute in 0..20 {
        let received_at = begin.plus_ms(minute * MINUTE_MS);
        let lines: Vec<String> =
            (0..15).map(|n| format!(r#"{{"device_id":"d{n}","ts":{},"temperature":5}}"#, received_at.ms() - n)).collect();
        let number = minute as u64 + 1;
        let (kind, body) = (BlockKind::Records(Format::Ndjson), lines.join("\n").into());
        let block = Block { number, first_record: minute as u64 * 15 + 1, received_at, kind, source: "gateway".to_owned(), body };
        shard.feed(block).expect("feeds");
        shard.settle();
        let (checkpoint, frozen) = shard.cut(Freeze::All);
        frozen.expect("there are records").write().expect("writes");
        // A start now would go by what was named before.
        let gone: Vec<&String> = named.iter().filter(|run| !runs.join(run).exists()).collect();
        assert!(gone.is_empty(), "{gone:?} are named, and removed");
        named.extend(checkpoint.run.map(|(name, _)| name));
        named.retain(|run| !checkpoint.forgotten_runs.contains(run));
        forgotten.extend(checkpoint.forgotten_runs);
        shard.checkpoint_done().expect("opens the run");
    }
    assert!(forgotten.len() > 5, "{forgotten:?}");
    assert!(forgotten.iter().all(|run| !runs.join(run).exists()), "they are removed in the end");
    store.close().await;
}
