//! Arithmetic on bfloat16, alone or two in a register (PTX ISA 8.8, chapter 9.7.4).

use crate::lanes::{Arithmetic, Lanes};

/// `value` as bfloat16, rounded to the nearest, ties to even.
pub fn to_bfloat16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return 0x7fff;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

pub fn from_bfloat16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// `a * b + c`, rounded once.
fn fma(a: u16, b: u16, c: u16) -> u16 {
    let [a, b, c] = [a, b, c].map(|bits| f64::from(from_bfloat16(bits)));
    let exact = a * b + c;
    let near = exact as f32;
    // Towards zero, and then odd if anything was cut off: rounding that again is like rounding at once.
    let cut = if f64::from(near).abs() > exact.abs() { near.to_bits() - 1 } else { near.to_bits() };
    let is_whole = exact.is_nan() || f64::from(f32::from_bits(cut)) == exact;
    to_bfloat16(f32::from_bits(if is_whole { cut } else { cut | 1 }))
}

const ONE: u16 = 0x3f80;
const MINUS: u16 = 0x8000;

/// An operation on each of two numbers in a register, or on one alone, whose upper half is then 0.
macro_rules! halves {
    ($are_two:expr, |$($value:ident),+| $result:expr) => {
        if $are_two {
            |$($value: &Lanes),+| Lanes(std::array::from_fn(|lane| {
                let of_half = |half: u32| {
                    $(let $value = ($value.0[lane] >> half) as u16;)+
                    u32::from($result) << half
                };
                of_half(0) | of_half(16)
            }))
        } else {
            |$($value: &Lanes),+| Lanes(std::array::from_fn(|lane| {
                $(let $value = $value.0[lane] as u16;)+
                u32::from($result)
            }))
        }
    };
}

/// The arithmetic of a mnemonic, if it is one of these.
pub fn arithmetic(mnemonic: &str) -> Option<Arithmetic> {
    let (operation, format) = mnemonic.rsplit_once('.')?;
    let are_two = match format {
        "bf16" => false,
        "bf16x2" => true,
        _ => return None,
    };
    Some(match operation {
        "fma.rn" => Arithmetic::Three(halves!(are_two, |a, b, c| fma(a, b, c))),
        "add" | "add.rn" => Arithmetic::Two(halves!(are_two, |a, b| fma(a, ONE, b))),
        "sub" | "sub.rn" => Arithmetic::Two(halves!(are_two, |a, b| fma(b, ONE | MINUS, a))),
        "mul" | "mul.rn" => Arithmetic::Two(halves!(are_two, |a, b| fma(a, b, MINUS))),
        "neg" => Arithmetic::One(halves!(are_two, |a| a ^ MINUS)),
        "abs" => Arithmetic::One(halves!(are_two, |a| a & !MINUS)),
        _ => return None,
    })
}
