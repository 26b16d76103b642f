//! A small country in memory, and every page of it rendered as the server does; for tests.

use crate::api::{
    Backend, ChildKind, ChildView, Crumb, DeadLetterRow, DeviceView, Equipment, EquipmentKind, FacilityDevice, FacilityView,
    HourRow, LateRecord, LateView, LettersView, MapPoint, PipelineView, Point, ReasonRow, RegionView, SearchHit, SourceRow, Span,
};
use crate::error::AppError;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, header};
use domain::coldchain::{Condition, Excursion, Range};
use domain::event::{DeviceStatus, Reading, Reason, Topic};
use domain::feed::{
    ChildNow, Counts, DelaysNow, DeviceMore, DeviceNow, HISTOGRAM_COLUMNS, HourCounts, OutOfRange, PartitionNow, PipelineNow,
    RegionNow, WatermarkNow,
};
use domain::join::Fix;
use domain::milli::Milli;
use domain::sequence::Gap;
use domain::time::{EventTime, HOUR_MS, MINUTE_MS, ProcessingTime, Zone};
use leptos::prelude::*;
use std::sync::Arc;

/// When every view was taken: 20 Nov 2026, 14.05 WIB, a Friday.
pub const NOW: i64 = 1_795_158_300_000;

/// The backend that lives in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

fn crumb(code: &str, name: &str) -> Crumb {
    Crumb { code: code.into(), name: name.into() }
}

/// The path to the sample facility.
pub fn path() -> Vec<Crumb> {
    [("ID", "Indonesia"), ("32", "Jawa Barat"), ("32.17", "Kab. Bandung Barat"), ("32.17.01", "Lembang")]
        .into_iter()
        .map(|(code, name)| crumb(code, name))
        .collect()
}

fn counts(fine: u32, too_warm: u32, freezing: u32, no_word: u32) -> Counts {
    let devices = fine + too_warm + freezing + no_word;
    let facilities = devices.div_ceil(2);
    Counts { devices, fine, too_warm, too_cold: 0, freezing, no_word, facilities, facilities_reporting: facilities - no_word / 2 }
}

fn child(kind: ChildKind, code: &str, name: &str, counts: Counts) -> ChildView {
    let now = ChildNow { code: code.into(), counts, last_data: Some(ProcessingTime::from_ms(NOW - 2_000)) };
    ChildView { kind, name: name.into(), now, in_range_by_hour: (0..24).map(|hour| (hour != 7).then_some(960 + hour)).collect() }
}

