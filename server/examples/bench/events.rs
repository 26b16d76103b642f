//! The events of the mix: the same ones in every benchmark that takes events in.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

/// Counter-based randomness: the n-th number of a stream (splitmix64).
pub fn random(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Devices of the mix.
pub const DEVICES: u64 = 10_000;

/// The n-th event of the mix: 10 000 devices in turn, one reading per device and 5 s of event time, a random UUID each.
pub fn write_event(out: &mut Vec<u8>, n: u64, start_ms: i64) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (a, b) = (random(2 * n), random(2 * n + 1));
    out.extend_from_slice(b"{\"event_id\":\"");
    let from = out.len();
    out.extend_from_slice(b"00000000-0000-4000-8000-000000000000");
    for (i, at) in (0..36).filter(|i| !matches!(i, 8 | 13 | 14 | 18 | 19 | 23)).enumerate() {
        let bits = if i < 16 { a >> (4 * i) } else { b >> (4 * (i - 16)) };
        out[from + at] = HEX[(bits & 15) as usize];
    }
    let temperature = 2_500 + (b >> 52) as i64; // 2.5 to 6.6 °C
    let ts = start_ms + (n / DEVICES) as i64 * 5_000;
    let _ = write!(
        out,
        "\",\"topic\":\"temperature\",\"source\":\"bench\",\"ts\":{ts},\"payload\":{{\"device_id\":\"bench-{:05}\",\"ts\":{ts},\"temperature\":{}.{:03},\"humidity\":55.5,\"battery\":88}}}}",
        n % DEVICES,
        temperature / 1_000,
        temperature % 1_000
    );
}
