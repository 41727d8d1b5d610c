//! The gradient of a parameter.

use burn::tensor::Tensor;

use crate::model::ops;
use crate::stage::error::StageError;

/// The values of a gradient, and for a table the rows that are not all 0.
pub type HostGradient = (Vec<f32>, Option<Vec<usize>>);

/// The gradient of one parameter, without autodiff.
#[derive(Clone, Debug)]
pub enum Gradient {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
    /// The gradient of a table on the CPU. It is 0 outside of `rows`, which ascend.
    Table {
        whole: Tensor<2>,
        rows: Vec<usize>,
    },
}

impl Gradient {
    /// The sum of two gradients of one parameter.
    pub(super) fn plus(self, other: Gradient) -> Gradient {
        match (self, other) {
            (Gradient::Vector(left), Gradient::Vector(right)) => {
                Gradient::Vector(ops::sum(left, right))
            }
            (Gradient::Matrix(left), Gradient::Matrix(right)) => {
                Gradient::Matrix(ops::sum(left, right))
            }
            (Gradient::Table { whole, mut rows }, Gradient::Table { whole: other, rows: more }) => {
                let whole = ops::sum_of_rows(whole, &other, &more);
                rows.extend(more);
                rows.sort_unstable();
                rows.dedup();
                Gradient::Table { whole, rows }
            }
            (left, _) => unreachable!("two gradients of one parameter differ in rank: {left:?}"),
        }
    }

    /// Whether the values are in the memory of this process.
    pub fn is_on_host(&self) -> bool {
        match self {
            Gradient::Vector(tensor) => ops::is_on_host(tensor),
            Gradient::Matrix(tensor) | Gradient::Table { whole: tensor, .. } => {
                ops::is_on_host(tensor)
            }
        }
    }

    /// The values in row-major order, without a copy if nothing shares them, and for a table the
    /// rows that are not all 0. Fails if the values are not f32.
    pub fn into_host(self) -> Result<HostGradient, StageError> {
        let (data, rows) = match self {
            Gradient::Vector(tensor) => (tensor.into_data(), None),
            Gradient::Matrix(tensor) => (tensor.into_data(), None),
            Gradient::Table { whole, rows } => (whole.into_data(), Some(rows)),
        };
        let values = data.try_into_vec::<f32>().map_err(|error| StageError::Unavailable {
            what: "a gradient as f32".to_owned(),
            problem: error.to_string(),
        })?;
        Ok((values, rows))
    }

    /// The values as a matrix on their device, `[1, count]` for a vector.
    pub fn into_matrix(self) -> Tensor<2> {
        match self {
            Gradient::Vector(tensor) => tensor.unsqueeze(),
            Gradient::Matrix(tensor) | Gradient::Table { whole: tensor, .. } => tensor,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;

    #[test]
    fn a_gradient_that_is_not_f32_is_an_error_and_not_an_empty_gradient() {
        let tensor = Tensor::<1>::zeros([3], &Device::flex());
        let found = Gradient::Vector(tensor.clone()).into_host().unwrap();
        assert_eq!(found, (vec![0.0; 3], None));
        assert!(Gradient::Vector(tensor.cast(DType::F64)).into_host().is_err());
    }
}
