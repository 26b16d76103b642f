//! The benchmarks: one line per figure, JSON beside it with `--out`. Run by `cargo xtask bench [NAME]`, one file each.
//!
//! The server under load is the release binary in a process of its own; the load comes from this process.

mod bare;
mod devices;
mod engine;
mod events;
mod figures;
mod ingest;
mod kafka;
mod live;
mod log;
mod pages;
mod program;
mod restart;
mod single;
mod soak;
mod sse;
mod storm;
mod windows;
mod windows_cost;

use anyhow::{Context, bail};
use figures::Figures;
use std::path::PathBuf;
use std::time::Duration;

/// In the order in which all of them run. The last two are an hour long when they count: `--seconds 3600`.
const NAMES: [&str; 17] = [
    "engine",
    "ingest",
    "flat",
    "cost",
    "single",
    "log",
    "live",
    "sse",
    "pages",
    "windows",
    "windows-cost",
    "restart",
    "storm",
    "devices",
    "kafka",
    "soak",
    "soak-fast",
];

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (mut names, mut out, mut seconds, mut hours) = (Vec::new(), None, 20, 24);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" => out = Some(PathBuf::from(args.next().context("--out FOLDER")?)),
            "--seconds" => seconds = args.next().context("--seconds N")?.parse()?,
            "--hours" => hours = args.next().context("--hours N")?.parse()?,
            "bare-server" => return bare::run(&PathBuf::from(args.next().context("bare-server FILE")?)),
            name if NAMES.contains(&name) => names.push(name.to_owned()),
            other => bail!("there is no benchmark `{other}`: choose from {}", NAMES.join(", ")),
        }
    }
    if names.is_empty() {
        names = NAMES.map(str::to_owned).to_vec();
    }
    let length = Duration::from_secs(seconds);
    for name in names {
        let mut figures = Figures::default();
        match name.as_str() {
            "engine" => engine::run(&mut figures)?,
            "ingest" => ingest::run(&mut figures, length)?,
            "flat" => ingest::flat(&mut figures, length.min(Duration::from_secs(5)))?,
            "cost" => ingest::cost(&mut figures, length.min(Duration::from_secs(10)))?,
            "single" => single::run(&mut figures, length)?,
            "log" => log::run(&mut figures)?,
            "live" => live::run(&mut figures, length)?,
            "sse" => sse::run(&mut figures, length)?,
            "pages" => pages::run(&mut figures, length)?,
            "restart" => restart::run(&mut figures)?,
            "storm" => storm::run(&mut figures)?,
            "devices" => devices::run(&mut figures, length.min(Duration::from_secs(10)))?,
            "kafka" => kafka::run(&mut figures, hours)?,
            "soak" => soak::run(&mut figures, length)?,
            "soak-fast" => soak::run_fast(&mut figures, length)?,
            "windows-cost" => windows_cost::run(&mut figures)?,
            _ => windows::run(&mut figures)?,
        }
        if let Some(out) = &out {
            figures.write(&out.join(format!("{name}.json")))?;
        }
    }
    Ok(())
}
