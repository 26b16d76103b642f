//! The style sheet: `style/main.css` with all it imports, as one minified file.

use anyhow::anyhow;
use lightningcss::bundler::{Bundler, FileProvider};
use lightningcss::stylesheet::{MinifyOptions, ParserOptions, PrinterOptions};
use lightningcss::targets::{Browsers, Targets};
use std::path::Path;

/// The oldest browsers that the style sheet is written for (`light-dark()` needs them).
const BROWSERS: Browsers = Browsers {
    chrome: Some(version(123, 0)),
    edge: Some(version(123, 0)),
    firefox: Some(version(121, 0)),
    safari: Some(version(17, 5)),
    ios_saf: Some(version(17, 5)),
    android: None,
    ie: None,
    opera: None,
    samsung: None,
};

const fn version(major: u32, minor: u32) -> u32 {
    major << 16 | minor << 8
}

/// Bundles `entry` and what it imports; in source order, layers kept.
pub fn bundle(entry: &Path) -> anyhow::Result<String> {
    let files = FileProvider::new();
    let targets = Targets::from(BROWSERS);
    // The error borrows the sources, so it leaves as a text.
    let mut sheet = Bundler::new(&files, None, ParserOptions::default()).bundle(entry).map_err(|error| anyhow!("{error}"))?;
    sheet.minify(MinifyOptions { targets, ..Default::default() }).map_err(|error| anyhow!("{error}"))?;
    let printed =
        sheet.to_css(PrinterOptions { minify: true, targets, ..Default::default() }).map_err(|error| anyhow!("{error}"))?;
    Ok(printed.code)
}
