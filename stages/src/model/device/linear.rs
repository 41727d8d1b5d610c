//! Matrix products, `y = x W`. The bias is added by the operation that follows.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::{ElemType, FloatKind};
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

use super::operation::{Operation, run};
use super::{contiguous, empty, lines, reshaped, values};
use crate::model::precision::Precision;

/// `x W`. `None` if the tensors are not on a GPU.
///
/// # Shapes
///
/// `input` is `[…, in]` and `weight` is `[in, out]`. The result is `[…, out]`, in f32.
pub fn product<const D: usize>(
    input: &Tensor<D>,
    weight: &Tensor<2>,
    precision: Precision,
) -> Option<Tensor<D>> {
    Some(run(Product { precision }, values!(input, weight)?).tensor())
}

#[derive(Clone, Debug)]
struct Product {
    precision: Precision,
}

#[derive(Clone, Debug)]
struct Saved {
    /// `[lines, in]`, in the format of the factors.
    input: CubeTensor,
    /// `[in, out]`, in the format of the factors.
    weight: CubeTensor,
    shape: Vec<usize>,
}

impl Operation<2> for Product {
    type Saved = Saved;

    fn forward(&self, [input, weight]: [CubeTensor; 2]) -> (CubeTensor, Saved) {
        let shape = input.shape().to_vec();
        let [rows, inputs] = lines(&input);
        let input = reshaped(factor(contiguous(input), self.precision), [rows, inputs]);
        let weight = factor(weight, self.precision);
        let output = multiply(&input, &weight, self.precision);
        let outputs = weight.meta.shape()[1];
        let output = with_last(output, &shape, outputs);
        (output, Saved { input, weight, shape })
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        [of_input, of_weight]: [bool; 2],
    ) -> [Option<CubeTensor>; 2] {
        let [rows, outputs] = lines(&gradient);
        let gradient = factor(contiguous(gradient), self.precision);
        let gradient = reshaped(gradient, [rows, outputs]);
        let of_input = of_input.then(|| {
            let product = multiply(&gradient, &transposed(&saved.weight), self.precision);
            let inputs = saved.input.meta.shape()[1];
            with_last(product, &saved.shape, inputs)
        });
        let of_weight =
            of_weight.then(|| multiply(&transposed(&saved.input), &gradient, self.precision));
        [of_input, of_weight]
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

/// The format in which a tensor is multiplied.
pub(super) fn factor_type(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
    }
}

/// The tensor in the format in which it is multiplied.
pub(super) fn factor(tensor: CubeTensor, precision: Precision) -> CubeTensor {
    let wanted = factor_type(precision);
    if tensor.dtype == wanted { tensor } else { burn_cubecl::kernel::cast(tensor, wanted) }
}

/// A view of `[rows, columns]` as `[columns, rows]`.
pub(super) fn transposed(matrix: &CubeTensor) -> CubeTensor {
    let mut view = matrix.clone();
    view.meta.swap(0, 1);
    view
}

/// The product of `[m, k]` and `[k, n]`, which may be [`transposed`], in f32.
///
/// Which kernel computes it depends on the precision alone, never on measured times, so a result
/// can be repeated. Products of f32 avoid the tensor cores, which would round factors to TF32.
pub(super) fn multiply(left: &CubeTensor, right: &CubeTensor, precision: Precision) -> CubeTensor {
    let (rows, columns) = (left.meta.shape()[0], right.meta.shape()[1]);
    let output = empty(left, [rows, columns], DType::F32);
    let strategy = match precision {
        Precision::F32 => {
            Strategy::MultiLevel(multi_level::Strategy::SimpleUnit(Default::default()))
        }
        Precision::Bf16 => Strategy::Auto,
    };
    let factors = element(left.dtype);
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems {
        lhs: factors,
        rhs: factors,
        out: element(DType::F32),
    });
    let left = InputBinding::new(left.clone().binding(), factors);
    let right = InputBinding::new(right.clone().binding(), factors);
    let launched =
        launch_ref(&strategy, &output.client, left, right, output.clone().binding(), &mut types);
    // Panics like burn's own products, for whoever catches what a device refuses.
    launched.unwrap_or_else(|error| panic!("a matrix product on the device: {error:?}"));
    output
}

/// The element type of a tensor in the kernels.
pub(super) fn element(dtype: DType) -> ElemType {
    let kind = if dtype == DType::BF16 { FloatKind::BF16 } else { FloatKind::F32 };
    ElemType::Float(kind)
}
