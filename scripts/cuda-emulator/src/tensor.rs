//! What a warp does together: matrices of 8 by 8 from shared memory, and products of small matrices
//! (PTX ISA 8.8, chapters 9.7.14.4 and 9.7.14.5).

use crate::access::Memories;
use crate::bfloat16::from_bfloat16;
use crate::kernel::{Access, Factors, Fragment};
use crate::lanes::Lanes;
use crate::races::By;
use crate::warp::Warp;

type Fault = String;

/// `ldmatrix`: the lanes 8 i to 8 i + 7 hold the addresses of the rows of matrix i, of 8 values of 16 bits each.
pub fn load_matrices(
    warp: &mut Warp,
    access: &Access,
    transposed: bool,
    memories: &mut Memories,
) -> Result<(), Fault> {
    for (matrix, register) in access.registers.iter().enumerate() {
        let mut values = [[0u16; 8]; 8];
        for (row, values) in values.iter_mut().enumerate() {
            let address = warp.address(access, 8 * matrix + row);
            memories.visit(access.space, address, 16, warp.visited(By::Warp, memories), false)?;
            let from = memories.at(access.space, address, 16, 16)?;
            // SAFETY: `at` has seen that these bytes are there.
            *values = unsafe { from.cast::<[u16; 8]>().read_unaligned() };
        }
        let value = |row: usize, column: usize| {
            u32::from(if transposed { values[column][row] } else { values[row][column] })
        };
        let lanes = std::array::from_fn(|lane| {
            value(lane / 4, 2 * (lane % 4)) | value(lane / 4, 2 * (lane % 4) + 1) << 16
        });
        warp.set(*register, Lanes(lanes), u32::MAX);
    }
    Ok(())
}

/// The element of a fragment, counted by rows, that a lane has in a register (and half of it, of two bytes). Which one is
/// not part of PTX: only that `wmma.load`, `wmma.mma` and `wmma.store` agree.
fn place(lane: usize, nth: usize, each: usize) -> usize {
    lane * each + nth
}

/// The address of each element that a lane holds.
fn addresses(warp: &Warp, fragment: &Fragment, lane: usize) -> Result<Vec<u64>, Fault> {
    let Fragment { access, rows, columns, by_column, stride } = fragment;
    let start = warp.address(access, 0);
    let stride = warp.words[usize::from(*stride)].0[0] as usize;
    if !start.is_multiple_of(32) || !(stride * access.bytes).is_multiple_of(16) {
        return Err(format!(
            "a matrix at {start:#x} with rows of {stride} values, which are not aligned"
        ));
    }
    let each = rows * columns / 32;
    let one = |nth| {
        let element = place(lane, nth, each);
        let (row, column) = (element / columns, element % columns);
        let at = if *by_column { column * stride + row } else { row * stride + column };
        start + (at * access.bytes) as u64
    };
    Ok((0..each).map(one).collect())
}

pub fn load_fragment(
    warp: &mut Warp,
    fragment: &Fragment,
    memories: &mut Memories,
) -> Result<(), Fault> {
    let access = &fragment.access;
    for lane in 0..32 {
        for (nth, address) in addresses(warp, fragment, lane)?.into_iter().enumerate() {
            memories.visit(
                access.space,
                address,
                access.bytes,
                warp.visited(By::Warp, memories),
                false,
            )?;
            let from = memories.at(access.space, address, access.bytes, access.bytes)?;
            // SAFETY: `at` has seen that these bytes are there.
            unsafe {
                if access.bytes == 2 {
                    let word = &mut warp.words[usize::from(access.registers[nth / 2])].0[lane];
                    let value = u32::from(from.cast::<u16>().read_unaligned());
                    *word = if nth % 2 == 0 { value } else { *word & 0xffff | value << 16 };
                } else {
                    warp.words[usize::from(access.registers[nth])].0[lane] =
                        from.cast::<u32>().read_unaligned();
                }
            }
        }
    }
    Ok(())
}

