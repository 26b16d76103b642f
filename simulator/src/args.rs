//! The options of `rantai simulate`, and the plan that they amount to.

use crate::way::Disorder;
use anyhow::{Context, bail, ensure};
use domain::time::{EventTime, MINUTE_MS, parse_rfc3339};
use reqwest::Url;
use std::path::PathBuf;
use std::time::Duration;

/// Feed a server with the readings of a simulated country
///
/// Without --rate: the national fleet, a thermometer in every refrigerator of every facility, one reading per 5 minutes; the past
/// 24 hours are sent first, then real time. With --rate: the simple form, room sensors with bare messages (--devices 20 --rate
/// 10.0 sends 200 a second). The same seed and start give the same events.
#[derive(Clone, Debug, clap::Args)]
pub struct SimulateArgs {
    /// The server, by plain HTTP
    #[arg(long, env = "RANTAI_URL", value_parser = parse_address, default_value = "http://127.0.0.1:3000")]
    pub url: Url,
    /// API key with the scope `ingest` (`rantai key create --name N --scope ingest`)
    #[arg(long, env = "RANTAI_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// How many devices [default: all of the country; with --rate 8]
    #[arg(long)]
    pub devices: Option<usize>,
    /// Simple form: messages per device and second, up to 1000
    #[arg(long)]
    pub rate: Option<f64>,
    /// Share of the records that are late by the rules, 0 to 0.5 [default: 0.001; with --rate 0]
    ///
    /// Such a record tells a reading once more, under a time 1 ms beside, when its window and slot are closed: 11 to 45 minutes
    /// after it by the readings' own time, so the first ones come when so much has been sent. Clocks that ran ahead make a few
    /// more where the past is sent at once, whatever is asked for here.
    #[arg(long, value_name = "SHARE")]
    pub late: Option<f64>,
    /// Share of the records that are sent twice, 0 to 1 [default: 0.005; with --rate 0]
    #[arg(long, value_name = "SHARE")]
    pub duplicates: Option<f64>,
    /// Share of the records that are overtaken by the next one of their device, 0 to 1 [default: 0.005; with --rate 0]
    #[arg(long, value_name = "SHARE")]
    pub out_of_order: Option<f64>,
    /// Decides everything that chance decides
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How much faster than real time; above 1 the past is played at that speed instead of being sent at once
    #[arg(long, default_value_t = 1.0)]
    pub speed: f64,
    /// End so long after the past is sent (30s, 10m, 24h); 0s sends the past only [default: run until stopped]
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Add what really happened to this file, one JSON object a line; each run begins with one of its own
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
    /// How much of the past to send first [default: 24h; with --rate 0s]
    #[arg(long, value_parser = parse_duration)]
    pub backfill: Option<Duration>,
    /// Where the past ends and the run begins, RFC 3339 or epoch milliseconds [default: now, in full 5 minutes; with --rate in full seconds]
    #[arg(long, value_parser = parse_instant)]
    pub start: Option<EventTime>,
    /// Time between two readings of a thermometer (not with --rate)
    #[arg(long, value_parser = parse_duration, default_value = "5m", conflicts_with = "rate")]
    pub interval: Duration,
    /// How many connections
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// Most records in a request
    #[arg(long, default_value_t = 4_000)]
    pub batch: usize,
    /// Compress requests with zstd, for slow networks
    #[arg(long)]
    pub compress: bool,
}

/// What the clock of the run shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The time of day.
    RealTime,
    /// So many times faster from the run's start on, and the time of day once it has caught up.
    Faster(f64),
}

/// What to simulate, checked.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What reports.
    pub form: Form,
    /// How many devices; all there are if none.
    pub devices: Option<usize>,
    /// The seed.
    pub seed: u64,
    /// How records go astray.
    pub disorder: Disorder,
    /// First instant of the past that is sent at once.
    pub from: EventTime,
    /// Where it ends and the clock begins to run.
    pub start: EventTime,
    /// How the clock runs.
    pub pace: Pace,
    /// How long, by the time of day.
    pub duration: Option<Duration>,
}

/// What reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Thermometers of the national fleet with this interval.
    Thermometers {
        /// Time between two readings.
        interval_ms: i64,
    },
    /// Room sensors of the simple form.
    RoomSensors {
        /// Messages per device and second.
        rate: f64,
    },
}

