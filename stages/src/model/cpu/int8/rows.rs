//! Rounds rows to 8 bits: each value becomes a whole number from -127 to 127, times the scale of its
//! row.

use crate::model::cpu::vector::vectorised;

/// The largest number that a value becomes.
const MOST: f32 = 127.0;

/// The bits of infinity. Those of NaN are larger, without the sign.
const INFINITY: u32 = 0x7f80_0000;

/// How the values of a row become whole numbers and back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Values are multiplied by it, then rounded.
    factor: f32,
    /// Whole numbers are multiplied by it. NaN if a value of the row is not finite: then so is
    /// everything that is computed from the row.
    pub(super) back: f32,
}

impl Scale {
    /// The scale that takes the largest magnitude of a row to 127. Rows of zeros, and of values below
    /// 1e-36, become zeros.
    pub(super) fn of(row: &[f32]) -> Scale {
        let largest = largest_magnitude(row);
        if largest >= INFINITY {
            return Scale { factor: 0.0, back: f32::NAN };
        }
        let largest = f32::from_bits(largest);
        let factor = MOST / largest;
        match factor.is_finite() {
            true => Scale { factor, back: largest / MOST },
            false => Scale { factor: 0.0, back: 0.0 },
        }
    }
}

vectorised! {
    /// The bits of the largest magnitude, which are ordered as the magnitudes are.
    fn largest_magnitude(row: &[f32]) -> u32 {
        row.iter().fold(0, |most, value| most.max(value.to_bits() & (u32::MAX >> 1)))
    }
}

vectorised! {
    /// Rounds each value of a row to the nearest whole number, ties to even, and adds `offset`.
    pub(super) fn round(row: &[f32], scale: Scale, offset: i32, rounded: &mut [u8]) {
        // Adding this to a small number leaves the number, rounded to an integer, in the lowest bits.
        let to_integer = 12_582_912.0 + offset as f32;
        for (value, rounded) in row.iter().zip(rounded) {
            *rounded = (*value * scale.factor + to_integer).to_bits() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(row: &[f32]) -> (Vec<i8>, f32) {
        let (scale, mut bytes) = (Scale::of(row), vec![0; row.len()]);
        round(row, scale, 0, &mut bytes);
        (bytes.into_iter().map(u8::cast_signed).collect(), scale.back)
    }

    #[test]
    fn the_largest_magnitude_becomes_127_and_ties_go_to_even() {
        let (found, back) = rounded(&[-254.0, 254.0, 1.0, 3.0, 5.0, -1.0, -3.0, 0.0, 100.0]);
        assert_eq!(found, [-127, 127, 0, 2, 2, 0, -2, 0, 50]);
        assert_eq!(back, 2.0);
        for largest in [1e-35, 1e-20, 0.1, 3.3, 1e20, 1e38] {
            let row: Vec<f32> = (-40..=40).map(|at| largest * (at as f32 / 40.0)).collect();
            let (found, back) = rounded(&row);
            assert_eq!((found[0], found[80]), (-127, 127), "{largest}");
            for (value, found) in row.iter().zip(found) {
                let error = (f32::from(found) * back - value).abs();
                assert!(error <= back * 0.501, "{value} of {largest} became {found} of {back}");
            }
        }
    }

    #[test]
    fn the_offset_makes_them_unsigned() {
        let row = [-1.0, -0.5, 0.0, 1.0];
        let mut bytes = [0; 4];
        round(&row, Scale::of(&row), 128, &mut bytes);
        assert_eq!(bytes, [1, 64, 128, 255]);
    }

    #[test]
    fn rows_of_nothing_are_zeros() {
        for row in [vec![0.0, -0.0, 0.0], vec![1e-40, -1e-45], vec![]] {
            let (found, back) = rounded(&row);
            assert_eq!((found, back), (vec![0; row.len()], 0.0), "{row:?}");
        }
    }

    #[test]
    fn a_value_that_is_not_finite_makes_the_scale_nan() {
        for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut row = vec![1.0; 37];
            row[35] = value;
            assert!(Scale::of(&row).back.is_nan(), "{value}");
        }
    }
}
