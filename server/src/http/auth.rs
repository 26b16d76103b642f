//! Who sends: machines by API key. People's pages are open on loopback only until sign-in exists; see `crate::config`.

use super::Problem;
use crate::pipeline::BODIES_KIB;
use crate::store::{ApiKey, Store, StoreError};
use axum::http::{HeaderMap, StatusCode, header};
use domain::planted;
use hashbrown::HashMap;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For how long a key is believed without looking again: so soon a revoked key is dead.
const BELIEVED: Duration = Duration::from_secs(3);
/// For how long it is while nobody can look: the log takes records in also while the database is away.
const BELIEVED_BLINDLY: Duration = Duration::from_mins(5);
/// How long to wait for an answer of the store.
const PATIENCE: Duration = Duration::from_secs(1);
/// Keys remembered at once.
const REMEMBERED: usize = 4_096;
/// The share of one key in the room for bodies, of those that have not arrived whole.
const SHARE_KIB: usize = BODIES_KIB / 4;

/// Keys of machines, looked up in the store and remembered for a moment, by their hash.
#[derive(Debug)]
pub struct Keys {
    store: Store,
    /// Hash of what only this user can read, in the data directory.
    owner: Option<[u8; 32]>,
    seen: Mutex<HashMap<[u8; 32], Seen>>,
}

/// A key that was found.
#[derive(Clone, Debug)]
struct Seen {
    sender: Sender,
    /// When it was last found.
    found: Instant,
    /// When it was last looked for.
    looked: Instant,
}

/// Who sends.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Its key.
    pub key: Arc<ApiKey>,
    arriving: Arc<Semaphore>,
}

impl Sender {
    fn new(key: ApiKey) -> Self {
        Self { key: Arc::new(key), arriving: Arc::new(Semaphore::new(SHARE_KIB)) }
    }

    /// Room of the key's share for `len` bytes that are on their way, where there is any left.
    pub fn reserve(&self, len: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(len / 1_024 + 1).ok()?;
        Arc::clone(&self.arriving).try_acquire_many_owned(kib).ok()
    }
}

impl Keys {
    /// The keys of `store`.
    pub fn new(store: Store) -> Self {
        Self { store, owner: None, seen: Mutex::default() }
    }

    /// The same, and who brings `token` runs as the same user as this server.
    #[must_use]
    pub fn of_owner(self, token: &str) -> Self {
        Self { owner: Some(hash(token)), ..self }
    }

    /// Whose key `headers` carry, if it may post records.
    pub async fn ingest(&self, headers: &HeaderMap) -> Result<Sender, Problem> {
        let sender = self.sender(bearer(headers)?).await?;
        if !sender.key.can_ingest && !planted("any-key-may-send") {
            let detail = "this key may not post records: it lacks the scope ingest";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail).of(&sender.key));
        }
        Ok(sender)
    }

    /// Refuses a program that may not decide of dead letters: it has a key for taking in and for reading, or is of this user.
    pub async fn decide(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let key = match bearer(headers) {
            Err(_) if planted("anybody-decides") => return Ok(()),
            key => key?,
        };
        // Hashes are compared: how long that takes tells nothing.
        if self.owner == Some(hash(key)) {
            return Ok(());
        }
        let sender = self.sender(key).await?;
        if !(sender.key.can_ingest && sender.key.can_read) && !planted("any-key-decides") {
            let detail = "this key may not decide of dead letters: that takes the scopes ingest and read";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail).of(&sender.key));
        }
        Ok(())
    }

    /// Whose `key` that is.
    async fn sender(&self, key: &str) -> Result<Sender, Problem> {
        let look = async || match tokio::time::timeout(PATIENCE, self.store.key(key)).await {
            Ok(found) => found,
            Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
        };
        let anybody = || Sender::new(ApiKey { name: String::new(), source: String::new(), can_ingest: true, can_read: false });
        let found = self.find(key, look).await?.or_else(|| planted("anybody-may-send").then(anybody));
        found.ok_or_else(|| unauthorized("this key is not known"))
    }

    async fn find(
        &self,
        key: &str,
        look: impl AsyncFnOnce() -> Result<Option<ApiKey>, StoreError>,
    ) -> Result<Option<Sender>, Problem> {
        let hash = hash(key);
        let known = self.lock().get(&hash).cloned();
        if let Some(known) = &known
            && known.looked.elapsed() < BELIEVED
        {
            return Ok(Some(known.sender.clone()));
        }
        let now = Instant::now();
        match (look().await, known) {
            (Ok(Some(found)), known) => {
                // What it takes room for stays its own.
                let sender = match known {
                    Some(known) => Sender { key: Arc::new(found), ..known.sender },
                    None => Sender::new(found),
                };
                self.remember(hash, Seen { sender: sender.clone(), found: now, looked: now });
                Ok(Some(sender))
            }
            (Ok(None), Some(known)) if planted("revoked-key-lives-on") => Ok(Some(known.sender)),
            (Ok(None), _) => {
                self.lock().remove(&hash);
                Ok(None)
            }
            (Err(error), Some(known)) if known.found.elapsed() < BELIEVED_BLINDLY => {
                tracing::warn!(%error, key = known.sender.key.name, "A key could not be looked up and is believed as it was.");
                let sender = known.sender.clone();
                self.remember(hash, Seen { looked: Instant::now(), ..known });
                Ok(Some(sender))
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    fn remember(&self, hash: [u8; 32], seen: Seen) {
        let mut all = self.lock();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(hash, seen);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

/// The key that `headers` carry.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(unauthorized("send a key: Authorization: Bearer KEY (make one with `rantai key create`)"));
    };
    let named = value.to_str().unwrap_or_default().split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    named.map(|(_, key)| key.trim()).ok_or_else(|| unauthorized("send the key as: Authorization: Bearer KEY"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreAddress;

    async fn away() -> Result<Option<ApiKey>, StoreError> {
        Err(sqlx::Error::PoolTimedOut.into())
    }

    #[tokio::test]
    async fn believed_while_nobody_can_look() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = Keys::new(Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens"));
        let key = || ApiKey { name: "gateway".into(), source: "gateway".into(), can_ingest: true, can_read: false };
        let age = |by: Duration| {
            for seen in keys.lock().values_mut() {
                seen.looked = seen.looked.checked_sub(by).expect("the machine runs for longer");
                seen.found = seen.found.checked_sub(by).expect("the machine runs for longer");
            }
        };
        assert!(keys.find("k", away).await.is_err(), "never seen");
        assert!(keys.find("k", async || Ok(Some(key()))).await.is_ok_and(|found| found.is_some()));
        age(BELIEVED);
        assert!(keys.find("k", away).await.is_ok_and(|found| found.is_some()));
        // Not asked again for each request while it is away.
        assert!(keys.find("k", async || unreachable!()).await.is_ok_and(|found| found.is_some()));
        age(BELIEVED_BLINDLY);
        assert!(keys.find("k", away).await.is_err());
        assert!(keys.find("k", async || Ok(None)).await.is_ok_and(|found| found.is_none()));
        assert!(keys.find("k", away).await.is_err(), "revoked and forgotten");
    }

    #[test]
    fn one_key_has_its_share() {
        let sender = Sender::new(ApiKey { name: "gateway".into(), source: "gateway".into(), can_ingest: true, can_read: false });
        let held: Vec<_> = (0..2).map(|_| sender.reserve(10 << 20)).collect();
        assert!(held.iter().all(Option::is_some) && sender.reserve(10 << 20).is_none());
        drop(held);
        assert!(sender.reserve(10 << 20).is_some());
    }
}
