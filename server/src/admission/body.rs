//! Bodies off the wire: content encodings and limits, before anything is parsed.

use bytes::Bytes;
use domain::planted;
use std::io::Read;

/// How long a body may be once inflated, in bytes.
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// How many times as long a body may become by inflating. Records of sensors shrink to a tenth or a thirtieth.
pub const MAX_RATIO: usize = 100;
/// A body that is no longer than this once inflated does no harm, however short it was.
const HARMLESS_BYTES: usize = 64 * 1024;

/// Why a body was refused before any record of it was looked at.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Longer than [`MAX_BODY_BYTES`] once inflated.
    #[error("the body is longer than {MAX_BODY_BYTES} bytes once inflated")]
    TooLarge,
    /// More than [`MAX_RATIO`] times as long as it was sent.
    #[error("the body becomes more than {MAX_RATIO} times as long by inflating it")]
    Bomb,
    /// A `Content-Encoding` that is neither `gzip` nor `zstd`.
    #[error("content encoding `{0}` is not supported: send gzip, zstd or none")]
    UnknownEncoding(String),
    /// The compressed data is broken.
    #[error("the compressed body is broken: {0}")]
    Broken(#[from] std::io::Error),
}

/// The body inflated by its content encoding. Never holds more than one byte beyond the limits.
pub fn inflate(body: Bytes, encoding: Option<&str>) -> Result<Bytes, BodyError> {
    let most = if planted("any-ratio-will-do") { usize::MAX } else { (body.len() * MAX_RATIO).max(HARMLESS_BYTES) };
    match encoding.map(str::trim) {
        None | Some("" | "identity") => {
            if body.len() > MAX_BODY_BYTES {
                return Err(BodyError::TooLarge);
            }
            Ok(body)
        }
        Some("gzip" | "x-gzip") => read_limited(flate2::read::MultiGzDecoder::new(&body[..]), most),
        Some("zstd") => read_limited(zstd::stream::read::Decoder::with_buffer(&body[..])?, most),
        Some(other) => Err(BodyError::UnknownEncoding(other.to_owned())),
    }
}

/// What `reader` reads, at most [`MAX_BODY_BYTES`] and at most `most` bytes.
fn read_limited(reader: impl Read, most: usize) -> Result<Bytes, BodyError> {
    let mut inflated = Vec::new();
    let limit = most.min(MAX_BODY_BYTES);
    let more = if planted("bomb-is-cut-short") { limit } else { limit + 1 };
    reader.take(more as u64).read_to_end(&mut inflated)?;
    match inflated.len() > limit {
        false => Ok(inflated.into()),
        true if limit < MAX_BODY_BYTES => Err(BodyError::Bomb),
        true => Err(BodyError::TooLarge),
    }
}
