//! Mergeable aggregates of readings in whole thousandths: exact sums, so the order of arrival never changes a result.

use crate::event::Reading;
use crate::milli::{Milli, div_round};
use crate::planted;
use serde::{Deserialize, Serialize};

/// Count, sums and extremes of the readings of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Readings.
    pub count: u32,
    /// Readings that carried a humidity.
    pub humidity_count: u32,
    /// Sum of temperatures, thousandths of °C.
    pub temperature_sum: i64,
    /// Sum of squared temperatures, millionths of °C². Holds more than 10^9 readings at the end of the sensor's range.
    pub temperature_square_sum: u64,
    /// Sum of humidities, thousandths of %.
    pub humidity_sum: i64,
    /// Lowest temperature.
    pub temperature_min: Milli,
    /// Highest temperature.
    pub temperature_max: Milli,
    /// Lowest and highest battery charge; the lowest is above the highest while none was reported.
    battery: (Milli, Milli),
}

impl Default for Aggregate {
    fn default() -> Self {
        Self {
            count: 0,
            humidity_count: 0,
            temperature_sum: 0,
            temperature_square_sum: 0,
            humidity_sum: 0,
            temperature_min: Milli(i32::MAX),
            temperature_max: Milli(i32::MIN),
            battery: (Milli(i32::MAX), Milli(i32::MIN)),
        }
    }
}

impl Aggregate {
    /// Takes in one reading.
    pub fn add(&mut self, reading: &Reading) {
        let t = reading.temperature;
        self.count += 1;
        self.temperature_sum += i64::from(t.0);
        if planted("float-sums") {
            self.temperature_sum = ((self.temperature_sum as f32 / 1_000.0) * 1_000.0) as i64;
        }
        self.temperature_square_sum += u64::from(t.0.unsigned_abs()).pow(2);
        if planted("square-sum-overflows") {
            self.temperature_square_sum = u64::from(self.temperature_square_sum as u32);
        }
        self.temperature_min = self.temperature_min.min(t);
        self.temperature_max = self.temperature_max.max(t);
        if let Some(humidity) = reading.humidity {
            self.humidity_count += 1;
            self.humidity_sum += i64::from(humidity.0);
        }
        if let Some(battery) = reading.battery {
            self.battery = (self.battery.0.min(battery), self.battery.1.max(battery));
        }
    }

    /// Takes in what another aggregate holds.
    pub fn merge(&mut self, other: &Aggregate) {
        self.count += other.count;
        self.humidity_count += other.humidity_count;
        self.temperature_sum += other.temperature_sum;
        self.temperature_square_sum += other.temperature_square_sum;
        self.humidity_sum += other.humidity_sum;
        self.temperature_min = self.temperature_min.min(other.temperature_min);
        self.temperature_max = self.temperature_max.max(other.temperature_max);
        self.battery = (self.battery.0.min(other.battery.0), self.battery.1.max(other.battery.1));
    }

    /// Average temperature, rounded half away from zero to thousandths; `None` without readings.
    pub fn temperature_average(&self) -> Option<Milli> {
        average(self.temperature_sum, self.count)
    }

    /// Population standard deviation of the temperature, rounded to thousandths; `None` without readings.
    ///
    /// σ = √(n·Σt² − (Σt)²) / n, in integers throughout: ⌊2σ⌋ is the integer root of 4·V/n², and rounding needs no more of it.
    pub fn temperature_deviation(&self) -> Option<Milli> {
        if self.count == 0 {
            return None;
        }
        let n = u128::from(self.count);
        let sum = u128::from(self.temperature_sum.unsigned_abs());
        let variance_n2 = n * u128::from(self.temperature_square_sum) - sum * sum;
        let doubled = (4 * variance_n2 / (n * n)).isqrt();
        Some(Milli(doubled.div_ceil(2) as i32))
    }

    /// Average humidity, rounded half away from zero to thousandths; `None` where none was reported.
    pub fn humidity_average(&self) -> Option<Milli> {
        average(self.humidity_sum, self.humidity_count)
    }

    /// Lowest and highest battery charge; `None` where none was reported.
    pub fn battery_extremes(&self) -> Option<(Milli, Milli)> {
        (self.battery.0 <= self.battery.1).then_some(self.battery)
    }

    /// Puts in extremes of the battery charge that were written elsewhere.
    pub fn set_battery_extremes(&mut self, extremes: Option<(Milli, Milli)>) {
        self.battery = extremes.unwrap_or(Aggregate::default().battery);
    }
}

fn average(sum: i64, count: u32) -> Option<Milli> {
    (count > 0).then(|| Milli(div_round(sum, i64::from(count)) as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::DeviceStatus;
    use crate::time::EventTime;
    use proptest::prelude::*;

    fn of(temperatures: &[i32]) -> Aggregate {
        let mut aggregate = Aggregate::default();
        for t in temperatures {
            aggregate.add(&reading(*t));
        }
        aggregate
    }

    fn reading(milli: i32) -> Reading {
        Reading {
            at: EventTime::from_ms(0),
            temperature: Milli(milli),
            humidity: (milli % 2 == 0).then_some(Milli(milli.rem_euclid(100_000))),
            battery: (milli % 3 == 0).then_some(Milli(milli.rem_euclid(100_000))),
            status: DeviceStatus::Ok,
        }
    }

    #[track_caller]
    fn check(temperatures: &[i32], average: i32, deviation: i32) {
        let a = of(temperatures);
        assert_eq!((a.temperature_average(), a.temperature_deviation()), (Some(Milli(average)), Some(Milli(deviation))));
    }

    #[test]
    fn averages_and_deviations() {
        check(&[4_560], 4_560, 0);
        check(&[2_000, 8_000], 5_000, 3_000);
        check(&[1, 2], 2, 1); // 1.5 and 0.5 round away from zero
        check(&[-1, -2], -2, 1);
        check(&[0, 0, 1], 0, 0); // deviation 0.471
        check(&[-55_000, 125_000], 35_000, 90_000);
        assert_eq!(Aggregate::default().temperature_average(), None);
        assert_eq!(of(&[1]).battery_extremes(), None);
        assert_eq!(of(&[3, 9]).battery_extremes(), Some((Milli(3), Milli(9))));
    }

    proptest! {
        #[test]
        fn merging_in_any_order_is_adding_all(values in prop::collection::vec(-55_000i32..=125_000, 1..60), cut in 0usize..60, turn in any::<bool>()) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let (mut a, b) = if turn { (of(right), of(left)) } else { (of(left), of(right)) };
            a.merge(&b);
            prop_assert_eq!(a, of(&values));
        }

        #[test]
        fn deviation_is_that_of_floating_point(values in prop::collection::vec(-55_000i32..=125_000, 1..60)) {
            let n = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let deviation = (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt();
            let ours = f64::from(of(&values).temperature_deviation().expect("not empty").0);
            prop_assert!((ours - deviation).abs() <= 0.500_001, "{ours} {deviation}");
        }
    }
}
