//! Fused CPU kernels for the operations that dominate a training step. Each makes one pass where
//! burn's Flex backend makes several, and has a hand-written backward pass.
//!
//! The kernels take and return burn tensors and register with burn's autodiff, so the network in
//! [`super::encoder`] is the same on every device. For tensors that are not on Flex, [`super::ops`]
//! computes the same with burn's own operations. The order of every sum depends on shapes alone,
//! never on the number of threads. Within [`rows_apart`] it depends on the shape of one example
//! alone.

pub mod activation;
pub mod attention;
pub mod bfloat16;
mod exact;
pub mod int8;
pub mod linear;
mod matrix;
pub mod norm;
#[cfg(target_arch = "x86_64")]
mod panels;
pub mod pooling;
mod product;
#[cfg(test)]
mod random;
pub mod vector;
pub mod vocabulary;

use std::cell::Cell;

use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, BackendTypes, Flex};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use self::matrix::SharedPointer;

/// A tensor on the Flex backend that autodiff tracks.
pub type Tracked = <Autodiff<Flex> as BackendTypes>::FloatTensorPrimitive;

/// The backend that holds a tensor.
pub enum Backing {
    /// Flex, with autodiff.
    Recorded(Tracked),
    /// Flex, without autodiff.
    Plain(FlexTensor),
    /// Another backend, for which there are no fused kernels.
    Elsewhere,
}

thread_local! {
    static ELSEWHERE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on this thread as if the device had no fused kernels, so that tests can check burn's
/// own operations on the CPU.
pub fn as_elsewhere<R>(work: impl FnOnce() -> R) -> R {
    ELSEWHERE.set(true);
    let result = work();
    ELSEWHERE.set(false);
    result
}

thread_local! {
    static APART: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on this thread so that the kernels compute each example of a batch as if it were
/// alone: neither the other examples nor the padding changes a bit of its result. This holds on the
/// CPU and without autodiff.
pub fn rows_apart<R>(work: impl FnOnce() -> R) -> R {
    /// A thread that waits inside of `work` may run other work meanwhile, so the end restores what
    /// was before.
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            APART.set(self.0);
        }
    }
    let _restore = Restore(APART.replace(true));
    work()
}

/// Whether this thread is within [`rows_apart`].
fn are_rows_apart() -> bool {
    APART.get()
}

/// Finds the backend of a tensor. The result shares the storage of the tensor.
pub fn backing<const D: usize>(tensor: &Tensor<D>) -> Backing {
    if ELSEWHERE.get() {
        return Backing::Elsewhere;
    }
    if tensor.is_autodiff() {
        match tensor.clone().try_into_primitive::<Autodiff<Flex>>() {
            Ok(tracked) => Backing::Recorded(tracked),
            Err(_) => Backing::Elsewhere,
        }
    } else {
        match tensor.clone().try_into_primitive::<Flex>() {
            Ok(plain) => Backing::Plain(plain),
            Err(_) => Backing::Elsewhere,
        }
    }
}

/// A tensor that takes over `values` without a copy.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// A vector of `count` elements that `write` initialises, which saves zeroing them first.
///
/// # Safety
///
/// `write` must initialise all `count` elements that it is given.
unsafe fn written(count: usize, write: impl FnOnce(SharedPointer)) -> Vec<f32> {
    let mut values = Vec::with_capacity(count);
    write(SharedPointer::spare(&mut values, count));
    // SAFETY: the capacity is `count`, and `write` has initialised every element.
    unsafe { values.set_len(count) };
    values
}

/// The tensor in row-major order, copied only if it has another order.
pub fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// The values of a tensor that is [`contiguous`].
pub fn values(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice::<f32>()
        .unwrap_or_else(|| unreachable!("the network's tensors on the CPU are contiguous f32 here"))
}

/// Elements per task of an element-wise operation: few enough to balance the load, enough to
/// outweigh the cost of a task.
pub const CHUNK: usize = 1 << 15;

/// `left + right` of equal shapes, in the memory of `left` if nothing else shares it.
pub fn sum<const D: usize>(left: Tensor<D>, right: &FlexTensor) -> Tensor<D> {
    let (mut left, right) = (plain(left), contiguous(right));
    let sums = left.storage_mut::<f32>().par_chunks_mut(CHUNK);
    sums.zip(values(&right).par_chunks(CHUNK)).for_each(|(sums, more)| add(sums, more));
    Tensor::from_primitive::<Flex>(left)
}

/// [`sum`] of two tables, where `right` is 0 outside of `rows`.
pub fn sum_of_rows(left: Tensor<2>, right: &FlexTensor, rows: &[usize]) -> Tensor<2> {
    let width = left.dims()[1];
    let (mut left, right) = (plain(left), contiguous(right));
    let (sums, more) = (left.storage_mut::<f32>(), values(&right));
    for row in rows {
        let cells = row * width..(row + 1) * width;
        add(&mut sums[cells.clone()], &more[cells]);
    }
    Tensor::from_primitive::<Flex>(left)
}

fn plain<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    let Ok(tensor) = tensor.try_into_primitive::<Flex>() else {
        unreachable!("`backing` has found the tensors on Flex, without autodiff")
    };
    contiguous(&tensor)
}

fn add(sums: &mut [f32], more: &[f32]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}
