//! What is stored at the end, held against one life without interruption, partition by partition, and against one partition instead of
//! several.

use super::super::disk::Disk;
use super::super::oracle::{self, NEVER, WindowKey};
use super::super::random::Random;
use super::super::store::Stored;
use super::super::world::World;
use super::Cluster;
use super::broker::{Gap, Message};
use anyhow::{Context, ensure};
use server::files;
use server::kafka::{Inbox, Owned};
use server::letters::Outcome;
use server::pipeline::Step;
use server::verify::history::Sums;
use std::collections::BTreeMap;
use std::path::Path;

impl Cluster {
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        let calm = World::new(Random(0));
        calm.get().now_ms = self.now();
        let disk = Disk::new(&calm);
        disk.mount();
        let mut merged = BTreeMap::new();
        let mut received = 0;
        for (partition, log) in self.logs.iter().enumerate() {
            let found = self.store.of.get(&(partition as u32)).cloned().unwrap_or_default();
            let replays =
                found.decisions.iter().filter(|decided| matches!(decided.outcome, Outcome::Replayed { .. })).count() as u64;
            // What lay in gaps was processed by nobody, and of a topic that is no more only what came before.
            let messages = log.before.as_ref().unwrap_or(&log.messages);
            let is_lost = |offset: i64| log.gaps.iter().any(|gap| (gap.next as i64 - 1..gap.low).contains(&offset));
            let is_ours = |message: &&Message| {
                !is_lost(message.offset) && (log.before.is_none() || (message.offset as u64) + 1 < found.next)
            };
            let messages: Vec<&Message> = messages.iter().filter(is_ours).collect();
            let records = messages.iter().filter(|message| message.is_record()).count() as u64 + replays;
            let totals = oracle::totals_of(&found);
            oracle::same(&format!("L1: records of partition {partition}"), &records, &totals.all.received)?;
            oracle::check_sums(&totals)?;
            received += records;
            if records == 0 {
                continue;
            }
            let expected = self.uninterrupted(partition as u32, &messages, &log.gaps, &disk)?;
            oracle::compare(&expected, &found).with_context(|| format!("L4: partition {partition}"))?;
            for (key, seen) in oracle::windows_of(&found, &self.config)? {
                ensure!(merged.insert(key.clone(), seen.sums).is_none(), "L2: two partitions have the window {key:?}");
            }
        }
        // Decisions name letters by partition and offset: they would mean others.
        if !self.decides && self.logs.iter().all(|log| log.gaps.is_empty() && log.before.is_none()) {
            self.rescaled(received, &merged, &disk)?;
        }
        let mut state = self.world.get();
        *state.counts.entry("records processed".to_owned()).or_default() += received;
        state.note(&format!("{received} records, {} windows", merged.len()));
        Ok(())
    }

    /// One partition instead of several: the same readings in the same windows.
    fn rescaled(&self, received: u64, merged: &BTreeMap<WindowKey, Sums>, disk: &Disk) -> anyhow::Result<()> {
        let mut all: Vec<(usize, &Message)> = Vec::new();
        for (partition, log) in self.logs.iter().enumerate() {
            all.extend(log.messages.iter().map(|message| (partition, message)));
        }
        all.sort_by_key(|(partition, message)| (message.at, *partition, message.offset));
        let renumbered: Vec<Message> =
            all.into_iter().zip(0..).map(|((_, message), offset)| Message { offset, ..message.clone() }).collect();
        let one = self.uninterrupted(1_000, &renumbered.iter().collect::<Vec<_>>(), &[], disk)?;
        oracle::same("rescale: records", &received, &oracle::totals_of(&one).all.received)?;
        let windows: BTreeMap<_, _> =
            oracle::windows_of(&one, &self.config)?.into_iter().map(|(key, seen)| (key, seen.sums)).collect();
        oracle::same("rescale: windows", &windows, merged)
    }

    /// The state of one life over `messages`, fetched all at once, that begins anew behind each of the `gaps` alone.
    fn uninterrupted(&self, partition: u32, messages: &[&Message], gaps: &[Gap], disk: &Disk) -> anyhow::Result<Stored> {
        disk.mount();
        let dir = Path::new("/oracle").join(partition.to_string());
        files::create_dir(&dir)?;
        let mut stored = Stored { next: 1, ..Stored::default() };
        let begin = |stored: &Stored| Owned::restore(stored.snapshot(), partition, &dir, &self.master, &self.config, NEVER);
        let mut owned = begin(&stored)?;
        let mut rest = messages;
        for gap in gaps {
            // What it could still know again, and what it had processed without.
            for (end, worth) in [(gap.needed, 0), (gap.next as i64 - 1, u64::MAX)] {
                let (known, more) = rest.split_at(rest.partition_point(|message| message.offset < end));
                rest = more;
                take(&mut owned, known, worth, &mut stored)?;
            }
            if let Some(run) = stored.accept_gap(gap.low as u64 + 1) {
                files::replace(&dir.join(run), |_| Ok(()))?;
            }
            owned = begin(&stored)?;
            // Of what the state covers it reads again what is still there, for its identities.
            rest = &messages[messages.partition_point(|message| message.offset < gap.low)..];
        }
        take(&mut owned, rest, u64::MAX, &mut stored)?;
        Ok(stored)
    }
}

/// Processes `messages` and stores what they lead to, with a run of their identities where that is `worth` it.
fn take(owned: &mut Owned, messages: &[&Message], worth: u64, stored: &mut Stored) -> anyhow::Result<()> {
    let mut inbox = Inbox::new("events");
    for message in messages {
        message.put(&mut inbox);
    }
    owned.take(&inbox);
    let mut writing = owned.cut(worth);
    loop {
        match writing.step() {
            Step::WriteRun(frozen) => frozen.write()?,
            Step::KeepRun(_) | Step::Wait(_) => {}
            Step::Commit(checkpoint) => stored.apply(checkpoint),
            Step::Done => break,
        }
        writing.went(Ok(()))?;
    }
    owned.shard.checkpoint_done()
}