/// A region: the country, Jawa Barat, a regency, the district of the sample facility, one that is silent, or an empty village.
pub fn region(code: &str) -> Option<RegionView> {
    if code == "32.17.06" {
        return region("32.17.01").map(silent);
    }
    let depth = path().iter().position(|crumb| crumb.code == code).or((code == "32.17.01.2008").then_some(4))?;
    let mut path: Vec<Crumb> = path().into_iter().take(depth + 1).collect();
    if depth == 4 {
        path.push(crumb(code, "Jayagiri"));
    }
    let children = match depth {
        0 => vec![
            child(ChildKind::Region, "11", "Aceh", counts(500, 3, 0, 8)),
            child(ChildKind::Region, "32", "Jawa Barat", counts(1_569, 20, 4, 12)),
            child(ChildKind::Region, "95", "Papua Pegunungan", counts(40, 6, 1, 70)),
        ],
        1 => vec![
            child(ChildKind::Region, "32.17", "Kab. Bandung Barat", counts(46, 1, 1, 0)),
            child(ChildKind::Facility, "V32-1", "Gudang Vaksin Provinsi Jawa Barat", counts(4, 0, 0, 0)),
        ],
        2 => vec![child(ChildKind::Region, "32.17.01", "Lembang", counts(2, 1, 1, 0))],
        3 => vec![child(ChildKind::Facility, "P321701-1", "Puskesmas Lembang", counts(1, 1, 1, 1))],
        _ => Vec::new(),
    };
    let mut histogram = vec![0; HISTOGRAM_COLUMNS];
    for (column, count) in [(4, 5), (12, 800), (13, 1_200), (22, 29)] {
        histogram[column] = count;
    }
    let out = OutOfRange {
        device: "P321701-1-F2".into(),
        equipment: domain::master::EquipmentKind::Refrigerator,
        number: 2,
        facility: "P321701-1".into(),
        facility_name: "Puskesmas Lembang".into(),
        place: "Kab. Bandung Barat".into(),
        condition: Condition::TooWarm,
        temperature: Milli(9_400),
        excursion: Excursion { since: EventTime::from_ms(NOW - 47 * MINUTE_MS), peak: Milli(9_700) },
    };
    let hour = NOW / HOUR_MS * HOUR_MS;
    let hours = (0..24)
        .filter(|n| *n != 20)
        .map(|n| HourCounts { hour: hour - n * HOUR_MS, windows: 900, low: 3, high: 20 + n as u32, readings: 900 })
        .rev()
        .collect();
    let empty = children.is_empty();
    Some(RegionView {
        taken_at: ProcessingTime::from_ms(NOW),
        code: code.into(),
        name: path.last()?.name.clone(),
        level: depth as u8,
        path,
        now: RegionNow {
            counts: if empty { Counts::default() } else { counts(2_109, 29, 5, 90) },
            histogram: if empty { Vec::new() } else { histogram },
            hour: None,
            last_data: Some(ProcessingTime::from_ms(NOW - 2_000)),
            per_second: (depth == 0).then_some(48.0),
            past: 0,
        },
        hours: if empty { Vec::new() } else { hours },
        worst: if empty { Vec::new() } else { vec![out] },
        children,
        rate: if depth == 0 { (0..60u8).map(|n| 48.0 + f32::from(n % 7)).collect() } else { Vec::new() },
        points: vec![MapPoint {
            code: "P321701-1".into(),
            name: "Puskesmas Lembang".into(),
            at: (-6_800_000, 107_600_000),
            condition: Condition::TooWarm,
        }],
        uncounted: Vec::new(),
        served_by: Vec::new(),
        is_counted: true,
    })
}

/// The same place when nothing in it reports, and one of its facilities has no units.
fn silent(region: RegionView) -> RegionView {
    let children = vec![
        child(ChildKind::Region, "32.17.06.01", "Diam", counts(0, 0, 0, 2)),
        child(ChildKind::Facility, "P321706-1", "Puskesmas Diam", counts(0, 0, 0, 2)),
        child(ChildKind::Facility, "H3217-9", "RS Kosong", Counts::default()),
    ];
    let now = RegionNow { counts: counts(0, 0, 0, 4), ..RegionNow::default() };
    RegionView { code: "32.17.06".into(), now, hours: Vec::new(), worst: Vec::new(), children, ..region }
}

/// A device of the sample facility, or one nobody has registered.
pub fn device_now(id: &str, milli: i32) -> DeviceNow {
    let condition = Range::FRIDGE.condition(Milli(milli));
    DeviceNow {
        id: id.into(),
        condition,
        reading: Some(Reading {
            at: EventTime::from_ms(NOW - 90_000),
            temperature: Milli(milli),
            humidity: Some(Milli(61_000)),
            battery: Some(Milli(78_000)),
            status: DeviceStatus::Ok,
        }),
        received_at: Some(ProcessingTime::from_ms(NOW - 88_000)),
        excursion: condition
            .is_excursion()
            .then(|| Excursion { since: EventTime::from_ms(NOW - 47 * MINUTE_MS), peak: Milli(milli) }),
        fault: None,
    }
}

fn equipment(number: u16) -> Equipment {
    Equipment {
        kind: EquipmentKind::Refrigerator,
        number,
        model: "Vestfrost VLS 204A".into(),
        range: Range::FRIDGE,
        interval_ms: 300_000,
    }
}

