//! Tests of the memory of identities: what is known stays known, from memory and from disk.

use super::*;
use std::cell::Cell;
use std::fs;

const NOW: ProcessingTime = ProcessingTime::from_ms(1_000);

fn named(frozen: &FrozenTable, last_block: u64) -> NamedRun {
    NamedRun { name: frozen.name.clone(), last_block, identities: frozen.len() as u64 }
}

fn generations_of(generation_keys: usize) -> Sizes {
    Sizes { generation_keys, ..Sizes::default() }
}

fn key(i: u64) -> Identity {
    let mixed = u128::from(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Identity(mixed << 64 | u128::from(i.wrapping_mul(0xbf58_476d_1ce4_e5b9)))
}

/// Five runs of 1 000, two a generation.
#[test]
fn an_identity_is_known_in_the_table_while_frozen_and_from_disk() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ids = DiskIdentities::open(dir.path(), &[], generations_of(2_000)).expect("opens");
    let mut runs = Vec::new();
    for round in 0..5u64 {
        for i in 0..1_000 {
            assert_eq!(ids.check_in(key(round * 1_000 + i), BodyHash(i)), Seen::New);
        }
        let frozen = ids.freeze(round, NOW, Freeze::All).expect("freezes");
        assert_eq!(ids.check_in(key(round * 1_000), BodyHash(0)), Seen::Same, "while frozen");
        frozen.write().expect("writes");
        ids.thaw(&frozen).expect("opens");
        runs.push(named(&frozen, round));
    }
    fs::write(dir.path().join("left-over.run"), b"x").expect("writes");
    let reopen = || DiskIdentities::open(dir.path(), &runs, generations_of(2_000)).expect("opens");
    let from_filter = reopen();
    assert!(!dir.path().join("left-over.run").exists());
    let filter = dir.path().join(&runs[1].name).with_extension("filter");
    let whole = fs::read(&filter).expect("the first generation is sealed");
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    fs::write(&filter, damaged).expect("writes");
    let from_runs = reopen();
    assert!(fs::read(&filter).expect("reads") == whole, "once is enough to read all runs");
    for mut ids in [ids, from_filter, from_runs] {
        assert_eq!(ids.sealed.len(), 2);
        for i in 0..5_000 {
            assert_eq!(ids.check_in(key(i), BodyHash(i % 1_000)), Seen::Same);
            assert_eq!(ids.check_in(key(i), BodyHash(i % 1_000 + 1)), Seen::Other);
        }
        assert_eq!(ids.check_in(key(5_000), BodyHash(0)), Seen::New);
        assert_eq!(ids.len(), 5_001);
    }
}

/// A generation of few identities has a small filter; what outgrows it stays known, in memory and after a restart.
#[test]
fn a_small_filter_gives_way_to_the_full_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let sizes = Sizes { freeze_at: 1_000, generation_keys: 100_000, ..Sizes::default() };
    let mut ids = DiskIdentities::open(dir.path(), &[], sizes).expect("opens");
    let mut runs = Vec::new();
    for (round, (is_full, keys)) in [(false, 0..600), (true, 600..1_100), (true, 1_100..1_200)].into_iter().enumerate() {
        keys.clone().for_each(|i| assert_eq!(ids.check_in(key(i), BodyHash(i)), Seen::New));
        let frozen = ids.freeze(round as u64, NOW, Freeze::All).expect("freezes");
        // What comes in meanwhile is in the table alone.
        assert_eq!(ids.check_in(key(5_000 + keys.end), BodyHash(1)), Seen::New);
        frozen.write().expect("writes");
        ids.thaw(&frozen).expect("opens");
        runs.push(named(&frozen, round as u64));
        assert_eq!(ids.filter.is_for(100_000), is_full, "after {} identities", keys.end);
        let mut reopened = DiskIdentities::open(dir.path(), &runs, sizes).expect("opens");
        assert_eq!(reopened.filter.is_for(100_000), is_full);
        for i in 0..keys.end {
            assert_eq!(ids.check_in(key(i), BodyHash(i)), Seen::Same);
            assert_eq!(reopened.check_in(key(i), BodyHash(i)), Seen::Same);
        }
        assert_eq!(ids.check_in(key(5_000 + keys.end), BodyHash(1)), Seen::Same);
    }
}

