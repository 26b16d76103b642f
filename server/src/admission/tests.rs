//! Admission as data: a body, and what its records are taken for.

mod identity;
mod laws;
mod source;

use super::body::{BodyError, MAX_BODY_BYTES, inflate};
use super::*;
use domain::event::{DeviceStatus, Reason};
use domain::milli::Milli;
use std::io::Write;

const KEY: IdentityKey = IdentityKey(*b"sixteen byte key");
/// The time of readings that do not say another: 2026-11-18T11:06:40Z.
const T: i64 = 1_795_000_000_000;

fn parse(body: impl AsRef<[u8]>, format: Format) -> Result<Batch, TooManyRecords> {
    Batch::parse(Bytes::copy_from_slice(body.as_ref()), format, "key", &KEY)
}

/// What became of each record: `d 5`, `d 5 h40 b90 warn @TIME`, `d fault 85`, `gps d`, `stock`, or `reason field`.
fn shown(batch: &Batch) -> String {
    let each = batch.records().enumerate().map(|(index, record)| {
        let topic = record.topic.map_or("?", Topic::name);
        match record.content {
            Content::Reading { device, reading } => {
                let mut parts = vec![format!("{device} {}", reading.temperature)];
                parts.extend(reading.humidity.map(|humidity| format!("h{humidity}")));
                parts.extend(reading.battery.map(|battery| format!("b{battery}")));
                match reading.status {
                    DeviceStatus::Ok => {}
                    DeviceStatus::Warn => parts.push("warn".to_owned()),
                    DeviceStatus::Error => parts.push("error".to_owned()),
                }
                if reading.at.ms() != T {
                    parts.push(format!("@{}", reading.at));
                }
                parts.join(" ")
            }
            Content::Fault { device, fault } => format!("{device} fault {}", fault.code),
            Content::Fix { device, .. } => format!("{topic} {device}"),
            Content::Other { .. } => match batch.device_id(index) {
                Some(device) => format!("{topic} {device}"),
                None => topic.to_owned(),
            },
            Content::Rejected(reason) => format!("{reason} {}", batch.field(index)).trim_end().to_owned(),
        }
    });
    each.collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(body: impl AsRef<[u8]>, expected: &str) {
    let body = body.as_ref();
    let batch = parse(body, Format::Json).expect("few records");
    assert_eq!(shown(&batch), expected, "{}", String::from_utf8_lossy(&body[..body.len().min(300)]));
}

#[track_caller]
fn check_lines(body: impl AsRef<[u8]>, expected: &str) {
    let body = body.as_ref();
    let batch = parse(body, Format::Ndjson).expect("few records");
    assert_eq!(shown(&batch), expected, "{}", String::from_utf8_lossy(body));
}

/// A bare payload with all that is required, and `more`.
fn bare(more: &str) -> String {
    format!(r#"{{"device_id":"d","ts":{T},"temperature":5{more}}}"#)
}

/// A bare payload with this temperature.
fn degrees(text: &str) -> String {
    format!(r#"{{"device_id":"d","ts":{T},"temperature":{text}}}"#)
}

/// An envelope with `payload` and with `more` at its root.
fn envelope(payload: &str, more: &str) -> String {
    format!(r#"{{"event_id":"e","topic":"temperature","source":"s","payload":{{{payload}}}{more}}}"#)
}

const PAYLOAD: &str = r#""device_id":"d","ts":1795000000000,"temperature":5"#;

#[test]
fn shapes() {
    check(bare(""), "d 5");
    check(
        bare(r#","humidity":40.5,"battery":90,"status":"warn","location":"Gudang","seq":7,"boot_id":"b""#),
        "d 5 h40.5 b90 warn",
    );
    check(bare(r#","humidity":null,"battery":null,"status":null,"location":null"#), "d 5");
    check(envelope(PAYLOAD, ""), "d 5");
    check(envelope(PAYLOAD, r#","schema":{"version":2,"tags":["a","a"]}"#), "d 5");
    check(format!(" \t\r\n{}\n ", envelope(PAYLOAD, "")), "d 5");
    check(envelope(r#""device_id":"d","temperature":5"#, &format!(r#","ts":{T}"#)), "d 5");
    check(r#"{"event_id":"e","topic":"stock","payload":{"anything":[1]}}"#, "stock");
    check(r#"{"event_id":"e","topic":"distribution","payload":{}}"#, "distribution");
    check("5", "wrong_type");
    check(r#""text""#, "wrong_type");
    check("null", "wrong_type");
    check("", "malformed_json");
    check("{", "malformed_json");
    check(format!("{} x", bare("")), "malformed_json");
    check("{'a':1}", "malformed_json");
    check(r#"{"a":1,}"#, "malformed_json");
}

#[test]
fn fields_that_are_absent_or_of_another_type() {
    check("{}", "missing_field device_id");
    check(r#"{"device_id":"d","temperature":5}"#, "missing_field ts");
    check(format!(r#"{{"device_id":"d","ts":{T}}}"#), "missing_field temperature");
    check(format!(r#"{{"device_id":"d","ts":{T},"temperature":null}}"#), "missing_field temperature");
    check(format!(r#"{{"ts":{T},"temperature":5}}"#), "missing_field device_id");
    check(format!(r#"{{"device_id":7,"ts":{T},"temperature":5}}"#), "wrong_type device_id");
    check(format!(r#"{{"device_id":"","ts":{T},"temperature":5}}"#), "out_of_range device_id");
    check(degrees(r#""5""#), "wrong_type temperature");
    check(degrees("true"), "wrong_type temperature");
    check(degrees("[5]"), "wrong_type temperature");
    check(degrees(r#"{"value":5}"#), "wrong_type temperature");
    check(bare(r#","humidity":"40""#), "wrong_type humidity");
    check(bare(r#","battery":false"#), "wrong_type battery");
    check(bare(r#","status":1"#), "wrong_type status");
    check(bare(r#","status":"broken""#), "out_of_range status");
    check(bare(r#","location":1"#), "wrong_type location");
    check(envelope(r#""ts":1795000000000,"temperature":5"#, ""), "missing_field payload.device_id");
    check(envelope(r#""device_id":"d","temperature":5"#, ""), "missing_field payload.ts");
    check(envelope(r#""device_id":"d","ts":1795000000000"#, ""), "missing_field payload.temperature");
    check(envelope(&format!(r#"{PAYLOAD},"location":[]"#), ""), "wrong_type payload.location");
    check(envelope(&format!(r#"{PAYLOAD},"humidity":"x""#), ""), "wrong_type payload.humidity");
    check(envelope(PAYLOAD, r#","ts":true"#), "wrong_type ts");
    check(r#"{"topic":"temperature"}"#, "missing_field payload");
    check(r#"{"topic":"temperature","payload":null}"#, "missing_field payload");
    check(r#"{"topic":"temperature","payload":[]}"#, "wrong_type payload");
    check(r#"{"payload":{}}"#, "missing_field topic");
    check(r#"{"topic":null,"payload":{}}"#, "missing_field topic");
    check(r#"{"topic":7,"payload":{}}"#, "wrong_type topic");
    check(r#"{"topic":"weather","payload":{}}"#, "unknown_topic topic");
    check(r#"{"topic":"Temperature","payload":{}}"#, "unknown_topic topic");
    check(r#"{"topic":"stock","payload":{}}"#, "missing_field event_id");
    check(envelope(PAYLOAD, "").replace(r#""e""#, "7"), "wrong_type event_id");
    check(envelope(PAYLOAD, "").replace(r#""e""#, r#""""#), "out_of_range event_id");
    check(envelope(PAYLOAD, "").replace(r#""s""#, "{}"), "wrong_type source");
}

#[test]
fn numbers() {
    for (text, expected) in [
        ("0", "d 0"),
        ("-0", "d 0"),
        ("-0.0", "d 0"),
        ("4.56", "d 4.56"),
        ("4.0005", "d 4.001"),
        ("-4.0005", "d -4.001"),
        ("4.00049999999999999", "d 4"),
        ("-0.0005", "d -0.001"),
        ("-0.0004", "d 0"),
        ("0.45e1", "d 4.5"),
        ("45E-1", "d 4.5"),
        ("-55", "d -55"),
        ("-55.0004", "d -55"),
        ("-55.001", "out_of_range temperature"),
        ("-55.0005", "out_of_range temperature"),
        ("125", "d 125"),
        ("125.0004", "d 125"),
        ("125.001", "out_of_range temperature"),
        ("9007199254740993", "out_of_range temperature"),
        ("1e300", "out_of_range temperature"),
        ("NaN", "non_finite temperature"),
        ("Infinity", "non_finite temperature"),
        ("-Infinity", "non_finite temperature"),
        ("1e999", "non_finite temperature"),
        ("-1e999", "non_finite temperature"),
        (r#""NaN""#, "non_finite temperature"),
        (r#""nan""#, "non_finite temperature"),
        (r#""-Infinity""#, "non_finite temperature"),
        (r#""inf""#, "non_finite temperature"),
        ("05", "malformed_json"),
        ("+5", "malformed_json"),
        (".5", "malformed_json"),
        ("5.", "malformed_json"),
        ("0x10", "malformed_json"),
        ("-", "malformed_json"),
        ("1e", "malformed_json"),
        ("nan", "malformed_json"),
    ] {
        check(degrees(text), expected);
    }
    check(degrees(&"9".repeat(4_000)), "non_finite temperature");
    check(degrees(&"9".repeat(5_000)), "out_of_range");
    for name in ["humidity", "battery"] {
        let letter = &name[..1];
        for (text, expected) in [
            ("0", format!("d 5 {letter}0")),
            ("-0.0004", format!("d 5 {letter}0")),
            ("100", format!("d 5 {letter}100")),
            ("100.0004", format!("d 5 {letter}100")),
            ("-0.001", format!("out_of_range {name}")),
            ("100.001", format!("out_of_range {name}")),
            ("85", format!("d 5 {letter}85")), // a sensor code of temperatures only
            ("NaN", format!("non_finite {name}")),
            (r#""Infinity""#, format!("non_finite {name}")),
        ] {
            check(bare(&format!(r#","{name}":{text}"#)), &expected);
        }
    }
    // A value that is not finite is refused wherever it stands: no page and no table could write it again.
    check(bare(r#","extra":NaN"#), "non_finite");
    check(bare(r#","extra":{"deep":[1,-Infinity]}"#), "non_finite");
    check(envelope(PAYLOAD, r#","humidity":NaN"#), "non_finite");
    check(r#"{"event_id":"e","topic":"stock","payload":{"n":Infinity}}"#, "non_finite");
}

#[test]
fn codes_of_a_failed_sensor() {
    for (text, expected) in [
        ("85", "d fault 85"),
        ("85.0", "d fault 85"),
        ("85.000", "d fault 85"),
        ("8.5e1", "d fault 85"),
        ("85.0004", "d fault 85"),
        ("85.001", "d 85.001"),
        ("84.999", "d 84.999"),
        ("127.94", "d fault 127.94"),
        ("127.941", "out_of_range temperature"),
        ("-127", "d fault -127"),
        ("-127.000", "d fault -127"),
        ("-126.999", "out_of_range temperature"),
        ("127", "out_of_range temperature"),
    ] {
        check(degrees(text), expected);
    }
    let field = |body: String| parse(body, Format::Json).expect("one record").field(0).to_owned();
    assert_eq!(field(degrees("85")), "temperature");
    assert_eq!(field(envelope(&PAYLOAD.replace(":5", ":85.0"), "")), "payload.temperature");
}

#[test]
fn times() {
    let at = |text: &str| format!(r#"{{"device_id":"d","temperature":5,"ts":{text}}}"#);
    for (text, expected) in [
        ("1795000000000", "d 5"),
        (r#""2026-11-18T11:06:40Z""#, "d 5"),
        (r#""2026-11-18T11:06:40.000Z""#, "d 5"),
        (r#""2026-11-18T18:06:40+07:00""#, "d 5"),
        (r#""2026-11-18 18:06:40+07:00""#, "d 5"),
        (r#""2026-11-18T11:06:40.0009Z""#, "d 5"),
        (r#""2026-12-31T23:59:60Z""#, "d 5 @2026-12-31T23:59:59.999Z"),
        (r#""2026-11-18T11:06:40""#, "wrong_type ts"), // without an offset its meaning would be a guess
        (r#""2026-11-18""#, "wrong_type ts"),
        (r#""yesterday""#, "wrong_type ts"),
        (r#""1795000000000""#, "wrong_type ts"),
        ("1795000000000.5", "wrong_type ts"),
        ("1.795e12", "wrong_type ts"),
        ("99999999999999999999", "out_of_range ts"),
        ("NaN", "non_finite ts"),
        ("-Infinity", "non_finite ts"),
        ("[]", "wrong_type ts"),
        ("null", "missing_field ts"),
        // Whether a time is possible at all is judged by the engine, which knows the server's time.
        ("-1", "d 5 @1969-12-31T23:59:59.999Z"),
    ] {
        check(at(text), expected);
    }
    let both = |ts: &str, timestamp: &str| format!(r#"{{"device_id":"d","temperature":5,"ts":{ts},"timestamp":{timestamp}}}"#);
    check(both("1795000000000", "1"), "d 5");
    check(both("null", "1795000000000"), "d 5");
    check(r#"{"device_id":"d","temperature":5,"timestamp":1795000000000}"#, "d 5");
    check(r#"{"device_id":"d","temperature":5,"timestamp":"x"}"#, "wrong_type timestamp");
    check(envelope(r#""device_id":"d","temperature":5,"timestamp":"x""#, ""), "wrong_type payload.timestamp");
    // The payload's time is the device's own; the envelope's stands in for it.
    check(envelope(PAYLOAD, r#","ts":1"#), "d 5");
    check(envelope(PAYLOAD, r#","ts":"x""#), "wrong_type ts");
}

#[test]
fn repeated_keys() {
    check(bare(r#","temperature":5"#), "duplicate_key temperature");
    check(bare(r#","extra":1,"extra":2"#), "duplicate_key extra");
    check(bare(r#","extra":{"a":1,"b":{"a":1,"a":2}}"#), "duplicate_key a");
    check(bare(r#","extra":{"a":1,"b":{"a":1}},"a":2"#), "d 5"); // one key in three objects
    check(bare(r#","list":[{"a":1},{"a":1}]"#), "d 5");
    check(envelope(PAYLOAD, r#","topic":"temperature""#), "duplicate_key topic");
    check(envelope(PAYLOAD, r#","payload":{}"#), "duplicate_key payload");
    check(envelope(&format!(r#"{PAYLOAD},"device_id":"d""#), ""), "duplicate_key payload.device_id");
    check(envelope(&format!(r#"{PAYLOAD},"note":1,"note":1"#), ""), "duplicate_key payload.note");
    check(bare(r#","temper\u0061ture":5"#), "duplicate_key temperature"); // one key written in two ways
    check(bare(r#","\u0065xtra":1,"extra":2"#), "duplicate_key extra");
    check(bare(r#","temperature":null"#), "duplicate_key temperature");
    // Many keys: found all the same, and in no more than a moment.
    let many = (0..200).map(|i| format!(r#","k{i}":1"#)).collect::<Vec<_>>().concat();
    check(bare(&many), "d 5");
    check(bare(&format!(r#"{many},"k77":1"#)), "duplicate_key k77");
    let very_many = (0..100_000).map(|i| format!(r#","{i}":1"#)).collect::<Vec<_>>().concat();
    check(bare(&very_many), "too_large");
}

#[test]
fn depth() {
    // The record is level 1.
    let nested = |levels: usize| bare(&format!(r#","x":{}{}"#, "[".repeat(levels - 1), "]".repeat(levels - 1)));
    check(nested(31), "d 5");
    check(nested(32), "d 5");
    check(nested(33), "too_deep");
    check(nested(100_000), "too_deep");
    check(bare(&format!(r#","x":{}1{}"#, r#"{"a":"#.repeat(31), "}".repeat(31))), "d 5");
    check(bare(&format!(r#","x":{}1{}"#, r#"{"a":"#.repeat(32), "}".repeat(32))), "too_deep");
    let in_payload =
        |levels: usize| envelope(&format!(r#"{PAYLOAD},"x":{}{}"#, "[".repeat(levels - 2), "]".repeat(levels - 2)), "");
    check(in_payload(32), "d 5");
    check(in_payload(33), "too_deep");
    check("[".repeat(100_000), "too_deep");
    check(r#"{"a":"#.repeat(100_000), "too_deep");
    check(format!("[{},{}]", nested(40), bare("")), "too_deep, d 5");
    check_lines(format!("{}\n{}", nested(100_000), bare("")), "too_deep, d 5");
}

#[test]
fn texts() {
    check(bare(r#","x":"\ud800""#), "invalid_utf8");
    check(bare(r#","x":"\ud800 ""#), "invalid_utf8");
    check(bare(r#","x":"\udc00""#), "invalid_utf8");
    check(bare(r#","x":"\ud800\ud800""#), "invalid_utf8");
    check(bare(r#","\udc00":1"#), "invalid_utf8");
    check(bare(r#","x":"\ud83d\ude00""#), "d 5");
    check(bare(r#","x":"\u0000""#), "invalid_utf8");
    check(bare(r#","x\u0000":1"#), "invalid_utf8");
    check(bare(r#","x":{"y":["\u0000"]}"#), "invalid_utf8");
    check(bare(",\"x\":\"\0\""), "malformed_json"); // a raw control character is not JSON
    check(bare(",\"x\":\"a\nb\""), "malformed_json");
    check(bare(r#","x":"\q""#), "malformed_json");
    check(bare(r#","x":"\u12""#), "malformed_json");
    let with = |bytes: &[u8]| {
        let mut body = bare(r#","x":""#).into_bytes();
        body.truncate(body.len() - 1);
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\"}");
        body
    };
    check(with("RTL \u{202e} é 😀".as_bytes()), "d 5");
    check(with(b"\xff"), "invalid_utf8");
    check(with(b"\xc3"), "invalid_utf8");
    check(with(b"\xed\xa0\x80"), "invalid_utf8"); // a surrogate in UTF-8
    check(with(b"\xc0\x80"), "invalid_utf8"); // NUL, overlong
    check(with(b"\\n\xff"), "invalid_utf8");
    check(b"\xff", "invalid_utf8");
    check(b"{\"a\":1\xff}", "invalid_utf8"); // between two tokens
    check([bare("").as_bytes(), b" \xff"].concat(), "invalid_utf8");
    // Cut off within a character; something else is wrong before it.
    check(b"{\"a\":\"\xc3", "malformed_json");
    check(b"[{\"a\":[},{\"b\":\"\xff\"}]", "malformed_json");
    check(format!("\u{feff}{}", bare("")), "malformed_json"); // a byte order mark
    // Ids: 128 characters, however many bytes each has.
    let id = |id: &str| envelope(PAYLOAD, "").replace(r#""e""#, &format!("\"{id}\""));
    check(id(&"a".repeat(128)), "d 5");
    check(id(&"a".repeat(129)), "too_large event_id");
    for wide in ["é", "→", "\u{10348}", "\\u00e9", "\\ud800\\udf48"] {
        check(id(&wide.repeat(128)), "d 5");
        check(id(&format!("a{}", wide.repeat(128))), "too_large event_id");
    }
    check(bare("").replace(r#""d""#, &format!("\"{}\"", "d".repeat(129))), "too_large device_id");
    check(envelope(PAYLOAD, "").replace(r#""d""#, &format!("\"{}\"", "d".repeat(129))), "too_large payload.device_id");
    check(bare(&format!(r#","location":"{}""#, "x".repeat(129))), "too_large location");
    check(bare(r#","x":"\\\"\/\b\f\n\r\t""#), "d 5");
    let batch = parse(envelope(PAYLOAD, "").replace(r#""d""#, r#""a\/\"b\u00e9""#), Format::Json).expect("one record");
    assert_eq!(batch.device_id(0), Some("a/\"bé"));
}

#[test]
fn sizes() {
    let of = |len: usize| {
        let mut body = bare(r#","x":""#);
        body.truncate(body.len() - 1);
        let rest = len - body.len() - 2;
        format!("{body}{}\"}}", "x".repeat(rest))
    };
    assert_eq!(of(MAX_RECORD_BYTES).len(), MAX_RECORD_BYTES);
    check(of(MAX_RECORD_BYTES), "d 5");
    check(format!(" {} ", of(MAX_RECORD_BYTES)), "d 5"); // white space around it does not count
    check(of(MAX_RECORD_BYTES + 1), "too_large");
    check(format!("[{},{}]", of(MAX_RECORD_BYTES + 1), bare("")), "too_large, d 5");
    check_lines(format!("{}\r\n{}\r\n", of(MAX_RECORD_BYTES), of(MAX_RECORD_BYTES + 1)), "d 5, too_large");
    let records = |n: usize| vec!["1"; n];
    assert_eq!(
        parse(format!("[{}]", records(MAX_RECORDS).join(",")), Format::Json).expect("as many as may be").len(),
        MAX_RECORDS
    );
    assert!(parse(format!("[{}]", records(MAX_RECORDS + 1).join(",")), Format::Json).is_err());
    assert_eq!(parse(records(MAX_RECORDS).join("\n"), Format::Ndjson).expect("as many as may be").len(), MAX_RECORDS);
    assert!(parse(records(MAX_RECORDS + 1).join("\n"), Format::Ndjson).is_err());
}

#[test]
fn lists() {
    let (a, b) = (bare(""), bare(r#","status":"error""#));
    check("[]", "");
    check(" [ ] ", "");
    check(format!("[{a}]"), "d 5");
    check(format!(" [ {a} , {b} ] "), "d 5, d 5 error");
    check(format!("[{a},5,null,\"x\",[],{b}]"), "d 5, wrong_type, wrong_type, wrong_type, wrong_type, d 5 error");
    // Broken within: the neighbours stand.
    check(format!(r#"[{a},{{"device_id":}},{b}]"#), "d 5, malformed_json, d 5 error");
    check(format!(r#"[{a},{{"x":[}},{b}]"#), "d 5, malformed_json");
    check(format!(r#"[{a},{{"x":"}}]\"{{"}},{b}]"#), "d 5, missing_field device_id, d 5 error");
    check(format!(r#"[{a},{{"x":"}}]\"{{",}},{b}]"#), "d 5, malformed_json, d 5 error");
    check(format!("[{a},nul,{b}]"), "d 5, malformed_json, d 5 error");
    check(format!("[{a} {b}]"), "d 5, malformed_json");
    check(format!("[{a},,{b}]"), "d 5, malformed_json, d 5 error");
    // Broken off.
    check("[", "malformed_json");
    check(format!("[{a}"), "d 5, malformed_json");
    check(format!("[{a},"), "d 5, malformed_json");
    check(format!("[{a},{}", &b[..20]), "d 5, malformed_json");
    check(format!("[{a},]"), "d 5, malformed_json");
    // Going on after the end.
    check("[]x", "malformed_json");
    check("[][]", "malformed_json");
    check(format!("[{a}]x"), "d 5, malformed_json");
    check(format!("[{a}],{b}"), "d 5, malformed_json");
    let batch = parse(format!("[{a},{{\"device_id\":}},\n {b}\n]"), Format::Json).expect("three records");
    let raw = |index| String::from_utf8_lossy(batch.raw_record(index)).into_owned();
    assert_eq!((raw(0), raw(1).as_str(), raw(2)), (a.clone(), r#"{"device_id":}"#, b.clone()));
    assert!(!batch.is_single && parse(&a, Format::Json).expect("one").is_single);

    check_lines(format!("{a}\n{b}"), "d 5, d 5 error");
    check_lines(format!("\r\n{a}\r\n\r\n \t{b} \r\n\n"), "d 5, d 5 error");
    check_lines(format!("{a}\n{{\n{b}\nx\n"), "d 5, malformed_json, d 5 error, malformed_json");
    check_lines(format!("{a} {b}\n[{a}]"), "malformed_json, wrong_type");
    check_lines("\n \n", "");
}

fn feature(geometry: &str, properties: &str) -> String {
    format!(r#"{{"type":"Feature","geometry":{geometry},"properties":{properties}}}"#)
}

#[test]
fn features() {
    let point = |coordinates: &str| format!(r#"{{"type":"Point","coordinates":{coordinates}}}"#);
    let fine = r#"{"device_id":"d","ts":1795000000000,"speed":3.2,"heading":90}"#;
    check(feature(&point("[107.6,-6.8]"), fine), "gps d");
    check(feature(&point("[107.6,-6.8,700]"), fine), "gps d");
    check(feature(&point("[180,90]"), fine), "gps d");
    check(feature(r#"{"coordinates":[107.6,-6.8],"type":"P\u006fint","bbox":null}"#, fine), "gps d");
    check(feature(&point("[180.001,0]"), fine), "out_of_range geometry.coordinates");
    check(feature(&point("[0,-90.001]"), fine), "out_of_range geometry.coordinates");
    check(feature(&point("[107.6]"), fine), "wrong_type geometry");
    check(feature(&point("[1,2,3,4]"), fine), "wrong_type geometry");
    check(feature(&point(r#"["107.6",-6.8]"#), fine), "wrong_type geometry");
    check(feature(&point("[NaN,0]"), fine), "non_finite geometry.coordinates");
    check(feature(&point("[1e999,0]"), fine), "non_finite geometry.coordinates");
    check(feature(r#"{"type":"LineString","coordinates":[[1,2],[3,4]]}"#, fine), "wrong_type geometry");
    check(feature(r#"{"type":"Point"}"#, fine), "wrong_type geometry");
    check(feature("null", fine), "missing_field geometry");
    check(feature("5", fine), "wrong_type geometry");
    check(r#"{"type":"Feature"}"#, "missing_field geometry");
    check(feature(&point("[1,2]"), "null"), "missing_field properties");
    check(feature(&point("[1,2]"), "{}"), "missing_field properties.device_id");
    check(feature(&point("[1,2]"), r#"{"device_id":"d"}"#), "missing_field properties.ts");
    check(feature(&point("[1,2]"), r#"{"device_id":"d","timestamp":"x"}"#), "wrong_type properties.timestamp");
    check(feature(&point("[1,2]"), r#"{"device_id":"d","device_id":"d","ts":1}"#), "duplicate_key device_id");
    let wrapped = |payload: String| format!(r#"{{"event_id":"e","topic":"gps","payload":{payload}}}"#);
    check(wrapped(feature(&point("[1,2]"), fine)), "gps d");
    check(wrapped("{}".into()), "wrong_type payload.type");
    check(wrapped(feature(&point("[1,200]"), fine)), "out_of_range payload.geometry.coordinates");
    check(wrapped(feature(&point("[1,2]"), "{}")), "missing_field payload.properties.device_id");
    let of_root =
        format!(r#"{{"event_id":"e","topic":"gps","ts":{T},"payload":{}}}"#, feature(&point("[1,2]"), r#"{"device_id":"d"}"#));
    check(of_root, "gps d");
}

/// Speed, heading and accuracy of a fix: numbers, or nothing.
#[test]
fn how_a_tracker_moves() {
    let of = |name: &str, text: &str| {
        let properties = format!(r#"{{"device_id":"d","ts":{T},"{name}":{text}}}"#);
        feature(r#"{"type":"Point","coordinates":[107.6,-6.8]}"#, &properties)
    };
    for name in ["speed", "heading", "accuracy"] {
        for (text, expected) in [
            ("0", "gps d"),
            ("-0.0", "gps d"),
            ("12.4", "gps d"),
            ("3.6e2", "gps d"),
            ("null", "gps d"),
            ("\"fast\"", "wrong_type"),
            ("\"12.4\"", "wrong_type"),
            ("true", "wrong_type"),
            ("[1]", "wrong_type"),
            ("{}", "wrong_type"),
            ("-0.001", "out_of_range"),
            ("-1", "out_of_range"),
            ("NaN", "non_finite"),
            ("-Infinity", "non_finite"),
            ("1e999", "non_finite"),
            ("\"NaN\"", "non_finite"),
        ] {
            let expected = if expected == "gps d" { expected.to_owned() } else { format!("{expected} properties.{name}") };
            check(of(name, text), &expected);
        }
        check(of(name, &format!("1,\"{name}\":1")), &format!("duplicate_key {name}"));
        // Of other records they are unknown fields.
        check(bare(&format!(r#","{name}":"x""#)), "d 5");
        check(envelope(&format!(r#"{PAYLOAD},"{name}":-1"#), &format!(r#","{name}":[]"#)), "d 5");
    }
    check(of("heading", "360.001"), "out_of_range properties.heading");
    check(of("speed", "1e9"), "gps d");
    check(of("accuracy", "1e9"), "gps d");
    let wrapped = format!(r#"{{"event_id":"e","topic":"gps","payload":{}}}"#, of("speed", "\"fast\""));
    check(wrapped, "wrong_type payload.properties.speed");
}

#[test]
fn every_reason_of_admission_has_a_case_here() {
    let here = include_str!("tests.rs");
    // The rest needs time or memory: they are the engine's.
    let of_the_engine =
        [Reason::SensorFault, Reason::Future, Reason::ClockReset, Reason::TooOld, Reason::IdConflict, Reason::ConflictingReading];
    for reason in Reason::ALL.iter().filter(|r| !of_the_engine.contains(r)) {
        assert!(here.contains(&format!("\"{}", reason.name())), "{reason}");
    }
}

#[test]
fn bodies() {
    type Encoder<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("in memory");
    // As records shrink: one byte of sixteen is another one each time.
    let over: Vec<u8> = (0..=MAX_BODY_BYTES as u32)
        .map(|n| if n % 16 == 0 { (n.wrapping_mul(2_654_435_769) >> 24) as u8 } else { b' ' })
        .collect();
    let full = over[1..].to_vec();
    let encodings: [(&str, Encoder<'_>); 3] = [("gzip", &gzip), ("zstd", &zstd), ("identity", &|bytes| bytes.to_vec())];
    for (name, encode) in encodings {
        assert_eq!(inflate(encode(b"x").into(), Some(name)).expect("small"), "x", "{name}");
        assert_eq!(inflate(encode(&full).into(), Some(name)).expect("at the limit").len(), MAX_BODY_BYTES, "{name}");
        assert!(matches!(inflate(encode(&over).into(), Some(name)), Err(BodyError::TooLarge)), "{name}");
    }
    // What shrinks as no records do.
    for (name, encode) in &encodings[..2] {
        for len in [MAX_BODY_BYTES, 1024 * 1024 * 2] {
            assert!(matches!(inflate(encode(&vec![b' '; len]).into(), Some(name)), Err(BodyError::Bomb)), "{name} {len}");
        }
        let short = vec![b' '; 64 * 1024];
        let sent = encode(&short);
        assert!(sent.len() * 100 < short.len(), "{name}");
        assert_eq!(inflate(sent.into(), Some(name)).expect("too short to do harm"), short, "{name}");
    }
    assert_eq!(inflate([gzip(b"a"), gzip(b"b")].concat().into(), Some("x-gzip")).expect("two members"), "ab");
    assert!(matches!(inflate(gzip(b"x")[..12].to_vec().into(), Some("gzip")), Err(BodyError::Broken(_))));
    assert!(matches!(inflate(zstd(b"xyz")[..6].to_vec().into(), Some("zstd")), Err(BodyError::Broken(_))));
    assert!(matches!(inflate(Bytes::from_static(b"x"), Some("zstd")), Err(BodyError::Broken(_))));
    assert!(matches!(inflate(Bytes::from_static(b"x"), Some("br")), Err(BodyError::UnknownEncoding(_))));
}

#[test]
fn fixes_in_millionths_of_a_degree() {
    let body = format!(
        r#"{{"type":"Feature","geometry":{{"type":"Point","coordinates":[107.6191234,-6.9174649]}},"properties":{{"device_id":"t","ts":{T},"seq":3,"boot_id":"x"}}}}"#
    );
    let batch = parse(body, Format::Json).expect("one record");
    let record = batch.records().next().expect("one");
    assert!(matches!(&record.content, Content::Fix { device, fix }
        if device == "t" && (fix.longitude_e6, fix.latitude_e6, fix.at.ms()) == (107_619_123, -6_917_465, T)));
    assert_eq!(record.sequence.map(|s| s.number), Some(3));
}
