//! Element-wise functions that the compiler vectorises, compiled once per instruction set and
//! chosen at run time. Multiplications and additions are never fused (no FMA), so every instruction
//! set gives the same bits.

/// Compiles a function for AVX-512, AVX2 and the baseline, and calls the best version that the
/// processor supports.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$attribute])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                fn with_avx512($($argument: $type),*) $(-> $result)? {
                    body($($argument),*)
                }
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn with_avx2($($argument: $type),*) $(-> $result)? {
                    body($($argument),*)
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: the processor has these instructions.
                    return unsafe { with_avx512($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has these instructions.
                    return unsafe { with_avx2($($argument),*) };
                }
            }
            body($($argument),*)
        }
    };
}
pub(crate) use vectorised;

/// The number of partial sums of a row.
pub const LANES: usize = 16;

/// The sum of `value` over the elements of parallel slices, in [`LANES`] partial sums.
#[inline(always)]
pub fn sum_of<const N: usize>(slices: [&[f32]; N], value: impl Fn([f32; N]) -> f32) -> f32 {
    let length = slices[0].len();
    let mut lanes = [0.0f32; LANES];
    let whole = length - length % LANES;
    let mut start = 0;
    while start < whole {
        let blocks: [&[f32]; N] = slices.map(|slice| &slice[start..start + LANES]);
        for (index, lane) in lanes.iter_mut().enumerate() {
            *lane += value(blocks.map(|block| block[index]));
        }
        start += LANES;
    }
    let mut rest = 0.0;
    for index in whole..length {
        rest += value(slices.map(|slice| slice[index]));
    }
    lanes.iter().sum::<f32>() + rest
}

/// `e^x` within 2 units in the last place; 0 below -87.3, at most 2^127.
/// S. L. Moshier, *Cephes*, `expf`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding this to a small number leaves the number, rounded to an integer, in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.3, 88.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let power = shifted - ROUND;
    let rest = clamped - power * 0.693_359_4 - power * -2.121_944_4e-4;
    let mut sum = 1.987_569_1e-4;
    sum = sum * rest + 1.398_2e-3;
    sum = sum * rest + 8.333_452e-3;
    sum = sum * rest + 4.166_579_6e-2;
    sum = sum * rest + 1.666_666_5e-1;
    sum = sum * rest + 0.5;
    let value = sum * rest * rest + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()) << 23;
    let result = f32::from_bits(value.to_bits().wrapping_add(exponent));
    if x < -87.3 { 0.0 } else { result }
}

/// The error function with an absolute error below 1e-7: the rational approximation of Eigen's
/// `erf` for floats, which is odd and saturates at ±4.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut top = -2.726_142_3e-10;
    top = top * square + 2.770_681_4e-8;
    top = top * square + -2.101_024e-6;
    top = top * square + -5.692_506_4e-5;
    top = top * square + -7.349_906_3e-4;
    top = top * square + -2.954_6e-3;
    top = top * square + -1.609_603_3e-2;
    let mut bottom = -1.456_607_2e-5;
    bottom = bottom * square + -2.133_740_6e-4;
    bottom = bottom * square + -1.682_827e-3;
    bottom = bottom * square + -7.373_329e-3;
    bottom = bottom * square + -1.426_473_9e-2;
    x * top / bottom
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_two_units_in_the_last_place() {
        for step in -8_700..=8_800 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2.5e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e30), 0.0);
    }

    #[test]
    fn the_error_function_is_right_to_a_ten_millionth() {
        // From scipy.special.erf.
        for (x, expected) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916),
            (0.5, 0.520_499_878),
            (1.0, 0.842_700_793),
            (1.5, 0.966_105_146),
            (2.0, 0.995_322_265),
            (3.0, 0.999_977_910),
            (5.0, 1.0),
        ] {
            assert!((f64::from(erf(x)) - expected).abs() < 2e-7, "erf({x}) is {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
    }
}
