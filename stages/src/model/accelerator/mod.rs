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

/// Stops Mesa's Vulkan drivers from asking the desktop which GPU it prefers, where there is no desktop: for each device
/// they would complain on standard error. To be called before a process has threads; its children inherit it.
pub fn ask_no_desktop() {
    #[cfg(feature = "vulkan")]
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the caller has no other threads, which alone could read the environment meanwhile.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// Keeps the kernels that this process has compiled for a GPU, for later processes. To be called at
/// the end of a process.
pub fn keep_kernels() {
    #[cfg(feature = "device")]
    kernels::keep();
}
