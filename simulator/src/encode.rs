//! Events as JSON text, written digit by digit into a buffer.
//!
//! Four million readings are written within the seconds of a back-fill, so the parts that never change are kept ready per
//! device and the rest goes through small tables; a test reads everything back with `serde_json`.

use domain::milli::Milli;

/// Two decimal digits of every number below 100.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// Two hexadecimal digits of every byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut hex = [[0; 2]; 256];
    let mut n = 0;
    while n < 256 {
        hex[n] = [digits[n / 16], digits[n % 16]];
        n += 1;
    }
    hex
};

/// Appends a whole number.
pub fn integer(out: &mut Vec<u8>, value: i64) {
    let mut text = [0u8; 20];
    let mut at = text.len();
    let mut rest = value.unsigned_abs();
    while rest >= 100 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
        rest /= 100;
    }
    if rest >= 10 {
        at -= 2;
        text[at..at + 2].copy_from_slice(&PAIRS[rest as usize]);
    } else {
        at -= 1;
        text[at] = b'0' + rest as u8;
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&text[at..]);
}

/// Appends a measured value with as many decimals as it needs: `4.56`, `-0.5`, `8`.
pub fn milli(out: &mut Vec<u8>, value: Milli) {
    if value.0 < 0 {
        out.push(b'-');
    }
    let magnitude = value.0.unsigned_abs();
    integer(out, i64::from(magnitude / 1_000));
    let part = magnitude % 1_000;
    if part > 0 {
        let [tenths, hundredths] = PAIRS[(part / 10) as usize];
        out.extend_from_slice(&[b'.', tenths]);
        if !part.is_multiple_of(100) {
            out.push(hundredths);
        }
        if !part.is_multiple_of(10) {
            out.push(b'0' + (part % 10) as u8);
        }
    }
}

/// Appends 128 bits as a UUID with the layout of version 4 (RFC 9562, 5.4), without quotes.
pub fn uuid(out: &mut Vec<u8>, high: u64, low: u64) {
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (n, byte) in high.to_be_bytes().into_iter().chain(low.to_be_bytes()).enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            at += 1; // keeps the dash
        }
        text[at..at + 2].copy_from_slice(&HEX[byte as usize]);
        at += 2;
    }
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: i32, expected: &str) {
        let mut out = Vec::new();
        milli(&mut out, Milli(value));
        assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
        assert_eq!(Milli(value).to_string(), expected); // one form in the whole project
    }

    #[test]
    fn numbers() {
        check(0, "0");
        check(4_560, "4.56");
        check(4_005, "4.005");
        check(-500, "-0.5");
        check(-127_000, "-127");
        check(85_050, "85.05");
        let mut out = Vec::new();
        for value in [0, 7, 10, 99, 100, 1_790_000_000_123, -42, i64::MIN] {
            out.clear();
            integer(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), value.to_string());
        }
    }

    #[test]
    fn uuid_layout() {
        let mut out = Vec::new();
        uuid(&mut out, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
        assert_eq!(String::from_utf8_lossy(&out), "01234567-89ab-4def-bedc-ba9876543210");
    }
}
