//! What the server is told: built-in defaults, then a file, then variables `RANTAI_…`, then the command line; each overrides the one
//! before it.

use crate::kafka::KafkaConfig;
use crate::store::{MERGE_WINDOWS_BLOCKS, Retention, StoreAddress};
use crate::travel;
use anyhow::{Context, ensure};
use domain::engine::{EngineConfig, Pairing};
use domain::event::Topic;
use domain::time::parse_rfc3339;
use domain::window::WindowConfig;
use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Options that say where the data is: those of the server and of administration.
#[derive(Clone, Default, Serialize, clap::Args)]
pub struct StoreArgs {
    /// File with options, TOML: each of these under its long name with `_` for `-`
    #[arg(long, env = "RANTAI_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Folder with the log and SQLite's database; made where absent [default: ./data]
    #[arg(long, env = "RANTAI_DATA_DIR", value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// Where state and results are kept: `sqlite`, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, better given as a variable or in a
    /// file, where others cannot see the password [default: sqlite]
    #[arg(long, env = "RANTAI_STORE", value_name = "ADDRESS", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Where admitted records are kept: `embedded` is files in the data directory, `kafka` is for several processes on one Postgres
    /// [default: embedded]
    #[arg(long, env = "RANTAI_LOG")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogKind>,
}

impl StoreArgs {
    /// The configuration with these options, and defaults for the others.
    pub fn resolve(&self) -> anyhow::Result<Config> {
        resolve(self.config.as_deref(), self)
    }
}

/// Options that decide what the log leads to, and for how long what is kept: those of whoever makes state or checks it.
#[derive(Clone, Default, Serialize, clap::Args)]
pub struct RulesArgs {
    /// Temperature windows in seconds: SIZE:DELAY, shortest first; sliding ones as SIZE/SLIDE:DELAY; sessions as `session GAP:DELAY`
    /// [default: 10:60,300:120]
    #[arg(long, env = "RANTAI_WINDOWS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<String>,
    /// Allowed lateness of temperature records, in seconds [default: 600]
    #[arg(long, env = "RANTAI_ALLOWED_LATENESS", value_name = "SECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_lateness: Option<i64>,
    /// For how many devices that nobody registered there is room, in each partition of the input: the first so many that are heard of.
    /// Records of others are rejected and kept [default: 100000]
    #[arg(long, env = "RANTAI_MAX_UNREGISTERED", value_name = "DEVICES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unregistered: Option<u32>,
    /// For how many days the log is kept: from it results can be computed again [default: 1826]
    #[arg(long, env = "RANTAI_KEEP_LOG_DAYS", value_name = "DAYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_log_days: Option<u32>,
    /// For how many days raw readings and positions are kept in Postgres, by their time [default: 1826]
    #[arg(long, env = "RANTAI_KEEP_READINGS_DAYS", value_name = "DAYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_readings_days: Option<u32>,
    /// For how many days closed windows are kept, by their start [default: 1826]
    #[arg(long, env = "RANTAI_KEEP_WINDOWS_DAYS", value_name = "DAYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_windows_days: Option<u32>,
    /// For how many days late records are kept, and dead letters of which something was decided; the others stay [default: 1826]
    #[arg(long, env = "RANTAI_KEEP_SIDE_DAYS", value_name = "DAYS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_side_days: Option<u32>,
    /// Blocks of closed windows of one size that are put together once there are so many, in SQLite. More are fewer writes, and more to
    /// read for a device's day [default: 256]
    #[arg(long, env = "RANTAI_MERGE_WINDOWS_BLOCKS", value_name = "BLOCKS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge_windows_blocks: Option<u32>,
}

/// Options of who makes state or checks it without serving anybody.
#[derive(Clone, Default, Serialize, clap::Args)]
pub struct StateArgs {
    /// Where the data is.
    #[command(flatten)]
    #[serde(flatten)]
    pub data: StoreArgs,
    /// What the log leads to.
    #[command(flatten)]
    #[serde(flatten)]
    pub rules: RulesArgs,
}

