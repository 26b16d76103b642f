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

/// Who reports how often, and of how many in a hundred the time lies how far back.
#[derive(Clone, Copy)]
pub struct Stream {
    pub devices: u64,
    pub every_ms: i64,
    pub late_percent: u64,
    pub late_ms: i64,
}

/// The mix: 10 000 devices in turn, one reading per device and 5 s of event time.
pub const MIX: Stream = Stream { devices: DEVICES, every_ms: 5_000, late_percent: 0, late_ms: 0 };

impl Stream {
    /// Event time of the n-th event.
    pub fn at(self, n: u64, start_ms: i64) -> i64 {
        let round = (n / self.devices) as i64;
        let is_late = self.late_percent > 0 && random(n) % 100 < self.late_percent;
        start_ms + round * self.every_ms - if is_late { self.late_ms } else { 0 }
    }
}

/// The n-th event of the mix, see [`write_event_of`].
pub fn write_event(out: &mut Vec<u8>, n: u64, start_ms: i64) {
    write_event_of(MIX, out, n, start_ms);
}

/// The n-th event of `stream`: its devices in turn, a random UUID each.
pub fn write_event_of(stream: Stream, out: &mut Vec<u8>, n: u64, start_ms: i64) {
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
    let ts = stream.at(n, start_ms);
    let _ = write!(
        out,
        "\",\"topic\":\"temperature\",\"source\":\"bench\",\"ts\":{ts},\"payload\":{{\"device_id\":\"bench-{:05}\",\"ts\":{ts},\"temperature\":{}.{:03},\"humidity\":55.5,\"battery\":88}}}}",
        n % stream.devices,
        temperature / 1_000,
        temperature % 1_000
    );
}