/// The worst for a search that takes keys for uniform: nearly all at one end, several pages that begin with the same bits.
#[test]
fn a_run_is_searched_whatever_its_keys() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ids = DiskIdentities::open(dir.path(), &[], Sizes::default()).expect("opens");
    let skewed = |i: u64| Identity(if i == 999 { u128::MAX } else { u128::from(i) << 64 });
    (0..1_000).for_each(|i| assert_eq!(ids.check_in(skewed(i), BodyHash(i)), Seen::New));
    let frozen = ids.freeze(1, NOW, Freeze::All).expect("freezes");
    frozen.write().expect("writes");
    ids.thaw(&frozen).expect("opens");
    for i in 0..1_000 {
        assert_eq!(ids.find(skewed(i).0), Some(i));
        assert_eq!(ids.runs[0].find(skewed(i).0 + u128::from(i < 999)).expect("reads"), (i == 999).then_some(i));
    }
}

/// The ninth generation and those after it have small filters; all are known after a restart, and made the same where one is missing.
#[test]
fn many_generations_have_small_filters() {
    let dir = tempfile::tempdir().expect("a directory");
    let sizes = generations_of(100);
    let mut ids = DiskIdentities::open(dir.path(), &[], sizes).expect("opens");
    let mut runs = Vec::new();
    for round in 0..10u64 {
        (0..100).for_each(|i| assert_eq!(ids.check_in(key(round * 100 + i), BodyHash(i)), Seen::New));
        let frozen = ids.freeze(round, NOW, Freeze::All).expect("freezes");
        frozen.write().expect("writes");
        ids.thaw(&frozen).expect("opens");
        runs.push(named(&frozen, round));
    }
    let size = |run: &NamedRun| fs::metadata(dir.path().join(&run.name).with_extension("filter")).expect("is there").len();
    let reopen = || DiskIdentities::open(dir.path(), &runs, sizes).expect("opens");
    let from_filters = reopen();
    fs::remove_file(dir.path().join(&runs[8].name).with_extension("filter")).expect("removes");
    for mut ids in [from_filters, reopen()] {
        assert_eq!(ids.sealed.len(), 10);
        (0..1_000).for_each(|i| assert_eq!(ids.check_in(key(i), BodyHash(i % 100)), Seen::Same));
        assert_eq!(ids.check_in(key(1_000), BodyHash(0)), Seen::New);
    }
    assert!(size(&runs[7]) > size(&runs[8]) && size(&runs[8]) == size(&runs[9]));
}

#[test]
fn few_unknown_keys_pass_a_full_filter() {
    // Expected are 9 and 422.
    for (bits, most) in [(filter::bits_beside(7), 30), (filter::bits_beside(8), 550)] {
        let mut filter = Filter::new(100_000, bits);
        (0..100_000).for_each(|i| filter.insert(key(i).0));
        assert!((0..100_000).all(|i| filter.may_hold(key(i).0)));
        let passed = (100_000..200_000).filter(|i| filter.may_hold(key(*i).0)).count();
        assert!(passed < most, "{passed} of 100 000 at {bits} bits");
    }
}

/// A directory with two runs of 500 each, and those runs.
fn two_runs() -> (tempfile::TempDir, Vec<NamedRun>) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut ids = DiskIdentities::open(dir.path(), &[], Sizes::default()).expect("opens");
    let mut runs = Vec::new();
    for round in 0..2 {
        (0..500).for_each(|i| assert_eq!(ids.check_in(key(round * 500 + i), BodyHash(i)), Seen::New));
        let frozen = ids.freeze(round + 1, NOW, Freeze::All).expect("freezes");
        frozen.write().expect("writes");
        ids.thaw(&frozen).expect("opens");
        runs.push(named(&frozen, round + 1));
    }
    (dir, runs)
}

/// Who stops the daily look does not wait for the pages that are left.
#[test]
fn a_stop_ends_the_look_through_a_run() {
    let (dir, runs) = two_runs();
    let path = dir.path().join(&runs[0].name);
    let mut bytes = fs::read(&path).expect("reads");
    bytes[4_096 + 100] ^= 1; // in the second page of three
    fs::write(&path, bytes).expect("writes");
    let look = |pages: u32| {
        let asked = Cell::new(0);
        scrub_run(&path, 500, &|| asked.replace(asked.get() + 1) >= pages)
    };
    look(1).expect("the first page is whole");
    look(2).expect_err("the second is damaged");
}

