//! Who a record is: the id of its source, a running number, or device, channel and time; and what it says.

use super::*;

fn identity(body: &str) -> Identity {
    let batch = parse(body, Format::Json).expect("few records");
    let identity = batch.records().next().and_then(|record| record.identity);
    identity.unwrap_or_else(|| panic!("no identity: {body}"))
}

fn body_hash(body: &str) -> BodyHash {
    parse(body, Format::Json).expect("few records").records().next().expect("a record").body
}

#[test]
fn who_a_record_is() {
    let id = |id: &str| identity(&envelope(PAYLOAD, "").replace(r#""e""#, &format!("\"{id}\"")));
    assert_eq!(id("e"), id(r"\u0065"), "one id written in two ways");
    assert_eq!(id("a/b"), id(r"a\/b"));
    assert_ne!(id("e"), id("E"));
    assert_ne!(id("é"), id("e\u{301}"), "ids are bytes");
    let from = |source: &str| identity(&envelope(PAYLOAD, "").replace(r#""s""#, &format!("\"{source}\"")));
    assert_ne!(from("s"), from("t"), "an id belongs to its source");
    assert_eq!(identity(&format!(r#"{{"event_id":"e","topic":"temperature","payload":{{{PAYLOAD}}}}}"#)), from("key"));
    assert_eq!(id("e"), identity(&envelope(&PAYLOAD.replace(":5", ":6"), "")), "whatever it says");
    // Without an id: device, channel and time, however they are written.
    let natural = identity(&bare(""));
    assert_eq!(natural, identity(&degrees("9.4")));
    assert_eq!(natural, identity(r#"{"temperature":5,"timestamp":"2026-11-18T18:06:40+07:00","device_id":"\u0064"}"#));
    assert_eq!(natural, identity(&format!(r#"{{"topic":"temperature","source":"s","payload":{{{PAYLOAD}}}}}"#)));
    assert_ne!(natural, identity(&bare("").replace("1795000000000", "1795000000001")));
    assert_ne!(natural, identity(&feature(r#"{"type":"Point","coordinates":[1,2]}"#, r#"{"device_id":"d","ts":1795000000000}"#)));
    // What it says, however it is written.
    assert_eq!(body_hash(&bare("")), body_hash(&degrees("5.0000")));
    assert_eq!(body_hash(&bare("")), body_hash(&bare(r#","status":"ok","humidity":null,"seq":3"#)));
    assert_ne!(body_hash(&bare("")), body_hash(&degrees("5.001")));
    assert_ne!(body_hash(&bare("")), body_hash(&bare(r#","humidity":0"#)));
    assert_ne!(body_hash(&bare("")), body_hash(&bare(r#","location":"x""#)));
    // A rejected record keeps its identity, so that sending it again is a duplicate.
    assert_eq!(id("e"), identity(&envelope(&PAYLOAD.replace(":5", ":500"), "")));
}

/// What names nothing is itself by its source and its bytes, wherever it stands, and finds the same partition again.
#[test]
fn what_names_nothing() {
    for nameless in ["{", "17", r#"{"device_id":"d","temperature":5}"#, r#"{"topic":"stock","payload":{}}"#, "=1+1"] {
        let own = identity(nameless);
        assert_ne!(own, identity(&format!("{nameless}!")), "{nameless}");
        assert_eq!(own, identity(&format!("\n {nameless} ")), "without what is around it");
        let lines = parse(format!("{}\n{nameless}\n{{}}", bare("")), Format::Ndjson).expect("few records");
        assert_eq!(lines.records().nth(1).and_then(|record| record.identity), Some(own), "{nameless}");
        let of_another = Batch::parse(Bytes::copy_from_slice(nameless.as_bytes()), Format::Json, "other", &KEY).expect("one");
        assert_ne!(of_another.records().next().and_then(|record| record.identity), Some(own), "{nameless}");
        let messages = [Message { end: nameless.len(), source: "key", is_unreadable: true }];
        let message = Batch::of_messages(Bytes::copy_from_slice(nameless.as_bytes()), messages, &KEY);
        assert_eq!(message.records().next().and_then(|record| record.identity), Some(own), "{nameless}, by way of Kafka");
        assert!(lines.key(1).is_some() && lines.key(1) != lines.key(2), "{nameless}");
    }
    // With a device or an id that can be read it stays with those.
    let batch = parse(r#"{"device_id":"d","temperature":5}"#, Format::Json).expect("one");
    assert_eq!(batch.key(0).as_deref(), Some(&b"d"[..]));
}

/// Running numbers: what tells records of a device apart where they have no id of their own.
#[test]
fn running_numbers() {
    let parsed = |fields: &str| {
        let body = format!(r#"{{"device_id":"d","ts":{T},"temperature":5{fields}}}"#);
        let batch = parse(body, Format::Json).expect("one record");
        let record = batch.records().next().expect("one");
        (shown(&batch), record.identity, record.is_natural, record.sequence)
    };
    let of = |fields: &str| {
        let (text, identity, is_natural, sequence) = parsed(fields);
        assert_eq!((text.as_str(), is_natural), ("d 5", sequence.is_none()), "{fields}");
        (identity.expect("it has one"), sequence.map(|s| (s.boot, s.number)))
    };
    let (first, second) = (of(r#","seq":7,"boot_id":"a""#), of(r#","seq":8,"boot_id":"a""#));
    let other_start = of(r#","seq":7,"boot_id":"b""#);
    assert!(first.0 != second.0 && first.0 != other_start.0 && first.0 != of("").0);
    let ((boot, number), (boot_again, _)) = (first.1.expect("numbered"), second.1.expect("numbered"));
    assert!(number == 7 && boot == boot_again && Some(boot) != other_start.1.map(|s| s.0));
    // A whole number stands for its digits.
    assert_eq!(of(r#","seq":0,"boot_id":12"#), of(r#","seq":0,"boot_id":"12""#));
    // A number alone, or a start alone, names nothing.
    assert_eq!(of(r#","seq":7"#), of(""));
    assert_eq!(of(r#","seq":null,"boot_id":"a""#), of(""));
    for (fields, expected) in [
        (r#","seq":-1,"boot_id":"a""#, "out_of_range seq"),
        (r#","seq":9223372036854775808,"boot_id":"a""#, "out_of_range seq"),
        (r#","seq":1.5,"boot_id":"a""#, "wrong_type seq"),
        (r#","seq":"1","boot_id":"a""#, "wrong_type seq"),
        (r#","seq":1,"boot_id":1.5"#, "wrong_type boot_id"),
        (r#","seq":1,"boot_id":"""#, "out_of_range boot_id"),
        (r#","seq":1,"boot_id":[]"#, "wrong_type boot_id"),
    ] {
        assert_eq!(parsed(fields).0, expected, "{fields}");
    }
    // With an id the number only tells what is missing.
    let body = format!(
        r#"{{"event_id":"e","topic":"temperature","payload":{{"device_id":"d","ts":{T},"temperature":5,"seq":1,"boot_id":1}}}}"#
    );
    let batch = parse(body, Format::Json).expect("one record");
    assert!(batch.records().all(|r| r.sequence.is_some() && !r.is_numbered));
}
