//! Master data as it is committed under `data/`, built into the program.

use anyhow::Context;
use domain::master::Master;
use std::io::Read;

fn inflate(bytes: &[u8]) -> std::io::Result<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes).read_to_string(&mut text)?;
    Ok(text)
}

/// The country's regions and facilities.
pub fn master() -> anyhow::Result<Master> {
    let regions = inflate(include_bytes!("../../data/hierarchy/regions.csv.gz")).context("inflate the regions")?;
    let facilities = inflate(include_bytes!("../../data/facilities/facilities.csv.gz")).context("inflate the facilities")?;
    Ok(Master::parse(include_str!("../../data/hierarchy/levels.csv"), &regions, &facilities)?)
}
