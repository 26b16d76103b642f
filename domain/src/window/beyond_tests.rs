//! Sliding windows and sessions as data, and against a plain reference that stores every window and finds sessions anew each time.

use super::tests::{configs, reading};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What left memory.
#[derive(Default)]
struct Gone {
    windows: BTreeMap<(usize, i64), Window>,
    joined: Vec<(usize, JoinedRun)>,
    sessions: BTreeMap<(usize, i64), SessionWindow>,
}

impl Closing for Gone {
    fn window(&mut self, definition: usize, window: Window) {
        assert_eq!(self.windows.insert((definition, window.start), window), None, "closed twice");
    }
    fn joined(&mut self, definition: usize, run: JoinedRun) {
        let twice = self.joined.iter().any(|(d, r)| *d == definition && r.from < run.to && run.from < r.to);
        assert!(!twice, "closed twice: {run:?}");
        self.joined.push((definition, run));
    }
    fn session(&mut self, definition: usize, session: SessionWindow) {
        assert_eq!(self.sessions.insert((definition, session.start), session), None, "closed twice");
    }
}

/// A device and all that left it: what a reader puts together.
struct Fed {
    config: WindowConfig,
    slot: Slot,
    device: DeviceWindows,
    gone: Gone,
}

impl Fed {
    fn new(config: &WindowConfig, interval_ms: i64) -> Self {
        let (device, gone) = (DeviceWindows::default(), Gone::default());
        Self { config: config.clone(), slot: config.slot(interval_ms), device, gone }
    }

    fn add(&mut self, at: i64, temperature: i32, now: i64) -> bool {
        let now = ProcessingTime::from_ms(now);
        self.device.add(&self.config, self.slot, &reading(at, temperature), now, &mut self.gone) == Placement::Accepted
    }

    fn sliding(&self, index: usize) -> Vec<Window> {
        let mut view = self.device.sliding_view(&self.config, index);
        let pane = view.definition().pane;
        view.joined.extend(self.gone.joined.iter().filter(|(d, _)| *d == index).map(|(_, run)| *run));
        let mut panes: BTreeMap<i64, Aggregate> =
            self.gone.windows.iter().filter(|((d, _), _)| *d == pane).map(|((_, s), w)| (*s, w.aggregate)).collect();
        panes.extend(self.device.windows(&self.config, pane).map(|w| (w.start, w.aggregate)));
        view.windows(panes, i64::MIN / 4, i64::MAX / 4)
    }

    fn sessions(&self, index: usize) -> Vec<SessionWindow> {
        let mut all: BTreeMap<i64, SessionWindow> =
            self.gone.sessions.iter().filter(|((d, _), _)| *d == index).map(|((_, s), w)| (*s, *w)).collect();
        for session in self.device.sessions(&self.config, index) {
            assert_eq!(all.insert(session.start, session), None, "both gone and held");
        }
        all.into_values().collect()
    }
}

/// Windows `start:count/version state`, of the first sliding definition and of the first session definition (`start-end`).
#[track_caller]
fn check(definitions: &str, events: &str, sliding: &str, sessions: &str) {
    let config = WindowConfig::parse(definitions, 600_000).expect("valid");
    let mut fed = Fed::new(&config, 5_000);
    for event in events.split(' ') {
        match event {
            "idle" => fed.device.fire_incomplete(&config),
            second => assert!(fed.add(second.parse::<i64>().expect("a second") * 1_000, 5_000, 0), "{event} is late"),
        }
    }
    if !config.sliding().is_empty() {
        let row = |w: &Window| format!("{}:{}/{} {}", w.start / 1_000, w.aggregate.count, w.version, w.state.name());
        assert_eq!(fed.sliding(0).iter().map(row).collect::<Vec<_>>().join(", "), sliding, "{events}");
    }
    if !config.sessions().is_empty() {
        let row = |s: &SessionWindow| {
            format!("{}-{}:{}/{} {}", s.start / 1_000, s.end / 1_000, s.aggregate.count, s.version, s.state.name())
        };
        assert_eq!(fed.sessions(0).iter().map(row).collect::<Vec<_>>().join(", "), sessions, "{events}");
    }
}

