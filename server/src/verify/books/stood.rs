//! The versions of how equipment stands: each says something new, in order of time, and together they are what the log leads to.

use super::{Books, at};
use crate::verify::report::Law;
use crate::verify::stood::{Changes, Reader};
use crate::verify::{forgotten_before, is_about_content};
use domain::time::DAY_MS;
use std::collections::{BTreeMap, BTreeSet};

impl Books<'_> {
    /// How equipment stood when, against what `expected` of the log leads to, where that can be told.
    pub(super) async fn stood(&mut self, expected: Option<&Changes>) -> anyhow::Result<()> {
        let engine = &self.shard.room.engine;
        let (partition, now) = (self.log.partition(), engine.now().ms());
        let mut versions = BTreeMap::new();
        match self.subject.store.count_versions(partition, i64::MIN, i64::MAX).await {
            Ok(stored) => versions.extend(stored.into_iter().map(|version| (version.known_at, version))),
            Err(error) if is_about_content(&error) => {
                self.report.breaks(Law::Versions, || error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        versions.extend(engine.known_counts().map(|version| (version.known_at, version.clone())));
        let mut reader = Reader::default();
        for version in versions.values() {
            let told = reader.wrong.len();
            reader.read(version, now);
            for words in &mut reader.wrong[told..] {
                *words = format!("how equipment stood as known at {}: {words}", at(version.known_at));
            }
        }
        let Reader { begins_whole, changes, versions, wrong, .. } = reader;
        for words in wrong {
            self.report.breaks(Law::Versions, || words);
        }
        if let Some(expected) = expected {
            // What came before the first whole picture retention may have taken, and that picture is its sum.
            let kept_from = forgotten_before(engine.now(), self.subject.keep.windows_days).ms().div_euclid(DAY_MS) * DAY_MS;
            let mut due = Changes::new();
            for (known_at, by) in expected.iter().filter(|(known_at, _)| **known_at <= now) {
                let begins = begins_whole.filter(|_| *known_at < kept_from).unwrap_or(*known_at);
                let sum = due.entry((*known_at).max(begins)).or_default();
                *sum = sum.wrapping_add(*by);
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
