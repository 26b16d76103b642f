//! Keys of machines: made, hashed, looked up.

use super::{Store, StoreError, either};
use crate::hex::hex;
use sha2::{Digest, Sha256};

/// What a key is allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its name, given when it was made.
    pub name: String,
    /// The source of what it brings, part of the identity of records: the same for a key and the one that follows it.
    pub source: String,
    /// It may post to `/ingest`.
    pub can_ingest: bool,
    /// It may read. Reading is open on this machine, so it matters only together with the other: who has both decides of dead letters.
    pub can_read: bool,
}

/// Why a key was not made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A name of no or more than 64 bytes, or not in one line.
    #[error("the name of a key or of its source has 1 to 64 bytes, in one line")]
    Name,
    /// There is one of that name.
    #[error("there is a key named `{0}` already")]
    Taken(String),
    /// A scope that does not exist.
    #[error("`{0}` is no scope: choose from ingest, read")]
    Scope(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key is 256 random bits, so a plain hash is enough: there is nothing to guess.
fn hash(key: &str) -> Vec<u8> {
    let key = if domain::planted("key-by-its-beginning") { &key[..key.len().min(16)] } else { key };
    Sha256::digest(key.as_bytes()).to_vec()
}

impl Store {
    /// Makes a key with the comma-separated `scope` for records of `source` (its own name where there is none); the answer is the only
    /// time it can be read.
    pub async fn create_key(&self, name: &str, source: Option<&str>, scope: &str, now_ms: i64) -> Result<String, KeyError> {
        let is_wrong = |name: &str| name.is_empty() || name.len() > 64 || name.chars().any(char::is_control);
        if is_wrong(name) || source.is_some_and(is_wrong) {
            return Err(KeyError::Name);
        }
        if let Some(wrong) = scope.split(',').find(|s| !matches!(*s, "ingest" | "read")) {
            return Err(KeyError::Scope(wrong.to_owned()));
        }
        let mut secret = [0u8; 32];
        getrandom::fill(&mut secret).map_err(|e| StoreError::from(sqlx::Error::Io(std::io::Error::other(e))))?;
        let key = format!("rantai_{}", hex(&secret));
        let made = either!(self, pools => {
            sqlx::query(
                "insert into api_keys (name, source, scope, hash, created_at_ms) values ($1, $2, $3, $4, $5)
                 on conflict (name) do nothing",
            )
            .bind(name)
            .bind(if domain::planted("key-is-stored") { Some(key.as_str()) } else { source })
            .bind(scope)
            .bind(hash(&key))
            .bind(now_ms)
            .execute(&pools.writer)
            .await
            .map_err(StoreError::from)?
            .rows_affected()
        });
        if made == 0 {
            return Err(KeyError::Taken(name.to_owned()));
        }
        Ok(key)
    }

    /// Takes the key of that name away; whether there was one.
    pub async fn revoke_key(&self, name: &str) -> Result<bool, StoreError> {
        Ok(either!(self, pools => {
            let done = sqlx::query("delete from api_keys where name = $1").bind(name).execute(&pools.writer).await?;
            done.rows_affected() > 0
        }))
    }

    /// What `key` may do; `None` where there is no such key.
    pub async fn key(&self, key: &str) -> Result<Option<ApiKey>, StoreError> {
        let row: Option<(String, String, String)> = either!(self, pools => {
            sqlx::query_as("select name, coalesce(source, name), scope from api_keys where hash = $1")
                .bind(hash(key))
                .fetch_optional(&pools.readers)
                .await?
        });
        Ok(row.map(|(name, source, scope)| {
            let [can_ingest, can_read] = ["ingest", "read"].map(|wanted| scope.split(',').any(|one| one == wanted));
            ApiKey { name, source, can_ingest, can_read }
        }))
    }
}
