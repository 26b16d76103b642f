//! Who overrides whom, what is refused, and by which words.

use super::*;
use clap::{Args, Command};

/// Every option of a command may be a variable too, by the name that its own makes one expect.
#[track_caller]
fn check_variables(command: Command) {
    for option in command.get_arguments() {
        let long = option.get_long().expect("it has a long name");
        // The one that may be repeated holds them all.
        let name = if long == "kafka-option" { "kafka-options" } else { long };
        let expected = format!("RANTAI_{}", name.to_uppercase().replace('-', "_"));
        assert_eq!(option.get_env().and_then(|name| name.to_str()), Some(expected.as_str()), "--{long}");
    }
}

#[test]
fn every_option_has_its_variable() {
    check_variables(ServeArgs::augment_args(Command::new("serve")));
    check_variables(KafkaStateArgs::augment_args(Command::new("rebuild")));
    check_variables(StateArgs::augment_args(Command::new("verify")));
}

/// As its help says.
#[test]
fn a_demonstration_differs_in_nothing_yet() {
    let of = |demo| {
        let config = ServeArgs { demo: Some(demo), ..ServeArgs::default() }.resolve().expect("defaults are valid");
        assert_eq!(config.demo, demo);
        format!("{:?}", Config { demo: false, ..config })
    };
    assert_eq!(of(true), of(false));
    check("listen = '0.0.0.0:3000'\ndemo = true", ServeArgs::default(), drop, Err("loopback"));
}

