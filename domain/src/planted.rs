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
/// `RANTAI_PLANTED_FIRED` names is written to where it is: a bug that no test reaches is told apart from one that none catches. It is
/// opened at the first question: where the bug is there may be no file handle left.
#[cfg(feature = "planted")]
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a switch of tests is no input of the core, and is in no program that is shipped")]
pub fn planted(name: &str) -> bool {
    use std::fs::File;
    use std::io::Write;
    use std::sync::{Once, OnceLock};
    static ACTIVE: OnceLock<Option<(String, Option<File>)>> = OnceLock::new();
    static FIRED: Once = Once::new();
    let active = ACTIVE.get_or_init(|| {
        let open = |path| File::options().create(true).append(true).open(path).expect("the mark of a planted bug can be opened");
        let name = std::env::var("RANTAI_PLANTED").ok()?;
        Some((name, std::env::var("RANTAI_PLANTED_FIRED").ok().map(open)))
    });
    let Some((_, mark)) = active.as_ref().filter(|(active, _)| active == name) else { return false };
    FIRED.call_once(|| {
        if let Some(mut mark) = mark.as_ref() {
            mark.write_all(name.as_bytes()).expect("the mark of a planted bug can be written");
        }
    });
    true
}
