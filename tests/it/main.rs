//! The integration tests of `pipe`: one binary, a module for each part.

mod cli;
mod graph;
mod harness;
mod job;
mod key;
mod matrix;
mod pipeline;
mod plan;
mod process;
mod run;
mod server;
mod show;
mod source;
mod store;
mod sweep;
mod tidy;
