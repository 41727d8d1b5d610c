//! The integration tests of `pipe`: one binary, a module for each part.

mod cli;
mod gc;
mod graph;
mod harness;
mod job;
mod key;
mod log;
mod pipeline;
mod plan;
mod process;
mod run;
mod server;
mod show;
mod source;
mod store;
mod tidy;
mod verify;
