//! Matrix products, `y = x W`. The bias is added by the operation that follows.

use std::ops::Range;

use burn::backend::TensorMetadata;
use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;

use super::format::factor;
use super::operation::{Operation, run};
use super::products::multiply;
use super::twins::Twins;
use super::{Value, contiguous, is_turned, lines, reshaped, transposed, values};
use crate::model::precision::Precision;

/// What a product reads in the format of factors, as far as it has been made.
#[derive(Clone, Debug, Default)]
pub struct Factor {
    /// The weight, or several side by side, `[out, in]`.
    pub weight: Option<CubeTensor>,
    /// Where the twin of the input may be.
    pub twins: Twins,
}

impl Factor {
    /// Those of query, key and value, whose weights this one has side by side.
    pub fn apart(&self) -> [Factor; 3] {
        [0, 1, 2].map(|nth| self.outputs(nth..nth + 1))
    }

    /// Some of the thirds of the weight.
    pub(super) fn outputs(&self, thirds: Range<usize>) -> Factor {
        let part = |whole: &CubeTensor| {
            let [outputs, inputs] = [whole.meta.shape()[0], whole.meta.shape()[1]];
            let range = outputs / 3 * thirds.start..outputs / 3 * thirds.end;
            burn_cubecl::kernel::slice(whole.clone(), &[range, 0..inputs])
        };
        Factor { weight: self.weight.as_ref().map(part), twins: self.twins.clone() }
    }
}

/// `x W`. `None` if the tensors are not on a GPU.
///
/// # Shapes
///
/// `input` is `[…, in]` and `weight` is `[in, out]`. The result is `[…, out]`, in f32.
pub fn product<const D: usize>(
    input: &Tensor<D>,
    weight: &Tensor<2>,
    factor: &Factor,
    precision: Precision,
) -> Option<Tensor<D>> {
    let operation = Product { factor: factor.clone(), precision };
    Some(run(operation, values!(input, weight)?).tensor())
}

/// The products of an input and several weights of equal shape, side by side.
///
/// # Shapes
///
/// `input` is `[…, in]`, the weights are `[in, out]`, that of `factor` is `[weights · out, in]`. The
/// result is `[…, weights · out]`, in f32.
pub fn products<const D: usize, const N: usize>(
    input: &Tensor<D>,
    weights: [&Tensor<2>; N],
    factor: &Factor,
    precision: Precision,
) -> Option<Tensor<D>> {
    let operation = Product { factor: factor.clone(), precision };
    let input = Value::of(input)?;
    let mut all = vec![input];
    for weight in weights {
        all.push(Value::of(weight)?);
    }
    Some(match <[Value; 3]>::try_from(all) {
        Ok(inputs) => run(operation, inputs).tensor(),
        Err(all) => run(operation, <[Value; 4]>::try_from(all).ok()?).tensor(),
    })
}

/// The product of an input and the weights that follow it.
#[derive(Clone, Debug)]
struct Product {
    factor: Factor,
    precision: Precision,
}

#[derive(Clone, Debug)]
struct Saved {
    /// `[lines, in]`, in the format of the factors.
    input: CubeTensor,
    /// `[in, out]`, in the format of the factors.
    weight: CubeTensor,
    shape: Vec<usize>,
    /// Whether the storage of the weights is `[out, in]`.
    turned: bool,
}

impl<const N: usize> Operation<N> for Product {
    type Saved = Saved;

    fn forward(&self, inputs: [CubeTensor; N]) -> (CubeTensor, Saved) {
        let mut inputs = inputs.into_iter();
        let (Some(input), Some(weight)) = (inputs.next(), inputs.next()) else {
            unreachable!("an input and at least one weight")
        };
        let shape = input.shape().to_vec();
        let [rows, width] = lines(&input);
        let twin = self.factor.twins.of(&input);
        let input = twin.unwrap_or_else(|| factor(contiguous(input), self.precision));
        let input = reshaped(input, [rows, width]);
        let turned = is_turned(&weight);
        let weight = match &self.factor.weight {
            Some(weight) => transposed(weight),
            // The cast keeps the storage of what it is given.
            None if turned => transposed(&factor(transposed(&weight), self.precision)),
            None => factor(weight, self.precision),
        };
        let output = multiply(&input, &weight, self.precision);
        let outputs = weight.meta.shape()[1];
        let output = with_last(output, &shape, outputs);
        (output, Saved { input, weight, shape, turned })
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        wanted: [bool; N],
    ) -> [Option<CubeTensor>; N] {
        let [rows, outputs] = lines(&gradient);
        let gradient = factor(contiguous(gradient), self.precision);
        let gradient = reshaped(gradient, [rows, outputs]);
        let mut found = [const { None }; N];
        if wanted[0] {
            let product = multiply(&gradient, &transposed(&saved.weight), self.precision);
            let inputs = saved.input.meta.shape()[1];
            found[0] = Some(with_last(product, &saved.shape, inputs));
        }
        if !wanted[1..].contains(&true) {
            return found;
        }
        if saved.turned {
            let whole = multiply(&transposed(&gradient), &saved.input, self.precision);
            let each = outputs / (N - 1);
            let width = saved.input.meta.shape()[1];
            for (nth, found) in found[1..].iter_mut().enumerate() {
                let range = nth * each..(nth + 1) * each;
                let part = burn_cubecl::kernel::slice(whole.clone(), &[range, 0..width]);
                *found = Some(transposed(&part));
            }
        } else {
            found[1] = Some(multiply(&transposed(&saved.input), &gradient, self.precision));
        }
        found
    }
}

/// The same elements as `shape` with another last axis.
fn with_last(tensor: CubeTensor, shape: &[usize], last: usize) -> CubeTensor {
    let mut shape = shape.to_vec();
    if let Some(length) = shape.last_mut() {
        *length = last;
    }
    let CubeTensor { client, device, handle, dtype, .. } = tensor;
    CubeTensor::new_contiguous(client, device, shape.into(), handle, dtype)
}
