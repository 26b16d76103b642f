//! Dead letters with what was decided of them, and deciding.

use super::{AppErrorOf, EngineBackend, ReadError};
use crate::hex::hex;
use crate::http::Problem;
use crate::kafka::partition_of;
use crate::letters::{Decided, Decision, End, MAX_WORDS, Outcome, Verdict};
use crate::pipeline::{PARTITION, Refused, wall_clock};
use crate::publish::pipeline_now;
use crate::side::{Cause, DEAD, SideRow};
use crate::store::StoreError;
use app::api::{DeadLetterRow, DeadLetterView, LetterEnd, LetterOutcome, LetterState, LettersView};
use app::error::AppError;
use axum::http::StatusCode;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Rows of a page of the list.
const ROWS: usize = 50;
/// So many are looked through at most for those that wait for a decision.
const LOOKED_THROUGH: usize = 2_000;

/// A dead letter and what was decided of it.
pub type Letter = (SideRow, Option<Decided>);

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum Undecided {
    /// There is no such dead letter.
    #[error("there is no dead letter at position {0}")]
    Missing(u64),
    /// Nobody's name, or one that is too long.
    #[error("`by` names who decides, in 1 to 100 characters without NUL")]
    Name,
    /// No reason, or one that is too long.
    #[error("`reason` says why the record is discarded, in 1 to 500 characters without NUL")]
    Reason,
    /// Something else was decided before.
    #[error("something else was decided of this dead letter before")]
    Decided(Box<Decided>),
    /// The log takes nothing now.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl From<ReadError> for Undecided {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(e) => e.into(),
            ReadError::Store(e) => e.into(),
        }
    }
}

impl From<Undecided> for Problem {
    fn from(error: Undecided) -> Self {
        match error {
            Undecided::Missing(_) => Problem::not_found(error.to_string()),
            Undecided::Name | Undecided::Reason => Problem::bad_request(error.to_string()),
            Undecided::Decided(_) => Problem::new(StatusCode::CONFLICT, error.to_string()),
            Undecided::Refused(refused) => refused.into(),
            Undecided::Store(error) => error.into(),
        }
    }
}

/// `text` without space around it, if it has 1 to `most` characters and no NUL, which Postgres does not take.
fn words(text: &str, most: usize) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && !text.contains('\0') && text.len() <= MAX_WORDS && text.chars().count() <= most).then_some(text)
}

impl EngineBackend {
    /// Dead letters after `position`, oldest first, at most `limit`.
    pub async fn letters(&self, position: u64, limit: usize) -> Result<Vec<Letter>, Problem> {
        let rows = self.side(DEAD, position, limit).await?;
        Ok(self.with_decisions(rows).await?)
    }

    async fn with_decisions(&self, rows: Vec<SideRow>) -> Result<Vec<Letter>, ReadError> {
        let (Some(first), Some(last)) = (rows.iter().map(|r| r.position).min(), rows.iter().map(|r| r.position).max()) else {
            return Ok(Vec::new());
        };
        // What a checkpoint takes along meanwhile is in the store by the time that it is asked.
        let pending = self
            .pipeline
            .ask(move |room| room.decisions().filter(|d| (first..=last).contains(&d.letter)).cloned().collect::<Vec<_>>());
        let pending = pending.await?;
        let mut decided: BTreeMap<u64, Decided> = pending.into_iter().map(|d| (d.letter, d)).collect();
        decided.extend(self.store.decisions(first, last).await?.into_iter().map(|d| (d.letter, d)));
        Ok(rows.into_iter().map(|row| (decided.remove(&row.position), row)).map(|(decided, row)| (row, decided)).collect())
    }

    /// The dead letter at `position`.
    pub(super) async fn letter(&self, position: u64) -> Result<Option<Letter>, ReadError> {
        let row = self.side_at(DEAD, position).await?;
        Ok(self.with_decisions(row.into_iter().collect()).await?.pop())
    }

    /// What a form of the page of the dead letter at `position` sends along: only who read the page knows it. Every process with pages makes
    /// the same, also after a restart, since a letter is decided once: it is of no use afterwards.
    fn form_token(&self, position: u64) -> String {
        // One block of fixed length under a secret: nothing can be appended.
        let secret = Sha256::new().chain_update(b"rantai form").chain_update(self.pipeline.identity_key.0);
        hex(&secret.chain_update(position.to_le_bytes()).finalize())
    }

    /// Whether `token` is that of the page of the dead letter at `position`.
    pub fn is_form_of(&self, position: u64, token: &str) -> bool {
        // Of hashes: how long the comparison takes tells nothing.
        Sha256::digest(token) == Sha256::digest(self.form_token(position))
    }

    /// Decides of the dead letter at `position`. The same decision again changes nothing and is answered the same. `None` where it is
    /// safe and an engine elsewhere has yet to carry it out.
    pub async fn decide(&self, position: u64, by: &str, verdict: Verdict) -> Result<Option<Decided>, Undecided> {
        let by = words(by, 100).ok_or(Undecided::Name)?.to_owned();
        let verdict = match verdict {
            Verdict::Replay => Verdict::Replay,
            Verdict::Discard(reason) => Verdict::Discard(words(&reason, 500).ok_or(Undecided::Reason)?.to_owned()),
        };
        let is_replay = verdict == Verdict::Replay;
        let (row, mut decided) = self.letter(position).await?.ok_or(Undecided::Missing(position))?;
        if decided.is_none() {
            let _permit = self.pipeline.reserve(row.raw.len())?;
            self.pipeline.decide(&Decision { letter: position, by, verdict }, &row.raw, row.source.clone()).await?;
            decided = self.letter(position).await?.and_then(|(_, decided)| decided);
        }
        match decided {
            Some(decided) if is_replay != matches!(decided.outcome, Outcome::Replayed { .. }) => {
                Err(Undecided::Decided(Box::new(decided)))
            }
            decided => Ok(decided),
        }
    }

