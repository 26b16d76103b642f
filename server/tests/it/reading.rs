//! What was taken in, as it is read again: windows, side outputs, latest, regions, files; in every form.

use crate::support::{Server, bare, envelope, now_ms, rfc3339, slot_now, until};
use serde_json::{Value, json};

const DAY: i64 = 86_400_000;

/// S2.07: with B = 1 min the window from 14:30:00 to 14:30:10 is final as soon as 14:31:10 is seen, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn final_when_the_watermark_passes() {
    let server = Server::start().await;
    let now = now_ms();
    let half_past_two = now - now % DAY - DAY + (14 * 60 + 30) * 60_000;
    let path = "/api/v1/windows?device_id=g&size=10s";
    let window = async || server.json(path).await["windows"][0].clone();
    let reading =
        |ms: i64, temperature: &str, more: &str| bare("g", half_past_two + ms, temperature).replace('}', &format!("{more}}}"));
    server
        .accept(&[reading(3_000, "4.0", r#","humidity":40,"battery":90"#), reading(9_999, "4.001", r#","battery":80.5"#)])
        .await;
    server.accept(&[reading(10_000, "9", "")]).await; // the end belongs to the next window
    server.accept(&[reading(69_999, "5", "")]).await;
    assert_eq!((&window().await["state"], &window().await["version"]), (&json!("provisional"), &json!(0)));
    server.accept(&[reading(70_000, "5", "")]).await;
    let expected = json!({
        "device_id": "g", "window_start": rfc3339(half_past_two), "window_end": rfc3339(half_past_two + 10_000), "count": 2,
        "avg_temperature": 4.001, "min_temperature": 4, "max_temperature": 4.001, "stddev_temperature": 0.001,
        "avg_humidity": 40, "min_battery": 80.5, "max_battery": 90, "version": 1, "state": "final",
    });
    assert_eq!(window().await, expected);
    // A record within the allowed lateness joins it: a new version.
    server.accept(&[reading(5_000, "-0.0005", "")]).await;
    let again = window().await;
    assert_eq!([&again["version"], &again["count"], &again["min_temperature"]], [&json!(2), &json!(3), &json!(-0.001)]);
    let all = server.json(path).await;
    let states: Vec<_> =
        all["windows"].as_array().expect("a list").iter().map(|w| w["state"].as_str().expect("a text").to_owned()).collect();
    assert_eq!(
        (states, &all["next"]),
        (["final", "provisional", "provisional", "provisional"].map(str::to_owned).to_vec(), &Value::Null)
    );
    let long = server.json("/api/v1/windows?device_id=g&size=5m").await;
    assert_eq!((long["windows"].as_array().map(Vec::len), &long["windows"][0]["count"]), (Some(1), &json!(6)));
    assert_eq!(long["windows"][0]["window_end"], rfc3339(half_past_two + 300_000));
    server.stop().await;
}

/// Rows of CSV (RFC 4180) as texts.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut is_quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => cell.push(chars.next().expect("peeked")),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !is_quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !is_quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(cell.is_empty() && row.is_empty(), "the last line ends");
    rows
}

/// What a cell of CSV should read for a value of JSON.
fn as_cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// All rows of `path` by pages of `limit`, as NDJSON, as CSV and in one page: one and the same. `name` is the list's.
async fn every_form(server: &Server, path: &str, name: &str, limit: usize) -> Vec<Value> {
    let lines = server.rows(path).await;
    let join = if path.contains('?') { '&' } else { '?' };
    let whole = server.json(&format!("{path}{join}limit=10000")).await;
    assert_eq!(whole[name].as_array(), Some(&lines), "{path}");
    assert_eq!(whole["next"], Value::Null);
    let mut paged = Vec::new();
    let mut next = Value::Null;
    for _ in 0..=lines.len() {
        let cursor = next.as_str().map_or_else(String::new, |next| format!("&next={next}"));
        let page = server.json(&format!("{path}{join}limit={limit}{cursor}")).await;
        let rows = page[name].as_array().expect("a list").clone();
        assert!(rows.len() == limit || page["next"].is_null(), "only the last page is shorter");
        paged.extend(rows);
        next = page["next"].clone();
        if next.is_null() {
            break;
        }
    }
    assert_eq!(paged, lines, "{path} by pages of {limit}");
    let reply = server.get_with(path, &[("accept", "text/csv")]).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "text/csv; charset=utf-8"));
    let table = csv(&reply.text);
    let columns = &table[0];
    assert_eq!(table.len() - 1, lines.len());
    for (cells, row) in table[1..].iter().zip(&lines) {
        let object = row.as_object().expect("an object");
        assert_eq!(columns.len(), object.len());
        for (column, cell) in columns.iter().zip(cells) {
            let value = &object[column];
            // A payload stands there as it was sent.
            if column == "payload" {
                assert_eq!(serde_json::from_str::<Value>(cell).ok().as_ref(), Some(value));
            } else {
                assert_eq!(*cell, as_cell(value), "{column}");
            }
        }
    }
    for format in ["ndjson", "csv"] {
        let by_query = server.get(&format!("{path}{join}format={format}")).await;
        assert_eq!(by_query.status, 200);
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_in_every_form() {
    let server = Server::start().await;
    let slot = slot_now() - 3_600_000;
    let names = ["a", "a,b", r#"q\"q"#, "=1+1", "é 😀", "P110101-1-F1"];
    for (i, name) in names.iter().enumerate() {
        let records: Vec<String> =
            (0..20 + i as i64).map(|n| bare(name, slot + n * 7_000, &format!("{}.{n:03}", n - 10).replace("--", "-"))).collect();
        server.accept(&records).await;
    }
    let total: i64 = (0..names.len() as i64).map(|i| 20 + i).sum();
    for (path, limit) in [
        ("/api/v1/windows", 7),
        ("/api/v1/windows?size=10s", 1),
        ("/api/v1/windows?size=5m", 2),
        ("/api/v1/windows?device_id=a%2Cb", 3),
        ("/api/v1/windows?device_id=nobody", 3),
    ] {
        let rows = every_form(&server, path, "windows", limit).await;
        let order: Vec<_> = rows.iter().map(|w| (w["device_id"].as_str(), w["window_start"].as_str())).collect();
        assert!(order.is_sorted_by(|a, b| a < b), "{path}: by device and start, none twice");
        let count: i64 = rows.iter().map(|w| w["count"].as_i64().expect("a number")).sum();
        assert_eq!(
            count,
            if path.contains("nobody") {
                0
            } else if path.contains("%2C") {
                21
            } else {
                total
            },
            "{path}"
        );
    }
    // From and to are of starts, the end exclusive; both forms of time.
    let some = every_form(&server, &format!("/api/v1/windows?from={}&to={}", slot + 10_000, slot + 30_000), "windows", 4).await;
    assert_eq!(some.len(), 2 * names.len());
    let (from, to) = (rfc3339(slot + 10_000), rfc3339(slot + 30_000).replace('Z', "%2B00:00"));
    assert_eq!(server.json(&format!("/api/v1/windows?from={from}&to={to}")).await["windows"].as_array(), Some(&some));
    for wrong in [
        "size=11s",
        "size=",
        "limit=0",
        "limit=10001",
        "limit=x",
        "limit=-1",
        "from=yesterday",
        "to=2026-11-20",
        "next=zz",
        "next=00",
        "format=xml",
    ] {
        server.get(&format!("/api/v1/windows?{wrong}")).await.problem(400);
    }
    // From the store, after a restart: the same.
    let before = (server.rows("/api/v1/windows").await, server.rows("/api/v1/windows?size=5m").await);
    let server = Server::start_in(server.stop().await, &[]).await;
    assert_eq!((server.rows("/api/v1/windows").await, server.rows("/api/v1/windows?size=5m").await), before);
    every_form(&server, "/api/v1/windows", "windows", 9).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn side_outputs_in_every_form() {
    let server = Server::start().await;
    let now = slot_now();
    server.accept(&[bare("d", now - 3_600_000, "5"), bare("d", now, "5")]).await;
    // Late ones, written over several lines as a person would.
    let late: Vec<String> = (1..=7)
        .map(|i| {
            format!(
                "{{\n  \"event_id\": \"l{i}\",\r\n  \"topic\": \"temperature\",\n  \"payload\": {}\n}}",
                bare("d", now - 3_600_000 + i, "6")
            )
        })
        .collect();
    let reply = server.post(format!("[{}]", late.join(",\n"))).await;
    assert_eq!(reply.json()["late"], 7, "{}", reply.text);
    let natural = server.post(bare("d", now - 3_600_000 + 99, "6")).await;
    assert_eq!(natural.json(), json!({"status": "accepted"}));
    let rows = every_form(&server, "/api/v1/late", "late", 3).await;
    assert_eq!(rows.len(), 8);
    let passed = now - 60_000 - (now - 3_600_000 + 10_000);
    for (i, row) in (1..).zip(&rows[..7]) {
        assert_eq!((&row["event_id"], &row["device_id"]), (&json!(format!("l{i}")), &json!("d")));
        assert_eq!((&row["position"], &row["lateness_ms"]), (&json!(i + 2), &json!(passed)));
        assert_eq!((&row["ts"], &row["window_start"]), (&json!(rfc3339(now - 3_600_000 + i)), &json!(rfc3339(now - 3_600_000))));
        assert_eq!(row["payload"], serde_json::from_str::<Value>(&late[i as usize - 1]).expect("JSON"));
    }
    assert_eq!(rows[7]["event_id"], Value::Null);

    let bodies = ["{", "=1+1", "[1,\n2]", "\"a,\\\"b\\\"\"", "{\"device_id\":\"d\"}"];
    for body in bodies {
        let status = server.post(body).await.status;
        assert_eq!(status, if body.starts_with('[') { 200 } else { 422 });
    }
    server.post_lines(b"\xff\xfe{\n".to_vec()).await;
    let rows = every_form(&server, "/api/v1/dead-letters", "dead_letters", 2).await;
    let raw: Vec<_> = rows.iter().map(|r| r["raw"].as_str().expect("a text")).collect();
    assert_eq!(raw, ["{", "=1+1", "1", "2", "\"a,\\\"b\\\"\"", "{\"device_id\":\"d\"}", "\u{fffd}\u{fffd}{"]);
    assert_eq!((&rows[5]["reason"], &rows[5]["field"]), (&json!("missing_field"), &json!("ts")));
    for path in ["/api/v1/late", "/api/v1/dead-letters"] {
        for wrong in ["limit=0", "limit=x", "next=zz", "next=6162", "format=xml"] {
            server.get(&format!("{path}?{wrong}")).await.problem(400);
        }
    }
    let before = (server.rows("/api/v1/late").await, server.rows("/api/v1/dead-letters").await);
    let server = Server::start_in(server.stop().await, &[]).await;
    assert_eq!((server.rows("/api/v1/late").await, server.rows("/api/v1/dead-letters").await), before);
    every_form(&server, "/api/v1/dead-letters", "dead_letters", 4).await;
    // New rows follow the stored ones.
    server.post("{ {").await.problem(422);
    let rows = every_form(&server, "/api/v1/dead-letters", "dead_letters", 4).await;
    assert_eq!(rows.len(), before.1.len() + 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_and_its_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("latest.json");
    let server = Server::start_with(&["--latest-file", file.to_str().expect("a plain path")]).await;
    assert_eq!(server.json("/api/v1/latest").await["records"], json!([]));
    let slot = slot_now();
    server
        .accept(&[bare("b", slot - 600_000, "4"), bare("b", slot - 300_000, "5"), bare("b", slot, "6"), bare("a", slot, "7")])
        .await;
    let latest = server.json("/api/v1/latest").await;
    // The newest window that has fired; `a` has none yet.
    let expected = server.json("/api/v1/windows?device_id=b").await["windows"][1].clone();
    assert_eq!((&expected["state"], &expected["avg_temperature"]), (&json!("final"), &json!(5)));
    assert_eq!(latest["records"], json!([expected]));
    assert!(domain::time::parse_rfc3339(latest["updated_at"].as_str().expect("a text")).is_some());
    let written = until("the file shows it", async || {
        let text = std::fs::read_to_string(&file).ok()?;
        let read: Value = serde_json::from_str(&text).expect("a whole file at any time");
        (read["records"] == latest["records"]).then_some(read)
    });
    written.await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn regions() {
    let server = Server::start().await;
    let before = server.json("/api/v1/regions/ID").await;
    let devices = before["counts"]["devices"].as_u64().expect("a number");
    assert!(devices > 10_000 && before["counts"]["no_word"] == devices, "{}", before["counts"]);
    let children = before["children"].as_array().expect("a list");
    assert_eq!(children.iter().filter(|c| c["kind"] == "region").count(), 38, "provinces");
    let now = now_ms();
    server.accept(&[envelope("1", "P110101-1-F1", now, "9.4"), envelope("2", "somebody", now, "5")]).await;
    for (code, depth) in [("ID", 1), ("11", 2), ("11.01", 3), ("11.01.01", 4)] {
        let region = server.json(&format!("/api/v1/regions/{code}")).await;
        assert_eq!((&region["code"], region["path"].as_array().map(Vec::len)), (&json!(code), Some(depth)), "{code}");
        assert_eq!((&region["counts"]["too_warm"], &region["counts"]["facilities_reporting"]), (&json!(1), &json!(1)), "{code}");
        let warm: u64 =
            region["children"].as_array().expect("a list").iter().filter_map(|c| c["counts"]["too_warm"].as_u64()).sum();
        assert_eq!(warm, 1, "{code}: its children add up to it");
    }
    let hours = server.json("/api/v1/regions/ID").await["hours"].clone();
    assert_eq!((&hours[0]["readings"], &hours[0]["high"]), (&json!(2), &json!(1)));
    let unassigned = server.json("/api/v1/regions/unassigned").await;
    assert_eq!(unassigned["hours"][0]["readings"], 1);
    let devices = unassigned["devices"].as_array().expect("a list");
    assert!(devices.len() == 1 && devices[0]["temperature"].is_number() && devices[0]["device_id"].is_string(), "{devices:?}");
    assert_eq!(unassigned["next"], Value::Null);
    server.get("/api/v1/regions/99.99").await.problem(404);
    let points = server.json("/api/v1/map/facilities").await;
    let warm: Vec<_> = points.as_array().expect("a list").iter().filter(|p| p["condition"] == "too_warm").collect();
    assert_eq!((warm.len(), &warm[0]["code"]), (1, &json!("P110101-1")));
    let count = |of: &Value| of.as_array().expect("a list").len();
    let of_province = server.json("/api/v1/map/facilities?region=11").await;
    let codes = of_province.as_array().expect("a list").iter().map(|p| p["code"].as_str().expect("a code"));
    assert!(
        codes.clone().any(|code| code == "P110101-1") && codes.clone().all(|code| code[1..].starts_with("11")),
        "{of_province}"
    );
    let of_district = server.json("/api/v1/map/facilities?region=11.01.01").await;
    assert!((1..count(&of_province)).contains(&count(&of_district)) && count(&of_province) < count(&points));
    assert_eq!(server.json("/api/v1/map/facilities?region=unassigned").await, json!([]));
    // The canvas asks for the same in two parts.
    let stand = server.json("/api/pages/map/conditions?region=11").await;
    let (digits, version) = (stand["conditions"].as_str().expect("digits"), &stand["version"]);
    let places = server.json(&format!("/api/pages/map/places?region=11&version={version}")).await;
    assert_eq!((digits.len(), count(&places["codes"])), (count(&of_province), count(&of_province)));
    let (mut latitude, mut longitude) = (0, 0);
    for (index, point) in of_province.as_array().expect("a list").iter().enumerate() {
        latitude += places["latitudes"][index].as_i64().expect("a number");
        longitude += places["longitudes"][index].as_i64().expect("a number");
        assert_eq!((&places["codes"][index], &places["names"][index]), (&point["code"], &point["name"]));
        assert_eq!(point["at"], json!([latitude * 10, longitude * 10]));
        let names = ["fine", "too_warm", "too_cold", "freezing", "no_word"];
        assert_eq!(point["condition"], names[usize::from(digits.as_bytes()[index] - b'0')]);
    }
    server.get("/api/pages/map/places?region=11&version=1").await.problem(404);
    server.get("/api/pages/map/conditions?region=unassigned").await.problem(404);
    server.get("/api/v1/map/facilities?region=99.99").await.problem(404);
    server.stop().await;
}

/// However many devices nobody has registered, every one is listed, newest first, by the API and on the pages.
#[tokio::test(flavor = "multi_thread")]
async fn unregistered_devices_page_by_page() {
    let server = Server::start().await;
    let now = now_ms();
    let ids: Vec<String> = (0..120).map(|n| format!("nobody's/{n}&?")).collect();
    server.accept(&ids.iter().map(|id| bare(id, now, "5")).collect::<Vec<_>>()).await;
    let expected: Vec<&str> = ids.iter().rev().map(String::as_str).collect();
    for limit in [1, 50, 60, 119, 120, 1_000] {
        let (mut found, mut next) = (Vec::new(), String::new());
        loop {
            let page = server.json(&format!("/api/v1/regions/unassigned?limit={limit}{next}")).await;
            let rows = page["devices"].as_array().expect("a list");
            assert!(rows.len() <= limit && !rows.is_empty());
            found.extend(rows.iter().map(|row| row["device_id"].as_str().expect("an id").to_owned()));
            // What comes meanwhile moves nothing.
            match page["next"].as_str() {
                Some(cursor) => next = format!("&next={cursor}"),
                None => break,
            }
        }
        assert_eq!(found, expected, "{limit} at a time");
    }
    let (mut found, mut path) = (Vec::new(), "/regions/unassigned/devices".to_owned());
    loop {
        let page = server.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        found.extend(page.text.split("<th scope=\"row\"><a href=\"/devices/").skip(1).map(|row| {
            let text = row.split_once('>').and_then(|(_, rest)| rest.split_once("</a>")).expect("a link").0;
            text.replace("<!>", "").replace("&amp;", "&")
        }));
        let Some((_, rest)) = page.text.split_once("rel=\"next\" href=\"") else { break };
        path = rest.split('"').next().expect("it ends").replace("&amp;", "&");
    }
    assert_eq!(found, expected);
    for wrong in [
        "unassigned?limit=0",
        "unassigned?limit=10001",
        "unassigned?next=zz",
        "unassigned?next=6162",
        "ID?limit=5",
        "ID?next=6162",
        "unassigned?limit=5&as_known_at=2026-01-01T00:00:00Z",
    ] {
        server.get(&format!("/api/v1/regions/{wrong}")).await.problem(400);
    }
    // One that is registered is none of them.
    // The id P110101-1-F1.
    let cursor = "503131303130312d312d4631";
    server.get(&format!("/api/v1/regions/unassigned?next={cursor}")).await.problem(400);
    assert_eq!(server.get("/regions/unassigned/devices?before=P110101-1-F1").await.status, 404);
    server.stop().await;
}

/// More than a page of them, some stored and some not yet: every one is listed once, newest first, and has a page.
#[tokio::test(flavor = "multi_thread")]
async fn late_records_have_pages() {
    let server = Server::start().await;
    assert!(server.get("/late?lang=en").await.text.contains("No late records"));
    let now = slot_now();
    let device = "P810101-1-F1";
    server.accept(&[bare(device, now - 3_600_000, "5"), bare(device, now, "5")]).await;
    let late = |i: i64| bare(device, now - 3_600_000 + i, "6");
    server.post_lines((1..=70).map(late).collect::<Vec<_>>().join("\n")).await;
    let server = Server::start_in(server.stop().await, &[]).await;
    server.post_lines((71..=120).map(late).collect::<Vec<_>>().join("\n")).await;
    let (mut path, mut found) = ("/late?lang=en".to_owned(), Vec::new());
    loop {
        let page = server.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert!(page.text.contains("120 late records") && page.text.contains("WIT"), "in the time of Maluku");
        let position_in = |link: &str, path: &str| link.split_once(path)?.1.split(['"', '&']).next()?.parse::<u64>().ok();
        let links: Vec<&str> = page.text.split("<a ").skip(1).collect();
        found.extend(links.iter().filter_map(|link| position_in(link, "href=\"/late/")));
        let next = links.iter().find(|link| link.contains("rel=\"next\""));
        let Some(next) = next.and_then(|link| position_in(link, "href=\"/late?before=")) else { break };
        path = format!("/late?lang=en&before={next}");
    }
    assert_eq!(found, (3..=122).rev().collect::<Vec<u64>>());
    for position in [3, 122] {
        let page = server.get(&format!("/late/{position}?lang=en")).await;
        assert!(
            page.status == 200 && page.text.contains("Late by 58") && page.text.contains("/devices/P810101-1-F1"),
            "{}",
            page.text
        );
        assert!(page.text.contains(&late(position - 2)), "its bytes: {}", page.text);
    }
    assert_eq!(server.get("/late/1").await.status, 404);
    assert_eq!(server.get("/late?before=x").await.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_pages() {
    let server = Server::start().await;
    let now = slot_now();
    server.accept(&[bare("P321701-1-F1", now - 600_000, "4.5"), bare("P321701-1-F1", now, "9.4")]).await;
    let children = async |code: &str| {
        let answer = server.get(&format!("/regions/{code}/children.csv")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/csv; charset=utf-8"), "{code}");
        csv(&answer.text)
    };
    let rows = children("32.17.01").await;
    assert_eq!(rows[0][..5], ["code", "name", "kind", "units", "in_range"]);
    let own = rows.iter().find(|row| row[0] == "P321701-1").expect("the facility");
    let at = |name: &str| own[rows[0].iter().position(|column| column == name).expect("a column")].as_str();
    assert_eq!([at("too_warm"), at("freezing"), at("facilities_reporting")], ["1", "0", "1"]);
    // When it was heard of, whatever its own clock says.
    assert!(rfc3339(now).as_str() <= at("last_data") && at("last_data") <= at("as_of"), "{own:?}");
    let rows = children("32").await;
    assert_eq!(rows.len() - 1, server.json("/api/v1/regions/32").await["children"].as_array().expect("a list").len());
    let kinds: Vec<&str> = rows[1..].iter().map(|row| row[2].as_str()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"region"), Some(&"facility")));
    assert!(kinds.is_sorted_by(|a, b| a >= b), "regions first: {kinds:?}");
    for (name, first) in [("lag", "minute,"), ("late", "hour,")] {
        let table = server.get(&format!("/pipeline/charts/{name}.csv")).await;
        assert_eq!((table.status, table.header("content-type")), (200, "text/csv; charset=utf-8"));
        assert!(
            table.text.starts_with(first) && csv(&table.text).iter().all(|row| row.len() == csv(&table.text)[0].len()),
            "{}",
            table.text
        );
        let picture = server.get(&format!("/pipeline/charts/{name}.svg?lang=en")).await;
        assert_eq!((picture.status, picture.header("content-type")), (200, "image/svg+xml"));
        assert!(picture.text.starts_with("<svg"), "{}", picture.text);
    }
    for path in [
        "/regions/99/children.csv",
        "/regions/32%2Fchildren/children.csv",
        "/pipeline/charts/lag.png",
        "/pipeline/charts/other.svg",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.problem(404)["status"], 404, "{path}");
    }
    server.stop().await;
}
