//! The parameters of a model. Building a model requests every tensor from a [`ParameterSource`] by
//! its checkpoint name; the optimiser and the writer iterate over the same names.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData, assert_shape};

use super::affine::{Affine, Weight};
use super::cpu::int8::Int8Weight;
#[cfg(feature = "device")]
use super::device::{self, Value, weights::Copies};
use super::ops::{self, Factor};
use super::precision::Precision;
use crate::stage::error::StageError;

/// The initial values of a parameter that no checkpoint provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Normal with mean 0 and `initializer_range` (0.02) as standard deviation.
    Normal,
    Zeros,
    Ones,
}

/// Provides the values of named tensors.
pub trait ParameterSource {
    /// Row-major values of the tensor `name`, `shape` as in a checkpoint (linear weights are
    /// `[out, in]` there). The source collects missing and misshapen tensors and reports them
    /// together, so the result always has as many values as the shape.
    fn values(&mut self, name: &str, shape: &[usize], start: Start) -> Vec<f32>;

    /// Whether linear layers round their weights to 8 bits.
    fn rounds_weights(&self) -> bool {
        false
    }
}

/// One parameter of a model, to be read or replaced.
pub enum Parameter<'a> {
    /// A bias, or a layer norm's scale or shift.
    Vector(&'a mut Tensor<1>),
    /// A linear weight, held `[in, out]`; a checkpoint has `[out, in]`.
    Weight(&'a mut Tensor<2>),
    /// An embedding table `[entries, features]`, as in a checkpoint.
    Table(&'a mut Tensor<2>),
    /// The weight of a convolution over `size` tokens, held `[in · size, out]`; a checkpoint has
    /// `[out, in, size]`.
    Kernel { weight: &'a mut Tensor<2>, size: usize },
}

/// A network as the optimiser, checkpoints and the writer see it: named parameters.
pub trait Network: Clone {
    /// Every parameter under its checkpoint name (`roberta.embeddings…`, `classifier…`), in the
    /// same order every time.
    fn parameters(&mut self) -> Vec<(String, Parameter<'_>)>;

    /// Where a GPU holds copies of weights. Who changes weights in place changes these as well.
    #[cfg(feature = "device")]
    fn copies(&self) -> Option<Copies> {
        None
    }

    /// The number of elements of all parameters.
    fn parameter_count(&mut self) -> usize {
        self.parameters().iter().map(|(_, parameter)| parameter.count()).sum()
    }

    /// Whether the parameters are in the memory of this process.
    fn is_on_host(&mut self) -> bool {
        self.parameters().first().is_some_and(|(_, parameter)| parameter.is_on_host())
    }

    /// The bytes that are free on the GPU that the parameters are on; `None` if that is not known.
    fn free_device_bytes(&mut self) -> Option<u64> {
        self.parameters().first().and_then(|(_, parameter)| parameter.free_bytes())
    }

    /// Whether a GPU has had memory for the parameters.
    ///
    /// # Errors
    /// It has not: why.
    #[cfg(feature = "device")]
    fn check_memory(&mut self) -> Result<(), String> {
        let parameters = self.parameters();
        let values = parameters.iter().filter_map(|(_, parameter)| parameter.value());
        device::check(&values.map(Value::into_plain).collect::<Vec<_>>())
    }

    #[cfg(not(feature = "device"))]
    fn check_memory(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// The same network without autodiff, for evaluation. It shares the tensors.
    fn frozen(&self) -> Self {
        let mut copy = self.clone();
        copy.parameters().into_iter().for_each(|(_, parameter)| parameter.leave_autodiff());
        copy
    }

    /// The same network without autodiff, to be kept while training goes on. On a GPU it has tensors of
    /// its own, since a recorded step reads those of the training where they are.
    fn kept(&self) -> Self {
        let mut copy = self.frozen();
        copy.parameters().into_iter().for_each(|(_, parameter)| parameter.leave_shared());
        copy
    }

    /// The same network with separate autodiff nodes and shared values, so that two threads can use
    /// both without contention.
    fn apart(&self) -> Self {
        let mut copy = self.clone();
        copy.parameters().into_iter().for_each(|(_, parameter)| parameter.separate());
        copy
    }
}

/// Evaluates `$body` for the tensor of a parameter, whatever its rank.
macro_rules! of_tensor {
    ($parameter:expr, $tensor:ident => $body:expr) => {
        match $parameter {
            Parameter::Vector($tensor) => $body,
            Parameter::Weight($tensor)
            | Parameter::Table($tensor)
            | Parameter::Kernel { weight: $tensor, .. } => $body,
        }
    };
}

impl Parameter<'_> {
    /// The number of elements.
    pub fn count(&self) -> usize {
        of_tensor!(self, tensor => tensor.dims().iter().product())
    }

    pub fn device(&self) -> Device {
        of_tensor!(self, tensor => tensor.device())
    }

    fn is_on_host(&self) -> bool {
        of_tensor!(self, tensor => ops::is_on_host(tensor))
    }

    /// The tensor, if it is on a GPU. It shares the storage.
    #[cfg(feature = "device")]
    pub fn value(&self) -> Option<Value> {
        of_tensor!(self, tensor => Value::of(tensor))
    }

    /// The bytes that are free on the GPU that it is on; `None` if that is not known.
    fn free_bytes(&self) -> Option<u64> {
        of_tensor!(self, tensor => ops::free_bytes_beside(tensor))
    }

    /// The values in the layout of the tensor, row-major. An error names `path`, the file or folder
    /// for which they are read.
    pub fn values(&self, path: &Path) -> Result<Vec<f32>, StageError> {
        of_tensor!(self, tensor => read(tensor, path))
    }

    /// Replaces the values. There must be as many as before.
    pub fn replace(self, values: &[f32]) {
        match self {
            Parameter::Weight(tensor) | Parameter::Kernel { weight: tensor, .. }
                if !ops::is_on_host(tensor) =>
            {
                let [inputs, outputs] = tensor.dims();
                let stored = transposed(values, inputs, outputs);
                *tensor = weight(&stored, [inputs, outputs], &tensor.device());
            }
            Parameter::Weight(tensor)
            | Parameter::Table(tensor)
            | Parameter::Kernel { weight: tensor, .. } => {
                *tensor = leaf(matrix(values.to_vec(), tensor.dims(), &tensor.device()));
            }
            Parameter::Vector(tensor) => {
                let data = TensorData::new(values.to_vec(), tensor.dims());
                *tensor = leaf(Tensor::from_data(data, &tensor.device()));
            }
        }
    }

    /// Makes a matrix of values in the layout of the parameter, stored like it and without
    /// autodiff; `[1, count]` for a vector.
    pub fn companion(&self) -> impl Fn(&[f32]) -> Tensor<2> + use<> {
        let is_weight = matches!(self, Parameter::Weight(_) | Parameter::Kernel { .. });
        let device = self.device().inner();
        let shape = match self {
            Parameter::Vector(tensor) => [1, tensor.dims()[0]],
            Parameter::Weight(tensor)
            | Parameter::Table(tensor)
            | Parameter::Kernel { weight: tensor, .. } => tensor.dims(),
        };
        move |values| match is_weight {
            true => weight(&transposed(values, shape[0], shape[1]), shape, &device),
            false => matrix(values.to_vec(), shape, &device),
        }
    }

    /// Removes it from the backward pass. It stays usable in a network with autodiff.
    pub fn detach(self) {
        of_tensor!(self, tensor => *tensor = Tensor::from_inner(tensor.clone().inner()))
    }

    fn leave_autodiff(self) {
        of_tensor!(self, tensor => *tensor = tensor.clone().inner())
    }

    fn leave_shared(self) {
        of_tensor!(self, tensor => if let Some(own) = ops::copied_on_device(tensor) {
            *tensor = own;
        })
    }

    /// Gives a trained parameter an autodiff node of its own.
    fn separate(self) {
        of_tensor!(self, tensor => if tensor.is_require_grad() {
            *tensor = leaf(Tensor::from_inner(tensor.clone().inner()));
        })
    }
}

/// The values of a tensor. An error names `path`, the file or folder for which they are read.
pub fn read<const D: usize>(tensor: &Tensor<D>, path: &Path) -> Result<Vec<f32>, StageError> {
    tensor.clone().try_into_vec_as::<f32>().map_err(|error| StageError::File {
        path: path.to_owned(),
        problem: format!("cannot read a tensor from the device: {error}"),
    })
}

/// `y = x W + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    pub weight: Weight,
    /// `[out]`
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// Takes `{name}.weight` and `{name}.bias`.
    pub fn new(
        source: &mut dyn ParameterSource,
        name: &str,
        shape: [usize; 2],
        device: &Device,
    ) -> Linear {
        Linear::with_bias(source, name, shape, true, device)
    }

    /// Takes `{name}.weight`, and `{name}.bias` if `has_bias`.
    pub fn with_bias(
        source: &mut dyn ParameterSource,
        name: &str,
        [inputs, outputs]: [usize; 2],
        has_bias: bool,
        device: &Device,
    ) -> Linear {
        let stored = source.values(&format!("{name}.weight"), &[outputs, inputs], Start::Normal);
        let rounded = source.rounds_weights().then(|| Int8Weight::new(&stored, [inputs, outputs]));
        let weight = match rounded.flatten() {
            Some(rounded) => Weight::Int8(Arc::new(rounded)),
            None => Weight::Floats(Box::new(weight(&stored, [inputs, outputs], device))),
        };
        let bias = has_bias
            .then(|| vector(source, &format!("{name}.bias"), outputs, Start::Zeros, device));
        Linear { weight, bias }
    }

    /// [`new`](Self::new) with a weight that is never rounded, for a layer that is small and whose
    /// results matter most.
    pub fn in_floats(
        source: &mut dyn ParameterSource,
        name: &str,
        [inputs, outputs]: [usize; 2],
        device: &Device,
    ) -> Linear {
        let stored = source.values(&format!("{name}.weight"), &[outputs, inputs], Start::Normal);
        let weight = Weight::Floats(Box::new(weight(&stored, [inputs, outputs], device)));
        let bias = vector(source, &format!("{name}.bias"), outputs, Start::Zeros, device);
        Linear { weight, bias: Some(bias) }
    }

    /// # Shapes
    ///
    /// `[…, in]` to `[…, out]`.
    pub fn forward<const D: usize>(&self, input: Tensor<D>, precision: Precision) -> Tensor<D> {
        self.forward_by(input, &Factor::default(), precision)
    }

    /// [`forward`](Self::forward), where `factor` has what a product on a GPU reads.
    pub fn forward_by<const D: usize>(
        &self,
        input: Tensor<D>,
        factor: &Factor,
        precision: Precision,
    ) -> Tensor<D> {
        assert_shape!(input, [.., self.weight.dims()[0]]);
        #[cfg(feature = "device")]
        if let (None, Some(weight)) = (&self.bias, self.weight.floats())
            && let Some(product) = device::linear::product(&input, weight, factor, precision)
        {
            return product;
        }
        ops::linear(input, &self.affine(), factor, precision)
    }

    pub fn affine(&self) -> Affine {
        let zeros = || Tensor::zeros([self.weight.dims()[1]], &self.weight.device());
        Affine { weight: self.weight.clone(), bias: self.bias.clone().unwrap_or_else(zeros) }
    }

    /// Appends the parameters under their checkpoint names. A rounded weight is none: it is not trained.
    pub fn collect<'a>(&'a mut self, name: &str, into: &mut Vec<(String, Parameter<'a>)>) {
        if let Weight::Floats(weight) = &mut self.weight {
            into.push((format!("{name}.weight"), Parameter::Weight(weight)));
        }
        if let Some(bias) = &mut self.bias {
            into.push((format!("{name}.bias"), Parameter::Vector(bias)));
        }
    }
}

/// A linear weight `[in, out]` from its values in a checkpoint, `[out, in]`. On a GPU they are stored as
/// they come, so that those of several layers can be multiplied as one.
pub fn weight(stored: &[f32], [inputs, outputs]: [usize; 2], device: &Device) -> Tensor<2> {
    if device.clone().inner() == Device::flex() {
        return leaf(matrix(transposed(stored, outputs, inputs), [inputs, outputs], device));
    }
    let plain = matrix(stored.to_vec(), [outputs, inputs], &device.clone().inner()).transpose();
    if device.is_autodiff() { leaf(Tensor::from_inner(plain)) } else { plain }
}

/// A matrix from its values in row-major order. On some GPUs burn leaves gaps between the rows of what it
/// is given as a matrix, and each kernel that reads them would copy it first.
fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    let plain = device.clone().inner();
    if plain == Device::flex() {
        return Tensor::from_data(TensorData::new(values, shape), device);
    }
    let count = values.len();
    let vector = Tensor::<1>::from_data(TensorData::new(values, [count]), &plain);
    let matrix = vector.reshape(shape);
    if device.is_autodiff() { Tensor::from_inner(matrix) } else { matrix }
}

/// A vector parameter.
pub fn vector(
    source: &mut dyn ParameterSource,
    name: &str,
    length: usize,
    start: Start,
    device: &Device,
) -> Tensor<1> {
    let values = source.values(name, &[length], start);
    leaf(Tensor::from_data(TensorData::new(values, [length]), device))
}

/// An embedding table.
pub fn table(
    source: &mut dyn ParameterSource,
    name: &str,
    shape: [usize; 2],
    device: &Device,
) -> Tensor<2> {
    let values = source.values(name, &shape, Start::Normal);
    leaf(matrix(values, shape, device))
}

/// Requires a gradient if autodiff is active.
pub fn leaf<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.is_autodiff() { tensor.require_grad() } else { tensor }
}

/// A row-major `[rows, columns]` matrix as row-major `[columns, rows]`, in tiles that stay in
/// the cache.
pub fn transposed<T: Copy + Default>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    const TILE: usize = 32;
    let mut result = vec![T::default(); values.len()];
    for row_start in (0..rows).step_by(TILE) {
        for column_start in (0..columns).step_by(TILE) {
            for row in row_start..rows.min(row_start + TILE) {
                for column in column_start..columns.min(column_start + TILE) {
                    result[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    result
}
