//! How closed windows are put away: a few thousand a block, as numbers of `varint`, in order of device and start.

use domain::aggregate::Aggregate;
use domain::engine::ClosedWindow;
use domain::milli::Milli;
use domain::varint::{Numbers, put, put_signed};
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

impl WindowBlock {
    /// Tells every window to `each`, as one of definition `definition`. Windows put away have fired as final or incomplete and can no
    /// longer change.
    ///
    /// # Errors
    /// [`DamagedBlock`] where the data end too early or too late, hold a number that cannot be, or a window outside what the block says
    /// of itself; windows before it were told.
    pub fn decode(&self, definition: u8, mut each: impl FnMut(ClosedWindow)) -> Result<(), DamagedBlock> {
        self.decoded(definition, &mut each).ok_or(DamagedBlock)
    }

    fn decoded(&self, definition: u8, each: &mut impl FnMut(ClosedWindow)) -> Option<()> {
        let mut data = Numbers(&self.data);
        let (mut device, mut start) = (0u32, 0i64);
        for _ in 0..self.count {
            device = device.checked_add(data.get_as()?)?;
            start = start.checked_add(data.get_signed()?.checked_mul(self.size_ms)?)?;
            if !(self.devices.0..=self.devices.1).contains(&device) || !(self.starts.0..=self.starts.1).contains(&start) {
                return None;
            }
            let version = data.get_as()?;
            let mut aggregate = Aggregate::default();
            aggregate.count = data.get_as()?;
            aggregate.temperature_sum = data.get_signed()?;
            if aggregate.count > 1 {
                aggregate.temperature_square_sum = data.get()?;
                aggregate.temperature_min = Milli(data.get_signed_as()?);
                aggregate.temperature_max = Milli(data.get_signed_as()?);
            } else {
                let only = i32::try_from(aggregate.temperature_sum).ok()?;
                aggregate.temperature_square_sum = u64::from(only.unsigned_abs()).pow(2);
                (aggregate.temperature_min, aggregate.temperature_max) = (Milli(only), Milli(only));
            }
            aggregate.humidity_count = data.get_as()?;
            if aggregate.humidity_count > 0 {
                aggregate.humidity_sum = data.get_signed()?;
            }
            let battery: u32 = data.get_as()?;
            if battery > 0 {
                let low = i32::try_from(battery - 1).ok()?;
                let high = low.checked_add(data.get_as()?)?;
                aggregate.set_battery_extremes(Some((Milli(low), Milli(high))));
            }
            let window = Window { start, version, state: WindowState::Final, aggregate };
            each(ClosedWindow { device, definition, window });
        }
        data.0.is_empty().then_some(())
    }
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
                block.decode(1, |w| back.push(w)).expect("it was just written");
                for cut in 0..block.data.len().min(40) {
                    let cut = WindowBlock { data: block.data[..cut].to_vec(), ..block.clone() };
                    prop_assert_eq!(cut.decode(1, |_| ()), Err(DamagedBlock));
                }
            }
            prop_assert_eq!(back, windows);
        }

        #[test]
        fn whatever_the_data_are_no_window_lies_outside(data in prop::collection::vec(any::<u8>(), 0..200), count in 0u32..20) {
            let block = WindowBlock { size_ms: 10_000, devices: (1, 3), starts: (0, 40_000), count, data };
            let mut told = Vec::new();
            let _ = block.decode(0, |w| told.push((w.device, w.window.start)));
            prop_assert!(told.iter().all(|(device, start)| (1..=3).contains(device) && (0..=40_000).contains(start)));
        }
    }
}
