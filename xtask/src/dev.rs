//! `cargo xtask dev`: debug build with the simulator, rebuilt and restarted when a source changes.
//!
//! Looks at the files' times twice a second: the tree is small, and no watcher has to be right about every editor.

use crate::process::Stop;
use crate::product::{self, Flavour, Product};
use crate::run::{Options, Running};
use crate::{bundle, workspace};
use std::time::{Duration, SystemTime};

/// What has to be made again.
#[derive(Clone, Copy, Default)]
struct Changed {
    bundle: bool,
    files: bool,
    server: bool,
}

impl Changed {
    fn any(self) -> bool {
        self.bundle || self.files || self.server
    }
}

/// Runs until Ctrl-C.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut seen = SystemTime::now();
    let product = product::build(Flavour::Debug)?;
    let stop = Stop::on_signal()?;
    let mut running = started(options, &product, &stop);
    while !stop.came() {
        std::thread::sleep(Duration::from_millis(500));
        if let Some(Err(error)) = running.as_mut().map(Running::check) {
            println!("{error:#}\nwaiting for a change");
            running = None;
        }
        let now = SystemTime::now();
        let changed = changes_since(seen)?;
        if !changed.any() {
            continue;
        }
        seen = now;
        if let Err(error) = rebuild(changed, &product) {
            println!("{error:#}\nwaiting for a change");
        } else if changed.server || running.is_none() {
            drop(running.take());
            running = started(options, &product, &stop);
        } else {
            println!("done: reload the page");
        }
    }
    Ok(())
}

fn started(options: &Options, product: &Product, stop: &Stop) -> Option<Running> {
    match Running::start(options, product, stop) {
        Ok(running) => {
            println!("\n  running: {}\n", running.address);
            Some(running)
        }
        Err(error) => {
            println!("{error:#}\nwaiting for a change");
            None
        }
    }
}

fn changes_since(seen: SystemTime) -> anyhow::Result<Changed> {
    let newer = |folders: &[&str]| -> anyhow::Result<bool> {
        for folder in folders {
            for file in workspace::files_below(&workspace::root().join(folder))? {
                // A file that went away between listing and looking is a change as well.
                if std::fs::metadata(&file).and_then(|file| file.modified()).map_or(true, |modified| modified > seen) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    };
    let shared = newer(&["domain/src", "app"])?;
    Ok(Changed {
        bundle: shared || newer(&["frontend/src"])?,
        files: newer(&["style", "public"])?,
        server: shared || newer(&["server", "simulator/src", "data/facilities", "data/hierarchy", "data/map"])?,
    })
}

fn rebuild(changed: Changed, product: &Product) -> anyhow::Result<()> {
    if changed.files {
        println!("changed: styles or static files");
        product::place_static_files(&product.site, Flavour::Debug)?;
    }
    if changed.bundle {
        println!("changed: browser bundle");
        product::place_bundle(&bundle::compile("dev")?, &product.site, Flavour::Debug)?;
    }
    if changed.server {
        println!("changed: server");
        product::build_server(Flavour::Debug)?;
    }
    Ok(())
}
