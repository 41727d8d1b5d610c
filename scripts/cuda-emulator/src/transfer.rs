//! Allocations and copies of the driver API.
#![allow(clippy::missing_safety_doc, reason = "as in CUDA's reference")]

use std::ffi::{c_int, c_void};

use crate::memory;
use crate::stream::{self, Copy, SUCCESS, Task};

type Handle = *mut c_void;
const INVALID_VALUE: c_int = 1;
const OUT_OF_MEMORY: c_int = 2;

unsafe fn allocate(pointer: *mut u64, bytes: usize) -> c_int {
    if bytes == 0 {
        return INVALID_VALUE;
    }
    let Some(start) = memory::allocate(bytes) else { return OUT_OF_MEMORY };
    // SAFETY: the caller gives the place of a result.
    unsafe { pointer.write(start) };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(pointer: *mut u64, bytes: usize) -> c_int {
    match stream::disturb("memory is reserved") {
        // SAFETY: the same.
        SUCCESS => unsafe { allocate(pointer, bytes) },
        code => code,
    }
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
    unsafe { allocate(pointer, bytes) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(pointer: u64) -> c_int {
    match stream::wait() {
        SUCCESS if memory::free(pointer) => SUCCESS,
        SUCCESS => INVALID_VALUE,
        code => code,
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeAsync(pointer: u64, _stream: Handle) -> c_int {
    stream::ask(Task::Free(pointer))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocHost_v2(pointer: *mut u64, bytes: usize) -> c_int {
    let code = stream::disturb("memory of the host is pinned");
    if code == SUCCESS {
        // SAFETY: the caller gives the place of a result.
        unsafe { pointer.write(memory::allocate_pinned(bytes)) };
    }
    code
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeHost(pointer: u64) -> c_int {
    match stream::wait() {
        SUCCESS if memory::free_pinned(pointer) => SUCCESS,
        SUCCESS => INVALID_VALUE,
        code => code,
    }
}

/// A copy from the host. Memory that is not pinned is read at once; that which is, when the copy is made.
unsafe fn send(copy: Copy) -> c_int {
    let Copy { to, from, rows, width, to_pitch, from_pitch, .. } = copy;
    if rows == 0 || width == 0 {
        return SUCCESS;
    }
    if memory::is_pinned(from, (rows - 1) * from_pitch + width) {
        return stream::ask(Task::Copy(copy));
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
    unsafe { send(contiguous([to, from], bytes, [true, false])) }
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoHAsync_v2(to: u64, from: u64, bytes: usize, _stream: Handle) -> c_int {
    stream::ask(Task::Copy(contiguous([to, from], bytes, [false, true])))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, _stream: Handle) -> c_int {
    stream::ask(Task::Copy(contiguous([to, from], bytes, [true, true])))
}

/// A copy of one row, and which of its two ends are on the device.
fn contiguous(
    [to, from]: [u64; 2],
    bytes: usize,
    [writes_device, reads_device]: [bool; 2],
) -> Copy {
    let (width, to_pitch, from_pitch) = (bytes, bytes, bytes);
    Copy { to, from, rows: 1, width, to_pitch, from_pitch, writes_device, reads_device }
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
    let [writes_device, reads_device] = [copy.to_type, copy.from_type].map(|kind| kind != HOST);
    let copy = Copy {
        to: if writes_device { copy.to_device } else { copy.to_host },
        from: if reads_device { copy.from_device } else { copy.from_host },
        rows: height,
        width,
        to_pitch,
        from_pitch,
        writes_device,
        reads_device,
    };
    match reads_device {
        true => stream::ask(Task::Copy(copy)),
        // SAFETY: the caller owns what it sends.
        false => unsafe { send(copy) },
    }
}
