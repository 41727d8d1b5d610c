//! Dropout masks, computed where they are used: the same elements as [`Mask::apply`] on the host.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::section::Section;
use crate::model::noise::{ADDRESS_WIDTH, Mask};

/// A mask as the kernels take it, or none.
#[derive(Clone, Debug)]
pub(super) struct DeviceMask {
    /// Two keys per row; `None` if nothing is dropped.
    section: Option<Section>,
    /// Any tensor, to be bound where there are no keys.
    other: CubeTensor,
    threshold: u32,
    kept: f32,
}

/// The numbers of a mask that are the same for all elements.
#[derive(CubeLaunch, CubeType)]
pub(super) struct MaskArgs {
    /// Where the keys start.
    pub(super) first: u32,
    /// Elements whose bits are below are dropped.
    pub(super) threshold: u32,
    /// The value of the others.
    pub(super) kept: f32,
}

impl DeviceMask {
    /// The mask on the device of `other`.
    pub(super) fn new(mask: Option<&Mask>, other: &CubeTensor) -> DeviceMask {
        match mask {
            Some(mask) => {
                let alone = || Section::alone(other, &mask.keys());
                DeviceMask {
                    section: Some(mask.sent().cloned().unwrap_or_else(alone)),
                    other: other.clone(),
                    threshold: mask.threshold(),
                    kept: mask.kept(),
                }
            }
            None => DeviceMask { section: None, other: other.clone(), threshold: 0, kept: 1.0 },
        }
    }

    pub(super) fn keys(&self) -> BufferArg {
        match &self.section {
            Some(section) => section.buffer(),
            None => self.other.clone().into_buffer_arg(),
        }
    }

    pub(super) fn args(&self) -> MaskArgsLaunch {
        let first = self.section.as_ref().map_or(0, |section| section.start);
        MaskArgsLaunch::new(first, self.threshold, self.kept)
    }

    /// Whether anything is dropped.
    pub(super) fn drops(&self) -> bool {
        self.section.is_some()
    }
}

/// The keys of a row's mask.
#[derive(CubeType)]
pub(super) struct RowKeys {
    low: u32,
    high: u32,
}

#[cube]
impl MaskArgs {
    /// The keys of a row; any if nothing is dropped.
    pub(super) fn of_row(&self, keys: &[u32], row: usize, #[comptime] drops: bool) -> RowKeys {
        let (mut low, mut high) = (0u32.runtime(), 0u32.runtime());
        if comptime!(drops) {
            let first = self.first as usize + 2 * row;
            low = keys[first];
            high = keys[first + 1];
        }
        RowKeys { low, high }
    }

    /// The element at `index` of the mask of a row: 0, or the value of what is kept.
    pub(super) fn element(&self, keys: &RowKeys, index: usize) -> f32 {
        let mixed = mix(mix(index as u32 + keys.low) ^ keys.high);
        let mut element = self.kept;
        if mixed < self.threshold {
            element = 0.0;
        }
        element
    }

    /// The element of the mask of attention probabilities for a pair of tokens, as
    /// `Mask::apply_to_block` addresses it.
    pub(super) fn of_pair(&self, keys: &RowKeys, head: usize, query: usize, key: usize) -> f32 {
        let width = comptime!(ADDRESS_WIDTH as usize);
        self.element(keys, (head * width + query) * width + key)
    }
}

/// The element at `index` of the mask of a row.
#[cube]
pub(super) fn mask_element(keys: &[u32], mask: &MaskArgs, row: usize, index: usize) -> f32 {
    mask.element(&mask.of_row(keys, row, true), index)
}

/// `lowbias32`.
#[cube]
fn mix(bits: u32) -> u32 {
    let mut mixed = bits ^ (bits >> 16);
    mixed *= 0x7feb_352du32;
    mixed ^= mixed >> 15;
    mixed *= 0x846c_a68bu32;
    mixed ^ (mixed >> 16)
}
