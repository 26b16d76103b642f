//! Numbers that look random and depend on a text only, so that a second import gives the same data.

/// A stream of numbers (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014: `SplitMix64`), begun
/// from a text by FNV-1a.
pub struct Seeded(u64);

impl Seeded {
    /// The stream of `text`.
    pub fn new(text: &str) -> Self {
        Self(text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number from −1 to below 1.
    pub fn around_zero(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// A point in the unit disc.
    pub fn in_disc(&mut self) -> (f64, f64) {
        loop {
            let (x, y) = (self.around_zero(), self.around_zero());
            if x * x + y * y <= 1.0 {
                return (x, y);
            }
        }
    }

    /// One of `items`.
    pub fn choose<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.below(items.len() as u64) as usize]
    }
}
