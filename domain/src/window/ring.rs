//! The windows of a device and definition that its watermark has not left behind.

use super::Cell;
use crate::planted;

/// Windows in order of start, the oldest of which leave.
///
/// Nearly every record goes into the newest window or begins the next one, and what leaves is the oldest. What tells which of that it will
/// be stands here, apart from the windows, and places of windows to come can be looked at: so the memory that a record needs, and hardly
/// any other, is asked for before it is taken in. That of ten thousand devices fits in no processor's cache, and waiting for it is what
/// costs time.
#[derive(Clone, Debug, Default)]
pub(super) struct Ring {
    /// The windows from `head` on, `len` of them, at the end going on at the beginning. What lies elsewhere means nothing.
    slots: Box<[Cell]>,
    head: u32,
    len: u32,
    /// No window starts before this, where there is one.
    not_before: i64,
    /// Start of the newest window, where there is one.
    newest: i64,
}

impl Ring {
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Where in `slots` the window at `at` is, or the next one would be.
    const fn slot(&self, at: usize) -> usize {
        let slot = self.head as usize + at;
        if slot >= self.slots.len() { slot - self.slots.len() } else { slot }
    }

    pub fn get(&self, at: usize) -> Option<&Cell> {
        (at < self.len()).then(|| &self.slots[self.slot(at)])
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut Cell> {
        (at < self.len()).then(|| &mut self.slots[self.slot(at)])
    }

    pub fn front(&self) -> Option<&Cell> {
        self.get(0)
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Cell> + ExactSizeIterator + Clone {
        (0..self.len()).map(|at| &self.slots[self.slot(at)])
    }

    /// Reads a little of what a reading of `at` will touch where it lets windows go that end until `until`. The answer means nothing.
    pub fn warm(&self, at: i64, until: i64, size_ms: i64) -> i64 {
        let before = match self.newest.saturating_sub(at) {
            next if next <= -size_ms => 0,
            newest if newest <= 0 => 1,
            late => 1 + (late as u64).div_ceil(size_ms as u64) as usize,
        };
        let joined = self.len().checked_sub(before).and_then(|at| self.slots.get(self.slot(at)));
        let leaving = (self.not_before <= until.saturating_sub(size_ms)).then(|| self.front()).flatten();
        joined.map_or(0, |cell| cell.start) ^ leaving.map_or(0, |cell| cell.start)
    }

    /// Where the window that starts at `start` is, or would be, and whether it is missing.
    ///
    /// Nearly always it is the newest; else, where no window is missing in between, it lies as many places before as there are sizes between
    /// them: a record that comes late need not walk past all that came before it.
    pub fn place_of(&self, start: i64, size_ms: i64) -> (usize, bool) {
        if self.len == 0 || self.newest < start {
            return (self.len(), true);
        }
        let before = ((self.newest - start) / size_ms) as usize;
        if let Some(at) = (self.len() - 1).checked_sub(before)
            && (start == self.newest || self.get(at).is_some_and(|cell| cell.start == start))
        {
            return (at, false);
        }
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            if self.slots[self.slot(middle)].start < start { from = middle + 1 } else { to = middle }
        }
        (from, self.get(from).is_none_or(|cell| cell.start != start))
    }

    /// Puts `cell` in at `at`, where [`Ring::place_of`] said that it is missing.
    pub fn insert(&mut self, at: usize, cell: Cell) -> &mut Cell {
        if self.len() == self.slots.len() {
            // A fleet's windows are most of the memory: past a few, room is made by the quarter instead of by doubling.
            let room = if self.len < 16 { self.len().max(4) } else { self.len() / 4 };
            let mut slots = Vec::with_capacity(self.len() + room);
            slots.extend(self.iter().copied());
            slots.resize(self.len() + room, Cell::default());
            (self.slots, self.head) = (slots.into(), 0);
        }
        // Nearly always there is none.
        for later in (at..self.len()).rev() {
            self.slots[self.slot(later + 1)] = self.slots[self.slot(later)];
        }
        self.newest = if at == self.len() { cell.start } else { self.newest };
        if self.len == 0 || (cell.start < self.not_before && !planted("older-window-overstays")) {
            self.not_before = cell.start;
        }
        self.len += 1;
        let slot = self.slot(at);
        self.slots[slot] = cell;
        &mut self.slots[slot]
    }

    /// Takes the oldest out, if it ends until `until`.
    pub fn leave(&mut self, until: i64, size_ms: i64) -> Option<Cell> {
        if self.not_before > until.saturating_sub(size_ms) {
            return None;
        }
        let front = *self.front()?;
        if front.start > until.saturating_sub(size_ms) {
            self.not_before = front.start;
            return None;
        }
        // The one that follows need not be looked at to know that.
        self.not_before = front.start + size_ms;
        self.head = self.slot(1) as u32;
        self.len -= 1;
        Some(front)
    }

    /// Whether the oldest ends until `until`, as far as that follows from how many there are, without a look at it.
    pub fn is_first_before(&self, until: i64, size_ms: i64) -> bool {
        self.len > 0 && self.newest - (i64::from(self.len) - 2) * size_ms <= until
    }
}

/// Windows in order of start.
impl From<Vec<Cell>> for Ring {
    fn from(cells: Vec<Cell>) -> Self {
        let start = |cell: Option<&Cell>| cell.map_or(0, |cell| cell.start);
        let (not_before, newest) = (start(cells.first()), start(cells.last()));
        Self { len: cells.len() as u32, slots: cells.into(), head: 0, not_before, newest }
    }
}

/// Where they lie does not tell them apart.
impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Ring {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: i64 = 10;

    /// What is done to windows.
    #[derive(Clone, Copy, Debug)]
    enum Do {
        /// The window so many after the newest one, or before it.
        Touch(i64),
        /// What ends within so much event time of the oldest one's start may leave.
        Leave(i64),
        /// They are stored and read again.
        Restore,
    }

    proptest! {
        /// However they came, they are a list in order of start, and what is told without a look at them is true of it.
        #[test]
        fn they_are_a_list(doing in proptest::collection::vec(prop_oneof![
            12 => prop_oneof![9 => Just(1i64), 1 => 1..4i64, 3 => -60..1i64].prop_map(Do::Touch),
            3 => (0..90i64).prop_map(Do::Leave),
            1 => Just(Do::Restore),
        ], 0..200)) {
            let (mut ring, mut list) = (Ring::default(), Vec::<Cell>::new());
            let mut newest = 0;
            for one in doing {
                match one {
                    Do::Touch(n) => {
                        let start = newest + n * SIZE;
                        newest = newest.max(start);
                        let (at, is_missing) = ring.place_of(start, SIZE);
                        prop_assert_eq!((at, is_missing), match list.binary_search_by_key(&start, |cell| cell.start) {
                            Ok(at) => (at, false),
                            Err(at) => (at, true),
                        });
                        let fresh = Cell { start, ..Cell::default() };
                        let cell = if is_missing { ring.insert(at, fresh) } else { ring.get_mut(at).expect("it is there") };
                        cell.joined_fired += 1;
                        if is_missing {
                            list.insert(at, fresh);
                        }
                        list[at].joined_fired += 1;
                    }
                    Do::Leave(n) => {
                        let until = list.first().map_or(0, |cell| cell.start) + n;
                        while let Some(left) = ring.leave(until, SIZE) {
                            prop_assert_eq!(left, list.remove(0));
                        }
                        prop_assert!(list.first().is_none_or(|cell| cell.start + SIZE > until));
                    }
                    Do::Restore => ring = Ring::from(list.clone()),
                }
                prop_assert_eq!(ring.front(), list.first());
                prop_assert!(ring.iter().eq(&list) && ring.iter().rev().eq(list.iter().rev()) && ring.len() == list.len());
                for until in (newest - 70 * SIZE..=newest + 2 * SIZE).step_by(SIZE as usize) {
                    let is_before = list.first().is_some_and(|cell| cell.start + SIZE <= until);
                    prop_assert!(is_before || !ring.is_first_before(until, SIZE));
                    ring.warm(until, until, SIZE);
                }
                prop_assert_eq!(&Ring::from(list.clone()), &ring);
            }
        }
    }

    #[test]
    fn what_leaves_makes_room() {
        let mut ring = Ring::default();
        for start in (0..1_000).map(|n| n * SIZE) {
            ring.insert(ring.len(), Cell { start, ..Cell::default() });
            ring.leave(start - 65 * SIZE, SIZE);
        }
        assert_eq!((ring.len(), ring.slots.len()), (66, 72));
        assert!(ring.is_first_before(935 * SIZE, SIZE) && !ring.is_first_before(934 * SIZE, SIZE));
    }
}
