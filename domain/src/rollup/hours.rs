//! The hours in memory: which of them, and how.
//!
//! Only a reading changes an hour, the one that its window starts in or would have, and a reading older than [`RETENTION_MS`] is refused. So an hour that
//! lies behind [`hours_kept_from`] cannot change any more: it leaves memory, and whoever asks for it reads it from the store, where
//! checkpoints have put it. The invariant: **from `kept_from` on memory holds every hour of which anything was heard; of those before it none, and
//! nothing that is not in the store.** `kept_from` moves when a checkpoint was cut, which took along all that had changed. The retention is
//! exceeded by a day: a window may start so long before its reading, and who follows several partitions hears of one that lags. What comes
//! later than that they leave to the store.
//!
//! Hours that nearly nobody looks at or changes any more are packed, some 15 KB each for the country instead of 125. So memory has a bound
//! that does not depend on history: 91 days of packed hours and two of open ones.

use super::{FINAL_AFTER_MS, HourCell};
use crate::engine::RETENTION_MS;
use crate::planted;
use crate::time::{DAY_MS, HOUR_MS, ProcessingTime};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Start of the first hour that is in memory at `now`, in milliseconds.
pub const fn hours_kept_from(now: ProcessingTime) -> i64 {
    let oldest = now.ms() - RETENTION_MS - DAY_MS;
    oldest - oldest.rem_euclid(HOUR_MS)
}

/// Cells in a row that are read together.
const CHUNK: usize = 64;

/// The cells of an hour that hardly changes any more, close together.
///
/// Chunks of 64 cells, so that one cell can be read without the others: which of them are not zero, a bit each, then each of these. A cell
/// is its windows times four, plus two where it has not as many readings, plus one where some window left the range or something was late;
/// then readings, windows below, and twice those above, plus one where something was late, then late readings, those below and those above,
/// as far as the numbers before said so. Numbers are in sevens of bits, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedHour {
    len: usize,
    /// Where each chunk begins in `data`.
    chunks: Box<[u32]>,
    data: Box<[u8]>,
}

impl From<&[HourCell]> for PackedHour {
    fn from(cells: &[HourCell]) -> Self {
        let (mut chunks, mut data) = (Vec::with_capacity(cells.len() / CHUNK + 1), Vec::new());
        for chunk in cells.chunks(CHUNK) {
            chunks.push(data.len() as u32);
            let is_there = |cell: &HourCell| *cell != HourCell::default();
            let mask = chunk.iter().rev().fold(0u64, |mask, cell| mask << 1 | u64::from(is_there(cell)));
            data.extend(mask.to_le_bytes());
            for cell in chunk.iter().filter(|cell| is_there(cell)) {
                let HourCell { windows, low, high, readings, late, late_low, late_high } = *cell;
                let is_more = readings != windows;
                let is_late = (late, late_low, late_high) != (0, 0, 0) && !planted("packed-hour-was-on-time");
                let is_special = (low > 0 || high > 0 || is_late) && !planted("packed-hour-was-fine");
                put(&mut data, u64::from(windows) << 2 | u64::from(is_more) << 1 | u64::from(is_special));
                let number = u64::from;
                let rest = [
                    (is_more, number(readings)),
                    (is_special, number(low)),
                    (is_special, number(high) << 1 | u64::from(is_late)),
                    (is_special && is_late, number(late)),
                    (is_special && is_late, number(late_low)),
                    (is_special && is_late, number(late_high)),
                ];
                rest.iter().filter(|(is_said, _)| *is_said).for_each(|(_, number)| put(&mut data, *number));
            }
        }
        Self { len: cells.len(), chunks: chunks.into(), data: data.into() }
    }
}

impl From<Vec<HourCell>> for PackedHour {
    fn from(cells: Vec<HourCell>) -> Self {
        cells.as_slice().into()
    }
}

fn put(data: &mut Vec<u8>, mut number: u64) {
    while number >= 128 {
        data.push(number as u8 | 128);
        number >>= 7;
    }
    data.push(number as u8);
}

fn get(data: &mut impl Iterator<Item = u8>) -> u64 {
    let mut number = 0;
    for (byte, place) in data.by_ref().zip(0..) {
        number |= u64::from(byte & 127) << (7 * place);
        if byte < 128 {
            break;
        }
    }
    number
}

impl PackedHour {
    /// Which cells of a chunk are there, a bit each, and their bytes.
    fn chunk(&self, number: usize) -> (u64, &[u8]) {
        let (mask, data) = self.data[self.chunks[number] as usize..].split_first_chunk().expect("a chunk begins with its mask");
        (u64::from_le_bytes(*mask), data)
    }

    /// Those cells of a chunk, with their places in it.
    fn there(&self, number: usize) -> impl Iterator<Item = (usize, HourCell)> + '_ {
        let (mask, data) = self.chunk(number);
        let mut data = data.iter().copied();
        (0..CHUNK).filter(move |place| mask >> place & 1 == 1).map(move |place| {
            let first = get(&mut data);
            let windows = (first >> 2) as u32;
            let readings = if first & 2 == 0 { windows } else { get(&mut data) as u32 };
            let mut cell = HourCell { windows, readings, ..HourCell::default() };
            if first & 1 == 1 {
                cell.low = get(&mut data) as u32;
                let high = get(&mut data);
                cell.high = (high >> 1) as u32;
                if high & 1 == 1 {
                    [cell.late, cell.late_low, cell.late_high] = std::array::from_fn(|_| get(&mut data) as u32);
                }
            }
            (place, cell)
        })
    }

    /// One cell.
    pub fn cell(&self, index: usize) -> Option<HourCell> {
        let (number, place) = (index / CHUNK, index % CHUNK);
        // Most places are quiet: nothing has to be unpacked to know it.
        let is_there = || self.chunk(number).0 >> place & 1 == 1;
        let unpacked = || self.there(number).find(|(at, _)| *at == place).map(|(_, cell)| cell);
        (index < self.len).then(|| is_there().then(unpacked).flatten().unwrap_or_default())
    }

    /// All of them.
    pub fn cells(&self) -> Vec<HourCell> {
        let mut cells = vec![HourCell::default(); self.len];
        for number in 0..self.chunks.len() {
            self.there(number).for_each(|(place, cell)| cells[number * CHUNK + place] = cell);
        }
        cells
    }
}

