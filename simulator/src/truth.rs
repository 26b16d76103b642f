//! The ground truth: what really happened, one JSON object a line, for whoever wants to judge what the server made of it.
//!
//! - `{"kind":"run","seed","devices","from","interval_ms"}`: the first line of a run
//! - `{"kind":"excursion","device_id","start","end","peak","cause"}`: by the true temperature at each interval, told or not;
//!   `end` is the first instant back in range, null if the run ended before
//! - `{"kind":"outage","district","start","end"}`: a blackout
//! - `{"kind":"fault","device_id" or "facility","fault","start","end"}`; of the simple form the messages that say `error`
//!
//! Outages and faults are written when they begin (or when the run does), with the end that they will have.

use crate::faults::Spell;
use domain::milli::Milli;
use domain::time::EventTime;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fact<'a> {
    /// What was simulated.
    Run {
        /// The seed.
        seed: u64,
        /// How many sensors.
        devices: usize,
        /// First instant.
        from: Instant,
        /// Interval between readings of a sensor.
        interval_ms: i64,
    },
    /// A true time out of range.
    Excursion {
        /// Which sensor.
        device_id: &'a str,
        /// First reading out of range.
        start: Instant,
        /// First reading in range again.
        end: Option<Instant>,
        /// Farthest outside, °C.
        peak: f64,
        /// Why.
        cause: &'static str,
    },
    /// A blackout.
    Outage {
        /// Code of the region without mains.
        district: &'a str,
        /// First instant.
        start: Instant,
        /// First instant after it.
        end: Instant,
    },
    /// Something broken.
    Fault {
        /// Which sensor, where it is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        device_id: Option<&'a str>,
        /// Which facility, where all its sensors are hit.
        #[serde(skip_serializing_if = "Option::is_none")]
        facility: Option<&'a str>,
        /// What is broken.
        fault: &'static str,
        /// First instant.
        start: Instant,
        /// First instant after it.
        end: Instant,
    },
}

/// An instant, written as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub EventTime);

impl Serialize for Instant {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// An excursion that is not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// First reading out of range.
    pub start: EventTime,
    /// Farthest outside so far.
    pub peak: Milli,
    /// Why, at its peak.
    pub cause: &'static str,
}

/// Where the truth is written, or nowhere.
pub struct Truth {
    file: Option<Box<dyn Write + Send>>,
    /// The first failure to write; the run goes on and tells at its end.
    failure: Option<io::Error>,
}

impl Truth {
    /// Written to the file at `path`, after what runs before wrote there: what they sent is still to be judged.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        Ok(Self::to(BufWriter::new(OpenOptions::new().append(true).create(true).open(path)?)))
    }

    /// Written to `file`.
    pub fn to(file: impl Write + Send + 'static) -> Self {
        Self { file: Some(Box::new(file)), failure: None }
    }

    /// Forgotten.
    pub fn nowhere() -> Self {
        Self { file: None, failure: None }
    }

    /// Writes a line.
    pub fn tell(&mut self, fact: &Fact) {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(fact).expect("a fact has text keys and plain values only");
            line.push(b'\n');
            if let Err(error) = file.write_all(&line) {
                self.failure.get_or_insert(error);
                self.file = None;
            }
        }
    }

    /// Writes an excursion that ended at `end`, or with the run.
    pub fn excursion(&mut self, device_id: &str, open: &Open, end: Option<EventTime>) {
        self.tell(&Fact::Excursion {
            device_id,
            start: Instant(open.start),
            end: end.map(Instant),
            peak: open.peak.as_f64(),
            cause: open.cause,
        });
    }

    /// Writes a fault of one sensor.
    pub fn device_fault(&mut self, device_id: &str, fault: &'static str, spell: Spell) {
        let (start, end) = (Instant(spell.start), Instant(spell.end));
        self.tell(&Fact::Fault { device_id: Some(device_id), facility: None, fault, start, end });
    }

    /// Hands all lines to the file; the first failure so far, if there was one.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}
