//! The operations that a training step on the CPU spends its time on, each as one pass with a
//! backward pass written by hand: what burn's Flex backend would do in many.
//!
//! Each takes and gives burn tensors and records itself in burn's automatic differentiation, so
//! the network in [`super::encoder`] reads the same on every device; where a tensor does not live
//! on Flex, [`super::ops`] computes the same by burn's own operations. All sums go in an order
//! that depends on shapes alone, never on the number of threads.

pub mod attention;
pub mod bfloat16;
pub mod gelu;
pub mod linear;
pub mod norm;
#[cfg(target_arch = "x86_64")]
pub mod panels;
pub mod product;
pub mod vector;
pub mod vocabulary;

use std::cell::Cell;

use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, BackendTypes, Flex};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

/// A tensor on the Flex backend that takes part in automatic differentiation.
pub type Tracked = <Autodiff<Flex> as BackendTypes>::FloatTensorPrimitive;

/// Where a tensor lives, as far as these operations care.
pub enum Place {
    /// On the CPU, with gradients recorded.
    Recorded(Tracked),
    /// On the CPU, plainly.
    Plain(FlexTensor),
    Elsewhere,
}

thread_local! {
    static ELSEWHERE: Cell<bool> = const { Cell::new(false) };
}

/// Does some work on this thread as on a device that has none of these operations, so that what is
/// computed there can be checked on the CPU.
pub fn as_elsewhere<R>(work: impl FnOnce() -> R) -> R {
    ELSEWHERE.set(true);
    let result = work();
    ELSEWHERE.set(false);
    result
}

/// Finds out where a tensor lives; the result shares its storage.
pub fn place<const D: usize>(tensor: &Tensor<D>) -> Place {
    if ELSEWHERE.get() {
        return Place::Elsewhere;
    }
    if tensor.is_autodiff() {
        match tensor.clone().try_into_primitive::<Autodiff<Flex>>() {
            Ok(tracked) => Place::Recorded(tracked),
            Err(_) => Place::Elsewhere,
        }
    } else {
        match tensor.clone().try_into_primitive::<Flex>() {
            Ok(plain) => Place::Plain(plain),
            Err(_) => Place::Elsewhere,
        }
    }
}

/// A tensor of these values, without a copy.
pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// A vector whose elements `write` writes, which spares setting them to 0 before.
///
/// # Safety
///
/// `write` must write all `count` elements from the address that it is given.
pub unsafe fn written(count: usize, write: impl FnOnce(*mut f32)) -> Vec<f32> {
    let mut values = Vec::with_capacity(count);
    write(values.as_mut_ptr());
    // SAFETY: the capacity is there, and the caller has written the elements.
    unsafe { values.set_len(count) };
    values
}

/// The values in row-major order; copied only if they lie in another order.
pub fn contiguous(tensor: &FlexTensor) -> FlexTensor {
    tensor.to_contiguous()
}

/// The values of a tensor that [`contiguous`] gave.
pub fn values(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice::<f32>()
        .unwrap_or_else(|| unreachable!("the network's tensors on the CPU are contiguous f32 here"))
}

/// Elements that one task works on, where each stands for itself: small enough to share out, large
/// enough to be worth it.
pub const CHUNK: usize = 1 << 15;

/// `left + right` of the same shape, in the memory of `left` if that is nobody else's.
pub fn sum<const D: usize>(left: Tensor<D>, right: &FlexTensor) -> Tensor<D> {
    let (mut left, right) = (plain(left), contiguous(right));
    let sums = left.storage_mut::<f32>().par_chunks_mut(CHUNK);
    sums.zip(values(&right).par_chunks(CHUNK)).for_each(|(sums, more)| add(sums, more));
    Tensor::from_primitive::<Flex>(left)
}

/// [`sum`] of tables of which `right` is 0 outside of these rows.
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
        unreachable!(
            "`place` has found the tensors on the CPU, outside of automatic differentiation"
        )
    };
    contiguous(&tensor)
}

fn add(sums: &mut [f32], more: &[f32]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

/// A pointer that tasks share while each writes to elements of its own.
#[derive(Clone, Copy)]
pub struct SharedPointer<T = f32>(*mut T);

// SAFETY: every user of `SharedPointer` states why its tasks write disjoint elements.
unsafe impl<T: Send> Send for SharedPointer<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedPointer<T> {}

impl<T: Copy> SharedPointer<T> {
    pub fn new(values: &mut [T]) -> SharedPointer<T> {
        SharedPointer(values.as_mut_ptr())
    }

    /// Of memory that begins at `first`.
    pub fn of(first: *mut T) -> SharedPointer<T> {
        SharedPointer(first)
    }

    /// The address of element `index`.
    pub fn at(self, index: usize) -> *mut T {
        self.0.wrapping_add(index)
    }
}
