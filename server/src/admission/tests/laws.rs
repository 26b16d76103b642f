//! What holds for any bytes: nothing panics, reading again gives the same, and what came before a record changes nothing about it.

use super::*;
use proptest::prelude::*;

/// Bodies near to good ones: several records, some bytes of them changed, cut, doubled or swapped.
fn mutated() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let record = prop_oneof![
        Just(bare(r#","humidity":40.5,"battery":90,"location":"Gudang","x":{"a":[1,null,true]}"#)),
        Just(envelope(PAYLOAD, r#","note":"\u00e9\n""#)),
        Just(degrees("85.0")),
        Just(degrees("-1.5e1")),
        Just(feature(r#"{"type":"Point","coordinates":[107.6,-6.8]}"#, r#"{"device_id":"d","ts":1795000000000,"speed":3.2}"#)),
        Just(r#"{"event_id":"é","topic":"stock","payload":{}}"#.to_owned()),
        Just("{}".to_owned()),
    ];
    let harmful = prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\ \n0-.eENINaftu\x00\xff\xc3\xed".to_vec()),];
    let change = (any::<prop::sample::Index>(), 0u8..4, harmful);
    let lines = any::<bool>();
    (prop::collection::vec(record, 0..5), prop::collection::vec(change, 0..6), lines).prop_map(|(records, changes, lines)| {
        let body = if lines { records.join("\n") } else { format!("[{}]", records.join(",")) };
        let mut body = body.into_bytes();
        for (at, kind, byte) in changes {
            if body.is_empty() {
                break;
            }
            let at = at.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 => {
                    body.remove(at);
                }
                _ => body.truncate(at),
            }
        }
        (body, lines)
    })
}

/// A record, and one that differs from it in values, or in a few bytes.
fn alike() -> impl Strategy<Value = (String, Vec<u8>)> {
    let text = prop::sample::select(vec!["d", "", "kulkas-7", "\u{e9}", "a\\nb", "a\u{7f}", " ", "x]~"]);
    let number = prop::sample::select(vec![
        "5",
        "-0",
        "4.25",
        "007",
        "1.",
        ".5",
        "-",
        "1e3",
        "5.0E-1",
        "NaN",
        "null",
        "true",
        "85.0",
        "1234567890123456789012",
        "[1]",
        "{}",
    ]);
    let time = prop::sample::select(vec!["1795000000000", "\"2026-11-18T11:06:40Z\"", "1795000000000.5", "1"]);
    let values = (text.clone(), text, number.clone(), number, time);
    let record = |kind: u8, (id, device, temperature, humidity, ts): (&str, &str, &str, &str, &str)| match kind {
        0 => format!(
            r#"{{"device_id":"{device}","ts":{ts},"temperature":{temperature},"seq":{humidity},"boot_id":"{id}","source":"{device}","unit":"C"}}"#
        ),
        1 => format!(
            r#"{{"event_id":"{id}","topic":"temperature","source":"s","ts":{ts},"payload":{{"device_id":"{device}", "temperature" : {temperature} , "battery":{humidity},"a":{{"b":1}}}}}}"#
        ),
        _ => format!(r#" {{ "topic":"stock","event_id":"{id}","payload":{{"temperature":{temperature}}},"x":{humidity}}} "#),
    };
    let harmful = prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\ 0-.eEN\x00\xff".to_vec())];
    let change = prop::option::of((any::<prop::sample::Index>(), 0u8..3, harmful));
    let good = Just(("id-1", "d", "5.5", "40", "1795000000000"));
    (0u8..3, 0u8..3, prop_oneof![4 => good, 1 => values.clone()], values, change).prop_map(
        move |(kind, other, one, two, change)| {
            let mut second = record(if other == 0 { (kind + 1) % 3 } else { kind }, two).into_bytes();
            if let Some((at, how, byte)) = change
                && byte != b'\n'
            {
                let at = at.index(second.len());
                match how {
                    0 => second[at] = byte,
                    1 => second.insert(at, byte),
                    _ => drop(second.remove(at)),
                }
            }
            (record(kind, one), second)
        },
    )
}

/// Identity, body, content with source, id and bytes.
type Facts = (Option<Identity>, BodyHash, String, Option<String>, Vec<u8>);

fn facts(batch: &Batch) -> Vec<Facts> {
    let of = |(index, record): (usize, Record<'_>)| {
        let text = match record.content {
            Content::Reading { device, reading } => format!("{device:?} {reading:?}"),
            Content::Fault { device, fault } => format!("{device:?} {fault:?}"),
            Content::Fix { device, fix } => format!("{device:?} {fix:?}"),
            Content::Other { at } => format!("{at:?}"),
            Content::Rejected(reason) => format!("{reason} {}", batch.field(index)),
        };
        let text = format!("{text} {:?} {}", record.sequence, record.source);
        let event_id = batch.event_id(index).map(str::to_owned);
        (record.identity, record.body, text, event_id, batch.raw_record(index).to_vec())
    };
    batch.records().enumerate().map(of).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// No bytes panic, every record has its own bytes, and reading the log again gives the same records.
    #[test]
    fn reading_again_gives_the_same((body, lines) in mutated()) {
        let format = if lines { Format::Ndjson } else { Format::Json };
        let batch = parse(&body, format).expect("few records");
        let facts_first = facts(&batch);
        prop_assert_eq!(&facts_first, &facts(&parse(&body, format).expect("few records")));
        for (index, record) in batch.records().enumerate() {
            // A record that is fine is JSON to any other reader too, and the same record alone.
            if !matches!(record.content, Content::Rejected(_)) {
                let raw = batch.raw_record(index);
                prop_assert!(serde_json::from_slice::<serde_json::Value>(raw).is_ok(), "{}", String::from_utf8_lossy(raw));
                let alone = parse(raw, Format::Json).expect("one record");
                prop_assert_eq!(&facts(&alone)[0], &facts_first[index]);
            }
        }
    }

    /// A record is what it is alone, also after one of nearly the same shape.
    #[test]
    fn a_known_shape_changes_nothing((first, second) in alike()) {
        for (format, before, between, after) in [(Format::Ndjson, "", "\n", ""), (Format::Json, "[", ",", "]")] {
            if format == Format::Json && second.trim_ascii_start().starts_with(b"]") {
                continue; // alone it ends an empty list, after another a list that goes on
            }
            let body = |records: &[&[u8]]| [before.as_bytes(), &records.join(between.as_bytes()), after.as_bytes()].concat();
            let alone = facts(&parse(body(&[&second]), format).expect("few records"));
            let after_another = facts(&parse(body(&[first.as_bytes(), &second]), format).expect("few records"));
            prop_assert_eq!(&after_another[1..], &alone[..], "{}", String::from_utf8_lossy(&second));
        }
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200), lines in any::<bool>()) {
        let format = if lines { Format::Ndjson } else { Format::Json };
        let batch = parse(&body, format).expect("few records");
        prop_assert!(batch.records().count() <= body.len() + 1);
    }

    #[test]
    fn thousandths_are_exact(milli in -55_000i32..=125_000, zeros in 0usize..4) {
        prop_assume!(!domain::event::SENSOR_FAULT_CODES.contains(&Milli(milli)));
        let sign = if milli < 0 { "-" } else { "" };
        let text = format!("{sign}{}.{:03}{}", milli.unsigned_abs() / 1_000, milli.unsigned_abs() % 1_000, "0".repeat(zeros));
        let batch = parse(degrees(&text), Format::Json).expect("one record");
        let record = batch.records().next().expect("one record");
        prop_assert!(matches!(record.content, Content::Reading { reading, .. } if reading.temperature == Milli(milli)), "{}", text);
    }
}