#[test]
fn sliding_windows_fire_and_count_what_joins() {
    let windows = "10:20,30/10:20";
    check(windows, "5 15", "-20:1/0 provisional, -10:2/0 provisional, 0:2/0 provisional, 10:1/0 provisional", "");
    // [-20, 10) fires when 30 is seen, [-10, 20) when 40 is.
    check(
        windows,
        "5 30",
        "-20:1/1 final, -10:1/0 provisional, 0:1/0 provisional, 10:1/0 provisional, 20:1/0 provisional, 30:1/0 provisional",
        "",
    );
    // Two more for the fired one; the others count them before they fire.
    check(
        windows,
        "5 30 6 7 40",
        "-20:3/3 final, -10:3/1 final, 0:3/0 provisional, 10:1/0 provisional, 20:2/0 provisional, 30:2/0 provisional, 40:1/0 provisional",
        "",
    );
    // Behind the watermark: the first record fires it.
    check("10:0,20/10:0", "100 5 6", "-10:2/2 final, 0:2/2 final, 90:1/0 provisional, 100:1/0 provisional", "");
    check("10:0,20/10:0", "5 idle 6 8", "-10:3/3 incomplete, 0:3/3 incomplete", "");
    check("10:0,20/10:0", "5 idle 15", "-10:1/1 final, 0:2/2 incomplete, 10:1/0 provisional", "");
}

#[test]
fn sessions_extend_and_merge() {
    let windows = "10:20,session 60:20";
    check(windows, "0 30 89", "", "0-149:3/0 provisional");
    // An end is exclusive: a gap of a minute parts.
    check(windows, "0 60", "", "0-60:1/0 provisional, 60-120:1/0 provisional");
    check(windows, "0 79", "", "0-60:1/0 provisional, 79-139:1/0 provisional");
    check(windows, "0 80", "", "0-60:1/1 final, 80-140:1/0 provisional");
    // A late record joins a session that has fired; it stays fired while the watermark is past its end.
    check(windows, "0 200 10", "", "0-70:2/2 final, 200-260:1/0 provisional");
    // Open again: it goes on to beyond the watermark, and fires with a higher version.
    check(windows, "0 80 50", "", "0-140:3/1 provisional");
    check(windows, "0 80 50 160", "", "0-140:3/2 final, 160-220:1/0 provisional");
    // Two that have fired become one: the later start is void.
    check(windows, "0 100 300 50", "", "0-160:3/2 final, 100-160:0/2 merged, 300-360:1/0 provisional");
    // An earlier first reading: the start that was given out is void.
    check(windows, "100 300 50", "", "50-160:2/2 final, 100-160:0/2 merged, 300-360:1/0 provisional");
    // One that has not fired was given out to nobody.
    check(windows, "100 50", "", "50-160:2/0 provisional");
    // A silent device: incomplete, and open again once it goes on.
    check(windows, "0 idle", "", "0-60:1/1 incomplete");
    check(windows, "10 idle 5", "", "5-70:2/2 incomplete, 10-70:0/2 merged");
    check(windows, "0 idle 30", "", "0-90:2/1 provisional");
    check(windows, "0 idle 30 120", "", "0-90:2/2 final, 120-180:1/0 provisional");
}

/// Everything remembered, every window of its own, sessions found anew with each record.
struct Reference<'c> {
    config: &'c WindowConfig,
    accepted: Vec<i64>,
    newest: Option<i64>,
    silent_newest: Option<i64>,
    /// By definition and start: records, version, whether it has fired.
    sliding: BTreeMap<(usize, i64), (u32, u32, bool)>,
    /// By definition and start: version, whether it has fired.
    sessions: BTreeMap<(usize, i64), (u32, bool)>,
    /// Void starts with their last version.
    merged: BTreeMap<(usize, i64), u32>,
}

/// First and newest reading of each session.
fn parted(times: &[i64], gap: i64) -> Vec<(i64, i64)> {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.chunk_by(|a, b| b - a < gap).map(|chunk| (chunk[0], chunk[chunk.len() - 1])).collect()
}

impl<'c> Reference<'c> {
    fn new(config: &'c WindowConfig) -> Self {
        let (sliding, sessions, merged) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { config, accepted: vec![], newest: None, silent_newest: None, sliding, sessions, merged }
    }

    fn is_passed(&self, end: i64, delay: i64) -> bool {
        self.newest.is_some_and(|newest| newest - delay >= end)
    }

