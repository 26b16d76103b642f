//! Runs of identities where several processes share a partition by turns: SQLite's stay in the data directory, Postgres keeps a copy of
//! each, so that whoever takes a partition over can read it.

use super::{Database, Store, StoreError, broken, either};
use crate::identities::{self, NamedRun};
use domain::planted;
use futures::TryStreamExt;
use sqlx::PgConnection;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

/// How much of a run one row holds.
const PIECE: usize = 4 << 20;

impl Store {
    /// The runs of `partition` that count, oldest first.
    pub async fn named_runs(&self, partition: u32) -> Result<Vec<NamedRun>, StoreError> {
        let runs: Vec<(String, i64, i64)> = either!(self, pools => {
            sqlx::query_as("select name, last, identities from identity_runs where partition = $1 order by last")
                .bind(i64::from(partition))
                .fetch_all(&pools.writer)
                .await?
        });
        let named =
            |(name, last, identities): (_, i64, i64)| NamedRun { name, last_block: last as u64, identities: identities as u64 };
        Ok(runs.into_iter().map(named).collect())
    }

    /// Keeps the run in the file `path`, durable there already, for other processes. It counts once a checkpoint names it. Fenced by
    /// `epoch` like the checkpoint: a process that lost its place must not write over the run of another.
    pub async fn keep_run(&self, partition: u32, epoch: i64, path: &Path) -> Result<(), StoreError> {
        let Database::Postgres(pools, _) = &self.database else { return Ok(()) };
        let mut tx = pools.begin().await?;
        // Shared until the copy is whole: whoever takes the partition over waits for it.
        let text = if planted("copy-of-a-run-outlives-its-epoch") {
            "select epoch from input_position where partition = $1 and epoch = $2"
        } else {
            "select epoch from input_position where partition = $1 and epoch = $2 for share"
        };
        let ours: Option<i64> = sqlx::query_scalar(text).bind(i64::from(partition)).bind(epoch).fetch_optional(&mut *tx).await?;
        if ours.is_none() && !planted("copy-of-a-run-is-not-fenced") {
            return Err(StoreError::Fenced);
        }
        put_pieces(&mut tx, partition, path).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Puts the runs of `partition` that count and are not in `dir` there. What was fetched is checked before it takes the place of anything;
    /// pieces of runs that no checkpoint has named, or names any longer, are removed.
    pub async fn fetch_runs(&self, partition: u32, dir: &Path) -> Result<(), StoreError> {
        let Database::Postgres(pools, _) = &self.database else { return Ok(()) };
        crate::files::create_dir(dir).map_err(sqlx::Error::Io)?;
        if !planted("copies-that-nobody-named-stay") {
            sqlx::query(
                "delete from identity_run_pieces p
                 where p.partition = $1
                     and not exists (select 1 from identity_runs r where r.partition = p.partition and r.name = p.name)",
            )
            .bind(i64::from(partition))
            .execute(&pools.writer)
            .await?;
        }
        let wanted: Vec<(String, i64)> = sqlx::query_as("select name, identities from identity_runs where partition = $1")
            .bind(i64::from(partition))
            .fetch_all(&pools.writer)
            .await?;
        for (name, identities) in wanted {
            let (path, identities) = (dir.join(&name), identities as u64);
            if identities::is_run(&path, identities) {
                continue;
            }
            let mut pieces = sqlx::query_scalar::<_, Vec<u8>>(
                "select data from identity_run_pieces where partition = $1 and name = $2 order by piece",
            )
            .bind(i64::from(partition))
            .bind(&name)
            .fetch(&pools.writer);
            // Under another name until it is whole.
            let aside = dir.join(format!("{name}.new"));
            let mut file = File::create(&aside).map_err(sqlx::Error::Io)?;
            while let Some(piece) = pieces.try_next().await? {
                file.write_all(&piece).map_err(sqlx::Error::Io)?;
            }
            if !planted("copy-of-a-run-is-not-checked") {
                identities::check_run(&aside, identities).map_err(|e| broken("identity_run_pieces", &name, e))?;
            }
            let named = file.sync_all().and_then(|()| fs::rename(&aside, &path)).and_then(|()| crate::files::sync_dir(dir));
            named.map_err(sqlx::Error::Io)?;
        }
        Ok(())
    }
}

/// Puts the run in the file `path` into the database piece by piece, in the place of what an attempt that failed has left.
pub(super) async fn put_pieces(tx: &mut PgConnection, partition: u32, path: &Path) -> Result<(), StoreError> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| broken("identity_run_pieces", path.display(), "no name"))?;
    let mut file = File::open(path).map_err(sqlx::Error::Io)?;
    sqlx::query("delete from identity_run_pieces where partition = $1 and name = $2")
        .bind(i64::from(partition))
        .bind(name)
        .execute(&mut *tx)
        .await?;
    let mut piece = vec![0; PIECE];
    for number in 0i64.. {
        let len = fill(&mut file, &mut piece).map_err(sqlx::Error::Io)?;
        if len == 0 {
            break;
        }
        sqlx::query("insert into identity_run_pieces (partition, name, piece, data) values ($1, $2, $3, $4)")
            .bind(i64::from(partition))
            .bind(name)
            .bind(number)
            .bind(&piece[..len])
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Fills `buffer` as far as the file goes; how far that is.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..])? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}
