//! The names of a layer's tensors.

use crate::family::Family;

/// The name of a layer's part.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerName {
    pub(super) family: &'static Family,
    pub(super) index: usize,
}

impl LayerName {
    pub(super) fn of(self, part: &str) -> String {
        format!("{}.{}.{part}", self.family.layer.layers, self.index)
    }

    /// The nth of the projections.
    pub(super) fn projection(self, nth: usize) -> String {
        self.of(self.family.layer.projections.get(nth).unwrap_or(&""))
    }
}
