//! The hours in memory: which of them, and how.
//!
//! Only a reading changes an hour, the one that its window starts in or would have, and a reading older than [`RETENTION_MS`] is refused. So an hour that
//! lies behind [`hours_kept_from`] cannot change any more: it leaves memory, and whoever asks for it reads it from the store, where
//! checkpoints have put it. The invariant: **from `kept_from` on memory holds every hour of which anything was heard; of those before it none, and
//! nothing that is not in the store.** `kept_from` moves when a checkpoint was cut, which took along all that had changed. The retention is
//! exceeded by a day: a window may start so long before its reading, and who follows several partitions hears of one that lags. What comes
//! later than that they leave to the store.
//!
//! Hours that nearly nobody looks at or changes any more are packed, some 15 KB each for the country
//! instead of 200 where facilities belong to districts. So memory has a bound
//! that depends neither on history nor on what anybody sends: 91 days of packed hours, and of open ones at most [`MOST_OPEN`]. What comes
//! late for a packed hour changes it as it lies there.

use super::{FINAL_AFTER_MS, HourCell};
use crate::engine::RETENTION_MS;
use crate::planted;
use crate::time::{DAY_MS, HOUR_MS, ProcessingTime};
use crate::varint::{Numbers, put};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Start of the first hour that is in memory at `now`, in milliseconds.
pub const fn hours_kept_from(now: ProcessingTime) -> i64 {
    let oldest = now.ms() - RETENTION_MS - DAY_MS;
    oldest - oldest.rem_euclid(HOUR_MS)
}

/// How many hours lie open at most: those that change all the time, which are no more than [`FINAL_AFTER_MS`] old, and some.
const MOST_OPEN: usize = 56;

/// Cells in a row that are read together.
const CHUNK: usize = 64;

/// The cells of an hour that hardly changes any more, close together.
///
/// Chunks of 64 cells, so that one cell can be read without the others: which of them are not zero, a bit each, then each of these. A cell
/// is its windows times four, plus two where it has not as many readings, plus one where some window left the range or something was late;
/// then readings, windows below, and twice those above, plus one where something was late, then late readings, those below and those above,
/// as far as the numbers before said so. Numbers are those of `varint`.
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
            pack(chunk, &mut data);
        }
        Self { len: cells.len(), chunks: chunks.into(), data: data.into() }
    }
}

/// Appends the cells of a chunk.
fn pack(chunk: &[HourCell], data: &mut Vec<u8>) {
    let is_there = |cell: &HourCell| *cell != HourCell::default();
    let mask = chunk.iter().rev().fold(0u64, |mask, cell| mask << 1 | u64::from(is_there(cell)));
    data.extend(mask.to_le_bytes());
    for cell in chunk.iter().filter(|cell| is_there(cell)) {
        let HourCell { windows, low, high, readings, late, late_low, late_high } = *cell;
        let is_more = readings != windows;
        let is_late = (late, late_low, late_high) != (0, 0, 0) && !planted("packed-hour-was-on-time");
        let is_special = (low > 0 || high > 0 || is_late) && !planted("packed-hour-was-fine");
        put(data, u64::from(windows) << 2 | u64::from(is_more) << 1 | u64::from(is_special));
        let number = u64::from;
        let rest = [
            (is_more, number(readings)),
            (is_special, number(low)),
            (is_special, number(high) << 1 | u64::from(is_late)),
            (is_special && is_late, number(late)),
            (is_special && is_late, number(late_low)),
            (is_special && is_late, number(late_high)),
        ];
        rest.iter().filter(|(is_said, _)| *is_said).for_each(|(_, number)| put(data, *number));
    }
}

impl From<Vec<HourCell>> for PackedHour {
    fn from(cells: Vec<HourCell>) -> Self {
        cells.as_slice().into()
    }
}

