//! The devices that a model can run on, besides the CPU: which there are, which one a stage takes
//! when it starts, whether it can do what the stage is about to do, and what `pipe doctor` says of
//! it.
//!
//! [`open`] is what stages call. [`name`] reads what the user asked for, `choice` finds that
//! device with `cuda` or `vulkan`, and [`libdevice`] and [`need`] check it, before a model is
//! loaded: what is missing is then an error of the first seconds, not of the first step.

#[cfg(feature = "model")]
mod choice;
#[cfg(feature = "model")]
mod chosen;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "model")]
pub mod inspection;
#[cfg(feature = "device")]
mod kernels;
pub mod libdevice;
pub mod name;
pub mod need;
#[cfg(feature = "vulkan")]
mod vulkan;

#[cfg(feature = "model")]
pub use choice::{choose, open};
#[cfg(feature = "model")]
pub use chosen::ChosenDevice;

/// Keeps the kernels that this process has compiled for a GPU, for later processes. To be called at
/// the end of a process.
pub fn keep_kernels() {
    #[cfg(feature = "device")]
    kernels::keep();
}
