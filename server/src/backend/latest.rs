//! The newest closed window of every device, as the API and `latest.json` give it.

use super::EngineBackend;
use crate::http::rows::{Form, write_window};
use crate::pipeline::Refused;
use bytes::Bytes;
use domain::window::Window;

impl EngineBackend {
    /// All of them in order of device, as JSON.
    pub async fn latest(&self) -> Result<Bytes, Refused> {
        self.newest.get(async { Ok::<_, Refused>(self.latest_now().await?.into()) }).await
    }

    async fn latest_now(&self) -> Result<String, Refused> {
        // Only copied while the engine waits; written when it goes on.
        let (now, newest) = self
            .pipeline
            .ask(|room| {
                let engine = &room.engine;
                let newest = |index| -> Option<Window> {
                    let state = engine.device_state(index);
                    let held = state.windows.newest_fired(&engine.config().windows, 0);
                    held.into_iter().chain(state.newest_closed.as_deref().copied()).max_by_key(|w| w.start)
                };
                (engine.now(), (0..engine.device_count()).map(newest).collect::<Vec<_>>())
            })
            .await?;
        let devices = self.order.now(&self.pipeline).await?;
        let mut body = format!(r#"{{"updated_at":"{now}","records":["#);
        let mut is_first = true;
        for (id, index) in devices.iter() {
            if let Some(window) = newest.get(*index as usize).and_then(Option::as_ref) {
                if !std::mem::replace(&mut is_first, false) {
                    body.push(',');
                }
                write_window(&mut body, Form::Json, id, window, window.start + self.sizes[0]);
            }
        }
        body.push_str("]}");
        Ok(body)
    }
}
