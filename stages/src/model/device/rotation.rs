//! Rotary positions (Su et al. 2021).

use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::operation::{Operation, run};
use super::{UNITS, Value, contiguous, grid, like};
use crate::model::cpu::attention::Rotation;

/// The cosines of the angles and then the sines, on a device; `None` if that is not a GPU.
pub fn angles(rotation: &Rotation, device: &Device) -> Option<CubeTensor> {
    // Nothing is sent to find out.
    Value::of(&Tensor::<1>::empty([1], device))?;
    let angles = [&rotation.cosines[..], &rotation.sines].concat();
    let count = angles.len();
    let angles = Tensor::<1>::from_data(TensorData::new(angles, [count]), device);
    Some(Value::of(&angles)?.into_plain())
}

/// Turns the features of each head of the tokens from position 0 on; `None` if they are not on a GPU.
///
/// # Shapes
///
/// `projected` and the result are `[rows, tokens, heads · size]`.
pub fn rotated(projected: &Tensor<3>, rotation: &Rotation) -> Option<Tensor<3>> {
    let (angles, half) = (rotation.angles.clone()?, rotation.half);
    let tokens = projected.dims()[1];
    Some(run(Rotated { angles, half, tokens }, [Value::of(projected)?]).tensor())
}

#[derive(Clone, Debug)]
struct Rotated {
    angles: CubeTensor,
    /// Half the features of a head.
    half: usize,
    tokens: usize,
}

impl Rotated {
    /// Turns by the angles, or back for a `direction` of -1.
    fn turn(&self, features: CubeTensor, direction: f32) -> CubeTensor {
        let features = contiguous(features);
        let output = like(&features, DType::F32);
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
                self.tokens as u32,
                (self.angles.meta.num_elements() / 2) as u32,
                direction,
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
fn rotated_kernel(
    features: &[f32],
    angles: &[f32],
    output: &mut [f32],
    pairs: u32,
    half: u32,
    of_line: u32,
    tokens: u32,
    sines: u32,
    direction: f32,
) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    if at < pairs as usize {
        let (half, of_line) = (half as usize, of_line as usize);
        let (line, within) = (at / of_line, at % of_line);
        let (head, feature) = (within / half, within % half);
        let low = (line * of_line + head * half) * 2 + feature;
        let angle = line % tokens as usize * half + feature;
        let cosine = angles[angle];
        let sine = angles[sines as usize + angle] * direction;
        let (one, other) = (features[low], features[low + half]);
        output[low] = one * cosine - other * sine;
        output[low + half] = other * cosine + one * sine;
    }
}
