//! Rounds the weights of channels and the values of rows to 8 bits.

use crate::model::cpu::vector::vectorised;

/// The bits of minus zero, of infinity and of minus infinity. Those of NaN are larger than the latter two.
const MINUS_ZERO: u32 = 1 << 31;
const INFINITY: u32 = 0x7f80_0000;
const MINUS_INFINITY: u32 = MINUS_ZERO | INFINITY;

/// How values become whole numbers, `value · factor + zero`, and back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scale {
    factor: f32,
    /// The whole number that 0 becomes.
    pub(super) zero: i32,
    /// What one step between whole numbers is worth. NaN if a value is not finite: then so is everything
    /// that is computed from the values.
    pub(super) back: f32,
}

impl Scale {
    const NOT_FINITE: Scale = Scale { factor: 0.0, zero: 0, back: f32::NAN };

    /// From -127 to 127, symmetric around 0.
    pub(super) fn of_channel(weights: &[f32]) -> Scale {
        match range(weights) {
            Some([least, most]) => Scale::new(most.max(-least), |_| 0.0),
            None => Scale::NOT_FINITE,
        }
    }

    /// From 0 to 255 over the range of the values and 0. A row rarely reaches as far on one side of 0 as on the
    /// other, least of all after an activation, so this has up to twice the resolution of a symmetric scale.
    pub(super) fn of_row(values: &[f32]) -> Scale {
        match range(values) {
            // 254 steps in all, so that both ends stay within 0 and 255 wherever `zero` is rounded to.
            // Halves are subtracted because the whole range may be infinite.
            Some([least, most]) => {
                Scale::new(most * 0.5 - least * 0.5, |factor| 0.5 - least * factor)
            }
            None => Scale::NOT_FINITE,
        }
    }

    /// With 127 steps to `span`. If it is below 1e-36, all values become 0.
    fn new(span: f32, zero: impl Fn(f32) -> f32) -> Scale {
        let factor = 127.0 / span;
        match factor.is_finite() {
            true => {
                Scale { factor, zero: zero(factor).round_ties_even() as i32, back: span / 127.0 }
            }
            false => Scale { factor: 0.0, zero: 0, back: 0.0 },
        }
    }
}

/// The least and the largest of the values and 0; `None` if a value is not finite.
fn range(values: &[f32]) -> Option<[f32; 2]> {
    let (least, most) = ends(values);
    let is_finite = least < MINUS_INFINITY && most.cast_unsigned() < INFINITY;
    is_finite.then(|| [least, most.cast_unsigned()].map(f32::from_bits))
}

vectorised! {
    /// The bits of the least and of the largest of the values and 0. Among bits without a sign, those of
    /// negative values are the largest, and larger for a larger magnitude; among bits with a sign, those of
    /// positive values.
    fn ends(values: &[f32]) -> (u32, i32) {
        values.iter().fold((MINUS_ZERO, 0), |(least, most), value| {
            let bits = value.to_bits();
            (least.max(bits), most.max(bits.cast_signed()))
        })
    }
}

vectorised! {
    /// Rounds each value to the nearest whole number of its scale, ties to even.
    pub(super) fn round(values: &[f32], scale: Scale, rounded: &mut [u8]) {
        // Adding this to a small number leaves the number, rounded to an integer, in the lowest bits.
        let to_integer = 12_582_912.0 + scale.zero as f32;
        for (value, rounded) in values.iter().zip(rounded) {
            *rounded = (*value * scale.factor + to_integer).to_bits() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(values: &[f32], scale: Scale) -> Vec<u8> {
        let mut bytes = vec![0; values.len()];
        round(values, scale, &mut bytes);
        bytes
    }

    #[test]
    fn the_largest_weight_becomes_127_and_ties_go_to_even() {
        let channel = [-254.0, 254.0, 1.0, 3.0, 5.0, -1.0, -3.0, 0.0, 100.0];
        let scale = Scale::of_channel(&channel);
        let found: Vec<i8> = rounded(&channel, scale).into_iter().map(u8::cast_signed).collect();
        assert_eq!(found, [-127, 127, 0, 2, 2, 0, -2, 0, 50]);
        assert_eq!((scale.zero, scale.back), (0, 2.0));
    }

    #[test]
    fn a_row_is_spread_over_all_bytes_wherever_0_lies() {
        for largest in [1e-35, 1e-20, 0.1, 3.3, 1e20, 3e38] {
            for below in 0..=1000 {
                // From -largest · below / 1000 to what is left of `largest`.
                let least = -largest * (below as f32 / 1000.0);
                let row: Vec<f32> =
                    (0..=40).map(|at| least + largest * (at as f32 / 40.0)).collect();
                let scale = Scale::of_row(&row);
                let found = rounded(&row, scale);
                assert!(found[0] <= 1 && found[40] >= 254, "{largest}, {below}: {found:?}");
                for (value, found) in row.iter().zip(found) {
                    let error = ((i32::from(found) - scale.zero) as f32 * scale.back - value).abs();
                    let name = format!("{value} of {largest}, {below} became {found}");
                    assert!(error <= scale.back * 0.501, "{name} of {scale:?}");
                }
            }
        }
    }

    #[test]
    fn a_row_of_one_sign_ends_at_zero() {
        for (row, expected) in
            [([0.0, 50.8, 127.0], [0, 102, 254]), ([-254.0, -1.0, 0.0], [0, 253, 254])]
        {
            let scale = Scale::of_row(&row);
            assert_eq!(rounded(&row, scale), expected, "{row:?}");
            assert_eq!(scale.zero, if row[0] < 0.0 { 254 } else { 0 });
        }
    }

    #[test]
    fn the_range_of_a_row_may_be_infinite() {
        let row = [f32::MIN, 0.0, f32::MAX];
        let scale = Scale::of_row(&row);
        assert_eq!(rounded(&row, scale), [1, 128, 255]);
        assert!(scale.back.is_finite());
    }

    #[test]
    fn what_is_nearly_nothing_becomes_0() {
        for values in [vec![0.0, -0.0, 0.0], vec![1e-40, -1e-45], vec![]] {
            for scale in [Scale::of_row(&values), Scale::of_channel(&values)] {
                assert_eq!(rounded(&values, scale), vec![0; values.len()], "{values:?}");
                assert_eq!((scale.zero, scale.back), (0, 0.0), "{values:?}");
            }
        }
    }

    #[test]
    fn a_value_that_is_not_finite_makes_the_scale_nan() {
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for beside in [-1.0, 1.0] {
                let mut values = vec![beside; 37];
                values[35] = value;
                assert!(Scale::of_row(&values).back.is_nan(), "{value}");
                assert!(Scale::of_channel(&values).back.is_nan(), "{value}");
            }
        }
    }
}
