//! Windows as they are stored with their device, close together.

use super::Cell;
use crate::aggregate::Aggregate;
use crate::milli::Milli;
use crate::planted;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Windows of one definition in order of start, a column for each part of them.
///
/// What changes with every window has an entry for each, a number so small that it nearly always fits in a byte or two. Most other parts
/// follow from the window before or from the window's other parts; only where they do not, their column has an entry, which begins with the
/// window's place. So a window takes some seven bytes instead of thirty.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Packed {
    /// Readings.
    counts: Vec<u32>,
    /// Lowest temperatures, each less that of the window before.
    lows: Vec<i64>,
    /// Highest less lowest temperature.
    spans: Vec<i64>,
    /// Sums of humidities, each less that of the window before.
    humidity_sums: Vec<i64>,
    /// From one start to the next, where it is otherwise than before; to the first from the epoch.
    steps: Vec<(u32, i64)>,
    /// Sums and sums of squares, where they are not those of [`sums_of`]: of more than two readings nearly always.
    sums: Vec<(u32, i64, u64)>,
    /// Readings with a humidity, where that are not all.
    humidity_counts: Vec<(u32, u32)>,
    /// Extremes of the battery charge, where they are others than before.
    batteries: Vec<(u32, Option<(Milli, Milli)>)>,
    /// Records accepted after firing, where there are any.
    joined_fired: Vec<(u32, u32)>,
    /// Those that fired because their device went silent.
    silent: Vec<u32>,
}

/// The sum and the sum of squares of one or two temperatures that have these extremes; of more, what two would have.
fn sums_of(count: u32, (low, high): (Milli, Milli)) -> (i64, u64) {
    let square = |t: Milli| u64::from(t.0.unsigned_abs()).pow(2);
    match count {
        1 => (i64::from(low.0), square(low)),
        _ => (i64::from(low.0) + i64::from(high.0), square(low) + square(high)),
    }
}

impl<'c> FromIterator<&'c Cell> for Packed {
    fn from_iter<I: IntoIterator<Item = &'c Cell>>(cells: I) -> Self {
        let cells = cells.into_iter();
        let room = cells.size_hint().0;
        let mut packed = Self {
            counts: Vec::with_capacity(room),
            lows: Vec::with_capacity(room),
            spans: Vec::with_capacity(room),
            humidity_sums: Vec::with_capacity(room),
            ..Self::default()
        };
        let (mut start, mut step, mut low, mut humidity_sum, mut battery) = (0, 0, 0, 0, None);
        for (place, cell) in (0..).zip(cells) {
            let a = &cell.aggregate;
            let new_low = i64::from(a.temperature_min.0);
            packed.counts.push(a.count);
            packed.lows.push(new_low - low);
            packed.spans.push(i64::from(a.temperature_max.0) - new_low);
            packed.humidity_sums.push(a.humidity_sum.wrapping_sub(humidity_sum));
            (low, humidity_sum) = (new_low, a.humidity_sum);
            if cell.start.wrapping_sub(start) != step {
                step = cell.start.wrapping_sub(start);
                packed.steps.push((place, step));
            }
            start = cell.start;
            let sums = (a.temperature_sum, a.temperature_square_sum);
            if sums != sums_of(a.count, (a.temperature_min, a.temperature_max)) && !planted("stored-sums-are-guessed") {
                packed.sums.push((place, sums.0, sums.1));
            }
            if a.humidity_count != a.count {
                packed.humidity_counts.push((place, a.humidity_count));
            }
            if a.battery_extremes() != battery {
                battery = a.battery_extremes();
                packed.batteries.push((place, battery));
            }
            if cell.joined_fired > 0 {
                packed.joined_fired.push((place, cell.joined_fired));
            }
            if cell.went_silent {
                packed.silent.push(place);
            }
        }
        packed
    }
}

/// The entry of `place`, where the next one of a column is of it.
fn next<T: Copy>(column: &mut std::slice::Iter<'_, T>, place: u32, place_of: impl Fn(&T) -> u32) -> Option<T> {
    (column.as_slice().first().map(place_of) == Some(place)).then(|| column.next().copied()).flatten()
}

