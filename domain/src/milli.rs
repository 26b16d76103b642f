//! Measured values as whole thousandths, so that sums do not depend on the order in which they are added.

use crate::planted;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A measured value in thousandths of its unit: milli-degrees Celsius, thousandths of a per cent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Milli(pub i32);

/// Why a text is not a [`Milli`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MilliError {
    /// Not a JSON number.
    #[error("not a decimal number")]
    NotANumber,
    /// Beyond ±2 147 483.647: no measured value is.
    #[error("too large for a measured value")]
    TooLarge,
}

impl Milli {
    /// From whole units.
    pub const fn whole(units: i32) -> Self {
        Self(units * 1_000)
    }
    /// The value in its unit, for drawing only; rules compare thousandths.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1_000.0
    }

    /// Reads a JSON number (`-12`, `4.0005`, `1.5e1`) exactly: decimals beyond the third are rounded half away from zero,
    /// on the decimal digits themselves, not on a binary approximation of them. `-0` is 0.
    pub fn from_json_number(text: &[u8]) -> Result<Self, MilliError> {
        use MilliError::{NotANumber, TooLarge};
        if planted("numbers-through-floats")
            && let Some(number) = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok())
        {
            return Ok(Self((number * 1_000.0).round() as i32));
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let mut digits: u64 = 0; // the first 18 significant digits; more cannot matter within the range of an i32
        let mut dropped = 0i32; // whole digits beyond them
        let mut scale = 0i32; // how many of the digits stand behind the point
        let mut seen_point = false;
        let mut any = false;
        let mut at = 0;
        while at < rest.len() {
            match rest[at] {
                c @ b'0'..=b'9' => {
                    any = true;
                    if digits < 100_000_000_000_000_000 {
                        digits = digits * 10 + u64::from(c - b'0');
                        scale += i32::from(seen_point);
                    } else if !seen_point {
                        dropped += 1;
                    }
                }
                b'.' if !seen_point && any => seen_point = true,
                _ => break,
            }
            at += 1;
        }
        if !any {
            return Err(NotANumber);
        }
        let mut exponent = 0i32;
        if at < rest.len() {
            if !matches!(rest[at], b'e' | b'E') {
                return Err(NotANumber);
            }
            let (sign, body) = match &rest[at + 1..] {
                [b'-', body @ ..] => (-1, body),
                [b'+', body @ ..] | body => (1, body),
            };
            if body.is_empty() || !body.iter().all(u8::is_ascii_digit) {
                return Err(NotANumber);
            }
            // Far beyond any exponent that could matter the exact value does not.
            exponent = sign * body.iter().fold(0i32, |e, c| (e * 10 + i32::from(c - b'0')).min(100_000));
        }
        // value in thousandths = digits * 10^shift
        let shift = exponent + dropped - scale + 3;
        let magnitude = if digits == 0 {
            0
        } else if shift >= 0 {
            let power = 10u64.checked_pow(shift as u32).ok_or(TooLarge)?;
            digits.checked_mul(power).ok_or(TooLarge)?
        } else {
            match 10u64.checked_pow(shift.unsigned_abs()) {
                Some(divisor) => digits / divisor + u64::from(digits % divisor >= divisor.div_ceil(2)),
                None => 0,
            }
        };
        let magnitude = i32::try_from(magnitude).map_err(|_| TooLarge)?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }
}

impl FromStr for Milli {
    type Err = MilliError;
    fn from_str(text: &str) -> Result<Self, MilliError> {
        Self::from_json_number(text.as_bytes())
    }
}

/// Shortest exact decimal: `4.56`, `-0.5`, `8`. Also a valid JSON number.
impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_milli(f, i64::from(self.0))
    }
}

/// Writes `thousandths` as the shortest exact decimal.
pub fn write_milli(f: &mut impl fmt::Write, thousandths: i64) -> fmt::Result {
    let (whole, part) = (thousandths.unsigned_abs() / 1_000, thousandths.unsigned_abs() % 1_000);
    if thousandths < 0 {
        f.write_char('-')?;
    }
    write!(f, "{whole}")?;
    match part {
        0 => Ok(()),
        p if p % 100 == 0 => write!(f, ".{}", p / 100),
        p if p % 10 == 0 => write!(f, ".{:02}", p / 10),
        p => write!(f, ".{p:03}"),
    }
}

/// `numerator / denominator` rounded half away from zero; the denominator is positive.
pub fn div_round(numerator: i64, denominator: i64) -> i64 {
    if planted("averages-cut-off") {
        return numerator / denominator;
    }
    let magnitude = (numerator.unsigned_abs() + denominator.unsigned_abs() / 2) / denominator.unsigned_abs();
    if numerator < 0 { -(magnitude as i64) } else { magnitude as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: Result<i32, MilliError>) {
        assert_eq!(Milli::from_json_number(text.as_bytes()).map(|m| m.0), expected, "{text}");
    }

    #[test]
    fn json_numbers() {
        check("0", Ok(0));
        check("-0", Ok(0));
        check("-0.0004", Ok(0));
        check("4.56", Ok(4_560));
        check("4.0005", Ok(4_001)); // half away from zero, on decimals
        check("-4.0005", Ok(-4_001));
        check("4.00049999999999999999999", Ok(4_000));
        check("1.005e1", Ok(10_050));
        check("125E-1", Ok(12_500));
        check("5e-4", Ok(1));
        check("4e-4", Ok(0));
        check("1e-999999999999", Ok(0));
        check("0e999999999999", Ok(0));
        check("2147483.647", Ok(i32::MAX));
        check("2147483.648", Err(MilliError::TooLarge));
        check("1e999", Err(MilliError::TooLarge));
        check("100000000000000000000000000000", Err(MilliError::TooLarge));
        check("0.00000000000000000000000000000000000000000001", Ok(0));
        for wrong in ["", "-", ".5", "1e", "1e+", "NaN", "1.2.3", "0x10", "1 "] {
            check(wrong, Err(MilliError::NotANumber));
        }
    }

    proptest! {
        #[test]
        fn written_and_read_back(value in any::<i32>().prop_filter("its negative exists", |v| *v != i32::MIN)) {
            prop_assert_eq!(Milli(value).to_string().parse(), Ok(Milli(value)));
        }

        #[test]
        fn rounds_to_the_nearest(numerator in -1_000_000i64..1_000_000, denominator in 1i64..1_000) {
            let rounded = div_round(numerator, denominator);
            prop_assert!((2 * (rounded * denominator - numerator)).abs() <= denominator);
        }
    }
}
