//! Windows as they are stored with their device, close together.

use super::{Cell, Ring};
use crate::aggregate::Aggregate;
use crate::milli::Milli;
use crate::planted;
use crate::varint::{Numbers, put, put_signed};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

// What is said of a window in its first byte. The lowest two bits are its readings, where these are one to three.
const STEP: u8 = 1 << 2;
const SUMS: u8 = 1 << 3;
const HUMIDITY_COUNT: u8 = 1 << 4;
const BATTERY: u8 = 1 << 5;
const JOINED: u8 = 1 << 6;
const SILENT: u8 = 1 << 7;

/// Bytes as one piece, not as a list of numbers; to whoever reads them that is the same.
pub(super) fn as_bytes<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// What of a window the next one is told by.
#[derive(Default)]
struct Before {
    start: i64,
    /// From the start before it to this one.
    step: i64,
    low: i64,
    humidity_sum: i64,
    battery: Option<(Milli, Milli)>,
}

/// The sum and the sum of squares of one or two temperatures that have these extremes; of more, what two would have.
fn sums_of(count: u32, (low, high): (Milli, Milli)) -> (i64, u64) {
    let square = |t: Milli| u64::from(t.0.unsigned_abs()).pow(2);
    match count {
        1 => (i64::from(low.0), square(low)),
        _ => (i64::from(low.0) + i64::from(high.0), square(low) + square(high)),
    }
}

/// Appends a window of one definition that holds a reading and comes after the one `before`.
///
/// It is a byte that says which of its parts follow from the window before it or from its other parts, and then those that do not, as
/// numbers of `varint`: most are differences from the window before. So it takes some seven bytes instead of sixty-four.
fn put_cell(data: &mut Vec<u8>, before: &mut Before, cell: &Cell) {
    let a = &cell.aggregate;
    debug_assert!(a.count > 0, "a window holds a reading");
    let (low, high) = (i64::from(a.temperature_min.0), i64::from(a.temperature_max.0));
    let step = cell.start.wrapping_sub(before.start);
    let sums = (a.temperature_sum, a.temperature_square_sum);
    let are_guessed = sums == sums_of(a.count, (a.temperature_min, a.temperature_max)) || planted("stored-sums-are-guessed");
    let battery = a.battery_extremes();
    let first = data.len();
    data.push(if a.count < 4 { a.count as u8 } else { 0 });
    let says = |what: u8, data: &mut Vec<u8>| data[first] |= what;
    if a.count >= 4 {
        put(data, u64::from(a.count));
    }
    if step != before.step {
        says(STEP, data);
        put_signed(data, step);
    }
    put_signed(data, low - before.low);
    put(data, (high - low) as u64);
    if !are_guessed {
        says(SUMS, data);
        put_signed(data, sums.0);
        put(data, sums.1);
    }
    if a.humidity_count != a.count {
        says(HUMIDITY_COUNT, data);
        put(data, u64::from(a.humidity_count));
    }
    put_signed(data, a.humidity_sum.wrapping_sub(before.humidity_sum));
    if battery != before.battery {
        says(BATTERY, data);
        put(data, u64::from(battery.is_some()));
        if let Some((low, high)) = battery {
            put_signed(data, i64::from(low.0));
            put(data, (i64::from(high.0) - i64::from(low.0)) as u64);
        }
    }
    if cell.joined_fired > 0 {
        says(JOINED, data);
        put(data, u64::from(cell.joined_fired));
    }
    if cell.went_silent {
        says(SILENT, data);
    }
    *before = Before { start: cell.start, step, low, humidity_sum: a.humidity_sum, battery };
}

/// The next window; `None` where it is cut off or holds no reading, or where a number is none that it may have. Sums and counts are taken as
/// they are.
fn get_cell(data: &mut Numbers<'_>, before: &mut Before) -> Option<Cell> {
    let (says, rest) = data.0.split_first()?;
    data.0 = rest;
    let is_said = |what: u8| says & what != 0;
    let count = match says & 3 {
        0 => data.get_as()?,
        few => u32::from(few),
    };
    let step = if is_said(STEP) { data.get_signed()? } else { before.step };
    let low = before.low.checked_add(data.get_signed()?)?;
    let high = low.checked_add(data.get_as()?)?;
    let extremes = (Milli(i32::try_from(low).ok()?), Milli(i32::try_from(high).ok()?));
    let sums = if is_said(SUMS) { (data.get_signed()?, data.get()?) } else { sums_of(count, extremes) };
    let humidity_count = if is_said(HUMIDITY_COUNT) { data.get_as()? } else { count };
    let humidity_sum = before.humidity_sum.wrapping_add(data.get_signed()?);
    let mut battery = before.battery;
    if is_said(BATTERY) {
        battery = None;
        if data.get()? > 0 {
            let low: i32 = data.get_signed_as()?;
            battery = Some((Milli(low), Milli(i32::try_from(i64::from(low).checked_add(data.get_as()?)?).ok()?)));
        }
    }
    let joined_fired = if is_said(JOINED) { data.get_as()? } else { 0 };
    let start = before.start.checked_add(step)?;
    let mut aggregate = Aggregate::default();
    (aggregate.count, aggregate.humidity_count, aggregate.humidity_sum) = (count, humidity_count, humidity_sum);
    (aggregate.temperature_sum, aggregate.temperature_square_sum) = sums;
    (aggregate.temperature_min, aggregate.temperature_max) = extremes;
    aggregate.set_battery_extremes(battery);
    *before = Before { start, step, low, humidity_sum, battery };
    (count > 0).then_some(Cell { start, aggregate, joined_fired, went_silent: is_said(SILENT) })
}