    fn accept(&mut self, at: i64) {
        for (index, of) in self.config.sliding().iter().enumerate() {
            let mut start = at.div_euclid(of.slide_ms) * of.slide_ms;
            while start > at - of.size_ms {
                let has_fired =
                    self.is_passed(start + of.size_ms, of.delay_ms) || self.silent_newest.is_some_and(|newest| start <= newest);
                let window = self.sliding.entry((index, start)).or_default();
                window.2 |= has_fired;
                window.0 += 1;
                window.1 += u32::from(window.2);
                start -= of.slide_ms;
            }
        }
        let before = self.accepted.clone();
        self.accepted.push(at);
        for (index, of) in self.config.sessions().iter().enumerate() {
            let own = parted(&self.accepted, of.gap_ms).into_iter().find(|(start, last)| (*start..=*last).contains(&at));
            let (start, last) = own.expect("it was just accepted");
            let parts: Vec<_> =
                parted(&before, of.gap_ms).into_iter().filter(|(first, _)| (start..=last).contains(first)).collect();
            let (mut version, mut is_silent) = (0, false);
            for (first, newest) in parts {
                let (own_version, has_fired) = self.sessions.remove(&(index, first)).expect("it was there");
                if first != start && own_version > 0 {
                    self.merged.insert((index, first), own_version + 1);
                }
                version = version.max(own_version);
                is_silent = has_fired && at <= newest;
            }
            let has_fired = self.is_passed(last + of.gap_ms, of.delay_ms) || is_silent;
            self.sessions.insert((index, start), (version + u32::from(has_fired), has_fired));
        }
        if self.newest.is_none_or(|newest| at > newest) {
            self.newest = Some(at);
            let config = self.config;
            for ((index, start), window) in &mut self.sliding {
                let of = config.sliding()[*index];
                if !window.2 && at - of.delay_ms >= start + of.size_ms {
                    (window.1, window.2) = (1, true);
                }
            }
            for (index, of) in config.sessions().iter().enumerate() {
                for (start, last) in parted(&self.accepted, of.gap_ms) {
                    let session = self.sessions.get_mut(&(index, start)).expect("all are there");
                    if !session.1 && at - of.delay_ms >= last + of.gap_ms {
                        *session = (session.0 + 1, true);
                    }
                }
            }
        }
    }

    fn idle(&mut self) {
        self.silent_newest = self.newest;
        self.sliding.values_mut().filter(|window| !window.2).for_each(|window| (window.1, window.2) = (1, true));
        self.sessions.values_mut().filter(|session| !session.1).for_each(|session| *session = (session.0 + 1, true));
    }

    fn state(&self, has_fired: bool, end: i64, delay: i64) -> WindowState {
        match (self.is_passed(end, delay), has_fired) {
            (true, _) => WindowState::Final,
            (false, true) => WindowState::Incomplete,
            (false, false) => WindowState::Provisional,
        }
    }

    fn sliding(&self, index: usize) -> Vec<(i64, u32, u32, WindowState)> {
        let of = self.config.sliding()[index];
        let own = self.sliding.iter().filter(|((d, _), _)| *d == index);
        own.map(|((_, start), (count, version, has_fired))| {
            (*start, *count, *version, self.state(*has_fired, start + of.size_ms, of.delay_ms))
        })
        .collect()
    }

    fn sessions(&self, index: usize) -> BTreeSet<(i64, i64, u32, u32, &'static str)> {
        let of = self.config.sessions()[index];
        let held = parted(&self.accepted, of.gap_ms).into_iter().map(|(start, last)| {
            let (version, has_fired) = self.sessions[&(index, start)];
            let count = self.accepted.iter().filter(|at| (start..=last).contains(at)).count() as u32;
            (start, last + of.gap_ms, count, version, self.state(has_fired, last + of.gap_ms, of.delay_ms).name())
        });
        held.collect()
    }
}

