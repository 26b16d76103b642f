//! The pages of facilities, devices and the pipeline, rendered as the server does, over samples.

use super::now::trend;
use super::*;
use crate::api::{Crumb, DeadLetterRow, Equipment, FacilityDevice, FacilityView, PipelineView, Point, ReasonRow, SourceRow};
use crate::components::link::encode;
use crate::pages::facility::Facility;
use crate::pages::pipeline::Pipeline;
use domain::coldchain::{Condition, Excursion, Range};
use domain::event::{DeviceStatus, Reading, Reason};
use domain::feed::{DeviceMore, DeviceNow, PipelineNow, SensorFault};
use domain::milli::Milli;
use domain::sequence::Gap;
use domain::time::{DAY_MS, EventTime, HOUR_MS, MINUTE_MS, ProcessingTime, Zone, parse_rfc3339};
use leptos_meta::provide_meta_context;
use leptos_router::components::Router;
use leptos_router::location::RequestUrl;

fn noon() -> i64 {
    parse_rfc3339("2026-11-20T14:05:00+07:00").expect("a valid time")
}

fn path() -> Vec<Crumb> {
    [("ID", "Indonesia"), ("32", "Jawa Barat"), ("32.17", "Bandung Barat"), ("32.17.05", "Lembang")]
        .map(|(code, name)| Crumb { code: code.into(), name: name.into() })
        .to_vec()
}

fn fridge(number: u16) -> Equipment {
    Equipment {
        kind: EquipmentKind::Refrigerator,
        number,
        model: "Vestfrost VLS 204A".into(),
        range: Range::FRIDGE,
        interval_ms: 5 * MINUTE_MS,
    }
}

/// A day of readings every five minutes with a gap of 75 minutes, one short excursion and one that lasts.
fn day() -> Vec<Point> {
    let start = noon() - DAY_MS;
    (0..=288)
        .filter(|i| !(146..160).contains(i))
        .map(|i: i64| {
            let base = 4_800 + [0, 300, 500, 300, 0, -300, -500, -300][(i % 8) as usize];
            let milli = match i {
                235..=237 => 8_900,
                279..=288 => 8_000 + (i as i32 - 278) * 140,
                _ => base,
            };
            Point { at: EventTime::from_ms(start + i * 5 * MINUTE_MS), temperature: Milli(milli) }
        })
        .collect()
}

fn reading(at: i64, milli: i32) -> Reading {
    Reading {
        at: EventTime::from_ms(at),
        temperature: Milli(milli),
        humidity: Some(Milli(61_000)),
        battery: Some(Milli(78_000)),
        status: DeviceStatus::Ok,
    }
}

fn warm(id: &str) -> DeviceNow {
    DeviceNow {
        id: id.into(),
        condition: Condition::TooWarm,
        reading: Some(reading(noon(), 9_400)),
        received_at: Some(ProcessingTime::from_ms(noon() + 2_000)),
        excursion: Some(Excursion { since: EventTime::from_ms(noon() - 45 * MINUTE_MS), peak: Milli(9_400) }),
        fault: None,
    }
}

fn fine(id: &str) -> DeviceNow {
    DeviceNow { condition: Condition::Fine, reading: Some(reading(noon() - 60_000, 4_600)), excursion: None, ..warm(id) }
}

fn silent(id: &str) -> DeviceNow {
    DeviceNow { condition: Condition::NoWord, reading: Some(reading(noon() - 6 * HOUR_MS, 3_400)), excursion: None, ..warm(id) }
}

fn never(id: &str) -> DeviceNow {
    DeviceNow { condition: Condition::NoWord, reading: None, received_at: None, excursion: None, ..warm(id) }
}

fn device(now: DeviceNow, points: Vec<Point>) -> DeviceView {
    let facility = Crumb { code: "P321705-1".into(), name: "Puskesmas Lembang".into() };
    let mut path = path();
    path.push(facility.clone());
    DeviceView {
        taken_at: ProcessingTime::from_ms(noon() + 2_000),
        path,
        facility: Some(facility),
        zone: Zone::Wib,
        equipment: fridge(2),
        now,
        more: DeviceMore::default(),
        span: Span::Day,
        points,
    }
}

