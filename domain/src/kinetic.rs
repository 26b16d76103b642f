//! Mean kinetic temperature: one figure for the heat that a product has borne.
//!
//! An indicator only. It hides freezing and never clears a low excursion (domain rules 3.3).

use crate::milli::Milli;

/// Activation energy over gas constant, in kelvin: 83.144 kJ/mol over 8.314472 J/mol/K, the default of USP <1160>.
const ACTIVATION_K: f64 = 83_144.0 / 8.314_472;
/// 0 °C in kelvin.
const ZERO_CELSIUS_K: f64 = 273.15;

/// The steady temperature that ages a product as much as `readings` did; `None` where they weigh nothing.
///
/// Each reading comes with its weight, the time it stands for; the unit of the weights does not matter, all equal is fine.
/// USP <1160>: Tk = (ΔH/R) / −ln(Σ wᵢ·exp(−ΔH/(R·Tᵢ)) / Σ wᵢ). The largest exponent is taken out of the sum first: by itself
/// exp(−ΔH/(R·T)) is near 1e−16 at 5 °C.
pub fn mean_kinetic_temperature(readings: impl Iterator<Item = (Milli, i64)> + Clone) -> Option<Milli> {
    let exponent = |t: Milli| -ACTIVATION_K / (t.as_f64() + ZERO_CELSIUS_K);
    let counted = readings.filter(|(_, weight)| *weight > 0);
    let largest = counted.clone().map(|(t, _)| exponent(t)).fold(f64::NEG_INFINITY, f64::max);
    let (sum, weights) = counted.fold((0.0, 0.0), |(sum, weights), (t, weight)| {
        (sum + weight as f64 * (exponent(t) - largest).exp(), weights + weight as f64)
    });
    if weights == 0.0 {
        return None;
    }
    let kelvin = -ACTIVATION_K / ((sum / weights).ln() + largest);
    Some(Milli(((kelvin - ZERO_CELSIUS_K) * 1_000.0).round() as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(groups: &[(i32, usize)], expected: Option<i32>) {
        let readings = groups.iter().flat_map(|&(whole, n)| std::iter::repeat_n((Milli::whole(whole), 300), n));
        assert_eq!(mean_kinetic_temperature(readings).map(|t| t.0), expected, "{groups:?}");
    }

    #[test]
    fn vectors_of_the_domain_rules() {
        check(&[(5, 10)], Some(5_000));
        check(&[(2, 1), (8, 1)], Some(5_536));
        check(&[(5, 23), (25, 1)], Some(7_756));
        check(&[(5, 12), (8, 12)], Some(6_635));
        check(&[], None);
        check(&[(-20, 3)], Some(-20_000)); // no underflow in a freezer
    }

    #[test]
    fn weights_are_times() {
        let weighted = [(Milli::whole(5), 23 * 60), (Milli::whole(25), 60)];
        assert_eq!(mean_kinetic_temperature(weighted.into_iter()), Some(Milli(7_756)));
        assert_eq!(mean_kinetic_temperature([(Milli::whole(5), 0)].into_iter()), None);
    }
}
