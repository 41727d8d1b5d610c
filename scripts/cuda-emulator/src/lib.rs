//! `libcuda.so.1` for tests on machines without an NVIDIA GPU: kernels are run, instruction by instruction, on the CPU.
//!
//! It knows the part of the driver API that cubecl uses and the instructions that cubecl compiles to, and says which one
//! is missing if one is. It is slow, and it is strict: an address outside of an allocation or not aligned, a barrier that
//! not all lanes reach, something in a capture that a graph cannot repeat and, if asked for, two threads that touch the
//! same memory in no order end the work with an error that names the kernel and the instruction. Memory holds NaN until it
//! is written.
//!
//! | variable | |
//! |---|---|
//! | `CUDA_EMULATOR_SM=80` | compute capability |
//! | `CUDA_EMULATOR_CUDA=12090` | the newest CUDA of the driver |
//! | `CUDA_EMULATOR_RACES=1` | look for races, on one thread |
//! | `CUDA_EMULATOR_ORDER=N` | run blocks and warps in another order for each N |
//! | `CUDA_EMULATOR_LATE=1` | do nothing before somebody waits for it |
//! | `CUDA_EMULATOR_PTX=FOLDER` | keep each module in a file named after its kernel |
//! | `CUDA_EMULATOR_THREADS=N` | threads of the CPU |
//!
//! What it cannot tell: how fast anything is; what `ptxas` makes of the code, which may contract a product and a sum
//! without rounding modifiers; the last bits of approximate instructions and of sums in tensor cores; and what happens
//! between streams, as there is one queue for all.

mod access;
mod bfloat16;
mod decode;
mod driver;
mod flow;
mod kernel;
mod lanes;
mod launch;
mod memory;
mod module;
mod parse;
mod races;
mod stream;
mod tensor;
#[cfg(test)]
mod tests;
mod transfer;
mod warp;

use std::sync::{Mutex, MutexGuard};

/// The lock of something that no panic leaves half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
