//! Windows as data, and against a plain reference written from `docs/semantics.md`.

use super::*;
use crate::event::DeviceStatus;
use crate::milli::Milli;
use crate::time::EventTime;
use proptest::prelude::*;
use std::collections::BTreeMap;

pub(super) fn reading(at: i64, temperature: i32) -> Reading {
    Reading {
        at: EventTime::from_ms(at),
        temperature: Milli(temperature),
        humidity: None,
        battery: None,
        status: DeviceStatus::Ok,
    }
}

/// One definition: size and delay in seconds, lateness 10 s, a reading every size seconds.
fn small(size: i64, delay: i64) -> WindowConfig {
    WindowConfig::new(vec![WindowDefinition { size_ms: size * 1_000, delay_ms: delay * 1_000 }], 10_000).expect("valid")
}

/// Events as `second`, or `second@server-second`; the answer lists windows as `start:count/version state`, then late ones.
#[track_caller]
fn check(config: &WindowConfig, interval_s: i64, events: &str, expected: &str) {
    let mut device = DeviceWindows::default();
    let mut windows: BTreeMap<(usize, i64), Window> = BTreeMap::new();
    let mut late = Vec::new();
    let mut now = 0;
    for event in events.split(' ') {
        let (second, server) = event.split_once('@').unwrap_or((event, ""));
        now = server.parse().unwrap_or(now);
        if second == "idle" {
            device.fire_incomplete(config);
            continue;
        }
        let at = second.parse::<i64>().expect("a second") * 1_000;
        let placed = device.add(
            config,
            config.slot(interval_s * 1_000),
            &reading(at, 5_000),
            ProcessingTime::from_ms(now * 1_000),
            &mut |d: usize, w: Window| assert_eq!(windows.insert((d, w.start), w), None, "closed twice"),
        );
        if let Placement::Late { lateness_ms, .. } = placed {
            late.push(format!("late {second} by {}", lateness_ms / 1_000));
        }
    }
    for d in 0..config.definitions().len() {
        windows.extend(device.windows(config, d).map(|w| ((d, w.start), w)));
    }
    let mut got: Vec<String> =
        windows.values().map(|w| format!("{}:{}/{} {}", w.start / 1_000, w.aggregate.count, w.version, w.state.name())).collect();
    got.append(&mut late);
    assert_eq!(got.join(", "), expected, "{events}");
}

#[test]
fn firing() {
    let config = small(10, 60);
    check(&config, 5, "0 5 9 10", "0:3/0 provisional, 10:1/0 provisional");
    // 14:30:00 to 14:30:10 with B = 1 min fires when an event at 14:31:10 is seen, not at 14:31:09.
    check(&config, 5, "0 69", "0:1/0 provisional, 60:1/0 provisional");
    check(&config, 5, "0 70", "0:1/1 final, 70:1/0 provisional");
    check(&config, 5, "0 70 5 6", "0:3/3 final, 70:1/0 provisional"); // two records after firing
    check(&config, 5, "0 idle 75", "0:1/1 final, 70:1/0 provisional");
    check(&config, 5, "0 idle 5", "0:2/2 incomplete");
    check(&config, 5, "75 3", "0:1/1 final, 70:1/0 provisional"); // made behind the watermark: its first firing
}

#[test]
fn lateness_and_slots() {
    let config = small(10, 60); // late from M = e + 70 on, where the slot is closed
    check(&config, 10, "5 79 6", "0:2/2 final, 70:1/0 provisional");
    check(&config, 10, "5 80 6", "0:1/1 final, 80:1/0 provisional, late 6 by 10"); // complete with one reading
    check(&config, 5, "5 80 6", "0:2/2 final, 80:1/0 provisional"); // needs two: open for 48 h
    check(&config, 5, "5 80 6 7", "0:2/2 final, 80:1/0 provisional, late 7 by 10"); // the second completed it
    // Newest-first back-fill of a device's past is not late.
    check(
        &config,
        10,
        "500 490 480 470 100 0",
        "0:1/1 final, 100:1/1 final, 470:1/0 provisional, 480:1/0 provisional, 490:1/0 provisional, 500:1/0 provisional",
    );
    // 48 h of server time after it passed, the gap is closed.
    check(&config, 10, "0@0 500@10 200@172809", "0:1/1 final, 200:1/1 final, 500:1/0 provisional");
    check(&config, 10, "0@0 500@10 200@172810", "0:1/1 final, 500:1/0 provisional, late 200 by 230");
}

#[test]
fn the_default_is_what_its_definitions_say() {
    let default = WindowConfig::default();
    let rebuilt = WindowConfig::new(default.definitions().to_vec(), default.allowed_lateness_ms());
    assert_eq!(rebuilt, Ok(default));
}

/// Semantics 3.3 as plainly as it can be written: it remembers everything and looks everything up.
struct Reference<'c> {
    config: &'c WindowConfig,
    interval_ms: i64,
    /// Accepted event times.
    accepted: Vec<i64>,
    /// M(d) and the server time at which it took that value.
    newest: Vec<(i64, i64)>,
    windows: BTreeMap<(usize, i64), (u32, u32, WindowState, i64)>,
}

