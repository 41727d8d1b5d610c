//! Looking back at what runs made: the log, differences, gates, reviews, restoring, comparing, showing, sweeps, races.

pub mod compare;
pub mod gate;
pub mod git;
pub mod mlflow;
pub mod race;
pub mod restore;
pub mod review;
pub mod row_metric;
pub mod run_diff;
pub mod run_log;
pub mod show;
pub mod sweep;
pub mod tensorboard;
pub mod why_row;