fn facility(devices: Vec<DeviceNow>) -> FacilityView {
    FacilityView {
        taken_at: ProcessingTime::from_ms(noon() + 2_000),
        code: "P321705-1".into(),
        name: "Puskesmas Lembang".into(),
        path: path(),
        zone: Zone::Wib,
        position: (-6.8, 107.6),
        devices: devices
            .into_iter()
            .zip(1..)
            .map(|(now, number)| FacilityDevice {
                equipment: fridge(number),
                spark: if now.reading.is_some() { day() } else { Vec::new() },
                now,
            })
            .collect(),
    }
}

fn pipeline(now: PipelineNow) -> PipelineView {
    let row =
        |name: &str| SourceRow { name: name.into(), received: 100, accepted: 90, duplicate: 5, late: 3, rejected: 2, last: None };
    PipelineView {
        taken_at: ProcessingTime::from_ms(noon()),
        uptime_start: ProcessingTime::from_ms(noon() - DAY_MS),
        now,
        rate: (0u8..60).map(|i| 60.0 + f32::from(i % 7)).collect(),
        lag: vec![None; 60],
        hours: Vec::new(),
        sources: vec![row("simulator")],
        topics: vec![row("temperature"), row("weather")],
        days: vec![row("1795132800000")],
        reasons: vec![ReasonRow { reason: Reason::SensorFault, count: 2, newest: None }],
        dead_letters: vec![DeadLetterRow {
            position: 7,
            received_at: ProcessingTime::from_ms(noon()),
            source: "simulator".into(),
            reason: Reason::MalformedJson,
            field: String::new(),
            raw: r#"<script>alert("x")</script>{"#.into(),
            state: crate::api::LetterState::Open,
        }],
        unregistered: vec![fine("baru-17")],
    }
}

fn counted() -> PipelineNow {
    PipelineNow {
        received: 100,
        accepted: 90,
        duplicate: 5,
        late: 3,
        rejected: 2,
        devices: 12,
        unregistered: 1,
        per_second: 68.4,
        ..PipelineNow::default()
    }
}

/// The HTML of a page as the server writes it.
fn render<V: IntoView + 'static>(url: &str, lang: Lang, page: impl Fn() -> V + Send + Sync + 'static) -> String {
    let owner = Owner::new();
    let html = owner.with(|| {
        provide_context(RequestUrl::new(url));
        provide_context(lang);
        provide_meta_context();
        crate::live::provide_stream_state();
        view! { <Router>{page()}</Router> }.to_html()
    });
    html.replace("<!>", "").replace("\u{a0}", " ")
}

fn device_html(view: DeviceView, lang: Lang, page: usize) -> String {
    let url = format!("http://localhost/devices/{}", encode(&view.now.id));
    render(&url, lang, move || view! { <Device view=view.clone() page on_reload=|| ()/> })
}

fn facility_html(view: FacilityView, lang: Lang) -> String {
    render("http://localhost/facilities/P321705-1", lang, move || view! { <Facility view=view.clone() on_reload=|| ()/> })
}

fn pipeline_html(view: PipelineView, lang: Lang) -> String {
    render("http://localhost/pipeline", lang, move || view! { <Pipeline view=view.clone() on_reload=|| ()/> })
}

#[track_caller]
fn check(html: &str, expected: &[&str]) {
    for text in expected {
        assert!(html.contains(text), "{text} in {html}");
    }
    assert!(!html.contains(" style=") && !html.contains("onclick"), "nothing inline: {html}");
}

#[test]
fn a_device_too_warm_says_so_first() {
    let html = device_html(device(warm("P321705-1-F2"), day()), Lang::Id, 1);
    check(
        &html,
        &[
            "<h1>Kulkas 2, Puskesmas Lembang</h1>",
            "Terlalu hangat",
            ">9,4<",
            "di atas 8 °C",
            "sejak 13.20 WIB, puncak 9,4 °C, naik 0,3 °C per 10 menit",
            r#"data-live="device:P321705-1-F2""#,
            r#"class="series series--hot""#,
            r#"class="gap""#,
            "tanpa data",
            "Sejak 13.20 WIB, masih berlangsung",
            "1–50 dari 275, terbaru di atas",
            "Bacaan sebelumnya",
            "275 dari 288",
            "Baterai</dt><dd>78 %",
            r#"title="2026-11-20 07:05:00 UTC""#,
            r#"role="slider""#,
            "&amp;format=csv",
        ],
    );
    assert!(
        html.find("todo__what").expect("first") < html.find("chart-box").expect("then"),
        "what needs action comes before the picture"
    );
}

