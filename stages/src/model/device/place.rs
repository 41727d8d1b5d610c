//! Where the values of tensors are.

use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;

use super::Value;

/// Where the values of a tensor are. A tensor that another owner shares gets another place when it is
/// updated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place(usize, u64, u64);

impl Place {
    /// `None` if the tensor is not on a GPU.
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Place> {
        Some(Place::of_plain(&Value::of(tensor)?.into_plain()))
    }

    /// The same for a tensor without autodiff. Its number is never used again, also not by a tensor
    /// that gets the memory later.
    pub fn of_plain(tensor: &CubeTensor) -> Place {
        let (id, start, end) = tensor.handle.clone().binding().claim_key();
        Place(id.value, start, end)
    }

    /// The number of the memory that a tensor is in, perhaps with others.
    pub(super) fn memory(tensor: &CubeTensor) -> usize {
        Place::of_plain(tensor).0
    }
}