/// A day of readings, one every five minutes, with a gap and an excursion at its end.
pub fn points() -> Vec<Point> {
    (0..288)
        .filter(|n| !(100..130).contains(n))
        .map(|n| Point {
            at: EventTime::from_ms(NOW - (288 - n) * 5 * MINUTE_MS),
            temperature: Milli(if n > 278 { 8_000 + (n as i32 - 278) * 150 } else { 4_500 + (n as i32 % 9) * 100 }),
        })
        .collect()
}

/// The pipeline.
pub fn pipeline() -> PipelineView {
    let row = |name: &str| SourceRow {
        name: name.into(),
        received: 1_000,
        accepted: 980,
        duplicate: 10,
        late: 6,
        rejected: 4,
        last: Some(ProcessingTime::from_ms(NOW - 2_000)),
    };
    PipelineView {
        taken_at: ProcessingTime::from_ms(NOW),
        uptime_start: ProcessingTime::from_ms(NOW - 26 * HOUR_MS),
        now: PipelineNow {
            received: 1_000,
            accepted: 980,
            duplicate: 10,
            late: 6,
            rejected: 4,
            per_second: 48.7,
            checkpoint_at: Some(ProcessingTime::from_ms(NOW - 4_000)),
            closed_windows: 900,
            corrected_windows: 12,
            delays: Some(DelaysNow { half_ms: 831, most_ms: 2_175, nearly_all_ms: 5_631 }),
            undecided: 3,
            watermarks: vec![WatermarkNow {
                topic: Topic::Temperature,
                delay_ms: MINUTE_MS,
                active: 980,
                idle: 20,
                slowest: Some("P321701-1-F2".into()),
                lowest: Some(EventTime::from_ms(NOW - 3 * HOUR_MS)),
                tenth: Some(EventTime::from_ms(NOW - 8 * MINUTE_MS)),
                half: Some(EventTime::from_ms(NOW - 4 * MINUTE_MS)),
                highest: Some(EventTime::from_ms(NOW - MINUTE_MS)),
            }],
            partitions: vec![PartitionNow {
                topic: "rantai.events".into(),
                partition: 7,
                next: 5_120,
                lag: 42,
                checkpoint_at: Some(ProcessingTime::from_ms(NOW - 12_000)),
            }],
            ..PipelineNow::default()
        },
        rate: (0..60u8).map(|n| 48.0 + f32::from(n % 7)).collect(),
        lag: (0..60).map(|n| (n > 20).then_some(n % 7)).collect(),
        hours: (0..20u8)
            .map(|n| HourRow { start: (NOW / HOUR_MS - 19 + i64::from(n)) * HOUR_MS, received: 50, late: u64::from(n % 3 == 0) })
            .collect(),
        sources: vec![row("simulator")],
        topics: vec![row("temperature")],
        days: vec![row("1795132800000")],
        reasons: vec![ReasonRow { reason: Reason::Future, count: 4, newest: Some(17) }],
        dead_letters: vec![DeadLetterRow {
            position: 17,
            received_at: ProcessingTime::from_ms(NOW - 60_000),
            source: "simulator".into(),
            reason: Reason::Future,
            field: "time".into(),
            raw: "{\"time\":\"2027-01-01T00:00:00Z\"}".into(),
            state: crate::api::LetterState::Open,
        }],
        unregistered: vec![device_now("probe-7", 4_000)],
    }
}

/// A server has to ask its engine: what is drawn after the answer must still know the language of its page.
async fn wait() {
    tokio::task::yield_now().await;
}

#[async_trait::async_trait]
impl Backend for Memory {
    async fn region(&self, code: &str) -> Result<Option<RegionView>, AppError> {
        wait().await;
        if code == "99" { Err(AppError::Unavailable) } else { Ok(region(code)) }
    }

    async fn facility(&self, code: &str) -> Result<Option<FacilityView>, AppError> {
        wait().await;
        Ok((code == "P321701-1").then(|| FacilityView {
            taken_at: ProcessingTime::from_ms(NOW),
            code: code.into(),
            name: "Puskesmas Lembang".into(),
            path: path(),
            zone: Zone::Wib,
            position: (-6.81, 107.62),
            devices: [(2, 9_400), (1, 4_600)]
                .map(|(number, milli)| FacilityDevice {
                    equipment: equipment(number),
                    now: device_now(&format!("P321701-1-F{number}"), milli),
                    spark: points().into_iter().step_by(3).collect(),
                })
                .into(),
        }))
    }

