//! Postgres from the system's packages: a cluster in a folder of its own, on loopback, with a password of its own.

use super::daemon::Daemon;
use super::{folder, free_port, is_root, make_folder, random};
use crate::setup;
use crate::workspace::{self, answer};
use anyhow::{Context, bail, ensure};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The oldest that will do.
const OLDEST: u32 = 15;

/// Whether what it confirms must outlive the machine's power.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As in production: figures measured on it count.
    Full,
    /// Faster, for the checks: what it confirms outlives its process, not the machine.
    Process,
}

/// A cluster, running or not.
pub struct Cluster {
    folder: PathBuf,
    daemon: Daemon,
}

impl Cluster {
    /// The cluster whose files lie in `folder`.
    pub fn at(folder: &Path) -> Cluster {
        Cluster { folder: folder.to_path_buf(), daemon: Daemon::new("Postgres", folder) }
    }

    /// Its address, with the password, if it runs.
    pub fn address(&self) -> Option<String> {
        self.daemon.process()?;
        fs::read_to_string(self.folder.join("address")).ok()
    }

    /// Makes it afresh and starts it on `port`; its address.
    pub fn up(&self, port: u16, durability: Durability) -> anyhow::Result<String> {
        let programs = programs_or_install()?;
        let account = Account::find()?;
        self.remove()?;
        make_folder(&self.folder)?;
        let data = self.folder.join("data");
        fs::create_dir(&data).with_context(|| format!("create {}", data.display()))?;
        let password = random()?;
        let password_file = self.folder.join("password");
        write_private(&password_file, &password)?;
        account.give(&data)?;
        account.give(&password_file)?;
        let mut initdb = account.command(&programs.join("initdb"));
        initdb
            .arg("--pgdata")
            .arg(&data)
            .arg("--pwfile")
            .arg(&password_file)
            .args([
                "--username=rantai",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--no-instructions",
            ])
            .stdout(fs::File::create(&self.daemon.log)?);
        workspace::succeed(&mut initdb).context("make a Postgres cluster")?;

        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            "max_connections=200".to_owned(),
            "shared_buffers=256MB".to_owned(),
            "max_wal_size=2GB".to_owned(),
        ];
        if durability == Durability::Process {
            settings.extend(["fsync=off", "full_page_writes=off", "synchronous_commit=off"].map(str::to_owned));
        }
        let mut postgres = account.command(&programs.join("postgres"));
        postgres.arg("-D").arg(&data);
        for setting in &settings {
            postgres.args(["-c", setting]);
        }
        if durability == Durability::Full {
            // It runs on: Ctrl-C in this terminal is not for it.
            postgres.process_group(0);
        }
        let is_ready = || {
            let mut ask = Command::new(programs.join("pg_isready"));
            answer(ask.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--timeout", "1"])).is_some()
        };
        self.daemon.start(&mut postgres, Duration::from_secs(30), is_ready)?;
        let address = format!("postgres://rantai:{password}@127.0.0.1:{port}/postgres");
        write_private(&self.folder.join("address"), &address)?;
        Ok(address)
    }

    /// Ends it and throws its data away. Whether it ran.
    pub fn down(&self) -> anyhow::Result<bool> {
        // The fast way: open connections are broken off, what is committed is written.
        let did_run = self.daemon.end(Signal::INT)?;
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

/// A cluster for one run of the checks, gone when dropped.
pub struct Throwaway {
    cluster: Cluster,
    /// Its address, with the password.
    pub address: String,
}

impl Throwaway {
    /// Starts one. What a run that was killed left behind is cleared away first.
    pub fn start(durability: Durability) -> anyhow::Result<Throwaway> {
        const PREFIX: &str = "checks-";
        for entry in fs::read_dir(folder()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let run = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if run.is_some_and(|run| !Path::new("/proc").join(run).exists()) {
                Cluster::at(&entry.path()).down()?;
            }
        }
        let cluster = Cluster::at(&folder().join(format!("{PREFIX}{}", std::process::id())));
        let address = cluster.up(free_port(0)?, durability)?;
        Ok(Throwaway { cluster, address })
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        if let Err(error) = self.cluster.down() {
            println!("the Postgres of the checks was not cleared away: {error:#}");
        }
    }
}

/// Who Postgres runs as: ourselves, or where we are root, whom it refuses, an account without rights.
struct Account(Option<(u32, u32)>);

impl Account {
    fn find() -> anyhow::Result<Account> {
        if !is_root() {
            return Ok(Account(None));
        }
        let accounts = fs::read_to_string("/etc/passwd").context("look for the account `postgres`")?;
        let ids_of = |name: &str| {
            let mut fields = accounts.lines().map(|line| line.split(':')).find(|line| line.clone().next() == Some(name))?;
            Some((fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        let ids = ids_of("postgres").or_else(|| ids_of("nobody"));
        Ok(Account(Some(ids.context("Postgres does not run as root, and there is neither an account `postgres` nor `nobody`")?)))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // The current folder may be closed to that account.
        command.current_dir("/").env_remove("PGDATA").env("LC_ALL", "C");
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }

    fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((user, group)) = self.0 {
            chown(path, Some(user), Some(group)).with_context(|| format!("give {} to its account", path.display()))?;
        }
        Ok(())
    }
}

fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(path).with_context(|| format!("write {}", path.display()))?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(())
}

/// The folder with `initdb` and `postgres`: Debian keeps them off the path, one folder a version.
fn programs() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    let on_path = answer(Command::new("pg_config").arg("--bindir")).map(PathBuf::from);
    if let Some(folder) = on_path
        && let Some(version) = major_version(&folder)
    {
        versions.push((version, folder));
    }
    versions.retain(|(version, folder)| *version >= OLDEST && folder.join("initdb").exists());
    versions.sort();
    versions.pop().map(|(_, folder)| folder)
}

fn major_version(folder: &Path) -> Option<u32> {
    let line = answer(Command::new(folder.join("postgres")).arg("--version"))?;
    line.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok())
}

fn programs_or_install() -> anyhow::Result<PathBuf> {
    if let Some(found) = programs() {
        return Ok(found);
    }
    setup::install(&["postgresql"], "the checks on Postgres")?;
    programs().with_context(|| format!("the package `postgresql` brought no Postgres {OLDEST} or newer"))
}

/// Which version is there, or what to install.
pub fn version() -> anyhow::Result<String> {
    let Some(programs) = programs() else {
        bail!("missing: Postgres {OLDEST} or newer (apt-get install postgresql)");
    };
    let line = answer(Command::new(programs.join("postgres")).arg("--version"));
    ensure!(line.is_some(), "{} does not start", programs.join("postgres").display());
    Ok(line.unwrap_or_default())
}
