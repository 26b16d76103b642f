//! Taking over what another engine made of its part of the log: several engines seen as one.

use super::device::DeviceState;
use super::{ClosedWindow, Engine, Totals};
use crate::planted;
use crate::rollup::{Contribution, LateReading, StaleHours};
use crate::time::ProcessingTime;

impl Engine {
    /// Takes over the state of a device, newer than what is known of it here, with the windows that left its memory since. Roll-ups follow
    /// by the difference. Its index here.
    pub fn adopt(&mut self, state: DeviceState, closed: &[ClosedWindow]) -> u32 {
        let index = self.device_index(&state.id);
        if self.knows_more_of(index, &state) {
            return index;
        }
        let Self { devices, rollup, config, roll_definition, .. } = self;
        let device = &mut devices[index as usize];
        let of_rolled = |closed: &&ClosedWindow| usize::from(closed.definition) == *roll_definition;
        let left = closed.iter().filter(of_rolled).map(|closed| closed.window);
        for window in state.windows.windows(&config.windows, *roll_definition).chain(left) {
            let known = device.contribution(&config.windows, *roll_definition, window.start);
            // Versions of hours are a matter of whoever has the log.
            let nobodys = &mut StaleHours::default();
            rollup.roll(device.facility, window.start, known, Contribution::of(&window.aggregate, device.range), nobodys);
        }
        device.state = state;
        device.unrolled.clear();
        self.mark(index);
        self.queue(index);
        index
    }

    /// Whether something came of the device itself, and `state` is that of a partition where only its tracker did: such a one has
    /// heard of fixes, and would take away all that is known.
    pub(super) fn knows_more_of(&self, index: u32, state: &DeviceState) -> bool {
        let known = self.devices[index as usize].state.received_at;
        known.is_some() && state.received_at.is_none() && !planted("tracker-is-taken-for-its-device")
    }

    /// Takes over that a reading came too late, of a device known here.
    pub fn adopt_late(&mut self, late: &LateReading) {
        let facility = self.devices[late.device as usize].facility;
        self.rollup.roll_late(facility, late.start, &late.adds, &mut StaleHours::default());
    }

    /// Takes over counters.
    pub fn adopt_totals(&mut self, totals: Totals) {
        self.totals = totals;
    }

    /// Lets it be `now`, if it was not later: devices of which nothing came count as silent. What follows from that for their windows
    /// whoever has the log will tell.
    pub fn adopt_time(&mut self, now: ProcessingTime) {
        self.now = self.now.max(now);
        while let Some((at, index)) = self.deadlines.first().copied()
            && at <= self.now.ms()
        {
            self.deadlines.pop_first();
            self.devices[index as usize].queued_at = None;
            self.queue(index);
            self.mark(index);
        }
    }
}

impl Totals {
    /// Adds the counters of another part of the input.
    pub fn add(&mut self, other: &Totals) {
        self.add_hours(other);
        let pairs = std::iter::once((&mut self.all, &other.all)).chain(self.by_topic.iter_mut().zip(&other.by_topic));
        pairs.for_each(|(to, from)| to.add(from));
        for ((name, tally), heard) in other.by_source.iter().zip(&other.heard_from) {
            if let Some(at) = self.by_source.iter().position(|(known, _)| known == name) {
                self.by_source[at].1.add(tally);
                self.heard_from[at] = self.heard_from[at].max(*heard);
            } else {
                self.by_source.push((name.clone(), *tally));
                self.heard_from.push(*heard);
            }
        }
        self.by_reason.iter_mut().zip(&other.by_reason).for_each(|(to, from)| *to += from);
        let newest = self.newest_letters.iter_mut().zip(other.newest_letters);
        newest.for_each(|(to, from)| *to = from.max(*to));
        self.closed_windows += other.closed_windows;
        self.corrected_windows += other.corrected_windows;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Content, EngineConfig, MemoryIdentities, Pairing, Record, plain_reading};
    use super::*;
    use crate::event::{BodyHash, Identity, Topic};
    use crate::join::Fix;
    use crate::master::{Master, RegionIx};
    use crate::milli::Milli;
    use crate::time::EventTime;
    use std::borrow::Cow;
    use std::sync::Arc;

    const NOW: i64 = 1_790_000_000_000;

    fn step(engine: &mut Engine, identities: &mut MemoryIdentities, n: i64) {
        let (now, late_ms) = (NOW + n * 40_000, if n % 11 == 5 { 1_800_000 } else { 0 });
        let at = now - late_ms;
        let record = Record {
            identity: Some(Identity(n as u128)),
            is_natural: false,
            body: BodyHash(n as u64),
            topic: Some(Topic::Temperature),
            source: Cow::Borrowed("s"),
            sequence: None,
            is_numbered: false,
            content: Content::Reading {
                device: Cow::Borrowed(if n % 3 == 0 { "a" } else { "b" }),
                reading: plain_reading(EventTime::from_ms(at), Milli(4_000 + n as i32)),
            },
        };
        engine.step([record], ProcessingTime::from_ms(now), identities, &mut Vec::new());
    }