const DAY: Duration = Duration::from_hours(24);
/// The default start of the fleet is a multiple of this.
const GRID_MS: i64 = 5 * MINUTE_MS;

impl SimulateArgs {
    /// The plan at `now`.
    pub fn plan(&self, now: EventTime) -> anyhow::Result<Plan> {
        let form = match self.rate {
            Some(rate) => {
                ensure!(rate > 0.0 && rate <= 1_000.0, "--rate {rate}: must be above 0 and at most 1000");
                Form::RoomSensors { rate }
            }
            None => Form::Thermometers { interval_ms: i64::try_from(self.interval.as_millis())? },
        };
        ensure!(self.interval >= Duration::from_millis(1), "--interval: must be at least 1ms");
        ensure!(self.devices != Some(0), "--devices 0: must be at least 1");
        ensure!(self.speed.is_finite() && self.speed >= 1.0, "--speed {}: must be at least 1", self.speed);
        ensure!((1..=64).contains(&self.connections), "--connections {}: must be 1 to 64", self.connections);
        ensure!((1..=10_000).contains(&self.batch), "--batch {}: a request holds 1 to 10000 records", self.batch);
        let national = self.rate.is_none();
        let share = |name: &str, given: Option<f64>, usual: f64| {
            let share = given.unwrap_or(if national { usual } else { 0.0 });
            ensure!((0.0..=1.0).contains(&share), "--{name} {share}: must be a share between 0 and 1");
            Ok(share)
        };
        let disorder = Disorder {
            late: share("late", self.late, 0.001)?,
            duplicates: share("duplicates", self.duplicates, 0.005)?,
            out_of_order: share("out-of-order", self.out_of_order, 0.005)?,
        };
        ensure!(
            disorder.late <= 0.5,
            "--late {}: a late record tells a reading once more, so at most half of all",
            disorder.late
        );
        let step_ms = self.rate.map_or(self.interval.as_secs_f64(), f64::recip) * 1_000.0;
        ensure!(
            disorder.late == 0.0 || step_ms >= 2.0,
            "--late {}: a late record has a time between two readings, and there is none: give --late 0 or readings 2 ms apart",
            disorder.late
        );
        let fast = self.speed > 1.0;
        let played = fast && self.start.is_none();
        let backfill = self.backfill.unwrap_or(match self.duration {
            Some(duration) if played => duration.mul_f64(self.speed),
            _ if national || played => DAY,
            _ => Duration::ZERO,
        });
        let back_ms = i64::try_from(backfill.as_millis()).context("--backfill: too long")?;
        // The fleet starts on its grid and catches up; the simple form has nothing to catch up with.
        let grid_ms = if national { GRID_MS } else { 1_000 };
        let aligned = EventTime::from_ms(now.ms() - now.ms().rem_euclid(grid_ms));
        if self.start.is_some_and(|start| start > now) {
            bail!("--start: lies in the future");
        }
        // Events may not be ahead of the server's clock, so whoever runs faster than it starts in the past.
        let (from, start, pace) = match (self.start, fast) {
            (None, false) => (aligned.plus_ms(-back_ms), aligned, Pace::RealTime),
            (None, true) => (aligned.plus_ms(-back_ms), aligned.plus_ms(-back_ms), Pace::Faster(self.speed)),
            (Some(start), _) => (start.plus_ms(-back_ms), start, Pace::Faster(self.speed)),
        };
        Ok(Plan { form, devices: self.devices, seed: self.seed, disorder, from, start, pace, duration: self.duration })
    }
}

/// `90s`, `10m`, `24h`, `2d`, `500ms`, or several of them: `1h30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| format!("`{text}` is not like 30s, 10m, 24h"))?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| at + digits);
        let seconds = match &rest[digits..unit_end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "" if number == 0.0 => 1.0,
            _ => return Err(format!("`{text}`: write the unit, ms, s, m, h or d")),
        };
        total += Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("`{text}` is too long"))?;
        rest = &rest[unit_end..];
    }
    if text.trim().is_empty() { Err("empty; write for example 10m".into()) } else { Ok(total) }
}

