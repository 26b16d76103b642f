//! What a process on Kafka does, by its roles.

use super::{Engine, Intake, view};
use crate::admission::IdentityKey;
use crate::config::Roles;
use crate::feed::Feed;
use crate::pipeline::{Ask, BODIES_KIB, Intake as Way, Pipeline, Threads};
use anyhow::Context;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Starts what `roles` say. Must be called inside a Tokio runtime.
pub async fn start(engine: Engine, roles: Roles) -> anyhow::Result<(Pipeline, Threads)> {
    let key = IdentityKey(engine.store.identity_key().await.context("read the secret of identities")?);
    let feed = Arc::new(Feed::default());
    let intake = if roles.ingest { Way::Kafka(Arc::new(Intake::new(&engine.kafka, engine.store.clone())?)) } else { Way::None };
    let mut threads = Vec::new();
    let mut ask: Ask = Arc::new(|_| false);
    if roles.web {
        let Engine { kafka, store, master, config, stop, .. } = &engine;
        let (kafka, store, master, config, stop) =
            (kafka.clone(), store.clone(), Arc::clone(master), config.clone(), stop.clone());
        let (answers, thread) = view::start(kafka, store, master, config, Arc::clone(&feed), stop).await?;
        ask = answers;
        threads.push(thread);
    }
    if roles.engine {
        threads.push(engine.start().await?);
    }
    let bodies = Arc::new(Semaphore::new(BODIES_KIB));
    Ok((Pipeline { intake, ask, bodies, identity_key: key, feed }, Threads(threads)))
}
