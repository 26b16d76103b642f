//! What the operating system lets this process have, and limits at which something happens that is rare.

use crate::identities::Sizes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;
use tokio::sync::Semaphore;

/// Files that the server needs for itself: log, database, bundle.
const OWN_FILES: u64 = 256;
/// As many connections as one would want at least: people's pages stay open.
const WANTED: u64 = 10_000;

/// Lifts the limit of open files as far as allowed and answers how many connections fit; says so where they are few.
pub fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // No limit is none.
    let files = files.unwrap_or(1 << 20);
    let connections = files.saturating_sub(OWN_FILES).max(files / 2);
    if connections < WANTED {
        tracing::warn!(
            files,
            connections,
            "Few files may be open at once, and every live page is one: raise the hard limit (`ulimit -Hn`, `LimitNOFILE=` of systemd)."
        );
    }
    usize::try_from(connections).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// At which size something happens that is rare otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Rare {
    /// A segment of the log is closed once it is longer than this, in bytes.
    pub segment_bytes: u64,
    /// A body that is no shorter is written to the log from where it lies: to put it beside the others first costs more than one more write.
    pub direct_bytes: usize,
    /// When the memory of identities is written down.
    pub identities: Sizes,
    /// Small blocks of windows are put together once there are so many of one size, whatever the store was told.
    pub merge_at: Option<u32>,
}

impl Rare {
    const NORMAL: Self =
        Self { segment_bytes: 256 * 1024 * 1024, direct_bytes: 16 * 1024, identities: Sizes::NORMAL, merge_at: None };
    const SOON: Self = Self { segment_bytes: 2_000, direct_bytes: 200, identities: Sizes::SMALL, merge_at: Some(2) };
}

/// The limits of this process. Where bugs are planted the variable `RANTAI_SMALL` makes them so small that all of it happens soon: for
/// tests of the whole program. What is shipped knows no such thing.
pub fn rare() -> Rare {
    static SMALL: OnceLock<bool> = OnceLock::new();
    let is_small = cfg!(feature = "planted") && *SMALL.get_or_init(|| std::env::var_os("RANTAI_SMALL").is_some());
    if is_small { Rare::SOON } else { Rare::NORMAL }
}
