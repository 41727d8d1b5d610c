//! Chooses the device of a stage when it starts: `auto`, `cpu`, `cuda` or `cuda:N`.

use burn::tensor::Device;

use super::memory;
use crate::stage::error::StageError;

/// A device and its name in messages and records.
pub struct ChosenDevice {
    pub device: Device,
    pub name: String,
}

/// `auto` means CUDA if it is compiled in and found, else the CPU.
pub fn choose(wanted: &str) -> Result<ChosenDevice, StageError> {
    match wanted {
        "cpu" => Ok(cpu()),
        "auto" => Ok(cuda(0).unwrap_or_else(|_| cpu())),
        "cuda" => cuda(0),
        _ => {
            let index = wanted.strip_prefix("cuda:").and_then(|index| index.parse().ok());
            cuda(index.ok_or_else(|| StageError::Unavailable {
                what: format!("device `{wanted}`"),
                problem: "expected auto, cpu, cuda or cuda:N".to_owned(),
            })?)
        }
    }
}

fn cpu() -> ChosenDevice {
    memory::keep_freed();
    let threads = rayon::current_num_threads();
    let plural = if threads == 1 { "thread" } else { "threads" };
    ChosenDevice { device: Device::flex(), name: format!("cpu ({threads} {plural})") }
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<ChosenDevice, StageError> {
    let unavailable = |problem: String| StageError::Unavailable {
        what: format!("device `cuda:{index}`"),
        problem,
    };
    // The driver's library is loaded at run time; without it, enumerating panics.
    // SAFETY: loading the driver only runs its initialiser, as in any CUDA program.
    if unsafe { libloading::Library::new("libcuda.so.1") }.is_err() {
        return Err(unavailable("the NVIDIA driver's libcuda.so.1 was not found".to_owned()));
    }
    let found = std::panic::catch_unwind(|| {
        Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec().len()
    })
    .map_err(|_| unavailable("the CUDA driver did not start".to_owned()))?;
    if index >= found {
        return Err(unavailable(format!("the driver lists {found} devices")));
    }
    let device = Device::cuda(index);
    let name = match device.identity() {
        Some(identity) => format!("cuda:{index} ({})", identity.name),
        None => format!("cuda:{index}"),
    };
    Ok(ChosenDevice { device, name })
}

#[cfg(not(feature = "cuda"))]
fn cuda(index: usize) -> Result<ChosenDevice, StageError> {
    Err(StageError::Unavailable {
        what: format!("device `cuda:{index}`"),
        problem: "this binary was built without the feature `cuda`".to_owned(),
    })
}
