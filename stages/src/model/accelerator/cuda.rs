//! Devices with CUDA, numbered as the driver numbers them, which obeys `CUDA_VISIBLE_DEVICES`.

use std::ffi::c_int;

use burn::tensor::{DType, Device, DeviceType};
use burn_cubecl::CubeDevice;
use cubecl::device::CudaDevice;
use libloading::Library;

use super::chosen::{ChosenDevice, unavailable};
use super::need::Abilities;
use crate::stage::error::StageError;
use crate::stage::panics::guarded;

/// The first compute capability with instructions for bfloat16 (Ampere). cubecl registers the type
/// for every device, and LLVM emulates it on older ones.
const BF16_CAPABILITY: u32 = 80;

/// Opens device `index`.
///
/// # Errors
/// There is no driver, or no such device.
pub fn open(index: usize) -> Result<ChosenDevice, StageError> {
    let name = format!("cuda:{index}");
    let found = count().map_err(|problem| unavailable(&name, &problem))?;
    if index >= found {
        return Err(unavailable(&name, &format!("the driver lists {found} devices")));
    }
    let opened = guarded(|| {
        let cube = CubeDevice::Cuda(CudaDevice::new(index));
        let properties = cube.client().properties().clone();
        let device = Device::new(cube);
        let supports_bf16 = device.supports_dtype(DType::BF16);
        (device, properties, supports_bf16)
    });
    let (device, properties, supports_bf16) = opened
        .map_err(|why| unavailable(&name, &format!("the CUDA driver did not open it: {why}")))?;
    let capability = capability(&properties.identity.fingerprint);
    let has_bf16 = capability.is_none_or(|capability| capability >= BF16_CAPABILITY);
    let mut details: Vec<String> = capability.map(|it| format!("sm_{it}")).into_iter().collect();
    details.extend(driver_version());
    Ok(ChosenDevice {
        device,
        name: format!("{name} ({})", properties.identity.name),
        abilities: Abilities {
            memory: properties.memory.max_memory(),
            bf16: supports_bf16 && has_bf16,
            int8: false,
        },
        details,
        is_cuda: true,
        is_software: false,
    })
}

/// How many devices the driver lists, or why it lists none.
pub fn count() -> Result<usize, String> {
    // cubecl finds no devices if there is no driver. That there is none is a better message.
    driver().ok_or("the NVIDIA driver's libcuda.so.1 was not found")?;
    let found = guarded(|| Device::enumerate(DeviceType::Cuda).into_vec().len());
    found.map_err(|why| format!("the CUDA driver did not start: {why}"))
}

fn driver() -> Option<Library> {
    // SAFETY: loading the driver only runs its initialiser, as in any CUDA program.
    unsafe { Library::new("libcuda.so.1") }.ok()
}

/// The compute capability in a fingerprint such as `ptx_sm90`, which is how cubecl-cuda 0.11.3
/// (`src/runtime.rs`) names what it compiles for.
fn capability(fingerprint: &str) -> Option<u32> {
    fingerprint.rsplit_once("sm")?.1.parse().ok()
}

/// The version of the kernel's driver, if Linux tells it, and the newest CUDA that the driver
/// supports.
fn driver_version() -> Option<String> {
    let kernel = std::fs::read_to_string("/proc/driver/nvidia/version").ok();
    let kernel = kernel.as_deref().and_then(kernel_version).map(|it| format!(" {it}"));
    let library = driver()?;
    let mut version: c_int = 0;
    // SAFETY: the signature is that of `cuDriverGetVersion` in cuda.h, which writes one number and
    // may be called before anything else; the library stays loaded during the call.
    let status = unsafe {
        let get = library
            .get::<unsafe extern "C" fn(*mut c_int) -> c_int>(b"cuDriverGetVersion\0")
            .ok()?;
        get(&raw mut version)
    };
    let cuda = format!("CUDA {}.{}", version / 1000, version % 1000 / 10);
    (status == 0).then(|| format!("driver{} for {cuda}", kernel.unwrap_or_default()))
}

/// The version in `NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar …`.
fn kernel_version(text: &str) -> Option<&str> {
    let words = text.lines().next()?.split_whitespace();
    words
        .into_iter()
        .find(|word| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_and_version_are_read_from_what_the_driver_says() {
        assert_eq!(capability("ptx_sm90"), Some(90));
        assert_eq!(capability("ptx_sm120"), Some(120));
        assert_eq!(capability("spirv_1_2"), None);
        let text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release \
                    Build  (a@b)\nGCC version:  gcc version 12.2.0\n";
        assert_eq!(kernel_version(text), Some("550.54.15"));
        assert_eq!(kernel_version(""), None);
    }
}
