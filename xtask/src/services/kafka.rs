//! Apache Kafka from its own packages, fetched by Maven: one process that is broker and controller, on loopback.

use super::daemon::Daemon;
use super::{folder, free_port, make_folder, random};
use crate::setup;
use crate::workspace::{self, answer};
use anyhow::{Context, bail};
use rustix::process::Signal;
use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const VERSION: &str = "4.1.1";

/// A broker of the checks lives for minutes: what makes a long-lived one fast costs them a processor for ten seconds.
const SHORT_LIVED: [&str; 3] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData"];

/// What Maven is to fetch: Kafka and something for its log to go to.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>rantai</groupId>
  <artifactId>kafka-for-checks</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.1</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;

/// A broker, running or not.
pub struct Broker {
    folder: PathBuf,
    daemon: Daemon,
}

impl Broker {
    /// The broker whose files lie in `folder`.
    pub fn at(folder: &Path) -> Broker {
        Broker { folder: folder.to_path_buf(), daemon: Daemon::new("Kafka", folder) }
    }

    /// Its address, if it runs.
    pub fn address(&self) -> Option<String> {
        self.daemon.process()?;
        fs::read_to_string(self.folder.join("address")).ok()
    }

    /// Makes it afresh and starts it; its address. `options` are Java's.
    fn start(&self, options: &[&str]) -> anyhow::Result<String> {
        let libraries = libraries()?;
        self.remove()?;
        make_folder(&self.folder)?;
        let (port, controller) = (free_port(19092)?, free_port(19093)?);
        let properties = self.folder.join("server.properties");
        let data = self.folder.join("data");
        let settings = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             group.min.session.timeout.ms=1000\n\
             auto.create.topics.enable=false\n",
            data.display()
        );
        fs::write(&properties, settings).with_context(|| format!("write {}", properties.display()))?;
        let java = |main: &str| {
            let mut java = Command::new("java");
            java.current_dir(&self.folder).args(options).args(["-Xmx512m", "-cp"]).arg(libraries.join("*")).arg(main);
            java
        };
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "-t", &random()?[..22], "-c"]).arg(&properties);
        let done = format.output().context("start Java")?;
        if !done.status.success() {
            bail!("Kafka's folder was not made: {}", String::from_utf8_lossy(&done.stderr).trim());
        }
        let mut kafka = java("kafka.Kafka");
        kafka.arg(&properties).process_group(0); // Ctrl-C in this terminal is not for it
        // It listens once it has joined its own quorum.
        let is_ready = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        self.daemon.start(&mut kafka, Duration::from_mins(1), is_ready)?;
        let address = format!("127.0.0.1:{port}");
        fs::write(self.folder.join("address"), &address)?;
        Ok(address)
    }

    /// Makes it afresh and starts it; its address.
    pub fn up(&self) -> anyhow::Result<String> {
        self.start(&[])
    }

    /// Ends it and throws its data away. Whether it ran.
    pub fn down(&self) -> anyhow::Result<bool> {
        // Not in order, which takes seconds: of what it holds nothing is kept.
        let did_run = self.daemon.end(Signal::KILL)?;
        self.remove()?;
        Ok(did_run)
    }

    fn remove(&self) -> anyhow::Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).with_context(|| format!("remove {}", self.folder.display()))?;
        }
        Ok(())
    }
}

/// A broker of this process's own, thrown away with it.
pub struct Throwaway {
    broker: Broker,
    /// Its address.
    pub address: String,
    /// Where Kafka's libraries lie, for brokers that a check starts itself.
    pub libraries: PathBuf,
}

impl Throwaway {
    /// Starts one. What a run that was killed left behind is cleared away first.
    pub fn start() -> anyhow::Result<Throwaway> {
        const PREFIX: &str = "kafka-checks-";
        for entry in fs::read_dir(folder()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let run = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if run.is_some_and(|run| !Path::new("/proc").join(run).exists()) {
                Broker::at(&entry.path()).down()?;
            }
        }
        let broker = Broker::at(&folder().join(format!("{PREFIX}{}", std::process::id())));
        let address = broker.start(&SHORT_LIVED)?;
        Ok(Throwaway { broker, address, libraries: libraries()? })
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        if let Err(error) = self.broker.down() {
            println!("the Kafka of the checks was not cleared away: {error:#}");
        }
    }
}

/// The folder of Kafka's libraries, fetched where it is missing; all clones of this user share it.
fn libraries() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .unwrap_or_else(workspace::target_dir)
        .join("rantai");
    let libraries = cache.join(format!("kafka-{VERSION}"));
    let missing: Vec<&str> = [("java", "default-jre-headless"), ("mvn", "maven")]
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, p)| *p)
        .collect();
    if libraries.is_dir() && is_there("java") {
        return Ok(libraries);
    }
    if !missing.is_empty() {
        setup::install(&missing, "the checks on Kafka")?;
    }
    let aside = cache.join(format!("kafka-{VERSION}-{}", std::process::id()));
    fs::create_dir_all(&aside).with_context(|| format!("create {}", aside.display()))?;
    fs::write(aside.join("pom.xml"), POM)?;
    println!("fetching Kafka {VERSION}");
    let mut maven = Command::new("mvn");
    maven.current_dir(&aside).args([
        "--batch-mode",
        "--quiet",
        "-Dstyle.color=never",
        "dependency:copy-dependencies",
        "-DoutputDirectory=.",
    ]);
    workspace::succeed(&mut maven).context("fetch Kafka")?;
    // All of it or nothing: a fetch that was broken off must not look done.
    fs::rename(&aside, &libraries).with_context(|| format!("put Kafka into {}", libraries.display()))?;
    Ok(libraries)
}

fn is_there(program: &str) -> bool {
    answer(Command::new(program).arg("-version")).is_some()
}

/// Which version would be used, or what to install.
pub fn version() -> anyhow::Result<String> {
    if !is_there("java") {
        bail!("missing: Java 17 (apt-get install default-jre-headless maven)");
    }
    Ok(format!("Kafka {VERSION} on this machine's Java"))
}
