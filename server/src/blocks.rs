//! How closed windows are put away: columns of varints, a few thousand windows a block, in order of device and start.

use domain::aggregate::Aggregate;
use domain::engine::ClosedWindow;
use domain::milli::Milli;
use domain::window::{Window, WindowState};

/// How many windows a block holds at most.
pub const BLOCK_WINDOWS: usize = 4_096;

/// A block of windows of one definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowBlock {
    /// Size of its windows in milliseconds.
    pub size_ms: i64,
    /// Lowest and highest index of a device in it.
    pub devices: (u32, u32),
    /// Lowest and highest start of a window in it.
    pub starts: (i64, i64),
    /// Number of windows.
    pub count: u32,
    /// The windows.
    pub data: Vec<u8>,
}

fn put(data: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        data.push(value as u8 | 0x80);
        value >>= 7;
    }
    data.push(value as u8);
}

fn put_signed(data: &mut Vec<u8>, value: i64) {
    put(data, ((value << 1) ^ (value >> 63)) as u64);
}

/// Windows of one definition as blocks.
pub fn encode<'w>(windows: impl Iterator<Item = &'w ClosedWindow> + Clone, size_ms: i64) -> Vec<WindowBlock> {
    in_order(windows).chunks(BLOCK_WINDOWS).map(|chunk| encode_block(chunk, size_ms)).collect()
}

/// Windows in order of device and start. They are counted out by device: each device's nearly always came in their order.
fn in_order<'w>(windows: impl Iterator<Item = &'w ClosedWindow> + Clone) -> Vec<&'w ClosedWindow> {
    let mut places: Vec<usize> = Vec::new();
    for window in windows.clone() {
        let device = window.device as usize;
        if places.len() <= device {
            places.resize(device + 1, 0);
        }
        places[device] += 1;
    }
    let mut all = 0;
    for place in &mut places {
        all += std::mem::replace(place, all);
    }
    let Some(first) = windows.clone().next() else { return Vec::new() };
    let mut ordered = vec![first; all];
    for window in windows {
        let place = &mut places[window.device as usize];
        ordered[*place] = window;
        *place += 1;
    }
    for of_device in ordered.chunk_by_mut(|a, b| a.device == b.device) {
        if !of_device.is_sorted_by_key(|w| w.window.start) {
            of_device.sort_by_key(|w| w.window.start);
        }
    }
    ordered
}

fn encode_block(windows: &[&ClosedWindow], size_ms: i64) -> WindowBlock {
    let mut data = Vec::with_capacity(windows.len() * 24);
    let (mut device, mut start) = (0, 0);
    let mut starts = (i64::MAX, i64::MIN);
    for ClosedWindow { device: d, window: w, .. } in windows {
        starts = (starts.0.min(w.start), starts.1.max(w.start));
        put(&mut data, u64::from(*d - device));
        put_signed(&mut data, (w.start - start) / size_ms);
        (device, start) = (*d, w.start);
        let a = &w.aggregate;
        put(&mut data, u64::from(w.version));
        put(&mut data, u64::from(a.count));
        put_signed(&mut data, a.temperature_sum);
        if a.count > 1 {
            // With one reading these follow from the sum.
            put(&mut data, a.temperature_square_sum);
            put_signed(&mut data, i64::from(a.temperature_min.0));
            put_signed(&mut data, i64::from(a.temperature_max.0));
        }
        put(&mut data, u64::from(a.humidity_count));
        if a.humidity_count > 0 {
            put_signed(&mut data, a.humidity_sum);
        }
        match a.battery_extremes() {
            None => put(&mut data, 0),
            Some((low, high)) => {
                put(&mut data, low.0 as u64 + 1);
                put(&mut data, (high.0 - low.0) as u64);
            }
        }
    }
    WindowBlock { size_ms, devices: (windows.first().map_or(0, |w| w.device), device), starts, count: windows.len() as u32, data }
}

