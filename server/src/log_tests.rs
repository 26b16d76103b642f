//! Tests of the log: crashes leave what was durable, and damage is named.

use super::*;
use std::fs;

fn draft(body: &'static [u8]) -> Draft<'static> {
    Draft { kind: BlockKind::Records(Format::Ndjson), source: "gateway", body, records: body.len() as u64 }
}

/// Bodies of three bytes are large to it.
fn open(dir: &Path) -> Result<Log, LogError> {
    Ok(Log::open(dir, |block| block.body.len() as u64)?.with_limits(rare().segment_bytes, 3))
}

fn bodies(dir: &Path, from: u64) -> Vec<String> {
    read(dir, from).expect("lists").map(|b| String::from_utf8_lossy(&b.expect("reads").body).into_owned()).collect()
}

/// Three groups: `a`; `bb`, `ccc`; `dddd`.
fn written(dir: &Path) -> PathBuf {
    let mut log = open(dir).expect("opens");
    log.append(&[draft(b"a")], ProcessingTime::from_ms(5)).expect("appends");
    let places = log.append(&[draft(b"bb"), draft(b"ccc")], ProcessingTime::from_ms(3)).expect("appends");
    assert_eq!(places[1], Place { number: 3, first_record: 4, received_at: ProcessingTime::from_ms(5) }); // never back
    log.append(&[draft(b"dddd")], ProcessingTime::from_ms(9)).expect("appends");
    segments(dir).expect("lists").remove(0)
}

#[test]
fn what_was_appended_is_read_and_numbers_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path());
    assert_eq!(bodies(dir.path(), 1), ["a", "bb", "ccc", "dddd"]);
    assert_eq!(bodies(dir.path(), 3), ["ccc", "dddd"]);
    let mut log = open(dir.path()).expect("opens");
    let place = log.append(&[draft(b"e")], ProcessingTime::from_ms(10)).expect("appends")[0];
    assert_eq!((place.number, place.first_record), (5, 11));
}

#[test]
fn large_bodies_lie_among_small_ones_in_their_order() {
    let drafts = [b"a".as_slice(), b"ccc", b"bb", b"dddd", b"eeeee", b""].map(draft);
    let written = |direct| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = open(dir.path()).expect("opens").with_limits(rare().segment_bytes, direct);
        log.append(&drafts, ProcessingTime::from_ms(5)).expect("appends");
        log.append(&drafts[1..2], ProcessingTime::from_ms(6)).expect("appends");
        assert_eq!(bodies(dir.path(), 1), ["a", "ccc", "bb", "dddd", "eeeee", "", "ccc"], "{direct}");
        let path = segments(dir.path()).expect("lists").remove(0);
        assert_eq!(log.total_bytes(), fs::metadata(&path).expect("is there").len());
        fs::read(path).expect("reads")
    };
    let through_the_buffer = written(usize::MAX);
    (0..6).for_each(|direct| assert_eq!(written(direct), through_the_buffer, "{direct}"));
}

#[test]
fn every_torn_end_is_cut_and_nothing_before_it_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = written(dir.path());
    let whole = fs::read(&path).expect("reads");
    let starts = starts(&whole);
    assert_eq!(starts.len(), 4);
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).expect("writes");
        open(dir.path()).expect("opens");
        let expected = starts[1..].iter().chain([&whole.len()]).filter(|end| **end <= len).count();
        assert_eq!(bodies(dir.path(), 1), ["a", "bb", "ccc", "dddd"][..expected], "cut at {len}");
    }
}

#[test]
fn segments_that_nobody_needs_are_pruned_from_the_front() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path()).expect("opens");
    for second in 1..=4 {
        log.segment_bytes = rare().segment_bytes + 1; // a segment for each block
        log.append(&[draft(b"a")], ProcessingTime::from_ms(second * 1_000)).expect("appends");
    }
    let count = |needed_from, ms| prune(dir.path(), needed_from, ProcessingTime::from_ms(ms)).expect("prunes");
    let left = || segments(dir.path()).expect("lists").len();
    let before = left();
    assert_eq!(count(0, 9_000), 0); // everything is needed
    assert_eq!(count(9, 500), 0); // nothing is old enough
    let pruned = count(3, 9_000);
    assert_eq!(left(), before - pruned);
    assert_eq!(bodies(dir.path(), 3), ["a", "a"]);
    let pruned = pruned + count(9, 3_500);
    assert_eq!((left(), bodies(dir.path(), 3).len()), (before - pruned, 2), "block 4 came after that");
    count(9, 9_000);
    assert_eq!(left(), 1);
    drop(log);
    let mut log = open(dir.path()).expect("opens");
    assert_eq!(log.append(&[draft(b"a")], ProcessingTime::from_ms(5_000)).expect("appends")[0].number, 5);
}

/// Where blocks begin.
fn starts(whole: &[u8]) -> Vec<usize> {
    (0..whole.len() - 12).filter(|i| whole[i + 8..i + 12] == MARKER).collect()
}