    async fn device(&self, id: &str, span: Span) -> Result<Option<DeviceView>, AppError> {
        wait().await;
        let mut path = path();
        path.push(crumb("P321701-1", "Puskesmas Lembang"));
        Ok((id == "P321701-1-F2").then(|| DeviceView {
            taken_at: ProcessingTime::from_ms(NOW),
            path,
            facility: Some(crumb("P321701-1", "Puskesmas Lembang")),
            zone: Zone::Wib,
            equipment: equipment(2),
            now: device_now(id, 9_400),
            more: DeviceMore {
                missing: 15,
                gaps: vec![Gap {
                    from: 40,
                    to: 52,
                    after: EventTime::from_ms(NOW - 5 * HOUR_MS),
                    before: EventTime::from_ms(NOW - 4 * HOUR_MS),
                }],
                position: Some(Fix { at: EventTime::from_ms(NOW - 90_000), latitude_e6: -6_812_000, longitude_e6: 107_617_200 }),
            },
            span,
            points: points(),
        }))
    }

    async fn pipeline(&self) -> Result<PipelineView, AppError> {
        wait().await;
        Ok(pipeline())
    }

    async fn dead_letter(&self, position: u64) -> Result<Option<crate::api::DeadLetterView>, AppError> {
        use crate::api::{DeadLetterView, LetterEnd, LetterOutcome};
        let at = ProcessingTime::from_ms(NOW - 30_000);
        let by = "Sari".to_owned();
        let outcome = match position {
            17 => None,
            18 => Some(LetterOutcome::Replayed { position: 99, end: LetterEnd::Rejected, by, at }),
            19 => Some(LetterOutcome::Discarded { reason: "a broken sensor".into(), by, at }),
            _ => return Ok(None),
        };
        Ok(Some(DeadLetterView {
            position,
            received_at: ProcessingTime::from_ms(NOW - 60_000),
            source: "simulator".into(),
            event_id: None,
            device_id: Some("probe-7".into()),
            ts: None,
            reason: Reason::Future,
            field: "time".into(),
            raw: "{\"time\":\"<2027>\"}".into(),
            is_text: true,
            outcome,
            replay_of: (position == 19).then_some(17),
            form_token: "f0".into(),
        }))
    }

    async fn unregistered(&self, before: Option<String>) -> Result<Option<crate::api::UnregisteredView>, AppError> {
        let devices = match before.as_deref() {
            None => self.pipeline().await?.unregistered,
            Some("probe-7") => Vec::new(),
            Some(_) => return Ok(None),
        };
        let is_more = !devices.is_empty();
        Ok(Some(crate::api::UnregisteredView { taken_at: ProcessingTime::from_ms(NOW), count: 1_006, devices, is_more }))
    }

    async fn dead_letters(&self, before: Option<u64>, only_open: bool) -> Result<LettersView, AppError> {
        let letters = if only_open { Vec::new() } else { self.pipeline().await?.dead_letters };
        let older = before.is_none().then_some(17);
        Ok(LettersView { taken_at: ProcessingTime::from_ms(NOW), rejected: 1_006, undecided: 3, letters, older })
    }

    async fn late(&self, before: Option<u64>) -> Result<LateView, AppError> {
        let records = if before == Some(21) { Vec::new() } else { self.late_record(21).await?.into_iter().collect() };
        Ok(LateView { taken_at: ProcessingTime::from_ms(NOW), count: 1_006, is_more: before.is_none(), records })
    }

