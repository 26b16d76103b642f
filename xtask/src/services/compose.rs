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

#[cfg(test)]
mod tests {
    use super::*;
    use yaml_rust2::{Yaml, YamlLoader};

    /// No Docker engine runs here: what can be told of the files without one.
    fn check(path: &str, services: &[&str], healthy: &[&str]) {
        let text = fs::read_to_string(workspace::root().join(path)).expect("reads");
        let file = YamlLoader::load_from_str(&text).expect("is YAML").remove(0);
        let names: Vec<_> = map(&file["services"]).map(|(name, _)| name).collect();
        assert_eq!(names, services, "{path}");
        let volumes: Vec<_> = file["volumes"].as_hash().into_iter().flatten().filter_map(|(name, _)| name.as_str()).collect();
        for (name, service) in map(&file["services"]) {
            let has_check = field(service, "healthcheck").is_some_and(|check| field(check, "test").is_some());
            assert_eq!(has_check, healthy.contains(&name), "{path}: the health check of {name}");
            assert!(["image", "build"].iter().any(|key| field(service, key).is_some()), "{path}: {name} comes from nowhere");
            for volume in field(service, "volumes").into_iter().flat_map(list) {
                let volume = volume.split(':').next().unwrap_or_default();
                assert!(volumes.contains(&volume), "{path}: the volume {volume} of {name} is not declared");
            }
            for port in field(service, "ports").into_iter().flat_map(list) {
                assert!(port.starts_with("127.0.0.1:"), "{path}: {name} listens on {port}");
            }
            for other in field(service, "depends_on").into_iter().flat_map(map) {
                assert!(names.contains(&other.0), "{path}: {name} waits for {}", other.0);
            }
        }
        // Whoever starts it gives the passwords.
        let words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
        for (before, word) in words.clone().zip(words.skip(1)) {
            let is_password = before.ends_with("PASSWORD:") || word.contains("://rantai:");
            let value = word.split_once("://rantai:").map_or(word, |(_, value)| value);
            assert!(!is_password || value.starts_with("${"), "{path}: {word}");
        }
    }

    fn map(yaml: &Yaml) -> impl Iterator<Item = (&str, &Yaml)> {
        yaml.as_hash().into_iter().flatten().filter_map(|(key, value)| Some((key.as_str()?, value)))
    }

    fn list(yaml: &Yaml) -> impl Iterator<Item = &str> {
        yaml.as_vec().into_iter().flatten().filter_map(Yaml::as_str)
    }

    /// A field of a map, or of the one that is merged into it.
    fn field<'y>(yaml: &'y Yaml, name: &str) -> Option<&'y Yaml> {
        map(yaml)
            .find_map(|(key, value)| (key == name).then_some(value))
            .or_else(|| map(yaml).find(|(key, _)| *key == "<<").and_then(|(_, merged)| field(merged, name)))
    }

    #[test]
    fn compose_files_are_whole() {
        let services = ["postgres", "kafka", "setup", "engine-1", "engine-2", "web", "simulator"];
        check("docker-compose.yml", &services, &["postgres", "kafka", "engine-1", "engine-2", "web"]);
        check("xtask/src/services/compose.yml", &["postgres", "kafka"], &["postgres", "kafka"]);
    }
}
