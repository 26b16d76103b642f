//! Since when a device has been outside its range, and how far: of the readings since its newest one in range, in whichever order they come.

use crate::coldchain::{Excursion, Range};
use crate::milli::Milli;
use crate::planted;
use crate::time::EventTime;
use serde::{Deserialize, Serialize};

/// So many readings of an open excursion are kept one by one: eight hours of one every five minutes. They cost 16 bytes each, while it is
/// open; all 100 000 devices of a country outside at once would need 150 MB.
pub const KEPT_OUTSIDE: usize = 96;

/// What is kept of an open excursion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// Its newest readings by time, then by temperature; each once. At most [`KEPT_OUTSIDE`], and never none.
    newest: Vec<(EventTime, Milli)>,
    /// What those before them come to, where there are any: then `newest` is full.
    before: Option<Excursion>,
}

impl Outside {
    /// The excursion.
    pub fn excursion(&self, range: Range) -> Option<Excursion> {
        let each = self.newest.iter().map(|(at, temperature)| Excursion { since: *at, peak: *temperature });
        self.before.into_iter().chain(each).reduce(|a, b| a.with(b, range))
    }

    /// What is kept: the newest readings, oldest first, and what those before them come to.
    pub fn kept(&self) -> (&[(EventTime, Milli)], Option<Excursion>) {
        (&self.newest, self.before)
    }

    /// One more reading outside.
    pub(super) fn add(&mut self, at: EventTime, temperature: Milli, range: Range) {
        let place = self.newest.partition_point(|known| *known < (at, temperature));
        if self.newest.get(place) == Some(&(at, temperature)) {
            return;
        }
        if self.newest.len() < KEPT_OUTSIDE {
            if self.newest.len() == self.newest.capacity() {
                self.newest.reserve_exact(self.newest.len().max(4).min(KEPT_OUTSIDE - self.newest.len()));
            }
            self.newest.insert(place, (at, temperature));
            return;
        }
        let mut oldest = (at, temperature);
        if place > 0 {
            self.newest[..place].rotate_left(1);
            std::mem::swap(&mut self.newest[place - 1], &mut oldest);
        }
        let oldest = Excursion { since: oldest.0, peak: oldest.1 };
        self.before = Some(self.before.map_or(oldest, |before| before.with(oldest, range)));
    }

    /// A reading at `at` was in range: what came before it was another excursion. Whether any of this one is left.
    ///
    /// Where it lies among those that are summed up, nobody can take them apart again: they stay.
    pub(super) fn end_before(&mut self, at: EventTime) -> bool {
        let over = self.newest.partition_point(|(known, _)| *known < at);
        let is_split = over == self.newest.len() || !planted("late-word-of-an-end-is-ignored");
        if over > 0 && is_split {
            self.newest.drain(..over);
            self.before = None;
        }
        !self.newest.is_empty()
    }
}

#[cfg(test)]
#[path = "outside_tests.rs"]
mod tests;
