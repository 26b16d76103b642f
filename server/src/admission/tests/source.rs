//! Where each record of a body comes from.

use super::*;

#[test]
fn each_record_has_its_own_source() {
    let many: Vec<String> = (0..30).map(|n| format!("s{}", n % 11)).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for named in [&["a", "", "b", r"a\u0000b", "a", "", "ä", "a"][..], &["", ""], &many] {
        let more = |source: &&str| if source.is_empty() { String::new() } else { format!(r#","source":"{source}""#) };
        let body: Vec<String> = named.iter().map(more).map(|more| bare(&more)).collect();
        let batch = parse(body.join("\n"), Format::Ndjson).expect("few");
        let expected = named.iter().map(|source| if source.is_empty() || source.contains('\\') { "key" } else { source });
        assert!(batch.records().map(|record| record.source).eq(expected.clone()), "{named:?}");
        assert!((0..batch.len()).map(|index| batch.source(index)).eq(expected), "{named:?}");
    }
}

#[test]
fn a_message_without_a_source_has_that_of_its_topic() {
    let (plain, named) = (bare(""), bare(r#","source":"own""#));
    let sent = [
        (&plain, "x", false),
        (&plain, "x", false),
        (&named, "x", false),
        (&plain, "y", false),
        (&named, "z", true),
        (&plain, "", false),
    ];
    let mut raw = String::new();
    let messages: Vec<Message<'_>> = sent
        .iter()
        .map(|(body, source, is_unreadable)| {
            raw.push_str(body);
            Message { end: raw.len(), source, is_unreadable: *is_unreadable }
        })
        .collect();
    let batch = Batch::of_messages(raw.clone().into(), messages, &IdentityKey([7; 16]));
    assert!(batch.records().map(|record| record.source).eq(["x", "x", "own", "y", "z", ""]));
}

#[test]
fn a_source_with_a_nul_is_none() {
    for (source, expected) in [(r"a\u0000b", "key"), (r"\u0000", "key"), ("pabrik", "pabrik")] {
        let batch = parse(bare(&format!(r#","source":"{source}""#)), Format::Json).expect("few");
        assert_eq!(batch.source(0), expected);
    }
}
