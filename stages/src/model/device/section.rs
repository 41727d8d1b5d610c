//! Numbers that the host has sent to the device.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::upload;

/// Consecutive numbers in a buffer on the device.
#[derive(Clone, Debug)]
pub struct Section {
    buffer: CubeTensor,
    pub(super) start: u32,
}

impl Section {
    pub(super) fn new(buffer: CubeTensor, start: u32) -> Section {
        Section { buffer, start }
    }

    /// Another section of the same buffer.
    pub(super) fn at(&self, start: u32) -> Section {
        Section { start, ..self.clone() }
    }

    /// A section of a buffer of its own.
    pub(super) fn alone(other: &CubeTensor, numbers: &[u32]) -> Section {
        Section { buffer: upload(other, numbers), start: 0 }
    }

    pub(super) fn buffer(&self) -> BufferArg {
        self.buffer.clone().into_buffer_arg()
    }
}
