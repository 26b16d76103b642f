//! The product as files: the server's binary and the site it serves, each step skipped while its inputs are unchanged.

use crate::stamp::Fingerprint;
use crate::{bundle, compress, css, stamp, workspace};
use anyhow::Context;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What to build for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Small and fast, files compressed: what is shipped.
    Release,
    /// Quick to build, with names in stack traces.
    Debug,
}

impl Flavour {
    fn name(self) -> &'static str {
        match self {
            Flavour::Release => "release",
            Flavour::Debug => "debug",
        }
    }
}

/// Where the parts of a finished build lie.
pub struct Product {
    /// The binary `rantai`.
    pub server: PathBuf,
    /// The folder for `--site-dir`.
    pub site: PathBuf,
}

impl Product {
    /// Where a build of this flavour puts its parts.
    pub fn of(flavour: Flavour) -> Product {
        let target = workspace::target_dir();
        let site = match flavour {
            Flavour::Release => "site",
            Flavour::Debug => "site-debug",
        };
        Product { server: target.join(flavour.name()).join("rantai"), site: target.join(site) }
    }
}

/// What `build` takes.
#[derive(clap::Args)]
pub struct Options {
    /// With TLS and SASL for Kafka, which need OpenSSL and its headers
    #[arg(long)]
    kafka_tls: bool,
}

/// `cargo xtask build`.
pub fn build_for_shipping(options: &Options) -> anyhow::Result<Product> {
    build_with(Flavour::Release, if options.kafka_tls { &["--features", "kafka-tls"] } else { &[] })
}

/// Builds all of it.
pub fn build(flavour: Flavour) -> anyhow::Result<Product> {
    build_with(flavour, &[])
}

/// `more` are cargo's arguments for the server.
fn build_with(flavour: Flavour, more: &[&str]) -> anyhow::Result<Product> {
    let start = Instant::now();
    let product = Product::of(flavour);
    println!("[1/5] toolchain");
    bundle::ensure_target()?;
    match flavour {
        Flavour::Release => std::thread::scope(|scope| {
            // To link the bundle takes one processor half a minute: the others compile the server meanwhile.
            let server = scope.spawn(|| build_server_with(flavour, more));
            let site = build_site(&product.site, flavour, " (beside it, the server)");
            match &site {
                Ok(()) => println!("[5/5] server"),
                Err(error) => eprintln!("the site is not built: {error:#}; the server, begun beside it, is finished first"),
            }
            site.and(server.join().expect("no panic while it is built"))
        })?,
        // Who changes something wants to read each error once.
        Flavour::Debug => {
            build_site(&product.site, flavour, "")?;
            println!("[5/5] server");
            build_server_with(flavour, more)?;
        }
    }
    println!(
        "built in {:.1} s: {} and {}",
        start.elapsed().as_secs_f64(),
        workspace::shown(&product.server),
        workspace::shown(&product.site)
    );
    Ok(product)
}

/// Builds the bundle, and places it with all else that browsers are given.
fn build_site(site: &Path, flavour: Flavour, beside: &str) -> anyhow::Result<()> {
    println!("[2/5] browser bundle: compile{beside}");
    let module = bundle::compile(match flavour {
        Flavour::Release => "wasm",
        Flavour::Debug => "dev",
    })?;
    println!("[3/5] browser bundle: bind and shrink");
    place_bundle(&module, site, flavour)?;
    println!("[4/5] styles and static files");
    place_static_files(site, flavour)?;
    if flavour == Flavour::Release {
        name_by_content(site)?;
    }
    Ok(())
}

/// Compiles the server alone.
pub fn build_server(flavour: Flavour) -> anyhow::Result<()> {
    build_server_with(flavour, &[])
}

fn build_server_with(flavour: Flavour, more: &[&str]) -> anyhow::Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--package", "server", "--bin", "rantai"]).args(more);
    if flavour == Flavour::Release {
        // The bundle may be built beside it: one bar of progress is enough.
        cargo.arg("--release").env("CARGO_TERM_PROGRESS_WHEN", "never");
    }
    workspace::succeed(&mut cargo)
}