/// Windows in order of start, as bytes that [`unpack`] reads.
fn pack<'c>(cells: impl IntoIterator<Item = &'c Cell, IntoIter: ExactSizeIterator>) -> Vec<u8> {
    let cells = cells.into_iter();
    // Eight bytes each are nearly always enough.
    let (mut data, mut before) = (Vec::with_capacity(32 + 8 * cells.len()), Before::default());
    cells.for_each(|cell| put_cell(&mut data, &mut before, cell));
    data
}

/// What [`pack`] made; `None` of what it never makes.
fn unpack(data: &[u8]) -> Option<Vec<Cell>> {
    let (mut data, mut before, mut cells) = (Numbers(data), Before::default(), Vec::new());
    while !data.0.is_empty() {
        cells.push(get_cell(&mut data, &mut before)?);
    }
    cells.is_sorted_by(|a, b| a.start < b.start).then_some(cells)
}

/// As serde's `with` asks for it: the live windows of each definition.
pub(super) mod live {
    use super::*;

    type Live = SmallVec<[Ring; 2]>;

    #[derive(Serialize, Deserialize)]
    struct Packed(#[serde(serialize_with = "as_bytes")] Vec<u8>);

    pub fn serialize<S: Serializer>(live: &Live, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(live.iter().map(|cells| Packed(pack(cells.iter()))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Live, D::Error> {
        let all = Vec::<Packed>::deserialize(from)?;
        let cells = all.iter().map(|Packed(data)| unpack(data).map(Ring::from));
        cells.collect::<Option<_>>().ok_or_else(|| D::Error::custom("windows that are none, or out of order"))
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
        let readings = proptest::collection::vec((-55_000..125_000i32, part.clone(), part), 1..6);
        let written = (readings, 1..3u8, prop_oneof![3 => Just(0), 1 => 1..3u32], any::<bool>());
        (any::<i32>(), proptest::collection::vec(written, 0..12)).prop_map(|(from, all)| {
            let mut start = i64::from(from) * 10_000;
            all.into_iter().map(|written| cell(written, &mut start)).collect()
        })
    }

    proptest! {
        #[test]
        fn windows_are_read_as_they_were_written(cells in cells()) {
            prop_assert_eq!(unpack(&pack(&cells)), Some(cells));
        }

        /// Whatever the bytes are, they are none or windows in order that are written and read again as themselves.
        #[test]
        fn any_bytes_are_none_or_windows(
            cells in cells(), cut in 0..200usize, changed in proptest::collection::vec((0..200usize, any::<u8>()), 0..3)
        ) {
            let mut bytes = pack(&cells);
            bytes.truncate(bytes.len().saturating_sub(cut / 8));
            for (at, byte) in changed {
                if let Some(there) = bytes.get_mut(at) {
                    *there = byte;
                }
            }
            if let Some(read) = unpack(&bytes) {
                prop_assert!(read.is_sorted_by(|a, b| a.start < b.start));
                prop_assert!(read.iter().all(|cell| cell.aggregate.count > 0));
                prop_assert_eq!(unpack(&pack(&read)), Some(read));
            }
        }
    }

    #[test]
    fn what_is_cut_off_out_of_order_or_empty_is_none() {
        let mut start = 0;
        let of = |temperature, start: &mut i64| cell((vec![(temperature, None, None)], 1, 0, false), start);
        let two = pack(&[of(1, &mut start), of(2, &mut start)]);
        let read = |data: &[u8]| unpack(data).map(|cells| cells.len());
        assert_eq!(read(&two), Some(2));
        for len in 1..two.len() {
            // Where the first one ends there is one.
            assert!(read(&two[..len]).is_none_or(|windows| windows == 1), "{len}");
        }
        for (starts, expected) in [([10_000, 20_000], Some(2)), ([10_000, 10_000], None), ([20_000, 10_000], None)] {
            let packed = pack(&starts.map(|start| Cell { start, ..of(1, &mut 0) }));
            assert_eq!(read(&packed), expected, "{starts:?}");
        }
        // No reading; a window that begins like none.
        assert_eq!(read(&[0; 5]), None);
        assert_eq!(read(&[1]), None);
    }
}