    /// The newest of `rows` and of the store's, as the pipeline page shows them.
    pub(super) async fn newest_letters(&self, rows: Vec<SideRow>, limit: usize) -> Result<Vec<DeadLetterRow>, AppErrorOf> {
        let letters = self.with_decisions(self.side_newest(DEAD, rows, None, limit).await?).await?;
        Ok(letters.iter().filter_map(short).collect())
    }

    /// Those of `positions` that retention has taken, as it does where something was decided.
    pub(super) async fn gone_letters(&self, positions: BTreeSet<u64>) -> Result<BTreeSet<u64>, AppErrorOf> {
        let kept = self.store.letters(PARTITION, &positions).await?;
        let mut gone: BTreeSet<u64> = positions.difference(&kept).copied().collect();
        // On Kafka a position tells its partition.
        for position in gone.clone() {
            if !self.store.letters(partition_of(position), &BTreeSet::from([position])).await?.is_empty() {
                gone.remove(&position);
            }
        }
        Ok(gone)
    }

    /// A page of the list: the newest before a position, or of all.
    pub(super) async fn letters_view(&self, before: Option<u64>, only_open: bool) -> Result<LettersView, AppError> {
        let now = self.pipeline.ask(|room| pipeline_now(room)).await.map_err(AppErrorOf::from)?;
        let (mut letters, mut older, mut looked_at) = (Vec::new(), before, 0);
        let is_more = loop {
            let position = older;
            let of_room = self.pipeline.ask(move |room| -> Vec<SideRow> {
                room.side_before(DEAD, position.unwrap_or(u64::MAX)).take(ROWS + 1).collect()
            });
            let rows = of_room.await.map_err(AppErrorOf::from)?;
            let rows = self.side_newest(DEAD, rows, position, ROWS + 1).await.map_err(AppErrorOf::from)?;
            let batch = self.with_decisions(rows).await.map_err(AppErrorOf::from)?;
            let mut taken = 0;
            for letter in &batch {
                if letters.len() == ROWS {
                    break;
                }
                older = Some(letter.0.position);
                letters.extend(short(letter).filter(|row| !only_open || row.state == LetterState::Open));
                taken += 1;
            }
            looked_at += taken;
            // One more than is shown tells whether there are older ones.
            let is_last = batch.len() <= ROWS;
            if is_last || letters.len() == ROWS || looked_at > LOOKED_THROUGH {
                break !is_last || taken < batch.len();
            }
        };
        Ok(LettersView {
            taken_at: wall_clock(),
            rejected: now.rejected,
            undecided: now.undecided,
            letters,
            older: older.filter(|_| is_more),
        })
    }

    /// A dead letter for its page.
    pub(super) async fn letter_view(&self, position: u64) -> Result<Option<DeadLetterView>, AppError> {
        let Some((row, decided)) = self.letter(position).await.map_err(AppErrorOf::from)? else { return Ok(None) };
        let Cause::Rejected { reason, field } = row.cause else { return Ok(None) };
        let pending = self.pipeline.ask(move |room| {
            let is_it = |d: &&Decided| matches!(d.outcome, Outcome::Replayed { position: at, .. } if at == position);
            room.decisions().find(is_it).map(|d| d.letter)
        });
        let replay_of = match pending.await.map_err(AppErrorOf::from)? {
            Some(letter) => Some(letter),
            None => self.store.replayed_as(position).await.map_err(AppErrorOf::from)?,
        };
        Ok(Some(DeadLetterView {
            position: row.position,
            received_at: row.received_at,
            source: row.source,
            event_id: row.event_id,
            device_id: row.device_id,
            ts: row.ts,
            reason,
            field,
            is_text: std::str::from_utf8(&row.raw).is_ok(),
            raw: String::from_utf8_lossy(&row.raw).into_owned(),
            outcome: decided.map(outcome),
            replay_of,
            form_token: self.form_token(position),
        }))
    }
}

fn outcome(Decided { by, at, outcome, .. }: Decided) -> LetterOutcome {
    match outcome {
        Outcome::Discarded { reason } => LetterOutcome::Discarded { reason, by, at },
        Outcome::Replayed { position, end } => {
            let end = match end {
                End::Accepted => LetterEnd::Accepted,
                End::Duplicate => LetterEnd::Duplicate,
                End::Late => LetterEnd::Late,
                End::Rejected => LetterEnd::Rejected,
            };
            LetterOutcome::Replayed { position, end, by, at }
        }
    }
}

fn short((row, decided): &Letter) -> Option<DeadLetterRow> {
    let Cause::Rejected { reason, field } = &row.cause else { return None };
    Some(DeadLetterRow {
        position: row.position,
        received_at: row.received_at,
        source: row.source.clone(),
        reason: *reason,
        field: field.clone(),
        raw: String::from_utf8_lossy(&row.raw).chars().take(300).collect(),
        state: match decided.as_ref().map(|d| &d.outcome) {
            None => LetterState::Open,
            Some(Outcome::Replayed { .. }) => LetterState::Replayed,
            Some(Outcome::Discarded { .. }) => LetterState::Discarded,
        },
    })
}