    async fn late_record(&self, position: u64) -> Result<Option<LateRecord>, AppError> {
        wait().await;
        let at = NOW - 40 * MINUTE_MS;
        Ok((position == 21).then(|| LateRecord {
            position,
            received_at: ProcessingTime::from_ms(NOW - 60_000),
            source: "simulator".into(),
            event_id: None,
            device_id: Some("P820101-1-F1".into()),
            facility: Some(crumb("P820101-1", "Puskesmas Jailolo")),
            zone: Zone::Wit,
            ts: Some(EventTime::from_ms(at + 4_000)),
            window: (EventTime::from_ms(at), EventTime::from_ms(at + 10_000)),
            lateness_ms: 35 * MINUTE_MS,
            measured: Some((Milli(-900), Range::FRIDGE)),
            raw: b"{\"temperature\":-0.9,\"note\":\"<b>\"}".to_vec(),
        }))
    }

    async fn search(&self, text: &str) -> Result<Vec<SearchHit>, AppError> {
        let hit = SearchHit {
            href: "/facilities/P321701-1".into(),
            name: "Puskesmas Lembang".into(),
            code: "P321701-1".into(),
            place: "Lembang, Kab. Bandung Barat, Jawa Barat".into(),
            kind: crate::api::Kind::Facility,
        };
        Ok(if text.to_lowercase().contains("lembang") { vec![hit] } else { Vec::new() })
    }
}

/// The answer to `GET path` with a cookie, as the server gives it.
pub async fn get(path: &str, cookie: &str) -> Response<String> {
    let _ = any_spawner::Executor::init_tokio();
    let context = || provide_context::<Arc<dyn Backend>>(Arc::new(Memory));
    let options = LeptosOptions::builder().output_name("rantai").build();
    let handler = leptos_axum::render_app_async_with_context(context, move || crate::shell(options.clone()));
    let request = Request::get(path).header(header::COOKIE, cookie).body(Body::empty()).expect("a request");
    let (parts, body) = handler(request).await.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body");
    Response::from_parts(parts, String::from_utf8(body.into()).expect("UTF-8"))
}

/// Words that only the Indonesian pages say.
const INDONESIAN: [&str; 13] = [
    "Aman",
    "Kulkas ",
    "Ringkasan",
    "di luar rentang",
    "Terlalu ",
    "Membeku",
    "Tidak ada kabar",
    "Melapor",
    "sejak ",
    "Cari ",
    "Diterima",
    "hari ini",
    "Lihat ",
];

/// Renders a page in both languages: what it says in both, and what in Indonesian alone.
async fn check(path: &str, status: u16, both: &[&str], indonesian: &[&str]) {
    for (lang, cookie) in [("id", "lang=id"), ("en", "a=b; lang=en")] {
        let answer = get(path, cookie).await;
        let html = answer.body();
        assert_eq!(answer.status(), StatusCode::from_u16(status).expect("a status"), "{path}");
        assert!(html.contains(&format!("<html lang=\"{lang}\"")), "{path}: {lang}");
        // What hydration reads is data, not words.
        let seen = html.split("<script").next().expect("a start").to_owned() + html.rsplit("</script>").next().expect("an end");
        let own = if lang == "id" { indonesian } else { &[] };
        for text in both.iter().chain(own) {
            assert!(html.contains(text), "{path} in {lang} does not say {text}");
        }
        if lang == "en" {
            let foreign = INDONESIAN.iter().find(|word| seen.contains(**word));
            assert_eq!(foreign, None, "{path}: not translated");
        }
        assert!(!html.contains("style=\"") && !html.contains(" onclick="), "{path}: inline style or script");
        assert_eq!(html.matches("<h1").count(), 1, "{path}: headlines");
        assert_eq!(html.matches("<main").count(), 1, "{path}: main");
    }
}

#[tokio::test]
async fn the_overview_answers_first() {
    let both = ["<title>", "34", "Puskesmas Lembang", "Papua Pegunungan", "data-code=\"91\""];
    check("/", 200, &both, &["Indonesia: 5 unit membeku", "9,4\u{a0}°C"]).await;
}

#[tokio::test]
async fn regions_of_every_level() {
    let both = ["Jawa Barat", "Kab. Bandung Barat", "Gudang Vaksin", "/regions/32.17", "/facilities/V32-1"];
    check("/regions/32", 200, &both, &[]).await;
    check("/regions/32.17", 200, &["Lembang"], &["5 unit membeku"]).await;
    check("/regions/32.17.01", 200, &["Puskesmas Lembang", "P321701-1"], &["Membeku"]).await;
    check("/regions/32.17.01.2008", 200, &["Jayagiri"], &["belum ada unit terdaftar"]).await;
}

