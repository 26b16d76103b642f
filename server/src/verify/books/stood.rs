//! The versions of how equipment stands: each says something new, in order of time, and together they are what the log leads to.

use super::{Books, at};
use crate::verify::is_about_content;
use crate::verify::report::Law;
use crate::verify::stood::{Changes, Reader};
use std::collections::{BTreeMap, BTreeSet};

impl Books<'_> {
    /// How equipment stood when, against what `expected` of the log leads to, where that can be told.
    pub(super) async fn stood(&mut self, expected: Option<&Changes>) -> anyhow::Result<()> {
        let engine = &self.shard.room.engine;
        let (partition, now) = (self.log.partition(), engine.now().ms());
        // A partition that lags may have written some since that are taken with the next.
        let kept_from = self.forgotten.counts();
        let mut versions = BTreeMap::new();
        match self.subject.store.count_versions(partition).await {
            Ok(stored) => versions.extend(stored.into_iter().map(|version| (version.known_at, version))),
            Err(error) if is_about_content(&error) => {
                self.report.breaks(Law::Versions, || error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        versions.extend(engine.known_counts().map(|version| (version.known_at, version.clone())));
        let mut reader = Reader::default();
        for version in versions.range(kept_from..).map(|(_, version)| version) {
            let told = reader.wrong.len();
            reader.read(version, now);
            for words in &mut reader.wrong[told..] {
                *words = format!("how equipment stood as known at {}: {words}", at(version.known_at));
            }
        }
        let Reader { begins, changes, versions, wrong, .. } = reader;
        for words in wrong {
            self.report.breaks(Law::Versions, || words);
        }
        if let Some(expected) = expected {
            let mut due = Changes::new();
            for (known_at, by) in expected.iter().filter(|(known_at, _)| **known_at <= now) {
                // What was taken is in the whole picture that is the first, where there is one since.
                let due_at = if *known_at < kept_from { begins } else { Some(*known_at) };
                if let Some(due_at) = due_at {
                    let sum = due.entry(due_at).or_default();
                    *sum = sum.wrapping_add(*by);
                }
            }
            let instants: BTreeSet<i64> = due.keys().chain(changes.keys()).copied().collect();
            for known_at in instants {
                let of = |changes: &Changes| changes.get(&known_at).copied().unwrap_or_default();
                if of(&due) != of(&changes) {
                    self.report.breaks(Law::Versions, || {
                        let what = if of(&due) == 0 { "nothing changed" } else { "another change was expected" };
                        format!("how equipment stood as known at {}: {what}", at(known_at))
                    });
                }
            }
        }
        self.stood_versions = versions;
        Ok(())
    }
}
