//! Who sends: machines by API key. People's pages are open on loopback only until sign-in exists; see `crate::config`.

use super::Problem;
use crate::store::{ApiKey, Store};
use axum::http::{HeaderMap, StatusCode, header};
use hashbrown::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For how long a key is believed without looking again: so soon a revoked key is dead.
const BELIEVED: Duration = Duration::from_secs(3);
/// Keys remembered at once.
const REMEMBERED: usize = 4_096;

/// Keys of machines, looked up in the store and remembered for a moment.
#[derive(Debug)]
pub struct Keys {
    store: Store,
    seen: Mutex<HashMap<String, (Arc<ApiKey>, Instant)>>,
}

impl Keys {
    /// The keys of `store`.
    pub fn new(store: Store) -> Self {
        Self { store, seen: Mutex::default() }
    }

    /// The key that `headers` carry, if it may post records.
    pub async fn ingest(&self, headers: &HeaderMap) -> Result<Arc<ApiKey>, Problem> {
        let unauthorized = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail);
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Err(unauthorized("send a key: Authorization: Bearer KEY (make one with `rantai key create`)"));
        };
        let text = value.to_str().unwrap_or_default();
        let Some(key) =
            text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key.trim())
        else {
            return Err(unauthorized("send the key as: Authorization: Bearer KEY"));
        };
        let key = self.find(key).await?.ok_or_else(|| unauthorized("this key is not known"))?;
        if !key.can_ingest {
            return Err(Problem::new(StatusCode::FORBIDDEN, "this key may not post records: it lacks the scope ingest"));
        }
        Ok(key)
    }

    async fn find(&self, key: &str) -> Result<Option<Arc<ApiKey>>, Problem> {
        if let Some((known, since)) = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(key)
            && since.elapsed() < BELIEVED
        {
            return Ok(Some(Arc::clone(known)));
        }
        let found = self.store.key(key).await?.map(Arc::new);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        match &found {
            Some(found) => seen.insert(key.to_owned(), (Arc::clone(found), Instant::now())),
            None => seen.remove(key),
        };
        Ok(found)
    }
}
