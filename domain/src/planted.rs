//! Planted bugs: defects on purpose, each of which a named test has to catch (`cargo xtask prove bugs`).
//!
//! They exist only with the feature `planted`, which nothing that is shipped turns on: without it [`planted`] is the constant `false`,
//! and the compiler leaves out what depends on it. The list with what each breaks and who catches it is `xtask/src/prove/bugs/list.rs`.

/// Whether the planted bug of that name is active here.
#[cfg(not(feature = "planted"))]
#[inline]
#[must_use]
pub const fn planted(_name: &str) -> bool {
    false
}

/// Whether the planted bug of that name is active here: the variable `RANTAI_PLANTED` names the one that is. The file that
/// `RANTAI_PLANTED_FIRED` names is written where it is: a bug that no test reaches is told apart from one that none catches.
#[cfg(feature = "planted")]
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a switch of tests is no input of the core, and is in no program that is shipped")]
pub fn planted(name: &str) -> bool {
    use std::sync::{Once, OnceLock};
    static ACTIVE: OnceLock<Option<String>> = OnceLock::new();
    static FIRED: Once = Once::new();
    let is_active = ACTIVE.get_or_init(|| std::env::var("RANTAI_PLANTED").ok()).as_deref() == Some(name);
    if is_active {
        FIRED.call_once(|| {
            if let Ok(path) = std::env::var("RANTAI_PLANTED_FIRED") {
                std::fs::write(path, name).expect("the mark of a planted bug can be written");
            }
        });
    }
    is_active
}
