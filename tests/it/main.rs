//! The integration tests of `pipe`: one binary, a module for each part.

mod cli;
mod death;
mod early_errors;
mod faults;
mod graph;
mod handling;
mod harness;
mod job;
mod key;
mod matrix;
mod pipeline;
mod plan;
mod process;
mod resources;
mod run;
mod select;
mod server;
mod show;
mod source;
mod staleness;
mod store;
mod sweep;
mod tidy;
mod training;
mod versions;
