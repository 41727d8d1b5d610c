//! The names of a layer's tensors.

use crate::family::Family;

/// The name of a layer's part.
#[derive(Clone, Copy, Debug)]
pub struct LayerName {
    pub family: &'static Family,
    pub index: usize,
}

impl LayerName {
    pub fn of(self, part: &str) -> String {
        format!("{}.{}.{part}", self.family.layer.layers, self.index)
    }

    /// The nth of the projections.
    pub fn projection(self, nth: usize) -> String {
        self.of(self.family.layer.projections.get(nth).unwrap_or(&""))
    }
}

/// The projections of DeBERTa's positions as keys and as queries, in a layer that has its own.
pub const POSITION_PROJECTIONS: [&str; 2] =
    ["attention.self.pos_key_proj", "attention.self.pos_query_proj"];
