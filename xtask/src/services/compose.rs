//! The same services from their official images, where a Docker engine runs.

use super::{Service, random};
use crate::workspace::{self, answer};
use anyhow::Context;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Whether a Docker engine runs and its client knows `compose`.
pub fn is_available() -> bool {
    answer(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"])).is_some()
        && answer(Command::new("docker").args(["compose", "version"])).is_some()
}

fn password_file() -> PathBuf {
    workspace::target_dir().join("services").join("compose.password")
}

fn compose(password: &str) -> Command {
    let mut docker = Command::new("docker");
    docker
        .args(["compose", "--project-name", "rantai-services", "--file"])
        .arg(workspace::root().join("xtask/src/services/compose.yml"))
        .env("POSTGRES_PASSWORD", password);
    docker
}

/// Starts `chosen`, waits until they are healthy, and prints where each is to be reached.
pub fn up(chosen: &[Service]) -> anyhow::Result<()> {
    let file = password_file();
    let password = if let Ok(password) = fs::read_to_string(&file) {
        password
    } else {
        let password = random()?;
        fs::create_dir_all(file.parent().expect("it lies in a folder"))?;
        fs::write(&file, &password).with_context(|| format!("write {}", file.display()))?;
        password
    };
    let names = chosen.iter().map(|service| service.name());
    workspace::succeed(compose(&password).args(["up", "--detach", "--wait"]).args(names))?;
    for service in chosen {
        let address = match service {
            Service::Postgres => format!("postgres://rantai:{password}@127.0.0.1:54320/postgres"),
            Service::Kafka => "127.0.0.1:19092".to_owned(),
        };
        println!("{:<10} {address}", service.name());
    }
    Ok(())
}

/// Ends `chosen` and throws their data away.
pub fn down(chosen: &[Service]) -> anyhow::Result<()> {
    let names = chosen.iter().map(|service| service.name());
    workspace::succeed(compose("").args(["rm", "--stop", "--force", "--volumes"]).args(names))
}

/// Prints what of them runs.
pub fn status() {
    if let Err(error) = workspace::succeed(compose("").arg("ps")) {
        println!("{error:#}");
    }
}
