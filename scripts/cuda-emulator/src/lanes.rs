//! The arithmetic of PTX on the 32 lanes of a warp at once (PTX ISA 8.8, chapter 9.7).

use crate::bfloat16::{self, to_bfloat16};
use crate::kernel::File;

/// One 32-bit register of each lane. 16-bit registers are in the lower half of one.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Lanes(pub [u32; 32]);

/// One 64-bit register of each lane.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Wide(pub [u64; 32]);

type One = fn(&Lanes) -> Lanes;
type Two = fn(&Lanes, &Lanes) -> Lanes;
type Three = fn(&Lanes, &Lanes, &Lanes) -> Lanes;

/// What an instruction computes, by the kinds of its registers.
#[derive(Clone, Copy)]
pub enum Arithmetic {
    One(One),
    Two(Two),
    Three(Three),
    WideOne(fn(&Wide) -> Wide),
    WideTwo(fn(&Wide, &Wide) -> Wide),
    WideThree(fn(&Wide, &Wide, &Wide) -> Wide),
    /// A 64-bit value by a 32-bit number of bits.
    WideShift(fn(&Wide, &Lanes) -> Wide),
    /// A 64-bit product of two 32-bit values.
    Product(fn(&Lanes, &Lanes) -> Wide),
    Widen(fn(&Lanes) -> Wide),
    Narrow(fn(&Wide) -> Lanes),
    Compare(fn(&Lanes, &Lanes) -> u32),
    WideCompare(fn(&Wide, &Wide) -> u32),
    /// On predicates, which are a bit for each lane.
    Predicate(fn(u32) -> u32),
    Predicates(fn(u32, u32) -> u32),
}

impl Arithmetic {
    /// The kind of the result, and those of the operands.
    pub fn files(self) -> (File, &'static [File]) {
        use File::{Predicates, Wides, Words};
        match self {
            Arithmetic::One(_) => (Words, &[Words]),
            Arithmetic::Two(_) => (Words, &[Words; 2]),
            Arithmetic::Three(_) => (Words, &[Words; 3]),
            Arithmetic::WideOne(_) => (Wides, &[Wides]),
            Arithmetic::WideTwo(_) => (Wides, &[Wides; 2]),
            Arithmetic::WideThree(_) => (Wides, &[Wides; 3]),
            Arithmetic::WideShift(_) => (Wides, &[Wides, Words]),
            Arithmetic::Product(_) => (Wides, &[Words; 2]),
            Arithmetic::Widen(_) => (Wides, &[Words]),
            Arithmetic::Narrow(_) => (Words, &[Wides]),
            Arithmetic::Compare(_) => (Predicates, &[Words; 2]),
            Arithmetic::WideCompare(_) => (Predicates, &[Wides; 2]),
            Arithmetic::Predicate(_) => (Predicates, &[Predicates]),
            Arithmetic::Predicates(_) => (Predicates, &[Predicates; 2]),
        }
    }
}

macro_rules! lanes {
    ($from:ident => $into:ident, $(ref $value:ident),+ => $result:expr) => {
        |$($value: &$from),+| $into(std::array::from_fn(|lane| { $(let $value = $value.0[lane];)+ $result }))
    };
}
macro_rules! one { ($a:ident => $e:expr) => { Arithmetic::One(lanes!(Lanes => Lanes, ref $a => $e)) }; }
macro_rules! two { ($a:ident, $b:ident => $e:expr) => { Arithmetic::Two(lanes!(Lanes => Lanes, ref $a, ref $b => $e)) }; }
macro_rules! three {
    ($a:ident, $b:ident, $c:ident => $e:expr) => {
        Arithmetic::Three(lanes!(Lanes => Lanes, ref $a, ref $b, ref $c => $e))
    };
}
macro_rules! wide { ($a:ident, $b:ident => $e:expr) => { Arithmetic::WideTwo(lanes!(Wide => Wide, ref $a, ref $b => $e)) }; }
macro_rules! wide_three {
    ($a:ident, $b:ident, $c:ident => $e:expr) => {
        Arithmetic::WideThree(lanes!(Wide => Wide, ref $a, ref $b, ref $c => $e))
    };
}
macro_rules! compare {
    ($a:ident, $b:ident => $e:expr) => {
        Arithmetic::Compare(|$a: &Lanes, $b: &Lanes| {
            (0..32).fold(0, |bits, lane| {
                let ($a, $b) = ($a.0[lane], $b.0[lane]);
                bits | u32::from($e) << lane
            })
        })
    };
}
macro_rules! wide_compare {
    ($a:ident, $b:ident => $e:expr) => {
        Arithmetic::WideCompare(|$a: &Wide, $b: &Wide| {
            (0..32).fold(0, |bits, lane| {
                let ($a, $b) = ($a.0[lane], $b.0[lane]);
                bits | u32::from($e) << lane
            })
        })
    };
}
/// An operation on numbers as one on their bits.
macro_rules! float {
    ($a:ident => $e:expr) => { one!($a => { let $a = f32::from_bits($a); f32::to_bits($e) }) };
    ($a:ident, $b:ident => $e:expr) => {
        two!($a, $b => {
            let [$a, $b] = [$a, $b].map(f32::from_bits);
            f32::to_bits($e)
        })
    };
    ($a:ident, $b:ident, $c:ident => $e:expr) => {
        three!($a, $b, $c => {
            let [$a, $b, $c] = [$a, $b, $c].map(f32::from_bits);
            f32::to_bits($e)
        })
    };
}
macro_rules! float_compare {
    ($a:ident, $b:ident => $e:expr) => {
        compare!($a, $b => {
            let [$a, $b] = [$a, $b].map(f32::from_bits);
            $e
        })
    };
}

