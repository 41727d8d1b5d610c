//! S3 buckets and web servers, through the `object_store` crate. Its calls are asynchronous; here
//! they become calls that block a thread. Nothing outside this folder knows of the runtime.
//!
//! `object_store` itself retries small requests, with growing pauses, for as long as the remote's
//! timeout. Large objects move in parts of [`connection::PART`] bytes, several at once. All
//! transfers together hold at most [`connection::PARTS_AT_ONCE`] parts in memory.

mod bucket;
mod client;
pub(super) mod connection;
mod download;
mod failure;
mod upload;
