//! Looking after a cache and a machine: `gc`, `cache verify`, `doctor`.

pub mod check;
pub mod doctor;
pub mod gc;