/// Whether opening refuses, naming damage, with the segment's `bytes`.
fn is_refused(dir: &Path, path: &Path, bytes: &[u8]) -> bool {
    fs::write(path, bytes).expect("writes");
    match open(dir) {
        Ok(_) => false,
        Err(LogError::Damaged { .. } | LogError::NotUnderstood { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn damage_is_named_unless_it_is_of_the_last_group() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = written(dir.path());
    let whole = fs::read(&path).expect("reads");
    let starts = starts(&whole);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        // Nothing tells whether the append of the last group ended.
        let is_last = at >= starts[3];
        assert_eq!(
            is_refused(dir.path(), &path, &damaged),
            !is_last,
            "byte {at}: what was acknowledged must not be cut in silence"
        );
    }
}

#[test]
fn the_first_group_of_a_segment_may_be_torn_anywhere() {
    let dir = tempfile::tempdir().expect("a directory");
    written(dir.path());
    let mut log = open(dir.path()).expect("opens");
    log.segment_bytes = rare().segment_bytes + 1;
    log.append(&[draft(b"first"), draft(b"second"), draft(b"third")], ProcessingTime::from_ms(10)).expect("appends");
    let path = segments(dir.path()).expect("lists").pop().expect("a segment");
    let mut torn = fs::read(&path).expect("reads");
    torn[..60].fill(0); // its first sector did not reach the disk, later ones did
    fs::write(&path, &torn).expect("writes");
    open(dir.path()).expect("a power loss is no damage");
    assert_eq!(bodies(dir.path(), 1), ["a", "bb", "ccc", "dddd"]);
}

#[test]
fn a_whole_block_that_this_program_does_not_know_is_never_cut_off() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = written(dir.path());
    let whole = fs::read(&path).expect("reads");
    let last = starts(&whole)[3];
    for (at, value) in [(44, 200), (11, b'9')] {
        let mut newer = whole.clone();
        newer[last + at] = value;
        let crc = crc32c::crc32c(&newer[last + 8..]);
        newer[last + 4..last + 8].copy_from_slice(&crc.to_le_bytes());
        assert!(is_refused(dir.path(), &path, &newer), "byte {at}");
        assert_eq!(fs::read(&path).expect("reads"), newer);
    }
}

#[test]
fn a_block_that_could_not_be_read_again_is_not_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut log = open(dir.path()).expect("opens");
    let longest = vec![b'x'; MAX_BLOCK - HEADER - "gateway".len()];
    let of = |body| Draft { kind: BlockKind::Decision, source: "gateway", body, records: 1 };
    let too_long = [longest.as_slice(), b"x"].concat();
    let (now, name) = (ProcessingTime::from_ms(1), "s".repeat(256));
    for wrong in [of(&too_long), Draft { source: &name, ..of(b"") }] {
        assert!(matches!(log.append(&[draft(b"a"), wrong], now), Err(AppendError::Write(LogError::TooLong { .. }))));
    }
    log.append(&[of(&longest)], now).expect("the longest fits");
    drop(log);
    assert_eq!(open(dir.path()).expect("opens").next_record, 1 + longest.len() as u64);
    assert!(longest.len() > crate::admission::body::MAX_BODY_BYTES + 8_000, "a letter and what is decided of it");
}

/// Each byte of a segment counts.
#[test]
fn every_changed_byte_of_a_closed_segment_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = written(dir.path());
    fs::write(dir.path().join(format!("{:020}.seg", 5)), "").expect("writes"); // it is closed once another one is there
    let whole = fs::read(&path).expect("reads");
    assert!(scrub(dir.path(), &|| false).expect("reads").is_empty());
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, &changed).expect("writes");
        let found = scrub(dir.path(), &|| false).expect("reads");
        assert!(matches!(&found[..], [LogError::Damaged { path: said, .. }] if *said == path), "byte {at}: {found:?}");
    }
    fs::write(&path, &whole[..whole.len() - 1]).expect("writes");
    assert_eq!(scrub(dir.path(), &|| false).expect("reads").len(), 1, "its end is missing");
}

#[test]
fn a_copy_has_what_is_whole_and_what_is_pruned_meanwhile_is_missing_at_its_front_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let from = dir.path().join("from");
    let path = written(&from);
    let to = |name: &str| dir.path().join(name);
    assert_eq!(copy(&from, &to("whole")).expect("copies"), 1..5);
    assert_eq!(bodies(&to("whole"), 1), ["a", "bb", "ccc", "dddd"]);
    assert_eq!(id(&to("whole")).expect("reads"), id(&from).expect("reads"));
    let whole = fs::read(&path).expect("reads");
    fs::write(&path, &whole[..whole.len() - 1]).expect("writes"); // as the server writes it
    assert_eq!(copy(&from, &to("growing")).expect("copies"), 1..4);
    let mut log = open(&to("growing")).expect("a start on it cuts nothing off");
    log.append(&[draft(b"new")], ProcessingTime::from_ms(10)).expect("appends");
    assert_eq!(bodies(&to("growing"), 1), ["a", "bb", "ccc", "new"]);
    let mut changed = whole.clone();
    changed[HEADER] ^= 1;
    fs::write(&path, changed).expect("writes");
    assert!(matches!(copy(&from, &to("damaged")), Err(LogError::Damaged { offset: 0, .. })));
}