/// The next cell that is there.
fn get_cell(data: &mut Numbers<'_>) -> Option<HourCell> {
    let first = data.get()?;
    let windows = u32::try_from(first >> 2).ok()?;
    let readings = if first & 2 == 0 { windows } else { data.get_as()? };
    let mut cell = HourCell { windows, readings, ..HourCell::default() };
    if first & 1 == 1 {
        cell.low = data.get_as()?;
        let high = data.get()?;
        cell.high = u32::try_from(high >> 1).ok()?;
        if high & 1 == 1 {
            (cell.late, cell.late_low, cell.late_high) = (data.get_as()?, data.get_as()?, data.get_as()?);
        }
    }
    Some(cell)
}

impl PackedHour {
    /// One of `len` cells in which nothing was heard of.
    fn empty(len: usize) -> Self {
        let chunks = len.div_ceil(CHUNK);
        Self { len, chunks: (0..chunks as u32).map(|chunk| chunk * 8).collect(), data: vec![0; chunks * 8].into() }
    }

    /// As it is stored: how many cells, and then these, as they lie here.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.data.len() + 3);
        put(&mut bytes, self.len as u64);
        bytes.extend(&self.data);
        bytes
    }

    /// What [`PackedHour::to_bytes`] made; `None` of what it never makes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = Numbers(bytes);
        let len: usize = rest.get_as()?;
        let data = rest.0;
        let mut chunks = Vec::new();
        for first in (0..len).step_by(CHUNK) {
            chunks.push((data.len() - rest.0.len()) as u32);
            let (mask, cells) = rest.0.split_first_chunk()?;
            let mask = u64::from_le_bytes(*mask);
            if len - first < CHUNK && mask >> (len - first) != 0 {
                return None;
            }
            rest = Numbers(cells);
            for _ in 0..mask.count_ones() {
                get_cell(&mut rest)?;
            }
        }
        rest.0.is_empty().then(|| Self { len, chunks: chunks.into(), data: data.into() })
    }

    /// Where the bytes of a chunk begin and end.
    fn span(&self, number: usize) -> (usize, usize) {
        let end = self.chunks.get(number + 1).map_or(self.data.len(), |next| *next as usize);
        (self.chunks[number] as usize, end)
    }

    /// Which cells of a chunk are there, a bit each, and their bytes.
    fn chunk(&self, number: usize) -> (u64, &[u8]) {
        let (mask, data) = self.data[self.chunks[number] as usize..].split_first_chunk().expect("a chunk begins with its mask");
        (u64::from_le_bytes(*mask), data)
    }

    /// Those cells of a chunk, with their places in it.
    fn there(&self, number: usize) -> impl Iterator<Item = (usize, HourCell)> + '_ {
        let (mask, data) = self.chunk(number);
        let mut data = Numbers(data);
        let places = (0..CHUNK).filter(move |place| mask >> place & 1 == 1);
        places.map(move |place| (place, get_cell(&mut data).expect("its mask says that it is there")))
    }

    /// Lets `change` change one cell. Only its chunk is packed anew.
    fn change(&mut self, index: usize, change: impl FnOnce(&mut HourCell)) {
        let (number, place) = (index / CHUNK, index % CHUNK);
        let mut cells = [HourCell::default(); CHUNK];
        self.there(number).for_each(|(at, cell)| cells[at] = cell);
        change(&mut cells[place]);
        let mut chunk = Vec::with_capacity(CHUNK * 8);
        pack(&cells, &mut chunk);
        let (begin, end) = self.span(number);
        if chunk.len() == end - begin {
            self.data[begin..end].copy_from_slice(&chunk);
            return;
        }
        self.data = [&self.data[..begin], &chunk, &self.data[end..]].concat().into();
        for later in &mut self.chunks[number + 1..] {
            *later = *later + chunk.len() as u32 - (end - begin) as u32;
        }
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

/// An hour that changes.
#[derive(Debug)]
pub(super) enum Changing<'h> {
    /// All cells at hand.
    Open(&'h mut Vec<HourCell>),
    /// One at a time.
    Packed(&'h mut PackedHour),
}

impl Changing<'_> {
    /// Lets `change` change one cell.
    pub fn cell(&mut self, index: u32, change: impl FnOnce(&mut HourCell)) {
        match self {
            Changing::Open(cells) => change(&mut cells[index as usize]),
            Changing::Packed(packed) => packed.change(index as usize, change),
        }
    }
}

/// Hours that start before this nearly never change at `now`.
const fn open_from(now: ProcessingTime) -> i64 {
    now.ms() - FINAL_AFTER_MS - HOUR_MS
}

/// The hours in memory: start to one cell per region, the unassigned last.
#[derive(Clone, Debug)]
pub(super) struct Hours {
    cells: usize,
    kept_from: i64,
    /// Hours that start before this stay packed. It never goes back.
    open_from: i64,
    /// How many lie open.
    open: usize,
    all: BTreeMap<i64, Hour>,
}

impl Hours {
    /// None yet, of so many `cells` each.
    pub fn new(cells: usize) -> Self {
        Self { cells, kept_from: i64::MIN, open_from: i64::MIN, open: 0, all: BTreeMap::new() }
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
        (self.open_from, self.open) = (open_from(now), 0);
    }

    /// The cells of the hour from `start`, to change them; `None` where it is not kept any more.
    pub fn change(&mut self, start: i64) -> Option<Changing<'_>> {
        if start < self.kept_from {
            return None;
        }
        if !matches!(self.all.get(&start), Some(Hour::Open(_))) {
            self.make_room(start);
        }
        let is_old = start < self.open_from && !planted("late-hours-stay-open");
        let len = self.cells;
        let hour = self.all.entry(start).or_insert_with(|| Hour::Packed(PackedHour::empty(len)));
        if let Hour::Packed(packed) = hour
            && (!is_old || packed.len != len)
        {
            let mut cells = packed.cells();
            // Cells beyond the regions of the master data are dropped, missing ones are zero.
            cells.resize(len, HourCell::default());
            self.open += usize::from(!is_old);
            *hour = if is_old { Hour::Packed(cells.into()) } else { Hour::Open(cells) };
        }
        Some(match hour {
            Hour::Open(cells) => Changing::Open(cells),
            Hour::Packed(packed) => Changing::Packed(packed),
        })
    }

    /// Before the hour from `start` is opened: where as many are open as may be, the oldest is packed, and none before it opens again.
    fn make_room(&mut self, start: i64) {
        if start < self.open_from || self.open < MOST_OPEN {
            return;
        }
        let is_open = |of: &(&i64, &mut Hour)| matches!(of.1, Hour::Open(_));
        let Some((oldest, hour)) = self.all.range_mut(self.open_from..).find(is_open) else { return };
        self.open_from = *oldest;
        if let Hour::Open(cells) = hour
            && start > *oldest
        {
            self.open_from = *oldest + HOUR_MS;
            *hour = Hour::Packed(cells.as_slice().into());
            self.open -= 1;
        }
    }

    /// The cells of the hour from `start`.
    pub fn get(&self, start: i64) -> Option<Cow<'_, [HourCell]>> {
        match self.all.get(&start)? {
            Hour::Open(cells) => Some(Cow::Borrowed(cells)),
            Hour::Packed(packed) => Some(Cow::Owned(packed.cells())),
        }
    }

    /// The same, packed.
    pub fn packed(&self, start: i64) -> Option<PackedHour> {
        match self.all.get(&start)? {
            Hour::Open(cells) => Some(cells.as_slice().into()),
            Hour::Packed(packed) => Some(packed.clone()),
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
        self.open_from = self.open_from.max(open_from(now));
        for (_, hour) in self.all.range_mut(..self.open_from) {
            if let Hour::Open(cells) = hour {
                *hour = Hour::Packed(cells.as_slice().into());
            }
        }
        self.open = self.all.range(self.open_from..).filter(|(_, hour)| matches!(hour, Hour::Open(_))).count();
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

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// Whoever sends late records, for whichever hours and regions: few hours lie open, and all say what a plain table says.
        #[test]
        fn late_records_open_few_hours(
            events in prop::collection::vec((0i64..91 * 24, 0u32..200, 0u32..3, 0u8..40), 0..600),
            restored in prop::option::of(0i64..91 * 24),
        ) {
            let mut now = ProcessingTime::from_ms(20_000 * DAY_MS);
            let mut hours = Hours::new(200);
            let mut plain: BTreeMap<i64, Vec<HourCell>> = BTreeMap::new();
            // Some are there, of a time with other regions; or it is the very beginning.
            if let Some(begun) = restored.map(|ago| now.ms() - ago * HOUR_MS) {
                hours.restore(now, [(begun, vec![HourCell::default(); 70].into())].into_iter());
                plain.insert(begun, vec![HourCell::default(); 200]);
            }
            for (ago, region, late, then) in events {
                let start = now.ms() - now.ms().rem_euclid(HOUR_MS) - ago * HOUR_MS;
                let add = |cell: &mut HourCell| {
                    cell.late += late;
                    cell.late_high += late / 2;
                    cell.windows += 1;
                };
                hours.change(start).expect("it is kept").cell(region, add);
                add(&mut plain.entry(start).or_insert_with(|| vec![HourCell::default(); 200])[region as usize]);
                let (_, open) = hours.len();
                prop_assert!(open <= MOST_OPEN, "{} open hours", open);
                prop_assert_eq!(open, hours.open);
                now = now.plus_ms(i64::from(then < 4) * HOUR_MS / 4);
                if then < 2 {
                    hours.tidy(now);
                    plain = plain.split_off(&hours.kept_from());
                }
            }
            let mut found: BTreeMap<i64, Vec<HourCell>> = BTreeMap::new();
            for start in hours.all.keys() {
                let mut cells = hours.get(*start).expect("it is there").into_owned();
                cells.resize(200, HourCell::default());
                found.insert(*start, cells);
                let packed = hours.packed(*start).expect("it is there");
                prop_assert_eq!(&PackedHour::from(packed.cells()), &packed, "as if it had been packed now");
                prop_assert_eq!(PackedHour::from_bytes(&packed.to_bytes()), Some(packed));
            }
            prop_assert_eq!(found, plain);
        }

        /// What is stored may be damaged: it is told, and nothing panics.
        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 0usize..60, flipped in 0usize..60) {
            if let Some(hour) = PackedHour::from_bytes(&bytes) {
                prop_assert_eq!(hour.cells().len(), hour.len);
            }
            let cell = HourCell { windows: 3, high: 2, late: 9, ..HourCell::default() };
            let mut whole = PackedHour::from(vec![cell; 70]).to_bytes();
            prop_assert_eq!(PackedHour::from_bytes(&whole[..whole.len() - 1 - cut]), None);
            whole[flipped] ^= 0x80;
            if let Some(hour) = PackedHour::from_bytes(&whole) {
                prop_assert_eq!(hour.cells().len(), hour.len);
            }
        }
    }

    /// A reading in every hour of 90 days, each of another district, and no checkpoint meanwhile: it would have been half a gigabyte.
    #[test]
    fn a_sender_of_old_records_takes_little_memory() {
        let cells = 7_800;
        let mut hours = Hours::new(cells);
        let now = ProcessingTime::from_ms(20_000 * DAY_MS);
        hours.restore(now, std::iter::empty());
        for n in 0..5 * 90 * 24u32 {
            let start = now.ms() - i64::from(n * 7 % (90 * 24)) * HOUR_MS;
            hours.change(start).expect("it is kept").cell(n * 31 % cells as u32, |cell| cell.late += 1);
        }
        let bytes = |hour: &Hour| match hour {
            Hour::Open(cells) => cells.capacity() * size_of::<HourCell>(),
            Hour::Packed(packed) => packed.data.len() + packed.chunks.len() * 4,
        };
        let (held, open) = hours.len();
        assert_eq!((held, open <= 50), (90 * 24, true), "{open} open hours");
        let bytes: usize = hours.all.values().map(bytes).sum();
        assert!(bytes < 16 << 20, "{bytes} bytes");
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