/// A block that does not hold what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block of windows is damaged")]
pub struct DamagedBlock;

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn get(&mut self) -> Result<u64, DamagedBlock> {
        let mut value = 0;
        for (i, byte) in self.0.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.0 = &self.0[i + 1..];
                return Ok(value);
            }
        }
        Err(DamagedBlock)
    }

    fn get_signed(&mut self) -> Result<i64, DamagedBlock> {
        self.get().map(|v| (v >> 1) as i64 ^ -((v & 1) as i64))
    }

    fn get_milli(&mut self) -> Result<Milli, DamagedBlock> {
        i32::try_from(self.get_signed()?).map(Milli).map_err(|_| DamagedBlock)
    }
}

/// Tells every window of a block to `each`. Windows put away have fired as final or incomplete and can no longer change.
pub fn decode(
    data: &[u8],
    count: u32,
    size_ms: i64,
    definition: u8,
    mut each: impl FnMut(ClosedWindow),
) -> Result<(), DamagedBlock> {
    let mut reader = Reader(data);
    let (mut device, mut start) = (0u32, 0i64);
    for _ in 0..count {
        device = device.checked_add(reader.get()? as u32).ok_or(DamagedBlock)?;
        start += reader.get_signed()? * size_ms;
        let version = reader.get()? as u32;
        let mut aggregate = Aggregate::default();
        aggregate.count = reader.get()? as u32;
        aggregate.temperature_sum = reader.get_signed()?;
        if aggregate.count > 1 {
            aggregate.temperature_square_sum = reader.get()?;
            aggregate.temperature_min = reader.get_milli()?;
            aggregate.temperature_max = reader.get_milli()?;
        } else {
            let only = i32::try_from(aggregate.temperature_sum).map_err(|_| DamagedBlock)?;
            aggregate.temperature_square_sum = u64::from(only.unsigned_abs()).pow(2);
            (aggregate.temperature_min, aggregate.temperature_max) = (Milli(only), Milli(only));
        }
        aggregate.humidity_count = reader.get()? as u32;
        if aggregate.humidity_count > 0 {
            aggregate.humidity_sum = reader.get_signed()?;
        }
        let battery = reader.get()?;
        if battery > 0 {
            let low = (battery - 1) as i32;
            aggregate.set_battery_extremes(Some((Milli(low), Milli(low + reader.get()? as i32))));
        }
        let window = Window { start, version, state: WindowState::Final, aggregate };
        each(ClosedWindow { device, definition, window });
    }
    if reader.0.is_empty() { Ok(()) } else { Err(DamagedBlock) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::event::{DeviceStatus, Reading};
    use domain::time::EventTime;
    use proptest::prelude::*;

    type Row = (u32, i64, u32, Vec<(i32, Option<i32>, Option<i32>)>);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let percent = || prop::option::of(0i32..=100_000);
        let reading = (-55_000i32..=125_000, percent(), percent());
        prop::collection::vec((0u32..50, -1_000i64..1_000, 0u32..9, prop::collection::vec(reading, 1..5)), 0..200)
    }

    proptest! {
        #[test]
        fn written_and_read_back(rows in rows()) {
            let mut windows: Vec<ClosedWindow> = rows
                .into_iter()
                .map(|(device, start, version, readings)| {
                    let mut aggregate = Aggregate::default();
                    for (t, h, b) in readings {
                        aggregate.add(&Reading {
                            at: EventTime::from_ms(0),
                            temperature: Milli(t),
                            humidity: h.map(Milli),
                            battery: b.map(Milli),
                            status: DeviceStatus::Ok,
                        });
                    }
                    let window = Window { start: start * 10_000, version, state: WindowState::Final, aggregate };
                    ClosedWindow { device, definition: 1, window }
                })
                .collect();
            let blocks = encode(windows.iter(), 10_000);
            windows.sort_by_key(|w| (w.device, w.window.start));
            let mut back = Vec::new();
            for block in blocks {
                decode(&block.data, block.count, 10_000, 1, |w| back.push(w)).expect("it was just written");
                for cut in 0..block.data.len().min(40) {
                    let result = decode(&block.data[..cut], block.count, 10_000, 1, |_| ());
                    prop_assert!(result.is_err());
                }
            }
            prop_assert_eq!(back, windows);
        }
    }
}
