//! Linear layers in 8-bit integers: `y = x W + b`, where the weights of each channel (a column of `W`)
//! are rounded to whole numbers from -127 to 127 with a scale of their own, and the values of each row of
//! `x` to whole numbers from 0 to 255 with a scale and a zero of their own. Weights are rounded once, when
//! the model is loaded; rows when they are multiplied ("dynamic quantization"). The sums are exact
//! integers, so a result depends neither on the processor nor on the other rows.
//!
//! ```text
//! W      [out, in] → panels of 32 channels: [entries, 32, 4]
//! x      [rows, in] → panels of 14 rows:    [entries, 14, 4]
//! tile   14 rows of 32 channels             tile::Tile
//! y      (sum - zero of the row · total of the channel) · scale of the row · scale of the channel + bias,
//!        then the activation
//! ```
//!
//! An entry holds four neighbours along `in`, which one instruction multiplies: unsigned factors by signed
//! ones. The total of a channel is the sum of its rounded weights.

mod panel;
mod rounding;
mod rows;
mod tile;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::mem::MaybeUninit;

use burn::backend::Flex;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::activation::activate;
use super::vector::vectorised;
use super::{Backing, backing, contiguous, tensor, values};
use crate::family::Activation;
use panel::{COLUMNS, Channels, DEPTH, LeftEntry, ROWS, RightEntry, Sums};
use rounding::{Scale, round};
use rows::Rows;
use tile::{Tile, fastest};

/// The most inputs of which any sum of products of a u8 and an i8 fits into an i32.
const MOST_INPUTS: usize = i32::MAX as usize / (255 * 128);

/// Panels of rows per task, at most: their results fit the L2 cache together with a panel of channels.
const TASK_PANELS: usize = 4;

/// Whether this processor multiplies 8-bit integers faster than f32, which takes AVX-512 VNNI. With AVX2
/// alone the two take about as long (`benches/RESULTS.md`).
pub fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        x86::has_vnni()
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The weights of a linear layer, rounded and in the order in which they are multiplied.
#[derive(Debug)]
pub struct Int8Weight {
    inputs: usize,
    outputs: usize,
    /// `[panels, entries]`, padded with zeros.
    panels: Vec<RightEntry>,
    /// The sum of the rounded weights of each channel, for each panel.
    totals: Vec<Channels>,
    /// The scale of each channel, padded to whole panels.
    scales: Vec<f32>,
}

impl Int8Weight {
    /// Rounds weights as a checkpoint has them, row-major `[outputs, inputs]`. `None` if there are so
    /// many inputs that a sum might not fit.
    pub fn new(stored: &[f32], [inputs, outputs]: [usize; 2]) -> Option<Int8Weight> {
        if inputs > MOST_INPUTS {
            return None;
        }
        let entries = inputs.div_ceil(DEPTH);
        let count = outputs.div_ceil(COLUMNS);
        let mut panels = vec![RightEntry([[0; DEPTH]; COLUMNS]); count * entries];
        let mut totals = vec![Channels([0; COLUMNS]); count];
        let mut scales = vec![0.0; count * COLUMNS];
        panels
            .par_chunks_mut(entries.max(1))
            .zip(&mut totals)
            .zip(scales.par_chunks_mut(COLUMNS))
            .zip(stored.par_chunks((COLUMNS * inputs).max(1)))
            .for_each(|(((panel, totals), scales), stored)| {
                let mut rounded = vec![0; inputs];
                for (column, weights) in stored.chunks_exact(inputs).enumerate() {
                    let scale = Scale::of_channel(weights);
                    scales[column] = scale.back;
                    round(weights, scale, &mut rounded);
                    for (at, weight) in rounded.iter().map(|byte| byte.cast_signed()).enumerate() {
                        panel[at / DEPTH].0[column][at % DEPTH] = weight;
                        totals.0[column] += i32::from(weight);
                    }
                }
            });
        Some(Int8Weight { inputs, outputs, panels, totals, scales })
    }

    /// `[inputs, outputs]`
    pub fn dims(&self) -> [usize; 2] {
        [self.inputs, self.outputs]
    }

    fn entries(&self) -> usize {
        self.inputs.div_ceil(DEPTH)
    }
}

/// Maps `[…, in]` to `[…, out]` by each of several layers, and applies the activation, if there is one. The
/// input is rounded once.
///
/// # Panics
///
/// The tensors are not on the CPU, or autodiff tracks them: models with such weights are for inference
/// on the CPU.
pub fn linear<const D: usize, const N: usize>(
    input: &Tensor<D>,
    layers: [(&Int8Weight, &Tensor<1>); N],
    activation: Option<Activation>,
) -> [Tensor<D>; N] {
    let plain = |tensor| match tensor {
        Backing::Plain(tensor) => contiguous(&tensor),
        _ => unreachable!("weights in 8 bits are for inference on the CPU"),
    };
    let mut shape = input.dims();
    let rows = Rows::new(values(&plain(backing(input))), shape[D - 1]);
    layers.map(|(weight, bias)| {
        let bias = plain(backing(bias));
        let output = product(&rows, weight, values(&bias), activation, fastest());
        shape[D - 1] = weight.outputs;
        Tensor::from_primitive::<Flex>(tensor(output, shape))
    })
}

