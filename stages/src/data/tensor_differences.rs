//! Two safetensors files compared, tensor by tensor.

use std::collections::BTreeSet;
use std::path::Path;

use crate::data::tensors::{Dtype, TensorFile};
use rayon::prelude::*;
use serde::Serialize;

/// A tensor that differs between the two files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorDifference {
    pub tensor: String,
    #[serde(flatten)]
    pub unlike: Unlike,
}

/// How two tensors of one name differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Unlike {
    /// Both have the same type and shape. A difference that is not a number, from a NaN or an
    /// infinity, counts as infinite, which JSON writes as null.
    Numbers {
        dtype: String,
        shape: Vec<usize>,
        /// How many of the elements differ.
        differing: u64,
        numbers: u64,
        /// The greatest |a - b|.
        max_abs: f64,
        /// ‖a - b‖ / ‖a‖ with Euclidean norms.
        relative: f64,
    },
    /// The types or shapes differ, one file lacks the tensor, or its type cannot be read as
    /// numbers.
    Kinds { first: String, second: String },
}

/// Counts the tensors of both files together, and lists those that differ, the greatest relative
/// difference first. `None` if one of the files is not safetensors.
pub fn compare(first: &Path, second: &Path) -> Option<(usize, Vec<TensorDifference>)> {
    let (first, second) = (TensorFile::open(first).ok()?, TensorFile::open(second).ok()?);
    let names: BTreeSet<String> = first.names().into_iter().chain(second.names()).collect();
    let tensors = names.len();
    let mut differing: Vec<TensorDifference> = names
        .into_par_iter()
        .filter_map(|tensor| {
            let unlike = unlike(&tensor, &first, &second)?;
            Some(TensorDifference { tensor, unlike })
        })
        .collect();
    let greatness = |difference: &TensorDifference| match difference.unlike {
        Unlike::Numbers { relative, .. } => relative,
        Unlike::Kinds { .. } => f64::INFINITY,
    };
    differing.sort_by(|a, b| greatness(b).total_cmp(&greatness(a)));
    Some((tensors, differing))
}

fn unlike(name: &str, first: &TensorFile, second: &TensorFile) -> Option<Unlike> {
    let kind = |file: &TensorFile| match file.info(name) {
        Some(info) => format!("{} {:?}", info.dtype, info.shape),
        None => "nothing".to_owned(),
    };
    let kinds = || Unlike::Kinds { first: kind(first), second: kind(second) };
    let (Some(info), Some(other)) = (first.info(name), second.info(name)) else {
        return Some(kinds());
    };
    if info.dtype != other.dtype || info.shape != other.shape {
        return Some(kinds());
    }
    let (a, b) = (first.bytes(name)?, second.bytes(name)?);
    if a == b {
        return None;
    }
    let Some(numbers) = differences(info.dtype, a, b) else { return Some(kinds()) };
    Some(Unlike::Numbers {
        dtype: info.dtype.to_string(),
        shape: info.shape.clone(),
        differing: numbers.differing,
        numbers: numbers.numbers,
        max_abs: numbers.max_abs,
        relative: match numbers.squares == 0.0 {
            true => f64::INFINITY,
            false => (numbers.square_differences / numbers.squares).sqrt(),
        },
    })
}

#[derive(Default)]
struct Sums {
    numbers: u64,
    differing: u64,
    max_abs: f64,
    squares: f64,
    square_differences: f64,
}

/// `None` for a type that cannot be read as numbers.
fn differences(dtype: Dtype, a: &[u8], b: &[u8]) -> Option<Sums> {
    /// Reads little-endian numbers of a type as f64.
    macro_rules! of {
        ($rust:ty) => {
            sums(a, b, |bytes: [u8; size_of::<$rust>()]| <$rust>::from_le_bytes(bytes) as f64)
        };
    }
    Some(match dtype {
        Dtype::F64 => of!(f64),
        Dtype::F32 => of!(f32),
        Dtype::F16 => sums(a, b, |bytes: [u8; 2]| half(u16::from_le_bytes(bytes))),
        Dtype::BF16 => sums(a, b, |bytes: [u8; 2]| {
            f64::from(f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))
        }),
        Dtype::I64 => of!(i64),
        Dtype::U64 => of!(u64),
        Dtype::I32 => of!(i32),
        Dtype::U32 => of!(u32),
        Dtype::I16 => of!(i16),
        Dtype::U16 => of!(u16),
        Dtype::I8 => of!(i8),
        Dtype::U8 | Dtype::BOOL => of!(u8),
        _ => return None,
    })
}

fn sums<const N: usize>(a: &[u8], b: &[u8], number: impl Fn([u8; N]) -> f64) -> Sums {
    let mut sums = Sums::default();
    let (a, _) = a.as_chunks::<N>();
    let (b, _) = b.as_chunks::<N>();
    for (a, b) in a.iter().zip(b) {
        sums.numbers += 1;
        let value = number(*a);
        sums.squares += value * value;
        if a == b {
            continue;
        }
        sums.differing += 1;
        let difference = (value - number(*b)).abs();
        let difference = if difference.is_nan() { f64::INFINITY } else { difference };
        sums.max_abs = sums.max_abs.max(difference);
        sums.square_differences += difference * difference;
    }
    // With a NaN among the numbers the relative difference is infinite.
    if sums.squares.is_nan() {
        sums.squares = 0.0;
    }
    sums
}

/// The value of an IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use crate::data::tensor_differences::{Dtype, differences, half};

    #[test]
    fn sixteen_bits_are_read_as_ieee_754_has_them() {
        let known = [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2f64.powi(-24))];
        for (bits, value) in known {
            assert_eq!(half(bits), value, "{bits:x}");
        }
        assert_eq!(half(0x7c00), f64::INFINITY);
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn differences_are_measured_and_a_nan_counts_as_infinite() {
        let bytes =
            |values: [f32; 3]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let found = differences(Dtype::F32, &bytes([3.0, 4.0, 0.0]), &bytes([3.0, 4.5, 0.0]));
        let found = found.unwrap();
        assert_eq!((found.numbers, found.differing, found.max_abs), (3, 1, 0.5));
        assert_eq!((found.square_differences / found.squares).sqrt(), 0.1);
        let nan = differences(Dtype::F32, &bytes([1.0, 1.0, 1.0]), &bytes([1.0, f32::NAN, 1.0]));
        assert_eq!(nan.unwrap().max_abs, f64::INFINITY);
    }
}
