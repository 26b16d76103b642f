//! A run of messages, taken in by the shard of its partition: by a worker, and by who makes its state again.

use super::inbox::{Kind, Run};
use super::position;
use crate::admission::Batch;
use crate::log::Place;
use crate::pipeline::Shard;
use domain::time::ProcessingTime;
use std::collections::BTreeSet;

/// Runs the engine over `run`; of what the state covers already only the identities are remembered. `clock` is the newest time of a
/// message so far, `letters` those dead letters of which it decides that are stored. How many records were processed.
pub(crate) fn take(shard: &mut Shard, number: u32, run: &Run<'_>, clock: &mut ProcessingTime, letters: &BTreeSet<u64>) -> u64 {
    *clock = (*clock).max(run.received_at);
    let is_covered = shard.covers(run.first);
    let received_at = if is_covered { *clock } else { run.received_at.max(shard.room.engine.now()) };
    shard.note_for_run(received_at);
    let place = Place { number: run.last, first_record: position(number, run.first), received_at };
    match run.kind {
        Kind::Records => {
            let key = shard.key();
            let batch = Batch::of_messages(run.bytes.clone(), run.messages(), &key);
            if !is_covered {
                shard.take(&batch, place);
                shard.count_delays(&batch);
                return batch.len() as u64;
            }
            shard.remember(&batch, received_at);
        }
        Kind::Decision => {
            let source = run.source();
            let done = if is_covered {
                shard.remember_replay(run.bytes.clone(), source, run.last, received_at)
            } else {
                shard.decide(&run.bytes, source, place, Some(letters))
            };
            if let Err(error) = done {
                // Anybody may write to a topic: what is no decision decides nothing.
                tracing::warn!(error = format!("{error:#}"), block = run.last, "This is no decision of ours; passed over.");
                if !is_covered {
                    shard.pass_time(place);
                }
            }
        }
        Kind::Fix => {
            let source = run.source();
            let taken = if is_covered {
                shard.remember_handed_on(&run.bytes, source, received_at)
            } else {
                shard.take_handed_on(&run.bytes, source, place)
            };
            if let Err(error) = taken {
                tracing::warn!(%error, block = run.last, "A message cannot be read; passed over.");
                if !is_covered {
                    shard.pass_time(place);
                }
            }
        }
        Kind::Pairings | Kind::Timer | Kind::Foreign if is_covered => {}
        Kind::Pairings => {
            if let Err(error) = shard.pair(&run.bytes, place) {
                tracing::warn!(error = format!("{error:#}"), "Pairings cannot be read; passed over.");
                shard.pass_time(place);
            }
        }
        Kind::Timer | Kind::Foreign => shard.pass_time(place),
    }
    0
}