impl Packed {
    /// The windows; `None` where columns do not fit together, windows are out of order or extremes the wrong way round. Sums and counts are
    /// taken as they are.
    pub fn cells(&self) -> Option<Vec<Cell>> {
        let len = self.counts.len();
        if [self.lows.len(), self.spans.len(), self.humidity_sums.len()] != [len; 3] {
            return None;
        }
        let (mut steps, mut sums, mut humidity_counts) = (self.steps.iter(), self.sums.iter(), self.humidity_counts.iter());
        let (mut batteries, mut joined_fired, mut silent) = (self.batteries.iter(), self.joined_fired.iter(), self.silent.iter());
        let (mut start, mut step, mut low, mut humidity_sum, mut battery) = (0i64, 0, 0i64, 0i64, None);
        let mut cells = Vec::with_capacity(len);
        let columns = self.counts.iter().zip(&self.lows).zip(&self.spans).zip(&self.humidity_sums);
        for (place, (((count, low_more), span), humidity_more)) in (0..).zip(columns) {
            step = next(&mut steps, place, |e| e.0).map_or(step, |e| e.1);
            start = start.wrapping_add(step);
            low = low.checked_add(*low_more)?;
            humidity_sum = humidity_sum.wrapping_add(*humidity_more);
            battery = next(&mut batteries, place, |e| e.0).map_or(battery, |e| e.1);
            let extremes = (Milli(i32::try_from(low).ok()?), Milli(i32::try_from(low.checked_add(*span)?).ok()?));
            let sums = next(&mut sums, place, |e| e.0).map_or_else(|| sums_of(*count, extremes), |e| (e.1, e.2));
            if (place > 0 && step <= 0) || battery.is_some_and(|(low, high)| low > high) {
                return None;
            }
            let mut aggregate = Aggregate::default();
            aggregate.count = *count;
            aggregate.humidity_count = next(&mut humidity_counts, place, |e| e.0).map_or(*count, |e| e.1);
            (aggregate.temperature_sum, aggregate.temperature_square_sum) = sums;
            aggregate.humidity_sum = humidity_sum;
            (aggregate.temperature_min, aggregate.temperature_max) = extremes;
            aggregate.set_battery_extremes(battery);
            let joined_fired = next(&mut joined_fired, place, |e| e.0).map_or(0, |e| e.1);
            let went_silent = next(&mut silent, place, |e| *e).is_some();
            cells.push(Cell { start, aggregate, joined_fired, went_silent });
        }
        let are_used =
            steps.len() + sums.len() + humidity_counts.len() + batteries.len() + joined_fired.len() + silent.len() == 0;
        are_used.then_some(cells)
    }
}

/// As serde's `with` asks for it: the live windows of each definition.
pub(super) mod live {
    use super::*;

    type Live = SmallVec<[VecDeque<Cell>; 2]>;

    pub fn serialize<S: Serializer>(live: &Live, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(live.iter().map(|cells| cells.iter().collect::<Packed>()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Live, D::Error> {
        let all = Vec::<Packed>::deserialize(from)?;
        let cells = all.iter().map(|packed| packed.cells().map(VecDeque::from));
        cells.collect::<Option<_>>().ok_or_else(|| D::Error::custom("columns of windows that do not belong together"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{DeviceStatus, Reading};
    use crate::time::EventTime;
    use proptest::prelude::*;

    type Written = (Vec<(i32, Option<i32>, Option<i32>)>, u8, u32, bool);

    fn cell((readings, step, joined_fired, went_silent): Written, start: &mut i64) -> Cell {
        *start += 10_000 * i64::from(step);
        let mut aggregate = Aggregate::default();
        for (temperature, humidity, battery) in readings {
            let (temperature, humidity, battery) = (Milli(temperature), humidity.map(Milli), battery.map(Milli));
            aggregate.add(&Reading { at: EventTime::from_ms(0), temperature, humidity, battery, status: DeviceStatus::Ok });
        }
        Cell { start: *start, aggregate, joined_fired, went_silent }
    }

    fn cells() -> impl Strategy<Value = Vec<Cell>> {
        let part = proptest::option::of(0..3i32);
        let readings = proptest::collection::vec((-55_000..125_000i32, part.clone(), part), 0..4);
        let written = (readings, 1..3u8, prop_oneof![3 => Just(0), 1 => 1..3u32], any::<bool>());
        (any::<i32>(), proptest::collection::vec(written, 0..12)).prop_map(|(from, all)| {
            let mut start = i64::from(from) * 10_000;
            all.into_iter().map(|written| cell(written, &mut start)).collect()
        })
    }

    proptest! {
        #[test]
        fn windows_are_read_as_they_were_written(cells in cells()) {
            let packed: Packed = cells.iter().collect();
            prop_assert_eq!(packed.cells(), Some(cells));
        }

        #[test]
        fn what_does_not_belong_together_is_no_window(cells in cells(), place in 0..20u32, column in 0..7u8) {
            let mut packed: Packed = cells.iter().collect();
            let there = match column {
                0 => packed.steps.last().map(|e| e.0),
                1 => packed.sums.last().map(|e| e.0),
                2 => packed.humidity_counts.last().map(|e| e.0),
                3 => packed.batteries.last().map(|e| e.0),
                4 => packed.joined_fired.last().map(|e| e.0),
                5 => packed.silent.last().copied(),
                _ => None,
            };
            let is_beyond = place >= cells.len() as u32 || there.is_some_and(|there| place <= there);
            match column {
                0 => packed.steps.push((place, 1)),
                1 => packed.sums.push((place, 1, 1)),
                2 => packed.humidity_counts.push((place, 1)),
                3 => packed.batteries.push((place, None)),
                4 => packed.joined_fired.push((place, 1)),
                5 => packed.silent.push(place),
                _ => packed.lows.push(i64::from(place)),
            }
            prop_assert_eq!(packed.cells().is_none(), is_beyond || column == 6);
        }
    }

    #[test]
    fn windows_out_of_order_are_none() {
        let mut start = 0;
        let cells =
            [cell((vec![(1, None, None)], 1, 0, false), &mut start), cell((vec![(2, None, None)], 1, 0, false), &mut start)];
        let two = || cells.iter().collect::<Packed>();
        assert!(two().cells().is_some());
        for step in [0, -10] {
            assert_eq!(Packed { steps: vec![(0, 10), (1, step)], ..two() }.cells(), None);
        }
        assert_eq!(Packed { batteries: vec![(0, Some((Milli(5), Milli(3))))], ..two() }.cells(), None);
    }
}