impl StateArgs {
    /// The configuration with these options, and defaults for the others.
    pub fn resolve(&self) -> anyhow::Result<Config> {
        resolve(self.data.config.as_deref(), self)
    }
}

/// Options that say where Kafka is and what is ours there.
#[derive(Clone, Default, Serialize, clap::Args)]
pub struct KafkaArgs {
    /// Kafka's brokers to begin with, HOST:PORT with commas [default: 127.0.0.1:9092]
    #[arg(long, env = "RANTAI_KAFKA_BROKERS", value_name = "BROKERS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_brokers: Option<String>,
    /// What the names of our topics and of the group begin with [default: rantai]
    #[arg(long, env = "RANTAI_KAFKA_PREFIX", value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_prefix: Option<String>,
    /// Topics to which others write bare readings under the id of the device, with commas [default: iot-metrics]
    #[arg(long, env = "RANTAI_KAFKA_TOPICS", value_name = "TOPICS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_topics: Option<String>,
    /// Option of Kafka's client library, KEY=VALUE, for TLS, names and passwords; may be repeated, in the variable with `;` between.
    /// Passwords are better given as a variable or in a file, where others cannot see them
    #[arg(
        long = "kafka-option",
        env = "RANTAI_KAFKA_OPTIONS",
        value_name = "KEY=VALUE",
        value_delimiter = ';',
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kafka_options: Vec<String>,
}

/// Options of `rantai kafka`.
#[derive(Clone, Default, Serialize, clap::Args)]
pub struct KafkaToolArgs {
    /// Where the data is.
    #[command(flatten)]
    #[serde(flatten)]
    pub data: StoreArgs,
    /// Where Kafka is.
    #[command(flatten)]
    #[serde(flatten)]
    pub kafka: KafkaArgs,
}

impl KafkaToolArgs {
    /// The configuration with these options, and defaults for the others.
    pub fn resolve(&self) -> anyhow::Result<Config> {
        resolve(self.data.config.as_deref(), self)
    }
}

/// Options of `rantai kafka verify` and `rebuild`.
#[derive(Clone, Default, Serialize, clap::Args)]
pub struct KafkaStateArgs {
    /// Where the data and Kafka are.
    #[command(flatten)]
    #[serde(flatten)]
    pub tool: KafkaToolArgs,
    /// What the log leads to.
    #[command(flatten)]
    #[serde(flatten)]
    pub rules: RulesArgs,
}

impl KafkaStateArgs {
    /// The configuration with these options, and defaults for the others.
    pub fn resolve(&self) -> anyhow::Result<Config> {
        resolve(self.tool.data.config.as_deref(), self)
    }
}

/// Options of `rantai serve`.
#[derive(Clone, Default, Serialize, clap::Args)]
pub struct ServeArgs {
    /// Where the data is.
    #[command(flatten)]
    #[serde(flatten)]
    pub data: StoreArgs,
    /// Address to listen on. Until sign-in exists only loopback is allowed [default: 127.0.0.1:3000]
    #[arg(long, env = "RANTAI_LISTEN")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Folder with the browser bundle and style sheets [default: `site` beside the folder of the program]
    #[arg(long, env = "RANTAI_SITE_DIR", value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site_dir: Option<PathBuf>,
    /// Where Kafka is.
    #[command(flatten)]
    #[serde(flatten)]
    pub kafka: KafkaArgs,
    /// What this process does, with commas: `web` shows pages and answers questions, `ingest` takes records in, `engine` processes them.
    /// Only with `log = kafka` may there be fewer than all [default: web,ingest,engine]
    #[arg(long, env = "RANTAI_ROLES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<String>,
    /// What the log leads to, and for how long it is kept.
    #[command(flatten)]
    #[serde(flatten)]
    pub rules: RulesArgs,
    /// File to which the newest closed window of every device is written every 5 seconds, replaced as a whole
    #[arg(long, env = "RANTAI_LATEST_FILE", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_file: Option<PathBuf>,
    /// Longest time between two checkpoints while anything changes, in milliseconds: as much of the log a restart reads again
    /// [default: 5000]
    #[arg(long, env = "RANTAI_CHECKPOINT_MS", value_name = "MS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_ms: Option<u64>,
    /// Start although the server's clock does not fit the end of the log: somebody has looked, and the clock is right. For one start:
    /// left on, it would pass over the next clock that is wrong
    #[arg(long, env = "RANTAI_ACCEPT_CLOCK", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_clock: Option<bool>,
    /// Mark this server as a demonstration. So far that changes nothing: there is no sign-in that it could shorten, data for a
    /// demonstration come from `rantai simulate`, and without it too only loopback is allowed
    #[arg(long, env = "RANTAI_DEMO", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = clap::builder::BoolishValueParser::new())]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demo: Option<bool>,
}

