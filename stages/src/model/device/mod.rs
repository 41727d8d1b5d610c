//! Kernels for GPUs, in cubecl, for the operations that dominate a training step. Each makes one
//! pass where burn's generic operations make several, and has a hand-written backward pass.
//!
//! They mirror [`super::cpu`]: the same names, the same formulas, the same dropout masks, which
//! the kernels compute from the keys of [`super::noise`]. Every sum has a fixed order, which
//! depends on shapes alone.

pub mod adamw;
pub mod add_norm;
pub mod attention;
pub mod batched;
pub mod cross_entropy;
pub mod dropout;
pub mod embeddings;
pub mod format;
pub mod gated_gelu;
pub mod gelu;
pub mod graph;
pub mod inputs;
pub mod layer_norm;
pub mod linear;
mod noise;
mod norm;
mod operation;
pub mod place;
pub mod products;
pub mod relative_bias;
pub mod rotation;
mod scatter;
pub mod section;
pub mod sent;
pub mod softmax;
mod sums;
pub mod trial;
pub mod twins;
pub mod weights;

use std::ops::Range;

use burn::backend::{Autodiff, BackendTypes, Cube, TensorMetadata};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::MemoryScope;
use cubecl::client::Client;
use cubecl::prelude::*;

/// A tensor on the GPU that autodiff tracks.
type Tracked = <Autodiff<Cube> as BackendTypes>::FloatTensorPrimitive;

/// A tensor on a GPU, of any rank.
#[derive(Clone, Debug)]
pub enum Value {
    /// With autodiff.
    Recorded(Tracked),
    /// Without autodiff.
    Plain(CubeTensor),
}

impl Value {
    /// `None` if the tensor is not on a GPU. The result shares its storage.
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Value> {
        let tensor = tensor.clone();
        if tensor.is_autodiff() {
            tensor.try_into_primitive::<Autodiff<Cube>>().ok().map(Value::Recorded)
        } else {
            tensor.try_into_primitive::<Cube>().ok().map(Value::Plain)
        }
    }

    /// The tensor without autodiff.
    pub fn into_plain(self) -> CubeTensor {
        match self {
            Value::Recorded(tracked) => tracked.into_primitive(),
            Value::Plain(plain) => plain,
        }
    }

    /// The tensor, whose rank must be `D`.
    pub fn tensor<const D: usize>(self) -> Tensor<D> {
        match self {
            Value::Recorded(tracked) => Tensor::from_primitive::<Autodiff<Cube>>(tracked),
            Value::Plain(plain) => Tensor::from_primitive::<Cube>(plain),
        }
    }
}

/// The values of all tensors; `None` if one is not on a GPU.
macro_rules! values {
    ($($tensor:expr),+ $(,)?) => {
        (|| Some([$($crate::model::device::Value::of($tensor)?),+]))()
    };
}
pub(crate) use values;

/// The tensor in row-major order without gaps, copied only if it has another order.
fn contiguous(tensor: CubeTensor) -> CubeTensor {
    burn_cubecl::kernel::into_contiguous(tensor)
}

/// Whether the device has had memory for these tensors, and for all that they were computed from. It
/// does not wait for their values.
///
/// # Errors
/// It has not, or refused to compute one of them: why.
pub fn check<'a>(tensors: impl IntoIterator<Item = &'a CubeTensor>) -> Result<(), String> {
    let mut tensors = tensors.into_iter().peekable();
    let Some(client) = tensors.peek().map(|tensor| tensor.client.clone()) else { return Ok(()) };
    client.check(tensors.map(|tensor| &tensor.handle)).map_err(|error| error.to_string())
}

/// The bytes of the device's memory that its pools do not hold; `None` if they are not known or the tensor is
/// not on a GPU.
pub fn free_bytes<const D: usize>(beside: &Tensor<D>) -> Option<u64> {
    let [held, most] = held_and_most(&Value::of(beside)?.into_plain().client)?;
    Some(most.saturating_sub(held))
}

