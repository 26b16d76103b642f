//! What was known of the hours when: how their figures changed within each stretch of the log's time, from what the log leads to, and from
//! the versions that are stored.
//!
//! A version says what an hour's figures came to, region by region; here is by how much they changed. Of all regions together only a sum
//! is kept, in which every figure of every region has a weight of its own: equal sums mean equal changes.

use domain::master::{FacilityIx, Master};
use domain::rollup::{HourCell, KNOWN_EVERY_MS};
use std::collections::BTreeMap;

/// Which regions a device of `facility` counts in, by index; `regions` is that of the unassigned.
pub fn cells_of(master: &Master, facility: Option<FacilityIx>, regions: usize) -> Vec<usize> {
    match facility {
        Some(facility) => {
            let above = master.ancestors(master.facility(facility).region);
            above.map(|ix| ix.0 as usize).filter(|ix| *ix < regions).collect()
        }
        None => vec![0, regions],
    }
}

/// Until when what is received at `now` is not known yet.
pub fn known_at(now: i64) -> i64 {
    now.div_euclid(KNOWN_EVERY_MS) * KNOWN_EVERY_MS + KNOWN_EVERY_MS
}

/// The weights of a region's figures, or their sums over several regions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weights([u64; 7]);

impl Weights {
    /// Of the region of that index. Any numbers that have nothing to do with each other.
    pub fn of(region: usize) -> Self {
        Self(std::array::from_fn(|figure| {
            let mut z = (region as u64 * 7 + figure as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    /// Of `regions` together, which change alike.
    pub fn of_all(regions: &[usize]) -> Self {
        let each = regions.iter().map(|region| Self::of(*region).0);
        Self(each.fold([0; 7], |sum, own| std::array::from_fn(|figure| sum[figure].wrapping_add(own[figure]))))
    }

    fn times(self, by: &HourCell) -> u64 {
        let figures = [by.windows, by.low, by.high, by.readings, by.late, by.late_low, by.late_high];
        self.0.iter().zip(figures).fold(0, |sum, (weight, by)| sum.wrapping_add(weight.wrapping_mul(u64::from(by))))
    }
}

/// By how much the figures of an hour changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Those of the country.
    pub country: HourCell,
    /// Those of all regions, each with its weight.
    pub all: u64,
}

impl Change {
    /// Figures with these weights changed `by` so much, be they the country's or not.
    pub fn add(&mut self, weights: Weights, by: &HourCell, is_country: bool) {
        self.all = self.all.wrapping_add(weights.times(by));
        if is_country {
            self.country.add(by);
        }
    }
}

/// By hour, and the instant at which what changed is known.
pub type Changes = BTreeMap<(i64, i64), Change>;