impl ServeArgs {
    /// The configuration with these options, and defaults for the others.
    pub fn resolve(&self) -> anyhow::Result<Config> {
        resolve(self.data.config.as_deref(), self)
    }
}

fn resolve(file: Option<&std::path::Path>, args: &impl Serialize) -> anyhow::Result<Config> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(file) = file {
        ensure!(file.is_file(), "there is no file {}", file.display());
        figment = figment.merge(Toml::file_exact(file));
    }
    let config: Config = figment.merge(Serialized::defaults(args)).extract().map_err(|error| at_line(error, file))?;
    config.check()?;
    Ok(config)
}

/// The error with the line of `file` that it is about, as far as the name of an option leads to one.
fn at_line(error: figment::Error, file: Option<&std::path::Path>) -> anyhow::Error {
    let name = match &error.kind {
        figment::error::Kind::UnknownField(name, _) => Some(name.clone()),
        _ => error.path.last().cloned(),
    };
    let is_of_file = error.metadata.as_ref().is_none_or(|of| of.source.is_some());
    let line = file.zip(name).filter(|_| is_of_file).and_then(|(file, name)| {
        let text = std::fs::read_to_string(file).ok()?;
        let is_it = |line: &str| line.trim_start().strip_prefix(&name).is_some_and(|rest| rest.trim_start().starts_with('='));
        Some(text.lines().position(is_it)? + 1)
    });
    match (line, file) {
        (Some(line), Some(file)) => anyhow::Error::new(error).context(format!("line {line} of {}", file.display())),
        _ => error.into(),
    }
}

/// Where admitted records are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// Files in the data directory.
    #[default]
    Embedded,
    /// Kafka.
    Kafka,
}

/// For how long anything may be kept: not for less than a day, at most for a hundred years.
const KEPT_DAYS: RangeInclusive<u32> = 1..=36_525;
/// One block alone is put together already; of more than this too much would be read for every question.
const MERGED_BLOCKS: RangeInclusive<u32> = 2..=4_096;

/// What a process may do.
const ROLES: [&str; 5] = ["web", "ingest", "engine", "notify", "jobs"];
/// What there is of it today.
const ROLES_NOW: [&str; 3] = ["web", "ingest", "engine"];

/// What this process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// It shows pages and answers questions.
    pub web: bool,
    /// It takes records in.
    pub ingest: bool,
    /// It processes them.
    pub engine: bool,
}