#[test]
fn a_run_that_is_not_what_was_written_is_never_believed() {
    let (dir, runs) = two_runs();
    let path = dir.path().join(&runs[0].name);
    let whole = fs::read(&path).expect("reads");
    check_run(&path, 500).expect("it is whole");
    let refused = |bytes: &[u8], identities: u64| {
        fs::write(&path, bytes).expect("writes");
        check_run(&path, identities).expect_err("it is damaged").to_string()
    };
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert!(refused(&damaged, 500).contains("damaged"), "byte {at}");
    }
    let second = fs::read(dir.path().join(&runs[1].name)).expect("reads");
    for (bytes, identities) in [
        (&whole[..whole.len() - 1], 500),
        (&whole[..whole.len() - 4_096], 500),
        (&whole[..], 499),
        (&b""[..], 500),
        (&[&whole[4_096..8_192], &whole[..4_096], &whole[8_192..]].concat(), 500), // pages that lie elsewhere
        (&[&whole[..4_096], &second[..4_096], &whole[8_192..]].concat()[..4_095], 500),
    ] {
        refused(bytes, identities);
    }
    DiskIdentities::open(dir.path(), &runs, Sizes::default()).expect_err("a start does not go on without it");
    fs::write(&path, &whole).expect("writes");
    DiskIdentities::open(dir.path(), &runs, Sizes::default()).expect("opens");
}

#[test]
fn a_start_with_another_secret_leaves_the_files_of_the_first() {
    let root = tempfile::tempdir().expect("a directory");
    let folders = [folder(root.path(), &[1; 16]), folder(root.path(), &[2; 16])];
    assert_ne!(folders[0], folders[1]);
    for folder in &folders {
        DiskIdentities::open(folder, &[], Sizes::default()).expect("opens");
        fs::write(folder.join("x.run"), b"").expect("writes");
    }
    DiskIdentities::open(&folders[0], &[], Sizes::default()).expect("opens");
    assert!(!folders[0].join("x.run").exists() && folders[1].join("x.run").exists());
}

#[test]
fn a_run_may_be_empty() {
    let (dir, mut runs) = two_runs();
    let mut ids = DiskIdentities::open(dir.path(), &runs, Sizes::default()).expect("opens");
    assert!(ids.freeze(3, NOW, Freeze::Full).is_none());
    let frozen = ids.freeze(3, NOW, Freeze::All).expect("a restart need not read what lies before");
    frozen.write().expect("writes");
    ids.thaw(&frozen).expect("opens");
    runs.push(named(&frozen, 3));
    for mut ids in [ids, DiskIdentities::open(dir.path(), &runs, Sizes::default()).expect("opens")] {
        assert_eq!((ids.len(), ids.check_in(key(999), BodyHash(499))), (1_000, Seen::Same));
    }
}

/// Generations of two runs each, one run a second.
#[test]
fn what_is_too_old_to_matter_is_forgotten() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |second: u64| ProcessingTime::from_ms(second as i64 * 1_000);
    let open = |runs: &[NamedRun]| DiskIdentities::open(dir.path(), runs, generations_of(200)).expect("opens");
    let mut ids = open(&[]);
    let mut runs = Vec::new();
    for second in 0..6 {
        (0..100).for_each(|i| assert_eq!(ids.check_in(key(second * 100 + i), BodyHash(i)), Seen::New));
        let frozen = ids.freeze(second + 1, at(second), Freeze::All).expect("freezes");
        frozen.write().expect("writes");
        ids.thaw(&frozen).expect("opens");
        runs.push(named(&frozen, second + 1));
    }
    let files = || fs::read_dir(dir.path()).expect("lists").count();
    assert_eq!(ids.forget(at(1)), [] as [&str; 0], "a part of the first generation may matter");
    let before = files();
    assert_eq!(ids.forget(at(2)), [&*runs[0].name, &*runs[1].name]);
    assert_eq!((ids.len(), files()), (400, before), "until a checkpoint no longer names them");
    ids.remove_forgotten();
    assert_eq!(files(), before - 3);
    let mut reopened = open(&runs[2..]);
    assert_eq!(reopened.sealed.len(), 2);
    assert_eq!(reopened.forget(at(9)).len(), 2, "the newest run stays");
    for ids in [&mut ids, &mut reopened] {
        assert_eq!(ids.check_in(key(0), BodyHash(0)), Seen::New);
        assert_eq!(ids.check_in(key(599), BodyHash(99)), Seen::Same);
    }
}
