//! What was measured: printed line by line, kept as JSON.

use anyhow::Context;
use std::path::Path;
use std::time::Duration;

/// The figures of a benchmark.
#[derive(Default)]
pub struct Figures(Vec<serde_json::Value>);

impl Figures {
    /// Prints and keeps a figure.
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &str) {
        let name = name.into();
        println!("{name}: {value:.3} {unit}");
        self.0.push(serde_json::json!({"name": name, "value": value, "unit": unit}));
    }

    /// Writes what was kept.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(&self.0)?).with_context(|| format!("write {}", path.display()))
    }
}

/// How long something took, many times, in microseconds.
#[derive(Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// One more.
    pub fn add(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    /// All of another's.
    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Median, 99th percentile and the longest, in milliseconds.
    pub fn report(mut self, figures: &mut Figures, what: &str) -> anyhow::Result<()> {
        anyhow::ensure!(!self.0.is_empty(), "nothing was measured of: {what}");
        self.0.sort_unstable();
        let at = |share: f64| f64::from(self.0[((self.0.len() - 1) as f64 * share).round() as usize]) / 1_000.0;
        for (name, share) in [("median", 0.5), ("p99", 0.99), ("longest", 1.0)] {
            figures.add(format!("{what}: {name}"), at(share), "ms");
        }
        Ok(())
    }
}