impl Reference<'_> {
    fn add(&mut self, at: i64, temperature: i64, now: i64) -> bool {
        let definitions = self.config.definitions();
        let (b0, size0, lateness) = (definitions[0].delay_ms, definitions[0].size_ms, self.config.allowed_lateness_ms());
        let e0 = at.div_euclid(size0) * size0 + size0;
        let slot = definitions.iter().find(|d| d.size_ms >= self.interval_ms).or(definitions.last()).expect("not empty").size_ms;
        let needed = (slot / self.interval_ms).max(1) as usize;
        if let Some(passed_at) = self.newest.iter().find(|(m, _)| m - b0 >= e0 + lateness).map(|(_, when)| *when) {
            let in_slot = self.accepted.iter().filter(|a| a.div_euclid(slot) == at.div_euclid(slot)).count();
            if in_slot >= needed || now - passed_at >= self.config.gap_open_ms {
                return false;
            }
        }
        self.accepted.push(at);
        let before = self.newest.last().map(|(m, _)| *m);
        for (index, d) in definitions.iter().enumerate() {
            let start = at.div_euclid(d.size_ms) * d.size_ms;
            let fired_before = before.is_some_and(|m| m - d.delay_ms >= start + d.size_ms);
            let window = self.windows.entry((index, start)).or_insert((
                0,
                0,
                if fired_before { WindowState::Final } else { WindowState::Provisional },
                0,
            ));
            window.0 += 1;
            window.1 += u32::from(window.2 != WindowState::Provisional);
            window.3 += temperature;
        }
        if before.is_none_or(|m| at > m) {
            self.newest.push((at, now));
            for ((index, start), window) in &mut self.windows {
                let d = definitions[*index];
                if at - d.delay_ms >= start + d.size_ms {
                    window.1 = window.1.max(1);
                    window.2 = WindowState::Final;
                }
            }
        }
        true
    }

    fn idle(&mut self) {
        for window in self.windows.values_mut().filter(|w| w.2 == WindowState::Provisional) {
            (window.1, window.2) = (1, WindowState::Incomplete);
        }
    }
}

pub(super) fn configs() -> impl Strategy<Value = (WindowConfig, i64)> {
    let definitions = prop_oneof![
        Just(vec![(10, 60), (300, 120)]),
        Just(vec![(10, 0)]),
        Just(vec![(10, 20), (30, 5), (120, 40)]),
        Just(vec![(60, 60)]),
    ];
    (
        definitions,
        prop_oneof![Just(0i64), Just(30), Just(600)],
        prop_oneof![Just(2i64), Just(5), Just(10), Just(45), Just(300), Just(1_000)],
    )
        .prop_filter_map("delays within lateness", |(definitions, lateness, interval)| {
            let definitions =
                definitions.into_iter().map(|(s, b)| WindowDefinition { size_ms: s * 1_000, delay_ms: b * 1_000 }).collect();
            let mut config = WindowConfig::new(definitions, lateness * 1_000).ok()?;
            config.gap_open_ms = 2_000_000;
            Some((config, interval * 1_000))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Disorder, back-fill in either direction, jumps, late records, expiry of gaps, idleness: the same dispositions and windows.
    #[test]
    fn equals_the_reference(
        (config, interval_ms) in configs(),
        steps in prop::collection::vec((0u8..20, -900i64..1_200, 0i64..90_000, -30_000i32..30_000), 1..120),
    ) {
        let slot = config.slot(interval_ms);
        let mut device = DeviceWindows::default();
        let mut reference = Reference { config: &config, interval_ms, accepted: vec![], newest: vec![], windows: BTreeMap::new() };
        let mut closed: BTreeMap<(usize, i64), Window> = BTreeMap::new();
        let (mut clock, mut now) = (1_000_000_000i64, 0i64);
        for (kind, offset, wait, temperature) in steps {
            now += wait;
            match kind {
                0 => {
                    device.fire_incomplete(&config);
                    reference.idle();
                    continue;
                }
                1 => clock += 3_000_000, // an outage
                2 => now += 1_000_000,
                3..=12 => clock += interval_ms,
                _ => {}
            }
            let at = if kind <= 12 { clock } else { clock + offset * 1_000 };
            let placed = device.add(&config, slot, &reading(at, temperature), ProcessingTime::from_ms(now), &mut |d: usize, w: Window| {
                assert_eq!(closed.insert((d, w.start), w), None, "closed twice");
            });
            let accepted = reference.add(at, i64::from(temperature), now);
            prop_assert_eq!(placed == Placement::Accepted, accepted, "at {} now {}", at, now);
            clock = clock.max(if kind > 12 && offset > 0 && accepted { at } else { clock });
        }
        let mut all = closed;
        for d in 0..config.definitions().len() {
            for w in device.windows(&config, d) {
                prop_assert_eq!(all.insert((d, w.start), w), None, "both closed and open");
            }
        }
        let got: BTreeMap<_, _> =
            all.iter().map(|(k, w)| (*k, (w.aggregate.count, w.version, w.state, w.aggregate.temperature_sum))).collect();
        prop_assert_eq!(got, reference.windows);
    }
}