    /// Whoever takes over states, closed windows and late readings now and then has the roll-ups of the engine that made them.
    #[test]
    fn roll_ups_follow_what_is_adopted() {
        let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n";
        let regions = "level,code,parent,name\n0,ID,,Indonesia\n";
        let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n";
        let master = Arc::new(Master::parse(levels, regions, facilities).expect("parses"));
        let mut engine = Engine::new(EngineConfig::default(), &master);
        let mut view = Engine::new(EngineConfig::default(), &master);
        let mut identities = MemoryIdentities::default();
        let country = engine.rollup().of_region(RegionIx(0)).expect("the country");
        for n in 0..600 {
            step(&mut engine, &mut identities, n);
            if n % 7 == 0 || n == 599 {
                let closed = engine.take_closed();
                for index in engine.flush() {
                    let state = engine.device_state(index).clone();
                    let own: Vec<ClosedWindow> = closed.iter().filter(|c| c.device == index).copied().collect();
                    view.adopt(state, &own);
                }
                for late in engine.take_late() {
                    view.adopt_late(&late);
                }
                view.adopt_time(engine.now());
                view.flush();
                let hours = |e: &Engine| e.rollup().cells(country, i64::MIN).collect::<Vec<_>>();
                assert_eq!(hours(&view), hours(&engine), "after {n}");
            }
        }
        let (accepted, late) = (engine.totals().all.accepted, engine.totals().all.late);
        assert_eq!(view.rollup().readings(country), accepted);
        assert!(late > 20 && accepted + late == 600, "{late} late");
        let mut sum = engine.totals().clone();
        sum.add(engine.totals());
        assert_eq!((sum.all.received, sum.by_source.len()), (1_200, 1));
    }

    /// The tracker of a device may lie in another partition than the device: what is known there is no reading of it.
    #[test]
    fn a_tracker_elsewhere_takes_nothing_from_its_device() {
        let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n1,province,Provinsi,Province\n\
            2,regency,Kabupaten,Regency\n3,district,Kecamatan,District\n";
        let regions = "level,code,parent,name\n0,ID,,Indonesia\n1,32,ID,Jawa Barat\n2,32.17,32,Bandung Barat\n\
            3,32.17.05,32.17,Lembang\n";
        let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n\
            P321705-1,Lembang,puskesmas,32.17.05,-6.8,107.6,WIB,F1 x\n";
        let master = Arc::new(Master::parse(levels, regions, facilities).expect("parses"));
        let device = master.sensors()[0].id.clone();
        let pairing = Pairing { tracker: "truck".into(), device: device.clone(), from_ms: i64::MIN, to_ms: i64::MAX };
        let config = EngineConfig::default();
        let [mut own, mut elsewhere, mut view] = [(); 3].map(|()| Engine::new(config.clone(), &master));
        for engine in [&mut own, &mut elsewhere] {
            engine.pair(vec![pairing.clone()], ProcessingTime::from_ms(NOW));
        }
        let record = |n: i64, topic, content| Record {
            identity: Some(Identity(n as u128)),
            is_natural: false,
            body: BodyHash(n as u64),
            topic: Some(topic),
            source: Cow::Borrowed("s"),
            sequence: None,
            is_numbered: false,
            content,
        };
        for n in 0..10 {
            let at = EventTime::from_ms(NOW + n * 40_000);
            let reading = Content::Reading { device: Cow::Borrowed(&device), reading: plain_reading(at, Milli(4_000)) };
            let fix = Fix { at, longitude_e6: 107_000_000, latitude_e6: -6_000_000 };
            let fix = Content::Fix { device: Cow::Borrowed("truck"), fix };
            for (engine, topic, content) in [(&mut own, Topic::Temperature, reading), (&mut elsewhere, Topic::Gps, fix)] {
                let now = ProcessingTime::from_ms(at.ms());
                engine.step([record(n, topic, content)], now, &mut MemoryIdentities::default(), &mut Vec::new());
                let closed = engine.take_closed();
                for index in engine.flush() {
                    let gone: Vec<ClosedWindow> = closed.iter().filter(|c| c.device == index).copied().collect();
                    view.adopt(engine.device_state(index).clone(), &gone);
                }
            }
        }
        let country = view.rollup().of_region(RegionIx(0)).expect("the country");
        assert_eq!(view.rollup().readings(country), 10);
        let latest = own.device_state(0).latest;
        assert!(latest.is_some() && view.device_state(0).latest == latest);
        // The same where it begins with both.
        for engines in [[&own, &elsewhere], [&elsewhere, &own]] {
            let states = engines.map(|engine| engine.device_state(0).clone());
            let begun = Engine::restore(config.clone(), &master, own.now(), Totals::default(), states, []);
            assert_eq!(begun.device_state(0).latest, latest);
        }
    }
}