/// Lembang lies at 536, 520: seen in its district, its regency and its province without a script.
#[tokio::test]
async fn a_region_opens_where_its_facilities_are() {
    for (path, width) in [("/regions/32.17.01", "20.00"), ("/regions/32.17", "40.00")] {
        let answer = get(path, "").await;
        let map = answer.body().split("<svg").find(|svg| svg.contains("map--near")).expect("a map");
        let number = |at: usize| map.split("viewBox=\"").nth(1)?.split([' ', '"']).nth(at)?.parse::<f64>().ok();
        let (x, y) = (number(0).expect("a left edge"), number(1).expect("an upper edge"));
        assert!(x < 536.0 && 536.0 < x + 40.0 && y < 520.0 && 520.0 < y + 30.0, "{path}: {x} {y}");
        assert_eq!(map.split("viewBox=\"").nth(1).and_then(|rest| rest.split(' ').nth(2)), Some(width), "{path}");
        assert!(map.contains("data-base=") && map.contains("class=\"key-act\" d=\"M536.000 "), "{path}");
    }
    let answer = get("/regions/32", "").await;
    let map = answer.body().split("<svg").find(|svg| svg.contains("map--near")).expect("a map");
    assert!(!map.contains("data-base=") && !map.contains("map__still"), "the whole province, and no facilities yet");
    let circle = map.split("data-code=\"32.17\"").nth(1).expect("a circle");
    let number = |name: &str| circle.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.parse::<f64>().ok();
    let group = map.split("translate(").nth(1).expect("its own units");
    let of_group: Vec<f64> = group.split([' ', ')', '(', '"']).filter_map(|number| number.parse().ok()).take(3).collect();
    let [left, top, unit] = of_group[..] else { panic!("{group}") };
    let (x, y) = (left + number("cx").expect("x") * unit, top + number("cy").expect("y") * unit);
    assert!((x - 536.0).abs() < 2.0 && (y - 520.0).abs() < 2.0, "where its facilities are: {x} {y}");
    assert!(map.contains(">Bandung Barat</text>"), "with its name");
}

