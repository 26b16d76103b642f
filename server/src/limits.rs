//! What the operating system lets this process have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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
