//! Finds numbers that are NaN or infinite.

/// The bits of the exponent: all are set in NaN and in the infinities, and in no other number.
const EXPONENT: u32 = 0x7f80_0000;

/// Whether a number is NaN or infinite, without a branch, so that a loop over many is vectorised.
#[inline(always)]
pub fn is_not_finite(value: f32) -> bool {
    value.to_bits() & EXPONENT == EXPONENT
}

/// The position of the first number that is NaN or infinite. Runs at the speed of memory.
pub fn first_not_finite(values: &[f32]) -> Option<usize> {
    const BLOCK: usize = 4096;
    let has_any = |block: &[f32]| block.iter().fold(false, |any, it| any | is_not_finite(*it));
    let block = values.chunks(BLOCK).position(has_any)? * BLOCK;
    values[block..].iter().position(|value| is_not_finite(*value)).map(|at| block + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_that_is_not_finite_is_found() {
        let mut values = vec![f32::MAX; 10_000];
        values[0] = f32::MIN_POSITIVE / 2.0;
        assert_eq!(first_not_finite(&values), None);
        assert_eq!(first_not_finite(&[]), None);
        for wrong in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [9_999, 4096, 4095, 0] {
                values[at] = wrong;
                assert_eq!(first_not_finite(&values), Some(at));
            }
            values.fill(-1.0);
        }
    }
}
