//! Rotary positions (Su et al. 2021).

use burn::tensor::{Device, Tensor, TensorData};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::format::element;
use super::operation::{Operation, run};
use super::{UNITS, Value, contiguous, grid, like};
use crate::model::cpu::attention::{AttentionOptions, Rotation};

/// The cosines of the angles and then the sines, on a device; `None` if that is not a GPU.
pub fn angles(rotation: &Rotation, device: &Device) -> Option<CubeTensor> {
    // Nothing is sent to find out.
    Value::of(&Tensor::<1>::empty([1], device))?;
    let angles = [&rotation.cosines[..], &rotation.sines].concat();
    let count = angles.len();
    let angles = Tensor::<1>::from_data(TensorData::new(angles, [count]), device);
    Some(Value::of(&angles)?.into_plain())
}

/// Turns the queries and keys of the tokens from position 0 on, if they are on a GPU and `options` have a
/// rotation, which the returned ones have no more.
///
/// # Shapes
///
/// `projected` and the result are `[rows, tokens, 3 · hidden]`: queries, keys and values side by side.
pub fn rotated_joint(
    projected: Tensor<3>,
    options: AttentionOptions,
) -> (Tensor<3>, AttentionOptions) {
    let rotated = options.rotation.as_ref().and_then(|rotation| {
        let (angles, half) = (rotation.angles.clone()?, rotation.half);
        let [_, tokens, features] = projected.dims();
        let operation = Rotated { angles, half, tokens, turned: features / 3 * 2 };
        Some(run(operation, [Value::of(&projected)?]).tensor())
    });
    match rotated {
        Some(rotated) => (rotated, AttentionOptions { rotation: None, ..options }),
        None => (projected, options),
    }
}

#[derive(Clone, Debug)]
struct Rotated {
    angles: CubeTensor,
    /// Half the features of a head.
    half: usize,
    tokens: usize,
    /// The features that are turned; those after them stay as they are.
    turned: usize,
}

impl Rotated {
    /// Turns by the angles, or back for a `direction` of -1. The format stays.
    fn turn(&self, features: CubeTensor, direction: f32) -> CubeTensor {
        let features = contiguous(features);
        let output = like(&features, features.dtype);
        let [lines, hidden] = super::lines(&features);
        let pairs = lines * hidden / 2;
        // SAFETY: units beyond the pairs do nothing, and there are angles for all tokens.
        unsafe {
            rotated_kernel::launch_unchecked(
                &features.client,
                grid(pairs.div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                features.clone().into_buffer_arg(),
                self.angles.clone().into_buffer_arg(),
                output.clone().into_buffer_arg(),
                pairs as u32,
                self.half as u32,
                (hidden / 2) as u32,
                (self.turned / 2) as u32,
                self.tokens as u32,
                (self.angles.meta.num_elements() / 2) as u32,
                direction,
                element(features.dtype),
            );
        }
        output
    }
}

impl Operation<1> for Rotated {
    type Saved = ();

    fn forward(&self, [features]: [CubeTensor; 1]) -> (CubeTensor, ()) {
        (self.turn(features, 1.0), ())
    }

    fn backward(&self, _: (), gradient: CubeTensor, _: [bool; 1]) -> [Option<CubeTensor>; 1] {
        [Some(self.turn(gradient, -1.0))]
    }
}

/// A unit for each pair of features.
#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the sizes of one formula")]
fn rotated_kernel<F: Float>(
    features: &[F],
    angles: &[f32],
    output: &mut [F],
    pairs: u32,
    half: u32,
    of_line: u32,
    turned: u32,
    tokens: u32,
    sines: u32,
    direction: f32,
    #[define(F)] _factor: ElemType,
) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    if at < pairs as usize {
        let (half, of_line) = (half as usize, of_line as usize);
        let (line, within) = (at / of_line, at % of_line);
        let (head, feature) = (within / half, within % half);
        let low = (line * of_line + head * half) * 2 + feature;
        let (mut one, mut other) = (features[low], features[low + half]);
        if within < turned as usize {
            let angle = line % tokens as usize * half + feature;
            let cosine = angles[angle];
            let sine = angles[sines as usize + angle] * direction;
            let (low, high) = (f32::cast_from(one), f32::cast_from(other));
            one = F::cast_from(low * cosine - high * sine);
            other = F::cast_from(high * cosine + low * sine);
        }
        output[low] = one;
        output[low + half] = other;
    }
}
