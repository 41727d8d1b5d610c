//! The disk: digests, folder listings, scratch folders, locks, time stamps, and the faults that
//! tests inject. Threads and the pace of transfers are here as well, since all folders need them.

pub mod digest;
pub mod disk;
pub mod fault;
pub mod file_error;
pub mod lock;
pub mod pace;
pub mod packed;
pub mod pattern;
pub mod place;
pub mod regular;
pub mod scratch;
pub mod stamp;
pub mod threads;
pub mod tree;
pub mod unique;