#[test]
fn a_device_in_english_and_its_older_readings() {
    let html = device_html(device(fine("P321705-1-F2"), day()), Lang::En, 2);
    check(
        &html,
        &["In range", "51–100 of 275, newest first", "Newer readings", "8 °C upper limit", "Mean kinetic temperature", ">4.6<"],
    );
}

#[test]
fn a_silent_device_looks_old_and_a_broken_sensor_is_told() {
    let fault = SensorFault { at: EventTime::from_ms(noon() - HOUR_MS), code: Milli(85_000), status: DeviceStatus::Error };
    let html = device_html(device(DeviceNow { fault: Some(fault), ..silent("P321705-1-F3") }, day()), Lang::Id, 1);
    check(
        &html,
        &[
            "Tidak ada kabar",
            "stale",
            "terakhir diketahui 08.05 WIB",
            "kode rusak 85,0 °C pada 13.05 WIB",
            "Periksa kabel sensor",
        ],
    );
}

#[test]
fn what_is_missing_and_a_wrong_clock_are_told_plainly() {
    let gap = |count: u64, after: i64, before: i64| Gap {
        from: 10,
        to: 10 + count,
        after: EventTime::from_ms(noon() + after * MINUTE_MS),
        before: EventTime::from_ms(noon() + before * MINUTE_MS),
    };
    let ahead = Some(reading(noon() + 5 * MINUTE_MS, 4_600));
    let mut view = device(DeviceNow { reading: ahead, ..fine("P321705-1-F2") }, day());
    view.more = DeviceMore { missing: 1_207, gaps: vec![gap(1, -20, -10), gap(6, -3_000, -2_965)], position: None };
    check(
        &device_html(view.clone(), Lang::Id, 1),
        &[
            "Bacaan hilang",
            "<b>1.207</b>",
            "1 bacaan hilang antara 13.45 WIB dan 13.55 WIB",
            "6 bacaan hilang antara 18 Nov, 12.05 WIB dan 18 Nov, 12.40 WIB",
            "1.200 lagi, lebih lama",
            "Jam alat terlalu cepat",
            "bertanda 4 mnt setelah diterima",
        ],
    );
    check(&device_html(view, Lang::En, 1), &["1 reading missing between 13:45 WIB and 13:55 WIB", "6 readings missing"]);
    let html = device_html(device(fine("P321705-1-F2"), day()), Lang::Id, 1);
    assert!(!html.contains("hilang") && !html.contains("terlalu cepat"), "nothing is missing: {html}");
}

#[test]
fn a_device_never_heard_of_has_a_next_step() {
    let html = device_html(device(never("P321705-1-F3"), Vec::new()), Lang::Id, 1);
    check(&html, &["Belum ada bacaan", "tunggu satu selang", "Tidak ada bacaan", "belum pernah"]);
}

#[test]
fn an_unregistered_device_belongs_nowhere_and_says_so() {
    let mut view = device(fine("baru/17 <x>"), day());
    view.path = vec![
        Crumb { code: "ID".into(), name: "Indonesia".into() },
        Crumb { code: "unassigned".into(), name: "Belum terdaftar".into() },
    ];
    view.facility = None;
    view.equipment = Equipment { kind: EquipmentKind::Unregistered, number: 0, model: String::new(), ..fridge(0) };
    let html = device_html(view, Lang::Id, 1);
    check(
        &html,
        &["Alat ini belum terdaftar", "/regions/unassigned\">", "<h1>baru/17 &lt;x&gt;</h1>", "device_id=baru%2F17%20%3Cx%3E"],
    );
}

