//! What people see of a run: one line a second while the past is sent, one a minute after, a summary at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The counts of a run, added to by the player and the lanes.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records made.
    pub made: AtomicU64,
    /// Records that the server has answered for.
    pub answered: AtomicU64,
    /// … as accepted.
    pub accepted: AtomicU64,
    /// … as known already.
    pub duplicate: AtomicU64,
    /// … as too late for their window.
    pub late: AtomicU64,
    /// … as wrong.
    pub rejected: AtomicU64,
    /// … as queued: their disposition is not known yet (`--log kafka`).
    pub queued: AtomicU64,
    /// Requests sent again.
    pub retries: AtomicU64,
    /// Simulated time reached, milliseconds.
    pub reached_ms: AtomicI64,
    /// All of the past is made; `made` grows further.
    pub past_made: AtomicBool,
    /// How many records the past had, once it is made.
    pub past: AtomicU64,
    /// Why records were rejected.
    reasons: Mutex<BTreeMap<String, u64>>,
    /// The server does not take anything now.
    pub down: AtomicBool,
}

impl Progress {
    /// Counts one more rejection for `reason`.
    pub fn rejected_for(&self, reason: &str) {
        let mut reasons = self.reasons.lock().expect("nobody panics while holding it");
        match reasons.get_mut(reason) {
            Some(count) => *count += 1,
            None => drop(reasons.insert(reason.to_owned(), 1)),
        }
    }

    /// `accepted 4 170 211, duplicate 20 871, rejected 312 (clock_reset 201, sensor_fault 111)`.
    pub fn dispositions(&self) -> String {
        let mut text = format!("accepted {}", grouped(self.accepted.load(Relaxed)));
        for (name, count) in [
            ("queued", &self.queued),
            ("duplicate", &self.duplicate),
            ("late", &self.late),
            ("rejected", &self.rejected),
            ("requests repeated", &self.retries),
        ] {
            let count = count.load(Relaxed);
            if count > 0 {
                let _ = write!(text, ", {name} {}", grouped(count));
            }
            if name == "rejected" && count > 0 {
                let reasons = self.reasons.lock().expect("nobody panics while holding it");
                let list: Vec<_> = reasons.iter().map(|(reason, count)| format!("{reason} {}", grouped(*count))).collect();
                if !list.is_empty() {
                    let _ = write!(text, " ({})", list.join(", "));
                }
            }
        }
        text
    }

    /// Whether the server has answered for all of the past.
    pub fn past_answered(&self) -> bool {
        self.past_made.load(Relaxed) && self.answered.load(Relaxed) >= self.past.load(Relaxed)
    }
}

/// Prints a line. That nobody reads it is no reason to stop.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Tells how the run goes until it is dropped.
pub async fn report(progress: &Progress, from_ms: i64, start_ms: i64) {
    let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    second.tick().await;
    let begun = Instant::now();
    let past = hours(start_ms - from_ms);
    if start_ms > from_ms {
        let (mut before, mut at) = (0, begun);
        loop {
            second.tick().await;
            let answered = progress.answered.load(Relaxed);
            if progress.past_answered() {
                break;
            }
            let rate = (answered - before) as f64 / at.elapsed().as_secs_f64();
            (before, at) = (answered, Instant::now());
            let percent = (progress.reached_ms.load(Relaxed) - from_ms) * 100 / (start_ms - from_ms);
            let wait = if progress.down.load(Relaxed) { ", waiting for the server" } else { "" };
            say(&format!("{past} back-fill: {} %, {} readings/s{wait}", percent.clamp(0, 99), grouped(thousands(rate))));
        }
        let seconds = begun.elapsed().as_secs_f64();
        let answered = progress.answered.load(Relaxed);
        say(&format!(
            "{past} back-fill: {} readings in {seconds:.1} s, {}/s: {}",
            grouped(answered),
            grouped(thousands(answered as f64 / seconds)),
            progress.dispositions()
        ));
    }
    let mut before = progress.answered.load(Relaxed);
    let mut minute = tokio::time::interval(std::time::Duration::from_mins(1));
    minute.tick().await;
    loop {
        minute.tick().await;
        let answered = progress.answered.load(Relaxed);
        let waiting = progress.made.load(Relaxed).saturating_sub(answered);
        let wait = if progress.down.load(Relaxed) { ", the server does not answer" } else { "" };
        say(&format!("{} readings in the last minute, {} on their way{wait}", grouped(answered - before), grouped(waiting)));
        before = answered;
    }
}

/// A rate to three figures: what follows is noise.
fn thousands(rate: f64) -> u64 {
    if rate >= 10_000.0 { (rate / 1_000.0).round() as u64 * 1_000 } else { rate.round() as u64 }
}

/// `24 h`, `90 min`, `30 s`.
pub fn hours(ms: i64) -> String {
    match ms {
        _ if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        _ if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        _ => format!("{} s", ms / 1_000),
    }
}

/// A count with thin groups of three: `4 204 800`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_groups() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1 000"), (4_204_800, "4 204 800")] {
            assert_eq!(grouped(count), text);
        }
        assert_eq!((hours(86_400_000), hours(5_400_000), hours(1_500)), ("24 h".into(), "90 min".into(), "1 s".into()));
    }

    #[test]
    fn dispositions_name_what_there_is() {
        let progress = Progress::default();
        progress.accepted.store(12_345, Relaxed);
        assert_eq!(progress.dispositions(), "accepted 12 345");
        progress.rejected.store(2, Relaxed);
        progress.rejected_for("future");
        progress.rejected_for("future");
        assert_eq!(progress.dispositions(), "accepted 12 345, rejected 2 (future 2)");
    }
}