pub fn store_fragment(
    warp: &mut Warp,
    fragment: &Fragment,
    memories: &mut Memories,
) -> Result<(), Fault> {
    let access = &fragment.access;
    if access.bytes != 4 {
        return Err("only sums in f32 are stored".into());
    }
    for lane in 0..32 {
        for (address, register) in
            addresses(warp, fragment, lane)?.into_iter().zip(&access.registers)
        {
            memories.visit(access.space, address, 4, warp.visited(By::Warp, memories), true)?;
            let to = memories.at(access.space, address, 4, 4)?;
            // SAFETY: `at` has seen that these bytes are there.
            unsafe { to.cast::<u32>().write_unaligned(warp.words[usize::from(*register)].0[lane]) };
        }
    }
    Ok(())
}

/// The values of 16 bits that lanes hold in registers, as a matrix whose element (row, column) `at` finds for a lane and a
/// number.
fn gather(
    warp: &Warp,
    registers: &[u16],
    columns: usize,
    at: impl Fn(usize, usize) -> (usize, usize),
) -> Vec<f32> {
    let mut matrix = vec![0.0; registers.len() * 64];
    for (nth, register) in registers.iter().enumerate() {
        for (lane, word) in warp.words[usize::from(*register)].0.iter().enumerate() {
            for half in 0..2 {
                let (row, column) = at(lane, 2 * nth + half);
                matrix[row * columns + column] = from_bfloat16((word >> (16 * half)) as u16);
            }
        }
    }
    matrix
}

/// Adds the product of `a` and `b` to the sums that lanes hold, whose places `at` finds.
fn accumulate(
    warp: &mut Warp,
    factors: &Factors,
    a: &[f32],
    b: &[f32],
    at: impl Fn(usize, usize) -> (usize, usize),
) {
    let Factors { m, n, k, .. } = *factors;
    let mut product = vec![0f32; m * n];
    for row in 0..m {
        for inner in 0..k {
            let left = a[row * k + inner];
            for column in 0..n {
                product[row * n + column] =
                    left.mul_add(b[inner * n + column], product[row * n + column]);
            }
        }
    }
    for (nth, (to, from)) in factors.d.iter().zip(&factors.c).enumerate() {
        let sums = warp.words[usize::from(*from)];
        let lanes = std::array::from_fn(|lane| {
            let (row, column) = at(lane, nth);
            (f32::from_bits(sums.0[lane]) + product[row * n + column]).to_bits()
        });
        warp.set(*to, Lanes(lanes), u32::MAX);
    }
}

/// `mma.m16n8k16`: which lane holds what is drawn in PTX ISA 8.8, chapter 9.7.14.5.8.
pub fn multiply(warp: &mut Warp, factors: &Factors) {
    let a = gather(warp, &factors.a, factors.k, |lane, nth| {
        (lane / 4 + 8 * (nth / 2 % 2), 2 * (lane % 4) + nth % 2 + 8 * (nth / 4))
    });
    let b = gather(warp, &factors.b, factors.n, |lane, nth| {
        (2 * (lane % 4) + nth % 2 + 8 * (nth / 2), lane / 4)
    });
    accumulate(warp, factors, &a, &b, |lane, nth| {
        (lane / 4 + 8 * (nth / 2), 2 * (lane % 4) + nth % 2)
    });
}

pub fn multiply_fragments(warp: &mut Warp, factors: &Factors) {
    let Factors { m, n, k, .. } = *factors;
    let by_rows = |columns: usize, each: usize| {
        move |lane, nth| {
            let at = place(lane, nth, each);
            (at / columns, at % columns)
        }
    };
    let a = gather(warp, &factors.a, k, by_rows(k, m * k / 32));
    let b = gather(warp, &factors.b, n, by_rows(n, k * n / 32));
    accumulate(warp, factors, &a, &b, by_rows(n, m * n / 32));
}
