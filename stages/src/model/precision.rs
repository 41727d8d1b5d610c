//! The number format of the factors of matrix products.

#[cfg(feature = "model")]
use burn::tensor::{DType, Device, Tensor};

#[cfg(feature = "model")]
use super::cpu::{bfloat16, int8};
use crate::stage::choice::choice;

choice! {
    /// The number format of the factors of matrix products. Parameters, sums, norms, softmax and
    /// the optimiser always use f32.
    #[cfg_attr(feature = "device", derive(Hash, serde::Serialize, serde::Deserialize))]
    pub enum Precision {
        F32 = "f32",
        /// On a GPU with tensor cores factors are rounded to TF32, with 10 bits of precision, before
        /// they are multiplied. Elsewhere the same as f32.
        Tf32 = "tf32",
        /// Factors are rounded to bfloat16 before they are multiplied, as PyTorch's autocast does.
        /// On the CPU the small products of attention stay in f32.
        Bf16 = "bf16",
        /// On the CPU and without training: linear layers hold their weights in 8 bits, see
        /// [`super::cpu::int8`]. Everything else is f32.
        Int8 = "int8",
    }
}

impl Precision {
    /// The words for training, which needs gradients: all but `int8`.
    pub const OF_TRAINING: &'static [&'static str] = &["f32", "tf32", "bf16"];
}

#[cfg(feature = "model")]
impl Precision {
    /// A note for users whose device gains nothing from this precision.
    pub fn advice(self, device: &Device) -> Option<String> {
        let on_cpu = *device == Device::flex();
        let text = match self {
            Precision::Bf16 if on_cpu && !bfloat16::is_fast() => {
                "this CPU multiplies bfloat16 no faster than f32: `precision: bf16` saves no time"
            }
            Precision::Int8 if on_cpu && !int8::is_fast() => {
                "this CPU has no AVX-512 VNNI: `precision: int8` saves memory, but no time"
            }
            Precision::Tf32 if on_cpu => "a CPU has no tf32: `precision: tf32` is f32 here",
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// Converts a tensor to the format in which it is multiplied.
    pub(super) fn factor<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Precision::F32 | Precision::Tf32 | Precision::Int8 => tensor,
            Precision::Bf16 => tensor.cast(DType::BF16),
        }
    }

    /// Converts the product of two [`factor`](Self::factor)s back to f32.
    pub(super) fn product<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Precision::F32 | Precision::Tf32 | Precision::Int8 => tensor,
            Precision::Bf16 => tensor.cast(DType::F32),
        }
    }
}