/// The arithmetic of a mnemonic with so many operands besides the result, if it is known.
pub fn arithmetic(mnemonic: &str, operands: usize) -> Option<Arithmetic> {
    match (mnemonic, operands) {
        ("min.f32", 3) => return Some(float!(a, b, c => a.min(b).min(c))),
        ("max.f32", 3) => return Some(float!(a, b, c => a.max(b).max(c))),
        ("min.NaN.f32", 3) => return Some(float!(a, b, c => least(least(a, b), c))),
        ("max.NaN.f32", 3) => return Some(float!(a, b, c => most(most(a, b), c))),
        _ => {}
    }
    let kinds = [integers, wide, floats, bfloat16::arithmetic, comparisons];
    kinds.into_iter().find_map(|kind| kind(mnemonic))
}

fn integers(mnemonic: &str) -> Option<Arithmetic> {
    Some(match mnemonic {
        "mov.b32" | "mov.u32" | "mov.b16" | "mov.f32" => one!(a => a),
        "not.b32" => one!(a => !a),
        "neg.s32" => one!(a => a.wrapping_neg()),
        "clz.b32" => one!(a => a.leading_zeros()),
        "popc.b32" => one!(a => a.count_ones()),
        "add.s32" | "add.u32" => two!(a, b => a.wrapping_add(b)),
        "sub.s32" | "sub.u32" => two!(a, b => a.wrapping_sub(b)),
        "mul.lo.s32" | "mul.lo.u32" => two!(a, b => a.wrapping_mul(b)),
        "mul.hi.u32" => two!(a, b => ((u64::from(a) * u64::from(b)) >> 32) as u32),
        "mul.hi.u16" => two!(a, b => ((a & 0xffff) * (b & 0xffff)) >> 16),
        "div.u16" => two!(a, b => (a & 0xffff).checked_div(b & 0xffff).unwrap_or(0xffff)),
        "rem.u16" => two!(a, b => (a & 0xffff).checked_rem(b & 0xffff).unwrap_or(0xffff)),
        "min.u16" => two!(a, b => (a & 0xffff).min(b & 0xffff)),
        "max.u16" => two!(a, b => (a & 0xffff).max(b & 0xffff)),
        "mad.lo.s16" | "mad.lo.u16" => {
            three!(a, b, c => a.wrapping_mul(b).wrapping_add(c) & 0xffff)
        }
        "mul.wide.u16" => two!(a, b => (a & 0xffff) * (b & 0xffff)),
        // What a division by zero gives is not specified.
        "div.u32" => two!(a, b => a.checked_div(b).unwrap_or(u32::MAX)),
        "rem.u32" => two!(a, b => a.checked_rem(b).unwrap_or(u32::MAX)),
        "div.s32" => two!(a, b => (a as i32).checked_div(b as i32).unwrap_or(-1) as u32),
        "rem.s32" => two!(a, b => (a as i32).checked_rem(b as i32).unwrap_or(-1) as u32),
        "and.b32" => two!(a, b => a & b),
        "or.b32" => two!(a, b => a | b),
        "xor.b32" => two!(a, b => a ^ b),
        "shl.b32" => two!(a, b => a.checked_shl(b).unwrap_or(0)),
        "shr.u32" => two!(a, b => a.checked_shr(b).unwrap_or(0)),
        "shr.s32" => two!(a, b => ((a as i32) >> b.min(31)) as u32),
        "min.u32" => two!(a, b => a.min(b)),
        "max.u32" => two!(a, b => a.max(b)),
        "min.s32" => two!(a, b => (a as i32).min(b as i32) as u32),
        "max.s32" => two!(a, b => (a as i32).max(b as i32) as u32),
        "mad.lo.s32" | "mad.lo.u32" => three!(a, b, c => a.wrapping_mul(b).wrapping_add(c)),
        "bfe.u32" => three!(a, b, c => {
            let (start, length) = (b & 255, c & 255);
            a.checked_shr(start).unwrap_or(0) & 1u32.checked_shl(length).map_or(u32::MAX, |bit| bit.wrapping_sub(1))
        }),
        "prmt.b32" => three!(a, b, c => permuted(a, b, c)),
        "add.s16" | "add.u16" => two!(a, b => a.wrapping_add(b) & 0xffff),
        "sub.s16" | "sub.u16" => two!(a, b => a.wrapping_sub(b) & 0xffff),
        "mul.lo.s16" | "mul.lo.u16" => two!(a, b => a.wrapping_mul(b) & 0xffff),
        "and.b16" => two!(a, b => a & b),
        "or.b16" => two!(a, b => a | b),
        "xor.b16" => two!(a, b => a ^ b),
        "not.b16" => one!(a => !a & 0xffff),
        "shl.b16" => two!(a, b => a.checked_shl(b).unwrap_or(0) & 0xffff),
        "shr.u16" => two!(a, b => (a & 0xffff).checked_shr(b).unwrap_or(0)),
        "and.pred" => Arithmetic::Predicates(|a, b| a & b),
        "or.pred" => Arithmetic::Predicates(|a, b| a | b),
        "xor.pred" => Arithmetic::Predicates(|a, b| a ^ b),
        "not.pred" => Arithmetic::Predicate(|a| !a),
        "mov.pred" => Arithmetic::Predicate(|a| a),
        _ => return None,
    })
}

