//! Cross-entropy with its gradient, in one pass over the logits.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::operation::{Operation, run};
use super::sums::sum_of_units;
use super::{UNITS, Value, contiguous, empty, like};

/// `-Σ targets · ln softmax(logits)`: the targets are the factors of the logarithms, and need not sum
/// to 1. `None` if the tensors are not on a GPU.
///
/// Forward reads the logits and writes their gradient, backward multiplies it by that of the loss.
/// One unit computes a row, in the order of the classes, and one all rows' sum: there are few of
/// both in a batch.
///
/// # Shapes
///
/// `logits` and `targets` are `[rows, classes]`. The result is `[1]`.
pub fn cross_entropy(logits: &Tensor<2>, targets: &Tensor<2>) -> Option<Tensor<1>> {
    let targets = contiguous(Value::of(targets)?.into_plain());
    Some(run(CrossEntropy { targets }, [Value::of(logits)?]).tensor())
}

#[derive(Clone, Debug)]
struct CrossEntropy {
    targets: CubeTensor,
}

impl Operation<1> for CrossEntropy {
    /// The gradient of the logits.
    type Saved = CubeTensor;

    fn forward(&self, [logits]: [CubeTensor; 1]) -> (CubeTensor, CubeTensor) {
        let logits = contiguous(logits);
        let [rows, classes] = super::lines(&logits);
        let of_logits = like(&logits, DType::F32);
        let loss = empty(&logits, [1], DType::F32);
        // SAFETY: one cube goes through all rows of tensors of one shape.
        unsafe {
            forward_kernel::launch_unchecked(
                &logits.client,
                CubeCount::Static(1, 1, 1),
                CubeDim::new_1d(UNITS),
                logits.clone().into_buffer_arg(),
                self.targets.clone().into_buffer_arg(),
                of_logits.clone().into_buffer_arg(),
                loss.clone().into_buffer_arg(),
                rows as u32,
                classes as u32,
            );
        }
        (loss, of_logits)
    }

    fn backward(
        &self,
        of_logits: CubeTensor,
        gradient: CubeTensor,
        _: [bool; 1],
    ) -> [Option<CubeTensor>; 1] {
        let [rows, classes] = super::lines(&of_logits);
        let scaled = like(&of_logits, DType::F32);
        // SAFETY: units beyond the elements do nothing.
        unsafe {
            backward_kernel::launch_unchecked(
                &of_logits.client,
                super::grid((rows * classes).div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                of_logits.clone().into_buffer_arg(),
                contiguous(gradient).into_buffer_arg(),
                scaled.clone().into_buffer_arg(),
                (rows * classes) as u32,
            );
        }
        [Some(scaled)]
    }
}

#[cube(launch_unchecked)]
fn forward_kernel(
    logits: &[f32],
    targets: &[f32],
    of_logits: &mut [f32],
    loss: &mut [f32],
    rows: u32,
    classes: u32,
) {
    let mut sums = Shared::<[f32]>::new_slice(UNITS as usize);
    let classes = classes as usize;
    let mut sum = 0.0f32;
    let mut row = UNIT_POS as usize;
    while row < rows as usize {
        let start = row * classes;
        let mut highest = logits[start];
        for class in 1..classes {
            highest = max(highest, logits[start + class]);
        }
        let mut total = 0.0f32;
        let mut weight = 0.0f32;
        for class in 0..classes {
            total += (logits[start + class] - highest).exp();
            weight += targets[start + class];
        }
        let logarithm = highest + total.ln();
        for class in 0..classes {
            let at = start + class;
            let share = (logits[at] - logarithm).exp();
            of_logits[at] = share * weight - targets[at];
            sum -= targets[at] * (logits[at] - logarithm);
        }
        row += UNITS as usize;
    }
    let total = sum_of_units(sum, &mut sums, UNITS);
    if UNIT_POS == 0 {
        loss[0] = total;
    }
}

#[cube(launch_unchecked)]
fn backward_kernel(of_logits: &[f32], gradient: &[f32], scaled: &mut [f32], count: u32) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    if at < count as usize {
        scaled[at] = of_logits[at] * gradient[0];
    }
}
