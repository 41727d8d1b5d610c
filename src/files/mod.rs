//! The disk: digests, folders, scratch space, locks, time stamps, and the faults that tests plant.

pub mod digest;
pub mod disk;
pub mod fault;
pub mod file_error;
pub mod lock;
pub mod scratch;
pub mod stamp;
pub mod tree;
