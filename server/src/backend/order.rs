//! All devices in the order of their ids, remembered: sorting them anew for every page would keep the engine waiting.

use crate::pipeline::{Pipeline, Refused};
use std::sync::{Arc, Mutex, PoisonError};

/// Id and index of devices, in order of id.
pub type Devices = Arc<Vec<(String, u32)>>;

/// The order as it was when last asked for. Devices only ever come along.
#[derive(Debug, Default)]
pub struct DeviceOrder(Mutex<Devices>);

impl DeviceOrder {
    /// All devices that `pipeline` knows now.
    pub async fn now(&self, pipeline: &Pipeline) -> Result<Devices, Refused> {
        let known = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let from = known.len() as u32;
        let new = pipeline.ask(move |room| {
            let engine = &room.engine;
            (from..engine.device_count()).map(|index| (engine.device_state(index).id.to_string(), index)).collect::<Vec<_>>()
        });
        let new = new.await?;
        if new.is_empty() {
            return Ok(known);
        }
        let mut all = Vec::clone(&known);
        all.extend(new);
        all.sort_unstable();
        let all = Arc::new(all);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&all);
        Ok(all)
    }
}