/// An address that can be sent to. One with TLS cannot: tried again and again like a server that is down, it would look like one.
fn parse_address(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("not an address like http://127.0.0.1:3000: {error}"))?;
    match url.scheme() {
        "http" => Ok(url),
        "https" => Err("this program speaks plain HTTP, it has no TLS. Run it on the server's own machine with --url \
            http://127.0.0.1:3000, or through a tunnel (ssh -L 3000:127.0.0.1:3000 SERVER)"
            .into()),
        other => Err(format!("`{other}:` is not http: write the address like http://127.0.0.1:3000")),
    }
}

fn parse_instant(text: &str) -> Result<EventTime, String> {
    let ms = text.parse().ok().or_else(|| parse_rfc3339(text));
    ms.map(EventTime::from_ms).ok_or_else(|| format!("`{text}` is neither RFC 3339 nor epoch milliseconds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn plan(options: &str) -> anyhow::Result<Plan> {
        let cli = Cli::try_parse_from(std::iter::once("simulate").chain(options.split_whitespace()))?;
        cli.args.plan(EventTime::from_ms(NOW))
    }

    const NOW: i64 = 1_795_245_123_456;
    const SECOND: i64 = 1_795_245_123_000;
    const GRID: i64 = 1_795_245_000_000;
    const HOUR: i64 = 3_600_000;

    #[track_caller]
    fn check(options: &str, from: i64, start: i64, pace: Pace) {
        let plan = plan(options).expect(options);
        assert_eq!((plan.from.ms(), plan.start.ms(), plan.pace), (from, start, pace), "{options}");
    }

    #[test]
    fn plans() {
        check("", GRID - 24 * HOUR, GRID, Pace::RealTime);
        check("--devices 20 --rate 10.0", SECOND, SECOND, Pace::RealTime);
        check("--backfill 1h30m", GRID - 3 * HOUR / 2, GRID, Pace::RealTime);
        check("--speed 60", GRID - 24 * HOUR, GRID - 24 * HOUR, Pace::Faster(60.0));
        check("--speed 60 --rate 1 --duration 1m", SECOND - HOUR, SECOND - HOUR, Pace::Faster(60.0));
        check("--start 1795000000000 --backfill 1h", 1_795_000_000_000 - HOUR, 1_795_000_000_000, Pace::Faster(1.0));
        check(
            "--rate 1 --speed 60 --start 1795000000000 --duration 1m",
            1_795_000_000_000,
            1_795_000_000_000,
            Pace::Faster(60.0),
        );
        check("--start 2026-11-18T10:26:40Z --backfill 0", 1_794_997_600_000, 1_794_997_600_000, Pace::Faster(1.0));
        let national = plan("").expect("valid").disorder;
        assert_eq!(national, Disorder { late: 0.001, duplicates: 0.005, out_of_order: 0.005 });
        assert_eq!(plan("--rate 4 --late 0.1").expect("valid").disorder, Disorder { late: 0.1, ..Disorder::default() });
    }

    #[test]
    fn what_cannot_be() {
        for options in [
            "--rate 0",
            "--rate 1001",
            "--rate NaN",
            "--speed 0.5",
            "--late 2",
            "--devices 0",
            "--batch 10001",
            "--connections 0",
            "--start 1795245123457",
            "--backfill 5",
            "--backfill h",
            "--rate 1 --interval 1s",
            "--late 0.51",
            "--rate 501 --late 0.1",
            "--interval 1ms",
            "--url localhost:3000",
            "--url 127.0.0.1:3000",
            "--url ftp://127.0.0.1",
            "--url http://",
        ] {
            assert!(plan(options).is_err(), "{options}");
        }
    }

    #[test]
    fn an_address_with_tls_is_refused_with_what_to_do() {
        for url in ["https://rantai.example", "HTTPS://rantai.example:3000/below"] {
            let error = plan(&format!("--url {url}")).expect_err("no TLS").to_string();
            assert!(error.contains("--url") && error.contains("no TLS") && error.contains("ssh -L"), "{error}");
        }
        for url in ["http://127.0.0.1:3000", "http://[::1]:3000", "http://rantai.example/below"] {
            plan(&format!("--url {url}")).expect(url);
        }
    }
}