/// What the server is told, complete.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Folder with the log and SQLite's database.
    pub data_dir: PathBuf,
    /// Where state and results are kept. Not written back: it may hold a password.
    #[serde(skip_serializing)]
    pub store: StoreAddress,
    /// Where admitted records are kept.
    pub log: LogKind,
    /// Kafka's brokers to begin with.
    pub kafka_brokers: String,
    /// What the names of our topics and of the group begin with.
    pub kafka_prefix: String,
    /// Topics to which others write.
    pub kafka_topics: String,
    /// Options of Kafka's client library. Not written back: there may be a password among them.
    #[serde(skip_serializing)]
    pub kafka_options: Vec<String>,
    /// What this process does, with commas.
    pub roles: String,
    /// Folder with the browser bundle and style sheets.
    pub site_dir: Option<PathBuf>,
    /// File to which the newest closed windows are written.
    pub latest_file: Option<PathBuf>,
    /// Temperature windows: SIZE:DELAY, SIZE/SLIDE:DELAY, `session GAP:DELAY`, in seconds.
    pub windows: String,
    /// Allowed lateness of temperature records, in seconds.
    pub allowed_lateness: i64,
    /// What is told of single topics, by name. In a file only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, TopicConfig>,
    /// Which thermometers travel with which trackers, noted in the log where others are in force. In a file only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pairings: Vec<PairingConfig>,
    /// For how many devices that nobody registered there is room.
    pub max_unregistered: u32,
    /// Longest time between two checkpoints while anything changes, in milliseconds.
    pub checkpoint_ms: u64,
    /// For how many days the log is kept.
    pub keep_log_days: u32,
    /// For how many days raw readings and positions are kept.
    pub keep_readings_days: u32,
    /// For how many days closed windows are kept.
    pub keep_windows_days: u32,
    /// For how many days late records and dead letters are kept.
    pub keep_side_days: u32,
    /// Blocks of closed windows of one size that are put together once there are so many.
    pub merge_windows_blocks: u32,
    /// Whether the clock is right although it does not fit the end of the log.
    pub accept_clock: bool,
    /// Whether this is a demonstration: nothing asks yet.
    pub demo: bool,
}

/// What is told of a topic; what is not stands as it is for all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicConfig {
    /// Windows, in the words of the option of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<String>,
    /// Allowed lateness, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_lateness: Option<i64>,
}

/// A thermometer that travels with a tracker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairingConfig {
    /// Id of the tracker.
    pub tracker: String,
    /// Id of the device with the thermometer.
    pub device: String,
    /// From when, RFC 3339; always where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Until before when, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl PairingConfig {
    fn resolve(&self) -> anyhow::Result<Pairing> {
        let time = |text: &Option<String>, otherwise: i64| match text {
            None => Ok(otherwise),
            Some(text) => parse_rfc3339(text).with_context(|| format!("pairings: `{text}` is no RFC 3339 time with an offset")),
        };
        let (from_ms, to_ms) = (time(&self.from, i64::MIN)?, time(&self.to, i64::MAX)?);
        Ok(Pairing { tracker: self.tracker.clone(), device: self.device.clone(), from_ms, to_ms })
    }
}

impl Default for Config {
    fn default() -> Self {
        let keep = Retention::default();
        let kafka = KafkaConfig::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            data_dir: "./data".into(),
            store: StoreAddress::default(),
            log: LogKind::default(),
            kafka_brokers: kafka.brokers,
            kafka_prefix: kafka.prefix,
            kafka_topics: kafka.topics,
            kafka_options: kafka.options,
            roles: ROLES_NOW.join(","),
            site_dir: None,
            latest_file: None,
            windows: "10:60,300:120".to_owned(),
            allowed_lateness: 600,
            topics: BTreeMap::new(),
            pairings: Vec::new(),
            max_unregistered: EngineConfig::default().max_unregistered,
            checkpoint_ms: 5_000,
            keep_log_days: keep.log_days,
            keep_readings_days: keep.readings_days,
            keep_windows_days: keep.windows_days,
            keep_side_days: keep.side_days,
            merge_windows_blocks: MERGE_WINDOWS_BLOCKS,
            accept_clock: false,
            demo: false,
        }
    }
}

