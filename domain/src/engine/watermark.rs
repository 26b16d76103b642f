//! How far event time has come, topic by topic: derived from the watermarks of devices when somebody asks, stored nowhere.

use super::Engine;
use crate::event::Topic;
use crate::feed::WatermarkNow;
use crate::join::Join;
use crate::time::EventTime;

impl Engine {
    /// The watermarks of the topics that have one, over their devices that are not idle.
    ///
    /// W(d) is the newest accepted event time of a device less a delay: that of the shortest window for temperatures, since it alone
    /// decides what is late, and that of the join for fixes. Other topics have no windows and thus no watermark.
    pub fn watermarks(&self) -> Vec<WatermarkNow> {
        let temperature = self.config.windows.definitions()[0].delay_ms;
        let gps = self.config.join.delay_ms;
        let newest_reading = |index: usize| self.devices[index].state.windows.newest();
        let newest_fix = |index: usize| {
            let join = self.devices[index].state.extra.as_ref().and_then(|extra| extra.join.as_ref());
            join.and_then(Join::newest_fix).map(EventTime::ms)
        };
        [self.watermark(Topic::Temperature, temperature, newest_reading), self.watermark(Topic::Gps, gps, newest_fix)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// `None` where no device of the topic was ever heard of.
    fn watermark(&self, topic: Topic, delay_ms: i64, newest: impl Fn(usize) -> Option<i64>) -> Option<WatermarkNow> {
        let heard = (0..self.devices.len()).filter_map(|index| Some((newest(index)? - delay_ms, index)));
        let (mut active, mut idle) = (Vec::new(), 0);
        for (at, index) in heard {
            let (idle_at, _) = self.silences(index as u32);
            if idle_at.is_some_and(|at| at > self.now.ms()) {
                active.push((at, index));
            } else {
                idle += 1;
            }
        }
        if active.is_empty() && idle == 0 {
            return None;
        }
        active.sort_unstable();
        let at = |(ms, _): &(i64, usize)| EventTime::from_ms(*ms);
        Some(WatermarkNow {
            topic,
            delay_ms,
            active: active.len() as u32,
            idle,
            slowest: active.first().map(|(_, index)| self.devices[*index].state.id.to_string()),
            lowest: active.first().map(at),
            tenth: active.get(active.len() / 10).map(at),
            half: active.get(active.len() / 2).map(at),
            highest: active.last().map(at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Content, EngineConfig, MemoryIdentities, Record, plain_reading};
    use super::*;
    use crate::event::{BodyHash, Identity};
    use crate::master::Master;
    use crate::milli::Milli;
    use crate::time::{MINUTE_MS, ProcessingTime};
    use std::borrow::Cow;
    use std::sync::Arc;

    const NOW: i64 = 1_790_000_000_000;

    /// Devices `0`, `1`, … send one reading each, taken so many minutes ago.
    fn engine(ages: impl IntoIterator<Item = i64>) -> Engine {
        let levels = "depth,key,name_id,name_en\n0,country,Negara,Country\n";
        let regions = "level,code,parent,name\n0,ID,,Indonesia\n";
        let facilities = "code,name,kind,region,latitude,longitude,zone,equipment\n";
        let master = Arc::new(Master::parse(levels, regions, facilities).expect("parses"));
        let mut engine = Engine::new(EngineConfig::default(), &master);
        let records = ages.into_iter().enumerate().map(|(n, age)| Record {
            identity: Some(Identity(n as u128)),
            is_natural: false,
            body: BodyHash(0),
            topic: Some(Topic::Temperature),
            source: Cow::Borrowed("s"),
            sequence: None,
            is_numbered: false,
            content: Content::Reading {
                device: Cow::Owned(n.to_string()),
                reading: plain_reading(EventTime::from_ms(NOW - age * MINUTE_MS), Milli(4_000)),
            },
        });
        engine.step(records, ProcessingTime::from_ms(NOW), &mut MemoryIdentities::default(), &mut Vec::new());
        engine
    }

    #[test]
    fn it_is_that_of_devices_which_are_heard_of() {
        assert_eq!(engine([]).watermarks(), []);
        // The delay of the shortest window is a minute.
        let mut engine = engine(0..20);
        let at = |minutes: i64| Some(EventTime::from_ms(NOW - (minutes + 1) * MINUTE_MS));
        let expected = WatermarkNow {
            topic: Topic::Temperature,
            delay_ms: MINUTE_MS,
            active: 20,
            idle: 0,
            slowest: Some("19".into()),
            lowest: at(19),
            tenth: at(17),
            half: at(9),
            highest: at(0),
        };
        assert_eq!(engine.watermarks(), [expected]);
        // Nobody is heard of for a quarter of an hour in which somebody listened: nothing moves, and nothing is claimed.
        for minute in 1..=15 {
            engine.pass_time(ProcessingTime::from_ms(NOW + minute * MINUTE_MS));
        }
        let [silent] = &engine.watermarks()[..] else { panic!("one topic") };
        assert_eq!((silent.active, silent.idle, silent.lowest, &silent.slowest), (0, 20, None, &None));
    }
}
