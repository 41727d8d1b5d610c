//! Allocations and copies of the driver API.
#![allow(clippy::missing_safety_doc, reason = "as in CUDA's reference")]

use std::ffi::{c_int, c_void};

use crate::memory;
use crate::stream::{self, SUCCESS, Task};

type Handle = *mut c_void;
const INVALID_VALUE: c_int = 1;
const OUT_OF_MEMORY: c_int = 2;
/// More than this is never there.
const MOST: usize = 16 << 30;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(pointer: *mut u64, bytes: usize) -> c_int {
    if bytes == 0 || bytes > MOST {
        return if bytes == 0 { INVALID_VALUE } else { OUT_OF_MEMORY };
    }
    // SAFETY: the caller gives the place of a result.
    unsafe { pointer.write(memory::allocate(bytes)) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocAsync(
    pointer: *mut u64,
    bytes: usize,
    _stream: Handle,
) -> c_int {
    if stream::is_capturing() {
        stream::ask(Task::Allocate);
    }
    // SAFETY: the same.
    unsafe { cuMemAlloc_v2(pointer, bytes) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(pointer: u64) -> c_int {
    stream::wait();
    if memory::free(pointer) { SUCCESS } else { INVALID_VALUE }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeAsync(pointer: u64, _stream: Handle) -> c_int {
    stream::ask(Task::Free(pointer))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocHost_v2(pointer: *mut u64, bytes: usize) -> c_int {
    // SAFETY: the caller gives the place of a result.
    unsafe { pointer.write(memory::allocate_pinned(bytes)) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeHost(pointer: u64) -> c_int {
    stream::wait();
    if memory::free_pinned(pointer) { SUCCESS } else { INVALID_VALUE }
}

/// A copy to the device. Memory that is not pinned is read at once; that which is, when the copy is made.
unsafe fn send(
    to: u64,
    from: u64,
    rows: usize,
    width: usize,
    to_pitch: usize,
    from_pitch: usize,
) -> c_int {
    if rows == 0 || width == 0 {
        return SUCCESS;
    }
    if memory::is_pinned(from, (rows - 1) * from_pitch + width) {
        return stream::ask(Task::Copy { to, from, rows, width, to_pitch, from_pitch });
    }
    let mut bytes = Vec::with_capacity(rows * width);
    for row in 0..rows {
        // SAFETY: the caller owns what it sends.
        bytes.extend_from_slice(unsafe {
            std::slice::from_raw_parts((from as usize + row * from_pitch) as *const u8, width)
        });
    }
    stream::ask(Task::Send { to, bytes, width, to_pitch })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: u64,
    bytes: usize,
    _stream: Handle,
) -> c_int {
    // SAFETY: the same.
    unsafe { send(to, from, 1, bytes, bytes, bytes) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoHAsync_v2(to: u64, from: u64, bytes: usize, _stream: Handle) -> c_int {
    stream::ask(Task::Copy { to, from, rows: 1, width: bytes, to_pitch: bytes, from_pitch: bytes })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, _stream: Handle) -> c_int {
    if !memory::is_device(to, bytes) || !memory::is_device(from, bytes) {
        return INVALID_VALUE;
    }
    stream::ask(Task::Copy { to, from, rows: 1, width: bytes, to_pitch: bytes, from_pitch: bytes })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8Async(to: u64, value: u8, bytes: usize, _stream: Handle) -> c_int {
    stream::ask(Task::Fill { to, value, bytes })
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
pub struct Copy2D {
    from_x: usize,
    from_y: usize,
    from_type: c_int,
    from_host: u64,
    from_device: u64,
    from_array: u64,
    from_pitch: usize,
    to_x: usize,
    to_y: usize,
    to_type: c_int,
    to_host: u64,
    to_device: u64,
    to_array: u64,
    to_pitch: usize,
    width: usize,
    height: usize,
}

const HOST: c_int = 1;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy2DAsync_v2(copy: *const Copy2D, _stream: Handle) -> c_int {
    // SAFETY: the caller gives a descriptor.
    let copy = unsafe { &*copy };
    let Copy2D { from_x, from_y, to_x, to_y, from_pitch, to_pitch, width, height, .. } = *copy;
    if from_x + from_y + to_x + to_y != 0
        || to_pitch < width && height > 1
        || from_pitch < width && height > 1
    {
        return INVALID_VALUE;
    }
    let from = if copy.from_type == HOST { copy.from_host } else { copy.from_device };
    let to = if copy.to_type == HOST { copy.to_host } else { copy.to_device };
    let extent = |pitch: usize| height.saturating_sub(1) * pitch + width;
    if copy.from_type != HOST && !memory::is_device(from, extent(from_pitch))
        || copy.to_type != HOST && !memory::is_device(to, extent(to_pitch))
    {
        return INVALID_VALUE;
    }
    if copy.from_type == HOST {
        // SAFETY: the caller owns what it sends.
        return unsafe { send(to, from, height, width, to_pitch, from_pitch) };
    }
    stream::ask(Task::Copy { to, from, rows: height, width, to_pitch, from_pitch })
}