#[derive(Clone, Debug)]
enum Hour {
    Open(Vec<HourCell>),
    Packed(PackedHour),
}

/// The hours in memory: start to one cell per region, the unassigned last.
#[derive(Clone, Debug)]
pub(super) struct Hours {
    cells: usize,
    kept_from: i64,
    all: BTreeMap<i64, Hour>,
}

impl Hours {
    /// None yet, of so many `cells` each.
    pub fn new(cells: usize) -> Self {
        Self { cells, kept_from: i64::MIN, all: BTreeMap::new() }
    }

    /// The first hour that is in memory.
    pub const fn kept_from(&self) -> i64 {
        self.kept_from
    }

    /// Begins with what was stored until `now`; of what is not kept any more nothing is taken.
    pub fn restore(&mut self, now: ProcessingTime, hours: impl Iterator<Item = (i64, PackedHour)>) {
        self.kept_from = hours_kept_from(now);
        let kept = hours.filter(|(start, _)| *start >= self.kept_from);
        self.all = kept.map(|(start, hour)| (start, Hour::Packed(hour))).collect();
    }

    /// The cells of the hour from `start`, to change them; `None` where it is not kept any more.
    pub fn open(&mut self, start: i64) -> Option<&mut Vec<HourCell>> {
        if start < self.kept_from {
            return None;
        }
        let hour = self.all.entry(start).or_insert_with(|| Hour::Open(Vec::new()));
        if let Hour::Packed(packed) = hour {
            *hour = Hour::Open(packed.cells());
        }
        let Hour::Open(cells) = hour else { unreachable!("it was opened a moment ago") };
        // Cells beyond the regions of the master data are dropped, missing ones are zero.
        cells.resize(self.cells, HourCell::default());
        Some(cells)
    }

    /// The cells of the hour from `start`.
    pub fn get(&self, start: i64) -> Option<Cow<'_, [HourCell]>> {
        match self.all.get(&start)? {
            Hour::Open(cells) => Some(Cow::Borrowed(cells)),
            Hour::Packed(packed) => Some(Cow::Owned(packed.cells())),
        }
    }

    /// One cell of each hour that starts at or after `from`, oldest first.
    pub fn cells(&self, index: usize, from: i64) -> impl DoubleEndedIterator<Item = (i64, HourCell)> + '_ {
        self.all.range(from..).filter_map(move |(start, hour)| {
            let cell = match hour {
                Hour::Open(cells) => cells.get(index).copied(),
                Hour::Packed(packed) => packed.cell(index),
            };
            Some((*start, cell?))
        })
    }

    /// After a checkpoint was cut at `now` with all that had changed: forgets what is not kept any more, packs what is old.
    pub fn tidy(&mut self, now: ProcessingTime) {
        let kept_from = hours_kept_from(if planted("hour-is-forgotten-too-early") { now.plus_ms(30 * DAY_MS) } else { now });
        self.kept_from = self.kept_from.max(kept_from);
        while let Some(hour) = self.all.first_entry().filter(|hour| *hour.key() < self.kept_from) {
            hour.remove();
        }
        for (_, hour) in self.all.range_mut(..now.ms() - FINAL_AFTER_MS - HOUR_MS) {
            if let Hour::Open(cells) = hour {
                *hour = Hour::Packed(cells.as_slice().into());
            }
        }
    }

    /// How many there are, and how many of them are open.
    #[cfg(test)]
    pub fn len(&self) -> (usize, usize) {
        (self.all.len(), self.all.values().filter(|hour| matches!(hour, Hour::Open(_))).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![4 => Just(0), 4 => 0u32..60, 1 => any::<u32>()]
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(of in prop::collection::vec(prop::array::uniform7(number()), 0..200), empty in 0..200usize) {
            let cell = |[windows, low, high, readings, late, late_low, late_high]: [u32; 7]| {
                HourCell { windows, low, high, readings, late, late_low, late_high }
            };
            let mut cells: Vec<HourCell> = of.into_iter().map(cell).collect();
            cells.splice(0..0, vec![HourCell::default(); empty]);
            let packed = PackedHour::from(cells.as_slice());
            prop_assert_eq!(&packed.cells(), &cells);
            let each: Vec<HourCell> = (0..cells.len()).filter_map(|index| packed.cell(index)).collect();
            prop_assert_eq!(each, cells.clone());
            prop_assert_eq!(packed.cell(cells.len()), None);
        }
    }

    /// An hour of the country as it is most of the time: each district with some refrigerators that tell all.
    #[test]
    fn an_hour_of_the_country_is_small() {
        let cell = |n: u32| HourCell {
            windows: 24 + n % 40,
            high: u32::from(n.is_multiple_of(50)),
            readings: 24 + n % 40,
            ..HourCell::default()
        };
        let cells: Vec<HourCell> = (0..7_800).map(cell).collect();
        let packed = PackedHour::from(cells);
        let bytes = packed.data.len() + packed.chunks.len() * 4;
        assert!(bytes < 20_000, "{bytes} bytes");
    }
}