/// `prmt`: each byte is one of the eight of `b` and `a`, or its sign.
fn permuted(a: u32, b: u32, selector: u32) -> u32 {
    let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
    u32::from_le_bytes(std::array::from_fn(|nth| {
        let choice = selector >> (4 * nth);
        let byte = bytes[(choice & 7) as usize];
        if choice & 8 == 0 { byte } else { (byte as i8 >> 7) as u8 }
    }))
}

/// Both halves of a register as numbers.
fn halves(bits: u64) -> (f32, f32) {
    (f32::from_bits(bits as u32), f32::from_bits((bits >> 32) as u32))
}

fn joined(low: f32, high: f32) -> u64 {
    u64::from(low.to_bits()) | u64::from(high.to_bits()) << 32
}

fn wide(mnemonic: &str) -> Option<Arithmetic> {
    Some(match mnemonic {
        "mov.b64" | "mov.u64" => Arithmetic::WideOne(|a| *a),
        "add.s64" | "add.u64" => wide!(a, b => a.wrapping_add(b)),
        "sub.s64" | "sub.u64" => wide!(a, b => a.wrapping_sub(b)),
        "mul.lo.s64" | "mul.lo.u64" => wide!(a, b => a.wrapping_mul(b)),
        "and.b64" => wide!(a, b => a & b),
        "or.b64" => wide!(a, b => a | b),
        "xor.b64" => wide!(a, b => a ^ b),
        "min.u64" => wide!(a, b => a.min(b)),
        "max.u64" => wide!(a, b => a.max(b)),
        "shl.b64" => Arithmetic::WideShift(|a, b| {
            Wide(std::array::from_fn(|lane| a.0[lane].checked_shl(b.0[lane]).unwrap_or(0)))
        }),
        "shr.u64" => Arithmetic::WideShift(|a, b| {
            Wide(std::array::from_fn(|lane| a.0[lane].checked_shr(b.0[lane]).unwrap_or(0)))
        }),
        "mad.lo.s64" | "mad.lo.u64" => wide_three!(a, b, c => a.wrapping_mul(b).wrapping_add(c)),
        "mul.wide.u32" => {
            Arithmetic::Product(lanes!(Lanes => Wide, ref a, ref b => u64::from(a) * u64::from(b)))
        }
        "mul.wide.s32" => Arithmetic::Product(
            lanes!(Lanes => Wide, ref a, ref b => (i64::from(a as i32) * i64::from(b as i32)) as u64),
        ),
        "cvt.s64.s32" => {
            Arithmetic::Widen(lanes!(Lanes => Wide, ref a => i64::from(a as i32) as u64))
        }
        "cvt.u64.u16" => Arithmetic::Widen(lanes!(Lanes => Wide, ref a => u64::from(a & 0xffff))),
        "cvt.u16.u64" => Arithmetic::Narrow(lanes!(Wide => Lanes, ref a => a as u32 & 0xffff)),
        "mul.hi.u64" => wide!(a, b => ((u128::from(a) * u128::from(b)) >> 64) as u64),
        "div.u64" => wide!(a, b => a.checked_div(b).unwrap_or(u64::MAX)),
        "rem.u64" => wide!(a, b => a.checked_rem(b).unwrap_or(u64::MAX)),
        "cvt.u64.u32" => Arithmetic::Widen(lanes!(Lanes => Wide, ref a => u64::from(a))),
        "cvt.u32.u64" => Arithmetic::Narrow(lanes!(Wide => Lanes, ref a => a as u32)),
        "add.f32x2" | "add.rn.f32x2" => {
            wide!(a, b => { let (a, b) = (halves(a), halves(b)); joined(a.0 + b.0, a.1 + b.1) })
        }
        "sub.f32x2" | "sub.rn.f32x2" => {
            wide!(a, b => { let (a, b) = (halves(a), halves(b)); joined(a.0 - b.0, a.1 - b.1) })
        }
        "mul.f32x2" | "mul.rn.f32x2" => {
            wide!(a, b => { let (a, b) = (halves(a), halves(b)); joined(a.0 * b.0, a.1 * b.1) })
        }
        "fma.rn.f32x2" => wide_three!(a, b, c => {
            let (a, b, c) = (halves(a), halves(b), halves(c));
            joined(a.0.mul_add(b.0, c.0), a.1.mul_add(b.1, c.1))
        }),
        _ => return None,
    })
}

