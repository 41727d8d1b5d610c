//! Where the values of tensors are.

use burn_cubecl::tensor::CubeTensor;

/// Where the values of a tensor are. A tensor that another owner shares gets another place when it is
/// updated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place(usize, u64, u64);

impl Place {
    /// Its number is never used again, also not by a tensor that gets the memory later.
    pub fn of(tensor: &CubeTensor) -> Place {
        let (id, start, end) = tensor.handle.clone().binding().claim_key();
        Place(id.value, start, end)
    }

    /// The number of the memory that a tensor is in, perhaps with others.
    pub(super) fn memory(tensor: &CubeTensor) -> usize {
        Place::of(tensor).0
    }
}