/// [`linear`] by one layer: row-major outputs.
fn product(
    rows: &Rows,
    weight: &Int8Weight,
    bias: &[f32],
    activation: Option<Activation>,
    tile: Tile,
) -> Vec<f32> {
    let (count, entries, outputs) = (rows.scales.len(), weight.entries(), weight.outputs);
    let panels = count.div_ceil(ROWS).div_ceil(rayon::current_num_threads()).clamp(1, TASK_PANELS);
    let block = panels * ROWS;
    let mut output = Vec::with_capacity(count * outputs);
    let blocks = output.spare_capacity_mut()[..count * outputs]
        .par_chunks_mut((block * outputs).max(1))
        .zip(rows.panels.par_chunks((panels * entries).max(1)))
        .zip(rows.scales.par_chunks(block));
    blocks.for_each(|((out, left), scales)| {
        block_of_rows(left, scales, weight, bias, activation, tile, out);
    });
    // SAFETY: the blocks cover all rows, and each writes all outputs of its rows.
    unsafe { output.set_len(count * outputs) };
    output
}

/// Writes every element of `out`.
fn block_of_rows(
    left: &[LeftEntry],
    scales: &[Scale],
    weight: &Int8Weight,
    bias: &[f32],
    activation: Option<Activation>,
    tile: Tile,
    out: &mut [MaybeUninit<f32>],
) {
    let (entries, outputs) = (weight.entries(), weight.outputs);
    let mut sums: Sums = std::array::from_fn(|_| Channels([0; COLUMNS]));
    let panels = weight.panels.chunks_exact(entries.max(1)).zip(&weight.totals);
    for (panel, (right, totals)) in panels.enumerate() {
        let first = panel * COLUMNS;
        let columns = first..(first + COLUMNS).min(outputs);
        let (of_channels, bias) = (&weight.scales[columns.clone()], &bias[columns]);
        let each = left.chunks_exact(entries.max(1)).zip(scales.chunks(ROWS));
        for ((left, scales), out) in each.zip(out.chunks_mut(ROWS * outputs)) {
            tile(left, right, &mut sums);
            to_floats(&sums, totals, scales, of_channels, bias, &mut out[first..], outputs);
        }
    }
    if let Some(kind) = activation {
        // SAFETY: the tiles cover all rows and channels.
        let out = unsafe { out.assume_init_mut() };
        out.chunks_exact_mut(outputs.max(1)).for_each(|row| activate(kind, row));
    }
}

