//! Numbers in sevens of bits, the lowest first: those that are small take a byte.

/// Appends `number`.
pub fn put(data: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        data.push(number as u8 | 0x80);
        number >>= 7;
    }
    data.push(number as u8);
}

/// Appends `number`, small where it is near zero on either side.
pub fn put_signed(data: &mut Vec<u8>, number: i64) {
    put(data, ((number << 1) ^ (number >> 63)) as u64);
}

/// What is left of bytes that [`put`] and [`put_signed`] wrote.
#[derive(Debug)]
pub struct Numbers<'a>(pub &'a [u8]);

impl Numbers<'_> {
    /// The next number; `None` where the bytes end before it does, or where it has more than 64 bits.
    pub fn get(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        if *first < 0x80 {
            self.0 = rest;
            return Some(u64::from(*first));
        }
        let mut number = 0;
        for (place, byte) in self.0.iter().enumerate().take(10) {
            if place == 9 && *byte > 1 {
                return None;
            }
            number |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                self.0 = &self.0[place + 1..];
                return Some(number);
            }
        }
        None
    }

    /// The next number, put as one with a sign.
    pub fn get_signed(&mut self) -> Option<i64> {
        self.get().map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The next number; `None` where it does not fit either.
    pub fn get_as<N: TryFrom<u64>>(&mut self) -> Option<N> {
        self.get()?.try_into().ok()
    }

    /// The next number, put as one with a sign; `None` where it does not fit either.
    pub fn get_signed_as<N: TryFrom<i64>>(&mut self) -> Option<N> {
        self.get_signed()?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_numbers_take_a_byte() {
        for (number, bytes) in [(0, &[0][..]), (127, &[127]), (128, &[128, 1]), (300, &[172, 2])] {
            let mut data = Vec::new();
            put(&mut data, number);
            assert_eq!(data, bytes, "{number}");
        }
        for (number, bytes) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-64, &[127]), (64, &[128, 1])] {
            let mut data = Vec::new();
            put_signed(&mut data, number);
            assert_eq!(data, bytes, "{number}");
        }
    }

    #[test]
    fn what_is_cut_off_or_too_large_is_no_number() {
        let most = [[0xff; 9].as_slice(), &[1]].concat();
        assert_eq!(Numbers(&most).get(), Some(u64::MAX));
        let beyond = [[0xff; 9].as_slice(), &[2]].concat();
        for bytes in [&[][..], &[0x80], &most[..9], &beyond, &[0xff; 11]] {
            assert_eq!(Numbers(bytes).get(), None, "{bytes:?}");
        }
        assert_eq!(Numbers(&[172, 2]).get_as::<u8>(), None);
        assert_eq!(Numbers(&[172, 2]).get_signed_as::<u8>(), Some(150));
        assert_eq!(Numbers(&[1]).get_signed_as::<u8>(), None);
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_put(numbers in proptest::collection::vec((any::<u64>(), any::<i64>(), 0..64u8), 0..20)) {
            let mut data = Vec::new();
            for (number, signed, shift) in &numbers {
                put(&mut data, number >> shift);
                put_signed(&mut data, signed >> shift);
            }
            let mut left = Numbers(&data);
            for (number, signed, shift) in &numbers {
                prop_assert_eq!(left.get(), Some(number >> shift));
                prop_assert_eq!(left.get_signed(), Some(signed >> shift));
            }
            prop_assert!(left.0.is_empty());
        }
    }
}
