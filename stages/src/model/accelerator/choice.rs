//! Chooses the device of a stage when it starts.

use std::ffi::OsStr;

use burn::tensor::Device;

use super::chosen::ChosenDevice;
#[cfg(not(all(feature = "cuda", feature = "vulkan")))]
use super::chosen::unavailable;
#[cfg(feature = "device")]
use super::kernels;
use super::libdevice;
use super::name::DeviceName;
use super::need::{Abilities, Work};
use crate::model::memory;
use crate::stage::error::StageError;

/// The device called `wanted`, if it can do `work`. Computes nothing.
///
/// # Errors
/// There is no such device, or it lacks something that `work` needs.
pub fn open(wanted: &str, work: &Work) -> Result<ChosenDevice, StageError> {
    let chosen = choose(wanted)?;
    if chosen.is_cuda {
        libdevice::find()?;
    }
    work.check(&chosen.name, &chosen.abilities)?;
    #[cfg(feature = "device")]
    kernels::load(&chosen);
    Ok(chosen)
}

/// The device called `wanted`. `auto` prefers CUDA, then a hardware device with Vulkan, then the
/// CPU; it takes what is built in and found. If `CUDA_VISIBLE_DEVICES` hides all GPUs, it takes the CPU.
///
/// # Errors
/// There is no such device.
pub fn choose(wanted: &str) -> Result<ChosenDevice, StageError> {
    let name = wanted.parse().map_err(|expected: &str| StageError::Unavailable {
        what: format!("device `{wanted}`"),
        problem: expected.to_owned(),
    })?;
    #[cfg(feature = "device")]
    kernels::prepare();
    match name {
        DeviceName::Cpu => Ok(cpu()),
        DeviceName::Auto if hides_all(std::env::var_os("CUDA_VISIBLE_DEVICES").as_deref()) => {
            Ok(cpu())
        }
        DeviceName::Auto => Ok(cuda(0).or_else(|_| vulkan_hardware()).unwrap_or_else(|_| cpu())),
        DeviceName::Cuda(index) => cuda(index.unwrap_or(0).into()),
        DeviceName::Vulkan(index) => vulkan(index.unwrap_or(0).into()),
    }
}

/// Whether this list of visible GPUs is one that people write to have none. Vulkan does not read it.
fn hides_all(visible: Option<&OsStr>) -> bool {
    visible.is_some_and(|list| ["", "-1"].iter().any(|none| list == *none))
}

fn cpu() -> ChosenDevice {
    memory::keep_freed();
    let threads = rayon::current_num_threads();
    let plural = if threads == 1 { "thread" } else { "threads" };
    ChosenDevice {
        device: Device::flex(),
        name: format!("cpu ({threads} {plural})"),
        abilities: Abilities { memory: None, bf16: true, int8: true },
        details: Vec::new(),
        is_cuda: false,
        is_software: false,
    }
}

#[cfg(feature = "cuda")]
use super::cuda::open as cuda;

#[cfg(not(feature = "cuda"))]
fn cuda(index: usize) -> Result<ChosenDevice, StageError> {
    Err(unavailable(format!("cuda:{index}"), "this binary was built without the feature `cuda`"))
}

#[cfg(feature = "vulkan")]
use super::vulkan::{open as vulkan, open_hardware as vulkan_hardware};

#[cfg(not(feature = "vulkan"))]
fn vulkan(index: usize) -> Result<ChosenDevice, StageError> {
    Err(unavailable(
        format!("vulkan:{index}"),
        "this binary was built without the feature `vulkan`",
    ))
}

#[cfg(not(feature = "vulkan"))]
fn vulkan_hardware() -> Result<ChosenDevice, StageError> {
    vulkan(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_of_visible_gpus_and_minus_one_hide_them_all() {
        let hides = |list: Option<&str>| hides_all(list.map(OsStr::new));
        assert_eq!([Some(""), Some("-1")].map(hides), [true; 2]);
        assert_eq!([None, Some("0"), Some("1,0"), Some("GPU-8932f937")].map(hides), [false; 4]);
    }
}
