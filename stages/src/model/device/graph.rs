//! Launches that are recorded once and then repeated as one (CUDA graphs; on Vulkan cubecl's own).
//!
//! A repetition reads and writes the addresses of the recording, so:
//!
//! - What the recorded launches read must stay where it is: the caller owns it, and changes its values
//!   in place.
//! - The memory that they take from the pool and give back stays theirs. cubecl keeps every page that a
//!   recording touches from all others for as long as the graph lives.
//! - Nothing is allocated, sent or read while recording. So the same launches run before, which leaves
//!   the pool with enough room, and everything that the host sends is in [`super::inputs`].

use std::mem::ManuallyDrop;

use burn::tensor::Tensor;
use cubecl::client::{Client, Graph};
use cubecl::server::ServerError;

use super::{Value, held_and_most, sent};
use crate::stage::panics::guarded;

/// Why launches are never recorded.
pub const SENT: &str = "the host sends numbers while it is recorded";

/// Recorded launches.
#[derive(Clone, Debug)]
pub struct Recording {
    graph: Graph,
}

/// Runs `compute` twice, which changes nothing but what it returns, and then records it. Returns the
/// recording and what `compute` returned, whose values each [`repeat`](Recording::repeat) overwrites.
///
/// # Errors
/// The device of `client` cannot record, or refused to, or `compute` sends something: why.
pub fn record<T>(
    client: &Client,
    mut compute: impl FnMut() -> T,
) -> Result<(Recording, T), String> {
    client.graph_prepare().map_err(|error| error.to_string())?;
    let begun = Begun(client);
    // What the first run returns lives while the second one runs, so the pool has more room afterwards
    // than the recording needs: when a thread of cubecl gives memory back is not in our hands.
    let first = compute();
    drop(compute());
    drop(first);
    client.start_capture().map_err(|error| error.to_string())?;
    sent::take();
    let found = compute();
    if sent::take() {
        return Err(SENT.to_owned());
    }
    // After an error nothing has been computed, and `found` must not be read.
    let graph = begun.end().map_err(|error| error.to_string())?;
    Ok((Recording { graph }, found))
}

/// A recording that is prepared or under way. It ends in any case, so that the device can go on after
/// an error or a panic.
struct Begun<'a>(&'a Client);

impl Begun<'_> {
    fn end(self) -> Result<Graph, ServerError> {
        ManuallyDrop::new(self).0.stop_capture()
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        // A panic here as well would end the process.
        let _ = guarded(|| self.0.stop_capture());
    }
}

impl Recording {
    /// Repeats the launches, without waiting for them.
    ///
    /// # Safety
    /// Every tensor that the launches read or write and that was not made by them still has its place.
    pub unsafe fn repeat(&self) {
        // SAFETY: the caller's promise; everything runs on the stream of this thread, in order.
        let enqueued = unsafe { self.graph.replay() };
        // Panics like the launches themselves, for whoever catches what a device refuses.
        enqueued.unwrap_or_else(|error| panic!("repeating a recorded step on the device: {error}"));
    }
}

/// A tensor of its own with the same values.
pub fn copied<const D: usize>(tensor: &Tensor<D>) -> Option<Tensor<D>> {
    // It is shared with `tensor`, and therefore copied.
    Some(Value::Plain(super::adamw::owned(Value::of(tensor)?.into_plain())).tensor())
}

/// Whether the pools of the device hold more than `share` of its memory.
pub fn holds_more_than(client: &Client, share: f64) -> bool {
    held_and_most(client).is_some_and(|[held, most]| held as f64 > most as f64 * share)
}
