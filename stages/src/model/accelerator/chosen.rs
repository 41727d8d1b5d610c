//! A device that was found, and the error of one that was not.

use burn::tensor::Device;

use super::need::Abilities;
use crate::stage::error::StageError;

/// A device and its name in messages and records.
pub struct ChosenDevice {
    pub device: Device,
    pub name: String,
    pub(super) abilities: Abilities,
    /// What a person may want to know of it, such as its driver. `pipe doctor` prints it.
    pub(super) details: Vec<String>,
    /// Whether kernels are compiled for CUDA.
    pub(super) is_cuda: bool,
    /// Whether it is a program on the host and no GPU.
    #[cfg_attr(not(feature = "device"), expect(dead_code))]
    pub(super) is_software: bool,
}

/// The error of a device that cannot be used.
pub(super) fn unavailable(device: impl std::fmt::Display, problem: &str) -> StageError {
    StageError::Unavailable { what: format!("device `{device}`"), problem: problem.to_owned() }
}