/// Puts the bound bundle into the site.
pub fn place_bundle(module: &Path, site: &Path, flavour: Flavour) -> anyhow::Result<()> {
    let package = site.join("pkg");
    let optimiser = bundle::optimiser();
    let name = format!("bundle-{}", flavour.name());
    let script = package.join(bundle::NAME).with_extension("js");
    if !script.exists() {
        stamp::forget(&name);
    }
    let done = Fingerprint::new().text(&optimiser).file(module)?.unless_done(&name, || {
        // Bound and shrunk aside, then moved in: a server running on this site never serves a half-written file.
        let aside = workspace::target_dir().join("xtask").join(&name);
        let _ = std::fs::remove_dir_all(&aside);
        bundle::bind(module, &aside, flavour)?;
        if flavour == Flavour::Release {
            bundle::optimise(&aside.join(format!("{}_bg.wasm", bundle::NAME)))?;
            compress_all(&aside)?;
        }
        move_all(&aside, &package)
    })?;
    if done && flavour == Flavour::Release {
        let packed = std::fs::metadata(package.join(format!("{}_bg.wasm.br", bundle::NAME)))?.len();
        println!("      {} KiB to download (brotli; {optimiser})", packed.div_ceil(1024));
    }
    Ok(())
}

/// Puts the style sheet and the static files into the site.
pub fn place_static_files(site: &Path, flavour: Flavour) -> anyhow::Result<()> {
    let (style, public) = (workspace::root().join("style"), workspace::root().join("public"));
    let sheet = site.join("pkg").join(bundle::NAME).with_extension("css");
    let name = format!("static-{}", flavour.name());
    if !sheet.exists() {
        stamp::forget(&name);
    }
    Fingerprint::new().folder(&style)?.folder(&public)?.unless_done(&name, || {
        let aside = workspace::target_dir().join("xtask").join(&name);
        let _ = std::fs::remove_dir_all(&aside);
        std::fs::create_dir_all(aside.join("pkg"))?;
        std::fs::write(aside.join("pkg").join(bundle::NAME).with_extension("css"), css::bundle(&style.join("main.css"))?)?;
        // `style` is linked there for `cargo leptos`, which bundles no imports.
        for file in workspace::files_below_but(&public, &["style"])? {
            let to = aside.join(file.strip_prefix(&public).expect("the file lies below it"));
            std::fs::create_dir_all(to.parent().expect("a file lies in a folder"))?;
            std::fs::copy(&file, &to)?;
        }
        if flavour == Flavour::Release {
            compress_all(&aside)?;
        }
        move_all(&aside, site)
    })?;
    Ok(())
}

/// Gives script, module and style sheet a second name with a fingerprint of what they hold, and writes that name to the file
/// `output-name` in the site, for the server to read: browsers may then keep them for ever.
fn name_by_content(site: &Path) -> anyhow::Result<()> {
    let package = site.join("pkg");
    let plain: Vec<PathBuf> =
        workspace::files_below(&package)?.into_iter().filter(|file| !name_of(file).starts_with(VERSIONED)).collect();
    let mut content = DefaultHasher::new();
    for file in &plain {
        (name_of(file), std::fs::read(file)?).hash(&mut content);
    }
    let versioned = format!("{VERSIONED}{:016x}", content.finish());
    for file in &plain {
        let name = name_of(file);
        let Some(rest) = name.strip_prefix(bundle::NAME) else { continue };
        let second = package.join(format!("{versioned}{rest}"));
        if !second.exists() {
            std::fs::hard_link(file, &second).with_context(|| format!("link {}", second.display()))?;
        }
    }
    std::fs::write(site.join("output-name"), &versioned)?;
    for file in workspace::files_below(&package)? {
        let name = name_of(&file);
        if name.starts_with(VERSIONED) && !name.starts_with(&versioned) {
            std::fs::remove_file(&file)?;
        }
    }
    Ok(())
}

/// How the second names begin: the bundle's name and a dash.
const VERSIONED: &str = "rantai-";

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn compress_all(folder: &Path) -> anyhow::Result<()> {
    workspace::files_below(folder)?.iter().try_for_each(|file| compress::beside(file))
}

/// Moves every file below `from` to the same place below `to`.
fn move_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    for file in workspace::files_below(from)? {
        let place = to.join(file.strip_prefix(from).expect("the file lies below it"));
        std::fs::create_dir_all(place.parent().expect("a file lies in a folder"))?;
        std::fs::rename(&file, &place).with_context(|| format!("move to {}", place.display()))?;
    }
    Ok(())
}