/// What `file` with the command line's `args` makes of it: one field, or the error.
fn check<T: PartialEq + std::fmt::Debug>(file: &str, args: ServeArgs, field: fn(Config) -> T, expected: Result<T, &str>) {
    let path = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(path.path(), file).expect("writes");
    let args = ServeArgs { data: StoreArgs { config: Some(path.path().to_owned()), ..args.data }, ..args };
    match (args.resolve().map(field), expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{file}"),
        (Err(error), Err(words)) => {
            let text = format!("{error:#}");
            assert!(words.split(" … ").all(|part| text.contains(part)), "{file}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
        (found, expected) => panic!("{file}: {found:?}, expected {expected:?}"),
    }
}

#[test]
fn a_file_overrides_defaults_and_options_override_it() {
    let port = |c: Config| c.listen.port();
    let listen = Some(SocketAddr::from(([127, 0, 0, 1], 1)));
    check("", ServeArgs::default(), port, Ok(3000));
    check("listen = '127.0.0.1:2'", ServeArgs::default(), port, Ok(2));
    check("listen = '127.0.0.1:2'", ServeArgs { listen, ..ServeArgs::default() }, port, Ok(1));
    check("demo = true", ServeArgs::default(), |c| c.demo, Ok(true));
    check("demo = true", ServeArgs { demo: Some(false), ..ServeArgs::default() }, |c| c.demo, Ok(false));
    let store = |c: Config| c.store.to_string();
    check("store = 'postgres://me:secret@db/rantai'", ServeArgs::default(), store, Ok("postgres://db/rantai".to_owned()));
    let data = StoreArgs { store: Some("sqlite".to_owned()), ..StoreArgs::default() };
    let args = ServeArgs { data, ..ServeArgs::default() };
    check("store = 'postgres://me:secret@db/rantai'", args, store, Ok("sqlite".to_owned()));
}

#[test]
fn what_is_kept_and_put_together() {
    let of = |c: Config| (c.retention().windows_days, c.retention().side_days, c.merge_windows_blocks);
    check("", ServeArgs::default(), of, Ok((1_826, 1_826, 256)));
    let file = "keep_windows_days = 30\nkeep_side_days = 1\nmerge_windows_blocks = 32";
    check(file, ServeArgs::default(), of, Ok((30, 1, 32)));
    let rules = RulesArgs { merge_windows_blocks: Some(4_096), ..RulesArgs::default() };
    check(file, ServeArgs { rules, ..ServeArgs::default() }, of, Ok((30, 1, 4_096)));
}

#[test]
fn topics_and_pairings() {
    let windows = |c: Config| c.window_config().map(|w| (w.sliding().len(), w.sessions().len(), w.allowed_lateness_ms())).ok();
    let file = "[topics.temperature]\nwindows = '10:60,300/10:120,session 900:60'\nallowed_lateness = 1200";
    check(file, ServeArgs::default(), windows, Ok(Some((1, 1, 1_200_000))));
    check("windows = '10:60,300/10:120'", ServeArgs::default(), windows, Ok(Some((1, 0, 600_000))));
    let file = "[[pairings]]\ntracker = 't'\ndevice = 'd'\nfrom = '2026-11-01T00:00:00+07:00'";
    let pairing = Pairing { tracker: "t".into(), device: "d".into(), from_ms: 1_793_466_000_000, to_ms: i64::MAX };
    check(file, ServeArgs::default(), |c| c.engine_config().map(|e| e.pairings).ok(), Ok(Some(vec![pairing])));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let refused = |file: &str, words: &str| check(file, ServeArgs::default(), drop, Err(words));
    refused("lisen = '127.0.0.1:2'", "unknown field … lisen … listen");
    refused("# what\n\n lisen= '127.0.0.1:2'", "line 3 of … lisen");
    refused("\ncheckpoint_ms = 'soon'", "line 2 of … checkpoint_ms");
    refused("[topics.temperature]\nallowed_lateness = 'long'", "line 2 of … allowed_lateness");
    refused("listen = '127.0.0.1:2'\nlisten = '127.0.0.1:3'", "line 2");
    refused("listen = 'here'", "listen");
    refused("listen = '0.0.0.0:3000'", "loopback");
    refused("checkpoint_ms = 'soon'", "checkpoint_ms");
    refused("store = 'postgre://me:secret@db'", "store … expected `sqlite`");
    refused("log = 'kafka'", "kafka … needs a store … postgres://");
    let shared = "store = 'postgres://me:secret@db/rantai'\nlog = 'kafka'\n";
    refused(&format!("{shared}kafka_prefix = 'a b'"), "a b … topic");
    refused(&format!("{shared}kafka_options = ['sasl.password:secret']"), "option 1 … KEY=VALUE");
    refused(&format!("{shared}roles = 'jobs'"), "`jobs` does not exist yet");
    refused(&format!("{shared}roles = ''"), "is no role");
    check(&format!("{shared}roles = 'web'"), ServeArgs::default(), drop, Ok(()));
    refused("log = 'paper'", "log");
    refused("roles = 'web'", "the embedded log is one process's");
    refused("roles = 'engine,ingest,web,cook'", "`cook` is no role");
    refused("keep_windows_days = 0", "keep-windows-days: 0 days … 1 to 36525");
    refused("keep_log_days = 40000", "keep-log-days: 40000 days");
    refused("keep_side_days = -1", "line 1 of … keep_side_days");
    refused("merge_windows_blocks = 1", "merge-windows-blocks: 1 blocks … 2 to 4096");
    refused("merge_windows_blocks = 5000", "merge-windows-blocks: 5000 blocks … 2 to 4096");
    refused("\nmerge_windows_blocks = 'some'", "line 2 of … merge_windows_blocks");
    refused("windows = '10'", "windows 10");
    refused("windows = '10:60,25/10:60'", "windows 10:60,25/10:60 … needs a tumbling one");
    refused("[topics.gps]\nwindows = '10:60'", "`gps` measures nothing");
    refused("[topics.heat]\nwindows = '10:60'", "no topic `heat`");
    refused("[topics.temperature]\nsize = '10:60'", "size");
    refused("[[pairings]]\ntracker = 't'", "device");
    refused("[[pairings]]\ntracker = 't'\ndevice = 'd'\nfrom = '2026-11-01'", "`2026-11-01` is no RFC 3339 time");
    refused("listen", "listen");
    check("roles = 'engine, ingest, web'", ServeArgs::default(), drop, Ok(()));
    let data = StoreArgs { store: Some("mysql://me:secret@db".to_owned()), ..StoreArgs::default() };
    check("", ServeArgs { data, ..ServeArgs::default() }, drop, Err("expected `sqlite`"));
}