/// The bytes that the pools of a device hold, and those that it has; `None` if that is not known.
fn held_and_most(client: &Client) -> Option<[u64; 2]> {
    let most = client.properties().memory.max_memory()?;
    Some([client.memory_report(MemoryScope::Device).usage().bytes_reserved, most])
}

/// The longest tensor: the kernels count elements in 32 bits, and a little beyond the end.
const MOST_ELEMENTS: usize = (1 << 32) - (1 << 24);

/// A tensor of this shape beside `other`, whose elements must all be written. The kernels write rows one
/// after the other; what burn makes on CUDA may have gaps between them.
///
/// # Panics
/// It has more than [`MOST_ELEMENTS`]. As with too little memory, smaller batches help.
fn empty(other: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let shape = shape.into();
    let elements = shape.num_elements();
    assert!(
        elements <= MOST_ELEMENTS,
        "out of memory: a tensor of {elements} numbers, of which one may have {MOST_ELEMENTS}; \
         smaller batches have fewer"
    );
    let (client, device) = (other.client.clone(), other.device.clone());
    empty_device_contiguous_dtype(client, device, shape, dtype)
}

/// A tensor of the shape of `other`, whose elements must all be written.
fn like(other: &CubeTensor, dtype: DType) -> CubeTensor {
    empty(other, other.shape(), dtype)
}

/// Zeros beside `like`.
fn zeros(like: &CubeTensor, shape: Shape) -> CubeTensor {
    contiguous(burn_cubecl::ops::numeric::zeros(like.device.clone(), shape, DType::F32))
}

/// A vector of `values` beside `like`.
fn upload(like: &CubeTensor, values: &[u32]) -> CubeTensor {
    sent::note();
    let handle = like.client.create_from_slice(bytemuck::cast_slice(values));
    let (client, device) = (like.client.clone(), like.device.clone());
    CubeTensor::new_contiguous(client, device, Shape::from([values.len()]), handle, DType::U32)
}

/// The same elements as `[lines, width]`, where `width` is the length of the last axis.
fn lines(tensor: &CubeTensor) -> [usize; 2] {
    let shape = tensor.shape();
    let width = shape[shape.num_dims() - 1];
    [shape.num_elements() / width.max(1), width]
}

/// The same contiguous storage under another shape.
fn reshaped<const D: usize>(tensor: CubeTensor, shape: [usize; D]) -> CubeTensor {
    let CubeTensor { client, device, handle, dtype, .. } = tensor;
    CubeTensor::new_contiguous(client, device, Shape::from(shape), handle, dtype)
}

/// Whether the storage of a `[in, out]` matrix is `[out, in]`, perhaps with gaps between its rows.
fn is_turned(matrix: &CubeTensor) -> bool {
    let strides = matrix.meta.strides();
    strides[0] < strides[1]
}

/// A view of `[rows, columns]` as `[columns, rows]`.
fn transposed(matrix: &CubeTensor) -> CubeTensor {
    let mut view = matrix.clone();
    view.meta.swap(0, 1);
    view
}

/// The elements of a vector in `range`: a view if it begins and ends where the device allows it, or else a
/// copy.
fn part(vector: &CubeTensor, range: Range<usize>) -> CubeTensor {
    burn_cubecl::kernel::slice(vector.clone(), std::slice::from_ref(&range))
}

/// The `index`th [`part`] of `length` elements.
fn slice(vector: &CubeTensor, index: usize, length: usize) -> CubeTensor {
    part(vector, index * length..(index + 1) * length)
}

/// Units per cube of the kernels that work on lines.
const UNITS: u32 = 128;

/// At least `cubes` cubes, in a grid that every GPU accepts. Those beyond must do nothing.
fn grid(cubes: usize) -> CubeCount {
    // Vulkan guarantees 65,535 along each axis.
    const LARGEST: usize = 32_768;
    let rows = cubes.div_ceil(LARGEST).max(1);
    CubeCount::Static(cubes.div_ceil(rows).max(1) as u32, rows as u32, 1)
}

/// The number of elements for each of [`UNITS`] units.
fn per_unit(width: usize) -> usize {
    width.div_ceil(UNITS as usize)
}
