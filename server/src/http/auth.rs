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
/// Keys remembered at once, and as many that are none.
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
    /// What was looked for in vain, and when: who goes on trying asks the database no more than others.
    unknown: Mutex<HashMap<[u8; 32], Instant>>,
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
        Self { store, owner: None, seen: Mutex::default(), unknown: Mutex::default() }
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
        let may = sender.key.can_ingest && sender.key.can_read;
        if !may && !planted("any-key-decides") {
            let detail = "this key may not decide of dead letters: that takes the scopes ingest and read";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail).of(&sender.key));
        }
        Ok(())
    }

    /// Whose `key` that is.
    async fn sender(&self, key: &str) -> Result<Sender, Problem> {
        let look = async || {
            if !could_be_a_key(key) {
                return Ok(None);
            }
            match tokio::time::timeout(PATIENCE, self.store.key(key)).await {
                Ok(found) => found,
                Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
            }
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
        if known.is_none() && self.is_unknown(&hash, now) {
            return Ok(None);
        }
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
                self.remember_unknown(hash, now);
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

    fn is_unknown(&self, hash: &[u8; 32], now: Instant) -> bool {
        let looked = self.unknown.lock().unwrap_or_else(PoisonError::into_inner).get(hash).copied();
        looked.is_some_and(|looked| now.duration_since(looked) < BELIEVED) && !planted("wrong-keys-ask-each-time")
    }

    fn remember_unknown(&self, hash: [u8; 32], now: Instant) {
        let mut all = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.retain(|_, looked| now.duration_since(*looked) < BELIEVED);
        }
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(hash, now);
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

/// Whether `key` is written as `rantai key create` writes them.
fn could_be_a_key(key: &str) -> bool {
    key.strip_prefix("rantai_").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
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
        for looked in keys.unknown.lock().expect("nobody panicked").values_mut() {
            *looked = looked.checked_sub(BELIEVED).expect("the machine runs for longer");
        }
        assert!(keys.find("k", away).await.is_err(), "revoked and forgotten");
    }

    #[tokio::test]
    async fn a_wrong_key_is_looked_for_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = Keys::new(Store::open(&StoreAddress::Sqlite, dir.path()).await.expect("opens"));
        let asked = std::cell::Cell::new(0);
        let find = async |key: &str| {
            let look = async || {
                asked.set(asked.get() + 1);
                Ok(None)
            };
            assert!(keys.find(key, look).await.is_ok_and(|found| found.is_none()));
            asked.get()
        };
        assert_eq!((find("a").await, find("a").await, find("b").await, find("a").await), (1, 1, 2, 2));
        // A key that is made meanwhile works within seconds.
        for looked in keys.unknown.lock().expect("nobody panicked").values_mut() {
            *looked = looked.checked_sub(BELIEVED).expect("the machine runs for longer");
        }
        let key = || ApiKey { name: "gateway".into(), source: "gateway".into(), can_ingest: true, can_read: false };
        assert!(keys.find("a", async || Ok(Some(key()))).await.is_ok_and(|found| found.is_some()));
        // However many are tried, little is kept.
        for n in 0..3 * REMEMBERED {
            find(&n.to_string()).await;
        }
        assert!(keys.unknown.lock().expect("nobody panicked").len() <= REMEMBERED);
    }

    #[test]
    fn what_a_key_looks_like() {
        let key = format!("rantai_{}", "0f".repeat(32));
        assert!(could_be_a_key(&key));
        for wrong in ["", "x", "rantai_", &key[1..], &key[..70], &format!("{key}0"), &key.replace('f', "g")] {
            assert!(!could_be_a_key(wrong), "{wrong}");
        }
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