impl Config {
    /// Refuses what would open people's data to a network, and what does not exist yet.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.listen.ip().is_loopback(),
            "will not listen on {}: pages need no sign-in yet, so only loopback addresses (127.0.0.1, [::1]) are allowed",
            self.listen
        );
        let roles = self.roles()?;
        match self.log {
            LogKind::Embedded => {
                let all = Roles { web: true, ingest: true, engine: true };
                ensure!(
                    roles == all,
                    "the embedded log is one process's: leave `roles` at `{}`, or use `log = kafka`",
                    ROLES_NOW.join(",")
                );
            }
            LogKind::Kafka => {
                ensure!(
                    matches!(self.store, StoreAddress::Postgres(_)),
                    "`log = kafka` needs a store that several processes share: give `store` as postgres://…"
                );
                self.kafka().check()?;
            }
        }
        for (name, days) in [
            ("keep-log-days", self.keep_log_days),
            ("keep-readings-days", self.keep_readings_days),
            ("keep-windows-days", self.keep_windows_days),
            ("keep-side-days", self.keep_side_days),
        ] {
            ensure!(
                KEPT_DAYS.contains(&days),
                "{name}: {days} days cannot be: from {} to {}",
                KEPT_DAYS.start(),
                KEPT_DAYS.end()
            );
        }
        let merged = self.merge_windows_blocks;
        ensure!(
            MERGED_BLOCKS.contains(&merged),
            "merge-windows-blocks: {merged} blocks cannot be put together: from {} to {}",
            MERGED_BLOCKS.start(),
            MERGED_BLOCKS.end()
        );
        for name in self.topics.keys() {
            match Topic::from_name(name) {
                None => anyhow::bail!("topics: there is no topic `{name}`"),
                Some(Topic::Temperature) => {}
                Some(_) => anyhow::bail!("topics: `{name}` measures nothing that windows could hold"),
            }
        }
        self.engine_config()?;
        Ok(())
    }

    /// What this process does.
    pub fn roles(&self) -> anyhow::Result<Roles> {
        let mut roles = Roles::default();
        for role in self.roles.split(',').map(str::trim) {
            match role {
                "web" => roles.web = true,
                "ingest" => roles.ingest = true,
                "engine" => roles.engine = true,
                other if ROLES.contains(&other) => anyhow::bail!("the role `{other}` does not exist yet"),
                other => anyhow::bail!("`{other}` is no role: choose from {}", ROLES.join(", ")),
            }
        }
        Ok(roles)
    }

    /// How to reach Kafka, and what is ours there.
    pub fn kafka(&self) -> KafkaConfig {
        KafkaConfig {
            brokers: self.kafka_brokers.clone(),
            prefix: self.kafka_prefix.clone(),
            topics: self.kafka_topics.clone(),
            options: self.kafka_options.clone(),
        }
    }

    /// For how long what is kept.
    pub const fn retention(&self) -> Retention {
        Retention {
            log_days: self.keep_log_days,
            readings_days: self.keep_readings_days,
            windows_days: self.keep_windows_days,
            side_days: self.keep_side_days,
        }
    }

    /// The windows of the topic `temperature`.
    pub fn window_config(&self) -> anyhow::Result<WindowConfig> {
        let own = self.topics.get(Topic::Temperature.name());
        let text = own.and_then(|topic| topic.windows.as_deref()).unwrap_or(&self.windows);
        let lateness = own.and_then(|topic| topic.allowed_lateness).unwrap_or(self.allowed_lateness);
        WindowConfig::parse(text, lateness.saturating_mul(1_000)).with_context(|| format!("windows {text}"))
    }

    /// All that the engine is told.
    pub fn engine_config(&self) -> anyhow::Result<EngineConfig> {
        let pairings = self.pairings.iter().map(PairingConfig::resolve).collect::<anyhow::Result<Vec<_>>>()?;
        travel::check(&pairings).map_err(anyhow::Error::msg).context("pairings")?;
        let (windows, max_unregistered) = (self.window_config()?, self.max_unregistered);
        Ok(EngineConfig { windows, pairings, max_unregistered, ..EngineConfig::default() })
    }

    /// The folder of the bundle. One that somebody named has to be there; pages work without the one that nobody did, if poorly.
    pub fn site_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.site_dir {
            ensure!(dir.is_dir(), "site-dir: there is no folder {}", dir.display());
            return Ok(dir.clone());
        }
        let program = std::env::current_exe().context("find the program's own folder")?;
        Ok(program.parent().and_then(|dir| dir.parent()).unwrap_or(&program).join("site"))
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
