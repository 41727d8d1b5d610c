//! The integration tests of `pipe`: one binary, a module for each part.

mod graph;
mod pipeline;
mod server;
mod show;
mod source;
