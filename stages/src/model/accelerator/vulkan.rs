//! Devices with Vulkan, through wgpu. They are numbered from the fastest kind to the slowest, so
//! that the first one is the best: discrete GPUs, integrated ones, virtual ones, devices that the
//! driver does not classify, and last a driver that computes in software, such as lavapipe.

use burn::tensor::{DType, Device};
use burn_cubecl::CubeDevice;
use cubecl::device::{WgpuBackend, WgpuDevice, WgpuDeviceKind};
use cubecl::wgpu::{AutoGraphicsApi, RuntimeOptions, WgpuInitError, try_init_setup};
use libloading::Library;

use super::chosen::{ChosenDevice, unavailable};
use super::need::Abilities;
use crate::stage::error::StageError;
use crate::stage::panics::guarded;

/// The kinds that `auto` takes. A virtual GPU may be software on the host.
const HARDWARE: [WgpuDeviceKind; 2] =
    [WgpuDeviceKind::DiscreteGpu(0), WgpuDeviceKind::IntegratedGpu(0)];

const OTHERS: [WgpuDeviceKind; 3] =
    [WgpuDeviceKind::VirtualGpu(0), WgpuDeviceKind::Other(0), WgpuDeviceKind::Cpu];

/// Opens device `index`, of whatever kind.
///
/// # Errors
/// There is no Vulkan, no such device, or it does not start.
pub fn open(index: usize) -> Result<ChosenDevice, StageError> {
    let missing = |problem: String| unavailable(format!("vulkan:{index}"), &problem);
    let mut found = devices(HARDWARE.into_iter().chain(OTHERS)).map_err(missing)?;
    if index >= found.len() {
        let problem = match found.len() {
            0 => "no driver for Vulkan is installed, or none of them finds a device".to_owned(),
            1 => "there is one device with Vulkan".to_owned(),
            count => format!("there are {count} devices with Vulkan"),
        };
        return Err(missing(problem));
    }
    start(index, found.swap_remove(index))
}

/// Opens the first device that is a GPU of this machine.
///
/// # Errors
/// There is no Vulkan, no GPU with it, or it does not start.
pub fn open_hardware() -> Result<ChosenDevice, StageError> {
    let found = devices(HARDWARE).map_err(|problem| unavailable("vulkan", &problem))?;
    let first = found.into_iter().next();
    start(0, first.ok_or_else(|| unavailable("vulkan", "no GPU with Vulkan was found"))?)
}

/// How many devices there are of any kind, or why there can be none.
pub fn count() -> Result<usize, String> {
    Ok(devices(HARDWARE.into_iter().chain(OTHERS))?.len())
}

/// The devices of these kinds, in order.
fn devices(kinds: impl IntoIterator<Item = WgpuDeviceKind>) -> Result<Vec<WgpuDevice>, String> {
    // wgpu finds no devices if there is no loader. That there is none is a better message.
    // SAFETY: loading Vulkan's loader only runs its initialiser, as in any program with Vulkan.
    if unsafe { Library::new("libvulkan.so.1") }.is_err() {
        return Err("Vulkan's loader libvulkan.so.1 was not found; install it (`libvulkan1` on \
                    Debian and Ubuntu) and the driver of the GPU"
            .to_owned());
    }
    let found = kinds.into_iter().flat_map(|kind| {
        let first = CubeDevice::Wgpu(WgpuDevice::new(kind).on(WgpuBackend::Vulkan));
        CubeDevice::enumerate(first.to_id())
    });
    let found = found.filter_map(|id| match CubeDevice::from_id(id) {
        CubeDevice::Wgpu(device) => Some(device),
        _ => None,
    });
    Ok(found.collect())
}

fn start(index: usize, wgpu: WgpuDevice) -> Result<ChosenDevice, StageError> {
    let name = format!("vulkan:{index}");
    let is_software = wgpu.kind == WgpuDeviceKind::Cpu;
    let mut details = vec![kind_in_words(&wgpu.kind).to_owned()];
    // Setting the device up here makes a failure an error; on first use it would be a panic.
    let options = RuntimeOptions::try_default();
    match options.and_then(|it| try_init_setup::<AutoGraphicsApi>(&wgpu, it)) {
        Ok(setup) => {
            let driver = setup.adapter.get_info();
            let words = format!("driver {} {}", driver.driver, driver.driver_info);
            details.push(words.trim().to_owned());
        }
        // An earlier stage of this process set it up.
        Err(WgpuInitError::Registration { .. }) => {}
        Err(error) => return Err(unavailable(&name, &error.to_string())),
    }
    let opened = guarded(|| {
        let cube = CubeDevice::Wgpu(wgpu);
        let properties = cube.client().properties().clone();
        let device = Device::new(cube);
        // cubecl registers no arithmetic in bfloat16 for Vulkan, only storage and products, so
        // that this is false even for GPUs with VK_KHR_shader_bfloat16.
        let bf16 = device.supports_dtype(DType::BF16);
        (device, properties, bf16)
    });
    let (device, properties, bf16) =
        opened.map_err(|why| unavailable(&name, &format!("its driver did not open it: {why}")))?;
    let software = if is_software { ", software" } else { "" };
    Ok(ChosenDevice {
        device,
        name: format!("{name} ({}{software})", properties.identity.name),
        abilities: Abilities { memory: properties.memory.max_memory(), bf16, int8: false },
        details,
        is_cuda: false,
        is_software,
    })
}

fn kind_in_words(kind: &WgpuDeviceKind) -> &'static str {
    match kind {
        WgpuDeviceKind::DiscreteGpu(_) => "discrete GPU",
        WgpuDeviceKind::IntegratedGpu(_) => "integrated GPU",
        WgpuDeviceKind::VirtualGpu(_) => "virtual GPU",
        WgpuDeviceKind::Cpu => "computes on the CPU, for tests; `auto` never takes it",
        _ => "of an unknown kind",
    }
}