/// A number without denormals, as `.ftz` asks for.
fn flushed(value: f32) -> f32 {
    if value.is_subnormal() { 0f32.copysign(value) } else { value }
}

/// `a * b + c` rounded towards minus infinity.
fn fma_down(a: f32, b: f32, c: f32) -> f32 {
    let exact = f64::from(a) * f64::from(b) + f64::from(c);
    let near = exact as f32;
    if f64::from(near) > exact { near.next_down() } else { near }
}

/// The lower of two numbers, or NaN if one of them is.
fn least(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.min(b) }
}

fn most(a: f32, b: f32) -> f32 {
    -least(-a, -b)
}

fn floats(mnemonic: &str) -> Option<Arithmetic> {
    Some(match mnemonic {
        "add.f32" | "add.rn.f32" => float!(a, b => a + b),
        "sub.f32" | "sub.rn.f32" => float!(a, b => a - b),
        "mul.f32" | "mul.rn.f32" => float!(a, b => a * b),
        "div.rn.f32" => float!(a, b => a / b),
        // `min` and `max` of a number and NaN are the number, as in Rust.
        "min.f32" => float!(a, b => a.min(b)),
        "max.f32" => float!(a, b => a.max(b)),
        "min.NaN.f32" => float!(a, b => least(a, b)),
        "max.NaN.f32" => float!(a, b => most(a, b)),
        "fma.rn.f32" => float!(a, b, c => a.mul_add(b, c)),
        "fma.rm.f32" => float!(a, b, c => fma_down(a, b, c)),
        "neg.f32" => float!(a => -a),
        "abs.f32" => float!(a => a.abs()),
        "sqrt.rn.f32" => float!(a => a.sqrt()),
        "rcp.rn.f32" => float!(a => 1.0 / a),
        "rcp.approx.ftz.f32" => float!(a => flushed(1.0 / flushed(a))),
        "ex2.approx.ftz.f32" => float!(a => flushed(flushed(a).exp2())),
        "ex2.approx.f32" => float!(a => a.exp2()),
        "cvt.sat.f32.f32" => float!(a => if a.is_nan() { 0.0 } else { a.clamp(0.0, 1.0) }),
        "cvt.rzi.f32.f32" => float!(a => a.trunc()),
        "cvt.rmi.f32.f32" => float!(a => a.floor()),
        "cvt.rpi.f32.f32" => float!(a => a.ceil()),
        "cvt.rni.f32.f32" => float!(a => a.round_ties_even()),
        "cvt.rn.f32.s32" => one!(a => (a as i32 as f32).to_bits()),
        "cvt.rn.f32.u32" => one!(a => (a as f32).to_bits()),
        "cvt.rzi.s32.f32" => one!(a => f32::from_bits(a) as i32 as u32),
        "cvt.rzi.u32.f32" => one!(a => f32::from_bits(a) as u32),
        "cvt.rn.bf16.f32" => one!(a => u32::from(to_bfloat16(f32::from_bits(a)))),
        "cvt.f32.bf16" => one!(a => a << 16),
        "cvt.u32.u16" | "cvt.u16.u32" => one!(a => a & 0xffff),
        "cvt.u32.u8" | "cvt.u16.u8" | "cvt.u8.u32" | "cvt.u8.u16" => one!(a => a & 0xff),
        "cvt.s32.s16" => one!(a => a as i16 as i32 as u32),
        "cvt.s32.s8" => one!(a => a as i8 as i32 as u32),
        "cvt.rn.f32.u16" => one!(a => ((a & 0xffff) as f32).to_bits()),
        "cvt.rn.f32.u8" => one!(a => ((a & 0xff) as f32).to_bits()),
        "sin.approx.f32" => float!(a => a.sin()),
        "cos.approx.f32" => float!(a => a.cos()),
        "rsqrt.approx.f32" => float!(a => 1.0 / a.sqrt()),
        "lg2.approx.f32" => float!(a => a.log2()),
        "copysign.f32" => float!(a, b => b.copysign(a)),
        // TF32 is f32 of which the last 13 bits are zero, rounded to the nearest, ties away from zero.
        "cvt.rna.tf32.f32" => one!(a => a.wrapping_add(1 << 12) & !0x1fff),
        // The first operand goes into the upper half.
        "cvt.rn.bf16x2.f32" => {
            two!(a, b => u32::from(to_bfloat16(f32::from_bits(a))) << 16 | u32::from(to_bfloat16(f32::from_bits(b))))
        }
        _ => return None,
    })
}

