//! Modules and launches of the driver API.
#![allow(clippy::missing_safety_doc, reason = "as in CUDA's reference")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::driver::{self, most_shared};
use crate::kernel::Kernel;
use crate::launch::Work;
use crate::parse::{kernels, target};
use crate::stream::{self, SUCCESS, Task};

const INVALID_VALUE: c_int = 1;
const NO_BINARY: c_int = 209;
const INVALID_PTX: c_int = 218;
const UNSUPPORTED_PTX: c_int = 222;
const NOT_FOUND: c_int = 500;
/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`.
const DYNAMIC_SHARED: c_int = 8;

type Handle = *mut c_void;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(
    module: *mut *const Vec<Kernel>,
    image: *const c_char,
) -> c_int {
    // SAFETY: the caller gives PTX that ends in zero.
    let text = unsafe { CStr::from_ptr(image) }.to_string_lossy();
    let Some((capability, alone, version)) = target(&text) else { return INVALID_PTX };
    let here = driver::capability() as u32;
    if capability > here || alone && capability != here || version > driver::ptx_version() {
        eprintln!("cuda-emulator: PTX {version} for sm_{capability} on sm_{here}");
        return if version > driver::ptx_version() { UNSUPPORTED_PTX } else { NO_BINARY };
    }
    match kernels(&text) {
        Ok(kernels) => {
            // For whoever looks into a module, its name is enough: that it cannot be written is no failure.
            if let (Some(folder), Some(kernel)) =
                (std::env::var_os("CUDA_EMULATOR_PTX"), kernels.first())
            {
                let _ =
                    std::fs::write(Path::new(&folder).join(format!("{}.ptx", kernel.name)), &*text);
            }
            // A module stays, as what is launched may be repeated after it is unloaded.
            // SAFETY: the caller gives the place of a result.
            unsafe { module.write(Box::leak(Box::new(kernels))) };
            SUCCESS
        }
        Err(why) => {
            eprintln!("cuda-emulator: {why}");
            INVALID_PTX
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleUnload(_module: Handle) -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: *mut *const Kernel,
    module: *const Vec<Kernel>,
    name: *const c_char,
) -> c_int {
    // SAFETY: `cuModuleLoadData` made the module, and the caller gives a name and the place of a result.
    unsafe {
        let name = CStr::from_ptr(name).to_string_lossy();
        let Some(kernel) = (*module).iter().find(|kernel| kernel.name == name) else {
            return NOT_FOUND;
        };
        function.write(kernel);
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncSetAttribute(
    function: *const Kernel,
    attribute: c_int,
    value: c_int,
) -> c_int {
    if attribute == DYNAMIC_SHARED {
        if value < 0 || value > most_shared() {
            return INVALID_VALUE;
        }
        // SAFETY: `cuModuleGetFunction` gave it, and kernels stay.
        unsafe { &*function }.most_shared.store(value as u32, Ordering::Relaxed);
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(
    value: *mut c_int,
    _attribute: c_int,
    _function: Handle,
) -> c_int {
    // SAFETY: the caller gives the place of a result.
    unsafe { value.write(0) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: *const Kernel,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    _stream: Handle,
    values: *const *const u8,
    _extra: Handle,
) -> c_int {
    // SAFETY: `cuModuleGetFunction` gave it, and kernels stay.
    let kernel: &'static Kernel = unsafe { &*function };
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    let threads: u64 = block.iter().map(|size| u64::from(*size)).product();
    let blocks: u64 = grid.iter().map(|size| u64::from(*size)).product();
    if threads == 0
        || threads > 1024
        || blocks == 0
        || grid_y > 65_535
        || grid_z > 65_535
        || blocks > u64::from(u32::MAX)
    {
        return INVALID_VALUE;
    }
    if kernel.block.is_some_and(|named| named != block) {
        eprintln!(
            "cuda-emulator: {} in blocks of {block:?}, but it was compiled for {:?}",
            kernel.name, kernel.block
        );
        return INVALID_VALUE;
    }
    if kernel.shared + shared as usize > kernel.most_shared.load(Ordering::Relaxed) as usize {
        return INVALID_VALUE;
    }
    let length = kernel
        .parameters
        .iter()
        .map(|parameter| parameter.offset + parameter.size)
        .max()
        .unwrap_or(0);
    // Reads of parameters may be as wide as four registers.
    let mut parameters = vec![0u8; length.next_multiple_of(16)];
    for (nth, parameter) in kernel.parameters.iter().enumerate() {
        // SAFETY: the caller gives the address of each value, of the size that the kernel declares.
        unsafe {
            std::ptr::copy_nonoverlapping(
                *values.add(nth),
                parameters.as_mut_ptr().add(parameter.offset),
                parameter.size,
            )
        };
    }
    stream::ask(Task::Launch(Work {
        kernel,
        grid,
        block,
        shared: kernel.shared + shared as usize,
        parameters,
    }))
}