#[test]
fn a_facility_names_the_worst_unit_and_what_to_do() {
    let html = facility_html(
        facility(vec![warm("P321705-1-F1"), fine("P321705-1-F2"), silent("P321705-1-F3"), never("P321705-1-F4")]),
        Lang::Id,
    );
    check(
        &html,
        &[
            "<h1>Puskesmas Lembang</h1>",
            "Kulkas 1 terlalu hangat",
            "45 mnt",
            "di atas 8 °C",
            "Jangan buang vaksin",
            r#"data-live="facility:P321705-1""#,
            "08.05 WIB",
            "belum pernah",
            r#"href="/devices/P321705-1-F1""#,
            "Lembang, Bandung Barat, Jawa Barat",
        ],
    );
    assert_eq!(html.matches("class=\"spark\"").count(), 4);
    assert!(html.len() < 40_000, "{} bytes before compression", html.len());
}

#[test]
fn a_calm_facility_has_no_red() {
    let html = facility_html(facility(vec![fine("P321705-1-F1"), fine("P321705-1-F2")]), Lang::Id);
    check(&html, &["Semua dalam rentang", "2 dari 2 alat melapor"]);
    assert!(!html.contains(r#"data-tone="act""#), "{html}");
    check(&facility_html(facility(vec![fine("P321705-1-F1"), silent("P321705-1-F2")]), Lang::En), &["No word from Fridge 2"]);
    check(&facility_html(facility(Vec::new()), Lang::En), &["No device registered here yet"]);
}

#[test]
fn a_broken_sensor_is_never_shown_as_fine() {
    let fault = Some(SensorFault { at: EventTime::from_ms(noon()), code: Milli(85_000), status: DeviceStatus::Error });
    let broken = DeviceNow { fault, ..fine("P321705-1-F1") };
    let html = facility_html(facility(vec![fine("P321705-1-F2"), broken.clone()]), Lang::Id);
    check(&html, &["Sensor rusak: Kulkas 2", "Periksa kabel sensor"]);
    assert_eq!(html.matches("Aman").count(), 1, "only the other one is: {html}");
    check(&device_html(device(broken, day()), Lang::En, 1), &["Last before the sensor broke", "stale", r#"data-tone="unknown""#]);
}

#[test]
fn the_pipeline_adds_up_and_shows_raw_records_harmlessly() {
    let html = pipeline_html(pipeline(counted()), Lang::Id);
    check(
        &html,
        &[
            "Semua data tercatat",
            "selisih 0",
            "diterima, 90,00 %",
            "Kode rusak sensor",
            "<code>sensor_fault</code>",
            "&lt;script&gt;",
            "seluruh rekaman",
            r#"href="/devices/baru-17""#,
            "Suhu",
            "weather",
            r#"data-live="pipeline""#,
            r#"class="series series--plain""#,
        ],
    );
    assert!(!html.contains("<script>alert"), "{html}");
    check(
        &pipeline_html(pipeline(PipelineNow { received: 101, ..counted() }), Lang::En),
        &["1 record is not accounted for", "difference 1"],
    );
    check(&pipeline_html(pipeline(PipelineNow::default()), Lang::En), &["No data has come in yet", "/ingest"]);
}

#[test]
fn a_chart_file_stands_alone() {
    let svg = crate::chart::standalone::standalone_svg(&device(warm("P321705-1-F2"), day()), Lang::Id);
    check(&svg, &["xmlns=\"http://www.w3.org/2000/svg\"", "Kulkas 2, Puskesmas Lembang", "#b80d24", "14.05", "</svg>"]);
    assert!(!svg.contains("class=\"series"), "colours, not classes: {svg}");
}

#[test]
fn the_trend_needs_ten_minutes_and_fresh_readings() {
    let points = |pairs: &[(i64, i32)]| -> Vec<Point> {
        pairs
            .iter()
            .map(|&(minute, milli)| Point { at: EventTime::from_ms(minute * MINUTE_MS), temperature: Milli(milli) })
            .collect()
    };
    assert_eq!(trend(&points(&[(0, 5_000), (5, 5_100), (10, 5_300)])), Some(Milli(300)));
    assert_eq!(trend(&points(&[(0, 5_000), (15, 4_550)])), Some(Milli(-300)));
    assert_eq!(trend(&points(&[(0, 5_000), (5, 9_000)])), None);
    assert_eq!(trend(&points(&[(0, 5_000), (60, 9_000)])), None);
    assert_eq!(trend(&[]), None);
}