fn with_all(config: &WindowConfig) -> WindowConfig {
    let (b0, lateness) = (config.definitions()[0].delay_ms, config.allowed_lateness_ms());
    let mut all = config.clone();
    for (size, slide, delay) in [(30, 10, b0), (300, 10, 0), (50, 20, b0 + lateness), (1_800, 60, b0)] {
        all = all.clone().with_sliding(size * 1_000, slide * 1_000, delay).unwrap_or(all);
    }
    for (gap, delay) in [(45, b0), (400, 0), (2_000, b0 + lateness)] {
        all = all.with_session(gap * 1_000, delay).expect("no delay is too long");
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Disorder, back-fill, jumps, expiry of gaps, silence, and a restart at any time.
    #[test]
    fn equals_the_reference(
        (config, interval_ms) in configs(),
        steps in prop::collection::vec((0u8..20, -900i64..1_200, 0i64..90_000, -30_000i32..30_000), 1..100),
    ) {
        let config = with_all(&config);
        let mut fed = Fed::new(&config, interval_ms);
        let mut reference = Reference::new(&config);
        let mut sum = 0;
        let (mut clock, mut now) = (1_000_000_000i64, 0i64);
        for (kind, offset, wait, temperature) in steps {
            now += wait;
            match kind {
                0 => {
                    fed.device.fire_incomplete(&config);
                    reference.idle();
                    continue;
                }
                1 => clock += 3_000_000, // an outage
                2 => now += 1_000_000,
                3..=12 => clock += interval_ms,
                _ => {}
            }
            let at = if kind <= 12 { clock } else { clock + offset * 1_000 };
            if fed.add(at, temperature, now) {
                reference.accept(at);
                sum += i64::from(temperature);
                clock = clock.max(if kind > 12 && offset > 0 { at } else { clock });
            }
            let text = serde_json::to_string(&fed.device).expect("it can be written");
            fed.device = serde_json::from_str(&text).expect("it was just written");
        }
        for index in 0..config.sliding().len() {
            let got: Vec<_> = fed.sliding(index).iter().map(|w| (w.start, w.aggregate.count, w.version, w.state)).collect();
            prop_assert_eq!(got, reference.sliding(index), "sliding {:?}", config.sliding()[index]);
        }
        for index in 0..config.sessions().len() {
            let all = fed.sessions(index);
            let (void, got): (Vec<&SessionWindow>, Vec<&SessionWindow>) = all.iter().partition(|s| s.state == WindowState::Merged);
            let got: BTreeSet<_> =
                got.iter().map(|s| (s.start, s.end, s.aggregate.count, s.version, s.state.name())).collect();
            prop_assert_eq!(got, reference.sessions(index), "session {:?}", config.sessions()[index]);
            let void: BTreeMap<_, _> = void.iter().map(|s| ((index, s.start), s.version)).collect();
            let expected: BTreeMap<_, _> = reference.merged.iter().filter(|((d, _), _)| *d == index).map(|(k, v)| (*k, *v)).collect();
            prop_assert_eq!(void, expected);
            // Law C2: accepted readings are the sum of the counts; and of what was measured nothing is lost.
            prop_assert_eq!(all.iter().map(|s| s.aggregate.count as usize).sum::<usize>(), reference.accepted.len());
            prop_assert_eq!(all.iter().map(|s| s.aggregate.temperature_sum).sum::<i64>(), sum);
        }
    }

    /// In whatever order records come within lateness, every sliding window and every session holds the same.
    #[test]
    fn order_does_not_matter(times in prop::collection::vec(0i64..600, 1..60), seed in any::<u64>()) {
        let config = with_all(&WindowConfig::parse("10:60,300:120", 600_000).expect("valid"));
        let mut shuffled = times.clone();
        let mut random = seed;
        for i in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(i, (random >> 33) as usize % (i + 1));
        }
        let (mut one, mut two) = (Fed::new(&config, 5_000), Fed::new(&config, 5_000));
        for at in &times {
            assert!(one.add(at * 1_000, *at as i32, 0));
        }
        for at in &shuffled {
            assert!(two.add(at * 1_000, *at as i32, 0));
        }
        for index in 0..config.sliding().len() {
            let of = |fed: &Fed| fed.sliding(index).iter().map(|w| (w.start, w.aggregate, w.state)).collect::<Vec<_>>();
            prop_assert_eq!(of(&one), of(&two));
        }
        for index in 0..config.sessions().len() {
            let of = |fed: &Fed| {
                let all = fed.sessions(index).into_iter().filter(|s| s.state != WindowState::Merged);
                all.map(|s| (s.start, s.end, s.aggregate, s.state)).collect::<Vec<_>>()
            };
            prop_assert_eq!(of(&one), of(&two));
        }
    }
}
