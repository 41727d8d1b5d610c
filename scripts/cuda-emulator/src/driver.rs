//! Devices, contexts, streams, events and graphs of the driver API.
#![allow(clippy::missing_safety_doc, reason = "as in CUDA's reference")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::time::Instant;

use crate::memory;
use crate::stream::{self, SUCCESS, Task};

const INVALID_VALUE: c_int = 1;
const INVALID_DEVICE: c_int = 101;
const NOT_SUPPORTED: c_int = 801;

/// A number of the environment.
fn setting(name: &str, otherwise: c_int) -> c_int {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Compute capability times ten.
pub fn capability() -> c_int {
    setting("CUDA_EMULATOR_SM", 80)
}

/// The newest CUDA that the driver knows, as `cuDriverGetVersion` gives it.
fn version() -> c_int {
    setting("CUDA_EMULATOR_CUDA", 12_090)
}

/// The newest PTX that it knows, times ten: 7.y of CUDA 11.y, 8.y of 12.y (8.8 of 12.9), 9.y of 13.y.
pub fn ptx_version() -> u32 {
    let (major, minor) = (version() / 1000, version() % 1000 / 10);
    let minor = if (major, minor) == (12, 9) { 8 } else { minor };
    ((major - 4) * 10 + minor) as u32
}

#[unsafe(no_mangle)]
pub extern "C" fn cuInit(_flags: c_uint) -> c_int {
    SUCCESS
}

/// Defines functions that write one value through their first pointer.
macro_rules! answers {
    ($($name:ident($into:ident: $type:ty $(, $other:ident: $kind:ty)*) = $value:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($into: *mut $type $(, $other: $kind)*) -> c_int {
            $(let _ = $other;)*
            // SAFETY: the caller gives the place of a result.
            unsafe { $into.write($value) };
            SUCCESS
        }
    )*};
}

/// Defines functions that have nothing to do.
macro_rules! nothing {
    ($($name:ident($($other:ident: $kind:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($other: $kind),*) -> c_int {
            $(let _ = $other;)*
            SUCCESS
        }
    )*};
}

/// Defines functions that wait until everything is done.
macro_rules! waits {
    ($($name:ident($($other:ident: $kind:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($other: $kind),*) -> c_int {
            $(let _ = $other;)*
            stream::wait()
        }
    )*};
}

type Handle = *mut c_void;

answers! {
    cuDriverGetVersion(into: c_int) = version();
    cuDeviceGetCount(count: c_int) = 1;
    cuDeviceGetUuid(uuid: [u8; 16], device: c_int) = [1; 16];
    cuDeviceGetUuid_v2(uuid: [u8; 16], device: c_int) = [1; 16];
    cuDeviceTotalMem_v2(bytes: usize, device: c_int) = memory::MOST;
    cuDevicePrimaryCtxRetain(context: usize, device: c_int) = 0x1000;
    cuCtxGetCurrent(context: usize) = 0x1000;
    cuStreamCreate(stream: usize, flags: c_uint) = 0x2000;
    cuStreamCreateWithPriority(stream: usize, flags: c_uint, priority: c_int) = 0x2000;
    cuStreamIsCapturing(status: c_int, stream: Handle) = c_int::from(stream::is_capturing());
    cuEventCreate(event: *mut Instant, flags: c_uint) = Box::into_raw(Box::new(Instant::now()));
}

nothing! {
    cuDevicePrimaryCtxRelease_v2(device: c_int);
    cuCtxSetCurrent(context: Handle);
    cuStreamDestroy_v2(stream: Handle);
    cuStreamWaitEvent(stream: Handle, event: Handle, flags: c_uint);
    cuGraphUpload(graph: Handle, stream: Handle);
}

waits! {
    cuCtxSynchronize();
    cuStreamSynchronize(stream: Handle);
    cuStreamQuery(stream: Handle);
    cuEventSynchronize(event: Handle);
    cuEventQuery(event: Handle);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> c_int {
    if ordinal != 0 {
        return INVALID_DEVICE;
    }
    // SAFETY: the caller gives the place of a result.
    unsafe { device.write(ordinal) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuThreadExchangeStreamCaptureMode(mode: *mut c_int) -> c_int {
    // SAFETY: the caller gives a mode, and takes the one before.
    unsafe { mode.write(stream::exchange_mode(mode.read())) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, size: c_int, _device: c_int) -> c_int {
    text(name, size, c"emulated GPU")
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetPCIBusId(
    id: *mut c_char,
    size: c_int,
    _device: c_int,
) -> c_int {
    text(id, size, c"0000:01:00.0")
}

fn text(into: *mut c_char, size: c_int, text: &CStr) -> c_int {
    let length = text.count_bytes() + 1;
    if length > size as usize {
        return INVALID_VALUE;
    }
    // SAFETY: the caller says that it has room for so much.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), into, length) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(available: *mut usize, total: *mut usize) -> c_int {
    // SAFETY: the caller gives the places of two results.
    unsafe { (available.write(memory::MOST - memory::used()), total.write(memory::MOST)) };
    SUCCESS
}

/// The most shared memory that a block may ask for.
pub fn most_shared() -> c_int {
    match capability() {
        70 => 98_304,
        75 => 65_536,
        80 | 87 => 166_912,
        90..120 => 232_448,
        _ => 101_376,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(
    value: *mut c_int,
    attribute: c_int,
    _device: c_int,
) -> c_int {
    let found = match attribute {
        // Threads of a block, and in x, y and z.
        1..=3 => 1024,
        4 => 64,
        // Blocks of a grid in x, y and z.
        5 => c_int::MAX,
        6 | 7 => 65_535,
        // Shared memory of a block, threads of a warp, multiprocessors.
        8 => 49_152,
        10 => 32,
        16 => 4,
        75 => capability() / 10,
        76 => capability() % 10,
        // Shared memory of a multiprocessor, and of a block that asks for more.
        81 => most_shared() + 1024,
        97 => most_shared(),
        // Memory pools.
        115 => 1,
        _ => 0,
    };
    // SAFETY: the caller gives the place of a result.
    unsafe { value.write(found) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetStreamPriorityRange(
    least: *mut c_int,
    greatest: *mut c_int,
) -> c_int {
    // SAFETY: the caller gives the places of two results.
    unsafe { (least.write(0), greatest.write(-5)) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventDestroy_v2(event: *mut Instant) -> c_int {
    // SAFETY: `cuEventCreate` made it.
    drop(unsafe { Box::from_raw(event) });
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventRecord(event: *mut Instant, _stream: Handle) -> c_int {
    // SAFETY: `cuEventCreate` made it.
    unsafe { event.write(Instant::now()) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(
    milliseconds: *mut f32,
    from: *const Instant,
    to: *const Instant,
) -> c_int {
    // SAFETY: `cuEventCreate` made both, and the caller gives the place of a result.
    unsafe { milliseconds.write(((*to - *from).as_secs_f32() * 1e3).max(1e-3)) };
    stream::wait()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(
    milliseconds: *mut f32,
    from: *const Instant,
    to: *const Instant,
) -> c_int {
    // SAFETY: the same.
    unsafe { cuEventElapsedTime(milliseconds, from, to) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamBeginCapture_v2(_stream: Handle, mode: c_int) -> c_int {
    stream::begin_capture(mode);
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(_stream: Handle, graph: *mut *mut Vec<Task>) -> c_int {
    // SAFETY: the caller gives the place of a result.
    match stream::end_capture() {
        Ok(tasks) => unsafe { graph.write(Box::into_raw(Box::new(tasks))) },
        Err(code) => {
            unsafe { graph.write(std::ptr::null_mut()) };
            return code;
        }
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphGetNodes(
    graph: *const Vec<Task>,
    nodes: *mut *const Task,
    count: *mut usize,
) -> c_int {
    // SAFETY: `cuStreamEndCapture` made it, and the caller has room for as many nodes as it says.
    unsafe {
        if !nodes.is_null() {
            (*graph)
                .iter()
                .take(*count)
                .enumerate()
                .for_each(|(at, task)| nodes.add(at).write(task));
        }
        count.write((*graph).len());
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphNodeGetType(node: *const Task, kind: *mut c_int) -> c_int {
    // SAFETY: `cuGraphGetNodes` gave it, and the caller gives the place of a result.
    unsafe {
        kind.write(match &*node {
            Task::Launch(_) => 0,
            Task::Copy(_) | Task::Send { .. } => 1,
            Task::Fill { .. } => 2,
            Task::Allocate => 10,
            Task::Free(_) => 11,
        });
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    executable: *mut *mut Vec<Task>,
    graph: *const Vec<Task>,
    _flags: u64,
) -> c_int {
    // SAFETY: `cuStreamEndCapture` made it, and the caller gives the place of a result.
    unsafe {
        if (*graph).iter().any(|task| matches!(task, Task::Allocate | Task::Free(_))) {
            return NOT_SUPPORTED;
        }
        executable.write(Box::into_raw(Box::new((*graph).clone())));
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(executable: *const Vec<Task>, _stream: Handle) -> c_int {
    // SAFETY: `cuGraphInstantiateWithFlags` made it.
    stream::repeat(unsafe { &*executable })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: *mut Vec<Task>) -> c_int {
    // SAFETY: `cuStreamEndCapture` made it.
    drop(unsafe { Box::from_raw(graph) });
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(executable: *mut Vec<Task>) -> c_int {
    // SAFETY: `cuGraphInstantiateWithFlags` made it.
    drop(unsafe { Box::from_raw(executable) });
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(_error: c_int, text: *mut *const c_char) -> c_int {
    // SAFETY: the caller gives the place of a result.
    unsafe { text.write(c"CUDA_ERROR".as_ptr()) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(error: c_int, text: *mut *const c_char) -> c_int {
    let message = match error {
        2 => c"out of memory",
        700 => c"an illegal memory access was encountered (see what cuda-emulator printed)",
        _ => c"not known to cuda-emulator",
    };
    // SAFETY: the caller gives the place of a result.
    unsafe { text.write(message.as_ptr()) };
    SUCCESS
}

/// Copies by descriptors (TMA) are not emulated: a kernel that uses them does not parse.
#[unsafe(no_mangle)]
pub extern "C" fn cuTensorMapEncodeTiled(_map: Handle) -> c_int {
    NOT_SUPPORTED
}
