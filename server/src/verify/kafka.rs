//! The same for engines on Kafka: partition by partition, each recomputed from its messages where Kafka has kept them all.

use super::books::{Books, Covered};
use super::recompute::Recomputed;
use super::report::{Law, Report};
use super::scan::{Outline, Source, outline_of};
use super::{Subject, check_days};
use crate::identities::Sizes;
use crate::kafka::{Extent, Installation, KafkaConfig, STEP, is_other_log, nobody_else, partition_of, take};
use crate::pipeline::{Due, Shard, needed_from};
use crate::side::DEAD;
use anyhow::Context;
use domain::time::ProcessingTime;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Nothing is written.
const NEVER: Due = Due { records: u64::MAX, bytes: u64::MAX, every: Duration::MAX, identities: Sizes::NORMAL };

/// Verifies every partition that was ever read, and what only all of them together show; each with its name. Refused while engines are
/// at work. Senders need not stop: looked at is what Kafka has at the beginning.
pub async fn verify_kafka(subject: &Subject<'_>, kafka: &KafkaConfig) -> anyhow::Result<Vec<(String, Report)>> {
    nobody_else(kafka)?;
    let ours = Installation::of(kafka, subject.store).await?;
    let extents = Extent::of(kafka, &ours, subject.store.kafka_partitions().await?)?;
    let aside = subject.dir.join(format!("verify-{}", std::process::id()));
    let (mut reports, mut readings, mut oldest) = (Vec::new(), 0, None);
    let forgotten = subject.store.forgotten().await?;
    for extent in extents {
        let mut report = Report::default();
        if let Some(outline) = outline_of(&extent)? {
            oldest = oldest.into_iter().chain([outline.received.0]).min();
            readings += partition(subject, &extent, &outline, &aside.join(extent.place.number.to_string()), &mut report).await?;
        }
        reports.push((extent.name(), report));
    }
    if aside.exists() {
        std::fs::remove_dir_all(&aside).context("remove the memory of identities that was looked at")?;
    }
    let mut all = Report::default();
    if let Some((rows, _)) = subject.store.row_counts().await? {
        let rows = rows as u64;
        // Kafka may have kept less than the store, and the store less than Kafka.
        let may_lack = oldest.is_some_and(|oldest| forgotten.readings > oldest.ms());
        if rows != readings && !(may_lack && rows < readings) {
            all.breaks(Law::Readings, || format!("{readings} readings were accepted, and the table holds {rows}"));
        }
        all.summarise(Law::Readings, format!("{rows} rows"));
    }
    reports.push(("all partitions".to_owned(), all));
    Ok(reports)
}

/// Accepted readings of the partition that are stored.
async fn partition(
    subject: &Subject<'_>,
    extent: &Extent,
    outline: &Outline,
    dir: &Path,
    report: &mut Report,
) -> anyhow::Result<u64> {
    let Outline { bytes, received, .. } = outline;
    report.summarise(
        Law::Log,
        format!("offsets {} to before {} with {bytes} bytes, received {} to {}", extent.low, extent.high, received.0, received.1),
    );
    let decided = extent.decided()?;
    let own = decided.iter().copied().filter(|at| partition_of(*at) == extent.place.number).collect();
    let letters = subject.store.letters(extent.place.number, &own).await?;
    let (shard, covered) = match restore(subject, extent, &letters, dir, report).await {
        Ok(Some(restored)) => restored,
        Ok(None) => {
            report.summarise(Law::State, "nothing of it was ever stored".to_owned());
            return Ok(0);
        }
        Err(error) => {
            report.breaks(Law::State, || format!("{error:#}"));
            return Ok(0);
        }
    };
    report.summarise(Law::State, format!("loaded up to offset {}", shard.next_block - 1));
    let key = shard.key();
    // What was decided of a letter that was deleted since, is decided; anything else that is no letter is of a stranger.
    let is_letter = |at: &u64| {
        partition_of(*at) == extent.place.number
            && (letters.contains(at) || shard.room.is_decided(*at) || shard.room.side_at(DEAD, *at).is_some())
    };
    let strange = decided.into_iter().filter(|at| !is_letter(at)).collect();
    let log = Source::Kafka(extent.clone(), Arc::new(strange));
    let mut books = Books::new(subject, log.clone(), (shard, covered), subject.store.forgotten().await?, report);
    if extent.low > 0 {
        books.report.range = Some(format!(
            "Kafka has its messages from offset {} on, received {}; what came before was deleted there, so results are compared with each \
             other and not recomputed",
            extent.low, received.0
        ));
        books.agree(outline).await?;
    } else {
        let recomputed = Recomputed::of(log, key, outline, subject.config, subject.master)?;
        books.compare(recomputed).await?;
    }
    Ok(covered.readings)
}

/// The state of the last checkpoint, and the engine over the rest of the messages; `None` where nothing was ever stored.
async fn restore(
    subject: &Subject<'_>,
    extent: &Extent,
    letters: &BTreeSet<u64>,
    dir: &Path,
    report: &mut Report,
) -> anyhow::Result<Option<(Shard, Covered)>> {
    let number = extent.place.number;
    let Some(snapshot) = subject.store.peek(number, &extent.log).await? else { return Ok(None) };
    check_days(subject, number, &snapshot, report).await?;
    let (from, covered, stored) = (needed_from(&snapshot), snapshot.next_block, Covered::from(&snapshot));
    let (low, high) = (extent.low, extent.high);
    anyhow::ensure!(from as i64 > low, "gap({},{low}): these messages are needed, and Kafka has them no more", from - 1);
    let is_other = is_other_log(covered, extent.first_after(snapshot.now)?, high);
    anyhow::ensure!(
        !is_other,
        "the state covers offsets to before {}, and Kafka, which ends at {high}, lacks them or has newer messages there: its topic was made \
         anew",
        covered - 1
    );
    let identities = crate::identities::folder(dir, &snapshot.identity_key);
    subject.store.fetch_runs(number, &identities).await.context("fetch the memory of identities")?;
    let mut shard = Shard::restore(snapshot, (number, STEP), &identities, subject.master, subject.config, NEVER)?;
    let (begun, mut clock) = (std::time::Instant::now(), ProcessingTime::from_ms(0));
    extent.runs(from, covered, |run| {
        take(&mut shard, number, run, &mut clock, letters);
        Ok(())
    })?;
    shard.restored(begun);
    Ok(Some((shard, stored)))
}