#[allow(
    clippy::double_comparisons,
    clippy::neg_cmp_op_on_partial_ord,
    reason = "what NaN gives is part of each name"
)]
fn comparisons(mnemonic: &str) -> Option<Arithmetic> {
    Some(match mnemonic.strip_prefix("setp.")? {
        "eq.b16" | "eq.u16" | "eq.s16" => compare!(a, b => a & 0xffff == b & 0xffff),
        "ne.b16" | "ne.u16" | "ne.s16" => compare!(a, b => a & 0xffff != b & 0xffff),
        "eq.b32" | "eq.s32" | "eq.u32" => compare!(a, b => a == b),
        "ne.b32" | "ne.s32" | "ne.u32" => compare!(a, b => a != b),
        "lt.u16" => compare!(a, b => a & 0xffff < b & 0xffff),
        "le.u16" => compare!(a, b => a & 0xffff <= b & 0xffff),
        "gt.u16" => compare!(a, b => a & 0xffff > b & 0xffff),
        "ge.u16" => compare!(a, b => a & 0xffff >= b & 0xffff),
        "lt.u32" | "lo.u32" => compare!(a, b => a < b),
        "le.u32" | "ls.u32" => compare!(a, b => a <= b),
        "gt.u32" | "hi.u32" => compare!(a, b => a > b),
        "ge.u32" | "hs.u32" => compare!(a, b => a >= b),
        "lt.s32" => compare!(a, b => (a as i32) < b as i32),
        "le.s32" => compare!(a, b => (a as i32) <= b as i32),
        "gt.s32" => compare!(a, b => (a as i32) > b as i32),
        "ge.s32" => compare!(a, b => (a as i32) >= b as i32),
        "eq.b64" | "eq.s64" | "eq.u64" => wide_compare!(a, b => a == b),
        "ne.b64" | "ne.s64" | "ne.u64" => wide_compare!(a, b => a != b),
        "lt.u64" => wide_compare!(a, b => a < b),
        "le.u64" => wide_compare!(a, b => a <= b),
        "gt.u64" => wide_compare!(a, b => a > b),
        "ge.u64" => wide_compare!(a, b => a >= b),
        "eq.f32" => float_compare!(a, b => a == b),
        "neu.f32" => float_compare!(a, b => a != b),
        "ne.f32" => float_compare!(a, b => a < b || a > b),
        "lt.f32" => float_compare!(a, b => a < b),
        "le.f32" => float_compare!(a, b => a <= b),
        "gt.f32" => float_compare!(a, b => a > b),
        "ge.f32" => float_compare!(a, b => a >= b),
        "ltu.f32" => float_compare!(a, b => !(a >= b)),
        "leu.f32" => float_compare!(a, b => !(a > b)),
        "gtu.f32" => float_compare!(a, b => !(a <= b)),
        "geu.f32" => float_compare!(a, b => !(a < b)),
        "num.f32" => float_compare!(a, b => !a.is_nan() && !b.is_nan()),
        "nan.f32" => float_compare!(a, b => a.is_nan() || b.is_nan()),
        _ => return None,
    })
}
