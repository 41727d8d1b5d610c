//! Looking back at what runs made: the log, differences, restoring, comparing, showing, sweeps.

pub mod compare;
pub mod restore;
pub mod run_diff;
pub mod run_log;
pub mod show;
pub mod sweep;
pub mod why_row;