vectorised! {
    /// Turns the sums of a tile into results, as many rows and channels as there are scales.
    /// Rows of `out` are `stride` apart.
    fn to_floats(
        sums: &Sums,
        totals: &Channels,
        of_rows: &[Scale],
        of_channels: &[f32],
        bias: &[f32],
        out: &mut [MaybeUninit<f32>],
        stride: usize,
    ) {
        for (row, (sums, of_row)) in sums.iter().zip(of_rows).enumerate() {
            let out = &mut out[row * stride..][..of_channels.len()];
            let channels = sums.0.iter().zip(&totals.0).zip(of_channels).zip(bias);
            for (out, (((sum, total), of_channel), bias)) in out.iter_mut().zip(channels) {
                let sum = sum - of_row.zero * total;
                out.write(sum as f32 * (of_row.back * of_channel) + bias);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cpu::random::numbers;

    /// Rows, inputs and outputs: of one element, of whole tiles and entries, and of parts of them.
    const SIZES: [[usize; 3]; 8] = [
        [1, 1, 1],
        [3, 5, 1],
        [14, 64, 32],
        [15, 66, 33],
        [29, 131, 31],
        [60, 257, 100],
        [200, 384, 65],
        [57, 1030, 7],
    ];

    fn weight(stored: &[f32], inputs: usize, outputs: usize) -> Int8Weight {
        Int8Weight::new(stored, [inputs, outputs]).unwrap()
    }

    /// [`super::product`] of row-major rows.
    fn product(
        input: &[f32],
        weight: &Int8Weight,
        bias: &[f32],
        activation: Option<Activation>,
        tile: Tile,
    ) -> Vec<f32> {
        super::product(&Rows::new(input, weight.inputs), weight, bias, activation, tile)
    }

    fn rounded(values: &[f32], scale: Scale) -> Vec<u8> {
        let mut bytes = vec![0; values.len()];
        round(values, scale, &mut bytes);
        bytes
    }

    /// The whole numbers of a row and of a channel, and what a step is worth.
    fn of_row(values: &[f32]) -> (Vec<i64>, f32) {
        let scale = Scale::of_row(values);
        let of = |byte: u8| i64::from(byte) - i64::from(scale.zero);
        (rounded(values, scale).into_iter().map(of).collect(), scale.back)
    }

    fn of_channel(weights: &[f32]) -> (Vec<i64>, f32) {
        let scale = Scale::of_channel(weights);
        let bytes = rounded(weights, scale);
        (bytes.into_iter().map(|byte| byte.cast_signed().into()).collect(), scale.back)
    }

    #[test]
    fn every_way_gives_the_bits_of_sums_in_64_bits() {
        for [rows, inputs, outputs] in SIZES {
            let mut input = numbers("input", rows * inputs);
            // A row of both ends, and one of positive values; a channel of ±1 becomes -127 and 127.
            input[..inputs].iter_mut().for_each(|value| *value = value.signum());
            let positive = input.chunks_exact_mut(inputs).skip(1).take(1).flatten();
            positive.for_each(|value| *value = value.abs());
            let mut stored = numbers("weight", inputs * outputs);
            stored[..inputs].iter_mut().for_each(|value| *value = value.signum());
            let (bias, packed) = (numbers("bias", outputs), weight(&stored, inputs, outputs));
            for (number, way) in tile::all().into_iter().enumerate() {
                let found = product(&input, &packed, &bias, None, way);
                for (row, found) in found.chunks(outputs).enumerate() {
                    let (left, of_row) = of_row(&input[row * inputs..][..inputs]);
                    for (column, found) in found.iter().enumerate() {
                        let (right, of_channel) = of_channel(&stored[column * inputs..][..inputs]);
                        let sum: i64 =
                            left.iter().zip(right).map(|(left, right)| left * right).sum();
                        let expected = sum as f32 * (of_row * of_channel) + bias[column];
                        let name = format!("{rows} x {inputs} x {outputs}, way {number}");
                        assert_eq!(found.to_bits(), expected.to_bits(), "{name}: {row}, {column}");
                    }
                }
            }
        }
    }

    #[test]
    fn results_are_near_those_in_f32() {
        let [rows, inputs, outputs] = [20, 384, 50];
        let (input, stored) =
            (numbers("input", rows * inputs), numbers("weight", inputs * outputs));
        let bias = numbers("bias", outputs);
        let found = product(&input, &weight(&stored, inputs, outputs), &bias, None, fastest());
        for (index, found) in found.iter().enumerate() {
            let (row, column) = (index / outputs, index % outputs);
            let (left, right) = (&input[row * inputs..][..inputs], &stored[column * inputs..]);
            let exact: f32 = left.iter().zip(right).map(|(left, right)| left * right).sum();
            // Each factor is off by 1/508 of its range at most, mostly by less and in both directions.
            assert!((found - exact - bias[column]).abs() < 0.05, "{found} and {exact}");
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_among_others_and_with_any_number_of_threads() {
        let [rows, inputs, outputs] = [133, 100, 70];
        let (input, stored) =
            (numbers("input", rows * inputs), numbers("weight", inputs * outputs));
        let (bias, weight) = (numbers("bias", outputs), weight(&stored, inputs, outputs));
        let gelu = Some(Activation::Gelu);
        let of = |input: &[f32]| product(input, &weight, &bias, gelu, fastest());
        let together = of(&input);
        for row in 0..rows {
            let alone = of(&input[row * inputs..][..inputs]);
            assert_eq!(alone, together[row * outputs..][..outputs], "row {row}");
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| of(&input)), together, "{threads} threads");
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let [rows, inputs, outputs] = [3, 9, 4];
        let (input, stored) =
            (numbers("input", rows * inputs), numbers("weight", inputs * outputs));
        let bias = numbers("bias", outputs);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for kind in [None, Some(Activation::Gelu), Some(Activation::Relu)] {
                let mut broken = input.clone();
                broken[inputs + 4] = value;
                let packed = weight(&stored, inputs, outputs);
                let found = product(&broken, &packed, &bias, kind, fastest());
                let finite: Vec<bool> = found.iter().map(|value| value.is_finite()).collect();
                assert_eq!(finite, [[true; 4], [false; 4], [true; 4]].concat(), "{value} {kind:?}");
                let mut broken = stored.clone();
                broken[2 * inputs + 1] = value;
                let packed = weight(&broken, inputs, outputs);
                let found = product(&input, &packed, &bias, kind, fastest());
                let finite: Vec<bool> = found.iter().map(|value| value.is_finite()).collect();
                assert_eq!(finite, [true, true, false, true].repeat(3), "{value} {kind:?}");
            }
        }
    }

    #[test]
    fn weights_whose_sums_might_not_fit_are_not_rounded() {
        assert!(Int8Weight::new(&vec![1.0; MOST_INPUTS], [MOST_INPUTS, 1]).is_some());
        assert!(Int8Weight::new(&vec![1.0; MOST_INPUTS + 1], [MOST_INPUTS + 1, 1]).is_none());
    }
}