#[tokio::test]
async fn no_word_is_never_shown_as_fine() {
    check("/regions/32.17.06", 200, &["kpi--unknown", "RS Kosong"], &["Belum ada unit yang melapor", "Tanpa unit"]).await;
    let answer = get("/regions/32.17.06", "").await;
    let seen = answer.body().rsplit("</script>").next().expect("an end");
    assert!(!seen.contains("kpi--calm") && !seen.contains(r#"data-tone="ok""#), "nothing is said to be fine");
    assert!(!seen.contains("–</span><small>\u{a0}%"), "no unit where there is no figure");
}

#[tokio::test]
async fn a_place_without_units_shows_no_zeros_and_the_way_up() {
    let answer = get("/regions/32.17.01.2008", "").await;
    let html = answer.body();
    assert!(
        !html.contains("class=\"kpis\"") && !html.contains("id=\"worst\"") && !html.contains("map-box"),
        "no figures of nothing"
    );
    let way = html.split("<a ").find(|link| link.contains(">Ke Lembang")).expect("a way up");
    assert!(way.contains("href=\"/regions/32.17.01\""), "{way}");
}

#[tokio::test]
async fn facility_device_and_pipeline() {
    check("/facilities/P321701-1", 200, &["Puskesmas Lembang", "<svg"], &["9,4"]).await;
    check("/devices/P321701-1-F2", 200, &["P321701-1-F2", "<svg"], &["9,4", "12 bacaan hilang antara 09.05", "LS, 107,6172°"])
        .await;
    check("/pipeline", 200, &["simulator", "rantai.events", "watermark"], &["1.000", "Setengah alat", "Arti kata"]).await;
    check("/regions/unassigned", 200, &["/devices/probe-7", "href=\"/regions/unassigned/devices\""], &["4,0"]).await;
}

#[tokio::test]
async fn devices_that_nobody_registered_page_by_page() {
    const PAGE: &str = "/regions/unassigned/devices";
    let both = ["/devices/probe-7", "/regions/unassigned/devices?before=probe-7", "/api/v1/regions/unassigned"];
    check(PAGE, 200, &both, &["1.006 alat belum terdaftar", "1 dari 1.006"]).await;
    check(&format!("{PAGE}?before=probe-7"), 200, &["href=\"/regions/unassigned/devices\""], &["Yang lebih lama"]).await;
    check(&format!("{PAGE}?before=x"), 404, &["<form"], &["Tidak ada di sini"]).await;
}

#[tokio::test]
async fn dead_letters_page_by_page() {
    const PAGE: &str = "/pipeline/dead-letters";
    let both = ["/pipeline/dead-letters?before=17", "/pipeline/dead-letters?state=open", "/api/v1/dead-letters?format=csv"];
    check(PAGE, 200, &both, &["3 rekaman tertolak menunggu keputusan", "1 dari 1.006"]).await;
    check(&format!("{PAGE}?state=open"), 200, &["state=open&amp;before=17"], &["Tidak ada di antara yang terbaru"]).await;
    check(&format!("{PAGE}?before=17"), 200, &["href=\"/pipeline/dead-letters\""], &["Sebelum rekaman 17"]).await;
    for path in ["?before=x", "?state=closed"] {
        check(&format!("{PAGE}{path}"), 404, &["<form"], &["Tidak ada di sini"]).await;
    }
}

#[tokio::test]
async fn late_records_in_the_time_of_their_place() {
    let both = ["/devices/P820101-1-F1", "Puskesmas Jailolo", "WIT", "/late/21", "/late?before=21", "/api/v1/late"];
    check("/late", 200, &both, &["1.006 rekaman terlambat", "35\u{a0}mnt", "1 dari 1.006"]).await;
    check("/late?before=21", 200, &["href=\"/late\""], &["Sebelum rekaman 21"]).await;
    check("/late/21", 200, &["/facilities/P820101-1", "WIT", "&lt;b&gt;"], &["Terlambat 35\u{a0}mnt", "−0,9", "Membeku"]).await;
    for path in ["/late/22", "/late/x", "/late?before=x"] {
        check(path, 404, &["<form"], &["Tidak ada di sini"]).await;
    }
}

#[tokio::test]
async fn search_settings_and_what_is_not_there() {
    check("/search", 200, &["<form"], &["Cari"]).await;
    check("/search?q=lembang", 200, &["Puskesmas Lembang", "/facilities/P321701-1"], &[]).await;
    check("/search?q=%3Cb%3E", 200, &["&lt;b&gt;"], &[]).await;
    check("/settings", 200, &["/settings/theme?to=dark&amp;back=%2Fsettings"], &["Gelap"]).await;
    check("/regions/12.34", 404, &["<form"], &["Tidak ada di sini"]).await;
    check("/regions/99", 503, &["<form"], &["Coba lagi"]).await;
    check("/nothing/here", 404, &["<form"], &["Tidak ada di sini"]).await;
}

#[tokio::test]
async fn the_choice_of_language_and_theme() {
    let answer = get("/settings?lang=en", "theme=dark").await;
    assert!(answer.body().contains("<html lang=\"en\" data-theme=\"dark\""));
    assert_eq!(answer.headers()[header::SET_COOKIE], "lang=en; Path=/; Max-Age=31536000; SameSite=Lax");
    let answer = get("/settings", "theme=blue; lang=xx").await;
    assert!(answer.body().contains("<html lang=\"id\">"));
}

#[tokio::test]
async fn sorting_needs_no_script() {
    let answer = get("/?sort=name&dir=desc", "").await;
    let table = answer.body().split("<tbody>").last().expect("a table").to_owned();
    assert!(table.find("Papua Pegunungan") < table.find("Jawa Barat") && table.find("Jawa Barat") < table.find("Aceh"));
}
