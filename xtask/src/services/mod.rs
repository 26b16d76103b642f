//! `cargo xtask services up|down|status`: a real Postgres and a real Kafka on this machine, for the checks and for trying things out.
//!
//! From official images where a Docker engine runs, otherwise from packages. Their data is thrown away with `down`: nothing that
//! matters belongs here.

mod compose;
mod daemon;
mod kafka;
mod postgres;

use kafka::Throwaway as ThrowawayKafka;
use postgres::{Durability, Throwaway as ThrowawayPostgres};

use crate::workspace;
use anyhow::Context;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Postgres and a Kafka for checks, thrown away with this value.
pub struct Throwaways {
    postgres: ThrowawayPostgres,
    kafka: ThrowawayKafka,
}

impl Throwaways {
    /// Starts them, as fast as they are for checks.
    pub fn start() -> anyhow::Result<Throwaways> {
        Self::start_with(Durability::Process)
    }

    /// Starts them as they are in production, so that figures measured on them count.
    pub fn start_durable() -> anyhow::Result<Throwaways> {
        Self::start_with(Durability::Full)
    }

    fn start_with(durability: Durability) -> anyhow::Result<Throwaways> {
        let postgres = ThrowawayPostgres::start(durability).context("set up Postgres for the checks")?;
        let kafka = ThrowawayKafka::start().context("set up Kafka for the checks")?;
        Ok(Throwaways { postgres, kafka })
    }

    /// Tells `command` where they are.
    pub fn told_to<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("RANTAI_TEST_POSTGRES", &self.postgres.address)
            .env("RANTAI_TEST_KAFKA", &self.kafka.address)
            .env("RANTAI_TEST_KAFKA_LIBRARIES", &self.kafka.libraries)
    }
}

/// A service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    /// Postgres 15 or newer
    Postgres,
    /// Apache Kafka 4.1.1, one broker
    Kafka,
}

impl Service {
    /// Every one.
    const ALL: [Service; 2] = [Service::Postgres, Service::Kafka];

    fn name(self) -> &'static str {
        match self {
            Service::Postgres => "postgres",
            Service::Kafka => "kafka",
        }
    }

    fn folder(self) -> PathBuf {
        folder().join(self.name())
    }

    /// Where it is to be reached, if it runs.
    fn address(self) -> Option<String> {
        match self {
            Service::Postgres => postgres::Cluster::at(&self.folder()).address(),
            Service::Kafka => kafka::Broker::at(&self.folder()).address(),
        }
    }
}

/// `chosen`, or all where none was.
fn or_all(chosen: &[Service]) -> &[Service] {
    if chosen.is_empty() { &Service::ALL } else { chosen }
}

/// `cargo xtask services up`: starts what does not run yet, and prints where each is to be reached.
pub fn up(chosen: &[Service]) -> anyhow::Result<()> {
    let chosen = or_all(chosen);
    if compose::is_available() {
        return compose::up(chosen);
    }
    for service in chosen {
        let address = match (service.address(), service) {
            (Some(address), _) => address,
            (None, Service::Postgres) => postgres::Cluster::at(&service.folder()).up(free_port(54320)?, Durability::Full)?,
            (None, Service::Kafka) => kafka::Broker::at(&service.folder()).up()?,
        };
        println!("{:<10} {address}", service.name());
    }
    Ok(())
}

/// `cargo xtask services down`: ends what `up` started, and throws its data away.
pub fn down(chosen: &[Service]) -> anyhow::Result<()> {
    let chosen = or_all(chosen);
    if compose::is_available() {
        return compose::down(chosen);
    }
    for service in chosen {
        let did_run = match service {
            Service::Postgres => postgres::Cluster::at(&service.folder()).down()?,
            Service::Kafka => kafka::Broker::at(&service.folder()).down()?,
        };
        println!("{:<10} {}", service.name(), if did_run { "stopped" } else { "did not run" });
    }
    Ok(())
}

/// What of it runs, for `cargo xtask services status`.
pub fn status() {
    if compose::is_available() {
        return compose::status();
    }
    println!("{:<10} {}", "postgres", postgres::version().unwrap_or_else(|error| format!("{error:#}")));
    println!("{:<10} {}", "kafka", kafka::version().unwrap_or_else(|error| format!("{error:#}")));
    for service in Service::ALL {
        println!("{:<10} {}", service.name(), service.address().map_or("not running".to_owned(), |at| format!("running: {at}")));
    }
}

/// Where the services of this target folder keep what they need.
///
/// Postgres refuses to run as root, and another account cannot reach a target folder below `/root`: root's services live in the
/// folder for temporary files.
fn folder() -> PathBuf {
    let target = workspace::target_dir();
    if !is_root() {
        return target.join("services");
    }
    let mut hasher = DefaultHasher::new();
    target.hash(&mut hasher);
    std::env::temp_dir().join(format!("rantai-services-{:08x}", hasher.finish() as u32))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes `folder`, in which others may look for what is theirs.
fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let parent = folder.parent().expect("a service has a folder of its own");
    for folder in [parent, folder] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).with_context(|| format!("open {}", folder.display()))?;
    }
    Ok(())
}

/// `wanted` if nothing listens there, else any free port.
fn free_port(wanted: u16) -> anyhow::Result<u16> {
    let free = TcpListener::bind(("127.0.0.1", wanted)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    Ok(free.context("find a free port")?.local_addr()?.port())
}

/// 16 random bytes in hexadecimal digits: a password, or the name of a cluster.
fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("read random bytes")?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}
