//! Brotli and gzip copies beside the site's files, so that the server compresses nothing that never changes.

use anyhow::Context;
use std::io::Write;
use std::path::Path;

/// Kinds of file that get smaller; pictures already are.
const KINDS: [&str; 9] = ["css", "html", "js", "json", "map", "svg", "txt", "wasm", "webmanifest"];

/// Smaller files gain nothing: they fit one packet as they are.
const WORTH_IT: usize = 512;

/// Writes `FILE.br` and `FILE.gz` beside `path` where that helps, each at the highest level.
pub fn beside(path: &Path) -> anyhow::Result<()> {
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    let plain = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    if plain.len() < WORTH_IT || !KINDS.contains(&kind) {
        return Ok(());
    }
    let mut brotli = Vec::new();
    let options = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, size_hint: plain.len(), ..Default::default() };
    brotli::BrotliCompress(&mut plain.as_slice(), &mut brotli, &options).context("compress with brotli")?;
    std::fs::write(path.with_extension(format!("{kind}.br")), brotli)?;

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&plain)?;
    std::fs::write(path.with_extension(format!("{kind}.gz")), gzip.finish()?)?;
    Ok(())
}
