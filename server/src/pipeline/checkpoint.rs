//! Writing a checkpoint: files first, then the one transaction that names them.

use crate::identities::FrozenTable;
use crate::store::{Checkpoint, Store, StoreError};
use domain::engine::EngineConfig;
use std::time::Duration;

/// Writes a checkpoint, again and again while the disk is full or the database away: meanwhile the log refuses what it cannot hold.
pub(crate) async fn write_checkpoint(
    store: Store,
    checkpoint: Checkpoint,
    frozen: Option<FrozenTable>,
    epoch: i64,
    config: EngineConfig,
) -> Result<(), StoreError> {
    let mut wait = Duration::from_millis(200);
    loop {
        let attempt = async {
            if let Some(frozen) = frozen.clone() {
                let written = tokio::task::spawn_blocking(move || frozen.write()).await;
                written.map_err(std::io::Error::other).flatten().map_err(StoreError::Run)?;
            }
            if let Some(frozen) = &frozen {
                store.keep_run(checkpoint.partition, epoch, frozen.path()).await?;
            }
            store.checkpoint(&checkpoint, epoch, &config.windows).await
        };
        match attempt.await {
            Ok(()) => break,
            Err(error) if error.may_pass() => {
                tracing::error!(%error, "The checkpoint failed; trying again.");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(1));
            }
            Err(other) => return Err(other),
        }
    }
    loop {
        match store.merge_blocks(&config.windows).await {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                // Small blocks only cost time; the next checkpoint tries again.
                tracing::warn!(%error, "Blocks of windows could not be put together.");
                return Ok(());
            }
        }
    }
}
